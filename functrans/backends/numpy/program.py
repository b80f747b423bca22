"""Generated Python programs: calls of NumPy, and kernels that run tile by tile over planned memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans.backends.base import Backend, Executable
from functrans.backends.numpy.target import SMALL, calling, target, ufunc
from functrans.backends.numpy.tiles import REDUCERS, Tiles, identity
from functrans.backends.numpy.workers import pool, workspace
from functrans.core.evaluate import PythonSource, compile_with
from functrans.core.jaxpr import Atom, Eqn, Jaxpr, Var
from functrans.core.primitive import Trait, array_module
from functrans.kernel.fuse import fuse
from functrans.kernel.ir import Kernel
from functrans.kernel.plan import Plan, plan
from functrans.kernel.text import kernel_text
from functrans.kernel.waves import Node, Wave, waves
from functrans.passes import default
from functrans.util.cache import WeakMemo

_THREADS_KEPT = 8
PARALLEL_BYTES = 1 << 21
"""Kernels that touch less memory than this run on one thread: waking another takes as long."""


def nodes_of(jaxpr: Jaxpr) -> list[Node]:
    """The jaxpr as kernels and calls, independent long calls together."""
    return waves(_fused(jaxpr), target.long)


def _fused(jaxpr: Jaxpr) -> list[Kernel | Eqn]:
    """The jaxpr as kernels and calls; small kernels as the calls that they consist of."""
    if not any([_size(v) >= SMALL for eqn in jaxpr.eqns for v in (*eqn.outs, *eqn.inputs)]):
        return list(jaxpr.eqns)
    nodes: list[Kernel | Eqn] = []
    for node in fuse(jaxpr, target):
        if isinstance(node, Kernel) and (node.points < SMALL or is_one_call(node)):
            nodes.extend(node.eqns)
        else:
            nodes.append(node)
    return nodes


def is_one_call(kernel: Kernel) -> bool:
    """Whether nothing is fused, and NumPy's own call does as well on one thread as tiles would."""
    compute = [e for e in kernel.eqns if e.prim.index is None]
    return len(compute) <= 1 and kernel.points * 8 < PARALLEL_BYTES


def _size(atom: Atom) -> int:
    size = 1
    for extent in atom.aval.shape:
        if not isinstance(extent, int):
            return 0
        size *= extent
    return size


def _shared_outputs(jaxpr: Jaxpr, donated: frozenset[int]) -> list[bool]:
    """Which outputs might share memory with an input, a constant or another output, and so have to be copied."""
    foreign: set[Atom] = {*jaxpr.constvars, *(v for i, v in enumerate(jaxpr.invars) if i not in donated)}
    for eqn in jaxpr.eqns:
        if Trait.VIEW in eqn.prim.traits:
            foreign.update(eqn.outs)
    seen: set[Atom] = set()
    shared = []
    for v in jaxpr.outvars:
        shared.append(isinstance(v, Var) and v.aval.box == "array" and (v in foreign or v in seen))
        seen.add(v)
    return shared


