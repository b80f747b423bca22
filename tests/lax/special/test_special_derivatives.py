"""Derivatives of special functions: known values, limits where formulas break down, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.special as sp

import functrans as ft
from functrans import errors, lax
from functrans.lax.special.define import primitives
from functrans.lax.special.incomplete_beta import betainc_grad_p
from tests.lax.special.special_reference import REFERENCE

INF = np.inf
S = ft.scipy.special


def test_derivatives_of_the_incomplete_functions_in_their_parameters() -> None:
    for name, f, operand in (
        ("igamma_grad_a", lax.igamma, 0),
        ("betainc_grad_a", lax.betainc, 0),
        ("betainc_grad_b", lax.betainc, 1),
        ("zeta_grad", lax.zeta, 0),
    ):
        for point, expected in REFERENCE[name]:
            np.testing.assert_allclose(ft.grad(f, operand)(*point), expected, rtol=1e-11, err_msg=f"{name}{point}")
            forward = ft.jvp(lambda v, f=f, p=point, k=operand: f(*p[:k], v, *p[k + 1 :]), (point[operand],), (1.0,))[1]
            np.testing.assert_allclose(forward, expected, rtol=1e-11)


def test_second_and_third_derivatives_in_a_parameter() -> None:
    def differences(f: Any, x: float, h: float) -> float:
        return float((f(x - 2 * h) - 8 * f(x - h) + 8 * f(x + h) - f(x + 2 * h)) / (12 * h))

    for a, x in ((0.7, 0.4), (3.0, 4.5), (20.0, 25.0), (150.0, 140.0)):
        first = lambda v, x=x: lax.igamma_grad_a(v, x)
        second = ft.grad(ft.grad(lax.igamma))(a, x)
        np.testing.assert_allclose(second, differences(first, a, 1e-3 * a), rtol=1e-8, atol=1e-12)
        third = ft.grad(ft.grad(ft.grad(lax.igamma)))(a, x)
        slope = lambda v, x=x: ft.grad(ft.grad(lax.igamma))(v, x)
        np.testing.assert_allclose(third, differences(slope, a, 1e-3 * a), rtol=1e-7, atol=1e-12)
    mixed = betainc_grad_p.bind(2.0, 3.0, 0.4, orders=(1, 1, 0))
    np.testing.assert_allclose(ft.grad(ft.grad(lax.betainc, 0), 1)(2.0, 3.0, 0.4), mixed, rtol=1e-14)
    np.testing.assert_allclose(ft.grad(ft.grad(lax.betainc, 1), 0)(2.0, 3.0, 0.4), mixed, rtol=1e-12)


def test_whole_parameters_where_a_continued_fraction_ends() -> None:
    # The value needs as many terms as the parameter says; the derivative in it needs all of them.
    for a, x in ((1.0, 3.0), (3.0, 4.5), (2.0, 30.0)):
        near = 0.5 * (lax.igamma_grad_a(a - 1e-4, x) + lax.igamma_grad_a(a + 1e-4, x))
        np.testing.assert_allclose(lax.igamma_grad_a(a, x), near, rtol=1e-7)
    for b in (1.0, 2.0, 5.0):
        g = ft.grad(lax.betainc, 1)
        np.testing.assert_allclose(g(2.5, b, 0.1), 0.5 * (g(2.5, b - 1e-4, 0.1) + g(2.5, b + 1e-4, 0.1)), rtol=1e-6)


def test_the_implicit_derivative_of_a_gamma_sample() -> None:
    for point, expected in REFERENCE["random_gamma_grad"]:
        np.testing.assert_allclose(lax.random_gamma_grad(*point), expected, rtol=1e-11, err_msg=str(point))
    # Where distribution function and density underflow, it is still a number.
    assert 0 < lax.random_gamma_grad(1e-3, 1e-200) < 1e-190
    assert 1.5 < lax.random_gamma_grad(5.0, 900.0) < 1e3
    assert math.isclose(lax.random_gamma_grad(1e5, 0.85e5), 0.85**0.5, rel_tol=1e-1)
    assert lax.random_gamma_grad(2.0, 0.0) == 0.0
    a, x = np.array([0.5, 3.0, 50.0]), np.array([0.3, 4.5, 45.0])
    for order, f in enumerate((lambda a: lax.random_gamma_grad(a, x), lambda x: lax.random_gamma_grad(a, x))):
        ft.test_util.check_grads(f, ((a, x)[order],), 1)


def test_the_normal_distribution_far_out() -> None:
    x = np.array([-1e4, -300.0, -40.0, -5.0, 0.0, 5.0, 40.0])
    slope = ft.elementwise_grad(S.log_ndtr)(x)
    assert np.all(np.isfinite(slope))
    np.testing.assert_allclose(slope[:3], -x[:3] * (1 + x[:3] ** -2.0 - 2 * x[:3] ** -4.0), rtol=1e-7)
    assert slope[-1] == 0.0
    second = ft.elementwise_grad(ft.elementwise_grad(S.log_ndtr))(x)
    np.testing.assert_allclose(second[:2], -1 + x[:2] ** -2.0, rtol=1e-4)
    np.testing.assert_allclose(second[4], -2 / np.pi, rtol=1e-12)
    np.testing.assert_allclose(ft.grad(S.ndtri)(0.5), np.sqrt(2 * np.pi))
    density = np.exp(-0.5 * sp.ndtri(1e-5) ** 2) / np.sqrt(2 * np.pi)
    np.testing.assert_allclose(ft.grad(S.ndtri)(1e-5), 1 / density, rtol=1e-13)
    np.testing.assert_allclose(ft.grad(lax.erf_inv)(0.0), np.sqrt(np.pi) / 2)
    np.testing.assert_allclose(ft.grad(S.ndtri_exp)(-1000.0), -1 / sp.ndtri_exp(-1000.0), rtol=1e-3)


@pytest.mark.parametrize(
    ("name", "point", "expected"),
    [
        ("i1", 0.0, 0.5),
        ("j1", 0.0, 0.5),
        ("i1e", 0.0, 0.5),
        ("i0e", 0.0, 0.0),
        ("spence", 1.0, -1.0),
        ("exprel", 0.0, 0.5),
        ("ellipk", 0.0, np.pi / 8),
        ("ellipe", 0.0, -np.pi / 8),
        ("rgamma", 0.0, 1.0),
        ("rgamma", -1.0, -1.0),
        ("rgamma", -4.0, 24.0),
        ("erfcx", 1e6, -1 / (math.sqrt(math.pi) * 1e12)),
        ("dawsn", 1e6, -0.5e-12),
        ("zetac", -2.0, -0.030448457058393270),
        ("gammasgn", 2.5, 0.0),
        ("cosm1", 0.0, 0.0),
    ],
)
def test_limits(name: str, point: float, expected: float) -> None:
    np.testing.assert_allclose(ft.grad(getattr(S, name))(point), expected, rtol=1e-10, atol=1e-300)


def test_second_derivatives_at_limits() -> None:
    def second(f: Any, x: float) -> Any:
        return ft.grad(ft.grad(f))(x)

    np.testing.assert_allclose(second(S.i0, 0.0), 0.5)
    np.testing.assert_allclose(second(S.j0, 0.0), -0.5)
    np.testing.assert_allclose(second(S.exprel, 0.0), 1 / 3)
    np.testing.assert_allclose(second(S.spence, 1.0), 0.5, rtol=1e-12)
    np.testing.assert_allclose(second(S.ellipk, 0.0), np.pi / 2 * 2 * (3 / 8) ** 2, rtol=1e-12)


def test_products_with_logarithms_at_zero() -> None:
    assert ft.grad(S.xlogy, 1)(0.0, 0.0) == 0.0
    assert ft.grad(S.xlogy, 0)(0.0, 2.0) == np.log(2.0)
    assert ft.grad(lambda y: S.xlog1py(0.0, y))(-1.0) == 0.0
    np.testing.assert_allclose(ft.grad(S.boxcox, 1)(2.0, 0.0), np.log(2.0) ** 2 / 2)
    np.testing.assert_allclose(ft.grad(S.inv_boxcox, 1)(2.0, 0.0), -2.0 * np.exp(2.0))


@pytest.mark.parametrize(
    ("name", "args", "expected"),
    [
        ("ellipkinc", (0.8, 1e-9), 0.5 * (0.4 - np.sin(1.6) / 4)),
        ("ellipeinc", (0.8, 0.0), -0.5 * (0.4 - np.sin(1.6) / 4)),
        ("ellipkinc", (0.8, -2e-5), (sp.ellipkinc(0.8, -1e-5) - sp.ellipkinc(0.8, -3e-5)) / 2e-5),
    ],
)
def test_incomplete_elliptic_integrals_near_zero(name: str, args: Any, expected: float) -> None:
    np.testing.assert_allclose(ft.grad(getattr(S, name), 1)(*args), expected, rtol=1e-8)


def test_inverses_undo_what_they_invert() -> None:
    # The derivative of f(a, inverse(a, p)) = p: 1 in p, and 0 in a parameter.
    for name, forward, args in (
        ("gammaincinv", S.gammainc, (2.5, 0.3)),
        ("gammainccinv", S.gammaincc, (2.5, 0.3)),
        ("betaincinv", S.betainc, (2.5, 0.75, 0.3)),
        ("stdtrit", S.stdtr, (3.5, 0.8)),
        ("chdtri", S.chdtrc, (3.5, 0.8)),
        ("fdtri", S.fdtr, (3.0, 5.0, 0.4)),
    ):
        inverse = getattr(S, name)
        loop = lambda *xs, f=forward, g=inverse: f(*xs[:-1], g(*xs))
        gradient = ft.grad(loop, tuple(range(len(args))))(*args)
        np.testing.assert_allclose(gradient, [0.0] * (len(args) - 1) + [1.0], atol=1e-12, err_msg=name)


@pytest.mark.parametrize(
    ("f", "args", "operand", "what"),
    [
        (sp.jv, (1.5, 2.0), 0, "the derivative of jv in its order is not implemented"),
        (lax.polygamma, (1.0, 2.0), 0, "the derivative of polygamma in its order n"),
        (sp.expn, (2.0, 0.5), 0, "the derivative of expn in its order n"),
        (sp.eval_legendre, (2.0, 0.5), 0, "the derivative of eval_legendre in its degree"),
        (sp.tklmbda, (0.5, 0.5), 1, "the derivative of tklmbda in its parameter"),
    ],
)
def test_what_has_no_derivative(f: Any, args: Any, operand: int, what: str) -> None:
    with pytest.raises(errors.NotDifferentiableError, match=f"{what}.*stop_gradient"):
        ft.grad(f, operand)(*args)
    others = [k for k in range(len(args)) if k != operand]
    ft.grad(lambda v: f(*[v if k == others[0] else a for k, a in enumerate(args)]))(args[others[0]])


def test_there_are_many() -> None:
    # Each primitive's samples run through the systematic matrix, in every transformation.
    assert len(primitives) >= 120
    assert all(prim.jvp is not None for prim, _ in primitives.values())


def test_what_is_refused() -> None:
    for x in (np.arange(3), np.array([1j]), np.zeros(2, np.longdouble)):
        with pytest.raises(errors.DTypeError, match=r"^lgamma: "):
            lax.lgamma(x)
    with pytest.raises(errors.DTypeError, match="one dtype"):
        lax.igamma(np.float32(1.0), np.float64(2.0))


def test_half_precision_goes_by_single_precision() -> None:
    x = np.array([0.5, 2.5], np.float16)
    assert lax.lgamma(x).dtype == np.float16
    np.testing.assert_array_equal(lax.lgamma(x), sp.gammaln(x.astype(np.float32)).astype(np.float16))
    assert ft.elementwise_grad(lax.lgamma)(x).dtype == np.float16
    assert ft.grad(lambda a: np.sum(lax.igamma(a, x)))(x).dtype == np.float16
