"""NumPy's protocols: code that knows nothing of functrans is traced, and what cannot be says so in our words."""

from __future__ import annotations

import copy
import math
import operator
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import functrans as ft
from functrans import errors
from functrans.test_util import check_grads

X = np.array([1.55, 2.15, 0.47])
A = np.arange(9.0).reshape(3, 3) / 4 + 1
Program = Callable[[Any], Any]


def by_name(table: dict[str, Any]) -> Any:
    return pytest.mark.parametrize("f", table.values(), ids=table)


TRANSFORMS: dict[str, Callable[[Program], Program]] = {
    "jit": ft.jit,
    "jvp": lambda f: lambda x: ft.jvp(f, (x,), (x,))[0],
    "vjp": lambda f: lambda x: ft.vjp(f, x)[0],
    "vmap": lambda f: lambda x: ft.tree.map(lambda leaf: leaf[1], ft.vmap(f)(np.stack([x + 1, x]))),
    "jit_vmap": lambda f: lambda x: ft.tree.map(lambda leaf: leaf[1], ft.jit(ft.vmap(f))(np.stack([x + 1, x]))),
    "nested": lambda f: ft.jit(lambda x: ft.jvp(lambda y: ft.jvp(f, (y,), (y,))[0], (x,), (x,))[0]),
}
every_transform = pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)

# -- unmodified programs ----------------------------------------------------------------------------------------------


def standardized(x: Any) -> Any:
    centred = x - np.mean(x)
    return centred / np.sqrt(np.mean(centred**2) + 1e-3)


def softmax_loss(x: Any) -> Any:
    z = A @ x
    z = z - np.max(z)
    return -np.log(np.exp(z[0]) / np.sum(np.exp(z)))


def polynomial(x: Any) -> Any:
    total = np.zeros_like(x)
    for c in (0.5, -1.0, 2.0):
        total = total * x + c
    return total


def distances(x: Any) -> Any:
    d = x[:, np.newaxis] - x[np.newaxis, :]
    return np.sqrt(np.sum(d * d) + 1.0), np.linalg.norm(x), np.linalg.norm(A * x, axis=1)


def shapes(x: Any) -> Any:
    y = np.concatenate([x, np.ones(3)]).reshape(2, 3).T
    return np.where(y > 1, y, 0.0).sum(axis=0), np.stack([x, x]), np.broadcast_to(x, (2, 3)), y.ravel()[::2]


def products(x: Any) -> Any:
    return np.einsum("ij,j->i", A, x), np.dot(x, A), np.outer(x, x), np.tensordot(A, x, 1), x @ A @ x


def ufunc_methods(x: Any) -> Any:
    return (
        np.add.reduce(x),
        np.multiply.accumulate(x),
        np.subtract.outer(x, np.arange(2.0)),
        np.add.reduceat(x, [0, 2]),
        np.maximum.reduce(A * x, axis=0),
        np.logaddexp.reduce(x),
        np.sin(x, dtype=np.float64),
    )


def mixed_lists(x: Any) -> Any:
    return (
        x + [1.0, 2.0, 3.0],
        [1.0, 2.0, 3.0] * x,
        np.stack([x[0], x[1]]),
        np.concatenate([[x[0]], x]),
        np.hstack([x, x]),
    )


UNMODIFIED: dict[str, Program] = {
    f.__name__: f
    for f in (standardized, softmax_loss, polynomial, distances, shapes, products, ufunc_methods, mixed_lists)
}


@by_name(UNMODIFIED)
@every_transform
def test_unmodified_programs(f: Program, transform: Callable[[Program], Program]) -> None:
    for found, expected in zip(ft.tree.leaves(transform(f)(X)), ft.tree.leaves(f(X)), strict=True):
        assert_allclose(found, expected, rtol=1e-12)


@by_name(UNMODIFIED)
def test_unmodified_programs_differentiated(f: Program) -> None:
    check_grads(f, (X,), order=2)
    check_grads(ft.jit(f), (X,), order=1)


# -- operators beside arrays and NumPy's scalars ----------------------------------------------------------------------

OTHERS = {
    "vector": np.array([2.0, 0.5, 3.0]),
    "matrix": A,
    "zero_d": np.array(2.0),
    "float64": np.float64(2.0),
    "float32": np.float32(1.5),
    "int64": np.int64(3),
    "bool": np.bool_(True),
    "integers": np.array([1, 2, 3]),
    "float": 2.5,
    "int": 3,
}
OPERATORS = [
    operator.add, operator.sub, operator.mul, operator.truediv, operator.pow, operator.floordiv, operator.mod,
    operator.lt, operator.ge, operator.eq, operator.ne,
]  # fmt: skip


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("op", OPERATORS, ids=lambda op: op.__name__)
@pytest.mark.parametrize("make", [lambda x: x, lambda x: x[0]], ids=["vector", "scalar"])
def test_operators_in_both_orders(op: Any, other: Any, make: Program) -> None:
    for f in (lambda x: op(make(x), other), lambda x: op(other, make(x))):
        expected = f(X)
        found = ft.jit(f)(X)
        assert_array_equal(found, expected)
        assert np.result_type(found) == np.result_type(expected) and type(found) is type(expected)
        if expected.dtype.kind == "f":
            assert_allclose(ft.jvp(f, (X,), (X,))[0], expected)
            check_grads(f, (X,), order=1)


