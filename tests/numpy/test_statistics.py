"""Averages, order statistics, running sums, functions that skip NaN, comparisons: against NumPy's."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import functrans as ft
import functrans.numpy as fnp
from functrans import errors
from tests.numpy.agreement import Example, check_example

X = np.array([[0.5, -1.5, 2.0], [1.25, 3.0, -0.75]])
CUBE = np.sin(np.arange(24.0) * 1.3 + 0.4).reshape(2, 3, 4)
Z = X + 1j * X[::-1]
INTS = np.array([[3, -1, 2], [5, 4, -6]])
MASK = np.array([[True, False, True], [False, False, True]])
NAN = np.array([[0.5, np.nan, 2.0, 1.0], [1.25, 3.0, -0.75, np.nan]])
GAPS = np.array([[0.5, np.nan, np.nan], [np.nan, np.nan, np.nan]])
F32 = X.astype(np.float32)
WEIGHTS = np.array([0.5, 1.5, 2.0])

AVERAGES = [
    Example("average", lambda xp, x: xp.average(x), (X,)),
    Example("average axis", lambda xp, x: xp.average(x, axis=1, keepdims=True), (X,)),
    Example("average returned", lambda xp, x: xp.average(x, axis=0, returned=True), (X,)),
    Example("average of all, returned", lambda xp, x: xp.average(x, returned=True), (F32,), 0),
    Example("average weights", lambda xp, x, w: xp.average(x, weights=w), (X, X**2 + 1.0), digits=4),
    Example("average along", lambda xp, x, w: xp.average(x, axis=1, weights=w), (X, WEIGHTS), digits=4),
    Example("average along, returned", lambda xp, x: xp.average(x, 1, WEIGHTS, True), (X,), digits=4),
    Example("average along axes", lambda xp, x, w: xp.average(x, (2, 0), w), (CUBE, CUBE[:, 1].T + 3.0), digits=4),
    Example("average promotes", lambda xp, x: xp.average(x, axis=1, weights=[1, 2, 3]), (F32,), 0, digits=4),
    Example("average ints", lambda xp, x: xp.average(x, axis=0, weights=[1, 2]), (INTS,), digits=4),
    Example("average complex", lambda xp, x: xp.average(x, axis=0, weights=[1.0, 2.0]), (Z,), digits=4),
]

RUNNING = [
    Example("cumsum", lambda xp, x: xp.cumsum(x), (X,)),
    Example("cumsum axis", lambda xp, x: xp.cumsum(x, axis=1), (X,)),
    Example("cumsum of a number", lambda xp, x: xp.cumsum(x), (1.5,), 0, batch=False),
    Example("cumsum int8", lambda xp, x: xp.cumsum(x, axis=0), (INTS.astype(np.int8),)),
    Example("cumsum dtype", lambda xp, x: xp.cumsum(x, dtype=np.float32), (INTS,)),
    Example("cumsum bool", lambda xp, x: xp.cumsum(x), (MASK,)),
    Example("cumsum of nothing", lambda xp, x: xp.cumsum(x, 0), (np.zeros((0, 2)),), 0),
    Example("cumsum of a list", lambda xp, x: xp.cumsum([x, x]), (X,), protocol=False),
    Example("cumsum method", lambda xp, x: x.cumsum(axis=0), (X,)),
    Example("cumprod", lambda xp, x: xp.cumprod(x, axis=1), (X,)),
    Example("cumprod at zeros", lambda xp, x: xp.cumprod(x), (np.array([2.0, 0.0, 3.0, 0.0, 1.0]),)),
    Example("cumprod complex", lambda xp, x: xp.cumprod(x, axis=1), (Z,)),
    Example("nancumsum", lambda xp, x: xp.nancumsum(x), (NAN,), 0),
    Example("nancumsum axis", lambda xp, x: xp.nancumsum(x, axis=1), (X,)),
    Example("nancumprod", lambda xp, x: xp.nancumprod(x, axis=1), (NAN,), 0),
    Example("nancumprod ints", lambda xp, x: xp.nancumprod(x), (INTS,)),
]

# Functions of NumPy 2.1.
LATER = [
    Example("cumulative_sum", lambda xp, x: xp.cumulative_sum(x), (X[0],)),
    Example("cumulative_sum from 0", lambda xp, x: xp.cumulative_sum(x, axis=1, include_initial=True), (X,)),
    Example("cumulative_sum of a number", lambda xp, x: xp.cumulative_sum(x), (1.5,), 0, batch=False),
    Example("cumulative_sum int8", lambda xp, x: xp.cumulative_sum(x, include_initial=True), (np.int8([3, -1]),)),
    Example("cumulative_prod", lambda xp, x: xp.cumulative_prod(x, axis=-1), (X,)),
    Example("cumulative_prod from 1", lambda xp, x: xp.cumulative_prod(x, axis=0, include_initial=True), (X,)),
]

METHODS = (
    "inverted_cdf", "averaged_inverted_cdf", "closest_observation", "interpolated_inverted_cdf", "hazen", "weibull",
    "linear", "median_unbiased", "normal_unbiased", "lower", "higher", "midpoint", "nearest",
)  # fmt: skip
FRACTIONS = np.array([0.0, 0.1, 0.25, 0.3, 0.5, 0.6, 0.75, 0.95, 1.0])
TENTHS = [0.1, 0.2, 0.5, 1.0]
NINE = np.sin(np.arange(9.0) * 2.1)
EIGHT = np.cos(np.arange(16.0) * 2.1).reshape(2, 8)

ORDER_STATISTICS = [
    Example("median", lambda xp, x: xp.median(x), (X,)),
    Example("median axis", lambda xp, x: xp.median(x, axis=1), (X,)),
    Example("median axes", lambda xp, x: xp.median(x, axis=(0, 2), keepdims=True), (CUBE,)),
    Example("median ints", lambda xp, x: xp.median(x, axis=0), (INTS,)),
    Example("median int8", lambda xp, x: xp.median(x), (INTS.astype(np.int8),)),
    Example("median bool", lambda xp, x: xp.median(x, axis=1), (MASK,)),
    Example("median float16", lambda xp, x: xp.median(x), (X.astype(np.float16),), 0),
    Example("median complex", lambda xp, x: xp.median(x, axis=0), (Z,), 1),
    Example("median of NaN", lambda xp, x: xp.median(x, axis=0), (NAN,), 0),
    Example("median of a number", lambda xp, x: xp.median(x), (1.5,), 0),
    Example("median of a list", lambda xp, x: xp.median([x, 2.0, 3.0]), (2.5,), protocol=False),
    Example("nanmedian", lambda xp, x: xp.nanmedian(x), (NAN,), 0),
    Example("nanmedian axis", lambda xp, x: xp.nanmedian(x, axis=1, keepdims=True), (NAN,), 0),
    Example("nanmedian without NaN", lambda xp, x: xp.nanmedian(x, axis=1), (X,)),
    Example("nanmedian ints", lambda xp, x: xp.nanmedian(x), (INTS,)),
    Example("nanmedian float32", lambda xp, x: xp.nanmedian(x, axis=0), (NAN.astype(np.float32),), 0),
    *[
        Example(f"quantile {method}", lambda xp, x, m=method: xp.quantile(x, FRACTIONS, method=m), (NINE,), 1, digits=2)
        for method in METHODS
    ],
    *[
        Example(f"quantile {m} of rows", lambda xp, x, m=m: xp.quantile(x, FRACTIONS, axis=1, method=m), (EIGHT,), 1)
        for m in METHODS
    ],
    *[
        Example(f"nanquantile {m}", lambda xp, x, m=m: xp.nanquantile(x, FRACTIONS, 1, method=m), (NAN,), 0, digits=2)
        for m in METHODS
    ],
    Example("quantile of a number", lambda xp, x: xp.quantile(x, 0.3), (X,)),
    Example("quantile above the middle", lambda xp, x: xp.quantile(x, 0.7), (X,)),
    Example("quantile in q", lambda xp, x, q: xp.quantile(x, q, axis=1), (EIGHT, np.array([0.33, 0.81])), 2, digits=2),
    Example("quantile in a number", lambda xp, x, q: xp.quantile(x, q), (NINE, 0.33), 2, digits=2),
    Example("quantile axes", lambda xp, x: xp.quantile(x, [0.1, 0.8], axis=(0, 2), keepdims=True), (CUBE,)),
    Example("quantile of 2-d q", lambda xp, x: xp.quantile(x, [[0.1, 0.8], [0.5, 0.2]], axis=0), (CUBE,)),
    Example("quantile float32", lambda xp, x: xp.quantile(x, 0.3), (F32,), 0),
    Example("quantile float32, float32 q", lambda xp, x: xp.quantile(x, np.float32(0.3)), (F32,), 0),
    Example("quantile float32, array q", lambda xp, x: xp.quantile(x, [0.3, 0.9]), (F32,), 0),
    Example("quantile float16", lambda xp, x: xp.quantile(x, 0.7), (X.astype(np.float16),), 0),
    Example("quantile ints", lambda xp, x: xp.quantile(x, [0.3, 0.9], axis=1), (INTS,)),
    Example("quantile int8", lambda xp, x: xp.quantile(x, 0.3), (INTS.astype(np.int8),)),
    Example("quantile ints, 1", lambda xp, x: xp.quantile(x, 1), (INTS,)),
    Example("quantile ints, lower", lambda xp, x: xp.quantile(x, 0.4, method="lower"), (INTS,)),
    Example("quantile of NaN", lambda xp, x: xp.quantile(x, [0.2, 0.5], axis=0), (NAN,), 0),
    Example("percentile", lambda xp, x: xp.percentile(x, 30), (X,)),
    Example("percentile float32", lambda xp, x: xp.percentile(x, 30, axis=0), (F32,), 0),
    Example("percentile ints", lambda xp, x: xp.percentile(x, [0, 100, 50]), (INTS,)),
    Example("percentile in q", lambda xp, x, q: xp.percentile(x, q), (NINE, np.array([33.0, 81.0])), 2, digits=2),
    Example("nanquantile", lambda xp, x: xp.nanquantile(x, 0.3), (NAN,), 0, digits=2),
    Example("nanquantile without NaN", lambda xp, x: xp.nanquantile(x, [0.3, 0.8], axis=1), (EIGHT,), digits=2),
    Example("nanquantile float32", lambda xp, x: xp.nanquantile(x, 0.3, 1), (NAN.astype(np.float32),), 0, digits=2),
    Example("nanquantile ints", lambda xp, x: xp.nanquantile(x, 0.3), (INTS,)),
    Example("nanpercentile", lambda xp, x: xp.nanpercentile(x, [10, 90], axis=0), (NAN,), 0, digits=2),
    *[
        Example(
            f"weighted {name}",
            lambda xp, x, f=name, w=w: getattr(xp, f)(x, TENTHS, axis=1, method="inverted_cdf", weights=w),
            (X,),
            1,
        )
        for name, w in {
            "quantile": [0, 1, 2],
            "percentile": [1, 0, 2],
            "nanquantile": [[0, 1, 2], [1, 2, 0]],
            "nanpercentile": [[0, 1, 2], [1, 2, 0]],
        }.items()
    ],
    Example("weighted number", lambda xp, x: xp.quantile(x, 0.4, method="inverted_cdf", weights=X**2), (X,), 1),
]

SKIPPING = [
    *[
        example
        for name in ("nansum", "nanprod", "nanmean", "nanvar", "nanstd", "nanmax", "nanmin")
        for f in [lambda xp, *args, name=name, **kwargs: getattr(xp, name)(*args, **kwargs)]
        for example in [
            Example(name, f, (NAN,), 0, digits=4),
            Example(f"{name} axis", lambda xp, x, f=f: f(xp, x, axis=1), (NAN,), 0, digits=4),
            Example(f"{name} keepdims", lambda xp, x, f=f: f(xp, x, axis=0, keepdims=True), (NAN,), 0, digits=4),
            Example(f"{name} without NaN", lambda xp, x, f=f: f(xp, x, axis=1), (X,), digits=4),
            Example(f"{name} ints", lambda xp, x, f=f: f(xp, x, axis=0), (INTS,), digits=4),
            Example(f"{name} float32", lambda xp, x, f=f: f(xp, x, axis=0), (NAN.astype(np.float32),), 0, digits=4),
            Example(f"{name} of a number", f, (1.5,), 0),
        ]
    ],
    Example("nansum complex", lambda xp, x: xp.nansum(x, axis=1), (NAN + 1j,), 0, digits=2),
    Example("nansum where", lambda xp, x: xp.nansum(x[:, :3], axis=1, where=MASK), (NAN,), 0),
    Example("nansum initial", lambda xp, x: xp.nansum(x, axis=1, initial=2.0), (NAN,), 0),
    Example("nanmean where", lambda xp, x: xp.nanmean(x[:, :3], axis=1, where=MASK), (NAN,), 0, batch=False),
    Example("nanmean dtype", lambda xp, x: xp.nanmean(x, dtype=np.float64), (NAN.astype(np.float32),), 0, digits=2),
    Example("nanvar ddof", lambda xp, x: xp.nanvar(x, axis=1, ddof=1), (NAN,), 0, digits=4),
    Example("nanvar complex", lambda xp, x: xp.nanvar(x, axis=1), (NAN + 1j * NAN[::-1],), 0, digits=4),
    Example("nanvar float16", lambda xp, x: xp.nanvar(x, axis=1), (NAN.astype(np.float16),), 0, digits=1),
    Example("nanmax initial", lambda xp, x: xp.nanmax(x, axis=1, initial=1.0), (NAN,), 0),
    Example("nanmin where", lambda xp, x: xp.nanmin(x[:, :3], axis=1, initial=9.0, where=MASK), (NAN,), 0),
    Example("nanargmax", lambda xp, x: xp.nanargmax(x), (NAN,), 0),
    Example("nanargmax axis", lambda xp, x: xp.nanargmax(x, axis=1, keepdims=True), (NAN,), 0),
    Example("nanargmin", lambda xp, x: xp.nanargmin(x, axis=0), (NAN,), 0),
    Example("nanargmin ints", lambda xp, x: xp.nanargmin(x, axis=0), (INTS,)),
]

WARNING = [
    *[
        Example(f"{name} of gaps", lambda xp, x, f=name: getattr(xp, f)(x, axis=1), (GAPS,), 0, digits=1)
        for name in ("nanmean", "nanvar", "nanstd", "nanmax", "nanmin", "nanmedian")
    ],
    *[
        Example(f"{name} of gaps", lambda xp, x, f=name: getattr(xp, f)(x, [0.25, 0.75], axis=1), (GAPS,), 0)
        for name in ("nanquantile", "nanpercentile")
    ],
    Example("nanvar ddof too large", lambda xp, x: xp.nanvar(x, axis=1, ddof=3), (NAN,), 0),
    Example("median of nothing", lambda xp, x: xp.median(x), (np.zeros(0),), 0, batch=False),
    Example("quantile of infinities", lambda xp, x: xp.quantile(x, [0.2, 1.0]), (np.array([1.0, np.inf]),), 0),
]

NEAR = X + np.array([0.0, 1e-9, 1e-3])
SPECIAL = np.array([np.nan, np.inf, -np.inf, np.inf, 1.0, np.nan])
OTHERS = np.array([np.nan, np.inf, np.inf, 1.0, -np.inf, 2.0])

COMPARISONS = [
    Example("isclose", lambda xp, x, y: xp.isclose(x, y), (X, NEAR), 0),
    Example("isclose special", lambda xp, x, y: xp.isclose(x, y), (SPECIAL, OTHERS), 0),
    Example("isclose equal_nan", lambda xp, x, y: xp.isclose(x, y, equal_nan=True), (SPECIAL, OTHERS), 0),
    Example("isclose of numbers", lambda xp, x, y: xp.isclose(x, y), (1.0, 1.0 + 1e-9), 0),
    Example("isclose with an int", lambda xp, x: xp.isclose(x, 2), (X,), 0),
    Example("isclose ints", lambda xp, x: xp.isclose(x, x + 1, rtol=0.3), (INTS,)),
    Example("isclose tolerances", lambda xp, x, t: xp.isclose(x, NEAR, rtol=t, atol=1e-4), (X, WEIGHTS * 1e-3), 0),
    Example("isclose float32", lambda xp, x: xp.isclose(x, x + np.float32(1e-6)), (F32,), 0),
    Example("isclose complex", lambda xp, x: xp.isclose(x, x + 1e-7j), (Z,), 0),
    Example("allclose", lambda xp, x, y: xp.allclose(x, y), (X, NEAR), 0),
    Example("allclose wide", lambda xp, x, y: xp.allclose(x, y, atol=0.1), (X, NEAR), 0),
    Example("allclose of lists", lambda xp, x: xp.allclose([x, x], 1.5), (1.5,), 0, protocol=False),
    Example("array_equal", lambda xp, x, y: xp.array_equal(x, y), (X, NEAR), 0),
    Example("array_equal itself", lambda xp, x: xp.array_equal(x, x), (X,), 0),
    Example("array_equal of shapes", lambda xp, x: xp.array_equal(x, 1.0), (X,), 0, batch=False),
    Example("array_equal NaN", lambda xp, x, y: xp.array_equal(x, y), (NAN, NAN), 0),
    Example("array_equal equal_nan", lambda xp, x, y: xp.array_equal(x, y, equal_nan=True), (NAN, NAN), 0),
    Example("array_equal ints", lambda xp, x: xp.array_equal(x, INTS, equal_nan=True), (INTS,)),
    Example("array_equiv", lambda xp, x: xp.array_equiv(x, [x, x]), (X[0],), 0, protocol=False),
    Example("array_equiv of numbers", lambda xp, x: xp.array_equiv(x, 2.0), (X,), 0),
    Example("array_equiv of shapes", lambda xp, x: xp.array_equiv(x, x[:, :2]), (X,), 0, batch=False),
]


EXAMPLES = [*AVERAGES, *RUNNING, *ORDER_STATISTICS, *SKIPPING, *COMPARISONS]


@pytest.mark.parametrize(
    "example", [*EXAMPLES, *(LATER if hasattr(np, "cumulative_sum") else [])], ids=lambda e: e.name
)
def test_agrees_with_numpy(example: Example) -> None:
    check_example(example)


@pytest.mark.parametrize("example", WARNING, ids=lambda e: e.name)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_agrees_with_numpy_which_warns(example: Example) -> None:
    check_example(example)


@pytest.mark.parametrize("name", ["nansum", "nanprod", "nanmean", "nanvar", "nanstd", "nanmax", "nanmin", "nanmedian"])
def test_nan_has_the_derivative_zero(name: str) -> None:
    f, x = getattr(fnp, name), np.array([1.0, np.nan, 2.5])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        slope = ft.grad(f)(x)
    expected = ft.grad(f)(x[[0, 2]])
    np.testing.assert_allclose(slope, [expected[0], 0.0, expected[1]], rtol=1e-15)


def test_the_slope_of_a_quantile() -> None:
    x = np.array([3.0, 1.0, 2.0, 4.0])
    np.testing.assert_allclose(ft.grad(lambda x: fnp.quantile(x, 0.25))(x), [0.0, 0.25, 0.75, 0.0], rtol=1e-15)
    np.testing.assert_allclose(ft.grad(lambda q: fnp.quantile(x, q))(0.25), 3.0, rtol=1e-15)
    assert ft.grad(lambda q: fnp.quantile(x, q, method="lower"))(0.25) == 0.0


def test_comparisons_steer_python_branches_where_values_are_known() -> None:
    f = lambda x: x * 2.0 if fnp.allclose(x, 1.0) and not fnp.array_equal(x, 1.0) else x * 3.0
    assert ft.grad(f)(1.0 + 1e-9) == 2.0
    assert ft.grad(f)(1.5) == 3.0


def test_slices_of_nan_alone() -> None:
    f = lambda x: fnp.nanargmax(x, axis=1)
    with pytest.raises(ValueError, match="nothing but NaN"):
        ft.grad(lambda x: fnp.sum(x * f(x)[:, None]))(GAPS)
    np.testing.assert_array_equal(ft.jit(f)(GAPS), [0, -1])


ERRORS: dict[str, tuple[Any, type[Exception], str]] = {
    "weights differ": (lambda x: fnp.average(x, weights=WEIGHTS), errors.ArgumentError, "Give axis="),
    "weights do not fit": (lambda x: fnp.average(x, axis=0, weights=WEIGHTS), errors.ShapeError, "along axis=0"),
    "q out of range": (lambda x: fnp.quantile(x, 1.5), ValueError, "between 0 and 1"),
    "percent out of range": (lambda x: fnp.percentile(x, [5, 101]), ValueError, "between 0 and 100"),
    "q of three axes": (lambda x: fnp.quantile(x, np.zeros((1, 1, 1))), errors.ShapeError, "at most two axes"),
    "method": (lambda x: fnp.quantile(x, 0.5, method="best"), errors.ArgumentError, "the methods are inverted_cdf"),
    "weights need a method": (lambda x: fnp.quantile(x, 0.5, weights=x), errors.ArgumentError, "inverted_cdf"),
    "negative weights": (
        lambda x: fnp.quantile(x, 0.5, axis=1, method="inverted_cdf", weights=[1, -1, 1]),
        ValueError,
        "not negative",
    ),
    "complex quantile": (lambda x: fnp.quantile(x * 1j, 0.5), errors.DTypeError, "real numbers"),
    "quantile of nothing": (lambda x: fnp.quantile(x[:0], 0.5), errors.ShapeError, "no elements"),
    "cumulative_sum": (lambda x: fnp.cumulative_sum(x), errors.ArgumentError, "needs axis="),
    "cumsum axis": (lambda x: fnp.cumsum(x, axis=2), errors.ShapeError, "axis=2"),
    "nanmean dtype": (lambda x: fnp.nanmean(x, dtype=int), errors.DTypeError, "dtype="),
    "out": (lambda x: fnp.nanmax(x, axis=0, out=np.zeros(3)), errors.DetachedWriteError, "nanmax"),
    "out of cumsum": (lambda x: fnp.cumsum(x, out=np.zeros(6)), errors.DetachedWriteError, "cumsum"),
    "out of median": (lambda x: fnp.median(x, out=np.zeros(())), errors.DetachedWriteError, "median"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name: str) -> None:
    f, kind, text = ERRORS[name]
    with pytest.raises(kind, match=text):
        ft.jit(f)(X)


@pytest.mark.parametrize("transform", [ft.grad, ft.jit])
def test_weights_that_sum_to_zero(transform: Any) -> None:
    with pytest.raises(ZeroDivisionError, match="sum to zero"):
        transform(lambda x: fnp.average(x, weights=[1.0, -1.0]))(np.ones(2))
