"""Schur and Hessenberg forms, and the reduction of Hermitian matrices to three diagonals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from functrans import errors
from functrans.core import dtypes
from functrans.core.avals import ShapedArray
from functrans.core.primitive import Primitive, Sample, Trait
from functrans.core.trace import aval_of
from functrans.lax.linalg.common import check_matrix, leading, like

Output = Literal["real", "complex"]
Sort = str | Callable[..., Any] | None


def _host(name: str, xp: Any) -> None:
    if xp is not np:
        raise errors.MissingBackendError(
            f"{name} is computed on the host alone, and CuPy has no such function: pass x.get(), a NumPy array"
        )


# -- schur ------------------------------------------------------------------------------------------------------------


def _schur_shape(a: ShapedArray, *, output: Output, sort: Sort) -> list[ShapedArray]:
    check_matrix("schur", a, square=True)
    dtype = dtypes.complex_dtype(a.dtype) if output == "complex" else a.dtype
    found = [like(a, a.shape, dtype), like(a, a.shape, dtype)]
    return found if sort is None else [*found, like(a, a.shape[:-2], np.int64)]


def _schur_impl(xp: Any, a: Any, *, output: Output, sort: Sort) -> list[Any]:
    _host("schur", xp)
    outs = [np.empty(o.shape, o.dtype) for o in _schur_shape(aval_of(a), output=output, sort=sort)]
    for k in np.ndindex(*a.shape[:-2]):
        for out, value in zip(outs, schur_form(a[k], output, sort), strict=True):
            out[k] = value
    return [o[()] for o in outs]


def schur_form(a: Any, output: Output, sort: Sort = None) -> tuple[Any, ...]:
    """The Schur form of one matrix by SciPy; without SciPy the complex one by our own iteration."""
    if not a.size:
        empty = a.astype(dtypes.complex_dtype(a.dtype) if output == "complex" else a.dtype)
        return (empty, empty) if sort is None else (empty, empty, 0)
    try:
        import scipy.linalg
    except ImportError:
        if sort is not None or (output == "real" and a.dtype.kind != "c"):
            raise errors.MissingBackendError(
                "schur: the real form, and a sorted one, are computed by SciPy, which is not installed: "
                "pip install scipy"
            ) from None
        return complex_schur(a)
    found: tuple[Any, ...] = scipy.linalg.schur(a, output=output, sort=sort)
    return found


def complex_schur(a: Any) -> tuple[Any, Any]:
    """The complex Schur form by the QR iteration with Wilkinson's shift (Golub and Van Loan, 7.5)."""
    t, q = reflected(a.astype(dtypes.complex_dtype(a.dtype)))
    n = len(t)
    eps = np.finfo(t.dtype).eps
    high, sweeps = n - 1, 0
    while high > 0:
        low = high
        while low > 0 and abs(t[low, low - 1]) > eps * (abs(t[low, low]) + abs(t[low - 1, low - 1])):
            low -= 1
        if low > 0:
            t[low, low - 1] = 0
        if low == high:
            high, sweeps = high - 1, 0
            continue
        sweeps += 1
        if sweeps > 300:
            raise np.linalg.LinAlgError("schur: the iteration did not converge")
        shift = _wilkinson(t[high - 1 : high + 1, high - 1 : high + 1])
        if sweeps % 10 == 0:
            shift = shift + abs(t[high, high - 1])
        _sweep(t, q, low, high, shift)
    return np.triu(t), q


def _wilkinson(block: Any) -> Any:
    """The eigenvalue of a block of two rows that is nearer to its last element."""
    (a, b), (c, d) = block
    half = (a - d) / 2
    root = np.sqrt(half * half + b * c)
    mean = (a + d) / 2
    return mean + root if abs(mean + root - d) < abs(mean - root - d) else mean - root


