"""Random programs of loops in branches in loops, compared with the same programs run as Python loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import functrans as ft
from functrans import lax
from functrans.core.check import check
from tests.lax.control.programs import assert_close, loss_of

Spec = Any


def leaves() -> st.SearchStrategy[Spec]:
    return st.sampled_from(["sin", "scale", "add", "tanh", "matmul", "cumulate", "index", "constant", "zero"])


def nodes(inner: st.SearchStrategy[Spec]) -> st.SearchStrategy[Spec]:
    block = st.lists(inner, min_size=1, max_size=2).map(tuple)
    return st.one_of(
        inner,
        st.tuples(st.just("scan"), block, st.integers(0, 3), st.booleans()),
        st.tuples(st.just("fori"), block, st.integers(0, 3)),
        st.tuples(st.just("cond"), block, block),
        st.tuples(st.just("switch"), block, block, block),
        st.tuples(st.just("vmap"), block),
        st.tuples(st.just("jit"), block),
        st.tuples(st.just("grad"), block),
    )


def programs() -> st.SearchStrategy[Spec]:
    return st.lists(nodes(nodes(nodes(leaves()))), min_size=1, max_size=3).map(tuple)


STEPS: dict[str, Callable[[Any, Any], Any]] = {
    "sin": lambda c, x: np.sin(c),
    "scale": lambda c, x: c * x,
    "add": lambda c, x: c + x[0],
    "tanh": lambda c, x: np.tanh(c - 0.5 * x),
    "matmul": lambda c, x: c @ np.cos(x) * x * 0.3,
    "cumulate": lambda c, x: np.cumsum(c) * 0.5,
    "index": lambda c, x: c[::-1] * x[1],
    "constant": lambda c, x: np.array([0.3, -0.2]) * np.sum(c),
    "zero": lambda c, x: np.zeros_like(c) + x,
}


def run(spec: Spec, c: Any, x: Any, python: bool) -> Any:
    """The program at a carry ``c`` of shape (2,) and a parameter ``x`` of shape (2,)."""
    for node in spec:
        c = STEPS[node](c, x) if isinstance(node, str) else run_node(node, c, x, python)
    return c


def run_node(node: Spec, c: Any, x: Any, python: bool) -> Any:
    kind, block, *rest = node
    if kind == "scan":
        return run_scan(block, rest[0], rest[1], c, x, python)
    if kind == "fori":
        if not python:
            return lax.fori_loop(0, rest[0], lambda i, c: run(block, c, x, python) + 0.1 * i, c)
        for i in range(rest[0]):
            c = run(block, c, x, python) + 0.1 * i
        return c
    if kind == "cond":
        if python:
            return run(block if np.sum(c) > 0.3 else rest[0], c, x, python)
        return lax.cond(np.sum(c) > 0.3, lambda c: run(block, c, x, python), lambda c: run(rest[0], c, x, python), c)
    if kind == "switch":
        blocks = (block, *rest)
        if python:
            return run(blocks[int(np.sum(c) > 0.2) + int(c[0] > 0.4)], c, x, python)
        which = (np.sum(c) > 0.2) + (c[0] > 0.4) * 1
        return lax.switch(which, [lambda c, b=b: run(b, c, x, python) for b in blocks], c)
    if kind == "vmap":
        rows = [c, c * 0.5]
        if python:
            return run(block, rows[0], x, python) + run(block, rows[1], x, python)
        return np.sum(ft.vmap(lambda r: run(block, r, x, python))(np.stack(rows)), axis=0)
    if kind == "jit":
        return run(block, c, x, python) if python else ft.jit(lambda c, x: run(block, c, x, python))(c, x)
    return ft.grad(lambda c: np.sum(np.sin(run(block, c, x, python))))(c)


def run_scan(block: Spec, length: int, reverse: bool, c: Any, x: Any, python: bool) -> Any:
    inputs = np.linspace(-0.5, 0.5, length)
    if not python:

        def step(carry: Any, v: Any) -> Any:
            c, total, count = carry
            c = run(block, c, x, python) + v
            return (c, total + np.sum(c) * count, count + 1), c * v

        (c, total, _), ys = lax.scan(step, (c, 0.0, 0), inputs, reverse=reverse)
        return c + total * 0.1 + np.sum(ys, axis=0)
    total: Any = 0.0
    ys = np.zeros(2)
    for count, v in enumerate(inputs[::-1] if reverse else inputs):
        c = run(block, c, x, python) + v
        total = total + np.sum(c) * count
        ys = ys + c * v
    return c + total * 0.1 + ys


X = np.array([0.7, -0.4])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs())
def test_random_programs(spec: Spec) -> None:
    def f(x: Any) -> Any:
        return run(spec, x * 1.5, x, False)

    def g(x: Any) -> Any:
        return run(spec, x * 1.5, x, True)

    assert_close(f(X), g(X))
    assert_close(ft.jit(f)(X), g(X))
    check(ft.make_jaxpr(f)(X))
    ours, theirs = loss_of(f), loss_of(g)
    expected = ft.grad(theirs)(X)
    assert_close(ft.grad(ours)(X), expected)
    assert_close(ft.jit(ft.grad(ours))(X), expected)
    assert_close(ft.grad(ft.jit(ours))(X), expected)
    assert_close(ft.jvp(ours, (X,), (X,))[1], expected @ X)
    rows = np.stack([X, X * 0.5, -X])
    gradients = np.stack([ft.grad(theirs)(row) for row in rows])
    assert_close(ft.vmap(ft.grad(ours))(rows), gradients)
    assert_close(ft.jit(ft.grad(lambda m: np.sum(ft.vmap(ours)(m))))(rows), gradients)
    hessian = ft.jacfwd(ft.grad(theirs))(X)
    assert_close(ft.jacfwd(ft.grad(ours))(X), hessian, rtol=1e-7)
    assert_close(ft.jit(ft.jacrev(ft.grad(ours)))(X), hessian, rtol=1e-7)
