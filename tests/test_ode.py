"""odeint: against solutions in closed form and SciPy, and derivatives of every kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import functrans as ft
from functrans import errors
from functrans.ode import odeint
from functrans.test_util import check_grads

T = np.array([0.0, 0.3, 1.0])


def decay(y: Any, t: Any, rate: Any) -> Any:
    return -rate * y


def pendulum(y: Any, t: Any, length: Any, drag: Any) -> Any:
    return np.stack([y[1], -np.sin(y[0]) / length - drag * y[1] + 0.1 * np.sin(t)])


Y0 = np.array([1.0, 0.2])


def test_closed_form_and_scipy() -> None:
    found = odeint(decay, np.array([1.0, 2.0]), T, 0.7)
    np.testing.assert_allclose(found, np.exp(-0.7 * T)[:, None] * [1.0, 2.0], rtol=1e-7)
    times = np.linspace(0.0, 4.0, 30)
    reference = solve_ivp(lambda t, y: pendulum(y, t, 0.8, 0.3), (0, 4), Y0, "DOP853", times, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(odeint(pendulum, Y0, times, 0.8, 0.3), reference.y.T, atol=3e-7)
    np.testing.assert_allclose(odeint(pendulum, Y0, times, 0.8, 0.3, rtol=1e-11, atol=1e-11), reference.y.T, atol=3e-10)
    # A few steps span many times: the interpolant is of the order of the method.
    coarse = odeint(pendulum, Y0, times, 0.8, 0.3, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(coarse, reference.y.T, atol=3e-4)


def test_backwards_in_time_and_types() -> None:
    there = odeint(pendulum, Y0, T, 0.8, 0.3)
    back = odeint(pendulum, there[-1], T[::-1].copy(), 0.8, 0.3)
    np.testing.assert_allclose(back[-1], Y0, atol=1e-6)
    y = odeint(decay, np.float32(1.0), T.astype(np.float32), np.float32(0.5), rtol=1e-4, atol=1e-4)
    assert y.dtype == np.float32 and y.shape == (3,)
    assert odeint(decay, 1, T, 0.5).dtype == np.float64
    z = odeint(lambda z, t: 1j * z, 1.0 + 0j, T)
    np.testing.assert_allclose(z, np.exp(1j * T), rtol=1e-7)


def test_pytrees() -> None:
    def field(state: Any, t: Any, p: Any) -> Any:
        return {"x": (state["v"],), "v": -p["k"] * state["x"][0]}

    found = odeint(field, {"x": (np.ones((2, 2)),), "v": np.zeros((2, 2))}, T, {"k": 4.0})
    np.testing.assert_allclose(found["x"][0], np.cos(2 * T)[:, None, None] * np.ones((2, 2)), atol=1e-6)
    np.testing.assert_allclose(found["v"][:, 0, 0], -2 * np.sin(2 * T), atol=1e-6)


def final(y0: Any, t: Any, length: Any, drag: Any) -> Any:
    return odeint(pendulum, y0, t, length, drag, rtol=1e-10, atol=1e-10)[1:]


def test_derivatives_in_everything() -> None:
    args = (Y0, T, 0.8, 0.3)
    check_grads(final, args, order=1, rtol=1e-5, atol=1e-5)
    check_grads(ft.jit(final), args, order=1, modes=("rev",), rtol=1e-5, atol=1e-5)


def test_second_order_by_nesting() -> None:
    def f(rate: Any) -> Any:
        return odeint(decay, 1.0, T[[0, 2]], rate)[-1]

    exact = -np.exp(-0.7), np.exp(-0.7)
    for first in (ft.grad, ft.jacfwd):
        np.testing.assert_allclose(first(f)(0.7), exact[0], rtol=1e-6)
        for second in (ft.grad, ft.jacfwd):
            np.testing.assert_allclose(second(first(f))(0.7), exact[1], rtol=1e-5)


def test_gradients_of_what_the_right_hand_side_closes_over() -> None:
    def f(rate: Any) -> Any:
        return np.sum(odeint(lambda y, t: -rate * y, np.ones(2), T)[-1])

    np.testing.assert_allclose(ft.grad(f)(0.7), -2 * np.exp(-0.7), rtol=1e-6)
    np.testing.assert_allclose(ft.jit(ft.grad(f))(0.7), -2 * np.exp(-0.7), rtol=1e-6)


def test_batches_step_each_at_its_own_pace() -> None:
    rates = np.array([0.1, 3.0, 20.0])
    found = ft.vmap(lambda r: odeint(decay, 1.0, T, r))(rates)
    np.testing.assert_allclose(found, np.exp(-rates[:, None] * T), atol=1e-7)
    slopes = ft.jit(ft.vmap(ft.grad(lambda r: odeint(decay, 1.0, T, r)[-1])))(rates)
    np.testing.assert_allclose(slopes, -np.exp(-rates), atol=1e-7)


def test_integers_and_arrays_of_them_among_the_arguments() -> None:
    def field(y: Any, t: Any, table: Any, i: Any) -> Any:
        return -table[i] * y

    gradient = ft.grad(lambda table: odeint(field, 1.0, T, table, 1)[-1])(np.array([5.0, 0.7]))
    np.testing.assert_allclose(gradient, [0.0, -np.exp(-0.7)], rtol=1e-6)


def test_limits() -> None:
    assert np.isnan(odeint(decay, 1.0, T, 50.0, mxstep=3)[-1])
    assert odeint(decay, 1.0, T, 50.0, mxstep=3)[0] == 1.0
    # A solution that goes to infinity has no step short enough.
    with np.errstate(all="ignore"):
        assert np.isnan(odeint(lambda y, t: y**2, 1.0, np.array([0.0, 0.5, 2.0]))[-1])
    times: list[float] = []

    def noted(t: Any) -> Any:
        times.append(float(t))
        return np.zeros(1)

    def field(y: Any, t: Any) -> Any:
        return ft.pure_callback(noted, ft.ShapeDtypeStruct((1,), np.float64), t)

    odeint(field, np.ones(1), np.array([0.0, 1.0]), hmax=0.1)
    assert len(times) > 60
    assert max(times) == 1.0


def test_errors() -> None:
    with pytest.raises(errors.ShapeError, match="t must be one axis of at least two times"):
        odeint(decay, 1.0, np.array([0.0]), 1.0)
    with pytest.raises(errors.TreeStructureError, match="must return a derivative of the state"):
        odeint(lambda y, t: (y, y), 1.0, T)
    with pytest.raises(errors.ShapeError, match=r"shape \(1,\) as derivative of one of shape \(2,\)"):
        odeint(lambda y, t: y[:1], Y0, T)
    with pytest.raises(errors.ArgumentError, match="argument 0 is an object of type str"):
        odeint(decay, 1.0, T, "fast")
    with pytest.raises(errors.ArgumentError, match="y0 has no arrays"):
        odeint(decay, (), T)
