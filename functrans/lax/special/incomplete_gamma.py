"""The regularized incomplete gamma functions, and their derivatives in the parameter.

Everything is a common factor ``x**a exp(-x) / gamma(a)``, computed without cancellation after C. Loader, "Fast and
accurate computation of binomial probabilities" (2000), times a slowly varying function: a power series for small ``x``
or ``x < a``, a continued fraction for ``x > a``, and around ``x = a``, for ``a >= 100``, the uniform asymptotic
expansion of N. M. Temme, "The asymptotic expansion of the incomplete gamma functions" (1979); NIST Digital Library of
Mathematical Functions, 8.7, 8.9 and 8.12. Derivatives in ``a`` are those of the same expressions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from functrans.core.primitive import Primitive
from functrans.lax.arithmetic import mul, neg, strong
from functrans.lax.compare import eq, isnan, logical_not, logical_or
from functrans.lax.error_functions import erfc
from functrans.lax.exponential import exp, expm1, log
from functrans.lax.magnitude import abs as magnitude
from functrans.lax.magnitude import min as smaller
from functrans.lax.power import pow as power
from functrans.lax.power import sqrt
from functrans.lax.selection import select, stop_gradient
from functrans.lax.special import coefficients as c
from functrans.lax.special.define import derivatives, special, with_derivative
from functrans.lax.special.entropy import xlogy
from functrans.lax.special.gamma import digamma, gamma_ratio, lgamma, lgamma1p
from functrans.lax.special.normal import erfcx
from functrans.lax.special.series import continued_fraction, eps, inner_deviance, iterate, pick, polynomial, rational

_LARGE = 100.0
_NEAR = 0.2
_MARGIN = 6
Pair = tuple[Any, Any]

# -- the common factor ------------------------------------------------------------------------------------------------


def gamma_weight(a: Any) -> tuple[Any, Any]:
    """``a**a exp(-a) / gamma(a)`` for ``a > 0``, and ``gamma_ratio(a)`` where ``a >= 1``."""
    low = a < 1.0
    small = select(low, a, 0.5)
    z = select(low, a + 1.0, a)
    ratio = gamma_ratio(z)
    # From a + 1 back to a.
    back = small / (small + 1.0)
    return select(low, back * power(back, small) * math.e, 1.0) * sqrt(z * (1 / (2 * math.pi))) / ratio, ratio


def _factor(a: Any, x: Any) -> tuple[Any, Any]:
    """``x**a exp(-x) / gamma(a)``, and ``gamma_ratio(a)`` where ``a >= 1``."""
    near = magnitude(x - a) < 0.3 * a
    ratio = select(near, (x - a) / a, 0.0)
    # Where a is small, x / a may overflow.
    small = a < 1.0
    far = log(x / select(small, 1.0, a)) - log(select(small, a, 1.0))
    exponent = select(near, -a * inner_deviance(ratio), a * far + (a - x))
    weight, ratio = gamma_weight(a)
    return weight * exp(exponent), ratio


# -- the slowly varying functions -------------------------------------------------------------------------------------


def _series(a: Any, x: Any, margin: int) -> Any:
    """The lower function divided by the factor: the sum of ``x**n / (a (a + 1) ... (a + n))``."""
    tolerance = eps(x) / 4
    first = 1.0 / a + 0.0 * x

    def step(n: Any, values: tuple[Any, ...]) -> tuple[Pair, Any]:
        term, total = values
        term = term * (x / (a + n))
        return (term, total + term), term > tolerance * total

    return iterate(step, (first, first), 400, margin)[1]


def _fraction(a: Any, x: Any, margin: int) -> Any:
    """The upper function divided by the factor, by its continued fraction."""

    def of(a: Any) -> tuple[Any, Any]:
        first = x + 1.0 - a
        return first, lambda n: (n * (a - n), first + 2.0 * n)

    # For whole numbers the fraction ends, and its derivative does not.
    guide = of(stop_gradient(a) - 0.37) if margin else None
    return continued_fraction(*of(a), 500, margin, guide)


def _small_upper(a: Any, x: Any, margin: int) -> Any:
    """The upper function for ``x < 1.1`` and small ``a``, where the lower one is near 1."""
    tolerance = eps(x) / 4
    zero = 0.0 * (a + x)

    def step(n: Any, values: tuple[Any, ...]) -> tuple[Pair, Any]:
        power, total = values
        power = power * (-x / n)
        term = power / (a + n)
        return (power, total + term), magnitude(term) > tolerance * magnitude(total)

    total = iterate(step, (zero + 1.0, zero), 60, margin)[1]
    exponent = a * log(x) - lgamma1p(a)
    return -expm1(exponent) - exp(exponent) * a * total


def _expansion(a: Any, x: Any) -> Pair:
    """Temme's expansion: the argument of the complementary error function, and the sum that corrects it."""
    mu = (x - a) / a
    eta = mu * sqrt(2.0 * rational(c.LOG1PMX, mu))
    rows = c.TEMME if eps(x) < 1e-10 else tuple(row[:5] for row in c.TEMME[:2])
    total: Any = polynomial(rows[-1], eta)
    for row in reversed(rows[:-1]):
        total = polynomial(row, eta) + total / a
    return eta * sqrt(0.5 * a), total


