"""Reductions of ``functrans.numpy`` against NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import functrans as ft
import functrans.numpy as fnp
from functrans import errors
from tests.numpy.agreement import Example, check_example

X = np.array([[0.5, -1.5, 2.0], [1.25, 3.0, -0.75]])
CUBE = np.sin(np.arange(24.0) * 1.3).reshape(2, 3, 4)
Z = X + 1j * X[::-1]
INTS = np.array([[3, -1, 2], [5, 4, -6]])
MASK = np.array([[True, False, True], [False, False, True]])
ROWS = np.array([[True], [True]])

EVERY = ("sum", "prod", "max", "min", "mean", "var", "std", "ptp")
COUNTING = ("any", "all", "argmax", "argmin", "count_nonzero")


def _every(name: str) -> list[Example]:
    """What all reductions of numbers have in common."""
    n = 2 if name in ("var", "std") else 0

    def f(xp: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(xp, name)(*args, **kwargs)

    found = [
        Example(f"{name}", f, (X,), digits=n),
        Example(f"{name} axis", lambda xp, x: f(xp, x, axis=1), (X,), digits=n),
        Example(f"{name} axes", lambda xp, x: f(xp, x, axis=(0, -1)), (CUBE,), digits=n),
        Example(f"{name} keepdims", lambda xp, x: f(xp, x, axis=0, keepdims=True), (X,), digits=n),
        Example(f"{name} keepdims of all", lambda xp, x: f(xp, x, keepdims=True), (X,), digits=n),
        Example(f"{name} over no axis", lambda xp, x: f(xp, x, axis=()), (X,), 0),
        Example(f"{name} of a number", f, (1.5,), 0),
        Example(f"{name} of an int", f, (3,)),
        Example(f"{name} of 0-d", f, (np.array(1.5),), 0),
        Example(f"{name} float32", lambda xp, x: f(xp, x, axis=1), (X.astype(np.float32),), 0, digits=n),
        Example(f"{name} float16", lambda xp, x: f(xp, x, axis=1), (X.astype(np.float16),), 0),
        Example(f"{name} float16 of all", f, (CUBE.astype(np.float16),), 0),
        Example(f"{name} int64", lambda xp, x: f(xp, x, axis=0), (INTS,)),
        Example(f"{name} int8", f, (INTS.astype(np.int8),)),
        Example(f"{name} uint16", f, (np.abs(INTS).astype(np.uint16),)),
        Example(f"{name} no rows", lambda xp, x: f(xp, x, axis=1), (np.zeros((0, 3)),), 0),
        Example(f"{name} of a list", lambda xp, x: f(xp, [x, [1.0, 2.5, x[0] * 0.5]]), (X[0],), 2, False, digits=n),
    ]
    if name != "ptp":
        found.append(Example(f"{name} bool", lambda xp, x: f(xp, x, axis=0), (MASK,)))
    if name in ("sum", "prod", "mean", "var", "std"):
        found += [
            Example(f"{name} complex", lambda xp, x: f(xp, x, axis=0), (Z,), digits=2),
            Example(f"{name} complex64", f, (Z.astype(np.complex64),), 0, digits=2),
            Example(f"{name} dtype", lambda xp, x: f(xp, x, axis=0, dtype=np.float32), (INTS,), digits=n),
            Example(f"{name} wider dtype", lambda xp, x: f(xp, x, dtype=np.float64), (X.astype(np.float32),), 0),
            Example(f"{name} integer dtype", lambda xp, x: f(xp, x, dtype=int), (INTS,)),
            Example(f"{name} where", lambda xp, x: f(xp, x, 1, where=MASK), (X,), 0 if name == "std" else 2, digits=4),
            Example(f"{name} where of a row", lambda xp, x, m: f(xp, x, where=m), (X, MASK[0]), digits=4, batch=False),
            Example(f"{name} where, kept", lambda xp, x: f(xp, x, 0, where=ROWS, keepdims=True), (X,), digits=4),
        ]
    if name in ("sum", "prod", "max", "min"):
        found += [
            Example(f"{name} along 0-d", lambda xp, x: f(xp, x, axis=-1), (np.array(1.5),), 0, batch=False),
            Example(f"{name} initial", lambda xp, x, s: f(xp, x, axis=1, initial=s), (X, np.float64(1.5)), digits=4),
            Example(f"{name} initial int", lambda xp, x: f(xp, x, initial=2), (INTS.astype(np.int8),)),
            Example(f"{name} of nothing", lambda xp, x: f(xp, x, axis=0, initial=2.0), (np.zeros((0, 3)),), 0),
            Example(f"{name} masked", lambda xp, x: f(xp, x, axis=1, initial=-1.0, where=MASK), (X,), digits=4),
        ]
    return found


def _counting(name: str) -> list[Example]:
    """What all reductions to booleans and integers have in common."""

    def f(xp: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(xp, name)(*args, **kwargs)

    found = [
        Example(f"{name}", f, (X,), 0),
        Example(f"{name} axis", lambda xp, x: f(xp, x, axis=1), (X * MASK,), 0),
        Example(f"{name} keepdims", lambda xp, x: f(xp, x, axis=0, keepdims=True), (CUBE,), 0),
        Example(f"{name} keepdims of all", lambda xp, x: f(xp, x, keepdims=True), (CUBE,), 0),
        Example(f"{name} of NaN", f, (np.array([1.0, np.nan, 3.0]),), 0),
        Example(f"{name} ints", lambda xp, x: f(xp, x, axis=-1), (INTS,)),
        Example(f"{name} bool", lambda xp, x: f(xp, x, axis=0), (MASK,)),
        Example(f"{name} complex", f, (Z,), 0),
        Example(f"{name} of a number", f, (2.5,), 0),
        Example(f"{name} of 0-d", lambda xp, x: f(xp, x, axis=-1), (np.array(1.5),), 0, batch=False),
        Example(f"{name} of a list", lambda xp, x: f(xp, [x, x + 1.0]), (X,), 0, protocol=False),
    ]
    if name in ("any", "all"):
        found += [
            Example(f"{name} of nothing", f, (np.zeros(0),), 0),
            Example(f"{name} axes", lambda xp, x: f(xp, x, axis=(0, 2)), (CUBE > 0,)),
            Example(f"{name} no axis", lambda xp, x: f(xp, x, axis=()), (X * MASK,), 0),
            Example(f"{name} where", lambda xp, x: f(xp, x, axis=1, where=MASK), (X,), 0),
        ]
    return found


EXAMPLES = [
    *[example for name in EVERY for example in _every(name)],
    *[example for name in COUNTING for example in _counting(name)],
    Example("sum of nothing", lambda xp, x: xp.sum(x), (np.zeros((0, 3)),), 0),
    Example("prod of no rows", lambda xp, x: xp.prod(x, axis=0), (np.zeros((0, 3)),), 0),
    Example("prod at zeros", lambda xp, x: xp.prod(x, axis=1), (np.array([[2.0, 0.0, 3.0], [0.0, 0.0, 1.0]]),)),
    Example("var ddof", lambda xp, x: xp.var(x, axis=1, ddof=1), (X,), digits=2),
    Example("var fractional ddof", lambda xp, x: xp.var(x, ddof=1.5), (X,), digits=2),
    Example("var correction", lambda xp, x: xp.var(x, correction=1), (X,), digits=2),
    Example("var with a mean", lambda xp, x, m: xp.var(x, axis=1, mean=m), (X, X[:, :1]), digits=2),
    Example("var where, ddof", lambda xp, x: xp.var(x, axis=1, ddof=-1, where=MASK), (X,), digits=4),
    Example("std ddof", lambda xp, x: xp.std(x, axis=1, ddof=1), (X,), digits=2),
    Example("std with a mean", lambda xp, x, m: xp.std(x, axis=1, mean=m, ddof=1), (X, X[:, :1]), digits=2),
    Example("std int8", lambda xp, x: xp.std(x, axis=1), (INTS.astype(np.int8),), digits=2),
    Example("amax", lambda xp, x: xp.amax(x, 0), (X,)),
    Example("amin", lambda xp, x: xp.amin(x, 0), (X,)),
    Example("methods", lambda xp, x: x.mean(axis=1) + x.max() - x.std(), (X,), digits=2),
    Example("many float16", lambda xp, x: xp.mean(x), (np.full(5000, 0.1, np.float16),), 0),
    Example("many float16 in columns", lambda xp, x: xp.var(x, axis=0), (np.full((4100, 2), 3.0, np.float16),), 0),
    Example("a traced mask", lambda xp, x: xp.sum(x, axis=1, where=x > 0), (X,), 1, digits=2),
]

WARNING = [
    Example("mean of nothing", lambda xp, x: xp.mean(x), (np.zeros(0),), 0, batch=False),
    Example("mean of no rows", lambda xp, x: xp.mean(x, axis=0), (np.zeros((0, 2)),), 0, batch=False),
    Example("var of nothing", lambda xp, x: xp.var(x, axis=0), (np.zeros((0, 2)),), 0, batch=False),
    Example("var ddof too large", lambda xp, x: xp.var(x, ddof=7), (X,), 0, batch=False),
]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.name)
def test_agrees_with_numpy(example: Example) -> None:
    check_example(example)


@pytest.mark.parametrize("example", WARNING, ids=lambda e: e.name)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_agrees_with_numpy_which_warns(example: Example) -> None:
    check_example(example)


def test_ties_share_the_derivative() -> None:
    x = np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]])
    slope = ft.grad(lambda x: fnp.sum(fnp.max(x, axis=1)))(x)
    np.testing.assert_array_equal(slope, [[0.0, 0.5, 0.5], [1 / 3, 1 / 3, 1 / 3]])


def test_std_of_equal_elements_has_the_derivative_zero() -> None:
    slope, curvature = ft.grad(fnp.std), ft.hessian(fnp.std)
    np.testing.assert_array_equal(slope(np.ones(3)), np.zeros(3))
    np.testing.assert_array_equal(curvature(np.ones(3)), np.zeros((3, 3)))


def test_masked_elements_have_no_influence() -> None:
    x = np.array([1.0, np.nan, 3.0])
    chosen = np.array([True, False, True])
    value, slope = ft.value_and_grad(lambda x: fnp.mean(x, where=chosen))(x)
    assert value == 2.0
    np.testing.assert_array_equal(slope, [0.5, 0.0, 0.5])


ERRORS: dict[str, tuple[Any, type[Exception], str]] = {
    "axis out of bounds": (lambda x: fnp.sum(x, axis=2), errors.ShapeError, "axis=2"),
    "axis twice": (lambda x: fnp.sum(x, axis=(0, -2)), errors.ShapeError, "twice"),
    "axis of 0-d": (lambda x: fnp.max(x[0, 0], axis=1), errors.ShapeError, "axis=1"),
    "maximum of nothing": (lambda x: fnp.max(x[:0]), ValueError, "no identity. Give initial="),
    "maximum where": (lambda x: fnp.max(x, where=MASK), ValueError, "where= may exclude"),
    "where of integers": (lambda x: fnp.sum(x, where=np.ones(3, int)), errors.DTypeError, "where must hold booleans"),
    "where too large": (lambda x: fnp.sum(x[0], where=MASK), errors.ShapeError, "does not broadcast to"),
    "initial is no number": (lambda x: fnp.sum(x, initial=x), errors.ShapeError, "initial must be a number"),
    "initial out of bounds": (lambda x: fnp.max(x.astype(np.int8), initial=1000), OverflowError, "1000"),
    "argmax of nothing": (lambda x: fnp.argmax(x[:0]), errors.ShapeError, "no elements"),
    "two corrections": (lambda x: fnp.var(x, ddof=1, correction=1), errors.ArgumentError, "give one of them"),
    "out": (lambda x: fnp.sum(x, axis=0, out=np.zeros(3)), errors.DetachedWriteError, "out="),
    "out of a mean": (lambda x: fnp.mean(x, axis=0, out=np.zeros(3)), errors.DetachedWriteError, "mean"),
    "None": (lambda x: fnp.sum(None), errors.ArgumentError, "got None"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name: str) -> None:
    f, kind, text = ERRORS[name]
    with pytest.raises(kind, match=text.replace("(", r"\(")):
        ft.jit(f)(X)
