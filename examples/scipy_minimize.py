"""SciPy's optimisers, fed by ``value_and_grad``: no cast, no wrapper.

``scipy.optimize.minimize`` wants float64 arrays that its Fortran and C code can read, and a function that
returns the value and the gradient together. ``value_and_grad(f)`` is that function:

    minimize(ft.value_and_grad(f), x0, jac=True, method="L-BFGS-B")

Newton methods also ask for ``hessp``, the product of the Hessian with a vector, which is the derivative of
the gradient along it, ``ft.jvp(ft.grad(f), (x,), (v,))[1]``; or for the whole matrix, which is
``ft.hessian(f)``.

Two problems are solved by every method that uses gradients: Rosenbrock's valley, and softmax regression with
weight decay on the digits, which is convex, so that all methods must arrive at the same minimum.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from datasets import DataSet, load_digits
from reporting import Report, argument_parser, positive, report_of, require

import functrans as ft

Array = npt.NDArray[Any]
Objective = Callable[[Array], Any]

GRADIENT_METHODS = ("CG", "BFGS", "L-BFGS-B", "TNC", "SLSQP")
PRODUCT_METHODS = ("Newton-CG", "trust-ncg", "trust-krylov")
HESSIAN_METHODS = ("trust-exact", "trust-constr")
DECAY = 1e-3


@dataclass(frozen=True)
class Run:
    """One method's outcome on one problem; ``path`` holds the value at the end of each iteration."""

    method: str
    x: Array
    value: float
    gradient_norm: float
    evaluations: int
    seconds: float
    path: list[float]


@dataclass(frozen=True)
class Result:
    """What ``main`` found: the runs of both problems, and the digits' test accuracy by method."""

    rosenbrock: list[Run]
    digits: list[Run]
    accuracies: dict[str, float]


def rosenbrock(x: Array) -> Any:
    """A curved valley; the minimum, 0, is where every coordinate is 1."""
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def digits_objective(data: DataSet) -> Objective:
    """Mean cross-entropy of softmax regression with weight decay, as a function of one flat vector."""
    images, labels = data.images, data.labels
    pixels, classes = images.shape[1], labels.shape[1]

    def objective(x: Array) -> Any:
        weights, biases = x[: pixels * classes].reshape(pixels, classes), x[pixels * classes :]
        logits = images @ weights + biases
        logits = logits - np.max(logits, axis=1, keepdims=True)
        log_normalisers = np.log(np.sum(np.exp(logits), axis=1))
        return np.mean(log_normalisers - np.sum(labels * logits, axis=1)) + 0.5 * DECAY * np.sum(x**2)

    return objective


def solve(f: Objective, x0: Array, method: str, iterations: int) -> Run:
    """Minimise ``f`` by one of SciPy's methods, and keep the value after each iteration."""
    from scipy.optimize import minimize

    value_and_gradient = ft.jit(ft.value_and_grad(f))
    path: list[float] = []

    def record(x: Array, *_: Any) -> None:
        path.append(float(f(x)))

    extra: dict[str, Any] = {}
    if method in PRODUCT_METHODS:
        extra["hessp"] = ft.jit(lambda x, v: ft.jvp(ft.grad(f), (x,), (v,))[1])
    elif method in HESSIAN_METHODS:
        extra["hess"] = ft.jit(ft.hessian(f))
    limit = "maxfun" if method == "TNC" else "maxiter"
    start = time.perf_counter()
    found = minimize(
        value_and_gradient, x0, jac=True, method=method, callback=record, options={limit: iterations}, **extra
    )
    seconds = time.perf_counter() - start
    norm = float(np.linalg.norm(ft.grad(f)(found.x)))
    return Run(method, found.x, float(found.fun), norm, int(found.nfev), seconds, path)


def show(report: Report, runs: Sequence[Run], last: str, entries: Sequence[str]) -> None:
    report.table(
        ["method", "iterations", "evaluations", "value", "|gradient|", "seconds", last],
        [
            [
                r.method,
                len(r.path),
                r.evaluations,
                f"{r.value:.6g}",
                f"{r.gradient_norm:.1e}",
                f"{r.seconds:.3f}",
                entry,
            ]
            for r, entry in zip(runs, entries, strict=True)
        ],
    )


def plot(report: Report, result: Result) -> None:
    def fill(figure: Any) -> None:
        left, right = figure.subplots(1, 2)
        best = min(run.value for run in result.digits)
        for run in result.rosenbrock:
            left.semilogy(np.maximum(run.path, 1e-20), label=run.method)
        for run in result.digits:
            right.semilogy(np.maximum(np.array(run.path) - best, 1e-12), label=run.method)
        left.set(title="Rosenbrock's valley", xlabel="iteration", ylabel="value")
        right.set(title="softmax regression on the digits", xlabel="iteration", ylabel="value above the best")
        left.legend(fontsize=8)
        right.legend(fontsize=8)

    report.plot("scipy_minimize", (11.0, 4.4), fill)


def main(argv: Sequence[str] | None = None) -> Result:
    parser = argument_parser(__doc__)
    parser.add_argument("--dimension", type=positive, default=10, help="number of variables of Rosenbrock's function")
    options = parser.parse_args(argv)
    require("scipy", "for its optimisers")
    report = report_of(options)

    report.heading(f"Rosenbrock's function of {options.dimension} variables")
    # From here every method goes down the main valley; from others some end in a second, local minimum.
    x0 = np.zeros(options.dimension)
    methods: tuple[str, ...] = GRADIENT_METHODS + PRODUCT_METHODS + HESSIAN_METHODS
    valley = [solve(rosenbrock, x0, method, 2000) for method in report.progress(methods, "Rosenbrock", len(methods))]
    show(report, valley, "largest error", [f"{float(np.max(np.abs(run.x - 1))):.1e}" for run in valley])

    train, test = load_digits(onehot=True)
    objective = digits_objective(train)
    start = np.zeros(train.images.shape[1] * 10 + 10)
    # The other methods keep dense matrices of the Hessian's size: too slow for 650 variables.
    methods = ("CG", "L-BFGS-B", "TNC", "Newton-CG", "trust-ncg", "trust-krylov")
    if report.quick:
        methods = ("L-BFGS-B", "Newton-CG", "trust-ncg")
    report.heading(f"Softmax regression on {train.num_examples} digits, {start.size} variables")
    runs = [solve(objective, start, method, 1000) for method in report.progress(methods, "digits", len(methods))]
    truth = np.argmax(test.labels, axis=1)
    accuracies = {
        run.method: float(np.mean(np.argmax(test.images @ run.x[:-10].reshape(-1, 10) + run.x[-10:], axis=1) == truth))
        for run in runs
    }
    show(report, runs, "test acc.", [f"{share:.4f}" for share in accuracies.values()])
    result = Result(valley, runs, accuracies)
    plot(report, result)
    return result


if __name__ == "__main__":
    main()
