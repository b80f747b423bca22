"""Integers, counts and choices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from functrans import errors
from functrans.core import dtypes
from functrans.core.structural import broadcast_to, convert, move_axis
from functrans.core.trace import Tracer, aval_of, is_array
from functrans.lax.arithmetic import add, div, mul, neg, sub
from functrans.lax.arithmetic import sub as minus
from functrans.lax.compare import eq, gt, logical_and
from functrans.lax.control.scanning import scan
from functrans.lax.cumulative import cumsum
from functrans.lax.exponential import log, log1p
from functrans.lax.magnitude import clamp
from functrans.lax.movement import expand_dims, reshape, transpose
from functrans.lax.random_bits import Words, random_bits
from functrans.lax.reduction import argmax
from functrans.lax.rounding import floor, rem
from functrans.lax.selection import select, stop_gradient
from functrans.lax.slicing import concatenate, slice_in_dim
from functrans.lax.static import normalize_axis
from functrans.lax.utilities import top_k
from functrans.random import words as draw
from functrans.random.keys import parts, split_words, use
from functrans.random.rejection import binomial_of, poisson_of
from functrans.random.uniforms import gumbel_mode
from functrans.random.words import DType, parameter, sample_shape, scalar


def _int_dtype(name: str, dtype: Any) -> DType:
    target = dtypes.canonical(np.dtype(np.int64 if dtype is None else dtype))
    if target.kind not in "iu":
        raise errors.DTypeError(f"functrans.random.{name}: dtype must be an integer dtype, got {target}")
    return target


# -- integers -----------------------------------------------------------------------------------------------------


def randint(key: Any, shape: Any, minval: Any, maxval: Any, dtype: Any = None) -> Any:
    """Integers spread evenly over ``[minval, maxval)``; ``minval`` where that is empty.

    Twice as many random bits are taken as the dtype has (and at least 64), of which the remainder is taken: the
    probabilities differ by at most the part ``(maxval - minval) / 2**64`` (for 64 bits: ``2**128``).

    Args:
        key: a typed or raw key.
        shape: the shape of the result.
        minval, maxval: integers, or arrays of them that broadcast to the shape; limited to the range of the dtype.
        dtype: an integer dtype; int64 if None.

    Raises:
        DTypeError: another dtype.
        ShapeError: the bounds do not broadcast to the shape.

    >>> import functrans as ft
    >>> ft.random.randint(ft.random.key(0), (5,), 0, 10)
    array([5, 1, 5, 7, 3])
    """
    words = use("randint", key)
    target = _int_dtype("randint", dtype)
    low, high = _bound("minval", minval), _bound("maxval", maxval)
    extents = sample_shape("randint", shape, low, high)
    sampled = target if target.itemsize >= 4 else np.dtype(np.int32)
    return scalar(convert(randint_of(words, extents, low, high, target, sampled), target))


def _bound(label: str, value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        value = np.asarray(value)
    kind = aval_of(value).dtype.kind if is_array(value) else ""
    if kind not in "biuf" or not kind:
        raise errors.ArgumentError(
            f"functrans.random.randint: argument {label} must be an integer or an array of them, got "
            + (f"a value of type {aval_of(value)}" if kind else f"an object of type {type(value).__name__}")
        )
    if type(value) is int:
        return (
            np.asarray(value)[()]
            if -(1 << 63) <= value < 1 << 64
            else np.int64((1 << 63) - 1 if value > 0 else -(1 << 63))
        )
    return value if kind in "iu" and aval_of(value).box != "python" else convert(value, np.int64)


def randint_of(words: Words, shape: tuple[Any, ...], low: Any, high: Any, target: DType, sampled: DType) -> Any:
    """Integers of a dtype in ``[low, high)``, in the dtype that they are sampled in."""
    limits = np.iinfo(target)
    least, most = int(limits.min), int(limits.max)
    width = sampled.itemsize * 8
    unsigned = np.dtype(f"u{sampled.itemsize}")
    first, second = parts(words)
    if not isinstance(low, Tracer) and not isinstance(high, Tracer) and np.ndim(low) == np.ndim(high) == 0:
        start = min(max(int(low), least), most)
        span = max(min(int(high), most + 1) - start, 1)
        return _offset(sampled, start, _static_remainder(first, second, shape, width, span, unsigned))
    # Bounds that may differ from sample to sample. One past the largest number has no place in the dtype.
    beyond = gt(high, _limit(high, most))
    start, stop = (convert(clamp(_limit(x, least), x, _limit(x, most)), sampled) for x in (low, high))
    filled = gt(stop, start)
    span = sub(convert(stop, unsigned), convert(start, unsigned))
    span = add(select(filled, span, unsigned.type(1)), convert(logical_and(beyond, filled), unsigned))
    whole = eq(span, unsigned.type(0))
    span = broadcast_to(select(whole, unsigned.type(1), span), shape)
    root = rem(unsigned.type(1 << width // 2), span)
    factor = rem(mul(root, root), span)
    lower = random_bits(second, width, shape)
    offset = add(mul(rem(random_bits(first, width, shape), span), factor), rem(lower, span))
    offset = select(whole, lower, rem(offset, span))
    return add(convert(start, sampled), convert(offset, sampled))


def _limit(x: Any, bound: int) -> Any:
    """A bound in the dtype of ``x``, as far as that goes."""
    own = np.iinfo(aval_of(x).dtype)
    return aval_of(x).dtype.type(min(max(bound, int(own.min)), int(own.max)))


def _static_remainder(
    first: Words, second: Words, shape: tuple[Any, ...], width: int, span: int, unsigned: DType
) -> Any:
    """``(higher * 2**width + lower) mod span`` in unsigned integers, where the span is known."""
    lower = random_bits(second, width, shape)
    if span == 1 << width:
        return lower
    number = unsigned.type
    # As the product of the two remainders, with its overflow.
    root = (1 << width // 2) % span
    factor = (root * root % (1 << width)) % span
    offset = rem(lower, number(span))
    if factor:
        higher = rem(random_bits(first, width, shape), number(span))
        offset = rem(add(mul(higher, number(factor)), offset), number(span))
    return offset


def _offset(dtype: DType, start: int, offset: Any) -> Any:
    offset = convert(offset, dtype)
    return add(offset, dtype.type(start)) if start else offset


# -- counts -----------------------------------------------------------------------------------------------------------


def poisson(key: Any, lam: Any, shape: Any = None, dtype: Any = None) -> Any:
    """Numbers of the Poisson distribution. They have no derivative.

    Rates below 10 by D. E. Knuth's products of uniform numbers, others by W. Hörmann's transformed rejection ("The
    transformed rejection method for generating Poisson random variables", 1993, algorithm PTRS), in single precision.

    Args:
        key: a typed or raw key.
        lam: the rate: a number that is not negative, or an array that broadcasts to the shape. -1 stands for a NaN.
        shape: the shape of the result; that of ``lam`` if None.
        dtype: an integer dtype; int64 if None.

    >>> import functrans as ft
    >>> ft.random.poisson(ft.random.key(0), 3.0, (5,))
    array([0, 0, 4, 4, 1])
    """
    words = use("poisson", key)
    target = _int_dtype("poisson", dtype)
    lam = stop_gradient(parameter("poisson", "lam", lam, np.dtype(np.float32)))
    extents = sample_shape("poisson", shape, lam)
    return scalar(poisson_of(words, broadcast_to(lam, extents), extents, target))


def binomial(key: Any, n: Any, p: Any, shape: Any = None, dtype: Any = None) -> Any:
    """Numbers of successes in ``n`` trials, as floats. Their derivative is 0, as that of every step function.

    Few expected successes (up to 10) by sums of geometric numbers, others by W. Hörmann's transformed rejection ("The
    generation of binomial random variates", 1993, algorithm BTRS).

    Args:
        key: a typed or raw key.
        n: the number of trials, a number or an array; NaN where it is negative.
        p: the probability of success; NaN where it is none. Both broadcast to the shape.
        shape: the shape of the result; the common one of the parameters if None.
        dtype: a float dtype; float64 if None.

    >>> import functrans as ft
    >>> ft.random.binomial(ft.random.key(0), 10, 0.5, (5,))
    array([4., 7., 6., 6., 5.])
    """
    words = use("binomial", key)
    target = draw.float_dtype("binomial", dtype)
    computed = _inexact("p", p)
    n, p = (stop_gradient(parameter("binomial", label, x, computed)) for label, x in (("n", n), ("p", p)))
    extents = sample_shape("binomial", shape, n, p)
    return scalar(binomial_of(words, broadcast_to(n, extents), broadcast_to(p, extents), extents, target))


def _inexact(label: str, value: Any) -> DType:
    """The dtype of probabilities: that of floats, else double precision."""
    dtype = np.asarray(value).dtype if isinstance(value, (list, tuple)) else aval_of(value).dtype
    return dtype if dtypes.kind(dtype) == "f" else np.dtype(np.float64)


def multinomial(key: Any, n: Any, p: Any, *, shape: Any = None, dtype: Any = None, unroll: int | bool = 1) -> Any:
    """How many of ``n`` trials fall into each of some classes, as floats. The derivative is 0.

    Args:
        key: a typed or raw key.
        n: the number of trials, which broadcasts to the shape without its last axis.
        p: probabilities, whose last axis is that of the classes; they need not sum to 1.
        shape: the shape of the result; that of ``p`` if None.
        dtype: the dtype of the result; float64 if None.
        unroll: as in ``functrans.lax.scan``, which goes through the classes.

    >>> import numpy as np, functrans as ft
    >>> ft.random.multinomial(ft.random.key(0), 10, np.array([0.2, 0.3, 0.5]))
    array([1., 4., 5.])
    """
    name = "multinomial"
    words = use(name, key)
    computed = _inexact("p", p)
    n, p = (stop_gradient(parameter(name, label, x, computed)) for label, x in (("n", n), ("p", p)))
    extents = sample_shape(name, aval_of(p).shape if shape is None else shape, p)
    if not extents:
        raise errors.ShapeError("functrans.random.multinomial: p must have an axis for the classes, got a number")
    sample_shape(name, extents[:-1], n)
    classes = move_axis(broadcast_to(p, extents), -1, 0)
    left = _remaining(classes)
    ratios = div(classes, select(eq(left, computed.type(0)), computed.type(1), left))
    keys = split_words(words, (extents[-1],))

    def step(remaining: Any, one: Any) -> Any:
        ratio, own = one
        count = binomial_of(own, remaining, clamp(computed.type(0), ratio, computed.type(1)), extents[:-1], computed)
        return minus(remaining, count), count

    _, counts = scan(step, broadcast_to(n, extents[:-1]), (ratios, keys), unroll=unroll)
    return convert(move_axis(counts, 0, -1), np.float64 if dtype is None else dtype)


_FEW_CLASSES = 32


def _remaining(p: Any) -> Any:
    """For each class the probability of itself and those behind it.

    Of a few classes it is summed from the front, as compilers of other array libraries do: how it is rounded decides
    which of the samplers takes a class with exactly 10 expected successes.
    """
    n = aval_of(p).shape[0]
    if n > _FEW_CLASSES:
        return cumsum(p, 0, reverse=True)
    total = p
    for i in range(1, n):
        ahead = slice_in_dim(p, i, n)
        total = concatenate([add(slice_in_dim(total, 0, n - i), ahead), slice_in_dim(total, n - i, n)], 0)
    return total


def geometric(key: Any, p: Any, shape: Any = None, dtype: Any = None) -> Any:
    """The number of trials up to the first success. It has no derivative.

    Args:
        key: a typed or raw key.
        p: the probability of success, a number or an array that broadcasts to the shape.
        shape: the shape of the result; that of ``p`` if None.
        dtype: an integer dtype; int64 if None.

    >>> import functrans as ft
    >>> ft.random.geometric(ft.random.key(0), 0.3, (5,))
    array([3, 5, 1, 2, 2])
    """
    words = use("geometric", key)
    target = _int_dtype("geometric", dtype)
    computed = _inexact("p", p)
    p = stop_gradient(parameter("geometric", "p", p, computed))
    u = draw.uniform(words, sample_shape("geometric", shape, p), computed)
    u = select(eq(u, computed.type(0)), computed.type(1), u)
    # Success for sure, without the logarithm of zero.
    sure = eq(p, computed.type(1))
    failures = floor(div(log(u), log1p(neg(select(sure, computed.type(0.5), p)))))
    return scalar(convert(add(select(sure, computed.type(0), failures), 1.0), target))


# -- choices ------------------------------------------------------------------------------------------------------


def categorical(
    key: Any, logits: Any, axis: int = -1, shape: Any = None, replace: bool = True, mode: str | None = None
) -> Any:
    """Indices of classes, from the logarithms of their probabilities, which need not be normalised.

    The index of the largest logit after a Gumbel number was added to each. It has no derivative.

    Args:
        key: a typed or raw key.
        logits: an array of floats.
        axis: the axis of the classes.
        shape: the shape of the result, which ends with that of ``logits`` without the axis; that if None.
        replace: whether the samples that the leading axes of ``shape`` count may be equal to each other.
        mode: that of ``gumbel``.

    Raises:
        ShapeError: the shape does not fit the logits.
        ArgumentError: more samples without replacement than classes.

    >>> import numpy as np, functrans as ft
    >>> ft.random.categorical(ft.random.key(0), np.log(np.array([0.1, 0.2, 0.7])), shape=(5,))
    array([2, 2, 2, 1, 1])
    """
    name = "categorical"
    words = use(name, key)
    logits = stop_gradient(parameter(name, "logits", logits, _inexact("logits", logits)))
    aval = aval_of(logits)
    if not aval.shape:
        raise errors.ShapeError("functrans.random.categorical: logits must have an axis for the classes, got a number")
    axis = normalize_axis("functrans.random.categorical", axis, aval.ndim)
    batch = aval.shape[:axis] + aval.shape[axis + 1 :]
    extents = batch if shape is None else sample_shape(name, shape)
    n_prefix = len(extents) - len(batch)
    prefix = extents[:n_prefix]
    if n_prefix < 0 or any(b not in (1, e) for b, e in zip(batch, extents[n_prefix:], strict=True)):
        raise errors.ShapeError(
            f"functrans.random.categorical: shape={extents} must end with the shape of the logits without axis {axis}, "
            f"{batch}"
        )
    mode = gumbel_mode(mode, name)
    if replace:
        own = [*extents[n_prefix:]]
        own.insert(axis, aval.shape[axis])
        noise = draw.gumbel(words, (*prefix, *own), aval.dtype, mode)
        return argmax(add(noise, expand_dims(logits, tuple(range(n_prefix)))), axis + n_prefix)
    count = math.prod(prefix)
    if count > aval.shape[axis]:
        raise errors.ArgumentError(
            f"functrans.random.categorical: {count} samples without replacement from {aval.shape[axis]} classes"
        )
    noisy = add(logits, draw.gumbel(words, aval.shape, aval.dtype, mode))
    found = top_k(move_axis(noisy, axis, -1), count)[1]
    last = len(batch)
    found = transpose(found, (last, *range(last)))
    return reshape(found, extents)
