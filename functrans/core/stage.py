"""Staging: running a function on tracers that record every operation as an equation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans.core.avals import ShapedArray
from functrans.core.evaluate import extent_of
from functrans.core.jaxpr import (
    Atom,
    Eqn,
    Jaxpr,
    Literal,
    SizeAval,
    SizeVar,
    Var,
    dce,
    effects_of,
    resize,
    resize_params,
    result_vars,
)
from functrans.core.primitive import Params, Primitive, leaked
from functrans.core.trace import Trace, Tracer, aval_of, current_source, current_trace, reset_trace, set_trace


class JaxprTrace(Trace):
    """Records operations. Every operation is recorded, also one on constants alone.

    ``sizes`` leads from a size variable to this trace's own, which stands for it here; ``sizing`` says whether there
    are any, here or around. ``handed`` are the containers that callbacks were given to write to.
    """

    __slots__ = ("constants", "eqns", "fixed", "handed", "name", "sizes", "sizing")

    apart = True
    """Whether the function is traced apart from the one around it, which has the paths of ``jit``."""

    def __init__(self, parent: Trace | None, name: str = "function") -> None:
        super().__init__(parent)
        self.name = name
        self.eqns: list[Eqn] = []
        self.constants: dict[int, tuple[Var, Any]] = {}
        self.fixed: dict[Atom, Any] = {}
        self.handed: list[Any] = []
        self.sizes: dict[SizeVar, SizeVar] = {}
        while parent is not None and not isinstance(parent, JaxprTrace):
            parent = parent.parent
        self.sizing: bool = parent is not None and parent.sizing

    def input(self, aval: ShapedArray) -> Tracer:
        """A tracer for an input."""
        return Tracer(self, aval, Var(aval))

    def inputs(self, avals: Sequence[ShapedArray]) -> list[Tracer]:
        """Tracers for inputs. Where there is a size among them, the types of the others may refer to it."""
        own: dict[SizeVar, SizeVar] = {}
        firsts: dict[int, SizeVar] = {}
        for i, aval in enumerate(avals):
            if type(aval) is SizeAval and aval.var not in own:
                own[aval.var] = firsts[i] = self._own(SizeVar())
        if not own and not self.sizing:
            return [Tracer(self, aval, Var(aval)) for aval in avals]
        made = []
        for i, aval in enumerate(avals):
            var: Var = firsts[i] if i in firsts else Var(resize(aval, lambda size: own.get(size) or self.size(size)))
            if type(var.aval) is SizeAval and i not in firsts:
                var = Var(aval.update())
            made.append(Tracer(self, var.aval, var))
        return made

    def _own(self, size: SizeVar) -> SizeVar:
        self.sizes[size] = size
        self.sizing = True
        return size

    def size(self, size: SizeVar) -> SizeVar:
        """This trace's variable for a size; one that an enclosing trace knows becomes a constant."""
        own = self.sizes.get(size)
        if own is None:
            tracer = size_tracer(size, self.parent)
            own = self._own(SizeVar())
            self.sizes[size] = own
            self.constants[id(tracer)] = (own, tracer)
        return own

    def atom(self, value: Any) -> Atom:
        """The variable or literal that stands for a value in the jaxpr."""
        if isinstance(value, Tracer) and value._trace is self:
            atom: Atom = value.payload
            return atom
        known = self.constants.get(id(value))
        if known is not None:
            return known[0]
        if not isinstance(value, Tracer):
            aval = aval_of(value)
            if aval.shape == () and isinstance(value, (np.generic, int, float, complex)):
                return Literal(value, aval)
        elif value._trace.ended:
            raise leaked(value, f"the traced function {self.name!r}")
        if self.sizing and isinstance(value, Tracer):
            if type(value.aval) is SizeAval:
                return self.size(value.aval.var)
            var = Var(resize(value.aval, self.size))
        else:
            var = Var(aval_of(value))
        self.constants[id(value)] = (var, value)
        return var

    def constant(self, value: Any, fixed: bool = False) -> Any:
        atom = self.atom(value)
        if fixed:
            self.fixed[atom] = value
        return Tracer(self, atom.aval, atom)

    def concrete(self, tracer: Tracer) -> Any:
        return self.fixed.get(tracer.payload) if self.fixed else None

    def process(self, prim: Primitive, args: Sequence[Any], params: Params) -> Any:
        if prim.stage is not None:
            more, params = prim.stage([aval_of(a) for a in args], params)
            args = [*more, *args]
        atoms = tuple([self.atom(a) for a in args])
        if self.sizing:
            params = resize_params(params, self.size)
        result = prim.shape(*[a.aval for a in atoms], **params)
        outs = self.results(result) if prim.multiple else (Var(result),)
        self.eqns.append(Eqn(prim, atoms, outs, params, current_source(), effects_of(prim, params)))
        tracers = [Tracer(self, v.aval, v) for v in outs]
        return tracers if prim.multiple else tracers[0]

    def mend(self, error: type[errors.ConcretizationError]) -> str:
        text = super().mend(error)
        if self.apart and error is errors.TracerBoolError:
            text += (
                f". {self.name!r} is traced once for all of its calls, as control flow, checkpoint and custom rules do "
                f"with the functions that they are given, and so has no paths of its own under jit(specialize=N) "
                f"either: a Python branch may stand outside of it"
            )
        return text

    def results(self, avals: Sequence[ShapedArray]) -> tuple[Var, ...]:
        """Variables for results of these types, whose new sizes are known from here on."""
        outs = result_vars(avals)
        for var in outs:
            if type(var) is SizeVar:
                self._own(var)
        return outs

    def origin(self, tracer: Tracer) -> str:
        for eqn in self.eqns:
            if tracer.payload in eqn.outs:
                return f"It was made by {eqn.prim.name!r} at {eqn.source}." if eqn.source else ""
        return f"It is an input of {self.name!r}."

    def finish(self, inputs: Sequence[Tracer], outputs: Sequence[Any]) -> Jaxpr:
        """The jaxpr of what was recorded, without what its outputs do not need."""
        outvars = [self.atom(out) for out in outputs]
        constants = list(self.constants.values())
        self.ended = True
        return dce(
            Jaxpr([t.payload for t in inputs], self.eqns, outvars, [v for v, _ in constants], [c for _, c in constants])
        )


