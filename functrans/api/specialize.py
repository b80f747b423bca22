"""Guarded specialisation: Python branches on traced values, a compiled path for each way through them.

A path is a chain of segments. Each but the last ends in a guard: a value that Python asked for. Segments form a tree,
in which the outcome of a guard leads to the next segment. A call runs from the root; where an outcome is new, the
function is traced once more, along the known outcomes, from where on new segments are recorded. What ran already is
not run again: its effects are done, and its results are at hand or, where nobody kept them, computed again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from functrans import errors
from functrans.api.program import Cache, Program, Signature
from functrans.api.tracing import Call, Demand, JitTrace, donated_inputs, specializing
from functrans.api.validation import passing
from functrans.backends.base import Backend
from functrans.config import any_mode, config
from functrans.core.avals import ShapedArray
from functrans.core.capture import Captured, Place
from functrans.core.check import check
from functrans.core.finite import is_debugging
from functrans.core.jaxpr import Atom, Eqn, Jaxpr, Literal, SizeVar, Var, dce, sizes_in, sizes_of
from functrans.core.primitive import Params, Primitive, array_module, leaked
from functrans.core.trace import AS_TEXT, Trace, Tracer, current_source, current_trace, reset_trace, set_trace
from functrans.core.tree import tree_structure
from functrans.core.treedef import PyTreeDef
from functrans.lax.control.call import call
from functrans.util.source import Source

Env = dict[Any, Any]


class Guard(NamedTuple):
    """A value that decides how a path goes on: its truth, or its contents.

    Attributes:
        use: what Python did with it, in words.
    """

    var: Var
    truth: bool
    error: type[errors.ConcretizationError]
    use: str
    source: Source | None

    def key(self, value: Any) -> Any:
        """What the next segment is found by."""
        return bool(value) if self.truth else np.asarray(value).tobytes()

    def describe(self) -> str:
        where = f" at {self.source}" if self.source else ""
        return f"the {'branch' if self.truth else 'value of ' + self.use}{where}"


class Plan(NamedTuple):
    """A segment as it is run: ``jaxpr`` from ``needs`` to the guard's value, if there is one, and ``gives``."""

    jaxpr: Jaxpr
    needs: tuple[Var, ...]
    gives: tuple[Var, ...]


class Segment:
    """A stretch of a path.

    Attributes:
        eqns: everything that was recorded, in order.
        guard: what decides how the path goes on; None at its end.
        children: the segments that follow, by the guard's outcome.
        outs, out_tree: the results, at the end of a path.
        plan: what of it is run, given what the segments after it need.
    """

    __slots__ = ("children", "eqns", "guard", "out_tree", "outs", "plan")

    def __init__(self) -> None:
        self.eqns: list[Eqn] = []
        self.guard: Guard | None = None
        self.children: dict[Any, Segment] = {}
        self.outs: list[Atom] = []
        self.out_tree: PyTreeDef | None = None
        self.plan: Plan | None = None

    def link(self, consts: Env) -> tuple[Var, ...]:
        """Make the plans of this segment and those after it; the variables that they need of what came before."""
        later = dict.fromkeys(v for child in self.children.values() for v in child.link(consts))
        own = {out for eqn in self.eqns for out in eqn.outs}
        # What an effect gave cannot be had a second time, so that it is kept for paths not known yet.
        kept = dict.fromkeys(out for eqn in self.eqns if eqn.effects for out in eqn.outs) if self.guard else {}
        gives = tuple(dict.fromkeys([*kept, *(v for v in later if v in own)]))
        results: list[Atom] = list(self.outs) if self.guard is None else [self.guard.var, *gives]
        jaxpr, needs = closed(self.eqns, results, consts)
        self.plan = Plan(jaxpr, needs, gives)
        return tuple(dict.fromkeys([*needs, *(v for v in later if v not in own)]))


