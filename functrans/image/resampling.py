"""Resampling: each axis is multiplied by a matrix of weights, which are values of a kernel around each sample.

Pixels are unit squares with their values at the centres, as in most libraries: pixel ``i`` of an axis of ``m`` pixels
lies at ``i + 1/2`` of a length of ``m``. Downsampling stretches the kernel over as many pixels as one of the result
covers, unless ``antialias`` is False.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans import numpy as fnp
from functrans.core import dtypes
from functrans.core.structural import convert
from functrans.core.trace import aval_of
from functrans.lax.contraction import tensordot
from functrans.lax.movement import copy
from functrans.lax.precision import PrecisionLike, check_precision
from functrans.lax.static import normalize_axes, normalize_axis, normalize_shape
from functrans.lax.taking import take


class ResizeMethod(enum.Enum):
    """How values between pixels are made of theirs.

    ``NEAREST``: the value of the pixel. ``LINEAR``: a triangle of radius 1. ``CUBIC``: R. G. Keys's cubic convolution
    (1981) with ``a = -1/2``. ``CUBIC_PYTORCH``: with ``a = -3/4`` and the border repeated; with antialiasing it is
    ``CUBIC``. ``LANCZOS3``, ``LANCZOS5``: windowed sinc functions. ``AREA``: the mean over what a pixel covers.
    """

    NEAREST = 0
    LINEAR = 1
    LANCZOS3 = 2
    LANCZOS5 = 3
    CUBIC = 4
    CUBIC_PYTORCH = 5
    AREA = 6

    @staticmethod
    def from_string(s: str) -> ResizeMethod:
        """The method of a name, such as ``"bilinear"``.

        >>> ResizeMethod.from_string("bicubic").name
        'CUBIC'
        """
        try:
            return _NAMES[s]
        except KeyError:
            raise errors.ArgumentError(
                f"image: there is no method {s!r}; the names are {', '.join(map(repr, _NAMES))}"
            ) from None


_NAMES = {
    "nearest": ResizeMethod.NEAREST,
    **dict.fromkeys(("linear", "bilinear", "trilinear", "triangle"), ResizeMethod.LINEAR),
    "lanczos3": ResizeMethod.LANCZOS3,
    "lanczos5": ResizeMethod.LANCZOS5,
    **dict.fromkeys(("cubic", "bicubic", "tricubic"), ResizeMethod.CUBIC),
    **dict.fromkeys(("cubic-pytorch", "bicubic-pytorch"), ResizeMethod.CUBIC_PYTORCH),
    "area": ResizeMethod.AREA,
}

# -- kernels, of distances that are not negative --------------------------------------------------------------------


def _triangle(x: Any) -> Any:
    return fnp.maximum(0.0, 1.0 - x)


def _cubic(a: float) -> Callable[[Any], Any]:
    """Keys's kernel: cubic polynomials on [0, 1] and [1, 2]."""

    def kernel(x: Any) -> Any:
        near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
        far = ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
        return fnp.where(x >= 2.0, 0.0, fnp.where(x >= 1.0, far, near))

    return kernel


def _lanczos(radius: float) -> Callable[[Any], Any]:
    """``sinc(x) sinc(x / radius)`` up to the radius."""

    def kernel(x: Any) -> Any:
        away = x > 1e-3
        y = radius * fnp.sin(math.pi * x) * fnp.sin(math.pi * x / radius)
        value = fnp.where(away, y / (math.pi**2 * fnp.where(away, x, 1.0) ** 2), 1.0)
        return fnp.where(x > radius, 0.0, value)

    return kernel


_KERNELS: dict[ResizeMethod, Callable[[Any], Any]] = {
    ResizeMethod.LINEAR: _triangle,
    ResizeMethod.LANCZOS3: _lanczos(3.0),
    ResizeMethod.LANCZOS5: _lanczos(5.0),
    ResizeMethod.CUBIC: _cubic(-0.5),
    ResizeMethod.CUBIC_PYTORCH: _cubic(-0.75),
}
_LEAST_WEIGHT = 1000.0 * float(np.finfo(np.float32).eps)
_BORDER = 2

# -- weights ----------------------------------------------------------------------------------------------------------


