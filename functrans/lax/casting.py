"""Casts: values to another dtype, and bits read as another dtype."""

from __future__ import annotations

from typing import Any

import numpy as np

from functrans import errors
from functrans.core import dtypes
from functrans.core.avals import ShapedArray, shaped
from functrans.core.primitive import Primitive, Sample, Trait
from functrans.core.structural import convert
from functrans.core.trace import aval_of
from functrans.lax.families import no_tangent


def convert_element_type(x: Any, dtype: Any) -> Any:
    """``x`` cast to another dtype; complex numbers lose their imaginary part when cast to a real one.

    The cotangent is cast back to the dtype of ``x``; a cast to integers or booleans has none.

    >>> convert_element_type(np.array([1.5, 2.5]), np.int64)
    array([1, 2])
    """
    return convert(x, dtype)


def _bitcast_shape(x: ShapedArray, *, dtype: dtypes.DType) -> ShapedArray:
    if x.dtype.itemsize != dtype.itemsize or x.box == "python":
        raise errors.DTypeError(
            f"bitcast_convert_type: {x} cannot be read as {dtype}: the bits of one element must be those of one element"
        )
    return shaped(x.shape, dtype, x.box)


bitcast_convert_type_p: Primitive = Primitive(
    "bitcast_convert_type",
    shape=_bitcast_shape,
    impl=lambda xp, x, *, dtype: x.view(dtype).copy() if isinstance(x, np.ndarray) else x.view(dtype),
    jvp=no_tangent(lambda: bitcast_convert_type_p),
    batch=lambda axis, args, dims, *, dtype: (bitcast_convert_type_p.bind(args[0], dtype=dtype), dims[0]),
    kind="library",
    traits=frozenset({Trait.ELEMENTWISE}),
    samples=lambda: [
        Sample((np.linspace(0, 1, 3),), {"dtype": np.dtype(np.int64)}),
        Sample((np.arange(6, dtype=np.uint32).reshape(2, 3),), {"dtype": np.dtype(np.float32)}),
        Sample((np.float64(0.5),), {"dtype": np.dtype(np.uint64)}),
        Sample((np.zeros((0, 2), np.int16),), {"dtype": np.dtype(np.float16)}),
    ],
)


def bitcast_convert_type(x: Any, dtype: Any) -> Any:
    """The bits of each element read as an element of another dtype of the same size. It has no derivative.

    >>> bitcast_convert_type(np.array([1.0], np.float32), np.uint32)
    array([1065353216], dtype=uint32)
    """
    target = dtypes.canonical(np.dtype(dtype))
    return x if aval_of(x).dtype == target else bitcast_convert_type_p.bind(x, dtype=target)
