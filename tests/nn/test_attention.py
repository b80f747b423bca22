"""Attention against its formula head by head; masks, bias, shared heads, transformations, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.special

import functrans as ft
from functrans import errors, nn
from tests.nn.agreement import check, same

attention = nn.dot_product_attention
RNG = np.random.default_rng(0)
Q, K, V = (RNG.normal(size=(2, *s)) for s in ((3, 4, 5), (6, 2, 5), (6, 2, 2)))
BIAS = RNG.normal(size=(2, 4, 3, 6))
MASK = RNG.random((2, 4, 3, 6)) < 0.6
MASK[..., 0] = True


def expected(q: Any, k: Any, v: Any, bias: Any, mask: Any, scale: float) -> Any:
    """One example and one head at a time."""
    out = np.zeros((*q.shape[:-1], v.shape[-1]))
    shared = q.shape[-2] // k.shape[-2]
    for b in np.ndindex(q.shape[:-3]):
        for n in range(q.shape[-2]):
            logits = q[b][:, n] @ k[b][:, n // shared].T * scale + bias[b][n]
            weights = scipy.special.softmax(np.where(mask[b][n], logits, -np.inf), axis=-1)
            out[b][:, n] = weights @ v[b][:, n // shared]
    return out


def test_windows_and_lengths_are_masks() -> None:
    places_q, places_k = np.arange(3)[:, None], np.arange(6)
    lengths_q, lengths_k = np.array([2, 3]), np.array([4, 6])
    near = (places_k >= places_q - 1) & (places_k <= places_q + 2)
    inside = (places_q < lengths_q[:, None, None]) & (places_k < lengths_k[:, None, None])
    scale = 1 / np.sqrt(5)
    nothing = np.zeros_like(BIAS)
    window = np.broadcast_to(near, MASK.shape)
    found = attention(Q, K, V, local_window_size=(1, 2))
    np.testing.assert_allclose(found, expected(Q, K, V, nothing, window, scale), rtol=1e-12)
    both = attention(Q, K, V, mask=MASK, local_window_size=2, is_causal=True)
    by_mask = MASK & (places_k >= places_q - 2) & (places_k <= places_q)
    np.testing.assert_allclose(both, attention(Q, K, V, mask=by_mask), rtol=1e-12)

    def masked(lengths: Any) -> Any:
        return attention(Q, K, V, query_seq_lengths=lengths, key_value_seq_lengths=lengths_k)

    np.testing.assert_allclose(ft.jit(masked)(lengths_q), attention(Q, K, V, mask=inside[:, None]), rtol=1e-12)
    assert not masked(lengths_q)[0, 2].any()
    with pytest.raises(errors.ShapeError, match="query_seq_lengths"):
        masked(lengths_q[:1])
    with pytest.raises(errors.ArgumentError, match="local_window_size"):
        attention(Q, K, V, local_window_size=-1)


def test_heads_are_softmaxes_of_products() -> None:
    nothing, everything = np.zeros_like(BIAS), np.ones_like(MASK)
    scale = 1 / np.sqrt(5)
    np.testing.assert_allclose(attention(Q, K, V), expected(Q, K, V, nothing, everything, scale), rtol=1e-12)
    np.testing.assert_allclose(attention(Q, K, V, BIAS), expected(Q, K, V, BIAS, everything, scale), rtol=1e-12)
    found = attention(Q, K, V, BIAS, MASK, scale=0.7)
    np.testing.assert_allclose(found, expected(Q, K, V, BIAS, MASK, 0.7), rtol=1e-12)
    causal = np.broadcast_to(np.tri(3, 6, dtype=bool), MASK.shape)
    found = attention(Q, K, V, is_causal=True)
    np.testing.assert_allclose(found, expected(Q, K, V, nothing, causal, scale), rtol=1e-12)
    found = attention(Q, K, V, mask=MASK, is_causal=True)
    np.testing.assert_allclose(found, expected(Q, K, V, nothing, MASK & causal, scale), rtol=1e-12)


def test_one_example_and_several_batch_axes() -> None:
    whole = attention(Q, K, V, BIAS, MASK)
    np.testing.assert_allclose(attention(Q[0], K[0], V[0], BIAS[0], MASK[0]), whole[0], rtol=1e-13)
    q, k, v, bias, mask = (np.stack([x, x[::-1]]) for x in (Q, K, V, BIAS, MASK))
    found = attention(q, k, v, bias, mask)
    np.testing.assert_allclose(found, np.stack([whole, whole[::-1]]), rtol=1e-13)
    mapped = ft.vmap(attention)(Q, K, V, BIAS, MASK)
    np.testing.assert_allclose(mapped, whole, rtol=1e-13)


def test_bias_and_mask_broadcast() -> None:
    bias, mask = BIAS[0, :, :1], MASK[:, :1]
    found = attention(Q, K, V, bias, mask)
    full = np.broadcast_to(bias, BIAS.shape), np.broadcast_to(mask, MASK.shape)
    np.testing.assert_array_equal(found, attention(Q, K, V, *full))
    np.testing.assert_allclose(attention(Q, K, V, 3.0), attention(Q, K, V), rtol=1e-12)


def test_a_query_that_attends_to_nothing_gives_zero() -> None:
    mask = MASK.copy()
    mask[:, :, 1] = False
    out = attention(Q, K, V, mask=mask)
    np.testing.assert_array_equal(out[:, 1], np.zeros((2, 4, 2)))
    by_bias = attention(Q, K, V, np.where(mask, 0, -np.inf))
    np.testing.assert_allclose(by_bias, out, rtol=1e-13)
    gradients = ft.grad(lambda q, k, v: np.sum(attention(q, k, v, mask=mask) ** 2), argnums=(0, 1, 2))(Q, K, V)
    assert all(np.isfinite(g).all() for g in gradients)
    np.testing.assert_array_equal(gradients[0][:, 1], np.zeros((2, 4, 5)))


def test_under_transformations() -> None:
    check(lambda q, k, v: attention(q, k, v, is_causal=True), Q[0, :2, :2], K[0, :2], V[0, :2])
    check(lambda bias, scale: attention(Q, K, V, bias, scale=scale), BIAS[:, :1], 0.4)
    same(ft.jit(attention)(Q, K, V, BIAS, MASK), attention(Q, K, V, BIAS, MASK))
    loss = lambda q: np.sum(attention(q, K[:1], V[:1], mask=MASK[:1]) ** 2)
    second = ft.jit(ft.hessian(loss))(Q[:1])
    np.testing.assert_allclose(second, ft.hessian(loss)(Q[:1]), rtol=1e-9, atol=1e-12)


def test_dtypes() -> None:
    for dtype in (np.float16, np.float32):
        out = attention(*(x.astype(dtype) for x in (Q, K, V)))
        assert out.dtype == dtype
        wide = attention(*(x.astype(dtype).astype(float) for x in (Q, K, V)))
        eps = float(np.finfo(dtype).eps)
        np.testing.assert_allclose(out.astype(float), wide, rtol=16 * eps, atol=16 * eps)
    assert attention(Q.astype(np.float32), K, V).dtype == np.float64
    ints = np.arange(12).reshape(2, 2, 3)
    assert attention(ints, ints, ints).dtype == np.float64
    same(attention(Q.tolist(), K, V), attention(Q, K, V))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((Q[0, 0], K, V), r"the numbers of axes do not fit: query \(4, 5\), key \(2, 6, 2, 5\)"),
        ((Q[:1], K, V), r"the batch axes differ: query \(1, 3, 4, 5\), key \(2, 6, 2, 5\)"),
        ((Q[..., 1:], K, V), "query and key have vectors of other lengths"),
        ((Q, K, V[:, 1:]), "key and value differ before the last axis"),
        ((Q[:, :, 1:], K, V), "the 2 heads of the keys do not divide the 3 of the queries"),
        ((Q, K, V, BIAS[:, :3]), "shapes .* do not broadcast"),
        ((Q, K, V, BIAS[None]), r"bias has shape \(1, 2, 4, 3, 6\), which does not broadcast to .* = \(2, 4, 3, 6\)"),
        ((Q[:, :1], K, V, BIAS), r"bias has shape \(2, 4, 3, 6\), which does not broadcast to .* = \(2, 4, 1, 6\)"),
        ((Q[:, :1], K, V, None, MASK), r"mask has shape \(2, 4, 3, 6\), which does not broadcast"),
    ],
)
def test_shapes_that_do_not_fit(arguments: Any, message: str) -> None:
    with pytest.raises(errors.ShapeError, match=f"^dot_product_attention: {message}"):
        attention(*arguments)


def test_dtypes_that_do_not_fit() -> None:
    with pytest.raises(errors.DTypeError, match="mask must hold booleans, got f64"):
        attention(Q, K, V, mask=BIAS)
    with pytest.raises(errors.DTypeError, match="dot_product_attention: operand 1 has type c128"):
        attention(Q, K * 1j, V)
