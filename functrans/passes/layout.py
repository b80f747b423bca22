"""Layouts: permutations of axes move through the program until they meet their opposites.

A convolution has one layout, channels before space, and a network written for another one has a permutation in front of
every convolution and one behind it. Here a permutation is not carried out where it stands, but remembered: a variable
is known as another one, of the layout in which it was computed, and the order that its axes would be read in. What
computes element by element works in that layout and gives a result of it; windows, slices, paddings and concatenations
take their parameters along. An operand with fewer axes, such as a bias, is given axes of extent 1 instead. Where an
operation needs the axes as they were, the permutation is carried out, once; two that cancel never are.

The rewriting is kept where at most half as many elements are permuted as before, those of the inputs apart. It is
exact: reductions of floats stay as they are, since in another layout they would take the elements in another order (and
a matrix product agrees with that of another layout only up to rounding anyway).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from functrans.core.jaxpr import Atom, Eqn, Jaxpr, Literal, SizeVar, Var
from functrans.core.primitive import Trait, find
from functrans.passes.algebra import Algebra
from functrans.passes.base import Pass, Rewriter, with_bodies

Order = tuple[int, ...]
"""Of a variable known as ``u``: its axis k is axis ``order[k]`` of ``u``."""


@dataclass(frozen=True)
class Layout(Pass):
    """Compute in the layout that operations prefer, and permute axes only where that ends.

    Attributes:
        reassociate: whether reductions of floats, too, work in another layout, and so in another order.
    """

    name: str = "layout"
    reassociate: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "exact", not self.reassociate)

    def run(self, jaxpr: Jaxpr) -> Jaxpr:
        rewriter = Rewriter(jaxpr)
        for old in jaxpr.eqns:
            eqn = with_bodies(old, self.run)
            rewriter.changed = rewriter.changed or eqn is not old
            rewriter.keep(eqn)
        jaxpr = rewriter.finish()
        if jaxpr.sized or permuted(jaxpr)[1] < 2:
            return jaxpr
        made = _tidy.run(_Moving(jaxpr, self.reassociate).run())
        (before, inner_before), (after, inner_after) = ((permuted(j)[0], permuted(j, True)[0]) for j in (jaxpr, made))
        return made if after < before and 2 * inner_after <= inner_before else jaxpr


_tidy = Algebra(only=("transposes", "transposed_broadcast", "reshapes"))


def permuted(jaxpr: Jaxpr, inside: bool = False) -> tuple[int, int]:
    """How many elements are permuted, and by how many operations; axes of extent 1 have no order.

    ``inside`` leaves out those of the inputs, in which layout these may come, reshaped or not.
    """
    elements = count = 0
    given: set[Atom] = {*jaxpr.invars, *jaxpr.constvars}
    for eqn in jaxpr.eqns:
        if inside and eqn.prim.name in ("reshape", "expand_dims", "squeeze") and eqn.inputs[0] in given:
            given.update(eqn.outs)
        if inside and eqn.inputs and eqn.inputs[0] in given:
            continue
        if eqn.prim.name == "transpose" and moves(eqn.params["axes"], eqn.inputs[0].aval.shape):
            size = eqn.outs[0].aval.size
            elements, count = elements + size, count + 1
    return elements, count


def moves(axes: Order, shape: Sequence[Any]) -> bool:
    """Whether a permutation moves elements, and is no mere reshaping."""
    long = [a for a in axes if shape[a] != 1]
    return long != sorted(long)


class _Moving:
    """One walk through a jaxpr."""

    def __init__(self, jaxpr: Jaxpr, reassociate: bool) -> None:
        self.jaxpr = jaxpr
        self.reassociate = reassociate
        self.rewriter = Rewriter(jaxpr)
        self.known: dict[Atom, tuple[Atom, Order]] = {}
        """The variables that have not been computed in their own layout, with that in which they have."""
        self.settled: dict[tuple[Atom, Order], Atom] = {}

    def run(self) -> Jaxpr:
        for eqn in self.jaxpr.eqns:
            rule = _RULES.get(eqn.prim.name)
            if rule is None and Trait.ELEMENTWISE in eqn.prim.traits and not eqn.prim.multiple:
                rule = _elementwise
            lazy = rule is not None and (eqn.prim.name == "transpose" or any([a in self.known for a in eqn.inputs]))
            found = rule(self, eqn) if lazy and rule is not None and not eqn.effects else None
            if found is None:
                self.rewriter.keep(eqn._replace(inputs=tuple([self.settle(a) for a in eqn.inputs])))
            else:
                atom, order = found
                if order == tuple(range(len(order))):
                    self.rewriter.replace(eqn.outs[0], atom)
                else:
                    self.known[eqn.outs[0]] = found
        for v in self.jaxpr.outvars:
            if v in self.known:
                self.rewriter.replace(v, self.settle(v))  # type: ignore[arg-type]
        self.rewriter.changed = True
        return self.rewriter.finish()

    def settle(self, atom: Atom) -> Atom:
        """An operand with its axes in their own order."""
        if atom not in self.known:
            return self.rewriter.read(atom)
        return self.permuted(*self.known[atom])

    def permuted(self, atom: Atom, order: Order) -> Atom:
        """Another layout of a variable, made once."""
        if order == tuple(range(len(order))):
            return atom
        key = (atom, order)
        if key not in self.settled:
            self.settled[key] = self.emit("transpose", atom, axes=order)
        return self.settled[key]

    def emit(self, name: str, *inputs: Atom, **params: Any) -> Var:
        prim = find(name)
        out = Var(prim.shape(*[a.aval for a in inputs], **params))
        self.rewriter.keep(Eqn(prim, inputs, (out,), params))
        return out

    def apply(self, eqn: Eqn, inputs: Sequence[Atom], **params: Any) -> Var:
        """The result of an operation on operands of another layout."""
        out = Var(eqn.prim.shape(*[a.aval for a in inputs], **(eqn.params | params)))
        self.rewriter.keep(eqn._replace(inputs=tuple(inputs), outs=(out,), params=eqn.params | params))
        return out

    def read(self, atom: Atom, order: Order) -> Atom:
        """An operand of an operation that computes in the layout which ``order`` reads: permuted if it is not in it."""
        inverse = _inverse(order)
        if atom not in self.known:
            return self.permuted(self.rewriter.read(atom), inverse)
        inner, own = self.known[atom]
        return inner if own == order else self.permuted(inner, tuple([own[k] for k in inverse]))


def _inverse(order: Order) -> Order:
    return tuple(sorted(range(len(order)), key=order.__getitem__))


Found = tuple[Atom, Order] | None


def _transpose(self: _Moving, eqn: Eqn) -> Found:
    atom, axes = eqn.inputs[0], eqn.params["axes"]
    inner, order = self.known.get(atom, (self.rewriter.read(atom), tuple(range(len(axes)))))
    return inner, tuple([order[a] for a in axes])


def _elementwise(self: _Moving, eqn: Eqn) -> Found:
    ndim = len(eqn.outs[0].aval.shape)
    size = eqn.outs[0].aval.size
    votes: dict[Order, int] = {tuple(range(ndim)): 0}
    for a in eqn.inputs:
        if isinstance(a, Literal) or len(a.aval.shape) != ndim:
            # An operand with fewer axes can be read in any layout; one that is known in another must have them all.
            if a in self.known:
                return None
            continue
        order = self.known[a][1] if a in self.known else tuple(range(ndim))
        votes[order] = votes.get(order, 0) + (a.aval.size if a in self.known or a.aval.size == size else 0)
    order = max(votes, key=lambda o: (votes[o], o != tuple(range(ndim))))
    if order == tuple(range(ndim)):
        return None
    inputs: list[Atom] = []
    for a in eqn.inputs:
        shape = a.aval.shape
        if not shape:
            inputs.append(self.rewriter.read(a))
        elif len(shape) < ndim:
            full = (1,) * (ndim - len(shape)) + shape
            target = tuple([full[k] for k in _inverse(order)])
            wide = self.emit("reshape", self.rewriter.read(a), shape=full if moves(_inverse(order), full) else target)
            inputs.append(wide if wide.aval.shape == target else self.permuted(wide, _inverse(order)))
        else:
            inputs.append(self.read(a, order))
    return self.apply(eqn, inputs), order


def _along(params: Callable[[dict[str, Any], Order], dict[str, Any]]) -> Callable[[_Moving, Eqn], Found]:
    """The rule of a movement of one array, and perhaps numbers, that keeps axes apart: its parameters permute."""

    def rule(self: _Moving, eqn: Eqn) -> Found:
        first, *rest = eqn.inputs
        if first not in self.known:
            return None
        inner, order = self.known[first]
        changed = params(eqn.params, _inverse(order))
        return self.apply(eqn, [inner, *[self.settle(a) for a in rest]], **changed), order

    return rule


def _pick(values: Sequence[Any], inverse: Order) -> tuple[Any, ...]:
    return tuple([values[k] for k in inverse])


def _windows(self: _Moving, eqn: Eqn) -> Found:
    """Windows over another layout, where the axes that they extend along keep their order: the first of equal elements
    stays the first, and sums are added up in their order."""
    geometry = eqn.params["geometry"]
    orders = {self.known[a][1] for a in eqn.inputs if a in self.known}
    if len(orders) != 1:
        return None
    (order,) = orders
    inverse = _inverse(order)
    extended = [k for k in inverse if geometry.window[k] != 1]
    if extended != sorted(extended):
        return None
    params: dict[str, Any] = {"geometry": type(geometry)(*[_pick(field, inverse) for field in geometry])}
    if "shape" in eqn.params:
        params["shape"] = _pick(eqn.params["shape"], inverse)
    return self.apply(eqn, [self.read(a, order) for a in eqn.inputs], **params), order


def _concatenate(self: _Moving, eqn: Eqn) -> Found:
    orders = [self.known[a][1] for a in eqn.inputs if a in self.known]
    order = orders[0]
    if orders.count(order) * 2 <= len(eqn.inputs):
        return None
    return self.apply(eqn, [self.read(a, order) for a in eqn.inputs], dimension=order[eqn.params["dimension"]]), order


def _basic_index(self: _Moving, eqn: Eqn) -> Found:
    """A slice of every axis, or an element of some: these axes go. New ones may come in front."""
    index, a = eqn.params["index"], eqn.inputs[0]
    inner, order = self.known[a]
    new = next((k for k, entry in enumerate(index) if entry is not None), len(index))
    index = index[new:]
    if None in index:
        return None
    full = (*index, *[(None, None, None)] * (len(order) - len(index)))
    left = _remaining(order, [k for k, entry in enumerate(full) if isinstance(entry, int)])
    made = self.apply(eqn, [inner], index=(*[None] * new, *_pick(full, _inverse(order))))
    return made, (*range(new), *[k + new for k in left])


def _remaining(order: Order, gone: Sequence[int]) -> Order:
    """The order of the axes that remain when some of the variable's own axes go."""
    left = [order[k] for k in range(len(order)) if k not in gone]
    return tuple([sorted(left).index(k) for k in left])


