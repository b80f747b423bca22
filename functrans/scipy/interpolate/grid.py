"""Interpolation of values on a rectangular grid of any number of dimensions."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans import numpy as fnp
from functrans.core import dtypes
from functrans.core.structural import convert
from functrans.core.trace import aval_of
from functrans.lax.movement import rev
from functrans.numpy.arguments import concrete
from functrans.numpy.dispatch import operand
from functrans.scipy.interpolate.bsplines import basis, interval, make_interp_spline
from functrans.scipy.interpolate.common import column, pytree

METHODS = {"linear": 1, "nearest": 0, "slinear": 1, "cubic": 3, "quintic": 5}
"""The methods, each with the degree of its splines."""


def _grid_axis(d: int, p: Any) -> tuple[Any, bool]:
    """The places along one axis in increasing order, and whether they came in decreasing order."""
    p = convert(operand(p, "RegularGridInterpolator"), np.float64)
    if aval_of(p).ndim != 1 or not aval_of(p).size:
        raise errors.ShapeError(f"RegularGridInterpolator: points[{d}] must be a vector, got {aval_of(p)}")
    value = concrete(p)
    if value is None or np.all(value[1:] > value[:-1]):
        return p, False
    if np.all(value[1:] < value[:-1]):
        return rev(p, 0), True
    raise errors.ArgumentError(f"RegularGridInterpolator: points[{d}] must increase or decrease strictly")


@pytree(("grid", "values", "fill_value", "coefficients"), ("method", "bounds_error"))
class RegularGridInterpolator:
    """Interpolates values on a rectangular grid; see ``scipy.interpolate.RegularGridInterpolator``.

    It is a pytree: grid, values and the places that it is called with may be traced, and are differentiated. At a grid
    point the derivative of the linear method is that of the cell to the right; the nearest value has derivative 0.

    Args:
        points: a vector of places for each axis, strictly increasing or decreasing. Traced ones must increase.
        values: an array whose first axes are those of the grid.
        method: ``"linear"``, ``"nearest"``, or a spline: ``"slinear"``, ``"cubic"``, ``"quintic"``.
        bounds_error: whether to raise where a place lies outside. Where the places are not known, as under ``jit``,
            ``fill_value`` is given instead.
        fill_value: the value outside; None to extrapolate.

    Raises:
        ValueError: a place out of bounds.

    >>> import numpy as np, functrans as ft
    >>> f = RegularGridInterpolator((np.arange(3.0), np.arange(2.0)), np.array([[0.0, 1.0], [2.0, 3.0], [8.0, 9.0]]))
    >>> f(np.array([1.5, 0.5]))
    array([5.5])
    >>> ft.grad(lambda x: f(x)[0])(np.array([1.5, 0.5]))
    array([6., 1.])
    """

    def __init__(
        self, points: Any, values: Any, method: str = "linear", bounds_error: bool = True, fill_value: Any = np.nan
    ) -> None:
        self._check_method(method)
        values = operand(values, "RegularGridInterpolator")
        if not dtypes.is_inexact(aval_of(values).dtype):
            values = convert(values, np.float64)
        if len(points) > aval_of(values).ndim:
            raise errors.ShapeError(
                f"RegularGridInterpolator: there are {len(points)} vectors of points for values with "
                f"{aval_of(values).ndim} axes"
            )
        grid = []
        for d, p in enumerate(points):
            p, turned = _grid_axis(d, p)
            if aval_of(p).shape[0] != aval_of(values).shape[d]:
                raise errors.ShapeError(
                    f"RegularGridInterpolator: points[{d}] has {aval_of(p).shape[0]} places for "
                    f"{aval_of(values).shape[d]} values along axis {d}"
                )
            values = rev(values, d) if turned else values
            grid.append(p)
        if fill_value is not None:
            fill = aval_of(operand(fill_value)).dtype
            if not np.can_cast(fill, aval_of(values).dtype, "same_kind"):
                raise errors.DTypeError(f"RegularGridInterpolator: fill_value of dtype {fill} does not fit the values")
        self.grid = tuple(grid)
        self.values = values
        self.method = method
        self.bounds_error = bool(bounds_error)
        self.fill_value = fill_value
        splines = method not in ("linear", "nearest")
        self.coefficients: Any = self._splines(METHODS[method]) if splines else None

    @staticmethod
    def _check_method(method: str) -> None:
        if method not in METHODS:
            raise errors.ArgumentError(
                f"RegularGridInterpolator: method must be one of {', '.join(map(repr, METHODS))}, got {method!r}"
            )

    def _splines(self, degree: int) -> tuple[Any, tuple[Any, ...]]:
        """The coefficients of the product of splines through the values, and the knots along each axis."""
        c, knots = self.values, []
        for d, p in enumerate(self.grid):
            if aval_of(p).shape[0] <= degree:
                raise errors.ShapeError(
                    f"RegularGridInterpolator: method {self.method!r} needs {degree + 1} places or more along each "
                    f"axis, and axis {d} has {aval_of(p).shape[0]}"
                )
            spline = make_interp_spline(p, c, degree, axis=d)
            knots.append(spline.t)
            c = fnp.moveaxis(spline.c, 0, d)
        return c, tuple(knots)

    def __call__(self, xi: Any, method: str | None = None) -> Any:
        """The values at places: an array whose last axis has the coordinates, or a tuple of arrays, one for each."""
        method = self.method if method is None else method
        self._check_method(method)
        ndim = len(self.grid)
        if isinstance(xi, tuple) and len(xi) == ndim:
            parts = fnp.broadcast_arrays(*[convert(operand(x, "xi"), np.float64) for x in xi])
            x = fnp.stack(parts, -1)
        else:
            x = convert(operand(xi, "RegularGridInterpolator"), np.float64)
            x = fnp.reshape(x, (-1, ndim)) if aval_of(x).ndim < 2 and aval_of(x).size % ndim == 0 else x
        shape = aval_of(x).shape
        if not shape or shape[-1] != ndim:
            raise errors.ShapeError(
                f"RegularGridInterpolator: places have {shape[-1] if shape else 0} coordinates, and the grid has {ndim}"
            )
        flat = fnp.reshape(x, (-1, ndim))
        outside: Any = None
        for d, p in enumerate(self.grid):
            beyond = (flat[:, d] < p[0]) | (flat[:, d] > p[-1])
            value = concrete(beyond) if self.bounds_error else None
            if value is not None and value.any():
                raise ValueError(f"RegularGridInterpolator: a place is out of bounds in dimension {d}")
            outside = beyond if outside is None else outside | beyond
        if method == "linear":
            out = self._linear(flat)
        elif method == "nearest":
            out = self._nearest(flat)
        else:
            out = self._spline(flat, METHODS[method])
        if self.fill_value is not None:
            out = fnp.where(column(outside, out), self.fill_value, out)
        missing = fnp.isnan(fnp.sum(flat, -1))
        out = fnp.where(column(missing, out), np.nan, out)
        return fnp.reshape(out, (*shape[:-1], *aval_of(self.values).shape[ndim:]))

    def _cells(self, x: Any) -> tuple[list[Any], list[Any]]:
        """The cell of each place along each axis, and the part of its extent at which the place lies."""
        indices, parts = [], []
        for d, p in enumerate(map(fnp.asarray, self.grid)):
            n = aval_of(p).shape[0]
            if n == 1:
                indices.append(fnp.zeros_like(x[:, d], dtype=np.int64))
                parts.append(fnp.zeros_like(x[:, d]))
                continue
            i = fnp.clip(fnp.searchsorted(p, x[:, d], side="right") - 1, 0, n - 2)
            indices.append(i)
            parts.append((x[:, d] - p[i]) / (p[i + 1] - p[i]))
        return indices, parts

    def _linear(self, x: Any) -> Any:
        indices, parts = self._cells(x)
        whole = fnp.asarray(self.values)
        total: Any = None
        choices = [(0, 1) if aval_of(p).shape[0] > 1 else (0,) for p in self.grid]
        for corner in itertools.product(*choices):
            weight: Any = 1.0
            for side, t in zip(corner, parts, strict=True):
                weight = weight * (t if side else 1.0 - t)
            values = whole[tuple(i + side for i, side in zip(indices, corner, strict=True))]
            term = values * column(weight, values)
            total = term if total is None else total + term
        return total

    def _nearest(self, x: Any) -> Any:
        indices, parts = self._cells(x)
        nearest = tuple(fnp.where(t <= 0.5, i, i + 1) for i, t in zip(indices, parts, strict=True))
        return fnp.asarray(self.values)[nearest]

    def _spline(self, x: Any, degree: int) -> Any:
        found = self.coefficients
        c, knots = self._splines(degree) if found is None or METHODS[self.method] != degree else found
        c = fnp.asarray(c)
        rows: list[list[tuple[Any, Any]]] = []
        for d, t in enumerate(map(fnp.asarray, knots)):
            i = interval(t, degree, x[:, d])
            rows.append([(i - degree + j, b) for j, b in enumerate(basis(t, degree, x[:, d], i))])
        total: Any = None
        for taps in itertools.product(*rows):
            values = c[tuple(i for i, _ in taps)]
            weight: Any = taps[0][1]
            for _, b in taps[1:]:
                weight = weight * b
            term = values * column(weight, values)
            total = term if total is None else total + term
        return total


def interpn(
    points: Sequence[Any], values: Any, xi: Any, method: str = "linear", bounds_error: bool = True,
    fill_value: Any = np.nan,
) -> Any:  # fmt: skip
    """Values on a rectangular grid at places; see ``scipy.interpolate.interpn`` and ``RegularGridInterpolator``."""
    return RegularGridInterpolator(points, values, method, bounds_error, fill_value)(xi)
