"""Indices of buffers: what stands between the brackets, with the contents of what is known in it."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from functrans import errors
from functrans.core.trace import Reference, Tracer


def is_basic(idx: Any) -> bool:
    """Whether an index has integers, slices, None and Ellipsis alone."""
    for e in idx if type(idx) is tuple else (idx,):
        kind = type(e)
        if not (kind is int or kind is slice or e is None or e is Ellipsis or isinstance(e, np.integer)):
            return False
    return True


def plain_index(idx: Any) -> tuple[Any, bool]:
    """An index with what buffers and known traced values in it hold; and whether all of it is known."""
    if type(idx) is int:
        return idx, True
    if type(idx) is not tuple:
        return _plain_entry(idx)
    entries = [_plain_entry(e) for e in idx]
    return tuple([e for e, _ in entries]), all([static for _, static in entries])


def _plain_entry(e: Any) -> tuple[Any, bool]:
    kind = type(e)
    if kind is int or e is None or e is Ellipsis:
        return e, True
    if kind is slice:
        return _plain_slice(e)
    if kind is list:
        found = [_plain_entry(part) for part in e]
        return [part for part, _ in found], all([static for _, static in found])
    if isinstance(e, Reference):
        e = e.read()
    if isinstance(e, Tracer):
        known = e._trace.concrete(e) if e.aval.dtype.kind in "biu" else None
        if known is None:
            return e, False
        e = known
    if isinstance(e, np.ndarray) and e.ndim == 0:
        return e[()], True
    return e, True


def _plain_slice(s: slice) -> tuple[Any, bool]:
    parts = [b.read() if isinstance(b, Reference) else b for b in (s.start, s.stop, s.step)]
    try:
        return slice(*[b if b is None else operator.index(b) for b in parts]), True
    except (errors.ConcretizationError, TypeError):
        # Whoever takes the index apart says what is wrong with it.
        return slice(*parts), False


def unknown_mask(idx: Any) -> Any:
    """The index where it is a mask whose contents are not known, else None."""
    if type(idx) is tuple and len(idx) == 1:
        (idx,) = idx
    return idx if isinstance(idx, Tracer) and idx.aval.dtype.kind == "b" else None
