from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import errors, lax
from functrans.core.jaxpr import Jaxpr
from functrans.test_util import check_grads
from tests.lax.control.programs import assert_agrees, assert_close, assert_composes, loss_of


def python_cond(pred: Any, true_fun: Callable[..., Any], false_fun: Callable[..., Any], *operands: Any) -> Any:
    return true_fun(*operands) if pred else false_fun(*operands)


def python_switch(index: Any, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    return branches[min(max(int(index), 0), len(branches) - 1)](*operands)


def guarded_log(choose: Any, x: Any, y: Any = 1.5) -> Any:
    def yes(x: Any) -> Any:
        return {"a": np.log(np.sum(x)) * y, "b": x * x}

    def no(x: Any) -> Any:
        return {"a": np.exp(np.sum(x)), "b": np.zeros_like(x)}

    return choose(np.sum(x) > 0.0, yes, no, x)


POSITIVE, NEGATIVE = np.array([1.0, 2.0]), np.array([-1.0, -0.5])


@pytest.mark.parametrize("x", [POSITIVE, NEGATIVE])
def test_either_branch_is_what_python_would_run(x: Any) -> None:
    assert_agrees(partial(guarded_log, lax.cond), partial(guarded_log, python_cond), x)
    check_grads(partial(guarded_log, lax.cond), (x, 1.5), order=2)
    check_grads(ft.jit(partial(guarded_log, lax.cond)), (x, 1.5), order=2)


def test_every_order_of_jit_vmap_and_grad() -> None:
    assert_composes(partial(guarded_log, lax.cond), POSITIVE, ft.grad(loss_of(partial(guarded_log, python_cond))))


def test_a_mapped_predicate_keeps_examples_from_the_other_branch() -> None:
    xs = np.array([-4.0, 0.0, 4.0, 9.0])

    def f(x: Any) -> Any:
        return lax.cond(x > 0.0, np.sqrt, lambda x: x * 3.0, x)

    # No warning of sqrt, and no 0 * inf in the derivative.
    assert ft.vmap(f)(xs).tolist() == [-12.0, 0.0, 2.0, 3.0]
    expected = [3.0, 3.0, 0.25, 1.0 / 6.0]
    for mapped in (ft.vmap(ft.grad(f)), ft.jit(ft.vmap(ft.grad(f))), ft.grad(lambda xs: np.sum(ft.vmap(f)(xs)))):
        np.testing.assert_allclose(mapped(xs), expected)
        np.testing.assert_allclose(mapped(xs[:2]), expected[:2])
        np.testing.assert_allclose(mapped(xs[2:]), expected[2:])
    np.testing.assert_allclose(ft.vmap(ft.grad(ft.grad(f)))(xs), [0.0, 0.0, -0.25 * 4.0**-1.5, -0.25 * 9.0**-1.5])
    twice = ft.vmap(ft.vmap(f))(xs.reshape(2, 2))
    assert twice.tolist() == [[-12.0, 0.0], [2.0, 3.0]]


def test_a_mapped_operand_with_one_predicate() -> None:
    xs = np.array([1.0, 4.0])

    def f(p: Any, x: Any) -> Any:
        return lax.cond(p, lambda x: x * x, lambda x: 2.0, x)

    assert ft.vmap(f, (None, 0))(True, xs).tolist() == [1.0, 16.0]
    assert ft.vmap(f, (None, 0))(False, xs).tolist() == [2.0, 2.0]
    assert ft.vmap(f, (0, None))(np.array([True, False]), 3.0).tolist() == [9.0, 2.0]


def test_branches_keep_different_residuals() -> None:
    def f(choose: Any, x: Any, k: Any = 0) -> Any:
        branches = [
            lambda x: np.sin(x) * np.exp(x),
            lambda x: x @ np.tanh(x) * x,
            lambda x: np.ones_like(x),
            lambda x: x,
            lambda x: np.sum(x**3) + np.cos(x * x),
        ]
        return choose(k, branches, x)

    x = np.array([0.3, -0.7])
    for k in (-3, 0, 1, 2, 3, 4, 9):
        assert_agrees(partial(f, lax.switch, k=k), partial(f, python_switch, k=k), x)
        check_grads(ft.jit(lambda x, k=k: f(lax.switch, x, k)), (x,), order=2)
    ks = np.array([-1, 1, 2, 4, 7])
    rows = np.stack([f(python_switch, x, int(k)) for k in ks])
    assert_close(ft.vmap(lambda k: f(lax.switch, x, k))(ks), rows)
    jacobians = np.stack([ft.jacrev(lambda x, k=k: f(python_switch, x, int(k)))(x) for k in ks])
    assert_close(ft.jit(ft.vmap(lambda k: ft.jacrev(lambda x: f(lax.switch, x, k))(x)))(ks), jacobians)


def test_closures_stand_for_operands() -> None:
    a = np.array([1.0, 2.0])

    def f(x: Any) -> Any:
        params = {"w": [x * 2.0]}
        return lax.cond(x[0] > 0.0, lambda: np.sum(params["w"][0] * a), lambda: np.sum(x))

    assert f(a) == 10.0
    assert ft.grad(f)(a).tolist() == [2.0, 4.0]
    assert ft.grad(f)(-a).tolist() == [1.0, 1.0]
    assert ft.jit(ft.vmap(ft.grad(f)))(np.stack([a, -a])).tolist() == [[2.0, 4.0], [1.0, 1.0]]


def test_only_the_chosen_branch_runs() -> None:
    ran = []

    def count(x: Any) -> Any:
        ran.append(1)
        return x

    def f(p: Any, x: Any) -> Any:
        aval = ft.ShapeDtypeStruct((), np.float64)
        return lax.cond(p, lambda x: ft.pure_callback(count, aval, x), lambda x: x, x)

    assert f(False, 1.0) == 1.0 and ft.jit(f)(np.bool_(False), 1.0) == 1.0 and not ran
    assert f(True, 1.0) == 1.0 and ran == [1]


def test_fresh_lambdas_are_not_traced_again() -> None:
    traces = []

    def f(x: Any) -> Any:
        def yes(v: Any) -> Any:
            traces.append(1)
            return v * x

        return lax.cond(x > 0.0, yes, lambda v: v, x)

    assert [f(np.float64(v)) for v in (1.0, 2.0, -3.0)] == [1.0, 4.0, -3.0]
    once = len(traces)
    assert ft.grad(f)(3.0) == 6.0
    assert f(np.float64(5.0)) == 25.0
    assert len(traces) <= once + 2


def test_python_numbers_take_the_type_of_the_other_branch() -> None:
    out = lax.cond(True, lambda x: 1, lambda x: x, np.float32(2.0))
    assert type(out) is np.float32 and out == 1.0
    assert lax.cond(2, lambda: 1, lambda: 2) == 1
    assert lax.cond(0.0, lambda: {"a": None}, lambda: {"a": None}) == {"a": None}


def test_the_operand_keyword() -> None:
    assert lax.cond(False, lambda p: p["x"], lambda p: p["x"] + 1.0, operand={"x": 2.0}) == 3.0
    assert lax.cond(True, lambda _: 1.0, lambda _: 2.0, operand=None) == 1.0


def test_results_own_their_memory() -> None:
    x = np.ones(3)
    f = lambda p, x: lax.cond(p, lambda x: x, lambda x: x * 2.0, x)
    for out in (f(True, x), ft.jit(f)(np.bool_(True), x)):
        assert out.tolist() == [1.0] * 3 and not np.shares_memory(out, x)
    a, b = lax.cond(True, lambda x: (x, x), lambda x: (x, x), x)
    assert not np.shares_memory(a, b) and not np.shares_memory(a, x)


def test_disable_jit_runs_the_chosen_branch() -> None:
    seen = []

    def square(x: Any) -> Any:
        seen.append(float(ft.stop_gradient(x)))
        return x * x

    with ft.disable_jit():
        assert ft.grad(lambda x: lax.cond(x > 0.0, square, np.sin, x))(2.0) == 4.0
        assert lax.switch(7, [np.sin, np.cos], 0.0) == 1.0
        mapped = ft.vmap(lambda x: lax.cond(x > 0.0, np.sqrt, np.negative, x))
        assert mapped(np.array([4.0, -1.0])).tolist() == [2.0, 1.0]
    assert seen == [2.0]


def test_unused_results_are_not_computed() -> None:
    def f(x: Any) -> Any:
        return lax.cond(x > 0.0, lambda x, y: (x, np.exp(y)), lambda x, y: (-x, np.cosh(y)), x, x * 2.0)[0]

    jaxpr: Jaxpr = ft.make_jaxpr(f)(1.5)
    (eqn,) = [e for e in jaxpr.eqns if e.prim.name == "cond"]
    assert len(eqn.outs) == 1 and len(eqn.inputs) == 2
    assert "exp" not in str(jaxpr)


def test_linear_in_the_operand_and_transposed() -> None:
    def f(x: Any) -> Any:
        return lax.cond(True, lambda x: 2.0 * x, lambda x: np.zeros_like(x), x)

    assert ft.linear_transpose(f, np.ones(2))(np.array([1.0, 3.0]))[0].tolist() == [2.0, 6.0]


@pytest.mark.parametrize(
    ("run", "error", "text"),
    [
        (
            lambda: lax.cond(True, lambda x: {"a": x}, lambda x: {"b": x}, 1.0),
            errors.TreeStructureError,
            "cond: the branches must return one structure.*false_fun.*true_fun",
        ),
        (
            lambda: lax.cond(True, lambda x: {"a": x}, lambda x: {"a": x[:1]}, np.ones(2)),
            errors.ShapeError,
            r"the result\['a'\] has type f64\[1\] in false_fun .* and f64\[2\] in true_fun",
        ),
        (
            lambda: lax.switch(0, [lambda x: x, lambda x: x.astype(np.float32)], np.ones(2)),
            errors.DTypeError,
            r"switch: the result has type f64\[2\] in branches\[0\] .* and f32\[2\] in branches\[1\].*astype",
        ),
        (lambda: lax.cond(np.ones(2) > 0, np.sin, np.cos, 1.0), errors.ShapeError, "one boolean.*numpy.any"),
        (lambda: lax.cond(True, 1.0, np.cos, 1.0), errors.ArgumentError, "true_fun must be a function"),  # type: ignore[arg-type]
        (lambda: lax.cond(True, np.sin, np.cos, "x"), errors.ArgumentError, r"operand \[0\].*str"),
        (lambda: lax.cond(True, np.sin, np.cos, 1.0, operand=2.0), errors.ArgumentError, "not both"),
        (lambda: lax.switch(0.5, [np.sin, np.cos], 1.0), errors.DTypeError, "one integer"),
        (lambda: lax.switch(0, [], 1.0), errors.ArgumentError, "at least one branch"),
        (lambda: lax.cond(True, lambda x: "a", lambda x: "b", 1.0), errors.OutputError, "str"),
    ],
)
def test_errors_name_what_is_wrong(run: Any, error: Any, text: str) -> None:
    with pytest.raises(error, match=text):
        run()
