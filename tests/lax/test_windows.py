"""Sliding windows: sums, maxima and minima against a loop, the choice among equals, derivatives, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from functrans import errors, lax
from tests.lax.derivatives import gradients, mapped, tangent

RNG = np.random.default_rng(0)
X = RNG.normal(size=(5, 6))

GEOMETRIES: list[tuple[Any, ...]] = [
    # window, strides, padding, base dilation, window dilation
    ((2, 3), None, "VALID", None, None),
    ((2, 2), (2, 2), "VALID", None, None),
    ((3, 3), (2, 1), "SAME", None, None),
    ((3, 2), (1, 2), [(1, 2), (0, 1)], None, None),
    ((2, 2), (2, 3), [(1, 1), (-1, 0)], (2, 1), (1, 2)),
    ((1, 4), None, [(0, 0), (-1, -1)], None, None),
    ((1, 1), None, "VALID", None, None),
    ((1, 1), (2, 3), "VALID", None, None),
]


def by_hand(reduce: Any, x: Any, window: Any, strides: Any, padding: Any, base: Any, dilation: Any) -> Any:
    """The reduction's definition, window by window; padding and gaps have no part."""
    ones = (1,) * x.ndim
    strides, base, dilation = strides or ones, base or ones, dilation or ones
    extents = [(n - 1) * d + 1 for n, d in zip(x.shape, base, strict=True)]
    sizes = [(k - 1) * d + 1 for k, d in zip(window, dilation, strict=True)]
    if padding == "VALID":
        padding = [(0, 0)] * x.ndim
    elif padding == "SAME":
        totals = [max((-(-n // s) - 1) * s + k - n, 0) for n, k, s in zip(extents, sizes, strides, strict=True)]
        padding = [(t // 2, t - t // 2) for t in totals]
    space = [(n + lo + hi - k) // s + 1 for n, k, s, (lo, hi) in zip(extents, sizes, strides, padding, strict=True)]
    out = np.empty(space, x.dtype)
    for p in np.ndindex(*space):
        seen = []
        for k in np.ndindex(*window):
            at = [q * s + t * d - lo for q, s, t, d, (lo, _) in zip(p, strides, k, dilation, padding, strict=True)]
            if all(0 <= a < n and a % d == 0 for a, n, d in zip(at, extents, base, strict=True)):
                seen.append(x[tuple(a // d for a, d in zip(at, base, strict=True))])
        out[p] = reduce(seen)
    return out


REDUCTIONS = [(lax.reduce_window_sum, np.sum), (lax.reduce_window_max, np.max), (lax.reduce_window_min, np.min)]


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize(("function", "reduce"), REDUCTIONS)
def test_values_are_those_of_the_definition(function: Any, reduce: Any, geometry: Any) -> None:
    for x in (X, X.T.copy().T, (9 * X).astype(np.int8), X.astype(np.float32)):
        out, expected = function(x, *geometry), by_hand(reduce, x, *geometry)
        np.testing.assert_allclose(out, expected, rtol=1e-5 if x.dtype == np.float32 else 1e-12, atol=1e-6)
        assert out.dtype == expected.dtype and out.shape == expected.shape
        assert not np.shares_memory(out, x)


def test_an_int_stands_for_every_axis() -> None:
    np.testing.assert_array_equal(lax.reduce_window_max(X, 2, 2), lax.reduce_window_max(X, (2, 2), (2, 2)))


def test_windows_of_padding_alone_give_the_identity() -> None:
    for dtype, low, high in [
        (np.float32, -np.inf, np.inf),
        (np.int8, -128, 127),
        (np.uint8, 0, 255),
        (bool, False, True),
    ]:
        x = np.ones(2, dtype)
        assert lax.reduce_window_max(x, 1, 1, [(1, 0)])[0] == low
        assert lax.reduce_window_min(x, 1, 1, [(1, 0)])[0] == high
        assert lax.reduce_window_sum(x, 1, 1, [(1, 0)])[0] == 0
    (g,) = gradients(lambda x: lax.reduce_window_max(x, (1,), (1,), [(1, 0)]), np.ones(2), cotangent=np.arange(3.0))
    np.testing.assert_array_equal(g, [1, 2])


def test_half_precision_sums_are_rounded_once() -> None:
    x = np.array([2048] + [1] * 9, np.float16)
    np.testing.assert_array_equal(lax.reduce_window_sum(x, 10), np.array([2056], np.float16), strict=True)


def test_nan_is_the_largest_and_the_smallest() -> None:
    x = np.array([1.0, np.nan, 0.0, 2.0, 3.0])
    np.testing.assert_array_equal(lax.reduce_window_max(x, 2), [np.nan, np.nan, 2, 3])
    np.testing.assert_array_equal(lax.reduce_window_min(x, 2), [np.nan, np.nan, 0, 2])
    (g,) = gradients(lambda x: lax.reduce_window_max(x, 2), x, cotangent=np.array([1.0, 10.0, 100.0, 1000.0]))
    np.testing.assert_array_equal(g, [0, 11, 0, 100, 1000])


# -- the choice ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("function", "best"), [(lax.reduce_window_max, 1.0), (lax.reduce_window_min, -1.0)])
def test_the_first_among_equals_has_the_derivative(function: Any, best: float) -> None:
    x = best * np.array([[0.0, 1.0, 1.0], [1.0, 1.0, 0.0]])
    (g,) = gradients(lambda x: function(x, (2, 2)), x, cotangent=np.array([[2.0, 3.0]]))
    np.testing.assert_array_equal(g, [[0, 5, 0], [0, 0, 0]])
    t = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(tangent(lambda x: function(x, (2, 2)), (x,), (t,)), [[1, 1]])


def test_equal_zeros_give_their_gradient_to_one_element() -> None:
    (g,) = gradients(lambda x: lax.reduce_window_max(x, 4, 4), np.zeros(4))
    np.testing.assert_array_equal(g, [1, 0, 0, 0])


def test_padding_is_not_chosen_before_a_real_infinity() -> None:
    x = np.array([-np.inf, -np.inf])
    (g,) = gradients(lambda x: lax.reduce_window_max(x, 2, 1, [(1, 0)]), x, cotangent=np.array([1.0, 10.0]))
    np.testing.assert_array_equal(g, [11, 0])


def test_large_windows_number_their_elements() -> None:
    x = RNG.permutation(400).astype(float)
    (g,) = gradients(lambda x: lax.reduce_window_max(x, 300), x)
    expected = np.zeros(400)
    for i in range(101):
        expected[i + np.argmax(x[i : i + 300])] += 1
    np.testing.assert_array_equal(g, expected)


@pytest.mark.parametrize("select", ["max", "min"])
@pytest.mark.parametrize("padding", ["VALID", "SAME"])
def test_select_and_scatter_is_the_transpose_of_select_and_gather(select: str, padding: str) -> None:
    t = RNG.normal(size=X.shape)
    gathered = lax.select_and_gather_add(t, X, select, (3, 2), (2, 1), padding)
    ct = RNG.normal(size=gathered.shape)
    scattered = lax.select_and_scatter_add(ct, X, select, (3, 2), (2, 1), padding)
    np.testing.assert_allclose(np.sum(gathered * ct), np.sum(scattered * t), rtol=1e-12)
    reduce = lax.reduce_window_max if select == "max" else lax.reduce_window_min
    (g,) = gradients(lambda x: reduce(x, (3, 2), (2, 1), padding), X, cotangent=ct)
    np.testing.assert_array_equal(g, scattered)
    # Both are linear, so that each is the other's derivative.
    (g,) = gradients(lambda t: lax.select_and_gather_add(t, X, select, (3, 2), (2, 1), padding), t, cotangent=ct)
    np.testing.assert_array_equal(g, scattered)
    (g,) = gradients(lambda c: lax.select_and_scatter_add(c, X, select, (3, 2), (2, 1), padding), ct, cotangent=t)
    np.testing.assert_array_equal(g, gathered)


# -- derivatives and batching ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize(("function", "reduce"), REDUCTIONS)
def test_gradients_agree_with_tangents_and_differences(function: Any, reduce: Any, geometry: Any) -> None:
    t = RNG.normal(size=X.shape)
    out = tangent(lambda x: function(x, *geometry), (X,), (t,))
    step = 1e-6
    difference = (function(X + step * t, *geometry) - function(X - step * t, *geometry)) / (2 * step)
    np.testing.assert_allclose(out, difference, atol=1e-8)
    ct = RNG.normal(size=out.shape)
    (g,) = gradients(lambda x: function(x, *geometry), X, cotangent=ct)
    np.testing.assert_allclose(np.sum(g * t), np.sum(out * ct), rtol=1e-10, atol=1e-12)


def test_second_derivative_of_a_squared_maximum() -> None:
    x, t = np.array([1.0, 3.0, 2.0]), np.array([1.0, 10.0, 100.0])

    def gradient(x: Any) -> Any:
        def f(x: Any) -> Any:
            y = lax.reduce_window_max(x, 2)
            return lax.mul(y, y)

        return gradients(f, x)[0]

    np.testing.assert_array_equal(gradient(x), [0, 12, 0])
    np.testing.assert_array_equal(tangent(gradient, (x,), (t,)), [0, 40, 0])


@pytest.mark.parametrize("d", [0, 1, 2])
@pytest.mark.parametrize("function", [lax.reduce_window_sum, lax.reduce_window_max])
def test_vmap(function: Any, d: int) -> None:
    xs = RNG.normal(size=(3, 4, 5))

    def f(x: Any) -> Any:
        return function(x, (2, 3), (1, 2), "SAME")

    moved = np.moveaxis(xs, 0, d)
    np.testing.assert_array_equal(mapped(f, 3, moved, dims=(d,)), np.stack([f(x) for x in xs]))
    per_example = mapped(lambda x: gradients(f, x)[0], 3, moved, dims=(d,))
    np.testing.assert_array_equal(per_example, np.stack([gradients(f, x)[0] for x in xs]))


# -- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "error", "message"),
    [
        (lambda: lax.reduce_window_sum(X, (2,)), errors.ShapeError, "window_dimensions must be 2 ints"),
        (lambda: lax.reduce_window_sum(X, (2, 0)), errors.ShapeError, "each at least 1"),
        (
            lambda: lax.reduce_window_max(X, 2, (1, 1, 1)),
            errors.ShapeError,
            "reduce_window_max: window_strides must be 2",
        ),
        (lambda: lax.reduce_window_min(X, 2, 1, "FULL"), errors.ArgumentError, "padding must be 'SAME'"),
        (lambda: lax.reduce_window_max(X + 1j, 2), errors.DTypeError, "reduce_window_max: operand 0 has type c128"),
        (lambda: lax.select_and_gather_add(X, X, "mean", 2), errors.ArgumentError, "select must be 'max' or 'min'"),
        (lambda: lax.select_and_gather_add(X[0], X, "max", 2), errors.ShapeError, "must have the shape of the operand"),
        (lambda: lax.select_and_scatter_add(X, X, "max", 2), errors.ShapeError, r"does not fit \(4, 5\) windows"),
    ],
)
def test_what_does_not_fit(f: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        f()
