"""What a kernel on the device can do."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from functrans.backends.cupy.operations import KINDS, computed_in, kind, known
from functrans.core.dtypes import DType
from functrans.core.jaxpr import Eqn, Literal, SizeVar
from functrans.core.primitive import Trait
from functrans.kernel.index import Axis, Position

ROW_ELEMENTS = 1 << 15
"""Of a row that one block runs over several times: from registers where it fits, else from the second-level cache."""
COLUMN_ELEMENTS = 1 << 12


class CudaTarget:
    """Any index, guarded loads, rows that one block holds."""

    guards = True

    def holds(self, order: Sequence[Axis], row: Sequence[Axis]) -> bool:
        size = prod([a.extent for a in row])
        return size <= (ROW_ELEMENTS if set(order[len(order) - len(row) :]) == set(row) else COLUMN_ELEMENTS)

    def moves(self, eqn: Eqn) -> bool:
        return False

    def reads(self, position: Position) -> bool:
        return not any(True for i in position for _ in i.values())

    def computes(self, eqn: Eqn) -> bool:
        prim = eqn.prim
        if prim.multiple or not eqn.inputs or len(eqn.outs) != 1:
            return False
        avals = [*(a.aval for a in eqn.inputs), eqn.outs[0].aval]
        if any(isinstance(n, SizeVar) or n == 0 for a in avals for n in a.shape):
            return False
        if not all(known(a.dtype) for a in avals):
            return False
        if prim.monoid is not None:
            return Trait.CUMULATIVE not in prim.traits and self._reduces(prim.monoid, eqn.inputs[0].aval.dtype)
        if Trait.ELEMENTWISE not in prim.traits or not eqn.outs[0].aval.shape:
            return False
        if prim.name in ("convert", "stop_gradient", "select"):
            return True
        if prim.name in ("real", "imag", "complex"):
            return all(kind(a.dtype) in "fc" for a in avals) and avals[-1].dtype.char in "fdFD"
        kinds = KINDS.get(prim.name)
        return kinds is not None and not eqn.params and computable(eqn, kinds)

    def _reduces(self, monoid: str, dtype: DType) -> bool:
        if monoid in ("max", "min", "argmax", "argmin"):
            return kind(dtype) in "iuf" or (kind(dtype) == "b" and not monoid.startswith("arg"))
        return monoid not in ("add", "mul") or kind(dtype) in "iufc"


def computable(eqn: Eqn, kinds: str) -> bool:
    """Whether the operands of an equation meet in a dtype of these kinds, without a look at their values."""
    values = [constant(a) for a in eqn.inputs]
    for a, value in zip(eqn.inputs, values, strict=True):
        if value is None and a.aval.box == "python" and a.aval.dtype.kind in "bi":
            return False  # NumPy looks whether the number fits at each call
    dtype = meeting(eqn)
    return kind(dtype) in kinds and known(dtype) and all(fits(dtype, v) for v in values)


def meeting(eqn: Eqn) -> DType:
    """The dtype in which an equation is computed."""
    given = []
    for a in eqn.inputs:
        value = constant(a)
        given.append(a.aval.dtype.type(0).item() if value is None and a.aval.box == "python" else value)
    return computed_in([a.aval.dtype for a in eqn.inputs], given)


def constant(atom: Any) -> Any:
    """The Python number that an operand is, else None."""
    if isinstance(atom, Literal) and type(atom.value) in (bool, int, float, complex):
        return atom.value
    return None


def fits(dtype: DType, value: Any) -> bool:
    """Whether a dtype holds a Python number."""
    if value is None or kind(dtype) in "fc":
        return True
    if dtype.kind == "b":
        return isinstance(value, bool)
    info = np.iinfo(dtype)
    return not isinstance(value, float) and bool(info.min <= value <= info.max)


target = CudaTarget()
