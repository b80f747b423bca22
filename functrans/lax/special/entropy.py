"""Products with logarithms that are 0 where a factor is 0, and the entropies made of them, element by element."""

from __future__ import annotations

from typing import Any

import numpy as np

from functrans.core.primitive import Primitive
from functrans.lax.arithmetic import div, mul, neg, strong
from functrans.lax.compare import eq, isnan, logical_or
from functrans.lax.exponential import exp, expm1, log, log1p, logistic
from functrans.lax.magnitude import abs as magnitude
from functrans.lax.power import pow as power
from functrans.lax.selection import select
from functrans.lax.special.define import special
from functrans.lax.special.series import pick

POSITIVE = np.array([0.5, 3.25, 12.0])
OTHER = np.array([1.5, 0.25, 2.0])
_PAIR = [(POSITIVE, OTHER), (np.array([[0.75], [2.0]]), np.array([0.25, 2.5]))]

# -- x log y ----------------------------------------------------------------------------------------------------------


def _xlogy(x: Any, y: Any) -> Any:
    zero = eq(x, 0.0) & (y == y)
    return select(zero, 0.0, x * log(select(zero, 1.0, y)))


def _xlog1py(x: Any, y: Any) -> Any:
    zero = eq(x, 0.0) & (y == y)
    return select(zero, 0.0, x * log1p(select(zero, 0.0, y)))


xlogy_p: Primitive = special(
    "xlogy",
    lambda t, out, x, y: mul(t, log(strong(y, out))),
    lambda t, out, x, y: mul(t, _quotient(strong(x, out), strong(y, out))),
    arity=2,
    decompose=_xlogy,
    samples=_PAIR,
)
xlog1py_p: Primitive = special(
    "xlog1py",
    lambda t, out, x, y: mul(t, log1p(strong(y, out))),
    lambda t, out, x, y: mul(t, _quotient(strong(x, out), strong(y, out) + 1.0)),
    arity=2,
    decompose=_xlog1py,
    samples=_PAIR,
)


def _quotient(x: Any, y: Any) -> Any:
    """``x / y``, 0 where ``x`` is 0: there the function is 0 for every ``y``."""
    zero = eq(x, 0.0)
    return select(zero, 0.0, div(x, select(zero, 1.0, y)))


# -- entropies --------------------------------------------------------------------------------------------------------


def _entr(x: Any) -> Any:
    positive = x > 0.0
    out = -xlogy(select(positive, x, 1.0), select(positive, x, 1.0))
    return select(positive, out, select(eq(x, 0.0), 0.0, select(isnan(x), x, -np.inf)))


def _rel_entr(x: Any, y: Any) -> Any:
    positive = (x > 0.0) & (y > 0.0)
    p, q = select(positive, x, 1.0), select(positive, y, 1.0)
    inside = p * _log_ratio(p, q)
    edge = pick(x, eq(x, 0.0) & (y >= 0.0), 0.0, np.inf)
    return select(positive, inside, select(logical_or(isnan(x), isnan(y)), np.nan, edge))


def _log_ratio(p: Any, q: Any) -> Any:
    """``log(p / q)`` of positive numbers, precise where they are nearly equal."""
    close = (p > 0.5 * q) & (p < 2.0 * q)
    ratio = select(close, (p - q) / q, 0.0)
    return select(close, log1p(ratio), log(p) - log(q))


def _kl_div(x: Any, y: Any) -> Any:
    inside = (x >= 0.0) & (y >= 0.0)
    entropy = _rel_entr(x, y)
    infinite = logical_or(eq(entropy, np.inf), eq(y, np.inf) & (x < np.inf))
    finite = select(infinite, 0.0, entropy) - x + select(infinite, 0.0, y)
    outside = pick(x, logical_or(isnan(x), isnan(y)), np.nan, np.inf)
    return select(inside, select(infinite, np.inf, finite), outside)


def _rel_entr_slopes(shift: float) -> Any:
    def in_x(t: Any, out: Any, x: Any, y: Any) -> Any:
        x, y = strong(x, out), strong(y, out)
        return mul(t, log(x / y) + shift)

    return in_x


