"""Some hundreds of random programs through the whole compiler; ``tools/fuzz.py`` runs as many as one likes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans.config import override
from tests.passes.fuzzing import compare, run_smooth, run_straight, straight, tiny


@pytest.mark.parametrize("threads", [1, 3])
def test_straight_programs(threads: int) -> None:
    with tiny(64 * threads), override("threads", threads):
        run_straight(150, threads)


def test_smooth_programs() -> None:
    with tiny():
        run_smooth(100, 1)


def test_what_a_kernel_reads_elsewhere_is_no_part_of_it() -> None:
    def f(x: Any) -> Any:
        h = np.floor(x)
        return h, np.rint(np.flip(h * x))

    x = np.linspace(-3.0, 3.0, 60).reshape(5, 3, 4)
    with tiny():
        compare(ft.jit(f)(x), f(x), True, "read backwards, and stored")


def test_a_program_is_drawn_from_its_seed() -> None:
    texts = {straight(np.random.default_rng([0, k])).text for k in range(20)}
    assert len(texts) == 20
    assert straight(np.random.default_rng([0, 3])).text == straight(np.random.default_rng([0, 3])).text


def test_what_differs_is_seen() -> None:
    with pytest.raises(AssertionError, match="the text"):
        compare(np.zeros(2), -np.zeros(2), True, "the text")
    with pytest.raises(AssertionError, match="the text"):
        compare(np.zeros(2), np.float64(0.0), False, "the text")
    with pytest.raises(AssertionError, match="the text"):
        compare(np.array([1.0, 2.0]), np.array([1.0, 2.0 + 1e-11]), False, "the text")
