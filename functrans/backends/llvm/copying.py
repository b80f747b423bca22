"""Copies of blocks of arrays, and updates of one block by another, as loops of native code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from functrans.backends.llvm.builder import BITS, Builder, V
from functrans.backends.llvm.casts import convert, kept, loaded, stored
from functrans.backends.llvm.operations import emitted
from functrans.backends.llvm.runtime import machine
from functrans.core.dtypes import DType

Combine = Callable[[Builder, V, V], V]
_COPIED_AT_ONCE = 4
_FEW_BYTES = 512
_MANY_BYTES = 1 << 22


class Loop(NamedTuple):
    """One axis of a block: its extent, and the steps in elements of what is written and what is read."""

    extent: int
    to: int
    source: int


def strides_of(shape: Sequence[int]) -> list[int]:
    """The steps of a C-contiguous array, in elements."""
    found, step = [], 1
    for n in reversed(shape):
        found.append(step)
        step *= n
    return found[::-1]


def merged(loops: Sequence[Loop]) -> list[Loop]:
    """The same places in fewer loops."""
    done: list[Loop] = []
    for inner in loops:
        if inner.extent == 1:
            continue
        if done and (done[-1].to, done[-1].source) == (inner.to * inner.extent, inner.source * inner.extent):
            inner = inner._replace(extent=inner.extent * done.pop().extent)
        done.append(inner)
    return done


def transfer(
    b: Builder,
    dtype: DType,
    loops: Sequence[Loop],
    to: str,
    source: str,
    combine: Combine | None = None,
    into: DType | None = None,
) -> None:
    """Write a block over another one, or the combination of both, which may be of another dtype."""
    ty = raw(dtype) if combine is None else stored(dtype)
    to_ty = ty if combine is None or into is None else stored(into)
    *outer, inner = merged(loops) or [Loop(1, 1, 1)]

    def nest(rest: Sequence[Loop], to: str, source: str) -> None:
        if not rest:
            _run(b, dtype, ty, inner, to, source, combine, into or dtype)
            return
        loop = rest[0]

        def turn(i: str, _: list[V]) -> list[V]:
            nest(
                rest[1:],
                b.address(to, to_ty, b.imul(i, loop.to)) if loop.to else to,
                b.address(source, ty, b.imul(i, loop.source)) if loop.source else source,
            )
            return []

        b.loop("0", str(loop.extent), 1, [], turn)

    nest(outer, to, source)


def raw(dtype: DType) -> str:
    """An integer of the size of an element; a complex one is copied as two halves of it."""
    return f"i{8 * dtype.itemsize}"


def _run(
    b: Builder, dtype: DType, ty: str, run: Loop, to: str, source: str, combine: Combine | None, into: DType
) -> None:
    contiguous = run.to == 1 and run.source == 1
    if contiguous and combine is None:
        copy(b, to, source, run.extent * dtype.itemsize)
        return

    to_ty = ty if combine is None else stored(into)

    def some(i: str, w: int) -> None:
        at = b.address(to, to_ty, b.imul(i, run.to))
        new = b.load(ty, w, b.address(source, ty, b.imul(i, run.source)))
        if combine is None:
            b.store(new, at)
            return
        old = loaded(b, b.load(to_ty, w, at), into)
        new = convert(b, loaded(b, new, dtype), dtype, into)
        b.store(kept(b, combine(b, old, new), into), at)

    w = machine().bits // max(BITS[ty], BITS[to_ty], 8) if contiguous else 1
    whole = run.extent // w * w

    def turn(i: str, _: list[V], w: int = w) -> list[V]:
        some(i, w)
        return []

    if whole:
        if whole == w:
            some("0", w)
        else:
            b.loop("0", str(whole), w, [], turn)
    if whole < run.extent:
        b.loop(str(whole), str(run.extent), 1, [], lambda i, _: turn(i, [], 1))


def combining(op: str, dtype: DType) -> Combine | None:
    """How an update meets what is there; None for one that replaces it."""
    if op == "set":
        return None
    return lambda b, x, y: emitted(b, op, [x, y], dtype)


def fill_zero(b: Builder, to: str, size: int) -> None:
    """Bytes set to zero."""
    b.declared["memset"] = "declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)"
    b.do(f"call void @llvm.memset.p0.i64(ptr {to}, i8 0, i64 {size}, i1 0)")


def copy(b: Builder, to: str, source: str, size: int) -> None:
    """Bytes copied, where there is anywhere to copy them to.

    The C library copies some kilobytes by one instruction, which takes several times as long where the target is not
    aligned, and some hundreds of them past the caches. Neither is good for what is read next.
    """
    if to == source or not size:
        return
    vector = machine().bits // 8
    step = _COPIED_AT_ONCE * vector
    whole = size // step * step if _FEW_BYTES <= size < _MANY_BYTES else 0
    if whole:

        def turn(i: str, _: list[V]) -> list[V]:
            places = [b.iadd(i, str(k * vector)) for k in range(_COPIED_AT_ONCE)]
            parts = [b.load("i8", vector, b.address(source, "i8", place)) for place in places]
            for part, place in zip(parts, places, strict=True):
                b.store(part, b.address(to, "i8", place))
            return []

        b.loop("0", str(whole), step, [], turn)
    if whole < size:
        b.declared["memcpy"] = "declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)"
        rest = b.address(to, "i8", str(whole)), b.address(source, "i8", str(whole))
        b.do(f"call void @llvm.memcpy.p0.p0.i64(ptr {rest[0]}, ptr {rest[1]}, i64 {size - whole}, i1 0)")
