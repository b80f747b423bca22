"""A call of control flow that was prepared gives what the first one gave, and is told from every other."""

from __future__ import annotations

import types
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import errors, lax

Pair = namedtuple("Pair", "a b")
A = np.arange(6.0)
SCALE = 2.0


def described(result: Any) -> list[Any]:
    leaves, tree = ft.tree.flatten(result)
    return [tree, *[(type(x), getattr(x, "dtype", None), np.shape(x), np.asarray(x).tolist()) for x in leaves]]


class Model:
    scale = 3.0

    def step(self, c: Any, x: Any) -> Any:
        return c * self.scale + x, c


CALLS: dict[str, Callable[[], Any]] = {
    "fori": lambda: lax.fori_loop(0, 3, lambda i, c: c * 0.5 + A * i, np.zeros(6)),
    "fori between other bounds": lambda: lax.fori_loop(-2, 2, lambda i, c: c + i, 0),
    "fori without steps": lambda: lax.fori_loop(3, 1, lambda i, c: c + A[i], 0.0),
    "fori of NumPy's integers": lambda: lax.fori_loop(np.int64(0), np.int32(4), lambda i, c: c + i, np.int8(3)),
    "scan": lambda: lax.scan(lambda c, x: (c + x, c), 0.0, A),
    "scan from the end": lambda: lax.scan(lambda c, x: (c + x, (c, A)), 0, A, reverse=True),
    "scan of rows": lambda: lax.scan(lambda c, x: (c @ x, c), np.eye(2), np.ones((3, 2, 2))),
    "scan of all steps at once": lambda: lax.scan(lambda c, x: (x, (c is None, x * 2.0)), 0.0, A),
    "scan without slices": lambda: lax.scan(lambda c, _: (c * 2, c), 1, length=4),
    "scan without steps": lambda: lax.scan(lambda c, x: (c + A[0] * x, np.zeros(2)), 0.0, np.zeros(0)),
    "scan of structures": lambda: lax.scan(
        lambda c, x: (Pair(c.a + x["u"], {"k": c.b["k"] * 2}), [None, c.a]), Pair(0, {"k": 1}), {"u": A}
    ),
    "scan of a list": lambda: lax.scan(lambda c, x: ([c[1], c[0] + x], ()), [0.0, 1.0], A),
    "while": lambda: lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * 2.0 + A), (0, A)),
    "while that never runs": lambda: lax.while_loop(lambda c: c < 0, lambda c: c + 1, 5),
    "while on a boolean": lambda: lax.while_loop(lambda c: c[0], lambda c: (c[1] < 4, c[1] + 1), (True, 0)),
    "map": lambda: lax.map(lambda x: {"x": x, "y": x * A}, A),
    "map of a ufunc": lambda: lax.map(np.sqrt, A),
    "cond": lambda: lax.cond(A[0] > 0.0, lambda x: x, lambda x: x[::-1], A),
    "cond of a ufunc": lambda: lax.cond(True, np.sqrt, lambda x: 0.0, 4.0),
    "cond on captures": lambda: lax.cond(False, lambda: A, lambda: (A + 1.0) * SCALE),
    "switch": lambda: lax.switch(7, [lambda x: x, lambda x: x + 1, lambda x: x * 2], 3),
    "switch below": lambda: lax.switch(np.int64(-1), [lambda: (A, None), lambda: (A * 2.0, None)]),
    "an array without axes": lambda: lax.fori_loop(0, 2, lambda i, c: np.where(c > 1.0, c, c + 1.0), np.array(0.5)),
    "a method": lambda: lax.scan(Model().step, 0.0, A),
    "a default": lambda: lax.fori_loop(0, 3, lambda i, c, k=2.0, *, w=A: c * k + w, np.zeros(6)),
    "nothing": lambda: lax.fori_loop(0, 3, lambda i, c: c, None),
}


@pytest.mark.parametrize("name", CALLS)
def test_every_call_gives_the_same(name: str) -> None:
    before = A.copy()
    results = [CALLS[name]() for _ in range(5)]
    for result in results[1:]:
        assert described(result) == described(results[0])
        arrays = [x for x in ft.tree.leaves(result) if isinstance(x, np.ndarray)]
        assert not any(np.shares_memory(x, A) or not x.flags.writeable for x in arrays)
        assert not any(np.shares_memory(x, y) for i, x in enumerate(arrays) for y in arrays[:i])
    assert described(ft.jit(CALLS[name])()) == described(results[0])
    np.testing.assert_array_equal(A, before)


def thrice(f: Callable[[], Any]) -> Any:
    results = [f() for _ in range(3)]
    assert described(results[0]) == described(results[2])
    return results[2]


def test_captured_values_that_change_are_seen() -> None:
    scale, w, options = 2.0, np.ones(2), {"w": np.ones(2), "k": 1.0}

    def body(i: Any, c: Any) -> Any:
        return c * scale + w + options["w"] * options["k"]

    def run() -> Any:
        return thrice(lambda: lax.fori_loop(0, 1, body, np.ones(2))).tolist()

    assert run() == [4.0, 4.0]
    scale = 3.0
    assert run() == [5.0, 5.0]
    w[0] = 5.0
    assert run() == [9.0, 5.0]
    w = np.zeros(2)
    assert run() == [4.0, 4.0]
    options["w"] = np.full(2, 10.0)
    assert run() == [13.0, 13.0]
    options["k"] = 0.0
    assert run() == [3.0, 3.0]
    w = np.float32(1.0) * np.ones(2, np.float32)
    assert run() == [4.0, 4.0]


