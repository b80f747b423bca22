"""Computes the coefficients of the special functions' approximations, and prints the module that holds them.

    python tools/special_coefficients.py > functrans/lax/special/coefficients.py

It needs mpmath. An approximation is a rational function of given degrees that agrees with the function at the
Chebyshev nodes of an interval, which is near to the best one; its coefficients are solved for in 60 digits. A row of
``FITS`` is a name, the function, the interval, the degrees, and the point that powers are taken from: one at which the
polynomials' coefficients have few changes of sign, so that evaluating them in double precision costs no more than a
rounding or two.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

mp: Any = importlib.import_module("mpmath")
mp.mp.dps = 60
mpf = mp.mpf
TINY = mpf(10) ** -20

HEAD = '''"""Coefficients of the approximations in this package, each good to about the rounding of double precision.

``tools/special_coefficients.py`` computes them: rational functions that agree with the function at the Chebyshev nodes
of an interval, solved for in 60 digits. Nothing here is written by hand.
"""

# fmt: off
from __future__ import annotations

from typing import NamedTuple


class Rational(NamedTuple):
    """The quotient of two polynomials in ``x - center``; coefficients of rising powers."""

    center: float
    numerator: tuple[float, ...]
    denominator: tuple[float, ...]

'''


class Fit(NamedTuple):
    name: str
    f: Callable[[Any], Any]
    low: Any
    high: Any
    degrees: tuple[int, int]
    center: float = 0.0


def solve(fit: Fit) -> tuple[list[float], list[float]]:
    """The numerator and the denominator, whose constant term is 1."""
    n, m = fit.degrees
    size = n + m + 1
    low, high = mpf(fit.low), mpf(fit.high)
    matrix, right = mp.matrix(size, size), mp.matrix(size, 1)
    # Powers of a variable of size 1 keep the system well-conditioned.
    unit = max(abs(low - fit.center), abs(high - fit.center))
    for i in range(size):
        x = (low + high) / 2 + (high - low) / 2 * mp.cos(mp.pi * (2 * i + 1) / (2 * size))
        value, t = fit.f(x), (x - fit.center) / unit
        for k in range(n + 1):
            matrix[i, k] = t**k
        for k in range(1, m + 1):
            matrix[i, n + k] = -value * t**k
        right[i] = value
    found = mp.lu_solve(matrix, right)
    numerator = [float(found[k] / unit**k) for k in range(n + 1)]
    return numerator, [1.0, *(float(found[n + k] / unit**k) for k in range(1, m + 1))]


# -- functions ------------------------------------------------------------------------------------------------------


def near(f: Callable[[Any], Any], point: Any, limit: Any) -> Callable[[Any], Any]:
    """A function with a removable singularity."""
    return lambda x: limit if abs(x - point) < TINY else f(x)


def asymptotic(terms: Callable[[int], Any], f: Callable[[Any], Any], bound: Any) -> Callable[[Any], Any]:
    """The sum of a divergent series in ``w`` up to its smallest term where ``w`` is below a bound, ``f(w)`` elsewhere.

    ``terms(k)`` is the quotient of the terms ``k`` and ``k - 1``, divided by ``w``.
    """

    def value(w: Any) -> Any:
        if w >= bound:
            return f(w)
        total, term, k = mpf(1), mpf(1), 1
        while k < 200:
            following = term * terms(k) * w
            if abs(following) >= abs(term) or following == 0:
                break
            term, total, k = following, total + following, k + 1
        return total

    return value


def stirling(x: Any) -> Any:
    return mp.loggamma(x) - (x - mpf(1) / 2) * mp.log(x) + x - mp.log(2 * mp.pi) / 2


def erfcx(x: Any) -> Any:
    return mp.exp(x * x) * mp.erfc(x)


def dawson(x: Any) -> Any:
    return mp.exp(-x * x) * mp.erfi(x) * mp.sqrt(mp.pi) / 2


def quantile(r: Any) -> Any:
    """Minus the normal quantile of ``exp(-r**2)``, by Newton's method on logarithms."""
    y = mp.sqrt(2) * r
    for _ in range(60):
        tail = mp.erfc(y / mp.sqrt(2)) / 2
        step = (mp.log(tail) + r * r) / (-mp.exp(-y * y / 2) / mp.sqrt(2 * mp.pi) / tail)
        y -= step
        if abs(step) < mpf(10) ** -45:
            break
    return y


