"""Reductions: sums, products, extrema and their places, means and what is built on them."""

from __future__ import annotations

from typing import Any

import numpy as np

from functrans import errors, lax
from functrans.core import dtypes
from functrans.core.avals import ShapedArray
from functrans.core.structural import broadcast_to, convert, rebox
from functrans.core.trace import Tracer, aval_of
from functrans.numpy import elementwise as ew
from functrans.numpy.arguments import NO_VALUE, given, keep_axes, mask_of, reduction_axes, single_axis
from functrans.numpy.dispatch import implements, operand, reject_out

# -- folds by a ufunc -----------------------------------------------------------------------------------------------


@implements(np.sum)
def sum(
    a: Any, axis: Any = None, dtype: Any = None, out: None = None, keepdims: Any = NO_VALUE, initial: Any = NO_VALUE,
    where: Any = NO_VALUE,
) -> Any:  # fmt: skip
    """The sum over axes; see ``numpy.sum``. Integers of few bits are summed in 64 bits."""
    return ew.add.fold("sum", a, axis, dtype, out, keepdims, initial, where)


@implements(np.prod)
def prod(
    a: Any, axis: Any = None, dtype: Any = None, out: None = None, keepdims: Any = NO_VALUE, initial: Any = NO_VALUE,
    where: Any = NO_VALUE,
) -> Any:  # fmt: skip
    """The product over axes; see ``numpy.prod``. Its derivative is right where factors are zero."""
    return ew.multiply.fold("prod", a, axis, dtype, out, keepdims, initial, where)


@implements(np.max, np.amax)
def max(
    a: Any, axis: Any = None, out: None = None, keepdims: Any = NO_VALUE, initial: Any = NO_VALUE, where: Any = NO_VALUE
) -> Any:
    """The maximum over axes; see ``numpy.max``. Elements that tie share the derivative evenly."""
    return ew.maximum.fold("max", a, axis, None, out, keepdims, initial, where)


@implements(np.min, np.amin)
def min(
    a: Any, axis: Any = None, out: None = None, keepdims: Any = NO_VALUE, initial: Any = NO_VALUE, where: Any = NO_VALUE
) -> Any:
    """The minimum over axes; see ``numpy.min``. Elements that tie share the derivative evenly."""
    return ew.minimum.fold("min", a, axis, None, out, keepdims, initial, where)


amax, amin = max, min


@implements(np.any)
def any(a: Any, axis: Any = None, out: None = None, keepdims: Any = NO_VALUE, *, where: Any = NO_VALUE) -> Any:
    """Whether any element is true; see ``numpy.any``."""
    return ew.logical_or.fold("any", a, axis, None, out, keepdims, NO_VALUE, where)


@implements(np.all)
def all(a: Any, axis: Any = None, out: None = None, keepdims: Any = NO_VALUE, *, where: Any = NO_VALUE) -> Any:
    """Whether all elements are true; see ``numpy.all``."""
    return ew.logical_and.fold("all", a, axis, None, out, keepdims, NO_VALUE, where)


@implements(np.ptp)
def ptp(a: Any, axis: Any = None, out: None = None, keepdims: Any = NO_VALUE) -> Any:
    """The maximum less the minimum over axes; see ``numpy.ptp``."""
    reject_out("ptp", out)
    high, low = (u.fold("ptp", a, axis, None, None, keepdims, NO_VALUE, True) for u in (ew.maximum, ew.minimum))
    return ew.subtract.apply(high, low)


