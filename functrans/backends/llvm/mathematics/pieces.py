"""What elementary functions are made of: bits of numbers, polynomials, and sums of two numbers that stand for one.

A pair ``(high, low)`` stands for the sum of both, where ``low`` is at most a rounding of ``high`` large. The sums and
products are those of Dekker, "A floating-point technique for extending the available precision" (1971), and Knuth,
"The art of computer programming", volume 2, 4.2.2. Products take one step where the machine fuses a product and a sum.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from functrans.backends.llvm.builder import BITS, Builder, V

Pair = tuple[V, V]
_MAGIC = {"double": 6755399441055744.0, "float": 12582912.0}
BIAS = {"double": 1023, "float": 127}
SHIFT = {"double": 52, "float": 23}


def integer(ty: str) -> str:
    """The integer type of the same width."""
    return f"i{BITS[ty]}"


def bits(b: Builder, x: V) -> V:
    return b.cast("bitcast", x, integer(x.ty))


def floating(b: Builder, x: V) -> V:
    """The number that bits spell."""
    return b.cast("bitcast", x, "double" if x.ty == "i64" else "float")


def absolute(b: Builder, x: V) -> V:
    return b.call("fabs", x)


def signed_as(b: Builder, x: V, y: V) -> V:
    """The size of ``x`` with the sign of ``y``."""
    return b.call("copysign", x, y)


def polynomial(b: Builder, x: V, coefficients: Sequence[float]) -> V:
    """The polynomial with the coefficients of rising powers, by Horner's rule."""
    value = b.like(coefficients[-1], x)
    for c in reversed(coefficients[:-1]):
        value = b.muladd(value, x, b.like(c, x))
    return value


def negmuladd(b: Builder, x: V, y: V, z: V) -> V:
    """``z - x * y``, rounded once where the machine can."""
    return b.muladd(b.neg(x), y, z) if b.fma else b.sub(z, b.mul(x, y))


def less(b: Builder, x: V, bound: float) -> V:
    return b.compare("olt", x, b.like(bound, x))


def above(b: Builder, x: V, bound: float) -> V:
    return b.compare("ogt", x, b.like(bound, x))


def at_least(b: Builder, x: V, low: float) -> V:
    """The larger of a value and a number; NaN where the value is."""
    return b.select(less(b, x, low), b.like(low, x), x)


def at_most(b: Builder, x: V, high: float) -> V:
    return b.select(above(b, x, high), b.like(high, x), x)


def isnan(b: Builder, x: V) -> V:
    return b.compare("uno", x, x)


def either(b: Builder, x: V, y: V) -> V:
    return b.op("or", x, y)


def both(b: Builder, x: V, y: V) -> V:
    return b.op("and", x, y)


# -- whole numbers and powers of two ----------------------------------------------------------------------------------


def rounded(b: Builder, x: V) -> Pair:
    """The nearest whole number of a small one, and bits whose lower half is that number as an integer."""
    magic = b.like(_MAGIC[x.ty], x)
    shifted = b.add(x, magic)
    return b.sub(shifted, magic), bits(b, shifted)


def rounded_product(b: Builder, x: V, c: float) -> Pair:
    """The whole number next to ``c * x``, as ``rounded`` gives it."""
    magic = b.like(_MAGIC[x.ty], x)
    shifted = b.muladd(x, b.like(c, x), magic)
    return b.sub(shifted, magic), bits(b, shifted)


def power_of_two(b: Builder, n: V) -> V:
    """``2**n`` for integers whose lower bits are given, in the range of normal exponents."""
    ty = "double" if n.ty == "i64" else "float"
    return floating(b, b.op("shl", b.add(n, b.like(BIAS[ty], n)), b.like(SHIFT[ty], n)))


def scaled(b: Builder, x: V, n: V) -> V:
    """``2**n * x``, in two steps, since ``2**n`` alone may be out of range."""
    half = b.op("lshr", n, b.like(1, n))
    return b.mul(b.mul(x, power_of_two(b, half)), power_of_two(b, b.sub(n, half)))


def split_exponent(b: Builder, x: V) -> tuple[V, V]:
    """``e`` as an integer and ``m`` with ``x = 2**e * m``, between the roots of 1/2 and 2, for normal ``x``."""
    raw = bits(b, x)
    shift = b.like(SHIFT[x.ty], raw)
    start = 0x3FE6A09E667F3BCD if x.ty == "double" else 0x3F3504F3
    exponent = b.op("ashr", b.sub(raw, b.like(start, raw)), shift)
    return exponent, floating(b, b.sub(raw, b.op("shl", exponent, shift)))


