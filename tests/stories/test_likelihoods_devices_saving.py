"""Parameter derivatives of special functions, gradients of arrays on a device, and compiled functions that travel."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.special

import functrans as ft
from functrans.backends.cupy import driver
from tests.backends.cupy import standin


def test_the_derivative_of_a_special_function_in_its_parameter() -> None:
    """What lifelines' likelihoods need: SciPy's own function, differentiated in a parameter."""

    def survival(a: Any) -> Any:
        return scipy.special.betainc(a, 2.0, 0.5)

    h = 1e-6
    expected = (survival(1.5 + h) - survival(1.5 - h)) / (2 * h)
    for gradient in (ft.grad(survival), ft.jit(ft.grad(survival))):
        np.testing.assert_allclose(gradient(1.5), expected, rtol=1e-8)


def test_the_gradient_of_an_array_on_a_device_is_one_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """An elementwise chain under a sum: its compiled gradient stays on the device and is a single launch."""
    monkeypatch.setattr(driver, "compile_source", lambda source, architecture: source.encode())

    def f(x: Any) -> Any:
        return np.sum(np.exp(np.sin(x)) * x)

    x = np.linspace(-2.0, 2.0, 1000)
    with standin.installed(monkeypatch) as cupy:
        gradient = ft.jit(ft.grad(f))
        out = gradient(cupy.asarray(x))
        assert isinstance(out, cupy.ndarray)
        assert standin.launched == ["kernel_0"] and standin.waits == []
        np.testing.assert_allclose(out.get(), ft.grad(f)(x), rtol=1e-13)


READER = """
import pickle, sys
import numpy as np
with open(sys.argv[1], "rb") as file:
    hessian = pickle.load(file)
x = np.array([1.0, -2.0, 3.0])
np.testing.assert_allclose(hessian(x), np.diag(12 * x**2))
assert hessian.trace_count == 0
"""


def test_a_compiled_hessian_in_a_process_without_its_source(tmp_path: Path) -> None:
    def objective(x: Any) -> Any:
        return np.sum(x**4)

    saved = tmp_path / "hessian.pickle"
    saved.write_bytes(pickle.dumps(ft.jit(ft.hessian(objective)).lower(np.zeros(3))))
    done = subprocess.run([sys.executable, "-c", READER, str(saved)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
