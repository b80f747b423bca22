"""Loops: what every step would compute alike is computed in front, and what never changes is no state.

- A carry that each step hands on as it got it is a constant of the loop, and so is its result.
- An operation in the body of a ``scan`` that depends on constants alone moves in front of the loop, if the loop is
  known to take a step: then it is computed where the loop would have computed it, and raises what it would have raised.
  What costs little and would take more memory than what it is made of, as a broadcast does, stays.

Equations with effects stay where they are, and so do barriers, which hold a recomputation back. (What a ``while`` loop,
which may take no step, computes alike in each is computed when it takes the first; the backends see to that.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from functrans.core.jaxpr import Atom, Eqn, Jaxpr, Literal, Var, rename
from functrans.core.primitive import Trait
from functrans.passes.base import Pass, Rewriter, with_bodies


@dataclass(frozen=True)
class Loops(Pass):
    """Move what does not change out of loops."""

    name: str = "loops"

    def run(self, jaxpr: Jaxpr) -> Jaxpr:
        rewriter = Rewriter(jaxpr)
        for old in jaxpr.eqns:
            eqn = with_bodies(rewriter.inputs(old), self.run)
            if eqn.prim.name == "scan":
                eqn = _without_constant_carries(rewriter, eqn)
                eqn = _hoisted(rewriter, eqn)
            rewriter.changed = rewriter.changed or eqn is not old
            rewriter.keep(eqn)
        return rewriter.finish()


def _without_constant_carries(rewriter: Rewriter, eqn: Eqn) -> Eqn:
    """A scan in which carries that never change are constants."""
    params = eqn.params
    body, n_consts, n_carry, counted = (params[k] for k in ("jaxpr", "n_consts", "n_carry", "counted"))
    start = n_consts + n_carry
    inputs = eqn.inputs[counted:]
    still = [
        k for k in range(n_carry)
        if body.outvars[k] is body.invars[n_consts + k] and inputs[n_consts + k].aval == eqn.outs[k].aval
    ]  # fmt: skip
    if not still or eqn.effects:
        return eqn
    moving = [k for k in range(n_carry) if k not in still]

    def reordered(values: tuple[Any, ...]) -> list[Any]:
        carry = values[n_consts:start]
        return [*values[:n_consts], *[carry[k] for k in still], *[carry[k] for k in moving], *values[start:]]

    for k in still:
        rewriter.replace(eqn.outs[k], inputs[n_consts + k])
    results = [*moving, *range(n_carry, len(eqn.outs))]
    return eqn._replace(
        inputs=(*eqn.inputs[:counted], *reordered(inputs)),
        outs=tuple([eqn.outs[k] for k in results]),
        params={
            **params,
            "jaxpr": body.replace(invars=reordered(body.invars), outvars=[body.outvars[k] for k in results]),
            "n_consts": n_consts + len(still),
            "n_carry": len(moving),
        },
    )


def _hoisted(rewriter: Rewriter, eqn: Eqn) -> Eqn:
    """A scan without what its body computes from constants, which is written in front of it."""
    params = eqn.params
    body: Jaxpr = params["jaxpr"]
    n_consts, counted, length = params["n_consts"], params["counted"], params["length"]
    if counted or type(length) is not int or length < 2 or body.sized or eqn.effects or params["checkpoint"]:
        return eqn
    fixed: set[Atom] = set(body.invars[:n_consts])
    found = [e for e in body.eqns if _invariant(e, fixed)]
    worth: set[Atom] = set()
    for e in reversed(found):
        if _worth_keeping(e) or not worth.isdisjoint(e.outs):
            worth.update(e.outs)
            worth.update(a for a in e.inputs if isinstance(a, Var))
    moved = [e for e in found if not worth.isdisjoint(e.outs)]
    if not any([_worth_keeping(e) for e in moved]):
        return eqn
    gone = {id(e) for e in moved}
    rest = [e for e in body.eqns if id(e) not in gone]
    read: set[Atom] = {*body.outvars, *[a for e in rest for a in e.inputs]}
    needed = [v for e in moved for v in e.outs if v in read]
    constants = eqn.inputs[:n_consts]
    front, values = rename(Jaxpr(body.invars[:n_consts], moved, needed), constants)
    for e in front:
        rewriter.keep(e if e.source is not None else e._replace(source=eqn.source))
    return eqn._replace(
        inputs=(*constants, *values, *eqn.inputs[n_consts:]),
        params={
            **params,
            "jaxpr": body.replace(invars=[*body.invars[:n_consts], *needed, *body.invars[n_consts:]], eqns=rest),
            "n_consts": n_consts + len(needed),
        },
    )


def _invariant(eqn: Eqn, fixed: set[Atom]) -> bool:
    """Whether an equation depends on constants alone; then its results join them."""
    if eqn.effects or Trait.BARRIER in eqn.prim.traits or eqn.prim.kind == "custom":
        return False
    if not all([isinstance(a, Literal) or a in fixed for a in eqn.inputs]):
        return False
    fixed.update(eqn.outs)
    return True


def _worth_keeping(eqn: Eqn) -> bool:
    """Whether a result is cheaper read again than computed again."""
    if Trait.VIEW in eqn.prim.traits or not any(isinstance(a, Var) for a in eqn.inputs):
        return False
    if Trait.COSTLY in eqn.prim.traits or eqn.prim.kind in ("loop", "branch"):
        return True
    size = sum(v.aval.size for v in eqn.outs)
    return bool(size <= max([a.aval.size for a in eqn.inputs]))
