"""Measures the errors and the speed of the native backend's functions, and writes docs/native-mathematics.md.

    python tools/ulp.py [--points N] [--exact N] [--only NAME ...] [--no-speed] [--stdout]

It needs llvmlite, mpmath and SciPy; JAX's columns are filled where it is installed. Functions that NumPy computes in
extended precision, on machines that have it, are measured at ``--points`` arguments of each range; and all of them,
the others only so, at ``--exact`` arguments against mpmath. Single precision is compared with double where NumPy has
the function. An error is in units in the last place of the exact value: that of a correctly rounded result is at most
1/2.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import scipy.special  # noqa: E402

import functrans as ft  # noqa: E402
from functrans import lax  # noqa: E402
from functrans.backends.llvm.runtime import machine  # noqa: E402
from functrans.config import override  # noqa: E402
from functrans.scipy import special  # noqa: E402

mp: Any = importlib.import_module("mpmath")
TINY, LIFT = 2.0**-900, 200
EXTENDED = np.finfo(np.longdouble).nmant >= 63
Exact = tuple[np.ndarray, np.ndarray]


def _jax() -> Any:
    try:
        jax = importlib.import_module("jax")
    except ImportError:
        return None
    jax.config.update("jax_enable_x64", True)
    return jax


JAX: Any = _jax()


class Function(NamedTuple):
    """A row of the tables.

    Attributes:
        name: as it is listed.
        ours: what is compiled.
        peer: NumPy's or SciPy's.
        jax: where JAX has it, below ``jax``.
        exact: mpmath's.
        ranges: intervals that arguments are drawn from evenly, for each operand.
        magnitudes: whether arguments of every magnitude make sense.
        extended: NumPy's function for extended precision, if that is one.
        elementary: whether an error of at most one unit is promised.
    """

    name: str
    ours: Callable[..., Any]
    peer: Callable[..., Any]
    jax: str
    exact: Callable[..., Any]
    ranges: Sequence[tuple[float, float] | tuple[tuple[float, float], ...]]
    magnitudes: bool = True
    extended: Any = None
    elementary: bool = True


def _np(name: str, exact: Any, *ranges: Any, elementary: bool = True) -> Function:
    f = getattr(np, name)
    return Function(name, f, f, f"numpy.{name}", exact, ranges, elementary, f, elementary)


def _special(name: str, ours: Any, peer: str, jax: str, exact: Any, *ranges: Any, magnitudes: bool = False) -> Function:
    found = getattr(scipy.special, peer)
    return Function(name, ours, found, jax, exact, ranges, magnitudes, None, False)


def _lgamma(x: Any) -> Any:
    return mp.loggamma(x).real if x > 0 else mp.log(abs(mp.gamma(x)))


def _sinc(x: Any) -> Any:
    return mp.sinpi(x) / (mp.pi * x) if x else mp.mpf(1)


def _logaddexp(x: Any, y: Any) -> Any:
    return max(x, y) + mp.log1p(mp.exp(-abs(x - y)))


FUNCTIONS = [
    _np("exp", mp.exp, (-745, 710), (-1, 1), (-104, 89)),
    _np("exp2", lambda x: mp.mpf(2) ** x, (-1075, 1024), (-1, 1), (-150, 128)),
    _np("expm1", mp.expm1, (-40, 710), (-1, 1), (-17, 89)),
    _np("log", mp.log, (0.5, 2), (0, 100)),
    _np("log2", lambda x: mp.log(x, 2), (0.5, 2), (0, 100)),
    _np("log10", mp.log10, (0.5, 2), (0, 100)),
    _np("log1p", mp.log1p, (-1, 1), (0, 100)),
    _np("sin", mp.sin, (-1, 1), (-100, 100), (-1e7, 1e7)),
    _np("cos", mp.cos, (-1, 1), (-100, 100), (-1e7, 1e7)),
    _np("tan", mp.tan, (-1, 1), (-100, 100), (-1e7, 1e7)),
    _np("arcsin", mp.asin, (-1, 1)),
    _np("arccos", mp.acos, (-1, 1)),
    _np("arctan", mp.atan, (-1, 1), (-10, 10)),
    _np("arctan2", mp.atan2, ((-1, 1), (-1, 1)), ((-1e-3, 1e-3), (-1, 1))),
    _np("sinh", mp.sinh, (-1.5, 1.5), (-711, 711), (-90, 90)),
    _np("cosh", mp.cosh, (-1.5, 1.5), (-711, 711), (-90, 90)),
    _np("tanh", mp.tanh, (-1, 1), (-20, 20)),
    _np("arcsinh", mp.asinh, (-1, 1), (-50, 50)),
    _np("arccosh", mp.acosh, (1, 2), (1, 100)),
    _np("arctanh", mp.atanh, (-1, 1), (-0.3, 0.3)),
    _np("power", lambda x, y: x**y, ((0, 2), (-100, 100)), ((0.9, 1.1), (-5000, 5000)), ((0, 100), (-10, 10))),
    _np("cbrt", lambda x: mp.sign(x) * mp.cbrt(abs(x)), (-10, 10)),
    _np("hypot", lambda x, y: mp.sqrt(x * x + y * y), ((-1, 1), (-1, 1))),
    _np("logaddexp", _logaddexp, ((0, 100), (0, 100)), ((0, 30), (-30, 0)), elementary=False),
    Function("sinc", lax.sinc, np.sinc, "numpy.sinc", _sinc, [(-1, 1), (-30, 30)], elementary=False),
    Function(
        "rsqrt", lax.rsqrt, lambda x: 1 / np.sqrt(x), "lax.rsqrt", lambda x: 1 / mp.sqrt(x), [(0, 4)], elementary=False
    ),
    _special("logistic", lax.logistic, "expit", "nn.sigmoid", lambda x: 1 / (1 + mp.exp(-x)), (-40, 40), (-2, 2)),
    _special("erf", special.erf, "erf", "scipy.special.erf", mp.erf, (-1, 1), (-6, 6), magnitudes=True),
    _special("erfc", special.erfc, "erfc", "scipy.special.erfc", mp.erfc, (-1, 1), (-6, 26), magnitudes=True),
    _special("erfinv", special.erfinv, "erfinv", "scipy.special.erfinv", mp.erfinv, (-1, 1)),
    _special("erfcx", special.erfcx, "erfcx", "", lambda x: mp.exp(x * x) * mp.erfc(x), (-5, 5), (5, 500)),
    _special("ndtr", special.ndtr, "ndtr", "scipy.special.ndtr", mp.ncdf, (-3, 3), (-37, 8)),
    _special(
        "ndtri", special.ndtri, "ndtri", "scipy.special.ndtri", lambda p: mp.sqrt(2) * mp.erfinv(2 * p - 1), (0, 1)
    ),
    _special("gammaln", special.gammaln, "gammaln", "scipy.special.gammaln", _lgamma, (0, 4), (4, 1000)),
    _special("gamma", special.gamma, "gamma", "scipy.special.gamma", mp.gamma, (0, 4), (4, 33), (-20, 0)),
    _special("digamma", special.digamma, "psi", "scipy.special.digamma", mp.digamma, (0, 4), (4, 1000)),
    _special("i0e", special.i0e, "i0e", "scipy.special.i0e", lambda x: mp.besseli(0, x) * mp.exp(-abs(x)), (-30, 30)),
    _special("i1e", special.i1e, "i1e", "scipy.special.i1e", lambda x: mp.besseli(1, x) * mp.exp(-abs(x)), (-30, 30)),
    # JAX takes minutes for 100,000 elements of exp1.
    _special("exp1", special.exp1, "exp1", "", mp.e1, (0, 2), (2, 80)),
    _special("dawsn", special.dawsn, "dawsn", "", lambda x: mp.exp(-x * x) * mp.erfi(x) * mp.sqrt(mp.pi) / 2, (-8, 8)),
]


# -- arguments and exact values ---------------------------------------------------------------------------------------


def arguments(f: Function, dtype: Any, count: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Evenly drawn ones of each range, ones of every magnitude, and the numbers where something may change."""
    info = np.finfo(dtype)
    arity = 2 if isinstance(f.ranges[0][0], tuple) else 1
    ends = [0.0, 1.0, 0.5, 2.0, np.inf, float(info.max), float(info.tiny), float(info.smallest_subnormal), 2.0**20]
    ends += [float(np.nextafter(dtype(e), dtype(k))) for e in (0.5, 1.0, 2.0, 2.0**20) for k in (0, 9e9)]
    signed = np.array([*ends, *(-e for e in ends), np.nan])
    parts: list[list[np.ndarray]] = []
    for given in f.ranges:
        pairs: Any = given if arity == 2 else (given,)
        parts.append([rng.uniform(low, high, count) for low, high in pairs])
    if f.magnitudes:
        low, high = np.log2(float(info.smallest_subnormal)), np.log2(float(info.max)) - 1e-3
        parts.append([np.exp2(rng.uniform(low, high, count)) * rng.choice([-1, 1], count) for _ in range(arity)])
        near = [1 + np.exp2(rng.uniform(-info.nmant - 1, 0, count)) * rng.choice([-1, 1], count) for _ in range(arity)]
        parts.append(near)
        parts.append([x.ravel() for x in np.meshgrid(*[signed] * arity)])
    with np.errstate(over="ignore"):
        return [np.concatenate([p[k] for p in parts]).astype(dtype) for k in range(arity)]


