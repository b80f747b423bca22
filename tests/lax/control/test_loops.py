from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import errors, lax
from functrans.core.jaxpr import Jaxpr
from functrans.test_util import check_grads
from tests.lax.control.programs import assert_agrees, assert_close


def python_while(cond_fun: Any, body_fun: Any, init: Any) -> Any:
    while cond_fun(init):
        init = body_fun(init)
    return init


def python_fori(lower: int, upper: int, body: Any, init: Any) -> Any:
    for i in range(lower, upper):
        init = body(i, init)
    return init


def newton(loop: Any, a: Any) -> Any:
    return loop(
        lambda s: np.abs(s["x"] ** 2 - a) > 1e-13,
        lambda s: {"x": 0.5 * (s["x"] + a / s["x"]), "steps": s["steps"] + 1},
        {"x": 1.0 + 0.5 * a, "steps": 0},
    )


def test_while_is_its_python_loop() -> None:
    for a in (2.0, np.float64(9.0)):
        assert_close(newton(lax.while_loop, a), newton(python_while, a))
        assert_close(ft.jit(partial(newton, lax.while_loop))(a), newton(python_while, a))
    mapped = ft.vmap(partial(newton, lax.while_loop))(np.array([2.0, 9.0, 1e4]))
    np.testing.assert_allclose(mapped["x"], [2.0**0.5, 3.0, 100.0])
    assert mapped["steps"].tolist() == [newton(python_while, a)["steps"] for a in (2.0, 9.0, 1e4)]


def power_above(loop: Any, x: Any) -> Any:
    def body(s: Any) -> Any:
        y, k = s
        return y * np.sin(x) * 3.0 + x, k + 1

    return loop(lambda s: s[1] < 4, body, (x, 0))[0]


def test_forward_mode_through_while() -> None:
    assert_agrees(partial(power_above, lax.while_loop), partial(power_above, python_while), np.float64(0.9), modes="f")
    check_grads(partial(power_above, lax.while_loop), (0.9,), order=2, modes="fwd")
    check_grads(ft.jit(lambda a: newton(lax.while_loop, a)["x"]), (2.0,), order=2, modes="fwd")
    derivative = ft.vmap(ft.jacfwd(lambda a: newton(lax.while_loop, a)["x"]))(np.array([4.0, 25.0]))
    np.testing.assert_allclose(derivative, [0.25, 0.1])


def test_linearize_through_while() -> None:
    value, push = ft.linearize(partial(power_above, lax.while_loop), 0.9)
    expected, tangent = ft.jvp(partial(power_above, python_while), (0.9,), (2.0,))
    assert value == pytest.approx(expected)
    assert push(2.0) == pytest.approx(tangent)


def test_linearize_through_while_around_a_call_that_ignores_an_operand() -> None:
    def f(x: Any) -> Any:
        y = np.sin(x)

        def body(s: Any) -> Any:
            return s[0] + 1, np.sin(s[1]) + np.sum(ft.jit(lambda ignored: s[1])(y))

        return lax.while_loop(lambda s: s[0] < 3, body, (0, y))[1]

    x = np.array([0.3, -0.7])
    value, push = ft.linearize(f, x)
    expected, tangent = ft.jvp(f, (x,), (np.cos(x),))
    np.testing.assert_array_equal(value, expected)
    np.testing.assert_allclose(push(np.cos(x)), tangent, rtol=1e-14)
    np.testing.assert_array_equal(ft.vjp(f, x)[0], f(x))


def test_reverse_mode_beside_a_while_loop_of_constants() -> None:
    def f(x: Any) -> Any:
        n = lax.while_loop(lambda n: n < 10, lambda n: n * 2, 3)
        y, k = lax.while_loop(lambda s: s[1] < 3, lambda s: (s[0], s[1] + 1), (ft.stop_gradient(x), 0))
        return x**2 * n * k + y

    assert ft.grad(f)(2.0) == 2 * 2.0 * 12 * 3
    assert ft.jit(ft.grad(f))(2.0) == 2 * 2.0 * 12 * 3


