"""The field operations: dtypes, weak numbers, broadcasting, and errors that name the operation."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import pytest

from functrans import errors, lax
from functrans.core.stage import stage
from functrans.core.trace import aval_of
from tests.lax.derivatives import gradients, mapped, slopes, tangent

BINARY = [(lax.add, operator.add), (lax.sub, operator.sub), (lax.mul, operator.mul), (lax.div, operator.truediv)]


@pytest.mark.parametrize(("function", "python"), BINARY)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
def test_values_and_boxes(function: Any, python: Any, dtype: Any) -> None:
    x, y = np.array([[1.5], [-2.0]]).astype(dtype), np.array([0.5, 4.0]).astype(dtype)
    np.testing.assert_array_equal(function(x, y), python(x, y), strict=True)
    np.testing.assert_array_equal(function(x, 3), python(x, 3), strict=True)
    assert type(function(x[0, 0], 2.0)) is dtype
    assert type(function(np.array(1.5, dtype), y[0])) is dtype


@pytest.mark.parametrize(
    ("function", "left", "right"),
    [
        (lax.add, [2.0, 2.0], [[1.0] * 2] * 2),
        (lax.sub, [2.0, 2.0], [[-1.0] * 2] * 2),
        (lax.mul, [6.0, 8.0], [[1.5, -3.0]] * 2),
        (lax.div, [1 / 2 + 1 / 4, 1 / 2 + 1 / 4], [[-1.5 / 4, 3 / 4], [-1.5 / 16, 3 / 16]]),
    ],
)
def test_cotangents_are_summed_over_broadcast_axes(function: Any, left: Any, right: Any) -> None:
    x = np.array([1.5, -3.0], np.float32)
    y = np.array([[2.0, 2.0], [4.0, 4.0]], np.float32)
    if function is lax.mul:
        y = np.array([[2.0, 3.0], [4.0, 5.0]], np.float32)
    by_x, by_y = gradients(function, x, y)
    np.testing.assert_array_equal(by_x, np.array(left, np.float32), strict=True)
    np.testing.assert_array_equal(by_y, np.array(right, np.float32), strict=True)


def test_weak_operands_have_derivatives_in_double_precision() -> None:
    x = np.array([1.0, 2.0], np.float32)
    by_x, by_weak = gradients(lax.mul, x, 2.5)
    np.testing.assert_array_equal(by_x, np.full(2, 2.5, np.float32), strict=True)
    assert by_weak == 3.0
    assert by_weak.dtype == np.float64
    assert tangent(lax.div, (x, 2.0), (np.ones(2, np.float32), 1.0)).dtype == np.float32


def test_second_derivatives() -> None:
    x = np.array([0.5, -2.0])
    np.testing.assert_array_equal(slopes(lambda y: lax.mul(y, lax.mul(y, y)), x, 2), 6 * x)
    np.testing.assert_allclose(slopes(lambda y: lax.div(1.0, y), x, 2), 2 / x**3)
    np.testing.assert_array_equal(slopes(lambda y: lax.positive(lax.neg(y)), x, 1), [-1.0, -1.0])


def test_positive_and_neg_are_new_arrays() -> None:
    x = np.arange(3)
    for function in (lax.positive, lax.neg):
        assert not np.shares_memory(function(x), x)
    np.testing.assert_array_equal(lax.neg(x), [0, -1, -2])


def test_operands_batched_along_different_axes() -> None:
    x, y = np.arange(6.0).reshape(2, 3), np.arange(1.0, 7.0).reshape(3, 2)
    np.testing.assert_array_equal(mapped(lax.sub, 2, x, y, dims=(0, 1)), x - y.T)
    np.testing.assert_array_equal(mapped(lax.sub, 3, x, y[0], dims=(1, None)), x.T - y[0])
    np.testing.assert_array_equal(mapped(lax.sub, 2, x, 5.0, dims=(0, None)), x - 5)


@pytest.mark.parametrize(
    ("function", "x", "y", "error", "message"),
    [
        (lax.sub, np.ones(2), np.ones(3), errors.ShapeError, r"sub: shapes \(2,\) and \(3,\) do not broadcast"),
        (lax.mul, np.ones(2), np.ones(2, np.float32), errors.DTypeError, "mul: operands of types .* one dtype"),
        (lax.div, np.arange(2), np.arange(2), errors.DTypeError, "div: .* takes floats, complex numbers"),
        (lax.sub, np.ones(2, bool), np.ones(2, bool), errors.DTypeError, "sub: .* bool"),
        (lax.mul, np.arange(2), 0.5, errors.DTypeError, "mul: a Python float does not fit the dtype int64"),
    ],
)
def test_operands_that_do_not_fit(function: Any, x: Any, y: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        stage(lambda a, b: [function(a, b)], [aval_of(x), aval_of(y)], "f")
