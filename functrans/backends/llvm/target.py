"""What native kernels can do."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from functrans.backends.llvm.casts import native as is_native
from functrans.backends.llvm.mathematics import FORMS
from functrans.backends.llvm.operations import PARAMETERS, ROWS, Row, operand_dtypes, static_exponent
from functrans.backends.numpy.target import target as numpy_target
from functrans.core.dtypes import DType, is_extended, kind
from functrans.core.jaxpr import Eqn, Literal, SizeVar
from functrans.core.primitive import Trait
from functrans.kernel.index import Axis, Position
from functrans.kernel.places import run_start

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

    def moves(self, eqn: Eqn) -> bool:
        """What is no run of an operand's elements, and so no view, and is not put together of copies."""
        if eqn.prim.name in ("concatenate", "stack"):
            return False
        if eqn.prim.name == "pad" and all(lo >= 0 and hi >= 0 and not n for lo, hi, n in eqn.params["padding"]):
            return False
        avals = [*(a.aval for a in eqn.inputs), *(v.aval for v in eqn.outs)]
        if any(isinstance(n, SizeVar) or n == 0 for a in avals for n in a.shape):
            return False
        return all(is_native(a.dtype) for a in avals) and run_start(eqn) is None

    def reads(self, position: Position) -> bool:
        return True

    def computes(self, eqn: Eqn) -> bool:
        prim = eqn.prim
        if prim.multiple or not eqn.inputs or len(eqn.outs) != 1:
            return False
        avals = [*(a.aval for a in eqn.inputs), eqn.outs[0].aval]
        if any(isinstance(n, SizeVar) for a in avals for n in a.shape) or any(0 in a.shape for a in avals):
            return False
        if not all(is_native(a.dtype) for a in avals):
            return False
        if prim.monoid is not None:
            return True
        return bool(eqn.outs[0].aval.shape) and self.operates(eqn)

    def operates(self, eqn: Eqn) -> bool:
        """Whether an elementwise operation is emitted for the dtypes of its operands."""
        prim = eqn.prim
        if Trait.ELEMENTWISE not in prim.traits:
            return False
        if prim.name == "scalar_pow" and eqn.outs[0].aval.dtype.kind != "c":
            return False
        if prim.name in PARAMETERS:
            number = weak(eqn.inputs[0]) if prim.name == "convert" else None
            if number is int or type(number) is int:
                return _holds(eqn.outs[0].aval.dtype, number)
            return all(is_native(a.aval.dtype) for a in (*eqn.inputs, *eqn.outs))
        if prim.name == "pow" and static_exponent(constant(eqn.inputs[1]), eqn.outs[0].aval.dtype) is not None:
            return eqn.inputs[0].aval.dtype == eqn.outs[0].aval.dtype
        row = ROWS.get(prim.name)
        return row is not None and eqn.params == FORMS.get(prim.name, {}) and self._fits(eqn, row)

    def _fits(self, eqn: Eqn, row: Row) -> bool:
        """Whether the operands meet in a dtype that the operation is emitted for."""
        values = [weak(a) for a in eqn.inputs]
        dtypes = operand_dtypes(eqn.prim.name, [a.aval.dtype for a in eqn.inputs], values, eqn.outs[0].aval.dtype)
        dtype = dtypes[0]
        if kind(dtype) not in row.kinds or not is_native(dtype) or not is_native(eqn.outs[0].aval.dtype):
            return False
        return all(_holds(dtype, v) for v in values)

    def long(self, eqn: Eqn) -> bool:
        """Whether a call takes long enough to be worth a thread."""
        return numpy_target.long(eqn)


def constant(atom: Any) -> Any:
    """The Python number that an operand is, else None."""
    if isinstance(atom, Literal) and type(atom.value) in (bool, int, float, complex):
        return atom.value
    return None


def weak(atom: Any) -> Any:
    """The Python number that an operand is, or the type of one that comes at run time; else None."""
    value = constant(atom)
    if value is None and atom.aval.box == "python":
        return type(atom.aval.dtype.type(0).item())
    return value


def _holds(dtype: DType, value: Any) -> bool:
    """Whether a dtype is known to hold a Python number: NumPy raises an error where it does not."""
    if value is None or value is bool or dtype.kind in "fc" or is_extended(dtype):
        return True
    if dtype.kind == "b":
        return isinstance(value, bool)
    if isinstance(value, type):
        return dtype == np.int64
    info = np.iinfo(dtype)
    return not isinstance(value, float) and bool(info.min <= value <= info.max)


target = LlvmTarget()
