"""Moving elements: reshaping, new and dropped axes, reversing, repeating, copying. All linear, and of any dtype.

Shapes and axes are static. A 0-d result is a 0-d array, as NumPy's own functions of these kinds give.
"""

from __future__ import annotations

import builtins
import math
import operator
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans.core import structural
from functrans.core.avals import ShapedArray
from functrans.core.jaxpr import SizeVar
from functrans.core.primitive import BatchAxis, Primitive, Sample, Source, Undefined
from functrans.core.structural import broadcast_to as broadcast_to
from functrans.core.structural import check_axes, move_axis, rebox, shift_axes
from functrans.core.structural import transpose as transpose
from functrans.core.trace import aval_of
from functrans.lax.families import movement
from functrans.lax.static import is_sequence, normalize_axes, normalize_axis, normalize_shape, static_extents


def like(ct: Any, x: Undefined) -> Any:
    """A cotangent boxed as that of a 0-d operand."""
    return ct if x.aval.box == "array" else rebox(ct, "numpy")


# -- reshape ----------------------------------------------------------------------------------------------------


def _reshape_shape(x: ShapedArray, *, shape: tuple[Any, ...]) -> tuple[Any, ...]:
    size, *variable = _sizes(x.shape)
    known, *given = _sizes(shape)
    if size != known or (variable != given and Counter(variable) != Counter(given)):
        raise errors.ShapeError(f"reshape: an array of shape {x.shape} cannot have shape {shape}: the sizes differ")
    return shape


def _sizes(shape: Sequence[Any]) -> list[Any]:
    """The product of the extents that are known, then those known only at run time."""
    variable = [e for e in shape if isinstance(e, SizeVar)]
    return [math.prod([e for e in shape if not isinstance(e, SizeVar)] if variable else shape), *variable]


def _reshape_impl(xp: Any, x: Any, *, shape: tuple[int, ...]) -> Any:
    # A NumPy scalar would stay one.
    return (x if getattr(x, "ndim", 0) else xp.asarray(x)).reshape(shape)


def _reshape_index(at: Sequence[Any], old: tuple[int, ...], new: tuple[int, ...]) -> tuple[Any, ...]:
    """Where an element stood before: axes that are the same in both shapes keep their index."""
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    linear: Any = 0
    for i, extent in zip(at[start : len(new) - end], new[start : len(new) - end], strict=True):
        linear = linear * extent + i
    middle: list[Any] = []
    for extent in reversed(old[start : len(old) - end]):
        middle.insert(0, linear % extent if extent != 1 else 0)
        linear = linear // extent if extent else 0
    return (*at[:start], *middle, *at[len(new) - end :])


def _reshape_batch(axis: BatchAxis, args: Sequence[Any], dims: Sequence[int], *, shape: tuple[Any, ...]) -> Any:
    return reshape_p.bind(move_axis(args[0], dims[0], 0), shape=(axis.size, *shape)), 0


reshape_p: Primitive = movement(
    "reshape",
    shape=_reshape_shape,
    impl=_reshape_impl,
    specialize=lambda xp, avals, *, shape: (
        operator.methodcaller("reshape", shape)
        if avals[0].box == "array"
        else lambda x: _reshape_impl(xp, x, shape=shape)
    ),
    index=lambda at, x, *, shape: Source(0, _reshape_index(at, x.shape, shape)),
    transpose=lambda ct, x, *, shape: [like(reshape(ct, x.aval.shape), x)],
    batch=_reshape_batch,
    view=True,
    samples=lambda: [
        Sample((np.arange(6.0).reshape(2, 3),), {"shape": (3, 1, 2)}),
        Sample((np.arange(6.0, dtype=np.float32),), {"shape": (2, 3)}),
        Sample((np.array([1 + 2j, 3 - 1j]),), {"shape": (2, 1)}),
        Sample((np.arange(4),), {"shape": (2, 2)}),
        Sample((np.array([2.0]),), {"shape": ()}),
        Sample((np.float64(2.0),), {"shape": (1, 1)}),
        Sample((1.5,), {"shape": ()}),
        Sample((np.float32(1.5),), {"shape": ()}),
        Sample((np.zeros((0, 3)),), {"shape": (2, 0)}),
    ],
)


