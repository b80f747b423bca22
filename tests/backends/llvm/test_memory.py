"""What programs take in memory, and that they give it back."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any

import numpy as np

import functrans as ft
from functrans.backends.llvm.runtime import machine


def resident() -> int:
    """The bytes of memory that this process occupies."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def drop() -> None:
    """Forget programs whose function is gone; equal functions that are made anew would find them otherwise."""
    ft.clear_caches()
    gc.collect()


def make(n: int) -> Any:
    x = np.linspace(0.0, 1.0, 5)

    def f(x: Any) -> Any:
        return np.exp(x) * float(n) + ft.lax.fori_loop(0, 3, lambda i, c: c * x, x)

    compiled = ft.jit(f, backend="llvm")
    for _ in range(3):  # The later calls enter native code at once.
        np.testing.assert_allclose(compiled(x), np.exp(x) * n + x**4, rtol=1e-14)
    return compiled


def test_code_goes_with_its_function() -> None:
    make(0)  # What all programs have in common stays.
    drop()
    before = len(machine().loaded)
    functions = [make(n) for n in range(20)]
    taken = [code for code in machine().loaded if code.size]
    assert len(machine().loaded) >= before + 20
    assert all(500 < code.size < 1 << 16 for code in taken)
    del functions, taken
    drop()
    assert len(machine().loaded) == before


def test_memory_of_programs_is_used_again() -> None:
    def many(start: int) -> None:
        functions = [make(n) for n in range(start, start + 40)]
        del functions
        drop()

    many(1000)
    before, loaded = resident(), len(machine().loaded)
    many(2000)
    many(3000)
    many(4000)
    many(5000)
    assert len(machine().loaded) == loaded
    # The code of 160 programs is ten megabytes where it stays. What else grows is tables, and the system's own heap.
    assert resident() - before < 5 << 20


def test_a_program_keeps_its_code_while_it_is_called() -> None:
    x = np.linspace(0.0, 1.0, 5)
    compiled = ft.jit(lambda x: np.sin(x) * 3.0, backend="llvm").lower(x).compile()
    gc.collect()
    np.testing.assert_allclose(compiled(x), np.sin(x) * 3.0, rtol=1e-14)
