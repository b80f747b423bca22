"""``interp1d``: interpolation along one axis by a choice of methods."""

from __future__ import annotations

from typing import Any

import numpy as np

from functrans import errors
from functrans import numpy as fnp
from functrans.core.structural import convert
from functrans.core.trace import aval_of
from functrans.lax.sorting import argsort
from functrans.lax.static import normalize_axis
from functrans.numpy.arguments import concrete
from functrans.numpy.dispatch import operand
from functrans.scipy.interpolate.bsplines import BSpline, make_interp_spline
from functrans.scipy.interpolate.common import column, floating, placed, pytree

SPLINES = {"slinear": 1, "quadratic": 2, "cubic": 3, "zero": 0}
STEPS = ("nearest", "nearest-up", "previous", "next")


@pytree(("x", "y", "below", "above", "spline"), ("kind", "axis", "bounds_error", "extrapolate"))
class interp1d:
    """Interpolates values along an axis; see ``scipy.interpolate.interp1d``.

    It is a pytree: places, values and the places that it is called with may be traced, and are differentiated.

    Args:
        x: the places.
        y: the values there.
        kind: ``"linear"``, ``"nearest"``, ``"nearest-up"``, ``"previous"``, ``"next"``, ``"zero"``, ``"slinear"``,
            ``"quadratic"``, ``"cubic"``, or the degree of a spline.
        axis: the axis of ``y`` that goes with ``x``.
        copy: accepted as SciPy does; nothing is written to.
        bounds_error: whether to raise where a place lies outside: by default unless ``fill_value`` is given. Where the
            places are not known, as under ``jit``, ``fill_value`` is given instead.
        fill_value: the value outside, a pair of values below and above, or ``"extrapolate"``.
        assume_sorted: whether ``x`` increases already.

    Raises:
        ValueError: a place out of bounds.

    >>> import numpy as np, functrans as ft
    >>> ft.grad(lambda y: interp1d(np.arange(3.0), y)(0.25))(np.array([1.0, 3.0, 2.0]))
    array([0.75, 0.25, 0.  ])
    """

    def __init__(
        self, x: Any, y: Any, kind: Any = "linear", axis: int = -1, copy: bool = True, bounds_error: bool | None = None,
        fill_value: Any = np.nan, assume_sorted: bool = False,
    ) -> None:  # fmt: skip
        x = operand(x, "interp1d")
        y = operand(y, "interp1d")
        if aval_of(x).ndim != 1:
            raise errors.ShapeError(f"interp1d: the places must be a vector, got {aval_of(x)}")
        self.axis = normalize_axis("interp1d", axis, aval_of(y).ndim)
        n = aval_of(x).shape[0]
        if aval_of(y).shape[self.axis] != n or not n:
            raise errors.ShapeError(f"interp1d: {n} places for {aval_of(y).shape[self.axis]} values along axis {axis}")
        y = fnp.moveaxis(floating("interp1d", y) if aval_of(y).dtype.char not in "fdFD" else y, self.axis, 0)
        x = convert(x, np.float64)
        if not assume_sorted:
            order = argsort(x)
            x, y = fnp.take(x, order), fnp.take(y, order, axis=0)
        self.x: Any = x
        self.y: Any = y
        degree = kind if isinstance(kind, int) else SPLINES.get(kind)
        if degree is None and kind not in ("linear", *STEPS):
            raise errors.ArgumentError(
                f"interp1d: kind must be 'linear', {', '.join(map(repr, (*STEPS, *SPLINES)))} or a degree, got {kind!r}"
            )
        self.kind = "spline" if degree is not None else kind
        if degree == 0:
            self.kind = "zero"
        self.spline: BSpline | None = None
        if self.kind == "spline":
            assert degree is not None
            self.spline = make_interp_spline(x, y, degree)
        self.extrapolate = isinstance(fill_value, str) and fill_value == "extrapolate"
        if isinstance(fill_value, str) and not self.extrapolate:
            raise errors.ArgumentError(f"interp1d: fill_value must be values or 'extrapolate', got {fill_value!r}")
        pair = fill_value if isinstance(fill_value, tuple) else (fill_value, fill_value)
        self.below, self.above = (None, None) if self.extrapolate else pair
        plain = isinstance(fill_value, float) and np.isnan(fill_value)
        self.bounds_error = bool(plain if bounds_error is None else bounds_error)
        if self.extrapolate and bounds_error:
            raise errors.ArgumentError("interp1d: bounds_error=True and fill_value='extrapolate' exclude each other")

    def __call__(self, x: Any) -> Any:
        """The values at places."""
        at = convert(operand(x, "interp1d"), np.float64)
        shape = aval_of(at).shape
        flat = fnp.reshape(at, (-1,))
        below, above = flat < self.x[0], flat > self.x[-1]
        if self.bounds_error:
            for outside, side in ((below, "below"), (above, "above")):
                value = concrete(outside)
                if value is not None and value.any():
                    raise ValueError(f"interp1d: a place lies {side} the range of the places of the values")
        out = self._evaluated(flat)
        if not self.extrapolate:
            for outside, fill in ((below, self.below), (above, self.above)):
                out = fnp.where(column(outside, out), fill, out)
        elif self.kind in ("previous", "next"):
            # Before the first place there is no previous value, after the last one no next.
            out = fnp.where(column(below if self.kind == "previous" else above, out), np.nan, out)
        out = fnp.where(column(fnp.isnan(flat), out), np.nan, out)
        return placed(fnp.reshape(out, (*shape, *aval_of(out).shape[1:])), len(shape), self.axis)

    def _evaluated(self, at: Any) -> Any:
        x, y = fnp.asarray(self.x), fnp.asarray(self.y)
        n = aval_of(x).shape[0]
        if self.spline is not None:
            return self.spline(at)
        if self.kind == "linear":
            if n == 1:
                return y[fnp.zeros_like(at, dtype=np.int64)]
            i = fnp.clip(fnp.searchsorted(x, at), 1, n - 1)
            slope = (y[i] - y[i - 1]) / column(x[i] - x[i - 1], y[i])
            return slope * column(at - x[i - 1], slope) + y[i - 1]
        if self.kind in ("previous", "zero"):
            i = fnp.searchsorted(x, at, side="right") - 1
        elif self.kind == "next":
            i = fnp.searchsorted(x, at)
        else:
            middle = (x[1:] + x[:-1]) / 2.0
            i = fnp.searchsorted(middle, at, side="left" if self.kind == "nearest" else "right")
        return y[fnp.clip(i, 0, n - 1)]
