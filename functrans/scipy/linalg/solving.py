"""Systems of equations, inverses and determinants, with SciPy's signatures.

Arguments that are about memory and checks (``overwrite_a``, ``check_finite``) are SciPy's where nothing is being
transformed, and have no effect while tracing.
"""

from __future__ import annotations

from typing import Any

from functrans import errors, lax
from functrans.core.structural import broadcast_shapes
from functrans.core.trace import aval_of
from functrans.lax.linalg.banded import tridiagonal_solve_p
from functrans.lax.linalg.cholesky import cholesky_p
from functrans.lax.linalg.common import (
    adjoint,
    conjugated,
    diagonal_of,
    hermitian,
    identity,
    row_scaled,
    transposed,
    triangle,
)
from functrans.lax.linalg.determinant import det_p
from functrans.lax.linalg.lu import inv_p, lu_pivots_to_permutation, rows_taken, solve_p
from functrans.lax.linalg.triangular import triangular_solve_p
from functrans.scipy.library import implements
from functrans.scipy.linalg.operands import matrix, operands

_scipy = implements("scipy.linalg")

_STRUCTURES: dict[str | None, str] = {
    None: "general",
    "gen": "general",
    "sym": "symmetric",
    "her": "hermitian",
    "pos": "positive definite",
    "tri": "tridiagonal",
    **{
        name: name
        for name in (
            "general",
            "diagonal",
            "tridiagonal",
            "banded",
            "upper triangular",
            "lower triangular",
            "symmetric",
            "hermitian",
            "positive definite",
        )
    },
}
_TRANSPOSED: dict[Any, str] = {0: "N", 1: "T", 2: "C", "N": "N", "T": "T", "C": "C"}


def _trans(name: str, trans: Any) -> str:
    if trans not in _TRANSPOSED:
        raise errors.ArgumentError(f"{name}: trans must be 0, 1 or 2 ('N', 'T' or 'C'), got {trans!r}")
    return _TRANSPOSED[trans]


def _columns(name: str, a: Any, b: Any) -> tuple[Any, Any, bool]:
    """A square matrix and a right-hand side as a matrix with the same leading axes, and whether it was a vector."""
    a, b = operands(name, a, b)
    a = matrix(name, a, square=True)
    if not aval_of(b).ndim:
        raise errors.ShapeError(f"{name}: b must have an axis or more, got {aval_of(b)}")
    vector = aval_of(b).ndim == 1
    if vector:
        b = lax.expand_dims(b, (1,))
    if aval_of(a).shape[-1] != aval_of(b).shape[-2]:
        raise errors.ShapeError(
            f"{name}: the matrix has {aval_of(a).shape[-1]} rows and the right-hand side {aval_of(b).shape[-2]}, for "
            f"operands of types {aval_of(a)} and {aval_of(b)}"
        )
    lead = broadcast_shapes(name, aval_of(a).shape[:-2], aval_of(b).shape[:-2])
    a, b = (lax.broadcast_to(x, (*lead, *aval_of(x).shape[-2:])) for x in (a, b))
    return a, b, vector


def _shaped(out: Any, vector: bool) -> Any:
    return lax.squeeze(out, (aval_of(out).ndim - 1,)) if vector else out


def _structure(name: str, assume_a: Any) -> str:
    if assume_a not in _STRUCTURES:
        raise errors.ArgumentError(
            f"{name}: assume_a must be None or one of {', '.join(repr(k) for k in _STRUCTURES if k)}, got {assume_a!r}"
        )
    return _STRUCTURES[assume_a]


def _triangular(a: Any, b: Any, lower: bool, trans: bool = False, unit: bool = False) -> Any:
    return triangular_solve_p.bind(a, b, lower=lower, transposed=trans, unit=unit)


def _definite_solve(factor: Any, b: Any, lower: bool) -> Any:
    """The solution from a Cholesky factor, of which one triangle is read."""
    first = _triangular(factor, b, True) if lower else _triangular(conjugated(factor), b, False, True)
    return _triangular(conjugated(factor), first, True, True) if lower else _triangular(factor, first, False)


def _band(a: Any, offset: int) -> Any:
    """A diagonal beside the main one, with a zero where its row has none."""
    values = lax.diagonal(a, offset, -2, -1)
    ndim = aval_of(values).ndim
    low, high = (1, 0) if offset < 0 else (0, 1)
    return lax.pad(values, aval_of(a).dtype.type(0), [(0, 0, 0)] * (ndim - 1) + [(low, high, 0)])


