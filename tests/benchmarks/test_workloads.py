"""The workloads' statements, and the references that were written by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from benchmarks import models
from benchmarks.bars import BARS
from benchmarks.peers import BASELINE, CONTENDERS
from benchmarks.workloads import WORKLOADS
from benchmarks.workloads.compile import unfamiliar

CLASSIFIER = models.mlp_loss(np, models.log_softmax_of(np))


def central_differences(function: Callable[[Any], Any], x: Any, step: float = 1e-6) -> Any:
    shifts = step * np.eye(x.size).reshape(-1, *x.shape)
    return np.stack([(function(x + shift) - function(x - shift)) / (2 * step) for shift in shifts])


def test_every_workload_has_the_baseline_and_known_contenders() -> None:
    for workload in WORKLOADS.values():
        assert BASELINE in workload.contenders
        assert workload.contenders.keys() <= CONTENDERS.keys(), workload.name


def test_bars_speak_of_workloads_and_contenders_that_are_there() -> None:
    for bar in BARS:
        assert bar.contender in WORKLOADS[bar.workload].contenders


def test_rosenbrock_by_hand() -> None:
    x = np.linspace(-1.0, 1.5, 10)
    by_hand = models.rosenbrock_gradient_by_hand(x)
    np.testing.assert_allclose(by_hand, central_differences(models.rosenbrock(np), x), rtol=1e-6, atol=1e-5)
    hessian = models.rosenbrock_hessian_by_hand(x)
    np.testing.assert_allclose(
        hessian, central_differences(models.rosenbrock_gradient_by_hand, x), rtol=1e-6, atol=1e-5
    )


@pytest.mark.parametrize("sizes", [(5, 3), (5, 4, 3), (5, 4, 4, 3)])
def test_mlp_by_hand(sizes: tuple[int, ...]) -> None:
    params, x, targets = models.mlp_inputs(sizes, 6, "float64")
    value, gradient = models.mlp_by_hand(params, x, targets)
    np.testing.assert_allclose(value, CLASSIFIER(params, x, targets), rtol=1e-12)
    for i, layer in enumerate(params):
        for name, array in layer.items():

            def moved(replacement: Any, i: int = i, name: str = name) -> Any:
                changed = [dict(layer) for layer in params]
                changed[i][name] = replacement
                return CLASSIFIER(changed, x, targets)

            expected = central_differences(moved, array).reshape(array.shape)
            np.testing.assert_allclose(gradient[i][name], expected, rtol=1e-6, atol=1e-8)


def test_mlp_per_example_by_hand_averages_to_the_gradient_of_the_batch() -> None:
    inputs = models.mlp_inputs((5, 4, 3), 6, "float64")
    _, gradient = models.mlp_by_hand(*inputs)
    each = models.mlp_per_example_by_hand(*inputs)
    for layer, stacked in zip(gradient, each, strict=True):
        for name, expected in layer.items():
            assert stacked[name].shape == (6, *expected.shape)
            np.testing.assert_allclose(stacked[name].mean(axis=0), expected, rtol=1e-12, atol=1e-15)


def test_a_workload_starts_from_the_same_inputs_each_time() -> None:
    first, second = (models.mlp_inputs((5, 3), 6, "float32") for _ in range(2))
    assert first[1].dtype == first[0][0]["w"].dtype == first[0][0]["b"].dtype == first[2].dtype == np.float32
    np.testing.assert_array_equal(first[0][0]["w"], second[0][0]["w"])
    np.testing.assert_array_equal(first[1], second[1])


def test_an_unfamiliar_copy_differs_in_object_and_code_and_computes_the_same() -> None:
    offset = 2.0

    def function(x: float) -> float:
        return x + offset

    first, second = unfamiliar(function), unfamiliar(function)
    assert len({function.__code__, first.__code__, second.__code__}) == 3
    assert first(1.0) == second(1.0) == 3.0
