"""Differences, sums and interpolation of sampled functions, convolution and covariance."""

from __future__ import annotations

import math
import operator
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from functrans import errors, lax
from functrans.core import dtypes
from functrans.core.structural import convert, rebox
from functrans.core.trace import Tracer, aval_of
from functrans.lax.static import normalize_axes, normalize_axis
from functrans.numpy import elementwise as ew
from functrans.numpy.dispatch import implements, operand
from functrans.numpy.indexing import diagonal
from functrans.numpy.joining import at_least, concatenate
from functrans.numpy.linear import dot
from functrans.numpy.manipulation import ravel, real, squeeze, transpose
from functrans.numpy.misc import result_type
from functrans.numpy.reductions import mean
from functrans.numpy.reductions import sum as total
from functrans.numpy.sorting import where
from functrans.numpy.statistics import cumsum

_NO_VALUE: Any = np._NoValue


def _along(x: Any, start: int | None, stop: int | None, axis: int) -> Any:
    return lax.slice_in_dim(x, start, stop, axis=axis)


# -- differences -----------------------------------------------------------------------------------------------


@implements(np.diff)
def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = _NO_VALUE, append: Any = _NO_VALUE) -> Any:
    """The ``n``-th difference along an axis; see ``numpy.diff``."""
    x = operand(a, "diff")
    order = operator.index(n)
    if order == 0:
        return x
    if order < 0:
        raise errors.ArgumentError(f"diff: the order must not be negative, got n={order}")
    if not aval_of(x).ndim:
        raise errors.ShapeError("diff: an array with an axis or more is needed, got a 0-d array")
    at = normalize_axis("diff", axis, aval_of(x).ndim)
    parts = [x]
    for end, place in ((prepend, 0), (append, 2)):
        if end is not _NO_VALUE:
            end = operand(end, "diff")
            if not aval_of(end).ndim:
                shape = aval_of(x).shape
                end = lax.broadcast_to(end, (*shape[:at], 1, *shape[at + 1 :]))
            parts.insert(place, end)
    if len(parts) > 1:
        x = concatenate(parts, at)
    step = ew.not_equal if aval_of(x).dtype.kind == "b" else ew.subtract
    for _ in range(order):
        x = step(_along(x, 1, None, at), _along(x, None, -1, at))
    return x


@implements(np.ediff1d)
def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    """The differences of neighbours, between given ends; see ``numpy.ediff1d``."""
    x = ravel(ary)
    dtype = aval_of(x).dtype
    parts = [ew.subtract(_along(x, 1, None, 0), _along(x, None, -1, 0))]
    for name, end, place in (("to_begin", to_begin, 0), ("to_end", to_end, 2)):
        if end is not None:
            end = ravel(end)
            if not np.can_cast(aval_of(end).dtype, dtype, "same_kind"):
                raise errors.DTypeError(f"ediff1d: {name} of type {aval_of(end)} does not fit the dtype {dtype}")
            parts.insert(place, convert(end, dtype))
    return lax.concatenate(parts, 0) if len(parts) > 1 else parts[0]


def _spacings(varargs: tuple[Any, ...], shape: tuple[int, ...], axes: Sequence[int]) -> list[Any]:
    """The distance of the samples along each axis: a number where it is constant, else one for each interval."""
    if not varargs:
        return [1.0] * len(axes)
    given = [operand(v, "gradient") for v in varargs]
    if len(given) == 1 and not aval_of(given[0]).ndim:
        return given * len(axes)
    if len(given) != len(axes):
        raise errors.ArgumentError(f"gradient: {len(given)} spacings were given for {len(axes)} axes")
    out = []
    for axis, places in zip(axes, given, strict=True):
        aval = aval_of(places)
        if not aval.ndim:
            out.append(places)
            continue
        if aval.shape != (shape[axis],):
            raise errors.ShapeError(
                f"gradient: the coordinates along axis {axis} must be {shape[axis]} numbers, got shape {aval.shape}"
            )
        steps = diff(convert(places, np.float64) if aval.dtype.kind in "iu" else places)
        if isinstance(steps, np.ndarray) and steps.size and (steps == steps[0]).all():
            steps = steps[0]
        out.append(steps)
    return out


