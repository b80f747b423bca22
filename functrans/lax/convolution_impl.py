"""How convolutions are computed with an array module: patches are gathered, then multiplied by BLAS."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from math import prod
from typing import Any

import numpy as np

Ints = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]

PATCH_BYTES = 1 << 22
"""About how much memory the patches of one chunk take: so little that they stay in the cache."""
FEW_POSITIONS = 32
FEW_FEATURES = 8


def dilated(extent: int, dilation: int) -> int:
    """An extent with ``dilation - 1`` elements put between neighbours."""
    return (extent - 1) * dilation + 1 if extent else 0


def out_extent(n: int, k: int, stride: int, pad: tuple[int, int], lhs_dilation: int, rhs_dilation: int) -> int:
    """At how many positions a kernel of extent k fits."""
    room = dilated(n, lhs_dilation) + pad[0] + pad[1] - dilated(k, rhs_dilation)
    return room // stride + 1 if room >= 0 else 0


def conv_impl(xp: Any, x: Any, w: Any, *, strides: Ints, padding: Pads, lhs_dilation: Ints, rhs_dilation: Ints) -> Any:
    """The result of the primitive ``conv``."""
    columns = zip(x.shape[3:], w.shape[3:], strides, padding, lhs_dilation, rhs_dilation, strict=True)
    space = tuple(out_extent(*column) for column in columns)
    groups, batch, channels = x.shape[:3]
    shape = (groups, batch, w.shape[1], *space)
    if not (prod(shape) and x.size and w.size):
        return xp.zeros(shape, x.dtype)
    if x.dtype == np.float16:
        # Half precision has no BLAS, and sums in it lose digits: one rounding, at the end.
        x, w = x.astype(np.float32), w.astype(np.float32)
        out = conv_impl(
            xp, x, w, strides=strides, padding=padding, lhs_dilation=lhs_dilation, rhs_dilation=rhs_dilation
        )
        return out.astype(np.float16)
    # Gathering moves every channel of every tap once a result, scattering every feature once an element of the images.
    scattered = 4 * w.shape[1] * prod(x.shape[3:]) <= channels * prod(space) or any(d > 1 for d in lhs_dilation)
    if scattered and all(s == 1 for s in strides):
        return _scatter(xp, x, w, space, padding, lhs_dilation, rhs_dilation)
    x = framed(xp, x, padding, lhs_dilation)
    if groups > 1 and channels == 1:
        return _tap_by_tap(xp, x, w, space, strides, rhs_dilation)
    return _by_patches(xp, _windows(xp, x, w.shape[3:], space, strides, rhs_dilation), w)


def framed(xp: Any, x: Any, padding: Pads, dilation: Ints, value: Any = 0) -> Any:
    """An array with a value around and between its elements along its last axes; negative padding cuts off."""
    if all(pad == (0, 0) for pad in padding) and all(d == 1 for d in dilation):
        return x
    lead = x.ndim - len(padding)
    source, target, shape = [], [], list(x.shape[:lead])
    for n, (lo, hi), d in zip(x.shape[lead:], padding, dilation, strict=True):
        extent = max(dilated(n, d) + lo + hi, 0)
        first = -(min(lo, 0) // d)
        at = lo + first * d
        count = max(min(n - first, (extent - 1 - at) // d + 1), 0)
        source.append(slice(first, first + count))
        target.append(slice(at, at + (count - 1) * d + 1, d) if count else slice(0, 0))
        shape.append(extent)
    if all(lo <= 0 and hi <= 0 for lo, hi in padding) and all(d == 1 for d in dilation):
        return x[(..., *source)]
    # The axes lie in memory in the order in which those of x do.
    order = sorted(range(x.ndim), key=lambda a: (-abs(x.strides[a]), a))
    out = xp.full(tuple(shape[a] for a in order), value, x.dtype)
    out = out.transpose([order.index(a) for a in range(x.ndim)])
    out[(..., *target)] = x[(..., *source)]
    return out


def _windows(xp: Any, x: Any, kernel: Ints, space: Ints, strides: Ints, dilation: Ints) -> Any:
    """A view of shape ``(group, batch, channel, *space, *kernel)``: what the kernel sees at each position."""
    steps = x.strides[3:]
    return xp.lib.stride_tricks.as_strided(
        x,
        (*x.shape[:3], *space, *kernel),
        (
            *x.strides[:3],
            *(step * s for step, s in zip(steps, strides, strict=True)),
            *(step * d for step, d in zip(steps, dilation, strict=True)),
        ),
    )


def _by_patches(xp: Any, windows: Any, w: Any) -> Any:
    """Patches gathered chunk by chunk and multiplied by the kernels, as one matrix product a chunk and group."""
    rank = w.ndim - 3
    space = windows.shape[3 : 3 + rank]
    spatial = _finest(windows, range(3, 3 + 2 * rank))
    if (windows.shape[2] > 1 and abs(windows.strides[2]) < spatial) or (
        windows.shape[2] == 1 and w.shape[1] > 1 and abs(w.strides[1]) < _finest(w, range(2, w.ndim))
    ):
        return _channels_last(xp, windows, w, rank)
    if prod(space) < FEW_POSITIONS:
        return _few_positions(xp, windows, w, rank, abs(windows.strides[1]) < spatial)
    return _channels_first(xp, windows, w, rank)


def _finest(x: Any, axes: Iterable[int]) -> int:
    """The smallest step in memory along some axes; 0 where all have a single element."""
    return min((abs(x.strides[a]) for a in axes if x.shape[a] > 1), default=0)


def _channels_last(xp: Any, windows: Any, w: Any, rank: int) -> Any:
    """Rows of patches with channels innermost; so are the result's."""
    groups, batch, channels = windows.shape[:3]
    space, kernel = windows.shape[3 : 3 + rank], windows.shape[3 + rank :]
    features, positions, inner = w.shape[1], prod(space), channels * prod(kernel)
    right = w.transpose(0, *range(3, 3 + rank), 2, 1).reshape(groups, inner, features)
    view = windows.transpose(0, 1, *range(3, 3 + 2 * rank), 2)
    out = xp.empty((groups, batch, positions, features), w.dtype)
    for part in _chunks(batch, groups * positions * inner * w.itemsize):
        rows = view[:, part].reshape(groups, -1, inner)
        if groups == 1:
            xp.matmul(rows[0], right[0], out=out[0, part].reshape(-1, features))
        else:
            out[:, part] = xp.matmul(rows, right).reshape(groups, -1, positions, features)
    return out.reshape(groups, batch, *space, features).transpose(0, 1, 2 + rank, *range(2, 2 + rank))


