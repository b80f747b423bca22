"""QR factors of tall and wide matrices, and products of the reflections that they are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from functrans import errors
from functrans.core.avals import ShapedArray
from functrans.core.primitive import Primitive, Sample, Trait, Zero
from functrans.core.structural import broadcast, zero_of
from functrans.core.trace import aval_of
from functrans.lax.arithmetic import add, mul, neg, sub
from functrans.lax.complex import complex as complex_of
from functrans.lax.complex import imag
from functrans.lax.contraction import matmul
from functrans.lax.creation import eye
from functrans.lax.diagonal import embed_diagonal
from functrans.lax.families import no_tangent
from functrans.lax.linalg.common import (
    adjoint,
    check_matrix,
    check_same,
    diagonal_of,
    host_or_device,
    identity,
    is_complex,
    leading,
    like,
    routine,
    row_scaled,
    transposed,
    triangle,
    undetermined,
)
from functrans.lax.linalg.triangular import triangular_solve_p
from functrans.lax.movement import broadcast_to
from functrans.lax.slicing import concatenate, slice_in_dim
from functrans.lax.taking import take_along_axis

Mode = Literal["reduced", "complete", "r"]

_OPEN = (
    "qr: the columns of Q behind the first {} are any basis of the rest of the space, and have no derivative of their "
    'own. Take mode="reduced"; the projection on that rest is eye(m) - Q @ Q.conj().T'
)


def _qr_shape(a: ShapedArray, *, mode: Mode) -> list[ShapedArray]:
    check_matrix("qr", a)
    *lead, rows, columns = a.shape
    k = rows if mode == "complete" else min(rows, columns)
    r = like(a, (*lead, k, columns))
    return [r] if mode == "r" else [like(a, (*lead, rows, k)), r]


def _qr_impl(xp: Any, a: Any, *, mode: Mode) -> list[Any]:
    if mode == "r":
        return [host_or_device(xp, "qr")(a, mode="r")]
    q, r = host_or_device(xp, "qr")(a, mode=mode)
    return [q, r]


def _qr_jvp(primals: Sequence[Any], tangents: Sequence[Any], *, mode: Mode) -> tuple[list[Any], list[Any]]:
    """From ``Q^H dA = Q^H dQ R + dR``, with ``Q^H dQ`` skew and ``dR`` upper triangular with a real diagonal.

    Both factors are determined by the first ``min(m, n)`` columns, which must be independent: of them R's are square.
    """
    (a,), (t,) = primals, tangents
    if isinstance(t, Zero):
        outs = qr_p.bind(a, mode=mode)
        return outs, [zero_of(o) for o in outs]
    full_q, full_r = qr_p.bind(a, mode="reduced" if mode == "r" else mode)
    rows, columns = aval_of(a).shape[-2:]
    k, axis = min(rows, columns), aval_of(a).ndim - 1
    q, r = slice_in_dim(full_q, 0, k, axis=axis), slice_in_dim(full_r, 0, k, axis=axis - 1)
    square, first = slice_in_dim(r, 0, k, axis=axis), slice_in_dim(t, 0, k, axis=axis)
    solved = triangular_solve_p.bind(square, transposed(first), lower=False, transposed=True, unit=False)
    quotient = transposed(solved)
    inner = matmul(adjoint(q), quotient)
    skew = _skew(inner)
    d_q = add(matmul(q, skew), sub(quotient, matmul(q, inner)))
    d_r = triangle(sub(matmul(adjoint(q), t), matmul(skew, r)), lower=False)
    if mode == "r":
        return [full_r], [d_r]
    if mode == "complete" and rows > columns:
        rest = slice_in_dim(full_q, k, rows, axis=axis)
        d_rest = neg(matmul(q, matmul(adjoint(d_q), rest)))
        d_q = concatenate([d_q, undetermined(d_rest, _OPEN.format(k))], axis)
        zero = broadcast_to(aval_of(a).dtype.type(0), (*aval_of(a).shape[:-2], rows - k, columns))
        d_r = concatenate([d_r, zero], axis - 1)
    return [full_q, full_r], [d_q, d_r]


def _skew(x: Any) -> Any:
    """The skew-Hermitian matrices with the lower triangle of ``x`` and the imaginary part of its diagonal."""
    below = triangle(x, lower=True, weight=0.0)
    skew = sub(below, adjoint(below))
    if not is_complex(x):
        return skew
    turn = imag(diagonal_of(x))
    return add(skew, embed_diagonal(complex_of(mul(turn, 0.0), turn)))


def _qr_samples() -> list[Sample]:
    tall = np.array([[0.5, 2.0], [1.5, -0.25], [0.75, 1.0]])
    square = np.array([[2.0, 0.5], [-1.0, 1.5]])
    z = tall + 1j * tall[::-1]
    return [
        Sample((tall,), {"mode": "reduced"}),
        Sample((tall.T,), {"mode": "complete"}),
        Sample((tall,), {"mode": "r"}),
        Sample((z,), {"mode": "reduced"}),
        Sample((z.T,), {"mode": "r"}),
        Sample((np.stack([square, square.T]).astype(np.float32),), {"mode": "complete"}),
        Sample((tall,), {"mode": "complete"}, 0),
        Sample((z[:2].astype(np.complex64),), {"mode": "reduced"}, 1),
        Sample((np.zeros((0, 2)),), {"mode": "reduced"}),
    ]


qr_p: Primitive = Primitive(
    "qr",
    shape=_qr_shape,
    impl=_qr_impl,
    jvp=_qr_jvp,
    batch=leading(lambda: qr_p),
    multiple=True,
    kind="library",
    traits=frozenset({Trait.COSTLY, Trait.THREADED}),
    samples=_qr_samples,
)


def qr(x: Any, *, pivoting: bool = False, full_matrices: bool = True) -> tuple[Any, ...]:
    """The QR decomposition ``x = Q R`` with orthonormal columns of Q and upper triangular R.

    Its derivative asks that the first ``min(m, n)`` columns are independent, and otherwise raises LinAlgError. The
    columns of Q that ``full_matrices`` adds have no derivative: a function that depends on them raises
    NotDifferentiableError in reverse mode, and forward mode raises it wherever they are computed.

    Args:
        x: an array of shape ``(..., m, n)``.
        pivoting: whether the columns are brought into an order first, which puts long ones in front; the derivative is
            that for this order.
        full_matrices: whether Q is square, and otherwise of shape ``(..., m, min(m, n))``.

    Returns:
        Q; R with as many rows as Q has columns; and with ``pivoting`` the order, see ``pivoted_columns``.

    >>> q, r = qr(np.array([[3.0, 1.0], [4.0, 2.0]]))
    >>> np.abs(r).round(6)
    array([[5. , 2.2],
           [0. , 0.4]])
    """
    mode: Mode = "complete" if full_matrices else "reduced"
    _qr_shape(aval_of(x), mode=mode)
    if not pivoting:
        return tuple(qr_p.bind(x, mode=mode))
    order = pivoted_columns(x)
    return *qr_p.bind(columns_taken(x, order), mode=mode), order


# -- reflections ------------------------------------------------------------------------------------------------------


def _geqrf_shape(a: ShapedArray) -> list[ShapedArray]:
    check_matrix("geqrf", a)
    *lead, rows, columns = a.shape
    return [like(a, (*lead, rows, columns)), like(a, (*lead, min(rows, columns)))]


def _geqrf_impl(xp: Any, a: Any) -> list[Any]:
    h, taus = host_or_device(xp, "qr")(a, mode="raw")
    return [h.swapaxes(-1, -2), taus]


geqrf_p: Primitive = Primitive(
    "geqrf",
    shape=_geqrf_shape,
    impl=_geqrf_impl,
    batch=leading(lambda: geqrf_p),
    multiple=True,
    kind="library",
    traits=frozenset({Trait.COSTLY, Trait.THREADED}),
    not_differentiable="the reflections are an intermediate form; the factors Q and R of functrans.lax.linalg.qr have "
    "derivatives",
    samples=lambda: [Sample((s.args[0],)) for s in _qr_samples() if s.params["mode"] == "reduced"],
)


def geqrf(a: Any) -> tuple[Any, Any]:
    """The QR decomposition in LAPACK's form: R in the upper triangle, reflections below it, and their factors."""
    _geqrf_shape(aval_of(a))
    h, taus = geqrf_p.bind(a)
    return h, taus