def split(values: np.ndarray) -> Exact:
    """Numbers of extended precision as sums of two doubles; the second of tiny ones is ``2**LIFT`` times as large."""
    with np.errstate(all="ignore"):
        high = values.astype(np.float64)
        low = np.where(np.isfinite(high), values - high, 0)
        return high, np.where(abs(high) < TINY, np.ldexp(low, LIFT), low).astype(np.float64)


def by_mpmath(f: Function, xs: Sequence[np.ndarray]) -> Exact:
    high, low = np.full(xs[0].shape, np.nan), np.zeros(xs[0].shape)
    with mp.workprec(160):
        for i, point in enumerate(zip(*xs, strict=True)):
            if not np.all(np.isfinite(point)) or (len(point) > 1 and 0 in point):
                high[i] = np.inf  # mpmath has no signs of zeros; the tests check these
                continue
            try:
                value = f.exact(*[mp.mpf(float(p)) for p in point])
            except (ValueError, ZeroDivisionError, OverflowError):
                high[i] = np.inf
                continue
            if not isinstance(value, mp.mpf) or not mp.isfinite(value) or abs(value) >= mp.mpf(2) ** 1024:
                high[i] = np.inf
                continue
            high[i] = float(value)
            low[i] = float(mp.ldexp(value - mp.mpf(high[i]), LIFT if abs(high[i]) < TINY else 0))
    return high, low


