"""Filters of images: correlations with weights, Gaussians and their derivatives, means, extrema."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from functrans import errors, lax
from functrans import numpy as fnp
from functrans.core import dtypes
from functrans.core.structural import convert
from functrans.core.trace import aval_of
from functrans.lax.static import normalize_axis
from functrans.numpy.arguments import known
from functrans.numpy.dispatch import operand
from functrans.scipy.library import implements
from functrans.scipy.ndimage.arguments import filtered_axes, for_axes, image, result_dtype, working_dtype
from functrans.scipy.signal.convolution import directly

_scipy = implements("scipy.ndimage")
PAD_MODES = {
    "reflect": "symmetric", "grid-mirror": "symmetric", "mirror": "reflect", "nearest": "edge", "wrap": "wrap",
    "grid-wrap": "wrap", "constant": "constant", "grid-constant": "constant",
}  # fmt: skip
"""SciPy's names of boundaries and those of ``numpy.pad``."""


def _padded(name: str, x: Any, widths: Sequence[tuple[int, int]], modes: Sequence[str], cval: Any) -> Any:
    """An array continued along each axis in the mode of that axis."""
    for d, (width, mode) in enumerate(zip(widths, modes, strict=True)):
        if mode not in PAD_MODES:
            raise errors.ArgumentError(f"{name}: mode must be one of {', '.join(map(repr, PAD_MODES))}, got {mode!r}")
        if width != (0, 0):
            each = [width if a == d else (0, 0) for a in range(len(widths))]
            keywords = {"constant_values": cval} if PAD_MODES[mode] == "constant" else {}
            x = fnp.pad(x, each, PAD_MODES[mode], **keywords)
    return x


