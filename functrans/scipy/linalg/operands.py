"""Operands of ``functrans.scipy.linalg`` in the dtypes that SciPy computes in."""

from __future__ import annotations

from typing import Any

import numpy as np

from functrans import errors, lax
from functrans.core.structural import convert
from functrans.core.trace import aval_of
from functrans.numpy.dispatch import operand
from functrans.numpy.linalg.operands import factored


def operands(name: str, *arrays: Any) -> list[Any]:
    """Operands in their common dtype: half precision counts as float32, integers as float64."""
    found = [operand(x, name) for x in arrays]
    return factored(name, *[convert(x, np.float32) if aval_of(x).dtype == np.float16 else x for x in found])


def matrix(name: str, x: Any, square: bool = False) -> Any:
    """One operand with two axes or more."""
    (x,) = operands(name, x)
    aval = aval_of(x)
    if aval.ndim < 2:
        raise errors.ShapeError(f"{name}: a matrix is needed, got {aval}")
    if square and aval.shape[-1] != aval.shape[-2]:
        raise errors.ShapeError(f"{name}: a square matrix is needed, got {aval}")
    return x


def vector(name: str, x: Any) -> Any:
    """One operand with an axis or more, in its own dtype; a number is a vector of one element."""
    x = operand(x, name)
    return lax.reshape(x, (1,)) if aval_of(x).ndim == 0 else x
