"""Matrix products as native functions: tiles of the result stay in registers while the sum runs.

A product is ``out[m, n] = sum over k of x[m, k] y[k, n]`` with any steps in memory, and k may run over several axes. It
is emitted in one of two forms. *Rows*: vectors lie along n, which is contiguous in ``y`` and ``out``; an element of x
meets a few vectors of y, and a tile of a few rows and vectors is summed at a time. *Dots*: vectors lie along the last
axis of k, contiguous in x and y, and are added up at the end; for products with few results to an element read.

Sums longer than ``DEPTH`` are cut there, and the parts added up: it bounds the rounding error, as BLAS's blocks do. The
order of every sum depends on the shapes alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from math import prod
from typing import Any, NamedTuple

from functrans.backends.llvm.builder import BITS, Builder, V
from functrans.backends.llvm.runtime import machine

DEPTH = 512
"""Products that are summed in one chain."""
_BROAD = 8
"""The most vectors, and the most rows, of a tile."""
_LATENCY = 8
"""Independent sums that keep the multipliers busy."""
_UNROLLED = 48
"""Vector operations up to which a sum is written out."""

Epilogue = Callable[[Builder, V, str, str, V | None], V]
"""``epilogue(b, value, row, column, mask)``: what is stored in place of a vector of results."""


class Step(NamedTuple):
    """An axis that is summed over: its extent, and the steps of both operands along it."""

    extent: int
    x: int
    y: int


@dataclass(frozen=True)
class Product:
    """A product with its extents, and steps in elements.

    Attributes:
        ty: the type of the elements; integers wrap.
        logical: whether sums are *or* and products *and*.
        m, n: the extents of the result.
        k: the axes of the sum, the innermost last.
        xm: from one row of x to the next.
        yn: from one column of y to the next; 1 for rows.
        om: from one row of the result to the next; columns are contiguous.
        taps: places in x and y that are summed over besides, for each turn of ``k``.
        lines: if there are any, ``n`` columns begin at each of these places in y and in the result; of dots, each
            line is one column.
        onto: whether the result is added to what is there.
    """

    ty: str
    m: int
    n: int
    k: tuple[Step, ...]
    xm: int
    yn: int
    om: int
    logical: bool = False
    taps: tuple[tuple[int, int], ...] = ((0, 0),)
    lines: tuple[tuple[int, int], ...] = ((0, 0),)
    onto: bool = False

    @property
    def depth(self) -> int:
        return prod([s.extent for s in self.k]) * len(self.taps)


class Columns(NamedTuple):
    """A vector of columns: the first one's place in y, its lanes, how many of them there are, and its place in out."""

    at: int
    w: int
    live: int
    to: int = 0