def _solve(name: str, a: Any, b: Any, structure: str, lower: bool) -> Any:
    if structure == "diagonal":
        return row_scaled(b, lax.reciprocal(diagonal_of(a)))
    if structure == "tridiagonal" and aval_of(a).shape[-1]:
        return tridiagonal_solve_p.bind(_band(a, -1), diagonal_of(a), _band(a, 1), b)
    if structure in ("upper triangular", "lower triangular"):
        return _triangular(a, b, structure == "lower triangular")
    if structure == "positive definite":
        return _definite_solve(cholesky_p.bind(a if lower else adjoint(a)), b, True)
    if structure == "hermitian":
        a = hermitian(a, lower)
    elif structure == "symmetric":
        half = triangle(a, lower=lower, weight=0.5)
        a = lax.add(half, transposed(half))
    return solve_p.bind(a, b)


@_scipy
def solve(
    a: Any,
    b: Any,
    lower: bool = False,
    overwrite_a: bool = False,
    overwrite_b: bool = False,
    check_finite: bool = True,
    assume_a: Any = None,
    transposed: bool = False,
) -> Any:
    """The solution of ``a x = b``; see ``scipy.linalg.solve``.

    What ``assume_a`` says of the matrix is relied on: where that is one triangle, the other one is not read and has the
    derivative 0. With None the matrix is general.
    """
    a, b, vector = _columns("solve", a, b)
    structure = _structure("solve", assume_a)
    if transposed:
        a = lax.transpose(a, (*range(aval_of(a).ndim - 2), aval_of(a).ndim - 1, aval_of(a).ndim - 2))
        swapped = {"upper triangular": "lower triangular", "lower triangular": "upper triangular"}
        structure, lower = swapped.get(structure, structure), not lower
    return _shaped(_solve("solve", a, b, structure, bool(lower)), vector)


@_scipy
def solve_triangular(
    a: Any,
    b: Any,
    trans: Any = 0,
    lower: bool = False,
    unit_diagonal: bool = False,
    overwrite_b: bool = False,
    check_finite: bool = True,
) -> Any:
    """The solution of a triangular system; see ``scipy.linalg.solve_triangular``."""
    a, b, vector = _columns("solve_triangular", a, b)
    op = _trans("solve_triangular", trans)
    out = _triangular(conjugated(a) if op == "C" else a, b, bool(lower), op != "N", bool(unit_diagonal))
    return _shaped(out, vector)


@_scipy
def cho_solve(c_and_lower: Any, b: Any, overwrite_b: bool = False, check_finite: bool = True) -> Any:
    """The solution from the factor of ``cho_factor``; see ``scipy.linalg.cho_solve``."""
    factor, lower = c_and_lower
    c, b, vector = _columns("cho_solve", factor, b)
    return _shaped(_definite_solve(c, b, bool(lower)), vector)


@_scipy
def lu_solve(lu_and_piv: Any, b: Any, trans: Any = 0, overwrite_b: bool = False, check_finite: bool = True) -> Any:
    """The solution from the factors of ``lu_factor``; see ``scipy.linalg.lu_solve``."""
    packed, pivots = lu_and_piv
    factors, b, vector = _columns("lu_solve", packed, b)
    op = _trans("lu_solve", trans)
    lead = aval_of(factors).shape[:-2]
    order = lu_pivots_to_permutation(pivots, aval_of(factors).shape[-1])
    order = lax.broadcast_to(order, (*lead, aval_of(factors).shape[-1]))
    if op == "N":
        out = _triangular(factors, _triangular(factors, rows_taken(b, order), True, unit=True), False)
    else:
        factors = conjugated(factors) if op == "C" else factors
        out = _triangular(factors, _triangular(factors, b, False, True), True, True, unit=True)
        out = rows_taken(out, lax.argsort(order, aval_of(order).ndim - 1))
    return _shaped(out, vector)


@_scipy
def inv(
    a: Any, overwrite_a: bool = False, check_finite: bool = True, *, assume_a: Any = None, lower: bool = False
) -> Any:
    """The inverse; see ``scipy.linalg.inv``, and ``solve`` for ``assume_a``."""
    a = matrix("inv", a, square=True)
    structure = _structure("inv", assume_a)
    if structure == "general":
        return inv_p.bind(a, strict=True)
    return _solve("inv", a, identity(a), structure, bool(lower))


@_scipy
def det(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """The determinant; see ``scipy.linalg.det``, and ``functrans.numpy.linalg.det`` for the derivative."""
    return det_p.bind(matrix("det", a, square=True))


@_scipy
def solve_sylvester(a: Any, b: Any, q: Any) -> Any:
    """The solution of ``a x + x b = q``; see ``scipy.linalg.solve_sylvester``."""
    a, b, q = operands("solve_sylvester", a, b, q)
    return lax.linalg.solve_sylvester(a, b, q)


__all__ = ["cho_solve", "det", "inv", "lu_solve", "solve", "solve_sylvester", "solve_triangular"]
