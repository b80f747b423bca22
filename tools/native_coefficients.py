"""Computes the polynomials of the native backend's elementary functions, and prints the module that holds them.

    python tools/native_coefficients.py > functrans/backends/llvm/mathematics/coefficients.py

It needs mpmath. A polynomial agrees with the function at the Chebyshev nodes of an interval, which is near to the best
one; its coefficients are solved for in 60 digits. A row of ``FITS`` is a name, the function, the interval, how much an
error in it counts for the error of the result, and the errors of the result that the polynomials for double and for
single precision are to stay below: of several degrees, the least that does is taken.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

mp: Any = importlib.import_module("mpmath")
mp.mp.dps = 60
mpf = mp.mpf

HEAD = '''"""Polynomials of the elementary functions, with coefficients of rising powers.

``tools/native_coefficients.py`` computes them: each agrees with the function at the Chebyshev nodes of an interval,
solved for in 60 digits. Those under ``double`` serve results in double precision, those under ``float`` results in
single precision, in whichever precision they are evaluated. Constants come in parts that add up to them. Nothing here
is written by hand.
"""

# fmt: off
from __future__ import annotations

Table = dict[str, tuple[float, ...]]
'''


class Fit(NamedTuple):
    name: str
    f: Callable[[Any], Any]
    low: Any
    high: Any
    weight: Callable[[Any], Any]
    long: float
    short: float


def solve(f: Callable[[Any], Any], low: Any, high: Any, degree: int) -> list[Any]:
    """The coefficients of the polynomial through the Chebyshev nodes, by divided differences."""
    n = degree + 1
    middle, half = (low + high) / 2, (high - low) / 2
    nodes = [middle + half * mp.cos(mp.pi * (2 * i + 1) / (2 * n)) for i in range(n)]
    table = [f(x) for x in nodes]
    for k in range(1, n):
        for i in range(n - 1, k - 1, -1):
            table[i] = (table[i] - table[i - 1]) / (nodes[i] - nodes[i - k])
    found = [mpf(0)] * n
    for k in range(n - 1, -1, -1):
        # found = found * (x - nodes[k]) + table[k]
        found = [a - nodes[k] * c for a, c in zip([mpf(0), *found[:-1]], found, strict=True)]
        found[0] += table[k]
    return found


def least(fit: Fit, bound: float) -> tuple[list[Any], Any]:
    """The polynomial of least degree with an error below a bound, and that error."""
    low, high = mpf(fit.low), mpf(fit.high)
    grid = [low + (high - low) * k / 150 for k in range(151)]
    exact = [fit.f(x) for x in grid]
    for degree in range(1, 40):
        found = solve(fit.f, low, high, degree)
        worst = max(abs(fit.weight(x) * (mp.polyval(found[::-1], x) - y)) for x, y in zip(grid, exact, strict=True))
        if worst < bound:
            return found, worst
    raise ValueError(fit.name)


# -- functions ------------------------------------------------------------------------------------------------------


def divided(f: Callable[[Any], Any], terms: int, by: int) -> Callable[[Any], Any]:
    """``(f(x) - its first Taylor terms) / x**by``; near 0, where that would cancel, by the Taylor series."""
    series = mp.taylor(f, 0, terms + 14)

    def value(x: Any) -> Any:
        if abs(x) < mpf("1e-4"):
            return sum(series[k] * x ** (k - by) for k in range(by, terms + 14))
        return (f(x) - sum(series[k] * x**k for k in range(terms))) / x**by

    return value


def even(f: Callable[[Any], Any], terms: int, first: int) -> Callable[[Any], Any]:
    """What remains of a function after its first terms, divided by its next power, in the square of its argument.

    Args:
        terms: how many terms are left out.
        first: the power of the first term: 1 for odd functions, 0 for even ones.
    """
    inner = divided(f, 2 * terms + first, 2 * terms + first)
    return lambda z: inner(mp.sqrt(z))


def tail_of_erf(t: Any) -> Any:
    x = 4 * (1 + t) / (1 - t)
    return (1 + 2 * x) * mp.exp(x * x) * mp.erfc(x)


LOG2 = mp.log(2)
S = (mp.sqrt(2) - 1) ** 4 * (1 + mpf(2) ** -20)
QUARTER = (mp.pi / 4) ** 2 * (1 + mpf(2) ** -20)
ATAN = (mp.sqrt(2) - 1) ** 2 * (1 + mpf(2) ** -20)
TINY, SHORT = 2.0**-59, 2.0**-31

FITS = [
    # exp(r) = 1 + r + r**2 P(r)
    Fit("EXP", divided(mp.exp, 2, 2), -LOG2 / 2 * 1.001, LOG2 / 2 * 1.001, lambda r: r * r, 2.0**-58, SHORT),
    # log((1 + s) / (1 - s)) = 2 s + s z P(z) with z = s**2
    Fit("LOG", even(lambda s: 2 * mp.atanh(s), 1, 1), 0, S, lambda z: z / 2, 2.0**-58, 2.0**-29.5),
    # the same without the next term: 2 s + 2/3 s z + s z**2 P(z)
    Fit("LOG_TAIL", even(lambda s: 2 * mp.atanh(s), 2, 1), 0, S, lambda z: z * z / 2, 2.0**-70, 2.0**-45),
    # sin(x) = x + x z P(z), cos(x) = 1 - z/2 + z**2 P(z) with z = x**2
    Fit("SIN", even(mp.sin, 1, 1), 0, QUARTER, lambda z: z, 2.0**-57.5, SHORT),
    Fit("COS", even(mp.cos, 2, 0), 0, QUARTER, lambda z: z * z, TINY, SHORT),
    # asin(x) = x + x z P(z)
    Fit("ASIN", even(mp.asin, 1, 1), 0, mpf("0.2501"), lambda z: z, TINY, SHORT),
    # atan(x) = x + x z P(z)
    Fit("ATAN", even(mp.atan, 1, 1), 0, ATAN, lambda z: z, TINY, SHORT),
    # sinh(x) = x + x z P(z)
    Fit("SINH", even(mp.sinh, 1, 1), 0, 1, lambda z: z, TINY, SHORT),
    # erf(x) = x + x P(x**2)
    Fit("ERF", even(lambda x: mp.erf(x) - x, 0, 1), 0, 1, lambda z: 1, TINY, SHORT),
    # erf(x) = x P(x**2) as far as it is not 1 in single precision
    Fit("ERF_WHOLE", even(mp.erf, 0, 1), 0, 16, lambda z: mp.sqrt(z) + mpf("0.5"), 2.0**-28, 2.0**-28),
    # erfc(x) = exp(-x**2) P(t) / (1 + 2 x) with t = (x - 4) / (x + 4), for x >= 1/2 (M. M. Shepherd and
    # J. G. Laframboise, "Chebyshev approximation of (1 + 2 x) exp(x**2) erfc x", 1981)
    Fit("ERFC", tail_of_erf, -mpf(7) / 9, mpf("23.4") / mpf("31.4"), lambda t: 1, 2.0**-57, 2.0**-28),
    # cbrt(1 / m), the start of an iteration of order 4 (double) or 3 (single)
    Fit("CBRT", lambda m: m ** (-mpf(1) / 3), mp.sqrt(2) / 2, mp.sqrt(2), lambda m: 1 / m, 2.0**-13.4, 2.0**-10.5),
]


# -- constants in parts -----------------------------------------------------------------------------------------------

DIGITS = {"double": 53, "float": 24}


def parts(value: Any, kind: str, *counts: int) -> tuple[float, ...]:
    """A constant as a sum of numbers: the first ones with so many bits, the last with all of its format."""
    found: list[float] = []
    rest = mpf(value)
    for count in (*counts, DIGITS[kind]):
        if rest == 0:
            found.append(0.0)
            continue
        exponent = mp.floor(mp.log(abs(rest), 2)) + 1
        unit = mpf(2) ** (exponent - count)
        found.append(float(mp.nint(rest / unit) * unit))
        rest -= found[-1]
    return tuple(found)


# name, value, and how many bits the parts before the last have, for double and for single precision
CONSTANTS: list[tuple[str, Any, tuple[int, ...], tuple[int, ...]]] = [
    ("LN2", LOG2, (32,), (15,)),
    ("LN2_FULL", LOG2, (53,), (24,)),
    ("LOG2_E", 1 / LOG2, (53,), (24,)),
    ("LOG10_E", 1 / mp.log(10), (53,), (24,)),
    ("LOG10_2", LOG2 / mp.log(10), (32,), (15,)),
    ("PI", mp.pi, (53,), (24,)),
    ("HALF_PI", mp.pi / 2, (53,), (24,)),
    ("QUARTER_PI", mp.pi / 4, (50,), (21,)),
    ("TWO_THIRDS", mpf(2) / 3, (53,), (24,)),
    ("HALF_PI_IN_3", mp.pi / 2, (53, 53), (24, 24)),
    ("HALF_PI_IN_4", mp.pi / 2, (33, 33, 33), (10, 10, 10)),
    ("HALF_PI_IN_2", mp.pi / 2, (33,), (10,)),
]


def main() -> None:
    print(HEAD)
    for name, value, long, short in CONSTANTS:
        print(f"{name}: Table = {{")
        print(f'    "double": {parts(value, "double", *long)},')
        print(f'    "float": {parts(value, "float", *short)},')
        print("}")
    for fit in FITS:
        print(f"{fit.name}: Table = {{")
        for kind, bound in (("double", fit.long), ("float", fit.short)):
            found, worst = least(fit, bound)
            values = ", ".join(repr(float(c)) for c in found)
            lines, line = [], "       "
            for value in values.split(", "):
                if len(line) + len(value) + 2 > 118:
                    lines.append(line)
                    line = "       "
                line += f" {value},"
            lines.append(line)
            print(f'    "{kind}": (  # within 2**{float(mp.log(worst, 2)):.1f}')
            print("\n".join(lines))
            print("    ),")
        print("}")


if __name__ == "__main__":
    main()
