"""Sine, cosine, tangent and their inverses.

After reduction (``reduction``) to at most pi/4 the sine and the cosine are polynomials whose leading terms are added
exactly. Where a program takes both of one angle, what they share is computed once.
"""

from __future__ import annotations

import math
from weakref import WeakKeyDictionary

from functrans.backends.llvm.builder import Builder, V
from functrans.backends.llvm.mathematics import coefficients as c
from functrans.backends.llvm.mathematics.pieces import (
    Pair,
    absolute,
    at_most,
    bits,
    both,
    by_way_of_double,
    either,
    exact_product,
    fast_sum,
    floating,
    integer,
    isnan,
    less,
    negmuladd,
    pair_quotient,
    polynomial,
    residue,
    rounded,
    signed_as,
)
from functrans.backends.llvm.mathematics.reduction import quadrants


def _sine(b: Builder, x: V, y: V, z: V, kind: str) -> Pair:
    """``sin(x + y)`` as ``x`` and the rest."""
    cubic = b.mul(b.mul(x, z), polynomial(b, z, c.SIN[kind]))
    if kind == "float":
        return x, cubic
    return x, b.add(negmuladd(b, b.mul(z, b.like(0.5, z)), y, y), cubic)


def _cosine(b: Builder, x: V, y: V, z: V, kind: str, error: V | None = None) -> Pair:
    """``cos(x + y)`` as two numbers; ``error`` is what ``z`` lacks of the square of ``x``."""
    half = b.mul(z, b.like(0.5, z))
    quartic = b.mul(b.mul(z, z), polynomial(b, z, c.COS[kind]))
    one = b.like(1.0, x)
    if kind == "float":
        return b.sub(one, half), quartic
    high, low = fast_sum(b, one, b.neg(half))
    rest = b.sub(quartic, b.mul(x, y))
    if error is not None:
        rest = negmuladd(b, error, b.like(0.5, x), rest)
    return high, b.add(low, rest)


_known: WeakKeyDictionary[Builder, dict[tuple[str, str], tuple[str, V, V, V]]] = WeakKeyDictionary()


def _sine_and_cosine(b: Builder, x: V, kind: str) -> tuple[V, V, V]:
    """``q`` and the sine and cosine of what is left, computed once where the same block asks for them again."""
    known = _known.setdefault(b, {})
    found = known.get((x.ref, x.full))
    if found is None or found[0] != b.block:
        q, high, low = quadrants(b, x, kind)
        z = b.mul(high, high)
        sine, cosine = b.add(*_sine(b, high, low, z, kind)), b.add(*_cosine(b, high, low, z, kind))
        found = known[x.ref, x.full] = b.block, q, sine, cosine
    return found[1:]


def _turned(b: Builder, q: V, sine: V, cosine: V, ahead: int) -> V:
    """The sine after ``q + ahead`` quarter turns."""
    odd = b.compare("ne", b.op("and", q, b.like(1, q)), b.like(0, q))
    chosen = b.select(odd, cosine, sine) if ahead == 0 else b.select(odd, sine, cosine)
    turned = b.add(q, b.like(ahead, q)) if ahead else q
    sign = b.op("shl", b.op("and", turned, b.like(2, q)), b.like(62, q))
    return floating(b, b.op("xor", bits(b, chosen), sign))


def _sin(b: Builder, x: V, kind: str) -> V:
    # The reduction of -0 gives +0.
    y = _turned(b, *_sine_and_cosine(b, x, kind), 0)
    return b.select(b.compare("oeq", x, b.like(0.0, x)), x, y)


def _cos(b: Builder, x: V, kind: str) -> V:
    return _turned(b, *_sine_and_cosine(b, x, kind), 1)


