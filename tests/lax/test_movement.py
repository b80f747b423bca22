"""Reshaping, new and dropped axes, reversing, repeating, copying: values, memory, derivatives, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from functrans import errors, lax
from functrans.core.stage import stage
from functrans.core.trace import aval_of
from tests.lax.derivatives import gradients, mapped, tangent

X = np.arange(6.0).reshape(2, 3)


def same(actual: Any, expected: Any) -> None:
    np.testing.assert_array_equal(actual, expected, strict=True)
    assert type(actual) is np.ndarray


@pytest.mark.parametrize("shape", [(3, 2), (-1, 2), (6,), 6, -1, (2, 1, -1), [np.int64(3), 2]])
def test_reshape_is_numpys(shape: Any) -> None:
    same(lax.reshape(X, shape), np.reshape(X, shape))


def test_reshape_of_scalars_gives_arrays() -> None:
    same(lax.reshape(2.5, ()), np.array(2.5))
    same(lax.reshape(np.float32(2.5), (1, 1)), np.array([[2.5]], np.float32))
    same(lax.reshape(np.array([3]), ()), np.array(3))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((4, 2), r"reshape: an array of shape \(2, 3\) cannot have shape \(4, 2\)"),
        ((-1, -1), "only one extent can be -1"),
        ((4, -1), "no extent in place of -1"),
        ((-2, 3), "no negative extents but one -1"),
    ],
)
def test_reshape_names_shapes_that_do_not_fit(shape: Any, message: str) -> None:
    with pytest.raises(errors.ShapeError, match=message):
        lax.reshape(X, shape)


def test_reshape_of_nothing_cannot_infer_an_extent() -> None:
    same(lax.reshape(np.zeros((0, 3)), (3, -1)), np.zeros((3, 0)))
    with pytest.raises(errors.ShapeError, match="no extent in place of -1"):
        lax.reshape(np.zeros((0, 3)), (0, -1))


def test_reshape_wants_whole_extents() -> None:
    with pytest.raises(TypeError, match="float"):
        lax.reshape(X, (2.0, 3.0))


def test_squeeze_and_expand_dims() -> None:
    same(lax.squeeze(np.ones((1, 3, 1)), (0, -1)), np.ones(3))
    same(lax.squeeze(np.ones((1, 1)), 1), np.ones(1))
    same(lax.squeeze(np.ones((1, 1)), (0, 1)), np.array(1.0))
    same(lax.expand_dims(X, (0, -1)), X[None, :, :, None])
    same(lax.expand_dims(X, 1), X[:, None])
    same(lax.expand_dims(np.float64(2.0), ()), np.array(2.0))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lax.squeeze(X, (0,)), "squeeze: axis 0 of shape .* has extent 2"),
        (lambda: lax.squeeze(np.ones((1, 1)), (0, 0)), "squeeze: dims=.* names an axis twice"),
        (lambda: lax.squeeze(X, 2), "squeeze: dims=2 is out of bounds for an array with 2 axes"),
        (lambda: lax.expand_dims(X, (0, 0)), "expand_dims: dims=.* names an axis twice"),
        (lambda: lax.expand_dims(X, 4), "expand_dims: dims=4 is out of bounds for an array with 3 axes"),
        (lambda: lax.rev(X, (2,)), "rev: dimensions=2 is out of bounds"),
        (lambda: lax.broadcast_in_dim(X, (2, 4), (0, 1)), r"broadcast: shape \(2, 3\) does not fit"),
        (lambda: lax.broadcast_in_dim(X, (3, 2), (1, 0)), "in increasing order"),
        (lambda: lax.broadcast_to(X, (3,)), "broadcast_to: an array of shape"),
        (lambda: lax.tile(X, (-1,)), "tile: a shape has no negative extents"),
    ],
)
def test_errors_name_the_operation(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(errors.ShapeError, match=message):
        call()


def test_rev_and_broadcast() -> None:
    same(lax.rev(X, (0, -1)), X[::-1, ::-1])
    same(lax.rev(X, ()), X)
    same(lax.broadcast(X, (4, 1)), np.broadcast_to(X, (4, 1, 2, 3)))
    same(lax.broadcast_in_dim(X[0], (3, 2), (0,)), np.repeat(X[0][:, None], 2, 1))
    same(lax.transpose(X, (1, 0)), X.T)


@pytest.mark.parametrize(
    ("shape", "reps"),
    [
        ((2, 3), (2, 2)), ((3,), (2, 1, 2)), ((1,), 5), ((), (3,)), ((2, 3), (0, 1)), ((2, 0), (2, 2)),
        ((2, 1, 2), (1, 3, 1)), ((2, 3), (1,)), ((), ()),
    ],
)  # fmt: skip
def test_tile_is_numpys_and_a_fresh_array(shape: tuple[int, ...], reps: Any) -> None:
    x = np.arange(float(np.prod(shape))).reshape(shape)
    out = lax.tile(x, reps)
    same(out, np.tile(x, reps))
    assert out.flags.writeable
    assert not np.shares_memory(out, x)


def test_views_and_copies() -> None:
    for view in (lax.reshape(X, 6), lax.expand_dims(X, 0), lax.rev(X, 0), lax.squeeze(X[None], 0)):
        assert np.shares_memory(view, X)
        assert view.flags.writeable
    fresh = lax.copy(X)
    same(fresh, X)
    assert not np.shares_memory(fresh, X)
    same(lax.copy(np.float32(2.0)), np.array(2.0, np.float32))


W = np.array([[2.0, -1.0, 0.5], [3.0, 1.5, -4.0]])


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        (lambda x: lax.reshape(x, (3, 2)), W.reshape(3, 2)),
        (lambda x: lax.expand_dims(x, 1), W[:, None]),
        (lambda x: lax.squeeze(lax.expand_dims(x, (0, 2)), (0, 2)), W),
        (lambda x: lax.rev(x, 1), W[:, ::-1]),
        (lambda x: lax.copy(x), W),
        (lambda x: lax.transpose(x, (1, 0)), W.T),
    ],
)
def test_movements_carry_tangents_there_and_cotangents_back(f: Callable[..., Any], expected: Any) -> None:
    same(tangent(f, (X,), (W,)), expected)
    (back,) = gradients(f, X, cotangent=expected)
    same(back, W)


def test_repeated_elements_sum_their_cotangents() -> None:
    (back,) = gradients(lambda x: lax.tile(x, (2, 2)), X, cotangent=np.arange(24.0).reshape(4, 6))
    c = np.arange(24.0).reshape(2, 2, 2, 3)
    same(back, c.sum((0, 2)))
    (back,) = gradients(lambda x: lax.broadcast(x, 3), X)
    same(back, np.full((2, 3), 3.0))


@pytest.mark.parametrize("dim", [0, 1, 2])
def test_mapped_over_any_axis(dim: int) -> None:
    batch = np.arange(24.0).reshape(4, 2, 3)
    moved = np.moveaxis(batch, 0, dim)
    for f in (
        lambda x: lax.reshape(x, (3, 2)),
        lambda x: lax.expand_dims(x, (1, 3)),
        lambda x: lax.rev(x, 0),
        lambda x: lax.tile(x, (2, 1)),
        lambda x: lax.squeeze(lax.expand_dims(x, (0, 2)), (0,)),
    ):
        same(mapped(f, 4, moved, dims=(dim,)), np.stack([f(x) for x in batch]))


def test_integers_have_no_tangent() -> None:
    n = np.arange(3)
    jaxpr = stage(lambda x: [lax.rev(x, 0)], [aval_of(n)], "f")
    assert jaxpr.out_avals[0] == aval_of(n)
    same(lax.rev(n, 0), np.array([2, 1, 0]))