def householder_product(a: Any, taus: Any) -> Any:
    """The first columns of the product of the reflections ``I - tau v v^H``.

    The vectors stand below the diagonal of ``a``, each with an implied 1 on it. Products of reflections are formed in
    the compact form ``I - V T V^H`` (Schreiber and Van Loan, "A storage-efficient WY representation", 1989).

    Args:
        a: an array of shape ``(..., m, n)`` with ``m >= n``.
        taus: an array of shape ``(..., k)`` of the same dtype, with ``k <= n``.

    Returns:
        An array like ``a``.

    >>> a = np.array([[3.0, 1.0], [4.0, 2.0]])
    >>> reflections, taus = geqrf(a)
    >>> np.allclose(householder_product(reflections, taus), np.linalg.qr(a)[0])
    True
    """
    x, t = aval_of(a), aval_of(taus)
    check_matrix("householder_product", x)
    rows, columns = x.shape[-2:]
    if rows < columns or t.ndim != x.ndim - 1 or t.shape[-1] > columns:
        raise errors.ShapeError(
            f"householder_product: a matrix with at least as many rows as columns and at most one factor for each "
            f"column are needed, got types {x} and {t}"
        )
    check_same("householder_product", [aval_of(slice_in_dim(a, 0, 1, axis=x.ndim - 2)), like(t, (*t.shape[:-1], 1, 1))])
    k, axis = t.shape[-1], x.ndim - 1
    first = broadcast_to(eye(rows, k, dtype=x.dtype), (*x.shape[:-2], rows, k))
    v = add(triangle(slice_in_dim(a, 0, k, axis=axis), lower=True, weight=0.0), first)
    gram = triangle(matmul(adjoint(v), v), lower=False, weight=0.0)
    # T^-1 = diag(1/tau) + strict upper triangle of V^H V; written so that a factor may be 0.
    system = add(identity(gram), row_scaled(gram, taus))
    top = adjoint(slice_in_dim(v, 0, columns, axis=axis - 1))
    inner = triangular_solve_p.bind(system, row_scaled(top, taus), lower=False, transposed=False, unit=True)
    return sub(broadcast_to(eye(rows, columns, dtype=x.dtype), x.shape), matmul(v, inner))


