"""Fourier, cosine and sine transforms as ``functrans.scipy.fft``, with SciPy's signatures and dtypes.

The Fourier transforms are those of ``functrans.numpy.fft``, but that half precision is computed in single precision
and stays there. The cosine transforms are Fourier transforms of a signal in another order, after J. Makhoul, "A fast
cosine transform in one and two dimensions", IEEE Trans. ASSP 28 (1980); the sine transforms are cosine transforms of
a signal with every second sign changed, or reversed.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans import errors, lax
from functrans.core import dtypes
from functrans.core.structural import convert
from functrans.core.trace import aval_of
from functrans.lax.fourier import swapped
from functrans.lax.static import is_sequence, normalize_axis
from functrans.numpy import fft as nfft
from functrans.numpy.dispatch import functions, operand
from functrans.scipy.library import implements, needed

_scipy = implements("scipy.fft")


def _wide(name: str, x: Any) -> Any:
    """An array in the precision that SciPy computes in."""
    x = operand(x, name)
    dtype = aval_of(x).dtype
    if dtype == np.float16:
        return convert(x, np.float32)
    return x if dtypes.is_inexact(dtype) else convert(x, np.float64)


def _plain(name: str, plan: Any) -> None:
    if plan is not None:
        raise errors.ArgumentError(f"{name}: plan is reserved for other libraries, as it is in SciPy; leave it None")


def _numpys(original: Any, x: Any, *args: Any) -> Any:
    """The traced implementation of a function of NumPy, also where nothing is traced."""
    return functions[original](_wide(original.__name__, x), *args)


def _last(x: Any, s: Any, axes: Any) -> Any:
    """The axes that are transformed: where sizes are given alone, as many of the last ones."""
    if axes is not None or s is None:
        return axes
    return tuple(range(-len(s), 0)) if is_sequence(s) else (-1,)


# -- Fourier transforms ------------------------------------------------------------------------------------------


@_scipy
def fft(
    x: Any,
    n: Any = None,
    axis: int = -1,
    norm: Any = None,
    overwrite_x: bool = False,
    workers: Any = None,
    *,
    plan: None = None,
) -> Any:
    """The discrete Fourier transform along an axis; see ``scipy.fft.fft``."""
    _plain("fft", plan)
    return _numpys(np.fft.fft, x, n, axis, norm)


@_scipy
def ifft(
    x: Any,
    n: Any = None,
    axis: int = -1,
    norm: Any = None,
    overwrite_x: bool = False,
    workers: Any = None,
    *,
    plan: None = None,
) -> Any:
    """The inverse of ``fft``; see ``scipy.fft.ifft``."""
    _plain("ifft", plan)
    return _numpys(np.fft.ifft, x, n, axis, norm)


@_scipy
def rfft(
    x: Any,
    n: Any = None,
    axis: int = -1,
    norm: Any = None,
    overwrite_x: bool = False,
    workers: Any = None,
    *,
    plan: None = None,
) -> Any:
    """The first half of the spectrum of real numbers; see ``scipy.fft.rfft``."""
    _plain("rfft", plan)
    return _numpys(np.fft.rfft, x, n, axis, norm)


@_scipy
def irfft(
    x: Any,
    n: Any = None,
    axis: int = -1,
    norm: Any = None,
    overwrite_x: bool = False,
    workers: Any = None,
    *,
    plan: None = None,
) -> Any:
    """The inverse of ``rfft``; see ``scipy.fft.irfft``."""
    _plain("irfft", plan)
    return _numpys(np.fft.irfft, x, n, axis, norm)


@_scipy
def hfft(
    x: Any,
    n: Any = None,
    axis: int = -1,
    norm: Any = None,
    overwrite_x: bool = False,
    workers: Any = None,
    *,
    plan: None = None,
) -> Any:
    """The real spectrum of a signal with conjugate symmetry; see ``scipy.fft.hfft``."""
    _plain("hfft", plan)
    return _numpys(np.fft.hfft, x, n, axis, norm)


@_scipy
def ihfft(
    x: Any,
    n: Any = None,
    axis: int = -1,
    norm: Any = None,
    overwrite_x: bool = False,
    workers: Any = None,
    *,
    plan: None = None,
) -> Any:
    """The inverse of ``hfft``; see ``scipy.fft.ihfft``."""
    _plain("ihfft", plan)
    return _numpys(np.fft.ihfft, x, n, axis, norm)


@_scipy
def fftn(
    x: Any,
    s: Any = None,
    axes: Any = None,
    norm: Any = None,
    overwrite_x: bool = False,
    workers: Any = None,
    *,
    plan: None = None,
) -> Any:
    """The discrete Fourier transform over several axes; see ``scipy.fft.fftn``."""
    _plain("fftn", plan)
    return _numpys(np.fft.fftn, x, s, _last(x, s, axes), norm)


@_scipy
def ifftn(
    x: Any,
    s: Any = None,
    axes: Any = None,
    norm: Any = None,
    overwrite_x: bool = False,
    workers: Any = None,
    *,
    plan: None = None,
) -> Any:
    """The inverse of ``fftn``; see ``scipy.fft.ifftn``."""
    _plain("ifftn", plan)
    return _numpys(np.fft.ifftn, x, s, _last(x, s, axes), norm)


@_scipy
def rfftn(
    x: Any,
    s: Any = None,
    axes: Any = None,
    norm: Any = None,
    overwrite_x: bool = False,
    workers: Any = None,
    *,
    plan: None = None,
) -> Any:
    """The spectrum of real numbers over several axes, the first half of the last one; see ``scipy.fft.rfftn``."""
    _plain("rfftn", plan)
    return _numpys(np.fft.rfftn, x, s, _last(x, s, axes), norm)


@_scipy
def irfftn(
    x: Any,
    s: Any = None,
    axes: Any = None,
    norm: Any = None,
    overwrite_x: bool = False,
    workers: Any = None,
    *,
    plan: None = None,
) -> Any:
    """The inverse of ``rfftn``; see ``scipy.fft.irfftn``."""
    _plain("irfftn", plan)
    return _numpys(np.fft.irfftn, x, s, _last(x, s, axes), norm)


@_scipy
def hfftn(
    x: Any,
    s: Any = None,
    axes: Any = None,
    norm: Any = None,
    overwrite_x: bool = False,
    workers: Any = None,
    *,
    plan: None = None,
) -> Any:
    """The real spectrum of an array with conjugate symmetry; see ``scipy.fft.hfftn``."""
    _plain("hfftn", plan)
    z = _wide("hfftn", x)
    z = lax.conj(z) if dtypes.is_complex(aval_of(z).dtype) else z
    return _numpys(np.fft.irfftn, z, s, _last(x, s, axes), _swapped(norm))


@_scipy
def ihfftn(
    x: Any,
    s: Any = None,
    axes: Any = None,
    norm: Any = None,
    overwrite_x: bool = False,
    workers: Any = None,
    *,
    plan: None = None,
) -> Any:
    """The inverse of ``hfftn``; see ``scipy.fft.ihfftn``."""
    _plain("ihfftn", plan)
    return lax.conj(_numpys(np.fft.rfftn, x, s, _last(x, s, axes), _swapped(norm)))


def _swapped(norm: Any) -> Any:
    return swapped(norm or "backward") if norm in (None, "backward", "ortho", "forward") else norm


def _of_two_axes(name: str, several: Callable[..., Any]) -> Callable[..., Any]:
    def function(
        x: Any,
        s: Any = None,
        axes: Any = (-2, -1),
        norm: Any = None,
        overwrite_x: bool = False,
        workers: Any = None,
        *,
        plan: None = None,
    ) -> Any:
        return several(x, s, axes, norm, overwrite_x, workers, plan=plan)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"``{name[:-1]}n`` over two axes, by default the last ones; see ``scipy.fft.{name}``."
    return function


fft2 = _of_two_axes("fft2", fftn)
ifft2 = _of_two_axes("ifft2", ifftn)
rfft2 = _of_two_axes("rfft2", rfftn)
irfft2 = _of_two_axes("irfft2", irfftn)
hfft2 = _of_two_axes("hfft2", hfftn)
ihfft2 = _of_two_axes("ihfft2", ihfftn)

# -- frequencies -------------------------------------------------------------------------------------------------

fftshift = nfft.fftshift
ifftshift = nfft.ifftshift


def fftfreq(n: int, d: Any = 1.0, *, xp: Any = None, device: Any = None) -> Any:
    """The frequencies of the entries of ``fft``; see ``scipy.fft.fftfreq``. The spacing ``d`` may be traced."""
    return nfft.fftfreq(n, d, device)


def rfftfreq(n: int, d: Any = 1.0, *, xp: Any = None, device: Any = None) -> Any:
    """The frequencies of the entries of ``rfft``; see ``scipy.fft.rfftfreq``. The spacing ``d`` may be traced."""
    return nfft.rfftfreq(n, d, device)


def next_fast_len(target: int, real: bool = False) -> int:
    """The next length that is transformed fast; see ``scipy.fft.next_fast_len``."""
    return int(needed("scipy.fft", "functrans.scipy.fft.next_fast_len").next_fast_len(target, real))


def prev_fast_len(target: int, real: bool = False) -> int:
    """The previous length that is transformed fast; see ``scipy.fft.prev_fast_len``."""
    return int(needed("scipy.fft", "functrans.scipy.fft.prev_fast_len").prev_fast_len(target, real))


# -- cosine and sine transforms ------------------------------------------------------------------------------------
# Each works on the last axis of floats, unnormalised.


def _phases(angles: Any, dtype: Any) -> Any:
    """``exp(1j * angle)`` for each angle."""
    return np.exp(1j * angles).astype(dtypes.complex_dtype(dtype))


def _piece(x: Any, start: int | None, stop: int | None, step: int = 1) -> Any:
    return lax.slice_in_dim(x, start, stop, step, axis=-1)


def _joined(*parts: Any) -> Any:
    return lax.concatenate(parts, aval_of(parts[0]).ndim - 1)


def _reversed(x: Any) -> Any:
    return lax.rev(x, (aval_of(x).ndim - 1,))


def _fourier(transform: Any, x: Any, *args: Any) -> Any:
    return functions[transform](x, *args)


def _dct1(x: Any, n: int) -> Any:
    mirrored = _joined(x, _reversed(_piece(x, 1, -1))) if n > 2 else x
    return lax.real(_fourier(np.fft.rfft, mirrored))


def _dct2(x: Any, n: int) -> Any:
    if n == 1:
        return lax.mul(x, 2.0)
    folded = _joined(_piece(x, 0, None, 2), _reversed(_piece(x, 1, None, 2)))
    turned = lax.mul(_fourier(np.fft.rfft, folded), _phases(-np.pi * np.arange(n // 2 + 1) / (2 * n), aval_of(x).dtype))
    upper = lax.mul(_reversed(_piece(lax.imag(turned), 1, (n + 1) // 2)), -2.0)
    return _joined(lax.mul(lax.real(turned), 2.0), upper)


def _dct3(x: Any, n: int) -> Any:
    if n == 1:
        return x
    half = n // 2 + 1
    mirrored = _joined(lax.zeros_like(_piece(x, 0, 1)), _reversed(_piece(x, n - half + 1, None)))
    spectrum = lax.complex(_piece(x, 0, half), lax.neg(mirrored))
    turned = lax.mul(spectrum, _phases(np.pi * np.arange(half) / (2 * n), aval_of(x).dtype))
    folded = _fourier(np.fft.irfft, turned, n, -1, "forward")
    even, odd = _piece(folded, 0, (n + 1) // 2), _reversed(_piece(folded, (n + 1) // 2, None))
    ones: Any = [(0, 0, 0)] * (aval_of(x).ndim - 1)
    zero = aval_of(x).dtype.type(0)
    return lax.add(lax.pad(even, zero, [*ones, (0, 1 - n % 2, 1)]), lax.pad(odd, zero, [*ones, (1, n % 2, 1)]))


def _dct4(x: Any, n: int) -> Any:
    dtype = aval_of(x).dtype
    z = lax.mul(convert(x, dtypes.complex_dtype(dtype)), _phases(-np.pi * np.arange(n) / (2 * n), dtype))
    spectrum = _piece(_fourier(np.fft.fft, z, 2 * n), 0, n)
    turned = lax.mul(spectrum, _phases(-np.pi * (2 * np.arange(n) + 1) / (4 * n), dtype))
    return lax.mul(lax.real(turned), 2.0)


def _alternating(x: Any, n: int) -> Any:
    """Every second element with the other sign."""
    return lax.mul(x, np.where(np.arange(n) % 2, -1, 1).astype(aval_of(x).dtype))


def _dst1(x: Any, n: int) -> Any:
    zero = lax.zeros_like(_piece(x, 0, 1))
    odd = _joined(zero, x, zero, lax.neg(_reversed(x)))
    return lax.neg(_piece(lax.imag(_fourier(np.fft.rfft, odd)), 1, n + 1))


def _dst2(x: Any, n: int) -> Any:
    return _reversed(_dct2(_alternating(x, n), n))


def _dst3(x: Any, n: int) -> Any:
    return _alternating(_dct3(_reversed(x), n), n)


def _dst4(x: Any, n: int) -> Any:
    return _alternating(_dct4(_reversed(x), n), n)


_COSINE = {1: _dct1, 2: _dct2, 3: _dct3, 4: _dct4}
_SINE = {1: _dst1, 2: _dst2, 3: _dst3, 4: _dst4}
_INVERSE = {1: 1, 2: 3, 3: 2, 4: 4}


def _ends(x: Any, kind: int, sine: bool, before: bool) -> Any:
    """The entries scaled which keep the matrix of a transform from being orthogonal."""
    if kind == 4 or (kind == 1 and sine) or (kind == 2 and before) or (kind == 3 and not before):
        return x
    n = aval_of(x).shape[-1]
    scale = np.ones(n, aval_of(x).dtype)
    at = [0, n - 1] if kind == 1 else [n - 1] if sine else [0]
    scale[at] = math.sqrt(2) if before else math.sqrt(0.5)
    return lax.mul(x, scale)


def _transform(name: str, x: Any, kind: int, n: Any, axis: int, norm: Any, ortho: Any) -> Any:
    """One cosine or sine transform, ``name`` saying which, along one axis."""
    sine, inverse = "s" in name, name.startswith("i")
    if kind not in _INVERSE:
        raise errors.ArgumentError(f"{name}: type must be 1, 2, 3 or 4, got {kind!r}")
    if norm not in (None, "backward", "ortho", "forward"):
        raise errors.ArgumentError(f"{name}: norm must be 'backward', 'ortho', 'forward' or None, got {norm!r}")
    d = normalize_axis(name, axis, aval_of(x).ndim)
    n = aval_of(x).shape[d] if n is None else operator.index(n)
    least = 2 if kind == 1 and not sine else 1
    if n < least:
        raise errors.ShapeError(f"{name}: type {kind} needs {least} points or more, got {n} along axis {axis}")
    if dtypes.is_complex(aval_of(x).dtype):
        parts = [_transform(name, part(x), kind, n, axis, norm, ortho) for part in (lax.real, lax.imag)]
        return lax.complex(*parts)
    norm = norm or "backward"
    ortho = norm == "ortho" if ortho is None else bool(ortho)
    kind = _INVERSE[kind] if inverse else kind
    y = lax.transpose(x, _swap(aval_of(x).ndim, d))
    y = nfft.resized(y, [n], [aval_of(x).ndim - 1])
    if ortho:
        y = _ends(y, kind, sine, before=True)
    y = (_SINE if sine else _COSINE)[kind](y, n)
    if ortho:
        y = _ends(y, kind, sine, before=False)
    size = 2 * (n + (0 if kind != 1 else 1 if sine else -1))
    if norm == "ortho":
        y = lax.mul(y, math.sqrt(1 / size))
    elif (norm == "forward") != inverse:
        y = lax.mul(y, 1 / size)
    return lax.transpose(y, _swap(aval_of(x).ndim, d))


def _swap(ndim: int, d: int) -> Sequence[int]:
    """The permutation that swaps an axis with the last one."""
    axes = list(range(ndim))
    axes[d], axes[-1] = axes[-1], axes[d]
    return axes


def _one_axis(name: str, x: Any, kind: int, n: Any, axis: int, norm: Any, ortho: Any) -> Any:
    return _transform(name, _wide(name, x), kind, n, axis, norm, ortho)


def _several_axes(name: str, x: Any, kind: int, s: Any, axes: Any, norm: Any, ortho: Any) -> Any:
    x = _wide(name, x)
    ndim = aval_of(x).ndim
    axes = _last(x, s, axes)
    axes = range(ndim) if axes is None else axes if is_sequence(axes) else (axes,)
    found = [normalize_axis(name, a, ndim) for a in axes]
    if len(set(found)) != len(found):
        raise errors.ShapeError(f"{name}: axes={tuple(axes)} names an axis twice")
    sizes = [None] * len(found) if s is None else list(s) if is_sequence(s) else [s]
    if len(sizes) != len(found):
        raise errors.ShapeError(f"{name}: s={s} and axes={tuple(axes)} have different lengths")
    for a, n in zip(found, sizes, strict=True):
        whole = n is None or operator.index(n) == -1
        x = _transform(name[:-1], x, kind, None if whole else n, a, norm, ortho)
    return x


@_scipy
def dct(
    x: Any,
    type: int = 2,
    n: Any = None,
    axis: int = -1,
    norm: Any = None,
    overwrite_x: bool = False,
    workers: Any = None,
    orthogonalize: bool | None = None,
) -> Any:
    """The discrete cosine transform of type 1, 2, 3 or 4; see ``scipy.fft.dct``.

    >>> import numpy as np, functrans as ft
    >>> energy = lambda x: np.sum(dct(x, norm="ortho") ** 2)
    >>> ft.grad(energy)(np.array([1.0, 2.0, 3.0])).round(9)
    array([2., 4., 6.])
    """
    return _one_axis("dct", x, type, n, axis, norm, orthogonalize)


@_scipy
def idct(
    x: Any,
    type: int = 2,
    n: Any = None,
    axis: int = -1,
    norm: Any = None,
    overwrite_x: bool = False,
    workers: Any = None,
    orthogonalize: bool | None = None,
) -> Any:
    """The inverse of ``dct``; see ``scipy.fft.idct``."""
    return _one_axis("idct", x, type, n, axis, norm, orthogonalize)


@_scipy
def dst(
    x: Any,
    type: int = 2,
    n: Any = None,
    axis: int = -1,
    norm: Any = None,
    overwrite_x: bool = False,
    workers: Any = None,
    orthogonalize: bool | None = None,
) -> Any:
    """The discrete sine transform of type 1, 2, 3 or 4; see ``scipy.fft.dst``."""
    return _one_axis("dst", x, type, n, axis, norm, orthogonalize)


@_scipy
def idst(
    x: Any,
    type: int = 2,
    n: Any = None,
    axis: int = -1,
    norm: Any = None,
    overwrite_x: bool = False,
    workers: Any = None,
    orthogonalize: bool | None = None,
) -> Any:
    """The inverse of ``dst``; see ``scipy.fft.idst``."""
    return _one_axis("idst", x, type, n, axis, norm, orthogonalize)


@_scipy
def dctn(
    x: Any,
    type: int = 2,
    s: Any = None,
    axes: Any = None,
    norm: Any = None,
    overwrite_x: bool = False,
    workers: Any = None,
    *,
    orthogonalize: bool | None = None,
) -> Any:
    """The discrete cosine transform over several axes; see ``scipy.fft.dctn``."""
    return _several_axes("dctn", x, type, s, axes, norm, orthogonalize)


@_scipy
def idctn(
    x: Any,
    type: int = 2,
    s: Any = None,
    axes: Any = None,
    norm: Any = None,
    overwrite_x: bool = False,
    workers: Any = None,
    orthogonalize: bool | None = None,
) -> Any:
    """The inverse of ``dctn``; see ``scipy.fft.idctn``."""
    return _several_axes("idctn", x, type, s, axes, norm, orthogonalize)


@_scipy
def dstn(
    x: Any,
    type: int = 2,
    s: Any = None,
    axes: Any = None,
    norm: Any = None,
    overwrite_x: bool = False,
    workers: Any = None,
    orthogonalize: bool | None = None,
) -> Any:
    """The discrete sine transform over several axes; see ``scipy.fft.dstn``."""
    return _several_axes("dstn", x, type, s, axes, norm, orthogonalize)


@_scipy
def idstn(
    x: Any,
    type: int = 2,
    s: Any = None,
    axes: Any = None,
    norm: Any = None,
    overwrite_x: bool = False,
    workers: Any = None,
    orthogonalize: bool | None = None,
) -> Any:
    """The inverse of ``dstn``; see ``scipy.fft.idstn``."""
    return _several_axes("idstn", x, type, s, axes, norm, orthogonalize)
