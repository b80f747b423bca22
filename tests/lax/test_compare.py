"""Comparisons, logic and bits."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import pytest

from functrans import errors, lax
from functrans.core.stage import stage
from functrans.core.trace import aval_of
from tests.lax.derivatives import gradients, mapped, slopes

COMPARISONS = [
    (lax.eq, operator.eq),
    (lax.ne, operator.ne),
    (lax.lt, operator.lt),
    (lax.le, operator.le),
    (lax.gt, operator.gt),
    (lax.ge, operator.ge),
]


@pytest.mark.parametrize(("function", "python"), COMPARISONS)
def test_comparisons(function: Any, python: Any) -> None:
    x, y = np.array([[1.0, np.nan], [2.0, -0.0]]), np.array([1.0, 0.0])
    np.testing.assert_array_equal(function(x, y), python(x, y), strict=True)
    np.testing.assert_array_equal(function(np.arange(3), 1), python(np.arange(3), 1), strict=True)
    assert type(function(np.float64(1.0), 1.0)) is np.bool_
    assert function(np.uint8(200), 300) == python(200, 300)


def test_comparisons_have_no_derivative() -> None:
    x = np.array([1.0, 2.0])
    (ct,) = gradients(lambda y: lax.select(lax.gt(y, 1.5), y, 0.0), x)
    np.testing.assert_array_equal(ct, [0.0, 1.0])


def test_operands_of_two_dtypes_are_refused() -> None:
    avals = [aval_of(np.ones(2)), aval_of(np.ones(2, np.float32))]
    with pytest.raises(errors.DTypeError, match=r"lt: operands of types f64\[2\], f32\[2\] must have one dtype"):
        stage(lambda x, y: [lax.lt(x, y)], avals, "f")


def test_tests_of_single_values() -> None:
    x = np.array([0.0, np.inf, -np.inf, np.nan])
    np.testing.assert_array_equal(lax.is_finite(x), [True, False, False, False])
    np.testing.assert_array_equal(lax.isinf(x), [False, True, True, False])
    np.testing.assert_array_equal(lax.isnan(x), [False, False, False, True])
    assert lax.isnan(complex(0, np.nan))
    np.testing.assert_array_equal(lax.is_finite(np.arange(2)), [True, True])


def test_logic_takes_numbers_for_truth_values() -> None:
    x, y = np.array([0.0, 0.0, 2.0, 3.0]), np.array([0.0, 1.0, 0.0, -1.0])
    np.testing.assert_array_equal(lax.logical_and(x, y), [False, False, False, True])
    np.testing.assert_array_equal(lax.logical_or(x, y), [False, True, True, True])
    np.testing.assert_array_equal(lax.logical_xor(x, y), [False, True, True, False])
    np.testing.assert_array_equal(lax.logical_not(x), [True, True, False, False])


def test_bitwise_operations() -> None:
    x, y = np.array([6, 5], np.uint8), np.array([3, 4], np.uint8)
    np.testing.assert_array_equal(lax.bitwise_and(x, y), x & y, strict=True)
    np.testing.assert_array_equal(lax.bitwise_or(x, y), x | y, strict=True)
    np.testing.assert_array_equal(lax.bitwise_xor(x, y), x ^ y, strict=True)
    np.testing.assert_array_equal(lax.bitwise_not(x), ~x, strict=True)
    np.testing.assert_array_equal(lax.bitwise_not(np.array([True, False])), [False, True])
    np.testing.assert_array_equal(mapped(lax.bitwise_and, 2, x, 3, dims=(0, None)), [2, 1])


def test_bitwise_operations_refuse_floats() -> None:
    with pytest.raises(errors.DTypeError, match=r"and: .* takes booleans, integers, unsigned integers"):
        stage(lambda x: [lax.bitwise_and(x, x)], [aval_of(np.ones(2))], "f")


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint64])
def test_shifts_and_counts_of_every_width(dtype: Any) -> None:
    width = np.dtype(dtype).itemsize * 8
    rng = np.random.default_rng(0)
    info = np.iinfo(dtype)
    x = rng.integers(info.min, info.max, 50, dtype=dtype, endpoint=True)
    x[:4] = [0, 1, info.max, info.min]
    for n in (0, 1, width - 1):
        shifted = [(int(v) % 2**width) >> n for v in x]
        expected = np.array([s - 2**width if s > info.max else s for s in shifted], dtype)
        np.testing.assert_array_equal(lax.shift_right_logical(x, dtype(n)), expected, strict=True)
        np.testing.assert_array_equal(lax.shift_right_arithmetic(x, n), np.array([int(v) >> n for v in x], dtype))
        left = [(int(v) << n) % 2**width for v in x]
        np.testing.assert_array_equal(
            lax.shift_left(x, n), np.array([v - 2**width if v > info.max else v for v in left], dtype), strict=True
        )
    bits = [f"{int(v) % 2**width:0{width}b}" for v in x]
    np.testing.assert_array_equal(lax.population_count(x), np.array([b.count("1") for b in bits], dtype), strict=True)
    np.testing.assert_array_equal(lax.clz(x), np.array([len(b) - len(b.lstrip("0")) for b in bits], dtype), strict=True)
    np.testing.assert_array_equal(lax.bit_count(x), np.bitwise_count(x), strict=True)


@pytest.mark.parametrize("function", [lax.population_count, lax.clz])
def test_counting_bits_of_floats_is_refused(function: Any) -> None:
    with pytest.raises(errors.DTypeError, match=f"{function.__name__}: integers are needed, got dtype float64"):
        function(np.ones(2))


def test_divisors_and_multiples() -> None:
    np.testing.assert_array_equal(lax.gcd(np.array([12, -8, 0]), np.array([18, 12, 0])), [6, 4, 0])
    np.testing.assert_array_equal(lax.lcm(np.array([4, -6, 0]), np.array([6, 4, 5])), [12, 12, 0])


def test_weak_integers_fit_unsigned_arrays() -> None:
    x = np.array([1, 2], np.uint8)
    jaxpr = stage(lambda y: [lax.bitwise_and(y, 1), lax.eq(y, 1), lax.add(y, 1)], [aval_of(x)], "f")
    assert [a.dtype.name for a in jaxpr.out_avals] == ["uint8", "bool", "uint8"]


def test_slopes_of_step_functions_are_zero() -> None:
    np.testing.assert_array_equal(
        slopes(lambda y: lax.select(lax.isnan(y), 1.0, 0.0), np.array([1.0, np.nan])), [0.0, 0.0]
    )
