"""Runs native programs on memory with pages beside it that may not be touched: ``python guarded.py ends|starts``.

A read or a write outside of an operand, a result, a value in between or working memory ends the process, so that this
is a program of its own. ``ends`` puts memory right before such a page, ``starts`` right behind one.
"""

from __future__ import annotations

import ctypes
import faulthandler
import mmap
import sys
from typing import Any

import numpy as np

import functrans as ft
from functrans.backends.host import Frames
from functrans.backends.llvm import program
from functrans.backends.numpy import workers
from functrans.config import config
from functrans.core.primitive import load_all, registry
from tests.backends.test_llvm import enlarged
from tests.kernel.test_kernels import PROGRAMS

PAGE = mmap.PAGESIZE
_library = ctypes.CDLL(None, use_errno=True)
_library.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_kept: list[Any] = []


class Guards:
    """Arrays with a forbidden page at one end.

    Args:
        ends: whether it is behind their last byte, and not before their first.
    """

    def __init__(self, ends: bool) -> None:
        self.ends = ends
        self.made = 0

    def bytes(self, size: int, align: int) -> Any:
        """Memory for some bytes; where it ends at the page, their number is rounded to keep it aligned."""
        room = -(-size // align) * align
        pages = -(-room // PAGE) * PAGE
        mapped = mmap.mmap(-1, pages + 2 * PAGE)
        start = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
        for forbidden in (start, start + PAGE + pages):
            if _library.mprotect(forbidden, PAGE, 0):
                raise OSError(ctypes.get_errno(), "mprotect")
        _kept.append(mapped)  # Unmapped pages could be handed out again, to what is not guarded.
        self.made += 1
        at = PAGE + (pages - room if self.ends else 0)
        return np.frombuffer(mapped, np.uint8, pages + 2 * PAGE)[at : at + size]

    def empty(self, shape: Any, dtype: Any = float, align: int = 0) -> Any:
        dtype = np.dtype(dtype)
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        memory = self.bytes(size, align or dtype.itemsize)
        memory[...] = 255
        return np.ndarray(shape, dtype, memory)

    def like(self, value: Any) -> Any:
        if not isinstance(value, np.ndarray):
            return value
        array = self.empty(value.shape, value.dtype)
        array[...] = value
        return array

    def frames(self, frames: Frames) -> Any:
        """Arenas in which every value is guarded for itself."""

        class Apart:
            give = staticmethod(lambda frame: None)

            @staticmethod
            def take() -> tuple[Any, ...]:
                return tuple(
                    [self.empty(shape, dtype, 64 if dtype == np.uint8 else 0) for shape, dtype, _ in frames.specs]
                )

        return Apart


def guard(ends: bool) -> Guards:
    """Have all programs from now on run on guarded memory."""
    guards = Guards(ends)
    plain = program.LlvmSource.defined

    def defined(self: Any, names: dict[str, Any], scope: dict[str, Any]) -> None:
        plain(self, names, scope)
        for name, value in scope.items():
            if value is np.empty:
                scope[name] = guards.empty
            elif isinstance(value, Frames):
                scope[name] = guards.frames(value)

    program.LlvmSource.defined = defined  # type: ignore[method-assign]
    workers.workspace.take = lambda size: guards.bytes(size, 64)  # type: ignore[method-assign]
    workers.workspace.give = lambda buffer: None  # type: ignore[method-assign]
    return guards


def check(f: Any, args: tuple[Any, ...], guards: Guards) -> None:
    """The function on guarded copies of its arguments, by the program and not by what calls it without Python."""
    given = [guards.like(a) for a in args]
    found = ft.jit(f, backend="llvm").lower(*given).compile()(*given)
    for a, b in zip(ft.tree.leaves(found), ft.tree.leaves(f(*args)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4 if np.asarray(b).dtype.itemsize < 8 else 1e-9, atol=1e-7)


def sampled(prim: Any, params: Any) -> Any:
    return lambda *xs: prim.bind(*xs, **params)


def more() -> dict[str, tuple[Any, tuple[Any, ...]]]:
    """Programs of what the table of kernels has not: loops, products, indices, factorisations."""
    r = np.random.default_rng(0)
    x, v, at = r.standard_normal((13, 7)), r.standard_normal(7), r.integers(0, 13, 29)
    square = r.standard_normal((7, 7)) + 7.0 * np.eye(7)
    found = {
        "loop": (lambda x: ft.lax.fori_loop(0, 3, lambda i, c: np.sin(c) + x[0], x), (x,)),
        "scan": (lambda h, x: ft.lax.scan(lambda h, y: (np.tanh(h + y), h * y), h, x), (v, x)),
        "while": (lambda v: ft.lax.while_loop(lambda c: c.sum() < 90.0, lambda c: c * c + 1.0, v), (v,)),
        "branch": (lambda x: ft.lax.cond(x[0, 0] > 0, np.sin, np.cos, x), (x,)),
        "product": (lambda x, s: np.maximum(x @ s, 0.0), (x, square)),
        "transposed product": (lambda x: x.T @ x, (x,)),
        "taken": (lambda x, at: x[at] * 2.0, (x, at)),
        "added": (lambda x, at: ft.ops.segment_sum(x[at], at, num_segments=13), (x, at)),
        "slice": (lambda x: ft.lax.dynamic_slice(x, (np.int64(11), np.int64(3)), (2, 4)) + 1.0, (x,)),
        "sort": (lambda x: np.sort(x, 1) + 1.0, (x,)),
        "joined": (lambda x, v: np.concatenate([x, v[None], x[::-1]]) * 2.0, (x, v)),
        "padded": (lambda x: np.pad(x, ((1, 2), (3, 0))) * 2.0, (x,)),
        "solved": (lambda s, v: np.linalg.solve(s, v), (square, v)),
        "cholesky": (lambda s: np.linalg.cholesky(s @ s.T), (square,)),
        "gradient": (ft.grad(lambda x, s: np.sum(np.tanh(np.tanh(x @ s / 9.0) @ s / 9.0))), (x, square)),
        "mapped": (ft.vmap(lambda v, s: s @ v, (0, None)), (x, square)),
    }
    single = {f"{name} in float32": (f, tuple(_single(a) for a in args)) for name, (f, args) in found.items()}
    return found | {name: entry for name, entry in single.items() if "while" not in name}


def _single(x: Any) -> Any:
    return x.astype(np.float32) if x.dtype == np.float64 else x


def main(which: str) -> None:
    faulthandler.enable()
    config.native_cache = False
    config.diagnose_nan_gradients = False
    load_all()
    guards = guard(which == "ends")
    with np.errstate(all="ignore"):
        for name, (f, args, _) in PROGRAMS.items():
            for by in ((1, 1), (3, 5)):
                print(name, by, file=sys.stderr)
                check(f, tuple(enlarged(x, by) for x in args), guards)
        for name, (f, args) in more().items():
            print(name, file=sys.stderr)
            check(f, args, guards)
        for name, prim in sorted(registry.items()):
            if prim.samples is None or prim.multiple or not (prim.index or prim.monoid):
                continue
            for sample in prim.samples():
                print(name, sample, file=sys.stderr)
                check(sampled(prim, sample.params), tuple(sample.args), guards)
    print(f"{guards.made} arrays")


if __name__ == "__main__":
    main(*sys.argv[1:])
