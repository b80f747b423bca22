"""``gather`` and ``scatter`` with dimension numbers: windows of an array read and written at given starts.

They are the general form that index notation is a part of, spelled as compilers of array programs spell it, and stand
on ``take_index`` and ``scatter``: the starts of a window and the steps within it make an index array for each axis.
"""

from __future__ import annotations

import enum
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from functrans import errors
from functrans.core.structural import convert, transpose
from functrans.core.trace import aval_of
from functrans.lax.arithmetic import add, neg
from functrans.lax.at import default_fill
from functrans.lax.compare import bitwise_and, ge, le
from functrans.lax.creation import full, iota
from functrans.lax.gather import take_index
from functrans.lax.indexing import same_dtype
from functrans.lax.magnitude import clamp
from functrans.lax.movement import broadcast_to, reshape
from functrans.lax.reduction import reduce_all
from functrans.lax.scatter import Operation
from functrans.lax.scatter import scatter as scatter_at
from functrans.lax.selection import select
from functrans.lax.slicing import slice_in_dim

Ints = tuple[int, ...]


class GatherScatterMode(enum.Enum):
    """What becomes of a window that does not lie inside the array."""

    CLIP = 0
    """It is moved inside."""
    FILL_OR_DROP = 1
    """It is read as a fill value, and not written."""
    PROMISE_IN_BOUNDS = 2
    """It does not occur: the user says so. If it does, that is an error."""

    @classmethod
    def parse(cls, name: str, mode: Any) -> GatherScatterMode:
        """A mode from its name; None is ``PROMISE_IN_BOUNDS``."""
        if isinstance(mode, cls):
            return mode
        names = {"clip": cls.CLIP, "fill": cls.FILL_OR_DROP, "drop": cls.FILL_OR_DROP}
        found = cls.PROMISE_IN_BOUNDS if mode in (None, "raise", "promise_in_bounds") else names.get(mode)
        if found is None:
            raise errors.ArgumentError(
                f"{name}: mode must be 'raise', 'clip', 'fill', 'drop', 'promise_in_bounds', a GatherScatterMode or "
                f"None, got {mode!r}"
            )
        return found


class GatherDimensionNumbers(NamedTuple):
    """Which axes play which role in ``gather``.

    Attributes:
        offset_dims: the axes of the result that run within a window, increasing.
        collapsed_slice_dims: the axes of the operand, along which windows have extent 1, that the result lacks.
        start_index_map: for each member of a start, the axis of the operand that it counts along.
        operand_batching_dims, start_indices_batching_dims: axes of the operand and of the starts that run together.
    """

    offset_dims: Ints
    collapsed_slice_dims: Ints
    start_index_map: Ints
    operand_batching_dims: Ints = ()
    start_indices_batching_dims: Ints = ()


class ScatterDimensionNumbers(NamedTuple):
    """Which axes play which role in ``scatter`` and its relatives.

    Attributes:
        update_window_dims: the axes of the updates that run within a window, increasing.
        inserted_window_dims: the axes of the operand, along which windows have extent 1, that the updates lack.
        scatter_dims_to_operand_dims: for each member of a start, the axis of the operand that it counts along.
        operand_batching_dims, scatter_indices_batching_dims: axes of the operand and of the starts that run together.
    """

    update_window_dims: Ints
    inserted_window_dims: Ints
    scatter_dims_to_operand_dims: Ints
    operand_batching_dims: Ints = ()
    scatter_indices_batching_dims: Ints = ()