def _weights(m: int, n: int, scale: Any, shift: Any, method: ResizeMethod, antialias: bool) -> Any:
    """The matrix of shape ``(m, n)`` from pixels to pixels: the columns sum to 1, or are 0 outside of the image."""
    dtype = aval_of(scale).dtype
    inverse = 1.0 / scale
    here = fnp.arange(n, dtype=dtype)
    pixels = fnp.arange(m, dtype=dtype)
    # Where the centres of the result lie, counted in pixels from the centre of the first one.
    centres = (here + 0.5) * inverse - shift * inverse - 0.5
    if method is ResizeMethod.AREA:
        start = here * inverse - shift * inverse
        overlap = fnp.minimum((start + inverse)[None, :], pixels[:, None] + 1.0)
        weights = fnp.maximum(0.0, overlap - fnp.maximum(start[None, :], pixels[:, None]))
    elif method is ResizeMethod.CUBIC_PYTORCH:
        return _normalized(_repeated_border(m, centres, _KERNELS[method]))
    else:
        stretch = fnp.maximum(inverse, 1.0) if antialias else 1.0
        weights = _KERNELS[method](fnp.abs(centres[None, :] - pixels[:, None]) / stretch)
    inside = fnp.logical_and(centres >= -0.5, centres <= m - 0.5)
    return fnp.where(inside[None, :], _normalized(weights), 0.0)


def _repeated_border(m: int, centres: Any, kernel: Callable[[Any], Any]) -> Any:
    """Weights where the pixels at the border go on beyond it: theirs are those of what lies there, too."""
    positions = np.arange(-_BORDER, m + _BORDER)
    weights = kernel(fnp.abs(centres[None, :] - positions.astype(aval_of(centres).dtype)[:, None]))
    belongs = np.clip(positions, 0, m - 1)[None, :] == np.arange(m)[:, None]
    return fnp.dot(belongs.astype(aval_of(weights).dtype), weights)


def _normalized(weights: Any) -> Any:
    total = fnp.sum(weights, axis=0, keepdims=True)
    there = fnp.abs(total) > _LEAST_WEIGHT
    return fnp.where(there, weights / fnp.where(there, total, 1.0), 0.0)


# -- functions --------------------------------------------------------------------------------------------------------


def _method(where: str, method: Any) -> ResizeMethod:
    if isinstance(method, str):
        return ResizeMethod.from_string(method)
    if not isinstance(method, ResizeMethod):
        raise errors.ArgumentError(f"{where}: method must be a ResizeMethod or the name of one, got {method!r}")
    return method


def _inexact(image: Any) -> Any:
    """Integers as floats, in which means of them are."""
    image = np.asarray(image) if isinstance(image, (list, tuple)) else image
    dtype = aval_of(image).dtype
    return image if dtypes.is_inexact(dtype) else convert(image, np.float64)


def _resample(
    image: Any,
    shape: tuple[Any, ...],
    axes: Sequence[int],
    scale: Sequence[Any],
    translation: Sequence[Any],
    method: ResizeMethod,
    antialias: bool,
) -> Any:
    dtype = aval_of(image).dtype
    if not axes:
        return copy(image)
    if method is ResizeMethod.CUBIC_PYTORCH and antialias:
        method = ResizeMethod.CUBIC
    for axis, by, shift in zip(axes, scale, translation, strict=True):
        m, n = aval_of(image).shape[axis], shape[axis]
        weights = convert(_weights(m, n, by, shift, method, antialias), dtype)
        image = fnp.moveaxis(tensordot(image, weights, ((axis,), (0,))), -1, axis)
    return fnp.asarray(image)


def resize(
    image: Any,
    shape: Sequence[int],
    method: str | ResizeMethod,
    antialias: bool = True,
    precision: PrecisionLike = None,
) -> Any:
    """An image of another size, with the same corners. It is linear in the image, and differentiable.

    Args:
        image: an array of any rank. Integers give float64, except with ``"nearest"``.
        shape: the new shape, of the same rank. Axes of which the extent stays are left as they are.
        method: a ``ResizeMethod`` or its name: ``"nearest"``, ``"linear"``, ``"bilinear"``, ``"trilinear"``,
            ``"triangle"``, ``"cubic"``, ``"bicubic"``, ``"tricubic"``, ``"cubic-pytorch"``, ``"bicubic-pytorch"``,
            ``"lanczos3"``, ``"lanczos5"``, ``"area"``.
        antialias: whether downsampling averages over all that a new pixel covers; of no effect with ``"nearest"`` and
            ``"area"``.
        precision: as in ``functrans.lax.dot``: the product is computed in full in any case.

    Raises:
        ShapeError: the shape has another rank.
        ArgumentError: there is no such method.

    >>> import numpy as np
    >>> resize(np.array([1.0, 2.0]), (4,), "linear")
    array([1.  , 1.25, 1.75, 2.  ])
    >>> resize(np.array([[1, 2, 3, 4]]), (1, 2), "nearest")
    array([[2, 4]])
    """
    where = "image.resize"
    check_precision(where, precision)
    kind = _method(where, method)
    image = np.asarray(image) if isinstance(image, (list, tuple)) else image
    old, new = aval_of(image).shape, normalize_shape(where, shape)
    if len(old) != len(new):
        raise errors.ShapeError(
            f"{where}: shape={new} must have an extent for each axis of the image, whose shape is {old}"
        )
    axes = [d for d in range(len(old)) if old[d] != new[d]]
    for d in axes:
        if old[d] == 0:
            raise errors.ShapeError(f"{where}: axis {d} of the image has no pixels to make {new[d]} of")
    if kind is ResizeMethod.NEAREST:
        return _nearest(image, axes, new)
    image = _inexact(image)
    # Scales in double precision, in which a compiled program and an interpreted one have them.
    scale = [np.float64(new[d] / old[d] if new[d] else 1.0) for d in axes]
    return _resample(image, new, axes, scale, [np.float64(0.0)] * len(axes), kind, antialias)


