"""What the native backend is judged by: each function written once over a module that has JAX's interface, and once for
PyTorch. A maker takes the module and returns the function of the workload's inputs.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.models import mlp_loss, rosenbrock
from benchmarks.workload import Array, standard_normal

Function = Callable[..., Any]
Make = Callable[[Any], Function]
RATE = 0.1

# -- elementwise and rows ------------------------------------------------------------------------------------------


def ten(m: Any) -> Function:
    xp = getattr(m, "numpy", m)

    def function(x: Any) -> Any:
        y = xp.sin(x * 2.0 + 1.0)
        z = xp.exp(-y * y)
        return (z - 0.5) / (y + 3.0) + x

    return function


def decay(m: Any) -> Function:
    return lambda arrays: {name: array - 0.1 * array for name, array in arrays.items()}


def gate(m: Any) -> Function:
    xp = getattr(m, "numpy", m)
    return lambda x, w, b: xp.tanh(x * w + b) / (1.0 + xp.exp(-x)) + xp.exp(-x * x)


def rows(name: str) -> tuple[Make, Make]:
    """A function of rows by its name: with the interface of NumPy, and with that of PyTorch."""

    def make(m: Any) -> Function:
        return lambda x: FUNCTIONS_OF_ROWS[name](m.numpy, x)

    def make_for_torch(torch: Any) -> Function:
        return {
            "sum": torch.sum,
            "sum_0": lambda x: torch.sum(x, 0),
            "sum_1": lambda x: torch.sum(x, 1),
            "variance_1": lambda x: torch.var(x, 1, correction=0),
            "argmax_1": lambda x: torch.argmax(x, 1),
            "cumsum_1": lambda x: torch.cumsum(x, 1),
            "softmax": lambda x: torch.softmax(x, 1),
            "logsumexp": lambda x: torch.logsumexp(x, 1),
            "layer_norm": lambda x: torch.nn.functional.layer_norm(x, x.shape[1:]),
        }[name]

    return make, make_for_torch


def _softmax(xp: Any, x: Any) -> Any:
    e = xp.exp(x - xp.max(x, axis=1, keepdims=True))
    return e / xp.sum(e, axis=1, keepdims=True)


def _logsumexp(xp: Any, x: Any) -> Any:
    largest = xp.max(x, axis=1, keepdims=True)
    return xp.log(xp.sum(xp.exp(x - largest), axis=1)) + largest[:, 0]


def _layer_norm(xp: Any, x: Any) -> Any:
    d = x - xp.mean(x, axis=1, keepdims=True)
    return d / xp.sqrt(xp.mean(d * d, axis=1, keepdims=True) + 1e-5)


FUNCTIONS_OF_ROWS: dict[str, Callable[[Any, Any], Any]] = {
    "sum": lambda xp, x: xp.sum(x),
    "sum_0": lambda xp, x: xp.sum(x, axis=0),
    "sum_1": lambda xp, x: xp.sum(x, axis=1),
    "variance_1": lambda xp, x: xp.var(x, axis=1),
    "argmax_1": lambda xp, x: xp.argmax(x, axis=1),
    "cumsum_1": lambda xp, x: xp.cumsum(x, axis=1),
    "softmax": _softmax,
    "logsumexp": _logsumexp,
    "layer_norm": _layer_norm,
}


def gather(m: Any) -> Function:
    return lambda table, at, weights: table[at] * weights


def segments(m: Any) -> Function:
    return lambda values, at: m.ops.segment_sum(values, at, num_segments=1000)


def segments_by_torch(torch: Any) -> Function:
    return lambda values, at: torch.zeros(1000, dtype=values.dtype).index_add_(0, at, values)


# -- steps of training ---------------------------------------------------------------------------------------------


def training(loss_of: Make) -> Make:
    """The loss, and the parameters after a step of gradient descent."""

    def make(m: Any) -> Function:
        value_and_grad = m.value_and_grad(loss_of(m))

        def step(params: Any, *batch: Any) -> Any:
            value, gradient = value_and_grad(params, *batch)
            return value, m.tree.map(lambda p, g: p - RATE * g, params, gradient)

        return step

    return make


def training_by_torch(loss_of: Make) -> Make:
    def make(torch: Any) -> Function:
        loss, tree = loss_of(torch), torch.utils._pytree

        def step(params: Any, *batch: Any) -> Any:
            leaves, structure = tree.tree_flatten(params)
            leaves = [leaf.detach().requires_grad_() for leaf in leaves]
            value = loss(tree.tree_unflatten(leaves, structure), *batch)
            slopes = torch.autograd.grad(value, leaves)
            with torch.no_grad():
                updated = [p - RATE * g for p, g in zip(leaves, slopes, strict=True)]
            return value.detach(), tree.tree_unflatten(updated, structure)

        return step

    return make


def perceptron(m: Any) -> Function:
    return mlp_loss(m.numpy, m.nn.log_softmax)


def perceptron_of_torch(torch: Any) -> Function:
    return mlp_loss(_Torch(torch), lambda x: torch.log_softmax(x, -1))


class _Torch:
    """The names of NumPy that the losses use, for tensors."""

    def __init__(self, torch: Any) -> None:
        self.tanh, self.sum, self.mean = torch.tanh, torch.sum, torch.mean


HEADS = 4


def attention(m: Any) -> Function:
    """Self-attention of some heads with a dense layer behind it, of sequences to sequences."""
    xp = m.numpy

    def loss(params: Any, x: Any, y: Any) -> Any:
        batch, length, width = x.shape

        def heads(w: Any) -> Any:
            return xp.transpose(xp.reshape(x @ w, (batch, length, HEADS, width // HEADS)), (0, 2, 1, 3))

        q, k, v = (heads(params[name]) for name in "qkv")
        scores = q @ xp.swapaxes(k, -1, -2) * (width // HEADS) ** -0.5
        mixed = xp.transpose(m.nn.softmax(scores, axis=-1) @ v, (0, 2, 1, 3))
        out = xp.tanh(xp.reshape(mixed, x.shape) @ params["o"]) + x
        return xp.mean((out - y) ** 2)

    return loss


def attention_of_torch(torch: Any) -> Function:
    def loss(params: Any, x: Any, y: Any) -> Any:
        batch, length, width = x.shape
        q, k, v = ((x @ params[n]).reshape(batch, length, HEADS, width // HEADS).transpose(1, 2) for n in "qkv")
        mixed = torch.nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        out = torch.tanh(mixed.reshape(x.shape) @ params["o"]) + x
        return torch.mean((out - y) ** 2)

    return loss


def attention_inputs(dtype: str, batch: int = 8, length: int = 32, width: int = 64) -> tuple[Any, Array, Array]:
    scale = np.asarray(width**-0.5, dtype)
    params = {name: standard_normal((width, width), dtype, seed=n) * scale for n, name in enumerate("qkvo")}
    return params, *(standard_normal((batch, length, width), dtype, seed=s) for s in (5, 6))


CHANNELS = ("NHWC", "HWIO", "NHWC")


def convolutions(m: Any) -> Function:
    """Two convolutions with steps of 2, and a dense layer, on small pictures."""
    xp = m.numpy

    def loss(params: Any, x: Any, targets: Any) -> Any:
        for name in ("first", "second"):
            x = m.lax.conv_general_dilated(x, params[name], (2, 2), "SAME", dimension_numbers=CHANNELS)
            x = xp.maximum(x, 0.0)
        logits = xp.reshape(x, (x.shape[0], -1)) @ params["dense"]
        return -xp.mean(xp.sum(targets * m.nn.log_softmax(logits), axis=-1))

    return loss


def convolutions_of_torch(torch: Any) -> Function:
    functional = torch.nn.functional

    def loss(params: Any, x: Any, targets: Any) -> Any:
        x = x.permute(0, 3, 1, 2)
        for name in ("first", "second"):
            # Half of the padding that an even length needs for a step of 2 lies behind the pictures alone.
            x = functional.conv2d(functional.pad(x, (0, 1, 0, 1)), params[name].permute(3, 2, 0, 1), stride=2)
            x = torch.relu(x)
        logits = x.permute(0, 2, 3, 1).reshape(x.shape[0], -1) @ params["dense"]
        return -torch.mean(torch.sum(targets * torch.log_softmax(logits, -1), -1))

    return loss


def convolution_inputs(dtype: str, batch: int = 32, size: int = 28) -> tuple[Any, Array, Array]:
    shapes = {"first": (3, 3, 1, 16), "second": (3, 3, 16, 32), "dense": (size // 4 * (size // 4) * 32, 10)}
    params = {
        name: standard_normal(shape, dtype, seed=n) * np.asarray(np.prod(shape[:-1]) ** -0.5, dtype)
        for n, (name, shape) in enumerate(shapes.items())
    }
    classes = np.random.default_rng(1).integers(10, size=batch)
    return params, standard_normal((batch, size, size, 1), dtype), np.eye(10, dtype=dtype)[classes]


# -- loops ---------------------------------------------------------------------------------------------------------


def recurrent(m: Any) -> Function:
    xp = m.numpy

    def run(weights: Any, h: Any, inputs: Any) -> Any:
        def step(h: Any, x: Any) -> Any:
            h = xp.tanh(weights @ h + x)
            return h, h

        return m.lax.scan(step, h, inputs)[1]

    return run


def recurrent_by_torch(torch: Any) -> Function:
    def run(weights: Any, h: Any, inputs: Any) -> Any:
        states = []
        for x in inputs:
            h = torch.tanh(weights @ h + x)
            states.append(h)
        return torch.stack(states)

    return run


def recurrent_inputs(dtype: str, steps: int = 1000, width: int = 32) -> tuple[Array, Array, Array]:
    weights = standard_normal((width, width), dtype) * np.asarray(0.5 * width**-0.5, dtype)
    return weights, np.zeros(width, dtype), standard_normal((steps, width), dtype, seed=1)


def recurrent_gradient(m: Any) -> Function:
    run = recurrent(m)
    return m.grad(lambda weights, h, inputs: m.numpy.mean(run(weights, h, inputs) ** 2))


def recurrent_gradient_by_torch(torch: Any) -> Function:
    run = recurrent_by_torch(torch)

    def gradient(weights: Any, h: Any, inputs: Any) -> Any:
        weights = weights.detach().requires_grad_()
        return torch.autograd.grad(torch.mean(run(weights, h, inputs) ** 2), weights)[0]

    return gradient


STEP = 0.01


def pendulum(sin: Callable[[Any], Any], angle: Any, speed: Any) -> tuple[Any, Any]:
    """One step of the classical Runge-Kutta method."""

    def slope(a: Any, s: Any) -> tuple[Any, Any]:
        return s, -9.81 * sin(a) - 0.1 * s

    a1, s1 = slope(angle, speed)
    a2, s2 = slope(angle + 0.5 * STEP * a1, speed + 0.5 * STEP * s1)
    a3, s3 = slope(angle + 0.5 * STEP * a2, speed + 0.5 * STEP * s2)
    a4, s4 = slope(angle + STEP * a3, speed + STEP * s3)
    sixth = STEP / 6.0
    return angle + sixth * (a1 + 2.0 * a2 + 2.0 * a3 + a4), speed + sixth * (s1 + 2.0 * s2 + 2.0 * s3 + s4)


def swinging(steps: int, mapped: bool = False) -> Make:
    def make(m: Any) -> Function:
        def run(angle: Any, speed: Any) -> Any:
            def step(_: Any, state: Any) -> Any:
                return pendulum(m.numpy.sin, *state)

            return m.lax.fori_loop(0, steps, step, (angle, speed))

        return m.vmap(run) if mapped else run

    return make


def swinging_by_torch(steps: int) -> Make:
    def make(torch: Any) -> Function:
        def run(angle: Any, speed: Any) -> Any:
            for _ in range(steps):
                angle, speed = pendulum(torch.sin, angle, speed)
            return angle, speed

        return run

    return make


def swings(shape: tuple[int, ...]) -> tuple[Array, Array]:
    return np.asarray(standard_normal(shape) * 0.5), np.asarray(standard_normal(shape, seed=1))


def _filtered(xp: Any, solve: Any, model: tuple[Any, ...], state: tuple[Any, Any], seen: Any) -> tuple[Any, Any]:
    """A step of Kalman's filter: the prediction corrected by what was seen."""
    a, c, q, r = model
    mean, covariance = state
    mean, covariance = a @ mean, a @ covariance @ a.T + q
    gain = solve(c @ covariance @ c.T + r, c @ covariance).T
    return mean + gain @ (seen - c @ mean), covariance - gain @ (c @ covariance)


