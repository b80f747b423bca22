"""Random programs on the native backend; ``tools/fuzz.py --backend llvm`` runs as many as one likes."""

from __future__ import annotations

import pytest

from functrans.config import override
from tests.backends.llvm.fuzzing import run_smooth, run_straight, units


@pytest.mark.parametrize("elements", [0, 8])
def test_straight_programs(elements: int) -> None:
    with units(elements), override("threads", 2):
        assert run_straight(60, elements) > 10


def test_smooth_programs() -> None:
    with units(8):
        run_smooth(40, 1)
