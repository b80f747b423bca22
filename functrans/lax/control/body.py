"""Tracing the functions that control flow is given: branches, loop bodies, conditions.

They are traced in eager mode too, so that one behaviour holds, and found again by what they capture: captured arrays
become operands, other captured values are compared. A fresh lambda that is equal to the last one is not traced again.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, NamedTuple

from functrans import errors
from functrans.config import trace_settings
from functrans.core import dtypes
from functrans.core.avals import ShapedArray
from functrans.core.capture import Captured, Place, array_type, guard_at, guard_of, is_captured_array, same, substitute
from functrans.core.evaluate import evaluate
from functrans.core.jaxpr import Jaxpr, Var, used_inputs
from functrans.core.opened import Opened, remade
from functrans.core.opened import opened as opened_function
from functrans.core.stage import JaxprTrace
from functrans.core.trace import Tracer, aval_of, current_trace, is_array, reset_trace, set_trace
from functrans.core.tree import describe_mismatch, tree_flatten, tree_flatten_with_path, tree_structure
from functrans.core.tree_paths import keystr
from functrans.core.treedef import PyTreeDef
from functrans.interpreters.batch import named_axes
from functrans.lax.control.region import results_fitted
from functrans.util.cache import Bounded


def name_of(f: Any) -> str:
    """How messages call a function."""
    while isinstance(f, functools.partial):
        f = f.func
    return getattr(f, "__name__", None) or type(f).__name__


def check_function(where: str, label: str, f: Any) -> None:
    """Reject what is no function, as the result of a call would be."""
    if not callable(f):
        raise errors.ArgumentError(
            f"{where}: {label} must be a function, got an object of type {type(f).__name__}. Pass the function itself, "
            f"and what it is applied to as operands"
        )


def flatten_operands(where: str, label: str, tree: Any) -> tuple[list[Any], PyTreeDef]:
    """The leaves of a pytree of operands, each checked to be an array or a number."""
    leaves, treedef = tree_flatten(tree)
    for i, leaf in enumerate(leaves):
        if not is_array(leaf):
            raise errors.ArgumentError(
                f"{where}: {leaf_path(label, tree, i)} is an object of type {type(leaf).__name__}; an array or a "
                f"number is needed there. Let the function close over it instead"
            )
    return leaves, treedef


def leaf_path(label: str, tree: Any, i: int) -> str:
    """The name of the i-th leaf of a tree, for errors."""
    return f"{label}{keystr(tree_flatten_with_path(tree)[0][i][0])}"


class BodyTrace(JaxprTrace):
    """Records a body. What it demands of captured values of an enclosing ``jit`` is demanded there.

    Where that one can say what the value is, the body is ``decided`` by it, and serves no other call.
    """

    __slots__ = ("captures", "decided")

    def __init__(self, name: str) -> None:
        super().__init__(current_trace(), name)
        self.captures: dict[Var, Tracer] = {}
        self.decided = False

    def need(self, tracer: Tracer, error: Any, use: str) -> Any:
        outer = self._outside(tracer)
        if outer is None or (not isinstance(outer._trace, JaxprTrace) and outer._trace.concrete(outer) is not None):
            return super().need(tracer, error, use)
        self.decided = True
        return outer._concrete(error, use)

    def known(self, tracer: Tracer) -> Any:
        value = self.concrete(tracer)
        outer = self._outside(tracer) if value is None else None
        if outer is None or not isinstance(outer._trace, JaxprTrace):
            return value
        value = outer._trace.known(outer)
        self.decided = self.decided or value is not None
        return value

    def _outside(self, tracer: Tracer) -> Tracer | None:
        """The value as the enclosing transformation has it, where it is computed from captured traced values alone."""
        if self.ended:
            return None
        bound: dict[Any, Any] = {**dict(self.constants.values()), **self.captures}
        needed: set[Any] = {tracer.payload}
        wanted = []
        for eqn in reversed(self.eqns):
            if not needed.isdisjoint(eqn.outs):
                needed.update(a for a in eqn.inputs if isinstance(a, Var))
                wanted.append(eqn)
        made = {out for eqn in wanted for out in eqn.outs}
        free = [v for v in needed if v not in made]
        if any(v not in bound for v in free) or any(eqn.effects for eqn in wanted):
            return None
        jaxpr = Jaxpr([], wanted[::-1], [tracer.payload], free, [bound[v] for v in free])
        token = set_trace(self.parent)
        try:
            (outer,) = evaluate(jaxpr, ())
        finally:
            reset_trace(token)
        return outer if isinstance(outer, Tracer) else None


class Hidden(NamedTuple):
    """A captured array, or a captured container or function with arrays in it, which are operands of the body.

    Attributes:
        treedef: the container's structure, or what the function is; None for a bare array.
        leaves: the aval of each array, or what the leaf is compared with where it is no array.
    """

    place: Place
    treedef: PyTreeDef | Opened | None
    leaves: tuple[Any, ...]

    def read(self, captured: Captured) -> list[Any] | None:
        """The arrays that lie there now; None where they are of other types."""
        return self.fits(captured.read(self.place))

    def fits(self, value: Any) -> list[Any] | None:
        """The arrays that a value is or holds; None where they are of other types."""
        if self.treedef is None:
            return [value] if array_type(value) == self.leaves[0] else None
        if isinstance(self.treedef, Opened):
            return self.treedef.match(value)
        if type(value) not in (list, dict, tuple):
            return None
        leaves, treedef = tree_flatten(value)
        if treedef != self.treedef:
            return None
        arrays = []
        for leaf, known in zip(leaves, self.leaves, strict=True):
            if isinstance(known, ShapedArray):
                if array_type(leaf) != known:
                    return None
                arrays.append(leaf)
            elif is_captured_array(leaf) or not same(known, leaf):
                return None
        return arrays


class Traced(NamedTuple):
    """A body traced for operands of given types.

    Attributes:
        jaxpr: from constants, used captured arrays and operands to results; it has no constants.
        consts: the arrays that it refers to besides.
        hidden: where the captured arrays lie; ``used`` says which of them are inputs.
        guards: other captured values, with what they are compared with.
        out_tree: the structure of the results.
        decided: whether the values of this call decided something.
    """

    jaxpr: Jaxpr
    consts: tuple[Any, ...]
    hidden: tuple[Hidden, ...]
    used: tuple[bool, ...]
    guards: tuple[tuple[Place, Any], ...]
    out_tree: PyTreeDef
    decided: bool

    def captures(self, captured: Captured) -> list[Any] | None:
        """The captured arrays of a call; None where a captured value is not what it was when tracing."""
        for place, value in self.guards:
            if not same(value, captured.read(place)):
                return None
        arrays: list[Any] = []
        for hidden in self.hidden:
            found = hidden.read(captured)
            if found is None:
                return None
            arrays.extend(found)
        return [a for a, u in zip(arrays, self.used, strict=True) if u]


class Body(NamedTuple):
    """A body for one call: its jaxpr, and the operands that come before the user's own.

    ``traced`` is what it was found by, None where it serves this call alone; ``again`` says that it was traced before.
    """

    jaxpr: Jaxpr
    consts: tuple[Any, ...]
    out_tree: PyTreeDef
    traced: Traced | None = None
    again: bool = False

    @property
    def out_avals(self) -> tuple[ShapedArray, ...]:
        return self.jaxpr.out_avals


_bodies: Bounded[list[Traced]] = Bounded(512)
_KEPT = 8


def body_of(
    where: str,
    f: Callable[..., Any],
    treedef: PyTreeDef,
    avals: Sequence[ShapedArray],
    captured: Captured | None = None,
) -> Body:
    """``f(*args)`` traced, where ``treedef`` is the structure of the tuple ``args`` with leaves of types ``avals``."""
    captured = captured or Captured(f)
    key = (captured.key, treedef, tuple(avals), trace_settings(), named_axes())
    known = _bodies.get(key)
    for entry in known or ():
        arrays = entry.captures(captured)
        if arrays is not None:
            return Body(entry.jaxpr, (*entry.consts, *arrays), entry.out_tree, entry, True)
    traced = _trace(where, f, captured, treedef, avals, True) or _trace(where, f, captured, treedef, avals, False)
    assert traced is not None
    lasting = not traced.decided and not any(isinstance(c, Tracer) for c in traced.consts)
    if lasting:
        kept = _bodies.put(key, [])
        kept.insert(0, traced)
        del kept[_KEPT:]
    arrays = traced.captures(captured)
    assert arrays is not None
    return Body(traced.jaxpr, (*traced.consts, *arrays), traced.out_tree, traced if lasting else None)


def _trace(
    where: str,
    f: Callable[..., Any],
    captured: Captured,
    treedef: PyTreeDef,
    avals: Sequence[ShapedArray],
    open_containers: bool,
) -> Traced | None:
    """Trace ``f``; None where it, or a callback, writes to a container that was opened for its arrays."""
    trace = BodyTrace(name_of(f))
    hidden: list[Hidden] = []
    compared: list[Place] = []
    inputs: list[Tracer] = []
    values: dict[Place, Any] = {}
    opened: list[tuple[Any, list[Any]]] = []
    covered: set[int] = set()

    def capture(value: Any) -> Tracer:
        tracer = trace.input(aval_of(value))
        if isinstance(value, Tracer):
            trace.captures[tracer.payload] = value
        inputs.append(tracer)
        return tracer

    for place in captured.places():
        value = captured.read(place)
        aval = array_type(value) if place.kind not in ("attribute", "callee") else None
        if aval is not None:
            hidden.append(Hidden(place, None, (aval,)))
            values[place] = capture(value)
            continue
        function = opened_function(value) if place.kind in ("cell", "default", "kwdefault") else None
        if function is not None and (open_containers or not function.arrays):
            hidden.append(Hidden(place, function, function.types))
            if function.arrays:
                values[place], made = remade(value, function.arrays, list(map(capture, function.arrays)))
                opened.extend(made)
            covered |= function.cells
            function.release()
            continue
        opens = open_containers and place.kind not in ("attribute", "callee")
        leaves, structure = _opened(value) if opens else ([], None)
        if structure is None:
            compared.append(place)
            continue
        kinds = tuple(array_type(x) or guard_of(x, ()) for x in leaves)
        leaves = [capture(x) if is_captured_array(x) else x for x in leaves]
        hidden.append(Hidden(place, structure, kinds))
        values[place] = structure.unflatten(leaves)
        opened.append((values[place], leaves))
    # What the functions that were opened capture is compared already, wherever they lie.
    compared = [p for p in compared if p.kind != "callee" or id(p.key.owner) not in covered]
    structures = [tree_structure(container) for container, _ in opened]
    operands = [trace.input(aval) for aval in avals]
    token = set_trace(trace)
    try:
        out = substitute(f, values)(*treedef.unflatten(operands))
        outs, out_tree = _flatten_result(where, out)
    finally:
        reset_trace(token)
        trace.ended = True
    for (container, leaves), before in zip(opened, structures, strict=True):
        now, structure = tree_flatten(container)
        if any(container is h for h in trace.handed):
            return None
        if structure != before or any(a is not b for a, b in zip(now, leaves, strict=True)):
            return None
    trace.ended = False
    raw = trace.finish([*inputs, *operands], outs)
    used = used_inputs(raw)[: len(inputs)]
    kept = [v for v, u in zip(raw.invars, used, strict=False) if u]
    jaxpr, consts = raw.replace(invars=(*kept, *raw.invars[len(inputs) :])).hoisted()
    guards = tuple((place, guard_at(captured, place, raw.consts, trace.handed)) for place in compared)
    return Traced(jaxpr, consts, tuple(hidden), tuple(used), guards, out_tree, trace.decided)


def _opened(value: Any) -> tuple[list[Any], PyTreeDef | None]:
    """The leaves and structure of a captured list, dict or tuple with arrays in it."""
    if type(value) not in (list, dict, tuple) or not value:
        return [], None
    try:
        leaves, treedef = tree_flatten(value)
    except errors.TreeStructureError:
        return [], None
    return (leaves, treedef) if any(map(is_captured_array, leaves)) else ([], None)


def _flatten_result(where: str, out: Any) -> tuple[list[Any], PyTreeDef]:
    leaves, treedef = tree_flatten(out)
    for i, leaf in enumerate(leaves):
        if not is_array(leaf):
            raise errors.OutputError(
                f"{where}: {leaf_path('its result', out, i)} is an object of type {type(leaf).__name__}; a function "
                f"that control flow runs must return arrays or numbers, or a pytree of them"
            )
    return leaves, treedef


# -- carries ------------------------------------------------------------------------------------------------------

BOXES = ("python", "numpy", "array")


def carried(
    where: str, label: str, carry: Any, now: ShapedArray, out: ShapedArray, i: int, settled: bool
) -> ShapedArray:
    """The type of a carry that comes in as ``now`` and leaves the body as ``out``.

    A Python number takes the type that the body gives it, and a Python number from the body takes the carry's. How
    a 0-d value is boxed is up to the body; ``settled`` says that it has not come to rest by itself.
    """
    if now == out:
        return now
    if now.shape == out.shape:
        box = max(now.box, out.box, key=BOXES.index) if settled else out.box
        if now.dtype == out.dtype:
            if out.box == "python" and not now.box == "python":
                return now
            return now.update(box=box)
        if now.weak and _holds(out, now):
            return out.update(box=box)
        if out.weak and _holds(now, out):
            return now
    name = leaf_path(label, carry, i)
    if now.shape != out.shape:
        raise errors.ShapeError(
            f"{where}: {name} comes in with shape {now.shape} (type {now}) and the body returns it with shape "
            f"{out.shape} (type {out}); it must keep its shape. Start from an array of shape {out.shape}, as "
            f"numpy.broadcast_to or numpy.zeros give, or return one of shape {now.shape}"
        )
    raise errors.DTypeError(
        f"{where}: {name} comes in as {now.dtype} (type {now}) and the body returns it as {out.dtype} (type {out}); "
        f"it must keep its dtype. Cast one of them: start from .astype(numpy.{out.dtype}), or return "
        f".astype(numpy.{now.dtype})"
    )


def _holds(wide: ShapedArray, number: ShapedArray) -> bool:
    """Whether a Python number can take a dtype without losing its kind."""
    kinds = "biufc"
    return kinds.index(dtypes.kind(wide.dtype)) >= kinds.index(number.dtype.kind)


def check_carry_tree(where: str, label: str, tree: PyTreeDef, out_tree: PyTreeDef) -> None:
    """Reject a body that returns its carry in another structure."""
    if tree != out_tree:
        difference = describe_mismatch(tree, out_tree, label, "as it comes in", "as the body returns it")
        raise errors.TreeStructureError(
            f"{where}: the body must return the carry in the structure in which it comes in: {difference}. Return each "
            f"part in its place, changed or not, or start from a carry of the structure that the body returns"
        )


class Settled(NamedTuple):
    """A body whose carries keep their types: ``jaxpr`` from constants, carries and further operands.

    ``traced`` is what it was found by where it was found again.
    """

    jaxpr: Jaxpr
    consts: tuple[Any, ...]
    carry: tuple[ShapedArray, ...]
    out_tree: PyTreeDef
    traced: Traced | None = None


def settle(
    where: str,
    label: str,
    f: Callable[..., Any],
    carry: Any,
    rest: Any,
    rest_avals: Sequence[ShapedArray],
    split: Callable[[PyTreeDef], PyTreeDef],
) -> Settled:
    """Trace a body until the types of its carries repeat.

    Args:
        carry: the first value of the carry.
        rest: further arguments of ``f``, a tuple, with leaves of types ``rest_avals``.
        split: gives the structure of the carry, whose leaves come first, in that of the result.
    """
    leaves, treedef = tree_flatten((carry, *rest))
    captured = Captured(f)
    n = len(leaves) - len(rest_avals)
    first = tuple([aval_of(x) for x in leaves[:n]])
    key = (captured.key, treedef, first, tuple(rest_avals), trace_settings(), named_axes())
    known = _settled.get(key)
    for traced, settled in known or ():
        arrays = traced.captures(captured)
        if arrays is not None:
            return settled._replace(consts=(*traced.consts, *arrays), traced=traced)
    tree = tree_structure(carry)
    avals = first
    for turn in count():
        body = body_of(where, f, treedef, (*avals, *rest_avals), captured)
        check_carry_tree(where, label, tree, split(body.out_tree))
        new = tuple(
            [
                carried(where, label, carry, a, o, i, turn > 2)
                for i, (a, o) in enumerate(zip(avals, body.out_avals[:n], strict=True))
            ]
        )
        if new == avals:
            break
        avals = new
    jaxpr = results_fitted(body.jaxpr, (*avals, *body.out_avals[n:]))
    settled = Settled(jaxpr, body.consts, avals, body.out_tree)
    if body.traced is not None:
        kept = _settled.put(key, [])
        kept.insert(0, (body.traced, settled._replace(consts=())))
        del kept[_KEPT:]
    return settled


_settled: Bounded[list[tuple[Traced, Settled]]] = Bounded(512)
