"""What a program costs: operations and memory traffic of each node, and the memory of the whole.

Operations are counted, not measured: an elementwise operation is one per element, a transcendental one is counted
apart, a movement is none. Traffic is what a node reads and writes: a kernel its buffers, once, whatever it computes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from functrans.core.jaxpr import Atom, Eqn, Jaxpr, SizeVar, Var, subjaxprs
from functrans.core.primitive import Trait
from functrans.kernel.plan import Plan
from functrans.kernel.waves import Node, Wave


class NodeCost(NamedTuple):
    """One kernel or call.

    Attributes:
        flops: operations but for transcendental ones.
        transcendentals: exponentials, logarithms and the like.
        bytes: read and written.
    """

    name: str
    flops: int
    transcendentals: int
    bytes: int


class Cost(NamedTuple):
    """The cost of a program, node by node in order of execution."""

    nodes: tuple[NodeCost, ...]

    @property
    def flops(self) -> int:
        return sum(n.flops for n in self.nodes)

    @property
    def transcendentals(self) -> int:
        return sum(n.transcendentals for n in self.nodes)

    @property
    def bytes(self) -> int:
        return sum(n.bytes for n in self.nodes)

    def __str__(self) -> str:
        rows = [("node", "flops", "transcendentals", "bytes")]
        rows += [(n.name, f"{n.flops:,}", f"{n.transcendentals:,}", f"{n.bytes:,}") for n in self.nodes]
        rows.append(("total", f"{self.flops:,}", f"{self.transcendentals:,}", f"{self.bytes:,}"))
        widths = [max(len(r[k]) for r in rows) for k in range(4)]
        return "\n".join(r[0].ljust(widths[0]) + "".join("  " + r[k].rjust(widths[k]) for k in (1, 2, 3)) for r in rows)


class Memory(NamedTuple):
    """The memory of a program, in bytes.

    Attributes:
        arguments: of the operands, which the caller holds.
        results: allocated at each call, and the caller's.
        arena: planned memory of intermediate results, kept between calls.
        scratch: what the tiles of kernels are computed in, on all threads together; kept between calls.
        temporaries: the most that results of library calls take at once besides.
        intermediates: all intermediate results, each counted apart: what would be needed without reuse.
        least: the most bytes of planned values alive at once, which no plan can undercut.
        peak: the most that a call has allocated at any time, arguments not counted.
    """

    arguments: int
    results: int
    arena: int
    scratch: int
    temporaries: int
    intermediates: int
    least: int
    peak: int

    def __str__(self) -> str:
        width = max(map(len, self._fields))
        return "\n".join(f"{name.ljust(width)}  {value:>16,}" for name, value in self._asdict().items())


def cost_of(nodes: Iterable[Node]) -> Cost:
    """The cost of each node."""
    return Cost(tuple([node_cost(n) for n in nodes]))


def node_cost(node: Node) -> NodeCost:
    """The cost of one node."""
    if isinstance(node, Eqn):
        flops, special = _operations(node)
        view = Trait.VIEW in node.prim.traits and node.prim.kind == "library"
        return NodeCost(node.prim.name, flops, special, 0 if view else nbytes((*node.inputs, *node.outs)))
    parts = [_operations(eqn) for eqn in node.eqns]
    name = "+".join([e.prim.name for e in node.eqns]) if isinstance(node, Wave) else node.name
    return NodeCost(name, sum(f for f, _ in parts), sum(t for _, t in parts), nbytes((*node.inputs, *node.outs)))


def _operations(eqn: Eqn) -> tuple[int, int]:
    """Plain and transcendental operations of one equation; a loop of unknown length counts one round."""
    prim = eqn.prim
    if prim.flops is not None:
        return prim.flops(*[a.aval for a in eqn.inputs], **eqn.params), 0
    bodies = list(subjaxprs(eqn))
    if bodies:
        found = [tuple(map(sum, zip((0, 0), *[_operations(e) for e in body.eqns], strict=True))) for body in bodies]
        rounds = eqn.params.get("length", 1)
        rounds = rounds if isinstance(rounds, int) else 1
        if prim.kind == "branch":
            return max(f[0] for f in found), max(f[1] for f in found)
        return rounds * sum(f[0] for f in found), rounds * sum(f[1] for f in found)
    if Trait.MOVEMENT in prim.traits:
        return 0, 0
    size = max([_size(a) for a in (*eqn.inputs, *eqn.outs)], default=0)
    if Trait.ELEMENTWISE in prim.traits and Trait.COSTLY in prim.traits:
        return 0, size
    return size, 0


def memory_of(jaxpr: Jaxpr, made: Plan, scratch: int) -> Memory:
    """The memory of a planned program."""
    results = nbytes(dict.fromkeys(v for v in jaxpr.outvars if isinstance(v, Var)))
    results_of = {v for v in jaxpr.outvars if isinstance(v, Var)}
    live: dict[Atom, int] = {}
    peak = most = intermediates = 0
    for i, node in enumerate(made.nodes):
        for v in node.outs:
            if v not in results_of:
                intermediates += 0 if _is_view(node) else nbytes([v])
            if v in made.over and made.over[v] in live:
                live[v] = live.pop(made.over[v])
            elif v not in made.offsets and not _is_view(node):
                live[v] = nbytes([v])
        now = sum(live.values())
        peak = max(peak, now)
        most = max(most, sum(n for v, n in live.items() if v not in results_of))
        for dead in [a for a in live if made.last.get(a, i) <= i]:
            del live[dead]
    copies = sum(nbytes([out]) for out in jaxpr.outvars if isinstance(out, Var) and out not in live)
    peak = max(peak, sum(live.values()) + copies)
    return Memory(
        nbytes((*jaxpr.invars, *jaxpr.constvars)),
        results,
        made.arena,
        scratch,
        most,
        intermediates,
        made.least,
        peak + made.arena + scratch,
    )


def _is_view(node: Node) -> bool:
    return isinstance(node, Eqn) and Trait.VIEW in node.prim.traits and node.prim.kind == "library"


def nbytes(atoms: Iterable[Atom]) -> int:
    """The bytes of some values, 0-d ones not counted."""
    return sum([_size(a) * a.aval.dtype.itemsize for a in atoms if a.aval.shape])


def _size(atom: Atom) -> int:
    size = 1
    for extent in atom.aval.shape:
        size *= 1 if isinstance(extent, SizeVar) else extent
    return size