def errors(found: np.ndarray, exact: Exact, xs: Sequence[np.ndarray] = ()) -> np.ndarray:
    """The errors in units in the last place, of the points whose exact values are finite numbers of the type.

    Those where the result or one of ``xs`` is subnormal are left out, if there are any ``xs``.
    """
    info = np.finfo(found.dtype)
    high, low = exact
    with np.errstate(all="ignore"):
        rounded = high.astype(found.dtype)
        known = np.isfinite(rounded) & np.isfinite(high)
        for x in (rounded, *xs) if xs else ():
            known &= (abs(x) >= info.tiny) | (x == 0)
        high, low, found = high[known], low[known], found[known].astype(np.float64)
        mantissa, exponent = np.frexp(high)
        exponent = exponent - ((abs(mantissa) == 0.5) & (low * np.sign(high) < 0))
        least = info.minexp - info.nmant
        unit = np.ldexp(1.0, np.maximum(exponent - info.nmant - 1, least))
        low = np.where(abs(high) < TINY, low / np.ldexp(unit, LIFT), low / unit)
        error = abs((found - high) / unit - low)
    return np.where(np.isnan(error), np.inf, error)


# -- what is measured -------------------------------------------------------------------------------------------------


def native(f: Callable[..., Any]) -> Callable[..., Any]:
    compiled: Callable[..., Any] = ft.jit(lambda *xs: f(*xs), backend="llvm")
    return compiled


