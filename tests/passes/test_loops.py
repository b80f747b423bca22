"""Loops: what does not change moves out of them, and what nobody reads is not computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans.core.check import check
from functrans.core.jaxpr import Eqn, Jaxpr
from functrans.passes import default
from tests.passes.proofs import same_bits

X = np.linspace(-1.0, 1.0, 12).reshape(4, 3)
W = np.cos(np.arange(9.0)).reshape(3, 3)


def optimised(f: Callable[..., Any], *args: Any) -> Jaxpr:
    made = default(ft.jit(f).lower(*args).jaxpr)
    check(made)
    for a, b in zip(ft.tree.leaves(ft.jit(f)(*args)), ft.tree.leaves(f(*args)), strict=True):
        assert same_bits(a, b)
    return made


def loop_of(jaxpr: Jaxpr) -> Eqn:
    (eqn,) = [e for e in jaxpr.eqns if e.prim.kind == "loop"]
    return eqn


def inside(jaxpr: Jaxpr) -> list[str]:
    return [e.prim.name for e in loop_of(jaxpr).params["jaxpr"].eqns]


def outside(jaxpr: Jaxpr) -> list[str]:
    return [e.prim.name for e in jaxpr.eqns]


def carried(step: Callable[..., Any], start: Any, w: Any, x: Any) -> Any:
    """The last state of a loop whose steps hand ``w`` on, as ``step(state, row, w)`` sees it."""
    return ft.lax.scan(lambda c, row: ((step(c[0], row, c[1]), c[1]), None), (start, w), x)[0][0]


def test_what_every_step_computes_alike_moves_in_front() -> None:
    def f(x: Any, w: Any) -> Any:
        return carried(lambda c, row, w: np.sin(c) @ (w.T @ w) + row, np.zeros(3), w, x)

    made = optimised(f, X, W)
    assert outside(made).count("dot_general") == 1 and inside(made).count("dot_general") == 1


def test_it_moves_out_of_two_loops() -> None:
    def f(x: Any, w: Any) -> Any:
        def inner(c: Any, row: Any, w: Any) -> Any:
            return c + row * np.exp(w)[0]

        return carried(lambda c, row, w: carried(inner, c, w, x) + row, np.zeros(3), w, x)

    made = optimised(f, X, W)
    assert "exp" in outside(made)
    assert "exp" not in str(loop_of(made).params["jaxpr"])


def test_a_broadcast_stays() -> None:
    def f(x: Any, w: Any) -> Any:
        return carried(lambda c, row, w: c * (w[:, :1] + w[:1]) + row, np.zeros((3, 3)), w, x)

    assert inside(optimised(f, X, W)).count("add") == 2


def test_a_carry_that_does_not_change_is_a_constant() -> None:
    def f(x: Any, w: Any) -> Any:
        def step(c: Any, row: Any) -> Any:
            state, kept = c
            return (state + row @ np.tanh(kept), kept), kept[0]

        return ft.lax.scan(step, (np.zeros(3), w), x)

    made = optimised(f, X, W)
    assert loop_of(made).params["n_carry"] == 1
    assert "tanh" in outside(made) and "tanh" not in inside(made)


@pytest.mark.parametrize("length", [0, 1])
def test_a_loop_of_few_steps_stays(length: int) -> None:
    def f(x: Any, w: Any) -> Any:
        return carried(lambda c, row, w: c + row @ np.exp(w), np.zeros(3), w, x)

    assert "exp" not in outside(optimised(f, X[:length], W))


def test_effects_stay() -> None:
    seen: list[Any] = []

    def f(x: Any, w: Any) -> Any:
        def step(c: Any, row: Any) -> Any:
            ft.debug.callback(lambda v: seen.append(v), w[0, 0])
            return c + row, None

        return ft.lax.scan(step, np.zeros(3), x)[0]

    ft.jit(f)(X, W)
    assert len(seen) == 4


def test_results_that_nobody_reads_and_the_carries_they_need_go() -> None:
    def f(x: Any, w: Any) -> Any:
        def step(c: Any, row: Any) -> Any:
            state, dead = c
            return (state + row, np.sin(dead) + row), (row * 2.0, np.exp(dead))

        (state, _), (kept, _) = ft.lax.scan(step, (np.zeros(3), np.ones(3)), x)
        return state, kept

    loop = loop_of(optimised(f, X, W))
    assert loop.params["n_carry"] == 1 and len(loop.outs) == 2
    assert not {"sin", "exp"} & {e.prim.name for e in loop.params["jaxpr"].eqns}


def test_operands_that_a_body_no_longer_reads_go() -> None:
    def f(x: Any, w: Any) -> Any:
        big = np.exp(w) @ w
        return ft.lax.scan(lambda c, row: (np.where(True, c + row, big[0]), None), np.zeros(3), x)[0]

    made = optimised(f, X, W)
    assert "exp" not in outside(made) and len(loop_of(made).inputs) == 2


def test_the_same_of_a_while_loop_and_a_branch() -> None:
    def f(x: Any, w: Any) -> Any:
        def body(c: Any) -> Any:
            k, state, dead = c
            return k + 1, state * 1.5, np.sin(dead)

        k, state, _ = ft.lax.while_loop(lambda c: c[1].sum() < 10.0, body, (0, np.ones(3), x[0]))
        a, _ = ft.lax.cond(x.sum() > 0, lambda: (state, np.exp(w)), lambda: (state * 2.0, w))
        return k, a

    made = optimised(f, X, W)
    assert "sin" not in str(made) and "exp" not in str(made)
