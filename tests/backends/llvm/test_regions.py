"""Loops and branches as native code, against the NumPy backend."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import lax
from functrans.backends.llvm.program import nodes_of
from functrans.backends.llvm.segment import Segment, segmented
from functrans.core.trace import aval_of
from functrans.passes import current

RNG = np.random.default_rng(0)
X = RNG.normal(size=6)
M = RNG.normal(size=(6, 6)) / 3
ROWS = RNG.normal(size=(5, 6))


def agree(f: Callable[..., Any], *args: Any, rtol: float = 1e-12, native: bool = True) -> None:
    """The same values, dtypes, shapes and boxes as on NumPy's backend; all of it in one native function."""
    with np.errstate(all="ignore"):
        compiled = ft.jit(f, backend="llvm")
        found, expected = compiled(*args), ft.jit(f, backend="numpy")(*args)
    assert ft.tree.structure(found) == ft.tree.structure(expected)
    for a, b in zip(ft.tree.leaves(found), ft.tree.leaves(expected), strict=True):
        assert type(a) is type(b) and aval_of(a) == aval_of(b)
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)
    if native:
        assert is_native(f, *args)


def is_native(f: Callable[..., Any], *args: Any) -> bool:
    jaxpr = current()(ft.make_jaxpr(f)(*args))
    _, nodes = segmented(jaxpr, nodes_of(jaxpr))
    return [type(n) for n in nodes] == [Segment]


# -- scan -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("unroll", [1, 3, True])
def test_scan(reverse: bool, unroll: int | bool) -> None:
    def f(c: Any, xs: Any) -> Any:
        return lax.scan(lambda c, x: (np.sin(c) + x, c * x), c, xs, reverse=reverse, unroll=unroll)

    agree(f, X, ROWS)
    agree(f, 0.5, X)
    agree(f, np.float32(0.5), X.astype(np.float32), rtol=1e-6)


@pytest.mark.parametrize("length", [0, 1, 2, 3, 8])
def test_lengths(length: int) -> None:
    def f(c: Any, xs: Any) -> Any:
        return lax.scan(lambda c, x: ((c[1] * x, c[0] + c[1][::-1], c[2] + 1), (c[0], x)), c, xs)

    agree(f, (X, X * 2, 3), np.arange(float(length)))


def test_trees_of_carries_and_slices() -> None:
    def f(c: Any, xs: Any) -> Any:
        def step(c: Any, x: Any) -> Any:
            a, rest = c["a"], c["rest"]
            return {"a": a @ rest[0] + x[0], "rest": (rest[0], rest[1] + x[1])}, [a.sum(), {"y": rest[1]}]

        return lax.scan(step, c, xs)

    agree(f, {"a": X, "rest": (M, 2.0)}, (ROWS, np.arange(5)))


def test_carries_that_change_places() -> None:
    def f(a: Any, b: Any, c: Any) -> Any:
        return lax.scan(lambda s, _: ((s[1], s[0], s[2], s[0] + s[1]), s[3]), (a, b, c, a), length=5)

    agree(f, X, X * 2, M)
    agree(f, 1.0, 2.0, X)


def test_a_carry_that_is_a_result_too() -> None:
    agree(lambda x: lax.scan(lambda c, _: (np.cos(c), c), x, length=4), X)
    agree(lambda x: lax.scan(lambda c, _: ((y := np.cos(c)), y), x, length=4), X)
    agree(lambda x: lax.scan(lambda c, _: ((y := np.cos(c)), (y, y, c)), x, length=3), 0.25)


def test_what_shows_the_carry_while_it_is_written_over() -> None:
    agree(lambda x: lax.fori_loop(0, 4, lambda i, c: c * c[0] + c[::-1].reshape(6), x), X)
    agree(lambda x: lax.fori_loop(0, 4, lambda i, c: c.reshape(2, 3).T.reshape(6) + c, x), X)
    agree(lambda x: lax.fori_loop(0, 3, lambda i, c: c.at[1:4].set(c[2:5]), x), X)
    agree(
        lambda x: lax.fori_loop(0, 3, lambda i, c: (c[1].reshape(6) * 2, c[0].reshape(3, 2)), (x, x.reshape(3, 2))), X
    )