@pytest.mark.parametrize("other", [A, np.array([1.0, 2.0, 3.0])], ids=["matrix", "vector"])
def test_matrix_products_in_both_orders(other: Any) -> None:
    for f in (lambda x: x @ other, lambda x: other @ x, lambda x: np.matmul(other, x)):
        assert_allclose(ft.jit(f)(X), f(X))
        check_grads(f, (X,), order=2)


IN_PLACE = {
    op.__name__: op
    for op in (operator.iadd, operator.isub, operator.imul, operator.itruediv, operator.ipow, operator.ifloordiv)
}


@by_name(IN_PLACE)
@pytest.mark.parametrize("transform", ["jit", "jvp", "vjp", "vmap"])
def test_in_place_operators_on_arrays_raise(f: Any, transform: str) -> None:
    with pytest.raises(errors.DetachedWriteError, match="numpy_code"):
        TRANSFORMS[transform](lambda x: f(np.ones((2, 3)), x))(X)
    with pytest.raises(errors.DetachedWriteError, match="numpy_code"):
        TRANSFORMS[transform](lambda x: f(np.ones((2, 3))[0], x))(X)


# -- our errors, not NumPy's ------------------------------------------------------------------------------------------


def into(shape: Any, dtype: Any, idx: Any) -> Program:
    def f(x: Any) -> Any:
        target = np.zeros(shape, dtype)
        target[idx] = x if isinstance(idx, slice) or (isinstance(idx, tuple) and len(idx) == 1) else x[0]
        return target

    return f


STORES: dict[str, Program] = {
    "float": into(3, float, 0),
    "float32": into(3, np.float32, 0),
    "int": into(3, int, 0),
    "uint8": into(3, np.uint8, 0),
    "complex": into(3, complex, 0),
    "two_axes": into((3, 3), float, (1, 1)),
    "float_slice": into(3, float, slice(None)),
    "int_slice": into(3, int, slice(None)),
    "complex_slice": into(3, complex, slice(None)),
    "object_slice": into(3, object, slice(None)),
    "row": into((3, 3), float, (1,)),
    "index_array": lambda x: np.zeros(3).__setitem__([0, 1], x[:2]),
    "mask": lambda x: np.zeros(3).__setitem__(np.array([True, False, False]), x[:1]),
    "list": lambda x: np.zeros(3).__setitem__(slice(None), [x[0], x[1], x[2]]),
    "field": lambda x: np.zeros(3, [("a", float)]).__setitem__("a", x),
    "fill": lambda x: np.zeros(3).fill(x[0]),
    "put": lambda x: np.zeros(3).put([0], x[0]),
}


@by_name(STORES)
@pytest.mark.parametrize("transform", ["jit", "jvp", "vjp", "vmap"])
def test_stores_into_arrays_raise_in_our_words(f: Program, transform: str) -> None:
    with pytest.raises(errors.ConcretizationError) as info:
        TRANSFORMS[transform](f)(X)
    text = str(info.value)
    assert "setting an array element" not in text
    assert "functrans" in text
    assert isinstance(info.value, TypeError)


CONVERSIONS: dict[str, Program] = {
    "array": np.array,
    "asarray": np.asarray,
    "array_of_list": lambda x: np.array([x, x]),
    "array_of_scalars": lambda x: np.array([x[0], 1.0]),
    "array_of_iterated": lambda x: np.array(list(x)),
    "array_of_scalar": lambda x: np.array(x[0]),
    "with_dtype": lambda x: np.asarray(x, np.float32),
    "object": lambda x: np.array([x, x], dtype=object),
    "object_of_one": lambda x: np.asarray(x, dtype=object),
    "fromiter": lambda x: np.fromiter(x, float),
    "float64": lambda x: np.float64(x[0]),
    "ndenumerate": lambda x: [v for _, v in np.ndenumerate(x)],
    "vectorize": lambda x: np.vectorize(lambda v: v)(x),
    "r_": lambda x: np.r_[x[0], x],
    "masked_array": lambda x: np.ma.array(x),
    "broadcast": lambda x: np.broadcast(x, x),
    "array_dot": lambda x: np.eye(3).dot(x),
    "array_searchsorted": lambda x: np.arange(3.0).searchsorted(x),
    "array_choose": lambda x: np.array([0, 1, 0]).choose([x, x]),
    "sum_of_list": lambda x: np.sum([x, x]),
    "mean_of_list": lambda x: np.mean([x[0], x[1]]),
    "nested_hstack": lambda x: np.hstack([[x[0]], [x[1]]]),
    "where_of_list": lambda x: np.where([True, False], [x[0], x[1]], 0.0),
    "sin_of_list": lambda x: np.sin([x[0], x[1]]),
    "array_plus_list": lambda x: np.ones(3) + [x[0], x[1], x[2]],
    "math": lambda x: math.sin(x[0]),
    "float": lambda x: float(x[0]),
    "int": lambda x: int(x[0]),
    "complex": lambda x: complex(x[0]),
    "item": lambda x: x[0].item(),
    "tolist": lambda x: x.tolist(),
}


