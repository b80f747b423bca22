"""Layouts: a network for channels-last images has conversions at its edges alone, and computes the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans.core.check import check
from functrans.core.evaluate import evaluate
from functrans.core.stage import stage
from functrans.core.trace import aval_of
from functrans.passes import Pipeline, default, using
from functrans.passes.layout import Layout, permuted
from tests.passes.proofs import same_bits

RNG = np.random.default_rng(5)
IMAGES = RNG.standard_normal((2, 8, 8, 3))
KERNELS = [RNG.standard_normal((3, 3, 3, 4)), RNG.standard_normal((3, 3, 4, 6))]
BIASES = [RNG.standard_normal(4), RNG.standard_normal(6)]
DENSE = RNG.standard_normal((6, 5))


def channels_last(x: Any, *kernels: Any) -> Any:
    """Convolution, bias, relu and pooling, twice; mean, dense."""
    for w, b in zip(kernels, BIASES, strict=True):
        x = ft.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")) + b
        x = ft.lax.reduce_window_max(np.maximum(x, 0.0), (1, 2, 2, 1), (1, 2, 2, 1))
    return x.mean((1, 2)) @ DENSE


def channels_first(x: Any, *kernels: Any) -> Any:
    for w, b in zip(kernels, BIASES, strict=True):
        x = ft.lax.conv_general_dilated(x, w, (1, 1), "SAME") + b[:, None, None]
        x = ft.lax.reduce_window_max(np.maximum(x, 0.0), (1, 1, 2, 2), (1, 1, 2, 2))
    return x.mean((2, 3)) @ DENSE


def names(f: Callable[..., Any], args: tuple[Any, ...]) -> list[str]:
    """What moves or contracts images, in order."""
    jaxpr = default(ft.jit(f).lower(*args).jaxpr)
    return [
        e.prim.name
        for e in jaxpr.eqns
        if e.prim.name in ("conv", "reduce_window_max", "sum")
        or (e.prim.name == "transpose" and e.outs[0].aval.shape[-1] > 3)
    ]


LAST = (IMAGES, *KERNELS)
FIRST = (IMAGES.transpose(0, 3, 1, 2).copy(), *[w.transpose(3, 2, 0, 1).copy() for w in KERNELS])


def test_both_layouts_end_in_the_same_network() -> None:
    inside = ["conv", "reduce_window_max", "conv", "reduce_window_max"]
    assert names(channels_first, FIRST) == [*inside, "sum"]
    found = names(channels_last, LAST)
    assert found == ["transpose", *inside, "transpose", "sum"]  # the images come in, and the sum keeps its order
    with using(default.without("layout")):
        jaxpr = ft.jit(channels_last).lower(*LAST).jaxpr
    assert permuted(default(jaxpr))[0] * 2 < permuted(default.without("layout")(jaxpr))[0]
    np.testing.assert_allclose(ft.jit(channels_last)(*LAST), ft.jit(channels_first)(*FIRST), rtol=1e-12)
    np.testing.assert_allclose(ft.jit(channels_last)(*LAST), channels_last(*LAST), rtol=1e-12)


def test_sums_too_where_reassociating_is_allowed() -> None:
    own = Pipeline([Layout(reassociate=True) if p.name == "layout" else p for p in default])
    jaxpr = own(ft.jit(channels_last).lower(*LAST).jaxpr)
    assert [e.prim.name for e in jaxpr.eqns].count("transpose") == 3  # the images, and the two kernels
    with using(own):
        np.testing.assert_allclose(ft.jit(channels_last)(*LAST), channels_last(*LAST), rtol=1e-12)
    assert not Layout(reassociate=True).exact


def test_gradients() -> None:
    def loss(*args: Any) -> Any:
        return (channels_last(*args) ** 2).sum()

    every = (0, 1, 2)
    expected = ft.grad(loss, argnums=every)(*LAST)
    for own in (default, Pipeline([Layout(reassociate=True) if p.name == "layout" else p for p in default])):
        with using(own):
            found = ft.jit(ft.grad(loss, argnums=every))(*LAST)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def test_the_graph_before_and_after_is_drawn() -> None:
    before = str(ft.visualize(channels_last, *LAST, stage="algebra"))
    after = str(ft.visualize(channels_last, *LAST, stage="dead"))
    assert before.count("transpose") == 6 and after.count("transpose") == 4


X = RNG.standard_normal((2, 3, 4))
BACK = (1, 2, 0)
"""The inverse of the permutation (2, 0, 1)."""


def _between(middle: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Something between a permutation and its opposite."""
    return lambda x: np.transpose(middle(np.transpose(x, (2, 0, 1))), BACK)


