"""Guarded specialisation: Python branches on traced values, a compiled path for each way through them.

A call runs along known segments as far as their guards hold. From there the function is traced once more, along the
known outcomes, and new segments are recorded. What ran already is not run again: its effects are done, and its results
are at hand or, where nobody kept them, computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from functrans import errors
from functrans.api.paths import Env, Guard, Miss, Paths, Plan, Segment, closed
from functrans.api.program import Cache, Signature
from functrans.api.tracing import Call, Demand, JitTrace, donated_inputs, specializing
from functrans.api.validation import passing
from functrans.backends.base import Backend
from functrans.config import any_mode, config
from functrans.core.avals import ShapedArray
from functrans.core.capture import Captured, Place
from functrans.core.check import check
from functrans.core.jaxpr import Eqn, Literal, SizeVar, Var, sizes_in
from functrans.core.primitive import Params, Primitive, leaked
from functrans.core.trace import Trace, Tracer, current_source, reset_trace, set_trace
from functrans.core.treedef import PyTreeDef


class Diverged(BaseException):
    """A function that was traced again along known outcomes did something else than before."""


class PathTrace(JitTrace):
    """Records a function and runs it meanwhile, up to the last guard.

    Attributes:
        route: known segments to walk along again, with the value of each one's guard.
        fresh: the segments recorded after those.
        env: the values at hand, by variable.
    """

    __slots__ = ("_decided", "_failing", "_inputs", "_position", "_step", "acted", "env", "fresh", "paths", "route")
    specializes = True

    def __init__(self, signature: Signature, route: list[tuple[Segment, Any]], paths: Paths | None) -> None:
        super().__init__(signature)
        self.route = route
        self.paths = paths
        self.env: Env = {}
        self.fresh: list[Segment] = [] if route else [Segment()]
        self.acted = False
        self._failing = False
        self._decided: dict[tuple[Var, bool], Any] = {}
        self._inputs: Iterator[Var] | None = None if paths is None else iter(paths.invars)
        self._step = 0
        self._position = 0

    @property
    def replaying(self) -> bool:
        return self._step < len(self.route)

    @property
    def passed(self) -> list[Segment]:
        """The segments that have run."""
        return [s for s, _ in self.route] + self.fresh[:-1]

    def input(self, aval: ShapedArray) -> Tracer:
        if self._inputs is None:
            return super().input(aval)
        var = next(self._inputs, None)
        if var is None or var.aval != aval:
            raise Diverged
        return Tracer(self, aval, var)

    def record(self, prim: Primitive, args: Sequence[Any], params: Params) -> Any:
        result = super().record(prim, args, params)
        if not self.replaying:
            self.fresh[-1].eqns.append(self.eqns[-1])
            return result
        segment = self.route[self._step][0]
        if self._position >= len(segment.eqns):
            raise Diverged
        known, eqn = segment.eqns[self._position], self.eqns[-1]
        if not _agree(known, eqn):
            raise Diverged
        self._position += 1
        self.eqns[-1] = known
        for v in known.outs:
            if isinstance(v, SizeVar):
                self._own(v)
        tracers = [Tracer(self, v.aval, v) for v in known.outs]
        return tracers if prim.multiple else tracers[0]

    def known(self, tracer: Tracer) -> Any:
        value = self.concrete(tracer)
        origins = self.origins.get(tracer.payload)
        if value is not None or origins is None:
            return value
        if not origins or not (self.acted or origins & self.borrowed):
            return self.demanded(tracer, origins)
        return self._look(tracer, errors.ConcretizationError, "a shape")

    def need(self, tracer: Tracer, error: Any, use: str) -> Any:
        if self.ended:
            raise leaked(tracer, f"the traced function {self.name!r}")
        truth = error is errors.TracerBoolError
        assert self.paths is not None
        self.paths.limit = max(self.paths.limit, specializing.get() or 0)
        origins = self.origins.get(tracer.payload)
        passes = passing() if truth and not self.paths.limit else None
        if not (self.paths.limit or self._failing or passes is not None or origins is not None):
            return Trace.need(self, tracer, error, use)
        if origins is not None and not (origins and (truth or self.acted or origins & self.borrowed)):
            return self.demanded(tracer, origins)
        value = self._look(tracer, error, use)
        # An exception is on its way, and its message may say what it is about.
        self._failing = self._failing or (passes is not None and bool(value) != passes)
        return value

    def _look(self, tracer: Tracer, error: type[errors.ConcretizationError], use: str) -> Any:
        """The value of a tracer, guarded."""
        var: Var = tracer.payload
        truth = error is errors.TracerBoolError
        if (var, truth) in self._decided:
            return self._decided[var, truth]
        if self.replaying:
            segment, value = self.route[self._step]
            guard = segment.guard
            if guard is None or guard.var is not var or guard.truth != truth or self._position != len(segment.eqns):
                raise Diverged
            self._step += 1
            self._position = 0
            if self._step == len(self.route):
                self.fresh.append(Segment())
        else:
            segment = self.fresh[-1]
            guard = Guard(var, truth, error, use, current_source())
            value = self._close(segment, guard)
            self.fresh.append(segment.children.setdefault(guard.key(value), Segment()))
        self.acted = self.acted or any(eqn.effects for eqn in segment.eqns)
        value = bool(value) if truth else value
        self._decided[var, truth] = value
        if not truth:
            self.fixed[var] = value
        return value

    def _close(self, segment: Segment, guard: Guard) -> Any:
        """Run a new segment up to a guard."""
        segment.guard = guard
        consts = self.bound()
        assert self.paths is not None
        segment.link(consts, self.paths.forms)
        token = set_trace(self.parent)
        try:
            return self._runner(consts).decide(segment, self.env, self.passed)
        except BaseException:
            segment.guard = None
            raise
        finally:
            reset_trace(token)

    def act(self) -> None:
        """Run the effects of the segment that an exception of the user's ended."""
        if self.fresh and any(eqn.effects for eqn in self.fresh[-1].eqns):
            consts = self.bound()
            jaxpr, needs = closed(self.fresh[-1].eqns, [], consts)
            self._runner(consts).execute(Plan(jaxpr, needs, ()), self.env, self.passed)

    def bound(self) -> dict[Var, Any]:
        known = {} if self.paths is None else self.paths.consts
        return {**known, **super().bound()}

    def used_constants(self) -> dict[Var, Any]:
        """The new constants that the new segments refer to."""
        used: set[Any] = {a for s in self.fresh for eqn in s.eqns for a in eqn.inputs}.union(self.fresh[-1].outs)
        used.update(s for v in used if isinstance(v, Var) for s in [*sizes_in(v.aval)])
        return {v: c for v, c in super().bound().items() if v in used}

    def _runner(self, consts: Env) -> Paths:
        assert self.paths is not None
        runner = _copy(self.paths)
        runner.consts = consts
        return runner

    def conclude(self, outs: Sequence[Any], out_tree: PyTreeDef) -> None:
        """The last segment, with the results."""
        if self.replaying:
            raise Diverged
        last = self.fresh[-1]
        last.outs = [self.atom(out) for out in outs]
        last.out_tree = out_tree
        self.ended = True


