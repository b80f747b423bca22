"""A step of training: the loss, its gradient and an update, of logistic regression and of a perceptron."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks.models import (
    Params,
    mlp_by_hand,
    mlp_inputs,
    mlp_inputs_of_torch,
    mlp_loss,
    mlp_loss_of_autograd,
    mlp_loss_of_torch,
)
from benchmarks.workload import Array, Build, Call, Precision, Workload

RATE = 0.1
Step = Callable[[Any, Any, Any], tuple[Any, Any]]  # parameters and batch to the loss and the new parameters


def functional_step(value_and_grad: Callable[..., Any]) -> Step:
    def step(params: Params, x: Any, targets: Any) -> tuple[Any, Params]:
        value, gradient = value_and_grad(params, x, targets)
        updated = [
            {name: layer[name] - RATE * slope[name] for name in layer}
            for layer, slope in zip(params, gradient, strict=True)
        ]
        return value, updated

    return step


def repeated(step: Step, params: Any, x: Any, targets: Any) -> Call:
    """Each call goes on from the parameters that the one before left."""

    def call() -> tuple[Any, Any]:
        nonlocal params
        value, params = step(params, x, targets)
        return value, params

    return call


def by_functrans(ft: ModuleType, *inputs: Any) -> Call:
    loss = mlp_loss(ft.numpy, ft.nn.log_softmax)
    return repeated(ft.jit(functional_step(ft.value_and_grad(loss))), *inputs)


def by_numpy(numpy: ModuleType, params: Params, x: Array, targets: Array) -> Call:
    def step(params: Params, x: Array, targets: Array) -> tuple[Any, Params]:
        value, gradient = mlp_by_hand(params, x, targets)
        for layer, slope in zip(params, gradient, strict=True):
            for name in layer:
                layer[name] -= RATE * slope[name]
        return value, params

    own = [{name: array.copy() for name, array in layer.items()} for layer in params]
    return repeated(step, own, x, targets)


def by_autograd(autograd: ModuleType, *inputs: Any) -> Call:
    return repeated(functional_step(autograd.value_and_grad(mlp_loss_of_autograd(autograd))), *inputs)


def by_jax(jax: ModuleType, *inputs: Any) -> Call:
    loss = mlp_loss(jax.numpy, jax.nn.log_softmax)
    call = repeated(jax.jit(functional_step(jax.value_and_grad(loss))), *jax.device_put(inputs))
    return lambda: jax.block_until_ready(call())


def by_jax_on_numpy(jax: ModuleType, *inputs: Any) -> Call:
    loss = mlp_loss(jax.numpy, jax.nn.log_softmax)
    step = jax.jit(functional_step(jax.value_and_grad(loss)))
    return repeated(lambda *arguments: jax.tree.map(np.asarray, step(*arguments)), *inputs)


def by_torch(torch: ModuleType, *inputs: Any) -> Call:
    loss = mlp_loss_of_torch(torch)
    params, *batch = mlp_inputs_of_torch(torch, *inputs)
    leaves = [array.requires_grad_() for layer in params for array in layer.values()]

    def call() -> tuple[Any, Params]:
        value = loss(params, *batch)
        slopes = torch.autograd.grad(value, leaves)
        with torch.no_grad():
            for leaf, slope in zip(leaves, slopes, strict=True):
                leaf.sub_(slope, alpha=RATE)
        return value.detach(), [{name: array.detach() for name, array in layer.items()} for layer in params]

    return call


CONTENDERS: dict[str, Build] = {
    "functrans": by_functrans,
    "numpy": by_numpy,
    "autograd": by_autograd,
    "jax": by_jax,
    "jax-np": by_jax_on_numpy,
    "torch": by_torch,
}
MODELS = {"logistic_regression": (784, 10), "mlp": (784, 256, 128, 10)}
PRECISIONS: dict[Precision, float] = {"float64": 1e-11, "float32": 1e-4}

WORKLOADS = tuple(
    Workload(
        f"training/{model}_{precision}",
        partial(mlp_inputs, sizes, 100, precision),
        CONTENDERS,
        tolerance,
        precision,
    )
    for model, sizes in MODELS.items()
    for precision, tolerance in PRECISIONS.items()
)
