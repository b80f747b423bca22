from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import errors, lax
from functrans.core.jaxpr import Jaxpr
from functrans.test_util import check_grads
from tests.lax.control.programs import assert_agrees, assert_close, assert_composes, loss_of

rng = np.random.default_rng(7)
W = rng.normal(size=(3, 3)) * 0.5
XS = rng.normal(size=(4, 3))


def python_scan(f: Any, init: Any, xs: Any = None, length: int | None = None, reverse: bool = False) -> Any:
    n = length if length is not None else len(ft.tree.leaves(xs)[0])
    carry, ys = init, []
    for i in reversed(range(n)) if reverse else range(n):
        carry, y = f(carry, ft.tree.map(lambda x, i=i: x[i], xs))
        ys.append(y)
    if reverse:
        ys.reverse()
    return carry, ft.tree.map(lambda *rows: np.stack(rows), *ys)


def rnn(loop: Any, w: Any, xs: Any, **options: Any) -> Any:
    def step(state: Any, x: Any) -> Any:
        h, k = state
        h = np.tanh(w @ h + x)
        return (h, k + 1), {"sum": np.sum(h) * k, "h": h}

    return loop(step, (np.zeros(3), 0), xs, **options)


@pytest.mark.parametrize("reverse", [False, True])
def test_recurrent_network_is_its_unrolled_loop(reverse: bool) -> None:
    assert_agrees(
        lambda w: rnn(lax.scan, w, XS, reverse=reverse), lambda w: rnn(python_scan, w, XS, reverse=reverse), W
    )


def test_derivatives_in_the_slices() -> None:
    assert_agrees(lambda xs: rnn(lax.scan, W, xs), lambda xs: rnn(python_scan, W, xs), XS)


def test_second_order_against_finite_differences() -> None:
    check_grads(lambda w, xs: loss_of(partial(rnn, lax.scan))(w, xs), (W, XS), order=2)
    check_grads(ft.jit(lambda w, xs: loss_of(partial(rnn, lax.scan))(w, xs)), (W, XS), order=2)


def test_every_order_of_jit_vmap_and_grad() -> None:
    assert_composes(lambda w: rnn(lax.scan, w, XS), W, ft.grad(loss_of(lambda w: rnn(python_scan, w, XS))))


@pytest.mark.parametrize("unroll", [1, 2, 3, 4, 7, True, False])
def test_unrolled_steps_change_nothing(unroll: int | bool) -> None:
    for reverse in (False, True):
        f = partial(rnn, lax.scan, xs=XS, reverse=reverse, unroll=unroll)
        g = partial(rnn, python_scan, xs=XS, reverse=reverse)
        assert_close(f(W), g(W))
        assert_close(ft.jit(ft.grad(loss_of(f)))(W), ft.grad(loss_of(g))(W))


def test_without_slices() -> None:
    def power(loop: Any, r: Any) -> Any:
        return loop(lambda c, _: (c * r, c), 1.0, None, length=3)

    assert power(lax.scan, 2.0)[0] == 8.0
    assert power(lax.scan, 2.0)[1].tolist() == [1.0, 2.0, 4.0]
    assert ft.grad(lambda r: power(lax.scan, r)[0])(2.0) == 12.0
    assert ft.grad(ft.grad(lambda r: power(lax.scan, r)[0]))(2.0) == 12.0


def test_no_steps() -> None:
    def f(w: Any) -> Any:
        return rnn(lax.scan, w, np.zeros((0, 3)))

    (h, k), ys = f(W)
    assert h.tolist() == [0.0] * 3 and k == 0
    assert ys["h"].shape == (0, 3) and ys["sum"].shape == (0,)
    assert_close(ft.jit(f)(W), f(W))
    assert ft.grad(loss_of(f))(W).tolist() == np.zeros((3, 3)).tolist()
    init = np.array([1.0, 2.0])
    last, _ = lax.scan(lambda c, x: (c * x, None), init, np.zeros(0))
    assert last.tolist() == [1.0, 2.0] and not np.shares_memory(last, init)
    assert ft.grad(lambda c: np.sum(lax.scan(lambda c, x: (c * x, None), c, np.zeros(0))[0] * init))(init).tolist() == [
        1.0,
        2.0,
    ]


