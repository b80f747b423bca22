"""``conv`` as native code: convolutions as matrix products whose second operand is the image where it lies.

No patches are gathered. An image is copied once into a frame of zeros, if it has padding, and from there every element
of the kernel meets a shifted view of it, which is a product's operand with other steps. One of three products is taken,
by their costs. *Lines*: vectors along the positions of a line, rows are features. *Dots*: vectors along the last axis
of the kernel, for large kernels on few positions, as in the gradient of kernels. *Features*: vectors along features,
for small images and for images with zeros between their elements, which are never multiplied: positions that meet the
same elements of the kernel are computed together. The result is transposed at the end.

A line that is read with a stride is stored by residue classes, so that vectors are contiguous.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from itertools import product as combinations
from math import prod
from typing import Any, NamedTuple

import numpy as np

from functrans.backends.llvm.builder import BITS, Builder, V
from functrans.backends.llvm.calls import NativeCall, native
from functrans.backends.llvm.frames import Frame, line_of, zero
from functrans.backends.llvm.gemm import Product, Step, Target, function, host, product, vectors_of
from functrans.backends.llvm.packing import pack
from functrans.core.jaxpr import Eqn

TAPS = 9
"""Elements of the kernel whose products are written out."""
_SUM = 1024
"""Products of a dot from which parts are added up."""
_ASKEW = 1.5
"""What a vector costs where the image's vectors begin anywhere, and cross the lines of the cache."""
_TYPES = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}


class Axis(NamedTuple):
    """A spatial axis: extents of image, kernel and result, stride, padding in front, both dilations."""

    n: int
    k: int
    p: int
    stride: int
    low: int
    spread: int
    apart: int


class Geometry(NamedTuple):
    """Everything that a convolution's code depends on."""

    ty: str
    groups: int
    batch: int
    channels: int
    features: int
    axes: tuple[Axis, ...]

    @property
    def image(self) -> int:
        return prod([a.n for a in self.axes])

    @property
    def taps(self) -> int:
        return prod([a.k for a in self.axes])

    @property
    def positions(self) -> int:
        return prod([a.p for a in self.axes])


def geometry(eqn: Eqn) -> Geometry | None:
    """What an equation convolves; None where its dtype has no native code."""
    x, w = (a.aval for a in eqn.inputs)
    out = eqn.outs[0].aval
    if x.dtype not in _TYPES or any(type(n) is not int for n in (*x.shape, *w.shape)):
        return None
    p = eqn.params
    columns = zip(
        x.shape[3:], w.shape[3:], out.shape[3:], p["strides"], p["padding"], p["lhs_dilation"], p["rhs_dilation"],
        strict=True,
    )  # fmt: skip
    axes = [Axis(n, k, q, s, low, spread, apart) for n, k, q, s, (low, _), spread, apart in columns]
    if all(a.k == 1 and a.n == a.p and a.stride == 1 and a.low == 0 and a.spread == 1 for a in axes):
        size = prod([a.n for a in axes])
        axes = [Axis(size, 1, size, 1, 0, 1, 1)]
    # Single positions and elements have no steps.
    axes = [a._replace(stride=1 if a.p == 1 else a.stride, apart=1 if a.k == 1 else a.apart) for a in axes]
    return Geometry(_TYPES[x.dtype], x.shape[0], x.shape[1], x.shape[2], w.shape[1], tuple(axes))


# -- the three forms --------------------------------------------------------------------------------------------------


