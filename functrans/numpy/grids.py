"""Objects that are indexed: ``r_`` and ``c_`` join, ``mgrid`` and ``ogrid`` make coordinates."""

from __future__ import annotations

from typing import Any

import numpy as np

from functrans import errors, lax
from functrans.core.structural import convert
from functrans.core.trace import aval_of, current_trace
from functrans.numpy.creation import arange, array, constant, linspace
from functrans.numpy.dispatch import operand
from functrans.numpy.joining import concatenate
from functrans.numpy.manipulation import swapaxes
from functrans.numpy.misc import result_type

index_exp, s_ = np.index_exp, np.s_


class _Joiner:
    """``r_`` or ``c_``: NumPy's own without a transformation, traced under one."""

    def __init__(self, original: Any, axis: int, ndmin: int, lead: int) -> None:
        self._original = original
        self._defaults = axis, ndmin, lead

    def __getitem__(self, key: Any) -> Any:
        if current_trace() is None:
            return self._original[key]
        items = list(key) if isinstance(key, tuple) else [key]
        axis, ndmin, lead = self._defaults
        if items and isinstance(items[0], str):
            axis, ndmin, lead = self._directive(items.pop(0))
        parts = [_piece(item, ndmin, lead) for item in items]
        if not parts:
            raise errors.ShapeError("r_: there is nothing to be joined")
        scalars = [
            i for i, item in enumerate(items) if not isinstance(item, slice) and aval_of(operand(item)).ndim == 0
        ]
        target = result_type(*(items[i] if i in scalars else p.dtype for i, p in enumerate(parts)))
        return concatenate([convert(p, target) for p in parts], axis)

    def _directive(self, text: str) -> tuple[int, int, int]:
        """``"axis"``, ``"axis,ndmin"`` or ``"axis,ndmin,lead"``."""
        axis, ndmin, lead = self._defaults
        try:
            given = [int(part) for part in text.split(",")]
        except ValueError:
            given = []
        if not 1 <= len(given) <= 3:
            raise errors.ArgumentError(
                f"r_: the directive {text!r} is not one to three integers; matrices are not traced"
            )
        return (*given, *(axis, ndmin, lead)[len(given) :])  # type: ignore[return-value]

    def __len__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return "functrans.numpy.r_" if self._defaults[1] == 1 else "functrans.numpy.c_"


def _piece(item: Any, ndmin: int, lead: int) -> Any:
    """One entry as an array with ``ndmin`` axes or more; ``lead`` says where its own ones come among the new ones."""
    if isinstance(item, slice):
        start, step = 0 if item.start is None else item.start, 1 if item.step is None else item.step
        if isinstance(step, complex):
            out = linspace(start, item.stop, int(abs(step)))
        else:
            out = arange(start, item.stop, step)
        out = array(out, ndmin=ndmin)
        return swapaxes(out, -1, lead) if ndmin > 1 and lead != -1 else out
    if isinstance(item, str):
        raise errors.ArgumentError(f"r_: the directive {item!r} must come first")
    x = operand(item, "r_")
    ndim = aval_of(x).ndim
    out = array(x, ndmin=ndmin)
    if lead == -1 or ndim == 0 or ndim >= ndmin:
        return out
    new = ndmin - ndim
    front = lead if lead >= 0 else lead + new + 1
    order = list(range(ndmin))
    return lax.transpose(out, order[:front] + order[new:] + order[front:new])


r_ = _Joiner(np.r_, 0, 1, -1)
"""Arrays, numbers and ranges joined along an axis; see ``numpy.r_``."""

c_ = _Joiner(np.c_, -1, 2, 0)
"""Arrays joined along the last axis, vectors as columns; see ``numpy.c_``."""


class _Grid:
    """``mgrid`` or ``ogrid``: its bounds are static."""

    def __init__(self, original: Any) -> None:
        self._original = original

    def __getitem__(self, key: Any) -> Any:
        grid = self._original[key]
        return tuple(map(constant, grid)) if isinstance(grid, tuple) else constant(grid)

    def __repr__(self) -> str:
        return "functrans.numpy.ogrid" if self._original.sparse else "functrans.numpy.mgrid"


mgrid = _Grid(np.mgrid)
"""The coordinates of a grid, one array for each axis; see ``numpy.mgrid``."""

ogrid = _Grid(np.ogrid)
"""The coordinates of a grid as arrays that broadcast; see ``numpy.ogrid``."""
