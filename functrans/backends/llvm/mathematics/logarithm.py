"""Logarithms and the inverse hyperbolic functions.

``log(x) = e log(2) + log(1 + f)`` with ``1 + f`` between the roots of 1/2 and 2, and ``log(1 + f) = f - h + s (h + R)``
with ``h = f**2 / 2`` and ``s = f / (2 + f)``: the form of fdlibm's logarithm (Sun Microsystems, 1993), where ``R`` is
a polynomial in ``s**2``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from functrans.backends.llvm.builder import Builder, V
from functrans.backends.llvm.mathematics import coefficients as c
from functrans.backends.llvm.mathematics.exponential import exp, exp2
from functrans.backends.llvm.mathematics.pieces import (
    BIAS,
    SHIFT,
    Pair,
    above,
    absolute,
    exact_product,
    exact_sum,
    fast_sum,
    floating,
    integer,
    isnan,
    less,
    normal,
    number_of,
    pair_quotient,
    pair_root,
    polynomial,
    signed_as,
    split_exponent,
)


def _parts(b: Builder, f: V, kind: str) -> Pair:
    """``f`` and the rest of ``log(1 + f)``, with ``s``."""
    s = b.div(f, b.add(f, b.like(2.0, f)))
    z = b.mul(s, s)
    half = b.mul(b.mul(f, f), b.like(0.5, f))
    r = b.muladd(z, polynomial(b, z, c.LOG[kind]), half)
    return b.sub(b.mul(s, r), half), s


def _with_exponent(b: Builder, e: V, f: V, rest: V) -> V:
    """``e log(2) + f + rest``."""
    high, low = c.LN2[f.ty]
    top, error = fast_sum(b, b.mul(e, b.like(high, f)), f)
    return b.add(top, b.add(error, b.muladd(e, b.like(low, f), rest)))


def _ends(b: Builder, x: V, y: V) -> V:
    """What a logarithm is where its argument is not positive and finite."""
    y = b.select(b.compare("oeq", x, b.like(0.0, x)), b.like(-math.inf, x), y)
    y = b.select(b.compare("ult", x, b.like(0.0, x)), b.like(math.nan, x), y)
    return b.select(b.compare("oeq", x, b.like(math.inf, x)), x, y)


def _split(b: Builder, x: V) -> Pair:
    """``e`` and ``f`` of a number that may be subnormal."""
    size, by = normal(b, x)
    e, m = split_exponent(b, size)
    return number_of(b, b.sub(e, by)), b.sub(m, b.like(1.0, m))


def log(b: Builder, x: V) -> V:
    e, f = _split(b, x)
    return _ends(b, x, _with_exponent(b, e, f, _parts(b, f, x.ty)[0]))


def short_logarithm(b: Builder, x: V) -> V:
    """``log(x)`` of positive normal doubles to a little more than single precision."""
    e, m = split_exponent(b, x)
    f = b.sub(m, b.like(1.0, m))
    return b.muladd(number_of(b, e), b.like(math.log(2), x), b.add(f, _parts(b, f, "float")[0]))


def _log_to(b: Builder, x: V, scale: Sequence[float], unit: Sequence[float]) -> V:
    """``e * unit + log(1 + f) * scale``"""
    e, f = _split(b, x)
    high, low = fast_sum(b, f, _parts(b, f, x.ty)[0])
    first, second, whole, rest = (b.like(value, x) for value in (*scale, *unit))
    product, error = exact_product(b, high, first)
    error = b.add(error, b.muladd(low, first, b.mul(high, second)))
    top, lost = fast_sum(b, b.mul(e, whole), product)
    return _ends(b, x, b.add(top, b.add(lost, b.muladd(e, rest, error))))


def log2(b: Builder, x: V) -> V:
    return _log_to(b, x, c.LOG2_E[x.ty], (1.0, 0.0))


def log10(b: Builder, x: V) -> V:
    return _log_to(b, x, c.LOG10_E[x.ty], c.LOG10_2[x.ty])


def log_of_pair(b: Builder, x: Pair, doublings: V | None = None) -> V:
    """``log(high + low)`` for a positive normal pair, good near 1 too; of the pair times ``2**doublings`` if given."""
    high, low = x
    e, m = split_exponent(b, high)
    f = b.sub(m, b.like(1.0, m))
    # 2**(1 - e), since 2**-e may be out of range.
    back = floating(b, b.op("shl", b.sub(b.like(BIAS[high.ty] + 1, e), e), b.like(SHIFT[high.ty], e)))
    low = b.mul(b.mul(low, b.like(0.5, low)), back)
    rest, s = _parts(b, f, f.ty)
    # low / (1 + f), to as many digits as matter
    two = b.add(s, s)
    rest = b.add(rest, b.sub(low, b.mul(low, b.sub(two, b.mul(two, s)))))
    if doublings is not None:
        e = b.add(e, doublings)
    return _with_exponent(b, number_of(b, e), f, rest)


def log1p(b: Builder, x: V) -> V:
    pair = exact_sum(b, b.like(1.0, x), x)
    y = _ends(b, pair[0], log_of_pair(b, pair))
    tiny = less(b, absolute(b, x), 2.0**-54 if x.ty == "double" else 2.0**-25)
    return b.select(tiny, x, y)


def _log1p_of_exponential(b: Builder, e: V) -> V:
    """``log(1 + e)`` for ``0 <= e <= 1``."""
    y = log_of_pair(b, fast_sum(b, b.like(1.0, e), e))
    return b.select(less(b, e, 2.0**-54 if e.ty == "double" else 2.0**-25), e, y)


def _sum_of_powers(b: Builder, x: V, y: V, power: Callable[..., V], scale: float) -> V:
    """The larger one and ``scale * log(1 + power(-difference))``; of equal ones, infinite too, the sum is simple."""
    larger = b.select(b.compare("ogt", x, y), x, y)
    apart = b.sub(x, y)
    more = _log1p_of_exponential(b, power(b, b.neg(absolute(b, apart))))
    more = more if scale == 1.0 else b.mul(more, b.like(scale, x))
    more = b.select(b.compare("oeq", x, y), b.like(scale * math.log(2), x), b.select(isnan(b, apart), apart, more))
    return b.add(larger, more)


def logaddexp(b: Builder, x: V, y: V) -> V:
    return _sum_of_powers(b, x, y, exp, 1.0)


def logaddexp2(b: Builder, x: V, y: V) -> V:
    return _sum_of_powers(b, x, y, exp2, 1 / math.log(2))


# -- inverse hyperbolic functions -------------------------------------------------------------------------------------


_TINY = {"double": 2.0**-27, "float": 2.0**-13}


def _doubled(b: Builder, x: V, pair: Pair) -> tuple[Pair, V]:
    """The pair, or for large ``x`` half of it, which is ``x`` then; and how often that is to be doubled."""
    large = above(b, x, 2.0**28 if x.ty == "double" else 2.0**13)
    ty = integer(x.ty)
    zero, one = b.const(0, ty, x.w), b.const(1, ty, x.w)
    kept = b.select(large, x, pair[0]), b.select(large, b.like(0.0, x), pair[1])
    return kept, b.select(large, one, zero)


def asinh(b: Builder, x: V) -> V:
    """``log(|x| + sqrt(x**2 + 1))``"""
    size = absolute(b, x)
    square, low = exact_product(b, size, size)
    high, rest = exact_sum(b, square, b.like(1.0, x))
    root = pair_root(b, (high, b.add(rest, low)))
    total, error = exact_sum(b, size, root[0])
    pair, doublings = _doubled(b, size, fast_sum(b, total, b.add(error, root[1])))
    y = log_of_pair(b, pair, doublings)
    y = b.select(b.compare("ult", size, b.like(math.inf, x)), y, size)
    return b.select(less(b, size, _TINY[x.ty]), x, signed_as(b, y, x))


def acosh(b: Builder, x: V) -> V:
    """``log(x + sqrt(x**2 - 1))``"""
    square, low = exact_product(b, x, x)
    high, rest = exact_sum(b, square, b.like(-1.0, x))
    root = pair_root(b, (high, b.add(rest, low)))
    total, error = exact_sum(b, x, root[0])
    pair, doublings = _doubled(b, x, fast_sum(b, total, b.add(error, root[1])))
    y = log_of_pair(b, pair, doublings)
    y = b.select(b.compare("oeq", x, b.like(math.inf, x)), x, y)
    return b.select(b.compare("ult", x, b.like(1.0, x)), b.like(math.nan, x), y)


def atanh(b: Builder, x: V) -> V:
    """``log((1 + |x|) / (1 - |x|)) / 2``"""
    size = absolute(b, x)
    one = b.like(1.0, x)
    pair = pair_quotient(b, fast_sum(b, one, size), fast_sum(b, one, b.neg(size)))
    y = b.mul(log_of_pair(b, fast_sum(b, *pair)), b.like(0.5, x))
    y = b.select(b.compare("oeq", size, one), b.like(math.inf, x), y)
    y = b.select(b.compare("ugt", size, one), b.like(math.nan, x), y)
    return b.select(less(b, size, _TINY[x.ty]), x, signed_as(b, y, x))
