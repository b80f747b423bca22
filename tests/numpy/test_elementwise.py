"""Every ufunc at operands of every kind: what NumPy gives, in value, dtype and type, by name and by protocol."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import functrans as ft
import functrans.numpy as fnp
from functrans import errors
from functrans.numpy import dispatch
from tests.numpy.agreement import Example, check_derivatives, same

# SciPy's own are in the table too, once something has met one of them.
UFUNCS = sorted([u for u in dispatch.ufuncs if getattr(np, u.__name__, None) is u], key=lambda u: u.__name__)
NAMES = {np.matmul, np.vecdot, np.matvec, np.vecmat} if hasattr(np, "matvec") else {np.matmul, np.vecdot}
ELEMENTWISE = [u for u in UFUNCS if u not in NAMES]

FIRST = np.array([[0.3, 0.55, 0.9], [0.75, 0.2, 0.45]])
SECOND = np.array([0.35, 0.8, 0.6])
ABOVE_ONE = {np.arccosh}
OPERANDS: dict[str, tuple[Any, Any]] = {
    "float64": (FIRST, SECOND),
    "negative": (-FIRST, SECOND),
    "float32": (FIRST.astype(np.float32), SECOND.astype(np.float32)),
    "float16": (FIRST.astype(np.float16), SECOND.astype(np.float16)),
    "complex": (FIRST + 0.5j, SECOND - 0.25j),
    "int64": (np.array([[1, 2, 3], [4, 5, 6]]), np.array([2, 1, 3])),
    "int8": (np.array([1, -2, 3], np.int8), np.array([2, 1, 3], np.int8)),
    "uint8": (np.array([1, 2, 3], np.uint8), np.array([2, 1, 3], np.uint8)),
    "bool": (np.array([True, False, True]), np.array([True, True, False])),
    "int and float32": (np.array([1, 2, 3]), SECOND.astype(np.float32)),
    "float and int8": (SECOND, np.array([2, 1, 3], np.int8)),
    "float32 and a Python float": (SECOND.astype(np.float32), 0.4),
    "a Python int and float32": (1, SECOND.astype(np.float32)),
    "int8 and a Python int": (np.array([2, 1, 3], np.int8), 2),
    "Python floats": (0.3, 0.4),
    "Python ints": (3, 2),
    "Python bools": (True, False),
    "NumPy scalars": (np.float64(0.3), np.float64(0.4)),
    "0-d arrays": (np.array(0.3), np.array(0.4)),
    "empty": (FIRST[:0], SECOND),
}


@pytest.mark.parametrize("kind", OPERANDS)
@pytest.mark.parametrize("ufunc", ELEMENTWISE, ids=lambda u: u.__name__)
def test_every_ufunc_agrees_with_numpy(ufunc: np.ufunc, kind: str) -> None:
    args = OPERANDS[kind][: ufunc.nin]
    if ufunc in ABOVE_ONE:
        args = tuple(1 + a for a in args)
    ours = getattr(fnp, ufunc.__name__)
    with np.errstate(all="ignore"):
        try:
            expected = ufunc(*args)
        except (TypeError, ValueError) as error:
            with pytest.raises((TypeError, ValueError)):
                ft.jit(lambda *xs: ours(*xs))(*args)
            assert error
            return
        # The loop of float_power is its own; it and that of power may round differently.
        digits = 1 if ufunc is np.float_power else 0
        same(ft.jit(lambda *xs: ours(*xs))(*args), expected, digits)
        same(ft.jit(lambda *xs: ufunc(*xs))(*args), expected, digits)
        same(ft.jit(lambda x: ours(x, *args[1:]))(args[0]), expected, digits)


GENERIC = {
    "floor_divide": (FIRST * 7.3, SECOND),
    "remainder": (FIRST * 7.3, SECOND),
    "fmod": (FIRST * -7.3, SECOND),
    "divmod": (FIRST * 7.3, SECOND),
    "float_power": (FIRST, SECOND),
    "heaviside": (FIRST - 0.5, SECOND),
    "nextafter": (FIRST, SECOND),
    "spacing": (FIRST,),
    "floor": (FIRST * 7,),
    "ceil": (FIRST * 7,),
    "trunc": (FIRST * 7,),
    "rint": (FIRST * 7,),
    "modf": (FIRST * 7,),
    "frexp": (FIRST * 7,),
    "deg2rad": (FIRST,),
    "rad2deg": (FIRST,),
    "radians": (FIRST,),
    "degrees": (FIRST,),
    "signbit": (FIRST,),
}


@pytest.mark.parametrize("name", GENERIC)
def test_derivatives(name: str) -> None:
    check_derivatives(Example(name, lambda xp, *xs: getattr(xp, name)(*xs), GENERIC[name]))


def test_ldexp_is_differentiable_in_its_mantissa() -> None:
    slope = ft.elementwise_grad(lambda x: fnp.ldexp(x, np.array([1, 2, -1])))(SECOND)
    np.testing.assert_array_equal(slope, [2.0, 4.0, 0.5])


def test_heaviside_at_zero_and_nan() -> None:
    x = np.array([-1.0, 0.0, 2.0, np.nan])
    np.testing.assert_array_equal(ft.jit(fnp.heaviside)(x, 0.25), [0.0, 0.25, 1.0, np.nan])
    np.testing.assert_array_equal(ft.grad(lambda h: fnp.sum(fnp.heaviside(x[:3], h)))(0.25), 1.0)


def test_operators_with_a_remainder() -> None:
    x = FIRST * 7
    same(
        ft.jit(lambda v: (v // 2, v % 2, divmod(v, 2), 7 // v, 7 % v))(x), (x // 2, x % 2, divmod(x, 2), 7 // x, 7 % x)
    )
    assert ft.jit(lambda a: (a // 2, a % 2))(7) == (3, 1)


def test_a_python_int_that_does_not_fit_is_an_error_as_in_numpy() -> None:
    with pytest.raises(OverflowError, match="300"):
        ft.jit(lambda x: fnp.add(x, 300))(np.array([1], np.uint8))


def test_out_and_where_are_rejected() -> None:
    with pytest.raises(errors.DetachedWriteError, match="add"):
        ft.jit(lambda x: np.add(x, 1.0, out=np.zeros(3)))(SECOND)
    with pytest.raises(errors.ArgumentError, match="where"):
        ft.jit(lambda x: fnp.add(x, 1.0, where=np.array([True, False, True])))(SECOND)


@pytest.mark.parametrize("name", ["equal", "not_equal", "less", "less_equal", "greater", "greater_equal"])
def test_integers_are_compared_by_value(name: str) -> None:
    compare = getattr(np, name)
    signed = np.array([1, -1, 5, -(2**63), 3])
    unsigned = np.array([1, 2**64 - 1, 2**63, 2, 2], np.uint64)
    small = np.array([0, 255], np.uint8)
    for x, y in ((signed, unsigned), (unsigned, signed), (signed[:, None], unsigned), (signed[1], unsigned)):
        same(ft.jit(compare)(x, y), compare(x, y))
    same(ft.vmap(compare)(signed, unsigned), compare(signed, unsigned))
    for number in (300, -1, 2**70, -(2**70), 5):
        for array in (small, small[1], signed, unsigned):
            same(ft.jit(lambda x, n=number: compare(x, n))(array), compare(array, number))
            same(ft.jit(lambda x, n=number: compare(n, x))(array), compare(number, array))
