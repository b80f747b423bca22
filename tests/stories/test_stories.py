"""Acceptance stories: programs as users of NumPy, SciPy and autograd write them, which work as they stand.

Where a story is about compiled code, the compiled form is what is asserted; the eager form stands beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import OptimizeResult, check_grad, minimize

import functrans as ft

Array = npt.NDArray[Any]


def both(transformed: Callable[..., Any]) -> list[Callable[..., Any]]:
    return [transformed, ft.jit(transformed)]


class TestUnmodifiedNumpyCompiled:
    """A loss that knows ``import numpy as np`` alone is differentiated and compiled as it is."""

    @staticmethod
    def loss(w: Array, X: Array, y: Array) -> Any:
        return np.mean(np.logaddexp(0, -y * (X @ w)))

    @staticmethod
    def by_hand(w: Array, X: Array, y: Array) -> Array:
        pull = -y / (1 + np.exp(y * (X @ w)))
        return X.T @ pull / len(y)

    @staticmethod
    def problem(dtype: Any = np.float64) -> tuple[Array, Array, Array]:
        random = np.random.RandomState(0)
        X = random.normal(size=(30, 4)).astype(dtype)
        y = np.sign(random.normal(size=30)).astype(dtype)
        return random.normal(size=4).astype(dtype), X, y

    def test_the_compiled_gradient_is_a_plain_array_with_the_right_values(self) -> None:
        w, X, y = self.problem()
        g = ft.jit(ft.grad(self.loss))
        assert type(g(w, X, y)) is np.ndarray
        assert_allclose(g(w, X, y), self.by_hand(w, X, y), rtol=1e-13)

    def test_eager_and_compiled_agree(self) -> None:
        w, X, y = self.problem()
        assert_allclose(ft.grad(self.loss)(w, X, y), ft.jit(ft.grad(self.loss))(w, X, y), rtol=1e-13)
        value, gradient = ft.jit(ft.value_and_grad(self.loss))(w, X, y)
        assert_allclose(value, self.loss(w, X, y), rtol=1e-14)
        assert type(value) is type(self.loss(w, X, y))
        assert_allclose(gradient, self.by_hand(w, X, y), rtol=1e-13)

    def test_single_precision_stays_single(self) -> None:
        w, X, y = self.problem(np.float32)
        gradient = ft.jit(ft.grad(self.loss))(w, X, y)
        assert gradient.dtype == np.float32
        assert_allclose(gradient, self.by_hand(w, X, y), rtol=2e-5)

    def test_the_result_is_the_users_to_write_to(self) -> None:
        w, X, y = self.problem()
        g = ft.jit(ft.grad(self.loss))
        first = g(w, X, y)
        kept = first.copy()
        assert first.flags.writeable
        assert first.flags.c_contiguous
        first[:] = 0
        assert_array_equal(g(w, X, y), kept)

    def test_later_calls_do_not_trace_again(self) -> None:
        w, X, y = self.problem()
        g = ft.jit(ft.grad(self.loss))
        g(w, X, y)
        traced = g.trace_count
        assert traced >= 1
        for scale in (2.0, 3.0):
            g(scale * w, X, y)
        assert g.trace_count == traced

    def test_batched_and_second_order(self) -> None:
        w, X, y = self.problem()
        ws = np.stack([w, 2 * w, -w])
        gradients = ft.jit(ft.vmap(ft.grad(self.loss), in_axes=(0, None, None)))(ws, X, y)
        assert_allclose(gradients, [self.by_hand(v, X, y) for v in ws], rtol=1e-13)
        p = 1 / (1 + np.exp(-(X @ w)))
        hessian = X.T @ (X * (p * (1 - p))[:, None]) / len(y)
        assert_allclose(ft.jit(ft.hessian(self.loss))(w, X, y), hessian, rtol=1e-12)


class TestBufferFilling:
    """An array made by ``np.zeros`` and filled entry by entry carries derivatives."""

    @staticmethod
    def fill() -> Callable[[Array], Array]:
        @ft.numpy_code
        def f(b: Array) -> Array:
            c = np.zeros(2)
            c[0] = b[0] ** 2
            c[1] = b[1] * b[0] + b[2]
            return c

        return f

    def test_the_value_is_that_of_numpy(self) -> None:
        for f in both(self.fill()):
            assert_array_equal(f(np.array([1.0, 2.0, 2.0])), [1.0, 4.0])

    def test_the_jacobian_eager_and_compiled(self) -> None:
        for jacobian in both(ft.jacobian(self.fill())):
            result = jacobian(np.array([1.0, 2.0, 2.0]))
            assert type(result) is np.ndarray
            assert_array_equal(result, [[2.0, 0.0, 0.0], [2.0, 1.0, 1.0]])

    def test_a_loop_that_accumulates(self) -> None:
        @ft.numpy_code
        def cumulative(x: Array) -> Any:
            out = np.zeros(len(x))
            for i in range(len(x)):
                out[i] = x[i] * out[i - 1] if i else x[0]
            return np.sum(out)

        x = np.array([2.0, 3.0, 5.0])
        for value_and_gradient in both(ft.value_and_grad(cumulative)):
            value, gradient = value_and_gradient(x)
            assert value == 2 + 6 + 30
            assert_array_equal(gradient, [1 + 3 + 15, 2 + 10, 6])

    def test_a_mask_and_an_in_place_sum(self) -> None:
        @ft.numpy_code
        def f(x: Array) -> Any:
            out = np.ones(4)
            out[np.array([True, False, True, False])] += 3 * x[:2]
            out[1:3] *= x[2]
            return np.sum(out**2)

        x = np.array([1.0, 2.0, 3.0])
        # out is (1 + 3a, c, (1 + 3b) c, 1)
        expected = [2 * 4 * 3, 2 * (7 * 3) * 3 * 3, 2 * 3 + 2 * (7 * 3) * 7]
        for gradient in both(ft.grad(f)):
            assert_array_equal(gradient(x), expected)


class TestScipyOptimisers:
    """``minimize(value_and_grad(f), x0, jac=True)`` with no cast and no wrapper, for every such method."""

    @staticmethod
    def nll(parameters: Array) -> Any:
        """The negative log-likelihood of a normal sample, by its mean and the logarithm of its deviation."""
        sample = np.array([1.0, 2.0, 2.5, 4.0, 5.5])
        mean, log_deviation = parameters[0], parameters[1]
        return np.sum(0.5 * ((sample - mean) / np.exp(log_deviation)) ** 2 + log_deviation)

    x0 = np.array([0.0, 0.0])
    mean, deviation = 3.0, np.sqrt(2.5)

    def assert_found(self, result: OptimizeResult) -> None:
        assert result.success, result.message
        assert_allclose([result.x[0], np.exp(result.x[1])], [self.mean, self.deviation], rtol=1e-4)

    @pytest.mark.parametrize("method", ["CG", "BFGS", "Newton-CG", "L-BFGS-B", "TNC", "SLSQP", "trust-constr"])
    @pytest.mark.parametrize("compiled", [False, True])
    def test_methods_that_use_gradients(self, method: str, compiled: bool) -> None:
        f = ft.value_and_grad(self.nll)
        self.assert_found(minimize(ft.jit(f) if compiled else f, self.x0, jac=True, method=method))

    @pytest.mark.parametrize("method", ["dogleg", "trust-ncg", "trust-krylov", "trust-exact"])
    def test_methods_that_use_hessians(self, method: str) -> None:
        f, hessian = ft.jit(ft.value_and_grad(self.nll)), ft.jit(ft.hessian(self.nll))
        # dogleg asks for a Hessian that is positive definite wherever it looks: so from nearby.
        near = np.array([2.8, 0.4])
        self.assert_found(minimize(f, near, jac=True, hess=hessian, method=method))

    def test_gradients_as_scipy_checks_them(self) -> None:
        assert check_grad(self.nll, ft.jit(ft.grad(self.nll)), np.array([1.0, 0.5])) < 1e-5

    def test_a_parameter_in_single_precision(self) -> None:
        value, gradient = ft.jit(ft.value_and_grad(lambda x: np.sum(x**4)))(np.array([1, 2], np.float32))
        assert (value.dtype, gradient.dtype) == (np.float32, np.float32)
        assert_array_equal(gradient, [4, 32])


class TestValidationSurvives:
    """Checks of the input, made before the computation, keep working: differentiated, compiled, and both."""

    @staticmethod
    def k(x: Array) -> Any:
        if not np.isfinite(x).all():
            raise ValueError("bad x")
        return np.sum(x**3)

    def test_good_input(self) -> None:
        x = np.array([1.0, -2.0, 0.5])
        for gradient in (*both(ft.grad(self.k)), ft.grad(ft.jit(self.k)), ft.jit(ft.grad(self.k), specialize=1)):
            assert_array_equal(gradient(x), 3 * x**2)
        for hessian in both(ft.hessian(self.k)):
            assert_array_equal(hessian(x), np.diag(6 * x))

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_bad_input(self, bad: float) -> None:
        good = np.array([1.0, 2.0])
        for gradient in (*both(ft.grad(self.k)), ft.grad(ft.jit(self.k)), ft.jit(ft.grad(self.k), specialize=1)):
            for _ in range(2):
                with pytest.raises(ValueError, match="bad x"):
                    gradient(np.array([1.0, bad]))
                assert_array_equal(gradient(good), 3 * good**2)

    def test_it_is_compiled_once(self) -> None:
        gradient = ft.jit(ft.grad(self.k))
        gradient(np.ones(3))
        traced = gradient.trace_count
        for x in (np.zeros(3), -np.ones(3)):
            gradient(x)
        assert gradient.trace_count == traced


class TestPythonControlFlowCompiled:
    """``if`` and ``while`` on values, as they stand in existing code, compiled path by path."""

    def test_a_branch_on_a_sum(self) -> None:
        def rectified(x: Array) -> Any:
            if x.sum() > 0:
                return np.log1p(x)
            return 0.1 * x

        f = ft.jit(rectified, specialize=2)
        for x in (np.ones(3), -np.ones(3) / 2, np.arange(3.0)):
            assert_allclose(f(x), rectified(x), rtol=1e-15)
            assert_allclose(ft.jacobian(f)(x), ft.jacobian(rectified)(x), rtol=1e-15)
        assert f.trace_count == 2

    def test_an_iteration_until_it_converges(self) -> None:
        def root(a: Any) -> Any:
            x, err = a, np.inf
            while err > 1e-10:
                step = 0.5 * (a / x - x)
                x, err = x + step, np.abs(step)
            return x

        f = ft.jit(root, specialize=10)
        for a in (2.0, 9.0, 1e4):
            assert_allclose(f(np.float64(a)), np.sqrt(a), rtol=1e-12)
            assert_allclose(ft.grad(f)(a), 0.5 / np.sqrt(a), rtol=1e-9)
            assert_allclose(ft.jit(ft.grad(root), specialize=10)(a), 0.5 / np.sqrt(a), rtol=1e-9)

    def test_a_backtracking_line_search(self) -> None:
        def f(x: Array) -> Any:
            return np.sum((x - 1.0) ** 4) + 0.5 * np.sum(x**2)

        @ft.jit(specialize=16)
        def step(x: Array) -> Any:
            value, slope = ft.value_and_grad(f)(x)
            t = 1.0
            while f(x - t * slope) > value - 0.5 * t * np.sum(slope**2):
                t *= 0.5
            return x - t * slope

        x = np.array([3.0, -2.0, 0.5])
        for _ in range(200):
            x = step(x)
        assert_allclose(ft.grad(f)(x), np.zeros(3), atol=1e-7)


class TestEagerControlFlow:
    """Eager derivatives go through Python's control flow and through results whose size the data decide."""

    def test_reverse_mode_through_a_loop_of_unknown_length(self) -> None:
        def newton(a: float) -> Any:
            x = a
            while abs(x * x - a) > 1e-12:
                x = 0.5 * (x + a / x)
            return x

        assert_allclose(ft.grad(newton)(2.0), 0.5 / np.sqrt(2.0), rtol=1e-12)

    def test_a_sum_over_the_entries_that_a_mask_selects(self) -> None:
        x = np.array([1.0, -2.0, 3.0, 0.0])
        assert_array_equal(ft.grad(lambda x: (x[x > 0] ** 2).sum())(x), [2.0, 0.0, 6.0, 0.0])