class ProgramSource(PythonSource):
    """The Python text of a program: a line a call, a line a kernel, after the kernels' own functions."""

    def __init__(self, jaxpr: Jaxpr, xp: Any, made: Plan) -> None:
        self.plan = made
        self.launches: list[Launch] = []
        self.inputs_of = frozenset(jaxpr.invars)
        self.frame: list[tuple[str, Var]] = []
        super().__init__(jaxpr, xp, made.nodes)

    def _emit(self, i: int, eqn: Any) -> None:
        if isinstance(eqn, Kernel):
            self._emit_kernel(i, eqn)
            return
        if isinstance(eqn, Wave):
            self._emit_wave(i, eqn)
            return
        over = self._over(i, eqn)
        if over is None:
            super()._emit(i, eqn)
            return
        name = self.names[over]
        function = getattr(np, eqn.prim.scalar)
        args = [self._atom(a) for a in eqn.inputs]
        self.lines.append(f"{name} = {calling(self.bind_global(eqn.prim.scalar, function), function, args, name)}")
        self.names[eqn.outs[0]] = name
        for var in dict.fromkeys(a for a in eqn.inputs if isinstance(a, Var) and a is not over):
            self._release(var, i)

    def _emit_wave(self, i: int, wave: Wave) -> None:
        """Calls that run on several threads: each a function of the wave's operands."""
        names = [self._atom(v) for v in wave.inputs]
        tasks = [
            PythonSource(Jaxpr(wave.inputs, (eqn,), eqn.outs), self.xp).function(f"wave_{i}_{k}")
            for k, eqn in enumerate(wave.eqns)
        ]
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

    def _emit_kernel(self, i: int, kernel: Kernel) -> None:
        tiles = Tiles(kernel, self.bind_global)
        launch = Launch(tiles, kernel)
        self.launches.append(launch)
        given = [self._atom(v) for v in kernel.inputs]
        outs = [self._destination(v, tiles) for v in kernel.outs]
        self.lines.append(f"{self.bind_global(f'run_{kernel.name}', launch)}({', '.join([*given, *outs])})")
        for v, name in zip(kernel.outs, outs, strict=True):
            if v in tiles.partial and tiles.schedule.runs:
                monoid = tiles.partial[v]
                reduce = self.bind_global(f"{monoid}_runs", REDUCERS[monoid].reduce)
                self.lines.append(f"{name} = {reduce}({name}, 0, {self.bind_global(v.aval.dtype.name, v.aval.dtype)})")
            elif not v.aval.shape and v.aval.box == "numpy":
                self.lines.append(f"{name} = {name}[()]")
        for var in dict.fromkeys(kernel.inputs):
            self._release(var, i)

    def _destination(self, v: Var, tiles: Tiles) -> str:
        """The name of the array that a kernel writes a result to."""
        dtype = self.bind_global(v.aval.dtype.name, v.aval.dtype)
        shape = v.aval.shape
        if v in self.plan.offsets and v not in self.plan.over and v not in tiles.partial:
            name = f"b{len(self.frame)}"
            self.frame.append((name, v))
            self.names[v] = name
            return name
        if v in self.plan.over:
            name = self.names[v] = self.names[self.plan.over[v]]
            return name
        name = self._name(v)
        if v in tiles.partial:
            start = self.bind_global("start", identity(tiles.partial[v], v.aval.dtype))
            shape = (tiles.schedule.runs, *shape) if tiles.schedule.runs else shape
            self.lines.append(f"{name} = {self.bind_global('full', np.full)}({shape!r}, {start}, {dtype})")
        else:
            self.lines.append(f"{name} = {self.bind_global('empty', np.empty)}({shape!r}, {dtype})")
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
        kernels = "".join(f"{launch.text}\n\n" for launch in self.launches)
        return f"{kernels}def {name}({params}):\n{body}    return {result}\n"

    def function(self, name: str, result: str | None = None) -> Callable[..., Any]:
        assert result is not None
        scope = dict(self.globals)
        if self.frame:
            scope["frames"] = Frames(self.plan, [v for _, v in self.frame])
        made: dict[str, Any] = {}
        # One namespace for what the text defines, so that a kernel's name never hides an operation's.
        exec(compile(self.program(name, result), f"<functrans {name}>", "exec"), scope, made)
        for launch in self.launches:
            launch.function = made[launch.name]
        function: Callable[..., Any] = made[name]
        return function


class Frames:
    """Arenas of a program with the arrays that lie in them: one for each call that is under way."""

    def __init__(self, made: Plan, variables: Sequence[Var]) -> None:
        self.size = made.arena
        self.specs = [(v.aval.shape, v.aval.dtype, made.offsets[v]) for v in variables]
        self.free: list[tuple[Any, ...]] = []

    def take(self) -> tuple[Any, ...]:
        try:
            return self.free.pop()
        except IndexError:
            arena = np.empty(self.size, np.uint8)
            return tuple([np.ndarray(shape, dtype, arena, at) for shape, dtype, at in self.specs])

    def give(self, frame: tuple[Any, ...]) -> None:
        self.free.append(frame)


