"""Stack: values, derivatives, batches, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import errors, lax
from functrans.test_util import check_grads

X = np.arange(6.0).reshape(2, 3)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_arrays(axis: int) -> None:
    np.testing.assert_array_equal(lax.stack([X, -X, X * 2], axis), np.stack([X, -X, X * 2], axis), strict=True)


def test_numbers_give_a_vector() -> None:
    np.testing.assert_array_equal(lax.stack([np.float32(1), np.float32(2)]), np.array([1, 2], np.float32), strict=True)
    np.testing.assert_array_equal(lax.stack([1.0, 2.0]), np.array([1.0, 2.0]), strict=True)


def test_derivatives() -> None:
    def f(a: Any, b: Any) -> Any:
        return lax.stack([a * b, a, np.ones(3)], axis=1), lax.stack([a[0], b[1], a[0]])

    check_grads(f, (X[0], X[1]), order=2)
    # Only the operands that were given have a cotangent.
    np.testing.assert_array_equal(ft.grad(lambda a: lax.stack([a, np.ones(3)])[0, 1])(X[0]), [0.0, 1.0, 0.0])


@pytest.mark.parametrize("in_axes", [(0, None), (None, 0), (1, 0)])
def test_batches(in_axes: Any) -> None:
    a = X if in_axes[0] is not None else X[0]
    a = a.T if in_axes[0] == 1 else a
    b = -X if in_axes[1] is not None else -X[0]
    found = ft.vmap(lambda a, b: lax.stack([a, b], 1), in_axes)(a, b)
    for k in range(2):
        left = X[k] if in_axes[0] is not None else X[0]
        right = -X[k] if in_axes[1] is not None else -X[0]
        np.testing.assert_array_equal(found[k], np.stack([left, right], 1))


def test_errors() -> None:
    with pytest.raises(errors.ShapeError, match=r"operand 1 has shape \(2,\)"):
        lax.stack([np.zeros(3), np.zeros(2)])
    with pytest.raises(errors.ShapeError, match="at least one"):
        lax.stack([])
    with pytest.raises(errors.DTypeError):
        lax.stack([np.zeros(3), np.zeros(3, np.float32)])
    with pytest.raises(errors.ShapeError):
        lax.stack([np.zeros(3)], axis=2)
