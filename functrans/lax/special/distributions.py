"""Distribution functions of SciPy's special module, their complements and their inverses, element by element.

They are incomplete gamma and beta functions of other operands: their derivatives are those of the compositions, and an
inverse has the derivatives that the implicit function theorem gives it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from functrans.core.primitive import Primitive
from functrans.lax.arithmetic import mul, strong
from functrans.lax.compare import eq, isnan
from functrans.lax.exponential import exp, log, log1p
from functrans.lax.magnitude import abs as magnitude
from functrans.lax.rounding import floor
from functrans.lax.selection import select
from functrans.lax.special.define import partial_derivative, special
from functrans.lax.special.incomplete_beta import betainc, betaincc, betaln
from functrans.lax.special.incomplete_gamma import igamma, igammac
from functrans.lax.special.series import pick

_SHAPES = np.array([1.5, 3.0, 8.0])
_POINTS = np.array([0.5, 2.25, 9.0])
_PROBABILITIES = np.array([0.25, 0.5, 0.9375])
_COUNTS = np.array([1.0, 2.0, 4.0])
_TRIALS = np.array([3.0, 5.0, 6.0])

Function = Callable[..., Any]


def _composed(
    name: str, function: Function, *sample: Any, diff: tuple[int, ...] | None = None, counts: int = 0
) -> Primitive:
    """A distribution function; the first ``counts`` operands are whole numbers, which SciPy wants as integers."""

    def value(library: Any, *args: Any) -> Any:
        whole = [n.astype(np.int64) for n in args[:counts]]
        exact = all(bool((w == n).all()) for w, n in zip(whole, args, strict=False))
        given = [*whole, *args[counts:]] if exact else args
        return getattr(library, name)(*given).astype(args[-1].dtype)

    return special(
        name,
        arity=len(sample),
        scipy=name,
        value=value if counts else None,
        decompose=function,
        samples=[sample],
        diff=diff,
        order=1,
    )


def _inverse(name: str, forward: Function, *sample: Any, scipy: str | None = None) -> Primitive:
    return special(name, arity=len(sample), inverse_of=forward, samples=[sample], order=1, scipy=scipy)


# -- gamma, chi-square, Poisson ---------------------------------------------------------------------------------------


def _of_gamma(function: Function, below: float) -> Function:
    def of(a: Any, b: Any, x: Any) -> Any:
        return select(x < 0.0, np.nan, function(b, select(x < 0.0, 0.0, a * x)))

    return of


def _of_chi_square(function: Function, below: float) -> Function:
    def of(v: Any, x: Any) -> Any:
        negative = x < 0.0
        return select(negative, below, function(0.5 * v, select(negative, 0.5, 0.5 * x)))

    return of


def _of_poisson(function: Function) -> Function:
    def of(k: Any, m: Any) -> Any:
        return function(floor(k) + 1.0, m)

    return of


_composed("gdtr", _of_gamma(igamma, 0.0), _PROBABILITIES, _SHAPES, _POINTS)
_composed("gdtrc", _of_gamma(igammac, 1.0), _PROBABILITIES, _SHAPES, _POINTS)
_composed("chdtr", _of_chi_square(igamma, np.nan), _SHAPES, _POINTS)
_composed("chdtrc", _of_chi_square(igammac, 1.0), _SHAPES, _POINTS)
_composed("pdtr", _of_poisson(igammac), _COUNTS, _POINTS, diff=(1,))
_composed("pdtrc", _of_poisson(igamma), _COUNTS, _POINTS, diff=(1,))

gammaincinv_p: Primitive = _inverse("gammaincinv", igamma, _SHAPES, _PROBABILITIES)
gammainccinv_p: Primitive = _inverse("gammainccinv", igammac, _SHAPES, _PROBABILITIES)
_inverse("gdtrix", lambda a, b, x: igamma(b, a * x), _PROBABILITIES, _SHAPES, np.array([0.25, 0.5, 0.75]))
_inverse("chdtri", lambda v, x: igammac(0.5 * v, 0.5 * x), _SHAPES, _PROBABILITIES)

# -- beta, F, Student, binomial ---------------------------------------------------------------------------------------


def _f(function: Function) -> Function:
    def of(dfn: Any, dfd: Any, x: Any) -> Any:
        positive = x > 0.0
        y = dfn * select(positive, x, 1.0)
        # The share of the numerator, or of the denominator where that is the smaller one: 1 less it is not rounded.
        low = y < dfd
        share = select(low, y, dfd) / (dfd + y)
        swapped = betaincc if function is betainc else betainc
        out = select(
            low,
            function(0.5 * dfn, 0.5 * dfd, select(low, share, 0.25)),
            swapped(0.5 * dfd, 0.5 * dfn, select(low, 0.25, share)),
        )
        at_zero = 0.0 if function is betainc else 1.0
        return select(positive, out, pick(x, eq(x, 0.0), at_zero, np.nan))

    return of


def student_tail(df: Any, t: Any) -> Any:
    """The probability of less than ``t`` under Student's distribution."""
    y = magnitude(t)
    square = y * y
    low = square < df
    # Half of the mass outside of -y ... y, from whichever of the two shares is small.
    outer = betainc(0.5 * df, 0.5, select(low, 0.5, df / (df + select(low, df, square))))
    inner = betaincc(0.5, 0.5 * df, select(low, square / (df + square), 0.5))
    half = 0.5 * select(low, inner, outer)
    return select(t > 0.0, 1.0 - half, half)


