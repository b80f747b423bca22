"""Choices, and cutting derivatives off."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from functrans import errors, lax
from functrans.core.stage import stage
from functrans.core.trace import aval_of
from tests.lax.derivatives import gradients, mapped, slopes

PRED = np.array([True, False, True])


def test_select_boxes_and_promotes_as_where() -> None:
    scalars = [(True, 1.0, 2.0), (np.bool_(True), np.float32(1), 2)]
    for args in [(PRED, np.ones(3, np.float32), 0.0), (PRED, 1, 2), *scalars]:
        out, expected = lax.select(*args), np.where(*args)
        np.testing.assert_array_equal(out, expected, strict=True)
        assert type(out) is np.ndarray


def test_select_broadcasts_all_operands() -> None:
    out = lax.select(PRED[:, None], np.arange(4.0), np.full((1, 1), -1.0))
    np.testing.assert_array_equal(out, np.where(PRED[:, None], np.arange(4.0), -1.0))
    x, y = gradients(lambda x, y: lax.select(PRED[:, None], x, y), np.arange(4.0), np.full((1, 1), -1.0))
    np.testing.assert_array_equal(x, np.full(4, 2.0))
    np.testing.assert_array_equal(y, [[4.0]])


def test_select_needs_its_operands_guarded_rather_than_its_result() -> None:
    with np.errstate(divide="ignore", invalid="ignore"):
        (ct,) = gradients(lambda x: lax.select(lax.gt(x, 0.0), lax.log(x), 0.0), np.array([0.0, 2.0]))
        assert np.isnan(ct[0])
    (ct,) = gradients(lambda x: lax.log(lax.select(lax.gt(x, 0.0), x, 1.0)), np.array([0.0, 2.0]))
    np.testing.assert_array_equal(ct, [0.0, 0.5])


def test_where_is_select() -> None:
    assert lax.where is lax.select


@pytest.mark.parametrize("pred", [np.arange(3), np.ones(3)])
def test_select_wants_booleans(pred: Any) -> None:
    with pytest.raises(errors.DTypeError, match=r"select: the predicate must be boolean, got .*ne\(pred, 0\)"):
        stage(lambda p: [lax.select(p, 1.0, 0.0)], [aval_of(pred)], "f")


def test_select_n() -> None:
    which = np.array([0, 2, 1, 5, -1])
    np.testing.assert_array_equal(lax.select_n(which, 10, 20, 30), [10, 30, 20, 30, 10])
    np.testing.assert_array_equal(lax.select_n(PRED, np.zeros(3), np.ones(3)), [1.0, 0.0, 1.0])
    np.testing.assert_array_equal(lax.select_n(which, np.float32(4.0)), np.full(5, 4.0, np.float32), strict=True)
    cts = gradients(lambda *cases: lax.select_n(which, *cases), np.zeros(5), np.zeros(5), np.zeros(5))
    np.testing.assert_array_equal(cts, [[1, 0, 0, 0, 1], [0, 0, 1, 0, 0], [0, 1, 0, 1, 0]])


def test_select_n_says_what_it_wants() -> None:
    with pytest.raises(errors.ArgumentError, match="at least one case"):
        lax.select_n(PRED)
    with pytest.raises(errors.DTypeError, match="booleans choose between two cases, got 3"):
        lax.select_n(PRED, 1, 2, 3)
    with pytest.raises(errors.DTypeError, match="`which` must hold booleans or integers"):
        lax.select_n(np.ones(3), 1, 2)


@pytest.mark.parametrize("dims", [(0, None, None), (None, 1, None), (None, None, 0), (0, 1, 0), (None, 1, 0)])
def test_select_maps_over_any_operands(dims: tuple[int | None, ...]) -> None:
    rng = np.random.default_rng(1)
    pred, x, y = rng.random((4, 3)) > 0.5, rng.random((3, 4)), rng.random((4, 3))
    first = (pred[0], x[:, 0], y[0])
    args = [one if d is None else all_ for one, all_, d in zip(first, (pred, x, y), dims, strict=True)]
    examples = [
        np.where(*[a if d is None else np.take(a, i, d) for a, d in zip(args, dims, strict=True)]) for i in range(4)
    ]
    np.testing.assert_array_equal(mapped(lax.select, 4, *args, dims=dims), examples)


def test_stop_gradient_is_a_constant_to_every_mode() -> None:
    x = np.array([2.0, 3.0])
    np.testing.assert_array_equal(slopes(lambda y: lax.mul(y, lax.stop_gradient(y)), x), x)
    np.testing.assert_array_equal(slopes(lambda y: lax.stop_gradient(lax.square(y)), x), np.zeros(2))
    np.testing.assert_array_equal(slopes(lambda y: lax.mul(y, lax.stop_gradient(y)), x, 2), np.zeros(2))
    np.testing.assert_array_equal(mapped(lax.stop_gradient, 2, x, dims=(0,)), x)


def test_stop_gradient_keeps_values_and_structure() -> None:
    tree = {"a": [1, 2.5], "b": np.array(3.0)}
    out = lax.stop_gradient(tree)
    assert out["a"] == [1, 2.5]
    assert type(out["a"][0]) is int
    assert type(out["b"]) is np.ndarray