def modified(order: int) -> Callable[[Any], Any]:
    """``sqrt(x) exp(-x) I(x)`` of ``1 / x``."""
    m = 4 * order * order
    series = asymptotic(
        lambda k: -mpf(m - (2 * k - 1) ** 2) / (8 * k),
        lambda t: mp.sqrt(2 * mp.pi / t) * mp.besseli(order, 1 / t) * mp.exp(-1 / t),
        mpf(1) / 400,
    )
    return lambda t: series(t) / mp.sqrt(2 * mp.pi)


def auxiliary_sine(x: Any) -> tuple[Any, Any]:
    s, c = mp.si(x) - mp.pi / 2, mp.ci(x)
    return c * mp.sin(x) - s * mp.cos(x), -s * mp.sin(x) - c * mp.cos(x)


def auxiliary_fresnel(x: Any) -> tuple[Any, Any]:
    with mp.workdps(90):
        s, c, u = mpf(1) / 2 - mp.fresnels(x), mpf(1) / 2 - mp.fresnelc(x), mp.pi * x * x / 2
        return s * mp.cos(u) - c * mp.sin(u), c * mp.cos(u) + s * mp.sin(u)


def fresnel_point(w: Any) -> Any:
    return mp.sqrt(1 / mp.sqrt(w) / mp.pi)


DIGAMMA_ROOT = mp.findroot(lambda x: mp.psi(0, x), mpf("1.4616321449683623"))
EXPI_ROOT = mp.findroot(mp.ei, mpf("0.3725"))


def expi_quotient(x: Any) -> Any:
    if x < TINY:
        return (mp.euler + mp.log(EXPI_ROOT)) / (x - EXPI_ROOT)
    if abs(x - EXPI_ROOT) < TINY:
        return (mp.exp(EXPI_ROOT) - 1) / EXPI_ROOT
    return (mp.ei(x) - mp.log(x / EXPI_ROOT)) / (x - EXPI_ROOT)


def scaled_ei(x: Any) -> Any:
    return mp.ei(x) * mp.exp(-x) * x


def scaled_e1(x: Any) -> Any:
    return mp.e1(x) * mp.exp(x) * x


def of_root(f: Callable[[Any], Any], limit: Any, power: int = 2) -> Callable[[Any], Any]:
    """``f(x)`` as a function of a power of ``x``."""
    return near(lambda w: f(w ** (mpf(1) / power)), 0, limit)


def sine_part(k: int) -> Callable[[Any], Any]:
    return lambda w: w ** (-mpf(k + 1) / 2) * auxiliary_sine(1 / mp.sqrt(w))[k]


def fresnel_part(k: int) -> Callable[[Any], Any]:
    def value(w: Any) -> Any:
        x = fresnel_point(w)
        return auxiliary_fresnel(x)[k] * (mp.pi * x if k == 0 else mp.pi**2 * x**3)

    return value


SICI_F = asymptotic(lambda k: -(2 * k - 1) * (2 * k), sine_part(0), mpf(1) / 2500)
SICI_G = asymptotic(lambda k: -(2 * k) * (2 * k + 1), sine_part(1), mpf(1) / 2500)
FRESNEL_F = asymptotic(lambda k: -(4 * k - 3) * (4 * k - 1), fresnel_part(0), mpf(1) / 40000)
FRESNEL_G = asymptotic(lambda k: -(4 * k - 1) * (4 * k + 1), fresnel_part(1), mpf(1) / 40000)
FRESNEL_END = 1 / (mp.pi * mpf("11.56")) ** 2
DAWSON = asymptotic(lambda k: mpf(2 * k - 1) / 2, lambda w: 2 * dawson(1 / mp.sqrt(w)) / mp.sqrt(w), mpf(1) / 150)

