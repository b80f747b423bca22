"""Discrete Fourier transforms as ``functrans.numpy.fft``: NumPy's own functions, with their signatures and dtypes."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from functrans import errors, lax
from functrans.core import dtypes
from functrans.core.structural import convert
from functrans.core.trace import aval_of, current_trace
from functrans.lax.fourier import NORMS, fft_p, half_precision_factor, ifft_p, irfft_p, rfft_p, swapped
from functrans.lax.static import is_sequence, normalize_axis
from functrans.numpy import elementwise as ew
from functrans.numpy.creation import constant
from functrans.numpy.dispatch import implements, operand, reject_out

# -- what the functions share -----------------------------------------------------------------------------------


def resized(x: Any, lengths: Sequence[int], axes: Sequence[int]) -> Any:
    """``x`` cropped, or padded with zeros, at the end of some axes."""
    aval = aval_of(x)
    target = list(aval.shape)
    for n, a in zip(lengths, axes, strict=True):
        target[a] = n
    if tuple(target) == aval.shape:
        return x
    return lax.pad(x, aval.dtype.type(0), [(0, n - m, 0) for n, m in zip(target, aval.shape, strict=True)])


def _norm(name: str, norm: Any) -> str:
    if norm is None:
        return "backward"
    if norm not in NORMS:
        raise errors.ArgumentError(f"{name}: norm must be 'backward', 'ortho', 'forward' or None, got {norm!r}")
    return str(norm)


def _length(name: str, n: Any) -> int:
    length = operator.index(n)
    if length < 1:
        raise errors.ShapeError(f"{name}: a transform needs a point or more, got {length} along an axis")
    return length


def _one_by_one(x: Any, axes: tuple[int, ...]) -> bool:
    """Whether the axes must be transformed in turn: one is named again, or the first turn leaves half precision."""
    return len(axes) > 1 and (len(set(axes)) < len(axes) or aval_of(x).dtype == np.float16)


def _arguments(name: str, a: Any, s: Any, axes: Any, half: bool = False) -> tuple[Any, tuple[int, ...], list[int]]:
    """The array, the axes counted from the front and the extents along them; of a half spectrum the real ones."""
    x = operand(a, name)
    shape = aval_of(x).shape
    ndim = len(shape)
    if axes is None:
        if s is not None:
            warnings.warn(
                f"{name}: s without axes is deprecated in NumPy 2.0. Give the axes, axes=[0, ..., k-1] to keep what "
                f"it does now",
                DeprecationWarning,
                stacklevel=4,
            )
        axes = range(-len(tuple(s)) if s is not None else -ndim, 0)
    given = tuple(axes) if is_sequence(axes) or isinstance(axes, range) else (axes,)
    found = tuple([normalize_axis(name, d, ndim) for d in given])
    if s is None:
        lengths = [shape[d] for d in found]
        if half and found:
            lengths[-1] = (lengths[-1] - 1) * 2
    else:
        sizes = tuple(s) if is_sequence(s) else (s,)
        if len(sizes) != len(found):
            raise errors.ShapeError(f"{name}: s={sizes} and axes={given} have different lengths")
        lengths = [shape[d] if n is None or operator.index(n) == -1 else n for n, d in zip(sizes, found, strict=True)]
    return x, found, [_length(name, n) for n in lengths]


def _one(name: str, a: Any, n: Any, axis: Any, half: bool = False) -> tuple[Any, tuple[int, ...], list[int]]:
    x = operand(a, name)
    if not aval_of(x).ndim:
        raise errors.ShapeError(f"{name}: an array with an axis or more is needed, got {aval_of(x)}")
    d = normalize_axis(name, axis, aval_of(x).ndim)
    extent = aval_of(x).shape[d]
    return x, (d,), [_length(name, ((extent - 1) * 2 if half else extent) if n is None else n)]


def _complex(x: Any) -> Any:
    """In the complex dtype that NumPy computes in; half-precision numbers become single-precision ones."""
    return convert(x, dtypes.result_type(aval_of(x).dtype, complex))


def _half_factor(x: Any, n: int, norm: str, inverse: bool) -> Any:
    """The factor by which half-precision numbers are scaled apart, None for others: NumPy rounds it to half."""
    if aval_of(x).dtype != np.float16:
        return None
    factor = half_precision_factor(n, norm, inverse)
    return np.float32(1) if factor is None else factor


def _complex_transform(name: str, prim: Any, inverse: bool, arguments: Any, norm: Any) -> Any:
    x, axes, lengths = arguments
    norm = _norm(name, norm)
    if _one_by_one(x, axes):
        for a, n in zip(reversed(axes), reversed(lengths), strict=True):
            x = _complex_transform(name, prim, inverse, (x, (a,), [n]), norm)
        return x
    if not axes:
        return x
    z = resized(_complex(x), lengths, axes)
    factor = _half_factor(x, lengths[0], norm, inverse)
    if factor is None:
        return prim.bind(z, axes=axes, norm=norm)
    return lax.mul(prim.bind(z, axes=axes, norm="forward" if inverse else "backward"), np.complex64(factor))


def _real_transform(name: str, arguments: Any, norm: Any) -> Any:
    x, axes, lengths = arguments
    norm = _norm(name, norm)
    if not axes:
        raise errors.ShapeError(f"{name}: an axis or more is needed")
    if _one_by_one(x, axes):
        spectrum = _real_transform(name, (x, axes[-1:], lengths[-1:]), norm)
        for a, n in zip(axes[-2::-1], lengths[-2::-1], strict=True):
            spectrum = _complex_transform(name, fft_p, False, (spectrum, (a,), [n]), norm)
        return spectrum
    dtype = aval_of(x).dtype
    if dtypes.is_complex(dtype):
        raise errors.DTypeError(f"{name}: real numbers are needed, got {aval_of(x)}. Use the complex transform, fft")
    wide = np.float32 if dtype == np.float16 else dtypes.result_type(dtype, float)
    y = resized(convert(x, wide), lengths, axes)
    factor = _half_factor(x, lengths[0], norm, False)
    if factor is None:
        return rfft_p.bind(y, axes=axes, norm=norm)
    return lax.mul(rfft_p.bind(y, axes=axes, norm="backward"), np.complex64(factor))


def _inverse_real_transform(name: str, arguments: Any, norm: Any) -> Any:
    x, axes, lengths = arguments
    norm = _norm(name, norm)
    if not axes:
        raise errors.ShapeError(f"{name}: an axis or more is needed")
    if _one_by_one(x, axes):
        for a, n in zip(axes[:-1], lengths[:-1], strict=True):
            x = _complex_transform(name, ifft_p, True, (x, (a,), [n]), norm)
        return _inverse_real_transform(name, (x, axes[-1:], lengths[-1:]), norm)
    length = lengths[-1]
    z = resized(_complex(x), [*lengths[:-1], length // 2 + 1], axes)
    factor = _half_factor(x, length, norm, True)
    if factor is None:
        return irfft_p.bind(z, axes=axes, norm=norm, length=length)
    return convert(lax.mul(irfft_p.bind(z, axes=axes, norm="forward", length=length), factor), np.float16)


# -- transforms along one axis ---------------------------------------------------------------------------------


@implements(np.fft.fft)
def fft(a: Any, n: Any = None, axis: int = -1, norm: Any = None, out: None = None) -> Any:
    """The discrete Fourier transform along an axis; see ``numpy.fft.fft``.

    Raises:
        ShapeError: there is no point to transform, or no such axis.

    >>> import numpy as np, functrans as ft
    >>> power = lambda x: np.sum(np.abs(np.fft.fft(x)) ** 2)
    >>> ft.grad(power)(np.array([1.0, 2.0, 3.0]))
    array([ 6., 12., 18.])
    """
    reject_out("fft", out)
    return _complex_transform("fft", fft_p, False, _one("fft", a, n, axis), norm)


@implements(np.fft.ifft)
def ifft(a: Any, n: Any = None, axis: int = -1, norm: Any = None, out: None = None) -> Any:
    """The inverse of ``fft``; see ``numpy.fft.ifft``."""
    reject_out("ifft", out)
    return _complex_transform("ifft", ifft_p, True, _one("ifft", a, n, axis), norm)


@implements(np.fft.rfft)
def rfft(a: Any, n: Any = None, axis: int = -1, norm: Any = None, out: None = None) -> Any:
    """The first half of the spectrum of real numbers; see ``numpy.fft.rfft``.

    Raises:
        DTypeError: the array is complex.
    """
    reject_out("rfft", out)
    return _real_transform("rfft", _one("rfft", a, n, axis), norm)


@implements(np.fft.irfft)
def irfft(a: Any, n: Any = None, axis: int = -1, norm: Any = None, out: None = None) -> Any:
    """The real numbers with this half spectrum: ``n`` of them, by default an even number; see ``numpy.fft.irfft``.

    The imaginary parts of the first entry and, where ``n`` is even, of the last one have no influence.
    """
    reject_out("irfft", out)
    return _inverse_real_transform("irfft", _one("irfft", a, n, axis, True), norm)


@implements(np.fft.hfft)
def hfft(a: Any, n: Any = None, axis: int = -1, norm: Any = None, out: None = None) -> Any:
    """The real spectrum of a signal whose second half is the mirror image of the first; see ``numpy.fft.hfft``."""
    reject_out("hfft", out)
    x, axes, lengths = _one("hfft", a, n, axis, True)
    return _inverse_real_transform("hfft", (ew.conj(x), axes, lengths), swapped(_norm("hfft", norm)))


@implements(np.fft.ihfft)
def ihfft(a: Any, n: Any = None, axis: int = -1, norm: Any = None, out: None = None) -> Any:
    """The inverse of ``hfft``; see ``numpy.fft.ihfft``."""
    reject_out("ihfft", out)
    return lax.conj(_real_transform("ihfft", _one("ihfft", a, n, axis), swapped(_norm("ihfft", norm))))


# -- transforms along several axes -----------------------------------------------------------------------------


@implements(np.fft.fftn)
def fftn(a: Any, s: Any = None, axes: Any = None, norm: Any = None, out: None = None) -> Any:
    """The discrete Fourier transform over several axes; see ``numpy.fft.fftn``."""
    reject_out("fftn", out)
    return _complex_transform("fftn", fft_p, False, _arguments("fftn", a, s, axes), norm)


@implements(np.fft.ifftn)
def ifftn(a: Any, s: Any = None, axes: Any = None, norm: Any = None, out: None = None) -> Any:
    """The inverse of ``fftn``; see ``numpy.fft.ifftn``."""
    reject_out("ifftn", out)
    return _complex_transform("ifftn", ifft_p, True, _arguments("ifftn", a, s, axes), norm)


@implements(np.fft.rfftn)
def rfftn(a: Any, s: Any = None, axes: Any = None, norm: Any = None, out: None = None) -> Any:
    """The spectrum of real numbers over several axes, the first half of the last one; see ``numpy.fft.rfftn``."""
    reject_out("rfftn", out)
    return _real_transform("rfftn", _arguments("rfftn", a, s, axes), norm)


@implements(np.fft.irfftn)
def irfftn(a: Any, s: Any = None, axes: Any = None, norm: Any = None, out: None = None) -> Any:
    """The inverse of ``rfftn``; see ``numpy.fft.irfftn``."""
    reject_out("irfftn", out)
    return _inverse_real_transform("irfftn", _arguments("irfftn", a, s, axes, True), norm)


@implements(np.fft.fft2)
def fft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: Any = None, out: None = None) -> Any:
    """The discrete Fourier transform over two axes; see ``numpy.fft.fft2``."""
    reject_out("fft2", out)
    return _complex_transform("fft2", fft_p, False, _arguments("fft2", a, s, axes), norm)


@implements(np.fft.ifft2)
def ifft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: Any = None, out: None = None) -> Any:
    """The inverse of ``fft2``; see ``numpy.fft.ifft2``."""
    reject_out("ifft2", out)
    return _complex_transform("ifft2", ifft_p, True, _arguments("ifft2", a, s, axes), norm)


@implements(np.fft.rfft2)
def rfft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: Any = None, out: None = None) -> Any:
    """The spectrum of real numbers over two axes, the first half of the last one; see ``numpy.fft.rfft2``."""
    reject_out("rfft2", out)
    return _real_transform("rfft2", _arguments("rfft2", a, s, axes), norm)


@implements(np.fft.irfft2)
def irfft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: Any = None, out: None = None) -> Any:
    """The inverse of ``rfft2``; see ``numpy.fft.irfft2``."""
    reject_out("irfft2", out)
    return _inverse_real_transform("irfft2", _arguments("irfft2", a, s, axes, True), norm)


# -- frequencies -------------------------------------------------------------------------------------------------


def fftfreq(n: int, d: Any = 1.0, device: Any = None) -> Any:
    """The frequencies of the entries of ``fft``; see ``numpy.fft.fftfreq``. The spacing ``d`` may be traced.

    >>> fftfreq(4, 0.5)
    array([ 0. ,  0.5, -1. , -0.5])
    """
    if current_trace() is None:
        return np.fft.fftfreq(n, d, device)
    n = operator.index(n)
    return _frequencies(n, d, np.fft.ifftshift(np.arange(-(n // 2), (n + 1) // 2)))


def rfftfreq(n: int, d: Any = 1.0, device: Any = None) -> Any:
    """The frequencies of the entries of ``rfft``; see ``numpy.fft.rfftfreq``. The spacing ``d`` may be traced."""
    if current_trace() is None:
        return np.fft.rfftfreq(n, d, device)
    n = operator.index(n)
    return _frequencies(n, d, np.arange(n // 2 + 1))


def _frequencies(n: int, d: Any, places: Any) -> Any:
    return ew.multiply(constant(places, fixed=True), ew.divide(1.0, ew.multiply(n, d)))


def _shifted(name: str, x: Any, axes: Any, sign: int) -> Any:
    x = operand(x, name)
    shape = aval_of(x).shape
    given = range(len(shape)) if axes is None else axes if is_sequence(axes) else (axes,)
    found = [normalize_axis(name, a, len(shape)) for a in given]
    halves = [n // 2 if sign > 0 else -(n // 2) for n in (shape[a] for a in found)]
    return lax.roll(x, halves, found)


@implements(np.fft.fftshift)
def fftshift(x: Any, axes: Any = None) -> Any:
    """The entries of a spectrum with the frequency zero in the middle; see ``numpy.fft.fftshift``."""
    return _shifted("fftshift", x, axes, 1)


@implements(np.fft.ifftshift)
def ifftshift(x: Any, axes: Any = None) -> Any:
    """The inverse of ``fftshift``; see ``numpy.fft.ifftshift``."""
    return _shifted("ifftshift", x, axes, -1)
