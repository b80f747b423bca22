"""Threefry-2x32: a keyed bijection of pairs of 32-bit words, whose results are as good as random.

A generator without state: equal keys and counters give equal words, in any order, on any machine.

The algorithm and its constants are those of J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw: "Parallel random
numbers: as easy as 1, 2, 3", SC 2011, with 20 rounds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans.core.avals import ShapedArray, shaped
from functrans.core.primitive import BatchAxis, Primitive, Sample, Trait
from functrans.core.structural import align_batched, broadcast_shapes
from functrans.core.trace import aval_of
from functrans.lax.arithmetic import add
from functrans.lax.compare import bitwise_or, bitwise_xor, shift_left, shift_right_logical
from functrans.lax.families import no_tangent

UINT32 = np.dtype(np.uint32)
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA
_GROUPS = 5
_MASK = 0xFFFFFFFF
_BLOCK = 1 << 14
"""How many pairs are taken through all rounds at a time: three arrays of them stay in the cache of a core."""
_FEW = 4


def check_words(name: str, avals: Sequence[ShapedArray]) -> None:
    """Reject operands that are no words of 32 bits."""
    for label, a in zip(("key1", "key2", "count1", "count2"), avals, strict=False):
        if a.dtype != UINT32:
            raise errors.DTypeError(
                f"{name}: {label} has type {a}, and words of 32 bits are needed. Convert it: x.astype(numpy.uint32)"
            )


def _shape(*avals: ShapedArray) -> list[ShapedArray]:
    check_words("threefry2x32", avals)
    shape = broadcast_shapes("threefry2x32", *(a.shape for a in avals))
    return [shaped(shape, UINT32, "numpy")] * 2


def _of_numbers(key1: int, key2: int, x: int, y: int) -> tuple[int, int]:
    """One pair, in Python's integers: faster than arrays of a few elements."""
    keys = (key1, key2, key1 ^ key2 ^ _PARITY)
    x, y = (x + key1) & _MASK, (y + key2) & _MASK
    for group in range(_GROUPS):
        for r in _ROTATIONS[group % 2]:
            x = (x + y) & _MASK
            y = ((y << r | y >> (32 - r)) & _MASK) ^ x
        x = (x + keys[(group + 1) % 3]) & _MASK
        y = (y + keys[(group + 2) % 3] + group + 1) & _MASK
    return x, y


def _rounds(xp: Any, keys: Sequence[Any], x: Any, y: Any, scratch: Any) -> None:
    """All rounds on ``x`` and ``y``, in place."""
    add, left, right = xp.add, xp.left_shift, xp.right_shift
    either, xor = xp.bitwise_or, xp.bitwise_xor
    add(x, keys[0], out=x)
    add(y, keys[1], out=y)
    for group in range(_GROUPS):
        for r in _ROTATIONS[group % 2]:
            add(x, y, out=x)
            left(y, r, out=scratch)
            right(y, 32 - r, out=y)
            either(y, scratch, out=y)
            xor(y, x, out=y)
        add(x, keys[(group + 1) % 3], out=x)
        add(y, keys[(group + 2) % 3], out=y)
        add(y, group + 1, out=y)


def pairs(xp: Any, key1: Any, key2: Any, x: Any, y: Any) -> list[Any]:
    """The function, of arrays."""
    operands = (key1, key2, x, y)
    if xp is np and all([a.ndim == 0 for a in operands]):
        return [np.uint32(word) for word in _of_numbers(*map(int, operands))]
    shape = np.broadcast_shapes(*[a.shape for a in operands])
    out = [xp.empty(shape, UINT32), xp.empty(shape, UINT32)]
    size = math.prod(shape)
    if size == 0:
        return out
    if xp is np and size <= _FEW:
        for index, *numbers in zip(np.ndindex(shape), *[np.broadcast_to(a, shape).flat for a in operands], strict=True):
            out[0][index], out[1][index] = _of_numbers(*map(int, numbers))
        return out
    out[0][...], out[1][...] = x, y
    if xp is not np or size <= _BLOCK:
        third = key1 ^ key2 ^ UINT32.type(_PARITY)
        _rounds(xp, (key1, key2, third), out[0], out[1], xp.empty(shape, UINT32))
        return out
    # The key of every pair, without repeating it in memory.
    wide = [np.broadcast_to(k, shape) if k.ndim else k for k in (key1, key2)]
    _by_blocks(wide, out[0], out[1], np.empty(_BLOCK, UINT32))
    return out


