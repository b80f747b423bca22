"""Dead code: equations that neither an output nor an effect needs, in bodies of loops and branches too.

A loop loses the results that nobody reads, the carries that only these need, and operands that its body does not look
at any more; a branch likewise.
"""

from __future__ import annotations

from dataclasses import dataclass

from functrans.core.jaxpr import Eqn, Jaxpr, dce
from functrans.passes.base import Pass, Rewriter, with_bodies


@dataclass(frozen=True)
class DeadCode(Pass):
    """Remove what nothing needs. Inputs stay."""

    name: str = "dead"

    def run(self, jaxpr: Jaxpr) -> Jaxpr:
        made = dce(jaxpr)
        rewriter = Rewriter(made)
        for eqn in made.eqns:
            new = _without_operands(with_bodies(eqn, self.run))
            rewriter.changed = rewriter.changed or new is not eqn
            rewriter.keep(new)
        # What a body has lost may have been the last use of something in front of it.
        made = dce(rewriter.finish()) if rewriter.changed else made
        same = len(made.eqns) == len(jaxpr.eqns) and all([a is b for a, b in zip(made.eqns, jaxpr.eqns, strict=True)])
        return jaxpr if same else made


def _without_operands(eqn: Eqn) -> Eqn:
    """A region without the operands that it does not look at."""
    if eqn.prim.kind not in ("loop", "branch") or eqn.prim.dce is None or eqn.effects:
        return eqn
    made: Eqn = eqn.prim.dce(eqn, [True] * len(eqn.outs))
    return eqn if len(made.inputs) == len(eqn.inputs) else made