def _copy(paths: Paths) -> Paths:
    copy = object.__new__(Paths)
    copy.__dict__.update(paths.__dict__)
    return copy


def _agree(known: Eqn, eqn: Eqn) -> bool:
    """Whether an operation recorded anew is the one that was recorded before."""
    if known.prim is not eqn.prim or len(known.inputs) != len(eqn.inputs):
        return False
    if [v.aval for v in known.outs] != [v.aval for v in eqn.outs]:
        return False
    return all(
        repr(a.value) == repr(b.value) if isinstance(a, Literal) and isinstance(b, Literal) else type(a) is type(b)
        for a, b in zip(known.inputs, eqn.inputs, strict=True)
    )


# -- calls ----------------------------------------------------------------------------------------------------------


@contextmanager
def asking(limit: int | None) -> Iterator[None]:
    """Say that the function which runs in the block is to be specialised by the outermost ``jit`` around it."""
    token = specializing.set(limit)
    try:
        yield
    finally:
        specializing.reset(token)


class Specializer(NamedTuple):
    """What tracing a path needs of a jitted function."""

    f: Callable[..., Any]
    captured: Captured
    donated: frozenset[int]
    backend: Backend
    cache: Cache
    limit: int

    def first(self, signature: Signature) -> Any:
        """Trace a function for a signature that is new, and run it."""
        demanded: set[Any] = set()
        while True:
            trace = PathTrace(signature, [], None)
            call = Call(trace, self.f, self.captured, signature, demanded)
            trace.paths = self._paths(trace, call, [])
            trace.env = dict(zip(trace.paths.invars, call.operands, strict=True))
            try:
                self._trace(trace, call)
            except (Demand, Exception) as error:
                if trace.pending is None or (isinstance(error, Demand) and error.trace is not trace):
                    raise
            if trace.pending is None:
                break
            demanded |= trace.pending.inputs
        limit = trace.paths.limit
        paths = self._replace(limit=limit)._paths(trace, call, call.guards((), trace.handed))
        paths.attach((), trace.fresh, trace.used_constants())
        paths.keep = not any(isinstance(c, Tracer) for c in paths.consts.values())
        _verify(trace)
        self.cache.add(signature, paths, self.captured)
        return paths.conclude(trace.fresh[-1], trace.env, trace.passed)

    def _paths(self, trace: PathTrace, call: Call, guards: Sequence[tuple[Place, Any]]) -> Paths:
        donated = donated_inputs(trace.signature, self.donated, len(call.places), call.dynamic)
        invars = [t.payload for t in call.inputs]
        return Paths(
            trace.name, self.backend, call.places, guards, call.contents, call.values, call.dynamic, donated, invars,
            self.limit,
        )  # fmt: skip

    def further(self, signature: Signature, miss: Miss) -> Any:
        """Trace a function along a path that parts from the known ones, and run it to its end."""
        paths = miss.paths
        trace = PathTrace(signature, miss.route, paths)
        trace.env = miss.env
        try:
            call = Call(trace, self.f, self.captured, signature, frozenset(paths.values) | _places(paths))
            self._trace(trace, call)
        except Diverged:
            guard = miss.route[-1][0].guard
            assert guard is not None
            raise errors.ConcretizationError(
                f"{signature.where} was traced again, as {guard.describe()} came out anew, and did something else than "
                f"before: it depends on a state that is neither among its arguments nor captured where jit can see it. "
                f"Pass that as an argument"
            ) from None
        if paths.count >= max(paths.limit, 1):
            raise _too_many(signature, paths, miss)
        consts = trace.used_constants()
        if any(isinstance(c, Tracer) for c in consts.values()):
            # The path refers to a transformation around the call, and serves this call alone.
            paths = _copy(paths)
            paths.consts = {**paths.consts, **consts}
            for segment in reversed(trace.fresh):
                segment.link(paths.consts, paths.forms)
        else:
            paths.attach(trace.route, trace.fresh, consts)
        _verify(trace)
        guard = miss.route[-1][0].guard
        assert guard is not None
        with self.cache.lock:
            self.cache.traces += 1
            reason = f"{guard.describe()} came out as {_shown(guard, miss.route[-1][1])} for the first time there"
            self.cache.history.append((signature._replace(leaves=[], args=(), kwargs={}), reason))
            del self.cache.history[: -self.cache.size]
        return paths.conclude(trace.fresh[-1], trace.env, trace.passed)

    def _trace(self, trace: PathTrace, call: Call) -> None:
        try:
            outs, out_tree = call.run(trace)
        except errors.FunctransError:
            raise
        except Exception:
            if not trace.replaying:
                trace.act()
            raise
        trace.conclude(outs, out_tree)


