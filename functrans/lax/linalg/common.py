"""What the factorisations share: checks of matrices, adjoints, triangles, batching, and LAPACK where SciPy has it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans.core import dtypes
from functrans.core.avals import ShapedArray, shaped
from functrans.core.primitive import BatchAxis, Primitive, Sample
from functrans.core.structural import convert, linear_jvp, move_axis, transpose
from functrans.core.trace import aval_of
from functrans.interpreters.batch import materialize
from functrans.lax.arithmetic import add, mul
from functrans.lax.complex import conj, real
from functrans.lax.contraction import matmul
from functrans.lax.creation import eye
from functrans.lax.diagonal import diagonal
from functrans.lax.movement import broadcast_to, reshape

DTYPES = tuple(np.dtype(c) for c in "fdFD")

LOOP_ROWS = 32
"""Up to this size a matrix is solved by NumPy's stacked routines, which have no overhead for each matrix."""


def check_matrix(name: str, x: ShapedArray, square: bool = False) -> None:
    """Reject what is no stack of (square) matrices of a dtype that LAPACK knows."""
    if x.ndim < 2:
        raise errors.ShapeError(
            f"{name}: a matrix, or a stack of them in the last two axes, is needed; got an array of type {x}"
        )
    if square and x.shape[-1] != x.shape[-2]:
        raise errors.ShapeError(f"{name}: the last two axes must be equal in extent, got an array of type {x}")
    check_dtype(name, x)


def check_dtype(name: str, x: ShapedArray) -> None:
    if x.dtype not in DTYPES:
        raise errors.DTypeError(
            f"{name}: the dtype must be float32, float64, complex64 or complex128, got {x}. Write x.astype(float)"
        )


def check_same(name: str, avals: Sequence[ShapedArray], lead: int = 2) -> None:
    """Reject operands that differ in dtype, or in the axes before their last ``lead`` ones."""
    first = avals[0]
    for a in avals[1:]:
        if a.dtype != first.dtype:
            raise errors.DTypeError(
                f"{name}: operands of types {', '.join(map(str, avals))} must have one dtype. functrans.numpy promotes "
                f"as NumPy does; functrans.lax wants an explicit x.astype(dtype)"
            )
        if a.shape[:-lead] != first.shape[:-lead]:
            raise errors.ShapeError(
                f"{name}: the axes before the last {lead} must be the same for all operands, got types "
                f"{', '.join(map(str, avals))}. Broadcast them with functrans.lax.broadcast_to"
            )


def is_complex(x: Any) -> bool:
    return dtypes.is_complex(aval_of(x).dtype)


def transposed(x: Any) -> Any:
    """The last two axes exchanged."""
    ndim = aval_of(x).ndim
    return transpose(x, (*range(ndim - 2), ndim - 1, ndim - 2))


def conjugated(x: Any) -> Any:
    return conj(x) if is_complex(x) else x


def adjoint(x: Any) -> Any:
    """The conjugate transpose of matrices."""
    return conjugated(transposed(x))


def real_part(x: Any) -> Any:
    return real(x) if is_complex(x) else x


def diagonal_of(x: Any) -> Any:
    return diagonal(x, 0, -2, -1)


def column_scaled(x: Any, factors: Any) -> Any:
    """Matrices with column ``j`` times factor ``j``."""
    shape = aval_of(factors).shape
    return mul(x, convert(reshape(factors, (*shape[:-1], 1, shape[-1])), aval_of(x).dtype))


def row_scaled(x: Any, factors: Any) -> Any:
    """Matrices with row ``i`` times factor ``i``."""
    shape = aval_of(factors).shape
    return mul(x, convert(reshape(factors, (*shape, 1)), aval_of(x).dtype))


def identity(x: Any) -> Any:
    """Identity matrices like the square matrices ``x``."""
    aval = aval_of(x)
    return broadcast_to(eye(aval.shape[-1], dtype=aval.dtype), aval.shape)


def leading(prim_of: Callable[[], Primitive]) -> Any:
    """The batch rule of operations on stacks: the mapped axis goes in front of all operands."""

    def batch(axis: BatchAxis, args: Sequence[Any], dims: Sequence[int | None], **params: Any) -> tuple[Any, Any]:
        prim = prim_of()
        out = prim.bind(*[materialize(axis, x, d) for x, d in zip(args, dims, strict=True)], **params)
        return out, [0] * len(out) if prim.multiple else 0

    return batch