def in_jax(f: Function) -> Callable[..., Any] | None:
    if JAX is None or not f.jax:
        return None
    importlib.import_module("jax.scipy.special")
    found: Any = JAX
    for part in f.jax.split("."):
        found = getattr(found, part)
    compiled: Callable[..., Any] = JAX.jit(found)
    return compiled


class Measured(NamedTuple):
    ours: tuple[float, float]
    unfused: tuple[float, float]
    peer: tuple[float, float]
    jax: tuple[float, float] | None


def measure(f: Function, dtype: Any, points: int, exact_points: int) -> Measured:
    rng = np.random.default_rng(0)
    sets: list[tuple[list[np.ndarray], Exact]] = []
    single = dtype is np.float32
    if f.extended is not None and (single or EXTENDED):
        xs = arguments(f, dtype, points, rng)
        with np.errstate(all="ignore"):
            wide = f.extended(*[x.astype(np.float64 if single else np.longdouble) for x in xs])
        sets.append((xs, split(wide) if not single else (wide, np.zeros(wide.shape))))
    xs = arguments(f, dtype, exact_points, rng)
    chosen = rng.permutation(len(xs[0]))[:exact_points]
    xs = [x[chosen] for x in xs]
    sets.append((xs, by_mpmath(f, xs)))

    def over(call: Callable[..., Any], normal: bool = False) -> tuple[float, float]:
        ft.clear_caches()
        with np.errstate(all="ignore"):
            all_of_them = np.concatenate(
                [errors(np.asarray(call(*xs)), exact, xs if normal else ()) for xs, exact in sets]
            )
        return float(np.max(all_of_them)), float(np.mean(all_of_them))

    host = machine()
    has_fma = host.fma
    ours = over(native(f.ours))
    host.fma = False
    try:
        unfused = over(native(f.ours))
    finally:
        host.fma = has_fma
    theirs = in_jax(f)
    return Measured(ours, unfused, over(f.peer), None if theirs is None else over(theirs, True))


def timings(f: Function, dtype: Any, size: int = 100_000, rounds: int = 15) -> tuple[float, float, float | None]:
    """Nanoseconds an element, and the ratios of NumPy's and of JAX's time: medians of turns taken one after another."""
    rng = np.random.default_rng(0)
    pairs: Any = f.ranges[-1] if isinstance(f.ranges[0][0], tuple) else (f.ranges[0],)
    xs = [rng.uniform(low, high, size).astype(dtype) for low, high in pairs]
    calls = [native(f.ours), f.peer]
    compiled = in_jax(f)
    if compiled is not None:
        theirs, given = compiled, [JAX.numpy.asarray(x) for x in xs]
        calls.append(lambda *_: theirs(*given).block_until_ready())
    spent: list[list[float]] = [[] for _ in calls]
    with np.errstate(all="ignore"), override("threads", 1):
        for call in calls:
            call(*xs)
        for _ in range(rounds):
            for call, times in zip(calls, spent, strict=True):
                started = time.perf_counter()
                call(*xs)
                times.append(time.perf_counter() - started)
    ours, peer, *rest = (float(np.median(times)) for times in spent)
    return ours / size * 1e9, peer / ours, rest[0] / ours if rest else None


# -- the page ---------------------------------------------------------------------------------------------------------

HEAD = """# Mathematics of the native backend

The backend `llvm` computes elementary and special functions by instructions of its own, in vectors, inside of the
kernels that they stand in; it calls no library for them. `tools/ulp.py` measured what follows, and writes this page.

**Errors** are in units in the last place (ULP) of the exact value: a correctly rounded result is off by at most 0.5.
For each function the greatest error that was found, and the mean one; the greatest without fused products and sums
(FMA), as on machines that have none; and the greatest of NumPy or SciPy and of JAX at the same arguments, of JAX
without the subnormal numbers, which it takes for zeros. Arguments are drawn evenly from ranges where the function
varies, from all magnitudes and from the neighbourhood of 1, with the ends and thresholds; the exact values are those of
extended precision{points} and of mpmath (160 bits, at {exact} points). An error of `inf` is an
infinity or a NaN where there is a number.

The functions above the gap are *elementary*: at most 1 ULP, also without FMA, is what the backend promises of them and
what its tests hold it to. Zeros keep their sign, infinities and NaN give what NumPy gives, subnormal arguments and
results are right, and sines, cosines and tangents hold for arguments of any size. `logaddexp` is measured where it does
not cancel. `rsqrt` and `logistic` are compositions. The functions from `erfinv` on, and more of
`functrans.scipy.special` like them, are the decompositions that serve every backend, evaluated in double precision for
float32 too; of some of them SciPy's doubles are a unit or two nearer, as the table shows. `ndtr` has far in its lower
tail the error of its rounded argument.
"""


