"""Rounding, division with remainder, and the parts that a floating-point number is stored in."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans.core import dtypes
from functrans.core.avals import ShapedArray, shaped
from functrans.core.primitive import BatchAxis, Primitive, Sample, Trait, Zero
from functrans.core.structural import broadcast_shapes, convert, elementwise_aval, unbroadcast, zero_of
from functrans.core.trace import aval_of
from functrans.lax.arithmetic import add, div, mul, neg, strong, sub
from functrans.lax.compare import ge, is_finite
from functrans.lax.families import accept, elementwise
from functrans.lax.magnitude import abs, copysign
from functrans.lax.samples import binary, unary
from functrans.lax.selection import select

# -- to integers --------------------------------------------------------------------------------------------------

_BETWEEN = (0.4, -1.6, 2.2, 1.25, 3.1, -0.75)


def _rounding(name: str, kinds: str = "f") -> Primitive:
    return elementwise(name, name, arity=1, kinds=kinds, samples=unary(*_BETWEEN, kinds=kinds))


floor_p: Primitive = _rounding("floor")
ceil_p: Primitive = _rounding("ceil")
trunc_p: Primitive = _rounding("trunc")
rint_p: Primitive = elementwise(
    "rint", "rint", arity=1, kinds="fc", samples=unary(0.5, 1.5, -2.5, 0.4, 3.6, -0.7, kinds="fc", order=0)
)

# -- division with remainder --------------------------------------------------------------------------------------

floor_divide_p: Primitive = elementwise(
    "floor_divide", "floor_divide", arity=2, kinds="iuf", samples=binary(_BETWEEN, kinds="iuf")
)
remainder_p: Primitive = elementwise(
    "remainder",
    "remainder",
    lambda t, out, x, y: t,
    lambda t, out, x, y: neg(mul(t, floor_divide(strong(x, out), strong(y, out)))),
    arity=2,
    kinds="iuf",
    samples=binary(_BETWEEN, kinds="iuf"),
)
rem_p: Primitive = elementwise(
    "rem",
    "fmod",
    lambda t, out, x, y: t,
    # The truncated quotient, off which the rounding of x / y itself could be one.
    lambda t, out, x, y: neg(mul(t, rint(div(sub(strong(x, out), out), strong(y, out))))),
    arity=2,
    kinds="iuf",
    samples=binary(_BETWEEN, kinds="iuf"),
)

# -- neighbours ---------------------------------------------------------------------------------------------------

nextafter_p: Primitive = elementwise(
    "nextafter",
    "nextafter",
    lambda t, out, x, y: t,
    lambda t, out, x, y: zero_of(out),
    arity=2,
    kinds="f",
    samples=binary(_BETWEEN, kinds="f"),
)


def _spacing_impl(xp: Any, x: Any) -> Any:
    if xp is np:
        return np.spacing(x)
    size = xp.abs(x)
    return xp.copysign(xp.nextafter(size, xp.asarray(np.inf, size.dtype)) - size, x)


spacing_p: Primitive = elementwise(
    "spacing", "spacing", arity=1, kinds="f", samples=unary(*_BETWEEN, kinds="f"), impl=_spacing_impl
)
signbit_p: Primitive = elementwise(
    "signbit", "signbit", arity=1, kinds="f", out="bool", samples=unary(*_BETWEEN, kinds="f")
)

# -- ldexp, frexp, modf -------------------------------------------------------------------------------------------


def _ldexp_shape(x: ShapedArray, n: ShapedArray) -> ShapedArray:
    accept("ldexp", "f", [x])
    if n.dtype.kind != "i" or x.box == "python" or n.box == "python":
        raise errors.DTypeError(
            f"ldexp: a float and a signed integer are needed, neither of them a bare Python number; got {x} and {n}"
        )
    return shaped(broadcast_shapes("ldexp", x.shape, n.shape), x.dtype, "numpy")


def _ldexp_samples() -> list[Sample]:
    x = np.array([[0.5, -1.5, 2.0], [1.25, 3.0, -0.75]])
    n = np.array([2, -1, 0])
    return [
        Sample((x, n)),
        Sample((x[:, :1], n)),
        Sample((x.astype(np.float32), n.astype(np.int8))),
        Sample((np.float64(1.5), np.int64(3))),
        Sample((x[:0], n)),
    ]


ldexp_p: Primitive = elementwise(
    "ldexp",
    "ldexp",
    lambda t, out, x, n: ldexp(t, n),
    lambda t, out, x, n: zero_of(out),
    arity=2,
    shape=_ldexp_shape,
    linear=lambda ct, x, n: [unbroadcast(ldexp(ct, n), x.aval), None],
    samples=_ldexp_samples,
)


def _two_parts(
    name: str, second: Callable[[ShapedArray], dtypes.DType], rule: Callable[[Any, Any, Any], Any]
) -> Primitive:
    """A primitive that splits floats in two; ``rule(t, first, second)`` is the tangent of the first part."""

    def shape(x: ShapedArray) -> list[ShapedArray]:
        aval = elementwise_aval(name, (x,))
        accept(name, "f", [aval])
        return [aval, shaped(aval.shape, second(aval), "numpy")]

    def impl(xp: Any, x: Any) -> list[Any]:
        return list(getattr(xp, name)(x))

    def jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        outs = prim.bind(*primals)
        (t,) = tangents
        first = zero_of(outs[0]) if isinstance(t, Zero) else rule(strong(t, outs[0]), *outs)
        return outs, [first, zero_of(outs[1])]

    def batch(axis: BatchAxis, args: Sequence[Any], dims: Sequence[int]) -> tuple[list[Any], list[int]]:
        return prim.bind(*args), [dims[0], dims[0]]

    prim = Primitive(
        name,
        shape=shape,
        impl=impl,
        jvp=jvp,
        batch=batch,
        multiple=True,
        kind="library",
        samples=unary(*_BETWEEN, kinds="f"),
        traits=frozenset({Trait.ELEMENTWISE}),
    )
    return prim


frexp_p: Primitive = _two_parts(
    "frexp", lambda x: np.dtype(np.int32), lambda t, mantissa, exponent: ldexp(t, neg(exponent))
)
modf_p: Primitive = _two_parts("modf", lambda x: x.dtype, lambda t, fraction, whole: t)


class RoundingMethod(enum.IntEnum):
    """Where ``round`` takes a number that lies half-way between two integers."""

    AWAY_FROM_ZERO = 0
    TO_NEAREST_EVEN = 1


def floor(x: Any) -> Any:
    """The largest integer not above each float, as a float. Its derivative is 0, as that of every rounding."""
    return floor_p.bind(x)


def ceil(x: Any) -> Any:
    """The smallest integer not below each float, as a float."""
    return ceil_p.bind(x)


def trunc(x: Any) -> Any:
    """Each float without its fraction: rounded towards 0."""
    return trunc_p.bind(x)


def rint(x: Any) -> Any:
    """The nearest integer as a float, the even one of two at the same distance."""
    return rint_p.bind(x)


def round(x: Any, rounding_method: RoundingMethod = RoundingMethod.TO_NEAREST_EVEN) -> Any:
    """The nearest integer as a float; its derivative is 0.

    Args:
        x: floats (or complex numbers, whose parts are rounded, to even).
        rounding_method: what becomes of halves: they go to the even neighbour, as NumPy's do, or away from zero.

    >>> round(np.array([0.5, 1.5, -2.5]))
    array([ 0.,  2., -2.])
    >>> round(np.array([0.5, 1.5, -2.5]), RoundingMethod.AWAY_FROM_ZERO)
    array([ 1.,  2., -3.])
    """
    if RoundingMethod(rounding_method) is RoundingMethod.TO_NEAREST_EVEN:
        return rint(x)
    x = convert(x, aval_of(x).dtype)
    whole = trunc(x)
    finite = is_finite(x)
    fraction = sub(select(finite, x, 0.0), select(finite, whole, 0.0))
    return add(whole, select(ge(abs(fraction), 0.5), copysign(1.0, x), copysign(0.0, x)))


def floor_divide(x: Any, y: Any) -> Any:
    """The largest integer not above ``x / y``, in the operands' dtype; its derivative is 0.

    >>> floor_divide(np.array([7, -7]), 2)
    array([ 3, -4])
    """
    return floor_divide_p.bind(x, y)


def remainder(x: Any, y: Any) -> Any:
    """``x - y * floor(x / y)``: the remainder with the sign of ``y``, as Python's ``%``.

    >>> remainder(np.array([7.0, -7.0]), 3.0)
    array([1., 2.])
    """
    return remainder_p.bind(x, y)


def rem(x: Any, y: Any) -> Any:
    """``x - y * trunc(x / y)``: the remainder with the sign of ``x``, as C's ``fmod``.

    >>> rem(np.array([7.0, -7.0]), 3.0)
    array([ 1., -1.])
    """
    return rem_p.bind(x, y)


def nextafter(x: Any, y: Any) -> Any:
    """The float next to ``x`` in the direction of ``y``. Its derivative is that of ``x``."""
    return nextafter_p.bind(x, y)


def spacing(x: Any) -> Any:
    """The distance from each float to the next one away from 0; its derivative is taken to be 0."""
    return spacing_p.bind(x)


def signbit(x: Any) -> Any:
    """Whether each float carries a minus sign, as -0.0 does."""
    return signbit_p.bind(x)


def ldexp(x: Any, n: Any) -> Any:
    """``x * 2**n`` for floats ``x`` and signed integers ``n``, without overflow on the way.

    >>> ldexp(np.array([0.5, 0.75]), 3)
    array([4., 6.])
    """
    return ldexp_p.bind(convert(x, aval_of(x).dtype), convert(n, aval_of(n).dtype))


def frexp(x: Any) -> tuple[Any, Any]:
    """Floats as ``mantissa * 2**exponent``: mantissas in [0.5, 1), or 0, and int32 exponents.

    >>> frexp(np.float64(6.0))
    (np.float64(0.75), np.int32(3))
    """
    mantissa, exponent = frexp_p.bind(x)
    return mantissa, exponent


def modf(x: Any) -> tuple[Any, Any]:
    """The fractions of floats, and their integer parts: both have the sign of ``x``.

    >>> modf(np.float64(-2.5))
    (np.float64(-0.5), np.float64(-2.0))
    """
    fraction, whole = modf_p.bind(x)
    return fraction, whole
