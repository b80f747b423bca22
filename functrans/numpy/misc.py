"""Rounding, limits, parts of complex numbers, and questions about dtypes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from functrans import errors, lax
from functrans.core import dtypes
from functrans.core.structural import convert, rebox
from functrans.core.trace import Tracer, aval_of
from functrans.numpy import elementwise as ew
from functrans.numpy.dispatch import implements, operand, reject_out
from functrans.numpy.ufuncs import Ufunc, cast_operand, loop

# -- rounding and limits ---------------------------------------------------------------------------------------

_CLIP: np.ufunc = np._core.umath.clip  # type: ignore[attr-defined]
_NO_VALUE: Any = np._NoValue


# What ``ndarray.clip`` calls.
Ufunc(_CLIP, lambda x, lo, hi: lax.clamp(lo, x, hi))


@implements(np.clip)
def clip(
    a: Any,
    a_min: Any = _NO_VALUE,
    a_max: Any = _NO_VALUE,
    out: None = None,
    *,
    min: Any = _NO_VALUE,
    max: Any = _NO_VALUE,
    dtype: Any = None,
    **kwargs: Any,
) -> Any:
    """The elements limited to a range; see ``numpy.clip``.

    With two bounds the derivative with respect to ``a`` is 1 in the closed range (see ``lax.clamp``). With one bound
    this is ``maximum`` or ``minimum``, which share it between equal operands.
    """
    reject_out("clip", out)
    if a_min is _NO_VALUE and a_max is _NO_VALUE:
        a_min, a_max = (None if v is _NO_VALUE else v for v in (min, max))
    elif a_min is _NO_VALUE or a_max is _NO_VALUE:
        raise errors.ArgumentError("clip: a_min and a_max must be given together; None stands for no bound")
    elif min is not _NO_VALUE or max is not _NO_VALUE:
        raise errors.ArgumentError("clip: give the bounds as a_min and a_max or as min and max, not as both")
    if a_min is None or a_max is None:
        if a_min is None and a_max is None:
            return ew.positive(a, dtype=dtype, **kwargs)
        if a_max is None:
            return ew.maximum(a, a_min, dtype=dtype, **kwargs)
        return ew.minimum(a, a_max, dtype=dtype, **kwargs)
    if kwargs.get("where", True) is not True:
        raise errors.ArgumentError("clip(where=...): write where(mask, clip(a, ...), a)")
    xs = [operand(v, "clip") for v in (a, a_min, a_max)]
    if dtype is not None:
        xs = [convert(x, dtype) for x in xs]
    avals = [aval_of(x) for x in xs]
    strong = not all(v.weak for v in avals)
    x, lo, hi = (cast_operand(x, v, t, strong) for x, v, t in zip(xs, avals, loop(_CLIP, avals), strict=False))
    return lax.clamp(lo, x, hi)


def _round_real(x: Any, decimals: int) -> Any:
    if decimals == 0:
        return ew.rint(x)
    scale = 10.0 ** abs(decimals)
    if decimals > 0:
        return ew.divide(ew.rint(ew.multiply(x, scale)), scale)
    return ew.multiply(ew.rint(ew.divide(x, scale)), scale)


@implements(np.round, np.around)
def round(a: Any, decimals: int = 0, out: None = None) -> Any:
    """The elements rounded to ``decimals`` digits behind the point, halves to even; see ``numpy.round``."""
    reject_out("round", out)
    x = operand(a, "round")
    aval = aval_of(x)
    dtype = aval.dtype
    x = convert(x, dtype)
    kind = dtypes.kind(dtype)
    if kind == "c":
        return lax.complex(_round_real(lax.real(x), decimals), _round_real(lax.imag(x), decimals))
    if kind in "iu":
        return rebox(x if decimals >= 0 else convert(_round_real(x, decimals), dtype), "numpy")
    return _round_real(x, decimals)


around = round


@implements(np.fix)
def fix(x: Any, out: None = None) -> Any:
    """The elements rounded towards zero; see ``numpy.fix``."""
    reject_out("fix", out)
    return ew.trunc(x)


@implements(np.nan_to_num)
def nan_to_num(x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Any:
    """NaN and infinities replaced by finite numbers; see ``numpy.nan_to_num``."""
    x = operand(x, "nan_to_num")
    dtype = aval_of(x).dtype
    x = rebox(convert(x, dtype), "numpy")
    if dtypes.is_complex(dtype):
        return lax.complex(*(_finite(part, nan, posinf, neginf) for part in (lax.real(x), lax.imag(x))))
    return _finite(x, nan, posinf, neginf) if dtypes.is_inexact(dtype) else x


def _finite(x: Any, nan: Any, posinf: Any, neginf: Any) -> Any:
    dtype = aval_of(x).dtype
    limits = np.finfo(dtype)
    out = lax.select(lax.eq(x, math.inf), convert(limits.max if posinf is None else posinf, dtype), x)
    out = lax.select(lax.eq(x, -math.inf), convert(limits.min if neginf is None else neginf, dtype), out)
    return rebox(lax.select(lax.isnan(x), convert(nan, dtype), out), "numpy")


# -- parts and signs -------------------------------------------------------------------------------------------


@implements(np.angle)
def angle(z: Any, deg: bool = False) -> Any:
    """The angle of complex numbers; see ``numpy.angle``."""
    z = operand(z, "angle")
    dtype = aval_of(z).dtype
    if dtypes.is_complex(dtype):
        out = ew.arctan2(lax.imag(z), lax.real(z))
    else:
        out = ew.arctan2(0, z)
    return ew.multiply(out, 180 / math.pi) if deg else out


@implements(np.sinc)
def sinc(x: Any) -> Any:
    """``sin(pi x) / (pi x)``; see ``numpy.sinc``. Its derivatives at 0 are those of the limit."""
    x = operand(x, "sinc")
    dtype = aval_of(x).dtype
    return lax.sinc(x if dtypes.is_inexact(dtype) else convert(x, np.float64))


@implements(np.real_if_close)
def real_if_close(a: Any, tol: float = 100) -> Any:
    """The real part where every imaginary part is close to zero; see ``numpy.real_if_close``.

    The dtype of the result depends on the elements, which must be known: it cannot be used under ``jit``.
    """
    x = rebox(operand(a, "real_if_close"), "array")
    dtype = aval_of(x).dtype
    if not dtypes.is_complex(dtype):
        return x
    limit = tol * float(np.finfo(dtype).eps) if tol > 1 else tol
    close = ew.less(ew.absolute(lax.imag(x)), limit)
    return lax.real(x) if bool(lax.reduce_all(close, tuple(range(aval_of(x).ndim)))) else x


def _sign_of_infinity(name: str, x: Any, out: None, value: float) -> Any:
    reject_out(name, out)
    x = operand(x, name)
    dtype = aval_of(x).dtype
    if dtypes.is_complex(dtype):
        raise errors.DTypeError(f"{name}: complex numbers have no sign, got {aval_of(x)}. Ask their parts apart")
    return ew.logical_and(ew.isinf(x), ew.equal(x, value) if dtypes.is_inexact(dtype) else np.False_)


@implements(np.isposinf)
def isposinf(x: Any, out: None = None) -> Any:
    """Whether each element is positive infinity; see ``numpy.isposinf``."""
    return _sign_of_infinity("isposinf", x, out, math.inf)


@implements(np.isneginf)
def isneginf(x: Any, out: None = None) -> Any:
    """Whether each element is negative infinity; see ``numpy.isneginf``."""
    return _sign_of_infinity("isneginf", x, out, -math.inf)


@implements(np.iscomplex)
def iscomplex(x: Any) -> Any:
    """Whether each element has an imaginary part other than zero; see ``numpy.iscomplex``."""
    x = operand(x, "iscomplex")
    if dtypes.is_complex(aval_of(x).dtype):
        return ew.not_equal(lax.imag(x), 0)
    return rebox(lax.full_like(x, False, bool), "numpy")


@implements(np.isreal)
def isreal(x: Any) -> Any:
    """Whether each element has no imaginary part; see ``numpy.isreal``."""
    x = operand(x, "isreal")
    if dtypes.is_complex(aval_of(x).dtype):
        return ew.equal(lax.imag(x), 0)
    # NumPy compares with zero in the box of the operand, so that a number gives a number.
    box = aval_of(x).box
    return rebox(lax.full_like(x, True, bool), box if box == "python" else "numpy")


# -- questions about dtypes, answered while tracing ------------------------------------------------------------


def _dtype_or_operand(x: Any) -> Any:
    """A tracer as what stands for its dtype in promotion; anything else unchanged."""
    if not isinstance(x, Tracer):
        return x
    return {"i": 0, "f": 0.0, "c": 0j}[x.dtype.kind] if x.aval.weak else x.dtype


@implements(np.result_type)
def result_type(*arrays_and_dtypes: Any) -> Any:
    """The dtype of an operation on operands of these types; see ``numpy.result_type``."""
    return np.result_type(*map(_dtype_or_operand, arrays_and_dtypes))


@implements(np.can_cast)
def can_cast(from_: Any, to: Any, casting: Any = "safe") -> bool:
    """Whether a dtype can be cast to another by a rule; see ``numpy.can_cast``."""
    return np.can_cast(from_.dtype if isinstance(from_, Tracer) else from_, to, casting)


@implements(np.common_type)
def common_type(*arrays: Any) -> Any:
    """The inexact scalar type of an operation on arrays; see ``numpy.common_type``."""
    return np.common_type(*(np.empty(0, aval_of(operand(a, "common_type")).dtype) for a in arrays))


@implements(np.min_scalar_type)
def min_scalar_type(a: Any) -> Any:
    """The smallest dtype that holds a value: an array's own; see ``numpy.min_scalar_type``."""
    if isinstance(a, Tracer) and not a.ndim:
        raise errors.TracerConversionError(
            f"min_scalar_type: the dtype depends on the value, which a traced value of type {a.aval} does not have "
            f"while its function is being traced. Ask for a.dtype"
        )
    return a.dtype if isinstance(a, Tracer) else np.min_scalar_type(a)


@implements(np.iscomplexobj)
def iscomplexobj(x: Any) -> bool:
    """Whether the dtype is complex; see ``numpy.iscomplexobj``."""
    return dtypes.is_complex(x.dtype) if isinstance(x, Tracer) else bool(np.iscomplexobj(x))


@implements(np.isrealobj)
def isrealobj(x: Any) -> bool:
    """Whether the dtype is not complex; see ``numpy.isrealobj``."""
    return not iscomplexobj(x)


@implements(np.isscalar)
def isscalar(element: Any) -> bool:
    """Whether a value is a scalar rather than an array; see ``numpy.isscalar``."""
    return element.aval.box != "array" if isinstance(element, Tracer) else np.isscalar(element)


@implements(np.may_share_memory, np.shares_memory)
def may_share_memory(a: Any, b: Any, /, max_work: Any = 0) -> bool:
    """False: a traced array has no memory of its own; see ``numpy.may_share_memory``."""
    return False


shares_memory = may_share_memory