def test_pytrees_everywhere() -> None:
    def step(carry: Any, x: Any) -> Any:
        a, rest = carry["a"], carry["rest"]
        return {"a": a * x["u"], "rest": [rest[0] + x["v"][0], None]}, (None, [a, x["v"][0]])

    def f(loop: Any, a: Any) -> Any:
        xs = {"u": np.array([2.0, 3.0]), "v": (np.arange(4.0).reshape(2, 2),)}
        return loop(step, {"a": a, "rest": [np.zeros(2), None]}, xs)

    assert_agrees(partial(f, lax.scan), partial(f, python_scan), np.float64(1.5))


def test_two_levels_of_loops() -> None:
    def f(loop: Any, w: Any) -> Any:
        def outer(h: Any, x: Any) -> Any:
            inner, ys = loop(lambda c, i: (np.sin(w @ c) + x, np.sum(c) * i), h, np.arange(3.0))
            return inner, np.sum(ys) * w[0, 0]

        return loop(outer, np.ones(3), XS)

    assert_agrees(partial(f, lax.scan), partial(f, python_scan), W)


def test_a_carry_that_gets_its_tangent_late() -> None:
    # The tangent enters through a and reaches c only after two steps.
    def f(loop: Any, x: Any) -> Any:
        def step(carry: Any, _: Any) -> Any:
            a, b, c, d = carry
            return (a * x, a + b, b * c, d + 1.0), c * d

        return loop(step, (1.0, 2.0, 3.0, 0.5), None, length=4)

    assert_agrees(partial(f, lax.scan), partial(f, python_scan), 1.1)


def test_a_carry_that_forgets_its_input() -> None:
    def f(loop: Any, x: Any) -> Any:
        return loop(lambda c, k: (k * 2.0, c * x + k), x, np.array([1.0, 2.0, 3.0]))

    assert_agrees(partial(f, lax.scan), partial(f, python_scan), np.float64(1.5))


def test_integers_and_booleans_in_the_carry() -> None:
    def f(loop: Any, x: Any) -> Any:
        def step(carry: Any, v: Any) -> Any:
            count, seen, total = carry
            positive = v > 0.0
            return (count + positive, seen | positive, total + np.where(seen, v * v, v)), count

        return loop(step, (0, np.bool_(False), 0.0), x)

    x = np.array([-1.0, 2.0, 3.0, -0.5])
    (count, seen, total), counts = f(lax.scan, x)
    assert (count, bool(seen), total) == (2, True, 2.0 - 1.0 + 9.0 + 0.25)
    assert counts.tolist() == [0, 0, 1, 2]
    assert_agrees(lambda x: f(lax.scan, x)[0][2], lambda x: f(python_scan, x)[0][2], x)


def test_complex_carry() -> None:
    def f(loop: Any, z: Any) -> Any:
        return loop(lambda c, _: (c * z + 1.0, c), 1.0 + 0.0j, None, length=3)[0]

    z = 0.3 + 0.4j
    assert f(lax.scan, z) == pytest.approx(f(python_scan, z))
    assert ft.grad(lambda z: np.abs(f(lax.scan, z)))(z) == pytest.approx(
        ft.grad(lambda z: np.abs(f(python_scan, z)))(z)
    )
    check_grads(lambda z: f(lax.scan, z), (z,), order=2)


def test_float32_stays_float32() -> None:
    x = np.float32(1.5)
    total, ys = lax.scan(lambda c, v: (c + v * x, v), np.float32(0.0), np.ones(3, np.float32))
    assert total.dtype == np.float32 and ys.dtype == np.float32
    assert ft.grad(lambda x: lax.scan(lambda c, v: (c * x, None), x, np.ones(3))[0])(x).dtype == np.float32


def test_python_numbers_in_the_carry_take_the_dtype_of_the_body() -> None:
    total, _ = lax.scan(lambda c, v: (c + v, None), 0.0, np.ones(3, np.float32))
    assert type(total) is np.float32 and total == 3.0
    total, _ = lax.scan(lambda c, v: (c + v, None), 0, np.array([0.5, 1.0]))
    assert type(total) is np.float64 and total == 1.5
    pair, _ = lax.scan(lambda c, v: ((c[1], c[1] + v), None), (0, 1), np.array([1.5, 1.0]))
    assert pair == (2.5, 3.5)
    kept, _ = lax.scan(lambda c, v: (1, None), np.float32(0.0), np.ones(2))
    assert type(kept) is np.float32 and kept == 1.0


