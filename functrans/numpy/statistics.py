"""Averages with weights, running sums and products, and comparisons up to a tolerance."""

from __future__ import annotations

from typing import Any

import numpy as np

from functrans import errors, lax
from functrans.core import dtypes
from functrans.core.structural import broadcast_to, convert, rebox
from functrans.core.trace import aval_of
from functrans.numpy import elementwise as ew
from functrans.numpy import reductions
from functrans.numpy.arguments import NO_VALUE, concrete, reduction_axes, since, single_axis
from functrans.numpy.dispatch import implements, operand
from functrans.numpy.quantiles import fitting_weights
from functrans.numpy.ufuncs import Ufunc

# -- averages -------------------------------------------------------------------------------------------------------


@implements(np.average)
def average(a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: Any = NO_VALUE) -> Any:
    """The mean with weights; see ``numpy.average``.

    Raises:
        ZeroDivisionError: weights whose sum is known to be zero; the result is NaN where it is not known while tracing.
    """
    x = operand(a, "average")
    x = convert(x, aval_of(x).dtype)
    if weights is None:
        mean = reductions.mean(x, axis, keepdims=keepdims)
        count = aval_of(x).size / aval_of(mean).size if aval_of(mean).size else 0.0
        total: Any = aval_of(mean).dtype.type(count)
    else:
        w = fitting_weights("average", weights, aval_of(x).shape, axis)
        dtype = dtypes.result_type(aval_of(x).dtype, aval_of(w).dtype)
        if dtypes.kind(aval_of(x).dtype) in "biu":
            dtype = dtypes.result_type(dtype, np.dtype(np.float64))
        along = reduction_axes("average", axis, aval_of(x).ndim)
        # Weights along some axes alone are summed without being repeated along the others.
        total = ew.add.fold("average", w, along, dtype, None, keepdims, NO_VALUE, True)
        known = concrete(operand(weights, "average"))
        sums = 1 if known is None else known.sum(along if known.shape == aval_of(x).shape else None)
        if np.any(sums == 0):
            raise ZeroDivisionError("average: the weights sum to zero, so that there is no mean")
        products = lax.mul(convert(x, dtype), convert(w, dtype))
        weighted = ew.add.fold("average", products, along, None, None, keepdims, NO_VALUE, True)
        mean = ew.true_divide.apply(weighted, total)
    return (mean, rebox(broadcast_to(total, aval_of(mean).shape), "numpy")) if returned else mean


# -- running sums and products --------------------------------------------------------------------------------------


def _running(name: str, ufunc: Ufunc, a: Any, axis: Any, dtype: Any, out: Any) -> Any:
    x = operand(a, name)
    if axis is None or not aval_of(x).ndim:
        x = lax.reshape(x, (aval_of(x).size,))
        axis = 0
    return ufunc.running(name, x, axis, dtype, out)


@implements(np.cumsum)
def cumsum(a: Any, axis: Any = None, dtype: Any = None, out: None = None) -> Any:
    """The running sum along an axis, of all elements for None; see ``numpy.cumsum``."""
    return _running("cumsum", ew.add, a, axis, dtype, out)


@implements(np.cumprod)
def cumprod(a: Any, axis: Any = None, dtype: Any = None, out: None = None) -> Any:
    """The running product along an axis, of all elements for None; see ``numpy.cumprod``."""
    return _running("cumprod", ew.multiply, a, axis, dtype, out)


def _with_initial(name: str, ufunc: Ufunc, x: Any, axis: Any, dtype: Any, out: Any, include_initial: bool) -> Any:
    x = operand(x, name)
    x = lax.reshape(x, (1,)) if not aval_of(x).ndim else x
    if axis is None and aval_of(x).ndim > 1:
        raise errors.ArgumentError(f"{name}: an array with {aval_of(x).ndim} axes needs axis=, along which to run")
    axis = single_axis(name, 0 if axis is None else axis, aval_of(x).ndim)
    result = ufunc.running(name, x, axis, dtype, out)
    if not include_initial:
        return result
    shape = tuple(1 if i == axis else n for i, n in enumerate(aval_of(result).shape))
    return lax.concatenate([lax.full(shape, ufunc.identity, aval_of(result).dtype), result], axis)


@implements(since("2.1", "cumulative_sum"))
def cumulative_sum(
    x: Any, /, *, axis: Any = None, dtype: Any = None, out: None = None, include_initial: bool = False
) -> Any:
    """The running sum along an axis, which may begin with 0; see ``numpy.cumulative_sum``."""
    return _with_initial("cumulative_sum", ew.add, x, axis, dtype, out, include_initial)


@implements(since("2.1", "cumulative_prod"))
def cumulative_prod(
    x: Any, /, *, axis: Any = None, dtype: Any = None, out: None = None, include_initial: bool = False
) -> Any:
    """The running product along an axis, which may begin with 1; see ``numpy.cumulative_prod``."""
    return _with_initial("cumulative_prod", ew.multiply, x, axis, dtype, out, include_initial)


# -- comparisons ----------------------------------------------------------------------------------------------------


def _floating(name: str, y: Any) -> Any:
    """An operand in a floating dtype; weak numbers stay weak."""
    y = operand(y, name)
    aval = aval_of(y)
    if aval.box == "python":
        return y if aval.dtype.kind in "fc" else rebox(convert(y, np.float64), "python")
    return convert(y, dtypes.result_type(aval.dtype, float))


@implements(np.isclose)
def isclose(a: Any, b: Any, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: bool = False) -> Any:
    """Where two arrays are equal up to a tolerance, relative to ``b``; see ``numpy.isclose``."""
    x, y = operand(a, "isclose"), _floating("isclose", b)
    finite = ew.isfinite(y)
    # The difference of infinities is left out, which would raise a warning.
    zero = aval_of(y).dtype.type(0)
    base = lax.select(finite, y, zero.item() if aval_of(y).weak else zero)
    tolerance = ew.add(atol, ew.multiply(rtol, ew.absolute(base)))
    near = ew.less_equal(ew.absolute(ew.subtract(x, base)), tolerance)
    result = ew.logical_or(ew.logical_and(near, finite), ew.equal(x, y))
    if equal_nan:
        result = ew.logical_or(result, ew.logical_and(ew.isnan(x), ew.isnan(y)))
    return rebox(result, "numpy")


@implements(np.allclose)
def allclose(a: Any, b: Any, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: bool = False) -> Any:
    """Whether two arrays are equal up to a tolerance, relative to ``b``; see ``numpy.allclose``."""
    return rebox(lax.reduce_all(isclose(a, b, rtol, atol, equal_nan)), "python")


@implements(np.array_equal)
def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> Any:
    """Whether two arrays have the same shape and elements; see ``numpy.array_equal``."""
    x, y = operand(a1, "array_equal"), operand(a2, "array_equal")
    if aval_of(x).shape != aval_of(y).shape:
        return False
    same = ew.equal(x, y)
    if equal_nan:
        same = ew.logical_or(same, ew.logical_and(ew.isnan(x), ew.isnan(y)))
    return rebox(lax.reduce_all(same), "python")


@implements(np.array_equiv)
def array_equiv(a1: Any, a2: Any) -> Any:
    """Whether two arrays have the same elements when they are broadcast; see ``numpy.array_equiv``."""
    x, y = operand(a1, "array_equiv"), operand(a2, "array_equiv")
    try:
        np.broadcast_shapes(aval_of(x).shape, aval_of(y).shape)
    except ValueError:
        return False
    return rebox(lax.reduce_all(ew.equal(x, y)), "python")
