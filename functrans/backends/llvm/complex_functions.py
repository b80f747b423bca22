"""Elementary functions of complex numbers, by those of their parts.

Infinities, NaN and the signs of zeros give what C99 (Annex G) and NumPy give, and branch cuts are where they have them.
Parts that overflow on the way alone are scaled. The inverse functions are those of Kahan ("Branch cuts for complex
elementary functions, or much ado about nothing's sign bit", 1987), which lose no digits near the cuts.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from functrans.backends.llvm.builder import Builder, V, joined
from functrans.backends.llvm.complexes import divide, reciprocal, sqrt
from functrans.backends.llvm.floats import hypot, product_error
from functrans.backends.llvm.mathematics import FUNCTIONS

_LARGE = {"double": 709.0, "float": 88.0}
"""Where the exponential of a real number is finite still."""


def _real(b: Builder, name: str, *args: V) -> V:
    return FUNCTIONS[name].emit(b, *args)


def _constant(b: Builder, value: float, like: V) -> V:
    return b.const(value, like.ty, like.w)


def _size(b: Builder, x: V) -> V:
    return b.call("fabs", x)


def _signed(b: Builder, x: V, y: V) -> V:
    return b.call("copysign", x, y)


def _is(b: Builder, x: V, value: float) -> V:
    return b.compare("oeq", x, b.like(value, x))


def _infinite(b: Builder, x: V) -> V:
    return _is(b, _size(b, x), math.inf)


def _finite(b: Builder, x: V) -> V:
    return b.compare("one", _size(b, x), b.like(math.inf, x))


def _either(b: Builder, x: V, y: V) -> V:
    return b.op("or", x, y)


def _both(b: Builder, x: V, y: V) -> V:
    return b.op("and", x, y)


def _not(b: Builder, x: V) -> V:
    return b.op("xor", x, b.like(1, x))


def _times_i(b: Builder, z: V) -> V:
    x, y = z.parts
    return joined([b.neg(y), x])


def _over_i(b: Builder, z: V) -> V:
    x, y = z.parts
    return joined([y, b.neg(x)])


# -- exponentials -----------------------------------------------------------------------------------------------------


def _grown(b: Builder, x: V, factors: tuple[V, ...], share: float = 1.0) -> list[V]:
    """``share * exp(x)`` times some factors, where the exponential alone may be too large."""
    top = _LARGE[x.ty]
    far = b.compare("ogt", x, b.like(top, x))
    size = b.mul(_real(b, "exp", b.select(far, b.sub(x, b.like(top, x)), x)), b.like(share, x))
    scale = b.select(far, b.like(math.exp(top), x), b.like(1.0, x))
    return [b.mul(b.mul(size, f), scale) for f in factors]


def exp(b: Builder, z: V) -> V:
    x, y = z.parts
    cosine, sine = _real(b, "cos", y), _real(b, "sin", y)
    re, im = _grown(b, x, (cosine, sine))
    size = _real(b, "exp", x)
    flat, bare = _is(b, y, 0.0), _not(b, _finite(b, y))
    re, im = b.select(flat, size, re), b.select(flat, y, im)
    # Without an angle an infinite number has a size at least, and an infinitely small one is zero.
    none, all_ = _both(b, bare, _is(b, x, -math.inf)), _both(b, bare, _is(b, x, math.inf))
    zero = b.like(0.0, x)
    re = b.select(none, zero, b.select(all_, x, re))
    return joined([re, b.select(none, _signed(b, zero, y), im)])


def exp2(b: Builder, z: V) -> V:
    return exp(b, b.each(lambda x: b.mul(x, b.like(math.log(2), x)), z))


def expm1(b: Builder, z: V) -> V:
    """``expm1(x) cos(y) - 2 sin(y/2)**2`` and ``exp(x) sin(y)``, as NumPy has it."""
    x, y = z.parts
    half = _real(b, "sin", b.mul(y, b.like(0.5, y)))
    gone = b.mul(b.mul(b.like(2.0, half), half), half)
    re = b.sub(b.mul(_real(b, "expm1", x), _real(b, "cos", y)), gone)
    return joined([re, b.mul(_real(b, "exp", x), _real(b, "sin", y))])


# -- hyperbolic and trigonometric functions -------------------------------------------------------------------------


def _hyperbolic(b: Builder, z: V) -> tuple[V, V, V, V]:
    """``cosh(x) cos(y)``, ``sinh(x) sin(y)``, ``sinh(x) cos(y)``, ``cosh(x) sin(y)``, which may be infinite."""
    x, y = z.parts
    cosine, sine = _real(b, "cos", y), _real(b, "sin", y)
    sinh, cosh = _real(b, "sinh", x), _real(b, "cosh", x)
    size = _size(b, x)
    far = b.compare("ogt", size, b.like(_LARGE[x.ty], x))
    by_cosine, by_sine = _grown(b, size, (cosine, sine), 0.5)
    sign = _signed(b, b.like(1.0, x), x)
    return (
        b.select(far, by_cosine, b.mul(cosh, cosine)),
        b.select(far, b.mul(by_sine, sign), b.mul(sinh, sine)),
        b.select(far, b.mul(by_cosine, sign), b.mul(sinh, cosine)),
        b.select(far, by_sine, b.mul(cosh, sine)),
    )


def sinh(b: Builder, z: V) -> V:
    x, y = z.parts
    _, _, re, im = _hyperbolic(b, z)
    flat, bare = _is(b, y, 0.0), _not(b, _finite(b, y))
    re, im = b.select(flat, _real(b, "sinh", x), re), b.select(flat, y, im)
    re = b.select(_both(b, bare, _infinite(b, x)), b.like(math.inf, x), re)
    return joined([b.select(_both(b, bare, _is(b, x, 0.0)), x, re), im])


def cosh(b: Builder, z: V) -> V:
    x, y = z.parts
    re, im, _, _ = _hyperbolic(b, z)
    flat, bare = _is(b, y, 0.0), _not(b, _finite(b, y))
    re = b.select(flat, _real(b, "cosh", x), re)
    sign = b.select(b.compare("uno", x, x), b.like(1.0, x), _signed(b, b.like(1.0, x), x))
    im = b.select(flat, b.mul(y, sign), im)
    re = b.select(_both(b, bare, _infinite(b, x)), _size(b, x), re)
    return joined([re, b.select(_both(b, bare, _is(b, x, 0.0)), b.like(0.0, x), im)])


def tanh(b: Builder, z: V) -> V:
    """Kahan's formula; far out ``±1`` and ``4 sin(y) cos(y) exp(-2|x|)``."""
    x, y = z.parts
    one, zero = b.like(1.0, x), b.like(0.0, x)
    size = _size(b, x)
    limit = 22.0 if x.ty == "double" else 11.0
    far = b.compare("ogt", size, b.like(limit, x))
    near = b.select(far, zero, x)
    tangent = _real(b, "tan", y)
    beta = b.muladd(tangent, tangent, one)
    s = _real(b, "sinh", near)
    rho = b.call("sqrt", b.muladd(s, s, one))
    below = b.muladd(b.mul(beta, s), s, one)
    re, im = b.div(b.mul(b.mul(beta, rho), s), below), b.div(tangent, below)
    cosine, sine = _real(b, "cos", y), _real(b, "sin", y)
    decay = _real(b, "exp", b.mul(b.like(-2.0, x), size))
    tail = b.mul(b.mul(b.mul(b.like(4.0, x), sine), cosine), decay)
    re, im = b.select(far, _signed(b, one, x), re), b.select(far, tail, im)
    bare = _not(b, _finite(b, y))
    im = b.select(_both(b, bare, _infinite(b, x)), _signed(b, zero, y), im)
    re = b.select(_both(b, bare, _is(b, x, 0.0)), x, re)
    lost = _both(b, bare, b.compare("one", size, b.like(math.inf, x)))
    re = b.select(_both(b, lost, b.compare("une", x, zero)), b.like(math.nan, x), re)
    flat = _is(b, y, 0.0)
    return joined([b.select(flat, _real(b, "tanh", x), re), b.select(flat, y, im)])


