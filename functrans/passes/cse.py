"""Common subexpressions: equal operations on equal operands are computed once.

Equations with effects stay, and so do barriers, which keep a recomputation apart from what it recomputes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from functrans.core.jaxpr import Jaxpr, Literal
from functrans.core.primitive import Trait
from functrans.passes.base import Pass, Rewriter, literal_key, with_bodies


@dataclass(frozen=True)
class CommonSubexpressions(Pass):
    """Compute equal things once."""

    name: str = "cse"

    def run(self, jaxpr: Jaxpr) -> Jaxpr:
        rewriter = Rewriter(jaxpr)
        known: dict[Any, Any] = {}
        for old in jaxpr.eqns:
            eqn = with_bodies(rewriter.inputs(old), self.run)
            rewriter.changed = rewriter.changed or eqn is not old
            traits = eqn.prim.traits
            if eqn.effects or Trait.BARRIER in traits or eqn.prim.kind == "custom":
                rewriter.keep(eqn)
                continue
            inputs = [literal_key(a) if isinstance(a, Literal) else a for a in eqn.inputs]
            if Trait.COMMUTATIVE in traits and len(inputs) == 2 and id(inputs[0]) > id(inputs[1]):
                inputs.reverse()
            key = (eqn.prim, tuple(inputs), *eqn.params.items())
            first = known.setdefault(key, eqn)
            if first is eqn:
                rewriter.keep(eqn)
                continue
            for v, same in zip(eqn.outs, first.outs, strict=True):
                rewriter.replace(v, same)
        return rewriter.finish()
