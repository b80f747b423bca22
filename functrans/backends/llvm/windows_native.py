"""Sliding windows as native code: sums, maxima and minima over them, what they select, and the transposes of that.

Axes that windows do not extend along are merged: those in front are a loop around, those behind the lanes. An array
with padding, or with strides along its last axis, is copied into a frame first, where neighbouring windows are
neighbours in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product as combinations
from math import prod
from typing import Any, NamedTuple

import numpy as np

from functrans.backends.llvm.builder import BITS, Builder, V
from functrans.backends.llvm.calls import NativeCall, native
from functrans.backends.llvm.frames import Frame, line_of, zero
from functrans.backends.llvm.gemm import Columns, Target, function, host, masked, vectors_of
from functrans.backends.llvm.matmul import type_of
from functrans.backends.llvm.operations import maximum
from functrans.core.dtypes import DType
from functrans.core.jaxpr import Eqn
from functrans.lax.windows_impl import WindowGeometry

TAPS = 64
"""Elements of a window up to which they are written out; larger windows stay NumPy's, which takes axis after axis."""


class Axis(NamedTuple):
    """An axis: extents of array, window and result, stride, padding in front, dilation of the window, of the array."""

    n: int
    k: int
    p: int
    stride: int = 1
    low: int = 0
    apart: int = 1
    spread: int = 1

    @property
    def plain(self) -> bool:
        return self == Axis(self.n, 1, self.n)


class Windows(NamedTuple):
    """The windows of an array.

    Attributes:
        arrays: how many arrays of ``axes`` there are.
    """

    dtype: DType
    arrays: int
    axes: tuple[Axis, ...]

    @property
    def taps(self) -> list[tuple[int, ...]]:
        return list(combinations(*[range(a.k) for a in self.axes]))

    @property
    def covered(self) -> bool:
        """Whether windows hold elements of the array alone."""
        return all(
            a.low <= 0 and (a.p - 1) * a.stride + (a.k - 1) * a.apart - a.low < a.n and a.spread == 1 for a in self.axes
        )

    @property
    def size(self) -> int:
        return prod([a.n for a in self.axes])

    @property
    def positions(self) -> int:
        return prod([a.p for a in self.axes])


def windows_of(shape: Sequence[Any], dtype: DType, geometry: WindowGeometry) -> Windows | None:
    """The windows of a geometry; None where they have no native code."""
    kinds = dtype.kind in "iu" or dtype in (np.dtype(np.float32), np.dtype(np.float64))
    if not kinds or not shape or any(type(n) is not int for n in shape) or prod(geometry.window) > TAPS:
        return None
    columns = zip(shape, geometry.window, geometry.positions(tuple(shape)), *geometry[1:], strict=True)
    axes = [
        Axis(n, k, p, 1 if p == 1 else s, low, 1 if k == 1 else apart, spread)
        for n, k, p, s, (low, _), spread, apart in columns
    ]
    count = 1
    while len(axes) > 1 and axes[0].plain:
        count *= axes.pop(0).n
    while len(axes) > 1 and axes[-1].plain and axes[-2].plain:
        size = axes.pop().n * axes.pop().n
        axes.append(Axis(size, 1, size))
    return Windows(dtype, count, tuple(axes))


