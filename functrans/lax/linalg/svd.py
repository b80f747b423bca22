"""Singular value decompositions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from functrans.core import dtypes
from functrans.core.avals import ShapedArray
from functrans.core.primitive import Primitive, Sample, Trait, Zero
from functrans.core.structural import broadcast, zero_of
from functrans.core.trace import aval_of
from functrans.lax.arithmetic import add, mul, neg, sub
from functrans.lax.contraction import matmul
from functrans.lax.families import tangent_rules
from functrans.lax.linalg.common import (
    adjoint,
    check_matrix,
    diagonal_of,
    host_or_device,
    leading,
    like,
    matrices,
    real_part,
    undetermined,
)
from functrans.lax.linalg.degenerate import as_column, as_row, differences, divide_by_gaps
from functrans.lax.slicing import concatenate, slice_in_dim

_OPEN = (
    "svd: the singular vectors behind the first {} are any basis of the rest of the space, and have no derivative of "
    "their own. Take full_matrices=False; the projection on that rest is eye(m) - u @ u.conj().T"
)


def _values_shape(a: ShapedArray) -> ShapedArray:
    check_matrix("svd", a)
    return like(a, (*a.shape[:-2], min(a.shape[-2:])), dtypes.real_dtype(a.dtype))


def _svd_shape(a: ShapedArray, *, full_matrices: bool) -> list[ShapedArray]:
    s = _values_shape(a)
    *lead, rows, columns = a.shape
    k = min(rows, columns)
    left, right = (rows, columns) if full_matrices else (k, k)
    return [like(a, (*lead, rows, left)), s, like(a, (*lead, right, columns))]


def _svd_jvp(primals: Sequence[Any], tangents: Sequence[Any], *, full_matrices: bool) -> tuple[list[Any], list[Any]]:
    """With ``P = U^H dA V = X S + dS - S Y`` for skew ``X = U^H dU``, ``Y = V^H dV``.

    The Hermitian and the skew part of P give the sum and the difference of X and Y, over the gaps and over the sums of
    singular values. So the product of U and V^H has its derivative where singular values coincide. What leaves the
    spaces of the singular vectors is added.
    """
    (a,), (t,) = primals, tangents
    outs = svd_p.bind(a, full_matrices=full_matrices)
    if isinstance(t, Zero) or not aval_of(a).size:
        return outs, [zero_of(o) for o in outs]
    full_u, s, full_vh = outs
    rows, columns = aval_of(a).shape[-2:]
    k, axis = min(rows, columns), aval_of(a).ndim - 1
    u, vh = slice_in_dim(full_u, 0, k, axis=axis), slice_in_dim(full_vh, 0, k, axis=axis - 1)
    v = adjoint(vh)
    moved = matmul(t, v)
    inner = matmul(adjoint(u), moved)
    turned = adjoint(inner)
    even = divide_by_gaps(mul(add(inner, turned), 0.5), differences(s), s)
    odd = divide_by_gaps(mul(sub(inner, turned), 0.5), add(as_row(s), as_column(s)), s, diagonal=True)
    d_u, d_v = matmul(u, add(even, odd)), matmul(v, sub(even, odd))
    if rows > k:
        d_u = add(d_u, _outside(sub(moved, matmul(u, inner)), s))
    if columns > k:
        back = matmul(adjoint(t), u)
        d_v = add(d_v, _outside(sub(back, matmul(v, turned)), s))
    if full_matrices and rows > k:
        d_u = _continued(full_u, u, d_u, axis)
    if full_matrices and columns > k:
        d_v = _continued(adjoint(full_vh), v, d_v, axis)
    return outs, [d_u, real_part(diagonal_of(inner)), adjoint(d_v)]


def _outside(x: Any, s: Any) -> Any:
    """The part of a change of singular vectors that leaves their space: its columns over the singular values."""
    shape = aval_of(x).shape
    lead = len(shape) - 2
    return divide_by_gaps(x, broadcast(s, shape, (*range(lead), lead + 1)), s, diagonal=True)


def _continued(full: Any, u: Any, d_u: Any, axis: int) -> Any:
    k = aval_of(u).shape[-1]
    rest = slice_in_dim(full, k, None, axis=axis)
    d_rest = neg(matmul(u, matmul(adjoint(d_u), rest)))
    return concatenate([d_u, undetermined(d_rest, _OPEN.format(k))], axis)


def _values_rule(t: Any, out: Any, a: Any) -> Any:
    u, _, vh = svd_p.bind(a, full_matrices=False)
    return real_part(diagonal_of(matrices(adjoint(u), t, adjoint(vh))))


def _matrices() -> list[Any]:
    tall = np.array([[0.5, 2.0], [1.5, -0.25], [0.75, 1.0]])
    square = np.array([[2.0, 0.5], [-1.0, 1.5]])
    return [
        tall,
        tall.T,
        np.stack([square, square.T + 0.5]).astype(np.float32),
        tall + 1j * tall[::-1],
        square.astype(np.complex64),
        np.zeros((0, 2)),
    ]


def _svd_samples() -> list[Sample]:
    # LAPACK fixes the phases of complex vectors in its own way: finite differences differ by a change of phase.
    reduced = [Sample((a,), {"full_matrices": False}, 0 if a.dtype.kind == "c" else 2) for a in _matrices()]
    square = np.array([[2.0, 0.5], [-1.0, 1.5]])
    return [*reduced, Sample((square,), {"full_matrices": True}), Sample((_matrices()[1],), {"full_matrices": True}, 0)]


svd_p: Primitive = Primitive(
    "svd",
    shape=_svd_shape,
    impl=lambda xp, a, *, full_matrices: list(host_or_device(xp, "svd")(a, full_matrices)),
    jvp=_svd_jvp,
    batch=leading(lambda: svd_p),
    multiple=True,
    kind="library",
    traits=frozenset({Trait.COSTLY, Trait.THREADED}),
    samples=_svd_samples,
)

svdvals_p: Primitive = Primitive(
    "svdvals",
    shape=_values_shape,
    impl=lambda xp, a: host_or_device(xp, "svd")(a, compute_uv=False),
    jvp=tangent_rules(lambda: svdvals_p, _values_rule),
    batch=leading(lambda: svdvals_p),
    kind="library",
    traits=frozenset({Trait.COSTLY, Trait.THREADED}),
    samples=lambda: [Sample((a,)) for a in _matrices()],
)


def svd(x: Any, *, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    """The singular value decomposition ``x = U diag(s) V^H`` with singular values in descending order.

    Derivatives of singular vectors are those with ``u^H du = -v^H dv``: right for every function that does not depend
    on the phases of complex pairs. Where singular values coincide, or vanish, see
    ``functrans.lax.linalg.degenerate``. The vectors that ``full_matrices`` adds to a matrix that is not square have no
    derivative: a function that depends on them raises NotDifferentiableError in reverse mode, and forward mode raises
    it wherever they are computed.

    Args:
        x: an array of shape ``(..., m, n)``.
        full_matrices: whether U and V are square, and otherwise of shapes ``(..., m, k)``, ``(..., k, n)`` with
            ``k = min(m, n)``.
        compute_uv: whether U and V^H are returned.

    Returns:
        ``(U, s, V^H)``, or ``s`` of shape ``(..., k)``.

    Raises:
        ShapeError: an operand without two axes.
        numpy.linalg.LinAlgError: the iteration did not converge.

    >>> svd(np.array([[0.0, 2.0], [1.0, 0.0]]), compute_uv=False)
    array([2., 1.])
    """
    _values_shape(aval_of(x))
    if not compute_uv:
        return svdvals_p.bind(x)
    return tuple(svd_p.bind(x, full_matrices=bool(full_matrices)))


__all__ = ["svd", "svd_p", "svdvals_p"]