def _places(paths: Paths) -> frozenset[Any]:
    return frozenset(place for place, _ in paths.contents)


def _verify(trace: PathTrace) -> None:
    if any_mode() and config.enable_checks:
        for segment in trace.fresh:
            assert segment.plan is not None
            check(segment.plan.jaxpr)


def _shown(guard: Guard, value: Any) -> str:
    if guard.truth:
        return repr(bool(value))
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _too_many(signature: Signature, paths: Paths, miss: Miss) -> errors.PathLimitError:
    segment, value = miss.route[-1]
    assert segment.guard is not None
    if not paths.limit:
        return errors.PathLimitError(
            f"{signature.where} goes on after a validation failed: {segment.guard.describe()} came out as "
            f"{_shown(segment.guard, value)}, and the exception was caught within the function. Pass specialize=2 to "
            f"jit to have a path for each outcome, or write functrans.lax.cond in place of the exception"
        )
    return errors.PathLimitError(
        f"{signature.where} takes more than the {paths.limit} path{'' if paths.limit == 1 else 's'} that "
        f"specialize={paths.limit} allows: {segment.guard.describe()} came out as {_shown(segment.guard, value)}, "
        f"{len(miss.route)} guard{'' if len(miss.route) == 1 else 's'} into the call, where it had not before. Write "
        f"functrans.lax.cond or functrans.numpy.where in place of the branch, functrans.lax.while_loop in place of the "
        f"loop, or allow more paths"
    )
