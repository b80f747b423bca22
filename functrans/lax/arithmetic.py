"""Arithmetic, element by element: sum, difference, product, quotient, and the two signs of a number."""

from __future__ import annotations

from typing import Any

from functrans.core.primitive import Primitive, Trait, Undefined
from functrans.core.structural import add as add
from functrans.core.structural import add_p as add_p
from functrans.core.structural import convert, unbroadcast
from functrans.core.trace import aval_of
from functrans.lax.families import ANY, bilinear, elementwise
from functrans.lax.samples import binary, unary

NUMBERS = "iufc"


sub_p: Primitive = elementwise(
    "sub",
    "subtract",
    lambda t, out, x, y: t,
    lambda t, out, x, y: neg(t),
    safe=None,
    arity=2,
    kinds=NUMBERS,
    linear=lambda ct, x, y: [
        unbroadcast(ct, x.aval) if isinstance(x, Undefined) else None,
        unbroadcast(neg(ct), y.aval) if isinstance(y, Undefined) else None,
    ],
    samples=binary(kinds=NUMBERS),
)

mul_p: Primitive = elementwise(
    "mul",
    "multiply",
    lambda t, out, x, y: mul(t, y),
    lambda t, out, x, y: mul(x, t),
    arity=2,
    linear=bilinear([lambda ct, y: mul(ct, y), lambda ct, x: mul(ct, x)]),
    traits=(Trait.COMMUTATIVE,),
    samples=binary(kinds=ANY),
)

div_p: Primitive = elementwise(
    "div",
    "true_divide",
    lambda t, out, x, y: div(t, y),
    lambda t, out, x, y: neg(mul(t, div(out, y))),
    arity=2,
    kinds="fc",
    linear=lambda ct, x, y: [unbroadcast(div(ct, y), x.aval), None],
    samples=binary(),
)

neg_p: Primitive = elementwise(
    "neg",
    "negative",
    lambda t, out, x: neg(t),
    safe=None,
    arity=1,
    kinds=NUMBERS,
    linear=lambda ct, x: [unbroadcast(neg(ct), x.aval)],
    samples=unary(kinds=NUMBERS),
)

positive_p: Primitive = elementwise(
    "positive",
    "positive",
    lambda t, out, x: t,
    safe=None,
    arity=1,
    kinds=NUMBERS,
    linear=lambda ct, x: [unbroadcast(ct, x.aval)],
    samples=unary(kinds=NUMBERS),
)


def strong(x: Any, out: Any) -> Any:
    """An operand with the dtype of the result: of use in tangent rules, where it may be a weak Python number."""
    return convert(x, aval_of(out).dtype)


def sub(x: Any, y: Any) -> Any:
    """The difference ``x - y``."""
    return sub_p.bind(x, y)


def mul(x: Any, y: Any) -> Any:
    """The product ``x * y``."""
    return mul_p.bind(x, y)


def div(x: Any, y: Any) -> Any:
    """The quotient ``x / y`` of floats or complex numbers."""
    return div_p.bind(x, y)


def neg(x: Any) -> Any:
    """``-x``."""
    return neg_p.bind(x)


def positive(x: Any) -> Any:
    """``+x``: a copy."""
    return positive_p.bind(x)
