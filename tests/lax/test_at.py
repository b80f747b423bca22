"""Updates of elements as new arrays, compared with what NumPy writes in place."""

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

X = np.arange(1.0, 13.0).reshape(3, 4)
INDICES = [
    1,
    (0, -1),
    (),
    ...,
    slice(None, None, -2),
    (slice(1, None), 2),
    (None, 1, ...),
    [0, 2],
    (..., [3, 0]),
    ([0, 2], [1, 1]),
    (slice(1), [[1], [2]]),
    (1, [0, 3]),
    X > 5.0,
    (X[:, 0] > 3.0, 1),
    True,
    False,
]
METHODS: dict[str, Any] = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "power": np.power,
    "min": np.minimum,
    "max": np.maximum,
}


def staged(f: Callable[..., Any], *args: Any) -> Any:
    (out,) = evaluate(stage(lambda *xs: [f(*xs)], [aval_of(a) for a in args]), args)
    return out


@pytest.mark.parametrize("idx", INDICES, ids=str)
@pytest.mark.parametrize("name", ["set", *METHODS])
def test_updates_are_what_numpy_writes_in_place(idx: Any, name: str) -> None:
    last = np.shape(X[idx])[-1:]
    values = np.linspace(0.5, 2.5, int(np.prod(last))).reshape(last)
    expected = X.copy()
    if name == "set":
        expected[idx] = values
    else:
        expected[idx] = METHODS[name](expected[idx], values)
    before = X.copy()
    out = getattr(lax.at(X)[idx], name)(values)
    np.testing.assert_array_equal(out, expected, strict=True)
    np.testing.assert_array_equal(X, before)
    assert not np.shares_memory(out, X)
    np.testing.assert_array_equal(staged(lambda x, v: getattr(lax.at(x)[idx], name)(v), X, values), expected)
    weights = np.cos(X)
    ct_x, ct_v = gradients(lambda x, v: getattr(lax.at(x)[idx], name)(v), X, values, cotangent=weights)
    t_x, t_v = np.sin(X), np.cos(3.0 * values)
    t = tangent(lambda x, v: getattr(lax.at(x)[idx], name)(v), (X, values), (t_x, t_v))
    ct_v = np.zeros_like(values) if ct_v is None else ct_v
    np.testing.assert_allclose(np.sum(t * weights), np.sum(ct_x * t_x) + np.sum(ct_v * t_v), rtol=1e-12)
    h = 1e-6
    up = getattr(lax.at(X + h * t_x)[idx], name)(values + h * t_v)
    down = getattr(lax.at(X - h * t_x)[idx], name)(values - h * t_v)
    np.testing.assert_allclose(t, (up - down) / (2 * h), rtol=1e-6, atol=1e-7)


@given(indexed(), st.sampled_from(["add", "multiply", "min", "max"]))
def test_values_of_one_element_combine_as_ufunc_at(case: tuple[Any, Any], name: str) -> None:
    x, idx = case
    if not isinstance(x, np.ndarray) or expected_of(x, idx) is None:
        return
    values = np.cos(np.arange(np.size(x[idx])) * 5.0).reshape(np.shape(x[idx]))
    expected = x.copy()
    with np.errstate(invalid="ignore"):
        METHODS[name].at(expected, idx, values)
    np.testing.assert_allclose(getattr(lax.at(x)[idx], name)(values), expected, rtol=1e-14, strict=True)
    assert type(lax.at(x)[idx].get()) is type(x[idx])
    np.testing.assert_array_equal(lax.at(x)[idx].get(), x[idx])


def test_divide_and_power_combine_the_values_of_one_element() -> None:
    x = np.array([2.0, 3.0, 5.0])
    np.testing.assert_array_equal(lax.at(x)[[0, 0, 2]].divide(np.array([2.0, 4.0, 5.0])), [0.25, 3.0, 1.0])
    np.testing.assert_array_equal(lax.at(x)[[0, 0, 2]].power(np.array([2.0, 3.0, 2.0])), [64.0, 3.0, 25.0])
    ct_x, ct_v = gradients(lambda x, v: lax.at(x)[[0, 0]].power(v), x, np.array([2.0, 3.0]))
    np.testing.assert_allclose(ct_x, [6 * 2.0**5, 1.0, 1.0], rtol=1e-15)
    np.testing.assert_allclose(ct_v, [3 * np.log(2.0) * 64.0, 2 * np.log(2.0) * 64.0], rtol=1e-15)


