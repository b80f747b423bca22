"""Exponentials and hyperbolic functions.

``exp(x) = 2**n * exp(r)`` with ``|r| <= log(2) / 2``, reduced in two steps as W. J. Cody and W. Waite, "Software manual
for the elementary functions" (1980), do it; ``exp(r)`` is a polynomial whose first two terms are added exactly.
"""

from __future__ import annotations

import math

from functrans.backends.llvm.builder import Builder, V
from functrans.backends.llvm.mathematics import coefficients as c
from functrans.backends.llvm.mathematics.pieces import (
    Pair,
    above,
    absolute,
    at_least,
    at_most,
    exact_product,
    exact_sum,
    fast_sum,
    less,
    polynomial,
    power_of_two,
    residue,
    rounded,
    rounded_product,
    scaled,
    signed_as,
)

_RANGE = {"double": (-746.0, 710.0), "float": (-104.5, 89.0)}
_TINY = {"double": 2.0**-54, "float": 2.0**-25}


def _tail(b: Builder, r: V, low: V, less_one: bool = False) -> Pair:
    """``exp(r + low)`` for a small sum; with more digits where 1 is to be subtracted."""
    one = b.like(1.0, r)
    if not less_one:
        small = b.muladd(b.mul(r, r), polynomial(b, r, c.EXP[r.ty]), low)
        high, rest = fast_sum(b, one, r)
        return high, b.add(rest, small)
    square, error = exact_product(b, r, r)
    half = b.like(0.5, r)
    cubic = b.muladd(b.mul(r, square), polynomial(b, r, c.EXP[r.ty][1:]), b.muladd(error, half, low))
    sum_, lost = fast_sum(b, r, b.mul(square, half))
    high, rest = fast_sum(b, one, sum_)
    return high, b.add(rest, b.add(lost, cubic))


def reduced(b: Builder, x: V, more: V | None = None, less_one: bool = False) -> tuple[V, V, V]:
    """Bits of ``n``, and two numbers with ``exp(x + more) = 2**n * (their sum)``; the first is near to 1."""
    n, whole = rounded_product(b, x, 1 / math.log(2))
    # The first part is so short that its product with an exponent is exact.
    high, low = c.LN2[x.ty]
    first = b.muladd(n, b.like(-high, x), x)
    second = b.mul(n, b.like(low, x))
    if more is not None:
        second = b.sub(second, more)
    r = b.sub(first, second)
    return whole, *_tail(b, r, b.sub(b.sub(first, r), second), less_one)


def short_exponential(b: Builder, x: V) -> V:
    """``exp(x)`` of doubles to single precision, for the range of single precision and somewhat beyond."""
    n, whole = rounded_product(b, x, 1 / math.log(2))
    r = b.muladd(n, b.like(-math.log(2), x), x)
    value = b.muladd(b.mul(r, r), polynomial(b, r, c.EXP["float"]), b.add(r, b.like(1.0, r)))
    return b.mul(value, power_of_two(b, whole))


def exp(b: Builder, x: V) -> V:
    low, high = _RANGE[x.ty]
    n, first, rest = reduced(b, at_most(b, at_least(b, x, low), high))
    return scaled(b, b.add(first, rest), n)


def exp2(b: Builder, x: V) -> V:
    low, high = (-1077.0, 1025.0) if x.ty == "double" else (-152.0, 129.0)
    x = at_most(b, at_least(b, x, low), high)
    n, whole = rounded(b, x)
    f = b.sub(x, n)
    first, second = c.LN2_FULL[x.ty]
    r, rest = exact_product(b, f, b.like(first, x))
    one, rest = _tail(b, r, b.muladd(f, b.like(second, x), rest))
    return scaled(b, b.add(one, rest), whole)


def half_expm1(b: Builder, x: V, precise: bool) -> Pair:
    """``(exp(x) - 1) / 2`` as a pair, where ``x`` is neither tiny nor out of range."""
    n, one, rest = reduced(b, x, less_one=precise)
    half = power_of_two(b, b.sub(n, b.like(1, n)))
    high, low = exact_sum(b, b.mul(half, one), b.like(-0.5, x))
    return fast_sum(b, high, b.muladd(half, rest, low))


def expm1(b: Builder, x: V) -> V:
    low, high = (-40.0, 710.0) if x.ty == "double" else (-20.0, 89.0)
    y, _ = half_expm1(b, at_most(b, at_least(b, x, low), high), True)
    return b.select(less(b, absolute(b, x), _TINY[x.ty]), x, b.add(y, y))


def tanh(b: Builder, x: V) -> V:
    """``-e / (2 + e)`` with ``e = exp(-2 |x|) - 1``."""
    size = absolute(b, x)
    limited = at_most(b, size, 20.0 if x.ty == "double" else 10.0)
    high, low = half_expm1(b, b.mul(limited, b.like(-2.0, x)), False)
    below, rest = fast_sum(b, b.like(1.0, x), high)
    rest = b.add(rest, low)
    quotient = b.div(high, below)
    error = b.sub(b.add(residue(b, high, quotient, below), low), b.mul(quotient, rest))
    # 1 / below, to as many digits as matter
    y = b.muladd(error, b.muladd(below, b.like(-32 / 17, x), b.like(48 / 17, x)), quotient)
    return b.select(less(b, size, _TINY[x.ty]), x, signed_as(b, y, x))


# -- sinh, cosh -------------------------------------------------------------------------------------------------------


def _sum_of_both(b: Builder, size: V, sign: float) -> V:
    """``(exp(size) + sign * exp(-size)) / 2``"""
    n, one, rest = reduced(b, at_most(b, size, 710.5 if size.ty == "double" else 89.5))
    quarter = power_of_two(b, b.sub(n, b.like(2, n)))
    high, low = b.mul(quarter, one), b.mul(quarter, rest)
    inverse = b.div(b.like(sign / 16, size), b.add(high, low))
    first, error = fast_sum(b, high, inverse)
    y = b.add(first, b.add(error, low))
    return b.add(y, y)


def cosh(b: Builder, x: V) -> V:
    return _sum_of_both(b, absolute(b, x), 1.0)


def sinh(b: Builder, x: V) -> V:
    size = absolute(b, x)
    z = b.mul(size, size)
    near = b.muladd(b.mul(size, z), polynomial(b, z, c.SINH[x.ty]), size)
    return signed_as(b, b.select(above(b, size, 1.0), _sum_of_both(b, size, -1.0), near), x)
