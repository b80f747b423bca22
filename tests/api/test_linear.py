"""jvp, linearize, vjp, linear_transpose, Jacobians and Hessians."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import errors

X = np.array([0.5, -1.0, 2.0])


def f(d: Any) -> Any:
    return {"u": np.sin(d["x"]) * d["s"], "v": (np.sum(d["x"] ** 2),)}


POINT = {"x": X, "s": 2.0}
DIRECTION = {"x": np.array([1.0, 0.0, -1.0]), "s": 0.5}


def test_forward_and_reverse_agree() -> None:
    value, tangent = ft.jvp(f, (POINT,), (DIRECTION,))
    linear_value, f_jvp = ft.linearize(f, POINT)
    vjp_value, f_vjp = ft.vjp(f, POINT)
    for a in (linear_value, vjp_value, f(POINT)):
        assert ft.tree.structure(a) == ft.tree.structure(value)
        for x, y in zip(ft.tree.leaves(a), ft.tree.leaves(value), strict=True):
            np.testing.assert_array_equal(x, y)
    for x, y in zip(ft.tree.leaves(f_jvp(DIRECTION)), ft.tree.leaves(tangent), strict=True):
        np.testing.assert_allclose(x, y)
    ct = {"u": np.array([1.0, 2.0, 3.0]), "v": (4.0,)}
    (pulled,) = f_vjp(ct)
    left = np.sum(ct["u"] * tangent["u"]) + 4.0 * tangent["v"][0]
    right = np.sum(pulled["x"] * DIRECTION["x"]) + pulled["s"] * DIRECTION["s"]
    np.testing.assert_allclose(left, right)


def test_auxiliary_data() -> None:
    g = lambda x: (x**2, {"a": x + 1})
    assert ft.jvp(g, (3.0,), (1.0,), has_aux=True) == (9.0, 6.0, {"a": 4.0})
    y, pullback, aux = ft.vjp(g, 3.0, has_aux=True)
    assert (y, pullback(1.0), aux) == (9.0, (6.0,), {"a": 4.0})
    y, push, aux = ft.linearize(g, 3.0, has_aux=True)
    assert (y, push(2.0), aux) == (9.0, 12.0, {"a": 4.0})


def test_integers_have_float0_tangents() -> None:
    n = np.arange(3)
    zero = np.zeros(3, ft.float0)
    _, tangent = ft.jvp(lambda x, n: x * n, (X, n), (X, zero))
    np.testing.assert_array_equal(tangent, X * n)
    _, tangent = ft.jvp(lambda n: n + 1, (n,), (zero,))
    assert tangent.dtype == ft.float0 and tangent.shape == (3,)
    _, pullback = ft.vjp(lambda x, n: (x * n, n), X, n)
    gx, gn = pullback((np.ones(3), zero))
    np.testing.assert_array_equal(gx, n)
    assert gn.dtype == ft.float0


def test_a_pullback_may_be_called_many_times_and_transformed() -> None:
    _, pullback = ft.vjp(np.sin, X)
    rows = ft.vmap(pullback)(np.eye(3))[0]
    np.testing.assert_allclose(rows, np.diag(np.cos(X)))
    np.testing.assert_allclose(ft.jit(pullback)(np.ones(3))[0], np.cos(X))
    np.testing.assert_allclose(ft.vmap(ft.linearize(np.sin, X)[1])(np.eye(3)), np.diag(np.cos(X)))


def test_linear_transpose() -> None:
    a = np.arange(6.0).reshape(2, 3)
    transposed = ft.linear_transpose(lambda x: a @ x, ft.ShapeDtypeStruct((3,), np.float64))
    np.testing.assert_array_equal(transposed(np.array([1.0, 2.0]))[0], a.T @ [1.0, 2.0])
    t2 = ft.linear_transpose(lambda d: {"o": 2 * d["a"] + d["b"].sum()}, {"a": X, "b": X})
    (out,) = t2({"o": np.ones(3)})
    np.testing.assert_array_equal(out["a"], 2 * np.ones(3))
    np.testing.assert_array_equal(out["b"], 3 * np.ones(3))
    with pytest.raises(errors.FunctransError):
        ft.linear_transpose(lambda x: np.sin(x), 1.0)(1.0)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ft.jvp(np.sin, (X,), (np.ones(2),)), errors.ShapeError, r"tangents\[0\]"),
        (lambda: ft.jvp(np.sin, X, X), errors.ArgumentError, "primals must be a tuple"),
        (lambda: ft.jvp(np.sin, (X,), (X, X)), errors.TreeStructureError, "tangents"),
        (lambda: ft.jvp(np.sin, (X,), (1j * X,)), errors.DTypeError, "astype"),
        (lambda: ft.vjp(np.sin, X)[1](np.ones(2)), errors.ShapeError, "cotangents"),
        (lambda: ft.vjp(np.sin, X)[1]((X, X)), errors.TreeStructureError, "cotangents"),
        (lambda: ft.linearize(np.sin, X)[1](np.ones(4)), errors.ShapeError, "tangents"),
    ],
)
def test_bad_directions(call: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def g(x: Any, y: Any) -> Any:
    return {"a": x**2 * y, "b": np.sum(x) * np.stack([y, y])}


@pytest.mark.parametrize("jac", [ft.jacfwd, ft.jacrev])
def test_jacobians_of_pytrees(jac: Any) -> None:
    y = 3.0
    j = jac(g, argnums=(0, 1))(X, y)
    np.testing.assert_allclose(j["a"][0], np.diag(2 * X * y))
    np.testing.assert_allclose(j["a"][1], X**2)
    np.testing.assert_allclose(j["b"][0], np.full((2, 3), y))
    np.testing.assert_allclose(j["b"][1], np.full(2, X.sum()))
    jitted = ft.jit(jac(g))(X, y)
    np.testing.assert_allclose(jitted["a"], j["a"][0])
    value, aux = jac(lambda x: (x**2, "text"), has_aux=True)(X)
    assert aux == "text"
    np.testing.assert_allclose(value, np.diag(2 * X))


@pytest.mark.parametrize("jac", [ft.jacfwd, ft.jacrev])
def test_jacobians_of_odd_shapes(jac: Any) -> None:
    assert jac(lambda x: np.zeros((0, 2)) + x)(1.0).shape == (0, 2)
    assert jac(lambda x: x.sum())(np.zeros((0, 3))).shape == (0, 3)
    assert jac(lambda x: x.reshape(3, 2))(np.ones((2, 3))).shape == (3, 2, 2, 3)
    np.testing.assert_allclose(jac(lambda z: z**2, holomorphic=True)(np.array([1 + 1j])), [[2 + 2j]])
    assert jac(lambda x: 2 * x)(X.astype(np.float32)).dtype == np.float32
    # Columns are tangents of the result, rows are cotangents of the argument.
    mixed = jac(lambda x: x.astype(np.float32) * 2)(X)
    assert mixed.dtype == (np.float32 if jac is ft.jacfwd else np.float64)


def test_hessians() -> None:
    def loss(p: Any) -> Any:
        return np.sum(p["w"] ** 3) * p["s"]

    p = {"w": X, "s": 2.0}
    h = ft.hessian(loss)(p)
    np.testing.assert_allclose(h["w"]["w"], np.diag(12 * X))
    np.testing.assert_allclose(h["w"]["s"], 3 * X**2)
    np.testing.assert_allclose(h["s"]["w"], 3 * X**2)
    assert h["s"]["s"] == 0
    v = {"w": np.ones(3), "s": 1.0}
    hv = ft.hvp(loss)(p, v)
    np.testing.assert_allclose(hv["w"], 12 * X + 3 * X**2)
    np.testing.assert_allclose(hv["s"], np.sum(3 * X**2))
    np.testing.assert_allclose(ft.jit(ft.hvp(loss))(p, v)["w"], hv["w"])
    g2, aux = ft.hvp(lambda x: (np.sum(x**3), "a"), has_aux=True)(X, np.ones(3))
    np.testing.assert_allclose(g2, 6 * X)
    assert aux == "a"


def test_cotangents_of_results_without_derivative() -> None:
    value, pullback = ft.vjp(lambda x: x > 0.0, 1.0)
    assert bool(value) and pullback(np.zeros((), ft.float0)) == (0.0,)
    with pytest.raises(errors.DTypeError, match=r"dtype bool, which has no derivative. Its cotangent is np.zeros"):
        pullback(1.0)


def test_linear_transpose_takes_shapes_and_refuses_integers() -> None:
    double = ft.linear_transpose(lambda x: 2 * x, ft.ShapeDtypeStruct((3,), np.float32))
    (result,) = double(np.ones(3, np.float32))
    assert result.dtype == np.float32 and result.tolist() == [2.0, 2.0, 2.0]
    with pytest.raises(errors.GradientInputError, match=r"linear_transpose\(<lambda>\): argument 0 has type i64"):
        ft.linear_transpose(lambda x: 2.0 * x, 1)


@pytest.mark.parametrize(("shape", "dtype"), [((3, None), np.float64), ((2.5,), np.float64), ((3,), None)])
def test_a_shape_dtype_struct_is_checked(shape: Any, dtype: Any) -> None:
    with pytest.raises(errors.ArgumentError, match="ShapeDtypeStruct"):
        ft.ShapeDtypeStruct(shape, dtype)


@pytest.mark.parametrize("transformation", [ft.jacfwd, ft.hessian])
def test_forward_jacobians_need_real_inputs(transformation: Any) -> None:
    with pytest.raises(errors.GradientInputError, match="needs real inputs"):
        transformation(lambda z: np.abs(z) ** 2)(1.0 + 2.0j)
    assert ft.jacfwd(lambda z: z**2, holomorphic=True)(1.0 + 2.0j) == 2.0 + 4.0j
