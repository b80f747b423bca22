"""Reductions: sums, extrema, means and what is built on them."""

from __future__ import annotations

from typing import Any

import numpy as np

from functrans import lax
from functrans.core import dtypes
from functrans.core.structural import broadcast, convert, rebox
from functrans.core.trace import aval_of
from functrans.lax.static import normalize_axes, normalize_axis
from functrans.numpy import elementwise as ew
from functrans.numpy.dispatch import implements, operand, reject_out

NO_VALUE: Any = np._NoValue  # type: ignore[attr-defined]


def keep_axes(x: Any, reduced: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    """A reduction's result with the reduced axes put back with extent 1, where asked for."""
    if not keepdims or keepdims is NO_VALUE:
        return reduced
    shape = tuple(1 if i in axes else n for i, n in enumerate(aval_of(x).shape))
    return lax.reshape(reduced, shape)


def masked(x: Any, where: Any, neutral: Any) -> Any:
    """``x`` with the neutral element of a reduction where the mask excludes it."""
    if where is True or where is NO_VALUE:
        return x
    aval = aval_of(x)
    return lax.where(operand(where), x, np.asarray(neutral, aval.dtype)[()])


def _accumulator(x: Any, dtype: Any) -> Any:
    """The operand in the dtype that NumPy accumulates sums and products in."""
    aval = aval_of(x)
    if dtype is not None:
        return convert(x, np.dtype(dtype))
    return convert(x, np.add.reduce(np.zeros(1, aval.dtype)).dtype)


@implements(np.sum)
def sum(
    a: Any, axis: Any = None, dtype: Any = None, out: None = None, keepdims: Any = NO_VALUE, initial: Any = NO_VALUE,
    where: Any = NO_VALUE,
) -> Any:  # fmt: skip
    """The sum over axes; see ``numpy.sum``."""
    reject_out("sum", out)
    x = _accumulator(operand(a, "sum"), dtype)
    axes = normalize_axes("sum", axis, aval_of(x).ndim)
    total = lax.reduce_sum(masked(x, where, 0), axes) if axes else rebox(masked(x, where, 0), "numpy")
    if initial is not NO_VALUE:
        total = ew.add(total, initial)
    return keep_axes(x, total, axes, keepdims)


@implements(np.prod)
def prod(
    a: Any, axis: Any = None, dtype: Any = None, out: None = None, keepdims: Any = NO_VALUE, initial: Any = NO_VALUE,
    where: Any = NO_VALUE,
) -> Any:  # fmt: skip
    """The product over axes; see ``numpy.prod``. Its derivative is right where factors are zero."""
    reject_out("prod", out)
    x = _accumulator(operand(a, "prod"), dtype)
    axes = normalize_axes("prod", axis, aval_of(x).ndim)
    total = lax.reduce_prod(masked(x, where, 1), axes) if axes else rebox(masked(x, where, 1), "numpy")
    if initial is not NO_VALUE:
        total = ew.multiply(total, initial)
    return keep_axes(x, total, axes, keepdims)


def _extremum(name: str, reduce: Any, pair: Any, a: Any, axis: Any, keepdims: Any, initial: Any, where: Any) -> Any:
    x = operand(a, name)
    x = convert(x, aval_of(x).dtype)
    axes = normalize_axes(name, axis, aval_of(x).ndim)
    if where is not NO_VALUE and where is not True:
        if initial is NO_VALUE:
            raise ValueError(f"reduction operation '{name}' does not have an identity, so to use a where mask one has to specify 'initial'")
        x = masked(x, where, initial)
    if initial is not NO_VALUE and 0 in [aval_of(x).shape[i] for i in axes]:
        kept = tuple(n for i, n in enumerate(aval_of(x).shape) if i not in axes)
        found = lax.full(kept, initial, aval_of(x).dtype)
    else:
        found = reduce(x, axes) if axes else rebox(x, "numpy")
        if initial is not NO_VALUE:
            found = pair(found, initial)
    return keep_axes(x, found, axes, keepdims)


@implements(np.max, np.amax)
def max(
    a: Any, axis: Any = None, out: None = None, keepdims: Any = NO_VALUE, initial: Any = NO_VALUE, where: Any = NO_VALUE
) -> Any:
    """The maximum over axes; see ``numpy.max``. Where elements tie, they share the derivative evenly."""
    reject_out("max", out)
    return _extremum("maximum", lax.reduce_max, ew.maximum, a, axis, keepdims, initial, where)


@implements(np.min, np.amin)
def min(
    a: Any, axis: Any = None, out: None = None, keepdims: Any = NO_VALUE, initial: Any = NO_VALUE, where: Any = NO_VALUE
) -> Any:
    """The minimum over axes; see ``numpy.min``. Where elements tie, they share the derivative evenly."""
    reject_out("min", out)
    return _extremum("minimum", lax.reduce_min, ew.minimum, a, axis, keepdims, initial, where)


amax, amin = max, min


def _truth(x: Any) -> Any:
    return x if aval_of(x).dtype == bool else ew.not_equal(x, aval_of(x).dtype.type(0))


@implements(np.any)
def any(a: Any, axis: Any = None, out: None = None, keepdims: Any = NO_VALUE, *, where: Any = NO_VALUE) -> Any:
    """Whether any element is true; see ``numpy.any``."""
    reject_out("any", out)
    x = masked(_truth(operand(a, "any")), where, False)
    axes = normalize_axes("any", axis, aval_of(x).ndim)
    return keep_axes(x, lax.reduce_any(x, axes) if axes else rebox(x, "numpy"), axes, keepdims)


@implements(np.all)
def all(a: Any, axis: Any = None, out: None = None, keepdims: Any = NO_VALUE, *, where: Any = NO_VALUE) -> Any:
    """Whether all elements are true; see ``numpy.all``."""
    reject_out("all", out)
    x = masked(_truth(operand(a, "all")), where, True)
    axes = normalize_axes("all", axis, aval_of(x).ndim)
    return keep_axes(x, lax.reduce_all(x, axes) if axes else rebox(x, "numpy"), axes, keepdims)


def _arg(name: str, find: Any, a: Any, axis: Any, keepdims: Any) -> Any:
    x = operand(a, name)
    shape = aval_of(x).shape
    if axis is None or not shape:
        found = find(lax.reshape(x, (aval_of(x).size,)), 0)
        return lax.reshape(found, (1,) * len(shape)) if keepdims is True else found
    axis = normalize_axis(name, axis, len(shape))
    return keep_axes(x, find(x, axis), (axis,), keepdims)


@implements(np.argmax)
def argmax(a: Any, axis: Any = None, out: None = None, *, keepdims: Any = NO_VALUE) -> Any:
    """The index of the (first) maximum; see ``numpy.argmax``."""
    reject_out("argmax", out)
    return _arg("argmax", lax.argmax, a, axis, keepdims)


@implements(np.argmin)
def argmin(a: Any, axis: Any = None, out: None = None, *, keepdims: Any = NO_VALUE) -> Any:
    """The index of the (first) minimum; see ``numpy.argmin``."""
    reject_out("argmin", out)
    return _arg("argmin", lax.argmin, a, axis, keepdims)


def _count(x: Any, axes: tuple[int, ...], where: Any, keepdims: bool) -> Any:
    """How many elements each result is made from."""
    shape = aval_of(x).shape
    if where is NO_VALUE or where is True:
        n = 1
        for i in axes:
            n *= shape[i]
        return n
    mask = broadcast(operand(where), shape, range(len(shape) - aval_of(operand(where)).ndim, len(shape)))
    return keep_axes(x, lax.reduce_sum(convert(mask, np.intp), axes), axes, keepdims)


@implements(np.mean)
def mean(
    a: Any, axis: Any = None, dtype: Any = None, out: None = None, keepdims: Any = NO_VALUE, *, where: Any = NO_VALUE
) -> Any:
    """The mean over axes; see ``numpy.mean``. Integers are averaged in float64, float16 is accumulated in float32."""
    reject_out("mean", out)
    x = operand(a, "mean")
    aval = aval_of(x)
    half = dtype is None and aval.dtype == np.float16
    if dtype is None and dtypes.kind(aval.dtype) in "biu":
        dtype = np.float64
    x = convert(x, np.float32 if half else np.dtype(dtype) if dtype is not None else aval.dtype)
    axes = normalize_axes("mean", axis, aval.ndim)
    total = sum.__wrapped__(x, axes, None, None, keepdims, where=where)  # type: ignore[attr-defined]
    count = _count(x, axes, where, keepdims is True)
    result = lax.div(total, float(count)) if isinstance(count, int) else ew.true_divide(total, count)
    if dtypes.kind(aval_of(total).dtype) == "f" and aval_of(result).dtype != aval_of(total).dtype:
        result = convert(result, aval_of(total).dtype)
    return convert(result, np.float16) if half else result


@implements(np.var)
def var(
    a: Any, axis: Any = None, dtype: Any = None, out: None = None, ddof: float = 0, keepdims: Any = NO_VALUE, *,
    where: Any = NO_VALUE, mean: Any = NO_VALUE, correction: Any = NO_VALUE,
) -> Any:  # fmt: skip
    """The variance over axes; see ``numpy.var``."""
    reject_out("var", out)
    if correction is not NO_VALUE:
        ddof = correction
    x = operand(a, "var")
    aval = aval_of(x)
    half = dtype is None and aval.dtype == np.float16
    if dtype is None and dtypes.kind(aval.dtype) in "biu":
        dtype = np.float64
    x = convert(x, np.float32 if half else np.dtype(dtype) if dtype is not None else aval.dtype)
    axes = normalize_axes("var", axis, aval.ndim)
    center = mean
    if center is NO_VALUE:
        center = _mean(x, axes, keepdims=True, where=where)
    deviation = ew.subtract(x, center)
    if dtypes.is_complex(aval_of(x).dtype):
        squared = ew.add(ew.square(lax.real(deviation)), ew.square(lax.imag(deviation)))
    else:
        squared = ew.multiply(deviation, deviation)
    total = sum.__wrapped__(squared, axes, None, None, keepdims, where=where)  # type: ignore[attr-defined]
    count = _count(x, axes, where, keepdims is True)
    if isinstance(count, int):
        divisor: Any = float(count - ddof if count > ddof else 0)
        result = lax.div(total, divisor)
    else:
        result = ew.true_divide(total, ew.maximum(ew.subtract(count, ddof), 0))
        result = convert(result, aval_of(total).dtype)
    return convert(result, np.float16) if half else result


_mean = mean.__wrapped__  # type: ignore[attr-defined]


@implements(np.std)
def std(
    a: Any, axis: Any = None, dtype: Any = None, out: None = None, ddof: float = 0, keepdims: Any = NO_VALUE, *,
    where: Any = NO_VALUE, mean: Any = NO_VALUE, correction: Any = NO_VALUE,
) -> Any:  # fmt: skip
    """The standard deviation over axes; see ``numpy.std``."""
    half = dtype is None and aval_of(operand(a, "std")).dtype == np.float16
    inner = convert(operand(a), np.float32) if half else a
    variance = var.__wrapped__(  # type: ignore[attr-defined]
        inner, axis, dtype, out, ddof, keepdims, where=where, mean=mean, correction=correction
    )
    result = ew.sqrt(variance)
    return convert(result, np.float16) if half else result
