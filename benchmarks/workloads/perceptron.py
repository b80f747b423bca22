"""Gradients of a small perceptron: of a batch without compilation, and of each example by itself."""

from __future__ import annotations

from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks.models import (
    Params,
    log_softmax_of,
    mlp_by_hand,
    mlp_inputs,
    mlp_inputs_of_torch,
    mlp_loss,
    mlp_loss_of_autograd,
    mlp_loss_of_torch,
    mlp_per_example_by_hand,
)
from benchmarks.workload import Array, Build, Call, Workload

EACH_EXAMPLE = (None, 0, 0)


def batch_by_functrans(ft: ModuleType, *inputs: Any) -> Call:
    gradient = ft.value_and_grad(mlp_loss(ft.numpy, ft.nn.log_softmax))
    return lambda: gradient(*inputs)


def batch_by_functrans_on_numpy(ft: ModuleType, *inputs: Any) -> Call:
    gradient = ft.value_and_grad(mlp_loss(np, log_softmax_of(np)))
    return lambda: gradient(*inputs)


def batch_by_numpy(numpy: ModuleType, *inputs: Any) -> Call:
    return lambda: mlp_by_hand(*inputs)


def batch_by_autograd(autograd: ModuleType, *inputs: Any) -> Call:
    gradient = autograd.value_and_grad(mlp_loss_of_autograd(autograd))
    return lambda: gradient(*inputs)


def batch_by_jax(jax: ModuleType, *inputs: Any) -> Call:
    gradient = jax.value_and_grad(mlp_loss(jax.numpy, jax.nn.log_softmax))
    on_device = jax.device_put(inputs)
    return lambda: jax.block_until_ready(gradient(*on_device))


def batch_by_torch(torch: ModuleType, *inputs: Any) -> Call:
    loss = mlp_loss_of_torch(torch)
    params, *batch = mlp_inputs_of_torch(torch, *inputs)
    leaves = [array.requires_grad_() for layer in params for array in layer.values()]

    def call() -> tuple[Any, Params]:
        value = loss(params, *batch)
        slopes = iter(torch.autograd.grad(value, leaves))
        return value.detach(), [{name: next(slopes) for name in layer} for layer in params]

    return call


def each_by_functrans(ft: ModuleType, *inputs: Any) -> Call:
    gradient = ft.grad(mlp_loss(ft.numpy, ft.nn.log_softmax))
    each = ft.jit(ft.vmap(gradient, in_axes=EACH_EXAMPLE))
    return lambda: each(*inputs)


def each_by_numpy(numpy: ModuleType, *inputs: Any) -> Call:
    return lambda: mlp_per_example_by_hand(*inputs)


def each_by_autograd(autograd: ModuleType, params: Params, x: Array, targets: Array) -> Call:
    gradient = autograd.grad(mlp_loss_of_autograd(autograd))

    def call() -> Params:
        examples = [gradient(params, *example) for example in zip(x, targets, strict=True)]
        return [
            {name: np.stack([example[i][name] for example in examples]) for name in layer}
            for i, layer in enumerate(params)
        ]

    return call


def jax_gradient_of_each(jax: ModuleType) -> Any:
    return jax.jit(jax.vmap(jax.grad(mlp_loss(jax.numpy, jax.nn.log_softmax)), in_axes=EACH_EXAMPLE))


def each_by_jax(jax: ModuleType, *inputs: Any) -> Call:
    each, on_device = jax_gradient_of_each(jax), jax.device_put(inputs)
    return lambda: jax.block_until_ready(each(*on_device))


def each_by_jax_on_numpy(jax: ModuleType, *inputs: Any) -> Call:
    each = jax_gradient_of_each(jax)
    return lambda: jax.tree.map(np.asarray, each(*inputs))


def each_by_torch(torch: ModuleType, *inputs: Any) -> Call:
    each = torch.func.vmap(torch.func.grad(mlp_loss_of_torch(torch)), in_dims=EACH_EXAMPLE)
    tensors = mlp_inputs_of_torch(torch, *inputs)
    return lambda: each(*tensors)


OF_BATCH: dict[str, Build] = {
    "functrans": batch_by_functrans,
    "functrans-np": batch_by_functrans_on_numpy,
    "numpy": batch_by_numpy,
    "autograd": batch_by_autograd,
    "jax": batch_by_jax,
    "torch": batch_by_torch,
}
OF_EACH: dict[str, Build] = {
    "functrans": each_by_functrans,
    "numpy": each_by_numpy,
    "autograd": each_by_autograd,
    "jax": each_by_jax,
    "jax-np": each_by_jax_on_numpy,
    "torch": each_by_torch,
}
INPUTS = partial(mlp_inputs, (64, 32, 10), 100, "float64")

WORKLOADS = (
    Workload("eager_grad/mlp", INPUTS, OF_BATCH, tolerance=1e-11),
    Workload("per_example/mlp", INPUTS, OF_EACH, tolerance=1e-11),
)
