"""How 0-d values are boxed, and that Python numbers stay weak."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import functrans as ft
from functrans import errors

X = np.linspace(0.5, 2.0, 6).reshape(2, 3)
PROGRAMS = {
    "sum": lambda x: np.sum(x),
    "mean": lambda x: x.mean(),
    "where_of_scalars": lambda x: np.where(x.sum() > 1, x.sum(), 0.0),
    "item": lambda x: x[0, 1],
    "zero_d_by_ellipsis": lambda x: x[..., 0, 1],
    "reshape_to_nothing": lambda x: x[0, 1:2].reshape(()),
    "dot": lambda x: np.dot(x[0], x[1]),
    "constant": lambda x: 3.0,
    "constant_int": lambda x: 3,
    "constant_array": lambda x: np.array([1, 2]),
    "ufunc_of_zero_d": lambda x: np.sin(np.squeeze(x[0, :1])),
    "squeeze": lambda x: np.squeeze(x[0, :1]),
    "astype": lambda x: x.astype(np.float32)[0, 0],
    "compare": lambda x: x.sum() > 2,
    "argmax": lambda x: np.argmax(x),
    "tuple": lambda x: (x.sum(), {"a": x, "b": [x[0]]}, None),
}


def same(a: object, b: object) -> None:
    """Equal in value, dtype, shape and type, leaf by leaf."""
    leaves, tree = ft.tree.flatten(a)
    others, other_tree = ft.tree.flatten(b)
    assert tree == other_tree
    for x, y in zip(leaves, others, strict=True):
        assert type(x) is type(y)
        np.testing.assert_array_equal(x, y)
        if isinstance(x, (np.ndarray, np.generic)):
            assert x.dtype == y.dtype and x.shape == y.shape


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_jit_returns_what_the_function_returns(name: str, dtype: type) -> None:
    f = PROGRAMS[name]
    x = X.astype(dtype)
    same(ft.jit(f)(x), f(x))


@pytest.mark.parametrize("value", [2.5, 3, True, 1 + 2j, np.float64(2.5), np.float32(2.5), np.array(2.5), np.int8(3)])
@pytest.mark.parametrize(
    "f",
    [
        lambda s: s,
        lambda s: s * 2,
        lambda s: 2 * s + 1,
        lambda s: s * 2.0,
        lambda s: -s if not isinstance(s, (bool, np.bool_)) else s,
        lambda s: s / 4,
        lambda s: np.multiply(s, 2),
        lambda s: np.sin(s),
        lambda s: s * np.ones(3, np.float32),
        lambda s: s + np.float32(1),
        lambda s: abs(s),
        lambda s: s == 3,
        lambda s: s**2,
        lambda s: (s, s),
    ],
)
def test_scalars_of_every_kind(value: object, f: object) -> None:
    same(ft.jit(f)(value), f(value))  # type: ignore[operator]


def test_python_numbers_are_weak() -> None:
    x = np.ones(3, np.float32)
    assert ft.jit(lambda x, s: x * s)(x, 2.0).dtype == np.float32
    assert ft.grad(lambda s, x: np.sum(s * x))(2.0, x).dtype == np.float64
    assert ft.grad(lambda x: np.sum(2.0 * x))(x).dtype == np.float32
    value, tangent = ft.jvp(lambda s: s * x, (2.0,), (1.0,))
    assert value.dtype == tangent.dtype == np.float32
    assert ft.vmap(lambda s: s * 2.0)(x).dtype == np.float32


def test_weak_tangents_under_vmap() -> None:
    x = np.arange(3, dtype=np.float32)
    out = ft.vmap(lambda t: ft.jvp(lambda s: s * x, (2.0,), (t,))[1])(np.ones(2))
    assert out.dtype == np.float32
    np.testing.assert_array_equal(out, np.stack([x, x]))


def test_power_is_the_operators_power() -> None:
    x = np.linspace(0.1, 7, 1001, dtype=np.float32)
    for f in (lambda x: x**2, lambda x: x**0.5, lambda x: x**3, lambda x: np.power(x, 2), lambda x: x**-1):
        same(ft.jit(f)(x), f(x))
        same(ft.value_and_grad(lambda x, f=f: np.sum(f(x)))(x)[0], np.sum(f(x)))


def test_gradient_of_a_python_float_is_a_numpy_scalar() -> None:
    g = ft.grad(lambda x: x**2)(2.0)
    assert type(g) is np.float64 and g == 4.0
    assert type(ft.jit(ft.grad(lambda x: x**2))(2.0)) is np.float64
    assert type(ft.grad(lambda x: x**2)(np.float32(2.0))) is np.float32
    zero_d = ft.grad(lambda x: x**2)(np.array(2.0))
    assert type(zero_d) is np.ndarray and zero_d.shape == ()


def test_value_keeps_its_type() -> None:
    assert type(ft.value_and_grad(lambda x: x * 2.0)(1.0)[0]) is float
    assert type(ft.value_and_grad(lambda x: np.sin(x))(1.0)[0]) is np.float64


def test_range_checks_of_python_ints_happen() -> None:
    x = np.arange(3, dtype=np.uint8)
    with pytest.raises(OverflowError):
        ft.jit(lambda x: x + 300)(x)
    with pytest.raises(OverflowError):
        ft.jit(lambda x, n: x + n)(x, 300)
    same(ft.jit(lambda x, n: x + n)(x, 3), x + 3)


def test_python_ints_become_static_where_their_value_is_needed() -> None:
    f = ft.jit(lambda x, n: x[:n].reshape(n, 1) ** n)
    x = np.arange(1.0, 5.0)
    for n in (2, 3, 2):
        same(f(x, n), x[:n].reshape(n, 1) ** n)
    assert f.trace_count == 2
    g = ft.jit(lambda x, n: [x * i for i in range(n + 1)])
    assert len(g(x, 2)) == 3


def test_python_ints_that_are_only_numbers_are_not_static() -> None:
    f = ft.jit(lambda x, n: x * n)
    x = np.ones(2)
    for n in range(5):
        np.testing.assert_array_equal(f(x, n), x * n)
    assert f.trace_count == 1


def test_a_python_float_that_decides_a_branch_is_static() -> None:
    f = ft.jit(lambda x, s: x * 2 if s > 0 else x * 3)
    x = np.ones(2)
    np.testing.assert_array_equal(f(x, 1.0), 2 * x)
    np.testing.assert_array_equal(f(x, -1.0), 3 * x)
    np.testing.assert_array_equal(f(x, 1.0), 2 * x)
    assert f.trace_count == 2


def test_booleans_strings_and_none_are_static() -> None:
    f = ft.jit(lambda x, flag, name, nothing: x * 2 if flag and name == "double" and nothing is None else x)
    x = np.ones(2)
    np.testing.assert_array_equal(f(x, True, "double", None), 2 * x)
    np.testing.assert_array_equal(f(x, False, "double", None), x)
    np.testing.assert_array_equal(f(x, True, "single", None), x)
    assert f.trace_count == 3


DEVIATIONS = {
    # What Python computes on its own numbers, and jit with NumPy's 64-bit ones.
    "large ints wrap": (lambda n: n * n, 2**40, 0),
    "powers of negatives are NaN": (lambda x: x**0.25, -1.0, float("nan")),
}


@pytest.mark.parametrize("name", DEVIATIONS)
def test_the_table_of_deviations(name: str) -> None:
    f, argument, expected = DEVIATIONS[name]
    with np.errstate(all="ignore"):
        np.testing.assert_equal(ft.jit(f)(argument), expected)


def test_division_by_zero_of_python_floats_deviates() -> None:
    with np.errstate(all="ignore"):
        assert ft.jit(lambda x: 1.0 / x)(0.0) == np.inf
    with pytest.raises(ZeroDivisionError):
        (lambda x: 1.0 / x)(0.0)


def test_python_numbers_do_what_python_numbers_do() -> None:
    same(ft.jit(lambda n: [1.0] * n)(3), [1.0] * 3)
    same(ft.jit(lambda n: (1.0,) * n)(2), (1.0,) * 2)
    same(ft.jit(lambda n: n * [1.0])(2), [1.0] * 2)
    for x in (2.5, 3.7, -1.2, np.float64(2.5), np.float32(1.2)):
        same(ft.jit(round)(x), round(x))  # type: ignore[arg-type]
    import math

    for f in (math.floor, math.ceil, math.trunc):
        same(ft.jit(f)(-1.5), f(-1.5))


def test_comparison_with_none() -> None:
    same(ft.jit(lambda x: (x == None, x != None))(X), (X == None, X != None))  # noqa: E711
    assert ft.jit(lambda x: x == None)(2.0) is False  # noqa: E711


def test_second_derivatives_of_numbers_are_numbers() -> None:
    for f in (ft.hessian, ft.jacfwd, ft.jacrev):
        out = f(lambda x: x**3)(2.0)
        assert type(out) is np.float64
        same(ft.jit(f(lambda x: x**3))(2.0), out)
        assert type(f(lambda x: x**3)(np.array(2.0))) is np.ndarray


@pytest.mark.parametrize("x", [0.5, np.float64(0.5), np.array(0.5)])
def test_zero_derivatives_have_the_type_of_others(x: object) -> None:
    for f in (lambda x: 2.0 * x, lambda x: ft.stop_gradient(2.0 * x), lambda x: 3.0):
        g = ft.grad(f)(x)
        assert type(g) is (np.ndarray if isinstance(x, np.ndarray) else np.float64)
        same(ft.jit(ft.grad(f))(x), g)
        same(ft.jit(lambda x, f=f: ft.grad(ft.jit(f))(x))(x), g)
        value, tangent = ft.jvp(f, (x,), (x,))
        assert type(value) is type(tangent)
        same(ft.jit(lambda x, f=f: ft.jvp(f, (x,), (x,)))(x), (value, tangent))


def test_numbers_that_a_dict_or_an_iterator_asks_for_become_static() -> None:
    table = {3: 1.0, 5: 2.0}
    lookup = ft.jit(lambda x, n: x * table[n])
    for n in (3, 5, 3):
        assert lookup(1.0, n) == table[n]
    assert lookup.trace_count == 2
    # islice puts an error of its own over what it is told.
    head = ft.jit(lambda x, n: sum(itertools.islice(x, n)))
    for n in (2, 3):
        assert head(np.arange(4.0), n) == sum(range(n))
    inside = ft.jit(lambda x, n: ft.lax.fori_loop(0, 1, lambda i, c: c + np.pad(np.repeat(x, n), n).size, 0))
    assert inside(np.ones(2), 3) == 12
    special = ft.jit(lambda x, n: x * table[n] if x > 0 else x * len(range(n)), specialize=2)
    assert [special(x, n) for x in (1.0, -1.0) for n in (3, 5)] == [1.0, 2.0, -3.0, -5.0]
    with pytest.raises(TypeError, match="unhashable"):
        ft.jit(lambda x: {x: 1})(np.ones(2))
    with pytest.raises(errors.TracerConversionError, match="lose its derivative"):
        ft.grad(lambda x: x * {2.0: 3.0}[x])(2.0)