def _tan(b: Builder, x: V, kind: str) -> V:
    q, high, low = quadrants(b, x, kind)
    odd = b.compare("ne", b.op("and", q, b.like(1, q)), b.like(0, q))
    if kind == "float":
        z = b.mul(high, high)
        sine, cosine = b.add(*_sine(b, high, low, z, kind)), b.add(*_cosine(b, high, low, z, kind))
        y = b.div(b.select(odd, b.neg(cosine), sine), b.select(odd, sine, cosine))
    else:
        z, error = exact_product(b, high, high)
        s = fast_sum(b, *_sine(b, high, low, z, kind))
        k = fast_sum(b, *_cosine(b, high, low, z, kind, error))
        minus = b.neg(k[0]), b.neg(k[1])
        top = b.select(odd, minus[0], s[0]), b.select(odd, minus[1], s[1])
        y = b.add(*pair_quotient(b, top, (b.select(odd, s[0], k[0]), b.select(odd, s[1], k[1]))))
    tiny = b.compare("olt", absolute(b, x), b.like(2.0**-27, x))
    return b.select(tiny, x, y)


def _sinc(b: Builder, x: V, kind: str) -> V:
    """``sin(pi x) / (pi x)``"""
    turns = b.call("rint", b.mul(x, b.like(0.5, x)))
    part = b.sub(x, b.add(turns, turns))
    n, q = rounded(b, b.add(part, part))
    r = negmuladd(b, n, b.like(0.5, x), part)
    high, low = exact_product(b, r, b.like(c.PI["double"][0], x))
    low = b.muladd(r, b.like(c.PI["double"][1], x), low)
    z = b.mul(high, high)
    sine, cosine = b.add(*_sine(b, high, low, z, kind)), b.add(*_cosine(b, high, low, z, kind))
    top = _turned(b, q, sine, cosine, 0)
    if kind == "float":
        y = b.mul(b.div(top, x), b.like(1 / math.pi, x))
    else:
        angle, error = exact_product(b, x, b.like(c.PI["double"][0], x))
        angle_and_rest = angle, b.muladd(x, b.like(c.PI["double"][1], x), error)
        y = b.add(*pair_quotient(b, (top, b.like(0.0, x)), angle_and_rest))
        # Where the multiple of pi is out of range, the quotient is 0.
        y = b.select(b.compare("ugt", absolute(b, x), b.like(1e300, x)), b.mul(top, b.like(0.0, x)), y)
    size = absolute(b, x)
    # The zeros at whole numbers have no sign.
    y = b.select(less(b, size, 2.0**-28), b.like(1.0, x), b.add(y, b.like(0.0, x)))
    return b.select(b.compare("oeq", size, b.like(math.inf, x)), b.like(math.nan, x), y)


sin, cos, tan, sinc = (by_way_of_double(f) for f in (_sin, _cos, _tan, _sinc))

# -- inverse functions ------------------------------------------------------------------------------------------------


def _half_angle(b: Builder, size: V) -> tuple[V, V, V]:
    """Of ``asin(size)``: where ``size`` is at least 1/2, then ``2 asin(root((1 - size) / 2))`` as a pair, else it."""
    ty = size.ty
    large = b.compare("oge", size, b.like(0.5, size))
    half = b.like(0.5, size)
    z = b.select(large, b.mul(b.sub(b.like(1.0, size), size), half), b.mul(size, size))
    root = b.call("sqrt", z)
    s = b.select(large, root, size)
    cubic = b.mul(b.mul(s, z), polynomial(b, z, c.ASIN[ty]))
    # What the rounded root lacks; where it is 0, nothing.
    lost = b.div(b.mul(residue(b, z, root, root), half), b.add(root, b.like(1e-30, size)))
    rest = b.add(cubic, b.select(large, lost, b.like(0.0, size)))
    return large, b.select(large, b.add(s, s), s), b.select(large, b.add(rest, rest), rest)


def asin(b: Builder, x: V) -> V:
    size = absolute(b, x)
    large, angle, rest = _half_angle(b, size)
    first, second = c.HALF_PI[x.ty]
    high, low = fast_sum(b, b.like(first, x), b.neg(angle))
    far = b.add(high, b.add(low, b.sub(b.like(second, x), rest)))
    return signed_as(b, b.select(large, far, b.add(angle, rest)), x)


