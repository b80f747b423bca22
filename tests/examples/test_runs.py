"""Every example runs in its short form and comes to the results that its text promises."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def run(name: str, output: Path, *arguments: str) -> Any:
    return importlib.import_module(name).main(["--output", str(output), *arguments])


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """What the main job found, and where it wrote."""
    output = tmp_path_factory.mktemp("logistic")
    return run("logistic_regression", output, "--quick"), output


class TestLogisticRegression:
    def test_the_three_ways_agree_in_every_weight(self, result: tuple[Any, Path]) -> None:
        by_hand, *others = result[0].trained
        assert [one.method for one in others] == ["declared graph", "jit(value_and_grad)"]
        for other in others:
            for ours, reference in zip(other.parameters, by_hand.parameters, strict=True):
                assert type(ours) is np.ndarray
                assert_allclose(ours, reference, rtol=0, atol=1e-11)
            assert_allclose(other.losses, by_hand.losses, rtol=0, atol=1e-11)
        assert result[0].largest_difference < 1e-11

    def test_it_learns(self, result: tuple[Any, Path]) -> None:
        losses = result[0].trained[-1].losses
        assert losses[0] == pytest.approx(np.log(10), abs=1e-12)
        assert np.mean(losses[-10:]) < 0.35
        assert result[0].train_accuracy > 0.93
        assert result[0].test_accuracy > 0.93

    def test_the_gradient_is_that_of_finite_differences(self) -> None:
        module = importlib.import_module("logistic_regression")
        random = np.random.RandomState(0)
        images, labels = random.uniform(size=(5, 3)), np.eye(10)[[1, 2, 2, 7, 9]]
        parameters = random.normal(size=(3, 10)), random.normal(size=10)
        direction = random.normal(size=(3, 10)), random.normal(size=10)
        _, gradient = module.value_and_gradient(parameters, images, labels)
        slope = sum(np.sum(g * d) for g, d in zip(gradient, direction, strict=True))
        h = 1e-5
        forward, backward = (
            module.loss(tuple(p + sign * d for p, d in zip(parameters, direction, strict=True)), images, labels)
            for sign in (h, -h)
        )
        assert slope == pytest.approx((forward - backward) / (2 * h), rel=1e-8)

    def test_the_drawn_graph_shows_loss_gradient_and_update(self, result: tuple[Any, Path]) -> None:
        graph = result[0].graph
        assert list(graph.groups()) == ["input", "loss", "gradient", "update", "output"]
        labels = [node.label for node in graph.nodes.values()]
        for name in ("weights", "biases", "images", "labels", "loss", "new weights", "new biases"):
            assert labels.count(name) == 1
        assert any(node.label.startswith("exp") and node.group == "loss" for node in graph.nodes.values())
        svg = (result[1] / "logistic_regression_graph.svg").read_text(encoding="utf-8")
        texts = [text.text for text in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
        assert set(labels) <= set(texts)
        assert (result[1] / "logistic_regression_graph.dot").read_text(encoding="utf-8").startswith("digraph")

    def test_the_compiled_function_describes_itself(self, result: tuple[Any, Path]) -> None:
        assert "exp" in result[0].description
        assert "f64[100,64]" in result[0].description

    def test_mnist_from_a_folder(self, tmp_path: Path) -> None:
        from datasets import write_idx

        random = np.random.RandomState(0)
        for split, n in (("train", 120), ("t10k", 30)):
            labels = random.randint(0, 10, n).astype(np.uint8)
            images = random.randint(0, 50, (n, 28, 28)).astype(np.uint8)
            images[np.arange(n), 2 * labels + 4] = 255  # a bright row that tells the label
            write_idx(tmp_path / f"{split}-images-idx3-ubyte.gz", images)
            write_idx(tmp_path / f"{split}-labels-idx1-ubyte.gz", labels)
        found = run("logistic_regression", tmp_path / "output", "--mnist", str(tmp_path), "--steps", "60")
        assert found.trained[-1].parameters[0].shape == (784, 10)
        assert found.test_accuracy > 0.9


def test_mlp(tmp_path: Path) -> None:
    result = run("mlp", tmp_path)
    assert result.losses[-1] < 0.2 < result.losses[0]
    assert result.train_accuracies[-1] > 0.97
    assert result.test_accuracies[-1] > 0.95
    assert result.traces == 1
    assert all(type(layer["weights"]) is np.ndarray for layer in result.parameters)


def test_convnet(tmp_path: Path) -> None:
    result = run("convnet", tmp_path)
    assert result.losses[-1] < result.losses[0]
    assert result.test_accuracies[-1] > 0.9
    assert result.largest_gradient_error < 1e-6


def test_scipy_minimize(tmp_path: Path) -> None:
    result = run("scipy_minimize", tmp_path)
    assert len(result.rosenbrock) == 10
    for found in result.rosenbrock:
        assert_allclose(found.x, 1, atol=2e-3, err_msg=found.method)
        assert found.value < 1e-5
    decay = importlib.import_module("scipy_minimize").DECAY
    best = min(found.value for found in result.digits)
    for found in result.digits:
        assert found.gradient_norm < 1e-4
        # What convexity says of a function whose curvature is at least the decay.
        assert found.value - best <= found.gradient_norm**2 / (2 * decay)
    assert min(result.accuracies.values()) > 0.97


def test_per_example_gradients(tmp_path: Path) -> None:
    result = run("per_example_gradients", tmp_path)
    assert result.loop_difference < 1e-12
    assert result.mean_difference < 1e-12
    assert result.norms.shape == (200,)
    clip = importlib.import_module("per_example_gradients").CLIP
    assert_allclose(result.clipped_norms, np.minimum(result.norms, clip), rtol=1e-10)
    assert np.any(result.norms > clip)
    total = np.sqrt(sum(np.sum(leaf**2) for leaf in result.clipped_sum.values()))
    assert 0 < total <= np.sum(result.clipped_norms)


def test_hessian_free(tmp_path: Path) -> None:
    result = run("hessian_free", tmp_path)
    assert result.hvp_difference < 1e-12
    norms = [iteration.gradient_norm for iteration in result.iterations]
    assert norms[-1] < 1e-3
    values = [iteration.value for iteration in result.iterations]
    assert values[0] == pytest.approx(np.log(10), abs=1e-12)
    assert all(after < before for before, after in pairwise(values))
    assert norms[-1] < result.descent[-1][1] / 10
    assert result.test_accuracy > 0.96


def test_the_main_job_as_a_user_starts_it(tmp_path: Path) -> None:
    """As a script, from another folder, with nothing but functrans on the path."""
    environment = os.environ | {"PYTHONPATH": str(EXAMPLES.parent), "PYTHONWARNINGS": "error"}
    command = [sys.executable, str(EXAMPLES / "logistic_regression.py"), "--quick", "--output", "plots"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "accuracy: 9" in done.stdout.splitlines()[-1]
    assert (tmp_path / "plots" / "logistic_regression_graph.svg").exists()