def _by_blocks(keys: Sequence[Any], x: Any, y: Any, scratch: Any) -> None:
    if x.ndim > 1 and keys[0].ndim == 0 and keys[1].ndim == 0:
        x, y = x.reshape(-1), y.reshape(-1)
    if x.size <= _BLOCK:
        third = keys[0] ^ keys[1] ^ UINT32.type(_PARITY)
        _rounds(np, (*keys, third), x, y, scratch[: x.size].reshape(x.shape))
        return
    inner = x.size // x.shape[0]
    if inner > _BLOCK:
        for i in range(x.shape[0]):
            _by_blocks([k[i] if k.ndim else k for k in keys], x[i], y[i], scratch)
        return
    rows = _BLOCK // inner
    for start in range(0, x.shape[0], rows):
        part = slice(start, start + rows)
        _by_blocks([k[part] if k.ndim else k for k in keys], x[part], y[part], scratch)


def _decompose(key1: Any, key2: Any, x: Any, y: Any) -> list[Any]:
    keys = (key1, key2, bitwise_xor(bitwise_xor(key1, key2), _PARITY))
    x, y = add(x, key1), add(y, key2)
    for group in range(_GROUPS):
        for r in _ROTATIONS[group % 2]:
            x = add(x, y)
            y = bitwise_xor(bitwise_or(shift_left(y, r), shift_right_logical(y, 32 - r)), x)
        x = add(x, keys[(group + 1) % 3])
        y = add(add(y, keys[(group + 2) % 3]), group + 1)
    return [x, y]


def _batch(axis: BatchAxis, args: Sequence[Any], dims: Sequence[int | None]) -> Any:
    return threefry2x32_p.bind(*align_batched(axis, args, dims)), [0, 0]


def _samples() -> list[Sample]:
    words = np.array([0, 1, 0x13198A2E, 0xFFFFFFFF, 0x243F6A88, 7], np.uint32)
    grid = words.reshape(2, 3)
    return [
        Sample((words[2], words[3], words, words[::-1])),
        Sample((grid[:, :1], grid[:, 1:2], words[1], words[:4])),
        Sample((words[0], words[1], words[2], words[3])),
        Sample((np.array(words[0]), words[1], grid[:, :0], words[0])),
    ]


threefry2x32_p: Primitive = Primitive(
    "threefry2x32",
    shape=_shape,
    impl=pairs,
    decompose=_decompose,
    jvp=no_tangent(lambda: threefry2x32_p),
    batch=_batch,
    multiple=True,
    samples=_samples,
    traits=frozenset({Trait.ELEMENTWISE, Trait.COSTLY}),
)


def threefry2x32(key1: Any, key2: Any, count1: Any, count2: Any) -> tuple[Any, Any]:
    """Threefry-2x32 with 20 rounds: two random words for each key and counter.

    Args:
        key1, key2: the key, two arrays of uint32.
        count1, count2: the counter, two arrays of uint32. All four broadcast.

    Returns:
        Two arrays of uint32. For one key, distinct counters give distinct pairs.

    Raises:
        DTypeError: an operand is not of dtype uint32.
        ShapeError: the operands do not broadcast.

    >>> a, b = threefry2x32(*map(np.uint32, (0x13198A2E, 0x03707344, 0x243F6A88, 0x85A308D3)))
    >>> hex(a), hex(b)
    ('0xc4923a9c', '0x483df7a0')
    """
    words = (key1, key2, count1, count2)
    _shape(*map(aval_of, words))
    first, second = threefry2x32_p.bind(*words)
    return first, second


__all__ = ["UINT32", "check_words", "pairs", "threefry2x32", "threefry2x32_p"]
