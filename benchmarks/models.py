"""The models that several families time: Rosenbrock's function, and a multilayer perceptron with its loss.

Each is written once over an array namespace, for the libraries that have NumPy's interface, and once by hand.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks.workload import Array, standard_normal

Params = list[dict[str, Any]]


def rosenbrock(xp: Any) -> Callable[[Any], Any]:
    def function(x: Any) -> Any:
        return xp.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)

    return function


def rosenbrock_gradient_by_hand(x: Array) -> Array:
    head = x[:-1]
    residual = x[1:] - head * head
    gradient = np.zeros_like(x)
    gradient[:-1] = -400.0 * head * residual - 2.0 * (1.0 - head)
    gradient[1:] += 200.0 * residual
    return gradient


def rosenbrock_hessian_by_hand(x: Array) -> Array:
    n = len(x)
    head = x[:-1]
    hessian = np.zeros((n, n))
    diagonal = hessian.reshape(-1)[:: n + 1]
    diagonal[:-1] = 1200.0 * head * head - 400.0 * x[1:] + 2.0
    diagonal[1:] += 200.0
    hessian.reshape(-1)[1 :: n + 1] = hessian.reshape(-1)[n :: n + 1] = -400.0 * head
    return hessian


def mlp_inputs(sizes: tuple[int, ...], batch: int, dtype: str) -> tuple[Params, Array, Array]:
    """Parameters, a batch of inputs, and its classes as rows of 0 and 1."""
    params = [
        {"b": np.zeros(n, dtype), "w": standard_normal((m, n), dtype, seed=n) / np.asarray(np.sqrt(m), dtype)}
        for m, n in itertools.pairwise(sizes)
    ]
    classes = np.random.default_rng(1).integers(sizes[-1], size=batch)
    return params, standard_normal((batch, sizes[0]), dtype), np.eye(sizes[-1], dtype=dtype)[classes]


def mlp_loss(xp: Any, log_softmax: Callable[[Any], Any]) -> Callable[[Params, Any, Any], Any]:
    """Mean cross-entropy of a perceptron with tanh; with a single layer, multinomial logistic regression."""

    def loss(params: Params, x: Any, targets: Any) -> Any:
        for layer in params[:-1]:
            x = xp.tanh(x @ layer["w"] + layer["b"])
        logits = x @ params[-1]["w"] + params[-1]["b"]
        return -xp.mean(xp.sum(targets * log_softmax(logits), axis=-1))

    return loss


def log_softmax_of(xp: Any) -> Callable[[Any], Any]:
    """For the namespaces that have none."""

    def log_softmax(logits: Any) -> Any:
        shifted = logits - xp.max(logits, axis=-1, keepdims=True)
        return shifted - xp.log(xp.sum(xp.exp(shifted), axis=-1, keepdims=True))

    return log_softmax


def mlp_loss_of_autograd(autograd: ModuleType) -> Callable[[Params, Any, Any], Any]:
    logsumexp = autograd.scipy.special.logsumexp
    return mlp_loss(autograd.numpy, lambda logits: logits - logsumexp(logits, axis=-1, keepdims=True))


def mlp_loss_of_torch(torch: ModuleType) -> Callable[[Params, Any, Any], Any]:
    """Takes the numbers of the classes, as PyTorch's own cross-entropy does, in place of rows of 0 and 1."""
    cross_entropy = torch.nn.functional.cross_entropy

    def loss(params: Params, x: Any, classes: Any) -> Any:
        for layer in params[:-1]:
            x = torch.tanh(x @ layer["w"] + layer["b"])
        return cross_entropy(x @ params[-1]["w"] + params[-1]["b"], classes)

    return loss


def mlp_inputs_of_torch(torch: ModuleType, params: Params, x: Array, targets: Array) -> tuple[Params, Any, Any]:
    """The parameters copied (a step of training writes into them), the batch, the numbers of its classes."""
    tensors = [{name: torch.tensor(array) for name, array in layer.items()} for layer in params]
    return tensors, torch.from_numpy(x), torch.from_numpy(targets.argmax(axis=1))


def mlp_by_hand(params: Params, x: Array, targets: Array) -> tuple[Any, Params]:
    """The loss and its gradient."""
    activations = _activations(params, x)
    loss, delta = _cross_entropy(activations[-1] @ params[-1]["w"] + params[-1]["b"], targets)
    delta /= len(x)
    gradient: Params = []
    for layer, activation in zip(reversed(params), reversed(activations), strict=True):
        gradient.append({"b": delta.sum(axis=0), "w": activation.T @ delta})
        if layer is not params[0]:
            delta = (delta @ layer["w"].T) * (1.0 - activation * activation)
    return loss, gradient[::-1]


def mlp_per_example_by_hand(params: Params, x: Array, targets: Array) -> Params:
    """The gradients of the single examples' losses, stacked."""
    activations = _activations(params, x)
    _, delta = _cross_entropy(activations[-1] @ params[-1]["w"] + params[-1]["b"], targets)
    gradient: Params = []
    for layer, activation in zip(reversed(params), reversed(activations), strict=True):
        gradient.append({"b": delta, "w": activation[:, :, None] * delta[:, None, :]})
        if layer is not params[0]:
            delta = (delta @ layer["w"].T) * (1.0 - activation * activation)
    return gradient[::-1]


def _activations(params: Params, x: Array) -> list[Array]:
    activations = [x]
    for layer in params[:-1]:
        activations.append(np.tanh(activations[-1] @ layer["w"] + layer["b"]))
    return activations


def _cross_entropy(logits: Array, targets: Array) -> tuple[Any, Array]:
    logits -= logits.max(axis=1, keepdims=True)
    exponentials = np.exp(logits)
    totals = exponentials.sum(axis=1, keepdims=True)
    loss = -np.mean(np.sum(targets * (logits - np.log(totals)), axis=1))
    return loss, exponentials / totals - targets
