"""Rounding, remainders and the parts of floats."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from functrans import errors, lax
from functrans.core.stage import stage
from functrans.core.trace import aval_of
from tests.lax.derivatives import gradients, slopes, tangent

X = np.array([-2.5, -1.5, -0.5, -0.0, 0.0, 0.5, 1.5, 2.5, 0.49999999999999994, 3.7, -np.inf, np.nan])


@pytest.mark.parametrize(
    ("function", "numpy"),
    [(lax.floor, np.floor), (lax.ceil, np.ceil), (lax.trunc, np.trunc), (lax.rint, np.rint), (lax.round, np.round)],
)
def test_rounding_is_numpys_and_has_slope_zero(function: Any, numpy: Any) -> None:
    np.testing.assert_array_equal(function(X), numpy(X))
    np.testing.assert_array_equal(np.signbit(function(X)), np.signbit(numpy(X)))
    np.testing.assert_array_equal(slopes(function, X), np.zeros(12))


def test_rounding_halves_away_from_zero() -> None:
    out = lax.round(X, lax.RoundingMethod.AWAY_FROM_ZERO)
    np.testing.assert_array_equal(out, [-3.0, -2.0, -1.0, -0.0, 0.0, 1.0, 2.0, 3.0, 0.0, 4.0, -np.inf, np.nan])
    np.testing.assert_array_equal(np.signbit(out[:-1]), np.signbit(X[:-1]))
    assert lax.round(np.float32(2.5), 0).dtype == np.float32  # type: ignore[arg-type]


def test_an_unknown_rounding_method_is_refused() -> None:
    with pytest.raises(ValueError, match="7"):
        lax.round(X, 7)  # type: ignore[arg-type]


@pytest.mark.parametrize("function", [lax.floor, lax.ceil, lax.trunc, lax.spacing, lax.signbit])
def test_integers_have_nothing_to_round(function: Any) -> None:
    with pytest.raises(errors.DTypeError, match=f"{function.__name__}: .* takes floats"):
        stage(lambda x: [function(x)], [aval_of(np.arange(3))], "f")


def test_remainders_have_the_sign_of_divisor_or_dividend() -> None:
    x, y = np.array([7.0, -7.0, 7.0, -7.0]), np.array([3.0, 3.0, -3.0, -3.0])
    np.testing.assert_array_equal(lax.remainder(x, y), [1.0, 2.0, -2.0, -1.0])
    np.testing.assert_array_equal(lax.rem(x, y), [1.0, -1.0, 1.0, -1.0])
    np.testing.assert_array_equal(lax.floor_divide(x, y), [2.0, -3.0, -3.0, 2.0])
    by_x, by_y = gradients(lax.remainder, x, y)
    np.testing.assert_array_equal(by_x, np.ones(4))
    np.testing.assert_array_equal(by_y, [-2.0, 3.0, 3.0, -2.0])
    by_x, by_y = gradients(lax.rem, x, y)
    np.testing.assert_array_equal(by_x, np.ones(4))
    np.testing.assert_array_equal(by_y, [-2.0, 2.0, 2.0, -2.0])


def test_remainders_count_the_divisors_exactly() -> None:
    # 6 / 0.1 rounds to 60, while the remainder shows that only 59 divisors fit: 0.1 is a little more than a tenth.
    for function in (lax.rem, lax.remainder):
        out, (_, by_y) = function(6.0, 0.1), gradients(function, 6.0, 0.1)
        np.testing.assert_allclose(6.0 + by_y * 0.1, out, atol=1e-13)
        assert by_y == -59


def test_remainders_of_integers() -> None:
    x = np.array([7, -7], np.int8)
    np.testing.assert_array_equal(lax.remainder(x, 3), np.array([1, 2], np.int8), strict=True)
    np.testing.assert_array_equal(lax.rem(x, 3), np.array([1, -1], np.int8), strict=True)
    np.testing.assert_array_equal(lax.floor_divide(x, 2), np.array([3, -4], np.int8), strict=True)


def test_neighbours() -> None:
    x = np.array([1.0, 1.0, 0.0], np.float32)
    y = np.array([2.0, 0.0, 1.0], np.float32)
    np.testing.assert_array_equal(lax.nextafter(x, y), np.nextafter(x, y), strict=True)
    by_x, by_y = gradients(lax.nextafter, x, y)
    np.testing.assert_array_equal(by_x, np.ones(3))
    assert by_y is None or not by_y.any()
    np.testing.assert_array_equal(lax.spacing(x), np.spacing(x), strict=True)
    np.testing.assert_array_equal(slopes(lax.spacing, x), np.zeros(3))
    np.testing.assert_array_equal(lax.signbit(np.array([-0.0, 0.0, -1.0])), [True, False, True])


def test_ldexp_scales_tangents_without_overflow_on_the_way() -> None:
    x, n = np.array([0.5, 0.75]), np.array([3, -1])
    np.testing.assert_array_equal(lax.ldexp(x, n), [4.0, 0.375])
    np.testing.assert_array_equal(slopes(lambda y: lax.ldexp(y, n), x), [8.0, 0.5])
    tiny = np.float64(1e-300)
    np.testing.assert_allclose(tangent(lambda y: lax.ldexp(y, 1030), (tiny,), (tiny,)), np.ldexp(tiny, 1030))


def test_ldexp_wants_an_integer_exponent() -> None:
    with pytest.raises(errors.DTypeError, match="ldexp: a float and a signed integer"):
        stage(lambda x: [lax.ldexp(x, 2.0)], [aval_of(np.ones(2))], "f")


def test_frexp_and_modf() -> None:
    x = np.array([6.0, -0.3, 0.0, 1.0])
    for ours, numpys in ((lax.frexp(x), np.frexp(x)), (lax.modf(x), np.modf(x))):
        for part, expected in zip(ours, numpys, strict=True):
            np.testing.assert_array_equal(part, expected, strict=True)
    np.testing.assert_array_equal(slopes(lambda y: lax.frexp(y)[0], x), [0.125, 2.0, 1.0, 0.5])
    np.testing.assert_array_equal(slopes(lambda y: lax.modf(y)[0], x), np.ones(4))
    np.testing.assert_array_equal(slopes(lambda y: lax.modf(y)[1], x), np.zeros(4))
    # The mantissa and the power of two make the number up, and their derivatives its derivative.
    np.testing.assert_array_equal(slopes(lambda y: lax.ldexp(*lax.frexp(y)), x), np.ones(4))
