"""The error function and its complement: accuracy, with SciPy and without, derivatives, what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import errors, lax
from functrans.core.stage import stage
from functrans.core.trace import aval_of
from functrans.lax import error_functions
from tests.lax.derivatives import slopes

INF = np.inf
X = np.concatenate([np.linspace(-6, 6, 301), np.logspace(-300, 1, 60), -np.logspace(-300, 1, 60)])
FUNCTIONS = pytest.mark.parametrize(("function", "scalar"), [(lax.erf, math.erf), (lax.erfc, math.erfc)])


@pytest.fixture(params=["with SciPy", "without SciPy"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "without SciPy":
        monkeypatch.setattr(error_functions, "library", lambda module: None)
    return str(request.param)


@FUNCTIONS
def test_values(function: Any, scalar: Any, library: str) -> None:
    expected = np.array([scalar(x) for x in X])
    np.testing.assert_allclose(function(X), expected, rtol=2e-14, strict=True)
    for dtype in (np.float16, np.float32):
        x = X[:301].astype(dtype)
        exact = np.array([scalar(float(v)) for v in x])
        out = function(x)
        assert out.dtype == dtype
        tiny = float(np.finfo(dtype).smallest_subnormal)
        np.testing.assert_allclose(out.astype(float), exact, rtol=float(np.finfo(dtype).eps) * 40, atol=tiny)


@FUNCTIONS
def test_special_values_and_types(function: Any, scalar: Any, library: str) -> None:
    special = np.array([-INF, INF, 0.0, -0.0, np.nan])
    np.testing.assert_array_equal(function(special), [scalar(x) for x in special])
    np.testing.assert_array_equal(
        np.signbit(function(special[2:4])), [math.copysign(1, scalar(x)) < 0 for x in (0.0, -0.0)]
    )
    for x in (0.5, np.float64(0.5), np.array(0.5)):
        assert type(function(x)) is np.float64
        assert type(ft.jit(function)(x)) is np.float64
        assert function(x) == ft.jit(function)(x)
    assert type(function(np.float32(0.5))) is np.float32
    assert type(function(np.array(0.5, np.float16))) is np.float16
    assert function(np.zeros((0, 2), np.float32)).shape == (0, 2)


def test_the_tail_of_the_complement() -> None:
    x = np.linspace(6, 26, 41)
    np.testing.assert_allclose(lax.erfc(x), [math.erfc(v) for v in x], rtol=1e-13)


@FUNCTIONS
def test_derivatives(function: Any, scalar: Any) -> None:
    sign = 1 if function is lax.erf else -1
    x = np.array([-3.0, -0.5, 0.0, 0.25, 2.0])
    first = sign * 2 / np.sqrt(np.pi) * np.exp(-(x**2))
    np.testing.assert_allclose(slopes(function, x), first, rtol=1e-14)
    np.testing.assert_allclose(slopes(function, x, 2), -2 * x * first, rtol=1e-14)
    for dtype in (np.float16, np.float32, np.float64):
        far = np.array([-INF, -float(np.finfo(dtype).max), -40.0, 40.0, float(np.finfo(dtype).max), INF], dtype)
        for order in (1, 2):
            slope = slopes(function, far, order)
            assert slope.dtype == dtype
            np.testing.assert_array_equal(slope, np.zeros(6))
    np.testing.assert_allclose(ft.grad(function)(0.0), sign * 2 / np.sqrt(np.pi), rtol=1e-15)


@FUNCTIONS
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.arange(3), "operand 0 has type i64.3., and the operation takes floats"),
        (2, "operand 0 has type i64.*takes floats"),
        (np.array([1j]), "operand 0 has type c128"),
        (np.zeros(2, np.longdouble), "computed in double precision at most. Convert it"),
    ],
)
def test_what_is_refused(function: Any, scalar: Any, x: Any, message: str) -> None:
    for call in (lambda: function(x), lambda: stage(lambda y: [function(y)], [aval_of(x)], "f")):
        with pytest.raises(errors.DTypeError, match=f"^{function.__name__}: .*{message}"):
            call()
