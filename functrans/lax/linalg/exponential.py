"""The matrix exponential and its Fréchet derivative, which has every further derivative in itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from functrans.core.avals import ShapedArray
from functrans.core.primitive import Primitive, Sample, Trait
from functrans.core.structural import broadcast_to
from functrans.core.trace import aval_of
from functrans.lax.families import tangent_rules
from functrans.lax.linalg.common import check_matrix, check_same, host_or_device, leading, like, transposed
from functrans.lax.slicing import concatenate, slice_in_dim

# -- how it is computed: the Pade approximant of degree 13, with scaling and squaring ---------------------------------

_PADE = (
    64764752532480000.0,
    32382376266240000.0,
    7771770303897600.0,
    1187353796428800.0,
    129060195264000.0,
    10559470521600.0,
    670442572800.0,
    33522128640.0,
    1323241920.0,
    40840800.0,
    960960.0,
    16380.0,
    182.0,
    1.0,
)
_LARGEST_NORM = 4.74
"""Up to it the approximant is exact to rounding, its derivative included: A. H. Al-Mohy and N. J. Higham, "Computing
the Fréchet derivative of the matrix exponential, with an application to condition number estimation", SIAM J. Matrix
Anal. Appl. 30 (2009), table 6.1."""


def _exponential(xp: Any, a: Any, e: Any = None) -> tuple[Any, Any]:
    """The exponentials of a stack of matrices, and their derivatives in the directions ``e``; algorithm 6.4 there."""
    norm = abs(a).sum(-2).max(-1)
    ratio = xp.where(xp.isfinite(norm) & (norm > 0), norm, 1) / _LARGEST_NORM
    squarings = xp.maximum(xp.ceil(xp.log2(ratio)), 0).astype(int)
    out, change = xp.empty_like(a), None if e is None else xp.empty_like(e)
    for s in sorted({int(s) for s in squarings.ravel()}):
        chosen = squarings == s
        shrink = a.dtype.type(0.5**s)
        r, d = _approximant(xp, a[chosen] * shrink, None if e is None else e[chosen] * shrink)
        for _ in range(s):
            d = None if d is None else r @ d + d @ r
            r = r @ r
        out[chosen] = r
        if d is not None and change is not None:
            change[chosen] = d
    return out, change


def _approximant(xp: Any, a: Any, e: Any) -> tuple[Any, Any]:
    b = [a.dtype.type(c) for c in _PADE]
    one = xp.eye(a.shape[-1], dtype=a.dtype)
    a2 = a @ a
    a4 = a2 @ a2
    a6 = a4 @ a2
    w1, w2 = b[13] * a6 + b[11] * a4 + b[9] * a2, b[7] * a6 + b[5] * a4 + b[3] * a2 + b[1] * one
    z1, z2 = b[12] * a6 + b[10] * a4 + b[8] * a2, b[6] * a6 + b[4] * a4 + b[2] * a2 + b[0] * one
    w = a6 @ w1 + w2
    odd, even = a @ w, a6 @ z1 + z2
    r = host_or_device(xp, "solve")(even - odd, even + odd)
    if e is None:
        return r, None
    m2 = a @ e + e @ a
    m4 = a2 @ m2 + m2 @ a2
    m6 = a4 @ m2 + m4 @ a2
    dw1, dw2 = b[13] * m6 + b[11] * m4 + b[9] * m2, b[7] * m6 + b[5] * m4 + b[3] * m2
    dz1, dz2 = b[12] * m6 + b[10] * m4 + b[8] * m2, b[6] * m6 + b[4] * m4 + b[2] * m2
    d_odd = a @ (a6 @ dw1 + m6 @ w1 + dw2) + e @ w
    d_even = a6 @ dz1 + m6 @ z1 + dz2
    return r, host_or_device(xp, "solve")(even - odd, d_odd + d_even + (d_odd - d_even) @ r)


def _expm_impl(xp: Any, a: Any) -> Any:
    if not a.size:
        return a.copy()
    if xp is np:
        try:
            import scipy.linalg
        except ImportError:
            pass
        else:
            return scipy.linalg.expm(a)
    return _exponential(xp, a)[0]


# -- the primitives ---------------------------------------------------------------------------------------------------


def _expm_shape(a: ShapedArray) -> ShapedArray:
    check_matrix("expm", a, square=True)
    return like(a, a.shape)


def _frechet_shape(a: ShapedArray, e: ShapedArray) -> ShapedArray:
    check_matrix("expm_frechet", a, square=True)
    check_same("expm_frechet", [a, e], lead=0)
    return like(e, e.shape)


def _blocks(diagonal: Any, corner: Any) -> Any:
    """``[[diagonal, corner], [0, diagonal]]``, with None for a corner of zeros."""
    aval = aval_of(diagonal)
    zero = broadcast_to(aval.dtype.type(0), aval.shape)
    axis = aval.ndim - 1
    top = concatenate([diagonal, zero if corner is None else corner], axis)
    return concatenate([top, concatenate([zero, diagonal], axis)], axis - 1)


def _frechet_matrix_rule(t: Any, out: Any, a: Any, e: Any) -> Any:
    """The derivative in ``a`` of L(a, e), read off the derivative at the block matrix whose exponential has L(a, e) as
    its corner (Higham and Relton, "Higher order Fréchet derivatives of matrix functions", 2014)."""
    n, axis = aval_of(a).shape[-1], aval_of(a).ndim - 1
    whole = expm_frechet_p.bind(_blocks(a, e), _blocks(t, None))
    return slice_in_dim(slice_in_dim(whole, 0, n, axis=axis - 1), n, 2 * n, axis=axis)


def _samples() -> list[Any]:
    a = np.array([[0.5, -1.0], [0.75, 0.25]])
    big = np.array([[2.0, 8.0, -1.0], [1.0, -3.0, 0.5], [0.0, 2.0, 4.0]])
    return [a, np.stack([a, 9 * a]).astype(np.float32), a + 0.5j * a.T, big, np.zeros((0, 0))]


expm_p: Primitive = Primitive(
    "expm",
    shape=_expm_shape,
    impl=_expm_impl,
    jvp=tangent_rules(lambda: expm_p, lambda t, out, a: expm_frechet_p.bind(a, t)),
    batch=leading(lambda: expm_p),
    kind="library",
    traits=frozenset({Trait.COSTLY, Trait.THREADED}),
    samples=lambda: [Sample((a,), order=1 if k in (1, 3) else 2) for k, a in enumerate(_samples())],
)

expm_frechet_p: Primitive = Primitive(
    "expm_frechet",
    shape=_frechet_shape,
    impl=lambda xp, a, e: _exponential(xp, a, e)[1] if a.size else e.copy(),
    jvp=tangent_rules(lambda: expm_frechet_p, _frechet_matrix_rule, lambda t, out, a, e: expm_frechet_p.bind(a, t)),
    transpose=lambda ct, a, e: [None, expm_frechet_p.bind(transposed(a), ct)],
    batch=leading(lambda: expm_frechet_p),
    kind="library",
    traits=frozenset({Trait.COSTLY, Trait.THREADED}),
    samples=lambda: [Sample((a, np.cos(a.real).astype(a.dtype))) for a in _samples()[::2]],
)


def expm(a: Any) -> Any:
    """The exponentials of square matrices, differentiable to any order.

    It is SciPy's where SciPy is installed, and otherwise the Pade approximant of degree 13 with scaling and squaring.

    Args:
        a: an array of shape ``(..., n, n)``.

    >>> expm(np.zeros((2, 2)))
    array([[1., 0.],
           [0., 1.]])
    """
    _expm_shape(aval_of(a))
    return expm_p.bind(a)


def expm_frechet(a: Any, e: Any) -> Any:
    """The derivative of the matrix exponential at ``a`` in the direction ``e``: arrays of one shape and dtype."""
    _frechet_shape(aval_of(a), aval_of(e))
    return expm_frechet_p.bind(a, e)


__all__ = ["expm", "expm_frechet", "expm_frechet_p", "expm_p"]
