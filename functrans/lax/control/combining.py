"""``reduce_window`` and ``associative_scan``: combining many values with a function of two."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans.core.structural import broadcast_to, convert
from functrans.core.trace import Tracer, aval_of
from functrans.core.tree import describe_mismatch, tree_flatten, treedef_is_leaf
from functrans.core.treedef import PyTreeDef
from functrans.lax.control.body import check_function, flatten_operands, leaf_path, name_of
from functrans.lax.control.region import owned_eagerly
from functrans.lax.folding import KNOWN, Step
from functrans.lax.movement import reshape, rev
from functrans.lax.reduction import reduce_max, reduce_min, reduce_sum
from functrans.lax.slicing import concatenate, pad, slice_in_dim
from functrans.lax.stacking import stack
from functrans.lax.windows import reduce_window_max, reduce_window_min, reduce_window_sum, window_geometry

WINDOWED = {reduce_sum: reduce_window_sum, reduce_max: reduce_window_max, reduce_min: reduce_window_min}
"""The reductions that have a form over windows."""


def _along(combine: Callable[[Sequence[Any], Sequence[Any]], list[Any]], xs: Sequence[Any]) -> list[Any]:
    """Arrays combined along their first axes, neighbours first, so that the order is kept."""
    n = aval_of(xs[0]).shape[0]
    while n > 1:
        half = n // 2
        left, right = ([slice_in_dim(x, k, 2 * half, 2) for x in xs] for k in (0, 1))
        pairs = combine(left, right)
        xs = (
            [concatenate([p, slice_in_dim(x, n - 1, n)], 0) for p, x in zip(pairs, xs, strict=True)] if n % 2 else pairs
        )
        n = half + n % 2
    return [reshape(x, aval_of(x).shape[1:]) for x in xs]


def reduce_window(
    operand: Any,
    init_value: Any,
    computation: Callable[..., Any],
    window_dimensions: Any,
    window_strides: Any = None,
    padding: Any = "VALID",
    base_dilation: Any = None,
    window_dilation: Any = None,
) -> Any:
    """Each position of a sliding window reduced by a function of two values, which must be associative.

    A plain sum, maximum or minimum from its neutral element runs as ``reduce_window_sum`` and its like.

    Args:
        operand: an array, or a pytree of arrays of one shape, whose windows are reduced together.
        init_value: the first accumulated value, a number in the same structure; also what lies outside.
        computation: takes two numbers, or pytrees of numbers in that structure, and gives one.
        window_dimensions, window_strides, padding, base_dilation, window_dilation: as in ``reduce_window_sum``.

    >>> import numpy as np, functrans as ft
    >>> ft.lax.reduce_window(np.array([1.0, 2.0, 3.0, 4.0]), 1.0, lambda a, b: a * b, (2,))
    array([ 2.,  6., 12.])
    """
    check_function("reduce_window", "computation", computation)
    where = f"reduce_window({name_of(computation)})"
    leaves, tree = flatten_operands(where, "operand", operand)
    inits = _starts(where, leaves, tree, operand, init_value)
    place = (window_dimensions, window_strides, padding, base_dilation, window_dilation)
    geometry = window_geometry(where, leaves[0], *place)
    native = WINDOWED.get(KNOWN[computation][0]) if treedef_is_leaf(tree) and computation in KNOWN else None
    if native is not None and _is_neutral(native, init_value, aval_of(leaves[0]).dtype):
        return native(leaves[0], *place)
    space = geometry.positions(aval_of(leaves[0]).shape)
    first = [broadcast_to(i, space) for i in inits]
    if 0 in geometry.window or 0 in space:
        return tree.unflatten(owned_eagerly(first, leaves))
    combine = Step(computation, tree, [aval_of(x) for x in leaves])
    frame = [(lo, hi, d - 1) for (lo, hi), d in zip(geometry.padding, geometry.base_dilation, strict=True)]
    xs = [pad(x, i, frame) if any(map(any, frame)) else x for x, i in zip(leaves, inits, strict=True)]
    # The last axis first, so that the elements of a window are combined in their order.
    for axis in reversed(range(len(space))):
        k, stride, apart, n = (
            geometry.window[axis],
            geometry.strides[axis],
            geometry.window_dilation[axis],
            space[axis],
        )
        ends = [(t * apart, t * apart + (n - 1) * stride + 1) for t in range(k)]
        xs = _along(combine, [stack([slice_in_dim(x, a, b, stride, axis) for a, b in ends], 0) for x in xs])
    return tree.unflatten(owned_eagerly(combine(first, xs), leaves))


def _starts(where: str, leaves: Sequence[Any], tree: PyTreeDef, operand: Any, init_value: Any) -> list[Any]:
    """The first values, numbers of the operands' dtypes."""
    inits, init_tree = tree_flatten(init_value)
    if init_tree != tree or not leaves:
        raise errors.TreeStructureError(
            f"{where}: init_value must have the structure of the operand, {tree}; it has {init_tree}"
        )
    starts = []
    for i, (x, init) in enumerate(zip(leaves, inits, strict=True)):
        aval, found = aval_of(x), aval_of(init)
        if aval.shape != aval_of(leaves[0]).shape:
            raise errors.ShapeError(
                f"{where}: the operands must have one shape; {leaf_path('operand', operand, 0)} has "
                f"{aval_of(leaves[0]).shape} and {leaf_path('operand', operand, i)} has {aval.shape}"
            )
        if found.shape != () or not (found.weak or found.dtype == aval.dtype):
            raise errors.ShapeError(
                f"{where}: {leaf_path('init_value', init_value, i)} must be one number of dtype {aval.dtype}, got "
                f"{found}"
            )
        starts.append(convert(init, aval.dtype))
    return starts


