"""grad, value_and_grad, elementwise_grad: arguments, pytrees, auxiliary data, complex numbers, integers."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import errors
from functrans.test_util import check_grads

Point = namedtuple("Point", "x y")


@dataclass
class Layer:
    w: Any
    b: Any


X = np.array([0.5, -1.0, 2.0])


def test_argnums() -> None:
    def f(x: Any, y: Any, z: Any) -> Any:
        return np.sum(x * y**2) + z

    x, y, z = X, X + 3, 2.0
    np.testing.assert_allclose(ft.grad(f)(x, y, z), y**2)
    np.testing.assert_allclose(ft.grad(f, 1)(x, y, z), 2 * x * y)
    gx, gz = ft.grad(f, (0, 2))(x, y, z)
    np.testing.assert_allclose(gx, y**2)
    assert gz == 1.0
    assert ft.grad(f, -1)(x, y, z) == 1.0
    (only,) = ft.grad(f, (1,))(x, y, z)
    np.testing.assert_allclose(only, 2 * x * y)
    np.testing.assert_allclose(ft.grad(f)(x, y=y, z=z), y**2)


def test_pytrees_keep_their_structure() -> None:
    tree = {
        "list": [X, 2.0],
        "tuple": (X,),
        "point": Point(X, 3.0),
        "layer": Layer(X, 1.0),
        "none": None,
        "ordered": OrderedDict(b=X, a=1.0),
    }

    def f(t: Any) -> Any:
        return sum(np.sum(np.sin(leaf)) for leaf in ft.tree.leaves(t))

    g = ft.grad(f)(tree)
    assert ft.tree.structure(g) == ft.tree.structure(tree)
    for a, b in zip(ft.tree.leaves(g), ft.tree.leaves(tree), strict=True):
        np.testing.assert_allclose(a, np.cos(b))
    assert type(g["point"]) is Point and type(g["layer"]) is Layer


def test_auxiliary_data_is_handed_through() -> None:
    def f(x: Any) -> Any:
        return np.sum(x**2), {"twice": 2 * x, "label": "text", "n": 3}

    (value, aux), g = ft.value_and_grad(f, has_aux=True)(X)
    assert value == np.sum(X**2) and aux["label"] == "text" and aux["n"] == 3
    assert type(aux["twice"]) is np.ndarray
    np.testing.assert_array_equal(aux["twice"], 2 * X)
    g2, aux2 = ft.grad(f, has_aux=True)(X)
    np.testing.assert_array_equal(g, g2)
    np.testing.assert_array_equal(aux2["twice"], 2 * X)
    with pytest.raises(errors.OutputError, match="pair"):
        ft.grad(lambda x: np.sum(x), has_aux=True)(X)


def test_auxiliary_data_of_nested_transformations() -> None:
    def f(x: Any) -> Any:
        g, aux = ft.grad(lambda y: (np.sum(y**3), y * 2), has_aux=True)(x)
        return np.sum(g * aux)

    np.testing.assert_allclose(ft.grad(f)(X), 18 * X**2)


def test_python_control_flow_on_values() -> None:
    def f(x: Any) -> Any:
        total = 0.0
        for v in x:
            if v > 0:
                total = total + v**2
            else:
                total = total - 3 * v
        while total > 100:
            total = total / 2
        assert np.isfinite(total)
        return total

    np.testing.assert_allclose(ft.grad(f)(X), [1.0, -3.0, 4.0])


def test_complex_numbers_follow_the_convention() -> None:
    z = np.array([1 + 2j, -0.5 + 1j])
    g = ft.grad(lambda z: np.sum(np.abs(z) ** 2))(z)
    np.testing.assert_allclose(g, 2 * np.conj(z))
    np.testing.assert_allclose(ft.grad(lambda z: np.sum(z.real * z.imag))(z), z.imag - 1j * z.real)
    h = ft.grad(lambda z: z**3, holomorphic=True)(1 + 1j)
    np.testing.assert_allclose(h, 3 * (1 + 1j) ** 2)
    check_grads(lambda z: np.exp(1j * z) * np.conj(z), (z,), order=2)


def test_integers_have_float0_gradients_where_allowed() -> None:
    g = ft.grad(lambda n, x: np.sum(x * n), argnums=(0, 1), allow_int=True)(np.arange(3), X)
    assert g[0].dtype == ft.float0 and g[0].shape == (3,)
    np.testing.assert_array_equal(g[1], np.arange(3))
    for bad in (3, True, np.arange(3)):
        with pytest.raises(errors.GradientInputError, match="argument 0"):
            ft.grad(lambda n: np.sum(n * 1.0))(bad)


def test_what_has_no_influence_has_zero_gradient() -> None:
    g = ft.grad(lambda d: np.sum(d["a"]))({"a": X, "b": np.ones((2, 2), np.float32), "c": 1.0})
    assert g["b"].dtype == np.float32 and g["b"].shape == (2, 2) and not g["b"].any()
    assert type(g["c"]) is np.float64 and g["c"] == 0
    assert ft.grad(lambda x: 3.0)(1.0) == 0.0
    np.testing.assert_array_equal(ft.grad(lambda x: np.sum(np.floor(x)))(X), np.zeros(3))


@pytest.mark.parametrize(
    ("f", "error", "message"),
    [
        (lambda x: x, errors.NonScalarOutputError, "shape"),
        (lambda x: (np.sum(x), np.sum(x)), errors.NonScalarOutputError, "pytree"),
        (lambda x: np.sum(x) + 1j, errors.NonScalarOutputError, "complex|real"),
        (lambda x: np.argmax(x), errors.NonScalarOutputError, "float"),
        (lambda x: "text", errors.OutputError, "str"),
        (lambda x: None, errors.NonScalarOutputError, "None|pytree"),
    ],
)
def test_results_without_a_gradient(f: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        ft.grad(f)(X)


def test_bad_arguments() -> None:
    with pytest.raises(errors.ArgumentError, match="argnums=2"):
        ft.grad(lambda x: x, argnums=2)(1.0)
    with pytest.raises(errors.ArgumentError, match="twice"):
        ft.grad(lambda x, y: x, argnums=(0, 0))(1.0, 2.0)
    with pytest.raises(errors.ArgumentError, match="argnums"):
        ft.grad(lambda x: x, argnums="x")
    with pytest.raises(errors.ArgumentError, match=r"argument 0\['k'\]\[1\]"):
        ft.grad(lambda d: 1.0)({"k": [1.0, "a"]})
    with pytest.raises(errors.ArgumentError, match="not grad"):
        ft.grad(3.0)


def test_elementwise_grad() -> None:
    np.testing.assert_allclose(ft.elementwise_grad(np.tanh)(X), 1 - np.tanh(X) ** 2)
    second = ft.elementwise_grad(ft.elementwise_grad(np.tanh))(X)
    np.testing.assert_allclose(second, -2 * np.tanh(X) * (1 - np.tanh(X) ** 2))
    np.testing.assert_allclose(ft.elementwise_grad(lambda a, b: a * b, 1)(X, 2 * X), X)


def test_higher_orders() -> None:
    f: Any = np.sin
    expected = [np.sin, np.cos, lambda x: -np.sin(x), lambda x: -np.cos(x), np.sin]
    for n in range(5):
        np.testing.assert_allclose(f(0.7), expected[n](0.7), rtol=1e-12)
        f = ft.grad(f)


def test_mixed_precision() -> None:
    w, x = np.ones((3, 2), np.float32), np.ones(2)
    g = ft.grad(lambda w, x: np.sum(w @ x), (0, 1))(w, x)
    assert g[0].dtype == np.float32 and g[1].dtype == np.float64


def test_metadata_is_kept() -> None:
    def documented(x: Any) -> Any:
        """Its docstring."""
        return x

    for transform in (ft.grad, ft.jit, ft.vmap, ft.jacfwd, ft.value_and_grad):
        g = transform(documented)
        assert g.__name__ == "documented" and g.__doc__ == "Its docstring."
