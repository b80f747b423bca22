"""Places in arrays that a kernel computes: indices that are values, with their bounds seen to.

An index that is out of bounds where it must not be is noted down, and the kernel is left; the caller makes the error.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from functrans.backends.llvm.builder import Builder, V
from functrans.backends.llvm.casts import convert
from functrans.backends.llvm.nest import Nest
from functrans.backends.llvm.outside import NOTE
from functrans.kernel.index import Index, Value
from functrans.kernel.ir import Expr

PLACES = np.dtype(np.int64)
"""The dtype of an element's place along an axis."""
FAILED = 2
"""What a kernel gives where an index is out of bounds."""


def note_outside(b: Builder, index: str, axis: int, extent: int) -> None:
    """Note down an index that is out of bounds, for the error."""
    b.declared["functrans_outside"] = NOTE
    for n, value in enumerate((index, axis, extent)):
        b.do(f"store i64 {value}, ptr {b.address('@functrans_outside', 'i64', str(n))}")


def fail_where(b: Builder, outside: V, given: V, axis: int, extent: int, failed: str) -> None:
    """Go to a block where an index lies outside in any lane, and note down which."""
    bits = b.emit(f"bitcast {outside.full} {outside.ref} to i{outside.w}")
    fails = b.emit(f"icmp ne i{outside.w} {bits}, 0")
    off, well = b.label("outside"), b.label("inside")
    b.do(f"br i1 {fails}, label %{off}, label %{well}")
    b.start(off)
    wide = b.emit(f"zext i{outside.w} {bits} to i64") if outside.w < 64 else bits
    b.declared["llvm.cttz.i64"] = "declare i64 @llvm.cttz.i64(i64, i1)"
    first = b.emit(f"call i64 @llvm.cttz.i64(i64 {wide}, i1 true)")
    one = b.emit(f"extractelement {given.full} {given.ref}, i64 {first}")
    note_outside(b, one, axis, extent)
    b.do(f"br label %{failed}")
    b.start(well)


class Computed:
    """The places that a kernel computes; ``Values`` says what is known.

    Attributes:
        failed: the block to go to where an index is out of bounds.
    """

    b: Builder
    nest: Nest
    mask: V | None
    failed = "failed"

    def _known(self, key: Any) -> V | None:
        raise NotImplementedError

    def _remember(self, key: Any, v: V, in_lanes: bool) -> V:
        raise NotImplementedError

    def _in_lanes(self, axes: Any) -> bool:
        raise NotImplementedError

    def _value(self, e: Expr) -> V:
        raise NotImplementedError

    def _varies(self, index: Index) -> bool:
        """Whether an index differs from lane to lane."""
        return self._in_lanes(self.nest.depends(index))

    def _place(self, value: Value) -> V:
        """A computed place, in as many lanes as it needs."""
        key = ("place", id(value))
        known = self._known(key)
        if known is not None:
            return known
        b, e = self.b, value.expr
        given = convert(b, self._value(e), e.dtype, PLACES)
        place = given
        if value.turn:
            below = b.compare("slt", given, b.like(0, given))
            place = b.select(below, b.add(given, b.like(value.turn, given)), given)
        last = b.like(value.extent - 1, given)
        if value.mode == "clip":
            place = b.call("smax", place, b.like(0, given)) if value.turn else place
            place = b.call("smin" if value.turn else "umin", place, last)
        elif value.mode == "raise":
            off = b.compare("ugt", place, last)
            if off.w > 1 and self.mask is not None:
                off = b.op("and", off, self.mask)
            fail_where(b, off, given, value.axis, value.extent, self.failed)
        return self._remember(key, place, self._in_lanes(self.nest.axes(e)))