@implements(np.gradient)
def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """Slopes of a sampled function by second-order differences; see ``numpy.gradient``."""
    x = operand(f, "gradient")
    aval = aval_of(x)
    given = axis if isinstance(axis, (tuple, list)) else range(aval.ndim) if axis is None else (axis,)
    axes = [normalize_axis("gradient", a, aval.ndim) for a in given]
    normalize_axes("gradient", axes, aval.ndim, "axis")
    if edge_order not in (1, 2):
        raise errors.ArgumentError(f"gradient: edge_order must be 1 or 2, got {edge_order}")
    dtype = aval.dtype if dtypes.is_inexact(aval.dtype) else np.dtype(np.float64)
    if aval.dtype.kind in "iu":
        x = convert(x, dtype)
    outs = [
        convert(_slopes(x, a, spacing, edge_order), dtype)
        for a, spacing in zip(axes, _spacings(varargs, aval.shape, axes), strict=True)
    ]
    return outs[0] if len(outs) == 1 else tuple(outs)


def _slopes(x: Any, axis: int, spacing: Any, edge_order: int) -> Any:
    shape = aval_of(x).shape
    extent = shape[axis]
    if extent < edge_order + 1:
        raise errors.ShapeError(
            f"gradient: axis {axis} has extent {extent}, and {edge_order + 1} samples are needed with "
            f"edge_order={edge_order}"
        )
    column = tuple(-1 if d == axis else 1 for d in range(len(shape)))

    def weighted(weights: Sequence[Any], starts: Sequence[int], count: int) -> Any:
        terms = [ew.multiply(w, _along(x, s, s + count, axis)) for w, s in zip(weights, starts, strict=True)]
        return ew.add(ew.add(terms[0], terms[1]), terms[2])

    def step(i: int) -> Any:
        return spacing if uniform else lax.index(spacing, i)

    uniform = not aval_of(operand(spacing)).ndim
    parts = []
    if extent > 2:
        if uniform:
            rise = ew.subtract(_along(x, 2, None, axis), _along(x, None, -2, axis))
            parts.append(ew.divide(rise, ew.multiply(2.0, spacing)))
        else:
            h, k = _along(spacing, None, -1, 0), _along(spacing, 1, None, 0)
            weights = (
                ew.divide(ew.negative(k), ew.multiply(h, ew.add(h, k))),
                ew.divide(ew.subtract(k, h), ew.multiply(h, k)),
                ew.divide(h, ew.multiply(k, ew.add(h, k))),
            )
            parts.append(weighted([lax.reshape(w, column) for w in weights], (0, 1, 2), extent - 2))
    if edge_order == 1:
        first = ew.divide(ew.subtract(_along(x, 1, 2, axis), _along(x, 0, 1, axis)), step(0))
        last = ew.divide(ew.subtract(_along(x, -1, None, axis), _along(x, -2, -1, axis)), step(-1))
    else:
        first = weighted(_edge_weights(step(0), step(1), uniform), (0, 1, 2), 1)
        mirrored = _edge_weights(step(-1), step(-2), uniform)
        last = weighted([ew.negative(w) for w in reversed(mirrored)], (extent - 3, extent - 2, extent - 1), 1)
    return concatenate([first, *parts, last], axis)


def _edge_weights(h: Any, k: Any, uniform: bool) -> list[Any]:
    """The weights of three samples for the slope at the first one, ``h`` and ``k`` apart."""
    if uniform:
        return [ew.divide(-1.5, h), ew.divide(2.0, h), ew.divide(-0.5, h)]
    both = ew.add(h, k)
    return [
        ew.divide(ew.negative(ew.add(ew.multiply(2.0, h), k)), ew.multiply(h, both)),
        ew.divide(both, ew.multiply(h, k)),
        ew.divide(ew.negative(h), ew.multiply(k, both)),
    ]


