"""``index``: NumPy's indexing of arrays and tracers, compared with NumPy over random indices of every kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import functrans as ft
from functrans import errors, lax
from functrans.core.evaluate import evaluate
from functrans.core.stage import stage
from functrans.core.trace import aval_of
from tests.lax.derivatives import gradients, mapped, tangent
from tests.lax.index_strategies import expected_of, indexed

X = np.arange(24.0).reshape(2, 3, 4)


def staged(f: Callable[..., Any], *args: Any) -> Any:
    (out,) = evaluate(stage(lambda *xs: [f(*xs)], [aval_of(a) for a in args]), args)
    return out


def agree(out: Any, expected: Any) -> None:
    assert type(out) is type(expected)
    np.testing.assert_array_equal(out, expected, strict=True)


@given(indexed(fancy=False))
def test_basic_indices_are_as_in_numpy(case: tuple[Any, Any]) -> None:
    x, idx = case
    agree(lax.index(x, idx), x[idx])
    agree(staged(lambda y: lax.index(y, idx), x), x[idx])


@given(indexed())
def test_indices_of_every_kind_are_as_in_numpy(case: tuple[Any, Any]) -> None:
    x, idx = case
    expected = expected_of(x, idx)
    if expected is None:
        with pytest.raises(errors.IndexingError):
            lax.index(x, idx)
        with pytest.raises(errors.IndexingError):
            staged(lambda y: lax.index(y, idx), x)
        return
    agree(lax.index(x, idx), expected)
    agree(staged(lambda y: lax.index(y, idx), x), expected)


@given(indexed())
def test_the_gradient_adds_at_the_places_read(case: tuple[Any, Any]) -> None:
    x, idx = case
    expected = expected_of(x, idx)
    if expected is None or not isinstance(x, np.ndarray):
        return
    weights = np.cos(np.arange(expected.size) + 0.5).reshape(expected.shape)
    ct = np.zeros_like(x)
    np.add.at(ct, idx, weights)
    (found,) = gradients(lambda y: lax.index(y, idx), x, cotangent=weights)
    assert found.shape == x.shape and found.dtype == x.dtype
    np.testing.assert_allclose(found, ct, rtol=1e-14, atol=1e-15)
    direction = np.cos(3.0 * x)
    agree(np.asarray(tangent(lambda y: lax.index(y, idx), (x,), (direction,))), np.asarray(direction[idx]))


@given(indexed(), st.integers(0, 4))
def test_batches_of_arrays_are_indexed_one_by_one(case: tuple[Any, Any], dim: int) -> None:
    x, idx = case
    expected = expected_of(x, idx)
    if expected is None:
        return
    batch = [x, 2.0 * x, -x]
    dim = min(dim, x.ndim)
    out = mapped(lambda y: lax.index(y, idx), 3, np.stack(batch, dim), dims=(dim,))
    np.testing.assert_array_equal(out, np.stack([y[idx] for y in batch]), strict=True)


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("between", [(), (...,), (None, ...), (..., 0), (slice(1, None),)])
@given(st.data())
def test_batches_of_index_arrays_are_used_one_by_one(before: bool, between: tuple[Any, ...], data: Any) -> None:
    shape = data.draw(st.lists(st.integers(1, 3), min_size=4, max_size=4))
    x = np.sin(np.arange(np.prod(shape)) + 1.0).reshape(shape)
    i = np.array(data.draw(st.lists(st.integers(-shape[0], shape[0] - 1), min_size=6, max_size=6))).reshape(3, 2)
    extent = shape[-1] if ... in between and 0 not in between else 1
    j = np.array(data.draw(st.lists(st.integers(-extent, extent - 1), min_size=3, max_size=3)))

    def read(x: Any, i: Any, j: Any) -> Any:
        return lax.index(x, (i, *between, j) if before else (*between, i % 1, j))

    def expected(x: Any, i: Any, j: Any) -> Any:
        return x[(i, *between, j) if before else (*between, i % 1, j)]

    out = mapped(lambda i, j: read(x, i, j), 3, i, j, dims=(0, 0))
    np.testing.assert_array_equal(out, np.stack([expected(x, a, b) for a, b in zip(i, j, strict=True)]))
    out = mapped(lambda i: read(x, i, j[0]), 3, i.T, dims=(1,))
    np.testing.assert_array_equal(out, np.stack([expected(x, a, j[0]) for a in i]))
    xs = np.stack([x, -x, 3.0 * x], 1)
    out = mapped(read, 3, xs, i, j, dims=(1, 0, 0))
    np.testing.assert_array_equal(out, np.stack([expected(xs[:, k], i[k], j[k]) for k in range(3)]))


@pytest.mark.parametrize(
    "idx",
    [1.0, "a", np.array([]), np.array(1.0), 2, -3, [0, 2], [-3], (0, 0, 0, 0), (0, 3), (..., ...), slice(0.5), {}]
    + [np.ones(3, bool), np.ones((2, 3, 3), bool), (slice(None), [3]), ([0, 1], [0, 1, 2]), np.float64(1)],
)
def test_what_numpy_refuses_is_refused(idx: Any) -> None:
    with pytest.raises((IndexError, TypeError)):
        X[idx]
    with pytest.raises(errors.IndexingError):
        lax.index(X, idx)
    with pytest.raises(errors.IndexingError):
        staged(lambda x: lax.index(x, idx), X)


def test_a_step_of_zero_is_refused_as_numpy_refuses_it() -> None:
    with pytest.raises(ValueError, match="step cannot be zero"):
        lax.index(X, slice(None, None, 0))


def test_traced_integers_index() -> None:
    i, j = np.int64(-1), np.array([[0, 2]])
    agree(staged(lambda x, i: lax.index(x, i), X, i), X[i])
    agree(staged(lambda x, i, j: lax.index(x, (i, slice(1, None), j)), X, i, j % 4), X[i, 1:, j % 4])
    agree(staged(lambda x, i, j: lax.index(x, (i, j, ..., None)), X, i, j), X[i, j, ..., None])
    agree(staged(lambda i: lax.index(X[0, 0], i), i), X[0, 0, -1])
    agree(staged(lambda i: lax.index(X[0, 0], (..., i)), i), X[0, 0, ..., -1])
    agree(staged(lambda i: lax.index(X, [i, 0]), i), X[[-1, 0]])
    agree(staged(lambda i: lax.index(X, (0, [[i], [0]])), i), X[0, [[-1], [0]]])


def test_a_traced_integer_out_of_bounds_raises_when_the_program_runs() -> None:
    program = stage(lambda x, i: [lax.index(x, i)], [aval_of(X), aval_of(np.int64(0))])
    with pytest.raises(errors.IndexingError, match="index 2 is out of bounds for axis 0 with extent 2"):
        evaluate(program, [X, np.int64(2)])


def test_slices_with_traced_bounds_name_dynamic_slice() -> None:
    with pytest.raises(errors.IndexingError, match="dynamic_slice"):
        staged(lambda x, i: lax.index(x, slice(0, i)), X, np.int64(1))


def test_masks_select_where_their_contents_are_known() -> None:
    (ct,) = gradients(lambda x: lax.index(x, lax.gt(x, 20.0)), X)
    np.testing.assert_array_equal(ct, (X > 20.0).astype(float))

    def gradient(y: Any) -> Any:
        return gradients(lambda x: lax.index(lax.mul(x, x), lax.gt(x, 20.0)), y, cotangent=np.ones(3))[0]

    second = tangent(gradient, (X,), (X,))
    np.testing.assert_array_equal(second, np.where(X > 20.0, 2.0 * X, 0.0))


def test_masks_unknown_while_tracing_name_where_and_size() -> None:
    with pytest.raises(errors.IndexingError, match=r"where\(mask, x, 0\).*size="):
        staged(lambda x: lax.index(x, lax.gt(x, 20.0)), X)
    with pytest.raises(errors.IndexingError, match=r"where\(mask, x, 0\).*size="):
        mapped(lambda x: lax.index(x, lax.gt(x, 20.0)), 2, X, dims=(0,))


def test_numbers_are_indexed_as_arrays_without_axes() -> None:
    assert lax.index(2.5, None).shape == (1,)
    assert type(lax.index(2.5, ())) is np.float64
    assert type(lax.index(np.float64(2.5), ...)) is np.ndarray
    np.testing.assert_array_equal(ft.grad(lambda x: lax.index(x, (None, ...))[0] * 3.0)(2.5), 3.0)


def test_integer_arrays_are_indexed_without_derivative() -> None:
    out = staged(lambda x, n: lax.index(n, [2, 0]), X, np.arange(3, dtype=np.int8))
    np.testing.assert_array_equal(out, np.array([2, 0], np.int8), strict=True)


def test_an_index_array_may_change_after_the_forward_pass() -> None:
    i = np.array([0, 1])
    out, back = ft.vjp(lambda x: lax.index(x, i), np.arange(3.0))
    i[:] = 2
    np.testing.assert_array_equal(back(np.ones(2))[0], [1.0, 1.0, 0.0])
    np.testing.assert_array_equal(out, [0.0, 1.0])


def test_second_derivatives_through_repeated_indices() -> None:
    i = np.array([0, 2, 2])
    hessian = ft.hessian(lambda x: lax.reduce_sum(lax.mul(lax.index(x, i), lax.index(x, i)), (0,)))(np.arange(3.0))
    np.testing.assert_array_equal(hessian, np.diag([2.0, 0.0, 4.0]))
