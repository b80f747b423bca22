"""The native backend beside NumPy's, JAX and PyTorch: here ``functrans`` is ``jit`` with ``backend="llvm"``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks import native_models as models
from benchmarks.models import mlp_inputs
from benchmarks.native_models import Make
from benchmarks.workload import Array, Build, Call, Precision, Workload, called, standard_normal
from benchmarks.workloads.compile import compile_by_jax, unfamiliar, unrolled


def by_functrans(make: Make, backend: str) -> Build:
    def build(ft: ModuleType, *inputs: Any) -> Call:
        function = ft.jit(make(ft), backend=backend)
        return lambda: function(*inputs)

    return build


def by_jax(make: Make) -> Build:
    def build(jax: ModuleType, *inputs: Any) -> Call:
        function, on_device, block = jax.jit(make(jax)), jax.device_put(inputs), jax.block_until_ready
        return lambda: block(function(*on_device))

    return build


def by_torch(make: Make) -> Build:
    def build(torch: ModuleType, *inputs: Any) -> Call:
        function = make(torch)
        tensors = torch.utils._pytree.tree_map(torch.from_numpy, inputs)
        return lambda: function(*tensors)

    return build


def native(
    name: str,
    inputs: Callable[[], tuple[Any, ...]],
    make: Make,
    make_for_torch: Make,
    tolerance: float = 1e-11,
    precision: Precision = "float64",
) -> Workload:
    contenders = {
        "functrans": by_functrans(make, "llvm"),
        "functrans-numpy": by_functrans(make, "numpy"),
        "jax": by_jax(make),
        "torch": by_torch(make_for_torch),
    }
    return Workload(f"native/{name}", inputs, contenders, tolerance, precision)


def in_both(
    name: str, inputs: Callable[[str], tuple[Any, ...]], make: Make, make_for_torch: Make, loose: float = 1e-4
) -> tuple[Workload, ...]:
    """In both precisions."""
    return (
        native(f"{name}_float32", partial(inputs, "float32"), make, make_for_torch, loose, "float32"),
        native(f"{name}_float64", partial(inputs, "float64"), make, make_for_torch),
    )


def of_shape(*shapes: tuple[int, ...]) -> Callable[[str], tuple[Any, ...]]:
    return lambda dtype: tuple(standard_normal(shape, dtype, seed=n) for n, shape in enumerate(shapes))


def twenty_arrays() -> tuple[Any]:
    return ({f"array_{i}": standard_normal((8,), seed=i) for i in range(20)},)


def looked_up(dtype: str) -> tuple[Array, Array, Array]:
    at = np.random.default_rng(0).integers(10_000, size=100_000)
    return standard_normal((10_000,), dtype), at, standard_normal((100_000,), dtype, seed=1)


def added_up(dtype: str) -> tuple[Array, Array]:
    return standard_normal((100_000,), dtype), np.random.default_rng(0).integers(1000, size=100_000)


# -- the first call -------------------------------------------------------------------------------------------------


def compiled(make: Make, backend: str) -> Build:
    def build(ft: ModuleType, *inputs: Any) -> Call:
        function = make(ft)

        def call() -> Callable[[], Any]:
            jitted = ft.jit(unfamiliar(function), backend=backend).lower(*inputs).compile()
            return lambda: jitted(*inputs)

        return call

    return build


def first_call(name: str, inputs: Callable[[], tuple[Any, ...]], make: Make, tolerance: float = 1e-9) -> Workload:
    """How long it takes until a program can run that no cache in the process knows."""
    contenders: dict[str, Build] = {
        "functrans": compiled(make, "llvm"),
        "functrans-numpy": compiled(make, "numpy"),
        "jax": lambda jax, *given: compile_by_jax(make(jax), jax, *given),
    }
    return Workload(f"native_first_call/{name}", inputs, contenders, tolerance, observe=called)


def unrolled_of(operations: int) -> Make:
    return lambda m: unrolled(m.numpy, operations)


def eight() -> tuple[Any]:
    return (standard_normal((8,)),)


SHAPES = ((64, 50), (128, 768), (1000, 1000))
ROWS = ("sum", "sum_0", "sum_1", "variance_1", "argmax_1", "cumsum_1", "softmax", "logsumexp", "layer_norm")

WORKLOADS = (
    native("dispatch_10", eight, models.ten, models.ten),
    native("dispatch_dict_of_20", twenty_arrays, models.decay, models.decay),
    *[
        w
        for n in (3, 4, 5, 6)
        for w in in_both(f"elementwise_1e{n}", of_shape(*[(10**n,)] * 3), models.gate, models.gate)
    ],
    *[
        w
        for name in ROWS
        for shape in SHAPES
        for w in in_both(f"{name}_{shape[0]}x{shape[1]}", of_shape(shape), *models.rows(name), loose=2e-4)
        # JAX's places are 32 bits wide where its 64-bit mode is off.
        if w.precision == "float64" or name != "argmax_1"
    ],
    *in_both("gather", looked_up, models.gather, models.gather),
    *in_both("scatter_add", added_up, models.segments, models.segments_by_torch),
    *[
        w
        for n in (8, 32, 64, 128, 256)
        for w in in_both(
            f"dense_{n}",
            of_shape((n, n), (n, n), (n,)),
            models.matmul_with_epilogue,
            models.matmul_with_epilogue_by_torch,
        )
    ],
    *[
        w
        for name, sizes in {"logistic": (784, 10), "perceptron": (784, 256, 128, 10)}.items()
        for w in in_both(
            f"training_{name}",
            partial(mlp_inputs, sizes, 100),
            models.training(models.perceptron),
            models.training_by_torch(models.perceptron_of_torch),
        )
    ],
    *in_both(
        "training_attention",
        models.attention_inputs,
        models.training(models.attention),
        models.training_by_torch(models.attention_of_torch),
    ),
    *in_both(
        "training_convolutions",
        models.convolution_inputs,
        models.training(models.convolutions),
        models.training_by_torch(models.convolutions_of_torch),
    ),
    *in_both("scan_recurrent", models.recurrent_inputs, models.recurrent, models.recurrent_by_torch, loose=1e-3),
    native(
        "scan_recurrent_gradient",
        partial(models.recurrent_inputs, "float64", 200),
        models.recurrent_gradient,
        models.recurrent_gradient_by_torch,
    ),
    native("scan_pendulum", partial(models.swings, ()), models.swinging(2000), models.swinging_by_torch(2000), 1e-9),
    native(
        "scan_64_pendulums",
        partial(models.swings, (64,)),
        models.swinging(500, mapped=True),
        models.swinging_by_torch(500),
        1e-9,
    ),
    native("scan_kalman", models.kalman_inputs, models.kalman, models.kalman_by_torch, 1e-9),
    *in_both(
        "per_example_gradients",
        partial(mlp_inputs, (32, 64, 10), 64),
        models.per_example,
        models.per_example_by_torch,
    ),
    native("bodies", models.bodies_inputs, models.bodies, models.bodies_by_torch, 1e-9),
    *[
        native(
            f"cholesky_{'x'.join(map(str, shape))}",
            partial(models.positive_definite, shape),
            models.cholesky,
            models.cholesky_by_torch,
        )
        for shape in ((8, 8), (64, 64), (256, 256), (100, 8, 8))
    ],
    *[
        native(
            f"hessian_rosenbrock_{n}",
            partial(lambda n: (standard_normal((n,)),), n),
            models.hessian_of_rosenbrock,
            models.hessian_of_rosenbrock_by_torch,
        )
        for n in (10, 100)
    ],
    native(
        "hessian_likelihood",
        models.likelihood_inputs,
        models.hessian_of_likelihood,
        models.hessian_of_likelihood_by_torch,
    ),
    first_call("ten", eight, models.ten),
    first_call("unrolled_100", eight, unrolled_of(100)),
    first_call("unrolled_1000", eight, unrolled_of(1000)),
    first_call("layers_30", partial(models.deep_inputs, 30), models.deep_gradient),
    first_call(
        "perceptron", partial(mlp_inputs, (784, 256, 128, 10), 100, "float64"), models.training(models.perceptron)
    ),
    first_call("attention", partial(models.attention_inputs, "float64"), models.training(models.attention)),
    first_call("pendulum", partial(models.swings, ()), models.swinging(2000)),
    first_call("kalman", models.kalman_inputs, models.kalman),
)
