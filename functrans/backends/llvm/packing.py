"""Copies into another order: an operand packed for a product, a matrix transposed, a line sorted by residue classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from functrans.backends.llvm.builder import BITS, Builder, V
from functrans.backends.llvm.gemm import Columns, Product, Step, Target, Writer, function, masked, vectors_of


def transpose(b: Builder, ty: str, rows: int, columns: int, step: int, source: str, to: str, target: Target) -> None:
    """Write the transpose of a matrix with contiguous rows, ``step`` elements apart, contiguously."""
    pack(b, ty, (Step(columns, 1, rows),), (Step(rows, step, 1),), source, to, target)


def pack(
    b: Builder, ty: str, along: Sequence[Step], across: Sequence[Step], source: str, to: str, target: Target
) -> None:
    """Copy elements: axes with their extents, steps in the source (``x``) and in the copy (``y``).

    The last axis of ``across`` is contiguous in the copy, the last of ``along`` may be in the source: then vectors
    are read along that and written along this.
    """
    axes = (*along, *across)
    if not prod([s.extent for s in axes]):
        return

    def fill(inner: Builder) -> None:
        _Pack(inner, ty, target).write(list(along), list(across), "%from", "%to")

    name = function(b, "pack", (ty, tuple(along), tuple(across), target), "ptr %from, ptr %to", fill)
    b.do(f"call void @{name}(ptr {source}, ptr {to})")


class _Pack(Writer):
    def __init__(self, b: Builder, ty: str, target: Target) -> None:
        super().__init__(b, Product(ty, 0, 0, (), 0, 0, 0), target)
        self.ty = ty

    def write(self, along: list[Step], across: list[Step], source: str, to: str) -> None:
        line = across.pop()
        if line.x == 1:
            self.nest([*along, *across], source, to, lambda s, t: self.copied(line, s, t))
        elif 1 < line.x <= 4 and line.extent > 1 and self.target.masks and not self.ty.startswith("c"):
            self.nest([*along, *across], source, to, lambda s, t: self.thinned(line, s, t))
        elif along and along[-1].x == 1 and along[-1].extent > 1 and self.target.masks and not self.ty.startswith("c"):
            column = along.pop()
            self.nest([*along, *across], source, to, lambda s, t: self.turned(column, line, s, t))
        else:
            self.nest([*along, *across, line], source, to, self.one)

    def nest(self, axes: list[Step], source: str, to: str, body: Callable[[str, str], None]) -> None:
        if not axes:
            body(source, to)
            return
        axis, *rest = axes
        self.times(axis.extent, 1, lambda i: self.nest(rest, self.at(source, i, axis.x), self.at(to, i, axis.y), body))

    def one(self, source: str, to: str) -> None:
        self.b.store(self.b.load(self.ty, 1, source), to)

    def copied(self, line: Step, source: str, to: str) -> None:
        """A contiguous line."""
        w = self.lanes
        vectors = vectors_of(line.extent, w, self.target.masks)

        def vector(s: str, t: str, c: Columns) -> None:
            self.b.store(self.b.load(self.ty, c.w, s, masked(c)), t, masked(c))

        whole = line.extent // w
        self.times(whole * w, w, lambda i: vector(self.at(source, i, 1), self.at(to, i, 1), Columns(0, w, w)))
        for c in vectors[whole:]:
            vector(self.moved(source, c.at), self.moved(to, c.at), c)

    def thinned(self, line: Step, source: str, to: str) -> None:
        """Every second, third or fourth element: whole vectors are read, and their elements sorted."""
        w, by = self.lanes, line.x

        def vector(s: str, t: str, c: Columns) -> None:
            last = (c.live - 1) * by
            found: V | None = None
            for n in range(by):
                live = min(last - n * c.w + 1, c.w)
                if live <= 0:
                    break
                part = self.b.load(self.ty, c.w, self.moved(s, n * c.w), masked(Columns(0, c.w, live)))
                # Lanes that this part holds take the place of those that it does not.
                places = [
                    c.w + lane * by - n * c.w if n * c.w <= lane * by < (n + 1) * c.w else lane for lane in range(c.w)
                ]
                found = self.b.shuffle(self.zero(c.w) if found is None else found, places, part)
            assert found is not None
            self.b.store(found, t, masked(c))

        whole = line.extent // w
        self.times(whole * w, w, lambda i: vector(self.at(source, i, by), self.at(to, i, 1), Columns(0, w, w)))
        for c in vectors_of(line.extent, w, self.target.masks)[whole:]:
            vector(self.moved(source, c.at * by), self.moved(to, c.at), c)

    def turned(self, column: Step, line: Step, source: str, to: str) -> None:
        """Square tiles: vectors along the column, transposed in registers to ones along the line."""
        t = min(self.lanes, 8 if BITS[self.ty] < 64 else 4)
        while t > 1 and t >= 2 * max(column.extent, line.extent):
            t //= 2

        def tile(i: str, down: int, j: str, wide: int) -> None:
            s = self.at(self.at(source, i, 1), j, line.x)
            d = self.at(self.at(to, i, column.y), j, 1)
            seen, kept = masked(Columns(0, t, down)), masked(Columns(0, t, wide))
            zero = self.zero(t)
            lines = [self.b.load(self.ty, t, self.moved(s, r * line.x), seen) if r < wide else zero for r in range(t)]
            for r, v in enumerate(transposed(self.b, lines)[:down]):
                self.b.store(v, self.moved(d, r * column.y), kept)

        self.tiles(
            line.extent, t,
            lambda j, wide: self.tiles(column.extent, t, lambda i, down: tile(i, down, j, wide)),
        )  # fmt: skip


def transposed(b: Builder, rows: list[V]) -> list[V]:
    """A square of vectors with its rows and columns exchanged, by exchanging blocks of halving size."""
    t = len(rows)
    block = t // 2
    while block:
        for i in range(t):
            if i & block:
                continue
            p, q = rows[i], rows[i + block]
            low = [lane if not lane & block else t + lane - block for lane in range(t)]
            high = [lane + block if not lane & block else t + lane for lane in range(t)]
            rows[i], rows[i + block] = b.shuffle(p, low, q), b.shuffle(p, high, q)
        block //= 2
    return rows
