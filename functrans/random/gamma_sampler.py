"""The sampler of the gamma distribution: a primitive of a key and a shape parameter for each sample.

The method is that of G. Marsaglia and W. W. Tsang: "A simple method for generating gamma variables", 2000, with the
squeeze; for parameters below 1 their boost, in logarithms where those are asked for. Each sample has a key of its
own, which it splits as often as proposals are rejected.

The derivative in the parameter is the implicit one of the distribution function (M. Figurnov, S. Mohamed, A. Mnih:
"Implicit reparameterization gradients", 2018), not that of the sampler's steps, which jumps where a proposal is
rejected.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from functrans.core import dtypes
from functrans.core.avals import ShapedArray, shaped
from functrans.core.primitive import Primitive, Sample, Trait
from functrans.core.structural import broadcast_shapes, broadcast_to, elementwise_batch, rebox
from functrans.core.trace import aval_of
from functrans.lax.arithmetic import add, div, mul, neg, sub
from functrans.lax.compare import eq, ge, le, logical_and, logical_or, lt
from functrans.lax.control.loop import while_loop
from functrans.lax.creation import full
from functrans.lax.exponential import exp, log, log1p
from functrans.lax.families import accept, tangent_rules
from functrans.lax.magnitude import max as larger
from functrans.lax.power import pow as power
from functrans.lax.power import sqrt
from functrans.lax.random_bits import Words, random_unit_p
from functrans.lax.reduction import reduce_any
from functrans.lax.selection import select
from functrans.lax.special.gamma import digamma
from functrans.lax.special.incomplete_gamma import random_gamma_grad
from functrans.lax.threefry import check_words, pairs
from functrans.random.keys import parts
from functrans.random.quantile import erf_inv, erf_inv_p

_SQUEEZE = 0.0331


def _shape(key1: ShapedArray, key2: ShapedArray, a: ShapedArray, *, log_space: bool) -> ShapedArray:
    check_words("random_gamma", (key1, key2))
    accept("random_gamma", "f", [a])
    return shaped(broadcast_shapes("random_gamma", key1.shape, key2.shape, a.shape), a.dtype, "numpy")


# -- in NumPy: the samples that are still rejected, fewer in each round ---------------------------------------------


def _child(xp: Any, keys: Sequence[Any], number: int) -> Any:
    return pairs(xp, keys[0], keys[1], np.uint32(0), np.uint32(number))


def _unit(xp: Any, keys: Sequence[Any], dtype: dtypes.DType) -> Any:
    return random_unit_p.impl(xp, *keys, shape=(), dtype=dtype)


def _normal(xp: Any, keys: Sequence[Any], dtype: dtypes.DType) -> Any:
    low = np.nextafter(np.array(-1, dtype), np.array(0, dtype))[()]
    u = xp.maximum(low, _unit(xp, keys, dtype) * (dtype.type(1) - low) + low)
    return erf_inv_p.impl(xp, u) * dtype.type(math.sqrt(2))


def _impl(xp: Any, key1: Any, key2: Any, a: Any, *, log_space: bool) -> Any:
    shape = np.broadcast_shapes(key1.shape, key2.shape, a.shape)
    dtype = a.dtype
    number = dtype.type
    keys = [xp.ravel(xp.broadcast_to(k, shape)) for k in (key1, key2)]
    a = xp.ravel(xp.broadcast_to(a, shape))
    one = number(1)
    boosted = ~(a >= one)
    with np.errstate(all="ignore"):
        d = xp.where(boosted, a + one, a) - number(1 / 3)
        c = number(1 / 3) / xp.sqrt(d)
        volume = xp.ones(a.shape, dtype)
        left = xp.arange(a.size)
        chain = _child(xp, keys, 0)
        while left.size:
            chain, proposal, uniform = (_child(xp, chain, i) for i in range(3))
            x, v = _positive(xp, proposal, c[left])
            v = v * v * v
            u = _unit(xp, uniform, dtype)
            volume[left] = v
            x = x * x
            again = (u >= one - number(_SQUEEZE) * (x * x)) & (
                xp.log(u) >= x * number(0.5) + d[left] * (one - v + xp.log(v))
            )
            left, chain = left[again], [k[again] for k in chain]
        u = _unit(xp, _child(xp, keys, 1), dtype)
        if log_space:
            u = xp.log1p(-u)
            out = xp.log(d) + xp.log(volume) + xp.where(boosted & (u != 0), u * (one / a), number(0))
        else:
            out = d * volume * xp.where(boosted, (one - u) ** (one / a), one)
    return out.reshape(shape)[() if not shape else ...]


def _positive(xp: Any, keys: Sequence[Any], c: Any) -> tuple[Any, Any]:
    """A normal number ``x`` for each key, drawn until ``1 + c x`` is positive; and that."""
    x, v = xp.empty_like(c), xp.empty_like(c)
    left = xp.arange(c.size)
    while left.size:
        keys, fresh = (_child(xp, keys, i) for i in range(2))
        x[left] = _normal(xp, fresh, c.dtype)
        v[left] = c.dtype.type(1) + x[left] * c[left]
        again = v[left] <= 0
        left, keys = left[again], [k[again] for k in keys]
    return x, v


# -- in terms of other primitives: all samples, as long as one is rejected ------------------------------------------


def _decompose(key1: Any, key2: Any, a: Any, *, log_space: bool) -> Any:
    dtype = aval_of(a).dtype
    number = dtype.type
    shape = broadcast_shapes("random_gamma", *(aval_of(x).shape for x in (key1, key2, a)))
    keys = (broadcast_to(key1, shape), broadcast_to(key2, shape))
    a = broadcast_to(a, shape)
    whole = ge(a, number(1))
    d = sub(select(whole, a, add(a, number(1))), number(1 / 3))
    c = div(number(1 / 3), sqrt(d))
    chain, last = parts(keys)

    def unit(words: Words) -> Any:
        return random_unit_p.bind(*words, shape=(), dtype=dtype)

    def propose(state: Any) -> Any:
        words, x, v = state
        words, fresh = parts(words)
        low = np.nextafter(np.array(-1, dtype), np.array(0, dtype))[()]
        u = larger(low, add(mul(unit(fresh), number(1) - low), low))
        candidate = mul(erf_inv(u), number(math.sqrt(2)))
        missing = le(v, number(0))
        x = select(missing, candidate, x)
        return words, x, select(missing, add(mul(x, c), number(1)), v)

    def attempt(state: Any) -> Any:
        words, volume, rejected = state
        words, proposal, uniform = parts(words, 3)
        start = (proposal, full(shape, number(0)), full(shape, number(-1)))
        _, x, v = while_loop(lambda s: reduce_any(le(s[2], number(0))), propose, start)
        v = mul(mul(v, v), v)
        u = unit(uniform)
        square = mul(x, x)
        bound = add(mul(square, number(0.5)), mul(d, add(sub(number(1), v), log(v))))
        again = logical_and(ge(u, sub(number(1), mul(mul(square, square), number(_SQUEEZE)))), ge(log(u), bound))
        return words, select(rejected, v, volume), logical_and(rejected, again)

    start = (chain, full(shape, number(1)), full(shape, np.True_))
    _, volume, _ = while_loop(lambda s: reduce_any(s[2]), attempt, start)
    u = unit(last)
    if log_space:
        u = log1p(neg(u))
        boost = select(logical_or(whole, eq(u, number(0))), number(0), mul(u, div(number(1), a)))
        return rebox(add(add(log(d), log(volume)), boost), "numpy")
    boost = select(whole, number(1), power(sub(number(1), u), div(number(1), a)))
    return rebox(mul(mul(d, volume), boost), "numpy")


def _implicit(t: Any, out: Any, key1: Any, key2: Any, a: Any, *, log_space: bool) -> Any:
    if not log_space:
        return mul(t, random_gamma_grad(a, out))
    number = aval_of(out).dtype.type
    # Of small numbers the distribution function is x**a / gamma(a + 1) to rounding, whether x has underflowed or not.
    small = lt(out, number(math.log(float(dtypes.finfo(aval_of(out).dtype).eps)) - 2))
    x = exp(select(small, number(0), out))
    limit = div(sub(digamma(add(a, 1.0)), out), a)
    return mul(t, select(small, limit, div(random_gamma_grad(a, x), x)))


def _samples() -> list[Sample]:
    first = np.array([3, 0xFFFFFFFF, 12345, 8], np.uint32)
    a = np.array([0.3, 1.5, 12.0, 0.8])
    return [
        Sample((first, first[::-1], a), {"log_space": False}, 0),
        Sample((first, first[::-1], a.astype(np.float32)), {"log_space": True}, 0),
        Sample((first[0], first[1], a[:3]), {"log_space": True}, 0),
        Sample((first[0], first[1], a[0]), {"log_space": False}, 0),
        Sample((first[:0], first[:0], a[:0]), {"log_space": False}, 0),
    ]


random_gamma_p: Primitive = Primitive(
    "random_gamma",
    shape=_shape,
    impl=_impl,
    decompose=_decompose,
    jvp=tangent_rules(lambda: random_gamma_p, None, None, _implicit, elementwise=True),
    batch=elementwise_batch(lambda: random_gamma_p),
    samples=_samples,
    traits=frozenset({Trait.ELEMENTWISE, Trait.COSTLY}),
)


def random_gamma(keys: Words, a: Any, log_space: bool) -> Any:
    """A sample of the gamma distribution for each key and parameter, or its logarithm."""
    return random_gamma_p.bind(*keys, a, log_space=log_space)