# -- pivots -----------------------------------------------------------------------------------------------------------


def _pivots_impl(xp: Any, a: Any) -> Any:
    out = xp.empty((*a.shape[:-2], a.shape[-1]), np.int32)
    for k in np.ndindex(*a.shape[:-2]):
        out[k] = _greedy(xp, a[k])
    return out


def _greedy(xp: Any, a: Any) -> Any:
    """The columns in LAPACK's order: the longest one first, then that which is longest beside the ones before."""
    solver = routine("geqp3", a.dtype) if xp is np else None
    if solver is not None and a.size:
        return solver(a)[1] - 1
    rest, order = a.copy(), xp.arange(a.shape[1])
    for j in range(min(a.shape)):
        lengths = xp.linalg.norm(rest[:, j:], axis=0)
        k = int(xp.argmax(lengths)) + j
        order[[j, k]], rest[:, [j, k]] = order[[k, j]], rest[:, [k, j]]
        if lengths[k - j] > 0:
            q = rest[:, j] / lengths[k - j]
            rest[:, j + 1 :] -= xp.outer(q, q.conj() @ rest[:, j + 1 :])
    return order


def _pivots_shape(a: ShapedArray) -> ShapedArray:
    check_matrix("pivoted_columns", a)
    return like(a, (*a.shape[:-2], a.shape[-1]), np.int32)


pivoted_columns_p: Primitive = Primitive(
    "pivoted_columns",
    shape=_pivots_shape,
    impl=_pivots_impl,
    jvp=no_tangent(lambda: pivoted_columns_p),
    batch=leading(lambda: pivoted_columns_p),
    kind="library",
    traits=frozenset({Trait.COSTLY, Trait.THREADED}),
    samples=lambda: [Sample((s.args[0],), order=0) for s in _qr_samples() if s.params["mode"] == "reduced"],
)


def pivoted_columns(a: Any) -> Any:
    """The order in which a QR decomposition with column pivoting takes the columns: int32 of shape ``(..., n)``.

    >>> pivoted_columns(np.array([[1.0, 2.0], [0.0, 2.0]]))
    array([1, 0], dtype=int32)
    """
    _pivots_shape(aval_of(a))
    return pivoted_columns_p.bind(a)


def columns_taken(x: Any, order: Any) -> Any:
    """The columns of matrices in an order."""
    shape = aval_of(x).shape
    lead = len(shape) - 2
    return take_along_axis(x, broadcast(order, shape, (*range(lead), lead + 1)), lead + 1)


__all__ = ["geqrf", "geqrf_p", "householder_product", "pivoted_columns", "pivoted_columns_p", "qr", "qr_p"]