def kalman(m: Any) -> Function:
    def run(a: Any, c: Any, q: Any, r: Any, mean: Any, covariance: Any, seen: Any) -> Any:
        def step(state: Any, z: Any) -> Any:
            state = _filtered(m.numpy, m.numpy.linalg.solve, (a, c, q, r), state, z)
            return state, state[0]

        return m.lax.scan(step, (mean, covariance), seen)

    return run


def kalman_by_torch(torch: Any) -> Function:
    def run(a: Any, c: Any, q: Any, r: Any, mean: Any, covariance: Any, seen: Any) -> Any:
        state, means = (mean, covariance), []
        for z in seen:
            state = _filtered(torch, torch.linalg.solve, (a, c, q, r), state, z)
            means.append(state[0])
        return state, torch.stack(means)

    return run


def kalman_inputs(steps: int = 200) -> tuple[Array, ...]:
    a = np.eye(4) + 0.1 * np.eye(4, k=2)
    return a, np.eye(2, 4), 0.01 * np.eye(4), 0.1 * np.eye(2), np.zeros(4), np.eye(4), standard_normal((steps, 2))


# -- functions of functions, bodies, factorisations ----------------------------------------------------------------


def per_example(m: Any) -> Function:
    loss = perceptron(m)
    one = m.grad(lambda params, x, target: loss(params, x[None], target[None]))
    return m.vmap(one, in_axes=(None, 0, 0))


