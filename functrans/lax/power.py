"""Powers, roots and reciprocals, element by element."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from functrans import errors
from functrans.core import dtypes
from functrans.core.avals import ShapedArray, shaped
from functrans.core.primitive import Primitive, Sample, Trait
from functrans.core.structural import zero_of
from functrans.core.trace import aval_of
from functrans.lax.arithmetic import NUMBERS, div, mul, neg, positive, strong, sub
from functrans.lax.compare import bitwise_and, eq
from functrans.lax.exponential import log
from functrans.lax.families import FLOAT, accept, elementwise
from functrans.lax.samples import binary, unary
from functrans.lax.selection import select

_POSITIVE = (0.5, 1.5, 2.0, 0.25, 3.0, 0.75)

# -- pow: both operands vary --------------------------------------------------------------------------------------


def _pow_base_rule(t: Any, out: Any, x: Any, y: Any) -> Any:
    """``y * x**(y - 1)``, where ``0 * 0**-1`` is the 0 that a constant has as its derivative."""
    x, y = strong(x, out), strong(y, out)
    base = select(bitwise_and(eq(x, 0), eq(y, 0)), 1.0, x)
    return mul(t, mul(y, pow(base, sub(y, 1.0))))


def _pow_exponent_rule(t: Any, out: Any, x: Any, y: Any) -> Any:
    """``x**y * log(x)``, where ``0 * log(0)`` is its limit 0."""
    x = strong(x, out)
    return mul(t, mul(out, log(select(eq(x, 0), 1.0, x))))


pow_p: Primitive = elementwise(
    "pow",
    "power",
    _pow_base_rule,
    _pow_exponent_rule,
    arity=2,
    kinds=NUMBERS,
    samples=binary(_POSITIVE, kinds=NUMBERS.replace("i", "")),
    traits=(Trait.COSTLY,),
)

# -- scalar_pow: the exponent is static ---------------------------------------------------------------------------


def _scalar_pow_shape(x: ShapedArray, *, exponent: Any) -> ShapedArray:
    accept("scalar_pow", NUMBERS, [x])
    if not dtypes.is_inexact(x.dtype) and not (isinstance(exponent, int) and exponent >= 0):
        raise errors.DTypeError(
            f"scalar_pow: an integer power {exponent} of {x} is no integer. Convert with x.astype(float)"
        )
    return shaped(x.shape, x.dtype, "numpy")


def _scalar_pow_impl(xp: Any, x: Any, *, exponent: Any) -> Any:
    if isinstance(x, (int, float, complex)):
        x = np.asarray(x)[()]
    return x**exponent


def _scalar_pow_rule(t: Any, out: Any, x: Any, *, exponent: Any) -> Any:
    if exponent == 0:
        return zero_of(out)
    if exponent == 1:
        return t
    return mul(mul(t, float(exponent)), scalar_pow_p.bind(strong(x, out), exponent=exponent - 1))


def _scalar_pow_decompose(x: Any, *, exponent: Any) -> Any:
    dtype = aval_of(x).dtype
    if dtypes.is_complex(dtype):
        # NumPy takes other paths for arrays, for scalars and for power itself, which differ in the last bit.
        return scalar_pow_p.bind(x, exponent=exponent)
    special = _SPECIAL.get(exponent) if dtypes.is_inexact(dtype) else None
    return pow(x, exponent) if special is None else special(x)


def _scalar_pow_samples() -> list[Sample]:
    exponents = (0, 1, 2, 3, 5, -1, -2, 0.5, 1.5)
    found = [s for e in exponents for s in unary(*_POSITIVE, exponent=e)()]
    return found + [s for e in (0, 1, 2, 3) for s in unary(kinds="iu", exponent=e)()]


scalar_pow_p: Primitive = elementwise(
    "scalar_pow",
    "power",
    _scalar_pow_rule,
    arity=1,
    kinds=NUMBERS,
    shape=_scalar_pow_shape,
    impl=_scalar_pow_impl,
    decompose=_scalar_pow_decompose,
    traits=(Trait.COMPOUND,),
    samples=_scalar_pow_samples,
)

# -- square, reciprocal, roots ------------------------------------------------------------------------------------

square_p: Primitive = elementwise(
    "square",
    "square",
    lambda t, out, x: mul(mul(t, 2.0), strong(x, out)),
    arity=1,
    kinds=NUMBERS,
    samples=unary(kinds=NUMBERS),
)
reciprocal_p: Primitive = elementwise(
    "reciprocal",
    "reciprocal",
    lambda t, out, x: neg(mul(t, square(out))),
    arity=1,
    kinds=NUMBERS,
    samples=unary(kinds=NUMBERS),
)
sqrt_p: Primitive = elementwise(
    "sqrt",
    "sqrt",
    lambda t, out, x: div(mul(t, 0.5), out),
    arity=1,
    kinds=FLOAT,
    samples=unary(*_POSITIVE),
)
cbrt_p: Primitive = elementwise(
    "cbrt",
    "cbrt",
    lambda t, out, x: div(t, mul(square(out), 3.0)),
    arity=1,
    kinds="f",
    samples=unary(kinds="f"),
    traits=(Trait.COSTLY,),
)


def _safe_sqrt_rule(t: Any, out: Any, x: Any) -> Any:
    # One over infinity is the slope 0 at 0, and so are all further derivatives.
    return mul(t, div(0.5, select(eq(out, 0), math.inf, out)))


safe_sqrt_p: Primitive = elementwise(
    "safe_sqrt",
    "sqrt",
    _safe_sqrt_rule,
    arity=1,
    kinds=FLOAT,
    samples=unary(*_POSITIVE, kinds="fc"),
)

rsqrt_p: Primitive = elementwise(
    "rsqrt",
    "rsqrt",
    lambda t, out, x: mul(mul(t, -0.5), div(out, x)),
    arity=1,
    kinds=FLOAT,
    impl=lambda xp, x: xp.true_divide(1.0, xp.sqrt(x)),
    decompose=lambda x: div(1.0, sqrt(x)),
    traits=(Trait.COMPOUND,),
    samples=unary(*_POSITIVE),
)


def pow(x: Any, y: Any) -> Any:
    """``x`` to the power ``y``, as ``np.power``.

    Where both are 0 the derivative with respect to ``x`` is 0, as that of the constant ``x**0``. The derivative with
    respect to ``y`` at ``x == 0`` is 0 for ``y >= 0``, and NaN at negative floats ``x``, where it does not exist.

    >>> pow(np.array([2.0, 9.0]), 0.5)
    array([1.41421356, 3.        ])
    """
    return pow_p.bind(x, y)


def integer_pow(x: Any, n: int) -> Any:
    """``x`` to a static integer power, as ``x**n`` of arrays computes it.

    Args:
        x: an array or number.
        n: a Python int; of integers ``x`` it must not be negative.

    >>> integer_pow(np.array([2.0, 3.0]), -2)
    array([0.25      , 0.11111111])
    """
    return _static_pow(x, operator.index(n))


def scalar_pow(x: Any, exponent: float) -> Any:
    """``x`` to the power of a Python number, computed as the operator ``x**exponent`` of arrays and NumPy scalars does.

    The operator squares, inverts and takes square roots where the exponent says so, and on NumPy scalars it rounds
    otherwise than ``np.power``. The result is that of the operator to the last bit, and its derivative is cheaper
    than that of ``pow``, since the exponent is known.

    Args:
        x: an array or number; of integers only a power with a non-negative int is taken.
        exponent: a Python int or float.

    >>> scalar_pow(np.array([4.0, 9.0]), 0.5)
    array([2., 3.])
    """
    aval = aval_of(x)
    if not math.isfinite(exponent):
        return pow(x, exponent)
    if dtypes.is_inexact(aval.dtype) and exponent == int(exponent):
        exponent = int(exponent)
    # A series of ever new exponents must not fill the caches with derivatives that are used once.
    usual = abs(exponent) <= _STATIC_LIMIT and float(exponent * 2).is_integer()
    return _static_pow(x, exponent) if aval.box != "array" or usual else pow(x, exponent)


_STATIC_LIMIT = 64


def _static_pow(x: Any, exponent: float) -> Any:
    aval = aval_of(x)
    special = _SPECIAL.get(exponent) if aval.box == "array" and dtypes.is_inexact(aval.dtype) else None
    return scalar_pow_p.bind(x, exponent=exponent) if special is None else special(x)


def square(x: Any) -> Any:
    """``x * x``."""
    return square_p.bind(x)


def reciprocal(x: Any) -> Any:
    """``1 / x``; of integers the quotient rounded towards 0."""
    return reciprocal_p.bind(x)


def sqrt(x: Any) -> Any:
    """The square root. Its derivative at 0 is infinite; of a negative float it is NaN.

    >>> sqrt(np.array([4.0, 2.0]))
    array([2.        , 1.41421356])
    """
    return sqrt_p.bind(x)


def safe_sqrt(x: Any) -> Any:
    """The square root, whose derivative at 0 is taken to be 0, to every order: for norms and deviations.

    >>> safe_sqrt(np.array([4.0, 0.0]))
    array([2., 0.])
    """
    return safe_sqrt_p.bind(x)


def rsqrt(x: Any) -> Any:
    """``1 / sqrt(x)``."""
    return rsqrt_p.bind(x)


def cbrt(x: Any) -> Any:
    """The real cube root of floats, negative ones too. Its derivative at 0 is infinite."""
    return cbrt_p.bind(x)


_SPECIAL: dict[float, Callable[[Any], Any]] = {-1: reciprocal, 0.5: sqrt, 1: positive, 2: square}
"""The exponents that NumPy's operator has a faster function for."""
