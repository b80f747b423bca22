"""Rows of the algebra for movements, for reductions of what repeats, and for contractions of what was moved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from functrans.core.jaxpr import Atom, Eqn, SizeVar
from functrans.passes.table import Context, kind_of, row

# -- movements of movements --------------------------------------------------------------------------------------------


@row(
    "transpose",
    examples=[
        lambda p, x, y: p.transpose(x, axes=tuple(range(x.ndim))),
        lambda p, x, y: p.transpose(p.transpose(x, axes=(1, 0)), axes=(1, 0)),
        lambda p, x, y: p.transpose(p.transpose(p.expand_dims(x, dims=(0,)), axes=(1, 2, 0)), axes=(1, 2, 0)),
    ],
)
def transposes(context: Context, eqn: Eqn) -> Atom | None:
    x, axes = eqn.inputs[0], eqn.params["axes"]
    if axes == tuple(range(len(axes))):
        return x
    inner = context.made_by(x, "transpose")
    if inner is None:
        return None
    before = inner.params["axes"]
    axes = tuple([before[a] for a in axes])
    if axes == tuple(range(len(axes))):
        return inner.inputs[0]
    return context.emit(eqn.prim, inner.inputs[0], axes=axes)


@row("transpose", examples=[
     lambda p, x, y: p.transpose(p.broadcast(x, shape=(3, *x.shape), dims=(1, 2)), axes=(1, 0, 2))])  # fmt: skip
def transposed_broadcast(context: Context, eqn: Eqn) -> Atom | None:
    """A broadcast lays its operand along other axes at once, where these stay in order."""
    inner = context.made_by(eqn.inputs[0], "broadcast")
    if inner is None:
        return None
    axes = eqn.params["axes"]
    dims = tuple([axes.index(d) for d in inner.params["dims"]])
    if dims != tuple(sorted(dims)):
        return None
    return context.emit("broadcast", inner.inputs[0], shape=eqn.outs[0].aval.shape, dims=dims)


@row(
    "reshape", "squeeze", "expand_dims",
    examples=[
        lambda p, x, y: p.reshape(x, shape=x.shape),
        lambda p, x, y: p.reshape(p.reshape(x, shape=(1, *x.shape)), shape=(*x.shape, 1)),
        lambda p, x, y: p.squeeze(p.expand_dims(x, dims=(0, 2)), dims=(2,)),
        lambda p, x, y: p.expand_dims(p.expand_dims(x, dims=(0,)), dims=(0,)),
    ],
)  # fmt: skip
def reshapes(context: Context, eqn: Eqn) -> Atom | None:
    x, shape = eqn.inputs[0], eqn.outs[0].aval.shape
    if x.aval.shape == shape:
        return x
    inner = context.made_by(x, "reshape", "squeeze", "expand_dims")
    if inner is None or any(isinstance(n, SizeVar) for n in shape):
        return None
    first = inner.inputs[0]
    if first.aval.shape == shape == ():
        return None  # boxing: a NumPy scalar is no 0-d array
    return first if first.aval.shape == shape else context.emit("reshape", first, shape=shape)


@row("broadcast", examples=[
     lambda p, x, y: p.broadcast(x, shape=x.shape, dims=tuple(range(x.ndim))),
     lambda p, x, y: p.broadcast(p.broadcast(x, shape=(3, *x.shape), dims=(1, 2)), shape=(2, 3, *x.shape),
                                 dims=(1, 2, 3)),
])  # fmt: skip
def broadcasts(context: Context, eqn: Eqn) -> Atom | None:
    x, shape, dims = eqn.inputs[0], eqn.params["shape"], eqn.params["dims"]
    if x.aval.shape == shape:
        return x
    inner = context.made_by(x, "broadcast")
    if inner is None:
        return None
    return context.emit(eqn.prim, inner.inputs[0], shape=shape, dims=tuple([dims[d] for d in inner.params["dims"]]))


@row("rev", examples=[
     lambda p, x, y: p.rev(p.rev(x, dimensions=(0, 1)), dimensions=(1, 0)),
     lambda p, x, y: p.rev(p.rev(x, dimensions=(0,)), dimensions=(1, 0)),
])  # fmt: skip
def reversed_twice(context: Context, eqn: Eqn) -> Atom | None:
    inner = context.made_by(eqn.inputs[0], "rev")
    if inner is None:
        return None
    left = {*inner.params["dimensions"]} ^ {*eqn.params["dimensions"]}
    return context.emit(eqn.prim, inner.inputs[0], dimensions=tuple(sorted(left))) if left else inner.inputs[0]


# -- pieces ------------------------------------------------------------------------------------------------------------


def _whole(x: Atom, start: Sequence[int], limit: Sequence[Any], strides: Sequence[int]) -> bool:
    return not any(start) and set(strides) <= {1} and tuple(limit) == x.aval.shape


def _known(shape: Sequence[Any]) -> bool:
    return not any(isinstance(n, SizeVar) for n in shape)


@row("slice", examples=[
     lambda p, x, y: p.slice(x, start=(0, 0), limit=x.shape, strides=(1, 1)),
     lambda p, x, y: p.slice(p.slice(x, start=(0, 1), limit=x.shape, strides=(1, 3)), start=(0, 1),
                             limit=(x.shape[0], 4), strides=(1, 2)),
])  # fmt: skip
def slices(context: Context, eqn: Eqn) -> Atom | None:
    x, (start, limit, strides) = eqn.inputs[0], (eqn.params[k] for k in ("start", "limit", "strides"))
    if _whole(x, start, limit, strides):
        return x
    inner = context.made_by(x, "slice")
    if inner is None or not _known((*inner.inputs[0].aval.shape, *x.aval.shape)):
        return None
    first, steps = inner.params["start"], inner.params["strides"]
    lows = tuple([f + s * k for f, s, k in zip(first, start, steps, strict=True)])
    steps = tuple([s * k for s, k in zip(strides, steps, strict=True)])
    shape = inner.inputs[0].aval.shape
    counts = eqn.outs[0].aval.shape
    if 0 in counts:
        return None
    highs = tuple([low + (n - 1) * k + 1 for low, n, k in zip(lows, counts, steps, strict=True)])
    assert all(h <= n for h, n in zip(highs, shape, strict=True))
    return context.emit(eqn.prim, inner.inputs[0], start=lows, limit=highs, strides=steps)


@row("slice", examples=[
     lambda p, x, y: p.slice(p.concatenate(x, y, dimension=1), start=(0, x.shape[1]),
                             limit=(x.shape[0], 2 * x.shape[1]), strides=(1, 1)),
     lambda p, x, y: p.slice(p.concatenate(x, y, dimension=1), start=(0, 1), limit=(x.shape[0], x.shape[1]),
                             strides=(1, 2)),
])  # fmt: skip
def slice_of_one_part(context: Context, eqn: Eqn) -> Atom | None:
    """What lies within one operand of a concatenation is read from there."""
    inner = context.made_by(eqn.inputs[0], "concatenate")
    start, limit, d = eqn.params["start"], eqn.params["limit"], 0
    if inner is None or not _known(eqn.inputs[0].aval.shape) or 0 in eqn.outs[0].aval.shape:
        return None
    d, at = inner.params["dimension"], 0
    for part in inner.inputs:
        extent = part.aval.shape[d]
        if at <= start[d] and limit[d] <= at + extent:
            low, high = [*start], [*limit]
            low[d], high[d] = low[d] - at, high[d] - at
            return context.emit(eqn.prim, part, start=tuple(low), limit=tuple(high), strides=eqn.params["strides"])
        at += extent
    return None


@row("slice", examples=[
     lambda p, x, y: p.slice(p.pad(x, p.reduce_max(y, axes=(0, 1)), padding=((1, 2, 0), (3, 0, 0))), start=(1, 3),
                             limit=(x.shape[0] + 1, x.shape[1] + 2), strides=(1, 1)),
])  # fmt: skip
def slice_of_the_padded(context: Context, eqn: Eqn) -> Atom | None:
    """What lies within the operand of a padding is read from there."""
    inner = context.made_by(eqn.inputs[0], "pad")
    if inner is None or not _known(eqn.inputs[0].aval.shape) or 0 in eqn.outs[0].aval.shape:
        return None
    x, low, high = inner.inputs[0], [], []
    columns = zip(inner.params["padding"], x.aval.shape, eqn.params["start"], eqn.params["limit"], strict=True)
    for (before, _, interior), extent, start, limit in columns:
        if interior or start < before or limit - before > extent:
            return None
        low.append(start - before)
        high.append(limit - before)
    return context.emit(eqn.prim, x, start=tuple(low), limit=tuple(high), strides=eqn.params["strides"])


@row("pad", examples=[lambda p, x, y: p.pad(x, p.reduce_max(y, axes=(0, 1)), padding=((0, 0, 0), (0, 0, 0)))])
def padded_by_nothing(context: Context, eqn: Eqn) -> Atom | None:
    x = eqn.inputs[0]
    return x if not any(map(any, eqn.params["padding"])) and x.aval.dtype == eqn.outs[0].aval.dtype else None


@row("concatenate", examples=[
     lambda p, x, y: p.concatenate(x, dimension=0),
     lambda p, x, y: p.concatenate(p.concatenate(x, y, dimension=1), x, dimension=1),
])  # fmt: skip
def concatenations(context: Context, eqn: Eqn) -> Atom | None:
    if len(eqn.inputs) == 1:
        return eqn.inputs[0]
    parts: list[Atom] = []
    for a in eqn.inputs:
        inner = context.made_by(a, "concatenate")
        same = inner is not None and inner.params == eqn.params and a.aval.dtype == eqn.outs[0].aval.dtype
        parts.extend(inner.inputs if inner is not None and same else [a])
    return None if len(parts) == len(eqn.inputs) else context.emit(eqn.prim, *parts, **eqn.params)


# -- reductions --------------------------------------------------------------------------------------------------------


@row("reduce_prod", "reduce_max", "reduce_min", "reduce_any", "reduce_all", "sum", examples=[
     lambda p, x, y: p.reduce_prod(x, axes=()), lambda p, x, y: p.reduce_max(x, axes=()),
     lambda p, x, y: p.reduce_any(x, axes=()), lambda p, x, y: p.sum(x, axes=()),
])  # fmt: skip
def over_no_axes(context: Context, eqn: Eqn) -> Atom | None:
    # NumPy adds to 0.0, which makes a zero positive; a complex product has terms with the zero part of one.
    changed = {"sum": "fc", "reduce_prod": "c"}.get(eqn.prim.name, "")
    return eqn.inputs[0] if eqn.params["axes"] == () and kind_of(eqn) not in changed else None


@row("reduce_max", "reduce_min", "reduce_any", "reduce_all", examples=[
     lambda p, x, y: p.reduce_max(p.broadcast(x, shape=(3, *x.shape), dims=(1, 2)), axes=(0,)),
     lambda p, x, y: p.reduce_min(p.broadcast(x, shape=(3, *x.shape), dims=(1, 2)), axes=(0, 2)),
     lambda p, x, y: p.reduce_any(p.broadcast(x, shape=(3, *x.shape, 2), dims=(1, 2)), axes=(0,)),
])  # fmt: skip
def of_what_repeats(context: Context, eqn: Eqn) -> Atom | None:
    """The extremum of equal elements is each of them."""
    inner = context.made_by(eqn.inputs[0], "broadcast")
    if inner is None or not _known(eqn.inputs[0].aval.shape) or 0 in eqn.inputs[0].aval.shape:
        return None
    x, dims, axes = inner.inputs[0], inner.params["dims"], eqn.params["axes"]
    new = [a for a in axes if a not in dims]
    if not new or not x.aval.shape:
        return None
    kept = [a for a in range(len(inner.params["shape"])) if a not in new]
    shape = tuple([inner.params["shape"][a] for a in kept])
    smaller: Atom = x
    if x.aval.shape != shape:
        smaller = context.emit("broadcast", x, shape=shape, dims=tuple([kept.index(d) for d in dims]))
    rest = tuple([kept.index(a) for a in axes if a in dims])
    return context.emit(eqn.prim, smaller, axes=rest) if rest else smaller


@row("reduce_max", "reduce_min", "reduce_any", "reduce_all", "sum", "reduce_prod", examples=[
     lambda p, x, y: p.reduce_max(p.reduce_max(x, axes=(1,)), axes=(0,)),
     lambda p, x, y: p.reduce_any(p.reduce_any(x, axes=(0,)), axes=(0,)),
     lambda p, x, y: p.sum(p.sum(x, axes=(0,)), axes=(0,)),
])  # fmt: skip
def reductions(context: Context, eqn: Eqn) -> Atom | None:
    """Two reductions are one, where order has no influence: which zero is the larger one depends on it."""
    return None if kind_of(eqn) in "fc" else merged_reductions(context, eqn)


def merged_reductions(context: Context, eqn: Eqn) -> Atom | None:
    """Two reductions of one kind as one."""
    inner = context.made_by(eqn.inputs[0], eqn.prim.name)
    if inner is None or eqn.prim.shape(inner.inputs[0].aval, axes=()).dtype != inner.inputs[0].aval.dtype:
        return None
    first = inner.params["axes"]
    left = [a for a in range(len(inner.inputs[0].aval.shape)) if a not in first]
    axes = tuple(sorted((*first, *[left[a] for a in eqn.params["axes"]])))
    return context.emit(eqn.prim, inner.inputs[0], axes=axes)


# -- contraction -------------------------------------------------------------------------------------------------------


@row("dot_general", examples=[
     lambda p, x, y: p.dot_general(p.transpose(x, axes=(1, 0)), y, dimension_numbers=(((1,), (0,)), ((), ()))),
     lambda p, x, y: p.dot_general(x, p.transpose(y, axes=(1, 0)), dimension_numbers=(((1,), (0,)), ((), ()))),
])  # fmt: skip
def transposed_operands(context: Context, eqn: Eqn) -> Atom | None:
    """A permuted operand is read by other axes, where the order of those that remain is the same."""
    (contract, batch) = eqn.params["dimension_numbers"]
    inputs = list(eqn.inputs)
    numbers = [[contract[0], batch[0]], [contract[1], batch[1]]]
    for side, a in enumerate(eqn.inputs):
        inner = context.made_by(a, "transpose")
        if inner is None:
            continue
        axes = inner.params["axes"]
        used = {*numbers[side][0], *numbers[side][1]}
        free = [axes[d] for d in range(len(axes)) if d not in used]
        if free == sorted(free):
            inputs[side] = inner.inputs[0]
            numbers[side] = [tuple([axes[d] for d in group]) for group in numbers[side]]
    if inputs == list(eqn.inputs):
        return None
    (lc, lb), (rc, rb) = numbers
    return context.emit(eqn.prim, *inputs, dimension_numbers=((lc, rc), (lb, rb)))
