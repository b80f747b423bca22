"""Abstract values: what is known of an array before its contents are.

An aval records shape and dtype, and for a 0-d value how NumPy boxes it. NumPy has three kinds of scalar, and
programs can tell them apart: a Python number (weak under promotion), a NumPy scalar (``np.sum(x)``) and a 0-d
array (``np.where(c, x, y)``). A box that was not recorded would have to be guessed when ``jit`` returns.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

import numpy as np

from functrans import errors
from functrans.core import dtypes
from functrans.core.dtypes import DType

Box = Literal["python", "numpy", "array"]
Dim = Any
"""An extent: an int, or a ``SizeVar`` where it is known only at run time."""
Shape = tuple[Dim, ...]

_BOX_MARK = {"python": "*", "numpy": "", "array": "~"}


class ShapedArray:
    """Shape, dtype and box of a value.

    Attributes:
        shape: a tuple of ints; a leading extent may be a ``SizeVar``.
        dtype: a NumPy dtype in native byte order.
        floating: whether it is a strong float or complex value of one of NumPy's own dtypes.
        box: ``"python"`` for Python scalars, ``"numpy"`` for NumPy scalars, ``"array"`` for arrays. Only a 0-d
            value has a choice.

    >>> ShapedArray((3, 4), np.dtype("float32"))
    f32[3,4]
    """

    __slots__ = ("_hash", "box", "dtype", "floating", "shape")

    def __init__(self, shape: Shape, dtype: DType, box: Box = "array") -> None:
        self.shape = shape
        self.dtype = dtype
        self.box: Box = box if shape == () else "array"
        self.floating = dtype.kind in "fc" and self.box != "python" and not dtypes.is_extended(dtype)
        self._hash = hash((shape, dtype, self.box))

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        size = 1
        for extent in self.shape:
            size *= extent
        return size

    @property
    def weak(self) -> bool:
        """Whether promotion lets the other operand decide: true of Python numbers, though not of bools."""
        return self.box == "python" and self.dtype.kind != "b"

    def update(self, *, shape: Shape | None = None, dtype: DType | None = None, box: Box | None = None) -> ShapedArray:
        return shaped(
            self.shape if shape is None else shape,
            self.dtype if dtype is None else dtype,
            self.box if box is None else box,
        )

    def tangent(self) -> ShapedArray:
        """The aval of tangents of this value."""
        return shaped(self.shape, dtypes.tangent_dtype(self.dtype), self.box)

    def cotangent(self) -> ShapedArray:
        """The aval of cotangents: like the tangent's, but never weak."""
        box: Box = "numpy" if self.shape == () else "array"
        return shaped(self.shape, dtypes.tangent_dtype(self.dtype), box)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return (
            isinstance(other, ShapedArray)
            and self.shape == other.shape
            and self.dtype == other.dtype
            and self.box == other.box
        )

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        mark = _BOX_MARK[self.box] if self.shape == () else ""
        return f"{dtypes.short_name(self.dtype)}[{','.join(map(str, self.shape))}]{mark}"


_interned = lru_cache(maxsize=8192)(ShapedArray)


def shaped(shape: Shape, dtype: DType, box: Box = "array") -> ShapedArray:
    """A (shared) ``ShapedArray``."""
    return _interned(shape, dtype, box)


_PYTHON_AVALS = {kind: shaped((), dtype, "python") for kind, dtype in dtypes.PYTHON_SCALARS.items()}


@lru_cache(maxsize=8192)
def _array_aval(shape: Shape, dtype: DType) -> ShapedArray:
    return shaped(shape, dtypes.canonical(dtype), "array")


@lru_cache(maxsize=256)
def _scalar_aval(dtype: DType) -> ShapedArray:
    return shaped((), dtypes.canonical(dtype), "numpy")


def aval_of_concrete(value: Any) -> ShapedArray | None:
    """The aval of an array or scalar, None for any other object."""
    kind = type(value)
    if kind is np.ndarray:
        return _array_aval(value.shape, value.dtype)
    python = _PYTHON_AVALS.get(kind)
    if python is not None:
        return python
    if isinstance(value, np.generic):
        return _scalar_aval(value.dtype)
    if isinstance(value, np.ndarray):
        if isinstance(value, np.ma.MaskedArray):
            raise errors.DTypeError(
                "a masked array cannot be traced: its mask would be lost. Pass x.filled(value), or data and mask apart"
            )
        if isinstance(value, np.matrix):
            raise errors.DTypeError(
                "an np.matrix cannot be traced: its `*` is a matrix product. Pass np.asarray(x), and write `@`"
            )
        return _array_aval(value.shape, value.dtype)
    if is_device_array(value):
        return _array_aval(tuple(value.shape), np.dtype(value.dtype))
    if isinstance(value, (int, float, complex)):
        # Subclasses of Python's numbers (an IntEnum member, say) count as the number.
        return _PYTHON_AVALS[next(k for k in (bool, int, float, complex) if isinstance(value, k))]
    return None


def is_device_array(value: Any) -> bool:
    """Whether a value is a CuPy array. It is asked of the type's module, so that CuPy is never imported for it."""
    module: str = type(value).__module__
    return (module.startswith("cupy") and hasattr(value, "__cuda_array_interface__")) or (
        module.partition(".")[0] == "cupy" and type(value).__name__ == "ndarray"
    )
