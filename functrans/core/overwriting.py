"""Operations that may write their result over an operand: one that dies there, in memory that nobody else sees.

A loop that fills an array, a place at a time, would copy it in every step otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import numpy as np

from functrans.core.jaxpr import Eqn, Jaxpr, Var
from functrans.core.primitive import Trait

Over = dict[int, Callable[..., Any]]


class Memory:
    """Which memory the values of a program lie in, as its equations run one after another.

    Attributes:
        ours: values that own their memory, which the program may write over.
        shows: for each value the owners whose memory it may show.
        last: the equation that reads what an owner holds last, through itself or a view.
    """

    def __init__(self, jaxpr: Jaxpr, nodes: Sequence[Any], owned: Iterable[Var]) -> None:
        self.ours: set[Any] = set(owned)
        self.shows: dict[Any, frozenset[Any]] = {}
        self.last: dict[Any, int] = {}
        for i, node in enumerate(nodes):
            self._read(node.inputs, i)
            prim: Any = getattr(node, "prim", None)
            known = prim is not None and prim.kind in (None, "library", "loop") and not node.effects
            for v in node.outs:
                self.last[v] = i
                if not known or Trait.VIEW in prim.traits:
                    if v.aval.box == "array":
                        self.shows[v] = frozenset(o for a in node.inputs for o in self.owners(a))
                else:
                    self.ours.add(v)
        self._read((*jaxpr.outvars, *jaxpr.constvars), len(nodes))

    def _read(self, atoms: Iterable[Any], i: int) -> None:
        for a in atoms:
            for owner in self.owners(a):
                self.last[owner] = i

    def owners(self, a: Any) -> frozenset[Any]:
        return self.shows.get(a) or (frozenset([a]) if isinstance(a, Var) else frozenset())


def overwritten(
    jaxpr: Jaxpr, nodes: Sequence[Any], owned: Iterable[Var], xp: Any, in_order: Iterable[Var] = ()
) -> Over:
    """The equations that may write their result over their first operand, each with the function that does.

    Args:
        owned: inputs in memory that the program may write to.
        in_order: those of them that lie there in row-major order, as a copy would.
    """
    candidates = [i for i, node in enumerate(nodes) if _may_write(node)]
    if not candidates:
        return {}
    memory = Memory(jaxpr, nodes, owned)
    ordered = set(in_order)
    found: Over = {}
    for i in candidates:
        node = nodes[i]
        x, *others = node.inputs
        if x not in memory.ours or memory.last[x] != i or x.aval != node.outs[0].aval:
            continue
        if any(x in memory.owners(a) for a in others):
            continue
        function = node.prim.over(xp, tuple([a.aval for a in node.inputs]), **node.params)
        if function is not None:
            found[i] = function if x in ordered else _in_order(function)
            ordered.add(node.outs[0])
    return found


def _may_write(node: Any) -> bool:
    prim = getattr(node, "prim", None)
    return prim is not None and prim.over is not None and isinstance(node.inputs[0], Var)


def _in_order(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that writes to its first operand, or to a copy if that is not in row-major order."""

    def write(out: Any, *args: Any) -> Any:
        return function(out if out.flags.c_contiguous else out.copy(), *args)

    return write


def overwritten_carries(jaxpr: Jaxpr, n_consts: int, n_carry: int) -> list[int]:
    """The carries of a loop's body that it writes over, if every step finds them in memory of their own.

    That holds where each step leaves in their place what is its own, and nothing that another carry shows too.
    """
    carry = jaxpr.invars[n_consts : n_consts + n_carry]
    results = jaxpr.outvars[:n_carry]
    if not any(map(_may_write, jaxpr.eqns)):
        return []
    owned = {v for v in carry if v.aval.shape != ()}
    while owned:
        memory = Memory(jaxpr, jaxpr.eqns, owned)
        shown = [memory.owners(r) for r in results]
        lost = {
            v
            for v, r in zip(carry, results, strict=True)
            if v in owned and (r not in memory.ours or sum(r in owners for owners in shown) != 1)
        }
        if not lost:
            break
        owned -= lost
    root: dict[Any, Any] = {v: v for v in owned}
    needed: set[Any] = set()
    for i in overwritten(jaxpr, jaxpr.eqns, owned, np):
        eqn = jaxpr.eqns[i]
        if eqn.inputs[0] in root:
            root[eqn.outs[0]] = root[eqn.inputs[0]]
            needed.add(root[eqn.outs[0]])
    while True:
        # A carry that comes from another one is found in its memory.
        grown = needed | {root[r] for v, r in zip(carry, results, strict=True) if v in needed and r in root}
        if grown == needed:
            return [k for k, v in enumerate(carry) if v in needed]
        needed = grown


def left_in_order(jaxpr: Jaxpr, carry: Sequence[Var], owned: Collection[int]) -> list[Var]:
    """Those of the carries written over that are written over in every step, and so keep the order of their memory."""
    over = overwritten(jaxpr, jaxpr.eqns, [carry[k] for k in owned], np)
    kept: set[Any] = {carry[k] for k in owned}
    for i in over:
        if jaxpr.eqns[i].inputs[0] in kept:
            kept.add(jaxpr.eqns[i].outs[0])
    return [carry[k] for k in owned if all(jaxpr.outvars[j] in kept for j in owned)]


def writes_last(jaxpr: Jaxpr) -> Jaxpr:
    """The program with what reads an array moved before what may write over it, where their order is free."""
    eqns = list(jaxpr.eqns)
    i = len(eqns) - 1
    while i >= 0:
        if _may_write(eqns[i]) and not eqns[i].effects:
            moved = _moved(eqns, i)
            eqns[i : i + len(moved)] = moved
        i -= 1
    return jaxpr if tuple(eqns) == jaxpr.eqns else jaxpr.replace(eqns=eqns)


def _moved(eqns: Sequence[Eqn], i: int) -> list[Eqn]:
    """The equations from the i-th on to the last one that reads what it may write over, in their new order."""
    views: set[Any] = {eqns[i].inputs[0]}
    for eqn in eqns[:i]:
        if Trait.VIEW in eqn.prim.traits and not views.isdisjoint(eqn.inputs):
            views.update(eqn.outs)
    later: set[Any] = set(eqns[i].outs)
    end = i
    for j in range(i + 1, len(eqns)):
        if not later.isdisjoint(eqns[j].inputs):
            later.update(eqns[j].outs)
        elif not views.isdisjoint(eqns[j].inputs):
            end = j
            if Trait.VIEW in eqns[j].prim.traits:
                views.update(eqns[j].outs)
    first = [e for e in eqns[i + 1 : end + 1] if later.isdisjoint(e.outs)]
    rest = [e for e in eqns[i + 1 : end + 1] if not later.isdisjoint(e.outs)]
    if any(e.effects for e in (*first, *rest)):
        return [eqns[i]]
    return [*first, eqns[i], *rest]