def test_power_leaves_the_derivative_of_other_elements_alone() -> None:
    x = np.array([-2.0, 3.0])
    v = np.array([2.0])
    t = tangent(lambda x, v: lax.at(x)[[1]].power(v), (x, v), (np.ones(2), np.ones(1)))
    np.testing.assert_allclose(t, [1.0, 6.0 + 9.0 * np.log(3.0)], rtol=1e-15)


def test_apply_acts_once_on_each_element() -> None:
    x = np.array([1.0, 4.0, 9.0])
    np.testing.assert_array_equal(lax.at(x)[[1, 1, 2]].apply(np.sqrt), [1.0, 2.0, 3.0])
    np.testing.assert_array_equal(lax.at(x)[1:].apply(lax.sqrt), [1.0, 2.0, 3.0])
    (ct,) = gradients(lambda x: lax.at(x)[[1, 1, 2]].apply(lax.sqrt), x)
    np.testing.assert_array_equal(ct, [1.0, 0.25, 1 / 6])
    assert lax.at(np.arange(3))[1].apply(lambda v: v + 0.75).dtype == np.int64
    with pytest.raises(errors.ShapeError, match=r"at\[\]\.apply: values of shape \(3,\)"):
        lax.at(x)[:2].apply(lambda v: np.ones(3))


def test_the_dtype_of_the_array_stays() -> None:
    n = np.arange(3)
    np.testing.assert_array_equal(lax.at(n)[1].set(2.75), np.array([0, 2, 2]), strict=True)
    x = np.ones(3, np.float32)
    np.testing.assert_array_equal(lax.at(x)[0].add(np.float64(0.5)), np.array([1.5, 1, 1], np.float32), strict=True)
    np.testing.assert_array_equal(lax.at(n)[[0]].add(True), np.array([1, 1, 2]), strict=True)
    for update in (lambda: lax.at(n)[1].add(0.5), lambda: lax.at(x)[1].set(1j), lambda: lax.at(n)[0].divide(2)):
        with pytest.raises(errors.DTypeError, match=r"at\[\]\.\w+: .*\(x\.astype|x\.astype\(float\)"):
            update()
    with pytest.raises(errors.DTypeError, match="logical_xor"):
        lax.at(np.ones(2, bool))[0].subtract(True)


def test_values_that_do_not_broadcast_are_named() -> None:
    with pytest.raises(
        errors.ShapeError, match=r"at\[\]\.set: values of shape \(3,\) do not broadcast to shape \(2, 4\)"
    ):
        lax.at(X)[1:].set(np.ones(3))
    np.testing.assert_array_equal(lax.at(X)[0].set(np.zeros((1, 4)))[0], np.zeros(4))


@pytest.mark.parametrize("mode", [None, "raise", "promise_in_bounds"])
def test_out_of_bounds_raises_unless_a_mode_says_otherwise(mode: str | None) -> None:
    x = np.arange(3.0)
    for idx in (3, -4, [0, 3], (slice(None), 0)):
        with pytest.raises(errors.IndexingError):
            lax.at(x)[idx].get(mode=mode)
        with pytest.raises(errors.IndexingError):
            lax.at(x)[idx].add(1.0, mode=mode)
    with pytest.raises(errors.ArgumentError, match="mode='drp'"):
        lax.at(x)[0].set(1.0, mode="drp")