def sin(b: Builder, z: V) -> V:
    x, y = z.parts
    re, im = _over_i(b, sinh(b, _times_i(b, z))).parts
    endless = _both(b, _infinite(b, y), _not(b, _finite(b, x)))
    return joined([re, b.select(endless, b.like(math.inf, x), im)])


def cos(b: Builder, z: V) -> V:
    return cosh(b, _times_i(b, z))


def tan(b: Builder, z: V) -> V:
    return _over_i(b, tanh(b, _times_i(b, z)))


# -- logarithms -------------------------------------------------------------------------------------------------------


def _angle(b: Builder, z: V) -> V:
    x, y = z.parts
    return _real(b, "atan2", y, x)


def _excess(b: Builder, x: V, y: V) -> V:
    """``x**2 + y**2 - 1`` where that is small: squares with their rounding errors."""
    one = b.like(1.0, x)
    p, q = b.mul(x, x), b.mul(y, y)
    if b.fma:
        rest = b.add(b.call("fma", x, x, b.neg(p)), b.call("fma", y, y, b.neg(q)))
    else:
        rest = b.add(product_error(b, x, x, p), product_error(b, y, y, q))
    return b.add(b.add(b.sub(p, one), q), rest)


def _log_size(b: Builder, x: V, y: V) -> V:
    if x.ty == "float":
        wide = _log_size(b, b.cast("fpext", x, "double"), b.cast("fpext", y, "double"))
        return b.cast("fptrunc", wide, "float")
    large = b.call("maxnum", _size(b, x), _size(b, y))
    big, tiny = b.compare("ogt", large, b.like(2.0**1000, x)), b.compare("olt", large, b.like(2.0**-900, x))
    scale = b.select(big, b.like(2.0**-100, x), b.select(tiny, b.like(2.0**200, x), b.like(1.0, x)))
    shift = b.select(big, b.like(100 * math.log(2), x), b.select(tiny, b.like(-200 * math.log(2), x), b.like(0.0, x)))
    size = hypot(b, b.mul(x, scale), b.mul(y, scale))
    near = _both(b, b.compare("ogt", size, b.like(0.7, x)), b.compare("olt", size, b.like(1.5, x)))
    close = b.mul(_real(b, "log1p", b.select(near, _excess(b, x, y), b.like(0.0, x))), b.like(0.5, x))
    return b.select(near, close, b.add(_real(b, "log", size), shift))


