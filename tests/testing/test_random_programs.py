"""Random programs, each transformed in every way, and compared with itself as plain NumPy runs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, assume, event, given, settings
from hypothesis import strategies as st

import functrans as ft
from functrans.core.trace import aval_of
from tests.testing.random_programs import Program, programs

Function = Callable[..., Any]
LARGE = 1e6
# A program that fails is short enough to be read as it is; to shorten it takes minutes, which look like a hang.
MORE = settings(max_examples=settings().max_examples, phases=[p for p in Phase if p is not Phase.shrink])
EXTENT = pytest.mark.parametrize("extent", ["some", pytest.param("many", marks=pytest.mark.full)])


def is_float(x: Any) -> bool:
    return bool(aval_of(x).dtype == np.float64)


def same(found: Any, expected: Any, exact: bool = True) -> None:
    """Two results agree in structure and in the type, dtype, shape and (with ``exact``) bits of every leaf."""
    ours, tree = ft.tree.flatten(found)
    theirs, expected_tree = ft.tree.flatten(expected)
    assert tree == expected_tree
    for a, b in zip(ours, theirs, strict=True):
        assert type(a) is type(b), f"{a!r} has type {type(a)}, expected {b!r}"
        assert aval_of(a) == aval_of(b)
        if exact:
            np.testing.assert_array_equal(a, b)
    close(found, expected, 1e-13)


def close(found: Any, expected: Any, tolerance: float = 1e-9) -> None:
    """Two results agree in structure, dtype and shape, and in value up to a share of the largest number in them."""
    ours, tree = ft.tree.flatten(found)
    theirs, expected_tree = ft.tree.flatten(expected)
    assert tree == expected_tree
    scale = max([1.0, *[float(np.max(np.abs(b), initial=0.0)) for b in theirs]])
    for a, b in zip(ours, theirs, strict=True):
        assert aval_of(a).dtype == aval_of(b).dtype
        assert aval_of(a).shape == aval_of(b).shape
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * scale)


def moderate(values: Any) -> bool:
    """Whether numbers are finite and small enough to be compared."""
    return all(np.all(np.abs(v) < LARGE) for v in ft.tree.leaves(values))


def loss_of(f: Function) -> Function:
    """A number made of all the floats that a function returns."""

    def loss(*args: Any) -> Any:
        total: Any = 0.0
        for k, leaf in enumerate(ft.tree.leaves(f(*args))):
            if is_float(leaf):
                total = total + np.sum(np.sin(leaf + k))
        return total

    return loss


def nearby(args: Any, k: int) -> Any:
    """The arguments of the k-th example of a batch; those of the first are the given ones."""
    return ft.tree.map(lambda x: x + 1e-3 * k * np.cos(np.arange(np.size(x), dtype=float).reshape(np.shape(x))), args)


def batch_of(args: Any, size: int = 3) -> Any:
    return ft.tree.map(lambda *rows: np.stack(rows), *[nearby(args, k) for k in range(size)])


def directions(args: Any) -> Any:
    return ft.tree.map(lambda x: np.cos(np.arange(1.0, np.size(x) + 1)).reshape(np.shape(x))[()] * 0.5, args)


def along(f: Function, args: Any, tangents: Any, step: float) -> float:
    """A directional derivative by a fourth-order difference."""
    at = [
        float(f(*ft.tree.map(lambda x, t, s=s: x + s * step * t, args, tangents)))  # type: ignore[misc]
        for s in (-2, -1, 1, 2)
    ]
    return (at[0] - 8 * at[1] + 8 * at[2] - at[3]) / (12 * step)


@EXTENT
@MORE
@given(program=programs())
def test_values(program: Program, extent: str) -> None:
    f, args = program.function, program.args
    kept = ft.tree.map(np.copy, args)
    with np.errstate(all="ignore"):
        expected = f(*args)
        compiled = ft.jit(f)
        for _ in range(2):
            found = compiled(*args)
            same(found, expected, program.exact)
        # Neither the results nor what is compiled shares memory with arguments, and nobody wrote to them.
        for leaf in ft.tree.leaves(found):
            assert not any(np.shares_memory(leaf, x) for x in ft.tree.leaves(args))
        close(ft.tree.map(np.asarray, args), ft.tree.map(np.asarray, kept), 0.0)
        rows = [ft.tree.map(np.asarray, f(*nearby(args, k))) for k in range(3)]
        close(ft.vmap(f)(*batch_of(args)), ft.tree.map(lambda *r: np.stack(r), *rows))
        moved = ft.tree.map(lambda x: np.moveaxis(x, 0, -1), batch_of(args))
        close(ft.jit(ft.vmap(f, in_axes=-1))(*moved), ft.tree.map(lambda *r: np.stack(r), *rows))


@EXTENT
@MORE
@given(program=programs())
def test_gradients(program: Program, extent: str) -> None:
    args = program.args
    loss = loss_of(program.function)
    every = tuple(range(len(args)))
    with np.errstate(all="ignore"):
        value, gradient = ft.value_and_grad(loss, argnums=every)(*args)
        close(value, np.float64(loss(*args)))
        assume(moderate(gradient))
        for g, x in zip(ft.tree.leaves(gradient), ft.tree.leaves(args), strict=True):
            assert aval_of(g).dtype == np.float64 and np.shape(g) == np.shape(x)
        close(ft.jit(ft.grad(loss, argnums=every))(*args), gradient)
        close(ft.grad(ft.jit(loss), argnums=every)(*args), gradient)
        mapped = ft.vmap(ft.grad(loss, argnums=every))(*batch_of(args))
        close(ft.tree.map(lambda g: g[0], mapped), gradient)
        tangents = directions(args)
        value, tangent = ft.jvp(loss, args, tangents)
        close(value, np.float64(loss(*args)))
        inner = sum(np.sum(g * t) for g, t in zip(ft.tree.leaves(gradient), ft.tree.leaves(tangents), strict=True))
        close(np.float64(tangent), np.float64(inner))
        coarse, fine = (along(loss, args, tangents, step) for step in (2e-4, 1e-4))
        # Where two steps disagree the function bends too much for a difference to tell anything.
        told = abs(coarse - fine) < 1e-7 * max(1.0, abs(fine))
        event(f"differences tell: {told}")
        if told:
            close(np.float64(tangent), np.float64(fine), 1e-5)


# -- stacks of transformations ----------------------------------------------------------------------------------------


def each(f: Function) -> Function:
    """What ``vmap`` is: a loop."""

    def mapped(*args: Any) -> Any:
        size = np.shape(ft.tree.leaves(args)[0])[0]
        rows = [f(*ft.tree.map(lambda x, k=k: x[k], args)) for k in range(size)]  # type: ignore[misc]
        return ft.tree.map(lambda *r: np.stack(r), *rows)

    return mapped


def pushed(f: Function) -> Function:
    return lambda *args: ft.jvp(f, args, ft.tree.map(np.cos, args))[1]


def pushed_linear(f: Function) -> Function:
    return lambda *args: ft.linearize(f, *args)[1](*ft.tree.map(np.cos, args))


def gradient(f: Function) -> Function:
    return lambda *args: ft.grad(loss_of(f), argnums=tuple(range(len(args))))(*args)


def pulled(f: Function) -> Function:
    def pull(*args: Any) -> Any:
        out, back = ft.vjp(lambda *xs: [x for x in ft.tree.leaves(f(*xs)) if is_float(x)], *args)
        return back(ft.tree.map(np.sin, out))

    return pull


# A transformation, and the same by other means.
STACKED: dict[str, tuple[Function, Function]] = {
    "jit": (ft.jit, lambda f: f),
    "vmap": (ft.vmap, each),
    "grad": (gradient, gradient),
    "jvp": (pushed, pushed_linear),
    "vjp": (pulled, lambda f: pulled(ft.jit(f))),
}


@EXTENT
@MORE
@given(program=programs(lines=4, depth=1), names=st.lists(st.sampled_from(list(STACKED)), min_size=1, max_size=3))
def test_stacks(program: Program, names: list[str], extent: str) -> None:
    found = expected = lambda *args: [x for x in ft.tree.leaves(program.function(*args)) if is_float(x)]
    args = program.args
    for name in names:
        transformation, other = STACKED[name]
        found, expected = transformation(found), other(expected)
        if name == "vmap":
            args = batch_of(args, 2)
    with np.errstate(all="ignore"):
        ours, theirs = found(*args), expected(*args)
        assume(moderate(theirs))
        close(ft.tree.map(np.asarray, ours), ft.tree.map(np.asarray, theirs), 1e-7)
