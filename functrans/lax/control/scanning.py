"""``scan``: a loop of known length that carries a state, reads slices and collects results."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans.config import any_mode, config
from functrans.core.evaluate import compiled, evaluate
from functrans.core.jaxpr import Jaxpr, subjaxprs
from functrans.core.primitive import BatchAxis
from functrans.core.stage import stage
from functrans.core.structural import rebox
from functrans.core.trace import aval_of
from functrans.core.tree import tree_leaves, tree_map
from functrans.core.treedef import PyTreeDef
from functrans.interpreters.batch import batch_jaxpr, materialize
from functrans.lax.control.body import Settled, check_function, flatten_operands, leaf_path, name_of, settle
from functrans.lax.control.prepared import MISS, code_of, may_prepare, prepare_fori, prepare_scan, run_prepared
from functrans.lax.control.region import fit, owned_eagerly
from functrans.lax.control.scan import scan_p
from functrans.lax.control.stepping import hoisted, sliced, stacked
from functrans.lax.movement import reshape
from functrans.lax.slicing import concatenate, slice_in_dim
from functrans.lax.subscript import index
from functrans.util.cache import WeakMemo

VECTORISED_BYTES = 1 << 27
"""Up to this size of all values of all steps together, steps that do not depend on each other are taken at once."""


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


def number_of_steps(where: str, label: str, xs: Any, leaves: Sequence[Any], length: Any) -> int:
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
    first = -1
    for i, leaf in enumerate(leaves):
        shape = aval_of(leaf).shape
        if not shape:
            raise errors.ShapeError(
                f"{where}: {leaf_path(label, xs, i)} is a scalar of type {aval_of(leaf)}, and an array with a leading "
                f"axis to step along is needed. A list of numbers is a pytree of them: pass numpy.asarray of it. Let "
                f"the function close over what is the same in every step"
            )
        if found is None:
            found, first = shape[0], i
        elif shape[0] != found:
            raise errors.ShapeError(
                f"{where}: {leaf_path(label, xs, i)} has shape {shape}, which gives {shape[0]} steps, and "
                f"{leaf_path(label, xs, first) if first >= 0 else 'length'} gives {found}. The leading axes of all "
                f"leaves of {label} must have one extent"
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
    *,
    checkpoint: int | str | None = None,
) -> tuple[Any, Any]:
    """A loop with a state: ``carry, y = f(carry, x)`` for each slice ``x`` of ``xs``, the ``y`` stacked.

    It stands for this loop, and is differentiable in both modes to any order::

        ys = []
        for x in xs:
            init, y = f(init, x)
            ys.append(y)
        return init, np.stack(ys)

    ``f`` is traced once for given types, also outside of ``jit``, and may close over arrays and traced values. What it
    computes of those alone is computed once. Where it does not look at its carry, no step needs another, and all
    are taken at once, as ``vmap`` does, with ``vmap``'s rounding (``map`` takes one after another).

    Args:
        f: a function of the carry and one slice that returns the pair of the next carry and a result, which may
            be None. The carry keeps its structure, shapes and dtypes; a Python number among the first values takes
            the dtype that ``f`` gives it.
        init: the first carry, a pytree of arrays and numbers.
        xs: a pytree of arrays with leading axes of one extent, which are stepped along; None for no slices.
        length: the number of steps, needed where ``xs`` is None.
        reverse: whether to go through the slices from the last to the first; results stand where their slices do.
        unroll: how many steps are written out one after another in the compiled loop; True for all of them.
        checkpoint: how much reverse mode keeps. Without it, what the derivative of each step needs is kept of all n
            steps. With a number s only the carry of every s-th step is kept, and the steps between are taken a second
            time, s at a time, on the way back: n/s carries and the values of s steps lie in memory together, at the
            price of one more run. ``"sqrt"`` is the s at which both are about the square root of n. Gradients are
            the same. (A. Griewank, "Achieving logarithmic growth of temporal and spatial complexity in reverse
            automatic differentiation", 1992, gives schedules of more levels: nest scans for those.)

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
    key = "scan", code_of(f), bool(reverse)
    if unroll is False or (type(unroll) is int and unroll == 1):
        found: Any = run_prepared(key, f, init, xs, length)
        if found is not MISS:
            return found  # type: ignore[no-any-return]
    check_function("scan", "f", f)
    return run_scan(f"scan({name_of(f)})", f, init, xs, length, reverse, unroll, checkpoint, key=key)


def run_scan(
    where: str,
    f: Callable[[Any, Any], Any],
    init: Any,
    xs: Any,
    length: Any,
    reverse: Any,
    unroll: Any,
    checkpoint: Any = None,
    at_once: bool = True,
    key: tuple[Any, ...] = (),
) -> tuple[Any, Any]:
    """``scan`` on behalf of a public function, which messages call ``where``; ``key`` is what it is prepared by."""
    carry, carry_tree = flatten_operands(where, "init", init)
    slices, xs_tree = flatten_operands(where, "xs", xs)
    n = number_of_steps(where, "xs", xs, slices, length)
    if not isinstance(unroll, (bool, int)) or unroll < 0 or (unroll == 0 and unroll is not False):
        raise errors.ArgumentError(f"{where}: unroll must be a positive int or a bool, got {unroll!r}")
    segment = n if checkpoint is None else _segment(where, checkpoint, n)
    if any_mode() and config.disable_jit and n:
        return _stepwise(f, init, xs, n, reverse)
    example = xs_tree.unflatten([0] * len(slices))
    avals = [sliced(aval_of(x)) for x in slices]
    body = settle(where, "carry", f, init, (example,), avals, _pair(where))
    first = list(map(fit, carry, body.carry))
    k = len(carry)
    consts, jaxpr = list(body.consts), body.jaxpr
    outs: list[Any]
    vectorised = at_once and n > 0 and is_map(jaxpr, len(consts), k, n)
    if key and n:
        _prepare(key, f, body, init, xs, n, bool(reverse), vectorised)
    if vectorised:
        outs = _at_once(jaxpr, consts, first, slices, n, bool(reverse))
    else:
        if n and consts:
            once, step = hoisted(jaxpr, len(consts), False)
            if once.outvars:
                consts, jaxpr = [*consts, *evaluate(once, consts)], step
        how = {"reverse": bool(reverse), "unroll": max(n, 1) if unroll is True else max(int(unroll), 1)}
        outs = _in_segments(jaxpr, consts, first, slices, n, segment, how)
    return carry_tree.unflatten(outs[:k]), body.out_tree.children()[1].unflatten(outs[k:])


def _prepare(
    key: tuple[Any, ...], f: Any, body: Settled, init: Any, xs: Any, n: int, reverse: bool, vectorised: bool
) -> None:
    kind, _ = key[:2]
    function = f if kind == "scan" else f.__wrapped__
    if not may_prepare([function], [body.traced], [body.jaxpr]):
        return
    if kind != "fori":
        prepare_scan(key, function, body, init, xs, n, reverse, _together(body, n, reverse) if vectorised else None)
    elif not vectorised and tree_leaves(init):
        prepare_fori(key, function, body, init)


def _together(body: Settled, n: int, reverse: bool) -> Callable[..., Any]:
    """All steps of a body that does not look at its carry, as a function of constants, carries and slices."""
    n_consts, k = len(body.consts), len(body.carry)

    def run(*args: Any) -> list[Any]:
        return _at_once(body.jaxpr, args[:n_consts], args[n_consts : n_consts + k], args[n_consts + k :], n, reverse)

    avals = body.jaxpr.in_avals
    start = n_consts + k
    return compiled(stage(run, [*avals[:start], *(stacked(a, n) for a in avals[start:])], "scan"), np)


def _segment(where: str, checkpoint: Any, n: int) -> int:
    """How many steps are taken a second time together."""
    if checkpoint == "sqrt":
        return max(math.isqrt(n), 1)
    try:
        segment = operator.index(checkpoint)
    except TypeError:
        segment = 0
    if isinstance(checkpoint, bool) or segment < 1:
        raise errors.ArgumentError(
            f"{where}: checkpoint must be 'sqrt', a positive number of steps, or None, got {checkpoint!r}"
        )
    return min(segment, n)


def bind_scan(
    jaxpr: Jaxpr, consts: Sequence[Any], carry: Sequence[Any], xs: Sequence[Any], length: int, **how: Any
) -> list[Any]:
    outs: list[Any] = scan_p.bind(
        *consts,
        *carry,
        *xs,
        jaxpr=jaxpr,
        n_consts=len(consts),
        n_carry=len(carry),
        length=length,
        **{"reverse": False, "unroll": 1, "counted": False, "checkpoint": False, **how},
    )
    return outs


def _in_segments(
    jaxpr: Jaxpr,
    consts: Sequence[Any],
    carry: Sequence[Any],
    xs: Sequence[Any],
    n: int,
    segment: int,
    how: dict[str, Any],
) -> list[Any]:
    """The loop as a loop over segments, each of which reverse mode runs a second time; steps that are left over are
    taken last."""
    if segment >= n:
        return bind_scan(jaxpr, consts, carry, xs, n, **how)
    k, reverse = len(carry), how["reverse"]
    times, over = divmod(n, segment)
    start = over if reverse else 0
    main = [reshape(slice_in_dim(x, start, start + n - over), (times, segment, *aval_of(x).shape[1:])) for x in xs]
    inner = in_segment(jaxpr, len(consts), k, segment, how["unroll"], reverse)
    outs = bind_scan(inner, consts, carry, main, times, reverse=reverse, checkpoint=True)
    ys = [reshape(y, (n - over, *aval_of(y).shape[2:])) for y in outs[k:]]
    if not over:
        return [*outs[:k], *ys]
    begin = 0 if reverse else n - over
    rest = [slice_in_dim(x, begin, begin + over) for x in xs]
    last = bind_scan(jaxpr, consts, outs[:k], rest, over, **how)
    pairs = zip(last[k:], ys, strict=True) if reverse else zip(ys, last[k:], strict=True)
    return [*last[:k], *(concatenate(pair, 0) for pair in pairs)]


def _in_segment(jaxpr: Jaxpr, n_consts: int, n_carry: int, length: int, unroll: int, reverse: bool) -> Jaxpr:
    start = n_consts + n_carry

    def run(*args: Any) -> list[Any]:
        consts, carry, xs = args[:n_consts], args[n_consts:start], args[start:]
        return bind_scan(jaxpr, consts, carry, xs, length, unroll=unroll, reverse=reverse)

    avals = jaxpr.in_avals
    return stage(run, [*avals[:start], *(stacked(a, length) for a in avals[start:])], "scan")


in_segment: WeakMemo[Jaxpr] = WeakMemo(_in_segment)


# -- steps that do not need each other ----------------------------------------------------------------------------


def _is_map(jaxpr: Jaxpr, n_consts: int, n_carry: int, length: int) -> bool:
    """Whether all steps can be taken at once: none looks at the carry, and each can be mapped."""
    start = n_consts + n_carry
    carry = jaxpr.invars[n_consts:start]
    read = {a for eqn in jaxpr.eqns for a in eqn.inputs}.union(jaxpr.outvars[n_carry:])
    if jaxpr.sized or not read.isdisjoint(carry) or len(jaxpr.invars) == start:
        return False
    if any(out in carry and out is not own for out, own in zip(jaxpr.outvars, carry, strict=False)):
        return False
    return mappable(jaxpr, VECTORISED_BYTES // max(length, 1))


def mappable(jaxpr: Jaxpr, room: int) -> bool:
    """Whether a body has no effects and no regions that cost more for many than one after another, and fits."""
    for eqn in jaxpr.eqns:
        room -= sum(out.aval.size * out.aval.dtype.itemsize for out in eqn.outs)
        if eqn.effects or eqn.prim.batch is None or eqn.prim.kind in ("loop", "branch", "custom") or room < 0:
            return False
        if not all(mappable(sub, room) for sub in subjaxprs(eqn)):
            return False
    return True


is_map: WeakMemo[bool] = WeakMemo(_is_map)


def _at_once(
    jaxpr: Jaxpr, consts: Sequence[Any], carry: Sequence[Any], xs: Sequence[Any], n: int, reverse: bool
) -> list[Any]:
    k, n_consts = len(carry), len(consts)
    axis = BatchAxis(n)
    mapped, batched = batch_jaxpr(jaxpr, axis, [*[False] * (n_consts + k), *[True] * len(xs)])
    outs = evaluate(mapped, [*consts, *carry, *xs])
    last = [
        rebox(index(out, 0 if reverse else n - 1) if b else out, before.box)
        for out, b, before in zip(outs, batched, jaxpr.out_avals[:k], strict=False)
    ]
    ys = [materialize(axis, out, 0 if b else None) for out, b in zip(outs[k:], batched[k:], strict=True)]
    return owned_eagerly([*last, *ys], [*consts, *carry, *xs])


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
