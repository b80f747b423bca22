"""Elementary and special functions in native kernels: errors in units in the last place, ends and thresholds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import lax
from functrans.backends.llvm.decompositions import COSTS
from functrans.backends.llvm.mathematics import FUNCTIONS
from functrans.backends.llvm.mathematics.reduction import two_over_pi
from functrans.backends.llvm.runtime import machine
from functrans.core.primitive import registry
from functrans.scipy import special
from functrans.testing.systematic import assert_same
from tests.lax.special.special_reference import REFERENCE

Array = np.ndarray[Any, Any]
EXTENDED = np.finfo(np.longdouble).nmant >= 63
NUMPY = {
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "atan2": "arctan2", "asinh": "arcsinh", "acosh": "arccosh",
    "atanh": "arctanh", "pow": "power",
}  # fmt: skip
WITH_UFUNC = [name for name in FUNCTIONS if name not in ("sinc", "erf", "erfc")]
LOOSER = {"logaddexp": 1.5, "logaddexp2": 2.5}
"""Functions with errors of more than one unit, where they do not cancel."""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


@pytest.fixture(params=["fused", "separate"])
def products(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With fused products and sums, where the machine has them, and without."""
    monkeypatch.setattr(machine(), "fma", machine().fma and request.param == "fused")
    ft.clear_caches()


def native(f: Callable[..., Any]) -> Any:
    return ft.jit(lambda *xs: f(*xs), backend="llvm")


def numpys(name: str) -> Any:
    return getattr(np, NUMPY.get(name, name))


def arguments(dtype: Any, name: str, rng: np.random.Generator) -> Array:
    """Numbers of every magnitude, and where functions change from one form to another."""
    info = np.finfo(dtype)
    n = 700
    thresholds = np.array(
        [0.5, 1.0, 2.0, 0.25, np.log(2) / 2, 1.5 * np.log(2), np.sqrt(2), np.sqrt(0.5), np.sqrt(2) - 1, 0.84, 6.0, 20.0]
        + [2.0**k for k in (-54, -28, -27, -25, -13, 13, 20, 28)]
        + [np.log(float(info.max)), np.log(float(info.tiny)), np.log2(float(info.max)), np.log2(float(info.tiny))]
    )
    near = thresholds[:, None] * (1 + np.arange(-3, 4) * float(info.eps))
    parts = [
        np.ldexp(rng.uniform(-2, 2, n), rng.integers(info.minexp - 20, info.maxexp - 1, n)),
        rng.uniform(-1.5, 1.5, n),
        rng.uniform(-30, 30, n),
        rng.uniform(1.1 * np.log(info.tiny), 1.02 * np.log(info.max), n),
        1 + np.ldexp(rng.normal(size=n), rng.integers(-30, 0, n)),
        np.ldexp(rng.normal(size=n), rng.integers(-60, 0, n)),
        np.arange(1, n) * (np.pi / 2),
        np.ravel(near) * rng.choice([-1, 1], near.size),
        [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 2.0**20 + 0.5, 1e22, 3e38, float(info.max), -float(info.max)],
        [float(info.tiny), -float(info.tiny), float(info.smallest_subnormal), -float(info.smallest_subnormal)],
    ]
    return np.concatenate(parts).astype(dtype)


def operands(dtype: Any, name: str) -> list[Array]:
    rng = np.random.default_rng(7)
    xs = [arguments(dtype, name, rng) for _ in range(numpys(name).nin)]
    if len(xs) == 1:
        return xs
    count = 3000
    if name.startswith("logaddexp"):
        return [np.abs(x) for x in xs]
    # Powers of numbers near 1 and moderate ones, that are neither 0 nor infinite.
    moderate = [rng.uniform(0, 3, count), rng.uniform(-300, 300, count)]
    large = [1 + np.ldexp(rng.normal(size=count), -12), rng.uniform(-1e6, 1e6, count)]
    shuffled = [xs[0], rng.permutation(xs[1])]
    return [np.concatenate([*parts]).astype(dtype) for parts in zip(shuffled, moderate, large, strict=True)]


def errors(found: Array, exact: Array) -> Array:
    """The errors of finite results, in units in the last place of the exact ones."""
    info = np.finfo(found.dtype)
    known = np.isfinite(found) & (abs(exact) <= info.max)
    _, exponent = np.frexp(exact[known])
    unit = np.ldexp(np.longdouble(1), np.maximum(exponent - info.nmant - 1, info.minexp - info.nmant))
    error: Array = abs(found[known] - exact[known]) / unit
    return error


