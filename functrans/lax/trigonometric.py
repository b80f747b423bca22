"""Circular and hyperbolic functions and their inverses, element by element."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from functrans.core import dtypes
from functrans.core.primitive import Primitive, Trait
from functrans.core.trace import aval_of
from functrans.lax.arithmetic import add, div, mul, neg, strong, sub
from functrans.lax.compare import bitwise_or, eq, isinf
from functrans.lax.complex import imag, real
from functrans.lax.families import FLOAT, elementwise
from functrans.lax.power import sqrt, square
from functrans.lax.samples import binary, unary
from functrans.lax.selection import select

_INSIDE = (0.5, -0.25, 0.75, 0.125, -0.8, 0.3)
_ABOVE_ONE = (1.5, 2.0, 1.25, 3.0, 1.75, 4.0)


def _function(
    name: str, ufunc: str, rule: Callable[[Any, Any, Any], Any], *values: float, safe: float = 0.5
) -> Primitive:
    samples = unary(*values)
    return elementwise(name, ufunc, rule, arity=1, kinds=FLOAT, samples=samples, traits=(Trait.COSTLY,), safe=safe)


def _complex(x: Any) -> bool:
    return dtypes.is_complex(aval_of(x).dtype)


# The slopes of inverse functions. A complex one is that of the function itself at the result, which is on the same side
# of a branch cut; a real one is written so that it neither overflows nor cancels.


def _asin_rule(t: Any, out: Any, x: Any) -> Any:
    return div(t, cos(out) if _complex(out) else sqrt(mul(sub(1.0, x), add(x, 1.0))))


def _acos_rule(t: Any, out: Any, x: Any) -> Any:
    return neg(div(t, sin(out) if _complex(out) else sqrt(mul(sub(1.0, x), add(x, 1.0)))))


def _atan_rule(t: Any, out: Any, x: Any) -> Any:
    if _complex(out):
        return div(t, add(square(x), 1.0))
    size = hypot(x, 1.0)
    return div(div(t, size), size)


def _asinh_rule(t: Any, out: Any, x: Any) -> Any:
    return div(t, cosh(out) if _complex(out) else hypot(x, 1.0))


def _acosh_rule(t: Any, out: Any, x: Any) -> Any:
    return div(t, sinh(out) if _complex(out) else mul(sqrt(sub(x, 1.0)), sqrt(add(x, 1.0))))


def _atanh_rule(t: Any, out: Any, x: Any) -> Any:
    return div(t, mul(sub(1.0, x), add(x, 1.0)))


sin_p: Primitive = _function("sin", "sin", lambda t, out, x: mul(t, cos(x)))
cos_p: Primitive = _function("cos", "cos", lambda t, out, x: neg(mul(t, sin(x))))
tan_p: Primitive = _function("tan", "tan", lambda t, out, x: mul(t, add(square(out), 1.0)), *_INSIDE)
asin_p: Primitive = _function("asin", "arcsin", _asin_rule, *_INSIDE)
acos_p: Primitive = _function("acos", "arccos", _acos_rule, *_INSIDE)
atan_p: Primitive = _function("atan", "arctan", _atan_rule)
sinh_p: Primitive = _function("sinh", "sinh", lambda t, out, x: mul(t, cosh(x)))
cosh_p: Primitive = _function("cosh", "cosh", lambda t, out, x: mul(t, sinh(x)))
tanh_p: Primitive = _function("tanh", "tanh", lambda t, out, x: mul(t, sub(1.0, square(out))))
asinh_p: Primitive = _function("asinh", "arcsinh", _asinh_rule)
acosh_p: Primitive = _function("acosh", "arccosh", _acosh_rule, *_ABOVE_ONE, safe=2.0)
atanh_p: Primitive = _function("atanh", "arctanh", _atanh_rule, *_INSIDE)

# -- atan2, hypot -------------------------------------------------------------------------------------------------


def _atan2_rule(t: Any, out: Any, x: Any, y: Any) -> Any:
    """``t * x / (x**2 + y**2)``; zero at the origin and at infinity, where the angle has no slope."""
    x, y = strong(x, out), strong(y, out)
    size = hypot(x, y)
    flat = bitwise_or(eq(size, 0), isinf(size))
    size = select(flat, 1.0, size)
    slope = select(flat, 0.0, div(div(x, size), size))
    return mul(t, slope)


def _hypot_rule(t: Any, out: Any, x: Any) -> Any:
    at_zero = eq(out, 0)
    return mul(t, select(at_zero, 0.0, div(x, select(at_zero, 1.0, out))))


atan2_p: Primitive = elementwise(
    "atan2",
    "arctan2",
    lambda t, out, y, x: _atan2_rule(t, out, x, y),
    lambda t, out, y, x: neg(_atan2_rule(t, out, y, x)),
    arity=2,
    kinds="f",
    samples=binary(kinds="f"),
    traits=(Trait.COSTLY,),
)
hypot_p: Primitive = elementwise(
    "hypot",
    "hypot",
    lambda t, out, x, y: _hypot_rule(t, out, x),
    lambda t, out, x, y: _hypot_rule(t, out, y),
    arity=2,
    kinds="f",
    samples=binary(kinds="f"),
    traits=(Trait.COSTLY, Trait.COMMUTATIVE),
)

# -- sinc ---------------------------------------------------------------------------------------------------------


def _sinc_impl(xp: Any, x: Any, *, derivative: int) -> Any:
    """The derivative of some order of ``sin(pi x) / (pi x)``.

    With ``u = pi x`` the derivatives of ``f = sin(u) / u`` obey ``u f[k] + k f[k-1] = sin[k](u)``, which cancels for
    ``u < k``; the power series serves there.
    """
    order = derivative
    if order == 0:
        return xp.sinc(x)
    x = xp.asarray(x)
    u = math.pi * x
    near = xp.abs(u) < order + 1
    far = xp.where(near, order + 1, u)
    waves = (xp.sin(far), xp.cos(far))
    value = waves[0] / far
    for k in range(1, order + 1):
        wave = waves[k % 2] if k % 4 < 2 else -waves[k % 2]
        value = (wave - k * value) / far
    value = xp.where(near, _sinc_series(xp, xp.where(near, u, 0.0), order), value) * math.pi**order
    return value.astype(x.dtype)[()]


def _sinc_series(xp: Any, u: Any, order: int) -> Any:
    """The sum over ``m`` of ``(-1)**m u**(2m - k) / ((2m + 1) (2m - k)!)`` for the ``k``-th derivative."""
    first = (order + 1) // 2
    total = xp.zeros_like(u)
    power = u if order % 2 else xp.ones_like(u)
    m = first
    while True:
        n = 2 * m - order
        bound = (order + 1.0) ** n / math.factorial(n)
        total = total + power * ((-1) ** m / ((2 * m + 1) * math.factorial(n)))
        if bound < 1e-20:
            return total
        power = power * u * u
        m += 1


sinc_p: Primitive = elementwise(
    "sinc",
    "sinc",
    lambda t, out, x, derivative: mul(t, sinc_p.bind(x, derivative=derivative + 1)),
    arity=1,
    kinds=FLOAT,
    impl=_sinc_impl,
    samples=lambda: [s for k in range(3) for s in unary(0.0, -1.5, 1e-3, 1.25, 3.0, -0.75, derivative=k)()],
    traits=(Trait.COSTLY,),
)


def sin(x: Any) -> Any:
    """The sine of angles in radians.

    >>> import numpy as np
    >>> sin(np.array([0.0, 1.0]))
    array([0.        , 0.84147098])
    """
    return sin_p.bind(x)


def cos(x: Any) -> Any:
    """The cosine of angles in radians."""
    return cos_p.bind(x)


def tan(x: Any) -> Any:
    """The tangent of angles in radians."""
    return tan_p.bind(x)


def asin(x: Any) -> Any:
    """The angle in [-pi/2, pi/2] whose sine is ``x``. Its derivative at -1 and 1 is infinite."""
    return asin_p.bind(x)


def acos(x: Any) -> Any:
    """The angle in [0, pi] whose cosine is ``x``. Its derivative at -1 and 1 is infinite."""
    return acos_p.bind(x)


def atan(x: Any) -> Any:
    """The angle in [-pi/2, pi/2] whose tangent is ``x``."""
    return atan_p.bind(x)


def atan2(y: Any, x: Any) -> Any:
    """The angle of the point ``(x, y)``, in [-pi, pi]. The derivative at (0, 0) is taken to be 0.

    >>> import numpy as np
    >>> atan2(np.array([1.0, -1.0]), -1.0)
    array([ 2.35619449, -2.35619449])
    """
    return atan2_p.bind(y, x)


def hypot(x: Any, y: Any) -> Any:
    """``sqrt(x**2 + y**2)`` without overflow. The derivative at (0, 0) is taken to be 0."""
    return hypot_p.bind(x, y)


def sinh(x: Any) -> Any:
    """The hyperbolic sine."""
    return sinh_p.bind(x)


def cosh(x: Any) -> Any:
    """The hyperbolic cosine."""
    return cosh_p.bind(x)


def tanh(x: Any) -> Any:
    """The hyperbolic tangent. Its derivative is taken from the result: ``1 - tanh(x)**2``."""
    return tanh_p.bind(x)


def asinh(x: Any) -> Any:
    """The inverse of the hyperbolic sine."""
    return asinh_p.bind(x)


def acosh(x: Any) -> Any:
    """The inverse of the hyperbolic cosine, for ``x >= 1``. Its derivative at 1 is infinite."""
    return acosh_p.bind(x)


def atanh(x: Any) -> Any:
    """The inverse of the hyperbolic tangent, between -1 and 1."""
    return atanh_p.bind(x)


def sinc(x: Any) -> Any:
    """``sin(pi x) / (pi x)``, and 1 at 0, with derivatives of every order there.

    >>> import numpy as np
    >>> sinc(np.array([0.0, 0.5]))
    array([1.        , 0.63661977])
    """
    return sinc_p.bind(x, derivative=0)


def angle(x: Any) -> Any:
    """The angle of complex numbers in the complex plane, in [-pi, pi]. The derivative at 0 is taken to be 0.

    >>> import numpy as np
    >>> angle(np.array([1j, -1.0]))
    array([1.57079633, 3.14159265])
    """
    return atan2(imag(x), real(x))
