"""Exponential, trigonometric, hyperbolic and Fresnel integrals, dilogarithm and Owen's function, element by element.

The decompositions are rational approximations (``coefficients``); for large arguments, of the auxiliary functions of
the NIST Digital Library of Mathematical Functions, 6.2 and 7.2.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

from functrans.core.primitive import Primitive
from functrans.core.trace import aval_of
from functrans.lax.arithmetic import mul, neg, strong
from functrans.lax.compare import eq, isnan, logical_or
from functrans.lax.error_functions import erf
from functrans.lax.exponential import exp, log, log1p
from functrans.lax.magnitude import abs as magnitude
from functrans.lax.magnitude import clamp, copysign
from functrans.lax.magnitude import max as larger
from functrans.lax.magnitude import min as smaller
from functrans.lax.movement import expand_dims
from functrans.lax.power import pow as power
from functrans.lax.reduction import reduce_sum
from functrans.lax.rounding import floor
from functrans.lax.selection import select
from functrans.lax.special import coefficients as c
from functrans.lax.special.bessel import over
from functrans.lax.special.define import refused, special
from functrans.lax.special.gamma import digamma, gamma
from functrans.lax.special.normal import ROOT_HALF, ndtr, ndtr_slope
from functrans.lax.special.series import EULER, continued_fraction, cos_pi, eps, iterate, pick, rational, sin_pi
from functrans.lax.trigonometric import cos, cosh, sin, sinh

_POSITIVE = [(np.array([0.5, 2.25, 12.0]),)]
_ANY = [(np.array([0.5, -2.25, 6.0]),)]
# The zero of the exponential integral, in two parts: the first is exact in single precision.
_ROOT = 0.3725074231624603
_ROOT_REST = -1.2381093692686445e-08

# -- exponential integrals --------------------------------------------------------------------------------------------


def _scaled_exp1(x: Any) -> Any:
    """``x exp(x) E_1(x)`` for ``x >= 1``."""
    middle = rational(c.EXP1_1, clamp(1.0, x, 4.0))
    return select(x < 4.0, middle, rational(c.EXP1_2, 1.0 / larger(x, 4.0)))


def _exp1(x: Any) -> Any:
    low = x < 1.0
    s = select(low & (x > 0.0), x, 0.5)
    small = s * rational(c.EXP1_0, s) - (log(s) + EULER)
    z = larger(x, 1.0)
    large = select(eq(z, np.inf), 0.0, exp(-z) * (_scaled_exp1(z) / z))
    positive = select(low, small, large)
    edge = select(eq(x, 0.0), np.inf, select(isnan(x), x, -_expi_positive(-x)))
    return select(x > 0.0, positive, edge)


def _expi_positive(x: Any) -> Any:
    s = clamp(0.0, x, 6.0)
    zero = eq(s, 0.0)
    centered = (s - _ROOT) - _ROOT_REST
    near = magnitude(centered) < 0.1
    ratio = log1p(select(near, centered, 0.0) / (_ROOT + _ROOT_REST))
    far = log(select(zero, 1.0, s)) - math.log(_ROOT + _ROOT_REST)
    small = centered * rational(c.EXPI_0, s) + select(near, ratio, far)
    small = select(zero, -np.inf, small)
    low = select(x < 11.0, rational(c.EXPI_1, clamp(6.0, x, 11.0)), rational(c.EXPI_2, clamp(11.0, x, 22.0)))
    high = select(x < 45.0, rational(c.EXPI_3, clamp(22.0, x, 45.0)), rational(c.EXPI_4, 1.0 / larger(x, 45.0)))
    z = larger(x, 6.0)
    half = exp(0.5 * z)
    large = half * (select(x < 22.0, low, high) / z) * half
    return select(x < 6.0, small, select(eq(x, np.inf), x, large))


def _expi(x: Any) -> Any:
    negative = x < 0.0
    below = -_exp1(select(negative, -x, 1.0))
    return select(negative, below, _expi_positive(select(negative, 1.0, x)))


exp1_p: Primitive = special(
    "exp1", lambda t, out, x: neg(mul(t, exp(-strong(x, out)) / x)), decompose=_exp1, samples=_POSITIVE
)
expi_p: Primitive = special("expi", lambda t, out, x: mul(t, exp(strong(x, out)) / x), decompose=_expi, samples=_ANY)


def _expn(n: Any, x: Any) -> Any:
    """A power series for ``x < 1``, a continued fraction beyond (NIST Digital Library, 8.19.8 and 8.19.17)."""
    valid = (n >= 0.0) & (x > 0.0) & (x < np.inf)
    order = select(valid & (n > 0.0), n, 1.0)
    low = x < 1.0
    s = select(valid & low, x, 0.5)
    tolerance = eps(x) / 4

    def term(k: Any, values: tuple[Any, ...]) -> tuple[tuple[Any, ...], Any]:
        powers, total = values
        powers = powers * (-s / k)
        # The term k = n - 1 is the one with the logarithm, added apart.
        own = eq(k, order - 1.0)
        part = select(own, 0.0, powers / select(own, 1.0, k - order + 1.0))
        return (powers, total - part), logical_or(magnitude(part) > tolerance * magnitude(total), k < order + 1.0)

    start = 0.0 * (s + order)
    first = select(eq(order, 1.0), 0.0, -1.0 / select(eq(order, 1.0), 1.0, 1.0 - order))
    series = iterate(term, (start + 1.0, start + first), 60)[1]
    own = power(-1.0 + start, order - 1.0) * power(s, order - 1.0) / gamma(order)
    small = own * (digamma(order) - log(s)) + series
    z = select(valid & (x >= 1.0), x, 2.0)
    fraction = continued_fraction(z + order, lambda k: (-k * (order - 1.0 + k), z + order + 2.0 * k), 500)
    large = exp(-z) * fraction
    out = select(eq(n, 0.0), exp(-x) / select(valid, x, 1.0), select(low, small, large))
    pole = select(n > 1.0, 1.0 / select(n > 1.0, n - 1.0, 1.0), np.inf)
    edge = select(eq(x, 0.0) & (n >= 0.0), pole, pick(x, eq(x, np.inf) & (n >= 0.0), 0.0, np.nan))
    return select(valid, out, edge)


def _expn_slope(t: Any, out: Any, n: Any, x: Any) -> Any:
    n, x = strong(n, out), strong(x, out)
    zero = eq(n, 0.0)
    below = select(zero, exp(-x) * (1.0 + 1.0 / x) / x, expn_p.bind(select(zero, 0.0, n - 1.0), x))
    return neg(mul(t, below))


expn_p: Primitive = special(
    "expn",
    refused("expn", "its order n"),
    _expn_slope,
    arity=2,
    decompose=_expn,
    samples=[(np.array([0.0, 1.0, 3.0]), np.array([0.5, 0.75, 4.5]))],
    diff=(1,),
)

# -- sine, cosine and Fresnel integrals -------------------------------------------------------------------------------


def _sici(x: Any) -> list[Any]:
    y = magnitude(x)
    s = clamp(-4.0, x, 4.0)
    w = s * s
    zero = eq(s, 0.0)
    small_si = s * rational(c.SI, w)
    small_ci = select(zero, -np.inf, (EULER + log(select(zero, 1.0, magnitude(s)))) + w * rational(c.CI, w))
    z = clamp(4.0, y, 1e9 if eps(x) < 1e-10 else 1e6)
    v = 1.0 / z
    u = v * v
    near, inner, outer = y < 8.0, clamp(1 / 64, u, 1 / 16), smaller(u, 1 / 64)
    f = v * select(near, rational(c.SICI_F1, inner), rational(c.SICI_F2, outer))
    g = u * select(near, rational(c.SICI_G1, inner), rational(c.SICI_G2, outer))
    sine, cosine = sin(z), cos(z)
    si = copysign(math.pi / 2 - f * cosine - g * sine, x)
    ci = f * sine - g * cosine
    limit = select(eq(x, -np.inf), np.nan, pick(x, x < 0.0, np.nan, 0.0))
    ci = select(y < 4.0, small_ci, select(eq(y, np.inf), 0.0, ci))
    return [
        select(isnan(x), x, select(y < 4.0, small_si, si)),
        select(isnan(x), x, select(x < 0.0, limit, ci)),
    ]


def _shichi(x: Any) -> list[Any]:
    y = magnitude(x)
    low = y < 2.0
    s = clamp(-2.0, x, 2.0)
    w = s * s
    zero = eq(s, 0.0)
    small_shi = s * rational(c.SHI, w)
    small_chi = select(zero, -np.inf, (EULER + log(select(zero, 1.0, magnitude(s)))) + w * rational(c.CHI, w))
    z = larger(y, 2.0)
    up, down = 0.5 * _expi_positive(z), 0.5 * _exp1(z)
    shi = select(low, small_shi, copysign(up + down, x))
    return [select(isnan(x), x, shi), select(isnan(x), x, select(low, small_chi, up - down))]


def _fresnel(x: Any) -> list[Any]:
    y = magnitude(x)
    low = y < 1.6
    s = select(low, x, 0.0)
    q = (s * s) * (s * s)
    small = [s * (s * s) * rational(c.FRESNEL_S, q), s * rational(c.FRESNEL_C, q)]
    z = clamp(1.6, y, 1e7 if eps(x) < 1e-10 else 1e4)
    inner, outer = clamp(1.6, z, 3.4), larger(z, 3.4)
    v = 1.0 / (math.pi * outer * outer)
    w = v * v
    f = select(z < 3.4, rational(c.FRESNEL_F1, inner), rational(c.FRESNEL_F2, w) / (math.pi * outer))
    g = select(z < 3.4, rational(c.FRESNEL_G1, inner), rational(c.FRESNEL_G2, w) * v / (math.pi * outer))
    # The argument pi z**2 / 2, of which whole turns count for nothing: z = head + rest, head with few bits.
    sine, cosine = _half_square(z)
    large = [0.5 - f * cosine - g * sine, 0.5 + f * sine - g * cosine]
    return [
        select(isnan(x), x, select(low, a, select(eq(y, np.inf), copysign(0.5, x), copysign(b, x))))
        for a, b in zip(small, large, strict=True)
    ]


def _half_square(z: Any) -> tuple[Any, Any]:
    """The sine and the cosine of ``pi z**2 / 2``."""
    # z = whole + part with an even whole: z**2 / 2 is whole**2 / 2, which is even, whole * part and part**2 / 2.
    whole = 2.0 * floor(0.5 * z)
    part = z - whole
    first = whole * (part - floor(part * 64.0) / 64.0) + 0.5 * part * part
    turns = whole * (floor(part * 64.0) / 64.0)
    turns = turns - 2.0 * floor(0.5 * turns)
    return sin_pi(first + turns), cos_pi(first + turns)


def _fresnel_slopes(out: Any, x: Any) -> list[Any]:
    angle = x * x * (math.pi / 2)
    return [sin(angle), cos(angle)]


sici_p: Primitive = special(
    "sici",
    outputs=2,
    parts=lambda out, x: [over(sin(x), x, 1.0), cos(x) / x],
    decompose=_sici,
    samples=[(np.array([0.5, 2.25, 6.0]),)],
)
shichi_p: Primitive = special(
    "shichi",
    outputs=2,
    parts=lambda out, x: [over(sinh(x), x, 1.0), cosh(x) / x],
    decompose=_shichi,
    samples=[(np.array([0.5, -1.25, 3.0]),)],
)
fresnel_p: Primitive = special(
    "fresnel", outputs=2, parts=_fresnel_slopes, decompose=_fresnel, samples=[(np.array([0.5, -1.25, 2.5]),)]
)

# -- dilogarithm ------------------------------------------------------------------------------------------------------


def _spence(x: Any) -> Any:
    """Arguments are brought to ``1/2 ... 3/2`` by the reflection and the inversion formula of the dilogarithm."""
    inside = (x > 0.0) & (x < np.inf)
    z = select(inside, x, 1.0)
    large = z > 1.5
    small = z < 0.5
    w = select(large, 1.0 / z - 1.0, select(small, -z, z - 1.0))
    # 1 / z may still be below 1/2.
    far = z > 2.0
    w = select(far, -1.0 / z, w)
    core = w * rational(c.SPENCE, clamp(-0.5, w, 0.5))
    log_z = log(z)
    reflected = math.pi**2 / 6 - log_z * log1p(-select(small, z, 0.0)) - core
    inverse = -0.5 * log_z * log_z - core
    inverted = -0.5 * log_z * log_z - (math.pi**2 / 6 + log_z * log1p(-1.0 / select(far, z, 2.0)) - core)
    out = select(far, inverted, select(large, inverse, select(small, reflected, core)))
    edge = select(eq(x, 0.0), math.pi**2 / 6, pick(x, eq(x, np.inf), -np.inf, np.nan))
    return select(inside, out, edge)


def _spence_slope(t: Any, out: Any, x: Any) -> Any:
    """``log(x) / (1 - x)``, by the quotient ``log(1 + u) / u`` near 1, where it is smooth."""
    x = strong(x, out)
    u = x - 1.0
    near = magnitude(u) < 0.02
    s = select(near, u, 0.0)
    total: Any = 0.0
    for k in range(10, 0, -1):
        total = total * s + (1.0 if k % 2 else -1.0) / k
    return neg(mul(t, select(near, total, log(x) / select(near, 1.0, u))))


spence_p: Primitive = special("spence", _spence_slope, decompose=_spence, samples=[(np.array([0.25, 1.0, 3.0]),)])

# -- Owen's function --------------------------------------------------------------------------------------------------

_NODES = cache(lambda: np.polynomial.legendre.leggauss(24))


def _owens_t(h: Any, a: Any) -> Any:
    """Gauss-Legendre quadrature of the integral over ``a <= 1``, to which larger ``a`` are reflected."""
    y, slope = magnitude(h), magnitude(a)
    infinite = eq(slope, np.inf)
    b = select(infinite, 1.0, slope)
    beyond = b > 1.0
    reduced = select(beyond, 1.0 / b, b)
    height = select(beyond, b * y, y)
    bounded = smaller(height, 40.0)
    # Beyond 9 / h the integrand is below its rounding at 0.
    end = smaller(reduced, 9.0 / larger(bounded, 1e-3))
    dtype = aval_of(y + reduced).dtype
    nodes, weights = (n.astype(dtype) for n in _NODES())
    last = aval_of(height + reduced).ndim
    spread = expand_dims(end + 0.0 * bounded, (last,))
    s = spread * (0.5 * (nodes + 1.0))
    over_s = 1.0 + s * s
    terms = exp(expand_dims(-0.5 * bounded * bounded + 0.0 * end, (last,)) * over_s) / over_s * weights
    inner = end * reduce_sum(terms, (last,)) * (0.5 / (2.0 * math.pi))
    p, q = ndtr(-y), ndtr(-height)
    # T(h, a) + T(a h, 1 / a) in terms of the complements, which are small.
    reflected = 0.5 * (p + q) - p * q - inner
    out = select(infinite, 0.5 * ndtr(-y), select(beyond, reflected, inner))
    return select(logical_or(isnan(h), isnan(a)), np.nan, copysign(out, a))


def _owens_in_h(t: Any, out: Any, h: Any, a: Any) -> Any:
    h, a = strong(h, out), strong(a, out)
    return neg(mul(t, 0.5 * ndtr_slope(h) * erf(a * h * ROOT_HALF)))


def _owens_in_a(t: Any, out: Any, h: Any, a: Any) -> Any:
    h, a = strong(h, out), strong(a, out)
    return mul(t, exp(-0.5 * h * h * (1.0 + a * a)) / (1.0 + a * a) * (0.5 / math.pi))


owens_t_p: Primitive = special(
    "owens_t",
    _owens_in_h,
    _owens_in_a,
    arity=2,
    decompose=_owens_t,
    samples=[(np.array([0.5, -1.25, 2.0]), np.array([0.25, 1.5, -3.0]))],
)