class Form:
    """A way to compute a convolution.

    Attributes:
        cost: about how many vector operations.
        room: elements of working memory.
    """

    cost: float
    room: int

    def __init__(self, g: Geometry, target: Target) -> None:
        self.g = g
        self.target = target
        self.w = target.lanes(g.ty)
        sizes = [a.k for a in g.axes]
        self.tap_steps = [prod(sizes[a + 1 :]) for a in range(len(sizes))]
        sizes = [a.p for a in g.axes]
        self.out_steps = [prod(sizes[a + 1 :]) for a in range(len(sizes))]

    def write(self, b: Builder, x: str, w: str, out: str, work: str) -> None:
        g = self.g
        self.b = b
        self.begin(work)

        def group(i: str) -> None:
            kernels = b.address(w, g.ty, b.imul(i, g.features * g.channels * g.taps))
            self.group(kernels, work)

            def example(n: str) -> None:
                at = b.iadd(b.imul(i, g.batch), n)
                image = b.address(x, g.ty, b.imul(at, g.channels * g.image))
                result = b.address(out, g.ty, b.imul(at, g.features * g.positions))
                self.example(image, kernels, result, work)

            self.times(g.batch, example)

        self.times(g.groups, group)

    def times(self, count: int, body: Callable[[str], None], step: int = 1) -> None:
        if count <= step:
            if count:
                body("0")
            return

        def turn(i: str, _: list[V]) -> list[V]:
            body(i)
            return []

        self.b.loop("0", str(count), step, [], turn)

    def at(self, pointer: str, index: str, step: int) -> str:
        return self.b.address(pointer, self.g.ty, self.b.imul(index, step))

    def moved(self, pointer: str, by: int) -> str:
        return self.b.address(pointer, self.g.ty, str(by))

    def nest(self, axes: Sequence[int], steps: Sequence[Sequence[int]], pointers: Sequence[str], body: Any) -> None:
        """The body for every index of some axes, with pointers moved along."""
        if not axes:
            body(*pointers)
            return

        def turn(i: str) -> None:
            moved = [self.at(p, i, s[0]) for p, s in zip(pointers, steps, strict=True)]
            self.nest(axes[1:], [s[1:] for s in steps], moved, body)

        self.times(axes[0], turn)

    def begin(self, work: str) -> None:
        """Once."""

    def group(self, kernels: str, work: str) -> None:
        """Once for each group."""

    def example(self, image: str, kernels: str, out: str, work: str) -> None:
        """The result of one image."""
        raise NotImplementedError

    def product(self, p: Product, form: str, x: str, y: str, out: str) -> None:
        product(self.b, p, form, x, y, out, self.target)


def framed(g: Geometry, classes: int) -> Frame:
    """The frame of an image with its padding, its lines sorted by residue classes."""
    lines = [
        line_of(a.n, a.low, a.spread, (a.p - 1) * a.stride + (a.k - 1) * a.apart + 1, classes if last else 1)
        for last, a in zip([*[False] * (len(g.axes) - 1), True], g.axes, strict=True)
    ]
    return Frame(g.ty, g.channels, [a.n for a in g.axes], lines)


