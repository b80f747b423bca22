"""A small convolutional network on handwritten digits, in single precision.

Two layers of 3x3 convolutions see small strokes wherever they are in the image; a maximum over 2x2 pixels
keeps that they are there and forgets exactly where; a dense layer turns them into ten scores. The
convolution and the pooling come from functrans, the rest is plain NumPy, and one ``jit`` compiles the whole
training step. float32 parameters give float32 gradients: nothing is cast on the way.

Before training, the gradient is compared in double precision with finite differences along random directions.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from datasets import DataSet
from reporting import Report, argument_parser, mnist_option, positive, report_of, splits_of

import functrans as ft
from functrans import lax, nn

Array = npt.NDArray[Any]
Parameters = dict[str, Array]

RATE = 0.05
MOMENTUM = 0.9
BATCH = 50
CHANNELS = (16, 32)


@dataclass(frozen=True)
class Result:
    """What ``main`` found; losses and accuracies are those after each epoch."""

    parameters: Parameters
    losses: list[float]
    test_accuracies: list[float]
    largest_gradient_error: float


def initial(side: int, dtype: npt.DTypeLike = np.float32, seed: int = 0) -> Parameters:
    """Kernels ``[3, 3, channels in, channels out]``, and a dense layer for images of that side."""
    random = np.random.RandomState(seed)

    def normal(*shape: int) -> Array:
        return random.normal(0.0, np.sqrt(2.0 / np.prod(shape[:-1])), shape).astype(dtype)

    first, second = CHANNELS
    return {
        "kernel1": normal(3, 3, 1, first),
        "bias1": np.zeros(first, dtype),
        "kernel2": normal(3, 3, first, second),
        "bias2": np.zeros(second, dtype),
        "weights": normal((side // 2) ** 2 * second, 10),
        "biases": np.zeros(10, dtype),
    }


def convolve(images: Array, kernel: Array) -> Array:
    """Images ``[n, height, width, channels in]`` convolved with a kernel; the height and the width stay."""
    layout = ("NHWC", "HWIO", "NHWC")
    convolved: Array = lax.conv_general_dilated(images, kernel, (1, 1), "SAME", dimension_numbers=layout)
    return convolved


def features(parameters: Parameters, images: Array) -> Array:
    """The activations of the first layer, ``[n, height, width, 16]``."""
    strokes: Array = np.maximum(convolve(images[..., None], parameters["kernel1"]) + parameters["bias1"], 0)
    return strokes


def logits(parameters: Parameters, images: Array) -> Array:
    """Scores ``[n, 10]`` of images ``[n, height, width]``."""
    strokes = features(parameters, images)
    strokes = np.maximum(convolve(strokes, parameters["kernel2"]) + parameters["bias2"], 0)
    pooled: Array = nn.max_pool(strokes, (2, 2))
    return pooled.reshape(len(images), -1) @ parameters["weights"] + parameters["biases"]


def loss(parameters: Parameters, images: Array, labels: Array) -> Any:
    """Mean cross-entropy of a batch with one-hot labels."""
    scores = logits(parameters, images)
    scores = scores - np.max(scores, axis=1, keepdims=True)
    return np.mean(np.log(np.sum(np.exp(scores), axis=1)) - np.sum(labels * scores, axis=1))


@ft.jit
def step(
    parameters: Parameters, velocity: Parameters, images: Array, labels: Array, rate: float
) -> tuple[Parameters, Parameters, Array]:
    value, gradient = ft.value_and_grad(loss)(parameters, images, labels)
    velocity = ft.tree.map(lambda v, g: MOMENTUM * v - rate * g, velocity, gradient)
    return ft.tree.map(lambda p, v: p + v, parameters, velocity), velocity, value


predict = ft.jit(lambda parameters, images: np.argmax(logits(parameters, images), axis=1))


def accuracy(parameters: Parameters, data: DataSet) -> float:
    # In parts: the activations of all images at once would be large.
    parts = range(0, data.num_examples, 500)
    predicted = np.concatenate([predict(parameters, data.images[i : i + 500]) for i in parts])
    return float(np.mean(predicted == np.argmax(data.labels, axis=1)))


def gradient_errors(images: Array, labels: Array) -> list[tuple[str, float, float]]:
    """Each parameter's name and, along a random direction, the slope by ``grad`` and by differences."""
    random = np.random.RandomState(1)
    # Zero biases on black pixels stand at the kink of the maximum, where finite differences mean nothing.
    parameters = {
        name: value + 0.1 * random.normal(size=value.shape)
        for name, value in initial(images.shape[1], np.float64).items()
    }
    gradient = ft.jit(ft.grad(loss))(parameters, images, labels)
    h = 1e-6
    rows = []
    for name, value in parameters.items():
        direction = random.normal(size=value.shape)
        ahead, behind = (float(loss(parameters | {name: value + sign * direction}, images, labels)) for sign in (h, -h))
        rows.append((name, float(np.sum(gradient[name] * direction)), (ahead - behind) / (2 * h)))
    return rows


