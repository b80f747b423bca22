"""An operation of SciPy's made one of functrans's: deblurring digits.

``scipy.ndimage.gaussian_filter`` is compiled code, of which no transformation can know anything.
``ft.extend.primitive`` makes it an operation like the others, once it is told what follows:

    blur = ft.extend.primitive(
        "gaussian_blur",
        lambda x, *, sigma: gaussian_filter(x, sigma, mode="constant"),
        shape=lambda x, sigma: ft.ShapeDtypeStruct(x.shape, x.dtype),
        jvp=[lambda t, out, x, sigma: blur(t, sigma=sigma)],
        transpose=lambda ct, x, sigma: [blur(ct, sigma=sigma)],
    )

A filter is linear, so its derivative is itself, and this one is symmetric, so its transpose is too. Nothing was
said about batches: ``vmap`` runs it on one image after another. With that, ``jit``, ``grad`` and ``vmap`` work,
and the gradient of a misfit takes the blur out of images again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from datasets import load_digits
from reporting import argument_parser, report_of, require

import functrans as ft

Array = npt.NDArray[Any]

SIGMA = 0.8


@dataclass(frozen=True)
class Result:
    """What ``main`` found.

    Attributes:
        gradient_difference: from finite differences, along a direction, relative.
        transpose_difference: between ``<a, blur(b)>`` and ``<blur(a), b>``.
        blurred, restored: root mean square errors of the images, before and after.
    """

    gradient_difference: float
    transpose_difference: float
    blurred: float
    restored: float


def gaussian_blur(x: Any, *, sigma: float) -> Any:
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(x, sigma, mode="constant")


blur = ft.extend.primitive(
    "gaussian_blur",
    gaussian_blur,
    shape=lambda x, sigma: ft.ShapeDtypeStruct(x.shape, x.dtype),
    jvp=[lambda t, out, x, sigma: blur(t, sigma=sigma)],
    transpose=lambda ct, x, sigma: [blur(ct, sigma=sigma)],
)


def misfit(image: Any, seen: Any) -> Any:
    """How far the image's blur is from what was seen, and how rough it is."""
    rough = np.sum((image[1:] - image[:-1]) ** 2) + np.sum((image[:, 1:] - image[:, :-1]) ** 2)
    return np.sum((blur(image, sigma=SIGMA) - seen) ** 2) + 1e-3 * rough


def restored(seen: Any, steps: int) -> Any:
    """The image that explains best what was seen, by gradient descent with momentum."""
    gradient = ft.grad(misfit)

    def step(_: Any, state: Any) -> Any:
        image, momentum = state
        momentum = 0.9 * momentum - 0.3 * gradient(image, seen)
        return np.clip(image + momentum, 0.0, 1.0), momentum

    return ft.lax.fori_loop(0, steps, step, (seen, np.zeros_like(seen)))[0]


def main(argv: Sequence[str] | None = None) -> Result:
    report = report_of(argument_parser(__doc__).parse_args(argv))
    require("scipy", "for the filter")
    n, steps = (4, 60) if report.quick else (10, 400)
    images = load_digits()[1].images[:n].reshape(n, 8, 8)
    random = np.random.RandomState(0)
    a, b = random.normal(size=(2, 8, 8))
    transpose_difference = abs(float(np.sum(a * blur(b, sigma=SIGMA)) - np.sum(blur(a, sigma=SIGMA) * b)))

    seen = ft.vmap(lambda image: blur(image, sigma=SIGMA))(images) + 0.002 * random.normal(size=images.shape)
    h = 1e-5
    gradient = ft.jit(ft.grad(misfit))(images[0], seen[1])
    numeric = (misfit(images[0] + h * a, seen[1]) - misfit(images[0] - h * a, seen[1])) / (2 * h)
    gradient_difference = abs(float((np.sum(gradient * a) - numeric) / numeric))

    found = ft.jit(ft.vmap(lambda x: restored(x, steps)))(seen)
    errors = [float(np.sqrt(np.mean((x - images) ** 2))) for x in (seen, found)]
    report.heading(f"{n} digits, blurred by SciPy's Gaussian filter and restored in {steps} steps")
    report.table(["", "root mean square error"], [["blurred", f"{errors[0]:.4f}"], ["restored", f"{errors[1]:.4f}"]])
    report.say(f"gradient and finite difference: relative difference {gradient_difference:.1e}")

    def fill(figure: Any) -> None:
        for row, line in zip(figure.subplots(3, n), (images, seen, found), strict=True):
            for axes, image in zip(row, line, strict=True):
                axes.imshow(image, cmap="gray", vmin=0, vmax=1)
                axes.axis("off")

    report.plot("scipy_operation", (n * 0.9, 3.0), fill)
    return Result(gradient_difference, transpose_difference, *errors)


if __name__ == "__main__":
    main()
