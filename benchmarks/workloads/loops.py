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


# -- loops of a few steps, where the call itself is what costs --------------------------------------------------------


def three_steps_by_functrans(ft: ModuleType, b: Array) -> Call:
    return lambda: ft.lax.fori_loop(0, 3, lambda i, c: c * 0.5 + b, np.zeros(len(b)))


def three_steps_by_hand(numpy: ModuleType, b: Array) -> Call:
    def run() -> Array:
        c = np.zeros(len(b))
        for _ in range(3):
            c = c * 0.5 + b
        return c

    return run


def growth_by_functrans(ft: ModuleType) -> Call:
    return lambda: ft.lax.while_loop(lambda x: x < 1000.0, lambda x: x * 1.5, 1.0)


def growth_by_hand(numpy: ModuleType) -> Call:
    def run() -> float:
        x = 1.0
        while x < 1000.0:
            x = x * 1.5
        return x

    return run


def branch_by_functrans(ft: ModuleType, b: Array) -> Call:
    return lambda: ft.lax.cond(b[0] < 9.0, lambda x: x + 1.0, lambda x: x - 1.0, b)


def branch_by_hand(numpy: ModuleType, b: Array) -> Call:
    return lambda: b + 1.0 if b[0] < 9.0 else b - 1.0


# -- numbers of Python, and an array that is filled -------------------------------------------------------------------


def count_by_functrans(ft: ModuleType) -> Call:
    return lambda: ft.lax.fori_loop(0, 1000, lambda i, total: total + i, 0)


def count_by_hand(numpy: ModuleType) -> Call:
    def run() -> int:
        total = 0
        for i in range(1000):
            total = total + i
        return total

    return run


def fill_by_functrans(ft: ModuleType, empty: Array) -> Call:
    at = ft.numpy.at
    return lambda: ft.lax.fori_loop(0, len(empty), lambda i, a: at(a)[i].set(i * 2.0), empty)


def fill_by_hand(numpy: ModuleType, empty: Array) -> Call:
    def run() -> Array:
        a = empty.copy()
        for i in range(len(a)):
            a[i] = i * 2.0
        return a

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
    Workload(
        "eager_loop/numbers_10",
        lambda: (standard_normal((10,)),),
        {"functrans": average_by_functrans, "numpy": average_by_hand},
        1e-12,
    ),
    Workload(
        "eager_loop/three_steps",
        lambda: (standard_normal((3,)),),
        {"functrans": three_steps_by_functrans, "numpy": three_steps_by_hand},
        1e-12,
    ),
    Workload("eager_loop/while_number", lambda: (), {"functrans": growth_by_functrans, "numpy": growth_by_hand}, 1e-12),
    Workload(
        "eager_loop/branch",
        lambda: (standard_normal((3,)),),
        {"functrans": branch_by_functrans, "numpy": branch_by_hand},
        1e-12,
    ),
    Workload("eager_loop/count_1000", lambda: (), {"functrans": count_by_functrans, "numpy": count_by_hand}, 0.0),
    Workload(
        "eager_loop/fill_1e4",
        lambda: (np.zeros(10000),),
        {"functrans": fill_by_functrans, "numpy": fill_by_hand},
        0.0,
    ),
    Workload("eager_loop/grad_1000", recurrent, {"functrans": gradient_by_functrans, "numpy": gradient_by_hand}, 1e-11),
)
