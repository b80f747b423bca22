"""Diagonals: the diagonal of two axes taken, and an axis laid along a diagonal. Each is the transpose of the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans.core.avals import ShapedArray
from functrans.core.primitive import BatchAxis, Primitive, Sample, Undefined
from functrans.core.structural import move_axis
from functrans.core.trace import aval_of
from functrans.lax.families import movement
from functrans.lax.static import normalize_axis


def _length(rows: int, columns: int, offset: int) -> int:
    return max(min(rows + min(offset, 0), columns - max(offset, 0)), 0)


def _diagonal_shape(x: ShapedArray, *, offset: int, axis1: int, axis2: int) -> tuple[Any, ...]:
    rest = tuple(extent for a, extent in enumerate(x.shape) if a not in (axis1, axis2))
    return (*rest, _length(x.shape[axis1], x.shape[axis2], offset))


def _diagonal_transpose(ct: Any, x: Undefined, *, offset: int, axis1: int, axis2: int) -> list[Any]:
    rows, columns = x.aval.shape[axis1], x.aval.shape[axis2]
    return [embed_diagonal_p.bind(ct, rows=rows, columns=columns, offset=offset, axis1=axis1, axis2=axis2)]


def _diagonal_batch(
    axis: BatchAxis, args: Sequence[Any], dims: Sequence[int], *, offset: int, axis1: int, axis2: int
) -> tuple[Any, int]:
    d = dims[0]
    axis1, axis2 = axis1 + (axis1 >= d), axis2 + (axis2 >= d)
    out = diagonal_p.bind(args[0], offset=offset, axis1=axis1, axis2=axis2)
    return out, d - (axis1 < d) - (axis2 < d)


def _diagonal_samples() -> list[Sample]:
    x = np.sin(np.arange(24.0)).reshape(2, 3, 4)
    return [
        Sample((x,), {"offset": 0, "axis1": 0, "axis2": 1}),
        Sample((x,), {"offset": 1, "axis1": 2, "axis2": 0}),
        Sample((x[0],), {"offset": -2, "axis1": 0, "axis2": 1}),
        Sample((x[0].astype(np.float32),), {"offset": 7, "axis1": 0, "axis2": 1}),
        Sample((x[1] + 1j,), {"offset": 0, "axis1": 1, "axis2": 0}),
        Sample((np.arange(6).reshape(2, 3),), {"offset": 0, "axis1": 0, "axis2": 1}),
        Sample((np.zeros((0, 2)),), {"offset": 0, "axis1": 0, "axis2": 1}),
    ]


diagonal_p: Primitive = movement(
    "diagonal",
    shape=_diagonal_shape,
    impl=lambda xp, x, *, offset, axis1, axis2: x.diagonal(offset, axis1, axis2),
    transpose=_diagonal_transpose,
    batch=_diagonal_batch,
    view=True,
    samples=_diagonal_samples,
)


def _embed_shape(x: ShapedArray, *, rows: int, columns: int, offset: int, axis1: int, axis2: int) -> tuple[Any, ...]:
    shape = list(x.shape[:-1])
    for a, extent in sorted([(axis1, rows), (axis2, columns)]):
        shape.insert(a, extent)
    return tuple(shape)


def _embed_impl(xp: Any, x: Any, *, rows: int, columns: int, offset: int, axis1: int, axis2: int) -> Any:
    lead = x.shape[:-1]
    out = xp.zeros((*lead, rows * columns), x.dtype)
    start = offset if offset >= 0 else -offset * columns
    out[..., start : start + x.shape[-1] * (columns + 1) : columns + 1] = x
    order = list(range(len(lead)))
    for a, source in sorted([(axis1, len(lead)), (axis2, len(lead) + 1)]):
        order.insert(a, source)
    return out.reshape(*lead, rows, columns).transpose(order)


def _embed_transpose(
    ct: Any, x: Undefined, *, rows: int, columns: int, offset: int, axis1: int, axis2: int
) -> list[Any]:
    return [diagonal_p.bind(ct, offset=offset, axis1=axis1, axis2=axis2)]


def _embed_batch(
    axis: BatchAxis,
    args: Sequence[Any],
    dims: Sequence[int],
    *,
    rows: int,
    columns: int,
    offset: int,
    axis1: int,
    axis2: int,
) -> tuple[Any, int]:
    x = move_axis(args[0], dims[0], 0)
    out = embed_diagonal_p.bind(x, rows=rows, columns=columns, offset=offset, axis1=axis1 + 1, axis2=axis2 + 1)
    return out, 0


embed_diagonal_p: Primitive = movement(
    "embed_diagonal",
    shape=_embed_shape,
    impl=_embed_impl,
    transpose=_embed_transpose,
    batch=_embed_batch,
    samples=lambda: [
        Sample((s.args[0].diagonal(**s.params),), {"rows": rows, "columns": columns, **s.params})
        for s in _diagonal_samples()
        for rows, columns in [(s.args[0].shape[s.params["axis1"]], s.args[0].shape[s.params["axis2"]])]
    ],
)


def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The elements of ``x`` whose index along ``axis2`` is that along ``axis1`` plus ``offset``.

    Args:
        x: an array with at least two axes.

    Returns:
        An array with the diagonal as its last axis, behind the axes that remain.

    Raises:
        ShapeError: an axis that x does not have, or twice the same.

    >>> diagonal(np.arange(6).reshape(2, 3), 1)
    array([1, 5])
    """
    aval = aval_of(x)
    axis1 = normalize_axis("diagonal", axis1, aval.ndim, "axis1")
    axis2 = normalize_axis("diagonal", axis2, aval.ndim, "axis2")
    if axis1 == axis2:
        raise errors.ShapeError(f"diagonal: axis1 and axis2 must be two axes, got {axis1} twice")
    return diagonal_p.bind(x, offset=int(offset), axis1=axis1, axis2=axis2)


def embed_diagonal(x: Any, offset: int = 0, axis1: int = -2, axis2: int = -1) -> Any:
    """Zeros but for a diagonal, which holds the last axis of ``x``.

    Args:
        x: an array with at least one axis.
        offset: how far the diagonal lies above the main one; below, if negative.
        axis1, axis2: where the rows and the columns come in the result.

    Returns:
        An array with one axis more than x; rows and columns have as few elements as hold the diagonal.

    Raises:
        ShapeError: a 0-d x, axes that the result does not have, or twice the same.

    >>> embed_diagonal(np.array([1, 2]), 1)
    array([[0, 1, 0],
           [0, 0, 2],
           [0, 0, 0]])
    """
    aval = aval_of(x)
    if not aval.ndim:
        raise errors.ShapeError(f"embed_diagonal: an operand of type {aval} has no axis to lay along a diagonal")
    axis1 = normalize_axis("embed_diagonal", axis1, aval.ndim + 1, "axis1")
    axis2 = normalize_axis("embed_diagonal", axis2, aval.ndim + 1, "axis2")
    if axis1 == axis2:
        raise errors.ShapeError(f"embed_diagonal: axis1 and axis2 must be two axes, got {axis1} twice")
    extent = aval.shape[-1] + abs(int(offset))
    return embed_diagonal_p.bind(x, rows=extent, columns=extent, offset=int(offset), axis1=axis1, axis2=axis2)
