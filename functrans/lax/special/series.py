"""What decompositions are built of: polynomials, rational functions, and elementary functions near their zeros."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans.core.structural import convert
from functrans.core.trace import aval_of
from functrans.lax.arithmetic import add, div, mul, neg, sub
from functrans.lax.compare import ge, gt, le, logical_and, lt
from functrans.lax.control.loop import while_loop
from functrans.lax.exponential import exp
from functrans.lax.magnitude import abs as magnitude
from functrans.lax.reduction import reduce_any
from functrans.lax.rounding import floor, rint
from functrans.lax.selection import select
from functrans.lax.special import coefficients
from functrans.lax.special.coefficients import Rational
from functrans.lax.trigonometric import sin

EULER = 0.5772156649015329
LOG_2PI = math.log(2 * math.pi)
ROOT_2PI = math.sqrt(2 * math.pi)


def polynomial(coefficients: Sequence[float], x: Any) -> Any:
    """A polynomial of rising powers, by Horner's rule."""
    out: Any = coefficients[-1]
    if len(coefficients) == 1:
        return add(mul(x, 0.0), out)
    for c in reversed(coefficients[:-1]):
        out = add(mul(out, x), c)
    return out


def rational(of: Rational, x: Any) -> Any:
    """A quotient of polynomials."""
    t = sub(x, of.center) if of.center else x
    top = polynomial(of.numerator, t)
    return div(top, polynomial(of.denominator, t)) if len(of.denominator) > 1 else top


def eps(x: Any) -> float:
    """The rounding of the dtype of an operand."""
    return float(np.finfo(aval_of(x).dtype).eps)


def between(x: Any, low: float, high: float) -> Any:
    """Whether ``low <= x < high``."""
    return logical_and(ge(x, low), lt(x, high))


def pick(like: Any, condition: Any, yes: float, no: float) -> Any:
    """One of two numbers, in the dtype of an operand."""
    kind = aval_of(like).dtype.type
    return select(condition, kind(yes), kind(no))


def sin_pi(x: Any) -> Any:
    """``sin(pi * x)``, exact at integers. The relative error is 2 eps."""
    whole = rint(x)
    inner = sin(mul(sub(x, whole), math.pi))
    half = mul(whole, 0.5)
    return select(lt(floor(half), half), neg(inner), inner)


def cos_pi(x: Any) -> Any:
    """``cos(pi * x)``, exact at half integers."""
    y = magnitude(x)
    return sin_pi(sub(0.5, sub(y, mul(floor(mul(y, 0.5)), 2.0))))


def exp_of_square(x: Any) -> Any:
    """``exp(-x * x)`` where rounding the square would cost accuracy: the leading bits of ``x`` are squared apart."""
    head = mul(rint(mul(x, 16.0)), 0.0625)
    return mul(exp(neg(mul(head, head))), exp(neg(mul(sub(x, head), add(x, head)))))


def inner_deviance(x: Any) -> Any:
    """``x - log(1 + x)`` for ``-0.35 < x < 0.5``. The relative error is 4 eps."""
    return mul(mul(x, x), rational(coefficients.LOG1PMX, x))


def iterate(
    step: Callable[[Any, tuple[Any, ...]], tuple[tuple[Any, ...], Any]],
    start: Sequence[Any],
    limit: int,
    margin: int = 0,
) -> tuple[Any, ...]:
    """A sum or continued fraction, term after term until none changes any element.

    Args:
        step: ``step(n, values)`` gives the values after term ``n``, counted from 1 in their dtype, and where the term
            still counted.
        limit: the largest number of terms.
        margin: for derivatives, which converge after the values: how many terms to take beyond a quarter more.
    """
    dtype = aval_of(start[0]).dtype
    one = np.int32(1)

    def running(carry: tuple[Any, ...]) -> Any:
        n, last, *_ = carry
        end = add(mul(last, np.int32(5)), np.int32(4 * margin)) if margin else mul(last, np.int32(4))
        return logical_and(le(n, np.int32(limit)), lt(mul(sub(n, one), np.int32(4)), add(end, np.int32(4))))

    def body(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        n, last, *values = carry
        after, counted = step(convert(n, dtype), tuple(values))
        some = reduce_any(counted, tuple(range(aval_of(counted).ndim)))
        return (add(n, one), select(some, n, last), *after)

    return tuple(while_loop(running, body, (one, np.int32(0), *start))[2:])


Terms = Callable[[Any], tuple[Any, Any]]


def continued_fraction(
    first: Any, terms: Terms, limit: int, margin: int = 0, guide: tuple[Any, Terms] | None = None
) -> Any:
    """``1 / (first + t_1 / (b_1 + t_2 / (b_2 + ...)))`` by the modified algorithm of Lentz.

    Args:
        terms: ``terms(n)`` gives ``t_n`` and ``b_n``.
        limit, margin: as for ``iterate``.
        guide: another fraction, which decides when to stop. A fraction with ``t_n = 0`` for the given operands has all
            of its value before, but not its derivatives.
    """
    tolerance = eps(first)
    fractions = [(first, terms), *([] if guide is None else [guide])]

    def step(n: Any, values: tuple[Any, ...]) -> tuple[tuple[Any, ...], Any]:
        after: list[Any] = []
        change: Any = None
        for k, (_, of) in enumerate(fractions):
            upper, lower, product = values[3 * k : 3 * k + 3]
            top, bottom = of(n)
            lower = div(1.0, add(bottom, mul(top, lower)))
            upper = add(bottom, div(top, upper))
            change = mul(upper, lower)
            after += [upper, lower, mul(product, change)]
        return tuple(after), gt(magnitude(sub(change, 1.0)), tolerance)

    start: list[Any] = []
    for b, _ in fractions:
        # What stands above the first term is infinite.
        start += [add(mul(b, 0.0), 1e30), div(1.0, b), div(1.0, b)]
    return iterate(step, start, limit, margin)[2]
