"""Bessel functions, element by element.

The exponentially scaled modified functions of orders 0 and 1 have decompositions (rational approximations, see
``coefficients``); SciPy computes the others. Derivatives are the recurrence relations of the NIST Digital Library of
Mathematical Functions, 10.6, 10.29 and 11.4. There is no derivative in the order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from functrans.core.primitive import Primitive
from functrans.lax.arithmetic import mul, strong
from functrans.lax.compare import eq
from functrans.lax.exponential import exp
from functrans.lax.magnitude import abs as magnitude
from functrans.lax.magnitude import clamp
from functrans.lax.magnitude import max as larger
from functrans.lax.magnitude import sign as signum
from functrans.lax.power import sqrt
from functrans.lax.selection import select
from functrans.lax.special import coefficients as c
from functrans.lax.special.define import refused, special
from functrans.lax.special.series import rational

_ANY = [(np.array([0.5, -2.25, 12.0]),)]
_POSITIVE = [(np.array([0.5, 2.25, 12.0]),)]
_ORDERS = [(np.array([0.0, 1.5, 3.0]), np.array([0.5, 2.25, 12.0]))]

Rule = Callable[[Any, Any], Any]


def over(value: Any, x: Any, limit: float) -> Any:
    """``value / x``, its limit at 0."""
    zero = eq(x, 0.0)
    return select(zero, limit, value / select(zero, 1.0, x))


def _one(name: str, slope: Rule, samples: Any, decompose: Any = None, scipy: str | None = None) -> Primitive:
    """A function of one operand, with ``slope(out, x)``."""
    return special(
        name,
        lambda t, out, x: mul(t, slope(out, strong(x, out))),
        decompose=decompose,
        samples=samples,
        scipy=scipy,
    )


# -- modified functions of orders 0 and 1 -----------------------------------------------------------------------------


def _i0e(x: Any) -> Any:
    y = magnitude(x)
    v = 1.0 / larger(y, 8.0)
    return select(y < 8.0, rational(c.I0E_1, clamp(0.0, y, 8.0)), sqrt(v) * rational(c.I0E_2, v))


def _i1e(x: Any) -> Any:
    y = magnitude(x)
    v = 1.0 / larger(y, 8.0)
    inner = x * rational(c.I1E_1, clamp(0.0, y, 8.0))
    return select(y < 8.0, inner, signum(x) * sqrt(v) * rational(c.I1E_2, v))


def _i0(x: Any) -> Any:
    return _grown(x, bessel_i0e(x))


def _i1(x: Any) -> Any:
    return _grown(x, bessel_i1e(x))


def _grown(x: Any, scaled: Any) -> Any:
    """The scaled function times ``exp(|x|)``, which may overflow where the product does not."""
    half = exp(0.5 * magnitude(x))
    return half * scaled * half


bessel_i0e_p: Primitive = _one("bessel_i0e", lambda out, x: bessel_i1e(x) - signum(x) * out, _ANY, _i0e, scipy="i0e")
bessel_i1e_p: Primitive = _one(
    "bessel_i1e",
    lambda out, x: bessel_i0e(x) - over(out, x, 0.5) - signum(x) * out,
    _ANY,
    _i1e,
    scipy="i1e",
)
i0_p: Primitive = _one("i0", lambda out, x: i1_p.bind(x), _ANY, _i0)
i1_p: Primitive = _one("i1", lambda out, x: i0_p.bind(x) - over(out, x, 0.5), _ANY, _i1)

k0_p: Primitive = _one("k0", lambda out, x: -k1_p.bind(x), _POSITIVE)
k1_p: Primitive = _one("k1", lambda out, x: -k0_p.bind(x) - out / x, _POSITIVE)
k0e_p: Primitive = _one("k0e", lambda out, x: out - k1e_p.bind(x), _POSITIVE)
k1e_p: Primitive = _one("k1e", lambda out, x: out - k0e_p.bind(x) - out / x, _POSITIVE)

# -- functions of the first and second kind ---------------------------------------------------------------------------

j0_p: Primitive = _one("j0", lambda out, x: -j1_p.bind(x), _ANY)
j1_p: Primitive = _one("j1", lambda out, x: j0_p.bind(x) - over(out, x, 0.5), _ANY)
y0_p: Primitive = _one("y0", lambda out, x: -y1_p.bind(x), _POSITIVE)
y1_p: Primitive = _one("y1", lambda out, x: y0_p.bind(x) - out / x, _POSITIVE)

# -- functions of any order -------------------------------------------------------------------------------------------


def _ordered(
    name: str, slope: Callable[[Any, Any, Any], Any], whole: bool = False, samples: Any = _ORDERS
) -> Primitive:
    """A function of an order and an argument, with ``slope(out, v, x)``."""
    return special(
        name,
        refused(name, "its order"),
        lambda t, out, v, x: mul(t, slope(out, strong(v, out), strong(x, out))),
        arity=2,
        samples=[(np.floor(v), x) for v, x in samples] if whole else samples,
        diff=(1,),
    )


def _neighbours(name: str, below: float, above: float) -> Callable[[Any, Any], Any]:
    """``below * f(v - 1, x) + above * f(v + 1, x)``."""

    def combined(v: Any, x: Any) -> Any:
        prim = _by_name[name]
        return below * prim.bind(v - 1.0, x) + above * prim.bind(v + 1.0, x)

    return combined


_by_name: dict[str, Primitive] = {}
_first_kind = {n: _neighbours(n, 0.5, -0.5) for n in ("jv", "yv", "jve", "yve")}
_modified = {"iv": _neighbours("iv", 0.5, 0.5), "kv": _neighbours("kv", -0.5, -0.5)}
for _name, _combined in (_first_kind | _modified).items():
    _by_name[_name] = _ordered(_name, lambda out, v, x, combined=_combined: combined(v, x))  # type: ignore[misc]
_ive, _kve = _neighbours("ive", 0.5, 0.5), _neighbours("kve", -0.5, -0.5)
_by_name["ive"] = _ordered("ive", lambda out, v, x: _ive(v, x) - signum(x) * out)
_by_name["kve"] = _ordered("kve", lambda out, v, x: out + _kve(v, x))

_ordered("kn", lambda out, n, x: _modified["kv"](n, x), whole=True)
_ordered("yn", lambda out, n, x: _first_kind["yv"](n, x), whole=True)

_by_name["struve"] = _ordered("struve", lambda out, v, x: _by_name["struve"].bind(v - 1.0, x) - v * out / x)
_by_name["modstruve"] = _ordered("modstruve", lambda out, v, x: _by_name["modstruve"].bind(v - 1.0, x) - v * out / x)

jv_p: Primitive = _by_name["jv"]

# -- Kelvin functions and Airy functions ------------------------------------------------------------------------------

# Each pair of functions f, g has f'' = -g - f'/x and g'' = f - g'/x.
_kelvin: dict[str, Primitive] = {}


def _kelvin_pair(f: str, g: str) -> None:
    for name, slope in (
        (f, lambda out, x: _kelvin[f + "p"].bind(x)),
        (g, lambda out, x: _kelvin[g + "p"].bind(x)),
        (f + "p", lambda out, x: -_kelvin[g].bind(x) - out / x),
        (g + "p", lambda out, x: _kelvin[f].bind(x) - out / x),
    ):
        _kelvin[name] = _one(name, slope, [(np.array([0.5, 2.25, 4.0]),)])


_kelvin_pair("ber", "bei")
_kelvin_pair("ker", "kei")

airy_p: Primitive = special(
    "airy",
    outputs=4,
    parts=lambda out, x: [out[1], x * out[0], out[3], x * out[2]],
    samples=[(np.array([0.5, -2.25, 3.0]),)],
)

# -- public -----------------------------------------------------------------------------------------------------------


def bessel_i0e(x: Any) -> Any:
    """The modified Bessel function of order 0 times ``exp(-|x|)``.

    The decomposition is within 4 eps. The derivative at 0 is 0, between the two one-sided ones.

    >>> bessel_i0e(np.array([0.0, 1.0]))
    array([1.        , 0.46575961])
    """
    return bessel_i0e_p.bind(x)


def bessel_i1e(x: Any) -> Any:
    """The modified Bessel function of order 1 times ``exp(-|x|)``. The decomposition is within 4 eps.

    >>> bessel_i1e(np.array([0.0, 1.0]))
    array([0.        , 0.20791042])
    """
    return bessel_i1e_p.bind(x)
