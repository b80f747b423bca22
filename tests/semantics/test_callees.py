"""What the functions read that a compiled function calls, and how long what was compiled lives."""

from __future__ import annotations

import functools
import gc
import types
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import functrans as ft

X = np.ones(3)
RATE = 2.0
TABLE = {"slope": 2.0}
WEIGHTS = np.ones(3)


def scaled(x: Any) -> Any:
    return deeper(x) * RATE


def deeper(x: Any) -> Any:
    return x * TABLE["slope"] + np.sum(WEIGHTS)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: scaled(x),
        functools.partial(lambda y, x: scaled(x) + y, 0.0),
        ft.value_and_grad(lambda x: np.sum(scaled(x))),
        lambda x: ft.jit(scaled)(x),
        lambda x: ft.lax.cond(True, scaled, scaled, x),
        lambda x: ft.lax.fori_loop(0, 2, lambda i, c: scaled(c), x),
    ],
)
def test_what_callees_read_is_compared(f: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    here = globals()
    g = ft.jit(f)

    def check(traces: int) -> None:
        for _ in range(2):
            for a, b in zip(ft.tree.leaves(g(X)), ft.tree.leaves(f(X)), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-14)
        assert g.trace_count == traces

    check(1)
    monkeypatch.setitem(here, "RATE", 5.0)
    check(2)
    assert "the global 'RATE' of scaled changed from 2.0 to 5.0" in g.explain()
    monkeypatch.setitem(TABLE, "slope", 7.0)
    check(3)
    monkeypatch.setitem(here, "WEIGHTS", np.full(3, 4.0))
    check(4)
    monkeypatch.setitem(here, "deeper", lambda x: x - 1)
    check(5)


def test_control_flow_in_eager_mode_sees_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def run() -> Any:
        return ft.lax.fori_loop(0, 2, lambda i, c: scaled(c), X)

    before = run()
    monkeypatch.setitem(globals(), "RATE", 3.0)
    np.testing.assert_allclose(run(), scaled(scaled(X)))
    assert not np.array_equal(run(), before)


def test_closures_of_callees() -> None:
    rate = 2.0

    def helper(x: Any) -> Any:
        return x * rate

    f = ft.jit(lambda x: helper(x))
    np.testing.assert_array_equal(f(X), 2 * X)
    rate = 3.0
    np.testing.assert_array_equal(f(X), 3 * X)


class Model:
    def __init__(self) -> None:
        self.scale = 2.0
        self._shift = 1.0
        self.unused = 0

    @property
    def shift(self) -> float:
        return self._shift

    def inner(self, x: Any) -> Any:
        return x * self.scale + self.shift

    def predict(self, x: Any) -> Any:
        return self.inner(x)

    @ft.jit
    def compiled(self, x: Any) -> Any:
        return self.inner(x)


def test_attributes_that_other_methods_read() -> None:
    model = Model()
    predict = ft.jit(model.predict)
    for f in (predict, lambda x: model.compiled(x)):
        model.scale, model._shift = 2.0, 1.0
        np.testing.assert_array_equal(f(X), 3 * X)
        model.scale = 3.0
        np.testing.assert_array_equal(f(X), 4 * X)
        model._shift = 2.0
        np.testing.assert_array_equal(f(X), 5 * X)
    model.scale, model._shift = 2.0, 1.0
    predict(X)
    traced = predict.trace_count
    model.unused += 1
    predict(X)
    assert predict.trace_count == traced


def test_members_of_the_users_modules(tmp_path: Path) -> None:
    module = types.ModuleType("settings")
    module.__file__ = str(tmp_path / "settings.py")
    exec(compile("rate = 2.0\ndef twice(x):\n    return x * rate\n", module.__file__, "exec"), module.__dict__)
    f = ft.jit(eval("lambda x: settings.twice(x) + settings.rate", {"settings": module}))
    np.testing.assert_array_equal(f(X), 4 * X)
    module.rate = 3.0
    np.testing.assert_array_equal(f(X), 6 * X)


def test_what_nobody_reads_costs_nothing() -> None:
    f = ft.jit(lambda x: np.sin(x) * 2.0)
    f(X)
    (program,) = f.cache.recent
    assert not [place for place, _ in program.guards if place.kind == "callee"]


def test_a_method_keeps_neither_its_object_nor_its_programs() -> None:
    model = Model()
    predict = ft.jit(model.predict)
    predict(X), model.compiled(X)
    assert ft.jit(model.predict).trace_count == 1
    watcher, cache = weakref.ref(model), weakref.ref(predict.cache)
    del model, predict
    gc.collect()
    assert watcher() is None and cache() is None


def test_objects_of_one_place_in_memory_are_told_apart() -> None:
    for scale in range(20):
        model = Model()
        model.scale = float(scale)
        np.testing.assert_array_equal(ft.jit(model.predict)(X), scale * X + 1)
        del model


def test_an_object_without_weak_references() -> None:
    class Slotted:
        __slots__ = ("scale",)

        def predict(self, x: Any) -> Any:
            return x * self.scale

    model = Slotted()
    model.scale = 2.0
    np.testing.assert_array_equal(ft.jit(model.predict)(X), 2 * X)