class Lines(Form):
    """Features times positions, vectors along a line of positions."""

    def __init__(self, g: Geometry, target: Target) -> None:
        super().__init__(g, target)
        classes = g.axes[-1].stride
        self.frame = framed(g, classes)
        last = g.axes[-1]
        widths = [max(c.w / self.w, 0.5) for c in vectors_of(last.p, self.w, target.masks)]
        self.cost = (
            _ASKEW * g.groups * g.batch * g.features * g.channels * g.taps * (g.positions // last.p) * sum(widths)
        )
        self.cost += g.groups * g.batch * (self.frame.size if classes > 1 else self.frame.size / self.w)
        self.room = self.frame.size

    def begin(self, work: str) -> None:
        self.frame.start(self.b, work)

    def example(self, image: str, kernels: str, out: str, work: str) -> None:
        g, frame = self.g, self.frame
        seen = frame.fill(self.b, image, work, self.target)
        *outer, last = g.axes
        steps = frame.steps
        place = frame.lines[-1].place
        # The last axis is written out where its places are irregular, and others with it while they are few.
        written = len(g.axes)
        while written and prod([a.k for a in g.axes[written - 1 :]]) <= TAPS:
            written -= 1
        if frame.lines[-1].classes > 1:
            written = min(written, len(outer))
        taps = []
        for t in combinations(*[range(a.k) for a in g.axes[written:]]):
            at = [tap * g.axes[written + n].apart for n, tap in enumerate(t)]
            y = sum(
                [u * s for u, s in zip(at[:-1], steps[written:-1], strict=True)]
            ) + (place(at[-1]) if at else 0)  # fmt: skip
            taps.append((sum([tap * s for tap, s in zip(t, self.tap_steps[written:], strict=True)]), y))
        k = [Step(g.channels, g.taps, frame.plane)]
        for n, a in enumerate(g.axes[:written]):
            k.append(Step(a.k, self.tap_steps[n], a.apart * steps[n]))
        sums = tuple([s for s in k if s.extent > 1])
        p = Product(g.ty, g.features, last.p, sums, g.channels * g.taps, 1, g.positions, taps=tuple(taps) or ((0, 0),))
        if not outer:
            self.product(p, "rows", kernels, seen, out)
            return
        # As many lines at a time as fill the registers best.
        row = outer[-1]
        down, over = row.stride * steps[-2], last.p
        vectors = len(vectors_of(last.p, self.w, self.target.masks))
        several = max(min(6 // vectors, row.p), 1)
        while several > 1 and row.p % several and 2 * several > 6 // vectors:
            several -= 1

        def rows(seen: str, out: str) -> None:
            whole = row.p // several * several

            def some(i: str, count: int) -> None:
                lines = tuple([(j * down, j * over) for j in range(count)])
                self.product(
                    Product(
                        p.ty, p.m, p.n, p.k, p.xm, 1, p.om, taps=p.taps, lines=lines
                    ), "rows", kernels, self.at(seen, i, down), self.at(out, i, over),
                )  # fmt: skip

            self.times(whole, lambda i: some(i, several), several)
            if whole < row.p:
                some(str(whole), row.p - whole)

        moves = [a.stride * s for a, s in zip(outer, steps, strict=False)]
        self.nest([a.p for a in outer[:-1]], [moves[:-1], self.out_steps[: len(outer) - 1]], [seen, out], rows)


class Dots(Form):
    """Features times positions, vectors along the kernel's last axis."""

    def __init__(self, g: Geometry, target: Target) -> None:
        super().__init__(g, target)
        classes = g.axes[-1].apart
        self.frame = framed(g, classes)
        last = g.axes[-1].k
        # A part of the channels at a time, so that what is read again and again stays in the cache.
        self.part = max(min(g.channels, -(-_SUM // g.taps)), 1)
        parts = -(-g.channels // self.part)
        widths = [max(c.w / self.w, 0.5) for c in vectors_of(last, self.w, target.masks)]
        each = _ASKEW * g.channels * (g.taps // last) * sum(widths) + 4 * parts
        self.cost = (
            g.groups
            * g.batch
            * (g.features * g.positions * each + (self.frame.size if classes > 1 else self.frame.size / self.w))
        )
        self.room = self.frame.size

    def begin(self, work: str) -> None:
        self.frame.start(self.b, work)

    def write(self, b: Builder, x: str, w: str, out: str, work: str) -> None:
        g = self.g
        if self.part < g.channels:
            zero(b, g.ty, g.groups * g.batch * g.features * g.positions, out)
        if self.part == g.channels or not self.frame.in_place:
            super().write(b, x, w, out, work)
            return
        # The parts outside, the examples inside: a part of the kernels meets all of them while it is in the cache.
        self.b = b

        def group(i: str) -> None:
            def part(c: str, count: int) -> None:
                kernels = self.at(self.at(w, i, g.features * g.channels * g.taps), c, g.taps)

                def example(n: str) -> None:
                    at = b.iadd(b.imul(i, g.batch), n)
                    image = self.at(self.at(x, at, g.channels * g.image), c, g.image)
                    self.dots(count, kernels, image, self.at(out, at, g.features * g.positions))

                self.times(g.batch, example)

            self.parts(part)

        self.times(g.groups, group)

    def parts(self, body: Callable[[str, int], None]) -> None:
        channels, size = self.g.channels, self.part
        whole = channels // size * size
        self.times(whole, lambda c: body(c, size), size)
        if whole < channels:
            body(str(whole), channels - whole)

    def example(self, image: str, kernels: str, out: str, work: str) -> None:
        seen = self.frame.fill(self.b, image, work, self.target)
        self.parts(
            lambda c, count: self.dots(count, self.at(kernels, c, self.g.taps), self.at(seen, c, self.frame.plane), out)
        )

    def dots(self, channels: int, kernels: str, seen: str, out: str) -> None:
        g, frame = self.g, self.frame
        steps, place = frame.steps, frame.lines[-1].place
        *outer, last = g.axes
        few = g.positions <= TAPS
        inner = g.axes if few else (last,)
        columns: list[tuple[int, int]] = []
        for q in combinations(*[range(a.p) for a in inner]):
            at = [i * a.stride for i, a in zip(q, inner, strict=True)]
            y = sum([u * s for u, s in zip(at[:-1], steps[len(steps) - len(inner) : -1], strict=True)]) + place(at[-1])
            columns.append((y, len(columns)))
        k = [Step(channels, g.taps, frame.plane)]
        k += [Step(a.k, self.tap_steps[n], a.apart * steps[n]) for n, a in enumerate(outer)]
        sums = (*[s for s in k if s.extent > 1], Step(last.k, 1, 1))
        regular = len({b - a for (a, _), (b, _) in pairwise(columns)}) <= 1
        yn = columns[1][0] - columns[0][0] if len(columns) > 1 else 1
        lines = ((0, 0),) if regular else tuple(columns)
        p = Product(
            g.ty, g.features, len(columns), sums, g.channels * g.taps, yn, g.positions, lines=lines,
            onto=self.part < g.channels,
        )  # fmt: skip

        def some(seen: str, out: str) -> None:
            self.product(p, "dots", kernels, seen, out)

        if few:
            some(seen, out)
            return
        moves = [a.stride * s for a, s in zip(outer, steps, strict=False)]
        self.nest([a.p for a in outer], [moves, self.out_steps[: len(outer)]], [seen, out], some)


class Features(Form):
    """Positions times features, vectors along the features."""

    def __init__(self, g: Geometry, target: Target) -> None:
        super().__init__(g, target)
        self.classes = []
        lines = []
        for a in g.axes:
            # With a stride besides, zeros are put between the elements after all.
            apart = a.spread if a.stride == 1 else 1
            found, low, high = [], 0, 0
            for phase in range(min(apart, a.p)):
                taps = [t for t in range(a.k) if (phase + t * a.apart - a.low) % apart == 0]
                places = [(phase + t * a.apart - a.low) // apart for t in taps]
                count = -(-(a.p - phase) // apart)
                found.append((phase, count, taps, places))
                if places:
                    step = a.stride
                    low, high = min(low, places[0]), max(high, places[-1] + (count - 1) * step)
            self.classes.append((apart, found))
            # Places count from the frame's first one.
            spread = a.spread if apart == 1 else 1
            lines.append((line_of(a.n, -low, spread, high - low + 1), low))
        self.frame = Frame(g.ty, g.channels, [a.n for a in g.axes], [line for line, _ in lines])
        self.lows = [low for _, low in lines]
        multiplied = prod([sum([count * len(taps) for _, count, taps, _ in found]) for _, found in self.classes])
        vectors = sum([max(c.w / self.w, 0.5) for c in vectors_of(g.features, self.w, target.masks)])
        kernel, result = g.features * g.channels * g.taps, g.features * g.positions
        self.cost = g.groups * (
            g.batch * g.channels * multiplied * vectors * (1 + 1 / max(g.axes[-1].p, 1))
            + 6 * (kernel + g.batch * result) / self.w
            + g.batch * self.frame.size / self.w
        )
        self.kernel, self.result = (-(-n // 16) * 16 for n in (kernel, result))
        self.framed = -(-self.frame.size // 16) * 16
        self.room = self.framed + self.kernel + self.result

    def begin(self, work: str) -> None:
        self.frame.start(self.b, work)

    def group(self, kernels: str, work: str) -> None:
        g = self.g
        depth = g.channels * g.taps
        pack(
            self.b, g.ty, (Step(depth, 1, g.features),), (Step(g.features, depth, 1),), kernels,
            self.moved(work, self.framed), self.target,
        )  # fmt: skip

    def example(self, image: str, kernels: str, out: str, work: str) -> None:
        g, b = self.g, self.b
        seen = self.frame.fill(b, image, work, self.target)
        packed, result = self.moved(work, self.framed), self.moved(work, self.framed + self.kernel)
        if any(not taps for _, found in self.classes for _, _, taps, _ in found):
            zero(b, g.ty, g.features * g.positions, result)
        for phases in combinations(*[found for _, found in self.classes]):
            self.phase(phases, seen, packed, result)
        if g.features == 1 or g.positions == 1:
            pack(b, g.ty, (), (Step(g.features * g.positions, 1, 1),), result, out, self.target)
        else:
            pack(
                b, g.ty, (Step(g.features, 1, g.positions),), (Step(g.positions, g.features, 1),), result, out,
                self.target,
            )  # fmt: skip

    def phase(self, phases: Any, seen: str, packed: str, result: str) -> None:
        """The positions of one residue class along each axis."""
        g, steps, features = self.g, self.frame.steps, self.g.features
        if any(not taps for _, _, taps, _ in phases):
            return
        k = [Step(g.channels, self.frame.plane, g.taps * features)]
        taps = [(0, 0)]
        x = y = to = 0
        moves, overs, counts = [], [], []
        for n, (phase, count, ts, places) in enumerate(phases):
            apart = self.classes[n][0]
            x += (places[0] - self.lows[n]) * steps[n]
            y += ts[0] * self.tap_steps[n] * features
            to += phase * self.out_steps[n] * features
            moves.append(g.axes[n].stride * steps[n])
            overs.append(apart * self.out_steps[n] * features)
            counts.append(count)
            if len(ts) * len(taps) <= TAPS // 2:
                taps = [
                    (u + (place - places[0]) * steps[n], v + (t - ts[0]) * self.tap_steps[n] * features)
                    for u, v in taps
                    for t, place in zip(ts, places, strict=True)
                ]
            elif len(ts) > 1:
                k.append(
                    Step(len(ts), (places[1] - places[0]) * steps[n], (ts[1] - ts[0]) * self.tap_steps[n] * features)
                )
        p = Product(
            g.ty, counts[-1], features, tuple([s for s in k if s.extent > 1]), moves[-1], 1, overs[-1],
            taps=tuple(taps),
        )  # fmt: skip
        self.nest(
            counts[:-1], [moves[:-1], overs[:-1]], [self.moved(seen, x), self.moved(result, to)],
            lambda seen, out: self.product(p, "rows", seen, self.moved(packed, y), out),
        )  # fmt: skip


@native("conv")
def conv(eqn: Eqn) -> NativeCall | None:
    """The native call of a convolution."""
    g = geometry(eqn)
    return None if g is None else call(g, host())


def call(g: Geometry, target: Target, form: type[Form] | None = None) -> NativeCall:
    """The native call of a convolution; in a certain form if one is given."""
    results = g.groups * g.batch * g.features * g.positions
    if not (results and g.channels and g.image and g.taps):

        def nothing(b: Builder, operands: Sequence[str], outs: Sequence[str], work: str) -> None:
            zero(b, g.ty, results, outs[0])

        return NativeCall(nothing, cost=results // 8)
    kinds = [form] if form is not None else [Lines, Dots, Features]
    chosen = min([kind(g, target) for kind in kinds], key=lambda f: f.cost)

    def emit(b: Builder, operands: Sequence[str], outs: Sequence[str], work: str) -> None:
        def fill(inner: Builder) -> None:
            chosen.write(inner, "%x", "%w", "%out", "%work")

        key = (g, target, type(chosen).__name__)
        name = function(b, "conv", key, "ptr %x, ptr %w, ptr %out, ptr %work", fill)
        b.do(f"call void @{name}(ptr {operands[0]}, ptr {operands[1]}, ptr {outs[0]}, ptr {work})")

    return NativeCall(emit, chosen.room * BITS[g.ty] // 8, {}, int(chosen.cost))
