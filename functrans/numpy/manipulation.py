"""Shapes and axes: reshaping, moving, reversing, repeating and broadcasting."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from functrans import errors, lax
from functrans.core import dtypes
from functrans.core.structural import broadcast_shapes as _common_shape
from functrans.core.structural import convert, move_axis, rebox
from functrans.core.trace import aval_of
from functrans.lax.static import is_sequence, normalize_axes, normalize_axis, normalize_shape
from functrans.numpy.arguments import known
from functrans.numpy.dispatch import extends, implements, operand

# -- shape, and what follows from it ---------------------------------------------------------------------------


@implements(np.shape)
def shape(a: Any) -> Any:
    """The extents of an array; see ``numpy.shape``."""
    return aval_of(operand(a, "shape")).shape


@implements(np.ndim)
def ndim(a: Any) -> int:
    """The number of axes; see ``numpy.ndim``."""
    return aval_of(operand(a, "ndim")).ndim


@implements(np.size)
def size(a: Any, axis: Any = None) -> Any:
    """The number of elements, or the extent of an axis; see ``numpy.size``."""
    aval = aval_of(operand(a, "size"))
    if axis is None:
        return aval.size
    total = 1
    for d in normalize_axes("size", axis, aval.ndim, "axis"):
        total *= aval.shape[d]
    return total


# -- one array in another shape --------------------------------------------------------------------------------


def as_method(out: Any, x: Any) -> Any:
    """A 0-d result boxed as NumPy's methods box it: a NumPy scalar gives one, anything else a 0-d array."""
    return rebox(out, "numpy" if aval_of(x).box == "numpy" else "array")


def check_order(name: str, order: str | None) -> str:
    """``"C"`` or ``"F"``; the orders that ask how an array lies in memory are rejected."""
    if order in ("C", "F"):
        return order
    raise errors.ArgumentError(
        f"{name}: order={order!r} depends on how an array lies in memory, which a traced array does not say. "
        f"Pass 'C' or 'F'"
    )


def _reversed_axes(x: Any) -> Any:
    return lax.transpose(x, tuple(reversed(range(aval_of(x).ndim))))


@implements(np.reshape)
def reshape(a: Any, /, shape: Any, order: str = "C", *, copy: bool | None = None) -> Any:
    """The elements in another shape; see ``numpy.reshape``."""
    x = operand(a, "reshape")
    if check_order("reshape", order) == "C":
        return as_method(lax.reshape(x, shape), x)
    target = tuple(shape) if is_sequence(shape) else (shape,)
    return as_method(_reversed_axes(lax.reshape(_reversed_axes(x), target[::-1])), x)


@implements(np.ravel)
def ravel(a: Any, order: str = "C") -> Any:
    """The elements as a vector; see ``numpy.ravel``."""
    x = operand(a, "ravel")
    x = x if check_order("ravel", order) == "C" else _reversed_axes(x)
    return lax.reshape(x, (aval_of(x).size,))


@implements(np.squeeze)
def squeeze(a: Any, axis: Any = None) -> Any:
    """The array without axes of extent 1; see ``numpy.squeeze``."""
    x = operand(a, "squeeze")
    extents = aval_of(x).shape
    if axis is None:
        axis = tuple(d for d, extent in enumerate(extents) if extent == 1)
    return as_method(lax.squeeze(x, axis), x)


@implements(np.expand_dims)
def expand_dims(a: Any, axis: Any) -> Any:
    """The array with new axes of extent 1; see ``numpy.expand_dims``."""
    return rebox(lax.expand_dims(operand(a, "expand_dims"), axis), "array")


def _at_least(name: str, arys: tuple[Any, ...], new_shape: Any) -> Any:
    outs = []
    for a in arys:
        x = operand(a, name)
        outs.append(lax.reshape(x, new_shape(aval_of(x).shape)))
    return outs[0] if len(outs) == 1 else tuple(outs)


@implements(np.atleast_1d)
def atleast_1d(*arys: Any) -> Any:
    """Arrays with at least one axis; see ``numpy.atleast_1d``."""
    return _at_least("atleast_1d", arys, lambda s: s or (1,))


@implements(np.atleast_2d)
def atleast_2d(*arys: Any) -> Any:
    """Arrays with at least two axes; see ``numpy.atleast_2d``."""
    return _at_least("atleast_2d", arys, lambda s: s if len(s) > 1 else (1,) * (2 - len(s)) + s)


