"""Activations: formulas in double precision, the conventions at kinks and infinity, dtypes, transformations."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import scipy.special

import functrans as ft
from functrans import errors, nn
from tests.nn.agreement import check, same

INF = np.inf
Function = Callable[[Any], Any]


def slopes(f: Function, x: Any, order: int = 1) -> Any:
    """The derivatives at each element, which forward and reverse mode agree on."""

    def forward(y: Any) -> Any:
        return ft.jvp(f, (y,), (np.ones_like(x),))[1]

    if order > 1:
        return slopes(forward, x, order - 1)
    found = forward(x)
    eps = float(np.finfo(found.dtype).eps)
    np.testing.assert_allclose(ft.vjp(f, x)[1](np.ones_like(x))[0], found, rtol=8 * eps, atol=8 * eps)
    return found


def exact_gelu(x: Any) -> Any:
    return nn.gelu(x, approximate=False)


SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805

# Each function and its formula.
FORMULAS: dict[str, tuple[Function, Function]] = {
    "relu": (nn.relu, lambda x: np.maximum(x, 0)),
    "relu6": (nn.relu6, lambda x: np.clip(x, 0, 6)),
    "leaky_relu": (nn.leaky_relu, lambda x: np.where(x > 0, x, 0.01 * x)),
    "elu": (nn.elu, lambda x: np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1)),
    "celu": (lambda x: nn.celu(x, 2.0), lambda x: np.where(x > 0, x, 2 * (np.exp(np.minimum(x, 0) / 2) - 1))),
    "selu": (nn.selu, lambda x: SELU_SCALE * np.where(x > 0, x, SELU_ALPHA * (np.exp(np.minimum(x, 0)) - 1))),
    "gelu": (nn.gelu, lambda x: x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))),
    "exact gelu": (exact_gelu, lambda x: x * scipy.special.ndtr(x)),
    "silu": (nn.silu, lambda x: x * scipy.special.expit(x)),
    "mish": (nn.mish, lambda x: x * np.tanh(np.log1p(np.exp(x)))),
    "hard_silu": (nn.hard_silu, lambda x: x * np.clip(x + 3, 0, 6) / 6),
    "sigmoid": (nn.sigmoid, scipy.special.expit),
    "log_sigmoid": (nn.log_sigmoid, scipy.special.log_expit),
    "hard_sigmoid": (nn.hard_sigmoid, lambda x: np.clip(x / 6 + 0.5, 0, 1)),
    "sparse_sigmoid": (nn.sparse_sigmoid, lambda x: np.clip(x / 2 + 0.5, 0, 1)),
    "tanh": (nn.tanh, np.tanh),
    "hard_tanh": (nn.hard_tanh, lambda x: np.clip(x, -1, 1)),
    "soft_sign": (nn.soft_sign, lambda x: x / (1 + np.abs(x))),
    "softplus": (nn.softplus, lambda x: np.log1p(np.exp(x))),
    "squareplus": (nn.squareplus, lambda x: (x + np.sqrt(x**2 + 4)) / 2),
    "sparse_plus": (nn.sparse_plus, lambda x: np.where(x <= -1, 0, np.where(x >= 1, x, (x + 1) ** 2 / 4))),
    "identity": (nn.identity, lambda x: x),
}
FUNCTIONS = pytest.mark.parametrize("name", FORMULAS)

# Away from kinks, on both sides of each of them.
POINTS = np.array([[-7.3, -3.4, -2.5], [-0.8, -0.1, 0.3], [1.4, 4.2, 8.6]])


@FUNCTIONS
def test_values(name: str) -> None:
    ours, formula = FORMULAS[name]
    np.testing.assert_allclose(ours(POINTS), formula(POINTS), rtol=1e-12, atol=1e-14, strict=True)
    np.testing.assert_allclose(ours(POINTS.tolist()), formula(POINTS), rtol=1e-12, atol=1e-14, strict=True)


@FUNCTIONS
def test_under_transformations(name: str) -> None:
    ours, _ = FORMULAS[name]
    check(ours, POINTS)
    for x in (1.3, np.float32(-0.7), np.array(0.4), POINTS[:0], POINTS.astype(np.float32)):
        same(ft.jit(ours)(x), ours(x))
    second = ft.jit(ft.hessian(lambda x: np.sum(ours(x))))(POINTS[1])
    np.testing.assert_allclose(np.diag(second), slopes(ours, POINTS[1], 2), rtol=1e-10, atol=1e-14)


@FUNCTIONS
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_keep_their_dtype(name: str, dtype: Any) -> None:
    ours, formula = FORMULAS[name]
    x = POINTS.astype(dtype)
    out = ours(x)
    assert out.dtype == dtype
    eps = float(np.finfo(dtype).eps)
    np.testing.assert_allclose(out.astype(float), formula(x.astype(float)), rtol=32 * eps, atol=8 * eps)
    assert type(ours(x[0, 0])) is dtype
    assert slopes(ours, x).dtype == dtype


@FUNCTIONS
@pytest.mark.parametrize("x", [np.arange(-2, 3), np.arange(5, dtype=np.uint8), np.array([True, False]), 3, [1, -2]])
def test_integers_become_doubles(name: str, x: Any) -> None:
    ours, formula = FORMULAS[name]
    if name in ("relu", "identity"):
        same(ours(np.asarray(x)), np.maximum(x, 0) if name == "relu" else np.asarray(x))
        return
    np.testing.assert_allclose(ours(x), formula(np.asarray(x, float)), rtol=1e-12, atol=1e-15)
    assert ours(x).dtype == np.float64


@FUNCTIONS
def test_numbers_give_numpy_scalars(name: str) -> None:
    ours, formula = FORMULAS[name]
    if name != "identity":
        assert type(ours(1.5)) is type(ours(np.array(1.5))) is np.float64
    np.testing.assert_allclose(ours(1.5), formula(1.5), rtol=1e-12)


# The limits at minus and plus infinity of value and slope.
LIMITS = {
    **dict.fromkeys(["relu", "silu", "mish", "hard_silu", "gelu", "exact gelu"], (0, INF, 0, 1)),
    **dict.fromkeys(["softplus", "squareplus", "sparse_plus"], (0, INF, 0, 1)),
    **dict.fromkeys(["sigmoid", "hard_sigmoid", "sparse_sigmoid"], (0, 1, 0, 0)),
    **dict.fromkeys(["tanh", "hard_tanh", "soft_sign"], (-1, 1, 0, 0)),
    "relu6": (0, 6, 0, 0),
    "leaky_relu": (-INF, INF, 0.01, 1),
    "elu": (-1, INF, 0, 1),
    "celu": (-2, INF, 0, 1),
    "selu": (-SELU_SCALE * SELU_ALPHA, INF, 0, SELU_SCALE),
    "log_sigmoid": (-INF, 0, 1, 0),
    "identity": (-INF, INF, 1, 1),
}


@FUNCTIONS
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_extremes(name: str, dtype: Any) -> None:
    ours, _ = FORMULAS[name]
    low, high, left, right = LIMITS[name]
    eps = float(np.finfo(dtype).eps)
    at_infinity = np.array([-INF, INF], dtype)
    np.testing.assert_allclose(ours(at_infinity), [low, high], rtol=4 * eps)
    np.testing.assert_allclose(slopes(ours, at_infinity), [left, right], rtol=4 * eps)
    np.testing.assert_array_equal(slopes(ours, at_infinity, 2), [0, 0])
    largest = float(np.finfo(dtype).max)
    sizes = [-largest, -1e4, -100.0, -50.0, -1e-3, 0.0, 1e-3, 50.0, 100.0, 1e4]
    x = np.array([*sizes, largest / 2], dtype)
    for order in (1, 2):
        assert np.isfinite(slopes(ours, x, order)).all()
    assert np.isfinite(ours(x)).all()
    with np.errstate(invalid="ignore"):
        assert np.isnan(ours(np.array([np.nan], dtype)))


# What the derivative is at each kink, and the second derivative there.
KINKS = [
    (nn.relu, 0, 0, 0),
    (nn.relu6, 0, 0, 0),
    (nn.relu6, 6, 0, 0),
    (nn.leaky_relu, 0, 0.01, 0),
    (nn.elu, 0, 1, 1),
    (lambda x: nn.elu(x, 0.5), 0, 0.5, 0.5),
    (lambda x: nn.celu(x, 0.5), 0, 1, 2),
    (nn.selu, 0, SELU_SCALE * SELU_ALPHA, SELU_SCALE * SELU_ALPHA),
    (lambda x: nn.squareplus(x, 0.0), 0, 0, 0),
    (nn.sparse_plus, -1, 0, 0),
    (nn.sparse_plus, 1, 1, 0),
    (nn.hard_silu, -3, 0, 0),
    (nn.hard_silu, 3, 1, 0),
    (nn.hard_sigmoid, -3, 0, 0),
    (nn.hard_sigmoid, 3, 0, 0),
    (nn.sparse_sigmoid, -1, 0, 0),
    (nn.sparse_sigmoid, 1, 0, 0),
    (nn.hard_tanh, -1, 0, 0),
    (nn.hard_tanh, 1, 0, 0),
    (nn.soft_sign, 0, 1, 0),
]


@pytest.mark.parametrize(("f", "x", "first", "second"), KINKS)
def test_derivatives_at_kinks(f: Function, x: float, first: float, second: float) -> None:
    points = np.array([x], float)
    np.testing.assert_allclose(slopes(f, points), [first], rtol=1e-15)
    np.testing.assert_allclose(slopes(f, points, 2), [second], rtol=1e-14)
    np.testing.assert_allclose(ft.jit(ft.grad(f))(float(x)), first, rtol=1e-15)


@pytest.mark.parametrize(
    ("f", "parameter"), [(nn.leaky_relu, 0.3), (nn.elu, 1.5), (nn.celu, 0.7), (nn.squareplus, 2.5)]
)
def test_parameters_broadcast_and_have_derivatives(f: Any, parameter: float) -> None:
    check(f, POINTS, parameter)
    check(f, POINTS, np.array([[parameter], [2 * parameter], [3 * parameter]]))
    assert f(POINTS.astype(np.float32), parameter).dtype == np.float32
    assert f(POINTS.astype(np.float32), np.float64(parameter)).dtype == np.float64
    assert f(1.5, np.float32(parameter)).dtype == np.float32
    assert f(np.array([1, -2]), 2).dtype == np.float64
    np.testing.assert_array_equal(f(POINTS, np.full(3, parameter)), f(POINTS, parameter), strict=True)


def test_large_negative_numbers_keep_their_digits() -> None:
    x = np.array([-30.0, -20.0, -10.0, -5.0])
    np.testing.assert_allclose(exact_gelu(x), x * scipy.special.ndtr(x), rtol=1e-13)
    np.testing.assert_allclose(nn.silu(x), x * np.exp(x) / (1 + np.exp(x)), rtol=1e-14)
    np.testing.assert_allclose(nn.mish(x), x * np.tanh(np.log1p(np.exp(x))), rtol=1e-14)
    np.testing.assert_allclose(nn.softplus(x), np.log1p(np.exp(x)), rtol=1e-14)
    np.testing.assert_allclose(nn.log_sigmoid(-x), -np.log1p(np.exp(x)), rtol=1e-14)
    np.testing.assert_allclose(nn.squareplus(x * 1e9), 1 / -(x * 1e9), rtol=1e-14)
    # (1 + tanh(u)) / 2 by its own expansion, which has no difference in it.
    u = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    expected = x * np.exp(2 * u) / (1 + np.exp(2 * u))
    np.testing.assert_allclose(nn.gelu(x), expected, rtol=1e-12)


def test_the_two_forms_of_gelu_are_close() -> None:
    x = np.linspace(-6, 6, 1001)
    assert 1e-4 < np.max(np.abs(nn.gelu(x) - exact_gelu(x))) < 5e-4


def test_sigmoid_and_tanh_of_complex_numbers() -> None:
    z = np.array([0.3 + 0.5j, -1.0 - 2.0j])
    np.testing.assert_allclose(nn.sigmoid(z), 1 / (1 + np.exp(-z)))
    np.testing.assert_allclose(nn.tanh(z), np.tanh(z))


def test_glu() -> None:
    x = np.random.default_rng(0).normal(size=(3, 4))
    expected = x[:, :2] * scipy.special.expit(x[:, 2:])
    np.testing.assert_allclose(nn.glu(x), expected, rtol=1e-14)
    np.testing.assert_allclose(nn.glu(x.T, axis=0), expected.T, rtol=1e-14)
    check(nn.glu, x)
    check(lambda x: nn.glu(x, 0), x.T)
    assert nn.glu(x.astype(np.float32)).dtype == np.float32
    assert nn.glu(np.arange(4)).dtype == np.float64
    with pytest.raises(errors.ShapeError, match=r"glu: axis 0 is to be cut into halves, and x has shape \(3, 4\)"):
        nn.glu(x, axis=0)
    with pytest.raises(errors.ShapeError, match="glu: axis=2 is out of bounds"):
        nn.glu(x, axis=2)


def test_other_names() -> None:
    assert nn.swish is nn.silu
    assert nn.hard_swish is nn.hard_silu


@pytest.mark.parametrize("name", sorted(set(FORMULAS) - {"sigmoid", "tanh", "identity", "celu", "exact gelu"}))
def test_complex_numbers_are_refused(name: str) -> None:
    with pytest.raises(errors.DTypeError, match=f"^{name}: operand 0 has type c128"):
        FORMULAS[name][0](np.array([1j]))


@FUNCTIONS
def test_what_is_no_array_is_refused(name: str) -> None:
    with pytest.raises(errors.ArgumentError, match="an array or a number is needed, got None"):
        FORMULAS[name][0](None)
    with pytest.raises(errors.ArgumentError, match="an array or a number is needed, got dict"):
        FORMULAS[name][0]({"x": 1.0})


@pytest.mark.parametrize("name", ["celu", "elu", "leaky_relu", "selu", "squareplus", "standardize"])
def test_parameters_that_are_python_numbers_leave_bfloat16(name: str) -> None:
    x = np.array([-1.0, 0.5, 2.0]).astype(ml_dtypes.bfloat16)
    f = getattr(nn, name)
    for out in (f(x), ft.jit(f)(x), ft.grad(lambda x: f(x).sum())(x)):
        assert out.dtype == x.dtype
    np.testing.assert_allclose(f(x).astype(float), f(x.astype(float)), rtol=0.02, atol=0.01)
