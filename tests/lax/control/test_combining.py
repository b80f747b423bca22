"""``associative_scan``, ``reduce_window`` with a function, ``map`` by batches and ``platform_dependent``."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import errors, lax
from functrans.core.check import check
from functrans.test_util import check_grads
from tests.lax.control.programs import assert_agrees, assert_close

rng = np.random.default_rng(11)
X = rng.normal(size=(2, 7, 3))


def running(fn: Any, elems: Any, reverse: bool = False, axis: int = 0) -> Any:
    """What ``associative_scan`` is: a loop."""
    rows = ft.tree.map(lambda x: np.moveaxis(x, axis, 0), elems)
    n = len(ft.tree.leaves(rows)[0])
    order = range(n - 1, -1, -1) if reverse else range(n)
    outs: list[Any] = [None] * n
    last: Any = None
    for i in order:
        now = ft.tree.map(lambda x, i=i: x[i], rows)
        last = now if last is None else fn(last, now)
        outs[i] = last
    return ft.tree.map(lambda *ys: np.moveaxis(np.stack(ys), 0, axis), *outs)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8, 9])
@pytest.mark.parametrize("reverse", [False, True])
def test_running_combinations(n: int, reverse: bool) -> None:
    ints = np.arange(1, n + 1)
    assert_close(lax.associative_scan(np.add, ints, reverse=reverse), running(np.add, ints, reverse))
    maps = {"a": X[0, :n] if n < 8 else rng.normal(size=(n, 3)), "b": rng.normal(size=(min(n, 7) if n < 8 else n, 3))}
    compose = lambda f, g: {"a": f["a"] * g["a"], "b": g["a"] * f["b"] + g["b"]}
    assert_close(lax.associative_scan(compose, maps, reverse=reverse), running(compose, maps, reverse))
    # Not commutative: products of matrices.
    matrices = rng.normal(size=(n, 2, 2))
    assert_close(lax.associative_scan(np.matmul, matrices, reverse=reverse), running(np.matmul, matrices, reverse))


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2])
def test_running_combinations_along_any_axis(axis: int) -> None:
    assert_close(lax.associative_scan(np.maximum, X, axis=axis), np.maximum.accumulate(X, axis=axis))
    both = lax.associative_scan(lambda a, b: (a[0] + b[0], a[1] + b[1]), (X, X * 2), axis=axis, reverse=True)
    assert_close(both[1], np.flip(np.cumsum(np.flip(X * 2, axis), axis), axis))


def test_derivatives_of_running_combinations() -> None:
    compose = lambda f, g: (f[0] * g[0], g[0] * f[1] + g[1])
    elems = (rng.normal(size=5), rng.normal(size=5))

    def ours(a: Any) -> Any:
        return lax.associative_scan(compose, (a, elems[1]))[1]

    assert_agrees(ours, lambda a: running(compose, (a, elems[1]))[1], elems[0])
    assert lax.associative_scan(np.add, np.zeros((0, 3))).shape == (0, 3)


def test_the_work_grows_with_the_number_of_elements() -> None:
    def counted(n: int) -> tuple[int, int]:
        calls: list[int] = []

        def fn(a: Any, b: Any) -> Any:
            calls.append(len(a))
            return a + b

        lax.associative_scan(fn, np.ones(n))
        return len(calls), sum(calls)

    calls, work = counted(1024)
    assert calls <= 2 * 10 and work <= 2 * 1024


def test_errors_of_running_combinations() -> None:
    cases: list[tuple[Any, Any, str]] = [
        (lambda: lax.associative_scan(np.add, (np.ones(3), np.ones(4))), errors.ShapeError, "one extent"),
        (lambda: lax.associative_scan(np.add, np.ones(3), axis=1), errors.ShapeError, "no axis 1"),
        (lambda: lax.associative_scan(lambda a, b: (a, b), np.ones(3)), errors.TreeStructureError, "structure"),
        (lambda: lax.associative_scan(lambda a, b: a[:, None], np.ones(4)), errors.ShapeError, "must have the shape"),
        (lambda: lax.associative_scan(np.add, ()), errors.ArgumentError, "no array"),
        (lambda: lax.associative_scan(3, np.ones(2)), errors.ArgumentError, "fn must be a function"),
    ]
    for run, error, text in cases:
        with pytest.raises(error, match=text):
            run()


# -- windows ----------------------------------------------------------------------------------------------------------


def windows(x: Any, init: Any, f: Any, window: Any, strides: Any, pads: Any, base: Any, apart: Any) -> Any:
    """What ``reduce_window`` is: loops, for two axes."""
    shape = [(n - 1) * b + 1 for n, b in zip(x.shape, base, strict=True)]
    wide = np.full(shape, init)
    wide[:: base[0], :: base[1]] = x
    wide = np.pad(wide, pads, constant_values=init)
    reach = [(k - 1) * a + 1 for k, a in zip(window, apart, strict=True)]
    out = np.zeros([(n - r) // s + 1 for n, r, s in zip(wide.shape, reach, strides, strict=True)])
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            total = init
            for k in range(window[0]):
                for m in range(window[1]):
                    total = f(total, wide[i * strides[0] + k * apart[0], j * strides[1] + m * apart[1]])
            out[i, j] = total
    return out


@pytest.mark.parametrize(
    "place",
    [
        ((2, 3), (1, 1), ((0, 0), (0, 0)), (1, 1), (1, 1)),
        ((2, 2), (2, 1), ((1, 0), (0, 2)), (1, 1), (1, 1)),
        ((2, 2), (1, 2), ((0, 1), (1, 1)), (2, 1), (1, 2)),
    ],
)
def test_windows_reduced_by_a_function(place: Any) -> None:
    x = X[0, :4, :]
    either = lambda a, b: a + b - a * b
    assert_close(lax.reduce_window(x, 0.25, either, *place), windows(x, 0.25, either, *place))
    assert_close(ft.jit(lambda x: lax.reduce_window(x, 0.25, either, *place))(x), windows(x, 0.25, either, *place))
    check_grads(lambda x: lax.reduce_window(x, 0.25, either, *place), (x,), order=2)
    # A sum from another number than zero counts that for what lies outside, too.
    assert_close(lax.reduce_window(x, 1.5, lax.add, *place), windows(x, 1.5, np.add, *place))


def test_windows_of_known_functions_are_the_native_ones() -> None:
    x = X[0]
    for f, init, native in [
        (np.add, 0.0, lax.reduce_window_sum),
        (lax.max, -np.inf, lax.reduce_window_max),
        (np.minimum, np.inf, lax.reduce_window_min),
    ]:
        assert_close(lax.reduce_window(x, init, f, (2, 2)), native(x, (2, 2)))
        jaxpr = ft.make_jaxpr(lambda x, f=f, init=init: lax.reduce_window(x, init, f, (2, 2)))(x)
        assert len(jaxpr.eqns) == 1


def test_windows_of_pytrees_and_errors() -> None:
    x = np.array([3.0, 1.0, 2.0, 5.0])
    first = lambda a, b: (np.maximum(a[0], b[0]), np.where(a[0] >= b[0], a[1], b[1]))
    top, place = lax.reduce_window((x, np.arange(4)), (-np.inf, -1), first, (2,))
    assert top.tolist() == [3.0, 2.0, 5.0] and place.tolist() == [0, 2, 3]
    mapped = ft.vmap(lambda x: lax.reduce_window(x, 1.0, lambda a, b: a * b, (2,)))(np.stack([x, 2 * x]))
    assert mapped.tolist() == [[3.0, 2.0, 10.0], [12.0, 8.0, 40.0]]
    with pytest.raises(errors.TreeStructureError, match="structure of the operand"):
        lax.reduce_window(x, (0.0, 0.0), np.add, (2,))
    with pytest.raises(errors.ShapeError, match="one number of dtype float64"):
        lax.reduce_window(x, np.ones(2), np.add, (2,))


# -- map -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_map_by_batches(size: int) -> None:
    xs = {"a": X[0, :5], "b": np.arange(5)}

    def f(x: Any) -> Any:
        return np.sum(x["a"]) * x["b"], {"c": np.sin(x["a"])}

    assert_close(lax.map(f, xs, batch_size=size), lax.map(f, xs))
    loss = lambda a, how: np.sum(lax.map(f, {"a": a, "b": xs["b"]}, **how)[0] ** 2)
    gradient = ft.grad(loss)
    assert_close(gradient(xs["a"], {"batch_size": size}), gradient(xs["a"], {}))
    check(ft.make_jaxpr(lambda a: loss(a, {"batch_size": size}))(xs["a"]))


def test_map_by_batches_of_nothing_and_errors() -> None:
    assert lax.map(np.sin, np.zeros((0, 2)), batch_size=3).shape == (0, 2)
    for wrong in (0, -2, 1.5, "2"):
        with pytest.raises(errors.ArgumentError, match="batch_size must be a positive int"):
            lax.map(np.sin, np.ones(3), batch_size=wrong)  # type: ignore[arg-type]
    with ft.disable_jit():
        assert lax.map(np.sin, np.ones(3), batch_size=2).shape == (3,)


# -- platforms -----------------------------------------------------------------------------------------------------


def test_the_function_of_the_platform_runs() -> None:
    f = partial(lax.platform_dependent, cpu=lambda x: np.sin(x), cuda=lambda x: np.cos(x))
    g = partial(lax.platform_dependent, cuda=lambda x: np.cos(x), default=lambda x: np.sin(x) * 2.0)
    x = np.array([0.3, 1.1])
    for h, scale in ((f, 1.0), (g, 2.0)):
        assert_close(h(x), scale * np.sin(x))
        assert_close(ft.jit(h)(x), scale * np.sin(x))
        assert_close(ft.grad(lambda x, h=h: np.sum(h(x)))(x), scale * np.cos(x))
        assert_close(ft.jit(ft.vmap(h))(x), scale * np.sin(x))
    with pytest.raises(errors.ArgumentError, match="'tpu' is no platform"):
        lax.platform_dependent(x, tpu=np.sin)
    only = partial(lax.platform_dependent, cuda=np.cos)
    for run in (only, ft.jit(only)):
        with pytest.raises(errors.ArgumentError, match="no function for the platform of numpy"):
            run(x)
    with pytest.raises(errors.ArgumentError, match="pass a function for a platform"):
        lax.platform_dependent(x)
