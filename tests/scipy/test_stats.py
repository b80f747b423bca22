"""functrans.scipy.stats against SciPy: densities, distribution functions, quantiles, and their derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats as ss

import functrans as ft
import functrans.scipy.stats as ours
from functrans import errors
from tests.scipy.agreement import Use, check_use

CONTINUOUS: dict[str, tuple[float, ...]] = {
    "beta": (2.0, 3.5),
    "cauchy": (),
    "chi2": (3.0,),
    "expon": (),
    "gamma": (2.5,),
    "gennorm": (1.3,),
    "laplace": (),
    "logistic": (),
    "norm": (),
    "pareto": (2.2,),
    "t": (3.5,),
    "truncnorm": (-0.5, 2.0),
    "uniform": (),
    "vonmises": (2.0,),
    "wrapcauchy": (0.4,),
}
DISCRETE: dict[str, tuple[float, ...]] = {
    "bernoulli": (0.3,),
    "betabinom": (5.0, 2.0, 3.0),
    "binom": (5.0, 0.3),
    "geom": (0.3,),
    "nbinom": (4.0, 0.4),
    "poisson": (2.4,),
}
X = np.array([-60.0, -2.5, -0.3, 0.0, 0.2, 0.5, 0.9, 1.0, 1.7, 3.0, 12.0, 80.0, np.inf, -np.inf, np.nan])
K = np.array([-1.0, 0, 1, 2, 3, 4, 5, 7, 2.5, np.nan])
Q = np.array([0.0, 1e-9, 0.1, 0.5, 0.8, 1.0, 1.2, -0.1, np.nan])
METHODS = ("logpdf", "pdf", "cdf", "sf", "logcdf", "logsf")


def offered(distribution: Any, method: str) -> bool:
    functions = distribution.functions
    plain = method.removeprefix("log")
    return (
        method in ("logpdf", "pdf", "logpmf", "pmf")
        or functions.get(method) is not None
        or (functions.get(plain) is not None)
    )


@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous_distributions(name: str) -> None:
    distribution, scipys, shapes = getattr(ours, name), getattr(ss, name), CONTINUOUS[name]
    for method in METHODS:
        if not offered(distribution, method):
            with pytest.raises(errors.ArgumentError, match=f"{name}.* is not implemented"):
                getattr(distribution, method)(0.5, *shapes)
            continue
        for where in ((), (0.3, 1.7)):
            with np.errstate(all="ignore"):
                found = getattr(distribution, method)(X, *shapes, *where)
                expected = getattr(scipys, method)(X, *shapes, *where)
            np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-300, err_msg=f"{name}.{method}{where}")
    for method in ("ppf", "isf"):
        if distribution.inverses[method] is None:
            continue
        with np.errstate(all="ignore"):
            found = getattr(distribution, method)(Q, *shapes, 0.3, 1.7)
            expected = getattr(scipys, method)(Q, *shapes, 0.3, 1.7)
        np.testing.assert_allclose(found, expected, rtol=1e-10, err_msg=f"{name}.{method}")


@pytest.mark.parametrize("name", CONTINUOUS)
def test_derivatives_of_continuous_distributions(name: str) -> None:
    distribution, shapes = getattr(ours, name), tuple(map(np.float64, CONTINUOUS[name]))
    x = np.array([1.6, 2.5]) if name == "pareto" else np.array([0.4, 0.7])
    where = () if name == "uniform" else (np.float64(0.1), np.float64(1.2))
    ft.test_util.check_grads(distribution.logpdf, (x, *shapes, *where), 2, atol=1e-5, rtol=1e-5)
    for method in ("cdf", "logsf"):
        if offered(distribution, method):
            ft.test_util.check_grads(getattr(distribution, method), (x, *shapes, *where), 1, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", DISCRETE)
def test_discrete_distributions(name: str) -> None:
    distribution, scipys, shapes = getattr(ours, name), getattr(ss, name), DISCRETE[name]
    for method in ("logpmf", "pmf", "cdf", "sf", "logcdf", "logsf"):
        if not offered(distribution, method):
            continue
        with np.errstate(all="ignore"):
            found = getattr(distribution, method)(K, *shapes)
            expected = getattr(scipys, method)(K, *shapes)
        np.testing.assert_allclose(found, expected, rtol=1e-11, err_msg=f"{name}.{method}")
        with np.errstate(all="ignore"):
            moved = getattr(distribution, method)(K + 2, *shapes, loc=2)
        np.testing.assert_allclose(moved, expected, rtol=1e-11)
    last = np.float64(shapes[-1])
    k = np.array([1.0, 1.0]) if name == "bernoulli" else np.array([1.0, 3.0])
    ft.test_util.check_grads(lambda p: distribution.logpmf(k, *shapes[:-1], p), (last,), 2, atol=1e-6, rtol=1e-6)
    if offered(distribution, "cdf"):
        ft.test_util.check_grads(lambda p: distribution.cdf(0 * k + 1, *shapes[:-1], p), (last,), 1)


def test_quantiles_of_bernoulli() -> None:
    q = np.array([0.0, 0.2, 0.7, 0.71, 1.0])
    np.testing.assert_array_equal(ours.bernoulli.ppf(q, 0.3), ss.bernoulli.ppf(q, 0.3))


def test_transformations_of_distributions() -> None:
    x = np.linspace(0.1, 0.9, 5)
    for name, shapes in CONTINUOUS.items():
        density = getattr(ours, name).logpdf
        slope = ft.grad(lambda v, f=density, s=shapes: np.sum(f(v, *s)))
        np.testing.assert_allclose(ft.jit(slope)(x), slope(x), rtol=1e-12, atol=1e-14, err_msg=name)
        rows = ft.vmap(ft.grad(lambda v, f=density, s=shapes: f(v, *s)))(x)
        np.testing.assert_allclose(rows, slope(x), rtol=1e-12, atol=1e-14, err_msg=name)


def test_derivatives_out_of_the_support_are_zero() -> None:
    for name, x in (
        ("gamma", -1.0),
        ("beta", 1.5),
        ("pareto", 0.5),
        ("uniform", 2.0),
        ("truncnorm", 5.0),
        ("expon", -1.0),
    ):
        distribution, shapes = getattr(ours, name), CONTINUOUS[name]
        assert distribution.logpdf(x, *shapes) == -np.inf
        for method in ("logpdf", "pdf", "cdf", "logcdf", "sf", "logsf"):
            operands = (x, *shapes, 0.0, 1.0)
            gradient = ft.grad(getattr(distribution, method), tuple(range(len(operands))))(*operands)
            np.testing.assert_array_equal(gradient[0], 0.0, err_msg=f"{name}.{method}")
            assert np.all(np.isfinite(gradient)), f"{name}.{method}: {gradient}"


def test_types_and_parameters() -> None:
    assert ours.norm.logpdf(np.float32(1), 0, 1).dtype == np.float32
    assert type(ours.norm.logpdf(1)) is np.float64
    assert ours.gamma.logpdf(np.ones((2, 1), np.float32), np.ones(3, np.float32)).shape == (2, 3)
    assert ours.norm.cdf(np.zeros((0, 2))).shape == (0, 2)
    assert np.isnan(ours.norm.logpdf(0.0, 0.0, -1.0))
    assert np.isnan(ours.gamma.pdf(0.5, -1.0))
    np.testing.assert_array_equal(ours.gamma.logpdf(1.5, a=2.0, scale=2.0), ours.gamma.logpdf(1.5, 2.0, 0.0, 2.0))
    assert repr(ours.beta) == "<distribution beta(a, b, loc, scale)>"
    with pytest.raises(errors.ArgumentError, match=r"beta.pdf: the parameter 'b' is missing"):
        ours.beta.pdf(0.5, 1.0)
    with pytest.raises(errors.ArgumentError, match=r"norm.pdf: 'mu' is no parameter; they are loc, scale"):
        ours.norm.pdf(0.5, mu=1.0)
    with pytest.raises(errors.ArgumentError, match="'loc' is given twice"):
        ours.norm.pdf(0.5, 0.0, loc=1.0)
    with pytest.raises(errors.ArgumentError, match="got 4 operands"):
        ours.norm.pdf(0.5, 0.0, 1.0, 2.0)
    with pytest.raises(errors.DTypeError, match=r"norm\.logpdf"):
        ours.norm.logpdf(1j)


def test_tails_are_precise() -> None:
    x = np.array([5.0, 20.0, 37.0])
    for name, shapes in (
        ("norm", ()),
        ("logistic", ()),
        ("cauchy", ()),
        ("laplace", ()),
        ("t", (3.5,)),
        ("gamma", (2.5,)),
    ):
        distribution, scipys = getattr(ours, name), getattr(ss, name)
        np.testing.assert_allclose(distribution.sf(x, *shapes), scipys.sf(x, *shapes), rtol=1e-11)
        np.testing.assert_allclose(distribution.logsf(10 * x, *shapes), scipys.logsf(10 * x, *shapes), rtol=1e-10)
    a, b = np.array([6.0, -9.0, -np.inf, 30.0]), np.array([7.0, -8.0, np.inf, np.inf])
    y = np.array([6.5, -8.25, 0.5, 31.0])
    np.testing.assert_allclose(ours.truncnorm.logpdf(y, a, b), ss.truncnorm.logpdf(y, a, b), rtol=1e-10)
    np.testing.assert_allclose(ours.truncnorm.cdf(y, a, b), ss.truncnorm.cdf(y, a, b), rtol=1e-9)
    assert np.all(np.isfinite(ft.grad(lambda y: np.sum(ours.truncnorm.logpdf(y, a, b)))(y)))


# -- distributions of vectors --------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
POINTS, MEAN, ROOT = RNG.normal(size=(4, 3)), RNG.normal(size=3), RNG.normal(size=(3, 3))
COV = ROOT @ ROOT.T + np.eye(3)


def test_multivariate_normal() -> None:
    f = ours.multivariate_normal.logpdf
    expected = ss.multivariate_normal.logpdf(POINTS, MEAN, COV)
    np.testing.assert_allclose(f(POINTS, MEAN, COV), expected, rtol=1e-13)
    np.testing.assert_allclose(ft.vmap(f, (0, None, None))(POINTS, MEAN, COV), expected, rtol=1e-13)
    np.testing.assert_allclose(f(POINTS[0], MEAN, np.stack([COV, 2 * COV]))[0], expected[0], rtol=1e-13)
    np.testing.assert_allclose(ours.multivariate_normal.pdf(POINTS, MEAN, COV), np.exp(expected), rtol=1e-13)
    np.testing.assert_allclose(f(0.5, 0.0, 2.0), ss.multivariate_normal.logpdf(0.5, 0.0, 2.0), rtol=1e-14)
    np.testing.assert_allclose(
        f(POINTS, MEAN, 2.0), ss.multivariate_normal.logpdf(POINTS, MEAN, 2 * np.eye(3)), rtol=1e-13
    )
    ft.test_util.check_grads(
        lambda x, m, r: f(x, m, r @ r.T + np.eye(3)), (POINTS[0], MEAN, ROOT), 2, atol=1e-5, rtol=1e-5
    )
    with pytest.raises(errors.ShapeError, match=r"cov must have shape \(\.\.\., 3, 3\)"):
        f(POINTS, MEAN, np.eye(2))
    with pytest.raises(errors.ArgumentError, match="allow_singular"):
        f(POINTS, MEAN, COV, True)


def test_dirichlet_and_multinomial() -> None:
    shares, alpha = RNG.dirichlet([1, 2, 3.0], 5).T, np.array([1.5, 2.0, 0.7])
    expected = ss.dirichlet.logpdf(shares, alpha)
    np.testing.assert_allclose(ours.dirichlet.logpdf(shares, alpha), expected, rtol=1e-13)
    np.testing.assert_allclose(ours.dirichlet.logpdf(shares[:2], alpha), expected, rtol=1e-12)
    np.testing.assert_allclose(ours.dirichlet.pdf(shares, alpha), np.exp(expected), rtol=1e-12)
    assert ours.dirichlet.logpdf(np.array([0.5, 0.6, 0.1]), alpha) == -np.inf
    assert np.isnan(ours.dirichlet.logpdf(shares[:, 0], -alpha))
    inner = np.array([[0.2, 0.3], [0.3, 0.4]])
    ft.test_util.check_grads(ours.dirichlet.logpdf, (inner, alpha), 2, atol=1e-6, rtol=1e-6)
    for x, a, message in ((shares, alpha[:2], "2 entries, or 1"), (shares, np.ones((2, 2)), "alpha must be a vector")):
        with pytest.raises(errors.ShapeError, match=message):
            ours.dirichlet.logpdf(x, a)
    counts, p = np.array([[1, 2, 0], [1, 1, 1], [2, 2, 2]]), shares[:, 0]
    np.testing.assert_allclose(ours.multinomial.logpmf(counts, 3, p), ss.multinomial.logpmf(counts, 3, p), rtol=1e-13)
    np.testing.assert_allclose(ours.multinomial.pmf(counts, 3, p), ss.multinomial.pmf(counts, 3, p), rtol=1e-13)
    assert ours.multinomial.logpmf(np.array([0.5, 1.5, 1.0]), 3, p) == -np.inf
    ft.test_util.check_grads(lambda p: ours.multinomial.logpmf(counts[:2], 3, p), (p,), 2)


# -- summaries -----------------------------------------------------------------------------------------------

Y = np.array([[3.0, 1, 3, 2, 2], [0, 0, 1, 1, 5]])


@pytest.mark.parametrize("axis", [0, 1, -1, None])
def test_mode(axis: Any) -> None:
    for keepdims in (False, True):
        found = ft.jit(lambda y, k=keepdims: tuple(ours.mode(y, axis=axis, keepdims=k)))(Y)
        for a, b in zip(found, ss.mode(Y, axis=axis, keepdims=keepdims), strict=True):
            np.testing.assert_array_equal(a, b)
            assert np.shape(a) == np.shape(b)
    broken = np.array([1, np.nan, 2, np.nan, 1])
    for a, b in zip(ft.jit(lambda y: tuple(ours.mode(y)))(broken), ss.mode(broken), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_derivative_of_a_mode() -> None:
    gradient = ft.grad(lambda y: ours.mode(y, axis=None)[0])(np.array([2.0, 1.0, 3.0, 1.0]))
    assert gradient.sum() == 1.0
    assert set(gradient[[0, 2]]) == {0.0}


@pytest.mark.parametrize("axis", [0, 1, None])
@pytest.mark.parametrize("method", ["average", "min", "max", "dense", "ordinal"])
def test_rankdata(method: str, axis: Any) -> None:
    found, expected = ft.jit(lambda y: ours.rankdata(y, method, axis=axis))(Y), ss.rankdata(Y, method, axis=axis)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(ft.jit(lambda y: ours.rankdata(y, method))(np.zeros(0)), ss.rankdata([], method))


def test_ranks_of_nan_and_their_derivative() -> None:
    np.testing.assert_array_equal(ft.jit(ours.rankdata)(np.array([1, np.nan])), ss.rankdata([1, np.nan]))
    np.testing.assert_array_equal(ft.grad(lambda y: np.sum(ours.rankdata(y) ** 2))(Y[0]), np.zeros(5))
    with pytest.raises(ValueError, match="method must be one of"):
        ft.jit(lambda y: ours.rankdata(y, "best"))(Y)
    with pytest.raises(errors.ArgumentError, match="nan_policy='omit'"):
        ft.jit(lambda y: ours.rankdata(y, nan_policy="omit"))(Y)
    with pytest.raises(ValueError, match="nan_policy must be one of"):
        ft.jit(lambda y: ours.sem(y, nan_policy="drop"))(Y)


USES = [
    Use("sem", lambda xp, y: xp.sem(y), (Y + 0.1 * Y**2,)),
    Use("sem axis", lambda xp, y: xp.sem(y, axis=1, ddof=0), (Y,)),
    Use("sem all", lambda xp, y: xp.sem(y, axis=None), (Y.astype(np.float32),), 1),
]


@pytest.mark.parametrize("use", USES, ids=[u.name for u in USES])
def test_sem(use: Use) -> None:
    check_use(use, ss, ours)


# -- density estimates ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dimensions", [1, 2])
def test_density_estimates(dimensions: int) -> None:
    rng = np.random.default_rng(dimensions)
    shape = () if dimensions == 1 else (2,)
    data, points, weights = rng.normal(size=(*shape, 12)), rng.normal(size=(*shape, 5)), rng.uniform(0.5, 1, 12)
    for method in (None, "scott", "silverman", 0.7, lambda k: 0.5 * k.scotts_factor()):
        found, expected = ours.gaussian_kde(data, method, weights), ss.gaussian_kde(data, method, weights)
        np.testing.assert_allclose(found(points), expected(points), rtol=1e-12)
        np.testing.assert_allclose(found.logpdf(points), expected.logpdf(points), rtol=1e-12)
        np.testing.assert_allclose(found.covariance, expected.covariance, rtol=1e-13)
        mean, cov = np.zeros(dimensions), np.eye(dimensions)
        np.testing.assert_allclose(
            found.integrate_gaussian(mean, cov), expected.integrate_gaussian(mean, cov), rtol=1e-12
        )
        np.testing.assert_allclose(found.integrate_kde(found), expected.integrate_kde(expected), rtol=1e-12)
    plain = ours.gaussian_kde(data)
    np.testing.assert_allclose(plain.neff, 12.0)
    if dimensions == 1:
        np.testing.assert_allclose(plain.integrate_box_1d(-1, 0.5), ss.gaussian_kde(data).integrate_box_1d(-1, 0.5))
    else:
        with pytest.raises(errors.ShapeError, match="2 dimensions"):
            plain.integrate_box_1d(-1, 0.5)
    ft.test_util.check_grads(lambda d, p, w: ours.gaussian_kde(d, weights=w).logpdf(p), (data, points, weights), 1)
    np.testing.assert_array_equal(ft.jit(lambda d: ours.gaussian_kde(d)(points))(data).shape, (5,))
    drawn = plain.resample(ft.random.key(0), (400,))
    assert drawn.shape == (dimensions, 400)
    np.testing.assert_allclose(drawn.mean(axis=1), np.atleast_2d(data).mean(axis=1), atol=0.3)


def test_density_estimates_that_are_refused() -> None:
    with pytest.raises(errors.ShapeError, match="the sample must have shape"):
        ours.gaussian_kde(np.zeros(1))
    with pytest.raises(errors.ShapeError, match=r"weights must have shape \(3,\)"):
        ours.gaussian_kde(np.arange(3.0), weights=np.ones(2))
    with pytest.raises(ValueError, match="bw_method"):
        ours.gaussian_kde(np.arange(3.0), "best")
    with pytest.raises(errors.ShapeError, match=r"points must have shape \(1, m\)"):
        ours.gaussian_kde(np.arange(3.0))(np.zeros((2, 2)))