def number(value: float | None, digits: int = 2) -> str:
    if value is None:
        return ""
    if not np.isfinite(value):
        return "inf"
    return f"{value:.{digits}f}" if value < 100 else f"{value:.0e}"


def table_of_errors(title: str, rows: Sequence[tuple[Function, Measured]]) -> list[str]:
    lines = [f"## Errors in {title}", "", "| function | greatest | mean | without FMA | NumPy, SciPy | JAX |"]
    lines.append("|---|---|---|---|---|---|")
    elementary = True
    for f, m in rows:
        if elementary and not f.elementary:
            lines.append("| | | | | | |")
            elementary = False
        theirs = None if m.jax is None else m.jax[0]
        cells = (number(m.ours[0]), number(m.ours[1], 3), number(m.unfused[0]), number(m.peer[0]), number(theirs))
        lines.append(f"| {f.name} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def geometric_mean(values: Sequence[float]) -> float:
    return float(np.prod(np.array(values)) ** (1 / len(values)))


def table_of_speed(rows: Sequence[tuple[Function, Any, Any]]) -> list[str]:
    lines = [
        "## Speed",
        "",
        "A function alone on 100,000 elements and one thread: nanoseconds an element, and how many times as long NumPy",
        "or SciPy and JAX took, as medians of turns taken by all of them, on a shared machine of the type",
        f"`{machine().cpu}` with vectors of {machine().bits} bits.",
        "",
        "| function | float64 ns | NumPy, SciPy | JAX | float32 ns | NumPy, SciPy | JAX |",
        "|---|---|---|---|---|---|---|",
    ]
    for f, long, short in rows:
        cells = [number(long[0]), number(long[1], 1), number(long[2], 1)]
        cells += [number(short[0]), number(short[1], 1), number(short[2], 1)]
        lines.append(f"| {f.name} | " + " | ".join(cells) + " |")
    for k, what in ((1, "NumPy and SciPy"), (2, "JAX")):
        ratios: list[Any] = [m[k] for _, *both in rows for m in both if m[k] is not None]
        if ratios:
            lines += ["", f"Geometric mean of the ratios to {what}: {geometric_mean(ratios):.2f}."]
    return [*lines, ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=200_000, help="of each range, where the reference is fast")
    parser.add_argument("--exact", type=int, default=4000, help="points that mpmath computes")
    parser.add_argument("--only", nargs="*", help="names of functions")
    parser.add_argument("--no-speed", action="store_true", help="leave out the second part")
    parser.add_argument("--stdout", action="store_true", help="print the page, and do not write it")
    chosen = parser.parse_args()
    functions = [f for f in FUNCTIONS if not chosen.only or f.name in chosen.only]
    long, short, speed = [], [], []
    for f in functions:
        long.append((f, measure(f, np.float64, chosen.points, chosen.exact)))
        short.append((f, measure(f, np.float32, chosen.points, chosen.exact)))
        print(f.name, *[number(v[0]) for m in (long[-1][1], short[-1][1]) for v in m if v], file=sys.stderr, flush=True)
    if not chosen.no_speed:
        speed = [(f, timings(f, np.float64), timings(f, np.float32)) for f in functions]
    points = f" (at {chosen.points:,} points of each range)" if EXTENDED else ""
    lines = [HEAD.format(points=points, exact=f"{chosen.exact:,}")]
    lines += table_of_errors("double precision", long) + table_of_errors("single precision", short)
    lines += table_of_speed(speed) if speed else []
    text = "\n".join(lines).rstrip() + "\n"
    if chosen.stdout or chosen.only:
        print(text)
    else:
        (ROOT / "docs" / "native-mathematics.md").write_text(text)


if __name__ == "__main__":
    main()