@pytest.mark.usefixtures("products")
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["f64", "f32"])
@pytest.mark.parametrize("name", WITH_UFUNC)
def test_errors_and_ends(name: str, dtype: Any) -> None:
    f, xs = numpys(name), operands(dtype, name)
    found, rounded = native(f)(*xs), f(*xs)
    exact = f(*[x.astype(np.longdouble) for x in xs])
    assert found.dtype == dtype
    np.testing.assert_array_equal(np.isnan(found), np.isnan(rounded))
    infinite = np.isinf(found) != np.isinf(rounded)
    # At the edge of overflow both infinity and the largest number are within a unit.
    assert np.all(abs(np.minimum(abs(exact[infinite]), abs(exact[infinite])) / np.finfo(dtype).max - 1) < 1e-6)
    number = ~np.isnan(found)
    np.testing.assert_array_equal(np.signbit(found[number]), np.signbit(rounded[number]))
    bound = LOOSER.get(name, 1.0)
    if not EXTENDED and dtype is np.float64:
        bound += 1.0  # there is nothing finer to compare with on this platform
    assert np.max(errors(found, exact)) <= bound


@pytest.mark.usefixtures("products")
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["f64", "f32"])
@pytest.mark.parametrize("name", ["pow", "atan2", "hypot", "logaddexp", "logaddexp2"])
def test_pairs_of_special_operands(name: str, dtype: Any) -> None:
    info = np.finfo(dtype)
    ends = [0.0, 1.0, np.inf, 0.5, 2.0, 3.0, 2.5, 1e5, 2.0**53, 2.0**53 - 1, 2.0**24 - 1, 1e-5, info.max, info.tiny]
    signed = np.array([*ends, *[-e for e in ends], np.nan, info.smallest_subnormal]).astype(dtype)
    x, y = (np.ascontiguousarray(a.ravel()) for a in np.meshgrid(signed, signed))
    f = numpys(name)
    found, expected = native(f)(x, y), f(x, y)
    np.testing.assert_allclose(found, expected, rtol=4 * float(info.eps), atol=2 * float(info.smallest_subnormal))
    number = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(found[number]), np.signbit(expected[number]))


@pytest.mark.usefixtures("products")
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["f64", "f32"])
def test_results_at_the_ends_are_exact(dtype: Any) -> None:
    half_pi, pi = dtype(np.pi / 2), dtype(np.pi)
    known: list[tuple[Any, list[float], list[Any]]] = [
        (np.exp, [0, -0.0, -np.inf], [1, 1, 0]),
        (np.exp2, [0, 10, -3, 100, -126, -149], [1, 1024, 0.125, 2.0**100, 2.0**-126, 2.0**-149]),
        (np.log, [1, 0, -0.0], [0, -np.inf, -np.inf]),
        (np.log2, [1, 8, 2.0**-149, 0.5, 2.0**100], [0, 3, -149, -1, 100]),
        (np.log10, [1, 10, 100, 1000, 1e10], [0, 1, 2, 3, 10]),
        (np.sin, [0, -0.0], [0, -0.0]),
        (np.cos, [0, -0.0], [1, 1]),
        (np.arccos, [1, -1, 0], [0, pi, half_pi]),
        (np.arcsin, [1, -1, -0.0], [half_pi, -half_pi, -0.0]),
        (np.arctan, [np.inf, -np.inf, 1, -0.0], [half_pi, -half_pi, dtype(np.pi / 4), -0.0]),
        (np.tanh, [np.inf, -np.inf, 30, -0.0], [1, -1, 1, -0.0]),
        (np.cosh, [0, np.inf, -np.inf], [1, np.inf, np.inf]),
        (np.arccosh, [1, np.inf], [0, np.inf]),
        (np.arctanh, [1, -1, -0.0], [np.inf, -np.inf, -0.0]),
        (np.cbrt, [27, -8, 0.125, -0.0, np.inf, 2.0**-147], [3, -2, 0.5, -0.0, np.inf, 2.0**-49]),
        (np.expm1, [-np.inf, -100, -0.0], [-1, -1, -0.0]),
        (np.log1p, [-1, -0.0, np.inf], [-np.inf, -0.0, np.inf]),
        (special.erf, [0, -0.0, np.inf, -np.inf, 7, -7], [0, -0.0, 1, -1, 1, -1]),
        (special.erfc, [0, np.inf, -np.inf, 30, -7], [1, 0, 2, 0, 2]),
        (lax.sinc, [0, -0.0, 1, -7, 0.5], [1, 1, 0, 0, dtype(2 / np.pi)]),
    ]
    for f, given, expected in known:
        found = native(f)(np.array(given, dtype))
        np.testing.assert_array_equal(found, np.array(expected, dtype), err_msg=str(f))
        np.testing.assert_array_equal(np.signbit(found), np.signbit(np.array(expected, dtype)), err_msg=str(f))
        assert np.all(np.isnan(native(f)(np.full(3, np.nan, dtype)))), f


