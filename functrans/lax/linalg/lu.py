"""LU factors with partial pivoting, and the systems of equations that they solve."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from functrans import errors
from functrans.core.avals import ShapedArray
from functrans.core.primitive import Primitive, Sample, Trait, Zero
from functrans.core.structural import broadcast, instantiate, zero_of
from functrans.core.trace import aval_of
from functrans.lax.arithmetic import add, neg, sub
from functrans.lax.compare import ne
from functrans.lax.contraction import matmul
from functrans.lax.creation import eye
from functrans.lax.families import no_tangent, tangent_rules
from functrans.lax.linalg.common import (
    check_matrix,
    check_same,
    columns_batch,
    host_or_device,
    identity,
    leading,
    like,
    matrices,
    routine,
    solve_triangle,
    stacked_like,
    triangle,
)
from functrans.lax.linalg.common import transposed as swapped
from functrans.lax.linalg.triangular import triangular_solve_p
from functrans.lax.movement import broadcast_to
from functrans.lax.selection import select, stop_gradient
from functrans.lax.slicing import concatenate, pad, slice_in_dim
from functrans.lax.taking import take_along_axis

_INT = np.dtype(np.int32)
_PANEL = 32

# -- how it is computed -----------------------------------------------------------------------------------------------


def factor(xp: Any, a: Any) -> tuple[Any, Any]:
    """Both factors in one array, and the row that each row was exchanged with in its turn."""
    rows, columns = a.shape[-2:]
    k = min(rows, columns)
    solver = routine("getrf", a.dtype) if xp is np else None
    if solver is not None and a.ndim == 2 and k:
        out, pivots, _ = solver(a)
        return out, pivots
    count = prod(a.shape[:-2])
    pivots = xp.empty((*a.shape[:-2], k), _INT)
    if solver is None or count > 4 * k or not a.size:
        out = xp.array(a, order="C")
        _eliminate(xp, out.reshape(count, rows, columns), pivots.reshape(count, k))
        return out, pivots
    out = stacked_like(a.shape, a.dtype)
    for i in np.ndindex(*a.shape[:-2]):
        out[i], pivots[i], _ = solver(a[i])
    return out, pivots


def _eliminate(xp: Any, a: Any, pivots: Any) -> None:
    """Gaussian elimination of a stack in place, all matrices at a time, panel by panel (Golub & Van Loan, 3.4)."""
    each = xp.arange(len(a))
    columns = a.shape[2]
    for start in range(0, pivots.shape[1], _PANEL):
        stop = min(start + _PANEL, pivots.shape[1])
        for j in range(start, stop):
            below = a[:, j:, j]
            size = abs(below.real) + abs(below.imag) if a.dtype.kind == "c" else abs(below)
            chosen = xp.argmax(size, 1) + j
            pivots[:, j] = chosen
            row = a[:, j].copy()
            a[:, j] = a[each, chosen]
            a[each, chosen] = row
            pivot = a[:, j, j]
            a[:, j + 1 :, j] /= xp.where(pivot == 0, 1, pivot)[:, None]
            a[:, j + 1 :, j + 1 : stop] -= a[:, j + 1 :, j, None] * a[:, j, None, j + 1 : stop]
        if stop < columns:
            head = solve_triangle(xp, a[:, start:stop, start:stop], a[:, start:stop, stop:], True, True)
            a[:, start:stop, stop:] = head
            a[:, stop:, stop:] -= a[:, stop:, start:stop] @ head


def permutation_of(xp: Any, pivots: Any, size: int) -> Any:
    """The permutation that a sequence of exchanges amounts to."""
    if pivots.ndim == 1:
        order = list(range(size))
        for j, k in enumerate(pivots.tolist()):
            order[j], order[k] = order[k], order[j]
        return xp.asarray(order, pivots.dtype)
    out = xp.empty((*pivots.shape[:-1], size), pivots.dtype)
    out[...] = xp.arange(size, dtype=pivots.dtype)
    for j in range(pivots.shape[-1]):
        other = pivots[..., j, None].astype(np.intp)
        here = out[..., j].copy()
        out[..., j] = xp.take_along_axis(out, other, -1)[..., 0]
        xp.put_along_axis(out, other, here[..., None], -1)
    return out


# -- lu ---------------------------------------------------------------------------------------------------------------


def _lu_shape(a: ShapedArray) -> list[ShapedArray]:
    check_matrix("lu", a)
    *lead, rows, columns = a.shape
    return [
        like(a, a.shape),
        like(a, (*lead, min(rows, columns)), _INT),
        like(a, (*lead, rows), _INT),
    ]


def _lu_impl(xp: Any, a: Any) -> list[Any]:
    out, pivots = factor(xp, a)
    return [out, pivots, permutation_of(xp, pivots, a.shape[-2])]


def _lu_jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """With ``P dA = dL U + L dU`` and ``F = L^-1 P dA U^-1``: the strict lower triangle of F is ``L^-1 dL``.

    A factor that is not square is bordered: L by columns, U by rows of the identity.
    """
    (a,), (t,) = primals, tangents
    lu, pivots, permutation = lu_p.bind(a)
    if isinstance(t, Zero):
        return [lu, pivots, permutation], [zero_of(lu), zero_of(pivots), zero_of(permutation)]
    rows, columns = aval_of(a).shape[-2:]
    k, axis = min(rows, columns), aval_of(a).ndim - 1
    left, right = slice_in_dim(lu, 0, k, axis=axis), slice_in_dim(lu, 0, k, axis=axis - 1)
    lower = left if rows == k else concatenate([left, _tail(left, rows)], axis)
    upper = right if columns == k else concatenate([right, swapped(_tail(swapped(right), columns))], axis - 1)
    moved = rows_taken(t, permutation)
    half = triangular_solve_p.bind(lower, moved, lower=True, transposed=False, unit=True)
    flipped = triangular_solve_p.bind(upper, swapped(half), lower=False, transposed=True, unit=False)
    inner = swapped(flipped)
    below, above = triangle(inner, lower=True, weight=0.0), triangle(inner, lower=False)
    unit_lower = add(triangle(lower, lower=True, weight=0.0), identity(lower))
    if columns > rows:
        below = slice_in_dim(below, 0, rows, axis=axis)
    d_lower = matmul(unit_lower, below)
    if rows > columns:
        above = slice_in_dim(above, 0, columns, axis=axis - 1)
    d_upper = matmul(above, triangle(upper, lower=False))
    zero = aval_of(a).dtype.type(0)
    lead = ((0, 0, 0),) * (axis - 1)
    if columns > rows:
        d_lower = pad(d_lower, zero, (*lead, (0, 0, 0), (0, columns - rows, 0)))
    if rows > columns:
        d_upper = pad(d_upper, zero, (*lead, (0, rows - columns, 0), (0, 0, 0)))
    return [lu, pivots, permutation], [add(d_lower, d_upper), zero_of(pivots), zero_of(permutation)]


def _tail(left: Any, rows: int) -> Any:
    """The further columns of a lower factor that make it square."""
    aval = aval_of(left)
    n = aval.shape[-1]
    block = pad(eye(rows - n, dtype=aval.dtype), aval.dtype.type(0), ((n, 0, 0), (0, 0, 0)))
    return broadcast_to(block, (*aval.shape[:-2], rows, rows - n))


def rows_taken(x: Any, permutation: Any) -> Any:
    """The rows of matrices in the order of a permutation."""
    shape = aval_of(permutation).shape
    places = broadcast(permutation, (*shape, aval_of(x).shape[-1]), range(len(shape)))
    return take_along_axis(x, places, len(shape) - 1)


def _lu_samples() -> list[Sample]:
    a = np.array([[2.0, 0.5, -1.0], [0.75, -3.0, 0.25], [-0.5, 1.0, 1.5]])
    tall = np.array([[0.5, 2.0], [1.5, -0.25], [0.75, 1.0]])
    return [
        Sample((a,)),
        Sample((tall,)),
        Sample((tall.T,)),
        Sample((np.stack([a[:2, :2], a[1:, 1:]]).astype(np.float32),)),
        Sample((tall + 0.25j * tall[::-1],)),
        Sample((np.zeros((0, 2)),)),
    ]


lu_p: Primitive = Primitive(
    "lu",
    shape=_lu_shape,
    impl=_lu_impl,
    jvp=_lu_jvp,
    batch=leading(lambda: lu_p),
    multiple=True,
    kind="library",
    traits=frozenset({Trait.COSTLY, Trait.THREADED}),
    samples=_lu_samples,
)


def lu(x: Any) -> tuple[Any, Any, Any]:
    """The LU decomposition with partial pivoting, ``P x = L U``.

    Args:
        x: an array of shape ``(..., m, n)``.

    Returns:
        An array like ``x`` that holds U in its upper triangle and L, whose diagonal is 1, below it; the pivots, int32
        of shape ``(..., min(m, n))``: row i was exchanged with row ``pivots[i]``; and the permutation of the rows that
        the exchanges amount to, int32 of shape ``(..., m)``. The derivative is that for fixed pivots.

    Raises:
        ShapeError: an operand without two axes.

    >>> lu(np.array([[1.0, 2.0], [4.0, 4.0]]))[0]
    array([[4.  , 4.  ],
           [0.25, 1.  ]])
    """
    _lu_shape(aval_of(x))
    out, pivots, permutation = lu_p.bind(x)
    return out, pivots, permutation


# -- pivots as a permutation ------------------------------------------------------------------------------------------


def _permutation_shape(pivots: ShapedArray, *, size: int) -> ShapedArray:
    if pivots.ndim < 1 or pivots.dtype.kind not in "iu":
        raise errors.DTypeError(f"lu_pivots_to_permutation: a vector of integers is needed, got {pivots}")
    if pivots.shape[-1] > size:
        raise errors.ShapeError(
            f"lu_pivots_to_permutation: permutation_size={size} is less than the {pivots.shape[-1]} pivots"
        )
    return like(pivots, (*pivots.shape[:-1], size))


lu_pivots_to_permutation_p: Primitive = Primitive(
    "lu_pivots_to_permutation",
    shape=_permutation_shape,
    impl=lambda xp, pivots, *, size: permutation_of(xp, pivots, size),
    jvp=no_tangent(lambda: lu_pivots_to_permutation_p),
    batch=leading(lambda: lu_pivots_to_permutation_p),
    kind="library",
    samples=lambda: [
        Sample((np.array([2, 2, 3]),), {"size": 4}),
        Sample((np.array([[1, 1], [0, 1]], np.int32),), {"size": 2}),
    ],
)


def lu_pivots_to_permutation(pivots: Any, permutation_size: int) -> Any:
    """The permutation that the pivots of ``lu`` amount to.

    >>> lu_pivots_to_permutation(np.array([2, 2, 2]), 4)
    array([2, 0, 1, 3])
    """
    _permutation_shape(aval_of(pivots), size=permutation_size)
    return lu_pivots_to_permutation_p.bind(pivots, size=int(permutation_size))


# -- systems of equations ---------------------------------------------------------------------------------------------


def _system(name: str, a: ShapedArray, b: ShapedArray) -> ShapedArray:
    check_matrix(name, a, square=True)
    check_matrix(name, b)
    check_same(name, [a, b])
    if a.shape[-1] != b.shape[-2]:
        raise errors.ShapeError(
            f"{name}: the matrix has {a.shape[-1]} rows and the right-hand side {b.shape[-2]}: the operands have types "
            f"{a} and {b}"
        )
    return like(b, b.shape)


def _factored_impl(xp: Any, a: Any, factors: Any, pivots: Any, b: Any, *, transposed: bool) -> Any:
    if not b.size:
        return xp.zeros_like(b)
    if not factors.diagonal(0, -2, -1).all():
        raise np.linalg.LinAlgError("Singular matrix")
    solver = routine("getrs", b.dtype) if xp is np else None
    if solver is not None and b.ndim == 2:
        return solver(factors, pivots, b, trans=int(transposed))[0]
    count = prod(b.shape[:-2])
    if solver is not None and count <= 4 * b.shape[-2]:
        out = stacked_like(b.shape, b.dtype)
        for i in np.ndindex(*b.shape[:-2]):
            out[i], _ = solver(factors[i], pivots[i], b[i], trans=int(transposed))
        return out
    order = permutation_of(xp, pivots, b.shape[-2]).astype(np.intp)
    if transposed:
        back = xp.argsort(order, -1)
        b = solve_triangle(xp, factors.swapaxes(-1, -2), b, True, False)
        b = solve_triangle(xp, factors.swapaxes(-1, -2), b, False, True)
        return xp.take_along_axis(b, back[..., None], -2)
    b = xp.take_along_axis(b, order[..., None], -2)
    return solve_triangle(xp, factors, solve_triangle(xp, factors, b, True, True), False, False)


def _factored_shape(
    a: ShapedArray, factors: ShapedArray, pivots: ShapedArray, b: ShapedArray, *, transposed: bool
) -> ShapedArray:
    return _system("factored_solve", a, b)


def _factored_matrix_rule(t: Any, out: Any, a: Any, factors: Any, pivots: Any, b: Any, *, transposed: bool) -> Any:
    change = matmul(swapped(t) if transposed else t, out)
    return neg(factored_solve_p.bind(a, factors, pivots, change, transposed=transposed))


def _factored_samples() -> list[Sample]:
    a = np.array([[2.0, 0.5, -1.0], [0.75, -3.0, 0.25], [-0.5, 1.0, 1.5]])
    b = np.array([[1.0, -2.0], [0.5, 3.0], [2.0, 0.25]])
    c, d = a + 0.5j * a.T, b - 1j * b[::-1]

    def sample(a: Any, b: Any, transposed: bool) -> Sample:
        factors, pivots = factor(np, a)
        return Sample((a, factors, pivots, b), {"transposed": transposed}, diff=(3,), vary="scale")

    return [sample(a, b, False), sample(c[:2, :2].astype(np.complex64), d[:2, :1].astype(np.complex64), True)]


factored_solve_p: Primitive = Primitive(
    "factored_solve",
    shape=_factored_shape,
    impl=_factored_impl,
    jvp=tangent_rules(
        lambda: factored_solve_p,
        _factored_matrix_rule,
        None,
        None,
        lambda t, out, a, factors, pivots, b, **params: factored_solve_p.bind(a, factors, pivots, t, **params),
    ),
    transpose=lambda ct, a, factors, pivots, b, *, transposed: [
        None,
        None,
        None,
        factored_solve_p.bind(a, factors, pivots, ct, transposed=not transposed),
    ],
    batch=columns_batch(lambda: factored_solve_p, 3),
    kind="library",
    samples=_factored_samples,
)
"""The solution of ``a x = b`` from the factors of ``a``. Its derivative is that of a function of ``a`` and ``b``: the
factors are known by them. So one factorisation serves derivatives of every order."""


def _solve_jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    (a, b), (ta, tb) = primals, tangents
    if isinstance(ta, Zero) and isinstance(tb, Zero):
        out = solve_p.bind(a, b)
        return out, zero_of(out)
    factors, pivots, _ = lu_p.bind(stop_gradient(a))
    out = factored_solve_p.bind(a, factors, pivots, b, transposed=False)
    rest = tb if isinstance(ta, Zero) else neg(matmul(ta, out)) if isinstance(tb, Zero) else sub(tb, matmul(ta, out))
    return out, factored_solve_p.bind(a, factors, pivots, instantiate(rest), transposed=False)


def _solve_samples() -> list[Sample]:
    found = [(s.args[0], s.args[3]) for s in _factored_samples()]
    a, b = found[0]
    found.append((np.stack([a, a.T]), np.stack([b, b[::-1]])))
    found.append((np.zeros((0, 0)), np.zeros((0, 2))))
    return [Sample(pair, order=1 if len(pair[0].shape) > 2 else 2) for pair in found]


solve_p: Primitive = Primitive(
    "solve",
    shape=lambda a, b: _system("solve", a, b),
    impl=lambda xp, a, b: host_or_device(xp, "solve")(a, b),
    jvp=_solve_jvp,
    transpose=lambda ct, a, b: [None, solve_p.bind(swapped(a), ct)],
    batch=columns_batch(lambda: solve_p, 1),
    kind="library",
    traits=frozenset({Trait.COSTLY, Trait.THREADED}),
    samples=_solve_samples,
)


def solve(a: Any, b: Any) -> Any:
    """The solution of ``a x = b`` for stacks of square matrices ``a`` and of matrices ``b`` with the same leading axes.

    The derivative factors ``a`` once, whatever its order and mode.

    Raises:
        ShapeError: shapes that do not fit.
        numpy.linalg.LinAlgError: a singular matrix.
    """
    _system("solve", aval_of(a), aval_of(b))
    return solve_p.bind(a, b)


# -- inverses ---------------------------------------------------------------------------------------------------------


def _inv_shape(a: ShapedArray, *, strict: bool) -> ShapedArray:
    check_matrix("inv", a, square=True)
    return a


def inverse(xp: Any, a: Any, strict: bool) -> Any:
    """The inverses; of singular matrices NaNs unless ``strict``."""
    try:
        return host_or_device(xp, "inv")(a)
    except np.linalg.LinAlgError:
        if strict:
            raise
    if a.ndim == 2:
        return xp.full_like(a, np.nan)
    return xp.stack([inverse(xp, x, False) for x in a])


def _inv_rule(t: Any, out: Any, a: Any, *, strict: bool) -> Any:
    if not strict:
        out = select(ne(out, out), aval_of(out).dtype.type(0), out)
    return neg(matrices(out, t, out))


inv_p: Primitive = Primitive(
    "inv",
    shape=_inv_shape,
    impl=lambda xp, a, *, strict: inverse(xp, a, strict),
    jvp=tangent_rules(lambda: inv_p, _inv_rule),
    batch=leading(lambda: inv_p),
    kind="library",
    traits=frozenset({Trait.COSTLY, Trait.THREADED}),
    samples=lambda: [Sample((a,), {"strict": True}, s.order) for s in _solve_samples() for a in s.args[:1]],
)


def inv(a: Any, *, strict: bool = True) -> Any:
    """The inverses of square matrices.

    Args:
        a: an array of shape ``(..., n, n)``.
        strict: whether a singular matrix raises; otherwise its inverse is NaN, with the derivative 0.
    """
    _inv_shape(aval_of(a), strict=strict)
    return inv_p.bind(a, strict=bool(strict))


__all__ = [
    "factored_solve_p",
    "inv",
    "inv_p",
    "lu",
    "lu_p",
    "lu_pivots_to_permutation",
    "lu_pivots_to_permutation_p",
    "solve",
    "solve_p",
]
