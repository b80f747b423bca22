"""Pipelines: passes are taken out by name, put in by the user, and none of them changes a result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import errors
from functrans.core.check import check
from functrans.core.jaxpr import Jaxpr
from functrans.passes import Pass, Pipeline, current, default, using
from tests.passes.proofs import same_bits

X = np.linspace(-2.0, 2.0, 12).reshape(3, 4)
W = np.cos(np.arange(12.0)).reshape(4, 3)


def network(x: Any, w: Any) -> Any:
    h = np.tanh(x @ w) * 1.0
    return np.where(h > 0, h, -np.negative(h)).T.T.sum(0) / 4.0 + np.exp(np.ones(3))


def recurrence(x: Any, w: Any) -> Any:
    def step(c: Any, row: Any) -> Any:
        c, kept = c
        return (np.sin(c) + row @ w + w.sum(0) * 2.0, kept), (c, kept * 2.0)

    (c, _), (cs, _) = ft.lax.scan(step, (np.zeros(3), np.ones(3)), x)
    return c, cs


def branches(x: Any, w: Any) -> Any:
    return ft.lax.cond(x.sum() > 0, lambda: np.sort(x * 1.0, 1), lambda: x + 0 * w.T)


PROGRAMS: list[Callable[..., Any]] = [
    network, recurrence, branches, ft.grad(lambda x, w: network(x, w).sum()),
    ft.grad(lambda x, w: recurrence(x, w)[0].sum()),
]  # fmt: skip


@pytest.mark.parametrize("k", range(len(PROGRAMS)))
@pytest.mark.parametrize("name", default.names)
def test_a_pass_is_taken_out(name: str, k: int) -> None:
    f = PROGRAMS[k]
    compiled = ft.jit(f)
    expected = compiled(X, W)
    less = default.without(name)
    with using(less):
        assert compiled.lower(X, W).stages == ("jaxpr", *less.names, "kernels", "python")
        found = compiled(X, W)
    for a, b in zip(ft.tree.leaves(found), ft.tree.leaves(expected), strict=True):
        assert same_bits(a, b)


@pytest.mark.parametrize("k", range(len(PROGRAMS)))
def test_every_pass_leaves_a_well_formed_program(k: int) -> None:
    for _, jaxpr in default.steps(ft.jit(PROGRAMS[k]).lower(X, W).jaxpr):
        check(jaxpr)


@dataclass(frozen=True)
class Twice(Pass):
    """Not a pass that preserves meaning: it shows that it runs."""

    name: str = "twice"

    def run(self, jaxpr: Jaxpr) -> Jaxpr:
        return jaxpr.replace(outvars=[jaxpr.outvars[0]] * 2)


def test_a_pipeline_of_the_users_own() -> None:
    f = ft.jit(lambda x: (x + 1.0, x * 2.0))
    x = np.ones(2)
    before = f(x)
    own = Pipeline((*default, Twice()))
    with using(own):
        assert current() is own
        assert [list(v) for v in f(x)] == [[2.0, 2.0], [2.0, 2.0]]
        lowered = f.lower(x)
    # The program that was compiled first is kept, and a lowered one keeps its passes.
    assert [list(v) for v in f(x)] == [list(v) for v in before] == [[2.0, 2.0], [2.0, 2.0]]
    assert "twice" in lowered.stages and "twice" not in f.lower(x).stages
    assert lowered.as_text("twice").endswith("in (b, b) }")
    assert current() is default


def test_the_setting_of_the_process() -> None:
    f = ft.jit(lambda x: x * 3.0)
    x = np.ones(2)
    f(x)
    f(x)
    assert f.cache.traces == 1
    ft.config.passes = Pipeline()
    try:
        assert f(x)[0] == 3.0 and f(x)[0] == 3.0
        assert f.cache.traces == 2
        assert f.lower(x).stages == ("jaxpr", "kernels", "python")
    finally:
        ft.config.passes = None
    f(x)
    assert f.cache.traces == 2


def test_loops_outside_of_jit_go_through_the_same_passes() -> None:
    def body(c: Any, x: Any) -> Any:
        return np.tanh(c + x * 1.0) * 2.0 * 3.0, None

    plain = ft.lax.scan(body, np.zeros(4), X)[0]
    with using(Pipeline()):
        assert same_bits(ft.lax.scan(body, np.zeros(4), X)[0], plain)


def test_what_is_no_pipeline_is_refused() -> None:
    with pytest.raises(
        errors.ArgumentError, match=r"config.passes must be a functrans.passes.Pipeline or None .* got 3"
    ):
        ft.config.passes = 3
    with pytest.raises(errors.ArgumentError, match=r"without: there is no pass 'csa'; the passes are inline"):
        default.without("csa")
