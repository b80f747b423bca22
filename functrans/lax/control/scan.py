"""The primitive ``scan``: a loop of known length that carries a state, reads slices and collects results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans.core.avals import ShapedArray, shaped
from functrans.core.evaluate import evaluate
from functrans.core.jaxpr import Eqn, Jaxpr, SizeVar, Var, dce, differ, result_avals, used_inputs
from functrans.core.primitive import BatchAxis, Primitive, Sample, Undefined, Zero
from functrans.core.stage import size_tracer, stage
from functrans.core.structural import add, instantiate, rebox, zeros
from functrans.core.trace import aval_of, current_trace
from functrans.interpreters.batch import batch_jaxpr, materialize
from functrans.interpreters.jvp import jvp_jaxpr
from functrans.interpreters.split import SplitEqn, parts_of, split_jaxpr
from functrans.interpreters.transpose import backward_pass, transpose_jaxpr
from functrans.lax.arithmetic import mul, sub
from functrans.lax.compare import lt
from functrans.lax.control.halves import split_body
from functrans.lax.control.region import fit, reordered, results_fitted, split_applied
from functrans.lax.control.stepping import loop, sliced, stacked
from functrans.lax.movement import broadcast_in_dim
from functrans.lax.selection import select
from functrans.lax.trigonometric import sin
from functrans.util.cache import WeakMemo
from functrans.util.lists import split as runs


def _shape(
    *avals: ShapedArray, jaxpr: Jaxpr, n_consts: int, n_carry: int, length: Any, counted: bool, **how: Any
) -> list[ShapedArray]:
    avals = avals[counted:]
    start = n_consts + n_carry
    expected = list(jaxpr.in_avals)
    expected[start:] = [stacked(a, length) for a in expected[start:]]
    for i, (a, e) in enumerate(zip(avals, expected, strict=True)):
        if differ(a, e):
            raise errors.JaxprError(f"scan: operand {i} has type {a}, and the body asks for {e}")
    outs = result_avals(jaxpr, [*avals[:start], *(sliced(a) for a in avals[start:])])
    return [*outs[:n_carry], *(stacked(a, length) for a in outs[n_carry:])]


# -- rules --------------------------------------------------------------------------------------------------------


def _jvp(
    primals: Sequence[Any],
    tangents: Sequence[Any],
    *,
    jaxpr: Jaxpr,
    n_consts: int,
    n_carry: int,
    counted: bool,
    **how: Any,
) -> tuple[list[Any], list[Any]]:
    count, primals, tangents = primals[:counted], primals[counted:], tangents[counted:]
    start, n = n_consts + n_carry, len(primals)
    n_out = len(jaxpr.outvars)
    live = [not isinstance(t, Zero) for t in tangents]
    while True:
        # A carry that gets a tangent in some step has one from the beginning.
        derived, live_out = jvp_jaxpr(jaxpr, live, [*live[n_consts:start], *[False] * (n_out - n_carry)])
        if live_out[:n_carry] == tuple(live[n_consts:start]):
            break
        live[n_consts:start] = live_out[:n_carry]
    closed, consts = derived.hoisted()
    h = len(consts)
    where = {i: h + n + k for k, i in enumerate(i for i in range(n) if live[i])}
    where_out = {i: n_out + k for k, i in enumerate(i for i in range(n_out) if live_out[i])}
    inputs = list(range(h))
    operands = list(consts)
    for group in (range(n_consts), range(n_consts, start), range(start, n)):
        inputs += [h + i for i in group] + [where[i] for i in group if live[i]]
        operands += [primals[i] for i in group]
        for i in group:
            if live[i]:
                t = instantiate(tangents[i])
                operands.append(t if i >= start else fit(t, jaxpr.in_avals[i].tangent()))
    outputs: list[int] = []
    for group in (range(n_carry), range(n_carry, n_out)):
        outputs += [*group, *(where_out[i] for i in group if live_out[i])]
    body = reordered(closed, tuple(inputs), tuple(outputs))
    grown = sum(live[n_consts:start])
    carry_avals = jaxpr.in_avals[n_consts:start]
    tangent_avals = [a.tangent() for a, now in zip(carry_avals, live_out, strict=False) if now]
    body = results_fitted(body, (*carry_avals, *tangent_avals, *body.out_avals[n_carry + grown :]))
    outs = scan_p.bind(
        *count,
        *operands,
        jaxpr=body,
        n_consts=h + n_consts + sum(live[:n_consts]),
        n_carry=n_carry + grown,
        counted=counted,
        **how,
    )
    place = {i: k for k, i in enumerate(outputs)}
    results = [outs[place[i]] for i in range(n_out)]
    return results, [
        outs[place[where_out[i]]] if live_out[i] else Zero(aval_of(results[i]).tangent()) for i in range(n_out)
    ]


def _batch(
    axis: BatchAxis,
    args: Sequence[Any],
    dims: Sequence[int | None],
    *,
    jaxpr: Jaxpr,
    n_consts: int,
    n_carry: int,
    counted: bool,
    **how: Any,
) -> tuple[list[Any], list[int | None]]:
    start = n_consts + n_carry
    n_out = len(jaxpr.outvars)
    count, args, dims, count_dims = args[:counted], args[counted:], dims[counted:], dims[:counted]
    masked = any(d is not None for d in count_dims)
    batched = [d is not None for d in dims]
    if masked:
        batched[n_consts:start] = [True] * n_carry
    while True:
        body, out = batch_jaxpr(jaxpr, axis, batched, [*batched[n_consts:start], *[False] * (n_out - n_carry)])
        if out[:n_carry] == tuple(batched[n_consts:start]):
            break
        batched[n_consts:start] = out[:n_carry]
    closed, consts = body.hoisted()
    operands = []
    for i, (x, d, b) in enumerate(zip(args, dims, batched, strict=True)):
        to = 1 if i >= start else 0
        operands.append(materialize(axis, x, d, to) if b else x)
    h = len(consts)
    carry_avals = closed.in_avals[h + n_consts : h + start]
    closed = results_fitted(closed, (*carry_avals, *closed.out_avals[n_carry:]))
    if masked:
        last = sub(size_value(how["length"]), 1) if how["reverse"] else 0
        operands = [*consts, *operands]
        operands[h + n_consts : h + n_consts] = [rebox(last, "python")]
        outs = scan_p.bind(
            materialize(axis, count[0], count_dims[0]),
            *operands,
            jaxpr=ending(closed, h + n_consts, n_carry, -1 if how["reverse"] else 1, axis.size),
            n_consts=1 + h + n_consts,
            n_carry=1 + n_carry,
            counted=False,
            **how,
        )[1:]
    else:
        outs = scan_p.bind(
            *count, *consts, *operands, jaxpr=closed, n_consts=h + n_consts, n_carry=n_carry, counted=counted, **how
        )
    return outs, [None if not b else 0 if i < n_carry else 1 for i, b in enumerate(out)]


def _ending(jaxpr: Jaxpr, n_consts: int, n_carry: int, ahead: int, size: Any) -> Jaxpr:
    """A mapped step whose examples are done after different numbers of steps, and keep their carries from then on.

    Its first constant is these numbers, its first carry the number of the step.
    """

    def step(count: Any, *args: Any) -> list[Any]:
        consts, (i,), carry, xs = runs(args, [n_consts, 1, n_carry])
        outs = evaluate(jaxpr, [*consts, *carry, *xs])
        active = lt(i, count)
        kept = [
            select(broadcast_in_dim(active, aval_of(now).shape, (0,)), now, before)
            for now, before in zip(outs, carry, strict=False)
        ]
        return [rebox(add(i, ahead), "python"), *kept, *outs[n_carry:]]

    count = shaped((size,), np.dtype(np.int64))
    place = shaped((), np.dtype(np.int64), "python")
    in_avals = list(jaxpr.in_avals)
    in_avals[n_consts:n_consts] = [place]
    return stage(step, [count, *in_avals], "scan")


ending: WeakMemo[Jaxpr] = WeakMemo(_ending)


def size_value(length: Any) -> Any:
    """A length as an operand."""
    return size_tracer(length, current_trace()) if isinstance(length, SizeVar) else length


def _split(eqn: Eqn, unknown: Sequence[bool]) -> SplitEqn:
    """The known part keeps what the other one needs of each step as further results, stacked."""
    params = eqn.params
    n_consts, n_carry, length = (params[k] for k in ("n_consts", "n_carry", "length"))
    start = n_consts + n_carry
    count, inputs = eqn.inputs[: params["counted"]], eqn.inputs[params["counted"] :]
    halves = split_body(params["jaxpr"], n_consts, n_carry, unknown[params["counted"] :], params["checkpoint"])
    late = [i for i, u in enumerate(halves.unknown) if u]
    saved = [Var(stacked(a, length)) for a in halves.kept]
    known = eqn._replace(
        inputs=(*count, *(a for a, u in zip(inputs, halves.unknown, strict=True) if not u)),
        outs=(*(o for o, u in zip(eqn.outs, halves.unknown_out, strict=True) if not u), *saved),
        params={
            **params,
            "jaxpr": halves.known,
            "n_consts": halves.unknown[:n_consts].count(False),
            "n_carry": halves.unknown[n_consts:start].count(False),
        },
    )
    later = eqn._replace(
        inputs=(
            *count,
            *(inputs[i] for i in halves.fixed),
            *(inputs[i] for i in late if i < start),
            *saved,
            *(inputs[i] for i in halves.stepped),
            *(inputs[i] for i in late if i >= start),
        ),
        outs=tuple(o for o, u in zip(eqn.outs, halves.unknown_out, strict=True) if u),
        params={
            **params,
            "jaxpr": halves.late,
            "n_consts": len(halves.fixed) + sum(halves.unknown[:n_consts]),
            "n_carry": sum(halves.unknown[n_consts:start]),
        },
    )
    return parts_of(known, later)


def _reach(jaxpr: Jaxpr, n_consts: int, n_carry: int, linear: Sequence[bool]) -> list[bool]:
    """Which inputs of the body depend on the linear operands, in some step."""
    reached = list(linear)
    while True:
        out = split_jaxpr(jaxpr, reached).unknown_out
        grown = [a or b for a, b in zip(reached[n_consts : n_consts + n_carry], out, strict=False)]
        if grown == reached[n_consts : n_consts + n_carry]:
            return reached
        reached[n_consts : n_consts + n_carry] = grown


def _backward(
    jaxpr: Jaxpr, n_consts: int, n_carry: int, linear: tuple[bool, ...], live: tuple[bool, ...]
) -> tuple[Jaxpr, tuple[Any, ...], tuple[bool, ...]]:
    """The body run backwards: cotangents of carries, sums for linear constants, cotangents of slices.

    Returns:
        The jaxpr of one step, its constants, and which linear inputs get a cotangent.
    """
    start = n_consts + n_carry
    transposed, live_in = transpose_jaxpr(jaxpr, linear, (*[True] * n_carry, *live))
    closed, consts = transposed.hoisted()
    h = len(consts)
    avals = jaxpr.in_avals
    places = [i for i, lin in enumerate(linear) if lin]
    found = dict(zip(places, live_in, strict=True))
    known_consts = [i for i in range(n_consts) if not linear[i]]
    known_xs = [i for i in range(start, len(avals)) if not linear[i]]
    summed = [i for i in range(n_consts) if found.get(i)]
    ct_carry = [avals[i].cotangent() for i in range(n_consts, start)]
    ct_consts = [avals[i].cotangent() for i in summed]
    ct_ys = [sliced(stacked(a, 0)) for a, now in zip(jaxpr.out_avals[n_carry:], live, strict=True) if now]
    sizes = [h, len(known_consts), n_carry, len(summed), len(known_xs)]

    def step(*args: Any) -> list[Any]:
        outer, fixed, carry, sums, xs, ys = runs(args, sizes)
        targets = iter(jaxpr.out_avals[:n_carry])
        given = [fit(c, next(targets).cotangent()) for c in carry]
        outs = iter(evaluate(closed, [*outer, *fixed, *xs, *given, *ys]))
        cts = {i: next(outs) if now else None for i, now in found.items()}
        back = [
            zeros(a) if cts[i] is None else fit(cts[i], a)
            for i, a in zip(range(n_consts, start), ct_carry, strict=True)
        ]
        total = [fit(add(s, cts[i]), a) for s, i, a in zip(sums, summed, ct_consts, strict=True)]
        return [*back, *total, *(cts[i] for i in places if i >= start and found[i])]

    in_avals = [
        *closed.in_avals[:h],
        *(avals[i] for i in known_consts),
        *ct_carry,
        *ct_consts,
        *(avals[i] for i in known_xs),
        *ct_ys,
    ]
    return stage(step, in_avals, "transpose"), consts, tuple(found.get(i, False) for i in range(len(avals)))


backward: WeakMemo[tuple[Jaxpr, tuple[Any, ...], tuple[bool, ...]]] = WeakMemo(_backward)


def _transpose(cotangents: Sequence[Any], *operands: Any, **params: Any) -> list[Any]:
    jaxpr, n_consts, n_carry, counted = (params[k] for k in ("jaxpr", "n_consts", "n_carry", "counted"))
    count, args = operands[:counted], operands[counted:]
    undefined = [isinstance(x, Undefined) for x in args]
    linear = _reach(jaxpr, n_consts, n_carry, undefined)
    start = n_consts + n_carry
    if not all(linear[n_consts:start]):
        return _transpose_rest(cotangents, operands, params)
    live = tuple(not isinstance(ct, Zero) for ct in cotangents[n_carry:])
    body, consts, found = backward(jaxpr, n_consts, n_carry, tuple(linear), live)
    carry_avals = jaxpr.in_avals[n_consts:start]
    carry = [fit(instantiate(ct), a.cotangent()) for ct, a in zip(cotangents, carry_avals, strict=False)]
    summed = [i for i in range(n_consts) if found[i]]
    fixed = [x for x, lin in zip(args[:n_consts], linear, strict=False) if not lin]
    xs = [x for x, lin in zip(args[start:], linear[start:], strict=True) if not lin]
    outs = scan_p.bind(
        *count,
        *consts,
        *fixed,
        *carry,
        *(zeros(args[i].aval.cotangent()) for i in summed),
        *xs,
        *(ct for ct, now in zip(cotangents[n_carry:], live, strict=True) if now),
        **{
            **params,
            "jaxpr": body,
            "n_consts": len(consts) + len(fixed),
            "n_carry": n_carry + len(summed),
            "reverse": not params["reverse"],
        },
    )
    places = [*range(n_consts, start), *summed, *(i for i in range(start, len(args)) if found[i])]
    results = dict(zip(places, outs, strict=True))
    return [*[None] * counted, *(results.get(i) if undefined[i] else None for i in range(len(args)))]


def _transpose_rest(cotangents: Sequence[Any], operands: Sequence[Any], params: dict[str, Any]) -> list[Any]:
    """Transpose a scan that carries known values too: they run first, forwards."""
    parts, sizes = split_applied(scan_p, operands, params)
    return backward_pass(parts, [*sizes, *operands], cotangents)[len(sizes) :]


def _dce(eqn: Eqn, used: Sequence[bool]) -> Eqn:
    """A scan without the results that nobody uses, and without the carries that only they need."""
    params = eqn.params
    n_consts, n_carry = params["n_consts"], params["n_carry"]
    start = n_consts + n_carry
    keep = list(used)
    while True:
        body = dce(params["jaxpr"], keep)
        needed = used_inputs(body)
        grown = [a or b for a, b in zip(keep[:n_carry], needed[n_consts:start], strict=True)]
        if grown == keep[:n_carry]:
            break
        keep[:n_carry] = grown
    needed[n_consts:start] = grown
    count, inputs = eqn.inputs[: params["counted"]], eqn.inputs[params["counted"] :]
    return eqn._replace(
        inputs=(*count, *(a for a, u in zip(inputs, needed, strict=True) if u)),
        outs=tuple(o for o, k in zip(eqn.outs, keep, strict=True) if k),
        params={
            **params,
            "jaxpr": body.replace(invars=[v for v, u in zip(body.invars, needed, strict=True) if u]),
            "n_consts": sum(needed[:n_consts]),
            "n_carry": sum(grown),
        },
    )


def _samples() -> list[Sample]:
    matrix, vector = shaped((2, 2), np.dtype(np.float64)), shaped((2,), np.dtype(np.float64))
    number, step = shaped((), np.dtype(np.float64), "numpy"), shaped((), np.dtype(np.int64), "numpy")

    def body(w: Any, c: Any, k: Any, x: Any) -> list[Any]:
        new = add(mul(sin(c), w), x)
        return [new, add(k, np.int64(1)), mul(c, new)]

    jaxpr = stage(body, [vector, vector, step, number], "body")
    nested = stage(lambda w, c: [mul(c, sin(w)), mul(w, w)], [matrix, matrix], "body")
    w, c, xs = np.array([0.5, -1.5]), np.array([0.25, 1.0]), np.linspace(-1.0, 1.0, 3)
    how = {"length": 3, "reverse": False, "unroll": 1, "counted": False, "checkpoint": False}
    sizes = {"jaxpr": jaxpr, "n_consts": 1, "n_carry": 2}
    square = np.array([[0.5, -1.0], [2.0, 0.25]])
    return [
        Sample((w, c, np.int64(0), xs), {**sizes, **how}),
        Sample((w, c, np.int64(0), xs), {**sizes, **how, "reverse": True, "unroll": 2, "checkpoint": True}),
        Sample((np.int64(3), w, c, np.int64(0), xs), {**sizes, **how, "reverse": True, "counted": True}),
        Sample((w, c, np.int64(0), np.zeros(0)), {**sizes, **how, "length": 0}),
        Sample((square, square), {"jaxpr": nested, "n_consts": 1, "n_carry": 1, **how}),
    ]


# Operands: with ``counted`` the number of steps that are taken, which is the length but for examples of a batch; then
# constants, carries, slices. With ``checkpoint`` nothing is kept of a step for derivatives but what comes into it.

scan_p: Primitive = Primitive(
    "scan",
    shape=_shape,
    impl=lambda xp, *args, **params: loop(xp, **params)(*args),
    specialize=lambda xp, avals, **params: loop(xp, **params),
    jvp=_jvp,
    transpose=_transpose,
    batch=_batch,
    multiple=True,
    kind="loop",
    split=_split,
    dce=_dce,
    samples=_samples,
)
