from __future__ import annotations

import numpy as np
import pytest

import functrans as ft
import functrans.numpy as fnp
from functrans import errors
from tests.numpy.agreement import Example, available, check_example, same

X = np.array([[0.3, -1.7, 2.4], [1.25, 3.1, -0.75]])
F32 = X.astype(np.float32)
INT = np.array([[7, -3, 2], [15, 25, -35]])
U8 = np.array([1, 200, 7], np.uint8)
BOOL = X > 0
C = X + 1j * X[::-1]
SPECIAL = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, 1.5])
S = np.float64(1.3)
LO, HI = np.array([-1.0, -0.5, 0.5]), np.array([0.0, 1.0, 2.0])
BOXES = (("python", 1.3), ("numpy", S), ("0-d", np.array(1.3)), ("int", 3), ("bool", True))

EXAMPLES = [
    Example("clip", lambda xp, x: xp.clip(x, -1.0, 2.0), (X,)),
    Example("clip arrays", lambda xp, x, lo, hi: xp.clip(x, lo, hi), (X, LO, HI)),
    Example("clip below", lambda xp, x: xp.clip(x, 0.0, None), (X,)),
    Example("clip above", lambda xp, x, hi: xp.clip(x, None, hi), (X, HI)),
    Example("clip not", lambda xp, x: xp.clip(x), (X,), since=(2, 1)),
    Example("clip min max", lambda xp, x: xp.clip(x, min=-1, max=1), (F32,), 0, since=(2, 1)),
    Example("clip method", lambda xp, x: x.clip(-1, 1), (X,)),
    Example("clip int", lambda xp, x: xp.clip(x, -2, 9), (INT,)),
    Example("clip int by float", lambda xp, x: xp.clip(x, -2.5, 9.5), (INT,)),
    Example("clip uint8", lambda xp, x: xp.clip(x, 3, 100), (U8,)),
    Example("clip nan", lambda xp, x: xp.clip(x, -1.0, 1.0), (SPECIAL[[0, 1, 2, 5]],), 0),
    *[Example(f"round {d}", lambda xp, x, d=d: xp.round(x, d), (X * 1.2345,), 1) for d in (0, 1, 3, -1)],
    Example("round halves", lambda xp, x: xp.round(x), (np.array([0.5, 1.5, -0.5, 2.5]),), 0),
    Example("round float32", lambda xp, x: xp.round(x, 2), (F32 * 1.2345,), 0),
    Example("round complex", lambda xp, x: xp.round(x, 1), (C * 1.2345,), 1),
    Example("round int", lambda xp, x: xp.round(x, 2), (INT,)),
    Example("round int to tens", lambda xp, x: xp.round(x, -1), (INT,)),
    Example("around", lambda xp, x: xp.around(x, 1), (X * 1.2345,), 1),
    Example("round method", lambda xp, x: x.round(1), (X * 1.2345,), 1),
    Example("round bool", lambda xp, x: xp.round(x), (BOOL,)),
    Example("fix", lambda xp, x: xp.fix(x), (X,), 1, until=(2, 5)),
    Example("fix int", lambda xp, x: xp.fix(x), (INT,), until=(2, 5)),
    Example("nan_to_num", lambda xp, x: xp.nan_to_num(x), (SPECIAL,), 0),
    Example("nan_to_num values", lambda xp, x: xp.nan_to_num(x, nan=1.0, posinf=2.0, neginf=3.0), (SPECIAL,), 0),
    Example("nan_to_num finite", lambda xp, x: xp.nan_to_num(x), (X,)),
    Example("nan_to_num complex", lambda xp, x: xp.nan_to_num(x), (C,)),
    Example("nan_to_num int", lambda xp, x: xp.nan_to_num(x), (INT,)),
    Example("nan_to_num float32", lambda xp, x: xp.nan_to_num(x), (SPECIAL.astype(np.float32),), 0),
    Example("angle", lambda xp, x: xp.angle(x), (C,)),
    Example("angle of reals", lambda xp, x: xp.angle(x, deg=True), (X,)),
    Example("angle deg complex64", lambda xp, x: xp.angle(x, deg=True), (C.astype(np.complex64),), 0, digits=1),
    Example("sinc", lambda xp, x: xp.sinc(x), (X,), digits=2),
    Example("sinc at 0", lambda xp, x: xp.sinc(x), (np.zeros(2),), 0),
    Example("sinc int", lambda xp, x: xp.sinc(x), (INT,), digits=2),
    Example("isposinf", lambda xp, x: xp.isposinf(x), (SPECIAL,), 0),
    Example("isneginf", lambda xp, x: xp.isneginf(x), (SPECIAL,), 0),
    Example("isposinf int", lambda xp, x: xp.isposinf(x), (INT,)),
    Example("iscomplex", lambda xp, x: xp.iscomplex(x), (C,)),
    Example("iscomplex of reals", lambda xp, x: xp.iscomplex(x), (X,)),
    Example("isreal", lambda xp, x: xp.isreal(x), (C,)),
    Example("isreal of reals", lambda xp, x: xp.isreal(x), (X,)),
    Example("real_if_close of reals", lambda xp, x: xp.real_if_close(x), (X,)),
    *[
        Example(f"{name} of a {box} value", lambda xp, x, f=f: f(xp, x), (value,), 0, digits=1)
        for box, value in BOXES
        for name, f in {
            "clip": lambda xp, x: xp.clip(x, 0, 1),
            "clip above": lambda xp, x: xp.clip(x, None, 1),
            "round": lambda xp, x: xp.round(x),
            "nan_to_num": lambda xp, x: xp.nan_to_num(x),
            "angle": lambda xp, x: xp.angle(x),
            "sinc": lambda xp, x: xp.sinc(x),
            "isreal": lambda xp, x: xp.isreal(x),
            "iscomplex": lambda xp, x: xp.iscomplex(x),
            "isposinf": lambda xp, x: xp.isposinf(x),
            "real_if_close": lambda xp, x: xp.real_if_close(x),
        }.items()
    ],
    *[
        Example(f"fix of a {box} value", lambda xp, x: xp.fix(x), (value,), 0, digits=1, until=(2, 5))
        for box, value in BOXES
    ],
]


