"""Linear algebra as ``functrans.numpy.linalg``: norms and products, and what else needs no factorisation."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.linalg import LinAlgError as LinAlgError

from functrans import errors, lax
from functrans.core import dtypes
from functrans.core.structural import convert, rebox
from functrans.core.trace import Tracer, aval_of
from functrans.lax.static import normalize_axes, normalize_axis
from functrans.numpy import elementwise as ew
from functrans.numpy import linear
from functrans.numpy.arguments import NO_VALUE, concrete, keep_axes
from functrans.numpy.dispatch import implements, operand, reject_out
from functrans.numpy.reductions import squared_magnitude

# -- norms ----------------------------------------------------------------------------------------------------------


def _inexact(name: str, x: Any) -> Any:
    x = operand(x, name)
    dtype = aval_of(x).dtype
    return convert(x, dtype if dtypes.is_inexact(dtype) else np.float64)


def _total(x: Any, axes: tuple[int, ...], keepdims: bool = False) -> Any:
    return keep_axes(x, lax.reduce_sum(x, axes), axes, keepdims)


def _extreme(x: Any, axes: tuple[int, ...], largest: bool, keepdims: bool) -> Any:
    """The extremum of numbers that are not negative; the largest of none is 0."""
    ufunc, initial = (ew.maximum, 0) if largest else (ew.minimum, NO_VALUE)
    empty = 0 in [aval_of(x).shape[a] for a in axes]
    return ufunc.fold("norm", x, axes, None, None, keepdims, initial if empty else NO_VALUE, True)


def _powers(x: Any, ord: Any) -> Any:
    """``x ** ord`` for numbers that are not negative. Below 1 the slope at zero is infinite, and is taken to be 0."""
    if ord >= 1:
        return lax.scalar_pow(x, ord)
    zero = lax.eq(x, 0.0)
    power = lax.scalar_pow(lax.select(zero, 1.0, x), ord)
    return lax.select(zero, 0.0 if ord > 0 else math.inf, power)


def _vector_norm(x: Any, ord: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    if isinstance(ord, str):
        raise errors.ArgumentError(f"norm: ord={ord!r} is no norm of vectors; give a number, or two axes for a matrix")
    if isinstance(ord, Tracer):
        value = concrete(ord)
        if value is None or (np.isfinite(value) and value != 0):
            total = _total(ew.power(lax.abs(x), ord), axes, keepdims)
            return _inverse_power(total, ew.divide(1.0, ord), 0.0)
        ord = float(value)
    if ord is None or ord == 2:
        return lax.safe_sqrt(_total(squared_magnitude(x), axes, keepdims))
    if ord == 0:
        counted = convert(lax.ne(x, aval_of(x).dtype.type(0)), dtypes.real_dtype(aval_of(x).dtype))
        return _total(counted, axes, keepdims)
    size = lax.abs(x)
    if abs(ord) == math.inf:
        return _extreme(size, axes, ord > 0, keepdims)
    if ord == 1:
        return _total(size, axes, keepdims)
    total = _total(_powers(size, ord if isinstance(ord, int) else float(ord)), axes, keepdims)
    exponent = np.reciprocal(aval_of(total).dtype.type(ord))
    return _inverse_power(total, exponent, 0.0 if ord > 0 else math.inf)


def _inverse_power(total: Any, exponent: Any, limit: float) -> Any:
    """``total ** exponent``; at zero the limit, with the derivative 0, since a norm has no slope there."""
    dtype = aval_of(total).dtype
    zero = lax.eq(total, dtype.type(0))
    norm = ew.power(lax.select(zero, dtype.type(1), total), exponent)
    return rebox(lax.select(zero, aval_of(norm).dtype.type(limit), norm), "numpy")


def _matrix_norm(x: Any, ord: Any, axes: Sequence[int], keepdims: bool) -> Any:
    if isinstance(ord, Tracer):
        raise errors.ArgumentError("norm: ord of the norm of a matrix says which norm it is, and cannot be traced")
    row, column = axes
    if ord in (None, "fro", "f"):
        return lax.safe_sqrt(_total(squared_magnitude(x), tuple(sorted(axes)), keepdims))
    if ord in (2, -2, "nuc"):
        raise errors.MissingRuleError(
            f"norm: ord={ord!r} of a matrix needs its singular values, and functrans has no singular value "
            f"decomposition. The norms 'fro', 1, -1, inf and -inf of matrices, and all of vectors, can be traced"
        )
    if ord not in (1, -1, math.inf, -math.inf):
        raise errors.ArgumentError(f"norm: ord={ord!r} is no norm of matrices; those are 'fro', 1, -1, inf and -inf")
    summed, compared = (row, column) if abs(ord) == 1 else (column, row)
    sums = _total(lax.abs(x), (summed,), True)
    found = _extreme(sums, (compared,), ord > 0, True)
    return found if keepdims else rebox(lax.squeeze(found, tuple(sorted(axes))), "numpy")


@implements(np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """The norm of vectors along an axis, or of matrices along two; see ``numpy.linalg.norm``.

    Where a norm is zero its derivative is taken to be 0, to every order. Elements that tie for an extremum share it.
    The norm of a vector can be differentiated in ``ord`` too, which must be finite and not zero then.

    Raises:
        MissingRuleError: norms of matrices that need singular values: ``ord`` 2, -2 and ``"nuc"``.

    >>> import functrans as ft, numpy as np
    >>> ft.grad(norm)(np.array([3.0, 4.0]))
    array([0.6, 0.8])
    >>> ft.grad(norm)(np.zeros(2))
    array([0., 0.])
    """
    x = _inexact("norm", x)
    ndim = aval_of(x).ndim
    plain = not isinstance(ord, Tracer) and (ord in (None, 2) if ndim == 1 else ord in (None, "f", "fro") and ndim == 2)
    if axis is None and (plain or ord is None):
        flat = lax.reshape(x, (aval_of(x).size,)) if ndim != 1 else x
        if dtypes.is_complex(aval_of(x).dtype):
            re, im = lax.real(flat), lax.imag(flat)
            square = lax.add(lax.dot(re, re), lax.dot(im, im))
        else:
            square = lax.dot(flat, flat)
        return keep_axes(x, lax.safe_sqrt(square), tuple(range(ndim)), keepdims)
    chosen = tuple(range(ndim)) if axis is None else axis if isinstance(axis, tuple) else (operator.index(axis),)
    if len(chosen) not in (1, 2):
        raise errors.ShapeError(
            f"norm: a vector has one axis and a matrix two, but axis={axis} of an array of type {aval_of(x)} gives "
            f"{len(chosen)}"
        )
    axes = tuple(normalize_axis("norm", a, ndim) for a in chosen)
    if len(axes) == 1:
        return _vector_norm(x, ord, axes, keepdims)
    if axes[0] == axes[1]:
        raise errors.ShapeError(f"norm: axis={axis} names an axis twice")
    return _matrix_norm(x, ord, axes, keepdims)


@implements(np.linalg.vector_norm)
def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    """The norm of the elements along axes, taken as one vector; see ``numpy.linalg.vector_norm`` and ``norm``."""
    x = _inexact("vector_norm", x)
    return _vector_norm(x, ord, normalize_axes("vector_norm", axis, aval_of(x).ndim, "axis"), keepdims)


@implements(np.linalg.matrix_norm)
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    """The norm of matrices in the last two axes; see ``numpy.linalg.matrix_norm`` and ``norm``."""
    x = _inexact("matrix_norm", x)
    _two_axes("matrix_norm", x)
    return _matrix_norm(x, ord, (aval_of(x).ndim - 2, aval_of(x).ndim - 1), keepdims)


# -- products -------------------------------------------------------------------------------------------------------


def _two_axes(name: str, x: Any) -> None:
    if aval_of(x).ndim < 2:
        raise errors.ShapeError(f"{name}: an array with two axes or more is needed, got {aval_of(x)}")


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
    _two_axes("matrix_transpose", x)
    ndim = aval_of(x).ndim
    return lax.transpose(x, (*range(ndim - 2), ndim - 1, ndim - 2))


@implements(np.linalg.diagonal)
def diagonal(x: Any, /, *, offset: int = 0) -> Any:
    """The diagonals of the last two axes; see ``numpy.linalg.diagonal``."""
    x = operand(x, "diagonal")
    _two_axes("diagonal", x)
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
    """The product of ``n`` equal matrices; see ``numpy.linalg.matrix_power``.

    Raises:
        MissingRuleError: a negative ``n``, which needs the inverse.
    """
    x = operand(a, "matrix_power")
    _two_axes("matrix_power", x)
    rows, columns = aval_of(x).shape[-2:]
    if rows != columns:
        raise errors.ShapeError(f"matrix_power: the last two axes must be equal in extent, got {aval_of(x)}")
    n = operator.index(n)
    if n < 0:
        raise errors.MissingRuleError(
            f"matrix_power: n={n} needs the inverse of the matrix, and functrans has no matrix inverse. Pass the "
            f"inverse, computed outside of the transformed function, with a positive n"
        )
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