FITS = [
    Fit("CHI", of_root(lambda x: (mp.chi(x) - mp.euler - mp.log(x)) / x**2, mpf(1) / 4), 0, 4, (7, 0)),
    Fit("CI", of_root(lambda x: (mp.ci(x) - mp.euler - mp.log(x)) / x**2, -mpf(1) / 4), 0, 16, (10, 0)),
    Fit("DAWSN_0", of_root(lambda x: dawson(x) / x, mpf(1)), 0, 6.25, (8, 8)),
    Fit("DAWSN_1", lambda x: dawson(x) * x, 2.5, 5, (11, 11), 2.5),
    Fit("DAWSN_2", lambda w: DAWSON(w) / 2, 0, mpf(1) / 25, (8, 8), 0.04),
    Fit(
        "DIGAMMA_1",
        near(lambda x: mp.psi(0, x) / (x - DIGAMMA_ROOT), DIGAMMA_ROOT, mp.psi(1, DIGAMMA_ROOT)),
        1,
        2.5,
        (6, 6),
        1.0,
    ),
    Fit("DIGAMMA_2", lambda x: mp.psi(0, x), 2.5, 10, (9, 8), 2.5),
    Fit("ERF", of_root(lambda x: mp.erf(x) / x, 2 / mp.sqrt(mp.pi)), 0, mpf("0.84") ** 2, (10, 0)),
    Fit("ERFCX_1", erfcx, 0.5, 3, (7, 7), 0.5),
    Fit(
        "ERFCX_2",
        lambda w: (
            asymptotic(
                lambda k: -mpf(2 * k - 1) / 2,
                lambda v: mp.sqrt(mp.pi / v) * erfcx(1 / mp.sqrt(v)),
                mpf(1) / 150,
            )(w)
            / mp.sqrt(mp.pi)
        ),
        0,
        mpf(1) / 9,
        (6, 6),
    ),
    Fit("EXP1_0", near(lambda x: (mp.e1(x) + mp.euler + mp.log(x)) / x, 0, mpf(1)), 0, 1, (10, 0)),
    Fit("EXP1_1", scaled_e1, 1, 4, (8, 7), 1.0),
    Fit("EXP1_2", asymptotic(lambda k: -k, lambda t: scaled_e1(1 / t), mpf(1) / 150), 0, 0.25, (8, 8)),
    Fit("EXPI_0", expi_quotient, 0, 6, (9, 9), 6.0),
    Fit("EXPI_1", scaled_ei, 6, 11, (8, 7), 6.0),
    Fit("EXPI_2", scaled_ei, 11, 22, (11, 11), 11.0),
    Fit("EXPI_3", scaled_ei, 22, 45, (8, 8), 22.0),
    Fit("EXPI_4", asymptotic(lambda k: k, lambda t: scaled_ei(1 / t), mpf(1) / 150), 0, mpf(1) / 45, (5, 4)),
    Fit("FRESNEL_C", of_root(lambda x: mp.fresnelc(x) / x, mpf(1), 4), 0, 6.5625, (11, 0), 3.28125),
    Fit("FRESNEL_F1", lambda x: auxiliary_fresnel(x)[0], 1.6, 3.4, (8, 7), 1.6),
    Fit("FRESNEL_F2", FRESNEL_F, 0, FRESNEL_END, (5, 4)),
    Fit("FRESNEL_G1", lambda x: auxiliary_fresnel(x)[1], 1.6, 3.4, (8, 8), 1.6),
    Fit("FRESNEL_G2", FRESNEL_G, 0, FRESNEL_END, (5, 5), float(FRESNEL_END / 2)),
    Fit("FRESNEL_S", of_root(lambda x: mp.fresnels(x) / x**3, mp.pi / 6, 4), 0, 6.5625, (10, 0), 3.28125),
    Fit("GAMMA_STAR", near(lambda t: mp.exp(stirling(1 / t)), 0, mpf(1)), 0, 1, (8, 8)),
    Fit("I0E_1", lambda x: mp.besseli(0, x) * mp.exp(-x), 0, 8, (11, 11)),
    Fit("I0E_2", modified(0), 0, 0.125, (20, 0)),
    Fit("I1E_1", near(lambda x: mp.besseli(1, x) * mp.exp(-x) / x, 0, mpf(1) / 2), 0, 8, (11, 10)),
    Fit("I1E_2", modified(1), 0, 0.125, (20, 0), 0.0625),
    Fit("LGAMMA_1", near(lambda u: mp.loggamma(1 + u) / u, 0, -mp.euler), -0.5, 0.5, (9, 9), -0.5),
    Fit("LGAMMA_2", near(lambda u: mp.loggamma(2 + u) / u, 0, mp.psi(0, 2)), -0.5, 2, (8, 7), -0.5),
    Fit("LOG1PMX", near(lambda u: (u - mp.log1p(u)) / u**2, 0, mpf(1) / 2), -0.35, 0.5, (8, 8), -0.35),
    Fit(
        "NDTRI_0",
        lambda s: of_root(lambda q: mp.sqrt(2) * mp.erfinv(2 * q) / q, mp.sqrt(2 * mp.pi))(mpf("0.180625") - s),
        0,
        mpf("0.180625"),
        (8, 8),
    ),
    Fit("NDTRI_1", quantile, 1.6, 5, (8, 7), 1.6),
    Fit("NDTRI_2", quantile, 5, 28, (10, 10), 5.0),
    Fit("SHI", of_root(lambda x: mp.shi(x) / x, mpf(1)), 0, 4, (8, 0)),
    Fit("SI", of_root(lambda x: mp.si(x) / x, mpf(1)), 0, 16, (10, 0), 8.0),
    Fit("SICI_F1", SICI_F, mpf(1) / 64, mpf(1) / 16, (7, 6), 1 / 64),
    Fit("SICI_F2", SICI_F, 0, mpf(1) / 64, (8, 8)),
    Fit("SICI_G1", SICI_G, mpf(1) / 64, mpf(1) / 16, (7, 7), 1 / 64),
    Fit("SICI_G2", SICI_G, 0, mpf(1) / 64, (9, 9)),
    Fit("SPENCE", near(lambda w: mp.polylog(2, -w).real / w, 0, mpf(-1)), -0.5, 0.5, (7, 7), -0.5),
    Fit("STIRLING", near(lambda w: stirling(1 / mp.sqrt(w)) / mp.sqrt(w), 0, mpf(1) / 12), 0, mpf(1) / 16, (4, 4)),
]

