"""Exponentials and logarithms, element by element."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from functrans.core import dtypes
from functrans.core.primitive import Primitive, Trait
from functrans.core.trace import aval_of
from functrans.lax.arithmetic import add, div, mul, neg, strong, sub
from functrans.lax.compare import bitwise_and, eq, isinf, lt
from functrans.lax.complex import real
from functrans.lax.families import FLOAT, elementwise
from functrans.lax.samples import binary, unary
from functrans.lax.selection import select

_POSITIVE = (0.5, 1.5, 2.0, 0.25, 3.0, 0.75)

exp_p: Primitive = elementwise(
    "exp", "exp", lambda t, out, x: mul(t, out), arity=1, kinds=FLOAT, samples=unary(), traits=(Trait.COSTLY,)
)
exp2_p: Primitive = elementwise(
    "exp2",
    "exp2",
    lambda t, out, x: mul(mul(t, out), math.log(2)),
    arity=1,
    kinds=FLOAT,
    samples=unary(),
    traits=(Trait.COSTLY,),
)
expm1_p: Primitive = elementwise(
    "expm1",
    "expm1",
    lambda t, out, x: mul(t, add(out, 1.0)),
    arity=1,
    kinds=FLOAT,
    samples=unary(),
    traits=(Trait.COSTLY,),
)
log_p: Primitive = elementwise(
    "log",
    "log",
    lambda t, out, x: div(t, x),
    arity=1,
    kinds=FLOAT,
    samples=unary(*_POSITIVE),
    traits=(Trait.COSTLY,),
)
log2_p: Primitive = elementwise(
    "log2",
    "log2",
    lambda t, out, x: div(mul(t, math.log2(math.e)), strong(x, out)),
    arity=1,
    kinds=FLOAT,
    samples=unary(*_POSITIVE),
    traits=(Trait.COSTLY,),
)
log10_p: Primitive = elementwise(
    "log10",
    "log10",
    lambda t, out, x: div(mul(t, math.log10(math.e)), strong(x, out)),
    arity=1,
    kinds=FLOAT,
    samples=unary(*_POSITIVE),
    traits=(Trait.COSTLY,),
)
log1p_p: Primitive = elementwise(
    "log1p",
    "log1p",
    lambda t, out, x: div(t, add(x, 1.0)),
    arity=1,
    kinds=FLOAT,
    samples=unary(-0.5, 1.5, 0.01, 0.25, 3.0, -0.75),
    traits=(Trait.COSTLY,),
)

# -- logistic -----------------------------------------------------------------------------------------------------


def _logistic_impl(xp: Any, x: Any) -> Any:
    x = np.asarray(x)[()] if isinstance(x, (int, float, complex)) else x
    negative = x.real < 0
    e = xp.exp(xp.where(negative, x, xp.negative(x)))
    return xp.true_divide(xp.where(negative, e, 1.0), xp.add(e, 1.0))


def _logistic_decompose(x: Any) -> Any:
    # Neither branch overflows: the exponential is at most one.
    negative = lt(real(x) if dtypes.is_complex(aval_of(x).dtype) else x, 0)
    e = exp(select(negative, x, neg(x)))
    return div(select(negative, e, 1.0), add(e, 1.0))


logistic_p: Primitive = elementwise(
    "logistic",
    "logistic",
    lambda t, out, x: mul(t, mul(out, sub(1.0, out))),
    arity=1,
    kinds=FLOAT,
    impl=_logistic_impl,
    decompose=_logistic_decompose,
    samples=unary(),
    traits=(Trait.COSTLY, Trait.COMPOUND),
)

# -- logaddexp ----------------------------------------------------------------------------------------------------


def _share(out: Any, x: Any, y: Any, scale: float | None = None) -> Any:
    """The part of ``exp(x)`` in ``exp(x) + exp(y)``; of ``b**x`` for the base whose logarithm is ``scale``."""
    x, y = strong(x, out), strong(y, out)
    # The difference of equal infinities is NaN, and what is meant is a tie.
    tie = bitwise_and(eq(x, y), isinf(x))
    difference = sub(select(tie, 0.0, x), select(tie, 0.0, y))
    return logistic(difference if scale is None else mul(difference, scale))


logaddexp_p: Primitive = elementwise(
    "logaddexp",
    "logaddexp",
    lambda t, out, x, y: mul(t, _share(out, x, y)),
    lambda t, out, x, y: mul(t, _share(out, y, x)),
    arity=2,
    kinds="f",
    samples=binary(kinds="f"),
    traits=(Trait.COMMUTATIVE, Trait.COSTLY),
)
logaddexp2_p: Primitive = elementwise(
    "logaddexp2",
    "logaddexp2",
    lambda t, out, x, y: mul(t, _share(out, x, y, math.log(2))),
    lambda t, out, x, y: mul(t, _share(out, y, x, math.log(2))),
    arity=2,
    kinds="f",
    samples=binary(kinds="f"),
    traits=(Trait.COMMUTATIVE, Trait.COSTLY),
)


def exp(x: Any) -> Any:
    """The exponential of floats or complex numbers.

    >>> exp(np.array([0.0, 1.0]))
    array([1.        , 2.71828183])
    """
    return exp_p.bind(x)


def exp2(x: Any) -> Any:
    """``2**x``."""
    return exp2_p.bind(x)


def expm1(x: Any) -> Any:
    """``exp(x) - 1``, precise near 0. Its derivative is taken from the result: ``expm1(x) + 1``."""
    return expm1_p.bind(x)


def log(x: Any) -> Any:
    """The natural logarithm. Of a negative float it is NaN; of a complex number, the principal value."""
    return log_p.bind(x)


def log2(x: Any) -> Any:
    """The logarithm to base 2."""
    return log2_p.bind(x)


def log10(x: Any) -> Any:
    """The logarithm to base 10."""
    return log10_p.bind(x)


def log1p(x: Any) -> Any:
    """``log(1 + x)``, precise near 0."""
    return log1p_p.bind(x)


def logistic(x: Any) -> Any:
    """The logistic function ``1 / (1 + exp(-x))``, without overflow. Its derivative is taken from the result.

    >>> logistic(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    return logistic_p.bind(x)


def logaddexp(x: Any, y: Any) -> Any:
    """``log(exp(x) + exp(y))``, without overflow.

    The derivatives are the parts of each in the sum. Where both are the same infinity, each has one half.

    >>> logaddexp(np.array([-np.inf, 1000.0]), -np.inf)
    array([ -inf, 1000.])
    """
    return logaddexp_p.bind(x, y)


def logaddexp2(x: Any, y: Any) -> Any:
    """``log2(2**x + 2**y)``, without overflow; derivatives as for ``logaddexp``."""
    return logaddexp2_p.bind(x, y)
