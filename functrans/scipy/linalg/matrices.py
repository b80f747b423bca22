"""Matrices with a structure, as ``scipy.linalg`` makes them."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from functrans import errors, lax
from functrans.core import dtypes
from functrans.core.structural import broadcast_shapes, convert
from functrans.core.trace import aval_of
from functrans.numpy.dispatch import operand
from functrans.numpy.linear import conjugate
from functrans.scipy.library import implements
from functrans.scipy.linalg.operands import vector

_scipy = implements("scipy.linalg")

# -- made of given elements -------------------------------------------------------------------------------------------


def _common(*arrays: Any) -> list[Any]:
    target = dtypes.result_type(*[aval_of(x).dtype for x in arrays])
    return [convert(x, target) for x in arrays]


def _taken(values: Any, places: Any) -> Any:
    """The elements of the last axis at a matrix of places."""
    flat = lax.take(values, places.reshape(-1), aval_of(values).ndim - 1)
    return lax.reshape(flat, (*aval_of(values).shape[:-1], *places.shape))


def _ends(values: Any, start: int, stop: int | None = None, step: int = 1) -> Any:
    last = aval_of(values).ndim - 1
    if step < 0:
        values = lax.rev(values, (last,))
    return lax.slice_in_dim(values, start, stop, axis=last)


def _joined(*parts: Any) -> Any:
    return lax.concatenate(parts, aval_of(parts[0]).ndim - 1)


def _same_stacks(*vectors: Any) -> list[Any]:
    lead = broadcast_shapes("toeplitz", *[aval_of(v).shape[:-1] for v in vectors])
    return [lax.broadcast_to(v, (*lead, aval_of(v).shape[-1])) for v in vectors]


@_scipy
def toeplitz(c: Any, r: Any = None) -> Any:
    """The matrices with constant diagonals, from the first column and the first row; see ``scipy.linalg.toeplitz``.

    >>> toeplitz([1, 2, 3], [1, 4, 5])
    array([[1, 4, 5],
           [2, 1, 4],
           [3, 2, 1]])
    """
    c = vector("toeplitz", c)
    r = conjugate(c) if r is None else vector("toeplitz", r)
    c, r = _same_stacks(*_common(c, r))
    n, m = aval_of(c).shape[-1], aval_of(r).shape[-1]
    values = _joined(_ends(c, 0, None, -1), _ends(r, 1))
    return _taken(values, np.arange(m) - np.arange(n)[:, None] + n - 1)


@_scipy
def circulant(c: Any) -> Any:
    """The matrices whose columns are a vector, shifted cyclically; see ``scipy.linalg.circulant``."""
    c = vector("circulant", c)
    n = aval_of(c).shape[-1]
    return _taken(c, (np.arange(n)[:, None] - np.arange(n)) % max(n, 1))


@_scipy
def hankel(c: Any, r: Any = None) -> Any:
    """The matrices with constant antidiagonals, from the first column and the last row; see ``scipy.linalg.hankel``."""
    c = vector("hankel", c)
    r = lax.zeros_like(c) if r is None else vector("hankel", r)
    c, r = _same_stacks(*_common(c, r))
    n, m = aval_of(c).shape[-1], aval_of(r).shape[-1]
    return _taken(_joined(c, _ends(r, 1)), np.arange(n)[:, None] + np.arange(m))


@_scipy
def convolution_matrix(a: Any, n: Any, mode: str = "full") -> Any:
    """The matrix whose product with a vector of ``n`` elements is a convolution with ``a``.

    See ``scipy.linalg.convolution_matrix``.
    """
    n = operator.index(n)
    a = vector("convolution_matrix", a)
    size = aval_of(a).shape[-1]
    if n <= 0 or size == 0:
        raise errors.ShapeError(f"convolution_matrix: n={n} must be positive, and a vector not empty, got {aval_of(a)}")
    if mode not in ("full", "valid", "same"):
        raise errors.ArgumentError(f"convolution_matrix: mode must be 'full', 'valid' or 'same', got {mode!r}")
    trim = 0 if mode == "full" else min(n, size) - 1
    start = trim // 2 if mode == "same" else trim
    stop = size + n - 1 - (trim - start if mode == "same" else trim)
    zero = lax.zeros((*aval_of(a).shape[:-1], n), aval_of(a).dtype)
    places = np.arange(start, stop)[:, None] - np.arange(n)
    # Places outside of the vector are in the zeros behind it.
    return _taken(_joined(a, zero), np.where((places >= 0) & (places < size), places, size))


@_scipy
def companion(a: Any) -> Any:
    """The matrix whose characteristic polynomial has the coefficients ``a``; see ``scipy.linalg.companion``."""
    a = vector("companion", a)
    n = aval_of(a).shape[-1]
    if n < 2:
        raise errors.ShapeError(f"companion: two coefficients or more are needed, got {aval_of(a)}")
    a = _inexact(a)
    first = lax.neg(lax.div(_ends(a, 1), _ends(a, 0, 1)))
    return _with_first_row(first, _subdiagonal(lax.ones_like(_ends(first, 0, n - 2))))


def _inexact(x: Any) -> Any:
    return x if dtypes.is_inexact(aval_of(x).dtype) else convert(x, np.float64)


def _subdiagonal(values: Any) -> Any:
    return lax.embed_diagonal(values, -1)


def _with_first_row(row: Any, matrix: Any) -> Any:
    """A matrix, whose own first row is zero, with that row."""
    below = lax.slice_in_dim(matrix, 1, None, axis=aval_of(matrix).ndim - 2)
    return lax.concatenate([lax.expand_dims(row, (aval_of(row).ndim - 1,)), below], aval_of(row).ndim - 1)


@_scipy
def leslie(f: Any, s: Any) -> Any:
    """The matrix of a population with fecundities ``f`` and survival rates ``s``; see ``scipy.linalg.leslie``."""
    f, s = _common(vector("leslie", f), vector("leslie", s))
    n = aval_of(f).shape[-1]
    if aval_of(s).shape[-1] != n - 1 or n < 2:
        raise errors.ShapeError(
            f"leslie: s must have an element, and one less than f, got types {aval_of(f)} and {aval_of(s)}"
        )
    f, s = _same_stacks(f, s)
    return _with_first_row(f, _subdiagonal(s))


@_scipy
def fiedler(a: Any) -> Any:
    """The matrix of the distances between the elements of a vector; see ``scipy.linalg.fiedler``."""
    a = vector("fiedler", a)
    shape = aval_of(a).shape
    if not shape[-1]:
        return lax.zeros(shape, np.float64)
    column, row = lax.reshape(a, (*shape, 1)), lax.reshape(a, (*shape[:-1], 1, shape[-1]))
    return lax.abs(lax.sub(column, row))


@_scipy
def fiedler_companion(a: Any) -> Any:
    """A companion matrix with five diagonals; see ``scipy.linalg.fiedler_companion``."""
    a = _inexact(vector("fiedler_companion", a))
    shape, dtype = aval_of(a).shape, aval_of(a).dtype
    n = shape[-1] - 1
    if n < 1:
        return lax.zeros((*shape[:-1], 0), dtype)
    monic = lax.neg(lax.div(_ends(a, 1), _ends(a, 0, 1)))
    if n == 1:
        return lax.reshape(monic, (*shape[:-1], 1, 1))
    # The places of minus the coefficients and of ones, the zero being last of all.
    places = np.full((n, n), n + 1)
    places[range(3, n, 2), range(1, n - 2, 2)] = n
    places[range(2, n, 2), range(1, n - 1, 2)] = np.arange(2, n, 2)
    places[range(0, n - 2, 2), range(2, n, 2)] = n
    places[range(0, n - 1, 2), range(1, n, 2)] = np.arange(1, n, 2)
    places[[0, 1], 0] = [0, n]
    one = lax.ones((*shape[:-1], 1), dtype)
    return _taken(_joined(monic, one, lax.zeros((*shape[:-1], 1), dtype)), places)


@_scipy
def block_diag(*arrs: Any) -> Any:
    """Matrices along the diagonal of one matrix; see ``scipy.linalg.block_diag``.

    >>> block_diag([[1, 2]], [3])
    array([[1, 2, 0],
           [0, 0, 3]])
    """
    found = [operand(x, "block_diag") for x in arrs or ([],)]
    found = _common(*found)
    for k, x in enumerate(found):
        if aval_of(x).ndim < 2:
            found[k] = lax.reshape(x, (1, aval_of(x).size))
    lead = broadcast_shapes("block_diag", *[aval_of(x).shape[:-2] for x in found])
    columns = sum(aval_of(x).shape[-1] for x in found)
    rows, before = [], 0
    for x in found:
        aval = aval_of(x)
        wide = lax.broadcast_to(x, (*lead, *aval.shape[-2:]))
        after = columns - before - aval.shape[-1]
        padding = [(0, 0, 0)] * (len(lead) + 1) + [(before, after, 0)]
        rows.append(lax.pad(wide, aval.dtype.type(0), padding))
        before += aval.shape[-1]
    return lax.concatenate(rows, len(lead))


# -- made of a size ---------------------------------------------------------------------------------------------------


@_scipy
def dft(n: Any, scale: str | None = None) -> Any:
    """The matrix of the discrete Fourier transform; see ``scipy.linalg.dft``."""
    if scale not in (None, "sqrtn", "n"):
        raise errors.ArgumentError(f"dft: scale must be None, 'sqrtn' or 'n', got {scale!r}")
    n = operator.index(n)
    omegas = np.exp(-2j * np.pi * np.arange(n) / n).reshape(-1, 1)
    m = omegas ** np.arange(n)
    return m / {None: 1, "sqrtn": math.sqrt(n), "n": n}[scale]


@_scipy
def hadamard(n: Any, dtype: Any = int) -> Any:
    """The matrix of plus and minus one with orthogonal rows, after Sylvester; see ``scipy.linalg.hadamard``."""
    n = operator.index(n)
    if n < 1 or n & (n - 1):
        raise errors.ArgumentError(f"hadamard: n must be a power of 2, got {n}")
    h = np.ones((1, 1), dtype)
    while len(h) < n:
        h = np.block([[h, h], [h, -h]])
    return h


@_scipy
def helmert(n: Any, full: bool = False) -> Any:
    """The Helmert matrix, without its first row unless ``full``; see ``scipy.linalg.helmert``."""
    n = operator.index(n)
    h = np.tril(np.ones((n, n)), -1) - np.diag(np.arange(n))
    squares = np.arange(n) * np.arange(1, n + 1)
    h[0], squares[0] = 1, n
    h = h / np.sqrt(squares)[:, None]
    return h if full else h[1:]


@_scipy
def hilbert(n: Any) -> Any:
    """The matrix of ``1 / (i + j + 1)``; see ``scipy.linalg.hilbert``."""
    n = operator.index(n)
    return 1.0 / (1.0 + np.add.outer(np.arange(n), np.arange(n)))


def _integers(rows: list[list[int]], exact: bool, limit: int, kind: Any) -> Any:
    """Python's integers as an array: of objects where they may not fit, of floats where exactness is not asked for."""
    n = len(rows)
    dtype = np.float64 if not exact else object if n > limit else kind
    return np.array(rows, dtype=dtype).reshape(n, n)


