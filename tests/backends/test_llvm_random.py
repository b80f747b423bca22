"""Random programs compiled to native code, against plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import Phase, assume, given, settings

import functrans as ft
from functrans.core.trace import aval_of
from tests.testing.random_programs import Program, programs
from tests.testing.test_random_programs import close, loss_of, moderate

FEW = settings(max_examples=40, deadline=None, phases=[p for p in Phase if p is not Phase.shrink])


@FEW
@given(program=programs())
def test_values(program: Program) -> None:
    f, args = program.function, program.args
    kept = ft.tree.map(np.copy, args)
    with np.errstate(all="ignore"):
        expected = f(*args)
        compiled = ft.jit(f, backend="llvm")
        for _ in range(2):
            found = compiled(*args)
            for a, b in zip(ft.tree.leaves(found), ft.tree.leaves(expected), strict=True):
                assert type(a) is type(b) and aval_of(a) == aval_of(b)
            close(found, expected, 1e-12)
    for leaf in ft.tree.leaves(found):
        assert not any(np.shares_memory(leaf, x) for x in ft.tree.leaves(args))
    close(ft.tree.map(np.asarray, args), ft.tree.map(np.asarray, kept), 0.0)


@FEW
@given(program=programs())
def test_gradients(program: Program) -> None:
    args: Any = program.args
    gradient = ft.grad(loss_of(program.function), argnums=tuple(range(len(args))))
    with np.errstate(all="ignore"):
        expected = gradient(*args)
        assume(moderate(expected))
        close(ft.jit(gradient, backend="llvm")(*args), expected)
