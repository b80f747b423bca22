"""The methods of ufuncs, and what a ufunc does with its keywords: against NumPy's."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import functrans as ft
import functrans.numpy as fnp
from functrans import errors
from functrans.numpy import dispatch
from functrans.test_util import check_grads
from tests.numpy.agreement import Example, check_example, same

X = np.array([[0.5, -1.5, 2.0], [1.25, 3.0, -0.75]])
CUBE = np.sin(np.arange(24.0) * 1.3 + 0.4).reshape(2, 3, 4)
INTS = np.array([[3, -1, 2], [5, 4, -6]])
POSITIVE = np.abs(INTS)
MASK = np.array([[True, False, True], [False, False, True]])
GAPS = np.array([[0.5, np.nan, 2.0], [np.nan, np.nan, np.nan]])
F32 = X.astype(np.float32)
F16 = X.astype(np.float16)
FIVE = np.array([8.0, 2.0, 0.5, 1.5, 3.0])

NUMBERS = ("add", "multiply", "maximum", "minimum", "fmax", "fmin", "subtract", "logaddexp", "logaddexp2", "hypot")
NUMPYS = [u for u in dispatch.ufuncs if getattr(np, u.__name__, None) is u]
BINARY = [u for u in NUMPYS if u.nin == 2 and u.nout == 1 and u.signature is None and u is not np.ldexp]


def _of_numbers(name: str) -> list[Example]:
    def u(xp: Any) -> Any:
        return getattr(xp, name)

    rounding = {"logaddexp": 8, "logaddexp2": 8, "hypot": 8}.get(name, 0)
    order = 1 if name == "hypot" else 2
    return [
        Example(f"{name}.reduce", lambda xp, x: u(xp).reduce(x), (X,), order, digits=rounding),
        Example(f"{name}.reduce axis", lambda xp, x: u(xp).reduce(x, -1), (X,), order, digits=rounding),
        Example(f"{name}.reduce kept", lambda xp, x: u(xp).reduce(x, 0, keepdims=True), (X,), order, digits=rounding),
        Example(f"{name}.reduce five", lambda xp, x: u(xp).reduce(x), (FIVE,), order, digits=rounding),
        Example(f"{name}.reduce float32", lambda xp, x: u(xp).reduce(x), (F32,), 0, digits=rounding),
        Example(f"{name}.reduce initial", lambda xp, x: u(xp).reduce(x, initial=1.5), (X,), 1, digits=8),
        Example(f"{name}.reduce where", lambda xp, x: u(xp).reduce(x, 1, initial=0.25, where=MASK), (X,), 1, digits=8),
        Example(f"{name}.reduce no axis", lambda xp, x: u(xp).reduce(x, axis=()), (X,), 0, digits=rounding),
        Example(f"{name}.reduce nothing", lambda xp, x: u(xp).reduce(x, 1), (np.zeros((0, 3)),), 0),
        Example(f"{name}.reduce one", lambda xp, x: u(xp).reduce(x), (-X[:1],), 1, digits=rounding),
        Example(f"{name}.reduce of a list", lambda xp, x: u(xp).reduce([x, 2.0, x]), (1.5,), 1, False, digits=rounding),
        Example(f"{name}.accumulate", lambda xp, x: u(xp).accumulate(x), (FIVE,), order, digits=rounding),
        Example(f"{name}.accumulate axis", lambda xp, x: u(xp).accumulate(x, axis=1), (X,), order, digits=rounding),
        Example(f"{name}.accumulate none", lambda xp, x: u(xp).accumulate(x), (np.zeros((0, 3)),), 0),
        Example(f"{name}.reduceat", lambda xp, x: u(xp).reduceat(x, [0, 3, 1, 4]), (FIVE,), order, digits=8),
        Example(f"{name}.reduceat axis", lambda xp, x: u(xp).reduceat(x, [1, 0], axis=1), (X,), order, digits=8),
        Example(f"{name}.outer", lambda xp, x, y: u(xp).outer(x, y), (X, FIVE + 0.1), order, digits=rounding),
        Example(f"{name}.outer with a number", lambda xp, x: u(xp).outer(2.0, x), (F32,), 0, digits=rounding),
    ]


METHODS = [
    *[example for name in NUMBERS for example in _of_numbers(name)],
    *[
        Example(f"{name}.reduce all axes", lambda xp, x, f=name: getattr(xp, f).reduce(x, axis=None), (CUBE,), digits=8)
        for name in NUMBERS
        if name not in ("subtract", "hypot")
    ],
    *[
        Example(f"{name}.{method} of {what}", lambda xp, x, f=name, m=method: getattr(getattr(xp, f), m)(x), (x,))
        for name in ("add", "multiply", "maximum", "logical_and", "logical_or", "logical_xor", "bitwise_or", "fmin")
        for method in ("reduce", "accumulate")
        for what, x in {"int8": INTS.astype(np.int8), "uint8": POSITIVE.astype(np.uint8), "bools": MASK}.items()
    ],
    *[
        Example(f"{name}.{method} of ints", lambda xp, x, f=name, m=method: getattr(getattr(xp, f), m)(x), (POSITIVE,))
        for name in ("bitwise_and", "bitwise_xor", "gcd", "lcm", "true_divide", "power", "floor_divide", "remainder")
        for method in ("reduce", "accumulate")
    ],
    *[
        Example(f"{name}.reduce of floats", lambda xp, x, f=name: getattr(xp, f).reduce(x), (X,), 0)
        for name in ("logical_and", "logical_or", "logical_xor")
    ],
    *[
        Example(f"{name}.reduce of NaN", lambda xp, x, f=name: getattr(xp, f).reduce(x, axis=1), (GAPS,), 0)
        for name in ("maximum", "minimum", "fmax", "fmin", "add")
    ],
    *[
        Example(f"{name}.{m} of bools", lambda xp, x, f=name, m=m: getattr(getattr(xp, f), m)(x), (MASK,))
        for name in ("equal", "less", "bitwise_and")
        for m in ("reduce", "accumulate")
    ],
    Example("true_divide.reduce", lambda xp, x: xp.true_divide.reduce(x, axis=1), (X,)),
    Example("power.accumulate", lambda xp, x: xp.power.accumulate(x), (FIVE[:3],)),
    Example("arctan2.accumulate", lambda xp, x: xp.arctan2.accumulate(x), (FIVE[1:],)),
    Example("add.reduce float16", lambda xp, x: xp.add.reduce(x, axis=1), (F16,), 0),
    Example("add.reduce dtype", lambda xp, x: xp.add.reduce(x, dtype=np.float32), (INTS,)),
    Example("add.accumulate dtype", lambda xp, x: xp.add.accumulate(x, dtype=np.int16), (INTS,)),
    Example("add.reduceat of none", lambda xp, x: xp.add.reduceat(x, []), (FIVE,), 0),
    Example("add.reduceat int8", lambda xp, x: xp.add.reduceat(x, [0, 1]), (INTS.astype(np.int8),)),
    Example("logical_or.reduceat", lambda xp, x: xp.logical_or.reduceat(x, [0, 1, 0]), (MASK,)),
    Example("subtract.reduce where", lambda xp, x: xp.subtract.reduce(x, 1, initial=4.0, where=MASK), (X,)),
    Example("bitwise_and.reduce nothing", lambda xp, x: xp.bitwise_and.reduce(x), (np.zeros((0, 2), np.uint8),)),
    Example("logaddexp.reduce nothing", lambda xp, x: xp.logaddexp.reduce(x), (np.zeros((0, 2)),), 0),
    Example("maximum.reduce with a start", lambda xp, x, s: xp.maximum.reduce(x, initial=s), (X, np.float64(1.0)), 1),
    Example("greater.outer", lambda xp, x, y: xp.greater.outer(x, y), (X, FIVE), 0),
    Example("divmod.outer", lambda xp, x: xp.divmod.outer(x, [2.1, 3.3]), (X,), 1),
    Example("power.outer of numbers", lambda xp, x: xp.power.outer(x, 3), (1.5,)),
]


@pytest.mark.parametrize("example", METHODS, ids=lambda e: e.name)
def test_agrees_with_numpy(example: Example) -> None:
    check_example(example)


# NumPy's own folds of floats by these are wrong on processors with wide vectors: they skip elements.
MISFOLDED = (np.power, np.arctan2)


@pytest.mark.parametrize("method", ["reduce", "accumulate"])
@pytest.mark.parametrize("ufunc", BINARY, ids=lambda u: u.__name__)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_folds_by_every_ufunc(ufunc: np.ufunc, method: str) -> None:
    """Where NumPy has a fold for a dtype, so has the traced ufunc; where it has none, there is an error too."""
    ours = getattr(dispatch.ufuncs[ufunc], method)
    for x in (np.array([0.9, 0.5, 0.75]), np.array([3, 1, 2]), np.array([True, False, True])):
        try:
            expected = getattr(ufunc, method)(x)
        except TypeError:
            with pytest.raises(TypeError):
                ft.jit(lambda x: ours(x))(x)
            continue
        if ufunc in MISFOLDED and method == "reduce":
            expected = ufunc(ufunc(x[0], x[1]), x[2])
        same(ft.jit(lambda x: ours(x))(x), expected, digits=4)
        same(ft.jit(lambda x: getattr(ufunc, method)(x))(x), expected, digits=4)


def test_large_reductions_of_associative_ufuncs_stay_small() -> None:
    jaxpr = ft.make_jaxpr(lambda x: np.fmax.reduce(x))(np.ones(10_000))
    assert len(jaxpr.eqns) < 120


def test_keywords_of_a_call() -> None:
    same(ft.jit(lambda x: fnp.add(x, 2, dtype=np.float32))(X), np.add(X, 2, dtype=np.float32))
    same(ft.jit(lambda x: fnp.add(x, 2, dtype=float))(INTS), np.add(INTS, 2, dtype=float))
    same(ft.jit(lambda x: np.multiply(x, 2.0, casting="safe", order="C"))(X), X * 2.0)


def test_at_on_arrays_that_are_not_traced() -> None:
    def f(x: Any) -> Any:
        counts = np.zeros(3)
        fnp.add.at(counts, [0, 0, 2], 1.0)
        return x * counts

    np.testing.assert_array_equal(ft.jit(f)(2.0), [4.0, 0.0, 2.0])


@pytest.mark.parametrize(
    ("name", "b"),
    [
        ("add", 2.0),
        ("subtract", 2.0),
        ("multiply", np.array([2.0, 4.0, 8.0])),
        ("divide", np.array([2.0, 4.0, 8.0])),
        ("power", 2.0),
        ("maximum", 1.5),
        ("minimum", 1.5),
        ("hypot", 3.0),
        ("logical_or", 0.0),
        ("negative", None),
    ],
)
def test_at_as_a_function(name: str, b: Any) -> None:
    x, places = np.array([1.0, 3.0, 2.0, 5.0]), np.array([1, 1, 3])
    others = () if b is None else (b,)
    expected = x.copy()
    getattr(np, name).at(expected, places, *others)

    def f(x: Any, *others: Any) -> Any:
        return getattr(fnp, name).at(x, places, *others, inplace=False)

    for out in (
        f(x, *others),
        ft.jit(f)(x, *others),
        ft.vmap(f, in_axes=(0, *(None,) * len(others)))(x[None], *others)[0],
    ):
        np.testing.assert_allclose(out, expected, rtol=1e-15)
    assert x.tolist() == [1.0, 3.0, 2.0, 5.0]
    if name in ("subtract", "divide", "negative"):
        check_grads(f, (x, *others), order=2)


def test_at_as_a_function_does_not_lose_a_dtype() -> None:
    with pytest.raises(errors.DTypeError, match="results of type float64"):
        fnp.divide.at(np.arange(3), [0, 1], 2.0, inplace=False)
    with pytest.raises(errors.ArgumentError, match="1 operands are needed"):
        fnp.add.at(np.arange(3), [0, 1], inplace=False)


def test_signatures_are_numpys() -> None:
    for ours, numpys in ((fnp.add, np.add), (fnp.vecdot, np.vecdot), (fnp.from_dlpack, np.from_dlpack)):
        try:
            expected = str(inspect.signature(numpys))
        except ValueError:
            continue  # Older versions of NumPy do not tell.
        assert str(inspect.signature(ours)) == expected


ERRORS: dict[str, tuple[Any, type[Exception], str]] = {
    "order counts": (lambda x: fnp.subtract.reduce(x, axis=(0, 1)), errors.ShapeError, "one axis at a time"),
    "no identity": (lambda x: fnp.fmax.reduce(x[:0]), ValueError, "fmax has no identity"),
    "no identity to mask": (lambda x: fnp.subtract.reduce(x, where=MASK), ValueError, "where= may exclude"),
    "no start": (lambda x: fnp.add.reduce(x[:0], initial=None), ValueError, "Give initial="),
    "unary": (lambda x: fnp.sin.reduce(x), errors.ArgumentError, "two operands"),
    "two results": (lambda x: fnp.divmod.reduce(x), errors.ArgumentError, "one result"),
    "unary outer": (lambda x: fnp.sin.outer(x, x), errors.ArgumentError, "two operands"),
    "accumulate a number": (lambda x: fnp.add.accumulate(x[0, 0]), errors.ArgumentError, "no axis"),
    "accumulate axis": (lambda x: fnp.add.accumulate(x, axis=2), errors.ShapeError, "axis=2"),
    "reduceat traced": (
        lambda x: fnp.add.reduceat(x, fnp.argsort(x[:, 0])),
        errors.ConcretizationError,
        "Make them static",
    ),
    "reduceat out of bounds": (lambda x: fnp.add.reduceat(x, [2]), errors.IndexingError, "index 2"),
    "at": (lambda x: fnp.add.at(x, [0], 1.0), errors.DetachedWriteError, r"add\.at\(a, indices, b, inplace=False"),
    "at an array": (
        lambda x: fnp.maximum.at(np.ones(2), [0], x[0, 0]),
        errors.DetachedWriteError,
        r"maximum\.at\(.*inplace=False",
    ),
    "np at": (lambda x: np.add.at(np.ones(2), [0], x[0, 0]), errors.DetachedWriteError, "add.at"),
    "cast": (lambda x: fnp.add(x, 1, dtype=int), errors.DTypeError, "'same_kind'"),
    "where": (lambda x: fnp.add(x, 1, where=MASK), errors.ArgumentError, r"where\(mask"),
    "count": (lambda x: fnp.add(x), errors.ArgumentError, "2 operands"),
    "out": (lambda x: fnp.add(x, 1.0, out=np.zeros((2, 3))), errors.DetachedWriteError, "out="),
    "out of reduce": (lambda x: np.add.reduce(x, out=np.zeros(3)), errors.DetachedWriteError, "out="),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name: str) -> None:
    f, kind, text = ERRORS[name]
    with pytest.raises(kind, match=text):
        ft.jit(f)(X)