def log(b: Builder, z: V) -> V:
    return joined([_log_size(b, *z.parts), _angle(b, z)])


def log2(b: Builder, z: V) -> V:
    return b.each(lambda x: b.mul(x, b.like(1 / math.log(2), x)), log(b, z))


def log10(b: Builder, z: V) -> V:
    return b.each(lambda x: b.mul(x, b.like(1 / math.log(10), x)), log(b, z))


def log1p(b: Builder, z: V) -> V:
    x, y = z.parts
    moved = joined([b.add(x, b.like(1.0, x)), y])
    small = b.add(b.mul(x, b.add(x, b.like(2.0, x))), b.mul(y, y))
    near = b.compare("olt", _size(b, small), b.like(0.4, x))
    close = b.mul(_real(b, "log1p", b.select(near, small, b.like(0.0, x))), b.like(0.5, x))
    re = b.select(near, close, _log_size(b, *moved.parts))
    return joined([re, _angle(b, moved)])


# -- powers -----------------------------------------------------------------------------------------------------------


def _whole_power(b: Builder, z: V, n: int) -> V:
    """By repeated squares, in NumPy's order."""
    if abs(n) in (1, 2, 3):
        found = z
        for _ in range(abs(n) - 1):
            found = b.mul(found, z)
    else:
        found, square, rest = b.const(1.0 + 0j, z.ty, z.w), z, abs(n)
        while True:
            if rest & 1:
                found = b.mul(found, square)
            rest >>= 1
            if not rest:
                break
            square = b.mul(square, square)
    return divide(b, b.const(1.0 + 0j, z.ty, z.w), found) if n < 0 else found


