"""Reading at the places that index arrays name, and the transpose: adding into zeros at those places.

The index arrays broadcast together and index one axis of the operand each. Integers are what NumPy takes them for: a
negative one counts from the end. One that is out of bounds raises ``IndexingError`` in mode ``"raise"``; in mode
``"drop"`` it reads zero, and what it would write is dropped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from functrans import errors
from functrans.core.avals import Shape, ShapedArray, shaped
from functrans.core.primitive import BatchAxis, Picked, Primitive, Sample, Source, Trait, Undefined, Zero
from functrans.core.structural import align_batched, broadcast_shapes, move_axis, shift_axes, zero_of
from functrans.core.trace import aval_of
from functrans.lax.creation import iota
from functrans.lax.indexing import batch_first

Mode = Literal["raise", "drop"]
Axes = tuple[int, ...]

# -- shapes and places --------------------------------------------------------------------------------------------


def taken_shape(name: str, shape: Shape, indices: Sequence[ShapedArray], axes: Axes, at: int) -> Shape:
    """The shape of what index arrays name in an array of this shape; an error where they do not fit it."""
    if len(axes) != len(indices) or not indices:
        raise errors.IndexingError(f"{name}: axes={axes} must name an axis for each of the {len(indices)} index arrays")
    if list(axes) != sorted(set(axes)) or not 0 <= axes[0] or axes[-1] >= len(shape):
        raise errors.IndexingError(f"{name}: axes={axes} must be increasing axes of an array of shape {shape}")
    for i, aval in enumerate(indices):
        if aval.dtype.kind not in "iu":
            raise errors.IndexingError(
                f"{name}: index array {i} has type {aval}, and an index is an integer. A mask goes through "
                f"functrans.numpy.nonzero(mask, size=...) or functrans.numpy.where(mask, x, y)"
            )
    kept = [extent for a, extent in enumerate(shape) if a not in axes]
    if not 0 <= at <= len(kept):
        raise errors.IndexingError(f"{name}: at={at} must lie between 0 and {len(kept)}, the number of axes kept")
    try:
        middle = broadcast_shapes(name, *(i.shape for i in indices))
    except errors.ShapeError as error:
        raise errors.IndexingError(f"{error}; index arrays must broadcast together") from None
    return (*kept[:at], *middle, *kept[at:])


def natural_place(axes: Axes) -> int:
    """Where NumPy puts the axes of the index arrays: in place of indexed axes that are neighbours, else first."""
    return axes[0] if axes[-1] - axes[0] == len(axes) - 1 else 0


def numpy_key(axes: Axes, indices: Sequence[Any]) -> tuple[Any, ...]:
    """The index as NumPy takes it."""
    key: list[Any] = [slice(None)] * (axes[-1] + 1)
    for a, i in zip(axes, indices, strict=True):
        key[a] = i
    return tuple(key)


def move_block(xp: Any, x: Any, count: int, source: int, destination: int) -> Any:
    """A view with ``count`` neighbouring axes moved."""
    if source == destination or count == 0:
        return x
    return xp.moveaxis(x, range(source, source + count), range(destination, destination + count))


def outside(name: str, index: Any, axis: int, extent: int) -> errors.IndexingError:
    """The error for one index."""
    return errors.IndexingError(
        f"{name}: index {index} is out of bounds for axis {axis} with extent {extent}. Clip the index, or say what "
        f"should happen: x.at[index].get(mode='clip' | 'wrap' | 'fill'), x.at[index].set(..., mode='drop')"
    )


def out_of_bounds(name: str, shape: Shape, axes: Axes, indices: Sequence[Any]) -> errors.IndexingError:
    """The error for index arrays of which one names a place outside."""
    for axis, i in zip(axes, indices, strict=True):
        i = np.asarray(i)
        bad = i[(i < -shape[axis]) | (i >= shape[axis])]
        if bad.size:
            return outside(name, bad[0], axis, shape[axis])
    shapes = ", ".join(str(np.shape(i)) for i in indices)
    return errors.IndexingError(f"{name}: index arrays of shapes {shapes} do not fit an array of shape {shape}")


def valid_places(xp: Any, shape: Shape, axes: Axes, indices: Sequence[Any]) -> Any:
    """Which index tuples name a place inside."""
    valid: Any = True
    for axis, i in zip(axes, indices, strict=True):
        i = xp.asarray(i)
        valid = valid & (i >= -shape[axis]) & (i < shape[axis])
    return valid


def clipped(xp: Any, shape: Shape, axes: Axes, indices: Sequence[Any]) -> list[Any]:
    """Index arrays with what is out of bounds replaced by the nearest place inside."""
    return [xp.clip(i, -shape[a], max(shape[a] - 1, 0)) for a, i in zip(axes, indices, strict=True)]


def flat_positions(xp: Any, name: str, shape: Shape, indices: Sequence[Any], axes: Axes, at: int) -> Any:
    """The position in memory order of each element that the index arrays name, as one index array would need it."""
    kept = [a for a in range(len(shape)) if a not in axes]
    strides = [math.prod(shape[a + 1 :]) for a in range(len(shape))]
    total: Any = 0
    for axis, given in zip(axes, indices, strict=True):
        i = xp.asarray(given)
        if i.size:
            low, high = int(i.min()), int(i.max())
            if low < -shape[axis] or high >= shape[axis]:
                raise out_of_bounds(name, shape, axes, indices)
            i = i.astype(np.intp, copy=False)
            if low < 0:
                i = xp.where(i < 0, i + shape[axis], i)
        total = total + i.astype(np.intp, copy=False) * strides[axis]
    total = xp.asarray(total)
    ndim = total.ndim
    place = total.reshape(total.shape + (1,) * (len(kept) - at))
    for k, axis in enumerate(kept):
        behind = len(kept) - 1 - k + (ndim if k < at else 0)
        steps = xp.arange(shape[axis], dtype=np.intp) * strides[axis]
        place = place + steps.reshape((-1,) + (1,) * behind)
    return place


# -- take_index -----------------------------------------------------------------------------------------------------


def _take_shape(x: ShapedArray, *indices: ShapedArray, axes: Axes, at: int, mode: Mode) -> ShapedArray:
    return shaped(taken_shape("take_index", x.shape, indices, axes, at), x.dtype, "numpy")


def _take_impl(xp: Any, x: Any, *indices: Any, axes: Axes, at: int, mode: Mode) -> Any:
    if mode == "drop":
        return _take_or_zero(xp, x, indices, axes, at)
    try:
        if len(axes) == 1 and at == axes[0]:
            return xp.take(x, indices[0], axes[0])
        # A 0-d array rather than a scalar makes NumPy copy where it would give a view.
        indices = tuple(map(xp.asarray, indices))
        out = x[numpy_key(axes, indices)]
    except IndexError:
        raise out_of_bounds("index", x.shape, axes, indices) from None
    ndim = max(i.ndim for i in indices)
    return move_block(xp, out, ndim, natural_place(axes), at)


def _take_or_zero(xp: Any, x: Any, indices: Sequence[Any], axes: Axes, at: int) -> Any:
    valid = valid_places(xp, x.shape, axes, indices)
    behind = x.ndim - len(axes) - at
    if any(x.shape[a] == 0 for a in axes):
        shape = taken_shape("take_index", x.shape, [aval_of(i) for i in indices], axes, at)
        return xp.zeros(shape, x.dtype)[()]
    out = _take_impl(xp, x, *clipped(xp, x.shape, axes, indices), axes=axes, at=at, mode="raise")
    return xp.where(valid.reshape(valid.shape + (1,) * behind), out, x.dtype.type(0))[()]


def _take_specialize(xp: Any, avals: Sequence[ShapedArray], *, axes: Axes, at: int, mode: Mode) -> Callable[..., Any]:
    if mode == "raise" and len(axes) == 1 and at == axes[0] and avals[0].ndim:
        axis = axes[0]

        def take(x: Any, i: Any) -> Any:
            try:
                return x.take(i, axis)
            except IndexError:
                raise out_of_bounds("index", x.shape, axes, (i,)) from None

        return take

    def take_index(*args: Any) -> Any:
        return _take_impl(xp, *args, axes=axes, at=at, mode=mode)

    return take_index


def _take_jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
    out = take_index_p.bind(*primals, **params)
    if isinstance(tangents[0], Zero):
        return out, zero_of(out)
    return out, take_index_p.bind(tangents[0], *primals[1:], **params)


def _take_transpose(ct: Any, x: Undefined, *indices: Any, axes: Axes, at: int, mode: Mode) -> list[Any]:
    ct_x = scatter_add(ct, x.aval.shape, indices, axes, at, mode)
    return [ct_x, *(None for _ in indices)]


def batch_coordinate(axis: BatchAxis, indices: Sequence[Any]) -> Any:
    """An index array that runs along the batch axis in front of batched index arrays."""
    ndim = max(aval_of(i).ndim for i in indices)
    return iota(np.intp, (axis.size, *(1,) * (ndim - 1)))


def _take_batch(
    axis: BatchAxis, args: Sequence[Any], dims: Sequence[int | None], *, axes: Axes, at: int, mode: Mode
) -> tuple[Any, int]:
    x, indices = args[0], args[1:]
    if all(d is None for d in dims[1:]):
        d = dims[0]
        assert d is not None
        before = d - sum(a < d for a in range(aval_of(x).ndim) if a in shift_axes(axes, d))
        inside = before <= at
        ndim = max(aval_of(i).ndim for i in indices)
        out = take_index_p.bind(x, *indices, axes=shift_axes(axes, d), at=at + inside, mode=mode)
        return out, before if inside else before + ndim
    indices = align_batched(axis, indices, dims[1:])
    if dims[0] is None:
        return take_index_p.bind(x, *indices, axes=axes, at=at, mode=mode), at
    x = move_axis(x, dims[0], 0)
    rows = batch_coordinate(axis, indices)
    axes = (0, *(a + 1 for a in axes))
    return take_index_p.bind(x, rows, *indices, axes=axes, at=at, mode=mode), at


def _take_source(
    position: Sequence[Any], x: ShapedArray, *indices: ShapedArray, axes: Axes, at: int, mode: Mode
) -> Source:
    """Where elements come from: the kept axes around those of the index arrays, each read at its own axes."""
    ndim = max(i.ndim for i in indices)
    middle, kept = position[at : at + ndim], iter([*position[:at], *position[at + ndim :]])
    found = []
    for a, extent in enumerate(x.shape):
        if a not in axes:
            found.append(next(kept))
            continue
        k = axes.index(a)
        shape = indices[k].shape
        place = tuple([i if n != 1 else 0 for i, n in zip(middle[ndim - len(shape) :], shape, strict=True)])
        turn = extent if indices[k].dtype.kind == "i" else 0
        found.append(Picked(k + 1, place, extent, mode, turn))
    return Source(0, tuple(found))


def _taken_samples() -> list[Sample]:
    x = np.arange(24.0).reshape(2, 3, 4) / 7.0
    i, j = np.array([0, 2, -1, 2]), np.array([[1], [-2]])
    return [
        Sample((x[0, 0], i), {"axes": (0,), "at": 0, "mode": "raise"}),
        Sample((x[0, 0], np.int64(-1)), {"axes": (0,), "at": 0, "mode": "raise"}),
        Sample((x[0, 0], 2), {"axes": (0,), "at": 0, "mode": "raise"}),
        Sample((x, np.array([[1, 0], [0, 0]])), {"axes": (0,), "at": 0, "mode": "raise"}),
        Sample((x, i), {"axes": (1,), "at": 1, "mode": "raise"}),
        Sample((x, i), {"axes": (1,), "at": 0, "mode": "raise"}),
        Sample((x, i), {"axes": (1,), "at": 2, "mode": "raise"}),
        Sample((x, np.int32(1)), {"axes": (1,), "at": 0, "mode": "raise"}),
        Sample((x, j, i), {"axes": (1, 2), "at": 1, "mode": "raise"}),
        Sample((x, j, i), {"axes": (0, 2), "at": 0, "mode": "raise"}),
        Sample((x, j, 1), {"axes": (0, 2), "at": 1, "mode": "raise"}),
        Sample((x, 1, 2, -1), {"axes": (0, 1, 2), "at": 0, "mode": "raise"}),
        Sample((x[0].astype(np.float32), i), {"axes": (0,), "at": 1, "mode": "raise"}),
        Sample((x[0] + 1j * x[1], i.astype(np.uint8) % 3), {"axes": (0,), "at": 0, "mode": "raise"}),
        Sample((np.arange(5), i), {"axes": (0,), "at": 0, "mode": "raise"}),
        Sample((x, np.zeros((0, 2), int)), {"axes": (1,), "at": 1, "mode": "raise"}),
        Sample((x, np.array([0, 3, -4, 2])), {"axes": (1,), "at": 1, "mode": "drop"}),
        Sample((x, j * 3, np.array([0, 1])), {"axes": (0, 1), "at": 1, "mode": "drop"}),
        Sample((x[0, 0], 4), {"axes": (0,), "at": 0, "mode": "drop"}),
        Sample((np.zeros((0, 2)), np.array([0, 1])), {"axes": (0,), "at": 0, "mode": "drop"}),
    ]


take_index_p: Primitive = Primitive(
    "take_index",
    shape=_take_shape,
    impl=_take_impl,
    specialize=_take_specialize,
    jvp=_take_jvp,
    transpose=_take_transpose,
    batch=_take_batch,
    index=_take_source,
    traits=frozenset({Trait.MOVEMENT}),
    kind="library",
    samples=_taken_samples,
)


def take_index(x: Any, indices: Sequence[Any], axes: Sequence[int], at: int = 0, mode: Mode = "raise") -> Any:
    """The elements of ``x`` that index arrays name.

    Args:
        x: an array.
        indices: arrays of integers which broadcast together, one for each of ``axes``.
        axes: the axes that they index, increasing.
        at: how many of the other axes stand before those of the index arrays in the result.
        mode: ``"raise"`` for an error where an index is out of bounds, ``"drop"`` for zeros there.

    Raises:
        IndexingError: an index is out of bounds, no integer, or ``axes`` or ``at`` do not fit ``x``.

    >>> take_index(np.array([10, 20, 30]), [np.array([2, 0, -1])], (0,))
    array([30, 10, 30])
    """
    return take_index_p.bind(x, *indices, axes=tuple(axes), at=at, mode=mode)


# -- scatter_add: its transpose ---------------------------------------------------------------------------------------


def _scatter_add_shape(
    updates: ShapedArray, *indices: ShapedArray, shape: Shape, axes: Axes, at: int, mode: Mode
) -> ShapedArray:
    check_updates("scatter_add", updates, shape, indices, axes, at)
    return shaped(shape, updates.dtype, "array")


def check_updates(
    name: str, updates: ShapedArray, shape: Shape, indices: Sequence[ShapedArray], axes: Axes, at: int
) -> None:
    """Reject updates that do not have the shape of the places that the index arrays name."""
    expected = taken_shape(name, shape, indices, axes, at)
    if updates.shape != expected:
        raise errors.ShapeError(
            f"{name}: updates have shape {updates.shape}, and the index names places of shape {expected} in an array "
            f"of shape {shape}"
        )


def _scatter_add_impl(xp: Any, updates: Any, *indices: Any, shape: Shape, axes: Axes, at: int, mode: Mode) -> Any:
    updates = xp.asarray(updates)
    if all(np.ndim(i) == 0 for i in indices):
        return _write_one(xp, updates, indices, shape, axes, mode)
    if mode == "drop":
        updates, positions = dropped(xp, "scatter_add", updates, shape, indices, axes, at)
    else:
        rows = math.prod(shape[a] for a in axes)
        if updates.size >= 8 * rows and _distinct(xp, shape, axes, indices):
            out = xp.zeros(shape, updates.dtype)
            indices = tuple(map(xp.asarray, indices))
            ndim = max(i.ndim for i in indices)
            out[numpy_key(axes, indices)] = move_block(xp, updates, ndim, at, natural_place(axes))
            return out
        positions = flat_positions(xp, "index", shape, indices, axes, at)
    return _sum_at(xp, updates.ravel(), positions.ravel(), math.prod(shape)).reshape(shape)


def _write_one(xp: Any, updates: Any, indices: Sequence[Any], shape: Shape, axes: Axes, mode: Mode) -> Any:
    out = xp.zeros(shape, updates.dtype)
    if mode == "drop" and not valid_places(xp, shape, axes, indices):
        return out
    try:
        out[numpy_key(axes, indices)] = updates
    except IndexError:
        raise out_of_bounds("index", shape, axes, indices) from None
    return out


def _distinct(xp: Any, shape: Shape, axes: Axes, indices: Sequence[Any]) -> bool:
    """Whether no place is named twice. Asked where rows are long, so that it costs little beside writing them."""
    sizes = tuple(shape[a] for a in axes)
    places = flat_positions(xp, "index", sizes, indices, tuple(range(len(axes))), 0)
    return places.size == 0 or int(xp.bincount(places.ravel()).max()) <= 1


def dropped(
    xp: Any, name: str, updates: Any, shape: Shape, indices: Sequence[Any], axes: Axes, at: int
) -> tuple[Any, Any]:
    """The updates whose place lies inside, and the positions of these places, both flat."""
    valid = valid_places(xp, shape, axes, indices)
    if any(shape[a] == 0 for a in axes):
        return updates.ravel()[:0], xp.zeros(0, np.intp)
    positions = flat_positions(xp, name, shape, clipped(xp, shape, axes, indices), axes, at)
    valid = xp.broadcast_to(valid.reshape(valid.shape + (1,) * (len(shape) - len(axes) - at)), positions.shape)
    return updates[valid], positions[valid]


_SUMMED_AS_DOUBLE = frozenset("efd")


def _sum_at(xp: Any, updates: Any, positions: Any, size: int) -> Any:
    """Sums of flat updates by position. ``bincount`` is several times as fast as ``add.at``, and adds doubles."""
    dtype = updates.dtype
    if dtype.char in _SUMMED_AS_DOUBLE:
        return xp.bincount(positions, updates, size).astype(dtype, copy=False)
    if dtype.char in "FD":
        out = xp.empty(size, dtype)
        out.real = xp.bincount(positions, updates.real, size)
        out.imag = xp.bincount(positions, updates.imag, size)
        return out
    out = xp.zeros(size, dtype)
    xp.add.at(out, positions, updates)
    return out


def _scatter_add_specialize(
    xp: Any, avals: Sequence[ShapedArray], *, shape: Shape, axes: Axes, at: int, mode: Mode
) -> Callable[..., Any]:
    dtype, size = avals[0].dtype, math.prod(shape)
    direct = xp is np and mode == "raise" and len(shape) == 1 and avals[1].ndim == 1 and dtype.char in _SUMMED_AS_DOUBLE

    def scatter_add(*args: Any) -> Any:
        return _scatter_add_impl(xp, *args, shape=shape, axes=axes, at=at, mode=mode)

    def scatter_add_vector(updates: Any, indices: Any) -> Any:
        try:
            out = np.bincount(indices, updates, size)
        except ValueError:  # There are negative indices.
            return scatter_add(updates, indices)
        if out.size != size:
            raise out_of_bounds("index", shape, axes, (indices,))
        return out if out.dtype == dtype else out.astype(dtype)

    # bincount does not take 64-bit unsigned indices, whose values need not fit its own.
    return scatter_add_vector if direct and avals[1].dtype.char != "L" else scatter_add


def _scatter_add_jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
    out = scatter_add_p.bind(*primals, **params)
    if isinstance(tangents[0], Zero):
        return out, zero_of(out)
    return out, scatter_add_p.bind(tangents[0], *primals[1:], **params)


def _scatter_add_transpose(
    ct: Any, updates: Undefined, *indices: Any, shape: Shape, axes: Axes, at: int, mode: Mode
) -> list[Any]:
    return [take_index(ct, indices, axes, at, mode), *(None for _ in indices)]


def _scatter_add_batch(
    axis: BatchAxis, args: Sequence[Any], dims: Sequence[int | None], *, shape: Shape, axes: Axes, at: int, mode: Mode
) -> tuple[Any, int]:
    updates, indices, axes, at = batched_updates(axis, args, dims, axes, at)
    shape = (axis.size, *shape)
    return scatter_add_p.bind(updates, *indices, shape=shape, axes=axes, at=at, mode=mode), 0


def batched_updates(
    axis: BatchAxis, args: Sequence[Any], dims: Sequence[int | None], axes: Axes, at: int
) -> tuple[Any, Sequence[Any], Axes, int]:
    """Updates and index arrays for an operand with the batch axis in front, and their ``axes`` and ``at``."""
    if all(d is None for d in dims[1:]):
        return batch_first(axis, args[0], dims[0]), args[1:], tuple(a + 1 for a in axes), at + 1
    indices = align_batched(axis, args[1:], dims[1:])
    updates = batch_first(axis, args[0], dims[0], at)
    return updates, [batch_coordinate(axis, indices), *indices], (0, *(a + 1 for a in axes)), at


scatter_add_p: Primitive = Primitive(
    "scatter_add",
    shape=_scatter_add_shape,
    impl=_scatter_add_impl,
    specialize=_scatter_add_specialize,
    jvp=_scatter_add_jvp,
    transpose=_scatter_add_transpose,
    batch=_scatter_add_batch,
    kind="library",
    samples=lambda: [
        Sample((take_index_p.bind(*s.args, **s.params), *s.args[1:]), {"shape": s.args[0].shape, **s.params})
        for s in _taken_samples()
    ],
)


def scatter_add(
    updates: Any, shape: Sequence[Any], indices: Sequence[Any], axes: Sequence[int], at: int = 0, mode: Mode = "raise"
) -> Any:
    """Zeros of a shape with ``updates`` added at the places that index arrays name.

    Updates that meet at one place add up. Arguments are as for ``take_index``, whose transpose this is.

    Args:
        updates: an array of the shape that ``take_index`` would read.
        shape: the shape of the result.
        indices: arrays of integers which broadcast together, one for each of ``axes``.
        axes: the axes that they index, increasing.
        at: how many of the other axes stand before those of the index arrays in ``updates``.
        mode: ``"raise"`` for an error where an index is out of bounds, ``"drop"`` to leave such updates out.

    Raises:
        IndexingError: an index is out of bounds, no integer, or ``axes`` or ``at`` do not fit ``shape``.
        ShapeError: ``updates`` do not have the shape of the places.

    >>> scatter_add(np.array([1.0, 2.0, 4.0]), (4,), [np.array([3, 0, 3])], (0,))
    array([2., 0., 0., 5.])
    """
    return scatter_add_p.bind(updates, *indices, shape=tuple(shape), axes=tuple(axes), at=at, mode=mode)
