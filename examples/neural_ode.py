"""A differential equation whose right hand side is a neural network.

A spiral is observed at a few times. A small network is to be the law behind it: ``dy/dt = network(y)``, solved
from the first observation on by ``ft.ode.odeint``. The loss compares the solution with the observations; its
gradient solves the adjoint equation backwards in time (Chen et al., Neural ordinary differential equations,
2018), so no step of the solver is kept:

    def loss(parameters):
        states = odeint(network, y0, times, parameters)
        return np.mean((states - observed) ** 2)

The gradient is compared with a finite difference, and the network's law with the true one away from the
observations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from reporting import argument_parser, report_of

import functrans as ft
from functrans.ode import odeint

Array = npt.NDArray[Any]
Parameters = dict[str, Any]

Y0 = np.array([2.0, 0.0])
LAW = np.array([[-0.1, 2.0], [-2.0, -0.1]])


@dataclass(frozen=True)
class Result:
    """What ``main`` found.

    Attributes:
        losses: the mean square error at each step.
        gradient_difference: between the adjoint gradient and a finite difference along a direction, relative.
        last: the largest distance between solution and observations at the end.
    """

    losses: list[float]
    gradient_difference: float
    last: float


def truth(y: Any, t: Any) -> Any:
    return (y**3) @ LAW.T


def network(y: Any, t: Any, p: Parameters) -> Any:
    hidden = np.tanh((y**3) @ p["w1"] + p["b1"])
    return hidden @ p["w2"] + p["b2"]


def initial(size: int) -> Parameters:
    random = np.random.RandomState(0)
    return {
        "w1": random.normal(0.0, 0.1, (2, size)),
        "b1": np.zeros(size),
        "w2": random.normal(0.0, 0.1, (size, 2)),
        "b2": np.zeros(2),
    }


def loss(p: Parameters, starts: Any, times: Any, observed: Any) -> Any:
    """The mean square error of short pieces of the path, all from where they were observed to begin."""
    states = ft.vmap(lambda y: odeint(network, y, times, p, rtol=1e-6, atol=1e-6))(starts)
    return np.mean((states - observed) ** 2)


@ft.jit
def adam(p: Parameters, moments: tuple[Any, Any], n: Any, *data: Any) -> tuple[Parameters, tuple[Any, Any], Any]:
    value, gradient = ft.value_and_grad(loss)(p, *data)
    first = ft.tree.map(lambda m, g: 0.9 * m + 0.1 * g, moments[0], gradient)
    second = ft.tree.map(lambda v, g: 0.99 * v + 0.01 * g**2, moments[1], gradient)

    def moved(x: Any, m: Any, v: Any) -> Any:
        return x - 0.01 * m / (1 - 0.9**n) / (np.sqrt(v / (1 - 0.99**n)) + 1e-8)

    return ft.tree.map(moved, p, first, second), (first, second), value


def main(argv: Sequence[str] | None = None) -> Result:
    report = report_of(argument_parser(__doc__).parse_args(argv))
    size, steps = (16, 60) if report.quick else (48, 400)
    grid = np.linspace(0.0, 5.0, 101)
    path = odeint(truth, Y0, grid)
    pieces = np.arange(0, 96, 12 if report.quick else 6)
    times = grid[:5]
    starts, observed = path[pieces], path[pieces[:, None] + np.arange(5)]
    data = starts, times, observed

    p = initial(size)
    gradient = ft.jit(ft.grad(loss))(p, *data)
    h = 1e-4
    there, back = (loss(p | {"w2": p["w2"] + s * h * gradient["w2"]}, *data) for s in (1, -1))
    slope = float(np.sum(gradient["w2"] ** 2))
    difference = abs(float(there - back) / (2 * h) - slope) / slope

    moments = ft.tree.map(np.zeros_like, p), ft.tree.map(np.zeros_like, p)
    losses: list[float] = []
    for n in report.progress(range(1, steps + 1), "training", steps):
        p, moments, value = adam(p, moments, float(n), *data)
        losses.append(float(value))
    found = ft.vmap(lambda y: odeint(network, y, times, p))(starts)
    last = float(np.max(np.abs(found - observed)))
    report.heading(f"A law of {size} hidden units for a spiral, from {len(pieces)} short observations")
    marks = [0, *range(steps // 5 - 1, steps, steps // 5)]
    report.table(["step", "loss"], [[m + 1, f"{losses[m]:.2e}"] for m in marks])
    report.say(f"adjoint gradient and finite difference: relative difference {difference:.1e}")

    def fill(figure: Any) -> None:
        axes = figure.subplots()
        axes.plot(*path.T, color="0.7", label="true path")
        for piece in found:
            axes.plot(*piece.T, color="#dc2626")
        axes.plot(*starts.T, ".", color="black", label="observed starts")
        axes.set_aspect("equal")
        axes.legend()

    report.plot("neural_ode", (5.0, 5.0), fill)
    return Result(losses, difference, last)


if __name__ == "__main__":
    main()
