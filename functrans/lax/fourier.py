"""Discrete Fourier transforms over any axes: of complex arrays, of real ones, and back to real ones.

Each is linear. In the convention for complex numbers that holds here (no conjugation) the Fourier matrix is its own
transpose. A real transform keeps the first half of a spectrum whose second half is the mirror image of it, so its
transpose weighs what stands for two entries: all but the first one and, where the length is even, the last one.
"""

from __future__ import annotations

import enum
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans.core import dtypes
from functrans.core.avals import ShapedArray, shaped
from functrans.core.primitive import BatchAxis, Primitive, Sample, Trait, Undefined
from functrans.core.structural import check_axes, linear_jvp, shift_axes
from functrans.core.trace import aval_of
from functrans.lax.arithmetic import mul
from functrans.lax.complex import conj
from functrans.lax.families import accept
from functrans.lax.slicing import concatenate, slice_in_dim

NORMS = ("backward", "ortho", "forward")
_SWAPPED = {"backward": "forward", "ortho": "ortho", "forward": "backward"}


def swapped(norm: str) -> str:
    """The normalisation of the inverse transform which makes it the transpose of this one."""
    return _SWAPPED[norm]


def _check(name: str, x: ShapedArray, axes: tuple[int, ...], norm: str, kinds: str) -> None:
    accept(name, kinds, [x])
    check_axes(name, x.ndim, axes)
    if not axes:
        raise errors.ShapeError(f"{name}: an axis or more is needed")
    if norm not in NORMS:
        raise errors.ArgumentError(f"{name}: norm must be one of {', '.join(map(repr, NORMS))}, got {norm!r}")
    for a in axes:
        if x.shape[a] == 0:
            raise errors.ShapeError(f"{name}: axis {a} of shape {x.shape} is empty, and a transform needs a point")


def _resized(shape: tuple[Any, ...], axis: int, extent: Any) -> tuple[Any, ...]:
    return (*shape[:axis], extent, *shape[axis + 1 :])


def halves_weighted(x: Any, axis: int, length: int, weight: float) -> Any:
    """Half a spectrum times ``weight``, but for the entries that stand for themselves alone."""
    inner = (length - 1) // 2 + 1
    if inner == 1:
        return x
    parts = [slice_in_dim(x, 0, 1, axis=axis), mul(slice_in_dim(x, 1, inner, axis=axis), weight)]
    if length % 2 == 0:
        parts.append(slice_in_dim(x, inner, None, axis=axis))
    return concatenate(parts, axis)


def _primitive(
    name: str, shape: Callable[..., ShapedArray], transpose: Callable[..., Any], samples: Callable[[], Iterable[Sample]]
) -> Primitive:
    """A transform that NumPy has as ``name`` for one axis and ``name + "n"`` for several."""

    def impl(xp: Any, x: Any, *, axes: tuple[int, ...], norm: str, **lengths: int) -> Any:
        x = xp.asarray(x)
        shape(aval_of(x), axes=axes, norm=norm, **lengths)
        return specialize(xp, [aval_of(x)], axes=axes, norm=norm, **lengths)(x)

    def specialize(xp: Any, avals: Sequence[ShapedArray], *, axes: tuple[int, ...], norm: str, **lengths: int) -> Any:
        length: Any = lengths.get("length")
        if len(axes) == 1:
            one = getattr(xp.fft, name)
            return lambda x: one(x, length, axes[0], norm)
        several = getattr(xp.fft, name + "n")
        sizes = None if length is None else (*(avals[0].shape[a] for a in axes[:-1]), length)
        return lambda x: several(x, sizes, axes, norm)

    def batch(axis: BatchAxis, args: Sequence[Any], dims: Sequence[int], *, axes: Any, **params: Any) -> Any:
        return prim.bind(args[0], axes=shift_axes(axes, dims[0]), **params), dims[0]

    prim: Primitive = Primitive(
        name,
        shape=shape,
        impl=impl,
        specialize=specialize,
        jvp=linear_jvp(lambda: prim),
        transpose=transpose,
        batch=batch,
        kind="library",
        samples=samples,
        traits=frozenset({Trait.COSTLY}),
    )
    return prim


