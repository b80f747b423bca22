"""Slice, pad, concatenate, split, roll: values, derivatives, batches, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from functrans import errors, lax
from tests.lax.derivatives import gradients, mapped, tangent

X = np.arange(12.0).reshape(3, 4)


def same(actual: Any, expected: Any) -> None:
    np.testing.assert_array_equal(actual, expected, strict=True)
    assert type(actual) is np.ndarray


def test_slice() -> None:
    same(lax.slice(X, (1, 0), (3, 4), (1, 2)), X[1:3, ::2])
    same(lax.slice(X, (0, 1), (3, 1)), X[:, 1:1])
    same(lax.slice(np.float64(2.0), (), ()), np.array(2.0))
    same(lax.slice_in_dim(X, -2, None, axis=-1), X[:, -2:])
    same(lax.slice_in_dim(X, 3, 1), X[3:1])
    same(lax.slice_in_dim(X, None, 100, 2), X[::2])


def test_slices_are_views() -> None:
    assert np.shares_memory(lax.slice(X, (1, 0), (3, 4)), X)
    assert all(np.shares_memory(part, X) for part in lax.split(X, (1, 2)))


def dilated(x: Any, value: Any, lo: int, hi: int, interior: int) -> Any:
    """Padding of a vector, element by element."""
    n = len(x)
    out = [value] * (lo + hi + n + max(n - 1, 0) * interior)
    for i, element in enumerate(x):
        if 0 <= lo + i * (interior + 1) < len(out):
            out[lo + i * (interior + 1)] = element
    return np.array(out, x.dtype)


@pytest.mark.parametrize("n", [0, 1, 2, 5])
@pytest.mark.parametrize("interior", [0, 1, 3])
def test_pad_puts_every_element_where_the_definition_does(n: int, interior: int) -> None:
    x = np.arange(1.0, n + 1)
    extent = n + max(n - 1, 0) * interior
    for lo in range(-extent - 2, 4):
        for hi in range(-extent - 2, 4):
            if lo + hi + extent >= 0:
                same(lax.pad(x, -1.0, [(lo, hi, interior)]), dilated(x, -1.0, lo, hi, interior))


@pytest.mark.parametrize("dtype", [bool, np.int8, np.float16, np.float32, np.complex64])
def test_pad_keeps_the_dtype(dtype: Any) -> None:
    x = np.array([1, 0, 1], dtype)
    out = lax.pad(x, dtype(1), [(1, 0, 1)])
    same(out, np.array([1, 1, 1, 0, 1, 1], dtype))


def test_pad_with_a_negative_zero_keeps_its_sign() -> None:
    out = lax.pad(np.array([1.0]), np.float64(-0.0), [(1, 1, 0)])
    assert np.signbit(out).tolist() == [True, False, True]
    assert not np.signbit(lax.pad(np.array([1.0]), np.float64(0.0), [(1, 1, 0)])).any()


def test_pad_differentiates_operand_and_value() -> None:
    config = [(2, -1, 1)]
    x, value = np.array([1.0, 2.0, 3.0]), np.float64(7.0)
    ct = np.array([1.0, 10.0, 100.0, 1000.0, 10000.0, 100000.0])
    same(lax.pad(x, value, config), np.array([7.0, 7.0, 1.0, 7.0, 2.0, 7.0]))
    x_bar, value_bar = gradients(lambda x, v: lax.pad(x, v, config), x, value, cotangent=ct)
    same(x_bar, np.array([100.0, 10000.0, 0.0]))
    assert value_bar == 101011.0
    t = tangent(lambda x, v: lax.pad(x, v, config), (x, value), (np.array([1.0, 2.0, 3.0]), np.float64(5.0)))
    same(t, np.array([5.0, 5.0, 1.0, 5.0, 2.0, 5.0]))


def test_the_cotangent_of_the_padding_value_does_not_see_covered_elements() -> None:
    ct = np.array([1.0, np.inf, 1e30, 2.0])
    _, value_bar = gradients(lambda x, v: lax.pad(x, v, [(1, 1, 0)]), np.zeros(2), np.float64(0.0), cotangent=ct)
    assert value_bar == 3.0


def test_pad_maps_over_values() -> None:
    values = np.array([-np.inf, 0.0, np.nan])
    out = mapped(lambda v: lax.pad(np.array([1.0, 2.0]), v, [(1, 0, 1)]), 3, values, dims=(0,))
    same(out, np.array([[v, 1.0, v, 2.0] for v in values]))
    both = mapped(lambda x, v: lax.pad(x, v, [(-1, 1, 0)]), 3, X.T[:3, :2].T, values, dims=(1, 0))
    same(both, np.stack([[X.T[i, 1], values[i]] for i in range(3)]))


def test_concatenate_and_its_cotangents() -> None:
    a, b = X[:, :1], X[:, 1:]
    same(lax.concatenate([a, b], -1), X)
    a_bar, b_bar = gradients(lambda a, b: lax.concatenate([a, b], 1), a, b, cotangent=X)
    same(a_bar, a)
    same(b_bar, b)
    same(tangent(lambda a: lax.concatenate([a, b], 1), (a,), (a + 1,)), np.hstack([a + 1, np.zeros_like(b)]))


@pytest.mark.parametrize("dims", [(0, None), (None, 0), (1, 0), (0, 1)])
def test_concatenate_maps_any_of_its_operands(dims: tuple[int | None, int | None]) -> None:
    examples = [(np.arange(2.0) + i, np.arange(3.0) * i) for i in range(4)]
    args = [examples[1][k] if d is None else np.stack([e[k] for e in examples], d) for k, d in enumerate(dims)]
    out = mapped(lambda a, b: lax.concatenate([a, b], 0), 4, *args, dims=dims)
    picked = [[examples[1][k] if d is None else e[k] for k, d in enumerate(dims)] for e in examples]
    same(out, np.stack([np.concatenate(pair) for pair in picked]))


def test_split_and_its_cotangents() -> None:
    parts = lax.split(X, (1, 0, 3), axis=1)
    for part, expected in zip(parts, np.split(X, [1, 1], 1), strict=True):
        same(part, expected)
    (back,) = gradients(lambda x: lax.split(x, (1, 3), axis=1)[1], X, cotangent=np.ones((3, 3)))
    same(back, np.hstack([np.zeros((3, 1)), np.ones((3, 3))]))


@pytest.mark.parametrize(("shift", "axis"), [(1, 0), (-1, 1), (7, -1), (0, 0), ((1, 2), (0, 1)), ((1, 2), (1, 1))])
def test_roll_is_numpys(shift: Any, axis: Any) -> None:
    same(lax.roll(X, shift, axis), np.roll(X, shift, axis))


def test_roll_of_nothing() -> None:
    same(lax.roll(np.zeros((0, 2)), 3, 0), np.zeros((0, 2)))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: lax.slice(X, (0,), (1,)), errors.ShapeError, "one entry for each of the 2 axes"),
        (lambda: lax.slice(X, (0, 0), (3, 5)), errors.ShapeError, "slice: axis 1 of extent 4 .* limit=5"),
        (lambda: lax.slice(X, (-1, 0), (3, 4)), errors.ShapeError, "start=-1"),
        (lambda: lax.slice(X, (2, 0), (1, 4)), errors.ShapeError, "0 <= start <= limit <= extent"),
        (lambda: lax.slice(X, (0, 0), (3, 4), (1, 0)), errors.ShapeError, "stride=0"),
        (lambda: lax.slice_in_dim(X, 0, 3, -1), errors.ShapeError, "lax.rev reverses"),
        (lambda: lax.slice_in_dim(X, 0, 3, axis=2), errors.ShapeError, "axis=2 is out of bounds"),
        (lambda: lax.pad(X, 0.0, [(0, 0, 0)]), errors.ShapeError, "each of the 2 axes"),
        (lambda: lax.pad(X[0], 0.0, [(-3, -2, 0)]), errors.ShapeError, "would leave -1 elements"),
        (lambda: lax.pad(X[0], 0.0, [(0, 0, -1)]), errors.ShapeError, "interior must not be negative"),
        (lambda: lax.pad(X[0], X[0], [(0, 0, 0)]), errors.ShapeError, "padding value must be a scalar"),
        (lambda: lax.pad(X[0], np.float32(0), [(1, 0, 0)]), errors.DTypeError, "pad: operands of types"),
        (lambda: lax.pad(np.arange(3), 0.5, [(1, 0, 0)]), errors.DTypeError, "Python float does not fit"),
        (lambda: lax.concatenate([], 0), errors.ShapeError, "at least one array"),
        (lambda: lax.concatenate([X, X[:, :2]], 0), errors.ShapeError, r"operand 1 has shape \(3, 2\)"),
        (lambda: lax.concatenate([X, X[0]], 0), errors.ShapeError, "operand 1"),
        (lambda: lax.concatenate([X], 2), errors.ShapeError, "dimension=2 is out of bounds"),
        (lambda: lax.concatenate([1.0, 2.0], 0), errors.ShapeError, "expand_dims"),
        (lambda: lax.concatenate([X, X.astype(np.float32)], 0), errors.DTypeError, "must have one dtype"),
        (lambda: lax.split(X, (1, 1)), errors.ShapeError, "add up to the extent 3"),
        (lambda: lax.split(X, (4, -1)), errors.ShapeError, "must not be negative"),
        (lambda: lax.roll(X, (1, 2), 0), errors.ShapeError, "2 shifts for 1 axes"),
    ],
)
def test_errors_name_operation_and_operand(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
