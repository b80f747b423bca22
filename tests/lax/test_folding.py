"""Reductions by any function, by bits; the upper half of products; fewer bits; the largest elements; small helpers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import errors, lax
from functrans.test_util import check_grads

RNG = np.random.default_rng(5)
X = RNG.normal(size=(2, 3, 5))

# -- reductions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["and", "or", "xor"])
@pytest.mark.parametrize("dtype", [np.int8, np.uint64, np.bool_])
def test_reductions_by_bits(name: str, dtype: Any) -> None:
    x = RNG.integers(0, 2 if dtype is np.bool_ else 100, (3, 4)).astype(dtype)
    expected = getattr(np, f"bitwise_{name}").reduce(x, axis=1)
    function = getattr(lax, f"reduce_{name}")
    np.testing.assert_array_equal(function(x, (1,)), expected, strict=True)
    np.testing.assert_array_equal(ft.jit(function)(x), getattr(np, f"bitwise_{name}").reduce(x, axis=(0, 1)))
    with pytest.raises(errors.DTypeError, match=f"reduce_{name}"):
        function(X)


@pytest.mark.parametrize(
    ("computation", "start", "expected"),
    [
        (lax.add, 0.5, lambda x: 0.5 + x.sum((0, 2))),
        (np.multiply, 2.0, lambda x: 2.0 * x.prod((0, 2))),
        (lax.max, 0.0, lambda x: np.maximum(x.max((0, 2)), 0.0)),
        (lambda a, b: a * b + a + b, 0.0, lambda x: (1.0 + x).prod((0, 2)) - 1.0),
        (lambda a, b: lax.cond(a > b, lambda: a, lambda: b), -np.inf, lambda x: x.max((0, 2))),
    ],
)
def test_a_fold_by_a_function(computation: Callable[..., Any], start: float, expected: Callable[..., Any]) -> None:
    def fold(x: Any) -> Any:
        return lax.reduce(x, start, computation, (0, 2))

    np.testing.assert_allclose(fold(X), expected(X), rtol=1e-13)
    np.testing.assert_allclose(ft.jit(fold)(X), expected(X), rtol=1e-13)
    np.testing.assert_allclose(ft.vmap(fold)(np.stack([X, 2 * X]))[1], expected(2 * X), rtol=1e-13)
    check_grads(fold, (X,), order=2)
    assert fold(np.zeros((0, 3, 2))).tolist() == [start] * 3


def test_a_fold_of_a_tree_keeps_the_order() -> None:
    def compose(f: Any, g: Any) -> Any:
        return {"scale": f["scale"] * g["scale"], "shift": f["shift"] * g["scale"] + g["shift"]}

    maps = {"scale": RNG.normal(size=7), "shift": RNG.normal(size=7)}
    one = {"scale": 1.0, "shift": 0.0}
    out = lax.reduce(maps, one, compose, (0,))
    expected = one
    for scale, shift in zip(maps["scale"], maps["shift"], strict=True):
        expected = compose(expected, {"scale": scale, "shift": shift})
    assert out["shift"] == pytest.approx(expected["shift"], rel=1e-13)
    with pytest.raises(errors.TreeStructureError, match="init_values"):
        lax.reduce(maps, 0.0, compose, (0,))
    with pytest.raises(errors.TreeStructureError, match="computation must return"):
        lax.reduce(maps, one, lambda a, b: a["scale"], (0,))
    with pytest.raises(errors.ShapeError, match="result 0 is bool"):
        lax.reduce(X, 0.0, lambda a, b: a > b, (0,))
    with pytest.raises(errors.ShapeError, match="initial value 0"):
        lax.reduce(X, np.zeros(3), lax.add, (0,))


# -- bits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.uint32, np.int64, np.uint64])
def test_the_upper_half_of_a_product(dtype: Any) -> None:
    info = np.iinfo(dtype)
    x, y = RNG.integers(info.min, info.max, (2, 50), dtype=dtype, endpoint=True)
    x[:2], y[:2] = info.min, info.max
    expected = [(int(a) * int(b)) >> info.bits for a, b in zip(x, y, strict=True)]
    for function in (lax.mulhi, ft.jit(lax.mulhi)):
        np.testing.assert_array_equal(function(x, y), np.array(expected, dtype), strict=True)
    with pytest.raises(errors.DTypeError, match="mulhi"):
        lax.mulhi(1.5, 2.0)


@pytest.mark.parametrize(("narrow", "bits"), [(np.float16, (5, 10)), (np.float32, (8, 23))])
def test_fewer_bits_are_those_of_a_narrow_dtype(narrow: Any, bits: tuple[int, int]) -> None:
    info = np.finfo(narrow)
    x = np.concatenate([
        RNG.normal(size=200) * 10.0 ** RNG.integers(-45, 45, 200),
        [0.0, -0.0, np.inf, -np.inf, np.nan, float(info.max), 1.0 + info.eps / 2, 1.0 + 1.5 * info.eps],
    ])  # fmt: skip
    with np.errstate(over="ignore"):
        expected = x.astype(narrow).astype(float)
    expected = np.where(abs(expected) < info.smallest_normal, np.copysign(0.0, x), expected)
    out = lax.reduce_precision(x, *bits)
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(np.signbit(out), np.signbit(expected))
    assert ft.grad(lambda z: lax.reduce_precision(z, *bits) * 3.0)(0.1) == 3.0
    assert lax.reduce_precision(np.float32(1.2), 8, 0) == np.float32(1.0)
    with pytest.raises(errors.DTypeError, match="reduce_precision"):
        lax.reduce_precision(3, 5, 2)
    with pytest.raises(errors.ArgumentError, match="at least 1 bit"):
        lax.reduce_precision(x, 0, 2)


# -- the largest elements -------------------------------------------------------------------------------------------


def test_the_largest_elements() -> None:
    x = np.array([[1.0, np.nan, 3.0, 3.0], [2.0, 2.0, 2.0, -np.inf]])
    values, places = lax.top_k(x, 3)
    np.testing.assert_array_equal(values, [[np.nan, 3.0, 3.0], [2.0, 2.0, 2.0]])
    np.testing.assert_array_equal(places, [[1, 2, 3], [0, 1, 2]])
    values, places = ft.jit(lambda x: lax.top_k(x, 1, axis=0))(X)
    np.testing.assert_array_equal(values, X.max(0, keepdims=True))
    np.testing.assert_array_equal(places, X.argmax(0)[None])
    check_grads(lambda x: lax.top_k(x, 2)[0], (X,), order=2)
    np.testing.assert_array_equal(ft.vmap(lambda x: lax.top_k(x, 2)[0])(X), -np.sort(-X)[..., :2])
    np.testing.assert_array_equal(lax.top_k(np.array([3, 9], np.uint8), 0)[0], np.zeros(0, np.uint8), strict=True)
    with pytest.raises(errors.ArgumentError, match="k=6 must lie between 0 and 5"):
        lax.top_k(X, 6)
    with pytest.raises(errors.DTypeError, match="order"):
        lax.top_k(X + 1j, 1)


# -- small helpers --------------------------------------------------------------------------------------------------


def test_shapes_and_dtypes() -> None:
    assert lax.broadcast_shapes((2, 1), (3,)) == (2, 3)
    with pytest.raises(errors.ShapeError):
        lax.broadcast_shapes((2,), (3,))
    assert lax.broadcast_to_rank(X, 4).shape == (1, 2, 3, 5)
    with pytest.raises(errors.ShapeError, match="more than 2"):
        lax.broadcast_to_rank(X, 2)
    assert lax.collapse(X, 1).shape == (2, 15)
    assert lax.collapse(X, -3, -1).shape == (6, 5)
    with pytest.raises(errors.ShapeError, match="collapse"):
        lax.collapse(X, 2, 2)
    assert lax.shape_as_value((2, 3)).tolist() == [2, 3]
    assert lax.dtype(1) == np.int64
    np.testing.assert_array_equal(lax.broadcasted_iota(np.int8, (2, 3), 0), [[0] * 3, [1] * 3])


def test_reading_along_axes() -> None:
    assert lax.index_in_dim(X, -1, 1).shape == (2, 1, 5)
    np.testing.assert_array_equal(lax.index_in_dim(X, 1, 2, keepdims=False), X[:, :, 1])
    with pytest.raises(errors.IndexingError, match="index 3 is out of bounds for axis 1"):
        lax.index_in_dim(X, 3, 1)
    i, j = np.array([0, 1, 1]), np.array([2, 0, 2])
    np.testing.assert_array_equal(lax.index_take(X, [j, i], (1, 0)), X[i, j])
    with pytest.raises(errors.IndexingError, match="one vector"):
        lax.index_take(X, [i[None]], (0,))
    assert [part.tolist() for part in lax.unstack(X, 1)] == [X[:, k].tolist() for k in range(3)]
    assert lax.unstack(np.zeros((0, 2))) == []


def test_values_are_ordered_by_keys() -> None:
    keys, values = np.array([[3, 1, 1]]), np.array([[1.0, 2.0, 3.0]])
    ordered = ft.jit(lax.sort_key_val)(keys, values)
    assert [x.tolist() for x in ordered] == [[[1, 1, 3]], [[2.0, 3.0, 1.0]]]
    check_grads(lambda v: lax.sort_key_val(keys, v)[1], (values,), order=2)
    with pytest.raises(errors.ShapeError, match="one shape"):
        lax.sort_key_val(keys, values[0])