def _is_neutral(native: Callable[..., Any], init: Any, dtype: np.dtype[Any]) -> bool:
    """Whether a first value changes nothing."""
    if isinstance(init, Tracer):
        return False
    if native is reduce_window_sum:
        return bool(init == 0)
    largest = native is reduce_window_max
    if dtype.kind == "b":
        return bool(init) != largest
    if dtype.kind == "f":
        return bool(init == (-np.inf if largest else np.inf))
    return bool(init == (np.iinfo(dtype).min if largest else np.iinfo(dtype).max))


# -- running combinations -------------------------------------------------------------------------------------------


def associative_scan(fn: Callable[..., Any], elems: Any, reverse: bool = False, axis: int = 0) -> Any:
    """All running combinations of the elements along an axis, by an associative function: ``e0, fn(e0, e1), …``.

    Combined are neighbours first, then the running combinations of those, so that n elements take about 2 n
    combinations in 2 log n vectorised calls of ``fn`` (R. E. Ladner and M. J. Fischer, "Parallel prefix computation",
    1980; G. E. Blelloch, "Prefix sums and their applications", 1990).

    Args:
        fn: takes two pytrees of arrays with any number of elements along ``axis`` and combines element with element,
            as ``np.add`` and ``np.matmul`` do; it must be associative.
        elems: a pytree of arrays with one extent along ``axis``.
        reverse: whether to begin with the last element: ``fn(e_last, e_before)`` and so on.
        axis: the axis; a negative one counts from the end of each array.

    Returns:
        A pytree like ``elems``.

    >>> import numpy as np, functrans as ft
    >>> ft.lax.associative_scan(np.add, np.array([1, 2, 3, 4]))
    array([ 1,  3,  6, 10])
    >>> a, b = np.array([0.5, 2.0, 1.0]), np.array([1.0, 1.0, 1.0])
    >>> ft.lax.associative_scan(lambda f, g: (f[0] * g[0], g[0] * f[1] + g[1]), (a, b))[1]  # y = a * y + b, from 0
    array([1., 3., 4.])
    """
    check_function("associative_scan", "fn", fn)
    where = f"associative_scan({name_of(fn)})"
    leaves, tree = tree_flatten(elems)
    if not leaves:
        raise errors.ArgumentError(f"{where}: elems holds no array")
    try:
        place = operator.index(axis)
    except TypeError:
        raise errors.ArgumentError(f"{where}: axis must be an int, got {axis!r}") from None
    places = []
    for i, x in enumerate(leaves):
        ndim = aval_of(x).ndim
        if not -ndim <= place < ndim:
            raise errors.ShapeError(
                f"{where}: {leaf_path('elems', elems, i)} has type {aval_of(x)} and so no axis {place}"
            )
        places.append(place % ndim)
    extents = [aval_of(x).shape[a] for x, a in zip(leaves, places, strict=True)]
    if len(set(extents)) > 1:
        other = next(i for i, n in enumerate(extents) if n != extents[0])
        raise errors.ShapeError(
            f"{where}: all arrays must have one extent along the axis; {leaf_path('elems', elems, 0)} has {extents[0]} "
            f"and {leaf_path('elems', elems, other)} has {extents[other]}"
        )

    def combine(left: Sequence[Any], right: Sequence[Any]) -> list[Any]:
        found, found_tree = tree_flatten(fn(tree.unflatten(left), tree.unflatten(right)))
        if found_tree != tree:
            difference = describe_mismatch(tree, found_tree, "the value", "in elems", "as fn returns it")
            raise errors.TreeStructureError(f"{where}: fn must return the structure of its arguments. {difference}")
        for i, (x, out) in enumerate(zip(left, found, strict=True)):
            if aval_of(out).shape != aval_of(x).shape:
                raise errors.ShapeError(
                    f"{where}: {leaf_path('the result', elems, i)} must have the shape of what is combined, "
                    f"{aval_of(x).shape}; it has {aval_of(out).shape}"
                )
        return found

    flip = [rev(x, (a,)) for x, a in zip(leaves, places, strict=True)] if reverse else leaves
    outs = _running(combine, flip, places)
    if reverse:
        outs = [rev(x, (a,)) for x, a in zip(outs, places, strict=True)]
    return tree.unflatten(owned_eagerly(outs, leaves))


