"""Collectives: operations between the examples of a batch, along axes that ``vmap(axis_name=...)`` gave a name.

Inside of the mapped function each example has its own value; a collective combines the values of all examples, and
gives each of them a result. The derivative is that of the whole batch: where ``grad`` stands inside of ``vmap``, each
example gets the derivative of the sum of all examples' results with respect to its own argument, as the linear
operations here are transposed as operations on the batch (the transpose of ``psum`` is ``psum``).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans.core.avals import ShapedArray
from functrans.core.structural import convert
from functrans.core.trace import aval_of
from functrans.core.tree import tree_map
from functrans.interpreters.batch import named_axes
from functrans.lax.arithmetic import add, div, mul
from functrans.lax.collective_rules import (
    Groups,
    all_gather_p,
    all_to_all_p,
    axis_index_p,
    not_bound,
    pmax_p,
    pmin_p,
    ppermute_p,
    psum_p,
    psum_scatter_p,
)

AxisName = Hashable
"""The name of an axis, or a tuple of names."""


def _names(where: str, axis_name: AxisName) -> tuple[tuple[Hashable, ...], tuple[int, ...]]:
    """The named axes and their extents."""
    known = dict(named_axes())
    names = axis_name if isinstance(axis_name, tuple) and axis_name not in known else (axis_name,)
    assert isinstance(names, tuple)
    for name in names:
        if name not in known:
            raise not_bound(where, name, [*known])
    if len(set(names)) < len(names):
        raise errors.ArgumentError(f"{where}: the axes {names!r} are not all different")
    return names, tuple(known[name] for name in names)


def _one(where: str, axis_name: AxisName) -> tuple[Hashable, int]:
    names, sizes = _names(where, axis_name)
    if len(names) != 1:
        raise errors.ArgumentError(
            f"{where}: one axis is needed, got {axis_name!r}. Apply it to one axis after another"
        )
    return names[0], sizes[0]


def _groups(where: str, names: Sequence[Hashable], sizes: Sequence[int], groups: Any) -> Groups:
    if groups is None:
        return None
    if len(names) != 1:
        raise errors.ArgumentError(f"{where}: axis_index_groups goes with one axis, got {tuple(names)!r}")
    rows = tuple(tuple(int(i) for i in row) for row in groups)
    if len({len(row) for row in rows}) != 1 or sorted(i for row in rows for i in row) != list(range(sizes[0])):
        raise errors.ArgumentError(
            f"{where}: axis_index_groups must be lists of one length that hold each index of the axis {names[0]!r} of "
            f"size {sizes[0]} once, got {groups!r}"
        )
    return rows


def _dimension(where: str, label: str, value: Any, ndim: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not -ndim <= value < ndim:
        raise errors.ArgumentError(f"{where}: {label}={value!r} is no axis of a value with {ndim} axes")
    return int(value) % ndim


def _numbers(where: str, x: Any) -> Any:
    """A leaf as an operand: booleans are counted."""
    aval = aval_of(x)
    if isinstance(x, (bool, np.bool_)):
        return int(x)
    return convert(x, np.dtype(np.int64)) if aval.dtype.kind == "b" else x


def psum(x: Any, axis_name: AxisName, *, axis_index_groups: Sequence[Sequence[int]] | None = None) -> Any:
    """The sum over all examples, which each of them gets.

    Args:
        x: a pytree of arrays; booleans are counted.
        axis_name: the name that ``vmap`` gave the axis, or a tuple of names.
        axis_index_groups: lists of indices along the axis, of one length, that hold each index once; the sum is then
            that of the group. With one axis only.

    Returns:
        A pytree like ``x``. The sum of a Python number is the product with the number of examples, a Python number.

    Raises:
        AxisNameError: no ``vmap`` around has an axis of that name.

    The derivative is that of the whole batch: the transpose of ``psum`` is ``psum``, so that
    ``vmap(grad(lambda x: psum(x, "i")), axis_name="i")`` gives the number of examples.

    >>> import numpy as np, functrans as ft
    >>> ft.vmap(lambda x: x / ft.lax.psum(x, "i"), axis_name="i")(np.array([1.0, 3.0]))
    array([0.25, 0.75])
    """
    names, sizes = _names("psum", axis_name)
    groups = _groups("psum", names, sizes, axis_index_groups)
    count = int(np.prod(sizes)) if groups is None else len(groups[0])

    def total(leaf: Any) -> Any:
        leaf = _numbers("psum", leaf)
        if isinstance(leaf, (int, float, complex)) and not isinstance(leaf, np.generic):
            return leaf * count
        return psum_p.bind(leaf, axes=names, groups=groups)

    return tree_map(total, x)


def pmean(x: Any, axis_name: AxisName, *, axis_index_groups: Sequence[Sequence[int]] | None = None) -> Any:
    """The mean over all examples, which each of them gets; see ``psum``.

    >>> import numpy as np, functrans as ft
    >>> ft.vmap(lambda x: x - ft.lax.pmean(x, "i"), axis_name="i")(np.array([1.0, 3.0]))
    array([-1.,  1.])
    """
    names, sizes = _names("pmean", axis_name)
    groups = _groups("pmean", names, sizes, axis_index_groups)
    count = int(np.prod(sizes)) if groups is None else len(groups[0])
    return tree_map(lambda leaf: div(leaf, count), psum(x, axis_name, axis_index_groups=axis_index_groups))


def pmax(x: Any, axis_name: AxisName, *, axis_index_groups: Sequence[Sequence[int]] | None = None) -> Any:
    """The maximum over all examples, element by element; see ``psum``. Ties share the derivative evenly.

    >>> import numpy as np, functrans as ft
    >>> ft.vmap(lambda x: ft.lax.pmax(x, "i") - x, axis_name="i")(np.array([1.0, 3.0]))
    array([2., 0.])
    """
    names, sizes = _names("pmax", axis_name)
    groups = _groups("pmax", names, sizes, axis_index_groups)
    return tree_map(lambda leaf: pmax_p.bind(leaf, axes=names, groups=groups), x)


def pmin(x: Any, axis_name: AxisName, *, axis_index_groups: Sequence[Sequence[int]] | None = None) -> Any:
    """The minimum over all examples, element by element; see ``pmax``.

    >>> import numpy as np, functrans as ft
    >>> ft.vmap(lambda x: x - ft.lax.pmin(x, "i"), axis_name="i")(np.array([1.0, 3.0]))
    array([0., 2.])
    """
    names, sizes = _names("pmin", axis_name)
    groups = _groups("pmin", names, sizes, axis_index_groups)
    return tree_map(lambda leaf: pmin_p.bind(leaf, axes=names, groups=groups), x)


def all_gather(
    x: Any,
    axis_name: AxisName,
    *,
    axis: int = 0,
    tiled: bool = False,
    axis_index_groups: Sequence[Sequence[int]] | None = None,
) -> Any:
    """The values of all examples along a new axis, which each of them gets.

    Args:
        x: a pytree of arrays.
        axis_name: the name that ``vmap`` gave the axis, or a tuple of names: the last one varies fastest.
        axis: where the axis of the examples is in the result.
        tiled: whether the values are joined along the existing ``axis`` instead.
        axis_index_groups: as in ``psum``.

    The derivative is ``psum_scatter``.

    >>> import numpy as np, functrans as ft
    >>> ft.vmap(lambda x: ft.lax.all_gather(x, "i"), axis_name="i")(np.array([1.0, 3.0]))
    array([[1., 3.],
           [1., 3.]])
    """
    names, sizes = _names("all_gather", axis_name)
    groups = _groups("all_gather", names, sizes, axis_index_groups)

    def gathered(leaf: Any) -> Any:
        dim = _dimension("all_gather", "axis", axis, aval_of(leaf).ndim + (not tiled))
        for i, (name, size) in enumerate(reversed([*zip(names, sizes, strict=True)])):
            n = size if groups is None else len(groups[0])
            leaf = all_gather_p.bind(leaf, axes=(name,), size=n, dim=dim, tiled=bool(tiled or i), groups=groups)
        return leaf

    return tree_map(gathered, x)


def psum_scatter(
    x: Any,
    axis_name: AxisName,
    *,
    scatter_dimension: int = 0,
    axis_index_groups: Sequence[Sequence[int]] | None = None,
    tiled: bool = False,
) -> Any:
    """The sum over all examples, of which each example gets its own part.

    Args:
        x: a pytree of arrays.
        axis_name: the name that ``vmap`` gave the axis, or a tuple of names.
        scatter_dimension: the axis that is distributed. Its extent is the number of examples, and it is gone from the
            result; with ``tiled`` it is a multiple of that number, and each example gets a run of it.
        axis_index_groups: as in ``psum``.

    The derivative is ``all_gather``.

    Raises:
        ShapeError: the axis cannot be distributed.

    >>> import numpy as np, functrans as ft
    >>> ft.vmap(lambda x: ft.lax.psum_scatter(x, "i"), axis_name="i")(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([4., 6.])
    """
    names, sizes = _names("psum_scatter", axis_name)
    groups = _groups("psum_scatter", names, sizes, axis_index_groups)
    count = int(np.prod(sizes)) if groups is None else len(groups[0])

    def scattered(leaf: Any) -> Any:
        leaf = _numbers("psum_scatter", leaf)
        aval = aval_of(leaf)
        dim = _dimension("psum_scatter", "scatter_dimension", scatter_dimension, aval.ndim)
        _check_parts("psum_scatter", "scatter_dimension", aval, dim, count, tiled)
        for i, (name, size) in enumerate(zip(names, sizes, strict=True)):
            n = size if groups is None else len(groups[0])
            last = i == len(names) - 1
            leaf = psum_scatter_p.bind(leaf, axes=(name,), size=n, dim=dim, tiled=tiled or not last, groups=groups)
        return leaf

    return tree_map(scattered, x)


def _check_parts(where: str, label: str, aval: ShapedArray, dim: int, count: int, tiled: bool) -> None:
    extent = aval.shape[dim]
    if extent % count if tiled else extent != count:
        raise errors.ShapeError(
            f"{where}: axis {dim} of a value of shape {aval.shape} ({label}) has extent {extent}, and "
            f"{'a multiple of ' if tiled else ''}{count} is needed, the number of examples. "
            f"{'Pad it' if tiled else 'Pass tiled=True to give each example a run of it'}"
        )


def all_to_all(
    x: Any,
    axis_name: AxisName,
    split_axis: int,
    concat_axis: int,
    *,
    axis_index_groups: Sequence[Sequence[int]] | None = None,
    tiled: bool = False,
) -> Any:
    """Each example sends a part of its value to each other, and gets theirs: a transposition of parts and examples.

    Args:
        x: a pytree of arrays.
        axis_name: the name that ``vmap`` gave the axis.
        split_axis: the axis that is dealt out. Its extent is the number of examples; with ``tiled`` a multiple.
        concat_axis: where the parts that come in are put, as a new axis in the order of their senders; with ``tiled``
            they are joined along this axis.
        axis_index_groups: as in ``psum``.

    The derivative is ``all_to_all`` with the two axes exchanged.

    Raises:
        ShapeError: the axis cannot be dealt out.

    >>> import numpy as np, functrans as ft
    >>> ft.vmap(lambda x: ft.lax.all_to_all(x, "i", 0, 0), axis_name="i")(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([[1., 3.],
           [2., 4.]])
    """
    name, size = _one("all_to_all", axis_name)
    groups = _groups("all_to_all", (name,), (size,), axis_index_groups)
    n = size if groups is None else len(groups[0])

    def exchanged(leaf: Any) -> Any:
        aval = aval_of(leaf)
        split = _dimension("all_to_all", "split_axis", split_axis, aval.ndim)
        concat = _dimension("all_to_all", "concat_axis", concat_axis, aval.ndim)
        _check_parts("all_to_all", "split_axis", aval, split, n, tiled)
        return all_to_all_p.bind(
            leaf, axes=(name,), size=n, split=split, concat=concat, tiled=bool(tiled), groups=groups
        )

    return tree_map(exchanged, x)


def pswapaxes(
    x: Any, axis_name: AxisName, axis: int, *, axis_index_groups: Sequence[Sequence[int]] | None = None
) -> Any:
    """Exchange the named axis with an axis of the value, of the same extent: ``all_to_all(x, axis_name, axis, axis)``.

    >>> import numpy as np, functrans as ft
    >>> ft.vmap(lambda x: ft.lax.pswapaxes(x, "i", 0), axis_name="i")(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([[1., 3.],
           [2., 4.]])
    """
    return all_to_all(x, axis_name, axis, axis, axis_index_groups=axis_index_groups)


def ppermute(x: Any, axis_name: AxisName, perm: Sequence[tuple[int, int]]) -> Any:
    """Values sent from example to example. An example that none is sent to gets zeros.

    Args:
        x: a pytree of arrays.
        axis_name: the name that ``vmap`` gave the axis.
        perm: pairs ``(source, destination)`` of indices along the axis. No index stands twice on one side.

    The derivative sends back.

    >>> import numpy as np, functrans as ft
    >>> ft.vmap(lambda x: ft.lax.ppermute(x, "i", [(0, 1), (1, 2)]), axis_name="i")(np.array([1.0, 2.0, 3.0]))
    array([0., 1., 2.])
    """
    name, size = _one("ppermute", axis_name)
    pairs = tuple((int(source), int(to)) for source, to in perm)
    for side in zip(*pairs, strict=True):
        if len(set(side)) < len(side) or not all(0 <= i < size for i in side):
            raise errors.ArgumentError(
                f"ppermute: perm must hold pairs of indices from 0 to {size - 1}, no source and no destination twice, "
                f"got {perm!r}"
            )
    return tree_map(lambda leaf: ppermute_p.bind(leaf, axes=(name,), perm=pairs), x)


def pshuffle(x: Any, axis_name: AxisName, perm: Sequence[int]) -> Any:
    """Each example gets the value of another: example ``i`` that of ``perm[i]``.

    >>> import numpy as np, functrans as ft
    >>> ft.vmap(lambda x: ft.lax.pshuffle(x, "i", [2, 0, 1]), axis_name="i")(np.array([1.0, 2.0, 3.0]))
    array([3., 1., 2.])
    """
    _, size = _one("pshuffle", axis_name)
    if sorted(int(i) for i in perm) != list(range(size)):
        raise errors.ArgumentError(f"pshuffle: perm must be a permutation of range({size}), got {perm!r}")
    return ppermute(x, axis_name, [(int(source), i) for i, source in enumerate(perm)])


def axis_index(axis_name: AxisName) -> Any:
    """Which example this is: its index along the named axis, an int64; row-major along a tuple of axes.

    >>> import numpy as np, functrans as ft
    >>> ft.vmap(lambda x: x + ft.lax.axis_index("i"), axis_name="i")(np.zeros(3))
    array([0., 1., 2.])
    """
    names, sizes = _names("axis_index", axis_name)
    found: Any = axis_index_p.bind(axes=names[:1])
    for name, size in zip(names[1:], sizes[1:], strict=True):
        found = add(mul(found, size), axis_index_p.bind(axes=(name,)))
    return found


def axis_size(axis_name: AxisName) -> int:
    """The number of examples along the named axis, a Python int; the product for a tuple of axes.

    >>> import numpy as np, functrans as ft
    >>> ft.vmap(lambda x: x / ft.lax.axis_size("i"), axis_name="i")(np.ones(4))
    array([0.25, 0.25, 0.25, 0.25])
    """
    _, sizes = _names("axis_size", axis_name)
    product = 1
    for size in sizes:
        product *= size
    return product
