"""Fusion: the equations of a jaxpr gathered into kernels, each one trip through memory.

The jaxpr is walked from its end. The latest equation whose uses are all placed starts a group, and the group then takes
in the producers of what it reads, as long as all their uses are placed too: so a group is a contiguous piece of a valid
order, and no cycle can arise. An equation is taken in with the *position* at which the group reads its result. A
movement (a slice, a broadcast, a transpose) only changes the position at which its operand is read; an elementwise
operation is computed at the position; a reduction opens a stage over further axes.

A value that is read at two different positions is stored, not computed twice. One that others need as well is stored by
the kernel that computes it.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Protocol

from functrans.core.jaxpr import Atom, Eqn, Jaxpr, Literal, SizeVar, Var
from functrans.core.primitive import Trait
from functrans.kernel.group import Group
from functrans.kernel.index import Axis, Position
from functrans.kernel.ir import Kernel

Node = Kernel | Eqn


class Target(Protocol):
    """What fusion has to know of a device.

    Attributes:
        guards: whether a load may be guarded, and an index be a number.
    """

    guards: bool

    def holds(self, order: Sequence[Axis], row: Sequence[Axis]) -> bool:
        """Whether a row over some of the axes can be kept at hand between the stages of a kernel."""
        ...

    def computes(self, eqn: Eqn) -> bool:
        """Whether an elementwise operation, a reduction or a running one may stand in a kernel, and is worth it."""
        ...

    def moves(self, eqn: Eqn) -> bool:
        """Whether a movement is worth a kernel, or a store, even if nothing is computed with its result."""
        ...

    def reads(self, position: Position) -> bool:
        """Whether an array can be read at a position."""
        ...


def fuse(jaxpr: Jaxpr, target: Target) -> list[Node]:
    """The jaxpr as kernels and the equations that remain apart, in an order of execution."""
    return _Fusion(jaxpr, target).run()


class _Fusion:
    def __init__(self, jaxpr: Jaxpr, target: Target) -> None:
        self.jaxpr = jaxpr
        self.target = target
        self.eqns = jaxpr.eqns
        self.producer: dict[Atom, int] = {v: i for i, eqn in enumerate(self.eqns) for v in eqn.outs}
        self.waiting = [0] * len(self.eqns)
        self.sources: list[list[int]] = []
        self.uses: dict[Atom, int] = {}
        self.ready: list[int] = []
        self.placed = [False] * len(self.eqns)
        self.readers: dict[Atom, set[int]] = {}
        self.reduces: set[Atom] = set()
        self.free: dict[Atom, Eqn] = {}
        self.wanted: set[Atom] = set(jaxpr.outvars)
        last_effect: int | None = None
        for i, eqn in enumerate(self.eqns):
            inputs = dict.fromkeys(a for a in eqn.inputs if isinstance(a, Var))
            found = dict.fromkeys(self.producer[v] for v in inputs if v in self.producer)
            for v in inputs:
                self.uses[v] = self.uses.get(v, 0) + 1
            if self._follows_reduction(eqn):
                self.reduces.add(eqn.outs[0])
            if self._is_free(eqn):
                self.free[eqn.outs[0]] = eqn
            if eqn.effects:
                if last_effect is not None:
                    found[last_effect] = None
                last_effect = i
            self.sources.append(list(found))
            for p in found:
                self.waiting[p] += 1
        for out in jaxpr.outvars:
            self.uses[out] = self.uses.get(out, 0) + 1

    def run(self) -> list[Node]:
        for i in range(len(self.eqns)):
            if not self.waiting[i]:
                self._release(i)
        blocks: list[Node] = []
        count = 0
        while self.ready:
            i = -heapq.heappop(self.ready)
            if self.placed[i]:
                continue
            eqn = self.eqns[i]
            if eqn.outs and eqn.outs[0] in self.free and eqn.outs[0] not in self.wanted:
                self._place(i)  # all that read it know it from its place
                continue
            group = self._gather(i)
            if group is None:
                self._place(i)
                blocks.append(eqn)
            else:
                blocks.append(group.kernel(f"kernel_{count}"))
                count += 1
            self.wanted.update(blocks[-1].inputs)
        blocks.reverse()
        return blocks

    def _follows_reduction(self, eqn: Eqn) -> bool:
        """Whether a result is a reduction's, or computed from one's of the same size element by element."""
        traits = eqn.prim.traits
        if Trait.REDUCTION in traits:
            return True
        if Trait.ELEMENTWISE not in traits and eqn.prim.index is None:
            return False
        return any([a in self.reduces and a.aval.size == eqn.outs[0].aval.size for a in eqn.inputs])

    def _is_free(self, eqn: Eqn) -> bool:
        """Whether the elements of a result are known from their places alone, so that each reader makes its own."""
        prim = eqn.prim
        if not self.target.guards or prim.index is None or eqn.effects or prim.multiple:
            return False
        if any(isinstance(n, SizeVar) or n == 0 for a in (*eqn.inputs, *eqn.outs) for n in a.aval.shape):
            return False
        views = Trait.VIEW in prim.traits and len(eqn.inputs) == 1
        return not eqn.inputs or (views and (isinstance(eqn.inputs[0], Literal) or eqn.inputs[0] in self.free))

    def _release(self, i: int) -> None:
        """All uses of an equation are placed: it may be placed now."""
        heapq.heappush(self.ready, -i)
        eqn = self.eqns[i]
        if self.target.computes(eqn):
            for a in eqn.inputs:
                if isinstance(a, Var) and a.aval.shape:
                    self.readers.setdefault(a, set()).add(i)

    def _place(self, i: int) -> list[int]:
        """Place an equation; the producers that may be placed then."""
        self.placed[i] = True
        for a in self.eqns[i].inputs:
            if a in self.readers:
                self.readers[a].discard(i)
        freed = []
        for p in self.sources[i]:
            self.waiting[p] -= 1
            if not self.waiting[p]:
                self._release(p)
                freed.append(p)
        return freed

    def _gather(self, i: int) -> Group | None:
        """The group that grows from an equation; None where it stays apart."""
        eqn = self.eqns[i]
        if eqn.effects or not (self.target.computes(eqn) or (eqn.prim.index is not None and self.target.moves(eqn))):
            return None
        group = Group.start(eqn, self.target, self.uses, lambda eqn: eqn.outs[0] in self.reduces, self.free)
        if group is None:
            return None
        producers = [-p for p in self._place(i)]
        heapq.heapify(producers)
        relatives = self._relatives(eqn)
        while producers or relatives:
            if producers:
                p = -heapq.heappop(producers)
                taken = not self.eqns[p].effects and group.absorb(self.eqns[p])
            else:
                p = relatives.pop()
                taken = not self.placed[p] and not self.eqns[p].effects and group.join(self.eqns[p])
            if taken:
                for q in self._place(p):
                    heapq.heappush(producers, -q)
                relatives.extend(self._relatives(self.eqns[p]))
        return group

    def _relatives(self, eqn: Eqn) -> list[int]:
        """Equations that may be placed now and read what this one reads."""
        found: Sequence[int] = [
            i for a in eqn.inputs if isinstance(a, Var) and a.aval.shape for i in self.readers.get(a, ())
        ]
        return sorted(set(found))
