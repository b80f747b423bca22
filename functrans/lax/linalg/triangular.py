"""Triangular systems of equations."""

from __future__ import annotations

from typing import Any

import numpy as np

from functrans import errors
from functrans.core.avals import ShapedArray
from functrans.core.primitive import Primitive, Sample
from functrans.core.trace import aval_of
from functrans.lax.arithmetic import neg
from functrans.lax.contraction import matmul
from functrans.lax.families import tangent_rules
from functrans.lax.linalg.common import (
    check_matrix,
    check_same,
    columns_batch,
    conjugated,
    like,
    solve_triangle,
    triangle,
)
from functrans.lax.linalg.common import transposed as swapped
from functrans.lax.movement import expand_dims, squeeze


def _shape(a: ShapedArray, b: ShapedArray, *, lower: bool, transposed: bool, unit: bool) -> ShapedArray:
    check_matrix("triangular_solve", a, square=True)
    check_matrix("triangular_solve", b)
    check_same("triangular_solve", [a, b])
    if a.shape[-1] != b.shape[-2]:
        raise errors.ShapeError(
            f"triangular_solve: the triangular matrix has {a.shape[-1]} rows and the right-hand side {b.shape[-2]}, "
            f"for operands of types {a} and {b}"
        )
    return like(b, b.shape)


def _impl(xp: Any, a: Any, b: Any, *, lower: bool, transposed: bool, unit: bool) -> Any:
    if transposed:
        return solve_triangle(xp, a.swapaxes(-1, -2), b, not lower, unit)
    return solve_triangle(xp, a, b, lower, unit)


def _matrix_rule(t: Any, out: Any, a: Any, b: Any, **params: Any) -> Any:
    t = triangle(t, lower=params["lower"], weight=0.0 if params["unit"] else 1.0)
    change = matmul(swapped(t) if params["transposed"] else t, out)
    return neg(triangular_solve_p.bind(a, change, **params))


def _transpose(ct: Any, a: Any, b: Any, *, transposed: bool, **params: Any) -> list[Any]:
    return [None, triangular_solve_p.bind(a, ct, transposed=not transposed, **params)]


def _samples() -> list[Sample]:
    a = np.array([[2.0, 0.5, -1.0], [0.75, 3.0, 0.25], [-0.5, 1.0, 1.5]])
    b = np.array([[1.0, -2.0], [0.5, 3.0], [2.0, 0.25]])
    c, d = a + 0.5j * a.T, b - 1j * b[::-1]

    def params(lower: bool, transposed: bool, unit: bool = False) -> dict[str, Any]:
        return {"lower": lower, "transposed": transposed, "unit": unit}

    return [
        Sample((a, b), params(True, False)),
        Sample((a, b), params(False, True, True)),
        Sample((np.stack([a, a.T]), np.stack([b, b[::-1]])), params(False, False), 1),
        Sample((a.astype(np.float32), b.astype(np.float32)), params(True, True)),
        Sample((c, d), params(True, True)),
        Sample((c.astype(np.complex64), d.astype(np.complex64)), params(False, False, True)),
        Sample((np.zeros((0, 0)), np.zeros((0, 2))), params(True, False)),
    ]


triangular_solve_p: Primitive = Primitive(
    "triangular_solve",
    shape=_shape,
    impl=_impl,
    jvp=tangent_rules(
        lambda: triangular_solve_p,
        _matrix_rule,
        lambda t, out, a, b, **params: triangular_solve_p.bind(a, t, **params),
    ),
    transpose=_transpose,
    batch=columns_batch(lambda: triangular_solve_p, 1),
    kind="library",
    samples=_samples,
)


def triangular_solve(
    a: Any,
    b: Any,
    *,
    left_side: bool = False,
    lower: bool = False,
    transpose_a: bool = False,
    conjugate_a: bool = False,
    unit_diagonal: bool = False,
) -> Any:
    """The solution of ``x op(a) = b``, or of ``op(a) x = b``, for triangular matrices.

    Args:
        a: an array of shape ``(..., n, n)``. The other triangle is not read, and has the derivative 0.
        b: an array of shape ``(..., m, n)``, or ``(..., n, m)`` with ``left_side``; or ``(..., n)``.
        left_side: whether the matrix stands on the left of the unknown.
        lower: which triangle of ``a`` is read.
        transpose_a: whether ``op(a)`` is the transpose of ``a``.
        conjugate_a: whether it is conjugated.
        unit_diagonal: whether the diagonal is not read either and taken to be 1.

    Returns:
        An array like ``b``.

    Raises:
        ShapeError: shapes that do not fit.
        numpy.linalg.LinAlgError: a zero on the diagonal.

    >>> triangular_solve(np.array([[2.0, 0.0], [1.0, 1.0]]), np.array([[2.0], [3.0]]), left_side=True, lower=True)
    array([[1.],
           [2.]])
    """
    check_matrix("triangular_solve", aval_of(a), square=True)
    vector = aval_of(b).ndim == aval_of(a).ndim - 1
    if vector:
        axis = aval_of(b).ndim if left_side else aval_of(b).ndim - 1
        b = expand_dims(b, (axis,))
    a = conjugated(a) if conjugate_a else a
    columns = b if left_side else swapped(b)
    flip = bool(transpose_a) is bool(left_side)
    _shape(aval_of(a), aval_of(columns), lower=bool(lower), transposed=flip, unit=bool(unit_diagonal))
    out = triangular_solve_p.bind(a, columns, lower=bool(lower), transposed=flip, unit=bool(unit_diagonal))
    out = out if left_side else swapped(out)
    return squeeze(out, (axis,)) if vector else out


__all__ = ["triangular_solve", "triangular_solve_p"]
