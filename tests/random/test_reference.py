"""The samples are those of another library for the same keys: figures which ``tools/random_reference.py`` wrote."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from random_reference import excess

import functrans as ft
from tests.random.cases import CASES, SEEDS

REFERENCE = np.load(Path(__file__).parent / "reference.npz")


@pytest.mark.parametrize("name", CASES)
def test_samples(name: str) -> None:
    case = CASES[name]
    for i, seed in enumerate(SEEDS):
        found = np.asarray(case.call(ft.random, ft.random.key(seed)))
        expected = REFERENCE[f"{name}/{i}"]
        if expected.dtype.kind != "i":  # another default for indices
            assert found.dtype == expected.dtype
        assert excess(found, expected, case.rtol, case.atol) <= 1, (found, expected)


def test_raw_keys_give_the_samples_of_typed_ones() -> None:
    for name in ("normal-float64", "permutation", "gamma-float32", "choice_p-float64"):
        case = CASES[name]
        a, b = (case.call(ft.random, make(7)) for make in (ft.random.key, ft.random.PRNGKey))
        np.testing.assert_array_equal(a, b)


def test_every_figure_has_a_case() -> None:
    assert {name.rpartition("/")[0] for name in REFERENCE.files} == set(CASES)
