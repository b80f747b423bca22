"""Indexing: the static part (integers, slices, new axes) and the part that arrays of integers name.

Both read elements of one array, so both are linear, and their transposes write into zeros: ``embed`` at a static
index, ``scatter_add`` at the places that index arrays name, where what meets is added.

A static index is canonical: one entry for each axis, an integer that is not negative or ``(start, stop, step)``, with
None for new axes between. An entry that takes a whole axis is ``FULL``, and such entries at the end are left out.
Index arrays go with ``axes``, the axes of the operand that they index, and with ``at``: how many of the other axes
stand before the axes of the index arrays in the result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

import numpy as np

from functrans import errors
from functrans.core import dtypes
from functrans.core.avals import Shape, ShapedArray, shaped
from functrans.core.primitive import BatchAxis, Primitive, Sample, Source, Trait, Undefined, Zero
from functrans.core.structural import (
    broadcast,
    instantiate,
    linear_jvp,
    move_axis,
    zero_of,
    zeros,
)
from functrans.core.trace import aval_of

SliceEntry = tuple[Any, Any, Any]
Entry = int | SliceEntry | None
BasicIndex = tuple[Entry, ...]

FULL: SliceEntry = (None, None, None)

# -- static indices -------------------------------------------------------------------------------------------------


def canonical_slice(extent: Any, start: int | None, stop: int | None, step: int | None) -> SliceEntry:
    """A slice of an axis as an entry: equal selections give equal entries."""
    if start is None and stop is None and step in (None, 1):
        return FULL
    if not isinstance(extent, int):
        raise errors.IndexingError(
            f"an axis whose extent {extent} is known only at run time can be sliced only as a whole (x[:]), got "
            f"{slice(start, stop, step)}. Use functrans.lax.dynamic_slice for a piece of static size"
        )
    first, end, stride = slice(start, stop, step).indices(extent)
    count = len(range(first, end, stride))
    if count == 0:
        return FULL if extent == 0 else (0, 0, 1)
    if count == 1:
        return FULL if extent == 1 else (first, first + 1, 1)
    if stride == 1 and count == extent:
        return FULL
    last = first + (count - 1) * stride
    if stride > 0:
        return (first, last + 1, stride)
    return (first, last - 1 if last else None, stride)


def _entry_extent(entry: SliceEntry, extent: Any) -> Any:
    if entry == FULL:
        return extent
    start, stop, step = entry
    return len(range(start, -1 if stop is None else stop, step))


@lru_cache(maxsize=8192)
def basic_shape(shape: Shape, index: BasicIndex) -> Shape:
    """The shape of ``x[index]`` for an array of this shape."""
    out: list[Any] = []
    axis = 0
    for entry in index:
        if entry is None:
            out.append(1)
            continue
        if axis == len(shape):
            raise errors.IndexingError(f"the index {show_index(index)} has more entries than shape {shape} has axes")
        extent = shape[axis]
        if isinstance(entry, tuple):
            out.append(_entry_extent(entry, extent))
        elif isinstance(extent, int) and not 0 <= entry < extent:
            raise errors.IndexingError(f"index {entry} is out of bounds for axis {axis} with extent {extent}")
        axis += 1
    return (*out, *shape[axis:])


@lru_cache(maxsize=8192)
def numpy_index(index: BasicIndex) -> tuple[Any, ...]:
    """The index as NumPy takes it."""
    return tuple(slice(*entry) if isinstance(entry, tuple) else entry for entry in index)


def show_index(index: BasicIndex) -> str:
    """An index as it is written between brackets."""
    texts = []
    for entry in index:
        if isinstance(entry, tuple):
            start, stop, step = ("" if part is None else str(part) for part in entry)
            texts.append(f"{start}:{stop}" + (f":{step}" if step not in ("", "1") else ""))
        else:
            texts.append(str(entry))
    return f"[{', '.join(texts)}]"


def with_full(index: BasicIndex, axis: int) -> tuple[BasicIndex, int]:
    """An index of arrays that have one more axis, taken whole, at ``axis``; and where that axis is in the result."""
    seen = 0
    place = 0
    for i, entry in enumerate(index):
        if entry is not None:
            if seen == axis:
                return (*index[:i], FULL, *index[i:]), place
            seen += 1
        place += not isinstance(entry, int)
    return index, place + axis - seen


# -- basic_index: one NumPy call for integers, slices and new axes at once ------------------------------------------


def _as_array(xp: Any, x: Any) -> Any:
    return x if hasattr(x, "shape") else xp.asarray(x)


def _basic_transpose(ct: Any, x: Undefined, *, index: BasicIndex) -> list[Any]:
    return [embed(ct, x.aval.shape, index)]


def _basic_position(at: Sequence[Any], shape: tuple[int, ...], index: BasicIndex) -> tuple[Any, ...]:
    """Where the elements at a position of the result stand in the operand."""
    place = iter(at)
    extents = iter(shape)
    position: list[Any] = []
    for entry in index:
        if entry is None:
            next(place)
        elif isinstance(entry, int):
            position.append(entry)
            next(extents)
        else:
            start, _, step = slice(*entry).indices(next(extents))
            position.append(start + step * next(place))
    return (*position, *place)


def _basic_batch(axis: BatchAxis, args: Sequence[Any], dims: Sequence[Any], *, index: BasicIndex) -> tuple[Any, int]:
    batched, place = with_full(index, dims[0])
    return basic_index_p.bind(args[0], index=batched), place


def _indexed_samples() -> list[Sample]:
    x = np.arange(24.0).reshape(2, 3, 4) / 7.0
    return [
        Sample((x,), {"index": (1,)}),
        Sample((x,), {"index": (1, FULL, 2)}),
        Sample((x,), {"index": (1, 2, 3)}),
        Sample((x,), {"index": (FULL, (0, 2, 1), (3, None, -1))}),
        Sample((x,), {"index": (None, FULL, None, (0, 3, 2))}),
        Sample((x,), {"index": (FULL, (0, 0, 1))}),
        Sample((x[0].astype(np.float32),), {"index": ((1, 3, 1),)}),
        Sample((x[0] + 1j * x[1],), {"index": ((1, 3, 1), 0)}),
        Sample((np.arange(5),), {"index": ((4, None, -2),)}),
        Sample((np.array([True, False]),), {"index": (0,)}),
        Sample((np.zeros((0, 2)),), {"index": (FULL, 1)}),
        Sample((np.array(1.5),), {"index": ()}),
        Sample((np.float64(1.5),), {"index": (None,)}),
        Sample((1.5,), {"index": (None, None)}),
    ]


basic_index_p: Primitive = Primitive(
    "basic_index",
    shape=lambda x, *, index: shaped(basic_shape(x.shape, index), x.dtype, "numpy"),
    impl=lambda xp, x, *, index: _as_array(xp, x)[numpy_index(index)],
    specialize=lambda xp, avals, *, index: (
        itemgetter(numpy_index(index)) if avals[0].box != "python" else lambda x: xp.asarray(x)[numpy_index(index)]
    ),
    index=lambda at, x, *, index: Source(0, _basic_position(at, x.shape, index)),
    jvp=linear_jvp(lambda: basic_index_p),
    transpose=_basic_transpose,
    batch=_basic_batch,
    traits=frozenset({Trait.MOVEMENT, Trait.VIEW}),
    kind="library",
    samples=_indexed_samples,
)


def basic_index(x: Any, index: BasicIndex) -> Any:
    """``x`` at a canonical static index; ``index`` takes an index in NumPy's own notation.

    Args:
        x: an array.
        index: for each axis a non-negative integer or a slice ``(start, stop, step)``, None for a new axis.

    Raises:
        IndexingError: the index has too many entries, or one is out of bounds.

    >>> basic_index(np.arange(6).reshape(2, 3), (1, (0, 2, 1)))
    array([3, 4])
    """
    return basic_index_p.bind(x, index=index)


# -- embed: its transpose ---------------------------------------------------------------------------------------------


def _embed_shape(x: ShapedArray, *, shape: Shape, index: BasicIndex) -> ShapedArray:
    expected = basic_shape(shape, index)
    if x.shape != expected:
        raise errors.ShapeError(
            f"embed: an array of shape {x.shape} cannot be written at {show_index(index)} of shape {shape}: that "
            f"place has shape {expected}"
        )
    return shaped(shape, x.dtype, "array")


def _embed_impl(xp: Any, x: Any, *, shape: Shape, index: BasicIndex) -> Any:
    x = _as_array(xp, x)
    out = xp.zeros(shape, x.dtype)
    out[numpy_index(index)] = x
    return out


def _embed_specialize(xp: Any, avals: Sequence[ShapedArray], *, shape: Shape, index: BasicIndex) -> Any:
    zeros, dtype, where = xp.zeros, avals[0].dtype, numpy_index(index)

    def embed(x: Any) -> Any:
        out = zeros(shape, dtype)
        out[where] = x
        return out

    return embed


def _embed_batch(
    axis: BatchAxis, args: Sequence[Any], dims: Sequence[Any], *, shape: Shape, index: BasicIndex
) -> tuple[Any, int]:
    x = move_axis(args[0], dims[0], 0)
    return embed_p.bind(x, shape=(axis.size, *shape), index=(FULL, *index)), 0


embed_p: Primitive = Primitive(
    "embed",
    shape=_embed_shape,
    impl=_embed_impl,
    specialize=_embed_specialize,
    jvp=linear_jvp(lambda: embed_p),
    transpose=lambda ct, x, *, shape, index: [basic_index(ct, index)],
    batch=_embed_batch,
    traits=frozenset({Trait.MOVEMENT}),
    kind="library",
    samples=lambda: [
        Sample((s.args[0][numpy_index(s.params["index"])],), {"shape": np.shape(s.args[0]), **s.params})
        for s in _indexed_samples()[:-1]
    ],
)


def embed(x: Any, shape: Sequence[Any], index: BasicIndex) -> Any:
    """Zeros of a shape with ``x`` written at a canonical static index.

    Raises:
        ShapeError: ``x`` does not have the shape of that place.

    >>> embed(np.array([1.0, 2.0]), (2, 3), (1, (0, 2, 1)))
    array([[0., 0., 0.],
           [1., 2., 0.]])
    """
    return embed_p.bind(x, shape=tuple(shape), index=index)


# -- basic_set: an array with other values at a static index --------------------------------------------------------


def _basic_set_shape(x: ShapedArray, updates: ShapedArray, *, index: BasicIndex) -> ShapedArray:
    expected = basic_shape(x.shape, index)
    if updates.shape != expected:
        raise errors.ShapeError(
            f"basic_set: updates of shape {updates.shape} cannot be written at {show_index(index)} of shape {x.shape}: "
            f"that place has shape {expected}"
        )
    same_dtype("basic_set", x, updates)
    return shaped(x.shape, x.dtype, "array")


def _basic_set_impl(xp: Any, x: Any, updates: Any, *, index: BasicIndex) -> Any:
    out = xp.array(x)
    out[numpy_index(index)] = updates
    return out


def _basic_set_over(xp: Any, avals: Sequence[ShapedArray], *, index: BasicIndex) -> Callable[..., Any]:
    place = numpy_index(index)

    def write(out: Any, updates: Any) -> Any:
        out[place] = updates
        return out

    return write


def _basic_set_jvp(primals: Sequence[Any], tangents: Sequence[Any], *, index: BasicIndex) -> tuple[Any, Any]:
    out = basic_set_p.bind(*primals, index=index)
    t, t_updates = tangents
    if not dtypes.is_inexact(aval_of(out).dtype) or (isinstance(t, Zero) and isinstance(t_updates, Zero)):
        return out, zero_of(out)
    if isinstance(t, Zero):
        return out, embed(t_updates, aval_of(out).shape, index)
    return out, basic_set_p.bind(t, instantiate(t_updates), index=index)


def _basic_set_transpose(ct: Any, x: Any, updates: Any, *, index: BasicIndex) -> list[Any]:
    ct_x = None
    if isinstance(x, Undefined):
        hole = shaped(basic_shape(aval_of(ct).shape, index), aval_of(ct).dtype)
        ct_x = basic_set_p.bind(ct, zeros(hole), index=index)
    return [ct_x, basic_index(ct, index) if isinstance(updates, Undefined) else None]


def _basic_set_batch(
    axis: BatchAxis, args: Sequence[Any], dims: Sequence[Any], *, index: BasicIndex
) -> tuple[Any, int]:
    x, updates = (batch_first(axis, a, d) for a, d in zip(args, dims, strict=True))
    return basic_set_p.bind(x, updates, index=(FULL, *index)), 0


basic_set_p: Primitive = Primitive(
    "basic_set",
    shape=_basic_set_shape,
    impl=_basic_set_impl,
    over=_basic_set_over,
    jvp=_basic_set_jvp,
    transpose=_basic_set_transpose,
    batch=_basic_set_batch,
    kind="library",
    samples=lambda: [
        Sample((np.array(s.args[0]), -np.array(s.args[0])[numpy_index(s.params["index"])]), s.params)
        for s in _indexed_samples()
        if np.asarray(s.args[0]).dtype != bool
    ],
)


def basic_set(x: Any, updates: Any, index: BasicIndex) -> Any:
    """A copy of ``x`` with ``updates`` written at a canonical static index.

    Raises:
        ShapeError: ``updates`` do not have the shape of that place.
        DTypeError: the two dtypes differ.

    >>> basic_set(np.zeros(4), np.ones(2), ((1, 3, 1),))
    array([0., 1., 1., 0.])
    """
    return basic_set_p.bind(x, updates, index=index)


def same_dtype(name: str, x: ShapedArray, updates: ShapedArray) -> None:
    """Reject updates of another dtype than the array they go into."""
    if x.dtype != updates.dtype:
        raise errors.DTypeError(
            f"{name}: updates of type {updates} and an operand of type {x} must have one dtype. Convert the updates: "
            f"updates.astype({x.dtype.name!r})"
        )


def batch_first(axis: BatchAxis, x: Any, dim: int | None, to: int = 0) -> Any:
    """An operand with its batch axis at ``to``, repeated along it where it is not batched."""
    if dim is not None:
        return move_axis(x, dim, to)
    shape = aval_of(x).shape
    return broadcast(x, (*shape[:to], axis.size, *shape[to:]), [i + (i >= to) for i in range(len(shape))])