def plot(report: Report, result: Result, image: Array) -> None:
    kernels = result.parameters["kernel1"]
    maps = features(result.parameters, image[None])[0]
    bound = float(np.max(np.abs(kernels)))

    def fill(figure: Any) -> None:
        left, middle, right = figure.subfigures(1, 3, width_ratios=(1.2, 1.0, 1.0))
        axes = left.subplots()
        axes.plot(range(1, len(result.losses) + 1), result.losses, color="#2563eb")
        axes.set(xlabel="epoch", ylabel="mean loss of the epoch", yscale="log")
        other = axes.twinx()
        other.plot(range(1, len(result.losses) + 1), result.test_accuracies, color="#dc2626")
        other.set_ylabel("accuracy on test images", color="#dc2626")
        for part, title in ((middle, "kernels of the first layer"), (right, "what they find in one image")):
            for channel, panel in enumerate(part.subplots(4, 4).flat):
                if part is middle:
                    panel.imshow(kernels[:, :, 0, channel], cmap="RdBu_r", vmin=-bound, vmax=bound)
                else:
                    panel.imshow(maps[:, :, channel], cmap="gray_r")
                panel.set(xticks=[], yticks=[])
            part.suptitle(title)

    report.plot("convnet", (13.0, 4.2), fill)


def main(argv: Sequence[str] | None = None) -> Result:
    parser = argument_parser(__doc__)
    parser.add_argument("--epochs", type=positive, help="passes over the training images (default: 10; quick: 2)")
    mnist_option(parser)
    options = parser.parse_args(argv)
    report = report_of(options)
    epochs = options.epochs or (2 if report.quick else 10)
    train, test = splits_of(options, flatten=False, dtype=np.float32)
    report.say(f"training: {train}", f"test:     {test}")

    report.heading("Slopes along random directions, in double precision")
    checks = gradient_errors(train.images[:20].astype(float), train.labels[:20].astype(float))
    worst = max(abs(exact - estimate) for _, exact, estimate in checks)
    report.table(
        ["parameter", "by grad", "by finite differences", "difference"],
        [[name, f"{a:.9f}", f"{b:.9f}", f"{abs(a - b):.0e}"] for name, a, b in checks],
    )

    parameters = initial(train.images.shape[1])
    velocity = ft.tree.map(np.zeros_like, parameters)
    losses: list[float] = []
    test_accuracies: list[float] = []
    rows = []
    steps = train.num_examples // BATCH
    start = time.perf_counter()
    for epoch in range(1, epochs + 1):
        rate = float(0.5 * RATE * (1 + np.cos(np.pi * (epoch - 1) / epochs)))
        total = 0.0
        for _ in report.progress(range(steps), f"epoch {epoch} of {epochs}", steps):
            parameters, velocity, value = step(parameters, velocity, *train.next_batch(BATCH), rate)
            total += float(value)
        losses.append(total / steps)
        test_accuracies.append(accuracy(parameters, test))
        rows.append([epoch, f"{rate:.4f}", f"{losses[-1]:.5f}", f"{test_accuracies[-1]:.4f}"])
    seconds = time.perf_counter() - start
    report.heading(f"{epochs} epochs of {steps} steps, batch {BATCH}")
    report.table(["epoch", "rate", "mean loss", "test acc."], rows)
    count = sum(leaf.size for leaf in parameters.values())
    milliseconds = 1e3 * seconds / (epochs * steps)
    report.say(f"{count} parameters, all {parameters['weights'].dtype}; {milliseconds:.1f} ms a step")
    result = Result(parameters, losses, test_accuracies, worst)
    plot(report, result, test.images[0])
    report.say(f"\naccuracy: {test_accuracies[-1]:.2%} of the test images")
    return result


if __name__ == "__main__":
    main()
