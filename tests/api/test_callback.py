"""Python code inside of traced functions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import errors

SCALAR = ft.ShapeDtypeStruct((), np.float64)


def gamma(x: Any, **options: Any) -> Any:
    return ft.pure_callback(lambda v: math.gamma(v), SCALAR, x, **options)


@ft.custom_jvp
def cube(x: Any) -> Any:
    return ft.pure_callback(lambda v: v**3, SCALAR, x, vmap_method="sequential")


cube.defjvp(lambda primals, tangents: (cube(primals[0]), 3 * primals[0] ** 2 * tangents[0]))


def test_it_is_called_with_concrete_values() -> None:
    assert gamma(5.0) == 24.0
    assert ft.jit(gamma)(5.0) == 24.0
    tree = ft.jit(lambda d: ft.pure_callback(lambda d: {"n": d["x"].sum()}, {"n": SCALAR}, d))({"x": np.ones(3)})
    assert tree == {"n": 3.0}


def test_batching() -> None:
    xs = np.array([1.0, 2.0, 5.0])
    expected = [1.0, 1.0, 24.0]
    np.testing.assert_array_equal(ft.vmap(lambda x: gamma(x, vmap_method="sequential"))(xs), expected)
    np.testing.assert_array_equal(ft.jit(ft.vmap(lambda x: gamma(x, vmap_method="sequential")))(xs), expected)
    shapes = []

    def added(a: Any, b: Any) -> Any:
        shapes.append((a.shape, b.shape))
        return a + b

    for method in ("expand_dims", "broadcast_all"):
        out = ft.vmap(lambda x: ft.pure_callback(added, SCALAR, x, 1.0, vmap_method=method))(xs)  # noqa: B023
        np.testing.assert_array_equal(out, xs + 1)
    assert shapes == [((3,), (1,)), ((3,), (3,))]
    with pytest.raises(errors.MissingRuleError, match="vmap_method"):
        ft.vmap(gamma)(xs)


def test_it_has_no_derivative_but_takes_one() -> None:
    with pytest.raises(errors.NotDifferentiableError, match="pure_callback"):
        ft.grad(gamma)(5.0)
    assert ft.grad(cube)(2.0) == 12.0
    assert ft.jit(ft.grad(ft.grad(cube)))(2.0) == 12.0
    np.testing.assert_array_equal(ft.vmap(ft.grad(cube))(np.array([1.0, 2.0])), [3.0, 12.0])


def test_results_are_checked() -> None:
    with pytest.raises(errors.OutputError, match="shape"):
        ft.jit(lambda x: ft.pure_callback(lambda v: np.ones(2), SCALAR, x))(1.0)
    with pytest.raises(errors.OutputError, match="structure"):
        ft.jit(lambda x: ft.pure_callback(lambda v: (v, v), SCALAR, x))(1.0)
    with pytest.raises(errors.ArgumentError, match="vmap_method"):
        gamma(1.0, vmap_method="loop")


def test_a_captured_array_reaches_the_callback() -> None:
    table = np.array([1.0, 2.0, 3.0])
    out = ft.ShapeDtypeStruct((3,), np.float64)
    f = ft.jit(lambda x: ft.pure_callback(lambda v: v + table, out, x))
    np.testing.assert_array_equal(f(np.zeros(3)), [1.0, 2.0, 3.0])
    table[0] = 5.0
    np.testing.assert_array_equal(f(np.zeros(3)), [5.0, 2.0, 3.0])
    shifted = ft.jit(lambda x, t: ft.pure_callback(lambda v: v + t, out, x))
    np.testing.assert_array_equal(shifted(table, 2.0), table + 2)


def test_a_captured_traced_value_has_to_be_an_argument() -> None:
    out = ft.ShapeDtypeStruct((), np.float64)
    with pytest.raises(errors.ConcretizationError, match=r"captures.*'x'.*argument"):
        ft.jit(lambda x: ft.pure_callback(lambda v: v * x, out, 1.0))(np.array(2.0))
    with pytest.raises(errors.ConcretizationError, match="argument"):
        ft.grad(lambda x: ft.pure_callback(lambda v: v * x, out, 1.0))(2.0)


def test_a_traced_value_kept_from_a_trace_that_has_ended() -> None:
    kept = []

    def f(x: Any) -> Any:
        kept.append(x)
        return x * 2.0

    ft.jit(f)(2.0)
    with pytest.raises(errors.LeakedTracerError):
        bool(kept[0])
