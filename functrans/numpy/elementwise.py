"""The ufuncs: one row each, NumPy's ufunc and the primitive's function that computes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from functrans import lax
from functrans.core import dtypes
from functrans.core.structural import convert, elementwise_aval, rebox
from functrans.core.trace import aval_of
from functrans.lax.families import accept
from functrans.numpy.dispatch import operand
from functrans.numpy.ufuncs import Ufunc


def _double(x: Any) -> Any:
    """In double precision at least: what ``float_power`` computes in."""
    return convert(x, dtypes.result_type(aval_of(x).dtype, np.dtype(np.float64)))


def _whole(rounding: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A rounding of floats which leaves integers and booleans as they are."""

    def function(x: Any) -> Any:
        aval = aval_of(x)
        return rounding(x) if dtypes.is_inexact(aval.dtype) else rebox(convert(x, aval.dtype), "numpy")

    return function


def _scaled(original: np.ufunc) -> Callable[[Any], Any]:
    """A product with the constant that the ufunc gives at 1; half precision is multiplied in single precision."""

    def function(x: Any) -> Any:
        dtype = aval_of(x).dtype
        wide = np.dtype(np.float32) if dtype.char == "e" else dtype
        return convert(lax.mul(convert(x, wide), original(wide.type(1))), dtype)

    return function


class Comparison(Ufunc):
    """A comparison. Integers are compared by value: none is too large for the dtype of the other operand."""

    def __init__(self, original: np.ufunc, traced: Callable[..., Any]) -> None:
        super().__init__(original, self._by_value)
        self.compare = traced

    def apply(self, *args: Any, **options: Any) -> Any:
        """The traced form."""
        for i, (x, other) in enumerate(zip(args, reversed(args), strict=True)):
            if type(x) is int and not isinstance(other, (bool, int, float, complex)):
                aval = aval_of(operand(other, self.__name__))
                if aval.dtype.kind in "iu" and not np.iinfo(aval.dtype).min <= x <= np.iinfo(aval.dtype).max:
                    beyond = 1 if x > 0 else -1
                    verdict = self.original(*((beyond, 0) if i == 0 else (0, beyond)))
                    return rebox(lax.full(aval.shape, verdict), "array" if aval.shape else "numpy")
        return super().apply(*args, **options)

    def _by_value(self, x: Any, y: Any) -> Any:
        pair = aval_of(x).dtype, aval_of(y).dtype
        signs = [d.kind for d in pair]
        if pair[0] == pair[1] or sorted(signs) != ["i", "u"]:
            return self.compare(x, y)
        # int64 beside uint64: no dtype holds both. A negative number is below all of the other operand.
        wide = np.dtype(np.uint64)
        below = lax.lt(x if signs[0] == "i" else y, 0)
        same = self.compare(convert(x, wide), convert(y, wide))
        if self.original(-1, 0) if signs[0] == "i" else self.original(0, -1):
            return lax.logical_or(below, same)
        return lax.logical_and(lax.logical_not(below), same)


def _modulus(x: Any) -> Any:
    accept("fabs", "f", [aval_of(x)])
    return lax.abs(x)


def _heaviside(x: Any, half: Any) -> Any:
    aval = elementwise_aval("heaviside", [aval_of(x), aval_of(half)])
    accept("heaviside", "f", [aval])
    x, half = convert(x, aval.dtype), convert(half, aval.dtype)
    step = lax.select(lax.lt(x, 0), aval.dtype.type(0), aval.dtype.type(1))
    out = lax.select(lax.eq(x, 0), half, step)
    return rebox(lax.select(lax.isnan(x), lax.stop_gradient(x), out), "numpy")


add = Ufunc(np.add, lax.add, reduction=lax.reduce_sum, accumulation=lax.cumsum)
subtract = Ufunc(np.subtract, lax.sub)
multiply = Ufunc(np.multiply, lax.mul, reduction=lax.reduce_prod, accumulation=lax.cumprod)
divide = true_divide = Ufunc(np.true_divide, lax.div, "true_divide")
floor_divide = Ufunc(np.floor_divide, lax.floor_divide)
remainder = mod = Ufunc(np.remainder, lax.remainder)
fmod = Ufunc(np.fmod, lax.rem)
divmod = Ufunc(np.divmod, lambda x, y: (lax.floor_divide(x, y), lax.remainder(x, y)))
power = pow = Ufunc(np.power, lax.pow)
negative = Ufunc(np.negative, lax.neg)
positive = Ufunc(np.positive, lax.positive)
absolute = abs = Ufunc(np.absolute, lax.abs)
float_power = Ufunc(np.float_power, lambda x, y: lax.pow(_double(x), _double(y)))
fabs = Ufunc(np.fabs, _modulus)
sign = Ufunc(np.sign, lax.sign)
square = Ufunc(np.square, lax.square)
sqrt = Ufunc(np.sqrt, lax.sqrt)
cbrt = Ufunc(np.cbrt, lax.cbrt)
reciprocal = Ufunc(np.reciprocal, lax.reciprocal)
maximum = Ufunc(np.maximum, lax.max, reduction=lax.reduce_max, accumulation=lax.cummax)
minimum = Ufunc(np.minimum, lax.min, reduction=lax.reduce_min, accumulation=lax.cummin)
fmax = Ufunc(np.fmax, lax.fmax, associative=True)
fmin = Ufunc(np.fmin, lax.fmin, associative=True)
copysign = Ufunc(np.copysign, lax.copysign)
nextafter = Ufunc(np.nextafter, lax.nextafter)
spacing = Ufunc(np.spacing, lax.spacing)
signbit = Ufunc(np.signbit, lax.signbit)
heaviside = Ufunc(np.heaviside, _heaviside)
floor = Ufunc(np.floor, _whole(lax.floor))
ceil = Ufunc(np.ceil, _whole(lax.ceil))
trunc = Ufunc(np.trunc, _whole(lax.trunc))
rint = Ufunc(np.rint, lax.rint)
modf = Ufunc(np.modf, lax.modf)
frexp = Ufunc(np.frexp, lax.frexp)
ldexp = Ufunc(np.ldexp, lax.ldexp)

