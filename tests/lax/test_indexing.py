"""The primitives behind indexing: static indices, index arrays, and their transposes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from functrans import errors
from functrans.core.stage import stage
from functrans.core.trace import aval_of
from functrans.lax.gather import scatter_add, take_index
from functrans.lax.indexing import FULL, basic_index, basic_set, canonical_slice, embed, numpy_index, with_full
from tests.lax.derivatives import gradients, mapped, tangent

X = np.arange(24.0).reshape(2, 3, 4)


@given(
    st.integers(0, 6),
    st.none() | st.integers(-8, 8),
    st.none() | st.integers(-8, 8),
    st.sampled_from([None, 1, 2, -1, -3]),
)
def test_canonical_slices_select_the_same_and_are_equal_when_they_do(n: int, start: Any, stop: Any, step: Any) -> None:
    x = np.arange(n)
    entry = canonical_slice(n, start, stop, step)
    np.testing.assert_array_equal(x[slice(*entry)], x[start:stop:step])
    chosen = x[start:stop:step].tolist()
    assert entry == canonical_slice(n, *entry)
    if chosen == x.tolist():
        assert entry == FULL
    elif chosen and step in (None, 1):
        assert entry == (chosen[0], chosen[-1] + 1, 1)


@pytest.mark.parametrize("index", [(), (1,), (None, 0, FULL), (FULL, None, 2), (0, (0, 2, 1), None, 3)])
@pytest.mark.parametrize("axis", [0, 1, 2, 3])
def test_an_axis_taken_whole_may_stand_anywhere(index: Any, axis: int) -> None:
    batch = np.arange(5.0).reshape([5 if a == axis else 1 for a in range(4)]) + np.expand_dims(10 * X, axis)
    batched, place = with_full(index, axis)
    moved = np.moveaxis(batch[numpy_index(batched)], place, 0)
    for k in range(5):
        np.testing.assert_array_equal(moved[k], np.take(batch, k, axis)[numpy_index(index)])


def test_basic_index_is_a_view_and_gives_scalars_as_numpy_does() -> None:
    assert np.shares_memory(basic_index(X, (1,)), X)
    assert type(basic_index(X, (1, 2, 3))) is np.float64
    assert type(basic_index(np.array(2.0), ())) is np.float64


def test_embed_is_the_transpose_of_basic_index() -> None:
    index = (1, FULL, (3, None, -2))
    ct = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    expected = np.zeros_like(X)
    expected[1, :, 3::-2] = ct
    np.testing.assert_array_equal(embed(ct, X.shape, index), expected, strict=True)
    np.testing.assert_array_equal(gradients(lambda x: basic_index(x, index), X, cotangent=ct)[0], expected)
    (back,) = gradients(lambda y: embed(y, X.shape, index), ct, cotangent=X)
    np.testing.assert_array_equal(back, X[1, :, 3::-2])


def test_basic_set_writes_into_a_copy() -> None:
    index = ((0, 2, 1), 1)
    u = np.full((2, 4), -1.0)
    out = basic_set(X, u, index)
    assert X[0, 1, 0] == 4.0
    np.testing.assert_array_equal(out[:, 1], u)
    ct_x, ct_u = gradients(lambda x, u: basic_set(x, u, index), X, u, cotangent=X)
    np.testing.assert_array_equal(ct_u, X[:, 1])
    np.testing.assert_array_equal(ct_x, np.where(np.arange(3)[:, None] == 1, 0.0, X))
    t = tangent(lambda u: basic_set(X, u, index), (u,), (u,))
    np.testing.assert_array_equal(t, np.where(np.arange(3)[:, None] == 1, -1.0, 0.0 * X))


def test_static_indices_that_do_not_fit_raise() -> None:
    aval = aval_of(X)
    for index in [(2,), (0, 0, 0, 0), (-1,)]:
        with pytest.raises(errors.IndexingError):
            stage(lambda x, index=index: [basic_index(x, index)], [aval])
    with pytest.raises(errors.ShapeError, match=r"embed: an array of shape \(3,\).*\[1, 0:2\]"):
        stage(lambda y: [embed(y, (2, 3), (1, (0, 2, 1)))], [aval_of(np.ones(3))])
    with pytest.raises(errors.ShapeError, match="basic_set"):
        stage(lambda x: [basic_set(x, np.ones(3), (0,))], [aval])
    with pytest.raises(errors.DTypeError, match="float64"):
        stage(lambda x: [basic_set(x, np.ones((3, 4), np.float32), (0,))], [aval])


# -- index arrays -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 1, 2])
def test_take_index_puts_the_axes_of_index_arrays_where_it_is_told(at: int) -> None:
    i = np.array([[0, -1, 1]])
    out = take_index(X, [i], (1,), at)
    np.testing.assert_array_equal(out, np.moveaxis(X[:, i], (1, 2), (at, at + 1)), strict=True)
    weights = np.cos(out)
    expected = np.zeros_like(X)
    np.add.at(expected, (slice(None), i), np.moveaxis(weights, (at, at + 1), (1, 2)))
    np.testing.assert_allclose(scatter_add(weights, X.shape, [i], (1,), at), expected, rtol=1e-15)


def test_take_index_does_not_give_views() -> None:
    for i in (0, np.int64(0), np.array(0), np.array([0])):
        assert not np.shares_memory(take_index(X, [i], (0,)), X)
        assert not np.shares_memory(take_index(X, [i], (1,), 0), X)


@pytest.mark.parametrize(
    "dtype", [np.float16, np.float32, np.float64, np.complex64, np.complex128, np.int64, np.longdouble]
)
def test_scatter_add_sums_in_every_dtype(dtype: Any) -> None:
    i = np.array([3, 0, -1, 0], np.int32)
    u = np.array([1, 2, 3, 4]).astype(dtype)
    out = scatter_add(u, (4,), [i], (0,))
    np.testing.assert_array_equal(out, np.array([6, 0, 0, 4], dtype), strict=True)
    rows = scatter_add(np.stack([u, u], 1), (4, 2), [i], (0,))
    np.testing.assert_array_equal(rows, np.array([[6, 6], [0, 0], [0, 0], [4, 4]], dtype), strict=True)


def test_scatter_add_of_long_rows_with_and_without_repetition() -> None:
    u = np.cos(np.arange(60.0)).reshape(3, 20)
    for i in (np.array([4, 0, 2]), np.array([4, 0, 4])):
        expected = np.zeros((5, 20))
        np.add.at(expected, i, u)
        np.testing.assert_allclose(scatter_add(u, (5, 20), [i], (0,)), expected, rtol=1e-15)
        np.testing.assert_allclose(scatter_add(u.T, (20, 5), [i], (1,), 1), expected.T, rtol=1e-15)


def test_dropped_indices_read_zero_and_write_nothing() -> None:
    i = np.array([0, 5, -4, -3])
    x = np.array([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(take_index(x, [i], (0,), mode="drop"), [1.0, 0.0, 0.0, 1.0])
    np.testing.assert_array_equal(scatter_add(np.ones(4), (3,), [i], (0,), mode="drop"), [2.0, 0.0, 0.0])
    (ct,) = gradients(lambda x: take_index(x, [i], (0,), mode="drop"), x)
    np.testing.assert_array_equal(ct, [2.0, 0.0, 0.0])


@pytest.mark.parametrize("bad", [3, -4, np.array([0, 3]), np.array([[-4]]), np.array([2**40])])
def test_indices_out_of_bounds_name_index_axis_and_extent(bad: Any) -> None:
    match = r"index -?\d+ is out of bounds for axis 1 with extent 3"
    with pytest.raises(errors.IndexingError, match=match):
        take_index(X, [bad], (1,), 1)
    with pytest.raises(errors.IndexingError, match=match):
        take_index(X, [0, bad], (0, 1))
    shape = np.shape(bad)
    with pytest.raises(errors.IndexingError, match=match):
        scatter_add(np.ones((2, *shape, 4)), X.shape, [bad], (1,), 1)
    with pytest.raises(errors.IndexingError, match="is out of bounds for axis 0 with extent 3"):
        gradients(lambda x: take_index(x, [bad], (0,)), np.ones(3))


def test_what_does_not_fit_is_named_while_tracing() -> None:
    aval = aval_of(X)
    cases: list[tuple[Any, ...]] = [
        ([np.array([0.5])], (0,), 0, "an index is an integer"),
        ([np.array([True])], (0,), 0, "nonzero"),
        ([np.array([0])], (3,), 0, "increasing axes"),
        ([np.array([0]), np.array([0])], (1, 0), 0, "increasing axes"),
        ([np.array([0])], (0, 1), 0, "an axis for each of the 1"),
        ([np.array([0])], (0,), 3, "at=3"),
        ([np.zeros(2, int), np.zeros(3, int)], (0, 1), 0, "must broadcast together"),
    ]
    for indices, axes, at, match in cases:
        with pytest.raises(errors.IndexingError, match=match):
            stage(lambda x, i=indices, axes=axes, at=at: [take_index(x, i, axes, at)], [aval])
    with pytest.raises(errors.ShapeError, match=r"updates have shape \(3,\).*places of shape \(2,\)"):
        stage(lambda u: [scatter_add(u, (4,), [np.array([0, 1])], (0,))], [aval_of(np.ones(3))])


@pytest.mark.parametrize("dims", [(0, None, None), (2, 0, None), (None, None, 0), (1, 0, 0), (3, None, 0)])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_batches_with_the_axes_of_index_arrays_anywhere(dims: tuple[Any, ...], at: int) -> None:
    x = np.cos(np.arange(2.0 * 3 * 4 * 2)).reshape(2, 3, 4, 2)
    i, j = np.array([[0], [1]]), np.array([0, 3, -1])
    args = [
        np.stack([a, -a if n == 0 else 1 - a], d) if d is not None else a
        for n, (a, d) in enumerate(zip((x, i, j), dims, strict=True))
    ]
    out = mapped(lambda x, i, j: take_index(x, [i, j], (0, 2), at), 2, *args, dims=dims)
    for k in range(2):
        one = [np.take(a, k, d) if d is not None else a for a, d in zip(args, dims, strict=True)]
        np.testing.assert_array_equal(out[k], take_index(one[0], one[1:], (0, 2), at))
    u = np.sin(np.asarray(out[0]))
    us = np.stack([u, 2 * u], -1) if dims[0] is not None else u
    dims = (u.ndim if dims[0] is not None else None, *dims[1:])
    out = mapped(lambda u, i, j: scatter_add(u, x.shape, [i, j], (0, 2), at), 2, us, *args[1:], dims=dims)
    for k in range(2):
        one = [np.take(a, k, d) if d is not None else a for a, d in zip((us, *args[1:]), dims, strict=True)]
        np.testing.assert_allclose(out[k], scatter_add(one[0], x.shape, one[1:], (0, 2), at), rtol=1e-15)
