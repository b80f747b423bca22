"""More functions of SciPy's special module, a row each: derivative rules in terms of primitives, values by SciPy.

Most have no decomposition, so that SciPy has to be installed for their values. Sources of the rules: NIST Digital
Library of Mathematical Functions, chapters 4, 13 to 19 and 25.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from functrans.core.primitive import Primitive
from functrans.lax.arithmetic import mul, strong
from functrans.lax.compare import eq, logical_or
from functrans.lax.complex import complex as as_complex
from functrans.lax.complex import real
from functrans.lax.exponential import exp, expm1, log, log1p
from functrans.lax.magnitude import abs as magnitude
from functrans.lax.magnitude import sign as signum
from functrans.lax.power import pow as power
from functrans.lax.power import sqrt
from functrans.lax.selection import select
from functrans.lax.special.define import Function, refused, special
from functrans.lax.special.faddeeva import wofz_p
from functrans.lax.special.gamma import digamma, euler_maclaurin, gamma, lgamma, rgamma, zeta
from functrans.lax.special.incomplete_beta import betaln
from functrans.lax.special.series import eps, pick, sin_pi
from functrans.lax.trigonometric import cos, sin, tan

_ANY = np.array([0.5, -1.25, 3.0])
_POSITIVE = np.array([0.5, 2.25, 4.0])
_UNIT = np.array([0.25, 0.5, 0.875])
_SHAPES = np.array([1.5, 3.0, 0.75])
_DEGREES = np.array([0.0, 2.0, 5.0])
_X = np.array([0.25, -1.5, 0.5])


def _row(name: str, sample: Any, slope: Callable[[Any, Any], Any], decompose: Function | None = None) -> Primitive:
    """A function of one operand, with ``slope(out, x)``."""
    return special(
        name,
        lambda t, out, x: mul(t, slope(out, strong(x, out))),
        decompose=decompose,
        samples=[(sample,)],
    )


# -- elementary -------------------------------------------------------------------------------------------------------

_DEGREE = math.pi / 180

_row("exp10", _ANY, lambda out, x: math.log(10) * out, lambda x: power(10.0 + 0.0 * x, x))
_row("cosm1", _ANY, lambda out, x: -sin(x), lambda x: -2.0 * sin(0.5 * x) * sin(0.5 * x))
_row("sindg", _ANY, lambda out, x: _DEGREE * cos(x * _DEGREE), lambda x: sin_pi(x / 180.0))
_row("cosdg", _ANY, lambda out, x: -_DEGREE * sin(x * _DEGREE), lambda x: sin_pi((90.0 - x) / 180.0))
_row("tandg", _ANY, lambda out, x: _DEGREE * (1.0 + out * out), lambda x: tan(x * _DEGREE))
_row("cotdg", _ANY, lambda out, x: -_DEGREE * (1.0 + out * out), lambda x: 1.0 / tan(x * _DEGREE))


def _powm1(x: Any, y: Any) -> Any:
    positive = x > 0.0
    small = expm1(y * log(select(positive, x, 1.0)))
    return select(positive & (magnitude(small) < 0.5), small, power(x, y) - 1.0)


special(
    "powm1",
    lambda t, out, x, y: mul(t, strong(y, out) * power(strong(x, out), strong(y, out) - 1.0)),
    lambda t, out, x, y: mul(t, (out + 1.0) * log(strong(x, out))),
    arity=2,
    decompose=_powm1,
    samples=[(_POSITIVE, _ANY)],
)
special(
    "agm",
    arity=2,
    decompose=lambda a, b: _agm(a, b),
    samples=[(_POSITIVE, _SHAPES)],
    order=1,
)


def _agm(a: Any, b: Any) -> Any:
    """The arithmetic-geometric mean of numbers of one sign, by its iteration: each step doubles the digits.

    Before that it halves the exponent of their quotient: sixteen steps do for the greatest there is.
    """
    below = (a < 0.0) & (b < 0.0)
    alike = below | (a > 0.0) & (b > 0.0)
    p, q = select(alike, magnitude(a), 1.0), select(alike, magnitude(b), 1.0)
    for _ in range(16):
        p, q = 0.5 * p + 0.5 * q, sqrt(p) * sqrt(q)
    zero = logical_or(eq(a, 0.0), eq(b, 0.0))
    # Zero times the other one: NaN where that is infinite or NaN.
    return select(alike, select(below, -p, p), select(zero, 0.0 * (magnitude(a) + magnitude(b)), np.nan))


# -- losses -----------------------------------------------------------------------------------------------------------


def _huber(delta: Any, r: Any) -> Any:
    y = magnitude(r)
    return select(delta < 0.0, np.inf, select(y <= delta, 0.5 * r * r, delta * (y - 0.5 * delta)))


def _pseudo_huber(delta: Any, r: Any) -> Any:
    zero = eq(delta, 0.0)
    u = r / select(zero, 1.0, delta)
    root = sqrt(1.0 + u * u)
    return select(delta < 0.0, np.inf, select(zero, 0.0, delta * r * u / (1.0 + root)))


special(
    "huber",
    lambda t, out, delta, r: mul(
        t, select(magnitude(strong(r, out)) <= strong(delta, out), 0.0, magnitude(strong(r, out)) - strong(delta, out))
    ),
    lambda t, out, delta, r: mul(
        t,
        select(
            magnitude(strong(r, out)) <= strong(delta, out), strong(r, out), strong(delta, out) * signum(strong(r, out))
        ),
    ),
    arity=2,
    decompose=_huber,
    samples=[(_POSITIVE, np.array([0.25, -3.0, 5.0]))],
)
special("pseudo_huber", arity=2, decompose=_pseudo_huber, samples=[(_POSITIVE, np.array([0.25, -3.0, 5.0]))])

# -- gamma and zeta ---------------------------------------------------------------------------------------------------


def _zetac(s: Any) -> Any:
    """The Riemann zeta function less 1, by reflection for ``s < 0``."""
    above = s > 1.0
    direct = zeta(select(above, s, 2.0), 2.0)
    below = s < 0.0
    reflected = _reflected_zeta(select(below, s, -0.5))
    strip = (s > 0.0) & (s < 1.0)
    reflected = select(strip, euler_maclaurin(select(strip, s, 0.5), 1.0), reflected)
    edge = pick(s, eq(s, 1.0), np.inf, -1.5)
    return select(above, direct, select(logical_or(eq(s, 1.0), eq(s, 0.0)), edge, reflected - 1.0))


def _reflected_zeta(s: Any) -> Any:
    return power(2.0 * math.pi + 0.0 * s, s - 1.0) * 2.0 * sin_pi(0.5 * s) * gamma(1.0 - s) * zeta(1.0 - s, 1.0)


special("zetac", decompose=lambda s: _zetac(s), samples=[(np.array([2.5, 4.0, -1.5]),)], order=1, safe=2.0)


def _binom(n: Any, k: Any) -> Any:
    """By gamma functions; where they overflow, by the beta function."""
    bound = 100.0 if eps(n) < 1e-10 else 30.0
    low = (magnitude(n) < bound) & (magnitude(k) < bound)
    x, y = select(low, n, 1.0), select(low, k, 0.0)
    small = gamma(x + 1.0) * rgamma(y + 1.0) * rgamma(x - y + 1.0)
    inside = (n > k) & (k > 0.0)
    p, q = select(inside, n, 2.0), select(inside, k, 1.0)
    large = exp(-betaln(1.0 + p - q, 1.0 + q) - log1p(p))
    edge = pick(n, logical_or(eq(k, 0.0), eq(k, n)), 1.0, 0.0)
    return select(low, small, select(inside, large, edge))


def _poch(z: Any, m: Any) -> Any:
    total = z + m
    bound = 100.0 if eps(z) < 1e-10 else 30.0
    low = (magnitude(z) < bound) & (magnitude(total) < bound)
    small = gamma(select(low, total, 1.0)) * rgamma(select(low, z, 1.0))
    return select(low, small, exp(lgamma(select(low, 1.0, total)) - lgamma(select(low, 1.0, z))))


special("binom", arity=2, decompose=_binom, samples=[(np.array([5.0, 3.5, 8.0]), np.array([2.0, 1.25, 8.0]))], order=1)
special("poch", arity=2, decompose=_poch, samples=[(_POSITIVE, np.array([2.0, 1.25, 0.5]))], order=1)

_complex_digamma: Primitive = special(
    "complex_digamma",
    refused("digamma", "a complex operand, a second time,"),
    scipy="",
    value=lambda library, z: library.psi(z),
    kinds="c",
    samples=[(np.array([0.5 + 1j, 2.0 - 0.5j]),)],
    order=1,
    diff=(),
)


def _loggamma_rule(t: Any, out: Any, z: Any) -> Any:
    z = strong(z, out)
    return mul(t, digamma(z) if z.dtype.kind == "f" else _complex_digamma.bind(z))


special("loggamma", _loggamma_rule, kinds="fc", samples=[(_POSITIVE,), (np.array([0.5 + 1j, 2.0 - 0.5j]),)], order=1)

# -- Voigt profile ----------------------------------------------------------------------------------------------------


def _voigt(x: Any, sigma: Any, width: Any) -> Any:
    scale = 1.0 / (sigma * math.sqrt(2.0))
    return real(wofz_p.bind(as_complex(x * scale, width * scale + 0.0 * x))) * (scale / math.sqrt(math.pi))


special("voigt_profile", arity=3, decompose=_voigt, samples=[(_ANY, _POSITIVE, _UNIT)], order=1)

# -- Lambert's function -----------------------------------------------------------------------------------------------


def _lambert_rule(t: Any, out: Any, z: Any, k: Any) -> Any:
    """``W / (z (1 + W))``; at 0, of the principal branch, 1."""
    z = strong(z, out)
    zero = eq(z, 0.0)
    return mul(t, select(zero, 1.0, out / (select(zero, 1.0, z) * (1.0 + out))))


special(
    "lambertw",
    _lambert_rule,
    refused("lambertw", "its branch k"),
    arity=2,
    scipy="_lambertw",
    value=lambda library, z, k: library.lambertw(z, k.real.astype(np.int64)),
    kinds="c",
    samples=[(np.array([0.5 + 1j, 2.0 - 0.25j, -1.0 + 0.5j]), np.array([0j, 0j, 1 + 0j]))],
    diff=(0,),
)

# -- elliptic integrals -----------------------------------------------------------------------------------------------


def _complete(p: Any) -> tuple[Any, Any]:
    """The integrals of the first and the second kind of ``m = 1 - p``, by the arithmetic-geometric mean."""
    a, b = 1.0 + 0.0 * p, sqrt(p)
    total = 0.5 * (1.0 - p)
    weight = 1.0
    for _ in range(7):
        gap = 0.5 * (a - b)
        a, b = 0.5 * (a + b), sqrt(a) * sqrt(b)
        total = total + weight * gap * gap
        weight *= 2.0
    first = 0.5 * math.pi / a
    return first, first * (1.0 - total)


def _ellipkm1(p: Any) -> Any:
    inside = p > 0.0
    return select(inside, _complete(select(inside, p, 1.0))[0], pick(p, eq(p, 0.0), np.inf, np.nan))


def _ellipe(m: Any) -> Any:
    inside = m < 1.0
    return select(inside, _complete(select(inside, 1.0 - m, 1.0))[1], pick(m, eq(m, 1.0), 1.0, np.nan))


_PARAMETERS = [(np.array([0.5, -1.25, 0.0]),)]
special("ellipk", decompose=lambda m: _ellipkm1(1.0 - m), samples=_PARAMETERS)
special("ellipkm1", decompose=_ellipkm1, samples=[(np.array([0.5, 0.25, 2.0]),)])
special("ellipe", decompose=_ellipe, samples=_PARAMETERS)


def _incomplete_root(phi: Any, m: Any) -> Any:
    s = sin(phi)
    return sqrt(1.0 - m * s * s)


def _small_parameter(phi: Any, m: Any, order: float, regular: Any) -> Any:
    """Near ``m = 0``, where the quotients are 0 / 0, the first terms of the power series in ``m``."""
    s2, s4 = sin(2.0 * phi), sin(4.0 * phi)
    squares = 0.5 * phi - 0.25 * s2
    fourths = 0.375 * phi - 0.25 * s2 + 0.03125 * s4
    near = magnitude(m) < 1e-5
    first = 0.5 * squares + 0.75 * m * fourths if order > 0 else -0.5 * squares - 0.25 * m * fourths
    return select(near, first, regular(select(near, 0.5, m)))


def _first_in_m(t: Any, out: Any, phi: Any, m: Any) -> Any:
    phi, m = strong(phi, out), strong(m, out)

    def regular(m: Any) -> Any:
        first, second = ellipkinc_p.bind(phi, m), ellipeinc_p.bind(phi, m)
        tail = sin(2.0 * phi) / (4.0 * (1.0 - m) * _incomplete_root(phi, m))
        return second / (2.0 * m * (1.0 - m)) - first / (2.0 * m) - tail

    return mul(t, _small_parameter(phi, m, 1.0, regular))


def _second_in_m(t: Any, out: Any, phi: Any, m: Any) -> Any:
    phi, m = strong(phi, out), strong(m, out)

    def regular(m: Any) -> Any:
        return (ellipeinc_p.bind(phi, m) - ellipkinc_p.bind(phi, m)) / (2.0 * m)

    return mul(t, _small_parameter(phi, m, -1.0, regular))


ellipkinc_p: Primitive = special(
    "ellipkinc",
    lambda t, out, phi, m: mul(t, 1.0 / _incomplete_root(strong(phi, out), strong(m, out))),
    _first_in_m,
    arity=2,
    samples=[(np.array([0.5, -1.25, 1.0]), np.array([0.5, -1.25, 0.25]))],
)
ellipeinc_p: Primitive = special(
    "ellipeinc",
    lambda t, out, phi, m: mul(t, _incomplete_root(strong(phi, out), strong(m, out))),
    _second_in_m,
    arity=2,
    samples=[(np.array([0.5, -1.25, 1.0]), np.array([0.5, -1.25, 0.25]))],
)

# -- orthogonal polynomials -------------------------------------------------------------------------------------------


def _polynomial(name: str, parameters: int, slope: Callable[..., Any], sample: Any = (_DEGREES, _X)) -> Primitive:
    """A polynomial of a degree, parameters and a point; ``slope(n, *parameters, x)`` for degrees of at least 1.

    SciPy computes polynomials of whole degrees as such, and others as hypergeometric functions.
    """

    def value(library: Any, n: Any, *rest: Any) -> Any:
        whole = n.astype(np.int64)
        exact = bool((whole == n).all())
        return getattr(library, name)(whole if exact else n, *rest).astype(rest[-1].dtype)

    def rule(t: Any, out: Any, n: Any, *operands: Any) -> Any:
        n, *strongly = (strong(x, out) for x in (n, *operands))
        constant = eq(n, 0.0)
        return mul(t, select(constant, 0.0, slope(select(constant, 1.0, n), *strongly)))

    fixed = [refused(name, "its degree and parameters")] * (parameters + 1)
    prim = special(
        name, *fixed, rule, arity=parameters + 2, value=value, scipy=name, samples=[sample], diff=(parameters + 1,)
    )
    _polynomials[name] = prim
    return prim


_polynomials: dict[str, Primitive] = {}


def _p(name: str, *operands: Any) -> Any:
    *first, x = operands
    return _polynomials[f"eval_{name}"].bind(*first, x)


_polynomial("eval_legendre", 0, lambda n, x: _p("gegenbauer", n - 1.0, 1.5, x))
_polynomial("eval_chebyt", 0, lambda n, x: n * _p("chebyu", n - 1.0, x))
_polynomial("eval_chebyu", 0, lambda n, x: 2.0 * _p("gegenbauer", n - 1.0, 2.0, x))
_polynomial("eval_hermite", 0, lambda n, x: 2.0 * n * _p("hermite", n - 1.0, x))
_polynomial("eval_hermitenorm", 0, lambda n, x: n * _p("hermitenorm", n - 1.0, x))
_polynomial("eval_laguerre", 0, lambda n, x: -_p("genlaguerre", n - 1.0, 1.0, x))
_polynomial("eval_genlaguerre", 1, lambda n, a, x: -_p("genlaguerre", n - 1.0, a + 1.0, x), (_DEGREES, _SHAPES, _X))
_polynomial(
    "eval_gegenbauer", 1, lambda n, a, x: 2.0 * a * _p("gegenbauer", n - 1.0, a + 1.0, x), (_DEGREES, _SHAPES, _X)
)
_polynomial(
    "eval_jacobi",
    2,
    lambda n, a, b, x: 0.5 * (n + a + b + 1.0) * _p("jacobi", n - 1.0, a + 1.0, b + 1.0, x),
    (_DEGREES, _SHAPES, _UNIT, _X),
)

# -- Tukey's lambda distribution --------------------------------------------------------------------------------------


def _tukey_in_x(t: Any, out: Any, x: Any, lmbda: Any) -> Any:
    lmbda = strong(lmbda, out)
    inside = (out > 0.0) & (out < 1.0)
    p = select(inside, out, 0.5)
    return mul(t, select(inside, 1.0 / (power(p, lmbda - 1.0) + power(1.0 - p, lmbda - 1.0)), 0.0))


special(
    "tklmbda",
    _tukey_in_x,
    refused("tklmbda", "its parameter lmbda"),
    arity=2,
    samples=[(np.array([0.5, -1.25, 0.25]), np.array([0.0, 0.5, 0.25]))],
    diff=(0,),
    order=1,
)
