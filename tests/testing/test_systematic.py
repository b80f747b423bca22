"""The matrix: every primitive, every check, from the primitives' samples alone."""

from __future__ import annotations

import numpy as np
import pytest

import functrans.random  # noqa: F401 - registers primitives of its own, besides those of the package
from functrans.core.primitive import Primitive, registry
from functrans.testing import systematic

PRIMITIVES = [p for p in registry.values() if not p.name.startswith("test_")]


@pytest.mark.parametrize("prim", PRIMITIVES, ids=str)
def test_no_slot_is_empty(prim: Primitive) -> None:
    systematic.check_slots(prim)


@pytest.mark.parametrize("check", systematic.CHECKS)
@pytest.mark.parametrize("prim", [p for p in PRIMITIVES if p.samples is not None], ids=str)
def test_cell(check: str, prim: Primitive) -> None:
    assert prim.samples is not None
    samples = list(prim.samples())
    assert samples
    with np.errstate(all="ignore"):
        for k, sample in enumerate(samples):
            try:
                systematic.CHECKS[check](prim, sample)
            except Exception as error:
                error.add_note(f"{prim}, sample {k}: {sample}")
                raise
