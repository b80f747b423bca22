"""``python -m benchmarks.memory``: what a fused chain on ten million numbers allocates, and its result."""

from __future__ import annotations

import tracemalloc

import numpy as np

import functrans as ft
from benchmarks.workload import Array
from benchmarks.workloads.fused import chain

SIZE = 10**7


def peak(threads: int, size: int = SIZE) -> tuple[int, int]:
    """Bytes that are allocated at the peak of the first call, and those of the result."""
    x: Array = np.zeros(size)
    function = ft.jit(chain(ft.numpy))
    before, ft.config.threads = ft.config.threads, threads
    try:
        function.lower(x).compile()
        tracemalloc.start()
        result = function(x)
        return tracemalloc.get_traced_memory()[1], result.nbytes
    finally:
        tracemalloc.stop()
        ft.config.threads = before


if __name__ == "__main__":
    for threads in (1, 2):
        total, of_result = peak(threads)
        print(f"{threads} thread(s): peak {total / 2**20:.1f} MiB, of which the result {of_result / 2**20:.1f} MiB")
