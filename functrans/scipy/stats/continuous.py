"""Continuous distributions of one variable, one record each."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from functrans import lax
from functrans.lax.special.bessel import bessel_i0e
from functrans.lax.special.distributions import (
    betainccinv_p,
    betaincinv_p,
    gammainccinv_p,
    gammaincinv_p,
    stdtr_p,
    stdtrit_p,
)
from functrans.lax.special.entropy import log_expit, logit, xlog1py, xlogy
from functrans.lax.special.incomplete_beta import betaincc, betaln
from functrans.lax.special.normal import log_ndtr, ndtr, ndtri
from functrans.scipy.stats.family import Continuous, both, positive

_LOG_2PI = math.log(2 * math.pi)
_LOG_2 = math.log(2.0)


def _zero(*shapes: Any) -> Any:
    return 0.0


def _one(*shapes: Any) -> Any:
    return 1.0


def _middle(*shapes: Any) -> Any:
    return 0.5


def _log1mexp(x: Any) -> Any:
    """``log(1 - exp(x))`` for ``x < 0``."""
    near = lax.gt(x, -_LOG_2)
    close = lax.log(-lax.expm1(lax.select(near, x, -1.0)))
    return lax.select(near, close, lax.log1p(-lax.exp(lax.select(near, -1.0, x))))


# -- unbounded ------------------------------------------------------------------------------------------------------

norm = Continuous(
    "norm",
    logpdf=lambda y: -0.5 * (y * y) - 0.5 * _LOG_2PI,
    cdf=ndtr,
    sf=lambda y: ndtr(-y),
    logcdf=log_ndtr,
    logsf=lambda y: log_ndtr(-y),
    ppf=ndtri,
    isf=lambda q: -ndtri(q),
)


def _by_side(y: Any, near: Any, far: Any) -> Any:
    """One function of ``-|y|`` for negative ``y``, another for positive ``y``."""
    z = -lax.abs(y)
    return lax.select(lax.lt(y, 0.0), near(z), far(z))


laplace = Continuous(
    "laplace",
    logpdf=lambda y: -lax.abs(y) - _LOG_2,
    cdf=lambda y: _by_side(y, lambda z: 0.5 * lax.exp(z), lambda z: 1.0 - 0.5 * lax.exp(z)),
    sf=lambda y: _by_side(y, lambda z: 1.0 - 0.5 * lax.exp(z), lambda z: 0.5 * lax.exp(z)),
    logcdf=lambda y: _by_side(y, lambda z: z - _LOG_2, lambda z: lax.log1p(-0.5 * lax.exp(z))),
    logsf=lambda y: _by_side(y, lambda z: lax.log1p(-0.5 * lax.exp(z)), lambda z: z - _LOG_2),
    ppf=lambda q: _laplace_quantile(q),
    isf=lambda q: -_laplace_quantile(q),
)


def _laplace_quantile(q: Any) -> Any:
    low = lax.lt(q, 0.5)
    tail = lax.select(low, q, 1.0 - q)
    return lax.select(low, 1.0, -1.0) * (lax.log(tail) + _LOG_2)


logistic = Continuous(
    "logistic",
    logpdf=lambda y: log_expit(y) + log_expit(-y),
    cdf=lax.logistic,
    sf=lambda y: lax.logistic(-y),
    logcdf=log_expit,
    logsf=lambda y: log_expit(-y),
    ppf=logit,
    isf=lambda q: -logit(q),
)


def _angle(y: Any) -> Any:
    """The angle of the point ``(y, 1)``, divided by pi: small for large ``y``."""
    return lax.atan2(1.0 + 0.0 * lax.stop_gradient(lax.select(lax.is_finite(y), y, 0.0)), y) * (1 / math.pi)


cauchy = Continuous(
    "cauchy",
    logpdf=lambda y: -math.log(math.pi) - _log1p_square(y),
    cdf=lambda y: _angle(-y),
    sf=_angle,
    ppf=lambda q: -_cotangent(q),
    isf=lambda q: _cotangent(q),
)


def _log1p_square(y: Any) -> Any:
    """``log(1 + y**2)``, where the square overflows too."""
    large = lax.gt(lax.abs(y), 1e8)
    small = lax.select(large, 0.0, y)
    return lax.select(large, 2.0 * lax.log(lax.abs(lax.select(large, y, 1.0))), lax.log1p(small * small))


def _cotangent(q: Any) -> Any:
    """``1 / tan(pi q)`` for probabilities."""
    end = lax.logical_or(lax.eq(q, 0.0), lax.eq(q, 1.0))
    edge = lax.select(lax.eq(q, 0.0), q + np.inf, q - np.inf)
    low = lax.lt(q, 0.5)
    angle = lax.select(low, q, 1.0 - q) * math.pi
    inner = lax.cos(angle) / lax.sin(lax.select(end, 1.0, angle))
    return lax.select(end, edge, lax.select(low, inner, -inner))


t = Continuous(
    "t",
    ["df"],
    logpdf=lambda y, df: (
        -betaln(0.5 * df, 0.5 + 0.0 * df) - 0.5 * lax.log(df) - 0.5 * (df + 1.0) * lax.log1p(y * y / df)
    ),
    cdf=lambda y, df: stdtr_p.bind(df, y),
    sf=lambda y, df: stdtr_p.bind(df, -y),
    ppf=lambda q, df: lax.select(lax.eq(q, 0.0), -np.inf, stdtrit_p.bind(df, q)),
    isf=lambda q, df: -lax.select(lax.eq(q, 0.0), -np.inf, stdtrit_p.bind(df, q)),
    valid=positive,
)


def _gennorm_tail(y: Any, beta: Any) -> Any:
    """Half of the probability of a modulus above that of ``y``."""
    return 0.5 * lax.igammac(1.0 / beta, _power(lax.abs(y), beta))


def _power(y: Any, exponent: Any) -> Any:
    zero = lax.eq(y, 0.0)
    return lax.select(zero, 0.0, lax.exp(exponent * lax.log(lax.select(zero, 1.0, y))))


def _log_gennorm(y: Any, beta: Any) -> Any:
    tail = _gennorm_tail(y, beta)
    low = lax.lt(y, 0.0)
    return lax.select(low, lax.log(tail), lax.log1p(-tail))


gennorm = Continuous(
    "gennorm",
    ["beta"],
    logpdf=lambda y, beta: lax.log(0.5 * beta) - lax.lgamma(1.0 / beta) - _power(lax.abs(y), beta),
    cdf=lambda y, beta: lax.select(lax.lt(y, 0.0), _gennorm_tail(y, beta), 1.0 - _gennorm_tail(y, beta)),
    sf=lambda y, beta: lax.select(lax.lt(y, 0.0), 1.0 - _gennorm_tail(y, beta), _gennorm_tail(y, beta)),
    logcdf=_log_gennorm,
    logsf=lambda y, beta: _log_gennorm(-y, beta),
    valid=positive,
)

# -- on half a line -------------------------------------------------------------------------------------------------

expon = Continuous(
    "expon",
    logpdf=lambda y: -y,
    support=(_zero, None),
    inner=_one,
    cdf=lambda y: -lax.expm1(-y),
    sf=lambda y: lax.exp(-y),
    logcdf=lambda y: _log1mexp(-y),
    logsf=lambda y: -y,
    ppf=lambda q: -lax.log1p(-q),
    isf=lambda q: -lax.log(q),
)
gamma = Continuous(
    "gamma",
    ["a"],
    logpdf=lambda y, a: xlogy(a - 1.0, y) - y - lax.lgamma(a),
    support=(_zero, None),
    inner=_one,
    cdf=lambda y, a: lax.igamma(a, y),
    sf=lambda y, a: lax.igammac(a, y),
    ppf=lambda q, a: gammaincinv_p.bind(a, q),
    isf=lambda q, a: gammainccinv_p.bind(a, q),
    valid=positive,
)
chi2 = Continuous(
    "chi2",
    ["df"],
    logpdf=lambda y, df: xlogy(0.5 * df - 1.0, 0.5 * y) - 0.5 * y - lax.lgamma(0.5 * df) - _LOG_2,
    support=(_zero, None),
    inner=_one,
    cdf=lambda y, df: lax.igamma(0.5 * df, 0.5 * y),
    sf=lambda y, df: lax.igammac(0.5 * df, 0.5 * y),
    ppf=lambda q, df: 2.0 * gammaincinv_p.bind(0.5 * df, q),
    isf=lambda q, df: 2.0 * gammainccinv_p.bind(0.5 * df, q),
    valid=positive,
)
pareto = Continuous(
    "pareto",
    ["b"],
    logpdf=lambda y, b: lax.log(b) - (b + 1.0) * lax.log(y),
    support=(_one, None),
    inner=lambda b: 2.0,
    cdf=lambda y, b: -lax.expm1(-b * lax.log(y)),
    sf=lambda y, b: lax.exp(-b * lax.log(y)),
    logcdf=lambda y, b: _log1mexp(-b * lax.log(y)),
    logsf=lambda y, b: -b * lax.log(y),
    ppf=lambda q, b: lax.exp(-lax.log1p(-q) / b),
    isf=lambda q, b: lax.exp(-lax.log(q) / b),
    valid=positive,
)

# -- on an interval -------------------------------------------------------------------------------------------------

uniform = Continuous(
    "uniform",
    logpdf=lambda y: 0.0 * y,
    support=(_zero, _one),
    inner=_middle,
    cdf=lambda y: y,
    sf=lambda y: 1.0 - y,
    ppf=lambda q: q,
    isf=lambda q: 1.0 - q,
)
beta = Continuous(
    "beta",
    ["a", "b"],
    logpdf=lambda y, a, b: xlogy(a - 1.0, y) + xlog1py(b - 1.0, -y) - betaln(a, b),
    support=(_zero, _one),
    inner=_middle,
    cdf=lambda y, a, b: lax.betainc(a, b, y),
    sf=lambda y, a, b: betaincc(a, b, y),
    ppf=lambda q, a, b: betaincinv_p.bind(a, b, q),
    isf=lambda q, a, b: betainccinv_p.bind(a, b, q),
    valid=positive,
)


def _log_mass(a: Any, b: Any) -> Any:
    """The logarithm of the normal probability of ``a ... b``, from the tails on the side where it lies."""
    right = lax.gt(a, 0.0)
    low, high = lax.select(right, -b, a), lax.select(right, -a, b)
    one_sided = lax.le(high, 0.0)
    top = log_ndtr(lax.select(one_sided, high, 0.0))
    gap = log_ndtr(lax.select(one_sided, low, -1.0)) - top
    outer = top + _log1mexp(lax.select(lax.lt(gap, 0.0), gap, -1.0))
    outer = lax.select(lax.lt(gap, 0.0), outer, -np.inf)
    central = lax.log1p(-ndtr(lax.select(one_sided, -1.0, low)) - ndtr(-lax.select(one_sided, 1.0, high)))
    return lax.select(one_sided, outer, central)


truncnorm = Continuous(
    "truncnorm",
    ["a", "b"],
    logpdf=lambda y, a, b: -0.5 * (y * y) - 0.5 * _LOG_2PI - _log_mass(a, b),
    support=(lambda a, b: a, lambda a, b: b),
    inner=lambda a, b: _inner(a, b),
    cdf=lambda y, a, b: lax.exp(_log_mass(a, y) - _log_mass(a, b)),
    sf=lambda y, a, b: lax.exp(_log_mass(y, b) - _log_mass(a, b)),
    logcdf=lambda y, a, b: _log_mass(a, y) - _log_mass(a, b),
    logsf=lambda y, a, b: _log_mass(y, b) - _log_mass(a, b),
    valid=lambda a, b: lax.lt(a, b),
)


def _inner(a: Any, b: Any) -> Any:
    """A number between two bounds, which may be infinite."""
    low = lax.select(lax.is_finite(a), a, lax.select(lax.is_finite(b), b - 1.0, -1.0))
    high = lax.select(lax.is_finite(b), b, lax.select(lax.is_finite(a), a + 1.0, 1.0))
    return lax.stop_gradient(0.5 * (low + high))


vonmises = Continuous(
    "vonmises",
    ["kappa"],
    logpdf=lambda y, kappa: kappa * (lax.cos(y) - 1.0) - _LOG_2PI - lax.log(bessel_i0e(kappa)),
    valid=lambda kappa: lax.ge(kappa, 0.0),
)
wrapcauchy = Continuous(
    "wrapcauchy",
    ["c"],
    logpdf=lambda y, c: lax.log1p(-c * c) - _LOG_2PI - lax.log1p(c * c - 2.0 * c * lax.cos(y)),
    support=(_zero, lambda c: 2 * math.pi),
    inner=_one,
    valid=lambda c: both(lax.gt(c, 0.0), lax.lt(c, 1.0)),
)
