"""Inlining: calls become the equations of what they call."""

from __future__ import annotations

from functrans.core.jaxpr import Atom, Eqn, Jaxpr, Literal, Var, dce, rename


def inline_calls(jaxpr: Jaxpr) -> Jaxpr:
    """The jaxpr with every call replaced by its body, to any depth, and dead equations removed.

    A call is a unit of compilation for the user, not for the compiler, which sees more across its edges.
    """
    if not any(_is_call(eqn) for eqn in jaxpr.eqns):
        return jaxpr
    env: dict[Atom, Atom] = {}
    eqns: list[Eqn] = []

    def read(atom: Atom) -> Atom:
        return atom if isinstance(atom, Literal) else env.get(atom, atom)

    for eqn in jaxpr.eqns:
        inputs = tuple(map(read, eqn.inputs))
        if not _is_call(eqn):
            eqns.append(eqn._replace(inputs=inputs))
            continue
        body, outs = rename(inline_calls(eqn.params["jaxpr"]), inputs)
        eqns.extend(body)
        env.update(zip(eqn.outs, outs, strict=True))
    return dce(jaxpr.replace(eqns=eqns, outvars=[read(v) for v in jaxpr.outvars]))


def _is_call(eqn: Eqn) -> bool:
    body = eqn.params.get("jaxpr")
    return eqn.prim.kind == "call" and isinstance(body, Jaxpr) and all(isinstance(v, Var) for v in body.invars)
