"""Vectors as sets: what occurs in them, once, in both of two, in either.

Results whose shape depends on data need values that are known while tracing, as under ``grad`` alone. Their elements
are taken from the operands, so that derivatives go with them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from functrans import errors, lax
from functrans.core import dtypes
from functrans.core.structural import convert, rebox
from functrans.core.trace import aval_of
from functrans.numpy import elementwise as ew
from functrans.numpy.arguments import known
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
        if axis is not None:
            raise errors.ArgumentError("unique: size= goes with axis=None alone")
        outs = _unique_of_size(_flat("unique", x), size, fill_value, equal_nan)
        shape = aval_of(x).shape
        outs[2] = lax.reshape(outs[2], shape)
    else:
        values = known("unique", "the array", x, _MEND)
        found = np.unique(values, True, True, True, axis, equal_nan=equal_nan, **order)
        base = _flat("unique", x) if axis is None else x
        outs = [lax.take(base, found[1], 0 if axis is None else axis), *found[1:]]
    wanted = (True, return_index, return_inverse, return_counts)
    chosen = tuple(out for out, want in zip(outs, wanted, strict=True) if want)
    return chosen if len(chosen) > 1 else chosen[0]


def _unique_of_size(x: Any, size: int, fill_value: Any, equal_nan: bool) -> list[Any]:
    """The first ``size`` distinct elements, and what ``unique`` can give beside them."""
    n = aval_of(x).size
    if not n:
        raise errors.ShapeError("unique: size= needs an array with elements, which those that are missing repeat")
    order = lax.argsort(x, 0, stable=True)
    ordered = lax.permute(x, order, 0)
    before, behind = lax.slice_in_dim(ordered, 0, n - 1), lax.slice_in_dim(ordered, 1, n)
    new = ew.not_equal(before, behind)
    if equal_nan and dtypes.is_inexact(aval_of(x).dtype):
        new = ew.logical_and(new, ew.logical_not(ew.logical_and(ew.isnan(before), ew.isnan(behind))))
    new = lax.concatenate([lax.full((1,), True), new], 0)
    rank = lax.sub(lax.cumsum(convert(new, np.intp)), np.intp(1))
    (places,) = lax.nonzero(new, size)
    places = convert(places, np.intp)
    values, index = lax.take(ordered, places), lax.take(order, places)
    if fill_value is not None:
        count = lax.add(lax.index(rank, n - 1), np.intp(1))
        missing = lax.ge(lax.iota(np.intp, (size,)), count)
        values = lax.select(missing, convert(operand(fill_value, "unique"), aval_of(x).dtype), values)
    inverse = lax.put_along_axis(lax.zeros((n,), np.intp), order, rank, 0)
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


@implements(np.unique_all)
def unique_all(x: Any, /) -> Any:
    """Distinct elements, their first places, which each element is, how often they occur; see ``numpy.unique_all``."""
    return type(np.unique_all(0))(*_unique(x, True, True, True, equal_nan=False))


@implements(np.unique_counts)
def unique_counts(x: Any, /) -> Any:
    """Distinct elements, and how often each occurs; see ``numpy.unique_counts``."""
    return type(np.unique_counts(0))(*_unique(x, False, False, True, equal_nan=False))


@implements(np.unique_inverse)
def unique_inverse(x: Any, /) -> Any:
    """Distinct elements, and which of them each element is; see ``numpy.unique_inverse``."""
    return type(np.unique_inverse(0))(*_unique(x, False, True, False, equal_nan=False))


@implements(np.unique_values)
def unique_values(x: Any, /) -> Any:
    """Distinct elements, in increasing order; see ``numpy.unique_values``."""
    return _unique(x, equal_nan=False)


# -- two sets ---------------------------------------------------------------------------------------------------------


def _pair(name: str, ar1: Any, ar2: Any) -> tuple[Any, Any, Any, Any]:
    """Two operands as vectors of one dtype, and their values."""
    mend = "Mark members with functrans.numpy.isin, which keeps the shape"
    given = (("the first array", operand(ar1, name)), ("the second array", operand(ar2, name)))
    values = [known(name, what, z, mend).ravel() for what, z in given]
    dtype = np.result_type(*values)
    x, y = (_flat(name, z) for z in promoted(name, ar1, ar2))
    return x, y, values[0].astype(dtype), values[1].astype(dtype)


@implements(np.union1d)
def union1d(ar1: Any, ar2: Any) -> Any:
    """The distinct elements of two arrays; see ``numpy.union1d``."""
    x, y, _, _ = _pair("union1d", ar1, ar2)
    return _unique(lax.concatenate([x, y], 0))


@implements(np.intersect1d)
def intersect1d(ar1: Any, ar2: Any, assume_unique: bool = False, return_indices: bool = False) -> Any:
    """The distinct elements that occur in both of two arrays; see ``numpy.intersect1d``."""
    x, _, a, b = _pair("intersect1d", ar1, ar2)
    _, first, second = np.intersect1d(a, b, assume_unique, True)
    values = lax.take(x, first)
    return (values, first, second) if return_indices else values


@implements(np.setdiff1d)
def setdiff1d(ar1: Any, ar2: Any, assume_unique: bool = False) -> Any:
    """The distinct elements of one array that another lacks; see ``numpy.setdiff1d``."""
    _, _, a, b = _pair("setdiff1d", ar1, ar2)
    x = _flat("setdiff1d", ar1)
    places = np.arange(a.size) if assume_unique else np.unique(a, return_index=True)[1]
    return lax.take(x, places[~np.isin(a[places], b)])


@implements(np.setxor1d)
def setxor1d(ar1: Any, ar2: Any, assume_unique: bool = False) -> Any:
    """The distinct elements that occur in one of two arrays alone; see ``numpy.setxor1d``."""
    x, y, a, b = _pair("setxor1d", ar1, ar2)
    both = np.concatenate([a, b])
    first = [np.arange(z.size) if assume_unique else np.unique(z, return_index=True)[1] for z in (a, b)]
    places = np.concatenate([first[0], first[1] + a.size])
    places = places[np.argsort(both[places], kind="stable")]
    ordered = both[places]
    new = np.concatenate([[True], ordered[1:] != ordered[:-1], [True]])
    return lax.take(lax.concatenate([x, y], 0), places[new[1:] & new[:-1]])


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
