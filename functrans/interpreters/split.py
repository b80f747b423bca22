"""The known/unknown split: what can be computed before the tangents are there, and what has to wait for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from functrans.core.jaxpr import Atom, Eqn, Jaxpr, Literal, Var, dce
from functrans.core.primitive import Trait
from functrans.util.cache import WeakMemo


class Split(NamedTuple):
    """The two parts of a jaxpr.

    Attributes:
        known: from the known inputs to the known outputs, then the residuals that are no input.
        unknown: from the residuals, then the unknown inputs, to the unknown outputs.
        unknown_out: which outputs are unknown.
        residual_inputs: for each residual, the index among the known inputs that it is; None where ``known``
            computes it.
    """

    known: Jaxpr
    unknown: Jaxpr
    unknown_out: tuple[bool, ...]
    residual_inputs: tuple[int | None, ...]


def _cheap(eqn: Eqn) -> bool:
    return eqn.prim.kind not in ("call", "loop", "branch", "custom") and not (
        {Trait.COSTLY, Trait.BARRIER} & eqn.prim.traits or eqn.effects
    )


def _split_jaxpr(jaxpr: Jaxpr, unknown_in: tuple[bool, ...], recompute: bool) -> Split:
    unknown: set[Atom] = {v for v, u in zip(jaxpr.invars, unknown_in, strict=True) if u}
    known_eqns: list[Eqn] = []
    unknown_eqns: list[Eqn] = []
    for eqn in jaxpr.eqns:
        if unknown.isdisjoint(eqn.inputs):
            known_eqns.append(eqn)
        elif eqn.prim.split is not None:
            parts = eqn.prim.split(eqn, [a in unknown for a in eqn.inputs])
            known_eqns.extend(parts.known)
            unknown_eqns.extend(parts.unknown)
            for part in parts.unknown:
                unknown.update(part.outs)
        else:
            unknown_eqns.append(eqn)
            unknown.update(eqn.outs)

    known_in = [v for v, u in zip(jaxpr.invars, unknown_in, strict=True) if not u]
    known_out = [v for v in jaxpr.outvars if v not in unknown]
    needed = [v for v in jaxpr.outvars if v in unknown]
    if recompute:
        free = {*known_in, *jaxpr.constvars, *(v for v in known_out if isinstance(v, Var))}
        unknown_eqns = _recomputed(known_eqns, unknown_eqns, free) + unknown_eqns
    bound: set[Atom] = set(unknown)
    residuals: dict[Var, None] = {}
    for eqn in unknown_eqns:
        for a in eqn.inputs:
            if isinstance(a, Var) and a not in bound:
                residuals[a] = None
        bound.update(eqn.outs)
    known_index = {v: i for i, v in enumerate(known_in)}
    extra: list[Atom] = [v for v in residuals if v not in known_index]
    known = dce(Jaxpr(known_in, known_eqns, known_out + extra, jaxpr.constvars, jaxpr.consts))
    order = [*residuals]
    unknown_inputs = [v for v, u in zip(jaxpr.invars, unknown_in, strict=True) if u]
    rest = dce(Jaxpr(order + unknown_inputs, unknown_eqns, needed))
    return Split(known, rest, tuple(v in unknown for v in jaxpr.outvars), tuple(known_index.get(v) for v in order))


def _recomputed(known: Sequence[Eqn], unknown: Sequence[Eqn], free: set[Var]) -> list[Eqn]:
    """The known equations to run a second time on the unknown side, so that fewer values have to be kept.

    A residual is best an input or an output, which is kept anyway; what lies between is cheap to compute again.
    """
    makes = {out: eqn for eqn in known for out in eqn.outs}
    wanted: dict[int, Eqn] = {}

    def available(atom: Atom) -> bool:
        return isinstance(atom, Literal) or atom in free

    def visit(atom: Atom) -> bool:
        if available(atom):
            return True
        eqn = makes.get(atom)  # type: ignore[arg-type]
        if eqn is None or not _cheap(eqn):
            return False
        if id(eqn) in wanted:
            return True
        if not all(visit(a) for a in eqn.inputs):
            return False
        wanted[id(eqn)] = eqn
        return True

    for eqn in unknown:
        for a in eqn.inputs:
            if isinstance(a, Var) and a in makes:
                visit(a)
    return [eqn for eqn in known if id(eqn) in wanted]


class SplitEqn(NamedTuple):
    """The equations that one region equation becomes."""

    known: tuple[Eqn, ...]
    unknown: tuple[Eqn, ...]


_memo: WeakMemo[Split] = WeakMemo(_split_jaxpr)


def split_jaxpr(jaxpr: Jaxpr, unknown_in: Sequence[bool], recompute: bool = False) -> Split:
    """Split a jaxpr by which of its inputs are known first.

    Args:
        jaxpr: any jaxpr.
        unknown_in: which inputs come later.
        recompute: whether cheap intermediate values are computed again rather than kept as residuals.
    """
    return _memo(jaxpr, tuple(unknown_in), recompute)
