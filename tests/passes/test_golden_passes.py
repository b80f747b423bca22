"""Each pass, by what it makes of programs that a reader can judge: one file a pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from functrans.backends import find
from functrans.core.jaxpr import Jaxpr, dce
from functrans.passes import Pass, default
from functrans.passes.chain import MatrixChains
from functrans.testing.golden import check_golden

GOLDEN = Path(__file__).parent.parent / "golden" / "passes"
PASSES: list[Pass] = [*default, MatrixChains()]


@pytest.mark.parametrize("one", PASSES, ids=lambda p: p.name)
def test_a_pass(one: Pass) -> None:
    find("numpy")  # which texts of calls name

    def run(jaxpr: Jaxpr) -> Jaxpr:
        made = one.run(jaxpr)
        return made if one.name in ("cse", "fold") else dce(made)

    check_golden(GOLDEN / f"{one.name}.txt", run)


def test_every_file_belongs_to_a_pass() -> None:
    assert {path.stem for path in GOLDEN.glob("*.txt")} == {p.name for p in PASSES}
