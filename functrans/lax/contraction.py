"""Contraction: the sum of products over chosen axes of two arrays, from which matrix products are made.

One primitive, ``dot_general``, is closed under differentiation, transposition and batching: each of its rules gives
other instances of it. Where NumPy has a function for the case at hand the very same function is called with the
very same operands, so ``x @ w`` under a transformation equals NumPy's to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import prod
from string import ascii_letters
from typing import Any

import numpy as np

from functrans import errors
from functrans.core import dtypes
from functrans.core.avals import ShapedArray, shaped
from functrans.core.primitive import BatchAxis, Primitive, Sample, Trait, Undefined
from functrans.core.structural import broadcast_shapes, convert, shift_axes, transpose
from functrans.core.trace import aval_of
from functrans.lax.arithmetic import mul
from functrans.lax.families import tangent_rules
from functrans.lax.movement import reshape, squeeze
from functrans.lax.precision import PrecisionLike, check_precision
from functrans.lax.static import normalize_axis

Axes = tuple[int, ...]
DotDimensionNumbers = tuple[tuple[Axes, Axes], tuple[Axes, Axes]]
"""``((lhs_contract, rhs_contract), (lhs_batch, rhs_batch))``."""

Kernel = Callable[[Any, Any], Any]


def free_axes(ndim: int, contract: Axes, batch: Axes) -> Axes:
    """The axes of an operand that are neither contracted nor shared, in order."""
    return tuple(a for a in range(ndim) if a not in contract and a not in batch)


def _same_dtype(name: str, x: ShapedArray, y: ShapedArray) -> None:
    if x.dtype != y.dtype:
        raise errors.DTypeError(
            f"{name}: operands of types {x} and {y} must have one dtype. functrans.numpy promotes as NumPy does; "
            f"functrans.lax wants an explicit convert_element_type(x, dtype)"
        )


# -- shape ------------------------------------------------------------------------------------------------------


def _dot_shape(x: ShapedArray, y: ShapedArray, *, dimension_numbers: DotDimensionNumbers) -> ShapedArray:
    (lc, rc), (lb, rb) = dimension_numbers
    for side, aval, contract, batch in (("lhs", x, lc, lb), ("rhs", y, rc, rb)):
        axes = (*contract, *batch)
        if len(set(axes)) != len(axes) or any(not 0 <= a < aval.ndim for a in axes):
            raise errors.ShapeError(
                f"dot_general: {side}_contract={contract} and {side}_batch={batch} must be distinct axes of the "
                f"{side}, which has type {aval} and so {aval.ndim} axes"
            )
    for what, left, right in (("contract", lc, rc), ("batch", lb, rb)):
        if len(left) != len(right):
            raise errors.ShapeError(
                f"dot_general: lhs_{what}={left} and rhs_{what}={right} must name equally many axes, which are paired"
            )
        for a, b in zip(left, right, strict=True):
            if x.shape[a] != y.shape[b]:
                raise errors.ShapeError(
                    f"dot_general: {'contracted' if what == 'contract' else 'batch'} axes must have one extent, but "
                    f"axis {a} of the lhs has {x.shape[a]} and axis {b} of the rhs has {y.shape[b]}: the operands "
                    f"have types {x} and {y}"
                )
    _same_dtype("dot_general", x, y)
    shape = (
        *(x.shape[a] for a in lb),
        *(x.shape[a] for a in free_axes(x.ndim, lc, lb)),
        *(y.shape[a] for a in free_axes(y.ndim, rc, rb)),
    )
    return shaped(shape, x.dtype, "numpy")


# -- how it is computed -----------------------------------------------------------------------------------------


def _matrix_product(x: Any, y: Any) -> Any:
    # ndarray.dot calls the same BLAS function as matmul where memory is contiguous, at a third of the overhead.
    return _ndarray_dot(x, y) if x.flags.forc and y.flags.forc else np.matmul(x, y)


_ndarray_dot = np.ndarray.dot
_OUTER_ELEMENTS = 1 << 12
"""Results of outer products from which einsum's start is worth it."""


