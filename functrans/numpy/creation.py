"""Arrays made from nothing, or from lists, numbers and other arrays.

Under a transformation every one of them is traced, also where its arguments are not: a table made by ``array`` can be
indexed by a traced integer, and ``zeros`` leaves no large constant in a compiled function.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from functrans import errors, lax
from functrans.core import dtypes
from functrans.core.structural import broadcast_shapes, convert, move_axis, rebox
from functrans.core.trace import Tracer, aval_of, current_trace
from functrans.lax.diagonal import diagonal, embed_diagonal
from functrans.lax.static import normalize_axis, normalize_shape
from functrans.numpy import elementwise as ew
from functrans.numpy.dispatch import contains_tracer, implements, operand
from functrans.numpy.manipulation import ravel

# -- from data -------------------------------------------------------------------------------------------------


def constant(value: Any, fixed: bool = False) -> Any:
    """A concrete array as an operand of the running transformation; ``fixed`` if nobody else holds it."""
    trace = current_trace()
    return value if trace is None or isinstance(value, Tracer) else trace.constant(value, fixed)


def _from_object(name: str, obj: Any, dtype: Any) -> Any:
    """An array of the elements of an object, in the dtype asked for."""
    if not isinstance(obj, Tracer) and not contains_tracer(obj):
        array = np.asarray(obj, dtype)
        dtypes.canonical(array.dtype)
        return constant(array, fixed=isinstance(obj, (list, tuple, int, float, complex, np.generic)))
    x = operand(obj, name)
    return rebox(x if dtype is None else convert(x, dtype), "array")


@implements(np.array)
def array(
    object: Any,
    dtype: Any = None,
    *,
    copy: bool | None = True,
    order: str | None = "K",
    subok: bool = False,
    ndmin: int = 0,
    ndmax: int = 0,
    like: Any = None,
) -> Any:
    """An array of the elements of an object: numbers, arrays, nested lists of them; see ``numpy.array``."""
    x = _from_object("array", object, dtype)
    if copy and not isinstance(x, Tracer):
        x = lax.copy(x)
    missing = ndmin - aval_of(x).ndim
    return x if missing <= 0 else lax.expand_dims(x, tuple(range(missing)))


@implements(np.asarray, np.asanyarray)
def asarray(
    a: Any,
    dtype: Any = None,
    order: str | None = None,
    *,
    device: str | None = None,
    copy: bool | None = None,
    like: Any = None,
) -> Any:
    """An array-like as an array; see ``numpy.asarray``."""
    return array(a, dtype, copy=copy)


asanyarray = asarray


@implements(np.ascontiguousarray, np.asfortranarray)
def ascontiguousarray(a: Any, dtype: Any = None, *, like: Any = None) -> Any:
    """An array-like as an array with at least one axis; see ``numpy.ascontiguousarray``."""
    return array(a, dtype, copy=None, ndmin=1)


asfortranarray = ascontiguousarray


@implements(np.require)
def require(a: Any, dtype: Any = None, requirements: Any = None, *, like: Any = None) -> Any:
    """An array-like as an array; a traced one has no layout that could be required; see ``numpy.require``."""
    return array(a, dtype, copy=None)


@implements(np.asarray_chkfinite)
def asarray_chkfinite(a: Any, dtype: Any = None, order: Any = None) -> Any:
    """An array-like as an array, an error if it holds NaN or an infinity; see ``numpy.asarray_chkfinite``."""
    x = asarray(a, dtype)
    if dtypes.is_inexact(aval_of(x).dtype) and not bool(
        lax.reduce_all(lax.is_finite(x), tuple(range(aval_of(x).ndim)))
    ):
        raise ValueError("asarray_chkfinite: the array holds NaN or an infinity")
    return x


@implements(np.copy)
def copy(a: Any, order: str = "K", subok: bool = False) -> Any:
    """A fresh array with the same elements; see ``numpy.copy``."""
    return array(a)


def concrete_function(original: Callable[..., Any], doc: str) -> Any:
    """A function whose arguments hold no arrays: it runs at once, and its result is a constant."""

    def function(*args: Any, **kwargs: Any) -> Any:
        return constant(original(*args, **kwargs))

    function.__name__ = original.__name__
    function.__doc__ = f"{doc}; see ``numpy.{original.__name__}``."
    function.__wrapped__ = original  # type: ignore[attr-defined] # inspect shows its signature.
    return implements(original)(function)


frombuffer = concrete_function(np.frombuffer, "An array over the bytes of a buffer")
from_dlpack = concrete_function(np.from_dlpack, "An array over the memory of another library's")
fromiter = concrete_function(np.fromiter, "A vector of the items of an iterable")
fromstring = concrete_function(np.fromstring, "A vector read from text")
fromfile = concrete_function(np.fromfile, "An array read from a file")
loadtxt = concrete_function(np.loadtxt, "An array read from a text file")
genfromtxt = concrete_function(np.genfromtxt, "An array read from a text file with gaps")

# -- constants -------------------------------------------------------------------------------------------------


@implements(np.zeros, np.empty)
def zeros(shape: Any, dtype: Any = float, order: str = "C", *, device: Any = None, like: Any = None) -> Any:
    """An array of zeros; see ``numpy.zeros``."""
    return lax.zeros(shape, dtype)


empty = zeros


@implements(np.ones)
def ones(shape: Any, dtype: Any = None, order: str = "C", *, device: Any = None, like: Any = None) -> Any:
    """An array of ones; see ``numpy.ones``."""
    return lax.ones(shape, np.float64 if dtype is None else dtype)


def _filled(name: str, shape: Any, fill_value: Any, dtype: Any) -> Any:
    value = operand(fill_value, name)
    value = convert(value, aval_of(value).dtype if dtype is None else dtype)
    extents = normalize_shape(name, shape)
    if aval_of(value).shape == ():
        return lax.full(extents, value)
    return lax.broadcast_to(value, extents)


@implements(np.full)
def full(
    shape: Any, fill_value: Any, dtype: Any = None, order: str = "C", *, device: Any = None, like: Any = None
) -> Any:
    """An array filled with a value, which broadcasts; see ``numpy.full``."""
    return _filled("full", shape, fill_value, dtype)


def _like(name: str, a: Any, fill_value: Any, dtype: Any, shape: Any) -> Any:
    aval = aval_of(operand(a, name))
    return _filled(name, aval.shape if shape is None else shape, fill_value, aval.dtype if dtype is None else dtype)


@implements(np.zeros_like, np.empty_like)
def zeros_like(
    a: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, *, device: Any = None
) -> Any:
    """Zeros of the shape and dtype of an array; see ``numpy.zeros_like``."""
    return _like("zeros_like", a, 0, dtype, shape)


empty_like = zeros_like


@implements(np.ones_like)
def ones_like(
    a: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, *, device: Any = None
) -> Any:
    """Ones of the shape and dtype of an array; see ``numpy.ones_like``."""
    return _like("ones_like", a, 1, dtype, shape)


@implements(np.full_like)
def full_like(
    a: Any,
    fill_value: Any,
    dtype: Any = None,
    order: str = "K",
    subok: bool = True,
    shape: Any = None,
    *,
    device: Any = None,
) -> Any:
    """An array of the shape and dtype of another, filled with a value; see ``numpy.full_like``."""
    return _like("full_like", a, fill_value, dtype, shape)


# -- ranges ----------------------------------------------------------------------------------------------------


@implements(np.arange)
def arange(
    start: Any, stop: Any = None, step: Any = 1, dtype: Any = None, *, device: Any = None, like: Any = None
) -> Any:
    """Evenly spaced numbers of a half-open interval; see ``numpy.arange``. Its length must be known while tracing."""
    step = 1 if step is None else step
    given = [start, stop, step] if stop is not None else [0, start, step]
    if not any(isinstance(v, Tracer) and dtypes.is_inexact(v.dtype) for v in given):
        return lax.arange(*given, dtype=dtype)
    first, last, by = map(_known_number, given)
    if by == 0:
        raise errors.ShapeError("arange: step must not be zero")
    target = dtypes.result_type(np.dtype(np.int64), *(aval_of(v).dtype for v in given))
    count = max(0, math.ceil((last - first) / by))
    low, following = (
        convert(given[0], target),
        convert(lax.add(convert(given[0], target), convert(step, target)), target),
    )
    # As NumPy does: the step is the difference of the first two numbers after rounding.
    out = lax.add(low, lax.mul(lax.iota(target, (count,)), lax.sub(following, low)))
    return out if dtype is None else convert(out, dtype)


def _known_number(value: Any) -> float:
    while isinstance(value, Tracer):
        inside = value._trace.concrete(value)
        missing = errors.TracerConversionError
        value = value._trace.need(value, missing, "the length of arange") if inside is None else inside
    return float(value)


def _linspace_dtype(start: Any, stop: Any) -> Any:
    kinds = [
        {"i": int, "f": float, "c": complex}[a.dtype.kind] if a.weak else a.dtype for a in map(aval_of, (start, stop))
    ]
    target = dtypes.result_type(*kinds)
    return target if dtypes.is_inexact(target) else dtypes.result_type(target, np.dtype(np.float64))


@implements(np.linspace)
def linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
    *,
    device: Any = None,
) -> Any:
    """``num`` evenly spaced numbers from ``start`` to ``stop``; see ``numpy.linspace``."""
    start, stop = operand(start, "linspace"), operand(stop, "linspace")
    target = _linspace_dtype(start, stop)
    start, stop = convert(start, target), convert(stop, target)
    out = lax.linspace(start, stop, num, endpoint=bool(endpoint), axis=axis)
    if dtype is not None:
        if np.dtype(dtype).kind in "iu":
            out = lax.floor(out)
        out = convert(out, dtype)
    if not retstep:
        return out
    intervals = operator.index(num) - bool(endpoint)
    delta = lax.sub(stop, start)
    return out, (lax.div(delta, intervals) if intervals > 0 else lax.full(aval_of(delta).shape, math.nan))


@implements(np.logspace)
def logspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    base: Any = 10.0,
    dtype: Any = None,
    axis: int = 0,
) -> Any:
    """``base`` to the power of ``num`` evenly spaced numbers; see ``numpy.logspace``."""
    start, stop, base = operand(start, "logspace"), operand(stop, "logspace"), operand(base, "logspace")
    if aval_of(base).ndim:
        shape = broadcast_shapes("logspace", *(aval_of(v).shape for v in (start, stop, base)))
        start, stop = lax.broadcast_to(start, shape), lax.broadcast_to(stop, shape)
        base = lax.expand_dims(lax.broadcast_to(base, shape), axis)
    out = ew.power(base, linspace(start, stop, num, endpoint, axis=axis))
    return out if dtype is None else convert(out, dtype)


@implements(np.geomspace)
def geomspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0) -> Any:
    """``num`` numbers from ``start`` to ``stop`` of which each is a multiple of the last; see ``numpy.geomspace``.

    Like ``numpy.geomspace`` it has no value where an end is zero; traced ends give NaN there.
    """
    start, stop = operand(start, "geomspace"), operand(stop, "geomspace")
    for name, end in (("start", start), ("stop", stop)):
        if not isinstance(end, Tracer) and np.any(end == 0):
            raise ValueError(f"geomspace: {name} must not be zero, got {end}")
    target = dtypes.result_type(_linspace_dtype(start, stop), *(() if dtype is None else (np.dtype(dtype),)))
    start, stop = convert(start, target), convert(stop, target)
    # A complex spiral is turned so that it starts on the positive real line: its logarithm has no branch cut then.
    turn = ew.sign(start)
    first, last = ew.divide(start, turn), ew.divide(stop, turn)
    out = logspace(ew.log10(first), ew.log10(last), num, endpoint)
    count = operator.index(num)
    ends = broadcast_shapes("geomspace", aval_of(first).shape, aval_of(last).shape)
    pieces = [lax.expand_dims(lax.broadcast_to(first, ends), 0)] if count else []
    if count > 1:
        pieces.append(lax.slice_in_dim(out, 1, count - 1 if endpoint else count))
        if endpoint:
            pieces.append(lax.expand_dims(lax.broadcast_to(last, ends), 0))
    out = ew.multiply(lax.concatenate(pieces, 0) if pieces else out, turn)
    out = move_axis(out, 0, normalize_axis("geomspace", axis, len(ends) + 1))
    return out if dtype is None else convert(out, dtype)


# -- grids -----------------------------------------------------------------------------------------------------


@implements(np.meshgrid)
def meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> Any:
    """Coordinate arrays of a grid, from vectors of coordinates; see ``numpy.meshgrid``."""
    if indexing not in ("xy", "ij"):
        raise errors.ArgumentError(f"meshgrid: indexing must be 'xy' or 'ij', got {indexing!r}")
    n = len(xi)
    axes = [1, 0, *range(2, n)] if indexing == "xy" and n > 1 else list(range(n))
    vectors = [ravel(x) for x in xi]
    grids = [
        lax.reshape(v, tuple(aval_of(v).size if d == axis else 1 for d in range(n)))
        for v, axis in zip(vectors, axes, strict=True)
    ]
    if sparse or not grids:
        return tuple(grids)
    whole = broadcast_shapes("meshgrid", *(aval_of(g).shape for g in grids))
    return tuple(lax.broadcast_to(g, whole) for g in grids)


@implements(np.indices)
def indices(dimensions: Any, dtype: Any = int, sparse: bool = False) -> Any:
    """The indices of every element of a grid; see ``numpy.indices``."""
    shape = normalize_shape("indices", dimensions)
    if sparse:
        return tuple(
            lax.iota(dtype, tuple(extent if d == axis else 1 for d in range(len(shape))), axis)
            for axis, extent in enumerate(shape)
        )
    if not shape:
        return lax.zeros((0,), dtype)
    return lax.concatenate([lax.iota(dtype, (1, *shape), axis + 1) for axis in range(len(shape))], 0)


@implements(np.fromfunction)
def fromfunction(
    function: Callable[..., Any], shape: Any, *, dtype: Any = float, like: Any = None, **kwargs: Any
) -> Any:
    """What a function makes of the arrays of indices of a grid; see ``numpy.fromfunction``."""
    extents = normalize_shape("fromfunction", shape)
    return function(*(lax.iota(dtype, extents, axis) for axis in range(len(extents))), **kwargs)


# -- matrices --------------------------------------------------------------------------------------------------


@implements(np.eye)
def eye(
    N: int,
    M: int | None = None,
    k: int = 0,
    dtype: Any = float,
    order: str = "C",
    *,
    device: Any = None,
    like: Any = None,
) -> Any:
    """Ones on a diagonal; see ``numpy.eye``."""
    return lax.eye(N, M, k, dtype)


@implements(np.identity)
def identity(n: int, dtype: Any = None, *, like: Any = None) -> Any:
    """The identity matrix; see ``numpy.identity``."""
    return lax.eye(n, n, 0, float if dtype is None else dtype)


@implements(np.tri)
def tri(N: int, M: int | None = None, k: int = 0, dtype: Any = float, *, like: Any = None) -> Any:
    """Ones on and below a diagonal; see ``numpy.tri``."""
    return lax.tri(N, M, k, dtype)


def _triangle(name: str, m: Any, k: int, upper: bool) -> Any:
    x = operand(m, name)
    shape = aval_of(x).shape
    if not shape:
        raise errors.ShapeError(f"{name}: an array with an axis or more is needed, got {aval_of(x)}")
    zero = aval_of(x).dtype.type(0)
    rows, columns = shape[-2:] if len(shape) > 1 else shape * 2
    mask = lax.tri(rows, columns, k - 1 if upper else k, bool)
    return lax.select(mask, zero, x) if upper else lax.select(mask, x, zero)


@implements(np.tril)
def tril(m: Any, k: int = 0) -> Any:
    """The elements on and below a diagonal, zero above it; see ``numpy.tril``."""
    return _triangle("tril", m, k, False)


@implements(np.triu)
def triu(m: Any, k: int = 0) -> Any:
    """The elements on and above a diagonal, zero below it; see ``numpy.triu``."""
    return _triangle("triu", m, k, True)


@implements(np.diag)
def diag(v: Any, k: int = 0) -> Any:
    """The diagonal of a matrix, or the matrix with a given diagonal; see ``numpy.diag``."""
    x = operand(v, "diag")
    n = aval_of(x).ndim
    if n not in (1, 2):
        raise errors.ShapeError(f"diag: a vector or a matrix is needed, got {aval_of(x)}. Write diagonal for more axes")
    return embed_diagonal(x, k) if n == 1 else diagonal(x, k)


@implements(np.diagflat)
def diagflat(v: Any, k: int = 0) -> Any:
    """The matrix with the elements of an array along a diagonal; see ``numpy.diagflat``."""
    return embed_diagonal(ravel(v), k)


@implements(np.vander)
def vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    """The powers of the elements of a vector, as columns; see ``numpy.vander``."""
    x = operand(x, "vander")
    aval = aval_of(x)
    if aval.ndim != 1:
        raise errors.ShapeError(f"vander: a vector is needed, got {aval}")
    columns = aval.size if N is None else operator.index(N)
    target = dtypes.result_type(aval.dtype, np.dtype(np.int64))
    parts = [lax.ones((aval.size, min(columns, 1)), target)]
    if columns > 1:
        rows = lax.broadcast_in_dim(convert(x, target), (aval.size, columns - 1), (0,))
        parts.append(lax.cumprod(rows, 1))
    out = lax.concatenate(parts, 1)
    return out if increasing else lax.rev(out, (1,))
