"""The error function and its complement."""

from __future__ import annotations

from functrans.backends.llvm.builder import Builder, V
from functrans.backends.llvm.mathematics import coefficients as c
from functrans.backends.llvm.mathematics.exponential import reduced, short_exponential
from functrans.backends.llvm.mathematics.pieces import (
    Pair,
    absolute,
    at_least,
    at_most,
    by_way_of_double,
    exact_product,
    fast_sum,
    less,
    pair_quotient,
    polynomial,
    scaled,
    signed_as,
)


def _near(b: Builder, x: V, kind: str) -> Pair:
    """``erf(x)`` up to 1 as two numbers, the first ``x`` itself."""
    return x, b.mul(x, polynomial(b, b.mul(x, x), c.ERF[kind]))


def _scale(b: Builder, x: V, kind: str) -> tuple[V, V, Pair]:
    """The polynomial of ``erfc`` as a constant and the rest, and what it is to be divided by."""
    four, one = b.like(4.0, x), b.like(1.0, x)
    t = b.div(b.sub(x, four), b.add(x, four))
    first, *others = c.ERFC[kind]
    return b.like(first, x), b.mul(t, polynomial(b, t, others)), fast_sum(b, b.add(x, x), one)


def _square(b: Builder, x: V) -> tuple[V, V, V]:
    """``exp(-x**2)`` as ``reduced`` gives it."""
    square, error = exact_product(b, x, x)
    return reduced(b, b.neg(square), b.neg(error))


def _erf(b: Builder, x: V, kind: str) -> V:
    size = absolute(b, x)
    if kind == "float":
        inner = at_most(b, size, 4.0)
        return signed_as(b, b.mul(inner, polynomial(b, b.mul(inner, inner), c.ERF_WHOLE[kind])), x)
    near = b.add(*_near(b, size, kind))
    outer = at_most(b, at_least(b, size, 1.0), 6.0)
    n, first, rest = _square(b, outer)
    constant, varying, (divisor, _) = _scale(b, outer, kind)
    tail = b.div(b.mul(b.add(first, rest), b.add(constant, varying)), divisor)
    far = b.sub(b.like(1.0, x), scaled(b, tail, n))
    return signed_as(b, b.select(less(b, size, 1.0), near, far), x)


def _erfc(b: Builder, x: V, kind: str) -> V:
    size = absolute(b, x)
    one, two = b.like(1.0, x), b.like(2.0, x)
    outer = at_most(b, at_least(b, size, 0.5), 28.0 if kind == "double" else 11.0)
    constant, varying, divisor = _scale(b, outer, kind)
    high, low = _near(b, x, kind)
    if kind == "float":
        tail = b.div(b.mul(short_exponential(b, b.neg(b.mul(outer, outer))), b.add(constant, varying)), divisor[0])
        near = b.sub(one, b.add(high, low))
    else:
        n, first, rest = _square(b, outer)
        factor, lost = fast_sum(b, constant, varying)
        product, error = exact_product(b, first, factor)
        error = b.add(error, b.muladd(first, lost, b.mul(rest, factor)))
        quotient, more = pair_quotient(b, (product, error), divisor)
        tail = scaled(b, b.add(quotient, more), n)
        top, error = fast_sum(b, one, b.neg(high))
        near = b.add(top, b.sub(error, low))
    far = b.select(less(b, x, 0.0), b.sub(two, tail), tail)
    return b.select(less(b, size, 0.5), near, far)


erf, erfc = by_way_of_double(_erf), by_way_of_double(_erfc)
