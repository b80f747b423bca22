"""Integrals as ``functrans.scipy.integrate``: of samples, and of functions; differentiable in all that they know."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans import numpy as fnp
from functrans.api.callback import pure_callback
from functrans.api.custom import custom_vjp
from functrans.api.jit import jit
from functrans.api.linear import jvp, vjp
from functrans.api.staging import ShapeDtypeStruct, eval_shape
from functrans.core import dtypes
from functrans.core.structural import convert, is_traced
from functrans.core.trace import aval_of
from functrans.lax.cumulative import cumsum
from functrans.lax.static import normalize_axis
from functrans.numpy.dispatch import operand
from functrans.scipy.library import implements, needed
from functrans.scipy.optimize.problem import Function, Point, check_args

_scipy = implements("scipy.integrate")

# -- integrals of samples -------------------------------------------------------------------------------------------


def _samples(name: str, y: Any, x: Any, axis: int) -> tuple[Any, Any, int]:
    """Samples with their axis last, the widths of the intervals (None for no places), and the axis."""
    y = operand(y, name)
    d = normalize_axis(name, axis, aval_of(y).ndim)
    y = fnp.moveaxis(y, d, -1)
    n = aval_of(y).shape[-1]
    if x is None:
        return y, None, d
    x = operand(x, name)
    if aval_of(x).ndim != 1:
        if aval_of(x).ndim != aval_of(y).ndim:
            raise errors.ShapeError(f"{name}: x must be a vector, or have as many axes as y, got {aval_of(x)}")
        x = fnp.moveaxis(x, d, -1)
    if aval_of(x).shape[-1] != n:
        raise errors.ShapeError(f"{name}: x has {aval_of(x).shape[-1]} places for {n} samples along the axis")
    return y, fnp.diff(x), d


def _floating(dtype: Any) -> Any:
    return dtype if dtypes.is_inexact(dtype) else np.dtype(np.float64)


@_scipy
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Any:
    """The integral of samples by the trapezoidal rule; see ``scipy.integrate.trapezoid``.

    >>> import numpy as np, functrans as ft
    >>> ft.grad(lambda y: trapezoid(y, dx=2.0))(np.array([1.0, 2.0, 4.0]))
    array([1., 2., 1.])
    """
    y, widths, _ = _samples("trapezoid", y, x, axis)
    dtype = _floating(aval_of(y).dtype)
    widths = dx if widths is None else widths
    return fnp.sum(widths * (y[..., 1:] + y[..., :-1]) / 2.0, -1, dtype=dtype)


@_scipy
def cumulative_trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1, initial: Any = None) -> Any:
    """The running integral of samples by the trapezoidal rule; see ``scipy.integrate.cumulative_trapezoid``."""
    y, widths, d = _samples("cumulative_trapezoid", y, x, axis)
    if not aval_of(y).shape[-1]:
        raise errors.ShapeError("cumulative_trapezoid: a sample or more is needed along the axis")
    if initial is not None and (not isinstance(initial, (int, float)) or initial != 0):
        raise errors.ArgumentError(f"cumulative_trapezoid: initial must be 0 or None, got {initial!r}")
    widths = dx if widths is None else widths
    parts = widths * (y[..., 1:] + y[..., :-1]) / 2.0
    out = cumsum(parts, aval_of(parts).ndim - 1)
    if initial is not None:
        out = fnp.pad(out, [(0, 0)] * (aval_of(out).ndim - 1) + [(1, 0)])
    return fnp.moveaxis(out, -1, d)


def _ratio(a: Any, b: Any) -> Any:
    """A quotient; 0 where the divisor is."""
    zero = b == 0
    return fnp.where(zero, 0.0, a / fnp.where(zero, 1.0, b))


def _pairs(y: Any, widths: Any, dx: Any) -> Any:
    """Simpson's rule on pairs of intervals, of an odd number of samples."""
    first, middle, last = y[..., :-2:2], y[..., 1:-1:2], y[..., 2::2]
    if widths is None:
        return fnp.sum(first + 4.0 * middle + last, -1) * (dx / 3.0)
    h0, h1 = convert(widths[..., ::2], np.float64), convert(widths[..., 1::2], np.float64)
    total, quotient = h0 + h1, _ratio(h0, h1)
    weighted = first * (2.0 - _ratio(1.0, quotient)) + middle * (total * _ratio(total, h0 * h1))
    return fnp.sum(total / 6.0 * (weighted + last * (2.0 - quotient)), -1)


