"""Chains of matrices are multiplied in the cheapest order, in as many operations as the best of all orders takes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans.core.check import check
from functrans.core.jaxpr import Jaxpr, dce
from functrans.passes import Pipeline, default, using
from functrans.passes.chain import MatrixChains

RNG = np.random.default_rng(2)
OWN = Pipeline((*default, MatrixChains(), *[p for p in default if p.name == "dead"]))


def multiplications(jaxpr: Jaxpr) -> int:
    """Of all matrix products."""
    products = [e for e in jaxpr.eqns if e.prim.name == "dot_general"]
    return sum(e.outs[0].aval.size * e.inputs[0].aval.shape[1] for e in products)


def least(extents: Sequence[int]) -> int:
    """The multiplications of the best order, by trying all."""
    if len(extents) == 2:
        return 0
    inner = range(1, len(extents) - 1)
    return min(least(extents[: k + 1]) + least(extents[k:]) + extents[0] * extents[k] * extents[-1] for k in inner)


def chained(*matrices: Any) -> Any:
    out = matrices[0]
    for m in matrices[1:]:
        out = out @ m
    return out


@pytest.mark.parametrize(
    "extents", [*itertools.permutations((2, 3, 5, 7))][::5] + [(9, 2, 8, 3, 7, 1), (1, 8, 8, 8, 8)]
)
def test_the_best_order_is_found(extents: tuple[int, ...]) -> None:
    matrices = [RNG.standard_normal(shape) for shape in itertools.pairwise(extents)]
    jaxpr = ft.jit(chained).lower(*matrices).jaxpr
    made = OWN(jaxpr)
    check(made)
    assert multiplications(made) == least(extents)
    with using(OWN):
        np.testing.assert_allclose(ft.jit(chained)(*matrices), chained(*matrices), rtol=1e-12, atol=1e-12)


def test_a_vector_is_multiplied_first() -> None:
    a, b, x = RNG.standard_normal((6, 6)), RNG.standard_normal((6, 6)), RNG.standard_normal(6)
    made = OWN(ft.jit(chained).lower(a, b, x).jaxpr)
    assert multiplications(made) == 72
    with using(OWN):
        np.testing.assert_allclose(ft.jit(chained)(a, b, x), a @ b @ x, rtol=1e-12)


def test_what_is_used_elsewhere_is_not_taken_apart() -> None:
    a, b, x = RNG.standard_normal((6, 6)), RNG.standard_normal((6, 6)), RNG.standard_normal(6)
    jaxpr = default(ft.jit(lambda a, b, x: ((a @ b) @ x, a @ b)).lower(a, b, x).jaxpr)
    assert dce(MatrixChains().run(jaxpr)).eqns == jaxpr.eqns


def test_a_chain_in_the_best_order_stays_and_the_pass_is_off_by_default() -> None:
    a, b, x = RNG.standard_normal((6, 6)), RNG.standard_normal((6, 6)), RNG.standard_normal(6)
    jaxpr = default(ft.jit(lambda a, b, x: a @ (b @ x)).lower(a, b, x).jaxpr)
    assert MatrixChains().run(jaxpr) is jaxpr
    assert "chains" not in default.names and "chains" not in OWN.exact().names
    whole = default(ft.jit(chained).lower(*[np.ones((2, 2), int)] * 3).jaxpr)
    assert MatrixChains().run(whole) is whole