@implements(np.atleast_3d)
def atleast_3d(*arys: Any) -> Any:
    """Arrays with at least three axes; see ``numpy.atleast_3d``."""
    return _at_least(
        "atleast_3d", arys, lambda s: s if len(s) > 2 else {0: (1, 1, 1), 1: (1, *s, 1), 2: (*s, 1)}[len(s)]
    )


# -- axes ------------------------------------------------------------------------------------------------------


@implements(np.transpose, np.permute_dims)
def transpose(a: Any, axes: Any = None) -> Any:
    """The axes permuted, reversed if ``axes`` is None; see ``numpy.transpose``."""
    x = operand(a, "transpose")
    n = aval_of(x).ndim
    order = (
        tuple(reversed(range(n))) if axes is None else tuple(normalize_axis("transpose", d, n, "axes") for d in axes)
    )
    return as_method(lax.transpose(x, order), x)


permute_dims = transpose


@implements(np.matrix_transpose)
def matrix_transpose(x: Any, /) -> Any:
    """The last two axes swapped; see ``numpy.matrix_transpose``."""
    x = operand(x, "matrix_transpose")
    if aval_of(x).ndim < 2:
        raise errors.ShapeError(f"matrix_transpose: an array with two axes or more is needed, got {aval_of(x)}")
    return swapaxes(x, -1, -2)


@implements(np.swapaxes)
def swapaxes(a: Any, axis1: int, axis2: int) -> Any:
    """Two axes swapped; see ``numpy.swapaxes``."""
    x = operand(a, "swapaxes")
    order = list(range(aval_of(x).ndim))
    i, j = (
        normalize_axis("swapaxes", axis1, len(order), "axis1"),
        normalize_axis("swapaxes", axis2, len(order), "axis2"),
    )
    order[i], order[j] = order[j], order[i]
    return lax.transpose(x, order)


def _axis_tuple(name: str, axis: Any, n: int, argument: str) -> tuple[int, ...]:
    given = axis if is_sequence(axis) else (axis,)
    axes = tuple(normalize_axis(name, d, n, argument) for d in given)
    if len(set(axes)) != len(axes):
        raise errors.ShapeError(f"{name}: {argument}={axis} names an axis twice")
    return axes


@implements(np.moveaxis)
def moveaxis(a: Any, source: Any, destination: Any) -> Any:
    """Axes moved to other positions; see ``numpy.moveaxis``."""
    x = operand(a, "moveaxis")
    n = aval_of(x).ndim
    sources = _axis_tuple("moveaxis", source, n, "source")
    targets = _axis_tuple("moveaxis", destination, n, "destination")
    if len(sources) != len(targets):
        raise errors.ShapeError(f"moveaxis: source={source} and destination={destination} must have one length")
    order = [d for d in range(n) if d not in sources]
    for target, moved in sorted(zip(targets, sources, strict=True)):
        order.insert(target, moved)
    return as_method(lax.transpose(x, order), x)


@implements(np.rollaxis)
def rollaxis(a: Any, axis: int, start: int = 0) -> Any:
    """An axis moved in front of position ``start``; see ``numpy.rollaxis``."""
    x = operand(a, "rollaxis")
    n = aval_of(x).ndim
    source = normalize_axis("rollaxis", axis, n)
    before = (
        normalize_axis("rollaxis", start, n + 1, "start")
        if start >= 0
        else normalize_axis("rollaxis", start, n, "start")
    )
    return move_axis(x, source, before - (source < before))


# -- broadcasting ----------------------------------------------------------------------------------------------


@implements(np.broadcast_to)
def broadcast_to(array: Any, shape: Any, subok: bool = False) -> Any:
    """The array repeated to a shape; see ``numpy.broadcast_to``."""
    return lax.broadcast_to(operand(array, "broadcast_to"), normalize_shape("broadcast_to", shape))


@implements(np.broadcast_arrays)
def broadcast_arrays(*args: Any, subok: bool = False) -> Any:
    """Arrays repeated to their common shape; see ``numpy.broadcast_arrays``."""
    xs = [operand(a, "broadcast_arrays") for a in args]
    target = _common_shape("broadcast_arrays", *(aval_of(x).shape for x in xs))
    return tuple(lax.broadcast_to(x, target) for x in xs)


@implements(np.broadcast_shapes)
def broadcast_shapes(*args: Any) -> Any:
    """The shape that arrays of these shapes broadcast to; see ``numpy.broadcast_shapes``."""
    return _common_shape("broadcast_shapes", *(normalize_shape("broadcast_shapes", s) for s in args))


# -- order and repetition --------------------------------------------------------------------------------------