def columns_batch(prim_of: Callable[[], Primitive], n_matrices: int) -> Any:
    """The batch rule of solvers whose last operand is a matrix of right-hand sides.

    Where that alone is mapped, its examples become further columns, so that the matrix is factored once.
    """
    stacked = leading(prim_of)

    def batch(axis: BatchAxis, args: Sequence[Any], dims: Sequence[int | None], **params: Any) -> tuple[Any, Any]:
        if any(d is not None for d in dims[:n_matrices]):
            return stacked(axis, args, dims, **params)  # type: ignore[no-any-return]
        b = move_axis(args[-1], dims[-1], -1)
        shape = aval_of(b).shape
        wide = reshape(b, (*shape[:-2], shape[-2] * shape[-1]))
        out = prim_of().bind(*args[:-1], wide, **params)
        return reshape(out, shape), len(shape) - 1

    return batch


# -- triangle: the part of matrices on one side of the diagonal -------------------------------------------------------


def _triangle_shape(x: ShapedArray, *, lower: bool, weight: float) -> ShapedArray:
    if x.ndim < 2:
        raise errors.ShapeError(f"triangle: matrices are needed, got an array of type {x}")
    return x


def _triangle_specialize(xp: Any, avals: Sequence[ShapedArray], *, lower: bool, weight: float) -> Callable[[Any], Any]:
    rows, columns = avals[0].shape[-2:]
    if type(rows) is not int or type(columns) is not int:
        return lambda x: _triangle_specialize(xp, [aval_of(x)], lower=lower, weight=weight)(x)
    kept = xp.tri(rows, columns, 0 if weight else -1, dtype=bool)
    if not lower:
        kept = ~xp.tri(rows, columns, -1 if weight else 0, dtype=bool)
    zero = avals[0].dtype.type(0)
    size = min(rows, columns)

    def cut(x: Any) -> Any:
        out = xp.where(kept, x, zero)
        if weight not in (0.0, 1.0):
            places = xp.arange(size)
            out[..., places, places] *= weight
        return out

    return cut


triangle_p: Primitive = Primitive(
    "triangle",
    shape=_triangle_shape,
    impl=lambda xp, x, **params: _triangle_specialize(xp, [aval_of(x)], **params)(x),
    specialize=_triangle_specialize,
    jvp=linear_jvp(lambda: triangle_p),
    transpose=lambda ct, x, **params: [triangle_p.bind(ct, **params)],
    batch=leading(lambda: triangle_p),
    kind="library",
    samples=lambda: [
        Sample((np.arange(1.0, 7.0).reshape(2, 3),), {"lower": True, "weight": 1.0}),
        Sample((np.arange(12.0, dtype=np.float32).reshape(2, 3, 2),), {"lower": False, "weight": 0.5}),
        Sample((np.arange(9.0).reshape(3, 3) + 1j,), {"lower": False, "weight": 0.0}),
        Sample((np.arange(4).reshape(2, 2),), {"lower": True, "weight": 0.0}),
        Sample((np.zeros((0, 2)),), {"lower": True, "weight": 1.0}),
    ],
)


def triangle(x: Any, *, lower: bool, weight: float = 1.0) -> Any:
    """The lower or upper triangle of matrices, zeros elsewhere, with the diagonal times ``weight``."""
    return triangle_p.bind(x, lower=lower, weight=weight)


def hermitian(x: Any, lower: bool = True) -> Any:
    """The Hermitian matrices of which one triangle is given; imaginary parts of their diagonals are dropped."""
    half = triangle(x, lower=lower, weight=0.5)
    return add(half, adjoint(half))


# -- undetermined: derivatives that a factorisation leaves open -------------------------------------------------------


def _undetermined_impl(xp: Any, x: Any, *, reason: str) -> Any:
    if x.size and bool(xp.any(x != 0)):
        raise errors.NotDifferentiableError(reason)
    return x.copy()


