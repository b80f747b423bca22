"""A Kalman filter by ``lax.scan``, and the gradient of its likelihood.

A body moves with a velocity that drifts; its position is measured with noise. The filter (Kalman, 1960)
goes through the measurements, predicts each one from those before, and so finds the probability of them all:
a function of the two noise levels. Its gradient, by reverse mode through the scan, leads to the levels that
make the measurements most likely:

    ft.jit(ft.value_and_grad(negative_log_likelihood))

The filter's likelihood is compared with the density of all measurements as one Gaussian vector, its gradient
with finite differences.
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

TRUE = np.log([0.05, 0.5])
"""The logarithms of the noise of the velocity's drift and of the measurements."""
MOTION = np.array([[1.0, 1.0], [0.0, 1.0]])
SEEN = np.array([1.0, 0.0])
START = np.diag([10.0, 1.0])


@dataclass(frozen=True)
class Result:
    """What ``main`` found.

    Attributes:
        likelihood_difference: between the filter's log-likelihood and that of one Gaussian vector.
        gradient_difference: between the gradient and finite differences, relative.
        estimate: the logarithms of the noise levels that make the measurements most likely.
        deviations: their standard deviations, from the Hessian.
        gradient_norm: at the estimate.
        errors: root mean square error of the positions as measured, filtered, at the estimate.
    """

    likelihood_difference: float
    gradient_difference: float
    estimate: Array
    deviations: Array
    gradient_norm: float
    errors: tuple[float, float]


def noise(levels: Any) -> tuple[Any, Any]:
    drift, measured = np.exp(2 * levels[0]), np.exp(2 * levels[1])
    return drift * np.array([[1 / 3, 1 / 2], [1 / 2, 1.0]]), measured


def filtered(levels: Any, measurements: Any) -> tuple[Any, Any]:
    """The log-likelihood of the measurements, and the position at each time given those up to it."""
    drift, measured = noise(levels)

    def step(carry: Any, z: Any) -> Any:
        mean, covariance, total = carry
        spread = SEEN @ covariance @ SEEN + measured
        surprise = z - SEEN @ mean
        total = total - 0.5 * (np.log(2 * np.pi * spread) + surprise**2 / spread)
        gain = covariance @ SEEN / spread
        mean = mean + gain * surprise
        position = mean[0]
        covariance = covariance - np.outer(gain, SEEN @ covariance)
        return (MOTION @ mean, MOTION @ covariance @ MOTION.T + drift, total), position

    (_, _, total), positions = ft.lax.scan(step, (np.zeros(2), START, 0.0), measurements)
    return total, positions


def negative_log_likelihood(levels: Any, measurements: Any) -> Any:
    return -filtered(levels, measurements)[0]


def dense_log_likelihood(levels: Array, measurements: Array) -> float:
    """The log-density of all measurements as one Gaussian vector, whose covariance is written out."""
    drift, measured = noise(levels)
    n = len(measurements)
    joint = np.zeros((n, n))
    covariance = START
    for i in range(n):
        across = covariance
        for j in range(i, n):
            joint[i, j] = joint[j, i] = SEEN @ across @ SEEN
            across = MOTION @ across
        covariance = MOTION @ covariance @ MOTION.T + drift
    joint += measured * np.eye(n)
    _, logdet = np.linalg.slogdet(2 * np.pi * joint)
    return float(-0.5 * (logdet + measurements @ np.linalg.solve(joint, measurements)))


def simulated(n: int) -> tuple[Array, Array]:
    random = np.random.RandomState(0)
    drift, measured = noise(TRUE)
    state, positions = np.array([0.0, 0.3]), []
    for _ in range(n):
        positions.append(state[0])
        state = MOTION @ state + random.multivariate_normal(np.zeros(2), drift)
    true = np.array(positions)
    return true, true + np.sqrt(measured) * random.normal(size=n)


def main(argv: Sequence[str] | None = None) -> Result:
    report = report_of(argument_parser(__doc__).parse_args(argv))
    n = 120 if report.quick else 500
    true, measurements = simulated(n)
    levels = np.array([-1.0, 0.0])
    first = measurements[:40]
    likelihood = float(filtered(levels, first)[0])
    difference = abs(likelihood - dense_log_likelihood(levels, first))
    value_and_grad = ft.jit(ft.value_and_grad(negative_log_likelihood))
    _, gradient = value_and_grad(levels, first)
    h = 1e-5
    numeric = [
        (dense_log_likelihood(levels - e, first) - dense_log_likelihood(levels + e, first)) / (2 * h)
        for e in h * np.eye(2)
    ]
    gradient_difference = float(np.max(np.abs(gradient - numeric)) / np.max(np.abs(gradient)))

    curvature = ft.jit(ft.hessian(negative_log_likelihood))
    rows = []
    for k in range(30):
        value, gradient = value_and_grad(levels, measurements)
        rows.append([k, f"{value:.6f}", f"{np.linalg.norm(gradient):.1e}", *(f"{np.exp(x):.4f}" for x in levels)])
        if np.linalg.norm(gradient) < 1e-8:
            break
        eigenvalues, vectors = np.linalg.eigh(curvature(levels, measurements))
        # Newton's step, made to go downhill where the likelihood is not yet convex, and no longer than 1.
        step = -vectors @ ((vectors.T @ gradient) / np.maximum(np.abs(eigenvalues), 1e-3))
        levels = levels + step / max(1.0, float(np.linalg.norm(step)))
    deviations = np.sqrt(np.diag(np.linalg.inv(curvature(levels, measurements))))
    positions = filtered(levels, measurements)[1]
    errors = tuple(float(np.sqrt(np.mean((x - true) ** 2))) for x in (measurements, positions))

    report.heading(f"Noise levels from {n} measurements, by Newton's method on the likelihood")
    report.table(["step", "-log likelihood", "|gradient|", "drift", "measurement"], rows)
    report.say(
        f"true levels: {np.exp(TRUE[0]):.4f} and {np.exp(TRUE[1]):.4f}",
        f"error of a position: measured {errors[0]:.3f}, filtered {errors[1]:.3f}",
        f"the filter's likelihood and the dense one differ by {difference:.1e}",
    )

    def fill(figure: Any) -> None:
        axes = figure.subplots()
        axes.plot(measurements, ".", color="0.7", label="measured")
        axes.plot(true, label="true")
        axes.plot(positions, label="filtered")
        axes.set(xlabel="time", ylabel="position")
        axes.legend()

    report.plot("kalman", (7.0, 4.0), fill)
    norm = float(np.linalg.norm(value_and_grad(levels, measurements)[1]))
    return Result(difference, gradient_difference, levels, deviations, norm, (errors[0], errors[1]))


if __name__ == "__main__":
    main()
