"""Piecewise polynomials, and the cubic ones that interpolate: splines, Hermite's, PCHIP and Akima's."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from functrans import errors
from functrans import numpy as fnp
from functrans.core.structural import convert, rebox
from functrans.core.trace import aval_of
from functrans.lax.cumulative import cumsum
from functrans.lax.linalg.banded import tridiagonal_solve
from functrans.lax.linalg.lu import solve
from functrans.numpy.dispatch import operand
from functrans.scipy.interpolate.common import column, floating, placed, places, pytree, samples

Extrapolate = bool | str | None


def wrapped(x: Any, start: Any, end: Any) -> Any:
    """Places brought into one period."""
    return start + fnp.remainder(x - start, end - start)


@pytree(("c", "x"), ("extrapolate", "axis"))
class PPoly:
    """A piecewise polynomial; see ``scipy.interpolate.PPoly``.

    It is a pytree, whose coefficients and breakpoints may be traced, and so is every interpolator made of one.
    Derivatives at a breakpoint are those of the piece to the right.

    Args:
        c: coefficients of shape ``(order + 1, pieces, ...)``, highest power of ``x - breakpoint`` first.
        x: the breakpoints, one more than there are pieces, increasing.
        extrapolate: whether the first and last piece go on beyond the ends (the default), or ``"periodic"``. False
            gives NaN there.
        axis: the axis of the values that the places take.

    >>> import numpy as np
    >>> p = PPoly(np.array([[1.0, -1.0], [0.0, 1.0]]), np.array([0.0, 1.0, 2.0]))
    >>> p(np.array([0.5, 1.5]))
    array([0.5, 0.5])
    """

    def __init__(self, c: Any, x: Any, extrapolate: Extrapolate = None, axis: int = 0) -> None:
        name = type(self).__name__
        self.c: Any = floating(name, c)
        self.x: Any = places(name, x)
        self.extrapolate: Extrapolate = True if extrapolate is None else extrapolate
        self.axis = operator.index(axis)
        shape = aval_of(self.c).shape
        if len(shape) < 2 or not 0 <= self.axis < len(shape) - 1:
            raise errors.ShapeError(f"{name}: c must have two axes or more, and axis={axis} be one of the others")
        if self.axis:
            self.c = fnp.moveaxis(self.c, (self.axis, self.axis + 1), (0, 1))
            shape = aval_of(self.c).shape
        if shape[1] != aval_of(self.x).shape[0] - 1:
            raise errors.ShapeError(f"{name}: c has {shape[1]} pieces for {aval_of(self.x).shape[0]} breakpoints")

    @classmethod
    def construct_fast(cls, c: Any, x: Any, extrapolate: Extrapolate = None, axis: int = 0) -> Any:
        """A piecewise polynomial of parts that are right, as they are."""
        self = object.__new__(cls)
        self.c, self.x, self.axis = c, x, axis
        self.extrapolate = True if extrapolate is None else extrapolate
        return self

    def __call__(self, x: Any, nu: int = 0, extrapolate: Extrapolate = None) -> Any:
        """The values at places, or those of the derivative of order ``nu``."""
        if nu < 0:
            raise errors.ArgumentError(
                f"{type(self).__name__}: nu must not be negative, got {nu}. Use antiderivative()"
            )
        extrapolate = self.extrapolate if extrapolate is None else extrapolate
        x = convert(operand(x, type(self).__name__), np.float64)
        shape = aval_of(x).shape
        flat = fnp.reshape(x, (-1,))
        breaks, c = fnp.asarray(self.x), fnp.asarray(self.c)
        if extrapolate == "periodic":
            flat = wrapped(flat, breaks[0], breaks[-1])
        order, pieces = aval_of(c).shape[0] - 1, aval_of(c).shape[1]
        i = fnp.clip(fnp.searchsorted(breaks, flat, side="right") - 1, 0, pieces - 1)
        step = flat - breaks[i]
        values: Any = None
        for k in range(order - nu + 1):
            power = order - k
            term = c[k][i] * float(math.perm(power, nu))
            values = term if values is None else values * column(step, term) + term
        if values is None:
            values = c[0][i] * 0.0
        if extrapolate is False:
            outside = (flat < breaks[0]) | (flat > breaks[-1])
            values = fnp.where(column(outside, values), np.nan, values)
        # A place that is NaN is in no piece.
        values = fnp.where(column(fnp.isnan(flat), values), np.nan, values)
        out = fnp.reshape(values, (*shape, *aval_of(values).shape[1:]))
        return placed(out, len(shape), self.axis)

    def derivative(self, nu: int = 1) -> PPoly:
        """The derivative of order ``nu``, a piecewise polynomial."""
        if nu < 0:
            return self.antiderivative(-nu)
        size = aval_of(self.c).shape[0]
        kept = self.c[: size - nu] if nu < size else fnp.zeros_like(self.c[:1])
        factors = np.array([math.perm(size - 1 - k, nu) for k in range(aval_of(kept).shape[0])], np.float64)
        made: PPoly = PPoly.construct_fast(kept * column(factors, kept), self.x, self.extrapolate, self.axis)
        return made

    def antiderivative(self, nu: int = 1) -> PPoly:
        """The antiderivative of order ``nu``, which is zero at the first breakpoint."""
        if nu <= 0:
            return self.derivative(-nu)
        result: PPoly = self
        for _ in range(nu):
            size = aval_of(result.c).shape[0]
            divisors = np.arange(size, 0, -1, dtype=np.float64)
            raised = result.c / column(divisors, result.c)
            widths = fnp.diff(result.x)
            total: Any = fnp.zeros_like(raised[0])
            for k in range(size):
                total = (total + raised[k]) * column(widths, total)
            start = fnp.concatenate([fnp.zeros_like(total[:1]), cumsum(total, 0)[:-1]])
            extrapolate = False if self.extrapolate == "periodic" else self.extrapolate
            result = PPoly.construct_fast(fnp.concatenate([raised, start[None]]), result.x, extrapolate, result.axis)
        return result

    def integrate(self, a: Any, b: Any, extrapolate: Extrapolate = None) -> Any:
        """The integral between two places."""
        extrapolate = self.extrapolate if extrapolate is None else extrapolate
        if extrapolate == "periodic":
            raise errors.ArgumentError("integrate: of a periodic interpolator give extrapolate=True or False")
        whole = self.antiderivative()
        return rebox(whole(b, extrapolate=extrapolate) - whole(a, extrapolate=extrapolate), "array")


def _hermite(x: Any, y: Any, slopes: Any) -> Any:
    """The coefficients of the cubics with these values and slopes at the breakpoints."""
    h = column(fnp.diff(x), y)
    rise = (y[1:] - y[:-1]) / h
    t = (slopes[:-1] + slopes[1:] - 2 * rise) / h
    return fnp.stack([t / h, (rise - slopes[:-1]) / h - t, slopes[:-1], y[:-1]])


@pytree(("c", "x"), ("extrapolate", "axis"))
class CubicHermiteSpline(PPoly):
    """The piecewise cubic with given values and slopes; see ``scipy.interpolate.CubicHermiteSpline``."""

    def __init__(self, x: Any, y: Any, dydx: Any, axis: int = 0, extrapolate: Extrapolate = None) -> None:
        name = type(self).__name__
        x, y, d = samples(name, x, y, axis)
        slopes = fnp.moveaxis(floating(name, dydx), d, 0)
        if aval_of(slopes).shape != aval_of(y).shape:
            raise errors.ShapeError(f"{name}: y and dydx must have one shape")
        self._made_of(x, _hermite(x, y, slopes), d, extrapolate)

    def _made_of(self, x: Any, c: Any, axis: int, extrapolate: Extrapolate) -> None:
        self.c, self.x, self.axis = c, x, axis
        self.extrapolate = True if extrapolate is None else extrapolate


# -- cubic splines -------------------------------------------------------------------------------------------------

_NAMED: dict[str, tuple[int, float]] = {"clamped": (1, 0.0), "natural": (2, 0.0)}


def _conditions(bc_type: Any, shape: tuple[Any, ...]) -> list[Any]:
    """The condition at each end: ``"not-a-knot"``, or the order of a derivative with its value."""
    pair = [bc_type, bc_type] if isinstance(bc_type, str) else list(bc_type)
    if len(pair) != 2:
        raise errors.ArgumentError("CubicSpline: bc_type must be a name or a pair of conditions")
    out = []
    for bc in pair:
        if isinstance(bc, str):
            if bc != "not-a-knot" and bc not in _NAMED:
                raise errors.ArgumentError(
                    f"CubicSpline: bc_type must be 'not-a-knot', 'periodic', 'clamped', 'natural', or a pair of these "
                    f"(but periodic) or of (order, value); got {bc!r}"
                )
            bc = _NAMED.get(bc, bc)
        if not isinstance(bc, str):
            order, value = bc
            if order not in (1, 2):
                raise errors.ArgumentError(f"CubicSpline: the order of an end derivative must be 1 or 2, got {order}")
            bc = order, fnp.broadcast_to(fnp.asarray(value, dtype=np.float64), shape)
        out.append(bc)
    return out


def _spline_slopes(x: Any, y: Any, bc_type: Any) -> Any:
    """The slopes at the breakpoints of the cubic spline through the values: continuity of the second derivative."""
    n = aval_of(x).shape[0]
    h = fnp.diff(x)
    rise = (y[1:] - y[:-1]) / column(h, y)
    if isinstance(bc_type, str) and bc_type == "periodic":
        return _periodic_slopes(h, rise, y)
    shape = aval_of(y).shape[1:]
    ends = _conditions(bc_type, shape)
    if n == 2:
        ends = [(1, rise[0]) if isinstance(e, str) else e for e in ends]
    parabola = n == 3 and all(isinstance(e, str) for e in ends)
    inner = 3 * (column(h[1:], rise) * rise[:-1] + column(h[:-1], rise) * rise[1:]) if n > 2 else rise[:0]
    rows = []
    for e, near, far in ((ends[0], 0, 1), (ends[1], -1, -2)):
        if parabola:
            rows.append((1.0, 1.0, 2 * rise[near]))
        elif isinstance(e, str):
            span, hn, hf = h[near] + h[far], h[near], h[far]
            rows.append((hf, span, ((hn + 2 * span) * hf * rise[near] + hn * hn * rise[far]) / span))
        elif e[0] == 1:
            rows.append((1.0, 0.0, e[1]))
        else:
            curve = 0.5 * e[1] * h[near] ** 2
            rows.append((2 * h[near], h[near], 3 * rise[near] * h[near] + (-curve if near == 0 else curve)))
    (d0, u0, b0), (dn, ln, bn) = rows
    zero = np.zeros(1)
    middle = 2 * (h[:-1] + h[1:])
    (d0, dn), (u0, ln) = ([fnp.reshape(fnp.asarray(v), (1,)) for v in pair] for pair in ((d0, dn), (u0, ln)))
    diagonal = fnp.concatenate([d0, middle, dn])
    upper = fnp.concatenate([u0, h[:-1], zero])
    lower = fnp.concatenate([zero, h[1:], ln])
    right = fnp.concatenate([b0[None], inner, bn[None]])
    flat = fnp.reshape(right, (n, -1))
    lower, diagonal, upper = (convert(v, aval_of(flat).dtype) for v in (lower, diagonal, upper))
    return fnp.reshape(tridiagonal_solve(lower, diagonal, upper, flat), aval_of(y).shape)


def _periodic_slopes(h: Any, rise: Any, y: Any) -> Any:
    n = aval_of(h).shape[0]
    if n == 1:
        return fnp.zeros_like(y)
    before = fnp.roll(h, 1)
    eye = np.eye(n)
    matrix = eye * (2 * (before + h))[:, None] + np.roll(eye, 1, 1) * before[:, None] + np.roll(eye, -1, 1) * h[:, None]
    right = 3 * (column(h, rise) * fnp.roll(rise, 1, 0) + column(before, rise) * rise)
    flat = fnp.reshape(right, (n, -1))
    slopes = fnp.reshape(solve(convert(matrix, aval_of(flat).dtype), flat), aval_of(right).shape)
    return fnp.concatenate([slopes, slopes[:1]])


@pytree(("c", "x"), ("extrapolate", "axis"))
class CubicSpline(CubicHermiteSpline):
    """The cubic spline through values; see ``scipy.interpolate.CubicSpline``.

    Args:
        x: the places, increasing.
        y: the values there.
        axis: the axis of ``y`` that goes with ``x``.
        bc_type: ``"not-a-knot"``, ``"periodic"``, ``"clamped"``, ``"natural"``, or a pair of conditions, where one
            may be ``(order, value)`` of a derivative. That the values of a periodic one agree is taken for granted.
        extrapolate: see ``PPoly``; ``"periodic"`` for a periodic spline.

    >>> import numpy as np, functrans as ft
    >>> x = np.arange(4.0)
    >>> ft.grad(lambda y: CubicSpline(x, y)(1.5))(x**2)
    array([-0.0625,  0.5625,  0.5625, -0.0625])
    """

    def __init__(
        self, x: Any, y: Any, axis: int = 0, bc_type: Any = "not-a-knot", extrapolate: Extrapolate = None
    ) -> None:
        x, y, d = samples("CubicSpline", x, y, axis)
        if extrapolate is None:
            extrapolate = "periodic" if isinstance(bc_type, str) and bc_type == "periodic" else True
        self._made_of(x, _hermite(x, y, _spline_slopes(x, y, bc_type)), d, extrapolate)


# -- interpolators with local slopes ---------------------------------------------------------------------------------


def _end_slope(h0: Any, h1: Any, m0: Any, m1: Any) -> Any:
    """The slope at an end from three points, limited so that the shape is kept."""
    d = ((2 * h0 + h1) * m0 - h0 * m1) / (h0 + h1)
    steep = (fnp.sign(m0) != fnp.sign(m1)) & (fnp.abs(d) > 3.0 * fnp.abs(m0))
    limited = fnp.where(steep, 3.0 * m0, d)
    return fnp.where(fnp.sign(d) != fnp.sign(m0), fnp.zeros_like(d), limited)


@pytree(("c", "x"), ("extrapolate", "axis"))
class PchipInterpolator(CubicHermiteSpline):
    """The monotonic piecewise cubic of Fritsch and Butland; see ``scipy.interpolate.PchipInterpolator``.

    F. N. Fritsch and J. Butland, "A method for constructing local monotone piecewise cubic interpolants", SIAM J. Sci.
    Stat. Comput. 5 (1984). Where the values turn, the slope is 0, and so is its derivative.
    """

    def __init__(self, x: Any, y: Any, axis: int = 0, extrapolate: Extrapolate = None) -> None:
        x, y, d = samples("PchipInterpolator", x, y, axis)
        h = column(fnp.diff(x), y)
        m = (y[1:] - y[:-1]) / h
        if aval_of(x).shape[0] == 2:
            slopes = fnp.concatenate([m, m])
        else:
            turns = (fnp.sign(m[1:]) != fnp.sign(m[:-1])) | (m[1:] == 0) | (m[:-1] == 0)
            one = fnp.ones_like(m[1:])
            before, behind = fnp.where(turns, one, m[:-1]), fnp.where(turns, one, m[1:])
            w1, w2 = 2 * h[1:] + h[:-1], h[1:] + 2 * h[:-1]
            inner = fnp.where(turns, 0.0 * one, (w1 + w2) / (w1 / before + w2 / behind))
            first, last = _end_slope(h[0], h[1], m[0], m[1]), _end_slope(h[-1], h[-2], m[-1], m[-2])
            slopes = fnp.concatenate([first[None], inner, last[None]])
        self._made_of(x, _hermite(x, y, slopes), d, extrapolate)


@pytree(("c", "x"), ("extrapolate", "axis"))
class Akima1DInterpolator(CubicHermiteSpline):
    """Akima's piecewise cubic, or the modified one; see ``scipy.interpolate.Akima1DInterpolator``.

    H. Akima, "A new method of interpolation and smooth curve fitting based on local procedures", J. ACM 17 (1970).
    """

    def __init__(
        self, x: Any, y: Any, axis: int = 0, *, method: str = "akima", extrapolate: Extrapolate = None
    ) -> None:
        if method not in ("akima", "makima"):
            raise errors.ArgumentError(f"Akima1DInterpolator: method must be 'akima' or 'makima', got {method!r}")
        x, y, d = samples("Akima1DInterpolator", x, y, axis)
        m = (y[1:] - y[:-1]) / column(fnp.diff(x), y)
        if aval_of(x).shape[0] == 2:
            slopes = fnp.concatenate([m, m])
        else:
            left = [2 * m[0] - m[1]]
            left.insert(0, 2 * left[0] - m[0])
            right = [2 * m[-1] - m[-2]]
            right.append(2 * right[0] - m[-1])
            m = fnp.concatenate([fnp.stack(left), m, fnp.stack(right)])
            change = fnp.abs(fnp.diff(m, axis=0))
            if method == "makima":
                change = change + 0.5 * fnp.abs(m[:-1] + m[1:])
            f1, f2 = change[2:], change[:-2]
            total = f1 + f2
            straight = total <= 1e-9 * fnp.max(total)
            mean = (f1 * m[1:-2] + f2 * m[2:-1]) / fnp.where(straight, fnp.ones_like(total), total)
            slopes = fnp.where(straight, 0.5 * (m[3:] + m[:-3]), mean)
        self._made_of(x, _hermite(x, y, slopes), d, False if extrapolate is None else extrapolate)