def _running(
    combine: Callable[[Sequence[Any], Sequence[Any]], list[Any]], xs: Sequence[Any], axes: Sequence[int]
) -> list[Any]:
    n = aval_of(xs[0]).shape[axes[0]]
    if n < 2:
        return list(xs)

    def part(values: Sequence[Any], start: int, stop: int, stride: int = 1) -> list[Any]:
        return [slice_in_dim(x, start, stop, stride, a) for x, a in zip(values, axes, strict=True)]

    half = n // 2
    odd = _running(combine, combine(part(xs, 0, 2 * half, 2), part(xs, 1, 2 * half, 2)), axes)
    first = part(xs, 0, 1)
    if n > 2:
        few = (n - 1) // 2
        even = combine(part(odd, 0, few), part(xs, 2, n, 2))
        even = [concatenate([a, b], k) for a, b, k in zip(first, even, axes, strict=True)]
    else:
        even = first
    return [_interleaved(*pair) for pair in zip(even, odd, axes, strict=True)]


def _interleaved(even: Any, odd: Any, axis: int) -> Any:
    """The elements of two arrays in turn, of which the first may have one more."""
    n, m = aval_of(even).shape[axis], aval_of(odd).shape[axis]
    pairs = stack([slice_in_dim(even, 0, m, 1, axis), odd], axis + 1)
    shape = aval_of(odd).shape
    mixed = reshape(pairs, (*shape[:axis], 2 * m, *shape[axis + 1 :]))
    return mixed if n == m else concatenate([mixed, slice_in_dim(even, m, n, 1, axis)], axis)
