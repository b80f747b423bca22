"""Slices of static size whose start is known only at run time.

A start below zero counts from the end. One for which the slice would not fit is moved to the nearest for which it
does, so a slice is never out of bounds.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans.core import dtypes
from functrans.core.avals import Shape, ShapedArray, shaped
from functrans.core.primitive import BatchAxis, Picked, Primitive, Sample, Source, Trait, Undefined, Zero
from functrans.core.structural import add, broadcast, convert, instantiate, move_axis, transpose, zero_of, zeros
from functrans.core.trace import Tracer, aval_of
from functrans.lax.compare import lt
from functrans.lax.creation import iota
from functrans.lax.gather import batch_coordinate, take_index
from functrans.lax.indexing import basic_index, batch_first, same_dtype
from functrans.lax.magnitude import clamp
from functrans.lax.movement import reshape
from functrans.lax.scatter import scatter
from functrans.lax.selection import select
from functrans.lax.static import normalize_axis


def _check(name: str, x: ShapedArray, starts: Sequence[ShapedArray], sizes: Shape) -> None:
    if len(starts) != x.ndim or len(sizes) != x.ndim:
        raise errors.ShapeError(
            f"{name}: an array of shape {x.shape} needs a start and a size for each of its {x.ndim} axes, got "
            f"{len(starts)} starts and sizes {sizes}"
        )
    for i, start in enumerate(starts):
        if start.dtype.kind not in "iu" or start.shape != ():
            raise errors.IndexingError(f"{name}: start {i} has type {start}, and a start is an integer without axes")
    if any(size > extent or size < 0 for size, extent in zip(sizes, x.shape, strict=True)):
        raise errors.ShapeError(f"{name}: a slice of shape {sizes} does not fit into shape {x.shape}")


def _window(shape: Shape, starts: Sequence[Any], sizes: Shape) -> tuple[slice, ...]:
    window = []
    for extent, given, size in zip(shape, starts, sizes, strict=True):
        start = int(given)
        if start < 0:
            start += extent
        start = min(max(start, 0), extent - size)
        window.append(slice(start, start + size))
    return tuple(window)


def _index_arrays(starts: Sequence[Any], dims: Sequence[int | None], shape: Shape, sizes: Shape) -> list[Any]:
    """Index arrays, the batch axis first, of the axes that a window does not cover."""
    moving = _moving_axes(shape, sizes)
    arrays = []
    for k, a in enumerate(moving):
        start = convert(starts[a], np.int64)
        start = clamp(0, select(lt(start, 0), add(start, shape[a]), start), shape[a] - sizes[a])
        steps = reshape(iota(np.int64, (sizes[a],)), (*(1,) * k, sizes[a], *(1,) * (len(moving) - 1 - k)))
        if dims[a] is not None:
            start = broadcast(start, (aval_of(start).shape[0], *(1,) * len(moving)), (0,))
        arrays.append(add(start, steps))
    return arrays


def _moving_axes(shape: Shape, sizes: Shape) -> tuple[int, ...]:
    return tuple(a for a in range(len(shape)) if sizes[a] != shape[a])


# -- dynamic_slice --------------------------------------------------------------------------------------------------


def _slice_shape(x: ShapedArray, *starts: ShapedArray, sizes: Shape) -> ShapedArray:
    _check("dynamic_slice", x, starts, sizes)
    return shaped(sizes, x.dtype, "numpy")


def _slice_impl(xp: Any, x: Any, *starts: Any, sizes: Shape) -> Any:
    return x[_window(x.shape, starts, sizes)]


def _slice_jvp(primals: Sequence[Any], tangents: Sequence[Any], *, sizes: Shape) -> tuple[Any, Any]:
    out = dynamic_slice_p.bind(*primals, sizes=sizes)
    if isinstance(tangents[0], Zero):
        return out, zero_of(out)
    return out, dynamic_slice_p.bind(tangents[0], *primals[1:], sizes=sizes)


def _slice_transpose(ct: Any, x: Undefined, *starts: Any, sizes: Shape) -> list[Any]:
    nothing = zeros(shaped(x.aval.shape, x.aval.dtype))
    return [dynamic_update_slice_p.bind(nothing, ct, *starts), *(None for _ in starts)]


def _slice_batch(axis: BatchAxis, args: Sequence[Any], dims: Sequence[int | None], *, sizes: Shape) -> tuple[Any, Any]:
    x, starts = args[0], args[1:]
    shape = aval_of(x).shape
    if dims[0] is not None:
        x = move_axis(x, dims[0], 0)
        shape = aval_of(x).shape[1:]
    moving = _moving_axes(shape, sizes)
    if all(dims[1 + a] is None for a in moving):
        starts = _unbatched(starts, dims[1:])
        if dims[0] is None:
            return dynamic_slice_p.bind(x, *starts, sizes=sizes), None
        return dynamic_slice_p.bind(x, 0, *starts, sizes=(axis.size, *sizes)), 0
    indices = _index_arrays(starts, dims[1:], shape, sizes)
    if dims[0] is None:
        out = take_index(x, indices, moving)
    else:
        out = take_index(x, [batch_coordinate(axis, indices), *indices], (0, *(a + 1 for a in moving)))
    order = _front(len(shape), moving)
    return transpose(out, (0, *(order.index(a) + 1 for a in range(len(shape))))), 0


def _unbatched(starts: Sequence[Any], dims: Sequence[int | None]) -> list[Any]:
    """Starts of which only those are batched that a window over the whole axis does not need."""
    return [s if d is None else 0 for s, d in zip(starts, dims, strict=True)]


def _front(ndim: int, moving: Sequence[int]) -> tuple[int, ...]:
    """The axes in the order that indexing some of them gives: these first."""
    return (*moving, *(a for a in range(ndim) if a not in moving))


def _slice_samples() -> list[Sample]:
    x = np.arange(24.0).reshape(2, 3, 4) / 7.0
    return [
        Sample((x, 0, np.int64(1), np.int32(3)), {"sizes": (1, 2, 2)}),
        Sample((x, np.int64(-1), 0, np.int64(-3)), {"sizes": (1, 3, 2)}),
        Sample((x[0, 0], np.uint8(1)), {"sizes": (3,)}),
        Sample((x[0, 0].astype(np.float32), 1), {"sizes": (4,)}),
        Sample((x[0] + 1j * x[1], 1, 1), {"sizes": (2, 0)}),
        Sample((np.arange(5), np.int64(2)), {"sizes": (2,)}),
        Sample((np.float64(2.5),), {"sizes": ()}),
    ]


def _slice_index(at: Sequence[Any], x: ShapedArray, *starts: ShapedArray, sizes: Shape) -> Source:
    position = []
    for d, (i, start, extent, size) in enumerate(zip(at, starts, x.shape, sizes, strict=True)):
        turn = extent if start.dtype.kind == "i" else 0
        position.append(i if size == extent else Picked(d + 1, (), extent - size + 1, "clip", turn, i))
    return Source(0, tuple(position))


dynamic_slice_p: Primitive = Primitive(
    "dynamic_slice",
    index=_slice_index,
    shape=_slice_shape,
    impl=_slice_impl,
    jvp=_slice_jvp,
    transpose=_slice_transpose,
    batch=_slice_batch,
    traits=frozenset({Trait.MOVEMENT, Trait.VIEW}),
    kind="library",
    samples=_slice_samples,
)


def dynamic_slice(x: Any, start_indices: Any, slice_sizes: Sequence[int]) -> Any:
    """A slice of ``x`` of static size that begins where integers known at run time say.

    Args:
        x: an array.
        start_indices: an integer for each axis, which may be traced. One below zero counts from the end, and the
            slice is moved so that it fits.
        slice_sizes: the shape of the slice.

    Raises:
        ShapeError: the slice is larger than ``x``, or an axis has no start or size.
        IndexingError: a start is no integer.

    >>> dynamic_slice(np.arange(6), (np.int64(4),), (3,))
    array([3, 4, 5])
    """
    sizes = tuple(map(operator.index, slice_sizes))
    x, starts = _strong(x), _starts(start_indices)
    _check("dynamic_slice", aval_of(x), [aval_of(s) for s in starts], sizes)
    return dynamic_slice_p.bind(x, *starts, sizes=sizes)


def _strong(x: Any) -> Any:
    aval = aval_of(x)
    return convert(x, aval.dtype)


def _starts(start_indices: Any) -> list[Any]:
    if isinstance(start_indices, (Tracer, np.ndarray)):
        if len(start_indices.shape) != 1:
            raise errors.IndexingError(
                f"start indices: one integer for each axis is needed, got {aval_of(start_indices)}"
            )
        return [basic_index(start_indices, (i,)) for i in range(start_indices.shape[0])]
    return list(start_indices)


# -- dynamic_update_slice -------------------------------------------------------------------------------------------


def _update_shape(x: ShapedArray, updates: ShapedArray, *starts: ShapedArray) -> ShapedArray:
    _check("dynamic_update_slice", x, starts, updates.shape)
    same_dtype("dynamic_update_slice", x, updates)
    return shaped(x.shape, x.dtype, "array")


def _update_impl(xp: Any, x: Any, updates: Any, *starts: Any) -> Any:
    return _update_over(xp.array(x, order="C"), updates, *starts)


def _update_over(out: Any, updates: Any, *starts: Any) -> Any:
    out[_window(out.shape, starts, np.shape(updates))] = updates
    return out


def _update_jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    out = dynamic_update_slice_p.bind(*primals)
    t, t_updates = tangents[:2]
    if not dtypes.is_inexact(aval_of(out).dtype) or (isinstance(t, Zero) and isinstance(t_updates, Zero)):
        return out, zero_of(out)
    return out, dynamic_update_slice_p.bind(instantiate(t), instantiate(t_updates), *primals[2:])


def _update_transpose(ct: Any, x: Any, updates: Any, *starts: Any) -> list[Any]:
    shape = updates.aval.shape if isinstance(updates, Undefined) else aval_of(updates).shape
    ct_x = ct_updates = None
    if isinstance(x, Undefined):
        ct_x = dynamic_update_slice_p.bind(ct, zeros(shaped(shape, aval_of(ct).dtype)), *starts)
    if isinstance(updates, Undefined):
        ct_updates = dynamic_slice_p.bind(ct, *starts, sizes=shape)
    return [ct_x, ct_updates, *(None for _ in starts)]


def _update_batch(axis: BatchAxis, args: Sequence[Any], dims: Sequence[int | None]) -> tuple[Any, int]:
    starts = args[2:]
    x = batch_first(axis, args[0], dims[0])
    updates = batch_first(axis, args[1], dims[1])
    shape, sizes = aval_of(x).shape[1:], aval_of(updates).shape[1:]
    moving = _moving_axes(shape, sizes)
    if all(dims[2 + a] is None for a in moving):
        return dynamic_update_slice_p.bind(x, updates, 0, *_unbatched(starts, dims[2:])), 0
    indices = _index_arrays(starts, dims[2:], shape, sizes)
    updates = transpose(updates, (0, *(a + 1 for a in _front(len(shape), moving))))
    rows = batch_coordinate(axis, indices)
    return scatter(x, updates, [rows, *indices], (0, *(a + 1 for a in moving)), unique=True), 0


dynamic_update_slice_p: Primitive = Primitive(
    "dynamic_update_slice",
    shape=_update_shape,
    impl=_update_impl,
    over=lambda xp, avals: _update_over,
    jvp=_update_jvp,
    transpose=_update_transpose,
    batch=_update_batch,
    kind="library",
    samples=lambda: [
        Sample((s.args[0], -dynamic_slice_p.bind(*s.args, **s.params), *s.args[1:])) for s in _slice_samples()
    ],
)


def dynamic_update_slice(x: Any, update: Any, start_indices: Any) -> Any:
    """A copy of ``x`` with a slice replaced that begins where integers known at run time say.

    Args:
        x: an array.
        update: what the slice becomes: an array of the dtype of ``x``, no larger than it.
        start_indices: an integer for each axis, which may be traced. One below zero counts from the end, and the
            slice is moved so that it fits.

    Raises:
        ShapeError: ``update`` is larger than ``x``, or an axis has no start.
        IndexingError: a start is no integer.
        DTypeError: the two dtypes differ.

    >>> dynamic_update_slice(np.zeros(5), np.ones(2), (np.int64(-2),))
    array([0., 0., 0., 1., 1.])
    """
    x, update, starts = _strong(x), _strong(update), _starts(start_indices)
    if aval_of(update).ndim != aval_of(x).ndim:
        raise errors.ShapeError(
            f"dynamic_update_slice: an update of shape {aval_of(update).shape} must have as many axes as the array of "
            f"shape {aval_of(x).shape} that it goes into. Insert axes of extent 1: update[None]"
        )
    _check("dynamic_update_slice", aval_of(x), [aval_of(s) for s in starts], aval_of(update).shape)
    same_dtype("dynamic_update_slice", aval_of(x), aval_of(update))
    return dynamic_update_slice_p.bind(x, update, *starts)


# -- along one axis -------------------------------------------------------------------------------------------------


def _along(x: Any, start: Any, axis: int) -> list[Any]:
    return [start if a == axis else 0 for a in range(aval_of(x).ndim)]


def dynamic_slice_in_dim(x: Any, start_index: Any, slice_size: int, axis: int = 0) -> Any:
    """A slice of static size along one axis, as ``dynamic_slice``.

    >>> dynamic_slice_in_dim(np.arange(6).reshape(2, 3), np.int64(1), 2, axis=1)
    array([[1, 2],
           [4, 5]])
    """
    shape = aval_of(x).shape
    axis = normalize_axis("dynamic_slice_in_dim", axis, len(shape))
    sizes = [operator.index(slice_size) if a == axis else extent for a, extent in enumerate(shape)]
    return dynamic_slice(x, _along(x, start_index, axis), sizes)


def dynamic_index_in_dim(x: Any, index: Any, axis: int = 0, keepdims: bool = True) -> Any:
    """The elements at one place along an axis, which is moved inside where it lies outside.

    Args:
        x: an array.
        index: an integer, which may be traced.
        axis: the axis.
        keepdims: whether the result keeps the axis, with extent 1.

    >>> dynamic_index_in_dim(np.arange(6).reshape(2, 3), np.int64(5), axis=1, keepdims=False)
    array([2, 5])
    """
    out = dynamic_slice_in_dim(x, index, 1, axis)
    if keepdims:
        return out
    shape = aval_of(out).shape
    axis = normalize_axis("dynamic_index_in_dim", axis, len(shape))
    return reshape(out, shape[:axis] + shape[axis + 1 :])


def dynamic_update_slice_in_dim(x: Any, update: Any, start_index: Any, axis: int = 0) -> Any:
    """A copy of ``x`` with a slice along one axis replaced, as ``dynamic_update_slice``.

    >>> dynamic_update_slice_in_dim(np.zeros(4), np.ones(2), np.int64(1))
    array([0., 1., 1., 0.])
    """
    axis = normalize_axis("dynamic_update_slice_in_dim", axis, aval_of(x).ndim)
    return dynamic_update_slice(x, update, _along(x, start_index, axis))


def dynamic_update_index_in_dim(x: Any, update: Any, index: Any, axis: int = 0) -> Any:
    """A copy of ``x`` with the elements at one place along an axis replaced.

    Args:
        x: an array.
        update: an array like ``x`` with extent 1 along the axis, or without that axis.
        index: an integer, which may be traced, and which is moved inside where it lies outside.
        axis: the axis.

    >>> dynamic_update_index_in_dim(np.zeros((2, 2)), np.ones(2), np.int64(1), axis=0)
    array([[0., 0.],
           [1., 1.]])
    """
    axis = normalize_axis("dynamic_update_index_in_dim", axis, aval_of(x).ndim)
    shape = aval_of(update).shape
    if len(shape) == aval_of(x).ndim - 1:
        update = reshape(update, (*shape[:axis], 1, *shape[axis:]))
    elif len(shape) != aval_of(x).ndim or shape[axis] != 1:
        raise errors.ShapeError(
            f"dynamic_update_index_in_dim: an update of shape {shape} does not go into one place along axis {axis} of "
            f"shape {aval_of(x).shape}"
        )
    return dynamic_update_slice_in_dim(x, update, index, axis)
