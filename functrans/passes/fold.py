"""Constant folding: what depends on literals and read-only constants alone is computed once.

A result of at most ``limit`` elements becomes a literal (0-d) or a constant of the jaxpr. What NumPy would warn about
(a division by zero, an overflow) stays, so that the warning comes when the program runs, as it does eagerly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from functrans.core.jaxpr import Atom, Eqn, Jaxpr, Literal, SizeVar, Var
from functrans.core.primitive import Trait
from functrans.core.trace import aval_of
from functrans.passes.base import Pass, Rewriter, with_bodies


@dataclass(frozen=True)
class FoldConstants(Pass):
    """Compute what is known."""

    name: str = "fold"
    limit: int = 4096

    def run(self, jaxpr: Jaxpr) -> Jaxpr:
        rewriter = Rewriter(jaxpr)
        given: dict[Atom, Any] = {v: c for v, c in zip(jaxpr.constvars, jaxpr.consts, strict=True) if _is_fixed(c)}
        arrays: dict[Atom, Any] = dict(given)
        for old in jaxpr.eqns:
            eqn = with_bodies(rewriter.inputs(old), self.run)
            rewriter.changed = rewriter.changed or eqn is not old
            if not self._may(eqn) or not all([isinstance(a, Literal) or a in arrays for a in eqn.inputs]):
                rewriter.keep(eqn)
                continue
            value = _compute(eqn, [a.value if isinstance(a, Literal) else arrays[a] for a in eqn.inputs])
            out = eqn.outs[0]
            if value is None or aval_of(value) != out.aval:
                rewriter.keep(eqn)
            elif out.aval.shape == () and out.aval.box != "array":
                rewriter.replace(out, Literal(value, out.aval))
            else:
                value.flags.writeable = False
                arrays[out] = value
                rewriter.changed = True
        if not rewriter.changed:
            return jaxpr
        used = {a for eqn in rewriter.eqns for a in eqn.inputs} | {rewriter.read(v) for v in jaxpr.outvars}
        made = [(v, value) for v, value in arrays.items() if v in used and isinstance(v, Var) and v not in given]
        return rewriter.finish(
            constvars=(*jaxpr.constvars, *[v for v, _ in made]), consts=(*jaxpr.consts, *[value for _, value in made])
        )

    def _may(self, eqn: Eqn) -> bool:
        if eqn.effects or eqn.prim.multiple or eqn.prim.kind not in (None, "library"):
            return False
        if Trait.BARRIER in eqn.prim.traits:
            return False
        shape = eqn.outs[0].aval.shape
        size = 1
        for extent in shape:
            if isinstance(extent, SizeVar):
                return False
            size *= extent
        # A broadcast is cheaper made anew than read, and often needs no making at all.
        if Trait.VIEW in eqn.prim.traits and size > max([a.aval.size for a in eqn.inputs], default=0):
            return False
        return size <= self.limit


def _is_fixed(value: Any) -> bool:
    """Whether an array is read-only, and so is the memory that it views: nobody changes it later."""
    while isinstance(value, np.ndarray) and not value.flags.writeable:
        if value.base is None:
            return True
        value = value.base
    return False


def _compute(eqn: Eqn, inputs: list[Any]) -> Any:
    try:
        with np.errstate(all="raise"):
            value = eqn.prim.impl(np, *inputs, **eqn.params)
    except FloatingPointError:
        return None
    return np.array(value) if isinstance(value, np.ndarray) else value