@implements(np.flip)
def flip(m: Any, axis: Any = None) -> Any:
    """The order of the elements reversed along axes; see ``numpy.flip``."""
    x = operand(m, "flip")
    out = lax.rev(x, normalize_axes("flip", axis, aval_of(x).ndim, "axis"))
    return rebox(out, "numpy")


def _flip_one(name: str, m: Any, axis: int) -> Any:
    x = operand(m, name)
    if aval_of(x).ndim <= axis:
        raise errors.ShapeError(
            f"{name}: an array with at least {axis + 1} axes is needed, got shape {aval_of(x).shape}"
        )
    return lax.rev(x, (axis,))


@implements(np.flipud)
def flipud(m: Any) -> Any:
    """The first axis reversed; see ``numpy.flipud``."""
    return _flip_one("flipud", m, 0)


@implements(np.fliplr)
def fliplr(m: Any) -> Any:
    """The second axis reversed; see ``numpy.fliplr``."""
    return _flip_one("fliplr", m, 1)


@implements(np.rot90)
def rot90(m: Any, k: int = 1, axes: Any = (0, 1)) -> Any:
    """The array turned by ``k`` right angles in the plane of two axes; see ``numpy.rot90``."""
    x = operand(m, "rot90")
    n = aval_of(x).ndim
    first, second = _axis_tuple("rot90", axes, n, "axes")
    turns = operator.index(k) % 4
    if turns == 0:
        return x
    if turns == 2:
        return lax.rev(x, (first, second))
    if turns == 1:
        return swapaxes(lax.rev(x, (second,)), first, second)
    return lax.rev(swapaxes(x, first, second), (second,))