@dataclass(frozen=True)
class Target:
    """What the machine's vectors are like: their bits, and whether a product and a sum are one instruction."""

    bits: int
    fma: bool

    @property
    def registers(self) -> int:
        """How many vectors the machine holds: 32 with AVX-512 and on ARM, 16 on other x86 processors."""
        return 32 if self.bits == 512 or (self.bits == 128 and self.fma) else 16

    @property
    def masks(self) -> bool:
        """Whether parts of vectors are loaded and stored at the price of whole ones."""
        return self.bits >= 256

    def lanes(self, ty: str) -> int:
        return max(self.bits // BITS[ty], 1)


def host() -> Target:
    found = machine()
    return Target(found.bits, found.fma)


# -- vectors of columns, and tiles ------------------------------------------------------------------------------


def vectors_of(n: int, w: int, masks: bool) -> list[Columns]:
    """Columns as vectors of at most w lanes: whole ones, then what is left."""
    found = [Columns(at, w, w, at) for at in range(0, n - w + 1, w)]
    at = n // w * w
    while at < n:
        left = n - at
        size = 1 << (left.bit_length() - 1)
        if masks and size < left:
            size *= 2
        found.append(Columns(at, size, min(size, left), at))
        at += size
    return found


def sizes(count: int, size: int) -> list[tuple[int, int]]:
    """The sizes of the tiles that cover a count, and how many there are of each."""
    whole, rest = divmod(count, size)
    return [(n, times) for n, times in ((size, whole), (rest, 1)) if n and times]


@lru_cache(maxsize=1024)
def tile_of(m: int, vectors: int, registers: int) -> tuple[int, int]:
    """Rows and vectors of the tiles that take the fewest cycles in all."""
    best: tuple[float, int, int] | None = None
    for nv in range(1, min(_BROAD, vectors, registers // 2 - 1) + 1):
        # The sums, the vectors of y, one element of x, and some room.
        for mr in range(1, min(_BROAD, m, max((registers - 2) // nv - 1, 1)) + 1):
            # Multiplications, loads, or the delay of a sum: whichever a tile waits for.
            cost = sum(
                [
                    (max(r * v, r / 2 + v, _LATENCY / 2) + 0.5) * rows * columns
                    for r, rows in sizes(m, mr)
                    for v, columns in sizes(vectors, nv)
                ]
            )
            key = (cost, -mr * nv, mr)
            if best is None or key < best:
                best = key
                found = mr, nv
    return found


def masked(columns: Columns) -> V | None:
    """The mask of a vector that is not whole."""
    if columns.live == columns.w:
        return None
    bits = ", ".join(f"i1 {int(lane < columns.live)}" for lane in range(columns.w))
    return V(f"<{bits}>", "i1", columns.w)


def accumulate(b: Builder, s: V, v: V, acc: V, logical: bool) -> V:
    """``acc + s * v``."""
    if s.im:
        (sr, si), (vr, vi), (ar, ai) = s.parts, v.parts, acc.parts
        re = b.muladd(b.neg(si), vi, b.muladd(sr, vr, ar))
        im = b.muladd(si, vr, b.muladd(sr, vi, ai))
        return V(re.ref, acc.ty, acc.w, im.ref)
    if logical:
        return b.op("or", b.op("and", s, v), acc)
    return b.muladd(s, v, acc) if v.floating else b.add(b.mul(s, v), acc)


def plus(b: Builder, x: V, y: V, logical: bool) -> V:
    return b.op("or", x, y) if logical else b.add(x, y)


# -- functions ------------------------------------------------------------------------------------------------------


def function(b: Builder, stem: str, key: Any, params: str, fill: Callable[[Builder], None], shared: bool = True) -> str:
    """The name of a function of the module that is what its key says; written where it is not there yet.

    Args:
        shared: whether it is generated once for all programs of a process; it declares nothing but functions then.
    """
    name = f"{stem}_{blake2b(repr(key).encode(), digest_size=8).hexdigest()}"
    if name not in b.helpers:
        inner = Builder(b.fma, b.declared, b.helpers)
        fill(inner)
        lines = "\n".join(inner.lines)
        text = f"define internal void @{name}({params}) {machine().attributes} {{\nentry:\n{lines}\n  ret void\n}}\n"
        if shared:
            b.share(name, text)
        else:
            b.helpers[name] = text
    return name


def product(b: Builder, p: Product, form: str, x: str, y: str, out: str, target: Target) -> None:
    """Call the function of a product."""
    if not p.m or not p.n:
        return

    def fill(inner: Builder) -> None:
        writer = (Rows if form == "rows" else Dots)(inner, p, target)
        writer.write("%x", "%y", "%out")

    name = function(b, f"product_{p.m}x{p.n}x{p.depth}", (p, form, target), "ptr %x, ptr %y, ptr %out", fill)
    b.do(f"call void @{name}(ptr {x}, ptr {y}, ptr {out})")


class Writer:
    """What both forms share."""

    def __init__(self, b: Builder, p: Product, target: Target, epilogue: Epilogue | None = None) -> None:
        self.b = b
        self.p = p
        self.target = target
        self.epilogue = epilogue
        self.lanes = target.lanes(p.ty)

    def zero(self, w: int) -> V:
        return self.b.const(0, self.p.ty, w)

    def at(self, pointer: str, index: str, step: int) -> str:
        return self.b.address(pointer, self.p.ty, self.b.imul(index, step))

    def moved(self, pointer: str, by: int) -> str:
        return self.b.address(pointer, self.p.ty, str(by))

    def times(self, count: int, step: int, body: Callable[[str], None]) -> None:
        """The body for 0, step, 2 step, … below the count, written once."""
        if count <= step:
            if count:
                body("0")
            return

        def turn(i: str, _: list[V]) -> list[V]:
            body(i)
            return []

        self.b.loop("0", str(count), step, [], turn)

    def tiles(self, count: int, size: int, body: Callable[[str, int], None]) -> None:
        """The body for every tile along an axis: the whole ones in a loop, then the rest."""
        whole = count // size * size
        self.times(whole, size, lambda i: body(i, size))
        if count % size:
            body(str(whole), count % size)


class Rows(Writer):
    """Vectors along the columns of the result."""

    def write(self, x: str, y: str, out: str) -> None:
        p = self.p
        inner, blocks = _blocks(p.k, len(p.taps))
        if not blocks:
            self.panels(x, y, out, inner, None)
            return
        self.blocked(x, y, out, inner, blocks, "")

    def blocked(self, x: str, y: str, out: str, inner: tuple[Step, ...], blocks: list[_Block], first: str) -> None:
        """The sum part by part; ``first`` tells whether nothing was summed before."""
        b, block = self.b, blocks[0]

        def part(i: str, length: int) -> None:
            here = self.both(first, b.emit(f"icmp eq i64 {i}, 0"))
            xi, yi = self.at(x, i, block.step.x), self.at(y, i, block.step.y)
            if len(blocks) > 1:
                self.blocked(xi, yi, out, inner, blocks[1:], here)
            else:
                self.panels(xi, yi, out, (block.step._replace(extent=length), *inner), here)

        self.tiles(block.step.extent, block.length, part)

    def both(self, p: str, q: str) -> str:
        return self.b.emit(f"and i1 {p}, {q}") if p else q

    def panels(self, x: str, y: str, out: str, k: tuple[Step, ...], first: str | None) -> None:
        """All tiles: panels of columns, and in each of them the rows."""
        p = self.p
        w = self.lanes
        vectors = [
            c._replace(at=c.at + at, to=c.to + to) for at, to in p.lines for c in vectors_of(p.n, w, self.target.masks)
        ]
        mr, nv = tile_of(p.m, len(vectors), self.target.registers // (2 if p.ty.startswith("c") else 1))
        whole = 0 if len(p.lines) > 1 else sum([v.live == w for v in vectors]) // nv
        panel = vectors[:nv]

        def rows(yj: str, oj: str, j: str, columns: list[Columns]) -> None:
            def tile(i: str, size: int) -> None:
                self.tile(self.at(x, i, p.xm), yj, self.at(oj, i, p.om), (i, j), size, columns, k, first)

            self.tiles(p.m, mr, tile)

        if whole:
            self.times(whole * nv * w, nv * w, lambda j: rows(self.moved_by(y, j), self.moved_by(out, j), j, panel))
        rest = vectors[whole * nv :]
        for start in range(0, len(rest), nv):
            columns = rest[start : start + nv]
            at, to = columns[0].at, columns[0].to
            local = [c._replace(at=c.at - at, to=c.to - to) for c in columns]
            rows(self.moved(y, at), self.moved(out, to), str(to), local)

    def moved_by(self, pointer: str, index: str) -> str:
        return self.b.address(pointer, self.p.ty, index)

    def tile(
        self,
        x: str,
        y: str,
        out: str,
        place: tuple[str, str],
        rows: int,
        columns: list[Columns],
        k: tuple[Step, ...],
        first: str | None,
    ) -> None:
        b, p = self.b, self.p
        sums = self.sum(x, y, rows, columns, k)
        for r in range(rows):
            row = self.moved(out, r * p.om)
            for n, c in enumerate(columns):
                value, mask = sums[r * len(columns) + n], masked(c)
                to = self.moved(row, c.to)
                if p.onto:
                    value = plus(b, b.load(p.ty, c.w, to, mask), value, p.logical)
                elif first is not None:
                    before = b.load(p.ty, c.w, to, mask)
                    some = V(b.emit(f"insertelement <1 x i1> poison, i1 {first}, i64 0"), "i1", 1)
                    value = b.select(b.spread(some, c.w), value, plus(b, before, value, p.logical))
                if self.epilogue is not None:
                    i, j = b.iadd(place[0], str(r)), b.iadd(place[1], str(c.to))
                    value = self.epilogue(b, value, i, j, mask)
                b.store(value, to, mask)

    def sum(self, x: str, y: str, rows: int, columns: list[Columns], k: tuple[Step, ...]) -> list[V]:
        """The elements of a tile."""
        b, p = self.b, self.p
        count = rows * len(columns)
        zeros = [self.zero(c.w) for _ in range(rows) for c in columns]
        copies = 1
        if k and count < _LATENCY:
            copies = max(min(-(-_LATENCY // count), k[-1].extent // 4, 8), 1)
        written = count * len(p.taps)

        def products(xk: str, yk: str, sums: list[V]) -> list[V]:
            for dx, dy in p.taps:
                sums = tapped(self.moved(xk, dx), self.moved(yk, dy), sums)
            return sums

        def tapped(xk: str, yk: str, sums: list[V]) -> list[V]:
            factors = [b.load(p.ty, c.w, self.moved(yk, c.at), masked(c)) for c in columns]
            found = []
            for r in range(rows):
                one = b.load(p.ty, 1, self.moved(xk, r * p.xm))
                for n, v in enumerate(factors):
                    found.append(accumulate(b, b.spread(one, v.w), v, sums[r * len(columns) + n], p.logical))
            return found

        def inside(level: int, xk: str, yk: str, sums: list[V]) -> list[V]:
            if level == len(k):
                return products(xk, yk, sums)
            step = k[level]
            last = level == len(k) - 1

            def turns(start: str, offsets: Sequence[int], sums: list[V]) -> list[V]:
                xs, ys = self.at(xk, start, step.x), self.at(yk, start, step.y)
                for n, o in enumerate(offsets):
                    mine = slice(n % copies * count, (n % copies + 1) * count) if last else slice(None)
                    sums = list(sums)
                    sums[mine] = inside(level + 1, self.moved(xs, o * step.x), self.moved(ys, o * step.y), sums[mine])
                return sums

            if last and step.extent * written <= _UNROLLED:
                return turns("0", range(step.extent), sums)
            together = max(copies, min(4, 24 // written, step.extent)) // copies * copies if last else 1
            whole = step.extent // together * together
            sums = b.loop("0", str(whole), together, sums, lambda i, s: turns(i, range(together), s))
            return turns(str(whole), range(step.extent - whole), sums) if whole < step.extent else sums

        if not p.depth:
            return zeros
        sums = inside(0, x, y, zeros * copies)
        while copies > 1:
            half = -(-copies // 2)
            tail = [plus(b, sums[i], sums[half * count + i], p.logical) for i in range((copies - half) * count)]
            sums = [*tail, *sums[len(tail) : half * count]]
            copies = half
        return sums


class _Block(NamedTuple):
    """An axis of the sum that is cut in parts."""

    step: Step
    length: int


def _blocks(k: tuple[Step, ...], taps: int) -> tuple[tuple[Step, ...], list[_Block]]:
    """The axes that are summed in one go, and those that are cut, the last one in parts of several."""
    size = taps
    for level in range(len(k) - 1, -1, -1):
        step = k[level]
        if size * step.extent > DEPTH:
            outer = [_Block(s, 1) for s in k[:level]]
            return k[level + 1 :], [*outer, _Block(step, max(DEPTH // size, 1))]
        size *= step.extent
    return k, []


# -- dots -----------------------------------------------------------------------------------------------------------


class Dots(Writer):
    """Vectors along the sum."""

    def write(self, x: str, y: str, out: str) -> None:
        p = self.p
        columns = (
            p.lines if len(p.lines) > 1 else tuple([(j * p.yn, j) for j in range(min(p.n, self.target.registers // 2))])
        )
        c = min(len(columns), 4 if p.m > 3 and len(p.lines) == 1 else 9)
        r = max(min(p.m, self.target.registers * 5 // 8 // c), 1)

        def some(yj: str, oj: str, j: str, local: Sequence[tuple[int, int]]) -> None:
            def tile(i: str, rows: int) -> None:
                self.tile(self.at(x, i, p.xm), yj, self.at(oj, i, p.om), (i, j), rows, local)

            self.tiles(p.m, r, tile)

        if len(p.lines) > 1:
            for start in range(0, len(columns), c):
                some(y, out, str(start), columns[start : start + c])
            return
        self.tiles(p.n, c, lambda j, wide: some(self.at(y, j, p.yn), self.b.address(out, p.ty, j), j, columns[:wide]))

    def tile(
        self, x: str, y: str, out: str, place: tuple[str, str], rows: int, columns: Sequence[tuple[int, int]]
    ) -> None:
        b, p = self.b, self.p
        width = len(columns)
        results = self.reduced(self.sums(x, y, rows, columns))
        run = [to - n for n, (_, to) in enumerate(columns)]
        for r in range(rows):
            at = 0
            while at < width:
                # As many results side by side as the vector that they are in holds.
                group, first = divmod(r * width + at, self.wide)
                beside = next((n for n in range(at, width) if run[n] != run[at]), width) - at
                w = 1 << (min(beside, self.wide - first).bit_length() - 1)
                value = results[group]
                if value.w > w:
                    value = b.shuffle(value, range(first, first + w))
                to = self.moved(out, r * p.om + columns[at][1])
                if p.onto:
                    value = plus(b, b.load(p.ty, w, to), value, p.logical)
                if self.epilogue is not None:
                    value = self.epilogue(b, value, b.iadd(place[0], str(r)), b.iadd(place[1], str(at)), None)
                b.store(value, to)
                at += w

    def sums(self, x: str, y: str, rows: int, columns: Sequence[tuple[int, int]]) -> list[V]:
        """A vector of partial sums for each element of a tile."""
        b, p = self.b, self.p
        width = len(columns)
        count = rows * width
        extent = p.k[-1].extent
        w = self.lanes
        while w > 1 and w >= 2 * extent:
            w //= 2
        self.w = w
        copies = max(min(-(-_LATENCY // count), extent // w), 1)

        def products(xk: str, yk: str, sums: list[V], c: Columns) -> list[V]:
            mask = masked(c)
            right = [b.load(p.ty, c.w, self.moved(yk, at), mask) for at, _ in columns]
            found = []
            for i in range(rows):
                left = b.load(p.ty, c.w, self.moved(xk, i * p.xm), mask)
                for j in range(width):
                    acc = sums[i * width + j]
                    found.append(accumulate(b, left, right[j], acc, p.logical))
            return found

        def row(xk: str, yk: str, sums: list[V]) -> list[V]:
            whole = extent // (w * copies) * w * copies

            def turn(i: str, sums: list[V]) -> list[V]:
                xi, yi = self.at(xk, i, 1), self.at(yk, i, 1)
                found: list[V] = []
                for n in range(copies):
                    mine = sums[n * count : (n + 1) * count]
                    found += products(self.moved(xi, n * w), self.moved(yi, n * w), mine, Columns(0, w, w))
                return found

            if whole == w * copies:
                sums = turn("0", sums)
            elif whole:
                sums = b.loop("0", str(whole), w * copies, sums, turn)
            for n, c in enumerate(vectors_of(extent - whole, w, self.target.masks)):
                at = whole + c.at
                mine = slice(n % copies * count, (n % copies + 1) * count)
                sums = list(sums)
                sums[mine] = self.tail(products, self.moved(xk, at), self.moved(yk, at), sums[mine], c._replace(at=0))
            return sums

        def inside(level: int, xk: str, yk: str, sums: list[V]) -> list[V]:
            step = p.k[level]
            if level == len(p.k) - 1:
                return row(xk, yk, sums)
            return b.loop(
                "0", str(step.extent), 1, sums,
                lambda i, s: inside(level + 1, self.at(xk, i, step.x), self.at(yk, i, step.y), s),
            )  # fmt: skip

        sums = inside(0, x, y, [self.zero(w)] * (count * copies))
        while copies > 1:
            half = -(-copies // 2)
            tail = [plus(b, sums[i], sums[half * count + i], p.logical) for i in range((copies - half) * count)]
            sums = [*tail, *sums[len(tail) : half * count]]
            copies = half
        return sums

    def tail(self, products: Any, xk: str, yk: str, sums: list[V], c: Columns) -> list[V]:
        """A vector with fewer lanes than the others, added to their first ones."""
        if c.w == self.w:
            found: list[V] = products(xk, yk, sums, c)
            return found
        b = self.b
        places = [min(q, c.w) for q in range(self.w)]
        short: list[V] = products(xk, yk, [self.zero(c.w)] * len(sums), c)
        return [
            plus(b, s, b.shuffle(v, places, self.zero(c.w)), self.p.logical) for s, v in zip(sums, short, strict=True)
        ]

    def reduced(self, sums: list[V]) -> list[V]:
        """The sums of the lanes of each vector, side by side in vectors of ``wide`` lanes."""
        b, w = self.b, self.w
        size = 1 << (len(sums) - 1).bit_length()
        self.wide = min(size, w)
        found = []
        for start in range(0, len(sums), self.wide):
            group = sums[start : start + self.wide]
            group += [self.zero(w)] * (self.wide - len(group))
            segment = w
            while len(group) > 1:
                group = [self.halved(p, q, segment) for p, q in zip(group[::2], group[1::2], strict=True)]
                segment //= 2
            (only,) = group
            while segment > 1:
                lanes = only.w
                half = segment // 2
                low = [q for q in range(lanes) if q % segment < half]
                only = plus(b, b.shuffle(only, low), b.shuffle(only, [q + half for q in low]), self.p.logical)
                segment = half
            found.append(only)
        return found

    def halved(self, p: V, q: V, segment: int) -> V:
        """Two vectors of segments, each half as long in the vector of both."""
        half = segment // 2
        low = [lane for lane in range(2 * self.w) if lane % segment < half]
        return plus(
            self.b, self.b.shuffle(p, low, q), self.b.shuffle(p, [lane + half for lane in low], q), self.p.logical
        )
