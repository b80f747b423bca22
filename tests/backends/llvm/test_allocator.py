"""Memory of large results, which is kept for the next ones."""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans.backends.llvm.allocator import SMALLEST, Allocator, allocator, pooled
from functrans.config import config

F8 = np.dtype(np.float64)


@pytest.fixture
def pool() -> Iterator[Allocator]:
    gc.collect()
    made = allocator()
    made.trim()
    assert made.held() == 0
    yield made
    config.kept_memory = 1 << 28
    made.trim()


def test_arrays_are_like_any_other(pool: Allocator) -> None:
    for shape in ((SMALLEST // 8,), (300, 400), (2, 1, 64, 128), (16384, 1)):
        made, usual = pool.maker(shape, F8)(), np.empty(shape, F8)
        assert type(made) is np.ndarray and made.shape == shape and made.dtype is F8
        assert made.flags.num == usual.flags.num and made.strides == usual.strides and made.base is None
        assert made.ctypes.data % 64 == 0
        made[...] = 2.0
        assert made.sum() == 2.0 * made.size


def test_memory_is_used_again(pool: Allocator) -> None:
    make = pool.maker((100_000,), F8)
    first = make()
    address = first.ctypes.data
    del first
    held = pool.held()
    assert 800_000 <= held <= 900_000
    second = make()
    assert second.ctypes.data == address and pool.held() == 0
    third = make()
    assert third.ctypes.data != address
    view = second[10:]
    del second
    assert pool.held() == 0
    del view
    assert pool.held() == held


def test_every_size_has_its_class(pool: Allocator) -> None:
    rng = np.random.default_rng(0)
    for size in [SMALLEST, SMALLEST + 1, 2 * SMALLEST - 1, *rng.integers(SMALLEST, 1 << 24, 60).tolist()]:
        make = pool.maker((size,), np.dtype(np.uint8))
        made = make()
        made[:] = 1  # the last byte too
        address = made.ctypes.data
        del made
        assert size <= pool.held() <= size * 9 // 8 + 64
        again = make()
        assert again.ctypes.data == address
        del again
        pool.trim()


def test_the_cap_holds(pool: Allocator) -> None:
    config.kept_memory = 4 << 20
    makers = [pool.maker((n,), np.dtype(np.uint8)) for n in (1 << 20, 1 << 19, 1 << 20, 3 << 20, 100_000)]
    for _ in range(5):
        arrays = [make() for make in makers for _ in range(3)]
        for array in arrays:
            array[:] = 7
        del arrays, array
        assert 0 < pool.held() <= 4 << 20
    too_large = pool.maker((5 << 20,), np.dtype(np.uint8))()
    del too_large
    assert pool.held() <= 4 << 20
    config.kept_memory = 0
    assert pool.held() == 0
    array = makers[0]()
    del array
    assert pool.held() == 0


def test_old_sizes_make_room_for_new_ones(pool: Allocator) -> None:
    config.kept_memory = 8 << 20
    old = [pool.maker((1 << 20,), np.dtype(np.uint8))() for _ in range(8)]
    del old
    make = pool.maker((6 << 20,), np.dtype(np.uint8))
    made = make()
    address = made.ctypes.data
    del made
    again = make()
    assert again.ctypes.data == address


def test_what_numpy_does_to_such_arrays(pool: Allocator) -> None:
    made = pool.maker((20_000,), F8)()
    made[:] = np.arange(20_000)
    made.resize((40_000,), refcheck=False)
    assert made[19_999] == 19_999.0 and made[39_999] == 0.0
    made.resize((100,), refcheck=False)
    assert made.tolist() == list(range(100))
    made.resize((30_000,), refcheck=False)
    assert made[99] == 99.0 and made[-1] == 0.0
    del made
    other = pool.maker((20_000,), F8)()
    other[:] = 1.0
    other.sort()
    assert other.reshape(200, 100).view(np.int64).copy().shape == (200, 100)


def test_clear_caches_gives_memory_back(pool: Allocator) -> None:
    f = ft.jit(lambda x: x * 2.0 + 1.0, backend="llvm")
    x = np.ones(50_000)
    for _ in range(4):
        f(x)
    assert pool.held() >= 400_000
    ft.clear_caches()
    assert pool.held() == 0


def test_results_come_from_the_pool(pool: Allocator) -> None:
    x = np.ones((200, 300))
    f = ft.jit(lambda x: (x * 2.0 + 1.0, x[0] + 1.0), backend="llvm")
    plain = ft.jit(lambda x: (x * 2.0 + 1.0, x[0] + 1.0), backend="numpy")
    for _ in range(4):
        outs = f(x)
        for a, b in zip(outs, plain(x), strict=True):
            assert np.array_equal(a, b) and a.flags.num == b.flags.num
    address = outs[0].ctypes.data
    del outs, a
    assert pool.held() >= x.nbytes
    assert f(x)[0].ctypes.data == address


def test_large_arenas_are_shared(pool: Allocator) -> None:
    def f(x: Any) -> Any:
        return np.sort(np.sin(x) * 2.0, axis=0).sum() + np.sort(np.cos(x), axis=0)[0]

    fast = ft.jit(f, backend="llvm")
    x = np.linspace(0.0, 1.0, 20_000)
    for _ in range(4):
        np.testing.assert_allclose(fast(x), f(x), rtol=1e-12)


def test_threads(pool: Allocator) -> None:
    config.kept_memory = 3 << 20
    sizes = [70_000, 200_000, 1 << 20, 900_000]
    makers = [pool.maker((n,), np.dtype(np.uint8)) for n in sizes]
    wrong: list[int] = []

    def work(mark: int) -> None:
        kept: list[np.ndarray] = []
        for i in range(400):
            array = makers[(i * 7 + mark) % 4]()
            array[::997] = mark
            kept.append(array)
            if len(kept) > 4:
                gone = kept.pop(i % 4)
                if not (gone[::997] == mark).all():
                    wrong.append(mark)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 5)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    gc.collect()
    assert not wrong and pool.held() <= 3 << 20


if hasattr(os, "fork"):

    @pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
    def test_a_child_process_goes_on(pool: Allocator) -> None:
        make = pool.maker((100_000,), F8)
        array = make()
        address = array.ctypes.data
        child = os.fork()
        if not child:
            del array
            again = make()
            os._exit(0 if again.ctypes.data == address and pool.held() == 0 else 1)
        assert os.waitpid(child, 0)[1] == 0


def test_no_references_are_lost(pool: Allocator) -> None:
    make = pool.maker((10_000,), F8)
    watched = (pool.handler, F8, np.ndarray)
    before = [sys.getrefcount(w) for w in watched]
    for _ in range(2000):
        make()
    assert [sys.getrefcount(w) for w in watched] == before


def test_which_arrays_are_pooled() -> None:
    assert pooled((SMALLEST // 8,), F8) and not pooled((SMALLEST // 8 - 1,), F8) and not pooled((), F8)
    assert not pooled((0, 1 << 40), F8)
    with pytest.raises(ft.errors.ArgumentError, match="kept_memory must be a number of bytes"):
        config.kept_memory = -1


def test_memory_that_there_is_not(pool: Allocator) -> None:
    with pytest.raises(MemoryError):
        pool.maker((1 << 46,), F8)()
