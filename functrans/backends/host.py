"""Programs that run on the host: generated Python text that calls NumPy, and kernels in planned memory.

The text is a line a call and a line a kernel. What a kernel is, and how it is launched, is the backend's: it derives
from ``HostSource`` and ``HostBackend``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from functrans.backends import observe
from functrans.backends.base import Backend, Executable, serving
from functrans.backends.numpy.target import calling, ufunc
from functrans.backends.numpy.workers import pool
from functrans.core.evaluate import PythonSource
from functrans.core.jaxpr import Atom, Eqn, Jaxpr, Var
from functrans.core.primitive import Trait, array_module, creating
from functrans.kernel.cost import Cost, Memory, cost_of, memory_of, nbytes, node_cost
from functrans.kernel.ir import Kernel
from functrans.kernel.plan import Plan, plan
from functrans.kernel.text import kernel_text
from functrans.kernel.waves import Node, Wave
from functrans.passes import Pipeline, current
from functrans.util.cache import WeakMemo

_DROPPED_AT_ONCE = 1 << 16
"""Bytes from which a dead array is dropped at once, and not when its name is used again."""


def _shared_outputs(jaxpr: Jaxpr, nodes: Sequence[Node], donated: frozenset[int]) -> list[bool]:
    """Which outputs might share memory with an input, a constant or another output, and so have to be copied."""
    foreign: set[Atom] = {*jaxpr.constvars, *(v for i, v in enumerate(jaxpr.invars) if i not in donated)}
    for node in nodes:
        for eqn in node.eqns if isinstance(node, Wave) else [node] if isinstance(node, Eqn) else []:
            if Trait.VIEW in eqn.prim.traits:
                foreign.update(eqn.outs)
    seen: set[Atom] = set()
    shared = []
    for v in jaxpr.outvars:
        shared.append(isinstance(v, Var) and v.aval.box == "array" and (v in foreign or v in seen))
        seen.add(v)
    return shared


class HostSource(PythonSource):
    """The Python text of a program."""

    def __init__(self, jaxpr: Jaxpr, xp: Any, made: Plan) -> None:
        self.plan = made
        self.inputs_of = frozenset(jaxpr.invars)
        self.frame: list[tuple[str, Var]] = []
        super().__init__(jaxpr, xp, made.nodes)

    def emit_kernel(self, kernel: Kernel) -> None:
        """Write the lines that launch a kernel."""
        raise NotImplementedError

    def scratch(self) -> int:
        """The bytes that kernels work in besides what is planned, on all threads together."""
        return 0

    def kernels_text(self) -> str:
        """The text of the functions that the kernels need."""
        return ""

    def defined(self, names: dict[str, Any], scope: dict[str, Any]) -> None:
        """Take what the text of the kernels defined; what the program's globals stand for may change still."""

    def _emit(self, i: int, eqn: Any) -> None:
        at = len(self.lines)
        self._emit_node(i, eqn)
        if observe.instrumenting.get():
            name, flops, special, touched = node_cost(eqn)
            source = eqn.eqns[-1].source if isinstance(eqn, (Kernel, Wave)) else eqn.source
            mark = observe.Mark(name, touched, flops + special, "" if source is None else str(source))
            self.lines.insert(at, f"started = {self.bind_global('clock', observe.clock)}()")
            self.lines.append(f"{self.bind_global(f'mark_{i}', mark)}(started)")

    def _emit_node(self, i: int, eqn: Any) -> None:
        if isinstance(eqn, Kernel):
            dead = [self.names[a] for a in dict.fromkeys(eqn.inputs) if self._dies(a, i)]
            self.emit_kernel(eqn)
            self._drop(dead, eqn.outs)
            for var in dict.fromkeys(eqn.inputs):
                self._release(var, i)
            return
        if isinstance(eqn, Wave):
            self._emit_wave(i, eqn)
            return
        if eqn.outs and eqn.outs[0] in self.plan.offsets:
            function = _into(eqn, self.xp)
            args = [self._atom(a) for a in eqn.inputs]
            dead = [self.names[a] for a in dict.fromkeys(eqn.inputs) if isinstance(a, Var) and self._dies(a, i)]
            target = self.placed(eqn.outs[0])
            self.lines.append(f"{self.bind_global(eqn.prim.name, function)}({', '.join(args)}, {target})")
            for var in dict.fromkeys(a for a in eqn.inputs if isinstance(a, Var)):
                self._release(var, i)
            self._drop(dead, eqn.outs)
            return
        over = self._over(i, eqn)
        if over is None:
            dead = [self.names[a] for a in dict.fromkeys(eqn.inputs) if isinstance(a, Var) and self._dies(a, i)]
            super()._emit(i, eqn)
            self._drop(dead, eqn.outs)
            return
        name = self.names[over]
        function = getattr(np, eqn.prim.scalar)
        args = self.operands(eqn)
        self.lines.append(f"{name} = {calling(self.bind_global(eqn.prim.scalar, function), function, args, name)}")
        self.names[eqn.outs[0]] = name
        for var in dict.fromkeys(a for a in eqn.inputs if isinstance(a, Var) and a is not over):
            self._release(var, i)

    def _dies(self, atom: Var, i: int) -> bool:
        """Whether a large array that the program made is read here for the last time."""
        if self._last_use.get(atom) != i or atom in self.inputs_of:
            return False
        return nbytes([atom]) >= _DROPPED_AT_ONCE and not self.names[atom].startswith("b")

    def _drop(self, names: Sequence[str], outs: Sequence[Var]) -> None:
        """Give the memory of dead arrays back at once, unless their names have taken up something new."""
        gone = [n for n in names if n not in [self.names[v] for v in outs]]
        if gone:
            self.lines.append(f"del {', '.join(gone)}")

    def _emit_wave(self, i: int, wave: Wave) -> None:
        """Calls that run on several threads: each a function of the wave's operands."""
        names = [self._atom(v) for v in wave.inputs]
        tasks = [
            PythonSource(Jaxpr(wave.inputs, (eqn,), eqn.outs), self.xp).function(f"wave_{i}_{k}")
            for k, eqn in enumerate(wave.eqns)
        ]
        if observe.instrumenting.get():
            tasks = [observe.observed(eqn.prim.name, t) for eqn, t in zip(wave.eqns, tasks, strict=True)]
        bound = ", ".join(
            [self.bind_global(f"{eqn.prim.name}_task", t) for eqn, t in zip(wave.eqns, tasks, strict=True)]
        )
        for v in wave.inputs:
            self._release(v, i)
        outs = ", ".join(f"({', '.join([self._name(v) for v in eqn.outs])},)" for eqn in wave.eqns)
        together = self.bind_global("together", pool.together)
        self.lines.append(f"{outs} = {together}(({bound}), ({', '.join(names)},))")

    def _over(self, i: int, eqn: Eqn) -> Var | None:
        """An operand that dies here and that the result of a ufunc may take the place of."""
        if eqn.params or self.xp is not np or ufunc(eqn.prim.scalar) is None:
            return None
        aval = eqn.outs[0].aval
        if not aval.shape or self._last_use[eqn.outs[0]] == i:
            return None
        made = self.plan
        for a in eqn.inputs:
            if a in made.fresh and made.last.get(a) == i and a.aval == aval and isinstance(a, Var):
                if a not in self.inputs_of and not self.names[a].startswith("b"):
                    return a
        return None

    def placed(self, v: Var) -> str | None:
        """The name of the planned memory of a kernel's result; None where it gets memory of its own."""
        if v in self.plan.over:
            name = self.names[v] = self.names[self.plan.over[v]]
            return name
        if v in self.plan.offsets:
            name = f"b{len(self.frame)}"
            self.frame.append((name, v))
            self.names[v] = name
            return name
        return None

    def allocated(self, v: Var) -> str:
        """The name of new memory for a kernel's result."""
        name = self._name(v)
        dtype = self.bind_global(v.aval.dtype.name, v.aval.dtype)
        self.lines.append(f"{name} = {self.bind_global('empty', self.xp.empty)}({v.aval.shape!r}, {dtype})")
        return name

    def _release(self, var: Var, at: int, name: str | None = None) -> None:
        # The name of a planned array stays its own; one that was written over lives on under its successor.
        name = name or self.names[var]
        if not name.startswith("b") and var not in self.plan.over.values():
            super()._release(var, at, name)

    def program(self, name: str, result: str) -> str:
        """The text of everything."""
        lines = self.lines
        params = ", ".join(self.inputs)
        if self.frame:
            names = ", ".join(n for n, _ in self.frame) + ("," if len(self.frame) == 1 else "")
            lines = ["frame = frames.take()", f"{names} = frame", *lines, f"result = {result}", "frames.give(frame)"]
            result = "result"
        body = "".join(f"    {line}\n" for line in lines)
        return f"{self.kernels_text()}def {name}({params}):\n{body}    return {result}\n"

    def function(self, name: str, result: str | None = None) -> Callable[..., Any]:
        assert result is not None
        scope = dict(self.globals)
        if self.frame:
            scope["frames"] = Frames(self.xp, self.plan, [v for _, v in self.frame])
        made: dict[str, Any] = {}
        # One namespace for what the text defines, so that a kernel's name never hides an operation's.
        exec(compile(self.program(name, result), f"<functrans {name}>", "exec"), scope, made)
        self.defined(made, scope)
        function: Callable[..., Any] = made[name]
        return function


