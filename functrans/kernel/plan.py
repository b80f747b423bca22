"""The memory plan: where every value that a kernel stores lives, and for how long.

Results are allocated at each call, since they belong to the caller. Everything else shares one arena: two values have
the same place where their lives do not overlap. A kernel writes over an operand that dies with it where each point
reads that operand at the very place it writes.

Offsets are found by first fit in the order of execution. Liveness counts views: what a reshape shows lives as long as
the reshaped.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from functrans.core.jaxpr import Atom, Eqn, Jaxpr, Var
from functrans.core.primitive import Trait
from functrans.kernel.ir import Kernel, Load, Map, Op, ordered
from functrans.kernel.waves import Node, Wave

_ALIGNMENT = 64


@dataclass
class Plan:
    """Nodes in order of execution, and the memory of what the kernels among them store.

    Attributes:
        offsets: values in the arena, by their first byte.
        over: values that take the place of another, which dies where they are made.
        arena: the bytes of the arena.
        total: the bytes of all planned values, each counted apart.
        least: the most bytes of planned values that are alive at once: no plan takes less.
        last: the node that reads a value last, views of it included.
        fresh: values that nothing else shares the memory of, and that are the program's to write over.
    """

    nodes: tuple[Node, ...]
    offsets: dict[Var, int] = field(default_factory=dict)
    over: dict[Var, Var] = field(default_factory=dict)
    arena: int = 0
    total: int = 0
    least: int = 0
    last: dict[Atom, int] = field(default_factory=dict)
    fresh: set[Atom] = field(default_factory=set)


def plan(
    jaxpr: Jaxpr,
    nodes: Sequence[Node],
    owned: Collection[Var] = (),
    writes: Callable[[Eqn], bool] = lambda eqn: False,
) -> Plan:
    """Plan the memory of what kernels store.

    Args:
        owned: inputs that may be written over.
        writes: whether a call writes its one result where it is told to.
    """
    made = Plan(tuple(nodes))
    root = _roots(nodes)
    ends = _last_reads(jaxpr, nodes, root)
    made.last = ends
    results = {root.get(v, v) for v in jaxpr.outvars if isinstance(v, Var)}
    kept = set(results)
    fresh = made.fresh
    fresh.update(owned)
    for eqn in _calls(nodes):
        if eqn.prim.kind not in (None, "library") or eqn.effects:
            kept.update([root.get(a, a) for a in eqn.inputs])
        elif Trait.VIEW not in eqn.prim.traits:
            fresh.update(eqn.outs)
    arena = Arena()
    for i, node in enumerate(nodes):
        if isinstance(node, Kernel):
            for v in node.outs:
                old = _replaced(node, v, i, ends, made, results, kept, fresh, root)
                if old is not None:
                    made.over[v] = old
                    if old in made.offsets:
                        made.offsets[v] = made.offsets[old]
                        arena.live[v] = arena.live.pop(old)
                    elif v not in kept:
                        fresh.add(v)
                elif v not in kept:
                    made.offsets[v] = arena.take(v, v.aval.size * v.aval.dtype.itemsize)
                else:
                    fresh.add(v)
        elif isinstance(node, Eqn) and node.outs and node.outs[0] not in kept and writes(node):
            (v,) = node.outs
            made.offsets[v] = arena.take(v, v.aval.size * v.aval.dtype.itemsize)
            fresh.discard(v)
        arena.free([v for v in arena.live if ends.get(v, i) <= i])
    made.arena, made.total, made.least = arena.end, arena.total, arena.least
    return made


def _calls(nodes: Sequence[Node]) -> Iterator[Eqn]:
    for node in nodes:
        if isinstance(node, Wave):
            yield from node.eqns
        elif isinstance(node, Eqn):
            yield node


def _roots(nodes: Sequence[Node]) -> dict[Atom, Atom]:
    """The value whose memory each view shows; a view of several operands keeps the first, and they all live on."""
    root: dict[Atom, Atom] = {}
    for node in _calls(nodes):
        if Trait.VIEW in node.prim.traits and node.prim.kind == "library":
            inputs = [a for a in node.inputs if isinstance(a, Var)]
            for v in node.outs:
                if inputs:
                    root[v] = root.get(inputs[0], inputs[0])
    return root


def _last_reads(jaxpr: Jaxpr, nodes: Sequence[Node], root: dict[Atom, Atom]) -> dict[Atom, int]:
    last: dict[Atom, int] = {}
    for i, node in enumerate(nodes):
        for v in node.outs:
            last[v] = i
        for a in node.inputs:
            last[a] = last[root.get(a, a)] = i
    for a in (*jaxpr.outvars, *jaxpr.constvars):
        last[a] = last[root.get(a, a)] = len(nodes)
    return last


def _replaced(
    kernel: Kernel,
    v: Var,
    i: int,
    ends: dict[Atom, int],
    made: Plan,
    results: Collection[Atom],
    kept: Collection[Atom],
    fresh: Collection[Atom],
    root: Mapping[Atom, Atom],
) -> Var | None:
    """An operand of a kernel that a result may take the place of."""
    taken = set(made.over[w] for w in kernel.outs if w in made.over)
    for a in kernel.inputs:
        arena = a in made.offsets and v not in kept
        if not (arena or a in fresh) or ends.get(a) != i or a in taken or a in results:
            continue
        if takes_place(kernel, v, a) and [root.get(b, b) for b in kernel.inputs].count(root.get(a, a)) == 1:
            return a
    return None


def takes_place(kernel: Kernel, v: Var, a: Var) -> bool:
    """Whether a result of a kernel may be written over an operand: each point reads that at the place it writes."""
    stages = kernel.stages
    if len(stages) != 1 or not isinstance(stages[0].kind, Map):
        return False
    if a.aval.shape != v.aval.shape or a.aval.dtype != v.aval.dtype:
        return False
    stage = stages[0]
    k, access = next((s.k, s.access) for s in stage.stores if s.access.buffer is v)
    order = ordered(stage.values)
    loads = [e for e in order if isinstance(e, Load) and e.access.buffer is a]
    if len(loads) != 1 or loads[0].access.position != access.position or loads[0].access.guard:
        return False
    stored = stage.values[k]
    at = next((n for n, e in enumerate(order) if e is stored), -1)
    return isinstance(stored, Op) and not any(isinstance(e, Op) and loads[0] in e.args for e in order[at + 1 :])


class Arena:
    """First fit over the free gaps."""

    def __init__(self) -> None:
        self.live: dict[Var, tuple[int, int]] = {}
        self.end = 0
        self.total = 0
        self.now = 0
        self.least = 0

    def take(self, v: Var, size: int) -> int:
        size = -(-size // _ALIGNMENT) * _ALIGNMENT
        at = 0
        for start, stop in sorted(self.live.values()):
            if start - at >= size:
                break
            at = max(at, stop)
        self.live[v] = (at, at + size)
        self.end = max(self.end, at + size)
        self.total += size
        self.now += size
        self.least = max(self.least, self.now)
        return at

    def free(self, dead: Sequence[Var]) -> None:
        for v in dead:
            start, stop = self.live.pop(v)
            self.now -= stop - start
