"""Calls of the functions of images, by name: see ``tests/random/cases.py``."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from tests.random.cases import Case

METHODS = ("nearest", "linear", "cubic", "cubic-pytorch", "lanczos3", "lanczos5", "area")
IMAGE = np.sin(np.arange(60.0) ** 1.5).reshape(5, 6, 2)
_SHAPES = ((9, 4, 2), (2, 13, 2), (3, 3, 1))


def _resized(dtype: Any, method: str, antialias: bool, shape: tuple[int, ...]) -> Case:
    image = IMAGE.astype(dtype)
    exact = method == "nearest"
    return Case(lambda m, k: m.resize(image, shape, method, antialias=antialias), 0, 0 if exact else 64)


def _moved(method: str, antialias: bool) -> Case:
    scale, shift = np.array([1.3, 0.7]), np.array([0.4, -1.2])
    return Case(lambda m, k: m.scale_and_translate(IMAGE, (7, 5, 2), (0, 1), scale, shift, method, antialias), 0, 64)


CASES = {
    **{
        f"resize-{method}-{antialias}-{shape[0]}-{np.dtype(dtype)}": _resized(dtype, method, antialias, shape)
        for dtype, method, antialias, shape in itertools.product(
            (np.float64, np.float32), METHODS, (True, False), _SHAPES
        )
    },
    **{
        f"scale_and_translate-{method}-{antialias}": _moved(method, antialias)
        for method, antialias in itertools.product(METHODS[1:], (True, False))
    },
    "resize-integers": Case(lambda m, k: m.resize(np.arange(12, dtype=np.uint8).reshape(3, 4), (5, 2), "nearest")),
    "resize-line": Case(lambda m, k: m.resize(np.arange(5.0), (8,), "bicubic"), 0, 64),
    "resize-volume": Case(lambda m, k: m.resize(IMAGE[:4, :4], (3, 5, 4), "trilinear"), 0, 64),
}
