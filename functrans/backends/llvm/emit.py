"""Kernels as LLVM IR: loops around straight lines of vector operations, every value computed in the outermost loop
that it is constant in.

A kernel becomes ``i32 name(i64 lo, i64 hi, ptr work, ptr arrays...)``: units ``lo`` to ``hi`` of the kernel, given the
array objects themselves. It gives 1, and does nothing, where one is not C-contiguous, aligned and of native byte order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from functrans.backends.llvm.builder import BITS, Builder, V
from functrans.backends.llvm.nest import Nest, without
from functrans.backends.llvm.operations import stored
from functrans.backends.llvm.rows import Rows
from functrans.backends.llvm.runtime import DATA, DTYPE, FLAGS, ORDER, READY, SWAPPED
from functrans.backends.llvm.values import dtype_of, result_dtype
from functrans.core.jaxpr import Var
from functrans.kernel.index import Axis, Index
from functrans.kernel.ir import Kernel, Reduce, Stage

PARALLEL_COST = 1 << 20
"""Simple instructions times elements, below which a kernel runs on one thread: waking another takes as long."""
STACK = 1 << 15
"""Bytes of working memory that a kernel takes from the stack at most."""


class KernelText(Rows):
    """The functions of one kernel.

    Args:
        declared, helpers: what the module needs besides; kernels of a module share them.

    Attributes:
        text: the functions.
        cost: simple instructions of a call, roughly.
        direct: whether Python calls the kernel itself, without a choice of threads.
        work: bytes of memory that a call needs, each thread its own, or for a kernel in chunks all of them the same.
    """

    def __init__(
        self, kernel: Kernel, bits: int, fma: bool, attributes: str, declared: dict[str, str], helpers: dict[str, str]
    ) -> None:
        self.kernel = kernel
        self.name = kernel.name
        self.attributes = attributes
        self.buffers: tuple[Var, ...] = tuple(dict.fromkeys([*kernel.inputs, *kernel.outs]))
        super().__init__(Nest(kernel, bits), {v: f"%a{n}" for n, v in enumerate(self.buffers)})
        self.fma = fma
        self.declared, self.helpers = declared, helpers
        self.work = self._lay_out()
        functions = [self._function(self.name, self._units)]
        if self.nest.chunk is not None:
            if self.nest.in_row:
                self.lane, self.width = None, 1
            functions.append(self._function(f"{self.name}_finish", self._finish))
        self.cost = kernel.points * (self.nest.cost() + len(self.buffers))
        self.direct = self.cost < PARALLEL_COST and self.work <= STACK
        if self.direct:
            functions.append(self._direct())
        self.text = "\n".join(functions)

    @property
    def names(self) -> list[str]:
        """The functions to call."""
        finish = [f"{self.name}_finish"] if self.nest.chunk is not None else []
        return [self.name, *finish, *([f"{self.name}_direct"] if self.direct else [])]

    def _lay_out(self) -> int:
        """Give scratch values and the results of chunks their places in the work memory."""
        nest = self.nest
        at = 0
        if nest.chunk is not None:
            for stage in self._row_reductions():
                self.places[stage] = at
                at += -(-nest.chunks * nest.places * BITS[stored(result_dtype(stage))] // 8 // 64) * 64
            return at
        _, size = nest.row_index()
        copies = 1 if nest.in_row else nest.unroll
        for key in nest.scratch:
            self.places[key] = at
            at += -(-copies * size * BITS[stored(dtype_of(*key))] // 8 // 64) * 64
        return at

    def _row_reductions(self) -> list[Stage]:
        return [s for _, row in self.nest.levels for s in row if isinstance(s.kind, Reduce)]

    # -- functions ----------------------------------------------------------------------------------------------

    def _function(self, name: str, fill: Callable[[], None]) -> str:
        b = Builder(self.fma, self.declared, self.helpers)
        self.begin(b)
        fill()
        pointers = ", ".join(f"ptr {p}" for p in self.pointers.values())
        objects = ", ".join(f"ptr %o{n}" for n in range(len(self.buffers)))
        lines = [f"define internal void @{name}_body(i64 %lo, i64 %hi, ptr %work, {pointers}) {self.attributes} {{"]
        lines += ["entry:", *b.lines, "  ret void", "}", ""]
        lines += [f"define i32 @{name}(i64 %lo, i64 %hi, ptr %work, {objects}) {self.attributes} {{", "entry:"]
        lines += [
            *self._unpacked(),
            f"  call void @{name}_body(i64 %lo, i64 %hi, ptr %work, {pointers})",
            "  ret i32 0",
            "refuse:",
            "  ret i32 1",
            "}",
            "",
        ]
        return "\n".join(lines)

    def _unpacked(self) -> list[str]:
        """The addresses of the arrays' elements, if all arrays can be read in place."""
        lines = []
        good = ""
        foreign = []
        for n, v in enumerate(self.buffers):
            if v in self.kernel.inputs and v.aval.dtype.itemsize > 1:
                lines += [
                    f"  %dp{n} = getelementptr i8, ptr %o{n}, i64 {DTYPE}",
                    f"  %d{n} = load ptr, ptr %dp{n}",
                    f"  %bp{n} = getelementptr i8, ptr %d{n}, i64 {ORDER}",
                    f"  %b{n} = load i8, ptr %bp{n}",
                    f"  %s{n} = icmp ne i8 %b{n}, {ord(SWAPPED)}",
                ]
                foreign.append(f"%s{n}")
            lines += [
                f"  %p{n} = getelementptr i8, ptr %o{n}, i64 {DATA}",
                f"  %a{n} = load ptr, ptr %p{n}",
                f"  %g{n} = getelementptr i8, ptr %o{n}, i64 {FLAGS}",
                f"  %f{n} = load i32, ptr %g{n}",
            ]
            if n:
                lines.append(f"  %h{n} = and i32 {good}, %f{n}")
            good = f"%h{n}" if n else "%f0"
        return [
            *lines,
            f"  %both = and i32 {good}, {READY}",
            f"  %ready{len(foreign)} = icmp eq i32 %both, {READY}",
            *[f"  %ready{n} = and i1 %ready{n + 1}, {s}" for n, s in reversed(list(enumerate(foreign)))],
            "  br i1 %ready0, label %run, label %refuse",
            "run:",
        ]

    def _direct(self) -> str:
        """The whole kernel as a function of Python's own calling convention, for one thread that keeps the lock."""
        pointers = ", ".join(f"ptr {p}" for p in self.pointers.values())
        self.declared["direct"] = (
            "@_Py_NoneStruct = external global i8\n"
            "declare void @Py_IncRef(ptr)\ndeclare ptr @PyObject_Vectorcall(ptr, ptr, i64, ptr)"
        )
        lines = [f"define ptr @{self.name}_direct(ptr %self, ptr %args, i64 %nargs) {self.attributes} {{", "entry:"]
        lines.append(f"  %work = alloca [{max(self.work, 1)} x i8], align 64")
        for n in range(len(self.buffers)):
            lines += [f"  %q{n} = getelementptr ptr, ptr %args, i64 {n}", f"  %o{n} = load ptr, ptr %q{n}"]
        lines += [
            *self._unpacked(),
            f"  call void @{self.name}_body(i64 0, i64 {self.nest.units}, ptr %work, {pointers})",
        ]
        if self.nest.chunk is not None:
            lines.append(f"  call void @{self.name}_finish_body(i64 0, i64 1, ptr %work, {pointers})")
        lines += [
            "  call void @Py_IncRef(ptr @_Py_NoneStruct)",
            "  ret ptr @_Py_NoneStruct",
            "refuse:",
            "  %r = call ptr @PyObject_Vectorcall(ptr %self, ptr %args, i64 %nargs, ptr null)",
            "  ret ptr %r",
            "}",
            "",
        ]
        return "\n".join(lines)

    def _units(self) -> None:
        self.b.loop("%lo", "%hi", 1, [], self._unit)

    def _unit(self, unit: str, _: list[V]) -> list[V]:
        b, nest = self.b, self.nest
        rest = unit
        with self._scope():
            block = "0"
            if nest.blocks > 1:
                rest, block = b.divmod(rest, nest.blocks)
            outer = list(nest.outer)
            for n, axis in enumerate(reversed(outer)):
                if n == len(outer) - 1 and nest.chunk is None:
                    self.names_of[axis] = rest
                else:
                    rest, self.names_of[axis] = b.divmod(rest, axis.extent)
            self.chunk = rest if nest.chunk is not None else "0"
            if nest.in_row:
                self.base = ["0"] * nest.unroll
                self._point(1)
            elif nest.abreast:
                self._few_abreast(block)
            else:
                self._blocks(block, self._point)
        return []

    def _few_abreast(self, block: str) -> None:
        """A chunk as runs of a few places for all lanes, added up in memory."""
        nest, b = self.nest, self.b
        assert nest.chunk is not None
        axis, length = nest.chunk
        stages = self._row_reductions()

        def clear(copies: int) -> None:
            for stage in stages:
                for copy in range(copies):
                    self.copy = copy
                    self._write(
                        self._partial(stage, self.chunk), self._grid_index(), self._start(stage)[0], result_dtype(stage)
                    )
            self.copy = 0

        self._blocks(block, clear)
        low = b.imul(self.chunk, length)
        end = b.iadd(low, str(length))
        end = end if axis.extent % length == 0 else b.imin(end, str(axis.extent))

        def some(i: str, _: list[V]) -> list[V]:
            with self._scope():
                last = b.iadd(i, str(nest.abreast))
                whole = axis.extent % nest.abreast == 0 and length % nest.abreast == 0
                self.some = (i, last if whole else b.imin(last, end))
                self._blocks(block, self._point)
            return []

        b.loop(low, end, nest.abreast, [], some)

    def _blocks(self, block: str, point: Callable[[int], None]) -> None:
        """The places of the lane axis in a unit: several vectors at a time, then single ones with a mask."""
        b, nest = self.b, self.nest
        extent, together = nest.lane.extent, nest.unroll * nest.width
        low = b.imul(block, nest.block)
        whole = extent % nest.block == 0
        high = b.iadd(low, str(nest.block)) if whole else b.imin(b.iadd(low, str(nest.block)), str(extent))
        if nest.blocks == 1:
            low, high = "0", str(extent)
        main = self._whole(low, high, together, whole=extent % together == 0)
        self._hoist_everything()

        def several(i: str, _: list[V]) -> list[V]:
            self._lanes(i, nest.unroll, point)
            return []

        if main != low:
            b.loop(low, main, together, [], several)
        if extent % together:

            def single(i: str, _: list[V]) -> list[V]:
                self._lanes(i, 1, point, high)
                return []

            b.loop(main, high, nest.width, [], single)

    def _lanes(self, i: str, copies: int, point: Callable[[int], None], end: str | None = None) -> None:
        with self._scope():
            self.base = [self.b.iadd(i, str(u * self.width)) for u in range(copies)]
            self.mask = self._mask(i, end)
            point(copies)
            self.mask = None

    # -- a grid point, or a vector of them ----------------------------------------------------------------------

    def _point(self, copies: int) -> None:
        nest = self.nest
        for grid_stages, row_stages in nest.levels:
            for stage in grid_stages:
                for copy in range(copies):
                    self.copy = copy
                    self._compute(nest.expressions([stage]))
                self._store_all([stage], copies)
            if row_stages:
                self._pass(row_stages, copies)
                if nest.chunk is not None:
                    self._keep_partial(row_stages, copies)
                    return

    def _store_all(self, stages: Sequence[Stage], copies: int) -> None:
        # Loads of all copies come before the stores: the code generator cannot tell that they do not meet.
        for stage in stages:
            for store in stage.stores:
                for copy in range(copies):
                    self.copy = copy
                    self._store(store.access, self._value(stage.values[store.k]))

    # -- chunks -------------------------------------------------------------------------------------------------

    def _grid_index(self) -> Index:
        index, size = Index(), 1
        for axis in reversed(self.nest.grid):
            index = index + Index(0, ((axis, size),))
            size *= axis.extent
        return index

    def _partial(self, stage: Stage, chunk: str) -> str:
        b = self.b
        ty = stored(result_dtype(stage))
        at = b.iadd(b.imul(chunk, self.nest.places), str(self.places[stage] * 8 // BITS[ty]))
        return b.address("%work", ty, at)

    def _keep_partial(self, stages: Sequence[Stage], copies: int) -> None:
        for stage in stages:
            if isinstance(stage.kind, Reduce):
                place, dtype = self._grid_index(), result_dtype(stage)
                for copy in range(1 if self.nest.in_row else copies):
                    self.copy = copy
                    pointer, part = self._partial(stage, self.chunk), self._result(stage)
                    if self.nest.abreast:
                        (part,) = self._combine(stage, (self._read(pointer, place, dtype),), (part,))
                    self._write(pointer, place, part, dtype)
        self.copy = 0

    def _finish(self) -> None:
        """Combine the results of the chunks at each grid point, and go on from there."""
        nest = self.nest
        if nest.in_row:
            self._finish_grid(nest.grid)
            return
        self._finish_grid(nest.outer)

    def _finish_grid(self, axes: Sequence[Axis]) -> None:
        b = self.b
        if axes:

            def turn(i: str, _: list[V]) -> list[V]:
                with self._scope():
                    self.names_of[axes[0]] = i
                    self._finish_grid(axes[1:])
                return []

            b.loop("0", str(axes[0].extent), 1, [], turn)
            return
        if self.lane is None:
            self._finish_point()
            return
        extent = self.lane.extent
        whole = extent // self.width * self.width

        def vector(i: str, end: str | None) -> list[V]:
            with self._scope():
                self.base, self.mask = [i], self._mask(i, end)
                self._finish_point()
                self.mask = None
            return []

        if whole:
            b.loop("0", str(whole), self.width, [], lambda i, _: vector(i, None))
        if whole < extent:
            vector(str(whole), str(extent))

    def _finish_point(self) -> None:
        nest = self.nest
        self.running = self._row_reductions()
        self.sums, self.reverse, self.slots = True, False, 1
        place = self._grid_index()
        self._scalar_index(without(place, self.lane))

        def combine(c: str, accs: Any) -> Any:
            found = []
            with self._scope():
                for stage, acc in zip(self.running, accs[0], strict=True):
                    part = self._read(self._partial(stage, c), place, result_dtype(stage))
                    found.append(self._combine(stage, acc, (part,)))
            return [found]

        results = self._turns("0", str(nest.chunks), 1, nest.chunks, self._starts(), combine)
        for stage, result in zip(self.running, results[0], strict=True):
            self._remember(id(stage), result[0], self.lane is not None)
            for store in stage.stores:
                self._store(store.access, result[0])
        for n, (_, row_stages) in enumerate(nest.levels):
            if any(s in self.running for s in row_stages):
                for stage in [s for later, _ in nest.levels[n + 1 :] for s in later]:
                    self._compute(nest.expressions([stage]))
                    self._store_all([stage], 1)
