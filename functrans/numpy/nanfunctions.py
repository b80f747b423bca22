"""Reductions for which NaN does not count. Its derivative is 0."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from functrans import errors, lax
from functrans.core import dtypes
from functrans.core.structural import convert, rebox
from functrans.core.trace import aval_of
from functrans.numpy import elementwise as ew
from functrans.numpy import reductions, statistics
from functrans.numpy.arguments import NO_VALUE, concrete, flag, given, reduction_axes
from functrans.numpy.dispatch import implements, operand, reject_out
from functrans.numpy.reductions import degrees_of_freedom, squared_magnitude


def _replaced(name: str, a: Any, value: float) -> tuple[Any, Any]:
    """An array with a value in the place of NaN, and where those are; None for integers, which have no NaN."""
    x = operand(a, name)
    dtype = aval_of(x).dtype
    x = convert(x, dtype)
    if not dtypes.is_inexact(dtype):
        return x, None
    nan = lax.isnan(x)
    return rebox(lax.select(nan, dtype.type(value), x), "numpy"), nan


def _counted(total: Any, count: Any) -> Any:
    """``total / count``, rounded to the dtype of the total, and NaN where nothing was counted."""
    dtype = aval_of(total).dtype
    none = ew.less_equal(count, 0)
    mean = convert(ew.true_divide(total, lax.select(none, 1, count)), dtype)
    return rebox(lax.select(none, dtype.type(math.nan), mean), "numpy")


def _inexact_dtype(name: str, dtype: Any) -> None:
    if dtype is not None and not dtypes.is_inexact(np.dtype(dtype)):
        raise errors.DTypeError(f"{name}: of floats and complex numbers dtype= must be one too, got {np.dtype(dtype)}")


# -- sums, products and means -----------------------------------------------------------------------------------------


@implements(np.nansum)
def nansum(
    a: Any, axis: Any = None, dtype: Any = None, out: None = None, keepdims: Any = NO_VALUE, initial: Any = NO_VALUE,
    where: Any = NO_VALUE,
) -> Any:  # fmt: skip
    """The sum of what is not NaN; see ``numpy.nansum``."""
    return reductions.sum(_replaced("nansum", a, 0)[0], axis, dtype, out, keepdims, initial, where)


@implements(np.nanprod)
def nanprod(
    a: Any, axis: Any = None, dtype: Any = None, out: None = None, keepdims: Any = NO_VALUE, initial: Any = NO_VALUE,
    where: Any = NO_VALUE,
) -> Any:  # fmt: skip
    """The product of what is not NaN; see ``numpy.nanprod``."""
    return reductions.prod(_replaced("nanprod", a, 1)[0], axis, dtype, out, keepdims, initial, where)


@implements(np.nancumsum)
def nancumsum(a: Any, axis: Any = None, dtype: Any = None, out: None = None) -> Any:
    """The running sum of what is not NaN; see ``numpy.nancumsum``."""
    return statistics.cumsum(_replaced("nancumsum", a, 0)[0], axis, dtype, out)


@implements(np.nancumprod)
def nancumprod(a: Any, axis: Any = None, dtype: Any = None, out: None = None) -> Any:
    """The running product of what is not NaN; see ``numpy.nancumprod``."""
    return statistics.cumprod(_replaced("nancumprod", a, 1)[0], axis, dtype, out)


@implements(np.nanmean)
def nanmean(
    a: Any, axis: Any = None, dtype: Any = None, out: None = None, keepdims: Any = NO_VALUE, *, where: Any = NO_VALUE
) -> Any:
    """The mean of what is not NaN, NaN where there is nothing else; see ``numpy.nanmean``."""
    reject_out("nanmean", out)
    x, nan = _replaced("nanmean", a, 0)
    if nan is None:
        return reductions.mean(x, axis, dtype, None, keepdims, where=where)
    _inexact_dtype("nanmean", dtype)
    count = reductions.sum(lax.logical_not(nan), axis, np.intp, None, keepdims, where=where)
    return _counted(reductions.sum(x, axis, dtype, None, keepdims, where=where), count)


@implements(np.nanvar)
def nanvar(
    a: Any, axis: Any = None, dtype: Any = None, out: None = None, ddof: Any = 0, keepdims: Any = NO_VALUE, *,
    where: Any = NO_VALUE, mean: Any = NO_VALUE, correction: Any = NO_VALUE,
) -> Any:  # fmt: skip
    """The variance of what is not NaN; see ``numpy.nanvar``."""
    reject_out("nanvar", out)
    ddof = degrees_of_freedom("nanvar", ddof, correction)
    x, nan = _replaced("nanvar", a, 0)
    if nan is None:
        return reductions.var(x, axis, dtype, None, ddof, keepdims, where=where, mean=mean)
    _inexact_dtype("nanvar", dtype)
    if not given(mean):
        mean = nanmean(a, axis, dtype, None, True, where=where)
    deviation = convert(ew.subtract(x, mean), aval_of(x).dtype)
    deviation = lax.select(nan, aval_of(x).dtype.type(0), deviation)
    total = reductions.sum(squared_magnitude(deviation), axis, dtype, None, keepdims, where=where)
    count = reductions.sum(lax.logical_not(nan), axis, np.intp, None, keepdims, where=where)
    return _counted(total, ew.subtract(count, ddof))


@implements(np.nanstd)
def nanstd(
    a: Any, axis: Any = None, dtype: Any = None, out: None = None, ddof: Any = 0, keepdims: Any = NO_VALUE, *,
    where: Any = NO_VALUE, mean: Any = NO_VALUE, correction: Any = NO_VALUE,
) -> Any:  # fmt: skip
    """The standard deviation of what is not NaN; see ``numpy.nanstd``. Where it is zero its derivative is 0."""
    reject_out("nanstd", out)
    ddof = degrees_of_freedom("nanstd", ddof, correction)
    variance = nanvar(a, axis, dtype, None, ddof, keepdims, where=where, mean=mean)
    if dtypes.is_inexact(aval_of(variance).dtype):
        return lax.safe_sqrt(variance)
    return convert(ew.sqrt(variance), aval_of(variance).dtype)


# -- extrema ----------------------------------------------------------------------------------------------------------


def _extremum(
    name: str, reduce: Any, worst: float, a: Any, axis: Any, out: Any, keepdims: Any, initial: Any, where: Any
) -> Any:
    reject_out(name, out)
    x, nan = _replaced(name, a, worst)
    found = reduce(x, axis, None, keepdims, initial, where)
    if nan is None or given(initial):
        return found
    nothing = reductions.all(nan, axis, None, keepdims)
    return rebox(lax.select(nothing, aval_of(found).dtype.type(math.nan), found), "numpy")


@implements(np.nanmax)
def nanmax(
    a: Any, axis: Any = None, out: None = None, keepdims: Any = NO_VALUE, initial: Any = NO_VALUE, where: Any = NO_VALUE
) -> Any:
    """The maximum of what is not NaN, NaN where there is nothing else; see ``numpy.nanmax``."""
    return _extremum("nanmax", reductions.max, -math.inf, a, axis, out, keepdims, initial, where)


@implements(np.nanmin)
def nanmin(
    a: Any, axis: Any = None, out: None = None, keepdims: Any = NO_VALUE, initial: Any = NO_VALUE, where: Any = NO_VALUE
) -> Any:
    """The minimum of what is not NaN, NaN where there is nothing else; see ``numpy.nanmin``."""
    return _extremum("nanmin", reductions.min, math.inf, a, axis, out, keepdims, initial, where)


def _place(name: str, find: Any, worst: float, a: Any, axis: Any, out: Any, keepdims: Any) -> Any:
    reject_out(name, out)
    x, nan = _replaced(name, a, worst)
    found = find(x, axis, None, keepdims=keepdims)
    if nan is None:
        return found
    axes = reduction_axes(name, axis, aval_of(x).ndim)
    nothing = reductions.all(nan, axes, None, flag(keepdims))
    known = concrete(nothing)
    if known is not None:
        if np.any(known):
            raise ValueError(f"{name}: a slice holds nothing but NaN")
        return found
    return rebox(lax.select(nothing, np.intp(-1), found), "numpy")


@implements(np.nanargmax)
def nanargmax(a: Any, axis: Any = None, out: None = None, *, keepdims: Any = NO_VALUE) -> Any:
    """The index of the first maximum of what is not NaN; see ``numpy.nanargmax``.

    Raises:
        ValueError: a slice holds nothing but NaN. Where that is not known while tracing, its index is -1.
    """
    return _place("nanargmax", reductions.argmax, -math.inf, a, axis, out, keepdims)


@implements(np.nanargmin)
def nanargmin(a: Any, axis: Any = None, out: None = None, *, keepdims: Any = NO_VALUE) -> Any:
    """The index of the first minimum of what is not NaN; otherwise as ``nanargmax``."""
    return _place("nanargmin", reductions.argmin, math.inf, a, axis, out, keepdims)