def static_power(b: Builder, z: V, exponent: float) -> V:
    """The power with a known real exponent, as the operator of arrays computes it."""
    if exponent == 0:
        return b.const(1.0 + 0j, z.ty, z.w)
    if exponent == -1:
        return reciprocal(b, z)
    if exponent == 0.5:
        return sqrt(b, z)
    if float(exponent).is_integer() and abs(exponent) < 100:
        return _of_zero(b, z, b.const(complex(exponent), z.ty, z.w), _whole_power(b, z, int(exponent)))
    return power(b, z, b.const(complex(exponent), z.ty, z.w))


def power(b: Builder, z: V, n: V) -> V:
    """``exp(n log z)``; by repeated squares, where the exponent is a whole number below 100."""
    found = exp(b, b.mul(n, log(b, z)))
    (re, im), one = n.parts, b.const(1.0 + 0j, z.ty, z.w)
    size = _size(b, re)
    whole = _both(b, _is(b, im, 0.0), _both(b, _is(b, b.sub(b.call("trunc", re), re), 0.0), _below(b, size, 100.0)))
    bits = b.cast("fptosi", b.select(whole, size, b.like(0.0, size)), "i32")
    total, square = one, z
    for k in range(7):
        odd = b.compare("ne", b.op("and", bits, b.like(1 << k, bits)), b.like(0, bits))
        total = b.select(odd, b.mul(total, square), total)
        square = b.mul(square, square)
    few = b.select(_is(b, size, 1.0), z, b.select(_is(b, size, 2.0), b.mul(z, z), total))
    few = b.select(b.compare("olt", re, b.like(0.0, re)), divide(b, one, few), few)
    nothing = _both(b, _is(b, re, 0.0), _is(b, im, 0.0))
    return b.select(nothing, one, _of_zero(b, z, n, b.select(whole, few, found)))


def _below(b: Builder, x: V, bound: float) -> V:
    return b.compare("olt", x, b.like(bound, x))


def _of_zero(b: Builder, z: V, n: V, found: V) -> V:
    """Zero to the power of what has a positive real part is zero, else there is no such power."""
    x, y = z.parts
    zero = _both(b, _is(b, x, 0.0), _is(b, y, 0.0))
    positive = b.compare("ogt", n.parts[0], b.like(0.0, x))
    nan = b.const(complex(math.nan, math.nan), z.ty, z.w)
    return b.select(zero, b.select(positive, b.const(0j, z.ty, z.w), nan), found)


# -- inverse functions ------------------------------------------------------------------------------------------------


def _beside(b: Builder, z: V, sign: float) -> V:
    """The root of ``1 ± z``."""
    x, y = z.parts
    one = b.like(1.0, x)
    return sqrt(b, joined([b.add(one, x), y] if sign > 0 else [b.sub(one, x), b.neg(y)]))


def asin(b: Builder, z: V) -> V:
    (ar, ai), (cr, ci) = _beside(b, z, -1).parts, _beside(b, z, 1).parts
    x, y = z.parts
    re = _real(b, "atan2", x, b.sub(b.mul(ar, cr), b.mul(ai, ci)))
    im = _real(b, "asinh", b.sub(b.mul(ar, ci), b.mul(ai, cr)))
    far, size = _far(b, x, y)
    re = b.select(far, _real(b, "atan2", x, _size(b, y)), re)
    im = _signed(b, b.select(far, size, im), y)
    return joined([b.select(_is(b, x, 0.0), x, re), im])


def _far(b: Builder, x: V, y: V) -> tuple[V, V]:
    """Where a number is so large that its inverse sine is ``log(2 |z|)`` in size, and that."""
    limit = 2.0 ** (500 if x.ty == "double" else 60)
    far = _either(b, b.compare("ogt", _size(b, x), b.like(limit, x)), b.compare("ogt", _size(b, y), b.like(limit, x)))
    return far, b.add(_log_size(b, x, y), b.like(math.log(2), x))


