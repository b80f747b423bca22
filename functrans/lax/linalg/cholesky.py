"""Cholesky factors of positive definite matrices, and their change when the matrix gains a term of rank one."""

from __future__ import annotations

from typing import Any

import numpy as np

from functrans import errors
from functrans.core.avals import ShapedArray
from functrans.core.primitive import Primitive, Sample, Trait
from functrans.core.trace import aval_of
from functrans.lax.arithmetic import add, mul
from functrans.lax.compare import lt
from functrans.lax.contraction import matmul
from functrans.lax.families import tangent_rules
from functrans.lax.linalg.common import (
    adjoint,
    check_matrix,
    check_same,
    conjugated,
    diagonal_of,
    hermitian,
    host_or_device,
    leading,
    real_part,
    row_scaled,
    triangle,
)
from functrans.lax.linalg.qr import qr_p
from functrans.lax.linalg.triangular import triangular_solve_p
from functrans.lax.movement import expand_dims
from functrans.lax.selection import select
from functrans.lax.slicing import concatenate


def _cholesky_shape(a: ShapedArray) -> ShapedArray:
    check_matrix("cholesky", a, square=True)
    return a


def _cholesky_rule(t: Any, out: Any, a: Any) -> Any:
    """``L phi(L^-1 dA L^-H)``, where phi takes the lower triangle with half the diagonal; Murray, arXiv:1602.07527."""
    half = triangular_solve_p.bind(out, hermitian(t), lower=True, transposed=False, unit=False)
    inner = triangular_solve_p.bind(out, adjoint(half), lower=True, transposed=False, unit=False)
    return matmul(out, triangle(inner, lower=True, weight=0.5))


def _definite(n: int, dtype: Any = np.float64) -> Any:
    x = np.cos(np.arange(n * n) * 1.7).reshape(n, n)
    z = x + 0.5j * x[::-1] if np.dtype(dtype).kind == "c" else x
    return (z @ z.conj().T + n * np.eye(n)).astype(dtype)


cholesky_p: Primitive = Primitive(
    "cholesky",
    shape=_cholesky_shape,
    impl=lambda xp, a: host_or_device(xp, "cholesky")(a),
    jvp=tangent_rules(lambda: cholesky_p, _cholesky_rule),
    batch=leading(lambda: cholesky_p),
    kind="library",
    traits=frozenset({Trait.COSTLY, Trait.THREADED}),
    samples=lambda: [
        Sample((_definite(3),), vary="scale"),
        Sample((np.stack([_definite(2), 2 * np.eye(2)]).astype(np.float32),), vary="scale"),
        Sample((_definite(2, np.complex128),), vary="scale"),
        Sample((_definite(2, np.complex64),), vary="scale"),
        Sample((np.zeros((0, 0)),)),
        Sample((np.zeros((0, 2, 2)),)),
    ],
)


def cholesky(a: Any, *, symmetrize_input: bool = True) -> Any:
    """The lower triangular ``L`` with ``a = L L^H``, for Hermitian positive definite matrices.

    Args:
        a: an array of shape ``(..., n, n)``.
        symmetrize_input: whether the Hermitian part of ``a`` is taken, so that its gradient is Hermitian. Otherwise
            only the lower triangle is read, the upper one has the derivative 0, and elements below the diagonal have
            the derivative of the two elements that they stand for.

    Returns:
        An array like ``a``.

    Raises:
        ShapeError: matrices that are not square.
        numpy.linalg.LinAlgError: a matrix that is not positive definite.

    >>> cholesky(np.array([[4.0, 2.0], [2.0, 5.0]]))
    array([[2., 0.],
           [1., 2.]])
    """
    _cholesky_shape(aval_of(a))
    return cholesky_p.bind(hermitian_part(a) if symmetrize_input else a)


def hermitian_part(a: Any) -> Any:
    """The mean of matrices and their adjoints."""
    return mul(add(a, adjoint(a)), 0.5)


def positive_diagonal(r: Any) -> Any:
    """An upper triangular factor ``r`` with its rows multiplied such that its (real) diagonal is not negative."""
    d = real_part(diagonal_of(r))
    return row_scaled(r, select(lt(d, 0.0), aval_of(d).dtype.type(-1), aval_of(d).dtype.type(1)))


def cholesky_update(r_matrix: Any, w_vector: Any) -> Any:
    """The upper triangular factor of ``R^H R + w w^H``, from the factor ``R`` and the vector ``w``.

    It is the factor R of the QR decomposition of ``r_matrix`` with the row ``w^H`` below; the matrix itself is never
    formed, so that no accuracy is lost.

    Args:
        r_matrix: an array of shape ``(..., n, n)``, of which the upper triangle is read.
        w_vector: an array of shape ``(..., n)`` of the same dtype.

    Returns:
        An array like ``r_matrix``.

    >>> cholesky_update(np.array([[3.0, 1.0], [0.0, 1.0]]), np.array([4.0, 0.0])).round(4)
    array([[5.    , 0.6   ],
           [0.    , 1.2806]])
    """
    r, w = aval_of(r_matrix), aval_of(w_vector)
    check_matrix("cholesky_update", r, square=True)
    if w.shape != r.shape[:-1]:
        raise errors.ShapeError(
            f"cholesky_update: the vector must have as many elements as the factor has rows, got types {r} and {w}"
        )
    row = conjugated(expand_dims(w_vector, (w.ndim - 1,)))
    check_same("cholesky_update", [r, aval_of(row)])
    rows = concatenate([triangle(r_matrix, lower=False), row], r.ndim - 2)
    (factor,) = qr_p.bind(rows, mode="r")
    return triangle(positive_diagonal(factor), lower=False)


__all__ = ["cholesky", "cholesky_p", "cholesky_update", "hermitian_part", "positive_diagonal"]