def test_a_loop_that_never_runs() -> None:
    x = np.array([1.0, 2.0])
    out = lax.while_loop(lambda x: False, lambda x: x * 2.0, x)
    assert out.tolist() == [1.0, 2.0] and not np.shares_memory(out, x)
    assert lax.fori_loop(3, 1, lambda i, c: c * 0, 5.0) == 5.0


def test_numbers_and_captures_in_the_condition() -> None:
    limit = np.array([10.0, 20.0])
    assert lax.while_loop(lambda n: n, lambda n: n - 1, 5) == 0
    grow = lax.while_loop(lambda x: np.all(x < limit), lambda x: x * 2.0, np.ones(2))
    assert grow.tolist() == [16.0, 16.0]
    mapped = ft.vmap(lambda m: lax.while_loop(lambda x: x < m, lambda x: x * 2.0, 1.0))(limit)
    assert mapped.tolist() == [16.0, 32.0]
    nested = ft.vmap(
        lambda m: ft.vmap(lambda s: lax.while_loop(lambda x: x < m, lambda x: x * s, 1.0))(np.array([2.0, 3.0]))
    )
    assert nested(limit).tolist() == [[16.0, 27.0], [32.0, 27.0]]
    assert ft.jit(nested)(limit).tolist() == [[16.0, 27.0], [32.0, 27.0]]


def test_a_number_in_the_carry_takes_the_dtype_of_the_body() -> None:
    out = lax.while_loop(lambda x: x < 3, lambda x: x + np.float32(1.0), 0)
    assert type(out) is np.float32 and out == 3.0


def test_unused_carries_are_dropped() -> None:
    def f(x: Any) -> Any:
        return lax.while_loop(lambda s: s[0] < 3.0, lambda s: (s[0] + 1.0, np.exp(s[1]), s[2] * 2.0), (x, x, x))[2]

    jaxpr: Jaxpr = ft.make_jaxpr(f)(0.5)
    assert "exp" not in str(jaxpr) and len(jaxpr.eqns[0].outs) == 2
    assert ft.jit(f)(0.5) == 4.0


def polynomial(loop: Any, x: Any) -> Any:
    return loop(0, 4, lambda i, s: (s[0] * x + i, s[1] + np.sum(s[0])), (np.ones_like(x), 0.0))


def test_fori_with_known_bounds_is_its_python_loop() -> None:
    x = np.array([0.5, -1.5])
    assert_agrees(partial(polynomial, lax.fori_loop), partial(polynomial, python_fori), x)
    check_grads(partial(polynomial, lax.fori_loop), (x,), order=2)
    for bounds in ((0, 0), (-2, 3), (5, 2), (np.int32(1), np.int64(4))):
        body = lambda i, s: (s[0] + i, s[1] * 2)
        assert_close(lax.fori_loop(*bounds, body, (0, 1)), python_fori(int(bounds[0]), int(bounds[1]), body, (0, 1)))


def test_the_index_is_a_python_int_to_promotion() -> None:
    assert lax.fori_loop(0, 3, lambda i, c: c + i, np.float32(0.0)).dtype == np.float32
    table = np.arange(5.0)
    assert lax.fori_loop(0, 5, lambda i, c: c + ft.numpy.asarray(table)[i], 0.0) == 10.0


