"""The primitives of ``collectives``: what each does to a whole batch, and its derivative."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans.core.avals import ShapedArray, shaped
from functrans.core.primitive import BatchAxis, Primitive, Trait, Undefined, Zero
from functrans.core.structural import convert, linear_jvp, move_axis, zeros
from functrans.core.trace import aval_of
from functrans.interpreters.batch import batch_flat, materialize
from functrans.lax.arithmetic import div
from functrans.lax.compare import eq
from functrans.lax.creation import iota
from functrans.lax.movement import broadcast_in_dim, reshape
from functrans.lax.reduction import reduce_max, reduce_min, reduce_sum
from functrans.lax.selection import select
from functrans.lax.taking import take

Groups = tuple[tuple[int, ...], ...] | None
Kernel = Callable[[Any], Any]
"""A function of a batch whose examples come first, to the batch of results, likewise."""


def _unbound(name: str) -> Callable[..., Any]:
    def impl(xp: Any, *args: Any, axes: Sequence[Hashable], **params: Any) -> Any:
        raise not_bound(name, axes[0], ())

    return impl


def not_bound(where: str, name: Hashable, known: Sequence[Hashable]) -> errors.AxisNameError:
    there = f"the named axes here are {', '.join(map(repr, known))}" if known else "no axis here has a name"
    return errors.AxisNameError(
        f"{where}: there is no axis named {name!r}; {there}. Map the function with functrans.vmap(f, "
        f"axis_name={name!r})"
    )


def _collective(
    name: str,
    *,
    shape: Callable[..., ShapedArray],
    kernel: Callable[..., Kernel],
    transpose: Callable[..., Any] | None = None,
    jvp: Callable[..., Any] | None = None,
    shift: Callable[[dict[str, Any]], dict[str, Any]] = lambda params: params,
) -> Primitive:
    """A collective of one operand along one axis.

    ``kernel(size, **params)`` computes it for a whole batch; ``shift(params)`` are the parameters for operands with one
    more axis in front.
    """

    def batch(axis: BatchAxis, args: Sequence[Any], dims: Sequence[int | None], **params: Any) -> tuple[Any, Any]:
        (x,), (dim,) = args, dims
        x = materialize(axis, x, dim)
        if params["axes"] != (axis.name,):
            return prim.bind(x, **shift(params)), 0
        groups = params.pop("groups", None)
        del params["axes"]
        if groups is None:
            return kernel(axis.size, **params)(x), 0
        return _by_group(groups, kernel(len(groups[0]), **params), x), 0

    prim: Primitive = Primitive(
        name,
        shape=shape,
        impl=_unbound(name),
        jvp=jvp or linear_jvp(lambda: prim),
        transpose=transpose,
        batch=batch,
        kind="custom",
        traits=frozenset({Trait.COLLECTIVE}),
    )
    return prim


def _by_group(groups: tuple[tuple[int, ...], ...], kernel: Kernel, x: Any) -> Any:
    """A kernel applied to each group of examples on its own."""
    members = np.array(groups)
    count, size = members.shape
    rest = aval_of(x).shape[1:]
    rows = reshape(take(x, members.ravel(), 0), (count, size, *rest))
    axis = BatchAxis(count)
    ((y, dim),) = batch_flat(lambda a: [kernel(a)], axis, [rows], [0])
    y = materialize(axis, y, dim)
    flat = reshape(y, (count * size, *aval_of(y).shape[2:]))
    return take(flat, np.argsort(members.ravel()), 0)


def _split(x: Any, dim: int, parts: int) -> Any:
    """An axis as two: which part, and where in it."""
    shape = aval_of(x).shape
    return reshape(x, (*shape[:dim], parts, shape[dim] // parts, *shape[dim + 1 :]))


def _merged(x: Any, dim: int) -> Any:
    """An axis and the next one as one."""
    shape = aval_of(x).shape
    return reshape(x, (*shape[:dim], shape[dim] * shape[dim + 1], *shape[dim + 2 :]))


# -- reductions -------------------------------------------------------------------------------------------------------


def _reduction(name: str, reduce: Callable[[Any, Any], Any], **rules: Any) -> Primitive:
    """A reduction along any number of named axes. What every example shares it gives back to all of them."""

    def batch(
        axis: BatchAxis, args: Sequence[Any], dims: Sequence[int | None], *, axes: tuple[Hashable, ...], groups: Groups
    ) -> tuple[Any, int | None]:
        (x,), (dim,) = args, dims
        if axis.name is None or axis.name not in axes:
            return prim.bind(x, axes=axes, groups=groups), dim
        x = materialize(axis, x, dim)
        if groups is not None:

            def each(a: Any) -> Any:
                shape = aval_of(a).shape
                return broadcast_in_dim(reduce(a, (0,)), shape, range(1, len(shape)))

            return _by_group(groups, each, x), 0
        total = reduce(x, (0,))
        rest = tuple(a for a in axes if a != axis.name)
        return (prim.bind(total, axes=rest, groups=None) if rest else total), None

    prim: Primitive = Primitive(
        name,
        shape=_like,
        impl=_unbound(name),
        batch=batch,
        kind="custom",
        traits=frozenset({Trait.COLLECTIVE}),
        **rules,
    )
    return prim


def _like(x: ShapedArray, **params: Any) -> ShapedArray:
    return shaped(x.shape, x.dtype, "numpy")


psum_p: Primitive = _reduction(
    "psum",
    reduce_sum,
    jvp=linear_jvp(lambda: psum_p),
    transpose=lambda ct, x, **params: [psum_p.bind(ct, **params)],
)


def _extremum_jvp(prim_of: Callable[[], Primitive]) -> Callable[..., Any]:
    def jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        (x,), (t,) = primals, tangents
        out = prim_of().bind(x, **params)
        if isinstance(t, Zero):
            return out, t
        chosen = eq(x, out)
        kept = select(chosen, t, zeros(aval_of(t)))
        count = psum_p.bind(convert(chosen, aval_of(t).dtype), **params)
        return out, div(psum_p.bind(kept, **params), count)

    return jvp


pmax_p: Primitive = _reduction("pmax", reduce_max, jvp=_extremum_jvp(lambda: pmax_p))
pmin_p: Primitive = _reduction("pmin", reduce_min, jvp=_extremum_jvp(lambda: pmin_p))


# -- movement between examples ----------------------------------------------------------------------------------------


def _gather_shape(x: ShapedArray, *, size: Any, dim: int, tiled: bool, **params: Any) -> ShapedArray:
    shape = list(x.shape)
    if tiled:
        shape[dim] *= size
    else:
        shape.insert(dim, size)
    return shaped(tuple(shape), x.dtype)


def _gather(n: int, *, size: int, dim: int, tiled: bool) -> Kernel:
    def kernel(x: Any) -> Any:
        every = move_axis(x, 0, dim)
        whole = _merged(every, dim) if tiled else every
        shape = aval_of(whole).shape
        return broadcast_in_dim(whole, (n, *shape), range(1, len(shape) + 1))

    return kernel


def _scatter_shape(x: ShapedArray, *, size: Any, dim: int, tiled: bool, **params: Any) -> ShapedArray:
    shape = list(x.shape)
    if tiled:
        shape[dim] //= size
    else:
        del shape[dim]
    return shaped(tuple(shape), x.dtype, "numpy")


def _scatter(n: int, *, size: int, dim: int, tiled: bool) -> Kernel:
    def kernel(x: Any) -> Any:
        total = reduce_sum(x, (0,))
        return move_axis(_split(total, dim, n) if tiled else total, dim, 0)

    return kernel


def _deeper(params: dict[str, Any]) -> dict[str, Any]:
    return {**params, **{key: params[key] + 1 for key in ("dim", "split", "concat") if key in params}}


all_gather_p: Primitive = _collective(
    "all_gather",
    shape=_gather_shape,
    kernel=_gather,
    transpose=lambda ct, x, **params: [psum_scatter_p.bind(ct, **params)],
    shift=_deeper,
)
psum_scatter_p: Primitive = _collective(
    "psum_scatter",
    shape=_scatter_shape,
    kernel=_scatter,
    transpose=lambda ct, x, **params: [all_gather_p.bind(ct, **params)],
    shift=_deeper,
)


def _exchange_shape(x: ShapedArray, *, size: Any, split: int, concat: int, tiled: bool, **params: Any) -> ShapedArray:
    shape = list(x.shape)
    if tiled:
        shape[split] //= size
        shape[concat] *= size
    else:
        del shape[split]
        shape.insert(concat, size)
    return shaped(tuple(shape), x.dtype)


def _exchange(n: int, *, size: int, split: int, concat: int, tiled: bool) -> Kernel:
    def kernel(x: Any) -> Any:
        # The axes are (from, ...). The part for each receiver comes to the front; the senders stand where it was.
        parts = _split(x, split + 1, n) if tiled else x
        sent = move_axis(parts, split + 1, 0)
        received = move_axis(sent, 1, concat + 1)
        return _merged(received, concat + 1) if tiled else received

    return kernel


def _exchange_transpose(ct: Any, x: Undefined, *, split: int, concat: int, **params: Any) -> list[Any]:
    return [all_to_all_p.bind(ct, split=concat, concat=split, **params)]


all_to_all_p: Primitive = _collective(
    "all_to_all", shape=_exchange_shape, kernel=_exchange, transpose=_exchange_transpose, shift=_deeper
)


def _permute(n: int, *, perm: tuple[tuple[int, int], ...]) -> Kernel:
    sources = dict((to, source) for source, to in perm)

    def kernel(x: Any) -> Any:
        moved = take(x, np.array([sources.get(i, 0) for i in range(n)], np.int64), 0)
        if len(sources) == n:
            return moved
        aval = aval_of(moved)
        mask = broadcast_in_dim(np.array([i in sources for i in range(n)]), aval.shape, (0,))
        return select(mask, moved, zeros(aval))

    return kernel


ppermute_p: Primitive = _collective(
    "ppermute",
    shape=_like,
    kernel=_permute,
    transpose=lambda ct, x, *, axes, perm: [ppermute_p.bind(ct, axes=axes, perm=tuple((t, s) for s, t in perm))],
)


def _index_batch(axis: BatchAxis, args: Sequence[Any], dims: Any, *, axes: tuple[Hashable, ...]) -> tuple[Any, Any]:
    if axes != (axis.name,):
        return axis_index_p.bind(axes=axes), None
    return iota(np.int64, (axis.size,)), 0


axis_index_p: Primitive = Primitive(
    "axis_index",
    shape=lambda *, axes: shaped((), np.dtype(np.int64), "numpy"),
    impl=_unbound("axis_index"),
    jvp=lambda primals, tangents, *, axes: (axis_index_p.bind(axes=axes), Zero(aval_of(0).tangent())),
    batch=_index_batch,
    kind="custom",
    traits=frozenset({Trait.COLLECTIVE}),
)
