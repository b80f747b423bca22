"""``while_loop`` and ``fori_loop``: loops whose number of steps may be known only when they run."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans.config import any_mode, config
from functrans.core.avals import ShapedArray, shaped
from functrans.core.capture import Rebuild, transformation
from functrans.core.evaluate import evaluate
from functrans.core.jaxpr import Eqn, Jaxpr, SizeVar, Var, axes_in, dce, differ, result_avals, used_inputs
from functrans.core.primitive import PER_EXAMPLE, BatchAxis, Primitive, Sample, Zero, array_module
from functrans.core.stage import stage
from functrans.core.structural import convert, instantiate, ones, rebox, zero_of, zeros
from functrans.core.trace import Tracer, aval_of, current_trace
from functrans.core.tree import tree_leaves, tree_structure
from functrans.core.treedef import PyTreeDef
from functrans.interpreters.batch import batch_jaxpr, materialize
from functrans.interpreters.jvp import jvp_jaxpr
from functrans.interpreters.split import SplitEqn, parts_of, split_jaxpr
from functrans.interpreters.transpose import backward_pass
from functrans.lax.arithmetic import add, mul
from functrans.lax.compare import logical_and, lt
from functrans.lax.control.body import body_of, check_function, flatten_operands, name_of, settle
from functrans.lax.control.halves import split_body
from functrans.lax.control.prepared import MISS, code_of, may_prepare, prepare_while, run_prepared
from functrans.lax.control.region import fit, reordered, results_fitted, split_applied
from functrans.lax.control.scan import scan_p
from functrans.lax.control.scanning import run_scan
from functrans.lax.control.stepping import stacked
from functrans.lax.control.stepping import while_loop as run_while
from functrans.lax.creation import iota
from functrans.lax.movement import broadcast_in_dim
from functrans.lax.ranges import arange
from functrans.lax.reduction import argmax, reduce_any
from functrans.lax.selection import select
from functrans.lax.taking import take
from functrans.lax.trigonometric import sin
from functrans.util.cache import WeakMemo
from functrans.util.lists import split as runs

BOOL = np.dtype(bool)
STEPS = shaped((), np.dtype(np.int64), "python")

# Operands: constants of the condition, constants of the body, carries. The body gives carries and as many values more
# as ``saves`` says, which are kept of every step: then the results are carries, the number of steps, that number as a
# size, and arrays of that size. ``saves`` is None where the steps are not even counted. An example of a batch takes
# its own number of steps, and the size is the largest of them.


def _shape(
    *avals: ShapedArray, cond: Jaxpr, body: Jaxpr, n_cond: int, n_body: int, saves: int | None
) -> list[ShapedArray]:
    expected = [*cond.in_avals[:n_cond], *body.in_avals]
    for i, (a, e) in enumerate(zip(avals, expected, strict=True)):
        if differ(a, e):
            raise errors.JaxprError(f"while: operand {i} has type {a}, and the body asks for {e}")
    n_carry = len(body.invars) - n_body
    outs = result_avals(body, avals[n_cond:])
    if len(outs) - n_carry != (saves or 0):
        raise errors.JaxprError(f"while: {saves} values of every step are to be kept, and the body gives {len(outs)}")
    if saves is None:
        return outs
    size = SizeVar()
    return [*outs[:n_carry], STEPS, size.aval, *(stacked(a, size) for a in outs[n_carry:])]


def _jvp(
    primals: Sequence[Any],
    tangents: Sequence[Any],
    *,
    cond: Jaxpr,
    body: Jaxpr,
    n_cond: int,
    n_body: int,
    saves: int | None,
) -> tuple[list[Any], list[Any]]:
    tests, primals = primals[:n_cond], primals[n_cond:]
    tangents = tangents[n_cond:]
    n_saved = saves or 0
    live = [not isinstance(t, Zero) for t in tangents]
    while True:
        derived, live_out = jvp_jaxpr(body, live, [*live[n_body:], *[False] * n_saved])
        if live_out[: len(live) - n_body] == tuple(live[n_body:]):
            break
        live[n_body:] = live_out[: len(live) - n_body]
    n, n_carry = len(primals), len(primals) - n_body
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
    tangent_avals = [a.tangent() for a, now in zip(carry_avals, live_out, strict=False) if now]
    grown = n_carry + len(tangent_avals)
    # Results: carries, their tangents, what is kept, its tangents.
    n_out = n_carry + n_saved
    order = [*range(n_carry), *range(n_out, n_out + len(tangent_avals)), *range(n_carry, n_out)]
    order += range(n_out + len(tangent_avals), n_out + sum(live_out))
    both = reordered(closed, tuple(inputs), tuple(order))
    outs = while_p.bind(
        *tests,
        *operands,
        cond=widened(cond, tuple(tangent_avals)),
        body=results_fitted(both, (*carry_avals, *tangent_avals, *both.out_avals[grown:])),
        n_cond=n_cond,
        n_body=h + n_body + sum(live[:n_body]),
        saves=None if saves is None else n_saved + sum(live_out[n_carry:]),
    )
    found, rest = [*outs[:n_carry], *outs[grown : grown + 2]], iter(outs[n_carry:grown])
    results = found if saves is None else [*found, *outs[grown + 2 : grown + 2 + n_saved]]
    rest = iter([*outs[n_carry:grown], *outs[grown + 2 + n_saved :]])
    if saves is not None:
        live_out = (*live_out[:n_carry], False, False, *live_out[n_carry:])
    return results, [next(rest) if now else zero_of(o) for o, now in zip(results, live_out, strict=True)]


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
    saves: int | None,
) -> tuple[list[Any], list[int | None]]:
    start = n_cond + n_body
    n_carry, n_saved = len(args) - start, saves or 0
    batched = [d is not None for d in dims]
    if axis.live is None and (cond.effects | body.effects) & PER_EXAMPLE:
        axis = axis._replace(live=ones(shaped((axis.size,), BOOL)))
    while True:
        mapped, out = batch_jaxpr(body, axis, batched[n_cond:], [*batched[start:], *[False] * n_saved])
        test, (decides,) = batch_jaxpr(cond, axis, [*batched[:n_cond], *batched[start:]])
        grown = [decides or b for b in out[:n_carry]]
        if grown == batched[start:]:
            break
        batched[start:] = grown
    operands = [materialize(axis, x, d) if b else x for x, d, b in zip(args, dims, batched, strict=True)]
    test, test_consts = test.hoisted()
    mapped, consts = mapped.hoisted()
    tests = [*test_consts, *operands[:n_cond]]
    fixed = [*consts, *operands[n_cond:start]]
    carry = operands[start:]
    carry_avals = mapped.in_avals[len(fixed) :]
    mapped = results_fitted(mapped, (*carry_avals, *mapped.out_avals[n_carry:]))
    out_dims = [0 if b else None for b in grown]
    saved_dims = [1 if b else None for b in out[n_carry:]]
    if not decides:
        outs = while_p.bind(
            *tests, *fixed, *carry, cond=test, body=mapped, n_cond=len(tests), n_body=len(fixed), saves=saves
        )
        return outs, out_dims if saves is None else [*out_dims, None, None, *saved_dims]
    # The loop goes on while any example does, and an example that is done keeps its values.
    (active,) = evaluate(test, [*tests, *carry])
    counts = [] if saves is None else [zeros(shaped((axis.size,), np.dtype(np.int64)))]
    # An example that is done borrows operands, unless the body computes across the examples.
    borrow = axis.name is None or axis.name not in axes_in(body)
    mask = (*[False] * len(consts), *[b and borrow for b in [*batched[n_cond:start], *[True] * n_carry]])
    effects = bool(cond.effects & PER_EXAMPLE), bool(body.effects & PER_EXAMPLE)
    outs = while_p.bind(
        *tests,
        *fixed,
        active,
        *counts,
        *carry,
        cond=any_of(mapped, len(fixed), len(counts), axis.size),
        body=masked(mapped, test, len(tests), len(fixed), mask, len(counts), axis.size, effects),
        n_cond=0,
        n_body=len(tests) + len(fixed),
        saves=saves,
    )[1:]
    if saves is None:
        return outs, out_dims
    count, *outs = outs
    return [*outs[:n_carry], count, *outs[n_carry + 1 :]], [*out_dims, 0, None, *saved_dims]


def _any_of(body: Jaxpr, n_consts: int, n_counts: int, size: Any) -> Jaxpr:
    active = shaped((size,), BOOL)
    counts = [shaped((size,), np.dtype(np.int64))] * n_counts
    return stage(lambda active, *_: [reduce_any(active)], [active, *counts, *body.in_avals[n_consts:]], "any")


def _masked(
    body: Jaxpr,
    test: Jaxpr,
    n_tests: int,
    n_fixed: int,
    batched: tuple[bool, ...],
    n_counts: int,
    size: Any,
    effects: tuple[bool, bool],
) -> Jaxpr:
    """A mapped step that leaves examples which are done as they are.

    An example that is done borrows those operands of one that goes on that ``batched`` says are its own, so that the
    body sees no values from which its condition guards it, and no derivative meets the infinities that it would have
    there. ``effects`` says whether the first operand of condition and body is which examples are live.
    """
    used = used_inputs(body)

    def step(*args: Any) -> list[Any]:
        tests, fixed, (active,), counts, carry = runs(args, [n_tests, n_fixed, 1, n_counts])
        if effects[0]:
            tests[0] = logical_and(tests[0], active)
        if effects[1]:
            fixed[0] = logical_and(fixed[0], active)
        rows = select(active, iota(np.int64, size), argmax(active, 0))
        lent = [take(x, rows, 0) if b and u else x for x, b, u in zip([*fixed, *carry], batched, used, strict=True)]
        outs = evaluate(body, lent)
        kept = [
            select(broadcast_in_dim(active, aval_of(now).shape, (0,)), now, before)
            for now, before in zip(outs, carry, strict=False)
        ]
        steps = [add(n, convert(active, np.dtype(np.int64))) for n in counts]
        return [*evaluate(test, [*tests, *kept]), *steps, *kept, *outs[len(carry) :]]

    counts = [shaped((size,), np.dtype(np.int64))] * n_counts
    avals = [
        *test.in_avals[:n_tests],
        *body.in_avals[:n_fixed],
        *test.out_avals,
        *counts,
        *body.in_avals[n_fixed:],
    ]
    return stage(step, avals, "while")


any_of: WeakMemo[Jaxpr] = WeakMemo(_any_of)
masked: WeakMemo[Jaxpr] = WeakMemo(_masked)


def _split(eqn: Eqn, unknown: Sequence[bool]) -> SplitEqn:
    """The known carries run first, and count the steps and keep what the others need of each. Those run in a scan."""
    params = eqn.params
    cond, body, n_cond, n_body, saves = (params[k] for k in ("cond", "body", "n_cond", "n_body", "saves"))
    n_carry = len(eqn.inputs) - n_cond - n_body
    halves = split_body(body, n_body, n_carry, unknown[n_cond:])
    late, late_out = halves.unknown, halves.unknown_out
    test = split_jaxpr(cond, [*unknown[:n_cond], *late[n_body:]])
    if test.unknown_out[0]:
        return SplitEqn((), (eqn,))
    inputs = eqn.inputs[n_cond:]
    counting: tuple[Var, ...] = (Var(STEPS), SizeVar()) if saves is None else eqn.outs[n_carry : n_carry + 2]
    results = eqn.outs if saves is None else (*eqn.outs[:n_carry], *eqn.outs[n_carry + 2 :])
    size = counting[1]
    saved = [Var(stacked(a, size)) for a in halves.kept]
    known = [o for o, u in zip(results, late_out, strict=True) if not u]
    first = n_carry - sum(late_out[:n_carry])
    needed = any(late_out) or saves is not None
    early = eqn._replace(
        inputs=tuple(a for a, u in zip(eqn.inputs, [*unknown[:n_cond], *late], strict=True) if not u),
        outs=(*known[:first], *(counting if needed else ()), *known[first:], *saved),
        params={
            "cond": test.known,
            "body": halves.known,
            "n_cond": list(unknown[:n_cond]).count(False),
            "n_body": late[:n_body].count(False),
            "saves": len(known) - first + len(saved) if needed else None,
        },
    )
    after = [i for i, u in enumerate(late) if u]
    later = Eqn(
        scan_p,
        (
            counting[0],
            *(inputs[i] for i in halves.fixed),
            *(inputs[i] for i in after),
            *saved,
        ),
        tuple(o for o, u in zip(results, late_out, strict=True) if u),
        {
            "jaxpr": halves.late,
            "n_consts": len(halves.fixed) + sum(late[:n_body]),
            "n_carry": sum(late[n_body:]),
            "length": size,
            "reverse": False,
            "unroll": 1,
            "counted": True,
            "checkpoint": False,
        },
        eqn.source,
        halves.late.effects,
    )
    return parts_of(early, later)


def _dce(eqn: Eqn, used: Sequence[bool]) -> Eqn:
    """A loop without the carries that neither a used result nor the condition needs, and with no count nobody needs."""
    cond, body, n_cond, n_body, saves = (eqn.params[k] for k in ("cond", "body", "n_cond", "n_body", "saves"))
    start, n_carry = n_cond + n_body, len(eqn.inputs) - n_cond - n_body
    tests = used_inputs(cond)
    counting = saves is not None and any(used[n_carry:])
    saved = [counting and u for u in used[n_carry + 2 :]]
    keep = [a or b for a, b in zip(used[:n_carry], tests[n_cond:], strict=True)]
    while True:
        kept = dce(body, [*keep, *saved])
        needed = used_inputs(kept)
        grown = [a or b for a, b in zip(keep, needed[n_body:], strict=True)]
        if grown == keep:
            break
        keep = grown
    inputs = [*tests[:n_cond], *needed[:n_body], *keep]
    outs = keep if saves is None else [*keep, counting, counting, *saved]
    return eqn._replace(
        inputs=tuple(a for a, u in zip(eqn.inputs, inputs, strict=True) if u),
        outs=tuple(o for o, k in zip(eqn.outs, outs, strict=True) if k),
        params={
            "cond": _keeping(cond, [*tests[:n_cond], *keep]),
            "body": _keeping(kept, inputs[n_cond:]),
            "n_cond": sum(tests[:n_cond]),
            "n_body": sum(inputs[n_cond:start]),
            "saves": sum(saved) if counting else None,
        },
    )


def _keeping(jaxpr: Jaxpr, mask: Sequence[bool]) -> Jaxpr:
    return jaxpr.replace(invars=[v for v, m in zip(jaxpr.invars, mask, strict=True) if m])


def _transpose(cotangents: Sequence[Any], *operands: Any, **params: Any) -> list[Any]:
    """Of a loop that is linear in some carries: the others run first, and then those backwards."""
    parts, sizes = split_applied(while_p, operands, params)
    if len(parts.eqns) == 1 and parts.eqns[0].prim is while_p:
        raise errors.NotDifferentiableError(
            "while_loop cannot be transposed where its condition depends on the values in which it is linear: the "
            "number of steps would depend on them, and it would not be linear. Let the condition look at other values"
        )
    return backward_pass(parts, [*sizes, *operands], cotangents)[len(sizes) :]


def _samples() -> list[Sample]:
    vector, step = shaped((2,), np.dtype(np.float64)), shaped((), np.dtype(np.int64), "numpy")

    def body(w: Any, c: Any, k: Any) -> list[Any]:
        return [add(mul(sin(c), w), c), add(k, np.int64(1))]

    plain = stage(body, [vector, vector, step], "body")
    saving = stage(lambda *args: [*body(*args), args[2]], [vector, vector, step], "body")
    cond = stage(lambda n, c, k: [lt(k, n)], [step, vector, step], "cond")
    args = (np.int64(3), np.array([0.5, -1.5]), np.array([0.25, 1.0]), np.int64(0))
    sizes = {"cond": cond, "n_cond": 1, "n_body": 1}
    return [
        Sample(args, {**sizes, "body": plain, "saves": None}),
        Sample(args, {**sizes, "body": saving, "saves": 1}),
        Sample((np.int64(0), *args[1:]), {**sizes, "body": plain, "saves": None}),
    ]


while_p: Primitive = Primitive(
    "while",
    shape=_shape,
    impl=lambda xp, *args, **params: run_while(xp, **params)(*args),
    specialize=lambda xp, avals, **params: run_while(xp, **params),
    jvp=_jvp,
    transpose=_transpose,
    batch=_batch,
    multiple=True,
    kind="loop",
    split=_split,
    dce=_dce,
    samples=_samples,
)

# -- the public functions -----------------------------------------------------------------------------------------


def while_loop(cond_fun: Callable[[Any], Any], body_fun: Callable[[Any], Any], init_val: Any) -> Any:
    """``body_fun`` applied to the carry as long as ``cond_fun`` of it holds.

    It stands for this loop::

        while cond_fun(init_val):
            init_val = body_fun(init_val)
        return init_val

    Both functions are traced once for given types, also outside of ``jit``, and may close over arrays and traced
    values. It is differentiable in both modes to any order: in reverse mode the loop counts its steps and keeps what
    the derivative needs of each, in arrays that grow as it runs, and a second loop of that many steps reads them
    backwards. A loop within a loop (or a branch) keeps what comes into it, and runs a second time on the way back. The
    number of steps is a constant to derivatives. Under ``vmap`` the loop goes on while any example does; one that is
    done keeps its values, and neither it nor its derivative sees the steps of the others.

    Args:
        cond_fun: a function of the carry that gives one boolean.
        body_fun: a function from the carry to the next one, of the same structure, shapes and dtypes. A Python
            number among the first values takes the dtype that the body gives it.
        init_val: the first carry, a pytree of arrays and numbers.

    Raises:
        TreeStructureError, ShapeError, DTypeError: for a carry that changes its type.
        OutputError: for a condition that is not one boolean.

    >>> import numpy as np, functrans as ft
    >>> ft.lax.while_loop(lambda x: x < 100.0, lambda x: x * 3.0, np.float64(2.0))
    np.float64(162.0)
    >>> root = lambda a: ft.lax.while_loop(lambda x: abs(x * x - a) > 1e-12, lambda x: 0.5 * (x + a / x), a)
    >>> np.round(ft.vmap(ft.grad(root))(np.array([4.0, 9.0])), 12)
    array([0.25      , 0.16666667])
    """
    key = "while", code_of(cond_fun), code_of(body_fun)
    found = run_prepared(key, cond_fun, body_fun, init_val)
    if found is not MISS:
        return found
    check_function("while_loop", "cond_fun", cond_fun)
    check_function("while_loop", "body_fun", body_fun)
    where = f"while_loop({name_of(body_fun)})"
    leaves, tree = flatten_operands(where, "init_val", init_val)
    if any_mode() and config.disable_jit:
        done, value = _stepwise(cond_fun, body_fun, init_val)
        if done:
            return value
    body = settle(where, "carry", body_fun, init_val, (), (), _same_tree)
    test = body_of(where, cond_fun, tree_structure((init_val,)), body.carry)
    holds = _predicate(where, test.jaxpr, name_of(cond_fun))
    bodies = test.traced, body.traced
    if test.traced is not None and leaves and may_prepare((cond_fun, body_fun), bodies, (holds, body.jaxpr)):
        prepare_while(key, cond_fun, body_fun, test.traced, holds, body, init_val)
    outs = while_p.bind(
        *test.consts,
        *body.consts,
        *map(fit, leaves, body.carry),
        cond=holds,
        body=body.jaxpr,
        n_cond=len(test.consts),
        n_body=len(body.consts),
        saves=None,
    )
    return tree.unflatten(outs)


def _same_tree(tree: PyTreeDef) -> PyTreeDef:
    return tree


def _predicate(where: str, jaxpr: Jaxpr, name: str) -> Jaxpr:
    """The condition, checked to give one boolean; a number holds where it is not zero."""
    avals = jaxpr.out_avals
    if len(avals) != 1 or avals[0].shape != ():
        raise errors.OutputError(
            f"{where}: the condition {name} must return one boolean, got {', '.join(map(str, avals)) or 'nothing'}. "
            f"Reduce an array with numpy.all or numpy.any"
        )
    return jaxpr if avals[0].dtype == BOOL else results_fitted(jaxpr, (shaped((), BOOL, "numpy"),))


def _stepwise(cond_fun: Callable[[Any], Any], body_fun: Callable[[Any], Any], carry: Any) -> tuple[bool, Any]:
    """The loop in Python on the values at hand; not done where the condition's value cannot be seen."""
    while True:
        holds = cond_fun(carry)
        if isinstance(holds, Tracer) and holds._trace.concrete(holds) is None:
            return False, carry
        if not holds:
            return True, carry
        carry = body_fun(carry)