@lru_cache(maxsize=4096)
def _kernel(xp: Any, xs: tuple[int, ...], ys: tuple[int, ...], dims: DotDimensionNumbers) -> Kernel:
    """The array function that contracts operands of these shapes."""
    (lc, rc), (lb, rb) = dims
    lf, rf = free_axes(len(xs), lc, lb), free_axes(len(ys), rc, rb)
    matmul: Kernel = xp.matmul
    small: Kernel = _matrix_product if xp is np else matmul
    if not lc:
        return _product_kernel(xp, xs, ys, dims)
    if len(lc) == 1:
        last_of_x, row_of_y = lc[0] == len(xs) - 1, rc[0] == max(len(ys) - 2, 0)
        if last_of_x and row_of_y:
            if not lb and (len(ys) <= 2 or len(xs) == 1):
                return small if len(xs) <= 2 and len(ys) <= 2 else matmul
            if len(xs) - 2 in lf and len(ys) - 1 in rf:
                return _looped_kernel(xp, xs, ys, dims)
        elif not lb and len(xs) == len(ys) == 2:
            if last_of_x:
                return lambda x, y: small(x, y.T)
            return (lambda x, y: small(x.T, y)) if row_of_y else (lambda x, y: small(x.T, y.T))
    return _folded_kernel(xp, xs, ys, dims)


def _product_kernel(xp: Any, xs: tuple[int, ...], ys: tuple[int, ...], dims: DotDimensionNumbers) -> Kernel:
    """Nothing is contracted: a broadcast product."""
    _, (lb, rb) = dims
    lf, rf = free_axes(len(xs), (), lb), free_axes(len(ys), (), rb)
    batch = tuple(xs[a] for a in lb)
    if xp is np and batch and prod(xs) * prod(ys[a] for a in rf) >= _OUTER_ELEMENTS:
        return _outer_products(len(xs), len(ys), dims)
    x_shape = (*batch, *(xs[a] for a in lf), *(1,) * len(rf))
    y_shape = (*batch, *((1,) * len(lf) if batch else ()), *(ys[a] for a in rf))
    left, right = _arranged((*lb, *lf), xs, x_shape), _arranged((*rb, *rf), ys, y_shape)
    multiply: Kernel = xp.multiply
    if left is None and right is None:
        return multiply
    return lambda x, y: multiply(left(x) if left else x, right(y) if right else y)


def _outer_products(nx: int, ny: int, dims: DotDimensionNumbers) -> Kernel:
    """Outer products side by side. einsum has the quicker loop: a broadcast product starts anew at each short row."""
    _, (lb, rb) = dims
    x_letters = ascii_letters[:nx]
    y_letters = "".join(x_letters[lb[rb.index(a)]] if a in rb else ascii_letters[nx + a] for a in range(ny))
    free = [x_letters[a] for a in free_axes(nx, (), lb)] + [y_letters[a] for a in free_axes(ny, (), rb)]
    subscripts = f"{x_letters},{y_letters}->{''.join([*[x_letters[a] for a in lb], *free])}"
    return lambda x, y: np.einsum(subscripts, x, y)


def _looped_kernel(xp: Any, xs: tuple[int, ...], ys: tuple[int, ...], dims: DotDimensionNumbers) -> Kernel:
    """``matmul`` of the last two axes over leading ones, shared or not; neither operand is repeated in memory."""
    _, (lb, rb) = dims
    x_loops = tuple(a for a in range(len(xs) - 2) if a not in lb)
    y_loops = tuple(a for a in range(len(ys) - 2) if a not in rb)
    batch, nx, ny = len(lb), len(x_loops), len(y_loops)
    x_shape = (*(xs[a] for a in (*lb, *x_loops)), *(1,) * ny, *xs[-2:])
    y_shape = (*(ys[a] for a in rb), *(1,) * nx, *(ys[a] for a in y_loops), *ys[-2:])
    left = _arranged((*lb, *x_loops, len(xs) - 2, len(xs) - 1), xs, x_shape)
    right = _arranged((*rb, *y_loops, len(ys) - 2, len(ys) - 1), ys, y_shape)
    matmul: Kernel = xp.matmul
    if ny:
        row = batch + nx + ny
        axes = (*range(batch + nx), row, *range(batch + nx, row), row + 1)
        return lambda x, y: matmul(left(x) if left else x, right(y) if right else y).transpose(axes)
    if left is None and right is None:
        return matmul
    return lambda x, y: matmul(left(x) if left else x, right(y) if right else y)


