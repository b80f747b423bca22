"""NumPy's indexing, ``x[idx]``, for arrays and tracers: what stands between the brackets is taken apart here.

Every index splits into a static part (integers, slices, new axes) and index arrays. Masks whose contents are known
become the index arrays of their true elements. Where index arrays are separated by a slice, an ellipsis or a new
axis, their axes come first in the result, as in NumPy; integers count as index arrays there.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from functrans import errors
from functrans.core.avals import Shape, is_device_array
from functrans.core.structural import broadcast, convert, rebox
from functrans.core.trace import Tracer, aval_of, known
from functrans.lax.compare import bitwise_and, ge, lt
from functrans.lax.gather import Mode, natural_place, out_of_bounds, take_index_p, taken_shape
from functrans.lax.indexing import FULL, BasicIndex, Entry, basic_index_p, basic_shape, canonical_slice
from functrans.lax.magnitude import clamp
from functrans.lax.rounding import remainder
from functrans.lax.slicing import concatenate


class Subscript(NamedTuple):
    """An index taken apart: ``x[idx]`` is ``take_index(basic_index(x, basic), arrays, axes, at)``.

    Attributes:
        basic: the static part.
        arrays: index arrays, concrete or traced.
        axes: the axes of ``basic_index(x, basic)`` that they index.
        at: where their axes stand in the result.
        ellipsis: whether the index has one: then a result without axes is a 0-d array.
    """

    basic: BasicIndex
    arrays: tuple[Any, ...]
    axes: tuple[int, ...]
    at: int
    ellipsis: bool


class _Item(NamedTuple):
    """One part of an index.

    Kinds: ``slice``, ``new``, ``ellipsis``, ``int`` (static), ``scalar`` (an integer known at run time), ``array``,
    and ``flag`` for a boolean without axes, whose value is how often it takes what it stands before: once or never.
    """

    kind: str
    value: Any


_STATIC_BOUNDS = (type(None), int)


def _static_key(entries: Sequence[Any]) -> tuple[Any, ...] | None:
    """A hashable form of an index of plain integers, slices, None and Ellipsis; None for any other."""
    key: list[Any] = []
    for e in entries:
        kind = type(e)
        if kind is int or e is None or e is Ellipsis:
            key.append(e)
        elif kind is slice:
            start, stop, step = e.start, e.stop, e.step
            if not (type(start) in _STATIC_BOUNDS and type(stop) in _STATIC_BOUNDS and type(step) in _STATIC_BOUNDS):
                return None
            key.append((start, stop, step))
        else:
            return None
    return tuple(key)


@lru_cache(maxsize=8192)
def _parse_static(shape: Shape, key: tuple[Any, ...]) -> Subscript:
    items = [
        _Item("int", e) if type(e) is int else
        _Item("slice", slice(*e)) if type(e) is tuple else
        _Item("new" if e is None else "ellipsis", None)
        for e in key
    ]  # fmt: skip
    return _assemble(shape, items, False)


def parse(x: Any, idx: Any, lenient: bool = False) -> Subscript:
    """An index of ``x`` taken apart.

    Args:
        x: the array that is indexed.
        idx: whatever NumPy takes between brackets.
        lenient: whether integers and arrays may be out of bounds, because a mode says what happens to them.

    Raises:
        IndexingError: NumPy would raise IndexError, or the index cannot be traced.
    """
    shape = aval_of(x).shape
    entries = idx if isinstance(idx, tuple) else (idx,)
    if not lenient:
        key = _static_key(entries)
        if key is not None:
            return _parse_static(shape, key)
        if type(idx) is np.ndarray and idx.ndim and idx.dtype.kind in "iu" and shape and _concrete(x) is not None:
            return Subscript((), (idx,), (0,), 0, False)
    entries = tuple([_index_list(e) if isinstance(e, (list, tuple)) else e for e in entries])
    items: list[_Item] = []
    axis = 0
    n_masked = _axes_named(entries)
    for e in entries:
        found = _classify(e, shape, axis)
        items.extend(found)
        if e is Ellipsis:
            axis += max(len(shape) - n_masked, 0)
        else:
            axis += sum(item.kind not in ("new", "flag") for item in found)
    if not lenient and _concrete(x) is None:
        _check_bounds(shape, items)
    return _assemble(shape, items, lenient)


def _axes_named(entries: Sequence[Any]) -> int:
    """How many axes the entries of an index take, the ellipsis apart."""
    count = 0
    for e in entries:
        if e is None or e is Ellipsis:
            continue
        mask = _mask_ndim(e)
        count += 1 if mask is None else mask
    return count


def _mask_ndim(e: Any) -> int | None:
    if isinstance(e, (bool, np.bool_)):
        return 0
    if isinstance(e, (Tracer, np.ndarray)) or is_device_array(e):
        return len(e.shape) if e.dtype.kind == "b" else None
    return None


def _concrete(value: Any) -> Any:
    """The value itself where it is no tracer, else what its trace knows of it: None if nothing."""
    return value._trace.concrete(value) if isinstance(value, Tracer) else value


# -- classifying one entry ------------------------------------------------------------------------------------------


def _classify(e: Any, shape: Shape, axis: int) -> list[_Item]:
    if e is None:
        return [_Item("new", None)]
    if e is Ellipsis:
        return [_Item("ellipsis", None)]
    if isinstance(e, slice):
        return [_Item("slice", slice(*(_static_bound(e, part) for part in (e.start, e.stop, e.step))))]
    if isinstance(e, (bool, np.bool_)):
        return [_Item("flag", int(e))]
    if isinstance(e, (Tracer, np.ndarray)) or is_device_array(e):
        return _classify_array(e, shape, axis)
    if isinstance(e, np.generic) and e.dtype.kind not in "iu":
        raise _bad_entry(e)
    try:
        return [_Item("int", operator.index(e))]
    except TypeError:
        raise _bad_entry(e) from None


def _bad_entry(e: Any) -> errors.IndexingError:
    what = f"a value of type {aval_of(e)}" if isinstance(e, (Tracer, np.generic, np.ndarray)) else repr(e)
    return errors.IndexingError(
        f"index: an index holds integers, slices, `...`, None, and arrays of integers or booleans; got {what} of type "
        f"{type(e).__name__}. Convert a float to an integer: i.astype(int)"
    )


def _static_bound(whole: slice, part: Any) -> int | None:
    if part is None or type(part) is int:
        return part
    try:
        return operator.index(part)
    except errors.ConcretizationError:
        raise errors.IndexingError(
            f"index: a bound of a slice is a traced value of type {aval_of(part)}, and the shape of the result would "
            f"depend on it. {part.describe_origin()}For a piece of static size use functrans.lax.dynamic_slice(x, "
            f"(start,), (size,)) or dynamic_slice_in_dim, for a varying size a mask: "
            f"functrans.numpy.where(functrans.numpy.arange(n) < stop, x, 0)"
        ) from None
    except TypeError:
        raise errors.IndexingError(f"index: a bound of a slice must be an integer or None, got {whole!r}") from None


def _classify_array(e: Any, shape: Shape, axis: int) -> list[_Item]:
    ndim = len(e.shape)
    kind = e.dtype.kind
    if kind == "b":
        return _classify_mask(e, shape, axis)
    if kind not in "iu":
        raise _bad_entry(e)
    if ndim:
        return [_Item("array", e)]
    inside = _concrete(e) if isinstance(e, Tracer) else e
    return [_Item("scalar", e) if inside is None else _Item("int", int(inside))]


def _classify_mask(mask: Any, shape: Shape, axis: int) -> list[_Item]:
    covered = shape[axis : axis + len(mask.shape)]
    if tuple(mask.shape) != covered:
        raise errors.IndexingError(
            f"index: a mask of shape {tuple(mask.shape)} does not fit the axes of shape {covered} that it stands for, "
            f"in an array of shape {shape}"
        )
    inside = known(mask)
    if inside is None:
        raise errors.IndexingError(
            f"index: how many elements a traced mask of type {aval_of(mask)} selects is not known while tracing, so "
            f"the result would have no shape. {mask.describe_origin()}Write functrans.numpy.where(mask, x, 0) in place "
            f"of x[mask], or give the number of elements: x[functrans.numpy.nonzero(mask, size=...)]"
        )
    if inside.ndim == 0:
        return [_Item("flag", int(inside))]
    return [_Item("array", i) for i in inside.nonzero()]


def _index_list(entries: Any) -> Any:
    """A (nested) list of integers or booleans as an array; it may hold tracers."""
    if not _holds_tracer(entries):
        array = np.asarray(entries)
        return array.astype(np.intp) if array.size == 0 and array.dtype.kind == "f" else array
    parts = [_index_list(e) if isinstance(e, (list, tuple)) else e for e in entries]
    dtype = np.dtype(bool) if all(aval_of(p).dtype.kind == "b" for p in parts) else np.dtype(np.intp)
    rows = []
    for p in parts:
        if aval_of(p).dtype.kind not in "biu":
            raise _bad_entry(p)
        p = convert(p, dtype)
        ndim = aval_of(p).ndim
        rows.append(broadcast(p, (1, *aval_of(p).shape), range(1, ndim + 1)))
    return concatenate(rows, 0)


def _holds_tracer(entries: Any) -> bool:
    return any(isinstance(e, Tracer) or (isinstance(e, (list, tuple)) and _holds_tracer(e)) for e in entries)


# -- assembling -----------------------------------------------------------------------------------------------------


def _check_bounds(shape: Shape, items: Sequence[_Item]) -> None:
    """Check concrete index arrays while tracing; elsewhere the operation itself finds what is out of bounds."""
    axis = 0
    missing = _missing(shape, items)
    for kind, value in items:
        if kind == "array" and not isinstance(value, Tracer) and value.size:
            extent = shape[axis]
            if isinstance(extent, int) and (value.min() < -extent or value.max() >= extent):
                raise out_of_bounds("index", shape, (axis,), (value,))
        axis += missing if kind == "ellipsis" else kind not in ("new", "flag")


def _missing(shape: Shape, items: Sequence[_Item]) -> int:
    """How many axes of the array the items leave to an ellipsis, or to the end."""
    used = sum(kind not in ("new", "flag", "ellipsis") for kind, _ in items)
    if used > len(shape):
        raise errors.IndexingError(
            f"index: too many indices for an array of shape {shape}: it has {len(shape)} axes, and {used} were indexed"
        )
    return len(shape) - used


def _assemble(shape: Shape, items: Sequence[_Item], lenient: bool) -> Subscript:
    missing = _missing(shape, items)
    if sum(kind == "ellipsis" for kind, _ in items) > 1:
        raise errors.IndexingError("index: an index can have only one ellipsis ('...')")
    basic: list[Entry] = []
    arrays: list[Any] = []
    axes: list[int] = []
    places: list[int] = []
    kept_before: list[int] = []
    axis = inner = kept = 0
    fancy = any(kind in ("array", "flag") for kind, _ in items)
    for place, (kind, value) in enumerate(items):
        if kind == "int" and not isinstance(shape[axis], int):
            kind, value = "scalar", np.int64(value)
        if kind == "int" and not -shape[axis] <= value < shape[axis]:
            if not lenient:
                raise errors.IndexingError(
                    f"index: {value} is out of bounds for axis {axis} with extent {shape[axis]}, in an array of shape "
                    f"{shape}"
                )
            kind, value = "scalar", np.int64(value)
        if kind == "ellipsis":
            basic += [FULL] * missing
            axis, inner, kept = axis + missing, inner + missing, kept + missing
        elif kind == "slice":
            basic.append(canonical_slice(shape[axis], value.start, value.stop, value.step))
            axis, inner, kept = axis + 1, inner + 1, kept + 1
        elif kind == "new":
            basic.append(None)
            inner, kept = inner + 1, kept + 1
        else:
            places.append(place)
            kept_before.append(kept)
            if kind == "int":
                basic.append(value % shape[axis])
                axis += 1
                continue
            basic.append(None if kind == "flag" else FULL)
            arrays.append(np.zeros(value, np.intp) if kind == "flag" else value)
            axes.append(inner)
            inner += 1
            axis += kind != "flag"
    while basic and basic[-1] == FULL:
        basic.pop()
    if fancy:
        at = kept_before[0] if places[-1] - places[0] == len(places) - 1 else 0
    else:
        at = natural_place(tuple(axes)) if axes else 0
    ellipsis = any(kind == "ellipsis" for kind, _ in items)
    return Subscript(tuple(basic), tuple(arrays), tuple(axes), at, ellipsis)


# -- the entry point ------------------------------------------------------------------------------------------------


def index(x: Any, idx: Any) -> Any:
    """``x[idx]`` as NumPy has it, where array and index may be traced.

    Args:
        x: an array or a number.
        idx: an integer, a slice, ``...``, None, an array or a list of integers or booleans, or a tuple of these.
            Integers and arrays of integers may be traced; a mask may be where its contents are known (not under
            ``jit`` and ``vmap``); the bounds of slices may not.

    Returns:
        An array of the shape that NumPy gives. A 0-d result is a NumPy scalar, or a 0-d array where the index has
        an ellipsis.

    Raises:
        IndexingError: an index is out of bounds, of a kind that NumPy does not take, or one that cannot be traced.
            A traced index that is out of bounds raises when the program runs; ``x.at[idx].get(mode=...)`` has
            other modes.

    >>> x = np.arange(6.0).reshape(2, 3)
    >>> index(x, (slice(None), [0, -1]))
    array([[0., 2.],
           [3., 5.]])
    >>> index(x, x > 2.0)
    array([3., 4., 5.])
    """
    basic, arrays, axes, at, ellipsis = parse(x, idx)
    if arrays:
        if basic:
            x = basic_index_p.bind(x, index=basic)
        out = take_index_p.bind(x, *arrays, axes=axes, at=at, mode="raise")
    elif basic or not isinstance(x, Tracer) or not x.aval.shape:
        out = basic_index_p.bind(x, index=basic)
    else:
        return x
    return rebox(out, "array") if ellipsis and not aval_of(out).shape else out


def subscript_shape(shape: Shape, subscript: Subscript) -> Shape:
    """The shape of ``x[idx]``."""
    inner = basic_shape(shape, subscript.basic)
    if not subscript.arrays:
        return inner
    return taken_shape("index", inner, [aval_of(i) for i in subscript.arrays], subscript.axes, subscript.at)


# -- indices that are out of bounds ---------------------------------------------------------------------------------

INDEX_MODES = (None, "raise", "promise_in_bounds", "clip", "wrap", "fill", "drop")


def bounded(name: str, indices: Sequence[Any], extents: Sequence[Any], mode: str | None) -> tuple[list[Any], Mode]:
    """Index arrays as a mode wants them, and the mode that is left for the operation itself.

    Args:
        name: the function, for the error.
        indices: index arrays.
        extents: the extents of the axes that they index.
        mode: ``"clip"`` takes the nearest place inside, ``"wrap"`` counts on from the other end, ``"fill"`` and
            ``"drop"`` leave it to the operation, None, ``"raise"`` and ``"promise_in_bounds"`` raise an error.
    """
    if mode not in INDEX_MODES:
        known = ", ".join(repr(m) for m in INDEX_MODES[1:])
        raise errors.ArgumentError(f"{name}: mode={mode!r} is not known; the modes are {known}, and None for 'raise'")
    if mode in ("fill", "drop"):
        return list(indices), "drop"
    if mode not in ("clip", "wrap"):
        return list(indices), "raise"
    out = []
    for given, extent in zip(indices, extents, strict=True):
        i = convert(given, np.int64)
        if extent == 0:
            out.append(i)
        elif mode == "wrap":
            out.append(remainder(i, extent))
        else:
            out.append(clamp(-extent, i, extent - 1))
    return out, "raise"


def inside(indices: Sequence[Any], extents: Sequence[Any]) -> Any:
    """Which index tuples name a place inside, as booleans of the index arrays' common shape."""
    valid: Any = None
    for given, extent in zip(indices, extents, strict=True):
        i = convert(given, np.int64)
        now = bitwise_and(ge(i, -extent), lt(i, extent))
        valid = now if valid is None else bitwise_and(valid, now)
    return valid
