"""Products of arrays: dot, matmul, einsum and their kin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from functrans import errors, lax
from functrans.core import dtypes
from functrans.core.structural import convert, move_axis, rebox
from functrans.core.trace import aval_of, current_trace
from functrans.lax.static import normalize_axis
from functrans.numpy import elementwise as ew
from functrans.numpy.arguments import since
from functrans.numpy.dispatch import implements, operand, reject_out, ufuncs
from functrans.numpy.ufuncs import SignatureOfOriginal


def promoted(name: str, *operands: Any) -> list[Any]:
    """Operands of a product in their common dtype. Python numbers count as float64 or int64 here, as in NumPy."""
    found = [operand(x, name) for x in operands]
    target = dtypes.result_type(*[aval_of(x).dtype for x in found])
    return [convert(x, target) for x in found]


def _flat(x: Any) -> Any:
    aval = aval_of(x)
    return x if aval.ndim == 1 else lax.reshape(x, (aval.size,))


def conjugate(x: Any) -> Any:
    """The complex conjugate; other numbers as they are."""
    return lax.conj(x) if dtypes.is_complex(aval_of(x).dtype) else x


# -- ufuncs of whole rows and matrices ------------------------------------------------------------------------------


class Product:
    """A ufunc of vectors or matrices: called, it is NumPy's own, or its traced form under a transformation.

    Args:
        traced: the traced form, a function of operands of one dtype.
        along: whether it takes ``axis``, the one axis of both operands that it sums over.
    """

    __signature__ = SignatureOfOriginal()

    def __init__(self, original: Any, traced: Callable[[Any, Any], Any], doc: str, along: bool = False) -> None:
        self.original = original
        self.traced = traced
        self.along = along
        self.__name__ = self.__qualname__ = original.__name__
        self.__doc__ = f"{doc}; see ``numpy.{self.__name__}``."
        if isinstance(original, np.ufunc):
            ufuncs[original] = self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if current_trace() is None:
            return self.original(*args, **kwargs)
        return self.apply(*args, **kwargs)

    def apply(self, x1: Any, x2: Any, /, out: Any = None, axis: int = -1, dtype: Any = None, **rest: Any) -> Any:
        """The traced form."""
        reject_out(self.__name__, out)
        unknown = [key for key in rest if key not in ("casting", "order", "subok")]
        if unknown or (axis != -1 and not self.along):
            raise errors.ArgumentError(
                f"{self.__name__}: {', '.join(unknown or ['axis'])} cannot be given while tracing. Move the axes with "
                f"functrans.numpy.moveaxis first"
            )
        x, y = promoted(self.__name__, x1, x2)
        if dtype is None and dtypes.is_extended(aval_of(x).dtype):
            # NumPy has no loops for the dtypes of ml_dtypes, and takes that of single precision.
            dtype = np.float32
        if dtype is not None:
            x, y = convert(x, dtype), convert(y, dtype)
        if self.along and axis != -1:
            x, y = (move_axis(z, normalize_axis(self.__name__, axis, aval_of(z).ndim), -1) for z in (x, y))
        return self.traced(x, y)

    def _method(self, *args: Any, **kwargs: Any) -> Any:
        raise errors.ArgumentError(f"{self.__name__}: a ufunc of vectors or matrices has no reduce, outer and so on")

    reduce = accumulate = reduceat = outer = at = _method

    def __repr__(self) -> str:
        return f"<ufunc {self.__name__!r} of functrans.numpy>"


def _core_axes(name: str, x: Any, y: Any, ranks: tuple[int, int]) -> None:
    for i, (z, rank) in enumerate(zip((x, y), ranks, strict=True)):
        if aval_of(z).ndim < rank:
            raise errors.ShapeError(
                f"{name}: operand {i} of type {aval_of(z)} must have {'an axis' if rank == 1 else 'two axes'} or more"
            )


def _vecdot(x: Any, y: Any) -> Any:
    _core_axes("vecdot", x, y, (1, 1))
    return lax.einsum("...n,...n->...", conjugate(x), y)


def _matvec(x: Any, y: Any) -> Any:
    _core_axes("matvec", x, y, (2, 1))
    return lax.einsum("...mn,...n->...m", x, y)


def _vecmat(x: Any, y: Any) -> Any:
    _core_axes("vecmat", x, y, (1, 2))
    return lax.einsum("...n,...nm->...m", conjugate(x), y)


matmul = Product(np.matmul, lax.matmul, "The matrix product of the last two axes, the others broadcast")
vecdot = Product(np.vecdot, _vecdot, "The dot product of vectors, the first conjugated, along an axis", along=True)
matvec = Product(since("2.2", "matvec"), _matvec, "The products of matrices and vectors")
vecmat = Product(since("2.2", "vecmat"), _vecmat, "The products of vectors, conjugated, and matrices")

# -- products -------------------------------------------------------------------------------------------------------


@implements(np.dot)
def dot(a: Any, b: Any, out: None = None) -> Any:
    """The sum over the last axis of ``a`` and the last but one of ``b``; see ``numpy.dot``."""
    reject_out("dot", out)
    return lax.dot(*promoted("dot", a, b))


@implements(np.vdot)
def vdot(a: Any, b: Any, /) -> Any:
    """The dot product of all elements, those of ``a`` conjugated; see ``numpy.vdot``."""
    x, y = (_flat(z) for z in promoted("vdot", a, b))
    return lax.dot(conjugate(x), y)


@implements(np.inner)
def inner(a: Any, b: Any, /) -> Any:
    """The sum of products over the last axes; see ``numpy.inner``."""
    x, y = promoted("inner", a, b)
    n, m = aval_of(x).ndim, aval_of(y).ndim
    if not n or not m:
        return lax.mul(x, y)
    if aval_of(x).shape[-1] != aval_of(y).shape[-1]:
        raise errors.ShapeError(
            f"inner: shapes {aval_of(x).shape} and {aval_of(y).shape} do not fit: their last axes must agree in extent"
        )
    return lax.dot_general(x, y, (((n - 1,), (m - 1,)), ((), ())))


@implements(np.outer)
def outer(a: Any, b: Any, out: None = None) -> Any:
    """The products of all pairs of elements, as a matrix; see ``numpy.outer``."""
    reject_out("outer", out)
    x, y = (_flat(z) for z in promoted("outer", a, b))
    return lax.mul(lax.expand_dims(x, (1,)), y)


@implements(np.tensordot)
def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """The sum of products over given axes; see ``numpy.tensordot``."""
    x, y = promoted("tensordot", a, b)
    return lax.tensordot(x, y, axes)


@implements(np.kron)
def kron(a: Any, b: Any) -> Any:
    """The Kronecker product: blocks of ``b``, each multiplied with an element of ``a``; see ``numpy.kron``."""
    x, y = promoted("kron", a, b)
    ndim = max(aval_of(x).ndim, aval_of(y).ndim)
    if not aval_of(x).ndim or not aval_of(y).ndim:
        return lax.mul(x, y)
    rows, columns = ((1,) * (ndim - aval_of(z).ndim) + aval_of(z).shape for z in (x, y))
    x = lax.reshape(x, tuple(n for extent in rows for n in (extent, 1)))
    y = lax.reshape(y, tuple(n for extent in columns for n in (1, extent)))
    return lax.reshape(lax.mul(x, y), tuple(n * m for n, m in zip(rows, columns, strict=True)))


@implements(np.cross)
def cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Any:
    """The vector product of vectors along an axis; see ``numpy.cross``."""
    if axis is not None:
        axisa = axisb = axisc = axis
    x, y = promoted("cross", a, b)
    parts = []
    for what, z, at in (("a", x, axisa), ("b", y, axisb)):
        aval = aval_of(z)
        at = normalize_axis("cross", at, aval.ndim, f"axis{what}")
        if aval.shape[at] not in (2, 3):
            raise errors.ShapeError(f"cross: vectors have 2 or 3 elements, axis {at} of {what} has {aval.shape[at]}")
        parts.append([rebox(lax.squeeze(p, (at,)), "numpy") for p in lax.split(z, (1,) * aval.shape[at], at)])
    (x0, x1, *x2), (y0, y1, *y2) = parts
    last = lax.sub(lax.mul(x0, y1), lax.mul(x1, y0))
    if not x2 and not y2:
        return last
    if x2 and y2:
        first = lax.sub(lax.mul(x1, y2[0]), lax.mul(x2[0], y1))
        second = lax.sub(lax.mul(x2[0], y0), lax.mul(x0, y2[0]))
    elif y2:
        first, second = lax.mul(x1, y2[0]), lax.neg(lax.mul(x0, y2[0]))
    else:
        first, second = lax.neg(lax.mul(x2[0], y1)), lax.mul(x2[0], y0)
    ndim = aval_of(last).ndim
    out = lax.concatenate([lax.expand_dims(c, (ndim,)) for c in (first, second, last)], ndim)
    return move_axis(out, ndim, normalize_axis("cross", axisc, ndim + 1, "axisc"))


@implements(np.trace)
def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: None = None) -> Any:
    """The sum of a diagonal; see ``numpy.trace``."""
    x = operand(a, "trace")
    if aval_of(x).ndim < 2:
        raise errors.ShapeError(f"trace: an array with two axes or more is needed, got {aval_of(x)}")
    return ew.add.fold("trace", lax.diagonal(x, offset, axis1, axis2), -1, dtype, out, False, np._NoValue, True)


# -- einsum ---------------------------------------------------------------------------------------------------------

_LABELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def _term(sublist: Any) -> str:
    """A list of axis numbers of the interleaved form as labels."""
    labels = []
    for axis in sublist:
        if axis is Ellipsis:
            labels.append("...")
        elif isinstance(axis, (int, np.integer)) and 0 <= axis < len(_LABELS):
            labels.append(_LABELS[axis])
        else:
            raise errors.ArgumentError(
                f"einsum: {axis!r} in a list of axes is neither an integer from 0 to {len(_LABELS) - 1} nor Ellipsis"
            )
    return "".join(labels)


def subscripts_of(operands: tuple[Any, ...]) -> tuple[str, list[Any]]:
    """Subscripts and arrays of either form of einsum: ``"ij,jk", a, b`` or ``a, [0, 1], b, [1, 2]``."""
    if not operands:
        raise errors.ArgumentError("einsum: subscripts and arrays are needed, got nothing")
    if isinstance(operands[0], str):
        return operands[0], list(operands[1:])
    pairs, result = operands, None
    if len(operands) % 2:
        *pairs, result = operands  # type: ignore[assignment]
    subscripts = ",".join(_term(sublist) for sublist in pairs[1::2])
    return subscripts if result is None else f"{subscripts}->{_term(result)}", list(pairs[::2])


@implements(np.einsum)
def einsum(
    *operands: Any, out: None = None, optimize: Any = False, dtype: Any = None, order: Any = "K", casting: Any = "safe"
) -> Any:
    """Sums of products over labelled axes; see ``numpy.einsum``. The order of contractions is always optimised."""
    reject_out("einsum", out)
    subscripts, arrays = subscripts_of(operands)
    arrays = promoted("einsum", *arrays)
    if dtype is not None:
        for i, x in enumerate(arrays):
            if not np.can_cast(aval_of(x).dtype, np.dtype(dtype), casting):
                raise errors.DTypeError(
                    f"einsum: operand {i} of type {aval_of(x)} cannot be cast to {np.dtype(dtype)} according to the "
                    f"rule {casting!r}"
                )
        arrays = [convert(x, dtype) for x in arrays]
    return lax.einsum(subscripts, *arrays, optimize=optimize)


@implements(np.einsum_path)
def einsum_path(*operands: Any, optimize: Any = "greedy", einsum_call: bool = False) -> Any:
    """The order of contractions that NumPy would choose, and a text about it; see ``numpy.einsum_path``."""
    subscripts, arrays = subscripts_of(operands)
    avals = [aval_of(operand(x, "einsum_path")) for x in arrays]
    shells = [np.broadcast_to(aval.dtype.type(0), aval.shape) for aval in avals]
    return np.einsum_path(subscripts, *shells, optimize=optimize)
