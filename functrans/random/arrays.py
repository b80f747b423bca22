"""Permutations, choices of elements, and random vectors and matrices."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from functrans import errors
from functrans import numpy as fnp
from functrans.core import dtypes
from functrans.core.structural import broadcast_shapes, convert
from functrans.core.trace import aval_of, is_array
from functrans.lax.arithmetic import add, mul, sub
from functrans.lax.compare import bitwise_and, bitwise_or, shift_left
from functrans.lax.creation import iota
from functrans.lax.cumulative import cumsum
from functrans.lax.exponential import log
from functrans.lax.magnitude import sign
from functrans.lax.movement import expand_dims, reshape
from functrans.lax.power import sqrt
from functrans.lax.random_bits import Words, random_bits
from functrans.lax.selection import stop_gradient
from functrans.lax.slicing import slice_in_dim
from functrans.lax.sorting import sort
from functrans.lax.static import normalize_axis
from functrans.lax.taking import searchsorted, take, take_along_axis
from functrans.lax.utilities import top_k
from functrans.random import words as draw
from functrans.random.discrete import randint_of
from functrans.random.keys import parts, use
from functrans.random.uniforms import gumbel_mode
from functrans.random.words import float_dtype, parameter, sample_shape

INT = np.dtype(np.int64)


def _length(name: str, label: str, value: Any) -> int:
    """A static length; ArgumentError where it is none."""
    try:
        n = operator.index(value)
    except TypeError:
        raise errors.ArgumentError(
            f"functrans.random.{name}: argument {label} must be an integer that is known while tracing, or an array of "
            f"at least one axis; got {value!r}"
        ) from None
    if n < 0:
        raise errors.ArgumentError(f"functrans.random.{name}: {label} must not be negative, got {n}")
    return n


# -- permutations ---------------------------------------------------------------------------------------------------


def _order(words: Words, shape: tuple[Any, ...], axis: int) -> Any:
    """A random order of the elements along an axis: that of random words, sorted as often as makes equal ones rare."""
    size = math.prod(shape)
    rounds = math.ceil(3 * math.log(max(1, size)) / math.log(0xFFFFFFFF))
    position = iota(np.uint64, shape, axis)
    order: Any = None
    for _ in range(rounds):
        words, fresh = parts(words)
        # With its position behind it each word is the only one of its kind: any sorting is a stable one of the words.
        ranked = bitwise_or(shift_left(convert(random_bits(fresh, 32, shape), np.uint64), 32), position)
        ranks = convert(bitwise_and(sort(ranked, axis, stable=False), np.uint64(0xFFFFFFFF)), INT)
        order = ranks if order is None else take_along_axis(order, ranks, axis)
    return convert(position, INT) if order is None else order


def permutation(key: Any, x: Any, axis: int = 0, independent: bool = False) -> Any:
    """The elements of an array in random order along an axis; of an integer ``n``, the numbers below it.

    The derivative goes with the elements.

    Args:
        key: a typed or raw key.
        x: an array, or a static integer.
        axis: the axis.
        independent: whether each line along the axis has an order of its own.

    Raises:
        ArgumentError: ``x`` is a number, but no integer, or a negative one.

    >>> import functrans as ft
    >>> ft.random.permutation(ft.random.key(0), 5)
    array([0, 1, 4, 3, 2])
    """
    words = use("permutation", key)
    if isinstance(x, (list, tuple)):
        x = np.asarray(x)
    if not is_array(x) or aval_of(x).ndim == 0:
        return _order(words, (_length("permutation", "x", x),), 0)
    shape = aval_of(x).shape
    axis = normalize_axis("functrans.random.permutation", axis, len(shape))
    if independent and len(shape) > 1:
        return take_along_axis(x, _order(words, shape, axis), axis)
    return take(x, _order(words, (shape[axis],), 0), axis)


def choice(
    key: Any,
    a: Any,
    shape: Any = (),
    replace: bool = True,
    p: Any = None,
    axis: int = 0,
    mode: str | None = None,
) -> Any:
    """Elements of an array chosen at random along an axis; of an integer ``n``, numbers below it.

    The derivative goes to the elements chosen; there is none in ``p``.

    Args:
        key: a typed or raw key.
        a: an array, or a static integer.
        shape: the shape that takes the place of the axis in the result.
        replace: whether an element may be chosen more than once.
        p: the probabilities of the elements, which sum to 1; all the same if None.
        axis: the axis.
        mode: that of ``gumbel``, by which elements with given probabilities are chosen without replacement.

    Raises:
        ArgumentError: more elements without replacement than there are; none to choose from.
        ShapeError: there is not one probability for each element.

    >>> import functrans as ft
    >>> ft.random.choice(ft.random.key(0), 10, (4,), replace=False)
    array([0, 1, 8, 5])
    """
    name = "choice"
    words = use(name, key)
    extents = sample_shape(name, shape)
    if isinstance(a, (list, tuple)):
        a = np.asarray(a)
    whole = not is_array(a) or aval_of(a).ndim == 0
    own = () if whole else aval_of(a).shape
    axis = 0 if whole else normalize_axis("functrans.random.choice", axis, len(own))
    n = _length(name, "a", a) if whole else own[axis]
    count = math.prod(extents)
    if count == 0:
        return fnp.zeros(own[:axis] + extents + own[axis + 1 :], INT if whole else aval_of(a).dtype)
    if n == 0:
        raise errors.ArgumentError("functrans.random.choice: there is no element to choose from")
    if not replace and count > n:
        raise errors.ArgumentError(
            f"functrans.random.choice: {count} elements cannot be chosen from {n} without replacement"
        )
    if p is None and not replace:
        chosen = _order(words, (n,), 0)
        if not whole and len(own) == 1:
            return reshape(take(a, slice_in_dim(chosen, 0, count), 0), extents)
        chosen = reshape(slice_in_dim(chosen, 0, count), extents)
    elif p is None:
        chosen = randint_of(words, extents, np.int64(0), np.int64(n), INT, INT)
    else:
        chosen = _weighted(words, n, extents, replace, p, gumbel_mode(mode, name))
    return draw.scalar(chosen if whole else take(a, chosen, axis))


def _weighted(words: Words, n: int, shape: tuple[Any, ...], replace: bool, p: Any, mode: str) -> Any:
    if isinstance(p, (list, tuple)):
        p = np.asarray(p)
    dtype = aval_of(p).dtype
    dtype = dtype if dtypes.kind(dtype) == "f" else np.dtype(np.float64)
    p = stop_gradient(parameter("choice", "p", p, dtype))
    if aval_of(p).shape != (n,):
        raise errors.ShapeError(
            f"functrans.random.choice: p must have one probability for each of the {n} elements, got shape "
            f"{aval_of(p).shape}"
        )
    if not replace:
        ranked = add(draw.gumbel(words, (n,), dtype, mode), log(p))
        return reshape(top_k(ranked, math.prod(shape))[1], shape)
    sums = cumsum(p, 0)
    total = reshape(slice_in_dim(sums, n - 1, n), ())
    return searchsorted(sums, mul(total, sub(dtype.type(1), draw.uniform(words, shape, dtype))))


# -- vectors and matrices -------------------------------------------------------------------------------------------


def multivariate_normal(
    key: Any, mean: Any, cov: Any, shape: Any = None, dtype: Any = None, method: str = "cholesky"
) -> Any:
    """Vectors of the normal distribution of a mean and a covariance matrix; differentiable in both.

    Args:
        key: a typed or raw key.
        mean: an array of shape ``(..., n)``.
        cov: an array of shape ``(..., n, n)``, symmetric and positive definite; semidefinite for ``"svd"`` and
            ``"eigh"``. The other axes of both broadcast.
        shape: the shape of the result without its last axis; the common one of the other axes if None.
        dtype: a float dtype; that of mean and covariance if None.
        method: what the covariance is factored by: ``"cholesky"``, ``"eigh"`` or ``"svd"``.

    Raises:
        ShapeError: mean and covariance do not fit each other or the shape.
        ArgumentError: another method.

    >>> import numpy as np, functrans as ft
    >>> ft.random.multivariate_normal(ft.random.key(0), np.zeros(2), np.array([[2.0, 1.0], [1.0, 2.0]]))
    array([-0.29110475, -1.10669023])
    """
    name = "multivariate_normal"
    where = f"functrans.random.{name}"
    words = use(name, key)
    if method not in ("cholesky", "eigh", "svd"):
        raise errors.ArgumentError(f"{where}: method must be 'cholesky', 'eigh' or 'svd', got {method!r}")
    mean, cov = (np.asarray(x) if isinstance(x, (list, tuple)) else x for x in (mean, cov))
    common = np.result_type(*[aval_of(x).dtype for x in (mean, cov)])
    common = common if dtypes.kind(common) == "f" else np.dtype(np.float64)
    target = float_dtype(name, common if dtype is None else dtype)
    mean, cov = parameter(name, "mean", mean, common), parameter(name, "cov", cov, common)
    m, c = aval_of(mean).shape, aval_of(cov).shape
    if not m or c[-2:] != (m[-1], m[-1]):
        raise errors.ShapeError(f"{where}: a mean of shape (..., n) and cov of (..., n, n) are needed, got {m} and {c}")
    own = broadcast_shapes(where, m[:-1], c[:-2])
    extents = own if shape is None else sample_shape(name, shape)
    if broadcast_shapes(where, own, extents) != extents:
        raise errors.ShapeError(f"{where}: shape={extents} has no room for parameters of common shape {own}")
    if method == "cholesky":
        factor = fnp.linalg.cholesky((cov + fnp.swapaxes(cov, -1, -2)) / 2)
    elif method == "eigh":
        values, vectors = fnp.linalg.eigh(cov)
        factor = vectors * sqrt(values)[..., None, :]
    else:
        vectors, values, _ = fnp.linalg.svd(cov)
        factor = vectors * sqrt(values)[..., None, :]
    return mean + fnp.einsum("...ij,...j->...i", factor, draw.normal(words, (*extents, m[-1]), target))


def orthogonal(key: Any, n: int, shape: Any = (), dtype: Any = None, m: int | None = None) -> Any:
    """Matrices with orthonormal columns (or rows, where these are fewer), evenly over all such matrices.

    The factor Q of normal matrices, with the signs that make the diagonal of R positive (F. Mezzadri: "How to generate
    random matrices from the classical compact groups", 2007). Complex dtypes give unitary matrices.

    Args:
        key: a typed or raw key.
        n, m: the numbers of rows and columns; ``m`` is ``n`` if None.
        shape: the shape of the result without its last two axes.
        dtype: a float or complex dtype; float64 if None.

    >>> import numpy as np, functrans as ft
    >>> q = ft.random.orthogonal(ft.random.key(0), 3)
    >>> np.allclose(q @ q.T, np.eye(3))
    True
    """
    words = use("orthogonal", key)
    target = dtypes.canonical(np.dtype(np.float64 if dtype is None else dtype))
    extents = sample_shape("orthogonal", shape)
    rows = _length("orthogonal", "n", n)
    columns = rows if m is None else _length("orthogonal", "m", m)
    size = (*extents, max(rows, columns), min(rows, columns))
    if target.kind == "c":
        part = float_dtype("orthogonal", dtypes.real_dtype(target))
        real, imag = [convert(draw.normal(w, size, part), target) for w in parts(words)]
        z: Any = (real + imag * target.type(1j)) / target.type(math.sqrt(2))
    else:
        z = draw.normal(words, size, float_dtype("orthogonal", target))
    q, r = fnp.linalg.qr(z)
    diagonal = fnp.diagonal(r, axis1=-2, axis2=-1)
    q = q * expand_dims(sign(diagonal), (len(extents),))
    return fnp.swapaxes(q, -1, -2) if rows < columns else q