def test_an_equal_fresh_lambda_is_not_traced_again() -> None:
    traces = []

    def run(scale: Any, table: Any) -> Any:
        def step(c: Any, x: Any) -> Any:
            traces.append(1)
            return c * scale + table["t"][0] * x, None

        return lax.scan(step, np.float64(1.0), np.ones(2))[0]

    one, two = np.array(2.0), np.array(3.0)
    assert run(one, {"t": [np.array(1.0)]}) == 7.0
    first = len(traces)
    assert run(two, {"t": [np.array(2.0)]}) == 17.0
    assert run(np.array(2.0), {"t": [np.array(0.0)]}) == 4.0
    assert len(traces) == first
    grads = ft.grad(lambda s, t: run(s, {"t": [t]}), (0, 1))
    assert grads(2.0, 1.0) == (5.0, 3.0)
    again = len(traces)
    assert grads(3.0, 2.0) == (8.0, 4.0)
    assert len(traces) == again
    run(2.5, {"t": [np.array(0.0)]})
    assert len(traces) > again


def test_captured_arrays_are_read_when_the_loop_runs() -> None:
    table = np.array([1.0, 2.0])

    def run() -> Any:
        return lax.scan(lambda c, x: (c + np.sum(table) * x, None), 0.0, np.ones(2))[0]

    assert run() == 6.0
    table[:] = 10.0
    assert run() == 40.0


def test_a_captured_list_that_the_body_writes_to() -> None:
    log: list[Any] = [np.zeros(2)]

    def step(c: Any, x: Any) -> Any:
        log.append("a step was traced")
        return c + log[0][0] * x, None

    assert lax.scan(step, 1.0, np.ones(2))[0] == 1.0
    assert log[-1] == "a step was traced"


def test_results_own_their_memory() -> None:
    a, b = np.zeros(3), np.ones(3)
    (c, d, e), ys = lax.scan(lambda s, x: ((s[1], s[0], a), s[0]), (a, b, a), None, length=2)
    arrays = [c, d, e, ys]
    for i, x in enumerate(arrays):
        assert not any(np.shares_memory(x, other) for other in [a, b, *arrays[:i]])
        assert x.flags.writeable


def test_disable_jit_runs_step_by_step() -> None:
    seen = []

    def step(c: Any, x: Any) -> Any:
        seen.append(float(ft.stop_gradient(x)))
        return c * x, c

    def f(c: Any, reverse: bool) -> Any:
        return lax.scan(step, c, np.array([1.0, 2.0, 3.0]), reverse=reverse)

    with ft.disable_jit():
        last, ys = f(2.0, True)
        assert seen == [3.0, 2.0, 1.0]
        assert last == 12.0 and ys.tolist() == [12.0, 6.0, 2.0]
        assert ft.grad(lambda c: f(c, False)[0])(2.0) == 6.0


def test_unused_results_and_carries_are_not_computed() -> None:
    def f(x: Any) -> Any:
        def step(carry: Any, v: Any) -> Any:
            a, b, c = carry
            return (a * v, b + np.exp(c), c * 2.0), (np.log(b), a)

        (a, _, _), (_, ys) = lax.scan(step, (x, 1.0, 0.5), np.array([1.0, 2.0]))
        return a, ys

    jaxpr: Jaxpr = ft.make_jaxpr(f)(1.5)
    (eqn,) = [e for e in jaxpr.eqns if e.prim.name == "scan"]
    assert eqn.params["n_carry"] == 1 and len(eqn.outs) == 2
    assert "exp" not in str(jaxpr) and "log" not in str(jaxpr)
    assert ft.jit(f)(1.5)[0] == 3.0


def test_linear_in_its_input_and_transposed() -> None:
    def f(x: Any) -> Any:
        def step(carry: Any, i: Any) -> Any:
            c, k = carry
            return (c * (k + 1.0) + x, k + 1), c * i

        (c, _), ys = lax.scan(step, (x, 0), np.array([1.0, 2.0, 3.0]))
        return c, ys

    example = np.array([1.0, 2.0])
    ct = (np.array([1.0, -1.0]), np.arange(6.0).reshape(3, 2))
    (transposed,) = ft.linear_transpose(f, example)(ct)
    (pulled,) = ft.vjp(f, example)[1](ct)
    np.testing.assert_allclose(transposed, pulled)


