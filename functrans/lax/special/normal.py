"""The normal distribution function, its inverse, and the relatives of the error function, element by element.

The decompositions are rational approximations (``coefficients``), in the variables of W. J. Cody, "Rational Chebyshev
approximations for the error function" (1969), and of M. J. Wichura, "The percentage points of the normal distribution",
algorithm AS 241 (1988).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from functrans.core.primitive import Primitive
from functrans.lax.arithmetic import mul, neg, strong
from functrans.lax.compare import eq, isnan
from functrans.lax.error_functions import erf, erfc
from functrans.lax.exponential import exp, log, log1p
from functrans.lax.magnitude import abs as magnitude
from functrans.lax.magnitude import clamp, copysign
from functrans.lax.magnitude import max as larger
from functrans.lax.magnitude import min as smaller
from functrans.lax.power import sqrt
from functrans.lax.rounding import rint
from functrans.lax.selection import select
from functrans.lax.special import coefficients as c
from functrans.lax.special.define import special
from functrans.lax.special.series import rational
from functrans.lax.special.tails import erf_near, erfcx_positive

ROOT_HALF = math.sqrt(0.5)
ROOT_PI = math.sqrt(math.pi)
TWO_BY_ROOT_PI = 2 / ROOT_PI
SAMPLE = np.array([0.5, -1.5, 3.0])
_INSIDE = np.array([0.5, -0.25, 0.75])
_PROBABILITIES = np.array([0.25, 0.5, 0.8])

# -- the error function and its scaled complement ---------------------------------------------------------------------


def _erfcx(x: Any) -> Any:
    y = magnitude(x)
    low = y < 0.5
    s = select(low, x, 0.0)
    tail = erfcx_positive(y)
    bounded = smaller(y, 30.0)
    # The square in two parts, the first of which is exact.
    head = rint(bounded * 16.0) * 0.0625
    grown = exp(head * head) * exp((bounded - head) * (bounded + head))
    return select(low, exp(s * s) * (1.0 - erf_near(s)), select(x < 0.0, 2.0 * grown - tail, tail))


def erfcx_slope(out: Any, x: Any) -> Any:
    """``2 x erfcx(x) - 2 / sqrt(pi)``, by its asymptotic series where the terms cancel."""
    far = x > 30.0
    v = 1.0 / select(far, x, 30.0)
    w = v * v
    series = (-1 / ROOT_PI) * w * (1.0 - w * (1.5 - w * (3.75 - w * (13.125 - w * 59.0625))))
    return select(far, series, 2.0 * select(far, 0.0, x) * out - TWO_BY_ROOT_PI)


erfcx_p: Primitive = special(
    "erfcx", lambda t, out, x: mul(t, erfcx_slope(out, strong(x, out))), decompose=_erfcx, samples=[(SAMPLE,)]
)


# -- inverses ---------------------------------------------------------------------------------------------------------


def quantile(centered: Any, tail: Any) -> Any:
    """The normal quantile of ``p``, from ``p - 1/2`` and from ``min(p, 1 - p)``, each of them exact."""
    central = magnitude(centered) <= 0.425
    q = select(central, centered, 0.0)
    inner = q * rational(c.NDTRI_0, 0.180625 - q * q)
    r = sqrt(-log(select(central, 0.25, tail)))
    outer = select(r < 5.0, rational(c.NDTRI_1, clamp(1.0, r, 5.0)), rational(c.NDTRI_2, clamp(5.0, r, 28.0)))
    outer = select(eq(tail, 0.0), np.inf, select(tail >= 0.0, outer, np.nan))
    return select(central, inner, select(centered > 0.0, outer, -outer))


def _ndtri(p: Any) -> Any:
    return quantile(p - 0.5, select(p < 0.5, p, 1.0 - p))


def _erfinv(x: Any) -> Any:
    # Near 0 half of the smallest numbers would be rounded.
    return select(magnitude(x) < 1e-10, x * (0.5 * ROOT_PI), ROOT_HALF * quantile(0.5 * x, 0.5 * (1.0 - magnitude(x))))


def _erfcinv(y: Any) -> Any:
    return -ROOT_HALF * quantile(0.5 * (y - 1.0), 0.5 * select(y < 1.0, y, 2.0 - y))


def _inverse_slope(out: Any) -> Any:
    """The reciprocal of the slope of the error function at ``out``."""
    return exp(out * out) * (0.5 * ROOT_PI)


erf_inv_p: Primitive = special(
    "erf_inv",
    lambda t, out, x: mul(t, _inverse_slope(out)),
    scipy="erfinv",
    decompose=_erfinv,
    samples=[(_INSIDE,)],
)
erfcinv_p: Primitive = special(
    "erfcinv",
    lambda t, out, x: neg(mul(t, _inverse_slope(out))),
    decompose=_erfcinv,
    samples=[(np.array([0.5, 1.25, 0.375]),)],
)
ndtri_p: Primitive = special(
    "ndtri",
    lambda t, out, p: mul(t, exp(0.5 * out * out) * math.sqrt(2 * math.pi)),
    decompose=_ndtri,
    samples=[(_PROBABILITIES,)],
)

# -- the distribution function ----------------------------------------------------------------------------------------


def _ndtr(x: Any) -> Any:
    u = x * ROOT_HALF
    inner = magnitude(u) < ROOT_HALF
    return select(inner, 0.5 + 0.5 * erf(select(inner, u, 0.0)), 0.5 * erfc(-u))


def ndtr_slope(x: Any) -> Any:
    """The density of the normal distribution."""
    z = clamp(-40.0, x, 40.0)
    return exp(-0.5 * z * z) * (1 / math.sqrt(2 * math.pi))


def _log_ndtr(x: Any) -> Any:
    low = x < -1.0
    z = select(low, x, -1.0)
    below = log(0.5 * erfcx(-z * ROOT_HALF)) - 0.5 * z * z
    return select(low, below, log1p(-0.5 * erfc(select(low, 0.0, x) * ROOT_HALF)))


def _log_ndtr_slope(x: Any) -> Any:
    """The density divided by the distribution function; neither is computed where it underflows."""
    high = x > 0.0
    low = math.sqrt(2 / math.pi) / erfcx(-select(high, 0.0, x) * ROOT_HALF)
    return select(high, ndtr_slope(x) / ndtr(select(high, x, 0.0)), low)


ndtr_p: Primitive = special(
    "ndtr", lambda t, out, x: mul(t, ndtr_slope(strong(x, out))), decompose=_ndtr, samples=[(SAMPLE,)]
)
log_ndtr_p: Primitive = special(
    "log_ndtr",
    lambda t, out, x: mul(t, _log_ndtr_slope(strong(x, out))),
    decompose=_log_ndtr,
    samples=[(SAMPLE,)],
)

# -- Dawson's integral ------------------------------------------------------------------------------------------------


def _dawsn(x: Any) -> Any:
    y = magnitude(x)
    s = clamp(-2.5, x, 2.5)
    inner = s * rational(c.DAWSN_0, s * s)
    m = clamp(2.5, y, 5.0)
    v = 1.0 / larger(y, 5.0)
    outer = select(y < 5.0, rational(c.DAWSN_1, m) / m, v * rational(c.DAWSN_2, v * v))
    return select(y < 2.5, inner, copysign(outer, x))


def _dawsn_slope(out: Any, x: Any) -> Any:
    """``1 - 2 x dawsn(x)``, by its asymptotic series where the terms cancel."""
    far = magnitude(x) > 30.0
    v = 1.0 / select(far, x, 30.0)
    w = v * v
    series = -w * (0.5 + w * (0.75 + w * (1.875 + w * (6.5625 + w * 29.53125))))
    return select(far, series, 1.0 - 2.0 * select(far, 0.0, x) * out)


dawsn_p: Primitive = special(
    "dawsn", lambda t, out, x: mul(t, _dawsn_slope(out, strong(x, out))), decompose=_dawsn, samples=[(SAMPLE,)]
)


def _erfi(x: Any) -> Any:
    y = magnitude(x)
    bounded = smaller(y, 30.0)
    head = rint(bounded * 16.0) * 0.0625
    grown = exp(head * head) * exp((bounded - head) * (bounded + head))
    return select(isnan(x), x, dawsn(copysign(bounded, x)) * grown * TWO_BY_ROOT_PI)


erfi_p: Primitive = special(
    "erfi",
    lambda t, out, x: mul(t, exp(strong(x, out) * x) * TWO_BY_ROOT_PI),
    decompose=_erfi,
    samples=[(SAMPLE,)],
)

# -- public -----------------------------------------------------------------------------------------------------------


def erf_inv(x: Any) -> Any:
    """The inverse of ``erf``: infinite at -1 and 1, NaN beyond. The decomposition is within 6 eps.

    >>> erf_inv(np.array([0.5, 1.0]))
    array([0.47693628,        inf])
    """
    return erf_inv_p.bind(x)


def erfcinv(y: Any) -> Any:
    """The inverse of ``erfc``, also where that is small."""
    return erfcinv_p.bind(y)


def erfcx(x: Any) -> Any:
    """``exp(x**2) erfc(x)``, without overflow for positive ``x``. The decomposition is within 6 eps.

    >>> erfcx(np.array([0.0, 100.0]))
    array([1.        , 0.00564161])
    """
    return erfcx_p.bind(x)


def erfi(x: Any) -> Any:
    """The imaginary error function ``-i erf(i x)``."""
    return erfi_p.bind(x)


def dawsn(x: Any) -> Any:
    """Dawson's integral ``exp(-x**2) * integral of exp(t**2) from 0 to x``. The decomposition is within 6 eps."""
    return dawsn_p.bind(x)


def ndtr(x: Any) -> Any:
    """The distribution function of the standard normal distribution."""
    return ndtr_p.bind(x)


def ndtri(p: Any) -> Any:
    """The inverse of ``ndtr``: infinite at 0 and 1, NaN beyond. The decomposition is within 6 eps.

    >>> ndtri(np.array([0.5, 0.975]))
    array([0.        , 1.95996398])
    """
    return ndtri_p.bind(p)


def log_ndtr(x: Any) -> Any:
    """``log(ndtr(x))``, also where ``ndtr`` underflows; so its derivatives.

    The decomposition is within 8 eps, and within ``x**2`` eps for large ``x``.

    >>> log_ndtr(np.array([-100.0, 0.0]))
    array([-5.00552421e+03, -6.93147181e-01])
    """
    return log_ndtr_p.bind(x)
