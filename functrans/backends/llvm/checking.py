"""The checked mode of native code, ``config.native_checks``: every address against the memory that it belongs to.

A pointer that is derived from one whose memory is known remembers that. Before a read or a write its address is
compared with the ends: what lies beyond them is noted down, and goes to a place apart, so that the program can go on to
where it raises. Memory between the steps, working memory and results are filled with bytes of 255 before a call, which
read as NaN: a value that was never written shows in the results.

All of this finds mistakes of the backend, not of programs. An index that a program computes is checked, clipped or
wrapped by its own rules in any mode.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from functrans.backends.host import Frames
from functrans.backends.llvm.builder import BITS, Builder, V

POISON = 255
_NOWHERE = 1 << 12
"""Bytes of the place apart: more than any vector."""
_REPORT = "functrans_out_of_bounds"


class Memory(NamedTuple):
    """What a pointer points into: its first address, how many bytes there are, and what it is called."""

    base: str
    size: int
    what: str


class CheckedBuilder(Builder):
    """A builder that checks addresses.

    Attributes:
        memory: what the pointers in use point into.
    """

    def __init__(self, fma: bool, declared: dict[str, str], helpers: dict[str, str]) -> None:
        super().__init__(fma, declared, helpers)
        self.memory: dict[str, Memory] = {}
        declared["nowhere"] = f"@functrans_nowhere = internal global [{_NOWHERE} x i8] zeroinitializer, align 64"
        declared[_REPORT] = f"declare void @{_REPORT}(i64, i64, i64)"

    def bound(self, pointer: str, size: int, what: str) -> str:
        name = self.emit(f"getelementptr i8, ptr {pointer}, i64 0")
        self.memory[name] = Memory(name, size, what)
        return name

    def address(self, pointer: str, ty: str, at: str) -> str:
        found = super().address(pointer, ty, at)
        if pointer in self.memory:
            self.memory[found] = self.memory[pointer]
        return found

    def load(self, ty: str, w: int, pointer: str, mask: V | None = None, other: V | None = None) -> V:
        if not ty.startswith("c"):
            pointer, mask = self._checked(ty, w, pointer, mask)
        return super().load(ty, w, pointer, mask, other)

    def store(self, v: V, pointer: str, mask: V | None = None) -> None:
        if not v.im:
            pointer, mask = self._checked(v.ty, v.w, pointer, mask)
        super().store(v, pointer, mask)

    def gather(self, ty: str, w: int, pointer: str, at: V, mask: V | None, other: V | None) -> V:
        return super().gather(ty, w, pointer, at, self._checked_places(ty, pointer, at, mask), other)

    def scatter(self, v: V, pointer: str, at: V, mask: V | None) -> None:
        super().scatter(v, pointer, at, self._checked_places(v.ty, pointer, at, mask))

    def _checked(self, ty: str, w: int, pointer: str, mask: V | None) -> tuple[str, V | None]:
        """A pointer that is good, and the lanes that are, of one that may not be."""
        memory = self.memory.get(pointer)
        if memory is None:
            return pointer, mask
        each = BITS[ty] // 8
        offset = self._offset(pointer, memory)
        if mask is not None:
            places = self.add(self.vector(offset, "i64", w), self.mul(self.lanes(w), self.const(each, "i64", w)))
            return pointer, self._inside(memory, places, each, mask)
        size = each * w
        bad = self.emit(f"icmp ugt i64 {offset}, {memory.size - size}" if memory.size >= size else "or i1 true, true")
        self._report(bad, memory, offset, size)
        return self.emit(f"select i1 {bad}, ptr @functrans_nowhere, ptr {pointer}"), None

    def _checked_places(self, ty: str, pointer: str, at: V, mask: V | None) -> V | None:
        memory = self.memory.get(pointer)
        if memory is None:
            return mask
        each = BITS[ty] // 8
        first = self.vector(self._offset(pointer, memory), "i64", at.w)
        wide = at if at.ty == "i64" else self.cast("sext", at, "i64")
        places = self.add(first, self.mul(wide, self.like(each, wide)))
        return self._inside(memory, places, each, mask or self.const(1, "i1", at.w))

    def _inside(self, memory: Memory, places: V, each: int, mask: V) -> V:
        last = memory.size - each
        bad = self.compare("ugt", places, self.like(last, places)) if last >= 0 else self.const(1, "i1", places.w)
        bad = self.op("and", bad, mask)
        any_bad = self.any(bad)
        worst = self.select(bad, places, self.like(0, places))
        offset = self.emit(f"call i64 @llvm.vector.reduce.smax.{worst.suffix}({worst.full} {worst.ref})")
        name = f"llvm.vector.reduce.smax.{worst.suffix}"
        self.declared[name] = f"declare i64 @{name}({worst.full})"
        self._report(any_bad, memory, offset, each)
        return self.op("and", mask, self.op("xor", bad, self.const(1, "i1", places.w)))

    def _offset(self, pointer: str, memory: Memory) -> str:
        here, start = (self.emit(f"ptrtoint ptr {p} to i64") for p in (pointer, memory.base))
        return self.emit(f"sub i64 {here}, {start}")

    def _report(self, bad: str, memory: Memory, offset: str, size: int) -> None:
        number = _numbered(f"{memory.what} of {memory.size} bytes{_where(self.step)}")
        with self.guarded(bad):
            self.do(f"call void @{_REPORT}(i64 {number}, i64 {offset}, i64 {size})")


def new_builder(fma: bool, declared: dict[str, str], helpers: dict[str, str]) -> Builder:
    """A builder for a module, which checks addresses where the module asks for that."""
    made = CheckedBuilder if getattr(helpers, "checks", False) else Builder
    return made(fma, declared, helpers)


def _where(step: Any) -> str:
    """The step and the user's line, as a message goes on."""
    kernel = getattr(step, "kernel", None) or step
    eqns = getattr(kernel, "eqns", None) or [e for e in (getattr(step, "eqn", None),) if e is not None]
    if not eqns:
        return ""
    name = getattr(kernel, "name", None) or eqns[-1].prim.name
    return f" in {name}" + (f", which comes from {eqns[-1].source}" if eqns[-1].source is not None else "")


