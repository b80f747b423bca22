"""Newton's method inside a ``while_loop``, differentiated: Kepler's equation.

Where a planet stands at a time follows from Kepler's equation ``E - e sin(E) = M``, which has no solution in
closed form. Newton's method finds E in a number of steps that nobody knows before:

    ft.lax.while_loop(lambda E: abs(residual(E)) > tolerance, newton_step, M)

Reverse mode goes back through the steps that were taken, to any order, and ``vmap`` lets each planet take as
many as it needs. The derivatives are compared with those in closed form, ``dE/dM = 1 / (1 - e cos E)``, and with
``ft.solvers.root``, which differentiates the equation and not the steps. Then the gradient of a misfit finds an
orbit from observed directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from reporting import argument_parser, report_of

import functrans as ft

Array = npt.NDArray[Any]

TRUE = np.array([0.6, 1.3, 0.4])
"""The orbit to be found: eccentricity, mean motion, and mean anomaly at time 0."""


@dataclass(frozen=True)
class Result:
    """What ``main`` found.

    Attributes:
        difference: of first derivatives from the closed form.
        second_difference: of second derivatives.
        implicit_difference: between the derivatives of the loop and of the equation.
        steps: how many steps of Newton's method the anomalies take.
        orbit: found from noisy observations; ``misfits`` are those of the way there.
    """

    difference: float
    second_difference: float
    implicit_difference: float
    steps: tuple[int, int]
    orbit: Array
    misfits: list[float]


def anomaly(M: Any, e: Any) -> Any:
    """The eccentric anomaly E, by as many steps as it takes."""
    return steps_to(M, e)[0]


def steps_to(M: Any, e: Any) -> Any:
    """The eccentric anomaly, and how many steps led there."""

    def goes_on(carry: Any) -> Any:
        E, n = carry
        return (np.abs(E - e * np.sin(E) - M) > 1e-13) & (n < 50)

    def step(carry: Any) -> Any:
        E, n = carry
        return E - (E - e * np.sin(E) - M) / (1 - e * np.cos(E)), n + 1

    return ft.lax.while_loop(goes_on, step, (M + e * np.sign(np.sin(M)), 0))


def direction(orbit: Any, t: Any) -> Any:
    """Where the planet is seen from the focus of its orbit, as a unit vector."""
    e, motion, start = orbit
    E = anomaly(np.remainder(motion * t + start, 2 * np.pi), e)
    x, y = np.cos(E) - e, np.sqrt(1 - e**2) * np.sin(E)
    return np.stack([x, y]) / np.sqrt(x**2 + y**2)


def misfit(orbit: Any, times: Any, seen: Any) -> Any:
    return np.sum((ft.vmap(direction, (None, 0))(orbit, times) - seen) ** 2)


def main(argv: Sequence[str] | None = None) -> Result:
    report = report_of(argument_parser(__doc__).parse_args(argv))
    M = np.linspace(0.1, 6.1, 13 if report.quick else 61)
    e = 0.7
    E, steps = ft.vmap(steps_to, (0, None))(M, e)
    slope = ft.jit(ft.vmap(ft.grad(anomaly), (0, None)))(M, e)
    exact = 1 / (1 - e * np.cos(E))
    second = ft.vmap(ft.grad(ft.grad(anomaly)), (0, None))(M, e)
    exact_second = -e * np.sin(E) * exact**3

    def by_equation(M: Any, e: Any) -> Any:
        return ft.solvers.root(lambda E, M, e: E - e * np.sin(E) - M, M, M, e, tol=1e-13)

    loop, equation = (ft.vmap(ft.grad(f, 1), (0, None))(M, e) for f in (anomaly, by_equation))
    differences = [float(np.max(np.abs(a - b))) for a, b in ((slope, exact), (second, exact_second), (loop, equation))]

    times = np.linspace(0.0, 9.0, 20)
    random = np.random.RandomState(0)
    seen = ft.vmap(direction, (None, 0))(TRUE, times) + 1e-3 * random.normal(size=(20, 2))
    value_and_grad = ft.jit(ft.value_and_grad(misfit))
    curvature = ft.jit(ft.hessian(misfit))
    orbit, misfits = np.array([0.5, 1.28, 0.5]), []
    damping = 1.0
    for _ in range(25):
        value, gradient = value_and_grad(orbit, times, seen)
        misfits.append(float(value))
        # Levenberg's damping: more of it while steps fail.
        step = -np.linalg.solve(curvature(orbit, times, seen) + damping * np.eye(3), gradient)
        there = orbit + step
        if 0 < there[0] < 1 and misfit(there, times, seen) < value:
            orbit, damping = there, damping / 5
        else:
            damping *= 5
        if np.linalg.norm(gradient) < 1e-9:
            break
    report.heading("Kepler's equation by Newton's method, differentiated through the loop")
    report.say(
        f"{len(M)} anomalies took {steps.min()} to {steps.max()} steps",
        f"dE/dM and its closed form differ by {differences[0]:.1e}, second derivatives by {differences[1]:.1e}",
        f"dE/de through the loop and from the equation differ by {differences[2]:.1e}",
    )
    names = ("eccentricity", "mean motion", "start")
    report.table(
        ["", "true", "found"], [[n, f"{a:.4f}", f"{b:.4f}"] for n, a, b in zip(names, TRUE, orbit, strict=True)]
    )

    def fill(figure: Any) -> None:
        axes = figure.subplots()
        axes.plot(M, E, label="E")
        axes.plot(M, slope, label="dE/dM")
        axes.plot(M, second, label="d²E/dM²")
        axes.set(xlabel="mean anomaly M", title=f"Kepler's equation, e = {e}")
        axes.legend()

    report.plot("kepler", (6.0, 4.0), fill)
    return Result(*differences, (int(steps.min()), int(steps.max())), orbit, misfits)


if __name__ == "__main__":
    main()
