"""How reductions over sliding windows are computed with an array module: one element of the window after the other."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import prod
from typing import Any, NamedTuple

import numpy as np

from functrans.core.records import readable
from functrans.lax.convolution_impl import dilated, framed, out_extent, seen

Ints = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]


@readable
class WindowGeometry(NamedTuple):
    """How windows lie in an array: one entry for each axis in every field."""

    window: Ints
    strides: Ints
    padding: Pads
    base_dilation: Ints
    window_dilation: Ints

    def positions(self, shape: Ints) -> Ints:
        """How many windows there are along each axis."""
        return tuple(out_extent(*column) for column in zip(shape, *self, strict=True))

    def insert(self, axis: int) -> WindowGeometry:
        """The same with an axis put in that windows do not extend along."""

        def put(field: Ints) -> Ints:
            return (*field[:axis], 1, *field[axis:])

        padding = (*self.padding[:axis], (0, 0), *self.padding[axis:])
        return WindowGeometry(
            put(self.window), put(self.strides), padding, put(self.base_dilation), put(self.window_dilation)
        )

    def transposed(self, shape: Ints) -> WindowGeometry:
        """How the windows' results lie for the elements of an array of this shape: each sees those it is part of."""
        pads = []
        for n, p, k, s, (lo, _), bd, wd in zip(shape, self.positions(shape), *self, strict=True):
            low = dilated(k, wd) - 1 - lo
            pads.append((low, dilated(n, bd) - 1 + dilated(k, wd) - dilated(p, s) - low))
        return WindowGeometry(self.window, self.base_dilation, tuple(pads), self.strides, self.window_dilation)

    @property
    def covered(self) -> bool:
        """Whether every position of every window holds an element of the array."""
        return all(lo <= 0 and hi <= 0 for lo, hi in self.padding) and all(d == 1 for d in self.base_dilation)


def reduce_impl(xp: Any, x: Any, ufunc: Any, identity: Any, geometry: WindowGeometry) -> Any:
    """The windows' reductions, axis after axis: a window of n x m elements costs n + m steps, not n m."""
    space = geometry.positions(x.shape)
    if not prod(space):
        return xp.zeros(space, x.dtype)
    # Half precision is summed in single precision and rounded once.
    half = ufunc is xp.add and x.dtype == np.float16
    out = framed(xp, x.astype(np.float32) if half else x, geometry.padding, geometry.base_dilation, identity)
    columns = zip(geometry.window, geometry.strides, geometry.window_dilation, space, strict=True)
    for a, (k, s, d, n) in enumerate(columns):
        lead = (slice(None),) * a
        parts = [out[(*lead, *seen((t,), (n,), (s,), (d,)))] for t in range(k)]
        total = ufunc(parts[0], parts[1]) if k > 1 else parts[0]
        for part in parts[2:]:
            ufunc(total, part, out=total)
        out = total
    if half:
        return out.astype(np.float16)
    return out.copy() if xp.may_share_memory(out, x) else out


def index_dtype(geometry: WindowGeometry) -> np.dtype[Any]:
    """The integer type that numbers the elements of a window."""
    return np.dtype(np.int8 if prod(geometry.window) <= 127 else np.int32)


def _taps(geometry: WindowGeometry, space: Ints) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """For each element of the window its number and what it meets at all positions."""
    for number, tap in enumerate(product(*map(range, geometry.window))):
        yield number, (*seen(tap, space, geometry.strides, geometry.window_dilation), ...)


def select_impl(xp: Any, x: Any, largest: bool, geometry: WindowGeometry) -> Any:
    """The number of the element that each window selects; -1 where a window holds none."""
    space = geometry.positions(x.shape)
    chosen = xp.full(space, -1, index_dtype(geometry))
    if not prod(space):
        return chosen
    full = framed(xp, x, geometry.padding, geometry.base_dilation)
    inside = None
    if not geometry.covered:
        inside = framed(xp, xp.ones(x.shape, bool), geometry.padding, geometry.base_dilation, False)
    best = xp.zeros(space, x.dtype)
    beats = xp.greater if largest else xp.less
    nans = x.dtype.kind == "f" and x.size > 0 and bool(xp.isnan(xp.max(x)))
    for number, at in _taps(geometry, space):
        value = full[at]
        if number == 0 and inside is None:
            best[...] = value
            chosen[...] = 0
            continue
        better = beats(value, best)
        if nans:
            better |= xp.isnan(value) & ~xp.isnan(best)
        if inside is not None:
            better |= chosen < 0
            better &= inside[at]
        xp.copyto(best, value, where=better)
        xp.copyto(chosen, chosen.dtype.type(number), where=better)
    return chosen


def gather_impl(xp: Any, x: Any, chosen: Any, geometry: WindowGeometry) -> Any:
    """The chosen element of each window; zero where none is chosen."""
    out = xp.zeros(chosen.shape, x.dtype)
    if chosen.size:
        full = framed(xp, x, geometry.padding, geometry.base_dilation)
        for number, at in _taps(geometry, chosen.shape):
            xp.copyto(out, full[at], where=chosen == number)
    return out


def scatter_impl(xp: Any, x: Any, chosen: Any, shape: Ints, geometry: WindowGeometry) -> Any:
    """An element for each window, added to the element that the window chose in zeros of the given shape."""
    if not chosen.size:
        return xp.zeros(shape, x.dtype)
    extents = [
        dilated(n, d) + lo + hi for n, (lo, hi), d in zip(shape, geometry.padding, geometry.base_dilation, strict=True)
    ]
    full = xp.zeros(extents, x.dtype)
    for number, at in _taps(geometry, chosen.shape):
        xp.add(full[at], xp.where(chosen == number, x, x.dtype.type(0)), out=full[at])
    inner = framed(xp, full, tuple((-lo, -hi) for lo, hi in geometry.padding), (1,) * len(shape))
    return inner[(*(slice(None, None, d) for d in geometry.base_dilation), ...)]
