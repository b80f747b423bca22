"""Reverse mode through loops whose number of steps only a run can tell, and the size variables that it needs."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import errors, lax
from functrans.core.check import check
from functrans.core.evaluate import evaluate
from functrans.core.jaxpr import Jaxpr
from functrans.core.parser import from_text
from functrans.test_util import check_grads
from tests.lax.control.programs import assert_agrees, assert_close
from tests.lax.control.test_loops import newton, python_fori, python_while


def python_cond(p: Any, yes: Any, no: Any, *operands: Any) -> Any:
    return yes(*operands) if p else no(*operands)


def python_scan(f: Any, init: Any, xs: Any) -> Any:
    ys = []
    for x in xs:
        init, y = f(init, x)
        ys.append(y)
    return init, np.stack(ys)


def curve(loop: Any, x: Any) -> Any:
    """Steps whose number depends on the values, with residuals that are arrays."""

    def body(s: Any) -> Any:
        y, k = s["y"], s["k"]
        return {"y": y * 1.3 + np.sin(y) * x, "k": k + 1}

    out = loop(lambda s: np.sum(s["y"] ** 2) < 40.0, body, {"y": x * x + 0.5, "k": 0})
    return out["y"], out["k"]


def test_every_order_through_while() -> None:
    x = np.array([0.7, -0.4])
    assert_agrees(partial(curve, lax.while_loop), partial(curve, python_while), x)
    check_grads(lambda x: curve(lax.while_loop, x)[0], (x,), order=2)


def test_third_order() -> None:
    def third(f: Any) -> Any:
        return ft.grad(ft.grad(ft.grad(lambda x: f(x)[0])))

    ours, theirs = partial(curve, lax.while_loop), partial(curve, python_while)
    expected = third(theirs)(0.7)
    assert_close(third(ours)(0.7), expected)
    assert_close(ft.jit(third(ours))(0.7), expected)
    assert_close(third(ft.jit(ours))(0.7), expected)


def test_a_bound_that_is_traced() -> None:
    def f(n: Any, x: Any) -> Any:
        return lax.fori_loop(1, n, lambda i, c: np.sin(c) * x + i, x)

    def expected(n: int, x: Any) -> Any:
        return python_fori(1, n, lambda i, c: np.sin(c) * x + i, x)

    for n in (0, 2, 40):
        assert_close(ft.jit(ft.grad(f, 1))(np.int64(n), 0.7), ft.grad(partial(expected, n))(0.7))
    mapped = ft.vmap(ft.grad(f, 1), (0, None))
    found = [ft.grad(partial(expected, n))(0.7) for n in (0, 2, 5)]
    assert_close(mapped(np.array([0, 2, 5]), 0.7), np.array(found))
    assert_close(ft.jit(mapped)(np.array([0, 2, 5]), 0.7), np.array(found))
    second = ft.vmap(ft.grad(ft.grad(f, 1), 1), (0, None))(np.array([2, 5, 3]), 0.7)
    assert_close(second, np.array([ft.grad(ft.grad(partial(expected, n)))(0.7) for n in (2, 5, 3)]))


def test_examples_take_their_own_number_of_steps() -> None:
    a = np.array([2.0, 9.0, 1e4])

    def root(a: Any) -> Any:
        return newton(lax.while_loop, a)["x"]

    for chain in (lambda f: ft.vmap(ft.grad(f)), lambda f: ft.grad(lambda v: np.sum(ft.vmap(f)(v)))):
        for wrap in (lambda f: f, ft.jit):
            np.testing.assert_allclose(wrap(chain(root))(a), 0.5 / np.sqrt(a), rtol=1e-9)
    np.testing.assert_allclose(ft.vmap(ft.grad(ft.grad(root)))(a), -0.25 * a**-1.5, rtol=1e-7)
    twice = ft.vmap(ft.vmap(ft.grad(root)))(np.stack([a, 2 * a]))
    np.testing.assert_allclose(twice, 0.5 / np.sqrt(np.stack([a, 2 * a])), rtol=1e-9)


def shrink(x: Any) -> Any:
    """The body divides by what is zero when the loop is done."""
    return lax.while_loop(lambda s: s[0] > 0.0, lambda s: (s[0] - 1.0, s[1] + np.sqrt(s[0]) / s[0] * x), (x, x))[1]


def test_examples_that_are_done_meet_no_infinities() -> None:
    def expected(x: Any) -> Any:
        y, z = x, x
        while y > 0.0:
            y, z = y - 1.0, z + np.sqrt(y) / y * x
        return z

    many = np.array([1.0, 3.0, 2.0])
    for order in (ft.grad, lambda f: ft.grad(ft.grad(f)), lambda f: ft.grad(ft.jacfwd(f))):
        rows = np.array([order(expected)(x) for x in many])
        assert_close(ft.vmap(order(shrink))(many), rows)
        assert_close(ft.jit(ft.vmap(order(shrink)))(many), rows)
    assert_close(ft.grad(lambda v: np.sum(ft.vmap(shrink)(v)))(many), np.array([ft.grad(expected)(x) for x in many]))


def nested(loop: Any, scan: Any, cond: Any, x: Any) -> Any:
    """Loops of unknown length in a scan, in a branch and in each other."""

    def inner(c: Any, limit: Any) -> Any:
        return loop(lambda s: s[1] < limit, lambda s: (np.sin(s[0]) * x + 0.1, s[1] + 1.0), (c, 0.0))[0]

    def step(c: Any, xi: Any) -> Any:
        c = cond(xi > 1.5, lambda c: inner(c, xi + 1.0), lambda c: c * c * x, c)
        return c, inner(c, xi) * x

    def outer(s: Any) -> Any:
        c, k = s
        c, ys = scan(step, c, np.array([1.0, 2.0, 0.0]))
        return c + np.sum(ys) * 0.3, k + 1

    return loop(lambda s: s[1] < 2, outer, (x, 0))[0]


def test_loops_in_loops() -> None:
    ours = partial(nested, lax.while_loop, lax.scan, lax.cond)
    theirs = partial(nested, python_while, python_scan, python_cond)
    assert_agrees(ours, theirs, np.float64(0.8))


def test_loops_around_maps_and_calls() -> None:
    def f(loop: Any, call: Any, x: Any) -> Any:
        def body(s: Any) -> Any:
            grow = lambda a: loop(lambda y: y < 2.0, lambda y: y * 1.7 + 0.2 * np.sin(x[0]) * a, a * a + 0.1)
            rows = ft.vmap(grow)(x)
            return s[0] * 0.5 + call(np.sum)(rows * x), s[1] + 1

        return loop(lambda s: s[1] < 2, body, (np.sum(x), 0))[0]

    def unrolled(x: Any) -> Any:
        s = np.sum(x)
        for _ in range(2):
            rows = []
            for a in x:
                y = a * a + 0.1
                while y < 2.0:
                    y = y * 1.7 + 0.2 * np.sin(x[0]) * a
                rows.append(y)
            s = s * 0.5 + np.sum(np.stack(rows) * x)
        return s

    x = np.array([0.7, -1.2, 0.4])
    ours = partial(f, lax.while_loop, ft.jit)
    assert_close(ours(x), unrolled(x))
    for chain in (ft.grad, lambda g: ft.jacrev(ft.grad(g)), lambda g: ft.jacfwd(ft.grad(g))):
        assert_close(chain(ours)(x), chain(unrolled)(x))
        assert_close(ft.jit(chain(ours))(x), chain(unrolled)(x))


def test_a_pullback_used_in_another_loop() -> None:
    """What a loop kept is closed over by the body of another one."""

    def f(x: Any) -> Any:
        y, back = ft.vjp(lambda x: newton(lax.while_loop, x)["x"] * np.sin(x), x)
        total, rows = lax.scan(lambda c, t: (c + back(t)[0] * y, back(t * t)[0]), 0.0, np.array([1.0, 2.0]))
        return total + np.sum(rows) + lax.cond(x > 0.0, lambda: back(y)[0], lambda: 0.0)

    def expected(x: Any) -> Any:
        slope = np.sin(x) * 0.5 / np.sqrt(x) + np.sqrt(x) * np.cos(x)
        y = np.sqrt(x) * np.sin(x)
        return slope * (3.0 * y + 5.0 + y)

    for g, h in ((f, expected), (ft.grad(f), ft.grad(expected))):
        np.testing.assert_allclose(g(2.0), h(2.0), rtol=1e-9)
        np.testing.assert_allclose(ft.jit(g)(2.0), h(2.0), rtol=1e-9)
        check(ft.make_jaxpr(g)(2.0))
    np.testing.assert_allclose(ft.vmap(f)(np.array([2.0, 9.0])), [expected(2.0), expected(9.0)], rtol=1e-9)


def test_the_jaxpr_has_arrays_of_a_size_found_at_run_time() -> None:
    gradient = ft.grad(lambda x: lax.while_loop(lambda s: s[1] < 4, lambda s: (np.sin(s[0]), s[1] + 1), (x, 0))[0])
    jaxpr: Jaxpr = ft.make_jaxpr(gradient)(0.9)
    text = str(jaxpr)
    assert ":size " in text and "length=" in text and "saves=1" in text
    again = from_text(text)
    check(again)
    assert str(again) == text
    (value,) = evaluate(again, [0.9])
    assert value == gradient(0.9)


def test_only_what_the_derivative_needs_is_kept() -> None:
    w = np.linspace(0.1, 0.9, 5)

    def f(x: Any, keep: Any) -> Any:
        def body(s: Any) -> Any:
            y, k = s
            return keep(y), k + 1

        return np.sum(lax.while_loop(lambda s: s[1] < 6, body, (x, 0))[0])

    def saved(keep: Any) -> str:
        return str(ft.make_jaxpr(ft.grad(partial(f, keep=keep)))(np.ones(5)))

    assert "saves=0" in saved(lambda y: y * 0.5 + 1.0)  # linear: only the number of steps is kept
    assert "saves=0" in saved(lambda y: y * np.exp(np.sin(w) * w))  # and what is the same in each step
    assert "saves=1" in saved(lambda y: np.sin(y * np.exp(w)))


def test_residuals_outgrow_their_first_room() -> None:
    def f(x: Any) -> Any:
        return lax.while_loop(lambda s: s[1] < 1000, lambda s: (s[0] + 0.01 * np.sin(s[0]), s[1] + 1), (x, 0))[0]

    def expected(x: Any) -> Any:
        for _ in range(1000):
            x = x + 0.01 * np.sin(x)
        return x

    x = np.array([0.1, 1.3])
    assert_close(ft.jacrev(f)(x), ft.jacrev(expected)(x))


def test_a_condition_on_what_the_loop_is_linear_in() -> None:
    def f(x: Any) -> Any:
        return lax.while_loop(lambda y: y < 10.0, lambda y: y * 2.0, x)

    with pytest.raises(errors.NotDifferentiableError, match="its condition depends on the values"):
        ft.linear_transpose(f, 1.0)(1.0)

    def g(x: Any) -> Any:
        return lax.while_loop(lambda s: s[1] < 3, lambda s: (s[0] * 2.0, s[1] + 1), (x, 0))[0]

    assert ft.linear_transpose(g, 1.0)(1.0) == (8.0,)


def test_dtypes_of_gradients() -> None:
    def f(x: Any) -> Any:
        return np.sum(lax.while_loop(lambda s: s[1] < 3, lambda s: (np.sin(s[0]) * s[0], s[1] + 1), (x, 0))[0])

    for dtype in (np.float32, np.float16):
        x = np.array([0.5, 1.0], dtype)
        assert ft.grad(f)(x).dtype == dtype and ft.jit(ft.grad(f))(x).dtype == dtype
    z = np.array([0.5 + 0.2j, 1.0 - 0.3j])
    check_grads(lambda z: lax.while_loop(lambda s: s[1] < 3, lambda s: (s[0] * s[0] * z, s[1] + 1), (z, 0))[0], (z,), 2)


def test_what_a_loop_in_a_loop_does_besides_is_done_once() -> None:
    """The inner loop runs a second time in reverse mode, and prints nothing then."""
    seen: list[float] = []

    def inner(c: Any) -> Any:
        def step(s: Any) -> Any:
            ft.debug.callback(lambda k: seen.append(int(k)), s[1])
            return np.sin(s[0]), s[1] + 1

        return lax.while_loop(lambda s: s[1] < 2, step, (c, 0))[0]

    def f(x: Any) -> Any:
        return lax.scan(lambda c, t: (inner(c) * t, None), x, np.array([1.0, 2.0]))[0]

    def expected(x: Any) -> Any:
        return 2.0 * np.sin(np.sin(np.sin(np.sin(x))))

    for wrap in (lambda g: g, ft.jit):
        seen.clear()
        assert wrap(ft.grad(f))(0.5) == pytest.approx(ft.grad(expected)(0.5))
        assert seen == [0, 1, 0, 1]


def test_in_the_rule_of_a_custom_jvp() -> None:
    """A rule's linear part is recorded after the loop has run, so that its length is known by then."""
    f = ft.custom_jvp(lambda x: newton(lax.while_loop, x)["x"])
    f.defjvp(lambda primals, tangents: ft.jvp(lambda x: newton(lax.while_loop, x)["x"], primals, tangents))
    for wrap in (lambda g: g, ft.jit):
        assert wrap(ft.grad(f))(4.0) == pytest.approx(0.25)
        assert wrap(ft.grad(ft.grad(f)))(4.0) == pytest.approx(-1 / 32)
        many = np.array([4.0, 9.0, 1e4])
        np.testing.assert_allclose(wrap(ft.vmap(ft.grad(f)))(many), 0.5 / np.sqrt(many), rtol=1e-9)
        np.testing.assert_allclose(wrap(ft.grad(lambda m: np.sum(ft.vmap(f)(m))))(many), 0.5 / np.sqrt(many), rtol=1e-9)
