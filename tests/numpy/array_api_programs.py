"""Programs of other packages that know the array API standard alone, differentiated and compiled.

It is run in a process of its own: SciPy decides on import whether it takes arrays of other namespaces. Each program
prints its name, and whether its compiled gradient agrees with finite differences of its values for plain arrays.
"""

from __future__ import annotations

import os
from typing import Any

os.environ["SCIPY_ARRAY_API"] = "1"

import einops.array_api as einops
import numpy as np
import scipy.special
import scipy.stats
import sklearn
from sklearn.metrics import pairwise

import functrans as ft

sklearn.set_config(array_api_dispatch=True, assume_finite=True)
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(2, 4, 6))

PROGRAMS = {
    "einops.rearrange": lambda x, y: einops.rearrange(x, "a (b c) -> c (a b)", c=2) ** 2,
    "einops.reduce": lambda x, y: einops.reduce(x * y, "a (b c) -> a c", "max", c=2),
    "einops.repeat": lambda x, y: einops.repeat(x, "a b -> a (b k)", k=3) ** 3,
    "scipy.special.softmax": lambda x, y: scipy.special.softmax(x, axis=1) * y,
    "scipy.stats.skew": lambda x, y: scipy.stats.skew(x, axis=1),
    "scipy.stats.kurtosis": lambda x, y: scipy.stats.kurtosis(x * y, axis=0, bias=False),
    "scipy.stats.gmean": lambda x, y: scipy.stats.gmean(abs(x), axis=1),
    "sklearn rbf_kernel": lambda x, y: pairwise.rbf_kernel(x, y),
    "sklearn polynomial_kernel": lambda x, y: pairwise.polynomial_kernel(x, y, degree=2),
}


def agrees(name: str) -> bool:
    program = PROGRAMS[name]
    weights = np.cos(np.arange(100.0))

    def loss(x: Any, y: Any) -> Any:
        out = program(x, y).reshape(-1)
        return (out * weights[: out.shape[0]]).sum()

    direction = RNG.normal(size=X.shape)
    slope = np.sum(ft.jit(ft.grad(loss))(X, Y) * direction)
    difference = (loss(X + 1e-6 * direction, Y) - loss(X - 1e-6 * direction, Y)) / 2e-6
    value = ft.jit(loss)(X, Y)
    return bool(np.isclose(slope, difference, rtol=1e-6, atol=1e-7) and np.isclose(value, loss(X, Y), rtol=1e-12))


if __name__ == "__main__":
    for name in PROGRAMS:
        print(f"{name}: {agrees(name)}")
