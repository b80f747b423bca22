"""The recursive filter: against its definition with and without SciPy, its transpose, errors."""

from __future__ import annotations

import numpy as np
import pytest

from functrans import errors, lax
from functrans.lax import filters
from tests.lax.derivatives import gradients

A = np.array([0.5, -0.25, 0.1])
X = np.random.default_rng(0).normal(size=(3, 7))


def by_definition(a: np.ndarray, x: np.ndarray) -> np.ndarray:
    y = x.copy()
    for n in range(x.shape[-1]):
        for k in range(min(len(a), n)):
            y[..., n] -= a[k] * y[..., n - 1 - k]
    return y


@pytest.mark.parametrize("with_scipy", [True, False])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.complex128])
def test_values(with_scipy: bool, dtype: type, monkeypatch: pytest.MonkeyPatch) -> None:
    if not with_scipy:
        monkeypatch.setattr(filters, "_library", lambda: None)
    a, x = A.astype(dtype), (X + (0.5j * X[::-1] if dtype is np.complex128 else 0)).astype(dtype)
    eps = float(np.finfo(dtype).eps)
    out = lax.recursive_filter(a, x)
    assert out.dtype == dtype
    np.testing.assert_allclose(out, by_definition(a, x), rtol=32 * eps, atol=32 * eps)
    groups = filters.recursive_filter_p.bind(np.stack([a, -a, a * 0]), x)
    expected = np.stack([by_definition(s * a, row) for s, row in zip((1, -1, 0), x, strict=True)])
    np.testing.assert_allclose(groups, expected, rtol=32 * eps, atol=32 * eps)


def test_the_transpose_is_that_of_its_matrix() -> None:
    matrix = by_definition(A, np.eye(7)).T
    ct = np.arange(1.0, 8.0)
    a_bar, x_bar = gradients(lax.recursive_filter, A, X[0], cotangent=ct)
    np.testing.assert_allclose(x_bar, matrix.T @ ct, rtol=1e-12)
    step = 1e-6
    slopes = [
        ct @ (by_definition(A + step * e, X[0]) - by_definition(A - step * e, X[0])) / (2 * step) for e in np.eye(3)
    ]
    np.testing.assert_allclose(a_bar, slopes, rtol=1e-7)


def test_no_coefficients_and_no_time() -> None:
    np.testing.assert_array_equal(lax.recursive_filter(A[:0], X), X)
    assert lax.recursive_filter(A, X[:, :0]).shape == (3, 0)
    assert lax.recursive_filter(A[:0], X) is not X


def test_errors() -> None:
    with pytest.raises(errors.ShapeError, match="a vector of coefficients"):
        lax.recursive_filter(np.float64(0.5), X)
    with pytest.raises(errors.DTypeError, match="recursive_filter"):
        lax.recursive_filter(A.astype(np.float32), X)
    with pytest.raises(errors.DTypeError, match="operand 1"):
        lax.recursive_filter(A, np.arange(3))
