"""Eigenvalues and eigenvectors of general matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from functrans.core import dtypes
from functrans.core.avals import ShapedArray
from functrans.core.primitive import Primitive, Sample, Trait, Zero
from functrans.core.structural import convert, reduce_sum, zero_of
from functrans.core.trace import aval_of
from functrans.lax.arithmetic import add, div, mul, sub
from functrans.lax.complex import complex as complex_of
from functrans.lax.complex import conj, imag, real
from functrans.lax.contraction import matmul
from functrans.lax.families import tangent_rules
from functrans.lax.linalg.common import adjoint, check_matrix, column_scaled, diagonal_of, host_or_device, leading, like
from functrans.lax.linalg.degenerate import differences, divide_by_gaps
from functrans.lax.linalg.lu import inv, solve_p
from functrans.lax.magnitude import abs as magnitude
from functrans.lax.movement import expand_dims, squeeze
from functrans.lax.power import reciprocal, sqrt
from functrans.lax.reduction import argmax
from functrans.lax.selection import stop_gradient
from functrans.lax.taking import take_along_axis


def _values_shape(a: ShapedArray) -> ShapedArray:
    check_matrix("eig", a, square=True)
    return like(a, a.shape[:-1], dtypes.complex_dtype(a.dtype))


def _eig_shape(a: ShapedArray) -> list[ShapedArray]:
    return [_values_shape(a), like(a, a.shape, dtypes.complex_dtype(a.dtype))]


def _eig_impl(xp: Any, a: Any) -> list[Any]:
    w, v = host_or_device(xp, "eig")(a)
    dtype = dtypes.complex_dtype(a.dtype)
    return [w.astype(dtype, copy=False), v.astype(dtype, copy=False)]


def _largest(v: Any) -> Any:
    """The place of the largest element of each column, with the axis of the rows kept."""
    axis = aval_of(v).ndim - 2
    return expand_dims(argmax(magnitude(stop_gradient(v)), axis), (axis,))


def _eig_jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """As for Hermitian matrices, with the inverse of the eigenvectors in place of their adjoint.

    LAPACK's columns have norm 1 and a real element of largest modulus, and so they keep.
    """
    (a,), (t,) = primals, tangents
    w, v = eig_p.bind(a)
    if isinstance(t, Zero) or not aval_of(a).size:
        return [w, v], [zero_of(w), zero_of(v)]
    inner = _in_basis(v, t)
    raw = matmul(v, divide_by_gaps(inner, differences(w), w))
    axis = aval_of(v).ndim - 2
    growth = real(reduce_sum(mul(conj(v), raw), (axis,)))
    place = _largest(v)
    turn = squeeze(imag(div(take_along_axis(raw, place, axis), take_along_axis(v, place, axis))), (axis,))
    return [w, v], [diagonal_of(inner), sub(raw, column_scaled(v, complex_of(growth, turn)))]


def _in_basis(v: Any, t: Any) -> Any:
    return solve_p.bind(v, matmul(convert(t, aval_of(v).dtype), v))


def _values_rule(t: Any, out: Any, a: Any) -> Any:
    _, v = eig_p.bind(a)
    return diagonal_of(_in_basis(v, t))


def _samples() -> list[Sample]:
    a = np.array([[2.0, 0.5, -1.0], [0.75, -3.0, 0.25], [-0.5, 1.0, 1.5]])
    turning = np.array([[0.5, 2.0], [-1.0, 0.25]])
    return [
        Sample((a,)),
        Sample((turning,)),
        Sample((a[:2, :2] + 0.5j * a[1:, 1:],)),
        Sample((np.stack([turning, a[1:, 1:]]).astype(np.float32),), order=1),
        Sample(((turning + 0.5j * a[:2, :2]).astype(np.complex64),), order=1),
        Sample((np.zeros((0, 0)),)),
    ]


eig_p: Primitive = Primitive(
    "eig",
    shape=_eig_shape,
    impl=_eig_impl,
    jvp=_eig_jvp,
    batch=leading(lambda: eig_p),
    multiple=True,
    kind="library",
    traits=frozenset({Trait.COSTLY, Trait.THREADED}),
    samples=_samples,
)

eigvals_p: Primitive = Primitive(
    "eigvals",
    shape=_values_shape,
    impl=lambda xp, a: host_or_device(xp, "eigvals")(a).astype(dtypes.complex_dtype(a.dtype), copy=False),
    jvp=tangent_rules(lambda: eigvals_p, _values_rule),
    batch=leading(lambda: eigvals_p),
    kind="library",
    traits=frozenset({Trait.COSTLY, Trait.THREADED}),
    samples=_samples,
)


def _normalized(v: Any) -> Any:
    """Columns of norm 1 whose element of largest modulus is real and positive."""
    axis = aval_of(v).ndim - 2
    square = add(mul(real(v), real(v)), mul(imag(v), imag(v)))
    shrink = reciprocal(sqrt(reduce_sum(square, (axis,))))
    top = squeeze(take_along_axis(v, _largest(v), axis), (axis,))
    size = magnitude(top)
    return column_scaled(v, div(mul(conj(top), convert(shrink, aval_of(v).dtype)), convert(size, aval_of(v).dtype)))


def eig(x: Any, *, compute_left_eigenvectors: bool = True, compute_right_eigenvectors: bool = True) -> list[Any]:
    """Eigenvalues, and left and right eigenvectors, of square matrices; complex ones for real matrices too.

    Vectors have norm 1 and a real element of largest modulus, which their derivatives keep. The left ones, with
    ``vl^H x = diag(w) vl^H``, are computed from the inverse of the right ones, so that there must be n independent
    eigenvectors. Where eigenvalues coincide, see ``functrans.lax.linalg.degenerate``.

    Args:
        x: an array of shape ``(..., n, n)``.
        compute_left_eigenvectors: whether left eigenvectors are returned.
        compute_right_eigenvectors: whether right eigenvectors are returned.

    Returns:
        A list: the eigenvalues of shape ``(..., n)``, and what was asked for, the left before the right eigenvectors,
        as columns.

    Raises:
        ShapeError: matrices that are not square.
        numpy.linalg.LinAlgError: the iteration did not converge, or left eigenvectors of a matrix without n
            independent ones.

    >>> w, vl, vr = eig(np.array([[2.0, 1.0], [0.0, 3.0]]))
    >>> w
    array([2.+0.j, 3.+0.j])
    """
    _values_shape(aval_of(x))
    if not (compute_left_eigenvectors or compute_right_eigenvectors):
        return [eigvals_p.bind(x)]
    w, v = eig_p.bind(x)
    out = [w]
    if compute_left_eigenvectors:
        out.append(_normalized(adjoint(inv(v))) if aval_of(x).size else v)
    if compute_right_eigenvectors:
        out.append(v)
    return out


__all__ = ["eig", "eig_p", "eigvals_p"]
