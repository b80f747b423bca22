"""The native backend: every program, operation, layout and shape against NumPy."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import backends, errors
from functrans.backends.llvm import emit, nest, program, rows
from functrans.backends.llvm.builder import Builder, V
from functrans.backends.llvm.decompositions import COSTS as DECOMPOSED
from functrans.backends.llvm.emit import KernelText
from functrans.backends.llvm.operations import ROWS
from functrans.config import override
from functrans.core import dtypes
from functrans.core.primitive import Primitive, registry
from functrans.core.trace import aval_of
from functrans.kernel.ir import Kernel
from tests.kernel.test_kernels import PROGRAMS, layer_norm, softmax

NATIVE = [
    p
    for name, p in sorted(registry.items())
    if p.samples is not None
    and not p.multiple
    and name not in DECOMPOSED
    and (name in ROWS or name in ("select", "convert", "pow") or p.index is not None or p.monoid is not None)
]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


@pytest.fixture(params=[1, 3])
def tiny(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Blocks, chunks and runs of a few elements, on one thread or several."""
    monkeypatch.setattr(emit, "PARALLEL_COST", 1)
    for name, value in {"BLOCK": 8, "CHUNK": 4, "COLUMNS": 8, "ABREAST": 2, "FEW_UNITS": 4}.items():
        monkeypatch.setattr(nest, name, value)
    monkeypatch.setattr(rows, "TURNS", 2)
    with override("threads", request.param):
        yield


def native(f: Callable[..., Any]) -> Any:
    return ft.jit(f, backend="llvm")


def agree(found: Any, expected: Any, rtol: float = 1e-13) -> None:
    for a, b in zip(ft.tree.leaves(found), ft.tree.leaves(expected), strict=True):
        assert type(a) is type(b) and aval_of(a) == aval_of(b)
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol / 10)


def enlarged(x: Any, by: tuple[int, int]) -> Any:
    return np.tile(x, by if x.ndim == 2 else by[1])


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(name: str) -> None:
    f, args, _ = PROGRAMS[name]
    for by in ((1, 1), (50, 7)):
        given = [enlarged(x, by) for x in args]
        agree(native(f)(*given), f(*given))


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_in_small_units(name: str) -> None:
    f, args, _ = PROGRAMS[name]
    given = [enlarged(x, (9, 3)) for x in args]
    agree(native(f)(*given), f(*given))


@pytest.mark.parametrize("prim", NATIVE, ids=str)
def test_samples(prim: Primitive) -> None:
    assert prim.samples is not None
    for sample in prim.samples():

        def f(*xs: Any, params: Any = sample.params) -> Any:
            return prim.bind(*xs, **params)

        found, expected = native(f)(*sample.args), f(*sample.args)
        assert aval_of(found) == aval_of(expected)
        dtype = aval_of(expected).dtype
        eps = float(np.finfo(dtypes.real_dtype(dtype)).eps) if dtype.kind in "fc" else 0.0
        # NumPy's sinc rounds pi * x before its sine, and is not zero at whole numbers; the native one is.
        np.testing.assert_allclose(found, expected, rtol=4 * eps, atol=eps if prim.name == "sinc" else 0.0)


# -- operations -------------------------------------------------------------------------------------------------------

