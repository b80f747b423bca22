"""Circular and hyperbolic functions: slopes at ends of domains, on branch cuts, far out and at origins."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from functrans import errors, lax
from tests.lax.derivatives import gradients, slopes, tangent

CASES: list[tuple[Any, Any, Any, Any]] = [
    (lax.sin, np.sin, np.cos, lambda x: -np.sin(x)),
    (lax.cos, np.cos, lambda x: -np.sin(x), lambda x: -np.cos(x)),
    (lax.tan, np.tan, lambda x: 1 / np.cos(x) ** 2, lambda x: 2 * np.tan(x) / np.cos(x) ** 2),
    (lax.asin, np.arcsin, lambda x: (1 - x * x) ** -0.5, lambda x: x * (1 - x * x) ** -1.5),
    (lax.acos, np.arccos, lambda x: -((1 - x * x) ** -0.5), lambda x: -x * (1 - x * x) ** -1.5),
    (lax.atan, np.arctan, lambda x: 1 / (1 + x * x), lambda x: -2 * x / (1 + x * x) ** 2),
    (lax.sinh, np.sinh, np.cosh, np.sinh),
    (lax.cosh, np.cosh, np.sinh, np.cosh),
    (lax.tanh, np.tanh, lambda x: 1 / np.cosh(x) ** 2, lambda x: -2 * np.tanh(x) / np.cosh(x) ** 2),
    (lax.asinh, np.arcsinh, lambda x: (1 + x * x) ** -0.5, lambda x: -x * (1 + x * x) ** -1.5),
    (lax.atanh, np.arctanh, lambda x: 1 / (1 - x * x), lambda x: 2 * x / (1 - x * x) ** 2),
]


@pytest.mark.parametrize(("function", "numpy", "first", "second"), CASES, ids=lambda c: getattr(c, "__name__", ""))
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_values_and_derivatives(function: Any, numpy: Any, first: Any, second: Any, dtype: Any) -> None:
    x = np.array([0.3, -0.6, 0.9]).astype(dtype)
    if dtype is np.complex128:
        x = x + np.array([0.2j, -0.4j, 0.1j])
    rtol = 2e-5 if dtype is np.float32 else 1e-12
    np.testing.assert_array_equal(function(x), numpy(x), strict=True)
    np.testing.assert_allclose(slopes(function, x), first(x), rtol=rtol)
    np.testing.assert_allclose(slopes(function, x, 2), second(x), rtol=rtol)


def test_acosh() -> None:
    x = np.array([1.5, 4.0])
    np.testing.assert_array_equal(lax.acosh(x), np.arccosh(x))
    np.testing.assert_allclose(slopes(lax.acosh, x), (x * x - 1) ** -0.5)
    np.testing.assert_allclose(slopes(lax.acosh, x, 2), -x * (x * x - 1) ** -1.5)


@pytest.mark.parametrize("function", [lax.asin, lax.acos, lax.acosh, lax.atanh])
def test_slopes_at_the_ends_of_the_domain_are_infinite(function: Any) -> None:
    with np.errstate(divide="ignore"):
        assert np.isinf(slopes(function, np.ones(1) if function is not lax.atanh else -np.ones(1)))


@pytest.mark.parametrize(
    ("function", "inverse"),
    [(lax.sin, lax.asin), (lax.cos, lax.acos), (lax.cosh, lax.acosh), (lax.sinh, lax.asinh), (lax.tanh, lax.atanh)],
)
@pytest.mark.parametrize("x", [2 + 0j, -2 + 0j, 3j, -3j, 2 + 1e-9j, -2 - 1e-9j])
def test_slopes_on_branch_cuts_are_those_of_the_value_that_was_given(function: Any, inverse: Any, x: complex) -> None:
    z = np.array([x])
    np.testing.assert_allclose(slopes(inverse, z), 1 / slopes(function, inverse(z)), rtol=1e-8)


def test_slopes_of_inverses_do_not_overflow() -> None:
    x = np.array([1e200, -1e200])
    np.testing.assert_allclose(slopes(lax.asinh, x), [1e-200, 1e-200])
    np.testing.assert_allclose(slopes(lax.acosh, x[:1]), [1e-200])
    np.testing.assert_array_equal(slopes(lax.atan, x), [0.0, 0.0])
    np.testing.assert_allclose(slopes(lax.atan, np.float16(300)), np.float16(1 / 90001), rtol=1e-2)
    np.testing.assert_array_equal(slopes(lax.tanh, np.array([-800.0, 800.0])), [0.0, 0.0])


def test_atan2_and_hypot_at_the_origin_and_in_the_quadrants() -> None:
    y, x = np.array([0.0, 3.0, -3.0, 0.0]), np.array([0.0, 4.0, -4.0, -2.0])
    np.testing.assert_array_equal(lax.atan2(y, x), np.arctan2(y, x))
    by_y, by_x = gradients(lax.atan2, y, x)
    np.testing.assert_allclose(by_y, [0.0, 4 / 25, -4 / 25, -0.5])
    np.testing.assert_allclose(by_x, [0.0, -3 / 25, 3 / 25, 0.0])
    by_y, by_x = gradients(lax.hypot, y, x)
    np.testing.assert_allclose(by_y, [0.0, 0.6, -0.6, 0.0])
    np.testing.assert_allclose(by_x, [0.0, 0.8, -0.8, -1.0])


@pytest.mark.parametrize("function", [lax.atan2, lax.hypot])
@pytest.mark.parametrize("direction", [(1.0, 0.0), (0.0, 1.0), (1.0, -2.0)])
def test_second_derivatives_at_the_origin_are_zero(function: Any, direction: tuple[float, float]) -> None:
    def slope(x: Any, y: Any) -> Any:
        return tangent(function, (x, y), direction)

    assert tangent(slope, (0.0, 0.0), direction) == 0
    for ct in gradients(slope, 0.0, 0.0):
        assert ct is None or ct == 0


def test_slopes_of_atan2_neither_overflow_nor_fail_at_infinity() -> None:
    by_y, by_x = gradients(lax.atan2, np.array([1e200, 1e-200, 1.0]), np.array([1e200, 1e-200, np.inf]))
    np.testing.assert_allclose(by_y, [0.5e-200, 0.5e200, 0.0])
    np.testing.assert_allclose(by_x, [-0.5e-200, -0.5e200, 0.0])


def test_sinc_has_every_derivative_at_and_near_zero() -> None:
    x = np.array([0.0, 1e-9, -1e-3])
    np.testing.assert_array_equal(lax.sinc(x), np.sinc(x))
    # sinc(x) = 1 - (pi x)**2/6 + (pi x)**4/120 - ...
    np.testing.assert_allclose(slopes(lax.sinc, x), -(np.pi**2) * x / 3 + np.pi**4 * x**3 / 30, rtol=1e-9)
    np.testing.assert_allclose(slopes(lax.sinc, x, 2), -(np.pi**2) / 3 + np.pi**4 * x**2 / 10, rtol=1e-9)
    np.testing.assert_allclose(slopes(lax.sinc, x[:1], 4), np.pi**4 / 5)
    assert slopes(lax.sinc, 0.0, 3) == 0


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5, 6])
def test_derivatives_of_sinc_by_series_and_by_recurrence_agree_with_quadrature(order: int) -> None:
    # sinc(x) is the mean of cos(pi x s) over s in [0, 1], and so are its derivatives under the integral.
    nodes, weights = np.polynomial.legendre.leggauss(60)
    s = (nodes + 1) / 2
    x = np.linspace(-4, 4, 41)[:, None]
    values = (np.pi * s) ** order * np.cos(np.pi * x * s + order * np.pi / 2)
    np.testing.assert_allclose(slopes(lax.sinc, x[:, 0], order), values @ weights / 2, rtol=1e-8, atol=1e-10)


def test_angle() -> None:
    z = np.array([1j, -1.0, 2 - 2j, 0])
    np.testing.assert_array_equal(lax.angle(z), np.angle(z))
    # The angle grows by dy/|z| across the radius: as a covector -1j * conj(z)/|z|**2, unconjugated, -1j/z.
    (ct,) = gradients(lax.angle, z)
    np.testing.assert_allclose(ct, [-1j / 1j, 1j, -1j / (2 - 2j), 0], atol=1e-16)
    with pytest.raises(errors.DTypeError, match="imag"):
        gradients(lax.angle, np.ones(2))