@_scipy
def invhilbert(n: Any, exact: bool = False) -> Any:
    """The inverse of the Hilbert matrix, whose elements are integers; see ``scipy.linalg.invhilbert``."""
    n = operator.index(n)

    def element(i: int, j: int) -> int:
        product = math.comb(n + i, n - j - 1) * math.comb(n + j, n - i - 1) * math.comb(i + j, i) ** 2
        return int((-1) ** (i + j)) * (i + j + 1) * product

    return _integers([[element(i, j) for j in range(n)] for i in range(n)], exact, 14, np.int64)


def _lower_pascal(n: int) -> list[list[int]]:
    return [[math.comb(i, j) for j in range(n)] for i in range(n)]


def _check_kind(name: str, kind: str) -> None:
    if kind not in ("symmetric", "lower", "upper"):
        raise errors.ArgumentError(f"{name}: kind must be 'symmetric', 'lower' or 'upper', got {kind!r}")


@_scipy
def pascal(n: Any, kind: str = "symmetric", exact: bool = True) -> Any:
    """The matrix of binomial coefficients; see ``scipy.linalg.pascal``."""
    _check_kind("pascal", kind)
    n = operator.index(n)
    lower = _integers(_lower_pascal(n), exact, 34, np.uint64)
    return lower if kind == "lower" else lower.T if kind == "upper" else np.dot(lower, lower.T)


@_scipy
def invpascal(n: Any, kind: str = "symmetric", exact: bool = True) -> Any:
    """The inverse of the Pascal matrix; see ``scipy.linalg.invpascal``."""
    _check_kind("invpascal", kind)
    n = operator.index(n)
    lower = [[int((-1) ** (i + j)) * c for j, c in enumerate(row)] for i, row in enumerate(_lower_pascal(n))]
    if kind == "symmetric":
        product = [[sum(row[i] * row[j] for row in lower) for j in range(n)] for i in range(n)]
        return _integers(product, exact, 34, np.int64)
    inverse = _integers(lower, exact, 34, np.int64)
    return inverse if kind == "lower" else inverse.T
