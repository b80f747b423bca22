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
from functrans.core.jaxpr import Eqn, Jaxpr, Var, dce, used_inputs
from functrans.core.primitive import BatchAxis, Primitive, Zero
from functrans.core.stage import stage
from functrans.core.structural import convert, instantiate, rebox
from functrans.core.trace import Tracer, aval_of
from functrans.core.tree import tree_structure
from functrans.core.treedef import PyTreeDef
from functrans.interpreters.batch import batch_jaxpr, materialize
from functrans.interpreters.jvp import jvp_jaxpr
from functrans.interpreters.split import SplitEqn, split_jaxpr
from functrans.lax.arithmetic import add
from functrans.lax.compare import lt
from functrans.lax.control.body import body_of, check_function, flatten_operands, name_of, settle
from functrans.lax.control.region import fit, owned, reordered, results_fitted, runner
from functrans.lax.control.scan import run_scan
from functrans.lax.movement import broadcast_in_dim
from functrans.lax.ranges import arange
from functrans.lax.reduction import reduce_any
from functrans.lax.selection import select
from functrans.util.cache import WeakMemo
from functrans.util.lists import split as runs

BOOL = np.dtype(bool)

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
        tests, consts = args[:n_cond], args[n_cond : n_cond + n_body]
        carry: Sequence[Any] = args[n_cond + n_body :]
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
    active = shaped((size,), BOOL)
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
        step = split_jaxpr(body, late[n_cond:])
        test = split_jaxpr(cond, [*late[:n_cond], *late[start:]])
        (decides,) = test.unknown_out
        grown = [decides or a or b for a, b in zip(late[start:], step.unknown_out, strict=True)]
        if grown == late[start:]:
            break
        late[start:] = grown
    if decides or all(grown):
        return SplitEqn((), (eqn,))
    early = [not u for u in late]
    used = [now for now, u in zip(early[start:], step.unknown_out, strict=True) if not u]
    kept = len(step.known.outvars) - len(used)
    first = eqn._replace(
        inputs=tuple(a for a, e in zip(eqn.inputs, early, strict=True) if e),
        outs=tuple(o for o, g in zip(eqn.outs, grown, strict=True) if not g),
        params={
            "cond": test.known,
            "body": dce(step.known, [*used, *[False] * kept]),
            "n_cond": n_cond,
            "n_body": sum(early[n_cond:start]),
        },
    )
    again = eqn._replace(outs=tuple(o if g else Var(o.aval) for o, g in zip(eqn.outs, grown, strict=True)))
    return SplitEqn((first,), (again,))


def _dce(eqn: Eqn, used: Sequence[bool]) -> Eqn:
    """A loop without the carries that neither a used result nor the condition needs."""
    cond, body, n_cond, n_body = (eqn.params[k] for k in ("cond", "body", "n_cond", "n_body"))
    start = n_cond + n_body
    tests = used_inputs(cond)
    keep = [a or b for a, b in zip(used, tests[n_cond:], strict=True)]
    while True:
        kept = dce(body, keep)
        needed = used_inputs(kept)
        grown = [a or b for a, b in zip(keep, needed[n_body:], strict=True)]
        if grown == keep:
            break
        keep = grown
    inputs = [*tests[:n_cond], *needed[:n_body], *keep]
    return eqn._replace(
        inputs=tuple(a for a, u in zip(eqn.inputs, inputs, strict=True) if u),
        outs=tuple(o for o, k in zip(eqn.outs, keep, strict=True) if k),
        params={
            "cond": _keeping(cond, [*tests[:n_cond], *keep]),
            "body": _keeping(kept, inputs[n_cond:]),
            "n_cond": sum(tests[:n_cond]),
            "n_body": sum(inputs[n_cond:start]),
        },
    )


def _keeping(jaxpr: Jaxpr, mask: Sequence[bool]) -> Jaxpr:
    return jaxpr.replace(invars=[v for v, m in zip(jaxpr.invars, mask, strict=True) if m])


def _transpose(cotangents: Sequence[Any], *operands: Any, **params: Any) -> list[Any]:
    raise errors.NotDifferentiableError(
        "while_loop has no derivative in reverse mode: nothing says how many steps' values would have to be kept. "
        "Where the number of steps is known before the loop starts, use functrans.lax.scan, or "
        "functrans.lax.fori_loop with Python ints as bounds; where only a bound is known, scan that many steps and "
        "keep the carry with functrans.lax.cond once it is done. Forward mode works: functrans.jvp, functrans.jacfwd"
    )


