"""Images between their pixels: splines of order 0 to 5 at given places, and the transformations made of that.

The spline through the pixels has as coefficients the solution of a linear system, whose matrix samples B-splines. With
the boundaries that occur here Fourier or cosine transforms make it diagonal; see M. Unser, A. Aldroubi and M. Eden,
"B-spline signal processing", IEEE Trans. Signal Processing 41 (1993), for the splines.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans import errors, lax
from functrans import numpy as fnp
from functrans.api.vmap import vmap
from functrans.core import dtypes
from functrans.core.structural import broadcast_shapes, convert
from functrans.core.trace import aval_of
from functrans.lax.static import normalize_axis
from functrans.numpy.arguments import known
from functrans.numpy.dispatch import operand
from functrans.scipy.fft import dct, idct
from functrans.scipy.library import implements, installed
from functrans.scipy.ndimage.arguments import for_axes, image, result_dtype, rounded

_scipy = implements("scipy.ndimage")
MODES = ("constant", "grid-constant", "nearest", "mirror", "reflect", "grid-mirror", "wrap", "grid-wrap")
_PREPADDED = 12
"""How far an array is continued where the boundary has no exact filter: its influence has died away there."""

_FEW = 25

_SAMPLES = {2: (6 / 8, 1 / 8), 3: (4 / 6, 1 / 6), 4: (230 / 384, 76 / 384, 1 / 384), 5: (66 / 120, 26 / 120, 1 / 120)}
"""The B-splines of each order at the integers from 0 on."""


def _check(name: str, order: Any, mode: str) -> str:
    if not isinstance(order, int) or not 0 <= order <= 5:
        raise errors.ArgumentError(f"{name}: order must be an integer from 0 to 5, got {order!r}")
    if mode not in MODES:
        raise errors.ArgumentError(f"{name}: mode must be one of {', '.join(map(repr, MODES))}, got {mode!r}")
    return "reflect" if mode == "grid-mirror" else mode


# -- coefficients of splines --------------------------------------------------------------------------------------


def _coefficients(x: Any, order: int, axis: int, mode: str) -> Any:
    """The coefficients, along one axis, of the spline that takes the values ``x``."""
    n = aval_of(x).shape[axis]
    if n < 2 or order < 2:
        return x
    filters = installed("scipy.ndimage") if n < _FEW and mode in ("reflect", "nearest") else None
    if filters is not None:
        # For so few elements SciPy's filter is not the exact one.
        matrix = filters.spline_filter1d(np.eye(n), order, axis=0, mode=mode)
        return fnp.moveaxis(fnp.moveaxis(x, axis, -1) @ matrix.T, -1, axis)
    count = np.arange(n)
    kind = 0
    if mode == "grid-wrap":
        angles = 2 * np.pi * count[: n // 2 + 1] / n
        spectrum = fnp.fft.rfft(x, axis=axis)
    else:
        kind = 2 if mode in ("reflect", "nearest") else 1
        angles = np.pi * count / (n if kind == 2 else n - 1)
        spectrum = dct(x, kind, axis=axis)
    first, *others = _SAMPLES[order]
    gains = first + sum(2 * b * np.cos((j + 1) * angles) for j, b in enumerate(others))
    shape = [1] * aval_of(x).ndim
    shape[axis] = len(gains)
    spectrum = spectrum / gains.reshape(shape)
    return fnp.fft.irfft(spectrum, n, axis=axis) if mode == "grid-wrap" else idct(spectrum, kind, axis=axis)


@_scipy
def spline_filter1d(input: Any, order: int = 3, axis: int = -1, output: Any = np.float64, mode: str = "mirror") -> Any:
    """The coefficients, along one axis, of the spline through an array; see ``scipy.ndimage.spline_filter1d``."""
    x = image("spline_filter1d", input)
    mode = _check("spline_filter1d", order, mode)
    d = normalize_axis("spline_filter1d", axis, aval_of(x).ndim)
    out = _on_parts(lambda part: _coefficients(convert(part, np.float64), order, d, mode), x)
    return convert(out, result_dtype("spline_filter1d", x, output))


@_scipy
def spline_filter(input: Any, order: int = 3, output: Any = np.float64, mode: str = "mirror") -> Any:
    """The coefficients of the spline through an array; see ``scipy.ndimage.spline_filter``."""
    if order in (0, 1):
        raise errors.ArgumentError(f"spline_filter: a spline of order {order} has its values as coefficients")
    x = image("spline_filter", input)
    mode = _check("spline_filter", order, mode)
    out = _on_parts(lambda part: _all_coefficients(convert(part, np.float64), order, mode), x)
    return convert(out, result_dtype("spline_filter", x, output))


def _all_coefficients(x: Any, order: int, mode: str) -> Any:
    for d in range(aval_of(x).ndim):
        x = _coefficients(x, order, d, mode)
    return x


def _on_parts(f: Callable[[Any], Any], x: Any) -> Any:
    """A linear function of real arrays, applied to the real and the imaginary part of a complex one."""
    if dtypes.is_complex(aval_of(x).dtype):
        return lax.complex(f(lax.real(x)), f(lax.imag(x)))
    return f(x)


# -- values between pixels ----------------------------------------------------------------------------------------


def _mapped(c: Any, n: int, mode: str) -> Any:
    """Coordinates brought into the range of ``n`` pixels as a mode continues them."""
    if mode == "grid-wrap":
        inside = (c >= 0) & (c <= n - 1)
        return fnp.where(inside, c, c - n * fnp.floor(c / n))
    if n == 1:
        return fnp.zeros_like(c)
    if mode == "wrap":
        turns = fnp.where(c < 0, fnp.trunc(-c / (n - 1)) + 1, -fnp.trunc(c / (n - 1)))
        return fnp.where((c >= 0) & (c <= n - 1), c, c + (n - 1) * turns)
    if mode == "mirror":
        period = 2 * n - 2
        low, high = c + period * fnp.trunc(-c / period), c - period * fnp.trunc(c / period)
        low = fnp.where(low <= 1 - n, low + period, -low)
        return fnp.where(c < 0, low, fnp.where(high >= n, period - high, high))
    # reflect: about the outer edges of the first and the last pixel, so that the coordinate may lie half a pixel out.
    period = 2 * n
    c = fnp.where(c < -0.5, -1 - c, c)
    c = c - period * fnp.floor((c + 0.5) / period)
    return fnp.where(c > n - 0.5, period - 1 - c, c)


def _tap_index(i: Any, n: int, mode: str) -> Any:
    """Indices of pixels brought into the range, where the support of a spline reaches over the boundary."""
    if n == 1:
        return fnp.zeros_like(i)
    if mode in ("constant", "wrap", "mirror"):
        i = fnp.remainder(i, 2 * n - 2)
        return fnp.where(i > n - 1, 2 * n - 2 - i, i)
    if mode == "reflect":
        i = fnp.remainder(i, 2 * n)
        return fnp.where(i > n - 1, 2 * n - 1 - i, i)
    return fnp.remainder(i, n) if mode == "grid-wrap" else fnp.clip(i, 0, n - 1)


def _weights(u: Any, order: int) -> list[Any]:
    """The values of the B-splines that overlap a point, at the part ``u`` of its interval: the recursion in order."""
    weights: list[Any] = [fnp.ones_like(u)]
    for d in range(1, order + 1):
        padded: list[Any] = [None, *weights, None]
        weights = []
        for j in range(d + 1):
            left, right = padded[j], padded[j + 1]
            terms = []
            if left is not None:
                terms.append((u + (d - j)) * left)
            if right is not None:
                terms.append(((1 + j) - u) * right)
            weights.append((terms[0] + terms[1] if len(terms) > 1 else terms[0]) / d)
    return weights


def interpolate(x: Any, coordinates: Sequence[Any], order: int, mode: str, cval: Any, prefilter: bool) -> Any:
    """The values of real ``x`` at coordinates, one array for each axis; these broadcast to the shape of the result."""
    x = convert(x, np.float64)
    extent = aval_of(x).shape
    pad = _PREPADDED if prefilter and order > 1 and mode in ("nearest", "grid-constant") else 0
    if pad:
        keywords = {"constant_values": cval} if mode == "grid-constant" else {}
        x = fnp.pad(x, pad, "edge" if mode == "nearest" else "constant", **keywords)
    if prefilter and order > 1:
        x = _all_coefficients(x, order, mode)
    shape = broadcast_shapes("map_coordinates", *(aval_of(c).shape for c in coordinates))
    outside: Any = None
    taps: list[list[tuple[Any, Any, Any]]] = []
    sizes = aval_of(x).shape
    for c, n, size in zip(coordinates, extent, sizes, strict=True):
        if mode == "constant":
            beyond = (c < 0) | (c > n - 1)
            outside = beyond if outside is None else outside | beyond
            c = fnp.where(beyond, fnp.zeros_like(c), c)
        c = c + pad if pad else c
        if mode not in ("constant", "grid-constant", "nearest"):
            c = _mapped(c, size, mode)
        base = fnp.floor(c) if order % 2 else fnp.floor(c + 0.5)
        u = c - base if order % 2 else c + 0.5 - base
        start = base.astype(np.int64) - order // 2
        rows = []
        for j, w in enumerate(_weights(u, order)):
            i = start + j
            missing = (i < 0) | (i >= size) if mode == "grid-constant" else None
            rows.append((_tap_index(i, size, mode), w if order else None, missing))
        taps.append(rows)
    total = _summed(fnp.ravel(x), taps, sizes, shape, cval)
    return total if outside is None else fnp.where(outside, cval, total)


def _summed(flat: Any, taps: list[list[tuple[Any, Any, Any]]], sizes: Sequence[int], shape: Any, cval: Any) -> Any:
    strides = [math.prod(sizes[d + 1 :]) for d in range(len(sizes))]

    def along(d: int, index: Any, missing: Any) -> Any:
        if d == len(taps):
            values = flat[fnp.broadcast_to(index, shape)]
            return values if missing is None else fnp.where(missing, cval, values)
        total: Any = None
        for i, w, absent in taps[d]:
            gone = absent if missing is None else missing if absent is None else missing | absent
            term = along(d + 1, index + strides[d] * i, gone)
            term = term if w is None else term * w
            total = term if total is None else total + term
        return total

    return along(0, 0, None)


def _resampled(
    name: str, x: Any, coordinates: Sequence[Any], output: Any, order: int, mode: str, cval: Any, prefilter: bool
) -> Any:
    mode = _check(name, order, mode)
    dtype = result_dtype(name, x, output)
    if dtypes.is_complex(aval_of(x).dtype):
        parts = [
            interpolate(part(x), coordinates, order, mode, part_of(cval), prefilter)
            for part, part_of in ((lax.real, np.real), (lax.imag, np.imag))
        ]
        return convert(lax.complex(*parts), dtype)
    return rounded(interpolate(x, coordinates, order, mode, cval, prefilter), dtype)


@_scipy
def map_coordinates(
    input: Any, coordinates: Any, output: Any = None, order: int = 3, mode: str = "constant", cval: Any = 0.0,
    prefilter: bool = True,
) -> Any:  # fmt: skip
    """An array at given places between its elements, by splines; see ``scipy.ndimage.map_coordinates``.

    Args:
        input: the array.
        coordinates: an array of shape ``(input.ndim, ...)``, or a sequence of as many arrays.
        output: the dtype of the result, that of ``input`` if None. Integers are rounded to nearest.
        order: of the spline, from 0 to 5.
        mode: how the array goes on beyond its edges: one of SciPy's.
        cval: the value beyond the edges for ``"constant"`` and ``"grid-constant"``.
        prefilter: whether ``input`` holds the values of the spline, or its coefficients.

    It is differentiable in ``input`` and in ``coordinates``; where a spline of order 1 has a kink the slope is that to
    the right, order 0 has slope 0.

    >>> import numpy as np, functrans as ft
    >>> ramp = np.array([0.0, 1.0, 4.0, 9.0])
    >>> ft.elementwise_grad(lambda c: map_coordinates(ramp, c[None], order=1))(np.array([0.5, 2.25]))
    array([1., 5.])
    """
    x = image("map_coordinates", input)
    places = operand(coordinates, "map_coordinates")
    aval = aval_of(places)
    if not aval.ndim or aval.shape[0] != aval_of(x).ndim:
        raise errors.ShapeError(
            f"map_coordinates: coordinates must have shape ({aval_of(x).ndim}, ...) for an array with "
            f"{aval_of(x).ndim} axes, got {aval}"
        )
    if dtypes.is_complex(aval.dtype):
        raise errors.DTypeError(f"map_coordinates: coordinates must be real, got {aval}")
    places = convert(places, np.float64)
    return _resampled("map_coordinates", x, list(places), output, order, mode, cval, prefilter)


# -- transformations ------------------------------------------------------------------------------------------------


def _grid(shape: Sequence[int]) -> list[Any]:
    """The coordinate along each axis of the points of a grid, to be broadcast."""
    ndim = len(shape)
    return [
        fnp.asarray(np.arange(n, dtype=np.float64).reshape([-1 if a == d else 1 for a in range(ndim)]))
        for d, n in enumerate(shape)
    ]


@_scipy
def shift(
    input: Any, shift: Any, output: Any = None, order: int = 3, mode: str = "constant", cval: Any = 0.0,
    prefilter: bool = True,
) -> Any:  # fmt: skip
    """An array moved along its axes by numbers of pixels, which may be traced; see ``scipy.ndimage.shift``."""
    x = image("shift", input)
    steps = _numbers("shift", "shift", shift, aval_of(x).ndim)
    places = [c - s for c, s in zip(_grid(aval_of(x).shape), steps, strict=True)]
    return _resampled("shift", x, places, output, order, mode, cval, prefilter)


def _numbers(name: str, argument: str, value: Any, count: int) -> list[Any]:
    """A number for each axis, given as one for all or as a vector that may be traced."""
    v = convert(operand(value, name), np.float64)
    if not aval_of(v).ndim:
        return [v] * count
    if aval_of(v).shape != (count,):
        raise errors.ShapeError(f"{name}: {argument} must be a number or {count} of them, got {aval_of(v)}")
    return [v[i] for i in range(count)]


@_scipy
def zoom(
    input: Any, zoom: Any, output: Any = None, order: int = 3, mode: str = "constant", cval: Any = 0.0,
    prefilter: bool = True, *, grid_mode: bool = False,
) -> Any:  # fmt: skip
    """An array with its axes stretched; see ``scipy.ndimage.zoom``. The factors decide the shape: they are static."""
    x = image("zoom", input)
    shape = aval_of(x).shape
    value = known("zoom", "zoom", zoom, "Resize to a fixed shape by map_coordinates")
    factors = [float(z) for z in for_axes("zoom", "zoom", value if np.ndim(value) else float(value), len(shape))]
    target = [round(n * z) for n, z in zip(shape, factors, strict=True)]
    if all(z == 1 for z in factors) and prefilter:
        return convert(x, result_dtype("zoom", x, output))
    places = []
    for c, n, m in zip(_grid(target), shape, target, strict=True):
        if grid_mode:
            places.append((c + 0.5) * (n / m if m else 1.0) - 0.5)
        else:
            places.append(c * ((n - 1) / (m - 1) if m != 1 else 1.0))
    return _resampled("zoom", x, places, output, order, mode, cval, prefilter)


@_scipy
def affine_transform(
    input: Any, matrix: Any, offset: Any = 0.0, output_shape: Any = None, output: Any = None, order: int = 3,
    mode: str = "constant", cval: Any = 0.0, prefilter: bool = True,
) -> Any:  # fmt: skip
    """The array at ``matrix @ place + offset`` for each place of the result; see ``scipy.ndimage.affine_transform``.

    ``matrix`` (a vector stands for a diagonal one, a homogeneous one for both) and ``offset`` may be traced.
    """
    x = image("affine_transform", input)
    ndim = aval_of(x).ndim
    m = convert(operand(matrix, "affine_transform"), np.float64)
    shape = tuple(map(operator.index, output_shape)) if output_shape is not None else aval_of(x).shape
    form = aval_of(m).shape
    if len(form) == 2 and form[1] == ndim + 1 and form[0] in (ndim, ndim + 1):
        offset, m, form = m[:ndim, ndim], m[:ndim, :ndim], (ndim, ndim)
    if form not in ((ndim,), (ndim, len(shape))):
        raise errors.ShapeError(
            f"affine_transform: a matrix of shape {(ndim, len(shape))} is needed, or a homogeneous one, got {form}"
        )
    offsets = _numbers("affine_transform", "offset", offset, ndim)
    grid = _grid(shape)
    if len(form) == 1:
        places = [(c + b / m[d]) * m[d] for d, (c, b) in enumerate(zip(grid, offsets, strict=True))]
    else:
        places = []
        for d, b in enumerate(offsets):
            place = b
            for e, c in enumerate(grid):
                place = place + c * m[d, e]
            places.append(place)
    return _resampled("affine_transform", x, places, output, order, mode, cval, prefilter)


@_scipy
def rotate(
    input: Any, angle: Any, axes: Any = (1, 0), reshape: bool = True, output: Any = None, order: int = 3,
    mode: str = "constant", cval: Any = 0.0, prefilter: bool = True,
) -> Any:  # fmt: skip
    """An array turned in the plane of two axes by an angle in degrees; see ``scipy.ndimage.rotate``.

    With ``reshape=True`` the angle decides the shape and is static; without it may be traced.
    """
    x = image("rotate", input)
    ndim = aval_of(x).ndim
    pair = sorted(normalize_axis("rotate", a, ndim) for a in axes)
    if len(pair) != 2 or pair[0] == pair[1]:
        raise errors.ShapeError(f"rotate: axes={tuple(axes)} must be two different axes")
    plane = [aval_of(x).shape[a] for a in pair]
    if reshape:
        angle = known("rotate", "angle", angle, "Pass reshape=False")
    c, s = _turn(np, float(angle)) if reshape else _turn(fnp, convert(operand(angle, "rotate"), np.float64))
    if reshape:
        height, width = plane
        corners = np.array([[c, s], [-s, c]]) @ [[0, 0, height, height], [0, width, 0, width]]
        target = [int(n) for n in np.ptp(corners, axis=1) + 0.5]
    else:
        target = plane
    middle = [(n - 1) / 2 for n in target]
    centre = [
        (plane[0] - 1) / 2 - (c * middle[0] + s * middle[1]),
        (plane[1] - 1) / 2 - (c * middle[1] - s * middle[0]),
    ]
    rows, columns = _grid(target)
    places = [centre[0] + rows * c + columns * s, centre[1] - rows * s + columns * c]

    def turned(image: Any) -> Any:
        return _resampled("rotate", image, places, output, order, mode, cval, prefilter)

    moved = fnp.moveaxis(x, pair, (-2, -1))
    planes = fnp.reshape(moved, (-1, *plane))
    out = turned(planes[0]) if ndim == 2 else vmap(turned)(planes)
    return fnp.moveaxis(fnp.reshape(out, (*aval_of(moved).shape[:-2], *target)), (-2, -1), pair)


def _turn(xp: Any, angle: Any) -> tuple[Any, Any]:
    """Cosine and sine of an angle in degrees, exact at right angles."""
    quarters = xp.round(angle / 90.0)
    rest = xp.deg2rad(angle - 90.0 * quarters)
    c, s = xp.cos(rest), xp.sin(rest)
    k = xp.remainder(quarters, 4)
    return (
        xp.where(k == 0, c, xp.where(k == 1, -s, xp.where(k == 2, -c, s))),
        xp.where(k == 0, s, xp.where(k == 1, c, xp.where(k == 2, -s, -c))),
    )