def _sweep(t: Any, q: Any, low: int, high: int, shift: Any) -> None:
    """One step of the shifted iteration on the active block, by rotations, chased from its top to its end."""
    x, y = t[low, low] - shift, t[low + 1, low]
    for k in range(low, high):
        size = np.hypot(abs(x), abs(y))
        if size > 0:
            rotation = np.array([[x.conj(), y.conj()], [-y, x]]) / size
            first = max(k - 1, low)
            t[k : k + 2, first:] = rotation @ t[k : k + 2, first:]
            last = min(k + 3, high + 1)
            back = rotation.conj().T
            t[:last, k : k + 2] = t[:last, k : k + 2] @ back
            q[:, k : k + 2] = q[:, k : k + 2] @ back
        if k + 1 < high:
            x, y = t[k + 1, k], t[k + 2, k]


def _square_samples() -> list[Any]:
    a = np.array([[2.0, 0.5, -1.0], [0.75, -3.0, 0.25], [-0.5, 1.0, 1.5]])
    return [a, np.stack([a[:2, :2], a[1:, 1:]]).astype(np.float32), a + 0.5j * a.T, np.zeros((0, 0))]


schur_p: Primitive = Primitive(
    "schur",
    shape=_schur_shape,
    impl=_schur_impl,
    batch=leading(lambda: schur_p),
    multiple=True,
    kind="library",
    traits=frozenset({Trait.COSTLY, Trait.THREADED}),
    not_differentiable="the order of the eigenvalues, and with it the form, is a choice of the iteration. Functions of "
    "a matrix that are made of it (functrans.scipy.linalg.sqrtm, expm, solve_sylvester) have derivatives, and so have "
    "functrans.lax.linalg.eig and eigh",
    samples=lambda: [Sample((a,), {"output": "complex", "sort": None}) for a in _square_samples()],
)


def schur(
    x: Any,
    compute_schur_vectors: bool = True,
    sort_eig_vals: bool = False,
    select_callable: Callable[..., Any] | None = None,
) -> tuple[Any, Any] | Any:
    """The Schur form ``x = Z T Z^H`` of square matrices: T upper triangular, Z unitary.

    For real matrices T is real, with blocks of two rows for pairs of complex eigenvalues; this form, and a sorted one,
    need SciPy. It has no derivative.

    Args:
        x: an array of shape ``(..., n, n)``.
        compute_schur_vectors: whether Z is returned too.
        sort_eig_vals: whether the eigenvalues that ``select_callable`` chooses come first.
        select_callable: a function of an eigenvalue (for a real matrix, of its real and imaginary part).

    Returns:
        T, or ``(T, Z)``.

    >>> t, z = schur(np.array([[1.0, 2.0], [0.0, 3.0]]))
    >>> t
    array([[1., 2.],
           [0., 3.]])
    """
    if sort_eig_vals and select_callable is None:
        raise errors.ArgumentError("schur: sort_eig_vals=True needs select_callable, which says what comes first")
    output: Output = "complex" if dtypes.is_complex(aval_of(x).dtype) else "real"
    sort = select_callable if sort_eig_vals else None
    _schur_shape(aval_of(x), output=output, sort=sort)
    t, z, *_ = schur_p.bind(x, output=output, sort=sort)
    return (t, z) if compute_schur_vectors else t


# -- from the real form to the complex one ----------------------------------------------------------------------------


def _rsf2csf_impl(xp: Any, t: Any, z: Any) -> list[Any]:
    """Each block of two rows is made triangular by a rotation to one of its eigenvectors."""
    _host("rsf2csf", xp)
    t, z = t.copy(), z.copy()
    eps = np.finfo(t.dtype).eps
    for at in np.ndindex(*t.shape[:-2]):
        for k in range(t.shape[-1] - 1, 0, -1):
            corner, pair = t[at][k, k - 1], slice(k - 1, k + 1)
            if abs(corner) > eps * (abs(t[at][k - 1, k - 1]) + abs(t[at][k, k])):
                mu = np.linalg.eigvals(t[at][pair, pair])[0] - t[at][k, k]
                size = np.hypot(abs(mu), abs(corner))
                rotation = np.array([[np.conj(mu), corner], [-corner, mu]]) / size
                t[at][pair, k - 1 :] = rotation @ t[at][pair, k - 1 :]
                back = rotation.conj().T
                t[at][: k + 1, pair] = t[at][: k + 1, pair] @ back
                z[at][:, pair] = z[at][:, pair] @ back
            t[at][k, k - 1] = 0
    return [t, z]


