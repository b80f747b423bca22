"""Summaries of samples: ranks, the most frequent value, the standard error of the mean."""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import numpy as np

from functrans import errors, lax
from functrans import numpy as fnp
from functrans.core.trace import aval_of, current_trace
from functrans.numpy.dispatch import operand
from functrans.scipy.library import implements, installed

_scipy = implements("scipy.stats")
_POLICIES = ("propagate", "omit", "raise")


def _propagating(name: str, nan_policy: str) -> None:
    if nan_policy not in _POLICIES:
        raise ValueError(f"{name}: nan_policy must be one of {', '.join(_POLICIES)}, got {nan_policy!r}")
    if nan_policy != "propagate":
        raise errors.ArgumentError(
            f"{name}: nan_policy={nan_policy!r} depends on the values, which are not known while tracing. Only "
            f"'propagate' is supported"
        )


class ModeResult(NamedTuple):
    """The most frequent values, and how often they occur."""

    mode: Any
    count: Any


def _flat(x: Any, axis: int | None, keepdims: bool) -> tuple[Any, int, tuple[int, ...]]:
    """An array, an axis of it to go along, and the shape that its reduction has."""
    shape = aval_of(x).shape
    if axis is None:
        return lax.reshape(x, (-1,)), 0, (1,) * len(shape) if keepdims else ()
    axis = operator.index(axis)
    if not -len(shape) <= axis < len(shape):
        raise errors.ShapeError(f"the axis {axis} is out of range for an array with {len(shape)} axes")
    axis %= len(shape)
    return x, axis, (*shape[:axis], *((1,) if keepdims else ()), *shape[axis + 1 :])


def mode(a: Any, axis: int | None = 0, nan_policy: str = "propagate", keepdims: bool = False) -> Any:
    """The most frequent value along an axis (of all if None), the smallest of several, and how often it occurs.

    Its derivative is that of the element that was chosen. NaN counts as a value, larger than all others.

    >>> mode(np.array([3, 1, 3, 2]))
    ModeResult(mode=np.int64(3), count=np.int64(2))
    """
    library = installed("scipy.stats")
    if current_trace() is None and library is not None:
        return library.mode(a, axis=axis, nan_policy=nan_policy, keepdims=keepdims)
    _propagating("mode", nan_policy)
    x, along, shape = _flat(operand(a, "mode"), axis, keepdims)
    n = aval_of(x).shape[along]
    if n == 0:
        raise errors.ShapeError("mode: of no elements there is none")
    rows = lax.sort(x, along)
    fixed = lax.stop_gradient(rows)
    left, right = fnp.expand_dims(fixed, along), fnp.expand_dims(fixed, along + 1)
    same = fnp.equal(left, right)
    if aval_of(x).dtype.kind == "f":
        same = fnp.logical_or(same, fnp.logical_and(fnp.isnan(left), fnp.isnan(right)))
    counts = fnp.sum(same, axis=along + 1)
    best = fnp.expand_dims(fnp.argmax(counts, axis=along), along)
    value = fnp.reshape(fnp.take_along_axis(rows, best, axis=along), shape)
    count = fnp.reshape(fnp.take_along_axis(counts, best, axis=along), shape)
    return ModeResult(value, count)


@_scipy
def rankdata(a: Any, method: str = "average", *, axis: int | None = None, nan_policy: str = "propagate") -> Any:
    """The ranks of values along an axis (of all if None), from 1; floats for ``"average"``, else integers.

    Args:
        method: which rank equal values have: ``"average"``, ``"min"``, ``"max"``, ``"dense"`` (the number of distinct
            values up to it) or ``"ordinal"`` (by position).

    Ranks are piecewise constant: their derivative is 0. A NaN makes all average ranks of its sample NaN. Integers
    cannot be NaN: under a transformation the other methods rank NaNs last.

    >>> rankdata([0.5, 0.25, 0.5])
    array([2.5, 1. , 2.5])
    """
    methods = ("average", "min", "max", "dense", "ordinal")
    if method not in methods:
        raise ValueError(f"rankdata: method must be one of {', '.join(methods)}, got {method!r}")
    _propagating("rankdata", nan_policy)
    x = lax.stop_gradient(operand(a, "rankdata"))
    x = fnp.reshape(x, (-1,)) if axis is None else fnp.moveaxis(x, axis, -1)
    shape, n = aval_of(x).shape, aval_of(x).shape[-1]
    order = fnp.argsort(x, axis=-1, kind="stable")
    inverse = fnp.argsort(order, axis=-1, kind="stable")
    if method == "ordinal":
        ranks = inverse + 1
    else:
        rows = fnp.take_along_axis(x, order, axis=-1)
        new = fnp.concatenate([np.ones((*shape[:-1], min(n, 1)), bool), rows[..., 1:] != rows[..., :-1]], axis=-1)
        dense = fnp.cumsum(new, axis=-1)
        if method == "dense":
            sorted_ranks = dense
        else:
            place = np.arange(n)
            first = lax.cummax(fnp.where(new, place, 0), len(shape) - 1)
            ends = fnp.concatenate([new[..., 1:], np.ones((*shape[:-1], min(n, 1)), bool)], axis=-1)
            last = lax.cummin(fnp.where(ends, place, n), len(shape) - 1, reverse=True)
            low, high = first + 1, last + 1
            sorted_ranks = {"min": low, "max": high, "average": 0.5 * (low + high)}[method]
        ranks = fnp.take_along_axis(sorted_ranks, inverse, axis=-1)
    if method == "average" and aval_of(x).dtype.kind == "f":
        ranks = fnp.where(fnp.any(fnp.isnan(x), axis=-1, keepdims=True), np.nan, ranks)
    return ranks if axis is None else fnp.moveaxis(ranks, -1, axis)


@_scipy
def sem(a: Any, axis: int | None = 0, ddof: int = 1, nan_policy: str = "propagate", *, keepdims: bool = False) -> Any:
    """The standard error of the mean along an axis (of all if None): ``std(a, ddof) / sqrt(n)``.

    >>> sem([1.0, 2.0, 3.0])
    np.float64(0.5773502691896258)
    """
    _propagating("sem", nan_policy)
    x = operand(a, "sem")
    n = aval_of(x).size if axis is None else aval_of(x).shape[axis]
    deviation = fnp.std(x, axis=axis, ddof=ddof, keepdims=keepdims)
    return deviation / np.asarray(n**0.5, aval_of(deviation).dtype)
