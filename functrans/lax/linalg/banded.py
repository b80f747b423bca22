"""Tridiagonal systems of equations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans.core.avals import ShapedArray
from functrans.core.primitive import Primitive, Sample, Trait, Undefined, Zero
from functrans.core.structural import instantiate, zero_of
from functrans.core.trace import aval_of
from functrans.lax.arithmetic import sub
from functrans.lax.linalg.common import check_matrix, columns_batch, like, routine, row_scaled, singular
from functrans.lax.slicing import concatenate, slice_in_dim


def _shape(dl: ShapedArray, d: ShapedArray, du: ShapedArray, b: ShapedArray) -> ShapedArray:
    check_matrix("tridiagonal_solve", b)
    for name, x in (("dl", dl), ("d", d), ("du", du)):
        if x.shape != b.shape[:-1] or x.dtype != b.dtype:
            raise errors.ShapeError(
                f"tridiagonal_solve: {name} must have the dtype of b and one element for each of its rows, got types "
                f"{x} and {b}"
            )
    return like(b, b.shape)


def _impl(xp: Any, dl: Any, d: Any, du: Any, b: Any) -> Any:
    n = b.shape[-2]
    if not b.size:
        return xp.zeros_like(b)
    solver = routine("gtsv", b.dtype) if xp is np else None
    if solver is None or n < 2 or int(np.prod(b.shape[:-2], dtype=int)) > n:
        return _eliminate(xp, dl, d, du, b)
    out = xp.empty_like(b)
    for k in np.ndindex(*b.shape[:-2]):
        *_, out[k], info = solver(dl[k][1:], d[k], du[k][:-1], b[k])
        if info > 0:
            raise singular("tridiagonal_solve")
    return out


def _eliminate(xp: Any, dl: Any, d: Any, du: Any, b: Any) -> Any:
    """Gaussian elimination with partial pivoting: a row exchange fills the second diagonal above the main one."""
    n = b.shape[-2]
    d, du, b = d.copy(), du.copy(), b.copy()
    second = xp.zeros_like(du)
    du[..., n - 1] = 0
    zero = xp.zeros_like(d[..., 0])
    for k in range(n - 1):
        row = [d[..., k], du[..., k], second[..., k]]
        after = [dl[..., k + 1], d[..., k + 1], du[..., k + 1]]
        swap = abs(after[0]) > abs(row[0])
        top = [xp.where(swap, y, x) for x, y in zip(row, after, strict=True)]
        low = [xp.where(swap, x, y) for x, y in zip(row, after, strict=True)]
        upper = xp.where(swap[..., None], b[..., k + 1, :], b[..., k, :])
        under = xp.where(swap[..., None], b[..., k, :], b[..., k + 1, :])
        if bool((top[0] == 0).any()):
            raise singular("tridiagonal_solve")
        factor = low[0] / top[0]
        d[..., k], du[..., k], second[..., k] = top
        b[..., k, :] = upper
        d[..., k + 1] = low[1] - factor * top[1]
        du[..., k + 1] = low[2] - factor * top[2]
        b[..., k + 1, :] = under - factor[..., None] * upper
    if bool((d[..., n - 1] == 0).any()):
        raise singular("tridiagonal_solve")
    next_x, last_x = b[..., 0, :] * 0, b[..., 0, :] * 0
    for k in range(n - 1, -1, -1):
        over = second[..., k] if k < n - 2 else zero
        rest = b[..., k, :] - du[..., k, None] * next_x - over[..., None] * last_x
        b[..., k, :] = rest / d[..., k, None]
        next_x, last_x = b[..., k, :], next_x
    return b


def _shifted(x: Any, up: bool, axis: int) -> Any:
    """The elements moved by one place along an axis, with zeros where nothing comes from."""
    n = aval_of(x).shape[axis]
    if not n:
        return x
    edge = slice_in_dim(x, 0, 1, axis=axis)
    zero = sub(edge, edge)
    if up:
        return concatenate([slice_in_dim(x, 1, n, axis=axis), zero], axis)
    return concatenate([zero, slice_in_dim(x, 0, n - 1, axis=axis)], axis)


def _jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    dl, d, du, b = primals
    out = tridiagonal_solve_p.bind(dl, d, du, b)
    if all(isinstance(t, Zero) for t in tangents) or not aval_of(b).size:
        return out, zero_of(out)
    t_dl, t_d, t_du, t_b = tangents
    change, rows = instantiate(t_b), aval_of(b).ndim - 2
    if not isinstance(t_dl, Zero):
        change = sub(change, row_scaled(_shifted(out, False, rows), t_dl))
    if not isinstance(t_d, Zero):
        change = sub(change, row_scaled(out, t_d))
    if not isinstance(t_du, Zero):
        change = sub(change, row_scaled(_shifted(out, True, rows), t_du))
    return out, tridiagonal_solve_p.bind(dl, d, du, change)


def _transpose(ct: Any, dl: Any, d: Any, du: Any, b: Undefined) -> list[Any]:
    axis = aval_of(d).ndim - 1
    return [None, None, None, tridiagonal_solve_p.bind(_shifted(du, False, axis), d, _shifted(dl, True, axis), ct)]


def _samples() -> list[Sample]:
    d = np.array([2.0, -3.0, 1.5, 2.5])
    dl, du = np.array([0.0, 0.5, 1.0, -0.75]), np.array([0.25, -1.0, 0.5, 0.0])
    b = np.array([[1.0, -2.0], [0.5, 3.0], [2.0, 0.25], [-1.0, 0.5]])
    one, two = (dl, d, du, b), (dl + 1j * du, d, du - 1j * dl, b + 0j)
    return [
        Sample(one, vary="scale"),
        Sample(tuple(x.astype(np.complex128) for x in two), vary="scale"),
        Sample(tuple(np.stack([x, x]).astype(np.float32) for x in one), order=1, vary="scale"),
        Sample((d[:1], d[:1], d[:1], b[:1]), vary="scale"),
        Sample((d[:0], d[:0], d[:0], b[:0]), vary="scale"),
    ]


tridiagonal_solve_p: Primitive = Primitive(
    "tridiagonal_solve",
    shape=_shape,
    impl=_impl,
    jvp=_jvp,
    transpose=_transpose,
    batch=columns_batch(lambda: tridiagonal_solve_p, 3),
    kind="library",
    traits=frozenset({Trait.COSTLY, Trait.THREADED}),
    samples=_samples,
)


def tridiagonal_solve(dl: Any, d: Any, du: Any, b: Any) -> Any:
    """The solutions of systems whose matrix has three diagonals, by elimination with partial pivoting.

    Args:
        dl: what stands below the diagonal in each row, of shape ``(..., n)``; the first element is not read.
        d: the diagonal.
        du: what stands above the diagonal in each row; the last element is not read.
        b: the right-hand sides, of shape ``(..., n, k)`` and of the same dtype.

    Returns:
        An array like ``b``.

    Raises:
        ShapeError: shapes or dtypes that do not fit.
        numpy.linalg.LinAlgError: a singular matrix.

    >>> d = np.array([2.0, 2.0])
    >>> tridiagonal_solve(np.array([0.0, 1.0]), d, np.array([1.0, 0.0]), np.array([[3.0], [3.0]]))
    array([[1.],
           [1.]])
    """
    _shape(*map(aval_of, (dl, d, du, b)))
    return tridiagonal_solve_p.bind(dl, d, du, b)


__all__ = ["tridiagonal_solve", "tridiagonal_solve_p"]
