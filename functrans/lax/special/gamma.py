"""The gamma function, its logarithm and the derivatives of that, and the zeta function, element by element.

The decompositions are rational approximations (``coefficients``), Stirling's series, reflection for negative
arguments, and the Euler-Maclaurin formula for the zeta function. Their errors, in units of the rounding ``eps`` of the
dtype, stand with the functions. Negative arguments of ``lgamma`` and ``digamma`` have these errors relative to the
larger terms of the reflection formula: their zeros there are located to that.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from functrans.core.primitive import Primitive
from functrans.core.structural import convert
from functrans.core.trace import aval_of
from functrans.lax.arithmetic import mul, strong
from functrans.lax.compare import eq, isnan, logical_or
from functrans.lax.exponential import exp, log
from functrans.lax.magnitude import abs as magnitude
from functrans.lax.magnitude import clamp
from functrans.lax.magnitude import max as larger
from functrans.lax.magnitude import min as smaller
from functrans.lax.magnitude import sign as signum
from functrans.lax.power import pow as power
from functrans.lax.rounding import floor
from functrans.lax.selection import select
from functrans.lax.special import coefficients as c
from functrans.lax.special.define import derivatives, refused, special
from functrans.lax.special.series import LOG_2PI, ROOT_2PI, cos_pi, eps, rational, sin_pi
from functrans.lax.trigonometric import tan

SAMPLE = np.array([0.5, 3.25, 12.0])
_NEGATIVE = np.array([-0.5, -1.5])

# -- log gamma --------------------------------------------------------------------------------------------------------


def lgamma1p(x: Any) -> Any:
    """``log(gamma(1 + x))`` for ``-1/2 <= x <= 1/2``."""
    return x * rational(c.LGAMMA_1, x)


def _lgamma(x: Any) -> Any:
    y = magnitude(x)
    low = y < 0.5
    log_y = log(select(low, y, 1.0))
    near_one = lgamma1p(clamp(-0.5, select(low, y, y - 1.0), 0.5)) - log_y
    u = clamp(-0.5, y - 2.0, 2.0)
    near_two = u * rational(c.LGAMMA_2, u)
    z = larger(y, 4.0)
    far = (z - 0.5) * (log(z) - 1.0) + (0.5 * LOG_2PI - 0.5) + rational(c.STIRLING, (1.0 / z) * (1.0 / z)) / z
    positive = select(y < 1.5, near_one, select(y < 4.0, near_two, far))
    reflected = -(log(magnitude(sin_pi(y)) / math.pi) + log(y)) - positive
    return select(logical_or(x >= 0.0, isnan(x)), positive, select(eq(y, np.inf), x, reflected))


lgamma_p: Primitive = special(
    "lgamma",
    lambda t, out, x: mul(t, digamma(x)),
    scipy="gammaln",
    decompose=_lgamma,
    samples=[(SAMPLE,), (_NEGATIVE,)],
)


# -- gamma ------------------------------------------------------------------------------------------------------------


def gamma_ratio(x: Any) -> Any:
    """``gamma(x) / (sqrt(2 pi) x**(x - 1/2) exp(-x))`` for ``x >= 1``."""
    return rational(c.GAMMA_STAR, 1.0 / x)


def _gamma(x: Any) -> Any:
    y = magnitude(x)
    low = y < 1.0
    # Beyond the bound gamma is infinite, and its factors would be infinity times zero.
    z = smaller(select(low, y + 1.0, y), 200.0 if eps(x) < 1e-10 else 40.0)
    half = power(z, 0.5 * z - 0.25)
    whole = half * (exp(-z) * half) * gamma_ratio(z) * ROOT_2PI
    positive = select(low, whole / y, whole)
    reflected = (-math.pi / sin_pi(y)) / (y * positive)
    pole = eq(floor(x), x)
    out = select(x > 0.0, positive, select(pole, np.nan, reflected))
    # A zero has a sign, which 1 / x keeps.
    return select(eq(x, 0.0), 1.0 / x, select(isnan(x), x, out))


gamma_p: Primitive = special(
    "gamma",
    lambda t, out, x: mul(t, mul(out, digamma(x))),
    decompose=_gamma,
    samples=[(np.array([0.5, 3.25, 1.5]),), (_NEGATIVE,)],
)


def _rgamma(x: Any) -> Any:
    pole = logical_or(eq(x, 0.0), (x < 0.0) & eq(floor(x), x))
    # Beyond 170 gamma overflows before its reciprocal is zero.
    far = x > 150.0
    z = select(far, x, 160.0)
    tail = exp(-lgamma(z))
    pole = logical_or(pole, eq(x, -np.inf))
    return select(pole, 0.0, select(far, tail, 1.0 / gamma(select(logical_or(pole, far), 1.0, x))))


def _rgamma_rule(t: Any, out: Any, x: Any) -> Any:
    """``-digamma(x) / gamma(x)``; at a pole ``-n`` of gamma its limit ``(-1)**n n!``."""
    x = strong(x, out)
    pole = (x <= 0.0) & eq(floor(x), x)
    factorial = cos_pi(x) * gamma(select(pole, 1.0 - x, 1.0))
    return mul(t, select(pole, factorial, -out * digamma(select(pole, 1.0, x))))


rgamma_p: Primitive = special("rgamma", _rgamma_rule, decompose=_rgamma, samples=[(SAMPLE,), (_NEGATIVE,)])


def _gammasgn(x: Any) -> Any:
    down = floor(x)
    odd = floor(down * 0.5) * 2.0 < down
    negative = select(eq(down, x), np.nan, select(odd, -1.0 + 0.0 * x, 1.0 + 0.0 * x))
    zero = signum(1.0 / select(eq(x, 0.0), x, 1.0))
    return select(x > 0.0, 1.0 + 0.0 * select(eq(x, np.inf), 0.0, x), select(eq(x, 0.0), zero, negative))


gammasgn_p: Primitive = special(
    "gammasgn",
    jvp=None,
    decompose=_gammasgn,
    samples=[(np.array([-1.5, -0.5, 2.5]),)],
)

# -- digamma, polygamma -----------------------------------------------------------------------------------------------

# The positive zero of digamma, in two parts: the first is exact in single precision.
_ROOT = 1.4616321325302124
_ROOT_REST = 1.2438149938918909e-08


def _digamma(x: Any) -> Any:
    y = select(x < 0.0, 1.0 - x, x)
    low = y < 1.0
    u = clamp(1.0, select(low, y + 1.0, y), 2.5)
    near = ((u - _ROOT) - _ROOT_REST) * rational(c.DIGAMMA_1, u)
    middle = rational(c.DIGAMMA_2, clamp(2.5, y, 10.0))
    z = larger(y, 10.0)
    w = (1.0 / z) * (1.0 / z)
    # The asymptotic series, of which the terms are Bernoulli numbers B_2k / 2k.
    series = w * (1 / 12 - w * (1 / 120 - w * (1 / 252 - w * (1 / 240 - w * (1 / 132 - w * (691 / 32760 - w / 12))))))
    far = log(z) - 0.5 / z - series
    positive = select(y < 2.5, near, select(y < 10.0, middle, far))
    positive = select(low, positive - 1.0 / select(low, y, 1.0), positive)
    inner = x - floor(x)
    pole = eq(inner, 0.0)
    # 1 / tan(pi x): the argument is brought near 0, where tan is steepest.
    angle = select(inner > 0.5, inner - 1.0, inner) * math.pi
    reflected = positive - math.pi / tan(select(pole, 1.0, angle))
    at_pole = select(eq(x, 0.0), -1.0 / x, np.nan)
    out = select(x < 0.0, select(pole, np.nan, reflected), select(eq(x, 0.0), at_pole, positive))
    return out


digamma_p: Primitive = special(
    "digamma",
    lambda t, out, x: mul(t, polygamma(1.0, x)),
    scipy="psi",
    decompose=_digamma,
    samples=[(SAMPLE,), (_NEGATIVE,)],
)


def _polygamma(n: Any, x: Any) -> Any:
    order = n + 1.0
    factor = select(eq(floor(n * 0.5) * 2.0, n), -1.0 + 0.0 * n, 1.0 + 0.0 * n) * gamma(order)
    zero = eq(n, 0.0)
    return select(zero, digamma(x), factor * zeta(select(zero, 2.0, order), x))


def _polygamma_value(library: Any, n: Any, x: Any) -> Any:
    factor = (-1.0) ** (n + 1.0) * library.gamma(n + 1.0)
    return np.where(n == 0, library.psi(x), factor * library.zeta(n + 1.0, x)).astype(x.dtype)


polygamma_p: Primitive = special(
    "polygamma",
    refused("polygamma", "its order n"),
    lambda t, out, n, x: mul(t, polygamma(strong(n, out) + 1.0, x)),
    arity=2,
    scipy="",
    value=_polygamma_value,
    decompose=_polygamma,
    samples=[(np.array([0.0, 1.0, 3.0]), SAMPLE), (1.0, np.array([[0.25], [1.5]]))],
    diff=(1,),
)

# -- zeta -------------------------------------------------------------------------------------------------------------

_TERMS = 9
# (2k)! / B_2k, by which the terms of the Euler-Maclaurin formula are divided.
_EULER_MACLAURIN = (
    12.0,
    -720.0,
    30240.0,
    -1209600.0,
    47900160.0,
    -1307674368000 / 691,
    74724249600.0,
    -10670622842880000 / 3617,
    5109094217170944000 / 43867,
    -802857662698291200000 / 174611,
    14101100039391805440000 / 77683,
    -1693824136731743669452800000 / 236364091,
)


def euler_maclaurin(s: Any, q: Any) -> Any:
    """The zeta function for ``s > 0`` and ``q > 0`` by the Euler-Maclaurin formula; any derivative of it too."""
    total = power(q, -s)
    a = q
    for _ in range(_TERMS):
        a = a + 1.0
        total = total + power(a, -s)
    b = power(a, -s)
    total = total + b * a / (s - 1.0) - 0.5 * b
    term = b * (s / a)
    k = 0.0
    for divisor in _EULER_MACLAURIN:
        total = total + term * (1 / divisor)
        term = term * ((s + (k + 1.0)) / a) * ((s + (k + 2.0)) / a)
        k += 2.0
    return total


def _zeta(s: Any, q: Any) -> Any:
    valid = s > 1.0
    order = select(valid, s, 2.0)
    down = floor(q)
    negative = q < 0.0
    fraction = q - down
    whole = eq(fraction, 0.0)
    # Terms of negative q + k are those of positive ones but for a sign: zeta(s, 1 - f) less what q + k has no term for.
    start = select(negative, select(whole, 1.0, fraction), select(q > 0.0, q, 1.0))
    out = euler_maclaurin(order, start)
    sign = select(eq(floor(order * 0.5) * 2.0, order), 1.0 + 0.0 * order, -1.0 + 0.0 * order)
    rest = euler_maclaurin(order, 1.0 - select(negative, select(whole, 0.5, fraction), 0.5)) - euler_maclaurin(
        order, select(negative, 1.0 - q, 1.0)
    )
    out = select(negative, out + sign * rest, out)
    out = select(negative & (floor(order) < order), np.nan, out)
    out = select((q <= 0.0) & whole, np.inf, out)
    out = select(eq(s, np.inf) & (q > 1.0), 0.0, select(eq(q, np.inf), 0.0, out))
    out = select(eq(s, 1.0), np.inf, select(valid, out, np.nan))
    return select(logical_or(isnan(q), isnan(s)), q + s, out)


def _zeta_slope(s: Any, q: Any) -> Any:
    s = convert(s, aval_of(s).dtype)
    return -s * zeta(s + 1.0, q)


zeta_p: Primitive = special(
    "zeta",
    lambda t, out, s, q: mul(t, _zeta_in_s(s, q, out)),
    lambda t, out, s, q: mul(t, _zeta_slope(strong(s, out), q)),
    arity=2,
    scipy="_zeta",
    value=lambda library, s, q: library.zeta(s, q),
    decompose=_zeta,
    safe=2.0,
    samples=[(np.array([1.5, 2.0, 7.0]), SAMPLE), (3.0, np.array([[0.25], [1.5]]))],
)

zeta_grad_p: Primitive = derivatives(
    "zeta_grad", euler_maclaurin, (0,), {1: _zeta_slope}, arity=2, samples=[(np.array([1.5, 2.0, 7.0]), SAMPLE)]
)


def _zeta_in_s(s: Any, q: Any, out: Any) -> Any:
    """The derivative in ``s``, for ``s > 1`` and ``q > 0``; NaN elsewhere, where it is infinite or not real."""
    s, q = strong(s, out), strong(q, out)
    regular = (s > 1.0) & (q > 0.0)
    inside = zeta_grad_p.bind(select(regular, s, 2.0), select(regular, q, 1.0), orders=(1, 0))
    return select(regular, inside, np.nan)


# -- public -----------------------------------------------------------------------------------------------------------


def lgamma(x: Any) -> Any:
    """The logarithm of the modulus of the gamma function of floats; its derivative is ``digamma``.

    SciPy computes it where it is installed; the decomposition is within 6 eps (relative) for positive operands.

    Raises:
        DTypeError: the operand holds no floats, or floats of more than double precision.

    >>> lgamma(np.array([1.0, 0.5, 10.0]))
    array([ 0.        ,  0.57236494, 12.80182748])
    """
    return lgamma_p.bind(x)


def gamma(x: Any) -> Any:
    """The gamma function of floats: NaN at negative integers, an infinity with the sign of zero at zero.

    The decomposition is within 12 eps, and within 100 eps for results above 1e150.

    >>> gamma(np.array([5.0, 0.5]))
    array([24.        ,  1.77245385])
    """
    return gamma_p.bind(x)


def rgamma(x: Any) -> Any:
    """``1 / gamma(x)``, 0 at the poles of gamma."""
    return rgamma_p.bind(x)


def gammasgn(x: Any) -> Any:
    """The sign of the gamma function: NaN at negative integers. Its derivative is zero."""
    return gammasgn_p.bind(x)


def digamma(x: Any) -> Any:
    """The derivative of ``lgamma``. The decomposition is within 8 eps for positive operands.

    >>> digamma(np.array([1.0, 10.0]))
    array([-0.57721566,  2.25175259])
    """
    return digamma_p.bind(x)


def polygamma(m: Any, x: Any) -> Any:
    """The derivative of order ``m`` of ``digamma``, for floats ``m`` that are whole numbers of at least 0.

    The decomposition has the error of ``zeta``. There is no derivative in ``m``: it raises NotDifferentiableError.

    >>> polygamma(1.0, np.array([1.0, 10.0]))
    array([1.64493407, 0.10516634])
    """
    return polygamma_p.bind(m, x)


def zeta(x: Any, q: Any) -> Any:
    """The Hurwitz zeta function ``sum of (q + k)**-x over k = 0, 1, ...`` of floats, for ``x > 1``.

    It is infinite for ``x = 1`` and where ``q`` is 0 or a negative integer, and NaN for ``x < 1`` and where a term of
    negative ``q + k`` is not real. The decomposition is within 30 eps. The derivative in ``x`` is that of the
    Euler-Maclaurin formula, for ``q > 0``; NaN elsewhere.

    >>> zeta(2.0, np.array([1.0, 2.0]))
    array([1.64493407, 0.64493407])
    """
    return zeta_p.bind(x, q)
