"""Choosing, searching and sorting.

Results whose shape depends on data need values that are known while tracing, as under ``grad`` alone, or a ``size``.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from functrans import errors, lax
from functrans.core import dtypes
from functrans.core.avals import ShapedArray
from functrans.core.structural import broadcast_shapes, broadcast_to, convert, rebox
from functrans.core.trace import Tracer, aval_of
from functrans.numpy import elementwise as ew
from functrans.numpy.arguments import NO_VALUE, concrete, known, single_axis, sized
from functrans.numpy.dispatch import extends, implements, operand, reject_out
from functrans.numpy.joining import members

# -- choosing ---------------------------------------------------------------------------------------------------------

_WEAK = {"i": int, "f": float, "c": complex}


def _where_checks_range() -> bool:
    try:
        np.where(True, np.int8(0), 300)
    except OverflowError:
        return True
    return False


_CHECKED = frozenset({"where"} if _where_checks_range() else ())
"""The functions in which the installed NumPy rejects a Python int that does not fit. In others it wraps around."""


def common_operands(name: str, *values: Any) -> list[Any]:
    """Values in their common dtype, to which Python numbers adapt."""
    found = [operand(x, name) for x in values]
    avals = [aval_of(x) for x in found]
    target = dtypes.result_type(*[_WEAK[a.dtype.kind] if a.weak else a.dtype for a in avals])
    return [_adapted(x, a, target, name in _CHECKED) for x, a in zip(found, avals, strict=True)]


def _adapted(x: Any, aval: ShapedArray, target: dtypes.DType, checked: bool) -> Any:
    if aval.box == "python":
        if checked and aval.weak and aval.dtype.kind == "i" and dtypes.kind(target) in "iu":
            return ew.add(x, np.zeros((), target))  # NumPy's own check, at each call.
        return convert(convert(x, aval.dtype), target) if isinstance(x, Tracer) else np.asarray(x).astype(target)[()]
    return convert(x, target)


def _mask(name: str, condition: Any) -> Any:
    return convert(operand(condition, name), bool)


@sized
@implements(np.where)
def where(condition: Any, x: Any = NO_VALUE, y: Any = NO_VALUE, /, *, size: Any = None, fill_value: Any = None) -> Any:
    """``x`` where the condition holds, ``y`` elsewhere; see ``numpy.where``. Both are computed everywhere.

    With the condition alone it gives the places where that holds, as ``nonzero`` does, and takes ``size`` too.
    """
    if x is NO_VALUE and y is NO_VALUE:
        return lax.nonzero(operand(condition, "where"), size, fill_value)
    if x is NO_VALUE or y is NO_VALUE or size is not None:
        raise errors.ArgumentError("where: either the condition alone is needed (and size), or a value for either case")
    return lax.select(_mask("where", condition), *common_operands("where", x, y))


@implements(np.select)
def select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    """The value of the first condition that holds, else the default; see ``numpy.select``."""
    if len(condlist) != len(choicelist) or not len(condlist):
        raise errors.ArgumentError(
            f"select: as many choices as conditions are needed, one or more, got {len(condlist)} conditions and "
            f"{len(choicelist)} choices"
        )
    conditions = [operand(c, "select") for c in condlist]
    for i, c in enumerate(conditions):
        if aval_of(c).dtype != bool:
            raise errors.DTypeError(f"select: condition {i} must hold booleans, got {aval_of(c)}. Write x != 0")
    *choices, out = common_operands("select", *choicelist, default)
    shape = broadcast_shapes("select", *(aval_of(v).shape for v in (*conditions, *choices, out)))
    out = broadcast_to(out, shape)
    for condition, choice in zip(conditions[::-1], choices[::-1], strict=True):
        out = lax.select(condition, choice, out)
    return out


@implements(np.choose)
def choose(a: Any, choices: Any, out: None = None, mode: Any = "raise") -> Any:
    """The element of the choice that each integer names; see ``numpy.choose``."""
    reject_out("choose", out)
    index = operand(a, "choose")
    index = convert(index, np.intp) if aval_of(index).dtype == bool else index
    given = choices if isinstance(choices, (list, tuple)) else members("choose", choices)
    if not given:
        raise errors.ArgumentError("choose: one choice or more is needed, got none")
    cases = common_operands("choose", *given)
    shape = broadcast_shapes("choose", aval_of(index).shape, *(aval_of(c).shape for c in cases))
    stacked = lax.concatenate([lax.expand_dims(broadcast_to(c, shape), (0,)) for c in cases], 0)
    if mode == "clip":
        index = ew.minimum(ew.maximum(index, 0), len(cases) - 1)
    index = lax.expand_dims(broadcast_to(index, shape), (0,))
    return rebox(lax.squeeze(lax.take_along_axis(stacked, index, 0, mode), (0,)), "numpy")


# -- places where something holds -------------------------------------------------------------------------------------


@sized
@implements(np.nonzero)
def nonzero(a: Any, *, size: Any = None, fill_value: Any = None) -> Any:
    """The indices of the elements that are not zero, an array for each axis; see ``numpy.nonzero``.

    Args:
        size: how many to give, for where their number is not known while tracing. Further ones are left out, missing
            ones are ``fill_value``, which is 0 if None.
    """
    return lax.nonzero(operand(a, "nonzero"), size, fill_value)


@sized
@implements(np.flatnonzero)
def flatnonzero(a: Any, *, size: Any = None, fill_value: Any = None) -> Any:
    """The indices, in the flattened array, of the elements that are not zero; see ``nonzero``."""
    x = operand(a, "flatnonzero")
    return lax.nonzero(lax.reshape(x, (aval_of(x).size,)), size, fill_value)[0]


@sized
@implements(np.argwhere)
def argwhere(a: Any, *, size: Any = None, fill_value: Any = None) -> Any:
    """The indices of the elements that are not zero, a row for each; see ``numpy.argwhere`` and ``nonzero``."""
    x = operand(a, "argwhere")
    if not aval_of(x).ndim:
        found = lax.nonzero(lax.reshape(x, (1,)), size, fill_value)[0]
        return np.zeros((aval_of(found).size, 0), np.intp)
    places = lax.nonzero(x, size, fill_value)
    return lax.concatenate([lax.expand_dims(convert(p, np.intp), (1,)) for p in places], 1)


_CHOICE = (
    "Choose with functrans.numpy.where(condition, x, other), which keeps the shape, or index with the result of "
    "functrans.numpy.nonzero(condition, size=n)"
)


@sized
@implements(np.compress)
def compress(
    condition: Any, a: Any, axis: Any = None, out: None = None, *, size: Any = None, fill_value: Any = None
) -> Any:
    """The slices along an axis for which a condition holds; see ``numpy.compress``.

    Args:
        size: how many to give, for where the condition is not known while tracing. Further ones are left out, missing
            ones are ``fill_value``, zero if None.
    """
    reject_out("compress", out)
    if size is not None:
        return _compressed("compress", condition, operand(a, "compress"), axis, size, fill_value)
    chosen = known("compress", "the condition", condition, _CHOICE)
    x = operand(a, "compress")
    if axis is None:
        x, axis = lax.reshape(x, (aval_of(x).size,)), 0
    return lax.take(x, np.flatnonzero(chosen), single_axis("compress", axis, aval_of(x).ndim))


def _compressed(name: str, condition: Any, x: Any, axis: Any, size: Any, fill_value: Any) -> Any:
    if axis is None:
        x, axis = lax.reshape(x, (aval_of(x).size,)), 0
    d = single_axis(name, axis, aval_of(x).ndim)
    chosen = operand(condition, name)
    chosen = lax.reshape(chosen, (aval_of(chosen).size,))
    extent, count = aval_of(x).shape[d], aval_of(chosen).size
    if count > extent:
        raise errors.IndexingError(
            f"{name}: a condition of {count} elements is longer than axis {d} with extent {extent}. Cut it: "
            f"condition[:{extent}]"
        )
    (places,) = lax.nonzero(chosen, size, extent)
    fill = convert(operand(0 if fill_value is None else fill_value), aval_of(x).dtype)
    return lax.take(x, places, d, mode="fill", fill_value=fill)


@sized
@implements(np.extract)
def extract(condition: Any, arr: Any, *, size: Any = None, fill_value: Any = None) -> Any:
    """The elements for which a condition holds, as a vector; see ``numpy.extract``.

    ``size`` and ``fill_value`` are those of ``compress``.
    """
    if size is not None:
        return _compressed("extract", condition, operand(arr, "extract"), None, size, fill_value)
    chosen = known("extract", "the condition", condition, _CHOICE)
    return lax.take(operand(arr, "extract"), np.flatnonzero(chosen))


# -- sorting ----------------------------------------------------------------------------------------------------------


def _sorted_operand(name: str, a: Any, axis: Any, order: Any) -> tuple[Any, int]:
    if order is not None:
        raise errors.ArgumentError(f"{name}: order= names fields of structured arrays, which cannot be traced")
    x = operand(a, name)
    x = convert(x, aval_of(x).dtype)
    if axis is None or (not aval_of(x).ndim and name.startswith("arg")):
        return lax.reshape(x, (aval_of(x).size,)), 0
    return x, single_axis(name, axis, aval_of(x).ndim)


def _is_stable(name: str, kind: Any, stable: Any) -> bool:
    if kind is not None and kind not in ("quicksort", "heapsort", "stable", "mergesort"):
        raise errors.ArgumentError(f"{name}: kind must be None, 'quicksort', 'stable' or the like, got {kind!r}")
    if kind is not None and stable is not None:
        raise errors.ArgumentError(f"{name}: give kind= or stable=, not both")
    return bool(stable) or kind in ("stable", "mergesort")


@extends(np.sort, descending=False)
def sort(
    a: Any,
    axis: Any = -1,
    kind: Any = None,
    order: Any = None,
    *,
    stable: bool | None = None,
    descending: bool = False,
) -> Any:
    """The elements in increasing order along an axis, NaN last; see ``numpy.sort``.

    Derivatives go with the elements.

    Args:
        descending: whether the order is decreasing, NaN first.

    >>> sort(np.array([2.0, 3.0, 1.0]), descending=True)
    array([3., 2., 1.])
    """
    x, d = _sorted_operand("sort", a, axis, order)
    out = lax.sort(x, d, stable=_is_stable("sort", kind, stable))
    return lax.rev(out, (d,)) if descending else out


@extends(np.argsort, descending=False)
def argsort(
    a: Any,
    axis: Any = -1,
    kind: Any = None,
    order: Any = None,
    *,
    stable: bool | None = None,
    descending: bool = False,
) -> Any:
    """The indices that sort an array along an axis; see ``numpy.argsort``.

    Args:
        descending: whether the order is decreasing, NaN first. Equal elements keep their order then.

    >>> argsort(np.array([2.0, 3.0, 2.0]), descending=True)
    array([1, 0, 2])
    """
    x, d = _sorted_operand("argsort", a, axis, order)
    is_stable = _is_stable("argsort", kind, stable)
    if not descending:
        return lax.argsort(x, d, stable=is_stable)
    # Read backwards, what is sorted backwards has equal elements in their first order.
    backwards = lax.rev(lax.argsort(lax.rev(x, (d,)), d, stable=True), (d,))
    return lax.sub(np.intp(aval_of(x).shape[d] - 1), backwards)


@implements(np.sort_complex)
def sort_complex(a: Any) -> Any:
    """The elements in increasing order along the last axis, as complex numbers; see ``numpy.sort_complex``."""
    x, d = _sorted_operand("sort_complex", a, -1, None)
    dtype = aval_of(x).dtype
    if not dtypes.is_complex(dtype):
        wide = np.clongdouble if dtype.char == "g" else np.complex128
        dtype = np.dtype(np.complex64 if dtype.char in "bhBH" else wide)
    return convert(lax.sort(x, d, stable=False), dtype)


@implements(np.lexsort)
def lexsort(keys: Any, axis: int = -1) -> Any:
    """The indices that sort by several keys, of which the last counts most; see ``numpy.lexsort``."""
    rows = members("lexsort", keys)
    if not rows:
        raise errors.ArgumentError("lexsort: one key or more is needed, got none")
    if not aval_of(rows[0]).ndim:
        return np.intp(0)
    return lax.argsort(rows[::-1], axis)


def _places(kth: Any) -> int | Sequence[int]:
    if isinstance(kth, (list, tuple, np.ndarray)) and np.ndim(kth):
        return tuple(operator.index(k) for k in kth)
    return operator.index(kth)


@implements(np.partition)
def partition(a: Any, kth: Any, axis: Any = -1, kind: str = "introselect", order: Any = None) -> Any:
    """An array with the elements at given places where sorting would put them; see ``numpy.partition``.

    Which of the elements before and behind a place comes first is not specified. Derivatives go with the elements.
    """
    x, d = _sorted_operand("partition", a, axis, order)
    return lax.partition(x, _places(kth), d)


@implements(np.argpartition)
def argpartition(a: Any, kth: Any, axis: Any = -1, kind: str = "introselect", order: Any = None) -> Any:
    """The indices that ``partition`` an array; see ``numpy.argpartition``."""
    x, d = _sorted_operand("argpartition", a, axis, order)
    return lax.argpartition(x, _places(kth), d)


# -- searching --------------------------------------------------------------------------------------------------------


@implements(np.searchsorted)
def searchsorted(a: Any, v: Any, side: Any = "left", sorter: Any = None) -> Any:
    """Where values would be inserted into a sorted vector; see ``numpy.searchsorted``."""
    x, values = operand(a, "searchsorted"), operand(v, "searchsorted")
    target = dtypes.result_type(aval_of(x).dtype, aval_of(values).dtype)
    if sorter is not None:
        sorter = operand(sorter, "searchsorted")
    return rebox(lax.searchsorted(convert(x, target), convert(values, target), side, sorter), "numpy")


@implements(np.digitize)
def digitize(x: Any, bins: Any, right: bool = False) -> Any:
    """The bins in which values lie, between edges that increase or decrease; see ``numpy.digitize``."""
    values, edges = operand(x, "digitize"), operand(bins, "digitize")
    if dtypes.is_complex(aval_of(values).dtype):
        raise errors.DTypeError(f"digitize: real numbers are needed, got {aval_of(values)}")
    if aval_of(edges).ndim != 1:
        raise errors.ShapeError(f"digitize: bins must be a vector of edges, got {aval_of(edges)}")
    count = aval_of(edges).size
    side = "left" if right else "right"
    rising = None
    if (found := concrete(edges)) is not None:
        rising = bool(np.all(found[:-1] <= found[1:]))
        if not rising and not np.all(found[:-1] >= found[1:]):
            raise ValueError(f"digitize: bins must increase or decrease, got {found}")
    if rising is not False:
        upwards = searchsorted(edges, values, side)
    if rising is not True:
        downwards = ew.subtract(count, searchsorted(lax.rev(edges, (0,)), values, side))
    if rising is not None or not count:
        return upwards if rising is not False else downwards
    first, last = lax.index(edges, 0), lax.index(edges, count - 1)
    return rebox(lax.select(ew.less_equal(first, last), upwards, downwards), "numpy")
