"""Loops that are not compiled, beside the same loops written in Python over NumPy, and one in reverse mode."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from benchmarks.workload import Array, Call, Workload, standard_normal

# -- a recurrent network of 1000 steps --------------------------------------------------------------------------------


def network_by_functrans(ft: ModuleType, weights: Array, inputs: Array) -> Call:
    def step(h: Any, x: Any) -> tuple[Any, Any]:
        h = np.tanh(weights @ h + x)
        return h, h

    return lambda: ft.lax.scan(step, np.zeros(len(weights)), inputs)


def network_by_hand(numpy: ModuleType, weights: Array, inputs: Array) -> Call:
    def run() -> tuple[Array, Array]:
        h, rows = np.zeros(len(weights)), []
        for x in inputs:
            h = np.tanh(weights @ h + x)
            rows.append(h)
        return h, np.stack(rows)

    return run


# -- power iteration: a loop of unknown length -----------------------------------------------------------------------


def power_by_functrans(ft: ModuleType, matrix: Array) -> Call:
    def going(s: Any) -> Any:
        return s[1] > 1e-9

    def step(s: Any) -> Any:
        v = matrix @ s[0]
        v = v / np.sqrt(np.sum(v * v))
        return v, np.max(np.abs(v - s[0]))

    return lambda: ft.lax.while_loop(going, step, (np.ones(len(matrix)), 1.0))


def power_by_hand(numpy: ModuleType, matrix: Array) -> Call:
    def run() -> tuple[Array, Any]:
        v, change = np.ones(len(matrix)), 1.0
        while change > 1e-9:
            w = matrix @ v
            w = w / np.sqrt(np.sum(w * w))
            v, change = w, np.max(np.abs(w - v))
        return v, change

    return run


# -- numbers, and a gradient -------------------------------------------------------------------------------------------


def average_by_functrans(ft: ModuleType, xs: Array) -> Call:
    return lambda: ft.lax.scan(lambda c, x: (0.9 * c + x, c), 0.0, xs)


def average_by_hand(numpy: ModuleType, xs: Array) -> Call:
    def run() -> tuple[Any, Array]:
        c, rows = 0.0, []
        for x in xs:
            rows.append(c)
            c = 0.9 * c + x
        return c, np.array(rows)

    return run


def gradient_by_functrans(ft: ModuleType, weights: Array, inputs: Array) -> Call:
    def loss(w: Any) -> Any:
        return np.sum(ft.lax.scan(lambda h, x: (np.tanh(w @ h + x), None), np.zeros(len(weights)), inputs)[0])

    gradient = ft.grad(loss)
    return lambda: gradient(weights)


def gradient_by_hand(numpy: ModuleType, weights: Array, inputs: Array) -> Call:
    def run() -> Array:
        states = [np.zeros(len(weights))]
        for x in inputs:
            states.append(np.tanh(weights @ states[-1] + x))
        total, ct = np.zeros_like(weights), np.ones(len(weights))
        for i in range(len(inputs), 0, -1):
            ct = ct * (1.0 - states[i] * states[i])
            total += np.outer(ct, states[i - 1])
            ct = weights.T @ ct
        return total

    return run


def recurrent() -> tuple[Array, Array]:
    return standard_normal((10, 10)) * 0.2, standard_normal((1000, 10), seed=1)


def spectrum() -> tuple[Array]:
    basis = np.linalg.qr(standard_normal((40, 40)))[0]
    return ((basis * np.linspace(0.1, 1.0, 40) ** 4) @ basis.T,)


WORKLOADS = (
    Workload("eager_loop/scan_1000", recurrent, {"functrans": network_by_functrans, "numpy": network_by_hand}, 1e-12),
    Workload("eager_loop/while", spectrum, {"functrans": power_by_functrans, "numpy": power_by_hand}, 1e-9),
    Workload(
        "eager_loop/numbers_1000",
        lambda: (standard_normal((1000,)),),
        {"functrans": average_by_functrans, "numpy": average_by_hand},
        1e-12,
    ),
    Workload("eager_loop/grad_1000", recurrent, {"functrans": gradient_by_functrans, "numpy": gradient_by_hand}, 1e-11),
)