def reshape(x: Any, shape: Any) -> Any:
    """The elements of ``x``, last axis fastest, in another shape.

    Args:
        x: an array.
        shape: an int or a sequence of ints; one of them may be -1 and is then what the size leaves.

    Raises:
        ShapeError: the sizes differ.

    >>> reshape(np.arange(6), (2, -1))
    array([[0, 1, 2],
           [3, 4, 5]])
    """
    aval = aval_of(x)
    target = given = static_extents(shape)
    if target == aval.shape and aval.box == "array":
        return x
    if -1 in target:
        target = _infer_extent(aval.shape, target)
    if any([e < 0 for e in target if type(e) is int]):
        raise errors.ShapeError(f"reshape: a shape has no negative extents but one -1, got {given}")
    _reshape_shape(aval, shape=target)
    return reshape_p.bind(x, shape=target)


def _infer_extent(old: tuple[Any, ...], new: tuple[Any, ...]) -> tuple[Any, ...]:
    at = new.index(-1)
    rest = [*new[:at], *new[at + 1 :]]
    if -1 in rest:
        raise errors.ShapeError(f"reshape: only one extent can be -1, got shape {new}")
    (size, *variable), (known, *given) = _sizes(old), _sizes(rest)
    for v in given:
        if v in variable:
            variable.remove(v)
    if len(variable) == 1 and size == known:
        return (*new[:at], variable[0], *new[at + 1 :])
    if variable or known == 0 or size % known:
        raise errors.ShapeError(f"reshape: no extent in place of -1 makes shape {old} into {new}")
    return (*new[:at], size // known, *new[at + 1 :])


# -- new axes and dropped axes ------------------------------------------------------------------------------------


def _squeeze_shape(x: ShapedArray, *, dims: tuple[int, ...]) -> tuple[Any, ...]:
    check_axes("squeeze", x.ndim, dims)
    for d in dims:
        if x.shape[d] != 1:
            raise errors.ShapeError(
                f"squeeze: axis {d} of shape {x.shape} has extent {x.shape[d]}; only axes of extent 1 can be dropped"
            )
    return tuple(extent for d, extent in enumerate(x.shape) if d not in dims)


def _squeeze_position(at: Sequence[Any], ndim: int, dims: tuple[int, ...]) -> tuple[Any, ...]:
    rest = iter(at)
    return tuple([0 if d in dims else next(rest) for d in range(ndim)])


def _squeeze_batch(axis: BatchAxis, args: Sequence[Any], dims_in: Sequence[int], *, dims: tuple[int, ...]) -> Any:
    d = dims_in[0]
    dims = shift_axes(dims, d)
    return squeeze_p.bind(args[0], dims=dims), d - sum(a < d for a in dims)


squeeze_p: Primitive = movement(
    "squeeze",
    shape=_squeeze_shape,
    impl=lambda xp, x, *, dims: xp.squeeze(xp.asarray(x), dims),
    specialize=lambda xp, avals, *, dims: (
        operator.methodcaller("squeeze", dims) if avals[0].shape else lambda x: xp.squeeze(xp.asarray(x), dims)
    ),
    index=lambda at, x, *, dims: Source(0, _squeeze_position(at, x.ndim, dims)),
    transpose=lambda ct, x, *, dims: [like(expand_dims(ct, dims), x)],
    batch=_squeeze_batch,
    view=True,
    samples=lambda: [
        Sample((np.arange(3.0).reshape(1, 3, 1),), {"dims": (0, 2)}),
        Sample((np.arange(3.0).reshape(1, 3, 1),), {"dims": (2,)}),
        Sample((np.array([[1j]]),), {"dims": (0, 1)}),
        Sample((np.array([True]),), {"dims": (0,)}),
        Sample((np.zeros((0, 1), np.float32),), {"dims": (1,)}),
        Sample((np.float64(2.0),), {"dims": ()}),
    ],
)


def squeeze(x: Any, dims: Any) -> Any:
    """``x`` without the axes ``dims``, which must have extent 1.

    >>> squeeze(np.zeros((1, 3, 1)), (0, 2)).shape
    (3,)
    """
    aval = aval_of(x)
    axes = normalize_axes("squeeze", dims, aval.ndim, "dims")
    if not axes and aval.box == "array":
        return x
    _squeeze_shape(aval, dims=axes)
    return squeeze_p.bind(x, dims=axes)


def _expand_shape(x: ShapedArray, *, dims: tuple[int, ...]) -> tuple[Any, ...]:
    check_axes("expand_dims", x.ndim + len(dims), dims)
    old = iter(x.shape)
    return tuple(1 if d in dims else next(old) for d in range(x.ndim + len(dims)))


def _expand_index(ndim: int, dims: tuple[int, ...]) -> tuple[Any, ...]:
    return (*(None if d in dims else builtins.slice(None) for d in range(ndim + len(dims))), ...)


def _expand_batch(axis: BatchAxis, args: Sequence[Any], dims_in: Sequence[int], *, dims: tuple[int, ...]) -> Any:
    ndim = aval_of(args[0]).ndim - 1
    kept = [d for d in range(ndim + len(dims)) if d not in dims] + [ndim + len(dims)]
    at = kept[dims_in[0]]
    return expand_dims_p.bind(args[0], dims=shift_axes(dims, at)), at


expand_dims_p: Primitive = movement(
    "expand_dims",
    shape=_expand_shape,
    impl=lambda xp, x, *, dims: xp.asarray(x)[_expand_index(np.ndim(x), dims)],
    specialize=lambda xp, avals, *, dims: (
        operator.itemgetter(_expand_index(avals[0].ndim, dims))
        if avals[0].box == "array"
        else lambda x: xp.asarray(x)[_expand_index(0, dims)]
    ),
    index=lambda at, x, *, dims: Source(0, tuple([i for d, i in enumerate(at) if d not in dims])),
    transpose=lambda ct, x, *, dims: [like(squeeze(ct, dims), x)],
    batch=_expand_batch,
    view=True,
    samples=lambda: [
        Sample((np.arange(3.0),), {"dims": (0, 2)}),
        Sample((np.arange(6.0).reshape(2, 3),), {"dims": (1,)}),
        Sample((np.arange(6.0, dtype=np.float32).reshape(2, 3),), {"dims": (2, 3)}),
        Sample((np.float64(2.0),), {"dims": (0,)}),
        Sample((1.5,), {"dims": ()}),
        Sample((np.array([1j, 2.0]),), {"dims": (0,)}),
        Sample((np.arange(3),), {"dims": (0,)}),
    ],
)


def expand_dims(x: Any, dims: Any) -> Any:
    """``x`` with new axes of extent 1, at the positions ``dims`` of the result.

    >>> expand_dims(np.zeros(3), (0, 2)).shape
    (1, 3, 1)
    """
    aval = aval_of(x)
    count = len(tuple(dims)) if is_sequence(dims) else 1
    axes = normalize_axes("expand_dims", dims, aval.ndim + count, "dims")
    return x if not axes and aval.box == "array" else expand_dims_p.bind(x, dims=axes)


# -- reversing and copying ----------------------------------------------------------------------------------------


def _rev_shape(x: ShapedArray, *, dimensions: tuple[int, ...]) -> tuple[Any, ...]:
    check_axes("rev", x.ndim, dimensions)
    return x.shape


def _rev_index(ndim: int, dimensions: tuple[int, ...]) -> tuple[Any, ...]:
    # The ellipsis keeps a 0-d operand an array: x[()] would give a NumPy scalar.
    return (*(builtins.slice(None, None, -1 if d in dimensions else None) for d in range(ndim)), ...)


def _rev_batch(axis: BatchAxis, args: Sequence[Any], dims: Sequence[int], *, dimensions: tuple[int, ...]) -> Any:
    return rev_p.bind(args[0], dimensions=shift_axes(dimensions, dims[0])), dims[0]


rev_p: Primitive = movement(
    "rev",
    shape=_rev_shape,
    impl=lambda xp, x, *, dimensions: xp.asarray(x)[_rev_index(np.ndim(x), dimensions)],
    specialize=lambda xp, avals, *, dimensions: (
        operator.itemgetter(_rev_index(avals[0].ndim, dimensions)) if avals[0].shape else xp.asarray
    ),
    index=lambda at, x, *, dimensions: Source(
        0, tuple([x.shape[d] - 1 - i if d in dimensions else i for d, i in enumerate(at)])
    ),
    transpose=lambda ct, x, *, dimensions: [like(rev(ct, dimensions), x)],
    batch=_rev_batch,
    view=True,
    samples=lambda: [
        Sample((np.arange(6.0).reshape(2, 3),), {"dimensions": (1,)}),
        Sample((np.arange(6.0, dtype=np.float32).reshape(2, 3),), {"dimensions": (0, 1)}),
        Sample((np.arange(3) * 1j,), {"dimensions": (0,)}),
        Sample((np.arange(3),), {"dimensions": (0,)}),
        Sample((np.zeros((2, 0)),), {"dimensions": (1,)}),
        Sample((np.float64(2.0),), {"dimensions": ()}),
    ],
)


def rev(x: Any, dimensions: Any) -> Any:
    """``x`` with the order of the elements reversed along the given axes.

    >>> rev(np.arange(6).reshape(2, 3), (1,))
    array([[2, 1, 0],
           [5, 4, 3]])
    """
    aval = aval_of(x)
    axes = normalize_axes("rev", dimensions, aval.ndim, "dimensions")
    return x if not axes and aval.box == "array" else rev_p.bind(x, dimensions=axes)


copy_p: Primitive = movement(
    "copy",
    shape=lambda x: x.shape,
    impl=lambda xp, x: xp.array(x),
    index=lambda at, x: Source(0, tuple(at)),
    transpose=lambda ct, x: [like(ct, x)],
    batch=lambda axis, args, dims: (copy_p.bind(args[0]), dims[0]),
    samples=lambda: [
        Sample((np.arange(6.0).reshape(2, 3),)),
        Sample((np.arange(6.0, dtype=np.float32).reshape(2, 3).T,)),
        Sample((np.array([1j]),)),
        Sample((np.arange(3),)),
        Sample((np.float64(2.0),)),
        Sample((1.5,)),
        Sample((np.zeros((0, 2)),)),
    ],
)


def copy(x: Any) -> Any:
    """A fresh array with the elements of ``x``.

    >>> a = np.zeros(2)
    >>> b = copy(a)
    >>> b[0] = 1.0
    >>> a
    array([0., 0.])
    """
    return copy_p.bind(x)


def tile(x: Any, reps: Any) -> Any:
    """``x`` repeated as a whole, ``reps`` times along each axis; the shorter of shape and reps is filled up with ones.

    >>> tile(np.array([1, 2]), (2, 2))
    array([[1, 2, 1, 2],
           [1, 2, 1, 2]])
    """
    counts = normalize_shape("tile", reps)
    shape = aval_of(x).shape
    ndim = max(len(shape), len(counts))
    shape, counts = (1,) * (ndim - len(shape)) + shape, (1,) * (ndim - len(counts)) + counts
    pairs = list(zip(counts, shape, strict=True))
    laid = structural.broadcast(reshape(x, shape), [e for pair in pairs for e in pair], range(1, 2 * ndim, 2))
    result = reshape(laid, tuple(n * m for n, m in pairs))
    # Where nothing but axes of extent 1 is repeated, or nothing at all, reshaping has made no copy.
    viewed = 0 in (*counts, *shape) or all(1 in pair for pair in pairs)
    return copy(result) if viewed else result


# -- axes -----------------------------------------------------------------------------------------------------------


def broadcast(x: Any, sizes: Any) -> Any:
    """``x`` repeated along new leading axes of the given extents.

    >>> broadcast(np.array([1, 2]), (3,)).shape
    (3, 2)
    """
    return broadcast_to(x, (*normalize_shape("broadcast", sizes), *aval_of(x).shape))


def broadcast_in_dim(x: Any, shape: Any, broadcast_dimensions: Sequence[int]) -> Any:
    """``x`` laid along the axes ``broadcast_dimensions`` of an array of the given shape, and repeated along the others.

    Args:
        shape: the shape of the result.
        broadcast_dimensions: for each axis of ``x`` the axis of the result that it becomes, in increasing order. Where
            the extents differ, that of ``x`` must be 1.

    >>> broadcast_in_dim(np.array([1, 2]), (2, 3), (0,))
    array([[1, 1, 1],
           [2, 2, 2]])
    """
    target = normalize_shape("broadcast_in_dim", shape)
    name = "broadcast_dimensions"
    dims = tuple(normalize_axis("broadcast_in_dim", d, len(target), name) for d in broadcast_dimensions)
    structural.broadcast_p.shape(aval_of(x), shape=target, dims=dims)
    return structural.broadcast(x, target, dims)
