"""Exponentials and logarithms: no overflow where the result is finite, and derivatives at the extremes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.special

from functrans import errors, lax
from functrans.core.stage import stage
from functrans.core.trace import aval_of
from tests.lax.derivatives import gradients, slopes, tangent

INF = np.inf


@pytest.mark.parametrize(
    ("function", "first", "second"),
    [
        (lax.exp, np.exp, np.exp),
        (lax.exp2, lambda x: np.exp2(x) * np.log(2), lambda x: np.exp2(x) * np.log(2) ** 2),
        (lax.expm1, np.exp, np.exp),
        (lax.log, lambda x: 1 / x, lambda x: -1 / x**2),
        (lax.log2, lambda x: 1 / x / np.log(2), lambda x: -1 / x**2 / np.log(2)),
        (lax.log10, lambda x: 1 / x / np.log(10), lambda x: -1 / x**2 / np.log(10)),
        (lax.log1p, lambda x: 1 / (1 + x), lambda x: -1 / (1 + x) ** 2),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_derivatives(function: Any, first: Any, second: Any, dtype: Any) -> None:
    x = np.array([0.3, 1.0, 2.5]).astype(dtype)
    rtol = 1e-5 if dtype is np.float32 else 1e-13
    np.testing.assert_allclose(slopes(function, x), first(x), rtol=rtol)
    np.testing.assert_allclose(slopes(function, x, 2), second(x), rtol=rtol)
    assert slopes(function, x).dtype == dtype


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_logistic_neither_overflows_nor_loses_small_values(dtype: Any) -> None:
    x = np.array([-INF, -800.0, -80.0, -5.0, 0.0, 5.0, 800.0, INF], dtype)
    rtol = float(np.finfo(dtype).eps) * 4
    np.testing.assert_allclose(lax.logistic(x), scipy.special.expit(x), rtol=rtol, atol=float(np.finfo(dtype).tiny))
    assert lax.logistic(x).dtype == dtype
    np.testing.assert_array_equal(slopes(lax.logistic, x)[[0, 1, 6, 7]], [0, 0, 0, 0])
    assert np.isnan(lax.logistic(np.nan))


def test_logistic_of_complex_numbers() -> None:
    z = np.array([0.5 + 1j, -800 + 1j, 800 - 2j])
    np.testing.assert_allclose(lax.logistic(z)[0], 1 / (1 + np.exp(-z[0])))
    np.testing.assert_allclose(lax.logistic(z)[1:], [0, 1], atol=1e-300)


def test_logistic_derivatives_come_from_the_result() -> None:
    s = 1 / (1 + np.exp(-0.3))
    np.testing.assert_allclose(slopes(lax.logistic, 0.3), s * (1 - s))
    np.testing.assert_allclose(slopes(lax.logistic, 0.3, 2), s * (1 - s) * (1 - 2 * s))


@pytest.mark.parametrize("function", [lax.logaddexp, lax.logaddexp2])
def test_logaddexp_at_infinity(function: Any) -> None:
    x = np.array([-INF, INF, -INF, INF, 0.0, -INF, INF, 1e4])
    y = np.array([-INF, INF, INF, -INF, -INF, 1.0, 1.0, 1.0])
    out = [-INF, INF, INF, INF, 0.0, 1.0, INF, 1e4]
    np.testing.assert_array_equal(function(x, y), out)
    left, right = gradients(function, x, y)
    np.testing.assert_array_equal(left, [0.5, 0.5, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0])
    np.testing.assert_array_equal(right, [0.5, 0.5, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0])


@pytest.mark.parametrize(("function", "base"), [(lax.logaddexp, np.e), (lax.logaddexp2, 2.0)])
def test_logaddexp_has_its_second_derivative_at_a_tie(function: Any, base: float) -> None:
    # The tie is special at infinity alone: here the share's slope is ln(b)/4.
    share = tangent(lambda x: tangent(lambda z: function(z, 1.5), (x,), (1.0,)), (1.5,), (1.0,))
    np.testing.assert_allclose(share, np.log(base) / 4)


def test_log_at_zero_and_below() -> None:
    with np.errstate(divide="ignore", invalid="ignore"):
        np.testing.assert_array_equal(lax.log(np.array([0.0, -1.0])), [-INF, np.nan])
        np.testing.assert_array_equal(slopes(lax.log, np.zeros(1)), [INF])
    np.testing.assert_allclose(lax.log(np.array([-1 + 0j])), [np.pi * 1j])


@pytest.mark.parametrize("function", [lax.exp, lax.log, lax.logistic, lax.sin, lax.sqrt])
@pytest.mark.parametrize("x", [np.arange(3), np.array([True])])
def test_integers_are_refused_when_traced(function: Any, x: Any) -> None:
    with pytest.raises(errors.DTypeError, match=f"{function.__name__}: operand 0 has type .* takes floats, complex"):
        stage(lambda y: [function(y)], [aval_of(x)], "f")
