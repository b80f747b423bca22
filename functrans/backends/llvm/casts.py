"""What values of a dtype are in registers and in memory, and how one becomes another.

In registers a boolean is a bit, a narrow float a float32, and a complex number a pair of floats.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from functrans.backends.llvm.builder import BITS, Builder, V, joined
from functrans.backends.llvm.formats import is_narrow, narrowed, rounded, widened
from functrans.core import dtypes
from functrans.core.dtypes import DType

FLOAT = np.dtype(np.float32)
BOOL = np.dtype(bool)


@lru_cache(maxsize=256)
def lane(dtype: DType) -> str:
    """The LLVM type of a value in registers."""
    if dtype.kind == "b":
        return "i1"
    if dtype.kind == "c":
        return f"c{lane(dtypes.real_dtype(dtype))}"
    if is_narrow(dtype):
        return "float"
    if dtype.kind == "f":
        return {4: "float", 8: "double"}[dtype.itemsize]
    return f"i{8 * dtype.itemsize}"


@lru_cache(maxsize=256)
def stored(dtype: DType) -> str:
    """The LLVM type of a value in memory."""
    if dtype.kind == "b" or is_narrow(dtype):
        return f"i{8 * dtype.itemsize}"
    return lane(dtype)


def lane_bytes(dtype: DType) -> int:
    """How much of a register a value takes; of a pair of them, where there are two."""
    return max(BITS[lane(dtype).removeprefix("c")] // 8, 1)


@lru_cache(maxsize=256)
def native(dtype: DType) -> bool:
    """Whether kernels compute with values of a dtype."""
    if not dtype.isnative or is_narrow(dtype):
        return bool(dtype.isnative)
    if dtype.kind in "biu":
        return True
    return dtype in (np.float32, np.float64, np.complex64, np.complex128)


def signed(dtype: DType) -> bool:
    return dtype.kind == "i"


def computing(dtype: DType) -> DType:
    """The dtype that is computed in: float32 for a narrow one, to which results are rounded."""
    return FLOAT if is_narrow(dtype) else dtype


def fitted(b: Builder, x: V, dtype: DType) -> V:
    """A computed value as one of a dtype: rounded, if that is a narrow one."""
    return rounded(b, x, dtype) if x.floating and is_narrow(dtype) else x


def loaded(b: Builder, x: V, dtype: DType) -> V:
    """What stands in memory as a value."""
    if dtype.kind == "b":
        return b.compare("ne", x, b.like(0, x))
    return widened(b, x, dtype) if is_narrow(dtype) else x


def kept(b: Builder, x: V, dtype: DType) -> V:
    """A value as it stands in memory."""
    if dtype.kind == "b":
        return b.cast("zext", x, "i8")
    return narrowed(b, x, dtype) if is_narrow(dtype) else x


def convert(b: Builder, x: V, old: DType, new: DType) -> V:
    """A value of another dtype, as NumPy casts it; a float that no integer stands for becomes the least one."""
    if old == new:
        return x
    if new.kind == "c":
        real = dtypes.real_dtype(new)
        parts = [convert(b, part, dtypes.real_dtype(old), real) for part in x.parts]
        return joined([*parts, b.const(0.0, lane(real), x.w)][:2])
    if x.im:
        if new.kind == "b":
            return truth(b, x)
        return convert(b, x.parts[0], dtypes.real_dtype(old), new)
    if is_narrow(new):
        if old == BOOL or not x.floating:
            x = convert(b, x, old, FLOAT)
        return rounded(b, x, new)
    ty = lane(new)
    if old.kind == "b":
        return b.cast("uitofp" if new.kind == "f" else "zext", x, ty)
    if new.kind == "b":
        return truth(b, x)
    if x.floating and new.kind == "f":
        return x if x.ty == ty else b.cast("fpext" if ty == "double" else "fptrunc", x, ty)
    if new.kind == "f":
        return b.cast("sitofp" if signed(old) else "uitofp", x, ty)
    if x.floating:
        return _to_integer(b, x, new)
    if old.itemsize == new.itemsize:
        return x
    if new.itemsize < old.itemsize:
        return b.cast("trunc", x, ty)
    return b.cast("sext" if signed(old) else "zext", x, ty)


def truth(b: Builder, x: V) -> V:
    """Whether a value differs from zero."""
    if x.ty == "i1":
        return x
    if x.im:
        re, im = (truth(b, part) for part in x.parts)
        return b.op("or", re, im)
    return b.compare("une" if x.floating else "ne", x, b.like(0, x))


def _to_integer(b: Builder, x: V, new: DType) -> V:
    """NumPy casts by way of a 64-bit (or for short results a 32-bit) integer; out of its range all is undefined."""
    through = "i64" if new.itemsize == 8 or new == np.dtype(np.uint32) else "i32"
    end = 2.0 ** (BITS[through] - 1)
    if new == np.dtype(np.uint64):
        high = b.compare("oge", x, b.like(end, x))
        x = b.select(high, b.sub(x, b.like(end, x)), x)
    inside = b.op("and", b.compare("oge", x, b.like(-end, x)), b.compare("olt", x, b.like(end, x)))
    whole = b.cast("fptosi", b.select(inside, x, b.like(0.0, x)), through)
    least = b.like(-int(end), whole)
    whole = b.select(inside, whole, least)
    if new == np.dtype(np.uint64):
        whole = b.select(high, b.op("xor", whole, least), whole)
    ty = lane(new)
    return whole if ty == through else b.cast("trunc", whole, ty)


def bits_of(b: Builder, x: V, dtype: DType) -> V:
    """The bits of a value as an integer."""
    if x.im:
        width = 2 * BITS[x.ty[1:]]
        both = b.interleave(x)
        return V(b.emit(f"bitcast {both.full} {both.ref} to <{x.w} x i{width}>"), f"i{width}", x.w)
    x = kept(b, x, dtype)
    return b.cast("bitcast", x, f"i{BITS[x.ty]}") if x.floating else x


def of_bits(b: Builder, x: V, dtype: DType) -> V:
    """The value whose bits an integer holds."""
    if dtype.kind == "c":
        part = lane(dtype)[1:]
        both = V(b.emit(f"bitcast {x.full} {x.ref} to <{2 * x.w} x {part}>"), part, 2 * x.w)
        return joined([b.shuffle(both, range(k, 2 * x.w, 2)) for k in (0, 1)])
    x = loaded(b, x, dtype)
    return b.cast("bitcast", x, lane(dtype)) if not x.floating and lane(dtype) in ("float", "double") else x