@pytest.mark.parametrize("example", available(EXAMPLES), ids=lambda e: e.name)
def test_misc(example: Example) -> None:
    check_example(example)


def test_fix_by_name_does_not_depend_on_the_version() -> None:
    """NumPy deprecates its own; the traced form neither warns nor changes."""
    same(ft.jit(fnp.fix)(X), np.trunc(X))
    same(ft.jit(fnp.fix)(2.5), np.float64(2.0))
    same(ft.grad(lambda x: fnp.sum(fnp.fix(x)))(X), np.zeros_like(X))


def test_clip_passes_the_derivative_on_at_its_bounds() -> None:
    x = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
    slope = ft.elementwise_grad(lambda v: fnp.clip(v, -0.5, 0.5))(x)
    np.testing.assert_array_equal(slope, [0.0, 1.0, 1.0, 1.0, 0.0])
    np.testing.assert_array_equal(ft.elementwise_grad(lambda v: fnp.clip(v, 0.0, None))(x), [0.0, 0.0, 0.5, 1.0, 1.0])


@pytest.mark.parametrize("xp", [np, fnp])
def test_questions_about_dtypes_are_answered_while_tracing(xp: object) -> None:
    def f(x: object, weak: object, z: object) -> object:
        assert xp.result_type(x, weak) == np.float32
        assert xp.result_type(x, np.float64) == np.float64
        assert xp.can_cast(x, np.float64)
        assert not xp.can_cast(z, np.float64)
        assert xp.common_type(x, z) is np.complex128
        assert xp.iscomplexobj(z) and not xp.iscomplexobj(x)
        assert xp.isrealobj(x) and not xp.isrealobj(z)
        return x

    ft.jit(f)(F32, 2.0, C)


def test_a_scalar_type_of_an_unknown_value_is_an_error() -> None:
    with pytest.raises(errors.TracerConversionError, match="min_scalar_type"):
        ft.jit(lambda x: fnp.zeros(2, fnp.min_scalar_type(x)))(np.float64(1.0))


def test_clip_rejects_half_of_the_bounds() -> None:
    with pytest.raises(errors.ArgumentError, match="a_min and a_max"):
        ft.jit(lambda x: fnp.clip(x, 0.0))(X)