def _rsf2csf_shape(t: ShapedArray, z: ShapedArray) -> list[ShapedArray]:
    check_matrix("rsf2csf", t, square=True)
    if t.shape != z.shape or t.dtype != z.dtype or not dtypes.is_complex(t.dtype):
        raise errors.ShapeError(f"rsf2csf: complex matrices of one type are needed, got {t} and {z}")
    return [like(t, t.shape), like(z, z.shape)]


rsf2csf_p: Primitive = Primitive(
    "rsf2csf",
    shape=_rsf2csf_shape,
    impl=_rsf2csf_impl,
    batch=leading(lambda: rsf2csf_p),
    multiple=True,
    kind="library",
    not_differentiable="the order of the eigenvalues, and with it the form, is a choice of the iteration",
    samples=lambda: [
        Sample((np.array([[1.0, 2.0], [-3.0, 1.0]]) + 0j, np.eye(2) + 0j), vary="scale"),
        Sample((np.zeros((0, 0), np.complex64), np.zeros((0, 0), np.complex64))),
    ],
)


# -- hessenberg -------------------------------------------------------------------------------------------------------


def _hessenberg_shape(a: ShapedArray) -> list[ShapedArray]:
    check_matrix("hessenberg", a, square=True)
    return [like(a, a.shape), like(a, (*a.shape[:-2], max(a.shape[-1] - 1, 0)))]


def _reflection(x: Any) -> tuple[Any, Any, Any]:
    """LAPACK's reflection ``I - tau v v^H``, whose adjoint takes a vector to ``beta e1`` with a real beta."""
    alpha, rest = x[0], np.linalg.norm(x[1:])
    if rest == 0 and alpha.imag == 0:
        return np.concatenate([np.ones(1, x.dtype), 0 * x[1:]]), x.dtype.type(0), alpha
    beta = -np.copysign(np.hypot(abs(alpha), rest), alpha.real)
    return np.concatenate([np.ones(1, x.dtype), x[1:] / (alpha - beta)]), (beta - alpha) / beta, x.dtype.type(beta)


def packed_hessenberg(a: Any) -> tuple[Any, Any]:
    """One matrix reduced by reflections, whose vectors are left below the first subdiagonal."""
    h, n = a.copy(), len(a)
    taus = np.zeros(max(n - 1, 0), a.dtype)
    for k in range(n - 1):
        v, taus[k], beta = _reflection(h[k + 1 :, k])
        h[k + 1 :, k + 1 :] -= np.conj(taus[k]) * np.outer(v, v.conj() @ h[k + 1 :, k + 1 :])
        h[:, k + 1 :] -= taus[k] * np.outer(h[:, k + 1 :] @ v, v.conj())
        h[k + 1, k], h[k + 2 :, k] = beta, v[1:]
    return h, taus


def reflected(a: Any) -> tuple[Any, Any]:
    """The Hessenberg form of one matrix, and the unitary matrix that leads there."""
    packed, taus = packed_hessenberg(a)
    n = len(a)
    q = np.eye(n, dtype=a.dtype)
    for k in range(n - 2, -1, -1):
        v = np.concatenate([np.ones(1, a.dtype), packed[k + 2 :, k]])
        q[k + 1 :, k + 1 :] -= taus[k] * np.outer(v, v.conj() @ q[k + 1 :, k + 1 :])
    return np.triu(packed, -1), q


def _stacked(of_one: Callable[..., Sequence[Any]], infer: Callable[[ShapedArray], list[ShapedArray]]) -> Any:
    def impl(xp: Any, a: Any, **params: Any) -> list[Any]:
        _host(of_one.__name__, xp)
        outs = [np.empty(o.shape, o.dtype) for o in infer(aval_of(a))]
        for k in np.ndindex(*a.shape[:-2]):
            for out, value in zip(outs, of_one(a[k], **params), strict=True):
                out[k] = value
        return outs

    return impl


hessenberg_p: Primitive = Primitive(
    "hessenberg",
    shape=_hessenberg_shape,
    impl=_stacked(packed_hessenberg, _hessenberg_shape),
    batch=leading(lambda: hessenberg_p),
    multiple=True,
    kind="library",
    traits=frozenset({Trait.COSTLY, Trait.THREADED}),
    not_differentiable="the form is one of many, chosen by the reflections. functrans.lax.linalg.eig, and functions of "
    "a matrix such as functrans.scipy.linalg.expm, have derivatives",
    samples=lambda: [Sample((a,)) for a in _square_samples()],
)


