"""What native kernels can do."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from functrans.backends.llvm.operations import POWERS, ROWS, Row, computed_in
from functrans.backends.llvm.runtime import machine
from functrans.backends.numpy.target import target as numpy_target
from functrans.core.dtypes import DType
from functrans.core.jaxpr import Eqn, Literal, SizeVar
from functrans.core.primitive import Trait
from functrans.kernel.index import Axis, FloorDiv, Index, Mod, Position, Value

ROW_ELEMENTS = 1 << 15
"""Of a row that is kept between stages: a few of them fit the second-level cache."""
COLUMN_ELEMENTS = 1 << 11
"""The same where lanes are apart from the row, so that several rows are kept at once."""


class LlvmTarget:
    """Any index, guarded loads, rows that stay in cache."""

    guards = True

    def holds(self, order: Sequence[Axis], row: Sequence[Axis]) -> bool:
        size = prod([a.extent for a in row])
        return size <= (ROW_ELEMENTS if set(order[len(order) - len(row) :]) == set(row) else COLUMN_ELEMENTS)

    def reads(self, position: Position) -> bool:
        return not any(_computed(i) for i in position)

    def computes(self, eqn: Eqn) -> bool:
        prim = eqn.prim
        if prim.multiple or not eqn.inputs or len(eqn.outs) != 1:
            return False
        avals = [*(a.aval for a in eqn.inputs), eqn.outs[0].aval]
        if any(isinstance(n, SizeVar) for a in avals for n in a.shape) or any(0 in a.shape for a in avals):
            return False
        if not all(_native(a.dtype) for a in avals):
            return False
        if prim.monoid is not None:
            return eqn.inputs[0].aval.dtype.kind != "b" or prim.monoid not in ("argmax", "argmin")
        if Trait.ELEMENTWISE not in prim.traits or not eqn.outs[0].aval.shape:
            return False
        if prim.name in ("convert", "select", "stop_gradient"):
            return True
        if prim.name == "pow":
            return exponent(eqn) is not None
        row = ROWS.get(prim.name)
        return row is not None and not eqn.params and self._fits(eqn, row)

    def _fits(self, eqn: Eqn, row: Row) -> bool:
        """Whether the operands meet in a dtype that the operation is emitted for."""
        if row.fused and not machine().fma:
            return False
        values = [constant(a) for a in eqn.inputs]
        for a, value in zip(eqn.inputs, values, strict=True):
            if value is None and a.aval.box == "python" and a.aval.dtype.kind in "bi":
                return False  # NumPy looks whether the number fits at each call
        dtypes = [a.aval.dtype for a in eqn.inputs]
        weak = [
            0.0 if value is None and a.aval.box == "python" else value
            for a, value in zip(eqn.inputs, values, strict=True)
        ]
        dtype = computed_in(dtypes, weak)
        if dtype.kind not in row.kinds or not _native(dtype):
            return False
        return all(_holds(dtype, v) for v in values)

    def long(self, eqn: Eqn) -> bool:
        """Whether a call takes long enough to be worth a thread."""
        return numpy_target.long(eqn)


def constant(atom: Any) -> Any:
    """The Python number that an operand is, else None."""
    if isinstance(atom, Literal) and type(atom.value) in (bool, int, float):
        return atom.value
    return None


def exponent(eqn: Eqn) -> int | None:
    """The small whole exponent of a power that is computed by products."""
    x, y = eqn.inputs
    value = y.value if isinstance(y, Literal) else None
    if value is None or np.ndim(value) or x.aval.dtype.kind != "f" or eqn.outs[0].aval.dtype != x.aval.dtype:
        return None
    return int(value) if value in POWERS else None


def _native(dtype: DType) -> bool:
    return dtype.isnative and (dtype.kind in "biu" or dtype in (np.dtype(np.float32), np.dtype(np.float64)))


def _holds(dtype: DType, value: Any) -> bool:
    """Whether a dtype holds a Python number."""
    if value is None or dtype.kind == "f":
        return True
    if dtype.kind == "b":
        return isinstance(value, bool)
    info = np.iinfo(dtype)
    return not isinstance(value, float) and bool(info.min <= value <= info.max)


def _computed(index: Index) -> bool:
    """Whether an index depends on values that the kernel computes."""
    for atom, _ in index.terms:
        if isinstance(atom, Value) or (isinstance(atom, (FloorDiv, Mod)) and _computed(atom.index)):
            return True
    return False


target = LlvmTarget()
