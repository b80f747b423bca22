"""Newton's method without a Hessian: conjugate gradients on Hessian-vector products.

Near a minimum a Newton step d, the solution of H d = -g, is worth many steps of gradient descent. Here the
Hessian H of 650 variables has 422,500 entries; but conjugate gradients need only products H v, and such a
product is the derivative of the gradient along v, at about twice the cost of a gradient:

    hvp = lambda x, v: ft.jvp(ft.grad(f), (x,), (v,))[1]

Softmax regression with weight decay is strictly convex, so H is positive definite and the steps go down.
The inner equation is solved more exactly as the outer gradient falls, which makes the convergence
superlinear: watch the column |gradient|. Gradient descent, given the same number of gradients and products,
is far behind.
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

DECAY = 1e-4


@dataclass(frozen=True)
class Iteration:
    """One Newton step: the value and the gradient before it, and what it took."""

    value: float
    gradient_norm: float
    products: int
    step: float
    test_accuracy: float


@dataclass(frozen=True)
class Result:
    """What ``main`` found.

    Attributes:
        x: the minimiser.
        iterations: the Newton steps.
        descent: ``(gradients so far, |gradient|)`` of gradient descent.
        hvp_difference: largest difference between products by ``jvp`` of ``grad`` and with the dense Hessian.
        test_accuracy: at the minimum.
    """

    x: Array
    iterations: list[Iteration]
    descent: list[tuple[int, float]]
    hvp_difference: float
    test_accuracy: float


def loss(x: Array, images: Array, labels: Array) -> Any:
    """Mean cross-entropy with weight decay; ``x`` holds the weights, row by row, and then the biases."""
    pixels, classes = images.shape[1], labels.shape[1]
    weights, biases = x[: pixels * classes].reshape(pixels, classes), x[pixels * classes :]
    logits = images @ weights + biases
    logits = logits - np.max(logits, axis=1, keepdims=True)
    log_normalisers = np.log(np.sum(np.exp(logits), axis=1))
    return np.mean(log_normalisers - np.sum(labels * logits, axis=1)) + 0.5 * DECAY * np.sum(x**2)


value_and_gradient = ft.jit(ft.value_and_grad(loss))


@ft.jit
def hessian_product(x: Array, v: Array, images: Array, labels: Array) -> Array:
    """The Hessian of the loss at ``x``, times ``v``: forward over reverse mode."""
    product: Array = ft.jvp(lambda x: ft.grad(loss)(x, images, labels), (x,), (v,))[1]
    return product


def conjugate_gradients(product: Callable[[Array], Array], b: Array, tolerance: float, most: int) -> tuple[Array, int]:
    """Solve ``A x = b``, ``A`` positive definite, to a relative residual ``tolerance``; the products used."""
    x, residual = np.zeros_like(b), b.copy()
    direction, squared = residual.copy(), float(residual @ residual)
    enough = (tolerance * np.linalg.norm(b)) ** 2
    for used in range(1, most + 1):
        image = product(direction)
        length = squared / float(direction @ image)
        x += length * direction
        residual -= length * image
        previous, squared = squared, float(residual @ residual)
        if squared <= enough:
            return x, used
        direction = residual + (squared / previous) * direction
    return x, most


def newton_direction(x: Array, gradient: Array, data: DataSet, tolerance: float) -> tuple[Array, int]:
    """The solution of ``H d = -gradient``, to a relative residual ``tolerance``; the products used."""
    return conjugate_gradients(lambda v: hessian_product(x, v, data.images, data.labels), -gradient, tolerance, 500)


def newton(data: DataSet, test: DataSet, tolerance: float, report: Report) -> tuple[Array, list[Iteration]]:
    """Minimise the loss on ``data`` from zero, until the gradient's norm is below ``tolerance``."""
    given = (data.images, data.labels)
    x = np.zeros(data.images.shape[1] * 10 + 10)
    iterations: list[Iteration] = []
    value, gradient = value_and_gradient(x, *given)
    for _ in report.progress(range(50), "Newton steps", None):
        norm = float(np.linalg.norm(gradient))
        if norm < tolerance:
            break
        # Far from the minimum the quadratic model is poor, and solving it exactly would be work for nothing.
        direction, products = newton_direction(x, gradient, data, min(0.5, norm**0.5))
        length, slope = 1.0, float(gradient @ direction)
        start = float(value)
        while True:
            value, gradient = value_and_gradient(x + length * direction, *given)
            # Close to the minimum the promised decrease is below the rounding of the value.
            if float(value) <= start + 1e-4 * length * slope + 1e-14 * abs(start) or length < 1e-10:
                break
            length /= 2
        x = x + length * direction
        iterations.append(Iteration(start, norm, products, length, accuracy(x, test)))
    return x, iterations