def hessenberg(a: Any) -> tuple[Any, Any]:
    """The reduction of square matrices to Hessenberg form ``a = Q H Q^H``, packed as LAPACK does.

    It has no derivative.

    Args:
        a: an array of shape ``(..., n, n)``.

    Returns:
        An array like ``a`` with H in and above the first subdiagonal and the vectors of the reflections below it, and
        the factors of the reflections, of shape ``(..., n - 1)``. Q is ``householder_product`` of them, one row and
        column smaller.

    >>> hessenberg(np.array([[1.0, 2.0], [3.0, 4.0]]))[0]
    array([[1., 2.],
           [3., 4.]])
    """
    _hessenberg_shape(aval_of(a))
    h, taus = hessenberg_p.bind(a)
    return h, taus


# -- tridiagonal ------------------------------------------------------------------------------------------------------


def _tridiagonal_shape(a: ShapedArray, *, lower: bool = True) -> list[ShapedArray]:
    check_matrix("tridiagonal", a, square=True)
    real, below = dtypes.real_dtype(a.dtype), max(a.shape[-1] - 1, 0)
    return [
        like(a, a.shape),
        like(a, a.shape[:-1], real),
        like(a, (*a.shape[:-2], below), real),
        like(a, (*a.shape[:-2], below)),
    ]


def packed_tridiagonal(a: Any, lower: bool) -> tuple[Any, ...]:
    """One Hermitian matrix reduced by reflections, whose vectors are left in the triangle that was read."""
    if not lower:
        # Reversed in both axes the upper triangle becomes a lower one: that is LAPACK's form for it.
        packed, d, e, taus = packed_tridiagonal(a[::-1, ::-1], True)
        return packed[::-1, ::-1], d[::-1], e[::-1], taus[::-1]
    n = len(a)
    work = np.tril(a) + np.tril(a, -1).conj().T
    work[np.arange(n), np.arange(n)] = work.diagonal().real
    packed, taus = packed_hessenberg(work)
    out = np.triu(a, 1) + np.tril(packed)
    d, e = packed.diagonal().real.copy(), packed.diagonal(-1).real.copy()
    return out, d, e, taus


tridiagonal_p: Primitive = Primitive(
    "tridiagonal",
    shape=_tridiagonal_shape,
    impl=_stacked(packed_tridiagonal, _tridiagonal_shape),
    batch=leading(lambda: tridiagonal_p),
    multiple=True,
    kind="library",
    traits=frozenset({Trait.COSTLY, Trait.THREADED}),
    not_differentiable="the form is one of many, chosen by the reflections. functrans.lax.linalg.eigh has derivatives",
    samples=lambda: [Sample((a,), {"lower": k != 1}) for k, a in enumerate(_square_samples())],
)


def tridiagonal(a: Any, *, lower: bool = True) -> tuple[Any, Any, Any, Any]:
    """The reduction of Hermitian matrices to three diagonals ``a = Q T Q^H``, packed as LAPACK does.

    It has no derivative.

    Args:
        a: an array of shape ``(..., n, n)``.
        lower: which triangle is read.

    Returns:
        An array like ``a`` with the diagonals and the vectors of the reflections in that triangle; the diagonal of T,
        real, of shape ``(..., n)``; the diagonal beside it, real, of shape ``(..., n - 1)``; and the factors of the
        reflections, of shape ``(..., n - 1)``.

    >>> tridiagonal(np.array([[1.0, 2.0], [2.0, 4.0]]))[1]
    array([1., 4.])
    """
    _tridiagonal_shape(aval_of(a))
    packed, d, e, taus = tridiagonal_p.bind(a, lower=bool(lower))
    return packed, d, e, taus


__all__ = [
    "hessenberg",
    "hessenberg_p",
    "rsf2csf_p",
    "schur",
    "schur_form",
    "schur_p",
    "tridiagonal",
    "tridiagonal_p",
]
