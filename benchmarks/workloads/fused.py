"""What a compiler of kernels is for: elementwise chains and rows, of ten thousand to ten million numbers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

from benchmarks.workload import Array, Build, Call, Precision, Workload, standard_normal

Function = Callable[[Any], Any]
SIZES = (10**4, 10**5, 10**6, 10**7)
WIDTH = 1000


def chain(xp: Any) -> Function:
    """Seven operations that take no longer than moving their operands does."""

    def function(x: Any) -> Any:
        y = x * 2.0 + 1.0
        z = y * y - x
        return (z - 0.5) * (y + 3.0)

    return function


def sums_of_rows(xp: Any) -> Function:
    def function(x: Any) -> Any:
        y = (x - 0.5) * (x + 2.0)
        return xp.sum(y * y, axis=-1)

    return function


def softmax(xp: Any) -> Function:
    def function(x: Any) -> Any:
        e = xp.exp(x - xp.max(x, axis=-1, keepdims=True))
        return e / xp.sum(e, axis=-1, keepdims=True)

    return function


def layer_norm(xp: Any) -> Function:
    def function(x: Any) -> Any:
        d = x - xp.mean(x, axis=-1, keepdims=True)
        return d / xp.sqrt(xp.mean(d * d, axis=-1, keepdims=True) + 1e-5)

    return function


def chain_by_numexpr(numexpr: ModuleType, x: Array) -> Call:
    two, one, half, three = (x.dtype.type(c) for c in (2.0, 1.0, 0.5, 3.0))
    names = {"x": x, "one": one, "two": two, "half": half, "three": three}
    text = "((x * two + one) * (x * two + one) - x - half) * (x * two + one + three)"
    return lambda: numexpr.evaluate(text, names)


class Torch:
    """The names of NumPy that the functions use, for tensors."""

    def __init__(self, torch: ModuleType) -> None:
        self.exp, self.sqrt = torch.exp, torch.sqrt
        self.max, self.sum, self.mean = torch.amax, torch.sum, torch.mean


def contenders(make: Callable[[Any], Function], **others: Build) -> dict[str, Build]:
    def by_functrans(ft: ModuleType, x: Array) -> Call:
        function = ft.jit(make(ft.numpy))
        return lambda: function(x)

    def by_numpy(numpy: ModuleType, x: Array) -> Call:
        function = make(numpy)
        return lambda: function(x)

    def by_jax(jax: ModuleType, x: Array) -> Call:
        function, on_device, block = jax.jit(make(jax.numpy)), jax.device_put(x), jax.block_until_ready
        return lambda: block(function(on_device))

    def by_torch(torch: ModuleType, x: Array) -> Call:
        function, tensor = make(Torch(torch)), torch.from_numpy(x)
        return lambda: function(tensor)

    return {"functrans": by_functrans, "numpy": by_numpy, "jax": by_jax, "torch": by_torch, **others}


def numbers(size: int, rows: bool, dtype: str) -> tuple[Any]:
    return (standard_normal((size // WIDTH, WIDTH) if rows else (size,), dtype),)


FUNCTIONS: dict[str, tuple[bool, dict[str, Build]]] = {
    "chain": (False, contenders(chain, numexpr=chain_by_numexpr)),
    "sums_of_rows": (True, contenders(sums_of_rows)),
    "softmax": (True, contenders(softmax)),
    "layer_norm": (True, contenders(layer_norm)),
}
PRECISIONS: dict[Precision, float] = {"float64": 1e-12, "float32": 1e-4}

FUSED = tuple(
    Workload(
        f"fused/{name}_1e{len(str(size)) - 1}_{precision}",
        partial(numbers, size, rows, precision),
        builds,
        tolerance,
        precision,
    )
    for name, (rows, builds) in FUNCTIONS.items()
    for precision, tolerance in PRECISIONS.items()
    for size in SIZES
)


# -- small and middling arrays: nothing is to be slower than by hand ---------------------------------------------------


def logsumexp(xp: Any) -> Function:
    def function(x: Any) -> Any:
        largest = xp.max(x, axis=-1, keepdims=True)
        return xp.log(xp.sum(xp.exp(x - largest), axis=-1)) + largest[..., 0]

    return function


def cross_entropy(xp: Any) -> Function:
    """Of the first class."""

    def function(x: Any) -> Any:
        shifted = x - xp.max(x, axis=-1, keepdims=True)
        return -xp.mean((shifted - xp.log(xp.sum(xp.exp(shifted), axis=-1, keepdims=True)))[..., 0])

    return function


SMALL_FUNCTIONS = {"softmax": softmax, "layer_norm": layer_norm, "logsumexp": logsumexp, "entropy": cross_entropy}


def matrix(shape: tuple[int, ...]) -> tuple[Any]:
    return (standard_normal(shape),)


SMALL = tuple(
    Workload(
        f"rows/{name}_{'x'.join(map(str, shape))}",
        partial(matrix, shape),
        {k: build for k, build in contenders(make).items() if k in ("functrans", "numpy", "jax")},
        1e-12,
    )
    for name, make in SMALL_FUNCTIONS.items()
    for shape in ((10,), (10, 10), (10, 1000), (100, 1000), (1000, 1000))
)


WORKLOADS = (*FUSED, *SMALL)
