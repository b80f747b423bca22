"""The operations that a kernel computes on the device: which there are, in which dtypes, and how they are spelled.

Their rules are functions of the prelude, ``ft_<name>``, overloaded by the type of their operands. What is not here
stays a call of the array module.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from functrans.core import dtypes
from functrans.core.dtypes import DType

NUMBERS = "iufc"
REAL = "iuf"
KINDS: dict[str, str] = {
    **dict.fromkeys(("add", "mul"), "b" + NUMBERS),
    **dict.fromkeys(("sub", "neg", "positive", "square"), NUMBERS),
    **dict.fromkeys(("eq", "ne", "is_finite", "isinf", "isnan"), "b" + NUMBERS),
    **dict.fromkeys(("logical_and", "logical_or", "logical_xor", "logical_not"), "b" + NUMBERS),
    **dict.fromkeys(("div", "conj", "exp"), "fc"),
    **dict.fromkeys(("lt", "le", "gt", "ge", "max", "min", "fmax", "fmin"), "b" + REAL),
    **dict.fromkeys(("sign", "floor", "ceil", "trunc", "rint"), REAL),
    **dict.fromkeys(("floor_divide", "remainder", "rem"), REAL),
    **dict.fromkeys(("and", "or", "xor", "not"), "biu"),
    **dict.fromkeys(("shift_left", "shift_right"), "iu"),
    "abs": "b" + NUMBERS,
    **dict.fromkeys(("reciprocal", "copysign", "signbit", "nextafter"), "f"),
    **dict.fromkeys(("sqrt", "safe_sqrt", "rsqrt", "cbrt", "exp2", "expm1", "log", "log2", "log10", "log1p"), "f"),
    **dict.fromkeys(("sin", "cos", "tan", "asin", "acos", "atan", "atan2", "hypot", "sinc"), "f"),
    **dict.fromkeys(("sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "logistic", "logaddexp"), "f"),
    **dict.fromkeys(("erf", "erfc", "j0", "j1", "y0", "y1", "pow"), "f"),
}
"""The dtype kinds that each operation is computed in."""

COSTLY = {"div": 4, "sqrt": 4, "floor_divide": 20, "remainder": 20, "rem": 20}
"""Operations that are worth several simple ones; those of floats without an entry that are functions are worth 20."""

COMBINED = {
    "add": "ft_sum",
    "mul": "ft_product",
    "max": "ft_greatest",
    "min": "ft_least",
    "and": "ft_all",
    "or": "ft_any",
    "argmax": "ft_argmax",
    "argmin": "ft_argmin",
}

_EXTENDED = {"bfloat16": "bf16"}


def known(dtype: DType) -> bool:
    """Whether the device has the dtype."""
    return dtype.isnative and (dtype.kind in "biu" or dtype.char in "efdFD" or dtype.name in _EXTENDED)


def kind(dtype: DType) -> str:
    """The kind of a dtype, with those of ``ml_dtypes`` among the floats."""
    return "f" if dtypes.is_extended(dtype) else dtype.kind


def is_half(dtype: DType) -> bool:
    return dtype.char == "e" or dtype.name in _EXTENDED


def stored(dtype: DType) -> str:
    """The type of an element in memory."""
    if dtype.name in _EXTENDED:
        return _EXTENDED[dtype.name]
    if dtype.kind == "b":
        return "u8"
    if dtype.kind == "c":
        return f"c{8 * dtype.itemsize}"
    return f"{dtype.kind}{8 * dtype.itemsize}"


def held(dtype: DType) -> str:
    """The type of an element in a register."""
    if dtype.kind == "b":
        return "bool"
    return "f32" if is_half(dtype) else stored(dtype)


def rounded(text: str, dtype: DType) -> str:
    """A value of a 16-bit float, to which each result is rounded."""
    return f"ft_as_{stored(dtype)}({text})" if is_half(dtype) else text


def converted(text: str, old: DType, new: DType) -> str:
    """A value of another dtype."""
    if held(old) != held(new):
        text = f"ft_to<{held(new)}>({text})"
    return text if old == new else rounded(text, new)


def number(value: Any, dtype: DType) -> str:
    """A constant."""
    if dtype.kind == "c":
        part = np.dtype(f"f{dtype.itemsize // 2}")
        return f"ft_pair({number(complex(value).real, part)}, {number(complex(value).imag, part)})"
    if dtype.kind == "b":
        return "true" if value else "false"
    if kind(dtype) == "f":
        return _float(value, dtype)
    text = str(int(value))
    if dtype.itemsize == 8:
        # The least integer has no literal of its own.
        text = f"(-{-int(value) - 1}ll - 1)" if int(value) < 0 else text + ("ull" if dtype.kind == "u" else "ll")
    return f"(({stored(dtype)}){text})"


def _float(value: Any, dtype: DType) -> str:
    with np.errstate(over="ignore"):
        exact = np.asarray(value).astype(dtype)
    single = held(dtype) == "f32"
    x = float(exact)
    if math.isfinite(x):
        text = x.hex() + ("f" if single else "")
        return f"({text})" if text.startswith("-") else text
    bits = struct.pack(">f" if single else ">d", x).hex()
    return f"ft_bits<f32>(0x{bits}u)" if single else f"ft_bits<f64>(0x{bits}ull)"


def cost(name: str, kinds: str) -> int:
    """How many simple instructions an operation is worth, roughly."""
    found = COSTLY.get(name)
    return found if found is not None else 20 if KINDS.get(name) == "f" and "f" in kinds else 1


def computed_in(found: Sequence[DType], values: Sequence[Any]) -> DType:
    """The dtype in which an operation of some operands is computed; Python numbers among them adopt the others'."""
    given = [v if isinstance(v, (bool, int, float, complex)) else d for d, v in zip(found, values, strict=True)]
    result = np.result_type(*given)
    assert isinstance(result, np.dtype)
    return result
