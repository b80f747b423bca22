"""The known/unknown split: what can be computed before the tangents are there, and what has to wait for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from functrans.core.jaxpr import (
    Atom,
    Eqn,
    Jaxpr,
    Literal,
    SizeVar,
    Var,
    dce,
    effects_of,
    sizes_in,
    sizes_of,
    without_effects,
)
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


def _split_jaxpr(jaxpr: Jaxpr, unknown_in: tuple[bool, ...], recompute: bool, again: Again) -> Split:
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
    sized = jaxpr.sized or any([type(out) is SizeVar for eqn in known_eqns for out in eqn.outs])
    if again is not None:
        unknown_eqns = _repeated(jaxpr, known_eqns, unknown_eqns, again) + unknown_eqns
    bound: set[Atom] = set(unknown)
    residuals: dict[Var, None] = {}
    for eqn in unknown_eqns:
        for a in _needs(eqn, sized):
            if a not in bound:
                residuals[a] = None
        bound.update(eqn.outs)
    if sized:
        sizes = [size for v in [*residuals, *unknown] for size in sizes_in(v.aval) if size not in bound]
        residuals = dict.fromkeys([*sizes, *residuals])
    known_index = {v: i for i, v in enumerate(known_in)}
    extra: list[Atom] = [v for v in residuals if v not in known_index]
    known = dce(Jaxpr(known_in, known_eqns, known_out + extra, jaxpr.constvars, jaxpr.consts))
    order = [*residuals]
    unknown_inputs = [v for v, u in zip(jaxpr.invars, unknown_in, strict=True) if u]
    rest = dce(Jaxpr(order + unknown_inputs, unknown_eqns, needed))
    return Split(known, rest, tuple(v in unknown for v in jaxpr.outvars), tuple(known_index.get(v) for v in order))


Again = int | str | None


def _needs(eqn: Eqn, sized: bool) -> list[Var]:
    """The variables that an equation reads, and those of its sizes that it does not find itself."""
    read = [a for a in eqn.inputs if isinstance(a, Var)]
    if sized:
        read += [size for size in sizes_of(eqn) if size not in eqn.outs]
    return read


def _repeated(jaxpr: Jaxpr, known: Sequence[Eqn], unknown: Sequence[Eqn], again: Again) -> list[Eqn]:
    """The known equations that the unknown side of a region runs a second time.

    Of a region that is run many times each residual is kept once for every time. What depends only on the first
    ``again`` inputs, which are the same every time, is not kept; nor is an array of a size that only a run can tell, as
    such arrays need not fit together; with ``"all"`` nothing is.
    """
    if again == "all":
        chosen = {id(eqn) for eqn in known if not eqn.effects}
    else:
        assert isinstance(again, int)
        fixed: set[Atom] = {*jaxpr.invars[:again], *jaxpr.constvars}
        chosen = set()
        for eqn in known:
            same = fixed.issuperset(_needs(eqn, True)) and not eqn.effects
            if same:
                fixed.update(eqn.outs)
            if same or any([type(v) is SizeVar or any(True for _ in sizes_in(v.aval)) for v in eqn.outs]):
                chosen.add(id(eqn))
    needed: set[Atom] = {a for eqn in unknown for a in _needs(eqn, True)}
    wanted = []
    for eqn in reversed(known):
        if id(eqn) in chosen and not needed.isdisjoint(eqn.outs):
            # What a loop does besides is done once, the first time it runs.
            wanted.append(without_effects(eqn))
            needed.update(_needs(eqn, True))
    return wanted[::-1]


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


def parts_of(known: Eqn, unknown: Eqn) -> SplitEqn:
    """The two parts of a region, with the effects that each has; one with neither results nor effects is left out."""
    fresh = [eqn._replace(effects=effects_of(eqn.prim, eqn.params)) for eqn in (known, unknown)]
    first, rest = [(eqn,) if eqn.outs or eqn.effects else () for eqn in fresh]
    return SplitEqn(first, rest)


_memo: WeakMemo[Split] = WeakMemo(_split_jaxpr)


def split_jaxpr(jaxpr: Jaxpr, unknown_in: Sequence[bool], recompute: bool = False, again: Again = None) -> Split:
    """Split a jaxpr by which of its inputs are known first.

    Args:
        jaxpr: any jaxpr.
        unknown_in: which inputs come later.
        recompute: whether cheap intermediate values are computed again rather than kept as residuals.
        again: for a region that is run many times, or not at all, what is computed again each time: what depends on
            this many first inputs alone, and arrays of a size that only a run can tell; or ``"all"``.
    """
    return _memo(jaxpr, tuple(unknown_in), recompute, again)