@_scipy
def simpson(y: Any, x: Any = None, *, dx: Any = 1.0, axis: int = -1) -> Any:
    """The integral of samples by Simpson's rule; see ``scipy.integrate.simpson``.

    For an even number of samples the last interval is corrected after K. V. Cartwright, "Simpson's rule cumulative
    integration with MS Excel and irregularly-spaced data", J. Math. Sci. Math. Educ. 12 (2017), as in SciPy.
    """
    y, widths, _ = _samples("simpson", y, x, axis)
    n = aval_of(y).shape[-1]
    if n % 2:
        return _pairs(y, widths, dx)
    if n == 2:
        return 0.5 * (dx if widths is None else widths[..., -1]) * (y[..., -1] + y[..., -2])
    if widths is None:
        h0 = h1 = convert(operand(dx, "simpson"), np.float64)
        whole = _pairs(y[..., :-1], None, dx)
    else:
        h0, h1 = (convert(widths[..., i], np.float64) for i in (-2, -1))
        whole = _pairs(y[..., :-1], widths[..., :-1], dx)
    alpha = _ratio(2 * h1**2 + 3 * h0 * h1, 6 * (h1 + h0))
    beta = _ratio(h1**2 + 3.0 * h0 * h1, 6 * h0)
    eta = _ratio(h1**3, 6 * h0 * (h0 + h1))
    return whole + (alpha * y[..., -1] + beta * y[..., -2] - eta * y[..., -3])


@_scipy
def romb(y: Any, dx: Any = 1.0, axis: int = -1, show: bool = False) -> Any:
    """The integral of ``2**k + 1`` samples by Romberg's rule; see ``scipy.integrate.romb``."""
    y, _, _ = _samples("romb", y, None, axis)
    intervals = aval_of(y).shape[-1] - 1
    k = max(intervals, 1).bit_length() - 1
    if intervals < 1 or 2**k != intervals:
        raise errors.ShapeError(f"romb: 2**k + 1 samples are needed along the axis, got {intervals + 1}")
    h = intervals * dx
    row = [(y[..., 0] + y[..., -1]) / 2.0 * h]
    for i in range(1, k + 1):
        step = intervals >> i
        h = h / 2.0
        new = [0.5 * row[0] + h * fnp.sum(y[..., step :: 2 * step], -1)]
        for j in range(1, i + 1):
            new.append(new[j - 1] + (new[j - 1] - row[j - 1]) / (4.0**j - 1.0))
        row = new
    return row[-1]


# -- integrals of functions -----------------------------------------------------------------------------------------


def fixed_quad(func: Callable[..., Any], a: Any, b: Any, args: tuple[Any, ...] = (), n: int = 5) -> tuple[Any, None]:
    """The integral of a function by Gauss-Legendre quadrature of order ``n``; see ``scipy.integrate.fixed_quad``.

    Args:
        func: ``func(x, *args)``, for a vector of places; the values lie along the last axis.
        a, b: the limits, which may be traced, but not infinite.

    >>> import functrans as ft
    >>> ft.grad(lambda b: fixed_quad(lambda x: x**3, 0.0, b)[0])(2.0).round(9)
    np.float64(8.0)
    """
    if not is_traced() and (math.isinf(a) or math.isinf(b)):
        raise ValueError("fixed_quad: the limits must be finite; quad takes infinite ones")
    places, weights = np.polynomial.legendre.leggauss(operator.index(n))
    return (b - a) / 2.0 * fnp.sum(weights * func((b - a) * (places + 1) / 2.0 + a, *args), -1), None


