"""Counting: how often integers occur, and how many values lie in which bins."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from functrans import errors, lax
from functrans.core import dtypes
from functrans.core.structural import convert
from functrans.core.trace import Tracer, aval_of
from functrans.numpy import elementwise as ew
from functrans.numpy import reductions
from functrans.numpy.arguments import concrete, known
from functrans.numpy.creation import linspace
from functrans.numpy.dispatch import implements, operand
from functrans.numpy.sorting import searchsorted, where

# -- integers ---------------------------------------------------------------------------------------------------------


def _tally(index: Any, weights: Any, length: int, dtype: dtypes.DType) -> Any:
    """The sum of the weights (their number, if None) at each index; indices out of range count for nothing."""
    values = 1 if weights is None else convert(weights, dtype)
    return lax.at(lax.zeros((length,), dtype))[index].add(values, mode="drop")


def _bincount(x: Any, /, weights: Any = None, minlength: int = 0, *, length: int | None = None) -> Any:
    index = operand(x, "bincount")
    if aval_of(index).ndim != 1:
        raise errors.ShapeError(f"bincount: a vector of integers is needed, got {aval_of(index)}")
    if not aval_of(index).size:
        index = np.zeros(0, np.intp)
    if not np.can_cast(aval_of(index).dtype, np.intp):
        raise errors.DTypeError(f"bincount: a vector of integers is needed, got {aval_of(index)}")
    if length is None:
        mend = "Give the length of the result: functrans.numpy.bincount(x, length=n)"
        values = known("bincount", "x", index, mend)
        if np.any(values < 0):
            raise ValueError(f"bincount: integers that are not negative are needed, got {values.min()}")
        length = int(max(values.max(initial=-1) + 1, operator.index(minlength)))
    dtype = np.dtype(np.intp if weights is None else np.float64)
    if weights is not None:
        weights = operand(weights, "bincount")
        if aval_of(weights).shape != aval_of(index).shape:
            raise errors.ShapeError(f"bincount: weights of {aval_of(weights)} do not fit integers of {aval_of(index)}")
    length = operator.index(length)
    index = convert(index, np.intp)
    # A negative index would count from the end.
    return _tally(where(ew.less(index, 0), length, index), weights, length, dtype)


_counted = implements(np.bincount)(_bincount)


def bincount(x: Any, /, weights: Any = None, minlength: int = 0, *, length: int | None = None) -> Any:
    """How often each integer occurs in a vector, or the sum of its weights; see ``numpy.bincount``.

    Args:
        length: the length of the result, for where the integers are not known while tracing. Those that are negative
            or not below it count for nothing.
    """
    if length is None:
        return _counted(x, weights, minlength)
    return _bincount(x, weights, minlength, length=length)


_WEAK: dict[str, type] = {"i": int, "f": float}

# -- bins -------------------------------------------------------------------------------------------------------------


def _flat_sample(name: str, a: Any, weights: Any) -> tuple[Any, Any]:
    x = operand(a, name)
    x = lax.reshape(x, (aval_of(x).size,))
    if aval_of(x).dtype == bool:
        x = convert(x, np.uint8)
    if weights is None:
        return x, None
    w = operand(weights, name)
    if aval_of(w).shape != aval_of(operand(a, name)).shape:
        raise errors.ShapeError(f"{name}: weights of {aval_of(w)} do not fit values of {aval_of(operand(a, name))}")
    return x, lax.reshape(w, (aval_of(w).size,))


def _outer_edges(name: str, x: Any, range: Any) -> tuple[Any, Any]:
    """The first and the last edge: those given, or the extrema of the values; half a unit to either side if equal."""
    if range is not None:
        first, last = range
        bounds = [concrete(operand(b, name)) for b in (first, last)]
        if all(b is not None for b in bounds):
            if not all(np.isfinite(b) for b in bounds):
                raise ValueError(f"{name}: range={range} must be finite")
            if bounds[0] > bounds[1]:
                raise ValueError(f"{name}: range={range} must increase")
    elif not aval_of(x).size:
        first, last = 0, 1
    else:
        first, last = reductions.min(x), reductions.max(x)
        ends = concrete(first), concrete(last)
        if ends[0] is not None and not np.all(np.isfinite(ends)):
            raise ValueError(f"{name}: the values reach from {ends[0]} to {ends[1]}; give a finite range=")
    if not isinstance(first, Tracer) and not isinstance(last, Tracer):
        return (first - 0.5, last + 0.5) if first == last else (first, last)
    same = ew.equal(first, last)
    dtype = dtypes.result_type(*(aval_of(end).dtype for end in (first, last)))
    half = convert(where(same, 0.5, 0.0), dtype if dtypes.is_inexact(dtype) else np.float64)
    return ew.subtract(first, half), ew.add(last, half)


def _edges(name: str, x: Any, bins: Any, range: Any, weights: Any) -> tuple[Any, bool]:
    """The edges of the bins, and whether they are evenly spaced."""
    if isinstance(bins, str):
        values = known(name, "the values", x, f"bins={bins!r} chooses the number of bins by them; give that number")
        bins = len(np.histogram_bin_edges(values, bins, range, weights)) - 1
    elif not isinstance(bins, int | np.integer):
        edges = operand(bins, name)
        if aval_of(edges).ndim != 1:
            raise errors.ShapeError(f"{name}: bins must be a number or a vector of edges, got {aval_of(edges)}")
        found = concrete(edges)
        if found is not None and np.any(found[:-1] > found[1:]):
            raise ValueError(f"{name}: bins must increase, got {found}")
        return edges, False
    bins = operator.index(bins)
    if bins < 1:
        raise errors.ArgumentError(f"{name}: bins={bins} must be positive")
    keys = [x] if range is None else [x, *range]
    avals = [aval_of(operand(k, name)) for k in keys]
    dtype = dtypes.result_type(*[_WEAK[a.dtype.kind] if a.weak else a.dtype for a in avals])
    if not dtypes.is_inexact(dtype):
        dtype = dtypes.result_type(dtype, np.dtype(np.float64))
    first, last = _outer_edges(name, x, range)
    if isinstance(first, Tracer) or isinstance(last, Tracer):
        return linspace(first, last, bins + 1, dtype=dtype), True
    return np.linspace(first, last, bins + 1, dtype=dtype), True


def _even_bins(x: Any, edges: Any) -> Any:
    """The bin of each value among evenly spaced edges, found by division and mended by comparison."""
    dtype, count = aval_of(edges).dtype, aval_of(edges).size - 1
    first, last = lax.index(edges, 0), lax.index(edges, count)
    outside = ew.logical_or(ew.less(x, first), ew.greater(x, last))
    outside = ew.logical_or(outside, lax.isnan(x)) if dtypes.is_inexact(aval_of(x).dtype) else outside
    inside = convert(x, dtype)
    inside = lax.stop_gradient(lax.select(outside, first, inside))
    share = ew.divide(ew.subtract(inside, first), ew.subtract(last, first))
    index = convert(lax.floor(lax.stop_gradient(ew.multiply(share, count))), np.intp)
    index = ew.minimum(index, count - 1)
    index = ew.subtract(index, convert(ew.less(inside, lax.take(edges, index)), np.intp))
    beyond = ew.greater_equal(inside, lax.take(edges, ew.add(index, 1)))
    beyond = ew.logical_and(beyond, ew.not_equal(index, count - 1))
    return where(outside, count, ew.add(index, convert(beyond, np.intp)))


def _uneven_bins(x: Any, edges: Any) -> Any:
    """The bin of each value: the last one holds its right edge too."""
    count = aval_of(edges).size - 1
    index = ew.subtract(searchsorted(edges, x, "right"), 1)
    on_last = ew.equal(x, lax.index(edges, count))
    index = where(on_last, count - 1, index)
    return where(ew.less(index, 0), count, index)


@implements(np.histogram)
def histogram(
    a: Any, bins: Any = 10, range: Any = None, density: bool | None = None, weights: Any = None
) -> tuple[Any, Any]:
    """How many values lie in each bin, and the edges of the bins; see ``numpy.histogram``.

    Counts have the derivative 0 in the values. They can be differentiated in the weights, and the edges in the values.
    """
    x, w = _flat_sample("histogram", a, weights)
    edges, even = _edges("histogram", x, bins, range, weights)
    count = aval_of(edges).size - 1
    index = _even_bins(x, edges) if even else _uneven_bins(x, edges)
    dtype = np.dtype(np.intp) if w is None else aval_of(w).dtype
    n = _tally(index, w, count, dtype)
    if not density:
        return n, edges
    widths = convert(_widths(edges), np.float64)
    return ew.divide(ew.divide(n, widths), reductions.sum(n)), edges


def _widths(edges: Any) -> Any:
    count = aval_of(edges).size
    return ew.subtract(lax.slice_in_dim(edges, 1, count), lax.slice_in_dim(edges, 0, count - 1))


@implements(np.histogram_bin_edges)
def histogram_bin_edges(a: Any, bins: Any = 10, range: Any = None, weights: Any = None) -> Any:
    """The edges that ``histogram`` uses; see ``numpy.histogram_bin_edges``."""
    x, _ = _flat_sample("histogram_bin_edges", a, weights)
    return _edges("histogram_bin_edges", x, bins, range, weights)[0]


def _columns(sample: Any) -> list[Any]:
    """The coordinates of points: columns of a matrix, or members of a list."""
    if isinstance(sample, (list, tuple)):
        columns = [operand(s, "histogramdd") for s in sample]
        if len({aval_of(c).size for c in columns}) > 1:
            shapes = ", ".join(str(aval_of(c).shape) for c in columns)
            raise errors.ShapeError(f"histogramdd: the coordinates differ in number: they have shapes {shapes}")
        return [lax.reshape(c, (aval_of(c).size,)) for c in columns]
    x = operand(sample, "histogramdd")
    if aval_of(x).ndim == 1:
        return [x]
    if aval_of(x).ndim != 2:
        raise errors.ShapeError(f"histogramdd: points as rows of a matrix are needed, got {aval_of(x)}")
    return [lax.squeeze(c, (1,)) for c in lax.split(x, (1,) * aval_of(x).shape[1], 1)]


@implements(np.histogramdd)
def histogramdd(
    sample: Any, bins: Any = 10, range: Any = None, density: bool | None = None, weights: Any = None
) -> tuple[Any, list[Any]]:
    """How many points lie in each cell of a grid, and the edges of its axes; see ``numpy.histogramdd``."""
    columns = _columns(sample)
    n = len(columns)
    per_axis = [bins] * n if isinstance(bins, int | np.integer | str) else list(bins)
    ranges = [None] * n if range is None else range
    if len(per_axis) != n or len(ranges) != n:
        raise errors.ArgumentError(f"histogramdd: bins and range must have an entry for each of the {n} coordinates")
    edges, index = [], []
    for i, (x, b, r) in enumerate(zip(columns, per_axis, ranges, strict=True)):
        e, even = _edges(f"histogramdd: coordinate {i}", x, b, r, weights)
        edges.append(convert(e, np.float64) if even else e)
        index.append(_uneven_bins(x, edges[-1]))
    shape = tuple(aval_of(e).size - 1 for e in edges)
    flat: Any = 0
    inside: Any = True
    for at, extent in zip(index, shape, strict=True):
        inside = ew.logical_and(inside, ew.less(at, extent))
        flat = ew.add(ew.multiply(flat, extent), at)
    cells = math.prod(shape)
    w = None if weights is None else operand(weights, "histogramdd")
    counts = lax.reshape(_tally(where(inside, flat, cells), w, cells, np.dtype(np.float64)), shape)
    if density:
        total = reductions.sum(counts)
        for i, e in enumerate(edges):
            widths = lax.reshape(_widths(e), (1,) * i + (-1,) + (1,) * (n - i - 1))
            counts = ew.divide(counts, widths)
        counts = ew.divide(counts, total)
    return counts, edges


@implements(np.histogram2d)
def histogram2d(
    x: Any, y: Any, bins: Any = 10, range: Any = None, density: bool | None = None, weights: Any = None
) -> tuple[Any, Any, Any]:
    """How many points of a plane lie in each cell of a grid, and the edges; see ``numpy.histogram2d``."""
    if not isinstance(bins, str) and not (isinstance(bins, Sequence) and len(bins) == 2):
        edges = operand(bins, "histogram2d")
        bins = [edges, edges] if aval_of(edges).ndim == 1 and aval_of(edges).size != 2 else bins
    counts, (first, second) = histogramdd([x, y], bins, range, density, weights)
    return counts, first, second
