"""What NumPy does with the floats of ml_dtypes differs here and there from what primitives promise: this mends it.

A Python float takes an array of bfloat16 to float32 under NumPy, and several functions have no loop for such dtypes
and use that of float32. A primitive's operands have one dtype, to which Python numbers adapt, and its shape rule says
what results have. So Python numbers are converted first, and results are cast in the end.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from functrans.core.avals import ShapedArray, aval_of_concrete
from functrans.core.dtypes import is_extended

_MODULE = "ml_dtypes"


def involved(args: Sequence[Any]) -> bool:
    """Whether an operand has one of the dtypes: False at once where ml_dtypes was never imported."""
    if _MODULE not in sys.modules:
        return False
    return any([is_extended(a.dtype) for a in args if hasattr(a, "dtype")])


def computed(
    function: Callable[..., Any], shape: Callable[..., Any], args: Sequence[Any], multiple: bool, adapt: bool
) -> Any:
    """The results of a function of concrete operands in the dtypes that the shape rule gives."""
    avals = [aval_of_concrete(a) for a in args]
    rule = shape(*avals)
    return fitted(function, avals, rule if multiple else [rule], multiple, adapt)(*args)


def fitted(
    function: Callable[..., Any], ins: Sequence[Any], outs: Sequence[ShapedArray], multiple: bool, adapt: bool
) -> Callable[..., Any]:
    """A function of operands of given types; Python floats (with ``adapt`` ints too) take the dtype of the arrays."""
    dtype = next((a.dtype for a in ins if is_extended(a.dtype)), None)
    weak = [i for i, a in enumerate(ins) if a.weak and (adapt or a.dtype.kind == "f")] if dtype is not None else []

    def run(*args: Any) -> Any:
        if weak:
            operands = list(args)
            for i in weak:
                operands[i] = dtype.type(operands[i])  # type: ignore[union-attr]
            args = tuple(operands)
        found = function(*args)
        if not multiple:
            return _cast(found, outs[0])
        return [_cast(f, o) for f, o in zip(found, outs, strict=True)]

    return run


def _cast(found: Any, aval: ShapedArray) -> Any:
    return found if aval.box == "python" or found.dtype == aval.dtype else found.astype(aval.dtype)
