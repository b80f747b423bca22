"""Choosing between values element by element, and cutting derivatives off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans.core import dtypes
from functrans.core.avals import ShapedArray, shaped
from functrans.core.primitive import Primitive, Sample, Trait, Undefined, Zero
from functrans.core.structural import (
    broadcast_shapes,
    broadcast_to,
    convert,
    elementwise_aval,
    elementwise_batch,
    match,
    unbroadcast,
    zero_of,
)
from functrans.core.trace import aval_of
from functrans.core.tree import tree_map
from functrans.lax.compare import le

# -- select -------------------------------------------------------------------------------------------------------


def _select_shape(pred: ShapedArray, x: ShapedArray, y: ShapedArray) -> ShapedArray:
    if pred.dtype.kind != "b":
        raise errors.DTypeError(f"select: the predicate must be boolean, got {pred}. Write ne(pred, 0)")
    aval = elementwise_aval("select", (x, y))
    return shaped(broadcast_shapes("select", pred.shape, aval.shape), aval.dtype, "array")


def _select_jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    pred, x, y = primals
    _, t, s = tangents
    out = select_p.bind(pred, x, y)
    aval = aval_of(out)
    if not dtypes.is_inexact(aval.dtype) or (isinstance(t, Zero) and isinstance(s, Zero)):
        return out, zero_of(out)
    t = 0.0 if isinstance(t, Zero) else convert(t, aval.dtype)
    s = 0.0 if isinstance(s, Zero) else convert(s, aval.dtype)
    return out, match(select_p.bind(pred, t, s), aval)


def _select_transpose(ct: Any, pred: Any, x: Any, y: Any) -> list[Any]:
    return [
        None,
        unbroadcast(select_p.bind(pred, ct, 0.0), x.aval) if isinstance(x, Undefined) else None,
        unbroadcast(select_p.bind(pred, 0.0, ct), y.aval) if isinstance(y, Undefined) else None,
    ]


def _select_samples() -> list[Sample]:
    pred = np.array([[True, False, True], [False, False, True]])
    x = np.array([[0.5, -1.5, 2.0], [1.25, 3.0, -0.75]])
    y = np.array([1.5, -0.5, 2.5])
    return [
        Sample((pred, x, y)),
        Sample((pred[0], x, y)),
        Sample((pred[:, :1], x[0], y)),
        Sample((pred, x.astype(np.float32), 0.0)),
        Sample((pred, 1.5, y)),
        Sample((pred, 1.5, 2.5)),
        Sample((True, x, y)),
        Sample((np.bool_(False), np.float64(0.5), np.float64(1.5))),
        Sample((pred, x + 1j * x[::-1], 0.0)),
        Sample((pred[:0], x[:0], y)),
        Sample((pred, np.arange(3), 7)),
        Sample((pred, pred[::-1], True)),
    ]


select_p: Primitive = Primitive(
    "select",
    shape=_select_shape,
    impl=lambda xp, pred, x, y: xp.where(pred, x, y),
    scalar="where",
    jvp=_select_jvp,
    transpose=_select_transpose,
    batch=elementwise_batch(lambda: select_p),
    samples=_select_samples,
    safe=None,
    traits=frozenset({Trait.ELEMENTWISE}),
)


def select(pred: Any, on_true: Any, on_false: Any) -> Any:
    """``on_true`` where ``pred`` holds, ``on_false`` elsewhere, as ``np.where`` with three arguments.

    The three broadcast. The derivative flows to the chosen value alone. The other one was computed all the same: an
    infinite derivative on its way, times the zero that flows there, gives NaN. Guard the operand then, not the
    result: ``log(select(gt(x, 0), x, 1.0))``.

    Args:
        pred: booleans.
        on_true: an array or number.
        on_false: one of the same dtype.

    Returns:
        An array of the common shape; a 0-d result is a 0-d array.

    >>> select(np.array([True, False]), np.array([1.0, 2.0]), 0.0)
    array([1., 0.])
    """
    return select_p.bind(pred, on_true, on_false)


where = select


def select_n(which: Any, *cases: Any) -> Any:
    """The element of ``cases[which]``, for each element of ``which``.

    Args:
        which: booleans for two cases (False chooses the first), or integers. An integer below zero chooses the
            first case, one past the end the last.
        cases: arrays of one dtype; all operands broadcast.

    >>> select_n(np.array([2, 0, 1]), np.array([1, 2, 3]), 10, 20)
    array([20,  2, 10])
    """
    if not cases:
        raise errors.ArgumentError("select_n: at least one case is needed, got none")
    kind = aval_of(which).dtype.kind
    if kind == "b":
        if len(cases) > 2:
            raise errors.DTypeError(f"select_n: booleans choose between two cases, got {len(cases)}; pass integers")
    elif kind not in "iu":
        raise errors.DTypeError(f"select_n: `which` must hold booleans or integers, got {aval_of(which)}")
    if len(cases) == 1:
        shape = broadcast_shapes("select_n", aval_of(which).shape, aval_of(cases[0]).shape)
        return broadcast_to(convert(cases[0], aval_of(cases[0]).dtype), shape)
    if kind == "b":
        return select_p.bind(which, cases[1], cases[0])
    out = cases[-1]
    for k in range(len(cases) - 2, -1, -1):
        out = select_p.bind(le(which, k), cases[k], out)
    return out


# -- stop_gradient --------------------------------------------------------------------------------------------------


def _stop_jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Zero]:
    out = stop_gradient_p.bind(*primals)
    return out, zero_of(out)


stop_gradient_p: Primitive = Primitive(
    "stop_gradient",
    shape=lambda x: x,
    # A copy: under a gradient the value may be the residual of another operation, and the user may write to this one.
    impl=lambda xp, x: x.copy() if hasattr(x, "copy") else x,
    jvp=_stop_jvp,
    batch=lambda axis, args, dims: (stop_gradient_p.bind(*args), dims[0]),
    kind="library",
    samples=lambda: [
        Sample((np.array([0.5, -1.0]),), order=0),
        Sample((2.5,), order=0),
        Sample((np.array(1 + 2j),), order=0),
        Sample((np.arange(3),)),
    ],
    safe=None,
    traits=frozenset({Trait.ELEMENTWISE}),
)


def stop_gradient(x: Any) -> Any:
    """``x`` as a constant to every derivative: the value itself, with derivative zero in every mode.

    Args:
        x: an array, or a pytree of arrays.

    >>> stop_gradient({"w": 2.0})
    {'w': 2.0}
    """
    return tree_map(stop_gradient_p.bind, x)
