"""Arrays of one shape laid beside each other along a new axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans.core import dtypes
from functrans.core.avals import ShapedArray, shaped
from functrans.core.primitive import BatchAxis, Primitive, Sample, Source, Trait, Undefined, Zero
from functrans.core.structural import instantiate, zero_of
from functrans.core.trace import aval_of
from functrans.lax.indexing import FULL, basic_index, batch_first
from functrans.lax.slicing import FUSED_PARTS
from functrans.lax.static import common_dtype, normalize_axis


def _stack_shape(*avals: ShapedArray, axis: int) -> ShapedArray:
    if not avals:
        raise errors.ShapeError("stack: at least one array is needed")
    shape = avals[0].shape
    for i, a in enumerate(avals):
        if a.shape != shape:
            raise errors.ShapeError(
                f"stack: operand {i} has shape {a.shape}, and operand 0 has {shape}: all must agree"
            )
    return shaped((*shape[:axis], len(avals), *shape[axis:]), common_dtype("stack", avals), "array")


def _stack_specialize(xp: Any, avals: Sequence[ShapedArray], *, axis: int) -> Callable[..., Any]:
    if xp is np and not avals[0].shape:
        dtype = common_dtype("stack", avals)
        return lambda *xs: np.array(xs, dtype)
    return lambda *xs: xp.stack([xp.asarray(x) for x in xs], axis)


def _stack_impl(xp: Any, *xs: Any, axis: int) -> Any:
    return _stack_specialize(xp, [aval_of(x) for x in xs], axis=axis)(*xs)


def _stack_jvp(primals: Sequence[Any], tangents: Sequence[Any], *, axis: int) -> tuple[Any, Any]:
    out = stack_p.bind(*primals, axis=axis)
    if all([isinstance(t, Zero) for t in tangents]) or not dtypes.is_inexact(aval_of(out).dtype):
        return out, zero_of(out)
    return out, stack_p.bind(*map(instantiate, tangents), axis=axis)


def _stack_transpose(ct: Any, *operands: Any, axis: int) -> list[Any]:
    lead = (FULL,) * axis
    return [basic_index(ct, (*lead, i)) if isinstance(x, Undefined) else None for i, x in enumerate(operands)]


def _stack_batch(axis_: BatchAxis, args: Sequence[Any], dims: Sequence[int | None], *, axis: int) -> tuple[Any, int]:
    parts = [batch_first(axis_, x, d) for x, d in zip(args, dims, strict=True)]
    return stack_p.bind(*parts, axis=axis + 1), 0


def _stack_index(at: Sequence[Any], *xs: ShapedArray, axis: int) -> Source | None:
    if len(xs) > FUSED_PARTS or not xs[0].shape:
        return None
    found: Source | None = None
    for k in range(len(xs) - 1, -1, -1):
        found = Source(k, (*at[:axis], *at[axis + 1 :]), ((at[axis], k, k + 1),), found)
    return found


stack_p: Primitive = Primitive(
    "stack",
    index=_stack_index,
    shape=_stack_shape,
    impl=_stack_impl,
    specialize=_stack_specialize,
    jvp=_stack_jvp,
    transpose=_stack_transpose,
    batch=_stack_batch,
    kind="library",
    traits=frozenset({Trait.MOVEMENT}),
    samples=lambda: [
        Sample((np.arange(6.0).reshape(2, 3), np.ones((2, 3))), {"axis": 1}),
        Sample((np.arange(3.0, dtype=np.float32), np.ones(3, np.float32), np.zeros(3, np.float32)), {"axis": 0}),
        Sample((np.float64(0.5), np.float64(-1.5), np.array(2.0)), {"axis": 0}),
        Sample((1.5, np.float64(0.5)), {"axis": 0}),
        Sample((np.arange(2) * 1j, np.ones(2, complex)), {"axis": 1}),
        Sample((np.arange(3), np.arange(3)), {"axis": 0}),
        Sample((np.True_, np.False_), {"axis": 0}),
        Sample((np.zeros((0, 2)),), {"axis": 0}),
    ],
)


def stack(arrays: Sequence[Any], axis: int = 0) -> Any:
    """Arrays of one shape and dtype joined along a new axis; numbers give a vector.

    Raises:
        ShapeError: the shapes differ, there is no array, or the result has no such axis.
        DTypeError: the dtypes differ.

    >>> stack([np.zeros(2), np.ones(2)], axis=1)
    array([[0., 1.],
           [0., 1.]])
    """
    avals = [aval_of(x) for x in arrays]
    at = normalize_axis("stack", axis, avals[0].ndim + 1) if avals else 0
    _stack_shape(*avals, axis=at)
    return stack_p.bind(*arrays, axis=at)