def test_fori_with_traced_bounds() -> None:
    def f(n: Any, x: Any) -> Any:
        return lax.fori_loop(1, n, lambda i, c: c * x + i, 1.0)

    expected = [python_fori(1, n, lambda i, c: c * 2.0 + i, 1.0) for n in (0, 1, 3, 5)]
    assert [ft.jit(f)(np.int64(n), 2.0) for n in (0, 1, 3, 5)] == expected
    assert ft.vmap(f, (0, None))(np.array([0, 1, 3, 5]), 2.0).tolist() == expected
    assert ft.jit(ft.vmap(f, (0, None)))(np.array([0, 1, 3, 5], np.int32), 2.0).tolist() == expected
    check_grads(ft.jit(lambda x: f(np.int64(4), x)), (2.0,), order=2, modes="fwd")
    slopes = ft.vmap(ft.jacfwd(f, 1), (0, None))(np.array([1, 3]), 2.0)
    np.testing.assert_allclose(slopes, [0.0, 2 * 2.0 + 1.0])


def test_loops_in_branches_in_loops() -> None:
    def f(fori: Any, cond: Any, x: Any) -> Any:
        def body(i: Any, c: Any) -> Any:
            return cond(
                np.sum(c) > 0.0,
                lambda c: fori(0, 2, lambda k, d: np.sin(d) * x - k, c),
                lambda c: np.cos(c) + x * i,
                c,
            )

        return fori(0, 3, body, x)

    def python_cond(p: Any, yes: Any, no: Any, c: Any) -> Any:
        return yes(c) if p else no(c)

    assert_agrees(partial(f, lax.fori_loop, lax.cond), partial(f, python_fori, python_cond), np.array([0.4, 1.1]))


def test_disable_jit_runs_step_by_step() -> None:
    seen: list[Any] = []

    def body(i: Any, c: Any) -> Any:
        seen.append(i)
        return c * 2.0

    with ft.disable_jit():
        assert lax.fori_loop(0, 3, body, 1.0) == 8.0
        assert seen == [0, 1, 2] and all(type(i) is int for i in seen)
        assert ft.grad(partial(power_above, lax.while_loop))(0.9) == pytest.approx(
            ft.grad(partial(power_above, python_while))(0.9)
        )
        assert newton(lax.while_loop, 4.0)["x"] == pytest.approx(2.0)
        assert ft.vmap(lambda x: newton(lax.while_loop, x)["x"])(np.array([4.0, 9.0])) == pytest.approx([2.0, 3.0])


@pytest.mark.parametrize(
    ("run", "error", "text"),
    [
        (
            lambda: lax.while_loop(lambda s: True, lambda s: {"x": s["x"][None]}, {"x": np.ones(2)}),
            errors.ShapeError,
            r"carry\['x'\] comes in with shape \(2,\).*returns it with shape \(1, 2\)",
        ),
        (
            lambda: lax.while_loop(lambda s: True, lambda s: s * 0.5, np.ones(2, int)),
            errors.DTypeError,
            r"carry comes in as int64.*float64.*astype\(numpy.float64\)",
        ),
        (lambda: lax.while_loop(lambda s: True, lambda s: (s, s), 1.0), errors.TreeStructureError, "structure"),
        (lambda: lax.while_loop(lambda s: s > 0, lambda s: s, np.ones(2)), errors.OutputError, "numpy.any"),
        (lambda: lax.while_loop(lambda s: (True, True), lambda s: s, 1.0), errors.OutputError, "one boolean"),
        (lambda: lax.while_loop(True, lambda s: s, 1.0), errors.ArgumentError, "cond_fun must be a function"),  # type: ignore[arg-type]
        (lambda: lax.fori_loop(0, 2.5, lambda i, c: c, 1.0), errors.ArgumentError, "upper must be an integer, got 2.5"),
        (lambda: lax.fori_loop(0, np.ones(2, int), lambda i, c: c, 1.0), errors.ArgumentError, "upper must be"),
        (
            lambda: ft.jit(lambda n: lax.fori_loop(n, 4, lambda i, c: c, 1.0))(np.float64(1.0)),
            errors.ArgumentError,
            r"lower must be an integer, got a traced value of type f64\[\]",
        ),
    ],
)
def test_errors_name_what_is_wrong(run: Any, error: Any, text: str) -> None:
    with pytest.raises(error, match=text):
        run()
