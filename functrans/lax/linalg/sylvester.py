"""Sylvester's equation, and what has its solutions as derivatives: square roots and polar factors of matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans.core import dtypes
from functrans.core.avals import ShapedArray
from functrans.core.primitive import Primitive, Sample, Trait, Zero
from functrans.core.structural import convert, zero_of
from functrans.core.trace import aval_of
from functrans.lax.arithmetic import add, neg, sub
from functrans.lax.contraction import matmul
from functrans.lax.families import tangent_rules
from functrans.lax.linalg.common import adjoint, check_matrix, host_or_device, leading, like, solve_triangle, transposed
from functrans.lax.linalg.lu import solve_p
from functrans.lax.linalg.schur import schur_form

# -- Sylvester's equation ---------------------------------------------------------------------------------------------


def _sylvester_shape(a: ShapedArray, b: ShapedArray, q: ShapedArray) -> ShapedArray:
    check_matrix("solve_sylvester", a, square=True)
    check_matrix("solve_sylvester", b, square=True)
    check_matrix("solve_sylvester", q)
    if q.shape != (*a.shape[:-1], b.shape[-1]) or b.shape[:-2] != a.shape[:-2] or not a.dtype == b.dtype == q.dtype:
        raise errors.ShapeError(
            f"solve_sylvester: with matrices of n and m rows the right-hand side has shape (n, m), all of one dtype; "
            f"got types {a}, {b} and {q}"
        )
    return like(q, q.shape)


def _triangular_sylvester(r: Any, s: Any, f: Any) -> Any:
    """``r y + y s = f`` for upper triangular matrices, column by column (Bartels and Stewart, 1972)."""
    sums = abs(r.diagonal()[:, None] + s.diagonal())
    eps = np.finfo(f.dtype).eps
    if (sums <= len(sums) * eps * (abs(r).max() + abs(s).max())).any():
        raise np.linalg.LinAlgError("solve_sylvester: singular equation, an eigenvalue of a and one of -b coincide")
    y = f.copy()
    for k in range(f.shape[1]):
        rest = f[:, k] - y[:, :k] @ s[:k, k]
        y[:, k] = solve_triangle(np, r + s[k, k] * np.eye(len(r), dtype=r.dtype), rest[:, None], False, False)[:, 0]
    return y


def _sylvester_impl(xp: Any, a: Any, b: Any, q: Any) -> Any:
    if xp is not np:
        raise errors.MissingBackendError(
            "solve_sylvester is computed on the host alone, and CuPy has no such function: pass x.get(), NumPy arrays"
        )
    out = np.empty_like(q)
    for k in np.ndindex(*q.shape[:-2]) if q.size else ():
        if not np.isfinite(a[k]).all() or not np.isfinite(b[k]).all():
            out[k] = np.nan
            continue
        r, u = schur_form(a[k], "complex")
        s, v = (r, u) if b is a else schur_form(b[k], "complex")
        y = u @ _triangular_sylvester(r, s, u.conj().T @ q[k] @ v) @ v.conj().T
        out[k] = y if q.dtype.kind == "c" else y.real
    return out


def _sylvester_samples() -> list[Sample]:
    a = np.array([[2.0, 0.5, -1.0], [0.75, 3.0, 0.25], [-0.5, 1.0, 1.5]])
    q = np.array([[1.0, -2.0], [0.5, 3.0], [2.0, 0.25]])
    b = np.array([[1.0, 0.5], [-0.75, 2.0]])
    return [
        Sample((a, b, q), vary="scale"),
        Sample((a + 0.5j * a.T, b + 0j, q - 1j * q[::-1]), order=1, vary="scale"),
        Sample((b[None].astype(np.float32), b[None].astype(np.float32), q[None, :2].astype(np.float32)), vary="scale"),
        Sample((a[:0, :0], b, q[:0])),
    ]


sylvester_p: Primitive = Primitive(
    "solve_sylvester",
    shape=_sylvester_shape,
    impl=_sylvester_impl,
    jvp=tangent_rules(
        lambda: sylvester_p,
        lambda t, out, a, b, q: neg(sylvester_p.bind(a, b, matmul(t, out))),
        lambda t, out, a, b, q: neg(sylvester_p.bind(a, b, matmul(out, t))),
        lambda t, out, a, b, q: sylvester_p.bind(a, b, t),
    ),
    transpose=lambda ct, a, b, q: [None, None, sylvester_p.bind(transposed(a), transposed(b), ct)],
    batch=leading(lambda: sylvester_p),
    kind="library",
    traits=frozenset({Trait.COSTLY, Trait.THREADED}),
    samples=_sylvester_samples,
)


def solve_sylvester(a: Any, b: Any, q: Any) -> Any:
    """The solutions of ``a x + x b = q``.

    Args:
        a: an array of shape ``(..., n, n)``.
        b: an array of shape ``(..., m, m)``.
        q: an array of shape ``(..., n, m)``; all three have one dtype.

    Raises:
        numpy.linalg.LinAlgError: an eigenvalue of ``a`` and one of ``-b`` coincide.

    >>> solve_sylvester(np.array([[1.0]]), np.array([[2.0]]), np.array([[6.0]]))
    array([[2.]])
    """
    _sylvester_shape(aval_of(a), aval_of(b), aval_of(q))
    return sylvester_p.bind(a, b, q)


# -- square roots -----------------------------------------------------------------------------------------------------


def _sqrtm_shape(a: ShapedArray) -> ShapedArray:
    check_matrix("sqrtm", a, square=True)
    return like(a, a.shape, dtypes.complex_dtype(a.dtype))


def _triangular_root(t: Any) -> Any:
    """The square root of an upper triangular matrix, diagonal by diagonal (Björck and Hammarling, 1983)."""
    root = np.diag(np.sqrt(t.diagonal()))
    for k in range(1, len(t)):
        for i in range(len(t) - k):
            j = i + k
            rest = t[i, j] - root[i, i + 1 : j] @ root[i + 1 : j, j]
            size = root[i, i] + root[j, j]
            if size == 0 and rest != 0:
                raise np.linalg.LinAlgError("sqrtm: the matrix is singular and has no square root")
            root[i, j] = rest / size if size != 0 else 0
    return root


def _sqrtm_impl(xp: Any, a: Any) -> Any:
    if xp is not np:
        raise errors.MissingBackendError(
            "sqrtm is computed on the host alone, and CuPy has no such function: pass x.get(), a NumPy array"
        )
    out = np.empty(a.shape, dtypes.complex_dtype(a.dtype))
    for k in np.ndindex(*a.shape[:-2]) if a.size else ():
        if not np.isfinite(a[k]).all():
            out[k] = np.nan
            continue
        t, z = schur_form(a[k], "complex")
        out[k] = z @ _triangular_root(t) @ z.conj().T
        # Real eigenvalues that are not negative have real roots, and so has a real matrix of such.
        if a.dtype.kind != "c" and abs(out[k].imag).max() <= 64 * np.finfo(a.dtype).eps * abs(out[k]).max():
            out[k].imag = 0
    return out


def _sqrtm_rule(t: Any, out: Any, a: Any) -> Any:
    """``x dx + dx x = da``."""
    return sylvester_p.bind(out, out, convert(t, aval_of(out).dtype))


def _definite() -> Any:
    return np.array([[2.0, 0.5], [0.75, 3.0]])


sqrtm_p: Primitive = Primitive(
    "sqrtm",
    shape=_sqrtm_shape,
    impl=_sqrtm_impl,
    jvp=tangent_rules(lambda: sqrtm_p, _sqrtm_rule),
    batch=leading(lambda: sqrtm_p),
    kind="library",
    traits=frozenset({Trait.COSTLY, Trait.THREADED}),
    samples=lambda: [
        Sample((_definite(),)),
        Sample((np.eye(2),), vary="scale"),
        Sample((_definite() + 0.5j * _definite().T,)),
        Sample((np.stack([_definite(), 2 * _definite()]).astype(np.float32),), order=1),
        Sample((np.zeros((0, 0)),)),
    ],
)


def sqrtm(a: Any) -> Any:
    """The principal square roots of square matrices, as complex matrices.

    The derivative solves Sylvester's equation, so that equal eigenvalues do no harm. At a singular matrix it does not
    exist, and raises LinAlgError.

    >>> sqrtm(np.array([[4.0, 0.0], [0.0, 9.0]])).real
    array([[2., 0.],
           [0., 3.]])
    """
    _sqrtm_shape(aval_of(a))
    return sqrtm_p.bind(a)


# -- polar factors ----------------------------------------------------------------------------------------------------


def _polar_shape(a: ShapedArray) -> ShapedArray:
    check_matrix("polar", a)
    return like(a, a.shape)


def _polar_impl(xp: Any, a: Any) -> Any:
    u, _, vh = host_or_device(xp, "svd")(a, full_matrices=False)
    return u @ vh


def _polar_jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """For ``A = W P`` with at least as many rows as columns: ``W^H dW = X`` is skew, and ``P X + X P`` twice the skew
    part of ``W^H dA``; what leaves the space of the columns is divided by P."""
    (a,), (t,) = primals, tangents
    out = polar_p.bind(a)
    if isinstance(t, Zero) or not aval_of(a).size:
        return out, zero_of(out)
    rows, columns = aval_of(a).shape[-2:]
    wide = rows < columns
    w, x, dx = (adjoint(out), adjoint(a), adjoint(t)) if wide else (out, a, t)
    p, inner = matmul(adjoint(w), x), matmul(adjoint(w), dx)
    change = matmul(w, sylvester_p.bind(p, p, sub(inner, adjoint(inner))))
    if rows != columns:
        beside = sub(dx, matmul(w, inner))
        change = add(change, transposed(solve_p.bind(transposed(p), transposed(beside))))
    return out, adjoint(change) if wide else change


def _polar_samples() -> list[Sample]:
    tall = np.array([[0.5, 2.0], [1.5, -0.25], [0.75, 1.0]])
    return [
        Sample((tall,)),
        Sample((tall.T + 1j * tall[::-1].T,)),
        Sample((np.array([[0.0, 2.0], [-2.0, 0.0]]),)),
        Sample((tall[None, :2].astype(np.float32),), order=1),
        Sample((np.zeros((0, 2)),)),
    ]


polar_p: Primitive = Primitive(
    "polar",
    shape=_polar_shape,
    impl=_polar_impl,
    jvp=_polar_jvp,
    batch=leading(lambda: polar_p),
    kind="library",
    traits=frozenset({Trait.COSTLY, Trait.THREADED}),
    samples=_polar_samples,
)


def unitary_factor(a: Any) -> Any:
    """The factor W of the polar decomposition ``a = W P``: the nearest matrix with orthonormal columns (or rows).

    Equal singular values do no harm to its derivative. At a matrix without full rank it does not exist, and raises
    LinAlgError.

    >>> unitary_factor(np.array([[0.0, 2.0], [-3.0, 0.0]])) + 0.0
    array([[ 0.,  1.],
           [-1.,  0.]])
    """
    _polar_shape(aval_of(a))
    return polar_p.bind(a)


__all__ = ["polar_p", "solve_sylvester", "sqrtm", "sqrtm_p", "sylvester_p", "unitary_factor"]
