"""Factorisations of matrices, and eigenvalues."""

from __future__ import annotations

from typing import Any

import numpy as np

from functrans import errors, lax
from functrans.core import dtypes
from functrans.core.structural import rebox
from functrans.core.trace import aval_of
from functrans.lax.linalg.cholesky import cholesky_p
from functrans.lax.linalg.common import adjoint, column_scaled, conjugated, transposed
from functrans.lax.linalg.eig import eig_p, eigvals_p
from functrans.lax.linalg.eigh import eigh_p, eigvalsh_p
from functrans.lax.linalg.qr import geqrf_p, qr_p
from functrans.lax.linalg.svd import svd_p, svdvals_p
from functrans.numpy.arguments import concrete
from functrans.numpy.dispatch import implements
from functrans.numpy.linalg.operands import factored_operand, square, two_axes

_ONE = np.ones((1, 1))
EigResult: Any = type(np.linalg.eig(_ONE))
EighResult: Any = type(np.linalg.eigh(_ONE))
QRResult: Any = type(np.linalg.qr(_ONE))
SVDResult: Any = type(np.linalg.svd(_ONE))


@implements(np.linalg.cholesky)
def cholesky(a: Any, /, *, upper: bool = False) -> Any:
    """The Cholesky factor of Hermitian positive definite matrices; see ``numpy.linalg.cholesky``.

    As in NumPy one triangle is read, and the derivative is that of this function: 0 in the other triangle, and in this
    one that of both elements for which an element stands. ``functrans.lax.linalg.cholesky`` takes the Hermitian part
    first, and so has a Hermitian gradient.

    >>> import functrans as ft
    >>> ft.grad(lambda a: cholesky(a)[0, 0])(np.array([[4.0, 2.0], [2.0, 5.0]]))
    array([[0.25, 0.  ],
           [0.  , 0.  ]])
    """
    x = factored_operand("cholesky", a)
    square("cholesky", x)
    return adjoint(cholesky_p.bind(adjoint(x))) if upper else cholesky_p.bind(x)


@implements(np.linalg.qr)
def qr(a: Any, mode: Any = "reduced") -> Any:
    """The QR decomposition, in every mode; see ``numpy.linalg.qr``.

    The first ``min(m, n)`` columns must be independent for a derivative, or LinAlgError is raised; they need not be all
    of them. The columns of Q that ``mode="complete"`` adds to a tall matrix have none, nor has ``mode="raw"``: these
    raise NotDifferentiableError.
    """
    x = factored_operand("qr", a)
    two_axes("qr", x)
    if mode in ("reduced", "complete"):
        return QRResult(*qr_p.bind(x, mode=mode))
    if mode == "r":
        return qr_p.bind(x, mode="r")[0]
    if mode == "raw":
        h, taus = geqrf_p.bind(x)
        return transposed(h), taus
    raise errors.ArgumentError(f"qr: mode must be 'reduced', 'complete', 'r' or 'raw', got {mode!r}")


def _lower(name: str, uplo: Any) -> bool:
    if str(uplo).upper() not in ("L", "U"):
        raise errors.ArgumentError(f"{name}: UPLO must be 'L' or 'U', got {uplo!r}")
    return str(uplo).upper() == "L"


@implements(np.linalg.eigh)
def eigh(a: Any, UPLO: Any = "L") -> Any:
    """Eigenvalues and eigenvectors of Hermitian matrices; see ``numpy.linalg.eigh``.

    As in NumPy one triangle is read, and the derivative is that of this function: 0 in the other triangle, and in this
    one that of both elements for which an element stands. ``functrans.lax.linalg.eigh`` takes the Hermitian part first,
    and so has a Hermitian gradient. Complex eigenvectors are differentiated as if their phases did not turn. Where
    eigenvalues coincide, see ``functrans.lax.linalg.degenerate``.
    """
    x = factored_operand("eigh", a)
    square("eigh", x)
    return EighResult(*eigh_p.bind(x, lower=_lower("eigh", UPLO)))


@implements(np.linalg.eigvalsh)
def eigvalsh(a: Any, UPLO: Any = "L") -> Any:
    """Eigenvalues of Hermitian matrices; see ``numpy.linalg.eigvalsh``, and ``eigh`` for the derivative."""
    x = factored_operand("eigvalsh", a)
    square("eigvalsh", x)
    return eigvalsh_p.bind(x, lower=_lower("eigvalsh", UPLO))


def _all_real(a: Any, w: Any) -> bool:
    """Whether NumPy would return real numbers: it does for real matrices without complex eigenvalues."""
    if dtypes.is_complex(aval_of(a).dtype):
        return False
    value = concrete(w)
    return value is not None and bool(np.all(value.imag == 0))


