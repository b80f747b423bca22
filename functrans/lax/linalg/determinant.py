"""Determinants, whose derivative is right at singular matrices too.

The gradient of ``det`` is the transposed adjugate, a polynomial that no singularity disturbs. It is computed from the
inverse where that is well determined, else from the singular values: in ``A = U S V^H`` the adjugate is
``det(U) det(V^H) V adj(S) U^H``, and so on for its derivative (G. W. Stewart, "On the adjugate matrix", Linear Algebra
and its Applications 283, 1998).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from functrans.core import dtypes
from functrans.core.avals import ShapedArray
from functrans.core.primitive import Primitive, Sample, Trait, Zero
from functrans.core.structural import reduce_sum, zero_of
from functrans.core.trace import aval_of
from functrans.lax.arithmetic import add, mul, sub
from functrans.lax.complex import complex as complex_of
from functrans.lax.complex import imag, real
from functrans.lax.families import tangent_rules
from functrans.lax.linalg.common import (
    check_matrix,
    host_or_device,
    leading,
    like,
    matrices,
    transposed,
)
from functrans.lax.linalg.lu import inv_p, inverse
from functrans.lax.linalg.svd import svd_p
from functrans.lax.movement import reshape
from functrans.lax.selection import stop_gradient


def trace_of_product(x: Any, y: Any) -> Any:
    """The traces of the products of square matrices."""
    ndim = aval_of(x).ndim
    return reduce_sum(mul(transposed(x), y), (ndim - 2, ndim - 1))


def _each(number: Any, x: Any) -> Any:
    """A number for each matrix, times that matrix."""
    return mul(reshape(number, (*aval_of(number).shape, 1, 1)), x)


# -- det --------------------------------------------------------------------------------------------------------------


def _det_shape(a: ShapedArray) -> ShapedArray:
    check_matrix("det", a, square=True)
    return like(a, a.shape[:-2])


def _square_samples() -> list[Any]:
    a = np.array([[2.0, 0.5, -1.0], [0.75, -3.0, 0.25], [-0.5, 1.0, 1.5]])
    return [
        a,
        np.outer([1.0, 2.0], [0.5, -1.0]),
        np.stack([a[:2, :2], np.zeros((2, 2))]),
        a[1:, 1:].astype(np.float32),
        a[:2, :2] + 0.5j * a[1:, 1:],
        np.array([[2.5]]),
        np.zeros((0, 0)),
    ]


det_p: Primitive = Primitive(
    "det",
    shape=_det_shape,
    impl=lambda xp, a: host_or_device(xp, "det")(a),
    jvp=tangent_rules(lambda: det_p, lambda t, out, a: trace_of_product(adjugate_p.bind(a), t)),
    batch=leading(lambda: det_p),
    kind="library",
    traits=frozenset({Trait.COSTLY, Trait.THREADED}),
    samples=lambda: [Sample((a,)) for a in _square_samples()],
)


def det(a: Any) -> Any:
    """The determinants of square matrices.

    The derivative is right at singular matrices too, up to the second order. A third one exists where the matrix is
    not singular, and raises LinAlgError elsewhere.

    >>> det(np.array([[1.0, 2.0], [3.0, 4.0]])).round(6)
    np.float64(-2.0)
    """
    _det_shape(aval_of(a))
    return det_p.bind(a)


# -- the adjugate -----------------------------------------------------------------------------------------------------


def _products_without(xp: Any, s: Any) -> Any:
    """For each element of a vector the product of the others."""
    one = xp.ones_like(s[..., :1])
    before = xp.cumprod(xp.concatenate([one, s[..., :-1]], -1), -1)
    after = xp.cumprod(xp.concatenate([one, s[..., :0:-1]], -1), -1)[..., ::-1]
    return before * after


def _products_without_two(xp: Any, s: Any) -> Any:
    """For each pair of different elements of a vector the product of the others; 0 on the diagonal."""
    n = s.shape[-1]
    one = xp.ones_like(s[..., :1])
    before = xp.cumprod(xp.concatenate([one, s[..., :-1]], -1), -1)
    after = xp.cumprod(xp.concatenate([one, s[..., :0:-1]], -1), -1)[..., ::-1]
    above = ~xp.tri(n, n, 0, dtype=bool)
    between = xp.cumprod(xp.where(above, s[..., None, :], s.dtype.type(1)), -1)
    between = xp.concatenate([xp.broadcast_to(one[..., None], (*s.shape, 1)), between[..., :-1]], -1)
    upper = xp.where(above, before[..., :, None] * between * after[..., None, :], s.dtype.type(0))
    return upper + upper.swapaxes(-1, -2)


def _turns(xp: Any, u: Any, vh: Any) -> Any:
    return (host_or_device(xp, "det")(u) * host_or_device(xp, "det")(vh))[..., None, None]


def _adjugate_impl(xp: Any, a: Any) -> Any:
    n = a.shape[-1]
    if a.size == 0 or n == 1:
        return xp.ones_like(a)
    with np.errstate(all="ignore"):
        inverted = inverse(xp, a, False)
        out = host_or_device(xp, "det")(a)[..., None, None] * inverted
        condition = abs(a).sum(-1).max(-1) * abs(inverted).sum(-1).max(-1)
    # Written so that a NaN counts as badly conditioned.
    bad = ~(condition < 1 / np.sqrt(np.finfo(a.dtype).eps)) & xp.isfinite(a).all((-1, -2))
    if bool(bad.any()):
        u, s, vh = host_or_device(xp, "svd")(a[bad])
        out[bad] = _turns(xp, u, vh) * _sandwich(vh, _products_without(xp, s)[..., None, :], u)
    return out


def _sandwich(vh: Any, inner: Any, u: Any) -> Any:
    return (vh.conj().swapaxes(-1, -2) * inner) @ u.conj().swapaxes(-1, -2)


def _adjugate_jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    (a,), (t,) = primals, tangents
    out = adjugate_p.bind(a)
    if isinstance(t, Zero):
        return out, zero_of(out)
    u, s, vh = svd_p.bind(stop_gradient(a), full_matrices=True)
    return out, adjugate_tangent_p.bind(a, u, s, vh, t)


adjugate_p: Primitive = Primitive(
    "adjugate",
    shape=lambda a: like(a, a.shape),
    impl=_adjugate_impl,
    jvp=_adjugate_jvp,
    batch=leading(lambda: adjugate_p),
    kind="library",
    traits=frozenset({Trait.COSTLY, Trait.THREADED}),
    samples=lambda: [Sample((a,), order=1 if k in (1, 2) else 2) for k, a in enumerate(_square_samples())],
)


def _tangent_impl(xp: Any, a: Any, u: Any, s: Any, vh: Any, e: Any) -> Any:
    if not e.size:
        return e.copy()
    inner = u.conj().swapaxes(-1, -2) @ e @ vh.conj().swapaxes(-1, -2)
    pairs = _products_without_two(xp, s)
    diagonal = xp.einsum("...ij,...jj->...i", pairs, inner)
    middle = -pairs * inner
    places = xp.arange(s.shape[-1])
    middle[..., places, places] = diagonal
    v = vh.conj().swapaxes(-1, -2)
    return _turns(xp, u, vh) * (v @ middle @ u.conj().swapaxes(-1, -2))


def _tangent_matrix_rule(f: Any, out: Any, a: Any, u: Any, s: Any, vh: Any, e: Any) -> Any:
    """The derivative of ``det(A) (tr(X E) X - X E X)`` with ``X = A^-1``, which the tangent is where that exists."""
    x, d = inv_p.bind(a, strict=True), det_p.bind(a)
    dx = matrices(x, f, x)
    xe, xf = trace_of_product(x, e), trace_of_product(x, f)
    first = sub(_each(xe, x), matrices(x, e, x))
    turned = sub(matrices(dx, e, x), _each(trace_of_product(dx, e), x))
    second = sub(add(turned, matrices(x, e, dx)), _each(xe, dx))
    return _each(d, add(_each(xf, first), second))


def _tangent_samples() -> list[Sample]:
    found = []
    for a in (_square_samples()[k] for k in (0, 3, 4)):
        u, s, vh = np.linalg.svd(a)
        found.append(Sample((a, u, s, vh, np.cos(a).astype(a.dtype)), diff=(4,), vary="scale"))
    return found


adjugate_tangent_p: Primitive = Primitive(
    "adjugate_tangent",
    shape=lambda a, u, s, vh, e: like(e, e.shape),
    impl=_tangent_impl,
    jvp=tangent_rules(
        lambda: adjugate_tangent_p,
        _tangent_matrix_rule,
        None,
        None,
        None,
        lambda t, out, a, u, s, vh, e: adjugate_tangent_p.bind(a, u, s, vh, t),
    ),
    transpose=lambda ct, a, u, s, vh, e: [
        None,
        None,
        None,
        None,
        transposed(adjugate_tangent_p.bind(a, u, s, vh, transposed(ct))),
    ],
    batch=leading(lambda: adjugate_tangent_p),
    kind="library",
    samples=_tangent_samples,
)
"""The derivative of the adjugate in a direction. It is symmetric: as a form of two matrices it is the second
derivative of the determinant. The singular value decomposition is passed along, and not differentiated: it is known
by the matrix."""

# -- slogdet ----------------------------------------------------------------------------------------------------------


def _slogdet_shape(a: ShapedArray) -> list[ShapedArray]:
    check_matrix("slogdet", a, square=True)
    return [like(a, a.shape[:-2]), like(a, a.shape[:-2], dtypes.real_dtype(a.dtype))]


def _slogdet_jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    (a,), (t,) = primals, tangents
    sign, size = slogdet_p.bind(a)
    if isinstance(t, Zero):
        return [sign, size], [zero_of(sign), zero_of(size)]
    change = trace_of_product(inv_p.bind(a, strict=True), t)
    if not dtypes.is_complex(aval_of(a).dtype):
        return [sign, size], [zero_of(sign), change]
    turn = complex_of(mul(imag(change), 0.0), imag(change))
    return [sign, size], [mul(sign, turn), real(change)]


slogdet_p: Primitive = Primitive(
    "slogdet",
    shape=_slogdet_shape,
    impl=lambda xp, a: list(host_or_device(xp, "slogdet")(a)),
    jvp=_slogdet_jvp,
    batch=leading(lambda: slogdet_p),
    multiple=True,
    kind="library",
    traits=frozenset({Trait.COSTLY, Trait.THREADED}),
    samples=lambda: [Sample((a,)) for k, a in enumerate(_square_samples()) if k not in (1, 2)],
)


def slogdet(a: Any) -> tuple[Any, Any]:
    """The signs of determinants (for complex matrices numbers of modulus 1) and the logarithms of their moduli.

    At a singular matrix these are 0 and minus infinity; the derivative, which does not exist there, raises LinAlgError.

    >>> slogdet(np.array([[0.0, 2.0], [2.0, 0.0]]))[0]
    np.float64(-1.0)
    """
    _slogdet_shape(aval_of(a))
    sign, size = slogdet_p.bind(a)
    return sign, size


__all__ = ["det", "det_p", "slogdet", "slogdet_p"]