class _Windows:
    """The places of windows in an operand, as index arrays.

    What ``take_index`` reads there has the axes of the starts, then those along which windows extend from start to
    start, then those that are taken whole: here called the plain layout.

    Attributes:
        indices, axes: an index array for each indexed axis of the operand.
        order: for each axis of the user's layout its place in the plain one.
        shape: of the windows, in the plain layout.
        inside: which windows lie inside, in the shape of the starts; None where all have to.
    """

    def __init__(
        self, name: str, shape: Ints, starts: Any, numbers: GatherDimensionNumbers, sizes: Ints, mode: GatherScatterMode
    ) -> None:
        starts = _check(name, shape, starts, numbers, sizes)
        batch = aval_of(starts).shape[:-1]
        self.lead = len(batch)
        room = np.array([shape[a] - sizes[a] for a in numbers.start_index_map], np.int64)
        self.inside: Any = None
        if mode is GatherScatterMode.FILL_OR_DROP:
            self.inside = reduce_all(bitwise_and(ge(starts, np.int64(0)), le(starts, room)), (self.lead,))
        if mode is not GatherScatterMode.PROMISE_IN_BOUNDS:
            starts = clamp(np.int64(0), starts, room)
        collapsed, paired = numbers.collapsed_slice_dims, numbers.operand_batching_dims
        whole = [
            a
            for a, size in enumerate(sizes)
            if size == shape[a] and a not in (*numbers.start_index_map, *collapsed, *paired)
        ]
        self.axes = tuple(a for a in range(len(shape)) if a not in whole)
        self.extents = tuple(shape[a] for a in self.axes)
        steps = [a for a in self.axes if a not in (*collapsed, *paired)]
        ndim = self.lead + len(steps)
        self.indices: list[Any] = []
        for a in self.axes:
            index: Any = reshape(np.int64(0), (1,) * ndim)
            if a in numbers.start_index_map:
                member = numbers.start_index_map.index(a)
                index = slice_in_dim(starts, member, member + 1, axis=self.lead)
                index = reshape(index, (*batch, *(1,) * len(steps)))
            elif a in paired:
                index = _along(shape[a], numbers.start_indices_batching_dims[paired.index(a)], ndim)
            if a in steps:
                index = add(index, _along(sizes[a], self.lead + steps.index(a), ndim))
            self.indices.append(index)
        places = (*batch, *(sizes[a] for a in steps))
        if self.indices:
            # The index arrays together have all places, also where none of them depends on some axis of the starts.
            self.indices[0] = broadcast_to(self.indices[0], places)
        self.shape = (*places, *(sizes[a] for a in whole))
        place = {a: self.lead + i for i, a in enumerate([*steps, *whole])}
        window = iter(sorted(place))
        others = iter(range(self.lead))
        self.order = [
            place[next(window)] if d in numbers.offset_dims else next(others) for d in range(self.lead + len(place))
        ]

    def beside(self, mask: Any, ndim: int) -> Any:
        """A mask over the starts with axes of extent 1 for what stands behind them."""
        return reshape(mask, (*aval_of(mask).shape, *(1,) * (ndim - self.lead)))

    def on(self, operand: Any) -> tuple[Any, list[Any], Ints]:
        """The operand, index arrays and axes; where no axis is indexed the operand gets one for it."""
        if self.indices:
            return operand, self.indices, self.axes
        nowhere = full(self.shape[: self.lead], 0, np.int64)
        return reshape(operand, (1, *aval_of(operand).shape)), [nowhere], (0,)


def _along(extent: int, axis: int, ndim: int) -> Any:
    steps = iota(np.int64, (extent,))
    return reshape(steps, tuple(extent if d == axis else 1 for d in range(ndim)))


def _check(name: str, shape: Ints, starts: Any, numbers: GatherDimensionNumbers, sizes: Ints) -> Any:
    aval = aval_of(starts)
    if aval.dtype.kind not in "iu":
        raise errors.IndexingError(f"{name}: the starts must be integers, got {aval}. Write indices.astype(int)")
    mapped, hidden = numbers.start_index_map, (*numbers.collapsed_slice_dims, *numbers.operand_batching_dims)
    if not aval.shape or aval.shape[-1] != len(mapped):
        raise errors.ShapeError(
            f"{name}: the last axis of the starts holds one number for each of the axes {mapped}, got shape "
            f"{aval.shape}"
        )
    if len(sizes) != len(shape) or any(not 0 <= n <= m for n, m in zip(sizes, shape, strict=False)):
        raise errors.ShapeError(f"{name}: windows of shape {sizes} do not fit into an array of shape {shape}")
    if len(set(mapped)) != len(mapped) or any(not 0 <= a < len(shape) for a in (*mapped, *hidden)):
        raise errors.ShapeError(f"{name}: {numbers} must name distinct axes of an array of shape {shape}")
    if any(sizes[a] != 1 for a in hidden):
        raise errors.ShapeError(
            f"{name}: windows of shape {sizes} must have extent 1 along the axes {hidden}, which the result lacks"
        )
    lead = aval.ndim - 1
    total = lead + len(shape) - len(hidden)
    window_dims = numbers.offset_dims
    if len(window_dims) != len(shape) - len(hidden) or any(not 0 <= d < total for d in window_dims):
        raise errors.ShapeError(
            f"{name}: {len(shape) - len(hidden)} axes of the {total} run within a window, got {window_dims}"
        )
    paired = zip(numbers.operand_batching_dims, numbers.start_indices_batching_dims, strict=True)
    if any(not 0 <= b < lead or aval.shape[b] != shape[a] for a, b in paired):
        raise errors.ShapeError(
            f"{name}: the batching axes {numbers.operand_batching_dims} of shape {shape} and "
            f"{numbers.start_indices_batching_dims} of the starts of shape {aval.shape} must have one extent each"
        )
    return convert(starts, np.int64)


def _ints(values: Sequence[int]) -> Ints:
    return tuple(operator.index(v) for v in values)


