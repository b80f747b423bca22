"""Batching: a function of one example becomes a function of many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans.core import dtypes
from functrans.core.avals import ShapedArray, shaped
from functrans.core.evaluate import evaluate
from functrans.core.jaxpr import Jaxpr, axes_of, effects_of, sizes_in, with_constant
from functrans.core.primitive import PER_EXAMPLE, BatchAxis, Params, Primitive, Trait
from functrans.core.stage import stage
from functrans.core.structural import broadcast, convert, move_axis
from functrans.core.trace import Trace, Tracer, aval_of, current_trace, known, reset_trace, running, set_trace
from functrans.util.cache import WeakMemo

Dims = Sequence[int | None]


class BatchTrace(Trace):
    """Carries a whole batch behind each value. A tracer's payload is the pair (batched array, its batch axis)."""

    __slots__ = ("axis",)

    def __init__(self, parent: Trace | None, axis: BatchAxis) -> None:
        super().__init__(parent)
        self.axis = axis

    def batched(self, value: Any) -> tuple[Any, int | None]:
        """The array behind a value and its batch axis, None for what this trace did not make."""
        if isinstance(value, Tracer) and value._trace is self:
            pair: tuple[Any, int] = value.payload
            return pair
        return value, None

    def lift(self, array: Any, dim: int | None, aval: ShapedArray | None = None) -> Any:
        """A tracer for one example of a batched array; the array itself where it is not batched."""
        if dim is None:
            return array
        return Tracer(self, aval or example_aval(aval_of(array), dim), (array, dim))

    def constant(self, value: Any, fixed: bool = False) -> Any:
        return Tracer(self, aval_of(value), (Trace.constant(self, value, fixed), None))

    def concrete(self, tracer: Tracer) -> Any:
        array, dim = tracer.payload
        if dim is not None:
            return None
        return array._trace.concrete(array) if isinstance(array, Tracer) else array

    def known(self, tracer: Tracer) -> Any:
        array, dim = tracer.payload
        return known(array) if dim is None else None

    def process(self, prim: Primitive, args: Sequence[Any], params: Params) -> Any:
        arrays: Sequence[Any]
        arrays, dims = zip(*map(self.batched, args), strict=True) if args else ((), ())
        token = set_trace(self.parent)
        try:
            if all(d is None for d in dims) and not self._concerned(prim, args, params):
                return prim.bind(*arrays, **params)
            avals = [aval_of(a) for a in args]
            if Trait.ELEMENTWISE in prim.traits and any(
                d is not None and a.box == "python" for a, d in zip(avals, dims, strict=True)
            ):
                arrays = strengthen(arrays, avals, dims)
            # How an example is boxed cannot be seen in a batch; and errors should speak of the example's shape.
            result = None if prim.stage is not None else prim.shape(*avals, **params)
            outs, out_dims = prim.rule("batch")(self.axis, arrays, dims, **params)
        finally:
            reset_trace(token)
        if prim.multiple and result is not None:
            # A size that the operation finds is known by the batch.
            result = [None if any(True for _ in sizes_in(a)) else a for a in result]
        if prim.multiple:
            return [self.lift(*out) for out in zip(outs, out_dims, result or [None] * len(outs), strict=True)]
        return self.lift(outs, out_dims, result)

    def _concerned(self, prim: Primitive, args: Sequence[Any], params: Params) -> bool:
        """Whether an operation depends on the batch though none of its operands does.

        An effect happens for each example, and a collective counts them.
        """
        name = self.axis.name
        if prim.kind in (None, "library"):
            return Trait.COLLECTIVE in prim.traits and name in params["axes"]
        if prim.stage is not None:
            with running(self):
                _, params = prim.stage([aval_of(a) for a in args], params)
        if not self.axis.directions and effects_of(prim, params) & PER_EXAMPLE:
            return True
        return name is not None and name in axes_of(prim, params)

    def need(self, tracer: Tracer, error: Any, use: str) -> Any:
        array, dim = tracer.payload
        if dim is None and isinstance(array, Tracer):
            return array._trace.need(array, error, use)
        return super().need(tracer, error, use)

    def origin(self, tracer: Tracer) -> str:
        array = tracer.payload[0]
        if isinstance(array, Tracer):
            return array._trace.origin(array)
        return f"It is one example of a batch of shape {aval_of(array).shape} under vmap."


