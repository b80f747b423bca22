"""Linearisation: a function at a point becomes a tape of linear maps, which runs forwards (``linearize``) or
backwards (``vjp``).

Each primitive has only a JVP and, where linear, a transpose. Running those rules on tracers at every call costs
hundreds of microseconds an operation, so the linear map of a primitive is derived once for each signature (trace
its JVP, split off what depends on the tangents, transpose that) and kept as a generated Python function over
arrays. The tape then holds references to such functions and their residuals, nothing more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from functrans import errors
from functrans.core.avals import ShapedArray
from functrans.core.evaluate import PythonSource, evaluate, extent_of
from functrans.core.finite import check_forward, in_backward_pass, is_debugging
from functrans.core.jaxpr import Jaxpr, SizeVar, resize_params, sizes_in, without_sources
from functrans.core.primitive import Params, Primitive, Undefined, Zero, array_module, creating, device_seen
from functrans.core.stage import size_tracer, stage
from functrans.core.structural import add, instantiate
from functrans.core.trace import (
    Trace,
    Tracer,
    aval_of,
    current_source,
    current_trace,
    known,
    reset_trace,
    reverse_mode,
    set_trace,
    source_context,
)
from functrans.interpreters.split import Split, split_jaxpr
from functrans.interpreters.transpose import backward_pass, transpose_jaxpr
from functrans.util.cache import Bounded
from functrans.util.source import Source

COPIED_BYTES = 1 << 20
"""Up to this size a residual that the user could write to is copied; within ``grad`` a larger one is frozen."""


class Linear:
    """A linear map on the tape: pushes tangents forward, pulls cotangents back.

    ``direct`` says that no trace is running and every value is concrete. ``host_pull`` is a generated function that
    pulls the only cotangent back over host arrays, once there is one.
    """

    host_pull: Callable[..., Any] | None = None

    def push(self, residuals: Sequence[Any], tangents: Sequence[Any], direct: bool) -> list[Any]:
        raise NotImplementedError

    def pull(self, residuals: Sequence[Any], cotangents: Sequence[Any], direct: bool) -> Sequence[Any]:
        raise NotImplementedError


def _of_sizes(prim: Primitive, params: Params, sizes: Sequence[SizeVar]) -> Callable[..., Any]:
    """The JVP rule of an operation whose sizes are its first operands."""
    n = len(sizes)

    def jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
        own = dict(zip(sizes, map(extent_of, primals[:n]), strict=True))
        return prim.rule("jvp")(primals[n:], tangents[n:], **resize_params(params, own.__getitem__))

    return jvp


class Derived(Linear):
    """The linear map of one primitive for one signature, derived from its JVP and transpose rules.

    Attributes:
        out_avals: the avals of the results.
        live_out: which results have a tangent.
        captured: which operands are residuals.
        sizes: the size variables that the types of the operands and the parameters refer to, which come before the
            operands.
        unknown: the jaxpr from residuals and tangents to tangents.
    """

    def __init__(self, prim: Primitive, params: Params, avals: Sequence[ShapedArray], live: Sequence[bool]) -> None:
        self.sizes = tuple(dict.fromkeys(sizes_in((*params.values(), *avals))))
        if self.sizes:
            params, operation = {}, _of_sizes(prim, params, self.sizes)
            avals, live = [*(s.aval for s in self.sizes), *avals], [*[False] * len(self.sizes), *live]
        else:
            operation = prim.rule("jvp")
        n = len(avals)
        counts: list[int] = []
        live_out: list[bool] = []

        def jvp(*args: Any) -> list[Any]:
            given = iter(args[n:])
            tangents = [next(given) if a else Zero(v.tangent()) for a, v in zip(live, avals, strict=True)]
            outs, outs_t = operation(args[:n], tangents, **params)
            if not prim.multiple:
                outs, outs_t = [outs], [outs_t]
            live_out[:] = [not isinstance(t, Zero) for t in outs_t]
            counts.append(len(outs))
            return [*outs, *(t for t in outs_t if not isinstance(t, Zero))]

        token = reverse_mode.set(True)
        outer = set_trace(None)
        try:
            tangent_avals = [v.tangent() for a, v in zip(live, avals, strict=True) if a]
            jaxpr = without_sources(stage(jvp, [*avals, *tangent_avals], prim.name))
        finally:
            reset_trace(outer)
            reverse_mode.reset(token)
        self.multiple = prim.multiple
        self.n_outs = counts[0]
        self.out_avals = jaxpr.out_avals[: self.n_outs]
        parts = split_jaxpr(jaxpr, [False] * n + [True] * len(tangent_avals), True)
        # A tangent that does not depend on the tangents given is a constant zero, written out by the rule.
        tangent_out = iter(parts.unknown_out[self.n_outs :])
        self.live_out = tuple(live_now and next(tangent_out) for live_now in live_out)
        self.known, self.captured = self._with_residuals(parts, n)
        self.unknown = parts.unknown
        self.n_residuals = len(parts.residual_inputs)
        self.any_live_out = True in self.live_out
        self.captured_constants = [i for i, c in enumerate(self.captured) if c and not live[i]]
        self.avals = tuple(avals)
        self.host_forward: Callable[..., Any] | None = None
        self.host_pull: Callable[..., Any] | None = None
        self.n_tangents = len(tangent_avals)
        self._forward: dict[Any, Callable[..., Any]] = {}
        self._push: dict[Any, Callable[..., Any]] = {}
        self._pull: dict[tuple[tuple[bool, ...], Any], Callable[..., Any]] = {}

    def _with_residuals(self, parts: Split, n: int) -> tuple[Jaxpr, tuple[bool, ...]]:
        """The known jaxpr with all residuals as outputs behind the results."""
        known_outs = parts.known.outvars
        n_known = sum(not u for u in parts.unknown_out)
        extra = iter(known_outs[n_known:])
        residuals = [parts.known.invars[i] if i is not None else next(extra) for i in parts.residual_inputs]
        known = parts.known.replace(outvars=(*known_outs[: self.n_outs], *residuals))
        return known, tuple(i in parts.residual_inputs for i in range(n))

    def forward(self, xp: Any) -> Callable[..., Any]:
        """A Python function of the operands that gives ``result, residuals``."""
        function = self._forward.get(xp)
        if function is None:
            source = PythonSource(self.known, xp)
            outs, residuals = source.outputs[: self.n_outs], source.outputs[self.n_outs :]
            out = f"({', '.join(outs)},)" if self.multiple else outs[0]
            kept = f"({', '.join(residuals)}{',' if residuals else ''})"
            function = self._forward.setdefault(xp, source.function("forward", f"{out}, {kept}"))
            if xp is np:
                self.host_forward = function
        return function

    def push(self, residuals: Sequence[Any], tangents: Sequence[Any], direct: bool) -> list[Any]:
        if not direct:
            return evaluate(self.unknown, [*residuals, *tangents])
        xp = creating(array_module([*residuals, *tangents]))
        function = self._push.get(xp)
        if function is None:
            function = self._push.setdefault(xp, PythonSource(self.unknown, xp).function("push"))
        return list(function(*residuals, *tangents))

    def pull(self, residuals: Sequence[Any], cotangents: Sequence[Any], direct: bool) -> Sequence[Any]:
        live = tuple([ct is not None for ct in cotangents])
        pulled: Sequence[Any]
        xp = np
        if direct:
            if device_seen():
                xp = creating(array_module([*residuals, *(ct for ct in cotangents if ct is not None)]))
            known = self._pull.get((live, xp))
            if known is not None:
                pulled = known(*residuals, *[ct for ct in cotangents if ct is not None])
                return pulled
        linear = [False] * self.n_residuals + [True] * self.n_tangents
        token = set_trace(None)
        try:
            jaxpr, live_in = transpose_jaxpr(self.unknown, linear, live)
            jaxpr = without_sources(jaxpr)
        finally:
            reset_trace(token)
        given = [*residuals, *(ct for ct in cotangents if ct is not None)]
        if not direct:
            outs = iter(evaluate(jaxpr, given))
            return [next(outs) if a else None for a in live_in]
        source = PythonSource(jaxpr, xp)
        names = iter(source.outputs)
        result = ", ".join(next(names) if a else "None" for a in live_in)
        function = source.function("pull", f"({result},)")
        self._pull[live, xp] = function
        if xp is np and len(live) == 1:
            self.host_pull = function
        pulled = function(*given)
        return pulled


_HOST_TYPES = frozenset({np.ndarray, bool, int, float, complex, *(np.dtype(c).type for c in "?bhilqBHILQefdFD")})


class Node(NamedTuple):
    """One entry of the tape. Slots number the values that have a tangent."""

    linear: Linear
    residuals: Sequence[Any]
    inputs: Sequence[int]
    outputs: tuple[int, ...]
    source: Source | None


_derived: Bounded[Derived] = Bounded(4096)


class LinearizeTrace(Trace):
    """Computes primal values at once and writes a tape of linear maps. A tracer's payload is (primal, slot).

    Args:
        freeze: whether residuals that the user owns are frozen rather than copied where they are large. Only a
            transformation that runs the tape before it returns can do that.
    """

    __slots__ = ("debugging", "freeze", "frozen", "nodes", "on_host", "record_sources", "slots")
    differentiates = True

    def __init__(self, parent: Trace | None, freeze: bool, debugging: bool = False) -> None:
        super().__init__(parent)
        self.nodes: list[Node] = []
        self.slots = 0
        self.freeze = freeze
        self.frozen: list[Any] = []
        self.debugging = debugging
        self.record_sources = debugging or parent is not None
        self.on_host = True

    def input(self, value: Any) -> Tracer:
        """A tracer for an input that derivatives are taken in."""
        if type(value) not in _HOST_TYPES:
            self.on_host = False
        slot = self.slots
        self.slots = slot + 1
        return Tracer(self, aval_of(value), (value, slot))

    def process(self, prim: Primitive, args: Sequence[Any], params: Params) -> Any:
        primals: list[Any] = []
        slots: list[int] = []
        # The key holds addresses of avals, negative for operands with a tangent. The entry keeps the avals alive,
        # so an address means one aval as long as the entry is there; hashing them would cost more than the rest.
        key: list[Any] = [prim]
        avals: list[ShapedArray] = []
        on_host = True
        for a in args:
            if type(a) is Tracer and a._trace is self:
                value, slot = a.payload
                primals.append(value)
                slots.append(slot)
                aval = a.aval
                key.append(-id(aval))
            else:
                primals.append(a)
                aval = aval_of(a)
                key.append(id(aval))
                if on_host and type(a) not in _HOST_TYPES:
                    on_host = False
            avals.append(aval)
        if not slots:
            return self.below(prim, primals, params)
        if prim.effects is not None and prim.kind == "custom" and prim.linearize is None:
            return self._effect(prim, primals, params)
        if prim.linearize is not None:
            return self._linearize(prim, primals, params, [k < 0 for k in key[1:]], slots)
        if params:
            key.extend(params.items())
            key.extend(map(type, params.values()))  # 1, 1.0 and True are equal, and mean different programs.
        full = tuple(key)
        entry = _derived.get(full)
        if entry is None:
            entry = _derived.put(full, Derived(prim, params, avals, [k < 0 for k in key[1 : len(args) + 1]]))
        if not entry.any_live_out:
            return self.below(prim, primals, params)
        parent = self.parent
        if entry.sizes:
            primals = [*[size_tracer(size, parent) for size in entry.sizes], *primals]
        if parent is None:
            for i in entry.captured_constants:
                primals[i] = self.protect(primals[i])
        if parent is None and not self.debugging:
            if on_host and self.on_host and not device_seen():
                forward = entry.host_forward or entry.forward(np)
            else:
                forward = entry.forward(creating(array_module(primals)))
            result, residuals = forward(*primals)
        else:
            token = set_trace(parent)
            try:
                values = evaluate(entry.known, primals)
            finally:
                reset_trace(token)
            result, residuals = values[: entry.n_outs], values[entry.n_outs :]
            if not entry.multiple:
                (result,) = result
        source = current_source() if self.record_sources else None
        if self.debugging:
            for value in result if entry.multiple else [result]:
                check_forward(value, source, prim.name)
        if not entry.multiple:
            slot = self.slots
            self.slots = slot + 1
            self.nodes.append(Node(entry, residuals, slots, (slot,), source))
            return Tracer(self, entry.out_avals[0], (result, slot))
        return self._outputs(entry, residuals, slots, result, entry.live_out, source)

    def _outputs(
        self,
        linear: Linear,
        residuals: Sequence[Any],
        slots: Sequence[int],
        values: Sequence[Any],
        live_out: Sequence[bool],
        source: Source | None,
    ) -> list[Any]:
        first = self.slots
        outs: list[Any] = []
        for value, live in zip(values, live_out, strict=True):
            if live:
                outs.append(Tracer(self, aval_of(value), (value, self.slots)))
                self.slots += 1
            else:
                outs.append(value)
        self.nodes.append(Node(linear, residuals, tuple(slots), tuple(range(first, self.slots)), source))
        return outs

    def _linearize(
        self, prim: Primitive, primals: Sequence[Any], params: Params, live: Sequence[bool], slots: Sequence[int]
    ) -> Any:
        """An operation with a rule of the user's, which runs on the values at hand."""
        assert prim.linearize is not None
        token = set_trace(self.parent)
        try:
            values, live_out, linear = prim.linearize(primals, live, **params)
        finally:
            reset_trace(token)
        source = current_source() if self.record_sources else None
        return self._outputs(linear, (), slots, values, live_out, source)

    def _effect(self, prim: Primitive, primals: Sequence[Any], params: Params) -> Any:
        """An operation that does something and has no derivative, as its rule says: with primal values, now."""
        token = set_trace(self.parent)
        try:
            return prim.rule("jvp")(primals, [Zero(aval_of(p).tangent()) for p in primals], **params)[0]
        finally:
            reset_trace(token)

    def below(self, prim: Primitive, primals: Sequence[Any], params: Params) -> Any:
        """An operation on constants, run under the parent."""
        token = set_trace(self.parent)
        try:
            return prim.bind(*primals, **params)
        finally:
            reset_trace(token)

    def protect(self, value: Any) -> Any:
        """A residual that the user cannot change: a copy of what is small, else the array itself, frozen."""
        if type(value) is not np.ndarray or not value.flags.writeable:
            return value
        if not self.freeze or value.nbytes <= COPIED_BYTES:
            return value.copy()
        array: Any = value
        while isinstance(array, np.ndarray) and array.flags.writeable:
            array.flags.writeable = False
            self.frozen.append(array)
            array = array.base
        return value

    def thaw(self) -> None:
        """Give the user's arrays back as they were."""
        for array in reversed(self.frozen):  # A base before its views: only then can they be written to again.
            array.flags.writeable = True
        self.frozen.clear()

    def concrete(self, tracer: Tracer) -> Any:
        primal = tracer.payload[0]
        return primal._trace.concrete(primal) if isinstance(primal, Tracer) else primal

    def known(self, tracer: Tracer) -> Any:
        return known(tracer.payload[0])

    def need(self, tracer: Tracer, error: Any, use: str) -> Any:
        primal = tracer.payload[0]
        return primal._trace.need(primal, error, use) if isinstance(primal, Tracer) else primal

    def origin(self, tracer: Tracer) -> str:
        primal = tracer.payload[0]
        return primal._trace.origin(primal) if isinstance(primal, Tracer) else ""


