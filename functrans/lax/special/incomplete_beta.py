"""The beta function, its logarithm, and the regularized incomplete beta function with derivatives in all operands.

The incomplete function is ``x**a (1 - x)**b / beta(a, b)``, computed without cancellation after C. Loader, "Fast and
accurate computation of binomial probabilities" (2000), times a continued fraction of A. R. DiDonato and A. H. Morris,
"Significant digit computation of the incomplete beta function ratios" (1992). Derivatives in ``a`` and ``b`` are those
of the same expressions.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from functrans.core.primitive import Primitive
from functrans.lax.arithmetic import mul, neg, strong
from functrans.lax.compare import eq, logical_or
from functrans.lax.exponential import exp, log, log1p
from functrans.lax.magnitude import abs as magnitude
from functrans.lax.magnitude import max as larger
from functrans.lax.magnitude import min as smaller
from functrans.lax.selection import select, stop_gradient
from functrans.lax.special import coefficients as c
from functrans.lax.special.define import derivatives, special
from functrans.lax.special.entropy import xlog1py, xlogy
from functrans.lax.special.gamma import digamma, gamma, gammasgn, lgamma
from functrans.lax.special.incomplete_gamma import gamma_weight
from functrans.lax.special.series import continued_fraction, inner_deviance, pick, rational

# -- the complete function --------------------------------------------------------------------------------------------


def _stirling_rest(z: Any) -> Any:
    """``lgamma(z)`` less ``(z - 1/2) log(z) - z + log(2 pi) / 2``, for ``z >= 4``."""
    v = 1.0 / z
    return v * rational(c.STIRLING, v * v)


def _betaln(a: Any, b: Any) -> Any:
    small, large = smaller(a, b), larger(a, b)
    # lgamma(large) - lgamma(small + large), which cancel where one is much larger than the other.
    far = (large > 10.0) & (small > 0.0) & (large < np.inf)
    y, x = select(far, large, 10.0), select(far, small, 1.0)
    ratio = log1p(x / y)
    rest = _stirling_rest(y) - _stirling_rest(x + y)
    difference = -x * (log(y) - 1.0) - (x + y - 0.5) * ratio + rest
    direct = lgamma(select(far, 1.0, large)) - lgamma(select(far, 1.0, small + large))
    out = lgamma(small) + select(far, difference, direct)
    return select((small > 0.0) & eq(large, np.inf), -np.inf, out)


def _beta(a: Any, b: Any) -> Any:
    low = (magnitude(a) < 30.0) & (magnitude(b) < 30.0)
    x, y = select(low, a, 1.0), select(low, b, 1.0)
    total = x + y
    direct = (gamma(x) / gamma(total)) * gamma(y)
    sign = gammasgn(a) * gammasgn(b) * gammasgn(a + b)
    return select(low, direct, exp(betaln(a, b)) * select(low, 1.0, sign))


def _both(rule: Any) -> Any:
    return (
        lambda t, out, a, b: mul(t, rule(out, strong(a, out), strong(b, out))),
        lambda t, out, a, b: mul(t, rule(out, strong(b, out), strong(a, out))),
    )


_SAMPLES = [
    (np.array([0.5, 3.0, 20.0]), np.array([2.5, 0.75, 12.0])),
    (np.array([[0.75], [2.0]]), np.array([0.25, 2.5])),
]

betaln_p: Primitive = special(
    "betaln",
    *_both(lambda out, a, b: digamma(a) - digamma(a + b)),
    arity=2,
    decompose=_betaln,
    samples=_SAMPLES,
)
beta_p: Primitive = special(
    "beta",
    *_both(lambda out, a, b: out * (digamma(a) - digamma(a + b))),
    arity=2,
    decompose=_beta,
    samples=_SAMPLES,
)

# -- the incomplete function ------------------------------------------------------------------------------------------


def _factor(a: Any, b: Any, x: Any, y: Any) -> Any:
    """``x**a y**b / beta(a, b)`` with ``y = 1 - x``."""
    total = a + b
    weight = gamma_weight(a)[0] * gamma_weight(b)[0] / gamma_weight(total)[0]
    # a (x total / a - 1) and b (y total / b - 1) are this and its negative, so that it cancels in the sum.
    moved = x * b - y * a
    near_a, near_b = magnitude(moved) < 0.3 * a, magnitude(moved) < 0.3 * b
    below = -a * inner_deviance(select(near_a, moved / a, 0.0)) + moved
    above = -b * inner_deviance(select(near_b, -moved / b, 0.0)) - moved
    first = select(near_a, below, a * (log(x) + log(total / a)))
    second = select(near_b, above, b * (log(y) + log(total / b)))
    return weight * exp(first + second)


def _fraction(a: Any, b: Any, x: Any, y: Any, margin: int) -> Any:
    """The continued fraction by which the factor is divided, for ``x < a / (a + b)``."""

    def of(b: Any) -> tuple[Any, Any]:
        total = a + b
        moved = a * y - b * x + 1.0

        def terms(n: Any) -> tuple[Any, Any]:
            odd = a + (2.0 * n - 1.0)
            part = n * (b - n) * x / odd
            top = (a + n - 1.0) * (total + n - 1.0) * x / odd * part
            return top, n + part + (a + n) * (moved + n * (1.0 + y)) / (odd + 2.0)

        return a * moved / (a + 1.0), terms

    # For whole numbers the fraction ends, and its derivative does not.
    guide = of(stop_gradient(b) + 0.37) if margin else None
    return continued_fraction(*of(b), 20000, margin, guide)


def _both_tails(a: Any, b: Any, x: Any, y: Any, margin: int = 0) -> tuple[Any, Any]:
    """The function and its complement inside their domain."""
    swap = x * b > y * a
    p, q = select(swap, b, a), select(swap, a, b)
    u, v = select(swap, y, x), select(swap, x, y)
    part = _factor(p, q, u, v) * _fraction(p, q, u, v, margin)
    return select(swap, 1.0 - part, part), select(swap, part, 1.0 - part)


def _inside(a: Any, b: Any, x: Any) -> tuple[Any, tuple[Any, Any, Any, Any]]:
    """Where all operands are inside their domain, and operands that are there everywhere."""
    inside = (a > 0.0) & (b > 0.0) & (x > 0.0) & (x < 1.0) & (a < np.inf) & (b < np.inf)
    x = select(inside, x, 0.25)
    return inside, (select(inside, a, 1.0), select(inside, b, 1.0), x, 1.0 - x)


def _edges(a: Any, b: Any, x: Any, inside: Any, out: Any, rise: float) -> Any:
    """Values on the boundary of the domain: a step from ``1 - rise`` to ``rise``; NaN beyond it."""
    valid = (a >= 0.0) & (b >= 0.0) & (x >= 0.0) & (x <= 1.0)
    left = logical_or(eq(a, 0.0), eq(b, np.inf))
    right = logical_or(eq(b, 0.0), eq(a, np.inf))
    low = logical_or(eq(x, 0.0), right & (x < 1.0))
    high = logical_or(eq(x, 1.0), left & (x > 0.0))
    edge = select(valid & low, 1.0 - rise, pick(x, valid & high, rise, np.nan))
    return select(inside, out, select(left & right, np.nan, edge))


def _betainc(a: Any, b: Any, x: Any) -> Any:
    inside, operands = _inside(a, b, x)
    return _edges(a, b, x, inside, _both_tails(*operands)[0], 1.0)


def _betaincc(a: Any, b: Any, x: Any) -> Any:
    inside, operands = _inside(a, b, x)
    return _edges(a, b, x, inside, _both_tails(*operands)[1], 0.0)


# -- derivatives ------------------------------------------------------------------------------------------------------


def _density(a: Any, b: Any, x: Any) -> Any:
    """The derivative in ``x``: the density of the beta distribution."""
    return exp(xlogy(a - 1.0, x) + xlog1py(b - 1.0, -x) - betaln(a, b))


def _for_derivatives(a: Any, b: Any, x: Any) -> Any:
    inside, operands = _inside(a, b, x)
    return select(inside, _both_tails(*operands, margin=12)[0], 0.0)


_TRIPLES = [
    (np.array([0.5, 3.0, 20.0]), np.array([2.5, 0.75, 12.0]), np.array([0.25, 0.5, 0.625])),
    (np.array([[0.75], [2.0]]), 1.5, np.array([0.25, 0.875])),
]

betainc_grad_p: Primitive = derivatives(
    "betainc_grad", _for_derivatives, (0, 1), {2: _density}, arity=3, samples=_TRIPLES[:1]
)


def _rules(sign: Any) -> Any:
    return (
        lambda t, out, a, b, x: sign(mul(t, betainc_grad_p.bind(a, b, x, orders=(1, 0, 0)))),
        lambda t, out, a, b, x: sign(mul(t, betainc_grad_p.bind(a, b, x, orders=(0, 1, 0)))),
        lambda t, out, a, b, x: sign(mul(t, _density(strong(a, out), strong(b, out), strong(x, out)))),
    )


betainc_p: Primitive = special("betainc", *_rules(lambda t: t), arity=3, decompose=_betainc, samples=_TRIPLES, order=1)
betaincc_p: Primitive = special("betaincc", *_rules(neg), arity=3, decompose=_betaincc, samples=_TRIPLES[:1], order=1)

# -- public -----------------------------------------------------------------------------------------------------------


def betaln(a: Any, b: Any) -> Any:
    """The logarithm of the modulus of the beta function.

    >>> betaln(2.0, np.array([3.0, 1e10]))
    array([ -2.48490665, -46.05170186])
    """
    return betaln_p.bind(a, b)


def beta(a: Any, b: Any) -> Any:
    """The beta function ``gamma(a) gamma(b) / gamma(a + b)``."""
    return beta_p.bind(a, b)


def betainc(a: Any, b: Any, x: Any) -> Any:
    """The regularized incomplete beta function of floats: the distribution function of a beta variable.

    It has derivatives in all operands, to any order. The decomposition is within ``(100 + max(a, b)) / min(1, a, b)``
    eps.

    >>> betainc(2.0, 3.0, np.array([0.25, 0.5]))
    array([0.26171875, 0.6875    ])
    """
    return betainc_p.bind(a, b, x)


def betaincc(a: Any, b: Any, x: Any) -> Any:
    """``1 - betainc(a, b, x)``, where that is small too."""
    return betaincc_p.bind(a, b, x)
