"""Reductions: NumPy's values and boxes, derivatives at ties and zeros, empty axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from functrans import errors, lax
from tests.lax.derivatives import gradients, mapped, tangent

X = np.array([[0.5, -1.5, 2.0], [1.25, 3.0, -0.75]])

ONE = np.float64(1.0)

PAIRS: list[tuple[Callable[..., Any], Callable[..., Any]]] = [
    (lax.reduce_sum, np.add.reduce),
    (lax.reduce_prod, np.multiply.reduce),
    (lax.reduce_max, np.maximum.reduce),
    (lax.reduce_min, np.minimum.reduce),
    (lax.reduce_any, np.logical_or.reduce),
    (lax.reduce_all, np.logical_and.reduce),
]


@pytest.mark.parametrize(("ours", "numpys"), PAIRS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.complex128, np.int64, bool])
def test_values_types_and_boxes_are_numpys(ours: Any, numpys: Any, dtype: Any) -> None:
    x = np.array([[3, -1, 0], [2, 4, 5]]).astype(dtype)
    boolean = ours in (lax.reduce_any, lax.reduce_all)
    for axes in (None, (0,), 1, (-1,), (0, 1), ()):
        out = ours(x, axes)
        expected = numpys(x, axis=axes, dtype=bool if boolean else dtype)
        np.testing.assert_array_equal(out, expected, strict=True)
        assert type(out) is type(expected)


def test_small_integers_keep_their_dtype() -> None:
    x = np.array([100, 100], np.int8)
    assert lax.reduce_sum(x) == np.int8(-56)
    assert lax.reduce_prod(np.array([16, 17], np.int8)) == np.int8(16)


def test_nan_wins_every_extremum() -> None:
    x = np.array([1.0, np.nan, 3.0])
    assert np.isnan(lax.reduce_max(x))
    assert np.isnan(lax.reduce_min(x))
    assert lax.argmax(x, 0) == 1
    np.testing.assert_array_equal(lax.argmax(x, 0, np.int32), np.int32(1), strict=True)


@pytest.mark.parametrize("reduce", [lax.reduce_max, lax.reduce_min])
def test_ties_share_the_derivative_evenly(reduce: Any) -> None:
    sign = 1.0 if reduce is lax.reduce_max else -1.0
    x = sign * np.array([[2.0, 1.0, 2.0], [0.0, 0.0, 0.0], [1.0, 5.0, 2.0]])
    (back,) = gradients(lambda x: reduce(x, 1), x, cotangent=np.array([1.0, 3.0, 7.0]))
    np.testing.assert_array_equal(back, [[0.5, 0, 0.5], [1, 1, 1], [0, 7, 0]])
    np.testing.assert_array_equal(tangent(lambda x: reduce(x, 1), (x,), (np.ones_like(x),)), [1, 1, 1])
    (back,) = gradients(lambda x: reduce(x), sign * np.array([[2.0, 1.0], [2.0, 2.0]]), cotangent=np.float64(3.0))
    np.testing.assert_array_equal(back, [[1, 0], [1, 1]])


def test_the_derivative_of_a_nan_maximum_goes_to_the_nans() -> None:
    (back,) = gradients(lax.reduce_max, np.array([np.nan, 1.0, np.nan]))
    np.testing.assert_array_equal(back, [0.5, 0.0, 0.5])


def test_the_second_derivative_of_an_extremum_is_zero() -> None:
    second = tangent(lambda x: gradients(lax.reduce_max, x, cotangent=ONE)[0], (X,), (np.ones_like(X),))
    np.testing.assert_array_equal(second, np.zeros_like(X))


@pytest.mark.parametrize("zeros", [0, 1, 2, 3])
def test_prod_differentiates_at_zeros(zeros: int) -> None:
    x = np.array([2.0, -3.0, 0.5, 4.0])
    x[:zeros] = 0.0
    others = np.array([np.prod(np.delete(x, i)) for i in range(4)])
    (back,) = gradients(lax.reduce_prod, x)
    np.testing.assert_array_equal(back, others)
    for i in range(4):
        row = tangent(lambda x: gradients(lax.reduce_prod, x, cotangent=ONE)[0], (x,), (np.eye(4)[i],))
        np.testing.assert_array_equal(row, [0 if i == j else np.prod(np.delete(x, [i, j])) for j in range(4)])


def test_prod_over_several_axes_and_of_few_elements() -> None:
    x = np.arange(1.0, 13).reshape(2, 3, 2)
    (back,) = gradients(lambda x: lax.reduce_prod(x, (0, 2)), x)
    np.testing.assert_allclose(back, np.prod(x, (0, 2))[:, None] / x, rtol=1e-14)
    (back,) = gradients(lambda x: lax.reduce_prod(x, 0), np.array([0.0]))
    np.testing.assert_array_equal(back, [1.0])
    assert lax.reduce_prod(np.zeros(0)) == 1.0
    assert tangent(lax.reduce_prod, (np.zeros(0),), (np.zeros(0),)) == 0.0


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_places_of_extrema(axis: int) -> None:
    x = np.array([[1, 3, 3], [4, 0, 4]])
    for ours, numpys in ((lax.argmax, np.argmax), (lax.argmin, np.argmin)):
        np.testing.assert_array_equal(ours(x, axis), numpys(x, axis), strict=True)
    out = lax.argmax(x[0], 0)
    assert (out, type(out)) == (1, np.intp)


@pytest.mark.parametrize("constant", [lambda x: lax.argmax(x, 0), lax.reduce_any, lax.reduce_all])
def test_places_and_truth_values_have_no_derivative(constant: Any) -> None:
    x = np.array([1.0, 3.0, 2.0])
    (back,) = gradients(lambda x: lax.mul(x, lax.full(3, constant(x), np.float64)), x)
    np.testing.assert_array_equal(back, [1.0, 1.0, 1.0])


@pytest.mark.parametrize("dim", [0, 1, 2])
def test_mapped_over_any_axis(dim: int) -> None:
    batch = np.arange(24.0).reshape(4, 2, 3) % 7
    for ours, _ in PAIRS:
        for axes in ((0,), (1,), (0, 1)):
            out = mapped(lambda x, f=ours, a=axes: f(x, a), 4, np.moveaxis(batch, 0, dim), dims=(dim,))
            np.testing.assert_array_equal(out, np.stack([ours(x, axes) for x in batch]), strict=True)
    out = mapped(lambda x: lax.argmax(x, 1), 4, np.moveaxis(batch, 0, dim), dims=(dim,))
    np.testing.assert_array_equal(out, batch.argmax(2))


def test_mapped_gradients_share_ties_within_each_example() -> None:
    batch = np.array([[1.0, 1.0], [2.0, 1.0]])
    out = mapped(lambda x: gradients(lax.reduce_max, x, cotangent=ONE)[0], 2, batch, dims=(0,))
    np.testing.assert_array_equal(out, [[0.5, 0.5], [1.0, 0.0]])


def test_reductions_of_nothing() -> None:
    empty = np.zeros((0, 3))
    np.testing.assert_array_equal(lax.reduce_sum(empty, 0), np.zeros(3), strict=True)
    np.testing.assert_array_equal(lax.reduce_max(empty, 1), np.zeros(0), strict=True)
    np.testing.assert_array_equal(lax.argmin(empty, 1), np.zeros(0, np.intp), strict=True)
    assert lax.reduce_all(empty)
    assert not lax.reduce_any(empty)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lax.reduce_max(np.zeros((0, 3)), 0), r"reduce_max: an array of shape \(0, 3\) has no elements"),
        (lambda: lax.reduce_min(np.zeros(0)), "reduce_min: .* has no elements"),
        (lambda: lax.argmax(np.zeros((2, 0)), 1), r"argmax: axis 1 of shape \(2, 0\) has no elements"),
        (lambda: lax.reduce_sum(X, 2), "reduce_sum: axes=2 is out of bounds for an array with 2 axes"),
        (lambda: lax.reduce_prod(X, (0, -2)), "reduce_prod: .* names an axis twice"),
        (lambda: lax.argmin(X, -3), "argmin: axis=-3 is out of bounds"),
    ],
)
def test_errors_name_the_operation(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(errors.ShapeError, match=message):
        call()
    with pytest.raises(ValueError, match=message):
        call()
