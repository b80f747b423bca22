"""Derivatives of samples in the parameters, with the key held fixed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

import functrans as ft
from functrans import random
from functrans.test_util import check_grads

KEY = random.key(17)
REPARAMETRISED: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "uniform": (lambda a, b: random.uniform(KEY, (4,), minval=a, maxval=b), (-1.5, 2.0)),
    "truncated_normal": (lambda a, b: random.truncated_normal(KEY, a, b, (4,)), (-1.0, 1.5)),
    "lognormal": (lambda s: random.lognormal(KEY, s), (np.array([0.5, 1.5]),)),
    "pareto": (lambda b: random.pareto(KEY, b), (np.array([0.8, 3.0]),)),
    "rayleigh": (lambda s: random.rayleigh(KEY, s), (np.array([0.8, 3.0]),)),
    "weibull_min": (lambda s, c: random.weibull_min(KEY, s, c, (3,)), (2.0, 1.5)),
    "triangular": (lambda a, c, b: random.triangular(KEY, a, c, b, (4,)), (-1.0, 0.3, 2.0)),
    "wald": (lambda m: random.wald(KEY, m, (4,)), (1.7,)),
    "double_sided_maxwell": (lambda m, s: random.double_sided_maxwell(KEY, m, s, (3,)), (0.5, 2.0)),
    "multivariate_normal": (
        lambda m, r: random.multivariate_normal(KEY, m, r @ r.T + np.eye(2), (3,)),
        (np.array([0.5, -1.0]), np.array([[1.0, 0.3], [-0.4, 0.8]])),
    ),
    "permutation": (lambda x: random.permutation(KEY, x, independent=True), (np.arange(6.0).reshape(3, 2),)),
    "choice": (lambda x: random.choice(KEY, x, (4,)), (np.array([1.5, 2.5, 4.0]),)),
}


@pytest.mark.parametrize("name", REPARAMETRISED)
def test_reparametrised(name: str) -> None:
    f, args = REPARAMETRISED[name]
    check_grads(f, args, 2)


def implicit(distribution: Any, x: Any, *parameters: float) -> list[Any]:
    """``-dF/dp / density`` for each parameter, by differences of the distribution function."""
    out = []
    for i, p in enumerate(parameters):
        h = 1e-5 * p
        up, down = ([*parameters[:i], p + s * h, *parameters[i + 1 :]] for s in (1, -1))
        slope = (distribution.cdf(x, *up) - distribution.cdf(x, *down)) / (2 * h)
        out.append(-slope / distribution.pdf(x, *parameters))
    return out


@pytest.mark.parametrize("a", [0.2, 0.9, 1.0, 2.5, 30.0])
def test_gamma(a: float) -> None:
    x = random.gamma(KEY, a, (6,))
    (expected,) = implicit(stats.gamma, x, a)
    np.testing.assert_allclose(ft.jacfwd(lambda a: random.gamma(KEY, a, (6,)))(a), expected, rtol=1e-6)
    np.testing.assert_allclose(ft.jacrev(lambda a: random.gamma(KEY, a, (6,)))(a), expected, rtol=1e-6)
    log = ft.jacfwd(lambda a: random.loggamma(KEY, a, (6,)))(a)
    np.testing.assert_allclose(log, expected / x, rtol=1e-6)
    np.testing.assert_allclose(ft.jit(ft.jacfwd(lambda a: random.gamma(KEY, a, (6,))))(a), expected, rtol=1e-6)


def test_loggamma_where_gamma_underflows() -> None:
    a = 1e-4
    x = random.loggamma(KEY, a, (5,))
    assert (random.gamma(KEY, a, (5,)) == 0).any() and np.isfinite(x).all()
    # Near zero the distribution function is exp(a x) / gamma(a + 1): log u = a x, so that x' = -x / a.
    slope = ft.jacfwd(lambda a: random.loggamma(KEY, a, (5,)))(a)
    np.testing.assert_allclose(slope, -x / a, rtol=1e-2)


def test_chisquare_is_that_of_the_gamma_distribution() -> None:
    df = 3.0
    x = random.chisquare(KEY, df, (5,))
    (expected,) = implicit(stats.chi2, x, df)
    np.testing.assert_allclose(ft.jacfwd(lambda df: random.chisquare(KEY, df, (5,)))(df), expected, rtol=1e-6)


def test_quotients_follow_from_their_parts() -> None:
    """Where two gamma variables make a sample, the derivative is the chain rule over both."""
    a, b = 1.7, 0.6
    keys = random.split(KEY)
    log_a, log_b = random.loggamma(keys[0], a, (4,)), random.loggamma(keys[1], b, (4,))
    x = 1 / (1 + np.exp(log_b - log_a))
    np.testing.assert_allclose(random.beta(KEY, a, b, (4,)), x, rtol=1e-14)
    slope = ft.jacfwd(lambda a: random.loggamma(keys[0], a, (4,)))(a)
    np.testing.assert_allclose(ft.jacfwd(lambda a: random.beta(KEY, a, b, (4,)))(a), x * (1 - x) * slope, rtol=1e-12)
    slope = ft.jacfwd(lambda b: random.loggamma(keys[1], b, (4,)))(b)
    np.testing.assert_allclose(ft.jacfwd(lambda b: random.beta(KEY, a, b, (4,)))(b), x * (x - 1) * slope, rtol=1e-12)


@pytest.mark.parametrize(
    "f, p",
    [
        (lambda p: random.dirichlet(KEY, p), np.array([0.5, 2.0, 3.0])),
        (lambda p: random.t(KEY, p), np.array([0.7, 4.0])),
        (lambda p: random.f(KEY, p, p + 1.0), np.array([1.5, 6.0])),
        (lambda p: random.generalized_normal(KEY, p, (3,)), np.float64(1.6)),
        (lambda p: random.ball(KEY, 3, p), np.float64(1.6)),
        (lambda p: random.beta(KEY, p, 2.0), np.array([0.5, 3.0])),
    ],
    ids=["dirichlet", "t", "f", "generalized_normal", "ball", "beta"],
)
def test_both_modes_agree_to_second_order(f: Any, p: Any) -> None:
    np.testing.assert_allclose(ft.jacrev(f)(p), ft.jacfwd(f)(p), rtol=1e-12)
    np.testing.assert_allclose(ft.jit(ft.jacrev(f))(p), ft.jacfwd(f)(p), rtol=1e-12)
    assert np.isfinite(ft.jacfwd(f)(p)).all() and np.any(ft.jacfwd(f)(p))


def test_the_mean_of_gradients_is_the_gradient_of_the_mean() -> None:
    """E[x**2] of a gamma variable is a (a + 1), of derivative 2 a + 1."""
    a = 2.0
    slope = ft.grad(lambda a: np.mean(random.gamma(random.key(1), a, (20000,)) ** 2))(a)
    assert abs(slope - (2 * a + 1)) < 0.1


def test_steps_have_a_zero_derivative() -> None:
    for f in (
        lambda p: np.sum(random.binomial(KEY, 20.0 * p, 0.3, (3,))),
        lambda p: np.sum(random.multinomial(KEY, 20.0, np.array([0.5, 0.5]) * p)),
        lambda p: np.sum(random.poisson(KEY, 3.0 * p, (3,)) * 1.0),
        lambda p: np.sum(random.bernoulli(KEY, p, (3,)) * 1.0),
        lambda p: np.sum(random.geometric(KEY, p, (3,)) * 1.0),
    ):
        assert ft.grad(f)(0.4) == 0.0


def test_complex_numbers_and_half_precision() -> None:
    z = ft.grad(lambda x: np.sum(np.abs(x * random.normal(KEY, (3,), np.complex128)) ** 2))(2.0)
    expected = 4.0 * np.sum(np.abs(random.normal(KEY, (3,), np.complex128)) ** 2)
    np.testing.assert_allclose(z, expected, rtol=1e-12)
    half = ft.grad(lambda a: random.gamma(KEY, a))(np.float16(2.0))
    assert half.dtype == np.float16
