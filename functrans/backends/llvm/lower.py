"""Operations that NumPy has calls of its own for, and that native code computes better from their parts.

Random words are filled block by block in NumPy; in a kernel they are computed where they are used, and never stored.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from functrans.core.jaxpr import Eqn, Jaxpr, SizeVar, Var, rename
from functrans.core.stage import stage
from functrans.lax.creation import iota_p
from functrans.passes.base import Rewriter, with_bodies
from functrans.util.cache import Bounded, WeakMemo

WRITTEN_OUT = frozenset({"threefry2x32", "random_bits", "random_unit", "erf_inv_by_polynomial", "eye", "tri"})
_traced: Bounded[Jaxpr] = Bounded(1024)


def _parts_of(eqn: Eqn) -> Jaxpr:
    """The parts of an operation, traced once for each type of operands."""
    avals = tuple([a.aval for a in eqn.inputs])
    key = (eqn.prim, avals, *eqn.params.items())
    body = _traced.get(key)
    if body is None:
        decompose = eqn.prim.rule("decompose")

        def parts(*xs: Any) -> list[Any]:
            found = decompose(*xs, **eqn.params)
            return list(found) if eqn.prim.multiple else [found]

        body = _traced.put(key, stage(parts, avals, eqn.prim.name))
    return body


def _lower(jaxpr: Jaxpr) -> Jaxpr:
    rewriter = Rewriter(jaxpr)
    consts = _counters(rewriter)
    for old in jaxpr.eqns:
        eqn = with_bodies(rewriter.inputs(old), lowered)
        rewriter.changed = rewriter.changed or eqn is not old
        sized = any(isinstance(n, SizeVar) for v in eqn.outs for n in v.aval.shape)
        if eqn.prim.name not in WRITTEN_OUT or eqn.prim.decompose is None or sized:
            rewriter.keep(eqn)
            continue
        body = _parts_of(eqn)
        if body.out_avals != tuple([v.aval for v in eqn.outs]) or body.constvars:
            rewriter.keep(eqn)
            continue
        eqns, outs = rename(lowered(body), eqn.inputs)
        for part in eqns:
            rewriter.keep(part._replace(source=eqn.source))
        for v, out in zip(eqn.outs, outs, strict=True):
            rewriter.replace(v, out)
    kept = [(v, c) for v, c in zip(jaxpr.constvars, jaxpr.consts, strict=True) if v not in consts]
    if not consts:
        return rewriter.finish()
    return rewriter.finish(constvars=tuple([v for v, _ in kept]), consts=tuple([c for _, c in kept]))


def _counters(rewriter: Rewriter) -> set[Var]:
    """Constants that count along an axis become counters again: as indices they need not be looked at."""
    found: set[Var] = set()
    for v, c in zip(rewriter.jaxpr.constvars, rewriter.jaxpr.consts, strict=True):
        long = [d for d, n in enumerate(v.aval.shape) if n != 1]
        if v.aval.dtype.kind not in "iu" or len(long) != 1 or not isinstance(c, np.ndarray) or c.size == 0:
            continue
        if c.reshape(-1)[-1] == c.size - 1 and np.array_equal(c.reshape(-1), np.arange(c.size, dtype=c.dtype)):
            params = {"dtype": v.aval.dtype, "shape": v.aval.shape, "dimension": long[0]}
            rewriter.keep(Eqn(iota_p, (), (v,), params))
            found.add(v)
            rewriter.changed = True
    return found


lowered: WeakMemo[Jaxpr] = WeakMemo(_lower)
"""The jaxpr with such operations written out, bodies of loops and branches too."""
