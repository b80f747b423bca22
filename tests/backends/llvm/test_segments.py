"""Programs as native functions: what stands in one, who owns memory, what is copied."""

from __future__ import annotations

import gc
import resource
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import lax
from functrans.backends.llvm import emit
from functrans.backends.llvm.block import Block, Module
from functrans.backends.llvm.program import nodes_of
from functrans.backends.llvm.regions import native_step
from functrans.backends.llvm.segment import Segment, segmented
from functrans.config import override
from functrans.core.jaxpr import Eqn
from functrans.core.trace import aval_of
from functrans.kernel.ir import Kernel
from functrans.passes import current

X = np.linspace(-1.0, 2.0, 12)
M = X.reshape(3, 4)


def native(f: Callable[..., Any], **how: Any) -> Any:
    return ft.jit(f, backend="llvm", **how)


def agree(f: Callable[..., Any], *args: Any) -> Any:
    with np.errstate(all="ignore"):
        found, expected = native(f)(*args), ft.jit(f, backend="numpy")(*args)
    for a, b in zip(ft.tree.leaves(found), ft.tree.leaves(expected), strict=True):
        assert type(a) is type(b) and aval_of(a) == aval_of(b)
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
    return found


def nodes(f: Callable[..., Any], *args: Any) -> list[Any]:
    jaxpr = current()(ft.make_jaxpr(f)(*args))
    return segmented(jaxpr, nodes_of(jaxpr))[1]


def block(f: Callable[..., Any], *args: Any) -> Block:
    (segment,) = nodes(f, *args)
    assert isinstance(segment, Segment)
    return segment.block


# -- what stands in a segment -----------------------------------------------------------------------------------------


def test_a_program_is_one_segment() -> None:
    def f(x: Any, w: Any) -> Any:
        y = np.sin(x) @ w
        return y / y.sum(axis=0), y.max(), x[1:].T[0] * 2

    assert [type(n) for n in nodes(f, M, M.T)] == [Segment]
    agree(f, M, M.T)


def test_numbers_stay_in_registers() -> None:
    def f(x: Any, y: Any) -> Any:
        z = x * y + np.float64(2)
        return np.sqrt(z) - x, z > 3, -y

    assert block(f, 2.0, np.float64(3.0)).arena == 0
    for args in ((2.0, np.float64(3.0)), (np.float32(2), 3), (np.array(2.0), np.int64(4)), (True, 0.5)):
        agree(f if not isinstance(args[0], bool) else lambda x, y: (x | (y > 1), y * 2), *args)


def test_host_calls_stand_between_segments() -> None:
    def f(x: Any) -> Any:
        y = np.linalg.eigvals(np.tanh(x) @ x.T + 1)
        return np.abs(y).sum() * np.exp(x), np.cos(x)

    kinds = [type(n) for n in nodes(f, M)]
    assert kinds.count(Segment) == 2 and Eqn in kinds
    agree(f, M)


def test_large_kernels_are_launched_on_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emit, "PARALLEL_COST", 1 << 16)

    def f(x: Any) -> Any:
        y = np.sin(x[:8]) + 1
        return np.exp(x) * np.sum(y), y

    x = np.linspace(0, 1, 1 << 16)
    found = nodes(f, x)
    assert any(type(n) is Kernel for n in found) and any(type(n) is Segment for n in found)
    results = []
    for threads in (1, 3):
        with override("threads", threads):
            results.append(agree(f, x))
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)

    def loop(x: Any) -> Any:
        return lax.fori_loop(0, 3, lambda i, c: np.sin(c) * np.cos(c) + c[:1] * i, x)

    for threads in (1, 3):
        with override("threads", threads):
            agree(loop, x)


VIEWS: dict[str, Callable[[Any], Any]] = {
    "reshape": lambda x: (x + 1).reshape(2, 6),
    "row": lambda x: (x + 1)[1],
    "rows": lambda x: (x + 1)[1:] @ M.T,
    "element": lambda x: (x * 2)[1, 2] + 1,
    "last": lambda x: (x * 2)[-1, -1:] + (x * 2)[0, :1],
    "axes": lambda x: np.expand_dims(x * 2, (0, 2)) @ M.T,
    "squeeze": lambda x: np.squeeze(x[:1] * 2) @ M.T,
    "whole": lambda x: (x * 2)[...],
    "of the operand": lambda x: (x[1:], x.reshape(12)[3:9], x),
    "of a result": lambda x: (y := np.exp(x), y[1], y.reshape(4, 3), y),
    "of a view": lambda x: (x @ M.T).reshape(9)[3:].reshape(2, 3) @ M,
    "split": lambda x: [p @ np.ones(4) for p in np.split(x + 1, 3)],
    "column": lambda x: (x @ M.T)[:, 1],
    "empty": lambda x: (x[:0] * 2, x[:, :0].sum(axis=0), x),
}


@pytest.mark.parametrize("name", VIEWS)
def test_views(name: str) -> None:
    agree(VIEWS[name], M)


@pytest.mark.parametrize("i", [0, 2, -1, np.int32(1), np.uint8(2)])
def test_places_known_at_run_time(i: Any) -> None:
    agree(lambda x, i: (x[i], x[i, i], x[i] @ x.T), M, i)
    agree(lambda x, i: lax.dynamic_slice(x, (i, 0), (2, 4)) @ M.T, M, i)
    for outside in (3, -4):
        with pytest.raises(IndexError):
            native(lambda x, i: x[i] * 2)(M, outside)


