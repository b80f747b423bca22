"""Division by gaps between eigenvalues or singular values, and what is done where there is no gap.

Eigenvectors of one eigenvalue can be rotated among themselves, so their derivatives do not exist. Those of functions
which such a rotation leaves unchanged may exist nevertheless. The convention here: vectors whose eigenvalues agree to
rounding do not rotate among themselves, which gives the derivative of every sum over a whole eigenspace (projections,
traces, sums of eigenvalues). It drops what a function gains that treats the eigenvalues of one eigenspace each with its
own vector, as ``v @ diag(f(w)) @ v.T`` does and as second derivatives of functions of eigenvalues do. Whether something
was dropped is known when the derivative is computed, and then a warning says so.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans.core import dtypes
from functrans.core.avals import ShapedArray
from functrans.core.primitive import Primitive, Sample, Zero
from functrans.core.structural import convert, zero_of
from functrans.core.trace import aval_of
from functrans.lax.arithmetic import mul, neg, sub
from functrans.lax.linalg.common import leading, like
from functrans.lax.magnitude import abs as magnitude
from functrans.lax.movement import reshape
from functrans.lax.reduction import reduce_max
from functrans.lax.selection import stop_gradient


class DegenerateSpectrumWarning(RuntimeWarning):
    """A derivative used vectors of eigenvalues or singular values that coincide (or of one that is zero)."""


def _shape(x: ShapedArray, gaps: ShapedArray, scale: ShapedArray, *, diagonal: bool) -> ShapedArray:
    if x.shape != gaps.shape or x.shape[:-2] != scale.shape:
        raise errors.ShapeError(f"divide_by_gaps: operands of types {x}, {gaps} and {scale} do not fit")
    return like(x, x.shape)


def _impl(xp: Any, x: Any, gaps: Any, scale: Any, *, diagonal: bool) -> Any:
    if not x.size:
        return x.copy()
    eps = np.finfo(x.dtype).eps
    size = max(x.shape[-2:])
    closed = abs(gaps) <= xp.asarray(size * eps * scale)[..., None, None]
    dropped = closed if diagonal else closed & ~xp.eye(*x.shape[-2:], dtype=bool)
    out = x / xp.where(closed, gaps.dtype.type(1), gaps)
    out[closed] = 0
    if bool(dropped.any()):
        amount = abs(xp.where(dropped, x, 0)).max()
        if bool(amount > 1000 * size * eps * abs(x).max()):
            warnings.warn(
                "a derivative depends on eigenvectors (or singular vectors) of eigenvalues that coincide to rounding. "
                "Their coupling was taken to be zero: right for functions of whole eigenspaces and for sums of "
                "eigenvalues, wrong for v @ diag(f(w)) @ v.T and for second derivatives of functions of eigenvalues. "
                "functrans.scipy.linalg.sqrtm, expm and funm, numpy.linalg.pinv, slogdet and norm have derivatives "
                "there; so has the matrix plus a small diagonal of different numbers",
                DegenerateSpectrumWarning,
                stacklevel=2,
            )
    return out


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], *, diagonal: bool) -> tuple[Any, Any]:
    (x, gaps, scale), (t, d_gaps, _) = primals, tangents
    out = divide_by_gaps_p.bind(x, gaps, scale, diagonal=diagonal)
    if isinstance(t, Zero) and isinstance(d_gaps, Zero):
        return out, zero_of(out)
    if isinstance(d_gaps, Zero):
        change = t
    else:
        change = neg(mul(out, convert(d_gaps, aval_of(out).dtype)))
        if not isinstance(t, Zero):
            change = sub(t, neg(change))
    return out, divide_by_gaps_p.bind(change, gaps, scale, diagonal=diagonal)


divide_by_gaps_p: Primitive = Primitive(
    "divide_by_gaps",
    shape=_shape,
    impl=_impl,
    jvp=_jvp,
    transpose=lambda ct, x, gaps, scale, *, diagonal: [
        divide_by_gaps_p.bind(ct, gaps, scale, diagonal=diagonal),
        None,
        None,
    ],
    batch=leading(lambda: divide_by_gaps_p),
    kind="library",
    samples=lambda: [
        Sample(
            (np.array([[1.0, 2.0], [-0.5, 0.25]]), np.array([[0.5, -1.0], [1.0, 2.0]]), np.float64(2.0)),
            {"diagonal": True},
            diff=(0, 1),
        ),
        Sample(
            (np.ones((2, 2), np.complex64), np.array([[0.0, -1.0], [1.0, 0.0]], np.float32), np.float32(2.0)),
            {"diagonal": False},
            1,
            diff=(0,),
            vary="scale",
        ),
    ],
)


def divide_by_gaps(x: Any, gaps: Any, values: Any, *, diagonal: bool = False) -> Any:
    """``x / gaps``, and 0 where a gap is zero to rounding in comparison with the largest of ``values``.

    Args:
        x: matrices.
        gaps: matrices of the same shape.
        values: the eigenvalues or singular values.
        diagonal: whether the diagonal is of interest; otherwise nothing warns of its gaps.
    """
    size = magnitude(stop_gradient(values))
    if 0 in aval_of(size).shape[-1:]:
        return x
    scale = reduce_max(size, (aval_of(size).ndim - 1,))
    return divide_by_gaps_p.bind(x, gaps, scale, diagonal=diagonal)


def differences(values: Any) -> Any:
    """The matrices of ``values[j] - values[i]``."""
    return sub(as_row(values), as_column(values))


def as_row(values: Any) -> Any:
    shape = aval_of(values).shape
    return reshape(values, (*shape[:-1], 1, shape[-1]))


def as_column(values: Any) -> Any:
    return reshape(values, (*aval_of(values).shape, 1))


def real_of(dtype: Any) -> Any:
    return dtypes.real_dtype(dtype)


__all__ = ["DegenerateSpectrumWarning", "as_column", "as_row", "differences", "divide_by_gaps", "divide_by_gaps_p"]
