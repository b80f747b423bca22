"""Hamiltonian Monte Carlo: samples from a posterior, led by its gradient.

A sampler that walks at random gets nowhere in many dimensions. Hamiltonian Monte Carlo (Duane et al., 1987;
Neal, 2011) gives the point a momentum and lets it move by the laws of mechanics, the logarithm of the density
being the force's potential; a few leapfrog steps, then a coin decides whether the move counts. What it needs of
the density is its gradient:

    momentum = momentum + 0.5 * step * ft.grad(log_density)(position)

A chain is a ``lax.scan`` over random keys, its leapfrog steps a ``lax.fori_loop``, and ``vmap`` runs many chains
at once; the whole is one jitted function. First the sampler draws from a Gaussian, of which mean and covariance
are known; then from the posterior of a logistic regression that tells threes from eights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from datasets import load_digits
from reporting import argument_parser, report_of

import functrans as ft

Array = npt.NDArray[Any]

MEAN = np.array([1.0, -2.0, 0.5])
COVARIANCE = np.array([[1.0, 0.6, 0.0], [0.6, 2.0, -0.3], [0.0, -0.3, 0.5]])
PRECISION = np.linalg.inv(COVARIANCE)


@dataclass(frozen=True)
class Result:
    """What ``main`` found.

    Attributes:
        mean_error, covariance_error: of the samples from the Gaussian, the largest entry.
        acceptance: how often a move counted: for the Gaussian, and for the regression.
        test_accuracy: of the regression, the probabilities being averaged over the posterior.
        mixing: for the regression, the variance between chains over that within (1 where they agree).
    """

    mean_error: float
    covariance_error: float
    acceptance: tuple[float, float]
    test_accuracy: float
    mixing: float


def chain(log_density: Callable[[Any], Any], start: Any, keys: Any, step: float, leaps: int) -> tuple[Any, Any]:
    """The positions of a chain, and whether each move counted."""
    force = ft.grad(log_density)

    def leap(_: Any, state: Any) -> Any:
        position, momentum = state
        momentum = momentum + 0.5 * step * force(position)
        position = position + step * momentum
        return position, momentum + 0.5 * step * force(position)

    def move(position: Any, key: Any) -> Any:
        for_momentum, for_coin = ft.random.split(key)
        momentum = ft.random.normal(for_momentum, position.shape)
        there, pushed = ft.lax.fori_loop(0, leaps, leap, (position, momentum))
        energy = log_density(position) - 0.5 * np.sum(momentum**2)
        new_energy = log_density(there) - 0.5 * np.sum(pushed**2)
        counts = np.log(ft.random.uniform(for_coin)) < new_energy - energy
        position = np.where(counts, there, position)
        return position, (position, counts)

    return ft.lax.scan(move, start, keys)[1]


def sampled(
    log_density: Callable[[Any], Any], starts: Array, samples: int, step: float, leaps: int, seed: int
) -> tuple[Array, float]:
    """Samples of several chains ``(chains, samples, dimensions)``, without the first fifth, and the acceptance."""
    keys = ft.random.split(ft.random.key(seed), (len(starts), samples))
    run = ft.jit(ft.vmap(lambda start, keys: chain(log_density, start, keys, step, leaps)))
    positions, counts = run(starts, keys)
    return positions[:, samples // 5 :], float(np.mean(counts))


def gaussian(x: Any) -> Any:
    d = x - MEAN
    return -0.5 * d @ PRECISION @ d


def mixing(draws: Array) -> float:
    """The largest potential scale reduction of Gelman and Rubin (1992) over the dimensions."""
    n = draws.shape[1]
    within = np.mean(np.var(draws, axis=1, ddof=1), axis=0)
    between = np.var(np.mean(draws, axis=1), axis=0, ddof=1)
    return float(np.max(np.sqrt((n - 1) / n + between / within)))


def main(argv: Sequence[str] | None = None) -> Result:
    report = report_of(argument_parser(__doc__).parse_args(argv))
    chains, samples = (8, 400) if report.quick else (16, 3000)
    draws, accepted = sampled(gaussian, np.zeros((chains, 3)), samples, 0.4, 6, 0)
    flat = draws.reshape(-1, 3)
    mean_error = float(np.max(np.abs(flat.mean(0) - MEAN)))
    covariance_error = float(np.max(np.abs(np.cov(flat.T) - COVARIANCE)))

    splits = load_digits()
    train, test = (
        (s.images[np.isin(s.labels, (3, 8))], s.labels[np.isin(s.labels, (3, 8))] == 8) for s in (splits[0], splits[1])
    )
    # The directions in which the images differ most, and a constant.
    centre = train[0].mean(0)
    axes = np.linalg.svd(train[0] - centre, full_matrices=False)[2][:6]

    def features(images: Array) -> Array:
        return np.column_stack([(images - centre) @ axes.T, np.ones(len(images))])

    X, y = features(train[0]), 2.0 * train[1] - 1.0

    def posterior(w: Any) -> Any:
        return -np.sum(np.logaddexp(0.0, -y * (X @ w))) - 0.5 * np.sum(w**2) / 10.0

    few = (4, 150) if report.quick else (8, 1500)
    starts = np.random.RandomState(1).normal(size=(few[0], X.shape[1]))
    weights, regression_accepted = sampled(posterior, starts, few[1], 0.15, 10, 1)
    logits = features(test[0]) @ weights.reshape(-1, X.shape[1]).T
    probability = np.mean(1 / (1 + np.exp(-logits)), axis=1)
    accuracy = float(np.mean((probability > 0.5) == test[1]))
    agreement = mixing(weights)

    report.heading(f"Hamiltonian Monte Carlo, {chains} chains of {samples} moves")
    report.table(
        ["", "Gaussian", "threes and eights"],
        [
            ["accepted", f"{accepted:.1%}", f"{regression_accepted:.1%}"],
            ["error of the mean", f"{mean_error:.3f}", ""],
            ["error of the covariance", f"{covariance_error:.3f}", ""],
            ["chains against each other", f"{mixing(draws):.3f}", f"{agreement:.3f}"],
            ["test accuracy", "", f"{accuracy:.2%}"],
        ],
    )

    def fill(figure: Any) -> None:
        left, right = figure.subplots(1, 2)
        left.plot(*flat[::5, :2].T, ".", markersize=2)
        left.set(title="Gaussian", xlabel="x[0]", ylabel="x[1]")
        right.hist(probability, bins=30)
        right.set(title="probability of an eight", ylabel="test images")

    report.plot("hmc", (8.0, 3.6), fill)
    return Result(mean_error, covariance_error, (accepted, regression_accepted), accuracy, agreement)


if __name__ == "__main__":
    main()
