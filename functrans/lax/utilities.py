"""Small functions of shapes, dtypes and axes that programs written for other systems call by these names."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans.core import dtypes, structural
from functrans.core.structural import convert
from functrans.core.trace import aval_of
from functrans.lax.arithmetic import sub
from functrans.lax.creation import iota
from functrans.lax.gather import take_index
from functrans.lax.movement import reshape, rev, squeeze
from functrans.lax.slicing import slice_in_dim, split
from functrans.lax.sorting import argsort, permute
from functrans.lax.static import normalize_axis, normalize_shape

# -- shapes ---------------------------------------------------------------------------------------------------------


def broadcast_shapes(*shapes: Sequence[Any]) -> tuple[Any, ...]:
    """The shape to which arrays of these shapes broadcast together, by NumPy's rule.

    Raises:
        ShapeError: they do not.

    >>> broadcast_shapes((2, 1), (3,), ())
    (2, 3)
    """
    return structural.broadcast_shapes("broadcast_shapes", *(normalize_shape("broadcast_shapes", s) for s in shapes))


def broadcast_to_rank(x: Any, rank: int) -> Any:
    """The array with axes of extent 1 put in front, as many as make it have ``rank`` axes.

    Raises:
        ShapeError: it has more axes already.

    >>> broadcast_to_rank(np.ones(3), 3).shape
    (1, 1, 3)
    """
    shape = aval_of(x).shape
    if len(shape) > rank:
        raise errors.ShapeError(f"broadcast_to_rank: an array of shape {shape} has more than {rank} axes already")
    return x if len(shape) == rank else reshape(x, (1,) * (rank - len(shape)) + shape)


def collapse(x: Any, start_dimension: int, stop_dimension: int | None = None) -> Any:
    """The array with axes ``start_dimension`` up to, without, ``stop_dimension`` made one.

    >>> collapse(np.ones((2, 3, 4, 5)), 1, 3).shape
    (2, 12, 5)
    """
    shape = aval_of(x).shape
    axes = range(len(shape))[start_dimension:stop_dimension]
    if not axes or start_dimension not in range(-len(shape), len(shape)):
        raise errors.ShapeError(
            f"collapse: start_dimension={start_dimension}, stop_dimension={stop_dimension} name no axes of shape "
            f"{shape}"
        )
    return reshape(x, (*shape[: axes[0]], math.prod(shape[a] for a in axes), *shape[axes[-1] + 1 :]))


def shape_as_value(shape: Sequence[Any]) -> Any:
    """A shape as a vector of integers.

    >>> shape_as_value((2, 3))
    array([2, 3])
    """
    return np.array(normalize_shape("shape_as_value", shape), np.int64)


def dtype(x: Any) -> dtypes.DType:
    """The dtype of an array or a number; that which NumPy gives it where it is a Python number.

    >>> dtype(np.ones(2, np.float32)), dtype(1.0)
    (dtype('float32'), dtype('float64'))
    """
    return aval_of(x).dtype


def broadcasted_iota(dtype: Any, shape: Sequence[Any], dimension: int) -> Any:
    """The index along one axis, at every element of an array of a shape; ``iota`` is another name.

    >>> broadcasted_iota(np.int64, (2, 3), 1)
    array([[0, 1, 2],
           [0, 1, 2]])
    """
    return iota(dtype, shape, dimension)


# -- reading along axes -----------------------------------------------------------------------------------------------


def index_in_dim(x: Any, index: int, axis: int = 0, keepdims: bool = True) -> Any:
    """One element along an axis, which stays with extent 1 unless ``keepdims`` is false.

    Raises:
        IndexingError: there is no such element.

    >>> index_in_dim(np.arange(6).reshape(2, 3), -1, axis=1)
    array([[2],
           [5]])
    """
    d = normalize_axis("index_in_dim", axis, aval_of(x).ndim)
    extent, i = aval_of(x).shape[d], operator.index(index)
    if not -extent <= i < extent:
        raise errors.IndexingError(f"index_in_dim: index {i} is out of bounds for axis {d} with extent {extent}")
    out = slice_in_dim(x, i % extent, i % extent + 1, axis=d)
    return out if keepdims else squeeze(out, (d,))


def index_take(src: Any, idxs: Sequence[Any], axes: Sequence[int]) -> Any:
    """The slices of an array at index vectors along several axes at once; the axis of slices comes first.

    Args:
        src: an array.
        idxs: vectors of integers, one for each of ``axes``, all of one length.
        axes: the axes that they index; they leave the shape.

    Raises:
        IndexingError: an index is out of bounds, or ``idxs`` are no vectors of one length.

    >>> index_take(np.arange(6).reshape(2, 3), [np.array([0, 1, 1]), np.array([2, 0, 1])], (0, 1))
    array([2, 3, 4])
    """
    ndim = aval_of(src).ndim
    shapes = {aval_of(i).shape for i in idxs}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1 or len(idxs) != len(axes):
        raise errors.IndexingError(
            f"index_take: one vector of indices for each of axes={tuple(axes)} is needed, all of one length; got "
            f"shapes {', '.join(str(aval_of(i).shape) for i in idxs)}"
        )
    pairs = sorted(zip((normalize_axis("index_take", a, ndim) for a in axes), idxs, strict=True), key=lambda p: p[0])
    return take_index(src, [i for _, i in pairs], [a for a, _ in pairs])


def unstack(x: Any, axis: int = 0) -> list[Any]:
    """The slices of an array along an axis, as a list.

    >>> unstack(np.array([[1, 2], [3, 4]]), axis=1)
    [array([1, 3]), array([2, 4])]
    """
    d = normalize_axis("unstack", axis, aval_of(x).ndim)
    count = aval_of(x).shape[d]
    return [squeeze(part, (d,)) for part in split(x, (1,) * count, d)] if count else []


# -- ordered by a key -------------------------------------------------------------------------------------------------


def sort_key_val(keys: Any, values: Any, dimension: int = -1, is_stable: bool = True) -> tuple[Any, Any]:
    """Keys sorted along an axis, and values brought into the same order.

    >>> sort_key_val(np.array([3, 1, 2]), np.array([10.0, 20.0, 30.0]))
    (array([1, 2, 3]), array([20., 30., 10.]))
    """
    if aval_of(keys).shape != aval_of(values).shape:
        raise errors.ShapeError(
            f"sort_key_val: keys of shape {aval_of(keys).shape} and values of shape {aval_of(values).shape} must have "
            f"one shape"
        )
    d = normalize_axis("sort_key_val", dimension, aval_of(keys).ndim, "dimension")
    order = argsort(keys, d, stable=is_stable)
    return permute(keys, order, d), permute(values, order, d)


def top_k(x: Any, k: int, *, axis: int = -1) -> tuple[Any, Any]:
    """The ``k`` largest elements along an axis, the largest first, and where they stand.

    NaN counts as the largest; of equal elements the first one comes first. The derivative goes to the elements chosen.

    Args:
        x: an array of real numbers, integers or booleans.
        k: how many; at most the axis' extent.

    Returns:
        The elements, and their indices along the axis (int64).

    Raises:
        ArgumentError: the axis has fewer elements.

    >>> top_k(np.array([1.0, 4.0, 2.0, 4.0]), 3)
    (array([4., 4., 2.]), array([1, 3, 2]))
    """
    aval = aval_of(x)
    if dtypes.is_complex(aval.dtype):
        raise errors.DTypeError(f"top_k: complex numbers have no order, got {aval}. Order them by abs(x), say")
    d = normalize_axis("top_k", axis, aval.ndim)
    n, count = aval.shape[d], operator.index(k)
    if not 0 <= count <= n:
        raise errors.ArgumentError(f"top_k: k={count} must lie between 0 and {n}, the extent of axis {d}")
    # Ascending in the reversed array and read backwards, equal elements stand in their first order.
    order = rev(argsort(rev(x, (d,)), d, stable=True), (d,))
    order = slice_in_dim(sub(np.int64(n - 1), convert(order, np.int64)), 0, count, axis=d)
    shape = aval_of(order).shape
    indices = [order if a == d else _steps(extent, a, len(shape)) for a, extent in enumerate(shape)]
    return take_index(x, indices, range(len(shape))), order


def _steps(extent: Any, axis: int, ndim: int) -> Any:
    return reshape(iota(np.int64, (extent,)), tuple(extent if a == axis else 1 for a in range(ndim)))
