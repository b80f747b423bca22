"""Arrays made from nothing, and evenly spaced numbers with NumPy's bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from functrans import errors, lax
from functrans.core.stage import stage
from tests.lax.derivatives import gradients, mapped, tangent

RNG = np.random.default_rng(3)


def same(actual: Any, expected: Any) -> None:
    np.testing.assert_array_equal(actual, expected, strict=True)
    assert type(actual) is np.ndarray
    assert actual.tobytes() == expected.tobytes()


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.float32, np.complex128])
def test_iota_counts_along_one_axis(dtype: Any) -> None:
    same(lax.iota(dtype, 4), np.arange(4, dtype=dtype))
    expected = np.empty((2, 3, 2), dtype)
    expected[...] = np.arange(3)[:, None]
    out = lax.iota(dtype, (2, 3, 2), -2)
    same(out, expected)
    assert out.flags.writeable


def test_constants() -> None:
    same(lax.full((2, 2), 1.5), np.full((2, 2), 1.5))
    same(lax.full(2, 3, np.float32), np.full(2, 3, np.float32))
    same(lax.full((), True), np.array(True))
    same(lax.full(2, np.float64(-0.0)), np.array([-0.0, -0.0]))
    same(lax.zeros((2, 0), np.int8), np.zeros((2, 0), np.int8))
    same(lax.ones(2), np.ones(2))
    same(lax.zeros_like(np.ones((1, 2), bool)), np.zeros((1, 2), bool))
    same(lax.ones_like(np.float32(2.0)), np.array(1.0, np.float32))
    same(lax.full_like(np.zeros(2), 2, np.int16, (3,)), np.full(3, 2, np.int16))
    same(lax.eye(2, 3, 1), np.eye(2, 3, 1))
    same(lax.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32))
    same(lax.tri(3, 4, -1, bool), np.tri(3, 4, -1, bool))


def test_a_traced_value_fills_an_array_with_its_derivative() -> None:
    fill = lambda v: lax.full((2, 3), v)
    same(tangent(fill, (np.float64(2.0),), (np.float64(5.0),)), np.full((2, 3), 5.0))
    (back,) = gradients(fill, np.float64(2.0))
    assert back == 6.0
    assert isinstance(back, np.float64)
    same(mapped(fill, 2, np.array([1.0, 2.0]), dims=(0,)), np.stack([np.full((2, 3), v) for v in (1.0, 2.0)]))


def test_creation_is_recorded_rather_than_captured() -> None:
    jaxpr = stage(lambda: [lax.iota(np.int64, 1000), lax.eye(30), lax.arange(1000.0), lax.zeros(1000)], [], "f")
    assert jaxpr.consts == ()
    assert [eqn.prim.name for eqn in jaxpr.eqns] == ["iota", "eye", "arange", "full"]


def scalars() -> list[Any]:
    kinds: list[Callable[[float], Any]] = [int, np.float64, np.int64]
    kinds += [float] if RNG.random() < 0.5 else [np.float32, np.float16]
    return [RNG.choice(np.array(kinds, object))(round(RNG.uniform(-9, 9), int(RNG.integers(0, 4)))) for _ in range(3)]


def test_arange_has_numpys_bits() -> None:
    compared = 0
    while compared < 300:
        start, stop, step = scalars()
        if step != 0 and abs((stop - start) / step) < 1000:
            same(lax.arange(start, stop, step), np.arange(start, stop, step))
            compared += 1
    same(lax.arange(5), np.arange(5))
    same(lax.arange(np.float32(3)), np.arange(np.float32(3)))
    same(lax.arange(2, 9, dtype=np.float32), np.arange(2, 9, dtype=np.float32))
    same(lax.arange(-0.0, 3.0), np.arange(-0.0, 3.0))
    same(lax.arange(3, 0), np.arange(3, 0))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.complex64, np.complex128])
@pytest.mark.parametrize("endpoint", [True, False])
def test_linspace_has_numpys_bits(dtype: Any, endpoint: bool) -> None:
    for num in (0, 1, 2, 7):
        for shape, axis in [((), 0), ((3,), -1), ((2, 3), 1)]:
            start, stop = (RNG.normal(size=shape).astype(dtype) for _ in range(2))
            out = lax.linspace(start, stop, num, endpoint=endpoint, axis=axis)
            np.testing.assert_array_equal(out, np.linspace(start, stop, num, endpoint=endpoint, axis=axis), strict=True)


def test_linspace_between_equal_and_denormal_ends() -> None:
    tiny = np.array([0.0, 1.0]), np.array([1e-323, 2.0])
    np.testing.assert_array_equal(lax.linspace(*tiny, 9), np.linspace(*tiny, 9), strict=True)
    np.testing.assert_array_equal(lax.linspace(2.0, 2.0, 5), np.linspace(2.0, 2.0, 5), strict=True)


@pytest.mark.parametrize("stop", [3.0, 1.0])
def test_linspace_differentiates_its_ends(stop: float) -> None:
    start_bar, stop_bar = gradients(
        lambda a, b: lax.linspace(a, b, 5), np.float64(1.0), np.float64(stop), cotangent=np.array([1.0, 0, 8, 0, 32])
    )
    assert (start_bar, stop_bar) == (5.0, 36.0)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: lax.iota(bool, 3), errors.DTypeError, "iota: counting needs a numeric dtype"),
        (lambda: lax.iota(int, (3,), 1), errors.ShapeError, "iota: dimension=1 is out of bounds"),
        (lambda: lax.full((2,), np.ones(2)), errors.ShapeError, "full: the fill value must be a scalar"),
        (lambda: lax.full((-1,), 0.0), errors.ShapeError, "full: a shape has no negative extents"),
        (lambda: lax.arange(0, 3, 0), errors.ShapeError, "arange: step must not be zero"),
        (lambda: lax.arange(0.0, np.inf), errors.ShapeError, "arange: .* no finite length"),
        (lambda: lax.arange(1j), errors.ArgumentError, "arange: .* real numbers"),
        (lambda: lax.linspace(0.0, 1.0, -1), errors.ShapeError, "linspace: num must not be negative"),
        (lambda: lax.linspace(0, 1, 3), errors.DTypeError, "linspace"),
        (lambda: lax.eye(-1), errors.ShapeError, "eye: a shape has no negative extents"),
    ],
)
def test_errors_name_the_operation(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