def closed(eqns: Sequence[Eqn], results: Sequence[Atom], consts: Env) -> tuple[Jaxpr, tuple[Var, ...]]:
    """The equations that results and effects need, as a jaxpr, and the variables that it takes."""
    program = dce(Jaxpr([], eqns, results))
    bound: set[Any] = {out for eqn in program.eqns for out in eqn.outs}
    free: dict[Var, None] = {}
    for atoms in (*(eqn.inputs for eqn in program.eqns), results):
        free.update((a, None) for a in atoms if isinstance(a, Var) and a not in bound)
    if program.sized or any(True for v in free for _ in sizes_in(v.aval)):
        sizes = [s for eqn in program.eqns for s in sizes_of(eqn)] + [s for v in free for s in sizes_in(v.aval)]
        free = dict.fromkeys([*(s for s in sizes if s not in bound), *free])
    taken = tuple(v for v in free if v not in consts)
    known = [v for v in free if v in consts]
    return program.replace(invars=taken, constvars=known, consts=[consts[v] for v in known]), taken


class Miss(BaseException):
    """A call came to an outcome that has not been traced. What it computed so far is in ``env``."""

    def __init__(self, paths: Paths, route: list[tuple[Segment, Any]], env: Env, operands: Sequence[Any]) -> None:
        super().__init__()
        self.paths = paths
        self.route = route
        self.env = env
        self.operands = operands


class Diverged(BaseException):
    """A function that was traced again along known outcomes did something else than before."""


class Paths(Program):
    """The paths of one function for one signature.

    Attributes:
        root: the first segment of all of them.
        invars: the variables of the inputs.
        consts: the constants that the segments refer to.
        limit: how many paths there may be; 0 for one without branches, but for validations.
        count: how many there are.
    """

    def __init__(
        self,
        name: str,
        backend: Backend,
        places: Sequence[tuple[Place, ShapedArray]],
        guards: Sequence[tuple[Place, Any]],
        contents: Sequence[tuple[Place, Any]],
        values: dict[int, Any],
        dynamic: Sequence[int],
        donated: frozenset[int],
        invars: Sequence[Var],
        limit: int,
    ) -> None:
        empty = Jaxpr(invars, [], [])
        nothing = tree_structure(())
        super().__init__(name, empty, nothing, backend, places, guards, contents, values, dynamic, donated)
        self.finish = _done
        self.invars = tuple(invars)
        self.given = frozenset(self.invars[i] for i in donated)
        self.limit = limit
        self.count = 0
        self.root: Segment | None = None
        self.consts: Env = {}
        self.lock = threading.Lock()

    @property
    def run(self) -> Callable[..., Any]:
        return self._host

    def _host(self, *operands: Any) -> Any:
        return self.walk(operands)

    def apply(self, operands: list[Any]) -> Any:
        return self.walk(operands)

    def walk(self, operands: Sequence[Any]) -> Any:
        """Run a path to its end.

        Raises:
            Miss: an outcome is new.
        """
        env: Env = dict(zip(self.invars, operands, strict=True))
        route: list[tuple[Segment, Any]] = []
        segment = self.root
        assert segment is not None
        passed: list[Segment] = []
        while segment.guard is not None:
            value = self.decide(segment, env, passed)
            passed.append(segment)
            route.append((segment, value))
            following = segment.children.get(segment.guard.key(value))
            if following is None:
                raise Miss(self, route, env, operands)
            segment = following
        return self.conclude(segment, env, passed)

    def decide(self, segment: Segment, env: Env, before: Sequence[Segment]) -> Any:
        """Run a segment up to its guard, whose value is returned."""
        assert segment.plan is not None and segment.guard is not None
        decisive, *values = self.execute(segment.plan, env, before, frozenset())
        env.update(zip(segment.plan.gives, values, strict=True))
        return _value(self.name, segment.guard, decisive)

    def conclude(self, segment: Segment, env: Env, before: Sequence[Segment]) -> Any:
        """Run the last segment of a path. Only now may donated arrays be written to."""
        assert segment.plan is not None and segment.out_tree is not None
        # Values that earlier segments computed are nobody else's, and may be overwritten as donated ones are.
        inputs = set(self.invars)
        free = {v for v in segment.plan.needs if v in self.given or v not in inputs}
        return segment.out_tree.unflatten(self.execute(segment.plan, env, before, frozenset(free)))

    def execute(self, plan: Plan, env: Env, before: Sequence[Segment], free: frozenset[Var]) -> Sequence[Any]:
        missing = [v for v in plan.needs if v not in env]
        if missing:
            self.recover(missing, env, before)
        args = [env[v] for v in plan.needs]
        indices = frozenset(i for i, v in enumerate(plan.needs) if v in free)
        return self.compute(plan.jaxpr, args, indices)

    def compute(self, jaxpr: Jaxpr, args: list[Any], donated: frozenset[int] = frozenset()) -> Sequence[Any]:
        if current_trace() is not None or any(isinstance(a, Tracer) for a in args):
            return call(jaxpr, args, name=self.name, backend=self.backend)
        if is_debugging():
            with np.errstate(all="ignore"):
                return call(jaxpr, args, name=self.name, backend=self.backend)
        run = self.backend.prepare(jaxpr, array_module(args), False, donated)
        outs: Sequence[Any] = run(*args)
        return outs

    def recover(self, missing: Sequence[Var], env: Env, before: Sequence[Segment]) -> None:
        """Compute again what earlier segments did not keep, without their effects."""
        eqns = [eqn for segment in before for eqn in segment.eqns if not (eqn.effects or env.keys() & set(eqn.outs))]
        jaxpr, needs = closed(eqns, missing, self.consts)
        env.update(zip(missing, self.compute(jaxpr, [env[v] for v in needs]), strict=True))

    def attach(self, trace: PathTrace) -> None:
        """Add the path that a trace found."""
        first = trace.fresh[0]
        with self.lock:
            self.consts = {**self.consts, **trace.used_constants()}
            first.link(self.consts)
            if trace.route:
                last, value = trace.route[-1]
                assert last.guard is not None and self.root is not None
                if last.children.setdefault(last.guard.key(value), first) is first:
                    self.count += 1
                    self.root.link(self.consts)
            else:
                self.root = first
                self.count = 1