@pytest.mark.usefixtures("products")
@pytest.mark.parametrize("name", ["exp", "exp2", "expm1", "sinh", "cosh", "tanh", "log", "asin", "atan", "erf", "cbrt"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["f64", "f32"])
def test_functions_rise_across_their_thresholds(name: str, dtype: Any) -> None:
    """From point to point by so much that results of one unit of error cannot fall."""
    f = special.erf if name == "erf" else numpys(name)
    edges = [0.25, np.log(2) / 2, np.sqrt(2) - 1, 0.5, np.sqrt(0.5), 0.84, 1.0, np.sqrt(2), 1.5 * np.log(2), 2.5]
    if name not in ("asin", "erf"):
        edges += [6.0, 20.0, np.log(float(np.finfo(dtype).max)), np.log2(float(np.finfo(dtype).max))]
    for edge in edges:
        x = np.unique((edge * (1 + np.arange(-40, 41) * 16 * float(np.finfo(dtype).eps))).astype(dtype))
        y = native(f)(x)
        y = y[~np.isnan(y)]
        assert np.all(y[1:] >= y[:-1]), (name, edge)


# -- angles of any size -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("products")
def test_large_angles() -> None:
    # The double nearest to a multiple of pi/2, and values from the literature on reduction (Ng, 1992; Muller, 2016).
    worst = np.ldexp(6381956970095103.0, 797)
    x = np.array([worst, -worst, 1e22, 2.0**20, 2.0**1000 * 1.25, np.pi, 355.0, 1e5 * np.pi])
    if EXTENDED:
        exact = np.sin(x.astype(np.longdouble)), np.cos(x.astype(np.longdouble)), np.tan(x.astype(np.longdouble))
        for f, values in zip((np.sin, np.cos, np.tan), exact, strict=True):
            assert np.max(errors(native(f)(x), values)) <= 1.0
    np.testing.assert_allclose(native(np.cos)(x)[0], -4.687165924254628e-19, rtol=3e-16)
    np.testing.assert_allclose(native(np.sin)(x)[2], -0.8522008497671888, rtol=3e-16)


def test_bits_of_two_over_pi() -> None:
    assert two_over_pi(22)[:4] == [0, 0xA2F9836E4E441529, 0xFC2757D1F534DDC0, 0xDB6295993C439041]


def test_one_large_angle_leaves_the_other_lanes_alone() -> None:
    x = np.random.default_rng(0).uniform(-100, 100, 40)
    for f in (np.sin, np.cos, np.tan):
        plain = native(f)(x)
        for at in (0, 5, 17, 39):
            y = x.copy()
            y[at] = 1e200
            np.testing.assert_array_equal(np.delete(native(f)(y), at), np.delete(plain, at))


def test_sine_and_cosine_of_one_angle_share_their_work() -> None:
    x = np.linspace(-3, 3, 64)

    def steps(f: Callable[..., Any]) -> int:
        return len(native(f).lower(x).as_text("llvm").splitlines())

    assert steps(lambda x: np.sin(x) + np.cos(x)) < 1.3 * steps(np.sin)
    found = native(lambda x: (np.sin(x), np.cos(x)))(x)
    np.testing.assert_allclose(found, (np.sin(x), np.cos(x)), rtol=3e-16)


# -- lanes and libraries ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["exp", "log1p", "sin", "pow", "atan2", "erfc"])
def test_every_length_gives_the_same_bits(name: str) -> None:
    f = special.erfc if name == "erfc" else numpys(name)
    arity = 1 if name == "erfc" else f.nin
    rng = np.random.default_rng(0)
    for dtype in (np.float64, np.float32):
        xs = [rng.uniform(0.1, 5, 40).astype(dtype) for _ in range(arity)]
        whole = native(f)(*xs)
        for n in (1, 7, 33):
            np.testing.assert_array_equal(native(f)(*[x[:n] for x in xs]), whole[:n])


@pytest.mark.usefixtures("products")
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["f64", "f32"])
def test_no_function_calls_a_library(dtype: Any) -> None:
    prims = [registry[name] for name in FUNCTIONS]

    def everything(x: Any, y: Any) -> list[Any]:
        pairs = ("pow", "atan2", "logaddexp", "logaddexp2")
        return [p.bind(x, y) if p.name in pairs else p.bind(x, **_form(p.name)) for p in prims]

    x = np.linspace(0.1, 0.9, 64, dtype=dtype)
    lowered = native(everything).lower(x, x)
    text = lowered.as_text("llvm")
    assert ("llvm.fma" in text) == machine().fma
    called = set(re.findall(r"call [^@]*@([\w.]+)\(", text))
    allowed = {"fma", "fabs", "copysign", "rint", "sqrt", "fshl", "ctlz", "masked"}
    assert {c.split(".")[1] for c in called if c.startswith("llvm.")} <= allowed
    assembly = lowered.as_text("assembly")
    libm = r"\b(?:call|jmp|bl|b)q?\s+_?(?:\w*(?:exp|log|sin|cos|tan|pow|fma|rint|floor|sqrt|erf)\w*)\b"
    assert not re.search(libm, assembly)


