"""Samples made from the two words of a key: what the public functions are made of."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from functrans import errors
from functrans.core import dtypes
from functrans.core.structural import broadcast_shapes, convert, rebox
from functrans.core.trace import aval_of, is_array
from functrans.lax.arithmetic import add, mul, neg, sub
from functrans.lax.casting import bitcast_convert_type
from functrans.lax.compare import (
    bitwise_and,
    bitwise_not,
    bitwise_or,
    clz,
    eq,
    ge,
    lt,
    shift_left,
    shift_right_logical,
)
from functrans.lax.exponential import log, log1p
from functrans.lax.magnitude import max as larger
from functrans.lax.random_bits import Words, random_bits, random_unit
from functrans.lax.selection import select
from functrans.lax.static import normalize_shape
from functrans.lax.subscript import index
from functrans.lax.threefry import UINT32
from functrans.random.quantile import erf_inv

DType = dtypes.DType
Shape = tuple[Any, ...]

# -- arguments ----------------------------------------------------------------------------------------------------


def float_dtype(name: str, dtype: Any) -> DType:
    """The dtype of samples, double precision for None; DTypeError where it is no float dtype."""
    result = dtypes.canonical(np.dtype(np.float64 if dtype is None else dtype))
    if dtypes.kind(result) != "f" or result.itemsize > 8:
        raise errors.DTypeError(
            f"functrans.random.{name}: dtype must be a float dtype of at most 64 bits, got {result}. Convert the "
            f"samples with .astype"
        )
    return result


def sample_shape(name: str, shape: Any, *parameters: Any) -> Shape:
    """The shape of samples: as given, or the common shape of the parameters for None.

    Raises:
        ShapeError: the parameters do not broadcast to the shape.
    """
    where = f"functrans.random.{name}"
    shapes = [aval_of(p).shape for p in parameters]
    if shape is None:
        return broadcast_shapes(where, *shapes) if shapes else ()
    wanted = normalize_shape(where, shape)
    for s in shapes:
        if len(s) > len(wanted) or any(n not in (1, w) for n, w in zip(reversed(s), reversed(wanted), strict=False)):
            raise errors.ShapeError(
                f"{where}: shape={wanted} has no room for a parameter of shape {s}. The shape is that of the whole "
                f"result, to which the parameters broadcast; None stands for their common shape"
            )
    return wanted


def parameter(name: str, label: str, value: Any, dtype: DType) -> Any:
    """A parameter of a distribution in the dtype of the samples."""
    if isinstance(value, (list, tuple)):
        value = np.asarray(value)
    if not is_array(value) or aval_of(value).dtype.kind == "c":
        found = f"a value of type {aval_of(value)}" if is_array(value) else f"an object of type {type(value).__name__}"
        raise errors.ArgumentError(
            f"functrans.random.{name}: argument {label} must be a real number or an array of them, got {found}"
        )
    return convert(value, dtype)


def scalar(x: Any) -> Any:
    """A sample of shape () as a NumPy scalar."""
    return rebox(x, "numpy")


# -- bits and uniform numbers ---------------------------------------------------------------------------------------


def uniform(words: Words, shape: Shape, dtype: DType, low: Any = None, high: Any = None) -> Any:
    """Floats in ``[low, high)``, which have the same dtype; in ``[0, 1)`` if None."""
    unit = random_unit(words, shape, dtype)
    return unit if low is None else larger(low, add(mul(unit, sub(high, low)), low))


def normal(words: Words, shape: Shape, dtype: DType) -> Any:
    """Standard normal floats."""
    low = np.nextafter(np.array(-1, dtype), np.array(0, dtype))[()]
    return mul(erf_inv(uniform(words, shape, dtype, low, dtype.type(1))), dtype.type(math.sqrt(2)))


def exponential(words: Words, shape: Shape, dtype: DType) -> Any:
    """Standard exponential floats."""
    return neg(log1p(neg(uniform(words, shape, dtype))))


# -- Gumbel ---------------------------------------------------------------------------------------------------------

GUMBEL_MODES = ("low", "high", "highest")


def gumbel(words: Words, shape: Shape, dtype: DType, mode: str | None) -> Any:
    """Standard Gumbel floats; the modes give the upper tail in more and more detail."""
    info = dtypes.finfo(dtype)
    if mode == "highest" and dtype == np.float32:
        return _gumbel_from_64_bits(random_bits(words, 32, (2, *shape)))
    if mode in ("high", "highest"):
        both = uniform(words, (2, *shape), dtype)
        high, low = index(both, 0), index(both, 1)
        finer = add(add(high, mul(low, dtype.type(2.0**-info.nmant))), dtype.type(info.tiny))
        return neg(log(neg(log1p(neg(select(ge(high, 0.5), high, finer))))))
    return neg(log(neg(log(uniform(words, shape, dtype, dtype.type(info.tiny), dtype.type(1))))))


def _gumbel_from_64_bits(bits: Any) -> Any:
    """From the number ``bits / 2**64``, or where that is above one half, from what it lacks to 1: each in full."""
    high, low = index(bits, 0), index(bits, 1)
    below_half = lt(high, np.uint32(1 << 31))
    # The two's complement of the 64 bits.
    other_low = add(bitwise_not(low), np.uint32(1))
    other_high = add(bitwise_not(high), convert(eq(other_low, np.uint32(0)), UINT32))
    x = _fraction(select(below_half, high, other_high), select(below_half, low, other_low))
    return select(below_half, neg(log(neg(log1p(neg(x))))), neg(log(neg(log(x)))))


def _fraction(high: Any, low: Any) -> Any:
    """The float32 next below ``(high * 2**32 + low) / 2**64``, for any number of leading zeros."""
    lead, more = clz(high), clz(low)
    empty = eq(high, np.uint32(0))
    shift = select(empty, np.uint32(0), lead)
    # Shifts by 32 give zero.
    top = select(
        empty,
        shift_left(low, more),
        bitwise_or(shift_left(high, shift), shift_right_logical(low, sub(np.uint32(32), shift))),
    )
    mantissa = bitwise_and(shift_right_logical(top, np.uint32(8)), np.uint32((1 << 23) - 1))
    zeros = select(empty, add(more, np.uint32(32)), lead)
    exponent = shift_left(sub(np.uint32(126), zeros), np.uint32(23))
    return bitcast_convert_type(bitwise_or(exponent, mantissa), np.float32)
