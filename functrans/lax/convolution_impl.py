"""How convolutions are computed with an array module: patches are gathered, then multiplied by BLAS."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

import numpy as np

Ints = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]

PATCH_BYTES = 1 << 22
"""About how much memory the patches of one chunk of the batch take: so little that they stay in the cache."""
FOLD_BELOW = 32
"""With fewer positions than this in a result, images are multiplied together rather than one by one."""


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
    if any(d > 1 for d in lhs_dilation) and all(s == 1 for s in strides):
        return _scatter(xp, x, w, space, padding, lhs_dilation, rhs_dilation)
    x = _framed(xp, x, padding, lhs_dilation)
    if groups > 1 and channels == 1:
        return _tap_by_tap(xp, x, w, space, strides, rhs_dilation)
    return _by_patches(xp, _windows(xp, x, w.shape[3:], space, strides, rhs_dilation), w)


def _framed(xp: Any, x: Any, padding: Pads, dilation: Ints) -> Any:
    """Images with zeros around and between their elements; negative padding cuts off."""
    if all(pad == (0, 0) for pad in padding) and all(d == 1 for d in dilation):
        return x
    source, target, shape = [], [], []
    for n, (lo, hi), d in zip(x.shape[3:], padding, dilation, strict=True):
        extent = dilated(n, d) + lo + hi
        first = -(min(lo, 0) // d)
        at = lo + first * d
        count = max(min(n - first, (extent - 1 - at) // d + 1), 0)
        source.append(slice(first, first + count))
        target.append(slice(at, at + (count - 1) * d + 1, d) if count else slice(0, 0))
        shape.append(extent)
    if all(lo <= 0 and hi <= 0 for lo, hi in padding) and all(d == 1 for d in dilation):
        return x[(..., *source)]
    out = _zeros_like_layout(xp, x, (*x.shape[:3], *shape))
    out[(..., *target)] = x[(..., *source)]
    return out


def _zeros_like_layout(xp: Any, x: Any, shape: Ints) -> Any:
    """Zeros whose axes lie in memory in the order in which those of ``x`` do."""
    order = sorted(range(x.ndim), key=lambda a: (-abs(x.strides[a]), a))
    out = xp.zeros(tuple(shape[a] for a in order), x.dtype)
    return out.transpose([order.index(a) for a in range(x.ndim)])


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
    """One matrix product a group, or one an image."""
    rank = w.ndim - 3
    groups, batch, channels = windows.shape[:3]
    space, kernel = windows.shape[3 : 3 + rank], windows.shape[3 + rank :]
    features, positions, inner = w.shape[1], prod(space), channels * prod(kernel)
    p, k = tuple(range(3, 3 + rank)), tuple(range(3 + rank, 3 + 2 * rank))
    spatial = min((abs(windows.strides[a]) for a in k if windows.shape[a] > 1), default=0) or min(
        (abs(windows.strides[a]) for a in p if windows.shape[a] > 1), default=0
    )
    if channels > 1 and abs(windows.strides[2]) < spatial:
        # Channels last: rows of patches, with channels innermost in both.
        right = w.transpose(0, *range(3, 3 + rank), 2, 1).reshape(groups, 1, inner, features)
        view = windows.transpose(0, 1, *p, *k, 2)
        out = xp.empty((groups, batch, positions, features), w.dtype)
        for part in _chunks(batch, groups * positions * inner * w.itemsize):
            rows = view[:, part].reshape(groups, -1, positions, inner)
            if groups == 1:
                xp.matmul(rows.reshape(-1, inner), right[0, 0], out=out[0, part].reshape(-1, features))
            else:
                xp.matmul(rows, right, out=out[:, part])
        return out.reshape(groups, batch, *space, features).transpose(0, 1, 2 + rank, *range(2, 2 + rank))
    left = w.reshape(groups, features, inner)
    if positions >= FOLD_BELOW:
        view = windows.transpose(0, 1, 2, *k, *p)
        out = xp.empty((groups, batch, features, positions), w.dtype)
        for part in _chunks(batch, groups * positions * inner * w.itemsize):
            xp.matmul(left[:, None], view[:, part].reshape(groups, -1, inner, positions), out=out[:, part])
        return out.reshape(groups, batch, features, *space)
    if batch > 1 and abs(windows.strides[1]) < spatial:
        # The gradient of kernels of images with channels last: what is a batch here were channels there.
        patches = windows.transpose(0, 2, *k, *p, 1).reshape(groups, inner, positions * batch)
        out = xp.matmul(patches.swapaxes(1, 2), left.swapaxes(1, 2))
        return out.reshape(groups, *space, batch, features).transpose(0, 1 + rank, 2 + rank, *range(1, 1 + rank))
    if rank and kernel[-1] > space[-1]:
        patches = windows.transpose(0, 1, *p, 2, *k).reshape(groups, batch * positions, inner).swapaxes(1, 2)
    else:
        patches = windows.transpose(0, 2, *k, 1, *p).reshape(groups, inner, batch * positions)
    return xp.matmul(left, patches).reshape(groups, features, batch, *space).swapaxes(1, 2)


def _chunks(batch: int, bytes_each: int) -> list[slice]:
    size = max(PATCH_BYTES // max(bytes_each, 1), 1)
    return [slice(start, min(start + size, batch)) for start in range(0, batch, size)]


def _tap_by_tap(xp: Any, x: Any, w: Any, space: Ints, strides: Ints, dilation: Ints) -> Any:
    """One channel a group: a sum over the kernel's elements of products of whole images."""
    rank = len(space)
    total: Any = None
    for tap in product(*map(range, w.shape[3:])):
        part = x[(..., *_seen(tap, space, strides, dilation))]
        term = xp.multiply(part, w[(slice(None), None, slice(None), 0, *tap)][(..., *(None,) * rank)])
        total = term if total is None else xp.add(total, term, out=total)
    return total


def _seen(tap: Ints, space: Ints, strides: Ints, dilation: Ints) -> list[slice]:
    """What one element of the kernel meets at all positions."""
    starts = [t * d for t, d in zip(tap, dilation, strict=True)]
    return [slice(at, at + (n - 1) * s + 1, s) for at, n, s in zip(starts, space, strides, strict=True)]


def _scatter(xp: Any, x: Any, w: Any, space: Ints, padding: Pads, lhs_dilation: Ints, rhs_dilation: Ints) -> Any:
    """Images with zeros between their elements: each element is sent where it goes, and no zero is multiplied."""
    groups, batch, channels = x.shape[:3]
    features, image, kernel = w.shape[1], x.shape[3:], w.shape[3:]
    rank = len(space)
    full = tuple(
        dilated(n, ld) + dilated(k, rd) - 1
        for n, k, ld, rd in zip(image, kernel, lhs_dilation, rhs_dilation, strict=True)
    )
    k = range(3, 3 + rank)
    last = channels > 1 and abs(x.strides[2]) < min((abs(x.strides[a]) for a in k if x.shape[a] > 1), default=0)
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
        to = out[(..., *_seen(mirrored, image, lhs_dilation, rhs_dilation))]
        xp.add(to, spread[(slice(None), slice(None), *tap)], out=to)
    pads = []
    for taps_there, rd, (lo, _), extent, n in zip(kernel, rhs_dilation, padding, full, space, strict=True):
        low = lo - (dilated(taps_there, rd) - 1)
        pads.append((low, n - extent - low))
    return _framed(xp, out, tuple(pads), (1,) * rank)
