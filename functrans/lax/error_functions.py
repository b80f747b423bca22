"""The error function and its complement, element by element."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from functrans import errors
from functrans.core.avals import ShapedArray
from functrans.core.primitive import Primitive, Trait
from functrans.core.structural import convert, elementwise_aval, rebox
from functrans.core.trace import aval_of
from functrans.lax.arithmetic import mul, neg, strong
from functrans.lax.exponential import exp
from functrans.lax.families import accept, elementwise
from functrans.lax.magnitude import clamp
from functrans.lax.power import square
from functrans.lax.samples import unary
from functrans.lax.special.tails import erf_decompose, erfc_decompose

_SLOPE = 2 / math.sqrt(math.pi)


def _slope(t: Any, out: Any, x: Any) -> Any:
    # Beyond 30 the exponential is zero in every dtype, and the square of a large number would overflow.
    return mul(t, mul(exp(neg(square(clamp(-30.0, strong(x, out), 30.0)))), _SLOPE))


@cache
def library(module: str) -> Any:
    """A package with these functions for arrays, imported when first needed; None where it is not installed."""
    try:
        if module == "cupy":
            return importlib.import_module("cupyx.scipy.special")
        return importlib.import_module("scipy.special")
    except ImportError:
        return None


def _check(name: str, aval: ShapedArray) -> None:
    accept(name, "f", [aval])
    if aval.dtype.itemsize > 8:
        raise errors.DTypeError(
            f"{name}: operand 0 has type {aval}, and the function is computed in double precision at most. Convert it: "
            f"functrans.lax.convert_element_type(x, float)"
        )


def _error_function(
    name: str, scalar: Callable[[float], float], sign: Callable[[Any], Any], approximation: Callable[[Any], Any]
) -> Primitive:
    def decompose(x: Any) -> Any:
        dtype = aval_of(x).dtype
        wide = convert(x, dtype if dtype.itemsize > 2 else np.float32)
        return rebox(convert(approximation(wide), dtype), "numpy")

    one_by_one = np.frompyfunc(scalar, 1, 1)

    def infer(x: ShapedArray) -> ShapedArray:
        aval = elementwise_aval(name, [x])
        _check(name, aval)
        return aval

    def impl(xp: Any, x: Any) -> Any:
        _check(name, aval_of(x))
        x = np.float64(x) if isinstance(x, float) else x
        dtype = x.dtype
        special = library(xp.__name__)
        if special is None:
            return np.asarray(one_by_one(x.astype(np.float64)), dtype)[()]
        out = getattr(special, name)(x if dtype.char in "fd" else x.astype(np.float32))
        return out if out.dtype == dtype else out.astype(dtype)

    return elementwise(
        name,
        name,
        lambda t, out, x: sign(_slope(t, out, x)),
        arity=1,
        kinds="f",
        impl=impl,
        decompose=decompose,
        shape=infer,
        samples=unary(0.5, -1.5, 0.0, 1.25, 3.0, -0.75, kinds="f"),
        traits=(Trait.COSTLY,),
    )


erf_p: Primitive = _error_function("erf", math.erf, lambda t: t, erf_decompose)
erfc_p: Primitive = _error_function("erfc", math.erfc, neg, erfc_decompose)


def erf(x: Any) -> Any:
    """The error function ``2 / sqrt(pi) * integral of exp(-t**2) from 0 to x`` of floats.

    SciPy computes it where it is installed, the C library one element at a time elsewhere; half precision by way of
    single precision.

    Raises:
        DTypeError: the operand holds no floats, or floats of more than double precision.

    >>> erf(np.array([-np.inf, 0.0, 0.5]))
    array([-1.        ,  0.        ,  0.52049988])
    """
    return erf_p.bind(x)


def erfc(x: Any) -> Any:
    """``1 - erf(x)``, where that is small too; else as ``erf``.

    The relative error is below 1e-13 where the result is as small as 1e-300, and less for larger ones.

    >>> erfc(np.array([0.0, 10.0]))
    array([1.00000000e+00, 2.08848758e-45])
    """
    return erfc_p.bind(x)