class Tape(NamedTuple):
    """A linearised function: its results and the linear maps that lead from inputs to results."""

    nodes: Sequence[Node]
    inputs: tuple[int, ...]
    outs: tuple[tuple[Any, int | None], ...]
    slots: int

    @property
    def primals_out(self) -> list[Any]:
        return [value for value, _ in self.outs]


def linearize_flat(
    f: Callable[..., Sequence[Any]], primals: Sequence[Any], *, freeze: bool = False, debugging: bool = False
) -> Tape:
    """Run a function of arrays and write its tape. Every input must be inexact.

    With ``freeze`` the caller must use ``frozen_tape`` instead, which gives the arrays back.
    """
    with frozen_tape(f, primals, freeze=freeze, debugging=debugging) as tape:
        return tape


class frozen_tape:
    """The tape of a function for the length of a ``with`` block, its large residuals read-only meanwhile."""

    def __init__(
        self, f: Callable[..., Sequence[Any]], primals: Sequence[Any], *, freeze: bool, debugging: bool = False
    ) -> None:
        self.f = f
        self.primals = primals
        self.trace = LinearizeTrace(current_trace(), freeze, debugging)

    def __enter__(self) -> Tape:
        trace = self.trace
        primals = self.primals if trace.parent is not None else [trace.protect(p) for p in self.primals]
        inputs = [trace.input(p) for p in primals]
        token = set_trace(trace)
        try:
            outs = self.f(*inputs)
        except BaseException as error:
            frozen = bool(trace.frozen)
            trace.thaw()
            if frozen and isinstance(error, ValueError) and "read-only" in str(error):
                raise errors.MutatedResidualError(
                    "an array was written to while the derivative being computed still needs its old contents. Write "
                    "into a copy (buffer = buffer.copy()), or make the new value a new array"
                ).with_traceback(error.__traceback__) from None
            raise
        finally:
            reset_trace(token)
            trace.ended = True
        pairs = tuple(o.payload if isinstance(o, Tracer) and o._trace is trace else (o, None) for o in outs)
        return Tape(trace.nodes, tuple(t.payload[1] for t in inputs), pairs, trace.slots)

    def __exit__(self, *exc: object) -> None:
        self.trace.thaw()