def gather(
    operand: Any,
    start_indices: Any,
    dimension_numbers: GatherDimensionNumbers,
    slice_sizes: Sequence[int],
    *,
    unique_indices: bool = False,
    indices_are_sorted: bool = False,
    mode: Any = None,
    fill_value: Any = None,
) -> Any:
    """Windows of an array, at starts that another array holds.

    Args:
        operand: an array.
        start_indices: integers; the last axis holds one start.
        dimension_numbers: the roles of axes.
        slice_sizes: the extents of the windows, one for each axis of the operand.
        unique_indices, indices_are_sorted: accepted, and of no consequence.
        mode: what becomes of a window that does not lie inside. None, ``"raise"`` and ``"promise_in_bounds"``: an
            error, where a negative start counts from the end. ``"clip"``: it is moved inside. ``"fill"``: it is read as
            ``fill_value``; negative starts are outside.
        fill_value: by default NaN, the least signed, the largest unsigned integer, or True.

    Returns:
        An array with the axes of the starts and, at ``offset_dims``, those of the windows.

    Raises:
        ShapeError: the dimension numbers do not fit the shapes.
        IndexingError: a start is outside, or no integer.

    >>> rows = GatherDimensionNumbers(offset_dims=(1,), collapsed_slice_dims=(0,), start_index_map=(0,))
    >>> gather(np.arange(6.0).reshape(3, 2), np.array([[2], [0]]), rows, (1, 2))
    array([[4., 5.],
           [0., 1.]])
    """
    numbers = GatherDimensionNumbers(*map(_ints, dimension_numbers))
    chosen = GatherScatterMode.parse("gather", mode)
    windows = _Windows("gather", aval_of(operand).shape, start_indices, numbers, _ints(slice_sizes), chosen)
    x, indices, axes = windows.on(operand)
    out = take_index(x, indices, axes)
    if windows.inside is not None:
        dtype = aval_of(operand).dtype
        fill = convert(default_fill(dtype) if fill_value is None else fill_value, dtype)
        out = select(windows.beside(windows.inside, len(windows.shape)), out, fill)
    return transpose(out, windows.order)


# -- scattering -------------------------------------------------------------------------------------------------------


def _scatter_windows(
    name: str, shape: Ints, starts: Any, numbers: ScatterDimensionNumbers, mode: Any, window: Sequence[int]
) -> tuple[_Windows, str]:
    """The windows that updates with these extents along ``update_window_dims`` go to, and the mode of writing."""
    numbers = ScatterDimensionNumbers(*map(_ints, numbers))
    chosen = GatherScatterMode.parse(name, mode)
    hidden = (*numbers.inserted_window_dims, *numbers.operand_batching_dims)
    extents = iter(window)
    sizes = tuple(1 if a in hidden else next(extents, 1) for a in range(len(shape)))
    windows = _Windows(name, shape, starts, GatherDimensionNumbers(*numbers), sizes, chosen)
    if windows.inside is None:
        return windows, "raise"
    if windows.indices:
        # What lies outside goes to a place that there is not, whence it is dropped.
        mask = windows.beside(windows.inside, aval_of(windows.indices[0]).ndim)
        windows.indices[0] = select(mask, windows.indices[0], np.int64(windows.extents[0]))
    return windows, "drop"


def _scatter(
    name: str, op: Operation, operand: Any, starts: Any, updates: Any, numbers: Any, unique: bool, mode: Any
) -> Any:
    x, u = aval_of(operand), aval_of(updates)
    same_dtype(name, x, u)
    dims = _ints(ScatterDimensionNumbers(*numbers).update_window_dims)
    if any(not 0 <= d < u.ndim for d in dims):
        raise errors.ShapeError(f"{name}: update_window_dims={dims} must be axes of the updates of shape {u.shape}")
    windows, how = _scatter_windows(name, x.shape, starts, numbers, mode, [u.shape[d] for d in dims])
    expected = tuple(windows.shape[place] for place in windows.order)
    if u.shape != expected:
        raise errors.ShapeError(f"{name}: updates of shape {expected} are needed for these starts, got {u.shape}")
    updates = transpose(updates, [windows.order.index(a) for a in range(len(windows.order))])
    target, indices, axes = windows.on(operand)
    drop: Any = how
    return reshape(scatter_at(target, updates, indices, axes, op=op, mode=drop, unique=unique), x.shape)


