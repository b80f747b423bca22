"""Spectra of signals by Fourier transforms of windowed segments (Welch's method), and transforms back to signals."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from functrans import errors, lax
from functrans import numpy as fnp
from functrans.core import dtypes
from functrans.core.structural import convert
from functrans.core.trace import Tracer, aval_of
from functrans.lax.static import normalize_axis
from functrans.numpy.dispatch import operand
from functrans.numpy.fft import resized
from functrans.scipy.library import implements, needed

_scipy = implements("scipy.signal")

# -- trends ------------------------------------------------------------------------------------------------------


@_scipy
def detrend(data: Any, axis: int = -1, type: str = "linear", bp: Any = 0, overwrite_data: bool = False) -> Any:
    """A signal without its mean, or without a line fitted to each piece between the points ``bp``.

    See ``scipy.signal.detrend``.

    >>> import numpy as np, functrans as ft
    >>> ft.jit(detrend)(np.array([1.0, 3.0, 4.0, 8.0])).round(6)
    array([ 0.3, 0.1, -1.1, 0.7])
    """
    x = operand(data, "detrend")
    if type not in ("linear", "l", "constant", "c"):
        raise errors.ArgumentError(f"detrend: type must be 'linear' or 'constant', got {type!r}")
    dtype = aval_of(x).dtype
    x = convert(x, dtype if dtype.char in "fdFD" else np.float64)
    d = normalize_axis("detrend", axis, aval_of(x).ndim)
    if type in ("constant", "c"):
        return x - fnp.mean(x, d, keepdims=True)
    n = aval_of(x).shape[d]
    breaks = np.sort(np.unique(np.concatenate([np.atleast_1d(0), np.atleast_1d(bp), np.array([n])])))
    if breaks[-1] > n:
        raise errors.ShapeError(f"detrend: a break point lies at {breaks[-1]}, behind the {n} elements along the axis")
    moved = fnp.moveaxis(x, d, -1)
    pieces = []
    for start, stop in zip(breaks[:-1].tolist(), breaks[1:].tolist(), strict=True):
        piece = moved[..., start:stop]
        line = np.stack([np.arange(1, stop - start + 1) / (stop - start), np.ones(stop - start)], 1)
        basis = np.linalg.qr(line)[0][:, : stop - start].astype(aval_of(x).dtype)
        pieces.append(piece - (piece @ basis) @ basis.T)
    return fnp.moveaxis(fnp.concatenate(pieces, -1), -1, d)


# -- segments ----------------------------------------------------------------------------------------------------


def _window(name: str, window: Any, nperseg: Any, length: int) -> tuple[Any, int]:
    """The weights of a segment, which may be traced, and its length."""
    if nperseg is not None:
        nperseg = operator.index(nperseg)
        if nperseg < 1:
            raise errors.ShapeError(f"{name}: nperseg must be positive, got {nperseg}")
    if isinstance(window, (str, tuple)):
        nperseg = 256 if nperseg is None else nperseg
        if nperseg > length:
            warnings.warn(f"{name}: nperseg={nperseg} exceeds the {length} elements; it is set to that", stacklevel=4)
            nperseg = length
        return needed("scipy.signal", name).get_window(window, nperseg), nperseg
    weights = operand(window, name)
    if aval_of(weights).ndim != 1:
        raise errors.ShapeError(f"{name}: a window must be a vector, got {aval_of(weights)}")
    size = aval_of(weights).shape[0]
    if size > length:
        raise errors.ShapeError(f"{name}: the window of {size} elements is longer than the signal of {length}")
    if nperseg is not None and nperseg != size:
        raise errors.ShapeError(f"{name}: nperseg={nperseg} differs from the {size} elements of the window")
    return weights, size


def _overlap(name: str, nperseg: int, noverlap: Any, nfft: Any) -> tuple[int, int]:
    noverlap = nperseg // 2 if noverlap is None else operator.index(noverlap)
    nfft = nperseg if nfft is None else operator.index(nfft)
    if noverlap >= nperseg:
        raise errors.ShapeError(f"{name}: noverlap={noverlap} must be less than nperseg={nperseg}")
    if nfft < nperseg:
        raise errors.ShapeError(f"{name}: nfft={nfft} must not be less than nperseg={nperseg}")
    return noverlap, nfft


def _places(count: int, nperseg: int, step: int) -> Any:
    """The index of each element of each segment."""
    return step * np.arange(count)[:, None] + np.arange(nperseg)


def _segments(x: Any, nperseg: int, step: int) -> Any:
    """Segments of the last axis, along a new one before it."""
    n = aval_of(x).shape[-1]
    if nperseg == 1 and step == 1:
        return x[..., None]
    return fnp.take(x, _places((n - nperseg) // step + 1, nperseg, step), axis=-1)


def _detrender(name: str, kind: Any) -> Callable[[Any], Any]:
    if kind is False or kind is None:
        return lambda segments: segments
    if callable(kind):
        return kind  # type: ignore[no-any-return]
    return lambda segments: detrend.__wrapped__(segments, -1, kind)  # type: ignore[attr-defined]


def _transformed(segments: Any, weights: Any, trend: Callable[[Any], Any], nfft: int, onesided: bool) -> Any:
    tapered = trend(segments) * weights
    return (fnp.fft.rfft if onesided else fnp.fft.fft)(tapered, nfft)


def _sides(name: str, onesided: bool, *signals: Any) -> bool:
    if onesided and any(dtypes.is_complex(aval_of(s).dtype) for s in signals):
        warnings.warn(f"{name}: the data are complex, so the spectrum has two sides", stacklevel=4)
        return False
    return onesided


def _frequencies(nfft: int, fs: Any, onesided: bool) -> Any:
    return (fnp.fft.rfftfreq if onesided else fnp.fft.fftfreq)(nfft, 1 / fs)


def _scale(name: str, scaling: str, weights: Any, fs: Any, names: tuple[str, str]) -> Any:
    """The factor of powers: per frequency, or in whole."""
    if scaling == names[0]:
        return 1.0 / (fs * fnp.sum(weights * weights))
    if scaling == names[1]:
        return 1.0 / fnp.sum(weights) ** 2
    raise errors.ArgumentError(f"{name}: scaling must be {names[0]!r} or {names[1]!r}, got {scaling!r}")


def _single(x: Any) -> bool:
    return aval_of(x).dtype.char in "efF"


def _placed(x: Any, axis: int) -> Any:
    """Frequencies, which came last, in the place of the axis; what lies between them and the end stays behind."""
    return fnp.moveaxis(x, -1, axis)


# -- spectral densities ----------------------------------------------------------------------------------------------


def _cross_powers(
    name: str, x: Any, y: Any, fs: Any, window: Any, nperseg: Any, noverlap: Any, nfft: Any, trend: Any,
    onesided: bool, scaling: str, axis: int,
) -> tuple[Any, Any, Any, int]:  # fmt: skip
    """Frequencies, the powers of each segment (frequencies last), the times in samples, and the axis."""
    x = operand(x, name)
    same = y is None or y is x
    y = x if same else operand(y, name)
    d = normalize_axis(name, axis, aval_of(x).ndim)
    x = fnp.moveaxis(x, d, -1)
    y = x if same else fnp.moveaxis(y, normalize_axis(name, axis, aval_of(y).ndim), -1)
    length = max(aval_of(x).shape[-1], aval_of(y).shape[-1])
    x, y = (fnp.pad(s, [(0, 0)] * (aval_of(s).ndim - 1) + [(0, length - aval_of(s).shape[-1])]) for s in (x, y))
    weights, nperseg = _window(name, window, nperseg, length)
    noverlap, nfft = _overlap(name, nperseg, noverlap, nfft)
    onesided = _sides(name, onesided, x, y)
    narrow = _single(x) and _single(y)
    scale = _scale(name, scaling, weights, fs, ("density", "spectrum"))
    weights = convert(operand(weights), np.float32) if narrow else weights
    step = nperseg - noverlap
    detrended = _detrender(name, trend)
    sx = _transformed(_segments(x, nperseg, step), weights, detrended, nfft, onesided)
    if same:
        powers = fnp.real(sx) ** 2 + fnp.imag(sx) ** 2
    else:
        sy = _transformed(_segments(y, nperseg, step), weights, detrended, nfft, onesided)
        powers = fnp.conj(sx) * sy
    if onesided:
        doubled = np.full(nfft // 2 + 1, 2.0)
        doubled[0] = 1.0
        if nfft % 2 == 0:
            doubled[-1] = 1.0
        scale = scale * doubled
    powers = powers * scale
    if narrow:
        powers = convert(powers, np.complex64 if dtypes.is_complex(aval_of(powers).dtype) else np.float32)
    count = aval_of(powers).shape[-2]
    return _frequencies(nfft, fs, onesided), powers, nperseg / 2 + step * np.arange(count), d


def _averaged(name: str, powers: Any, average: str) -> Any:
    count = aval_of(powers).shape[-2]
    if average == "mean":
        return fnp.mean(powers, -2)
    if average != "median":
        raise errors.ArgumentError(f"{name}: average must be 'mean' or 'median', got {average!r}")
    # The expected median of the powers of noise, in units of their mean.
    bias = 1.0 + sum(1.0 / (k + 1) - 1.0 / k for k in range(2, count, 2)) if count > 1 else 1.0
    if dtypes.is_complex(aval_of(powers).dtype):
        middle = lax.complex(fnp.median(fnp.real(powers), -2), fnp.median(fnp.imag(powers), -2))
    else:
        middle = fnp.median(powers, -2)
    return middle / bias


@_scipy
def csd(
    x: Any, y: Any, fs: Any = 1.0, window: Any = "hann", nperseg: Any = None, noverlap: Any = None, nfft: Any = None,
    detrend: Any = "constant", return_onesided: bool = True, scaling: str = "density", axis: int = -1,
    average: str = "mean",
) -> tuple[Any, Any]:  # fmt: skip
    """The cross spectral density of two signals by Welch's method; see ``scipy.signal.csd``.

    A window given as an array may be traced.
    """
    arguments = (fs, window, nperseg, noverlap, nfft, detrend, return_onesided, scaling, axis)
    frequencies, powers, _, d = _cross_powers("csd", x, y, *arguments)
    return frequencies, _placed(_averaged("csd", powers, average), d)


@_scipy
def welch(
    x: Any, fs: Any = 1.0, window: Any = "hann", nperseg: Any = None, noverlap: Any = None, nfft: Any = None,
    detrend: Any = "constant", return_onesided: bool = True, scaling: str = "density", axis: int = -1,
    average: str = "mean",
) -> tuple[Any, Any]:  # fmt: skip
    """The power spectral density of a signal by Welch's method; see ``scipy.signal.welch``.

    A window given as an array may be traced.

    >>> import numpy as np, functrans as ft
    >>> tone = lambda f: np.sin(2 * np.pi * f * np.arange(64))
    >>> ft.jit(lambda f: welch(tone(f), nperseg=32)[1])(0.25).argmax()
    np.int64(8)
    """
    arguments = (fs, window, nperseg, noverlap, nfft, detrend, return_onesided, scaling, axis)
    frequencies, powers, _, d = _cross_powers("welch", x, None, *arguments)
    return frequencies, _placed(_averaged("welch", powers, average), d)


@_scipy
def periodogram(
    x: Any, fs: Any = 1.0, window: Any = "boxcar", nfft: Any = None, detrend: Any = "constant",
    return_onesided: bool = True, scaling: str = "density", axis: int = -1,
) -> tuple[Any, Any]:  # fmt: skip
    """The power spectral density of a signal taken as one segment; see ``scipy.signal.periodogram``."""
    x = operand(x, "periodogram")
    d = normalize_axis("periodogram", axis, aval_of(x).ndim)
    n = aval_of(x).shape[d]
    if nfft is not None and nfft < n:
        x, n = resized(x, [operator.index(nfft)], [d]), operator.index(nfft)
    weights = _window("periodogram", "boxcar" if window is None else window, n, n)[0]
    arguments = (fs, weights, n, 0, nfft, detrend, return_onesided, scaling, axis)
    frequencies, powers, _, d = _cross_powers("periodogram", x, None, *arguments)
    return frequencies, _placed(_averaged("periodogram", powers, "mean"), d)


@_scipy
def coherence(
    x: Any, y: Any, fs: Any = 1.0, window: Any = "hann", nperseg: Any = None, noverlap: Any = None, nfft: Any = None,
    detrend: Any = "constant", axis: int = -1,
) -> tuple[Any, Any]:  # fmt: skip
    """The magnitude squared coherence of two signals; see ``scipy.signal.coherence``."""
    arguments = (fs, window, nperseg, noverlap, nfft, detrend, True, "density", axis)
    frequencies, own, _, d = _cross_powers("coherence", x, None, *arguments)
    other = _cross_powers("coherence", y, None, *arguments)[1]
    cross = _cross_powers("coherence", x, y, *arguments)[1]
    powers = [fnp.mean(p, -2) for p in (own, other, cross)]
    squared = fnp.real(powers[2]) ** 2 + fnp.imag(powers[2]) ** 2
    return frequencies, _placed(squared / powers[0] / powers[1], d)


@_scipy
def spectrogram(
    x: Any, fs: Any = 1.0, window: Any = ("tukey", 0.25), nperseg: Any = None, noverlap: Any = None, nfft: Any = None,
    detrend: Any = "constant", return_onesided: bool = True, scaling: str = "density", axis: int = -1,
    mode: str = "psd",
) -> tuple[Any, Any, Any]:  # fmt: skip
    """The spectra of consecutive segments of a signal; see ``scipy.signal.spectrogram``.

    Of its modes ``"psd"``, ``"complex"`` and ``"magnitude"`` can be traced.
    """
    signal = operand(x, "spectrogram")
    d = normalize_axis("spectrogram", axis, aval_of(signal).ndim)
    weights, nperseg = _window("spectrogram", window, nperseg, aval_of(signal).shape[d])
    noverlap = nperseg // 8 if noverlap is None else noverlap
    arguments: list[Any] = [fs, weights, nperseg, noverlap, nfft, detrend, return_onesided]
    if mode == "psd":
        arguments += [scaling, axis]
        frequencies, powers, places, d = _cross_powers("spectrogram", signal, None, *arguments)
        return frequencies, places / fs, _placed(powers, d)
    parts: dict[str, Callable[[Any], Any]] = {
        "complex": lambda z: z,
        "magnitude": fnp.abs,
        "angle": fnp.angle,
        "phase": lambda z: fnp.unwrap(fnp.angle(z), axis=d),
    }
    if mode not in parts:
        raise errors.ArgumentError(f"spectrogram: mode must be 'psd', {', '.join(map(repr, parts))}, got {mode!r}")
    arguments += [None, False, axis, scaling, ("density", "spectrum")]
    frequencies, times, spectra = _short_time("spectrogram", signal, *arguments)
    return frequencies, times, parts[mode](spectra)


# -- short-time Fourier transform and its inverse ---------------------------------------------------------------------


def extended(x: Any, kind: str, width: int) -> Any:
    """A signal continued at both ends of its last axis by ``width`` elements: even, odd, constant or zeros."""
    if width == 0:
        return x
    n = aval_of(x).shape[-1]
    widths = [(0, 0)] * (aval_of(x).ndim - 1) + [(width, width)]
    if kind == "zeros":
        return fnp.pad(x, widths)
    if kind == "constant":
        return fnp.pad(x, widths, "edge")
    if width > n - 1:
        raise errors.ShapeError(
            f"a signal of {n} elements cannot be continued by {width} mirrored ones; it is too short"
        )
    mirrored = x[..., width:0:-1], x[..., -2 : -(width + 2) : -1]
    if kind == "odd":
        mirrored = 2 * x[..., :1] - mirrored[0], 2 * x[..., -1:] - mirrored[1]
    return fnp.concatenate([mirrored[0], x, mirrored[1]], -1)


def _short_time(
    name: str, x: Any, fs: Any, window: Any, nperseg: Any, noverlap: Any, nfft: Any, trend: Any, onesided: bool,
    boundary: Any, padded: bool, axis: int, scaling: str, names: tuple[str, str],
) -> tuple[Any, Any, Any]:  # fmt: skip
    d = normalize_axis(name, axis, aval_of(x).ndim)
    x = fnp.moveaxis(x, d, -1)
    if boundary not in (None, "zeros", "constant", "even", "odd"):
        raise errors.ArgumentError(f"{name}: boundary must be 'even', 'odd', 'constant', 'zeros' or None")
    weights, nperseg = _window(name, window, nperseg, aval_of(x).shape[-1])
    noverlap, nfft = _overlap(name, nperseg, noverlap, nfft)
    step = nperseg - noverlap
    if boundary is not None:
        x = extended(x, boundary, nperseg // 2)
    if padded:
        missing = -(aval_of(x).shape[-1] - nperseg) % step % nperseg
        x = fnp.pad(x, [(0, 0)] * (aval_of(x).ndim - 1) + [(0, missing)])
    onesided = _sides(name, onesided, x)
    out = dtypes.result_type(aval_of(x).dtype, np.dtype(np.complex64))
    scale = fnp.sqrt(_scale(name, scaling, weights, fs, names))
    spectra = _transformed(_segments(x, nperseg, step), weights, _detrender(name, trend), nfft, onesided) * scale
    places = nperseg / 2 + step * np.arange(aval_of(spectra).shape[-2])
    if boundary is not None:
        places = places - nperseg / 2
    return _frequencies(nfft, fs, onesided), places / fs, convert(_placed(spectra, d), out)


@_scipy
def stft(
    x: Any, fs: Any = 1.0, window: Any = "hann", nperseg: Any = 256, noverlap: Any = None, nfft: Any = None,
    detrend: Any = False, return_onesided: bool = True, boundary: Any = "zeros", padded: bool = True, axis: int = -1,
    scaling: str = "spectrum",
) -> tuple[Any, Any, Any]:  # fmt: skip
    """The Fourier transforms of windowed segments of a signal; see ``scipy.signal.stft``.

    A window given as an array may be traced.
    """
    signal = operand(x, "stft")
    arguments = (fs, window, nperseg, noverlap, nfft, detrend, return_onesided, boundary, padded, axis, scaling)
    return _short_time("stft", signal, *arguments, names=("psd", "spectrum"))


@_scipy
def istft(
    Zxx: Any, fs: Any = 1.0, window: Any = "hann", nperseg: Any = None, noverlap: Any = None, nfft: Any = None,
    input_onesided: bool = True, boundary: Any = True, time_axis: int = -1, freq_axis: int = -2,
    scaling: str = "spectrum",
) -> tuple[Any, Any]:  # fmt: skip
    """The signal of which these are the short-time spectra; see ``scipy.signal.istft``.

    >>> import numpy as np, functrans as ft
    >>> x = np.sin(np.arange(32.0))
    >>> there_and_back = lambda x: istft(stft(x, nperseg=8)[2], nperseg=8)[1]
    >>> np.allclose(ft.jit(there_and_back)(x), x)
    True
    """
    z = operand(Zxx, "istft")
    aval = aval_of(z)
    if aval.ndim < 2:
        raise errors.ShapeError(f"istft: an array with two axes or more is needed, got {aval}")
    z = convert(z, dtypes.result_type(aval.dtype, complex))
    f, t = (normalize_axis("istft", d, aval.ndim) for d in (freq_axis, time_axis))
    if f == t:
        raise errors.ShapeError("istft: time_axis and freq_axis must be different axes")
    z = fnp.moveaxis(z, (t, f), (-2, -1))
    count, entries = aval_of(z).shape[-2:]
    whole = 2 * (entries - 1) if input_onesided else entries
    nperseg = whole if nperseg is None else operator.index(nperseg)
    if nperseg < 1:
        raise errors.ShapeError(f"istft: nperseg must be positive, got {nperseg}")
    if nfft is None:
        nfft = nperseg if input_onesided and nperseg == whole + 1 else whole
    noverlap, nfft = _overlap("istft", nperseg, noverlap, nfft)
    step = nperseg - noverlap
    weights, _ = _window("istft", window, nperseg, nperseg)
    segments = (fnp.fft.irfft if input_onesided else fnp.fft.ifft)(z, nfft)[..., :nperseg]
    real = dtypes.real_dtype(aval_of(segments).dtype)
    weights = convert(operand(weights), real)
    power = _scale("istft", scaling, weights, fs, ("psd", "spectrum"))
    segments = segments * (weights / fnp.sqrt(power))
    places = _places(count, nperseg, step)
    length = nperseg + (count - 1) * step
    signal = fnp.at(fnp.zeros((*aval_of(segments).shape[:-2], length), segments.dtype))[..., places].add(segments)
    square = fnp.broadcast_to(weights * weights, places.shape)
    norm = fnp.at(fnp.zeros(length, real))[places].add(square)
    if boundary:
        inner = slice(nperseg // 2, length - nperseg // 2)
        signal, norm = signal[..., inner], norm[inner]
    covered = norm > 1e-10
    if not isinstance(covered, Tracer) and not np.all(covered):
        warnings.warn("istft: the windows do not cover every element, which cannot be told", stacklevel=3)
    signal = signal / fnp.where(covered, norm, fnp.ones_like(norm))
    if aval.ndim > 2:
        signal = fnp.moveaxis(signal, -1, t - (f < t))
    # SciPy counts the times along the first axis.
    return fnp.arange(aval_of(signal).shape[0]) / fs, signal