class _Walk:
    """The windows of all arrays, a vector of them at a time."""

    def __init__(self, b: Builder, windows: Windows, target: Target, outside: float = 0) -> None:
        self.b = b
        self.windows = windows
        self.target = target
        self.outside = outside
        self.ty = type_of(windows.dtype)
        self.frame = frame_of(windows)
        sizes = [a.p for a in windows.axes]
        self.steps = [prod(sizes[a + 1 :]) for a in range(len(sizes))]

    def write(self, x: str | None, others: Sequence[tuple[str, str]], work: str, body: Callable[..., None]) -> None:
        """``body(taps, places, pointers, columns)`` for every vector of windows.

        Args:
            x: the array that the windows see, None for none.
            others: pointers that move with the windows, and the types of what they point to.
        """
        b, w = self.b, self.windows
        if x is not None:
            self.frame.start(b, work, self.outside)

        def one(i: str, _: list[V]) -> list[V]:
            seen = None
            if x is not None:
                seen = self.frame.fill(b, b.address(x, self.ty, b.imul(i, w.size)), work, self.target)
            moved = [b.address(p, ty, b.imul(i, w.positions)) for p, ty in others]
            self._axes(0, seen, moved, [ty for _, ty in others], [], body)
            return []

        b.loop("0", str(w.arrays), 1, [], one)

    def _axes(
        self, n: int, seen: str | None, others: list[str], types: list[str], places: list[str], body: Any
    ) -> None:
        b, axes = self.b, self.windows.axes
        axis = axes[n]

        def moved(i: str, step: int) -> tuple[str | None, list[str]]:
            here = None if seen is None else b.address(seen, self.ty, b.imul(i, step))
            return here, [b.address(p, ty, b.imul(i, self.steps[n])) for p, ty in zip(others, types, strict=True)]

        if n < len(axes) - 1:

            def turn(i: str, _: list[V]) -> list[V]:
                self._axes(n + 1, *moved(i, axis.stride * self.frame.steps[n]), types, [*places, i], body)
                return []

            b.loop("0", str(axis.p), 1, [], turn)
            return
        w = max(min(self.target.lanes(self.ty), 32), 1)
        whole = axis.p // w * w

        def vector(i: str, c: Columns) -> None:
            body(*moved(i, 1), [*places, i], c)

        if whole:

            def turns(i: str, _: list[V]) -> list[V]:
                vector(i, Columns(0, w, w))
                return []

            b.loop("0", str(whole), w, [], turns)
        for c in vectors_of(axis.p, w, self.target.masks)[whole // w :]:
            vector(str(c.at), c)

    def load(self, seen: str, tap: Sequence[int], c: Columns) -> V:
        """What one element of the window meets."""
        axes, frame = self.windows.axes, self.frame
        at = [t * a.apart for t, a in zip(tap, axes, strict=True)]
        place = sum([u * s for u, s in zip(at[:-1], frame.steps[:-1], strict=True)]) + frame.lines[-1].place(at[-1])
        return self.b.load(self.ty, c.w, self.b.address(seen, self.ty, str(place)), masked(c))

    def inside(self, tap: Sequence[int], places: Sequence[str], c: Columns) -> V:
        """Whether one element of the windows is an element of the array."""
        b = self.b
        found: V | None = None
        for n, (t, a, i) in enumerate(zip(tap, self.windows.axes, places, strict=True)):
            last = n == len(places) - 1
            v = b.vector(i, "i64", c.w if last else 1)
            if last:
                v = b.add(v, b.lanes(c.w))
            u = b.add(b.mul(v, b.like(a.stride, v)), b.like(t * a.apart - a.low, v))
            good = b.compare("ult", u, b.like(a.n, u))
            good = b.spread(good, c.w)
            found = good if found is None else b.op("and", found, good)
        assert found is not None
        return found


def frame_of(w: Windows) -> Frame:
    """Where windows see an array."""
    lines = [
        line_of(a.n, a.low, a.spread, (a.p - 1) * a.stride + (a.k - 1) * a.apart + 1, a.stride if n else 1)
        for n, a in zip([*[0] * (len(w.axes) - 1), 1], w.axes, strict=True)
    ]
    return Frame(type_of(w.dtype), 1, [a.n for a in w.axes], lines)


def _made(
    stem: str, key: Any, w: Windows, inputs: int, fill: Callable[[_Walk, list[str], str], None], outside: float = 0,
    bare: bool = False,
) -> NativeCall:  # fmt: skip
    """A call of a function that is written by ``fill(walk, operands, out)``."""
    target = host()
    bits = BITS[type_of(w.dtype)]
    room = 0 if bare else frame_of(w).size * bits // 8

    def emit(b: Builder, operands: Sequence[str], outs: Sequence[str], work: str) -> None:
        def write(inner: Builder) -> None:
            fill(_Walk(inner, w, target, outside), [f"%in{n}" for n in range(inputs)], "%out")

        params = "".join(f"ptr %in{n}, " for n in range(inputs)) + "ptr %out, ptr %work"
        name = function(b, stem, (key, w._replace(dtype=w.dtype.str), target, outside), params, write)  # type: ignore[arg-type]
        given = ", ".join([f"ptr {p}" for p in (*operands, outs[0], work)])
        b.do(f"call void @{name}({given})")

    return NativeCall(emit, room, {}, w.arrays * (w.positions * len(w.taps) * 2 * bits // target.bits + 1))


def _reduction(combine: Callable[[Builder, V, V, DType], V], stem: str, outside: Callable[[DType], float]) -> Any:
    def call(eqn: Eqn) -> NativeCall | None:
        (x,) = eqn.inputs
        w = windows_of(x.aval.shape, x.aval.dtype, eqn.params["geometry"])
        if w is None or not (w.arrays and w.size and w.positions):
            return None

        def fill(walk: _Walk, operands: list[str], out: str) -> None:
            b, ty = walk.b, walk.ty

            def one(seen: str, others: list[str], places: list[str], c: Columns) -> None:
                value: V | None = None
                for tap in w.taps:
                    part = walk.load(seen, tap, c)
                    value = part if value is None else combine(b, value, part, w.dtype)
                assert value is not None
                b.store(value, others[0], masked(c))

            walk.write(operands[0], [(out, ty)], "%work", one)

        return _made(stem, stem, w, 1, fill, outside(w.dtype))

    return call


def _least(dtype: DType) -> float:
    return -np.inf if dtype.kind == "f" else int(np.iinfo(dtype).min)


def _largest(dtype: DType) -> float:
    return np.inf if dtype.kind == "f" else int(np.iinfo(dtype).max)


native("reduce_window_sum")(_reduction(lambda b, x, y, _: b.add(x, y), "window_sum", lambda _: 0))
native("reduce_window_max")(_reduction(lambda b, x, y, dtype: maximum(b, x, y, dtype), "window_max", _least))
native("reduce_window_min")(
    _reduction(lambda b, x, y, dtype: maximum(b, x, y, dtype, low=True), "window_min", _largest)
)


@native("window_select")
def window_select(eqn: Eqn) -> NativeCall | None:
    """The number of the element that each window selects; -1 where a window holds none."""
    (x,) = eqn.inputs
    w = windows_of(x.aval.shape, x.aval.dtype, eqn.params["geometry"])
    if w is None or not (w.arrays and w.size and w.positions) or any(a.spread > 1 for a in w.axes):
        return None
    largest = eqn.params["largest"]
    number = type_of(eqn.outs[0].aval.dtype)

    def fill(walk: _Walk, operands: list[str], out: str) -> None:
        b = walk.b

        def one(seen: str, others: list[str], places: list[str], c: Columns) -> None:
            chosen, best = b.const(-1, number, c.w), None
            for k, tap in enumerate(w.taps):
                value, here = walk.load(seen, tap, c), b.const(k, number, c.w)
                inside = None if w.covered else walk.inside(tap, places, c)
                if best is None:
                    chosen, best = here if inside is None else b.select(inside, here, chosen), value
                    continue
                if value.floating:
                    better = b.compare("ogt" if largest else "olt", value, best)
                    first = b.op("and", b.compare("uno", value, value), b.compare("ord", best, best))
                    better = b.op("or", better, first)
                else:
                    sign = "s" if w.dtype.kind == "i" else "u"
                    better = b.compare(sign + ("gt" if largest else "lt"), value, best)
                if inside is not None:
                    none = b.compare("slt", chosen, b.like(0, chosen))
                    better = b.op("and", b.op("or", better, none), inside)
                best, chosen = b.select(better, value, best), b.select(better, here, chosen)
            b.store(chosen, others[0], masked(c))

        walk.write(operands[0], [(out, number)], "%work", one)

    return _made("window_select", (largest, number), w, 1, fill)


@native("window_gather")
def window_gather(eqn: Eqn) -> NativeCall | None:
    """The chosen element of each window; zero where none is chosen."""
    x, chosen = eqn.inputs
    w = windows_of(x.aval.shape, x.aval.dtype, eqn.params["geometry"])
    if w is None or not (w.arrays and w.size and w.positions):
        return None
    number = type_of(chosen.aval.dtype)

    def fill(walk: _Walk, operands: list[str], out: str) -> None:
        b, ty = walk.b, walk.ty

        def one(seen: str, others: list[str], places: list[str], c: Columns) -> None:
            value, numbers = b.const(0, ty, c.w), b.load(number, c.w, others[1], masked(c))
            for k, tap in enumerate(w.taps):
                value = b.select(b.compare("eq", numbers, b.like(k, numbers)), walk.load(seen, tap, c), value)
            b.store(value, others[0], masked(c))

        walk.write(operands[0], [(out, ty), (operands[1], number)], "%work", one)

    return _made("window_gather", number, w, 2, fill)


@native("window_scatter")
def window_scatter(eqn: Eqn) -> NativeCall | None:
    """An element for each window, added to what the window chose in zeros."""
    x, chosen = eqn.inputs
    w = windows_of(eqn.params["shape"], x.aval.dtype, eqn.params["geometry"])
    if w is None or any(a.spread > 1 for a in w.axes):
        return None
    number = type_of(chosen.aval.dtype)
    sizes = [a.n for a in w.axes]
    steps = [prod(sizes[a + 1 :]) for a in range(len(sizes))]

    def fill(walk: _Walk, operands: list[str], out: str) -> None:
        b, ty = walk.b, walk.ty
        zero(b, ty, w.arrays * w.size, out)
        if not (w.arrays and w.positions):
            return

        def array(i: str, _: list[V]) -> list[V]:
            given = b.address(operands[0], ty, b.imul(i, w.positions))
            numbers = b.address(operands[1], number, b.imul(i, w.positions))
            nest(0, "0", given, numbers, b.address(out, ty, b.imul(i, w.size)))
            return []

        def nest(n: int, base: str, given: str, numbers: str, result: str) -> None:
            if n == len(w.axes):
                add(base, given, numbers, result)
                return
            a = w.axes[n]

            def turn(i: str, _: list[V]) -> list[V]:
                here = b.iadd(b.imul(b.iadd(b.imul(i, a.stride), str(-a.low)), steps[n]), base)
                at = b.imul(i, walk.steps[n])
                nest(n + 1, here, b.address(given, ty, at), b.address(numbers, number, at), result)
                return []

            b.loop("0", str(a.p), 1, [], turn)

        def add(base: str, given: str, numbers: str, result: str) -> None:
            k = b.scalar(b.load(number, 1, numbers))
            wide = k if number == "i64" else b.emit(f"sext {number} {k} to i64")
            chosen = b.emit(f"icmp sge i64 {wide}, 0")
            with b.guarded(chosen):
                place, rest = base, wide
                for a, step in reversed(list(zip(w.axes, steps, strict=True))):
                    if a.k > 1:
                        rest, tap = b.divmod(rest, a.k)
                        place = b.iadd(place, b.imul(tap, a.apart * step))
                to = b.address(result, ty, place)
                b.store(b.add(b.load(ty, 1, to), b.load(ty, 1, given)), to)

        b.loop("0", str(w.arrays), 1, [], array)

    return _made("window_scatter", number, w, 2, fill, bare=True)