_X = np.array([[0.5, -1.5, 2.0, 1.25], [3.0, -0.75, 0.25, -2.0], [1.0, 0.5, -1.25, 0.75]])


def _complex_samples() -> list[Sample]:
    z = _X + 1j * _X[::-1]
    return [
        Sample((z,), {"axes": (1,), "norm": "backward"}),
        Sample((z,), {"axes": (1, 0), "norm": "ortho"}),
        Sample((z[0, :3].astype(np.complex64),), {"axes": (0,), "norm": "forward"}),
        Sample((z[:0],), {"axes": (1,), "norm": "backward"}),
    ]


# -- complex transforms ---------------------------------------------------------------------------------------------


def _complex_shape(name: str) -> Callable[..., ShapedArray]:
    def infer(x: ShapedArray, *, axes: tuple[int, ...], norm: str) -> ShapedArray:
        _check(name, x, axes, norm, "c")
        return shaped(x.shape, x.dtype)

    return infer


fft_p: Primitive = _primitive(
    "fft",
    _complex_shape("fft"),
    lambda ct, x, *, axes, norm: [fft_p.bind(ct, axes=axes, norm=norm)],
    _complex_samples,
)

ifft_p: Primitive = _primitive(
    "ifft",
    _complex_shape("ifft"),
    lambda ct, x, *, axes, norm: [ifft_p.bind(ct, axes=axes, norm=norm)],
    _complex_samples,
)

# -- real transforms ------------------------------------------------------------------------------------------------


