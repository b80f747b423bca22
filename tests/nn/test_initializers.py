"""Initializers: the figures of another library, the variances that they promise, errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_reference import excess

import functrans as ft
from functrans import errors
from functrans.nn import initializers as init
from tests.nn.initializer_cases import CASES
from tests.random.cases import SEEDS

REFERENCE = np.load(Path(__file__).parent / "initializers.npz")
KEY = ft.random.key(0)


@pytest.mark.parametrize("name", CASES)
def test_values(name: str) -> None:
    case = CASES[name]
    for i, seed in enumerate(SEEDS[:2]):
        found = np.asarray(case.call(init, ft.random.key(seed)))
        assert found.dtype == REFERENCE[f"{name}/{i}"].dtype
        assert excess(found, REFERENCE[f"{name}/{i}"], case.rtol, case.atol) <= 1


def test_every_name_has_a_case() -> None:
    public = {name for name in vars(init) if callable(getattr(init, name)) and not name.startswith("_")}
    listed = (
        "Initializer constant delta_orthogonal glorot_normal glorot_uniform he_normal he_uniform kaiming_normal "
        "kaiming_uniform lecun_normal lecun_uniform normal ones orthogonal truncated_normal uniform variance_scaling "
        "xavier_normal xavier_uniform zeros"
    ).split()
    assert set(listed) <= public


@pytest.mark.parametrize("distribution", ["normal", "uniform", "truncated_normal"])
@pytest.mark.parametrize("dtype", [np.float64, np.complex64])
def test_variance(distribution: Any, dtype: Any) -> None:
    w = init.variance_scaling(3.0, "fan_in", distribution)(KEY, (200, 100), dtype)
    assert w.dtype == dtype and w.shape == (200, 100)
    assert abs(np.mean(np.abs(w) ** 2) - 3.0 / 200) < 0.03 * 3.0 / 200


def test_fans() -> None:
    for mode, n in (("fan_in", 2 * 3 * 5), ("fan_out", 2 * 3 * 7), ("fan_avg", 36), ("fan_geo_avg", 6 * 35**0.5)):
        w = init.variance_scaling(1.0, mode, "normal")(KEY, (2, 3, 5, 7))  # type: ignore[arg-type]
        expected = ft.random.normal(KEY, (2, 3, 5, 7)) / n**0.5
        np.testing.assert_allclose(w, expected, rtol=1e-14)
    w = init.he_normal(in_axis=1, out_axis=0, batch_axis=2)(KEY, (4, 6, 9))
    np.testing.assert_allclose(w.std(), (2 / 6) ** 0.5, rtol=0.2)


def test_matrices_are_orthogonal() -> None:
    w = init.orthogonal(2.0)(KEY, (2, 3, 4))
    np.testing.assert_allclose(w.reshape(6, 4).T @ w.reshape(6, 4), 4 * np.eye(4), atol=1e-13)
    z = init.orthogonal(dtype=np.complex128)(KEY, (3, 3))
    np.testing.assert_allclose(z.conj().T @ z, np.eye(3), atol=1e-13)
    k = init.delta_orthogonal()(KEY, (3, 5, 2, 4))
    np.testing.assert_allclose(k[1, 2] @ k[1, 2].T, np.eye(2), atol=1e-13)
    assert np.count_nonzero(k) == np.count_nonzero(k[1, 2])


def test_under_transformations() -> None:
    keys = ft.random.split(KEY, 3)
    f = init.glorot_uniform()
    stacked = ft.vmap(lambda k: f(k, (2, 3)))(keys)
    np.testing.assert_array_equal(stacked, np.stack([f(k, (2, 3)) for k in keys]))
    np.testing.assert_array_equal(ft.jit(lambda k: f(k, (2, 3)))(KEY), f(KEY, (2, 3)))
    slope = ft.grad(lambda s: np.sum(init.normal(s)(KEY, (3,))))(0.5)
    np.testing.assert_allclose(slope, np.sum(ft.random.normal(KEY, (3,))))
    assert f(ft.random.PRNGKey(0), (2, 3)).tolist() == f(KEY, (2, 3)).tolist()


def test_dtypes_and_empty_shapes() -> None:
    assert init.he_normal(dtype=np.float32)(KEY, (2, 2)).dtype == np.float32
    assert init.he_normal(dtype=np.float32)(KEY, (2, 2), np.float16).dtype == np.float16
    assert init.zeros(KEY, (2,), np.int32).dtype == np.int32
    assert init.constant([1, 2])(KEY, (3, 2)).tolist() == [[1.0, 2.0]] * 3
    for make in (init.he_normal(), init.glorot_uniform(), init.orthogonal(), init.normal()):
        assert make(KEY, (0, 3)).shape == (0, 3)
        assert isinstance(make, init.Initializer)


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: init.he_normal()(KEY, (3,)), errors.ShapeError, "no axis of inputs at -2"),
        (lambda: init.he_normal(in_axis=2)(KEY, (3, 3)), errors.ShapeError, "in_axis=2"),
        (lambda: init.he_normal()(KEY, (3, 3), int), errors.DTypeError, "float or complex"),
        (lambda: init.variance_scaling(1.0, "fan", "normal"), errors.ArgumentError, "fan_geo_avg, got 'fan'"),  # type: ignore[arg-type]
        (lambda: init.variance_scaling(1.0, "fan_in", "cauchy"), errors.ArgumentError, "got 'cauchy'"),  # type: ignore[arg-type]
        (lambda: init.orthogonal()(KEY, (3,)), errors.ShapeError, "two axes"),
        (lambda: init.orthogonal(column_axis=2)(KEY, (3, 3)), errors.ShapeError, "column_axis=2"),
        (lambda: init.delta_orthogonal()(KEY, (3, 3)), errors.ShapeError, "3, 4 or 5 axes"),
        (lambda: init.delta_orthogonal()(KEY, (3, 4, 2)), errors.ShapeError, "more inputs"),
        (lambda: init.normal()(0, (3, 3)), errors.ArgumentError, "random key"),
        (lambda: ft.nn.initialisers, AttributeError, "initialisers"),
    ],
)
def test_errors(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()
