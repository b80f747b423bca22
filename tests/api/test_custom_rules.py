"""Custom rules in full: both kinds on one function, symbolic zeros, residuals, batching rules, transposes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import errors
from functrans.custom_batching import sequential_vmap
from functrans.custom_derivatives import (
    CustomVJPPrimal,
    SymbolicZero,
    custom_vjp_primal_tree_values,
    linear_call,
)
from functrans.test_util import check_grads

X = np.array([0.5, 1.0, 2.0])


class TestBothKinds:
    def test_stacked_decorators_are_one_function(self) -> None:
        @ft.custom_vjp
        @ft.custom_jvp
        def f(x: Any) -> Any:
            return x

        assert isinstance(f, ft.custom_vjp)
        inner = ft.custom_jvp(lambda x: x)
        inner.defjvp(lambda p, t: (p[0], 10 * t[0]))
        outer = ft.custom_vjp(inner)
        outer.defvjp(lambda x: (x, None), lambda _, ct: (20 * ct,))
        for g in (outer, ft.jit(outer), lambda x: ft.vmap(outer)(ft.numpy.stack([x]))[0], ft.checkpoint(outer)):
            assert ft.jvp(g, (1.0,), (1.0,))[1] == 10
            assert ft.grad(g)(1.0) == 20
            assert ft.jit(ft.jacfwd(g))(1.0) == 10
            assert ft.jit(ft.grad(g))(1.0) == 20

    def test_the_arguments_must_agree(self) -> None:
        inner = ft.custom_jvp(lambda x, n: x, nondiff_argnums=(1,))
        assert ft.custom_vjp(inner).nondiff_argnums == (1,)
        with pytest.raises(errors.CustomRuleError, match=r"nondiff_argnums=\(0,\) is given around"):
            ft.custom_vjp(inner, nondiff_argnums=(0,))

    def test_forward_over_reverse_and_back_take_the_rules_of_their_modes(self) -> None:
        f = ft.custom_jvp(np.sin)
        f.defjvp(lambda p, t: (np.sin(p[0]), 2 * np.cos(p[0]) * t[0]))
        f.defvjp(lambda x: (np.sin(x), x), lambda x, ct: (3 * np.cos(x) * ct,))
        # The derivative of a rule is that of its operations.
        np.testing.assert_allclose(ft.jacfwd(ft.grad(f))(0.5), -3 * np.sin(0.5))
        np.testing.assert_allclose(ft.grad(ft.jacfwd(f))(0.5), -2 * np.sin(0.5))

    def test_where_a_reverse_rule_has_no_transpose_the_forward_rule_serves(self) -> None:
        def bwd(x: Any, ct: Any) -> Any:
            # Linear, and computed in a way that is not: it cannot be transposed.
            scale = ft.lax.while_loop(lambda s: s < np.abs(ct), lambda s: 2 * s, np.float64(1e-3))
            return (np.cos(x) * (ct / scale) * scale,)

        f = ft.custom_vjp(np.sin)
        f.defvjp(lambda x: (np.sin(x), x), bwd)
        np.testing.assert_allclose(ft.grad(f)(0.5), np.cos(0.5))
        with pytest.raises(errors.CustomRuleError, match=r"has none: .*a forward rule too, with defjvp"):
            ft.linearize(f, 0.5)[1](1.0)
        f.defjvp(lambda p, t: (np.sin(p[0]), np.cos(p[0]) * t[0]))
        np.testing.assert_allclose(ft.linearize(f, 0.5)[1](1.0), np.cos(0.5))
        np.testing.assert_allclose(ft.jvp(f, (0.5,), (1.0,))[1], np.cos(0.5))


class TestSymbolicZeros:
    def test_the_forward_rule_is_told_what_is_differentiated(self) -> None:
        seen: list[tuple[bool, ...]] = []

        def g(x: Any, d: Any) -> Any:
            return x * d["a"] + d["b"]

        f = ft.custom_vjp(g)

        def fwd(x: Any, d: Any) -> Any:
            assert isinstance(x, CustomVJPPrimal)
            seen.append((x.perturbed, d["a"].perturbed, d["b"].perturbed))
            x, d = custom_vjp_primal_tree_values((x, d))
            return g(x, d), (x, d["a"])

        f.defvjp(fwd, lambda r, ct: (r[1] * ct, {"a": r[0] * ct, "b": ct}), symbolic_zeros=True)
        d = {"a": 3.0, "b": 1.0}
        assert ft.grad(f)(2.0, d) == 3.0
        assert ft.grad(lambda x: f(2.0, {"a": x, "b": 1.0}))(3.0) == 2.0
        assert ft.jit(ft.grad(f, (0, 1)))(2.0, d) == (3.0, {"a": 2.0, "b": 1.0})
        assert set(seen) == {(True, False, False), (False, True, False), (True, True, True)}
        assert ft.vmap(ft.grad(f), (0, None))(np.ones(2), d).tolist() == [3.0, 3.0]

    def test_the_reverse_rule_gets_symbolic_cotangents(self) -> None:
        kinds: list[type] = []
        f = ft.custom_vjp(lambda x: (x, 2 * x))

        def bwd(_: None, cts: Any) -> Any:
            kinds.append(type(cts[1]))
            return (cts[0],)

        f.defvjp(lambda x: ((x.value, 2 * x.value), None), bwd, symbolic_zeros=True)
        assert ft.grad(lambda x: f(x)[0])(1.0) == 1.0
        assert kinds == [SymbolicZero]

    def test_forward_rules_get_symbolic_tangents(self) -> None:
        f = ft.custom_jvp(lambda x, y: x * y)
        kinds: list[Any] = []

        def rule(primals: Any, tangents: Any) -> Any:
            (x, y), (tx, ty) = primals, tangents
            kinds.append((type(ty), ty.shape))
            return x * y, tx * y

        f.defjvp(rule, symbolic_zeros=True)
        assert ft.jvp(lambda x: f(x, 3.0), (2.0,), (1.0,)) == (6.0, 3.0)
        assert kinds == [(SymbolicZero, ())]

    def test_what_a_rule_may_not_return(self) -> None:
        f = ft.custom_vjp(lambda x: 2 * x)
        f.defvjp(lambda x: (2 * x.value, x), lambda r, ct: (ct,), symbolic_zeros=True)
        with pytest.raises(errors.CustomRuleError, match="is a CustomVJPPrimal"):
            ft.grad(f)(1.0)


def test_residuals_are_not_computed_where_they_are_not_needed() -> None:
    """A checkpointed region runs the function itself first, and the forward rule when the cotangent arrives."""
    calls: list[str] = []

    def noted(name: str) -> Any:
        def run(x: Any) -> Any:
            calls.append(name)
            return np.sin(x)

        return lambda x: ft.pure_callback(run, ft.ShapeDtypeStruct(x.shape, x.dtype), x, vmap_method="sequential")

    for optimized in (True, False):
        f = ft.custom_vjp(noted("function"))
        forward = noted("forward rule")
        f.defvjp(lambda x: (forward(x), x), lambda x, ct: (np.cos(x) * ct,), optimize_remat=optimized)  # noqa: B023
        region = ft.checkpoint(lambda x: np.exp(f(x)))  # noqa: B023
        both = ft.jit(ft.value_and_grad(lambda x: np.sum(region(x))))  # noqa: B023
        expected = np.exp(np.sin(X)) * np.cos(X)
        np.testing.assert_allclose(both(X)[1], expected)
        calls.clear()
        both(X)
        assert calls == (["function", "forward rule"] if optimized else ["forward rule"] * 2)
        np.testing.assert_allclose(ft.vmap(ft.grad(region))(X), expected)
        np.testing.assert_allclose(ft.jit(ft.jacrev(region))(X), np.diag(expected))


class TestCustomVmap:
    @staticmethod
    def scaled() -> tuple[Any, list[Any]]:
        """``sin(x) * y``, of which a batch is ten times as large, so that one sees which was used."""
        seen: list[Any] = []

        @ft.custom_vmap
        def f(x: Any, y: Any) -> Any:
            return np.sin(x) * y

        @f.def_vmap
        def rule(axis_size: int, in_batched: list[bool], x: Any, y: Any) -> Any:
            seen.append((axis_size, in_batched))
            y = y if in_batched[1] else np.broadcast_to(y, (axis_size,))
            x = x if in_batched[0] else np.broadcast_to(x, (axis_size,))
            return 10 * np.sin(x) * y, True

        return f, seen

    @pytest.mark.parametrize("wrap", [lambda f: f, ft.jit], ids=["bare", "jit"])
    def test_the_rule_is_used_in_every_order(self, wrap: Any) -> None:
        f, seen = self.scaled()
        f = wrap(f)
        assert f(0.5, 2.0) == np.sin(0.5) * 2
        mapped = ft.vmap(f, (0, None))
        np.testing.assert_allclose(mapped(X, 2.0), 20 * np.sin(X))
        assert seen[-1] == (3, [True, False])
        np.testing.assert_allclose(ft.jit(mapped)(X, 2.0), 20 * np.sin(X))
        np.testing.assert_allclose(ft.vmap(f)(X, X), 10 * np.sin(X) * X)
        # A batch of gradients is the batch of the derivative of the rule, and the gradient of a batch likewise.
        np.testing.assert_allclose(ft.grad(f)(0.5, 2.0), np.cos(0.5) * 2)
        np.testing.assert_allclose(ft.vmap(ft.grad(f), (0, None))(X, 2.0), 20 * np.cos(X))
        np.testing.assert_allclose(ft.jit(ft.vmap(ft.grad(f, 1), (0, None)))(X, 2.0), 10 * np.sin(X))
        np.testing.assert_allclose(ft.grad(lambda x: np.sum(mapped(x, 2.0)))(X), 20 * np.cos(X))
        np.testing.assert_allclose(ft.jit(ft.grad(lambda y: np.sum(mapped(X, y))))(2.0), 10 * np.sum(np.sin(X)))
        np.testing.assert_allclose(ft.vmap(ft.grad(ft.grad(f)), (0, None))(X, 2.0), -20 * np.sin(X))
        np.testing.assert_allclose(ft.vmap(ft.jacfwd(f), (0, None))(X, 2.0), 20 * np.cos(X))
        np.testing.assert_allclose(ft.jvp(f, (0.5, 2.0), (1.0, 1.0))[1], np.cos(0.5) * 2 + np.sin(0.5))

    def test_nested_maps_and_pytrees(self) -> None:
        @ft.custom_vmap
        def f(d: Any) -> Any:
            return {"sum": np.sum(d["x"]), "size": d["n"]}

        masks: list[Any] = []

        @f.def_vmap
        def rule(axis_size: int, in_batched: Any, d: Any) -> Any:
            masks.append(in_batched[0])
            return {"sum": np.sum(d["x"], axis=1), "size": d["n"]}, {"sum": True, "size": in_batched[0]["n"]}

        x = np.arange(12.0).reshape(2, 2, 3)
        out = ft.vmap(lambda x: ft.vmap(lambda row: f({"x": row, "n": 2.0}))(x))(x)
        np.testing.assert_array_equal(out["sum"], x.sum(axis=2))
        assert out["size"].tolist() == [[2.0, 2.0], [2.0, 2.0]]
        assert masks[-1] == {"x": True, "n": False}

    def test_captured_values(self) -> None:
        def loss(w: Any) -> Any:
            f = ft.custom_vmap(lambda x: w * x)
            f.def_vmap(lambda size, batched, x: (10 * w * x, True))
            return np.sum(ft.vmap(f)(X)) + f(1.0)

        assert ft.grad(loss)(2.0) == 10 * np.sum(X) + 1
        assert ft.jit(ft.grad(loss))(2.0) == 10 * np.sum(X) + 1

        def batched(w: Any) -> Any:
            f = ft.custom_vmap(lambda x: w * x)
            f.def_vmap(lambda size, batched, x: (w * x, True))
            return f(1.0)

        with pytest.raises(errors.CustomRuleError, match="closes over a value that is batched"):
            ft.vmap(batched)(X)

    def test_sequential_vmap(self) -> None:
        f = sequential_vmap(lambda x, y: np.sin(x) * np.sum(y))
        y = np.arange(6.0).reshape(3, 2)
        np.testing.assert_allclose(ft.vmap(f)(X, y), np.sin(X) * y.sum(1))
        np.testing.assert_allclose(ft.vmap(ft.grad(f), (0, None))(X, y[1]), np.cos(X) * 5)
        assert "scan" in str(ft.make_jaxpr(ft.vmap(f, (0, None)))(X, y[0]))

    @pytest.mark.parametrize(
        ("rule", "message"),
        [
            (None, r"has no rule: write @f\.def_vmap"),
            (lambda n, b, x: x, "must return a pair"),
            (lambda n, b, x: ((x, x), True), "must return what f returns"),
            (lambda n, b, x: (x, 1), "must hold booleans, got 1"),
            (lambda n, b, x: (x, (True, True)), "out_batched is no prefix"),
            (lambda n, b, x: (np.sum(x), True), r"and shape \(\); float64 and \(3,\) are needed"),
            (lambda n, b, x: (x, False), r"and shape \(3,\); float64 and \(\) are needed"),
        ],
    )
    def test_errors(self, rule: Any, message: str) -> None:
        @ft.custom_vmap
        def f(x: Any) -> Any:
            return x

        if rule is not None:
            f.def_vmap(rule)
        with pytest.raises(errors.CustomRuleError, match=message):
            ft.jit(ft.vmap(lambda x: f(x)))(X) if rule is None else ft.vmap(lambda x: (f(x), f(x))[1])(X)

    def test_keywords(self) -> None:
        f, _ = self.scaled()
        np.testing.assert_allclose(ft.vmap(lambda x: f(x, y=2.0))(X), 20 * np.sin(X))
        g = ft.custom_vmap(lambda x, *, k: x)
        with pytest.raises(errors.CustomRuleError, match="keyword-only arguments"):
            ft.vmap(lambda x: g(x, k=1))(X)


class TestLinearCall:
    @staticmethod
    def f(r: Any, x: Any) -> Any:
        return linear_call(
            lambda r, x: {"y": np.sin(r) * x["a"]}, lambda r, ct: {"a": 10 * np.sin(r) * ct["y"]}, r, {"a": x}
        )["y"]

    def test_the_transpose_is_the_users(self) -> None:
        def loss(x: Any) -> Any:
            return np.sum(self.f(X, x))

        np.testing.assert_allclose(ft.grad(loss)(X), 10 * np.sin(X))
        np.testing.assert_allclose(ft.jit(ft.grad(loss))(X), 10 * np.sin(X))
        np.testing.assert_allclose(ft.jvp(loss, (X,), (X,))[1], np.sum(np.sin(X) * X))
        (back,) = ft.linear_transpose(lambda x: self.f(X, x), X)(np.ones(3))
        np.testing.assert_allclose(back, 10 * np.sin(X))

        def pull(ct: Any) -> Any:
            return ft.linear_transpose(lambda x: self.f(X, x), X)(ct)[0]

        # The transpose of the transpose is the function.
        np.testing.assert_allclose(ft.linear_transpose(pull, X)(np.ones(3))[0], np.sin(X))
        np.testing.assert_allclose(ft.vmap(ft.grad(lambda x: self.f(0.5, x)))(X), np.full(3, 10 * np.sin(0.5)))
        np.testing.assert_allclose(ft.vmap(ft.grad(self.f, 1), (0, None))(X, 2.0), 10 * np.sin(X))
        np.testing.assert_allclose(ft.vmap(ft.grad(self.f, 1))(X, X), 10 * np.sin(X))

    def test_derivatives_in_the_residuals(self) -> None:
        np.testing.assert_allclose(ft.grad(lambda r: np.sum(self.f(r, X)))(X), X * np.cos(X))

        def right(r: Any, x: Any) -> Any:
            return linear_call(lambda r, x: np.sin(r) * x, lambda r, ct: np.sin(r) * ct, r, x)

        check_grads(right, (X, X[::-1].copy()), order=2)
        check_grads(ft.jit(right), (X, X[::-1].copy()), order=2)

    def test_captured_values(self) -> None:
        def f(w: Any, x: Any) -> Any:
            return linear_call(lambda _, x: w * x, lambda _, ct: w * ct, (), x)

        check_grads(f, (2.0, 3.0), order=2)
        np.testing.assert_allclose(ft.vmap(ft.grad(f))(X, X), X)

    def test_errors(self) -> None:
        with pytest.raises(errors.CustomRuleError, match="must return a cotangent of linear_args"):
            linear_call(lambda r, x: x, lambda r, ct: (ct, ct), (), 2.0)
        with pytest.raises(errors.CustomRuleError, match=r"gave a cotangent of type f64\[\] for linear_args"):
            linear_call(lambda r, x: x, lambda r, ct: np.sum(ct), (), X)
