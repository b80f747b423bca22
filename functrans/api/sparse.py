"""Sparse Jacobians and Hessians: a pattern from the program, colours for its columns, a product for each colour.

Columns that share no row of the pattern are seen apart in the sum of them, so one JVP serves a whole group. Source of
the method: A. H. Gebremedhin, F. Manne and A. Pothen, What color is your Jacobian?, SIAM Review 47 (2005) 629-705.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from functrans import errors
from functrans.api.arguments import Auxiliary, check_aux, check_outputs, leaf_path
from functrans.core import dtypes
from functrans.core.avals import ShapedArray
from functrans.core.evaluate import evaluate
from functrans.core.jaxpr import Eqn, Jaxpr, dce, subjaxprs
from functrans.core.primitive import BatchAxis, Zero
from functrans.core.stage import stage
from functrans.core.structural import instantiate
from functrans.core.trace import aval_of, current_trace
from functrans.core.treedef import PyTreeDef
from functrans.interpreters.batch import batch_flat, materialize
from functrans.interpreters.jvp import jvp_jaxpr
from functrans.interpreters.linearize import linearize_flat, pull
from functrans.lax.sparsity import Values, identity, propagate
from functrans.util.cache import Bounded

MOST = 1 << 24
"""How many numbers the products that are computed at once may have."""
MOST_BYTES = 1 << 22
"""How large the constants may be of a program whose pattern is kept."""


@dataclass(frozen=True)
class Compression:
    """How a matrix is got from a few products.

    Attributes:
        rows, columns: where its entries stand, in the order of ``csr``.
        shape: its shape.
        colors: the group of each column, or of each row for products from the left.
        count: how many groups there are.
        by_rows: whether rows are grouped, so that the products are VJPs.
        product, element: for each entry the product, and the place in it, where it is read.
    """

    rows: np.ndarray
    columns: np.ndarray
    shape: tuple[int, int]
    colors: np.ndarray
    count: int
    by_rows: bool
    product: np.ndarray
    element: np.ndarray


# -- colours --------------------------------------------------------------------------------------------------------


def _greedy(pattern: Any) -> np.ndarray:
    """Colours of the columns of a pattern, such that columns of one colour share no row."""
    columns = pattern.tocsc()
    starts, rows = columns.indptr.tolist(), columns.indices.tolist()
    taken = [0] * pattern.shape[0]
    colors = []
    for j in range(pattern.shape[1]):
        own = rows[starts[j] : starts[j + 1]]
        mask = 0
        for i in own:
            mask |= taken[i]
        free = ~mask & (mask + 1)
        for i in own:
            taken[i] |= free
        colors.append(free.bit_length() - 1)
    return np.array(colors, int)


def _star(pattern: Any) -> np.ndarray:
    """Star colours of a symmetric pattern: neighbours differ, and no path of four vertices has two colours alone.

    Source: algorithm 4.1 of Gebremedhin, Manne and Pothen.
    """
    n = pattern.shape[0]
    starts, indices = pattern.indptr.tolist(), pattern.indices.tolist()
    neighbours = [[j for j in indices[starts[i] : starts[i + 1]] if j != i] for i in range(n)]
    colors = [-1] * n
    for v in range(n):
        mask = 0
        for w in neighbours[v]:
            if colors[w] >= 0:
                mask |= 1 << colors[w]
            for x in neighbours[w]:
                if x == v or colors[x] < 0:
                    continue
                if colors[w] < 0 or any(y != w and colors[y] == colors[w] for y in neighbours[x]):
                    mask |= 1 << colors[x]
        colors[v] = (~mask & (mask + 1)).bit_length() - 1
    return np.array(colors, int)


def compress(pattern: Any, symmetric: bool) -> Compression:
    """Few products that determine a matrix of this pattern.

    Args:
        pattern: a ``csr_array`` of booleans.
        symmetric: whether the matrix is.
    """
    m, n = pattern.shape
    if symmetric:
        pattern = (pattern + pattern.T).tocsr()
    pattern.sort_indices()
    rows = np.repeat(np.arange(m), np.diff(pattern.indptr))
    columns = pattern.indices.astype(int)
    colors = _greedy(pattern)
    count = int(colors.max(initial=-1)) + 1
    product, element, by_rows = colors[columns], rows, False
    if symmetric:
        stars = _star(pattern)
        fewer = int(stars.max(initial=-1)) + 1
        if fewer < count:
            colors, count = stars, fewer
            # An entry is read from its column's product, unless another of its row's has that colour too.
            keys = rows * count + colors[columns]
            seen = np.bincount(keys, minlength=m * count)
            alone = seen[keys] == 1
            product, element = np.where(alone, colors[columns], colors[rows]), np.where(alone, rows, columns)
    elif count > np.bincount(columns, minlength=1).max(initial=0):
        others = _greedy(pattern.T.tocsr())
        fewer = int(others.max(initial=-1)) + 1
        if fewer < count:
            colors, count, by_rows = others, fewer, True
            product, element = colors[rows], columns
    return Compression(rows, columns, (m, n), colors, count, by_rows, product, element)


# -- programs -------------------------------------------------------------------------------------------------------

_compressions: Bounded[Compression] = Bounded(64)


def _every_eqn(jaxpr: Jaxpr) -> Iterator[Eqn]:
    for eqn in jaxpr.eqns:
        yield eqn
        for inner in subjaxprs(eqn):
            yield from _every_eqn(inner)


def _key(jaxpr: Jaxpr, symmetric: bool) -> Any:
    """What tells one program's pattern from another's: its text and constants. None where that is too much, or where
    the text does not say all."""
    if sum(const.nbytes for const in jaxpr.consts) > MOST_BYTES:
        return None
    if any(eqn.prim.kind == "custom" for eqn in _every_eqn(jaxpr)):
        return None
    return str(jaxpr), tuple([np.asarray(const).tobytes() for const in jaxpr.consts]), symmetric


def compression_of(jaxpr: Jaxpr, live: Sequence[bool], points: Sequence[Any], symmetric: bool) -> Compression:
    """How the Jacobian of a program is got at a point.

    Args:
        jaxpr: a program of arrays.
        live: which of its results count.
        points: its arguments.
        symmetric: whether the Jacobian is known to be symmetric.
    """
    from scipy.sparse import csr_array, vstack

    derived, live_out = jvp_jaxpr(jaxpr, [True] * len(jaxpr.invars))
    key = _key(derived, symmetric)
    known = None if key is None else _compressions.get(key)
    if known is not None:
        return known
    n_out, n = len(jaxpr.outvars), len(jaxpr.invars)
    tangents = dce(derived, [False] * n_out + [True] * sum(live_out))
    sizes = [math.prod(a.shape) for a in jaxpr.in_avals]
    total = sum(sizes)
    starts = np.cumsum([0, *sizes])
    inputs = [identity(size, total, int(start)) for size, start in zip(sizes, starts, strict=False)]
    values = Values(tangents, dict(zip(tangents.invars[:n], points, strict=True)))
    found = iter(propagate(tangents, [*[None] * n, *inputs], values))
    parts = []
    for v, now, counts in zip(jaxpr.outvars, live_out, live, strict=True):
        p = next(found) if now else None
        if counts:
            parts.append(csr_array((math.prod(v.aval.shape), total), dtype=bool) if p is None else p)
    pattern = csr_array(vstack(parts, "csr")) if parts else csr_array((0, total), dtype=bool)
    compression = compress(pattern, symmetric)
    if key is not None and not values.moved:
        _compressions.put(key, compression)
    return compression


def _seeds(colors: np.ndarray, first: int, last: int, avals: Sequence[ShapedArray]) -> list[np.ndarray]:
    """For each colour the sum of the unit vectors of that colour, in the shapes of some arrays."""
    k = last - first
    sizes = [math.prod(a.shape) for a in avals]
    (chosen,) = np.nonzero((colors >= first) & (colors < last))
    flat = np.zeros((k, sum(sizes)))
    flat[colors[chosen] - first, chosen] = 1
    parts = np.split(flat, np.cumsum(sizes)[:-1], axis=1)
    return [p.reshape(k, *a.shape).astype(a.dtype) for p, a in zip(parts, avals, strict=True)]


def sparse_jacobian(
    where: str,
    f: Callable[[Any], Any],
    tree: Any,
    leaves: Sequence[Any],
    treedef: PyTreeDef,
    has_aux: bool,
    holomorphic: bool,
    symmetric: bool = False,
) -> Any:
    """The Jacobian of ``f`` at ``tree`` as SciPy matrices; see ``functrans.jacobian``."""
    _require_scipy(where)
    if current_trace() is not None:
        raise errors.ConcretizationError(
            f"{where} with sparse=True gives SciPy matrices, which hold concrete numbers: it cannot be called inside "
            f"of jit, grad, vmap and the like. Call it outside, or use sparse=False inside"
        )
    aux, trees, outputs = Auxiliary(), [], []  # type: Auxiliary, list[PyTreeDef], list[Any]

    def flat(*inputs: Any) -> list[Any]:
        out = f(treedef.unflatten(inputs))
        extra = None
        if has_aux:
            out, extra = check_aux(where, out)
        found, out_tree = check_outputs(where, out)
        trees[:], outputs[:] = [out_tree], [out_tree.unflatten(range(len(found)))]
        return [*found, *aux.take(extra)]

    avals = [aval_of(x) for x in leaves]
    jaxpr = stage(flat, avals, where)
    (out_tree,) = trees
    n_out = out_tree.num_leaves
    for i, a in enumerate(jaxpr.out_avals[:n_out]):
        if dtypes.is_complex(a.dtype) != holomorphic and (holomorphic or dtypes.is_complex(a.dtype)):
            raise errors.NonScalarOutputError(
                f"{where}: {leaf_path('its result', outputs[0], i)} has type {a}. Return real and imaginary part "
                f"apart, or pass holomorphic=True for a holomorphic function with a complex result"
            )
    live = [i < n_out and dtypes.is_inexact(a.dtype) for i, a in enumerate(jaxpr.out_avals)]
    compression = compression_of(jaxpr, live, leaves, symmetric)
    matrix = _assembled(jaxpr, live, leaves, compression)
    result = _blocks(matrix, jaxpr.out_avals[:n_out], live, out_tree, avals, treedef)
    if not has_aux:
        return result
    return result, aux.give(evaluate(jaxpr, leaves)[n_out:])


def _require_scipy(where: str) -> None:
    try:
        import scipy.sparse  # noqa: F401 - asked for before any work is done
    except ImportError:
        raise errors.MissingBackendError(
            f"{where} with sparse=True returns matrices of scipy.sparse: python -m pip install scipy"
        ) from None


def _assembled(jaxpr: Jaxpr, live: Sequence[bool], leaves: Sequence[Any], compression: Compression) -> Any:
    from scipy.sparse import csr_array

    outs = [a for a, now in zip(jaxpr.out_avals, live, strict=True) if now]
    dtype = np.result_type(*[a.dtype for a in outs]) if outs else np.dtype(float)
    data = np.zeros(compression.rows.size, dtype)
    at_once = max(1, MOST // max(1, *compression.shape))
    products = _vjps if compression.by_rows else _jvps
    for first in range(0, compression.count, at_once):
        last = min(first + at_once, compression.count)
        found = products(jaxpr, live, leaves, compression.colors, first, last)
        mine = (compression.product >= first) & (compression.product < last)
        data[mine] = found[compression.product[mine] - first, compression.element[mine]]
    return csr_array((data, (compression.rows, compression.columns)), compression.shape)


def _jvps(
    jaxpr: Jaxpr, live: Sequence[bool], leaves: Sequence[Any], colors: np.ndarray, first: int, last: int
) -> np.ndarray:
    """Products of the Jacobian with the seeds of some colours, one in each row."""
    seeds = _seeds(colors, first, last, [aval_of(x) for x in leaves])
    derived, live_out = jvp_jaxpr(jaxpr, [True] * len(leaves))
    n = len(jaxpr.outvars)
    axis = BatchAxis(last - first)
    pairs = iter(batch_flat(lambda *ts: evaluate(derived, [*leaves, *ts])[n:], axis, seeds, [0] * len(seeds)))
    rows = []
    for v, now, counts in zip(jaxpr.outvars, live_out, live, strict=True):
        found = materialize(axis, *next(pairs)) if now else np.zeros((axis.size, *v.aval.shape))
        if counts:
            rows.append(np.asarray(found).reshape(axis.size, -1))
    return np.concatenate(rows, axis=1)


def _vjps(
    jaxpr: Jaxpr, live: Sequence[bool], leaves: Sequence[Any], colors: np.ndarray, first: int, last: int
) -> np.ndarray:
    """Products of the seeds of some colours with the Jacobian, one in each row."""
    kept = jaxpr.replace(outvars=[v for v, now in zip(jaxpr.outvars, live, strict=True) if now])
    seeds = _seeds(colors, first, last, [a.cotangent() for a in kept.out_avals])
    tape = linearize_flat(lambda *xs: evaluate(kept, xs), leaves)
    axis = BatchAxis(last - first)
    avals = [aval_of(x).cotangent() for x in leaves]

    def pulled(*cts: Any) -> list[Any]:
        return [instantiate(Zero(a)) if ct is None else ct for ct, a in zip(pull(tape, cts), avals, strict=True)]

    pairs = batch_flat(pulled, axis, seeds, [0] * len(seeds))
    return np.concatenate([np.asarray(materialize(axis, x, d)).reshape(axis.size, -1) for x, d in pairs], axis=1)


def _blocks(
    matrix: Any,
    out_avals: Sequence[ShapedArray],
    live: Sequence[bool],
    out_tree: PyTreeDef,
    avals: Sequence[ShapedArray],
    treedef: PyTreeDef,
) -> Any:
    """The matrix as a pytree of blocks: results outside, arguments inside."""
    from scipy.sparse import csr_array

    if out_tree.num_nodes == treedef.num_nodes == 1 and all(live[:1]):
        return matrix
    blocks, row = [], 0
    for a, now in zip(out_avals, live, strict=False):
        height = math.prod(a.shape)
        line, column = [], 0
        for b in avals:
            width = math.prod(b.shape)
            if now:
                line.append(csr_array(matrix[row : row + height, column : column + width]))
            else:
                line.append(csr_array((height, width), dtype=matrix.dtype))
            column += width
        row += height if now else 0
        blocks.append(treedef.unflatten(line))
    return out_tree.unflatten(blocks)
