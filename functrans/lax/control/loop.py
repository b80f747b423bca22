"""``while_loop`` and ``fori_loop``: loops whose number of steps may be known only when they run."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

from functrans import errors
from functrans.config import any_mode, config
from functrans.core.avals import ShapedArray
from functrans.core.capture import Rebuild, transformation
from functrans.core.evaluate import evaluate
from functrans.core.jaxpr import Eqn, Jaxpr, Var
from functrans.core.primitive import BatchAxis, Primitive, Zero
from functrans.core.stage import stage
from functrans.core.structural import instantiate, rebox
from functrans.core.trace import Tracer, aval_of
from functrans.core.tree import tree_flatten, tree_structure
from functrans.core.treedef import PyTreeDef
from functrans.interpreters.batch import batch_jaxpr, materialize
from functrans.interpreters.jvp import jvp_jaxpr
from functrans.interpreters.split import SplitEqn, split_jaxpr
from functrans.lax.arithmetic import add
from functrans.lax.compare import lt
from functrans.lax.control.body import body_of, check_function, flatten_operands, name_of, settle
from functrans.lax.control.region import fit, owned, reordered, results_fitted, runner
from functrans.lax.control.scan import scan_p
from functrans.lax.movement import broadcast_in_dim
from functrans.lax.ranges import arange
from functrans.lax.reduction import reduce_any
from functrans.lax.selection import select
from functrans.util.cache import WeakMemo
from functrans.util.lists import split as runs

# Operands: constants of the condition, constants of the body, carries.


def _shape(*avals: ShapedArray, cond: Jaxpr, body: Jaxpr, n_cond: int, n_body: int) -> list[ShapedArray]:
    expected = [*cond.in_avals[:n_cond], *body.in_avals]
    for i, (a, e) in enumerate(zip(avals, expected, strict=True)):
        if (a.shape, a.dtype) != (e.shape, e.dtype):
            raise errors.JaxprError(f"while: operand {i} has type {a}, and the body asks for {e}")
    return list(body.out_avals)


def _loop(xp: Any, *, cond: Jaxpr, body: Jaxpr, n_cond: int, n_body: int) -> Callable[..., list[Any]]:
    holds, step = runner(cond, xp), runner(body, xp)

    def run(*args: Any) -> list[Any]:
        tests, consts, carry = args[:n_cond], args[n_cond : n_cond + n_body], args[n_cond + n_body :]
        while holds(*tests, *carry)[0]:
            carry = step(*consts, *carry)
        return owned(carry, args)

    return run


def _jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, cond: Jaxpr, body: Jaxpr, n_cond: int, n_body: int
) -> tuple[list[Any], list[Any]]:
    tests, primals = primals[:n_cond], primals[n_cond:]
    tangents = tangents[n_cond:]
    live = [not isinstance(t, Zero) for t in tangents]
    while True:
        derived, live_out = jvp_jaxpr(body, live, live[n_body:])
        if live_out == tuple(live[n_body:]):
            break
        live[n_body:] = live_out
    n, n_carry = len(primals), len(live_out)
    closed, consts = derived.hoisted()
    h = len(consts)
    where = {i: h + n + k for k, i in enumerate(i for i in range(n) if live[i])}
    inputs = list(range(h))
    operands = list(consts)
    for group in (range(n_body), range(n_body, n)):
        inputs += [h + i for i in group] + [where[i] for i in group if live[i]]
        operands += [primals[i] for i in group]
        operands += [fit(instantiate(tangents[i]), body.in_avals[i].tangent()) for i in group if live[i]]
    carry_avals = body.in_avals[n_body:]
    tangent_avals = [a.tangent() for a, now in zip(carry_avals, live_out, strict=True) if now]
    both = reordered(closed, tuple(inputs), tuple(range(n_carry + len(tangent_avals))))
    outs = while_p.bind(
        *tests,
        *operands,
        cond=widened(cond, tuple(tangent_avals)),
        body=results_fitted(both, (*carry_avals, *tangent_avals)),
        n_cond=n_cond,
        n_body=h + n_body + sum(live[:n_body]),
    )
    rest = iter(outs[n_carry:])
    return outs[:n_carry], [
        next(rest) if now else Zero(aval_of(o).tangent()) for o, now in zip(outs[:n_carry], live_out, strict=True)
    ]


def _widened(cond: Jaxpr, more: tuple[ShapedArray, ...]) -> Jaxpr:
    return cond.replace(invars=(*cond.invars, *map(Var, more)))


widened: WeakMemo[Jaxpr] = WeakMemo(_widened)
"""``widened(cond, avals)``: the condition with further inputs, which it does not look at."""


def _batch(
    axis: BatchAxis,
    args: Sequence[Any],
    dims: Sequence[int | None],
    *,
    cond: Jaxpr,
    body: Jaxpr,
    n_cond: int,
    n_body: int,
) -> tuple[list[Any], list[int | None]]:
    start = n_cond + n_body
    batched = [d is not None for d in dims]
    while True:
        mapped, out = batch_jaxpr(body, axis, batched[n_cond:], batched[start:])
        test, (decides,) = batch_jaxpr(cond, axis, [*batched[:n_cond], *batched[start:]])
        out = tuple(decides or b for b in out)
        if out == tuple(batched[start:]):
            break
        batched[start:] = out
    operands = [materialize(axis, x, d) if b else x for x, d, b in zip(args, dims, batched, strict=True)]
    test, test_consts = test.hoisted()
    mapped, consts = mapped.hoisted()
    tests = [*test_consts, *operands[:n_cond]]
    fixed = [*consts, *operands[n_cond:start]]
    carry = operands[start:]
    carry_avals = mapped.in_avals[len(fixed) :]
    mapped = results_fitted(mapped, carry_avals)
    if decides:
        # The loop goes on while any example does, and an example that is done keeps its values.
        (active,) = evaluate(test, [*tests, *carry])
        outs = while_p.bind(
            *tests,
            *fixed,
            active,
            *carry,
            cond=any_of(mapped, len(fixed), axis.size),
            body=masked(mapped, test, len(tests)),
            n_cond=0,
            n_body=len(tests) + len(fixed),
        )[1:]
    else:
        outs = while_p.bind(*tests, *fixed, *carry, cond=test, body=mapped, n_cond=len(tests), n_body=len(fixed))
    return outs, [0 if b else None for b in out]


def _any_of(body: Jaxpr, n_consts: int, size: Any) -> Jaxpr:
    active = ShapedArray((size,), cond_dtype)
    return stage(lambda active, *_: [reduce_any(active)], [active, *body.in_avals[n_consts:]], "any")


def _masked(body: Jaxpr, test: Jaxpr, n_tests: int) -> Jaxpr:
    n_carry = len(body.outvars)
    n_fixed = len(body.invars) - n_carry

    def step(*args: Any) -> list[Any]:
        tests, fixed, (active,), carry = runs(args, [n_tests, n_fixed, 1])
        new = evaluate(body, [*fixed, *carry])
        kept = []
        for now, before in zip(new, carry, strict=True):
            shape = aval_of(now).shape
            kept.append(select(broadcast_in_dim(active, shape, (0,)), now, before))
        return [*evaluate(test, [*tests, *kept]), *kept]

    avals = [*test.in_avals[:n_tests], *body.in_avals[:n_fixed], *test.out_avals, *body.in_avals[n_fixed:]]
    return stage(step, avals, "while")


any_of: WeakMemo[Jaxpr] = WeakMemo(_any_of)
masked: WeakMemo[Jaxpr] = WeakMemo(_masked)


def _split(eqn: Eqn, unknown: Sequence[bool]) -> SplitEqn:
    """Known carries run first; the loop then runs a second time with the others, as nothing can be kept of a number
    of steps that is not known."""
    cond, body, n_cond, n_body = (eqn.params[k] for k in ("cond", "body", "n_cond", "n_body"))
    start = n_cond + n_body
    late = list(unknown)
    while True:
        out = split_jaxpr(body, late[n_cond:]).unknown_out
        (decides,) = split_jaxpr(cond, [*late[:n_cond], *late[start:]]).unknown_out
        grown = [decides or a or b for a, b in zip(late[start:], out, strict=True)]
        if grown == late[start:]:
            break
        late[start:] = grown
    if decides or all(grown):
        return SplitEqn((), (eqn,))
    early = [not u for u in late]
    first = eqn._replace(
        inputs=tuple(a for i, (a, e) in enumerate(zip(eqn.inputs, early, strict=True)) if e or i < n_cond),
        outs=tuple(o for o, g in zip(eqn.outs, grown, strict=True) if not g),
        params={
            "cond": cond.replace(invars=[v for i, v in enumerate(cond.invars) if i < n_cond or not grown[i - n_cond]]),
            "body": body.replace(
                invars=[v for i, v in enumerate(body.invars) if early[n_cond + i]],
                outvars=[v for v, g in zip(body.outvars, grown, strict=True) if not g],
            ),
            "n_cond": n_cond,
            "n_body": sum(early[n_cond:start]),
        },
    )
    again = eqn._replace(outs=tuple(o if g else Var(o.aval) for o, g in zip(eqn.outs, grown, strict=True)))
    return SplitEqn((first,), (again,))