def _nearest(image: Any, axes: Sequence[int], shape: tuple[Any, ...]) -> Any:
    if not axes:
        return copy(image)
    for d in axes:
        m, n = aval_of(image).shape[d], shape[d]
        single = np.float32
        centres = (np.arange(n, dtype=single) + single(0.5)) * single(m) / single(n)
        image = take(image, np.minimum(np.floor(centres).astype(np.int64), m - 1), d)
    return fnp.asarray(image)


def scale_and_translate(
    image: Any,
    shape: Sequence[int],
    spatial_dims: Sequence[int],
    scale: Any,
    translation: Any,
    method: str | ResizeMethod,
    antialias: bool = True,
    precision: PrecisionLike = None,
) -> Any:
    """An image scaled and moved: the pixel at ``x`` comes to lie at ``x * scale + translation``.

    Pixels of the result that lie outside of the scaled image are 0. It is linear in the image, and differentiable in
    ``scale`` and ``translation`` too, where the kernel is.

    Args:
        image: an array of any rank; integers become float64.
        shape: the shape of the result, of the same rank; equal to the image's except in ``spatial_dims``.
        spatial_dims: the axes that are scaled.
        scale: an array with a positive factor for each of these axes.
        translation: an array with a shift for each of them, in pixels of the result.
        method: as in ``resize``, except ``"nearest"``.
        antialias, precision: as in ``resize``.

    Raises:
        ShapeError: the shape has another rank, or changes an axis that is not scaled; scale or translation do not
            have a number for each of the axes.
        ArgumentError: there is no such method, or it is ``"nearest"``.

    >>> import numpy as np
    >>> scale_and_translate(np.array([1.0, 2.0]), (4,), (0,), np.array([1.0]), np.array([1.0]), "linear")
    array([0., 1., 2., 0.])
    """
    where = "image.scale_and_translate"
    check_precision(where, precision)
    kind = _method(where, method)
    if kind is ResizeMethod.NEAREST:
        raise errors.ArgumentError(f"{where}: the method 'nearest' has no weights; resize takes it")
    image = _inexact(image)
    old, new = aval_of(image).shape, normalize_shape(where, shape)
    axes = [normalize_axis(where, d, len(old), "spatial_dims") for d in spatial_dims]
    normalize_axes(where, axes, len(old), "spatial_dims")
    if len(old) != len(new) or any(a != b for d, (a, b) in enumerate(zip(old, new, strict=True)) if d not in axes):
        raise errors.ShapeError(
            f"{where}: shape={new} must be that of the image, {old}, except in spatial_dims={tuple(axes)}"
        )
    scale, translation = (np.asarray(x) if isinstance(x, (list, tuple)) else x for x in (scale, translation))
    given = [aval_of(x) for x in (scale, translation)]
    for label, aval in zip(("scale", "translation"), given, strict=True):
        if aval.shape != (len(axes),):
            raise errors.ShapeError(
                f"{where}: {label} must have one number for each of the {len(axes)} spatial_dims, got {aval}"
            )
    common = np.result_type(*[a.dtype if dtypes.is_inexact(a.dtype) else np.float64 for a in given])
    scale, translation = convert(scale, common), convert(translation, common)
    by, shifts = [scale[i] for i in range(len(axes))], [translation[i] for i in range(len(axes))]
    return _resample(image, new, axes, by, shifts, kind, antialias)
