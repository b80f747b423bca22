"""``optimization_barrier``: values that no pass moves or merges work across."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from functrans.core.avals import ShapedArray
from functrans.core.primitive import BatchAxis, Primitive, Sample, Trait, Zero
from functrans.core.trace import is_array
from functrans.core.tree import tree_flatten


def _jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    live = [i for i, t in enumerate(tangents) if not isinstance(t, Zero)]
    outs = barrier_p.bind(*primals)
    passed = barrier_p.bind(*(tangents[i] for i in live)) if live else []
    out_tangents = list(tangents)
    for i, t in zip(live, passed, strict=True):
        out_tangents[i] = t
    return outs, out_tangents


def _transpose(cotangents: Sequence[Any], *operands: Any) -> list[Any]:
    live = [i for i, ct in enumerate(cotangents) if not isinstance(ct, Zero)]
    results: list[Any] = [None] * len(operands)
    for i, ct in zip(live, barrier_p.bind(*(cotangents[i] for i in live)), strict=True):
        results[i] = ct
    return results


def _batch(axis: BatchAxis, args: Sequence[Any], dims: Sequence[int | None]) -> tuple[list[Any], Sequence[int | None]]:
    return barrier_p.bind(*args), dims


def _shape(*avals: ShapedArray) -> list[ShapedArray]:
    return list(avals)


barrier_p: Primitive = Primitive(
    "optimization_barrier",
    shape=_shape,
    impl=lambda xp, *args: list(args),
    specialize=lambda xp, avals: lambda *args: args,
    jvp=_jvp,
    transpose=_transpose,
    batch=_batch,
    multiple=True,
    kind="library",
    traits=frozenset({Trait.BARRIER, Trait.VIEW}),
    samples=lambda: [
        Sample((np.array([0.5, -1.0]), np.float32(2.0))),
        Sample((np.array(1.0 + 2.0j), np.arange(3))),
    ],
)


def optimization_barrier(operand: Any) -> Any:
    """A pytree of arrays as it is, across which no pass of the compiler moves or merges work.

    All leaves pass together: what is computed from one of the results waits for every leaf. Derivatives pass a barrier
    of their own.

    >>> optimization_barrier({"a": 1.0})
    {'a': 1.0}
    """
    leaves, treedef = tree_flatten(operand)
    arrays = [i for i, leaf in enumerate(leaves) if is_array(leaf)]
    outs = list(leaves)
    for i, value in zip(arrays, barrier_p.bind(*(leaves[i] for i in arrays)), strict=True):
        outs[i] = value
    return treedef.unflatten(outs)
