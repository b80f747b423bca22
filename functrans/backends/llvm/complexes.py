"""Complex numbers as NumPy computes them: pairs of real values, by the same steps in the same order."""

from __future__ import annotations

import math

import numpy as np

from functrans.backends.llvm.builder import BITS, Builder, V, joined
from functrans.backends.llvm.floats import hypot

# -- arithmetic -------------------------------------------------------------------------------------------------------


NOTHING = complex(float(np.uint64(0x7FFC0DE000000000).view(np.float64)), 0.0)
"""What a product starts from: 1 would turn an infinite factor into NaN. It is a NaN that no operation gives."""


def collected(b: Builder, x: V, y: V, running: bool) -> V:
    """The product of two parts of a product; of a running one with each step rounded, as NumPy has it."""
    (xr, xi), (yr, yi) = x.parts, y.parts
    found = b.mul(x, y)
    if running:
        found = joined([b.sub(b.mul(xr, yr), b.mul(xi, yi)), b.add(b.mul(xr, yi), b.mul(xi, yr))])
    return b.select(_is_nothing(b, x), y, b.select(_is_nothing(b, y), x, found))


def _is_nothing(b: Builder, x: V) -> V:
    (re, _), (sign, _) = x.parts, b.const(NOTHING, x.ty, x.w).parts
    ty = f"i{BITS[re.ty]}"
    bits = b.cast("bitcast", re, ty)
    return b.compare("eq", bits, b.cast("bitcast", sign, ty))


def divide(b: Builder, x: V, y: V) -> V:
    """The quotient by Smith's algorithm (1962); by zero, that of each part."""
    (xr, xi), (yr, yi) = x.parts, y.parts
    wide = b.compare("oge", b.call("fabs", yr), b.call("fabs", yi))
    large, small = b.select(wide, yr, yi), b.select(wide, yi, yr)
    ratio = b.div(small, large)
    scale = b.div(b.like(1.0, yr), b.add(large, b.mul(small, ratio)))
    re = b.mul(b.add(b.select(wide, xr, xi), b.mul(b.select(wide, xi, xr), ratio)), scale)
    first, second = b.select(wide, xi, b.mul(xi, ratio)), b.select(wide, b.mul(xr, ratio), xr)
    im = b.mul(b.sub(first, second), scale)
    zero = b.op("and", b.compare("oeq", large, b.like(0.0, large)), b.compare("oeq", small, b.like(0.0, small)))
    size = b.call("fabs", yr)
    return joined([b.select(zero, b.div(xr, size), re), b.select(zero, b.div(xi, size), im)])


def reciprocal(b: Builder, x: V) -> V:
    re, im = x.parts
    wide = b.compare("ole", b.call("fabs", im), b.call("fabs", re))
    large, small = b.select(wide, re, im), b.select(wide, im, re)
    ratio = b.div(small, large)
    size = b.add(large, b.mul(small, ratio))
    one = b.div(b.like(1.0, size), size)
    other = b.div(ratio, size)
    return joined([b.select(wide, one, other), b.neg(b.select(wide, other, one))])


def square(b: Builder, x: V) -> V:
    return b.mul(x, x)


def conjugate(b: Builder, x: V) -> V:
    re, im = x.parts
    return joined([re, b.neg(im)])


def absolute(b: Builder, x: V) -> V:
    """The modulus: the root of the sum of squares, unless that is out of range somewhere."""
    re, im = x.parts
    if re.ty == "float":
        return hypot(b, re, im)
    total = b.muladd(re, re, b.mul(im, im))
    low, high = b.compare("olt", total, b.like(2.0**-900, re)), b.compare("ogt", total, b.like(2.0**900, re))
    lost = b.compare("uno", total, total)
    careful = b.any(b.op("or", lost, b.op("or", low, high)))
    (size,) = b.when(careful, [b.call("sqrt", total)], lambda: [hypot(b, re, im)])
    return size


