"""The error function and its complement by rational approximations: what both their decompositions are made of."""

from __future__ import annotations

from typing import Any

from functrans.lax.magnitude import abs as magnitude
from functrans.lax.magnitude import clamp, copysign
from functrans.lax.magnitude import max as larger
from functrans.lax.selection import select
from functrans.lax.special import coefficients as c
from functrans.lax.special.series import exp_of_square, rational


def erf_near(x: Any) -> Any:
    """The error function for ``-0.84 < x < 0.84``."""
    return x * rational(c.ERF, x * x)


def erfcx_positive(y: Any) -> Any:
    """``exp(y**2) erfc(y)`` for ``y >= 0.5``."""
    near = rational(c.ERFCX_1, clamp(0.5, y, 3.0))
    v = 1.0 / larger(y, 3.0)
    return select(y < 3.0, near, v * rational(c.ERFCX_2, v * v))


def erf_decompose(x: Any) -> Any:
    """The error function, within 3 eps."""
    y = magnitude(x)
    low = y < 0.84
    z = clamp(0.5, y, 30.0)
    return select(low, erf_near(select(low, x, 0.0)), copysign(1.0 - exp_of_square(z) * erfcx_positive(z), x))


def erfc_decompose(x: Any) -> Any:
    """The complement of the error function, within 6 eps."""
    y = magnitude(x)
    low = y < 0.5
    z = clamp(0.5, y, 30.0)
    tail = exp_of_square(z) * erfcx_positive(z)
    return select(low, 1.0 - erf_near(select(low, x, 0.0)), select(x < 0.0, 2.0 - tail, tail))
