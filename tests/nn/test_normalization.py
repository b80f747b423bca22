"""Softmax and its relatives: SciPy's values, masks and infinities, derivatives, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.special

import functrans as ft
from functrans import errors, nn
from tests.nn.agreement import check, same

INF = np.inf
X = np.random.default_rng(0).normal(size=(2, 3, 4)) * 3
MASK = np.random.default_rng(1).random((2, 3, 4)) < 0.6
MASK[1] |= ~MASK[0]
MASK[..., 0] = True
AXES = pytest.mark.parametrize("axis", [None, 0, -1, (0, 2), (1,)])


def over(f: Callable[..., Any], axis: Any, **options: Any) -> Callable[..., Any]:
    return lambda x: f(x, axis=axis, **options)


# -- softmax and its logarithm ----------------------------------------------------------------------------------------


@AXES
def test_softmax_is_that_of_scipy(axis: Any) -> None:
    np.testing.assert_allclose(nn.softmax(X, axis), scipy.special.softmax(X, axis), rtol=1e-14, strict=True)
    np.testing.assert_allclose(nn.log_softmax(X, axis), scipy.special.log_softmax(X, axis), rtol=1e-13, strict=True)
    check(over(nn.softmax, axis), X)
    check(over(nn.log_softmax, axis), X)


@AXES
def test_a_mask_leaves_elements_out(axis: Any) -> None:
    # What is masked may hold anything.
    x = np.where(MASK, X, np.array([np.nan, INF, -INF, 1e308]))
    masked = np.where(MASK, X, -INF)
    np.testing.assert_allclose(nn.softmax(x, axis, MASK), scipy.special.softmax(masked, axis), rtol=1e-14)
    np.testing.assert_allclose(nn.log_softmax(x, axis, MASK), scipy.special.log_softmax(masked, axis), rtol=1e-13)
    np.testing.assert_allclose(nn.logsumexp(x, axis, where=MASK), scipy.special.logsumexp(masked, axis), rtol=1e-14)
    count = np.sum(MASK, axis=axis)
    expected = scipy.special.logsumexp(masked, axis) - np.log(count)
    np.testing.assert_allclose(nn.logmeanexp(x, axis, MASK), expected, rtol=1e-13)
    for f in (nn.softmax, nn.logsumexp, nn.logmeanexp):
        check(over(f, axis, where=MASK), X, order=1)
        gradient = ft.grad(lambda x, f=f: np.sum(np.sin(f(x, axis, where=MASK))))(x)
        assert np.isfinite(gradient).all()
        np.testing.assert_array_equal(gradient[~MASK], 0)


def test_masks_broadcast_and_may_be_traced() -> None:
    mask = np.array([[True, False, True, True]])
    whole = np.broadcast_to(mask, X.shape)
    for f in (nn.softmax, nn.log_softmax, nn.logsumexp, nn.logmeanexp, nn.standardize):
        expected = f(X, axis=-1, where=whole)
        same(f(X, axis=-1, where=mask), expected)
        same(ft.jit(lambda x, m, f=f: f(x, axis=-1, where=m))(X, mask), expected)
        found = ft.vmap(lambda x, m, f=f: f(x, axis=-1, where=m))(X, whole)
        np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_the_extremes_of_softmax() -> None:
    x = np.array([[1e300, -1e300, 0], [-1e300, -1e300, -1e300], [-INF, 2, 2], [-INF, -INF, -INF], [800, 0, -800]])
    out = nn.softmax(x)
    np.testing.assert_array_equal(out[:4], [[1, 0, 0], [1 / 3, 1 / 3, 1 / 3], [0, 0.5, 0.5], [0, 0, 0]])
    np.testing.assert_allclose(np.log(out[4, :1]), [0], atol=1e-300)
    logs = nn.log_softmax(x)
    third, half = -np.log(3), -np.log(2)
    expected = [[0, -2e300, -1e300], [third] * 3, [-INF, half, half], [-INF] * 3, [0, -800, -1600]]
    expected[0][1] = -2e300
    np.testing.assert_allclose(logs, expected, rtol=1e-15)
    for f in (nn.softmax, nn.log_softmax):
        for g in (f, lambda x, f=f: ft.jvp(f, (x,), (np.ones_like(x),))[1]):
            (gradient,) = ft.vjp(g, x)[1](np.arange(15.0).reshape(5, 3))
            assert np.isfinite(gradient).all()
    (gradient,) = ft.vjp(nn.softmax, x)[1](np.arange(15.0).reshape(5, 3))
    np.testing.assert_allclose(gradient[2:4], [[0, -0.25, 0.25], [0, 0, 0]], atol=1e-15)
    with np.errstate(invalid="ignore"):
        assert np.isnan(nn.softmax(np.array([INF, 1.0]))).all()
        assert np.isnan(nn.softmax(np.array([np.nan, 1.0]))).all()


def test_rows_of_large_numbers_sum_to_one() -> None:
    x = X + 1e8
    np.testing.assert_allclose(nn.softmax(x).sum(-1), 1, rtol=1e-15)
    np.testing.assert_allclose(nn.softmax(x), nn.softmax(x - 1e8), rtol=1e-15)


def test_where_nothing_takes_part() -> None:
    nothing = np.zeros((2, 3), bool)
    x = np.ones((2, 3))
    np.testing.assert_array_equal(nn.softmax(x, where=nothing), np.zeros((2, 3)))
    np.testing.assert_array_equal(nn.log_softmax(x, where=nothing), np.full((2, 3), -INF))
    np.testing.assert_array_equal(nn.logsumexp(x, 1, where=nothing), [-INF, -INF])
    np.testing.assert_array_equal(nn.logsumexp(x, 1, b=2.0, where=nothing), [-INF, -INF])
    np.testing.assert_array_equal(nn.logmeanexp(x, 1, where=nothing), [-INF, -INF])
    np.testing.assert_array_equal(nn.standardize(x, where=nothing, epsilon=4.0), np.full((2, 3), 0.5))
    for f in (nn.softmax, nn.log_softmax, nn.logsumexp, nn.logmeanexp):
        _, pull = ft.vjp(lambda x, f=f: f(x, axis=1, where=nothing), x)
        np.testing.assert_array_equal(pull(np.ones_like(f(x, axis=1)))[0], np.zeros((2, 3)))
    for f in (nn.softmax, nn.log_softmax, nn.standardize):
        same(f(np.zeros((2, 0))), np.zeros((2, 0)))
        same(f(np.zeros((0, 2))), np.zeros((0, 2)))
        same(ft.jit(f)(np.zeros((2, 0))), np.zeros((2, 0)))
    same(nn.logsumexp(np.zeros((2, 0)), 1), np.full(2, -INF))
    same(nn.logsumexp(np.zeros((2, 0)), 1, b=3.0), np.full(2, -INF))
    same(nn.logmeanexp(np.zeros((2, 0)), 1), np.full(2, -INF))


# -- logsumexp --------------------------------------------------------------------------------------------------------


@AXES
@pytest.mark.parametrize("keepdims", [False, True])
def test_logsumexp_is_that_of_scipy(axis: Any, keepdims: bool) -> None:
    expected = scipy.special.logsumexp(X, axis, keepdims=keepdims)
    np.testing.assert_allclose(nn.logsumexp(X, axis, keepdims=keepdims), expected, rtol=1e-14)
    assert np.shape(nn.logsumexp(X, axis, keepdims=keepdims)) == np.shape(expected)
    check(over(nn.logsumexp, axis, keepdims=keepdims), X, order=1 if keepdims else 2)
    mean = scipy.special.logsumexp(X, axis, b=np.size(expected) / X.size, keepdims=keepdims)
    np.testing.assert_allclose(nn.logmeanexp(X, axis, keepdims=keepdims), mean, rtol=1e-13)
    check(over(nn.logmeanexp, axis, keepdims=keepdims), X, order=1)


@AXES
@pytest.mark.parametrize("keepdims", [False, True])
def test_logsumexp_with_factors(axis: Any, keepdims: bool) -> None:
    b = np.array([[0.5], [2.0], [-1.5]])

    def signed(a: Any, b: Any) -> Any:
        return nn.logsumexp(a, axis, b, keepdims, return_sign=True)

    expected = scipy.special.logsumexp(X, axis, b, keepdims, return_sign=True)
    for ours, theirs in zip(signed(X, b), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
        assert np.shape(ours) == np.shape(theirs)
    check(signed, X, b, order=1)
    check(lambda a, b: nn.logsumexp(a, axis, b, keepdims), X[..., :1], np.abs(b), order=1 if keepdims else 2)
    plain = nn.logsumexp(X, axis, keepdims=keepdims, return_sign=True)
    np.testing.assert_allclose(plain[0], nn.logsumexp(X, axis, keepdims=keepdims), rtol=1e-14)
    np.testing.assert_array_equal(plain[1], np.ones_like(plain[0]))


def test_logsumexp_where_factors_vanish() -> None:
    # The largest exponents have no part in the sum, which must not lose the others.
    a, b = np.array([1000.0, INF, 0.0, -INF]), np.array([0.0, 0.0, 2.0, 5.0])
    same(nn.logsumexp(a, b=b), np.float64(np.log(2)))
    gradient = ft.grad(lambda a: nn.logsumexp(a, b=b))(a)
    np.testing.assert_array_equal(gradient, [0, 0, 1, 0])
    # The derivative with respect to a factor of zero is not zero.
    a, b = np.array([0.5, 1.5, -0.5]), np.array([0.0, 1.0, 2.0])
    weights = np.exp(a - nn.logsumexp(a, b=b))
    np.testing.assert_allclose(ft.grad(lambda b: nn.logsumexp(a, b=b))(b), weights, rtol=1e-14)
    check(lambda a, b: nn.logsumexp(a, b=b), a, b)


def test_logsumexp_of_sums_that_are_not_positive() -> None:
    a = np.array([1.0, 2.0])
    with np.errstate(invalid="ignore"):
        assert np.isnan(nn.logsumexp(a, b=-1.0))
    for b, expected in (([0.0, 0.0], (-INF, 0)), ([-1.0, 0.0], (1.0, -1)), ([1.0, -1.0], None)):
        size, sign = nn.logsumexp(a, b=np.array(b), return_sign=True)
        theirs = scipy.special.logsumexp(a, b=b, return_sign=True) if expected is None else expected
        np.testing.assert_allclose([size, sign], theirs, rtol=1e-15)
    same(
        nn.logsumexp(np.array([INF, 2.0]), b=np.array([-1.0, 1.0]), return_sign=True), (np.float64(INF), np.float64(-1))
    )
    same(nn.logsumexp(np.zeros(2), b=np.array([1.0, -1.0])), np.float64(-INF))


def test_logsumexp_of_complex_numbers() -> None:
    z = X[0] + 1j * X[1]
    np.testing.assert_allclose(nn.logsumexp(z, 1), scipy.special.logsumexp(z, 1), rtol=1e-13)
    b = np.array([1.0, 2j, -0.5, 0.0])
    np.testing.assert_allclose(nn.logsumexp(z, 1, b), scipy.special.logsumexp(z, 1, b), rtol=1e-12)
    ours = nn.logsumexp(z, 1, b, return_sign=True)
    for found, expected in zip(ours, scipy.special.logsumexp(z, 1, b, return_sign=True), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert [x.dtype for x in ours] == [np.float64, np.complex128]
    check(lambda z, b: nn.logsumexp(z, 1, b), z, b)
    check(lambda z, b: nn.logsumexp(z, 1, b, return_sign=True), z, b)


# -- log1mexp, standardize, one_hot -----------------------------------------------------------------------------------


def test_log1mexp() -> None:
    x = np.array([1e-300, 1e-20, 1e-3, 0.5, 0.69, 0.7, 2.0, 40.0, 800.0, INF])
    expected = np.where(x < 0.1, np.log(-np.expm1(-x)), np.log1p(-np.exp(-np.maximum(x, 0.1))))
    np.testing.assert_allclose(nn.log1mexp(x), expected, rtol=1e-14)
    slope = ft.jvp(nn.log1mexp, (x,), (np.ones_like(x),))[1]
    np.testing.assert_allclose(slope[:-2], 1 / np.expm1(x[:-2]), rtol=1e-13)
    np.testing.assert_array_equal(slope[-2:], [0, 0])
    check(nn.log1mexp, np.array([0.2, 0.5, 0.9, 3.0]))
    same(ft.jit(nn.log1mexp)(2.0), nn.log1mexp(2.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        np.testing.assert_array_equal(nn.log1mexp(np.array([0.0, -1.0, np.nan])), [-INF, np.nan, np.nan])


@AXES
def test_standardize(axis: Any) -> None:
    mean, variance = X.mean(axis, keepdims=True), X.var(axis, keepdims=True)
    np.testing.assert_allclose(nn.standardize(X, axis), (X - mean) / np.sqrt(variance + 1e-5), rtol=1e-12)
    check(over(nn.standardize, axis, epsilon=0.5), X)
    masked = over(nn.standardize, axis, where=MASK)
    mean = X.mean(axis, keepdims=True, where=MASK)
    variance = X.var(axis, keepdims=True, where=MASK)
    np.testing.assert_allclose(masked(X), (X - mean) / np.sqrt(variance + 1e-5), rtol=1e-12)
    check(over(nn.standardize, axis, epsilon=0.5, where=MASK), X)


def test_standardize_with_statistics_given() -> None:
    mean, variance = np.array([0.5, 1.0, -1.0, 0.0]), np.array([[1.0], [2.0], [3.0]])

    def given(x: Any, mean: Any, variance: Any, epsilon: Any) -> Any:
        return nn.standardize(x, mean=mean, variance=variance, epsilon=epsilon)

    np.testing.assert_allclose(given(X, mean, variance, 0.1), (X - mean) / np.sqrt(variance + 0.1), rtol=1e-14)
    check(given, X, mean, variance, 0.1)
    spread = np.mean((X - mean) ** 2, axis=-1, keepdims=True)
    found = nn.standardize(X, mean=mean)
    np.testing.assert_allclose(found, (X - mean) / np.sqrt(spread + 1e-5), rtol=1e-13)
    centered = X - X.mean(-1, keepdims=True)
    found = nn.standardize(X, variance=variance)
    np.testing.assert_allclose(found, centered / np.sqrt(variance + 1e-5), rtol=1e-12)


def test_standardize_does_not_cancel() -> None:
    x = np.array([1.0, 2.0, 3.0]) + 1e8
    np.testing.assert_allclose(nn.standardize(x, epsilon=0.0), [-np.sqrt(1.5), 0, np.sqrt(1.5)], rtol=1e-7)
    halves = np.linspace(0, 300, 2048, dtype=np.float16)
    out = nn.standardize(halves)
    assert out.dtype == np.float16
    np.testing.assert_allclose(out.astype(float), nn.standardize(halves.astype(float)), atol=2e-3)


def test_one_hot() -> None:
    labels = np.array([[2, 0], [1, 5]])
    expected = np.eye(3)[[2, 0, 1]]
    np.testing.assert_array_equal(nn.one_hot(labels, 3).reshape(4, 3), [*expected, [0, 0, 0]])
    np.testing.assert_array_equal(nn.one_hot(labels, 3, axis=0), np.moveaxis(nn.one_hot(labels, 3), -1, 0))
    assert nn.one_hot(labels, 3, dtype=np.float32).dtype == np.float32
    same(ft.jit(lambda i: nn.one_hot(i, 3))(labels), nn.one_hot(labels, 3))
    same(ft.vmap(lambda i: nn.one_hot(i, 3))(labels), nn.one_hot(labels, 3))


# -- what all share ---------------------------------------------------------------------------------------------------

FUNCTIONS = pytest.mark.parametrize(
    "f", [nn.softmax, nn.log_softmax, nn.logsumexp, nn.logmeanexp, nn.standardize], ids=lambda f: f.__name__
)


@FUNCTIONS
def test_dtypes_and_types(f: Any) -> None:
    for dtype in (np.float16, np.float32, np.float64):
        x = X[0].astype(dtype)
        assert f(x).dtype == dtype
        eps = float(np.finfo(dtype).eps)
        np.testing.assert_allclose(f(x).astype(float), f(x.astype(float)), rtol=64 * eps, atol=8 * eps)
        same(ft.jit(f)(x), f(x))
    for ints in (np.array([1, 2, 4]), np.array([1, 2, 4], np.int8), [1, 2, 4]):
        same(f(ints), f(np.array([1.0, 2.0, 4.0])))
    for number in (1.5, np.float32(1.5), np.array(1.5)):
        assert isinstance(f(number), np.generic)
        same(ft.jit(f)(number), f(number))
    same(ft.jit(lambda x: f(x, axis=None, where=x > 0))(X), f(X, axis=None, where=X > 0))


@FUNCTIONS
def test_errors(f: Any) -> None:
    with pytest.raises(errors.ShapeError, match=f"^{f.__name__}: axis=3 is out of bounds for an array with 3 axes"):
        f(X, axis=3)
    with pytest.raises(errors.ShapeError, match=f"^{f.__name__}: axis=.* names an axis twice"):
        f(X, axis=(0, -3))
    with pytest.raises(errors.DTypeError, match=f"^{f.__name__}: where must hold booleans"):
        f(X, where=np.ones(4))
    with pytest.raises(errors.ShapeError, match=f"^{f.__name__}: where has shape"):
        f(X[0], where=MASK)
    with pytest.raises(errors.ArgumentError, match=f"^{f.__name__}: an array or a number is needed, got None"):
        f(None)
    if f is not nn.logsumexp:
        with pytest.raises(errors.DTypeError, match=f"^{f.__name__}: operand 0 has type c128"):
            f(X + 1j)


def test_factors_must_broadcast() -> None:
    with pytest.raises(errors.ShapeError, match=r"^logsumexp: shapes \(2, 3, 4\) and \(2,\) do not broadcast"):
        nn.logsumexp(X, b=np.ones(2))
