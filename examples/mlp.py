"""A multilayer perceptron on handwritten digits, by stochastic gradient descent with momentum.

The parameters are a pytree: a list of layers, each a dict of weights and biases. ``grad`` gives a gradient
of the same structure, ``functrans.tree.map`` updates all leaves at once, and one ``jit`` compiles the whole
training step: forward pass, backward pass, momentum and update. The model itself is plain NumPy.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from datasets import DataSet
from reporting import Report, argument_parser, mnist_option, positive, report_of, splits_of

import functrans as ft

Array = npt.NDArray[Any]
Layer = dict[str, Array]
Parameters = list[Layer]

RATE = 0.1
MOMENTUM = 0.9
DECAY = 1e-4
BATCH = 50


@dataclass(frozen=True)
class Result:
    """What ``main`` found; losses and accuracies are those after each epoch."""

    parameters: Parameters
    losses: list[float]
    train_accuracies: list[float]
    test_accuracies: list[float]
    traces: int


def initial(sizes: Sequence[int], seed: int = 0) -> Parameters:
    """Random weights whose size keeps the variance of activations from layer to layer, and zero biases."""
    random = np.random.RandomState(seed)
    return [
        {"weights": random.normal(0.0, np.sqrt(2.0 / n), (n, m)), "biases": np.zeros(m)} for n, m in pairwise(sizes)
    ]


def logits(parameters: Parameters, images: Array) -> Array:
    *hidden, last = parameters
    activations = images
    for layer in hidden:
        activations = np.maximum(activations @ layer["weights"] + layer["biases"], 0.0)
    return activations @ last["weights"] + last["biases"]


def loss(parameters: Parameters, images: Array, labels: Array) -> Any:
    """Mean cross-entropy of a batch with one-hot labels, plus weight decay."""
    scores = logits(parameters, images)
    scores = scores - np.max(scores, axis=1, keepdims=True)
    log_normalisers = np.log(np.sum(np.exp(scores), axis=1))
    cross_entropy = np.mean(log_normalisers - np.sum(labels * scores, axis=1))
    squares = sum(np.sum(layer["weights"] ** 2) for layer in parameters)
    return cross_entropy + 0.5 * DECAY * squares


@ft.jit
def step(
    parameters: Parameters, velocity: Parameters, images: Array, labels: Array, rate: float
) -> tuple[Parameters, Parameters, Array]:
    """One step of descent with momentum: new parameters, new velocity, the loss of the batch."""
    value, gradient = ft.value_and_grad(loss)(parameters, images, labels)
    velocity = ft.tree.map(lambda v, g: MOMENTUM * v - rate * g, velocity, gradient)
    parameters = ft.tree.map(lambda p, v: p + v, parameters, velocity)
    return parameters, velocity, value


predict = ft.jit(lambda parameters, images: np.argmax(logits(parameters, images), axis=1))


def accuracy(parameters: Parameters, data: DataSet) -> float:
    return float(np.mean(predict(parameters, data.images) == np.argmax(data.labels, axis=1)))


def confusion(parameters: Parameters, data: DataSet) -> Array:
    """``int[10, 10]``: how many images of each digit (row) were taken for each digit (column)."""
    counts = np.zeros((10, 10), int)
    np.add.at(counts, (np.argmax(data.labels, axis=1), predict(parameters, data.images)), 1)
    return counts


def plot(report: Report, result: Result, test: DataSet, side: int) -> None:
    predicted, digits = predict(result.parameters, test.images), np.argmax(test.labels, axis=1)
    mistakes = np.flatnonzero(predicted != digits)[:10]

    def fill(figure: Any) -> None:
        left, right = figure.subfigures(1, 2, width_ratios=(1.0, 1.25))
        axes = left.subplots()
        epochs = range(1, len(result.losses) + 1)
        axes.plot(epochs, 1 - np.array(result.train_accuracies), label="training images")
        axes.plot(epochs, 1 - np.array(result.test_accuracies), label="test images")
        axes.set(xlabel="epoch", ylabel="share of wrong answers", title="learning curve", ylim=(0, None))
        axes.legend()
        panels = right.subplots(2, 5).flat
        for panel in panels:
            panel.set_axis_off()
        for panel, i in zip(right.axes, mistakes, strict=False):
            panel.imshow(test.images[i].reshape(side, side), cmap="gray_r")
            panel.set_title(f"{digits[i]} taken for {predicted[i]}", fontsize=9)
        right.suptitle("test images that it gets wrong")

    report.plot("mlp", (12.0, 4.6), fill)


def main(argv: Sequence[str] | None = None) -> Result:
    parser = argument_parser(__doc__)
    parser.add_argument("--epochs", type=positive, help="passes over the training images (default: 30; quick: 6)")
    mnist_option(parser)
    options = parser.parse_args(argv)
    report = report_of(options)
    epochs = options.epochs or (6 if report.quick else 30)
    train, test = splits_of(options)
    pixels = train.images.shape[1]
    report.say(f"training: {train}", f"test:     {test}")

    parameters = initial([pixels, 128, 64, 10])
    velocity = ft.tree.map(np.zeros_like, parameters)
    losses: list[float] = []
    train_accuracies: list[float] = []
    test_accuracies: list[float] = []
    rows = []
    steps = train.num_examples // BATCH
    start = time.perf_counter()
    for epoch in report.progress(range(1, epochs + 1), "epochs", epochs):
        # The rate falls to zero along a cosine: the last epochs settle what the first ones found.
        rate = 0.5 * RATE * (1 + np.cos(np.pi * (epoch - 1) / epochs))
        total = 0.0
        for _ in range(steps):
            parameters, velocity, value = step(parameters, velocity, *train.next_batch(BATCH), rate)
            total += float(value)
        losses.append(total / steps)
        train_accuracies.append(accuracy(parameters, train))
        test_accuracies.append(accuracy(parameters, test))
        if epoch in (1, 2, 3) or epoch % 5 == 0 or epoch == epochs:
            rows.append(
                [
                    epoch,
                    f"{rate:.4f}",
                    f"{losses[-1]:.5f}",
                    f"{train_accuracies[-1]:.4f}",
                    f"{test_accuracies[-1]:.4f}",
                ]
            )
    seconds = time.perf_counter() - start
    report.heading(f"{epochs} epochs of {steps} steps, batch {BATCH}")
    report.table(["epoch", "rate", "mean loss", "train acc.", "test acc."], rows)
    report.say(f"{seconds:.2f} s, {1e6 * seconds / (epochs * steps):.0f} microseconds a step, accuracies included")

    report.heading("Test images: digit (rows) against answer (columns)")
    counts = confusion(parameters, test)
    report.table(
        ["digit", *map(str, range(10))],
        [[str(d), *(n or "." for n in row)] for d, row in enumerate(counts.tolist())],
    )
    result = Result(parameters, losses, train_accuracies, test_accuracies, step.trace_count)
    plot(report, result, test, round(pixels**0.5))
    report.say(f"\naccuracy: {test_accuracies[-1]:.2%} of the test images; times traced: {result.traces}")
    return result


if __name__ == "__main__":
    main()
