"""The primitives that the interpreters themselves need: boxing, casting, broadcasting, adding, moving axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from operator import methodcaller
from typing import Any

import numpy as np

from functrans import errors
from functrans.core import dtypes
from functrans.core.avals import Box, ShapedArray, shaped
from functrans.core.dtypes import DType
from functrans.core.primitive import BatchAxis, Primitive, Sample, Source, Trait, Undefined, Zero
from functrans.core.trace import aval_of, current_trace

# -- linear operations of one operand ---------------------------------------------------------------------------


def linear_jvp(prim_of: Any) -> Any:
    """The JVP of an operation that is linear in its only operand: the operation itself, on the tangent."""

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        prim = prim_of()
        out = prim.bind(*primals, **params)
        (t,) = tangents
        if isinstance(t, Zero):
            return out, zero_of(out)
        out_t = prim.bind(t, **params)
        if not dtypes.is_inexact(aval_of(out_t).dtype):
            return out, zero_of(out)
        return out, out_t

    return jvp


def zero_of(value: Any) -> Zero:
    """The symbolic zero tangent of a value."""
    return Zero(aval_of(value).tangent())


# rebox: how a 0-d value is boxed. ---------------------------------------------------------------------------------


def _rebox_impl(xp: Any, x: Any, *, box: Box) -> Any:
    if box == "python":
        return x.item() if hasattr(x, "item") else x
    if box == "numpy" and isinstance(x, (np.ndarray, bool, int, float, complex)):
        return np.asarray(x)[()]
    if box == "numpy":
        return x
    return xp.asarray(x)


def _rebox_specialize(xp: Any, avals: Sequence[ShapedArray], *, box: Box) -> Any:
    if box == "python" and avals[0].box != "python" and xp is np:
        return np.generic.item if avals[0].box == "numpy" else np.ndarray.item
    return lambda x: _rebox_impl(xp, x, box=box)


rebox_p: Primitive = Primitive(
    "rebox",
    shape=lambda x, *, box: x.update(box=box),
    impl=_rebox_impl,
    specialize=_rebox_specialize,
    jvp=linear_jvp(lambda: rebox_p),
    transpose=lambda ct, x, *, box: [rebox(ct, "array" if x.aval.box == "array" else "numpy")],
    batch=lambda axis, args, dims, *, box: (args[0], dims[0]),
    traits=frozenset({Trait.MOVEMENT, Trait.VIEW}),
    kind="library",
    samples=lambda: [Sample((np.float64(0.5),), {"box": b}) for b in ("python", "numpy", "array")],
)


def rebox(x: Any, box: Box) -> Any:
    """A 0-d value boxed as a Python number, a NumPy scalar or a 0-d array; other values unchanged."""
    aval = aval_of(x)
    return x if aval.shape != () or aval.box == box else rebox_p.bind(x, box=box)


# convert: casts. --------------------------------------------------------------------------------------------------


def _convert_shape(x: ShapedArray, *, dtype: DType) -> ShapedArray:
    return shaped(x.shape, dtype, "numpy" if x.box == "python" else x.box)


def _convert_impl(xp: Any, x: Any, *, dtype: DType) -> Any:
    if isinstance(x, (bool, int, float, complex)):
        if isinstance(x, complex) and dtype.kind != "c":
            x = x.real
        return np.asarray(x, dtype)[()]
    if x.dtype.kind == "c" and dtype.kind not in "cb":
        x = x.real
    return x.astype(dtype)


def _convert_transpose(ct: Any, x: Undefined, *, dtype: DType) -> list[Any]:
    return [convert(ct, x.aval.dtype)]


def _convert_jvp(primals: Sequence[Any], tangents: Sequence[Any], *, dtype: DType) -> tuple[Any, Any]:
    (x,), (t,) = primals, tangents
    out = convert_p.bind(x, dtype=dtype)
    if isinstance(t, Zero) or not dtypes.is_inexact(dtype):
        return out, zero_of(out)
    return out, convert_p.bind(t, dtype=dtype)


def _convert_specialize(xp: Any, avals: Sequence[ShapedArray], *, dtype: DType) -> Callable[[Any], Any]:
    """A cast without the questions that the types answer."""
    (x,) = avals
    if x.dtype.kind == "c" and dtype.kind not in "cb":
        return partial(_convert_impl, xp, dtype=dtype)
    return dtype.type if x.box == "python" else methodcaller("astype", dtype)


convert_p: Primitive = Primitive(
    "convert",
    shape=_convert_shape,
    impl=_convert_impl,
    specialize=_convert_specialize,
    jvp=_convert_jvp,
    transpose=_convert_transpose,
    batch=lambda axis, args, dims, *, dtype: (convert_p.bind(args[0], dtype=dtype), dims[0]),
    safe=None,
    traits=frozenset({Trait.ELEMENTWISE}),
    kind="library",
    samples=lambda: [
        Sample((np.linspace(-1, 1, 4),), {"dtype": np.dtype(np.complex128)}),
        Sample((np.linspace(-1, 1, 4).astype(np.float32),), {"dtype": np.dtype(np.float64)}),
        Sample((np.array([1 + 2j, 3 - 1j]),), {"dtype": np.dtype(np.float64)}),
        Sample((np.arange(3),), {"dtype": np.dtype(np.float32)}),
        Sample((2.5,), {"dtype": np.dtype(np.float64)}),
    ],
)


def convert(x: Any, dtype: Any) -> Any:
    """``x`` with another dtype; ``x`` itself where it has that dtype already and is no weak Python number."""
    aval = aval_of(x)
    dtype = dtypes.canonical(np.dtype(dtype))
    if aval.dtype == dtype and aval.box != "python":
        return x
    return convert_p.bind(x, dtype=dtype)


# broadcast: new and repeated axes. -----------------------------------------------------------------------------


def _broadcast_shape(x: ShapedArray, *, shape: tuple[Any, ...], dims: tuple[int, ...]) -> ShapedArray:
    if len(dims) != x.ndim or list(dims) != sorted(set(dims)) or any(not 0 <= d < len(shape) for d in dims):
        raise errors.ShapeError(
            f"broadcast: dims must name one axis of the result, in increasing order, for each of the {x.ndim} axes "
            f"of the operand; got dims={dims} for shapes {x.shape} and {shape}"
        )
    for extent, d in zip(x.shape, dims, strict=True):
        if extent != shape[d] and extent != 1:
            raise errors.ShapeError(f"broadcast: shape {x.shape} does not fit axes {dims} of shape {shape}")
    return shaped(shape, x.dtype, "array")


def _broadcast_impl(xp: Any, x: Any, *, shape: tuple[int, ...], dims: tuple[int, ...]) -> Any:
    x = xp.asarray(x)
    if len(dims) != len(shape) and dims != tuple(range(len(shape) - len(dims), len(shape))):
        inner = [1] * len(shape)
        for extent, d in zip(x.shape, dims, strict=True):
            inner[d] = extent
        x = x.reshape(inner)
    return xp.broadcast_to(x, shape)


_FILLED_ELEMENTS = 1 << 14


def _broadcast_specialize(
    xp: Any, avals: Sequence[ShapedArray], *, shape: tuple[Any, ...], dims: tuple[int, ...]
) -> Any:
    """Up to some size, filling a new array: ``np.broadcast_to`` takes several microseconds to make a view."""
    if xp is not np or not all(type(n) is int for n in shape) or math.prod(shape) > _FILLED_ELEMENTS:
        return lambda x: _broadcast_impl(xp, x, shape=shape, dims=dims)
    dtype, empty = avals[0].dtype, np.empty
    inner = [1] * len(shape)
    for extent, d in zip(avals[0].shape, dims, strict=True):
        inner[d] = extent
    trailing = dims == tuple(range(len(shape) - len(dims), len(shape)))

    def fill(x: Any) -> Any:
        out = empty(shape, dtype)
        out[...] = x if trailing else x.reshape(inner)
        return out

    return fill


def _broadcast_transpose(ct: Any, x: Undefined, *, shape: tuple[int, ...], dims: tuple[int, ...]) -> list[Any]:
    new = tuple(d for d in range(len(shape)) if d not in dims)
    ct = reduce_sum(ct, new)
    ones = tuple(i for i, d in enumerate(dims) if x.aval.shape[i] != shape[d])
    if ones:
        ct = broadcast(reduce_sum(ct, ones), x.aval.shape, [i for i in range(x.aval.ndim) if i not in ones])
    return [convert(ct, x.aval.dtype)]


def _broadcast_batch(axis: BatchAxis, args: Sequence[Any], dims_in: Sequence[int], *, shape: Any, dims: Any) -> Any:
    x = move_axis(args[0], dims_in[0], 0)
    return broadcast_p.bind(x, shape=(axis.size, *shape), dims=(0, *(d + 1 for d in dims))), 0


broadcast_p: Primitive = Primitive(
    "broadcast",
    shape=_broadcast_shape,
    impl=_broadcast_impl,
    specialize=_broadcast_specialize,
    index=lambda at, x, *, shape, dims: Source(
        0, tuple([at[d] if extent == shape[d] else 0 for extent, d in zip(x.shape, dims, strict=True)])
    ),
    jvp=linear_jvp(lambda: broadcast_p),
    transpose=_broadcast_transpose,
    batch=_broadcast_batch,
    traits=frozenset({Trait.MOVEMENT, Trait.VIEW}),
    kind="library",
    samples=lambda: [
        Sample((np.array([1.0, 2.0, 3.0]),), {"shape": (2, 3), "dims": (1,)}),
        Sample((np.array([1.0, 2.0]),), {"shape": (2, 3), "dims": (0,)}),
        Sample((np.ones((1, 3)),), {"shape": (2, 3), "dims": (0, 1)}),
        Sample((np.float64(2.0),), {"shape": (2, 0), "dims": ()}),
        Sample((1.5,), {"shape": (2,), "dims": ()}),
    ],
)


def broadcast(x: Any, shape: Sequence[Any], dims: Sequence[int]) -> Any:
    """``x`` laid along the axes ``dims`` of an array of the given shape, and repeated along the others."""
    shape, dims = tuple(shape), tuple(dims)
    aval = aval_of(x)
    if aval.shape == shape and (shape != () or aval.box == "array"):
        return x
    return broadcast_p.bind(x, shape=shape, dims=dims)


def broadcast_to(x: Any, shape: Sequence[Any]) -> Any:
    """``x`` broadcast to a shape as NumPy does, aligning the last axes."""
    ndim = len(aval_of(x).shape)
    if ndim > len(shape):
        raise errors.ShapeError(f"broadcast_to: an array of shape {aval_of(x).shape} cannot have shape {tuple(shape)}")
    return broadcast(x, shape, range(len(shape) - ndim, len(shape)))


# transpose: permuted axes. -----------------------------------------------------------------------------------------


def _transpose_shape(x: ShapedArray, *, axes: tuple[int, ...]) -> ShapedArray:
    if sorted(axes) != list(range(x.ndim)):
        raise errors.ShapeError(f"transpose: axes={axes} is no permutation of the {x.ndim} axes of shape {x.shape}")
    return shaped(tuple(x.shape[a] for a in axes), x.dtype, "array")


def _transpose_batch(axis: BatchAxis, args: Sequence[Any], dims: Sequence[int], *, axes: tuple[int, ...]) -> Any:
    d = dims[0]
    return transpose_p.bind(args[0], axes=(d, *(a + (a >= d) for a in axes))), 0


transpose_p: Primitive = Primitive(
    "transpose",
    shape=_transpose_shape,
    impl=lambda xp, x, *, axes: xp.transpose(xp.asarray(x), axes),
    specialize=lambda xp, avals, *, axes: (
        (lambda x: x.transpose(axes)) if avals[0].box == "array" else (lambda x: xp.transpose(xp.asarray(x), axes))
    ),
    index=lambda at, x, *, axes: Source(0, tuple([at[axes.index(d)] for d in range(x.ndim)])),
    jvp=linear_jvp(lambda: transpose_p),
    transpose=lambda ct, x, *, axes: [transpose(ct, tuple(int(a) for a in np.argsort(axes)))],
    batch=_transpose_batch,
    traits=frozenset({Trait.MOVEMENT, Trait.VIEW}),
    kind="library",
    samples=lambda: [
        Sample((np.arange(6.0).reshape(1, 2, 3),), {"axes": (2, 0, 1)}),
        Sample((np.zeros((0, 2)),), {"axes": (1, 0)}),
        Sample((np.array(2.0),), {"axes": ()}),
    ],
)


def transpose(x: Any, axes: Sequence[int]) -> Any:
    """``x`` with its axes permuted."""
    axes = tuple(axes)
    return x if axes == tuple(range(len(axes))) and aval_of(x).box == "array" else transpose_p.bind(x, axes=axes)


def move_axis(x: Any, source: int | None, destination: int) -> Any:
    """``x`` with one axis moved."""
    assert source is not None
    ndim = aval_of(x).ndim
    source, destination = source % ndim, destination % ndim
    if source == destination:
        return x
    axes = [a for a in range(ndim) if a != source]
    axes.insert(destination, source)
    return transpose(x, axes)


# sum: the transpose of broadcasting. ---------------------------------------------------------------------------------


def check_axes(name: str, ndim: int, axes: tuple[int, ...]) -> None:
    """Reject axes of a reduction that are not distinct axes of the operand."""
    if len(set(axes)) != len(axes) or any(not 0 <= a < ndim for a in axes):
        raise errors.ShapeError(f"{name}: axes={axes} must be distinct axes of an array with {ndim} axes")


def reduced_shape(name: str, x: ShapedArray, axes: tuple[int, ...]) -> tuple[Any, ...]:
    """The shape that remains when axes are reduced."""
    check_axes(name, x.ndim, axes)
    return tuple(extent for a, extent in enumerate(x.shape) if a not in axes)


def _sum_transpose(ct: Any, x: Undefined, *, axes: tuple[int, ...]) -> list[Any]:
    kept = [a for a in range(x.aval.ndim) if a not in axes]
    return [broadcast(ct, x.aval.shape, kept)]


def shift_axes(axes: tuple[int, ...], d: int) -> tuple[int, ...]:
    """The axes of an array after a batch dimension was inserted at ``d``."""
    return tuple(a + (a >= d) for a in axes)


def _sum_batch(axis: BatchAxis, args: Sequence[Any], dims: Sequence[int], *, axes: tuple[int, ...]) -> Any:
    d = dims[0]
    return sum_p.bind(args[0], axes=shift_axes(axes, d)), d - sum(a < d for a in axes)


def _sum_impl(xp: Any, x: Any, *, axes: tuple[int, ...]) -> Any:
    x = xp.asarray(x)
    return xp.add.reduce(x, axis=axes, dtype=x.dtype) if xp is np else xp.sum(x, axes, dtype=x.dtype)


def _sum_specialize(xp: Any, avals: Sequence[ShapedArray], *, axes: tuple[int, ...]) -> Any:
    dtype = avals[0].dtype
    if xp is not np or avals[0].box == "python":
        return lambda x: _sum_impl(xp, x, axes=axes)
    reduce = np.add.reduce
    axis: Any = axes[0] if len(axes) == 1 else axes
    return lambda x: reduce(x, axis, dtype)


sum_p: Primitive = Primitive(
    "sum",
    shape=lambda x, *, axes: shaped(reduced_shape("sum", x, axes), x.dtype, "numpy"),
    impl=_sum_impl,
    specialize=_sum_specialize,
    jvp=linear_jvp(lambda: sum_p),
    transpose=_sum_transpose,
    batch=_sum_batch,
    traits=frozenset({Trait.REDUCTION}),
    kind="library",
    monoid="add",
    samples=lambda: [
        Sample((np.arange(6.0).reshape(2, 3),), {"axes": (0,)}),
        Sample((np.arange(24.0).reshape(2, 3, 4),), {"axes": (0, 2)}),
        Sample((np.arange(3.0),), {"axes": (0,)}),
        Sample((np.arange(3.0),), {"axes": ()}),
        Sample((np.zeros((0, 3)),), {"axes": (0,)}),
        Sample((np.array([1 + 1j, 2 - 1j]),), {"axes": (0,)}),
        Sample((np.arange(4, dtype=np.int8),), {"axes": (0,)}),
    ],
)


def reduce_sum(x: Any, axes: Sequence[int]) -> Any:
    """The sum over the given axes, in the operand's own dtype."""
    axes = tuple(axes)
    return x if not axes else sum_p.bind(x, axes=axes)


