"""Slices of static size whose start is known at run time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from functrans import errors, lax
from functrans.core.stage import stage
from functrans.core.trace import aval_of
from tests.lax.derivatives import gradients, mapped

X = np.arange(12.0).reshape(3, 4)


def window(start: int, size: int, extent: int) -> slice:
    start = start + extent if start < 0 else start
    start = min(max(start, 0), extent - size)
    return slice(start, start + size)


@given(st.integers(-9, 9), st.integers(-9, 9), st.integers(0, 3), st.integers(0, 4))
def test_slices_are_moved_so_that_they_fit(i: int, j: int, m: int, n: int) -> None:
    where = window(i, m, 3), window(j, n, 4)
    out = lax.dynamic_slice(X, (np.int64(i), np.int32(j)), (m, n))
    np.testing.assert_array_equal(out, X[where], strict=True)
    u = np.cos(out)
    expected = X.copy()
    expected[where] = u
    new = lax.dynamic_update_slice(X, u, (i, j))
    np.testing.assert_array_equal(new, expected, strict=True)
    ct = np.zeros_like(X)
    ct[where] = u
    (found,) = gradients(lambda x: lax.dynamic_slice(x, (i, j), (m, n)), X, cotangent=u)
    np.testing.assert_array_equal(found, ct)
    ct_x, ct_u = gradients(lambda x, u: lax.dynamic_update_slice(x, u, (i, j)), X, u, cotangent=X)
    np.testing.assert_array_equal(ct_u, X[where])
    np.testing.assert_array_equal(ct_x, np.where(ct_x == 0.0, 0.0, X))
    assert np.count_nonzero(ct_x[where]) == 0


@given(st.lists(st.integers(-6, 6), min_size=3, max_size=3), st.sampled_from([(2, 4), (2, 3), (3, 2), (3, 4), (1, 1)]))
def test_batches_of_starts(starts: list[int], sizes: tuple[int, int]) -> None:
    i = np.array(starts)
    out = mapped(lambda i: lax.dynamic_slice(X, (i, i), sizes), 3, i, dims=(0,))
    xs = np.stack([X, -X, 2 * X], 1)
    both = mapped(lambda x, i: lax.dynamic_slice(x, (i, 1), sizes), 3, xs, i, dims=(1, 0))
    u = np.full(sizes, -1.0)
    new = mapped(lambda x, i: lax.dynamic_update_slice(x, u, (i, 1)), 3, xs, i, dims=(1, 0))
    shared = mapped(lambda u, i: lax.dynamic_update_slice(X, u, (1, i)), 3, np.stack([u, 2 * u, u], 2), i, dims=(2, 0))
    for k in range(3):
        np.testing.assert_array_equal(out[k], lax.dynamic_slice(X, (i[k], i[k]), sizes))
        np.testing.assert_array_equal(both[k], lax.dynamic_slice(xs[:, k], (i[k], 1), sizes))
        np.testing.assert_array_equal(new[k], lax.dynamic_update_slice(xs[:, k], u, (i[k], 1)))
        np.testing.assert_array_equal(shared[k], lax.dynamic_update_slice(X, u * (1 + (k == 1)), (1, i[k])))


def test_narrow_and_unsigned_starts() -> None:
    x = np.arange(1000.0)
    out = mapped(lambda i: lax.dynamic_slice(x, (i,), (2,)), 2, np.array([200, 255], np.uint8), dims=(0,))
    np.testing.assert_array_equal(out, [[200.0, 201.0], [255.0, 256.0]])
    out = mapped(lambda i: lax.dynamic_slice(x, (i,), (2,)), 2, np.array([-128, 127], np.int8), dims=(0,))
    np.testing.assert_array_equal(out, [[872.0, 873.0], [127.0, 128.0]])


def test_along_one_axis() -> None:
    i = np.int64(1)
    np.testing.assert_array_equal(lax.dynamic_slice_in_dim(X, i, 2, axis=1), X[:, 1:3])
    np.testing.assert_array_equal(lax.dynamic_index_in_dim(X, i, axis=-1), X[:, 1:2])
    np.testing.assert_array_equal(lax.dynamic_index_in_dim(X, i, keepdims=False), X[1])
    new = lax.dynamic_update_slice_in_dim(X, np.zeros((3, 2)), i, axis=1)
    np.testing.assert_array_equal(new, np.where(np.isin(np.arange(4), [1, 2]), 0.0, X))
    for update in (np.zeros(3), np.zeros((3, 1))):
        new = lax.dynamic_update_index_in_dim(X, update, i, axis=1)
        np.testing.assert_array_equal(new, np.where(np.arange(4) == 1, 0.0, X))


def test_starts_may_be_one_array() -> None:
    starts = np.array([2, 1])
    np.testing.assert_array_equal(lax.dynamic_slice(X, starts, (1, 2)), X[2:, 1:3])
    program = stage(lambda s: [lax.dynamic_slice(X, s, (1, 2))], [aval_of(starts)])
    assert program.out_avals[0].shape == (1, 2)


def test_numbers_without_axes() -> None:
    assert lax.dynamic_slice(2.5, (), ()) == 2.5
    np.testing.assert_array_equal(lax.dynamic_update_slice(np.float64(2.5), 1.5, ()), 1.5)


def test_what_does_not_fit_is_named() -> None:
    cases: list[tuple[Any, type[Exception], str]] = [
        (lambda: lax.dynamic_slice(X, (0,), (1, 1)), errors.ShapeError, "a start and a size for each of its 2 axes"),
        (lambda: lax.dynamic_slice(X, (0, 0), (4, 1)), errors.ShapeError, r"shape \(4, 1\) does not fit"),
        (lambda: lax.dynamic_slice(X, (0.0, 0), (1, 1)), errors.IndexingError, "start 0 has type f64"),
        (
            lambda: lax.dynamic_slice(X, np.zeros((1, 2), int), (1, 1)),
            errors.IndexingError,
            "one integer for each axis",
        ),
        (lambda: lax.dynamic_update_slice(X, np.ones(4), (0, 0)), errors.ShapeError, r"update\[None\]"),
        (lambda: lax.dynamic_update_slice(X, np.ones((1, 4), int), (0, 0)), errors.DTypeError, "float64"),
        (lambda: lax.dynamic_update_index_in_dim(X, np.ones((2, 4)), 0), errors.ShapeError, "one place along axis 0"),
        (lambda: lax.dynamic_slice_in_dim(X, 0, 1, axis=2), errors.ShapeError, "axis=2"),
    ]
    for call, error, match in cases:
        with pytest.raises(error, match=match):
            call()
