"""``vmap``: a function of one example becomes a function of a batch."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from typing import Any

from functrans import errors
from functrans.api.arguments import check_outputs, flatten_arrays, leaf_path
from functrans.api.boundary import boundary, check_callable, name_of, own
from functrans.core.capture import Rebuild, transformation
from functrans.core.primitive import BatchAxis
from functrans.core.trace import aval_of, current_trace, is_array
from functrans.core.tree import broadcast_prefix, tree_flatten
from functrans.core.treedef import PyTreeDef
from functrans.interpreters.batch import batch_flat, materialize


def _is_none(value: Any) -> bool:
    return value is None


def _check_axes(where: str, name: str, axes: Any) -> None:
    if not isinstance(axes, (int, type(None), tuple, list, dict)) and not hasattr(type(axes), "tree_flatten"):
        raise errors.BatchAxisError(f"{where}: {name} must be an int, None or a pytree of these, got {axes!r}")


def _input_axes(where: str, in_axes: Any, args: tuple[Any, ...], leaves: list[Any]) -> list[int | None]:
    """The mapped axis of each leaf of the arguments, counted from the front."""
    if isinstance(in_axes, (tuple, list)):
        if len(in_axes) != len(args):
            raise errors.BatchAxisError(
                f"{where}: in_axes has {len(in_axes)} members for {len(args)} positional arguments. Give one for each, "
                f"or a single int for all of them"
            )
        in_axes = tuple(in_axes)
    try:
        axes = broadcast_prefix(in_axes, args, is_leaf=_is_none, name="in_axes", full_name="args")
    except errors.TreeStructureError as error:
        raise errors.BatchAxisError(f"{where}: in_axes is no prefix of the arguments: {error}") from None
    out: list[int | None] = []
    for i, (axis, leaf) in enumerate(zip(axes, leaves, strict=True)):
        if axis is None:
            out.append(None)
            continue
        if not is_array(leaf):
            raise errors.BatchAxisError(
                f"{where}: {leaf_path('argument ', args, i)} is an object of type {type(leaf).__name__}, which has no "
                f"axis to map. Pass in_axes=None for an argument that every example shares"
            )
        if not isinstance(axis, int) or isinstance(axis, bool):
            raise errors.BatchAxisError(f"{where}: in_axes must hold ints and None, got {axis!r}")
        ndim = aval_of(leaf).ndim
        if not -ndim <= axis < ndim:
            raise errors.BatchAxisError(
                f"{where}: {leaf_path('argument ', args, i)} of shape {aval_of(leaf).shape} has no axis {axis} to map. "
                f"Pass in_axes=None for an argument that every example shares"
            )
        out.append(axis % ndim)
    return out


def _axis_size(
    where: str, args: tuple[Any, ...], leaves: list[Any], axes: list[int | None], axis_size: int | None
) -> Any:
    """The common extent of the mapped axes."""
    sizes = [(aval_of(x).shape[a], i) for i, (x, a) in enumerate(zip(leaves, axes, strict=True)) if a is not None]
    if not sizes:
        if axis_size is None:
            raise errors.BatchAxisError(
                f"{where}: no argument is mapped (every entry of in_axes is None), so the size of the batch is not "
                f"known. Map an argument, or pass axis_size="
            )
        return axis_size
    size, first = sizes[0]
    for other, i in sizes:
        if other != size:
            shapes = [
                f"{leaf_path('argument ', args, k)} of shape {aval_of(leaves[k]).shape} along axis {axes[k]}"
                for k in (first, i)
            ]
            raise errors.BatchAxisError(
                f"{where}: the mapped axes must have one size, got {size} for {shapes[0]} and {other} for {shapes[1]}. "
                f"Ragged examples have to be padded to one length, with a mask"
            )
    if axis_size is not None and axis_size != size:
        raise errors.BatchAxisError(f"{where}: axis_size={axis_size}, and the mapped axes have size {size}")
    return size


@boundary
def vmap(
    f: Callable[..., Any],
    in_axes: Any = 0,
    out_axes: Any = 0,
    axis_name: Hashable = None,
    axis_size: int | None = None,
) -> Callable[..., Any]:
    """Map a function over an axis of its arguments, by running it once on whole arrays.

    Args:
        f: a function of one example.
        in_axes: which axis of each positional argument enumerates the examples: an int for all of them, or a
            tuple with an int, None (the same for every example) or a pytree prefix of these for each argument. What
            is no array (a function, a setting) goes with None.
            Keyword arguments are mapped over their first axis.
        out_axes: where the axis of examples is in the results: an int, None (only for results that are the same
            for every example), or a pytree prefix of these.
        axis_name: a name by which collective operations refer to the axis.
        axis_size: the number of examples, needed where no argument is mapped.

    Returns:
        The mapped function.

    Raises:
        BatchAxisError: ``in_axes`` or ``out_axes`` do not fit, or the mapped axes differ in size.

    >>> import numpy as np, functrans as ft
    >>> ft.vmap(np.dot)(np.eye(2), np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([1., 4.])
    """
    return _vmap(f, in_axes, out_axes, axis_name, axis_size, False)


def over_directions(f: Callable[..., Any], size: int) -> Callable[..., Any]:
    """``f`` mapped over directions of one derivative: what does not depend on the direction happens once."""
    return _vmap(f, 0, 0, None, size, True)


def _vmap(
    f: Callable[..., Any], in_axes: Any, out_axes: Any, axis_name: Hashable, axis_size: int | None, directions: bool
) -> Callable[..., Any]:
    check_callable("vmap", f)
    _check_axes("vmap", "in_axes", in_axes)
    try:
        hash(axis_name)
    except TypeError:
        raise errors.ArgumentError(
            f"vmap: axis_name must be hashable, as a string is, got {axis_name!r} of type {type(axis_name).__name__}"
        ) from None

    @boundary
    @functools.wraps(f, updated=())
    def mapped(*args: Any, **kwargs: Any) -> Any:
        where = f"vmap({name_of(f)})"
        leaves, treedef = tree_flatten(args)
        axes = _input_axes(where, in_axes, args, leaves)
        named, named_tree = flatten_arrays(where, "keyword argument ", kwargs)
        if named:
            axes = axes + _input_axes(where, 0, (kwargs,), named)
        every = leaves + named
        size = _axis_size(where, (*args, kwargs), every, axes, axis_size)
        trees: list[PyTreeDef] = []
        returned: list[Any] = []

        def flat(*inputs: Any) -> list[Any]:
            out = f(*treedef.unflatten(inputs[: len(leaves)]), **named_tree.unflatten(inputs[len(leaves) :]))
            outs, tree = check_outputs(where, out)
            trees[:] = [tree]
            returned[:] = [out]
            return outs

        axis = BatchAxis(size, axis_name, directions=directions)
        pairs = batch_flat(flat, axis, every, axes)
        (out_tree,) = trees
        try:
            wanted = broadcast_prefix(out_axes, returned[0], is_leaf=_is_none, name="out_axes", full_name="result")
        except errors.TreeStructureError as error:
            raise errors.BatchAxisError(f"{where}: out_axes is no prefix of the result: {error}") from None
        returned.clear()
        outs = [_place(where, axis, x, d, to) for (x, d), to in zip(pairs, wanted, strict=True)]
        del pairs
        return out_tree.unflatten(own(outs) if current_trace() is None else outs)

    return transformation(mapped, f, Rebuild(vmap, in_axes, out_axes, axis_name, axis_size))


def _place(where: str, axis: BatchAxis, array: Any, dim: int | None, to: Any) -> Any:
    if to is None:
        if dim is not None:
            raise errors.BatchAxisError(
                f"{where}: out_axes is None for a result of shape {aval_of(array).shape} that differs from example to "
                f"example. Give the axis where the examples should be"
            )
        return array
    if not isinstance(to, int) or isinstance(to, bool):
        raise errors.BatchAxisError(f"{where}: out_axes must hold ints and None, got {to!r}")
    ndim = aval_of(array).ndim + (dim is None)
    if not -ndim <= to < ndim:
        raise errors.BatchAxisError(f"{where}: out_axes={to} is out of range for a batched result with {ndim} axes")
    return materialize(axis, array, dim, to % ndim)
