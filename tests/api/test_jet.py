"""jet: derivatives along a path, against nested forward mode, for every primitive and through control flow."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import errors
from functrans.core.jaxpr import Jaxpr, subjaxprs
from functrans.core.primitive import Primitive, Sample, registry
from functrans.core.trace import aval_of
from functrans.testing.systematic import differentiable, outputs


def nested(f: Callable[[Any], Any], order: int) -> list[Any]:
    """The first derivatives of a function of one number at 0."""
    found = []
    for _ in range(order):
        f = ft.jacfwd(f)
        found.append(f(0.0))
    return found


def along(f: Callable[..., Any], args: Any, series: Any) -> Callable[[Any], Any]:
    """``f`` along the path with these derivatives at 0."""

    def g(t: Any) -> Any:
        powers = [t**k / math.factorial(k) for k in range(1, len(series[0]) + 1)]
        return f(
            *[a + sum(s * p for s, p in zip(terms, powers, strict=True)) for a, terms in zip(args, series, strict=True)]
        )

    return g


def check_jet(f: Callable[..., Any], args: Any, order: int, rtol: float = 1e-8) -> None:
    rng = np.random.default_rng(0)

    def draw(a: Any) -> Any:
        value = rng.standard_normal(np.shape(a))
        if np.iscomplexobj(a):
            value = value + 1j * rng.standard_normal(np.shape(a))
        return np.asarray(value).astype(aval_of(a).dtype)[()]

    series = [[draw(a) for _ in range(order)] for a in args]
    value, derivatives = ft.jet(f, args, series)
    expected = nested(along(f, args, series), order)
    single = not isinstance(value, list)
    for k in range(order):
        for found, one in zip(
            [derivatives] if single else derivatives, [expected[k]] if single else expected[k], strict=True
        ):
            np.testing.assert_allclose(found[k], one, rtol=rtol, atol=rtol)


def cells() -> list[Any]:
    found = []
    for prim in registry.values():
        for n, sample in enumerate(prim.samples() if prim.samples is not None else ()):
            which = differentiable(prim, sample)
            args = [sample.args[i] for i in which]
            if n == 0 and which and all(np.size(a) and aval_of(a).dtype.itemsize == 8 for a in args):
                # Special functions and factorisations are made of the others, and slow at it.
                slow = any(part in getattr(prim.impl, "__module__", "") for part in (".special", ".linalg", "filter"))
                marks = [pytest.mark.full] if slow else []
                found.append(pytest.param(prim, sample, which, id=prim.name, marks=marks))
    return found


@pytest.mark.parametrize(("prim", "sample", "which"), cells())
def test_every_primitive_to_second_order(prim: Primitive, sample: Sample, which: tuple[int, ...]) -> None:
    def f(*values: Any) -> list[Any]:
        args = list(sample.args)
        for i, v in zip(which, values, strict=True):
            args[i] = v
        return [o for o in outputs(prim, sample, args) if aval_of(o).dtype.kind in "fc"]

    check_jet(f, tuple(sample.args[i] for i in which), 2)


@pytest.mark.parametrize(
    "f",
    [np.exp, np.log, np.sin, np.cos, np.tan, np.tanh, np.sinh, np.cosh, np.sqrt, np.cbrt, np.arctan, np.arcsin]
    + [np.log1p, np.expm1, np.abs, np.reciprocal, ft.nn.sigmoid, ft.nn.gelu, ft.nn.softplus, np.sinc]
    + [lambda x: x**2, lambda x: x**3, lambda x: x**2.5, lambda x: 2.0**x, lambda x: x**x, lambda x: 1 / x],
)
def test_elementary_functions_to_fifth_order(f: Any) -> None:
    _, found = ft.jet(f, (0.4,), ([1.0, 0.5, -0.3, 0.2, 0.1],))
    expected = nested(along(f, (0.4,), ([1.0, 0.5, -0.3, 0.2, 0.1],)), 5)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_high_orders_known_in_closed_form() -> None:
    order = 20
    unit = [1.0, *[0.0] * (order - 1)]
    _, found = ft.jet(np.exp, (0.0,), (unit,))
    np.testing.assert_allclose(found, np.ones(order))
    _, found = ft.jet(lambda x: 1 / (1 - x), (0.0,), (unit,))
    np.testing.assert_allclose(found, [math.factorial(k) for k in range(1, order + 1)])
    _, found = ft.jet(np.arctan, (0.0,), (unit,))
    exact = [0 if k % 2 == 0 else (-1) ** (k // 2) * math.factorial(k - 1) for k in range(1, order + 1)]
    np.testing.assert_allclose(found, exact, atol=1e-6)
    _, found = ft.jet(lambda x: np.prod(np.stack([x, x + 1, x + 2])), (0.0,), (unit,))
    np.testing.assert_allclose(found[:4], [2.0, 6.0, 6.0, 0.0])


def network(x: Any) -> Any:
    w = np.linspace(-1.0, 1.0, 9).reshape(3, 3)
    for _ in range(3):
        x = np.tanh(w @ x) / (1.0 + x**2)
    return np.sum(np.sort(x) * np.exp(-x)) + np.max(x)


def test_compositions_with_other_transformations() -> None:
    x, v = np.array([0.3, -0.7, 1.1]), np.array([1.0, 2.0, -1.0])

    def third(x: Any) -> Any:
        return ft.jet(network, (x,), ([v, 0 * v, 0 * v],))[1][2]

    expected = nested(lambda t: network(x + t * v), 3)[2]
    np.testing.assert_allclose(third(x), expected)
    np.testing.assert_allclose(ft.jit(third)(x), expected)
    np.testing.assert_allclose(ft.vmap(third)(np.stack([x, x])), [expected, expected])
    np.testing.assert_allclose(ft.grad(third)(x), ft.jit(ft.grad(third))(x))
    h = 1e-5
    np.testing.assert_allclose(ft.grad(third)(x) @ v, (third(x + h * v) - third(x - h * v)) / (2 * h), rtol=1e-6)
    np.testing.assert_allclose(ft.jet(ft.jit(network), (x,), ([v, v],))[1], ft.jet(network, (x,), ([v, v],))[1])
    # The derivatives of a gradient: third derivatives contracted twice.
    gradient = ft.jet(ft.grad(network), (x,), ([v, 0 * v],))[1]
    np.testing.assert_allclose(gradient[0], ft.hvp(network)(x, v), rtol=1e-9)
    np.testing.assert_allclose(ft.jet(ft.checkpoint(network), (x,), ([v, v],))[1], ft.jet(network, (x,), ([v, v],))[1])


def loops(x: Any) -> Any:
    def step(c: Any, y: Any) -> Any:
        c = np.sin(c) * y + x[0]
        return c, np.exp(c) * x[1]

    total, rows = ft.lax.scan(step, x[1], x)
    total = ft.lax.cond(x[0] > 0, lambda t: t**2, lambda t: np.exp(t), total)
    total = ft.lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, np.cos(c[1]) * x[2]), (0, total))[1]
    return total + np.sum(rows) + ft.lax.fori_loop(0, 3, lambda i, y: y * x[0], 1.0)


def test_control_flow() -> None:
    x = np.array([0.3, -0.7, 1.1])
    check_jet(loops, (x,), 3)
    check_jet(ft.jit(loops), (x,), 3)
    check_jet(lambda x: ft.vmap(loops)(np.stack([x, -x]))[1], (x,), 2)


def test_custom_rules_are_respected() -> None:
    f = ft.custom_jvp(lambda x: np.sin(x))
    f.defjvp(lambda p, t: (np.sin(p[0]), 2 * np.cos(p[0]) * t[0]))
    assert ft.jet(f, (0.5,), ([1.0, 0.0],))[1] == [2 * np.cos(0.5), -2 * np.sin(0.5)]
    g = ft.custom_vjp(lambda x: np.sin(x))
    g.defvjp(lambda x: (np.sin(x), x), lambda x, ct: (3 * np.cos(x) * ct,))
    np.testing.assert_allclose(ft.jet(g, (0.5,), ([1.0, 0.0],))[1], [3 * np.cos(0.5), -3 * np.sin(0.5)])


def size(jaxpr: Jaxpr) -> int:
    return sum(1 + sum(map(size, subjaxprs(eqn))) for eqn in jaxpr.eqns)


@pytest.mark.parametrize(
    "f", [lambda x: np.linalg.solve(x, x[0]), lambda x: np.tanh(x @ np.arctan(x)), lambda x: np.prod(np.sin(x) ** x[0])]
)
def test_the_cost_is_polynomial_in_the_order(f: Any) -> None:
    x = np.eye(2) + 0.1

    def cost(order: int) -> int:
        return size(ft.make_jaxpr(lambda x: ft.jet(f, (x,), ([x] * order,)))(x))

    # Of a cost with the third power of the order, twice the order makes eight times as much; nesting squares it.
    assert cost(16) < 10 * cost(8)


def test_pytrees_and_integers() -> None:
    value, terms = ft.jet(
        lambda d, n: {"y": d["a"] * d["b"][0], "n": n},
        ({"a": 2.0, "b": (3.0,)}, 4),
        ({"a": [1.0, 0.0], "b": ([1.0, 0.0],)}, [0, 0]),
    )
    assert value == {"y": 6.0, "n": 4}
    assert terms["y"] == [5.0, 2.0]
    assert terms["n"][0].dtype == ft.float0
    value, terms = ft.jet(lambda x: np.floor(x) * 2, (np.float32(2.5),), ([np.float32(1.0)],))
    assert terms == [0.0] and terms[0].dtype == np.float32
    assert ft.jet(np.sin, (0.0,), ([],)) == (0.0, [])


def test_errors() -> None:
    with pytest.raises(errors.ArgumentError, match="there are 1 primals and 2 series"):
        ft.jet(np.sin, (1.0,), ([1.0], [1.0]))
    with pytest.raises(errors.ShapeError, match=r"1 derivatives are given for primals\[1\], and 2 for the first"):
        ft.jet(np.multiply, (1.0, 2.0), ([1.0, 0.0], [1.0]))
    with pytest.raises(errors.ShapeError, match=r"derivative 2 given for primals\[0\] has type f64\[2\]"):
        ft.jet(np.sin, (1.0,), ([1.0, np.ones(2)],))
    with pytest.raises(errors.TreeStructureError, match="a list of derivatives in the place of each array"):
        ft.jet(lambda d: d["a"], ({"a": 1.0},), ([1.0],))
    with pytest.raises(errors.NotDifferentiableError):
        out = ft.ShapeDtypeStruct((), np.float64)
        ft.jet(lambda x: ft.pure_callback(np.sin, out, x), (1.0,), ([1.0],))
