"""What scans keep: checkpoints of every so many steps, nothing that is the same in each step."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import errors, lax
from functrans.core.check import check
from tests.lax.control.programs import assert_close

STEPS = 10_000
WIDTH = 30


def chain(x: Any, xs: Any, **how: Any) -> Any:
    return np.sum(lax.scan(lambda c, t: (np.sin(c) * 0.9 + 0.1 * t, None), x, xs, **how)[0])


def peak(f: Callable[..., Any], *args: Any) -> int:
    """The largest number of bytes that lie in memory at a time during a call after the first."""
    f(*args)
    tracemalloc.start()
    try:
        f(*args)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("wrap", [lambda f: f, ft.jit], ids=["eager", "jit"])
def test_memory_grows_with_the_square_root(wrap: Any) -> None:
    x, xs = np.linspace(0.1, 1.0, WIDTH), np.linspace(0.0, 1.0, STEPS)
    plain, rooted = wrap(ft.grad(chain)), wrap(ft.grad(partial(chain, checkpoint="sqrt")))
    np.testing.assert_allclose(rooted(x, xs), plain(x, xs), rtol=1e-13)
    row = x.nbytes
    few = xs[: STEPS // 4].copy()
    small = peak(rooted, x, xs) - xs.nbytes  # what is stepped along may be copied once
    assert small < 400 * row  # a hundred carries and a hundred steps' values
    assert peak(plain, x, xs) > STEPS * row
    assert small < 3 * (peak(rooted, x, few) - few.nbytes)  # a straight line would give four times


@pytest.mark.parametrize("checkpoint", [1, 3, 4, 9, 100, "sqrt"])
@pytest.mark.parametrize("reverse", [False, True])
def test_checkpoints_change_no_result(checkpoint: Any, reverse: bool) -> None:
    def f(x: Any, **how: Any) -> Any:
        def step(c: Any, t: Any) -> Any:
            c = {"a": np.sin(c["a"]) * x + t["u"], "k": c["k"] + 1}
            return c, (c["a"] * t["v"], t["u"])

        xs = {"u": np.linspace(-1.0, 1.0, 9), "v": np.linspace(0.0, 2.0, 18).reshape(9, 2)}
        return lax.scan(step, {"a": x, "k": 0}, xs, reverse=reverse, **how)

    def loss(x: Any, **how: Any) -> Any:
        c, (ys, us) = f(x, **how)
        return np.sum(c["a"]) + np.sum(ys * ys) + np.sum(us)

    x = np.array([0.3, -0.7])
    assert_close(f(x, checkpoint=checkpoint), f(x))
    ours, theirs = partial(loss, checkpoint=checkpoint), loss
    for chain_of in (ft.grad, lambda g: ft.jacrev(ft.grad(g)), lambda g: ft.jacfwd(ft.grad(g))):
        assert_close(chain_of(ours)(x), chain_of(theirs)(x))
    assert_close(ft.jit(ft.grad(ours))(x), ft.grad(theirs)(x))
    many = np.stack([x, 2 * x])
    assert_close(ft.vmap(ft.grad(ours))(many), ft.vmap(ft.grad(theirs))(many))


def test_checkpoints_of_loops_of_unknown_length() -> None:
    def f(x: Any, **how: Any) -> Any:
        def step(c: Any, t: Any) -> Any:
            return lax.while_loop(lambda y: y < t, lambda y: y * 1.5 + 0.1 * np.sin(x), c) * 0.3, None

        return lax.scan(step, x, np.array([1.0, 3.0, 2.0, 5.0, 4.0]), **how)[0]

    for wrap in (lambda g: g, ft.jit):
        assert_close(wrap(ft.grad(partial(f, checkpoint=2)))(0.7), ft.grad(f)(0.7))
        assert_close(wrap(ft.grad(ft.grad(partial(f, checkpoint="sqrt"))))(0.7), ft.grad(ft.grad(f))(0.7))


def test_errors_of_checkpoint() -> None:
    for wrong in (0, -1, 2.5, "root", True):
        with pytest.raises(errors.ArgumentError, match="checkpoint must be 'sqrt', a positive number of steps"):
            chain(np.ones(2), np.ones(4), checkpoint=wrong)
    assert chain(np.float64(1.0), np.ones(0), checkpoint="sqrt") == 1.0


def test_what_is_the_same_in_each_step_is_computed_and_kept_once() -> None:
    w = np.linspace(0.1, 0.9, 8)

    def f(w: Any) -> Any:
        return np.sum(lax.scan(lambda c, t: (c * np.exp(np.sin(w)) * 0.5 + t, None), w, np.linspace(0.0, 1.0, 50))[0])

    assert str(ft.make_jaxpr(f)(w)).split("scan[")[0].count("exp") == 1  # before the loop
    jaxpr = ft.make_jaxpr(ft.grad(f))(w)
    check(jaxpr)
    assert "f64[50,8]" in str(jaxpr)  # the carries, which the derivative in w needs

    def linear(c: Any) -> Any:
        return np.sum(lax.scan(lambda c, t: (c * np.exp(np.sin(w)) * 0.5 + t, None), c, np.linspace(0.0, 1.0, 50))[0])

    assert "f64[50,8]" not in str(ft.make_jaxpr(ft.grad(linear))(w))

    def unrolled(w: Any) -> Any:
        c = w
        for t in np.linspace(0.0, 1.0, 50):
            c = c * np.exp(np.sin(w)) * 0.5 + t
        return np.sum(c)

    assert_close(ft.grad(f)(w), ft.grad(unrolled)(w))
    assert_close(ft.jacrev(ft.grad(f))(w), ft.jacrev(ft.grad(unrolled))(w))


def test_nothing_is_computed_for_a_loop_without_steps() -> None:
    def f(x: Any, n: Any) -> Any:
        body = lambda s: (s[0] * np.sqrt(x), s[1] + 1)
        return lax.while_loop(lambda s: s[1] < n, body, (1.0 + x, 0))[0]

    with np.errstate(all="raise"):
        assert f(0.0, 0) == 1.0
        assert ft.grad(f)(0.0, 0) == 1.0
        assert ft.jit(ft.grad(f))(0.0, np.int64(0)) == 1.0
        assert lax.scan(lambda c, t: (c / np.float64(0.0), None), 1.0, length=0)[0] == 1.0


def test_steps_that_ignore_the_carry_are_taken_at_once() -> None:
    xs = np.linspace(0.1, 1.0, 12).reshape(4, 3)
    scale = np.array([1.0, 2.0, 3.0])

    def f(xs: Any, **how: Any) -> Any:
        def step(c: Any, x: Any) -> Any:
            return (np.sum(x) * 2.0, c[1]), (np.sin(x) * scale, np.max(x))

        return lax.scan(step, (0.0, scale), xs, **how)

    for how in ({}, {"reverse": True}):
        (last, kept), (ys, tops) = f(xs, **how)
        rows = xs[::-1] if how else xs
        assert last == pytest.approx(np.sum(rows[-1]) * 2.0) and type(last) is np.float64
        assert kept.tolist() == scale.tolist() and not np.shares_memory(kept, scale)
        np.testing.assert_array_equal(ys, np.sin(xs) * scale)
        np.testing.assert_array_equal(tops, xs.max(1))
        assert "scan" not in str(ft.make_jaxpr(partial(f, **how))(xs))
        assert_close(ft.jit(partial(f, **how))(xs), f(xs, **how))
    assert "scan" in str(ft.make_jaxpr(lambda xs: lax.map(np.sum, xs))(xs))  # one example at a time
    assert "scan" in str(ft.make_jaxpr(lambda xs: lax.scan(lambda c, x: (x[0], c * x), 0.0, xs))(xs))
