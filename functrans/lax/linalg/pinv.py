"""Pseudoinverses and least squares, differentiated at constant rank.

The derivative of the pseudoinverse is that of G. H. Golub and V. Pereyra, "The differentiation of pseudo-inverses and
nonlinear least squares problems whose variables separate", SIAM J. Numer. Anal. 10 (1973).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans.core import dtypes
from functrans.core.avals import ShapedArray
from functrans.core.primitive import Primitive, Sample, Trait, Zero
from functrans.core.structural import instantiate, reduce_sum, zero_of
from functrans.core.trace import aval_of
from functrans.lax.arithmetic import add, mul, neg, sub
from functrans.lax.complex import conj
from functrans.lax.contraction import matmul
from functrans.lax.families import tangent_rules
from functrans.lax.linalg.common import (
    adjoint,
    check_matrix,
    check_same,
    diagonal_of,
    host_or_device,
    is_complex,
    leading,
    like,
    matrices,
    real_part,
)
from functrans.lax.linalg.svd import svd_p


def _pinv_shape(a: ShapedArray, cutoff: ShapedArray, *, hermitian: bool) -> ShapedArray:
    check_matrix("pinv", a, square=hermitian)
    if cutoff.shape != a.shape[:-2] or cutoff.dtype.kind != "f":
        raise errors.ShapeError(f"pinv: a relative cutoff for each matrix is needed, got types {a} and {cutoff}")
    return like(a, (*a.shape[:-2], a.shape[-1], a.shape[-2]))


def _pinv_rule(t: Any, p: Any, a: Any, cutoff: Any, *, hermitian: bool) -> Any:
    """``-P dA P``, and what the spaces of rows and of columns gain by turning."""
    th, ph = adjoint(t), adjoint(p)
    rows = matrices(p, ph, sub(th, matrices(th, a, p)))
    columns = matrices(sub(th, matrices(p, a, th)), ph, p)
    return add(neg(matrices(p, t, p)), add(rows, columns))


def _pinv_samples() -> list[Sample]:
    tall = np.array([[0.5, 2.0], [1.5, -0.25], [0.75, 1.0]])
    z = tall + 1j * tall[::-1]
    return [
        Sample((tall, np.float64(1e-15)), {"hermitian": False}, diff=(0,), vary="scale"),
        Sample((z.T, np.float64(1e-15)), {"hermitian": False}, diff=(0,), vary="scale"),
        Sample(
            (np.stack([tall, tall[::-1]]).astype(np.float32), np.full(2, 1e-6)), {"hermitian": False}, 1, (0,), "scale"
        ),
        Sample((tall.T @ tall, np.float64(1e-15)), {"hermitian": True}, 0, vary="scale"),
        Sample((np.zeros((0, 2)), np.float64(1e-15)), {"hermitian": False}, diff=(0,), vary="scale"),
    ]


def _pinv_impl(xp: Any, a: Any, cutoff: Any, *, hermitian: bool) -> Any:
    known = {"hermitian": hermitian} if xp is np else {}  # CuPy goes by singular values always
    return host_or_device(xp, "pinv")(a, rcond=cutoff, **known)


pinv_p: Primitive = Primitive(
    "pinv",
    shape=_pinv_shape,
    impl=_pinv_impl,
    jvp=tangent_rules(lambda: pinv_p, _pinv_rule, None),
    batch=leading(lambda: pinv_p),
    kind="library",
    traits=frozenset({Trait.COSTLY, Trait.THREADED}),
    samples=_pinv_samples,
)


def pinv(a: Any, cutoff: Any, *, hermitian: bool = False) -> Any:
    """The pseudoinverses of matrices.

    The derivative is that at constant rank: right in every direction where the rank is full, and otherwise in those
    that keep it, the only ones in which the pseudoinverse is continuous.

    Args:
        a: an array of shape ``(..., m, n)``.
        cutoff: real, for each matrix; singular values at or below this times the largest one count as zero.
        hermitian: whether the matrices are Hermitian, which is faster.

    >>> pinv(np.array([[2.0], [0.0]]), np.float64(1e-15))
    array([[0.5, 0. ]])
    """
    _pinv_shape(aval_of(a), aval_of(cutoff), hermitian=hermitian)
    return pinv_p.bind(a, cutoff, hermitian=bool(hermitian))


# -- least squares ----------------------------------------------------------------------------------------------------


def _lstsq_shape(a: ShapedArray, b: ShapedArray, *, cutoff: float) -> list[ShapedArray]:
    check_matrix("lstsq", a)
    check_matrix("lstsq", b)
    check_same("lstsq", [a, b])
    if a.shape[-2] != b.shape[-2]:
        raise errors.ShapeError(f"lstsq: a matrix and a right-hand side with as many rows are needed, got {a} and {b}")
    *lead, rows, columns = a.shape
    real = dtypes.real_dtype(a.dtype)
    return [
        like(a, (*lead, columns, b.shape[-1])),
        like(a, (*lead, b.shape[-1] if rows > columns else 0), real),
        like(a, tuple(lead), np.int32),
        like(a, (*lead, min(rows, columns)), real),
    ]


def _lstsq_impl(xp: Any, a: Any, b: Any, *, cutoff: float) -> list[Any]:
    outs = [xp.empty(o.shape, o.dtype) for o in _lstsq_shape(aval_of(a), aval_of(b), cutoff=cutoff)]
    rows, columns = a.shape[-2:]
    for k in np.ndindex(*a.shape[:-2]):
        x, total, rank, s = host_or_device(xp, "lstsq")(a[k], b[k], cutoff)
        if rows > columns and total.shape != b.shape[-1:]:
            rest = b[k] - a[k] @ x
            total = (abs(rest) ** 2).sum(0)
        for out, value in zip(outs, (x, total, rank, s), strict=True):
            out[k] = value
    return [o[()] for o in outs]


def _lstsq_jvp(primals: Sequence[Any], tangents: Sequence[Any], *, cutoff: float) -> tuple[list[Any], list[Any]]:
    (a, b), (ta, tb) = primals, tangents
    x, total, rank, _ = outs = lstsq_p.bind(a, b, cutoff=cutoff)
    if isinstance(ta, Zero) and isinstance(tb, Zero):
        return outs, [zero_of(o) for o in outs]
    ta, tb = instantiate(ta), instantiate(tb)
    aval = aval_of(a)
    rows, columns = aval.shape[-2:]
    rest = sub(b, matmul(a, x))
    moved = mul(conj(rest) if is_complex(rest) else rest, sub(tb, matmul(ta, x)))
    d_total = mul(real_part(reduce_sum(moved, (aval.ndim - 2,))), 2.0) if rows > columns else zero_of(total)
    if not aval.size:
        return outs, [zero_of(x), d_total, zero_of(rank), zero_of(outs[3])]
    limit = np.float64(cutoff if cutoff >= 0 else np.finfo(aval.dtype).eps)
    p = pinv_p.bind(a, _repeated(limit, aval.shape[:-2]), hermitian=False)
    th, ph = adjoint(ta), adjoint(p)
    # The derivative of the pseudoinverse applied to b, and the pseudoinverse to that of b.
    turned = matmul(th, matmul(ph, x))
    spaces = add(matrices(p, ph, th, rest), sub(turned, matrices(p, a, turned)))
    change = add(matmul(p, sub(tb, matmul(ta, x))), spaces)
    u, _, vh = svd_p.bind(a, full_matrices=False)
    d_s = real_part(diagonal_of(matrices(adjoint(u), ta, adjoint(vh))))
    return outs, [change, d_total, zero_of(rank), d_s]


def _repeated(value: Any, shape: tuple[Any, ...]) -> Any:
    return value if not shape else np.broadcast_to(value, shape).copy()


def _lstsq_samples() -> list[Sample]:
    tall = np.array([[0.5, 2.0], [1.5, -0.25], [0.75, 1.0]])
    b = np.array([[1.0, -2.0], [0.5, 3.0], [2.0, 0.25]])
    params = {"cutoff": 1e-12}
    return [
        Sample((tall, b), params),
        Sample((tall.T, b[:2, :1]), params),
        Sample((tall + 1j * tall[::-1], b[:, :1] + 0j), params),
        Sample((tall.astype(np.float32), b.astype(np.float32)), {"cutoff": 1e-5}, 1),
        Sample((np.zeros((0, 2)), np.zeros((0, 1))), params),
    ]


lstsq_p: Primitive = Primitive(
    "lstsq",
    shape=_lstsq_shape,
    impl=_lstsq_impl,
    jvp=_lstsq_jvp,
    batch=leading(lambda: lstsq_p),
    multiple=True,
    kind="library",
    traits=frozenset({Trait.COSTLY, Trait.THREADED}),
    samples=_lstsq_samples,
)


def lstsq(a: Any, b: Any, cutoff: float) -> list[Any]:
    """The solutions of least squares and of least norm, the sums of squared residuals, ranks and singular values.

    The derivative is that at constant rank, as for ``pinv``.

    Args:
        a: an array of shape ``(..., m, n)``.
        b: an array of shape ``(..., m, k)`` of the same dtype.
        cutoff: singular values at or below this times the largest one count as zero; at -1 the dtype's precision.

    Returns:
        A list of arrays of shapes ``(..., n, k)``, ``(..., k)`` or, where ``m <= n``, ``(..., 0)``, ``(...)`` and
        ``(..., min(m, n))``.
    """
    _lstsq_shape(aval_of(a), aval_of(b), cutoff=float(cutoff))
    return list(lstsq_p.bind(a, b, cutoff=float(cutoff)))


__all__ = ["lstsq", "lstsq_p", "pinv", "pinv_p"]
