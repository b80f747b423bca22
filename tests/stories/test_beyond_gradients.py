"""Acceptance stories about what comes after a gradient: own rules, black boxes, sparse matrices, memory."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse.linalg
from numpy.testing import assert_allclose

import functrans as ft


def test_one_function_has_a_rule_for_either_mode() -> None:
    """A numerically stable function, with a forward rule and a cheaper reverse rule, in every composition."""

    @ft.custom_jvp
    def log1pexp(x: Any) -> Any:
        return np.log1p(np.exp(x))

    log1pexp.defjvp(lambda p, t: (log1pexp(p[0]), t[0] * ft.nn.sigmoid(p[0])))
    log1pexp.defvjp(lambda x: (log1pexp(x), ft.nn.sigmoid(x)), lambda s, ct: (ct * s,))
    with np.errstate(over="ignore"):
        assert ft.jit(ft.grad(log1pexp))(1000.0) == 1.0
        assert ft.jit(ft.jacfwd(log1pexp))(1000.0) == 1.0
        assert_allclose(ft.jit(ft.vmap(ft.grad(log1pexp)))(np.array([0.0, 1000.0])), [0.5, 1.0])
        assert_allclose(ft.jit(ft.grad(ft.grad(log1pexp)))(0.0), 0.25)


def test_a_solver_of_scipy_with_the_derivatives_of_its_solution() -> None:
    """The equilibrium of an economy, found by a black box, differentiated in its parameters under jit."""

    def excess(price: Any, demand: Any) -> Any:
        return demand / price - np.exp(0.5 * price)

    def solve(demand: Any) -> Any:
        found = scipy.optimize.root(excess, np.ones(2), (demand,), tol=1e-13)
        assert found.success
        return found.x

    def equilibrium(demand: Any) -> Any:
        out = ft.ShapeDtypeStruct((2,), np.float64)
        price = ft.pure_callback(solve, out, ft.stop_gradient(demand), vmap_method="sequential")
        return ft.solvers.implicit_solution(excess, price, demand)

    demand = np.array([2.0, 3.0])
    price = ft.jit(equilibrium)(demand)
    assert_allclose(excess(price, demand), 0, atol=1e-10)
    exact = np.diag(1 / price / (demand / price**2 + 0.5 * np.exp(0.5 * price)))
    assert_allclose(ft.jit(ft.jacrev(equilibrium))(demand), exact, rtol=1e-8)
    assert_allclose(ft.jit(ft.jacfwd(equilibrium))(demand), exact, rtol=1e-8)


def test_newton_with_a_sparse_jacobian() -> None:
    """A boundary value problem of ten thousand unknowns, by Newton steps with a banded matrix."""
    n = 10_000
    h = 1.0 / (n + 1)

    def bratu(u: Any) -> Any:
        padded = np.pad(u, 1)
        return (padded[2:] - 2 * u + padded[:-2]) / h**2 + np.exp(u)

    jacobian = ft.jacobian(ft.jit(bratu), sparse=True)
    u = np.zeros(n)
    for _ in range(6):
        J = jacobian(u)
        assert scipy.sparse.issparse(J) and J.nnz == 3 * n - 2
        u = u - scipy.sparse.linalg.spsolve(J.tocsc(), bratu(u))
    # The known solution at the middle, of which the constant solves theta = sqrt(2) cosh(theta / 4).
    theta = scipy.optimize.brentq(lambda q: q - 2**0.5 * np.cosh(q / 4), 0.0, 4.0)
    assert u.max() == pytest.approx(2 * np.log(np.cosh(theta / 4)), rel=1e-5)


def test_deep_networks_in_little_memory() -> None:
    """Fifty layers under jit: what is kept for the backward pass is a fifth, and the gradient the same."""
    weights = np.random.default_rng(0).normal(size=(16, 16)) / 4

    def block(x: Any) -> Any:
        for _ in range(5):
            x = np.tanh(x @ weights)
        return x

    def deep(step: Any) -> Any:
        def f(x: Any) -> Any:
            for _ in range(10):
                x = step(x)
            return np.sum(x)

        return ft.jit(ft.grad(f))

    x = np.random.default_rng(1).normal(size=(1000, 16))
    peaks, gradients = [], []
    for step in (block, ft.checkpoint(block)):
        tracemalloc.start()
        gradients.append(deep(step)(x))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert_allclose(*gradients, rtol=1e-12)
    assert peaks[1] < 0.45 * peaks[0]
