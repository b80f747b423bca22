"""Diagonals, taken and laid out: NumPy's values, memory, derivatives, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from functrans import errors, lax
from tests.lax.derivatives import gradients, mapped, tangent

X = np.arange(24.0).reshape(2, 3, 4)


@pytest.mark.parametrize("offset", [-3, -1, 0, 1, 2, 5])
@pytest.mark.parametrize(("axis1", "axis2"), [(0, 1), (1, 0), (2, 0), (-1, -2)])
def test_diagonal_is_numpys(offset: int, axis1: int, axis2: int) -> None:
    out = lax.diagonal(X, offset, axis1, axis2)
    np.testing.assert_array_equal(out, np.diagonal(X, offset, axis1, axis2), strict=True)
    assert np.shares_memory(out, X) or not out.size


@pytest.mark.parametrize("offset", [-2, 0, 1])
def test_embed_diagonal_of_a_vector_is_numpys_diag(offset: int) -> None:
    v = np.array([1, 2, 3], np.int8)
    np.testing.assert_array_equal(lax.embed_diagonal(v, offset), np.diag(v, offset), strict=True)


@pytest.mark.parametrize(("axis1", "axis2"), [(0, 1), (2, 0), (-1, -2), (1, 2)])
def test_diagonal_gives_back_what_was_embedded(axis1: int, axis2: int) -> None:
    x = X[0]
    out = lax.embed_diagonal(x, 1, axis1, axis2)
    assert out.size == 3 * 5 * 5 and np.count_nonzero(out) == np.count_nonzero(x)
    np.testing.assert_array_equal(lax.diagonal(out, 1, axis1, axis2), x)


def test_derivatives() -> None:
    ct = np.array([1.0, 2.0, 3.0])
    (g,) = gradients(lambda x: lax.diagonal(x, 1), X[0], cotangent=ct)
    np.testing.assert_array_equal(g, [[0, 1, 0, 0], [0, 0, 2, 0], [0, 0, 0, 3]])
    (g,) = gradients(lax.embed_diagonal, ct, cotangent=np.arange(9.0).reshape(3, 3))
    np.testing.assert_array_equal(g, [0, 4, 8])
    np.testing.assert_array_equal(tangent(lax.diagonal, (X[0],), (X[1],)), np.diagonal(X[1]))


@pytest.mark.parametrize("d", [0, 1, 2])
def test_vmap(d: int) -> None:
    xs = np.moveaxis(X, 0, d)
    expected = np.stack([np.diagonal(x, 1) for x in X])
    np.testing.assert_array_equal(mapped(lambda x: lax.diagonal(x, 1), 2, xs, dims=(d,)), expected)
    rows = np.moveaxis(X[0], 0, min(d, 1))
    out: Any = mapped(lax.embed_diagonal, 3, rows, dims=(min(d, 1),))
    np.testing.assert_array_equal(out, np.stack([np.diag(x) for x in X[0]]))


def test_axes_must_be_two() -> None:
    with pytest.raises(errors.ShapeError, match="diagonal: axis1 and axis2 must be two axes, got 1 twice"):
        lax.diagonal(X, 0, 1, -2)
    with pytest.raises(errors.ShapeError, match="axis2=3 is out of bounds"):
        lax.diagonal(X, 0, 0, 3)
    with pytest.raises(errors.ShapeError, match="embed_diagonal: axis1 and axis2 must be two axes"):
        lax.embed_diagonal(X, 0, 0, 0)
    with pytest.raises(errors.ShapeError, match="has no axis to lay along a diagonal"):
        lax.embed_diagonal(np.float64(1.0))
