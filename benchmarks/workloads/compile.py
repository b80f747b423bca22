"""How long a program takes until it can run: tracing alone, and tracing with compiling, by its length."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from types import CodeType, FunctionType, ModuleType
from typing import Any, cast

from benchmarks.models import mlp_inputs, mlp_loss
from benchmarks.workload import Array, Call, Workload, called, standard_normal

LENGTHS = (500, 1000, 2000, 4000)
_serial_numbers = itertools.count()


def unfamiliar(function: Callable[..., Any]) -> Callable[..., Any]:
    """A copy of the function that no cache has seen, whether it looks at the object or at the code."""
    original = cast(FunctionType, function)
    name = f"{original.__name__}_{next(_serial_numbers)}"
    code: CodeType = original.__code__.replace(co_name=name)
    return FunctionType(code, original.__globals__, name, original.__defaults__, original.__closure__)


def unrolled(xp: Any, operations: int) -> Callable[[Any], Any]:
    """A loop of four operations a turn; it is drawn to a fixed point, so that rounding errors do not grow."""

    def function(x: Any) -> Any:
        for _ in range(operations // 4):
            x = x + 1.5 * xp.sin(x) - 0.5
        return x

    return function


def trace_by_functrans(operations: int, ft: ModuleType, x: Array) -> Call:
    function = unrolled(ft.numpy, operations)

    def call() -> Callable[[], Any]:
        lowered = ft.jit(unfamiliar(function)).lower(x)
        return lambda: lowered.compile()(x)

    return call


def trace_by_jax(operations: int, jax: ModuleType, x: Array) -> Call:
    function, on_device = unrolled(jax.numpy, operations), jax.device_put(x)

    def call() -> Callable[[], Any]:
        traced = jax.jit(unfamiliar(function)).trace(on_device)
        return lambda: traced.lower().compile()(on_device)

    return call


def compile_by_functrans(function: Callable[..., Any], ft: ModuleType, *inputs: Any) -> Call:
    def call() -> Callable[[], Any]:
        compiled = ft.jit(unfamiliar(function)).lower(*inputs).compile()
        return lambda: compiled(*inputs)

    return call


def compile_by_jax(function: Callable[..., Any], jax: ModuleType, *inputs: Any) -> Call:
    on_device = jax.device_put(inputs)

    def call() -> Callable[[], Any]:
        compiled = jax.jit(unfamiliar(function)).lower(*on_device).compile()
        return lambda: compiled(*on_device)

    return call


def eight() -> tuple[Any]:
    return (standard_normal((8,)),)


def tracing(operations: int) -> Workload:
    return Workload(
        f"trace/unrolled_{operations}",
        eight,
        {"functrans": partial(trace_by_functrans, operations), "jax": partial(trace_by_jax, operations)},
        tolerance=1e-12,
        operations=operations,
        observe=called,
    )


def compiling(operations: int) -> Workload:
    return Workload(
        f"compile/unrolled_{operations}",
        eight,
        {
            "functrans": lambda ft, x: compile_by_functrans(unrolled(ft.numpy, operations), ft, x),
            "jax": lambda jax, x: compile_by_jax(unrolled(jax.numpy, operations), jax, x),
        },
        tolerance=1e-12,
        operations=operations,
        observe=called,
    )


def compiling_deep_mlp(layers: int) -> Workload:
    return Workload(
        f"compile/mlp_of_{layers}_layers",
        partial(mlp_inputs, (64, *[32] * (layers - 1), 10), 100, "float64"),
        {
            "functrans": lambda ft, *inputs: compile_by_functrans(
                ft.value_and_grad(mlp_loss(ft.numpy, ft.nn.log_softmax)), ft, *inputs
            ),
            "jax": lambda jax, *inputs: compile_by_jax(
                jax.value_and_grad(mlp_loss(jax.numpy, jax.nn.log_softmax)), jax, *inputs
            ),
        },
        tolerance=1e-10,
        observe=called,
    )


WORKLOADS = (*map(tracing, LENGTHS), *map(compiling, LENGTHS), *map(compiling_deep_mlp, (10, 200)))