def per_example_by_torch(torch: Any) -> Function:
    loss = perceptron_of_torch(torch)
    one = torch.func.grad(lambda params, x, target: loss(params, x[None], target[None]))
    return torch.func.vmap(one, in_dims=(None, 0, 0))


def hessian_of_rosenbrock(m: Any) -> Function:
    return m.hessian(rosenbrock(m.numpy))


def hessian_of_rosenbrock_by_torch(torch: Any) -> Function:
    return torch.func.hessian(rosenbrock(torch))


def hessian_of_likelihood(m: Any) -> Function:
    xp = m.numpy
    return m.hessian(lambda w, x, y: xp.mean(xp.logaddexp(0.0, -y * (x @ w))))


def hessian_of_likelihood_by_torch(torch: Any) -> Function:
    softplus = torch.nn.functional.softplus
    return torch.func.hessian(lambda w, x, y: torch.mean(softplus(-y * (x @ w))))


def likelihood_inputs() -> tuple[Array, Array, Array]:
    return standard_normal((5,)), standard_normal((200, 5), seed=1), np.sign(standard_normal((200,), seed=2))


def bodies(m: Any) -> Function:
    """Steps of the leapfrog method under softened gravity."""

    def run(positions: Any, speeds: Any, masses: Any) -> Any:
        def step(_: Any, state: Any) -> Any:
            x, v = state
            v = v + STEP * _pull(m.numpy.sum, x, masses)
            return x + STEP * v, v

        return m.lax.fori_loop(0, 10, step, (positions, speeds))

    return run


