"""Choosing, searching and sorting."""

from __future__ import annotations

from typing import Any

import numpy as np

from functrans import lax
from functrans.core import dtypes
from functrans.core.structural import convert
from functrans.core.trace import aval_of
from functrans.numpy.dispatch import implements, operand
from functrans.numpy.reductions import NO_VALUE


@implements(np.where)
def where(condition: Any, x: Any = NO_VALUE, y: Any = NO_VALUE) -> Any:
    """``x`` where the condition holds, ``y`` elsewhere; see ``numpy.where``. Both are evaluated."""
    mask = operand(condition, "where")
    if aval_of(mask).dtype != bool:
        mask = lax.ne(mask, aval_of(mask).dtype.type(0))
    a, b = operand(x, "where"), operand(y, "where")
    avals = [aval_of(a), aval_of(b)]
    kinds = {"i": int, "f": float, "c": complex}
    keys = [kinds[v.dtype.kind] if v.weak else v.dtype for v in avals]
    target = dtypes.result_type(*keys)
    return lax.where(mask, *[v if k.weak and dtypes.is_inexact(target) and not all_weak(avals) else convert(v, target) for v, k in zip((a, b), avals, strict=True)])


def all_weak(avals: Any) -> bool:
    return all(a.weak for a in avals)
