"""Reading and writing along axes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from functrans import errors, lax
from functrans.core.evaluate import evaluate
from functrans.core.stage import stage
from functrans.core.trace import aval_of
from tests.lax.derivatives import gradients, mapped

X = np.cos(np.arange(24.0)).reshape(2, 3, 4)


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
@pytest.mark.parametrize("indices", [1, np.int64(-1), [0, 1, 1], np.array([[1], [-2]]), []])
def test_take(axis: int | None, indices: Any) -> None:
    expected = np.take(X, np.asarray(indices, int), axis)
    np.testing.assert_array_equal(lax.take(X, indices, axis), expected, strict=True)
    for mode in ("clip", "wrap"):
        far = np.asarray(indices, int) * 7
        np.testing.assert_array_equal(lax.take(X, far, axis, mode), np.take(X, far, axis, mode=mode), strict=True)
    (ct,) = gradients(lambda x: lax.take(x, indices, axis), X)
    np.testing.assert_allclose(np.sum(ct * X), np.sum(expected), rtol=1e-12, atol=1e-14)


def test_take_fills_and_raises() -> None:
    np.testing.assert_array_equal(lax.take(np.arange(3.0), [0, 3], mode="fill"), [0.0, np.nan])
    np.testing.assert_array_equal(lax.take(X, [5, 0], 1, "fill", 0.0), np.stack([0 * X[:, 0], X[:, 0]], 1))
    with pytest.raises(errors.IndexingError, match="index 3 is out of bounds for axis 1 with extent 3"):
        lax.take(X, [3], 1)
    with pytest.raises(errors.IndexingError, match=r"take: indices must be integers.*astype"):
        lax.take(X, [0.5])
    with pytest.raises(errors.ArgumentError, match="mode='nearest'"):
        lax.take(X, 0, mode="nearest")


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_take_and_put_along_axis(axis: int) -> None:
    order = np.argsort(X, axis)
    np.testing.assert_array_equal(lax.take_along_axis(X, order, axis), np.sort(X, axis), strict=True)
    one = np.argmax(X, axis, keepdims=True)
    np.testing.assert_array_equal(lax.take_along_axis(X, one, axis), np.max(X, axis, keepdims=True))
    shared = np.argsort(X[:1, :1, :1], axis)
    np.testing.assert_array_equal(lax.take_along_axis(X, shared, axis), np.take_along_axis(X, shared, axis))
    expected = X.copy()
    np.put_along_axis(expected, one, 9.0, axis)
    np.testing.assert_array_equal(lax.put_along_axis(X, one, 9.0, axis), expected, strict=True)
    (ct,) = gradients(lambda x: lax.take_along_axis(x, one, axis), X)
    np.testing.assert_array_equal(ct, (X == np.max(X, axis, keepdims=True)).astype(float))
    values = np.sin(X)
    ct_x, ct_v = gradients(lambda x, v: lax.put_along_axis(x, order, v, axis), X, values, cotangent=X)
    np.testing.assert_array_equal(ct_x, np.zeros_like(X))
    np.testing.assert_array_equal(ct_v, np.sort(X, axis))


def test_along_no_axis_and_with_other_operations() -> None:
    np.testing.assert_array_equal(lax.take_along_axis(X, np.array([5, 0]), None), X.ravel()[[5, 0]])
    np.testing.assert_array_equal(lax.put_along_axis(np.zeros((2, 2)), np.array([3, 0]), 1.0, None), np.eye(2))
    twice = np.zeros((1, 3), int)
    for op, expected in {"add": 7.0, "mul": 8.0, "min": 1.0, "max": 2.0}.items():
        out = lax.put_along_axis(np.ones((1, 2)), twice, 2.0, 1, op)  # type: ignore[arg-type]
        np.testing.assert_array_equal(out, [[expected, 1.0]])
    with pytest.raises(errors.ArgumentError, match="op='sub'"):
        lax.put_along_axis(np.ones((1, 2)), twice, 1.0, 1, "sub")  # type: ignore[arg-type]
    with pytest.raises(errors.ShapeError, match="as many axes"):
        lax.take_along_axis(X, np.array([0]), 0)


def test_along_an_axis_out_of_bounds() -> None:
    far = np.array([[0, 9], [-9, 1]])
    x = X[:, 0]
    np.testing.assert_array_equal(lax.take_along_axis(x, far, 1, "clip"), np.take_along_axis(x, far.clip(0, 3), 1))
    np.testing.assert_array_equal(lax.take_along_axis(x, far, 1, "wrap"), np.take_along_axis(x, far % 4, 1))
    filled = lax.take_along_axis(x, far, 1, "fill")
    np.testing.assert_array_equal(np.isnan(filled), [[False, True], [True, False]])
    with pytest.raises(errors.IndexingError, match="index 9 is out of bounds for axis 1"):
        lax.take_along_axis(x, far, 1)


def test_along_an_axis_in_batches() -> None:
    i = np.array([[2, 0, 1], [1, 1, 0]])
    x = X[:, :, 0]
    out = mapped(lambda x, i: lax.take_along_axis(x, i, 0), 2, x, i, dims=(0, 0))
    np.testing.assert_array_equal(out, np.take_along_axis(x, i, 1))


def test_one_hot() -> None:
    labels = np.array([[2, 0], [-1, 3]], np.int8)
    expected = np.array([[[0, 0, 1], [1, 0, 0]], [[0, 0, 0], [0, 0, 0]]], np.float32)
    np.testing.assert_array_equal(lax.one_hot(labels, 3, dtype=np.float32), expected, strict=True)
    np.testing.assert_array_equal(
        lax.one_hot(labels, 3, axis=0), np.moveaxis(expected, -1, 0).astype(float), strict=True
    )
    np.testing.assert_array_equal(lax.one_hot(1, 2), [0.0, 1.0])
    np.testing.assert_array_equal(mapped(lambda i: lax.one_hot(i, 300), 2, labels[0], dims=(0,))[0, :4], [0, 0, 1, 0])
    with pytest.raises(errors.IndexingError, match="one_hot: indices must be integers"):
        lax.one_hot(np.array([0.0]), 3)


@given(st.lists(st.booleans(), min_size=6, max_size=6), st.integers(0, 8))
def test_nonzero_with_a_size(flags: list[bool], size: int) -> None:
    x = np.array(flags).reshape(2, 3) * 2.0
    expected = np.nonzero(x)
    for a, b in zip(lax.nonzero(x), expected, strict=True):
        np.testing.assert_array_equal(a, b, strict=True)
    found = evaluate(stage(lambda x: list(lax.nonzero(x, size=size, fill_value=(-1, 7))), [aval_of(x)]), [x])
    for a, b, fill in zip(found, expected, (-1, 7), strict=True):
        np.testing.assert_array_equal(a, [*b, *[fill] * size][:size])


def test_nonzero_needs_a_size_where_the_contents_are_unknown() -> None:
    with pytest.raises(errors.ConcretizationError, match=r"nonzero\(x, size=\.\.\.\)"):
        stage(lambda x: list(lax.nonzero(x)), [aval_of(X)])
    with pytest.raises(errors.ShapeError, match="without axes"):
        lax.nonzero(np.float64(1.0), size=1)
    with pytest.raises(errors.ShapeError, match="an entry for each axis"):
        lax.nonzero(X, size=1, fill_value=(0, 0))
    (ct,) = gradients(lambda x: lax.index(x, lax.nonzero(lax.gt(x, 0.9))), X)
    np.testing.assert_array_equal(ct, (X > 0.9).astype(float))


@pytest.mark.parametrize("side", ["left", "right"])
def test_searchsorted(side: Any) -> None:
    a, v = np.array([0.5, 1.0, 1.0, 2.0, np.nan]), np.array([[1.0, 0.0], [3.0, np.nan]])
    np.testing.assert_array_equal(lax.searchsorted(a, v, side), np.searchsorted(a, v, side), strict=True)
    assert type(lax.searchsorted(a, 1, side)) is np.int64
    order = np.array([2, 0, 1])
    np.testing.assert_array_equal(
        lax.searchsorted(np.array([3.0, 5.0, 1.0]), v, side, order), np.searchsorted([1, 3, 5], v, side)
    )
    rows = np.sort(X[0], -1)
    out = mapped(lambda a, v: lax.searchsorted(a, v, side), 3, rows, X[1], dims=(0, 0))
    np.testing.assert_array_equal(out, [np.searchsorted(r, w, side) for r, w in zip(rows, X[1], strict=True)])
    out = mapped(lambda a: lax.searchsorted(a, X[1, 0], side), 3, rows, dims=(0,))
    np.testing.assert_array_equal(out, [np.searchsorted(r, X[1, 0], side) for r in rows])


def test_searchsorted_refuses_what_it_cannot_search() -> None:
    with pytest.raises(errors.ArgumentError, match="side"):
        lax.searchsorted(X[0, 0], 1.0, "middle")  # type: ignore[arg-type]
    with pytest.raises(errors.ShapeError, match="one axis"):
        stage(lambda a: [lax.searchsorted(a, 1.0)], [aval_of(X)])
    with pytest.raises(errors.DTypeError, match="one dtype"):
        stage(lambda a: [lax.searchsorted(a, np.int64(1))], [aval_of(X[0, 0])])
