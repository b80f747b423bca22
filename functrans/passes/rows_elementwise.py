"""Rows of the algebra for elementwise operations: identities, signs, cheaper operations, selections, casts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from functrans.core import dtypes
from functrans.core.dtypes import DType
from functrans.core.jaxpr import Atom, Eqn, Literal
from functrans.core.primitive import Trait
from functrans.passes.table import ELEMENTWISE, Context, is_number, kind_of, number, row, whole

# -- identities --------------------------------------------------------------------------------------------------------


@row(
    "positive",
    "stop_gradient",
    "copy",
    examples=[lambda p, x, y: p.positive(x), lambda p, x, y: p.stop_gradient(x), lambda p, x, y: p.copy(x)],
)
def the_operand_itself(context: Context, eqn: Eqn) -> Atom | None:
    return eqn.inputs[0]


@row("neg", examples=[lambda p, x, y: p.neg(p.neg(x))])
def double_negation(context: Context, eqn: Eqn) -> Atom | None:
    inner = context.made_by(eqn.inputs[0], "neg")
    return None if inner is None else inner.inputs[0]


@row("not", "logical_not", "conj", examples=[lambda p, x, y: getattr(p, "not")(getattr(p, "not")(x)),
     lambda p, x, y: p.logical_not(p.logical_not(x)), lambda p, x, y: p.conj(p.conj(x))])  # fmt: skip
def undone(context: Context, eqn: Eqn) -> Atom | None:
    inner = context.made_by(eqn.inputs[0], eqn.prim.name)
    return None if inner is None else inner.inputs[0]


@row(
    "abs", "floor", "ceil", "trunc", "rint", "sign",
    examples=[
        lambda p, x, y: p.abs(p.abs(x)), lambda p, x, y: p.floor(p.floor(x)), lambda p, x, y: p.ceil(p.ceil(x)),
        lambda p, x, y: p.trunc(p.trunc(x)), lambda p, x, y: p.rint(p.rint(x)), lambda p, x, y: p.sign(p.sign(x)),
    ],
)  # fmt: skip
def done_already(context: Context, eqn: Eqn) -> Atom | None:
    x = eqn.inputs[0]
    complex_ = context.made_by(x, eqn.prim.name) is not None and dtypes.kind(x.aval.dtype) == "c"
    return x if context.made_by(x, eqn.prim.name) is not None and not complex_ else None


@row("mul", examples=[lambda p, x, y: p.mul(x, 1.0), lambda p, x, y: p.mul(1, x)])
def times_one(context: Context, eqn: Eqn) -> Atom | None:
    # A complex product has terms with the zero imaginary part of one, which infinities turn into NaN.
    x, y = eqn.inputs
    if kind_of(eqn) == "c":
        return None
    return x if is_number(y, 1) else y if is_number(x, 1) else None


@row("div", examples=[lambda p, x, y: p.div(x, 1.0), lambda p, x, y: p.div(x, 1)])
def over_one(context: Context, eqn: Eqn) -> Atom | None:
    return eqn.inputs[0] if is_number(eqn.inputs[1], 1) and kind_of(eqn) != "c" else None


@row("pow", examples=[lambda p, x, y: p.pow(x, 1.0), lambda p, x, y: p.pow(x, 1)])
def to_the_first(context: Context, eqn: Eqn) -> Atom | None:
    x, y = eqn.inputs
    return x if is_number(y, 1) and y.aval.weak and kind_of(eqn) != "c" else None


@row("add", examples=[lambda p, x, y: p.add(x, -0.0), lambda p, x, y: p.add(-0.0, x), lambda p, x, y: p.add(x, 0)])
def plus_zero(context: Context, eqn: Eqn) -> Atom | None:
    # 0.0 + -0.0 is 0.0, so that only the negative zero changes nothing; an integer zero has no sign.
    x, y = eqn.inputs
    integer = kind_of(eqn) in "iu"
    if kind_of(eqn) == "c":
        return None
    if is_number(y, 0, None if integer else True) and (integer or not whole(y)):
        return x
    return y if is_number(x, 0, None if integer else True) and (integer or not whole(x)) else None


@row("sub", examples=[lambda p, x, y: p.sub(x, 0.0), lambda p, x, y: p.sub(x, 0)])
def minus_zero(context: Context, eqn: Eqn) -> Atom | None:
    return eqn.inputs[0] if is_number(eqn.inputs[1], 0, negative=False) else None


@row(
    "logical_and", "logical_or", "and", "or",
    examples=[
        lambda p, x, y: p.logical_and(x, True), lambda p, x, y: p.logical_or(False, x),
        lambda p, x, y: getattr(p, "and")(x, True), lambda p, x, y: getattr(p, "or")(x, False),
    ],
)  # fmt: skip
def with_a_known_truth(context: Context, eqn: Eqn) -> Atom | None:
    neutral = eqn.prim.name in ("logical_and", "and")
    x, y = eqn.inputs
    if kind_of(eqn) != "b":
        return None
    return x if is_number(y, neutral) else y if is_number(x, neutral) else None


@row(
    "max", "min", "and", "or", "logical_and", "logical_or",
    examples=[
        lambda p, x, y: p.max(x, x), lambda p, x, y: p.min(x, x), lambda p, x, y: p.logical_and(x, x),
        lambda p, x, y: getattr(p, "or")(x, x),
    ],
)  # fmt: skip
def the_same_twice(context: Context, eqn: Eqn) -> Atom | None:
    x, y = eqn.inputs
    return x if x is y else None


@row(
    "real", "imag",
    examples=[lambda p, x, y: p.real(p.complex(x, y)), lambda p, x, y: p.imag(p.complex(x, y))],
)  # fmt: skip
def a_part_of_two(context: Context, eqn: Eqn) -> Atom | None:
    inner = context.made_by(eqn.inputs[0], "complex")
    return None if inner is None else inner.inputs[0 if eqn.prim.name == "real" else 1]


# -- signs -------------------------------------------------------------------------------------------------------------


def _negated(context: Context, atom: Atom) -> Atom | None:
    """What an operand is the negative of. Not a Python number: that may have no place in the dtype."""
    inner = context.made_by(atom, "neg")
    return None if inner is None or inner.inputs[0].aval.weak else inner.inputs[0]


@row("add", examples=[lambda p, x, y: p.add(x, p.neg(y)), lambda p, x, y: p.add(p.neg(x), y)])
def plus_negative(context: Context, eqn: Eqn) -> Atom | None:
    x, y = eqn.inputs
    inner = _negated(context, y)
    if inner is not None:
        return context.emit("sub", x, inner)
    inner = _negated(context, x)
    return None if inner is None else context.emit("sub", y, inner)


@row("sub", examples=[lambda p, x, y: p.sub(x, p.neg(y))])
def minus_negative(context: Context, eqn: Eqn) -> Atom | None:
    inner = _negated(context, eqn.inputs[1])
    return None if inner is None else context.emit("add", eqn.inputs[0], inner)


@row("mul", "div", examples=[lambda p, x, y: p.mul(p.neg(x), p.neg(y)), lambda p, x, y: p.div(p.neg(x), p.neg(y))])
def both_negative(context: Context, eqn: Eqn) -> Atom | None:
    x, y = (_negated(context, a) for a in eqn.inputs)
    # The least integer is its own negative, and a quotient tells.
    if x is None or y is None or kind_of(eqn) == "c" or (eqn.prim.name == "div" and x.aval.dtype.kind in "iu"):
        return None
    return context.emit(eqn.prim, x, y)


@row("mul", examples=[lambda p, x, y: p.mul(x, -1.0), lambda p, x, y: p.mul(-1, x)])
def times_minus_one(context: Context, eqn: Eqn) -> Atom | None:
    x, y = eqn.inputs
    if kind_of(eqn) not in "if":
        return None
    return context.emit("neg", x) if is_number(y, -1) else context.emit("neg", y) if is_number(x, -1) else None


@row("neg", examples=[lambda p, x, y: p.neg(p.mul(x, 3.3)), lambda p, x, y: p.neg(p.div(x, 0.7)),
     lambda p, x, y: p.neg(p.div(2.5, x))])  # fmt: skip
def negative_of_a_multiple(context: Context, eqn: Eqn) -> Atom | None:
    inner = context.made_by(eqn.inputs[0], "mul", "div")
    if inner is None or kind_of(eqn) != "f":
        return None
    x, y = inner.inputs
    if isinstance(number(y), float) and y.aval.weak:
        return context.emit(inner.prim, x, Literal(-number(y), y.aval))
    if isinstance(number(x), float) and x.aval.weak:
        return context.emit(inner.prim, Literal(-number(x), x.aval), y)
    return None


@row("abs", "square", examples=[lambda p, x, y: p.abs(p.neg(x)), lambda p, x, y: p.square(p.neg(x)),
     lambda p, x, y: p.square(p.abs(x))])  # fmt: skip
def of_the_negative(context: Context, eqn: Eqn) -> Atom | None:
    inner = context.made_by(eqn.inputs[0], "neg", *(("abs",) if eqn.prim.name == "square" else ()))
    # The negative of an unsigned number is another positive one.
    if inner is None or dtypes.kind(inner.inputs[0].aval.dtype) not in ("if" if eqn.prim.name == "abs" else "iuf"):
        return None
    return context.emit(eqn.prim, inner.inputs[0])


# -- cheaper operations ------------------------------------------------------------------------------------------------


@row("div", examples=[lambda p, x, y: p.div(x, 8.0), lambda p, x, y: p.div(x, -0.25), lambda p, x, y: p.div(x, 2)])
def over_a_power_of_two(context: Context, eqn: Eqn) -> Atom | None:
    x, y = eqn.inputs
    value = number(y)
    if type(value) not in (int, float) or kind_of(eqn) != "f" or not value or dtypes.is_extended(x.aval.dtype):
        return None
    mantissa, exponent = math.frexp(value)
    if abs(mantissa) != 0.5 or not -10 < exponent < 12:
        return None
    return context.emit("mul", x, Literal(1.0 / value))


@row("pow", examples=[lambda p, x, y: p.pow(x, 2), lambda p, x, y: p.pow(x, 2.0)])
def square(context: Context, eqn: Eqn) -> Atom | None:
    # NumPy's power calls square for the array exponent 2 just as for the number.
    x, y = eqn.inputs
    if is_number(y, 2) and y.aval.weak and kind_of(eqn) in "iuf" and x.aval.shape:
        return context.emit("square", x)
    return None


# -- comparisons and selections ------------------------------------------------------------------------------------


_OPPOSITE = {"eq": "ne", "ne": "eq", "lt": "ge", "ge": "lt", "gt": "le", "le": "gt"}


@row("logical_not", examples=[lambda p, x, y: p.logical_not(p.eq(x, y)), lambda p, x, y: p.logical_not(p.lt(x, y)),
     lambda p, x, y: p.logical_not(p.ge(x, y))])  # fmt: skip
def opposite_comparison(context: Context, eqn: Eqn) -> Atom | None:
    inner = context.made_by(eqn.inputs[0], *_OPPOSITE)
    if inner is None:
        return None
    ordered = all(a.aval.dtype.kind in "biu" for a in inner.inputs)
    if not ordered and inner.prim.name not in ("eq", "ne"):
        return None  # NaN is neither less nor at least
    return context.emit(_OPPOSITE[inner.prim.name], *inner.inputs)


@row("select", examples=[lambda p, x, y: p.select(p.ne(y, y), x, x)])
def same_branches(context: Context, eqn: Eqn) -> Atom | None:
    _, x, y = eqn.inputs
    return x if x is y else None


@row("select", examples=[lambda p, x, y: p.select(True, x, y), lambda p, x, y: p.select(False, x, y)])
def known_choice(context: Context, eqn: Eqn) -> Atom | None:
    chosen = number(eqn.inputs[0])
    return None if chosen is None else eqn.inputs[1 if chosen else 2]


@row("select", examples=[lambda p, x, y: p.select(p.logical_not(p.eq(x, y)), x, y)])
def opposite_choice(context: Context, eqn: Eqn) -> Atom | None:
    pred, x, y = eqn.inputs
    inner = context.made_by(pred, "logical_not")
    if inner is None or inner.inputs[0].aval.dtype.kind != "b":
        return None
    return context.emit(eqn.prim, inner.inputs[0], y, x)


def _twice(p: Any, x: Any, y: Any, first: bool) -> Any:
    c = p.ne(x, x)
    inner = p.select(c, y, x)
    return p.select(c, inner, y) if first else p.select(c, x, inner)


@row("select", examples=[lambda p, x, y: _twice(p, x, y, True), lambda p, x, y: _twice(p, x, y, False)])
def chosen_already(context: Context, eqn: Eqn) -> Atom | None:
    pred, x, y = eqn.inputs
    for k, branch in ((1, x), (2, y)):
        inner = context.made_by(branch, "select")
        if inner is not None and inner.inputs[0] is pred:
            inputs = [pred, x, y]
            inputs[k] = inner.inputs[k]
            return context.emit(eqn.prim, *inputs)
    return None


# -- casts -------------------------------------------------------------------------------------------------------------


_WIDER = (np.float32, np.complex64, np.int64, np.float64, np.complex128)


@row("convert", examples=[lambda p, x, y: p.convert(x, dtype=x.dtype)])
def already_of_the_dtype(context: Context, eqn: Eqn) -> Atom | None:
    x = eqn.inputs[0]
    return x if x.aval.dtype == eqn.params["dtype"] else None


@row("convert", examples=[lambda p, x, y: p.select(p.convert(True, dtype=np.dtype(bool)), x, y),
     lambda p, x, y: p.add(p.convert(2, dtype=x.dtype), x)])  # fmt: skip
def known_number(context: Context, eqn: Eqn) -> Atom | None:
    """A small whole Python number is one of every dtype."""
    value, dtype = number(eqn.inputs[0]), eqn.params["dtype"]
    if type(value) not in (bool, int) or not 0 <= value < 100 or dtypes.is_extended(dtype):
        return None
    return Literal(np.asarray(value, dtype)[()])


@row(
    "convert",
    examples=[
        *[lambda p, x, y, d=d: p.convert(p.convert(x, dtype=np.dtype(d)), dtype=x.dtype) for d in _WIDER],
        *[lambda p, x, y, d=d: p.convert(p.convert(x, dtype=np.dtype(d)), dtype=np.dtype("f4")) for d in _WIDER],
        *[lambda p, x, y, d=d: p.convert(p.convert(x, dtype=np.dtype(d)), dtype=np.dtype("i2")) for d in _WIDER],
    ],
)  # fmt: skip
def through_a_wider_dtype(context: Context, eqn: Eqn) -> Atom | None:
    inner = context.made_by(eqn.inputs[0], "convert")
    if inner is None:
        return None
    x, middle, dtype = inner.inputs[0], inner.params["dtype"], eqn.params["dtype"]
    if x.aval.weak or not _holds(middle, x.aval.dtype):
        return None
    if x.aval.dtype == dtype:
        return x
    # What a float out of range becomes as an integer is nowhere said, and differs from one dtype to the next.
    if x.aval.dtype.kind not in "bui" and dtype.kind in "bui":
        return None
    if (
        x.aval.dtype.kind in "ui"
        and middle.kind not in "ui"
        and dtype.kind in "bui"
        and not _holds(dtype, x.aval.dtype)
    ):
        return None
    return context.emit(eqn.prim, x, dtype=dtype)


def _holds(wide: DType, narrow: DType) -> bool:
    """Whether a dtype has every value of another one."""
    if dtypes.is_extended(wide) or dtypes.is_extended(narrow):
        return False
    if narrow.kind in "ui" and wide.kind in "fc":
        mantissa = np.finfo(wide).nmant + 1
        return narrow.itemsize * 8 - (narrow.kind == "i") <= mantissa and wide != np.dtype(np.float16)
    return np.can_cast(narrow, wide, "safe")


# -- operands that repeat ----------------------------------------------------------------------------------------------


@row(
    ELEMENTWISE,
    examples=[
        lambda p, x, y: p.add(x, p.broadcast(p.sum(y, axes=tuple(range(y.ndim))), shape=x.shape, dims=())),
        lambda p, x, y: p.max(
            p.broadcast(p.squeeze(p.slice(x, start=(0,) * x.ndim, limit=(1, *x.shape[1:]), strides=(1,) * x.ndim),
            dims=(0,)), shape=x.shape, dims=tuple(range(1, x.ndim))), y),
    ],
)  # fmt: skip
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
        # NumPy raises everything to one power by other means than each element to its own.
        if Trait.COSTLY in eqn.prim.traits:
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


def _all(p: Any, x: Any, like: Any) -> Any:
    scalar = p.reduce_max(x, axes=tuple(range(x.ndim)))
    return p.broadcast(scalar, shape=like.shape, dims=())


@row(
    ELEMENTWISE,
    examples=[
        lambda p, x, y: p.mul(_all(p, x, y), 3),
        lambda p, x, y: p.neg(_all(p, x, y)),
        lambda p, x, y: p.max(_all(p, x, y), _all(p, y, y)),
    ],
)
def on_repeated_scalars(context: Context, eqn: Eqn) -> Atom | None:
    """What is computed from one number at every place is computed once."""
    out = eqn.outs[0].aval
    # Of no elements nothing is computed, and nothing can go wrong.
    if not out.shape or 0 in out.shape or Trait.COSTLY in eqn.prim.traits:
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
    return context.emit("broadcast", context.emit(eqn.prim, *inputs, **eqn.params), shape=out.shape, dims=())
