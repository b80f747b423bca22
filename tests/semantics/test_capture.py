"""What a compiled function captures: arrays by reference, other values by comparison at each call."""

from __future__ import annotations

import functools
import gc
import tracemalloc
from typing import Any

import numpy as np
import pytest

import functrans as ft

SCALE = 2.0
TABLE = np.arange(3.0)
X = np.ones(3)
DEFAULT = np.full(3, 2.0)


def reads_globals(x: np.ndarray) -> Any:
    return x * SCALE + TABLE


def test_a_captured_array_is_read_with_its_current_contents() -> None:
    buffer = np.ones(3)
    f = ft.jit(lambda x: x * buffer)
    np.testing.assert_array_equal(f(X), X)
    buffer[:] = 3
    np.testing.assert_array_equal(f(X), 3 * X)
    assert f.trace_count == 1


def test_what_numpy_computes_from_a_captured_array_is_not_frozen() -> None:
    buffer = np.ones(3)
    f = ft.jit(lambda x: x * np.sin(buffer[1:]).sum())
    first = f(X)
    buffer[:] = 2
    np.testing.assert_array_equal(f(X), X * np.sin(buffer[1:]).sum())
    assert not np.array_equal(first, f(X))


@pytest.mark.parametrize(
    "wrap",
    [
        ft.grad,
        ft.value_and_grad,
        ft.hessian,
        lambda f: ft.grad(ft.jit(f)),
        lambda f: ft.vmap(ft.grad(f), in_axes=None, axis_size=2),
    ],
)
def test_captures_are_seen_through_transformations(wrap: Any) -> None:
    buffer = np.ones(3)
    scale = 2.0

    def loss(x: np.ndarray) -> Any:
        return np.sum(x**2 * np.cos(buffer)) * scale

    f = ft.jit(wrap(loss))

    def check() -> None:
        for a, b in zip(ft.tree.leaves(f(X)), ft.tree.leaves(wrap(loss)(X)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-14)

    check()
    buffer[:] = 0.5
    check()
    assert f.trace_count == 1
    scale = 3.0
    check()
    assert f.trace_count == 2


def test_a_rebound_array_of_the_same_type_is_no_new_trace() -> None:
    buffer = np.ones(3)
    f = ft.jit(lambda x: x * buffer)
    f(X)
    buffer = np.full(3, 7.0)
    np.testing.assert_array_equal(f(X), 7 * X)
    assert f.trace_count == 1
    buffer = np.float32(2)
    np.testing.assert_array_equal(f(X), 2 * X)
    assert f.trace_count == 2


def test_a_rebound_scalar_traces_again() -> None:
    tol = 1.0
    f = ft.jit(lambda x: x * tol)
    f(X)
    tol = 4.0
    np.testing.assert_array_equal(f(X), 4 * X)
    tol = 1.0
    np.testing.assert_array_equal(f(X), X)
    assert f.trace_count == 2
    assert "tol" in f.explain()


def test_globals_are_compared() -> None:
    global SCALE
    f = ft.jit(reads_globals)
    np.testing.assert_array_equal(f(X), X * 2 + TABLE)
    SCALE = 3.0
    try:
        np.testing.assert_array_equal(f(X), X * 3 + TABLE)
        TABLE[0] += 1
        np.testing.assert_array_equal(f(X), X * 3 + TABLE)
        assert f.trace_count == 2
    finally:
        SCALE = 2.0
        TABLE[0] -= 1


class Model:
    def __init__(self) -> None:
        self.scale = 2.0
        self.weights = np.ones(3)
        self.calls = 0

    def predict(self, x: np.ndarray) -> Any:
        return x * self.scale * self.weights

    @ft.jit
    def jitted(self, x: np.ndarray) -> Any:
        return x * self.scale * self.weights

    def __call__(self, x: np.ndarray) -> Any:
        return x * self.scale


@pytest.mark.parametrize("make", [lambda m: ft.jit(m.predict), lambda m: m.jitted])
def test_attributes_of_self_are_compared(make: Any) -> None:
    model = Model()
    f = make(model)
    np.testing.assert_array_equal(f(X), 2 * X)
    model.scale = 5.0
    np.testing.assert_array_equal(make(model)(X), 5 * X)
    model.weights[:] = 2
    np.testing.assert_array_equal(make(model)(X), 10 * X)
    model.weights = np.full(3, 3.0)
    np.testing.assert_array_equal(f(X), 15 * X)


def test_a_bound_method_jitted_twice_is_traced_once() -> None:
    model = Model()
    for _ in range(3):
        f = ft.jit(model.predict)
        f(X)
        model.calls += 1
    assert f.trace_count == 1
    for _ in range(3):
        model.jitted(X)
    assert model.jitted.trace_count == 1


def test_callable_objects_and_partials() -> None:
    model = Model()
    f = ft.jit(model)
    np.testing.assert_array_equal(f(X), 2 * X)
    model.scale = 3.0
    np.testing.assert_array_equal(f(X), 3 * X)
    g = ft.jit(functools.partial(lambda a, x, *, b: a * x + b, np.full(3, 2.0), b=1.0))
    np.testing.assert_array_equal(g(X), 2 * X + 1)


def test_defaults_are_captured() -> None:
    def f(x: np.ndarray, w: np.ndarray = DEFAULT, *, s: float = 3.0) -> Any:
        return x * w * s

    j = ft.jit(f)
    np.testing.assert_array_equal(j(X), 6 * X)
    f.__kwdefaults__["s"] = 4.0
    np.testing.assert_array_equal(j(X), 8 * X)
    np.testing.assert_array_equal(j(X, s=1.0), 2 * X)


def test_a_fresh_equal_lambda_hits_the_cache() -> None:
    counts = []
    for k in (2.0, 2.0, 2.0):
        f = ft.jit(lambda x: x * k)  # noqa: B023
        f(X)
        counts.append(f.trace_count)
    assert counts == [1, 1, 1]


def test_different_lambdas_on_one_line_are_told_apart() -> None:
    f, g = ft.jit(lambda x: x * 2.0), ft.jit(lambda x: x * 3.0)
    np.testing.assert_array_equal(f(X), 2 * X)
    np.testing.assert_array_equal(g(X), 3 * X)


def test_a_captured_array_that_decides_a_branch_is_guarded_by_its_contents() -> None:
    mask = np.array([True, False, True])
    f = ft.jit(lambda x: x[mask] if mask[0] else x[:1])
    np.testing.assert_array_equal(f(np.arange(3.0)), [0.0, 2.0])
    mask[2] = False
    np.testing.assert_array_equal(f(np.arange(3.0)), [0.0])
    mask[0] = False
    np.testing.assert_array_equal(f(np.arange(3.0)), [0.0])


def test_captured_tracers_of_an_enclosing_transformation() -> None:
    def outer(a: Any) -> Any:
        return ft.jit(lambda x: x * a)(3.0) * a

    assert ft.grad(outer)(2.0) == 12.0
    np.testing.assert_array_equal(ft.vmap(outer)(np.arange(3.0)), 3 * np.arange(3.0) ** 2)
    assert ft.jit(ft.grad(outer))(2.0) == 12.0


def test_recursion_through_a_global_function() -> None:
    f = ft.jit(lambda x: x * helper(x))
    assert f(2.0) == 8.0


def helper(x: Any) -> Any:
    return x + 2


def test_thousands_of_lambdas_do_not_grow_memory() -> None:
    def burn(n: int) -> None:
        for _ in range(n):
            f = eval("lambda x: x * 2.0")
            f.__code__ = f.__code__.replace(co_firstlineno=np.random.default_rng().integers(1, 2**30).item())
            ft.jit(f)(X)

    ft.clear_caches()  # What other tests left in them is not traced, and to replace it would look like growth.
    gc.collect()
    tracemalloc.start()
    try:
        burn(700)
        gc.collect()
        base = tracemalloc.get_traced_memory()[0]
        burn(1000)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - base
    finally:
        tracemalloc.stop()
    # Kept, a thousand programs would take some 8 MB.
    assert grown < 400_000


def test_the_cache_is_bounded() -> None:
    f = ft.jit(lambda x: x * 2.0)
    for n in range(1, ft.config.cache_size + 40):
        f(np.ones(n))
    assert len(f.cache.programs) <= ft.config.cache_size
    f.clear_cache()
    assert len(f.cache.programs) == 0
    f(X)


def test_what_a_captured_container_holds_is_compared() -> None:
    params = {"w": np.ones(3), "scale": [2.0]}
    f = ft.jit(lambda x: x * params["w"] * params["scale"][0])
    np.testing.assert_array_equal(f(X), 2 * X)
    params["w"][:] = 3
    np.testing.assert_array_equal(f(X), 6 * X)
    assert f.trace_count == 1
    params["w"] = np.full(3, 5.0)
    np.testing.assert_array_equal(f(X), 10 * X)
    params["scale"][0] = 4.0
    np.testing.assert_array_equal(f(X), 20 * X)
    params["new"] = None
    np.testing.assert_array_equal(f(X), 20 * X)


def test_a_donated_argument_may_become_the_result() -> None:
    x = np.arange(3.0)
    assert ft.jit(lambda x, y: x, donate_argnums=0)(x, x + 1) is x
    assert ft.jit(lambda x, y: x, donate_argnums=1)(x, x + 1) is not x
    first, second = ft.jit(lambda x: (x, x), donate_argnums=0)(x)
    assert not np.shares_memory(first, second)
    with pytest.raises(ft.errors.StaticArgumentError):
        ft.jit(lambda x: x, static_argnums=0, donate_argnums=0)
    with pytest.raises(ft.errors.StaticArgumentError):
        ft.jit(lambda x: x, donate_argnums=3)


class Configured:
    def __init__(self) -> None:
        self.w = np.zeros(3)

    def f(self, x: np.ndarray) -> Any:
        return x * np.exp(self.w)


def test_what_numpy_computes_from_attributes_and_containers_is_not_stale() -> None:
    model = Configured()
    f = ft.jit(model.f)
    config = {"w": [np.zeros(3)]}
    g = ft.jit(lambda x: x * np.exp(config["w"][0]))
    np.testing.assert_array_equal(f(X), X)
    np.testing.assert_array_equal(g(X), X)
    model.w[:] = 1
    config["w"][0][:] = 1
    np.testing.assert_array_equal(f(X), X * np.exp(1.0))
    np.testing.assert_array_equal(g(X), X * np.exp(1.0))


def test_what_the_function_itself_changes_is_no_reason_to_trace_again() -> None:
    count, log = 0, []

    @ft.jit
    def f(x: np.ndarray) -> Any:
        nonlocal count
        count += 1
        log.append(count)
        return x * 2

    for _ in range(3):
        f(X)
    assert count == 1 and log == [1]


def test_captured_arrays_become_static_where_a_shape_needs_their_contents() -> None:
    mask, idx, x = np.array([True, False, True]), np.array([0, 1, 1]), np.arange(3.0)
    programs: list[Any] = [
        lambda x: x[mask],
        lambda x: np.compress(mask, x),
        lambda x: ft.numpy.bincount(idx, weights=x),
        lambda x: np.repeat(x, idx),
        lambda x: x[idx[0] : 2],
        lambda x: (np.nonzero(mask)[0], x),
        lambda x: x[np.flatnonzero(mask)],
        lambda x: ft.numpy.zeros(idx[2]) + x[0],
    ]
    for f in programs:
        for j, expected in (
            (ft.jit(f), f(x)),
            (ft.jit(lambda x, f=f: ft.tree.leaves(f(x))[0]), ft.tree.leaves(f(x))[0]),
        ):
            for a, b in zip(ft.tree.leaves(j(x)), ft.tree.leaves(expected), strict=True):
                np.testing.assert_array_equal(a, b)
    f = ft.jit(lambda x: x[mask])
    mask[1] = True
    np.testing.assert_array_equal(f(x), x)
