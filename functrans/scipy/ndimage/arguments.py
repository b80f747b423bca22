"""What the functions of ``functrans.scipy.ndimage`` share: dtypes of results, and arguments given for each axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from functrans import errors, lax
from functrans.core import dtypes
from functrans.core.structural import convert
from functrans.core.trace import Tracer, aval_of
from functrans.lax.static import is_sequence, normalize_axes
from functrans.numpy.dispatch import operand, reject_out


def image(name: str, x: Any) -> Any:
    """The array that a function works on."""
    x = operand(x, name)
    if not aval_of(x).ndim:
        raise errors.ShapeError(f"{name}: an array with an axis or more is needed, got {aval_of(x)}")
    return x


def result_dtype(name: str, x: Any, output: Any) -> Any:
    """The dtype of the result: that of the array, or the one asked for; complex where the array is."""
    dtype = aval_of(x).dtype
    if output is None:
        return dtype
    if isinstance(output, (np.ndarray, Tracer)):
        reject_out(name, output)
    dtype = np.dtype(output)
    return dtypes.complex_dtype(dtype) if dtypes.is_complex(aval_of(x).dtype) else dtype


def working_dtype(*dtypes_in: Any) -> Any:
    """What is computed in: double precision, complex where an operand is."""
    return np.dtype(np.complex128 if any(dtypes.is_complex(d) for d in dtypes_in) else np.float64)


def rounded(x: Any, dtype: Any) -> Any:
    """Interpolated values in a dtype: integers are rounded to nearest, half away from zero, and limited to it."""
    if dtypes.is_inexact(dtype):
        return convert(x, dtype)
    if dtype.kind == "b":
        return lax.ne(convert(lax.trunc(lax.add(x, 0.5)), np.int64), 0)
    half = lax.add(x, lax.copysign(lax.full_like(x, 0.5), x))
    limits = np.iinfo(dtype)
    return convert(lax.clamp(float(limits.min), lax.trunc(half), float(limits.max)), dtype)


def for_axes(name: str, argument: str, value: Any, count: int) -> list[Any]:
    """One value for each of some axes: a number (or string) for all of them, or as many as there are."""
    if isinstance(value, str) or not is_sequence(value):
        return [value] * count
    values = list(value)
    if len(values) != count:
        raise errors.ArgumentError(
            f"{name}: {argument} must have one value for each of {count} axes, got {len(values)}"
        )
    return values


def filtered_axes(name: str, axes: Any, ndim: int) -> Sequence[int]:
    """The axes that a filter goes along."""
    return normalize_axes(name, axes, ndim, "axes")
