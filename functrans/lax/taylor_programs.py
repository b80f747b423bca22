"""What the JVP of an operation says of it: where it is linear, where bilinear, and its program where it is neither."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from functrans.core.avals import ShapedArray
from functrans.core.jaxpr import Atom, Eqn, Jaxpr, Literal, Var, dce, used_inputs
from functrans.core.primitive import Params, Primitive, Zero
from functrans.core.stage import stage
from functrans.core.structural import add_p
from functrans.core.trace import reset_trace, set_trace
from functrans.lax.arithmetic import neg_p, sub_p
from functrans.util.cache import Bounded


class TangentProgram(NamedTuple):
    """The JVP of an operation, without its primal results.

    Attributes:
        jaxpr: from all primals and the live tangents to the live tangents of the results.
        live_out: which results have one.
        linear: whether it looks at no primal that has a tangent.
        bilinear: for two operands with tangents, the programs with a tangent of one of them alone, where each of these
            is linear.
    """

    jaxpr: Jaxpr
    live_out: tuple[bool, ...]
    linear: bool
    bilinear: tuple[Jaxpr, Jaxpr] | None


_programs: Bounded[TangentProgram] = Bounded(2048)


def tangent_program(
    prim: Primitive, params: Params, avals: Sequence[ShapedArray], live: tuple[bool, ...]
) -> TangentProgram:
    """What the JVP of an operation does with the tangents of some operands."""
    items = tuple(params.items())
    key = (prim, tuple(avals), live, items, tuple(map(type, params.values())))
    found = _programs.get(key)
    return found if found is not None else _programs.put(key, _tangent_program(prim, params, avals, live))


def _tangent_program(
    prim: Primitive, params: Params, avals: Sequence[ShapedArray], live: tuple[bool, ...]
) -> TangentProgram:
    n = len(avals)
    live_out: list[bool] = []

    def jvp(*args: Any) -> list[Any]:
        given = iter(args[n:])
        tangents = [next(given) if a else Zero(v.tangent()) for a, v in zip(live, avals, strict=True)]
        outs_t = prim.rule("jvp")(args[:n], tangents, **params)[1]
        found = outs_t if prim.multiple else [outs_t]
        live_out[:] = [not isinstance(t, Zero) for t in found]
        return [t for t in found if not isinstance(t, Zero)]

    outer = set_trace(None)
    try:
        jaxpr = _merged(stage(jvp, [*avals, *(v.tangent() for a, v in zip(live, avals, strict=True) if a)], prim.name))
    finally:
        reset_trace(outer)
    used = used_inputs(jaxpr)
    linear = not any(u and a for u, a in zip(used, live, strict=False))
    parts = None
    if not linear and sum(live) == 2:
        i, j = [k for k, a in enumerate(live) if a]
        sides = [tangent_program(prim, params, avals, tuple(k == one for k in range(n))) for one in (i, j)]
        if all(side.linear and side.live_out == tuple(live_out) for side in sides):
            parts = sides[0].jaxpr, sides[1].jaxpr
    return TangentProgram(jaxpr, tuple(live_out), linear, parts)


def _merged(jaxpr: Jaxpr) -> Jaxpr:
    """The program with ``p(a, u) + p(a, v)`` as ``p(a, u + v)``, where ``p`` is linear in that operand.

    The derivative of a solution ``y = solve(a, b)`` is ``solve(a, b') - solve(a, a' y)``. Each of two calls would bring
    two of its own one order below, where one call brings one.
    """
    makes: dict[Atom, Eqn] = {}
    uses: dict[Atom, int] = {}
    for atom in (*jaxpr.outvars, *(a for eqn in jaxpr.eqns for a in eqn.inputs)):
        uses[atom] = uses.get(atom, 0) + 1
    eqns: list[Eqn] = []

    def signed(atom: Atom) -> tuple[int, Eqn | None]:
        eqn, sign = makes.get(atom), 1
        while eqn is not None and eqn.prim is neg_p and uses[atom] == 1:
            atom, sign = eqn.inputs[0], -sign
            eqn = makes.get(atom)
        return sign, eqn if eqn is not None and uses[atom] == 1 and not eqn.prim.multiple else None

    def append(prim: Primitive, inputs: tuple[Atom, ...], aval: ShapedArray) -> Var:
        out = Var(aval)
        eqns.append(Eqn(prim, inputs, (out,), {}))
        uses[out] = 1
        makes[out] = eqns[-1]
        return out

    for eqn in jaxpr.eqns:
        if eqn.prim in (add_p, sub_p):
            (s, one), (t, other) = map(signed, eqn.inputs)
            t = -t if eqn.prim is sub_p else t
            place = None if one is None or other is None else _linear_difference(one, other)
            if one is not None and other is not None and place is not None:
                u, v = one.inputs[place], other.inputs[place]
                if s < 0 < t:
                    (s, u), (t, v) = (t, v), (s, u)
                total: Atom = append(add_p if s == t else sub_p, (u, v), u.aval)
                if s < 0:
                    total = append(neg_p, (total,), u.aval)
                eqn = one._replace(inputs=(*one.inputs[:place], total, *one.inputs[place + 1 :]), outs=eqn.outs)
        eqns.append(eqn)
        makes.update(dict.fromkeys(eqn.outs, eqn))
    return dce(jaxpr.replace(eqns=eqns))


def _linear_difference(one: Eqn, other: Eqn) -> int | None:
    """The operand in which two applications of one operation differ, if it is linear in it."""
    if one.prim is not other.prim or one.params != other.params or len(one.inputs) < 2:
        return None
    places = [i for i, (a, b) in enumerate(zip(one.inputs, other.inputs, strict=True)) if not _same(a, b)]
    if len(places) != 1 or one.inputs[places[0]].aval != other.inputs[places[0]].aval:
        return None
    avals = [a.aval for a in one.inputs]
    program = tangent_program(one.prim, one.params, avals, tuple(i == places[0] for i in range(len(avals))))
    return places[0] if program.linear and all(program.live_out) else None


def _same(a: Atom, b: Atom) -> bool:
    if isinstance(a, Literal) and isinstance(b, Literal):
        return a.value is b.value or (a.aval == b.aval and bool(a.value == b.value))
    return a is b
