"""Functions of matrices: exponentials, roots, polar factors, and functions given for numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from functrans import errors, lax
from functrans.api.custom import custom_jvp
from functrans.api.linear import jvp
from functrans.core import dtypes
from functrans.core.structural import convert
from functrans.core.trace import aval_of
from functrans.lax.linalg.common import adjoint, column_scaled, transposed
from functrans.lax.linalg.degenerate import as_column, as_row, differences
from functrans.lax.linalg.eig import eig_p
from functrans.lax.linalg.exponential import expm_frechet_p, expm_p
from functrans.lax.linalg.lu import solve_p
from functrans.lax.linalg.sylvester import polar_p, sqrtm_p
from functrans.numpy.arguments import concrete
from functrans.scipy.library import implements
from functrans.scipy.linalg.operands import matrix, operands

_scipy = implements("scipy.linalg")


@_scipy
def expm(A: Any) -> Any:
    """The matrix exponential, of stacks too; see ``scipy.linalg.expm``. It is differentiable to any order.

    >>> import functrans as ft
    >>> ft.grad(lambda t: expm(t * np.array([[0.0, 1.0], [0.0, 0.0]]))[0, 1])(0.5).round(6)
    np.float64(1.0)
    """
    return expm_p.bind(matrix("expm", A, square=True))


@_scipy
def expm_frechet(
    A: Any, E: Any, method: str | None = None, compute_expm: bool = True, check_finite: bool = True
) -> Any:
    """The exponential and its derivative in a direction; see ``scipy.linalg.expm_frechet``."""
    if method not in (None, "SPS", "blockEnlarge"):
        raise errors.ArgumentError(f"expm_frechet: method must be None, 'SPS' or 'blockEnlarge', got {method!r}")
    a, e = (matrix("expm_frechet", x, square=True) for x in operands("expm_frechet", A, E))
    if aval_of(a).shape != aval_of(e).shape:
        raise errors.ShapeError(f"expm_frechet: A and E must have one shape, got types {aval_of(a)} and {aval_of(e)}")
    change = expm_frechet_p.bind(a, e)
    return (expm_p.bind(a), change) if compute_expm else change


def _maybe_real(x: Any, out: Any, rounding: float) -> Any:
    """A complex result as a real one, where the operand is real and the imaginary parts are known to vanish."""
    if dtypes.is_complex(aval_of(x).dtype):
        return out
    value = concrete(out)
    if value is None or bool(np.any(abs(value.imag) > rounding * max(1.0, float(np.max(abs(value), initial=0.0))))):
        return out
    return lax.real(out)


@_scipy
def sqrtm(A: Any, disp: Any = None, blocksize: Any = None) -> Any:
    """The principal square root of a matrix, of stacks too; see ``scipy.linalg.sqrtm``.

    SciPy's dtype depends on the data: real where the root of a real matrix is. Where that is not known while tracing
    (under ``jit`` and ``vmap``) the result is complex. The derivative solves Sylvester's equation: equal eigenvalues do
    no harm to it, and at a singular matrix, where it does not exist, LinAlgError is raised.
    """
    a = matrix("sqrtm", A, square=True)
    return _maybe_real(a, sqrtm_p.bind(a), 0.0)


@_scipy
def polar(a: Any, side: str = "right") -> tuple[Any, Any]:
    """The polar decomposition; see ``scipy.linalg.polar``.

    Equal singular values do no harm to its derivative. At a matrix without full rank it does not exist, and LinAlgError
    is raised.
    """
    if side not in ("right", "left"):
        raise errors.ArgumentError(f"polar: side must be 'right' or 'left', got {side!r}")
    a = matrix("polar", a)
    u = polar_p.bind(a)
    if side == "right":
        return u, _half_sum(lax.matmul(adjoint(u), a))
    return u, _half_sum(lax.matmul(a, adjoint(u)))


def _half_sum(x: Any) -> Any:
    return lax.mul(lax.add(x, adjoint(x)), 0.5)


# -- functions given for numbers --------------------------------------------------------------------------------------


def _spectral(func: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A function of matrices made of one of numbers, by eigenvectors.

    The derivative is that of Daleckii and Krein: in the basis of the eigenvectors, the direction times the divided
    differences of the function (Higham, "Functions of Matrices", theorem 3.11 and corollary 3.12).
    """

    def parts(a: Any) -> tuple[Any, Any, Any, Any]:
        w, v = eig_p.bind(a)
        f = convert(func(w), aval_of(w).dtype)
        whole = solve_p.bind(transposed(v), transposed(column_scaled(v, f)))
        return w, v, f, transposed(whole)

    @custom_jvp
    def apply(a: Any) -> Any:
        return parts(a)[3]

    @apply.defjvp
    def rule(primals: Any, tangents: Any) -> tuple[Any, Any]:
        (a,), (t,) = primals, tangents
        w, v, f, whole = parts(a)
        slope = jvp(func, (w,), (lax.ones_like(w),))[1]
        slope = convert(slope, aval_of(w).dtype)
        gaps = differences(w)
        size = lax.abs(gaps)
        scale = lax.stop_gradient(lax.reduce_max(lax.abs(w), (aval_of(w).ndim - 1,)))
        # Where a quotient of differences would lose more than half the digits, the mean slope is exact to more of them.
        limit = float(np.finfo(aval_of(scale).dtype).eps ** (1 / 3))
        close = lax.le(size, lax.expand_dims(lax.mul(scale, limit), (aval_of(w).ndim - 1, aval_of(w).ndim)))
        quotient = lax.div(differences(f), lax.select(close, aval_of(w).dtype.type(1), gaps))
        mean = lax.mul(lax.add(as_row(slope), as_column(slope)), 0.5)
        factors = lax.select(close, mean, quotient)
        inner = lax.mul(factors, solve_p.bind(v, lax.matmul(convert(t, aval_of(w).dtype), v)))
        change = transposed(solve_p.bind(transposed(v), transposed(lax.matmul(v, inner))))
        return whole, change

    return apply


@_scipy
def funm(A: Any, func: Callable[[Any], Any], disp: bool = True) -> Any:
    """The function of a matrix that a function of complex numbers gives; see ``scipy.linalg.funm``.

    Under a transformation it is computed by eigenvectors, of which there must be n independent ones, and ``func`` must
    be analytic, act on each element apart, and be differentiable. Equal eigenvalues do no harm to the first
    derivative; for second ones see ``functrans.lax.linalg.degenerate``. Where it is not known while tracing that a
    result is real (under ``jit`` and ``vmap``) it is complex.

    >>> import functrans as ft
    >>> ft.grad(lambda a: funm(a, np.exp)[0, 1].real)(np.zeros((2, 2))).round(6)
    array([[0., 1.],
           [0., 0.]])
    """
    a = matrix("funm", A, square=True)
    if not aval_of(a).size:
        return a
    out = _spectral(func)(a)
    real = _maybe_real(a, out, 1000 * float(np.finfo(aval_of(out).dtype).eps))
    return real if disp else (real, np.finfo(aval_of(out).dtype).eps)


__all__ = ["expm", "expm_frechet", "funm", "polar", "sqrtm"]