# add: accumulation of cotangents and of tangents. --------------------------------------------------------------


def unbroadcast(ct: Any, aval: ShapedArray) -> Any:
    """A cotangent of the result of a broadcasting operation as one of its operand: summed, and cast back."""
    shape = aval_of(ct).shape
    if shape != aval.shape:
        lead = len(shape) - aval.ndim
        ones = [a for a in range(aval.ndim) if aval.shape[a] != shape[a + lead]]
        ct = reduce_sum(ct, [*range(lead), *(a + lead for a in ones)])
        if ones:
            ct = broadcast(ct, aval.shape, [a for a in range(aval.ndim) if a not in ones])
    return convert(ct, aval.dtype)


def match(t: Any, aval: ShapedArray) -> Any:
    """A tangent of an operand as one of the result: cast and broadcast as the operation did with the operand."""
    t = convert(t, aval.dtype)
    return t if aval_of(t).shape == aval.shape else broadcast_to(t, aval.shape)


def elementwise_aval(name: str, avals: Sequence[ShapedArray]) -> ShapedArray:
    """Shape and dtype of an elementwise operation: shapes broadcast, strong operands agree, weak ones adopt."""
    shape: tuple[Any, ...] | None = None
    dtype: DType | None = None
    uniform = True
    for a in avals:
        if shape is None:
            shape = a.shape
        elif shape != a.shape:
            uniform = False
        if not a.weak:
            if dtype is None:
                dtype = a.dtype
            elif dtype != a.dtype:
                raise errors.DTypeError(
                    f"{name}: operands of types {', '.join(map(str, avals))} must have one dtype. "
                    f"functrans.numpy promotes as NumPy does; functrans.lax wants an explicit x.astype(dtype)"
                )
    if not uniform:
        shape = broadcast_shapes(name, *(a.shape for a in avals))
    if dtype is None:
        dtype = max((a.dtype for a in avals), key=lambda d: "biufc".index(d.kind))
    else:
        for a in avals:
            if a.weak and "biufc".index(a.dtype.kind) > "biufc".index(dtypes.kind(dtype)):
                number = {"i": "int", "f": "float", "c": "complex"}[a.dtype.kind]
                raise errors.DTypeError(f"{name}: a Python {number} does not fit the dtype {dtype}")
    assert shape is not None
    return shaped(shape, dtype, "numpy")