def test_constants() -> None:
    table = np.arange(12.0)
    strided = np.arange(24.0)[::2]

    def f(x: Any) -> Any:
        inner = lax.fori_loop(0, 3, lambda i, c: c * strided + np.asarray(np.arange(12.0)), x)
        return x * table + inner, strided + x

    compiled = native(f)
    agree(f, X)
    table += 1  # what a captured array holds is read at each call
    np.testing.assert_allclose(compiled(X)[0], f(X)[0])


# -- memory -----------------------------------------------------------------------------------------------------------


def test_arena_is_used_again() -> None:
    def f(x: Any) -> Any:
        for _ in range(20):
            x = np.tanh(x @ W)
        return x

    W = np.eye(32)
    size = 32 * 32 * 8
    assert 0 < block(f, W).arena <= 4 * size


def test_a_result_that_is_an_operand_is_a_copy() -> None:
    def f(x: Any, y: Any) -> Any:
        return x, x, y[0], (x * 2).reshape(3, 4), y

    x, y = X.copy(), M.copy()
    outs = native(f)(x, y)
    arrays = [*outs, x, y]
    for i, a in enumerate(arrays):
        for b in arrays[i + 1 :]:
            assert not np.shares_memory(a, b)
    agree(f, x, y)
    outs[0][:] = 0
    assert x.any() and outs[1].any()


def test_results_outlive_their_program() -> None:
    f = native(lambda x: (np.sin(x) + 1, np.cos(x) * 2))
    first = f(X)
    kept = [a.copy() for a in first]
    for _ in range(5):
        f(X * 2)
    del f
    gc.collect()
    for a, b in zip(first, kept, strict=True):
        np.testing.assert_array_equal(a, b)


def test_donated_operands() -> None:
    def f(x: Any, y: Any) -> Any:
        return np.sin(x) * y + 1, lax.fori_loop(0, 3, lambda i, c: c.at[i].set(c[i + 1] + i), y)

    x, y = X.copy(), X.copy() * 2
    expected = f(x, y)
    found = native(f, donate_argnums=(0, 1))(x, y)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13)


def test_operands_of_any_layout() -> None:
    def f(x: Any, n: Any) -> Any:
        return lax.scan(lambda c, r: (c @ x.T @ x + r, c * n), x[0], x)

    wide = np.arange(24.0).reshape(3, 8) / 24
    for x in (M, wide[:, ::2], np.asfortranarray(M), M[::-1], M.astype(">f8").astype("<f8"), M.astype(">f8")):
        found, expected = native(f)(x, 2), ft.jit(f, backend="numpy")(x, 2)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)
    unaligned = np.frombuffer(bytes(1) + M.tobytes(), np.uint8)[1:].view(np.float64).reshape(3, 4)
    np.testing.assert_allclose(native(f)(unaligned, 2)[1], f(M, 2)[1], rtol=1e-12)


def test_memory_does_not_grow() -> None:
    f = native(lambda x, n: (lax.fori_loop(0, n, lambda i, c: np.sin(c) @ W + i, x), x.sum(), n + 1))
    W = np.eye(12)
    outside = native(lambda x, i: np.linalg.eigvals(x[:3, :3])[0] + x[i, 0])
    square = np.arange(16.0).reshape(4, 4)

    def run(times: int) -> None:
        for _ in range(times):
            f(X, 2)
            outside(square, 1)
        for _ in range(times // 100):
            with pytest.raises(IndexError):
                outside(square, 9)

    run(2000)
    gc.collect()
    counts = [sys.getrefcount(v) for v in (X, W, square)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run(50_000)
    gc.collect()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 4000  # in units of at least a kilobyte
    assert [sys.getrefcount(v) for v in (X, W, square)] == counts


def test_several_threads_at_once() -> None:
    f = native(lambda x: lax.fori_loop(0, 50, lambda i, c: np.tanh(c @ W) + np.linalg.eigvals(W).real.sum() * 0 + i, x))
    W = np.eye(64) * 0.5
    inputs = [np.full((64, 64), float(k)) for k in range(4)]
    expected = [f(x) for x in inputs]
    wrong: list[int] = []

    def work(k: int) -> None:
        for _ in range(20):
            if not np.array_equal(f(inputs[k]), expected[k]):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_the_lock_is_released() -> None:
    """Another thread goes on while a long program runs."""
    f = native(lambda x: lax.fori_loop(0, 3_000_000, lambda i, c: np.sin(c) + i, x))
    f(0.5)
    counted, stop = [0], threading.Event()

    def count() -> None:
        while not stop.wait(0.001):
            counted[0] += 1

    t = threading.Thread(target=count)
    t.start()
    f(0.5)
    stop.set()
    t.join()
    assert counted[0] > 3


# -- text -------------------------------------------------------------------------------------------------------------


def test_text_holds_no_address() -> None:
    table = np.arange(12.0)
    (segment,) = nodes(lambda x: lax.fori_loop(0, 3, lambda i, c: np.sin(c) * table + np.arange(12.0), x), X)
    module = Module()
    segment.write(module)
    assert all(str(address) not in module.text() for address in module.symbols.values())


def test_steps_of_nodes() -> None:
    jaxpr = current()(ft.make_jaxpr(lambda x: np.linalg.eigvals(x))(np.eye(3)))
    assert [native_step(n) for n in nodes_of(jaxpr)] == [None]
