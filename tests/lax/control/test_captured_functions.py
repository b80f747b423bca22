"""Helpers that are defined beside a body are new functions in every call, and are not traced again for that."""

from __future__ import annotations

from itertools import count
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import lax

runs = count()
XS = np.linspace(-1.0, 1.0, 12).reshape(4, 3)


def traced(f: Any, *args: Any) -> int:
    """How often bodies run while ``f`` is called."""
    before = next(runs)
    f(*args)
    return next(runs) - before - 1


def network(params: Any, xs: Any) -> Any:
    def affine(h: Any, scale: Any = 0.5) -> Any:
        return params["w"] @ h * scale + params["b"]

    def cell(h: Any, x: Any) -> Any:
        return np.tanh(affine(h) + x)

    def step(h: Any, x: Any) -> Any:
        next(runs)
        h = cell(h, x)
        return h, np.sum(h)

    return np.sum(lax.scan(step, np.zeros(3), xs)[1])


def by_hand(params: Any, xs: Any) -> Any:
    with ft.disable_jit():
        return network(params, xs)


def params(seed: int) -> Any:
    rng = np.random.default_rng(seed)
    return {"w": rng.normal(size=(3, 3)), "b": rng.normal(size=3)}


def test_other_arrays_of_the_same_types_take_the_same_program() -> None:
    network(params(0), XS)
    gradient = ft.grad(network)
    gradient(params(0), XS)
    for seed in range(1, 4):
        p = params(seed)
        assert traced(network, p, XS) == 0
        assert traced(gradient, p, XS) == 0
        assert network(p, XS) == pytest.approx(by_hand(p, XS))
        found, expected = gradient(p, XS), ft.grad(by_hand)(p, XS)
        np.testing.assert_allclose(found["w"], expected["w"], rtol=1e-12)
        np.testing.assert_allclose(found["b"], expected["b"], rtol=1e-12)
    single = {name: x.astype(np.float32) for name, x in params(0).items()}
    assert traced(network, single, XS) > 0


def test_what_is_not_the_same_is_traced_again() -> None:
    def run(k: Any, f: Any = np.sin) -> Any:
        def helper(x: Any) -> Any:
            return f(x) * k

        def step(i: Any, c: Any) -> Any:
            next(runs)
            return c + helper(c)

        return lax.fori_loop(0, 2, step, 0.5)

    first = run(2.0)
    assert traced(run, 2.0) == 0 and run(2.0) == first
    assert traced(run, 3.0) > 0 and run(3.0) != first
    assert traced(run, 2.0, np.cos) > 0 and run(2.0, np.cos) != first
    # A NumPy scalar is compared with its value, an array by its type.
    assert run(np.array(2.0)) == run(2.0) and traced(run, np.array(5.0)) == 0
    assert run(np.array(5.0)) == run(5.0)


def test_helpers_that_call_themselves_and_each_other() -> None:
    def run(w: Any) -> Any:
        def even(n: int, x: Any) -> Any:
            return x if n == 0 else odd(n - 1, x * w)

        def odd(n: int, x: Any) -> Any:
            return even(n - 1, x + w)

        def step(i: Any, c: Any) -> Any:
            next(runs)
            return even(4, c)

        return np.sum(lax.fori_loop(0, 2, step, np.ones(2)))

    def expected(w: Any) -> Any:
        c = np.ones(2)
        for _ in range(4):
            c = c * w + w
        return np.sum(c)

    for k in range(4):
        w = np.array([0.5, 0.25 * k])
        assert run(w) == expected(w)
        assert k == 0 or traced(run, w + 1.0) == 0
    np.testing.assert_allclose(ft.grad(run)(w), ft.grad(expected)(w))
    np.testing.assert_allclose(ft.vmap(run)(np.stack([w, w * 2.0])), [expected(w), expected(w * 2.0)])


def test_a_helper_that_counts_for_itself_keeps_its_count() -> None:
    def run(w: Any) -> int:
        calls = 0

        def helper(c: Any) -> Any:
            nonlocal calls
            calls += 1
            return c * w

        lax.fori_loop(0, 2, lambda i, c: helper(c), np.ones(2))
        return calls

    assert run(np.ones(2)) >= 1 and run(np.ones(2)) >= 1


def test_a_helper_that_writes_to_a_list_of_arrays() -> None:
    def run(w: Any) -> Any:
        kept = [w]

        def helper(c: Any) -> Any:
            kept.append(None)
            return c * kept[0]

        out = lax.fori_loop(0, 2, lambda i, c: helper(c), np.ones(2))
        return out.tolist(), len(kept) > 1

    assert run(np.full(2, 3.0)) == ([9.0, 9.0], True)
    assert run(np.full(2, 2.0)) == ([4.0, 4.0], True)


def test_an_array_that_is_written_to_between_calls_is_read_again() -> None:
    w = np.ones(2)

    def helper(c: Any) -> Any:
        return c * w

    for k in (1.0, 2.0, 3.0, 4.0):
        w[:] = k
        assert lax.fori_loop(0, 1, lambda i, c: helper(c), np.ones(2)).tolist() == [k, k]