class _Integral:
    """The integral of a vector of functions of one number, with derivatives in the limits and in operands.

    ``f(x, *operands)`` is a vector of ``size`` entries. Derivatives are integrals of the same kind.
    """

    def __init__(self, f: Callable[..., Any], size: int, options: dict[str, Any], complete: bool = False) -> None:
        self.f, self.size, self.options, self.complete = f, size, options, complete

    def __call__(self, a: Any, b: Any, *operands: Any) -> tuple[Any, Any]:
        """The integral and an estimate of its error."""

        @custom_vjp
        def integral(a: Any, b: Any, *operands: Any) -> tuple[Any, Any]:
            shapes = ShapeDtypeStruct((self.size,), np.float64), ShapeDtypeStruct((), np.float64)
            value, error = pure_callback(self._computed, shapes, a, b, *operands, vmap_method="sequential")
            return value, error

        def end(x: Any, *operands: Any) -> Any:
            """The function at a limit; 0 at an infinite one, which nothing moves."""
            finite = fnp.isfinite(x)
            return fnp.where(finite, self.f(fnp.where(finite, x, 0.0), *operands), 0.0)

        def rule(primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
            a, b, *rest = primals
            value, error = integral(*primals)
            k = len(rest)

            def moved(x: Any, *both: Any) -> Any:
                return jvp(lambda *ops: self.f(x, *ops), tuple(both[:k]), tuple(both[k:]))[1]

            live = [t for t in tangents[2:]]
            inside = _Integral(moved, self.size, self.options)(a, b, *rest, *live)[0] if k else 0.0
            slope = end(b, *rest) * tangents[1] - end(a, *rest) * tangents[0] + inside
            return (value, error), (slope, fnp.zeros_like(error))

        def forwards(*primals: Any) -> Any:
            return integral(*primals), primals

        def backwards(primals: Sequence[Any], cotangents: tuple[Any, Any]) -> Any:
            a, b, *rest = primals
            ct = cotangents[0]
            at_a, at_b = -fnp.sum(ct * end(a, *rest)), fnp.sum(ct * end(b, *rest))
            inexact = [dtypes.is_inexact(aval_of(r).dtype) for r in rest]
            sizes = [aval_of(r).size for r, i in zip(rest, inexact, strict=True) if i]
            if not sizes:
                return (at_a, at_b, *[None] * len(rest))

            def pulled(x: Any, ct: Any, *ops: Any) -> Any:
                cts = vjp(lambda *ops: self.f(x, *ops), *ops)[1](ct)
                return fnp.concatenate([fnp.ravel(c) for c, i in zip(cts, inexact, strict=True) if i])

            flat = _Integral(pulled, sum(sizes), self.options)(a, b, ct, *rest)[0]
            found, start = [], 0
            for r, i in zip(rest, inexact, strict=True):
                size = aval_of(r).size if i else 0
                piece = flat[start : start + size]
                found.append(convert(fnp.reshape(piece, aval_of(r).shape), aval_of(r).dtype) if i else None)
                start += size
            return (at_a, at_b, *found)

        integral.defvjp(forwards, backwards)
        integral.defjvp(rule)
        value, error = integral(a, b, *operands)
        return value, error

    def _computed(self, a: Any, b: Any, *operands: Any) -> tuple[Any, Any]:
        values = jit(lambda x: self.f(x, *operands))
        module = needed("scipy.integrate", "quad")
        if self.complete:
            value, error = module.quad(lambda x: float(values(np.float64(x))[0]), float(a), float(b), **self.options)[
                :2
            ]
            return np.array([value]), np.float64(error)
        tolerances = {"epsabs": self.options.get("epsabs", 1.49e-8), "epsrel": self.options.get("epsrel", 1.49e-8)}
        value, error = module.quad_vec(lambda x: np.array(values(np.float64(x))), float(a), float(b), **tolerances)[:2]
        return np.asarray(value, np.float64), np.float64(error)


def quad(
    func: Callable[..., Any], a: Any, b: Any, args: tuple[Any, ...] = (), epsabs: float = 1.49e-8,
    epsrel: float = 1.49e-8, limit: int = 50, **options: Any,
) -> Any:  # fmt: skip
    """The integral of a function of one number by adaptive quadrature, and an estimate of its error.

    ``scipy.integrate.quad`` is called, also from compiled programs. The integral is differentiable in the limits, in
    ``args``, and in what ``func`` closes over: its derivatives are integrals of derivatives of ``func``, to the same
    tolerances. The estimate of the error counts as constant.

    Args:
        func: ``func(x, *args)``, one real number.
        a, b: the limits, which may be infinite.
        args: a tuple of further arguments.
        epsabs, epsrel, limit, options: as SciPy has them.

    >>> import numpy as np, functrans as ft
    >>> bell = lambda s: quad(lambda x: np.exp(-s * x**2), -np.inf, np.inf)[0]
    >>> np.allclose(ft.grad(bell)(1.0), -np.sqrt(np.pi) / 2)
    True
    """
    args = check_args("quad", args)
    keywords = {"epsabs": epsabs, "epsrel": epsrel, "limit": limit, **options}
    if not is_traced():
        return needed("scipy.integrate", "quad").quad(func, a, b, args, **keywords)
    point = Point("quad", np.float64(0.0))
    function = Function("quad", func, point, args)

    def f(x: Any, *operands: Any) -> Any:
        return fnp.reshape(function.number(fnp.reshape(x, (1,)), *operands), (1,))

    ends = [convert(operand(x, "quad"), np.float64) for x in (a, b)]
    eval_shape(f, np.float64(0.0), *function.operands)
    value, error = _Integral(f, 1, keywords, complete=True)(*ends, *function.operands)
    return value[0], error


__all__ = ["cumulative_trapezoid", "fixed_quad", "quad", "romb", "simpson", "trapezoid"]
