"""What the interpolators share: the axis that they go along, places out of range, and being pytrees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from functrans import errors
from functrans import numpy as fnp
from functrans.core import dtypes
from functrans.core.structural import convert
from functrans.core.trace import aval_of
from functrans.core.tree import register_pytree_node
from functrans.lax.static import normalize_axis
from functrans.numpy.arguments import concrete
from functrans.numpy.dispatch import operand

C = TypeVar("C", bound=type)


def pytree(arrays: Sequence[str], static: Sequence[str]) -> Any:
    """Make a class a pytree: some of its attributes are its children, others its structure."""

    def register(cls: C) -> C:
        def flatten(self: Any) -> tuple[list[Any], tuple[Any, ...]]:
            return [getattr(self, name) for name in arrays], tuple(getattr(self, name) for name in static)

        def unflatten(aux: tuple[Any, ...], children: Sequence[Any]) -> Any:
            self: Any = object.__new__(cls)
            for name, value in zip((*arrays, *static), (*children, *aux), strict=True):
                object.__setattr__(self, name, value)
            return self

        register_pytree_node(cls, flatten, unflatten)
        return cls

    return register


def floating(name: str, x: Any) -> Any:
    """An array of floats or complex numbers, in double precision unless it is wider."""
    x = operand(x, name)
    return convert(x, dtypes.result_type(aval_of(x).dtype, np.dtype(np.float64)))


def places(name: str, x: Any) -> Any:
    """A vector of real places; where their values are known they must increase."""
    x = operand(x, name)
    aval = aval_of(x)
    if aval.ndim != 1 or dtypes.is_complex(aval.dtype):
        raise errors.ShapeError(f"{name}: the places must be a vector of real numbers, got {aval}")
    x = convert(x, np.float64)
    value = concrete(x)
    if value is not None and not np.all(value[1:] > value[:-1]):
        raise errors.ArgumentError(f"{name}: the places must increase strictly")
    return x


def samples(name: str, x: Any, y: Any, axis: int, least: int = 2) -> tuple[Any, Any, int]:
    """Places and the values there, with the axis of these first, and that axis."""
    x, y = places(name, x), floating(name, y)
    d = normalize_axis(name, axis, aval_of(y).ndim)
    n = aval_of(x).shape[0]
    if aval_of(y).shape[d] != n:
        raise errors.ShapeError(f"{name}: there are {n} places for {aval_of(y).shape[d]} values along axis {axis}")
    if n < least:
        raise errors.ShapeError(f"{name}: {least} places or more are needed, got {n}")
    return x, fnp.moveaxis(y, d, 0), d


def column(x: Any, like: Any) -> Any:
    """A vector that multiplies along the first axis of another array."""
    return fnp.reshape(x, (-1, *[1] * (aval_of(like).ndim - 1)))


def placed(values: Any, lead: int, axis: int) -> Any:
    """Values whose first ``lead`` axes are those of the places, with these where the axis was."""
    if not axis:
        return values
    return fnp.moveaxis(values, tuple(range(lead)), tuple(range(axis, axis + lead)))
