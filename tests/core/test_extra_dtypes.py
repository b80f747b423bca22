"""bfloat16 and the float8 dtypes of ml_dtypes: the values, dtypes and types of NumPy, under every transformation."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import functrans as ft
from functrans import errors, lax
from functrans.core import dtypes
from functrans.core.parser import from_text

BF16 = ft.numpy.bfloat16
WITH_ZERO = [n for n in dtypes.EXTENDED if n != "float8_e8m0fnu"]
FLOAT8 = [n for n in WITH_ZERO if n.startswith("float8")]


def array(*values: float, dtype: Any = BF16) -> Any:
    return np.array(values, np.float32).astype(dtype)


X, Y = array(1.0, 2.0, 0.5, 3.0), array(2.0, 1.0, 4.0, 0.5)
M = X.reshape(2, 2)

# Functions of one or two arrays; those with a Python float or another dtype show the promotion.
FUNCTIONS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "add": (lambda x, y: x + y, (X, Y)),
    "divide": (lambda x, y: x / y, (X, Y)),
    "maximum": (np.maximum, (X, Y)),
    "arctan2": (np.arctan2, (X, Y)),
    "exp": (np.exp, (X,)),
    "tanh": (np.tanh, (X,)),
    "sqrt": (np.sqrt, (X,)),
    "square": (lambda x: x**2, (X,)),
    "power": (lambda x: x**1.5, (X,)),
    "plus_int": (lambda x: x + 1, (X,)),
    "plus_float": (lambda x: x + 1.0, (X,)),
    "plus_float32": (lambda x: x + np.float32(1), (X,)),
    "plus_float16": (lambda x: x + np.float16(1), (X,)),
    "times_float64": (lambda x: x * np.arange(4.0), (X,)),
    "times_int8": (lambda x: x * np.arange(4, dtype=np.int8), (X,)),
    "times_complex": (lambda x: x * 1j, (X,)),
    "element": (lambda x: x[1] + 1.0, (X,)),
    "greater": (lambda x: x > 1.0, (X,)),
    "where": (lambda x: np.where(x > 1, x, 0), (X,)),
    "where_float": (lambda x: np.where(x > 1, x, 0.0), (X,)),
    "clip": (lambda x: np.clip(x, 0, 2), (X,)),
    "sum": (np.sum, (X,)),
    "sum_axis": (lambda x: np.sum(x, axis=0), (M,)),
    "mean": (np.mean, (X,)),
    "max": (np.max, (X,)),
    "prod": (np.prod, (X,)),
    "var": (np.var, (X,)),
    "cumsum": (np.cumsum, (X,)),
    "argmax": (np.argmax, (X,)),
    "sort": (np.sort, (X,)),
    "dot": (np.dot, (X, Y)),
    "dot_matrix": (np.dot, (M, M)),
    "matmul": (np.matmul, (M, M)),
    "at": (lambda x, y: x @ y, (M, M)),
    "norm": (np.linalg.norm, (X,)),
    "concatenate": (lambda x, y: np.concatenate([x, y]), (X, Y)),
    "reshape": (lambda x: x.reshape(2, 2).T, (X,)),
    "index": (lambda x: x[np.array([0, 2])], (X,)),
    "astype": (lambda x: x.astype(np.float32), (X,)),
    "from_float": (lambda x: x.astype(BF16), (np.linspace(0, 1, 5),)),
    "softmax": (ft.nn.softmax, (X,)),
    "gelu": (ft.nn.gelu, (X,)),
    "logsumexp": (ft.nn.logsumexp, (X,)),
}


def same(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_compiled_as_eager(name: str) -> None:
    f, args = FUNCTIONS[name]
    same(ft.jit(f)(*args), f(*args))
    batch = [np.stack([a, a[::-1]]) for a in args]
    mapped = ft.vmap(f)(*batch)
    for k in (0, 1):
        one = f(*[b[k] for b in batch])
        assert mapped.dtype == one.dtype
        # A mapped product is summed in another order.
        wide = complex if one.dtype.kind == "c" else float
        np.testing.assert_allclose(mapped[k].astype(wide), np.asarray(one).astype(wide), rtol=2**-7)


@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - {"greater", "argmax", "times_complex", "from_float"}))
def test_gradients(name: str) -> None:
    f, args = FUNCTIONS[name]

    def loss(*args: Any) -> Any:
        return ft.numpy.sum(ft.numpy.asarray(f(*args)).astype(np.float32))

    slope = ft.grad(loss)(*args)
    assert slope.dtype == BF16
    assert ft.jit(ft.grad(loss))(*args).dtype == BF16
    expected = ft.grad(loss)(*[a.astype(np.float32) for a in args])
    np.testing.assert_allclose(slope.astype(np.float32), expected, rtol=0.05, atol=0.02)


def test_forward_mode_and_second_order() -> None:
    value, tangent = ft.jvp(np.sin, (X,), (Y,))
    assert value.dtype == tangent.dtype == BF16
    np.testing.assert_allclose(tangent.astype(float), np.cos(X.astype(float)) * Y.astype(float), rtol=0.01)
    second = ft.hessian(lambda x: np.sum(x**3).astype(np.float32))(X)
    assert second.dtype == BF16
    np.testing.assert_allclose(second.astype(float), np.diag(6 * X.astype(float)), rtol=0.02)


def test_training_step_in_mixed_precision() -> None:
    def loss(w: Any, x: Any, y: Any) -> Any:
        out = np.tanh(x.astype(BF16) @ w.astype(BF16)).astype(np.float32)
        return np.mean((out - y) ** 2)

    rng = np.random.default_rng(0)
    w, x, y = (rng.standard_normal(s).astype(np.float32) for s in ((3, 2), (8, 3), (8, 2)))
    step = ft.jit(ft.value_and_grad(loss))
    first, slope = step(w, x, y)
    assert slope.dtype == np.float32 and first.dtype == np.float32
    for _ in range(30):
        w = w - 0.3 * step(w, x, y)[1]
    assert step(w, x, y)[0] < 0.9 * first


def test_loops_and_branches() -> None:
    last, rows = ft.lax.scan(lambda c, x: (c + x, c), np.zeros((), BF16), X)
    same(rows, array(0.0, 1.0, 3.0, 3.5))
    assert last.dtype == BF16
    assert ft.lax.cond(True, lambda x: x * 2, lambda x: x, X).dtype == BF16
    grown = ft.jit(lambda x: ft.lax.while_loop(lambda x: x[0] < 10, lambda x: x * 2, x))(X)
    same(grown, X * 16)


@pytest.mark.parametrize("name", dtypes.EXTENDED)
def test_text_form(name: str) -> None:
    dtype = np.dtype(getattr(ml_dtypes, name))
    jaxpr = ft.make_jaxpr(lambda x: x.astype(np.float32))(np.ones(2, dtype))
    assert f"{dtypes.short_name(dtype)}[2]" in str(jaxpr)
    assert str(from_text(str(jaxpr))) == str(jaxpr)
    assert dtypes.from_short_name(dtypes.short_name(dtype)) == dtype
    assert dtypes.kind(dtype) == "f" and dtypes.is_inexact(dtype) and dtypes.tangent_dtype(dtype) == dtype
    assert getattr(ft.numpy, name) is getattr(ml_dtypes, name)
    assert np.dtype(dtypes.finfo(dtype).dtype) == dtype


@pytest.mark.parametrize("name", WITH_ZERO)
def test_every_dtype(name: str) -> None:
    dtype = np.dtype(getattr(ml_dtypes, name))
    x, y = array(1.0, 2.0, 0.5, 1.5, dtype=dtype), array(0.5, 1.0, 2.0, 1.0, dtype=dtype)
    for f in (np.add, np.multiply, lambda x, y: x + 1.0, lambda x, y: np.sum(x), lambda x, y: np.where(x > y, x, y)):
        same(ft.jit(f)(x, y), f(x, y))
        assert ft.vmap(f)(x, y).dtype == f(x, y).dtype
    slope = ft.grad(lambda x: np.sum((x * y).astype(np.float32)))(x)
    assert slope.dtype == dtype
    np.testing.assert_array_equal(slope.astype(float), y.astype(float))
    assert lax.dot(x, y).dtype == dtype
    assert ft.jit(lambda x: lax.convert_element_type(x, np.float64))(x).tolist() == [1.0, 2.0, 0.5, 1.5]


def test_operands_of_lax_keep_their_dtype() -> None:
    for f in (
        lambda x: lax.mul(x, 2.5),
        lambda x: lax.select(lax.gt(x, 1.0), x, 0.5),
        lambda x: lax.integer_pow(x, 3),
        lambda x: lax.scalar_pow(x, 1.5),
        lambda x: lax.rsqrt(x),
        lambda x: lax.clamp(0.5, x, 1.5),
        lambda x: lax.erf(x),
        lambda x: lax.lgamma(x),
        lambda x: lax.logistic(x),
        lambda x: lax.reduce_precision(x, 5, 3),
        lambda x: lax.dot_general(x, x, (((0,), (0,)), ((), ()))),
        lambda x: lax.cummax(x),
        lambda x: lax.stack([1.5, x[0]]),
    ):
        assert f(X).dtype == BF16
        same(ft.jit(f)(X), f(X))


def test_mixtures_without_a_common_dtype() -> None:
    other = X.astype(ml_dtypes.float8_e4m3fn)
    # NumPy's ufuncs take the loop of single precision; what needs a common dtype raises.
    same(ft.jit(np.add)(X, other), np.add(X, other))
    for f in (lambda x, y: np.concatenate([x, y]), lambda x, y: np.where(x > 1, x, y)):
        with pytest.raises(TypeError):
            f(X, other)
        with pytest.raises(TypeError):
            ft.jit(f)(X, other)
    with pytest.raises(errors.DTypeError, match=r"bf16.*f8_e4m3fn"):
        lax.add(X, other)


def test_bits_and_samples() -> None:
    assert lax.bitcast_convert_type(X, np.uint16)[0] == 0x3F80
    same(lax.bitcast_convert_type(lax.bitcast_convert_type(X, np.uint16), BF16), X)
    for name in ("bfloat16", *FLOAT8):
        dtype = getattr(ml_dtypes, name)
        u = ft.random.uniform(ft.random.key(0), (200,), dtype)
        assert u.dtype == np.dtype(dtype) and u.min() >= 0 and u.max() < 1
    assert ft.random.normal(ft.random.key(0), (5,), BF16).dtype == BF16
    assert ft.nn.initializers.he_normal(dtype=BF16)(ft.random.key(0), (3, 2)).dtype == BF16
    assert ft.image.resize(M, (3, 3), "linear").dtype == BF16


def test_long_doubles_are_told_from_float8() -> None:
    """The dtypes of ml_dtypes use characters of their own, which are those of other dtypes of NumPy."""
    assert dtypes.short_name(np.dtype(ml_dtypes.float8_e4m3fnuz)) == "f8_e4m3fnuz"
    assert dtypes.short_name(np.dtype(np.clongdouble)) == "c160"


def test_without_ml_dtypes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    for read in (lambda: ft.numpy.float8_e5m2, lambda: from_text("{ lambda ; a:bf16[2] . let  in (a,) }")):
        with pytest.raises(errors.MissingExtraError, match=r"pip install functrans\[dtypes\]"):
            read()


@pytest.mark.parametrize("name", ["exp", "sum", "mean", "dot_matrix", "matmul", "cumsum", "softmax", "var", "power"])
def test_float16(name: str) -> None:
    f, args = FUNCTIONS[name]
    args = tuple(a.astype(np.float16) for a in args)
    same(ft.jit(f)(*args), f(*args))
    slope = ft.grad(lambda *a: ft.numpy.sum(f(*a)).astype(np.float32))(*args)
    assert slope.dtype == np.float16


def test_sums_accumulate_as_those_of_numpy() -> None:
    x = np.full(4096, 0.1, np.float16)
    for f in (np.mean, np.sum):
        same(ft.jit(f)(x), f(x))
    big = np.full(1000, 300.0, np.float16)
    with np.errstate(over="ignore"):
        assert np.isinf(ft.jit(np.sum)(big)) and np.mean(big) == ft.jit(np.mean)(big) == 300.0
