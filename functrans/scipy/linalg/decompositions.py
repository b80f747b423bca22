"""Factorisations of matrices, with SciPy's signatures.

Arguments that are about memory and checks (``overwrite_a``, ``check_finite``, ``lwork``, drivers) are SciPy's where
nothing is being transformed, and have no effect while tracing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from functrans import errors, lax
from functrans.core import dtypes
from functrans.core.structural import convert, rebox
from functrans.core.trace import aval_of
from functrans.lax.linalg.cholesky import cholesky_p
from functrans.lax.linalg.common import adjoint, conjugated, hermitian, matrices, triangle
from functrans.lax.linalg.eigh import eigh_p, eigvalsh_p
from functrans.lax.linalg.lu import lu_p, rows_taken
from functrans.lax.linalg.qr import columns_taken, geqrf, pivoted_columns, qr_p
from functrans.lax.linalg.schur import hessenberg_p, rsf2csf_p, schur_p
from functrans.lax.linalg.svd import svd_p, svdvals_p
from functrans.lax.linalg.triangular import triangular_solve_p
from functrans.lax.slicing import slice_in_dim
from functrans.numpy.arguments import known
from functrans.scipy.library import implements
from functrans.scipy.linalg.operands import matrix, operands

_scipy = implements("scipy.linalg")


def _triangular(a: Any, b: Any, lower: bool, trans: bool) -> Any:
    return triangular_solve_p.bind(a, b, lower=lower, transposed=trans, unit=False)


# -- cholesky, lu, qr -------------------------------------------------------------------------------------------------


@_scipy
def cholesky(a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """The Cholesky factor; see ``scipy.linalg.cholesky``. One triangle is read: see ``numpy.linalg.cholesky``."""
    a = matrix("cholesky", a, square=True)
    return cholesky_p.bind(a) if lower else adjoint(cholesky_p.bind(adjoint(a)))


@_scipy
def cho_factor(a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> tuple[Any, bool]:
    """The Cholesky factor for ``cho_solve``, with ``a`` in the other triangle; see ``scipy.linalg.cho_factor``."""
    x = matrix("cho_factor", a, square=True)
    factor = cholesky_p.bind(x) if lower else adjoint(cholesky_p.bind(adjoint(x)))
    return lax.add(factor, triangle(x, lower=not lower, weight=0.0)), lower


@_scipy
def lu(
    a: Any, permute_l: bool = False, overwrite_a: bool = False, check_finite: bool = True, p_indices: bool = False
) -> Any:
    """The LU decomposition with partial pivoting; see ``scipy.linalg.lu``. The derivative is that for fixed pivots."""
    a = matrix("lu", a)
    aval = aval_of(a)
    rows, columns = aval.shape[-2:]
    k, axis = min(rows, columns), aval.ndim - 1
    packed, _, permutation = lu_p.bind(a)
    ones = lax.broadcast_to(lax.eye(rows, k, dtype=aval.dtype), (*aval.shape[:-2], rows, k))
    lower = lax.add(triangle(slice_in_dim(packed, 0, k, axis=axis), lower=True, weight=0.0), ones)
    upper = triangle(slice_in_dim(packed, 0, k, axis=axis - 1), lower=False)
    places = lax.convert_element_type(lax.argsort(permutation, axis - 1), np.int32)
    if permute_l:
        return rows_taken(lower, places), upper
    if p_indices:
        return places, lower, upper
    return lax.one_hot(places, rows, dtype=dtypes.real_dtype(aval.dtype)), lower, upper


@_scipy
def lu_factor(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> tuple[Any, Any]:
    """The LU decomposition for ``lu_solve``; see ``scipy.linalg.lu_factor``."""
    packed, pivots, _ = lu_p.bind(matrix("lu_factor", a))
    return packed, pivots


@_scipy
def qr(
    a: Any,
    overwrite_a: bool = False,
    lwork: Any = None,
    mode: str = "full",
    pivoting: bool = False,
    check_finite: bool = True,
) -> tuple[Any, ...]:
    """The QR decomposition; see ``scipy.linalg.qr``, and ``functrans.numpy.linalg.qr`` for the derivative.

    With ``pivoting`` the derivative is that for fixed pivots.
    """
    if mode not in ("full", "qr", "r", "economic", "raw"):
        raise errors.ArgumentError(f"qr: mode must be 'full', 'r', 'economic' or 'raw', got {mode!r}")
    a = matrix("qr", a)
    pivots: tuple[Any, ...] = ()
    if pivoting:
        pivots = (pivoted_columns(a),)
        a = columns_taken(a, pivots[0])
    if mode == "raw":
        packed, taus = geqrf(a)
        k = min(aval_of(a).shape[-2:])
        return (packed, taus), triangle(slice_in_dim(packed, 0, k, axis=aval_of(a).ndim - 2), lower=False), *pivots
    if mode == "r":
        (r,) = qr_p.bind(a, mode="r")
        rows, columns = aval_of(a).shape[-2:]
        if rows > columns:
            zero = lax.broadcast_to(aval_of(a).dtype.type(0), (*aval_of(a).shape[:-2], rows - columns, columns))
            r = lax.concatenate([r, zero], aval_of(a).ndim - 2)
        return (r, *pivots)
    q, r = qr_p.bind(a, mode="reduced" if mode == "economic" else "complete")
    return (q, r, *pivots)


@_scipy
def qr_multiply(
    a: Any,
    c: Any,
    mode: str = "right",
    pivoting: bool = False,
    conjugate: bool = False,
    overwrite_a: bool = False,
    overwrite_c: bool = False,
) -> tuple[Any, ...]:
    """The factor Q of a matrix times another matrix, and R; see ``scipy.linalg.qr_multiply``."""
    if mode not in ("left", "right"):
        raise errors.ArgumentError(f"qr_multiply: mode must be 'left' or 'right', got {mode!r}")
    a, c = operands("qr_multiply", a, c)
    flat = aval_of(c).ndim == 1
    if flat:
        c = lax.reshape(c, (aval_of(c).size, 1) if mode == "left" else (1, aval_of(c).size))
    q, r, *pivots = qr.__wrapped__(a, mode="economic", pivoting=pivoting)  # type: ignore[attr-defined]
    q = conjugated(q) if conjugate else q
    extent, axis = (aval_of(q).shape[-1], -2) if mode == "left" else (aval_of(q).shape[-2], -1)
    if aval_of(c).shape[axis] != extent:
        raise errors.ShapeError(
            f"qr_multiply: axis {axis} of c must have extent {extent} for mode={mode!r}, got types {aval_of(a)} and "
            f"{aval_of(c)}"
        )
    product = lax.matmul(q, c) if mode == "left" else lax.matmul(c, q)
    return lax.reshape(product, (aval_of(product).size,)) if flat else product, r, *pivots


@_scipy
def svd(
    a: Any,
    full_matrices: bool = True,
    compute_uv: bool = True,
    overwrite_a: bool = False,
    check_finite: bool = True,
    lapack_driver: str = "gesdd",
) -> Any:
    """The singular value decomposition; see ``scipy.linalg.svd``, and ``numpy.linalg.svd`` here for derivatives."""
    a = matrix("svd", a)
    return tuple(svd_p.bind(a, full_matrices=bool(full_matrices))) if compute_uv else svdvals_p.bind(a)


# -- eigenvalues ------------------------------------------------------------------------------------------------------


def _chosen(name: str, w: Any, by_index: Any, by_value: Any) -> tuple[int, int] | None:
    """The range of the eigenvalues that are asked for."""
    n = aval_of(w).shape[-1]
    if by_index is not None:
        low, high = (int(k) for k in by_index)
        if not 0 <= low <= high < n:
            raise errors.ArgumentError(f"{name}: a range of eigenvalues must lie in 0 to {n - 1}, got ({low}, {high})")
        return low, high + 1
    if by_value is not None:
        values = known(name, "the eigenvalues", w, "Choose them by index instead.")
        low, high = (int(np.searchsorted(values, bound, side="right")) for bound in by_value)
        return low, high
    return None


def _eigenpairs(name: str, a: Any, lower: bool, eigvals_only: bool, by_index: Any, by_value: Any) -> Any:
    """Values alone, or values and vectors, of the eigenvalues that are asked for."""
    if eigvals_only:
        w, v = eigvalsh_p.bind(a, lower=lower), None
    else:
        w, v = eigh_p.bind(a, lower=lower)
    chosen = _chosen(name, w, by_index, by_value)
    if chosen is not None:
        w = slice_in_dim(w, *chosen, axis=aval_of(w).ndim - 1)
        v = None if v is None else slice_in_dim(v, *chosen, axis=aval_of(v).ndim - 1)
    return w if v is None else (w, v)


def eigh(
    a: Any,
    b: Any = None,
    *,
    lower: bool = True,
    eigvals_only: bool = False,
    overwrite_a: bool = False,
    overwrite_b: bool = False,
    type: int = 1,
    check_finite: bool = True,
    subset_by_index: Any = None,
    subset_by_value: Any = None,
    driver: str | None = None,
) -> Any:
    """Eigenvalues and eigenvectors of Hermitian matrices, also of a pair of them; see ``scipy.linalg.eigh``.

    It is computed by NumPy, traced or not, so that vectors have one sign; SciPy's drivers may give another one. With
    ``b`` the problem is reduced by its Cholesky factor. See ``functrans.numpy.linalg.eigh`` for the derivative.

    >>> eigh(np.diag([2.0, 3.0]), np.diag([1.0, 2.0]), eigvals_only=True)
    array([1.5, 2. ])
    """
    if type not in (1, 2, 3):
        raise errors.ArgumentError(f"eigh: type must be 1, 2 or 3, got {type}")
    if subset_by_index is not None and subset_by_value is not None:
        raise errors.ArgumentError("eigh: subset_by_index and subset_by_value cannot both be given")
    if b is None:
        a = matrix("eigh", a, square=True)
        return _eigenpairs("eigh", a, bool(lower), eigvals_only, subset_by_index, subset_by_value)
    a, b = (matrix("eigh", x, square=True) for x in operands("eigh", a, b))
    factor = cholesky_p.bind(b if lower else adjoint(b))
    whole = hermitian(a, bool(lower))
    if type == 1:
        half = _triangular(factor, whole, True, False)
        reduced = _triangular(factor, adjoint(half), True, False)
    else:
        reduced = matrices(adjoint(factor), whole, factor)
    found = _eigenpairs("eigh", reduced, True, eigvals_only, subset_by_index, subset_by_value)
    if eigvals_only:
        return found
    w, v = found
    if type == 3:
        return w, lax.matmul(factor, v)
    return w, _triangular(conjugated(factor), v, True, True)


def eigh_tridiagonal(
    d: Any,
    e: Any,
    eigvals_only: bool = False,
    select: Any = "a",
    select_range: Any = None,
    check_finite: bool = True,
    tol: float = 0.0,
    lapack_driver: str = "auto",
) -> Any:
    """Eigenvalues and eigenvectors of real symmetric tridiagonal matrices; see ``scipy.linalg.eigh_tridiagonal``.

    It is computed as of a dense matrix, by NumPy, traced or not, so that vectors have one sign.

    >>> eigh_tridiagonal(np.array([2.0, 2.0]), np.array([1.0]), eigvals_only=True)
    array([1., 3.])
    """
    d, e = operands("eigh_tridiagonal", d, e)
    if dtypes.is_complex(aval_of(d).dtype):
        raise errors.DTypeError(f"eigh_tridiagonal: real diagonals are needed, got {aval_of(d)} and {aval_of(e)}")
    if aval_of(e).shape != (*aval_of(d).shape[:-1], aval_of(d).shape[-1] - 1):
        raise errors.ShapeError(
            f"eigh_tridiagonal: e must have one element less than d, got types {aval_of(d)} and {aval_of(e)}"
        )
    codes = {0: "a", 1: "v", 2: "i", "all": "a", "value": "v", "index": "i"}
    which = codes.get(select, select)
    if which not in ("a", "v", "i"):
        raise errors.ArgumentError(f"eigh_tridiagonal: select must be 'a', 'v' or 'i', got {select!r}")
    whole = lax.add(lax.embed_diagonal(d), lax.embed_diagonal(e, -1))
    by_index, by_value = (select_range if which == kind else None for kind in "iv")
    return _eigenpairs("eigh_tridiagonal", whole, True, eigvals_only, by_index, by_value)


# -- forms without a derivative ---------------------------------------------------------------------------------------


@_scipy
def hessenberg(a: Any, calc_q: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """The Hessenberg form, and Q with ``calc_q``; see ``scipy.linalg.hessenberg``. It has no derivative."""
    a = matrix("hessenberg", a, square=True)
    aval = aval_of(a)
    n, axis = aval.shape[-1], aval.ndim - 1
    if n <= 2:
        eye = lax.broadcast_to(lax.eye(n, dtype=aval.dtype), aval.shape)
        return (a, eye) if calc_q else a
    packed, taus = hessenberg_p.bind(a)
    inner = slice_in_dim(slice_in_dim(packed, 1, None, axis=axis - 1), 0, -1, axis=axis)
    lead, zero = ((0, 0, 0),) * (axis - 1), aval.dtype.type(0)
    vectors = lax.pad(triangle(inner, lower=True, weight=0.0), zero, (*lead, (1, 0, 0), (0, 1, 0)))
    form = lax.sub(packed, vectors)
    if not calc_q:
        return form
    small = lax.linalg.householder_product(inner, taus)
    corner = lax.pad(small, zero, (*lead, (1, 0, 0), (1, 0, 0)))
    first = np.zeros((n, n), aval.dtype)
    first[0, 0] = 1
    return form, lax.add(corner, lax.broadcast_to(first, aval.shape))


@_scipy
def schur(
    a: Any,
    output: str = "real",
    lwork: Any = None,
    overwrite_a: bool = False,
    sort: Any = None,
    check_finite: bool = True,
) -> tuple[Any, ...]:
    """The Schur form; see ``scipy.linalg.schur``. It has no derivative.

    Without SciPy it is computed for complex matrices, and for ``output="complex"``.
    """
    if output not in ("real", "complex", "r", "c"):
        raise errors.ArgumentError(f"schur: output must be 'real' or 'complex', got {output!r}")
    a = matrix("schur", a, square=True)
    kind = "complex" if output in ("complex", "c") else "real"
    t, z, *count = schur_p.bind(a, output=kind, sort=sort)
    return (t, z, *(rebox(n, "python") for n in count))


@_scipy
def rsf2csf(T: Any, Z: Any, check_finite: bool = True) -> tuple[Any, Any]:
    """A real Schur form as a complex one; see ``scipy.linalg.rsf2csf``. It has no derivative."""
    t, z = (matrix("rsf2csf", x, square=True) for x in operands("rsf2csf", T, Z))
    if aval_of(t).shape != aval_of(z).shape:
        raise errors.ShapeError(f"rsf2csf: T and Z must have one shape, got types {aval_of(t)} and {aval_of(z)}")
    target = dtypes.complex_dtype(aval_of(t).dtype)
    t, z = rsf2csf_p.bind(convert(t, target), convert(z, target))
    return t, z


__all__ = [
    "cho_factor",
    "cholesky",
    "eigh",
    "eigh_tridiagonal",
    "hessenberg",
    "lu",
    "lu_factor",
    "qr",
    "qr_multiply",
    "rsf2csf",
    "schur",
    "svd",
]
