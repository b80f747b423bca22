"""Attention: weighted sums of values, the weights being the softmax of products of queries and keys."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from functrans import errors
from functrans.core.avals import ShapedArray
from functrans.core.structural import broadcast_shapes, broadcast_to, convert
from functrans.core.trace import aval_of
from functrans.lax.arithmetic import add, mul
from functrans.lax.compare import bitwise_and, lt
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
    query_seq_lengths: Any = None,
    key_value_seq_lengths: Any = None,
    local_window_size: int | tuple[int, int] | None = None,
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
        query_seq_lengths: integers ``(*b,)``: how many queries of each example count; further ones attend to nothing.
        key_value_seq_lengths: integers ``(*b,)``: how many keys of each example are attended to.
        local_window_size: a pair of ints: query ``i`` attends to the keys ``i - left … i + right`` alone. An int stands
            for both.

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
    weights = softmax(
        logits, where=_mask(mask, is_causal, full, query_seq_lengths, key_value_seq_lengths, local_window_size)
    )
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


def _mask(
    mask: Any,
    is_causal: bool,
    full: Shape,
    query_lengths: Any,
    key_lengths: Any,
    window: int | tuple[int, int] | None,
) -> Any:
    """Which key each query attends to, of the shape ``full``; None where to all."""
    parts = []
    if mask is not None:
        mask = operand(mask, "dot_product_attention")
        if aval_of(mask).dtype != bool:
            raise errors.DTypeError(
                f"dot_product_attention: mask must hold booleans, got {aval_of(mask)}. Write mask != 0; numbers that "
                f"are added to the products are the bias"
            )
        parts.append(_fitting("mask", mask, full))
    t, s = full[-2:]
    if is_causal:
        parts.append(tri(t, s, dtype=bool))
    if window is not None:
        left, right = window if isinstance(window, tuple) else (window, window)
        if min(left, right) < 0:
            raise errors.ArgumentError(f"dot_product_attention: local_window_size must not be negative, got {window!r}")
        offset = np.arange(s) - np.arange(t)[:, None]
        parts.append((offset >= -left) & (offset <= right))
    for what, lengths, axis in (("query", query_lengths, -2), ("key_value", key_lengths, -1)):
        if lengths is not None:
            parts.append(_inside(f"{what}_seq_lengths", lengths, axis, full))
    if not parts:
        return None
    return broadcast_to(functools.reduce(bitwise_and, parts), full)


def _inside(what: str, lengths: Any, axis: int, full: Shape) -> Any:
    """Which places along an axis come before the lengths of the examples."""
    given = operand(lengths, "dot_product_attention")
    aval = aval_of(given)
    if aval.dtype.kind not in "iu" or aval.shape != full[:-3]:
        raise errors.ShapeError(
            f"dot_product_attention: {what} must be integers of shape {full[:-3]}, one for each example, got {aval}"
        )
    places = np.arange(full[axis]).reshape((-1,) + (1,) * (-1 - axis))
    return lt(places, reshape(convert(given, np.int64), (*aval.shape, 1, 1, 1)))