# -- sums ------------------------------------------------------------------------------------------------------


@implements(np.trapezoid)
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Any:
    """The integral of a sampled function by the trapezoidal rule; see ``numpy.trapezoid``."""
    y = operand(y, "trapezoid")
    ndim = aval_of(y).ndim
    at = normalize_axis("trapezoid", axis, ndim)
    steps = dx
    if x is not None:
        x = operand(x, "trapezoid")
        if aval_of(x).ndim == 1:
            steps = lax.reshape(diff(x), tuple(-1 if d == at else 1 for d in range(ndim)))
        else:
            steps = diff(x, axis=axis)
    pairs = ew.add(_along(y, 1, None, at), _along(y, None, -1, at))
    return total(ew.divide(ew.multiply(steps, pairs), 2.0), at)


# -- interpolation ---------------------------------------------------------------------------------------------


@implements(np.interp)
def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Any:
    """Values between samples by straight lines; see ``numpy.interp``.

    The derivative with respect to ``x`` at a sample is the slope to its right; outside it is 0.
    """
    x, xp, fp = operand(x, "interp"), operand(xp, "interp"), operand(fp, "interp")
    target = np.dtype(np.complex128 if dtypes.is_complex(aval_of(fp).dtype) else np.float64)
    x, xp, fp = convert(x, np.float64), convert(xp, np.float64), convert(fp, target)
    if aval_of(xp).ndim != 1 or aval_of(xp).shape != aval_of(fp).shape:
        raise errors.ShapeError(
            f"interp: xp and fp must be vectors of one length, got shapes {aval_of(xp).shape} and {aval_of(fp).shape}"
        )
    if not aval_of(xp).size:
        raise errors.ShapeError("interp: there are no samples to interpolate between")
    if period is not None:
        x, xp, fp = _periodic(x, xp, fp, ew.absolute(period))
        left = right = None
    n = aval_of(xp).size
    low, high = lax.index(xp, 0), lax.index(xp, -1)
    left = lax.index(fp, 0) if left is None else convert(operand(left), target)
    right = lax.index(fp, -1) if right is None else convert(operand(right), target)
    if n == 1:
        inside = lax.broadcast_to(lax.index(fp, 0), aval_of(x).shape)
    else:
        place = lax.sub(lax.searchsorted(xp, x, "right"), 1)
        j = lax.clamp(0, place, n - 2)
        x0, x1, f0, f1 = (lax.take(v, k) for v in (xp, fp) for k in (j, lax.add(j, 1)))
        slope = lax.div(lax.sub(f1, f0), convert(lax.sub(x1, x0), target))
        inside = lax.add(lax.mul(slope, convert(lax.sub(x, x0), target)), f0)
        # Where a sample is infinite the line is followed from the other one; beside equal ones it is their value.
        other = lax.add(lax.mul(slope, convert(lax.sub(x, x1), target)), f1)
        other = lax.select(lax.bitwise_and(lax.isnan(other), lax.eq(f0, f1)), f0, other)
        inside = lax.select(lax.isnan(inside), other, inside)
        at_end, at_start = lax.eq(x, high), lax.eq(x, x0)
        # At a sample the line may be infinitely steep; the value is the sample's.
        steep = lax.bitwise_and(at_start, lax.bitwise_not(lax.is_finite(slope)))
        exact = lax.select(at_end, lax.index(fp, -1), f0)
        inside = lax.select(lax.bitwise_or(at_end, steep), exact, inside)
    out = lax.select(lax.lt(x, low), left, lax.select(lax.gt(x, high), right, inside))
    return rebox(lax.select(lax.isnan(x), convert(x, target), out), "numpy")


