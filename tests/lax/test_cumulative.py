"""Running reductions and linear recurrences: values, derivatives at zeros and ties, long and wide sequences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from functrans import errors, lax
from tests.lax.derivatives import gradients, mapped, tangent

X = np.array([[0.5, -1.5, 2.0, 1.25], [3.0, -0.75, 0.25, -2.0]])
RUNNING = [(lax.cumsum, np.add), (lax.cumprod, np.multiply), (lax.cummax, np.maximum), (lax.cummin, np.minimum)]


@pytest.mark.parametrize(("ours", "ufunc"), RUNNING)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.complex128, np.int8, bool])
def test_values_are_numpys_in_both_directions(ours: Any, ufunc: np.ufunc, dtype: Any) -> None:
    x = (X * 4).astype(dtype)
    for axis in (0, 1, -1):
        np.testing.assert_array_equal(ours(x, axis), ufunc.accumulate(x, axis, dtype), strict=True)
        expected = np.flip(ufunc.accumulate(np.flip(x, axis), axis, dtype), axis)
        np.testing.assert_array_equal(ours(x, axis, reverse=True), expected, strict=True)


def recurrence(a: Any, b: Any) -> Any:
    out = b.copy()
    for k in range(1, len(b)):
        out[k] = a[k] * out[k - 1] + b[k]
    return out


@pytest.mark.parametrize("width", [1, 15, 16, 40])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.complex128])
def test_linear_recurrence(width: int, dtype: Any) -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 9, width)).astype(dtype)
    rounding = 1e-6 if dtype == np.float32 else 1e-15
    out = lax.linear_recurrence(a, b)
    np.testing.assert_allclose(out, recurrence(a, b), rtol=rounding, atol=rounding, strict=True)
    out = lax.linear_recurrence(a.T, b.T, axis=-1, reverse=True)
    expected = recurrence(a[::-1], b[::-1])[::-1].T
    np.testing.assert_allclose(out, expected, rtol=rounding, atol=rounding, strict=True)


def test_the_first_factor_has_no_influence() -> None:
    a, b = np.array([np.inf, 2.0]), np.array([1.0, 3.0])
    np.testing.assert_array_equal(lax.linear_recurrence(a, b), [1.0, 5.0])
    a_bar, b_bar = gradients(lax.linear_recurrence, a, b, cotangent=np.array([10.0, 1.0]))
    np.testing.assert_array_equal(a_bar, [0.0, 1.0])
    np.testing.assert_array_equal(b_bar, [12.0, 1.0])


def test_cumprod_differentiates_at_zeros() -> None:
    x = np.array([2.0, 0.0, 3.0, 0.0, 5.0])
    expected = [[np.prod(np.delete(x[: k + 1], i)) if i <= k else 0.0 for i in range(5)] for k in range(5)]
    for k in range(5):
        (row,) = gradients(lax.cumprod, x, cotangent=np.eye(5)[k])
        np.testing.assert_array_equal(row, expected[k])
        column = tangent(lax.cumprod, (x,), (np.eye(5)[k],))
        np.testing.assert_array_equal(column, np.array(expected)[:, k])
    last = np.eye(5)[2]
    row = tangent(lambda x: gradients(lax.cumprod, x, cotangent=last)[0], (x,), (np.eye(5)[1],))
    np.testing.assert_array_equal(row, [3.0, 0.0, 2.0, 0.0, 0.0])


def test_ties_share_the_derivative_of_a_running_maximum() -> None:
    x = np.array([1.0, 1.0, 0.0, 2.0, 1.0, 2.0, 2.0])
    expected = np.zeros((7, 7))
    for k in range(7):
        hit = x[: k + 1] == x[: k + 1].max()
        expected[k, : k + 1] = hit / hit.sum()
    for k in range(7):
        (row,) = gradients(lax.cummax, x, cotangent=np.eye(7)[k])
        np.testing.assert_allclose(row, expected[k], rtol=1e-15)
        (row,) = gradients(lambda x: lax.cummin(x, reverse=True), -x[::-1], cotangent=np.eye(7)[6 - k])
        np.testing.assert_allclose(row, expected[k][::-1], rtol=1e-15)


def test_the_derivative_of_a_running_maximum_after_a_nan_goes_to_the_nans() -> None:
    x = np.array([1.0, np.nan, 3.0, np.nan])
    np.testing.assert_array_equal(lax.cummax(x), [1.0, np.nan, np.nan, np.nan])
    (row,) = gradients(lax.cummax, x, cotangent=np.array([1.0, 0.0, 0.0, 2.0]))
    np.testing.assert_array_equal(row, [1.0, 1.0, 0.0, 1.0])


@pytest.mark.parametrize(("ours", "ufunc"), RUNNING)
@pytest.mark.parametrize("dim", [0, 1, 2])
def test_mapped_over_any_axis(ours: Any, ufunc: np.ufunc, dim: int) -> None:
    batch = np.stack([X, X[::-1] * 2, X - 1])
    f = lambda x: ours(x, 1, reverse=True)
    out = mapped(f, 3, np.moveaxis(batch, 0, dim), dims=(dim,))
    np.testing.assert_array_equal(out, np.stack([f(x) for x in batch]), strict=True)
    g = lambda x: gradients(f, x, cotangent=X)[0]
    np.testing.assert_allclose(
        mapped(g, 3, np.moveaxis(batch, 0, dim), dims=(dim,)), np.stack([g(x) for x in batch]), rtol=1e-14
    )


def test_nothing_runs_to_nothing() -> None:
    empty = np.zeros((2, 0))
    for ours, _ in RUNNING:
        np.testing.assert_array_equal(ours(empty, 1), empty, strict=True)
        (back,) = gradients(lambda x, f=ours: f(x, 1), empty)
        np.testing.assert_array_equal(back, empty, strict=True)


def test_errors() -> None:
    with pytest.raises(errors.ShapeError, match="cumsum: axis=2 is out of bounds"):
        lax.cumsum(X, 2)
    with pytest.raises(errors.ShapeError, match="cummax: axis=0 is out of bounds for an array with 0 axes"):
        lax.cummax(np.float64(1.0))
    with pytest.raises(errors.ShapeError, match="linear_recurrence: factors of shape"):
        lax.linear_recurrence(X, X[0])
    with pytest.raises(errors.DTypeError, match="linear_recurrence: operand 0"):
        lax.linear_recurrence(np.arange(3), np.arange(3))
    with pytest.raises(errors.DTypeError, match="linear_recurrence"):
        lax.linear_recurrence(X, X.astype(np.float32))
