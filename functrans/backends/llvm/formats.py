"""Floats of 16 and 8 bits: in registers they are float32, in memory integers, and every operation rounds its result.

The conversions are written in integers, so that they need no support of the machine and no library; where the machine
converts IEEE halves itself, it does. A double becomes a half by one rounding: on its way through float32 it keeps a
sticky last bit (rounding to odd; Boldo and Melquiond, 2008). To the others ml_dtypes rounds it twice, and so does this.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from functrans.backends.llvm.builder import Builder, V
from functrans.backends.llvm.runtime import machine
from functrans.core.dtypes import DType, finfo, is_extended

_HALF = np.dtype(np.float16)
_SIGN = -(1 << 31)
_INFINITY = 0x7F800000
_NAMES = (
    "bfloat16", "float8_e3m4", "float8_e4m3", "float8_e4m3b11fnuz", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2",
    "float8_e5m2fnuz",
)  # fmt: skip


class Format(NamedTuple):
    """How a float is written in bits.

    Attributes:
        bits: of all.
        mantissa: bits of the fraction.
        bias: of the exponent.
        largest: the largest finite number.
        infinite: whether the largest exponent stands for infinity and NaN, as IEEE has it.
        unsigned: whether zero has no sign; its negative stands for NaN.
    """

    bits: int
    mantissa: int
    bias: int
    largest: float
    infinite: bool
    unsigned: bool

    @property
    def least(self) -> float:
        """The least normal number."""
        return 2.0 ** (1 - self.bias)

    @property
    def step(self) -> float:
        """The least number."""
        return 2.0 ** (1 - self.bias - self.mantissa)

    @property
    def special(self) -> int:
        """The bits of infinity, or else of NaN."""
        return (1 << (self.bits - 1)) - ((1 << self.mantissa) if self.infinite else 1)


def is_narrow(dtype: DType) -> bool:
    """Whether a dtype is one of these."""
    return dtype == _HALF or (is_extended(dtype) and dtype.name in _NAMES)


@lru_cache(maxsize=64)
def format_of(dtype: DType) -> Format:
    """The format of a dtype of ``is_narrow``."""
    info = finfo(dtype)
    unsigned = dtype.name.endswith("fnuz")
    infinite = not unsigned and not dtype.name.endswith("fn")
    return Format(info.bits, int(info.nmant), 1 - int(info.minexp), float(info.max), infinite, unsigned)


def _int(b: Builder, x: V) -> V:
    return b.cast("bitcast", x, "i32")


def _float(b: Builder, x: V) -> V:
    return b.cast("bitcast", x, "float")


def _by_machine(dtype: DType) -> bool:
    return dtype == _HALF and machine().half


def widened(b: Builder, x: V, dtype: DType) -> V:
    """The float32 of the bits of a number."""
    if _by_machine(dtype):
        return b.cast("fpext", b.cast("bitcast", x, "half"), "float")
    form = format_of(dtype)
    code = b.cast("zext", x, "i32")
    sign = b.op("and", b.op("shl", code, b.like(32 - form.bits, code)), b.like(_SIGN, code))
    size = b.op("and", code, b.like((1 << (form.bits - 1)) - 1, code))
    shifted = b.op("shl", size, b.like(23 - form.mantissa, size))
    if form.bias == 127:
        return _float(b, b.op("or", shifted, sign))
    normal = b.add(shifted, b.like((127 - form.bias) << 23, size))
    small = _int(b, b.mul(b.cast("sitofp", size, "float"), b.const(form.step, "float", x.w)))
    bits = b.select(b.compare("ult", size, b.like(1 << form.mantissa, size)), small, normal)
    if form.unsigned:
        bits = b.select(b.compare("eq", code, b.like(1 << (form.bits - 1), code)), b.like(_INFINITY + 1, code), bits)
    else:
        beyond = b.op("or", shifted, b.like(_INFINITY, shifted))
        bits = b.select(b.compare("uge", size, b.like(form.special, size)), beyond, bits)
    return _float(b, b.op("or", bits, sign))


def rounded(b: Builder, x: V, dtype: DType) -> V:
    """A float or double rounded to what a dtype has, as a float."""
    if x.ty == "double":
        x = _shortened(b, x, dtype)
    if _by_machine(dtype):
        return b.cast("fpext", b.cast("fptrunc", x, "half"), "float")
    form = format_of(dtype)
    bits = _int(b, x)
    sign = b.op("and", bits, b.like(_SIGN, bits))
    size = b.op("xor", bits, sign)
    gone = 23 - form.mantissa
    odd = b.op("and", b.op("lshr", size, b.like(gone, size)), b.like(1, size))
    nearest = b.add(b.add(size, b.like((1 << (gone - 1)) - 1, size)), odd)
    nearest = b.op("and", nearest, b.like(-(1 << gone), nearest))
    if form.bias != 127:
        magic = b.const(form.step * 2.0**23, "float", x.w)
        small = _int(b, b.sub(b.add(_float(b, size), magic), magic))
        least = int(np.float32(form.least).view(np.int32))
        nearest = b.select(b.compare("ult", size, b.like(least, size)), small, nearest)
        largest = int(np.float32(form.largest).view(np.int32))
        beyond = _INFINITY if form.infinite else _INFINITY | 1 << 22
        nearest = b.select(b.compare("ugt", nearest, b.like(largest, size)), b.like(beyond, size), nearest)
    lost = b.compare("ugt", size, b.like(_INFINITY, size))
    nearest = b.select(lost, b.like(_INFINITY | 1 << 22, size), nearest)
    if form.unsigned:
        sign = b.select(b.compare("eq", nearest, b.like(0, nearest)), nearest, sign)
    return _float(b, b.op("or", nearest, sign))


def narrowed(b: Builder, x: V, dtype: DType) -> V:
    """The bits of a float or double in a dtype, to which it is rounded."""
    if x.ty == "double":
        x = _shortened(b, x, dtype)
    if _by_machine(dtype):
        return b.cast("bitcast", b.cast("fptrunc", x, "half"), "i16")
    form = format_of(dtype)
    bits = _int(b, rounded(b, x, dtype))
    narrow = f"i{form.bits}"
    if form.bias == 127:
        return b.cast("trunc", b.op("lshr", bits, b.like(16, bits)), narrow)
    size = b.op("and", bits, b.like(0x7FFFFFFF, bits))
    normal = b.op("lshr", b.sub(size, b.like((127 - form.bias) << 23, size)), b.like(23 - form.mantissa, size))
    within = b.compare("ult", size, b.like(int(np.float32(form.least).view(np.int32)), size))
    scaled = b.mul(_float(b, b.select(within, size, b.like(0, size))), b.const(1 / form.step, "float", x.w))
    code = b.select(within, b.cast("fptosi", scaled, "i32"), normal)
    special = b.like(form.special, code)
    if form.infinite:
        code = b.select(b.compare("uge", size, b.like(_INFINITY, size)), special, code)
        special = b.like(form.special | 1 << (form.mantissa - 1), code)
    code = b.select(b.compare("ugt", size, b.like(_INFINITY, size)), special, code)
    sign = b.op("lshr", b.op("and", bits, b.like(_SIGN, bits)), b.like(32 - form.bits, bits))
    code = b.op("or", code, sign)
    if form.unsigned:
        lost = b.compare("ugt", size, b.like(_INFINITY, size))
        code = b.select(lost, b.like(1 << (form.bits - 1), code), code)
    return b.cast("trunc", code, narrow)


def _shortened(b: Builder, x: V, dtype: DType) -> V:
    """A double as a float; for NumPy's half one whose last bit is set where digits were cut off."""
    near = b.cast("fptrunc", x, "float")
    if dtype != _HALF:
        return near
    back = b.cast("fpext", near, "double")
    bits = _int(b, near)
    away = b.compare("ogt", b.call("fabs", back), b.call("fabs", x))
    below = b.select(away, b.sub(bits, b.like(1, bits)), bits)
    odd = b.op("or", below, b.like(1, bits))
    return _float(b, b.select(b.compare("one", back, x), odd, bits))
