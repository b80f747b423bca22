"""Windows for spectra and filters, and the Bessel function that one of them is made of."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from functrans import errors, lax
from functrans.core import dtypes
from functrans.core.structural import convert, rebox
from functrans.core.trace import Tracer, aval_of, current_trace
from functrans.lax.static import normalize_axis
from functrans.numpy.creation import concrete_function
from functrans.numpy.dispatch import functions, implements, operand

bartlett = concrete_function(np.bartlett, "The triangular window")
blackman = concrete_function(np.blackman, "The Blackman window")
hamming = concrete_function(np.hamming, "The Hamming window")
hanning = concrete_function(np.hanning, "The Hann window")


@implements(np.i0)
def i0(x: Any) -> Any:
    """The modified Bessel function of the first kind and order 0; see ``numpy.i0``.

    The derivative is the one of order 1, which is 0 at 0.

    Raises:
        DTypeError: the argument is complex.
    """
    x = operand(x, "i0")
    aval = aval_of(x)
    if dtypes.is_complex(aval.dtype):
        raise errors.DTypeError(f"i0: real numbers are needed, got {aval}")
    dtype = aval.dtype if dtypes.kind(aval.dtype) == "f" else np.dtype(float)
    x = convert(x, dtype)
    # In two steps the exponential overflows only where the function does.
    half = lax.exp(lax.mul(lax.abs(x), dtype.type(0.5)))
    return rebox(lax.mul(lax.mul(lax.bessel_i0e(x), half), half), "array")


def kaiser(M: Any, beta: Any) -> Any:
    """The Kaiser window of ``M`` points; see ``numpy.kaiser``.

    ``M`` is static; ``beta`` may be traced, and is differentiated in.

    >>> kaiser(5, 2.0).round(4)
    array([0.4387, 0.8348, 1.    , 0.8348, 0.4387])
    """
    if current_trace() is None:
        return np.kaiser(M, beta)
    count = operator.index(M)
    if not isinstance(beta, Tracer):
        return _plain_kaiser(count, beta)
    beta = convert(beta, np.float64)
    if count <= 1:
        return lax.ones((max(count, 0),), np.float64)
    middle = (count - 1) / 2.0
    arch = np.sqrt(1 - ((np.arange(count) - middle) / middle) ** 2.0)
    return lax.div(i0(lax.mul(beta, arch)), i0(beta))


_plain_kaiser = concrete_function(np.kaiser, "The Kaiser window")
functions[np.kaiser] = kaiser

# -- bits -----------------------------------------------------------------------------------------------------------


def _bit_order(name: str, bitorder: str) -> bool:
    if bitorder not in ("big", "little"):
        raise ValueError(f"{name}: bitorder must be 'little' or 'big', got {bitorder!r}")
    return bitorder == "big"


def _bit_axis(name: str, x: Any, axis: Any) -> tuple[Any, int]:
    if axis is None:
        return lax.reshape(x, (aval_of(x).size,)), 0
    return x, normalize_axis(name, axis, aval_of(x).ndim)


@implements(np.packbits)
def packbits(a: Any, /, axis: Any = None, bitorder: str = "big") -> Any:
    """Booleans, or integers that count as such, packed eight in a byte; see ``numpy.packbits``.

    >>> packbits(np.array([1, 0, 0, 0, 0, 0, 1, 0, 1]))
    array([130, 128], dtype=uint8)
    """
    x = operand(a, "packbits")
    if aval_of(x).dtype.kind not in "biu":
        raise errors.DTypeError(f"packbits: booleans or integers are needed, got {aval_of(x)}. Write packbits(x != 0)")
    big = _bit_order("packbits", bitorder)
    x, d = _bit_axis("packbits", x, axis)
    bits = convert(lax.ne(x, aval_of(x).dtype.type(0)), np.uint8)
    shape = aval_of(x).shape
    count = -(-shape[d] // 8)
    bits = lax.pad(bits, np.uint8(0), [(0, 8 * count - n if i == d else 0, 0) for i, n in enumerate(shape)])
    bits = lax.reshape(bits, (*shape[:d], count, 8, *shape[d + 1 :]))
    weights = np.uint8(1) << np.arange(8, dtype=np.uint8)
    weights = (weights[::-1] if big else weights).reshape(8, *(1,) * (len(shape) - 1 - d))
    return lax.reduce_sum(lax.mul(bits, weights), (d + 1,))


@implements(np.unpackbits)
def unpackbits(a: Any, /, axis: Any = None, count: Any = None, bitorder: str = "big") -> Any:
    """The bits of bytes, as an array of zeros and ones; see ``numpy.unpackbits``. ``count`` is static.

    >>> unpackbits(np.array([130], np.uint8))
    array([1, 0, 0, 0, 0, 0, 1, 0], dtype=uint8)
    """
    x = operand(a, "unpackbits")
    if aval_of(x).dtype != np.uint8:
        raise errors.DTypeError(f"unpackbits: an array of dtype uint8 is needed, got {aval_of(x)}")
    big = _bit_order("unpackbits", bitorder)
    x, d = _bit_axis("unpackbits", x, axis)
    shape = aval_of(x).shape
    places = np.arange(8, dtype=np.uint8)
    places = (places[::-1] if big else places).reshape(8, *(1,) * (len(shape) - 1 - d))
    bits = lax.bitwise_and(lax.shift_right_logical(lax.expand_dims(x, (d + 1,)), places), np.uint8(1))
    total = 8 * shape[d]
    bits = lax.reshape(bits, (*shape[:d], total, *shape[d + 1 :]))
    if count is None:
        return bits
    wanted = operator.index(count)
    wanted = total + wanted if wanted < 0 else wanted
    if wanted < 0:
        raise ValueError(f"unpackbits: count={count} takes away more than the {total} bits along axis {d}")
    missing = [(0, wanted - total if i == d else 0, 0) for i in range(len(shape))]
    return lax.pad(bits, np.uint8(0), missing)
