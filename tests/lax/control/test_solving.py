"""Roots and linear equations with derivatives by the implicit function theorem."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import errors, lax
from functrans.core.check import check
from functrans.test_util import check_grads
from tests.lax.control.programs import assert_close

rng = np.random.default_rng(3)
A = rng.normal(size=(3, 3)) * 0.3 + np.diag([3.0, 4.0, 5.0])
B = rng.normal(size=3)


def richardson(matvec: Any, b: Any) -> Any:
    """A loop of unknown length, through which nothing is differentiated."""

    def residual(x: Any) -> Any:
        return ft.tree.map(lambda y, z: y - z, b, matvec(x))

    def going(s: Any) -> Any:
        return (sum(np.sum(r * r) for r in ft.tree.leaves(residual(s[0]))) > 1e-26) & (s[1] < 500)

    def step(s: Any) -> Any:
        x, k = s
        return ft.tree.map(lambda y, r: y + 0.2 * r, x, residual(x)), k + 1

    return lax.while_loop(going, step, (ft.tree.map(lambda y: y * 0.0, b), 0))[0]


def solution(a: Any, b: Any) -> Any:
    return lax.custom_linear_solve(lambda x: a @ x, b, richardson, transpose_solve=richardson)


def test_a_linear_equation_and_its_derivatives() -> None:
    assert_close(solution(A, B), np.linalg.solve(A, B))
    assert_close(ft.jit(solution)(A, B), np.linalg.solve(A, B))
    check_grads(solution, (A, B), order=2, rtol=1e-4, atol=1e-4)
    check_grads(ft.jit(solution), (A, B), order=2, rtol=1e-4, atol=1e-4)
    assert_close(ft.jacrev(solution, 1)(A, B), np.linalg.inv(A))
    assert_close(ft.jacfwd(solution, 1)(A, B), np.linalg.inv(A))
    second = lambda a: np.sum(ft.jacrev(solution, 1)(a, B) ** 2)
    assert_close(ft.grad(second)(A), ft.grad(lambda a: np.sum(np.linalg.inv(a) ** 2))(A), rtol=1e-8)
    check(ft.make_jaxpr(ft.jacrev(solution))(A, B))


def test_many_linear_equations() -> None:
    many, rhs = np.stack([A, A.T, A + np.eye(3)]), np.stack([B, 2 * B, -B])
    expected = np.stack([np.linalg.solve(a, b) for a, b in zip(many, rhs, strict=True)])
    assert_close(ft.vmap(solution)(many, rhs), expected)
    assert_close(ft.vmap(solution, (None, 0))(A, rhs), np.linalg.solve(A, rhs.T).T)
    assert_close(ft.vmap(solution, (0, None))(many, B), np.stack([np.linalg.solve(a, B) for a in many]))
    loss = lambda a, b: np.sum(solution(a, b) ** 2)
    rows = [ft.grad(loss)(a, b) for a, b in zip(many, rhs, strict=True)]
    assert_close(ft.vmap(ft.grad(loss))(many, rhs), np.stack(rows))
    assert_close(ft.grad(lambda a: np.sum(ft.vmap(solution)(a, rhs) ** 2))(many), np.stack(rows))
    assert_close(ft.jit(ft.vmap(ft.grad(loss)))(many, rhs), np.stack(rows))


def test_a_symmetric_equation_of_a_pytree_with_something_besides() -> None:
    s = A + A.T

    def f(scale: Any) -> Any:
        def matvec(x: Any) -> Any:
            return {"u": s @ x["u"] * scale, "v": 2.0 * x["v"]}

        def solve(matvec: Any, b: Any) -> Any:
            return richardson(matvec, ft.tree.map(lambda y: y, b)), {"steps": np.int64(3)}

        b = {"u": B, "v": np.float64(3.0)}
        return lax.custom_linear_solve(matvec, b, solve, symmetric=True, has_aux=True)

    x, aux = f(0.7)
    assert_close(x["u"], np.linalg.solve(s * 0.7, B))
    assert x["v"] == pytest.approx(1.5) and aux["steps"] == 3
    assert_close(ft.jit(f)(0.7)[0], x)
    for g in (ft.jacrev, ft.jacfwd):
        assert_close(g(lambda t: f(t)[0]["u"])(0.7), -np.linalg.solve(s * 0.7, B) / 0.7)


def test_no_reverse_mode_without_a_transposed_solver() -> None:
    f = lambda b: lax.custom_linear_solve(lambda x: A @ x, b, richardson)
    assert_close(ft.jacfwd(f)(B), np.linalg.inv(A))
    with pytest.raises(errors.NotDifferentiableError, match="transpose_solve="):
        ft.jacrev(f)(B)


def test_a_solver_that_is_no_loop() -> None:
    f = lambda b: lax.custom_linear_solve(lambda x: A @ x, b, lambda mv, b: np.linalg.solve(A, b))
    assert_close(f(B), np.linalg.solve(A, B))
    assert_close(ft.jvp(f, (B,), (B * 2,))[1], np.linalg.solve(A, B * 2))


def newton(f: Any, x: Any) -> Any:
    return lax.while_loop(lambda x: np.abs(f(x)) > 1e-13, lambda x: x - f(x) / ft.grad(f)(x), x)


def root(a: Any) -> Any:
    return lax.custom_root(lambda x: x * x * x - a, 1.0, newton, lambda g, y: y / g(1.0))


def test_a_root_and_its_derivatives() -> None:
    assert root(8.0) == pytest.approx(2.0) and type(root(np.float64(8.0))) is np.float64
    values = [8.0 ** (1 / 3), 8.0 ** (-2 / 3) / 3, -2 * 8.0 ** (-5 / 3) / 9, 10 * 8.0 ** (-8 / 3) / 27]
    f = root
    for value in values:
        for wrap in (lambda g: g, ft.jit):
            assert wrap(f)(8.0) == pytest.approx(value, rel=1e-9)
        f = ft.grad(f)
    assert ft.jacfwd(ft.jacfwd(root))(8.0) == pytest.approx(values[2])
    assert ft.jacfwd(ft.grad(root))(8.0) == pytest.approx(values[2])
    many = np.array([1.0, 8.0, 27.0])
    np.testing.assert_allclose(ft.vmap(root)(many), many ** (1 / 3))
    np.testing.assert_allclose(ft.vmap(ft.grad(root))(many), many ** (-2 / 3) / 3)
    np.testing.assert_allclose(ft.jit(ft.grad(lambda m: np.sum(ft.vmap(root)(m))))(many), many ** (-2 / 3) / 3)


def test_a_system_of_equations() -> None:
    def f(p: Any, x: Any) -> Any:
        return {"a": x["a"] * 2.0 + np.tanh(x["b"]) - p, "b": x["b"] * 3.0 - np.sin(x["a"])}

    def iterate(g: Any, x: Any) -> Any:
        step = lambda _, x: ft.tree.map(lambda y, z: y - 0.3 * z, x, g(x))
        return lax.fori_loop(0, 150, step, x), {"steps": 150}

    def solve(p: Any) -> Any:
        guess = {"a": np.zeros(2), "b": np.zeros(2)}
        return lax.custom_root(partial(f, p), guess, iterate, richardson, has_aux=True)

    p = np.array([0.5, 1.5])
    x, aux = solve(p)
    assert max(np.max(np.abs(r)) for r in ft.tree.leaves(f(p, x))) < 1e-13 and aux == {"steps": 150}
    check_grads(lambda p: solve(p)[0], (p,), order=2, rtol=1e-4, atol=1e-4)
    check_grads(ft.jit(lambda p: solve(p)[0]), (p,), order=1)


@pytest.mark.parametrize(
    ("run", "error", "text"),
    [
        (lambda x: lax.custom_linear_solve(lambda v: v[:1], x, lambda m, b: b), errors.ShapeError, "must be like b"),
        (lambda x: lax.custom_linear_solve(lambda v: v, x, lambda m, b: (b, b)), errors.TreeStructureError, "solution"),
        (lambda x: lax.custom_linear_solve(lambda v: v, x, 3), errors.ArgumentError, "solve must be a function"),
        (lambda x: lax.custom_linear_solve(lambda v: v, x, lambda m, b: b, has_aux=True), errors.OutputError, "a pair"),
        (lambda x: lax.custom_root(lambda v: v[:1], x, lambda f, v: v, lambda g, y: y), errors.ShapeError, "f must"),
        (
            lambda x: lax.custom_root(lambda v: v, x, lambda f, v: (v, v), lambda g, y: y),
            errors.TreeStructureError,
            "root",
        ),
    ],
)
def test_errors_name_what_is_wrong(run: Any, error: Any, text: str) -> None:
    with pytest.raises(error, match=text):
        ft.jit(run)(np.ones(2))