# -- Temme's expansion ----------------------------------------------------------------------------------------------


def temme(order: int = 44, rows: int = 12, a: int = 100, eta: str = "0.216") -> list[list[float]]:
    """The Taylor coefficients of the functions of NIST Digital Library, 8.12.9, that count for ``a >= 100``."""
    # mu(eta) with eta**2 / 2 = mu - log(1 + mu), from mu mu' = eta (1 + mu).
    mu = [mpf(0)] * (order + 2)
    mu[1] = mpf(1)
    for n in range(2, order + 2):
        inner = sum((mu[i] * (n + 1 - i) * mu[n + 1 - i] for i in range(2, n)), mpf(0))
        mu[n] = (mu[n - 1] - inner) / (n + 1)
    inverse = [mpf(1)] + [mpf(0)] * (order - 1)  # eta / mu
    for k in range(1, order):
        inverse[k] = -sum(mu[i + 1] * inverse[k - i] for i in range(1, k + 1))
    logs = [mpf(0)] * (rows + 1)
    for k in range(1, rows + 1):
        if 2 * k - 1 <= rows:
            logs[2 * k - 1] = mp.bernoulli(2 * k) / (2 * k * (2 * k - 1))
    ratio = [mpf(1)] + [mpf(0)] * rows
    for n in range(1, rows + 1):
        ratio[n] = sum((k * logs[k] * ratio[n - k] for k in range(1, n + 1)), mpf(0)) / n
    series = [inverse[1:]]
    for k in range(1, rows + 1):
        before = series[-1]
        slopes = [(n + 1) * before[n + 1] for n in range(len(before) - 1)]
        series.append([slopes[n] + (-1) ** k * ratio[k] * inverse[n] for n in range(1, len(slopes))])
    counted = []
    for k, row in enumerate(series):
        last = max((n for n, x in enumerate(row[:31]) if big(x, n, k, a, eta)), default=-1)
        counted.append([float(x) for x in row[: last + 1]])
    return [row for row in counted if row]


def big(x: Any, n: int, k: int, a: int, eta: str) -> bool:
    return bool(abs(x) * mpf(eta) ** n / mpf(a) ** k > mpf(10) ** -16)


# -- output ---------------------------------------------------------------------------------------------------------


def wrapped(numbers: list[float], indent: str) -> str:
    lines, line = [], indent
    for x in numbers:
        text = f"{x!r}, "
        if len(line) + len(text) > 118:
            lines.append(line.rstrip())
            line = indent
        line += text
    return "\n".join([*lines, line.rstrip()])


def main() -> None:
    out = [HEAD]
    for fit in FITS:
        numerator, denominator = solve(fit)
        out.append(f"{fit.name} = Rational({fit.center!r}, (\n{wrapped(numerator, '    ')}\n), (")
        out.append(f"{wrapped(denominator, '    ')}\n))")
    out.append("\nTEMME = (")
    for row in temme():
        out.append(f"    (\n{wrapped(row, '        ')}\n    ),")
    out.append(")\n# fmt: on")
    print("\n".join(out))


if __name__ == "__main__":
    main()
