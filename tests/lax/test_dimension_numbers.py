"""Gather and scatter with dimension numbers, against loops over windows; derivatives, batches, jit, errors."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import errors, lax
from functrans.test_util import check_grads

RNG = np.random.default_rng(4)
X = RNG.normal(size=(4, 3, 5))

# starts, dimension numbers of a gather, window.
CASES: dict[str, tuple[Any, tuple[Any, ...], tuple[int, ...]]] = {
    "rows": (RNG.integers(-2, 6, (3, 1)), ((1, 2), (0,), (0,)), (1, 3, 5)),
    "points": (RNG.integers(-2, 6, (2, 2, 3)), ((), (0, 1, 2), (2, 0, 1)), (1, 1, 1)),
    "windows": (RNG.integers(-2, 6, (3, 2)), ((0, 2, 3), (), (1, 2)), (4, 2, 3)),
    "collapsed and partial": (RNG.integers(-2, 6, (2, 1)), ((1,), (0, 1), (2,)), (1, 1, 2)),
    "one start": (np.array([1, 4]), ((0,), (0, 2), (0, 2)), (1, 3, 1)),
    "no start": (np.zeros((2, 0), int), ((1, 2, 3), (), ()), (4, 3, 5)),
    "batched": (RNG.integers(-2, 6, (2, 4, 1)), ((2,), (1,), (1,), (0,), (1,)), (1, 1, 5)),
}


def loop(x: Any, starts: Any, numbers: tuple[Any, ...], sizes: tuple[int, ...], mode: str) -> tuple[Any, Any]:
    """For each element of the result the place in ``x`` that it comes from, flat, and whether its window is inside."""
    offset, collapsed, mapped, paired, partners = (*numbers, *((), ())[len(numbers) - 3 :])
    batch = starts.shape[:-1]
    kept = [a for a in range(x.ndim) if a not in collapsed and a not in paired]
    total = len(batch) + len(kept)
    others = [d for d in range(total) if d not in offset]
    shape = [0] * total
    for d, n in zip(others, batch, strict=True):
        shape[d] = n
    for d, a in zip(offset, kept, strict=True):
        shape[d] = sizes[a]
    places, inside = np.zeros(shape, int), np.zeros(shape, bool)
    for index in itertools.product(*map(range, shape)):
        b = tuple(index[d] for d in others)
        corner = [0] * x.ndim
        for a, value in zip(mapped, starts[b], strict=True):
            corner[a] = int(value)
        for a, d in zip(paired, partners, strict=True):
            corner[a] = b[d]
        inside[index] = all(0 <= c <= n - s for c, n, s in zip(corner, x.shape, sizes, strict=True))
        corner = [min(max(c, 0), n - s) for c, n, s in zip(corner, x.shape, sizes, strict=True)]
        for d, a in zip(offset, kept, strict=True):
            corner[a] += index[d]
        places[index] = np.ravel_multi_index(corner, x.shape)
    return places, inside


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("mode", ["clip", "fill"])
def test_gather_is_a_loop_over_windows(case: str, mode: str) -> None:
    starts, numbers, sizes = CASES[case]
    places, inside = loop(X, starts, numbers, sizes, mode)
    expected = X.ravel()[places] if mode == "clip" else np.where(inside, X.ravel()[places], np.nan)

    def gather(x: Any, s: Any) -> Any:
        return lax.gather(x, s, lax.GatherDimensionNumbers(*numbers), sizes, mode=mode)

    np.testing.assert_array_equal(gather(X, starts), expected)
    np.testing.assert_array_equal(ft.jit(gather)(X, starts), expected)
    np.testing.assert_array_equal(ft.vmap(gather)(np.stack([X, 2 * X]), np.stack([starts] * 2))[1], 2 * expected)
    check_grads(lambda x: np.where(np.isnan(y := gather(x, starts)), 0.0, y), (X,), order=2)


OPERATIONS: dict[str, tuple[Callable[..., Any], Callable[[float, float], float]]] = {
    "set": (lax.scatter, lambda old, new: new),
    "add": (lax.scatter_add, lambda old, new: old + new),
    "sub": (lax.scatter_sub, lambda old, new: old - new),
    "mul": (lax.scatter_mul, lambda old, new: old * new),
    "min": (lax.scatter_min, min),
    "max": (lax.scatter_max, max),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_scatter_is_a_loop_over_updates(case: str, operation: str) -> None:
    starts, numbers, sizes = CASES[case]
    function, combine = OPERATIONS[operation]
    for mode in ("clip", "drop"):
        places, inside = loop(X, starts, numbers, sizes, mode)
        updates = RNG.normal(size=places.shape)
        expected = X.copy().ravel()
        offset = numbers[0]
        # Starts are visited in order, and windows lie within; the axes of the starts are the outer ones.
        others = [d for d in range(places.ndim) if d not in offset]
        order = np.transpose(np.arange(places.size).reshape(places.shape), (*others, *offset)).ravel()
        for k in order:
            if inside.flat[k] or mode == "clip":
                expected[places.flat[k]] = combine(expected[places.flat[k]], updates.flat[k])
        dimension_numbers = lax.ScatterDimensionNumbers(*numbers)
        out = function(X, starts, updates, dimension_numbers, mode=mode)
        np.testing.assert_allclose(out, expected.reshape(X.shape), rtol=1e-14)
    if operation in ("set", "sub"):
        check_grads(lambda x, u: function(x, starts, u, dimension_numbers, mode="drop"), (X, updates), order=2)


def test_a_function_is_applied_once_to_each_element() -> None:
    single = lax.ScatterDimensionNumbers((), (0,), (0,))
    x = np.array([1.0, 4.0, 9.0])
    starts = np.array([[2], [0], [2], [7]])
    out = lax.scatter_apply(x, starts, np.sqrt, single, update_shape=(4,), mode="drop")
    np.testing.assert_array_equal(out, [1.0, 4.0, 3.0])
    check_grads(lambda x: lax.scatter_apply(x, starts[:2], lambda y: y**3, single), (x,), order=2)
    with pytest.raises(errors.ShapeError, match=r"func got elements of type f64\[4\]"):
        lax.scatter_apply(x, starts, np.sum, single, mode="clip")


def test_out_of_bounds_is_an_error_unless_a_mode_is_given() -> None:
    rows = lax.GatherDimensionNumbers((1, 2), (0,), (0,))
    with pytest.raises(errors.IndexingError, match="index 4 is out of bounds"):
        lax.gather(X, np.array([[4]]), rows, (1, 3, 5))
    with pytest.raises(errors.IndexingError, match="index 4 is out of bounds"):
        ft.jit(lambda s: lax.gather(X, s, rows, (1, 3, 5)))(np.array([[4]]))
    filled = lax.gather(np.arange(3), np.array([[9]]), lax.GatherDimensionNumbers((), (0,), (0,)), (1,), mode="fill")
    assert filled.tolist() == [np.iinfo(int).min]
    filled = lax.gather(X, np.array([[9]]), rows, (1, 3, 5), mode=lax.GatherScatterMode.FILL_OR_DROP, fill_value=2.0)
    assert (filled == 2.0).all()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda n: lax.gather(X, np.array([[0.5]]), n((1, 2), (0,), (0,)), (1, 3, 5)),
            errors.IndexingError,
            "integers",
        ),
        (lambda n: lax.gather(X, np.array([[0, 1]]), n((1, 2), (0,), (0,)), (1, 3, 5)), errors.ShapeError, "last axis"),
        (lambda n: lax.gather(X, np.array([[0]]), n((1, 2), (0,), (0,)), (2, 3, 5)), errors.ShapeError, "extent 1"),
        (lambda n: lax.gather(X, np.array([[0]]), n((1, 2), (0,), (0,)), (1, 3, 6)), errors.ShapeError, "do not fit"),
        (
            lambda n: lax.gather(X, np.array([[0]]), n((1,), (0,), (0,)), (1, 3, 5)),
            errors.ShapeError,
            "2 axes of the 3",
        ),
        (
            lambda n: lax.gather(X, np.array([[0]]), n((1, 2), (0,), (3,)), (1, 3, 5)),
            errors.ShapeError,
            "distinct axes",
        ),
        (
            lambda n: lax.gather(X, np.array([[0]]), n((1, 2), (0,), (0,)), (1, 3, 5), mode="no"),
            errors.ArgumentError,
            "'no'",
        ),
        (
            lambda n: lax.scatter(
                X, np.array([[0]]), np.zeros((2, 3)), lax.ScatterDimensionNumbers((1,), (0, 1), (0,))
            ),
            errors.ShapeError,
            r"updates of shape \(1, 3\) are needed for these starts, got \(2, 3\)",
        ),
        (
            lambda n: lax.scatter_add(X, np.array([[0]]), np.zeros((1, 3, 5), int), n((1, 2), (0,), (0,))),
            errors.DTypeError,
            "scatter_add",
        ),
    ],
)
def test_what_does_not_fit_is_an_error(call: Callable[..., Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call(lax.GatherDimensionNumbers)
