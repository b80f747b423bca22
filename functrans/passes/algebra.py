"""Algebraic simplification: a table of rows, each a way to write one operation that costs less.

A row is a function of an equation and of the equations before it, and gives what takes its place: an operand, or a new
equation's result. It must hold bit for bit for every dtype, for NaN, infinities, signs of zero and empty arrays. A row
that only holds up to rounding is marked ``reassociating``, and runs where the pipeline asks for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from functrans.core.jaxpr import Atom, Eqn, Jaxpr, Literal, SizeVar, Var
from functrans.core.primitive import Primitive, Trait, find
from functrans.passes.base import Pass, Rewriter, with_bodies
from functrans.util.source import Source

Row = Callable[["Context", Eqn], Atom | None]


class Entry(NamedTuple):
    """A row of the table."""

    name: str
    rule: Row
    exact: bool


table: dict[str, list[Entry]] = {}
"""The rows by the primitive that they start from."""


def row(*prims: str, exact: bool = True) -> Callable[[Row], Row]:
    """Enter a row for equations of some primitives."""

    def enter(rule: Row) -> Row:
        for name in prims:
            table.setdefault(name, []).append(Entry(rule.__name__, rule, exact))
        return rule

    return enter


class Context:
    """The equations written so far, for rows to look back at and to add to."""

    def __init__(self, rewriter: Rewriter) -> None:
        self.rewriter = rewriter
        self.source: Source | None = None

    def made_by(self, atom: Atom, name: str) -> Eqn | None:
        """The equation that an operand comes from, where it is one of a primitive."""
        eqn = self.rewriter.definition.get(atom)
        return eqn if eqn is not None and eqn.prim.name == name else None

    def emit(self, prim: Primitive, *inputs: Atom, **params: Any) -> Var:
        """The result of a new equation."""
        out = Var(prim.shape(*[a.aval for a in inputs], **params))
        self.rewriter.keep(Eqn(prim, inputs, (out,), params, self.source))
        return out


@dataclass(frozen=True)
class Algebra(Pass):
    """Apply the rows until none fits."""

    name: str = "algebra"
    reassociate: bool = False

    def run(self, jaxpr: Jaxpr) -> Jaxpr:
        rewriter = Rewriter(jaxpr)
        context = Context(rewriter)
        for old in jaxpr.eqns:
            eqn = with_bodies(rewriter.inputs(old), self.run)
            rewriter.changed = rewriter.changed or eqn is not old
            rows = table.get(eqn.prim.name, ())
            rows = (*rows, *_EVERY) if Trait.ELEMENTWISE in eqn.prim.traits else rows
            if rows and not eqn.prim.multiple:
                context.source = eqn.source
                by = self._simplify(context, eqn, rows)
                if by is not None:
                    rewriter.replace(eqn.outs[0], by)
                    continue
            rewriter.keep(eqn)
        return rewriter.finish()

    def _simplify(self, context: Context, eqn: Eqn, rows: Sequence[Entry]) -> Atom | None:
        for entry in rows:
            if entry.exact or self.reassociate:
                found = entry.rule(context, eqn)
                if found is not None and found.aval == eqn.outs[0].aval:
                    last = context.rewriter.eqns[-1] if context.rewriter.eqns else None
                    if last is None or found not in last.outs or last.prim.multiple:
                        return found
                    # The new equation may be simplified in its turn.
                    context.rewriter.eqns.pop()
                    again = self._again(context, last)
                    return found if again is None else again
        return None

    def _again(self, context: Context, eqn: Eqn) -> Atom | None:
        rows = table.get(eqn.prim.name, ())
        rows = (*rows, *_EVERY) if Trait.ELEMENTWISE in eqn.prim.traits else rows
        by = self._simplify(context, eqn, rows)
        if by is None:
            context.rewriter.keep(eqn)
        return by


def _number(atom: Atom) -> Any:
    """The value of a literal; None for a variable."""
    return atom.value if isinstance(atom, Literal) else None


def _is(atom: Atom, value: float, negative: bool | None = None) -> bool:
    """Whether an operand is the number; for zero, of the given sign."""
    x = _number(atom)
    if x is None or isinstance(x, (complex, np.complexfloating)) or x != value:
        return False
    return negative is None or not isinstance(x, (float, np.floating)) or bool(np.signbit(x)) is negative


# -- identities --------------------------------------------------------------------------------------------------------


@row("positive", "stop_gradient", "copy")
def the_operand_itself(context: Context, eqn: Eqn) -> Atom | None:
    return eqn.inputs[0]


@row("neg")
def double_negation(context: Context, eqn: Eqn) -> Atom | None:
    inner = context.made_by(eqn.inputs[0], "neg")
    return None if inner is None else inner.inputs[0]


@row("mul")
def times_one(context: Context, eqn: Eqn) -> Atom | None:
    x, y = eqn.inputs
    return x if _is(y, 1) else y if _is(x, 1) else None


@row("div")
def over_one(context: Context, eqn: Eqn) -> Atom | None:
    return eqn.inputs[0] if _is(eqn.inputs[1], 1) else None


@row("add")
def plus_zero(context: Context, eqn: Eqn) -> Atom | None:
    # 0.0 + -0.0 is 0.0, so that only the negative zero changes nothing; an integer zero has no sign.
    x, y = eqn.inputs
    integer = eqn.outs[0].aval.dtype.kind in "iu"
    if _is(y, 0, None if integer else True) and (integer or not _whole(y)):
        return x
    return y if _is(x, 0, None if integer else True) and (integer or not _whole(x)) else None


@row("sub")
def minus_zero(context: Context, eqn: Eqn) -> Atom | None:
    return eqn.inputs[0] if _is(eqn.inputs[1], 0, negative=False) else None


def _whole(atom: Atom) -> bool:
    return isinstance(_number(atom), (bool, int))


@row("select")
def same_branches(context: Context, eqn: Eqn) -> Atom | None:
    _, x, y = eqn.inputs
    return x if x is y else None


@row("max", "min", "and", "or", "logical_and", "logical_or")
def the_same_twice(context: Context, eqn: Eqn) -> Atom | None:
    x, y = eqn.inputs
    return x if x is y else None


@row("convert")
def already_of_the_dtype(context: Context, eqn: Eqn) -> Atom | None:
    x = eqn.inputs[0]
    return x if x.aval.dtype == eqn.params["dtype"] else None


@row("sum", "reduce_prod", "reduce_max", "reduce_min", "reduce_any", "reduce_all")
def over_no_axes(context: Context, eqn: Eqn) -> Atom | None:
    return eqn.inputs[0] if eqn.params["axes"] == () else None


# -- signs -------------------------------------------------------------------------------------------------------------


@row("add")
def plus_negative(context: Context, eqn: Eqn) -> Atom | None:
    x, y = eqn.inputs
    inner = context.made_by(y, "neg")
    if inner is not None:
        return context.emit(find("sub"), x, inner.inputs[0])
    inner = context.made_by(x, "neg")
    return None if inner is None else context.emit(find("sub"), y, inner.inputs[0])


@row("sub")
def minus_negative(context: Context, eqn: Eqn) -> Atom | None:
    inner = context.made_by(eqn.inputs[1], "neg")
    return None if inner is None else context.emit(find("add"), eqn.inputs[0], inner.inputs[0])


@row("mul", "div")
def both_negative(context: Context, eqn: Eqn) -> Atom | None:
    x, y = (context.made_by(a, "neg") for a in eqn.inputs)
    if x is None or y is None or eqn.outs[0].aval.dtype.kind == "c":
        return None
    return context.emit(eqn.prim, x.inputs[0], y.inputs[0])


@row("mul")
def times_minus_one(context: Context, eqn: Eqn) -> Atom | None:
    x, y = eqn.inputs
    if eqn.outs[0].aval.dtype.kind not in "if":
        return None
    return context.emit(find("neg"), x) if _is(y, -1) else context.emit(find("neg"), y) if _is(x, -1) else None


@row("neg")
def negative_of_a_multiple(context: Context, eqn: Eqn) -> Atom | None:
    inner = context.made_by(eqn.inputs[0], "mul") or context.made_by(eqn.inputs[0], "div")
    if inner is None or eqn.outs[0].aval.dtype.kind != "f":
        return None
    x, y = inner.inputs
    if isinstance(_number(y), float) and y.aval.weak:
        return context.emit(inner.prim, x, Literal(-_number(y), y.aval))
    if isinstance(_number(x), float) and x.aval.weak:
        return context.emit(inner.prim, Literal(-_number(x), x.aval), y)
    return None


# -- cheaper operations ------------------------------------------------------------------------------------------------


@row("div")
def over_a_power_of_two(context: Context, eqn: Eqn) -> Atom | None:
    x, y = eqn.inputs
    value = _number(y)
    if type(value) not in (int, float) or eqn.outs[0].aval.dtype.kind != "f" or not value:
        return None
    mantissa, exponent = math.frexp(value)
    if abs(mantissa) != 0.5 or not -10 < exponent < 12:
        return None
    return context.emit(find("mul"), x, Literal(1.0 / value))


@row("pow")
def square(context: Context, eqn: Eqn) -> Atom | None:
    # NumPy's power calls square for the array exponent 2 just as for the number.
    x, y = eqn.inputs
    if _is(y, 2) and y.aval.weak and eqn.outs[0].aval.dtype.kind == "f" and x.aval.shape:
        return context.emit(find("square"), x)
    return None


@row("mul", exact=False)
def multiple_of_a_multiple(context: Context, eqn: Eqn) -> Atom | None:
    x, y = eqn.inputs
    inner = context.made_by(x, "mul")
    if inner is None or not isinstance(_number(y), float) or not y.aval.weak:
        return None
    a, b = inner.inputs
    if isinstance(_number(b), float) and b.aval.weak:
        return context.emit(eqn.prim, a, Literal(_number(b) * _number(y), y.aval))
    return None


# -- movements ---------------------------------------------------------------------------------------------------------


@row("transpose")
def transposes(context: Context, eqn: Eqn) -> Atom | None:
    x, axes = eqn.inputs[0], eqn.params["axes"]
    if axes == tuple(range(len(axes))):
        return x
    inner = context.made_by(x, "transpose")
    if inner is None:
        return None
    before = inner.params["axes"]
    axes = tuple([before[a] for a in axes])
    if axes == tuple(range(len(axes))):
        return inner.inputs[0]
    return context.emit(eqn.prim, inner.inputs[0], axes=axes)


@row("reshape", "squeeze", "expand_dims")
def reshapes(context: Context, eqn: Eqn) -> Atom | None:
    x, shape = eqn.inputs[0], eqn.outs[0].aval.shape
    if x.aval.shape == shape:
        return x
    inner = next((e for n in ("reshape", "squeeze", "expand_dims") if (e := context.made_by(x, n))), None)
    if inner is None or any(isinstance(n, SizeVar) for n in shape):
        return None
    first = inner.inputs[0]
    if first.aval.shape == shape == ():
        return None  # boxing: a NumPy scalar is no 0-d array
    return first if first.aval.shape == shape else context.emit(find("reshape"), first, shape=shape)


@row("broadcast")
def broadcasts(context: Context, eqn: Eqn) -> Atom | None:
    x, shape, dims = eqn.inputs[0], eqn.params["shape"], eqn.params["dims"]
    if x.aval.shape == shape:
        return x
    inner = context.made_by(x, "broadcast")
    if inner is None:
        return None
    return context.emit(eqn.prim, inner.inputs[0], shape=shape, dims=tuple([dims[d] for d in inner.params["dims"]]))


@row("rev")
def reversed_twice(context: Context, eqn: Eqn) -> Atom | None:
    inner = context.made_by(eqn.inputs[0], "rev")
    same = inner is not None and set(inner.params["dimensions"]) == set(eqn.params["dimensions"])
    return inner.inputs[0] if inner is not None and same else None


def broadcast_operands(context: Context, eqn: Eqn) -> Atom | None:
    """Elementwise operations broadcast by themselves, as NumPy does."""
    out = eqn.outs[0].aval
    inputs = list(eqn.inputs)
    for k, a in enumerate(inputs):
        inner = context.made_by(a, "broadcast")
        if inner is None:
            continue
        source, dims = inner.inputs[0], inner.params["dims"]
        n = len(a.aval.shape)
        if dims != tuple(range(n - len(dims), n)):
            continue
        trial = [*inputs[:k], source, *inputs[k + 1 :]]
        if all(isinstance(b, Literal) or not b.aval.shape for b in trial):
            continue
        if any(not b.aval.weak for i, b in enumerate(trial) if i != k) or not source.aval.weak:
            if np.broadcast_shapes(*[b.aval.shape for b in trial]) == out.shape:
                inputs = trial
    if inputs == list(eqn.inputs):
        return None
    found = eqn.prim.shape(*[a.aval for a in inputs], **eqn.params)
    return context.emit(eqn.prim, *inputs, **eqn.params) if found == out else None


def on_repeated_scalars(context: Context, eqn: Eqn) -> Atom | None:
    """What is computed from one number at every place is computed once."""
    out = eqn.outs[0].aval
    if not out.shape or Trait.COSTLY in eqn.prim.traits:
        return None
    inputs = []
    for a in eqn.inputs:
        inner = context.made_by(a, "broadcast")
        source = a if inner is None else inner.inputs[0]
        if source.aval.shape != ():
            return None
        inputs.append(source)
    once = eqn.prim.shape(*[a.aval for a in inputs], **eqn.params)
    if once.dtype != out.dtype or once.weak:
        return None
    return context.emit(find("broadcast"), context.emit(eqn.prim, *inputs, **eqn.params), shape=out.shape, dims=())


_EVERY = (
    Entry("broadcast_operands", broadcast_operands, True),
    Entry("on_repeated_scalars", on_repeated_scalars, True),
)


# -- contraction -------------------------------------------------------------------------------------------------------


@row("dot_general")
def transposed_operands(context: Context, eqn: Eqn) -> Atom | None:
    """A permuted operand is read by other axes, where the order of those that remain is the same."""
    (contract, batch) = eqn.params["dimension_numbers"]
    inputs = list(eqn.inputs)
    numbers = [[contract[0], batch[0]], [contract[1], batch[1]]]
    for side, a in enumerate(eqn.inputs):
        inner = context.made_by(a, "transpose")
        if inner is None:
            continue
        axes = inner.params["axes"]
        used = {*numbers[side][0], *numbers[side][1]}
        free = [axes[d] for d in range(len(axes)) if d not in used]
        if free == sorted(free):
            inputs[side] = inner.inputs[0]
            numbers[side] = [tuple([axes[d] for d in group]) for group in numbers[side]]
    if inputs == list(eqn.inputs):
        return None
    (lc, lb), (rc, rb) = numbers
    return context.emit(eqn.prim, *inputs, dimension_numbers=((lc, rc), (lb, rb)))