class _Regions:
    """Which expression serves an element, and operands of each that are harmless where it does not."""

    def __init__(self, a: Any, x: Any) -> None:
        inside = (a > 0.0) & (x > 0.0) & (x < np.inf) & (a < np.inf)
        a, x = select(inside, a, 1.0), select(inside, x, 0.5)
        self.inside = inside
        self.a, self.x = a, x
        self.temme = (a >= _LARGE) & (magnitude(x - a) < _NEAR * a)
        split = select(x < 0.5, -0.4 / log(smaller(x, 0.5)), x * (1 / 1.1))
        low = x < 1.1
        self.tiny = low & (a < split)
        self.lower = logical_not(self.temme) & select(low, a >= split, x < a)
        self.upper = logical_not(logical_or(self.temme, logical_or(self.lower, self.tiny)))

    def of(self, region: Any, a: float, x: float) -> Pair:
        """The operands of a region; elsewhere numbers for which its loop ends at once."""
        return select(region, self.a, a), select(region, self.x, x)


def _both(a: Any, x: Any, margin: int = 0) -> Pair:
    """The lower and the upper function inside their domain, each to full relative precision."""
    r = _Regions(a, x)
    factor, ratio = _factor(r.a, r.x)
    lower = factor * _series(*r.of(r.lower, 1.0, 1e-3), margin)
    upper = factor * _fraction(*r.of(r.upper, 1.0, 50.0), margin)
    tiny = _small_upper(*r.of(r.tiny, 0.125, 1e-3), margin)
    at, xt = r.of(r.temme, 100.0, 100.0)
    z, total = _expansion(at, xt)
    correction = factor * ratio / at * total
    q = select(r.temme, 0.5 * erfc(z) + correction, select(r.tiny, tiny, upper))
    p = select(r.temme, 0.5 * erfc(-z) - correction, lower)
    known_q = logical_or(r.upper, r.tiny)
    return select(known_q, 1.0 - q, p), select(r.lower, 1.0 - p, q)


def _edges(a: Any, x: Any, inside: Any, at_zero: float) -> Any:
    """Values on the boundary of the domain, NaN beyond it."""
    valid = (a >= 0.0) & (x >= 0.0)
    low = logical_or(eq(x, 0.0) & (a > 0.0), eq(a, np.inf) & (x < np.inf))
    high = logical_or(eq(a, 0.0) & (x > 0.0), eq(x, np.inf) & (a < np.inf))
    edge = select(valid & low, at_zero, pick(x, valid & high, 1.0 - at_zero, np.nan))
    return select((a > 0.0) & (x > 0.0) & (x < np.inf) & (a < np.inf), inside, edge)


def _igamma(a: Any, x: Any) -> Any:
    return _edges(a, x, _both(a, x)[0], 0.0)


def _igammac(a: Any, x: Any) -> Any:
    return _edges(a, x, _both(a, x)[1], 1.0)


# -- derivatives ------------------------------------------------------------------------------------------------------


def _density(a: Any, x: Any) -> Any:
    """The derivative of the lower function in ``x``: the density of the gamma distribution."""
    return exp(xlogy(a - 1.0, x) - x - lgamma(a))


def _for_derivatives(a: Any, x: Any) -> Any:
    inside = (a > 0.0) & (x > 0.0) & (x < np.inf) & (a < np.inf)
    return select(inside, _both(a, x, _MARGIN)[0], 0.0)


_SAMPLES = [
    (np.array([0.5, 3.0, 50.0]), np.array([0.3, 4.5, 45.0])),
    (np.array([[0.75], [2.0]]), np.array([0.25, 2.5])),
]

igamma_grad_p: Primitive = derivatives(
    "igamma_grad_a", _for_derivatives, (0,), {1: _density}, arity=2, samples=_SAMPLES[:1]
)


def _in_a(sign: Callable[[Any], Any]) -> Any:
    return lambda t, out, a, x: sign(mul(t, igamma_grad_a(a, x)))


def _in_x(sign: Callable[[Any], Any]) -> Any:
    return lambda t, out, a, x: sign(mul(t, _density(strong(a, out), strong(x, out))))


