"""Arrays made from nothing: constants, counters, identity and triangular patterns.

Each is a primitive, so that inside a transformation no large constant comes about by accident.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans.core import dtypes, structural
from functrans.core.avals import ShapedArray, shaped
from functrans.core.dtypes import DType
from functrans.core.primitive import BatchAxis, Primitive, Sample, Source, Trait, Undefined
from functrans.core.structural import convert, linear_jvp, move_axis, reduce_sum
from functrans.core.trace import aval_of
from functrans.lax.arithmetic import sub
from functrans.lax.compare import eq, le
from functrans.lax.families import Samples, no_tangent
from functrans.lax.static import normalize_axis, normalize_shape

# -- arrays that depend on static parameters alone ----------------------------------------------------------------


def nullary(
    name: str,
    *,
    shape: Callable[..., Any],
    impl: Callable[..., Any],
    samples: Samples,
    index: Callable[..., Source] | None = None,
    decompose: Callable[..., Any] | None = None,
) -> Primitive:
    """A primitive without operands: it has no derivative, and the same value for every example of a batch."""

    def prim_of() -> Primitive:
        return prim

    prim = Primitive(
        name,
        shape=shape,
        impl=impl,
        jvp=no_tangent(prim_of),
        batch=lambda axis, args, dims, **params: (prim.bind(**params), None),
        kind="library",
        samples=samples,
        index=index,
        decompose=decompose,
    )
    return prim


def _iota_impl(xp: Any, *, dtype: DType, shape: tuple[int, ...], dimension: int) -> Any:
    extent = shape[dimension]
    counts = xp.arange(extent, dtype=dtype)
    if len(shape) == 1:
        return counts
    out = xp.empty(shape, dtype)
    out[...] = counts.reshape((extent,) + (1,) * (len(shape) - 1 - dimension))
    return out


iota_p = nullary(
    "iota",
    shape=lambda *, dtype, shape, dimension: shaped(shape, dtype),
    impl=_iota_impl,
    index=lambda at, *, dtype, shape, dimension: Source(None, (at[dimension],)),
    samples=lambda: [
        Sample((), {"dtype": np.dtype(np.int64), "shape": (4,), "dimension": 0}),
        Sample((), {"dtype": np.dtype(np.float32), "shape": (2, 3, 2), "dimension": 1}),
        Sample((), {"dtype": np.dtype(np.complex128), "shape": (2, 3), "dimension": 0}),
        Sample((), {"dtype": np.dtype(np.uint8), "shape": (0, 3), "dimension": 0}),
    ],
)


def numeric_dtype(name: str, dtype: Any) -> DType:
    """The dtype of a sequence of numbers; DTypeError for booleans."""
    result = dtypes.canonical(np.dtype(dtype))
    if dtypes.kind(result) not in "iufc":
        raise errors.DTypeError(f"{name}: counting needs a numeric dtype, got {result}")
    return result


def iota(dtype: Any, shape: Any, dimension: int = 0) -> Any:
    """An array whose elements count 0, 1, 2, … along one axis.

    Args:
        dtype: a numeric dtype.
        shape: an int or a sequence of ints.
        dimension: the axis along which they count.

    >>> iota(np.int64, (2, 3), 1)
    array([[0, 1, 2],
           [0, 1, 2]])
    """
    extents = normalize_shape("iota", shape)
    axis = normalize_axis("iota", dimension, len(extents), "dimension")
    return iota_p.bind(dtype=numeric_dtype("iota", dtype), shape=extents, dimension=axis)


def _eye_shape(*, rows: int, columns: int, k: int, dtype: DType) -> ShapedArray:
    return shaped((rows, columns), dtype)


def _diagonals(compare: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """The pattern of a comparison of columns with rows, from their numbers."""

    def decompose(*, rows: int, columns: int, k: int, dtype: DType) -> Any:
        row, column = (iota(np.int64, (rows, columns), d) for d in (0, 1))
        return convert(compare(sub(column, row), k), dtype)

    return decompose


eye_p = nullary(
    "eye",
    decompose=_diagonals(eq),
    shape=_eye_shape,
    impl=lambda xp, *, rows, columns, k, dtype: xp.eye(rows, columns, k, dtype=dtype),
    samples=lambda: [
        Sample((), {"rows": 3, "columns": 4, "k": 1, "dtype": np.dtype(np.float64)}),
        Sample((), {"rows": 2, "columns": 2, "k": 0, "dtype": np.dtype(bool)}),
        Sample((), {"rows": 2, "columns": 0, "k": -1, "dtype": np.dtype(np.complex64)}),
    ],
)

tri_p = nullary(
    "tri",
    decompose=_diagonals(le),
    shape=_eye_shape,
    impl=lambda xp, *, rows, columns, k, dtype: xp.tri(rows, columns, k, dtype=dtype),
    samples=lambda: [
        Sample((), {"rows": 3, "columns": 4, "k": 1, "dtype": np.dtype(np.float64)}),
        Sample((), {"rows": 3, "columns": 3, "k": -1, "dtype": np.dtype(bool)}),
        Sample((), {"rows": 0, "columns": 2, "k": 0, "dtype": np.dtype(np.int32)}),
    ],
)


def eye(rows: int, columns: int | None = None, k: int = 0, dtype: Any = np.float64) -> Any:
    """Ones on the ``k``-th diagonal (above the main one for a positive ``k``), zeros elsewhere.

    >>> eye(2, 3, 1)
    array([[0., 1., 0.],
           [0., 0., 1.]])
    """
    n, m = normalize_shape("eye", (rows, rows if columns is None else columns))
    return eye_p.bind(rows=n, columns=m, k=operator.index(k), dtype=dtypes.canonical(np.dtype(dtype)))


def tri(rows: int, columns: int | None = None, k: int = 0, dtype: Any = np.float64) -> Any:
    """Ones on and below the ``k``-th diagonal, zeros above it.

    >>> tri(2, 3, dtype=bool)
    array([[ True, False, False],
           [ True,  True, False]])
    """
    n, m = normalize_shape("tri", (rows, rows if columns is None else columns))
    return tri_p.bind(rows=n, columns=m, k=operator.index(k), dtype=dtypes.canonical(np.dtype(dtype)))


# -- constants --------------------------------------------------------------------------------------------------------


def filled(xp: Any, shape: tuple[int, ...], value: Any, dtype: DType | None) -> Any:
    """A fresh array of one value, of the value's own dtype if None.

    Memory that the system hands out zeroed is not written a second time. A negative zero is no zero here.
    """
    if isinstance(value, np.generic) and not any(value.tobytes()):
        return xp.zeros(shape, dtype or value.dtype)
    return xp.full(shape, value, dtype)


def _full_shape(value: ShapedArray, *, shape: tuple[Any, ...]) -> ShapedArray:
    if value.shape != ():
        raise errors.ShapeError(
            f"full: the fill value must be a scalar, got an array of shape {value.shape}. broadcast_to repeats arrays"
        )
    return shaped(shape, value.dtype)


def _full_batch(axis: BatchAxis, args: Sequence[Any], dims: Sequence[int], *, shape: tuple[Any, ...]) -> Any:
    return structural.broadcast(move_axis(args[0], dims[0], 0), (axis.size, *shape), (0,)), 0


full_p: Primitive = Primitive(
    "full",
    shape=_full_shape,
    impl=lambda xp, value, *, shape: filled(xp, shape, value, None),
    decompose=lambda value, *, shape: structural.broadcast(value, shape, ()),
    jvp=linear_jvp(lambda: full_p),
    transpose=lambda ct, value, *, shape: [_scalar_cotangent(ct, value)],
    batch=_full_batch,
    traits=frozenset({Trait.MOVEMENT, Trait.COMPOUND}),
    samples=lambda: [
        Sample((np.float64(1.5),), {"shape": (2, 3)}),
        Sample((np.float32(1.5),), {"shape": (3,)}),
        Sample((1.5,), {"shape": (2,)}),
        Sample((np.array(2 + 1j),), {"shape": (2,)}),
        Sample((np.int8(3),), {"shape": (2, 0)}),
        Sample((True,), {"shape": ()}),
    ],
)


def _scalar_cotangent(ct: Any, value: Undefined) -> Any:
    total = reduce_sum(ct, range(aval_of(ct).ndim))
    return total if value.aval.box == "array" else structural.rebox(total, "numpy")


def full(shape: Any, fill_value: Any, dtype: Any = None) -> Any:
    """A fresh array of which every element is ``fill_value``, a scalar.

    Args:
        shape: an int or a sequence of ints.
        fill_value: a scalar, traced or not.
        dtype: that of the result; the fill value's own if None.

    >>> full((2, 2), 0.5)
    array([[0.5, 0.5],
           [0.5, 0.5]])
    """
    value = fill_value if dtype is None else convert(fill_value, dtype)
    _full_shape(aval_of(value), shape=())
    return full_p.bind(value, shape=normalize_shape("full", shape))


def full_like(x: Any, fill_value: Any, dtype: Any = None, shape: Any = None) -> Any:
    """``full`` with the shape and the dtype of ``x``, unless others are given.

    >>> full_like(np.zeros(2, np.float32), 3)
    array([3., 3.], dtype=float32)
    """
    aval = aval_of(x)
    return full(aval.shape if shape is None else shape, fill_value, aval.dtype if dtype is None else dtype)


def zeros(shape: Any, dtype: Any = np.float64) -> Any:
    """A fresh array of zeros.

    >>> zeros(2, bool)
    array([False, False])
    """
    return full_p.bind(dtypes.canonical(np.dtype(dtype)).type(0), shape=normalize_shape("zeros", shape))


def ones(shape: Any, dtype: Any = np.float64) -> Any:
    """A fresh array of ones.

    >>> ones((1, 2))
    array([[1., 1.]])
    """
    return full_p.bind(dtypes.canonical(np.dtype(dtype)).type(1), shape=normalize_shape("ones", shape))


def zeros_like(x: Any) -> Any:
    """Zeros with the shape and the dtype of ``x``.

    >>> zeros_like(np.arange(2))
    array([0, 0])
    """
    return full_like(x, 0)


def ones_like(x: Any) -> Any:
    """Ones with the shape and the dtype of ``x``.

    >>> ones_like(np.arange(2.0))
    array([1., 1.])
    """
    return full_like(x, 1)
