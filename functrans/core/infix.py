"""Arithmetic on numbers in generated programs: operators in place of calls, and numbers that NumPy need not convert.

On a NumPy scalar an operator takes a tenth of the time of the ufunc, and gives the same bits. A Python number beside
an array costs a ufunc nearly as much again as the call itself, which an array without axes does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from functrans.core.avals import ShapedArray
from functrans.core.dtypes import DType
from functrans.core.jaxpr import Atom, Eqn, Literal, Var
from functrans.core.structural import rebox_p

OPERATORS: Mapping[str, str] = {
    "add": "{} + {}",
    "subtract": "{} - {}",
    "multiply": "{} * {}",
    "true_divide": "{} / {}",
    "divide": "{} / {}",
    "negative": "-{}",
    "absolute": "abs({})",
    "less": "{} < {}",
    "less_equal": "{} <= {}",
    "greater": "{} > {}",
    "greater_equal": "{} >= {}",
    "equal": "{} == {}",
    "not_equal": "{} != {}",
}
_LARGEST = 65504.0
"""Numbers up to here are finite in every type of floats."""
_DIVISIONS = frozenset({"divide", "true_divide"})  # Python divides by zero with an error.


def infix(eqn: Eqn, number: bool) -> str | None:
    """The expression of an operation on numbers, None where it has to be called.

    Args:
        number: whether the result may be a Python number.
    """
    template = OPERATORS.get(eqn.prim.scalar or "")
    if template is None:
        return None
    avals: Sequence[ShapedArray] = [a.aval for a in eqn.inputs]
    if any(a.shape != () or a.box == "array" for a in avals):
        return None
    if all(a.box == "python" for a in avals):
        plain = number and all(a.dtype.kind in "if" for a in avals) and eqn.prim.scalar not in _DIVISIONS
        return template if plain and (eqn.outs[0].aval.dtype.kind != "i" or _counts(eqn)) else None
    # Integers of NumPy warn where they overflow, and the ufunc does not.
    floats = all(a.dtype.char in "fd" if a.box == "numpy" else a.dtype.kind in "if" for a in avals)
    return template if floats else None


def _counts(eqn: Eqn) -> bool:
    """Whether an operation on integers is a step of a counter, which stays within the 64 bits that Python leaves."""
    steps = [a.value for a in eqn.inputs if isinstance(a, Literal)]
    return eqn.prim.scalar in ("add", "subtract") and any(abs(step) < 1 << 16 for step in steps)


def only_unboxed(nodes: Sequence[Any], outs: Sequence[Atom]) -> set[Atom]:
    """The variables that equations, or what stands for them, read only to convert them to Python numbers."""
    read: dict[Atom, bool] = {}
    for node in nodes:
        unboxes = getattr(node, "prim", None) is rebox_p and node.params["box"] == "python"
        for atom in node.inputs:
            read[atom] = unboxes and read.get(atom, True)
    kept = set(outs)
    return {atom for atom, unboxed in read.items() if unboxed and isinstance(atom, Var) and atom not in kept}


@cache
def _pairs(function: np.ufunc) -> frozenset[str]:
    """The types of operands of which a ufunc takes two that are alike."""
    return frozenset(t.split("->")[0] for t in function.types)


def number_as_array(value: Any, function: Any, dtypes: Iterable[DType]) -> np.ndarray[Any, Any] | None:
    """A Python number as what a ufunc makes of it beside arrays of some types; None where that is not plain to see."""
    kind = type(value)
    distinct = set(dtypes)
    if len(distinct) != 1 or kind not in (int, float) or not isinstance(function, np.ufunc):
        return None
    (dtype,) = distinct
    if dtype.isbuiltin != 1 or dtype.kind not in ("fc" if kind is float else "iufc"):
        return None
    low, high = (np.iinfo(dtype).min, np.iinfo(dtype).max) if dtype.kind in "iu" else (-_LARGEST, _LARGEST)
    if not low <= value <= high or dtype.char * 2 not in _pairs(function):
        return None
    converted = np.array(value, dtype)
    converted.flags.writeable = False
    return converted


def spelled(value: Any) -> str:
    """A number as a name: ``n2_0`` for 2.0, ``minus_1`` for -1."""
    text = repr(value).replace("e-", "e_minus_")
    return f"minus_{text[1:]}" if text.startswith("-") else f"n{text}"
