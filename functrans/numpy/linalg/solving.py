"""Systems of equations, inverses, determinants and condition numbers."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from functrans import errors, lax
from functrans.core import dtypes
from functrans.core.structural import convert, rebox
from functrans.core.trace import aval_of
from functrans.lax.linalg.common import hermitian as hermitian_of
from functrans.lax.linalg.determinant import det_p, slogdet_p
from functrans.lax.linalg.lu import inv_p, solve_p
from functrans.lax.linalg.pinv import lstsq_p, pinv_p
from functrans.lax.linalg.svd import svdvals_p
from functrans.numpy.arguments import NO_VALUE, concrete, given
from functrans.numpy.dispatch import implements, operand
from functrans.numpy.linalg.norms import norm
from functrans.numpy.linalg.operands import factored, factored_operand, square, stacks, two_axes

SlogdetResult: Any = type(np.linalg.slogdet(np.ones((1, 1))))


@implements(np.linalg.solve)
def solve(a: Any, b: Any) -> Any:
    """The solution of ``a x = b``; see ``numpy.linalg.solve``. Its derivatives share one factorisation.

    >>> import functrans as ft
    >>> ft.grad(lambda b: solve(np.array([[2.0, 0.0], [0.0, 4.0]]), b).sum())(np.ones(2))
    array([0.5 , 0.25])
    """
    x, y = factored("solve", a, b)
    square("solve", x)
    if aval_of(y).ndim == 0:
        raise errors.ShapeError(f"solve: b must have an axis or more, got {aval_of(y)}")
    vector = aval_of(y).ndim == 1
    if vector:
        y = lax.expand_dims(y, (1,))
    if aval_of(x).shape[-1] != aval_of(y).shape[-2]:
        raise errors.ShapeError(
            f"solve: a has {aval_of(x).shape[-1]} rows and b {aval_of(y).shape[-2]}: the operands have types "
            f"{aval_of(x)} and {aval_of(operand(b))}. A b with two axes or more is a stack of matrices: give vectors "
            f"an axis behind (b[..., None])"
        )
    out = solve_p.bind(*stacks("solve", x, y))
    return lax.squeeze(out, (aval_of(out).ndim - 1,)) if vector else out


@implements(np.linalg.tensorsolve)
def tensorsolve(a: Any, b: Any, axes: Any = None) -> Any:
    """The solution of a linear equation between arrays; see ``numpy.linalg.tensorsolve``."""
    x, y = factored("tensorsolve", a, b)
    ndim = aval_of(x).ndim
    if axes is not None:
        order = list(range(ndim))
        for axis in axes:
            order.remove(axis)
            order.insert(ndim, axis)
        x = lax.transpose(x, order)
    unknown = aval_of(x).shape[aval_of(y).ndim - ndim :]
    size = math.prod(unknown)
    if aval_of(x).size != size**2:
        raise errors.ShapeError(
            f"tensorsolve: the axes of a behind those of b must hold as many elements as b, got types {aval_of(x)} and "
            f"{aval_of(y)}"
        )
    out = solve_p.bind(lax.reshape(x, (size, size)), lax.reshape(y, (size, 1)))
    return lax.reshape(out, unknown)


@implements(np.linalg.inv)
def inv(a: Any) -> Any:
    """The inverses of matrices; see ``numpy.linalg.inv``."""
    x = factored_operand("inv", a)
    square("inv", x)
    return inv_p.bind(x, strict=True)


@implements(np.linalg.tensorinv)
def tensorinv(a: Any, ind: Any = 2) -> Any:
    """The inverse of a linear map between arrays; see ``numpy.linalg.tensorinv``."""
    x = factored_operand("tensorinv", a)
    ind = operator.index(ind)
    if ind <= 0:
        raise errors.ArgumentError(f"tensorinv: ind must be positive, got {ind}")
    shape = aval_of(x).shape
    size = math.prod(shape[ind:])
    if aval_of(x).size != size * size:
        raise errors.ShapeError(
            f"tensorinv: the first {ind} axes must hold as many elements as the others, got {aval_of(x)}"
        )
    out = inv_p.bind(lax.reshape(x, (size, size)), strict=True)
    return lax.reshape(out, (*shape[ind:], *shape[:ind]))


@implements(np.linalg.pinv)
def pinv(a: Any, rcond: Any = None, hermitian: bool = False, *, rtol: Any = NO_VALUE) -> Any:
    """The pseudoinverses of matrices; see ``numpy.linalg.pinv``.

    The derivative is that at constant rank: right in every direction where the rank is full, and otherwise in those
    that keep it, the only ones in which the pseudoinverse is continuous.
    """
    x = factored_operand("pinv", a)
    two_axes("pinv", x)
    if rcond is not None and given(rtol):
        raise errors.ArgumentError("pinv: rcond and rtol cannot both be given")
    if rcond is None:
        rcond = 1e-15 if not given(rtol) else rtol
    if rcond is None:
        rcond = max(aval_of(x).shape[-2:]) * np.finfo(aval_of(x).dtype).eps
    if hermitian:
        square("pinv", x)
        x = hermitian_of(x)
    lead = aval_of(x).shape[:-2]
    cutoff = lax.stop_gradient(convert(operand(rcond, "pinv"), np.float64))
    cutoff = rebox(lax.broadcast_to(cutoff, lead), "numpy") if lead else rebox(cutoff, "numpy")
    return pinv_p.bind(x, cutoff, hermitian=bool(hermitian))


@implements(np.linalg.lstsq)
def lstsq(a: Any, b: Any, rcond: Any = None) -> Any:
    """Least squares; see ``numpy.linalg.lstsq``.

    The derivative is that at constant rank, as for ``pinv``. NumPy returns no residuals where the rank is less than
    the number of columns; where the rank is not known while tracing (under ``jit`` and ``vmap``), the sums of squared
    residuals are returned for every matrix with more rows than columns.
    """
    x, y = factored("lstsq", a, b)
    vector = aval_of(y).ndim == 1
    if vector:
        y = lax.expand_dims(y, (1,))
    for name, z in (("a", x), ("b", y)):
        if aval_of(z).ndim != 2:
            raise errors.ShapeError(f"lstsq: {name} must be a matrix, got {aval_of(z)}; map over stacks with vmap")
    rows, columns = aval_of(x).shape
    if aval_of(y).shape[0] != rows:
        raise errors.ShapeError(f"lstsq: a has {rows} rows and b {aval_of(y).shape[0]}")
    if rcond is None:
        rcond = float(np.finfo(aval_of(x).dtype).eps) * max(rows, columns)
    solution, total, rank, s = lstsq_p.bind(x, y, cutoff=float(rcond))
    known = concrete(rank)
    if known is not None and known != columns:
        total = lax.slice_in_dim(total, 0, 0)
    if vector:
        solution = lax.squeeze(solution, (1,))
    return solution, total, rank, s


@implements(np.linalg.det)
def det(a: Any) -> Any:
    """The determinants of matrices; see ``numpy.linalg.det``.

    The derivative, the transposed adjugate, is right at singular matrices too, and so is the second one. A third one
    exists where the matrix is not singular, and raises LinAlgError elsewhere.

    >>> import functrans as ft
    >>> ft.grad(det)(np.array([[1.0, 2.0], [2.0, 4.0]])).round(6)
    array([[ 4., -2.],
           [-2.,  1.]])
    """
    x = factored_operand("det", a)
    square("det", x)
    return det_p.bind(x)


@implements(np.linalg.slogdet)
def slogdet(a: Any) -> Any:
    """The signs and the logarithms of determinants; see ``numpy.linalg.slogdet``.

    The derivative does not exist at a singular matrix, and raises LinAlgError there.
    """
    x = factored_operand("slogdet", a)
    square("slogdet", x)
    return SlogdetResult(*slogdet_p.bind(x))


@implements(np.linalg.cond)
def cond(x: Any, p: Any = None) -> Any:
    """Condition numbers; see ``numpy.linalg.cond``. Where one is infinite, its derivative is taken to be 0."""
    a = factored_operand("cond", x)
    two_axes("cond", a)
    if 0 in aval_of(a).shape[-2:]:
        raise errors.ShapeError(f"cond: an empty matrix has no condition number, got {aval_of(a)}")
    last = aval_of(a).ndim - 2
    if p is None or p in (2, -2):
        s = svdvals_p.bind(a)
        ends = [lax.slice_in_dim(s, k, k + 1, axis=last) for k in (0, aval_of(s).shape[-1] - 1)]
        above, below = (lax.squeeze(e, (last,)) for e in (ends if p != -2 else ends[::-1]))
        zero = lax.eq(below, 0.0)
        ratio = lax.div(above, lax.select(zero, 1.0, below))
        ratio = lax.select(zero, math.inf, ratio)
    else:
        square("cond", a)
        inverse = inv_p.bind(a, strict=False)
        singular = lax.reduce_any(lax.ne(inverse, inverse), (last, last + 1))
        held = lax.select(lax.expand_dims(singular, (last, last + 1)), aval_of(a).dtype.type(0), inverse)
        product = lax.mul(_norm(a, p, last), _norm(held, p, last))
        ratio = lax.select(singular, math.inf, product)
    ratio = convert(ratio, dtypes.real_dtype(aval_of(a).dtype))
    missing = lax.reduce_any(lax.ne(a, a), (last, last + 1))
    return rebox(lax.select(missing, math.nan, ratio), "numpy")


def _norm(x: Any, p: Any, first: int) -> Any:
    traced: Any = norm.__wrapped__  # type: ignore[attr-defined]
    return traced(x, p, axis=(first, first + 1))
