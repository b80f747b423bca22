"""Convolutions and correlations of arrays of any rank, summed directly or by Fourier transforms."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from functrans import errors, lax
from functrans import numpy as fnp
from functrans.core import dtypes
from functrans.core.structural import convert, rebox
from functrans.core.trace import aval_of
from functrans.lax.fourier import irfft_p, rfft_p
from functrans.lax.static import is_sequence, normalize_axis
from functrans.numpy.dispatch import operand
from functrans.numpy.fft import resized
from functrans.scipy.library import implements

_scipy = implements("scipy.signal")
MODES = ("full", "same", "valid")
_FEW = 64
"""Kernels of up to so many elements are summed directly, whatever the size of the signal."""


def check_mode(name: str, mode: Any) -> None:
    """Reject a mode that is none."""
    if mode not in MODES:
        raise errors.ArgumentError(f"{name}: mode must be 'full', 'same' or 'valid', got {mode!r}")


def _contained(name: str, mode: str, a: Sequence[int], b: Sequence[int], axes: Sequence[int]) -> bool:
    """Whether, for mode ``valid``, ``b`` is the one which contains the other."""
    if mode != "valid" or all(a[d] >= b[d] for d in axes):
        return False
    if all(b[d] >= a[d] for d in axes):
        return True
    raise errors.ShapeError(
        f"{name}: for mode 'valid' one array must be at least as large as the other along every axis, got shapes "
        f"{tuple(a)} and {tuple(b)}"
    )


def span(mode: str, n: int, k: int, late: bool = False) -> tuple[int, int]:
    """Where the results of a mode begin in the full convolution of ``n`` and ``k`` elements, and where they end.

    The middle of an even number of elements is the first of the two; with ``late`` the second.
    """
    if mode == "full":
        return 0, n + k - 1
    if mode == "same":
        start = k // 2 if late else (k - 1) // 2
        return start, start + n
    return k - 1, n


def reversed_conjugate(x: Any) -> Any:
    """An array with its axes reversed, conjugated."""
    x = lax.rev(x, tuple(range(aval_of(x).ndim)))
    return lax.conj(x) if dtypes.is_complex(aval_of(x).dtype) else x


def directly(x: Any, kernel: Any, mode: str, late: bool = False) -> Any:
    """The convolution of two arrays of one rank and dtype, as sums."""
    n, k = aval_of(x).shape, aval_of(kernel).shape
    ends = [span(mode, *e, late) for e in zip(n, k, strict=True)]
    padding = [(m - 1 - a, b - e) for e, m, (a, b) in zip(n, k, ends, strict=True)]
    image = lax.reshape(x, (1, 1, *n))
    taps = lax.reshape(lax.rev(kernel, tuple(range(len(k)))), (1, 1, *k))
    out = lax.conv_general_dilated(image, taps, (1,) * len(n), padding)
    return lax.reshape(out, aval_of(out).shape[2:])


def fast_length(n: int) -> int:
    """The next length without prime factors above 5, which is transformed fast."""
    while True:
        rest = n
        for p in (2, 3, 5):
            while rest % p == 0:
                rest //= p
        if rest == 1:
            return n
        n += 1


def by_fourier(x: Any, kernel: Any, mode: str, axes: Sequence[int]) -> Any:
    """The convolution of two floating-point arrays of one dtype over some axes, by Fourier transforms."""
    n, k = aval_of(x).shape, aval_of(kernel).shape
    axes = tuple(axes)
    lengths = [fast_length(n[d] + k[d] - 1) for d in axes]
    padded = [resized(a, lengths, axes) for a in (x, kernel)]
    if dtypes.is_complex(aval_of(x).dtype):
        product = lax.mul(*[fnp.fft.fftn(a, axes=axes) for a in padded])
        whole = fnp.fft.ifftn(product, axes=axes)
    else:
        product = lax.mul(*[rfft_p.bind(a, axes=axes, norm="backward") for a in padded])
        whole = irfft_p.bind(product, axes=axes, norm="backward", length=lengths[-1])
    start, stop = [0] * len(n), list(aval_of(whole).shape)
    # As SciPy does it, mode 'same' crops axes along which the first array was broadcast, too.
    for d in range(len(n)) if mode == "same" else axes:
        if d in axes or n[d] < k[d]:
            start[d], stop[d] = span(mode, n[d], k[d])
    return lax.slice(whole, start, stop)


def _pair(name: str, in1: Any, in2: Any) -> tuple[Any, Any]:
    a, b = operand(in1, name), operand(in2, name)
    if aval_of(a).ndim != aval_of(b).ndim:
        raise errors.ShapeError(
            f"{name}: arrays of one rank are needed, got {aval_of(a).ndim} and {aval_of(b).ndim} axes"
        )
    return a, b


def _is_cheap(n: Sequence[int], k: Sequence[int], mode: str) -> bool:
    """Whether direct sums cost less than transforms; a multiplication of a sum counts for a twentieth of theirs."""
    taps = math.prod(k)
    ends = [span(mode, *e) for e in zip(n, k, strict=True)]
    sums = math.prod([b - a for a, b in ends]) * taps
    size = math.prod([a + b - 1 for a, b in zip(n, k, strict=True)])
    return taps <= _FEW or sums < 60 * size * math.log2(size + 1)


def _convolved(name: str, a: Any, b: Any, mode: str, method: str) -> Any:
    check_mode(name, mode)
    if method not in ("auto", "direct", "fft"):
        raise errors.ArgumentError(f"{name}: method must be 'auto', 'direct' or 'fft', got {method!r}")
    dtype = dtypes.result_type(aval_of(a).dtype, aval_of(b).dtype)
    if not aval_of(a).ndim:
        return rebox(fnp.multiply(a, b), "numpy")
    n, k = aval_of(a).shape, aval_of(b).shape
    axes = range(len(n))
    if 0 in (*n, *k):
        return fnp.zeros(0, dtype) if method == "fft" or len(n) > 1 else fnp.convolve(a, b, mode)
    if _contained(name, mode, n, k, axes):
        a, b, n, k = b, a, k, n
    if dtype.kind == "b":
        counts = directly(convert(a, np.int64), convert(b, np.int64), mode)
        return lax.ne(counts, 0)
    exact = not dtypes.is_inexact(dtype)
    smaller = min(n, k, key=math.prod)
    larger = n if smaller is k else k
    if method == "direct" or (method == "auto" and (exact or _is_cheap(larger, smaller, mode))):
        wide = np.dtype(np.float32) if dtype == np.float16 else dtype
        return convert(directly(convert(a, wide), convert(b, wide), mode), dtype)
    wide = np.dtype(np.float64) if exact else np.dtype(np.float32) if dtype == np.float16 else dtype
    out = by_fourier(convert(a, wide), convert(b, wide), mode, axes)
    return convert(lax.rint(out) if exact else out, dtype)


@_scipy
def convolve(in1: Any, in2: Any, mode: str = "full", method: str = "auto") -> Any:
    """The convolution of two arrays of one rank; see ``scipy.signal.convolve``.

    ``method="auto"`` takes what is faster by a count of operations; the results agree to rounding.

    >>> import numpy as np, functrans as ft
    >>> ft.jit(convolve)(np.array([1.0, 2.0, 3.0]), np.array([0.0, 1.0, 0.5]))
    array([0. , 1. , 2.5, 4. , 1.5])
    """
    a, b = _pair("convolve", in1, in2)
    return _convolved("convolve", a, b, mode, method)


@_scipy
def correlate(in1: Any, in2: Any, mode: str = "full", method: str = "auto") -> Any:
    """The correlation of two arrays of one rank, the second conjugated; see ``scipy.signal.correlate``."""
    a, b = _pair("correlate", in1, in2)
    if not aval_of(a).ndim and dtypes.is_complex(aval_of(b).dtype):
        return _convolved("correlate", a, lax.conj(b), mode, method)
    return _convolved("correlate", a, reversed_conjugate(b), mode, method)


@_scipy
def fftconvolve(in1: Any, in2: Any, mode: str = "full", axes: Any = None) -> Any:
    """The convolution of two arrays over some axes by Fourier transforms; see ``scipy.signal.fftconvolve``."""
    a, b = _pair("fftconvolve", in1, in2)
    check_mode("fftconvolve", mode)
    if not aval_of(a).ndim:
        return fnp.multiply(a, b)
    n, k = aval_of(a).shape, aval_of(b).shape
    if 0 in (*n, *k):
        return fnp.zeros(0)
    over = range(len(n)) if axes is None else axes if is_sequence(axes) else (axes,)
    found = sorted(normalize_axis("fftconvolve", d, len(n)) for d in over)
    if not found or len(set(found)) < len(found):
        raise errors.ShapeError(f"fftconvolve: axes={axes} must name an axis or more, none of them twice")
    for d in range(len(n)):
        if d not in found and n[d] != k[d] and 1 not in (n[d], k[d]):
            raise errors.ShapeError(f"fftconvolve: shapes {n} and {k} do not broadcast along axis {d}")
    if _contained("fftconvolve", mode, n, k, found):
        a, b = b, a
    kinds = [_transformed(aval_of(x).dtype) for x in (a, b)]
    dtype = dtypes.result_type(*kinds)
    # Along an axis on which neither array is longer than 1 the convolution is a product.
    long = [d for d in found if n[d] != 1 or k[d] != 1]
    a, b = convert(a, dtype), convert(b, dtype)
    return by_fourier(a, b, mode, long) if long else lax.mul(a, b)


def _transformed(dtype: Any) -> Any:
    if dtype == np.float16:
        return np.dtype(np.float32)
    return dtype if dtypes.is_inexact(dtype) else np.dtype(np.float64)


@_scipy
def oaconvolve(in1: Any, in2: Any, mode: str = "full", axes: Any = None) -> Any:
    """The convolution of arrays of different sizes; see ``scipy.signal.oaconvolve``. Traced it is ``fftconvolve``."""
    return fftconvolve.__wrapped__(in1, in2, mode, axes)  # type: ignore[attr-defined]


# -- two dimensions, with boundaries -------------------------------------------------------------------------------

_BOUNDARIES = {"fill": "constant", "pad": "constant", "wrap": "wrap", "circular": "wrap", "symm": "symmetric"}
_BOUNDARIES["symmetric"] = "symmetric"


def _planar(name: str, a: Any, b: Any, mode: str, boundary: str, fillvalue: Any, late: bool = False) -> Any:
    check_mode(name, mode)
    if boundary not in _BOUNDARIES:
        raise errors.ArgumentError(f"{name}: boundary must be 'fill', 'wrap' or 'symm', got {boundary!r}")
    if aval_of(a).ndim != 2 or aval_of(b).ndim != 2:
        raise errors.ShapeError(f"{name}: two matrices are needed, got {aval_of(a)} and {aval_of(b)}")
    dtype = dtypes.result_type(aval_of(a).dtype, aval_of(b).dtype)
    n, k = aval_of(a).shape, aval_of(b).shape
    if _contained(name, mode, n, k, (0, 1)):
        a, b, n, k = b, a, k, n
    wide = np.dtype(np.float32) if dtype == np.float16 else np.dtype(np.int64) if dtype.kind == "b" else dtype
    a, b = convert(a, wide), convert(b, wide)
    if mode == "valid" or (_BOUNDARIES[boundary] == "constant" and _is_zero(fillvalue)):
        out = directly(a, b, mode, late)
    else:
        ends = [span(mode, *e, late) for e in zip(n, k, strict=True)]
        widths = [(m - 1 - lo, hi - e) for e, m, (lo, hi) in zip(n, k, ends, strict=True)]
        if _BOUNDARIES[boundary] == "constant":
            padded = fnp.pad(a, widths, constant_values=convert(operand(fillvalue, name), wide))
        else:
            padded = fnp.pad(a, widths, _BOUNDARIES[boundary])
        out = directly(padded, b, "valid")
    return lax.ne(out, 0) if dtype.kind == "b" else convert(out, dtype)


def _is_zero(value: Any) -> bool:
    return isinstance(value, (int, float)) and value == 0


@_scipy
def convolve2d(in1: Any, in2: Any, mode: str = "full", boundary: str = "fill", fillvalue: Any = 0) -> Any:
    """The convolution of two matrices, with a choice of what lies around the first; see ``scipy.signal.convolve2d``."""
    a, b = operand(in1, "convolve2d"), operand(in2, "convolve2d")
    return _planar("convolve2d", a, b, mode, boundary, fillvalue)


@_scipy
def correlate2d(in1: Any, in2: Any, mode: str = "full", boundary: str = "fill", fillvalue: Any = 0) -> Any:
    """The correlation of two matrices, the second one conjugated; see ``scipy.signal.correlate2d``."""
    a, b = operand(in1, "correlate2d"), operand(in2, "correlate2d")
    if aval_of(b).ndim != 2:
        raise errors.ShapeError(f"correlate2d: two matrices are needed, got {aval_of(a)} and {aval_of(b)}")
    swapped = aval_of(a).ndim == 2 and _contained("correlate2d", mode, aval_of(a).shape, aval_of(b).shape, (0, 1))
    if swapped:
        # SciPy conjugates the one that is moved over the other, and leaves it at that.
        return lax.rev(_planar("correlate2d", b, reversed_conjugate(a), mode, boundary, fillvalue), (0, 1))
    return _planar("correlate2d", a, reversed_conjugate(b), mode, boundary, fillvalue, late=True)


def correlation_lags(in1_len: int, in2_len: int, mode: str = "full") -> Any:
    """The lag of each entry of the correlation of two vectors; see ``scipy.signal.correlation_lags``."""
    check_mode("correlation_lags", mode)
    n, k = operator.index(in1_len), operator.index(in2_len)
    lags = np.arange(1 - k, n)
    if mode == "full":
        return lags
    if mode == "same":
        start = lags.size // 2 - n // 2
        return lags[start : start + n]
    return np.arange(n - k + 1) if n >= k else np.arange(n - k, 1)