class Frames:
    """Arenas of a program with the arrays that lie in them: one for each call that is under way."""

    def __init__(self, xp: Any, made: Plan, variables: Sequence[Var]) -> None:
        self.xp = xp
        self.size = made.arena
        self.specs = [(v.aval.shape, v.aval.dtype, made.offsets[v]) for v in variables]
        self.free: list[tuple[Any, ...]] = []

    def take(self) -> tuple[Any, ...]:
        try:
            return self.free.pop()
        except IndexError:
            arena = self.xp.empty(self.size + 64, np.uint8)
            start = -arena.ctypes.data % 64 if self.xp is np else 0
            arena = arena[start:]
            return tuple([_placed(arena, *spec) for spec in self.specs])

    def give(self, frame: tuple[Any, ...]) -> None:
        self.free.append(frame)


def _placed(arena: Any, shape: tuple[int, ...], dtype: Any, at: int) -> Any:
    return arena[at : at + prod(shape) * dtype.itemsize].view(dtype).reshape(shape)


def _large(eqn: Eqn) -> bool:
    """Whether a call has one result that is large enough to be planned."""
    return len(eqn.outs) == 1 and not eqn.effects and nbytes(eqn.outs) >= _DROPPED_AT_ONCE


def _into(eqn: Eqn, xp: Any) -> Callable[..., Any] | None:
    """A call that writes its result to an array that it is given."""
    if eqn.prim.into is None or eqn.prim.multiple:
        return None
    return eqn.prim.into(xp, tuple([a.aval for a in eqn.inputs]), **eqn.params)


