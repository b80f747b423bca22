"""Density estimates from samples, by sums of normal densities."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from functrans import errors, lax, random
from functrans import numpy as fnp
from functrans.core.structural import convert
from functrans.core.trace import aval_of
from functrans.lax.linalg import cholesky, triangular_solve
from functrans.lax.special.normal import ndtr
from functrans.nn.arguments import floating, together


class gaussian_kde:
    """A density estimate: the mean of normal densities around the points of a sample.

    It may be made of traced values and called on them: it has derivatives in the points, the sample and the weights.

    Args:
        dataset: points along the last axis, of shape ``(n,)`` or ``(d, n)``.
        bw_method: ``"scott"`` (the default), ``"silverman"``, a number, or a function of the estimate, which give the
            factor of the sample's standard deviation.
        weights: of the points, of shape ``(n,)``.

    Attributes:
        dataset, weights: as given, of shape ``(d, n)``, and with sum 1.
        d, n, neff: the number of dimensions, of points, and of points that weighed the same would count as much.
        factor: the factor of the standard deviation.
        covariance: of each density, of shape ``(d, d)``.

    >>> gaussian_kde(np.array([0.0, 1.0, 2.0]))(np.array([1.0]))
    array([0.31815622])
    """

    def __init__(self, dataset: Any, bw_method: Any = None, weights: Any = None) -> None:
        points = floating("gaussian_kde", dataset)
        if aval_of(points).ndim > 2 or aval_of(points).size < 2:
            raise errors.ShapeError(f"gaussian_kde: the sample must have shape (n,) or (d, n), got {aval_of(points)}")
        self.dataset = fnp.atleast_2d(points)
        self.d, self.n = aval_of(self.dataset).shape
        if weights is None:
            share = np.full(self.n, 1 / self.n, aval_of(points).dtype)
        else:
            given = convert(floating("gaussian_kde", weights), aval_of(points).dtype)
            if aval_of(given).shape != (self.n,):
                raise errors.ShapeError(
                    f"gaussian_kde: weights must have shape ({self.n},), one for each point; got {aval_of(given)}"
                )
            share = given / fnp.sum(given)
        self.weights = share
        self.neff = 1.0 / fnp.sum(share * share)
        self.factor = self._factor(bw_method)
        spread = fnp.atleast_2d(fnp.cov(self.dataset, rowvar=True, bias=False, aweights=share))
        self.covariance = convert(spread * self.factor**2, aval_of(points).dtype)
        self._root = cholesky(self.covariance)

    def _factor(self, method: Any) -> Any:
        if method is None or method == "scott":
            return self.scotts_factor()
        if method == "silverman":
            return self.silverman_factor()
        if isinstance(method, str):
            raise ValueError(f"gaussian_kde: bw_method is 'scott', 'silverman', a number or a function; got {method!r}")
        if callable(method):
            function: Callable[[gaussian_kde], Any] = method
            return function(self)
        return method

    def scotts_factor(self) -> Any:
        """``neff ** (-1 / (d + 4))``."""
        return self.neff ** (-1.0 / (self.d + 4))

    def silverman_factor(self) -> Any:
        """``(neff * (d + 2) / 4) ** (-1 / (d + 4))``."""
        return (self.neff * (self.d + 2) / 4.0) ** (-1.0 / (self.d + 4))

    def _points(self, name: str, points: Any) -> Any:
        x, _ = together(f"gaussian_kde.{name}", points, self.dataset)
        x = fnp.atleast_2d(x)
        shape = aval_of(x).shape
        if len(shape) == 2 and shape[0] == 1 and shape[1] == self.d != 1:
            x = fnp.reshape(x, (self.d, 1))
        if aval_of(x).ndim != 2 or aval_of(x).shape[0] != self.d:
            raise errors.ShapeError(
                f"gaussian_kde.{name}: points must have shape ({self.d}, m) for a sample of {self.d} dimensions, got "
                f"{aval_of(x)}"
            )
        return x

    def _whitened(self, x: Any) -> Any:
        return triangular_solve(self._root, x, left_side=True, lower=True)

    def logpdf(self, x: Any) -> Any:
        """The logarithm of the density at points of shape ``(m,)`` or ``(d, m)``: ``m`` numbers."""
        points, sample = self._whitened(self._points("logpdf", x)), self._whitened(self.dataset)
        gaps = fnp.expand_dims(points, 2) - fnp.expand_dims(sample, 1)
        exponents = -0.5 * fnp.sum(gaps * gaps, axis=0) + fnp.log(self.weights)
        size = fnp.sum(fnp.log(fnp.diagonal(self._root))) + 0.5 * self.d * math.log(2 * math.pi)
        return lax.logsumexp(exponents, (1,)) - size

    def evaluate(self, points: Any) -> Any:
        """The density at points of shape ``(m,)`` or ``(d, m)``: ``m`` numbers."""
        return fnp.exp(self.logpdf(points))

    __call__ = evaluate
    pdf = evaluate

    def integrate_gaussian(self, mean: Any, cov: Any) -> Any:
        """The integral of the estimate times a normal density."""
        mean = fnp.atleast_1d(floating("gaussian_kde.integrate_gaussian", mean))
        cov = fnp.atleast_2d(floating("gaussian_kde.integrate_gaussian", cov))
        if aval_of(mean).shape != (self.d,) or aval_of(cov).shape != (self.d, self.d):
            raise errors.ShapeError(
                f"gaussian_kde.integrate_gaussian: mean must have shape ({self.d},) and cov ({self.d}, {self.d}); got "
                f"{aval_of(mean)} and {aval_of(cov)}"
            )
        return self._overlap(fnp.expand_dims(mean, 1), np.ones(1), self.covariance + cov)

    def integrate_kde(self, other: gaussian_kde) -> Any:
        """The integral of this estimate times another one."""
        if other.d != self.d:
            raise errors.ShapeError(f"gaussian_kde.integrate_kde: estimates of {self.d} and {other.d} dimensions")
        return self._overlap(other.dataset, other.weights, self.covariance + other.covariance)

    def _overlap(self, centers: Any, weights: Any, covariance: Any) -> Any:
        root = cholesky(covariance)
        a = triangular_solve(root, self.dataset, left_side=True, lower=True)
        b = triangular_solve(root, centers, left_side=True, lower=True)
        gaps = fnp.expand_dims(a, 2) - fnp.expand_dims(b, 1)
        energies = fnp.exp(-0.5 * fnp.sum(gaps * gaps, axis=0))
        size = fnp.prod(fnp.diagonal(root)) * (2 * math.pi) ** (0.5 * self.d)
        return fnp.sum(fnp.expand_dims(self.weights, 1) * energies * fnp.expand_dims(weights, 0)) / size

    def integrate_box_1d(self, low: Any, high: Any) -> Any:
        """The probability of an interval; for a sample of one dimension."""
        if self.d != 1:
            raise errors.ShapeError(f"gaussian_kde.integrate_box_1d: the sample has {self.d} dimensions")
        deviation = fnp.ravel(self._root)[0]
        sample = self.dataset[0]
        inside = ndtr((high - sample) / deviation) - ndtr((low - sample) / deviation)
        return fnp.sum(self.weights * inside)

    def resample(self, key: Any, shape: tuple[int, ...] = ()) -> Any:
        """Points drawn from the estimate, of shape ``(d, *shape)``, with a key of ``functrans.random``."""
        choose, shift = random.split(key)
        index = random.choice(choose, self.n, shape=shape, replace=True, p=self.weights)
        dtype = aval_of(self.dataset).dtype
        noise = random.normal(shift, (self.d, *shape), dtype)
        count = int(np.prod(shape))
        moved = fnp.reshape(fnp.matmul(self._root, fnp.reshape(noise, (self.d, count))), (self.d, *shape))
        return fnp.take(self.dataset, index, axis=1) + moved
