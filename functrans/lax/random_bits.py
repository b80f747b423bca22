"""Random bits, and random floats in [0, 1), as arrays of a given shape for each key.

Both are Threefry-2x32 of the numbers of the elements. They are primitives because an array of them is filled block by
block, in the cache; ``decompose`` says what they are made of.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans.core import dtypes
from functrans.core.avals import ShapedArray, shaped
from functrans.core.dtypes import DType
from functrans.core.primitive import BatchAxis, Primitive, Sample, Trait
from functrans.core.structural import align_batched, broadcast, broadcast_shapes, convert
from functrans.core.trace import aval_of
from functrans.lax.arithmetic import sub
from functrans.lax.casting import bitcast_convert_type
from functrans.lax.compare import bitwise_or, bitwise_xor, shift_left, shift_right_logical
from functrans.lax.creation import iota
from functrans.lax.families import no_tangent
from functrans.lax.movement import reshape
from functrans.lax.threefry import UINT32, check_words, pairs, threefry2x32

_BLOCK = 1 << 14
UNSIGNED = {width: np.dtype(f"u{width // 8}") for width in (8, 16, 32, 64)}
Words = tuple[Any, Any]
Finish = Callable[[Any, Any], Any]


def counters(shape: tuple[Any, ...]) -> Words:
    """The numbers of the elements of an array, as the high and the low words of 64-bit integers."""
    size = math.prod(shape)
    if not shape:
        return np.uint32(0), np.uint32(0)
    if size <= 1 << 32:
        return np.uint32(0), reshape(iota(UINT32, (size,)), shape)
    number = reshape(iota(np.uint64, (size,)), shape)
    return convert(shift_right_logical(number, np.uint64(32)), UINT32), convert(number, UINT32)


def _counted(start: int, stop: int) -> Words:
    """``counters`` of a run of elements, in NumPy."""
    low = np.arange(start & 0xFFFFFFFF, (start & 0xFFFFFFFF) + stop - start, dtype=np.uint64)
    return ((low >> np.uint64(32)) + np.uint64(start >> 32)).astype(UINT32), low.astype(UINT32)


# -- how the two words of an element become its value ---------------------------------------------------------------


def _to_bits(first: Any, second: Any, width: int) -> Any:
    if width == 64:
        wide = first.astype(np.uint64)
        wide <<= np.uint64(32)
        wide |= second
        return wide
    first ^= second
    return first if width == 32 else first.astype(UNSIGNED[width])


def _mantissa(dtype: DType) -> tuple[int, int]:
    """How many random bits a float takes, and how many of them its mantissa holds."""
    mantissa = dtypes.finfo(dtype).nmant
    return (dtype.itemsize * 8 if mantissa >= 8 else 8), mantissa


def _to_units(first: Any, second: Any, dtype: DType) -> Any:
    width, mantissa = _mantissa(dtype)
    unsigned = UNSIGNED[dtype.itemsize * 8]
    bits = _to_bits(first, second, width)
    bits = bits if bits.dtype == unsigned else bits.astype(unsigned)
    bits >>= unsigned.type(width - mantissa)
    bits |= np.array(1, dtype).view(unsigned)[()]
    return bits.view(dtype) - dtype.type(1)


def _decomposed_bits(words: Words, width: int) -> Any:
    first, second = words
    if width == 64:
        wide = UNSIGNED[64]
        return bitwise_or(shift_left(convert(first, wide), 32), convert(second, wide))
    return convert(bitwise_xor(first, second), UNSIGNED[width])


def _decomposed_units(words: Words, dtype: DType) -> Any:
    width, mantissa = _mantissa(dtype)
    unsigned = UNSIGNED[dtype.itemsize * 8]
    bits = shift_right_logical(convert(_decomposed_bits(words, width), unsigned), width - mantissa)
    one = np.array(1, dtype).view(unsigned)[()]
    return sub(bitcast_convert_type(bitwise_or(bits, one), dtype), dtype.type(1))


# -- the primitives -------------------------------------------------------------------------------------------------


def _fill(xp: Any, key1: Any, key2: Any, shape: tuple[int, ...], dtype: DType, finish: Finish) -> Any:
    size = math.prod(shape)
    if xp is np and not shape:
        first, second = pairs(xp, key1, key2, UINT32.type(0), UINT32.type(0))
        return finish(np.array(first), np.array(second))[()]
    keys = np.broadcast_shapes(key1.shape, key2.shape)
    if xp is np and keys == () and size > _BLOCK:
        out = np.empty(size, dtype)
        for start in range(0, size, _BLOCK):
            stop = min(start + _BLOCK, size)
            out[start:stop] = finish(*pairs(np, key1, key2, *_counted(start, stop)))
        return out.reshape(shape)
    if xp is np and size > _BLOCK:
        first, second = np.broadcast_arrays(key1, key2)
        rows = [_fill(np, k1, k2, shape, dtype, finish) for k1, k2 in zip(first.flat, second.flat, strict=True)]
        return np.array(rows, dtype).reshape(keys + shape)
    high, low = _counted(0, size) if xp is np else (xp.zeros(size, UINT32), xp.arange(size, dtype=UINT32))
    first, second = pairs(xp, key1[..., None], key2[..., None], high, low)
    return finish(first, second).reshape(keys + shape)


def _for_each_key(
    name: str, param: str, dtype_of: Callable[[Any], DType], numeric: Any, decomposed: Any, values: Sequence[Any]
) -> Primitive:
    """A primitive of the words of keys, with an array of ``shape`` for each key behind the axes of the keys."""

    def infer(key1: ShapedArray, key2: ShapedArray, *, shape: tuple[Any, ...], **params: Any) -> ShapedArray:
        check_words(name, (key1, key2))
        return shaped(broadcast_shapes(name, key1.shape, key2.shape) + shape, dtype_of(params[param]), "numpy")

    def impl(xp: Any, key1: Any, key2: Any, *, shape: tuple[int, ...], **params: Any) -> Any:
        value = params[param]
        return _fill(xp, key1, key2, shape, dtype_of(value), lambda a, b: numeric(a, b, value))

    def decompose(key1: Any, key2: Any, *, shape: tuple[Any, ...], **params: Any) -> Any:
        keys = broadcast_shapes(name, aval_of(key1).shape, aval_of(key2).shape)
        if keys and shape:
            spread = keys + (1,) * len(shape)
            key1, key2 = [reshape(broadcast(k, keys, _last(k, keys)), spread) for k in (key1, key2)]
        return decomposed(threefry2x32(key1, key2, *counters(shape)), params[param])

    def batch(axis: BatchAxis, args: Sequence[Any], dims: Sequence[int | None], **params: Any) -> Any:
        return prim.bind(*align_batched(axis, args, dims), **params), 0

    def samples() -> list[Sample]:
        words = np.array([1, 0xFFFFFFFF, 7], np.uint32)
        return [
            Sample((words[0], words[1]), {"shape": (2, 3), param: values[0]}),
            Sample((words[0], words[1]), {"shape": (), param: values[1]}),
            Sample((words, words[::-1]), {"shape": (2,), param: values[2]}),
            Sample((words[:, None], words[1]), {"shape": (), param: values[0]}),
            Sample((np.array(words[0]), words[1]), {"shape": (0, 2), param: values[3]}),
        ]

    prim = Primitive(
        name,
        shape=infer,
        impl=impl,
        decompose=decompose,
        jvp=no_tangent(lambda: prim),
        batch=batch,
        samples=samples,
        traits=frozenset({Trait.COSTLY}),
    )
    return prim


def _last(x: Any, shape: tuple[Any, ...]) -> range:
    return range(len(shape) - aval_of(x).ndim, len(shape))


random_bits_p: Primitive = _for_each_key(
    "random_bits", "width", UNSIGNED.__getitem__, _to_bits, _decomposed_bits, (64, 32, 8, 16)
)
random_unit_p: Primitive = _for_each_key(
    "random_unit",
    "dtype",
    lambda dtype: dtype,
    _to_units,
    _decomposed_units,
    [np.dtype(t) for t in (np.float64, np.float32, np.float16, np.float64)],
)


def random_bits(words: Words, width: int, shape: tuple[Any, ...]) -> Any:
    """Unsigned integers of 8, 16, 32 or 64 random bits."""
    return random_bits_p.bind(*words, shape=shape, width=width)


def random_unit(words: Words, shape: tuple[Any, ...], dtype: DType) -> Any:
    """Floats in [0, 1): as many different ones, equally spaced, as there are floats in [1, 2)."""
    return random_unit_p.bind(*words, shape=shape, dtype=dtype)
