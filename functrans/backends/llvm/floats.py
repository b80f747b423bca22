"""Floats: quotients and remainders, neighbours, powers of two, lengths; all exact, but for the last."""

from __future__ import annotations

import math

import numpy as np

from functrans.backends.llvm.builder import BITS, Builder, V
from functrans.backends.llvm.casts import kept, loaded
from functrans.backends.llvm.formats import format_of, is_narrow
from functrans.core.dtypes import DType, is_extended

_FRACTION = {"float": 23, "double": 52}
_BIAS = {"float": 127, "double": 1023}


def integer(ty: str) -> str:
    """The integer type of the same width."""
    return f"i{BITS[ty]}"


def _nan(b: Builder, x: V) -> V:
    return b.like(math.nan, x)


# -- remainders -------------------------------------------------------------------------------------------------------


def _exponent(b: Builder, x: V) -> V:
    """The exponent of what is positive and finite, as an integer."""
    tiny = 2.0 ** (1 - _BIAS[x.ty])
    small = b.compare("olt", x, b.like(tiny, x))
    scale = _FRACTION[x.ty] + 1
    bits = b.cast("bitcast", b.select(small, b.mul(x, b.like(2.0**scale, x)), x), integer(x.ty))
    e = b.sub(b.op("lshr", bits, b.like(_FRACTION[x.ty], bits)), b.like(_BIAS[x.ty], bits))
    return b.select(small, b.sub(e, b.like(scale, e)), e)


def _power_of_two(b: Builder, n: V, ty: str) -> V:
    bits = b.op("shl", b.add(n, b.like(_BIAS[ty], n)), b.like(_FRACTION[ty], n))
    return b.cast("bitcast", bits, ty)


def fmod(b: Builder, x: V, y: V) -> V:
    """The remainder with the sign of the dividend, exactly.

    A quotient below 2**53 is cut off to a whole number that is too large by one at most, so that its remainder is
    exact. Larger ones are brought down by multiples of the divisor first. Floats are computed as doubles.
    """
    if x.ty == "float":
        wide = fmod(b, b.cast("fpext", x, "double"), b.cast("fpext", y, "double"))
        return b.cast("fptrunc", wide, "float")
    size, by = b.call("fabs", x), b.call("fabs", y)
    bits = 52
    sound = b.op("and", b.compare("olt", size, b.like(math.inf, x)), b.compare("ogt", by, b.like(0.0, x)))
    sound = b.op("and", sound, b.compare("olt", by, b.like(math.inf, x)))
    top = b.select(sound, size, b.like(0.0, x))
    low = b.select(sound, by, b.like(1.0, x))

    def large(size: V) -> V:
        return b.compare("oge", b.mul(size, b.like(2.0**-bits, x)), low)

    def reduced() -> list[V]:
        def step(values: list[V]) -> tuple[list[V], str]:
            (rest,) = values
            often = large(rest)
            up = b.sub(_exponent(b, b.select(often, rest, b.like(1.0, x))), _exponent(b, low))
            up = b.sub(up, b.like(bits - 1, up))
            up = b.select(often, up, b.like(0, up))
            half = b.op("ashr", up, b.like(1, up))
            by = b.mul(b.mul(low, _power_of_two(b, half, "double")), _power_of_two(b, b.sub(up, half), "double"))
            rest = b.select(often, _short_remainder(b, rest, by), rest)
            return [rest], b.any(large(rest))

        return b.repeat([top], step)

    (top,) = b.when(b.any(large(top)), [top], reduced)
    rest = _short_remainder(b, top, low)
    # An infinite divisor leaves the dividend, and what has no remainder has none.
    found = b.select(b.compare("olt", size, by), size, b.select(sound, rest, _nan(b, x)))
    return b.select(b.compare("uno", x, y), b.add(x, y), b.call("copysign", found, x))


def _short_remainder(b: Builder, x: V, y: V) -> V:
    whole = b.call("trunc", b.div(x, y))
    if b.fma:
        rest = b.call("fma", b.neg(whole), y, x)
    else:
        # The halves of a large number's digits are found by way of something larger still.
        far = b.compare("ogt", x, b.like(2.0**900, x))
        scale, back = (b.select(far, b.like(2.0**n, x), b.like(1.0, x)) for n in (-100, 100))
        by = b.mul(y, scale)
        product = b.mul(whole, by)
        rest = b.sub(b.sub(b.mul(x, scale), product), product_error(b, whole, by, product))
        rest = b.mul(rest, back)
    return b.select(b.compare("olt", rest, b.like(0.0, x)), b.add(rest, y), rest)


def product_error(b: Builder, x: V, y: V, product: V) -> V:
    """What the rounded product of two doubles lacks, by halves of their digits (Dekker, 1971)."""
    (xh, xl), (yh, yl) = _halves(b, x), _halves(b, y)
    rest = b.add(b.sub(b.mul(xh, yh), product), b.mul(xh, yl))
    return b.add(b.add(rest, b.mul(xl, yh)), b.mul(xl, yl))


