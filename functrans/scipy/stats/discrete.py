"""Distributions of whole numbers, one record each."""

from __future__ import annotations

from typing import Any

from functrans import lax
from functrans.lax.special.entropy import xlog1py, xlogy
from functrans.lax.special.incomplete_beta import betaincc, betaln
from functrans.scipy.stats.family import Discrete, both, positive, probability


def log_binomial(n: Any, k: Any) -> Any:
    """The logarithm of a binomial coefficient."""
    return -lax.log1p(n) - betaln(n - k + 1.0, k + 1.0)


def _counts(n: Any) -> Any:
    return both(lax.ge(n, 0.0), lax.eq(lax.floor(n), n))


def _bernoulli_quantile(q: Any, p: Any) -> Any:
    one = lax.gt(q, 1.0 - p)
    return lax.select(one, 1.0 + 0.0 * lax.stop_gradient(q), lax.select(lax.eq(q, 0.0), -1.0, 0.0))


bernoulli = Discrete(
    "bernoulli",
    ["p"],
    logpmf=lambda k, p: xlogy(k, p) + xlog1py(1.0 - k, -p),
    support=(0, lambda p: 1.0),
    cdf=lambda k, p: 1.0 - p + 0.0 * k,
    sf=lambda k, p: p + 0.0 * k,
    ppf=_bernoulli_quantile,
    valid=probability,
)
binom = Discrete(
    "binom",
    ["n", "p"],
    logpmf=lambda k, n, p: log_binomial(n, k) + xlogy(k, p) + xlog1py(n - k, -p),
    support=(0, lambda n, p: n),
    cdf=lambda k, n, p: betaincc(k + 1.0, n - k, p),
    sf=lambda k, n, p: lax.betainc(k + 1.0, n - k, p),
    valid=lambda n, p: both(_counts(n), probability(p)),
)
nbinom = Discrete(
    "nbinom",
    ["n", "p"],
    logpmf=lambda k, n, p: -lax.log(n + k) - betaln(n, k + 1.0) + xlogy(n, p) + xlog1py(k, -p),
    cdf=lambda k, n, p: lax.betainc(n, k + 1.0, p),
    sf=lambda k, n, p: betaincc(n, k + 1.0, p),
    valid=lambda n, p: both(positive(n), lax.gt(p, 0.0), lax.le(p, 1.0)),
)
geom = Discrete(
    "geom",
    ["p"],
    logpmf=lambda k, p: xlog1py(k - 1.0, -p) + lax.log(p),
    support=(1, None),
    cdf=lambda k, p: -lax.expm1(xlog1py(k, -p)),
    sf=lambda k, p: lax.exp(xlog1py(k, -p)),
    valid=lambda p: both(lax.gt(p, 0.0), lax.le(p, 1.0)),
)
poisson = Discrete(
    "poisson",
    ["mu"],
    logpmf=lambda k, mu: xlogy(k, mu) - lax.lgamma(k + 1.0) - mu,
    cdf=lambda k, mu: lax.igammac(k + 1.0, mu),
    sf=lambda k, mu: lax.igamma(k + 1.0, mu),
    valid=lambda mu: lax.ge(mu, 0.0),
)
betabinom = Discrete(
    "betabinom",
    ["n", "a", "b"],
    logpmf=lambda k, n, a, b: log_binomial(n, k) + betaln(k + a, n - k + b) - betaln(a, b),
    support=(0, lambda n, a, b: n),
    valid=lambda n, a, b: both(_counts(n), positive(a, b)),
)
