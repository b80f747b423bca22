"""Programs whose kernels are native functions, called from generated Python text."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans.backends import observe
from functrans.backends.host import HostBackend, HostSource
from functrans.backends.host import generate as generate_host
from functrans.backends.llvm import arrays, checking
from functrans.backends.llvm.allocator import allocator, pooled
from functrans.backends.llvm.block import Module
from functrans.backends.llvm.dispatch import Native
from functrans.backends.llvm.emit import KernelText
from functrans.backends.llvm.hosted import bodies_of, hosted
from functrans.backends.llvm.lower import lowered
from functrans.backends.llvm.numbers import bounded, separated
from functrans.backends.llvm.outside import outside_error
from functrans.backends.llvm.runtime import Code, Machine, machine
from functrans.backends.llvm.segment import Call, Segment, segmented
from functrans.backends.llvm.several import written_out
from functrans.backends.llvm.strided import Key, Run, Variants
from functrans.backends.llvm.target import target
from functrans.backends.numpy import backend as numpy_backend
from functrans.backends.numpy.workers import pool, workspace
from functrans.config import config
from functrans.core.avals import shaped
from functrans.core.jaxpr import Eqn, Jaxpr, Var, sizes_in
from functrans.kernel.fuse import fuse
from functrans.kernel.ir import Kernel
from functrans.kernel.plan import Plan
from functrans.kernel.waves import Node, waves
from functrans.passes import Pipeline, current
from functrans.util.cache import WeakMemo


def nodes_of(jaxpr: Jaxpr) -> list[Node]:
    """The jaxpr as kernels and calls, independent long calls together."""
    return waves(fuse(separated(jaxpr), target), target.long)


WORTH = 6
"""Operations of a native part from which a loop in Python that calls it beats NumPy's own calls."""
REFUSED = 1
"""What a kernel gives that cannot read an array in place."""
_NO_ARENA = np.empty(0, np.uint8)