class Launch:
    """How a kernel's function is called: with memory to work in, on as many threads as are worth it."""

    def __init__(self, tiles: Tiles, kernel: Kernel) -> None:
        self.name = kernel.name
        self.text = tiles.text
        self.high, self.step = tiles.schedule.units
        touched = sum(v.aval.size * v.aval.dtype.itemsize for v in (*kernel.inputs, *kernel.outs))
        self.parallel = touched >= PARALLEL_BYTES and self.high > self.step
        self.specs = []
        at = 0
        for shape, dtype in tiles.work:
            size = dtype.itemsize
            for extent in shape:
                size *= extent
            self.specs.append((shape, dtype, at))
            at += -(-size // 64) * 64
        self.bytes = at
        self.function: Callable[..., None] | None = None
        self.works: dict[int, tuple[Any, list[Any]]] = {}

    def __call__(self, *arrays: Any) -> None:
        if self.parallel and pool.size() > 1:
            pool.run(lambda low, high: self.piece(low, high, arrays), 0, self.high, self.step)
        else:
            self.piece(0, self.high, arrays)

    def piece(self, low: int, high: int, arrays: Sequence[Any]) -> None:
        """A piece of the work, on this thread."""
        assert self.function is not None
        if not self.specs:
            self.function(low, high, (), *arrays)
            return
        buffer = workspace.take(self.bytes)
        known = self.works.get(id(buffer))
        if known is None or known[0] is not buffer:
            work = [np.ndarray(shape, dtype, buffer, at) for shape, dtype, at in self.specs]
            if len(self.works) >= _THREADS_KEPT:
                self.works.clear()
            known = self.works[id(buffer)] = (buffer, work)
        self.function(low, high, known[1], *arrays)
        workspace.give(buffer)


def generate(
    jaxpr: Jaxpr, xp: Any, single: bool, donated: frozenset[int] = frozenset(), own: bool = True
) -> tuple[ProgramSource, str]:
    """The source of a jaxpr, and the expression of its results; ``single`` gives the one result bare.

    ``own`` copies results that might share memory with something else: what a region's body returns need not.
    """
    nodes = nodes_of(jaxpr) if xp is np else list(jaxpr.eqns)
    made = plan(jaxpr, nodes, [v for i, v in enumerate(jaxpr.invars) if i in donated])
    source = ProgramSource(jaxpr, xp, made)
    outs = [
        f"{name}.copy()" if own and shared else name
        for name, shared in zip(source.outputs, _shared_outputs(jaxpr, donated), strict=True)
    ]
    result = outs[0] if single else f"({', '.join(outs)}{',' if len(outs) == 1 else ''})"
    return source, result


class NumpyBackend(Backend):
    """Executes with NumPy, or with CuPy where the arguments live on a device."""

    name = "numpy"
    stages = ("jaxpr", *default.names, "kernels", "python")

    def __init__(self) -> None:
        super().__init__()
        self._programs: WeakMemo[Callable[..., Any]] = WeakMemo(self._generate)

    def compile(self, jaxpr: Jaxpr) -> Executable:
        def run(*args: Any) -> Any:
            return self.prepare(jaxpr, array_module(args))(*args)

        return run

    def prepare(
        self, jaxpr: Jaxpr, xp: Any = np, single: bool = False, donated: frozenset[int] = frozenset()
    ) -> Callable[..., Any]:
        return self._programs(jaxpr, xp, single, donated)

    def _generate(self, jaxpr: Jaxpr, xp: Any, single: bool, donated: frozenset[int]) -> Callable[..., Any]:
        source, result = generate(default(jaxpr), xp, single, donated)
        return source.function("program", result)

    def as_text(self, jaxpr: Jaxpr, stage: str) -> str:
        if stage == "jaxpr":
            return str(jaxpr)
        program = jaxpr
        for name, program in default.steps(jaxpr):
            if name == stage:
                return str(program)
        if stage == "kernels":
            names: dict[Var, str] = {}
            return "\n".join(_node_text(n, names) for n in nodes_of(program))
        source, result = generate(program, np, single=False)
        return source.program("program", result)


def _node_text(node: Node, names: dict[Var, str]) -> str:
    if isinstance(node, Kernel):
        return kernel_text(node, names)
    if isinstance(node, Wave):
        return f"wave of {', '.join(eqn.prim.name for eqn in node.eqns)}\n"
    return f"call {node.prim.name}\n"


def compile_region(jaxpr: Jaxpr, xp: Any) -> Callable[..., Any]:
    """A body of a loop or a branch as a function; its results may share memory with its operands."""
    source, result = generate(default(jaxpr), xp, single=False, own=False)
    return source.function("program", result)


compile_with(compile_region)
