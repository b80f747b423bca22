"""Rows of the algebra that hold up to rounding. They run in ``Algebra(reassociate=True)``, which is off by default."""

from __future__ import annotations

from functrans.core.jaxpr import Atom, Eqn, Literal
from functrans.passes.rows_movement import merged_reductions
from functrans.passes.table import Context, kind_of, number, row


def _float(atom: Atom) -> bool:
    """Whether an operand is a Python float."""
    return isinstance(number(atom), float) and atom.aval.weak


@row("mul", ulps=4, examples=[lambda p, x, y: p.mul(p.mul(x, 3.3), 0.7)])
def multiple_of_a_multiple(context: Context, eqn: Eqn) -> Atom | None:
    x, y = eqn.inputs
    inner = context.made_by(x, "mul")
    if inner is None or not _float(y):
        return None
    a, b = inner.inputs
    return context.emit(eqn.prim, a, Literal(number(b) * number(y), y.aval)) if _float(b) else None


@row("add", ulps=4, examples=[lambda p, x, y: p.add(p.add(x, 3.3), 0.7)])
def sum_with_a_sum(context: Context, eqn: Eqn) -> Atom | None:
    x, y = eqn.inputs
    inner = context.made_by(x, "add")
    if inner is None or not _float(y):
        return None
    a, b = inner.inputs
    return context.emit(eqn.prim, a, Literal(number(b) + number(y), y.aval)) if _float(b) else None


@row("div", ulps=4, examples=[lambda p, x, y: p.div(x, 3.3)])
def times_the_reciprocal(context: Context, eqn: Eqn) -> Atom | None:
    x, y = eqn.inputs
    if not _float(y) or not number(y) or kind_of(eqn) not in "fc" or not 1e-3 < abs(number(y)) < 1e3:
        return None
    return context.emit("mul", x, Literal(1.0 / number(y), y.aval))


@row("sum", ulps=4, examples=[lambda p, x, y: p.sum(p.mul(x, 0.7), axes=(0, 1)),
     lambda p, x, y: p.sum(p.mul(p.neg(x), 0.7), axes=(1,))])  # fmt: skip
def multiple_of_a_sum(context: Context, eqn: Eqn) -> Atom | None:
    """A factor of all terms multiplies their sum."""
    inner = context.made_by(eqn.inputs[0], "mul")
    if inner is None or not eqn.params["axes"]:
        return None
    x, factor = inner.inputs
    if not _float(factor) or x.aval.shape != eqn.inputs[0].aval.shape:
        return None
    return context.emit("mul", context.emit(eqn.prim, x, **eqn.params), factor)


@row("dot_general", ulps=4, examples=[
     lambda p, x, y: p.dot_general(p.mul(x, 0.7), y, dimension_numbers=(((1,), (1,)), ((), ()))),
])  # fmt: skip
def multiple_of_a_product(context: Context, eqn: Eqn) -> Atom | None:
    """A factor of an operand multiplies the product, where that is no larger."""
    for side, a in enumerate(eqn.inputs):
        inner = context.made_by(a, "mul")
        if inner is None or eqn.outs[0].aval.size > a.aval.size or inner.inputs[0].aval.shape != a.aval.shape:
            continue
        x, factor = inner.inputs
        if _float(factor):
            inputs = [*eqn.inputs]
            inputs[side] = x
            return context.emit("mul", context.emit(eqn.prim, *inputs, **eqn.params), factor)
    return None


@row("sum", "reduce_prod", "reduce_max", "reduce_min", ulps=4, examples=[
     lambda p, x, y: p.sum(p.sum(x, axes=(1,)), axes=(0,)),
     lambda p, x, y: p.reduce_max(p.reduce_max(x, axes=(0,)), axes=(0,)),
])  # fmt: skip
def reductions_in_another_order(context: Context, eqn: Eqn) -> Atom | None:
    return merged_reductions(context, eqn)
