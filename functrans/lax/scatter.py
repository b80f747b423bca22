"""Writing at the places that index arrays name: an array with some elements set, added to, multiplied, and so on.

Where one place is named more than once, ``set`` leaves what was written last, in the order of the index arrays read row
by row, and the derivative goes to that update alone. The other operations combine all updates of a place. The
smaller and the larger share the derivative evenly among the operand and the updates that attain it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np

from functrans import errors
from functrans.core import dtypes
from functrans.core.avals import Shape, ShapedArray, shaped
from functrans.core.primitive import BatchAxis, Primitive, Sample, Undefined, Zero
from functrans.core.structural import add, align_batched, broadcast, convert, instantiate, zero_of, zeros
from functrans.core.trace import aval_of
from functrans.lax.arithmetic import div, mul
from functrans.lax.compare import bitwise_and, bitwise_or, eq, lt, ne
from functrans.lax.gather import (
    Axes,
    Mode,
    batch_coordinate,
    batched_updates,
    check_updates,
    clipped,
    dropped,
    flat_positions,
    move_block,
    natural_place,
    numpy_key,
    out_of_bounds,
    scatter_add,
    take_index,
    valid_places,
)
from functrans.lax.indexing import batch_first, same_dtype
from functrans.lax.magnitude import max as larger
from functrans.lax.movement import reshape
from functrans.lax.selection import select

Operation = Literal["set", "add", "mul", "min", "max"]

_UFUNCS = {"add": "add", "mul": "multiply", "min": "minimum", "max": "maximum"}

# -- duplicate_links: which updates share a place -------------------------------------------------------------------


def _links_impl(xp: Any, *indices: Any, sizes: Shape, mode: Mode, lead: int) -> list[Any]:
    axes = tuple(range(len(sizes)))
    given = clipped(xp, sizes, axes, indices) if mode == "drop" and 0 not in sizes else indices
    shape = np.broadcast_shapes(*(np.shape(i) for i in indices))
    count = math.prod(shape)
    if mode == "drop":
        valid = xp.broadcast_to(valid_places(xp, sizes, axes, indices), shape).ravel()
        alone = xp.arange(count) + math.prod(sizes)
        inside = alone if 0 in sizes else flat_positions(xp, "index", sizes, given, axes, 0).ravel()
        places = xp.where(valid, inside, alone)
    else:
        places = flat_positions(xp, "index", sizes, given, axes, 0).ravel()
    order = xp.argsort(places, kind="stable")
    ranked = places[order]
    same = ranked[1:] == ranked[:-1]
    first, second = order[:-1][same], order[1:][same]
    previous, following = (xp.full(count, -1, np.int64) for _ in range(2))
    # Examples of a batch have places of their own, so links stay within one; they count from its first update.
    per_example = max(math.prod(shape[lead:]), 1)
    previous[second] = first % per_example
    following[first] = second % per_example
    return [previous.reshape(shape), following.reshape(shape)]


def _links_shape(*indices: ShapedArray, sizes: Shape, mode: Mode, lead: int) -> list[ShapedArray]:
    shape = np.broadcast_shapes(*(i.shape for i in indices))
    return [shaped(shape, np.dtype(np.int64), "array")] * 2


def _links_batch(
    axis: BatchAxis, args: Sequence[Any], dims: Sequence[int | None], *, sizes: Shape, mode: Mode, lead: int
) -> tuple[Any, Any]:
    indices = align_batched(axis, args, dims)
    rows = batch_coordinate(axis, indices)
    return duplicate_links_p.bind(rows, *indices, sizes=(axis.size, *sizes), mode=mode, lead=lead + 1), [0, 0]


duplicate_links_p: Primitive = Primitive(
    "duplicate_links",
    multiple=True,
    shape=_links_shape,
    impl=_links_impl,
    jvp=lambda primals, tangents, **params: (
        outs := duplicate_links_p.bind(*primals, **params),
        [zero_of(o) for o in outs],
    ),
    batch=_links_batch,
    kind="library",
    samples=lambda: [
        Sample((np.array([2, 0, 2, -1, 2]),), {"sizes": (3,), "mode": "raise", "lead": 0}),
        Sample((np.array([[1], [0]]), np.array([0, 0, 1])), {"sizes": (2, 2), "mode": "raise", "lead": 0}),
        Sample((np.array([7, 0, 7, 0]),), {"sizes": (3,), "mode": "drop", "lead": 0}),
        Sample((np.array([0, 1]),), {"sizes": (0,), "mode": "drop", "lead": 0}),
        Sample((1,), {"sizes": (3,), "mode": "raise", "lead": 0}),
    ],
)


def duplicate_links(indices: Sequence[Any], sizes: Sequence[int], mode: Mode = "raise") -> tuple[Any, Any]:
    """For each update, which update before it and which behind it go to the same place.

    Args:
        indices: index arrays which broadcast together.
        sizes: the extents of the axes that they index.
        mode: ``"drop"`` where indices may be out of bounds; such updates share no place.

    Returns:
        Two arrays of integers of the index arrays' common shape: positions in that shape, read row by row, and -1
        where there is none.

    >>> duplicate_links([np.array([2, 0, 2])], (3,))
    (array([-1, -1,  0]), array([ 2, -1, -1]))
    """
    previous, following = duplicate_links_p.bind(*indices, sizes=tuple(sizes), mode=mode, lead=0)
    return previous, following


def _product_of_others(updates: Any, indices: Sequence[Any], sizes: Shape, at: int, mode: Mode) -> Any:
    """For each update the product of the other updates at its place.

    Each update sees the product of all before it in its chain of links, doubling the distance at every step. There
    is no division, so zeros among the updates are no trouble, in derivatives of any order either.
    """
    links = duplicate_links(indices, sizes, mode)
    ndim = aval_of(links[0]).ndim
    shape = aval_of(updates).shape
    count = math.prod(shape[at : at + ndim])
    flat = reshape(updates, (*shape[:at], count, *shape[at + ndim :]))
    total: Any = None
    for link in links:
        here = reshape(link, (count,))
        product = _or_one(flat, here, at)
        for _ in range(max(count - 2, 0).bit_length()):
            product = mul(product, _or_one(product, here, at))
            here = select(lt(here, 0), -1, take_index(here, [larger(here, 0)], (0,)))
        total = product if total is None else mul(total, product)
    return reshape(total, shape)


def _or_one(values: Any, link: Any, at: int) -> Any:
    taken = take_index(values, [larger(link, 0)], (at,), at)
    return select(beside(lt(link, 0), aval_of(values).ndim - 1 - at), 1, taken)


def beside(mask: Any, behind: int) -> Any:
    """A mask over places with axes of extent 1 for the axes that stand behind them."""
    shape = aval_of(mask).shape
    return broadcast(mask, (*shape, *(1,) * behind), range(len(shape)))


# -- scatter ----------------------------------------------------------------------------------------------------------


def _scatter_shape(
    x: ShapedArray, updates: ShapedArray, *indices: ShapedArray, axes: Axes, at: int, op: str, mode: Mode, unique: bool
) -> ShapedArray:
    check_updates("scatter", updates, x.shape, indices, axes, at)
    same_dtype("scatter", x, updates)
    if op in ("min", "max") and dtypes.is_complex(x.dtype):
        raise errors.DTypeError(f"scatter: {op} needs an order, which complex numbers ({x}) do not have")
    return shaped(x.shape, x.dtype, "array")


def _scatter_impl(
    xp: Any, x: Any, updates: Any, *indices: Any, axes: Axes, at: int, op: str, mode: Mode, unique: bool
) -> Any:
    return _scatter_over(
        xp, xp.array(x, order="C"), updates, *indices, axes=axes, at=at, op=op, mode=mode, unique=unique
    )


def _scatter_over(
    xp: Any, out: Any, updates: Any, *indices: Any, axes: Axes, at: int, op: str, mode: Mode, unique: bool
) -> Any:
    """The updates written to an array that lies in memory in row-major order, which is returned."""
    updates = xp.asarray(updates)
    shape = out.shape
    ndim = max(np.ndim(i) for i in indices)
    function = getattr(xp, _UFUNCS[op]) if op != "set" else None
    lone = len(axes) == 1 and ndim == 1
    if mode == "raise" and (ndim == 0 or unique or (lone and (function is None or len(shape) == 1))):
        key = numpy_key(axes, [xp.ascontiguousarray(i) if ndim else i for i in indices])
        updates = move_block(xp, updates, ndim, at, natural_place(axes))
        try:
            if function is None:
                out[key] = updates
            elif ndim == 0 or unique:
                out[key] = function(out[key], updates)
            else:
                _accumulate(function, op, out, key, updates)
        except IndexError:
            raise out_of_bounds("index", shape, axes, indices) from None
        return out
    # NumPy does not say in which order it visits several index arrays, and one flat one is also its fastest case.
    if mode == "drop":
        updates, places = dropped(xp, "index", updates, shape, indices, axes, at)
    else:
        places = flat_positions(xp, "index", shape, indices, axes, at)
    flat = out.reshape(-1)
    if function is None:
        flat[places.ravel()] = updates.ravel()
    else:
        _accumulate(function, op, flat, places.ravel(), updates.ravel())
    return out


def _scatter_specialize(
    xp: Any, avals: Sequence[ShapedArray], *, axes: Axes, at: int, op: str, mode: Mode, unique: bool
) -> Callable[..., Any]:
    """One place, as in a loop that fills an array, is written without asking what was known before."""
    write = _scatter_to(xp, avals, axes=axes, at=at, op=op, mode=mode, unique=unique)
    return lambda x, *args: write(x.copy(), *args)


def _scatter_to(
    xp: Any, avals: Sequence[ShapedArray], *, axes: Axes, at: int, op: str, mode: Mode, unique: bool
) -> Callable[..., Any]:
    """A function that writes the updates to its first operand, and returns it."""
    if mode != "raise" or any(i.ndim for i in avals[2:]):
        return partial(_scatter_over, xp, axes=axes, at=at, op=op, mode=mode, unique=unique)
    function = getattr(xp, _UFUNCS[op]) if op != "set" else None
    leading = axes == tuple(range(len(axes)))
    if leading and function is None and len(axes) == 1:

        def write_at(out: Any, updates: Any, i: Any) -> Any:
            try:
                out[i] = updates
            except IndexError:
                raise out_of_bounds("index", out.shape, axes, (i,)) from None
            return out

        write_at.subscript = True  # type: ignore[attr-defined]
        return write_at

    def write(out: Any, updates: Any, *indices: Any) -> Any:
        key = indices if leading else numpy_key(axes, indices)
        try:
            out[key] = updates if function is None else function(out[key], updates)
        except IndexError:
            raise out_of_bounds("index", out.shape, axes, indices) from None
        return out

    return write


def _accumulate(function: Any, op: str, out: Any, key: Any, updates: Any) -> None:
    if op in ("min", "max"):
        # ``maximum.at`` reports NaN as an invalid value, which ``maximum`` itself does not.
        with np.errstate(invalid="ignore"):
            function.at(out, key, updates)
    else:
        function.at(out, key, updates)


def _scatter_jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
    out = scatter_p.bind(*primals, **params)
    t, t_updates = tangents[:2]
    if not dtypes.is_inexact(aval_of(out).dtype) or (isinstance(t, Zero) and isinstance(t_updates, Zero)):
        return out, zero_of(out)
    return out, _TANGENTS[params["op"]](out, primals, t, t_updates, **params)


def _set_tangent(out: Any, primals: Sequence[Any], t: Any, t_updates: Any, **params: Any) -> Any:
    return scatter_p.bind(instantiate(t), instantiate(t_updates), *primals[2:], **params)


def _spread(t_updates: Any, out: Any, indices: Sequence[Any], axes: Axes, at: int, mode: Mode) -> Any:
    return scatter_add(t_updates, aval_of(out).shape, indices, axes, at, mode)


def _add_tangent(
    out: Any, primals: Sequence[Any], t: Any, t_updates: Any, *, axes: Axes, at: int, mode: Mode, **params: Any
) -> Any:
    if isinstance(t, Zero):
        return _spread(t_updates, out, primals[2:], axes, at, mode)
    if isinstance(t_updates, Zero):
        return t
    return scatter_p.bind(t, t_updates, *primals[2:], axes=axes, at=at, mode=mode, **params)


def _mul_tangent(
    out: Any,
    primals: Sequence[Any],
    t: Any,
    t_updates: Any,
    *,
    axes: Axes,
    at: int,
    op: str,
    mode: Mode,
    unique: bool,
) -> Any:
    x, updates, *indices = primals
    total: Any = None
    if not isinstance(t, Zero):
        total = scatter_p.bind(t, updates, *indices, axes=axes, at=at, op=op, mode=mode, unique=unique)
    if not isinstance(t_updates, Zero):
        factor = take_index(x, indices, axes, at, mode)
        if not (unique or _one_place(indices)):
            sizes = tuple(aval_of(x).shape[a] for a in axes)
            factor = mul(factor, _product_of_others(updates, indices, sizes, at, mode))
        term = _spread(mul(t_updates, factor), out, indices, axes, at, mode)
        total = term if total is None else add(total, term)
    return total


def _one_place(indices: Sequence[Any]) -> bool:
    """Whether the index arrays name one place, so that nothing can meet there."""
    return all(extent == 1 for i in indices for extent in aval_of(i).shape)


def _extremum_tangent(
    out: Any, primals: Sequence[Any], t: Any, t_updates: Any, *, axes: Axes, at: int, mode: Mode, **params: Any
) -> Any:
    x, updates, *indices = primals
    dtype = aval_of(out).dtype
    attained = convert(_equal(x, out), dtype)
    by_update = convert(_equal(updates, take_index(out, indices, axes, at, mode)), dtype)
    count = add(attained, _spread(by_update, out, indices, axes, at, mode))
    total: Any = None
    if not isinstance(t, Zero):
        total = mul(t, attained)
    if not isinstance(t_updates, Zero):
        term = _spread(mul(t_updates, by_update), out, indices, axes, at, mode)
        total = term if total is None else add(total, term)
    return div(total, count)


def _equal(x: Any, y: Any) -> Any:
    """Whether two values are the same, where NaN is the same as NaN: it is the extremum of what holds it."""
    return bitwise_or(eq(x, y), bitwise_and(ne(x, x), ne(y, y)))


_TANGENTS: dict[str, Callable[..., Any]] = {
    "set": _set_tangent,
    "add": _add_tangent,
    "mul": _mul_tangent,
    "min": _extremum_tangent,
    "max": _extremum_tangent,
}


def _scatter_transpose(
    ct: Any, x: Any, updates: Any, *indices: Any, axes: Axes, at: int, op: str, mode: Mode, unique: bool
) -> list[Any]:
    ct_x = ct_updates = None
    if isinstance(x, Undefined):
        if op == "add":
            ct_x = ct
        elif op == "set":
            nothing = zeros(updates.aval if isinstance(updates, Undefined) else aval_of(updates))
            ct_x = scatter(ct, convert(nothing, aval_of(ct).dtype), indices, axes, at, "set", mode, unique)
        else:
            ct_x = scatter(ct, updates, indices, axes, at, "mul", mode, unique)
    if isinstance(updates, Undefined):
        ct_updates = take_index(ct, indices, axes, at, mode)
        if op == "set" and not (unique or _one_place(indices)):
            sizes = tuple(aval_of(ct).shape[a] for a in axes)
            last = lt(duplicate_links(indices, sizes, mode)[1], 0)
            ct_updates = select(beside(last, len(aval_of(ct).shape) - len(axes) - at), ct_updates, 0)
    return [ct_x, ct_updates, *(None for _ in indices)]


def _scatter_batch(
    axis: BatchAxis, args: Sequence[Any], dims: Sequence[int | None], *, axes: Axes, at: int, **params: Any
) -> tuple[Any, int]:
    x = batch_first(axis, args[0], dims[0])
    updates, indices, axes, at = batched_updates(axis, args[1:], dims[1:], axes, at)
    return scatter_p.bind(x, updates, *indices, axes=axes, at=at, **params), 0


def _scatter_samples() -> list[Sample]:
    x = np.arange(24.0).reshape(2, 3, 4) / 7.0 - 1.3
    u = np.sin(np.arange(24.0) * 3.7).reshape(2, 3, 4)
    i, j = np.array([0, 2, -1, 2]), np.array([[1], [-2]])
    samples = []
    for op in ("set", "add", "mul", "min", "max"):
        params = {"axes": (0,), "at": 0, "op": op, "mode": "raise", "unique": False}
        samples += [
            Sample((x[0, 0], u[1, 1], i), params),
            Sample((x[0, 0], np.float64(0.3), 2), params | {"unique": True}),
            Sample((x, u[:, :2], np.array([1, 0])), params | {"axes": (1,), "at": 1, "unique": True}),
            Sample((x, np.sin(np.arange(32.0)).reshape(2, 4, 4), i), params | {"axes": (1,), "at": 2}),
            Sample((x[0], u[0].reshape(4, 3)[:2], j, i[:3]), params | {"axes": (0, 1)}),
            Sample((x, u.reshape(3, 2, 4), np.array([1, 5, 1])), params | {"axes": (1,), "at": 0, "mode": "drop"}),
            Sample((np.arange(5), np.array([3, 1]), np.array([1, 1])), params),
        ]
    return samples


scatter_p: Primitive = Primitive(
    "scatter",
    shape=_scatter_shape,
    impl=_scatter_impl,
    specialize=_scatter_specialize,
    over=_scatter_to,
    jvp=_scatter_jvp,
    transpose=_scatter_transpose,
    batch=_scatter_batch,
    kind="library",
    samples=_scatter_samples,
)


def scatter(
    x: Any,
    updates: Any,
    indices: Sequence[Any],
    axes: Sequence[int],
    at: int = 0,
    op: Operation = "set",
    mode: Mode = "raise",
    unique: bool = False,
) -> Any:
    """A copy of ``x`` with ``updates`` written at the places that index arrays name.

    Args:
        x: an array.
        updates: an array of the dtype of ``x``, of the shape that ``take_index`` would read.
        indices: arrays of integers which broadcast together, one for each of ``axes``.
        axes: the axes that they index, increasing.
        at: how many of the other axes stand before those of the index arrays in ``updates``.
        op: ``"set"``, or how an update is combined with what is there: ``"add"``, ``"mul"``, ``"min"``, ``"max"``.
        mode: ``"raise"`` for an error where an index is out of bounds, ``"drop"`` to leave such updates out.
        unique: a promise that no place is named twice, which saves work. If it is broken the result is undefined.

    Returns:
        An array like ``x``. Where a place is named more than once, ``"set"`` leaves the last update, in the order
        of the index arrays read row by row, and the derivative goes to that update alone; the others combine all
        updates. ``"min"`` and ``"max"`` share the derivative evenly among all that attain the extremum.

    Raises:
        IndexingError: an index is out of bounds, no integer, or ``axes`` or ``at`` do not fit ``x``.
        ShapeError: ``updates`` do not have the shape of the places.
        DTypeError: the dtypes differ, or have no order where one is needed.

    >>> scatter(np.ones(4), np.array([2.0, 3.0, 4.0]), [np.array([0, 2, 0])], (0,), op="mul")
    array([8., 1., 3., 1.])
    """
    return scatter_p.bind(x, updates, *indices, axes=tuple(axes), at=at, op=op, mode=mode, unique=unique)
