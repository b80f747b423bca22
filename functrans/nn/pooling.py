"""Pooling: images made smaller by the mean, the largest or the smallest element of each window."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from functrans import errors
from functrans.core import dtypes
from functrans.core.structural import convert
from functrans.core.trace import aval_of
from functrans.lax.arithmetic import div
from functrans.lax.convolution import padding_pairs, window_ints
from functrans.lax.creation import full
from functrans.lax.windows import reduce_window_max, reduce_window_min, reduce_window_sum

Arguments = tuple[tuple[int, ...], tuple[int, ...], tuple[tuple[int, int], ...]]


def _arguments(name: str, x: Any, window_shape: Any, strides: Any, padding: Any, channel_axis: int | None) -> Arguments:
    """Windows, strides and padding for every axis of x, from those for the spatial ones."""
    aval = aval_of(x)
    rank = 1 if isinstance(window_shape, int) else len(window_shape)
    window = window_ints(name, "window_shape", window_shape, rank)
    step = window if strides is None else window_ints(name, "strides", strides, rank)
    axes = list(range(aval.ndim))
    if channel_axis is not None:
        if not -aval.ndim <= channel_axis < aval.ndim:
            raise errors.ShapeError(f"{name}: channel_axis={channel_axis} is no axis of an array of type {aval}")
        axes.remove(channel_axis % aval.ndim)
    if len(axes) < rank:
        raise errors.ShapeError(
            f"{name}: an array of type {aval} has no {rank} spatial axes for window_shape={window_shape}"
            + ("" if channel_axis is None else f" besides channel_axis={channel_axis}; None says that there is none")
        )
    spatial = axes[len(axes) - rank :]
    pairs = padding_pairs(name, padding, tuple(aval.shape[a] for a in spatial), window, step)
    full_window, full_step, full_pairs = [1] * aval.ndim, [1] * aval.ndim, [(0, 0)] * aval.ndim
    for a, k, s, pair in zip(spatial, window, step, pairs, strict=True):
        full_window[a], full_step[a], full_pairs[a] = k, s, pair
    return tuple(full_window), tuple(full_step), tuple(full_pairs)


def avg_pool(
    x: Any,
    window_shape: Any,
    strides: Any = None,
    padding: Any = "VALID",
    count_include_pad: bool = True,
    channel_axis: int | None = -1,
) -> Any:
    """The mean over each window.

    Args:
        x: an array ``(..., *space, channel)``, or with the channels elsewhere: the spatial axes are the last ones of
            the others. Axes before them are a batch. Integers are averaged in float64.
        window_shape: the window's extent along each spatial axis; an int for one axis.
        strides: how far neighbouring windows are apart; the window's own extents if None, so that they tile.
        padding: ``"VALID"``, ``"SAME"``, ``"SAME_LOWER"``, or a pair (low, high) for each spatial axis.
        count_include_pad: whether padding counts as zeros; if not, the mean is that of a window's real elements.
        channel_axis: which axis holds the channels; None where there is none.

    Returns:
        An array like x with ``(extent + low + high - window) // stride + 1`` elements along each spatial axis.

    Raises:
        ShapeError: windows that do not fit the axes of x, or, without ``count_include_pad``, that hold padding alone.

    >>> import numpy as np
    >>> avg_pool(np.arange(4.0).reshape(1, 4, 1), (2,)).ravel()
    array([0.5, 2.5])
    """
    window, step, pairs = _arguments("avg_pool", x, window_shape, strides, padding, channel_axis)
    if not dtypes.is_inexact(aval_of(x).dtype):
        x = convert(x, float)
    total = reduce_window_sum(x, window, step, pairs)
    if count_include_pad or not any(map(any, pairs)):
        return div(total, float(prod(window)))
    shape = aval_of(x).shape
    for n, p, k, s, (lo, _) in zip(shape, aval_of(total).shape, window, step, pairs, strict=True):
        if p and (lo >= k or (p - 1) * s - lo >= n):
            raise errors.ShapeError(
                f"avg_pool: with padding {padding!r} some windows of shape {window_shape} hold padding alone, "
                f"which has no mean. Pad less, or pass count_include_pad=True"
            )
    touched = [k > 1 or s > 1 or any(pair) for k, s, pair in zip(window, step, pairs, strict=True)]
    ones = full([n if t else 1 for n, t in zip(shape, touched, strict=True)], 1, aval_of(x).dtype)
    return div(total, reduce_window_sum(ones, window, step, pairs))


def max_pool(
    x: Any, window_shape: Any, strides: Any = None, padding: Any = "VALID", channel_axis: int | None = -1
) -> Any:
    """The largest element of each window; NaN where it holds one. Padding is never the largest.

    The arguments are those of `avg_pool`. Among equal elements the first one of the window has the derivative, the
    last axis counting fastest.

    >>> import numpy as np
    >>> max_pool(np.array([1.0, 3.0, 2.0, 0.0]), (2,), channel_axis=None)
    array([3., 2.])
    """
    return _extremum("max_pool", reduce_window_max, x, window_shape, strides, padding, channel_axis)


def min_pool(
    x: Any, window_shape: Any, strides: Any = None, padding: Any = "VALID", channel_axis: int | None = -1
) -> Any:
    """The smallest element of each window; else as `max_pool`.

    >>> import numpy as np
    >>> min_pool(np.array([1.0, 3.0, 2.0, 0.0]), (2,), channel_axis=None)
    array([1., 0.])
    """
    return _extremum("min_pool", reduce_window_min, x, window_shape, strides, padding, channel_axis)


def _extremum(
    name: str,
    reduce: Callable[..., Any],
    x: Any,
    window_shape: Any,
    strides: Any,
    padding: Any,
    channel_axis: int | None,
) -> Any:
    return reduce(x, *_arguments(name, x, window_shape, strides, padding, channel_axis))
