"""Arguments that many functions share: axes, ``keepdims``, ``where``, and what must be known while tracing."""

from __future__ import annotations

import functools
import operator
from typing import Any

import numpy as np

from functrans import errors, lax
from functrans.core.structural import broadcast_shapes, rebox
from functrans.core.trace import Tracer, aval_of
from functrans.core.trace import known as inside
from functrans.lax.static import normalize_axes, normalize_axis
from functrans.numpy.dispatch import contains_tracer, operand

NO_VALUE: Any = np._NoValue
"""NumPy's default of arguments for which None is a value."""


def given(argument: Any) -> bool:
    """Whether an argument with the default ``NO_VALUE`` was passed."""
    return argument is not NO_VALUE


def reduction_axes(name: str, axis: Any, ndim: int) -> tuple[int, ...]:
    """The axes that a reduction reduces, in increasing order. A 0-d array has an axis 0 here, as in NumPy."""
    if ndim == 0 and not isinstance(axis, tuple) and axis is not None and operator.index(axis) in (0, -1):
        return ()
    return normalize_axes(name, axis, ndim, "axis")


def single_axis(name: str, axis: Any, ndim: int) -> int:
    """The axis of a function of one axis."""
    if isinstance(axis, tuple) and len(axis) == 1:
        (axis,) = axis
    return normalize_axis(name, axis, ndim)


def flag(keepdims: Any) -> bool:
    """``keepdims`` as a bool."""
    return given(keepdims) and bool(keepdims)


def keep_axes(x: Any, reduced: Any, axes: tuple[int, ...], keepdims: Any) -> Any:
    """A reduction's result with the reduced axes put back with extent 1, where asked for."""
    if not flag(keepdims):
        return rebox(reduced, "numpy")
    return rebox(lax.reshape(reduced, tuple(1 if i in axes else n for i, n in enumerate(aval_of(x).shape))), "numpy")


def mask_of(name: str, where: Any, shape: tuple[Any, ...]) -> Any:
    """The argument ``where`` of a reduction: None, or booleans that broadcast to ``shape``."""
    if where is True or where is NO_VALUE:
        return None
    mask = operand(where, name)
    aval = aval_of(mask)
    if aval.dtype != bool:
        raise errors.DTypeError(f"{name}: where must hold booleans, got {aval}. Write where=mask != 0")
    if aval.ndim > len(shape) or broadcast_shapes(name, aval.shape, shape) != shape:
        raise errors.ShapeError(
            f"{name}: where has shape {aval.shape}, which does not broadcast to that of the array, {shape}"
        )
    return mask


def concrete(x: Any) -> Any:
    """The value of an array or tracer as a NumPy array; None where it is not known while tracing."""
    if isinstance(x, Tracer):
        x = x._trace.concrete(x)
        return None if x is None else np.asarray(x)
    return None if contains_tracer(x) else np.asarray(x)


def known(name: str, what: str, x: Any, mend: str) -> Any:
    """The value of an argument on which the shape of a result depends.

    Raises:
        ConcretizationError: it is not known while tracing.
    """
    value = inside(operand(x, name))
    if value is None:
        origin = f"{x.describe_origin()}" if isinstance(x, Tracer) else ""
        raise errors.ConcretizationError(
            f"{name}: the shape of the result depends on the contents of {what}, a traced value of type "
            f"{aval_of(operand(x, name))}, which are not known while its function is being traced. {origin}{mend}"
        )
    return np.asarray(value)


def since(version: str, name: str) -> Any:
    """NumPy's function of that name; in a NumPy older than ``version``, one that says so."""

    def absent(*args: Any, **kwargs: Any) -> Any:
        raise errors.ArgumentError(f"numpy.{name} came with NumPy {version}, and NumPy {np.__version__} is installed")

    absent.__name__ = name
    return getattr(np, name, absent)


def sized(function: Any) -> Any:
    """A function whose result has a shape that depends on data, with ``size=`` and ``fill_value=`` to fix it.

    Without ``size`` it is NumPy's function, or ours on values that are known while tracing.
    """

    @functools.wraps(function)
    def call(*args: Any, size: int | None = None, fill_value: Any = None, **kwargs: Any) -> Any:
        if size is None:
            return function(*args, **kwargs)
        return function.__wrapped__(*args, size=operator.index(size), fill_value=fill_value, **kwargs)

    return call
