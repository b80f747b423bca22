"""Dead code: equations that neither an output nor an effect needs, in bodies of loops and branches too."""

from __future__ import annotations

from dataclasses import dataclass

from functrans.core.jaxpr import Jaxpr, dce
from functrans.passes.base import Pass, Rewriter, with_bodies


@dataclass(frozen=True)
class DeadCode(Pass):
    """Remove what nothing needs. Inputs stay."""

    name: str = "dead"

    def run(self, jaxpr: Jaxpr) -> Jaxpr:
        made = dce(jaxpr)
        rewriter = Rewriter(made)
        for eqn in made.eqns:
            new = with_bodies(eqn, self.run)
            rewriter.changed = rewriter.changed or new is not eqn
            rewriter.keep(new)
        made = rewriter.finish()
        same = len(made.eqns) == len(jaxpr.eqns) and all([a is b for a, b in zip(made.eqns, jaxpr.eqns, strict=True)])
        return jaxpr if same else made
