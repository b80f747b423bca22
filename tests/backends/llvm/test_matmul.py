"""Native contractions against NumPy: shapes, dtypes, transpositions, machines, and what stands around the product."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import lax
from functrans.backends.llvm import blas, gemm, matmul
from functrans.backends.llvm.gemm import Columns, Target, tile_of, vectors_of
from functrans.config import config, override
from functrans.core.trace import aval_of

MACHINES = {"avx512": Target(512, True), "avx2": Target(256, True), "sse": Target(128, False)}
EXTENTS = [(1, 1, 1), (3, 5, 7), (17, 33, 19), (1, 40, 33), (40, 9, 1), (2, 600, 3), (8, 1030, 16)]


@pytest.fixture(params=MACHINES)
def host(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Target:
    """Vectors of some machine; this one has at least those if it runs the test."""
    target = MACHINES[request.param]
    if target.bits > gemm.host().bits:
        target = gemm.host()
    monkeypatch.setattr(matmul, "host", lambda: target)
    return target


def array(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Any:
    kind = np.dtype(dtype).kind
    if kind in "biu":
        return rng.integers(0, 2 if kind == "b" else 100, shape).astype(dtype)
    x = rng.normal(size=shape) + (1j * rng.normal(size=shape) if kind == "c" else 0)
    return x.astype(dtype)


def agree(found: Any, expected: Any, scale: float = 50.0) -> None:
    assert aval_of(found) == aval_of(expected)
    if np.asarray(expected).dtype.kind not in "fc":
        np.testing.assert_array_equal(found, expected)
        return
    eps = float(np.finfo(np.asarray(expected).dtype).eps)
    size = float(np.max(np.abs(expected), initial=1.0))
    np.testing.assert_allclose(found, expected, rtol=scale * eps, atol=scale * eps * size)


def contracted(x: Any, y: Any, dims: Any) -> None:
    def f(x: Any, y: Any) -> Any:
        return lax.dot_general(x, y, dims)

    agree(ft.jit(f, backend="llvm")(x, y), f(x, y))


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("dtype", ["f4", "f8", "c16"])
def test_transpositions(dtype: str) -> None:
    rng = np.random.default_rng(0)
    for (m, k, n), left, right in product(EXTENTS, (0, 1), (0, 1)):
        x, y = array(rng, (k, m) if left else (m, k), dtype), array(rng, (n, k) if right else (k, n), dtype)
        contracted(x, y, (((0 if left else 1,), (1 if right else 0,)), ((), ())))


@pytest.mark.parametrize("dtype", ["c8", "f2", "?", "i1", "u1", "i4", "u8", "i8"])
def test_dtypes(dtype: str) -> None:
    rng = np.random.default_rng(1)
    for m, k, n in [(5, 9, 20), (1, 40, 3)]:
        x, y = array(rng, (m, k), dtype), array(rng, (n, k), dtype)
        contracted(x, y, (((1,), (1,)), ((), ())))


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize(
    ("xs", "ys", "dims"),
    [
        ((3, 4, 5, 6), (3, 6, 5, 7), (((2, 3), (2, 1)), ((0,), (0,)))),
        ((4, 7, 3, 6), (4, 9, 3, 6), (((3,), (3,)), ((0, 2), (0, 2)))),
        ((6, 3, 4), (4, 6, 5), (((2,), (0,)), ((0,), (1,)))),
        ((700, 3, 2), (700, 2, 5), (((0, 2), (0, 1)), ((), ()))),
        ((5, 4, 3), (7, 4, 2), (((1,), (1,)), ((), ()))),
        ((20, 3), (20, 3), (((1,), (1,)), ((0,), (0,)))),
        ((8, 5), (8, 6), (((), ()), ((0,), (0,)))),
        ((1000,), (1000,), (((0,), (0,)), ((), ()))),
        ((200,), (3,), (((), ()), ((), ()))),
        ((0, 3), (3, 2), (((1,), (0,)), ((), ()))),
        ((2, 0), (0, 3), (((1,), (0,)), ((), ()))),
        ((2, 0, 3), (2, 3, 4), (((2,), (1,)), ((0,), (0,)))),
    ],
)
def test_axes(xs: Any, ys: Any, dims: Any) -> None:
    rng = np.random.default_rng(2)
    for dtype in ("f4", "f8"):
        contracted(array(rng, xs, dtype), array(rng, ys, dtype), dims)


def test_samples() -> None:
    for sample in lax.contraction.dot_general_p.samples():  # type: ignore[misc]

        def f(*xs: Any, params: Any = sample.params) -> Any:
            return lax.contraction.dot_general_p.bind(*xs, **params)

        agree(ft.jit(f, backend="llvm")(*sample.args), f(*sample.args))


def test_not_finite() -> None:
    x, y = np.ones((6, 20), np.float32), np.ones((20, 18), np.float32)
    x[1, 3], x[2, 4], y[4, 5], y[7, 17] = np.inf, -np.inf, np.nan, 0.0
    x[3, 7] = np.inf
    with np.errstate(invalid="ignore"):
        contracted(x, y, (((1,), (0,)), ((), ())))
        contracted(x, np.ascontiguousarray(y.T), (((1,), (1,)), ((), ())))


def test_long_sums_are_as_accurate_as_those_of_numpy() -> None:
    rng = np.random.default_rng(3)
    for n in (1, 4, 17):
        x, y = rng.random((n, 100_000), np.float32), rng.random((100_000, n), np.float32)
        exact = x.astype(float) @ y.astype(float)
        theirs = np.abs(x @ y - exact).max()
        for f, right in ((lambda x, y: x @ y, y), (lambda x, y: x @ y.T, np.ascontiguousarray(y.T))):
            error = np.abs(ft.jit(f, backend="llvm")(x, right) - exact).max()
            assert error <= max(2 * theirs, 1e-6 * exact.max())


def test_large_products_go_to_blas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matmul, "LARGE", 1 << 12)
    monkeypatch.setattr(matmul, "SHARED", 1 << 12)
    rng = np.random.default_rng(4)
    assert blas.library() is not None
    for dtype, left, right in product(("f4", "f8", "c8", "c16"), (0, 1), (0, 1)):
        x, y = array(rng, (3, 24, 24), dtype), array(rng, (3, 24, 24), dtype)
        dims = (((1 if left else 2,), (2 if right else 1,)), ((0,), (0,)))
        call = matmul.call(x.shape, y.shape, x.dtype, dims, gemm.host())
        assert call is not None and call.symbols
        contracted(x, y, dims)
        contracted(x[0], y[0], (((0 if left else 1,), (1 if right else 0,)), ((), ())))


def test_without_blas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blas, "library", lambda: None)
    monkeypatch.setattr(matmul, "LARGE", 1)
    monkeypatch.setattr(matmul, "SHARED", 1)
    rng = np.random.default_rng(5)
    contracted(array(rng, (70, 65), "f4"), array(rng, (65, 81), "f4"), (((1,), (0,)), ((), ())))


@pytest.fixture
def threads() -> Iterator[Any]:
    library = blas.library()
    assert library is not None
    count = getattr(library.handle, library.control("get_num_threads"))
    before = count()
    yield count
    assert count() == before


def test_blas_runs_on_as_many_threads_as_are_set(threads: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matmul, "LARGE", 1)
    monkeypatch.setattr(matmul, "SHARED", 1)
    x = np.random.default_rng(6).normal(size=(65, 65))
    f = ft.jit(lambda x: x @ x + 1.0, backend="llvm")
    for count in (1, 3):
        with override("threads", count):
            assert blas._wanted.value == count
            agree(f(x), x @ x + 1.0)
    assert blas._wanted.value == config.threads


def test_the_same_bits_again() -> None:
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(37, 700)), rng.normal(size=(700, 45))
    found = {ft.jit(lambda x, y: x @ y, backend="llvm")(x, y).tobytes() for _ in range(3)}
    assert len(found) == 1


def test_rows_do_not_depend_on_the_others() -> None:
    """Every element of the result is summed in one order, wherever the tile's edges are."""
    rng = np.random.default_rng(8)
    x, y = rng.normal(size=(61, 300)).astype(np.float32), rng.normal(size=(300, 64)).astype(np.float32)
    whole = ft.jit(lambda x, y: x @ y, backend="llvm")(x, y)
    part = ft.jit(lambda x, y: x @ y, backend="llvm")(x[:48], y)
    np.testing.assert_array_equal(whole[:48], part)