def _folded_kernel(xp: Any, xs: tuple[int, ...], ys: tuple[int, ...], dims: DotDimensionNumbers) -> Kernel:
    """One (batched) matrix product: free axes are folded into rows and columns, contracted axes into one."""
    (lc, rc), (lb, rb) = dims
    lf, rf = free_axes(len(xs), lc, lb), free_axes(len(ys), rc, rb)
    # Adjacent axes in increasing order fold without a copy. The order of the pairs is ours: spare the larger operand.
    key = lc if prod(xs) >= prod(ys) else rc
    order = sorted(range(len(lc)), key=lambda i: key[i])
    lc, rc = tuple(lc[i] for i in order), tuple(rc[i] for i in order)
    batch = tuple(xs[a] for a in lb)
    inner = prod(xs[a] for a in lc)
    rows, columns = tuple(xs[a] for a in lf), tuple(ys[a] for a in rf)
    x_shape: tuple[int, ...] = (*batch, prod(rows), inner)
    y_shape: tuple[int, ...] = (*batch, inner, prod(columns))
    if not batch and not rows:
        x_shape = (inner,)
    if not batch and not columns:
        y_shape = (inner,)
    left, right = _arranged((*lb, *lf, *lc), xs, x_shape), _arranged((*rb, *rc, *rf), ys, y_shape)
    product: Kernel = _matrix_product if xp is np and not batch else xp.matmul
    got = (*batch, *((prod(rows),) if rows or batch else ()), *((prod(columns),) if columns or batch else ()))
    out = (*batch, *rows, *columns)
    if got == out:
        return lambda x, y: product(left(x) if left else x, right(y) if right else y)
    return lambda x, y: product(left(x) if left else x, right(y) if right else y).reshape(out)


def _arranged(axes: Axes, shape: tuple[int, ...], target: tuple[int, ...]) -> Callable[[Any], Any] | None:
    """Permutes axes, then reshapes, without a copy where that can be; None if there is nothing to do."""
    permuted = tuple(shape[a] for a in axes)
    ndim = len(axes)
    moved = axes != tuple(range(ndim))
    if permuted == target:
        if not moved:
            return None
        if ndim >= 2 and axes == (*range(ndim - 2), ndim - 1, ndim - 2):
            return lambda x: x.swapaxes(-1, -2)
        return lambda x: x.transpose(axes)
    if not moved:
        return lambda x: x.reshape(target)
    return lambda x: x.transpose(axes).reshape(target)


def _dot_impl(xp: Any, x: Any, y: Any, *, dimension_numbers: DotDimensionNumbers) -> Any:
    return _kernel(xp, x.shape, y.shape, dimension_numbers)(x, y)


def _dot_specialize(xp: Any, avals: Sequence[ShapedArray], *, dimension_numbers: DotDimensionNumbers) -> Kernel:
    x, y = avals
    if all(type(extent) is int for extent in (*x.shape, *y.shape)):
        return _kernel(xp, x.shape, y.shape, dimension_numbers)
    return lambda x, y: _kernel(xp, x.shape, y.shape, dimension_numbers)(x, y)


def _dot_into(
    xp: Any, avals: Sequence[ShapedArray], *, dimension_numbers: DotDimensionNumbers
) -> Callable[..., Any] | None:
    """Matrix products of two matrices, transposed or not: BLAS writes where it is told to."""
    x, y = avals
    (lc, rc), (lb, _) = dimension_numbers
    if xp is not np or lb or not x.ndim == y.ndim == 2 or len(lc) != 1 or x.dtype.char not in "fdFD":
        return None
    dot = np.dot
    if lc == (1,):
        return dot if rc == (0,) else lambda x, y, out: dot(x, y.T, out)
    return (lambda x, y, out: dot(x.T, y, out)) if rc == (0,) else (lambda x, y, out: dot(x.T, y.T, out))


# -- its rules --------------------------------------------------------------------------------------------------


def _dot_transpose(ct: Any, x: Any, y: Any, *, dimension_numbers: DotDimensionNumbers) -> list[Any]:
    (lc, rc), (lb, rb) = dimension_numbers
    if isinstance(x, Undefined):
        lf = free_axes(x.aval.ndim, lc, lb)
        rf = free_axes(aval_of(y).ndim, rc, rb)
        first = len(lb) + len(lf)
        return [_cotangent(ct, y, range(first, first + len(rf)), rf, rb, lb, lf, lc, rc), None]
    lf = free_axes(aval_of(x).ndim, lc, lb)
    rf = free_axes(y.aval.ndim, rc, rb)
    return [None, _cotangent(ct, x, range(len(lb), len(lb) + len(lf)), lf, lb, rb, rf, rc, lc)]


