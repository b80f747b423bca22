"""Counts by rejection: the samplers behind ``poisson`` and ``binomial``.

All samples of a call are drawn with one key, which is split in each round; the rounds go on until every sample is
accepted.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from functrans.core import dtypes
from functrans.core.structural import convert
from functrans.core.trace import aval_of
from functrans.lax.arithmetic import add, div, mul, neg, sub
from functrans.lax.compare import eq, ge, gt, isinf, isnan, le, logical_and, logical_not, logical_or, lt
from functrans.lax.control.loop import while_loop
from functrans.lax.creation import full
from functrans.lax.exponential import log, log1p
from functrans.lax.magnitude import abs, clamp
from functrans.lax.magnitude import max as larger
from functrans.lax.power import sqrt
from functrans.lax.random_bits import Words
from functrans.lax.reduction import reduce_any
from functrans.lax.rounding import ceil, floor
from functrans.lax.selection import select
from functrans.lax.taking import take
from functrans.random import words as draw
from functrans.random.keys import parts
from functrans.random.words import DType

Shape = tuple[Any, ...]

_EDGE = 1e-8
"""In place of a distance of 0 from an end of the interval, where the proposal is infinite; it is rejected too."""


def _positive(u: Any) -> Any:
    """Uniform numbers, with the least positive one in place of 0: either ends the sum that it comes to."""
    return larger(u, aval_of(u).dtype.type(dtypes.finfo(aval_of(u).dtype).tiny))


# -- Poisson ------------------------------------------------------------------------------------------------------


def poisson_of(words: Words, lam: Any, shape: Shape, dtype: DType) -> Any:
    """Poisson numbers of rates in single precision."""
    number = np.float32
    few = logical_or(isnan(lam), lt(lam, number(10)))
    rounds = int(np.iinfo(dtype).max)
    small = _by_products(words, select(few, lam, number(0)), shape, dtype, rounds)
    large = _poisson_by_rejection(words, select(few, number(1e5), lam), shape, dtype, rounds)
    return select(eq(lam, number(0)), dtype.type(0), select(few, small, large))


def _by_products(words: Words, lam: Any, shape: Shape, dtype: DType, rounds: int) -> Any:
    """How many uniform numbers have a product above ``exp(-lam)``."""

    def going(state: Any) -> Any:
        step, _, _, logarithm, bound = state
        return logical_and(reduce_any(gt(logarithm, bound)), lt(step, np.int64(rounds)))

    def multiply(state: Any) -> Any:
        step, count, words, logarithm, bound = state
        words, fresh = parts(words)
        count = select(gt(logarithm, bound), add(count, dtype.type(1)), count)
        u = _positive(draw.uniform(fresh, shape, np.dtype(np.float32)))
        return add(step, np.int64(1)), count, words, add(logarithm, log(u)), bound

    start = (np.int64(0), full(shape, dtype.type(0)), words, full(shape, np.float32(0)), neg(lam))
    return sub(while_loop(going, multiply, start)[1], dtype.type(1))


def _poisson_by_rejection(words: Words, lam: Any, shape: Shape, dtype: DType, rounds: int) -> Any:
    number = np.float32
    log_lam = _log(lam)
    b = _fused(sqrt(lam), number(2.53), number(0.931))
    a = _fused(b, number(0.02483), number(-0.059))
    inverse = add(div(number(1.1328), sub(b, 3.4)), 1.1239)
    v_limit = sub(number(0.9277), div(number(3.6224), sub(b, 2.0)))

    def going(state: Any) -> Any:
        step, _, accepted, *_ = state
        return logical_and(reduce_any(logical_not(accepted)), lt(step, np.int64(rounds)))

    def attempt(state: Any) -> Any:
        step, out, accepted, words, constants = state
        lam, log_lam, a, b, inverse, v_limit = constants
        words, first, second = parts(words, 3)
        u = sub(draw.uniform(first, shape, np.dtype(np.float32)), 0.5)
        v = draw.uniform(second, shape, np.dtype(np.float32))
        shifted = larger(sub(number(0.5), abs(u)), _EDGE)
        k = floor(add(_fused(add(div(mul(a, 2.0), shifted), b), u, lam), 0.43))
        height = _log(div(mul(v, inverse), add(div(a, mul(shifted, shifted)), b)))
        density = sub(_fused(k, log_lam, neg(lam)), _log_factorial(larger(k, 0.0)))
        inside = logical_and(ge(shifted, 0.07), le(v, v_limit))
        outside = logical_or(lt(k, 0.0), logical_and(lt(shifted, 0.013), gt(v, shifted)))
        accept = logical_or(inside, logical_and(logical_not(outside), le(height, density)))
        return add(step, np.int64(1)), select(accept, k, out), logical_or(accepted, accept), words, constants

    constants = (lam, log_lam, a, b, inverse, v_limit)
    start = (np.int64(0), full(shape, number(-1)), full(shape, np.False_), words, constants)
    return convert(while_loop(going, attempt, start)[1], dtype)


def _log(x: Any) -> Any:
    """The logarithm of single precision, rounded once: so it is the nearest to that of other array libraries."""
    return convert(log(convert(x, np.float64)), np.float32)


def _fused(x: Any, y: Any, z: Any) -> Any:
    """``x * y + z`` of single precision, rounded once, as compilers compute it."""
    wide = add(mul(convert(x, np.float64), convert(y, np.float64)), convert(z, np.float64))
    return convert(wide, np.float32)


# C. Lanczos: "A precision approximation of the gamma function", 1964; for g = 7 with nine terms after P. Godfrey.
_LANCZOS = (
    676.520368121885098567009190444019, -1259.13921672240287047156078755283, 771.3234287776530788486528258894,
    -176.61502916214059906584551354, 12.507343278686904814458936853, -0.13857109526572011689554707,
    9.984369578019570859563e-6, 1.50563273514931155834e-7,
)  # fmt: skip


def _log_factorial(k: Any) -> Any:
    """``log(k!)`` by Lanczos's series.

    In single precision its rounding decides about a sample now and then, for rates in the thousands one of some
    thousand; ``functrans.lax.lgamma`` is more accurate, and would decide otherwise than other array libraries do.
    """
    number = aval_of(k).dtype.type
    series: Any = number(0.99999999999980993227684700473478)
    for i, c in enumerate(_LANCZOS, 1):
        series = add(div(number(c), add(k, float(i))), series)
    t = add(k, 7.5)
    log_t = add(convert(log1p(convert(div(k, number(7.5)), np.float64)), np.float32), math.log(7.5))
    power = _fused(sub(add(k, 0.5), div(t, log_t)), log_t, number(0.5 * math.log(2 * math.pi)))
    return add(power, _log(series))


# -- binomial -----------------------------------------------------------------------------------------------------


def binomial_of(words: Words, n: Any, p: Any, shape: Shape, dtype: DType) -> Any:
    """Numbers of successes, of trials and probabilities of one float dtype."""
    number = aval_of(p).dtype.type
    less = lt(p, 0.5)
    q = select(less, p, sub(number(1), p))
    no_count = logical_or(isnan(n), lt(n, 0.0))
    no_probability = isnan(q)
    negative = lt(q, 0.0)
    q = select(logical_or(no_probability, negative), number(0.01), q)
    few = logical_or(no_count, le(mul(n, q), 10.0))
    n_inf = isinf(n)
    n = floor(n)
    rounds = float(dtypes.finfo(dtype).max)
    rounds = int(min(rounds, 2.0**62))
    small = _by_gaps(words, select(few, n, number(0)), q, shape, rounds)
    many, likely = select(logical_or(few, n_inf), number(1e4), n), select(few, number(0.5), q)
    large = _binomial_by_rejection(words, many, likely, n_inf, shape, rounds)
    out = convert(select(few, small, large), dtype)
    invalid = logical_or(logical_or(negative, no_probability), no_count)
    out = select(invalid, dtype.type(np.nan), out)
    out = select(logical_and(n_inf, logical_not(invalid)), dtype.type(np.inf), out)
    counted = logical_or(logical_or(less, no_count), logical_or(no_probability, n_inf))
    zero = dtype.type(0)
    return select(counted, out, sub(select(counted, zero, convert(n, dtype)), select(counted, zero, out)))


def _by_gaps(words: Words, n: Any, p: Any, shape: Shape, rounds: int) -> Any:
    """How many geometric gaps between successes fit into ``n`` trials."""
    dtype = aval_of(p).dtype
    number = dtype.type
    log_failure = log1p(neg(p))
    never = eq(log_failure, number(0))
    safe = select(never, number(-1), log_failure)

    def going(state: Any) -> Any:
        step, _, total, _, (n, _, _) = state
        return logical_and(reduce_any(le(total, n)), lt(step, np.int64(rounds)))

    def gap(state: Any) -> Any:
        step, count, total, words, constants = state
        n, never, safe = constants
        fresh, words = parts(words)
        count = select(le(total, n), add(count, number(1)), count)
        trials = ceil(div(log(_positive(draw.uniform(fresh, shape, dtype))), safe))
        trials = select(never, number(np.inf), trials)
        return add(step, np.int64(1)), count, add(total, trials), words, constants

    start = (np.int64(0), full(shape, number(0)), full(shape, number(0)), words, (n, never, safe))
    return sub(while_loop(going, gap, start)[1], number(1))


def _binomial_by_rejection(words: Words, n: Any, p: Any, unlimited: Any, shape: Shape, rounds: int) -> Any:
    # A sample is drawn again while others are rejected, so that each depends on how long that takes: where the number
    # of trials is infinite too, although the sample is not used.
    dtype = aval_of(p).dtype
    number = dtype.type
    one = number(1)
    deviation = sqrt(mul(mul(n, p), sub(one, p)))
    b = add(mul(deviation, 2.53), 1.15)
    a = add(add(mul(b, 0.0248), -0.0873), mul(p, 0.01))
    c = add(mul(n, p), 0.5)
    v_limit = sub(number(0.92), select(unlimited, number(0), div(number(4.2), b)))
    odds = div(p, sub(one, p))
    alpha = mul(add(div(number(5.1), b), 2.83), deviation)
    mode = floor(mul(add(n, 1.0), p))
    at_mode = add(
        mul(add(mode, 0.5), log(div(add(mode, 1.0), mul(odds, add(sub(n, mode), 1.0))))),
        add(_stirling_tail(mode), _stirling_tail(sub(n, mode))),
    )

    def going(state: Any) -> Any:
        step, _, accepted, *_ = state
        return logical_and(reduce_any(logical_not(accepted)), lt(step, np.int64(rounds)))

    def attempt(state: Any) -> Any:
        step, out, accepted, words, constants = state
        n, a, b, c, v_limit, odds, alpha, mode, at_mode, unlimited = constants
        words, first, second = parts(words, 3)
        u = sub(draw.uniform(first, shape, dtype), 0.5)
        v = draw.uniform(second, shape, dtype)
        shifted = larger(sub(number(0.5), abs(u)), _EDGE)
        inside = logical_and(ge(shifted, 0.07), le(v, v_limit))
        k = floor(add(mul(add(div(mul(a, 2.0), shifted), b), u), c))
        outside = logical_or(unlimited, logical_or(lt(k, 0.0), gt(k, n)))
        # What is rejected anyway is not in the domain of the logarithms.
        k_in = clamp(number(0), k, n)
        height = log(div(mul(v, alpha), add(div(a, mul(shifted, shifted)), b)))
        rest = add(sub(n, k_in), 1.0)
        density = add(
            add(at_mode, mul(add(n, 1.0), log(div(add(sub(n, mode), 1.0), rest)))),
            sub(
                mul(add(k_in, 0.5), log(div(mul(odds, rest), add(k_in, 1.0)))),
                add(_stirling_tail(k_in), _stirling_tail(sub(n, k_in))),
            ),
        )
        accept = logical_or(inside, logical_and(logical_not(outside), le(height, density)))
        return add(step, np.int64(1)), select(accept, k, out), logical_or(accepted, accept), words, constants

    constants = (n, a, b, c, v_limit, odds, alpha, mode, at_mode, unlimited)
    start = (np.int64(0), full(shape, number(-1)), full(shape, np.False_), words, constants)
    return while_loop(going, attempt, start)[1]


_STIRLING_TAILS = tuple(
    # log(k!) - (log(sqrt(2 pi)) + (k + 1/2) log(k + 1) - (k + 1)), in 16 digits.
    (
        0.0810614667953272, 0.0413406959554092, 0.0276779256849983, 0.02079067210376509, 0.0166446911898211,
        0.0138761288230707, 0.0118967099458917, 0.010411265261972, 0.00925546218271273, 0.00833056343336287,
    )
)  # fmt: skip


def _stirling_tail(k: Any) -> Any:
    """What Stirling's formula lacks of ``log(k!)``: tabulated up to 9, and kept at its value there above.

    The true tail falls on, from 0.0083 to 0. Other array libraries keep it too, and a key has to give their counts; the
    four tails of a proposal cancel but for what they differ by, so that probabilities are off by some 10**-4.
    """
    dtype = aval_of(k).dtype
    within = clamp(dtype.type(0), k, dtype.type(9))
    return take(np.array(_STIRLING_TAILS, dtype), convert(floor(within), np.int64), 0)
