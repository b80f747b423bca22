"""The gradient of every single example, by ``vmap(grad(loss))``.

``grad`` of a mean over examples gives the mean of their gradients and forgets the rest. ``vmap`` turns the
gradient of *one* example's loss into a function of a batch of examples, with one gradient each:

    per_example = ft.jit(ft.vmap(ft.grad(loss), in_axes=(None, 0, 0)))

They are used here twice. Their norms tell which images the model finds hard. And each of them clipped to a
common norm before the sum is what training with differential privacy (DP-SGD) asks for: no single image can
move the parameters by more than that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from datasets import DataSet, load_digits
from reporting import Report, argument_parser, report_of

import functrans as ft

Array = npt.NDArray[Any]
Parameters = dict[str, Array]

CLIP = 0.5


@dataclass(frozen=True)
class Result:
    """What ``main`` found.

    Attributes:
        norms: the norm of each example's gradient.
        loop_difference: largest difference between ``vmap`` and a Python loop, over all entries.
        mean_difference: largest difference between the mean of the gradients and the gradient of the mean.
        clipped_norms: norms after clipping.
        clipped_sum: the sum of the clipped gradients.
        loop_seconds, vmap_seconds: times for one pass over the examples.
    """

    norms: Array
    loop_difference: float
    mean_difference: float
    clipped_norms: Array
    clipped_sum: Parameters
    loop_seconds: float
    vmap_seconds: float


def loss(parameters: Parameters, image: Array, label: Array) -> Any:
    """The cross-entropy of one image, float[64], with its one-hot label, float[10]."""
    hidden = np.tanh(image @ parameters["w1"] + parameters["b1"])
    logits = hidden @ parameters["w2"] + parameters["b2"]
    logits = logits - np.max(logits)
    return np.log(np.sum(np.exp(logits))) - np.sum(label * logits)


per_example_loss = ft.vmap(loss, in_axes=(None, 0, 0))


def mean_loss(parameters: Parameters, images: Array, labels: Array) -> Any:
    return np.mean(per_example_loss(parameters, images, labels))


one_gradient = ft.jit(ft.grad(loss))
per_example_gradients = ft.jit(ft.vmap(ft.grad(loss), in_axes=(None, 0, 0)))
mean_gradient = ft.jit(ft.grad(mean_loss))


@ft.jit
def clipped_sum(parameters: Parameters, images: Array, labels: Array, bound: float) -> tuple[Parameters, Array]:
    """The sum of the gradients, each cut to norm ``bound`` where it is longer, and the norms after that."""

    def clipped(image: Array, label: Array) -> tuple[Parameters, Array]:
        gradient = ft.grad(loss)(parameters, image, label)
        norm = np.sqrt(sum(np.sum(leaf**2) for leaf in ft.tree.leaves(gradient)))
        scale = np.minimum(1.0, bound / np.maximum(norm, 1e-30))
        return ft.tree.map(lambda leaf: leaf * scale, gradient), norm * scale

    gradients, norms = ft.vmap(clipped)(images, labels)
    return ft.tree.map(lambda leaf: np.sum(leaf, axis=0), gradients), norms


def norms_of(gradients: Parameters) -> Array:
    """``float[n]``: the norm of each example's gradient, taken over all parameters together."""
    squares = [np.sum(leaf.reshape(len(leaf), -1) ** 2, axis=1) for leaf in ft.tree.leaves(gradients)]
    norms: Array = np.sqrt(np.sum(squares, axis=0))
    return norms


def trained(data: DataSet, steps: int, report: Report) -> Parameters:
    random = np.random.RandomState(0)
    parameters = {
        "w1": random.normal(0.0, 0.2, (data.images.shape[1], 32)),
        "b1": np.zeros(32),
        "w2": random.normal(0.0, 0.2, (32, 10)),
        "b2": np.zeros(10),
    }
    for _ in report.progress(range(steps), "training", steps):
        gradient = mean_gradient(parameters, *data.next_batch(100))
        parameters = ft.tree.map(lambda p, g: p - 0.5 * g, parameters, gradient)
    return parameters