def number_of(b: Builder, n: V) -> V:
    """A small integer as a float."""
    ty = "double" if n.ty == "i64" else "float"
    magic = b.const(_MAGIC[ty], ty, n.w)
    whole = b.op("add", n, b.like(0x4338000000000000 if ty == "double" else 0x4B400000, n))
    return b.sub(floating(b, whole), magic)


def normal(b: Builder, x: V) -> tuple[V, V]:
    """A positive number scaled to a normal one, and the integer that its exponent is too large by."""
    least, by = (2.2250738585072014e-308, 54) if x.ty == "double" else (1.1754943508222875e-38, 25)
    small = less(b, x, least)
    ty = integer(x.ty)
    size = b.select(small, b.mul(x, b.like(2.0**by, x)), x)
    return size, b.select(small, b.const(by, ty, x.w), b.const(0, ty, x.w))


# -- pairs ------------------------------------------------------------------------------------------------------------


def fast_sum(b: Builder, x: V, y: V) -> Pair:
    """``x + y`` exactly, where ``x`` is 0 or at least as large."""
    high = b.add(x, y)
    return high, b.sub(y, b.sub(high, x))


def exact_sum(b: Builder, x: V, y: V) -> Pair:
    """``x + y`` exactly."""
    high = b.add(x, y)
    other = b.sub(high, x)
    return high, b.add(b.sub(x, b.sub(high, other)), b.sub(y, other))


def halves(b: Builder, x: V) -> Pair:
    """The leading half of the bits, and the others."""
    raw = bits(b, x)
    mask = -(1 << 27) if x.ty == "double" else -(1 << 12)
    high = floating(b, b.op("and", raw, b.like(mask, raw)))
    return high, b.sub(x, high)


def exact_product(b: Builder, x: V, y: V) -> Pair:
    """``x * y`` exactly, but for what is below the range of exponents or 2**-105 of it."""
    high = b.mul(x, y)
    if b.fma:
        return high, b.muladd(x, y, b.neg(high))
    x1, x2 = halves(b, x)
    y1, y2 = (x1, x2) if y is x else halves(b, y)
    low = b.sub(b.mul(x1, y1), high)
    low = b.add(low, b.mul(x1, y2))
    return high, b.add(b.add(low, b.mul(x2, y1)), b.mul(x2, y2))


def residue(b: Builder, z: V, x: V, y: V) -> V:
    """``z - x * y``, where that is small beside ``z``."""
    if b.fma:
        return negmuladd(b, x, y, z)
    high, low = exact_product(b, x, y)
    return b.sub(b.sub(z, high), low)


def pair_sum(b: Builder, x: Pair, y: Pair) -> Pair:
    """The sum of pairs, the first being the larger or both of one sign."""
    high, low = exact_sum(b, x[0], y[0])
    return fast_sum(b, high, b.add(low, b.add(x[1], y[1])))


def pair_product(b: Builder, x: Pair, y: Pair) -> Pair:
    high, low = exact_product(b, x[0], y[0])
    return fast_sum(b, high, b.muladd(x[0], y[1], b.muladd(x[1], y[0], low)))


def pair_quotient(b: Builder, x: Pair, y: Pair) -> Pair:
    """The quotient of pairs, its second part good to a few digits."""
    inverse = b.div(b.like(1.0, y[0]), y[0])
    high = b.mul(x[0], inverse)
    rest = residue(b, x[0], high, y[0])
    rest = b.add(rest, negmuladd(b, high, y[1], x[1]))
    return high, b.mul(rest, inverse)


def pair_root(b: Builder, x: Pair) -> Pair:
    """The square root of a pair; (0, 0) for zeros."""
    root = b.call("sqrt", x[0])
    rest = b.add(residue(b, x[0], root, root), x[1])
    low = b.div(rest, b.add(root, root))
    return root, b.select(b.compare("oeq", root, b.like(0.0, root)), b.like(0.0, root), low)


# -- single precision by way of double --------------------------------------------------------------------------------

Function = Callable[..., V]


def by_way_of_double(f: Callable[..., V]) -> Function:
    """``f(b, *xs, kind)`` for both precisions: ``kind`` says which polynomials suffice, the arguments are doubles."""

    def function(b: Builder, *xs: V) -> V:
        if xs[0].ty == "double":
            return f(b, *xs, kind="double")
        wide = [b.cast("fpext", x, "double") for x in xs]
        return b.cast("fptrunc", f(b, *wide, kind="float"), "float")

    return function
