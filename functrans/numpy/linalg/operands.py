"""Operands of linear algebra: in the dtype that NumPy computes in, with the axes that it wants."""

from __future__ import annotations

from typing import Any

import numpy as np

from functrans import errors, lax
from functrans.core import dtypes
from functrans.core.structural import broadcast_shapes, convert
from functrans.core.trace import aval_of
from functrans.lax.linalg.common import DTYPES
from functrans.numpy.dispatch import operand


def two_axes(name: str, x: Any) -> None:
    if aval_of(x).ndim < 2:
        raise errors.ShapeError(f"{name}: an array with two axes or more is needed, got {aval_of(x)}")


def square(name: str, x: Any) -> None:
    two_axes(name, x)
    if aval_of(x).shape[-1] != aval_of(x).shape[-2]:
        raise errors.ShapeError(f"{name}: the last two axes must be equal in extent, got {aval_of(x)}")


def factored(name: str, *arrays: Any) -> list[Any]:
    """Operands in the dtype that NumPy factors them in: integers count as float64."""
    found = [operand(x, name) for x in arrays]
    kinds = [aval_of(x).dtype for x in found]
    target = dtypes.result_type(*[d if dtypes.is_inexact(d) else np.dtype(np.float64) for d in kinds])
    if target not in DTYPES or any(dtypes.is_inexact(d) and d not in DTYPES for d in kinds):
        raise errors.DTypeError(
            f"{name}: operands of types {', '.join(str(aval_of(x)) for x in found)} are not supported. LAPACK knows "
            f"float32, float64, complex64 and complex128: convert with x.astype(float)"
        )
    return [convert(x, target) for x in found]


def factored_operand(name: str, x: Any) -> Any:
    return factored(name, x)[0]


def stacks(name: str, x: Any, y: Any) -> tuple[Any, Any]:
    """Two stacks of matrices with their leading axes broadcast."""
    xs, ys = aval_of(x).shape, aval_of(y).shape
    lead = broadcast_shapes(name, xs[:-2], ys[:-2])
    return lax.broadcast_to(x, (*lead, *xs[-2:])), lax.broadcast_to(y, (*lead, *ys[-2:]))
