"""Products of vectors and matrices."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from functrans import errors, lax
from functrans.core.structural import rebox
from functrans.core.trace import aval_of
from functrans.lax.static import normalize_axis
from functrans.numpy import linear
from functrans.numpy.dispatch import implements, operand, reject_out
from functrans.numpy.linalg.operands import factored_operand, two_axes


@implements(np.linalg.matmul)
def matmul(x1: Any, x2: Any, /) -> Any:
    """The matrix product; see ``numpy.linalg.matmul``."""
    return linear.matmul.apply(x1, x2)


@implements(np.linalg.tensordot)
def tensordot(x1: Any, x2: Any, /, *, axes: Any = 2) -> Any:
    """The sum of products over given axes; see ``numpy.linalg.tensordot``."""
    return linear.tensordot(x1, x2, axes)


@implements(np.linalg.vecdot)
def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """The dot product of vectors along an axis, the first conjugated; see ``numpy.linalg.vecdot``."""
    return linear.vecdot.apply(x1, x2, axis=axis)


@implements(np.linalg.outer)
def outer(x1: Any, x2: Any, /) -> Any:
    """The products of all pairs of elements of two vectors; see ``numpy.linalg.outer``."""
    x, y = operand(x1, "outer"), operand(x2, "outer")
    if aval_of(x).ndim != 1 or aval_of(y).ndim != 1:
        raise errors.ShapeError(f"outer: two vectors are needed, got {aval_of(x)} and {aval_of(y)}")
    return linear.outer(x, y)


@implements(np.linalg.cross)
def cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """The vector product of vectors with three elements; see ``numpy.linalg.cross``."""
    for which, x in (("x1", x1), ("x2", x2)):
        shape = aval_of(operand(x, "cross")).shape
        if shape[normalize_axis("cross", axis, len(shape))] != 3:
            raise errors.ShapeError(f"cross: axis {axis} of {which} must have 3 elements, but its shape is {shape}")
    return linear.cross(x1, x2, axis=axis)


@implements(np.linalg.matrix_transpose)
def matrix_transpose(x: Any, /) -> Any:
    """The last two axes swapped; see ``numpy.linalg.matrix_transpose``."""
    x = operand(x, "matrix_transpose")
    two_axes("matrix_transpose", x)
    ndim = aval_of(x).ndim
    return lax.transpose(x, (*range(ndim - 2), ndim - 1, ndim - 2))


@implements(np.linalg.diagonal)
def diagonal(x: Any, /, *, offset: int = 0) -> Any:
    """The diagonals of the last two axes; see ``numpy.linalg.diagonal``."""
    x = operand(x, "diagonal")
    two_axes("diagonal", x)
    return lax.diagonal(x, offset, -2, -1)


@implements(np.linalg.trace)
def trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Any:
    """The sums of the diagonals of the last two axes; see ``numpy.linalg.trace``."""
    return linear.trace(x, offset, -2, -1, dtype)


def _chain(shapes: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Where to split each run of matrices so that their product takes the fewest multiplications."""
    n = len(shapes)
    sizes = [shapes[0][0], *(columns for _, columns in shapes)]
    cost = [[0] * n for _ in range(n)]
    split = [[0] * n for _ in range(n)]
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            cost[i][j], split[i][j] = min(
                (cost[i][k] + cost[k + 1][j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k) for k in range(i, j)
            )
    return split


@implements(np.linalg.multi_dot)
def multi_dot(arrays: Any, *, out: None = None) -> Any:
    """The product of matrices, and of vectors at the ends, in the cheapest order; see ``numpy.linalg.multi_dot``."""
    reject_out("multi_dot", out)
    factors = [operand(a, "multi_dot") for a in arrays]
    if len(factors) < 2:
        raise errors.ArgumentError(f"multi_dot: two arrays or more are needed, got {len(factors)}")
    if len(factors) == 2:
        return linear.dot(*factors)
    row, column = aval_of(factors[0]).ndim == 1, aval_of(factors[-1]).ndim == 1
    if row:
        factors[0] = lax.expand_dims(factors[0], (0,))
    if column:
        factors[-1] = lax.expand_dims(factors[-1], (1,))
    for i, x in enumerate(factors):
        if aval_of(x).ndim != 2:
            raise errors.ShapeError(
                f"multi_dot: array {i} has type {aval_of(x)}; matrices are needed, vectors at the ends alone"
            )
    split = _chain([aval_of(x).shape for x in factors])

    def product(i: int, j: int) -> Any:
        return factors[i] if i == j else linear.dot(product(i, split[i][j]), product(split[i][j] + 1, j))

    out_axes = ((0,) if row else ()) + ((1,) if column else ())
    return rebox(lax.squeeze(product(0, len(factors) - 1), out_axes), "numpy")


@implements(np.linalg.matrix_power)
def matrix_power(a: Any, n: Any) -> Any:
    """The product of ``n`` equal matrices (of inverses for a negative ``n``); see ``numpy.linalg.matrix_power``."""
    x = operand(a, "matrix_power")
    two_axes("matrix_power", x)
    rows, columns = aval_of(x).shape[-2:]
    if rows != columns:
        raise errors.ShapeError(f"matrix_power: the last two axes must be equal in extent, got {aval_of(x)}")
    n = operator.index(n)
    if n < 0:
        x, n = lax.linalg.inv(factored_operand("matrix_power", x)), -n
    if n == 0:
        return lax.broadcast_to(lax.eye(rows, dtype=aval_of(x).dtype), aval_of(x).shape)
    if n == 3:
        return lax.matmul(lax.matmul(x, x), x)
    square, result = x, None
    while n:
        n, bit = divmod(n, 2)
        if bit:
            result = square if result is None else lax.matmul(result, square)
        square = lax.matmul(square, square) if n else square
    return result