@by_name(CONVERSIONS)
@pytest.mark.parametrize("transform", ["jit", "jvp", "vjp", "vmap", "nested"])
def test_conversions_raise_and_name_the_mend(f: Program, transform: str) -> None:
    with pytest.raises(errors.ConcretizationError) as info:
        TRANSFORMS[transform](f)(X)
    text = str(info.value)
    assert "functrans.numpy" in text or "stop_gradient" in text
    assert "object" not in text or "dtype" not in text


@pytest.mark.parametrize(
    "name",
    ["array_of_list", "array_of_scalars", "vectorize", "r_", "sum_of_list", "nested_hstack", "where_of_list", "math"],
)
def test_the_mends_work(name: str) -> None:
    f = CONVERSIONS[name]
    mended = ft.numpy_code(f)
    assert_allclose(ft.jit(mended)(X), f(X))
    check_grads(mended, (X,), order=1)


def test_lists_that_numpy_does_not_dispatch_work_in_functrans_numpy() -> None:
    fnp = ft.numpy
    f = lambda x: (
        fnp.sum([x, x]),
        fnp.mean([x[0], x[1]]),
        fnp.array([[x[0], 1.0], [x[1], x[2]]]),
        fnp.sin([x[0], x[1]]),
    )
    found = ft.jit(f)(X)
    for a, b in zip(found, f(X), strict=True):
        assert_array_equal(a, b)
    check_grads(lambda x: f(x)[2], (X,), order=1)


def test_no_array_of_objects_comes_about() -> None:
    for f in (lambda x: np.array([x, x]), lambda x: np.asarray([x[0], x[1]]), lambda x: np.array([[x[0]], [x[1]]])):
        with pytest.raises(errors.TracerArrayError):
            ft.jit(f)(X)

    def kept_as_objects(x: Any) -> Any:
        boxes = np.empty(2, object)
        boxes[0], boxes[1] = x[0], x[1]
        return boxes

    # An array made to hold objects holds traced values too; it is no result, and no operand.
    with pytest.raises((errors.DTypeError, errors.OutputError)):
        ft.jit(kept_as_objects)(X)
    assert ft.jit(lambda x: sum(kept_as_objects(x).tolist()))(X) == X[0] + X[1]


def test_iteration_ends() -> None:
    seen = []

    def f(x: Any) -> Any:
        seen.extend(x)
        assert len(x) == 3
        return np.stack(list(x))

    assert_array_equal(ft.jit(f)(X), X)
    assert len(seen) == 3
    with pytest.raises(IndexError):
        ft.jit(lambda x: x[3])(X)
    with pytest.raises(TypeError):
        ft.jit(lambda x: list(x[0]))(X)
    with pytest.raises(TypeError):
        ft.jit(lambda x: len(x[0]))(X)


# -- indices into arrays ----------------------------------------------------------------------------------------------

TABLE_INDICES: dict[str, Callable[[Any, Any], Any]] = {
    "scalar": lambda table, i: table[i[0]],
    "vector": lambda table, i: table[i],
    "pair": lambda table, i: table[i[0], i[1]],
    "pair_with_constant": lambda table, i: table[0, i[1]],
    "with_slice": lambda table, i: table[:, i],
    "take_method": lambda table, i: table.take(i),
    "mask": lambda table, i: table[i > 0],
}


@by_name(TABLE_INDICES)
@pytest.mark.parametrize("transform", ["jit", "vmap"])
def test_traced_indices_into_arrays_name_take(f: Any, transform: str) -> None:
    # The table is made inside: a captured one would be traced as well.
    with pytest.raises(errors.TracerArrayError, match=r"functrans\.numpy\.take\(table, i\)"):
        TRANSFORMS[transform](lambda i: f(np.arange(9.0).reshape(3, 3), i))(np.array([0, 2, 1]))


