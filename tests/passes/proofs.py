"""Programs on which the rows of the algebra fire, and values that tell whether they keep every bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from functrans import errors
from functrans.core.avals import shaped
from functrans.core.check import check
from functrans.core.jaxpr import Jaxpr
from functrans.core.primitive import find
from functrans.core.stage import stage
from functrans.passes.algebra import Algebra
from functrans.passes.table import Entry

DTYPES = [np.dtype(t) for t in "? i1 u1 i2 u2 i4 u4 i8 u8 f2 f4 f8 c8 c16".split()]
SHAPES = [(), (16, 16), (3, 5), (16,), (0, 3), (3, 0), (0,), (1, 16)]


class Primitives:
    """``p.name(x, ...)`` applies the primitive of that name."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return partial(find(name).bind)


def pool(dtype: np.dtype[Any]) -> np.ndarray:
    """Sixteen values of a dtype, the strangest among them."""
    if dtype.kind == "b":
        return np.asarray(np.arange(16) % 3 == 0)
    if dtype.kind in "iu":
        ends = np.iinfo(dtype)
        values = [0, 1, 2, 3, 5, 7, 100, ends.max, ends.max - 1, ends.min, ends.min + 1]
        values += [-1, -2, -3, -7, -100] if dtype.kind == "i" else [11, 13, 17, 64, 128]
        return np.array(values, dtype)
    real = np.finfo(dtype)
    parts = np.array(
        [0.0, -0.0, 1.0, -1.0, 3.3, -2.7, 0.5, 1e-3, np.inf, -np.inf, np.nan, real.tiny, real.max, -real.max, 0.1, 2.5],
        real.dtype,
    )
    parts[14] = np.nextafter(real.dtype.type(0), real.dtype.type(1))  # the least denormal
    if dtype.kind == "f":
        return parts
    out = np.empty(16, dtype)
    out.real, out.imag = parts, np.random.default_rng(3).permutation(parts)
    return out


def operands(dtype: np.dtype[Any], shape: tuple[int, ...]) -> Iterator[tuple[Any, Any]]:
    """Pairs of operands of a type; with ``(16, 16)`` every pair of values comes together."""
    values = pool(dtype)
    if shape == ():
        for k in range(16):
            yield values[k], values[(5 * k + 3) % 16]
        return
    size = int(np.prod(shape))
    x = np.resize(np.repeat(values, 16), size) if size == 256 else np.resize(values[::-1], size)
    y = np.resize(np.tile(values, 16), size) if size == 256 else np.resize(np.roll(values, 5), size)
    yield x.reshape(shape), y.reshape(shape)
    if size == 15:
        yield np.full(shape, values[1]), np.full(shape, values[0])


def fired(entry: Entry, example: Callable[..., Any]) -> Iterator[tuple[Jaxpr, Jaxpr, np.dtype[Any], tuple[int, ...]]]:
    """The program before and after a row, for each type for which it has a meaning and the row fires."""
    algebra = Algebra(reassociate=not entry.exact, only=(entry.name,))
    for dtype in DTYPES:
        for shape in SHAPES:
            aval = shaped(shape, dtype, "array" if shape else "numpy")
            try:
                with np.errstate(all="ignore"):
                    before = stage(lambda x, y: [example(Primitives(), x, y)], [aval, aval], entry.name)
            except (errors.FunctransError, ValueError, IndexError):
                continue  # The example has no meaning for operands of this type.
            after = algebra.run(before)
            if after is not before:
                check(after)
                yield before, after, dtype, shape


def same_bits(a: Any, b: Any) -> bool:
    """Whether two results are equal to the bit, one NaN being as good as another."""
    if type(a) is not type(b) or np.shape(a) != np.shape(b) or np.asarray(a).dtype != np.asarray(b).dtype:
        return False
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype.kind == "c":
        return same_bits(a.real[...], b.real[...]) and same_bits(a.imag[...], b.imag[...])
    if a.dtype.kind != "f":
        return bool(np.array_equal(a, b))
    return bool(
        np.array_equal(a, b, equal_nan=True) and np.array_equal(np.signbit(a) & (a == a), np.signbit(b) & (b == b))
    )
