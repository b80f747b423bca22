"""Roots and fixed points: their derivatives are those of the equation, to any order, whoever solved it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.optimize

import functrans as ft
from functrans import errors
from functrans.solvers import fixed_point, implicit_solution, root
from functrans.test_util import check_grads


def conjugate_gradients(product: Any, b: Any) -> Any:
    """Enough steps for a small system that is symmetric and positive definite."""

    def step(_: Any, state: Any) -> Any:
        x, r, p = state
        image = product(p)
        size = r @ r
        length = size / (p @ image + 1e-300)
        new = r - length * image
        return x + length * p, new, new + (new @ new) / (size + 1e-300) * p

    return ft.lax.fori_loop(0, b.shape[0], step, (np.zeros_like(b), b, b))[0]


def system(x: Any, a: Any, b: Any) -> Any:
    return x**3 + a * x - b


A, B = 1.3, np.array([1.0, -2.0, 0.5])


@pytest.mark.parametrize("linear", [None, conjugate_gradients])
@pytest.mark.parametrize("wrap", [lambda f: f, ft.jit], ids=["eager", "jit"])
def test_root(linear: Any, wrap: Any) -> None:
    def f(a: Any, b: Any) -> Any:
        return root(system, np.zeros(3), a, b, linear_solve=linear)

    g = wrap(f)
    np.testing.assert_allclose(system(g(A, B), A, B), 0, atol=1e-10)
    check_grads(g, (A, B), order=2)
    single = ft.vmap(f, (0, None))(np.array([A, 2 * A]), B)
    np.testing.assert_allclose(single, [f(A, B), f(2 * A, B)])
    jacobians = ft.vmap(ft.jacrev(f), (0, None))(np.array([A, 2 * A]), B)
    np.testing.assert_allclose(jacobians[1], ft.jacrev(f)(2 * A, B))


def test_roots_of_pytrees_and_of_captured_values() -> None:
    def equations(x: Any, a: Any) -> Any:
        return {"p": x["p"] + x["q"] - a, "q": x["p"] * x["q"] - 1.0}

    x = root(equations, {"p": 2.0, "q": 0.1}, 3.0)
    np.testing.assert_allclose(sorted([x["p"], x["q"]]), [(3 - 5**0.5) / 2, (3 + 5**0.5) / 2])

    def captured(a: Any) -> Any:
        return root(lambda x: x**2 - a, 1.0)

    assert type(captured(2.0)) is np.float64
    check_grads(captured, (2.0,), order=2)
    check_grads(ft.jit(captured), (2.0,), order=2)
    np.testing.assert_allclose(ft.grad(ft.grad(ft.grad(captured)))(2.0), 3 / 8 * 2**-2.5)
    assert ft.grad(lambda x0: root(lambda x: x**2 - 2.0, x0))(1.0) == 0


def test_newton_is_damped_and_gives_up() -> None:
    # Full steps from there go off to infinity.
    np.testing.assert_allclose(root(np.arctan, 3.0), 0, atol=1e-10)
    assert np.isnan(root(lambda x: x**2 + 1, 0.5))


def test_fixed_point() -> None:
    weights = np.random.default_rng(0).normal(size=(4, 4)) / 6

    def layer(x: Any, w: Any, b: Any) -> Any:
        return np.tanh(w @ x + b)

    def equilibrium(w: Any, b: Any) -> Any:
        return fixed_point(layer, np.zeros(4), w, b, tol=1e-12)

    b = np.array([0.3, -0.2, 0.1, 0.5])
    x = equilibrium(weights, b)
    np.testing.assert_allclose(layer(x, weights, b), x, atol=1e-12)
    check_grads(equilibrium, (weights, b), order=2)
    check_grads(ft.jit(equilibrium), (weights, b), order=1)
    assert np.isnan(fixed_point(lambda x: 2 * x + 1, 0.0, max_steps=20))


def test_solutions_of_scipy() -> None:
    def minimum(a: Any) -> Any:
        """The minimum of ``sum(x**4 / 4 + x**2 * a / 2 - x * b)``, which is where its gradient is zero."""

        def energy(x: Any, a: Any) -> Any:
            return np.sum(x**4 / 4 + a * x**2 / 2 - np.array([1.0, -2.0, 0.5]) * x)

        def solve(a: Any) -> Any:
            found = scipy.optimize.minimize(ft.value_and_grad(energy), np.zeros(3), (a,), jac=True, tol=1e-12)
            return scipy.optimize.root(ft.grad(energy), found.x, (a,), jac=ft.hessian(energy), tol=1e-14).x

        x = ft.pure_callback(
            solve, ft.ShapeDtypeStruct((3,), np.float64), ft.stop_gradient(a), vmap_method="sequential"
        )
        return implicit_solution(lambda x, a: ft.grad(energy)(x, a), x, a)

    np.testing.assert_allclose(system(minimum(A), A, B), 0, atol=1e-9)
    check_grads(minimum, (A,), order=2)
    check_grads(ft.jit(minimum), (A,), order=2)
    np.testing.assert_allclose(
        ft.vmap(ft.grad(lambda a: minimum(a)[0]))(np.array([A]))[0], ft.grad(lambda a: minimum(a)[0])(A)
    )


def test_errors() -> None:
    with pytest.raises(errors.ShapeError, match="an equation has as many sides as unknowns"):
        root(lambda x: x[:1], np.ones(2))
    with pytest.raises(errors.TreeStructureError, match="must return the structure of x"):
        fixed_point(lambda x: (x, x), 1.0)
    with pytest.raises(errors.ArgumentError, match="root transforms a function"):
        root(3.0, 1.0)
    with pytest.raises(errors.ArgumentError, match="argument 0 is an object of type str"):
        root(lambda x, mode: x, 1.0, "fast")
    with pytest.raises(errors.ArgumentError, match="x0 has no arrays"):
        root(lambda x: x, {})
