"""Attention: weighted sums of values, the weights being the softmax of products of queries and keys."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from functrans import errors
from functrans.core.avals import ShapedArray
from functrans.core.structural import broadcast_shapes, broadcast_to, convert
from functrans.core.trace import aval_of
from functrans.lax.arithmetic import add, mul
from functrans.lax.compare import bitwise_and
from functrans.lax.creation import tri
from functrans.lax.einsum import einsum
from functrans.lax.movement import reshape
from functrans.nn.arguments import together
from functrans.nn.normalization import softmax
from functrans.numpy.dispatch import operand

Shape = tuple[int, ...]


def dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    bias: Any = None,
    mask: Any = None,
    *,
    scale: Any = None,
    is_causal: bool = False,
) -> Any:
    """``softmax(scale * query @ key.T + bias) @ value`` for every example and every head.

    With batch axes ``*b`` (any number, equal in all three), ``t`` queries, ``s`` keys, ``n`` heads of queries, ``k`` of
    keys and values, and vectors of length ``h`` and ``v``:

    Args:
        query: floats ``(*b, t, n, h)``.
        key: floats ``(*b, s, k, h)``, where ``k`` divides ``n``: each ``n / k`` consecutive heads of queries share one
            head of keys and values.
        value: floats ``(*b, s, k, v)``.
        bias: floats that broadcast to ``(*b, n, t, s)``.
        mask: booleans that broadcast to ``(*b, n, t, s)``: which keys a query attends to.
        scale: the factor of the products; ``1 / sqrt(h)`` if None.
        is_causal: whether query ``i`` attends to the keys ``0 … i`` alone.

    Returns:
        An array ``(*b, t, n, v)``, in the dtype that NumPy promotes the floats to; half precision is computed in single
        precision. A query that attends to nothing has the result 0, with derivative 0.

    Raises:
        ShapeError: shapes that do not fit the above.
        DTypeError: operands that are no real numbers, or a mask that holds no booleans.

    >>> import numpy as np
    >>> query, value = np.zeros((2, 1, 4)), np.array([[[1.0, 2.0]], [[3.0, 6.0]]])
    >>> dot_product_attention(query, query, value, is_causal=True)[:, 0]
    array([[1., 2.],
           [2., 4.]])
    """
    name = "dot_product_attention"
    floats = [query, key, value, *(() if bias is None else (bias,)), *(() if scale is None else (scale,))]
    floats = together(name, *floats)
    dtype = aval_of(floats[0]).dtype
    query, key, value, *rest = (convert(x, np.float32) if dtype.itemsize < 4 else x for x in floats)
    batch, t, heads, size = _shapes(*map(aval_of, (query, key, value)))
    s, groups = aval_of(key).shape[-3:-1]
    scale = rest.pop() if scale is not None else 1 / math.sqrt(max(size, 1))
    query = reshape(mul(query, scale), (*batch, t, groups, heads // groups, size))
    logits = reshape(einsum("...tkgh,...skh->...kgts", query, key), (*batch, heads, t, s))
    full = (*batch, heads, t, s)
    if rest:
        logits = add(logits, _fitting("bias", rest[0], full))
    weights = softmax(logits, where=_mask(mask, is_causal, full))
    weights = reshape(weights, (*batch, groups, heads // groups, t, s))
    out = einsum("...kgts,...skh->...tkgh", weights, value)
    return convert(reshape(out, (*batch, t, heads, aval_of(value).shape[-1])), dtype)


def _shapes(query: ShapedArray, key: ShapedArray, value: ShapedArray) -> tuple[Shape, int, int, int]:
    """Batch axes, number of queries, heads and length of vectors; ShapeError where the three do not fit."""
    shapes = f"query {query.shape}, key {key.shape}, value {value.shape}"
    form = "They must be (*b, t, n, h), (*b, s, k, h) and (*b, s, k, v)"
    if min(query.ndim, key.ndim, value.ndim) < 3 or not query.ndim == key.ndim == value.ndim:
        raise errors.ShapeError(f"dot_product_attention: the numbers of axes do not fit: {shapes}. {form}")
    *batch, t, heads, size = query.shape
    if not tuple(batch) == key.shape[:-3] == value.shape[:-3]:
        raise errors.ShapeError(f"dot_product_attention: the batch axes differ: {shapes}. {form}")
    if key.shape[-1] != size:
        raise errors.ShapeError(f"dot_product_attention: query and key have vectors of other lengths: {shapes}. {form}")
    if key.shape[:-1] != value.shape[:-1]:
        raise errors.ShapeError(f"dot_product_attention: key and value differ before the last axis: {shapes}. {form}")
    if not key.shape[-2] or heads % key.shape[-2]:
        raise errors.ShapeError(
            f"dot_product_attention: the {key.shape[-2]} heads of the keys do not divide the {heads} of the queries: "
            f"{shapes}. {form}, with n a multiple of k"
        )
    return tuple(batch), t, heads, size


def _fitting(what: str, x: Any, full: Shape) -> Any:
    shape = aval_of(x).shape
    if len(shape) > len(full) or broadcast_shapes("dot_product_attention", shape, full) != full:
        raise errors.ShapeError(
            f"dot_product_attention: {what} has shape {shape}, which does not broadcast to (*b, n, t, s) = {full}"
        )
    return x


def _mask(mask: Any, is_causal: bool, full: Shape) -> Any:
    if mask is not None:
        mask = operand(mask, "dot_product_attention")
        if aval_of(mask).dtype != bool:
            raise errors.DTypeError(
                f"dot_product_attention: mask must hold booleans, got {aval_of(mask)}. Write mask != 0; numbers that "
                f"are added to the products are the bias"
            )
        mask = _fitting("mask", mask, full)
    if not is_causal:
        return mask
    past = tri(full[-2], full[-1], dtype=bool)
    return broadcast_to(past if mask is None else bitwise_and(past, mask), full)
