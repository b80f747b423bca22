"""Rosenbrock's function: its gradient without compilation, its Hessian with."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks.models import rosenbrock, rosenbrock_gradient_by_hand, rosenbrock_hessian_by_hand
from benchmarks.workload import Array, Build, Call, Workload


def gradient_by_functrans(ft: ModuleType, x: Array) -> Call:
    gradient = ft.grad(rosenbrock(ft.numpy))
    return lambda: gradient(x)


def gradient_by_functrans_on_numpy(ft: ModuleType, x: Array) -> Call:
    gradient = ft.grad(rosenbrock(np))
    return lambda: gradient(x)


def gradient_by_autograd(autograd: ModuleType, x: Array) -> Call:
    gradient = autograd.grad(rosenbrock(autograd.numpy))
    return lambda: gradient(x)


def gradient_by_jax(jax: ModuleType, x: Array) -> Call:
    gradient, on_device = jax.grad(rosenbrock(jax.numpy)), jax.device_put(x)
    return lambda: gradient(on_device).block_until_ready()


def gradient_by_torch(torch: ModuleType, x: Array) -> Call:
    function, tensor = rosenbrock(torch), torch.from_numpy(x).requires_grad_()
    return lambda: torch.autograd.grad(function(tensor), tensor)[0]


def hessian_by_functrans(ft: ModuleType, x: Array) -> Call:
    hessian = ft.jit(ft.hessian(rosenbrock(ft.numpy)))
    return lambda: hessian(x)


def hessian_by_autograd(autograd: ModuleType, x: Array) -> Call:
    hessian = autograd.hessian(rosenbrock(autograd.numpy))
    return lambda: hessian(x)


def hessian_by_jax(jax: ModuleType, x: Array) -> Call:
    hessian, on_device = jax.jit(jax.hessian(rosenbrock(jax.numpy))), jax.device_put(x)
    return lambda: hessian(on_device).block_until_ready()


def hessian_by_jax_on_numpy(jax: ModuleType, x: Array) -> Call:
    hessian = jax.jit(jax.hessian(rosenbrock(jax.numpy)))
    return lambda: np.asarray(hessian(x))


def hessian_by_torch(torch: ModuleType, x: Array) -> Call:
    hessian, tensor = torch.func.hessian(rosenbrock(torch)), torch.from_numpy(x)
    return lambda: hessian(tensor)


def by_hand(function: Callable[[Array], Array]) -> Build:
    def build(numpy: ModuleType, x: Array) -> Call:
        return lambda: function(x)

    return build


def points(n: int) -> tuple[Any]:
    return (np.linspace(-1.0, 1.5, n),)


GRADIENTS: dict[str, Build] = {
    "functrans": gradient_by_functrans,
    "functrans-np": gradient_by_functrans_on_numpy,
    "numpy": by_hand(rosenbrock_gradient_by_hand),
    "autograd": gradient_by_autograd,
    "jax": gradient_by_jax,
    "torch": gradient_by_torch,
}
HESSIANS: dict[str, Build] = {
    "functrans": hessian_by_functrans,
    "numpy": by_hand(rosenbrock_hessian_by_hand),
    "autograd": hessian_by_autograd,
    "jax": hessian_by_jax,
    "jax-np": hessian_by_jax_on_numpy,
    "torch": hessian_by_torch,
}

WORKLOADS = (
    Workload("eager_grad/rosenbrock_10", partial(points, 10), GRADIENTS, tolerance=1e-12),
    Workload("eager_grad/rosenbrock_1000", partial(points, 1000), GRADIENTS, tolerance=1e-12),
    Workload("hessian/rosenbrock_10", partial(points, 10), HESSIANS, tolerance=1e-12),
)