_messages: list[str] = []
_numbers: dict[str, int] = {}
_found: list[str] = []


def _numbered(message: str) -> int:
    number = _numbers.setdefault(message, len(_messages))
    if number == len(_messages):
        _messages.append(message)
    return number


def _note(number: int, offset: int, size: int) -> None:
    _found.append(f"{size} bytes at offset {offset} in {_messages[number]}")


_called = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)(_note)


def symbols() -> dict[str, int]:
    """What checked code calls."""
    return {_REPORT: ctypes.cast(_called, ctypes.c_void_p).value or 0}


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """A program that raises where its native code went out of bounds."""

    def run(*args: Any) -> Any:
        result = function(*args)
        if _found:
            more = f", and {len(_found) - 1} more" if len(_found) > 1 else ""
            first = _found[0]
            _found.clear()
            raise RuntimeError(
                f"native code of functrans went out of bounds: {first}{more}. This is a mistake of functrans and not "
                f"of the program: please report it. backend='numpy' runs the program without native code"
            )
        return result

    return run


class PoisonedFrames:
    """Arenas that read as NaN when a call begins."""

    def __init__(self, frames: Frames) -> None:
        self.frames = frames
        self.give = frames.give

    def take(self) -> tuple[Any, ...]:
        frame = self.frames.take()
        for array in frame:
            array.reshape(-1).view(np.uint8)[...] = POISON
        return frame


def poison(scope: dict[str, Any]) -> None:
    """Have a program's new memory read as NaN."""
    for name, value in scope.items():
        if value is np.empty:
            scope[name] = poisoned
        elif isinstance(value, Frames):
            scope[name] = PoisonedFrames(value)


def poisoned(shape: Any, dtype: Any) -> np.ndarray[Any, Any]:
    """A new array that reads as NaN."""
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    array: np.ndarray[Any, Any] = np.full(size, POISON, np.uint8).view(dtype).reshape(shape)
    return array