@implements(np.count_nonzero)
def count_nonzero(a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    """How many elements are not zero; see ``numpy.count_nonzero``."""
    mask = convert(operand(a, "count_nonzero"), bool)
    count = ew.add.fold("count_nonzero", mask, axis, np.intp, None, keepdims, NO_VALUE, True)
    return rebox(count, "python") if _COUNTS_PYTHON and axis is None and not keepdims else count


_COUNTS_PYTHON = isinstance(np.count_nonzero(np.ones(1)), int)
"""Before NumPy 2.4 the number of all elements that are not zero was a Python int."""

# -- places of extrema ----------------------------------------------------------------------------------------------


def _place(name: str, find: Any, a: Any, axis: Any, out: Any, keepdims: Any) -> Any:
    reject_out(name, out)
    x = operand(a, name)
    x = convert(x, aval_of(x).dtype)
    shape = aval_of(x).shape
    axes = reduction_axes(name, None if axis is None else single_axis(name, axis, len(shape) or 1), len(shape))
    flat = axis is None or not shape
    found = find(lax.reshape(x, (aval_of(x).size,)), 0) if flat else find(x, axes[0])
    return keep_axes(x, found, axes, keepdims)


@implements(np.argmax)
def argmax(a: Any, axis: Any = None, out: None = None, *, keepdims: Any = NO_VALUE) -> Any:
    """The index of the first maximum, of the first NaN where there is one; see ``numpy.argmax``."""
    return _place("argmax", lax.argmax, a, axis, out, keepdims)


@implements(np.argmin)
def argmin(a: Any, axis: Any = None, out: None = None, *, keepdims: Any = NO_VALUE) -> Any:
    """The index of the first minimum, of the first NaN where there is one; see ``numpy.argmin``."""
    return _place("argmin", lax.argmin, a, axis, out, keepdims)


# -- means ----------------------------------------------------------------------------------------------------------


def count_of(name: str, x: Any, axis: Any, keepdims: Any, where: Any) -> Any:
    """How many elements each result of a reduction is made from: an int, or an array where a mask chooses them."""
    shape = aval_of(x).shape
    mask = mask_of(name, where, shape)
    if mask is not None:
        return ew.add.fold(name, broadcast_to(mask, shape), axis, np.intp, None, keepdims, NO_VALUE, True)
    count = 1
    for a in reduction_axes(name, axis, len(shape)):
        count *= shape[a]
    return count


def over_count(total: Any, count: Any, dtype: dtypes.DType) -> Any:
    """``total / count`` as NumPy's means have it: divided in double precision and rounded to ``dtype``."""
    aval = aval_of(total)
    # Rounding twice changes nothing where the count is exact in the narrow dtype, but for complex division.
    direct = isinstance(count, (int, float)) and (dtypes.kind(aval.dtype) == "f" or aval.dtype == np.complex128)
    if direct and aval.dtype.type(count) == count and (aval.ndim or aval.dtype == dtype):
        return convert(lax.div(total, float(count)), dtype)
    if isinstance(count, (int, float)):
        count = np.asarray(count)[()]
    return convert(ew.true_divide.apply(total, count), dtype)


def averaging_dtype(dtype: Any, aval: ShapedArray) -> dtypes.DType | None:
    """The dtype that means accumulate in: float64 for integers; None for that of the elements."""
    asked: dtypes.DType | None = None if dtype is None else np.dtype(dtype)
    return np.dtype(np.float64) if asked is None and dtypes.kind(aval.dtype) in "biu" else asked


@implements(np.mean)
def mean(
    a: Any, axis: Any = None, dtype: Any = None, out: None = None, keepdims: Any = NO_VALUE, *, where: Any = NO_VALUE
) -> Any:
    """The mean over axes; see ``numpy.mean``. Integers are averaged in float64, float16 is accumulated in float32."""
    reject_out("mean", out)
    x = operand(a, "mean")
    aval = aval_of(x)
    half = dtype is None and aval.dtype == np.float16
    wide = np.dtype(np.float32) if half else averaging_dtype(dtype, aval)
    total = ew.add.fold("mean", x, axis, wide, None, keepdims, NO_VALUE, where)
    count = count_of("mean", x, axis, keepdims, where)
    return over_count(total, count, aval.dtype if half else aval_of(total).dtype)


def squared_magnitude(x: Any) -> Any:
    """The squares of real numbers; of complex ones, those of both parts added."""
    if dtypes.is_complex(aval_of(x).dtype):
        return lax.add(lax.square(lax.real(x)), lax.square(lax.imag(x)))
    return lax.square(x)


def degrees_of_freedom(name: str, ddof: Any, correction: Any) -> Any:
    """``ddof``, or ``correction``, which is the same under another name."""
    if not given(correction):
        return ddof
    if not isinstance(ddof, Tracer) and ddof != 0:
        raise errors.ArgumentError(f"{name}: ddof and correction mean the same; give one of them")
    return correction


@implements(np.var)
def var(
    a: Any, axis: Any = None, dtype: Any = None, out: None = None, ddof: Any = 0, keepdims: Any = NO_VALUE, *,
    where: Any = NO_VALUE, mean: Any = NO_VALUE, correction: Any = NO_VALUE,
) -> Any:  # fmt: skip
    """The variance over axes; see ``numpy.var``."""
    reject_out("var", out)
    ddof = degrees_of_freedom("var", ddof, correction)
    x = operand(a, "var")
    x = convert(x, aval_of(x).dtype)
    wide = averaging_dtype(dtype, aval_of(x))
    center = mean
    if not given(center):
        center = ew.add.fold("var", x, axis, wide, None, True, NO_VALUE, where)
        center = over_count(center, count_of("var", x, axis, True, where), aval_of(center).dtype)
    squares = squared_magnitude(ew.subtract.apply(x, center))
    total = ew.add.fold("var", squares, axis, wide, None, keepdims, NO_VALUE, where)
    count = count_of("var", x, axis, keepdims, where)
    if isinstance(count, int) and isinstance(ddof, (int, float)):
        free: Any = count - ddof if count > ddof else 0
    else:
        free = ew.maximum.apply(ew.subtract.apply(np.intp(count) if isinstance(count, int) else count, ddof), 0)
    return over_count(total, free, aval_of(total).dtype)


@implements(np.std)
def std(
    a: Any, axis: Any = None, dtype: Any = None, out: None = None, ddof: Any = 0, keepdims: Any = NO_VALUE, *,
    where: Any = NO_VALUE, mean: Any = NO_VALUE, correction: Any = NO_VALUE,
) -> Any:  # fmt: skip
    """The standard deviation over axes; see ``numpy.std``. Where it is zero its derivative is taken to be 0."""
    reject_out("std", out)
    ddof = degrees_of_freedom("std", ddof, correction)
    variance = _var(a, axis, dtype, None, ddof, keepdims, where=where, mean=mean)
    if dtypes.is_inexact(aval_of(variance).dtype):
        return lax.safe_sqrt(variance)
    return convert(ew.sqrt.apply(variance), aval_of(variance).dtype)


_var = var.__wrapped__  # type: ignore[attr-defined]
