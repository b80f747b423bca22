"""Order statistics: medians, quantiles and percentiles, with NaN for slices that hold one or without them.

Arrays are sorted, and a quantile is taken between neighbours. Its place among the sorted elements is a number that
each method computes in its own way, for ``n`` elements and the fraction ``q``; see ``numpy.quantile``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from functrans import errors, lax
from functrans.core import dtypes
from functrans.core.structural import broadcast_to, convert, move_axis, rebox
from functrans.core.trace import Tracer, aval_of
from functrans.lax.reduction import merge_axes
from functrans.lax.static import normalize_axis
from functrans.numpy import elementwise as ew
from functrans.numpy import reductions
from functrans.numpy.arguments import concrete, flag, reduction_axes
from functrans.numpy.dispatch import implements, operand, reject_out

# -- methods ----------------------------------------------------------------------------------------------------------


class Method(NamedTuple):
    """How a quantile is found among sorted elements. The functions take arrays, traced or not.

    Attributes:
        place: ``place(n, q)``, counted from 0: a fraction lies between two elements.
        weight: ``weight(fraction, place)`` of the upper of the two; None where the place is a whole number.
    """

    place: Callable[[Any, Any], Any]
    weight: Callable[[Any, Any], Any] | None


def _between(alpha: float, beta: float) -> Method:
    """The continuous methods, by two parameters."""
    return Method(lambda n, q: n * q + (alpha + q * (1 - alpha - beta)) - 1, lambda fraction, place: fraction)


def _whole(place: Any) -> Any:
    return place.astype(np.intp)


def _above(place: Any, stays: Any) -> Any:
    """The whole number above, or the one below where ``stays`` holds; not less than 0."""
    below = np.floor(place)
    return np.maximum(_whole(np.where(stays, below, below + 1)), 0)


def _inverted_cdf(n: Any, q: Any) -> Any:
    place = n * q - 1
    return _above(place, place == np.floor(place))


def _closest_observation(n: Any, q: Any) -> Any:
    place = n * q - 1.5
    below = np.floor(place)
    return _above(place, (place == below) & (below % 2 == 1))


METHODS = {
    "inverted_cdf": Method(_inverted_cdf, None),
    "averaged_inverted_cdf": Method(lambda n, q: n * q - 1, lambda f, place: np.where(f == 0, 0.5, 1.0)),
    "closest_observation": Method(_closest_observation, None),
    "interpolated_inverted_cdf": _between(0, 1),
    "hazen": _between(0.5, 0.5),
    "weibull": _between(0, 0),
    "linear": Method(lambda n, q: (n - 1) * q, lambda fraction, place: fraction),
    "median_unbiased": _between(1 / 3.0, 1 / 3.0),
    "normal_unbiased": _between(3 / 8.0, 3 / 8.0),
    "lower": Method(lambda n, q: _whole(np.floor((n - 1) * q)), None),
    "higher": Method(lambda n, q: _whole(np.ceil((n - 1) * q)), None),
    "midpoint": Method(
        lambda n, q: 0.5 * (np.floor((n - 1) * q) + np.ceil((n - 1) * q)),
        lambda f, place: np.where(place % 1 == 0, 0.0, 0.5),
    ),
    "nearest": Method(lambda n, q: _whole(np.rint((n - 1) * q)), None),
}

# -- sorted arrays ----------------------------------------------------------------------------------------------------


class Sorted(NamedTuple):
    """Sorted elements along the first axis.

    Attributes:
        values: NaNs come last.
        count: how many of them count: an int, or an array for the other axes.
        skips: whether NaNs do not count.
    """

    values: Any
    count: Any
    skips: bool


def _first(x: Any, axes: tuple[int, ...]) -> Any:
    """``x`` with the given axes as one, the first."""
    merged = merge_axes(x, axes)
    return move_axis(merged, -1, 0)


def _sorted(name: str, x: Any, axes: tuple[int, ...], skip: bool) -> Sorted:
    values = _first(x, axes)
    extent = aval_of(values).shape[0]
    if not extent:
        raise errors.ShapeError(f"{name}: an array of shape {aval_of(x).shape} has no elements along axis={axes}")
    skip = skip and dtypes.is_inexact(aval_of(x).dtype)
    count = lax.reduce_sum(convert(lax.logical_not(lax.isnan(values)), np.intp), (0,)) if skip else extent
    return Sorted(lax.sort(values, 0, stable=False), count, skip)


def _with_nan(s: Sorted, out: Any) -> Any:
    """A result, with NaN in the place of slices that hold one which counts."""
    if s.skips or not dtypes.is_inexact(aval_of(s.values).dtype):
        return out
    last = lax.slice_in_dim(s.values, -1, None)
    last = lax.squeeze(last, (0,))
    return lax.select(lax.isnan(last), convert(last, aval_of(out).dtype), out)


def _element(s: Sorted, index: Any) -> Any:
    """The elements at whole places; those of every slice for an array of them, as leading axes."""
    last = aval_of(s.values).shape[0] - 1
    if isinstance(index, Tracer):
        index = ew.minimum(ew.maximum(index, 0), last)
    else:
        index = np.clip(np.asarray(index), 0, last)
    if not s.skips:
        return lax.take(s.values, index, 0)
    lead = aval_of(index).shape[: aval_of(index).ndim - aval_of(s.values).ndim + 1]
    rest = aval_of(s.values).shape[1:]
    index = lax.reshape(broadcast_to(index, lead + rest), (-1, *rest))
    return lax.reshape(lax.take_along_axis(s.values, index, 0), lead + rest)


def _restored(x: Any, out: Any, lead: int, axes: tuple[int, ...], keepdims: Any) -> Any:
    """A result with the reduced axes put back, behind ``lead`` axes of quantiles; NumPy gives an array then."""
    if flag(keepdims):
        kept = tuple(1 if a in axes else n for a, n in enumerate(aval_of(x).shape))
        return rebox(lax.reshape(out, aval_of(out).shape[:lead] + kept), "array")
    return rebox(out, "numpy")


# -- medians ----------------------------------------------------------------------------------------------------------


def _median(name: str, a: Any, axis: Any, out: Any, keepdims: Any, skip: bool) -> Any:
    reject_out(name, out)
    x = operand(a, name)
    x = convert(x, aval_of(x).dtype)
    axes = reduction_axes(name, axis, aval_of(x).ndim)
    if 0 in [aval_of(x).shape[i] for i in axes]:
        return reductions.mean(x, axis, keepdims=keepdims)
    s = _sorted(name, x, axes, skip)
    if s.skips:
        middle = [_element(s, lax.floor_divide(lax.sub(s.count, k), 2)) for k in (1, 0)]
        pair = lax.concatenate([lax.expand_dims(m, (0,)) for m in middle], 0)
    else:
        pair = lax.slice_in_dim(s.values, (s.count - 1) // 2, s.count // 2 + 1)
    return _restored(x, _with_nan(s, reductions.mean(pair, 0)), 0, axes, keepdims)


@implements(np.median)
def median(a: Any, axis: Any = None, out: None = None, overwrite_input: bool = False, keepdims: bool = False) -> Any:
    """The middle element, or the mean of the two in the middle; see ``numpy.median``."""
    return _median("median", a, axis, out, keepdims, False)


@implements(np.nanmedian)
def nanmedian(a: Any, axis: Any = None, out: None = None, overwrite_input: bool = False, keepdims: Any = False) -> Any:
    """The median of the elements that are not NaN; see ``numpy.nanmedian``."""
    return _median("nanmedian", a, axis, out, keepdims, True)


# -- quantiles --------------------------------------------------------------------------------------------------------


def _quantile(
    name: str,
    a: Any,
    q: Any,
    axis: Any,
    out: Any,
    method: str,
    keepdims: Any,
    weights: Any,
    weak: bool,
    skip: bool,
) -> Any:
    reject_out(name, out)
    x = operand(a, name)
    x = convert(x, aval_of(x).dtype)
    if dtypes.kind(aval_of(x).dtype) == "c":
        raise errors.DTypeError(f"{name}: real numbers are needed, which have an order, got {aval_of(x)}")
    q = operand(q, name)
    q = convert(q, aval_of(q).dtype) if isinstance(q, Tracer) else np.asarray(q)
    if aval_of(q).ndim > 2:
        raise errors.ShapeError(f"{name}: q must have at most two axes, got {aval_of(q)}")
    known = concrete(q)
    if known is not None and not np.all((known >= 0) & (known <= 1)):
        raise ValueError(f"{name}: every q must lie between 0 and {'100' if name.endswith('percentile') else '1'}")
    if method not in METHODS:
        raise errors.ArgumentError(f"{name}: method={method!r} is not known; the methods are {', '.join(METHODS)}")
    axes = reduction_axes(name, axis, aval_of(x).ndim)
    if weights is not None:
        if method != "inverted_cdf":
            raise errors.ArgumentError(f"{name}: weights go with method='inverted_cdf' alone, got {method!r}")
        found = _weighted(name, x, q, axis, axes, weights, skip)
    else:
        s = _sorted(name, x, axes, skip)
        found = _with_nan(s, _at_fraction(s, q, METHODS[method], weak, method == "linear"))
    out = _restored(x, found, aval_of(q).ndim, axes, keepdims)
    return rebox(out, "array") if weights is not None and not skip else out


def _at_fraction(s: Sorted, q: Any, method: Method, weak: bool, linear: bool) -> Any:
    ndim = aval_of(s.values).ndim - 1
    count = s.count
    if s.skips:
        q = lax.reshape(q, aval_of(q).shape + (1,) * ndim)
        count = convert(count, aval_of(q).dtype) if dtypes.is_inexact(aval_of(q).dtype) else count
    place = method.place(count, q)
    if method.weight is None or (linear and not dtypes.is_inexact(aval_of(place).dtype)):
        return _element(s, place)
    below = np.floor(place)
    # Beyond the first or last element there is no other to go to.
    last = count - 1
    low = np.where(place >= last, last, np.maximum(below, 0))
    high = np.where(place >= last, last, np.where(place < 0, 0, below + 1))
    lower, upper = _element(s, _whole(low)), _element(s, _whole(high))
    t = _in_dtype(method.weight(place - low, place), aval_of(place).dtype)
    known = concrete(t)
    upwards = known >= 0.5 if known is not None and known.size == 1 else None
    parts = [t, 1 - t]
    dtype = aval_of(lower).dtype
    if weak and dtypes.is_inexact(dtype):
        parts = [_in_dtype(part, dtype) for part in parts]
    if not s.skips:
        parts = [np.reshape(part, aval_of(part).shape + (1,) * ndim) for part in parts]
    # Counted from the nearer of the two neighbours.
    rise = ew.subtract(upper, lower)
    from_lower = ew.add(lower, ew.multiply(rise, parts[0]))
    if upwards is not None and not upwards:
        return from_lower
    from_upper = convert(ew.subtract(upper, ew.multiply(rise, parts[1])), aval_of(from_lower).dtype)
    return from_upper if upwards is not None else lax.select(ew.greater_equal(parts[0], 0.5), from_upper, from_lower)


def _in_dtype(x: Any, dtype: dtypes.DType) -> Any:
    return convert(x, dtype) if isinstance(x, Tracer) else np.asarray(x, dtype)


def fitting_weights(name: str, weights: Any, shape: tuple[Any, ...], axis: Any) -> Any:
    """Weights that broadcast to an array of a shape: of that shape themselves, or of its part along ``axis``."""
    w = operand(weights, name)
    w = convert(w, aval_of(w).dtype)
    given = aval_of(w).shape
    if given == shape:
        return w
    if axis is None:
        raise errors.ArgumentError(
            f"{name}: the weights have shape {given} and the array {shape}. Give axis=, along which they lie"
        )
    axes = [normalize_axis(name, i, len(shape)) for i in (axis if isinstance(axis, tuple) else (axis,))]
    if given != tuple(shape[i] for i in axes):
        raise errors.ShapeError(
            f"{name}: the weights have shape {given}, and the array {tuple(shape[i] for i in axes)} along axis={axis}"
        )
    w = lax.transpose(w, tuple(int(i) for i in np.argsort(axes)))
    return lax.reshape(w, tuple(n if i in axes else 1 for i, n in enumerate(shape)))


def _weighted(name: str, x: Any, q: Any, axis: Any, axes: tuple[int, ...], weights: Any, skip: bool) -> Any:
    known = concrete(operand(weights, name))
    w = fitting_weights(name, weights, aval_of(x).shape, axis)
    if known is not None and not (np.all(known >= 0) and np.all(np.isfinite(known)) and np.any(known > 0)):
        raise ValueError(f"{name}: weights must be finite and not negative, and not all of them zero")
    values, w = _first(x, axes), _first(broadcast_to(convert(w, np.float64), aval_of(x).shape), axes)
    nan = lax.isnan(values) if dtypes.is_inexact(aval_of(x).dtype) else None
    if skip and nan is not None:
        w = lax.select(nan, 0.0, w)
    order = lax.argsort(values, 0, stable=False)
    values, w = lax.permute(values, order, 0), lax.permute(w, order, 0)
    running = lax.cumsum(w, 0)
    cdf = lax.div(running, lax.slice_in_dim(running, -1, None))
    if dtypes.kind(aval_of(q).dtype) == "f":
        cdf = convert(cdf, aval_of(q).dtype)
    # Elements without weight in front are not even the quantile 0.
    cdf = lax.select(lax.eq(cdf, aval_of(cdf).dtype.type(0)), aval_of(cdf).dtype.type(-1), cdf)
    rest = aval_of(values).ndim - 1
    flat = lax.reshape(q, (-1,) + (1,) * (rest + 1))
    index = lax.reduce_sum(convert(ew.less(lax.expand_dims(cdf, (0,)), flat), np.intp), (1,))
    index = ew.minimum(index, aval_of(values).shape[0] - 1)
    found = lax.reshape(lax.take_along_axis(values, index, 0), aval_of(q).shape + aval_of(values).shape[1:])
    return _with_nan(Sorted(values, aval_of(values).shape[0], skip and nan is not None), found)


def _is_weak(q: Any) -> bool:
    return aval_of(q).weak if isinstance(q, Tracer) else type(q) in (int, float)


def _hundredth(q: Any, name: str) -> Any:
    q = operand(q, name)
    return ew.true_divide(q, 100) if isinstance(q, Tracer) else np.true_divide(q, 100)


@implements(np.quantile)
def quantile(
    a: Any, q: Any, axis: Any = None, out: None = None, overwrite_input: bool = False, method: str = "linear",
    keepdims: bool = False, *, weights: Any = None,
) -> Any:  # fmt: skip
    """The elements below which given fractions of all lie; see ``numpy.quantile``.

    It can be differentiated in the array, and in ``q`` where the method interpolates.
    """
    return _quantile("quantile", a, q, axis, out, method, keepdims, weights, _is_weak(q), False)


@implements(np.percentile)
def percentile(
    a: Any, q: Any, axis: Any = None, out: None = None, overwrite_input: bool = False, method: str = "linear",
    keepdims: bool = False, *, weights: Any = None,
) -> Any:  # fmt: skip
    """``quantile`` with ``q`` in percent; see ``numpy.percentile``."""
    fraction = _hundredth(q, "percentile")
    return _quantile("percentile", a, fraction, axis, out, method, keepdims, weights, _is_weak(q), False)


@implements(np.nanquantile)
def nanquantile(
    a: Any, q: Any, axis: Any = None, out: None = None, overwrite_input: bool = False, method: str = "linear",
    keepdims: Any = False, *, weights: Any = None,
) -> Any:  # fmt: skip
    """``quantile`` of the elements that are not NaN; see ``numpy.nanquantile``."""
    return _quantile("nanquantile", a, q, axis, out, method, keepdims, weights, _is_weak(q), True)


@implements(np.nanpercentile)
def nanpercentile(
    a: Any, q: Any, axis: Any = None, out: None = None, overwrite_input: bool = False, method: str = "linear",
    keepdims: Any = False, *, weights: Any = None,
) -> Any:  # fmt: skip
    """``percentile`` of the elements that are not NaN; see ``numpy.nanpercentile``."""
    fraction = _hundredth(q, "nanpercentile")
    return _quantile("nanpercentile", a, fraction, axis, out, method, keepdims, weights, _is_weak(q), True)
