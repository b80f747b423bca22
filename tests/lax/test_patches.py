"""Patches, kernels that differ by place, products by groups of rows, precision, and shapes foretold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import errors, lax
from functrans.test_util import check_grads

RNG = np.random.default_rng(6)
IMAGE = RNG.normal(size=(2, 3, 5, 6))


def patches_by_loop(x: Any, window: tuple[int, int], stride: int) -> Any:
    rows = range(0, x.shape[2] - window[0] + 1, stride)
    columns = range(0, x.shape[3] - window[1] + 1, stride)
    found = [[x[:, :, i : i + window[0], j : j + window[1]].reshape(len(x), -1) for j in columns] for i in rows]
    return np.transpose(found, (2, 3, 0, 1))


@pytest.mark.parametrize("layout", [None, ("NHWC", "HWIO", "NHWC"), ("NCHW", "OIHW", "NHWC")])
def test_patches_are_what_windows_show(layout: Any) -> None:
    numbers = lax.conv_dimension_numbers(IMAGE.shape, IMAGE.shape, layout)
    expected = patches_by_loop(IMAGE, (2, 3), 2)
    x = IMAGE.transpose(np.argsort(numbers.lhs_spec))

    def patches(x: Any) -> Any:
        return lax.conv_general_dilated_patches(x, (2, 3), (2, 2), "VALID", dimension_numbers=layout)

    np.testing.assert_allclose(patches(x).transpose(numbers.out_spec), expected, rtol=1e-13)
    check_grads(patches, (x[:1],), order=2)


@pytest.mark.parametrize("layout", [None, ("NHWC", "HWIO", "NHWC")])
def test_kernels_that_differ_by_place(layout: Any) -> None:
    numbers = lax.conv_dimension_numbers(IMAGE.shape, IMAGE.shape, layout)
    seen = patches_by_loop(IMAGE, (2, 3), 1)
    kernels = RNG.normal(size=(4, *seen.shape[1:]))
    expected = np.einsum("nkij,okij->noij", seen, kernels)
    x, w = IMAGE.transpose(np.argsort(numbers.lhs_spec)), kernels.transpose(np.argsort(numbers.rhs_spec))

    def local(x: Any, w: Any) -> Any:
        return lax.conv_general_dilated_local(x, w, (1, 1), "VALID", (2, 3), dimension_numbers=layout)

    np.testing.assert_allclose(ft.jit(local)(x, w).transpose(numbers.out_spec), expected, rtol=1e-12)
    check_grads(local, (x, w), order=2)
    with pytest.raises(errors.ShapeError, match="input channels"):
        local(x, w[:, :2])


def test_the_same_kernel_everywhere_is_a_convolution() -> None:
    kernel = RNG.normal(size=(4, 3, 2, 3))
    out = lax.conv(IMAGE, kernel, (1, 1), "SAME")
    everywhere = np.broadcast_to(kernel.reshape(4, -1)[..., None, None], (4, 18, *out.shape[2:]))
    local = lax.conv_general_dilated_local(IMAGE, everywhere, (1, 1), "SAME", (2, 3))
    np.testing.assert_allclose(local, out, rtol=1e-12)


def test_shapes_are_foretold() -> None:
    layout = ("NHWC", "HWIO", "NHWC")
    x, w = np.zeros((2, 5, 6, 3)), np.zeros((2, 3, 3, 4))
    for padding in ("SAME", "VALID", [(1, 2), (0, 1)]):
        found = lax.conv_general_dilated(x, w, (2, 1), padding, dimension_numbers=layout).shape
        assert lax.conv_general_shape_tuple(x.shape, w.shape, (2, 1), padding, layout) == found
        found = lax.conv_transpose(x, w, (2, 1), padding, dimension_numbers=layout).shape
        assert lax.conv_transpose_shape_tuple(x.shape, w.shape, (2, 1), padding, layout) == found
    plain = [x.transpose(0, 3, 1, 2).shape, w.transpose(3, 2, 0, 1).shape]
    assert lax.conv_shape_tuple(*plain, (2, 1), "SAME") == (2, 4, 3, 6)
    assert lax.conv_general_permutations(layout) == lax.conv_dimension_numbers(x.shape, w.shape, layout)
    window = lax.reduce_window_shape_tuple((4, 5), (1, 2), (1, 2), "SAME", window_dilation=(1, 2))
    assert window == (4, 3)
    with pytest.raises(errors.ArgumentError, match="padding"):
        lax.conv_transpose_shape_tuple(x.shape, w.shape, (2, 1), "FULL", layout)
    with pytest.raises(errors.ShapeError, match="same number of axes"):
        lax.conv_shape_tuple((2, 3, 4), (2, 3), (1,), "SAME")
    with pytest.raises(errors.ArgumentError, match="three strings"):
        lax.conv_general_permutations(("NHWC", "HWIO"))


def test_precision_is_checked_and_asks_for_nothing() -> None:
    x = RNG.normal(size=(3, 3))
    for precision in (None, "highest", "bfloat16", lax.Precision.DEFAULT, ("high", None)):
        np.testing.assert_array_equal(lax.dot(x, x, precision=precision), x @ x)
        lax.conv(IMAGE, IMAGE, (1, 1), "VALID", precision=precision)
    contraction = (((0,), (0,)), ((), ()))
    for call in (lax.dot, lax.batch_matmul, lambda x, y, p: lax.dot_general(x, y, contraction, p)):
        with pytest.raises(errors.ArgumentError, match="precision must be None"):
            call(x, x, "quick")
    wide = lax.conv(IMAGE.astype(np.float32), IMAGE.astype(np.float32), (1, 1), "VALID", preferred_element_type=float)
    assert wide.dtype == np.float64
    small = np.full((1, 1, 3), 100, np.int8)
    assert lax.conv(small, small, 1, "VALID", preferred_element_type=np.int32).tolist() == [[[30000]]]


# -- groups of rows -------------------------------------------------------------------------------------------------


def test_rows_times_the_matrix_of_their_group() -> None:
    x, w, sizes = RNG.normal(size=(6, 2)), RNG.normal(size=(3, 2, 4)), np.array([2, 0, 3])
    expected = np.concatenate([x[:2] @ w[0], x[2:5] @ w[2], np.zeros((1, 4))])
    for function in (lax.ragged_dot, ft.jit(lax.ragged_dot)):
        np.testing.assert_allclose(function(x, w, sizes), expected, rtol=1e-14)
    check_grads(lambda x, w: lax.ragged_dot(x, w, sizes), (x, w), order=2)
    batched = ft.vmap(lax.ragged_dot, in_axes=(None, None, 0))(x, w, np.stack([sizes, sizes[::-1]]))
    np.testing.assert_allclose(batched[0], expected, rtol=1e-14)
    numbers = lax.RaggedDotDimensionNumbers((((0,), (2,)), ((), ())), (1,), (0,))
    general = lax.ragged_dot_general(x.T, w.transpose(0, 2, 1), sizes, numbers)
    np.testing.assert_allclose(general, expected, rtol=1e-14)
    with pytest.raises(errors.ShapeError, match=r"shape \(3,\)"):
        lax.ragged_dot(x, w, sizes[:2])
    with pytest.raises(errors.ShapeError, match="one ragged axis"):
        lax.ragged_dot_general(x, w, sizes, lax.RaggedDotDimensionNumbers(numbers.dot_dimension_numbers, (), (0,)))
    with pytest.raises(errors.ShapeError, match="neither contracted nor shared"):
        lax.ragged_dot_general(x, w, sizes, lax.RaggedDotDimensionNumbers(numbers.dot_dimension_numbers, (0,), (0,)))