igamma_p: Primitive = special(
    "igamma",
    _in_a(lambda t: t),
    _in_x(lambda t: t),
    arity=2,
    scipy="gammainc",
    decompose=_igamma,
    samples=_SAMPLES,
    order=1,
)
igammac_p: Primitive = special(
    "igammac", _in_a(neg), _in_x(neg), arity=2, scipy="gammaincc", decompose=_igammac, samples=_SAMPLES[:1], order=1
)


def _log_ratio(a: Any, x: Any) -> Any:
    """``log(x) - digamma(a)``, the logarithmic derivative of the common factor in ``a``."""
    large = a >= _LARGE
    big = select(large, a, _LARGE)
    v = 1.0 / big
    w = v * v
    series = v * (0.5 + v * (1 / 12 - w * (1 / 120 - w * (1 / 252 - w * (1 / 240)))))
    return select(large, log(x / big) + series, log(x) - digamma(a))


def _random_gamma_grad(a: Any, x: Any) -> Any:
    """The implicit derivative, with the common factor cancelled: neither it nor the density has to be above 0."""
    r = _Regions(a, x)

    def along(scaled: Callable[[Any, Any], Any], a: Any, x: Any) -> Any:
        value, slope = with_derivative(scaled, 0, a, x)
        return value * _log_ratio(a, x) + slope

    above = r.x >= r.a
    side = select(above, 0.0 * r.x + 1.0, -1.0)

    def around(a: Any, x: Any) -> Any:
        """The function of the smaller tail, divided by the factor."""
        z, total = _expansion(a, x)
        tail = 0.5 * erfcx(side * z) + side * total / sqrt((2 * math.pi) * a)
        return tail * sqrt((2 * math.pi) / a) * gamma_ratio(a)

    low = logical_or(r.lower, r.tiny)
    out = -along(lambda a, x: _series(a, x, _MARGIN), *r.of(low, 1.0, 1e-3))
    out = select(r.upper, along(lambda a, x: _fraction(a, x, _MARGIN), *r.of(r.upper, 1.0, 50.0)), out)
    out = select(r.temme, side * along(around, *r.of(r.temme, 100.0, 100.0)), out)
    out = r.x * out
    edge = pick(x, eq(x, 0.0) & (a > 0.0), 0.0, np.nan)
    return select(r.inside, out, select(isnan(a + x), a + x, edge))


def _random_gamma_grad_in_a(t: Any, out: Any, a: Any, x: Any) -> Any:
    a, x = strong(a, out), strong(x, out)
    second = igamma_grad_p.bind(a, x, orders=(2, 0))
    return mul(t, -second / _density(a, x) - out * _log_ratio(a, x))


def _random_gamma_grad_in_x(t: Any, out: Any, a: Any, x: Any) -> Any:
    a, x = strong(a, out), strong(x, out)
    return mul(t, -_log_ratio(a, x) - out * ((a - 1.0) / x - 1.0))


random_gamma_grad_p: Primitive = special(
    "random_gamma_grad",
    _random_gamma_grad_in_a,
    _random_gamma_grad_in_x,
    arity=2,
    scipy="",
    decompose=_random_gamma_grad,
    samples=_SAMPLES[:1],
    order=1,
)

# -- public -----------------------------------------------------------------------------------------------------------


def igamma(a: Any, x: Any) -> Any:
    """The regularized lower incomplete gamma function of floats: the distribution function of a gamma variable.

    The decomposition is within 50 eps for ``a < 100``, and within ``eps * max(a, x)`` beyond, as the exponential of a
    rounded number is. It is NaN for negative operands.

    >>> igamma(2.0, np.array([0.5, 2.0]))
    array([0.09020401, 0.59399415])
    """
    return igamma_p.bind(a, x)


def igammac(a: Any, x: Any) -> Any:
    """``1 - igamma(a, x)``, where that is small too.

    >>> igammac(2.0, np.array([0.5, 50.0]))
    array([9.09795990e-01, 9.83662422e-21])
    """
    return igammac_p.bind(a, x)


def igamma_grad_a(a: Any, x: Any) -> Any:
    """The derivative of ``igamma`` in ``a``. It can be differentiated any number of times.

    It is computed by the decomposition, also where SciPy is installed, to within 1e-12 relative to the larger of itself
    and the density.

    >>> igamma_grad_a(2.0, np.array([0.5, 2.0]))
    array([-0.15103424, -0.29400469])
    """
    return igamma_grad_p.bind(a, x, orders=(1, 0))


def random_gamma_grad(a: Any, x: Any) -> Any:
    """The derivative in ``a`` of a sample ``x`` of the gamma distribution with shape ``a``, its probability held fixed.

    It is ``-igamma_grad_a(a, x)`` divided by the density, computed so that both may underflow.

    >>> random_gamma_grad(2.0, np.array([0.5, 2.0]))
    array([0.49802672, 1.08620858])
    """
    return random_gamma_grad_p.bind(a, x)
