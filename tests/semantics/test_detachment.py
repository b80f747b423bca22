"""A gradient is never lost without a word: writes, conversions and leaks raise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import errors

TRANSFORMS = {
    "grad": lambda f: ft.grad(lambda x: np.sum(f(x))),
    "jit": ft.jit,
    "vmap": ft.vmap,
    "jvp": lambda f: lambda x: ft.jvp(f, (x,), (np.ones_like(x),)),
    "jit_grad": lambda f: ft.jit(ft.grad(lambda x: np.sum(f(x)))),
}
X = np.arange(1.0, 4.0)


def store(x: Any) -> Any:
    out = np.zeros(3)
    out[0] = x[0] if x.ndim else x
    return out


def store_array(x: Any) -> Any:
    out = np.zeros(3)
    out[:] = x
    return out


def add_in_place(x: Any) -> Any:
    out = np.ones((2, 3))
    row = out[0]
    row += x
    return out


def ufunc_out(x: Any) -> Any:
    out = np.zeros(3)
    np.multiply(x, 2.0, out=out)
    return out


def function_out(x: Any) -> Any:
    out = np.zeros(())
    np.sum(x, out=out)
    return out


def ufunc_at(x: Any) -> Any:
    out = np.zeros(3)
    np.add.at(out, [0, 1], x if x.ndim == 0 else x[:2])
    return out


def copyto(x: Any) -> Any:
    out = np.zeros(3)
    np.copyto(out, x)
    return out


def full_like(x: Any) -> Any:
    return np.full_like(np.ones(3), x if x.ndim == 0 else x[0])


def place(x: Any) -> Any:
    out = np.zeros(3)
    np.place(out, out == 0, x)
    return out


def put(x: Any) -> Any:
    out = np.zeros(3)
    np.put(out, [0], x)
    return out


def putmask(x: Any) -> Any:
    out = np.zeros(3)
    np.putmask(out, out == 0, x)
    return out


WRITES = [store, store_array, add_in_place, ufunc_out, function_out, ufunc_at, copyto, place, put, putmask]


@pytest.mark.parametrize("write", WRITES, ids=lambda f: f.__name__)
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_writes_into_concrete_arrays_raise(write: Any, transform: str) -> None:
    with pytest.raises(errors.FunctransError) as info:
        TRANSFORMS[transform](write)(X)
    assert isinstance(info.value, (errors.DetachedWriteError, errors.TracerConversionError, errors.TracerArrayError))
    assert "numpy_code" in str(info.value) or "at(x)" in str(info.value) or "returned" in str(info.value)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_full_like_raises_rather_than_return_uninitialised_memory(transform: str) -> None:
    # NumPy's own full_like dispatches on the prototype alone, and fills by copyto.
    with pytest.raises(errors.DetachedWriteError):
        TRANSFORMS[transform](full_like)(X)
    ours = ft.jit(lambda x: ft.numpy.full_like(np.ones(3), x[0]))
    np.testing.assert_array_equal(ours(X), np.ones(3))


CONVERSIONS = {
    "np.array": lambda x: np.array([x[0], x[1]]),
    "np.asarray": lambda x: np.asarray(x) * 2,
    "list_index": lambda x: np.arange(3.0)[x.astype(int)],
    "scalar_index": lambda x: np.arange(30.0)[x[0].astype(int)],
    "math": lambda x: __import__("math").sin(x[0]),
    "np.vectorize": lambda x: np.vectorize(lambda v: v)(x),
}


@pytest.mark.parametrize("name", CONVERSIONS)
def test_conversions_raise_with_the_mend(name: str) -> None:
    with pytest.raises(errors.ConcretizationError) as info:
        ft.jit(CONVERSIONS[name])(X)
    assert "functrans" in str(info.value)


@pytest.mark.parametrize("name", ["np.array", "np.asarray"])
def test_conversions_raise_under_grad_too(name: str) -> None:
    with pytest.raises(errors.FunctransError):
        ft.grad(lambda x: np.sum(CONVERSIONS[name](x)))(X)


def test_our_error_is_not_replaced_by_numpys() -> None:
    def f(x: Any) -> Any:
        out = np.zeros(3)
        out[0] = x.sum()
        return out

    with pytest.raises(errors.ConcretizationError) as info:
        ft.jit(f)(X)
    assert "setting an array element" not in str(info.value)


def test_table_of_a_traced_index_names_take() -> None:
    table = np.arange(10.0)
    with pytest.raises(errors.TracerArrayError, match="take"):
        ft.jit(lambda i, t=0: (lambda table: table[i])(np.arange(10.0)))(np.array([1, 2]))
    assert ft.jit(lambda i: ft.numpy.take(table, i))(np.array([1, 2])).tolist() == [1.0, 2.0]


def test_no_object_arrays() -> None:
    def f(x: Any) -> Any:
        bad = np.array([x, x], dtype=object)
        return bad

    with pytest.raises((errors.FunctransError, TypeError)):
        ft.jit(f)(X)


def test_iteration_ends() -> None:
    assert ft.jit(lambda x: [v * 2 for v in x])(X) == [2.0, 4.0, 6.0]
    with pytest.raises(IndexError):
        ft.jit(lambda x: x[3])(X)
    with pytest.raises(TypeError):
        ft.jit(lambda x: list(x.sum()))(X)


@pytest.mark.parametrize("transform", ["grad", "jit", "vmap", "jvp"])
def test_a_leaked_tracer_raises_when_used(transform: str) -> None:
    kept: list[Any] = []

    def f(x: Any) -> Any:
        kept.append(x * 2)
        return x * 2

    TRANSFORMS[transform](f)(X)
    with pytest.raises(errors.LeakedTracerError):
        np.sin(kept[0])
    with pytest.raises(errors.LeakedTracerError):
        kept[0] + 1
    with pytest.raises(errors.LeakedTracerError):
        ft.grad(lambda x: np.sum(x * kept[0]))(X)
    with pytest.raises(errors.LeakedTracerError):
        ft.jit(lambda x: x * kept[0])(X)


def test_checking_leaks_names_the_holder() -> None:
    kept: dict[str, Any] = {}

    def f(x: Any) -> Any:
        kept["here"] = x * 2
        return x.sum()

    with ft.checking_leaks(), pytest.raises(errors.LeakedTracerError, match="here"):
        ft.grad(f)(X)
    with ft.checking_leaks():
        ft.grad(np.sum)(X)


def test_the_random_state_is_not_frozen() -> None:
    with pytest.raises(errors.RandomStateError):
        ft.jit(lambda x: x * np.random.rand())(X)


def test_writing_to_a_tracer_names_at() -> None:
    def f(x: Any) -> Any:
        x[0] = 1.0
        return x

    with pytest.raises(errors.DetachedWriteError, match=r"\.at\[index\]"):
        ft.jit(f)(X)
