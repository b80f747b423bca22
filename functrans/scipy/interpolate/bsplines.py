"""Splines as sums of B-splines, by the recursion of Cox and de Boor (C. de Boor, "A Practical Guide to Splines")."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from functrans import errors
from functrans import numpy as fnp
from functrans.core.structural import convert, rebox
from functrans.core.trace import aval_of
from functrans.lax.cumulative import cumsum
from functrans.lax.linalg.lu import solve
from functrans.numpy.dispatch import operand
from functrans.scipy.interpolate.common import column, floating, placed, pytree, samples
from functrans.scipy.interpolate.piecewise import Extrapolate, wrapped


def interval(t: Any, k: int, x: Any) -> Any:
    """The index of the knot interval of each place; of the first or last one beyond the base interval."""
    n = aval_of(t).shape[0] - k - 1
    return fnp.clip(fnp.searchsorted(t, x, side="right") - 1, k, n - 1)


def basis(t: Any, k: int, x: Any, i: Any) -> list[Any]:
    """The values at ``x`` of the ``k + 1`` B-splines of degree ``k`` that are not zero on interval ``i``."""
    values: list[Any] = [fnp.ones_like(x)]
    for d in range(1, k + 1):
        padded: list[Any] = [None, *values, None]
        values = []
        for j in range(d + 1):
            term: Any = None
            if padded[j] is not None:
                low, high = t[i - d + j], t[i + j]
                term = _part(x - low, high - low) * padded[j]
            if padded[j + 1] is not None:
                low, high = t[i - d + j + 1], t[i + j + 1]
                other = _part(high - x, high - low) * padded[j + 1]
                term = other if term is None else term + other
            values.append(term)
    return values


def _part(x: Any, width: Any) -> Any:
    """A part of an interval; 0 where knots coincide."""
    empty = width == 0
    return fnp.where(empty, 0.0, x / fnp.where(empty, 1.0, width))


def derived(t: Any, c: Any, k: int) -> tuple[Any, Any, int]:
    """Knots, coefficients and degree of the derivative."""
    if k == 0:
        return t, c * 0.0, 0
    n = aval_of(t).shape[0] - k - 1
    widths = t[k + 1 : n + k] - t[1:n]
    empty = widths == 0
    slopes = (c[1:n] - c[: n - 1]) * column(k / fnp.where(empty, 1.0, widths), c[1:n])
    return t[1:-1], fnp.where(column(empty, slopes), 0.0 * slopes, slopes), k - 1


@pytree(("t", "c"), ("k", "extrapolate", "axis"))
class BSpline:
    """A spline as a sum of B-splines; see ``scipy.interpolate.BSpline``.

    It is a pytree, whose knots and coefficients may be traced.

    Args:
        t: the knots, not decreasing.
        c: the coefficients; those beyond ``len(t) - k - 1`` are left out.
        k: the degree.
        extrapolate: whether the first and last piece go on beyond the base interval (the default), or ``"periodic"``.
            False gives NaN there.
        axis: the axis of ``c`` that goes with the knots.

    >>> import numpy as np, functrans as ft
    >>> hat = BSpline(np.array([0.0, 0.0, 1.0, 2.0, 2.0]), np.array([0.0, 1.0, 0.0]), 1)
    >>> ft.elementwise_grad(hat)(np.array([0.5, 1.5]))
    array([ 1., -1.])
    """

    def __init__(self, t: Any, c: Any, k: int, extrapolate: Extrapolate = True, axis: int = 0) -> None:
        self.k = operator.index(k)
        self.t: Any = convert(operand(t, "BSpline"), np.float64)
        c = floating("BSpline", c)
        self.axis = operator.index(axis) % max(aval_of(c).ndim, 1)
        n = aval_of(self.t).shape[0] - self.k - 1 if aval_of(self.t).ndim == 1 else -1
        if self.k < 0 or n < self.k + 1:
            raise errors.ShapeError(
                f"BSpline: degree {self.k} needs a vector of {2 * max(self.k, 0) + 2} knots or more, got "
                f"{aval_of(self.t)}"
            )
        self.c: Any = fnp.moveaxis(c, self.axis, 0)
        if aval_of(self.c).shape[0] < n:
            raise errors.ShapeError(f"BSpline: {n} coefficients are needed, got {aval_of(self.c).shape[0]}")
        self.extrapolate = extrapolate

    @classmethod
    def construct_fast(cls, t: Any, c: Any, k: int, extrapolate: Extrapolate = True, axis: int = 0) -> BSpline:
        """A spline of parts that are right, as they are."""
        self = object.__new__(cls)
        self.t, self.c, self.k, self.extrapolate, self.axis = t, c, k, extrapolate, axis
        return self

    @property
    def tck(self) -> tuple[Any, Any, int]:
        """Knots, coefficients and degree."""
        return self.t, self.c, self.k

    def __call__(self, x: Any, nu: int = 0, extrapolate: Extrapolate = None) -> Any:
        """The values at places, or those of the derivative of order ``nu``."""
        extrapolate = self.extrapolate if extrapolate is None else extrapolate
        x = convert(operand(x, "BSpline"), np.float64)
        shape = aval_of(x).shape
        flat = fnp.reshape(x, (-1,))
        t, c, k = fnp.asarray(self.t), fnp.asarray(self.c), self.k
        low, high = t[k], t[aval_of(t).shape[0] - k - 1]
        if extrapolate == "periodic":
            flat = wrapped(flat, low, high)
        for _ in range(operator.index(nu)):
            t, c, k = derived(t, c, k)
        i = interval(t, k, flat)
        values: Any = None
        for j, b in enumerate(basis(t, k, flat, i)):
            part = c[i - k + j]
            term = part * column(b, part)
            values = term if values is None else values + term
        if extrapolate is False:
            outside = (flat < low) | (flat > high)
            values = fnp.where(column(outside, values), np.nan, values)
        values = fnp.where(column(fnp.isnan(flat), values), np.nan, values)
        out = fnp.reshape(values, (*shape, *aval_of(values).shape[1:]))
        return placed(out, len(shape), self.axis)

    def derivative(self, nu: int = 1) -> BSpline:
        """The derivative of order ``nu``, a spline."""
        t, c, k = self.t, self.c, self.k
        for _ in range(operator.index(nu)):
            t, c, k = derived(t, c, k)
        return BSpline.construct_fast(t, c, k, self.extrapolate, self.axis)

    def antiderivative(self, nu: int = 1) -> BSpline:
        """The antiderivative of order ``nu``, which is zero at the start of the base interval."""
        t, c, k = self.t, self.c, self.k
        extrapolate = False if self.extrapolate == "periodic" else self.extrapolate
        for _ in range(operator.index(nu)):
            n = aval_of(t).shape[0] - k - 1
            parts = c[:n] * column((t[k + 1 : n + k + 1] - t[:n]) / (k + 1), c[:n])
            c = fnp.concatenate([fnp.zeros_like(parts[:1]), cumsum(parts, 0)])
            t = fnp.concatenate([t[:1], t, t[-1:]])
            k += 1
        return BSpline.construct_fast(t, c, k, extrapolate, self.axis)

    def integrate(self, a: Any, b: Any, extrapolate: Extrapolate = None) -> Any:
        """The integral between two places; beyond the base interval 0 where ``extrapolate`` is False."""
        extrapolate = self.extrapolate if extrapolate is None else extrapolate
        if extrapolate == "periodic":
            raise errors.ArgumentError("integrate: of a periodic spline give extrapolate=True or False")
        whole = self.antiderivative()
        if extrapolate is False:
            low, high = self.t[self.k], self.t[aval_of(self.t).shape[0] - self.k - 1]
            a, b = fnp.clip(a, low, high), fnp.clip(b, low, high)
        return rebox(whole(b, extrapolate=True) - whole(a, extrapolate=True), "array")


# -- interpolation ---------------------------------------------------------------------------------------------------


def _knots(x: Any, k: int) -> Any:
    """The knots for which no condition is needed at the ends."""
    if k % 2:
        inner = x[(k + 1) // 2 : aval_of(x).shape[0] - (k + 1) // 2]
    else:
        middle = (x[1:] + x[:-1]) / 2
        inner = middle[k // 2 : aval_of(middle).shape[0] - k // 2]
    ends = [fnp.broadcast_to(e, (k + 1,)) for e in (x[0], x[-1])]
    return fnp.concatenate([ends[0], inner, ends[1]])


def _rows(t: Any, k: int, x: Any, nu: int = 0) -> Any:
    """The values (or derivatives) at places of all the B-splines, a row for each place."""
    n = aval_of(t).shape[0] - k - 1
    return BSpline.construct_fast(t, np.eye(n), k)(x, nu)


_NAMED = {"clamped": [(1, 0.0)], "natural": [(2, 0.0)], "not-a-knot": None}


def make_interp_spline(
    x: Any, y: Any, k: int = 3, t: Any = None, bc_type: Any = None, axis: int = 0, check_finite: bool = True
) -> BSpline:
    """The spline of degree ``k`` through values; see ``scipy.interpolate.make_interp_spline``.

    It is differentiable in the places, the values and the knots. A dense system is solved for the coefficients.

    Args:
        bc_type: None or ``"not-a-knot"``, ``"clamped"``, ``"natural"``, or a pair of these or of lists of
            ``(order, value)`` of derivatives at the ends. Periodic splines of degree 3 are those of ``CubicSpline``.

    >>> import numpy as np
    >>> make_interp_spline(np.arange(5.0), np.arange(5.0) ** 3)([1.5, 2.5]).round(6)
    array([ 3.375, 15.625])
    """
    k = operator.index(k)
    if k < 0:
        raise errors.ArgumentError(f"make_interp_spline: the degree must not be negative, got k={k}")
    x, y, d = samples("make_interp_spline", x, y, axis, least=k + 1)
    if isinstance(bc_type, str) and bc_type == "periodic":
        raise errors.ArgumentError(
            "make_interp_spline: for a periodic spline use CubicSpline(x, y, bc_type='periodic')"
        )
    pair = [bc_type] * 2 if bc_type is None or isinstance(bc_type, str) else list(bc_type)
    for bc in pair:
        if isinstance(bc, str) and bc not in _NAMED:
            raise errors.ArgumentError(f"make_interp_spline: unknown bc_type {bc!r}; it has {', '.join(_NAMED)}")
    left, right = ((_NAMED[bc] if isinstance(bc, str) else bc) or [] for bc in pair)
    if k == 0:
        return BSpline.construct_fast(fnp.concatenate([x, x[-1:]]), y, 0, True, d)
    if k == 1 and t is None and not (left or right):
        return BSpline.construct_fast(fnp.concatenate([x[:1], x, x[-1:]]), y, 1, True, d)
    if t is not None:
        t = convert(operand(t, "make_interp_spline"), np.float64)
    elif left or right:
        ends = [fnp.broadcast_to(e, (k,)) for e in (x[0], x[-1])]
        t = fnp.concatenate([ends[0], x, ends[1]])
    else:
        t = _knots(x, k)
    missing = aval_of(t).shape[0] - k - 1 - aval_of(x).shape[0]
    if missing != len(left) + len(right):
        raise errors.ArgumentError(
            f"make_interp_spline: {missing} derivatives at the ends are needed, got {len(left)} and {len(right)}"
        )
    shape = aval_of(y).shape[1:]
    parts = [_rows(t, k, x)]
    values = [y]
    for conditions, at, first in ((left, x[:1], True), (right, x[-1:], False)):
        for order, value in reversed(conditions) if first else conditions:
            row = _rows(t, k, at, operator.index(order))
            entry = fnp.broadcast_to(fnp.asarray(value, dtype=np.float64), shape)[None]
            parts.insert(0 if first else len(parts), row)
            values.insert(0 if first else len(values), entry)
    matrix, target = fnp.concatenate(parts), fnp.concatenate(values)
    flat = fnp.reshape(target, (aval_of(target).shape[0], -1))
    c = solve(convert(matrix, aval_of(flat).dtype), flat)
    return BSpline.construct_fast(t, fnp.reshape(c, aval_of(target).shape), k, True, d)
