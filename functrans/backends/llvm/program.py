"""Programs whose kernels are native functions, called from generated Python text."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from functrans.backends.host import HostBackend, HostSource
from functrans.backends.host import generate as generate_host
from functrans.backends.llvm import emit
from functrans.backends.llvm.emit import KernelText
from functrans.backends.llvm.runtime import Machine, machine
from functrans.backends.llvm.target import target
from functrans.backends.numpy.workers import pool, workspace
from functrans.core.jaxpr import Jaxpr, Var
from functrans.kernel.fuse import fuse
from functrans.kernel.ir import Kernel
from functrans.kernel.plan import Plan
from functrans.kernel.waves import Node, waves
from functrans.passes import current

SINGLE_POINTS = 1 << 12
"""Points below which one operation alone stays a call of NumPy: there is nothing to fuse."""


def nodes_of(jaxpr: Jaxpr) -> list[Node]:
    """The jaxpr as kernels and calls, independent long calls together."""
    nodes: list[Any] = []
    for node in fuse(jaxpr, target):
        if isinstance(node, Kernel) and is_one_call(node):
            nodes.extend(node.eqns)
        else:
            nodes.append(node)
    return waves(nodes, target.long)


def is_one_call(kernel: Kernel) -> bool:
    """Whether a kernel does what one call of NumPy does, on little."""
    compute = [e for e in kernel.eqns if e.prim.index is None]
    return len(compute) == 0 or (len(compute) == 1 and kernel.points < SINGLE_POINTS)


class LlvmSource(HostSource):
    """The text of a program and the module of its kernels."""

    def __init__(self, jaxpr: Jaxpr, xp: Any, made: Plan) -> None:
        self.launches: list[Launch] = []
        self.declared: dict[str, str] = {}
        self.helpers: dict[str, str] = {}
        self.kernels = sum(isinstance(n, Kernel) for n in made.nodes)
        super().__init__(jaxpr, xp, made)

    def emit_kernel(self, kernel: Kernel) -> None:
        host = machine()
        text = KernelText(kernel, host.bits, host.fma, host.attributes, self.declared, self.helpers)
        launch = Launch(text, kernel)
        self.launches.append(launch)
        outs = dict.fromkeys(kernel.outs)
        given = {v: self._given(v) for v in kernel.inputs}
        for v in outs:
            given[v] = self.placed(v) or self.allocated(v)
        names = [given[v] for v in text.buffers]
        self.lines.append(f"{self.bind_global(f'run_{kernel.name}', launch)}({', '.join(names)})")
        for v in outs:
            if not v.aval.shape and v.aval.box == "numpy":
                self.lines.append(f"{given[v]} = {given[v]}[()]")

    def _given(self, v: Var) -> str:
        """An input as an array object."""
        name = self._atom(v)
        if v.aval.box == "array":
            return name
        dtype = self.bind_global(v.aval.dtype.name, v.aval.dtype)
        return f"{self.bind_global('asarray', np.asarray)}({name}, {dtype})"

    def scratch(self) -> int:
        return max([launch.scratch for launch in self.launches], default=0)

    def module(self) -> str:
        """The LLVM IR of all kernels."""
        parts = [*self.declared.values(), "", *self.helpers.values(), *[launch.text for launch in self.launches]]
        return "\n".join(parts) + "\n"

    def defined(self, names: dict[str, Any], scope: dict[str, Any]) -> None:
        if not self.launches:
            return
        code = machine().load(self.module(), [n for launch in self.launches for n in launch.names])
        for launch in self.launches:
            launch.bind(code)
        for name, value in scope.items():
            if isinstance(value, Launch) and value.direct:
                scope[name] = code.builtin(f"{value.names[0]}_direct", value)


class Launch:
    """How a kernel is called: on as many threads as are worth it, with memory to work in."""

    def __init__(self, text: KernelText, kernel: Kernel) -> None:
        nest = text.nest
        self.text = text.text
        self.names = text.names
        self.units = nest.units
        self.work = text.work
        self.chunked = nest.chunk is not None
        self.outs = [n for n, v in enumerate(text.buffers) if v in kernel.outs]
        self.arguments = len(text.buffers)
        self.direct = text.direct
        self.parallel = text.cost >= emit.PARALLEL_COST and self.units > 1
        self.code: Any = None

    def bind(self, code: Any) -> None:
        """Take the linked functions."""
        types: list[Any] = [ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p, *[ctypes.py_object] * self.arguments]
        prototype = ctypes.CFUNCTYPE(ctypes.c_int32, *types)
        self.code = code
        self.function = prototype(code.addresses[self.names[0]])
        self.finish = prototype(code.addresses[self.names[1]]) if self.chunked else None

    def __call__(self, *arrays: Any) -> None:
        if self.run(arrays):
            self._run_copies(arrays)

    @property
    def scratch(self) -> int:
        """The bytes of working memory on all threads together, those on the stack not counted."""
        if self.direct:
            return 0
        return self.work if self.chunked or not self.parallel else self.work * min(pool.size(), self.units)

    def run(self, arrays: Sequence[Any]) -> int:
        """Run on arrays as they are; 1 where some of them cannot be read in place, and nothing was done."""
        if not self.work:
            if self.parallel and pool.size() > 1:
                return self._share(arrays, None)
            return int(self.function(0, self.units, None, *arrays))
        if not self.chunked and self.parallel and pool.size() > 1:
            return self._share(arrays, self.work)
        buffer = workspace.take(self.work)
        try:
            address = buffer.ctypes.data
            if not self.chunked:
                return int(self.function(0, self.units, address, *arrays))
            if self.parallel and pool.size() > 1:
                failed = self._share(arrays, None, address)
            else:
                failed = int(self.function(0, self.units, address, *arrays))
            assert self.finish is not None
            return failed or int(self.finish(0, 1, address, *arrays))
        finally:
            workspace.give(buffer)

    def _share(self, arrays: Sequence[Any], work: int | None, address: int | None = None) -> int:
        failed: list[int] = []

        def piece(low: int, high: int) -> None:
            if work is None:
                result = self.function(low, high, address, *arrays)
            else:
                buffer = workspace.take(work)
                result = self.function(low, high, buffer.ctypes.data, *arrays)
                workspace.give(buffer)
            if result:
                failed.append(result)

        pool.run(piece, 0, self.units, 1)
        return len(failed)

    def _run_copies(self, arrays: Sequence[Any]) -> None:
        """The same on contiguous copies, of which results are copied back."""
        copies = [a if _in_place(a) else np.array(a, a.dtype.newbyteorder("="), order="C") for a in arrays]
        if self.run(copies):
            raise AssertionError("a contiguous copy was refused")
        for n in self.outs:
            if copies[n] is not arrays[n]:
                arrays[n][...] = copies[n]


def _in_place(array: Any) -> bool:
    """Whether a kernel reads an array where it lies."""
    return bool(array.flags.c_contiguous and array.flags.aligned and array.dtype.isnative)


class LlvmBackend(HostBackend):
    """Kernels as machine code, and NumPy for what no kernel computes."""

    name = "llvm"
    requires = ("llvmlite",)
    install = "'functrans[native]'"
    after = ("kernels", "llvm", "assembly", "python")

    def nodes(self, jaxpr: Jaxpr) -> list[Node]:
        return nodes_of(jaxpr)

    def source(
        self, jaxpr: Jaxpr, xp: Any, single: bool, donated: frozenset[int] = frozenset()
    ) -> tuple[HostSource, str]:
        nodes = nodes_of(jaxpr) if xp is np else list(jaxpr.eqns)
        return generate_host(jaxpr, xp, nodes, LlvmSource, single, donated)

    def as_text(self, jaxpr: Jaxpr, stage: str) -> str:
        if stage not in ("llvm", "assembly"):
            return super().as_text(jaxpr, stage)
        source, _ = self.source(current()(jaxpr), np, single=False)
        assert isinstance(source, LlvmSource)
        host: Machine = machine()
        return source.module() if stage == "llvm" else host.assembly(source.module())