def _form(name: str) -> dict[str, Any]:
    return {"derivative": 0} if name == "sinc" else {}


# -- special functions ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("products")
def test_error_functions() -> None:
    x = np.array([row[0][0] for row in REFERENCE["erfc"]])
    exact = np.array([row[1] for row in REFERENCE["erfc"]])
    np.testing.assert_allclose(native(special.erfc)(x), exact, rtol=4e-16)
    x = np.array([row[0][0] for row in REFERENCE["erf"]])
    exact = np.array([row[1] for row in REFERENCE["erf"]])
    np.testing.assert_allclose(native(special.erf)(x), exact, rtol=4e-16)


@pytest.mark.parametrize("name", COSTS)
def test_decompositions(name: str) -> None:
    prim = registry[name]
    assert prim.samples is not None
    # Enough of them for a vector.
    args = [np.tile(x.ravel(), 9) for x in np.broadcast_arrays(*next(iter(prim.samples())).args)]
    f = native(prim.bind)
    eps = float(np.finfo(np.float64).eps)
    np.testing.assert_allclose(f(*args), prim.bind(*args), rtol=32 * eps, atol=4 * eps)
    assert f"{name}(" not in f.lower(*args).as_text("python")


@pytest.mark.parametrize("name", [name for name in REFERENCE if name in COSTS])
def test_decompositions_against_exact_values(name: str) -> None:
    rows = REFERENCE[name]
    xs = [np.array(column) for column in zip(*[row[0] for row in rows], strict=True)]
    exact = np.array([row[1] for row in rows])
    np.testing.assert_allclose(native(registry[name].bind)(*xs), exact, rtol=1e-13)
    with np.errstate(all="ignore"):
        short = native(registry[name].bind)(*[x.astype(np.float32) for x in xs])
    exact = native(registry[name].bind)(*[x.astype(np.float32).astype(float) for x in xs])
    np.testing.assert_array_equal(short, exact.astype(np.float32))


def test_derivatives() -> None:
    x = np.linspace(0.1, 0.9, 50)

    def f(x: Any) -> Any:
        y = np.tan(x) ** 1.5 + np.arctan2(x, 2.0) * np.cbrt(x) + special.erf(x) * np.arcsin(x) + np.logaddexp(x, 0.3)
        return np.sum(y * special.gammaln(x + 1) + np.sinh(x) * np.arctanh(x) + lax.sinc(x))

    np.testing.assert_allclose(native(ft.grad(f))(x), ft.grad(f)(x), rtol=1e-12)


def test_dtypes_of_results() -> None:
    whole = np.arange(1, 20)
    assert_same(native(np.cbrt)(whole), np.cbrt(whole), "cbrt of integers", exact=False)
    half = whole.astype(np.float16)
    assert native(np.arctan)(half).dtype == np.float16
    np.testing.assert_array_equal(native(np.arctan)(half), np.arctan(half.astype(np.float32)).astype(np.float16))
    x = np.linspace(0.5, 2, 20, dtype=np.float32)
    for exponent in (2.5, -0.3, 7, 0.0):
        found = native(lambda x: x**exponent)(x)  # noqa: B023
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, x**exponent, rtol=3e-7)
