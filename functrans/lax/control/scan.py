"""``scan``: a loop of known length that carries a state, reads slices and collects results."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

from functrans import errors
from functrans.config import any_mode, config
from functrans.core.avals import ShapedArray
from functrans.core.evaluate import evaluate
from functrans.core.jaxpr import Eqn, Jaxpr, Var, dce, used_inputs
from functrans.core.primitive import BatchAxis, Primitive, Undefined, Zero
from functrans.core.stage import stage
from functrans.core.structural import add, instantiate, zeros
from functrans.core.trace import aval_of
from functrans.core.tree import tree_map
from functrans.core.treedef import PyTreeDef
from functrans.interpreters.batch import batch_jaxpr, materialize
from functrans.interpreters.jvp import jvp_jaxpr
from functrans.interpreters.split import SplitEqn, split_jaxpr
from functrans.interpreters.transpose import backward_pass, transpose_jaxpr
from functrans.lax.control.body import check_function, flatten_operands, leaf_path, name_of, settle
from functrans.lax.control.region import fit, fitted, reordered, results_fitted
from functrans.lax.control.stepping import loop, sliced, stacked
from functrans.lax.slicing import concatenate
from functrans.lax.subscript import index
from functrans.util.cache import WeakMemo
from functrans.util.lists import split as runs


def _shape(
    *avals: ShapedArray, jaxpr: Jaxpr, n_consts: int, n_carry: int, length: int, reverse: bool, unroll: int
) -> list[ShapedArray]:
    expected = list(jaxpr.in_avals)
    start = n_consts + n_carry
    expected[start:] = [stacked(a, length) for a in expected[start:]]
    for i, (a, e) in enumerate(zip(avals, expected, strict=True)):
        if (a.shape, a.dtype) != (e.shape, e.dtype):
            raise errors.JaxprError(f"scan: operand {i} has type {a}, and the body asks for {e}")
    outs = jaxpr.out_avals
    return [*outs[:n_carry], *(stacked(a, length) for a in outs[n_carry:])]


# -- rules --------------------------------------------------------------------------------------------------------


def _jvp(
    primals: Sequence[Any],
    tangents: Sequence[Any],
    *,
    jaxpr: Jaxpr,
    n_consts: int,
    n_carry: int,
    length: int,
    reverse: bool,
    unroll: int,
) -> tuple[list[Any], list[Any]]:
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
        *operands,
        jaxpr=body,
        n_consts=h + n_consts + sum(live[:n_consts]),
        n_carry=n_carry + grown,
        length=length,
        reverse=reverse,
        unroll=unroll,
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
    length: int,
    reverse: bool,
    unroll: int,
) -> tuple[list[Any], list[int | None]]:
    start = n_consts + n_carry
    n_out = len(jaxpr.outvars)
    batched = [d is not None for d in dims]
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
    outs = scan_p.bind(
        *consts,
        *operands,
        jaxpr=closed,
        n_consts=h + n_consts,
        n_carry=n_carry,
        length=length,
        reverse=reverse,
        unroll=unroll,
    )
    return outs, [None if not b else 0 if i < n_carry else 1 for i, b in enumerate(out)]


def _split(eqn: Eqn, unknown: Sequence[bool]) -> SplitEqn:
    """The known part keeps what the other one needs of each step as further results, stacked."""
    jaxpr: Jaxpr = eqn.params["jaxpr"]
    n_consts, n_carry, length = (eqn.params[k] for k in ("n_consts", "n_carry", "length"))
    start = n_consts + n_carry
    late = list(unknown)
    while True:
        parts = split_jaxpr(jaxpr, late)
        grown = [a or b for a, b in zip(late[n_consts:start], parts.unknown_out, strict=False)]
        if grown == late[n_consts:start]:
            break
        late[n_consts:start] = grown
    late_out = [*grown, *parts.unknown_out[n_carry:]]
    n_known_out = len(parts.unknown_out) - sum(parts.unknown_out)
    atoms = iter(parts.known.outvars[:n_known_out])
    given = {j: next(atoms) for j, u in enumerate(parts.unknown_out) if not u}
    extra = iter(parts.known.outvars[n_known_out:])
    known_in = [i for i, u in enumerate(late) if not u]

    kept = []  # what the known body gives besides: residuals, and carries that are constants to the unknown one
    fixed, rows, stepped = [], [], []  # operands of the unknown scan, with the inputs of its body
    for var, i in zip(parts.unknown.invars, parts.residual_inputs, strict=False):
        place = None if i is None else known_in[i]
        if place is not None and place < n_consts:
            fixed.append((eqn.inputs[place], var))
        elif place is not None and place >= start:
            stepped.append((eqn.inputs[place], var))
        else:
            kept.append(parts.known.invars[i] if i is not None else next(extra))
            rows.append(var)
    forced = {}
    for j in range(n_carry):
        if grown[j] and not parts.unknown_out[j]:
            forced[j] = Var(given[j].aval)
            kept.append(given[j])
            rows.append(forced[j])
    saved = [Var(stacked(a.aval, length)) for a in kept]

    known_out = [j for j in range(len(late_out)) if not late_out[j]]
    body = parts.known.replace(outvars=[*(given[j] for j in known_out), *kept])
    n_known_consts, n_known_carry = late[:n_consts].count(False), grown.count(False)
    carry_avals = body.in_avals[n_known_consts : n_known_consts + n_known_carry]
    known = eqn._replace(
        inputs=tuple(eqn.inputs[i] for i in known_in),
        outs=(*(eqn.outs[j] for j in known_out), *saved),
        params={
            **eqn.params,
            "jaxpr": results_fitted(body, (*carry_avals, *body.out_avals[n_known_carry:])),
            "n_consts": n_known_consts,
            "n_carry": n_known_carry,
        },
    )

    late_in = [i for i, u in enumerate(late) if u]
    late_vars = dict(zip(late_in, parts.unknown.invars[len(parts.residual_inputs) :], strict=True))
    late_atoms = iter(parts.unknown.outvars)
    results = {j: next(late_atoms) for j, u in enumerate(parts.unknown_out) if u} | forced
    late_consts = [i for i in late_in if i < n_consts]
    late_carry = [i for i in late_in if n_consts <= i < start]
    late_xs = [i for i in late_in if i >= start]
    order = [j for j in range(len(late_out)) if late_out[j]]
    rest = Jaxpr(
        [
            *(v for _, v in fixed),
            *(late_vars[i] for i in [*late_consts, *late_carry]),
            *rows,
            *(v for _, v in stepped),
            *(late_vars[i] for i in late_xs),
        ],
        parts.unknown.eqns,
        [results[j] for j in order],
        parts.unknown.constvars,
        parts.unknown.consts,
    )
    n_fixed, n_late = len(fixed) + len(late_consts), len(late_carry)
    in_avals = list(rest.in_avals)
    for k in range(n_fixed + n_late, len(in_avals)):
        in_avals[k] = in_avals[k].update(box="numpy")
    carry_avals = tuple(in_avals[n_fixed : n_fixed + n_late])
    rest = fitted(rest, tuple(in_avals), (*carry_avals, *rest.out_avals[n_late:]))
    later = eqn._replace(
        inputs=(
            *(a for a, _ in fixed),
            *(eqn.inputs[i] for i in [*late_consts, *late_carry]),
            *saved,
            *(a for a, _ in stepped),
            *(eqn.inputs[i] for i in late_xs),
        ),
        outs=tuple(eqn.outs[j] for j in order),
        params={**eqn.params, "jaxpr": rest, "n_consts": n_fixed, "n_carry": n_late},
    )
    return SplitEqn((known,) if known.outs else (), (later,) if later.outs else ())


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


def _transpose(
    cotangents: Sequence[Any],
    *operands: Any,
    jaxpr: Jaxpr,
    n_consts: int,
    n_carry: int,
    length: int,
    reverse: bool,
    unroll: int,
) -> list[Any]:
    params = {
        "jaxpr": jaxpr,
        "n_consts": n_consts,
        "n_carry": n_carry,
        "length": length,
        "reverse": reverse,
        "unroll": unroll,
    }
    undefined = [isinstance(x, Undefined) for x in operands]
    linear = _reach(jaxpr, n_consts, n_carry, undefined)
    start = n_consts + n_carry
    if not all(linear[n_consts:start]):
        return _transpose_rest(cotangents, operands, params)
    live = tuple(not isinstance(ct, Zero) for ct in cotangents[n_carry:])
    body, consts, found = backward(jaxpr, n_consts, n_carry, tuple(linear), live)
    carry_avals = jaxpr.in_avals[n_consts:start]
    carry = [fit(instantiate(ct), a.cotangent()) for ct, a in zip(cotangents, carry_avals, strict=False)]
    summed = [i for i in range(n_consts) if found[i]]
    fixed = [x for x, lin in zip(operands[:n_consts], linear, strict=False) if not lin]
    xs = [x for x, lin in zip(operands[start:], linear[start:], strict=True) if not lin]
    outs = scan_p.bind(
        *consts,
        *fixed,
        *carry,
        *(zeros(jaxpr.in_avals[i].cotangent()) for i in summed),
        *xs,
        *(ct for ct, now in zip(cotangents[n_carry:], live, strict=True) if now),
        jaxpr=body,
        n_consts=len(consts) + len(fixed),
        n_carry=n_carry + len(summed),
        length=length,
        reverse=not reverse,
        unroll=unroll,
    )
    places = [*range(n_consts, start), *summed, *(i for i in range(start, len(operands)) if found[i])]
    results = dict(zip(places, outs, strict=True))
    return [results.get(i) if undefined[i] else None for i in range(len(operands))]


def _transpose_rest(cotangents: Sequence[Any], operands: Sequence[Any], params: dict[str, Any]) -> list[Any]:
    """Transpose a scan that carries known values too: they run first, forwards."""
    avals = [aval_of(x) if not isinstance(x, Undefined) else x.aval for x in operands]
    inputs = tuple(map(Var, avals))
    outs = tuple(map(Var, _shape(*avals, **params)))
    parts = _split(Eqn(scan_p, inputs, outs, params), [isinstance(x, Undefined) for x in operands])
    return backward_pass(Jaxpr(inputs, [*parts.known, *parts.unknown], outs), operands, cotangents)


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
    return eqn._replace(
        inputs=tuple(a for a, u in zip(eqn.inputs, needed, strict=True) if u),
        outs=tuple(o for o, k in zip(eqn.outs, keep, strict=True) if k),
        params={
            **params,
            "jaxpr": body.replace(invars=[v for v, u in zip(body.invars, needed, strict=True) if u]),
            "n_consts": sum(needed[:n_consts]),
            "n_carry": sum(grown),
        },
    )


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
)

# -- the public functions -----------------------------------------------------------------------------------------


def _pair(where: str) -> Callable[[PyTreeDef], PyTreeDef]:
    def carry_of(out_tree: PyTreeDef) -> PyTreeDef:
        node = out_tree.node_data()
        children = out_tree.children()
        if node is None or not issubclass(node[0], (tuple, list)) or len(children) != 2:
            raise errors.OutputError(
                f"{where}: the function must return a pair (carry, y), where y may be None; it returned {out_tree}"
            )
        return children[0]

    return carry_of


def _length(where: str, label: str, xs: Any, leaves: Sequence[Any], length: Any) -> int:
    """The number of steps, which the leaves of ``xs`` and ``length`` must agree on."""
    found: int | None = None
    if length is not None:
        try:
            found = operator.index(length)
        except TypeError:
            raise errors.ArgumentError(
                f"{where}: length must be an int, got {length!r} of type {type(length).__name__}"
            ) from None
        if found < 0:
            raise errors.ArgumentError(f"{where}: length must not be negative, got {found}")
    first = "length"
    for i, leaf in enumerate(leaves):
        shape = aval_of(leaf).shape
        name = leaf_path(label, xs, i)
        if not shape:
            raise errors.ShapeError(
                f"{where}: {name} is a scalar of type {aval_of(leaf)}, and an array with a leading axis to step along "
                f"is needed. Let the function close over what is the same in every step"
            )
        if found is None:
            found, first = shape[0], name
        elif shape[0] != found:
            raise errors.ShapeError(
                f"{where}: {name} has shape {shape}, which gives {shape[0]} steps, and {first} gives {found}. The "
                f"leading axes of all leaves of {label} must have one extent"
            )
    if found is None:
        raise errors.ArgumentError(f"{where}: without {label} the number of steps is unknown; pass length=")
    return found


def scan(
    f: Callable[[Any, Any], Any],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
) -> tuple[Any, Any]:
    """A loop with a state: ``carry, y = f(carry, x)`` for each slice ``x`` of ``xs``, the ``y`` stacked.

    It stands for this loop, and is differentiable in both modes to any order::

        ys = []
        for x in xs:
            init, y = f(init, x)
            ys.append(y)
        return init, np.stack(ys)

    ``f`` is traced once for given types, also outside of ``jit``, and may close over arrays and traced values.

    Args:
        f: a function of the carry and one slice that returns the pair of the next carry and a result, which may
            be None. The carry keeps its structure, shapes and dtypes; a Python number among the first values takes
            the dtype that ``f`` gives it.
        init: the first carry, a pytree of arrays and numbers.
        xs: a pytree of arrays with leading axes of one extent, which are stepped along; None for no slices.
        length: the number of steps, needed where ``xs`` is None.
        reverse: whether to go through the slices from the last to the first; results stand where their slices do.
        unroll: how many steps are written out one after another in the compiled loop; True for all of them.

    Returns:
        The last carry, and the results, each with a leading axis of the number of steps.

    Raises:
        TreeStructureError, ShapeError, DTypeError: for a carry that changes its type, or slices of several lengths.
        OutputError: for a function that does not return a pair of arrays.

    >>> import numpy as np, functrans as ft
    >>> ft.lax.scan(lambda total, x: (total + x, total), 0.0, np.array([1.0, 2.0, 3.0]))
    (np.float64(6.0), array([0., 1., 3.]))
    >>> ft.grad(lambda r: ft.lax.scan(lambda c, _: (c * r, None), 1.0, length=3)[0])(2.0)
    np.float64(12.0)
    """
    check_function("scan", "f", f)
    return run_scan(f"scan({name_of(f)})", f, init, xs, length, reverse, unroll)


def run_scan(
    where: str, f: Callable[[Any, Any], Any], init: Any, xs: Any, length: Any, reverse: Any, unroll: Any
) -> tuple[Any, Any]:
    """``scan`` on behalf of a public function, which messages call ``where``."""
    carry, carry_tree = flatten_operands(where, "init", init)
    slices, xs_tree = flatten_operands(where, "xs", xs)
    n = _length(where, "xs", xs, slices, length)
    if not isinstance(unroll, (bool, int)) or unroll < 0 or (unroll == 0 and unroll is not False):
        raise errors.ArgumentError(f"{where}: unroll must be a positive int or a bool, got {unroll!r}")
    if any_mode() and config.disable_jit and n:
        return _stepwise(f, init, xs, n, reverse)
    example = xs_tree.unflatten([0] * len(slices))
    avals = [sliced(aval_of(x)) for x in slices]
    body = settle(where, "the carry", f, init, (example,), avals, _pair(where))
    first = list(map(fit, carry, body.carry))
    outs = scan_p.bind(
        *body.consts,
        *first,
        *slices,
        jaxpr=body.jaxpr,
        n_consts=len(body.consts),
        n_carry=len(carry),
        length=n,
        reverse=bool(reverse),
        unroll=max(n, 1) if unroll is True else max(int(unroll), 1),
    )
    k = len(carry)
    return carry_tree.unflatten(outs[:k]), body.out_tree.children()[1].unflatten(outs[k:])


def _stepwise(f: Callable[[Any, Any], Any], carry: Any, xs: Any, length: int, reverse: bool) -> tuple[Any, Any]:
    """The loop in Python, one step after another, on the values at hand."""
    ys = []
    order = range(length - 1, -1, -1) if reverse else range(length)
    for i in order:
        carry, y = f(carry, tree_map(lambda x, i=i: index(x, i), xs))
        ys.append(y)
    if reverse:
        ys.reverse()
    return carry, tree_map(lambda *rows: concatenate([_row(r) for r in rows], 0), *ys)


def _row(value: Any) -> Any:
    return materialize(BatchAxis(1), value, None)
