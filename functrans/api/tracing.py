"""Tracing for ``jit``: the function runs once on tracers, and what it demands of its inputs becomes static."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

import numpy as np

from functrans import errors
from functrans.api.arguments import check_outputs
from functrans.api.program import Cache, Program, Signature
from functrans.api.validation import passing
from functrans.backends.base import Backend
from functrans.config import any_mode, config
from functrans.core.avals import ShapedArray
from functrans.core.capture import Captured, Place, array_type, guard_at, substitute
from functrans.core.check import check
from functrans.core.evaluate import evaluate
from functrans.core.jaxpr import Eqn, Jaxpr, Var
from functrans.core.primitive import Params, Primitive, leaked
from functrans.core.stage import JaxprTrace
from functrans.core.trace import Trace, Tracer, aval_of, current_trace, reset_trace, set_trace
from functrans.core.treedef import PyTreeDef

specializing: ContextVar[int | None] = ContextVar("functrans_specializing", default=None)
"""The number of paths that an inner ``jit`` asks for whose function runs within the trace of an outer one."""


class Demand(BaseException):
    """Tracing needs the value behind an input that was traced: it starts again with that input static."""

    def __init__(self, trace: JitTrace, inputs: frozenset[Any]) -> None:
        super().__init__(inputs)
        self.trace = trace
        self.inputs = inputs


class Inline(BaseException):
    """Tracing needs a value that belongs to a transformation around it: the function has to run under that one."""

    def __init__(self, trace: JitTrace) -> None:
        super().__init__()
        self.trace = trace


class Branches(BaseException):
    """A function that ``jit`` does not specialise calls one that it does, or validates: it gets paths all the same.

    ``limit`` is their number; 0 for the one path of a function with no branches but validations.
    """

    def __init__(self, trace: JitTrace, limit: int) -> None:
        super().__init__(limit)
        self.trace = trace
        self.limit = limit


def is_staged(trace: Trace | None) -> bool:
    """Whether a trace, or one around it, records what it is given, so that there are no values to decide by."""
    while trace is not None:
        if isinstance(trace, JaxprTrace):
            return True
        trace = trace.parent
    return False


class JitTrace(JaxprTrace):
    """Records a function for ``jit``, and knows from which inputs a value is computed that may become static."""

    __slots__ = ("assumes", "borrowed", "origins", "pending", "signature")

    apart = False
    specializes = False
    """Whether a value may be looked at, at the price of a guard."""

    def __init__(self, signature: Signature) -> None:
        super().__init__(current_trace(), signature.where[4:-1])
        self.signature = signature
        self.assumes = False
        self.pending: Demand | None = None
        self.origins: dict[Var, frozenset[Any]] = {}
        self.borrowed: set[Any] = set()

    def offer(self, tracer: Tracer, key: Any, value: Any) -> None:
        """Say that an input can be made static on demand, by the trace that its value belongs to."""
        self.origins[tracer.payload] = frozenset([key])
        if isinstance(value, Tracer):
            self.borrowed.add(key)

    def record(self, prim: Primitive, args: Sequence[Any], params: Params) -> Any:
        """Record an operation; tracers of its results."""
        return super().process(prim, args, params)

    def process(self, prim: Primitive, args: Sequence[Any], params: Params) -> Any:
        result = self.record(prim, args, params)
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
            return self.demanded(tracer, origins)
        return value

    def need(self, tracer: Tracer, error: Any, use: str) -> Any:
        if self.ended:
            raise leaked(tracer, f"the traced function {self.name!r}")
        origins = self.origins.get(tracer.payload)
        if origins is not None:
            return self.demanded(tracer, origins)
        passes = passing() if error is errors.TracerBoolError else None
        if passes is not None and self.assumes:
            return passes
        limit = specializing.get() or 0
        outer = self._outermost()
        if outer is not None and (outer.specializes or limit or passes is not None):
            raise Inline(self)
        if outer is None and (limit or passes is not None) and not is_staged(self.parent):
            raise Branches(self, limit)
        return super().need(tracer, error, use)

    def mend(self, error: type[errors.ConcretizationError]) -> str:
        text = super().mend(error)
        if error is errors.TracerArrayError or is_staged(self.parent):
            return text
        return f"{text}; functrans.jit(f, specialize=N) on the outermost jit compiles a path for each outcome instead"

    def _outermost(self) -> JitTrace | None:
        """The trace of the outermost ``jit`` around this one."""
        found = None
        trace = self.parent
        while trace is not None:
            if isinstance(trace, JitTrace):
                found = trace
            trace = trace.parent
        return found

    def bound(self) -> dict[Var, Any]:
        """The constants that the recorded operations refer to."""
        return dict(self.constants.values())

    def demanded(self, tracer: Tracer, origins: frozenset[Any]) -> Any:
        """The value of what is computed from constants alone; for the rest, its inputs have to become static."""
        if self.ended:
            raise leaked(tracer, f"the traced function {self.name!r}")
        if origins:
            # It is kept as well, as not everything that asks for a number lets an exception pass.
            self.pending = Demand(self, origins)
            raise self.pending
        needed = {tracer.payload}
        slice_: list[Eqn] = []
        for eqn in reversed(self.eqns):
            if any([out in needed and out not in self.fixed for out in eqn.outs]):
                needed.update(a for a in eqn.inputs if isinstance(a, Var))
                slice_.append(eqn)
        known = {v: c for v, c in self.bound().items() if v in needed}
        known.update({v: c for v, c in self.fixed.items() if v in needed and isinstance(v, Var)})
        jaxpr = Jaxpr([], slice_[::-1], [tracer.payload], known.keys(), known.values())
        token = set_trace(None)
        try:
            (value,) = evaluate(jaxpr, ())
        finally:
            reset_trace(token)
        self.fixed[tracer.payload] = value
        return value


class Call:
    """A call as a trace sees it: which of its values are traced, and the function to run on them.

    Attributes:
        places: where the captured arrays lie that are traced, with their types. They are the first inputs.
        contents: captured arrays whose contents tracing needed, with a copy of them.
        values: Python numbers among the arguments whose value tracing needed.
        dynamic: which leaves of the arguments are traced.
        inputs: the tracers, of captured arrays first.
        operands: what stands behind them.
    """

    def __init__(
        self,
        trace: JitTrace,
        f: Callable[..., Any],
        captured: Captured,
        signature: Signature,
        demanded: set[Any] | frozenset[Any],
    ) -> None:
        hidden: dict[Place, Any] = {}
        fixed: dict[Place, Any] = {}
        self.captured = captured
        self.signature = signature
        self.places: list[tuple[Place, ShapedArray]] = []
        self.contents: list[tuple[Place, Any]] = []
        self.operands: list[Any] = []
        self._compared: list[Place] = []
        for place in captured.places():
            value = captured.read(place)
            aval = array_type(value) if place.kind not in ("attribute", "callee") else None
            if aval is None:
                self._compared.append(place)
            elif place in demanded:
                copy = value.copy()
                if isinstance(copy, np.ndarray):
                    copy.flags.writeable = False
                self.contents.append((place, copy))
                fixed[place] = copy
            else:
                tracer = trace.input(aval)
                trace.offer(tracer, place, value)
                hidden[place] = tracer
                self.places.append((place, aval))
                self.operands.append(value)
        self.values: dict[int, Any] = {}
        self.dynamic: list[int] = []
        self.inputs: list[Tracer] = list(hidden.values())
        leaves: list[Any] = []
        for i, (leaf, kind) in enumerate(zip(signature.leaves, signature.types, strict=True)):
            if not isinstance(kind, ShapedArray):
                leaves.append(leaf)
            elif i in demanded:
                self.values[i] = leaf
                leaves.append(leaf)
            else:
                tracer = trace.input(kind)
                if kind.box == "python":
                    trace.offer(tracer, i, leaf)
                self.dynamic.append(i)
                self.inputs.append(tracer)
                self.operands.append(leaf)
                leaves.append(tracer)
        traced_args, *traced_named = signature.treedef.unflatten(leaves)
        self.function = substitute(f, {**hidden, **fixed})
        rest = iter(traced_args)
        positions = {i for i, _ in signature.static if isinstance(i, int)}
        self.args = [a if i in positions else next(rest) for i, a in enumerate(signature.args)]
        names = {n for n, _ in signature.static if isinstance(n, str)}
        self.kwargs = {n: v for n, v in signature.kwargs.items() if n in names}
        self.kwargs.update(traced_named[0] if traced_named else {})

    def run(self, trace: JitTrace) -> tuple[list[Any], PyTreeDef]:
        """The results of the function on the tracers, and their structure. The trace stays open."""
        where = self.signature.where
        state = _random_state()
        token = set_trace(trace)
        try:
            outs, out_tree = check_outputs(where, self.function(*self.args, **self.kwargs))
        finally:
            reset_trace(token)
            trace.ended = True
        if _random_state() != state:
            raise errors.RandomStateError(
                f"{where} drew from NumPy's global random state while it was traced: the sample would be the same at "
                f"every call. Draw outside, and pass the sample as an argument"
            )
        for o in outs:
            aval_of(o)
        trace.ended = False
        return outs, out_tree

    def guards(self, by_reference: Sequence[Any], handed: Sequence[Any]) -> list[tuple[Place, Any]]:
        """What the other captured values are compared with.

        As they are now: what the function itself changed while it was traced (a counter, a list that it fills) is no
        reason to trace it again.
        """
        return [(place, guard_at(self.captured, place, by_reference, handed)) for place in self._compared]


def trace_program(
    f: Callable[..., Any],
    captured: Captured,
    signature: Signature,
    donated: frozenset[int],
    backend: Backend,
    cache: Cache | None,
    assume: bool = False,
) -> Program:
    """Trace ``f`` for a call, with as many of its Python numbers and captured arrays static as it demands.

    With ``assume`` validations are taken to pass.

    Raises:
        Inline: one of those that it demands is traced by a transformation around the call, or decides a branch there.
        Branches: the function calls one that ``jit`` specialises, and this is the outermost ``jit``.
    """
    demanded: set[Any] = set()
    while True:
        trace = JitTrace(signature)
        trace.assumes = assume
        try:
            call = Call(trace, f, captured, signature, demanded)
            outs, out_tree = call.run(trace)
        except (Demand, Exception) as error:
            if trace.pending is None or (isinstance(error, Demand) and error.trace is not trace):
                raise
        if trace.pending is None:
            break
        if trace.pending.inputs & trace.borrowed:
            raise Inline(trace) from None
        demanded |= trace.pending.inputs
    jaxpr = trace.finish(call.inputs, outs)
    guards = call.guards(jaxpr.consts, trace.handed)
    given_away = donated_inputs(signature, donated, len(call.places), call.dynamic)
    program = Program(
        trace.name, jaxpr, out_tree, backend, call.places, guards, call.contents, call.values, call.dynamic, given_away
    )
    if any_mode() and config.enable_checks:
        check(program.jaxpr)
    if cache is not None:
        cache.add(signature, program, captured)
    return program


def donated_inputs(
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
