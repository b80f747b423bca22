"""The examples of control flow, solvers and higher derivatives run in their short form, as their texts promise."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.testing import assert_allclose


def run(name: str, output: Path) -> Any:
    return importlib.import_module(name).main(["--output", str(output)])


def test_char_rnn(tmp_path: Path) -> None:
    result = run("char_rnn", tmp_path)
    assert result.losses[0] < result.uniform + 0.3
    assert np.mean(result.losses[-10:]) < 2.2
    assert result.remat_difference < 1e-14
    assert len(result.sample) == 161
    text = (Path(__file__).resolve().parents[2] / "LICENSE").read_text(encoding="utf-8")
    assert set(result.sample) <= {" ", *text}


def test_kalman(tmp_path: Path) -> None:
    result = run("kalman", tmp_path)
    assert result.likelihood_difference < 1e-10
    assert result.gradient_difference < 1e-7
    assert result.gradient_norm < 1e-7
    true = importlib.import_module("kalman").TRUE
    assert np.all(np.abs(result.estimate - true) < 3 * result.deviations)
    measured, filtered = result.errors
    assert filtered < 0.75 * measured


def test_neural_ode(tmp_path: Path) -> None:
    result = run("neural_ode", tmp_path)
    assert result.gradient_difference < 1e-5
    assert result.losses[-1] < result.losses[0] / 8
    assert result.last < 1.0


def test_kepler(tmp_path: Path) -> None:
    result = run("kepler", tmp_path)
    assert result.difference < 1e-9
    assert result.second_difference < 1e-7
    assert result.implicit_difference < 1e-9
    assert result.steps[0] < result.steps[1]
    assert_allclose(result.orbit, importlib.import_module("kepler").TRUE, atol=2e-3)
    assert result.misfits[-1] < 1e-3 * result.misfits[0]


def test_hmc(tmp_path: Path) -> None:
    result = run("hmc", tmp_path)
    assert result.mean_error < 0.15
    assert result.covariance_error < 0.3
    assert min(result.acceptance) > 0.8
    assert result.test_accuracy > 0.93
    assert result.mixing < 1.1


def test_pinn(tmp_path: Path) -> None:
    result = run("pinn", tmp_path)
    assert result.last < result.first / 1000
    assert result.error < 0.02
    assert result.taylor_difference < 1e-13


def test_scipy_operation(tmp_path: Path) -> None:
    result = run("scipy_operation", tmp_path)
    assert result.gradient_difference < 1e-8
    assert result.transpose_difference < 1e-13
    assert result.restored < result.blurred / 3
