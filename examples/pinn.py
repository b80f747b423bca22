"""A network that solves a differential equation by knowing it: nested gradients.

A physics-informed network (Raissi, Perdikaris and Karniadakis, 2019) is trained on no data but on an equation.
Here it is the heat equation ``u_t = k u_xx`` on a rod of which the ends are kept cold. The residual needs two
derivatives of the network in its inputs, the training a third in its parameters, and all of it a batch of points:

    u_t = ft.grad(u, 2)
    u_xx = ft.grad(ft.grad(u, 1), 1)
    residual = ft.vmap(lambda x, t: u_t(p, x, t) - k * u_xx(p, x, t))
    ft.value_and_grad(lambda p: np.mean(residual(...) ** 2))

The initial heat is ``sin(pi x)``, for which the solution is known. The second derivative is also taken by Taylor
mode, ``ft.jet``, and must be the same. SciPy's L-BFGS finds the parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from reporting import argument_parser, report_of, require

import functrans as ft
from functrans.flatten_util import ravel_pytree

Array = npt.NDArray[Any]

DIFFUSION = 0.2


@dataclass(frozen=True)
class Result:
    """What ``main`` found.

    Attributes:
        first, last: the loss before training and after.
        error: the largest difference from the solution in closed form.
        taylor_difference: between nested gradients and Taylor mode.
        path: the loss at each iteration.
    """

    first: float
    last: float
    error: float
    taylor_difference: float
    path: list[float]


def initial(size: int) -> list[dict[str, Array]]:
    random = np.random.RandomState(0)
    widths = (2, size, size, 1)
    return [
        {"w": random.normal(0.0, (2.0 / (m + n)) ** 0.5, (m, n)), "b": np.zeros(n)}
        for m, n in pairwise(widths)
    ]


def u(p: Any, x: Any, t: Any) -> Any:
    """The temperature: a network, with factors that make initial and boundary values right from the outset."""
    y = np.stack([2 * x - 1, 2 * t - 1])
    for layer in p[:-1]:
        y = np.tanh(y @ layer["w"] + layer["b"])
    y = (y @ p[-1]["w"] + p[-1]["b"])[0]
    return np.sin(np.pi * x) + t * x * (1 - x) * y


u_t = ft.grad(u, 2)
u_xx = ft.grad(ft.grad(u, 1), 1)


def residual(p: Any, x: Any, t: Any) -> Any:
    return u_t(p, x, t) - DIFFUSION * u_xx(p, x, t)


def loss(p: Any, xs: Any, ts: Any) -> Any:
    return np.mean(ft.vmap(residual, (None, 0, 0))(p, xs, ts) ** 2)


def exact(x: Any, t: Any) -> Any:
    return np.exp(-DIFFUSION * np.pi**2 * t) * np.sin(np.pi * x)


def main(argv: Sequence[str] | None = None) -> Result:
    report = report_of(argument_parser(__doc__).parse_args(argv))
    require("scipy", "to minimise")
    from scipy.optimize import minimize

    size, points, iterations = (10, 80, 60) if report.quick else (24, 500, 600)
    p = initial(size)
    random = np.random.RandomState(1)
    xs, ts = random.uniform(size=(2, points))

    def second(x: Any, t: Any) -> Any:
        return ft.jet(lambda x: u(p, x, t), (x,), ([1.0, 0.0],))[1][1]

    nested = ft.vmap(lambda x, t: u_xx(p, x, t))(xs[:20], ts[:20])
    taylor_difference = float(np.max(np.abs(ft.vmap(second)(xs[:20], ts[:20]) - nested)))

    flat, unravel = ravel_pytree(p)
    objective = ft.jit(ft.value_and_grad(lambda flat: loss(unravel(flat), xs, ts)))
    path = [float(objective(flat)[0])]
    found = minimize(
        objective,
        flat,
        jac=True,
        method="L-BFGS-B",
        callback=lambda x: path.append(float(objective(x)[0])),
        options={"maxiter": iterations},
    )
    p = unravel(found.x)
    grid = np.linspace(0.0, 1.0, 21)
    X, T = np.meshgrid(grid, grid)
    solution = ft.vmap(lambda x, t: u(p, x, t))(X.ravel(), T.ravel()).reshape(X.shape)
    error = float(np.max(np.abs(solution - exact(X, T))))
    report.heading(f"The heat equation by a network of 2 x {size} units, {points} points")
    marks = sorted({0, *range(0, len(path), max(1, len(path) // 5)), len(path) - 1})
    report.table(["iteration", "mean square residual"], [[m, f"{path[m]:.2e}"] for m in marks])
    report.say(
        f"largest error of the temperature: {error:.1e}",
        f"second derivatives by nested gradients and by Taylor mode differ by {taylor_difference:.1e}",
    )

    def fill(figure: Any) -> None:
        left, right = figure.subplots(1, 2)
        drawn = left.pcolormesh(X, T, solution, shading="gouraud")
        left.set(xlabel="x", ylabel="t", title="temperature")
        figure.colorbar(drawn, ax=left)
        right.semilogy(path)
        right.set(xlabel="iteration", ylabel="mean square residual")

    report.plot("pinn", (9.0, 3.8), fill)
    return Result(path[0], path[-1], error, taylor_difference, path)


if __name__ == "__main__":
    main()
