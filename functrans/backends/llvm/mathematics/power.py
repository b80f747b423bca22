"""Powers and roots."""

from __future__ import annotations

import math

from functrans.backends.llvm.builder import Builder, V
from functrans.backends.llvm.mathematics import coefficients as c
from functrans.backends.llvm.mathematics.exponential import reduced, short_exponential
from functrans.backends.llvm.mathematics.logarithm import short_logarithm
from functrans.backends.llvm.mathematics.pieces import (
    Pair,
    above,
    absolute,
    at_least,
    at_most,
    bits,
    both,
    by_way_of_double,
    either,
    exact_product,
    fast_sum,
    floating,
    isnan,
    less,
    negmuladd,
    normal,
    number_of,
    pair_product,
    pair_quotient,
    polynomial,
    power_of_two,
    residue,
    rounded,
    scaled,
    signed_as,
    split_exponent,
)


def log_pair(b: Builder, x: V) -> Pair:
    """``log(x)`` of positive doubles as a pair, to some 2**-68: ``2 s + s**3 (2/3 + ...)`` with ``s = f / (2 + f)``."""
    size, by = normal(b, x)
    exponent, m = split_exponent(b, size)
    e = number_of(b, b.sub(exponent, by))
    f = b.sub(m, b.like(1.0, m))
    s = pair_quotient(b, (f, b.like(0.0, x)), fast_sum(b, b.like(2.0, x), f))
    z = exact_product(b, s[0], s[0])
    z = fast_sum(b, z[0], b.muladd(b.add(s[0], s[0]), s[1], z[1]))
    tail = b.mul(z[0], polynomial(b, z[0], c.LOG_TAIL["double"]))
    third = fast_sum(b, b.like(c.TWO_THIRDS["double"][0], x), tail)
    third = third[0], b.add(third[1], b.like(c.TWO_THIRDS["double"][1], x))
    cubic = pair_product(b, pair_product(b, s, z), third)
    high, low = fast_sum(b, b.add(s[0], s[0]), cubic[0])
    low = b.add(low, b.add(b.add(s[1], s[1]), cubic[1]))
    first, second = c.LN2["double"]
    top, error = fast_sum(b, b.mul(e, b.like(first, x)), high)
    return fast_sum(b, top, b.add(error, b.muladd(e, b.like(second, x), low)))


def _magnitude(b: Builder, size: V, y: V, kind: str) -> V:
    """``size**y`` for a positive number, and a ``y`` that is not too large to be multiplied."""
    if kind == "float":
        exponent = b.mul(short_logarithm(b, size), y)
        return short_exponential(b, at_most(b, at_least(b, exponent, -400.0), 400.0))
    log = log_pair(b, size)
    high, low = exact_product(b, log[0], y)
    low = b.muladd(log[1], y, low)
    limited = at_most(b, at_least(b, high, -746.0), 710.0)
    low = b.select(b.compare("oeq", limited, high), low, b.like(0.0, low))
    n, first, rest = reduced(b, limited, low)
    return scaled(b, b.add(first, rest), n)


def _pow(b: Builder, x: V, y: V, kind: str) -> V:
    size = absolute(b, x)
    zero, one = b.like(0.0, x), b.like(1.0, x)
    limited = at_most(b, at_least(b, y, -(2.0**66)), 2.0**66)
    result = _magnitude(b, size, limited, kind)
    nothing, endless = b.compare("oeq", size, zero), b.compare("oeq", size, b.like(math.inf, x))
    falling = b.compare("olt", y, zero)
    end = b.select(b.op("xor", falling, endless), b.like(math.inf, x), zero)
    result = b.select(either(b, nothing, endless), end, result)
    half = b.mul(y, b.like(0.5, y))
    whole = b.compare("oeq", b.call("rint", y), y)
    odd = both(b, whole, b.compare("one", b.call("rint", half), half))
    bare = bits(b, x)
    signs = b.op("and", bare, b.like(-(1 << 63), bare))
    signed = floating(b, b.op("or", bits(b, result), b.select(odd, signs, b.like(0, bare))))
    outside = both(b, both(b, less(b, x, 0.0), b.op("xor", whole, b.const(1, "i1", x.w))), above(b, x, -math.inf))
    signed = b.select(outside, b.like(math.nan, x), signed)
    signed = b.select(either(b, isnan(b, x), isnan(b, y)), b.add(x, y), signed)
    return b.select(either(b, b.compare("oeq", y, zero), b.compare("oeq", x, one)), one, signed)


