"""Kernels that read some arrays across the lanes: squares of them are read in lines, and turned in registers.

The vectors that are computed side by side stand at neighbouring places of a second axis then, the one that those
arrays are contiguous along. So every line of memory is read and written as a whole, and once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from functrans.backends.llvm.builder import Builder, V, joined
from functrans.backends.llvm.casts import loaded, stored
from functrans.backends.llvm.nest import without
from functrans.backends.llvm.rows import Rows
from functrans.kernel.index import Axis
from functrans.kernel.ir import Access


class Tiled(Rows):
    """The loops of tiles.

    Attributes:
        turned: the second axis, while vectors stand at neighbouring places of it.
    """

    turned: Axis | None = None

    def _point(self, copies: int) -> None:
        """All stages at one place, for each of the vectors side by side."""
        raise NotImplementedError

    def _tiles(self, tile: str, block: str) -> None:
        """A tile of the second axis and of the lanes: squares, then single places of the second axis."""
        nest, b = self.nest, self.b
        axis = nest.tile
        assert axis is not None
        low, high, main = self._cut(tile, axis.extent, nest.tile_length, nest.width)
        self._hoist_everything()

        def across(t: str, _: list[V]) -> list[V]:
            with self._scope():
                self.names_of[axis] = t
                self.turned = axis
                self._across(block, nest.width)
                self.turned = None
            return []

        def along(t: str, _: list[V]) -> list[V]:
            with self._scope():
                self.names_of[axis] = t
                self._across(block, 1)
            return []

        if main != low:
            b.loop(low, main, nest.width, [], across)
        if axis.extent % nest.width:
            b.loop(main, high, 1, [], along)

    def _cut(self, number: str, extent: int, length: int, step: int) -> tuple[str, str, str]:
        """The bounds of a part of an axis, and the end of the whole steps in it."""
        b = self.b
        if extent <= length:
            return "0", str(extent), str(extent // step * step)
        low = b.imul(number, length)
        high = b.imin(b.iadd(low, str(length)), str(extent))
        return low, high, self._whole(low, high, step, whole=extent % step == 0)

    def _across(self, block: str, copies: int) -> None:
        """The lanes of a tile."""
        nest, b = self.nest, self.b
        low, high, main = self._cut(block, nest.lane.extent, nest.block, nest.width)

        def vector(i: str, end: str | None) -> list[V]:
            with self._scope():
                self.base = [i] * copies
                self.mask = self._mask(i, end)
                self._point(copies)
                self.mask = None
            return []

        if main != low:
            b.loop(low, main, nest.width, [], lambda i, _: vector(i, None))
        if nest.lane.extent % nest.width:
            b.loop(main, high, nest.width, [], lambda i, _: vector(i, high))

    def _remember(self, key: Any, v: V, in_lanes: bool) -> V:
        return super()._remember(key, v, in_lanes or self.turned is not None)

    def _name(self, axis: Axis) -> str:
        name = super()._name(axis)
        return self.b.iadd(name, str(self.copy)) if axis is self.turned else name

    def _load(self, access: Access, w: int) -> V:
        if self.turned is None or self.mask is not None or w == 1 or access.guard:
            return super()._load(access, w)
        key = ("turned", id(access))
        known = self._known(key)
        if known is not None:
            return known
        flat = self.nest.flat(access)
        c, plain = self.nest.coefficient(flat, self.nest.lane)
        if not plain or c in (0, 1, -1) or self.nest.coefficient(flat, self.turned) != (1, True):
            return super()._load(access, w)
        here, self.copy = self.copy, 0
        for i in access.position:
            for value in i.values():
                self._place(value)
        b, dtype = self.b, access.buffer.aval.dtype
        ty = stored(dtype)
        first = b.iadd(self._scalar_index(without(flat, self.nest.lane)), b.imul(self.base[0], c))
        start = b.address(self.pointers[access.buffer], ty, first)
        lines = [b.load(ty, w, b.address(start, ty, str(c * k))) for k in range(w)]
        for n, v in enumerate(turned(b, lines)):
            self.private[n][-1][key] = loaded(b, v, dtype)
        self.copy = here
        found = self._known(key)
        assert found is not None
        return found


def turned(b: Builder, lines: Sequence[V]) -> list[V]:
    """The transpose of a square of lanes, halves of lanes exchanged at a time."""
    if lines[0].im:
        parts = [turned(b, part) for part in zip(*[v.parts for v in lines], strict=True)]
        return [joined(v) for v in zip(*parts, strict=True)]
    rows, w = list(lines), lines[0].w
    half = 1
    while half < w:
        low = [n if not n & half else w + n - half for n in range(w)]
        high = [n + half if not n & half else w + n for n in range(w)]
        for n in range(w):
            if not n & half:
                x, y = rows[n], rows[n + half]
                rows[n], rows[n + half] = b.shuffle(x, low, y), b.shuffle(x, high, y)
        half *= 2
    return rows