def _channels_first(xp: Any, windows: Any, w: Any, rank: int) -> Any:
    """Columns of patches, several images side by side: BLAS is at its best with more columns than one image has."""
    groups, batch, channels = windows.shape[:3]
    space, kernel = windows.shape[3 : 3 + rank], windows.shape[3 + rank :]
    features, positions, inner = w.shape[1], prod(space), channels * prod(kernel)
    left = w.reshape(groups, features, inner)
    view = windows.transpose(0, 2, *range(3 + rank, 3 + 2 * rank), 1, *range(3, 3 + rank))
    out = xp.empty((groups, batch, features, positions), w.dtype)
    for part in _chunks(batch, groups * positions * inner * w.itemsize):
        columns = view[(*(slice(None),) * (2 + rank), part)].reshape(groups, inner, -1)
        if part.stop - part.start == 1:
            xp.matmul(left, columns, out=out[:, part.start])
        else:
            out[:, part] = xp.matmul(left, columns).reshape(groups, features, -1, positions).swapaxes(1, 2)
    return out.reshape(groups, batch, features, *space)


def _few_positions(xp: Any, windows: Any, w: Any, rank: int, batch_last: bool) -> Any:
    """Large kernels on small results, as in the gradient of the kernels: the sum is long, and so is cut in chunks."""
    groups, batch, channels = windows.shape[:3]
    space, kernel = windows.shape[3 : 3 + rank], windows.shape[3 + rank :]
    features, positions, taps = w.shape[1], prod(space), prod(kernel)
    p, k = range(3, 3 + rank), range(3 + rank, 3 + 2 * rank)
    left = w.reshape(groups, features, channels, taps)
    total: Any = None
    for part in _chunks(channels, groups * batch * positions * taps * w.itemsize):
        seen, factor = windows[:, :, part], left[:, :, part].reshape(groups, features, -1)
        inner = factor.shape[2]
        if batch_last:
            # What is a batch here were channels, which came last: so they come last in the result but for the features.
            columns = seen.transpose(0, 2, *k, *p, 1).reshape(groups, inner, positions * batch)
            term = xp.matmul(columns.swapaxes(1, 2), factor.swapaxes(1, 2))
        elif rank and kernel[-1] > space[-1]:
            rows = seen.transpose(0, 1, *p, 2, *k).reshape(groups, batch * positions, inner)
            term = xp.matmul(factor, rows.swapaxes(1, 2))
        else:
            term = xp.matmul(factor, seen.transpose(0, 2, *k, 1, *p).reshape(groups, inner, batch * positions))
        total = term if total is None else xp.add(total, term, out=total)
    if batch_last:
        return total.reshape(groups, *space, batch, features).transpose(0, 1 + rank, 2 + rank, *range(1, 1 + rank))
    return total.reshape(groups, features, batch, *space).swapaxes(1, 2)