def push(tape: Tape, tangents: Sequence[Any]) -> list[Any]:
    """Tangents of the results for tangents of the inputs; ``Zero`` where a result does not depend on them."""
    direct = current_trace() is None
    values: list[Any] = [None] * tape.slots
    for slot, t in zip(tape.inputs, tangents, strict=True):
        values[slot] = None if isinstance(t, Zero) else t
    avals = _slot_avals(tape)
    for node in tape.nodes:
        given = [values[s] for s in node.inputs]
        if all(t is None for t in given):
            continue
        given = [instantiate(Zero(avals[s])) if t is None else t for s, t in zip(node.inputs, given, strict=True)]
        with source_context(node.source):
            outs = node.linear.push(node.residuals, given, direct)
        for s, t in zip(node.outputs, outs, strict=True):
            values[s] = t
    return [Zero(aval_of(p).tangent()) if s is None or values[s] is None else values[s] for p, s in tape.outs]


def _slot_avals(tape: Tape) -> dict[int, ShapedArray]:
    """Tangent avals of the slots that a push may have to fill with zeros."""
    avals: dict[int, ShapedArray] = {}
    for node in tape.nodes:
        if isinstance(node.linear, Derived):
            jaxpr = node.linear.unknown
            avals.update(zip(node.inputs, jaxpr.in_avals[node.linear.n_residuals :], strict=True))
        elif isinstance(node.linear, CustomLinear):
            avals.update(zip(node.inputs, node.linear.in_avals, strict=True))
    return avals


