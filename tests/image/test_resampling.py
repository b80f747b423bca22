"""Resizing: the figures of another library, derivatives, batching, conventions, errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_reference import excess

import functrans as ft
from functrans import errors, image
from functrans.test_util import check_grads
from tests.image.cases import CASES, IMAGE, METHODS

REFERENCE = np.load(Path(__file__).parent / "reference.npz")
SMOOTH = METHODS[1:]


@pytest.mark.parametrize("name", CASES)
def test_values(name: str) -> None:
    case, expected = CASES[name], REFERENCE[f"{name}/0"]
    found = case.call(image, None)
    assert found.dtype == expected.dtype
    assert excess(found, expected, case.rtol, case.atol) <= 1


@pytest.mark.parametrize("method", METHODS)
def test_jit_and_vmap(method: str) -> None:
    def f(x: Any) -> Any:
        return image.resize(x, (3, 9), method)

    x = IMAGE[..., 0]
    np.testing.assert_array_equal(ft.jit(f)(x), f(x))
    each = np.stack([f(IMAGE[..., k]) for k in (0, 1)], -1)
    np.testing.assert_allclose(ft.vmap(f, -1, -1)(IMAGE), each, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("method", SMOOTH)
def test_derivatives(method: str, antialias: bool) -> None:
    x = IMAGE[:3, :2, 0]
    check_grads(lambda x: image.resize(x, (2, 3), method, antialias), (x,), 1)

    def moved(x: Any, s: Any, t: Any) -> Any:
        return image.scale_and_translate(x, (4, 2), (0,), s, t, method, antialias)

    check_grads(moved, (x, np.array([1.37]), np.array([0.41])), 2 if antialias else 1)
    slope = ft.grad(lambda s: np.sum(moved(x, s, np.array([0.41])) ** 2))
    np.testing.assert_allclose(ft.jit(slope)(np.array([1.37])), slope(np.array([1.37])))


def test_the_weights_sum_to_one() -> None:
    for method in SMOOTH:
        for shape in ((3, 11, 2), (17, 2, 2)):
            np.testing.assert_allclose(image.resize(np.ones((5, 6, 2)), shape, method), np.ones(shape), rtol=1e-14)


def test_conventions() -> None:
    x = np.array([1.0, 2.0, 3.0, 4.0])
    assert image.resize(x, (4,), "cubic").tolist() == x.tolist()
    assert image.resize(x, (2,), "linear", antialias=False).tolist() == [1.5, 3.5]
    assert image.resize(x, (2,), "area").tolist() == [1.5, 3.5]
    assert image.resize(np.arange(4, dtype=np.int16), (2,), "nearest").dtype == np.int16
    assert image.resize(np.arange(4, dtype=np.int16), (2,), "linear").dtype == np.float64
    assert image.resize([1.0, 2.0], (1,), image.ResizeMethod.LINEAR).tolist() == [1.5]
    assert image.resize(np.array(2.0), (), "linear").shape == ()
    assert image.resize(x, (0,), "linear").shape == (0,)
    z = image.resize(x + 1j * x, (3,), "linear")
    np.testing.assert_allclose(z.imag, image.resize(x, (3,), "linear"))
    # What lies outside of the moved image is 0.
    shifted = image.scale_and_translate(x, (6,), (0,), np.ones(1), np.array([2.0]), "linear")
    assert shifted.tolist() == [0.0, 0.0, 1.0, 2.0, 3.0, 4.0]


def test_a_result_is_no_view() -> None:
    x = np.arange(4.0)
    for method in ("nearest", "linear"):
        assert not np.shares_memory(image.resize(x, (4,), method), x)
        assert not np.shares_memory(ft.jit(lambda x, method=method: image.resize(x, (4,), method))(x), x)


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: image.resize(IMAGE, (3, 3), "linear"), errors.ShapeError, r"shape=\(3, 3\)"),
        (lambda: image.resize(IMAGE, (3, 3, 2), "sinc"), errors.ArgumentError, "no method 'sinc'.*'bilinear'"),
        (lambda: image.resize(IMAGE, (3, 3, 2), 1), errors.ArgumentError, "ResizeMethod"),
        (lambda: image.resize(np.zeros((0, 2)), (3, 2), "linear"), errors.ShapeError, "no pixels"),
        (lambda: image.resize(IMAGE, (3, 3, 2), "linear", precision="x"), errors.ArgumentError, "precision"),
        (lambda: moved((7, 6, 2), (0,), [1.0], [0.0], "nearest"), errors.ArgumentError, "'nearest' has no weights"),
        (lambda: moved((7, 7, 2), (0,), [1.0], [0.0], "linear"), errors.ShapeError, "except in spatial_dims"),
        (lambda: moved((7, 6, 2), (0, 0), [1.0] * 2, [0.0] * 2, "linear"), errors.ShapeError, "twice"),
        (lambda: moved((7, 6, 2), (5,), [1.0], [0.0], "linear"), errors.ShapeError, "spatial_dims=5"),
        (lambda: moved((7, 6, 2), (0,), [1.0, 2.0], [0.0], "linear"), errors.ShapeError, "scale must have one"),
        (lambda: moved((7, 6, 2), (0,), [1.0], 0.0, "linear"), errors.ShapeError, "translation must have one"),
    ],
)
def test_errors(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()


def moved(*args: Any) -> Any:
    return image.scale_and_translate(IMAGE, *args)