def _cotangent(
    ct: Any,
    other: Any,
    ct_contract: Sequence[int],
    other_contract: Axes,
    other_batch: Axes,
    batch: Axes,
    free: Axes,
    contract: Axes,
    paired: Axes,
) -> Any:
    """The cotangent of one operand, from the other and the axes in which ``ct`` and the other are contracted.

    ``batch``, ``free``, ``contract`` are the operand's own axes; ``paired`` are the other's partners of ``contract``.
    """
    ct_batch = tuple(range(len(batch)))
    # The free axes come from the cotangent, the contracted ones from the other operand. Which of them is the left
    # factor is chosen so that the result needs no permutation, where that is possible.
    gained = tuple(contract[paired.index(a)] for a in sorted(paired))
    ndim = len(batch) + len(free) + len(contract)
    straight, swapped = (*batch, *free, *gained), (*batch, *gained, *free)
    if swapped == tuple(range(ndim)):
        dims = ((other_contract, tuple(ct_contract)), (other_batch, ct_batch))
        out, order = dot_general_p.bind(other, ct, dimension_numbers=dims), swapped
    else:
        dims = ((tuple(ct_contract), other_contract), (ct_batch, other_batch))
        out, order = dot_general_p.bind(ct, other, dimension_numbers=dims), straight
    if order == tuple(range(ndim)):
        return out
    return transpose(out, tuple(order.index(a) for a in range(ndim)))


def _dot_batch(
    axis: BatchAxis, args: Sequence[Any], dims: Sequence[int | None], *, dimension_numbers: DotDimensionNumbers
) -> tuple[Any, int]:
    x, y = args
    (lc, rc), (lb, rb) = dimension_numbers
    dx, dy = dims
    if dx is not None:
        lc, lb = shift_axes(lc, dx), shift_axes(lb, dx)
    if dy is not None:
        rc, rb = shift_axes(rc, dy), shift_axes(rb, dy)
    if dx is not None and dy is not None:
        out = dot_general_p.bind(x, y, dimension_numbers=((lc, rc), ((dx, *lb), (dy, *rb))))
        return out, 0
    lf = free_axes(aval_of(x).ndim, lc, lb)
    rf = free_axes(aval_of(y).ndim, rc, rb)
    if dx is not None:
        return dot_general_p.bind(x, y, dimension_numbers=((lc, rc), (lb, rb))), len(lb) + lf.index(dx)
    assert dy is not None
    if len(rf) == 1:
        # No free axis but the batch: with the factors exchanged it comes before those of x, as a rule contiguous.
        return dot_general_p.bind(y, x, dimension_numbers=((rc, lc), (rb, lb))), len(lb)
    return dot_general_p.bind(x, y, dimension_numbers=((lc, rc), (lb, rb))), len(lb) + len(lf) + rf.index(dy)


def _dot_samples() -> list[Sample]:
    x = np.sin(np.arange(24.0)).reshape(2, 3, 4)
    y = np.cos(np.arange(40.0)).reshape(2, 4, 5)
    m = np.array([[0.5, -1.5, 2.0], [1.25, 3.0, -0.75]])

    def sample(x: Any, y: Any, contract: Any, batch: Any = ((), ())) -> Sample:
        return Sample((x, y), {"dimension_numbers": (contract, batch)})

    return [
        sample(m[0], m[1], ((0,), (0,))),
        sample(m, m[0], ((1,), (0,))),
        sample(m[:, 0], m, ((0,), (0,))),
        sample(m, m.T, ((1,), (0,))),
        sample(m, m, ((1,), (1,))),
        sample(m, m, ((0,), (0,))),
        sample(m.T, m, ((0,), (1,))),
        sample(x, y, ((2,), (1,)), ((0,), (0,))),
        sample(x, x, ((2,), (2,)), ((0,), (0,))),
        sample(x, y[0], ((2,), (0,))),
        sample(x[0], y, ((1,), (1,))),
        sample(x[0, 0], y, ((0,), (1,))),
        sample(x, y, ((0, 2), (0, 1))),
        sample(x, y, ((2, 0), (1, 0))),
        sample(x, m, ((0, 1), (0, 1))),
        sample(x.transpose(1, 0, 2), x, ((), ()), ((1,), (0,))),
        sample(x, x, ((), ()), ((0, 1, 2), (0, 1, 2))),
        sample(m, m, ((1,), (1,)), ((0,), (0,))),
        sample(m[0], m[1, :2], ((), ())),
        sample(np.float64(1.5), m, ((), ())),
        sample(np.float64(1.5), np.float64(-0.5), ((), ())),
        sample(np.zeros((2, 0)), np.zeros((0, 3)), ((1,), (0,))),
        sample(np.zeros((0, 3)), np.ones((3, 2)), ((1,), (0,))),
        sample(m.astype(np.float32), m.T.astype(np.float32), ((1,), (0,))),
        sample(m + 1j * m[::-1], m.T - 2j * m.T, ((1,), (0,))),
        sample(np.arange(6).reshape(2, 3), np.arange(6).reshape(3, 2), ((1,), (0,))),
        sample(m > 0, m.T > 0, ((1,), (0,))),
    ]