def test_modes() -> None:
    x = np.array([1.0, 2.0, 3.0])
    i = np.array([0, 5, -1, -7])
    at = lax.at(x)[i]
    np.testing.assert_array_equal(at.get(mode="clip"), [1.0, 3.0, 3.0, 1.0])
    np.testing.assert_array_equal(at.get(mode="wrap"), [1.0, 3.0, 3.0, 3.0])
    np.testing.assert_array_equal(at.get(mode="fill"), [1.0, np.nan, 3.0, np.nan])
    np.testing.assert_array_equal(at.get(mode="fill", fill_value=-1), [1.0, -1.0, 3.0, -1.0])
    np.testing.assert_array_equal(at.add(1.0, mode="clip"), [3.0, 2.0, 5.0])
    np.testing.assert_array_equal(at.add(1.0, mode="wrap"), [2.0, 2.0, 6.0])
    np.testing.assert_array_equal(at.add(1.0, mode="drop"), [2.0, 2.0, 4.0])
    np.testing.assert_array_equal(at.divide(2.0, mode="drop"), [0.5, 2.0, 1.5])
    np.testing.assert_array_equal(lax.at(x)[7].set(9.0, mode="drop"), x)
    np.testing.assert_array_equal(lax.at(x)[7].set(9.0, mode="clip"), [1.0, 2.0, 9.0])
    assert type(lax.at(x)[7].get(mode="clip")) is np.float64
    np.testing.assert_array_equal(lax.at(X)[1:, [0, 9]].get(mode="fill", fill_value=0.0), [[5.0, 0.0], [9.0, 0.0]])
    (ct,) = gradients(lambda x: lax.at(x)[i].get(mode="fill"), x)
    np.testing.assert_array_equal(ct, [1.0, 0.0, 1.0])


@pytest.mark.parametrize(
    ("dtype", "fill"), [(np.int8, -128), (np.uint16, 65535), (bool, True), (np.float32, np.nan), (np.complex64, np.nan)]
)
def test_what_is_filled_in(dtype: Any, fill: Any) -> None:
    out = lax.at(np.zeros(2, dtype))[[0, 4]].get(mode="fill")
    assert out.dtype == dtype
    np.testing.assert_array_equal(out, np.array([0, fill], dtype))


def test_a_mask_that_is_unknown_while_tracing_updates_with_what_needs_no_count() -> None:
    for name, f in METHODS.items():
        out = staged(lambda x, name=name: getattr(lax.at(x)[lax.gt(x, 5.0)], name)(2.0), X)
        np.testing.assert_array_equal(out, np.where(X > 5.0, f(X, 2.0), X))
    row = np.arange(4.0)
    out = staged(lambda x: lax.at(x)[lax.gt(lax.index(x, (slice(None), 0)), 2.0)].set(row), X)
    np.testing.assert_array_equal(out, np.stack([X[0], row, row]))
    out = staged(lambda x: lax.at(x)[lax.gt(x, 5.0)].apply(lax.neg), X)
    np.testing.assert_array_equal(out, np.where(X > 5.0, -X, X))
    with pytest.raises(errors.ShapeError, match="do not broadcast"):
        staged(lambda x: lax.at(x)[lax.gt(x, 5.0)].set(np.ones(7)), X)
    with pytest.raises(errors.IndexingError, match="mask of shape"):
        staged(lambda x: lax.at(row)[lax.gt(x, 5.0)].set(0.0), X)


def test_traced_integers_name_the_elements() -> None:
    out = staged(lambda x, i: lax.at(x)[i, 1:].multiply(2.0), X, np.int64(-1))
    np.testing.assert_array_equal(out[-1], [9.0, 20.0, 22.0, 24.0])
    out = mapped(lambda i: lax.at(X)[i].set(0.0), 3, np.arange(3), dims=(0,))
    np.testing.assert_array_equal(out, [np.where(np.arange(3)[:, None] == k, 0.0, X) for k in range(3)])


def test_arrays_without_axes_keep_how_they_are_boxed() -> None:
    assert type(lax.at(np.float64(2.0))[()].add(1.0)) is np.float64
    assert type(lax.at(np.array(2.0))[...].add(1.0)) is np.ndarray
    np.testing.assert_array_equal(lax.at(np.array(2.0))[()].multiply(4.0), 8.0)


def test_loops_of_updates_have_the_right_gradient() -> None:
    def powers(x: Any) -> Any:
        out = np.zeros(4)
        for k in range(4):
            out = lax.at(out)[k].set(x**k)
        return lax.reduce_sum(out, (0,))

    np.testing.assert_allclose(ft.grad(powers)(3.0), 1 + 2 * 3 + 3 * 9, rtol=1e-15)
    np.testing.assert_allclose(ft.grad(ft.grad(powers))(3.0), 2 + 6 * 3, rtol=1e-15)


def test_the_description_names_array_and_index() -> None:
    assert repr(lax.at(X)) == "at(f64[3,4])"
    assert repr(lax.at(X)[1]) == "at(f64[3,4])[1]"