class LlvmSource(HostSource):
    """The text of a program and the module of its kernels."""

    def __init__(self, jaxpr: Jaxpr, xp: Any, made: Plan) -> None:
        self.launches: list[Launch] = []
        self.calls: list[Call] = []
        self.segments = [n for n in made.nodes if isinstance(n, Segment)]
        self.code: Code | None = None
        self.whole = [(n.inputs, n.outs) for n in self.segments] == [(jaxpr.invars, jaxpr.outvars)]
        self.room: Var | None = None
        self.native = Module([e for n in made.nodes for e in ((n,) if isinstance(n, Eqn) else n.eqns)])
        room = max([s.arena for s in self.segments], default=0)
        if room:
            self.room = Var(shaped((room,), np.dtype(np.uint8)))
            made.offsets[self.room] = made.arena
            made.arena += room
        super().__init__(jaxpr, xp, made)

    def emit_kernel(self, kernel: Kernel) -> None:
        if isinstance(kernel, Segment):
            self._emit_segment(kernel)
            return
        host, module = machine(), self.native
        text = KernelText(kernel, host.bits, host.fma, host.attributes, module.declared, module.helpers)
        launch = Launch(text, kernel)
        self.launches.append(launch)
        module.functions.append(launch.text)
        outs = dict.fromkeys(kernel.outs)
        given = {v: self._given(v) for v in kernel.inputs}
        for v in outs:
            given[v] = self.placed(v) or self.allocated(v)
        names = [given[v] for v in text.buffers]
        self.lines.append(f"{self.bind_global(f'run_{kernel.name}', launch)}({', '.join(names)})")
        for v in outs:
            if not v.aval.shape and v.aval.box == "numpy":
                self.lines.append(f"{given[v]} = {given[v]}[()]")

    def _emit_node(self, i: int, eqn: Any) -> None:
        region = isinstance(eqn, Eqn) and eqn.prim.kind in ("loop", "branch", "call") and self.xp is np
        run = hosted(eqn, compiled_body) if region and any(map(_worth, bodies_of(eqn))) else None
        if run is None:
            super()._emit_node(i, eqn)
            return
        sizes = dict.fromkeys(sizes_in(tuple(eqn.params.values())))
        args = ", ".join(map(self._atom, (*sizes, *eqn.inputs)))
        for v in dict.fromkeys(a for a in (*sizes, *eqn.inputs) if isinstance(a, Var)):
            self._release(v, i)
        outs = ", ".join([self._name(v) for v in eqn.outs])
        for v in eqn.outs:
            self._release(v, i)
        self.lines.append(f"[{outs}] = {self.bind_global(eqn.prim.name, run)}({args})")

    def _emit_segment(self, segment: Segment) -> None:
        segment.write(self.native)
        call = Call(segment)
        self.calls.append(call)
        given = [self._given(v) for v in segment.inputs]
        outs = [self.placed(v) or self.allocated(v) for v in segment.outs]
        self.lines.append(
            f"{self.bind_global(f'run_{segment.name}', call)}({', '.join([self._arena(), *given, *outs])})"
        )
        for v, name in zip(segment.outs, outs, strict=True):
            if v.aval.box == "numpy":
                self.lines.append(f"{name} = {name}[()]")
            elif v.aval.box == "python":
                self.lines.append(f"{name} = {name}.item()")

    def _arena(self) -> str:
        if self.room is None:
            return self.bind_global("no_arena", _NO_ARENA)
        return self.names.get(self.room) or self.placed(self.room) or ""

    def _given(self, v: Var) -> str:
        """An input as an array object."""
        name = self._atom(v)
        if v.aval.box == "array":
            return name
        dtype = self.bind_global(v.aval.dtype.name, v.aval.dtype)
        return f"{self.bind_global('asarray', np.asarray)}({name}, {dtype})"

    def allocated(self, v: Var) -> str:
        if not pooled(v.aval.shape, v.aval.dtype):
            return super().allocated(v)
        name = self._name(v)
        new = self.bind_global("empty", allocator().maker(v.aval.shape, v.aval.dtype))
        self.lines.append(f"{name} = {new}()")
        return name

    def scratch(self) -> int:
        return max([launch.scratch for launch in self.launches], default=0)

    def module(self) -> str:
        """The LLVM IR of all segments and kernels."""
        return self.native.text()

    def defined(self, names: dict[str, Any], scope: dict[str, Any]) -> None:
        if self.native.helpers.checks:
            checking.poison(scope)
        if not self.launches and not self.calls:
            return
        exported = [n for launch in self.launches for n in launch.names]
        exported += [n for s in self.segments for n in (s.name, f"{s.name}_direct", f"{s.name}_packed")]
        code = self.code = machine().load(self.module(), exported, self.native.symbols)
        code.held = self.native.held
        for launch in self.launches:
            launch.bind(code)
        for name, value in scope.items():
            if isinstance(value, Launch) and value.direct:
                scope[name] = code.builtin(f"{value.names[0]}_direct", value)
            elif isinstance(value, Call):
                value.code = code
                scope[name] = value.run = code.builtin(value.name, value)

    def function(self, name: str, result: str | None = None) -> Callable[..., Any]:
        function = super().function(name, result)
        if self.native.helpers.checks:
            return checking.checked(function)
        if self.code is not None and len(self.plan.nodes) == 1 and self.segments and self.whole:
            (segment,) = self.segments
            address = self.code.addresses[f"{segment.name}_packed"]
            avals = (segment.in_avals, segment.out_avals)
            native = Native(address, avals, segment.arena, segment.cost, self.code, strided=frozenset(segment.readable))
            function.native = native  # type: ignore[attr-defined]
        return function


def _find_work(body: Jaxpr) -> bool:
    _, nodes = segmented(body, nodes_of(body))
    computing = [len([e for e in n.eqns if e.prim.index is None]) for n in nodes if isinstance(n, Kernel)]
    inner = [b for n in nodes if isinstance(n, Eqn) for b in bodies_of(n)]
    return max(computing, default=0) >= WORTH or any(map(_worth, inner))


def _compile_body(body: Jaxpr, passes: Pipeline) -> Callable[..., Sequence[Any]]:
    """A body as a program, whose results may share memory with its operands."""
    program, nodes = segmented(body, nodes_of(body))
    source, result = generate_host(program, np, nodes, LlvmSource, single=False, own=False)
    return source.function("body", result)


_worth: WeakMemo[bool] = WeakMemo(_find_work)
"""Whether a body that is not native itself has parts that are, and do more than a few calls of NumPy."""
_compiled: WeakMemo[Callable[..., Sequence[Any]]] = WeakMemo(_compile_body)