exp = Ufunc(np.exp, lax.exp)
exp2 = Ufunc(np.exp2, lax.exp2)
expm1 = Ufunc(np.expm1, lax.expm1)
log = Ufunc(np.log, lax.log)
log2 = Ufunc(np.log2, lax.log2)
log10 = Ufunc(np.log10, lax.log10)
log1p = Ufunc(np.log1p, lax.log1p)
logaddexp = Ufunc(np.logaddexp, lax.logaddexp, reduction=lax.logsumexp, accumulation=lax.cumlogsumexp)
logaddexp2 = Ufunc(np.logaddexp2, lax.logaddexp2, associative=True)

equal = Comparison(np.equal, lax.eq)
not_equal = Comparison(np.not_equal, lax.ne)
less = Comparison(np.less, lax.lt)
less_equal = Comparison(np.less_equal, lax.le)
greater = Comparison(np.greater, lax.gt)
greater_equal = Comparison(np.greater_equal, lax.ge)
logical_and = Ufunc(np.logical_and, lax.logical_and, reduction=lax.reduce_all, accumulation=lax.cummin)
logical_or = Ufunc(np.logical_or, lax.logical_or, reduction=lax.reduce_any, accumulation=lax.cummax)
logical_xor = Ufunc(np.logical_xor, lax.logical_xor, associative=True)
logical_not = Ufunc(np.logical_not, lax.logical_not)
bitwise_and = Ufunc(np.bitwise_and, lax.bitwise_and, associative=True)
bitwise_or = Ufunc(np.bitwise_or, lax.bitwise_or, associative=True)
bitwise_xor = Ufunc(np.bitwise_xor, lax.bitwise_xor, associative=True)
invert = bitwise_not = bitwise_invert = Ufunc(np.invert, lax.bitwise_not)
left_shift = bitwise_left_shift = Ufunc(np.left_shift, lax.shift_left)
right_shift = bitwise_right_shift = Ufunc(np.right_shift, lax.shift_right_arithmetic)
bitwise_count = Ufunc(np.bitwise_count, lax.bit_count)
gcd = Ufunc(np.gcd, lax.gcd, associative=True)
lcm = Ufunc(np.lcm, lax.lcm, associative=True)
isfinite = Ufunc(np.isfinite, lax.is_finite)
isnan = Ufunc(np.isnan, lax.isnan)
isinf = Ufunc(np.isinf, lax.isinf)
conjugate = conj = Ufunc(np.conjugate, lax.conj)

sin = Ufunc(np.sin, lax.sin)
cos = Ufunc(np.cos, lax.cos)
tan = Ufunc(np.tan, lax.tan)
arcsin = asin = Ufunc(np.arcsin, lax.asin)
arccos = acos = Ufunc(np.arccos, lax.acos)
arctan = atan = Ufunc(np.arctan, lax.atan)
arctan2 = atan2 = Ufunc(np.arctan2, lax.atan2)
sinh = Ufunc(np.sinh, lax.sinh)
cosh = Ufunc(np.cosh, lax.cosh)
tanh = Ufunc(np.tanh, lax.tanh)
arcsinh = asinh = Ufunc(np.arcsinh, lax.asinh)
arccosh = acosh = Ufunc(np.arccosh, lax.acosh)
arctanh = atanh = Ufunc(np.arctanh, lax.atanh)
hypot = Ufunc(np.hypot, lax.hypot, associative=True)
deg2rad = Ufunc(np.deg2rad, _scaled(np.deg2rad))
radians = Ufunc(np.radians, _scaled(np.radians))
rad2deg = Ufunc(np.rad2deg, _scaled(np.rad2deg))
degrees = Ufunc(np.degrees, _scaled(np.degrees))