class CustomLinear(Linear):
    """A linear map that knows the avals of its inputs."""

    in_avals: Sequence[ShapedArray]


class Recorded(CustomLinear):
    """A linear map that is a jaxpr with its residuals as constants, as the user's own JVP rule gave it."""

    def __init__(self, jaxpr: Jaxpr) -> None:
        self.jaxpr = jaxpr
        self.in_avals = jaxpr.in_avals

    def push(self, residuals: Sequence[Any], tangents: Sequence[Any], direct: bool) -> list[Any]:
        return evaluate(self.jaxpr, tangents)

    def pull(self, residuals: Sequence[Any], cotangents: Sequence[Any], direct: bool) -> Sequence[Any]:
        return backward_pass(self.jaxpr, [Undefined(a) for a in self.in_avals], cotangents)


def pull(tape: Tape, cotangents: Sequence[Any]) -> list[Any]:
    """Cotangents of the inputs for cotangents of the results; None where an input has no influence."""
    if not is_debugging():
        return _pull(tape, cotangents, current_trace() is None)
    try:
        with np.errstate(all="ignore"):
            return _pull(tape, cotangents, False)
    except errors.NonFiniteError as error:
        raise in_backward_pass(error) from None


def _pull(tape: Tape, cotangents: Sequence[Any], direct: bool) -> list[Any]:
    cts: list[Any] = [None] * tape.slots
    for (_, slot), ct in zip(tape.outs, cotangents, strict=True):
        if slot is not None and ct is not None and not isinstance(ct, Zero):
            cts[slot] = ct if cts[slot] is None else add(cts[slot], ct)
    on_host = direct and not device_seen()
    for linear, residuals, inputs, outputs, source in reversed(tape.nodes):
        if len(outputs) == 1:
            ct = cts[outputs[0]]
            if ct is None:
                continue
            cts[outputs[0]] = None
            host_pull = linear.host_pull
            if on_host and host_pull is not None and type(ct) in _HOST_TYPES:
                results = host_pull(*residuals, ct)
            else:
                with source_context(source):
                    results = linear.pull(residuals, [ct], direct)
        else:
            given = [cts[s] for s in outputs]
            if all([ct is None for ct in given]):
                continue
            for s in outputs:
                cts[s] = None
            with source_context(source):
                results = linear.pull(residuals, given, direct)
        i = 0
        for ct in results:
            if ct is not None:
                s = inputs[i]
                old = cts[s]
                cts[s] = ct if old is None else _add_direct(old, ct) if direct else add(old, ct)
            i += 1
    return [cts[s] for s in tape.inputs]


def _add_direct(old: Any, new: Any) -> Any:
    return np.add(old, new) if type(old) is np.ndarray else add(old, new)