def _reduction(self: _Moving, eqn: Eqn) -> Found:
    inner, order = self.known[eqn.inputs[0]]
    axes = eqn.params["axes"]
    # Which of two zeros is the larger one depends on the order, too.
    if eqn.outs[0].aval.dtype.kind not in "biu" and not self.reassociate:
        return None
    return self.apply(eqn, [inner], axes=tuple(sorted([order[a] for a in axes]))), _remaining(order, axes)


def _reshape(self: _Moving, eqn: Eqn) -> Found:
    """Axes of extent 1 that come in front or go from there, as the groups of a convolution do."""
    atom, shape = eqn.inputs[0], eqn.outs[0].aval.shape
    inner, order = self.known[atom]
    old = atom.aval.shape
    if any(isinstance(n, SizeVar) for n in (*old, *shape)):
        return None
    if len(shape) > len(old) and shape == (*[1] * (len(shape) - len(old)), *old):
        new = len(shape) - len(old)
        made = self.emit("reshape", inner, shape=(*[1] * new, *inner.aval.shape))
        return made, (*range(new), *[k + new for k in order])
    if len(shape) < len(old) and old == (*[1] * (len(old) - len(shape)), *shape):
        gone = range(len(old) - len(shape))
        rest = [n for k, n in enumerate(inner.aval.shape) if k not in [order[g] for g in gone]]
        return self.emit("reshape", inner, shape=tuple(rest)), _remaining(order, gone)
    return None


_RULES: dict[str, Callable[[_Moving, Eqn], Found]] = {
    "transpose": _transpose,
    "reshape": _reshape,
    "expand_dims": _reshape,
    "squeeze": _reshape,
    "basic_index": _basic_index,
    "concatenate": _concatenate,
    "slice": _along(lambda p, inverse: {k: _pick(p[k], inverse) for k in ("start", "limit", "strides")}),
    "pad": _along(lambda p, inverse: {"padding": _pick(p["padding"], inverse)}),
    "rev": _along(lambda p, inverse: {"dimensions": tuple(sorted([inverse.index(d) for d in p["dimensions"]]))}),
    **dict.fromkeys(
        (
            "reduce_window_sum",
            "reduce_window_max",
            "reduce_window_min",
            "window_select",
            "window_gather",
            "window_scatter",
        ),
        _windows,
    ),
    **dict.fromkeys(("sum", "reduce_prod", "reduce_max", "reduce_min", "reduce_any", "reduce_all"), _reduction),
}
