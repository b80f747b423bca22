"""Picking elements by index, writing them functionally, and the indices of diagonals, triangles and grids."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from functrans import errors, lax
from functrans.core.structural import broadcast_shapes, convert, rebox
from functrans.core.trace import Tracer, aval_of, current_trace
from functrans.lax import at as at
from functrans.lax.diagonal import diagonal as _diagonal
from functrans.lax.static import normalize_shape
from functrans.numpy import elementwise as ew
from functrans.numpy.dispatch import functions, implements, operand, reject_out
from functrans.numpy.manipulation import check_order

# -- reading ---------------------------------------------------------------------------------------------------


def _indices(indices: Any, name: str) -> Any:
    """Index arrays, with booleans as the integers that NumPy takes them for."""
    x = operand(indices, name)
    dtype = aval_of(x).dtype
    return convert(x, np.intp) if dtype.kind == "b" or (not aval_of(x).size and dtype.kind == "f") else x


@implements(np.take)
def take(
    a: Any, indices: Any, axis: int | None = None, out: None = None, mode: str = "raise", *, fill_value: Any = None
) -> Any:
    """Elements along an axis by their indices; see ``numpy.take`` and ``functrans.lax.take``."""
    reject_out("take", out)
    return rebox(lax.take(operand(a, "take"), _indices(indices, "take"), axis, mode, fill_value), "numpy")


@implements(np.take_along_axis)
def take_along_axis(arr: Any, indices: Any, axis: int | None = -1, *, mode: str | None = None) -> Any:
    """Elements by indices that run along an axis; see ``numpy.take_along_axis``."""
    x, indices = operand(arr, "take_along_axis"), operand(indices, "take_along_axis")
    return lax.take_along_axis(x, indices, axis, mode)


@implements(np.diagonal)
def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The diagonal of two axes; see ``numpy.diagonal``."""
    return _diagonal(operand(a, "diagonal"), operator.index(offset), axis1, axis2)


# -- writing: the functions that change their first argument, and their functional form ------------------------


