"""Softmax regression on handwritten digits, trained three ways that agree to rounding.

The model gives each of ten digits the probability softmax(x W + b) for an image x, and is trained by
stochastic gradient descent on the cross-entropy. Writing P for the probabilities of a batch of n images X
with one-hot labels Y, the derivative of the loss by the logits X W + b is (P - Y) / n, and so

    dloss/dW = X^T (P - Y) / n        dloss/db = column sums of (P - Y) / n

The same 1000 steps of batch 100 are taken
  (a) by hand: NumPy, with these formulas;
  (b) by a declared graph: loss, gradient and update are declared as one graph of operations, which is drawn,
      and then run node by node, once a batch;
  (c) by jit(value_and_grad(loss)): the loss is all that is written, as plain NumPy.

Written to the folder output/: the graph of (b) as SVG and DOT, a plot of the losses and of the weights.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from datasets import DataSet
from graph_drawing import Graph, graph_of_jaxpr
from reporting import Report, argument_parser, mnist_option, positive, report_of, splits_of

import functrans as ft

Array = npt.NDArray[Any]
Parameters = tuple[Array, Array]  # weights[pixels, 10] and biases[10]
Step = Callable[[Parameters, Array, Array], tuple[Array, Parameters]]  # gives the loss and the new parameters

RATE = 0.5
BATCH = 100
AGREEMENT = 1e-10


@dataclass(frozen=True)
class Trained:
    """One way's outcome: parameters, the loss of every batch, and the time that it took."""

    method: str
    parameters: Parameters
    losses: list[float]
    first_step: float
    seconds: float


@dataclass(frozen=True)
class Result:
    """What ``main`` found."""

    trained: list[Trained]
    graph: Graph
    largest_difference: float
    train_accuracy: float
    test_accuracy: float
    description: str


# ---- (a) by hand


def step_by_hand(parameters: Parameters, images: Array, labels: Array) -> tuple[Array, Parameters]:
    weights, biases = parameters
    logits = images @ weights + biases
    logits -= np.max(logits, axis=1, keepdims=True)
    exponentials = np.exp(logits)
    normalisers = np.sum(exponentials, axis=1, keepdims=True)
    value = np.mean(np.log(normalisers[:, 0]) - np.sum(labels * logits, axis=1))
    errors = (exponentials / normalisers - labels) / len(images)
    return value, (weights - RATE * (images.T @ errors), biases - RATE * np.sum(errors, axis=0))


# ---- the loss, which is all that (b) and (c) are given


def loss(parameters: Parameters, images: Array, labels: Array) -> Any:
    """The mean cross-entropy, a number, of a batch with one-hot labels."""
    weights, biases = parameters
    logits = images @ weights + biases
    # Without its largest entry subtracted, a row of large logits would overflow in exp.
    logits = logits - np.max(logits, axis=1, keepdims=True)
    log_normalisers = np.log(np.sum(np.exp(logits), axis=1))
    return np.mean(log_normalisers - np.sum(labels * logits, axis=1))


# ---- (b) a declared graph


def declare(parameters: Parameters, images: Array, labels: Array) -> tuple[Array, Parameters, Parameters]:
    """What is to be computed from what: the loss, its gradient, and the updated parameters."""
    value, gradient = ft.value_and_grad(loss)(parameters, images, labels)
    updated = ft.tree.map(lambda p, g: p - RATE * g, parameters, gradient)
    return value, gradient, updated


def run(declared: Any, *inputs: Array) -> list[Array]:
    """Run a graph on arrays: visit its nodes in order, each after those that it needs."""
    values = dict(zip(declared.constvars + declared.invars, declared.consts + inputs, strict=True))

    def read(atom: Any) -> Any:
        return values[atom] if atom in values else atom.value

    for node in declared.eqns:
        results = node.prim.bind(*map(read, node.inputs), **node.params)
        values.update(zip(node.outs, results if node.prim.multiple else [results], strict=True))
    return [read(atom) for atom in declared.outvars]


def draw(declared: Any) -> Graph:
    names = ["weights", "biases", "images", "labels"]
    results = [("loss", "loss"), ("dloss/dweights", "gradient"), ("dloss/dbiases", "gradient")]
    results += [("new weights", "update"), ("new biases", "update")]
    return graph_of_jaxpr(declared, "Softmax regression: loss, gradient and update", names, results)


# ---- (c) compiled

value_and_gradient = ft.jit(ft.value_and_grad(loss))


def step_compiled(parameters: Parameters, images: Array, labels: Array) -> tuple[Array, Parameters]:
    value, gradient = value_and_gradient(parameters, images, labels)
    weights, biases = parameters
    return value, (weights - RATE * gradient[0], biases - RATE * gradient[1])


# ---- training, the same for all three


