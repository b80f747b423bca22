"""Generated Python programs: calls of NumPy, and kernels that run tile by tile over planned memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans.backends import observe
from functrans.backends.host import HostBackend, HostSource
from functrans.backends.host import generate as generate_host
from functrans.backends.numpy.target import SMALL, target
from functrans.backends.numpy.tiles import REDUCERS, Tiles, identity
from functrans.backends.numpy.workers import pool, workspace
from functrans.core.evaluate import compile_with
from functrans.core.jaxpr import Atom, Eqn, Jaxpr, Var
from functrans.kernel.fuse import fuse
from functrans.kernel.ir import Kernel
from functrans.kernel.plan import Plan
from functrans.kernel.waves import Node, waves
from functrans.passes import current

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


class ProgramSource(HostSource):
    """The Python text of a program: a line a call, a line a kernel, after the kernels' own functions."""

    def __init__(self, jaxpr: Jaxpr, xp: Any, made: Plan) -> None:
        self.launches: list[Launch] = []
        super().__init__(jaxpr, xp, made)

    def emit_kernel(self, kernel: Kernel) -> None:
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

    def _destination(self, v: Var, tiles: Tiles) -> str:
        """The name of the array that a kernel writes a result to."""
        if v not in tiles.partial:
            return self.placed(v) or self.allocated(v)
        name = self._name(v)
        dtype = self.bind_global(v.aval.dtype.name, v.aval.dtype)
        start = self.bind_global("start", identity(tiles.partial[v], v.aval.dtype))
        shape = (tiles.schedule.runs, *v.aval.shape) if tiles.schedule.runs else v.aval.shape
        self.lines.append(f"{name} = {self.bind_global('full', np.full)}({shape!r}, {start}, {dtype})")
        return name

    def scratch(self) -> int:
        return max([n.bytes * (pool.size() if n.parallel else 1) for n in self.launches], default=0)

    def kernels_text(self) -> str:
        return "".join(f"{launch.text}\n\n" for launch in self.launches)

    def defined(self, names: dict[str, Any], scope: dict[str, Any]) -> None:
        for launch in self.launches:
            launch.function = names[launch.name]


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
        self.observed = observe.instrumenting.get()
        self.function: Callable[..., None] | None = None
        self.works: dict[int, tuple[Any, list[Any]]] = {}

    def __call__(self, *arrays: Any) -> None:
        if self.parallel and pool.size() > 1:
            pool.run(lambda low, high: self.piece(low, high, arrays), 0, self.high, self.step)
        else:
            self.piece(0, self.high, arrays)

    def piece(self, low: int, high: int, arrays: Sequence[Any]) -> None:
        """A piece of the work, on this thread."""
        if self.observed:
            start = observe.clock()
            self.work(low, high, arrays)
            observe.report(self.name, start, piece=True)
        else:
            self.work(low, high, arrays)

    def work(self, low: int, high: int, arrays: Sequence[Any]) -> None:
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
) -> tuple[HostSource, str]:
    """The source of a jaxpr, and the expression of its results; see ``host.generate``."""
    nodes = nodes_of(jaxpr) if xp is np else list(jaxpr.eqns)
    return generate_host(jaxpr, xp, nodes, ProgramSource, single, donated, own)


class NumpyBackend(HostBackend):
    """Executes with NumPy, or with CuPy where the arguments live on a device."""

    name = "numpy"

    def nodes(self, jaxpr: Jaxpr) -> list[Node]:
        return nodes_of(jaxpr)

    def source(
        self, jaxpr: Jaxpr, xp: Any, single: bool, donated: frozenset[int] = frozenset()
    ) -> tuple[HostSource, str]:
        return generate(jaxpr, xp, single, donated)


def compile_region(jaxpr: Jaxpr, xp: Any) -> Callable[..., Any]:
    """A body of a loop or a branch as a function; its results may share memory with its operands."""
    source, result = generate(current()(jaxpr), xp, single=False, own=False)
    return source.function("program", result)


compile_with(compile_region)
