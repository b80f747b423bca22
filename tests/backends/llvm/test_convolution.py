"""Native convolutions and windows against NumPy's."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import lax, nn
from functrans.backends.llvm import calls, convolution_native, gemm, packing
from functrans.backends.llvm.builder import Builder
from functrans.backends.llvm.convolution_native import Dots, Features, Form, Lines
from functrans.backends.llvm.gemm import Step, Target
from functrans.core.primitive import registry
from functrans.core.trace import aval_of
from functrans.lax.windows_impl import WindowGeometry

MACHINES = {"avx512": Target(512, True), "avx2": Target(256, True), "sse": Target(128, False)}


def agree(found: Any, expected: Any) -> None:
    assert aval_of(found) == aval_of(expected)
    if np.asarray(expected).dtype.kind not in "fc":
        np.testing.assert_array_equal(found, expected)
        return
    eps = float(np.finfo(np.asarray(expected).dtype).eps)
    finite = np.where(np.isfinite(expected), np.abs(expected), 0.0)
    np.testing.assert_allclose(found, expected, rtol=100 * eps, atol=100 * eps * float(np.max(finite, initial=1.0)))


def native(name: str, *args: Any, **params: Any) -> None:
    prim = registry[name]

    def f(*xs: Any) -> Any:
        return prim.bind(*xs, **params)

    agree(ft.jit(f, backend="llvm")(*args), f(*args))


def params(strides: Any, padding: Any, lhs_dilation: Any = None, rhs_dilation: Any = None) -> dict[str, Any]:
    ones = (1,) * len(strides)
    return {
        "strides": strides, "padding": padding, "lhs_dilation": lhs_dilation or ones,
        "rhs_dilation": rhs_dilation or ones,
    }  # fmt: skip


CASES: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((1, 2, 3, 28, 28), (1, 8, 3, 3, 3), params((1, 1), ((1, 1), (1, 1)))),
    ((1, 2, 3, 29, 33), (1, 8, 3, 5, 5), params((2, 2), ((2, 1), (1, 2)))),
    ((1, 2, 8, 14, 14), (1, 16, 8, 3, 3), params((1, 1), ((1, 1), (1, 1)), (2, 2))),
    ((1, 2, 8, 7, 9), (1, 20, 8, 3, 4), params((1, 1), ((2, 1), (3, 2)), (2, 3), (1, 2))),
    ((1, 3, 4, 30, 30), (1, 16, 4, 28, 28), params((1, 1), ((0, 0), (0, 0)))),
    ((1, 3, 9, 31, 31), (1, 16, 9, 14, 14), params((1, 1), ((1, 1), (1, 1)), None, (2, 2))),
    ((4, 2, 1, 12, 12), (4, 3, 1, 3, 3), params((1, 1), ((1, 1), (1, 1)))),
    ((2, 2, 3, 5, 6, 7), (2, 4, 3, 2, 3, 2), params((1, 2, 1), ((1, 1), (1, 0), (0, 1)))),
    ((1, 2, 3, 50), (1, 4, 3, 7), params((3,), ((3, 2),))),
    ((1, 3, 16, 8, 8), (1, 32, 16, 1, 1), params((2, 2), ((0, 0), (0, 0)))),
    ((1, 3, 16, 8, 8), (1, 32, 16, 8, 8), params((1, 1), ((0, 0), (0, 0)))),
    ((1, 3, 16, 8, 8), (1, 32, 16, 3, 3), params((1, 1), ((-1, -2), (0, -1)))),
    ((1, 2, 3, 4), (1, 5, 3, 2), params((2,), ((1, 1),), (2,))),
    ((1, 2, 3), (1, 4, 3), params((), ())),
]


@pytest.mark.parametrize("form", [Lines, Dots, Features])
@pytest.mark.parametrize("machine", MACHINES)
def test_forms(form: type[Form], machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    target = MACHINES[machine]
    if target.bits > gemm.host().bits:
        target = gemm.host()
    call = convolution_native.call
    monkeypatch.setattr(convolution_native, "call", lambda g, _: call(g, target, form))
    rng = np.random.default_rng(0)
    cases = CASES if machine == "avx512" else CASES[::3]
    for n, (xs, ws, p) in enumerate(cases):
        dtype = np.float64 if n % 2 else np.float32
        native("conv", rng.normal(size=xs).astype(dtype), rng.normal(size=ws).astype(dtype), **p)


def test_samples() -> None:
    for name in (
        "conv", "reduce_window_sum", "reduce_window_max", "reduce_window_min", "window_select", "window_gather",
        "window_scatter",
    ):  # fmt: skip
        samples = registry[name].samples
        assert samples is not None
        for s in samples():
            with np.errstate(all="ignore"):
                native(name, *s.args, **s.params)


def test_derivatives_of_strided_grouped_and_dilated_convolutions() -> None:
    rng = np.random.default_rng(1)
    x, w = rng.normal(size=(2, 9, 8, 4)), rng.normal(size=(3, 2, 2, 6))

    def loss(x: Any, w: Any, strides: Any, dilation: Any) -> Any:
        out = lax.conv_general_dilated(
            x, w, strides, "SAME", None, dilation, ("NHWC", "HWIO", "NHWC"), feature_group_count=2
        )
        return np.sum(np.sin(out))

    for strides, dilation in product([(1, 1), (2, 3)], [(1, 1), (2, 1)]):

        def f(x: Any, w: Any, s: Any = strides, d: Any = dilation) -> Any:
            return ft.grad(loss, (0, 1))(x, w, s, d)

        for a, b in zip(ft.jit(f, backend="llvm")(x, w), f(x, w), strict=True):
            agree(a, b)


def test_not_finite() -> None:
    rng = np.random.default_rng(2)
    x, w = rng.normal(size=(1, 2, 3, 9, 9)), rng.normal(size=(1, 4, 3, 3, 3))
    x[0, 0, 1, 4, 4], x[0, 1, 0, 0, 0] = np.nan, np.inf
    p = params((1, 1), ((1, 1), (1, 1)))
    out = ft.jit(lambda x, w: registry["conv"].bind(x, w, **p), backend="llvm")(x, w)
    with np.errstate(invalid="ignore"):
        expected = registry["conv"].bind(x, w, **p)
    np.testing.assert_array_equal(np.isnan(out), np.isnan(expected))
    np.testing.assert_array_equal(np.isinf(out), np.isinf(expected))


def test_the_same_bits_again() -> None:
    rng = np.random.default_rng(3)
    x, w = rng.normal(size=(1, 4, 8, 12, 12)), rng.normal(size=(1, 8, 8, 3, 3))
    p = params((1, 1), ((1, 1), (1, 1)))
    found = {ft.jit(lambda x, w: registry["conv"].bind(x, w, **p), backend="llvm")(x, w).tobytes() for _ in range(3)}
    assert len(found) == 1


# -- windows ----------------------------------------------------------------------------------------------------------

ONES = (1, 1, 1, 1)
NONE = ((0, 0),) * 4
WINDOWS = [
    ((4, 3, 12, 12), WindowGeometry((1, 1, 2, 2), (1, 1, 2, 2), NONE, ONES, ONES)),
    ((2, 9, 11, 5), WindowGeometry((1, 3, 3, 1), (1, 2, 2, 1), ((0, 0), (1, 1), (1, 0), (0, 0)), ONES, ONES)),
    ((2, 3, 9, 31), WindowGeometry((1, 1, 3, 3), (1, 1, 2, 3), ((0, 0), (0, 0), (1, 1), (4, 2)), ONES, ONES)),
    ((50,), WindowGeometry((4,), (3,), ((2, 3),), (1,), (1,))),
    ((3, 40), WindowGeometry((1, 5), (1, 1), ((0, 0), (2, 2)), (1, 1), (1, 3))),
    ((2, 6, 6), WindowGeometry((1, 2, 2), (1, 1, 1), ((0, 0), (1, 1), (1, 1)), (1, 2, 2), (1, 1, 1))),
]


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "u1", "?"])
def test_windows(dtype: str) -> None:
    rng = np.random.default_rng(4)
    for shape, geometry in WINDOWS:
        x = np.round(np.abs(rng.normal(size=shape)) * 50).astype(dtype)
        if dtype[0] == "f":
            x = (x - 40).astype(dtype)
            x.flat[::37], x.flat[5::41] = np.nan, -np.inf
        for name in ("reduce_window_sum", "reduce_window_max", "reduce_window_min"):
            native(name, x, geometry=geometry)
        for largest in (True, False):
            native("window_select", x, largest=largest, geometry=geometry)
        chosen = registry["window_select"].bind(x, largest=True, geometry=geometry)
        given = rng.integers(0, 2, chosen.shape).astype(dtype)
        native("window_gather", np.nan_to_num(x), chosen, geometry=geometry)
        native("window_scatter", given, chosen, shape=shape, geometry=geometry)


def test_a_network() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(4, 12, 12, 1)).astype(np.float32)
    y = np.eye(3, dtype=np.float32)[[0, 1, 2, 1]]
    weights = [rng.normal(size=s).astype(np.float32) * 0.3 for s in ((3, 3, 1, 8), (3, 3, 8, 16), (144, 3))]

    def loss(weights: Any, pool: Any) -> Any:
        h = x
        for w in weights[:2]:
            h = lax.conv_general_dilated(h, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
            h = pool(np.maximum(h, 0), (2, 2))
        return -np.mean(np.sum(nn.log_softmax(h.reshape(4, -1) @ weights[2]) * y, 1))

    for pool in (nn.max_pool, nn.avg_pool):
        step = ft.value_and_grad(lambda w, pool=pool: loss(w, pool))
        for a, b in zip(
            ft.tree.leaves(ft.jit(step, backend="llvm")(weights)), ft.tree.leaves(step(weights)), strict=True
        ):
            agree(a, b)


def test_calls_are_native() -> None:
    x, w = np.ones((2, 8, 8, 3)), np.ones((3, 3, 3, 4))

    def f(x: Any, w: Any) -> Any:
        h = lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return nn.max_pool(h, (2, 2))

    eqns = [e for e in ft.make_jaxpr(f)(x, w).eqns if e.prim.name in ("conv", "reduce_window_max")]
    assert len(eqns) == 2
    assert all(calls.native_call(e) is not None for e in eqns)


def test_a_copy_is_written_once() -> None:
    b = Builder(True)
    for _ in range(3):
        packing.pack(b, "float", (Step(8, 1, 20),), (Step(20, 8, 1),), "%x", "%y", MACHINES["avx2"])
    assert len(b.helpers) == 1
    packing.pack(b, "float", (Step(8, 1, 0),), (Step(0, 8, 1),), "%x", "%y", MACHINES["avx2"])
    assert len(b.lines) == 3
