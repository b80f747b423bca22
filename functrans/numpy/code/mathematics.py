"""The functions of Python's ``math`` module, which take traced values under ``numpy_code``."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from functrans import errors
from functrans.core.structural import convert, rebox
from functrans.core.trace import Tracer
from functrans.numpy import dispatch
from functrans.numpy.code.buffer import holds_traced, lower

_UFUNCS: dict[Any, np.ufunc] = {
    math.sin: np.sin, math.cos: np.cos, math.tan: np.tan, math.asin: np.arcsin, math.acos: np.arccos,
    math.atan: np.arctan, math.atan2: np.arctan2, math.sinh: np.sinh, math.cosh: np.cosh, math.tanh: np.tanh,
    math.asinh: np.arcsinh, math.acosh: np.arccosh, math.atanh: np.arctanh, math.exp: np.exp, math.exp2: np.exp2,
    math.expm1: np.expm1,
    math.log2: np.log2, math.log10: np.log10, math.log1p: np.log1p, math.sqrt: np.sqrt, math.cbrt: np.cbrt,
    math.pow: np.power, math.fabs: np.fabs, math.hypot: np.hypot, math.copysign: np.copysign, math.fmod: np.fmod,
    math.degrees: np.degrees, math.radians: np.radians, math.isnan: np.isnan, math.isinf: np.isinf,
    math.isfinite: np.isfinite, math.nextafter: np.nextafter,
}  # fmt: skip
_TO_INTEGER: dict[Any, np.ufunc] = {math.floor: np.floor, math.ceil: np.ceil, math.trunc: np.trunc}


def _number(x: Any) -> Any:
    """An operand as a Python float, which is what ``math`` computes with."""
    x = lower(x)
    if not isinstance(x, Tracer):
        return float(x)
    if x.size != 1:
        raise TypeError("only 0-dimensional arrays can be converted to Python scalars")
    x = dispatch.functions[np.reshape](x, ()) if x.ndim else x
    return rebox(convert(x, np.float64), "python")


def _python(x: Any) -> Any:
    return rebox(x, "python")


def _apply(ufunc: np.ufunc, *args: Any) -> Any:
    return _python(dispatch.array_ufunc(ufunc, "__call__", args, {}))


def _traced(function: Any, args: Any) -> Any:
    if function in _TO_INTEGER:
        return _python(convert(_apply(_TO_INTEGER[function], *map(_number, args)), np.int64))
    if function is math.log:
        x, *base = map(_number, args)
        return _apply(np.log, x) / _apply(np.log, base[0]) if base else _apply(np.log, x)
    if function in (math.fsum, math.prod, math.sumprod if hasattr(math, "sumprod") else math.fsum):
        return _reduced(function, args)
    if function is math.dist:
        return _python(_apply(np.sqrt, sum(_number(p - q) ** 2 for p, q in zip(*args, strict=True))))
    ufunc = _UFUNCS.get(function)
    if ufunc is None:
        raise errors.MissingRuleError(
            f"math.{function.__name__} cannot be traced. Use a function of functrans.numpy, or call it "
            f"through functrans.pure_callback"
        )
    if function is math.hypot and len(args) != 2:
        return _python(_apply(np.sqrt, sum(_number(a) ** 2 for a in args)))
    return _apply(ufunc, *map(_number, args))


def _reduced(function: Any, args: Any) -> Any:
    if function is math.fsum:
        return functools.reduce(lambda a, b: a + b, [_number(x) for x in args[0]], 0.0)
    if function is math.prod:
        return functools.reduce(lambda a, b: a * b, args[0], 1)
    return functools.reduce(lambda a, b: a + b, [x * y for x, y in zip(*args, strict=True)], 0)


@functools.cache
def math_call(function: Any) -> Callable[..., Any]:
    """A function of ``math`` that takes traced values too."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if holds_traced(args):
            return _traced(function, args)
        return function(*lower(args), **lower(kwargs))

    return call


def is_math(value: Any) -> bool:
    """Whether an object is a function of ``math``."""
    return type(value) is type(math.sin) and getattr(value, "__module__", None) == "math"