def acos(b: Builder, x: V) -> V:
    large, angle, rest = _half_angle(b, absolute(b, x))
    negative = b.compare("olt", x, b.like(0.0, x))
    first, second = c.HALF_PI[x.ty]
    zero = b.like(0.0, x)
    plus = b.op("xor", large, negative)
    outer = b.select(negative, b.like(2 * first, x), zero), b.select(negative, b.like(2 * second, x), zero)
    high, low = fast_sum(b, b.select(large, outer[0], b.like(first, x)), b.select(plus, angle, b.neg(angle)))
    rest = b.add(b.select(large, outer[1], b.like(second, x)), b.select(plus, rest, b.neg(rest)))
    return b.add(high, b.add(low, rest))


def _octants(b: Builder, below: V, above: V, inverse: V, negative: V | None) -> V:
    """The angle of the tangent ``below / above <= 1``; from a right angle if ``inverse``, then from a half turn."""
    ty = below.ty
    middle = b.compare("ogt", below, b.mul(above, b.like(math.sqrt(2) - 1, above)))
    zero = b.like(0.0, below)
    difference, error = fast_sum(b, above, b.neg(below))
    total, lost = fast_sum(b, above, below)
    top = b.select(middle, b.neg(difference), below), b.select(middle, b.neg(error), zero)
    high, low = pair_quotient(b, top, (b.select(middle, total, above), b.select(middle, lost, zero)))
    z = b.mul(high, high)
    rest = b.muladd(b.mul(high, z), polynomial(b, z, c.ATAN[ty]), negmuladd(b, low, z, low))
    eighths = b.select(middle, b.like(1.0, z), b.select(inverse, b.like(2.0, z), zero))
    flipped = inverse
    if negative is not None:
        eighths = b.select(negative, b.sub(b.like(4.0, z), eighths), eighths)
        flipped = b.op("xor", inverse, negative)
    # The first part is so short that its products with the numbers up to 4 are exact.
    first, second = c.QUARTER_PI[ty]
    high = b.select(flipped, b.neg(high), high)
    rest = b.select(flipped, b.neg(rest), rest)
    high, low = fast_sum(b, b.mul(eighths, b.like(first, z)), high)
    return b.add(high, b.add(low, b.muladd(eighths, b.like(second, z), rest)))


def atan(b: Builder, x: V) -> V:
    size = at_most(b, absolute(b, x), 2.0**60)
    one = b.like(1.0, x)
    inverse = b.compare("ogt", size, one)
    y = _octants(b, b.select(inverse, one, size), b.select(inverse, size, one), inverse, None)
    return signed_as(b, y, x)


def atan2(b: Builder, y: V, x: V) -> V:
    down, across = absolute(b, y), absolute(b, x)
    inverse = b.compare("ogt", down, across)
    larger, smaller = b.select(inverse, down, across), b.select(inverse, across, down)
    zero, one = b.like(0.0, x), b.like(1.0, x)
    # Both are scaled by a power of two, so that no step leaves the range of exponents.
    double = x.ty == "double"
    field, most = (0x7FF << 52, 2046 << 52) if double else (0xFF << 23, 254 << 23)
    exponent = b.op("and", bits(b, larger), b.const(field, integer(x.ty), x.w))
    opposite = b.sub(b.like(most, exponent), exponent)
    first = b.like(1 << (52 if double else 23), exponent)
    scale = floating(b, b.select(b.compare("slt", opposite, first), first, opposite))
    infinite = b.compare("oeq", larger, b.like(math.inf, x))
    equal = b.compare("oeq", smaller, b.like(math.inf, x))
    trivial = either(b, infinite, b.compare("oeq", larger, zero))
    above = b.select(trivial, one, b.mul(larger, scale))
    below = b.select(infinite, b.select(equal, one, zero), b.mul(smaller, scale))
    negative = b.compare("slt", bits(b, x), b.like(0, exponent))
    angle = _octants(b, below, above, inverse, negative)
    # Scaling rounds what becomes subnormal once more than the quotient does.
    least = b.like(1e-307 if double else 1e-37, x)
    tiny = both(
        b, b.compare("olt", angle, least), both(b, b.compare("ogt", down, zero), b.compare("ogt", across, zero))
    )
    (angle,) = b.when(b.any(tiny), [angle], lambda: [b.select(tiny, b.div(down, across), angle)])
    angle = signed_as(b, angle, y)
    return b.select(either(b, isnan(b, x), isnan(b, y)), b.add(x, y), angle)
