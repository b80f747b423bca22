"""Norms of vectors and matrices."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from functrans import errors, lax
from functrans.core import dtypes
from functrans.core.structural import convert, move_axis, rebox
from functrans.core.trace import Tracer, aval_of
from functrans.lax.linalg.svd import svdvals_p
from functrans.lax.static import normalize_axes, normalize_axis
from functrans.numpy import elementwise as ew
from functrans.numpy.arguments import NO_VALUE, concrete, keep_axes
from functrans.numpy.dispatch import implements, operand
from functrans.numpy.linalg.operands import two_axes
from functrans.numpy.reductions import squared_magnitude


def _inexact(name: str, x: Any) -> Any:
    x = operand(x, name)
    dtype = aval_of(x).dtype
    # NumPy takes the dtypes of ml_dtypes for integers here.
    return convert(x, dtype if dtypes.is_inexact(dtype) and not dtypes.is_extended(dtype) else np.float64)


def _total(x: Any, axes: tuple[int, ...], keepdims: bool = False) -> Any:
    return keep_axes(x, lax.reduce_sum(x, axes), axes, keepdims)


def _extreme(x: Any, axes: tuple[int, ...], largest: bool, keepdims: bool) -> Any:
    """The extremum of numbers that are not negative; the largest of none is 0."""
    ufunc, initial = (ew.maximum, 0) if largest else (ew.minimum, NO_VALUE)
    empty = 0 in [aval_of(x).shape[a] for a in axes]
    return ufunc.fold("norm", x, axes, None, None, keepdims, initial if empty else NO_VALUE, True)


def _powers(x: Any, ord: Any) -> Any:
    """``x ** ord`` for numbers that are not negative. Below 1 the slope at zero is infinite, and is taken to be 0."""
    if ord >= 1:
        return lax.scalar_pow(x, ord)
    zero = lax.eq(x, 0.0)
    power = lax.scalar_pow(lax.select(zero, 1.0, x), ord)
    return lax.select(zero, 0.0 if ord > 0 else math.inf, power)


def _vector_norm(x: Any, ord: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    if isinstance(ord, str):
        raise errors.ArgumentError(f"norm: ord={ord!r} is no norm of vectors; give a number, or two axes for a matrix")
    if isinstance(ord, Tracer):
        value = concrete(ord)
        if value is None or (np.isfinite(value) and value != 0):
            total = _total(ew.power(lax.abs(x), ord), axes, keepdims)
            return _inverse_power(total, ew.divide(1.0, ord), 0.0)
        ord = float(value)
    if ord is None or ord == 2:
        return lax.safe_sqrt(_total(squared_magnitude(x), axes, keepdims))
    if ord == 0:
        counted = convert(lax.ne(x, aval_of(x).dtype.type(0)), dtypes.real_dtype(aval_of(x).dtype))
        return _total(counted, axes, keepdims)
    size = lax.abs(x)
    if abs(ord) == math.inf:
        return _extreme(size, axes, ord > 0, keepdims)
    if ord == 1:
        return _total(size, axes, keepdims)
    total = _total(_powers(size, ord if isinstance(ord, int) else float(ord)), axes, keepdims)
    exponent = np.reciprocal(aval_of(total).dtype.type(ord))
    return _inverse_power(total, exponent, 0.0 if ord > 0 else math.inf)


def _inverse_power(total: Any, exponent: Any, limit: float) -> Any:
    """``total ** exponent``; at zero the limit, with the derivative 0, since a norm has no slope there."""
    dtype = aval_of(total).dtype
    zero = lax.eq(total, dtype.type(0))
    norm = ew.power(lax.select(zero, dtype.type(1), total), exponent)
    return rebox(lax.select(zero, aval_of(norm).dtype.type(limit), norm), "numpy")


def _spectral_norm(x: Any, ord: Any, row: int, column: int, keepdims: bool) -> Any:
    """The norms made of singular values. Those that are zero have no slope: it is taken to be 0."""
    ndim = aval_of(x).ndim
    columns = column - (column > row)
    y = move_axis(move_axis(x, row, -1), columns, -1)
    if aval_of(y).dtype not in (np.float32, np.float64, np.complex64, np.complex128):
        raise errors.DTypeError(f"norm: singular values of type {aval_of(x)} are not computed. Use x.astype(float)")
    s = svdvals_p.bind(y)
    s = lax.select(lax.eq(s, 0.0), 0.0, s)
    axes = (ndim - 2,)
    found = _total(s, axes, True) if ord == "nuc" else _extreme(s, axes, ord > 0, True)
    found = lax.squeeze(found, axes)
    if keepdims:
        found = lax.expand_dims(found, tuple(sorted((row, column))))
    return rebox(found, "numpy")


def _matrix_norm(x: Any, ord: Any, axes: Sequence[int], keepdims: bool) -> Any:
    if isinstance(ord, Tracer):
        raise errors.ArgumentError("norm: ord of the norm of a matrix says which norm it is, and cannot be traced")
    row, column = axes
    if ord in (None, "fro", "f"):
        return lax.safe_sqrt(_total(squared_magnitude(x), tuple(sorted(axes)), keepdims))
    if ord in (2, -2, "nuc"):
        return _spectral_norm(x, ord, row, column, keepdims)
    if ord not in (1, -1, math.inf, -math.inf):
        raise errors.ArgumentError(
            f"norm: ord={ord!r} is no norm of matrices; those are 'fro', 'nuc', 1, -1, 2, -2, inf and -inf"
        )
    summed, compared = (row, column) if abs(ord) == 1 else (column, row)
    sums = _total(lax.abs(x), (summed,), True)
    found = _extreme(sums, (compared,), ord > 0, True)
    return found if keepdims else rebox(lax.squeeze(found, tuple(sorted(axes))), "numpy")


@implements(np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """The norm of vectors along an axis, or of matrices along two; see ``numpy.linalg.norm``.

    Where a norm is zero its derivative is taken to be 0, to every order. Elements that tie for an extremum share it.
    The norm of a vector can be differentiated in ``ord`` too, which must be finite and not zero then.
    Where the largest singular value is not unique, the 2-norm's derivative is that of the mean of those that tie.

    >>> import functrans as ft, numpy as np
    >>> ft.grad(norm)(np.array([3.0, 4.0]))
    array([0.6, 0.8])
    >>> ft.grad(norm)(np.zeros(2))
    array([0., 0.])
    """
    x = _inexact("norm", x)
    ndim = aval_of(x).ndim
    plain = not isinstance(ord, Tracer) and (ord in (None, 2) if ndim == 1 else ord in (None, "f", "fro") and ndim == 2)
    if axis is None and (plain or ord is None):
        flat = lax.reshape(x, (aval_of(x).size,)) if ndim != 1 else x
        if dtypes.is_complex(aval_of(x).dtype):
            re, im = lax.real(flat), lax.imag(flat)
            square = lax.add(lax.dot(re, re), lax.dot(im, im))
        else:
            square = lax.dot(flat, flat)
        return keep_axes(x, lax.safe_sqrt(square), tuple(range(ndim)), keepdims)
    chosen = tuple(range(ndim)) if axis is None else axis if isinstance(axis, tuple) else (operator.index(axis),)
    if len(chosen) not in (1, 2):
        raise errors.ShapeError(
            f"norm: a vector has one axis and a matrix two, but axis={axis} of an array of type {aval_of(x)} gives "
            f"{len(chosen)}"
        )
    axes = tuple(normalize_axis("norm", a, ndim) for a in chosen)
    if len(axes) == 1:
        return _vector_norm(x, ord, axes, keepdims)
    if axes[0] == axes[1]:
        raise errors.ShapeError(f"norm: axis={axis} names an axis twice")
    return _matrix_norm(x, ord, axes, keepdims)


@implements(np.linalg.vector_norm)
def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    """The norm of the elements along axes, taken as one vector; see ``numpy.linalg.vector_norm`` and ``norm``."""
    x = _inexact("vector_norm", x)
    return _vector_norm(x, ord, normalize_axes("vector_norm", axis, aval_of(x).ndim, "axis"), keepdims)


@implements(np.linalg.matrix_norm)
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    """The norm of matrices in the last two axes; see ``numpy.linalg.matrix_norm`` and ``norm``."""
    x = _inexact("matrix_norm", x)
    two_axes("matrix_norm", x)
    return _matrix_norm(x, ord, (aval_of(x).ndim - 2, aval_of(x).ndim - 1), keepdims)