dot_general_p: Primitive = Primitive(
    "dot_general",
    shape=_dot_shape,
    impl=_dot_impl,
    specialize=_dot_specialize,
    into=_dot_into,
    flops=lambda x, y, *, dimension_numbers: (
        2 * x.size * prod([y.shape[d] for d in free_axes(y.ndim, dimension_numbers[0][1], dimension_numbers[1][1])])
    ),
    jvp=tangent_rules(
        lambda: dot_general_p,
        lambda t, out, x, y, **dims: dot_general_p.bind(t, y, **dims),
        lambda t, out, x, y, **dims: dot_general_p.bind(x, t, **dims),
    ),
    transpose=_dot_transpose,
    batch=_dot_batch,
    kind="library",
    traits=frozenset({Trait.COSTLY, Trait.THREADED}),
    samples=_dot_samples,
)


# -- functions --------------------------------------------------------------------------------------------------


def strong(x: Any) -> Any:
    """A weak Python number as a NumPy scalar; anything else unchanged."""
    aval = aval_of(x)
    return convert(x, aval.dtype) if aval.box == "python" else x


def dot_general(
    x: Any,
    y: Any,
    dimension_numbers: tuple[Sequence[Sequence[int]], Sequence[Sequence[int]]],
    precision: PrecisionLike = None,
    preferred_element_type: Any = None,
) -> Any:
    """The sum of products of two arrays over paired axes, for each position along shared axes.

    Args:
        x: the left operand (lhs).
        y: the right operand (rhs), of the same dtype: any, also bool (where sum is *or* and product is *and*).
        dimension_numbers: ``((lhs_contract, rhs_contract), (lhs_batch, rhs_batch))``. Contracted axes are paired
            and summed over; batch axes are paired and kept.
        precision: accepted, see ``Precision``; products are computed in full.
        preferred_element_type: a dtype in which products are formed and summed, and which the result has. A
            narrower one than the operands' only rounds the result.

    Returns:
        An array whose axes are the batch axes in the order given, then the remaining axes of x, then those of y;
        a NumPy scalar where there are none.

    Raises:
        ShapeError: axes that are out of range, repeated, or of different extents.
        DTypeError: operands of different dtypes.

    >>> x, y = np.ones((8, 2, 3)), np.ones((8, 3, 4))
    >>> dot_general(x, y, (((2,), (1,)), ((0,), (0,)))).shape
    (8, 2, 4)
    >>> dot_general(np.array([100, 100], np.int8), np.array([2, 2], np.int8), (((0,), (0,)), ((), ())), None, np.int32)
    np.int32(400)
    """
    if precision is not None:
        check_precision("dot_general", precision)
    x, y = strong(x), strong(y)
    xa, ya = aval_of(x), aval_of(y)
    (lc, rc), (lb, rb) = dimension_numbers
    dims = (
        (_positive(lc, xa, "lhs_contract"), _positive(rc, ya, "rhs_contract")),
        (_positive(lb, xa, "lhs_batch"), _positive(rb, ya, "rhs_batch")),
    )
    _dot_shape(xa, ya, dimension_numbers=dims)
    if preferred_element_type is None:
        return dot_general_p.bind(x, y, dimension_numbers=dims)
    preferred = dtypes.canonical(np.dtype(preferred_element_type))
    wide = dtypes.result_type(xa.dtype, preferred)
    return convert(dot_general_p.bind(convert(x, wide), convert(y, wide), dimension_numbers=dims), preferred)