@implements(np.roll)
def roll(a: Any, shift: Any, axis: Any = None) -> Any:
    """The elements moved on, what leaves at the end coming in at the front; see ``numpy.roll``."""
    x = operand(a, "roll")
    shifts = np.asarray(shift).ravel().tolist() if is_sequence(shift) else [operator.index(shift)]
    if axis is None:
        extents = aval_of(x).shape
        return lax.reshape(lax.roll(ravel(x), sum(shifts), 0), extents) if extents else rebox(x, "array")
    axes = tuple(axis) if is_sequence(axis) else (axis,)
    if len(shifts) != len(axes):
        if 1 not in (len(shifts), len(axes)):
            raise errors.ShapeError(f"roll: there are {len(shifts)} shifts for {len(axes)} axes")
        count = max(len(shifts), len(axes))
        shifts, axes = shifts * (count // len(shifts)), axes * (count // len(axes))
    return lax.roll(x, shifts, axes)


@implements(np.tile)
def tile(A: Any, reps: Any) -> Any:
    """The array repeated as a whole; see ``numpy.tile``."""
    return rebox(lax.tile(operand(A, "tile"), reps), "array")


@extends(np.repeat, total_repeat_length=None)
def repeat(a: Any, repeats: Any, axis: int | None = None, *, total_repeat_length: int | None = None) -> Any:
    """Each element (or member along an axis) repeated; see ``numpy.repeat``.

    Args:
        total_repeat_length: how many members to give, for where the repeats are traced and not known. Further ones
            are left out; where there are fewer, the last one is repeated.
    """
    x = operand(a, "repeat")
    if axis is None:
        x, axis = ravel(x), 0
    extents = aval_of(x).shape
    at = normalize_axis("repeat", axis, len(extents))
    if total_repeat_length is not None:
        return _repeated(x, at, operand(repeats, "repeat"), operator.index(total_repeat_length))
    counts = known("repeat", "the repeats", repeats, "Give how many members there will be with total_repeat_length=")
    if counts.ndim > 1 or counts.dtype.kind not in "iub":
        raise errors.ArgumentError(f"repeat: repeats must be an int or a vector of ints, got {repeats!r}")
    if counts.size and counts.min() < 0:
        raise errors.ShapeError(f"repeat: repeats must not be negative, got {repeats!r}")
    if counts.size == 1:
        count = int(counts.reshape(()))
        new = (*extents[: at + 1], count, *extents[at + 1 :])
        laid = lax.broadcast_in_dim(x, new, [d + (d > at) for d in range(len(extents))])
        return lax.reshape(laid, (*extents[:at], extents[at] * count, *extents[at + 1 :]))
    if counts.size != extents[at]:
        raise errors.ShapeError(f"repeat: {counts.size} repeats were given for an axis of extent {extents[at]}")
    return lax.index(x, (*(slice(None) for _ in range(at)), np.repeat(np.arange(extents[at]), counts)))


def _repeated(x: Any, axis: int, repeats: Any, total: int) -> Any:
    """A given number of members along an axis, each one as often as ``repeats`` says."""
    extent, aval = aval_of(x).shape[axis], aval_of(repeats)
    if aval.dtype.kind not in "iub" or aval.ndim > 1 or aval.size not in (1, extent):
        raise errors.ShapeError(
            f"repeat: repeats must be an int or {extent} ints for an axis of extent {extent}, got {aval}"
        )
    if not extent:
        if total:
            raise errors.ShapeError(f"repeat: there is no member to be repeated {total} times")
        return x
    ends = lax.cumsum(lax.broadcast_to(lax.reshape(convert(repeats, np.int64), (-1,)), (extent,)), 0)
    place = lax.searchsorted(ends, np.arange(total), side="right")
    return lax.take(x, lax.min(convert(place, np.int64), np.int64(extent - 1)), axis)


@implements(np.resize)
def resize(a: Any, new_shape: Any) -> Any:
    """The elements over and over again, as many as a shape takes; see ``numpy.resize``."""
    x = ravel(operand(a, "resize"))
    target = normalize_shape("resize", new_shape)
    have, need = aval_of(x).size, math.prod(target)
    if not have:
        return lax.zeros(target, aval_of(x).dtype)
    if need > have:
        x = lax.tile(x, (-(-need // have),))
    return rebox(lax.reshape(lax.slice_in_dim(x, 0, need), target), "array")


@implements(np.lib.stride_tricks.sliding_window_view)
def sliding_window_view(
    x: Any, window_shape: Any, axis: Any = None, *, subok: bool = False, writeable: bool = False
) -> Any:
    """Every window of a shape, along new last axes; see ``numpy.lib.stride_tricks.sliding_window_view``."""
    x = operand(x, "sliding_window_view")
    n = aval_of(x).ndim
    windows = normalize_shape("sliding_window_view", window_shape)
    given = range(n) if axis is None else axis if is_sequence(axis) else (axis,)
    axes = [normalize_axis("sliding_window_view", d, n) for d in given]
    if len(axes) != len(windows):
        raise errors.ShapeError(f"sliding_window_view: there are {len(windows)} windows for {len(axes)} axes")
    for d, width in zip(axes, windows, strict=True):
        count = aval_of(x).shape[d] - width + 1
        if count < 1:
            raise errors.ShapeError(
                f"sliding_window_view: a window of {width} does not fit in axis {d} of extent {aval_of(x).shape[d]}"
            )
        places = np.arange(count)[:, None] + np.arange(width)
        x = move_axis(lax.take(x, places, d), d + 1, -1)
    return rebox(x, "array")


@implements(np.trim_zeros)
def trim_zeros(filt: Any, trim: str = "fb", axis: Any = None) -> Any:
    """The array without zeros at its ends; see ``numpy.trim_zeros``.

    The shape of the result depends on the elements, which must be known: it cannot be used under ``jit`` and ``vmap``.
    """
    x = operand(filt, "trim_zeros")
    values = known("trim_zeros", "the array", x, "Multiply by a mask instead, which leaves the shape as it is")
    ndim = values.ndim
    index = [slice(None)] * ndim
    for d in normalize_axes("trim_zeros", axis, ndim, "axis"):
        found = np.flatnonzero(values.any(axis=tuple(i for i in range(ndim) if i != d)))
        if not found.size:
            index[d] = slice(0, 0)
            continue
        front = int(found[0]) if "f" in trim.lower() else 0
        index[d] = slice(front, int(found[-1]) + 1 if "b" in trim.lower() else None)
    return lax.index(x, tuple(index))


# -- dtype and parts -------------------------------------------------------------------------------------------


@implements(np.real)
def real(val: Any) -> Any:
    """The real part; see ``numpy.real``."""
    x = operand(val, "real")
    aval = aval_of(x)
    return rebox(lax.real(x), aval.box) if dtypes.is_complex(aval.dtype) else x


@implements(np.imag)
def imag(val: Any) -> Any:
    """The imaginary part; see ``numpy.imag``."""
    x = operand(val, "imag")
    aval = aval_of(x)
    return rebox(lax.imag(x) if dtypes.is_complex(aval.dtype) else lax.zeros_like(x), aval.box)


@implements(np.astype)
def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: str | None = None) -> Any:
    """The array in another dtype; see ``numpy.astype``."""
    return convert(operand(x, "astype"), dtype)