def _halves(b: Builder, x: V) -> tuple[V, V]:
    big = b.mul(x, b.like(2.0**27 + 1, x))
    high = b.sub(big, b.sub(big, x))
    return high, b.sub(x, high)


def divided(b: Builder, x: V, y: V) -> tuple[V, V]:
    """Quotient rounded down and remainder, as NumPy's and Python's ``divmod`` compute them."""
    zero = b.like(0.0, x)
    rest = fmod(b, x, y)
    quotient = b.div(b.sub(x, rest), y)
    some = b.compare("une", rest, zero)
    apart = b.op("xor", b.compare("olt", y, zero), b.compare("olt", rest, zero))
    off = b.op("and", some, apart)
    moved = b.select(off, b.add(rest, y), rest)
    quotient = b.select(off, b.sub(quotient, b.like(1.0, x)), quotient)
    moved = b.select(some, moved, b.call("copysign", zero, y))
    floor = b.call("floor", quotient)
    up = b.compare("ogt", b.sub(quotient, floor), b.like(0.5, x))
    floor = b.select(up, b.add(floor, b.like(1.0, x)), floor)
    ratio = b.div(x, y)
    whole = b.select(b.compare("une", quotient, zero), floor, b.call("copysign", zero, ratio))
    none = b.compare("oeq", y, zero)
    return b.select(none, ratio, whole), b.select(none, rest, moved)


# -- neighbours -------------------------------------------------------------------------------------------------------


def _ordered_bits(b: Builder, x: V, dtype: DType) -> V:
    x = kept(b, x, dtype)
    return b.cast("bitcast", x, integer(x.ty)) if x.floating else x


def _of_bits(b: Builder, bits: V, x: V, dtype: DType) -> V:
    return loaded(b, bits, dtype) if is_narrow(dtype) else b.cast("bitcast", bits, x.ty)


def nextafter(b: Builder, x: V, y: V, dtype: DType) -> V:
    bits = _ordered_bits(b, x, dtype)
    zero, one = b.like(0, bits), b.like(1, bits)
    negative = b.compare("slt", bits, zero)
    up = b.op("xor", b.compare("ogt", y, x), negative)
    moved = b.select(up, b.add(bits, one), b.sub(bits, one))
    sign = b.op("and", _ordered_bits(b, y, dtype), b.like(-(1 << (BITS[bits.ty] - 1)), bits))
    moved = b.select(b.compare("oeq", x, b.like(0.0, x)), b.op("or", sign, one), moved)
    if is_narrow(dtype) and format_of(dtype).unsigned:
        moved = b.select(b.compare("eq", moved, b.like(-128, moved)), zero, moved)
    found = b.select(b.compare("oeq", x, y), x if dtype == np.float16 else y, _of_bits(b, moved, x, dtype))
    return b.select(b.compare("uno", x, y), b.add(x, y), found)


def copysign(b: Builder, x: V, y: V, dtype: DType) -> V:
    if not is_narrow(dtype):
        return b.call("copysign", x, y)
    # By bits: where zero has no sign, its negative is NaN.
    size, sign = _ordered_bits(b, x, dtype), _ordered_bits(b, y, dtype)
    top = b.like(-(1 << (BITS[size.ty] - 1)), size)
    bits = b.op("or", b.op("and", size, b.op("xor", top, b.like(-1, top))), b.op("and", sign, top))
    return b.select(b.compare("uno", x, x), x, loaded(b, bits, dtype))


def spacing(b: Builder, x: V, dtype: DType) -> V:
    """The way to the next float away from zero, with the sign of ``x``; of float16, as NumPy has it, the way up."""
    bits = _ordered_bits(b, b.call("fabs", x) if is_extended(dtype) else x, dtype)
    one = b.like(1, bits)
    up = b.add(bits, one)
    if dtype == np.float16:
        up = b.select(b.compare("slt", bits, b.like(0, bits)), b.sub(bits, one), up)
    size = _of_bits(b, bits, x, dtype)
    found = b.sub(_of_bits(b, up, x, dtype), size)
    least = format_of(dtype).step if is_narrow(dtype) else 2.0 ** (1 - _BIAS[x.ty] - _FRACTION[x.ty])
    found = b.select(b.compare("oeq", x, b.like(0.0, x)), b.like(least, x), found)
    if is_extended(dtype):
        found = b.call("copysign", found, x)
    return b.select(b.compare("oeq", b.call("fabs", x), b.like(math.inf, x)), _nan(b, x), found)


# -- powers of two ----------------------------------------------------------------------------------------------------