def broadcast_shapes(name: str, *shapes: tuple[Any, ...]) -> tuple[Any, ...]:
    """The common shape that NumPy's broadcasting gives; ShapeError if there is none."""
    ndim = max((len(s) for s in shapes), default=0)
    result: list[Any] = [1] * ndim
    for s in shapes:
        for i, extent in enumerate(s, start=ndim - len(s)):
            if result[i] == 1:
                result[i] = extent
            elif extent not in (1, result[i]):
                raise errors.ShapeError(
                    f"{name}: shapes {' and '.join(map(str, shapes))} do not broadcast: axis {i - ndim} has extents "
                    f"{result[i]} and {extent}. Insert axes of extent 1 where they should align (x[:, None])"
                )
    return tuple(result)


def align_batched(axis: BatchAxis, args: Sequence[Any], dims: Sequence[int | None]) -> list[Any]:
    """Operands of a broadcasting operation with every batch dimension first and the ranks made equal behind it."""
    ndim = max(aval_of(a).ndim - (d is not None) for a, d in zip(args, dims, strict=True))
    out = []
    for a, d in zip(args, dims, strict=True):
        if d is not None:
            a = move_axis(a, d, 0)
            shape = aval_of(a).shape
            if len(shape) - 1 < ndim:
                new = (shape[0], *(1,) * (ndim - len(shape) + 1), *shape[1:])
                a = broadcast(a, new, [0, *range(ndim - len(shape) + 2, ndim + 1)])
        out.append(a)
    return out


