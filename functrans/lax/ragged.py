"""Products of matrices whose rows fall into groups, each with a matrix of its own: mixtures of experts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from functrans import errors
from functrans.core.structural import convert
from functrans.core.trace import aval_of
from functrans.lax.arithmetic import sub
from functrans.lax.compare import bitwise_and, ge, lt
from functrans.lax.contraction import DotDimensionNumbers, dot_general
from functrans.lax.creation import iota
from functrans.lax.cumulative import cumsum
from functrans.lax.movement import expand_dims, reshape
from functrans.lax.precision import PrecisionLike
from functrans.lax.selection import select


@dataclass(frozen=True)
class RaggedDotDimensionNumbers:
    """Which axes play which role in ``ragged_dot_general``.

    Attributes:
        dot_dimension_numbers: those of ``dot_general``, for the left operand and one group's right operand.
        lhs_ragged_dimensions: the one axis of the left operand whose elements fall into groups, one behind another.
        rhs_group_dimensions: the axis of the right operand that enumerates the groups.
    """

    dot_dimension_numbers: DotDimensionNumbers
    lhs_ragged_dimensions: tuple[int, ...]
    rhs_group_dimensions: tuple[int, ...]


_MATRICES = RaggedDotDimensionNumbers((((1,), (1,)), ((), ())), (0,), (0,))


def ragged_dot(
    lhs: Any,
    rhs: Any,
    group_sizes: Any,
    precision: PrecisionLike = None,
    preferred_element_type: Any = None,
) -> Any:
    """Each row of a matrix times the matrix of its group: ``out[i] = lhs[i] @ rhs[group of i]``.

    Args:
        lhs: an array ``(m, k)``: first the rows of group 0, then those of group 1, and so on.
        rhs: an array ``(groups, k, n)`` of the same dtype.
        group_sizes: integers ``(groups,)``, which may be traced: how many rows each group has. Rows behind the last
            group give zeros.
        precision, preferred_element_type: as in ``dot_general``.

    Returns:
        An array ``(m, n)``.

    Raises:
        ShapeError: shapes that do not fit.

    >>> ragged_dot(np.ones((3, 2)), np.array([[[1.0], [1.0]], [[5.0], [0.0]]]), np.array([2, 1]))
    array([[2.],
           [2.],
           [5.]])
    """
    return ragged_dot_general(lhs, rhs, group_sizes, _MATRICES, precision, preferred_element_type)


def ragged_dot_general(
    lhs: Any,
    rhs: Any,
    group_sizes: Any,
    ragged_dot_dimension_numbers: RaggedDotDimensionNumbers,
    precision: PrecisionLike = None,
    preferred_element_type: Any = None,
) -> Any:
    """``dot_general`` with a right operand for each group of elements along one axis of the left one.

    Args:
        lhs, rhs: arrays of one dtype.
        group_sizes: integers ``(groups,)``: how many elements along the ragged axis each group has, in order. What lies
            behind the last group gives zeros.
        ragged_dot_dimension_numbers: the roles of axes. The ragged axis is neither contracted nor shared.
        precision, preferred_element_type: as in ``dot_general``.

    Raises:
        ShapeError: roles or shapes that do not fit.
    """
    numbers = ragged_dot_dimension_numbers
    x, y, sizes = aval_of(lhs), aval_of(rhs), aval_of(group_sizes)
    (lc, rc), (lb, rb) = ((tuple(a) for a in pair) for pair in numbers.dot_dimension_numbers)
    if len(numbers.lhs_ragged_dimensions) != 1 or len(numbers.rhs_group_dimensions) != 1:
        raise errors.ShapeError(
            f"ragged_dot_general: one ragged axis of the lhs and one group axis of the rhs are needed, got {numbers}"
        )
    (ragged,), (group,) = numbers.lhs_ragged_dimensions, numbers.rhs_group_dimensions
    if ragged in (*lc, *lb) or group in (*rc, *rb) or not 0 <= ragged < x.ndim or not 0 <= group < y.ndim:
        raise errors.ShapeError(
            f"ragged_dot_general: axis {ragged} of the lhs and axis {group} of the rhs must exist, and be neither "
            f"contracted nor shared: {numbers}"
        )
    if sizes.dtype.kind not in "iu" or sizes.shape != (y.shape[group],):
        raise errors.ShapeError(
            f"ragged_dot_general: group_sizes must be integers of shape ({y.shape[group]},), one for each group of the "
            f"rhs of shape {y.shape}; got {sizes}"
        )
    # Each element stands in the row of its own group, all other rows are zeros; then groups are summed over too.
    ends = expand_dims(cumsum(convert(group_sizes, np.int64), 0), (1,))
    starts = sub(ends, expand_dims(convert(group_sizes, np.int64), (1,)))
    place = expand_dims(iota(np.int64, (x.shape[ragged],)), (0,))
    mine = bitwise_and(ge(place, starts), lt(place, ends))
    shape = [1] * (x.ndim + 1)
    shape[0], shape[ragged + 1] = y.shape[group], x.shape[ragged]
    spread = select(reshape(mine, shape), expand_dims(lhs, (0,)), x.dtype.type(0))
    dims = (((0, *(a + 1 for a in lc)), (group, *rc)), (tuple(a + 1 for a in lb), rb))
    return dot_general(spread, rhs, dims, precision, preferred_element_type)
