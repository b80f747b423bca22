"""Eigenvalues and eigenvectors of Hermitian matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from functrans.core import dtypes
from functrans.core.avals import ShapedArray
from functrans.core.primitive import Primitive, Sample, Trait, Zero
from functrans.core.structural import zero_of
from functrans.core.trace import aval_of
from functrans.lax.contraction import matmul
from functrans.lax.families import tangent_rules
from functrans.lax.linalg.cholesky import hermitian_part
from functrans.lax.linalg.common import (
    adjoint,
    check_matrix,
    diagonal_of,
    hermitian,
    host_or_device,
    leading,
    like,
    matrices,
    real_part,
)
from functrans.lax.linalg.degenerate import differences, divide_by_gaps


def _values_shape(a: ShapedArray, *, lower: bool) -> ShapedArray:
    check_matrix("eigh", a, square=True)
    return like(a, a.shape[:-1], dtypes.real_dtype(a.dtype))


def _eigh_shape(a: ShapedArray, *, lower: bool) -> list[ShapedArray]:
    return [_values_shape(a, lower=lower), like(a, a.shape)]


def _uplo(lower: bool) -> str:
    return "L" if lower else "U"


def _eigh_jvp(primals: Sequence[Any], tangents: Sequence[Any], *, lower: bool) -> tuple[list[Any], list[Any]]:
    """In the basis of the eigenvectors: eigenvalues move by the diagonal, vectors rotate by the rest over the gaps."""
    (a,), (t,) = primals, tangents
    w, v = eigh_p.bind(a, lower=lower)
    if isinstance(t, Zero):
        return [w, v], [zero_of(w), zero_of(v)]
    inner = matrices(adjoint(v), hermitian(t, lower), v)
    rotation = divide_by_gaps(inner, differences(w), w)
    return [w, v], [real_part(diagonal_of(inner)), matmul(v, rotation)]


def _values_rule(t: Any, out: Any, a: Any, *, lower: bool) -> Any:
    _, v = eigh_p.bind(a, lower=lower)
    return real_part(diagonal_of(matrices(adjoint(v), hermitian(t, lower), v)))


def _hermitian_samples(vectors: bool) -> list[Sample]:
    a = np.array([[2.0, 0.5, -1.0], [0.5, -3.0, 0.25], [-1.0, 0.25, 1.5]])
    z = a + 1j * np.array([[0.0, 1.0, 0.5], [-1.0, 0.0, 2.0], [-0.5, -2.0, 0.0]])
    # LAPACK fixes the phases of complex vectors in its own way: finite differences differ by a change of phase.
    order = 0 if vectors else 2
    return [
        Sample((a,), {"lower": True}),
        Sample((a + np.triu(a, 1),), {"lower": True}),
        Sample((a,), {"lower": False}),
        Sample((z,), {"lower": True}, order),
        Sample((z.astype(np.complex64),), {"lower": False}, min(order, 1)),
        Sample((np.stack([a[:2, :2], a[1:, 1:]]).astype(np.float32),), {"lower": True}),
        Sample((np.zeros((0, 0)),), {"lower": True}),
    ]


eigh_p: Primitive = Primitive(
    "eigh",
    shape=_eigh_shape,
    impl=lambda xp, a, *, lower: list(host_or_device(xp, "eigh")(a, _uplo(lower))),
    jvp=_eigh_jvp,
    batch=leading(lambda: eigh_p),
    multiple=True,
    kind="library",
    traits=frozenset({Trait.COSTLY, Trait.THREADED}),
    samples=lambda: _hermitian_samples(True),
)

eigvalsh_p: Primitive = Primitive(
    "eigvalsh",
    shape=_values_shape,
    impl=lambda xp, a, *, lower: host_or_device(xp, "eigvalsh")(a, _uplo(lower)),
    jvp=tangent_rules(lambda: eigvalsh_p, _values_rule),
    batch=leading(lambda: eigvalsh_p),
    kind="library",
    traits=frozenset({Trait.COSTLY, Trait.THREADED}),
    samples=lambda: _hermitian_samples(False),
)


def eigh(
    x: Any, *, lower: bool = True, symmetrize_input: bool = True, sort_eigenvalues: bool = True
) -> tuple[Any, Any]:
    """Eigenvectors and eigenvalues of Hermitian matrices, in the order of the eigenvalues.

    Derivatives of eigenvectors are those with ``v^H dv = 0``: right for every function that does not depend on the
    phases of complex vectors. Where eigenvalues coincide, see ``functrans.lax.linalg.degenerate``.

    Args:
        x: an array of shape ``(..., n, n)``.
        lower: which triangle is read, if ``symmetrize_input`` is false.
        symmetrize_input: whether the Hermitian part of ``x`` is taken, so that its gradient is Hermitian. Otherwise
            the triangle that is not read has the derivative 0, and elements of the other one beside the diagonal have
            the derivative of the two elements that they stand for.
        sort_eigenvalues: has no effect, they are always sorted.

    Returns:
        The eigenvectors as the columns of an array like ``x``, and the eigenvalues, real, of shape ``(..., n)``.

    Raises:
        ShapeError: matrices that are not square.
        numpy.linalg.LinAlgError: the iteration did not converge.

    >>> eigh(np.array([[2.0, 1.0], [1.0, 2.0]]))[1]
    array([1., 3.])
    """
    check_matrix("eigh", aval_of(x), square=True)
    w, v = eigh_p.bind(hermitian_part(x) if symmetrize_input else x, lower=bool(lower))
    return v, w


__all__ = ["eigh", "eigh_p", "eigvalsh_p"]
