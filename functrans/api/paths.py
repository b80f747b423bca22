"""The paths of a function that branches on traced values: a tree of compiled segments.

Each segment but the last of a path ends in a guard: a value that Python asked for, whose outcome leads to the next
segment. A segment keeps what those after it need. Where an outcome is new, ``Miss`` says how far the call has come;
``specialize`` traces the rest.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from functrans import errors
from functrans.api.program import Program
from functrans.backends import serving
from functrans.backends.base import Backend
from functrans.core.avals import ShapedArray
from functrans.core.capture import Place
from functrans.core.finite import is_debugging
from functrans.core.jaxpr import Atom, Eqn, Jaxpr, Var, dce, sizes_in, sizes_of
from functrans.core.primitive import array_module
from functrans.core.trace import AS_TEXT, Tracer, current_trace
from functrans.core.tree import tree_structure
from functrans.core.tree_compile import compile_builder
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


class Plan:
    """A segment as it is run: ``jaxpr`` from ``needs`` to the guard's value, if there is one, and ``gives``.

    Attributes:
        free: which of its inputs are overwritten, as nobody needs them afterwards.
        host: the compiled jaxpr for host arrays, once there is one.
        finish: makes the results of a last segment from what ``host`` returns.
    """

    __slots__ = ("finish", "free", "gives", "host", "jaxpr", "needs")

    def __init__(self, jaxpr: Jaxpr, needs: tuple[Var, ...], gives: tuple[Var, ...]) -> None:
        self.jaxpr = jaxpr
        self.needs = needs
        self.gives = gives
        self.free: frozenset[int] = frozenset()
        self.host: Callable[..., Any] | None = None
        self.finish: Callable[[Any], Any] = _bare


def _bare(value: Any) -> Any:
    return value


class Segment:
    """A stretch of a path.

    Attributes:
        eqns: everything that was recorded, in order.
        guard: what decides how the path goes on; None at its end.
        children: the segments that follow, by the guard's outcome.
        outs, out_tree: the results, at the end of a path.
        plan: what of it is run, given what the segments after it need.
        wants: the variables that it and those after it need of what came before.
    """

    __slots__ = ("children", "eqns", "guard", "out_tree", "outs", "plan", "wants")

    def __init__(self) -> None:
        self.eqns: list[Eqn] = []
        self.guard: Guard | None = None
        self.children: dict[Any, Segment] = {}
        self.outs: list[Atom] = []
        self.out_tree: PyTreeDef | None = None
        self.plan: Plan | None = None
        self.wants: tuple[Var, ...] = ()

    def link(self, consts: Env, known: dict[Any, Jaxpr]) -> None:
        """Make the plan, once those of the segments that follow are made.

        ``known`` holds a jaxpr of each form, so that the turns of a loop are compiled once.
        """
        later = dict.fromkeys(v for child in self.children.values() for v in child.wants)
        own = {out for eqn in self.eqns for out in eqn.outs}
        # What an effect gave cannot be had a second time, so that it is kept for paths not known yet.
        kept = dict.fromkeys(out for eqn in self.eqns if eqn.effects for out in eqn.outs) if self.guard else {}
        gives = tuple(dict.fromkeys([*kept, *(v for v in later if v in own)]))
        if self.plan is None or self.plan.gives != gives:
            results: list[Atom] = list(self.outs) if self.guard is None else [self.guard.var, *gives]
            jaxpr, needs = closed(self.eqns, results, consts)
            self.plan = Plan(known.setdefault(_form(jaxpr), jaxpr), needs, gives)
        self.wants = tuple(dict.fromkeys([*self.plan.needs, *(v for v in later if v not in own)]))


def _form(jaxpr: Jaxpr) -> Any:
    """What two jaxprs have in common that differ in the names of their variables alone."""
    if jaxpr.constvars or jaxpr.sized:
        return id(jaxpr)
    names = {v: i for i, v in enumerate(jaxpr.invars)}

    def named(atom: Atom) -> Any:
        return names[atom] if isinstance(atom, Var) else (type(atom.value), repr(atom.value))

    eqns = []
    for eqn in jaxpr.eqns:
        inputs = tuple(map(named, eqn.inputs))
        first = len(names)
        names.update((v, first + k) for k, v in enumerate(eqn.outs))
        params = tuple((key, type(value), value) for key, value in eqn.params.items())
        eqns.append((eqn.prim.name, inputs, params, tuple(v.aval for v in eqn.outs)))
    return jaxpr.in_avals, tuple(eqns), tuple(map(named, jaxpr.outvars))


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

    def __init__(self, paths: Paths, route: list[tuple[Segment, Any]], env: Env) -> None:
        super().__init__()
        self.paths = paths
        self.route = route
        self.env = env


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
        self.finish = _bare
        self.invars = tuple(invars)
        self.given = frozenset(self.invars[i] for i in donated)
        self.limit = limit
        self.count = 0
        self.root: Segment | None = None
        self.consts: Env = {}
        self.forms: dict[Any, Jaxpr] = {}
        self.lock = threading.Lock()

    @property
    def run(self) -> Callable[..., Any]:
        return self._host

    def _host(self, *operands: Any) -> Any:
        """Run a path for host arrays, outside of any transformation."""
        env: Env = dict(zip(self.invars, operands, strict=True))
        route: list[tuple[Segment, Any]] = []
        segment = self.root
        while segment is not None:
            plan = segment.plan
            assert plan is not None
            run = plan.host or self._prepared(segment, plan)
            for v in plan.needs:
                if v not in env:
                    self.recover([v for v in plan.needs if v not in env], env, [s for s, _ in route])
                    break
            outs = run(*[env[v] for v in plan.needs])
            guard = segment.guard
            if guard is None:
                return plan.finish(outs)
            value = outs[0]
            if plan.gives:
                env.update(zip(plan.gives, outs[1:], strict=True))
            route.append((segment, value))
            segment = segment.children.get(bool(value) if guard.truth else guard.key(value))
        raise Miss(self, route, env)

    def _prepared(self, segment: Segment, plan: Plan) -> Callable[..., Any]:
        """The compiled segment. Only the last one of a path may write to donated arrays."""
        single = False
        if segment.guard is None:
            assert segment.out_tree is not None
            plan.free = self._overwritten(plan)
            single = segment.out_tree.num_nodes == 1 and segment.out_tree.num_leaves == 1
            plan.finish = _bare if single else compile_builder(segment.out_tree)
        plan.host = self.backend.prepare(plan.jaxpr, np, single, plan.free)
        return plan.host

    def _overwritten(self, plan: Plan) -> frozenset[int]:
        """The inputs of a last segment that are donated, or that earlier segments computed for it."""
        inputs = set(self.invars)
        return frozenset(i for i, v in enumerate(plan.needs) if v in self.given or v not in inputs)

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
                raise Miss(self, route, env)
            segment = following
        return self.conclude(segment, env, passed)

    def decide(self, segment: Segment, env: Env, before: Sequence[Segment]) -> Any:
        """Run a segment up to its guard, whose value is returned."""
        assert segment.plan is not None and segment.guard is not None
        decisive, *values = self.execute(segment.plan, env, before)
        env.update(zip(segment.plan.gives, values, strict=True))
        return value_of(self.name, segment.guard, decisive)

    def conclude(self, segment: Segment, env: Env, before: Sequence[Segment]) -> Any:
        """Run the last segment of a path."""
        assert segment.plan is not None and segment.out_tree is not None
        free = self._overwritten(segment.plan)
        return segment.out_tree.unflatten(self.execute(segment.plan, env, before, free))

    def execute(
        self, plan: Plan, env: Env, before: Sequence[Segment], free: frozenset[int] = frozenset()
    ) -> Sequence[Any]:
        missing = [v for v in plan.needs if v not in env]
        if missing:
            self.recover(missing, env, before)
        return self.compute(plan.jaxpr, [env[v] for v in plan.needs], free)

    def compute(self, jaxpr: Jaxpr, args: list[Any], donated: frozenset[int] = frozenset()) -> Sequence[Any]:
        if current_trace() is not None or any(isinstance(a, Tracer) for a in args):
            return call(jaxpr, args, name=self.name, backend=self.backend)
        if is_debugging():
            with np.errstate(all="ignore"):
                return call(jaxpr, args, name=self.name, backend=self.backend)
        xp = array_module(args)
        run = serving(self.backend, xp).prepare(jaxpr, xp, False, donated)
        outs: Sequence[Any] = run(*args)
        return outs

    def recover(self, missing: Sequence[Var], env: Env, before: Sequence[Segment]) -> None:
        """Compute again what earlier segments did not keep, without their effects."""
        pending = set(missing)
        wanted: list[Eqn] = []
        for segment in reversed(before):
            if not pending:
                break
            for eqn in reversed(segment.eqns):
                if not pending.isdisjoint(eqn.outs):
                    wanted.append(eqn)
                    pending.difference_update(eqn.outs)
                    read = [a for a in eqn.inputs if isinstance(a, Var)]
                    read += [size for size in sizes_of(eqn) if size not in eqn.outs]
                    read += [size for a in read for size in sizes_in(a.aval)]
                    pending.update(v for v in read if v not in env and v not in self.consts)
        jaxpr, needs = closed(wanted[::-1], missing, self.consts)
        jaxpr = self.forms.setdefault(_form(jaxpr), jaxpr)
        env.update(zip(missing, self.compute(jaxpr, [env[v] for v in needs]), strict=True))

    def attach(self, route: Sequence[tuple[Segment, Any]], fresh: Sequence[Segment], consts: Env) -> None:
        """Add a path: new segments behind known ones, which refer to these constants."""
        with self.lock:
            self.consts = {**self.consts, **consts}
            for segment in reversed(fresh):
                segment.link(self.consts, self.forms)
            if not route:
                self.root = fresh[0]
                self.count = 1
                return
            last, value = route[-1]
            assert last.guard is not None
            # Another thread may have been faster; the path then serves the call that it was traced for.
            if last.children.setdefault(last.guard.key(value), fresh[0]) is fresh[0]:
                self.count += 1
                for segment, _ in reversed(route):
                    segment.link(self.consts, self.forms)


def value_of(name: str, guard: Guard, value: Any) -> Any:
    """The contents of a guard's value."""
    if not isinstance(value, Tracer):
        return value
    try:
        if not guard.truth and not guard.use.startswith(AS_TEXT):
            return value._converted(guard.use)
        return value._concrete(guard.error, guard.use)
    except errors.ConcretizationError as error:
        raise type(error)(f"jit({name}): {guard.describe()}: {error}") from None
