"""Functions that read and write along axes: take, take_along_axis, one_hot, nonzero, searchsorted."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from functrans import errors
from functrans.core.avals import Shape, ShapedArray, shaped
from functrans.core.primitive import BatchAxis, Primitive, Sample
from functrans.core.structural import broadcast_shapes, convert
from functrans.core.trace import aval_of, is_array, known
from functrans.lax.arithmetic import sub
from functrans.lax.at import at
from functrans.lax.compare import eq, ne
from functrans.lax.creation import full, iota
from functrans.lax.cumulative import cumsum
from functrans.lax.families import no_tangent
from functrans.lax.gather import take_index
from functrans.lax.indexing import batch_first
from functrans.lax.magnitude import clamp
from functrans.lax.movement import expand_dims, reshape
from functrans.lax.rounding import floor_divide, remainder
from functrans.lax.scatter import Operation, scatter
from functrans.lax.selection import select
from functrans.lax.static import normalize_axis
from functrans.lax.subscript import bounded

# -- take -----------------------------------------------------------------------------------------------------------


def _integers(name: str, indices: Any) -> Any:
    """Index arrays, from lists too; IndexingError where they are no integers."""
    if not is_array(indices):
        indices = np.asarray(indices)
        if indices.size == 0:
            indices = indices.astype(np.intp)
    if aval_of(indices).dtype.kind not in "iu":
        raise errors.IndexingError(
            f"{name}: indices must be integers, got {aval_of(indices)}. Convert them: indices.astype(int)"
        )
    return indices


def take(x: Any, indices: Any, axis: int | None = None, mode: str | None = None, fill_value: Any = None) -> Any:
    """Elements of ``x`` along an axis, as ``np.take``.

    Args:
        x: an array.
        indices: integers of any shape, which may be traced.
        axis: the axis; ``x`` read row by row for None.
        mode: what an index out of bounds means. None and ``"raise"``: an error. ``"clip"``: the nearest element,
            the first one for every negative index. ``"wrap"``: counting on from the other end. ``"fill"``:
            ``fill_value``.
        fill_value: NaN, the least signed integer, the largest unsigned one or True if None.

    Returns:
        An array like ``x`` with the axis replaced by those of ``indices``.

    >>> take(np.array([10.0, 20.0, 30.0]), [[0, 2], [1, 1]])
    array([[10., 30.],
           [20., 20.]])
    """
    indices = _integers("take", indices)
    x = convert(x, aval_of(x).dtype)
    shape = aval_of(x).shape
    if axis is None:
        x = x if len(shape) == 1 else reshape(x, (math.prod(shape),))
        axis = 0
    else:
        axis = normalize_axis("take", axis, len(shape))
    if mode == "fill":
        return at(x)[(*(slice(None),) * axis, indices)].get(mode="fill", fill_value=fill_value)
    extent = aval_of(x).shape[axis]
    if mode == "clip" and extent:
        indices = clamp(0, convert(indices, np.int64), extent - 1)
    else:
        (indices,), _ = bounded("take", [indices], [extent], mode)
    return take_index(x, [indices], (axis,), axis)


# -- along an axis ----------------------------------------------------------------------------------------------------


def _coordinates(name: str, x: Any, indices: Any, axis: int) -> list[Any]:
    """The index arrays for all axes where ``indices`` are those along one axis, element by element."""
    shape, given = aval_of(x).shape, aval_of(indices).shape
    if len(shape) != len(given):
        raise errors.ShapeError(
            f"{name}: indices of shape {given} must have as many axes as the array of shape {shape}"
        )
    rest = broadcast_shapes(name, _without(shape, axis), _without(given, axis))
    out = []
    for a, extent in enumerate(shape):
        if a == axis:
            out.append(indices)
        elif extent == 1:
            out.append(np.int64(0))
        else:
            steps = iota(np.int64, (rest[a - (a > axis)],))
            out.append(reshape(steps, tuple(-1 if b == a else 1 for b in range(len(shape)))))
    return out


def _without(shape: Shape, axis: int) -> Shape:
    return shape[:axis] + shape[axis + 1 :]


def take_along_axis(x: Any, indices: Any, axis: int | None = -1, mode: str | None = None) -> Any:
    """The elements that indices name along an axis, row by row, as ``np.take_along_axis``.

    Args:
        x: an array.
        indices: integers with as many axes as ``x``; the other axes broadcast with those of ``x``.
        axis: the axis; ``x`` read row by row for None.
        mode: what an index out of bounds means: None and ``"raise"`` for an error, ``"clip"``, ``"wrap"``, and
            ``"fill"``, as for ``at``.

    >>> take_along_axis(np.array([[3.0, 1.0], [4.0, 7.0]]), np.array([[1], [0]]), axis=1)
    array([[1.],
           [4.]])
    """
    indices = _integers("take_along_axis", indices)
    x = convert(x, aval_of(x).dtype)
    if axis is None:
        x, axis = reshape(x, (aval_of(x).size,)), 0
    axis = normalize_axis("take_along_axis", axis, aval_of(x).ndim)
    coordinates = _coordinates("take_along_axis", x, indices, axis)
    if mode == "fill":
        return at(x)[tuple(coordinates)].get(mode="fill")
    (coordinates[axis],), _ = bounded("take_along_axis", [indices], [aval_of(x).shape[axis]], mode)
    return take_index(x, coordinates, range(len(coordinates)))


def put_along_axis(x: Any, indices: Any, values: Any, axis: int | None = -1, op: Operation = "set") -> Any:
    """A copy of ``x`` with values written at the places that indices name along an axis, row by row.

    NumPy's function of this name writes into its argument; this one gives a new array.

    Args:
        x: an array.
        indices: integers with as many axes as ``x``; the other axes broadcast with those of ``x``.
        values: values that broadcast to the shape of ``take_along_axis(x, indices, axis)``.
        axis: the axis; ``x`` read row by row for None.
        op: ``"set"``, or how a value is combined with what is there: ``"add"``, ``"mul"``, ``"min"``, ``"max"``.

    >>> put_along_axis(np.zeros((2, 2)), np.array([[1], [0]]), 5.0, axis=1)
    array([[0., 5.],
           [5., 0.]])
    """
    indices = _integers("put_along_axis", indices)
    x = convert(x, aval_of(x).dtype)
    shape = aval_of(x).shape
    if axis is None:
        return reshape(put_along_axis(reshape(x, (math.prod(shape),)), indices, values, 0, op), shape)
    axis = normalize_axis("put_along_axis", axis, len(shape))
    coordinates = _coordinates("put_along_axis", x, indices, axis)
    places = at(x)[tuple(coordinates)]
    writers = {"set": places.set, "add": places.add, "mul": places.multiply, "min": places.min, "max": places.max}
    if op not in writers:
        raise errors.ArgumentError(f"put_along_axis: op={op!r} is not known; the operations are {', '.join(writers)}")
    return writers[op](values)


# -- one_hot ----------------------------------------------------------------------------------------------------------


def one_hot(indices: Any, num_classes: int, *, dtype: Any = np.float64, axis: int = -1) -> Any:
    """Vectors that are one at the place an index names and zero elsewhere.

    Args:
        indices: integers of any shape. One outside of ``0 ≤ index < num_classes`` gives zeros.
        num_classes: the length of the vectors.
        dtype: the dtype of the result.
        axis: where the vectors' axis stands in the result.

    Returns:
        An array with one axis more than ``indices``.

    >>> one_hot(np.array([2, 0]), 3)
    array([[0., 0., 1.],
           [1., 0., 0.]])
    """
    indices = _integers("one_hot", indices)
    indices = convert(indices, np.int64)
    ndim = aval_of(indices).ndim + 1
    axis = normalize_axis("one_hot", axis, ndim)
    classes = iota(np.int64, (operator.index(num_classes),))
    classes = reshape(classes, tuple(-1 if a == axis else 1 for a in range(ndim)))
    return convert(eq(expand_dims(indices, (axis,)), classes), dtype)


# -- nonzero ----------------------------------------------------------------------------------------------------------


def nonzero(x: Any, size: int | None = None, fill_value: Any = None) -> tuple[Any, ...]:
    """The places of the elements that are not zero, as ``np.nonzero``.

    Args:
        x: an array.
        size: how many places to give, for where the number must be known while tracing: further ones are left out,
            missing ones are ``fill_value``.
        fill_value: an integer, or a tuple of one for each axis; 0 if None.

    Returns:
        An array of integers for each axis of ``x``.

    Raises:
        ConcretizationError: the contents of ``x`` are not known while tracing and ``size`` is not given.

    >>> nonzero(np.array([0, 3, 0, 4]))
    (array([1, 3]),)
    >>> nonzero(np.array([0, 3, 0, 4]), size=3, fill_value=-1)
    (array([ 1,  3, -1]),)
    """
    if size is None:
        inside = known(x)
        if inside is None:
            raise errors.ConcretizationError(
                f"nonzero: how many elements of a traced array of type {aval_of(x)} are not zero is not known while "
                f"tracing. {x.describe_origin()}Give the number: nonzero(x, size=...), or use "
                f"functrans.numpy.where(x, a, b) with three arguments"
            )
        return tuple(inside.nonzero() if hasattr(inside, "nonzero") else np.asarray(inside).nonzero())
    shape = aval_of(x).shape
    if not shape:
        raise errors.ShapeError("nonzero: an array without axes has no places. Use functrans.numpy.atleast_1d(x)")
    size = operator.index(size)
    fills = fill_value if isinstance(fill_value, tuple) else (fill_value or 0,) * len(shape)
    if len(fills) != len(shape):
        raise errors.ShapeError(f"nonzero: fill_value={fill_value} must have an entry for each axis of shape {shape}")
    count = math.prod(shape)
    mask = reshape(x if aval_of(x).dtype.kind == "b" else ne(x, 0), (count,))
    rank = cumsum(convert(mask, np.int64), 0)
    slots = select(mask, sub(rank, 1), size)
    places = scatter(full((size,), -1, np.int64), iota(np.int64, (count,)), [slots], (0,), mode="drop")
    missing = eq(places, -1)
    out = []
    for axis, extent in enumerate(shape):
        place = floor_divide(places, max(math.prod(shape[axis + 1 :]), 1))
        out.append(select(missing, fills[axis], remainder(place, max(extent, 1))))
    return tuple(out)


# -- searchsorted ---------------------------------------------------------------------------------------------------

Side = Literal["left", "right"]


def _search_shape(a: ShapedArray, v: ShapedArray, *, side: Side, lead: int) -> ShapedArray:
    if a.ndim != lead + 1:
        raise errors.ShapeError(f"searchsorted: the sorted array must have one axis, got shape {a.shape[lead:]}")
    if a.shape[:lead] != v.shape[:lead]:
        raise errors.ShapeError(f"searchsorted: leading axes {a.shape[:lead]} and {v.shape[:lead]} differ")
    if a.dtype != v.dtype:
        raise errors.DTypeError(f"searchsorted: operands of types {a} and {v} must have one dtype")
    return shaped(v.shape, np.dtype(np.intp), "numpy")


def _search_impl(xp: Any, a: Any, v: Any, *, side: Side, lead: int) -> Any:
    if lead == 0:
        return xp.searchsorted(a, v, side)
    out = xp.empty(v.shape, np.intp)
    for row in np.ndindex(a.shape[:lead]):
        out[row] = xp.searchsorted(a[row], v[row], side)
    return out


def _search_batch(
    axis: BatchAxis, args: Sequence[Any], dims: Sequence[int | None], *, side: Side, lead: int
) -> tuple[Any, int]:
    if lead == 0 and dims[0] is None:
        d = dims[1]
        assert d is not None
        return searchsorted_p.bind(*args, side=side, lead=0), d
    a, v = (batch_first(axis, x, d) for x, d in zip(args, dims, strict=True))
    return searchsorted_p.bind(a, v, side=side, lead=lead + 1), 0


searchsorted_p: Primitive = Primitive(
    "searchsorted",
    shape=_search_shape,
    impl=_search_impl,
    jvp=no_tangent(lambda: searchsorted_p),
    batch=_search_batch,
    kind="library",
    samples=lambda: [
        Sample((np.array([0.5, 1.0, 1.0, 2.0]), np.array([[1.0, 0.0], [2.0, 3.0]])), {"side": "left", "lead": 0}, 0),
        Sample((np.array([0.5, 1.0, 1.0, 2.0]), np.float64(1.0)), {"side": "right", "lead": 0}, 0),
        Sample((np.array([1, 3, 5]), np.array([3, 4])), {"side": "right", "lead": 0}, 0),
        Sample((np.zeros(0), np.array([3.0])), {"side": "left", "lead": 0}, 0),
        Sample((np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([2.0, 2.0])), {"side": "left", "lead": 1}, 0),
    ],
)


def searchsorted(a: Any, v: Any, side: Side = "left", sorter: Any = None) -> Any:
    """Where values would have to be inserted into a sorted array to keep it sorted, as ``np.searchsorted``.

    Args:
        a: a sorted array with one axis.
        v: values of the dtype of ``a``.
        side: ``"left"`` for the first such place, ``"right"`` for the last.
        sorter: the integers that sort ``a``, where it is not sorted.

    Returns:
        Integers of the shape of ``v``. The derivative is zero.

    >>> searchsorted(np.array([1.0, 2.0, 4.0]), np.array([2.0, 5.0]))
    array([1, 3])
    """
    if side not in ("left", "right"):
        raise errors.ArgumentError(f"searchsorted: side must be 'left' or 'right', got {side!r}")
    if sorter is not None:
        a = take(a, sorter)
    aval = aval_of(v)
    return searchsorted_p.bind(a, convert(v, aval_of(a).dtype if aval.weak else aval.dtype), side=side, lead=0)