def generate(
    jaxpr: Jaxpr,
    xp: Any,
    nodes: Sequence[Node],
    source_of: Callable[[Jaxpr, Any, Plan], HostSource],
    single: bool,
    donated: frozenset[int] = frozenset(),
    own: bool = True,
) -> tuple[HostSource, str]:
    """The source of a jaxpr, and the expression of its results; ``single`` gives the one result bare.

    ``own`` copies results that might share memory with something else: what a region's body returns need not.
    """

    def writes(eqn: Eqn) -> bool:
        return _large(eqn) and _into(eqn, xp) is not None

    made = plan(jaxpr, nodes, [v for i, v in enumerate(jaxpr.invars) if i in donated], writes)
    source = source_of(jaxpr, xp, made)
    if own:
        source.refuse_long_integers(jaxpr, nodes)
    outs = [
        f"{name}.copy()" if own and shared else name
        for name, shared in zip(source.outputs, _shared_outputs(jaxpr, nodes, donated), strict=True)
    ]
    result = outs[0] if single else f"({', '.join(outs)}{',' if len(outs) == 1 else ''})"
    return source, result


class HostBackend(Backend):
    """Executes generated Python text."""

    after: tuple[str, ...] = ("kernels", "python")
    """The stages that come after the passes."""

    @property
    def stages(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("jaxpr", *current().names, *self.after)

    def __init__(self) -> None:
        super().__init__()
        self._programs: WeakMemo[Callable[..., Any]] = WeakMemo(self._generate)
        self._observed: WeakMemo[Callable[..., Any]] = WeakMemo(self._generate_observed)

    def nodes(self, jaxpr: Jaxpr) -> list[Node]:
        """The jaxpr as kernels and calls."""
        raise NotImplementedError

    def source(
        self, jaxpr: Jaxpr, xp: Any, single: bool, donated: frozenset[int] = frozenset()
    ) -> tuple[HostSource, str]:
        """The source of a jaxpr that has been through the passes, and the expression of its results."""
        raise NotImplementedError

    def compile(self, jaxpr: Jaxpr) -> Executable:
        def run(*args: Any) -> Any:
            xp = creating(array_module(args))
            return serving(self, xp).prepare(jaxpr, xp, False, frozenset())(*args)

        return run

    def prepare(
        self, jaxpr: Jaxpr, xp: Any = np, single: bool = False, donated: frozenset[int] = frozenset()
    ) -> Callable[..., Any]:
        return self._programs(jaxpr, xp, single, donated, current())

    def _generate(
        self, jaxpr: Jaxpr, xp: Any, single: bool, donated: frozenset[int], passes: Pipeline
    ) -> Callable[..., Any]:
        source, result = self.source(passes(jaxpr), xp, single, donated)
        return source.function("program", result)

    def cost(self, jaxpr: Jaxpr) -> Cost:
        return cost_of(self.nodes(current()(jaxpr)))

    def memory(self, jaxpr: Jaxpr) -> Memory:
        program = current()(jaxpr)
        source, _ = self.source(program, np, single=False)
        return memory_of(program, source.plan, source.scratch())

    def observed(self, jaxpr: Jaxpr, xp: Any, single: bool, donated: frozenset[int]) -> Callable[..., Any]:
        return self._observed(jaxpr, xp, single, donated, current())

    def _generate_observed(
        self, jaxpr: Jaxpr, xp: Any, single: bool, donated: frozenset[int], passes: Pipeline
    ) -> Callable[..., Any]:
        token = observe.instrumenting.set(True)
        try:
            return self._generate(jaxpr, xp, single, donated, passes)
        finally:
            observe.instrumenting.reset(token)

    def as_text(self, jaxpr: Jaxpr, stage: str) -> str:
        if stage == "jaxpr":
            return str(jaxpr)
        program = jaxpr
        for name, program in current().steps(jaxpr):
            if name == stage:
                return str(program)
        if stage == "kernels":
            names: dict[Var, str] = {}
            return "\n".join(_node_text(n, names) for n in self.nodes(program))
        source, result = self.source(program, np, single=False)
        return source.program("program", result)


def _node_text(node: Node, names: dict[Var, str]) -> str:
    if isinstance(node, Kernel):
        return kernel_text(node, names)
    if isinstance(node, Wave):
        return f"wave of {', '.join(eqn.prim.name for eqn in node.eqns)}\n"
    return f"call {node.prim.name}\n"
