"""Small operations on sequences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")


def partition(mask: Iterable[bool], items: Iterable[T]) -> tuple[list[T], list[T]]:
    """The items whose mask is False, then those whose mask is True."""
    no: list[T] = []
    yes: list[T] = []
    for flag, item in zip(mask, items, strict=True):
        (yes if flag else no).append(item)
    return no, yes


def merge(mask: Sequence[bool], no: Iterable[T], yes: Iterable[T]) -> list[T]:
    """The inverse of ``partition``."""
    a, b = iter(no), iter(yes)
    return [next(b) if flag else next(a) for flag in mask]


def split(items: Sequence[T], sizes: Iterable[int]) -> list[list[T]]:
    """Consecutive runs of the given sizes; what is left over is the last run."""
    out: list[list[T]] = []
    start = 0
    for size in sizes:
        out.append(list(items[start : start + size]))
        start += size
    out.append(list(items[start:]))
    return out
