"""What the tests of control flow share: comparing a program with the same one unrolled in Python."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

import functrans as ft
from functrans.core.check import check
from functrans.core.jaxpr import Jaxpr


def assert_close(a: Any, b: Any, rtol: float = 1e-9) -> None:
    """Equal structure, shapes and dtypes; values equal to rounding."""
    found, tree = ft.tree.flatten(a)
    expected, other = ft.tree.flatten(b)
    assert tree == other, f"{tree} != {other}"
    for x, y in zip(found, expected, strict=True):
        assert np.asarray(x).dtype == np.asarray(y).dtype, f"{x!r} and {y!r}"
        assert np.shape(x) == np.shape(y), f"{x!r} and {y!r}"
        np.testing.assert_allclose(x, y, rtol=rtol, atol=rtol)


def loss_of(f: Callable[..., Any]) -> Callable[..., Any]:
    """The sum of squares of the inexact results."""

    def loss(*args: Any) -> Any:
        total: Any = 0.0
        for leaf in ft.tree.leaves(f(*args)):
            if np.dtype(leaf.dtype if hasattr(leaf, "dtype") else type(leaf)).kind in "fc":
                total = total + np.sum(leaf * leaf)
        return total

    return loss


def assert_agrees(f: Callable[..., Any], unrolled: Callable[..., Any], *args: Any, modes: str = "fr") -> None:
    """Values, derivatives of first and second order and maps of ``f`` are those of ``unrolled``, jitted or not.

    The first argument is a float array or number, in which both are differentiated.
    """
    x, *rest = args
    assert_close(f(*args), unrolled(*args))
    assert_close(ft.jit(f)(*args), unrolled(*args))
    jaxpr: Jaxpr = ft.make_jaxpr(f)(*args)
    check(jaxpr)
    g, h = (lambda x: loss_of(f)(x, *rest)), (lambda x: loss_of(unrolled)(x, *rest))
    many = np.stack([x, np.multiply(x, 0.5), np.multiply(x, -1.25)])
    orders: list[tuple[Callable[..., Any], ...]] = []
    if "f" in modes:
        orders += [(ft.jacfwd,), (ft.jacfwd, ft.jacfwd)]
    if "r" in modes:
        orders += [(ft.jacrev,), (ft.jacrev, ft.jacrev), (ft.jacrev, ft.jacfwd), (ft.jacfwd, ft.jacrev)]
    for chain in orders:
        ours, theirs = g, h
        for transform in chain:
            ours, theirs = transform(ours), transform(theirs)
        expected = theirs(x)
        assert_close(ours(x), expected)
        assert_close(ft.jit(ours)(x), expected)
        check(ft.make_jaxpr(ours)(x))
        rows = np.stack([np.asarray(theirs(row)) for row in many])
        assert_close(ft.vmap(ours)(many), rows)
        assert_close(ft.jit(ft.vmap(ours))(many), rows)
    rows = np.stack([h(row) for row in many])
    assert_close(ft.vmap(g)(many), rows)
    if "r" in modes:
        assert_close(
            ft.grad(lambda m: np.sum(ft.vmap(g)(m)))(many), np.stack([np.asarray(ft.grad(h)(row)) for row in many])
        )


def assert_composes(f: Callable[..., Any], x: Any, expected: Any) -> None:
    """Every order of jit around and inside of vmap and grad gives one gradient, row by row."""
    g = loss_of(f)
    many = np.stack([x, np.multiply(x, 0.5)])
    rows = np.stack([np.asarray(expected(row)) for row in many])
    for a, b, c in itertools.product((False, True), repeat=3):
        inner = ft.jit(g) if a else g
        derived = ft.grad(inner)
        derived = ft.jit(derived) if b else derived
        mapped = ft.vmap(derived)
        mapped = ft.jit(mapped) if c else mapped
        assert_close(mapped(many), rows)
