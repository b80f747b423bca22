"""Decomposition: elementwise operations that are made of others give way to these.

Kernels are written in ufuncs; an operation that is none of them stands in the way of fusion. The parts are the same
calls that the operation itself makes, so that the result stays the same to the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass

from functrans.core.dtypes import is_extended
from functrans.core.jaxpr import Eqn, Jaxpr, rename
from functrans.core.primitive import Trait
from functrans.core.stage import stage
from functrans.passes.base import Pass, Rewriter, with_bodies
from functrans.util.cache import Bounded

_traced: Bounded[Jaxpr] = Bounded(4096)


def _parts_of(eqn: Eqn) -> Jaxpr:
    """The decomposition of an operation, traced once for each type of operands."""
    avals = tuple([a.aval for a in eqn.inputs])
    key = (eqn.prim, avals, *eqn.params.items())
    body = _traced.get(key)
    if body is None:
        decompose = eqn.prim.rule("decompose")
        body = _traced.put(key, stage(lambda *xs: [decompose(*xs, **eqn.params)], avals, eqn.prim.name))
    return body


@dataclass(frozen=True)
class Decompose(Pass):
    """Write compound elementwise operations out."""

    name: str = "decompose"

    def run(self, jaxpr: Jaxpr) -> Jaxpr:
        rewriter = Rewriter(jaxpr)
        for old in jaxpr.eqns:
            eqn = with_bodies(rewriter.inputs(old), self.run)
            rewriter.changed = rewriter.changed or eqn is not old
            prim = eqn.prim
            if prim.decompose is None or Trait.COMPOUND not in prim.traits or is_extended(eqn.outs[0].aval.dtype):
                # Of the floats of ml_dtypes the parts would be rounded, each more coarsely than the whole.
                rewriter.keep(eqn)
                continue
            body = _parts_of(eqn)
            if body.out_avals != (eqn.outs[0].aval,) or any([e.prim is prim for e in body.eqns]) or body.constvars:
                rewriter.keep(eqn)
                continue
            body = self.run(body)
            eqns, (out,) = rename(body, eqn.inputs)
            for part in eqns:
                rewriter.keep(part._replace(source=eqn.source))
            rewriter.replace(eqn.outs[0], out)
        return rewriter.finish()