def test_derivatives_and_batches() -> None:
    rng = np.random.default_rng(9)
    x, w, v = rng.normal(size=(5, 7)), rng.normal(size=(7, 3)), rng.normal(size=(4, 7, 3))

    def loss(w: Any, x: Any) -> Any:
        return np.sum(np.tanh(x @ w) ** 2)

    for f, args in (
        (ft.grad(loss), (w, x)),
        (ft.hessian(loss), (w, x)),
        (ft.vmap(ft.grad(loss), (None, 0)), (w, x[:, None])),
        (ft.vmap(ft.grad(loss), (0, None)), (v, x)),
        (lambda w, x: np.einsum("ij,kjl->kil", x, w), (v, x)),
    ):
        agree(ft.jit(f, backend="llvm")(*args), f(*args))


# -- parts ------------------------------------------------------------------------------------------------------------


def test_vectors_cover_columns() -> None:
    for n, masks in product(range(1, 70), (True, False)):
        vectors = vectors_of(n, 16, masks)
        covered = [c.at + lane for c in vectors for lane in range(c.live)]
        assert covered == list(range(n))
        assert all(c.live == c.w for c in vectors) or masks
    assert vectors_of(24, 16, True) == [Columns(0, 16, 16, 0), Columns(16, 8, 8, 16)]


def test_tiles_fit_the_registers() -> None:
    for m, vectors, registers in product((1, 2, 5, 8, 50, 128), (1, 2, 3, 8, 16), (16, 32)):
        rows, wide = tile_of(m, vectors, registers)
        assert 1 <= rows <= m and 1 <= wide <= vectors
        assert rows * wide + wide + 1 <= registers


def test_axes_are_merged() -> None:
    c = matmul.contraction((4, 5, 6), (6, 7, 8), (((2,), (0,)), ((), ())))
    assert [len(loops) for loops in (c.batch, c.m, c.n, c.k)] == [0, 1, 1, 1]
    assert c.m[0].extent == 20 and c.n[0].extent == 56
    c = matmul.contraction((3, 1, 6), (3, 6, 1), (((2,), (1,)), ((0,), (0,))))
    assert (c.m, c.n) == ((), ())
