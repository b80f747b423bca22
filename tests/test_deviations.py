"""The table of deviations in ``docs/deviations.md``: each row holds, on both sides."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import functrans as ft

PAGE = Path(__file__).resolve().parents[1] / "docs" / "deviations.md"


def rows() -> list[list[str]]:
    """The cells of the table's rows, without the backquotes of code."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `lambda")]
    return [[cell.strip().strip("`") for cell in line.strip("|").split(" | ")] for line in lines]


def holds(f: Any, argument: str, cell: str) -> bool:
    """Whether calling ``f`` raises, returns or fulfils what a cell says."""
    error = getattr(builtins, cell, None)
    x = eval(argument, {"np": np})
    if isinstance(error, type) and issubclass(error, Exception):
        try:
            f(x)
        except error:
            return True
        return False
    y = f(x)
    expected = eval(cell, {"np": np, "y": y})
    if cell.startswith(("y.", "not y.")):
        return bool(expected)
    if type(y) is not type(expected):
        return False
    return bool(y == expected if isinstance(y, int) else np.isclose(y, expected, rtol=1e-14, equal_nan=True))


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row[0]} at {row[1]}")
def test_the_row_holds(row: list[str]) -> None:
    program, argument, plain, compiled, why = row
    f = eval(program, {"np": np})
    with np.errstate(all="ignore"):
        assert holds(f, argument, plain)
        assert holds(ft.jit(f), argument, compiled)
    assert plain != compiled and why


def test_the_table_was_read() -> None:
    assert len(rows()) >= 10


def test_a_wrong_cell_is_noticed() -> None:
    assert not holds(lambda n: n * n, "2**40", "0")
    assert not holds(lambda n: n * n, "3", "9.0")
    assert not holds(lambda x: 1.0 / x, "1.0", "ZeroDivisionError")
    assert not holds(lambda x: x.T, "np.ones((2, 3))", "y.strides == (16, 8)")