@pytest.mark.parametrize("name", ["scalar", "vector", "pair", "pair_with_constant", "with_slice"])
def test_traced_indices_work_where_the_error_says_so(name: str) -> None:
    f = TABLE_INDICES[name]
    i = np.array([0, 2, 1])
    table = np.arange(9.0).reshape(3, 3)
    expected = f(table, i)
    assert_array_equal(ft.jit(lambda i: f(ft.numpy.asarray(np.arange(9.0).reshape(3, 3)), i))(i), expected)
    assert_array_equal(ft.jit(lambda i: f(table, i))(i), expected)
    assert_array_equal(ft.jit(ft.numpy_code(lambda i: f(np.arange(9.0).reshape(3, 3), i)))(i), expected)
    assert_array_equal(ft.vmap(ft.numpy_code(lambda i: f(table, i)))(np.stack([i, i[::-1]]))[0], expected)


def test_a_float_is_no_index() -> None:
    with pytest.raises((IndexError, TypeError)):
        ft.jit(lambda x: x[x])(X)
    with pytest.raises((IndexError, TypeError)):
        ft.jit(lambda x: [1, 2][x[0]])(X)


def test_lists_and_ranges_need_the_number() -> None:
    for f in (lambda i: [1, 2, 3][i], lambda i: range(i)[0], lambda i: np.ones(3)[: i + 1], lambda i: "abc"[i]):
        with pytest.raises(errors.FunctransError):
            ft.jit(f)(np.int64(1))


# -- what is not traced -----------------------------------------------------------------------------------------------


def test_unknown_functions_and_ufuncs_have_no_rule() -> None:
    special = pytest.importorskip("scipy.special")
    with pytest.raises(errors.MissingRuleError, match="wright_bessel"):
        ft.grad(lambda x: special.wright_bessel(1.0, 1.0, x).sum())(X)
    with pytest.raises(errors.MissingRuleError, match="wright_bessel"):
        ft.jit(lambda x: special.wright_bessel(1.0, 1.0, x))(X)
    with pytest.raises(errors.MissingRuleError, match="pure_callback"):
        ft.jit(lambda x: np.save("nowhere", x))(X)
    with pytest.raises(errors.MissingRuleError, match="array2string"):
        ft.jit(np.array2string)(X)


def test_writing_arguments_are_rejected() -> None:
    for f in (
        lambda x: np.sin(x, out=np.zeros(3)),
        lambda x: np.add(x, 1.0, np.zeros(3)),
        lambda x: np.sum(x, out=np.zeros(())),
        lambda x: np.cumsum(x, out=np.zeros(3)),
        lambda x: np.add.at(np.zeros(3), [0], x[0]),
        lambda x: np.add.reduce(x, out=np.zeros(())),
        lambda x: np.fill_diagonal(np.zeros((3, 3)), x),
        lambda x: np.put_along_axis(np.zeros(3), np.array([0]), x[:1], 0),
    ):
        for transform in ("jit", "jvp", "vmap"):
            # Where NumPy does not dispatch on what is written, the conversion of it raises.
            with pytest.raises((errors.DetachedWriteError, errors.TracerArrayError)):
                TRANSFORMS[transform](f)(X)


def test_the_namespace_is_functrans_numpy() -> None:
    seen = []

    def standard(x: Any) -> Any:
        xp = x.__array_namespace__()
        seen.append(xp)
        return xp.sum(xp.exp(x) * xp.asarray([1.0, 2.0, 3.0]))

    assert_allclose(ft.jit(standard)(X), np.sum(np.exp(X) * [1, 2, 3]))
    assert seen[0] is ft.numpy
    check_grads(lambda x: np.sum(np.exp(x)), (X,), order=2)


def test_python_protocols() -> None:
    def f(x: Any) -> Any:
        assert copy.copy(x) is x and copy.deepcopy([x])[0] is x
        with pytest.raises(TypeError):
            hash(x)
        with pytest.raises(errors.LeakedTracerError):
            pickle.dumps(x)
        assert "f64[3]" in repr(x)
        return sum(x) + divmod(x[0], 1.0)[1] + abs(-x[1]) + round(x[2], 1)

    assert_allclose(ft.jit(f)(X), f_expected := sum(X) + X[0] % 1.0 + X[1] + round(X[2], 1))
    assert_allclose(ft.jvp(f, (X,), (X,))[0], f_expected)


def test_the_protocols_under_grad_keep_known_values_known() -> None:
    def f(x: Any) -> Any:
        i = int(np.argmax(x))
        order = sorted(range(3), key=lambda k: x[k])
        if x[0] > 1 and x.sum() > 0:
            return x[i] ** 2 + A[i, order[0]] * max(x)
        return x[0]

    check_grads(f, (X,), order=2)
    with pytest.raises(errors.ConcretizationError):
        ft.jit(f)(X)
