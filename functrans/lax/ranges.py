"""Evenly spaced numbers, bit for bit those of NumPy."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from functrans import errors
from functrans.core.avals import ShapedArray, shaped
from functrans.core.dtypes import DType
from functrans.core.primitive import Sample
from functrans.core.structural import broadcast_to, convert, move_axis
from functrans.core.trace import aval_of
from functrans.lax.arithmetic import add, div, mul, neg, sub
from functrans.lax.compare import eq
from functrans.lax.creation import iota, nullary, numeric_dtype
from functrans.lax.families import accept
from functrans.lax.movement import expand_dims
from functrans.lax.reduction import reduce_any
from functrans.lax.selection import select
from functrans.lax.slicing import concatenate, slice_in_dim
from functrans.lax.static import common_dtype, normalize_axis


def _arange_shape(*, start: Any, stop: Any, step: Any, dtype: DType) -> ShapedArray:
    return shaped((_length(start, stop, step),), dtype)


def _length(start: Any, stop: Any, step: Any) -> int:
    """How many steps there are, in floating point as NumPy counts them."""
    count: float = (stop - start) / step
    if count == 0 and stop != start:
        return int(not math.copysign(1.0, count) < 0)
    return max(0, math.ceil(count))


arange_p = nullary(
    "arange",
    shape=_arange_shape,
    impl=lambda xp, *, start, stop, step, dtype: xp.arange(start, stop, step, dtype=dtype),
    samples=lambda: [
        Sample((), {"start": 2, "stop": 9, "step": 3, "dtype": np.dtype(np.int64)}),
        Sample((), {"start": 1.0, "stop": -0.5, "step": -0.1, "dtype": np.dtype(np.float64)}),
        Sample((), {"start": 0, "stop": 5, "step": 1, "dtype": np.dtype(np.float32)}),
        Sample((), {"start": 3, "stop": 0, "step": 1, "dtype": np.dtype(np.int32)}),
    ],
)


def arange(start: Any, stop: Any = None, step: Any = 1, *, dtype: Any = None) -> Any:
    """Evenly spaced numbers from ``start`` (inclusive) to ``stop`` (exclusive), bit for bit those of ``numpy.arange``.

    Only where a Python float meets a float32 or float16 scalar, in whose precision NumPy then takes the first step, the
    last bit may differ.

    Args:
        start, stop, step: static real numbers; one alone is ``stop``, and the count starts at 0.
        dtype: that of the result; what int64 and the three promote to if None.

    Raises:
        ShapeError: ``step`` is zero, or the length would not be finite.

    >>> arange(2, 9, 3)
    array([2, 5, 8])
    """
    if stop is None:
        start, stop = 0, start
    given = (start, stop, step)
    if dtype is None:
        dtype = np.result_type(np.int64, *[aval_of(v).dtype for v in given])
    first, last, by = _plain(*(_static_number(v) for v in given))
    if by == 0:
        raise errors.ShapeError("arange: step must not be zero")
    if not math.isfinite((last - first) / by):
        raise errors.ShapeError(f"arange: start={first}, stop={last}, step={by} give no finite length")
    target = numeric_dtype("arange", dtype)
    if first == 0 and math.copysign(1.0, first) < 0:
        # Parameters are compared by value, which would take a negative zero for a positive one.
        return neg(arange_p.bind(start=0.0, stop=-last, step=-by, dtype=target))
    return arange_p.bind(start=first, stop=last, step=by, dtype=target)


def _plain(start: Any, stop: Any, step: Any) -> tuple[Any, Any, Any]:
    """Python numbers in place of NumPy scalars, giving the length and the second element that these give."""
    if all(isinstance(v, (int, np.integer)) for v in (start, stop, step)):
        return int(start), int(stop), int(step)
    first, last, by = float(start), float(stop), float(step)
    if by == 0 or not math.isfinite((last - first) / by):
        return first, last, by
    count, following = _length(start, stop, step), start + step
    if np.asarray(following).itemsize < 8:
        by = float(following) - first
    return first, last if _length(first, last, by) == count else first + (count - 0.5) * by, by


def _static_number(value: Any) -> Any:
    """A Python number or a NumPy scalar, whichever it was."""
    aval = aval_of(value)
    if aval.shape != () or aval.dtype.kind not in "biuf":
        raise errors.ArgumentError(f"arange: start, stop and step must be real numbers, got a value of type {aval}")
    number = float(value) if aval.dtype.kind == "f" else int(value)
    return number if aval.box == "python" else aval.dtype.type(number)


def linspace(start: Any, stop: Any, num: int = 50, *, endpoint: bool = True, axis: int = 0) -> Any:
    """``num`` evenly spaced numbers from ``start`` to ``stop``, bit for bit those of ``numpy.linspace``.

    Args:
        start, stop: floats or complex numbers of one dtype and shape; derivatives are taken in both.
        num: how many.
        endpoint: whether ``stop`` is the last of them.
        axis: where the result has the new axis.

    >>> linspace(0.0, 1.0, 5)
    array([0.  , 0.25, 0.5 , 0.75, 1.  ])
    """
    avals = [aval_of(start), aval_of(stop)]
    dtype = common_dtype("linspace", avals)
    accept("linspace", "fc", [a.update(dtype=dtype) for a in avals])
    count = operator.index(num)
    if count < 0:
        raise errors.ShapeError(f"linspace: num must not be negative, got {count}")
    start, stop = convert(start, dtype), convert(stop, dtype)
    delta = sub(stop, start)
    intervals = count - 1 if endpoint else count
    shape = aval_of(delta).shape
    steps = iota(dtype, (count, *(1 for _ in shape)))
    if intervals > 0:
        step = div(delta, intervals)
        # Where a step underflows to zero the order of the operations is the other one, for every element.
        underflow = reduce_any(eq(step, 0))
        y = select(underflow, mul(div(steps, intervals), delta), mul(steps, step))
    else:
        y = mul(steps, delta)
    y = add(y, start)
    if endpoint and count > 1:
        y = concatenate([slice_in_dim(y, 0, count - 1), broadcast_to(expand_dims(stop, 0), (1, *shape))], 0)
    return move_axis(y, 0, normalize_axis("linspace", axis, len(shape) + 1))
