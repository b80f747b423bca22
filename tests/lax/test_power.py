"""Powers and roots: NumPy's values to the bit, and derivatives where the formula breaks down."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from functrans import errors, lax
from functrans.core.stage import stage
from functrans.core.trace import aval_of
from tests.lax.derivatives import gradients, slopes, tangent

RNG = np.random.default_rng(7)


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 5, -1, -2, 0.5, 1.5, -0.5, 2.0, 1.7, 100, -3.3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_scalar_pow_has_the_bits_of_the_operator(exponent: float, dtype: Any) -> None:
    x = RNG.uniform(0.5, 1.5, 200).astype(dtype)
    out = lax.scalar_pow(x, exponent)
    np.testing.assert_array_equal(out, x**exponent)
    assert out.dtype == dtype
    for scalar in x[:50]:
        result = lax.scalar_pow(scalar, exponent)
        np.testing.assert_array_equal(result, scalar**exponent)
        assert type(result) is type(scalar)


def test_infinite_exponents_are_ordinary_operands() -> None:
    np.testing.assert_array_equal(lax.scalar_pow(np.array([0.5, 1.0, 2.0]), np.inf), [0.0, 1.0, np.inf])
    assert lax.scalar_pow(np.float32(2.0), -np.inf) == 0.0


@pytest.mark.parametrize("dtype", [np.int64, np.uint8])
def test_integers_keep_their_dtype_under_static_powers(dtype: Any) -> None:
    x = np.array([0, 1, 3], dtype)
    np.testing.assert_array_equal(lax.integer_pow(x, 3), np.array([0, 1, 27], dtype), strict=True)
    np.testing.assert_array_equal(lax.integer_pow(x, 0), np.array([1, 1, 1], dtype), strict=True)
    np.testing.assert_array_equal(lax.square(x), np.array([0, 1, 9], dtype), strict=True)


@pytest.mark.parametrize("exponent", [-1, 0.5, 2.5])
def test_powers_of_integers_that_are_no_integers_are_refused(exponent: float) -> None:
    with pytest.raises(errors.DTypeError, match=r"scalar_pow: .*x\.astype\(float\)"):
        stage(lambda x: [lax.scalar_pow(x, exponent)], [aval_of(np.arange(3))], "f")


def test_integer_pow_wants_an_integer() -> None:
    with pytest.raises(TypeError):
        lax.integer_pow(np.ones(2), 1.5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("exponent", "first", "second"),
    [(0, 0.0, 0.0), (1, 1.0, 0.0), (2, 0.0, 2.0), (3, 0.0, 0.0), (1.5, 0.0, np.inf)],
)
def test_powers_at_zero_have_the_derivatives_of_calculus(exponent: float, first: float, second: float) -> None:
    x = np.zeros(2)
    for power in (lax.scalar_pow, lax.pow):
        np.testing.assert_array_equal(slopes(lambda y, p=power: p(y, exponent), x), np.full(2, first))
        with np.errstate(divide="ignore"):
            np.testing.assert_array_equal(slopes(lambda y, p=power: p(y, exponent), x, 2), np.full(2, second))


def test_pow_at_zero_in_both_operands() -> None:
    base, exponent = gradients(lax.pow, np.zeros(3), np.array([0.0, 1.0, 2.0]))
    np.testing.assert_array_equal(base, [0.0, 1.0, 0.0])
    np.testing.assert_array_equal(exponent, [0.0, 0.0, 0.0])


def test_a_power_of_zero_still_has_a_mixed_derivative() -> None:
    # d/dy d/dx x**y at y = 0 is 1/x: replacing the vanishing exponent would give x.
    def base_slope(y: Any) -> Any:
        return tangent(lambda x: lax.pow(x, y), (np.array([2.0, 4.0]),), (np.ones(2),))

    np.testing.assert_allclose(tangent(base_slope, (np.zeros(2),), (np.ones(2),)), [0.5, 0.25])


def test_the_exponent_has_no_derivative_at_negative_bases() -> None:
    with np.errstate(invalid="ignore"):
        (_, exponent) = gradients(lax.pow, np.array([-2.0, 2.0]), np.array([2.0, 2.0]))
    np.testing.assert_array_equal(np.isnan(exponent), [True, False])
    np.testing.assert_allclose(exponent[1], 4 * np.log(2.0))


def test_weak_numbers_adopt_the_dtype_of_arrays() -> None:
    x = np.array([1.0, 2.0], np.float32)
    (base, exponent) = gradients(lax.pow, x, 3.0)
    assert base.dtype == np.float32
    np.testing.assert_allclose(base, [3.0, 12.0])
    assert exponent.dtype == np.float64
    np.testing.assert_allclose(exponent, 8 * np.log(2.0), rtol=1e-6)


def test_roots_at_zero_have_infinite_slopes() -> None:
    with np.errstate(divide="ignore"):
        for root in (lax.sqrt, lax.cbrt):
            np.testing.assert_array_equal(slopes(root, np.zeros(1)), [np.inf])
        np.testing.assert_array_equal(slopes(lax.rsqrt, np.zeros(1)), [-np.inf])
        np.testing.assert_array_equal(slopes(lax.reciprocal, np.zeros(1)), [-np.inf])


def test_roots_and_reciprocals() -> None:
    x = np.array([4.0, 0.25])
    np.testing.assert_array_equal(lax.rsqrt(x), [0.5, 2.0])
    np.testing.assert_array_equal(slopes(lax.sqrt, x), [0.25, 1.0])
    np.testing.assert_array_equal(slopes(lax.reciprocal, x), [-0.0625, -16.0])
    np.testing.assert_array_equal(slopes(lax.rsqrt, x), [-0.0625, -4.0])
    np.testing.assert_allclose(slopes(lax.cbrt, np.array([8.0, -8.0])), [1 / 12, 1 / 12])
    np.testing.assert_allclose(slopes(lax.sqrt, x, 3), 0.375 * x**-2.5)


def test_endless_series_of_exponents_are_operands_and_usual_ones_are_static() -> None:
    def primitives(exponent: float) -> list[str]:
        jaxpr = stage(lambda x: [lax.scalar_pow(x, exponent)], [aval_of(np.ones(3))], "f")
        return [eqn.prim.name for eqn in jaxpr.eqns]

    assert primitives(0.123) == ["pow"]
    assert primitives(65) == ["pow"]
    assert primitives(3) == primitives(3.0) == primitives(1.5) == ["scalar_pow"]
    assert primitives(2) == ["square"]
    assert primitives(0.5) == ["sqrt"]
    assert primitives(-1) == ["reciprocal"]
    assert primitives(1) == ["positive"]