@implements(np.linalg.eig)
def eig(a: Any) -> Any:
    """Eigenvalues and right eigenvectors; see ``numpy.linalg.eig``.

    NumPy's dtype depends on the data: real where a real matrix has real eigenvalues only. Where these are not known
    while tracing (under ``jit`` and ``vmap``) the result is complex. Eigenvectors have norm 1 and a real element of
    largest modulus, and so have their derivatives. Where eigenvalues coincide, see
    ``functrans.lax.linalg.degenerate``.
    """
    x = factored_operand("eig", a)
    square("eig", x)
    w, v = eig_p.bind(x)
    return EigResult(lax.real(w), lax.real(v)) if _all_real(x, w) else EigResult(w, v)


@implements(np.linalg.eigvals)
def eigvals(a: Any) -> Any:
    """Eigenvalues; see ``numpy.linalg.eigvals``, and ``eig`` for the dtype."""
    x = factored_operand("eigvals", a)
    square("eigvals", x)
    w = eigvals_p.bind(x)
    return lax.real(w) if _all_real(x, w) else w


@implements(np.linalg.svd)
def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Any:
    """The singular value decomposition; see ``numpy.linalg.svd``.

    Singular vectors are differentiated as if complex pairs did not turn. Those that ``full_matrices`` adds to a matrix
    that is not square have no derivative: a function that depends on them raises NotDifferentiableError in reverse
    mode, and forward mode raises it wherever they are computed. Where singular values coincide, or vanish, see
    ``functrans.lax.linalg.degenerate``.
    """
    x = factored_operand("svd", a)
    two_axes("svd", x)
    if hermitian:
        square("svd", x)
        return _hermitian_svd(x, compute_uv)
    if not compute_uv:
        return svdvals_p.bind(x)
    return SVDResult(*svd_p.bind(x, full_matrices=bool(full_matrices)))


def _hermitian_svd(x: Any, compute_uv: bool) -> Any:
    if not compute_uv:
        size = lax.abs(eigvalsh_p.bind(x, lower=True))
        return lax.rev(lax.sort(size), (aval_of(size).ndim - 1,))
    w, v = eigh_p.bind(x, lower=True)
    size = lax.abs(w)
    last = aval_of(w).ndim - 1
    order = lax.rev(lax.argsort(size, last), (last,))
    sign = lax.take_along_axis(lax.sign(w), order, last)
    u = lax.take_along_axis(v, lax.expand_dims(order, (last,)), last + 1)
    vh = transposed(conjugated(column_scaled(u, sign)))
    return SVDResult(u, lax.take_along_axis(size, order, last), vh)


@implements(np.linalg.svdvals)
def svdvals(x: Any, /) -> Any:
    """Singular values; see ``numpy.linalg.svdvals``."""
    a = factored_operand("svdvals", x)
    two_axes("svdvals", a)
    return svdvals_p.bind(a)


@implements(np.linalg.matrix_rank)
def matrix_rank(A: Any, tol: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Any:
    """How many singular values exceed a tolerance; see ``numpy.linalg.matrix_rank``. Its derivative is 0."""
    if tol is not None and rtol is not None:
        raise errors.ArgumentError("matrix_rank: tol and rtol cannot both be given")
    x = factored_operand("matrix_rank", A)
    if aval_of(x).ndim < 2:
        axes = tuple(range(aval_of(x).ndim))
        some = lax.reduce_any(lax.ne(x, aval_of(x).dtype.type(0)), axes)
        return rebox(lax.convert_element_type(some, np.int64), "python")
    values = lax.stop_gradient(svd(x, compute_uv=False, hermitian=hermitian))
    dtype, last = aval_of(values).dtype, aval_of(values).ndim - 1
    if tol is None:
        factor = max(aval_of(x).shape[-2:]) * np.finfo(dtype).eps if rtol is None else rtol
        empty = 0 in aval_of(values).shape
        largest = lax.zeros(aval_of(values).shape[:-1], dtype) if empty else lax.reduce_max(values, (last,))
        limit = lax.mul(*_alike(largest, factor))
    else:
        limit = tol
    limit = factored_operand("matrix_rank", limit)
    values, limit = _alike(values, lax.expand_dims(limit, (aval_of(limit).ndim,)))
    above = lax.convert_element_type(lax.gt(values, limit), np.intp)
    return rebox(lax.reduce_sum(above, (aval_of(above).ndim - 1,)), "numpy")


def _alike(x: Any, y: Any) -> list[Any]:
    y = factored_operand("matrix_rank", y)
    target = dtypes.result_type(aval_of(x).dtype, aval_of(y).dtype)
    return [lax.convert_element_type(z, target) for z in (x, y)]
