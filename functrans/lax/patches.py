"""What convolutions are made of: patches of images, kernels that differ by place, and the shapes of results."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, TypeAlias

import numpy as np

from functrans import errors
from functrans.core.structural import move_axis, transpose
from functrans.core.trace import aval_of
from functrans.lax.contraction import dot_general
from functrans.lax.convolution import (
    ConvDimensionNumbers,
    Ints,
    conv_dimension_numbers,
    conv_general_dilated,
    padding_pairs,
    window_ints,
)
from functrans.lax.convolution_impl import dilated, out_extent
from functrans.lax.precision import PrecisionLike, check_precision

ConvGeneralDilatedDimensionNumbers: TypeAlias = ConvDimensionNumbers | Sequence[str] | None
"""What says which axis plays which role: see ``conv_dimension_numbers``."""

# -- patches ----------------------------------------------------------------------------------------------------------


def conv_general_dilated_patches(
    lhs: Any,
    filter_shape: Sequence[int],
    window_strides: Any,
    padding: Any,
    lhs_dilation: Any = None,
    rhs_dilation: Any = None,
    dimension_numbers: ConvGeneralDilatedDimensionNumbers = None,
    precision: PrecisionLike = None,
    preferred_element_type: Any = None,
) -> Any:
    """The patches of images that a convolution with kernels of a shape would see, as channels of an image.

    Args:
        lhs: images; ``(batch, channel, *space)`` unless ``dimension_numbers`` says otherwise.
        filter_shape: the spatial extents of the patches.
        window_strides, padding, lhs_dilation, rhs_dilation, dimension_numbers: as in ``conv_general_dilated``.
        precision: accepted; values are moved, not computed.
        preferred_element_type: the dtype of the result; that of the images if None.

    Returns:
        Images of which channel ``c * prod(filter_shape) + k`` holds element ``k`` of each patch of channel ``c``.

    >>> conv_general_dilated_patches(np.arange(4.0).reshape(1, 1, 4), (2,), 1, "VALID")[0]
    array([[0., 1., 2.],
           [1., 2., 3.]])
    """
    name = "conv_general_dilated_patches"
    check_precision(name, precision)
    aval = aval_of(lhs)
    rank = aval.ndim - 2
    kernel = window_ints(name, "filter_shape", filter_shape, rank)
    numbers = conv_dimension_numbers(aval.shape, (0,) * aval.ndim, dimension_numbers)
    channels = aval.shape[numbers.lhs_spec[1]]
    size = prod(kernel)
    picks = np.tile(np.eye(size, dtype=aval.dtype).reshape(size, 1, *kernel), (channels, *(1,) * (rank + 1)))
    return conv_general_dilated(
        lhs,
        picks.transpose(np.argsort(numbers.rhs_spec)),
        window_strides,
        padding,
        lhs_dilation,
        rhs_dilation,
        numbers,
        feature_group_count=channels,
        preferred_element_type=preferred_element_type,
    )


def conv_general_dilated_local(
    lhs: Any,
    rhs: Any,
    window_strides: Any,
    padding: Any,
    filter_shape: Sequence[int],
    lhs_dilation: Any = None,
    rhs_dilation: Any = None,
    dimension_numbers: ConvGeneralDilatedDimensionNumbers = None,
    precision: PrecisionLike = None,
) -> Any:
    """A convolution whose kernels differ from place to place: a "locally connected" layer.

    Args:
        lhs: images; ``(batch, channel, *space)`` unless ``dimension_numbers`` says otherwise.
        rhs: kernels of the same dtype, ``(out channel, channel * prod(filter_shape), *places)`` in their own layout:
            for each place of the result the weights of its patch, in the order of ``conv_general_dilated_patches``.
        filter_shape: the spatial extents of the kernels.
        window_strides, padding, lhs_dilation, rhs_dilation, dimension_numbers, precision: as in
            ``conv_general_dilated``.

    Returns:
        An array in the layout of the result.

    Raises:
        ShapeError: the kernels do not fit the patches.

    >>> image = np.arange(4.0).reshape(1, 1, 4)
    >>> kernels = np.array([[[1.0, 0.0, 2.0], [0.0, 1.0, 0.0]]])
    >>> conv_general_dilated_local(image, kernels, 1, "VALID", (2,))
    array([[[0., 2., 4.]]])
    """
    name = "conv_general_dilated_local"
    check_precision(name, precision)
    xs, ws = aval_of(lhs).shape, aval_of(rhs).shape
    numbers = conv_dimension_numbers(xs, ws, dimension_numbers)
    straight = tuple(range(len(xs)))
    seen = ConvDimensionNumbers(numbers.lhs_spec, straight, straight)
    patches = conv_general_dilated_patches(lhs, filter_shape, window_strides, padding, lhs_dilation, rhs_dilation, seen)
    kernels = transpose(rhs, numbers.rhs_spec)
    expected, given = aval_of(patches).shape[1:], aval_of(kernels).shape[1:]
    if expected != given:
        raise errors.ShapeError(
            f"{name}: kernels of shape {ws} must have {expected[0]} input channels (channels of the images times "
            f"elements of a patch) and the places {expected[1:]} of the result, got {given[0]} and {given[1:]}"
        )
    space = tuple(range(2, len(xs)))
    out = dot_general(patches, kernels, (((1,), (1,)), (space, space)))
    rank = len(space)
    out = move_axis(move_axis(out, rank, 0), rank + 1, 1)
    return transpose(out, [numbers.out_spec.index(a) for a in range(len(xs))])


# -- shapes -----------------------------------------------------------------------------------------------------------


def conv_shape_tuple(
    lhs_shape: Sequence[int], rhs_shape: Sequence[int], strides: Any, pads: Any, batch_group_count: int = 1
) -> Ints:
    """The shape of the convolution of ``(batch, channel, *space)`` with ``(out channel, channel, *space)``.

    >>> conv_shape_tuple((8, 3, 32, 32), (16, 3, 5, 5), (2, 2), "SAME")
    (8, 16, 16, 16)
    """
    name = "conv_shape_tuple"
    rank = len(lhs_shape) - 2
    if len(rhs_shape) != rank + 2 or rank < 0:
        raise errors.ShapeError(
            f"{name}: shapes {tuple(lhs_shape)} and {tuple(rhs_shape)} must have the same number of axes, two and the "
            f"spatial ones"
        )
    image, kernel = tuple(lhs_shape[2:]), tuple(rhs_shape[2:])
    steps = window_ints(name, "strides", strides, rank)
    pairs = padding_pairs(name, pads, image, kernel, steps)
    space = [out_extent(n, k, s, p, 1, 1) for n, k, s, p in zip(image, kernel, steps, pairs, strict=True)]
    return (lhs_shape[0] // batch_group_count, rhs_shape[0], *space)


def conv_general_permutations(dimension_numbers: Sequence[str]) -> tuple[Ints, Ints, Ints]:
    """For each of three layouts, written with one letter an axis, the axes in the order batch, channel, spatial ones.

    The spatial axes come in the order of the kernels' layout.

    >>> conv_general_permutations(("NHWC", "HWIO", "NHWC"))
    ((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2))
    """
    ranks = {len(layout) for layout in dimension_numbers}
    if len(dimension_numbers) != 3 or len(ranks) != 1:
        raise errors.ArgumentError(
            f"conv_general_permutations: three strings of one length are needed, got {dimension_numbers!r}"
        )
    nothing = (0,) * ranks.pop()
    lhs, rhs, out = conv_dimension_numbers(nothing, nothing, dimension_numbers)
    return lhs, rhs, out


def conv_general_shape_tuple(
    lhs_shape: Sequence[int],
    rhs_shape: Sequence[int],
    window_strides: Any,
    padding: Any,
    dimension_numbers: ConvGeneralDilatedDimensionNumbers,
) -> Ints:
    """The shape of ``conv_general_dilated`` of arrays of these shapes, without dilation.

    >>> conv_general_shape_tuple((8, 32, 32, 3), (5, 5, 3, 16), (1, 1), "VALID", ("NHWC", "HWIO", "NHWC"))
    (8, 28, 28, 16)
    """
    numbers = conv_dimension_numbers(lhs_shape, rhs_shape, dimension_numbers)
    plain = conv_shape_tuple(
        [lhs_shape[a] for a in numbers.lhs_spec], [rhs_shape[a] for a in numbers.rhs_spec], window_strides, padding
    )
    return tuple(plain[numbers.out_spec.index(a)] for a in range(len(plain)))


def conv_transpose_shape_tuple(
    lhs_shape: Sequence[int],
    rhs_shape: Sequence[int],
    window_strides: Any,
    padding: Any,
    dimension_numbers: ConvGeneralDilatedDimensionNumbers,
) -> Ints:
    """The shape of ``conv_transpose`` of arrays of these shapes.

    >>> conv_transpose_shape_tuple((8, 16, 16, 3), (5, 5, 3, 4), (2, 2), "SAME", ("NHWC", "HWIO", "NHWC"))
    (8, 32, 32, 4)
    """
    name = "conv_transpose_shape_tuple"
    numbers = conv_dimension_numbers(lhs_shape, rhs_shape, dimension_numbers)
    image = tuple(lhs_shape[a] for a in numbers.lhs_spec[2:])
    kernel = tuple(rhs_shape[a] for a in numbers.rhs_spec[2:])
    steps = window_ints(name, "window_strides", window_strides, len(image))
    if isinstance(padding, str):
        same = {"SAME": True, "VALID": False}.get(padding.upper())
        if same is None:
            raise errors.ArgumentError(f"{name}: padding must be 'SAME', 'VALID' or pairs of ints, got {padding!r}")
        space = [n * s + (0 if same else max(k - s, 0)) for n, k, s in zip(image, kernel, steps, strict=True)]
    else:
        pairs = padding_pairs(name, padding, image, kernel, steps)
        space = [out_extent(n, k, 1, p, s, 1) for n, k, s, p in zip(image, kernel, steps, pairs, strict=True)]
    plain = (lhs_shape[numbers.lhs_spec[0]], rhs_shape[numbers.rhs_spec[0]], *space)
    return tuple(plain[numbers.out_spec.index(a)] for a in range(len(plain)))


def reduce_window_shape_tuple(
    operand_shape: Sequence[int],
    window_dimensions: Sequence[int],
    window_strides: Any,
    padding: Any,
    base_dilation: Any = None,
    window_dilation: Any = None,
) -> Ints:
    """The shape of a reduction over windows of an array of a shape.

    >>> reduce_window_shape_tuple((8, 32, 32), (1, 2, 2), (1, 2, 2), "VALID")
    (8, 16, 16)
    """
    name = "reduce_window_shape_tuple"
    shape = tuple(operand_shape)
    rank = len(shape)
    window = window_ints(name, "window_dimensions", window_dimensions, rank)
    steps = window_ints(name, "window_strides", window_strides, rank)
    base = window_ints(name, "base_dilation", base_dilation, rank)
    apart = window_ints(name, "window_dilation", window_dilation, rank)
    spread = tuple(dilated(n, d) for n, d in zip(shape, base, strict=True))
    reach = tuple(dilated(k, d) for k, d in zip(window, apart, strict=True))
    pairs = padding_pairs(name, padding, spread, reach, steps)
    columns = zip(shape, window, steps, pairs, base, apart, strict=True)
    return tuple(out_extent(n, k, s, p, b, d) for n, k, s, p, b, d in columns)
