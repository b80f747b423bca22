"""functrans.scipy.integrate: rules for samples against SciPy, integrals of functions and their derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.integrate

import functrans as ft
import functrans.scipy.integrate as ours
from functrans import errors
from tests.scipy.agreement import Use, check_use

Y = np.array([[0.3, -1.7, 2.4, 0.9, 0.5], [1.25, 3.1, -0.75, 0.2, 1.0]])
X = np.array([0.0, 0.3, 0.7, 1.5, 1.6])
RULES = ("trapezoid", "cumulative_trapezoid", "simpson")

USES = [
    *[
        Use(f"{f} {n}", lambda xp, y, f=f: getattr(xp, f)(y, dx=0.3), (Y[:, :n],), 1)
        for f in RULES
        for n in (2, 3, 4, 5)
    ],
    *[
        Use(f"{f} {n} places", lambda xp, y, x, f=f: getattr(xp, f)(y, x), (Y[:, :n], X[:n]), 1, 64)
        for f in RULES
        for n in (2, 3, 4, 5)
    ],
    *[Use(f"{f} all places", lambda xp, y, f=f: getattr(xp, f)(y, np.stack([X, X**2])), (Y,), 1) for f in RULES],
    *[Use(f"{f} axis", lambda xp, y, f=f: getattr(xp, f)(y, axis=0), (Y.T,), 0) for f in RULES],
    *[Use(f"{f} int", lambda xp, y, f=f: getattr(xp, f)(y), (np.arange(5),), 0) for f in RULES],
    *[Use(f"{f} complex", lambda xp, y, f=f: getattr(xp, f)(y, X), (Y + 1j * Y[::-1],), 1) for f in RULES],
    Use("trapezoid single", lambda xp, y: xp.trapezoid(y, X), (Y.astype(np.float32),), 0),
    Use("cumulative from 0", lambda xp, y: xp.cumulative_trapezoid(y, X, initial=0), (Y,), 1),
    Use("romb", lambda xp, y: xp.romb(y, 0.3), (Y,), 1),
    Use("fixed_quad", lambda xp, a, b: xp.fixed_quad(lambda x: np.sin(x) * x, a, b, n=4)[0], (0.2, 1.7), 2),
]


@pytest.mark.parametrize("use", USES, ids=lambda u: u.name)
def test_agrees_with_scipy(use: Use) -> None:
    check_use(use, scipy.integrate, ours)


def damped(t: Any, a: Any, b: Any) -> Any:
    return ours.quad(lambda x: np.exp(-t * x**2) * np.sin(3 * x * t), a, b)[0]


def test_quad_is_scipys_and_differentiable_in_limits_and_captured_values() -> None:
    assert type(damped(1.3, 0.0, 2.0)) is float
    assert ft.jit(damped)(1.3, 0.0, 2.0) == damped(1.3, 0.0, 2.0)
    ft.test_util.check_grads(damped, (1.3, 0.1, 2.0), order=2)


def test_quad_over_an_infinite_interval_in_arguments() -> None:
    f = lambda w: ours.quad(lambda x, w: np.sum(w * np.exp(-x * np.arange(1, 4))), 0.0, np.inf, (w,))[0]
    expected = 1 / np.arange(1.0, 4.0)
    w = np.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(ft.grad(f)(w), expected, rtol=1e-8)
    np.testing.assert_allclose(ft.jit(ft.vmap(ft.grad(f)))(np.stack([w, w])), [expected] * 2, rtol=1e-8)
    square = ft.jit(ft.hessian(lambda w: f(w) ** 2))(w)
    np.testing.assert_allclose(square, 2 * np.outer(expected, expected), rtol=1e-8)
    np.testing.assert_allclose(ft.jacfwd(f)(w), expected, rtol=1e-8)


def test_quad_over_a_function_of_an_integer_array() -> None:
    k = np.array([1, 2])
    f = lambda t: ours.quad(lambda x, k: np.sum(x**k) * t, 0.0, 1.0, (k,))[0]
    np.testing.assert_allclose(ft.grad(f)(2.0), 1 / 2 + 1 / 3, rtol=1e-10)


@pytest.mark.parametrize(
    ("f", "kind", "message"),
    [
        (lambda y: ours.trapezoid(y, X[:3]), errors.ShapeError, "x has 3 places for 5 samples"),
        (lambda y: ours.simpson(y, X[None, None]), errors.ShapeError, "x must be a vector"),
        (lambda y: ours.cumulative_trapezoid(y, initial=1.0), errors.ArgumentError, "initial must be 0"),
        (lambda y: ours.cumulative_trapezoid(y[:, :0]), errors.ShapeError, "a sample or more"),
        (lambda y: ours.romb(y[:, :4]), errors.ShapeError, r"2\*\*k \+ 1 samples"),
        (lambda y: ours.quad(lambda x: y * x, 0.0, 1.0), errors.NonScalarOutputError, "must return one real number"),
        (lambda y: ours.quad(np.sin, 0.0, 1.0, y), errors.ArgumentError, "must be a tuple"),
    ],
)
def test_errors(f: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        ft.jit(f)(Y)
    with pytest.raises(ValueError, match="must be finite"):
        ours.fixed_quad(np.sin, 0.0, np.inf)
