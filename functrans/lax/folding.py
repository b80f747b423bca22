"""Reductions by any function of two elements, and those by the bits of integers."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans.core.avals import ShapedArray, shaped
from functrans.core.primitive import BatchAxis, Primitive, Sample, Trait
from functrans.core.structural import broadcast_to, rebox, reduced_shape, shift_axes
from functrans.core.trace import aval_of
from functrans.core.tree import tree_flatten, tree_structure, treedef_is_leaf
from functrans.interpreters.batch import batch_flat, materialize
from functrans.lax.arithmetic import add, mul
from functrans.lax.compare import bitwise_and, bitwise_or, bitwise_xor
from functrans.lax.families import accept, no_tangent
from functrans.lax.magnitude import max as larger
from functrans.lax.magnitude import min as smaller
from functrans.lax.movement import reshape, squeeze
from functrans.lax.reduction import merge_axes, reduce_max, reduce_min, reduce_prod, reduce_sum
from functrans.lax.slicing import concatenate, slice_in_dim
from functrans.lax.static import normalize_axes

Axes = tuple[int, ...]

# -- bits -----------------------------------------------------------------------------------------------------------


def _folded(xp: Any, ufunc: str, x: Any, axes: Axes) -> Any:
    """The reduction by a ufunc: by halves where a module has none."""
    if xp is np:
        return getattr(np, ufunc).reduce(x, axis=axes)
    function = getattr(xp, ufunc)
    for axis in sorted(axes, reverse=True):
        x = xp.moveaxis(x, axis, 0)
        while len(x) > 1:
            half = len(x) // 2
            x = xp.concatenate([function(x[:half], x[half : 2 * half]), x[2 * half :]])
        x = x[0] if len(x) else xp.full(x.shape[1:], getattr(np, ufunc).identity, x.dtype)
    return x


def _bitwise(name: str, ufunc: str) -> Primitive:
    def infer(x: ShapedArray, *, axes: Axes) -> ShapedArray:
        accept(name, "biu", [x])
        return shaped(reduced_shape(name, x, axes), x.dtype, "numpy")

    def batch(axis: BatchAxis, args: Sequence[Any], dims: Sequence[int], *, axes: Axes) -> Any:
        d = dims[0]
        return prim.bind(args[0], axes=shift_axes(axes, d)), d - sum(a < d for a in axes)

    def prim_of() -> Primitive:
        return prim

    x = np.array([[[7, 3], [-2, 5]], [[1, 0], [12, -6]]], np.int16)
    prim = Primitive(
        name,
        shape=infer,
        impl=lambda xp, x, *, axes: _folded(xp, ufunc, xp.asarray(x), axes),
        jvp=no_tangent(prim_of),
        batch=batch,
        kind="library",
        traits=frozenset({Trait.REDUCTION}),
        samples=lambda: [
            Sample((x,), {"axes": (1,)}),
            Sample((x.astype(np.uint8),), {"axes": (0, 2)}),
            Sample((x[0] > 2,), {"axes": (0, 1)}),
            Sample((x[:, :0],), {"axes": (1,)}),
            Sample((np.int64(6),), {"axes": ()}),
        ],
    )
    return prim


def _checked(name: str, x: Any, axes: Any) -> Axes:
    accept(name, "biu", [aval_of(x)])
    return normalize_axes(name, axes, aval_of(x).ndim)


reduce_and_p: Primitive = _bitwise("reduce_and", "bitwise_and")
reduce_or_p: Primitive = _bitwise("reduce_or", "bitwise_or")
reduce_xor_p: Primitive = _bitwise("reduce_xor", "bitwise_xor")


def reduce_and(x: Any, axes: Any = None) -> Any:
    """The bits that are set in all integers along ``axes`` (all of them if None); of booleans, whether all are true.

    Without elements every bit is set.

    >>> reduce_and(np.array([[6, 3], [5, 7]]), (1,))
    array([2, 5])
    """
    return reduce_and_p.bind(x, axes=_checked("reduce_and", x, axes))


def reduce_or(x: Any, axes: Any = None) -> Any:
    """The bits that are set in some integer along ``axes`` (all of them if None); of booleans, whether one is true.

    >>> reduce_or(np.array([[6, 3], [5, 8]]), (1,))
    array([ 7, 13])
    """
    return reduce_or_p.bind(x, axes=_checked("reduce_or", x, axes))


def reduce_xor(x: Any, axes: Any = None) -> Any:
    """The bits that are set in an odd number of integers along ``axes`` (all of them if None); of booleans likewise.

    >>> reduce_xor(np.array([[6, 3], [5, 5]]), (1,))
    array([5, 0])
    """
    return reduce_xor_p.bind(x, axes=_checked("reduce_xor", x, axes))


# -- any function ---------------------------------------------------------------------------------------------------

KNOWN: dict[Callable[..., Any], tuple[Callable[..., Any], Callable[..., Any]]] = {
    add: (reduce_sum, add),
    mul: (reduce_prod, mul),
    larger: (reduce_max, larger),
    smaller: (reduce_min, smaller),
    bitwise_and: (reduce_and, bitwise_and),
    bitwise_or: (reduce_or, bitwise_or),
    bitwise_xor: (reduce_xor, bitwise_xor),
    np.add: (reduce_sum, add),
    np.multiply: (reduce_prod, mul),
    np.maximum: (reduce_max, larger),
    np.minimum: (reduce_min, smaller),
    operator.add: (reduce_sum, add),
    operator.mul: (reduce_prod, mul),
}


def reduce(operands: Any, init_values: Any, computation: Callable[[Any, Any], Any], dimensions: Sequence[int]) -> Any:
    """Arrays folded along axes by a function of two elements.

    Neighbours are combined, then neighbours among the results, and so on: ``computation`` must be associative. How they
    are grouped depends on the shape alone. The initial value enters once, before the first element.

    Args:
        operands: an array, or a pytree of arrays of one shape.
        init_values: a pytree of the same structure: numbers of the arrays' dtypes.
        computation: ``computation(x, y)`` combines two pytrees of numbers into one like them. Where it is ``lax.add``,
            ``mul``, ``max``, ``min`` or a bitwise one, the reduction of that name does the work.
        dimensions: the axes that leave the shape.

    Returns:
        A pytree like ``operands``, of the arrays without these axes. It is differentiated through ``computation``.

    Raises:
        ShapeError: the arrays differ in shape, an initial value is no number, or ``computation`` returns others.
        TreeStructureError: the structures differ.

    >>> def later(x, y):
    ...     take = y["key"] > x["key"]
    ...     return {k: np.where(take, y[k], x[k]) for k in x}
    >>> reduce({"key": np.array([3, 9, 4]), "value": np.arange(3.0)}, {"key": 0, "value": -1.0}, later, (0,))
    {'key': np.int64(9), 'value': np.float64(1.0)}
    """
    arrays, tree = tree_flatten(operands)
    starts, start_tree = tree_flatten(init_values)
    if start_tree != tree:
        raise errors.TreeStructureError(f"reduce: init_values has structure {start_tree}, operands has {tree}")
    avals = [aval_of(x) for x in arrays]
    if not arrays or any(a.shape != avals[0].shape for a in avals):
        raise errors.ShapeError(f"reduce: operands must be arrays of one shape, got {', '.join(map(str, avals))}")
    axes = normalize_axes("reduce", dimensions, avals[0].ndim, "dimensions")
    starts = [_start(i, s, a) for i, (s, a) in enumerate(zip(starts, avals, strict=True))]
    kept = tuple(n for d, n in enumerate(avals[0].shape) if d not in axes)
    if 0 in avals[0].shape:
        return tree.unflatten([rebox(broadcast_to(s, kept), "numpy") for s in starts])
    if treedef_is_leaf(tree) and computation in KNOWN:
        fold, combine = KNOWN[computation]
        return combine(starts[0], fold(arrays[0], axes))
    step = Step(computation, tree, avals)
    merged = [merge_axes(x, axes) for x in arrays]
    last = len(kept)
    while (n := aval_of(merged[0]).shape[last]) > 1:
        # Neighbours are combined, so that their order stays: the function need not be commutative.
        left, right = ([slice_in_dim(x, start, n - n % 2, 2, last) for x in merged] for start in (0, 1))
        paired = step(left, right)
        if n % 2:
            ends = [slice_in_dim(x, n - 1, n, axis=last) for x in merged]
            paired = [concatenate([x, end], last) for x, end in zip(paired, ends, strict=True)]
        merged = paired
    first = [broadcast_to(s, (*kept, 1)) for s in starts]
    return tree.unflatten([rebox(squeeze(x, (last,)), "numpy") for x in step(first, merged)])


def _start(i: int, value: Any, aval: ShapedArray) -> Any:
    found = aval_of(value)
    if found.shape != () or not (found.weak or found.dtype == aval.dtype):
        raise errors.ShapeError(f"reduce: initial value {i} must be a number of dtype {aval.dtype}, got {found}")
    return np.asarray(value, aval.dtype)[()] if found.weak and isinstance(value, (bool, int, float)) else value


class Step:
    """The function of two numbers (or pytrees of them) at each element of two arrays."""

    def __init__(self, computation: Callable[[Any, Any], Any], tree: Any, avals: Sequence[ShapedArray]) -> None:
        self.computation = computation
        self.tree = tree
        self.avals = avals

    def __call__(self, left: Sequence[Any], right: Sequence[Any]) -> list[Any]:
        shape = aval_of(left[0]).shape
        count = math.prod(shape)
        flat = [reshape(x, (count,)) for x in (*left, *right)]
        axis = BatchAxis(count)
        pairs = batch_flat(self._scalar, axis, flat, [0] * len(flat))
        return [reshape(materialize(axis, x, d), shape) for x, d in pairs]

    def _scalar(self, *values: Any) -> list[Any]:
        half = len(values) // 2
        out = self.computation(self.tree.unflatten(values[:half]), self.tree.unflatten(values[half:]))
        if tree_structure(out) != self.tree:
            raise errors.TreeStructureError(
                f"reduce: computation must return the structure {self.tree} of its arguments, got {tree_structure(out)}"
            )
        outs, _ = tree_flatten(out)
        for i, (o, a) in enumerate(zip(outs, self.avals, strict=True)):
            found = aval_of(o)
            if found.shape != () or found.dtype != a.dtype:
                raise errors.ShapeError(
                    f"reduce: computation must return numbers of the dtypes of its arguments; result {i} is {found}, "
                    f"and its argument has dtype {a.dtype}"
                )
        return outs
