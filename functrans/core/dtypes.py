"""Dtypes: their short names, their tangent types, and NumPy's own promotion (NEP 50) asked of NumPy itself."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from functrans import errors

DType = np.dtype[Any]

float0: DType = np.dtype([("float0", np.void, 0)])
"""The dtype of tangents of integers and booleans: it holds no information and takes no memory."""

_SHORT = {
    "bool": "bool",
    "int8": "i8",
    "int16": "i16",
    "int32": "i32",
    "int64": "i64",
    "uint8": "u8",
    "uint16": "u16",
    "uint32": "u32",
    "uint64": "u64",
    "float16": "f16",
    "float32": "f32",
    "float64": "f64",
    "longdouble": "f80",
    "complex64": "c64",
    "complex128": "c128",
    "clongdouble": "c160",
}
EXTENDED = (
    "bfloat16", "float8_e3m4", "float8_e4m3", "float8_e4m3b11fnuz", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2",
    "float8_e5m2fnuz", "float8_e8m0fnu", "float6_e2m3fn", "float6_e3m2fn", "float4_e2m1fn",
)  # fmt: skip
"""The names of the floats of ml_dtypes."""
_SHORT.update({name: name.replace("bfloat", "bf").replace("float", "f") for name in EXTENDED})
_LONG_DOUBLE = np.dtype(np.longdouble).num
_COMPLEX_LONG_DOUBLE = np.dtype(np.clongdouble).num
_LONG = {short: name for name, short in _SHORT.items()}

PYTHON_SCALARS: dict[type, DType] = {
    bool: np.dtype(bool),
    int: np.dtype(np.int64),
    float: np.dtype(np.float64),
    complex: np.dtype(np.complex128),
}


def _name(dtype: DType) -> str:
    # The dtypes of ml_dtypes have characters of their own, "G" among them.
    if dtype.num == _LONG_DOUBLE:
        return "longdouble"
    if dtype.num == _COMPLEX_LONG_DOUBLE:
        return "clongdouble"
    return dtype.name


def short_name(dtype: DType) -> str:
    """``f32`` for float32 and so on: the spelling of the jaxpr's text form."""
    return "float0" if dtype == float0 else _SHORT[_name(dtype)]


def from_short_name(name: str) -> DType:
    """The inverse of ``short_name``; KeyError for an unknown name."""
    if name == "float0":
        return float0
    long = _LONG[name]
    return np.dtype(extended_type(long)) if long in EXTENDED else np.dtype(long)


def extended_type(name: str) -> Any:
    """The scalar type of a dtype of ml_dtypes, by name.

    Raises:
        MissingExtraError: ml_dtypes is not installed, or has no such dtype.
    """
    try:
        import ml_dtypes

        return getattr(ml_dtypes, name)
    except (ImportError, AttributeError):
        raise errors.MissingExtraError(
            f"the dtype {name} comes from the package ml_dtypes, which is not installed, or not in a version that has "
            f"it. Install it with `pip install functrans[dtypes]`"
        ) from None


@lru_cache(maxsize=256)
def canonical(dtype: DType) -> DType:
    """The dtype in native byte order; DTypeError where values of it cannot be traced."""
    if dtype == float0:
        return float0
    if not dtype.isnative:
        dtype = dtype.newbyteorder("=")
    if _name(dtype) not in _SHORT:
        raise errors.DTypeError(
            f"arrays of dtype {dtype} cannot be transformed or compiled: booleans, integers, floats and complex "
            f"numbers can. Convert the array first, or keep it out of the function's traced arguments"
        )
    return dtype


@lru_cache(maxsize=256)
def kind(dtype: DType) -> str:
    """``b i u f c``, with the extended floats of ml_dtypes counted as ``f``; ``V`` for float0."""
    return "f" if dtype.name in EXTENDED else dtype.kind


def is_extended(dtype: DType) -> bool:
    """Whether it is one of the floats of ml_dtypes: bfloat16, float8 and their like."""
    return dtype.isbuiltin == 2


@lru_cache(maxsize=256)
def finfo(dtype: DType) -> Any:
    """What ``np.finfo`` says of a float dtype, for those of ml_dtypes too."""
    if not is_extended(dtype):
        return np.finfo(dtype)
    import ml_dtypes

    return ml_dtypes.finfo(dtype)  # type: ignore[no-untyped-call]


def is_inexact(dtype: DType) -> bool:
    """Whether the dtype is a float or complex one, so that derivatives with respect to it exist."""
    return kind(dtype) in "fc"


def is_complex(dtype: DType) -> bool:
    return dtype.kind == "c"


def tangent_dtype(dtype: DType) -> DType:
    """The dtype of tangents and cotangents: the dtype itself for floats and complex numbers, else float0."""
    return dtype if is_inexact(dtype) else float0


def real_dtype(dtype: DType) -> DType:
    """The dtype of the real part."""
    real: DType = np.empty(0, dtype).real.dtype if dtype.kind == "c" else dtype
    return real


def complex_dtype(dtype: DType) -> DType:
    """The complex dtype whose parts have (at least) this dtype."""
    return np.result_type(dtype, np.complex64)


@lru_cache(maxsize=4096)
def resolve(ufunc: np.ufunc, *operands: DType | type) -> tuple[DType, ...]:
    """The loop that NumPy chooses for a ufunc: the dtypes of its operands, then of its results.

    An operand is a dtype, or one of the types int, float, complex for a weak Python scalar.
    """
    try:
        return tuple(ufunc.resolve_dtypes(operands + (None,) * ufunc.nout))
    except TypeError:
        names = ", ".join(o.__name__ if isinstance(o, type) else str(o) for o in operands)
        raise errors.DTypeError(f"{ufunc.__name__} has no rule for operands of type {names}") from None


@lru_cache(maxsize=4096)
def result_type(*operands: DType | type) -> DType:
    """NumPy's promotion of dtypes and weak Python scalar types."""
    exemplars = [(o(0) if isinstance(o, type) else o) for o in operands]
    return canonical(np.result_type(*exemplars))