def timed(f: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    value = f()
    return value, time.perf_counter() - start


def difference(one: Parameters, other: Parameters) -> float:
    return max(float(np.max(np.abs(one[name] - other[name]))) for name in one)


def plot(report: Report, norms: Array, data: DataSet) -> None:
    order = np.argsort(norms)

    def fill(figure: Any) -> None:
        left, right = figure.subfigures(1, 2, width_ratios=(1.0, 1.25))
        axes = left.subplots()
        axes.hist(np.log10(np.maximum(norms, 1e-12)), bins=40, color="#64748b")
        axes.axvline(np.log10(CLIP), color="#dc2626", label=f"clipped at {CLIP}")
        axes.set(xlabel="log10 of the norm of an image's gradient", ylabel="images")
        axes.legend()
        chosen = [*order[:5], *order[-5:]]
        for panel, i in zip(right.subplots(2, 5).flat, chosen, strict=True):
            panel.imshow(data.images[i].reshape(8, 8), cmap="gray_r")
            panel.set(title=f"{np.argmax(data.labels[i])}: {norms[i]:.1e}", xticks=[], yticks=[])
        right.suptitle("smallest gradients (top) and largest ones (bottom)")

    report.plot("per_example_gradients", (12.0, 4.6), fill)


def main(argv: Sequence[str] | None = None) -> Result:
    options = argument_parser(__doc__).parse_args(argv)
    report = report_of(options)
    train, _ = load_digits(onehot=True)
    parameters = trained(train, 100 if report.quick else 600, report)
    n = 200 if report.quick else train.num_examples
    images, labels = train.images[:n], train.labels[:n]

    # A first call of each traces and compiles; the times are those of later calls.
    per_example_gradients(parameters, images, labels)
    one_gradient(parameters, images[0], labels[0])
    gradients, vmap_seconds = timed(lambda: per_example_gradients(parameters, images, labels))
    pairs = report.progress(zip(images, labels, strict=True), "loop", n)
    loop, loop_seconds = timed(lambda: [one_gradient(parameters, image, label) for image, label in pairs])
    stacked = ft.tree.map(lambda *leaves: np.stack(leaves), *loop)
    norms = norms_of(gradients)
    mean = ft.tree.map(lambda leaf: np.mean(leaf, axis=0), gradients)
    clipped, clipped_norms = clipped_sum(parameters, images, labels, CLIP)

    result = Result(
        norms=norms,
        loop_difference=difference(gradients, stacked),
        mean_difference=difference(mean, mean_gradient(parameters, images, labels)),
        clipped_norms=clipped_norms,
        clipped_sum=clipped,
        loop_seconds=loop_seconds,
        vmap_seconds=vmap_seconds,
    )
    report.heading(f"The gradients of {n} images by {sum(leaf.size for leaf in parameters.values())} parameters")
    report.table(
        ["way", "seconds", "images a second"],
        [
            ["loop over jit(grad)", f"{loop_seconds:.4f}", f"{n / loop_seconds:.0f}"],
            ["jit(vmap(grad))", f"{vmap_seconds:.4f}", f"{n / vmap_seconds:.0f}"],
        ],
    )
    report.say(
        f"largest difference between loop and vmap: {result.loop_difference:.1e}",
        f"largest difference of their mean from the gradient of the mean: {result.mean_difference:.1e}",
    )
    report.heading("Norms of the gradients")
    predicted = np.argmax(logits_of(parameters, images), axis=1)
    truth = np.argmax(labels, axis=1)
    rows = []
    for digit in range(10):
        own = norms[truth == digit]
        wrong = int(np.sum(predicted[truth == digit] != digit))
        rows.append(
            [
                digit,
                len(own),
                *(f"{q:.1e}" for q in np.quantile(own, [0.0, 0.5, 0.9, 1.0])),
                int(np.sum(own > CLIP)),
                wrong,
            ]
        )
    report.table(["digit", "images", "least", "median", "90 %", "largest", f"above {CLIP}", "misread"], rows)
    report.say(f"After clipping at {CLIP} the largest norm is {float(np.max(clipped_norms)):.6f}.")
    plot(report, norms, DataSet(images, labels))
    return result


def logits_of(parameters: Parameters, images: Array) -> Array:
    logits: Array = np.tanh(images @ parameters["w1"] + parameters["b1"]) @ parameters["w2"] + parameters["b2"]
    return logits


if __name__ == "__main__":
    main()