def hand_over(containers: Sequence[Any]) -> None:
    """Say that a callback has containers, so that what they hold is no part of what is being traced."""
    trace = current_trace()
    while trace is not None and containers:
        if isinstance(trace, JaxprTrace):
            trace.handed.extend(containers)
        trace = trace.parent


def size_tracer(size: SizeVar, trace: Trace | None) -> Tracer:
    """The tracer of a size variable that a trace or one around it knows."""
    while trace is not None:
        if isinstance(trace, JaxprTrace) and trace.sizes.get(size) is size:
            return Tracer(trace, size.aval, size)
        trace = trace.parent
    raise errors.JaxprError("a type or a parameter refers to a size variable that no enclosing function binds")


class PartialTrace(JaxprTrace):
    """Records the operations on its own tracers; the others are known already and run under the parent."""

    __slots__ = ()

    def constant(self, value: Any, fixed: bool = False) -> Any:
        return Trace.constant(self, value, fixed)

    def process(self, prim: Primitive, args: Sequence[Any], params: Params) -> Any:
        unknown = [isinstance(a, Tracer) and a._trace is self for a in args]
        if any(unknown):
            if prim.split is None or prim.stage is not None:
                return super().process(prim, args, params)
            outs = self._process_parts(prim, args, params, unknown)
            return outs if prim.multiple else outs[0]
        token = set_trace(self.parent)
        try:
            return prim.bind(*args, **params)
        finally:
            reset_trace(token)

    def _process_parts(
        self, prim: Primitive, args: Sequence[Any], params: Params, unknown: Sequence[bool]
    ) -> list[Any]:
        """Run what a region knows already, and record the rest of it."""
        assert prim.split is not None
        atoms = tuple([a.payload if u else Var(aval_of(a)) for a, u in zip(args, unknown, strict=True)])
        found = prim.shape(*[a.aval for a in atoms], **params)
        outs = self.results(found) if prim.multiple else (Var(found),)
        parts = prim.split(Eqn(prim, atoms, outs, params, current_source(), effects_of(prim, params)), unknown)
        values = {atom: a for atom, a, u in zip(atoms, args, unknown, strict=True) if not u}
        token = set_trace(self.parent)
        try:
            for eqn in parts.known:
                given = [a.value if isinstance(a, Literal) else values[a] for a in eqn.inputs]
                result = eqn.prim.bind(*given, **eqn.params)
                values.update(zip(eqn.outs, result if eqn.prim.multiple else [result], strict=True))
        finally:
            reset_trace(token)

        def extent(size: SizeVar) -> Any:
            """A size as it is known by now."""
            found = extent_of(values[size]) if size in values else size
            return self.size(found) if isinstance(found, SizeVar) else found

        for eqn in parts.unknown:
            inputs = tuple([self.atom(values[a]) if a in values else a for a in eqn.inputs])
            for out in eqn.outs:
                if type(out) is SizeVar:
                    self._own(out)
            for out in eqn.outs:
                if type(out) is Var:
                    out.aval = resize(out.aval, extent)
            params = resize_params(eqn.params, extent)
            self.eqns.append(eqn._replace(inputs=inputs, params=params, effects=effects_of(eqn.prim, params)))
        return [values[v] if v in values else Tracer(self, v.aval, v) for v in outs]


def stage(f: Callable[..., Sequence[Any]], avals: Sequence[ShapedArray], name: str = "function") -> Jaxpr:
    """The jaxpr of ``f``, a function of as many arrays as there are avals that returns a sequence of arrays.

    Arrays and tracers of enclosing transformations that ``f`` closes over become the constants of the jaxpr.
    """
    trace = JaxprTrace(current_trace(), name)
    inputs = trace.inputs(avals)
    token = set_trace(trace)
    try:
        outputs = f(*inputs)
    finally:
        reset_trace(token)
        trace.ended = True
    for out in outputs:
        if not isinstance(out, Tracer):
            aval_of(out)
    return trace.finish(inputs, outputs)