INTEGERS = [np.dtype(t) for t in (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64)]


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_integers_at_their_ends(dtype: np.dtype) -> None:
    info = np.iinfo(dtype)
    ends = np.array([info.min, info.min + 1, 0, 1, 2, 7, info.max // 3, info.max - 1, info.max], dtype)
    if info.min < 0:
        ends = np.concatenate([ends, np.array([-1, -2, -7], dtype)])
    x, y = (np.ascontiguousarray(a.ravel()) for a in np.meshgrid(ends, ends))

    def f(x: Any, y: Any) -> Any:
        return (
            x + y, x - y, x * y, x // y, x % y, np.fmod(x, y), x & y, x | y, x ^ y, ~x, -x, abs(x), np.sign(x),
            np.maximum(x, y), np.minimum(x, y), x < y, x <= y, x == y, x != y, np.square(x), np.logical_and(x, y),
            x.astype(np.float32), x.astype(np.int8), x.astype(np.uint64), x.astype(bool), x / y, x > 3,
        )  # fmt: skip

    for a, b in zip(native(f)(x, y), f(x, y), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    for n in (0, 1, info.bits - 1, info.bits, 127):
        by = np.full_like(x, n)
        agree(native(lambda x, n: (x << n, x >> n))(x, by), (x << by, x >> by))
    for reduce in (np.sum, np.max, np.min, np.prod, np.argmax, np.argmin, np.any, np.all):
        agree(native(lambda x: reduce(x, axis=0))(x), reduce(x, axis=0))  # noqa: B023


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_at_their_ends(dtype: Any) -> None:
    info = np.finfo(dtype)
    values = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 1e9, info.max, -info.max, info.tiny, info.smallest_subnormal, np.inf]
    ends = np.array([*values, -np.inf, np.nan], dtype)
    x, y = (np.ascontiguousarray(a.ravel()) for a in np.meshgrid(ends, ends))

    def f(x: Any, y: Any) -> Any:
        return (
            x + y, x - y, x * y, x / y, -x, abs(x), np.sign(x), np.copysign(x, y), np.signbit(x), np.sqrt(x),
            np.floor(x), np.ceil(x), np.trunc(x), np.rint(x), x < y, x <= y,
            x > y, x >= y, x == y, x != y, np.isfinite(x), np.isnan(x),
            np.isinf(x), np.square(x),
            np.reciprocal(x), np.logical_or(x, y), np.logical_not(x), np.where(x > y, x, 2.0), x.astype(bool), x**3,
        )  # fmt: skip

    for a, b in zip(native(f)(x, y), f(x, y), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(np.signbit(a[~np.isnan(a)]), np.signbit(b[~np.isnan(b)]))
    # Which zero is the larger one, NumPy leaves to the machine.
    g = lambda x, y: (np.maximum(x, y), np.minimum(x, y), np.fmax(x, y), np.fmin(x, y))
    agree(native(g)(x, y), g(x, y))
    table = x.reshape(14, 14)
    for reduce, axis in itertools.product((np.max, np.min, np.argmax, np.argmin, np.any, np.all), (0, 1)):
        agree(native(lambda x: reduce(x, axis=axis))(table), reduce(table, axis=axis))  # noqa: B023


def test_casts_of_floats() -> None:
    x = np.array([0.0, -0.0, 1.9, -1.9, 100.5, -100.5, 2.0**31 - 1, -(2.0**31)])
    for dtype in (np.int32, np.int64, np.float32, bool):
        agree(native(lambda x: (x * 1.0).astype(dtype))(x), x.astype(dtype))  # noqa: B023
    small = np.array([0.0, 1.9, 100.5, 127.0])
    for dtype in INTEGERS:
        agree(native(lambda x: (x * 1.0).astype(dtype))(small), small.astype(dtype))  # noqa: B023
    large = np.array([2.0**63, 2.0**64 - 2.0**12, 5.0])
    agree(native(lambda x: (x * 1.0).astype(np.uint64))(large), large.astype(np.uint64))


# -- shapes and layouts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (3, 5), (2, 17), (33, 2), (5, 64), (40, 41), (3, 300)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_tails(shape: tuple[int, int], dtype: Any) -> None:
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    g = np.linspace(1, 2, shape[1]).astype(dtype)
    for f in (
        softmax,
        lambda x: layer_norm(x, g, g),
        lambda x: (np.sum(x * x, 0), np.sum(x * x, 1), np.sum(x * x)),
        lambda x: np.exp(x - np.max(x, 0)) / np.sum(np.exp(x), 0),
        lambda x: np.cumsum(x * 2, 0) + np.cumsum(x * 3, 1),
        lambda x: (np.argmax(x * 2, 0), np.argmin(x * 2, 1)),
        lambda x: np.pad(x * 2, ((1, 2), (0, 3))).T + 1.0,
        lambda x: (x * 2).reshape(-1)[::-1] + 1.0,
        lambda x: np.where(np.arange(x.shape[1]) > x.shape[0], x * 2, -x),
    ):
        agree(native(f)(x), f(x), 1e-5 if dtype is np.float32 else 1e-13)


def test_axes_apart() -> None:
    x = np.random.default_rng(0).standard_normal((5, 6, 7, 3))
    for axis in itertools.chain.from_iterable(itertools.combinations(range(4), k) for k in (1, 2, 3, 4)):
        agree(native(lambda x: np.sum(x * 2, axis))(x), np.sum(x * 2, axis))  # noqa: B023
        agree(
            native(lambda x: np.exp(x - np.mean(x, axis, keepdims=True)))(x),  # noqa: B023
            np.exp(x - np.mean(x, axis, keepdims=True)),
        )
    agree(native(lambda x: np.transpose(x, (2, 0, 3, 1)) * 2 + 1)(x), np.transpose(x, (2, 0, 3, 1)) * 2 + 1)


def test_layouts_of_arguments() -> None:
    whole = np.random.default_rng(0).standard_normal((40, 60))
    raw = np.zeros(8 * 60 + 1, np.uint8)[1:].view(np.float64)
    frozen = whole.copy()
    frozen.flags.writeable = False
    f = native(lambda x: np.tanh(x * 2) + 1)
    for x in (whole[::2, 1::3], whole.T, whole[::-1, ::-1], whole[:, 5], np.asfortranarray(whole), raw, frozen):
        agree(f(x), np.tanh(x * 2) + 1)
    swapped = whole.astype(whole.dtype.newbyteorder())
    agree(f(swapped), np.tanh(whole * 2) + 1)


def test_donated_arguments_of_any_layout() -> None:
    f = ft.jit(lambda x: np.tanh(x * 2) + 1, backend="llvm", donate_argnums=0)
    whole = np.random.default_rng(0).standard_normal((40, 60))
    for x in (whole.copy(), np.asfortranarray(whole), whole.copy().T, whole.copy()[::2, ::-1]):
        expected = np.tanh(x * 2) + 1
        agree(f(x), expected)


def test_scalars_among_arguments() -> None:
    x = np.linspace(0, 1, 10, dtype=np.float32)
    f = native(lambda x, a, b: np.exp(x * a + b) * a)
    for a, b in ((2.0, np.float32(3)), (np.float32(1.5), 1), (np.array(2.0, np.float32), 2.5)):
        agree(f(x, a, b), np.exp(x * a + b) * a, 1e-6)


def test_what_no_kernel_computes_stays_numpy() -> None:
    x = np.random.default_rng(0).uniform(0.1, 0.9, (30, 30))

    def f(x: Any) -> Any:
        y = np.sort(np.arcsin(x) * 2 + 1, axis=0)
        return np.linalg.solve(y @ y.T + np.eye(30), y) ** 2 + np.exp(1j * y).real + (y**1.7) // 0.3

    agree(native(f)(x), f(x), 1e-9)
    assert "run_segment" in native(f).lower(x).as_text("python")


def test_zero_sizes() -> None:
    x = np.zeros((0, 3))
    f = lambda x: (np.exp(x) * 2, np.sum(np.exp(x), 0), np.sum(x * 2))
    agree(native(f)(x), f(x))


# -- sums, threads ----------------------------------------------------------------------------------------------------


def test_sums_are_as_accurate_as_pairwise_ones() -> None:
    x = np.random.default_rng(0).uniform(0, 1, (1 << 18, 3)).astype(np.float32)
    exact = np.sum(x.astype(np.float64), 0)
    for f in (lambda x: np.sum(x * 1.0), lambda x: np.sum(x.T * 1.0, 1), lambda x: np.sum(x * 1.0, 0)):
        found = native(f)(x)
        true = exact if np.ndim(found) else np.sum(exact)
        assert np.max(abs(found - true) / true) < 4e-7


def test_threads_do_not_change_a_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emit, "PARALLEL_COST", 1)
    x = np.random.default_rng(0).standard_normal((700, 300))
    for f in (
        lambda x: np.sum(np.sin(x)),
        lambda x: np.sum(np.sin(x), 0),
        lambda x: np.mean(np.sin(x) * 2, 1),
        softmax,
    ):
        results = []
        for threads in (1, 2, 5):
            with override("threads", threads):
                results.append(ft.jit(f, backend="llvm")(x))
        np.testing.assert_array_equal(results[0], results[1])
        np.testing.assert_array_equal(results[0], results[2])


def test_calls_from_several_threads() -> None:
    f = native(softmax)
    inputs = [np.random.default_rng(k).standard_normal((60, 700)) for k in range(4)]
    expected = [softmax(x) for x in inputs]
    found: dict[tuple[int, int], Any] = {}

    def work(k: int) -> None:
        for n in range(20):
            found[k, n] = f(inputs[k])

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for (k, _), value in found.items():
        np.testing.assert_allclose(value, expected[k], rtol=1e-13)


def test_transformations() -> None:
    x = np.random.default_rng(0).standard_normal((6, 9))
    loss = lambda x: np.sum(softmax(np.sin(x)) ** 2)
    agree(native(ft.grad(loss))(x), ft.grad(loss)(x), 1e-12)
    agree(native(ft.vmap(ft.grad(lambda r: np.sum(np.tanh(r) ** 3))))(x), 3 * np.tanh(x) ** 2 / np.cosh(x) ** 2, 1e-12)
    agree(ft.grad(native(loss))(x), ft.grad(loss)(x), 1e-12)
    agree(ft.vmap(native(lambda r: r / np.sum(r)))(x), x / np.sum(x, 1, keepdims=True))


# -- texts and errors -------------------------------------------------------------------------------------------------


def test_stages_as_text() -> None:
    lowered = native(softmax).lower(np.ones((8, 16)))
    assert "define i32 @segment_0(ptr %arena, ptr %i0, ptr %o0)" in lowered.as_text("llvm")
    assert "segment_0_direct" in lowered.as_text("assembly")
    assert "run_segment_0(b0, v0, v1)" in lowered.as_text("python")


def test_text_of_a_kernel() -> None:
    jaxpr = ft.make_jaxpr(lambda x: x * x + 1.0)(np.ones(37))
    (kernel,) = [n for n in program.nodes_of(jaxpr) if isinstance(n, Kernel)]
    text = KernelText(kernel, 256, True, "nounwind", {}, {}).functions()
    golden = Path(__file__).parent.parent / "golden" / "llvm_kernel.txt"
    assert text[: text.index("define i32")].rstrip() == golden.read_text().rstrip()


def test_products_and_sums_without_fused_ones() -> None:
    x = V("%x", "double", 4)
    for fma, steps in ((True, ["llvm.fma.v4f64"]), (False, ["fmul", "fadd"])):
        b = Builder(fma)
        b.muladd(x, x, x)
        assert len(b.lines) == len(steps)
        assert all(step in line for step, line in zip(steps, b.lines, strict=True))


def test_narrow_vectors_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from functrans.backends.llvm.runtime import machine

    x = np.random.default_rng(0).standard_normal((9, 37))
    expected = softmax(np.sin(x)), np.sum(x * x, 0), np.log1p(abs(x))
    host = machine()
    for bits in (128, 256, 512):
        monkeypatch.setattr(host, "bits", bits)
        agree(native(lambda x: (softmax(np.sin(x)), np.sum(x * x, 0), np.log1p(abs(x))))(x), expected)


def test_without_fused_products(monkeypatch: pytest.MonkeyPatch) -> None:
    from functrans.backends.llvm.runtime import machine

    monkeypatch.setattr(machine(), "fma", False)
    x = np.random.default_rng(0).uniform(0.1, 3, 100)
    f = lambda x: np.exp(x) * np.log(x) + np.tanh(x) * np.sin(x)
    lowered = ft.jit(f, backend="llvm").lower(x)
    assert "llvm.fma" not in lowered.as_text("llvm") and "sin(" not in lowered.as_text("python")
    agree(native(f)(x), f(x), 1e-14)


def test_without_llvmlite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "_loaded", {})
    monkeypatch.setattr(backends, "find_spec", lambda name: None)
    with pytest.raises(errors.MissingBackendError, match=r"functrans\[native\]"):
        ft.jit(lambda x: x, backend="llvm")