def _periodic(x: Any, xp: Any, fp: Any, period: Any) -> tuple[Any, Any, Any]:
    """The samples of one period in order, with one more at each end."""
    x, xp = ew.remainder(x, period), ew.remainder(xp, period)
    order = lax.argsort(xp)
    xp, fp = lax.take(xp, order), lax.take(fp, order)
    before = ew.subtract(_along(xp, -1, None, 0), period)
    behind = ew.add(_along(xp, 0, 1, 0), period)
    xp = lax.concatenate([before, xp, behind], 0)
    return x, xp, lax.concatenate([_along(fp, -1, None, 0), fp, _along(fp, 0, 1, 0)], 0)


@implements(np.unwrap)
def unwrap(p: Any, discont: Any = None, axis: int = -1, *, period: Any = 2 * math.pi) -> Any:
    """Phases without jumps of more than half a period; see ``numpy.unwrap``."""
    x = operand(p, "unwrap")
    at = normalize_axis("unwrap", axis, aval_of(x).ndim)
    steps = diff(x, axis=at)
    dtype = np.dtype(result_type(steps, period))
    discont = ew.divide(period, 2) if discont is None else discont
    if dtype.kind in "iu":
        high, odd = divmod(period, 2)
        ambiguous = odd == 0
    else:
        high, ambiguous = ew.divide(period, 2), True
    high = convert(high, dtype) if isinstance(high, Tracer) else dtype.type(high)
    low = ew.negative(high)
    wrapped = ew.add(ew.remainder(ew.subtract(steps, low), period), low)
    if ambiguous:
        half = ew.logical_and(ew.equal(wrapped, low), ew.greater(steps, 0))
        wrapped = where(half, high, wrapped)
    correction = where(ew.less(ew.absolute(steps), discont), 0, ew.subtract(wrapped, steps))
    rest = ew.add(_along(x, 1, None, at), cumsum(correction, at))
    return lax.concatenate([convert(_along(x, 0, 1, at), dtype), convert(rest, dtype)], at)


# -- convolution -----------------------------------------------------------------------------------------------


