"""Convolution, in the sense of machine learning: a correlation of images with kernels, over any number of spatial axes.

One primitive, ``conv``, is closed under differentiation, transposition and batching. Its layout is fixed, with an
axis of groups in front: images ``(group, batch, channel, *space)``, kernels ``(group, out channel, channel, *space)``,
results ``(group, batch, out channel, *space)``. Other layouts are permuted to it and back, which moves no memory:
the implementation looks at the strides of what it is given and keeps channels last where they came last.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from functrans import errors
from functrans.core import dtypes
from functrans.core.avals import ShapedArray, shaped
from functrans.core.primitive import BatchAxis, Primitive, Sample, Trait, Undefined
from functrans.core.structural import convert, move_axis, transpose
from functrans.core.trace import aval_of
from functrans.lax.convolution_impl import conv_impl, dilated, out_extent
from functrans.lax.families import tangent_rules
from functrans.lax.movement import reshape, rev
from functrans.lax.precision import PrecisionLike, check_precision

Ints = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]


class ConvDimensionNumbers(NamedTuple):
    """Which axis of each array plays which role.

    Attributes:
        lhs_spec: the axes of the images: batch, channel, then the spatial ones.
        rhs_spec: the axes of the kernels: output channel, input channel, then the spatial ones.
        out_spec: the axes of the result: batch, channel, then the spatial ones.
    """

    lhs_spec: Ints
    rhs_spec: Ints
    out_spec: Ints


# -- the primitive ---------------------------------------------------------------------------------------------------


def _conv_shape(
    x: ShapedArray, w: ShapedArray, *, strides: Ints, padding: Pads, lhs_dilation: Ints, rhs_dilation: Ints
) -> ShapedArray:
    rank = len(strides)
    if not (x.ndim == w.ndim == rank + 3 and x.shape[0] == w.shape[0] and x.shape[2] == w.shape[2]):
        raise errors.ShapeError(
            f"conv: images of type {x} and kernels of type {w} must be (group, batch, channel, *space) and (group, out "
            f"channel, channel, *space) with {rank} spatial axes and the same groups and channels"
        )
    if x.dtype != w.dtype:
        raise errors.DTypeError(
            f"conv: images of type {x} and kernels of type {w} must have one dtype; convert one of them explicitly"
        )
    space = (
        out_extent(*extents)
        for extents in zip(x.shape[3:], w.shape[3:], strides, padding, lhs_dilation, rhs_dilation, strict=True)
    )
    return shaped((x.shape[0], x.shape[1], w.shape[1], *space), x.dtype, "array")


def _conv_transpose(
    ct: Any, x: Any, w: Any, *, strides: Ints, padding: Pads, lhs_dilation: Ints, rhs_dilation: Ints
) -> list[Any]:
    image = (x.aval if isinstance(x, Undefined) else aval_of(x)).shape[3:]
    kernel = (w.aval if isinstance(w, Undefined) else aval_of(w)).shape[3:]
    space = aval_of(ct).shape[3:]
    pads = []
    axes = range(3, 3 + len(strides))
    swap = (0, 2, 1, *axes)
    columns = zip(image, kernel, space, strides, padding, lhs_dilation, rhs_dilation, strict=True)
    # In each rule the upper padding is what makes the result have the extent that it must have.
    if isinstance(x, Undefined):
        for n, k, p, s, (lo, _), ld, rd in columns:
            low = dilated(k, rd) - 1 - lo
            pads.append((low, dilated(n, ld) - 1 + dilated(k, rd) - dilated(p, s) - low))
        flipped = transpose(rev(w, axes), swap)
        return [
            conv_p.bind(
                ct,
                flipped,
                strides=lhs_dilation,
                padding=tuple(pads),
                lhs_dilation=strides,
                rhs_dilation=rhs_dilation,
            ),
            None,
        ]
    for n, k, p, s, (lo, _), ld, rd in columns:
        pads.append((lo, dilated(k, rd) - 1 + dilated(p, s) - dilated(n, ld) - lo))
    out = conv_p.bind(
        transpose(x, swap),
        transpose(ct, swap),
        strides=rhs_dilation,
        padding=tuple(pads),
        lhs_dilation=lhs_dilation,
        rhs_dilation=strides,
    )
    return [None, transpose(out, swap)]


def _conv_batch(axis: BatchAxis, args: Sequence[Any], dims: Sequence[int | None], **params: Any) -> tuple[Any, int]:
    (x, w), (dx, dw) = args, dims
    if dx is not None and dw is not None:
        out = conv_p.bind(_folded(x, dx, 0), _folded(w, dw, 0), **params)
        return _unfolded(out, axis, 0), 0
    if dx is not None:
        return _unfolded(conv_p.bind(_folded(x, dx, 1), w, **params), axis, 1), 1
    assert dw is not None
    return _unfolded(conv_p.bind(x, _folded(w, dw, 1), **params), axis, 2), 2


def _folded(x: Any, d: int, into: int) -> Any:
    """The batch dimension of an operand made part of another of its axes."""
    x = move_axis(x, d, into)
    shape = aval_of(x).shape
    return reshape(x, (*shape[:into], shape[into] * shape[into + 1], *shape[into + 2 :]))


def _unfolded(x: Any, axis: BatchAxis, at: int) -> Any:
    shape = aval_of(x).shape
    return reshape(x, (*shape[:at], axis.size, shape[at] // max(axis.size, 1), *shape[at + 1 :]))


def _conv_samples() -> list[Sample]:
    def array(*shape: int) -> Any:
        return np.sin(1.0 + np.arange(float(prod(shape)))).reshape(shape)

    def sample(
        x: Any, w: Any, strides: Any, padding: Any, lhs_dilation: Any = None, rhs_dilation: Any = None
    ) -> Sample:
        ones = (1,) * len(strides)
        return Sample(
            (x, w),
            {
                "strides": strides,
                "padding": padding,
                "lhs_dilation": lhs_dilation or ones,
                "rhs_dilation": rhs_dilation or ones,
            },
        )

    x, w = array(1, 2, 2, 4, 5), array(1, 3, 2, 2, 3)
    return [
        sample(x, w, (1, 1), ((0, 0), (0, 0))),
        sample(x, w, (2, 1), ((1, 0), (1, 2))),
        sample(x, w, (2, 2), ((1, 1), (0, 1)), (1, 1), (2, 1)),
        sample(x, w, (1, 1), ((1, 1), (2, 0)), (2, 3), (1, 1)),
        sample(x, w, (3, 2), ((-1, 2), (1, -1)), (2, 1), (1, 2)),
        sample(x, w[..., :1, :1], (1, 1), ((0, 0), (0, 0))),
        sample(array(3, 2, 1, 4), array(3, 2, 1, 2), (1,), ((1, 0),)),
        sample(array(2, 2, 2, 3, 3), array(2, 1, 2, 2, 2), (1, 1), ((0, 1), (1, 0))),
        sample(array(1, 1, 1, 2, 3, 2), array(1, 2, 1, 2, 2, 1), (1, 2, 1), ((0, 0), (1, 1), (0, 0))),
        sample(array(1, 2, 3), array(1, 2, 3), (), ()),
        sample(np.zeros((1, 0, 2, 4)), array(1, 3, 2, 2), (1,), ((0, 0),)),
        sample(array(1, 2, 1, 2), array(1, 1, 1, 3), (1,), ((0, 0),)),
        sample(x.astype(np.float32), w.astype(np.float32), (1, 1), ((0, 0), (1, 1))),
        sample(x + 1j, w - 2j * w, (1, 2), ((0, 0), (1, 1))),
        sample((4 * x).astype(np.int32), (4 * w).astype(np.int32), (1, 1), ((1, 0), (0, 0))),
        sample(x > 0, w > 0.5, (1, 1), ((0, 0), (0, 0))),
    ]


conv_p: Primitive = Primitive(
    "conv",
    shape=_conv_shape,
    impl=conv_impl,
    jvp=tangent_rules(
        lambda: conv_p,
        lambda t, out, x, w, **params: conv_p.bind(t, w, **params),
        lambda t, out, x, w, **params: conv_p.bind(x, t, **params),
    ),
    transpose=_conv_transpose,
    batch=_conv_batch,
    flops=lambda x, w, **params: 2 * _conv_shape(x, w, **params).size * w.size // (w.shape[0] * w.shape[1] or 1),
    kind="library",
    traits=frozenset({Trait.COSTLY, Trait.THREADED}),
    samples=_conv_samples,
)


# -- layouts and padding ---------------------------------------------------------------------------------------------


def conv_dimension_numbers(
    lhs_shape: Sequence[Any], rhs_shape: Sequence[Any], dimension_numbers: Any = None
) -> ConvDimensionNumbers:
    """The axes of images, kernels and result by their roles.

    Args:
        lhs_shape: the shape of the images, or anything of that length.
        rhs_shape: the shape of the kernels.
        dimension_numbers: three strings, one letter an axis: ``N`` batch, ``C`` channel; ``O`` output channel, ``I``
            input channel of the kernels; any other letters for the spatial axes, the same in all three. None is
            ``("NCHW", "OIHW", "NCHW")`` for two spatial axes and the like for others. A ``ConvDimensionNumbers`` is
            checked and returned.

    Raises:
        ShapeError: a layout that does not fit the shapes.
        ArgumentError: anything else.

    >>> conv_dimension_numbers((8, 32, 32, 3), (5, 5, 3, 16), ("NHWC", "HWIO", "NHWC"))
    ConvDimensionNumbers(lhs_spec=(0, 3, 1, 2), rhs_spec=(3, 2, 0, 1), out_spec=(0, 3, 1, 2))
    """
    ndim = len(lhs_shape)
    if len(rhs_shape) != ndim or ndim < 2:
        raise errors.ShapeError(
            f"conv_dimension_numbers: images of shape {tuple(lhs_shape)} and kernels of shape {tuple(rhs_shape)} must "
            f"have the same number of axes, two and the spatial ones"
        )
    if dimension_numbers is None:
        straight = tuple(range(ndim))
        return ConvDimensionNumbers(straight, straight, straight)
    if isinstance(dimension_numbers, ConvDimensionNumbers):
        for name, spec in zip(dimension_numbers._fields, dimension_numbers, strict=True):
            if sorted(spec) != list(range(ndim)):
                raise errors.ShapeError(f"conv_dimension_numbers: {name}={spec} is no permutation of {ndim} axes")
        return dimension_numbers
    if not (
        isinstance(dimension_numbers, Sequence)
        and not isinstance(dimension_numbers, str)
        and len(dimension_numbers) == 3
        and all(isinstance(layout, str) for layout in dimension_numbers)
    ):
        raise errors.ArgumentError(
            f"conv_dimension_numbers: dimension_numbers must be three strings such as ('NHWC', 'HWIO', 'NHWC'), a "
            f"ConvDimensionNumbers or None, got {dimension_numbers!r}"
        )
    spatial = [letter for letter in dimension_numbers[1] if letter not in "OI"]
    specs = []
    for layout, first, which in zip(dimension_numbers, ("NC", "OI", "NC"), ("lhs", "rhs", "out"), strict=True):
        if len(layout) != ndim or sorted(layout) != sorted([*first, *spatial]):
            raise errors.ShapeError(
                f"conv_dimension_numbers: the {which} layout {layout!r} must hold {first[0]!r}, {first[1]!r} and "
                f"the spatial letters of {dimension_numbers[1]!r}, each once, for {ndim} axes"
            )
        specs.append(tuple(layout.index(letter) for letter in (*first, *spatial)))
    return ConvDimensionNumbers(*specs)


def window_ints(name: str, argument: str, value: Any, rank: int, least: int = 1) -> Ints:
    """One int for each spatial axis; ones for None."""
    if value is None:
        return (1,) * rank
    given = tuple(operator.index(v) for v in ((value,) * rank if isinstance(value, (int, np.integer)) else value))
    if len(given) != rank or any(v < least for v in given):
        raise errors.ShapeError(f"{name}: {argument} must be {rank} ints, each at least {least}; got {value!r}")
    return given


def padding_pairs(name: str, padding: Any, extents: Ints, windows: Ints, strides: Ints) -> Pads:
    """Padding as pairs of (low, high), from ``"VALID"``, ``"SAME"``, ``"SAME_LOWER"`` or explicit pairs.

    ``"SAME"`` pads so that ``ceil(extent / stride)`` positions result, with the odd element at the end;
    ``"SAME_LOWER"`` puts it at the beginning.
    """
    if isinstance(padding, str):
        kind = padding.upper()
        if kind == "VALID":
            return ((0, 0),) * len(extents)
        if kind in ("SAME", "SAME_LOWER"):
            pairs = []
            for n, k, s in zip(extents, windows, strides, strict=True):
                total = max((-(-n // s) - 1) * s + k - n, 0)
                low = (total + (kind == "SAME_LOWER")) // 2
                pairs.append((low, total - low))
            return tuple(pairs)
    elif isinstance(padding, Sequence) and len(padding) == len(extents):
        if all(isinstance(pair, Sequence) and len(pair) == 2 for pair in padding):
            return tuple((operator.index(lo), operator.index(hi)) for lo, hi in padding)
    raise errors.ArgumentError(
        f"{name}: padding must be 'SAME', 'SAME_LOWER', 'VALID' or a (low, high) pair for each of {len(extents)} axes, "
        f"got {padding!r}"
    )


# -- functions -------------------------------------------------------------------------------------------------------


def conv_general_dilated(
    lhs: Any,
    rhs: Any,
    window_strides: Any,
    padding: Any,
    lhs_dilation: Any = None,
    rhs_dilation: Any = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: PrecisionLike = None,
    preferred_element_type: Any = None,
) -> Any:
    """The correlation of a batch of images with kernels; the kernels are not reversed.

    ``out[n, o, p] = sum over c, k of lhs[n, c, p * stride + k * rhs_dilation - low] * rhs[o, c, k]``, where the spatial
    index refers to the images with ``lhs_dilation - 1`` zeros between neighbours, and zeros outside.

    Args:
        lhs: images; ``(batch, channel, *space)`` unless ``dimension_numbers`` says otherwise. Any dtype.
        rhs: kernels of the same dtype, ``(out channel, channel, *space)``.
        window_strides: an int, or one for each spatial axis.
        padding: ``"SAME"`` (``ceil(extent / stride)`` positions result), ``"SAME_LOWER"``, ``"VALID"`` (none), or a
            pair (low, high) for each spatial axis; negative ones cut off.
        lhs_dilation: how far the elements of the images are drawn apart, an int for each axis: the stride of a
            transposed convolution.
        rhs_dilation: the same for the kernels ("atrous" convolution).
        dimension_numbers: the layouts, see `conv_dimension_numbers`.
        feature_group_count: into how many groups channels and output channels are divided; each output channel
            sees the channels of its own group, of which the kernels have ``channels // groups``. With as many groups as
            channels it is a depthwise convolution.
        batch_group_count: into how many groups the batch and the output channels are divided; the result's batch has
            ``batch // groups`` images. It is what derivatives of grouped convolutions are made of.
        precision: accepted, see ``Precision``; products are computed in full.
        preferred_element_type: a dtype in which products are formed and summed, and which the result has. A narrower
            one than the operands' only rounds the result.

    Returns:
        An array in the layout of the result. Half precision is summed in single precision and rounded once.

    Raises:
        ShapeError: extents or numbers of channels that do not fit.
        DTypeError: operands of different dtypes.

    >>> image = np.arange(16.0).reshape(1, 1, 4, 4)
    >>> conv_general_dilated(image, np.ones((1, 1, 2, 2)), (2, 2), "VALID")[0, 0]
    array([[10., 18.],
           [42., 50.]])
    """
    name = "conv_general_dilated"
    check_precision(name, precision)
    xa, wa = aval_of(lhs), aval_of(rhs)
    numbers = conv_dimension_numbers(xa.shape, wa.shape, dimension_numbers)
    rank = xa.ndim - 2
    x, w = transpose(lhs, numbers.lhs_spec), transpose(rhs, numbers.rhs_spec)
    (batch, channels, *image), (features, inner, *kernel) = aval_of(x).shape, aval_of(w).shape
    strides = window_ints(name, "window_strides", window_strides, rank)
    spread = window_ints(name, "lhs_dilation", lhs_dilation, rank)
    apart = window_ints(name, "rhs_dilation", rhs_dilation, rank)
    pads = padding_pairs(
        name,
        padding,
        tuple(dilated(n, d) for n, d in zip(image, spread, strict=True)),
        tuple(dilated(k, d) for k, d in zip(kernel, apart, strict=True)),
        strides,
    )
    f, b = operator.index(feature_group_count), operator.index(batch_group_count)
    if f < 1 or b < 1 or (f > 1 and b > 1):
        raise errors.ShapeError(
            f"{name}: feature_group_count={f} and batch_group_count={b} must be positive, and one of them 1"
        )
    if channels != inner * f or features % (f * b) or batch % b:
        raise errors.ShapeError(
            f"{name}: images of shape {xa.shape} have {channels} channels in a batch of {batch}, kernels of shape "
            f"{wa.shape} have {features} output and {inner} input channels; with feature_group_count={f} and "
            f"batch_group_count={b} the images need {inner * f} channels, and the counts must divide {features} output "
            f"channels and the batch"
        )
    if xa.dtype != wa.dtype:
        raise errors.DTypeError(f"{name}: images of type {xa} and kernels of type {wa} must have one dtype")
    if preferred_element_type is not None:
        wide = dtypes.result_type(xa.dtype, dtypes.canonical(np.dtype(preferred_element_type)))
        x, w = convert(x, wide), convert(w, wide)
    g = f * b
    if f > 1:
        x = move_axis(reshape(x, (batch, f, inner, *image)), 1, 0)
    else:
        x = reshape(x, (b, batch // b, channels, *image))
    w = reshape(w, (g, features // g, inner, *kernel))
    out = conv_p.bind(x, w, strides=strides, padding=pads, lhs_dilation=spread, rhs_dilation=apart)
    space = aval_of(out).shape[3:]
    out = reshape(move_axis(out, 0, 1) if g > 1 else out, (batch // b, features, *space))
    out = out if preferred_element_type is None else convert(out, preferred_element_type)
    return transpose(out, [numbers.out_spec.index(a) for a in range(rank + 2)])


def conv(
    lhs: Any,
    rhs: Any,
    window_strides: Any,
    padding: Any,
    precision: PrecisionLike = None,
    preferred_element_type: Any = None,
) -> Any:
    """`conv_general_dilated` of images ``(batch, channel, *space)`` with kernels ``(out channel, channel, *space)``.

    >>> conv(np.ones((1, 2, 5)), np.ones((3, 2, 3)), 1, "SAME").shape
    (1, 3, 5)
    """
    return conv_general_dilated(
        lhs, rhs, window_strides, padding, precision=precision, preferred_element_type=preferred_element_type
    )


def conv_with_general_padding(
    lhs: Any,
    rhs: Any,
    window_strides: Any,
    padding: Any,
    lhs_dilation: Any = None,
    rhs_dilation: Any = None,
    precision: PrecisionLike = None,
    preferred_element_type: Any = None,
) -> Any:
    """`conv` with dilations.

    >>> conv_with_general_padding(np.ones((1, 1, 5)), np.ones((1, 1, 2)), 1, [(0, 0)], rhs_dilation=2).shape
    (1, 1, 3)
    """
    return conv_general_dilated(
        lhs,
        rhs,
        window_strides,
        padding,
        lhs_dilation,
        rhs_dilation,
        precision=precision,
        preferred_element_type=preferred_element_type,
    )


def conv_transpose(
    lhs: Any,
    rhs: Any,
    strides: Any,
    padding: Any,
    rhs_dilation: Any = None,
    dimension_numbers: Any = None,
    transpose_kernel: bool = False,
    precision: PrecisionLike = None,
    preferred_element_type: Any = None,
) -> Any:
    """The transposed ("fractionally strided") convolution, which enlarges images by its strides.

    Args:
        lhs: images, ``(batch, *space, channel)`` unless ``dimension_numbers`` says otherwise.
        rhs: kernels, ``(*space, channel, out channel)`` unless ``dimension_numbers`` says otherwise.
        strides: by how much the images grow: an int, or one for each spatial axis.
        padding: ``"SAME"``: the result has ``extent * stride`` elements; ``"VALID"``: enough for every product, at
            least ``extent * stride``; or pairs (low, high) put around the images with zeros between their elements.
        rhs_dilation: how far the elements of the kernels are drawn apart.
        dimension_numbers: the layouts, see `conv_dimension_numbers`.
        transpose_kernel: whether to reverse the kernels in space and exchange their two channel axes: the result is
            then the derivative of the convolution with these kernels with respect to its images.
        precision, preferred_element_type: as in `conv_general_dilated`.

    >>> conv_transpose(np.ones((1, 4, 2)), np.ones((3, 2, 5)), 2, "SAME").shape
    (1, 8, 5)
    """
    name = "conv_transpose"
    xs, ws = aval_of(lhs).shape, aval_of(rhs).shape
    rank = len(xs) - 2
    if dimension_numbers is None and len(xs) == len(ws) > 1:
        last = (0, rank + 1, *range(1, rank + 1))
        dimension_numbers = ConvDimensionNumbers(last, (rank + 1, rank, *range(rank)), last)
    numbers = conv_dimension_numbers(xs, ws, dimension_numbers)
    steps = window_ints(name, "strides", strides, rank)
    apart = window_ints(name, "rhs_dilation", rhs_dilation, rank)
    pads = padding
    if isinstance(padding, str):
        if padding.upper() not in ("SAME", "VALID"):
            raise errors.ArgumentError(f"{name}: padding must be 'SAME', 'VALID' or pairs of ints, got {padding!r}")
        pads = []
        for axis, s, d in zip(numbers.rhs_spec[2:], steps, apart, strict=True):
            k = dilated(ws[axis], d)
            if padding.upper() == "VALID":
                pads.append((k - 1, max(k, s) - 1))
            else:
                low = k - 1 if s >= k else (k + s - 1) // 2
                pads.append((low, k + s - 2 - low))
    if transpose_kernel:
        rhs = rev(rhs, numbers.rhs_spec[2:])
        out_channel, in_channel, *space = numbers.rhs_spec
        numbers = numbers._replace(rhs_spec=(in_channel, out_channel, *space))
    return conv_general_dilated(
        lhs,
        rhs,
        (1,) * rank,
        pads,
        steps,
        rhs_dilation,
        numbers,
        precision=precision,
        preferred_element_type=preferred_element_type,
    )
