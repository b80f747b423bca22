"""Taking arrays apart and putting them together: slice, pad, concatenate, split, roll. All linear, and of any dtype.

Bounds are static. Each is written in terms of the others: padding is the transpose of slicing, slicing that of joining.
"""

from __future__ import annotations

import builtins
import operator
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans.core import dtypes, structural
from functrans.core.avals import ShapedArray, shaped
from functrans.core.jaxpr import SizeVar
from functrans.core.primitive import BatchAxis, Primitive, Sample, Source, Trait, Undefined, Zero
from functrans.core.structural import check_axes, convert, instantiate, reduce_sum, zero_of
from functrans.core.trace import aval_of
from functrans.interpreters.batch import materialize
from functrans.lax.creation import filled
from functrans.lax.families import movement
from functrans.lax.movement import like
from functrans.lax.selection import select
from functrans.lax.static import common_dtype, is_sequence, normalize_axis, static_extents

Padding = tuple[tuple[int, int, int], ...]

# -- slice and pad: each is the transpose of the other ------------------------------------------------------------


def _slice_shape(x: ShapedArray, *, start: Any, limit: Any, strides: Any) -> tuple[Any, ...]:
    if not x.ndim == len(start) == len(limit) == len(strides):
        raise errors.ShapeError(
            f"slice: start, limit and strides need one entry for each of the {x.ndim} axes of shape {x.shape}; got "
            f"start={start}, limit={limit}, strides={strides}"
        )
    for d, (extent, lo, hi, step) in enumerate(zip(x.shape, start, limit, strides, strict=True)):
        if hi is extent and isinstance(hi, SizeVar):
            continue
        if not 0 <= lo <= hi <= extent or step < 1:
            raise errors.ShapeError(
                f"slice: axis {d} of extent {extent} cannot be sliced by start={lo}, limit={hi}, stride={step}: "
                f"0 <= start <= limit <= extent and stride >= 1 are needed"
            )
    return tuple(
        hi if isinstance(hi, SizeVar) and (lo, step) == (0, 1) else -(-(hi - lo) // step)
        for lo, hi, step in zip(start, limit, strides, strict=True)
    )


def _slice_index(start: Any, limit: Any, strides: Any) -> tuple[Any, ...]:
    return (
        *(
            builtins.slice(None) if isinstance(hi, SizeVar) else builtins.slice(lo, hi, step)
            for lo, hi, step in zip(start, limit, strides, strict=True)
        ),
        ...,
    )


def _slice_transpose(ct: Any, x: Undefined, *, start: Any, limit: Any, strides: Any) -> list[Any]:
    padding = []
    for extent, n, lo, step in zip(x.aval.shape, aval_of(ct).shape, start, strides, strict=True):
        if isinstance(extent, SizeVar):
            padding.append((0, 0, 0))
        else:
            padding.append((lo, extent - lo - (n + max(n - 1, 0) * (step - 1)), step - 1))
    return [like(pad_p.bind(ct, x.aval.dtype.type(0), padding=tuple(padding)), x)]


def _slice_batch(
    axis: BatchAxis, args: Sequence[Any], dims: Sequence[int], *, start: Any, limit: Any, strides: Any
) -> Any:
    d = dims[0]
    return slice_p.bind(
        args[0],
        start=(*start[:d], 0, *start[d:]),
        limit=(*limit[:d], axis.size, *limit[d:]),
        strides=(*strides[:d], 1, *strides[d:]),
    ), d


slice_p: Primitive = movement(
    "slice",
    shape=_slice_shape,
    impl=lambda xp, x, *, start, limit, strides: xp.asarray(x)[_slice_index(start, limit, strides)],
    specialize=lambda xp, avals, *, start, limit, strides: (
        operator.itemgetter(_slice_index(start, limit, strides)) if avals[0].shape else xp.asarray
    ),
    index=lambda at, x, *, start, limit, strides: Source(
        0, tuple([lo + step * i for i, lo, step in zip(at, start, strides, strict=True)])
    ),
    transpose=_slice_transpose,
    batch=_slice_batch,
    view=True,
    samples=lambda: [
        Sample((np.arange(12.0).reshape(3, 4),), {"start": (1, 0), "limit": (3, 4), "strides": (1, 2)}),
        Sample((np.arange(10.0),), {"start": (2,), "limit": (9,), "strides": (3,)}),
        Sample((np.arange(4.0, dtype=np.float32),), {"start": (2,), "limit": (2,), "strides": (1,)}),
        Sample((np.arange(4) * 1j,), {"start": (0,), "limit": (4,), "strides": (3,)}),
        Sample((np.arange(4),), {"start": (1,), "limit": (2,), "strides": (1,)}),
        Sample((np.zeros((0, 2)),), {"start": (0, 1), "limit": (0, 2), "strides": (1, 1)}),
        Sample((np.float64(2.0),), {"start": (), "limit": (), "strides": ()}),
    ],
)


def slice(x: Any, start: Sequence[int], limit: Sequence[Any], strides: Sequence[int] | None = None) -> Any:
    """The elements of ``x`` from ``start`` up to (not including) ``limit`` along each axis, in steps of ``strides``.

    Args:
        x: an array.
        start, limit: ints within bounds, one for each axis.
        strides: positive ints; 1 if None.

    Raises:
        ShapeError: bounds that do not lie within the array, or are too few.

    >>> slice(np.arange(10), (2,), (9,), (3,))
    array([2, 5, 8])
    """
    aval = aval_of(x)
    lo = tuple(map(operator.index, start))
    hi = static_extents(limit)
    step = (1,) * aval.ndim if strides is None else tuple(map(operator.index, strides))
    shape = _slice_shape(aval, start=lo, limit=hi, strides=step)
    return x if shape == aval.shape and aval.box == "array" else slice_p.bind(x, start=lo, limit=hi, strides=step)


def slice_in_dim(x: Any, start: int | None, limit: int | None, stride: int = 1, axis: int = 0) -> Any:
    """``slice`` along one axis, where bounds may be None or count from the end, as Python's do.

    >>> slice_in_dim(np.arange(6).reshape(2, 3), -2, None, axis=1)
    array([[1, 2],
           [4, 5]])
    """
    shape = aval_of(x).shape
    d = normalize_axis("slice_in_dim", axis, len(shape))
    if stride < 1:
        raise errors.ShapeError(f"slice_in_dim: the stride must be positive, got {stride}; lax.rev reverses an axis")
    lo, hi, _ = builtins.slice(start, limit).indices(shape[d])
    zeros, ones = (0,) * len(shape), (1,) * len(shape)
    return slice(
        x,
        (*zeros[:d], lo, *zeros[d + 1 :]),
        (*shape[:d], max(lo, hi), *shape[d + 1 :]),
        (*ones[:d], stride, *ones[d + 1 :]),
    )


def _pad_shape(x: ShapedArray, value: ShapedArray, *, padding: Padding) -> ShapedArray:
    if value.shape != ():
        raise errors.ShapeError(f"pad: the padding value must be a scalar, got an array of shape {value.shape}")
    if len(padding) != x.ndim:
        raise errors.ShapeError(
            f"pad: padding needs one (low, high, interior) for each of the {x.ndim} axes of shape {x.shape}; "
            f"got {padding}"
        )
    shape = []
    for extent, (lo, hi, interior) in zip(x.shape, padding, strict=True):
        if (lo, hi, interior) == (0, 0, 0):
            shape.append(extent)
            continue
        shape.append(lo + hi + extent + max(extent - 1, 0) * interior)
        if interior < 0 or shape[-1] < 0:
            raise errors.ShapeError(
                f"pad: (low, high, interior)={(lo, hi, interior)} of an axis of extent {extent} would leave "
                f"{shape[-1]} elements; interior must not be negative, and low and high not remove more than there is"
            )
    return shaped(tuple(shape), common_dtype("pad", (x, value)), "array")


def _pad_indices(old: Sequence[int], new: Sequence[int], padding: Padding) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Which elements of the operand survive, and where they go."""
    source, target = [], []
    for n, m, (lo, _, interior) in zip(old, new, padding, strict=True):
        step = interior + 1
        first = -(min(lo, 0) // step)
        last = min(n, (m - 1 - lo) // step + 1)
        count = max(last - first, 0)
        source.append(builtins.slice(first, first + count))
        at = lo + first * step
        target.append(builtins.slice(at, at + (count - 1) * step + 1 if count else at, step))
    return tuple(source), tuple(target)


def _pad_impl(xp: Any, x: Any, value: Any, *, padding: Padding) -> Any:
    x = xp.asarray(x)
    new = tuple(lo + hi + n + max(n - 1, 0) * k for n, (lo, hi, k) in zip(x.shape, padding, strict=True))
    out = filled(xp, new, value, x.dtype)
    source, target = _pad_indices(x.shape, new, padding)
    out[(*target, ...)] = x[(*source, ...)]
    return out


def _pad_specialize(xp: Any, avals: Sequence[ShapedArray], *, padding: Padding) -> Any:
    x = avals[0]
    if any(isinstance(e, SizeVar) for e in x.shape) or x.shape == ():
        return lambda x, value: _pad_impl(xp, x, value, padding=padding)
    dtype = x.dtype
    new = _pad_shape(*avals, padding=padding).shape
    source, target = ((*s, ...) for s in _pad_indices(x.shape, new, padding))
    whole = all(lo >= 0 and hi >= 0 for lo, hi, _ in padding)

    def pad(x: Any, value: Any) -> Any:
        out = filled(xp, new, value, dtype)
        out[target] = x if whole else x[source]
        return out

    return pad


def _pad_index(at: Sequence[Any], x: ShapedArray, value: ShapedArray, *, padding: Padding) -> Source:
    position, guard = [], []
    for i, extent, (lo, _, interior) in zip(at, x.shape, padding, strict=True):
        step = interior + 1
        position.append((i - lo) // step)
        guard.append((i - lo, 0, (extent - 1) * step + 1 if extent else 0))
        if interior:
            guard.append(((i - lo) % step, 0, 1))
    return Source(0, tuple(position), tuple(guard), 1)


def _pad_jvp(primals: Sequence[Any], tangents: Sequence[Any], *, padding: Padding) -> tuple[Any, Any]:
    out = pad_p.bind(*primals, padding=padding)
    dtype = aval_of(out).dtype
    if all(isinstance(t, Zero) for t in tangents) or not dtypes.is_inexact(dtype):
        return out, zero_of(out)
    t, t_value = (convert(instantiate(t), dtype) for t in tangents)
    return out, pad_p.bind(t, t_value, padding=padding)


def _pad_transpose(ct: Any, x: Any, value: Any, *, padding: Padding) -> list[Any]:
    aval = aval_of(ct)
    zero = aval.dtype.type(0)
    ct_x = ct_value = None
    shape = x.aval.shape if isinstance(x, Undefined) else aval_of(x).shape
    if isinstance(x, Undefined):
        cut = tuple((max(-lo, 0), max(-hi, 0), 0) for lo, hi, _ in padding)
        whole = ct if not any(map(any, cut)) else pad_p.bind(ct, zero, padding=cut)
        start = tuple(max(lo, 0) for lo, _, _ in padding)
        strides = tuple(interior + 1 for _, _, interior in padding)
        limit = tuple(
            n if isinstance(n, SizeVar) else lo + max((n - 1) * step + 1, 0)
            for n, lo, step in zip(shape, start, strides, strict=True)
        )
        ct_x = convert(like(slice(whole, start, limit, strides), x), x.aval.dtype)
    if isinstance(value, Undefined):
        # The sum of all minus the sum of what the operand covers would cancel; a mask does not.
        around = select(_padded(shape, padding), ct, 0.0)
        ct_value = convert(reduce_sum(around, range(aval.ndim)), value.aval.dtype)
    return [ct_x, ct_value]


def _padded(shape: tuple[Any, ...], padding: Padding) -> Any:
    """Where the padding value stands."""
    return pad_p.bind(structural.zeros(shaped(shape, np.dtype(bool))), np.True_, padding=padding)


def _pad_batch(axis: BatchAxis, args: Sequence[Any], dims: Sequence[int | None], *, padding: Padding) -> Any:
    (x, value), (d, d_value) = args, dims
    if d_value is None:
        assert d is not None
        return pad_p.bind(x, value, padding=(*padding[:d], (0, 0, 0), *padding[d:])), d
    x = materialize(axis, x, d)
    aval = aval_of(x)
    out = pad_p.bind(x, aval.dtype.type(0), padding=((0, 0, 0), *padding))
    values = structural.broadcast(convert(value, aval.dtype), aval_of(out).shape, (0,))
    return select(_padded(aval.shape, ((0, 0, 0), *padding)), values, out), 0


pad_p: Primitive = Primitive(
    "pad",
    shape=_pad_shape,
    impl=_pad_impl,
    specialize=_pad_specialize,
    index=_pad_index,
    jvp=_pad_jvp,
    transpose=_pad_transpose,
    batch=_pad_batch,
    kind="library",
    traits=frozenset({Trait.MOVEMENT}),
    samples=lambda: [
        Sample((np.arange(6.0).reshape(2, 3), 0.5), {"padding": ((1, 2, 0), (0, 1, 2))}),
        Sample((np.arange(6.0).reshape(2, 3), np.float64(0.5)), {"padding": ((-1, 2, 0), (1, -2, 1))}),
        Sample((np.arange(5.0, dtype=np.float32), 2.0), {"padding": ((-3, 4, 1),)}),
        Sample((np.arange(3) * 1j, np.complex128(1 - 1j)), {"padding": ((2, 0, 0),)}),
        Sample((np.arange(3), 7), {"padding": ((0, 1, 0),)}),
        Sample((np.array([True, False]), np.True_), {"padding": ((1, 1, 1),)}),
        Sample((np.zeros((0, 2)), np.float64(-1.0)), {"padding": ((1, 1, 3), (0, 0, 0))}),
        Sample((np.array(3.0), 1.0), {"padding": ()}),
    ],
)


def pad(x: Any, value: Any, padding: Iterable[Sequence[int]]) -> Any:
    """``x`` with ``value`` around its elements and between them.

    Args:
        x: an array.
        value: a scalar of the same dtype, or a Python number.
        padding: ``(low, high, interior)`` for each axis: how many to put before the first element, behind the last one
            and between neighbours. Negative ``low`` and ``high`` remove elements instead.

    Raises:
        ShapeError: more is removed than there is, or the axes do not fit.
        DTypeError: the value has another dtype.

    >>> pad(np.array([1.0, 2.0]), 0.0, [(1, 2, 1)])
    array([0., 1., 0., 2., 0., 0.])
    >>> pad(np.arange(5), 0, [(-2, 0, 0)])
    array([2, 3, 4])
    """
    config = tuple((operator.index(lo), operator.index(hi), operator.index(k)) for lo, hi, k in padding)
    _pad_shape(aval_of(x), aval_of(value), padding=config)
    return pad_p.bind(x, value, padding=config)


# -- joining and splitting ----------------------------------------------------------------------------------------


def _concatenate_shape(*avals: ShapedArray, dimension: int) -> ShapedArray:
    if not avals:
        raise errors.ShapeError("concatenate: at least one array is needed")
    first = avals[0]
    if not 0 <= dimension < first.ndim:
        raise errors.ShapeError(
            f"concatenate: there is no axis {dimension} in an array of shape {first.shape}"
            + ("; scalars have no axis to be joined along: give them one with expand_dims" if not first.ndim else "")
        )
    for i, a in enumerate(avals):
        if a.ndim != first.ndim or any(
            m != n for d, (m, n) in enumerate(zip(a.shape, first.shape, strict=True)) if d != dimension
        ):
            raise errors.ShapeError(
                f"concatenate: operand {i} has shape {a.shape}, which does not fit {first.shape}: only the extents of "
                f"axis {dimension} may differ"
            )
    extent = sum(a.shape[dimension] for a in avals)
    shape = (*first.shape[:dimension], extent, *first.shape[dimension + 1 :])
    return shaped(shape, common_dtype("concatenate", avals), "array")


FUSED_PARTS = 4
"""Of a concatenation that is read where it is used: every element asks for each of the parts."""


def _concatenate_jvp(primals: Sequence[Any], tangents: Sequence[Any], *, dimension: int) -> tuple[Any, Any]:
    out = concatenate_p.bind(*primals, dimension=dimension)
    if all(isinstance(t, Zero) for t in tangents) or not dtypes.is_inexact(aval_of(out).dtype):
        return out, zero_of(out)
    return out, concatenate_p.bind(*map(instantiate, tangents), dimension=dimension)


def _concatenate_transpose(ct: Any, *operands: Any, dimension: int) -> list[Any]:
    result: list[Any] = []
    at = 0
    for x in operands:
        extent = (x.aval if isinstance(x, Undefined) else aval_of(x)).shape[dimension]
        result.append(slice_in_dim(ct, at, at + extent, axis=dimension) if isinstance(x, Undefined) else None)
        at += extent
    return result


def _concatenate_batch(axis: BatchAxis, args: Sequence[Any], dims: Sequence[int | None], *, dimension: int) -> Any:
    to = next(d for d in dims if d is not None)
    parts = [materialize(axis, x, d, to) for x, d in zip(args, dims, strict=True)]
    return concatenate_p.bind(*parts, dimension=dimension + (dimension >= to)), to


def _concatenate_index(at: Sequence[Any], *xs: ShapedArray, dimension: int) -> Source | None:
    """Each operand where its part of the axis is, one behind another."""
    if len(xs) > FUSED_PARTS:
        return None
    found: Source | None = None
    end = sum(x.shape[dimension] for x in xs)
    for k in range(len(xs) - 1, -1, -1):
        start = end - xs[k].shape[dimension]
        position = (*at[:dimension], at[dimension] - start, *at[dimension + 1 :])
        found = Source(k, position, ((at[dimension], start, end),), found)
        end = start
    return found


concatenate_p: Primitive = Primitive(
    "concatenate",
    index=_concatenate_index,
    shape=_concatenate_shape,
    impl=lambda xp, *xs, dimension: xp.concatenate(xs, dimension),
    specialize=lambda xp, avals, *, dimension: lambda *xs: xp.concatenate(xs, dimension),
    jvp=_concatenate_jvp,
    transpose=_concatenate_transpose,
    batch=_concatenate_batch,
    kind="library",
    traits=frozenset({Trait.MOVEMENT}),
    samples=lambda: [
        Sample((np.arange(6.0).reshape(2, 3), np.ones((2, 1)), np.zeros((2, 0))), {"dimension": 1}),
        Sample((np.arange(3.0, dtype=np.float32), np.ones(2, np.float32)), {"dimension": 0}),
        Sample((np.arange(3) * 1j, np.ones(1, complex)), {"dimension": 0}),
        Sample((np.arange(3), np.arange(2)), {"dimension": 0}),
        Sample((np.array([True]), np.array([False])), {"dimension": 0}),
        Sample((np.arange(3.0),), {"dimension": 0}),
    ],
)


def concatenate(arrays: Sequence[Any], dimension: int) -> Any:
    """Arrays of one dtype joined along an axis.

    Raises:
        ShapeError: the arrays differ in another axis.
        DTypeError: they differ in dtype.

    >>> concatenate([np.zeros(2), np.ones(1)], 0)
    array([0., 0., 1.])
    """
    avals = [aval_of(x) for x in arrays]
    d = normalize_axis("concatenate", dimension, avals[0].ndim, "dimension") if avals and avals[0].ndim else 0
    _concatenate_shape(*avals, dimension=d)
    return concatenate_p.bind(*arrays, dimension=d)


def _split_shape(x: ShapedArray, *, sizes: tuple[int, ...], axis: int) -> list[ShapedArray]:
    check_axes("split", x.ndim, (axis,))
    if sum(sizes) != x.shape[axis] or any(n < 0 for n in sizes):
        raise errors.ShapeError(
            f"split: sizes={sizes} must not be negative and add up to the extent {x.shape[axis]} of axis {axis}"
        )
    return [shaped((*x.shape[:axis], n, *x.shape[axis + 1 :]), x.dtype) for n in sizes]


def _split_impl(xp: Any, x: Any, *, sizes: tuple[int, ...], axis: int) -> list[Any]:
    ends = np.cumsum(sizes).tolist()
    lead = (builtins.slice(None),) * axis
    return [x[(*lead, builtins.slice(end - n, end))] for n, end in zip(sizes, ends, strict=True)]


def _split_specialize(xp: Any, avals: Sequence[ShapedArray], *, sizes: tuple[int, ...], axis: int) -> Any:
    ends = np.cumsum(sizes).tolist()
    lead = (builtins.slice(None),) * axis
    indices = [(*lead, builtins.slice(end - n, end)) for n, end in zip(sizes, ends, strict=True)]
    return lambda x: [x[i] for i in indices]


def _split_jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
    outs = split_p.bind(*primals, **params)
    (t,) = tangents
    if isinstance(t, Zero) or not outs or not dtypes.is_inexact(aval_of(outs[0]).dtype):
        return outs, [zero_of(out) for out in outs]
    return outs, split_p.bind(t, **params)


def _split_transpose(cts: Sequence[Any], x: Undefined, *, sizes: tuple[int, ...], axis: int) -> list[Any]:
    return [concatenate(list(map(instantiate, cts)), axis)]


def _split_batch(
    batch: BatchAxis, args: Sequence[Any], dims: Sequence[int], *, sizes: tuple[int, ...], axis: int
) -> Any:
    d = dims[0]
    outs = split_p.bind(args[0], sizes=sizes, axis=axis + (axis >= d))
    return outs, [d] * len(outs)


split_p: Primitive = Primitive(
    "split",
    shape=_split_shape,
    impl=_split_impl,
    specialize=_split_specialize,
    jvp=_split_jvp,
    transpose=_split_transpose,
    batch=_split_batch,
    multiple=True,
    kind="library",
    traits=frozenset({Trait.MOVEMENT, Trait.VIEW}),
    samples=lambda: [
        Sample((np.arange(12.0).reshape(2, 6),), {"sizes": (1, 2, 3), "axis": 1}),
        Sample((np.arange(4.0, dtype=np.float32),), {"sizes": (2, 0, 2), "axis": 0}),
        Sample((np.arange(4) * 1j,), {"sizes": (4,), "axis": 0}),
        Sample((np.arange(4),), {"sizes": (1, 3), "axis": 0}),
    ],
)


def split(x: Any, sizes: Sequence[int], axis: int = 0) -> list[Any]:
    """Consecutive parts of ``x`` along an axis, with the given extents.

    >>> split(np.arange(5), (2, 3))
    [array([0, 1]), array([2, 3, 4])]
    """
    aval = aval_of(x)
    a, extents = normalize_axis("split", axis, aval.ndim), tuple(map(operator.index, sizes))
    _split_shape(aval, sizes=extents, axis=a)
    parts: list[Any] = split_p.bind(x, sizes=extents, axis=a)
    return parts


def roll(x: Any, shift: Any, axis: Any) -> Any:
    """``x`` with its elements moved on by ``shift`` along an axis; what leaves at the end comes in at the front.

    Args:
        shift: an int, or as many as there are axes.
        axis: an int or a sequence of ints, which may name an axis again.

    >>> roll(np.arange(5), 2, 0)
    array([3, 4, 0, 1, 2])
    """
    axes = tuple(axis) if is_sequence(axis) else (axis,)
    shifts = tuple(shift) if is_sequence(shift) else (shift,) * len(axes)
    if len(shifts) != len(axes):
        raise errors.ShapeError(f"roll: there are {len(shifts)} shifts for {len(axes)} axes")
    shape = aval_of(x).shape
    total: dict[int, int] = {}
    for n, a in zip(shifts, axes, strict=True):
        d = normalize_axis("roll", a, len(shape))
        total[d] = total.get(d, 0) + operator.index(n)
    for d, n in total.items():
        if shape[d] and n % shape[d]:
            at = shape[d] - n % shape[d]
            x = concatenate([slice_in_dim(x, at, None, axis=d), slice_in_dim(x, 0, at, axis=d)], d)
    return x
