"""Short rows sorted side by side: Batcher's network, each lane a row.

Keys are integers that are ordered as the values are, NaN behind all others. Ties are broken by the place in the row, so
that the order is stable. The network is K. E. Batcher's merge exchange, as Algorithm 5.2.2M of D. E. Knuth: "The Art of
Computer Programming", volume 3, for any number of elements.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod

import numpy as np

from functrans.backends.llvm.builder import BITS, Builder, V
from functrans.backends.llvm.calls import NativeCall, native
from functrans.backends.llvm.casts import computing, kept, loaded, stored
from functrans.backends.llvm.copying import strides_of
from functrans.backends.llvm.movement import avals_of, called, function
from functrans.backends.llvm.runtime import machine
from functrans.backends.llvm.tiling import turned
from functrans.core.dtypes import DType
from functrans.core.jaxpr import Eqn

LONGEST = 64
"""Elements of a row that a network sorts; beyond, it makes more comparisons than it saves."""
LONGEST_WIDE = 40
"""The same where NumPy's own vectors do as well: wide values alone, of many rows."""
MANY_ROWS = 64


@lru_cache(maxsize=LONGEST)
def network(n: int) -> tuple[tuple[int, int], ...]:
    """The comparisons that sort ``n`` elements, in order."""
    found = []
    top = 1 << max((n - 1).bit_length() - 1, 0)
    p = top
    while p:
        q, r, d = top, 0, p
        while True:
            found += [(i, i + d) for i in range(n - d) if i & p == r]
            if q == p:
                break
            d, q, r = q - p, q // 2, p
        p //= 2
    return tuple(found)


@native("sort")
@native("partition")
def _sort(eqn: Eqn) -> NativeCall | None:
    return _sorting(eqn, places=False)


@native("argsort")
@native("argpartition")
def _argsort(eqn: Eqn) -> NativeCall | None:
    return _sorting(eqn, places=True) if len(eqn.inputs) == 1 else None


