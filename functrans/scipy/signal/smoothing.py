"""Smoothing by fitted polynomials, the analytic signal, and resampling."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from functrans import errors
from functrans import numpy as fnp
from functrans.core import dtypes
from functrans.core.structural import convert
from functrans.core.trace import aval_of
from functrans.lax.static import normalize_axis
from functrans.numpy.dispatch import operand
from functrans.scipy.library import implements, needed
from functrans.scipy.signal.convolution import directly

_scipy = implements("scipy.signal")
PAD_MODES = {"mirror": "reflect", "nearest": "edge", "wrap": "wrap", "constant": "constant"}
"""SciPy's names of boundaries and those of ``numpy.pad``."""


def _fit(length: int, order: int, deriv: int, delta: float, places: Any) -> Any:
    """The matrix that fits a polynomial to ``length`` elements and gives its derivative at some places."""
    centre = (length - 1) / 2
    powers = np.vander(np.arange(length) - centre, order + 1, increasing=True)
    at = np.zeros((len(places), order + 1))
    for k in range(deriv, order + 1):
        at[:, k] = math.perm(k, deriv) * (np.asarray(places) - centre) ** (k - deriv)
    return at @ np.linalg.pinv(powers) / delta**deriv


@_scipy
def savgol_filter(
    x: Any, window_length: int, polyorder: int, deriv: int = 0, delta: float = 1.0, axis: int = -1,
    mode: str = "interp", cval: Any = 0.0,
) -> Any:  # fmt: skip
    """A signal smoothed, or differentiated, by polynomials fitted to windows; see ``scipy.signal.savgol_filter``.

    >>> import numpy as np, functrans as ft
    >>> ft.jit(lambda x: savgol_filter(x, 5, 2))(np.arange(1.0, 6.0) ** 2).round(6)
    array([ 1.,  4.,  9., 16., 25.])
    """
    x = operand(x, "savgol_filter")
    dtype = aval_of(x).dtype
    x = convert(x, dtype if dtype.char in "fd" else np.float64)
    if not 0 <= polyorder < window_length:
        raise errors.ArgumentError(
            f"savgol_filter: polyorder={polyorder} must not be negative, and less than window_length={window_length}"
        )
    if mode not in (*PAD_MODES, "interp"):
        raise errors.ArgumentError("savgol_filter: mode must be 'interp', 'mirror', 'nearest', 'wrap' or 'constant'")
    d = normalize_axis("savgol_filter", axis, aval_of(x).ndim)
    moved = fnp.moveaxis(x, d, -1)
    n, half = aval_of(moved).shape[-1], window_length // 2
    if mode == "interp" and window_length > n:
        raise errors.ShapeError(
            f"savgol_filter: for mode 'interp' the window of {window_length} must not exceed the {n} elements"
        )
    lead = [(0, 0)] * (aval_of(x).ndim - 1)
    # A window of even length, whose centre is between two elements, belongs to the one before.
    weights = _fit(window_length, polyorder, deriv, delta, [(window_length - 1) / 2])[0].astype(aval_of(x).dtype)
    padding = [*lead, (window_length - half - 1, half)]
    keywords = {"constant_values": cval} if mode == "constant" else {}
    padded = fnp.pad(moved, padding, PAD_MODES.get(mode, "constant"), **keywords)
    y = directly(padded, np.reshape(weights[::-1], (*[1] * len(lead), window_length)), "valid")
    if mode == "interp" and half:
        first = _fit(window_length, polyorder, deriv, delta, range(half)).astype(aval_of(x).dtype)
        last = _fit(window_length, polyorder, deriv, delta, range(window_length - half, window_length))
        left = moved[..., :window_length] @ first.T
        right = moved[..., n - window_length :] @ last.astype(aval_of(x).dtype).T
        y = fnp.concatenate([left, y[..., half : n - half], right], -1)
    return fnp.moveaxis(y, -1, d)


@_scipy
def hilbert(x: Any, N: Any = None, axis: int = -1) -> Any:
    """The analytic signal, whose real part is the signal itself; see ``scipy.signal.hilbert``."""
    x = operand(x, "hilbert")
    if dtypes.is_complex(aval_of(x).dtype):
        raise errors.DTypeError(f"hilbert: a real signal is needed, got {aval_of(x)}")
    d = normalize_axis("hilbert", axis, aval_of(x).ndim)
    dtype = aval_of(x).dtype
    x = convert(x, np.float32 if dtype == np.float16 else dtype if dtypes.is_inexact(dtype) else np.float64)
    n = aval_of(x).shape[d] if N is None else operator.index(N)
    if n < 1:
        raise errors.ShapeError(f"hilbert: N must be positive, got {n}")
    weights = np.zeros(n, dtypes.complex_dtype(aval_of(x).dtype))
    weights[0] = weights[n // 2] = 1.0
    weights[1 : (n + 1) // 2] = 2.0
    spectrum = fnp.fft.fft(fnp.moveaxis(x, d, -1), n)
    return fnp.moveaxis(fnp.fft.ifft(spectrum * weights), -1, d)


@_scipy
def resample(x: Any, num: int, t: Any = None, axis: int = 0, window: Any = None, domain: str = "time") -> Any:
    """A periodic signal at ``num`` points in place of those that it has; see ``scipy.signal.resample``."""
    if domain not in ("time", "freq"):
        raise errors.ArgumentError(f"resample: domain must be 'time' or 'freq', got {domain!r}")
    x = operand(x, "resample")
    dtype = aval_of(x).dtype
    if not dtypes.is_inexact(dtype) or dtype == np.float16:
        x = convert(x, np.float32 if dtype == np.float16 else np.float64)
    num = operator.index(num)
    d = normalize_axis("resample", axis, aval_of(x).ndim)
    moved = fnp.moveaxis(x, d, -1)
    n = aval_of(moved).shape[-1]
    real = domain == "time" and not dtypes.is_complex(aval_of(x).dtype)
    spectrum = moved if domain == "freq" else fnp.fft.fft(moved)
    if window is not None:
        if callable(window):
            weights = window(np.fft.fftfreq(n))
        elif isinstance(window, (str, tuple, float)):
            weights = np.fft.fftshift(needed("scipy.signal", "resample").get_window(window, n))
        else:
            weights = operand(window, "resample")
        if aval_of(weights).shape != (n,):
            raise errors.ShapeError(f"resample: the window must have {n} entries, got {aval_of(weights)}")
        spectrum = spectrum * weights
    low = min(num, n)
    kept = (low - 1) // 2
    front, back = spectrum[..., : kept + 1], spectrum[..., n - kept :]
    lead = aval_of(spectrum).shape[:-1]
    if low % 2 == 0:
        # The frequency that stands alone at an even number of points stands for two at more points.
        middle = spectrum[..., low // 2 : low // 2 + 1]
        if num < n:
            middle = middle + spectrum[..., n - low // 2 : n - low // 2 + 1]
        elif num > n:
            middle = middle * 0.5
            gap = fnp.zeros((*lead, num - low - 1), aval_of(spectrum).dtype)
            middle = fnp.concatenate([middle, gap, middle], -1)
    else:
        middle = fnp.zeros((*lead, num - low), aval_of(spectrum).dtype)
    y = fnp.fft.ifft(fnp.concatenate([front, middle, back], -1)) * (num / n)
    y = fnp.moveaxis(fnp.real(y) if real else y, -1, d)
    if t is None:
        return y
    t = operand(t, "resample")
    return y, t[0] + (t[1] - t[0]) * (n / num) * fnp.arange(num)