def sign(b: Builder, x: V) -> V:
    """``x / abs(x)``; in the direction of an infinite part, 0 at 0."""
    re, im = x.parts
    size = absolute(b, x)
    infinite = b.compare("oeq", size, b.like(math.inf, size))
    zero, lost = b.compare("oeq", size, b.like(0.0, size)), b.compare("uno", size, size)
    ends = [b.compare("oeq", b.call("fabs", v), b.like(math.inf, v)) for v in (re, im)]
    both = b.op("or", lost, b.op("and", *ends))
    parts = []
    for part, end in zip((re, im), ends, strict=True):
        far = b.select(end, b.call("copysign", b.like(1.0, part), part), b.like(0.0, part))
        value = b.select(infinite, far, b.select(zero, b.like(0.0, part), b.div(part, size)))
        parts.append(b.select(both, b.like(math.nan, part), value))
    return joined(parts)


# -- roots ------------------------------------------------------------------------------------------------------------


def sqrt(b: Builder, z: V) -> V:
    """The square root with a real part that is not negative, cut along the negative axis; ends as C99 has them."""
    x, y = z.parts
    zero, infinity = b.like(0.0, x), b.like(math.inf, x)
    a, c = b.call("fabs", x), b.call("fabs", y)
    wide = x.ty == "double"
    top, bottom = (1020, -960) if wide else (124, -90)
    big = b.op("or", b.compare("oge", a, b.like(2.0**top, x)), b.compare("oge", c, b.like(2.0**top, x)))
    tiny = b.op("and", b.compare("olt", a, b.like(2.0**bottom, x)), b.compare("olt", c, b.like(2.0**bottom, x)))
    up = 2.0**108 if wide else 2.0**48
    scale = b.select(big, b.like(0.0625, x), b.select(tiny, b.like(up, x), b.like(1.0, x)))
    back = b.select(big, b.like(4.0, x), b.select(tiny, b.like(up**-0.5, x), b.like(1.0, x)))
    s, t = b.mul(a, scale), b.mul(c, scale)
    root = b.call("sqrt", b.mul(b.add(s, hypot(b, s, t)), b.like(0.5, x)))
    other = b.div(t, b.mul(b.like(2.0, x), root))
    root, other = b.mul(root, back), b.mul(other, back)
    left = b.compare("olt", x, zero)
    re, im = b.select(left, other, root), b.select(left, root, other)
    nothing = b.op("and", b.compare("oeq", x, zero), b.compare("oeq", y, zero))
    re, im = b.select(nothing, zero, re), b.select(nothing, zero, im)
    far = b.compare("oeq", a, infinity)
    lost = b.select(b.compare("uno", y, y), y, zero)
    re = b.select(far, b.select(left, lost, infinity), re)
    im = b.select(far, b.select(left, infinity, lost), im)
    far = b.compare("oeq", c, infinity)
    re, im = b.select(far, infinity, re), b.select(far, infinity, im)
    return joined([re, b.call("copysign", im, y)])


# -- order ------------------------------------------------------------------------------------------------------------


def is_nan(b: Builder, x: V) -> V:
    re, im = x.parts
    return b.compare("uno", re, im)


def equal(b: Builder, x: V, y: V) -> V:
    (xr, xi), (yr, yi) = x.parts, y.parts
    return b.op("and", b.compare("oeq", xr, yr), b.compare("oeq", xi, yi))


def compared(b: Builder, predicate: str, x: V, y: V) -> V:
    """The order of real parts, then of imaginary parts; what has a NaN is not in it."""
    (xr, xi), (yr, yi) = x.parts, y.parts
    if predicate in ("eq", "ne"):
        same = equal(b, x, y)
        return same if predicate == "eq" else b.op("xor", same, b.like(1, same))
    apart = b.op("and", b.compare("o" + predicate[0] + "t", xr, yr), b.compare("ord", xi, yi))
    tied = b.op("and", b.compare("oeq", xr, yr), b.compare("o" + predicate, xi, yi))
    return b.op("or", apart, tied)