def train(method: str, step: Step, data: DataSet, steps: int, report: Report) -> Trained:
    # A DataSet of its own, with the same seed: each way sees the same batches.
    data = DataSet(data.images, data.labels, seed=0)
    parameters: Parameters = (np.zeros((data.images.shape[1], 10)), np.zeros(10))
    losses = []
    first_step = 0.0
    indices = report.progress(range(steps), method, steps)
    start = time.perf_counter()
    for i in indices:
        value, parameters = step(parameters, *data.next_batch(BATCH))
        losses.append(float(value))
        if i == 0:
            first_step = time.perf_counter() - start
    return Trained(method, parameters, losses, first_step, time.perf_counter() - start)


def accuracy(parameters: Parameters, data: DataSet) -> float:
    weights, biases = parameters
    predicted = np.argmax(data.images @ weights + biases, axis=1)
    return float(np.mean(predicted == np.argmax(data.labels, axis=1)))


def largest_difference(one: Parameters, other: Parameters) -> float:
    return max(float(np.max(np.abs(a - b))) for a, b in zip(one, other, strict=True))


def plot(report: Report, result: Sequence[Trained], side: int) -> None:
    def fill(figure: Any) -> None:
        left, right = figure.subfigures(1, 2, width_ratios=(1.0, 1.25))
        axes = left.subplots()
        for trained, style in zip(result, ("-", "--", ":"), strict=True):
            axes.semilogy(trained.losses, style, label=trained.method, linewidth=1.2)
        axes.set(xlabel="step", ylabel="loss of the batch", title="the three curves lie on each other")
        axes.legend()
        weights = result[-1].parameters[0]
        bound = float(np.max(np.abs(weights)))
        for digit, panel in enumerate(right.subplots(2, 5).flat):
            image = weights[:, digit].reshape(side, side)
            panel.imshow(image, cmap="RdBu_r", vmin=-bound, vmax=bound)
            panel.set(title=str(digit), xticks=[], yticks=[])
        right.suptitle("weights: red pixels speak for the digit, blue ones against it")

    report.plot("logistic_regression", (12.0, 4.6), fill)


def main(argv: Sequence[str] | None = None) -> Result:
    parser = argument_parser(__doc__)
    parser.add_argument("--steps", type=positive, help="number of steps (default: 1000, or 200 with --quick)")
    mnist_option(parser)
    options = parser.parse_args(argv)
    report = report_of(options)
    steps = options.steps or (200 if report.quick else 1000)
    data = splits_of(options)
    pixels = data.train.images.shape[1]
    report.say(f"training: {data.train}", f"test:     {data.test}")

    report.heading("The declared graph of one step")
    example = DataSet(data.train.images, data.train.labels).next_batch(BATCH)
    declared = ft.make_jaxpr(declare)((np.zeros((pixels, 10)), np.zeros(10)), *example)
    report.say(str(declared))
    graph = draw(declared)
    report.write("logistic_regression_graph.svg", graph.to_svg())
    report.write("logistic_regression_graph.dot", graph.to_dot())

    def step_of_graph(parameters: Parameters, images: Array, labels: Array) -> tuple[Array, Parameters]:
        value, _, _, weights, biases = run(declared, *parameters, images, labels)
        return value, (weights, biases)

    report.heading(f"{steps} steps of batch {BATCH}, three ways")
    ways: list[tuple[str, Step]] = [
        ("by hand", step_by_hand),
        ("declared graph", step_of_graph),
        ("jit(value_and_grad)", step_compiled),
    ]
    trained = [train(name, step, data.train, steps, report) for name, step in ways]
    reference = trained[0].parameters
    differences = [largest_difference(one.parameters, reference) for one in trained]
    report.table(
        ["method", "first step [s]", "all steps [s]", "loss", "train acc.", "test acc.", "max |difference|"],
        [
            [
                one.method,
                f"{one.first_step:.4f}",
                f"{one.seconds:.3f}",
                f"{float(loss(one.parameters, data.train.images, data.train.labels)):.6f}",
                f"{accuracy(one.parameters, data.train):.4f}",
                f"{accuracy(one.parameters, data.test):.4f}",
                f"{difference:.1e}",
            ]
            for one, difference in zip(trained, differences, strict=True)
        ],
    )
    worst = max(differences)
    if not worst < AGREEMENT:
        raise AssertionError(f"the three ways differ by {worst:.1e} in a weight; {AGREEMENT:.0e} is allowed")
    report.say(f"All weights agree within {worst:.1e}.")
    plot(report, trained, round(pixels**0.5))

    description = value_and_gradient.lower(reference, *example).as_text()
    report.heading("What jit(value_and_grad(loss)) runs")
    report.say(description)
    final = trained[-1].parameters
    result = Result(trained, graph, worst, accuracy(final, data.train), accuracy(final, data.test), description)
    shares = f"{result.test_accuracy:.2%} of the test images, {result.train_accuracy:.2%} of the training images"
    report.say(f"\naccuracy: {shares}")
    return result


if __name__ == "__main__":
    main()