entr_p: Primitive = special(
    "entr", lambda t, out, x: mul(t, -log(strong(x, out)) - 1.0), decompose=_entr, samples=[(POSITIVE,)]
)
rel_entr_p: Primitive = special(
    "rel_entr",
    _rel_entr_slopes(1.0),
    lambda t, out, x, y: neg(mul(t, _quotient(strong(x, out), strong(y, out)))),
    arity=2,
    decompose=_rel_entr,
    samples=_PAIR,
)
kl_div_p: Primitive = special(
    "kl_div",
    _rel_entr_slopes(0.0),
    lambda t, out, x, y: mul(t, 1.0 - _quotient(strong(x, out), strong(y, out))),
    arity=2,
    decompose=_kl_div,
    samples=_PAIR,
)

# -- Box-Cox ----------------------------------------------------------------------------------------------------------


def _power_sum(order: int, z: Any) -> Any:
    """``expm1(z) / z`` for order 0, and its derivatives: sums of ``z**k / k!``-like series near 0."""
    near = magnitude(z) < 0.5
    small = select(near, z, 0.0)
    total: Any = 0.0
    factorial = [1.0]
    for k in range(1, 24):
        factorial.append(factorial[-1] * k)
    coefficients = []
    for k in range(16):
        n = k + order
        falling = factorial[n] / factorial[k]
        coefficients.append(falling / factorial[n + 1])
    for coefficient in reversed(coefficients):
        total = total * small + coefficient
    far = select(near, 1.0, z)
    outer = expm1(far) / far
    for n in range(1, order + 1):
        # Differentiating z * f_0 = exp(z) - 1 again and again: z * f_n + n * f_{n-1} = exp(z).
        outer = (exp(far) - n * outer) / far
    return select(near, total, outer)


def _exprel(x: Any) -> Any:
    finite = select(eq(x, np.inf), 0.0, x)
    return select(eq(x, np.inf), x, select(eq(x, -np.inf), 0.0, _power_sum(0, finite)))


exprel_p: Primitive = special(
    "exprel",
    lambda t, out, x: mul(t, _power_sum(1, strong(x, out))),
    decompose=_exprel,
    samples=[(np.array([0.25, -1.5, 2.0]),)],
)


def _boxcox(x: Any, lmbda: Any) -> Any:
    """``(x**lmbda - 1) / lmbda``, ``log(x)`` for 0."""
    return _boxcox_of_log(log(x), lmbda)


def _boxcox1p(x: Any, lmbda: Any) -> Any:
    return _boxcox_of_log(log1p(x), lmbda)


def _boxcox_of_log(u: Any, lmbda: Any) -> Any:
    zero = eq(lmbda, 0.0) | eq(u, 0.0)
    infinite = eq(u, -np.inf)
    at_zero = select(lmbda > 0.0, -1.0 / select(eq(lmbda, 0.0), 1.0, lmbda), -np.inf)
    inside = u * exprel(lmbda * select(infinite, 0.0, u))
    return select(isnan(lmbda), lmbda + 0.0 * u, select(zero, u, select(infinite, at_zero, inside)))


def _inv_boxcox(y: Any, lmbda: Any) -> Any:
    zero = eq(lmbda, 0.0)
    return select(zero, exp(y), exp(log1p(lmbda * y) / select(zero, 1.0, lmbda)))


def _inv_boxcox1p(y: Any, lmbda: Any) -> Any:
    zero = eq(lmbda, 0.0)
    return select(zero, expm1(y), expm1(log1p(lmbda * y) / select(zero, 1.0, lmbda)))


def _in_lambda(logarithm: Any) -> Any:
    def rule(t: Any, out: Any, x: Any, lmbda: Any) -> Any:
        u, lmbda = logarithm(strong(x, out)), strong(lmbda, out)
        return mul(t, u * u * _power_sum(1, lmbda * u))

    return rule