def scatter(
    operand: Any,
    scatter_indices: Any,
    updates: Any,
    dimension_numbers: ScatterDimensionNumbers,
    *,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    mode: Any = None,
) -> Any:
    """A copy of an array with windows of it replaced, at starts that another array holds.

    Args:
        operand: an array.
        scatter_indices: integers; the last axis holds one start.
        updates: an array of the operand's dtype with the axes of the starts and, at ``update_window_dims``, those
            of the windows.
        dimension_numbers: the roles of axes.
        unique_indices: a promise that no element is written twice, which saves work.
        indices_are_sorted: accepted, and of no consequence.
        mode: what becomes of a window that does not lie inside. None, ``"raise"`` and ``"promise_in_bounds"``: an
            error, where a negative start counts from the end. ``"clip"``: it is moved inside. ``"drop"``: it is left
            out; negative starts are outside.

    Returns:
        An array like the operand. Where an element is written more than once, the last update stays, in the order of
        the starts, and takes the derivative.

    Raises:
        ShapeError: the dimension numbers do not fit the shapes.
        DTypeError: the dtypes differ.
        IndexingError: a start is outside, or no integer.

    >>> rows = ScatterDimensionNumbers((1,), inserted_window_dims=(0,), scatter_dims_to_operand_dims=(0,))
    >>> scatter(np.zeros((3, 2)), np.array([[2], [0]]), np.array([[1.0, 2.0], [3.0, 4.0]]), rows)
    array([[3., 4.],
           [0., 0.],
           [1., 2.]])
    """
    return _scatter("scatter", "set", operand, scatter_indices, updates, dimension_numbers, unique_indices, mode)


def _combining(name: str, op: Operation, doc: str) -> Callable[..., Any]:
    def function(
        operand: Any,
        scatter_indices: Any,
        updates: Any,
        dimension_numbers: ScatterDimensionNumbers,
        *,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
        mode: Any = None,
    ) -> Any:
        return _scatter(name, op, operand, scatter_indices, updates, dimension_numbers, unique_indices, mode)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"""A copy of an array with windows of it {doc}; see ``functrans.lax.scatter``.

    Where an element is named more than once all its updates count."""
    return function


scatter_add = _combining("scatter_add", "add", "added to")
scatter_mul = _combining("scatter_mul", "mul", "multiplied")
scatter_min = _combining("scatter_min", "min", "replaced by the minimum of what is there and the updates")
scatter_max = _combining("scatter_max", "max", "replaced by the maximum of what is there and the updates")


def scatter_sub(
    operand: Any,
    scatter_indices: Any,
    updates: Any,
    dimension_numbers: ScatterDimensionNumbers,
    *,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    mode: Any = None,
) -> Any:
    """A copy of an array with updates subtracted from windows of it; see ``functrans.lax.scatter``.

    >>> single = ScatterDimensionNumbers((), (0,), (0,))
    >>> scatter_sub(np.zeros(3), np.array([[1], [1]]), np.array([1.0, 2.0]), single)
    array([ 0., -3.,  0.])
    """
    updates = neg(updates)
    return _scatter("scatter_sub", "add", operand, scatter_indices, updates, dimension_numbers, unique_indices, mode)


def scatter_apply(
    operand: Any,
    scatter_indices: Any,
    func: Callable[[Any], Any],
    dimension_numbers: ScatterDimensionNumbers,
    *,
    update_shape: Sequence[int] = (),
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    mode: Any = None,
) -> Any:
    """A copy of an array with a function applied to the elements of windows of it, once to each.

    Args:
        func: a function from an array of elements to one of the same shape and dtype.
        update_shape: the shape that updates would have: its extents along ``update_window_dims`` are the windows'.

    The other arguments, and errors, are those of ``scatter``.

    >>> single = ScatterDimensionNumbers((), (0,), (0,))
    >>> scatter_apply(np.array([1.0, 4.0, 9.0]), np.array([[1], [2]]), np.sqrt, single, update_shape=(2,))
    array([1., 2., 3.])
    """
    shape, given = aval_of(operand).shape, _ints(update_shape)
    dims = _ints(ScatterDimensionNumbers(*dimension_numbers).update_window_dims)
    if any(not 0 <= d < len(given) for d in dims):
        raise errors.ShapeError(f"scatter_apply: update_window_dims={dims} must be axes of update_shape={given}")
    windows, how = _scatter_windows(
        "scatter_apply", shape, scatter_indices, dimension_numbers, mode, [given[d] for d in dims]
    )
    target, indices, axes = windows.on(operand)
    drop: Any = how
    old = take_index(target, indices, axes, mode=drop)
    new = func(old)
    if aval_of(new).shape != aval_of(old).shape or aval_of(new).dtype != aval_of(old).dtype:
        raise errors.ShapeError(
            f"scatter_apply: func got elements of type {aval_of(old)} and must return the same, got {aval_of(new)}"
        )
    return reshape(scatter_at(target, new, indices, axes, mode=drop, unique=unique_indices), shape)