def test_updates_in_place() -> None:
    def sieve(x: Any) -> Any:
        def body(i: Any, c: Any) -> Any:
            c = c.at[i].set(c[i - 1] * 0.5)
            return c.at[i + 1].add(c[i])

        return lax.fori_loop(1, 5, body, x)

    agree(sieve, X)
    text = ft.jit(sieve, backend="llvm").lower(np.zeros(100_000)).as_text("llvm")
    assert text.count("i64 800000, i1") == 1  # what comes in is copied once, and no step copies it


def test_dtypes_of_carries() -> None:
    def f(c: Any) -> Any:
        return lax.fori_loop(0, 7, lambda i, s: (s[0] + i, ~s[1], s[2] * 3, s[3] + 0.5, s[0] > 2), c)

    agree(f, (0, np.True_, np.uint8(7), np.float32(1), False))
    agree(lambda z: lax.fori_loop(0, 5, lambda i, z: z * z * 0.5 + 1j * i, z), np.complex128(0.3 + 0.1j))
    agree(lambda z: lax.fori_loop(0, 5, lambda i, z: z * 0.5 + 1j * i, z), X + 1j * X)


# -- a few elements ---------------------------------------------------------------------------------------------------


def lorenz(x: Any) -> Any:
    def slope(x: Any) -> Any:
        return np.stack([10.0 * (x[1] - x[0]), x[0] * (28.0 - x[2]) - x[1], x[0] * x[1] - 8 / 3 * x[2]])

    def step(x: Any, _: Any) -> Any:
        x = x + 0.005 * (slope(x) + slope(x + 0.005 * slope(x)))
        return x, (x, x[0], x.sum())

    return lax.scan(step, x, length=20)


X3 = np.array([1.0, -0.5, 2.0])
FEW: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "system": (lorenz, (X3,)),
    "its derivative": (ft.grad(lambda x: lorenz(x)[0].sum() + lorenz(x)[1][1].sum()), (X3,)),
    "matrix": (lambda a, x: lax.fori_loop(0, 5, lambda i, x: a @ x + i, x), (M[:3, :3], X3)),
    "slices": (lambda x, xs: lax.scan(lambda c, x: (x, c * 2), x, xs, reverse=True), (X3, ROWS[:, :3])),
    "no slices": (lambda x, xs: lax.scan(lambda c, x: (x, c * 2), x, xs), (X3, ROWS[:0, :3])),
    "booleans": (
        lambda x: lax.fori_loop(0, 5, lambda i, s: (s[0][::-1], np.where(s[0], s[1], s[1] * 2)), (x > 0, x)), (X3,)
    ),
    "while": (
        lambda x: lax.while_loop(lambda x: np.sum(x * x) < 1e4, lambda x: np.concatenate([x[1:] * 2, x[:1] + 1]), x),
        (X3,),
    ),
    "no turn": (lambda x: lax.while_loop(lambda x: np.sum(x) < 0, lambda x: x[::-1] * 2, x), (X3,)),
    "padded": (lambda x: lax.fori_loop(0, 5, lambda i, x: np.pad(x[:2], (1, 0)) + x, x), (X3,)),
    "integers": (lambda x: lax.fori_loop(0, 5, lambda i, m: m * 3 + i, x), (np.array([1, 2], np.int8),)),
    "complex": (lambda x: lax.fori_loop(0, 5, lambda i, m: m * m * 0.5 + 1j * i, x), (np.array([1 + 1j, 2]),)),
    "constant": (
        lambda x, y: lax.while_loop(lambda s: s[0][0] < 5, lambda s: (s[0] + s[1], s[1]), (x, y)), (X3, np.ones(3))
    ),
    "read by a kernel": (lambda x: np.sin(lax.fori_loop(0, 3, lambda i, x: x * x[::-1], x)) + 1, (X3,)),
    "nested": (
        lambda x: lax.scan(lambda c, _: (lax.fori_loop(0, 3, lambda i, y: y * 0.5 + y[::-1], c), c), x, length=3),
        (X3,),
    ),
    "set": (lambda x: lax.fori_loop(0, 3, lambda i, x: x.at[1].set(x[0] + i).at[1:].add(x[:2]), x), (X3,)),
}  # fmt: skip


