"""Acceptance story: no NaN from the branch that was not taken, in the compiled form too."""

from __future__ import annotations

from typing import Any

import numpy as np

import functrans as ft


def h(x: Any) -> Any:
    return np.where(x < 1, x, np.sqrt(x))


def test_the_dead_branch_is_harmless() -> None:
    with np.errstate(all="ignore"):
        assert ft.grad(ft.safe_where(h))(0.0) == 1.0
        assert ft.jit(ft.grad(ft.safe_where(h)))(0.0) == 1.0
        assert ft.jit(ft.grad(ft.grad(ft.safe_where(h))))(0.0) == 0.0
        assert np.isnan(ft.jit(ft.grad(h))(0.0))


def test_a_likelihood_with_censored_observations() -> None:
    """Log-densities of those that were seen, log-survival of those that were not: zeros among the times."""
    times = np.array([0.0, 1.5, 0.0, 4.0, 2.0])
    seen = np.array([False, True, False, True, False])

    def loss(params: Any, times: Any) -> Any:
        rate, shape = np.exp(params)
        density = np.log(shape * rate) + (shape - 1) * np.log(rate * times) - (rate * times) ** shape
        return -np.sum(np.where(seen, density, np.where(times > 0, -((rate * times) ** shape), 0.0)))

    def without_zeros(params: Any) -> Any:
        rate, shape = np.exp(params)
        t = np.array([1.5, 4.0])
        density = np.log(shape * rate) + (shape - 1) * np.log(rate * t) - (rate * t) ** shape
        return -np.sum(density) + (rate * 2.0) ** shape

    params = np.array([0.2, -0.3])
    with np.errstate(all="ignore"):
        assert np.isnan(ft.jit(ft.grad(loss))(params, times)).any()
        gradient = ft.jit(ft.grad(ft.safe_where(loss)))(params, times)
        curvature = ft.jit(ft.hessian(ft.safe_where(loss)))(params, times)
    np.testing.assert_allclose(gradient, ft.grad(without_zeros)(params), rtol=1e-13)
    np.testing.assert_allclose(curvature, ft.hessian(without_zeros)(params), rtol=1e-12)