def _rfft_shape(x: ShapedArray, *, axes: tuple[int, ...], norm: str) -> ShapedArray:
    _check("rfft", x, axes, norm, "f")
    return shaped(_resized(x.shape, axes[-1], x.shape[axes[-1]] // 2 + 1), dtypes.complex_dtype(x.dtype))


def _rfft_transpose(ct: Any, x: Undefined, *, axes: tuple[int, ...], norm: str) -> list[Any]:
    length = x.aval.shape[axes[-1]]
    half = halves_weighted(conj(ct), axes[-1], length, 0.5)
    return [irfft_p.bind(half, axes=axes, norm=swapped(norm), length=length)]


rfft_p: Primitive = _primitive(
    "rfft",
    _rfft_shape,
    _rfft_transpose,
    lambda: [
        Sample((_X,), {"axes": (1,), "norm": "backward"}),
        Sample((_X,), {"axes": (1, 0), "norm": "ortho"}),
        Sample((_X[:, :1],), {"axes": (0, 1), "norm": "backward"}),
        Sample((_X[0, :3].astype(np.float32),), {"axes": (0,), "norm": "forward"}),
        Sample((_X[:0],), {"axes": (1,), "norm": "backward"}),
    ],
)


def _irfft_shape(x: ShapedArray, *, axes: tuple[int, ...], norm: str, length: int) -> ShapedArray:
    _check("irfft", x, axes, norm, "c")
    if length < 1 or x.shape[axes[-1]] != length // 2 + 1:
        raise errors.ShapeError(
            f"irfft: {length} real points have a half spectrum of {length // 2 + 1} entries, and axis {axes[-1]} of "
            f"shape {x.shape} has {x.shape[axes[-1]]}"
        )
    return shaped(_resized(x.shape, axes[-1], length), dtypes.real_dtype(x.dtype))


def _irfft_transpose(ct: Any, x: Undefined, *, axes: tuple[int, ...], norm: str, length: int) -> list[Any]:
    spectrum = conj(rfft_p.bind(ct, axes=axes, norm=swapped(norm)))
    return [halves_weighted(spectrum, axes[-1], length, 2.0)]


def _irfft_samples() -> list[Sample]:
    z = _X[:, :3] + 1j * _X[::-1, 1:]
    return [
        Sample((z,), {"axes": (1,), "norm": "backward", "length": 4}),
        Sample((z,), {"axes": (0, 1), "norm": "ortho", "length": 5}),
        Sample((z,), {"axes": (1, 0), "norm": "backward", "length": 4}),
        Sample((z[:, :1],), {"axes": (1,), "norm": "backward", "length": 1}),
        Sample((z[0].astype(np.complex64),), {"axes": (0,), "norm": "forward", "length": 5}),
        Sample((z[:0],), {"axes": (1,), "norm": "backward", "length": 4}),
    ]


irfft_p: Primitive = _primitive("irfft", _irfft_shape, _irfft_transpose, _irfft_samples)

# -- functions --------------------------------------------------------------------------------------------------------


class FftType(enum.Enum):
    """The kinds of transforms that ``fft`` takes."""

    FFT = 0
    IFFT = 1
    RFFT = 2
    IRFFT = 3


def fft(x: Any, fft_type: FftType | str, fft_lengths: int | Sequence[int]) -> Any:
    """The discrete Fourier transform over the last axes, unnormalised forwards and divided by the size backwards.

    Args:
        x: a complex array; for RFFT floats.
        fft_type: an ``FftType`` or its name. RFFT gives the first half of the last axis's spectrum, IRFFT takes it.
        fft_lengths: the extents of the transformed axes, which are the last ones: those of ``x``, and for IRFFT those
            of the result.

    Raises:
        ShapeError: the lengths are not those of the array, or an axis is empty.
        DTypeError: the dtype is not what the kind of transform takes. Nothing is promoted here.

    >>> fft(np.array([1.0, 2.0, 3.0]), "RFFT", 3).round(3)
    array([ 6. +0.j   , -1.5+0.866j])
    """
    kind = _kind(fft_type)
    lengths = fft_lengths if isinstance(fft_lengths, Iterable) else (fft_lengths,)
    lengths = tuple([operator.index(n) for n in lengths])
    aval = aval_of(x)
    if len(lengths) > aval.ndim:
        raise errors.ShapeError(f"fft: there are {len(lengths)} fft_lengths for an array of shape {aval.shape}")
    if not lengths:
        raise errors.ShapeError("fft: fft_lengths names no axis; give the extents of the axes to transform")
    if min(lengths) < 1:
        raise errors.ShapeError(f"fft: fft_lengths={lengths} must be positive")
    expected = lengths if kind is not FftType.IRFFT else (*lengths[:-1], lengths[-1] // 2 + 1)
    if aval.shape[-len(lengths) :] != expected:
        raise errors.ShapeError(
            f"fft: for {kind.name} with fft_lengths={lengths} the last axes must have extents {expected}, and the "
            f"array has shape {aval.shape}. functrans.numpy.fft pads and crops"
        )
    axes = tuple(range(aval.ndim - len(lengths), aval.ndim))
    if kind is FftType.IRFFT:
        _irfft_shape(aval, axes=axes, norm="backward", length=lengths[-1])
        return irfft_p.bind(x, axes=axes, norm="backward", length=lengths[-1])
    prim = {FftType.FFT: fft_p, FftType.IFFT: ifft_p, FftType.RFFT: rfft_p}[kind]
    prim.shape(aval, axes=axes, norm="backward")
    return prim.bind(x, axes=axes, norm="backward")


def _kind(fft_type: FftType | str) -> FftType:
    if isinstance(fft_type, FftType):
        return fft_type
    name = str(fft_type).upper()
    if name in FftType.__members__:
        return FftType[name]
    raise errors.ArgumentError(f"fft: fft_type must be one of {', '.join(FftType.__members__)}, got {fft_type!r}")


def half_precision_factor(length: int, norm: str, inverse: bool) -> Any:
    """The factor of a normalisation as NumPy rounds it for half-precision arrays; None where it is 1."""
    if norm == "ortho":
        return np.float32(np.reciprocal(np.sqrt(length, dtype=np.float16)))
    if (norm == "forward") != inverse:
        return np.float32(np.reciprocal(length, dtype=np.float16))
    return None


__all__ = ["NORMS", "FftType", "fft", "fft_p", "half_precision_factor", "ifft_p", "irfft_p", "rfft_p", "swapped"]
