"""Images with something around their elements and between them: frames that windows and kernels move over."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd, prod
from typing import NamedTuple

from functrans.backends.llvm.builder import BITS, Builder, V
from functrans.backends.llvm.gemm import Step, Target
from functrans.backends.llvm.packing import pack


class Line(NamedTuple):
    """An axis of a frame: where the image's elements lie in it.

    Attributes:
        first, held: the first element of the image that is in it, and how many are.
        at: where the first of them is.
        spread: how far they are apart.
        extent: of the axis.
        classes: residue classes into which the places are sorted.
    """

    first: int
    held: int
    at: int
    spread: int
    extent: int
    classes: int = 1

    @property
    def length(self) -> int:
        """Of the places of one class."""
        return -(-self.extent // self.classes)

    def place(self, u: int) -> int:
        return u % self.classes * self.length + u // self.classes


def line_of(n: int, low: int, spread: int, extent: int, classes: int = 1) -> Line:
    """An image axis of n elements, element i at ``low + i * spread``."""
    first = -(min(low, 0) // spread)
    at = low + first * spread
    count = max(min(n - first, (extent - 1 - at) // spread + 1), 0)
    return Line(first, count, at, spread, extent, classes)


class Frame:
    """An image, or several channels of it, where it is read: in place, or copied into zeros (or another value)."""

    def __init__(self, ty: str, channels: int, shape: Sequence[int], lines: Sequence[Line]) -> None:
        self.ty = ty
        self.channels = channels
        self.shape = shape
        self.lines = lines
        self.in_place = all(
            line.classes == 1 and line.first == line.at and line.spread == 1 and line.first + line.held == line.extent
            for line in lines
        )
        self.covered = all(line.held * line.spread == line.extent * line.spread == line.extent for line in lines)
        # In place the axes keep their extents, and what is read begins at their first elements.
        extents = shape if self.in_place else [line.classes * line.length for line in lines]
        self.steps = [prod(extents[a + 1 :]) for a in range(len(extents))]
        self.plane = prod(extents)
        self.size = 0 if self.in_place else self.plane * channels

    def start(self, b: Builder, work: str, value: float = 0) -> None:
        """What is around the image, once."""
        if self.in_place or self.covered:
            return
        if not value:
            zero(b, self.ty, self.size, work)
            return
        some = b.const(value, self.ty, 1)

        def turn(i: str, _: list[V]) -> list[V]:
            b.store(some, b.address(work, self.ty, i))
            return []

        b.loop("0", str(self.size), 1, [], turn)

    def fill(self, b: Builder, image: str, work: str, target: Target) -> str:
        """The address of the frame with an image in it."""
        if self.in_place:
            return image
        ty, sizes = self.ty, self.shape
        steps = [prod(sizes[a + 1 :]) for a in range(len(sizes))]
        lead = [Step(self.channels, prod(sizes), self.plane)]
        source, to = 0, 0
        for line, step, mine in zip(self.lines[:-1], steps, self.steps, strict=False):
            lead.append(Step(line.held, step, line.spread * mine))
            source, to = source + line.first * step, to + line.at * mine
        last = self.lines[-1]
        for i in range(min(last.classes, last.held)):
            # Every element whose place is of one class with that of element i.
            every = last.classes // gcd(last.classes, last.spread)
            if i >= every:
                break
            u = last.at + i * last.spread
            count = -(-(last.held - i) // every)
            own = Step(count, every, every * last.spread // last.classes)
            along, across = ([*lead, own], [Step(1, 1, 1)]) if own.y > 1 else (lead, [own])
            pack(
                b, ty, along,
                across, b.address(image, ty, str(source + last.first + i)),
                b.address(work, ty, str(to + last.place(u))), target,
            )  # fmt: skip
        return work


def zero(b: Builder, ty: str, count: int, at: str) -> None:
    """Zeros for a number of elements."""
    if count:
        b.declared["memset"] = "declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)"
        b.do(f"call void @llvm.memset.p0.i64(ptr {at}, i8 0, i64 {count * BITS[ty] // 8}, i1 false)")