def _sorting(eqn: Eqn, places: bool) -> NativeCall | None:
    avals = avals_of(eqn)
    if avals is None or avals[0].dtype.kind == "c" or not avals[0].shape or 0 in avals[0].shape:
        return None
    x = avals[0]
    n = x.shape[eqn.params["axis"]]
    if not 1 < n <= LONGEST:
        return None
    rows = _Rows(x.shape, eqn.params["axis"], x.dtype, places, bool(eqn.params.get("stable")))
    if n > LONGEST_WIDE and prod(x.shape) > MANY_ROWS * n and rows.key == "i64" and not (places or rows.by_place):
        return None

    def emit(b: Builder, operands: Sequence[str], outs: Sequence[str], work: str) -> None:
        name = function(b, eqn, 3, lambda inner, pointers: rows.write(inner, *pointers), False)
        called(b, name, [outs[0], operands[0], work], False)

    return NativeCall(emit, work=rows.work, cost=len(network(n)) * 8 * prod(x.shape) // n // rows.w)


class _Rows:
    """How the rows of an array are sorted.

    Attributes:
        key: the type of the keys.
        w: rows side by side.
        lanes, lane_step: how many rows there are for each step of the outer loop, and how far they are apart.
        step: how far the elements of a row are apart.
        tied: whether places are kept in vectors of their own, beside keys that leave no room for them.
        by_place: whether the result is read from where the places say: equal keys have other bits.
    """

    def __init__(self, shape: Sequence[int], axis: int, dtype: DType, places: bool, stable: bool) -> None:
        self.n = shape[axis]
        self.dtype = dtype
        self.computed = computing(dtype)
        inner = prod(shape[axis + 1 :])
        self.step = strides_of(shape)[axis]
        self.outer = prod(shape[:axis])
        self.outer_step = self.n * inner
        self.lanes, self.lane_step = inner, 1
        if inner == 1:
            self.lanes, self.lane_step, self.outer = self.outer, self.n, 1
        self.places = places
        self.by_place = not places and stable and self.computed.kind == "f"
        wide = self.computed.itemsize == 8
        self.tied = (places or self.by_place) and wide
        self.packed = (places or self.by_place) and not wide
        self.key = "i64" if wide or self.packed else "i32"
        self.w = max(machine().bits // BITS[self.key], 1)
        self.work = -(-self.n * self.w * BITS[self.key] // 8 // 64) * 64 * (2 if self.tied else 1)

    def write(self, b: Builder, out: str, source: str, work: str) -> None:
        """The loops over all rows."""
        w, whole = self.w, self.lanes // self.w * self.w
        b.declared[f"network_{self.n}"] = self._table()

        def outer(o: str, _: list[V]) -> list[V]:
            start = b.imul(o, self.outer_step)

            def block(i: str, mask: V | None) -> None:
                base = b.iadd(start, b.imul(i, self.lane_step))
                self._read(b, source, base, work, mask)
                self._exchange(b, work)
                self._give(b, out, source, base, work, mask)

            def full(i: str, _: list[V]) -> list[V]:
                block(i, None)
                return []

            if whole:
                b.loop("0", str(whole), w, [], full)

            def rest(i: str, _: list[V]) -> list[V]:
                at = b.add(b.vector(i, "i64", w), b.lanes(w))
                block(i, b.compare("slt", at, b.const(self.lanes, "i64", w)))
                return []

            if whole < self.lanes:
                # A loop of one turn, so that the mask is no constant: LLVM stores lanes that are cut to fewer bits
                # whole where it knows that there is one.
                b.loop(str(whole), str(self.lanes), w, [], rest)
            return []

        b.loop("0", str(self.outer), 1, [], outer)

    def _table(self) -> str:
        """The places in the working memory that each comparison is of."""
        flat = [k for pair in network(self.n) for k in pair]
        values = ", ".join(f"i16 {k}" for k in flat)
        return f"@functrans_network_{self.n} = internal constant [{len(flat)} x i16] [{values}]"

    # -- memory -------------------------------------------------------------------------------------------------

    def _vector(self, b: Builder, work: str, k: str, second: bool = False) -> str:
        """The address of the keys of the rows' elements ``k``, or of their places."""
        at = b.iadd(k, str(self.n)) if second else k
        return b.address(work, self.key, b.imul(at, self.w))

    def _steps(self) -> V:
        return V("<" + ", ".join(f"i64 {k * self.lane_step}" for k in range(self.w)) + ">", "i64", self.w)

    def _read(self, b: Builder, source: str, base: str, work: str, mask: V | None) -> None:
        ty = stored(self.dtype)
        start = b.address(source, ty, base)
        done = 0
        if self.lane_step != 1 and mask is None and self.w <= 16:
            for first in range(0, self.n - self.w + 1, self.w):
                lines = [b.load(ty, self.w, b.address(start, ty, str(r * self.n + first))) for r in range(self.w)]
                for k, v in enumerate(turned(b, lines)):
                    self._put(b, work, str(first + k), v)
                done = first + self.w

        def turn(k: str, _: list[V]) -> list[V]:
            here = b.address(start, ty, b.imul(k, self.step))
            if self.lane_step == 1:
                v = b.load(ty, self.w, here, mask)
            else:
                v = b.gather(ty, self.w, here, self._steps(), mask, None)
            self._put(b, work, k, v)
            return []

        if done < self.n:
            b.loop(str(done), str(self.n), 1, [], turn)

    def _put(self, b: Builder, work: str, k: str, v: V) -> None:
        key = self._key(b, loaded(b, v, self.dtype) if self.dtype.kind != "b" else v)
        place = b.vector(k, "i64", self.w)
        if self.packed:
            key = b.op("or", b.op("shl", b.cast("sext", key, "i64"), b.const(32, "i64", self.w)), place)
        b.store(key, self._vector(b, work, k))
        if self.tied:
            b.store(place, self._vector(b, work, k, second=True))

    def _give(self, b: Builder, out: str, source: str, base: str, work: str, mask: V | None) -> None:
        ty = "i64" if self.places else stored(self.dtype)
        start = b.address(out, ty, base)
        done = 0
        if self.lane_step != 1 and mask is None and self.w <= 16:
            for first in range(0, self.n - self.w + 1, self.w):
                columns = [self._got(b, source, base, work, str(first + k), mask) for k in range(self.w)]
                for r, line in enumerate(turned(b, columns)):
                    b.store(line, b.address(start, ty, str(r * self.n + first)))
                done = first + self.w

        def turn(k: str, _: list[V]) -> list[V]:
            v = self._got(b, source, base, work, k, mask)
            here = b.address(start, ty, b.imul(k, self.step))
            if self.lane_step == 1:
                b.store(v, here, mask)
            else:
                b.scatter(v, here, self._steps(), mask)
            return []

        if done < self.n:
            b.loop(str(done), str(self.n), 1, [], turn)

    def _got(self, b: Builder, source: str, base: str, work: str, k: str, mask: V | None) -> V:
        """The elements, or places, that come at ``k``."""
        if not (self.places or self.by_place):
            return self._value(b, b.load(self.key, self.w, self._vector(b, work, k)))
        place = b.load("i64", self.w, self._vector(b, work, k, second=self.tied))
        if self.packed:
            place = b.op("and", place, b.const(0xFFFFFFFF, "i64", self.w))
        if self.places:
            return place
        ty = stored(self.dtype)
        at = b.add(b.mul(place, b.like(self.step, place)), self._steps())
        return b.gather(ty, self.w, b.address(source, ty, base), at, mask, None)

    # -- keys ---------------------------------------------------------------------------------------------------

    def _key(self, b: Builder, v: V) -> V:
        """Signed integers in the order of the values."""
        kind, ty = self.computed.kind, "i64" if self.computed.itemsize == 8 else "i32"
        if kind == "f":
            if self.places or self.by_place:
                v = b.add(v, b.like(0.0, v))  # which makes the zeros alike
            v = b.select(b.compare("uno", v, v), b.like(np.nan, v), v)
            return self._folded(b, b.cast("bitcast", v, ty))
        if v.ty != ty:
            v = b.cast("sext" if kind == "i" else "zext", v, ty)
        if kind == "u" and self.computed.itemsize * 8 == BITS[ty]:
            v = b.op("xor", v, b.like(-(1 << (BITS[ty] - 1)), v))
        return v

    def _folded(self, b: Builder, bits: V) -> V:
        """The bits of floats as integers in their order; the same again gives the bits back."""
        size = BITS[bits.ty]
        sign = b.op("lshr", b.op("ashr", bits, b.like(size - 1, bits)), b.like(1, bits))
        return b.op("xor", bits, sign)

    def _value(self, b: Builder, key: V) -> V:
        """The element of a key, as it stands in memory."""
        kind, ty = self.computed.kind, stored(self.dtype)
        if kind == "f":
            return kept(b, b.cast("bitcast", self._folded(b, key), stored(self.computed)), self.dtype)
        if kind == "u" and self.computed.itemsize * 8 == BITS[key.ty]:
            key = b.op("xor", key, b.like(-(1 << (BITS[key.ty] - 1)), key))
        return key if key.ty == ty else b.cast("trunc", key, ty)

    def _exchange(self, b: Builder, work: str) -> None:
        """All comparisons of the network."""
        table = f"@functrans_network_{self.n}"

        def turn(c: str, _: list[V]) -> list[V]:
            sides = []
            for side in range(2):
                at = b.address(table, "i16", b.iadd(c, str(side)))
                sides.append(b.emit(f"zext i16 {b.emit(f'load i16, ptr {at}')} to i64"))
            low, high = (self._vector(b, work, s) for s in sides)
            x, y = b.load(self.key, self.w, low), b.load(self.key, self.w, high)
            if not self.tied:
                b.store(b.call("smin", x, y), low)
                b.store(b.call("smax", x, y), high)
                return []
            second = [self._vector(b, work, s, second=True) for s in sides]
            i, j = (b.load("i64", self.w, p) for p in second)
            later = b.op("and", b.compare("eq", x, y), b.compare("sgt", i, j))
            swap = b.op("or", b.compare("sgt", x, y), later)
            b.store(b.select(swap, y, x), low)
            b.store(b.select(swap, x, y), high)
            b.store(b.select(swap, j, i), second[0])
            b.store(b.select(swap, i, j), second[1])
            return []

        b.loop("0", str(2 * len(network(self.n))), 2, [], turn)


# -- searching ------------------------------------------------------------------------------------------------------


@native("searchsorted")
def _searchsorted(eqn: Eqn) -> NativeCall | None:
    avals = avals_of(eqn)
    if avals is None or avals[0].dtype.kind == "c" or 0 in avals[1].shape:
        return None
    a, v = avals[:2]
    lead, n, dtype = prod(a.shape[:-1]), a.shape[-1], a.dtype
    count = prod(v.shape) // lead
    right = eqn.params["side"] == "right"
    ty = stored(dtype)
    width = max(machine().bits // 64, 1)

    def fill(b: Builder, pointers: Sequence[str]) -> None:
        out, rows, values = pointers

        def row(r: str, _: list[V]) -> list[V]:
            sorted_row, start = b.address(rows, ty, b.imul(r, n)), b.imul(r, count)

            def some(i: str, w: int) -> list[V]:
                at = b.iadd(start, i)
                x = loaded(b, b.load(ty, w, b.address(values, ty, at)), dtype)
                b.store(_place(b, sorted_row, x, n, dtype, right), b.address(out, "i64", at))
                return []

            whole = count // width * width
            b.loop("0", str(whole), width, [], lambda i, _: some(i, width))
            b.loop(str(whole), str(count), 1, [], lambda i, _: some(i, 1))
            return []

        b.loop("0", str(lead), 1, [], row)

    def emit(b: Builder, operands: Sequence[str], outs: Sequence[str], work: str) -> None:
        called(b, function(b, eqn, 3, fill, False), [outs[0], *operands], False)

    return NativeCall(emit, cost=prod(v.shape) * 4 * max(n, 1).bit_length())


def _place(b: Builder, row: str, x: V, n: int, dtype: DType, right: bool) -> V:
    """How many elements of a sorted row stand before the values, by halves."""
    ty = stored(dtype)
    place = b.const(0, "i64", x.w)
    if dtype.kind == "b":
        x = b.cast("zext", x, "i8")
    left = n
    while left:
        half = max(left // 2, 1)
        at = b.add(place, b.const(half - 1, "i64", x.w))
        found = b.gather(ty, x.w, row, at, None, None)
        y = found if dtype.kind == "b" else loaded(b, found, dtype)
        if right:
            before = b.op("xor", _less(b, x, y, dtype), b.const(1, "i1", x.w))
        else:
            before = _less(b, y, x, dtype)
        place = b.select(before, b.add(place, b.const(half, "i64", x.w)), place)
        left = left - half if left > 1 else 0
    return place


def _less(b: Builder, x: V, y: V, dtype: DType) -> V:
    """Whether one value sorts before another; NaN behind all others."""
    if not x.floating:
        return b.compare("slt" if dtype.kind == "i" else "ult", x, y)
    return b.op("and", b.compare("ult", x, y), b.compare("ord", x, x))
