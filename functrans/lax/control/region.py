"""What the rules of region primitives share: jaxprs with their inputs in another order or of another box."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans.core.avals import ShapedArray
from functrans.core.evaluate import compiled, evaluate
from functrans.core.finite import is_debugging
from functrans.core.jaxpr import Eqn, Jaxpr, Var, result_vars, sizes_in
from functrans.core.primitive import Params, Primitive, Undefined
from functrans.core.stage import size_tracer, stage
from functrans.core.structural import convert, rebox
from functrans.core.trace import aval_of, current_trace
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


def split_applied(prim: Primitive, operands: Sequence[Any], params: Params) -> tuple[Jaxpr, list[Any]]:
    """The two parts of one application of a region, one after another, and the sizes that come before its operands."""
    assert prim.split is not None
    avals = [x.aval if isinstance(x, Undefined) else aval_of(x) for x in operands]
    sizes = tuple(dict.fromkeys(sizes_in((*params.values(), *avals))))
    inputs = tuple([Var(a.update()) for a in avals])
    outs = result_vars(prim.shape(*avals, **params))
    parts = prim.split(Eqn(prim, inputs, outs, params), [isinstance(x, Undefined) for x in operands])
    jaxpr = Jaxpr([*sizes, *inputs], [*parts.known, *parts.unknown], outs)
    return jaxpr, [size_tracer(size, current_trace()) for size in sizes]


def runner(jaxpr: Jaxpr, xp: Any) -> Callable[..., Sequence[Any]]:
    """A Python function of arrays that runs the jaxpr; one that looks at every value where NaNs are sought."""
    if not is_debugging():
        return compiled(jaxpr, xp)

    def checked(*args: Any) -> Sequence[Any]:
        with np.errstate(all="ignore"):
            return evaluate(jaxpr, args)

    return checked


def owned_eagerly(values: Sequence[Any], operands: Sequence[Any]) -> list[Any]:
    """Results of an eager call; while something is traced, whoever runs the program sees to it."""
    return owned(values, operands) if current_trace() is None else list(values)


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