pow = by_way_of_double(_pow)

# -- roots ------------------------------------------------------------------------------------------------------------


def cbrt(b: Builder, x: V) -> V:
    """``m y**2`` and one correction, where ``y`` is the inverse root after an iteration of order 4."""
    size = absolute(b, x)
    double = x.ty == "double"
    least, by = (2.2250738585072014e-308, 54) if double else (1.1754943508222875e-38, 24)
    small = less(b, size, least)
    exponent, m = split_exponent(b, b.select(small, b.mul(size, b.like(2.0**by, x)), size))
    e = number_of(b, exponent)
    third, k = rounded(b, b.mul(e, b.like(1 / 3, x)))
    rest = negmuladd(b, third, b.like(3.0, x), e)
    more, fewer = above(b, rest, 0.5), less(b, rest, -0.5)
    one = b.like(1.0, x)
    start = b.select(more, b.like(0.5 ** (1 / 3), x), b.select(fewer, b.like(2.0 ** (1 / 3), x), one))
    y = b.mul(start, polynomial(b, m, c.CBRT[x.ty]))
    m = b.mul(m, b.select(more, b.like(2.0, x), b.select(fewer, b.like(0.5, x), one)))
    error = negmuladd(b, b.mul(m, y), b.mul(y, y), one)
    series = polynomial(b, error, (1 / 3, 2 / 9, 14 / 81) if double else (1 / 3, 2 / 9))
    y = b.muladd(b.mul(y, error), series, y)
    root = b.mul(b.mul(m, y), y)
    square, lost = exact_product(b, root, root)
    missing = b.sub(residue(b, m, square, root), b.mul(lost, root))
    root = b.muladd(b.mul(missing, b.like(1 / 3, x)), b.mul(y, y), root)
    zero = b.like(0, k)
    power = power_of_two(b, b.sub(k, b.select(small, b.like(by // 3, k), zero)))
    value = b.mul(root, power)
    ends = either(b, b.compare("oeq", size, b.like(0.0, x)), b.compare("uge", size, b.like(math.inf, x)))
    return b.select(ends, x, signed_as(b, value, x))


def _hypot(b: Builder, x: V, y: V, kind: str) -> V:
    x, y = absolute(b, x), absolute(b, y)
    infinite = b.compare("oeq", x, b.like(math.inf, x)), b.compare("oeq", y, b.like(math.inf, x))
    if kind == "float":
        value = b.call("sqrt", b.muladd(x, x, b.mul(y, y)))
    else:
        swapped = b.compare("ogt", y, x)
        x, y = b.select(swapped, y, x), b.select(swapped, x, y)
        large, small = above(b, x, 2.0**500), less(b, x, 2.0**-450)
        one = b.like(1.0, x)
        scale = b.select(large, b.like(2.0**-600, x), b.select(small, b.like(2.0**600, x), one))
        back = b.select(large, b.like(2.0**600, x), b.select(small, b.like(2.0**-600, x), one))
        x, y = b.mul(x, scale), b.mul(y, scale)
        (p, q), (r, s) = exact_product(b, x, x), exact_product(b, y, y)
        high, low = fast_sum(b, p, r)
        root = b.call("sqrt", high)
        rest = b.add(residue(b, high, root, root), b.add(low, b.add(q, s)))
        known = b.compare("ogt", root, b.like(0.0, x))
        rest = b.select(known, b.div(b.mul(rest, b.like(0.5, x)), root), b.like(0.0, x))
        value = b.mul(b.add(root, rest), back)
    return b.select(either(b, *infinite), b.like(math.inf, x), value)


hypot = by_way_of_double(_hypot)