@pytest.mark.parametrize("name", FEW)
def test_a_few_elements(name: str) -> None:
    f, args = FEW[name]
    agree(f, *args)


def test_a_few_elements_stay_in_registers() -> None:
    text = ft.jit(lorenz, backend="llvm").lower(X3).as_text("llvm")
    body = text[text.index("scan") : text.index("after")]
    assert "load" not in body


# -- while ------------------------------------------------------------------------------------------------------------


def newton(x: Any) -> Any:
    return lax.while_loop(lambda y: abs(y * y - x) > 1e-12 * x, lambda y: 0.5 * (y + x / y), x)


def test_while() -> None:
    for x in (2.0, np.float64(9.0), np.float32(2.0)):
        with np.errstate(all="ignore"):
            f = newton if not isinstance(x, np.float32) else lambda x: lax.while_loop(
                lambda s: s[1] < 5, lambda s: (0.5 * (s[0] + x / s[0]), s[1] + 1), (x, 0)
            )  # fmt: skip
        agree(f, x, rtol=1e-6)


@pytest.mark.parametrize("n", [0, 1, 2, 7])
def test_numbers_of_turns(n: int) -> None:
    def f(x: Any, n: Any) -> Any:
        return lax.while_loop(
            lambda s: s[0] < n, lambda s: (s[0] + 1, np.tanh(s[1]) @ M, s[1], s[3] + s[1][0]), (0, x, x * 3, 0.0)
        )

    agree(f, X, n)
    agree(lambda x, n: lax.fori_loop(0, n, lambda i, c: c * 1.5 + i, x), X, n)


def test_conditions_over_arrays() -> None:
    agree(lambda x: lax.while_loop(lambda c: (np.sum(c * c) < 100) & ~np.any(np.isnan(c)), lambda c: c * 1.3, x), X)


def test_what_every_turn_computes_alike_is_computed_once() -> None:
    def f(a: Any, x: Any) -> Any:
        return lax.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, s[1] + np.exp(a) @ np.cos(a[0])), (0, x))

    agree(f, M, X)
    agree(lambda a, x: lax.while_loop(lambda s: s[0] < 0, lambda s: (s[0] + 1, s[1] / np.sum(a)), (0, x)), M, X)


# -- branches ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", [-3, 0, 1, 2, 9])
def test_branches(index: int) -> None:
    def f(i: Any, x: Any, y: Any) -> Any:
        return lax.switch(
            i, [lambda x, y: (np.sin(x), y, 1), lambda x, y: (x, y * 2, 2), lambda x, y: (y * x, 0.5, 3)], x, y
        )

    agree(f, index, X, 2.0)
    agree(f, np.int8(index), X, 2.0)


def test_a_choice_by_a_number() -> None:
    def f(p: Any, x: Any) -> Any:
        return lax.cond(p, lambda x: (x.sum(), x), lambda x: (0.0, x[::-1] * 2), x)

    for p in (True, False, np.True_, np.False_):
        agree(f, p, X)


# -- nested -----------------------------------------------------------------------------------------------------------