def ldexp(b: Builder, x: V, n: V) -> V:
    """``x * 2**n``, rounded once: all steps but the last are exact (the steps of musl's scalbn)."""
    top, bottom = _BIAS[x.ty], 1 - _BIAS[x.ty] + _FRACTION[x.ty] + 1
    limit = 4 * _BIAS[x.ty]
    n = b.call("smax", b.call("smin", n, b.like(limit, n)), b.like(-limit, n))
    whole = integer(x.ty)
    if n.ty != whole:
        n = b.cast("sext" if BITS[n.ty] < BITS[whole] else "trunc", n, whole)
    for _ in range(2):
        over, under = b.compare("sgt", n, b.like(top, n)), b.compare("slt", n, b.like(1 - top, n))
        step = b.select(over, b.like(2.0**top, x), b.select(under, b.like(2.0**bottom, x), b.like(1.0, x)))
        by = b.select(over, b.like(top, n), b.select(under, b.like(bottom, n), b.like(0, n)))
        x, n = b.mul(x, step), b.sub(n, by)
    n = b.call("smax", b.call("smin", n, b.like(top, n)), b.like(1 - top, n))
    return b.mul(x, _power_of_two(b, n, x.ty))


# -- lengths ----------------------------------------------------------------------------------------------------------


def hypot(b: Builder, x: V, y: V) -> V:
    """``sqrt(x**2 + y**2)`` without overflow on the way: the corrected algorithm of Borges (2019), below 1 ulp."""
    infinite = b.op(
        "or",
        b.compare("oeq", b.call("fabs", x), b.like(math.inf, x)),
        b.compare("oeq", b.call("fabs", y), b.like(math.inf, x)),
    )
    if x.ty == "float":
        a, c = b.cast("fpext", x, "double"), b.cast("fpext", y, "double")
        found = b.cast("fptrunc", b.call("sqrt", b.add(b.mul(a, a), b.mul(c, c))), "float")
        return b.select(infinite, b.like(math.inf, x), found)
    a, c = b.call("fabs", x), b.call("fabs", y)
    swap = b.compare("olt", a, c)
    a, c = b.select(swap, c, a), b.select(swap, a, c)
    big, tiny = b.compare("ogt", a, b.like(2.0**511, a)), b.compare("olt", c, b.like(2.0**-459, a))
    scale = b.select(big, b.like(2.0**-600, a), b.select(tiny, b.like(2.0**600, a), b.like(1.0, a)))
    back = b.select(big, b.like(2.0**600, a), b.select(tiny, b.like(2.0**-600, a), b.like(1.0, a)))
    far = b.compare("ole", c, b.mul(a, b.like(2.0**-54, a)))
    s = b.mul(a, scale)
    t = b.mul(c, scale)
    h = b.call("sqrt", b.add(b.mul(s, s), b.mul(t, t)))
    two = b.like(2.0, h)
    near = b.sub(h, t)
    first = b.add(b.mul(s, b.sub(b.mul(two, near), s)), b.mul(b.sub(near, b.mul(two, b.sub(s, t))), near))
    apart = b.sub(h, s)
    second = b.add(
        b.mul(b.mul(two, apart), b.sub(s, b.mul(two, t))),
        b.add(b.mul(b.sub(b.mul(b.like(4.0, h), apart), t), t), b.mul(apart, apart)),
    )
    excess = b.select(b.compare("ole", h, b.mul(two, t)), first, second)
    h = b.mul(b.sub(h, b.div(excess, b.mul(two, h))), back)
    return b.select(infinite, b.like(math.inf, x), b.select(far, b.add(a, c), h))


# -- fewer bits -------------------------------------------------------------------------------------------------------


def reduced_precision(b: Builder, x: V, dtype: DType, exponent_bits: int, mantissa_bits: int) -> V:
    """A float rounded to the nearest, halves to even; what is too large is infinite, what is below the normal zero."""
    half = dtype == np.float16
    width, exponent = (10, 5) if half else (_FRACTION[x.ty], 8 if x.ty == "float" else 11)
    size = b.call("fabs", x)
    bits = _ordered_bits(b, size, dtype) if half else b.cast("bitcast", size, integer(x.ty))
    if mantissa_bits < width:
        gone = width - mantissa_bits
        odd = b.op("and", b.op("lshr", bits, b.like(gone, bits)), b.like(1, bits))
        bits = b.add(bits, b.add(odd, b.like((1 << (gone - 1)) - 1, bits)))
        bits = b.op("and", bits, b.like(-(1 << gone), bits))
    out = loaded(b, bits, dtype) if half else b.cast("bitcast", bits, x.ty)
    if exponent_bits < exponent:
        bias = (1 << (exponent_bits - 1)) - 1
        largest = (2.0 - 2.0 ** -min(mantissa_bits, width)) * 2.0**bias
        out = b.select(b.compare("olt", out, b.like(2.0 ** (1 - bias), x)), b.like(0.0, x), out)
        out = b.select(b.compare("ogt", out, b.like(largest, x)), b.like(math.inf, x), out)
    return b.select(b.compare("uno", x, x), x, b.call("copysign", out, x))