def _done(value: Any) -> Any:
    return value


def _value(name: str, guard: Guard, value: Any) -> Any:
    """The contents of a guard's value."""
    if not isinstance(value, Tracer):
        return value
    try:
        if not guard.truth and not guard.use.startswith(AS_TEXT):
            return value._converted(guard.use)
        return value._concrete(guard.error, guard.use)
    except errors.ConcretizationError as error:
        raise type(error)(f"jit({name}): {guard.describe()}: {error}") from None


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
        segment.link(consts)
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
            self._runner(consts).execute(Plan(jaxpr, needs, ()), self.env, self.passed, frozenset())

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
                break
            except Demand as demand:
                if demand.trace is not trace:
                    raise
                demanded |= demand.inputs
        limit = trace.paths.limit
        paths = self._replace(limit=limit)._paths(trace, call, call.guards((), trace.handed))
        paths.attach(trace)
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
            trace.fresh[0].link(paths.consts)
        else:
            paths.attach(trace)
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
    return errors.PathLimitError(
        f"{signature.where} takes more than the {paths.limit} path{'' if paths.limit == 1 else 's'} that "
        f"specialize={paths.limit} allows: {segment.guard.describe()} came out as {_shown(segment.guard, value)}, "
        f"{len(miss.route)} guard{'' if len(miss.route) == 1 else 's'} into the call, where it had not before. Write "
        f"functrans.lax.cond or functrans.numpy.where in place of the branch, functrans.lax.while_loop in place of the "
        f"loop, or allow more paths"
    )
