"""Choosing, searching, sorting, counting and sets: against NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import functrans as ft
import functrans.numpy as fnp
from functrans import errors
from tests.numpy.agreement import Example, check_example, same

X = np.array([[0.5, -1.5, 2.0], [1.25, 3.0, -0.75]])
Y = np.array([1.5, -0.25, 0.75])
INTS = np.array([[3, -1, 2], [5, 4, -6]])
TIES = np.array([3, 1, 2, 1, 3, 3])
MASK = np.array([[True, False, True], [False, False, True]])
SPECIAL = np.array([2.0, np.nan, -np.inf, 0.0, np.inf, -1.0])
Z = X + 1j * X[::-1]
F32 = X.astype(np.float32)
EDGES = np.array([-1.0, 0.0, 1.0, 2.0])
MANY = np.sin(np.arange(50.0) * 1.7) * 3.0

CHOOSING = [
    Example("where", lambda xp, x, y: xp.where(MASK, x, y), (X, Y)),
    Example("where traced", lambda xp, m, x: xp.where(m, x, -x), (MASK, X)),
    Example("where of ints", lambda xp, x: xp.where([2, 0, 1], x, 0.0), (X,)),
    Example("where of NaN", lambda xp, c: xp.where(c, 1, 2), (np.array([np.nan, 0.0]),), 0),
    Example("where of a number", lambda xp, x: xp.where(x > 1, x, 2.0 * x), (1.5,)),
    Example("where weak", lambda xp, x: xp.where(MASK, x, 2.0), (F32,), 0),
    Example("where weak int", lambda xp, x: xp.where(MASK, x, 2), (F32,), 0),
    Example("where of Python numbers", lambda xp, m: xp.where(m, 1, 2.5), (MASK,)),
    Example("where widens", lambda xp, x: xp.where(MASK, x, 2.5), (INTS.astype(np.int8),)),
    Example("where promotes", lambda xp, x, y: xp.where(MASK, x, y), (INTS.astype(np.int16), F32), 0),
    Example("where of bools", lambda xp, x: xp.where(MASK, x, True), (F32,), 0),
    Example("where of lists", lambda xp, x: xp.where([True, False], [x, 1.0], [2.0, x]), (1.5,), protocol=False),
    Example("select", lambda xp, x: xp.select([x > 1.0, x > 0.0], [x**2, -x], 5.0), (X,)),
    Example("select default", lambda xp, x: xp.select([x > 1.0], [x]), (X,)),
    Example("select weak", lambda xp, x: xp.select([MASK, ~MASK], [x, 2.0]), (F32,), 0, protocol=True),
    Example("select broadcasts", lambda xp, x: xp.select([MASK[0], True], [x, 2]), (X,), protocol=True),
    Example("select of ints", lambda xp, x: xp.select([x > 1], [x], 2), (INTS.astype(np.int8),)),
    Example("choose", lambda xp, x, y: xp.choose([2, 0, 1], [x, y, x * y]), (X[0], Y)),
    Example("choose broadcasts", lambda xp, x: xp.choose([[1], [0]], [x, 2.0]), (Y,)),
    Example("choose wrap", lambda xp, x: xp.choose([-1, 2, 4], [x, -x], mode="wrap"), (Y,)),
    Example("choose clip", lambda xp, x: xp.choose([-1, 2, 4], [x, -x], mode="clip"), (Y,)),
    Example("choose rows", lambda xp, x: xp.choose([1, 0, 1], x), (X,)),
    Example("choose one", lambda xp, x: xp.choose(1, [x, 2.5]), (1.5,), 0),
    Example("choose by bools", lambda xp, x: xp.choose(MASK[0], [x, 0.0]), (Y,)),
    Example("choose traced", lambda xp, i: xp.choose(i, [[1, 2, 3], [4, 5, 6]]), (np.array([0, 1, 0]),)),
]

SORTING = [
    Example("sort", lambda xp, x: xp.sort(x), (X,)),
    Example("sort axis", lambda xp, x: xp.sort(x, axis=0), (X,)),
    Example("sort all", lambda xp, x: xp.sort(x, axis=None), (X,)),
    Example("sort stable", lambda xp, x: xp.sort(x, kind="stable"), (TIES,)),
    Example("sort special", lambda xp, x: xp.sort(x, stable=True), (SPECIAL,), 0),
    Example("sort complex", lambda xp, x: xp.sort(x, axis=0), (Z,), 1),
    Example("sort bools", lambda xp, x: xp.sort(x), (MASK,)),
    Example("sort of a list", lambda xp, x: xp.sort([x, 1.0, x * 2.0]), (1.5,), protocol=False),
    Example("sort_complex", lambda xp, x: xp.sort_complex(x), (Y,)),
    Example("sort_complex float32", lambda xp, x: xp.sort_complex(x), (F32,), 0),
    Example("sort_complex int8", lambda xp, x: xp.sort_complex(x), (INTS.astype(np.int8),)),
    Example("argsort", lambda xp, x: xp.argsort(x), (X,), 0),
    Example("argsort axis", lambda xp, x: xp.argsort(x, axis=0, stable=True), (INTS,)),
    Example("argsort ties", lambda xp, x: xp.argsort(x, kind="mergesort"), (TIES,)),
    Example("argsort all", lambda xp, x: xp.argsort(x, axis=None), (X,), 0),
    Example("argsort special", lambda xp, x: xp.argsort(x), (SPECIAL,), 0),
    Example("argsort of a number", lambda xp, x: xp.argsort(x, axis=0), (1.5,), 0, batch=False),
    Example("argsort method", lambda xp, x: x.argsort(), (X,), 0),
    Example("lexsort", lambda xp, a, b: xp.lexsort((a, b)), (X[0], np.array([1.0, 0.0, 1.0])), 0),
    Example("lexsort rows", lambda xp, x: xp.lexsort(x, axis=0), (X,), 0),
    Example("lexsort axis", lambda xp, a: xp.lexsort((a, a[::-1]), axis=0), (INTS,)),
    Example("partition", lambda xp, x: xp.partition(x, 1), (X,)),
    Example("partition places", lambda xp, x: xp.partition(x, [0, -1], axis=0), (X,)),
    Example("partition all", lambda xp, x: xp.partition(x, 2, axis=None), (X,)),
    Example("partition ints", lambda xp, x: xp.partition(x, 3), (TIES,)),
    Example("argpartition", lambda xp, x: xp.argpartition(x, 1, axis=1), (X,), 0),
    Example("argpartition method", lambda xp, x: x.argpartition(1), (X,), 0),
]

SEARCHING = [
    Example("searchsorted", lambda xp, v: xp.searchsorted(EDGES, v), (X,), 0),
    Example("searchsorted right", lambda xp, v: xp.searchsorted(EDGES, v, side="right"), (EDGES,), 0),
    Example("searchsorted number", lambda xp, v: xp.searchsorted(EDGES, v), (0.5,), 0),
    Example("searchsorted traced", lambda xp, a, v: xp.searchsorted(a, v), (np.arange(4.0), np.array([1.5, 1.0])), 0),
    Example("searchsorted promotes", lambda xp, v: xp.searchsorted([1, 2, 3], v), (np.float32([1.5, 2.0]),), 0),
    Example(
        "searchsorted sorter",
        lambda xp, a: xp.searchsorted(a, 2.5, sorter=[1, 2, 0]),
        (np.array([3.0, 1, 2]),),
        0,
        batch=False,
    ),
    Example("digitize", lambda xp, x: xp.digitize(x, EDGES), (X,), 0),
    Example("digitize right", lambda xp, x: xp.digitize(x, EDGES, right=True), (EDGES,), 0),
    Example("digitize falling", lambda xp, x: xp.digitize(x, EDGES[::-1]), (EDGES,), 0),
    Example("digitize traced", lambda xp, x, e: xp.digitize(x, e), (X, EDGES), 0, batch=False),
    Example("digitize traced, falling", lambda xp, x, e: xp.digitize(x, e[::-1], True), (X, EDGES), 0, batch=False),
    Example("digitize number", lambda xp, x: xp.digitize(x, EDGES), (0.5,), 0),
    Example("isin", lambda xp, x: xp.isin(x, [1, 2, -6]), (INTS,)),
    Example("isin traced", lambda xp, x, t: xp.isin(x, t), (INTS, np.array([4, 4, 3]))),
    Example("isin invert", lambda xp, x: xp.isin(x, [0.5, np.nan], invert=True), (SPECIAL,), 0),
    Example("isin of nothing", lambda xp, x: xp.isin(x, []), (X,), 0),
    Example("isin number", lambda xp, x: xp.isin(x, [1.5, 2.0]), (1.5,), 0),
]

COUNTING = [
    Example("bincount weights", lambda xp, w: xp.bincount([0, 2, 2], weights=w), (Y,)),
    Example("bincount minlength", lambda xp, w: xp.bincount([0, 2, 2], w, 5), (Y.astype(np.float32),), 0),
    *[
        Example(f"histogram {name}", f, (MANY,), 0)
        for name, f in {
            "default": lambda xp, x: xp.histogram(x),
            "bins": lambda xp, x: xp.histogram(x, bins=7),
            "range": lambda xp, x: xp.histogram(x, bins=5, range=(-1, 2.5)),
            "edges": lambda xp, x: xp.histogram(x, bins=EDGES),
            "density": lambda xp, x: xp.histogram(x, bins=5, density=True),
            "density of edges": lambda xp, x: xp.histogram(x, bins=EDGES, density=True),
            "of float32": lambda xp, x: xp.histogram(x.astype(np.float32), bins=6),
            "of ints": lambda xp, x: xp.histogram((x * 9.0).astype(np.int8), bins=6),
            "at edges": lambda xp, x: xp.histogram(xp.round(x, 1), bins=60, range=(-3.0, 3.0)),
        }.items()
    ],
    Example("histogram weights", lambda xp, w: xp.histogram(X, bins=3, weights=w), (X,), 1),
    Example("histogram float32 weights", lambda xp, w: xp.histogram(X, bins=EDGES, weights=w), (F32,), 0),
    Example("histogram int weights", lambda xp, w: xp.histogram(X, bins=3, weights=w), (INTS,)),
    Example("histogram complex weights", lambda xp, w: xp.histogram(X, bins=3, weights=w)[0], (Z,), 1),
    Example("histogram of equal values", lambda xp, x: xp.histogram(x, 3), (np.full(4, 2.0),), 0),
    Example("histogram of nothing", lambda xp, x: xp.histogram(x, 3), (np.zeros(0),), 0),
    Example("histogram of special values", lambda xp, x: xp.histogram(x, 3, range=(-1.5, 2)), (SPECIAL,), 0),
    Example("histogram edges of special values", lambda xp, x: xp.histogram(x, EDGES), (SPECIAL,), 0),
    Example("histogram_bin_edges", lambda xp, x: xp.histogram_bin_edges(x, 4), (X,), 1, digits=2),
    Example("histogram2d", lambda xp, x, y: xp.histogram2d(x, y, 4), (MANY, MANY[::-1]), 0),
    Example("histogram2d bins", lambda xp, x, y: xp.histogram2d(x, y, [3, EDGES]), (MANY, MANY[::-1]), 0),
    Example("histogram2d edges", lambda xp, x, y: xp.histogram2d(x, y, EDGES), (MANY, MANY[::-1]), 0),
    Example("histogram2d range", lambda xp, x: xp.histogram2d(x, x, 3, [[-1, 1], [0, 2]]), (MANY,), 0),
    Example("histogram2d density", lambda xp, x: xp.histogram2d(x, x[::-1], 3, density=True), (MANY,), 0, digits=2),
    Example("histogram2d weights", lambda xp, w: xp.histogram2d(X[0], Y, 2, weights=w)[0], (Y,), 1),
    Example("histogramdd", lambda xp, x: xp.histogramdd(x, bins=(2, 3)), (MANY.reshape(-1, 2),), 0),
    Example("histogramdd of a list", lambda xp, x: xp.histogramdd([x, x[::-1], x], 2), (MANY,), 0),
]


@pytest.mark.parametrize("example", [*CHOOSING, *SORTING, *SEARCHING, *COUNTING], ids=lambda e: e.name)
def test_agrees_with_numpy(example: Example) -> None:
    check_example(example)


@pytest.mark.parametrize("xp", [np, fnp], ids=["numpy", "functrans"])
def test_where_of_an_int_that_does_not_fit_is_as_in_the_installed_numpy(xp: Any) -> None:
    small = INTS.astype(np.int8)
    # It wraps around, or raises from NumPy 2.5 on.
    try:
        expected = np.where(MASK, small, 300)
    except OverflowError:
        with pytest.raises(OverflowError, match="300 out of bounds for int8"):
            ft.jit(lambda x: xp.where(MASK, x, 300))(small)
        with pytest.raises(OverflowError, match="300 out of bounds for int8"):
            ft.jit(lambda x, n: xp.where(MASK, x, n))(small, 300)
    else:
        same(ft.jit(lambda x: xp.where(MASK, x, 300))(small), expected)
        same(ft.jit(lambda x, n: xp.where(MASK, x, n))(small, 300), expected)
    same(ft.jit(lambda x, n: xp.where(MASK, x, n))(small, 7), np.where(MASK, small, 7))


# -- results whose shape depends on data ------------------------------------------------------------------------------

DEPENDENT: dict[str, tuple[Any, Any]] = {
    "nonzero": (lambda xp, x: xp.nonzero(x), X * MASK),
    "nonzero of ints": (lambda xp, x: xp.nonzero(x), INTS > 2),
    "where": (lambda xp, x: xp.where(x > 0.0), X),
    "flatnonzero": (lambda xp, x: xp.flatnonzero(x), X * MASK),
    "argwhere": (lambda xp, x: xp.argwhere(x), X * MASK),
    "argwhere of a number": (lambda xp, x: xp.argwhere(x), 1.5),
    "extract": (lambda xp, x: xp.extract(x > 0.0, x), X),
    "compress": (lambda xp, x: xp.compress([True, False, True], x, axis=1), X),
    "compress method": (lambda xp, x: x.compress([True, False, True], axis=1), X),
    "compress all": (lambda xp, x: xp.compress([0, 1], x), X),
    "unique": (lambda xp, x: xp.unique(x), np.array([3.0, 1.0, 3.0, 2.0])),
    "unique with all": (lambda xp, x: xp.unique(x, True, True, True), np.array([[3, 1], [3, 2]])),
    "unique rows": (lambda xp, x: xp.unique(x, axis=0), np.array([[3.0, 1.0], [3.0, 1.0], [0.0, 1.0]])),
    "unique NaN": (lambda xp, x: xp.unique(x, equal_nan=False), np.array([np.nan, 1.0, np.nan])),
    "unique_all": (lambda xp, x: xp.unique_all(x), TIES),
    "unique_counts": (lambda xp, x: xp.unique_counts(x), TIES),
    "unique_inverse": (lambda xp, x: xp.unique_inverse(x), TIES),
    "bincount": (lambda xp, x: xp.bincount(x), TIES),
    "bincount minlength": (lambda xp, x: xp.bincount(x, minlength=7), TIES),
    "bincount of nothing": (lambda xp, x: xp.bincount(x), np.zeros(0, int)),
    "bincount bools": (lambda xp, x: xp.bincount(x), MASK[0]),
    "histogram auto": (lambda xp, x: xp.histogram(x, bins="auto"), MANY),
    "union1d": (lambda xp, x: xp.union1d(x, [1.0, 9.0]), Y),
    "union1d of ints": (lambda xp, x: xp.union1d(x, [1.5, 2.0]), TIES),
    "intersect1d": (lambda xp, x: xp.intersect1d(x, [1.5, 0.75, 8.0]), Y),
    "intersect1d indices": (lambda xp, x: xp.intersect1d(x, [3, 1], return_indices=True), TIES),
    "setdiff1d": (lambda xp, x: xp.setdiff1d(x, [1.5]), Y),
    "setdiff1d as it is": (lambda xp, x: xp.setdiff1d(x, [1.5], assume_unique=True), Y),
    "setxor1d": (lambda xp, x: xp.setxor1d(x, [1.5, 7.0]), Y),
    "setxor1d of ints": (lambda xp, x: xp.setxor1d(x, [3, 9]), TIES),
}


@pytest.mark.parametrize("name", DEPENDENT)
@pytest.mark.parametrize("xp", [np, fnp], ids=["numpy", "functrans"])
def test_shapes_that_depend_on_data(name: str, xp: Any) -> None:
    f, x = DEPENDENT[name]
    tangent = x if np.asarray(x).dtype.kind == "f" else np.zeros(np.shape(x), ft.float0)
    forward, _ = ft.jvp(lambda x: f(xp, x), (x,), (tangent,))
    same(forward, f(np, x))
    reverse, _ = ft.vjp(lambda x: f(xp, x), x)
    same(reverse, f(np, x))


KNOWN = {"argwhere of a number", "compress", "compress all", "compress method", "bincount of nothing"}


@pytest.mark.parametrize("name", sorted(set(DEPENDENT) - KNOWN))
def test_shapes_that_depend_on_unknown_data(name: str) -> None:
    f, x = DEPENDENT[name]
    with pytest.raises(errors.ConcretizationError, match=r"size=|where|length=|isin|that number"):
        ft.jit(lambda x: f(fnp, x))(x)


def test_derivatives_go_with_the_elements() -> None:
    x = np.array([3.0, 1.0, 3.0, 2.0])
    weights = np.array([1.0, 10.0, 100.0])

    def slope(f: Any) -> list[float]:
        return ft.grad(lambda x: fnp.sum(f(x)))(x).tolist()

    assert slope(lambda x: fnp.unique(x) * weights) == [100.0, 1.0, 0.0, 10.0]
    assert slope(lambda x: fnp.extract(x > 1.5, x) * weights) == [1.0, 0.0, 10.0, 100.0]
    assert slope(lambda x: fnp.intersect1d(x, [1.0, 2.0])) == [0.0, 1.0, 0.0, 1.0]
    assert slope(lambda x: x[fnp.nonzero(x > 2.5)]) == [1.0, 0.0, 1.0, 0.0]


SIZED: dict[str, tuple[Any, Any]] = {
    "nonzero": (lambda x: fnp.nonzero(x, size=3), (np.array([0, 0, 1]), np.array([0, 2, 2]))),
    "more than there are": (lambda x: fnp.nonzero(x, size=4, fill_value=-1)[1], np.array([0, 2, 2, -1])),
    "fewer than there are": (lambda x: fnp.flatnonzero(x, size=2), np.array([0, 2])),
    "flatnonzero": (lambda x: fnp.flatnonzero(x, size=4, fill_value=6), np.array([0, 2, 5, 6])),
    "argwhere": (lambda x: fnp.argwhere(x, size=3), np.array([[0, 0], [0, 2], [1, 2]])),
    "where": (lambda x: fnp.where(x > 0.0, size=1), (np.array([0]), np.array([0]))),
    "unique": (lambda x: fnp.unique(x, size=3), np.array([0.0, 0.5, 2.0])),
    "unique, filled": (lambda x: fnp.unique(x, size=5, fill_value=9.0), np.array([0.0, 0.5, 2.0, 9.0, 9.0])),
    "unique, filled by the least": (lambda x: fnp.unique(x, size=4), np.array([0.0, 0.5, 2.0, 0.0])),
    "unique, inverse": (lambda x: fnp.unique(x, return_inverse=True, size=3)[1], np.array([[1, 0, 2], [0, 0, 2]])),
    "unique, index and counts": (
        lambda x: fnp.unique(x, True, False, True, size=3)[1:],
        (np.array([1, 0, 2]), np.array([3, 1, 2])),
    ),
    "unique rows": (
        lambda x: fnp.unique(x, axis=1, size=4, fill_value=-1.0),
        np.array([[0.0, 0.5, 2.0, -1.0], [0.0, 0.0, 2.0, -1.0]]),
    ),
    "unique rows, inverse": (lambda x: fnp.unique(x.T, return_inverse=True, axis=0, size=3)[1], np.array([1, 0, 2])),
    "unique_values": (lambda x: fnp.unique_values(x, size=4, fill_value=7.0), np.array([0.0, 0.5, 2.0, 7.0])),
    "unique_counts": (lambda x: tuple(fnp.unique_counts(x, size=3)), (np.array([0.0, 0.5, 2.0]), np.array([3, 1, 2]))),
    "unique_inverse": (lambda x: fnp.unique_inverse(x, size=3).inverse_indices, np.array([[1, 0, 2], [0, 0, 2]])),
    "unique_all": (lambda x: fnp.unique_all(x, size=3).indices, np.array([1, 0, 2])),
    "compress": (lambda x: fnp.compress(x[0] > 0, x, axis=1, size=2), np.array([[0.5, 2.0], [0.0, 2.0]])),
    "compress, filled": (
        lambda x: fnp.compress(x[0] > 1, x, axis=1, size=2, fill_value=9.0),
        np.array([[2.0, 9.0], [2.0, 9.0]]),
    ),
    "compress a vector": (lambda x: fnp.compress([False, True], x, size=1), np.array([0.0])),
    "extract": (lambda x: fnp.extract(x > 0, x, size=4), np.array([0.5, 2.0, 2.0, 0.0])),
    "union1d": (lambda x: fnp.union1d(x, [1.0, 2.0], size=5, fill_value=-1.0), np.array([0.0, 0.5, 1.0, 2.0, -1.0])),
    "intersect1d": (lambda x: fnp.intersect1d(x, [2.0, 0.0, 7.0], size=3), np.array([0.0, 2.0, 0.0])),
    "intersect1d, places": (
        lambda x: fnp.intersect1d(x, [2.0, 0.0, 7.0], return_indices=True, size=3, fill_value=-1.0),
        (np.array([0.0, 2.0, -1.0]), np.array([1, 2, 6]), np.array([1, 0, 3])),
    ),
    "setdiff1d": (lambda x: fnp.setdiff1d(x, [2.0], size=3, fill_value=8.0), np.array([0.0, 0.5, 8.0])),
    "setdiff1d as it is": (
        lambda x: fnp.setdiff1d(x[0], [0.0], assume_unique=True, size=2),
        np.array([0.5, 2.0]),
    ),
    "setxor1d": (lambda x: fnp.setxor1d(x, [2.0, 3.0], size=4, fill_value=8.0), np.array([0.0, 0.5, 3.0, 8.0])),
    "repeat": (
        lambda x: fnp.repeat(x[0], x[0].astype(int) + 1, total_repeat_length=4),
        np.array([0.5, 0.0, 2.0, 2.0]),
    ),
    "repeat too few": (lambda x: fnp.repeat(x[0], x[0].astype(int), total_repeat_length=3), np.array([2.0, 2.0, 2.0])),
    "repeat members": (
        lambda x: fnp.repeat(x, (x[:, 1] + 1).astype(int), axis=0, total_repeat_length=1),
        np.array([[0.5, 0.0, 2.0]]),
    ),
    "delete": (lambda x: fnp.delete(x, x[1, 2].astype(int), axis=1), np.array([[0.5, 0.0], [0.0, 0.0]])),
    "delete several": (
        lambda x: fnp.delete(x[0], x[1, 1:].astype(int), assume_unique_indices=True),
        np.array([0.0]),
    ),
    "insert": (lambda x: fnp.insert(x[0], x[0, 2].astype(int), 7.0), np.array([0.5, 0.0, 7.0, 2.0])),
    "insert from the end": (lambda x: fnp.insert(x[0], -x[0, 2].astype(int), 7.0), np.array([0.5, 7.0, 0.0, 2.0])),
    "insert several": (
        lambda x: fnp.insert(x, x[0, 1:].astype(int), [[7.0, 8.0]], axis=1),
        np.array([[7.0, 0.5, 0.0, 8.0, 2.0], [7.0, 0.0, 0.0, 8.0, 2.0]]),
    ),
    "sort descending": (lambda x: fnp.sort(x, axis=0, descending=True), np.array([[0.5, 0.0, 2.0], [0.0, 0.0, 2.0]])),
    "argsort descending": (lambda x: fnp.argsort(x, descending=True), np.array([[2, 0, 1], [2, 0, 1]])),
    "bincount": (lambda x: fnp.bincount(fnp.ravel(x).astype(int), length=4), np.array([4, 0, 2, 0])),
    "bincount, too short": (lambda x: fnp.bincount(fnp.ravel(x).astype(int) - 1, length=2), np.array([0, 2])),
}


@pytest.mark.parametrize("name", SIZED)
def test_sizes_make_shapes_known(name: str) -> None:
    f, expected = SIZED[name]
    x = np.array([[0.5, 0.0, 2.0], [0.0, 0.0, 2.0]])
    same(ft.jit(f)(x), expected)
    same(f(x), expected)
    batch = np.stack([x, x])
    mapped = ft.vmap(f)(batch)
    for ours, wanted in zip(ft.tree.leaves(mapped), ft.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(ours, np.stack([wanted, wanted]))


def test_unique_of_a_size_can_be_differentiated() -> None:
    x = np.array([3.0, 1.0, 3.0, 2.0])
    f = ft.jit(lambda x: fnp.sum(fnp.unique(x, size=3) * np.array([1.0, 10.0, 100.0])))
    np.testing.assert_array_equal(ft.grad(f)(x), [100.0, 1.0, 0.0, 10.0])


ERRORS: dict[str, tuple[Any, type[Exception], str]] = {
    "sort axis": (lambda x: fnp.sort(x, axis=2), errors.ShapeError, "axis=2"),
    "sort of a number": (lambda x: fnp.sort(x[0, 0]), errors.ShapeError, "0 axes"),
    "sort order": (lambda x: fnp.sort(x, order="name"), errors.ArgumentError, "fields"),
    "sort kind": (lambda x: fnp.sort(x, kind="best"), errors.ArgumentError, "kind must be"),
    "sort kind and stable": (lambda x: fnp.sort(x, kind="stable", stable=True), errors.ArgumentError, "not both"),
    "partition place": (lambda x: fnp.partition(x, 3), errors.ShapeError, "kth=3"),
    "where with one value": (lambda x: fnp.where(x > 0, x), errors.ArgumentError, "either case"),
    "select lengths": (lambda x: fnp.select([x > 0], [x, x]), errors.ArgumentError, "1 conditions and 2 choices"),
    "select of numbers": (lambda x: fnp.select([x], [x]), errors.DTypeError, "condition 0"),
    "choose of nothing": (lambda x: fnp.choose([0], []), errors.ArgumentError, "got none"),
    "choose out of bounds": (lambda x: fnp.choose([0, 1, 2], [x, x]), IndexError, "2"),
    "lexsort of nothing": (lambda x: fnp.lexsort(()), errors.ArgumentError, "got none"),
    "digitize order": (lambda x: fnp.digitize(x, [1.0, 3.0, 2.0]), ValueError, "increase or decrease"),
    "digitize complex": (lambda x: fnp.digitize(x * 1j, [1.0, 3.0]), errors.DTypeError, "real numbers"),
    "digitize edges": (lambda x: fnp.digitize(x, x), errors.ShapeError, "vector of edges"),
    "bincount of a matrix": (lambda x: fnp.bincount(x.astype(int)), errors.ShapeError, "vector of integers"),
    "bincount of floats": (lambda x: fnp.bincount(x[0]), errors.DTypeError, "vector of integers"),
    "bincount of negative": (lambda x: fnp.bincount([1, -1], weights=x[0, :2]), ValueError, "not negative"),
    "bincount weights": (lambda x: fnp.bincount([1, 1], weights=x[0]), errors.ShapeError, "do not fit"),
    "histogram bins": (lambda x: fnp.histogram(x, bins=0), errors.ArgumentError, "must be positive"),
    "histogram edges": (lambda x: fnp.histogram(x, bins=[0.0, 2.0, 1.0]), ValueError, "must increase"),
    "histogram range": (lambda x: fnp.histogram(x, range=(1.0, 0.0)), ValueError, "must increase"),
    "histogram infinite range": (lambda x: fnp.histogram(x, range=(0.0, np.inf)), ValueError, "must be finite"),
    "histogram weights": (lambda x: fnp.histogram(x, weights=x[0]), errors.ShapeError, "do not fit"),
    "histogramdd bins": (lambda x: fnp.histogramdd(x, bins=[2, 2]), errors.ArgumentError, "3 coordinates"),
    "histogramdd lengths": (lambda x: fnp.histogramdd([x, x[0]]), errors.ShapeError, "differ in number"),
    "unique of no elements": (lambda x: fnp.unique(x[:0], size=2), errors.ShapeError, "with elements"),
    "intersection with nothing": (lambda x: fnp.intersect1d(x, x[:0], size=2), errors.ShapeError, "with elements"),
    "repeats that are traced": (
        lambda x: fnp.repeat(x[0], x[0].astype(int)),
        errors.ConcretizationError,
        "total_repeat_length",
    ),
    "repeats that do not fit": (
        lambda x: fnp.repeat(x[0], x[0, :2].astype(int), total_repeat_length=3),
        errors.ShapeError,
        "3 ints",
    ),
    "repeat of nothing": (lambda x: fnp.repeat(x[:0], 2, 0, total_repeat_length=3), errors.ShapeError, "no member"),
    "a long condition": (lambda x: fnp.compress(x.ravel() > 0, x[0], size=2), errors.IndexingError, "longer than axis"),
    "out": (lambda x: fnp.choose([0, 1, 0], [x, x], out=np.zeros((2, 3))), errors.DetachedWriteError, "choose"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name: str) -> None:
    f, kind, text = ERRORS[name]
    with pytest.raises(kind, match=text):
        ft.jit(f)(X)
