"""A compiled function inside another transformation demands values as it does alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import errors

MASK = np.array([True, False, True])
X = np.arange(6.0).reshape(2, 3)


def branch(x: Any) -> Any:
    return x**3 if x > 0 else -x


def selecting() -> Callable[[Any], Any]:
    """A fresh function with a compiled one in it, which nobody has traced yet."""

    def f(x: Any) -> Any:
        def inner(u: Any) -> Any:
            return u[..., MASK] ** 2

        return ft.jit(inner)(x)

    return f


def test_a_python_number_decides_a_branch() -> None:
    f = ft.jit(branch)
    assert ft.jit(lambda x: f(x))(2.0) == 8.0
    assert ft.jit(lambda x: f(x))(-2.0) == 2.0
    assert ft.grad(f)(2.0) == 12.0 and ft.grad(f)(-2.0) == -1.0
    assert ft.grad(ft.grad(f))(2.0) == 12.0
    assert ft.jit(ft.grad(ft.jit(ft.grad(f))))(2.0) == 12.0
    assert ft.jvp(f, (2.0,), (0.5,)) == (8.0, 6.0)
    assert ft.grad(ft.jit(partial(lambda a, x: a * x if x > 0 else x, 3.0)))(2.0) == 3.0


def test_a_python_number_decides_a_shape() -> None:
    def repeated(x: Any, n: Any) -> Any:
        return x * np.ones(n)

    np.testing.assert_array_equal(ft.jit(lambda x, n: ft.jit(repeated)(x, n))(2.0, 3), [2.0, 2.0, 2.0])
    rows = ft.vmap(ft.jit(repeated), in_axes=(0, None))
    np.testing.assert_array_equal(rows(np.array([1.0, 2.0]), 2), [[1.0, 1.0], [2.0, 2.0]])
    np.testing.assert_array_equal(ft.jit(rows)(np.array([1.0, 2.0]), 2), [[1.0, 1.0], [2.0, 2.0]])
    assert ft.grad(ft.jit(lambda x, n: ft.jit(repeated)(x, n).sum()))(2.0, 4) == 4.0


def test_the_outer_program_follows_the_value() -> None:
    outer = ft.jit(lambda x: ft.jit(branch)(x))
    assert [outer(x) for x in (2.0, 2.0, -2.0, 2.0, -2.0)] == [8.0, 8.0, 2.0, 8.0, 2.0]
    assert outer.trace_count == 2


def test_a_captured_mask_selects() -> None:
    expected = X[:, [0, 2]] ** 2
    np.testing.assert_array_equal(ft.jit(selecting())(X), expected)
    np.testing.assert_array_equal(ft.jit(ft.vmap(selecting()))(X[None])[0], expected)
    np.testing.assert_array_equal(ft.vmap(ft.jit(selecting()))(X[None])[0], expected)
    slopes = ft.grad(ft.jit(lambda x: np.sum(selecting()(x))))(X)
    np.testing.assert_array_equal(slopes, 2 * X * MASK)


def test_what_nobody_can_know_raises() -> None:
    f = ft.jit(branch)
    with pytest.raises(errors.TracerBoolError):
        ft.vmap(f)(np.ones(3))
    with pytest.raises(errors.TracerBoolError):
        ft.jit(lambda x: f(x.sum()))(np.ones(3))
    with pytest.raises(errors.ConcretizationError, match="lower"):
        ft.jit(lambda x: f.lower(x))(2.0)
