"""What the rules of region primitives share: jaxprs with their inputs in another order or of another box."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans.core.avals import ShapedArray
from functrans.core.evaluate import compiled, evaluate
from functrans.core.finite import is_debugging
from functrans.core.jaxpr import Jaxpr
from functrans.core.stage import stage
from functrans.core.structural import convert, rebox
from functrans.core.trace import aval_of
from functrans.util.cache import WeakMemo

Avals = tuple[ShapedArray, ...]


def fit(x: Any, aval: ShapedArray) -> Any:
    """A value in the dtype and the box of an aval of the same shape."""
    now = aval_of(x)
    if now.dtype != aval.dtype:
        x = convert(x, aval.dtype)
    return rebox(x, aval.box)


def _fitted(jaxpr: Jaxpr, in_avals: Avals, out_avals: Avals) -> Jaxpr:
    if jaxpr.in_avals == in_avals and jaxpr.out_avals == out_avals:
        return jaxpr

    def f(*args: Any) -> list[Any]:
        outs = evaluate(jaxpr, list(map(fit, args, jaxpr.in_avals)))
        return list(map(fit, outs, out_avals))

    return stage(f, in_avals, "region")


fitted: WeakMemo[Jaxpr] = WeakMemo(_fitted)
"""``fitted(jaxpr, in_avals, out_avals)``: the jaxpr between values of other boxes and dtypes."""


def results_fitted(jaxpr: Jaxpr, out_avals: Sequence[ShapedArray]) -> Jaxpr:
    """The jaxpr with results of other boxes and dtypes."""
    return fitted(jaxpr, jaxpr.in_avals, tuple(out_avals))


def _reordered(jaxpr: Jaxpr, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> Jaxpr:
    return jaxpr.replace(invars=[jaxpr.invars[i] for i in inputs], outvars=[jaxpr.outvars[i] for i in outputs])


reordered: WeakMemo[Jaxpr] = WeakMemo(_reordered)
"""``reordered(jaxpr, inputs, outputs)``: the jaxpr with inputs and outputs in the order of these indices."""


def runner(jaxpr: Jaxpr, xp: Any) -> Callable[..., Sequence[Any]]:
    """A Python function of arrays that runs the jaxpr; one that looks at every value where NaNs are sought."""
    if not is_debugging():
        return compiled(jaxpr, xp)

    def checked(*args: Any) -> Sequence[Any]:
        with np.errstate(all="ignore"):
            return evaluate(jaxpr, args)

    return checked


def owned(values: Sequence[Any], operands: Sequence[Any]) -> list[Any]:
    """Results that share no memory with the operands nor with each other."""
    seen = {id(x) for x in operands}
    out = []
    for v in values:
        if isinstance(v, np.ndarray) and (v.base is not None or id(v) in seen or not v.flags.writeable):
            v = v.copy()
        seen.add(id(v))
        out.append(v)
    return out
