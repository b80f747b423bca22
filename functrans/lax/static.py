"""Static arguments: axes, shapes and the common dtype of operands, checked and brought into one form."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import Any

from functrans import errors
from functrans.core.avals import ShapedArray, shaped
from functrans.core.dtypes import DType
from functrans.core.jaxpr import SizeVar
from functrans.core.structural import elementwise_aval


def is_sequence(value: Any) -> bool:
    """Whether a static argument is several: a tuple, a list, a vector; not a number, be it a traced one."""
    return type(value) is tuple or (isinstance(value, Iterable) and getattr(value, "shape", None) != ())


def normalize_axis(name: str, axis: Any, ndim: int, argument: str = "axis") -> int:
    """An axis counted from the front; ShapeError where there is no such axis."""
    index = operator.index(axis)
    if not -ndim <= index < ndim:
        raise errors.ShapeError(f"{name}: {argument}={index} is out of bounds for an array with {ndim} axes")
    return index % ndim


def normalize_axes(name: str, axes: Any, ndim: int, argument: str = "axes") -> tuple[int, ...]:
    """Distinct axes counted from the front, in increasing order; all of them for None, one for an int."""
    if axes is None:
        return tuple(range(ndim))
    given = axes if is_sequence(axes) else (axes,)
    found = tuple(sorted([normalize_axis(name, a, ndim, argument) for a in given]))
    if len(set(found)) != len(found):
        raise errors.ShapeError(f"{name}: {argument}={axes} names an axis twice")
    return found


def static_extents(shape: Any) -> tuple[Any, ...]:
    """The extents of a shape as ints, of a vector for one int; a length known only at run time stays what it is."""
    extents = shape if is_sequence(shape) else (shape,)
    return tuple([e if type(e) is int or isinstance(e, SizeVar) else operator.index(e) for e in extents])


def normalize_shape(name: str, shape: Any) -> tuple[Any, ...]:
    """A shape as a tuple; an int is the shape of a vector."""
    result = static_extents(shape)
    if any([e < 0 for e in result if type(e) is int]):
        raise errors.ShapeError(f"{name}: a shape has no negative extents, got {result}")
    return result


def common_dtype(name: str, avals: Sequence[ShapedArray]) -> DType:
    """The one dtype of operands that need not broadcast; DTypeError where they differ."""
    return elementwise_aval(name, [shaped((), a.dtype, a.box) for a in avals]).dtype