def test_globals_and_defaults_that_change_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def body(c: Any, x: Any, k: Any = 1.0) -> Any:
        return c + x * SCALE * k, None

    run = lambda: thrice(lambda: lax.scan(body, 0.0, A))[0]
    assert run() == 30.0
    monkeypatch.setitem(globals(), "SCALE", 3.0)
    assert run() == 45.0
    body.__defaults__ = (2.0,)
    assert run() == 90.0
    body.__defaults__ = None
    with pytest.raises(TypeError):
        run()


def test_a_method_is_found_by_its_object_and_what_it_reads_there() -> None:
    model, other = Model(), Model()
    other.scale = 0.0
    run = lambda m: thrice(lambda: lax.scan(m.step, 0.0, A))[0]
    assert run(model) == 179.0 and run(other) == 5.0
    model.scale = 1.0
    assert run(model) == 15.0 and run(other) == 5.0
    assert thrice(lambda: lax.scan(lambda c, x: Model.step(other, c, x), 0.0, A))[0] == 5.0


def test_functions_of_one_code_in_two_modules_are_told_apart() -> None:
    def body(i: Any, c: Any) -> Any:
        return c + SCALE

    other = types.FunctionType(body.__code__, {"SCALE": 100.0})
    assert thrice(lambda: lax.fori_loop(0, 2, body, 0.0)) == 2 * SCALE
    assert thrice(lambda: lax.fori_loop(0, 2, other, 0.0)) == 200.0


def test_operands_of_other_types_are_told_apart() -> None:
    def run(init: Any, xs: Any = None) -> Any:
        return thrice(lambda: lax.fori_loop(0, 2, lambda i, c: ft.tree.map(lambda x: x + x, c), init))

    for init in (1, 1.5, np.float32(1.0), np.int64(1), np.ones(2), np.ones(3), np.ones(2, np.float32), np.array(1.0)):
        expected = init + init + init + init
        assert described(run(init))[1] == described(expected)[1]
    for tree in ((1, 2.0), [1, 2.0], {"a": 1, "b": 2.0}, Pair(1, 2.0), {"b": 1, "a": 2.0}):
        assert ft.tree.structure(run(tree)) == ft.tree.structure(tree)
    assert thrice(lambda: lax.fori_loop(0, 1, lambda i, c: c + 1, 2**63 - 1)) == -(2**63)
    total = lambda xs: lax.scan(lambda c, x: (c + np.sum(x), None), 0.0, xs)[0]
    for xs in (np.ones(3), np.ones(5), np.ones((3, 2)), np.ones((2, 3, 2)), np.ones(4, np.float32)):
        assert thrice(lambda xs=xs: total(xs)) == xs.size


def test_a_transformation_around_goes_the_long_way() -> None:
    def f(x: Any) -> Any:
        return lax.fori_loop(0, 3, lambda i, c: c * x, x)

    assert thrice(lambda: f(2.0)) == 16.0
    assert ft.grad(f)(2.0) == 32.0 and ft.jit(f)(2.0) == 16.0 and ft.vmap(f)(np.array([1.0, 2.0])).tolist() == [1, 16]
    seen = []
    with ft.disable_jit():
        lax.fori_loop(0, 3, lambda i, c: seen.append(i) or c * 2.0, 2.0)
    assert seen == [0, 1, 2]


def test_errors_stay_as_they_are() -> None:
    good = lambda: lax.scan(lambda c, x: (c + x, None), 0.0, A)
    thrice(good)
    for _ in range(3):
        with pytest.raises(errors.ShapeError, match="which gives 6 steps, and length gives 5"):
            lax.scan(lambda c, x: (c + x, None), 0.0, A, length=5)
        with pytest.raises(errors.ArgumentError, match="must be an integer"):
            lax.fori_loop(0, 2.0, lambda i, c: c, 0.0)
        with pytest.raises(errors.ShapeError, match="one boolean"):
            lax.cond(A > 0, lambda: 1, lambda: 2)


def test_other_passes_and_nan_checks_are_heeded() -> None:
    run = lambda: lax.fori_loop(0, 3, lambda i, c: np.log(c) * 0.0, np.float64(1.0))
    with np.errstate(all="ignore"):
        for _ in range(3):
            run()
    with ft.debug_nans(True), pytest.raises(errors.NonFiniteError):
        run()


def test_a_call_is_found_by_what_it_is_and_not_kept_alive() -> None:
    import gc
    import weakref

    class Weights(np.ndarray):
        pass

    w = np.ones(3).view(Weights)
    ref = weakref.ref(w)
    for _ in range(4):
        lax.fori_loop(0, 2, lambda i, c, w=w: c + w, np.zeros(3))
    del w
    gc.collect()
    assert ref() is None


def test_the_functions_of_control_flow_stand_at_the_top_as_well() -> None:
    assert (ft.while_loop, ft.fori_loop, ft.scan) == (lax.while_loop, lax.fori_loop, lax.scan)
    assert (ft.cond, ft.switch) == (lax.cond, lax.switch)


def test_a_python_branch_in_a_body_says_where_it_may_stand() -> None:
    f = ft.jit(lambda xs: lax.scan(lambda c, x: (c + x if x > 0 else c, None), 0.0, xs)[0], specialize=4)
    with pytest.raises(errors.TracerBoolError, match=r"no paths of its own.*may stand outside"):
        f(A)
    outside = ft.jit(lambda xs, k: lax.scan(lambda c, x: (c + x if k > 0 else c - x, None), 0.0, xs)[0], specialize=4)
    assert outside(A, 1.0) == 15.0 and outside(A, -1.0) == -15.0