def acos(b: Builder, z: V) -> V:
    (ar, ai), (cr, ci) = _beside(b, z, -1).parts, _beside(b, z, 1).parts
    x, y = z.parts
    re = b.mul(b.like(2.0, x), _real(b, "atan2", ar, cr))
    im = _real(b, "asinh", b.sub(b.mul(ai, cr), b.mul(ar, ci)))
    far, size = _far(b, x, y)
    re = b.select(far, _real(b, "atan2", _size(b, y), x), re)
    re = b.select(_is(b, x, 0.0), b.like(math.pi / 2, x), re)
    return joined([re, _signed(b, b.select(far, size, im), b.neg(y))])


def acosh(b: Builder, z: V) -> V:
    """``±i acos(z)``, with a real part that is not negative."""
    _, y = z.parts
    re, im = acos(b, z).parts
    return joined([_size(b, im), _signed(b, re, y)])


def asinh(b: Builder, z: V) -> V:
    return _over_i(b, asin(b, _times_i(b, z)))


def atanh(b: Builder, z: V) -> V:
    x, y = z.parts
    size, other = _size(b, x), _size(b, y)
    one, zero = b.like(1.0, x), b.like(0.0, x)
    gap = b.sub(one, size)
    below = b.add(b.mul(gap, gap), b.mul(other, other))
    re = b.mul(_real(b, "log1p", b.div(b.mul(b.like(4.0, x), size), below)), b.like(0.25, x))
    wide = b.sub(b.mul(gap, b.add(one, size)), b.mul(other, other))
    im = b.mul(_real(b, "atan2", b.mul(b.like(2.0, x), other), wide), b.like(0.5, x))
    # Above the poles: their distance is all there is.
    pole = _both(b, _is(b, gap, 0.0), b.compare("olt", other, one))
    apart = b.mul(b.like(0.25, x), _real(b, "log", b.muladd(other, other, b.like(4.0, x))))
    apart = b.sub(apart, b.mul(b.like(0.5, x), _real(b, "log", other)))
    re = b.select(pole, apart, re)
    # Far away: the inverse, and a quarter of a turn.
    huge = 2.0 ** (509 if x.ty == "double" else 61)
    far = _either(b, b.compare("ogt", size, b.like(huge, x)), b.compare("ogt", other, b.like(huge, x)))
    endless = _either(b, _infinite(b, x), _infinite(b, y))
    small = b.like(2.0**-8, x)
    inverse, _ = reciprocal(b, joined([b.mul(size, small), b.mul(other, small)])).parts
    inverse = b.select(endless, zero, b.mul(inverse, small))
    unknown = _either(b, b.compare("uno", y, y), _both(b, b.compare("uno", x, x), _not(b, _infinite(b, y))))
    quarter = b.select(unknown, b.like(math.nan, x), b.like(math.pi / 2, x))
    re, im = b.select(far, inverse, re), b.select(far, quarter, im)
    re = b.select(_is(b, x, 0.0), zero, re)
    return joined([_signed(b, re, x), _signed(b, im, y)])


def atan(b: Builder, z: V) -> V:
    return _over_i(b, atanh(b, _times_i(b, z)))


COMPLEX: dict[str, tuple[Callable[..., V], int]] = {
    "exp": (exp, 200),
    "exp2": (exp2, 200),
    "expm1": (expm1, 250),
    "sinh": (sinh, 400),
    "cosh": (cosh, 400),
    "tanh": (tanh, 500),
    "sin": (sin, 400),
    "cos": (cos, 400),
    "tan": (tan, 500),
    "log": (log, 300),
    "log2": (log2, 300),
    "log10": (log10, 300),
    "log1p": (log1p, 350),
    "pow": (power, 600),
    "asin": (asin, 350),
    "acos": (acos, 350),
    "asinh": (asinh, 350),
    "acosh": (acosh, 350),
    "atan": (atan, 250),
    "atanh": (atanh, 250),
}
"""By the names of their primitives, with how many simple instructions they are worth."""