def _correlate(name: str, a: Any, v: Any, mode: Any) -> Any:
    """The sums of ``a[i + k] * v[i]`` for vectors of which ``v`` is not the longer one."""
    dtype = dtypes.result_type(aval_of(a).dtype, aval_of(v).dtype)
    n = aval_of(v).size
    modes = {"valid": (0, 0), "same": (n // 2, n - n // 2 - 1), "full": (n - 1, n - 1)}
    if mode not in modes:
        raise errors.ArgumentError(f"{name}: mode must be 'valid', 'same' or 'full', got {mode!r}")
    image = lax.reshape(convert(a, dtype), (1, 1, aval_of(a).size))
    kernel = lax.reshape(convert(v, dtype), (1, 1, n))
    return lax.reshape(lax.conv_general_dilated(image, kernel, 1, [modes[mode]]), (-1,))


def _vectors(name: str, a: Any, v: Any) -> tuple[Any, Any]:
    a, v = at_least(operand(a, name), 1), at_least(operand(v, name), 1)
    for x in (a, v):
        if aval_of(x).ndim != 1 or not aval_of(x).size:
            raise errors.ShapeError(f"{name}: vectors with an element or more are needed, got {aval_of(x)}")
    return a, v


@implements(np.convolve)
def convolve(a: Any, v: Any, mode: str = "full") -> Any:
    """The convolution of two vectors; see ``numpy.convolve``."""
    a, v = _vectors("convolve", a, v)
    if aval_of(v).size > aval_of(a).size:
        a, v = v, a
    return _correlate("convolve", a, lax.rev(v, 0), mode)


@implements(np.correlate)
def correlate(a: Any, v: Any, mode: str = "valid") -> Any:
    """The correlation of two vectors, the second one conjugated; see ``numpy.correlate``."""
    a, v = _vectors("correlate", a, v)
    v = lax.conj(v) if dtypes.is_complex(aval_of(v).dtype) else v
    if aval_of(v).size > aval_of(a).size:
        return lax.rev(_correlate("correlate", v, a, mode), 0)
    return _correlate("correlate", a, v, mode)


# -- covariance ------------------------------------------------------------------------------------------------


@implements(np.cov)
def cov(
    m: Any,
    y: Any = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: int | None = None,
    fweights: Any = None,
    aweights: Any = None,
    *,
    dtype: Any = None,
) -> Any:
    """The covariance matrix of variables in rows; see ``numpy.cov``."""
    given = [operand(v, "cov") for v in (m, y) if v is not None]
    for v in given:
        if aval_of(v).ndim > 2:
            raise errors.ShapeError(f"cov: vectors or matrices are needed, got {aval_of(v)}")
    if dtype is None:
        dtype = dtypes.result_type(*(aval_of(v).dtype for v in given), np.dtype(np.float64))
    rows = [convert(at_least(v, 2), dtype) for v in given]
    if not rowvar:
        rows[0] = transpose(rows[0]) if aval_of(given[0]).ndim != 1 else rows[0]
        rows[1:] = [transpose(v) if aval_of(v).shape[0] != 1 else v for v in rows[1:]]
    if not aval_of(rows[0]).shape[0]:
        return lax.zeros((0, 0))
    x = lax.concatenate(rows, 0) if len(rows) > 1 else rows[0]
    count = aval_of(x).shape[1]
    if ddof is None:
        ddof = 0 if bias else 1
    elif ddof != int(ddof):
        raise errors.ArgumentError(f"cov: ddof must be an integer, got {ddof}")
    weights = [_weights("cov", w, count) for w in (fweights, aweights) if w is not None]
    if not weights:
        factor: Any = count - ddof
        centre = mean(x, axis=1, keepdims=True)
        scaled = x = ew.subtract(x, centre)
    else:
        w = weights[0] if len(weights) == 1 else ew.multiply(*weights)
        whole = total(w)
        if ddof == 0:
            factor = whole
        elif aweights is None:
            factor = ew.subtract(whole, ddof)
        else:
            factor = ew.subtract(whole, ew.divide(ew.multiply(ddof, total(ew.multiply(w, weights[-1]))), whole))
        centre = ew.divide(total(ew.multiply(x, w), axis=1, keepdims=True), whole)
        x = ew.subtract(x, centre)
        scaled = ew.multiply(x, w)
    if isinstance(factor, int) and factor <= 0:
        warnings.warn("cov: there are no degrees of freedom left", RuntimeWarning, stacklevel=3)
        factor = 0.0
    turned = transpose(scaled)
    products = dot(x, ew.conj(turned) if dtypes.is_complex(aval_of(x).dtype) else turned)
    return squeeze(ew.multiply(products, ew.true_divide(1, factor)))


def _weights(name: str, weights: Any, count: int) -> Any:
    w = convert(operand(weights, name), np.float64)
    if aval_of(w).shape != (count,):
        raise errors.ShapeError(f"{name}: {count} weights are needed, one for each observation, got {aval_of(w)}")
    return w


@implements(np.corrcoef)
def corrcoef(x: Any, y: Any = None, rowvar: bool = True, *, dtype: Any = None) -> Any:
    """The correlation coefficients of variables in rows; see ``numpy.corrcoef``."""
    c = cov(x, y, rowvar, dtype=dtype)
    if not aval_of(c).ndim:
        return ew.divide(c, c)
    spread = ew.sqrt(real(diagonal(c)))
    n = aval_of(spread).size
    c = ew.divide(ew.divide(c, lax.reshape(spread, (n, 1))), lax.reshape(spread, (1, n)))
    if dtypes.is_complex(aval_of(c).dtype):
        return lax.complex(lax.clamp(-1.0, lax.real(c), 1.0), lax.clamp(-1.0, lax.imag(c), 1.0))
    return lax.clamp(-1.0, c, 1.0)