def gradient_descent(data: DataSet, steps: int, report: Report) -> list[tuple[int, float]]:
    x = np.zeros(data.images.shape[1] * 10 + 10)
    path = []
    for i in report.progress(range(steps), "gradient descent", steps):
        _, gradient = value_and_gradient(x, data.images, data.labels)
        path.append((i + 1, float(np.linalg.norm(gradient))))
        x = x - 0.5 * gradient
    return path


def accuracy(x: Array, data: DataSet) -> float:
    logits = data.images @ x[:-10].reshape(-1, 10) + x[-10:]
    return float(np.mean(np.argmax(logits, axis=1) == np.argmax(data.labels, axis=1)))


def check_products(data: DataSet) -> float:
    """The largest difference between a product and that with the dense Hessian, on data of 3x3 pixels."""
    square = data.images[:50].reshape(-1, 8, 8)[:, 2:5, 3:6]
    images, labels = square.reshape(50, 9), data.labels[:50]
    random = np.random.RandomState(0)
    x, v = random.normal(size=(2, 9 * 10 + 10))
    hessian = ft.hessian(loss)(x, images, labels)
    return float(np.max(np.abs(hessian @ v - hessian_product(x, v, images, labels))))


def plot(report: Report, result: Result) -> None:
    def fill(figure: Any) -> None:
        axes = figure.subplots()
        work = np.cumsum([1, *(i.products + 1 for i in result.iterations[:-1])])
        axes.semilogy(work, [i.gradient_norm for i in result.iterations], "o-", label="Newton, conjugate gradients")
        axes.semilogy(*zip(*result.descent, strict=True), label="gradient descent")
        axes.set(xlabel="gradients and Hessian-vector products", ylabel="|gradient|")
        axes.set_title("softmax regression on the digits, 650 variables")
        axes.legend()

    report.plot("hessian_free", (7.5, 4.6), fill)


def main(argv: Sequence[str] | None = None) -> Result:
    parser = argument_parser(__doc__)
    parser.add_argument("--tolerance", type=float, help="norm of the gradient to reach (default: 1e-10; quick: 1e-5)")
    options = parser.parse_args(argv)
    report = report_of(options)
    tolerance = options.tolerance or (1e-5 if report.quick else 1e-10)
    train, test = load_digits(onehot=True)

    hvp_difference = check_products(train)
    report.say(f"Hessian-vector products and the dense Hessian, 100 variables: they differ by {hvp_difference:.1e}")
    start = time.perf_counter()
    x, iterations = newton(train, test, tolerance, report)
    seconds = time.perf_counter() - start
    work = sum(i.products + 1 for i in iterations)
    descent = gradient_descent(train, min(work, 100) if report.quick else work, report)
    report.heading(f"Newton's method on {train.num_examples} digits, {x.size} variables")
    report.table(
        ["step", "loss", "|gradient|", "products", "step length", "test acc."],
        [
            [
                n,
                f"{i.value:.8f}",
                f"{i.gradient_norm:.1e}",
                i.products,
                f"{i.step:g}",
                f"{i.test_accuracy:.4f}",
            ]
            for n, i in enumerate(iterations, 1)
        ],
    )
    value, gradient = value_and_gradient(x, train.images, train.labels)
    report.say(
        f"end: loss {float(value):.8f}, |gradient| {np.linalg.norm(gradient):.1e}, in {seconds:.2f} s",
        f"gradient descent after {len(descent)} gradients: |gradient| {descent[-1][1]:.1e}",
    )
    result = Result(x, iterations, descent, hvp_difference, accuracy(x, test))
    plot(report, result)
    report.say(f"\naccuracy: {result.test_accuracy:.2%} of the test images")
    return result


if __name__ == "__main__":
    main()
