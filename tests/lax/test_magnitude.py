"""Signs and sizes: which operand has the derivative, and what happens at kinks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from functrans import lax
from functrans.core.trace import aval_of
from tests.lax.derivatives import gradients, mapped, slopes, tangent

NAN = np.nan


def test_abs_and_sign_at_zero() -> None:
    x = np.array([-2.0, 0.0, -0.0, 3.0])
    np.testing.assert_array_equal(slopes(lax.abs, x), [-1.0, 0.0, 0.0, 1.0])
    np.testing.assert_array_equal(slopes(lax.abs, x, 2), np.zeros(4))
    np.testing.assert_array_equal(slopes(lax.sign, x), np.zeros(4))


def test_abs_of_complex_numbers() -> None:
    z = np.array([3 + 4j, 0, -2j])
    np.testing.assert_array_equal(lax.abs(z), [5.0, 0.0, 2.0])
    assert lax.abs(z).dtype == np.float64
    (ct,) = gradients(lax.abs, z)
    np.testing.assert_allclose(ct, [(3 - 4j) / 5, 0, 1j])
    out = tangent(lax.abs, (z,), (np.array([1.0, 1.0, 1.0]) + 0j,))
    np.testing.assert_allclose(out, [0.6, 0.0, 0.0])


def test_second_derivative_of_complex_abs() -> None:
    # |z| for z = x + iy is hypot(x, y): d2/dx2 = y**2/r**3, and 0 is the convention at the origin.
    z, one = np.array([3 + 4j, 0]), np.ones(2) + 0j
    second = tangent(lambda w: tangent(lax.abs, (w,), (one,)), (z,), (one,))
    np.testing.assert_allclose(second, [16 / 125, 0.0])


def test_sign_of_complex_numbers_turns_only() -> None:
    z = np.array([3 + 4j, 0, 2])
    np.testing.assert_allclose(lax.sign(z), [0.6 + 0.8j, 0, 1])
    np.testing.assert_allclose(tangent(lax.sign, (z,), (z,)), np.zeros(3), atol=1e-16)
    np.testing.assert_allclose(tangent(lax.sign, (z,), (1j * z,)), 1j * lax.sign(z))


@pytest.mark.parametrize(
    ("function", "left"),
    [(lax.max, [1.0, 0.0, 0.5, 0.0, 0.0]), (lax.min, [0.0, 1.0, 0.5, 0.0, 0.0])],
)
def test_extrema_pass_the_derivative_to_the_winner_and_split_ties(function: Any, left: list[float]) -> None:
    x, y = np.array([2.0, 1.0, 3.0, NAN, 1.0]), np.array([1.0, 2.0, 3.0, 1.0, NAN])
    by_x, by_y = gradients(function, x, y)
    np.testing.assert_array_equal(by_x, left)
    np.testing.assert_array_equal(by_y, [1 - left[0], 1 - left[1], 0.5, 0.0, 0.0])


@pytest.mark.parametrize("function", [lax.fmax, lax.fmin])
def test_extrema_that_skip_nan_pass_the_derivative_to_the_number(function: Any) -> None:
    x, y = np.array([NAN, 2.0, 3.0]), np.array([1.0, NAN, 3.0])
    np.testing.assert_array_equal(function(x, y), [1.0, 2.0, 3.0])
    by_x, by_y = gradients(function, x, y)
    np.testing.assert_array_equal(by_x, [0.0, 1.0, 0.5])
    np.testing.assert_array_equal(by_y, [1.0, 0.0, 0.5])


def test_an_infinite_derivative_does_not_reach_the_loser_as_nan() -> None:
    with np.errstate(divide="ignore"):
        (ct,) = gradients(lambda x: lax.log(lax.max(x, 0.0)), np.array([-1.0, 1.0]))
    np.testing.assert_array_equal(ct, [0.0, 1.0])


def test_extrema_of_float32_and_a_number_stay_float32() -> None:
    (ct,) = gradients(lambda x: lax.max(x, 0), np.array([-1.0, 0.0, 1.0], np.float32))
    np.testing.assert_array_equal(ct, np.array([0.0, 0.5, 1.0], np.float32), strict=True)


def test_clamp() -> None:
    x = np.array([-3.0, -1.0, 0.5, 1.0, 2.0])
    np.testing.assert_array_equal(lax.clamp(-1.0, x, 1.0), [-1.0, -1.0, 0.5, 1.0, 1.0])
    by_lo, by_x, by_hi = gradients(lax.clamp, np.full(5, -1.0), x, np.full(5, 1.0))
    np.testing.assert_array_equal(by_lo, [1.0, 0.0, 0.0, 0.0, 0.0])
    np.testing.assert_array_equal(by_x, [0.0, 1.0, 1.0, 1.0, 0.0])
    np.testing.assert_array_equal(by_hi, [0.0, 0.0, 0.0, 0.0, 1.0])


def test_clamp_with_bounds_the_wrong_way_round_is_the_upper_one() -> None:
    x = np.array([-3.0, 0.0, 3.0])
    np.testing.assert_array_equal(lax.clamp(1.0, x, -1.0), np.full(3, -1.0))
    by_lo, by_x, by_hi = gradients(lax.clamp, np.ones(3), x, -np.ones(3))
    np.testing.assert_array_equal(by_lo + by_x, np.zeros(3))
    np.testing.assert_array_equal(by_hi, np.ones(3))


def test_clamp_keeps_a_weak_operand_weak() -> None:
    out = lax.clamp(np.float32(0.0), 2.5, np.float32(1.0))
    assert aval_of(out).dtype == np.float32
    assert out == 1.0
    np.testing.assert_array_equal(lax.clamp(1, np.arange(5), 3), [1, 1, 2, 3, 3])


def test_copysign() -> None:
    x, y = np.array([2.0, -2.0, 2.0, 0.0]), np.array([-1.0, 1.0, -0.0, -1.0])
    np.testing.assert_array_equal(lax.copysign(x, y), np.copysign(x, y))
    by_x, by_y = gradients(lax.copysign, x, y)
    np.testing.assert_array_equal(by_x, [-1.0, -1.0, -1.0, 0.0])
    assert by_y is None or not by_y.any()


def test_mapping_over_one_operand() -> None:
    x = np.array([[1.0, -1.0], [0.0, 3.0], [5.0, 6.0]])
    out = mapped(lax.max, 3, x, np.array([0.0, 4.0]), dims=(0, None))
    np.testing.assert_array_equal(out, np.maximum(x, [0.0, 4.0]))
    out = mapped(lax.clamp, 2, np.array([0.0, 1.0]), x, 2.0, dims=(0, 1, None))
    np.testing.assert_array_equal(out, [np.clip(x[:, 0], 0, 2), np.clip(x[:, 1], 1, 2)])
