"""Vectors as sets: what occurs in them, once, in both of two, in either.

Results whose shape depends on data need values that are known while tracing, as under ``grad`` alone. Their elements
are taken from the operands, so that derivatives go with them.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from functrans import errors, lax
from functrans.core import dtypes
from functrans.core.structural import convert, move_axis, rebox
from functrans.core.trace import aval_of
from functrans.lax.static import normalize_axis
from functrans.numpy import elementwise as ew
from functrans.numpy.arguments import known, sized
from functrans.numpy.dispatch import implements, operand
from functrans.numpy.histograms import bincount
from functrans.numpy.linear import promoted


def _flat(name: str, x: Any) -> Any:
    x = operand(x, name)
    return lax.reshape(x, (aval_of(x).size,))


# -- unique -----------------------------------------------------------------------------------------------------------

_MEND = "Give the number of elements: functrans.numpy.unique(x, size=n)"


def _unique(
    ar: Any,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    *,
    equal_nan: bool = True,
    size: int | None = None,
    fill_value: Any = None,
    **order: Any,
) -> Any:
    x = operand(ar, "unique")
    if size is not None:
        shape = aval_of(x).shape
        if axis is None:
            x, d = lax.reshape(x, (aval_of(x).size,)), 0
        else:
            d = normalize_axis("unique", axis, len(shape))
        outs = _unique_of_size(x, d, operator.index(size), fill_value, equal_nan)
        if axis is None:
            outs[2] = lax.reshape(outs[2], shape)
    else:
        values = known("unique", "the array", x, _MEND)
        found = np.unique(values, True, True, True, axis, equal_nan=equal_nan, **order)
        base = _flat("unique", x) if axis is None else x
        outs = [lax.take(base, found[1], 0 if axis is None else axis), *found[1:]]
    wanted = (True, return_index, return_inverse, return_counts)
    chosen = tuple(out for out, want in zip(outs, wanted, strict=True) if want)
    return chosen if len(chosen) > 1 else chosen[0]


def _sorted_rows(x: Any, axis: int, equal_nan: bool) -> tuple[Any, Any]:
    """The order that sorts the members of ``x`` along an axis, and which of the sorted ones differ from the last."""
    shape = aval_of(x).shape
    n = shape[axis]
    rows = lax.reshape(move_axis(x, axis, 0), (n, -1)) if len(shape) > 1 else lax.reshape(x, (n, 1))
    columns = [lax.squeeze(c, (1,)) for c in lax.split(rows, (1,) * aval_of(rows).shape[1], 1)]
    order = lax.argsort(columns, 0, stable=True)
    ordered = lax.take(rows, order, 0)
    before, behind = lax.slice_in_dim(ordered, 0, n - 1), lax.slice_in_dim(ordered, 1, n)
    new = ew.not_equal(before, behind)
    if equal_nan and dtypes.is_inexact(aval_of(x).dtype):
        new = ew.logical_and(new, ew.logical_not(ew.logical_and(ew.isnan(before), ew.isnan(behind))))
    return order, lax.concatenate([lax.full((1,), True), lax.reduce_any(new, (1,))], 0)


def _unique_of_size(x: Any, axis: int, size: int, fill_value: Any, equal_nan: bool) -> list[Any]:
    """The first ``size`` distinct members along an axis, and what ``unique`` can give beside them."""
    n = aval_of(x).shape[axis]
    if not aval_of(x).size:
        raise errors.ShapeError("unique: size= needs an array with elements, which those that are missing repeat")
    order, new = _sorted_rows(x, axis, equal_nan)
    rank = lax.sub(lax.cumsum(convert(new, np.intp)), np.intp(1))
    (places,) = lax.nonzero(new, size)
    index = lax.take(order, convert(places, np.intp))
    values = lax.take(x, index, axis)
    if fill_value is not None:
        count = lax.add(lax.index(rank, n - 1), np.intp(1))
        missing = lax.ge(lax.iota(np.intp, (size,)), count)
        missing = lax.reshape(missing, tuple(size if d == axis else 1 for d in range(aval_of(x).ndim)))
        values = lax.select(missing, convert(operand(fill_value), aval_of(x).dtype), values)
    inverse = lax.at(lax.zeros((n,), np.intp))[order].set(rank)
    return [values, index, inverse, bincount(inverse, length=size)]


_known_unique = implements(np.unique)(_unique)


def unique(
    ar: Any,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    *,
    equal_nan: bool = True,
    size: int | None = None,
    fill_value: Any = None,
    **order: Any,
) -> Any:
    """The distinct elements in increasing order; see ``numpy.unique``.

    Args:
        size: how many to give, for where their number is not known while tracing. Further ones are left out, missing
            ones are ``fill_value``, the least element if None.
    """
    if size is None:
        return _known_unique(ar, return_index, return_inverse, return_counts, axis, equal_nan=equal_nan, **order)
    return _unique(
        ar, return_index, return_inverse, return_counts, axis, equal_nan=equal_nan, size=size, fill_value=fill_value
    )


def _array_api(original: Any, **wanted: bool) -> Any:
    """A ``unique`` of the array API, which counts NaNs apart and names its results."""

    @implements(original)
    def traced(x: Any, /, *, size: int | None = None, fill_value: Any = None) -> Any:
        found = _unique(x, **wanted, equal_nan=False, size=size, fill_value=fill_value)
        return type(original(0))(*found) if wanted else found

    found = sized(traced)
    found.__name__ = found.__qualname__ = original.__name__
    found.__doc__ = (
        f"The distinct elements in increasing order, each NaN apart; see ``numpy.{original.__name__}``.\n\n"
        f"``size`` and ``fill_value`` are those of ``unique``."
    )
    return found


unique_all = _array_api(np.unique_all, return_index=True, return_inverse=True, return_counts=True)
unique_counts = _array_api(np.unique_counts, return_counts=True)
unique_inverse = _array_api(np.unique_inverse, return_inverse=True)
unique_values = _array_api(np.unique_values)


# -- two sets ---------------------------------------------------------------------------------------------------------

_OF_TWO = "Give the number of elements with size=, or mark members with functrans.numpy.isin, which keeps the shape"


def _pair(name: str, ar1: Any, ar2: Any) -> tuple[Any, Any, Any, Any]:
    """Two operands as vectors of one dtype, and their values."""
    given = (("the first array", operand(ar1, name)), ("the second array", operand(ar2, name)))
    values = [known(name, what, z, _OF_TWO).ravel() for what, z in given]
    dtype = np.result_type(*values)
    x, y = (_flat(name, z) for z in promoted(name, ar1, ar2))
    return x, y, values[0].astype(dtype), values[1].astype(dtype)


def _vectors(name: str, ar1: Any, ar2: Any) -> tuple[Any, Any]:
    x, y = (_flat(name, z) for z in promoted(name, ar1, ar2))
    if not aval_of(x).size or not aval_of(y).size:
        raise errors.ShapeError(f"{name}: size= needs arrays with elements")
    return x, y


def _once(x: Any, assume_unique: bool) -> tuple[Any, Any]:
    """An order of the elements, and which of the ordered ones are the first of their kind."""
    if assume_unique:
        return lax.iota(np.intp, (aval_of(x).size,)), lax.full((aval_of(x).size,), True)
    return _sorted_rows(x, 0, True)


def _compact(x: Any, keep: Any, size: Any, fill_value: Any) -> tuple[Any, Any, Any]:
    """The first ``size`` elements that are kept, their places, and which of the ``size`` are missing.

    Missing ones are ``fill_value``, the first one kept if None.
    """
    count = operator.index(size)
    (places,) = lax.nonzero(keep, count)
    places = convert(places, np.intp)
    missing = lax.ge(lax.iota(np.intp, (count,)), lax.reduce_sum(convert(keep, np.intp)))
    values = lax.take(x, places)
    if fill_value is not None:
        values = lax.select(missing, convert(operand(fill_value), aval_of(x).dtype), values)
    return values, places, missing


@sized
@implements(np.union1d)
def union1d(ar1: Any, ar2: Any, *, size: int | None = None, fill_value: Any = None) -> Any:
    """The distinct elements of two arrays; see ``numpy.union1d``. ``size``, ``fill_value`` are those of ``unique``."""
    if size is None:
        x, y, _, _ = _pair("union1d", ar1, ar2)
    else:
        x, y = _vectors("union1d", ar1, ar2)
    return _unique(lax.concatenate([x, y], 0), size=size, fill_value=fill_value)


@sized
@implements(np.intersect1d)
def intersect1d(
    ar1: Any,
    ar2: Any,
    assume_unique: bool = False,
    return_indices: bool = False,
    *,
    size: int | None = None,
    fill_value: Any = None,
) -> Any:
    """The distinct elements that occur in both of two arrays; see ``numpy.intersect1d``.

    Args:
        size: how many to give, for where their number is not known while tracing. Further ones are left out; missing
            ones are ``fill_value``, the least element found if None, and their places are the arrays' lengths.
    """
    if size is None:
        x, _, a, b = _pair("intersect1d", ar1, ar2)
        _, first, second = np.intersect1d(a, b, assume_unique, True)
        values = lax.take(x, first)
        return (values, first, second) if return_indices else values
    x, y = _vectors("intersect1d", ar1, ar2)
    order, new = _sorted_rows(x, 0, True)
    ordered = lax.take(x, order)
    keep = lax.logical_and(new, isin(ordered, y))
    values, places, missing = _compact(ordered, keep, size, fill_value)
    if not return_indices:
        return values
    order_y, _ = _sorted_rows(y, 0, True)
    place_y = ew.minimum(lax.searchsorted(lax.take(y, order_y), lax.take(ordered, places)), aval_of(y).size - 1)
    pairs = ((lax.take(order, places), x), (lax.take(order_y, place_y), y))
    return (values, *(lax.select(missing, np.intp(aval_of(z).size), convert(i, np.intp)) for i, z in pairs))


@sized
@implements(np.setdiff1d)
def setdiff1d(
    ar1: Any, ar2: Any, assume_unique: bool = False, *, size: int | None = None, fill_value: Any = None
) -> Any:
    """The distinct elements of one array that another lacks; see ``numpy.setdiff1d``.

    Args:
        size: how many to give, for where their number is not known while tracing. Further ones are left out; missing
            ones are ``fill_value``, the first element found if None.
    """
    if size is None:
        _, _, a, b = _pair("setdiff1d", ar1, ar2)
        x = _flat("setdiff1d", ar1)
        places = np.arange(a.size) if assume_unique else np.unique(a, return_index=True)[1]
        return lax.take(x, places[~np.isin(a[places], b)])
    x = _flat("setdiff1d", ar1)
    order, new = _once(x, assume_unique)
    ordered = lax.take(x, order)
    return _compact(ordered, lax.logical_and(new, isin(ordered, ar2, invert=True)), size, fill_value)[0]


@sized
@implements(np.setxor1d)
def setxor1d(
    ar1: Any, ar2: Any, assume_unique: bool = False, *, size: int | None = None, fill_value: Any = None
) -> Any:
    """The distinct elements that occur in one of two arrays alone; see ``numpy.setxor1d``.

    ``size`` and ``fill_value`` are those of ``intersect1d``.
    """
    if size is None:
        x, y, a, b = _pair("setxor1d", ar1, ar2)
        both = np.concatenate([a, b])
        first = [np.arange(z.size) if assume_unique else np.unique(z, return_index=True)[1] for z in (a, b)]
        places = np.concatenate([first[0], first[1] + a.size])
        places = places[np.argsort(both[places], kind="stable")]
        ordered = both[places]
        new = np.concatenate([[True], ordered[1:] != ordered[:-1], [True]])
        return lax.take(lax.concatenate([x, y], 0), places[new[1:] & new[:-1]])
    x, y = _vectors("setxor1d", ar1, ar2)
    joined = []
    for z, other in ((x, y), (y, x)):
        order, new = _once(z, assume_unique)
        part = lax.take(z, order)
        joined.append((part, lax.logical_and(new, isin(part, other, invert=True))))
    both = lax.concatenate([part for part, _ in joined], 0)
    keep = lax.concatenate([kept for _, kept in joined], 0)
    order = lax.argsort([lax.logical_not(keep), both], 0)
    return _compact(lax.take(both, order), lax.take(keep, order), size, fill_value)[0]


@implements(np.isin)
def isin(
    element: Any, test_elements: Any, assume_unique: bool = False, invert: bool = False, *, kind: Any = None
) -> Any:
    """Which elements occur among others; see ``numpy.isin``."""
    x, tests = promoted("isin", element, test_elements)
    tests = lax.sort(lax.reshape(tests, (aval_of(tests).size,)), 0, stable=False)
    count = aval_of(tests).size
    if not count:
        return lax.full(aval_of(x).shape, bool(invert))
    place = ew.minimum(lax.searchsorted(tests, x), count - 1)
    found = lax.eq(lax.take(tests, place), x)
    return rebox(lax.logical_not(found) if invert else found, "array")
