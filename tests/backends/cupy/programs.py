"""The programs whose kernels are tried: every primitive's samples, and hand-written ones of every shape of schedule."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import functrans as ft
from functrans.core.primitive import load_all, registry
from tests.backends.cupy.host import Case
from tests.kernel.test_kernels import PROGRAMS, cross_entropy, layer_norm, softmax

FLOATS = (np.float16, np.float32, np.float64)


def samples() -> Iterator[Case]:
    """Every primitive with one result on its own samples."""
    load_all()
    for name, prim in sorted(registry.items()):
        if prim.samples is None or prim.multiple or not (prim.index or prim.monoid or prim.scalar or prim.name in LIKE):
            continue
        for n, sample in enumerate(prim.samples()):

            def f(*xs: Any, prim: Any = prim, params: Any = sample.params) -> Any:
                return prim.bind(*xs, **params)

            if all(isinstance(a, (np.ndarray, np.generic)) for a in sample.args):
                yield Case(f"{name}-{n}", f, sample.args)


LIKE = ("select", "convert")


def written() -> Iterator[Case]:
    """Programs of the kernels' own tests, small and large."""
    for name, (f, args, _) in PROGRAMS.items():
        for rows, columns in ((1, 1), (11, 7), (30, 40)):
            yield Case(f"{name}-{rows}x{columns}", f, tuple(_tiled(a, rows, columns) for a in args))


def _tiled(x: Any, rows: int, columns: int) -> Any:
    return np.tile(x, (rows, columns) if x.ndim == 2 else columns)


def shapes() -> Iterator[Case]:
    """Each kind of schedule over extents around its limits, in each width of elements."""
    rng = np.random.default_rng(0)
    rows: list[Callable[..., Any]] = [softmax, cross_entropy, lambda x: np.sum(x, 1), lambda x: np.max(x, 1)]
    for dtype in FLOATS:
        for shape in ((1, 3), (9, 32), (5, 33), (3, 1024), (2, 1500), (2, 4096), (1, 20000)):
            x = rng.standard_normal(shape).astype(dtype)
            for n, f in enumerate(rows):
                yield Case(f"row {n} {shape} {dtype.__name__}", f, (x,))
        for shape in ((3, 5), (100, 32), (33, 40), (4, 100), (9000, 3), (20000, 2)):
            x = rng.standard_normal(shape).astype(dtype)
            exact = np.sum((x * x).astype(np.float64), 0).astype(dtype)  # NumPy adds up columns one by one
            yield Case(f"column sum {shape} {dtype.__name__}", lambda x: np.sum(x * x, 0), (x,), exact)
            yield Case(f"column max {shape} {dtype.__name__}", lambda x: np.max(x, 0) * 2, (x,))
            yield Case(f"column argmax {shape} {dtype.__name__}", lambda x: np.argmax(x, 0), (x,))
        for shape in ((16, 16), (32, 64), (33, 65), (3, 40, 50)):
            x = rng.standard_normal(shape).astype(dtype)
            yield Case(f"transposed {shape} {dtype.__name__}", lambda x: np.swapaxes(x, -1, -2) * 2 + 1, (x,))
        x = rng.standard_normal(10_000).astype(dtype)
        for f_name, f in {"sum": np.sum, "max": np.max, "argmin": np.argmin, "any": lambda x: (x > 3).any()}.items():
            yield Case(f"all {f_name} {dtype.__name__}", lambda x, f=f: f(np.abs(x)), (x,))
        yield Case(f"layer norm {dtype.__name__}", layer_norm, (x.reshape(10, 1000), x[:1000], x[:1000]))
    z = rng.standard_normal((40, 50)) + 1j * rng.standard_normal((40, 50))
    for dtype in (np.complex64, np.complex128):
        yield Case(
            f"complex {dtype.__name__}", lambda z: (np.sum(z * z, 1), np.conj(z).T / (z.T + 2)), (z.astype(dtype),)
        )
    for dtype in (np.int8, np.uint16, np.int32, np.uint64):
        x = rng.integers(0, 100, (30, 70)).astype(dtype)
        yield Case(f"integers {dtype.__name__}", lambda x: (np.sum(x, 0), np.prod(x[:, :2], 1), x // 7 % 5), (x,))
    yield Case(
        "gradient of layer norm", ft.grad(lambda x, g, b: np.sum(np.sin(layer_norm(x, g, b)))), _normal_args(rng)
    )


def _normal_args(rng: np.random.Generator) -> tuple[Any, ...]:
    return rng.standard_normal((20, 70)), rng.standard_normal(70), rng.standard_normal(70)


def everything() -> list[Case]:
    return [*written(), *shapes(), *samples()]
