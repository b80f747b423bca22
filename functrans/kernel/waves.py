"""Parallel scheduling of what stays apart: independent long calls stand in one wave, and run side by side.

Kernels use all threads by themselves, and so do the libraries behind ``Trait.THREADED``; the rest (sorts, transforms,
gathers) runs on one. A wave takes in later calls whose operands are there already: of ``b = sort(a)``, ``c = fft(a)``,
``d = b * c`` the first two make a wave, and the third waits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from functrans.core.jaxpr import Atom, Eqn, Var
from functrans.kernel.ir import Kernel


class Wave:
    """Calls that run at the same time."""

    def __init__(self, eqns: Sequence[Eqn]) -> None:
        self.eqns = tuple(eqns)
        self.inputs = tuple(dict.fromkeys(a for eqn in eqns for a in eqn.inputs if isinstance(a, Var)))
        self.outs = tuple([v for eqn in eqns for v in eqn.outs])

    @property
    def params(self) -> dict[str, Any]:
        return {}


Node = Kernel | Eqn | Wave


def waves(nodes: Sequence[Kernel | Eqn], long: Callable[[Eqn], bool]) -> list[Node]:
    """The nodes with independent long calls gathered into waves, in an order of execution."""
    rest = list(nodes)
    candidates = [isinstance(n, Eqn) and not n.effects and long(n) for n in rest]
    if sum(candidates) < 2:
        return list(rest)
    maker: dict[Atom, int] = {v: i for i, n in enumerate(rest) for v in n.outs}
    placed: set[int] = set()
    order: list[Node] = []
    for i, node in enumerate(rest):
        if i in placed:
            continue
        if not candidates[i]:
            order.append(node)
            placed.add(i)
            continue
        together = [i]
        for j in range(i + 1, len(rest)):
            if candidates[j] and j not in placed and all(maker.get(a, -1) in placed | {-1} for a in rest[j].inputs):
                together.append(j)
        eqns = [rest[j] for j in together]
        order.append(node if len(eqns) == 1 else Wave([e for e in eqns if isinstance(e, Eqn)]))
        placed.update(together)
    return order
