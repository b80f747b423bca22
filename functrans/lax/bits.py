"""Operations that look into numbers: the upper half of a product of integers, floats rounded to fewer bits."""

from __future__ import annotations

from typing import Any

import numpy as np

from functrans import errors
from functrans.core import dtypes
from functrans.core.primitive import Primitive, Sample
from functrans.core.structural import convert, elementwise_aval
from functrans.core.trace import aval_of
from functrans.lax.arithmetic import add, mul, sub
from functrans.lax.compare import bitwise_and, lt, shift_right_arithmetic
from functrans.lax.families import elementwise
from functrans.lax.selection import select


def mulhi(x: Any, y: Any) -> Any:
    """The upper half of the product of two integers: ``x * y / 2**bits`` rounded down, computed in full.

    Raises:
        DTypeError: an operand is no integer, or the dtypes differ.

    >>> mulhi(np.uint8(200), np.uint8(200)), mulhi(np.int64(-1), np.int64(2**62))
    (np.uint8(156), np.int64(-1))
    """
    dtype = elementwise_aval("mulhi", (aval_of(x), aval_of(y))).dtype
    if dtype.kind not in "iu":
        raise errors.DTypeError(f"mulhi: integers are needed, got dtype {dtype}")
    x, y = convert(x, dtype), convert(y, dtype)
    bits = dtype.itemsize * 8
    if bits < 64:
        wide = np.dtype(f"{dtype.kind}{2 * dtype.itemsize}")
        return convert(shift_right_arithmetic(mul(convert(x, wide), convert(y, wide)), wide.type(bits)), dtype)
    unsigned = np.dtype(np.uint64)
    high = _unsigned_high(convert(x, unsigned), convert(y, unsigned))
    if dtype.kind == "u":
        return high
    # A negative factor was taken for 2**64 more than it is, which put the other factor into the upper half.
    high = convert(high, dtype)
    zero = dtype.type(0)
    return sub(sub(high, select(lt(x, zero), y, zero)), select(lt(y, zero), x, zero))


def _unsigned_high(x: Any, y: Any) -> Any:
    half, mask = np.uint64(32), np.uint64(0xFFFFFFFF)
    x_low, y_low = bitwise_and(x, mask), bitwise_and(y, mask)
    x_high, y_high = shift_right_arithmetic(x, half), shift_right_arithmetic(y, half)
    middle = add(mul(x_high, y_low), shift_right_arithmetic(mul(x_low, y_low), half))
    other = add(mul(x_low, y_high), bitwise_and(middle, mask))
    carried = add(shift_right_arithmetic(middle, half), shift_right_arithmetic(other, half))
    return add(mul(x_high, y_high), carried)


# -- fewer bits -----------------------------------------------------------------------------------------------------


def _reduce_impl(xp: Any, x: Any, *, exponent_bits: int, mantissa_bits: int) -> Any:
    x = xp.asarray(x)
    if dtypes.is_extended(x.dtype):
        wide = _reduce_impl(xp, x.astype(np.float32), exponent_bits=exponent_bits, mantissa_bits=mantissa_bits)
        return wide.astype(x.dtype)
    info = np.finfo(x.dtype)
    unsigned = np.dtype(f"u{x.dtype.itemsize}").type
    sign = unsigned(1 << (info.bits - 1))
    bits = x.view(np.dtype(unsigned))
    magnitude = bits & ~sign
    if mantissa_bits < info.nmant:
        # To the nearest, halves to the even one: a carry runs into the exponent, as it has to.
        gone = info.nmant - mantissa_bits
        odd = (magnitude >> unsigned(gone)) & unsigned(1)
        magnitude = (magnitude + (odd + unsigned((1 << (gone - 1)) - 1))) & ~unsigned((1 << gone) - 1)
    out = magnitude.view(x.dtype)
    if exponent_bits < info.iexp:
        bias = (1 << (exponent_bits - 1)) - 1
        least = np.ldexp(x.dtype.type(1), 1 - bias)
        largest = np.ldexp(2 - np.ldexp(x.dtype.type(1), -mantissa_bits), bias) if mantissa_bits < info.nmant else None
        limit = np.ldexp(x.dtype.type(2 - info.eps), bias) if largest is None else largest
        out = xp.where(out > limit, x.dtype.type(np.inf), xp.where(out < least, x.dtype.type(0), out))
    out = xp.where(xp.isnan(x), x, xp.copysign(out, x))
    return out[()]


reduce_precision_p: Primitive = elementwise(
    "reduce_precision",
    "",
    # Rounding has the derivative of what it rounds: that of the identity.
    lambda t, out, x, **params: t,
    arity=1,
    kinds="f",
    impl=_reduce_impl,
    samples=lambda: (
        [
            Sample((np.array([0.1, -1.5, 3e5, 1e-9, np.inf, np.nan, -0.0]),), params, 0)
            for params in ({"exponent_bits": 5, "mantissa_bits": 10}, {"exponent_bits": 11, "mantissa_bits": 7})
        ]
        + [
            Sample((np.array([[1.1, 2e38]], np.float32),), {"exponent_bits": 8, "mantissa_bits": 7}, 0),
            Sample((np.float16(0.3),), {"exponent_bits": 4, "mantissa_bits": 3}, 0),
            Sample((np.zeros((0, 2)),), {"exponent_bits": 5, "mantissa_bits": 2}, 0),
            Sample((0.7,), {"exponent_bits": 5, "mantissa_bits": 2}, 0),
        ]
    ),
)


def reduce_precision(x: Any, exponent_bits: int, mantissa_bits: int) -> Any:
    """Floats rounded to what fits a format with fewer bits, in their own dtype.

    Mantissas are rounded to the nearest, halves to the even one; what is too large becomes infinite, what lies below
    the format's least normal number becomes zero. Infinities, NaN and the sign stay. The derivative is that of the
    identity.

    Args:
        x: an array of floats.
        exponent_bits: at least 1.
        mantissa_bits: of the fraction, at least 0.

    Raises:
        DTypeError: the numbers are no real floats.
        ArgumentError: the numbers of bits are none.

    >>> reduce_precision(np.array([0.1, 1e4]), 5, 10) == np.array([0.1, 1e4]).astype(np.float16)
    array([ True,  True])
    """
    aval = aval_of(x)
    if dtypes.kind(aval.dtype) != "f":
        raise errors.DTypeError(f"reduce_precision: real floats are needed, got {aval}")
    if exponent_bits < 1 or mantissa_bits < 0:
        raise errors.ArgumentError(
            f"reduce_precision: at least 1 bit of the exponent and 0 of the mantissa, got {exponent_bits} and "
            f"{mantissa_bits}"
        )
    return reduce_precision_p.bind(x, exponent_bits=int(exponent_bits), mantissa_bits=int(mantissa_bits))
