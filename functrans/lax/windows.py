"""Sliding windows: sums, maxima and minima over them, and the selection that the latter's derivatives are made of.

A maximum's derivative belongs to the element that the window selects: among equal elements the first one, the last
axis counting fastest, and a NaN before any number. (Splitting it among equals, as ``max`` over whole axes does, would
spread the gradient of rectified images, which are full of equal zeros.) The choice is an array of integers, so it is
constant under differentiation, and what is left is linear: gathering from windows and, its transpose, scattering.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans.core import dtypes
from functrans.core.avals import ShapedArray, shaped
from functrans.core.primitive import BatchAxis, Primitive, Sample, Trait, Undefined, Zero
from functrans.core.structural import linear_jvp, zero_of
from functrans.core.trace import aval_of
from functrans.interpreters.batch import materialize
from functrans.lax.convolution import padding_pairs, window_ints
from functrans.lax.convolution_impl import dilated
from functrans.lax.families import accept, no_tangent, tangent_rules
from functrans.lax.windows_impl import WindowGeometry, gather_impl, index_dtype, reduce_impl, scatter_impl, select_impl

ORDERED = "biuf"


def _positions(name: str, x: ShapedArray, geometry: WindowGeometry) -> tuple[int, ...]:
    if any(len(field) != x.ndim for field in geometry):
        raise errors.ShapeError(f"{name}: windows with {len(geometry.window)} axes do not fit an array of type {x}")
    return geometry.positions(x.shape)


def _batch(prim_of: Callable[[], Primitive]) -> Any:
    """The batch rule of an operation of one array: windows do not extend along the new axis."""

    def batch(
        axis: BatchAxis, args: Sequence[Any], dims: Sequence[int], *, geometry: WindowGeometry, **params: Any
    ) -> tuple[Any, int]:
        d = dims[0]
        return prim_of().bind(args[0], geometry=geometry.insert(d), **params), d

    return batch


def _geometry(
    window: tuple[int, ...], strides: Any = None, padding: Any = None, base: Any = None, dilation: Any = None
) -> dict[str, Any]:
    ones = (1,) * len(window)
    return {
        "geometry": WindowGeometry(
            window, strides or ones, padding or ((0, 0),) * len(window), base or ones, dilation or ones
        )
    }


def _samples(order_of_empty: int = 2) -> list[Sample]:
    """Examples; two have windows that hold padding alone, where a maximum is infinite."""
    x = np.sin(7.0 * np.arange(30.0)).reshape(5, 6)
    return [
        Sample((x,), _geometry((2, 3))),
        Sample((x,), _geometry((2, 2), (2, 2))),
        Sample((x,), _geometry((3, 2), (2, 1), ((1, 2), (0, 1)))),
        Sample((x,), _geometry((2, 2), (2, 3), ((1, 1), (-1, 0)), (2, 1), (1, 2))),
        Sample((x,), _geometry((2, 2), (2, 3), ((2, 1), (-1, 0)), (2, 1), (1, 2)), order_of_empty),
        Sample((x[0],), _geometry((3,), (1,), ((4, 0),)), order_of_empty),
        Sample((x[:, :1].astype(np.float32),), _geometry((2, 1))),
        Sample((x.reshape(1, 5, 3, 2),), _geometry((1, 2, 2, 1), (1, 2, 1, 1), ((0, 0), (1, 0), (0, 1), (0, 0)))),
        Sample((x[:2],), _geometry((3, 1))),
        Sample((np.float64(1.5),), _geometry(())),
        Sample((np.zeros((0, 3)),), _geometry((1, 2))),
        Sample((np.arange(12).reshape(3, 4) % 5,), _geometry((2, 2))),
        Sample((x > 0,), _geometry((2, 2), None, ((1, 0), (0, 0)))),
    ]


# -- sums: linear, and each other's transposes -----------------------------------------------------------------------


def _sum_transpose(ct: Any, x: Undefined, *, geometry: WindowGeometry) -> list[Any]:
    return [reduce_window_sum_p.bind(ct, geometry=geometry.transposed(x.aval.shape))]


reduce_window_sum_p: Primitive = Primitive(
    "reduce_window_sum",
    shape=lambda x, *, geometry: shaped(_positions("reduce_window_sum", x, geometry), x.dtype, "array"),
    impl=lambda xp, x, *, geometry: reduce_impl(xp, xp.asarray(x), xp.add, 0, geometry),
    jvp=linear_jvp(lambda: reduce_window_sum_p),
    transpose=_sum_transpose,
    batch=_batch(lambda: reduce_window_sum_p),
    kind="library",
    samples=lambda: [*_samples(), Sample((np.arange(5) * (1 + 1j),), _geometry((2,), (2,), ((1, 0),)))],
)


# -- selection -------------------------------------------------------------------------------------------------------


def _select_shape(x: ShapedArray, *, largest: bool, geometry: WindowGeometry) -> ShapedArray:
    accept("window_select", ORDERED, [x])
    return shaped(_positions("window_select", x, geometry), index_dtype(geometry), "array")


window_select_p: Primitive = Primitive(
    "window_select",
    shape=_select_shape,
    impl=lambda xp, x, *, largest, geometry: select_impl(xp, xp.asarray(x), largest, geometry),
    jvp=no_tangent(lambda: window_select_p),
    batch=_batch(lambda: window_select_p),
    kind="library",
    traits=frozenset({Trait.COSTLY}),
    samples=lambda: [
        s._replace(params={"largest": largest, **s.params}, order=0) for s in _samples() for largest in (True, False)
    ],
)


def _window_batch(
    axis: BatchAxis, args: Sequence[Any], dims: Sequence[int | None], prim: Primitive, **params: Any
) -> tuple[Any, int]:
    x, chosen = (materialize(axis, a, d) for a, d in zip(args, dims, strict=True))
    params["geometry"] = params["geometry"].insert(0)
    return prim.bind(x, chosen, **params), 0


def _check_chosen(name: str, expected: tuple[int, ...], chosen: ShapedArray) -> None:
    if chosen.shape != expected or chosen.dtype.kind not in "iu":
        raise errors.ShapeError(f"{name}: the choice must hold an integer for each of {expected} windows, got {chosen}")


def _gather_shape(x: ShapedArray, chosen: ShapedArray, *, geometry: WindowGeometry) -> ShapedArray:
    _check_chosen("window_gather", _positions("window_gather", x, geometry), chosen)
    return shaped(chosen.shape, x.dtype, "array")


def _gather_transpose(ct: Any, x: Any, chosen: Any, *, geometry: WindowGeometry) -> list[Any]:
    return [window_scatter_p.bind(ct, chosen, shape=x.aval.shape, geometry=geometry), None]


def _chosen_samples(of: str) -> list[Sample]:
    out = []
    for s in _samples():
        (x,), geometry = s.args, s.params["geometry"]
        chosen = select_impl(np, np.asarray(x), True, geometry)
        if of == "gather":
            out.append(Sample((x, chosen), s.params))
        else:
            value = gather_impl(np, np.asarray(x), chosen, geometry)
            out.append(Sample((value, chosen), {"shape": np.shape(x), **s.params}))
    return out


window_gather_p: Primitive = Primitive(
    "window_gather",
    shape=_gather_shape,
    impl=lambda xp, x, chosen, *, geometry: gather_impl(xp, xp.asarray(x), xp.asarray(chosen), geometry),
    jvp=tangent_rules(
        lambda: window_gather_p, lambda t, out, x, chosen, **params: window_gather_p.bind(t, chosen, **params), None
    ),
    transpose=_gather_transpose,
    batch=lambda axis, args, dims, **params: _window_batch(axis, args, dims, window_gather_p, **params),
    kind="library",
    samples=lambda: _chosen_samples("gather"),
)


def _scatter_shape(
    x: ShapedArray, chosen: ShapedArray, *, shape: tuple[int, ...], geometry: WindowGeometry
) -> ShapedArray:
    _check_chosen("window_scatter", x.shape, chosen)
    return shaped(shape, x.dtype, "array")


def _scatter_batch(
    axis: BatchAxis,
    args: Sequence[Any],
    dims: Sequence[int | None],
    *,
    shape: tuple[int, ...],
    geometry: WindowGeometry,
) -> tuple[Any, int]:
    return _window_batch(axis, args, dims, window_scatter_p, shape=(axis.size, *shape), geometry=geometry)


window_scatter_p: Primitive = Primitive(
    "window_scatter",
    shape=_scatter_shape,
    impl=lambda xp, x, chosen, *, shape, geometry: scatter_impl(xp, xp.asarray(x), xp.asarray(chosen), shape, geometry),
    jvp=tangent_rules(
        lambda: window_scatter_p, lambda t, out, x, chosen, **params: window_scatter_p.bind(t, chosen, **params), None
    ),
    transpose=lambda ct, x, chosen, *, shape, geometry: [window_gather_p.bind(ct, chosen, geometry=geometry), None],
    batch=_scatter_batch,
    kind="library",
    samples=lambda: _chosen_samples("scatter"),
)


# -- maxima and minima -----------------------------------------------------------------------------------------------


def _identity(dtype: np.dtype[Any], largest: bool) -> Any:
    """What never changes a maximum; a minimum if not ``largest``."""
    if dtype.kind == "b":
        return not largest
    if dtypes.kind(dtype) == "f":
        return -np.inf if largest else np.inf
    return np.iinfo(dtype).min if largest else np.iinfo(dtype).max


def _extremum(name: str, largest: bool) -> Primitive:
    def shape(x: ShapedArray, *, geometry: WindowGeometry) -> ShapedArray:
        accept(name, ORDERED, [x])
        return shaped(_positions(name, x, geometry), x.dtype, "array")

    def impl(xp: Any, x: Any, *, geometry: WindowGeometry) -> Any:
        x = xp.asarray(x)
        ufunc = xp.maximum if largest else xp.minimum
        return reduce_impl(xp, x, ufunc, _identity(x.dtype, largest), geometry)

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], *, geometry: WindowGeometry) -> tuple[Any, Any]:
        (x,), (t,) = primals, tangents
        out = prim.bind(x, geometry=geometry)
        if isinstance(t, Zero) or not dtypes.is_inexact(aval_of(out).dtype):
            return out, zero_of(out)
        chosen = window_select_p.bind(x, largest=largest, geometry=geometry)
        return out, window_gather_p.bind(t, chosen, geometry=geometry)

    prim = Primitive(
        name, shape=shape, impl=impl, jvp=jvp, batch=_batch(lambda: prim), kind="library", samples=lambda: _samples(0)
    )
    return prim


reduce_window_max_p = _extremum("reduce_window_max", True)
reduce_window_min_p = _extremum("reduce_window_min", False)


# -- functions -------------------------------------------------------------------------------------------------------


def window_geometry(
    name: str,
    x: Any,
    window_dimensions: Any,
    window_strides: Any = None,
    padding: Any = "VALID",
    base_dilation: Any = None,
    window_dilation: Any = None,
) -> WindowGeometry:
    """The windows that the arguments of `reduce_window_sum` describe."""
    shape = aval_of(x).shape
    rank = len(shape)
    window = window_ints(name, "window_dimensions", window_dimensions, rank)
    strides = window_ints(name, "window_strides", window_strides, rank)
    base = window_ints(name, "base_dilation", base_dilation, rank)
    apart = window_ints(name, "window_dilation", window_dilation, rank)
    extents = tuple(dilated(n, d) for n, d in zip(shape, base, strict=True))
    windows = tuple(dilated(k, d) for k, d in zip(window, apart, strict=True))
    return WindowGeometry(window, strides, padding_pairs(name, padding, extents, windows, strides), base, apart)


def reduce_window_sum(
    x: Any,
    window_dimensions: Any,
    window_strides: Any = None,
    padding: Any = "VALID",
    base_dilation: Any = None,
    window_dilation: Any = None,
) -> Any:
    """The sum over each position of a sliding window, in the operand's own dtype; *or* for booleans.

    Args:
        x: an array.
        window_dimensions: the window's extent along each axis of x, or an int for all.
        window_strides: how far neighbouring windows are apart along each axis; 1 if None.
        padding: ``"VALID"`` (windows lie within the array), ``"SAME"`` (``ceil(extent / stride)`` windows),
            ``"SAME_LOWER"``, or a pair (low, high) for each axis. What is padded has no part in the result.
        base_dilation: how far the elements of x are drawn apart; 1 if None.
        window_dilation: how far the elements of the window are drawn apart; 1 if None.

    Returns:
        An array with one element for each window.

    Raises:
        ShapeError: entries that do not fit the axes of x.

    >>> reduce_window_sum(np.arange(6.0), (2,), (2,))
    array([1., 5., 9.])
    """
    geometry = window_geometry(
        "reduce_window_sum", x, window_dimensions, window_strides, padding, base_dilation, window_dilation
    )
    return reduce_window_sum_p.bind(x, geometry=geometry)


def reduce_window_max(
    x: Any,
    window_dimensions: Any,
    window_strides: Any = None,
    padding: Any = "VALID",
    base_dilation: Any = None,
    window_dilation: Any = None,
) -> Any:
    """The maximum over each position of a sliding window; NaN where the window holds one.

    The derivative is that of the first largest element of the window, the last axis counting fastest. A window that
    holds padding alone gives minus infinity (the least integer, False). The arguments are those of `reduce_window_sum`.

    Raises:
        ShapeError: entries that do not fit the axes of x.
        DTypeError: complex numbers, which have no order.

    >>> reduce_window_max(np.array([[1.0, 3.0, 2.0, 5.0]]), (1, 2), (1, 2))
    array([[3., 5.]])
    """
    name = "reduce_window_max"
    accept(name, ORDERED, [aval_of(x)])
    geometry = window_geometry(name, x, window_dimensions, window_strides, padding, base_dilation, window_dilation)
    return reduce_window_max_p.bind(x, geometry=geometry)


def reduce_window_min(
    x: Any,
    window_dimensions: Any,
    window_strides: Any = None,
    padding: Any = "VALID",
    base_dilation: Any = None,
    window_dilation: Any = None,
) -> Any:
    """The minimum over each position of a sliding window; else as `reduce_window_max`.

    >>> reduce_window_min(np.array([4, 3, 2, 5]), (2,))
    array([3, 2, 2])
    """
    name = "reduce_window_min"
    accept(name, ORDERED, [aval_of(x)])
    geometry = window_geometry(name, x, window_dimensions, window_strides, padding, base_dilation, window_dilation)
    return reduce_window_min_p.bind(x, geometry=geometry)


def _largest(name: str, select: str) -> bool:
    if select not in ("max", "min"):
        raise errors.ArgumentError(f"{name}: select must be 'max' or 'min', got {select!r}")
    return select == "max"


def select_and_gather_add(
    tangents: Any,
    operand: Any,
    select: str,
    window_dimensions: Any,
    window_strides: Any = None,
    padding: Any = "VALID",
) -> Any:
    """For each window, the element of ``tangents`` where ``operand`` has the window's first maximum or minimum.

    It is the tangent of `reduce_window_max` or `reduce_window_min`, and linear in ``tangents``.

    Args:
        tangents: an array of the operand's shape.
        operand: what the windows select from.
        select: ``"max"`` or ``"min"``.

    >>> select_and_gather_add(np.array([1.0, 2.0, 3.0]), np.array([5, 7, 7]), "max", (2,))
    array([2., 2.])
    """
    name = "select_and_gather_add"
    largest = _largest(name, select)
    if aval_of(tangents).shape != aval_of(operand).shape:
        raise errors.ShapeError(
            f"{name}: tangents of type {aval_of(tangents)} must have the shape of the operand, {aval_of(operand)}"
        )
    geometry = window_geometry(name, operand, window_dimensions, window_strides, padding)
    chosen = window_select_p.bind(operand, largest=largest, geometry=geometry)
    return window_gather_p.bind(tangents, chosen, geometry=geometry)


def select_and_scatter_add(
    source: Any,
    operand: Any,
    select: str,
    window_dimensions: Any,
    window_strides: Any = None,
    padding: Any = "VALID",
) -> Any:
    """Zeros of the operand's shape, to which each window's element of ``source`` is added where the window selects.

    It is the cotangent of `reduce_window_max` or `reduce_window_min`, and linear in ``source``.

    Args:
        source: an array with one element for each window.
        operand: what the windows select from.
        select: ``"max"`` or ``"min"``.

    >>> select_and_scatter_add(np.array([1.0, 2.0]), np.array([5, 7, 7]), "max", (2,))
    array([0., 3., 0.])
    """
    name = "select_and_scatter_add"
    largest = _largest(name, select)
    geometry = window_geometry(name, operand, window_dimensions, window_strides, padding)
    shape = aval_of(operand).shape
    if aval_of(source).shape != geometry.positions(shape):
        raise errors.ShapeError(
            f"{name}: a source of type {aval_of(source)} does not fit {geometry.positions(shape)} windows"
        )
    chosen = window_select_p.bind(operand, largest=largest, geometry=geometry)
    return window_scatter_p.bind(source, chosen, shape=shape, geometry=geometry)
