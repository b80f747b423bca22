"""Inlining: calls become the equations of what they call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from functrans.core.jaxpr import Atom, Eqn, Jaxpr, Var, dce, rename
from functrans.passes.base import Pass, Rewriter, with_bodies


def inline_calls(jaxpr: Jaxpr) -> Jaxpr:
    """The jaxpr with every call replaced by its body, to any depth, and dead equations removed.

    A call is a unit of compilation for the user, not for the compiler, which sees more across its edges. A function
    with derivative rules of its own is a call too, once nothing differentiates it any more.
    """
    if not any([_body(eqn) for eqn in jaxpr.eqns]):
        return jaxpr
    rewriter = Rewriter(jaxpr)
    rewriter.changed = True
    for old in jaxpr.eqns:
        eqn = rewriter.inputs(old)
        found = _body(eqn)
        if found is None:
            rewriter.keep(eqn)
            continue
        body, outs = rename(inline_calls(found[0]), found[1])
        for inner in body:
            rewriter.keep(inner if inner.source is not None else inner._replace(source=eqn.source))
        rewriter.env.update(zip(eqn.outs, outs, strict=True))
    return dce(rewriter.finish())


def _body(eqn: Eqn) -> tuple[Jaxpr, Sequence[Atom]] | None:
    """What an equation may be replaced by: a jaxpr and its inputs."""
    if eqn.prim.inline is None:
        return None
    found = eqn.prim.inline(eqn.inputs, **eqn.params)
    if found is None:
        return None
    body: Jaxpr = found[0]
    same = body.out_avals == tuple([v.aval for v in eqn.outs]) and not body.constvars
    return (body, found[1]) if same and all(isinstance(v, Var) for v in body.invars) else None


@dataclass(frozen=True)
class Inline(Pass):
    """Replace calls by what they call."""

    name: str = "inline"

    def run(self, jaxpr: Jaxpr) -> Jaxpr:
        made = inline_calls(jaxpr)
        rewriter = Rewriter(made)
        for eqn in made.eqns:
            new = with_bodies(eqn, self.run)
            rewriter.changed = rewriter.changed or new is not eqn
            rewriter.keep(new)
        return rewriter.finish()
