"""Bodies of loops over a few elements: every element in a register of its own.

The state of a small system of equations is three numbers or four. As a vector in memory each step would wait for what
the last one stored; in registers it waits for nothing but the arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod
from typing import Any

import numpy as np

from functrans.backends.llvm.block import Step, Text, single
from functrans.backends.llvm.builder import V
from functrans.backends.llvm.casts import lane
from functrans.backends.llvm.casts import native as is_native
from functrans.backends.llvm.numbers import separated
from functrans.backends.llvm.operations import ROWS
from functrans.backends.llvm.steps import is_fixed, operates, step_of
from functrans.core.jaxpr import Eqn, Jaxpr, Literal
from functrans.core.primitive import Source, Trait
from functrans.kernel.index import Index
from functrans.lax.indexing import basic_set_p, embed_p, numpy_index

SMALL = 4
"""Elements of an array that is kept in registers."""
MATRIX = 16
"""Elements of an operand that a product of matrices reads from memory."""
PLAIN = 4
"""The cost of an operation up to which it makes no difference that it is done element by element."""
COSTLY = 64
"""What all others may cost together besides what they would in one vector."""
LARGEST = 600
"""Operations of a body."""


class SmallStep(Step):
    """An operation on a few elements."""

    def __init__(self, eqn: Eqn) -> None:
        self.eqn = eqn
        self.inputs, self.outs = eqn.inputs, eqn.outs
        self.cost = prod(eqn.outs[0].aval.shape) * 2

    def in_register(self, v: Any) -> bool:
        return True

    def emit(self, text: Text, work: str) -> None:
        (out,) = self.outs
        text.know_elements(out, self.computed(text))

    def computed(self, text: Text) -> list[V]:
        raise NotImplementedError


class _Each(SmallStep):
    def computed(self, text: Text) -> list[V]:
        eqn, out = self.eqn, self.outs[0].aval
        given = []
        for a in eqn.inputs:
            places = np.arange(prod(a.aval.shape)).reshape(a.aval.shape)
            parts = text.elements(a)
            given.append([parts[k] for k in np.broadcast_to(places, out.shape).ravel().tolist()])
        return [
            text.scalars.operate(eqn.prim, eqn.params, eqn.inputs, xs, out.dtype) for xs in zip(*given, strict=True)
        ]


class _Moved(SmallStep):
    def __init__(self, eqn: Eqn, sources: Sequence[tuple[int, int] | int]) -> None:
        super().__init__(eqn)
        self.sources = sources
        self.cost = 0

    def computed(self, text: Text) -> list[V]:
        dtype = self.outs[0].aval.dtype
        parts = [text.elements(a) for a in self.inputs]
        return [
            text.b.const(dtype.type(s), lane(dtype), 1) if isinstance(s, int) else parts[s[0]][s[1]]
            for s in self.sources
        ]


class _Product(SmallStep):
    """A product of matrices, or of vectors."""

    def computed(self, text: Text) -> list[V]:
        b = text.b
        (lc, rc), (lb, rb) = self.eqn.params["dimension_numbers"]
        x, y = self.inputs
        xs, ys = text.elements(x), text.elements(y)
        shapes = x.aval.shape, y.aval.shape
        lf = [d for d in range(len(shapes[0])) if d not in (*lc, *lb)]
        rf = [d for d in range(len(shapes[1])) if d not in (*rc, *rb)]
        found = []
        extents = [shapes[0][d] for d in (*lb, *lf)] + [shapes[1][d] for d in rf]
        for place in product(*map(range, extents)):
            at = dict(zip([*[(0, d) for d in (*lb, *lf)], *[(1, d) for d in rf]], place, strict=True))
            total: V | None = None
            for inner in product(*[range(shapes[0][d]) for d in lc]):
                at |= {(0, d): k for d, k in zip(lc, inner, strict=True)}
                at |= {(1, d): k for d, k in zip(rc, inner, strict=True)}
                at |= {(1, r): at[0, d] for d, r in zip(lb, rb, strict=True)}
                i, j = (
                    int(np.ravel_multi_index([at[n, d] for d in range(len(shape))], shape)) if shape else 0
                    for n, shape in enumerate(shapes)
                )
                total = b.mul(xs[i], ys[j]) if total is None else b.muladd(xs[i], ys[j], total)
            assert total is not None
            found.append(total)
        return found


class _Sum(SmallStep):
    """The sum over some axes."""

    def computed(self, text: Text) -> list[V]:
        (x,), (out,) = self.inputs, self.outs
        parts = text.elements(x)
        places = np.arange(len(parts)).reshape(x.aval.shape)
        axes = self.eqn.params["axes"]
        kept = [d for d in range(places.ndim) if d not in axes]
        rows = places.transpose(*kept, *axes).reshape(prod(out.aval.shape), -1)
        found = []
        for row in rows.tolist():
            total = parts[row[0]]
            for k in row[1:]:
                total = text.b.add(total, parts[k])
            found.append(total)
        return found


def small_steps(jaxpr: Jaxpr) -> list[Step] | None:
    """The steps of a body over a few elements; None where it is none, or better computed in vectors."""
    everything = (*jaxpr.invars, *jaxpr.outvars, *[a for e in jaxpr.eqns for a in (*e.inputs, *e.outs)])
    if jaxpr.constvars or not is_fixed(everything):
        return None
    steps: list[Step] = []
    several = work = extra = 0
    for eqn in separated(jaxpr).eqns:
        sizes = [prod(a.aval.shape) for a in (*eqn.inputs, *eqn.outs)]
        limit = MATRIX if eqn.prim.name == "dot_general" else SMALL
        if eqn.effects or not all(0 < n <= limit for n in sizes):
            return None
        n = sizes[-1]
        step = step_of(eqn) if all(single(a.aval) for a in (*eqn.inputs, *eqn.outs)) else None
        step = step if step is not None and step.of is None and step.kernel is None else small_step(eqn)
        if step is None or not all(step.in_register(v) for v in step.outs):
            return None
        row = ROWS.get(eqn.prim.name)
        several += n > 1
        work += n
        extra += (n - 1) * row.cost if row is not None and row.cost > PLAIN else 0
        steps.append(step)
    if any(not 0 < prod(v.aval.shape) <= SMALL for v in jaxpr.outvars):
        return None
    return steps if several and work <= LARGEST and extra <= COSTLY else None


def small_step(eqn: Eqn) -> Step | None:
    """An operation on a few elements, each in a register; None where it is not done so."""
    prim = eqn.prim
    if len(eqn.outs) != 1 or not all(is_native(a.aval.dtype) for a in (*eqn.inputs, *eqn.outs)):
        return None
    (out,) = eqn.outs
    if prod(out.aval.shape) > SMALL:
        return None
    if prim.index is not None:
        sources = _sources(eqn)
        return None if sources is None else _Moved(eqn, sources)
    if prim is embed_p or prim is basic_set_p:
        return _Moved(eqn, _embedded(eqn))
    if Trait.ELEMENTWISE in prim.traits:
        return _Each(eqn) if eqn.inputs and operates(eqn) else None
    same = out.aval.dtype.kind == "f" and all(a.aval.dtype == out.aval.dtype for a in eqn.inputs)
    if not same or any(isinstance(a, Literal) for a in eqn.inputs):
        return None
    if prim.name == "dot_general":
        return _Product(eqn)
    return _Sum(eqn) if prim.monoid == "add" and Trait.REDUCTION in prim.traits and "axes" in eqn.params else None


def _embedded(eqn: Eqn) -> list[tuple[int, int] | int]:
    """The same for an array written at a static index into another, or into zeros."""
    *base, updates = eqn.inputs
    shape = eqn.outs[0].aval.shape
    n = prod(shape)
    found: list[tuple[int, int] | int] = [(0, k) if base else 0 for k in range(n)]
    places = np.arange(n).reshape(shape)[numpy_index(eqn.params["index"])]
    given = np.broadcast_to(np.arange(prod(updates.aval.shape)).reshape(updates.aval.shape), places.shape)
    for to, k in zip(places.ravel(), given.ravel(), strict=True):
        found[to] = (len(base), int(k))
    return found


def _sources(eqn: Eqn) -> list[tuple[int, int] | int] | None:
    """For each element of a movement's result the operand and its element, or the number, that it is."""
    assert eqn.prim.index is not None
    found = []
    for place in product(*map(range, eqn.outs[0].aval.shape)):
        at = tuple([Index(k) for k in place])
        source = _source(eqn, eqn.prim.index(at, *[a.aval for a in eqn.inputs], **eqn.params))
        if source is None:
            return None
        found.append(source)
    return found


def _source(eqn: Eqn, source: Any) -> tuple[int, int] | int | None:
    if not isinstance(source, Source):
        return None
    position = [_number(i) for i in source.position]
    guards = [(_number(i), low, high) for i, low, high in source.guard]
    if any(i is None for i in position) or any(g[0] is None for g in guards):
        return None
    if not all(low <= i < high for i, low, high in guards if i is not None):
        other = source.other
        if other is None or isinstance(other, int):
            return 0 if other is None else (other, 0)
        return _source(eqn, other)
    if source.operand is None:
        return position[0] if len(position) == 1 else None
    shape = eqn.inputs[source.operand].aval.shape
    flat = 0
    for i, n in zip(position, shape, strict=True):
        assert i is not None
        flat = flat * n + i
    return source.operand, flat


def _number(index: Any) -> int | None:
    if isinstance(index, int):
        return index
    return index.const if isinstance(index, Index) and not index.terms else None
