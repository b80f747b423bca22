"""Joining and splitting arrays."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from functrans import errors, lax
from functrans.core import dtypes
from functrans.core.structural import convert, move_axis, rebox
from functrans.core.trace import Tracer, aval_of
from functrans.lax.scatter import scatter
from functrans.lax.static import normalize_axis
from functrans.numpy.arguments import concrete, since
from functrans.numpy.dispatch import extends, implements, operand, reject_out, stack_hook


def members(name: str, arrays: Any) -> list[Any]:
    """The arrays of a sequence, or the rows of one array."""
    if isinstance(arrays, (list, tuple)):
        return [operand(a, name) for a in arrays]
    if isinstance(arrays, Tracer) or isinstance(arrays, np.ndarray):
        if not arrays.ndim:
            raise errors.ShapeError(f"{name}: a sequence of arrays is needed, got a 0-d array")
        return unstack_axis(arrays, 0)
    raise errors.ArgumentError(f"{name}: a list or tuple of arrays is needed, got {type(arrays).__name__}")


def promoted(name: str, arrays: Sequence[Any], dtype: Any = None, casting: Any = "same_kind") -> list[Any]:
    """Arrays in their common dtype, or in the one asked for."""
    avals = [aval_of(a) for a in arrays]
    if dtype is None:
        target = dtypes.result_type(*[a.dtype for a in avals]) if avals else np.dtype(float)
    else:
        target = dtypes.canonical(np.dtype(dtype))
        for i, a in enumerate(avals):
            if not np.can_cast(a.dtype, target, casting):
                raise errors.DTypeError(
                    f"{name}: array {i} of type {a} cannot be cast to {target} according to the rule {casting!r}"
                )
    return [convert(a, target) for a in arrays]


def at_least(x: Any, ndim: int) -> Any:
    """``x`` with new axes in front until it has ``ndim`` of them."""
    aval = aval_of(x)
    return x if aval.ndim >= ndim else lax.reshape(x, (1,) * (ndim - aval.ndim) + aval.shape)


def flat(x: Any) -> Any:
    """The elements of ``x`` as a vector."""
    aval = aval_of(x)
    return x if aval.ndim == 1 else lax.reshape(x, (aval.size,))


# -- joining ---------------------------------------------------------------------------------------------------


@implements(np.concatenate)
def concatenate(
    arrays: Any, axis: int | None = 0, out: None = None, *, dtype: Any = None, casting: Any = "same_kind"
) -> Any:
    """Arrays joined along an existing axis (flattened for ``axis=None``); see ``numpy.concatenate``."""
    reject_out("concatenate", out)
    parts = members("concatenate", arrays)
    if not parts:
        raise errors.ShapeError("concatenate: at least one array is needed")
    if axis is None:
        parts, axis = [flat(p) for p in parts], 0
    ndim = aval_of(parts[0]).ndim
    if not ndim:
        raise errors.ShapeError("concatenate: a 0-d array has no axis to be joined along. Write stack")
    return lax.concatenate(promoted("concatenate", parts, dtype, casting), normalize_axis("concatenate", axis, ndim))


concat = concatenate


@implements(np.stack)
def stack(arrays: Any, axis: int = 0, out: None = None, *, dtype: Any = None, casting: Any = "same_kind") -> Any:
    """Arrays of one shape joined along a new axis; see ``numpy.stack``."""
    reject_out("stack", out)
    parts = members("stack", arrays)
    if not parts:
        raise errors.ShapeError("stack: at least one array is needed")
    shapes = [aval_of(p).shape for p in parts]
    for i, shape in enumerate(shapes):
        if shape != shapes[0]:
            raise errors.ShapeError(
                f"stack: array {i} has shape {shape}, and array 0 has shape {shapes[0]}: all must agree"
            )
    at = normalize_axis("stack", axis, len(shapes[0]) + 1)
    return lax.concatenate([lax.expand_dims(p, at) for p in promoted("stack", parts, dtype, casting)], at)


def _stack_list(parts: Sequence[Any]) -> Any:
    return lax.concatenate([lax.expand_dims(p, 0) for p in promoted("array", parts)], 0)


stack_hook[:] = [_stack_list]


@implements(np.vstack)
def vstack(tup: Any, *, dtype: Any = None, casting: Any = "same_kind") -> Any:
    """Arrays joined along their first axis, vectors as rows; see ``numpy.vstack``."""
    parts = [at_least(p, 2) for p in members("vstack", tup)]
    return concatenate(parts, 0, dtype=dtype, casting=casting)


@implements(np.hstack)
def hstack(tup: Any, *, dtype: Any = None, casting: Any = "same_kind") -> Any:
    """Arrays joined along their second axis, vectors along their only one; see ``numpy.hstack``."""
    parts = [at_least(p, 1) for p in members("hstack", tup)]
    axis = 0 if parts and aval_of(parts[0]).ndim == 1 else 1
    return concatenate(parts, axis, dtype=dtype, casting=casting)


@implements(np.dstack)
def dstack(tup: Any) -> Any:
    """Arrays joined along their third axis; see ``numpy.dstack``."""
    return concatenate([_three_axes(p) for p in members("dstack", tup)], 2)


def _three_axes(x: Any) -> Any:
    shape = aval_of(x).shape
    new = {0: (1, 1, 1), 1: (1, *shape, 1), 2: (*shape, 1)}.get(len(shape))
    return x if new is None else lax.reshape(x, new)


@implements(np.column_stack)
def column_stack(tup: Any) -> Any:
    """Arrays joined along their second axis, vectors as columns; see ``numpy.column_stack``."""
    parts = [lax.reshape(p, (aval_of(p).size, 1)) if aval_of(p).ndim < 2 else p for p in members("column_stack", tup)]
    return concatenate(parts, 1)


@implements(np.block)
def block(arrays: Any) -> Any:
    """An array put together from nested lists of blocks; see ``numpy.block``."""
    depth = _depth(arrays, "arrays")
    ndim = max([depth, *(aval_of(leaf).ndim for leaf in _leaves(arrays))])
    return _block(arrays, ndim, ndim - depth)


def _depth(arrays: Any, where: str) -> int:
    if isinstance(arrays, tuple):
        raise errors.ArgumentError(f"block: {where} is a tuple; only lists are blocks")
    if not isinstance(arrays, list):
        return 0
    if not arrays:
        raise errors.ShapeError(f"block: {where} is empty")
    depths = [_depth(a, f"{where}[{i}]") for i, a in enumerate(arrays)]
    if len(set(depths)) > 1:
        raise errors.ShapeError(f"block: the members of {where} are nested to different depths: {depths}")
    return depths[0] + 1


def _leaves(arrays: Any) -> list[Any]:
    return [leaf for a in arrays for leaf in _leaves(a)] if isinstance(arrays, list) else [operand(arrays, "block")]


def _block(arrays: Any, ndim: int, axis: int) -> Any:
    if not isinstance(arrays, list):
        x = operand(arrays, "block")
        return convert(at_least(rebox(x, "array"), ndim), aval_of(x).dtype)
    return concatenate([_block(a, ndim, axis + 1) for a in arrays], axis)


@implements(np.append)
def append(arr: Any, values: Any, axis: int | None = None) -> Any:
    """``values`` behind ``arr`` along an axis, both flattened for ``axis=None``; see ``numpy.append``."""
    return concatenate([operand(arr, "append"), operand(values, "append")], axis)


# -- members put in and taken out ------------------------------------------------------------------------------


def _flat_or_axis(name: str, arr: Any, axis: int | None) -> tuple[Any, int]:
    x = operand(arr, name)
    if axis is None:
        return flat(x), 0
    return x, normalize_axis(name, axis, aval_of(x).ndim)


def _places(name: str, obj: Any, extent: int, last: int) -> np.ndarray[Any, Any]:
    """The places that an index names, counted from the front; a 0-d array for a single integer."""
    if isinstance(obj, slice):
        return np.arange(extent)[obj] if last < extent else np.arange(*obj.indices(extent))
    places = np.asarray(obj if not isinstance(obj, Tracer) else operator.index(obj))
    if places.dtype.kind == "b" and places.ndim == 1:
        return np.flatnonzero(places)
    if not places.size:
        places = places.astype(np.intp)
    if places.ndim > 1 or places.dtype.kind not in "iu":
        raise errors.IndexingError(f"{name}: an integer, a slice or a vector of integers is needed, got {obj!r}")
    if places.size and (places.min() < -extent or places.max() > last):
        raise errors.IndexingError(f"{name}: index {obj!r} is out of bounds for an axis of extent {extent}")
    return np.where(places < 0, places + extent, places)


def _unknown_places(name: str, obj: Any, extent: int) -> Any:
    """The places that a traced index of unknown value names, counted from the front; None for any other index."""
    if not isinstance(obj, Tracer) or concrete(obj) is not None:
        return None
    aval = obj.aval
    if aval.box == "python" or aval.dtype.kind not in "iu" or aval.ndim > 1:
        return None  # A Python number becomes static; what is no integer is refused with the static ones.
    places = convert(obj, np.int64)
    return lax.select(lax.lt(places, np.int64(0)), lax.add(places, np.int64(extent)), places)


@implements(np.insert)
def insert(arr: Any, obj: Any, values: Any, axis: int | None = None) -> Any:
    """The array with values in front of the given places; see ``numpy.insert``.

    Places that are traced and not known are integers in range; a wrong one goes to the nearer end.
    """
    x, at = _flat_or_axis("insert", arr, axis)
    aval = aval_of(x)
    extent = aval.shape[at]
    unknown = _unknown_places("insert", obj, extent)
    places: Any = _places("insert", obj, extent, extent) if unknown is None else unknown
    new = convert(operand(values, "insert"), aval.dtype)
    if aval_of(places).size == 1:
        new = at_least(new, aval.ndim)
        if not aval_of(places).ndim:
            new = move_axis(new, 0, at)
        count = aval_of(new).shape[at]
    else:
        count = aval_of(places).size
    new = lax.broadcast_to(new, (*aval.shape[:at], count, *aval.shape[at + 1 :]))
    if unknown is not None:
        keys = lax.mul(lax.broadcast_to(lax.reshape(unknown, (-1,)), (count,)), np.int64(2))
        order = lax.argsort(lax.concatenate([2 * np.arange(extent) + 1, keys], 0), 0, stable=True)
        return lax.take(lax.concatenate([x, new], at), order, at)
    if places.size == 1:
        cut = int(places.reshape(-1)[0])
        return lax.concatenate([lax.slice_in_dim(x, 0, cut, axis=at), new, lax.slice_in_dim(x, cut, None, axis=at)], at)
    # A stable sort of all members, the new ones in front of the old one at the same place.
    order = np.argsort(np.concatenate([2 * np.arange(extent) + 1, 2 * places]), kind="stable")
    return lax.take(lax.concatenate([x, new], at), order, at)


@extends(np.delete, assume_unique_indices=False)
def delete(arr: Any, obj: Any, axis: int | None = None, *, assume_unique_indices: bool = False) -> Any:
    """The array without the members at the given places; see ``numpy.delete``.

    Args:
        assume_unique_indices: that no place is named twice, so that how many are left is known although the places
            are not. Only then may several places be traced and unknown; a single one may be always.

    >>> delete(np.arange(5.0), np.array([1, 3]), assume_unique_indices=True)
    array([0., 2., 4.])
    """
    x, at = _flat_or_axis("delete", arr, axis)
    extent = aval_of(x).shape[at]
    unknown = _unknown_places("delete", obj, extent)
    if unknown is not None and (assume_unique_indices or not aval_of(unknown).ndim):
        # A place outside names no member; one too many is left out then.
        gone = scatter(
            lax.zeros((extent,), np.bool_), lax.full(aval_of(unknown).shape, True), [unknown], (0,), mode="drop"
        )
        (kept,) = lax.nonzero(lax.logical_not(gone), extent - aval_of(unknown).size)
        return lax.take(x, kept, at)
    kept = np.delete(np.arange(extent), _places("delete", obj, extent, extent - 1))
    return lax.take(x, kept, at)


# -- splitting -------------------------------------------------------------------------------------------------


def unstack_axis(x: Any, axis: int) -> list[Any]:
    """The members of ``x`` along an axis."""
    aval = aval_of(x)
    parts = lax.split(x, (1,) * aval.shape[axis], axis) if aval.shape[axis] else []
    whole = tuple(range(axis)) + tuple(range(axis + 1, aval.ndim))
    box: Any = "numpy" if not whole else "array"
    return [rebox(lax.squeeze(p, (axis,)), box) for p in parts]


@implements(since("2.1", "unstack"))
def unstack(x: Any, /, *, axis: int = 0) -> Any:
    """The members of ``x`` along an axis, as a tuple; see ``numpy.unstack``."""
    x = operand(x, "unstack")
    ndim = aval_of(x).ndim
    if not ndim:
        raise errors.ShapeError("unstack: a 0-d array has no axis to be taken apart along")
    return tuple(unstack_axis(x, normalize_axis("unstack", axis, ndim)))


def _bounds(name: str, extent: int, indices_or_sections: Any, equal: bool) -> list[tuple[int, int]]:
    if isinstance(indices_or_sections, Iterable) and not isinstance(indices_or_sections, Tracer):
        cuts = [operator.index(i) for i in indices_or_sections]
        pairs = zip([0, *cuts], [*cuts, extent], strict=True)
        return [(lo, max(lo, hi)) for lo, hi in (slice(a, b).indices(extent)[:2] for a, b in pairs)]
    sections = operator.index(indices_or_sections)
    if sections <= 0:
        raise errors.ShapeError(f"{name}: the number of sections must be positive, got {sections}")
    if equal and extent % sections:
        raise errors.ShapeError(
            f"{name}: an axis of extent {extent} cannot be split into {sections} equal parts. array_split makes "
            f"parts that differ by one"
        )
    size, larger = divmod(extent, sections)
    ends = [i * size + min(i, larger) for i in range(sections + 1)]
    return list(pairwise(ends))


def _split(name: str, ary: Any, indices_or_sections: Any, axis: int, equal: bool) -> list[Any]:
    x = operand(ary, name)
    aval = aval_of(x)
    if not aval.ndim:
        raise errors.ShapeError(f"{name}: a 0-d array has no axis to be split along")
    at = normalize_axis(name, axis, aval.ndim)
    bounds = _bounds(name, aval.shape[at], indices_or_sections, equal)
    if all(hi == lo for (_, hi), (lo, _) in pairwise(bounds)) and (
        bounds[0][0] == 0 and bounds[-1][1] == aval.shape[at]
    ):
        return lax.split(x, [hi - lo for lo, hi in bounds], at)
    return [lax.slice_in_dim(x, lo, hi, axis=at) for lo, hi in bounds]


@implements(np.split)
def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """Consecutive parts of an array: equal ones, or between the given places; see ``numpy.split``."""
    return _split("split", ary, indices_or_sections, axis, True)


@implements(np.array_split)
def array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """``split`` into parts that may differ by one in extent; see ``numpy.array_split``."""
    return _split("array_split", ary, indices_or_sections, axis, False)


@implements(np.hsplit)
def hsplit(ary: Any, indices_or_sections: Any) -> list[Any]:
    """``split`` along the second axis, the only one of a vector; see ``numpy.hsplit``."""
    x = operand(ary, "hsplit")
    return _split("hsplit", x, indices_or_sections, 1 if aval_of(x).ndim > 1 else 0, True)


@implements(np.vsplit)
def vsplit(ary: Any, indices_or_sections: Any) -> list[Any]:
    """``split`` along the first axis of an array with two or more; see ``numpy.vsplit``."""
    return _split_from("vsplit", ary, indices_or_sections, 0, 2)


@implements(np.dsplit)
def dsplit(ary: Any, indices_or_sections: Any) -> list[Any]:
    """``split`` along the third axis; see ``numpy.dsplit``."""
    return _split_from("dsplit", ary, indices_or_sections, 2, 3)


def _split_from(name: str, ary: Any, indices_or_sections: Any, axis: int, ndim: int) -> list[Any]:
    x = operand(ary, name)
    if aval_of(x).ndim < ndim:
        raise errors.ShapeError(f"{name}: an array with at least {ndim} axes is needed, got shape {aval_of(x).shape}")
    return _split(name, x, indices_or_sections, axis, True)
