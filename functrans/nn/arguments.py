"""Operands as these functions take them: array-likes as arrays, integers as floats, one dtype for all."""

from __future__ import annotations

from typing import Any

import numpy as np

from functrans.core import dtypes
from functrans.core.structural import convert
from functrans.core.trace import aval_of
from functrans.lax.families import accept
from functrans.numpy.dispatch import operand

_WEAK_TYPES: dict[str, type] = {"i": int, "f": float, "c": complex}


def number(name: str, x: Any) -> Any:
    """An operand whose integers stay what they are; booleans are counted as integers."""
    x = operand(x, name)
    accept(name, "biuf", [aval_of(x)])
    dtype = aval_of(x).dtype
    return convert(x, np.int64 if dtype.kind == "b" else dtype)


def floating(name: str, x: Any, kinds: str = "f") -> Any:
    """An operand in a dtype of the given kinds: its own, or float64 for booleans and integers."""
    x = operand(x, name)
    dtype = aval_of(x).dtype
    if not dtypes.is_inexact(dtype):
        return convert(x, np.float64)
    accept(name, kinds, [aval_of(x)])
    return convert(x, dtype)


def together(name: str, *values: Any, kinds: str = "f") -> list[Any]:
    """Operands in the dtype that NumPy promotes them to, float64 in place of one of integers."""
    operands = [operand(v, name) for v in values]
    avals = [aval_of(x) for x in operands]
    accept(name, "biu" + kinds, avals)
    strong = [a.dtype for a in avals if not a.weak]
    weak = [_WEAK_TYPES[a.dtype.kind] for a in avals if a.weak]
    target = dtypes.result_type(*(strong or weak))
    # NumPy itself promotes bfloat16 and a Python float to float64.
    if complex in weak or not dtypes.is_inexact(target):
        target = dtypes.result_type(*strong, *weak)
    if not dtypes.is_inexact(target):
        target = np.dtype(np.float64)
    return [convert(x, target) for x in operands]
