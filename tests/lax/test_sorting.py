"""Sorting: NumPy's order, stability, several keys, derivatives that follow the elements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from functrans import errors, lax
from tests.lax.derivatives import gradients, mapped, tangent

X = np.array([[0.5, -1.5, 2.0], [1.25, 3.0, -0.75]])


@pytest.mark.parametrize("x", [X, X.astype(np.float32), X * (1 + 2j), (X * 4).astype(np.int8), X > 0])
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("stable", [True, False])
def test_order_is_numpys(x: Any, axis: int, stable: bool) -> None:
    np.testing.assert_array_equal(lax.sort(x, axis, stable=stable), np.sort(x, axis), strict=True)
    order = lax.argsort(x, axis, stable=stable)
    np.testing.assert_array_equal(order, np.argsort(x, axis, kind="stable" if stable else None), strict=True)


def test_nans_come_last_and_equal_elements_keep_their_order() -> None:
    x = np.array([2.0, np.nan, 1.0, 2.0, np.nan])
    np.testing.assert_array_equal(lax.sort(x), [1.0, 2.0, 2.0, np.nan, np.nan])
    np.testing.assert_array_equal(lax.argsort(x), [2, 0, 3, 1, 4])


def test_several_keys() -> None:
    first, second, payload = np.array([2, 1, 2, 1]), np.array([0.5, 3.0, -0.5, 2.0]), np.arange(4.0)
    np.testing.assert_array_equal(lax.argsort([first, second]), np.lexsort([second, first]))
    ordered = lax.sort([first, second, payload], num_keys=2)
    for out, expected in zip(ordered, ([1, 1, 2, 2], [2.0, 3.0, -0.5, 0.5], [3.0, 1.0, 2.0, 0.0]), strict=True):
        np.testing.assert_array_equal(out, expected)
    ordered = lax.sort([first, second, payload])
    np.testing.assert_array_equal(ordered[2], [1.0, 3.0, 0.0, 2.0])


def test_derivatives_follow_the_elements() -> None:
    weights = np.arange(1.0, 7).reshape(2, 3)
    order = np.argsort(X, 1)
    np.testing.assert_array_equal(tangent(lax.sort, (X,), (weights,)), np.take_along_axis(weights, order, 1))
    (back,) = gradients(lax.sort, X, cotangent=weights)
    expected = np.empty_like(X)
    np.put_along_axis(expected, order, weights, 1)
    np.testing.assert_array_equal(back, expected)
    (back,) = gradients(lambda x: lax.sort([np.array([2, 1, 3]), x])[1], X[0], cotangent=weights[0])
    np.testing.assert_array_equal(back, [2.0, 1.0, 3.0])


def test_the_second_derivative_of_sorted_squares() -> None:
    f = lambda x: gradients(lambda x: lax.sort(lax.mul(x, x)), x, cotangent=weights)[0]
    x, weights = np.array([3.0, -1.0, 2.0]), np.array([1.0, 10.0, 100.0])
    np.testing.assert_array_equal(f(x), [600.0, -2.0, 40.0])
    np.testing.assert_array_equal(tangent(f, (x,), (np.ones(3),)), [200.0, 2.0, 20.0])


@pytest.mark.parametrize("dim", [0, 1, 2])
def test_mapped_over_any_axis(dim: int) -> None:
    batch = np.stack([X, X[::-1], -X])
    moved = np.moveaxis(batch, 0, dim)
    for f in (lambda x: lax.sort(x, 0), lambda x: lax.argsort(x, 1), lambda x: gradients(lax.sort, x, cotangent=X)[0]):
        out = mapped(f, 3, moved, dims=(dim,))
        np.testing.assert_array_equal(out, np.stack([f(x) for x in batch]), strict=True)
    out = mapped(lambda k: lax.sort([k, X[0]])[1], 2, X, dims=(0,))
    np.testing.assert_array_equal(out, [X[0][np.argsort(row)] for row in X])


def test_permute() -> None:
    order = np.array([2, 0, 1])
    (back,) = gradients(lambda x: lax.permute(x, order), X[0], cotangent=np.array([1.0, 2.0, 3.0]))
    np.testing.assert_array_equal(back, [2.0, 3.0, 1.0])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: lax.sort(np.float64(1.0)), errors.ShapeError, "sort: axis=-1 is out of bounds"),
        (lambda: lax.sort([X, X[0]]), errors.ShapeError, r"sort: operand 1 has shape \(3,\)"),
        (lambda: lax.sort([X], num_keys=2), errors.ArgumentError, "sort: num_keys=2"),
        (lambda: lax.argsort(X, 2), errors.ShapeError, "argsort: axis=2 is out of bounds"),
        (lambda: lax.permute(X, np.array([0, 1])), errors.ShapeError, "permute: indices of shape"),
        (lambda: lax.permute(X, X), errors.DTypeError, "permute: the indices must be integers"),
    ],
)
def test_errors_name_the_operation(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
