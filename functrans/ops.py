"""Reductions of the members of segments: rows of an array that carry the same label."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from functrans import errors
from functrans.core import dtypes
from functrans.core.structural import convert
from functrans.core.trace import aval_of
from functrans.lax.compare import lt
from functrans.lax.creation import full
from functrans.lax.scatter import Operation, scatter
from functrans.lax.selection import select
from functrans.numpy.arguments import known
from functrans.numpy.dispatch import operand

__all__ = ["segment_max", "segment_min", "segment_prod", "segment_sum"]


def segment_sum(
    data: Any,
    segment_ids: Any,
    num_segments: int | None = None,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
) -> Any:
    """The sums of the rows of ``data`` that have the same label.

    Args:
        data: an array ``(n, …)``.
        segment_ids: integers ``(n,)``, in any order: the label of each row. A row whose label is negative, or not below
            ``num_segments``, is left out.
        num_segments: how many labels there are; the largest label plus 1 if None, for which the labels must be known
            while tracing.
        indices_are_sorted: accepted, and of no consequence.
        unique_indices: a promise that no label occurs twice, which saves work.

    Returns:
        An array ``(num_segments, …)`` of the dtype of ``data``, booleans being counted as integers. Labels that no row
        has give zeros.

    Raises:
        ShapeError: the labels are not one for each row.
        IndexingError: the labels are no integers.
        ConcretizationError: ``num_segments`` is None and the labels are not known.

    >>> import numpy as np
    >>> segment_sum(np.array([1.0, 2.0, 4.0]), np.array([0, 2, 0]))
    array([5., 0., 2.])
    """
    return _segments("segment_sum", "add", data, segment_ids, num_segments, unique_indices)


def segment_prod(
    data: Any,
    segment_ids: Any,
    num_segments: int | None = None,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
) -> Any:
    """The products of the rows of ``data`` that have the same label; labels that no row has give ones.

    Arguments and errors are those of ``segment_sum``.

    >>> import numpy as np
    >>> segment_prod(np.array([3.0, 2.0, 4.0]), np.array([0, 2, 0]))
    array([12.,  1.,  2.])
    """
    return _segments("segment_prod", "mul", data, segment_ids, num_segments, unique_indices)


def segment_max(
    data: Any,
    segment_ids: Any,
    num_segments: int | None = None,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
) -> Any:
    """The elementwise maxima of the rows of ``data`` that have the same label.

    Labels that no row has give minus infinity, or the least number of an integer dtype. Rows that tie share the
    derivative evenly. Arguments and errors are those of ``segment_sum``; complex numbers have no order, which is a
    DTypeError.

    >>> import numpy as np
    >>> segment_max(np.array([3.0, 2.0, 4.0]), np.array([0, 2, 0]))
    array([  4., -inf,   2.])
    """
    return _segments("segment_max", "max", data, segment_ids, num_segments, unique_indices)


def segment_min(
    data: Any,
    segment_ids: Any,
    num_segments: int | None = None,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
) -> Any:
    """The elementwise minima of the rows of ``data`` that have the same label.

    Labels that no row has give infinity, or the largest number of an integer dtype; else as ``segment_max``.

    >>> import numpy as np
    >>> segment_min(np.array([3.0, 2.0, 4.0]), np.array([0, 2, 0]))
    array([ 3., inf,  2.])
    """
    return _segments("segment_min", "min", data, segment_ids, num_segments, unique_indices)


def _segments(name: str, op: Operation, data: Any, segment_ids: Any, num_segments: int | None, unique: bool) -> Any:
    data = operand(data, name)
    if op in ("add", "mul") and aval_of(data).dtype == bool:
        data = convert(data, np.int64)
    data = convert(data, aval_of(data).dtype)
    ids = operand(segment_ids, name)
    aval, labels = aval_of(data), aval_of(ids)
    if dtypes.kind(labels.dtype) not in "iu":
        raise errors.IndexingError(f"{name}: segment_ids must be integers, got {labels}. Write segment_ids.astype(int)")
    if labels.ndim != 1 or aval.shape[:1] != labels.shape:
        raise errors.ShapeError(
            f"{name}: segment_ids needs shape (n,) for data of shape (n, …); got {labels.shape} and {aval.shape}"
        )
    if dtypes.is_complex(aval.dtype) and op in ("max", "min"):
        raise errors.DTypeError(f"{name}: data of type {aval} have no order. Reduce their real parts or moduli")
    if num_segments is None:
        given = known(name, "segment_ids", ids, "Pass num_segments")
        num_segments = int(given.max()) + 1 if given.size else 0
    count = operator.index(num_segments)
    if count < 0:
        raise errors.ArgumentError(f"{name}: num_segments must not be negative, got {count}")
    ids = convert(ids, np.int64)
    ids = select(lt(ids, 0), count, ids)
    start = full((count, *aval.shape[1:]), _neutral(op, aval.dtype), aval.dtype)
    return scatter(start, data, [ids], (0,), op=op, mode="drop", unique=unique)


def _neutral(op: Operation, dtype: dtypes.DType) -> Any:
    """What combining with anything leaves it as it is."""
    if op in ("add", "mul"):
        return 0 if op == "add" else 1
    largest = op == "min"
    if dtype.kind == "b":
        return largest
    if dtypes.is_inexact(dtype):
        return np.inf if largest else -np.inf
    info = np.iinfo(dtype)
    return info.max if largest else info.min
