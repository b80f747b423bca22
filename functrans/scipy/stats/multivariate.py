"""Distributions of vectors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from functrans import errors, lax
from functrans.core.structural import rebox
from functrans.core.trace import aval_of
from functrans.lax.linalg import cholesky, triangular_solve
from functrans.lax.special.entropy import xlogy
from functrans.nn.arguments import together
from functrans.scipy.stats.family import both


def _last(x: Any) -> tuple[int, ...]:
    return (aval_of(x).ndim - 1,)


class MultivariateNormal:
    """The multivariate normal distribution."""

    def logpdf(self, x: Any, mean: Any, cov: Any, allow_singular: bool | None = None) -> Any:
        """The logarithm of the density.

        Args:
            x: points along the last axis.
            mean: a number or vectors along the last axis.
            cov: a variance for all components, or symmetric positive definite matrices in the last two axes. Leading
                axes broadcast.
            allow_singular: None; a singular matrix has no density.

        >>> multivariate_normal.logpdf(np.zeros(2), np.zeros(2), np.eye(2))
        np.float64(-1.8378770664093453)
        """
        if allow_singular:
            raise errors.ArgumentError("multivariate_normal.logpdf: allow_singular=True is not supported")
        x, mean, cov = together("multivariate_normal.logpdf", x, mean, cov)
        if not aval_of(mean).shape:
            return rebox(-0.5 * lax.square(x - mean) / cov - 0.5 * (math.log(2 * math.pi) + lax.log(cov)), "numpy")
        n = aval_of(mean).shape[-1]
        if not aval_of(cov).shape:
            deviation = lax.square(x - mean) / cov
            size = n * (math.log(2 * math.pi) + lax.log(cov))
            return rebox(-0.5 * (lax.reduce_sum(deviation, _last(deviation)) + size), "numpy")
        if aval_of(cov).ndim < 2 or aval_of(cov).shape[-2:] != (n, n):
            raise errors.ShapeError(
                f"multivariate_normal.logpdf: cov must have shape (..., {n}, {n}) for a mean of {n} components, got "
                f"{aval_of(cov)}"
            )
        factor = cholesky(cov)
        y = x - mean
        batch = lax.broadcast_shapes(aval_of(y).shape[:-1], aval_of(cov).shape[:-2])
        y = lax.broadcast_to(y, (*batch, n))
        factor = lax.broadcast_to(factor, (*batch, n, n))
        column = lax.reshape(y, (*batch, n, 1))
        scaled = lax.reshape(triangular_solve(factor, column, left_side=True, lower=True), (*batch, n))
        diagonal = lax.diagonal(factor, 0, len(batch), len(batch) + 1)
        log_determinant = lax.reduce_sum(lax.log(diagonal), (len(batch),))
        distance = lax.reduce_sum(lax.square(scaled), (len(batch),))
        return rebox(-0.5 * distance - (0.5 * n * math.log(2 * math.pi)) - log_determinant, "numpy")

    def pdf(self, x: Any, mean: Any, cov: Any) -> Any:
        """The density; see ``logpdf``."""
        return lax.exp(self.logpdf(x, mean, cov))

    def __repr__(self) -> str:
        return "<distribution multivariate_normal(mean, cov)>"


class Dirichlet:
    """The Dirichlet distribution of shares."""

    def logpdf(self, x: Any, alpha: Any) -> Any:
        """The logarithm of the density; minus infinity where the shares are negative or their sum is not 1.

        Args:
            x: shares along the first axis, or all but the last of them, which is what is left to 1.
            alpha: a vector of concentrations.

        >>> dirichlet.logpdf(np.array([0.5, 0.5]), np.array([1.0, 1.0]))
        np.float64(0.0)
        """
        x, alpha = together("dirichlet.logpdf", x, alpha)
        if aval_of(alpha).ndim != 1:
            raise errors.ShapeError(f"dirichlet.logpdf: alpha must be a vector, got {aval_of(alpha)}")
        n = aval_of(alpha).shape[0]
        if not aval_of(x).ndim or aval_of(x).shape[0] not in (n, n - 1):
            raise errors.ShapeError(
                f"dirichlet.logpdf: the first axis of x must have {n} entries, or {n - 1} without the last share; got "
                f"{aval_of(x)}"
            )
        total = lax.reduce_sum(x, (0,))
        if aval_of(x).shape[0] == n - 1:
            rest = lax.reshape(1.0 - total, (1, *aval_of(x).shape[1:]))
            x = lax.concatenate([x, rest], 0)
            total = lax.reduce_sum(x, (0,))
        exponents = lax.reshape(alpha - 1.0, (n,) + (1,) * (aval_of(x).ndim - 1))
        tolerance = 10 * float(np.finfo(aval_of(x).dtype).eps) * n
        simplex = both(lax.reduce_all(lax.ge(x, 0.0), (0,)), lax.le(lax.abs(total - 1.0), tolerance))
        wide = lax.reshape(simplex, (1, *aval_of(simplex).shape))
        terms = lax.reduce_sum(xlogy(exponents, lax.select(wide, x, 1.0)), (0,))
        normalizer = lax.reduce_sum(lax.lgamma(alpha), (0,)) - lax.lgamma(lax.reduce_sum(alpha, (0,)))
        out = lax.select(simplex, terms - normalizer, -np.inf)
        return rebox(lax.select(lax.reduce_all(lax.gt(alpha, 0.0), (0,)), out, np.nan), "numpy")

    def pdf(self, x: Any, alpha: Any) -> Any:
        """The density; see ``logpdf``."""
        return lax.exp(self.logpdf(x, alpha))

    def __repr__(self) -> str:
        return "<distribution dirichlet(alpha)>"


class Multinomial:
    """The multinomial distribution of counts."""

    def logpmf(self, x: Any, n: Any, p: Any) -> Any:
        """The logarithm of the probability of counts along the last axis.

        Args:
            x: counts; minus infinity where they are no whole numbers, negative, or their sum is not ``n``.
            n: the number of trials.
            p: probabilities along the last axis.

        >>> multinomial.logpmf(np.array([1, 1]), 2, np.array([0.5, 0.5]))
        np.float64(-0.6931471805599453)
        """
        x, n, p = together("multinomial.logpmf", x, n, p)
        whole = both(lax.ge(x, 0.0), lax.eq(lax.floor(x), x))
        counts = lax.select(whole, x, 0.0)
        terms = xlogy(counts, p) - lax.lgamma(counts + 1.0)
        last = _last(terms)
        out = lax.lgamma(n + 1.0) + lax.reduce_sum(terms, last)
        fits = both(lax.reduce_all(whole, _last(whole)), lax.eq(lax.reduce_sum(counts, _last(counts)), n))
        return rebox(lax.select(fits, out, -np.inf), "numpy")

    def pmf(self, x: Any, n: Any, p: Any) -> Any:
        """The probability; see ``logpmf``."""
        return lax.exp(self.logpmf(x, n, p))

    def __repr__(self) -> str:
        return "<distribution multinomial(n, p)>"


multivariate_normal = MultivariateNormal()
dirichlet = Dirichlet()
multinomial = Multinomial()
