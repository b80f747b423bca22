"""Pooling: layouts, strides, padding, the mean's two ways to count, derivatives, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from functrans import errors, nn
from tests.lax.derivatives import gradients

X = np.random.default_rng(0).normal(size=(2, 4, 6, 3))


@pytest.mark.parametrize(("pool", "reduce"), [(nn.avg_pool, np.mean), (nn.max_pool, np.max), (nn.min_pool, np.min)])
def test_windows_tile_unless_strides_are_given(pool: Any, reduce: Any) -> None:
    tiles = X.reshape(2, 2, 2, 2, 3, 3)
    np.testing.assert_allclose(pool(X, (2, 3)), reduce(tiles, axis=(2, 4)), rtol=1e-12)
    views = np.lib.stride_tricks.sliding_window_view(X, (2, 3), axis=(1, 2))
    np.testing.assert_allclose(pool(X, (2, 3), (1, 1)), reduce(views, axis=(-2, -1)), rtol=1e-12)
    np.testing.assert_allclose(pool(X, (2, 3), (2, 1)), reduce(views[:, ::2], axis=(-2, -1)), rtol=1e-12)


@pytest.mark.parametrize("pool", [nn.avg_pool, nn.max_pool, nn.min_pool])
def test_channels_may_stand_anywhere(pool: Any) -> None:
    expected = pool(X, (2, 2), padding="SAME")
    first = pool(np.moveaxis(X, -1, 1), (2, 2), padding="SAME", channel_axis=1)
    np.testing.assert_array_equal(first, np.moveaxis(expected, -1, 1))
    np.testing.assert_array_equal(pool(X[0], (2, 2), padding="SAME"), expected[0])
    np.testing.assert_array_equal(pool(X[..., 0], (2, 2), padding="SAME", channel_axis=None), expected[..., 0])
    np.testing.assert_array_equal(pool(X[0, :, :, 0], (2, 2), padding="SAME", channel_axis=None), expected[0, ..., 0])


def test_the_mean_counts_padding_or_not() -> None:
    x = np.array([1.0, 2.0, 3.0])[:, None]
    zeros = nn.avg_pool(x, 2, 1, [(1, 1)])
    np.testing.assert_array_equal(zeros.ravel(), [0.5, 1.5, 2.5, 1.5])
    real = nn.avg_pool(x, 2, 1, [(1, 1)], count_include_pad=False)
    np.testing.assert_array_equal(real.ravel(), [1, 1.5, 2.5, 3])
    same = nn.avg_pool(np.ones((1, 5, 5, 2), np.float32), (3, 3), (2, 2), "SAME", count_include_pad=False)
    np.testing.assert_array_equal(same, np.ones((1, 3, 3, 2), np.float32), strict=True)


def test_integers_are_averaged_in_double_precision() -> None:
    out = nn.avg_pool(np.array([1, 2, 3, 5]), 2, channel_axis=None)
    np.testing.assert_array_equal(out, [1.5, 4.0], strict=True)


def test_padding_is_never_the_largest() -> None:
    x = -np.ones((2, 2, 1))
    np.testing.assert_array_equal(nn.max_pool(x, (2, 2), (1, 1), "SAME"), x)
    np.testing.assert_array_equal(nn.min_pool(-x, (2, 2), (1, 1), "SAME"), -x)


def test_gradients() -> None:
    x = np.array([[1.0, 4.0], [3.0, 4.0]])[..., None]
    (g,) = gradients(lambda x: nn.max_pool(x, (2, 2)), x)
    np.testing.assert_array_equal(g[..., 0], [[0, 1], [0, 0]])
    (g,) = gradients(lambda x: nn.min_pool(x, (2, 2)), x)
    np.testing.assert_array_equal(g[..., 0], [[1, 0], [0, 0]])
    (g,) = gradients(lambda x: nn.avg_pool(x, (2, 2)), x)
    np.testing.assert_array_equal(g, np.full_like(x, 0.25))
    (g,) = gradients(lambda x: nn.avg_pool(x, 2, 1, [(1, 0)], False, None), np.ones(3))
    np.testing.assert_array_equal(g, [1.5, 1.0, 0.5])


def test_what_does_not_fit() -> None:
    with pytest.raises(errors.ShapeError, match=r"max_pool: an array of type .* has no 4 spatial axes"):
        nn.max_pool(X, (2, 2, 2, 2))
    with pytest.raises(errors.ShapeError, match="channel_axis=4 is no axis"):
        nn.max_pool(X, (2, 2), channel_axis=4)
    with pytest.raises(errors.ShapeError, match="max_pool: strides must be 2 ints"):
        nn.max_pool(X, (2, 2), (1,))
    with pytest.raises(errors.ShapeError, match="hold padding alone, which has no mean"):
        nn.avg_pool(X, (2, 2), padding=[(2, 0), (0, 0)], count_include_pad=False)
    with pytest.raises(errors.ArgumentError, match="avg_pool: padding must be"):
        nn.avg_pool(X, (2, 2), padding="FULL")