boxcox_p: Primitive = special(
    "boxcox",
    lambda t, out, x, lmbda: mul(t, power(strong(x, out), strong(lmbda, out) - 1.0)),
    _in_lambda(log),
    arity=2,
    decompose=_boxcox,
    samples=_PAIR,
)
boxcox1p_p: Primitive = special(
    "boxcox1p",
    lambda t, out, x, lmbda: mul(t, power(1.0 + strong(x, out), strong(lmbda, out) - 1.0)),
    _in_lambda(log1p),
    arity=2,
    decompose=_boxcox1p,
    samples=_PAIR,
)


def _inverse_in_y(t: Any, out: Any, y: Any, lmbda: Any) -> Any:
    y, lmbda = strong(y, out), strong(lmbda, out)
    return mul(t, _inv_boxcox(y, lmbda) / (1.0 + lmbda * y))


def _inverse_in_lambda(t: Any, out: Any, y: Any, lmbda: Any) -> Any:
    """By the implicit function theorem: the derivative of ``boxcox`` in its parameter, at the result."""
    y, lmbda = strong(y, out), strong(lmbda, out)
    zero = eq(lmbda, 0.0)
    u = select(zero, y, log1p(lmbda * y) / select(zero, 1.0, lmbda))
    return neg(mul(t, exp(u * (1.0 - lmbda)) * u * u * _power_sum(1, lmbda * u)))


inv_boxcox_p: Primitive = special(
    "inv_boxcox",
    _inverse_in_y,
    _inverse_in_lambda,
    arity=2,
    decompose=_inv_boxcox,
    samples=_PAIR,
)
inv_boxcox1p_p: Primitive = special(
    "inv_boxcox1p",
    _inverse_in_y,
    _inverse_in_lambda,
    arity=2,
    decompose=_inv_boxcox1p,
    samples=_PAIR,
)

# -- logistic ---------------------------------------------------------------------------------------------------------


def _logit(p: Any) -> Any:
    central = (p > 0.3) & (p < 0.65)
    middle = select(central, p, 0.5)
    return select(central, log1p((2.0 * middle - 1.0) / (1.0 - middle)), log(p) - log1p(-p))


logit_p: Primitive = special(
    "logit",
    lambda t, out, p: div(t, mul(strong(p, out), 1.0 - strong(p, out))),
    decompose=_logit,
    samples=[(np.array([0.25, 0.5, 0.75]),)],
)


def _log_expit(x: Any) -> Any:
    negative = x < 0.0
    return select(negative, x, 0.0) - log1p(exp(-magnitude(x)))


log_expit_p: Primitive = special(
    "log_expit",
    lambda t, out, x: mul(t, logistic(neg(strong(x, out)))),
    decompose=_log_expit,
    samples=[(np.array([0.5, -1.5, 3.0]),)],
)

# -- public -----------------------------------------------------------------------------------------------------------


def xlogy(x: Any, y: Any) -> Any:
    """``x * log(y)``, and 0 where ``x`` is 0, unless ``y`` is NaN; there the derivative in ``y`` is 0 too.

    >>> xlogy(np.array([0.0, 2.0]), np.array([0.0, 3.0]))
    array([0.        , 2.19722458])
    """
    return xlogy_p.bind(x, y)


def xlog1py(x: Any, y: Any) -> Any:
    """``x * log(1 + y)``, with the conventions of ``xlogy``."""
    return xlog1py_p.bind(x, y)


def entr(x: Any) -> Any:
    """``-x log(x)``: 0 at 0, minus infinity for negative numbers."""
    return entr_p.bind(x)


def rel_entr(x: Any, y: Any) -> Any:
    """``x log(x / y)`` for ``x > 0`` and ``y > 0``, 0 for ``x = 0`` and ``y >= 0``, else infinite."""
    return rel_entr_p.bind(x, y)


def kl_div(x: Any, y: Any) -> Any:
    """``rel_entr(x, y) - x + y``."""
    return kl_div_p.bind(x, y)


def exprel(x: Any) -> Any:
    """``(exp(x) - 1) / x``, precise near 0."""
    return exprel_p.bind(x)


def logit(p: Any) -> Any:
    """``log(p / (1 - p))``, the inverse of ``logistic``."""
    return logit_p.bind(p)


def log_expit(x: Any) -> Any:
    """``log(logistic(x))``, without underflow."""
    return log_expit_p.bind(x)
