"""Convolutions: against a loop over every product, in both layouts; derivatives, batching, padding, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from functrans import errors, lax
from functrans.lax import convolution_impl
from tests.lax.derivatives import gradients, mapped, tangent

RNG = np.random.default_rng(0)


def normal(*shape: int) -> Any:
    return RNG.normal(size=shape)


def by_hand(
    x: Any,
    w: Any,
    strides: Any,
    padding: Any,
    lhs_dilation: Any,
    rhs_dilation: Any,
    features: int = 1,
    batches: int = 1,
) -> Any:
    """The convolution's definition, product by product."""
    batch, outs = x.shape[0] // batches, w.shape[0]
    spread = [(n - 1) * d + 1 for n, d in zip(x.shape[2:], lhs_dilation, strict=True)]
    apart = [(k - 1) * d + 1 for k, d in zip(w.shape[2:], rhs_dilation, strict=True)]
    space = [
        max((n + lo + hi - k) // s + 1, 0) for n, k, s, (lo, hi) in zip(spread, apart, strides, padding, strict=True)
    ]
    out = np.zeros((batch, outs, *space), x.dtype)
    for n, o, *p in np.ndindex(*out.shape):
        for c, *k in np.ndindex(*w.shape[1:]):
            at = [
                pp * s + kk * d - lo for pp, kk, s, d, (lo, _) in zip(p, k, strides, rhs_dilation, padding, strict=True)
            ]
            if all(0 <= q < m and q % d == 0 for q, m, d in zip(at, spread, lhs_dilation, strict=True)):
                group = o // (outs // (features * batches))
                image = n + (group * batch if batches > 1 else 0)
                channel = c + (group * w.shape[1] if features > 1 else 0)
                element = tuple(q // d for q, d in zip(at, lhs_dilation, strict=True))
                out[(n, o, *p)] += x[(image, channel, *element)] * w[(o, c, *k)]
    return out


def channels_last(x: Any) -> Any:
    """The same array with its channels last in memory."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


GEOMETRIES: list[tuple[Any, ...]] = [
    # images, kernels, strides, padding, lhs_dilation, rhs_dilation, feature groups, batch groups
    ((2, 3, 5, 6), (4, 3, 3, 2), (1, 1), [(0, 0), (0, 0)], (1, 1), (1, 1), 1, 1),
    ((2, 3, 5, 6), (4, 3, 3, 2), (2, 1), [(1, 2), (0, 1)], (1, 1), (1, 2), 1, 1),
    ((1, 1, 9, 8), (2, 1, 3, 3), (1, 1), [(1, 1), (1, 1)], (1, 1), (1, 1), 1, 1),
    ((2, 8, 6, 6), (1, 8, 3, 3), (1, 1), [(1, 1), (1, 1)], (1, 1), (1, 1), 1, 1),
    ((2, 3, 4, 3), (8, 3, 3, 3), (1, 1), [(1, 2), (3, 0)], (2, 3), (1, 1), 1, 1),
    ((2, 3, 4, 3), (2, 3, 2, 3), (2, 2), [(1, 2), (3, 0)], (2, 3), (2, 1), 1, 1),
    ((2, 3, 6, 7), (2, 3, 2, 2), (1, 1), [(-1, -2), (-1, 2)], (1, 1), (1, 1), 1, 1),
    ((2, 3, 6, 7), (2, 3, 2, 2), (1, 2), [(-3, 1), (0, -4)], (2, 1), (1, 1), 1, 1),
    ((2, 3, 4, 5), (6, 3, 1, 1), (2, 2), [(0, 0), (0, 0)], (1, 1), (1, 1), 1, 1),
    ((2, 4, 5, 5), (6, 2, 2, 2), (1, 1), [(1, 0), (0, 1)], (1, 1), (1, 1), 2, 1),
    ((2, 4, 5, 5), (4, 1, 3, 3), (2, 1), [(1, 1), (1, 1)], (1, 1), (1, 1), 4, 1),
    ((2, 3, 5, 5), (6, 1, 2, 2), (1, 1), [(0, 0), (1, 1)], (1, 1), (1, 1), 3, 1),
    ((4, 3, 5, 5), (6, 3, 2, 2), (1, 1), [(0, 0), (1, 1)], (1, 1), (1, 1), 1, 2),
    ((2, 3, 7), (4, 3, 3), (2,), [(1, 1)], (1,), (1,), 1, 1),
    ((1, 2, 3, 4, 3), (3, 2, 2, 2, 2), (1, 2, 1), [(0, 0), (1, 0), (0, 1)], (1, 1, 1), (1, 1, 2), 1, 1),
    ((3, 2), (4, 2), (), [], (), (), 1, 1),
    ((2, 3, 2), (4, 3, 4), (1,), [(0, 0)], (1,), (1,), 1, 1),
    ((2, 3, 2), (4, 3, 4), (1,), [(5, 0)], (1,), (1,), 1, 1),
]


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize("dtype", [np.float64, np.complex128, np.int64])
def test_values_are_those_of_the_definition(geometry: Any, dtype: Any) -> None:
    image, kernel, *rest = geometry
    x, w = (4 * normal(*image)).astype(dtype), (4 * normal(*kernel)).astype(dtype)
    expected = by_hand(x, w, *rest)
    strides, padding, lhs_dilation, rhs_dilation, features, batches = rest
    for images in (x, channels_last(x)):
        out = lax.conv_general_dilated(images, w, strides, padding, lhs_dilation, rhs_dilation, None, features, batches)
        assert out.dtype == dtype and out.shape == expected.shape
        np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-12)


def test_chunks_do_not_change_the_values(monkeypatch: pytest.MonkeyPatch) -> None:
    x, w, ct = normal(5, 3, 7, 8), normal(4, 3, 3, 3), normal(5, 4, 7, 8)
    for images in (x, channels_last(x)):

        def run(images: Any = images) -> list[Any]:
            return [
                lax.conv(images, w, 1, "SAME"),
                *gradients(lambda x, w: lax.conv(x, w, 1, "SAME"), images, w, cotangent=ct),
            ]

        whole = run()
        monkeypatch.setattr(convolution_impl, "PATCH_BYTES", 1)
        for part, expected in zip(run(), whole, strict=True):
            np.testing.assert_allclose(part, expected, rtol=1e-12, atol=1e-12)
        monkeypatch.undo()


def test_layouts() -> None:
    x, w = normal(2, 3, 5, 6), normal(4, 3, 3, 2)
    expected = lax.conv(x, w, (1, 2), "SAME")
    last = ("NHWC", "HWIO", "NHWC")
    out = lax.conv_general_dilated(
        x.transpose(0, 2, 3, 1).copy(), w.transpose(2, 3, 1, 0).copy(), (1, 2), "SAME", dimension_numbers=last
    )
    np.testing.assert_allclose(out, expected.transpose(0, 2, 3, 1), rtol=1e-12, atol=1e-13)
    assert out.flags.c_contiguous
    mixed = ("WNHC", "OHIW", "CWHN")
    out = lax.conv_general_dilated(
        x.transpose(3, 0, 2, 1), w.transpose(0, 2, 1, 3), (1, 2), "SAME", dimension_numbers=mixed
    )
    np.testing.assert_allclose(out, expected.transpose(1, 3, 2, 0), rtol=1e-12, atol=1e-13)
    numbers = lax.conv_dimension_numbers(x.shape, w.shape, mixed)
    assert numbers == ((1, 3, 2, 0), (0, 2, 1, 3), (3, 0, 2, 1))
    assert lax.conv_dimension_numbers(x.shape, w.shape, numbers) is numbers
    assert lax.conv_dimension_numbers(x.shape, w.shape) == ((0, 1, 2, 3),) * 3


@pytest.mark.parametrize(
    ("extent", "kernel", "stride", "expected"),
    [
        (5, 3, 1, (1, 1)),
        (5, 2, 1, (0, 1)),
        (6, 3, 2, (0, 1)),
        (5, 3, 2, (1, 1)),
        (4, 1, 2, (0, 0)),
        (7, 5, 3, (2, 2)),
    ],
)
def test_same_padding(extent: int, kernel: int, stride: int, expected: tuple[int, int]) -> None:
    x, w = normal(1, 1, extent), normal(1, 1, kernel)
    out = lax.conv(x, w, stride, "SAME")
    assert out.shape[2] == -(-extent // stride)
    np.testing.assert_array_equal(out, lax.conv(x, w, stride, [expected]))
    np.testing.assert_array_equal(lax.conv(x, w, stride, "SAME_LOWER"), lax.conv(x, w, stride, [expected[::-1]]))
    np.testing.assert_array_equal(lax.conv(x, w, stride, "VALID"), lax.conv(x, w, stride, [(0, 0)]))


def test_half_precision_is_rounded_once() -> None:
    x, w = np.full((1, 1, 3000), 1.0, np.float16), np.full((1, 1, 3000), 1.0, np.float16)
    np.testing.assert_array_equal(lax.conv(x, w, 1, "VALID"), np.full((1, 1, 1), 3000, np.float16), strict=True)


def test_booleans_are_or_of_and() -> None:
    x, w = np.array([[[True, False, False, True]]]), np.array([[[True, True]]])
    np.testing.assert_array_equal(lax.conv(x, w, 1, "VALID"), [[[True, False, True]]], strict=True)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_transposed_convolution_is_the_gradient_of_a_convolution(stride: int) -> None:
    w, ct = normal(3, 4, 6, 5), normal(2, 4, 3, 5)
    images = normal(2, 3 * stride + 3, 2 * stride + 4, 6)

    def f(x: Any) -> Any:
        return lax.conv_general_dilated(x, w, stride, "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    (gradient,) = gradients(f, images, cotangent=ct)
    out = lax.conv_transpose(ct, w, stride, "VALID", transpose_kernel=True)
    np.testing.assert_allclose(out, gradient, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("kernel", "stride", "valid"), [(3, 1, 7), (3, 2, 11), (2, 3, 15), (1, 2, 10), (5, 2, 13)])
def test_extents_of_transposed_convolutions(kernel: int, stride: int, valid: int) -> None:
    x, w = np.ones((1, 5, 1)), np.ones((kernel, 1, 1))
    assert lax.conv_transpose(x, w, stride, "SAME").shape == (1, 5 * stride, 1)
    out = lax.conv_transpose(x, w, stride, "VALID")
    assert out.shape == (1, valid, 1)
    assert out.sum() == 5 * kernel
    dilated = lax.conv_transpose(x, w, stride, "SAME", rhs_dilation=2)
    assert dilated.shape == (1, 5 * stride, 1)


def test_transposed_convolution_by_hand() -> None:
    x = np.array([1.0, 2.0, 3.0]).reshape(1, 3, 1)
    w = np.array([1.0, 10.0, 100.0]).reshape(3, 1, 1)
    out = lax.conv_transpose(x, w, 2, "VALID", dimension_numbers=("NHC", "HIO", "NHC"))
    np.testing.assert_array_equal(out.ravel(), [100, 10, 201, 20, 302, 30, 3])
    out = lax.conv_transpose(x, w, 2, "VALID", transpose_kernel=True)
    np.testing.assert_array_equal(out.ravel(), [1, 10, 102, 20, 203, 30, 300])
    out = lax.conv_transpose(x, w, 2, "SAME")
    np.testing.assert_array_equal(out.ravel(), [100, 10, 201, 20, 302, 30])
    out = lax.conv_transpose(x, w, 2, [(1, 2)])
    np.testing.assert_array_equal(out.ravel(), [10, 201, 20, 302, 30, 3])


# -- derivatives and batching ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize("last", [False, True])
def test_gradients_agree_with_tangents(geometry: Any, last: bool) -> None:
    image, kernel, *rest = geometry
    strides, padding, lhs_dilation, rhs_dilation, features, batches = rest

    def f(x: Any, w: Any) -> Any:
        return lax.conv_general_dilated(x, w, strides, padding, lhs_dilation, rhs_dilation, None, features, batches)

    x, w, tx, tw = normal(*image), normal(*kernel), normal(*image), normal(*kernel)
    if last:
        x, tx = channels_last(x), channels_last(tx)
    ct = normal(*f(x, w).shape)
    gx, gw = gradients(f, x, w, cotangent=ct)
    assert gx.shape == x.shape and gw.shape == w.shape
    # It is bilinear: a tangent of one operand gives the result for it.
    np.testing.assert_allclose(np.sum(gx * tx), np.sum(ct * f(tx, w)), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(np.sum(gw * tw), np.sum(ct * f(x, tw)), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(tangent(f, (x, w), (tx, tw)), f(tx, w) + f(x, tw), rtol=1e-9, atol=1e-9)


def test_second_derivative() -> None:
    x, w, t = normal(1, 2, 5), normal(2, 2, 3), normal(2, 2, 3)

    def gradient(w: Any) -> Any:
        def loss(w: Any) -> Any:
            y = lax.conv(x, w, 2, "SAME")
            return lax.reduce_sum(lax.mul(y, y), (0, 1, 2))

        return gradients(loss, w)[0]

    # The loss is quadratic in the kernels, so that its gradient is linear in them.
    np.testing.assert_allclose(tangent(gradient, (w,), (t,)), gradient(t), rtol=1e-10)


@pytest.mark.parametrize("dims", [(0, None), (None, 0), (0, 0), (2, None), (None, 3), (4, 1)])
@pytest.mark.parametrize("groups", [(1, 1), (2, 1), (1, 2)])
def test_vmap(dims: tuple[int | None, int | None], groups: tuple[int, int]) -> None:
    features, batches = groups
    xs, ws = normal(3, 2, 2 * features, 4, 5), normal(3, 2, 2, 2, 3)

    def f(x: Any, w: Any) -> Any:
        return lax.conv_general_dilated(x, w, (2, 1), "SAME", feature_group_count=features, batch_group_count=batches)

    x = xs[0] if dims[0] is None else np.moveaxis(xs, 0, dims[0])
    w = ws[0] if dims[1] is None else np.moveaxis(ws, 0, dims[1])
    expected = [f(xs[0 if dims[0] is None else i], ws[0 if dims[1] is None else i]) for i in range(3)]
    np.testing.assert_allclose(mapped(f, 3, x, w, dims=dims), np.stack(expected), rtol=1e-10, atol=1e-12)


def test_gradients_of_strided_images_multiply_no_zeros(monkeypatch: pytest.MonkeyPatch) -> None:
    x, w = normal(2, 3, 9, 9), normal(4, 3, 3, 3)
    products: list[int] = []
    matmul = np.matmul

    def counted(a: Any, b: Any, **keywords: Any) -> Any:
        out = matmul(a, b, **keywords)
        products.append(out.size * a.shape[-1])
        return out

    y = lax.conv(x, w, 3, "VALID")
    monkeypatch.setattr(np, "matmul", counted)
    gradients(lambda x: lax.conv(x, w, 3, "VALID"), x, cotangent=y)
    # As many for the gradient as for the result.
    assert products == [2 * 4 * 3 * 3 * 27] * 2


# -- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "keywords", "error", "message"),
    [
        (((1, 2, 5), (3, 4, 2), 1, "SAME"), {}, errors.ShapeError, "have 2 channels .* the images need 4 channels"),
        (((1, 2, 5), (3, 1, 2), 1, "SAME"), {"feature_group_count": 2}, errors.ShapeError, "must divide 3 output"),
        (((3, 2, 5), (4, 2, 2), 1, "SAME"), {"batch_group_count": 2}, errors.ShapeError, "batch of 3"),
        (
            ((2, 2, 5), (4, 1, 2), 1, "SAME"),
            {"batch_group_count": 2, "feature_group_count": 2},
            errors.ShapeError,
            "one of them 1",
        ),
        (((1, 2, 5), (3, 2, 2, 2), 1, "SAME"), {}, errors.ShapeError, "must have the same number of axes"),
        (
            ((1, 2, 5), (3, 2, 2), (1, 1), "SAME"),
            {},
            errors.ShapeError,
            "window_strides must be 1 ints, each at least 1",
        ),
        (((1, 2, 5), (3, 2, 2), 0, "SAME"), {}, errors.ShapeError, r"each at least 1; got 0"),
        (((1, 2, 5), (3, 2, 2), 1, "FULL"), {}, errors.ArgumentError, "padding must be 'SAME'.* got 'FULL'"),
        (((1, 2, 5), (3, 2, 2), 1, [1]), {}, errors.ArgumentError, r"a \(low, high\) pair for each of 1 axes"),
        (
            ((1, 2, 5), (3, 2, 2), 1, "SAME"),
            {"dimension_numbers": ("NHC", "OIH", "NCX")},
            errors.ShapeError,
            "the out layout 'NCX'",
        ),
        (
            ((1, 2, 5), (3, 2, 2), 1, "SAME"),
            {"dimension_numbers": "NCH"},
            errors.ArgumentError,
            "must be three strings",
        ),
        (
            ((1, 2, 5), (3, 2, 2), 1, "SAME"),
            {"dimension_numbers": lax.ConvDimensionNumbers((0, 1, 1), (0, 1, 2), (0, 1, 2))},
            errors.ShapeError,
            "no permutation of 3 axes",
        ),
    ],
)
def test_what_does_not_fit(arguments: Any, keywords: Any, error: Any, message: str) -> None:
    image, kernel, *rest = arguments
    with pytest.raises(error, match=message):
        lax.conv_general_dilated(np.ones(image), np.ones(kernel), *rest, **keywords)


def test_images_and_kernels_have_one_dtype() -> None:
    with pytest.raises(errors.DTypeError, match=r"images of type f32.* and kernels of type f64"):
        lax.conv(np.ones((1, 1, 3), np.float32), np.ones((1, 1, 2)), 1, "SAME")
    with pytest.raises(errors.ArgumentError, match="conv_transpose: padding must be 'SAME', 'VALID' or pairs"):
        lax.conv_transpose(np.ones((1, 3, 1)), np.ones((2, 1, 1)), 1, "FULL")