def _student(df: Any, t: Any) -> Any:
    infinite = eq(magnitude(t), np.inf)
    out = student_tail(df, select(infinite, 1.0, t))
    return select(infinite, pick(t, t > 0.0, 1.0, 0.0), select(isnan(t), t, out))


def _student_slope(df: Any, t: Any) -> Any:
    half = 0.5 * df
    from_beta = -(half + 0.5) * log1p(t * t / df) - 0.5 * log(df)
    return exp(from_beta - betaln(half, 0.5 + 0.0 * half))


def _binomial(function: Function, all_of_it: float) -> Function:
    def of(k: Any, n: Any, p: Any) -> Any:
        k = floor(k)
        whole = eq(k, n)
        trials = select(whole, 1.0, n - k)
        return select(whole, all_of_it, function(trials, k + 1.0, p))

    return of


fdtr_p: Primitive = _composed("fdtr", _f(betainc), _SHAPES, _TRIALS, _POINTS)
fdtrc_p: Primitive = _composed("fdtrc", _f(betaincc), _SHAPES, _TRIALS, _POINTS)
_inverse("fdtri", _f(betainc), _SHAPES, _TRIALS, _PROBABILITIES)

stdtr_p: Primitive = special(
    "stdtr",
    lambda t, out, df, x: mul(t, student_in_df(strong(df, out), strong(x, out))),
    lambda t, out, df, x: mul(t, _student_slope(strong(df, out), strong(x, out))),
    arity=2,
    decompose=_student,
    samples=[(_SHAPES, np.array([0.5, -2.25, 3.0]))],
    order=1,
)


def student_in_df(df: Any, t: Any) -> Any:
    """The derivative of ``student_tail`` in the degrees of freedom; 0 at ``t = 0``, where it is 1/2 for all."""
    zero = eq(t, 0.0) | eq(magnitude(t), np.inf)
    slope = partial_derivative(student_tail, 0)(df, select(zero, 1.0, t))
    return select(zero, 0.0, slope)


stdtrit_p: Primitive = _inverse("stdtrit", lambda df, t: stdtr_p.bind(df, t), _SHAPES, _PROBABILITIES)
betaincinv_p: Primitive = _inverse("betaincinv", betainc, _SHAPES, _TRIALS, _PROBABILITIES)
betainccinv_p: Primitive = _inverse("betainccinv", betaincc, _SHAPES, _TRIALS, _PROBABILITIES)

bdtr_p: Primitive = _composed(
    "bdtr", _binomial(lambda n, k, p: betaincc(k, n, p), 1.0), _COUNTS, _TRIALS, _PROBABILITIES, diff=(2,), counts=2
)
bdtrc_p: Primitive = _composed(
    "bdtrc", _binomial(lambda n, k, p: betainc(k, n, p), 0.0), _COUNTS, _TRIALS, _PROBABILITIES, diff=(2,), counts=2
)
nbdtr_p: Primitive = _composed(
    "nbdtr", lambda k, n, p: betainc(n, floor(k) + 1.0, p), _COUNTS, _TRIALS, _PROBABILITIES, diff=(2,), counts=2
)
nbdtrc_p: Primitive = _composed(
    "nbdtrc", lambda k, n, p: betaincc(n, floor(k) + 1.0, p), _COUNTS, _TRIALS, _PROBABILITIES, diff=(2,), counts=2
)

# -- others -----------------------------------------------------------------------------------------------------------


def _log_ndtr_inverse_slope(t: Any, out: Any, y: Any) -> Any:
    """``exp(y) / density``, the density at the result; the logarithms are taken first, which do not underflow."""
    return mul(t, exp(strong(y, out) + 0.5 * out * out) * math.sqrt(2 * math.pi))


special("ndtri_exp", _log_ndtr_inverse_slope, samples=[(np.array([-0.5, -3.0, -40.0]),)], order=1, safe=-0.5)