def _in_place(original: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """NumPy's function, which writes into its argument, and with ``inplace=False`` one that gives a new array."""
    name = original.__name__

    def decorate(functional: Callable[..., Any]) -> Callable[..., Any]:
        def function(*args: Any, inplace: bool = True, **kwargs: Any) -> Any:
            if not inplace:
                return functional(*args, **kwargs)
            if current_trace() is None:
                return original(*args, **kwargs)
            raise errors.DetachedWriteError(
                f"{name}: a traced value cannot be written into an array, nor a traced array written to: the "
                f"derivative would be lost. Write x = functrans.numpy.{name}(x, ..., inplace=False). In a function "
                f"decorated with @functrans.numpy_code, buffers made by NumPy may be written to"
            )

        function.__name__ = function.__qualname__ = name
        function.__doc__ = functional.__doc__
        functions[original] = function
        return function

    return decorate


@_in_place(np.put_along_axis)
def put_along_axis(arr: Any, indices: Any, values: Any, axis: int | None = -1) -> Any:
    """Values written at indices that run along an axis; see ``numpy.put_along_axis``.

    NumPy's function changes ``arr``; with ``inplace=False`` this one returns a new array, also when traced.

    >>> put_along_axis(np.zeros((2, 2)), np.array([[1], [0]]), 5.0, axis=1, inplace=False)
    array([[0., 5.],
           [5., 0.]])
    """
    x, indices = operand(arr, "put_along_axis"), operand(indices, "put_along_axis")
    return lax.put_along_axis(x, indices, operand(values, "put_along_axis"), axis)


def _cycled(name: str, values: Any, count: int) -> Any:
    """The values, over and over again until there are ``count`` of them."""
    v = operand(values, name)
    size = aval_of(v).size
    v = lax.reshape(v, (size,))
    if not size and count:
        raise errors.ShapeError(f"{name}: there are no values to be written into {count} places")
    if size in (1, count):
        return lax.broadcast_to(v, (count,))
    return lax.slice_in_dim(lax.tile(v, (-(-count // size),)), 0, count)


@_in_place(np.put)
def put(a: Any, ind: Any, v: Any, mode: str = "raise") -> Any:
    """Values written at indices into the elements in C order; see ``numpy.put``.

    NumPy's function changes ``a``; with ``inplace=False`` this one returns a new array, also when traced.

    >>> put(np.zeros((2, 2)), [1, 2], 5.0, inplace=False)
    array([[0., 5.],
           [5., 0.]])
    """
    x, places = operand(a, "put"), _indices(ind, "put")
    shape, size = aval_of(x).shape, aval_of(x).size
    if mode == "clip":
        places = ew.maximum(places, 0)
    places = lax.reshape(places, (aval_of(places).size,))
    values = _cycled("put", v, aval_of(places).size)
    return lax.reshape(at(lax.reshape(x, (size,)))[places].set(values, mode=mode), shape)


@_in_place(np.place)
def place(arr: Any, mask: Any, vals: Any) -> Any:
    """Values written one after the other where a mask holds; see ``numpy.place``.

    NumPy's function changes ``arr``; with ``inplace=False`` this one returns a new array, also when traced.

    >>> place(np.zeros(4), np.array([True, False, True, True]), [1.0, 2.0], inplace=False)
    array([1., 0., 2., 1.])
    """
    x, vals, mask = operand(arr, "place"), operand(vals, "place"), operand(mask, "place")
    shape, count = aval_of(x).shape, aval_of(vals).size
    chosen = lax.reshape(ew.not_equal(mask, 0), (aval_of(x).size,))
    if not count:
        raise errors.ShapeError("place: there are no values to be written")
    # The number of places before each one says which value it takes.
    turn = lax.sub(lax.cumsum(convert(chosen, np.int64), 0), 1)
    values = lax.take(lax.reshape(vals, (count,)), lax.remainder(turn, count))
    flat = lax.reshape(x, (aval_of(x).size,))
    return lax.reshape(lax.select(chosen, convert(values, aval_of(x).dtype), convert(flat, aval_of(x).dtype)), shape)


@_in_place(np.putmask)
def putmask(a: Any, mask: Any, values: Any) -> Any:
    """Values written where a mask holds, each at its own place; see ``numpy.putmask``.

    NumPy's function changes ``a``; with ``inplace=False`` this one returns a new array, also when traced.

    >>> putmask(np.zeros(3), np.array([True, False, True]), [1.0, 2.0, 3.0], inplace=False)
    array([1., 0., 3.])
    """
    x, mask = operand(a, "putmask"), operand(mask, "putmask")
    aval = aval_of(x)
    new = lax.reshape(_cycled("putmask", values, aval.size), aval.shape)
    return lax.select(ew.not_equal(mask, 0), convert(new, aval.dtype), convert(x, aval.dtype))


@_in_place(np.copyto)
def copyto(dst: Any, src: Any, casting: Any = "same_kind", where: Any = True) -> Any:
    """An array with values in place of its elements where a mask holds; see ``numpy.copyto``.

    NumPy's function changes ``dst``; with ``inplace=False`` this one returns a new array, also when traced.

    >>> copyto(np.zeros(3), 2.0, where=np.array([True, False, True]), inplace=False)
    array([2., 0., 2.])
    """
    x, src, where = operand(dst, "copyto"), operand(src, "copyto"), operand(where, "copyto")
    aval, given = aval_of(x), aval_of(src)
    if not (given.weak or np.can_cast(given.dtype, aval.dtype, casting)):
        raise errors.DTypeError(
            f"copyto: a value of type {given} cannot be cast to {aval.dtype} by the rule {casting!r}"
        )
    new = lax.broadcast_to(convert(src, aval.dtype), aval.shape)
    return lax.select(ew.not_equal(lax.broadcast_to(where, aval.shape), 0), new, convert(x, aval.dtype))


@_in_place(np.fill_diagonal)
def fill_diagonal(a: Any, val: Any, wrap: bool = False) -> Any:
    """An array with its main diagonal replaced; see ``numpy.fill_diagonal``.

    NumPy's function changes ``a``; with ``inplace=False`` this one returns a new array, also when traced.

    >>> fill_diagonal(np.zeros((2, 2)), [3.0, 4.0], inplace=False)
    array([[3., 0.],
           [0., 4.]])
    """
    x = operand(a, "fill_diagonal")
    shape, size = aval_of(x).shape, aval_of(x).size
    if len(shape) < 2:
        raise errors.ShapeError(f"fill_diagonal: an array with at least two axes is needed, got {aval_of(x)}")
    if len(shape) == 2:
        step, end = shape[1] + 1, size if wrap else min(size, shape[1] * shape[1])
    else:
        if len(set(shape)) > 1:
            raise errors.ShapeError(f"fill_diagonal: beyond two axes all extents must be equal, got shape {shape}")
        step, end = sum(shape[0] ** d for d in range(len(shape))), size
    places = np.arange(0, end, step)
    values = _cycled("fill_diagonal", val, places.size)
    filled = at(lax.reshape(x, (size,)))[places].set(values, unique_indices=True)
    return lax.reshape(filled, shape)


# -- indices: static ones are plain arrays, so that indexing by them stays static ------------------------------


def _static(original: Callable[..., Any], doc: str) -> Any:
    """A function of numbers known while tracing: its arrays of indices are constants."""

    def function(*args: Any, **kwargs: Any) -> Any:
        return original(*args, **kwargs)

    function.__name__ = original.__name__
    function.__doc__ = f"{doc}; see ``numpy.{original.__name__}``."
    return implements(original)(function)


diag_indices = _static(np.diag_indices, "The indices of the main diagonal")
tril_indices = _static(np.tril_indices, "The indices of the lower triangle of a matrix")
triu_indices = _static(np.triu_indices, "The indices of the upper triangle of a matrix")
mask_indices = _static(np.mask_indices, "The indices where a function of a matrix is not zero")


@implements(np.diag_indices_from)
def diag_indices_from(arr: Any) -> Any:
    """The indices of the main diagonal of an array; see ``numpy.diag_indices_from``."""
    return np.diag_indices_from(_shell("diag_indices_from", arr))


@implements(np.tril_indices_from)
def tril_indices_from(arr: Any, k: int = 0) -> Any:
    """The indices of the lower triangle of an array; see ``numpy.tril_indices_from``."""
    return np.tril_indices_from(_shell("tril_indices_from", arr), k)


@implements(np.triu_indices_from)
def triu_indices_from(arr: Any, k: int = 0) -> Any:
    """The indices of the upper triangle of an array; see ``numpy.triu_indices_from``."""
    return np.triu_indices_from(_shell("triu_indices_from", arr), k)


def _shell(name: str, arr: Any) -> Any:
    """An array that has the shape alone, and no memory."""
    return np.broadcast_to(np.False_, aval_of(operand(arr, name)).shape)


@implements(np.ix_)
def ix_(*args: Any) -> Any:
    """Vectors of indices laid along one axis each, for the product of them all; see ``numpy.ix_``."""
    xs = [operand(a, "ix_") for a in args]
    if not any(isinstance(x, Tracer) for x in xs):
        return np.ix_(*xs)
    out = []
    for d, x in enumerate(xs):
        if aval_of(x).ndim != 1:
            raise errors.ShapeError(f"ix_: argument {d} must be a vector, got {aval_of(x)}")
        if aval_of(x).dtype.kind == "b":
            (x,) = functions[np.nonzero](x)
        out.append(lax.reshape(x, tuple(aval_of(x).size if i == d else 1 for i in range(len(xs)))))
    return tuple(out)


@implements(np.unravel_index)
def unravel_index(indices: Any, shape: Any, order: str = "C") -> Any:
    """Flat indices as one index for each axis; see ``numpy.unravel_index``.

    Bounds are checked where the indices are known while tracing.
    """
    extents = normalize_shape("unravel_index", shape)
    x = operand(indices, "unravel_index")
    if not isinstance(x, Tracer):
        return np.unravel_index(x, extents, order)  # type: ignore[call-overload]
    axes = list(range(len(extents)))
    if check_order("unravel_index", order) == "C":
        axes.reverse()
    rest = convert(x, np.intp)
    out: list[Any] = [None] * len(extents)
    for position, axis in enumerate(axes):
        last = position == len(axes) - 1
        out[axis] = rebox(rest, "numpy") if last else lax.remainder(rest, extents[axis])
        rest = rest if last else lax.floor_divide(rest, extents[axis])
    return tuple(out)


@implements(np.ravel_multi_index)
def ravel_multi_index(multi_index: Any, dims: Any, mode: Any = "raise", order: str = "C") -> Any:
    """One index for each axis as flat indices; see ``numpy.ravel_multi_index``.

    With ``mode="raise"`` bounds are checked where the indices are known while tracing.
    """
    extents = normalize_shape("ravel_multi_index", dims)
    given = [operand(i, "ravel_multi_index") for i in multi_index]
    if not any(isinstance(i, Tracer) for i in given):
        return np.ravel_multi_index(tuple(given), extents, mode, order)  # type: ignore[call-overload]
    if len(given) != len(extents):
        raise errors.ShapeError(f"ravel_multi_index: {len(given)} index arrays were given for {len(extents)} axes")
    modes = (mode,) * len(extents) if isinstance(mode, str) else tuple(mode)
    axes = list(range(len(extents)))
    if check_order("ravel_multi_index", order) == "F":
        axes.reverse()
    total: Any = np.intp(0)
    for axis in axes:
        i = convert(given[axis], np.intp)
        if modes[axis] == "wrap":
            i = lax.remainder(i, extents[axis])
        elif modes[axis] == "clip":
            i = lax.clamp(0, i, extents[axis] - 1)
        elif modes[axis] != "raise":
            raise errors.ArgumentError(f"ravel_multi_index: mode must be raise, wrap or clip, got {modes[axis]!r}")
        total = lax.add(lax.mul(total, extents[axis]), i)
    shape = broadcast_shapes("ravel_multi_index", *(aval_of(i).shape for i in given))
    return rebox(lax.broadcast_to(total, shape), "numpy")