undetermined_p: Primitive = Primitive(
    "undetermined",
    shape=lambda x, *, reason: x,
    impl=_undetermined_impl,
    jvp=linear_jvp(lambda: undetermined_p),
    transpose=lambda ct, x, *, reason: [undetermined_p.bind(ct, reason=reason)],
    batch=leading(lambda: undetermined_p),
    kind="library",
    samples=lambda: [Sample((np.zeros((2, 3)),), {"reason": "no reason"}, 0)],
)
"""A tangent, or cotangent, that raises unless it is zero."""


def undetermined(x: Any, reason: str) -> Any:
    return undetermined_p.bind(x, reason=reason)


# -- triangular factors in the array module ---------------------------------------------------------------------------


def host_or_device(xp: Any, name: str) -> Any:
    """A function of the array module's ``linalg``."""
    found = getattr(xp.linalg, name, None)
    if found is None:
        raise errors.MissingBackendError(
            f"{xp.__name__}.linalg has no {name!r} in the version installed: pass x.get(), a NumPy array, or install a "
            f"newer CuPy"
        )
    return found


@functools.cache
def lapack() -> Any:
    """SciPy's bindings of LAPACK; None where SciPy is not installed."""
    try:
        import scipy.linalg.lapack
    except ImportError:
        return None
    return scipy.linalg.lapack


def routine(name: str, dtype: Any) -> Any:
    """A LAPACK routine for a dtype; None without SciPy."""
    module = lapack()
    return None if module is None else getattr(module, dtype.char.lower().translate(_LETTERS[dtype.kind]) + name)


_LETTERS = {"f": str.maketrans("fd", "sd"), "c": str.maketrans("fd", "cz")}


def stacked_like(shape: tuple[int, ...], dtype: Any) -> Any:
    """An empty stack of matrices, each of them column by column in memory, as LAPACK has them."""
    return np.empty((*shape[:-2], shape[-1], shape[-2]), dtype).swapaxes(-1, -2)


def singular(name: str) -> np.linalg.LinAlgError:
    return np.linalg.LinAlgError(f"{name}: singular matrix")


def solve_triangle(xp: Any, a: Any, b: Any, lower: bool, unit: bool) -> Any:
    """The solutions of stacks of triangular systems; the other triangle of ``a`` is not read.

    Large systems go to LAPACK's ``trtrs`` where there is one, others are halved until NumPy's stacked solver takes
    them: its elimination leaves an upper triangle as it is.

    Raises:
        LinAlgError: a zero on a diagonal.
    """
    n = a.shape[-1]
    if not b.size:
        return xp.zeros_like(b)
    solver = routine("trtrs", a.dtype) if xp is np and n > LOOP_ROWS else None
    if solver is not None:
        out = stacked_like(b.shape, b.dtype)
        for k in np.ndindex(*a.shape[:-2]):
            # The transpose of a row-major matrix is column-major: LAPACK takes it without a copy.
            rows = not a[k].flags.f_contiguous
            given, below = (a[k].T, not lower) if rows else (a[k], lower)
            out[k], info = solver(given, b[k], lower=int(below), trans=int(rows), unitdiag=int(unit))
            if info > 0:
                raise singular("triangular_solve")
        return out
    if lower:
        flipped = solve_triangle(xp, a[..., ::-1, ::-1], b[..., ::-1, :], False, unit)
        return xp.ascontiguousarray(flipped[..., ::-1, :])
    if n <= LOOP_ROWS:
        upper = xp.triu(a, 1 if unit else 0)
        if unit:
            upper = upper + xp.eye(n, dtype=a.dtype)
        return xp.linalg.solve(upper, b)
    half = n // 2
    last = solve_triangle(xp, a[..., half:, half:], b[..., half:, :], False, unit)
    rest = b[..., :half, :] - a[..., :half, half:] @ last
    return xp.concatenate([solve_triangle(xp, a[..., :half, :half], rest, False, unit), last], -2)


def matrices(*operands: Any) -> Any:
    """The product of several matrices, from the left."""
    return functools.reduce(matmul, operands)


def like(x: ShapedArray, shape: tuple[Any, ...], dtype: Any = None) -> ShapedArray:
    """The aval of a result of that shape."""
    return shaped(shape, x.dtype if dtype is None else np.dtype(dtype), "numpy")
