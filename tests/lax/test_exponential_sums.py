"""Logarithms of sums of exponentials: extreme values, masked elements, derivatives."""

from __future__ import annotations

import math

import numpy as np
import pytest

from functrans import errors, lax
from tests.lax.derivatives import gradients, mapped, tangent

INF = np.inf
X = np.array([[0.5, -1.5, 2.0], [1.25, 3.0, -0.75]])


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_values() -> None:
    for axes in (None, (0,), (1,), -1, (0, 1)):
        axis = tuple(range(2)) if axes is None else axes
        np.testing.assert_allclose(lax.logsumexp(X, axes), np.log(np.sum(np.exp(X), axis)), rtol=1e-15, strict=True)
    np.testing.assert_allclose(lax.logsumexp(X, ()), X, rtol=1e-15)
    assert isinstance(lax.logsumexp(X), np.float64)
    assert isinstance(lax.logsumexp(X.astype(np.float32)), np.float32)
    z = X + 1j * X[::-1]
    np.testing.assert_allclose(lax.logsumexp(z), np.log(np.sum(np.exp(z))), rtol=1e-15)


def test_small_terms_beside_a_large_one_are_not_lost() -> None:
    assert lax.logsumexp(np.array([0.0, -50.0])) == pytest.approx(math.exp(-50.0), rel=1e-15)
    assert lax.logsumexp(np.array([-50.0, 0.0, -50.0])) == pytest.approx(2 * math.exp(-50.0), rel=1e-15)


def test_extreme_values() -> None:
    x = np.array([[1e4, 1e4], [-1e4, -1e4], [-INF, 3.0], [-INF, -INF], [INF, 1.0], [INF, -INF], [np.nan, 1.0]])
    expected = [1e4 + math.log(2), -1e4 + math.log(2), 3.0, -INF, INF, INF, np.nan]
    np.testing.assert_array_equal(lax.logsumexp(x, 1), expected)
    np.testing.assert_array_equal(lax.logsumexp(np.zeros((2, 0)), 1), [-INF, -INF])


def test_the_derivative_is_the_softmax() -> None:
    (back,) = gradients(lambda x: lax.logsumexp(x, 1), X, cotangent=np.array([1.0, 2.0]))
    np.testing.assert_allclose(back, softmax(X) * [[1.0], [2.0]], rtol=1e-15)
    p = softmax(X[0])
    for i in range(3):
        row = tangent(lambda x: gradients(lax.logsumexp, x, cotangent=np.float64(1.0))[0], (X[0],), (np.eye(3)[i],))
        np.testing.assert_allclose(row, p[i] * (np.eye(3)[i] - p), rtol=1e-13)


def test_masked_elements_have_derivative_zero() -> None:
    x = np.array([[-INF, 1.0, 1.0], [-INF, -INF, -INF]])
    (back,) = gradients(lambda x: lax.logsumexp(x, 1), x)
    np.testing.assert_allclose(back, [[0.0, 0.5, 0.5], [0.0, 0.0, 0.0]], rtol=1e-15)
    second = tangent(lambda x: gradients(lambda x: lax.logsumexp(x, 1), x, cotangent=np.ones(2))[0], (x,), (X,))
    np.testing.assert_allclose(second, [[0.0, -0.875, 0.875], [0.0, 0.0, 0.0]], rtol=1e-14)


def test_mapped_over_any_axis() -> None:
    batch = np.stack([X, X * 2, X - 1])
    for dim in range(3):
        for axes in ((0,), (1,), (0, 1)):
            f = lambda x, a=axes: lax.logsumexp(x, a)
            out = mapped(f, 3, np.moveaxis(batch, 0, dim), dims=(dim,))
            np.testing.assert_allclose(out, np.stack([f(x) for x in batch]), rtol=1e-15)


@pytest.mark.parametrize("reverse", [False, True])
def test_running_sums(reverse: bool) -> None:
    x = np.array([-INF, 0.5, -INF, 2.0, 800.0, 1.0])
    parts = [x[k:] if reverse else x[: k + 1] for k in range(6)]
    out = lax.cumlogsumexp(x, reverse=reverse)
    np.testing.assert_allclose(out, [lax.logsumexp(part) for part in parts], rtol=1e-15)
    for k in range(6):
        (row,) = gradients(lambda x: lax.cumlogsumexp(x, reverse=reverse), x, cotangent=np.eye(6)[k])
        (whole,) = gradients(lax.logsumexp, parts[k])
        np.testing.assert_allclose(row[k:] if reverse else row[: k + 1], whole, rtol=1e-13)
        assert row.sum() == pytest.approx(whole.sum(), rel=1e-13)


def test_integers_are_refused() -> None:
    with pytest.raises(errors.DTypeError, match=r"logsumexp: operand 0 .* floats, complex numbers"):
        lax.logsumexp(np.arange(3))
    with pytest.raises(errors.DTypeError, match="cumlogsumexp: operand 0"):
        lax.cumlogsumexp(np.ones(2, complex))
