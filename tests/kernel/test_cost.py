"""What programs are said to cost: counted by hand, and measured."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans.backends.numpy.target import TILE_BYTES


def softmax(x: Any) -> Any:
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def test_operations_and_traffic() -> None:
    def f(x: Any, w: Any) -> Any:
        return np.sum(np.tanh(x @ w)[:, :2], 1)

    cost = ft.jit(f).lower(np.ones((4, 5)), np.ones((5, 3))).cost_analysis()
    assert [n.name for n in cost.nodes] == ["dot_general", "tanh", "basic_index", "sum"]
    assert [n.flops for n in cost.nodes] == [2 * 4 * 5 * 3, 0, 0, 8]
    assert cost.transcendentals == 12
    assert [n.bytes for n in cost.nodes] == [8 * (20 + 15 + 12), 8 * 24, 0, 8 * (8 + 4)]
    assert str(cost).splitlines()[-1].split() == ["total", "128", "12", "664"]


def test_a_kernel_reads_and_writes_its_buffers_once() -> None:
    x = np.ones((1000, 100))
    cost = ft.jit(softmax).lower(x).cost_analysis()
    assert len(cost.nodes) == 1 and cost.bytes == 2 * x.nbytes
    assert cost.flops == 4 * x.size and cost.transcendentals == x.size


def test_convolutions_and_loops() -> None:
    images, kernels = np.ones((2, 3, 8, 8)), np.ones((4, 3, 3, 3))
    f = lambda x, w: ft.lax.conv(x, w, (1, 1), "VALID")
    cost = ft.jit(f).lower(images, kernels).cost_analysis()
    assert cost.flops == 2 * (2 * 4 * 6 * 6) * (3 * 3 * 3)
    looped = ft.jit(lambda x: ft.lax.fori_loop(0, 7, lambda i, c: c * 2.0 + x, x)).lower(np.ones(10)).cost_analysis()
    assert looped.flops >= 7 * 20


def layers(params: Any, x: Any) -> Any:
    for w, b in params:
        x = np.tanh(x @ w + b)
    return np.sum(x**2)


X = np.linspace(-1.0, 1.0, 400_000).reshape(1000, 400)
PARAMS = [(np.full((400, 400), 0.01), np.zeros(400)) for _ in range(4)]
PROGRAMS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "a chain": (lambda x: np.tanh(x * 2.0) + np.exp(-x * x), (X,)),
    "softmax": (softmax, (X,)),
    "gradient": (ft.grad(layers), (PARAMS, X)),
    "calls between kernels": (lambda x: np.sort(np.sin(x) * 2.0, 0)[::-1] * 3.0, (X,)),
    "columns": (lambda x: np.sum(np.sin(x), 0), (X,)),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_peak_is_what_is_measured(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ft.config, "threads", 1)  # Which of several threads need memory to work in is a matter of luck.
    f, args = PROGRAMS[name]
    compiled = ft.jit(f)
    memory = compiled.lower(*args).memory_analysis()
    compiled(*args)
    tracemalloc.start()
    try:
        results = compiled(*args)
        measured = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Arena and scratch stay from the first call on.
    assert abs(measured - (memory.peak - memory.arena - memory.scratch)) < TILE_BYTES
    assert memory.results == sum(a.nbytes for a in ft.tree.leaves(results) if np.ndim(a))
    assert memory.arena >= memory.least and memory.peak <= memory.results + memory.intermediates + memory.scratch + 1


def test_memory_is_used_again() -> None:
    memory = ft.jit(ft.grad(layers)).lower(PARAMS, X).memory_analysis()
    assert memory.arena + memory.temporaries < 0.6 * memory.intermediates