def _window(prim: str, x: Any) -> Any:
    return getattr(ft.lax, prim)(x, (1, 2, 2), (1, 1, 2), ((0, 0), (1, 0), (0, 1)))


MIDDLES: dict[str, Callable[[Any], Any]] = {
    "elementwise": lambda x: np.sin(x) * 2.0 + np.where(x > 0, x, 0.0),
    "a bias": lambda x: x + np.arange(3.0),
    "a bias of two axes": lambda x: x * np.arange(6.0).reshape(2, 3),
    "one with axes of extent 1": lambda x: x * np.arange(4.0).reshape(4, 1, 1),
    "a slice": lambda x: x[1:3, :, ::-1][:, :, ::2],
    "padding": lambda x: np.pad(x, ((1, 0), (0, 2), (1, 1)), constant_values=0.5),
    "concatenation": lambda x: np.concatenate([x, -x, x * 2], 1),
    "reversal": lambda x: ft.lax.rev(x, (0, 2)),
    "maxima of windows": lambda x: _window("reduce_window_max", x),
    "sums of windows": lambda x: _window("reduce_window_sum", x),
    "casts": lambda x: x.astype(np.float32).astype(np.int8).astype(float),
    "new axes": lambda x: (x[None] * 2.0)[0],
}


@pytest.mark.parametrize("name", MIDDLES)
def test_opposites_meet(name: str) -> None:
    f = _between(MIDDLES[name])
    before = default.without("layout", "cse", "dead", "fold")(stage(lambda x: [f(x)], [aval_of(X)], "f"))
    after = Layout().run(before)
    check(after)
    assert permuted(before)[0] >= 2 * permuted(after)[0], after
    assert not any(e.prim.name == "transpose" and e.inputs[0].aval.size == X.size for e in after.eqns), after
    special = X.copy()
    special[0, :, 0] = [np.nan, -0.0, np.inf]
    for x in (X, special):
        with np.errstate(all="ignore"):
            (expected,), (found,) = evaluate(before, [x]), evaluate(after, [x])
        assert same_bits(np.asarray(found), np.asarray(expected))


@pytest.mark.parametrize(
    "f",
    [
        lambda x, y: x.T + y,
        lambda x, y: np.sin(x.T),
        lambda x, y: np.transpose(np.transpose(x, (2, 0, 1)).sum(0), (1, 0)),
        lambda x, y: np.cumsum(x.T, 0).T,
    ],
)
def test_what_has_nothing_to_gain_stays(f: Callable[..., Any]) -> None:
    y = np.ones((4, 3, 2))
    jaxpr = stage(lambda x, y: [f(x, y)], [aval_of(X), aval_of(y)], "f")
    assert Layout().run(jaxpr) is jaxpr


def test_elements_of_axes_and_whole_reductions() -> None:
    def f(x: Any) -> Any:
        z = np.transpose(x, (2, 0, 1))
        return np.transpose(z * 2.0, BACK), np.transpose(z[1], (1, 0)), (z > 0).any(1).T

    jaxpr = stage(lambda x: f(x), [aval_of(X)], "f")
    after = Layout().run(jaxpr)
    check(after)
    assert permuted(after) < permuted(jaxpr)
    for a, b in zip(evaluate(after, [X]), f(X), strict=True):
        assert same_bits(np.asarray(a), np.asarray(b))
