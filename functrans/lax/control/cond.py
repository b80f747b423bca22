"""``cond`` and ``switch``: one of several functions, chosen by a value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans.config import any_mode, config
from functrans.core import dtypes
from functrans.core.avals import ShapedArray, shaped
from functrans.core.evaluate import evaluate
from functrans.core.jaxpr import Atom, Eqn, Jaxpr, Var, axes_in, dce, differ, result_avals, used_inputs
from functrans.core.primitive import BatchAxis, Primitive, Sample, Trait, Undefined, Zero
from functrans.core.stage import stage
from functrans.core.structural import zero_of, zeros
from functrans.core.trace import Tracer, aval_of
from functrans.core.tree import describe_mismatch
from functrans.interpreters.batch import batch_jaxpr, materialize
from functrans.interpreters.jvp import jvp_jaxpr
from functrans.interpreters.split import SplitEqn, parts_of, split_jaxpr
from functrans.interpreters.transpose import transpose_jaxpr
from functrans.lax.arithmetic import mul
from functrans.lax.compare import eq, ge, le, logical_and, logical_not, ne
from functrans.lax.control.body import BOXES, Body, body_of, check_function, flatten_operands, leaf_path, name_of
from functrans.lax.control.prepared import MISS, code_of, may_prepare, prepare_choice, run_prepared
from functrans.lax.control.region import fit, fitted, owned_eagerly, results_fitted, runner
from functrans.lax.creation import iota
from functrans.lax.movement import broadcast_in_dim
from functrans.lax.reduction import argmax, reduce_any
from functrans.lax.selection import select
from functrans.lax.taking import take
from functrans.lax.trigonometric import sin
from functrans.util.cache import WeakMemo

Branches = tuple[Jaxpr, ...]

# The first operand chooses: a boolean or an integer. One out of range chooses the first or the last branch.


def _shape(which: ShapedArray, *avals: ShapedArray, branches: Branches) -> list[ShapedArray]:
    if which.shape != () or which.dtype.kind not in "biu":
        raise errors.JaxprError(f"cond: the index must be one integer or boolean, got {which}")
    for branch in branches:
        for i, (a, e) in enumerate(zip(avals, branch.in_avals, strict=True)):
            if differ(a, e):
                raise errors.JaxprError(f"cond: operand {i} has type {a}, and a branch asks for {e}")
        if result_avals(branch, avals) != result_avals(branches[0], avals):
            raise errors.JaxprError(f"cond: branches return {branches[0].out_avals} and {branch.out_avals}")
    return result_avals(branches[0], avals)


def _chooser(xp: Any, *, branches: Branches) -> Callable[..., Sequence[Any]]:
    functions = [runner(b, xp) for b in branches]
    if len(functions) == 2:
        no, yes = functions
        return lambda which, *args: yes(*args) if which > 0 else no(*args)
    last = len(functions) - 1
    return lambda which, *args: functions[min(max(int(which), 0), last)](*args)


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], *, branches: Branches) -> tuple[list[Any], list[Any]]:
    which, *operands = primals
    live = [not isinstance(t, Zero) for t in tangents[1:]]
    masks = [jvp_jaxpr(b, live)[1] for b in branches]
    live_out = [any(m) for m in zip(*masks, strict=True)]
    n_out = len(live_out)
    targets = branches[0].out_avals
    avals = (*targets, *(a.tangent() for a, now in zip(targets, live_out, strict=True) if now))
    derived, consts = joined([jvp_jaxpr(b, live, live_out)[0] for b in branches])
    in_avals = branches[0].in_avals
    given = [fit(t, a.tangent()) for t, a in zip(tangents[1:], in_avals, strict=True) if not isinstance(t, Zero)]
    outs = cond_p.bind(which, *consts, *operands, *given, branches=tuple(results_fitted(b, avals) for b in derived))
    rest = iter(outs[n_out:])
    return outs[:n_out], [next(rest) if now else zero_of(o) for o, now in zip(outs[:n_out], live_out, strict=True)]


def joined(branches: Sequence[Jaxpr]) -> tuple[list[Jaxpr], list[Any]]:
    """Branches with constants as branches without, and the constants, which all of them take as first operands."""
    consts: list[Any] = [c for b in branches for c in b.consts]
    if not consts:
        return list(branches), []
    joined = []
    avals = [aval_of(c) for c in consts]
    done = 0
    for b in branches:
        closed, own = b.hoisted()
        extra = [Var(a) for a in avals]
        extra[done : done + len(own)] = closed.invars[: len(own)]
        done += len(own)
        joined.append(closed.replace(invars=[*extra, *closed.invars[len(own) :]]))
    return joined, consts


def _batch(
    axis: BatchAxis, args: Sequence[Any], dims: Sequence[int | None], *, branches: Branches
) -> tuple[list[Any], list[int | None]]:
    (which, *operands), (dim, *rest) = args, dims
    batched = [d is not None for d in rest]
    operands = [materialize(axis, x, d) if d is not None else x for x, d in zip(operands, rest, strict=True)]
    if dim is not None:
        return _select(axis, materialize(axis, which, dim), operands, batched, branches)
    masks = [batch_jaxpr(b, axis, batched)[1] for b in branches]
    out = [any(m) for m in zip(*masks, strict=True)]
    mapped, consts = joined([batch_jaxpr(b, axis, batched, out)[0] for b in branches])
    avals = mapped[0].out_avals
    outs = cond_p.bind(which, *consts, *operands, branches=tuple(results_fitted(b, avals) for b in mapped))
    return outs, [0 if b else None for b in out]


def _select(
    axis: BatchAxis, which: Any, operands: Sequence[Any], batched: Sequence[bool], branches: Branches
) -> tuple[list[Any], list[int | None]]:
    """Every branch that some example takes is run on the whole batch, and each example picks its results.

    An example that does not take a branch borrows the operands of one that does. So no branch sees values that it
    was guarded from, and no derivative meets the infinities that it would have there. Effects pass over such an
    example. Where a branch computes across the examples, they all come with operands of their own.
    """
    last = len(branches) - 1
    masks = []
    for k in range(len(branches)):
        if aval_of(which).dtype.kind == "b":
            masks.append(which if k else logical_not(which))
        else:
            masks.append(le(which, 0) if k == 0 else ge(which, last) if k == last else eq(which, k))
    results: list[Any] = []
    for mask, branch in zip(masks, branches, strict=True):
        live = mask if axis.live is None else logical_and(axis.live, mask)
        mapped, _ = batch_jaxpr(branch, axis._replace(live=live), batched, True)
        closed, consts = mapped.hoisted()
        borrow = axis.name is None or axis.name not in axes_in(branch)
        outs = cond_p.bind(
            reduce_any(mask),
            mask,
            *consts,
            *operands,
            branches=guarded(closed, (*[False] * len(consts), *[b and borrow for b in batched]), axis.size),
        )
        if not results:
            results = outs
            continue
        results = [
            select(broadcast_in_dim(mask, aval_of(new).shape, (0,)), new, old)
            for new, old in zip(outs, results, strict=True)
        ]
    return results, [0] * len(results)


def _guarded(branch: Jaxpr, batched: tuple[bool, ...], size: Any) -> Branches:
    """What stands for a mapped branch that no example takes, and the branch on operands of examples that take it."""

    def some(mask: Any, *operands: Any) -> list[Any]:
        rows = select(mask, iota(np.int64, size), argmax(mask, 0))
        return evaluate(branch, [take(x, rows, 0) if b else x for x, b in zip(operands, batched, strict=True)])

    avals = [shaped((size,), np.dtype(bool)), *branch.in_avals]
    none = stage(lambda mask, *operands: [zeros(a) for a in branch.out_avals], avals, "branch")
    return none, results_fitted(stage(some, avals, "branch"), branch.out_avals)


guarded: WeakMemo[Branches] = WeakMemo(_guarded)


def _split(eqn: Eqn, unknown: Sequence[bool]) -> SplitEqn:
    """What the branches keep for later shares places: each fills those that it needs, the others hold zeros."""
    branches: Branches = eqn.params["branches"]
    if unknown[0]:
        return SplitEqn((), (eqn,))
    late = list(unknown[1:])
    parts = [split_jaxpr(b, late, again=0) for b in branches]
    late_out = [any(u) for u in zip(*(p.unknown_out for p in parts), strict=True)]
    known_in = [i for i, u in enumerate(late) if not u]

    slots: list[ShapedArray] = []
    firsts: list[list[Atom]] = []  # results of each known branch: what is known, then what fills the places
    fills: list[dict[int, Atom]] = []
    places: list[dict[Any, int]] = []
    seconds: list[Jaxpr] = []
    for p in parts:
        atoms = iter(p.known.outvars)
        given = {j: next(atoms) for j, u in enumerate(p.unknown_out) if not u}
        taken: set[int] = set()
        fill: dict[int, Atom] = {}
        where: dict[Any, int] = {}

        def slot(atom: Atom, taken: set[int] = taken, fill: dict[int, Atom] = fill) -> int:
            free = (k for k, a in enumerate(slots) if a == atom.aval and k not in taken)
            k = next(free, len(slots))
            if k == len(slots):
                slots.append(atom.aval)
            taken.add(k)
            fill[k] = atom
            return k

        residuals = p.unknown.invars[: len(p.residual_inputs)]
        for var, i in zip(residuals, p.residual_inputs, strict=True):
            if i is None:
                where[var] = slot(next(atoms))
        forced = {}
        for j, now in enumerate(late_out):
            if now and not p.unknown_out[j]:
                forced[j] = Var(given[j].aval)
                where[forced[j]] = slot(given[j])
        firsts.append([given[j] for j, now in enumerate(late_out) if not now])
        fills.append(fill)
        places.append(where)
        rest = iter(p.unknown.outvars)
        results = {j: next(rest) for j, u in enumerate(p.unknown_out) if u} | forced
        seconds.append(p.unknown.replace(outvars=[results[j] for j, now in enumerate(late_out) if now]))

    kept = [Var(a) for a in slots]
    known_avals = (*(eqn.outs[j].aval for j, now in enumerate(late_out) if not now), *slots)
    known_branches = []
    later_branches = []
    late_avals = [a for a, u in zip(branches[0].in_avals, late, strict=True) if u]
    known_avals_in = [branches[0].in_avals[i] for i in known_in]
    for p, first, fill, where, second in zip(parts, firsts, fills, places, seconds, strict=True):
        known_branches.append(_filling(p.known, first, fill, known_avals))
        # All branches take the same operands: known ones, places, unknown ones.
        shared: list[Var] = [Var(a) for a in known_avals_in] + [Var(a) for a in slots]
        for var, i in zip(p.unknown.invars, p.residual_inputs, strict=False):
            shared[i if i is not None else len(known_in) + where[var]] = var
        for var, k in where.items():
            shared[len(known_in) + k] = var
        own = p.unknown.invars[len(p.residual_inputs) :]
        branch = second.replace(invars=[*shared, *own])
        in_avals = (*known_avals_in, *slots, *late_avals)
        outs = tuple(o.aval for o, now in zip(eqn.outs, late_out, strict=True) if now)
        later_branches.append(fitted(branch, in_avals, outs))
    known = eqn._replace(
        inputs=(eqn.inputs[0], *(eqn.inputs[1 + i] for i in known_in)),
        outs=(*(o for o, now in zip(eqn.outs, late_out, strict=True) if not now), *kept),
        params={"branches": tuple(known_branches)},
    )
    later = eqn._replace(
        inputs=(
            eqn.inputs[0],
            *(eqn.inputs[1 + i] for i in known_in),
            *kept,
            *(a for a, u in zip(eqn.inputs[1:], late, strict=True) if u),
        ),
        outs=tuple(o for o, now in zip(eqn.outs, late_out, strict=True) if now),
        params={"branches": tuple(later_branches)},
    )
    return parts_of(known, _without_unused(later))


def _filling(known: Jaxpr, first: Sequence[Atom], fill: dict[int, Atom], avals: tuple[ShapedArray, ...]) -> Jaxpr:
    """A known branch with its results, and values or zeros in the places of residuals."""
    n = len(first)
    order = sorted(fill)
    some = known.replace(outvars=[*first, *(fill[k] for k in order)])

    def f(*args: Any) -> list[Any]:
        outs = evaluate(some, args)
        kept = dict(zip(order, outs[n:], strict=True))
        rest = [kept[k] if k in kept else zeros(a) for k, a in enumerate(avals[n:])]
        return list(map(fit, [*outs[:n], *rest], avals))

    return stage(f, known.in_avals, "branch")


def _without_unused(eqn: Eqn) -> Eqn:
    """A choice without the operands that no branch needs."""
    branches: Branches = eqn.params["branches"]
    used = [any(u) for u in zip(*map(used_inputs, branches), strict=True)]
    if all(used):
        return eqn
    return eqn._replace(
        inputs=(eqn.inputs[0], *(a for a, u in zip(eqn.inputs[1:], used, strict=True) if u)),
        params={
            "branches": tuple(b.replace(invars=[v for v, u in zip(b.invars, used, strict=True) if u]) for b in branches)
        },
    )


def _transpose(cotangents: Sequence[Any], which: Any, *operands: Any, branches: Branches) -> list[Any]:
    linear = [isinstance(x, Undefined) for x in operands]
    live = [not isinstance(ct, Zero) for ct in cotangents]
    masks = [transpose_jaxpr(b, linear, live)[1] for b in branches]
    found = [any(m) for m in zip(*masks, strict=True)]
    backwards, consts = joined([_forced(transpose_jaxpr(b, linear, live, True)[0], found) for b in branches])
    in_avals = branches[0].in_avals
    targets = [a.cotangent() for a, lin in zip(in_avals, linear, strict=True) if lin]
    avals = tuple(a for a, now in zip(targets, found, strict=True) if now)
    given = [
        fit(ct, a.cotangent())
        for ct, a in zip(cotangents, branches[0].out_avals, strict=True)
        if not isinstance(ct, Zero)
    ]
    outs = iter(
        cond_p.bind(
            which,
            *consts,
            *(x for x in operands if not isinstance(x, Undefined)),
            *given,
            branches=tuple(results_fitted(b, avals) for b in backwards),
        )
    )
    cts = iter([next(outs) if now else None for now in found])
    return [None, *(next(cts) if lin else None for lin in linear)]


def _forced(jaxpr: Jaxpr, mask: Sequence[bool]) -> Jaxpr:
    return selected(jaxpr, tuple(mask))


selected: WeakMemo[Jaxpr] = WeakMemo(lambda jaxpr, mask: dce(jaxpr, mask))
"""``selected(jaxpr, mask)``: the jaxpr with some of its outputs."""


def _dce(eqn: Eqn, used: Sequence[bool]) -> Eqn:
    """A choice without the results that nobody uses."""
    branches = tuple(dce(b, used) for b in eqn.params["branches"])
    outs = tuple(o for o, u in zip(eqn.outs, used, strict=True) if u)
    return _without_unused(eqn._replace(outs=outs, params={"branches": branches}))


def _samples() -> list[Sample]:
    vector = shaped((2,), np.dtype(np.float64))
    functions: list[Callable[..., list[Any]]] = [
        lambda w, c: [mul(sin(c), w), c],
        lambda w, c: [mul(w, w), mul(c, w)],
        lambda w, c: [c, zeros(vector)],
    ]
    branches = tuple(stage(f, [vector, vector], "branch") for f in functions)
    w, c = np.array([0.5, -1.5]), np.array([0.25, 1.0])
    return [
        Sample((np.True_, w, c), {"branches": branches[:2]}),
        Sample((np.False_, w, c), {"branches": branches[:2]}),
        Sample((np.int64(7), w, c), {"branches": branches}),
        Sample((1, w, c), {"branches": branches}),
    ]


cond_p: Primitive = Primitive(
    "cond",
    shape=_shape,
    impl=lambda xp, *args, branches: list(_chooser(xp, branches=branches)(*args)),
    specialize=lambda xp, avals, *, branches: _chooser(xp, branches=branches),
    jvp=_jvp,
    transpose=_transpose,
    batch=_batch,
    multiple=True,
    kind="branch",
    samples=_samples,
    split=_split,
    dce=_dce,
    traits=frozenset({Trait.VIEW}),
)

# -- the public functions -----------------------------------------------------------------------------------------

_MISSING: Any = object()


def cond(
    pred: Any,
    true_fun: Callable[..., Any],
    false_fun: Callable[..., Any],
    *operands: Any,
    operand: Any = _MISSING,
) -> Any:
    """``true_fun(*operands)`` where ``pred`` holds, else ``false_fun(*operands)``. Only one of them is run.

    Both are traced, also outside of ``jit``, and must return the same structure, shapes and dtypes; a Python number
    in the result of one takes the dtype of the other's. They may close over arrays and traced values. Under ``vmap``
    of the predicate both are run, each on examples that choose it, and every example picks its own result.

    Args:
        pred: one boolean or number; a number holds where it is not zero.
        true_fun, false_fun: functions of the operands.
        operands: pytrees of arrays and numbers.
        operand: one operand, as a keyword.

    Raises:
        TreeStructureError, ShapeError, DTypeError: for branches whose results differ in type.

    >>> import numpy as np, functrans as ft
    >>> root = lambda x: ft.lax.cond(x > 0.0, np.sqrt, lambda x: 0.0, x)
    >>> root(4.0), ft.grad(root)(-1.0)
    (np.float64(2.0), np.float64(0.0))
    """
    key = "cond", code_of(true_fun), code_of(false_fun)
    if operand is _MISSING and (type(pred) is bool or type(pred) is np.bool_):
        found = run_prepared(key, pred, (false_fun, true_fun), operands)
        if found is not MISS:
            return found
    if operand is not _MISSING:
        if operands:
            raise errors.ArgumentError("cond: pass operands by position or operand= as a keyword, not both")
        operands = (operand,)
    check_function("cond", "true_fun", true_fun)
    check_function("cond", "false_fun", false_fun)
    aval = aval_of(pred)
    if aval.shape != ():
        raise errors.ShapeError(
            f"cond: the predicate must be one boolean, got {aval}. Reduce it with numpy.all or numpy.any, choose "
            f"element by element with numpy.where, or map cond over it with functrans.vmap"
        )
    if aval.dtype.kind != "b":
        pred = ne(pred, 0)
    return _choose("cond", pred, (false_fun, true_fun), ("false_fun", "true_fun"), operands, key)


def switch(index: Any, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """``branches[index](*operands)``. An index below zero chooses the first branch, one past the end the last.

    Args:
        index: one integer, which may be traced.
        branches: functions of the operands, whose results have one structure and one type; see ``cond``.
        operands: pytrees of arrays and numbers.

    >>> import numpy as np, functrans as ft
    >>> ft.lax.switch(2, [np.sin, np.cos, np.square], 3.0)
    np.float64(9.0)
    """
    branches = tuple(branches)
    key = ("switch", *map(code_of, branches))
    if (type(index) is int or type(index) is np.int64) and len(branches) > 1:
        found = run_prepared(key, index, branches, operands)
        if found is not MISS:
            return found
    if not branches:
        raise errors.ArgumentError("switch: at least one branch is needed, got none")
    for k, f in enumerate(branches):
        check_function("switch", f"branches[{k}]", f)
    aval = aval_of(index)
    if aval.shape != () or aval.dtype.kind not in "iu":
        raise errors.DTypeError(
            f"switch: the index must be one integer, got {aval}. Write cond for a boolean, or index.astype(int)"
        )
    if len(branches) == 1:
        return branches[0](*operands)
    return _choose("switch", index, branches, [f"branches[{k}]" for k in range(len(branches))], operands, key)


def _choose(
    where: str,
    which: Any,
    functions: Sequence[Callable[..., Any]],
    labels: Sequence[str],
    operands: tuple[Any, ...],
    key: tuple[Any, ...],
) -> Any:
    leaves, treedef = flatten_operands(where, "operand ", operands)
    if any_mode() and config.disable_jit:
        known = which._trace.concrete(which) if isinstance(which, Tracer) else which
        if known is not None:
            return functions[min(max(int(known), 0), len(functions) - 1)](*operands)
    names = [f"{label} ({name_of(f)})" for label, f in zip(labels, functions, strict=True)]
    avals = [aval_of(x) for x in leaves]
    bodies = [body_of(f"{where}: {n}", f, treedef, avals) for n, f in zip(names, functions, strict=True)]
    outs_of = _agreed(where, names, bodies)
    traced = [b.traced for b in bodies]
    if all(b.again for b in bodies) and may_prepare(functions, traced, [b.jaxpr for b in bodies]):
        separate = [results_fitted(b.jaxpr, outs_of) for b in bodies]
        prepare_choice(key, functions, traced, separate, operands, bodies[0].out_tree)
    # Every branch takes the captured arrays of all of them.
    captured: dict[int, Any] = {id(c): c for b in bodies for c in b.consts}
    order = {key: i for i, key in enumerate(captured)}
    branches = tuple(
        results_fitted(
            adapted(b.jaxpr, tuple(order[id(c)] for c in b.consts), tuple(aval_of(c) for c in captured.values())),
            outs_of,
        )
        for b in bodies
    )
    given = [*captured.values(), *leaves]
    outs = cond_p.bind(which, *given, branches=branches)
    outs = owned_eagerly(outs, given)
    return bodies[0].out_tree.unflatten(outs)


def _adapted(branch: Jaxpr, places: tuple[int, ...], avals: tuple[ShapedArray, ...]) -> Jaxpr:
    n = len(places)
    if places == tuple(range(len(avals))):
        return branch

    def f(*args: Any) -> list[Any]:
        return evaluate(branch, [*(args[i] for i in places), *args[len(avals) :]])

    return stage(f, [*avals, *branch.in_avals[n:]], "branch")


adapted: WeakMemo[Jaxpr] = WeakMemo(_adapted)
"""``adapted(branch, places, avals)``: the branch as one that takes constants of these types, its own at places."""


def _agreed(where: str, names: Sequence[str], bodies: Sequence[Body]) -> tuple[ShapedArray, ...]:
    """The types of the results that all branches can give."""
    first = bodies[0]
    agreed = list(first.out_avals)
    for name, body in zip(names[1:], bodies[1:], strict=True):
        if body.out_tree != first.out_tree:
            difference = describe_mismatch(first.out_tree, body.out_tree, "the result", f"in {names[0]}", f"in {name}")
            raise errors.TreeStructureError(f"{where}: the branches must return one structure. {difference}")
        for i, (a, b) in enumerate(zip(agreed, body.out_avals, strict=True)):
            joint = _joint(a, b)
            if joint is None:
                label = leaf_path("the result", first.out_tree.unflatten(range(len(agreed))), i)
                kind = errors.ShapeError if a.shape != b.shape else errors.DTypeError
                mend = (
                    "Broadcast one of them (numpy.broadcast_to)" if a.shape != b.shape else "Cast one of them (.astype)"
                )
                raise kind(
                    f"{where}: {label} has type {first.out_avals[i]} in {names[0]} and {b} in {name}; the branches "
                    f"must return one type. {mend}"
                )
            agreed[i] = joint
    return tuple(agreed)


def _joint(a: ShapedArray, b: ShapedArray) -> ShapedArray | None:
    if a == b:
        return a
    if a.shape != b.shape:
        return None
    box = max(a.box, b.box, key=BOXES.index)
    if a.dtype == b.dtype:
        return a.update(box=box)
    for strong, weak in ((a, b), (b, a)):
        if weak.weak and "biufc".index(dtypes.kind(strong.dtype)) >= "biufc".index(weak.dtype.kind):
            return strong.update(box=box)
    return None