def _chunks(count: int, bytes_each: int) -> list[slice]:
    size = max(PATCH_BYTES // max(bytes_each, 1), 1)
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def _tap_by_tap(xp: Any, x: Any, w: Any, space: Ints, strides: Ints, dilation: Ints) -> Any:
    """One channel a group: a sum over the kernel's elements of products of whole images."""
    rank = len(space)
    total: Any = None
    for tap in product(*map(range, w.shape[3:])):
        part = x[(..., *seen(tap, space, strides, dilation))]
        term = xp.multiply(part, w[(slice(None), None, slice(None), 0, *tap)][(..., *(None,) * rank)])
        total = term if total is None else xp.add(total, term, out=total)
    return total


def seen(tap: Ints, space: Ints, strides: Ints, dilation: Ints) -> list[slice]:
    """What one element of the kernel meets at all positions."""
    starts = [t * d for t, d in zip(tap, dilation, strict=True)]
    return [slice(at, at + (n - 1) * s + 1, s) for at, n, s in zip(starts, space, strides, strict=True)]


def _scatter(xp: Any, x: Any, w: Any, space: Ints, padding: Pads, lhs_dilation: Ints, rhs_dilation: Ints) -> Any:
    """Each element of the images is sent where it goes, so that zeros between them are never multiplied."""
    groups, batch, channels = x.shape[:3]
    features, image, kernel = w.shape[1], x.shape[3:], w.shape[3:]
    rank = len(space)
    full = tuple(
        dilated(n, ld) + dilated(k, rd) - 1
        for n, k, ld, rd in zip(image, kernel, lhs_dilation, rhs_dilation, strict=True)
    )
    k = range(3, 3 + rank)
    last = features >= FEW_FEATURES and channels > 1 and abs(x.strides[2]) < _finest(x, k)
    # ``spread`` is every product, ``(group, batch, *kernel, out channel, *space)``; channels come last where they did.
    if last:
        rows = x.transpose(0, 1, *k, 2).reshape(groups, -1, channels)
        spread = xp.matmul(rows, w.transpose(0, 2, *k, 1).reshape(groups, channels, -1))
        spread = spread.reshape(groups, batch, *image, *kernel, features)
        spread = spread.transpose(0, 1, *range(2 + rank, 3 + 2 * rank), *range(2, 2 + rank))
        out = xp.zeros((groups, batch, *full, features), x.dtype).transpose(0, 1, 2 + rank, *range(2, 2 + rank))
    else:
        taps = w.transpose(0, *k, 1, 2).reshape(groups, 1, -1, channels)
        spread = xp.matmul(taps, x.reshape(groups, batch, channels, -1))
        spread = spread.reshape(groups, batch, *kernel, features, *image)
        out = xp.zeros((groups, batch, features, *full), x.dtype)
    for tap in product(*map(range, kernel)):
        mirrored = tuple(n - 1 - t for n, t in zip(kernel, tap, strict=True))
        to = out[(..., *seen(mirrored, image, lhs_dilation, rhs_dilation))]
        xp.add(to, spread[(slice(None), slice(None), *tap)], out=to)
    pads = []
    for taps_there, rd, (lo, _), extent, n in zip(kernel, rhs_dilation, padding, full, space, strict=True):
        low = lo - (dilated(taps_there, rd) - 1)
        pads.append((low, n - extent - low))
    return framed(xp, out, tuple(pads), (1,) * rank)
