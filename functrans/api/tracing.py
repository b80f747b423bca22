"""Tracing for ``jit``: the function runs once on tracers, and what it demands of its inputs becomes static."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans.api.arguments import check_outputs
from functrans.api.program import Cache, Program, Signature
from functrans.backends.base import Backend
from functrans.core.avals import ShapedArray
from functrans.core.capture import Captured, Place, array_type, guard_of, substitute
from functrans.core.evaluate import evaluate
from functrans.core.jaxpr import Eqn, Jaxpr, Var
from functrans.core.primitive import Params, Primitive, leaked
from functrans.core.stage import JaxprTrace
from functrans.core.trace import Tracer, aval_of, current_trace, reset_trace, set_trace


class Demand(BaseException):
    """Tracing needs the value behind an input that was traced: it starts again with that input static."""

    def __init__(self, trace: JitTrace, inputs: frozenset[Any]) -> None:
        super().__init__(inputs)
        self.trace = trace
        self.inputs = inputs


class Inline(BaseException):
    """Tracing needs a value that belongs to a transformation around it: the function has to run under that one."""


class JitTrace(JaxprTrace):
    """Records a function for ``jit``, and knows from which inputs a value is computed that may become static."""

    __slots__ = ("borrowed", "origins")

    def __init__(self, name: str) -> None:
        super().__init__(current_trace(), name)
        self.origins: dict[Var, frozenset[Any]] = {}
        self.borrowed: set[Any] = set()

    def offer(self, tracer: Tracer, key: Any, value: Any) -> None:
        """Say that an input can be made static on demand, by the trace that its value belongs to."""
        self.origins[tracer.payload] = frozenset([key])
        if isinstance(value, Tracer):
            self.borrowed.add(key)

    def process(self, prim: Primitive, args: Sequence[Any], params: Params) -> Any:
        result = super().process(prim, args, params)
        if self.eqns[-1].effects:
            return result
        origins: frozenset[Any] = frozenset()
        for a in args:
            if isinstance(a, Tracer):
                mine = self.origins.get(a.payload) if a._trace is self else None
                if mine is None and not (a._trace is self and a.payload in self.fixed):
                    return result
                origins |= mine or frozenset()
        for out in result if prim.multiple else [result]:
            self.origins[out.payload] = origins
        return result

    def known(self, tracer: Tracer) -> Any:
        value = self.concrete(tracer)
        if value is None and (origins := self.origins.get(tracer.payload)) is not None:
            return self._demanded(tracer, origins)
        return value

    def need(self, tracer: Tracer, error: Any, use: str) -> Any:
        origins = self.origins.get(tracer.payload)
        if origins is not None:
            return self._demanded(tracer, origins)
        return super().need(tracer, error, use)

    def _demanded(self, tracer: Tracer, origins: frozenset[Any]) -> Any:
        """The value of what is computed from constants alone; for the rest, its inputs have to become static."""
        if self.ended:
            raise leaked(tracer, f"the traced function {self.name!r}")
        if origins:
            raise Demand(self, origins)
        needed = {tracer.payload}
        slice_: list[Eqn] = []
        for eqn in reversed(self.eqns):
            if needed.intersection(eqn.outs):
                needed.update(a for a in eqn.inputs if isinstance(a, Var))
                slice_.append(eqn)
        constants = [(v, c) for v, c in self.constants.values() if v in needed]
        jaxpr = Jaxpr([], slice_[::-1], [tracer.payload], [v for v, _ in constants], [c for _, c in constants])
        token = set_trace(None)
        try:
            (value,) = evaluate(jaxpr, ())
        finally:
            reset_trace(token)
        self.fixed[tracer.payload] = value
        return value


def trace_program(
    f: Callable[..., Any],
    captured: Captured,
    signature: Signature,
    donated: frozenset[int],
    backend: Backend,
    cache: Cache,
) -> Program:
    """Trace ``f`` for a call, with as many of its Python numbers and captured arrays static as it demands.

    Raises:
        Inline: one of those that it demands is traced by a transformation around the call.
    """
    demanded: set[Any] = set()
    while True:
        trace = JitTrace(signature.where[4:-1])
        try:
            program = _trace(trace, f, captured, signature, donated, backend, demanded)
            break
        except Demand as demand:
            if demand.trace is not trace:
                raise
            if demand.inputs & trace.borrowed:
                raise Inline from None
            demanded |= demand.inputs
    cache.add(signature, program, captured)
    return program


def _trace(
    trace: JitTrace,
    f: Callable[..., Any],
    captured: Captured,
    signature: Signature,
    donated: frozenset[int],
    backend: Backend,
    demanded: set[Any],
) -> Program:
    hidden: dict[Place, Any] = {}
    places: list[tuple[Place, ShapedArray]] = []
    compared: list[Place] = []
    contents: list[tuple[Place, Any]] = []
    fixed: dict[Place, Any] = {}
    for place in captured.places():
        value = captured.read(place)
        aval = array_type(value) if place.kind != "attribute" else None
        if aval is None:
            compared.append(place)
        elif place in demanded:
            copy = value.copy()
            if isinstance(copy, np.ndarray):
                copy.flags.writeable = False
            contents.append((place, copy))
            fixed[place] = copy
        else:
            tracer = trace.input(aval)
            trace.offer(tracer, place, value)
            hidden[place] = tracer
            places.append((place, aval))
    values: dict[int, Any] = {}
    dynamic: list[int] = []
    inputs: list[Tracer] = list(hidden.values())
    leaves: list[Any] = []
    for i, (leaf, kind) in enumerate(zip(signature.leaves, signature.types, strict=True)):
        if not isinstance(kind, ShapedArray):
            leaves.append(leaf)
        elif i in demanded:
            values[i] = leaf
            leaves.append(leaf)
        else:
            tracer = trace.input(kind)
            if kind.box == "python":
                trace.offer(tracer, i, leaf)
            dynamic.append(i)
            inputs.append(tracer)
            leaves.append(tracer)
    traced_args, *traced_named = signature.treedef.unflatten(leaves)
    function = substitute(f, {**hidden, **fixed})
    rest = iter(traced_args)
    positions = {i for i, _ in signature.static if isinstance(i, int)}
    args = [a if i in positions else next(rest) for i, a in enumerate(signature.args)]
    names = {n for n, _ in signature.static if isinstance(n, str)}
    kwargs = {n: v for n, v in signature.kwargs.items() if n in names} | (traced_named[0] if traced_named else {})
    state = _random_state()
    token = set_trace(trace)
    try:
        out = function(*args, **kwargs)
        outs, out_tree = check_outputs(signature.where, out)
    finally:
        reset_trace(token)
        trace.ended = True
    if _random_state() != state:
        raise errors.RandomStateError(
            f"{signature.where} drew from NumPy's global random state while it was traced: the sample would be the "
            f"same at every call. Draw outside, and pass the sample as an argument"
        )
    for o in outs:
        aval_of(o)
    trace.ended = False
    jaxpr = trace.finish(inputs, outs)
    # As they are now: what the function itself changed while it was traced (a counter, a list that it fills) is no
    # reason to trace it again.
    guards = [(place, guard_of(captured.read(place), jaxpr.consts)) for place in compared]
    given_away = _donated_inputs(signature, donated, len(places), dynamic)
    return Program(trace.name, jaxpr, out_tree, backend, places, guards, contents, values, dynamic, given_away)


def _donated_inputs(
    signature: Signature, donated: frozenset[int], n_hidden: int, dynamic: Sequence[int]
) -> frozenset[int]:
    """The inputs of the jaxpr that are leaves of donated arguments."""
    if not donated:
        return frozenset()
    static = {i for i, _ in signature.static}
    positional = [i for i in range(len(signature.args)) if i not in static]
    owners: list[int] = []
    for i, part in zip(positional, signature.treedef.children()[0].children(), strict=True):
        owners.extend([i] * part.num_leaves)
    given = {i % len(signature.args) for i in donated if -len(signature.args) <= i < len(signature.args)}
    return frozenset(n_hidden + k for k, leaf in enumerate(dynamic) if leaf < len(owners) and owners[leaf] in given)


def _random_state() -> Any:
    state: Any = np.random.get_state(legacy=False)
    inner = state["state"]
    return (inner["pos"], inner["key"].tobytes(), state["has_gauss"]) if "pos" in inner else repr(state)