def collatz(n: Any) -> Any:
    def step(s: Any) -> Any:
        n, count = s
        return lax.cond(n % 2 == 0, lambda n: n // 2, lambda n: 3 * n + 1, n), count + 1

    return lax.while_loop(lambda s: s[0] != 1, step, (n, 0))[1]


def test_branches_in_loops_in_loops() -> None:
    agree(lambda ns: lax.scan(lambda total, n: (total + collatz(n), collatz(n)), 0, ns), np.arange(1, 9))

    def f(x: Any, ps: Any) -> Any:
        def step(c: Any, p: Any) -> Any:
            inner = lax.fori_loop(0, 2, lambda i, c: lax.cond(p, np.sin, lambda c: c * c[0], c) + i, c)
            return inner, lax.scan(lambda a, r: (a + r, a * r), 0.0, inner)

        return lax.scan(step, x, ps)

    agree(f, X, np.array([True, False, True]))


def test_map_and_checkpoint() -> None:
    agree(lambda xs: lax.map(lambda x: (np.sin(x) * x, x.sum()), xs), ROWS)
    agree(lambda x: ft.grad(lambda x: np.sum(ft.checkpoint(lambda x: np.sin(np.sin(x)))(x)))(x), X)

    def saved(x: Any, xs: Any) -> Any:
        return lax.scan(lambda c, r: (np.sin(c) * r, None), x, xs, checkpoint=2)[0].sum()

    agree(ft.grad(saved), X, ROWS)


# -- transformed ------------------------------------------------------------------------------------------------------


def network(w: Any, xs: Any) -> Any:
    def step(h: Any, x: Any) -> Any:
        h = np.tanh(w @ h + x)
        return h, h

    h, hs = lax.scan(step, np.zeros(6), xs)
    return np.sum(hs**2) + h[0]


def test_derivatives_of_scans() -> None:
    agree(ft.grad(network), M, ROWS)
    agree(ft.value_and_grad(network, (0, 1)), M, ROWS)
    agree(lambda w, xs: ft.jvp(network, (w, xs), (w, xs)), M, ROWS)
    agree(lambda w, xs: ft.grad(lambda w: np.sum(ft.grad(network)(w, xs) ** 2))(w), M, ROWS)


def test_derivatives_of_numbers() -> None:
    def f(x: Any) -> Any:
        return lax.fori_loop(0, 10, lambda i, c: np.sin(c) * x + i, x)

    agree(f, 0.7)
    agree(ft.grad(f), 0.7)
    agree(ft.grad(ft.grad(f)), 0.7, rtol=1e-10)
    agree(ft.vmap(ft.grad(f)), X, rtol=1e-10)


def test_mapped_loops() -> None:
    agree(ft.vmap(network, (0, None)), np.stack([M, M.T, -M]), ROWS)
    agree(ft.vmap(ft.grad(network), (None, 0)), M, np.stack([ROWS, ROWS * 2]))
    agree(ft.vmap(newton), np.abs(X) + 1)
    agree(ft.vmap(collatz), np.arange(1, 12))
    agree(ft.vmap(lambda n, x: lax.fori_loop(0, n, lambda i, c: c * x + i, x)), np.arange(6), X)
    agree(ft.vmap(lambda p, x: lax.cond(p > 0, np.sqrt, np.negative, x)), X, np.abs(X))


# -- errors, interruption ---------------------------------------------------------------------------------------------


def test_an_index_out_of_bounds_in_a_loop() -> None:
    def f(x: Any, n: Any) -> Any:
        return lax.fori_loop(0, n, lambda i, total: total + x[i], 0.0)

    compiled = ft.jit(f, backend="llvm")
    assert compiled(X, 6) == pytest.approx(X.sum())
    for _ in range(3):
        with pytest.raises(IndexError, match="6"):
            compiled(X, 7)
    assert compiled(X, 6) == pytest.approx(X.sum())


INTERRUPTED = """
import sys, numpy as np, functrans as ft
f = ft.jit(lambda x: ft.lax.while_loop(lambda s: s[0] > 0.0, {body}, x), backend="llvm")
print("start", flush=True)
try:
    f({x})
except KeyboardInterrupt:
    print("stopped", flush=True)
"""
ENDLESS = {
    "numbers": ("lambda s: (s[0] * 0.5 + 1.0, s[1] + 1)", "(1.0, 0)"),
    "arrays": ("lambda s: (s[0] * 0.5 + 1.0, np.sin(s[1]))", "(1.0, np.ones(100000))"),
    "loops": (
        "lambda s: (s[0], ft.lax.fori_loop(0, 100, lambda i, c: c * 0.5 + i, s[1]))",
        "(1.0, 0.0)",
    ),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_interruption(name: str) -> None:
    body, x = ENDLESS[name]
    text = INTERRUPTED.format(body=body, x=x)
    process = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True, env={**os.environ})
    assert process.stdout is not None and process.stdout.readline() == "start\n"
    time.sleep(0.4)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert out == "stopped\n"
    assert time.monotonic() - began < 1.0
