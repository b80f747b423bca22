"""Acceptance stories about loops: what users of other libraries asked for and could not write."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import functrans as ft
from functrans import lax

COMPILED = pytest.mark.parametrize("wrap", [lambda f: f, ft.jit], ids=["eager", "jit"])
Wrap = Callable[[Any], Any]


class TestReverseModeThroughALoopOfUnknownLength:
    """An iteration until it converges, differentiated backwards: a compiled program cannot know its length."""

    @staticmethod
    def newton(a: Any) -> Any:
        return ft.while_loop(lambda x: abs(x * x - a) > 1e-12, lambda x: 0.5 * (x + a / x), a)

    @COMPILED
    def test_the_gradient_of_newtons_method(self, wrap: Wrap) -> None:
        gradient = wrap(ft.grad(self.newton))
        assert type(gradient(2.0)) is np.float64
        assert gradient(2.0) == pytest.approx(0.5 / np.sqrt(2.0), rel=1e-12)
        assert gradient(1e8) == pytest.approx(0.5e-4, rel=1e-9)  # many more steps, the same program
        assert wrap(ft.grad(ft.grad(self.newton)))(4.0) == pytest.approx(-0.25 * 4.0**-1.5)

    def test_one_program_for_any_number_of_steps(self) -> None:
        gradient = ft.jit(ft.grad(self.newton))
        for a in (2.0, 50.0, 1e6):
            assert gradient(a) == pytest.approx(0.5 / np.sqrt(a), rel=1e-9)
        assert gradient.trace_count == 1

    @COMPILED
    def test_a_batch_whose_examples_converge_at_different_times(self, wrap: Wrap) -> None:
        a = np.array([1e-3, 2.0, 1e6])
        assert_allclose(wrap(ft.vmap(ft.grad(self.newton)))(a), 0.5 / np.sqrt(a), rtol=1e-9)

    @COMPILED
    def test_an_adaptive_integrator(self, wrap: Wrap) -> None:
        """Heun's method with step control, differentiated in the rate and in the first value."""

        def decay(rate: Any, first: Any) -> Any:
            field = lambda y: -rate * y

            def step(s: Any) -> Any:
                t, y, h = s
                h = np.minimum(h, 1.0 - t)
                k = field(y)
                euler = y + h * k
                heun = y + 0.5 * h * (k + field(euler))
                error = np.abs(heun - euler) / 1e-4
                accept = error < 1.0
                grown = h * np.clip(0.9 / np.sqrt(np.maximum(ft.stop_gradient(error), 1e-10)), 0.3, 2.0)
                return np.where(accept, t + h, t), np.where(accept, heun, y), grown

            return lax.while_loop(lambda s: s[0] < 1.0, step, (0.0, first, 0.1))[1]

        value, (by_rate, by_first) = wrap(ft.value_and_grad(decay, argnums=(0, 1)))(1.5, 2.0)
        assert value == pytest.approx(2.0 * np.exp(-1.5), rel=1e-3)
        assert by_first == pytest.approx(np.exp(-1.5), rel=1e-3)
        assert by_rate == pytest.approx(-2.0 * np.exp(-1.5), rel=2e-2)


class TestGradientsOfLongScans:
    """A simulation of thousands of steps whose gradient must not keep every step."""

    @COMPILED
    def test_checkpoints_by_the_square_root(self, wrap: Wrap) -> None:
        forces = np.sin(np.linspace(0.0, 6.0, 3000))

        def energy(p: Any, **how: Any) -> Any:
            def step(s: Any, f: Any) -> Any:
                x, v = s
                v = v - 0.01 * (p * np.sin(x) + 0.1 * v) + 0.01 * f
                return (x + 0.01 * v, v), None

            x, v = lax.scan(step, (np.zeros(20), np.zeros(20)), forces, **how)[0]
            return np.sum(v * v) + np.sum(x)

        def peak(f: Any, p: Any) -> int:
            f(p)
            tracemalloc.start()
            f(p)
            most = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            return most

        p = np.linspace(0.5, 2.0, 20)
        plain = wrap(ft.grad(energy))
        rooted = wrap(ft.grad(lambda p: energy(p, checkpoint="sqrt")))
        assert_allclose(rooted(p), plain(p), rtol=1e-12)
        assert peak(rooted, p) * 5 < peak(plain, p)

    def test_the_third_derivative_of_a_scan(self) -> None:
        f = lambda x: lax.scan(lambda c, _: (c * x + np.sin(c), None), x, length=3)[0]

        def unrolled(x: Any) -> Any:
            c = x
            for _ in range(3):
                c = c * x + np.sin(c)
            return c

        third, expected = ft.grad(ft.grad(ft.grad(f))), ft.grad(ft.grad(ft.grad(unrolled)))
        assert third(0.7) == pytest.approx(expected(0.7))
        assert ft.jit(third)(0.7) == pytest.approx(expected(0.7))


class TestBranchesThatAreGuarded:
    """A guarded branch stays guarded in a batch: no example sees the values that its condition keeps from it."""

    @COMPILED
    def test_no_infinities_from_the_branch_that_is_not_taken(self, wrap: Wrap) -> None:
        f = lambda x: lax.cond(x > 0.0, lambda x: np.sqrt(x) * np.log(x), lambda x: 0.0 * x, x)
        x = np.array([-1.0, 0.0, 4.0])
        expected = [0.0, 0.0, 0.5 * np.log(4.0) / 2.0 + 0.5]
        with np.errstate(all="raise"):
            assert_allclose(wrap(ft.vmap(ft.grad(f)))(x), expected)