def test_map_is_vmap_of_one_at_a_time() -> None:
    xs = np.arange(6.0).reshape(3, 2)

    def f(row: Any) -> Any:
        return {"s": np.sum(row), "r": row * 2.0}

    assert_close(lax.map(f, xs), ft.vmap(f)(xs))
    assert_close(lax.map(lambda p: p[0] * p[1], (xs, xs)), xs * xs)
    assert_close(ft.grad(lambda x: np.sum(lax.map(np.sin, x)))(xs), np.cos(xs))
    assert_close(ft.jit(ft.vmap(lambda x: lax.map(np.sin, x)))(xs), np.sin(xs))


def test_nans_are_found_inside() -> None:
    def f(x: Any) -> Any:
        return lax.scan(lambda c, v: (np.sqrt(c - v), None), x, np.ones(3))[0]

    with ft.debug_nans(), pytest.raises(errors.NonFiniteError, match=r"sqrt.*test_scan\.py"):
        f(1.5)
    with ft.debug_nans(), pytest.raises(errors.NonFiniteError, match=r"sqrt.*test_scan\.py"):
        ft.jit(f)(1.5)


@pytest.mark.parametrize(
    ("run", "error", "text"),
    [
        (
            lambda: lax.scan(lambda c, x: ({"h": c["h"][:2]}, x), {"h": np.ones(3)}, np.ones(2)),
            errors.ShapeError,
            r"carry\['h'\] comes in with shape \(3,\) \(type f64\[3\]\) and the body returns it with shape \(2,\)",
        ),
        (
            lambda: lax.scan(lambda c, x: ([c[0], c[1] * x], x), [1.0, np.zeros(3, int)], np.ones(2)),
            errors.DTypeError,
            r"carry\[1\] comes in as int64 \(type i64\[3\]\) and the body returns it as float64.*\.astype",
        ),
        (
            lambda: lax.scan(lambda c, x: ((c, c), x), 1.0, np.ones(2)),
            errors.TreeStructureError,
            r"the carry.*leaf.*as it comes in.*tuple of 2.*as the body returns it",
        ),
        (lambda: lax.scan(lambda c, x: c, 1.0, np.ones(2)), errors.OutputError, r"pair \(carry, y\)"),
        (lambda: lax.scan(lambda c, x: (c, "y"), 1.0, np.ones(2)), errors.OutputError, r"its result\[1\].*str"),
        (lambda: lax.scan(lambda c, x: (c, x), "init", np.ones(2)), errors.ArgumentError, "init.*str"),
        (
            lambda: lax.scan(lambda c, x: (c, x), 1.0, {"a": np.ones(2), "b": np.ones(3)}),
            errors.ShapeError,
            r"xs\['b'\] has shape \(3,\), which gives 3 steps, and xs\['a'\] gives 2",
        ),
        (lambda: lax.scan(lambda c, x: (c, x), 1.0, np.ones(2), length=3), errors.ShapeError, "length gives 3"),
        (lambda: lax.scan(lambda c, x: (c, x), 1.0, 2.0), errors.ShapeError, "xs is a scalar"),
        (lambda: lax.scan(lambda c, x: (c, x), 1.0), errors.ArgumentError, "length="),
        (lambda: lax.scan(lambda c, x: (c, x), 1.0, length=-1), errors.ArgumentError, "negative"),
        (lambda: lax.scan(lambda c, x: (c, x), 1.0, length=1.5), errors.ArgumentError, "int, got 1.5"),
        (lambda: lax.scan(lambda c, x: (c, x), 1.0, np.ones(2), unroll=0), errors.ArgumentError, "unroll"),
        (lambda: lax.scan(3.0, 1.0, np.ones(2)), errors.ArgumentError, "f must be a function"),  # type: ignore[arg-type]
        (lambda: lax.map(3.0, np.ones(2)), errors.ArgumentError, "f must be a function"),  # type: ignore[arg-type]
    ],
)
def test_errors_name_what_is_wrong(run: Any, error: Any, text: str) -> None:
    with pytest.raises(error, match=text):
        run()