def _positive(axes: Sequence[int], aval: ShapedArray, what: str) -> Axes:
    return tuple(normalize_axis("dot_general", a, aval.ndim, what) for a in axes)


def matmul(x: Any, y: Any) -> Any:
    """The matrix product ``x @ y`` with NumPy's rules for ranks.

    A 1-d x is a row, a 1-d y a column, and the axis so added does not appear in the result. Axes before the last
    two broadcast; no operand is repeated in memory for it.

    Args:
        x: an array of shape ``(..., n, k)`` or ``(k,)``.
        y: an array of shape ``(..., k, m)`` or ``(k,)``, of the same dtype.

    Returns:
        An array of shape ``(..., n, m)``; without ``n`` where x is 1-d, without ``m`` where y is.

    Raises:
        ShapeError: a 0-d operand, or extents that do not fit.
        DTypeError: operands of different dtypes.

    >>> matmul(np.ones((5, 1, 2, 3)), np.ones((4, 3, 2))).shape
    (5, 4, 2, 2)
    """
    xa, ya = aval_of(x), aval_of(y)
    xs, ys = xa.shape, ya.shape
    if not xs or not ys:
        raise errors.ShapeError(
            f"matmul: the {'second' if xs else 'first'} operand is 0-d, of type {ya if xs else xa}; a product with a "
            f"number is written x * y"
        )
    row = max(len(ys) - 2, 0)
    if xs[-1] != ys[row]:
        raise errors.ShapeError(
            f"matmul: shapes {xs} and {ys} do not fit: the last axis of the first operand has extent {xs[-1]}, "
            f"{'the last but one' if row else 'the first'} of the second has {ys[row]}"
        )
    _same_dtype("matmul", xa, ya)
    if (len(xs) <= 2 and len(ys) <= 2) or len(xs) == 1 or len(ys) == 1:
        return dot_general_p.bind(x, y, dimension_numbers=(((len(xs) - 1,), (row,)), ((), ())))
    return _broadcast_matmul(x, y)


def _broadcast_matmul(x: Any, y: Any) -> Any:
    xs, ys = aval_of(x).shape, aval_of(y).shape
    loops = broadcast_shapes("matmul", xs[:-2], ys[:-2])
    lead_x, lead_y = len(loops) - len(xs) + 2, len(loops) - len(ys) + 2
    # An axis of extent 1 that the other operand repeats is dropped: there is nothing to share along it.
    lead = lead_x - lead_y
    drop_x = [a for a in range(len(xs) - 2) if xs[a] == 1 and a + lead >= 0 and ys[a + lead] != 1]
    drop_y = [a for a in range(len(ys) - 2) if ys[a] == 1 and a - lead >= 0 and xs[a - lead] != 1]
    keep_x = [a for a in range(len(xs) - 2) if a not in drop_x]
    keep_y = [a for a in range(len(ys) - 2) if a not in drop_y]
    x, y = squeeze(x, drop_x), squeeze(y, drop_y)
    from_x, from_y = [a + lead_x for a in keep_x], [a + lead_y for a in keep_y]
    shared = [a for a in from_x if a in from_y]
    lb, rb = tuple(from_x.index(a) for a in shared), tuple(from_y.index(a) for a in shared)
    dims = (((len(keep_x) + 1,), (len(keep_y),)), (lb, rb))
    out = dot_general_p.bind(x, y, dimension_numbers=dims)
    n, m = -2, -1
    order = [*shared, *(a for a in from_x if a not in shared), n, *(a for a in from_y if a not in shared), m]
    return transpose(out, [order.index(a) for a in (*range(len(loops)), n, m)])


def batch_matmul(x: Any, y: Any, precision: PrecisionLike = None) -> Any:
    """The matrix product of two stacks of matrices with the same leading axes, which do not broadcast.

    >>> batch_matmul(np.ones((5, 2, 3)), np.ones((5, 3, 4))).shape
    (5, 2, 4)
    """
    xs, ys = aval_of(x).shape, aval_of(y).shape
    if len(xs) < 2 or len(xs) != len(ys) or xs[:-2] != ys[:-2]:
        raise errors.ShapeError(
            f"batch_matmul: shapes {xs} and {ys} must agree in all axes but the last two; matmul broadcasts"
        )
    check_precision("batch_matmul", precision)
    return matmul(x, y)