def bodies_by_torch(torch: Any) -> Function:
    def run(x: Any, v: Any, masses: Any) -> Any:
        for _ in range(10):
            v = v + STEP * _pull(torch.sum, x, masses)
            x = x + STEP * v
        return x, v

    return run


def _pull(add_up: Any, x: Any, masses: Any) -> Any:
    apart = x[None, :, :] - x[:, None, :]
    squared = add_up(apart * apart, -1) + 1e-2
    return add_up(apart * (masses * squared**-1.5)[:, :, None], 1)


def bodies_inputs(count: int = 128) -> tuple[Array, Array, Array]:
    masses = np.abs(standard_normal((count,), seed=2)) / count
    return standard_normal((count, 3)), standard_normal((count, 3), seed=1), masses


def cholesky(m: Any) -> Function:
    linalg = (m.numpy if hasattr(m, "numpy") else m).linalg
    return lambda a: linalg.cholesky(a)


def cholesky_by_torch(torch: Any) -> Function:
    return lambda a: torch.linalg.cholesky(a)


def positive_definite(shape: tuple[int, ...], dtype: str = "float64") -> tuple[Array]:
    a = standard_normal(shape, dtype)
    return (a @ np.swapaxes(a, -1, -2) + np.eye(shape[-1], dtype=dtype) * np.asarray(shape[-1], dtype),)


def matmul_with_epilogue(m: Any) -> Function:
    xp = m.numpy
    return lambda x, w, b: xp.maximum(x @ w + b, 0.0)


def matmul_with_epilogue_by_torch(torch: Any) -> Function:
    return lambda x, w, b: torch.relu(torch.addmm(b, x, w))


def deep_inputs(layers: int) -> tuple[Any, Array]:
    sizes = [16] * (layers + 1)
    weights = [standard_normal((a, b), seed=n) / 4.0 for n, (a, b) in enumerate(itertools.pairwise(sizes))]
    return weights, standard_normal((8, 16))


def deep_gradient(m: Any) -> Function:
    xp = m.numpy

    def loss(weights: Any, x: Any) -> Any:
        for w in weights:
            x = xp.tanh(x @ w)
        return xp.sum(x * x)

    return m.grad(loss)