def _reach(name: str, size: int, origin: int) -> tuple[int, int]:
    """How many elements before and behind its place a window of that size looks at."""
    origin = operator.index(origin)
    if not -(size // 2) <= origin <= (size - 1) // 2:
        raise errors.ArgumentError(f"{name}: origin={origin} lies outside the weights, which are {size} long")
    before = size // 2 + origin
    return before, size - 1 - before


def _cast(x: Any, dtype: Any) -> Any:
    """Computed values in the dtype of a result; integers are cut off, as SciPy does it."""
    if dtypes.is_inexact(dtype):
        return convert(x, dtype)
    return convert(convert(x, np.int64), dtype) if dtype.kind != "b" else lax.ne(convert(x, np.int64), 0)


def _correlated(
    name: str, x: Any, weights: Any, axes: Sequence[int], modes: Sequence[str], cval: Any, origins: Sequence[int],
    output: Any,
) -> Any:  # fmt: skip
    """The sums of weights times elements around each place, over some axes."""
    weights = operand(weights, name)
    if aval_of(weights).ndim != len(axes) or 0 in aval_of(weights).shape:
        raise errors.ShapeError(
            f"{name}: weights must have {len(axes)} axes, none of them empty, got {aval_of(weights)}"
        )
    kinds = [aval_of(x).dtype, aval_of(weights).dtype]
    dtype = result_dtype(name, x, output)
    dtype = dtypes.complex_dtype(dtype) if dtypes.is_complex(kinds[1]) else dtype
    work = working_dtype(*kinds)
    ndim = aval_of(x).ndim
    widths, each, shape = [(0, 0)] * ndim, ["reflect"] * ndim, [1] * ndim
    for a, size, mode, origin in zip(axes, aval_of(weights).shape, modes, origins, strict=True):
        widths[a], each[a], shape[a] = _reach(name, size, origin), mode, size
    if 0 in aval_of(x).shape:
        return convert(x, dtype)
    padded = _padded(name, convert(x, work), widths, each, cval)
    kernel = fnp.reshape(convert(weights, work), shape)
    return _cast(directly(padded, lax.rev(kernel, tuple(range(ndim))), "valid"), dtype)


def _several(name: str, input: Any, weights: Any, output: Any, mode: Any, cval: Any, origin: Any, axes: Any) -> Any:
    x = image(name, input)
    over = filtered_axes(name, axes, aval_of(x).ndim)
    modes, origins = for_axes(name, "mode", mode, len(over)), for_axes(name, "origin", origin, len(over))
    return _correlated(name, x, weights, over, modes, cval, origins, output)


@_scipy
def correlate(
    input: Any, weights: Any, output: Any = None, mode: Any = "reflect", cval: Any = 0.0, origin: Any = 0, *,
    axes: Any = None,
) -> Any:  # fmt: skip
    """The correlation of an array with weights; see ``scipy.ndimage.correlate``.

    Sums are made in double precision. It is differentiable in the array and in the weights.
    """
    weights = operand(weights, "correlate")
    weights = lax.conj(weights) if dtypes.is_complex(aval_of(weights).dtype) else weights
    return _several("correlate", input, weights, output, mode, cval, origin, axes)


@_scipy
def convolve(
    input: Any, weights: Any, output: Any = None, mode: Any = "reflect", cval: Any = 0.0, origin: Any = 0, *,
    axes: Any = None,
) -> Any:  # fmt: skip
    """The convolution of an array with weights; see ``scipy.ndimage.convolve``."""
    weights = operand(weights, "convolve")
    sizes = aval_of(weights).shape
    origins = [
        -o - (n % 2 == 0) for o, n in zip(for_axes("convolve", "origin", origin, len(sizes)), sizes, strict=True)
    ]
    turned = lax.rev(weights, tuple(range(len(sizes))))
    return _several("convolve", input, turned, output, mode, cval, origins, axes)


@_scipy
def correlate1d(
    input: Any, weights: Any, axis: int = -1, output: Any = None, mode: str = "reflect", cval: Any = 0.0,
    origin: int = 0,
) -> Any:  # fmt: skip
    """The correlation along an axis; see ``scipy.ndimage.correlate1d``."""
    weights = operand(weights, "correlate1d")
    weights = lax.conj(weights) if dtypes.is_complex(aval_of(weights).dtype) else weights
    return _line("correlate1d", image("correlate1d", input), weights, axis, output, mode, cval, origin)


def _line(name: str, x: Any, weights: Any, axis: int, output: Any, mode: str, cval: Any, origin: int = 0) -> Any:
    d = normalize_axis(name, axis, aval_of(x).ndim)
    return _correlated(name, x, weights, (d,), (mode,), cval, (origin,), output)


@_scipy
def convolve1d(
    input: Any, weights: Any, axis: int = -1, output: Any = None, mode: str = "reflect", cval: Any = 0.0,
    origin: int = 0,
) -> Any:  # fmt: skip
    """The convolution along an axis; see ``scipy.ndimage.convolve1d``."""
    weights = operand(weights, "convolve1d")
    origin = -origin - (aval_of(weights).size % 2 == 0)
    turned = lax.rev(weights, tuple(range(aval_of(weights).ndim)))
    return _line("convolve1d", image("convolve1d", input), turned, axis, output, mode, cval, origin)


# -- means and Gaussians ------------------------------------------------------------------------------------------


@_scipy
def uniform_filter1d(
    input: Any, size: int, axis: int = -1, output: Any = None, mode: str = "reflect", cval: Any = 0.0,
    origin: int = 0,
) -> Any:  # fmt: skip
    """The mean over a window along an axis; see ``scipy.ndimage.uniform_filter1d``."""
    size = operator.index(size)
    if size < 1:
        raise errors.ArgumentError(f"uniform_filter1d: size must be positive, got {size}")
    x = image("uniform_filter1d", input)
    dtype = result_dtype("uniform_filter1d", x, output)
    d = normalize_axis("uniform_filter1d", axis, aval_of(x).ndim)
    widths = [_reach("uniform_filter1d", size, origin) if a == d else (0, 0) for a in range(aval_of(x).ndim)]
    work = working_dtype(aval_of(x).dtype)
    if 0 in aval_of(x).shape:
        return convert(x, dtype)
    padded = _padded("uniform_filter1d", convert(x, work), widths, [mode] * len(widths), cval)
    ones = np.ones([size if a == d else 1 for a in range(aval_of(x).ndim)], work)
    return _cast(directly(padded, ones, "valid") / size, dtype)


@_scipy
def uniform_filter(
    input: Any, size: Any = 3, output: Any = None, mode: Any = "reflect", cval: Any = 0.0, origin: Any = 0, *,
    axes: Any = None,
) -> Any:  # fmt: skip
    """The mean over a window; see ``scipy.ndimage.uniform_filter``."""
    x = image("uniform_filter", input)
    dtype = result_dtype("uniform_filter", x, output)
    over = filtered_axes("uniform_filter", axes, aval_of(x).ndim)
    columns = [
        for_axes("uniform_filter", n, v, len(over)) for n, v in (("size", size), ("mode", mode), ("origin", origin))
    ]
    for a, n, m, o in zip(over, *columns, strict=True):
        if n > 1:
            x = uniform_filter1d.__wrapped__(x, n, a, dtype, m, cval, o)  # type: ignore[attr-defined]
    return convert(x, dtype)


def _gaussian(name: str, sigma: Any, order: int, radius: int) -> Any:
    """Samples of a Gaussian or of one of its derivatives, reversed; ``sigma`` may be traced."""
    places = np.arange(-radius, radius + 1, dtype=np.float64)
    variance = sigma * sigma
    bell = fnp.exp(places * places * (-0.5 / variance))
    bell = bell / fnp.sum(bell)
    # The derivatives are polynomials times the Gaussian, with this recursion of polynomials.
    polynomial: list[Any] = [1.0]
    for _ in range(order):
        raised = [0.0] * (len(polynomial) + 1)
        for k, c in enumerate(polynomial):
            raised[k + 1] = raised[k + 1] - c / variance
            if k:
                raised[k - 1] = raised[k - 1] + k * c
        polynomial = raised
    factor: Any = 0.0
    for k, c in enumerate(polynomial):
        factor = factor + c * places**k
    return (factor * bell)[::-1]


def _radius(name: str, sigma: Any, truncate: float, radius: Any) -> int:
    if radius is None:
        value = known(name, "sigma", sigma, "Pass radius, the number of elements on each side")
        return int(truncate * float(value) + 0.5)
    reach = operator.index(radius)
    if reach < 0:
        raise errors.ArgumentError(f"{name}: radius must not be negative, got {reach}")
    return reach


@_scipy
def gaussian_filter1d(
    input: Any, sigma: Any, axis: int = -1, order: int = 0, output: Any = None, mode: str = "reflect",
    cval: Any = 0.0, truncate: float = 4.0, *, radius: Any = None,
) -> Any:  # fmt: skip
    """A Gaussian along an axis, or one of its derivatives; see ``scipy.ndimage.gaussian_filter1d``.

    ``sigma`` may be traced, and is differentiable, where ``radius`` is given.
    """
    x = image("gaussian_filter1d", input)
    if order < 0:
        raise errors.ArgumentError(f"gaussian_filter1d: order must not be negative, got {order}")
    reach = _radius("gaussian_filter1d", sigma, truncate, radius)
    weights = _gaussian("gaussian_filter1d", convert(operand(sigma), np.float64), operator.index(order), reach)
    return _line("gaussian_filter1d", x, weights, axis, output, mode, cval)


@_scipy
def gaussian_filter(
    input: Any, sigma: Any, order: Any = 0, output: Any = None, mode: Any = "reflect", cval: Any = 0.0,
    truncate: float = 4.0, *, radius: Any = None, axes: Any = None,
) -> Any:  # fmt: skip
    """A Gaussian, or its derivatives, along the axes; see ``scipy.ndimage.gaussian_filter``.

    ``sigma`` may be traced, and is differentiable, where ``radius`` is given.

    >>> import numpy as np, functrans as ft
    >>> dot = np.zeros(5); dot[2] = 1.0
    >>> ft.grad(lambda s: gaussian_filter(dot, s, radius=2)[2])(1.0).round(6)
    np.float64(-0.372147)
    """
    x = image("gaussian_filter", input)
    dtype = result_dtype("gaussian_filter", x, output)
    over = filtered_axes("gaussian_filter", axes, aval_of(x).ndim)
    sigmas = list(operand(sigma)) if np.ndim(sigma) else [sigma]
    sigmas = for_axes("gaussian_filter", "sigma", sigmas if len(sigmas) > 1 else sigmas * len(over), len(over))
    columns = [
        for_axes("gaussian_filter", n, v, len(over)) for n, v in (("order", order), ("mode", mode), ("radius", radius))
    ]
    for a, s, k, m, r in zip(over, sigmas, *columns, strict=True):
        if r is not None or known("gaussian_filter", "sigma", s, "Pass radius") > 1e-15:
            x = gaussian_filter1d.__wrapped__(x, s, a, k, dtype, m, cval, truncate, radius=r)  # type: ignore[attr-defined]
    return convert(x, dtype)


# -- edges -----------------------------------------------------------------------------------------------------------


def _edges(name: str, input: Any, axis: int, output: Any, mode: Any, cval: Any, across: Sequence[int]) -> Any:
    x = image(name, input)
    ndim = aval_of(x).ndim
    d = normalize_axis(name, axis, ndim)
    modes = for_axes(name, "mode", mode, ndim)
    out = _line(name, x, np.array([-1, 0, 1]), d, output, modes[d], cval)
    for a in range(ndim):
        if a != d:
            out = _line(name, out, np.array(across), a, output, modes[a], cval)
    return out


@_scipy
def sobel(input: Any, axis: int = -1, output: Any = None, mode: Any = "reflect", cval: Any = 0.0) -> Any:
    """Sobel's filter; see ``scipy.ndimage.sobel``."""
    return _edges("sobel", input, axis, output, mode, cval, (1, 2, 1))


@_scipy
def prewitt(input: Any, axis: int = -1, output: Any = None, mode: Any = "reflect", cval: Any = 0.0) -> Any:
    """Prewitt's filter; see ``scipy.ndimage.prewitt``."""
    return _edges("prewitt", input, axis, output, mode, cval, (1, 1, 1))


@_scipy
def laplace(input: Any, output: Any = None, mode: Any = "reflect", cval: Any = 0.0, *, axes: Any = None) -> Any:
    """The sum of second differences; see ``scipy.ndimage.laplace``."""
    x = image("laplace", input)
    over = filtered_axes("laplace", axes, aval_of(x).ndim)
    total: Any = None
    for a, m in zip(over, for_axes("laplace", "mode", mode, len(over)), strict=True):
        term = _line("laplace", x, np.array([1, -2, 1]), a, output, m, cval)
        total = term if total is None else total + term
    return total


def _of_gaussians(
    name: str, input: Any, sigma: Any, output: Any, mode: Any, cval: Any, axes: Any, order: int, options: dict[str, Any]
) -> list[Any]:
    """A Gaussian filter with a derivative along each axis in turn."""
    x = image(name, input)
    over = filtered_axes(name, axes, aval_of(x).ndim)
    return [
        gaussian_filter.__wrapped__(  # type: ignore[attr-defined]
            x, sigma, [order if b == a else 0 for b in over], output, mode, cval, axes=over, **options
        )
        for a in over
    ]


@_scipy
def gaussian_laplace(
    input: Any, sigma: Any, output: Any = None, mode: Any = "reflect", cval: Any = 0.0, *, axes: Any = None,
    **kwargs: Any,
) -> Any:  # fmt: skip
    """The sum of the second derivatives of a Gaussian filter; see ``scipy.ndimage.gaussian_laplace``."""
    parts = _of_gaussians("gaussian_laplace", input, sigma, output, mode, cval, axes, 2, kwargs)
    return sum(parts[1:], parts[0])


@_scipy
def gaussian_gradient_magnitude(
    input: Any, sigma: Any, output: Any = None, mode: Any = "reflect", cval: Any = 0.0, *, axes: Any = None,
    **kwargs: Any,
) -> Any:  # fmt: skip
    """The length of the gradient of a Gaussian filter; see ``scipy.ndimage.gaussian_gradient_magnitude``.

    Where it is zero its derivative is taken to be 0.
    """
    parts = _of_gaussians("gaussian_gradient_magnitude", input, sigma, output, mode, cval, axes, 1, kwargs)
    squares = [p * p for p in parts]
    total = sum(squares[1:], squares[0])
    dtype = aval_of(total).dtype
    return _cast(lax.safe_sqrt(convert(total, dtype if dtypes.is_inexact(dtype) else np.float64)), dtype)


# -- extrema ---------------------------------------------------------------------------------------------------------


def _extremum(
    name: str, largest: bool, x: Any, size: Any, output: Any, mode: Any, cval: Any, origin: Any, axes: Any
) -> Any:
    x = image(name, x)
    dtype = result_dtype(name, x, output)
    if dtypes.is_complex(aval_of(x).dtype):
        raise errors.DTypeError(f"{name}: complex numbers have no order, got {aval_of(x)}")
    if size is None:
        raise errors.ArgumentError(f"{name}: size is needed; a footprint cannot be traced")
    over = filtered_axes(name, axes, aval_of(x).ndim)
    ndim = aval_of(x).ndim
    columns = [for_axes(name, n, v, len(over)) for n, v in (("size", size), ("mode", mode), ("origin", origin))]
    widths, modes, window = [(0, 0)] * ndim, ["reflect"] * ndim, [1] * ndim
    for a, n, m, o in zip(over, *columns, strict=True):
        n = operator.index(n)
        widths[a], modes[a], window[a] = _reach(name, n, o), m, n
    padded = _padded(name, x, widths, modes, cval)
    reduce = lax.reduce_window_max if largest else lax.reduce_window_min
    return convert(reduce(padded, tuple(window), (1,) * ndim, "VALID"), dtype)


@_scipy
def maximum_filter(
    input: Any, size: Any = None, footprint: Any = None, output: Any = None, mode: Any = "reflect", cval: Any = 0.0,
    origin: Any = 0, *, axes: Any = None,
) -> Any:  # fmt: skip
    """The maximum over a window; see ``scipy.ndimage.maximum_filter``.

    Elements that tie for it share the derivative.
    """
    if footprint is not None:
        raise errors.ArgumentError("maximum_filter: a footprint cannot be traced; give size")
    return _extremum("maximum_filter", True, input, size, output, mode, cval, origin, axes)


@_scipy
def minimum_filter(
    input: Any, size: Any = None, footprint: Any = None, output: Any = None, mode: Any = "reflect", cval: Any = 0.0,
    origin: Any = 0, *, axes: Any = None,
) -> Any:  # fmt: skip
    """The minimum over a window; see ``scipy.ndimage.minimum_filter``.

    Elements that tie for it share the derivative.
    """
    if footprint is not None:
        raise errors.ArgumentError("minimum_filter: a footprint cannot be traced; give size")
    return _extremum("minimum_filter", False, input, size, output, mode, cval, origin, axes)
