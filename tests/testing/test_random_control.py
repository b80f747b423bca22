"""Random programs of loops in branches in maps in gradients, compared with the same programs as NumPy runs them.

A program is a tree of blocks. It is run twice: by the functions of ``lax``, and unrolled in Python, where loops are
loops and branches are branches. Values, first and second derivatives and maps of the two must agree, and both with
differences.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, assume, event, given, settings
from hypothesis import strategies as st

import functrans as ft
from functrans import lax
from functrans.core.check import check
from tests.lax.control.programs import assert_close

Block = Any
LIMITS = settings(
    max_examples=max(settings().max_examples // 2, 10),
    suppress_health_check=list(HealthCheck),
    phases=[p for p in Phase if p is not Phase.shrink],
)

# -- programs -------------------------------------------------------------------------------------------------------

STEPS: dict[str, Callable[[Any, Any], Any]] = {
    "sin": lambda c, x: np.sin(c) + 0.1,
    "scale": lambda c, x: c * np.cos(x),
    "shift": lambda c, x: c + x[0] * 0.5,
    "divide": lambda c, x: c / (1.0 + c * c),
    "root": lambda c, x: np.sqrt(1.0 + np.sum(c * c)) * x * 0.4,
    "matmul": lambda c, x: np.tanh(c @ (np.outer(x, x) + np.eye(2))),
    "turn": lambda c, x: c[::-1] * np.array([0.9, -0.8]),
    "constant": lambda c, x: np.array([0.3, -0.2]) * np.sum(x),
}


def blocks(inner: st.SearchStrategy[Block]) -> st.SearchStrategy[Block]:
    block = st.lists(inner, min_size=1, max_size=2).map(tuple)
    times = st.integers(0, 4)
    return st.one_of(
        inner,
        st.tuples(st.just("while"), block, st.floats(0.5, 3.0)),
        st.tuples(st.just("bound"), block, times),
        st.tuples(st.just("fori"), block, times),
        st.tuples(st.just("scan"), block, times, st.booleans(), st.sampled_from([None, 1, 2, "sqrt"]), st.booleans()),
        st.tuples(st.just("cond"), block, block, st.floats(-0.5, 0.5)),
        st.tuples(st.just("switch"), block, block, block),
        st.tuples(st.just("vmap"), block),
        st.tuples(st.just("map"), block, st.sampled_from([None, 2])),
        st.tuples(st.just("running"), block),
        st.tuples(st.just("grad"), block),
        st.tuples(st.just("jit"), block),
    )


def programs(depth: int) -> st.SearchStrategy[Block]:
    inner: st.SearchStrategy[Block] = st.sampled_from(list(STEPS))
    for _ in range(depth):
        inner = blocks(inner)
    return st.lists(inner, min_size=1, max_size=2).map(tuple)


def run(program: Block, c: Any, x: Any, python: bool) -> Any:
    """A program at a state ``c`` and a parameter ``x``, both of shape (2,)."""
    for block in program:
        c = STEPS[block](c, x) if isinstance(block, str) else RUN[block[0]](block, c, x, python)
    return c


def run_while(block: Block, c: Any, x: Any, python: bool) -> Any:
    """How many steps are taken depends on the values, up to five."""
    _, body, limit = block
    going = lambda s: (np.sum(s[0] * s[0]) < limit) & (s[1] < 5)
    step = lambda s: (run(body, s[0], x, python) + 0.5 * s[0] + 0.3, s[1] + 1)
    if not python:
        return lax.while_loop(going, step, (c, 0))[0]
    s = (c, 0)
    while going(s):
        s = step(s)
    return s[0]


def run_bound(block: Block, c: Any, x: Any, python: bool) -> Any:
    """A counted loop whose bound is a traced integer, of another value in each example of a batch."""
    _, body, times = block
    step = lambda i, c: run(body, c, x, python) + 0.1 * i
    if not python:
        return lax.fori_loop(0, times + np.int64(1) * (c[0] > 0.2), step, c)
    for i in range(times + int(c[0] > 0.2)):
        c = step(i, c)
    return c


def run_fori(block: Block, c: Any, x: Any, python: bool) -> Any:
    _, body, times = block
    step = lambda i, c: run(body, c, x, python) - 0.1 * i
    if not python:
        return lax.fori_loop(0, times, step, c)
    for i in range(times):
        c = step(i, c)
    return c


def run_scan(block: Block, c: Any, x: Any, python: bool) -> Any:
    _, body, times, reverse, checkpoint, looks = block
    xs = np.linspace(-0.5, 0.5, times)

    def step(s: Any, t: Any) -> Any:
        y = run(body, s[0] if looks else x * t, x, python)
        return (y + t if looks else y, s[1] + 1 if looks else 1), np.sum(y) * t

    s = (c, 0)
    if not python:
        s, ys = lax.scan(step, s, xs, reverse=reverse, checkpoint=checkpoint)
        return s[0] + 0.2 * np.sum(ys)
    total: Any = 0.0
    for t in xs[::-1] if reverse else xs:
        s, y = step(s, t)
        total = total + y
    return s[0] + 0.2 * total


def run_cond(block: Block, c: Any, x: Any, python: bool) -> Any:
    _, yes, no, threshold = block
    holds = np.sum(c) > threshold
    if not python:
        return lax.cond(holds, lambda d: run(yes, d, x, python), lambda _: run(no, c, x, python), c)
    return run(yes if holds else no, c, x, python)


def run_switch(block: Block, c: Any, x: Any, python: bool) -> Any:
    _, *branches = block
    if not python:
        which = (c[0] > 0.1) * 1 + (c[1] > 0.3) * 1
        return lax.switch(which, [lambda c, b=b: run(b, c, x, python) for b in branches], c)
    return run(branches[int(c[0] > 0.1) + int(c[1] > 0.3)], c, x, python)


def rows_of(c: Any) -> Any:
    return np.stack([c, c[::-1] * 0.5, -c])


def run_vmap(block: Block, c: Any, x: Any, python: bool) -> Any:
    f = lambda row: run(block[1], row, x, python)
    if not python:
        return np.sum(ft.vmap(f)(rows_of(c)), axis=0) * 0.5
    return sum(f(row) for row in rows_of(c)) * 0.5


def run_map(block: Block, c: Any, x: Any, python: bool) -> Any:
    f = lambda row: run(block[1], row, x, python)
    if not python:
        return np.sum(lax.map(f, rows_of(c), batch_size=block[2]), axis=0) * 0.5
    return sum(f(row) for row in rows_of(c)) * 0.5


def run_running(block: Block, c: Any, x: Any, python: bool) -> Any:
    rows = rows_of(run(block[1], c, x, python))
    if not python:
        products = lax.associative_scan(lambda a, b: a * b * 0.5, rows, axis=1)[-1]
        return products + lax.associative_scan(np.add, rows)[1]
    first, second = rows[2]
    return np.stack([first, first * second * 0.5]) + rows[0] + rows[1]


def run_grad(block: Block, c: Any, x: Any, python: bool) -> Any:
    return np.tanh(ft.grad(lambda c: np.sum(run(block[1], c, x, python) ** 2))(c))


def run_jit(block: Block, c: Any, x: Any, python: bool) -> Any:
    f = lambda c, x: run(block[1], c, x, python)
    return f(c, x) if python else ft.jit(f)(c, x)


RUN: dict[str, Callable[[Block, Any, Any, bool], Any]] = {
    "while": run_while,
    "bound": run_bound,
    "fori": run_fori,
    "scan": run_scan,
    "cond": run_cond,
    "switch": run_switch,
    "vmap": run_vmap,
    "map": run_map,
    "running": run_running,
    "grad": run_grad,
    "jit": run_jit,
}

X = np.array([0.7, -0.4])
DIRECTION = np.array([0.6, 0.8])


@LIMITS
@given(program=programs(3))
def test_random_control_flow(program: Block) -> None:
    def loss_by(python: bool) -> Callable[[Any], Any]:
        return lambda x: np.sum(run(program, x * 0.8 + 0.1, x, python) ** 2)

    ours, theirs = loss_by(False), loss_by(True)
    with np.errstate(all="ignore"):
        value = theirs(X)
        assume(np.isfinite(value) and abs(value) < 1e4)
        assert_close(ours(X), value)
        jaxpr = ft.make_jaxpr(ft.grad(ours))(X)
        check(jaxpr)
        gradient = ft.grad(theirs)(X)
        assert_close(ft.grad(ours)(X), gradient, 1e-8)
        assert_close(ft.jit(ft.grad(ours))(X), gradient, 1e-8)
        assert_close(ft.jvp(ours, (X,), (DIRECTION,))[1], gradient @ DIRECTION, 1e-8)
        many = np.stack([X, -X, X * 0.5])
        assert_close(ft.vmap(ft.grad(ours))(many), np.stack([ft.grad(theirs)(x) for x in many]), 1e-8)
        coarse, fine = ((theirs(X + h * DIRECTION) - theirs(X - h * DIRECTION)) / (2 * h) for h in (2e-5, 1e-5))
        told = abs(coarse - fine) < 1e-5 * max(1.0, abs(fine))
        event(f"differences tell: {told}")
        if told:
            assert_close(gradient @ DIRECTION, fine, 1e-4)


@settings(LIMITS, max_examples=max(settings().max_examples // 4, 5))
@given(program=programs(2))
def test_second_derivatives_of_random_control_flow(program: Block) -> None:
    assume(repr(program).count("'grad'") < 2)

    def loss_by(python: bool) -> Callable[[Any], Any]:
        return lambda x: np.sum(run(program, x * 0.8 + 0.1, x, python) ** 2)

    ours, theirs = loss_by(False), loss_by(True)
    with np.errstate(all="ignore"):
        expected = ft.jacfwd(ft.grad(theirs))(X)
        assume(bool(np.all(np.abs(expected) < 1e6)))
        for chain in (
            lambda f: ft.jacfwd(ft.grad(f)),
            lambda f: ft.jacrev(ft.grad(f)),
            lambda f: ft.jit(ft.jacrev(ft.grad(f))),
            lambda f: ft.jacrev(ft.jacfwd(f)),
        ):
            assert_close(chain(ours)(X), expected, 1e-7)
        rows = ft.vmap(ft.jacfwd(ft.grad(ours)))(np.stack([X, -X]))
        assert_close(rows[0], expected, 1e-7)