def compiled_body(body: Jaxpr) -> Callable[..., Sequence[Any]]:
    return _compiled(body, current())


class Launch:
    """How a kernel is called: on as many threads as are worth it, with memory to work in."""

    def __init__(self, text: KernelText, kernel: Kernel) -> None:
        nest = text.nest
        self.text = text.functions()
        self.names = text.names
        self.units = nest.units
        self.work = text.work
        self.chunked = nest.chunk is not None
        self.outs = [n for n, v in enumerate(text.buffers) if v in kernel.outs]
        self.arguments = len(text.buffers)
        self.direct = text.direct
        self.parallel = text.parallel
        self.code: Any = None
        self.kernel, self.buffers = kernel, text.buffers
        self.variants = Variants([n for n in range(self.arguments) if n not in self.outs], self._variant)

    def _variant(self, key: Key) -> Run:
        """The kernel for the strides of some inputs."""
        host = machine()
        module = Module(self.kernel.eqns, {v: s for v, s in zip(self.buffers, key, strict=True) if s is not None})
        needs = (module.declared, module.helpers)
        text = KernelText(self.kernel, host.bits, host.fma, host.attributes, *needs, "", module.layouts)
        launch = Launch(text, self.kernel)
        module.functions.append(launch.text)
        launch.bind(host.load(module.text(), launch.names, module.symbols))
        return launch.run

    def bind(self, code: Any) -> None:
        """Take the linked functions."""
        types: list[Any] = [ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p, *[ctypes.py_object] * self.arguments]
        prototype = ctypes.CFUNCTYPE(ctypes.c_int32, *types)
        self.code = code
        self.function = prototype(code.addresses[self.names[0]])
        self.finish = prototype(code.addresses[self.names[1]]) if self.chunked else None

    def __call__(self, *given: Any) -> None:
        arrays: Sequence[Any] = given
        status = self.run(arrays)
        if status == REFUSED:
            run, arrays = self.variants.find(arrays)
            status = (run or self.run)(arrays)
            for n in self.outs:
                if arrays[n] is not given[n]:
                    given[n][...] = arrays[n]
        if status:
            raise outside_error()

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
        return max(failed, default=0)


class LlvmBackend(HostBackend):
    """Kernels as machine code, and NumPy for what no kernel computes."""

    name = "llvm"
    requires = ("llvmlite",)
    install = "'functrans[native]'"
    after = ("kernels", "llvm", "assembly", "python")

    def unusable(self) -> str | None:
        return arrays.mismatch()

    def nodes(self, jaxpr: Jaxpr) -> list[Node]:
        return nodes_of(lowered(written_out(jaxpr)))

    def prepare(
        self, jaxpr: Jaxpr, xp: Any = np, single: bool = False, donated: frozenset[int] = frozenset()
    ) -> Callable[..., Any]:
        return self._programs(jaxpr, xp, single, donated, current(), config.native_checks)

    def _generate(
        self, jaxpr: Jaxpr, xp: Any, single: bool, donated: frozenset[int], passes: Pipeline, checks: bool = False
    ) -> Callable[..., Any]:
        made = super()._generate(jaxpr, xp, single, donated, passes)
        return bounded(made, jaxpr, lambda program: numpy_backend.prepare(program, xp, single, donated))

    def source(
        self, jaxpr: Jaxpr, xp: Any, single: bool, donated: frozenset[int] = frozenset()
    ) -> tuple[HostSource, str]:
        if xp is not np:
            return generate_host(jaxpr, xp, list(jaxpr.eqns), LlvmSource, single, donated)
        jaxpr = lowered(written_out(jaxpr))
        nodes: list[Node] = nodes_of(jaxpr)
        if not observe.instrumenting.get():
            jaxpr, nodes = segmented(jaxpr, nodes)
        return generate_host(jaxpr, xp, nodes, LlvmSource, single, donated)

    def as_text(self, jaxpr: Jaxpr, stage: str) -> str:
        if stage not in ("llvm", "assembly"):
            return super().as_text(jaxpr, stage)
        source, _ = self.source(current()(jaxpr), np, single=False)
        assert isinstance(source, LlvmSource)
        host: Machine = machine()
        return source.module() if stage == "llvm" else host.assembly(source.module())
