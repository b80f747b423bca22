"""``linear_call``: a linear function of which the user gives the transpose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from functrans.core.avals import ShapedArray
from functrans.core.evaluate import evaluate
from functrans.core.jaxpr import Jaxpr
from functrans.core.primitive import BatchAxis, Primitive, Trait, Undefined, Zero
from functrans.core.structural import add, instantiate
from functrans.core.trace import aval_of
from functrans.interpreters.batch import batch_jaxpr, materialize
from functrans.interpreters.jvp import jvp_jaxpr
from functrans.lax.control.region import fit, runner
from functrans.util.lists import split as runs

# Operands: constants of the function and of its transpose, residuals, then what it is linear in. ``sizes`` counts
# the first three. Both jaxprs take their own constants, the residuals, and what they are linear in.

Sizes = tuple[int, int, int]


def _forward_operands(args: Sequence[Any], sizes: Sizes) -> list[Any]:
    consts, _, residuals, linear = runs(args, sizes)
    return [*consts, *residuals, *linear]


def _jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, forward: Jaxpr, backward: Jaxpr, sizes: Sizes
) -> tuple[list[Any], list[Any]]:
    n = sum(sizes)
    outs = linear_call_p.bind(*primals, forward=forward, backward=backward, sizes=sizes)
    totals: list[Any] = [Zero(aval_of(o).tangent()) for o in outs]
    if any(not isinstance(t, Zero) for t in tangents[n:]):
        directions = map(instantiate, tangents[n:])
        totals = linear_call_p.bind(*primals[:n], *directions, forward=forward, backward=backward, sizes=sizes)
    fixed = [*tangents[:n], *(Zero(t.aval) if isinstance(t, Zero) else Zero(aval_of(t)) for t in tangents[n:])]
    inner = _forward_operands(fixed, sizes)
    if any(not isinstance(t, Zero) for t in inner):
        derived, live_out = jvp_jaxpr(forward, [not isinstance(t, Zero) for t in inner])
        given = [t for t in inner if not isinstance(t, Zero)]
        found = iter(evaluate(derived, [*_forward_operands(primals, sizes), *given])[len(outs) :])
        for i, live in enumerate(live_out):
            if live:
                t = next(found)
                totals[i] = t if isinstance(totals[i], Zero) else add(totals[i], t)
    return outs, totals


def _transpose(cotangents: Sequence[Any], *operands: Any, forward: Jaxpr, backward: Jaxpr, sizes: Sizes) -> list[Any]:
    n_forward, n_backward, n_residuals = sizes
    consts, others, residuals, linear = runs(operands, sizes)
    cts = [
        fit(instantiate(ct), aval)
        for ct, aval in zip(cotangents, backward.in_avals[n_backward + n_residuals :], strict=True)
    ]
    outs = linear_call_p.bind(
        *others,
        *consts,
        *residuals,
        *cts,
        forward=backward,
        backward=forward,
        sizes=(n_backward, n_forward, n_residuals),
    )
    given = [ct if isinstance(x, Undefined) else None for ct, x in zip(outs, linear, strict=True)]
    return [None] * sum(sizes) + given


def _batch(
    axis: BatchAxis,
    args: Sequence[Any],
    dims: Sequence[int | None],
    *,
    forward: Jaxpr,
    backward: Jaxpr,
    sizes: Sizes,
) -> tuple[list[Any], list[int | None]]:
    consts, others, residuals, linear = runs([d is not None for d in dims], sizes)
    # Both directions carry a batch in all that they are linear in, so that one stays the transpose of the other.
    there, _ = batch_jaxpr(forward, axis, [*consts, *residuals, *[True] * len(linear)], True)
    back, _ = batch_jaxpr(backward, axis, [*others, *residuals, *[True] * len(forward.outvars)], True)
    there, more = there.hoisted()
    back, extra = back.hoisted()
    n = sum(sizes)
    arrays = [
        materialize(axis, x, d) if d is not None or i >= n else x
        for i, (x, d) in enumerate(zip(args, dims, strict=True))
    ]
    fixed, also, rest, moved = runs(arrays, sizes)
    outs = linear_call_p.bind(
        *more,
        *fixed,
        *extra,
        *also,
        *rest,
        *moved,
        forward=there,
        backward=back,
        sizes=(len(more) + sizes[0], len(extra) + sizes[1], sizes[2]),
    )
    return outs, [0] * len(outs)


def _shape(*avals: ShapedArray, forward: Jaxpr, backward: Jaxpr, sizes: Sizes) -> list[ShapedArray]:
    return list(forward.out_avals)


linear_call_p: Primitive = Primitive(
    "linear_call",
    shape=_shape,
    inline=lambda inputs, *, forward, backward, sizes: (forward, _forward_operands(inputs, sizes)),
    impl=lambda xp, *args, forward, backward, sizes: list(runner(forward, xp)(*_forward_operands(args, sizes))),
    jvp=_jvp,
    transpose=_transpose,
    batch=_batch,
    multiple=True,
    kind="custom",
    traits=frozenset({Trait.VIEW}),
)
