"""Matrix chains: products of several matrices are taken in the order that costs least.

``A @ B @ C @ x`` multiplies from the left as it is written, which makes two matrices before a vector comes; from the
right only vectors are made. The best order of a chain is found by dynamic programming over its pieces (Cormen et al.,
Introduction to Algorithms, "Matrix-chain multiplication"), in the number of multiplications. Results change by rounding
alone, where no intermediate product is infinite, so the pass is not in the default pipeline;
``Pipeline((*default, MatrixChains()))`` has it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from functrans.core.jaxpr import Atom, Eqn, Jaxpr, Var
from functrans.core.primitive import find
from functrans.passes.base import Pass, Rewriter, with_bodies

_PRODUCT = (((1,), (0,)), ((), ()))


@dataclass(frozen=True)
class MatrixChains(Pass):
    """Multiply chains of matrices in the cheapest order."""

    name: str = "chains"
    exact: bool = False

    def run(self, jaxpr: Jaxpr) -> Jaxpr:
        rewriter = Rewriter(jaxpr)
        uses = Counter([a for eqn in jaxpr.eqns for a in eqn.inputs] + list(jaxpr.outvars))
        going_on = {a for eqn in jaxpr.eqns if _is_product(eqn) for a in eqn.inputs}
        for old in jaxpr.eqns:
            eqn = with_bodies(rewriter.inputs(old), self.run)
            rewriter.changed = rewriter.changed or eqn is not old
            # A product that goes on in another one is taken up by that one.
            if not _is_product(eqn) or (uses[eqn.outs[0]] == 1 and eqn.outs[0] in going_on):
                rewriter.keep(eqn)
                continue
            factors = _factors(rewriter, eqn, uses)
            order = _order([f.aval.shape for f in factors]) if len(factors) > 2 else None
            if order is None or _same(rewriter, eqn, uses, order):
                rewriter.keep(eqn)
                continue
            by = _multiplied(rewriter, factors, order, 0, len(factors) - 1, eqn)
            rewriter.replace(eqn.outs[0], by)
        return rewriter.finish()


def _is_product(eqn: Eqn) -> bool:
    """Whether an equation multiplies a matrix by a matrix or a vector, as written, in floats of known shapes."""
    if eqn.prim.name != "dot_general" or eqn.outs[0].aval.dtype.kind not in "fc":
        return False
    x, y = (a.aval for a in eqn.inputs)
    known = all(isinstance(n, int) for n in (*x.shape, *y.shape))
    return known and x.ndim == 2 and y.ndim in (1, 2) and eqn.params["dimension_numbers"] == _PRODUCT


def _factors(rewriter: Rewriter, eqn: Eqn, uses: Counter[Atom]) -> list[Atom]:
    """The matrices whose product an equation computes, through products that nothing else uses."""
    out: list[Atom] = []
    for a in eqn.inputs:
        inner = rewriter.definition.get(a)
        if inner is not None and _is_product(inner) and uses[a] == 1:
            out.extend(_factors(rewriter, inner, uses))
        else:
            out.append(a)
    return out


def _order(shapes: Sequence[tuple[int, ...]]) -> dict[tuple[int, int], int]:
    """Where each piece of a chain is cut in two: after which factor."""
    extents = [shapes[0][0], *[s[1] if len(s) == 2 else 1 for s in shapes]]
    n = len(shapes)
    cost = {(i, i): 0 for i in range(n)}
    cut: dict[tuple[int, int], int] = {}
    for length in range(2, n + 1):
        for i in range(n - length + 1):
            j = i + length - 1
            tries = [
                (cost[i, k] + cost[k + 1, j] + extents[i] * extents[k + 1] * extents[j + 1], -k) for k in range(i, j)
            ]
            cost[i, j], least = min(tries)
            cut[i, j] = -least
    return cut


def _same(rewriter: Rewriter, eqn: Eqn, uses: Counter[Atom], order: dict[tuple[int, int], int]) -> bool:
    """Whether a chain is multiplied in this order already."""

    def walk(at: Eqn, low: int) -> tuple[int, bool]:
        last, good = low - 1, True
        cuts = []
        for a in at.inputs:
            inner = rewriter.definition.get(a)
            if inner is not None and _is_product(inner) and uses[a] == 1:
                last, fine = walk(inner, last + 1)
                good = good and fine
            else:
                last += 1
            cuts.append(last)
        return last, good and order[low, last] == cuts[0]

    return walk(eqn, 0)[1]


def _multiplied(
    rewriter: Rewriter, factors: Sequence[Atom], order: dict[tuple[int, int], int], low: int, high: int, like: Eqn
) -> Atom:
    if low == high:
        return factors[low]
    at = order[low, high]
    x = _multiplied(rewriter, factors, order, low, at, like)
    y = _multiplied(rewriter, factors, order, at + 1, high, like)
    prim = find("dot_general")
    out = Var(prim.shape(x.aval, y.aval, **like.params))
    rewriter.keep(Eqn(prim, (x, y), (out,), like.params, like.source))
    return out
