"""Polynomials as vectors of coefficients, the highest power first.

Where NumPy leaves out leading zeros, the shape of the result depends on the coefficients, which must then be known
while tracing, as under ``grad`` alone; ``trim_leading_zeros=False`` (``strip_zeros=False``) leaves them in.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from functrans import errors, lax
from functrans.core import dtypes
from functrans.core.structural import convert, rebox
from functrans.core.trace import aval_of
from functrans.numpy import elementwise as ew
from functrans.numpy.arguments import concrete, known
from functrans.numpy.calculus import convolve
from functrans.numpy.creation import vander
from functrans.numpy.dispatch import extends, implements, operand
from functrans.numpy.joining import at_least, concatenate
from functrans.numpy.linear import matmul

# -- coefficients -----------------------------------------------------------------------------------------------------


@implements(np.polyval)
def polyval(p: Any, x: Any) -> Any:
    """The value of a polynomial, highest power first; see ``numpy.polyval``."""
    p, x = operand(p, "polyval"), operand(x, "polyval")
    out = rebox(lax.zeros_like(x), "array")
    for i in range(aval_of(p).shape[0]):
        out = ew.add(ew.multiply(out, rebox(convert(x, aval_of(x).dtype), "array")), lax.index(p, i))
    return out


@implements(np.polyadd)
def polyadd(a1: Any, a2: Any) -> Any:
    """The sum of two polynomials, highest power first; see ``numpy.polyadd``."""
    a1, a2 = at_least(operand(a1, "polyadd"), 1), at_least(operand(a2, "polyadd"), 1)
    missing = aval_of(a2).size - aval_of(a1).size
    padded = [lax.pad(p, aval_of(p).dtype.type(0), [(max(n, 0), 0, 0)]) for p, n in ((a1, missing), (a2, -missing))]
    return ew.add(*padded)


@implements(np.polysub)
def polysub(a1: Any, a2: Any) -> Any:
    """The difference of two polynomials, highest power first; see ``numpy.polysub``."""
    return polyadd(a1, ew.negative(a2))


@implements(np.polyder)
def polyder(p: Any, m: int = 1) -> Any:
    """The derivative of a polynomial, highest power first; see ``numpy.polyder``."""
    out = operand(p, "polyder")
    if m < 0:
        raise errors.ArgumentError(f"polyder: the order must not be negative, got m={m}. Write polyint")
    for _ in range(m):
        n = aval_of(out).size - 1
        out = ew.multiply(lax.slice_in_dim(out, None, -1), np.arange(n, 0, -1))
    return out


@implements(np.polyint)
def polyint(p: Any, m: int = 1, k: Any = None) -> Any:
    """The integral of a polynomial, highest power first; see ``numpy.polyint``."""
    out = operand(p, "polyint")
    if m < 0:
        raise errors.ArgumentError(f"polyint: the order must not be negative, got m={m}. Write polyder")
    constants = at_least(operand(0.0 if k is None else k, "polyint"), 1)
    if aval_of(constants).size == 1 and m > 1:
        constants = lax.tile(constants, (m,))
    if aval_of(constants).size < m:
        raise errors.ShapeError(f"polyint: {m} constants are needed, got {aval_of(constants).size}")
    for i in range(m):
        out = ew.true_divide(out, np.arange(aval_of(out).size, 0, -1))
        out = concatenate([out, lax.slice_in_dim(constants, i, i + 1)])
    return out


# -- products and quotients -------------------------------------------------------------------------------------------


def _mend(name: str, option: str) -> str:
    return f"With {option}=False functrans.numpy.{name} leaves zeros in, so that the shape does not depend on values"


def _trimmed(name: str, p: Any, tolerance: float = 0.0) -> Any:
    """A polynomial without leading zeros; its last coefficient stays."""
    values = known(name, "the coefficients", p, _mend(name, "trim_leading_zeros"))
    found = np.flatnonzero(np.abs(values) > tolerance)
    first = int(found[0]) if found.size else values.size - 1
    return lax.slice_in_dim(p, first, None) if first > 0 else p


@extends(np.polymul, trim_leading_zeros=True)
def polymul(a1: Any, a2: Any, *, trim_leading_zeros: bool = True) -> Any:
    """The product of two polynomials, highest power first; see ``numpy.polymul``.

    Args:
        trim_leading_zeros: whether leading zeros of the operands are left out first, as NumPy does.

    Raises:
        ConcretizationError: they are, and the coefficients are not known while tracing.

    >>> polymul([0.0, 1.0], [1.0, 2.0], trim_leading_zeros=False)
    array([0., 1., 2.])
    """
    a1, a2 = (at_least(operand(p, "polymul"), 1) for p in (a1, a2))
    if trim_leading_zeros:
        a1, a2 = _trimmed("polymul", a1), _trimmed("polymul", a2)
    return convolve(a1, a2)


@extends(np.polydiv, trim_leading_zeros=True)
def polydiv(u: Any, v: Any, *, trim_leading_zeros: bool = True) -> Any:
    """The quotient and the remainder of two polynomials, highest power first; see ``numpy.polydiv``.

    Args:
        trim_leading_zeros: whether the remainder has no leading coefficients that are zero up to 1e-8, as NumPy's has
            not. Otherwise it is as long as ``u``.

    Raises:
        ConcretizationError: it has none, and the coefficients are not known while tracing.

    >>> [p.tolist() for p in polydiv([1.0, 0.0, 1.0], [1.0, 1.0], trim_leading_zeros=False)]
    [[1.0, -1.0], [0.0, 0.0, 2.0]]
    """
    u, v = (ew.add(at_least(operand(p, "polydiv"), 1), 0.0) for p in (u, v))
    dtype = dtypes.result_type(aval_of(u).dtype, aval_of(v).dtype)
    u, v = convert(u, dtype), convert(v, dtype)
    m, n = aval_of(u).size - 1, aval_of(v).size - 1
    scale = ew.true_divide(1.0, lax.index(v, 0))
    quotient = []
    r = u
    for k in range(m - n + 1):
        factor = lax.mul(scale, lax.index(r, k))
        quotient.append(lax.reshape(factor, (1,)))
        r = lax.at(r)[k : k + n + 1].add(lax.neg(lax.mul(factor, v)))
    q = lax.concatenate(quotient, 0) if quotient else lax.zeros((1,), dtype)
    # What NumPy's allclose takes for zero.
    return q, _trimmed("polydiv", r, 1e-8) if trim_leading_zeros else r


# -- roots and fits ---------------------------------------------------------------------------------------------------


@implements(np.poly)
def poly(seq_of_zeros: Any) -> Any:
    """The polynomial with given roots, or the characteristic polynomial of a matrix; see ``numpy.poly``.

    Complex roots that come in conjugate pairs give real coefficients where they are known while tracing, and complex
    ones elsewhere.
    """
    zeros = at_least(operand(seq_of_zeros, "poly"), 1)
    shape = aval_of(zeros).shape
    if len(shape) == 2 and shape[0] == shape[1] != 0:
        zeros = np.linalg.eigvals(zeros)
    elif len(shape) != 1:
        raise errors.ShapeError(f"poly: a vector of roots or a square matrix is needed, got shape {shape}")
    else:
        kind = aval_of(zeros).dtype
        zeros = convert(zeros, kind if kind.char in "fdFD" else np.float64)
    if not aval_of(zeros).size:
        return 1.0
    dtype = aval_of(zeros).dtype
    out: Any = lax.ones((1,), dtype)
    nothing = lax.zeros((1,), dtype)
    for i in range(aval_of(zeros).size):
        shifted = lax.mul(lax.index(zeros, i), lax.concatenate([nothing, out], 0))
        out = lax.sub(lax.concatenate([out, nothing], 0), shifted)
    if dtypes.is_complex(dtype):
        values = concrete(zeros)
        if values is not None and np.all(np.sort(values) == np.sort(values.conj())):
            out = lax.real(out)
    return out


@extends(np.roots, strip_zeros=True)
def roots(p: Any, *, strip_zeros: bool = True) -> Any:
    """The roots of a polynomial, highest power first, as the eigenvalues of its companion matrix; see ``numpy.roots``.

    Args:
        strip_zeros: whether zeros at either end of ``p`` are left out first, as NumPy does; the first coefficient must
            not be zero otherwise.

    Raises:
        ConcretizationError: they are, and the coefficients are not known while tracing.
    """
    p = at_least(operand(p, "roots"), 1)
    if aval_of(p).ndim != 1:
        raise errors.ShapeError(f"roots: a vector of coefficients is needed, got shape {aval_of(p).shape}")
    at_zero = 0
    if strip_zeros:
        values = known("roots", "the coefficients", p, _mend("roots", "strip_zeros"))
        found = np.flatnonzero(values)
        if not found.size:
            return lax.zeros((0,), np.float64)
        at_zero = values.size - 1 - int(found[-1])
        p = lax.slice_in_dim(p, int(found[0]), int(found[-1]) + 1)
    p = p if dtypes.is_inexact(aval_of(p).dtype) else convert(p, np.float64)
    n, dtype = aval_of(p).size - 1, aval_of(p).dtype
    if n > 0:
        first = lax.neg(lax.div(lax.slice_in_dim(p, 1, None), lax.index(p, 0)))
        below = np.eye(n - 1, n, dtype=dtype)
        found_roots = np.linalg.eigvals(lax.concatenate([lax.reshape(first, (1, n)), below], 0))
    else:
        found_roots = lax.zeros((0,), dtype)
    return lax.concatenate([found_roots, lax.zeros((at_zero,), aval_of(found_roots).dtype)], 0)


@implements(np.polyfit)
def polyfit(
    x: Any, y: Any, deg: Any, rcond: float | None = None, full: bool = False, w: Any = None, cov: Any = False
) -> Any:
    """The polynomial that fits points best, in the sense of least squares; see ``numpy.polyfit``.

    The degree is static. The derivative is that of the least-squares solution, for points that determine it.
    """
    order = int(deg)
    x, y = ew.add(operand(x, "polyfit"), 0.0), ew.add(operand(y, "polyfit"), 0.0)
    xa, ya = aval_of(x), aval_of(y)
    if order < 0 or xa.ndim != 1 or not xa.size or ya.ndim not in (1, 2) or ya.shape[0] != xa.shape[0]:
        raise errors.ShapeError(
            f"polyfit: points of shape (n,), values of shape (n,) or (n, k) and a degree from 0 on are needed, got "
            f"shapes {xa.shape} and {ya.shape} and deg={order}"
        )
    tolerance = xa.size * float(np.finfo(xa.dtype).eps) if rcond is None else rcond
    lhs, rhs = vander(x, order + 1), y
    if w is not None:
        w = ew.add(operand(w, "polyfit"), 0.0)
        if aval_of(w).shape != xa.shape:
            raise errors.ShapeError(f"polyfit: weights of shape {xa.shape} are needed, got {aval_of(w).shape}")
        column = lax.expand_dims(w, (1,))
        lhs = ew.multiply(lhs, column)
        rhs = ew.multiply(rhs, column if ya.ndim == 2 else w)
    scale = ew.sqrt(lax.reduce_sum(lax.mul(lhs, lhs), (0,)))
    lhs = lax.div(lhs, scale)
    dtype = dtypes.result_type(aval_of(lhs).dtype, aval_of(rhs).dtype)
    found, residuals, rank, singular = np.linalg.lstsq(convert(lhs, dtype), convert(rhs, dtype), tolerance)
    found = ew.true_divide(found, scale if ya.ndim == 1 else lax.expand_dims(scale, (1,)))
    if full:
        return found, residuals, rank, singular, tolerance
    if not cov:
        return found
    base = np.linalg.inv(matmul(lax.transpose(lhs, (1, 0)), lhs))
    base = lax.div(base, lax.mul(lax.expand_dims(scale, (1,)), scale))
    if cov == "unscaled":
        factor: Any = 1.0
    else:
        if xa.size <= order + 1:
            raise ValueError(
                f"polyfit: {xa.size} points are too few to estimate the covariance of {order + 1} coefficients. Pass "
                f"cov='unscaled', or more points"
            )
        factor = lax.div(residuals, float(xa.size - (order + 1)))
    if ya.ndim == 1:
        return found, ew.multiply(base, factor)
    return found, ew.multiply(lax.expand_dims(base, (2,)), factor)