def _counted(body: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """The body of ``fori_loop`` as one of ``scan``."""

    def step(carry: Any, i: Any) -> tuple[Any, None]:
        return body(rebox(i, "python"), carry), None

    return transformation(step, body, Rebuild(_counted))


def _counting(body: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
    """The body of ``fori_loop`` as one of ``while_loop``."""

    def step(state: Any) -> Any:
        i, upper, carry = state
        return rebox(add(i, 1), "python"), upper, body(i, carry)

    return transformation(step, body, Rebuild(_counting))


def _below(state: Any) -> Any:
    return lt(state[0], state[1])


def fori_loop(
    lower: Any, upper: Any, body_fun: Callable[[Any, Any], Any], init_val: Any, unroll: int | bool = 1
) -> Any:
    """``body_fun(i, carry)`` for each integer ``i`` from ``lower`` up to, not including, ``upper``.

    It stands for this loop::

        for i in range(lower, upper):
            init_val = body_fun(i, init_val)
        return init_val

    With bounds that are known when the loop is traced it is a ``scan``, with traced bounds a ``while_loop``. Both are
    differentiable in both modes to any order.

    Args:
        lower, upper: integers, which may be traced.
        body_fun: a function of the index, which is a Python int to promotion, and the carry.
        init_val: the first carry, a pytree of arrays and numbers; see ``scan``.
        unroll: as in ``scan``; of no effect with traced bounds.

    Raises:
        ArgumentError: bounds that are not integers; otherwise as ``scan`` and ``while_loop``.

    >>> import numpy as np, functrans as ft
    >>> ft.lax.fori_loop(0, 5, lambda i, total: total + i, 0)
    10
    >>> ft.grad(lambda x: ft.lax.fori_loop(0, 3, lambda i, y: y * x, 1.0))(2.0)
    np.float64(12.0)
    """
    key = "fori", code_of(body_fun)
    if unroll is False or (type(unroll) is int and unroll == 1):
        found = run_prepared(key, body_fun, lower, upper, init_val)
        if found is not MISS:
            return found
    check_function("fori_loop", "body_fun", body_fun)
    where = f"fori_loop({name_of(body_fun)})"
    start, stop = _bound(where, "lower", lower), _bound(where, "upper", upper)
    if isinstance(start, int) and isinstance(stop, int):
        # While something is traced the numbers are made by an operation, so that no constant is kept.
        made = array_module(tree_leaves(init_val)).arange if current_trace() is None else arange
        numbers = made(start, max(start, stop))
        return run_scan(where, _counted(body_fun), init_val, numbers, None, False, unroll, key=key)[0]
    return while_loop(_below, _counting(body_fun), (start, stop, init_val))[2]


def _bound(where: str, name: str, value: Any) -> Any:
    """A bound as an int where it is known, else as a traced Python int."""
    traced = isinstance(value, Tracer)
    known = value._trace.concrete(value) if traced else value
    try:
        if known is not None:
            return operator.index(known)
        if value.shape == () and value.dtype.kind in "iu":
            return rebox(convert(value, np.dtype(np.int64)), "python")
    except TypeError:
        traced = False
    found = f"a traced value of type {value.aval}" if traced else f"{value!r} of type {type(value).__name__}"
    raise errors.ArgumentError(f"{where}: {name} must be an integer, got {found}")
