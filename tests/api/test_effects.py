"""Effects: io_callback and functrans.debug, through every transformation and every construct of control flow."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable
from itertools import chain
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import errors, lax

INT = ft.ShapeDtypeStruct((), np.int64)
X = np.array([1.0, 2.0])


class Log(list[Any]):
    """A callback that keeps what it was called with."""

    def __call__(self, *values: Any) -> None:
        self.append(values[0] if len(values) == 1 else values)

    def of(self, f: Callable[..., Any], *args: Any) -> list[Any]:
        """What happens in one call."""
        self.clear()
        f(*args)
        return [v.tolist() if hasattr(v, "tolist") else v for v in self]


@pytest.fixture
def log() -> Log:
    return Log()


def everywhere(f: Callable[..., Any]) -> list[Callable[..., Any]]:
    """The function plain, jitted, differentiated and in combinations, where each effect happens as often."""
    loss = lambda *args: np.sum(f(*args))
    return [
        f,
        ft.jit(f),
        ft.grad(loss),
        ft.jit(ft.grad(loss)),
        ft.grad(ft.jit(loss)),
        ft.value_and_grad(loss),
        ft.hessian(loss),
        ft.jit(ft.hessian(loss)),
        ft.jacfwd(loss),
        ft.grad(ft.checkpoint(loss)),
        ft.jit(ft.grad(ft.checkpoint(loss))),
        lambda *args: ft.jvp(f, args, args),
        lambda *args: ft.vjp(f, *args)[1],
        lambda *args: ft.linearize(f, *args)[1],
    ]


def test_once_in_every_transformation(log: Log) -> None:
    def f(x: Any) -> Any:
        ft.debug.callback(log, np.sum(x))
        y = x**2
        ft.debug.callback(log, np.sum(y), ordered=True)
        return y

    for g in everywhere(f):
        assert log.of(g, X) == [3.0, 5.0]


def test_in_loops(log: Log) -> None:
    def scanned(x: Any) -> Any:
        def step(c: Any, i: Any) -> Any:
            ft.debug.callback(log, c, ordered=True)
            return c * x, i

        return lax.scan(step, x, np.arange(3))[0]

    def whiled(x: Any) -> Any:
        def body(c: Any) -> Any:
            ft.debug.callback(log, c, ordered=True)
            return c * x

        return lax.while_loop(lambda c: c < 10.0, body, x)

    def counted(x: Any) -> Any:
        def body(i: Any, c: Any) -> Any:
            ft.debug.callback(log, c, ordered=True)
            return c * x

        return lax.fori_loop(0, 3, body, x)

    for f in (scanned, whiled, counted):
        for g in everywhere(f):
            assert log.of(g, 2.0) == [2.0, 4.0, 8.0], f


def test_in_branches(log: Log) -> None:
    def f(x: Any) -> Any:
        def yes(x: Any) -> Any:
            ft.debug.callback(log, "yes", x)
            return x**2

        def no(x: Any) -> Any:
            ft.debug.callback(log, "no", x)
            return -(x**2)

        return lax.cond(x > 0, yes, no, x)

    for g in everywhere(f):
        assert log.of(g, 2.0) == [("yes", 2.0)]
        assert log.of(g, -2.0) == [("no", -2.0)]


def test_without_results_or_operands(log: Log) -> None:
    def f(x: Any) -> Any:
        ft.debug.callback(lambda: log("here"))
        lax.cond(x > 0, lambda: ft.debug.callback(lambda: log("there")), lambda: None)
        lax.fori_loop(0, 2, lambda i, c: ft.debug.callback(log, i), None)
        return x

    for g in everywhere(f):
        assert log.of(g, 2.0) == ["here", "there", 0, 1]


def test_the_batch_of_a_branch_is_masked(log: Log) -> None:
    def f(x: Any) -> Any:
        def yes(x: Any) -> Any:
            ft.debug.callback(log, "yes", x)
            return x / 2

        def no(x: Any) -> Any:
            ft.debug.callback(log, "no", x)
            return x + 1

        return lax.cond(x > 2, yes, no, x)

    xs = np.array([1.0, 4.0, 3.0])
    for g in (ft.vmap(f), ft.jit(ft.vmap(f)), ft.vmap(ft.grad(f)), ft.jit(ft.vmap(ft.grad(f)))):
        assert log.of(g, xs) == [("no", 1.0), ("yes", 4.0), ("yes", 3.0)]
    nested = ft.vmap(ft.vmap(f))
    assert log.of(nested, xs.reshape(3, 1)) == [("no", 1.0), ("yes", 4.0), ("yes", 3.0)]

    def chosen(i: Any) -> Any:
        return lax.switch(i, [lambda k=k: (ft.debug.callback(log, k), 1.0 * k)[1] for k in range(3)])

    assert log.of(ft.vmap(chosen), np.array([2, 0, 2, 5])) == [0, 2, 2, 2]

    def deep(x: Any) -> Any:
        return lax.cond(x > 0, lambda x: lax.fori_loop(0, 2, lambda i, c: ft.jit(f)(c), x), lambda x: x, x)

    per_example = [log.of(deep, x) for x in (5.0, -1.0, 1.0)]
    assert sorted(log.of(ft.vmap(deep), np.array([5.0, -1.0, 1.0]))) == sorted(chain.from_iterable(per_example))


def test_examples_that_left_a_loop_have_no_effects(log: Log) -> None:
    def f(x: Any) -> Any:
        def holds(c: Any) -> Any:
            ft.debug.callback(log, "test", c)
            return c > 1

        def body(c: Any) -> Any:
            ft.debug.callback(log, "body", c)
            return c / 2

        return lax.while_loop(holds, body, x)

    xs = np.array([4.0, 1.0, 2.0])
    each = [log.of(f, x) for x in xs]
    assert each[1] == [("test", 1.0)]
    for g in (ft.vmap(f), ft.jit(ft.vmap(f))):
        happened = log.of(g, xs)
        assert sorted(happened) == sorted(chain.from_iterable(each))
        np.testing.assert_array_equal(g(xs), [f(x) for x in xs])


def test_under_vmap_once_for_each_example(log: Log) -> None:
    def f(x: Any, y: Any) -> Any:
        ft.debug.callback(log, x, y)
        ft.debug.callback(lambda: log("plain"))
        return x * y

    for g in (ft.vmap(f, in_axes=(0, None)), ft.jit(ft.vmap(f, in_axes=(0, None)))):
        assert log.of(g, X, 3.0) == [(1.0, 3.0), (2.0, 3.0), "plain", "plain"]
    columns = ft.vmap(lambda x: ft.debug.callback(log, x), in_axes=1)
    assert log.of(columns, np.arange(4.0).reshape(2, 2)) == [[0.0, 2.0], [1.0, 3.0]]

    @ft.custom_jvp
    def ruled(x: Any) -> Any:
        ft.debug.callback(log, x)
        return 2 * x

    ruled.defjvp(lambda primals, tangents: (ruled(*primals), 2 * tangents[0]))
    for g in (ft.vmap(lambda x: x + ruled(1.0)), ft.jit(ft.vmap(lambda x: x + ruled(1.0)))):
        assert log.of(g, X) == [1.0, 1.0]
    assert log.of(ft.jit(lambda x: (ruled(x), x)[1]), 1.0) == [1.0]


def test_ordered_effects_raise_under_vmap(log: Log) -> None:
    def f(x: Any) -> Any:
        ft.io_callback(log, None, x, ordered=True)
        return x

    for g in (ft.vmap(f), ft.jit(ft.vmap(f)), ft.vmap(lambda x: x + f(1.0)), ft.vmap(ft.jit(f)), ft.vmap(ft.grad(f))):
        with pytest.raises(errors.OrderedEffectError, match=r"io_callback.*ordered=True.*vmap"):
            g(X)
    assert log == []


def test_results_of_io_callback() -> None:
    numbers = iter(range(100))

    def draw(shape: tuple[int, ...] = ()) -> Any:
        return ft.io_callback(lambda: next(numbers), INT)

    assert [draw(), ft.jit(draw)(), ft.jit(lambda: (draw(), draw()))()] == [0, 1, (2, 3)]
    np.testing.assert_array_equal(ft.vmap(lambda x: x + draw())(np.zeros(3)), [4.0, 5.0, 6.0])
    np.testing.assert_array_equal(
        ft.vmap(lambda x: lax.cond(x > 0, lambda: draw(), lambda: -1))(np.array([1.0, -1.0, 1.0])), [7, -1, 8]
    )
    assert ft.grad(lambda x: x * draw())(1.0) == 9.0
    assert ft.jit(ft.grad(ft.checkpoint(lambda x: np.sin(x) * draw())))(0.0) == 10.0
    np.testing.assert_allclose(ft.jit(lambda x: lax.scan(lambda c, _: (c + draw(), None), x, length=3)[0])(0.0), 36.0)
    tree = ft.jit(lambda x: ft.io_callback(lambda v: {"a": v[:1], "b": 2}, {"a": X[:1], "b": INT}, x))(X)
    assert tree["a"].tolist() == [1.0] and tree["b"] == 2
    with pytest.raises(errors.OutputError, match="shape"):
        ft.io_callback(lambda: np.ones(2), INT)
    with pytest.raises(errors.OutputError, match="structure"):
        ft.io_callback(lambda: (1, 2), INT)
    with pytest.raises(errors.ArgumentError, match="ordered"):
        ft.io_callback(lambda: 1, INT, ordered="yes")


def test_an_inexact_result_has_no_derivative() -> None:
    def f(x: Any) -> Any:
        return ft.io_callback(lambda v: v, ft.ShapeDtypeStruct((), np.float64), x)

    for g in (ft.grad(f), ft.jit(ft.grad(f)), ft.grad(ft.jit(f)), lambda x: ft.jvp(f, (x,), (x,))):
        with pytest.raises(errors.NotDifferentiableError, match="stop_gradient"):
            g(1.0)
    assert ft.grad(lambda x: x * f(ft.stop_gradient(x)))(3.0) == 3.0


def test_callbacks_get_values_of_their_own(log: Log) -> None:
    def f(x: Any) -> Any:
        ft.debug.callback(log, x)
        ft.debug.callback(lambda v: v.fill(9.0), x)
        return x + 1

    for g in (f, ft.jit(f)):
        x = X.copy()
        g(x)
        x += 5
        np.testing.assert_array_equal(log.pop(), X)
    kinds: list[Any] = []
    ft.jit(lambda x, n: ft.debug.callback(lambda *v: kinds.extend(map(type, v)), x, np.sum(x), n, "text"))(X, 2)
    assert kinds == [np.ndarray, np.float64, int, str]


def test_a_list_that_a_callback_fills_is_no_reason_to_trace_again() -> None:
    history: list[Any] = []

    @ft.jit
    def f(x: Any) -> Any:
        ft.debug.callback(history.append, x)
        lax.fori_loop(0, 2, lambda i, c: ft.debug.callback(lambda v: history.append(v), i), None)
        return x

    for _ in range(3):
        f(X)
    f(np.ones(3))
    assert f.trace_count == 2
    assert [np.shape(h) for h in history] == [(2,), (), ()] * 3 + [(3,), (), ()]


def test_errors_name_the_line_that_called(log: Log) -> None:
    def fails(v: Any) -> Any:
        raise LookupError("no such value")

    def stepping(x: Any) -> Any:
        return ft.pure_callback(fails, INT, x)

    def acting(x: Any) -> Any:
        ft.io_callback(fails, None, x)
        return x

    for f in (stepping, acting):
        for g in (f, ft.jit(f), ft.jit(lambda x: lax.fori_loop(0, 1, lambda i, c: f(c) * 0.0, x))):  # noqa: B023
            with pytest.raises(LookupError, match="no such value") as caught:
                g(1.0)
            (note,) = caught.value.__notes__
            assert "test_effects.py" in note and f"({f.__name__})" in note and "_callback(fails)" in note
            assert "fails" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]


# -- functrans.debug --------------------------------------------------------------------------------------------------


def test_print_formats_when_it_runs(capsys: pytest.CaptureFixture[str]) -> None:
    @ft.jit
    def f(x: Any, params: Any) -> Any:
        ft.debug.print("{0} {n:>3d} {0:} {p[w]} {s!r} {{}}", x, n=x.size, p=params, s="text")
        ft.debug.print("{:.2f} {shape}", np.sum(x), shape=x.shape)
        return x

    f(X, {"w": 2.0})
    assert capsys.readouterr().out == "[1. 2.]   2 [1. 2.] 2.0 'text' {}\n3.00 (2,)\n"
    f(X + 1, {"w": 3.0})
    assert capsys.readouterr().out.startswith("[2. 3.]")
    assert f.trace_count == 1
    ft.debug.print("nothing")
    assert capsys.readouterr().out == "nothing\n"


def test_formats_are_checked_while_tracing() -> None:
    for call, message in (
        (lambda x: ft.debug.print("{} {}", x), "cannot be filled"),
        (lambda x: ft.debug.print("{y}", x=x), "cannot be filled"),
        (lambda x: ft.debug.print("{", x), "cannot be filled"),
        (lambda x: ft.debug.print(f"x = {x}", x), "f-string"),
        (lambda x: ft.debug.print("x", y=x), "'y'"),
        (lambda x: ft.debug.print(x), "format string"),
        (lambda x: ft.debug.log("{} {}", x), "debug.log"),
        (lambda x: ft.debug.log("{}", x, level="info"), "level"),
        (lambda x: ft.debug.callback(x), "the callback must be a function"),
    ):
        with pytest.raises(errors.ArgumentError, match=message):
            ft.jit(call)(1.0)


def test_log(caplog: pytest.LogCaptureFixture) -> None:
    f = ft.jit(lambda x: ft.debug.log("x = {}", x, level=logging.WARNING, logger="steps"))
    g = ft.jit(lambda x: ft.debug.log("x = {}", x, level=logging.DEBUG, logger=logging.getLogger("steps")))
    with caplog.at_level(logging.INFO, logger="steps"):
        f(1.0), g(2.0), f(3.0)
    assert [(r.name, r.levelname, r.getMessage()) for r in caplog.records] == [
        ("steps", "WARNING", "x = 1.0"),
        ("steps", "WARNING", "x = 3.0"),
    ]


def test_breakpoint_shows_values_at_the_users_line(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def hook() -> None:
        frame = sys._getframe(1)
        values = {name: frame.f_locals[name] for name in ("x", "y", "label", "extra")}
        seen.append((frame.f_code.co_name, frame.f_code.co_filename, frame.f_lineno, values))

    monkeypatch.setattr(sys, "breakpointhook", hook)

    def looked_at(x: Any) -> Any:
        y = {"double": 2 * x}
        label = "here"
        ft.debug.breakpoint(extra=x + 1)
        assert label
        return y["double"]

    line = looked_at.__code__.co_firstlineno + 3
    for f in (looked_at, ft.jit(looked_at), ft.grad(looked_at)):
        seen.clear()
        f(3.0)
        ((name, file, at, values),) = seen
        assert (name, file, at) == ("looked_at", __file__, line)
        assert values == {"x": 3.0, "y": {"double": 6.0}, "label": "here", "extra": 4.0}
    seen.clear()
    ft.vmap(looked_at)(X)
    assert [v["x"] for *_, v in seen] == [1.0, 2.0]


def test_the_debugger_itself(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import io
    import pdb

    monkeypatch.setattr(
        sys, "breakpointhook", lambda: pdb.Pdb(stdin=io.StringIO("p y\nc\n")).set_trace(sys._getframe(1))
    )
    monkeypatch.setattr(sys, "stdin", io.StringIO("p y\nc\n"))

    @ft.jit
    def f(x: Any) -> Any:
        y = x + 0.5
        ft.debug.breakpoint()
        return y

    assert f(2.0) == 2.5
    assert "2.5" in capsys.readouterr().out


def test_effects_barrier() -> None:
    assert ft.effects_barrier() is None


def test_what_does_not_depend_on_the_step_happens_in_each_step(log: Log) -> None:
    def f(x: Any) -> Any:
        y = x + 1

        def step(c: Any, v: Any) -> Any:
            ft.debug.callback(log, y)
            ft.debug.callback(log, v)
            return c, v * y

        return lax.scan(step, x, np.array([7.0, 8.0]))[1]

    for g in everywhere(f):
        assert log.of(g, 2.0) == [3.0, 7.0, 3.0, 8.0]
    kept = ft.jit(lambda x: (lax.while_loop(lambda c: c < 2, lambda c: (ft.debug.callback(log, c), c + 1)[1], 0), x)[1])
    assert log.of(kept, 1.0) == [0, 1]


@pytest.mark.parametrize("segment", [None, "sqrt"])
def test_a_scan_that_computes_again_repeats_no_effect(segment: Any) -> None:
    numbers = [0]

    def draw() -> int:
        numbers[0] += 1
        return numbers[0]

    def f(x: Any) -> Any:
        def step(c: Any, _: Any) -> Any:
            return np.sin(c) * ft.io_callback(draw, INT), None

        return lax.scan(step, x, length=4, checkpoint=segment)[0]

    def by_hand(x: Any) -> Any:
        for k in range(1, 5):
            x = np.sin(x) * k
        return x

    for g in (ft.grad(f), ft.jit(ft.grad(f))):
        numbers[0] = 0
        np.testing.assert_allclose(g(1.0), ft.grad(by_hand)(1.0), rtol=1e-13)
        assert numbers == [4]
