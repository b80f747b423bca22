"""``pad``: arrays continued beyond their ends, axis after axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from functrans import errors, lax
from functrans.core import dtypes
from functrans.core.structural import convert, rebox
from functrans.core.trace import Tracer, aval_of
from functrans.numpy import elementwise as ew
from functrans.numpy.creation import linspace
from functrans.numpy.dispatch import functions, implements, operand

Pair = tuple[Any, Any]

_KEYWORDS = {
    "constant": "constant_values",
    "linear_ramp": "end_values",
    "maximum": "stat_length",
    "minimum": "stat_length",
    "mean": "stat_length",
    "median": "stat_length",
    "reflect": "reflect_type",
    "symmetric": "reflect_type",
    "edge": None,
    "wrap": None,
    "empty": None,
}
_STATISTICS = {"maximum": np.max, "minimum": np.min, "mean": np.mean, "median": np.median}


def _pairs(name: str, given: Any, ndim: int) -> list[Pair]:
    """(before, after) for each axis: from one value, a pair for all axes, or a pair (or value) for each."""
    x = operand(given, "pad")
    shape, size = aval_of(x).shape, aval_of(x).size
    places: np.ndarray[Any, Any] = np.arange(size).reshape(shape)
    if size == 1 or (size == 2 and shape != (2, 1)):
        places = places.reshape(size)
    try:
        table = np.broadcast_to(places, (ndim, 2))
    except ValueError:
        raise errors.ShapeError(
            f"pad: {name} of shape {shape} does not fit an array with {ndim} axes: give one value, a pair, or a "
            f"pair for each axis"
        ) from None
    flat = lax.reshape(x, (size,)) if isinstance(x, Tracer) else np.asarray(x).reshape(size)
    values = [lax.index(flat, i) if isinstance(x, Tracer) else flat[i] for i in range(size)]
    return [(values[before], values[after]) for before, after in table]


def _widths(pad_width: Any, ndim: int) -> list[tuple[int, int]]:
    if isinstance(pad_width, dict):
        each: list[Any] = [(0, 0)] * ndim
        for axis, width in pad_width.items():
            each[axis] = (width, width) if isinstance(width, int) else tuple(width)
        pad_width = each
    table = np.asarray(pad_width)
    if table.dtype.kind not in "iu" and table.size:
        raise errors.ArgumentError(f"pad: pad_width must hold integers, got {pad_width!r}")
    widths = [(int(before), int(after)) for before, after in _pairs("pad_width", table, ndim)]
    if any(w < 0 for pair in widths for w in pair):
        raise errors.ShapeError(f"pad: pad_width must not be negative, got {pad_width!r}. A slice removes elements")
    return widths


@implements(np.pad)
def pad(array: Any, pad_width: Any, mode: Any = "constant", **kwargs: Any) -> Any:
    """The array continued beyond its ends; see ``numpy.pad``. Of its modes all but a function can be traced."""
    x = operand(array, "pad")
    x = rebox(convert(x, aval_of(x).dtype), "array")
    if callable(mode):
        raise errors.ArgumentError(
            "pad: a function as mode writes into its argument, which a traced array cannot take. Build the padding and "
            "join it with concatenate"
        )
    if mode not in _KEYWORDS:
        raise errors.ArgumentError(f"pad: mode={mode!r} is not known; the modes are {', '.join(_KEYWORDS)}")
    for keyword in kwargs:
        if keyword != _KEYWORDS[mode]:
            raise errors.ArgumentError(f"pad: mode={mode!r} takes no argument {keyword!r}")
    shape = aval_of(x).shape
    widths = _widths(pad_width, len(shape))
    if mode in ("constant", "empty"):
        return _constant(x, widths, kwargs.get("constant_values", 0))
    for axis, (extent, width) in enumerate(zip(shape, widths, strict=True)):
        if not extent and any(width):
            raise errors.ShapeError(
                f"pad: axis {axis} is empty and cannot be extended by mode={mode!r}; 'constant' and 'empty' can"
            )
    if mode == "linear_ramp":
        ends = _pairs("end_values", kwargs.get("end_values", 0), len(shape))
        return _each_axis(x, widths, lambda y, axis: _ramps(y, axis, widths[axis], ends[axis]))
    if mode in _STATISTICS:
        length = kwargs.get("stat_length")
        lengths = [(None, None)] * len(shape) if length is None else _pairs("stat_length", length, len(shape))
        return _each_axis(x, widths, lambda y, axis: _statistics(y, axis, mode, lengths[axis]))
    kind = kwargs.get("reflect_type", "even")
    if kind not in ("even", "odd"):
        raise errors.ArgumentError(f"pad: reflect_type must be 'even' or 'odd', got {kind!r}")
    for axis, width in enumerate(widths):
        if kind == "odd" and shape[axis] > 1:
            x = _odd_reflection(x, axis, width, mode == "symmetric")
        elif any(width):
            # What an index would become says where every element of the result comes from.
            source = np.pad(np.arange(shape[axis]), width, mode)
            x = lax.take(x, source, axis)
    return x


def _constant(x: Any, widths: list[tuple[int, int]], values: Any) -> Any:
    dtype = aval_of(x).dtype
    raw = _pairs("constant_values", values, len(widths))
    given = [v for pair in raw for v in pair]
    known = not any(isinstance(v, Tracer) for v in given)
    if all(v is given[0] or (known and v == given[0]) for v in given):
        return lax.pad(x, convert(given[0], dtype), [(low, high, 0) for low, high in widths]) if given else x
    pairs = [tuple(convert(v, dtype) for v in pair) for pair in raw]
    for axis, ((before, after), (low, high)) in enumerate(zip(widths, pairs, strict=True)):
        around = [(0, 0, 0)] * len(widths)
        x = lax.pad(x, low, [*around[:axis], (before, 0, 0), *around[axis + 1 :]])
        x = lax.pad(x, high, [*around[:axis], (0, after, 0), *around[axis + 1 :]])
    return x


def _each_axis(x: Any, widths: list[tuple[int, int]], ends: Callable[[Any, int], Pair]) -> Any:
    """The array with what ``ends(x, axis)`` gives joined before and behind it, axis after axis."""
    for axis, (before, after) in enumerate(widths):
        if not before and not after:
            continue
        low, high = ends(x, axis)
        shape = aval_of(x).shape
        parts = [x]
        for width, end, place in ((before, low, 0), (after, high, 2)):
            if width:
                whole = lax.broadcast_to(end, (*shape[:axis], width, *shape[axis + 1 :]))
                parts.insert(place, convert(whole, aval_of(x).dtype))
        x = lax.concatenate(parts, axis)
    return x


def _ramps(x: Any, axis: int, width: tuple[int, int], ends: Pair) -> Pair:
    dtype = aval_of(x).dtype
    extent = aval_of(x).shape[axis]
    edges = [lax.squeeze(lax.slice_in_dim(x, i, i + 1, axis=axis), axis) for i in (0, extent - 1)]
    low, high = (
        linspace(end, edge, n, endpoint=False, dtype=dtype, axis=axis)
        for end, edge, n in zip(ends, edges, width, strict=True)
    )
    return low, lax.rev(high, axis)


def _statistics(x: Any, axis: int, mode: str, lengths: Pair) -> Pair:
    aval = aval_of(x)
    extent = aval.shape[axis]
    low, high = (extent if n is None else min(int(n), extent) for n in lengths)
    if 0 in (low, high) and mode in ("maximum", "minimum"):
        raise errors.ShapeError(f"pad: stat_length=0 leaves mode={mode!r} no elements")

    def statistic(start: int, stop: int) -> Any:
        out = functions[_STATISTICS[mode]](lax.slice_in_dim(x, start, stop, axis=axis), axis=axis, keepdims=True)
        return ew.rint(out) if not dtypes.is_inexact(aval.dtype) and dtypes.is_inexact(aval_of(out).dtype) else out

    first = statistic(0, low)
    return (first, first) if low == high == extent else (first, statistic(extent - high, extent))


def _odd_reflection(x: Any, axis: int, width: tuple[int, int], include_edge: bool) -> Any:
    """The array continued by twice its end minus its reflection, as often as the width needs it."""
    before, after = width
    period = aval_of(x).shape[axis]
    skip = 0 if include_edge else 1
    while before > 0 or after > 0:
        extent = aval_of(x).shape[axis]
        usable = extent // period * period if include_edge else (extent - 1) // (period - 1) * (period - 1)
        parts = [x]
        if before:
            n = min(usable, before)
            chunk = lax.rev(lax.slice_in_dim(x, skip, skip + n, axis=axis), axis)
            parts.insert(0, ew.subtract(ew.multiply(2, lax.slice_in_dim(x, 0, 1, axis=axis)), chunk))
            before -= n
        if after:
            n = min(usable, after)
            chunk = lax.rev(lax.slice_in_dim(x, extent - skip - n, extent - skip, axis=axis), axis)
            edge = lax.slice_in_dim(x, extent - 1, extent, axis=axis)
            parts.append(ew.subtract(ew.multiply(2, edge), chunk))
            after -= n
        x = lax.concatenate(parts, axis)
    return x
