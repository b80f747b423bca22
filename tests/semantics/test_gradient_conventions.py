"""The table of conventions in ``docs/derivatives.md``: each row holds, to second order, eagerly and compiled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import functrans as ft

PAGE = Path(__file__).resolve().parents[2] / "docs" / "derivatives.md"


def rows() -> list[list[str]]:
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `lambda")]
    return [[cell.strip().strip("`") for cell in line.strip("|").split(" | ")] for line in lines]


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row[0]} at {row[1]}")
def test_the_row_holds(row: list[str]) -> None:
    program, place, gradient, hessian, why = row
    names = {"np": np, "ft": ft}
    f, x = eval(program, names), eval(place, names)
    expected, curvature = (np.asarray(eval(cell, names), float) for cell in (gradient, hessian))
    with np.errstate(all="ignore"):
        for compiled in (lambda g: g, ft.jit):
            np.testing.assert_allclose(compiled(ft.grad(f))(x), expected, rtol=1e-14, atol=1e-15)
            np.testing.assert_allclose(compiled(ft.hessian(f))(x), curvature, rtol=1e-14, atol=1e-15)
            if not np.isnan(expected).any():  # Forward mode picks from two tangents, and sees no NaN of a dead branch.
                np.testing.assert_allclose(compiled(ft.jacfwd(f))(x), expected, rtol=1e-14, atol=1e-15)
    assert why


def test_the_table_was_read() -> None:
    assert len(rows()) >= 25