def elementwise_batch(prim_of: Any) -> Any:
    """The batch rule of a broadcasting elementwise operation."""

    def batch(axis: BatchAxis, args: Sequence[Any], dims: Sequence[int | None], **params: Any) -> tuple[Any, int]:
        prim = prim_of()
        first = next(d for d in dims if d is not None)
        ndims = {aval_of(a).ndim for a in args}
        if all(d == first for d in dims) and len(ndims) == 1:
            return prim.bind(*args, **params), first
        return prim.bind(*align_batched(axis, args, dims), **params), 0

    return batch


def _add_jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    out = add_p.bind(*primals)
    aval = aval_of(out)
    live = [match(t, aval) for t in tangents if not isinstance(t, Zero)]
    return out, (zero_of(out) if not live else live[0] if len(live) == 1 else add_p.bind(*live))


add_p: Primitive = Primitive(
    "add",
    shape=lambda x, y: elementwise_aval("add", (x, y)),
    impl=lambda xp, x, y: xp.add(x, y),
    scalar="add",
    jvp=_add_jvp,
    transpose=lambda ct, x, y: [unbroadcast(ct, a.aval) if isinstance(a, Undefined) else None for a in (x, y)],
    batch=elementwise_batch(lambda: add_p),
    safe=None,
    traits=frozenset({Trait.ELEMENTWISE, Trait.COMMUTATIVE}),
    samples=lambda: [
        Sample((np.array([1.0, -2.0]), np.array([0.5, 3.0]))),
        Sample((np.ones((2, 1)), np.ones(3))),
        Sample((np.float32(1.5), 2.0)),
        Sample((np.arange(3), 2)),
        Sample((np.array([1 + 1j]), np.array([2.0 - 1j]))),
    ],
)


def add(x: Any, y: Any) -> Any:
    """The sum of two values of one type."""
    return add_p.bind(x, y)


def zeros(aval: ShapedArray) -> Any:
    """Zeros of a type, as a broadcast scalar; of float0, an empty-handed NumPy array."""
    if aval.dtype == dtypes.float0:
        return np.zeros(aval.shape, dtypes.float0)
    zero = aval.dtype.type(0)
    if aval.shape == ():
        if aval.box == "python":
            return zero.item()
        return zero if aval.box == "numpy" else rebox(zero, "array")
    return broadcast(zero, aval.shape, ())


def ones(aval: ShapedArray) -> Any:
    """Ones of a type: the cotangent that ``grad`` starts from."""
    one = aval.dtype.type(1)
    return one if aval.shape == () else broadcast(one, aval.shape, ())


def instantiate(value: Any) -> Any:
    """A symbolic zero as an array; anything else unchanged."""
    return zeros(value.aval) if isinstance(value, Zero) else value


def is_traced() -> bool:
    """Whether a transformation is running."""
    return current_trace() is not None