def dot(x: Any, y: Any, precision: PrecisionLike = None, preferred_element_type: Any = None) -> Any:
    """NumPy's ``dot``: the sum over the last axis of x and the last but one of y, or the only one of a 1-d y.

    With a 0-d operand it is the elementwise product. Up to two axes it equals ``np.dot`` to the last bit where
    operands are contiguous; with more, NumPy forms dot products one by one, and these are formed by matrix products.

    Args:
        x, y: arrays of one dtype.
        precision, preferred_element_type: as in `dot_general`.

    Returns:
        An array whose axes are those of x that remain, then those of y.

    >>> dot(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    np.float64(11.0)
    >>> dot(np.ones((2, 3)), np.ones((5, 3, 4))).shape
    (2, 5, 4)
    """
    check_precision("dot", precision)
    x, y = strong(x), strong(y)
    xs, ys = aval_of(x).shape, aval_of(y).shape
    if not xs or not ys:
        if preferred_element_type is not None:
            x, y = convert(x, preferred_element_type), convert(y, preferred_element_type)
        return mul(x, y)
    row = max(len(ys) - 2, 0)
    if xs[-1] != ys[row]:
        raise errors.ShapeError(
            f"dot: shapes {xs} and {ys} do not fit: the last axis of the first operand has extent {xs[-1]}, axis {row} "
            f"of the second has {ys[row]}"
        )
    return dot_general(x, y, (((len(xs) - 1,), (row,)), ((), ())), None, preferred_element_type)


def tensordot(x: Any, y: Any, axes: int | tuple[Any, Any] = 2) -> Any:
    """The sum of products over several axes at once, as one matrix product; ``np.tensordot``.

    Args:
        x, y: arrays of one dtype.
        axes: n for the last n axes of x with the first n of y, or a pair: the axes of x (an int or a sequence) and
            their partners in y.

    Returns:
        An array whose axes are those of x that remain, then those of y.

    Raises:
        ShapeError: extents that do not fit, or axes that the operands do not have.

    >>> tensordot(np.ones((2, 3, 4)), np.ones((4, 3, 5)), ([1, 2], [1, 0])).shape
    (2, 5)
    """
    xs, ys = aval_of(x).shape, aval_of(y).shape
    if isinstance(axes, Sequence):
        chosen_x, chosen_y = ((a,) if isinstance(a, (int, np.integer)) else tuple(a) for a in axes)
    else:
        n = int(axes)
        if not 0 <= n <= min(len(xs), len(ys)):
            raise errors.ShapeError(
                f"tensordot: axes={n} is more axes than shapes {xs} and {ys} both have, or negative"
            )
        chosen_x, chosen_y = tuple(range(len(xs) - n, len(xs))), tuple(range(n))
    lc = tuple(normalize_axis("tensordot", a, len(xs), "axes[0]") for a in chosen_x)
    rc = tuple(normalize_axis("tensordot", a, len(ys), "axes[1]") for a in chosen_y)
    if len(lc) != len(rc) or any(xs[a] != ys[b] for a, b in zip(lc, rc, strict=True)):
        raise errors.ShapeError(
            f"tensordot: axes {lc} of shape {xs} must be as many and as long as axes {rc} of shape {ys}"
        )
    _same_dtype("tensordot", aval_of(x), aval_of(y))
    lf, rf = free_axes(len(xs), lc, ()), free_axes(len(ys), rc, ())
    if not all(isinstance(extent, int) for extent in (*xs, *ys)):
        return dot_general_p.bind(x, y, dimension_numbers=((lc, rc), ((), ())))
    rows, columns = [xs[a] for a in lf], [ys[a] for a in rf]
    inner = prod(xs[a] for a in lc)
    left = reshape(transpose(x, (*lf, *lc)), (prod(rows), inner))
    right = reshape(transpose(y, (*rc, *rf)), (inner, prod(columns)))
    return reshape(dot_general_p.bind(left, right, dimension_numbers=(((1,), (0,)), ((), ()))), (*rows, *columns))
