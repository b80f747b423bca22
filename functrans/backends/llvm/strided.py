"""Operands that are not C-contiguous, read where they lie: by variants of a program, compiled for their strides.

A variant is compiled when the same strides have come several times, and only for arrays that take longer to copy than
a check of their strides does. Whatever is not aligned or of foreign byte order is copied, and so is what other steps
than kernels read.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from math import prod
from typing import Any

import numpy as np

from functrans.config import config

LARGE = 1 << 14
"""Bytes below which an array is copied: that takes a microsecond."""
SEEN = 2
"""Calls with the same strides before there is a variant for them."""
MOST = 8
"""Variants of one program."""

Strides = tuple[int, ...]
Key = tuple[Strides | None, ...]
Run = Callable[..., Any]


def in_place(array: Any) -> bool:
    """Whether native code reads an array as C-contiguous where it lies."""
    return bool(array.flags.c_contiguous and array.flags.aligned and array.dtype.isnative)


def copied(array: Any) -> Any:
    """An array as native code reads it: a copy, if need be."""
    return array if in_place(array) else np.array(array, array.dtype.newbyteorder("="), order="C")


def is_large(value: Any) -> bool:
    """Whether an array, or one of a type, is worth a variant."""
    return bool(prod(value.shape) * value.dtype.itemsize >= LARGE)


def strides_of(array: Any) -> Strides | None:
    """The strides in elements of a large array that is aligned, but not C-contiguous; None for others."""
    if array.flags.c_contiguous or not is_large(array):
        return None
    if not array.flags.aligned or not array.dtype.isnative or any(s % array.itemsize for s in array.strides):
        return None
    return tuple([s // array.itemsize for s in array.strides])


class Unsuitable(Exception):
    """Strides for which there is no variant."""


class Variants:
    """The variants of a program, by the strides of its operands.

    Args:
        readable: the operands that kernels alone read, by number.
        compiled: makes the function for the strides of some operands, None for those that are C-contiguous.
    """

    def __init__(self, readable: Collection[int], compiled: Callable[[Key], Run]) -> None:
        self.readable = frozenset(readable)
        self.compiled = compiled
        self.seen: dict[Key, int] = {}
        self.made: dict[Key, Run] = {}

    def find(self, arrays: Sequence[Any]) -> tuple[Run | None, list[Any]]:
        """The variant for some operands, and the operands that it is called with; None for the program itself."""
        key = tuple([strides_of(a) if k in self.readable else None for k, a in enumerate(arrays)])
        run = self._variant(key)
        if run is None:
            return None, [copied(a) for a in arrays]
        return run, [copied(a) if s is None else a for a, s in zip(arrays, key, strict=True)]

    def _variant(self, key: Key) -> Run | None:
        found = self.made.get(key)
        if found is not None or not any(key) or config.native_checks:
            return found
        if len(self.made) >= MOST or (key not in self.seen and len(self.seen) >= 64 * MOST):
            return None
        count = self.seen[key] = self.seen.get(key, 0) + 1
        if count <= SEEN:
            return None
        try:
            found = self.made[key] = self.compiled(key)
        except Unsuitable:
            self.seen[key] = -(1 << 62)
        return found