while_p: Primitive = Primitive(
    "while",
    shape=_shape,
    impl=lambda xp, *args, **params: _loop(xp, **params)(*args),
    specialize=lambda xp, avals, **params: _loop(xp, **params),
    jvp=_jvp,
    transpose=_transpose,
    batch=_batch,
    multiple=True,
    kind="loop",
    split=_split,
    dce=_dce,
)

# -- the public functions -----------------------------------------------------------------------------------------


def while_loop(cond_fun: Callable[[Any], Any], body_fun: Callable[[Any], Any], init: Any) -> Any:
    """``body_fun`` applied to the carry as long as ``cond_fun`` of it holds.

    It stands for this loop::

        while cond_fun(init):
            init = body_fun(init)
        return init

    Both functions are traced once for given types, also outside of ``jit``, and may close over arrays and traced
    values. Forward mode works to any order; reverse mode raises, as the number of steps is not known beforehand
    (``scan`` and ``fori_loop`` with Python ints as bounds have it). Under ``vmap`` the loop goes on while any example
    does, and an example that is done keeps its values.

    Args:
        cond_fun: a function of the carry that gives one boolean.
        body_fun: a function from the carry to the next one, of the same structure, shapes and dtypes. A Python
            number among the first values takes the dtype that the body gives it.
        init: the first carry, a pytree of arrays and numbers.

    Raises:
        TreeStructureError, ShapeError, DTypeError: for a carry that changes its type.
        OutputError: for a condition that is not one boolean.
        NotDifferentiableError: in reverse mode.

    >>> import numpy as np, functrans as ft
    >>> ft.lax.while_loop(lambda x: x < 100.0, lambda x: x * 3.0, np.float64(2.0))
    np.float64(162.0)
    """
    check_function("while_loop", "cond_fun", cond_fun)
    check_function("while_loop", "body_fun", body_fun)
    where = f"while_loop({name_of(body_fun)})"
    leaves, tree = flatten_operands(where, "init", init)
    if any_mode() and config.disable_jit:
        done, value = _stepwise(cond_fun, body_fun, init)
        if done:
            return value
    body = settle(where, "the carry", body_fun, init, (), (), _same_tree)
    test = body_of(where, cond_fun, tree_structure((init,)), body.carry)
    outs = while_p.bind(
        *test.consts,
        *body.consts,
        *map(fit, leaves, body.carry),
        cond=_predicate(where, test.jaxpr, name_of(cond_fun)),
        body=body.jaxpr,
        n_cond=len(test.consts),
        n_body=len(body.consts),
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


def fori_loop(lower: Any, upper: Any, body_fun: Callable[[Any, Any], Any], init: Any, unroll: int | bool = 1) -> Any:
    """``body_fun(i, carry)`` for each integer ``i`` from ``lower`` up to, not including, ``upper``.

    It stands for this loop::

        for i in range(lower, upper):
            init = body_fun(i, init)
        return init

    With bounds that are known when the loop is traced it is a ``scan``, and differentiable in both modes. With traced
    bounds it is a ``while_loop``: forward mode only.

    Args:
        lower, upper: integers, which may be traced.
        body_fun: a function of the index, which is a Python int to promotion, and the carry.
        init: the first carry, a pytree of arrays and numbers; see ``scan``.
        unroll: as in ``scan``; of no effect with traced bounds.

    Raises:
        ArgumentError: bounds that are not integers; otherwise as ``scan`` and ``while_loop``.

    >>> import numpy as np, functrans as ft
    >>> ft.lax.fori_loop(0, 5, lambda i, total: total + i, 0)
    10
    >>> ft.grad(lambda x: ft.lax.fori_loop(0, 3, lambda i, y: y * x, 1.0))(2.0)
    np.float64(12.0)
    """
    check_function("fori_loop", "body_fun", body_fun)
    where = f"fori_loop({name_of(body_fun)})"
    start, stop = _bound(where, "lower", lower), _bound(where, "upper", upper)
    if isinstance(start, int) and isinstance(stop, int):
        return run_scan(where, _counted(body_fun), init, arange(start, max(start, stop)), None, False, unroll)[0]
    return while_loop(_below, _counting(body_fun), (start, stop, init))[2]


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
