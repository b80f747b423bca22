"""What a cached call of a compiled function costs: small arrays, so that the call outweighs the work."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks.workload import Build, Call, Workload, standard_normal

Make = Callable[[Any], Callable[[Any], Any]]  # an array namespace to a function of one argument


def add_one(xp: Any) -> Callable[[Any], Any]:
    return lambda x: x + 1.0


def chain(xp: Any) -> Callable[[Any], Any]:
    """Ten operations, one after another."""

    def function(x: Any) -> Any:
        y = xp.sin(x * 2.0 + 1.0)
        z = xp.exp(-y * y)
        return (z - 0.5) / (y + 3.0) + x

    return function


def decay(xp: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda arrays: {name: array - 0.1 * array for name, array in arrays.items()}


def contenders(make: Make) -> dict[str, Build]:
    def by_functrans(ft: ModuleType, x: Any) -> Call:
        function = ft.jit(make(ft.numpy))
        return lambda: function(x)

    def by_numpy(np: ModuleType, x: Any) -> Call:
        function = make(np)
        return lambda: function(x)

    def by_jax(jax: ModuleType, x: Any) -> Call:
        function, on_device, block = jax.jit(make(jax.numpy)), jax.device_put(x), jax.block_until_ready
        return lambda: block(function(on_device))

    def by_jax_on_numpy(jax: ModuleType, x: Any) -> Call:
        function, tree_map = jax.jit(make(jax.numpy)), jax.tree.map
        return lambda: tree_map(np.asarray, function(x))

    def by_torch(torch: ModuleType, x: Any) -> Call:
        function, tensors = make(torch), torch.utils._pytree.tree_map(torch.from_numpy, x)
        return lambda: function(tensors)

    return {
        "functrans": by_functrans,
        "numpy": by_numpy,
        "jax": by_jax,
        "jax-np": by_jax_on_numpy,
        "torch": by_torch,
    }


def eight() -> tuple[Any]:
    return (standard_normal((8,)),)


def twenty_arrays() -> tuple[Any]:
    return ({f"array_{i}": standard_normal((8,), seed=i) for i in range(20)},)


WORKLOADS = (
    Workload("dispatch/add_one", eight, contenders(add_one), tolerance=1e-14),
    Workload("dispatch/chain_10", eight, contenders(chain), tolerance=1e-13),
    Workload("dispatch/dict_of_20", twenty_arrays, contenders(decay), tolerance=1e-14),
)
