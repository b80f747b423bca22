"""What functions of ``functrans.numpy`` cost beside NumPy's own where nothing is being transformed."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks.workload import Build, Call, Workload, standard_normal

Function = Callable[[Any, Any], Any]

# One of each kind: universal functions, reductions, functions of shapes, of order and of products.
FUNCTIONS: tuple[Function, ...] = (
    lambda xp, x: xp.add(x, x),
    lambda xp, x: xp.sin(x),
    lambda xp, x: xp.maximum(x, 0.0),
    lambda xp, x: xp.sum(x),
    lambda xp, x: xp.mean(x, axis=-1),
    lambda xp, x: xp.max(x, axis=0, keepdims=True),
    lambda xp, x: xp.cumsum(x, axis=-1),
    lambda xp, x: xp.where(x > 0.0, x, -x),
    lambda xp, x: xp.clip(x, -1.0, 1.0),
    lambda xp, x: xp.reshape(x, (-1,)),
    lambda xp, x: xp.concatenate([x, x]),
    lambda xp, x: xp.stack([x, x], axis=-1),
    lambda xp, x: xp.sort(x, axis=-1),
    lambda xp, x: xp.repeat(x, 2),
    lambda xp, x: xp.nonzero(x > 2.0)[0],
    lambda xp, x: xp.unique_values(xp.sign(x)),
    lambda xp, x: xp.dot(x, x.T),
    lambda xp, x: xp.linalg.norm(x),
    lambda xp, x: xp.zeros_like(x),
    lambda xp, x: xp.isclose(x, x),
)


def all_of_them(xp: Any, x: Any) -> Call:
    return lambda: [f(xp, x) for f in FUNCTIONS]


def by_functrans(ft: ModuleType, x: Any) -> Call:
    return all_of_them(ft.numpy, x)


CONTENDERS: dict[str, Build] = {"functrans": by_functrans, "numpy": all_of_them}


def small() -> tuple[Any]:
    return (standard_normal((2, 4)),)


def large() -> tuple[Any]:
    return (standard_normal((50, 20_000)),)


def number(results: list[Any]) -> Any:
    """One number for each result: the arrays themselves are NumPy's own."""
    return np.array([float(np.sum(r)) for r in results])


WORKLOADS = (
    Workload("eager_numpy/small_20", small, CONTENDERS, tolerance=1e-14, observe=number),
    Workload("eager_numpy/large_20", large, CONTENDERS, tolerance=1e-14, observe=number),
)