def named_axes() -> tuple[tuple[Any, Any], ...]:
    """The named axes of the transformations that are running, innermost first, with their extents.

    What a function is traced to may depend on them, so that they belong to the keys of caches.
    """
    trace = current_trace()
    found: dict[Any, Any] = {}
    while trace is not None:
        if isinstance(trace, BatchTrace) and trace.axis.name is not None:
            found.setdefault(trace.axis.name, trace.axis.size)
        trace = trace.parent
    return tuple(found.items())


def example_aval(aval: ShapedArray, dim: int) -> ShapedArray:
    """The aval of one example of a batched array."""
    return shaped(aval.shape[:dim] + aval.shape[dim + 1 :], aval.dtype, "numpy")


def strengthen(arrays: Sequence[Any], avals: Sequence[ShapedArray], dims: Dims) -> list[Any]:
    """Cast batches of weak Python numbers to the dtype that each of them would have adopted.

    A batch is an array, and an array has no weak type.
    """
    strong = [a.dtype for a in avals if not a.weak and a.dtype.kind != "b"]
    if strong:
        target = strong[0]
    else:
        target = dtypes.result_type(*[a.dtype for a in avals])
    return [convert(x, target) if d is not None and a.weak else x for x, a, d in zip(arrays, avals, dims, strict=True)]


def batch_flat(
    f: Callable[..., Sequence[Any]], axis: BatchAxis, args: Sequence[Any], dims: Dims
) -> list[tuple[Any, int | None]]:
    """The results of mapping a function of arrays, each with its batch axis or None."""
    trace = BatchTrace(current_trace(), axis)
    token = set_trace(trace)
    try:
        outs = f(*[trace.lift(a, d) for a, d in zip(args, dims, strict=True)])
    finally:
        reset_trace(token)
        trace.ended = True
    return [trace.batched(out) for out in outs]


def materialize(axis: BatchAxis, array: Any, dim: int | None, to: int = 0) -> Any:
    """A result with its batch axis at ``to``; repeated along a new axis where it is not batched."""
    if dim is not None:
        return move_axis(array, dim, to)
    shape = aval_of(array).shape
    to = to % (len(shape) + 1)
    return broadcast(array, (*shape[:to], axis.size, *shape[to:]), [i + (i >= to) for i in range(len(shape))])


def _batch_jaxpr(
    jaxpr: Jaxpr, axis: BatchAxis, batched: tuple[bool, ...], force: tuple[bool, ...] | bool, masked: bool
) -> tuple[Jaxpr, tuple[bool, ...]]:
    batched_out: list[bool] = []

    def f(*args: Any) -> list[Any]:
        live, args = (args[0], args[1:]) if masked else (None, args)
        trace = BatchTrace(current_trace(), axis._replace(live=live))
        token = set_trace(trace)
        try:
            inputs = [trace.lift(a, 0, v.aval) if b else a for a, b, v in zip(args, batched, jaxpr.invars, strict=True)]
            pairs = [trace.batched(out) for out in evaluate(jaxpr, inputs)]
        finally:
            reset_trace(token)
            trace.ended = True
        forced = (force,) * len(pairs) if isinstance(force, bool) else force
        batched_out[:] = [d is not None or now for (_, d), now in zip(pairs, forced, strict=True)]
        return [materialize(axis, x, d) if b else x for (x, d), b in zip(pairs, batched_out, strict=True)]

    avals = [shaped((axis.size, *a.shape), a.dtype) if b else a for a, b in zip(jaxpr.in_avals, batched, strict=True)]
    if masked:
        avals.insert(0, shaped((axis.size,), np.dtype(bool)))
    return stage(f, avals, "vmap"), tuple(batched_out)


_memo: WeakMemo[tuple[Jaxpr, tuple[bool, ...]]] = WeakMemo(_batch_jaxpr)


def batch_jaxpr(
    jaxpr: Jaxpr, axis: BatchAxis, batched: Sequence[bool], force: Sequence[bool] | bool = False
) -> tuple[Jaxpr, tuple[bool, ...]]:
    """The jaxpr of a mapped jaxpr, with every batch axis first.

    Args:
        jaxpr: a jaxpr without constants.
        axis: the mapped axis. Where it says which examples are live, and the jaxpr has effects, that becomes a constant
            of the result.
        batched: which inputs have it.
        force: which outputs must have it.

    Returns:
        The jaxpr, and which of its outputs have the axis.
    """
    force = force if isinstance(force, bool) else tuple(force)
    live, axis = axis.live, axis._replace(live=None)
    if live is None or not jaxpr.effects & PER_EXAMPLE:
        return _memo(jaxpr, axis, tuple(batched), force, False)
    mapped, batched_out = _memo(jaxpr, axis, tuple(batched), force, True)
    return with_constant(mapped, live), batched_out
