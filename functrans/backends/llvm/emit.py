"""Kernels as LLVM IR: loops around straight lines of vector operations, every value computed in the outermost loop
that it is constant in.

A kernel becomes ``i32 name(i64 lo, i64 hi, ptr work, ptr arrays...)``: units ``lo`` to ``hi`` of the kernel, given the
array objects themselves. It gives 1, and does nothing, where one is not C-contiguous, aligned and of native byte order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Any

from functrans.backends.llvm.builder import BITS, Builder, V
from functrans.backends.llvm.checking import new_builder
from functrans.backends.llvm.computed import FAILED
from functrans.backends.llvm.nest import Nest, without
from functrans.backends.llvm.operations import stored
from functrans.backends.llvm.outside import LOCK, RAISE
from functrans.backends.llvm.runtime import DATA, DTYPE, FLAGS, ORDER, READY, SWAPPED
from functrans.backends.llvm.tiling import Tiled
from functrans.backends.llvm.values import dtype_of, finished, result_dtype
from functrans.core.jaxpr import Var
from functrans.kernel.index import Axis, Index
from functrans.kernel.ir import Kernel, Reduce, Stage, values_in
from functrans.kernel.places import Layouts

PARALLEL_COST = 1 << 20
"""Simple instructions times elements, below which a kernel runs on one thread: waking another takes as long."""
STACK = 1 << 15
"""Bytes of working memory that a kernel takes from the stack at most."""


class KernelText(Tiled):
    """The functions of one kernel.

    Args:
        declared, helpers: what the module needs besides; kernels of a module share them.
        layouts: the strides of the inputs that are not C-contiguous, which callers have to look at themselves.

    Attributes:
        checked: whether it fails where an index is out of bounds.
        cost: simple instructions of a call, roughly.
        direct: whether Python calls the kernel itself, without a choice of threads.
        work: bytes of memory that a call needs, each thread its own, or for a kernel in chunks all of them the same.
    """

    def __init__(
        self,
        kernel: Kernel,
        bits: int,
        fma: bool,
        attributes: str,
        declared: dict[str, str],
        helpers: dict[str, str],
        name: str = "",
        layouts: Layouts = MappingProxyType({}),
    ) -> None:
        self.kernel = kernel
        self.name = name or kernel.name
        self.attributes = attributes
        self.buffers: tuple[Var, ...] = tuple(dict.fromkeys([*kernel.inputs, *kernel.outs]))
        super().__init__(Nest(kernel, bits, layouts), {v: f"%a{n}" for n, v in enumerate(self.buffers)})
        self.fma = fma
        self.declared, self.helpers = declared, helpers
        self.work = self._lay_out()
        self.checked = any(v.mode == "raise" for e in self.nest.exprs for v in values_in(e))
        self.cost = kernel.points * (self.nest.cost() + len(self.buffers))
        self.direct = self.cost < PARALLEL_COST and self.work <= STACK

    @property
    def parallel(self) -> bool:
        """Whether a call is worth several threads."""
        return self.cost >= PARALLEL_COST and self.nest.units > 1

    def bodies(self) -> str:
        """The functions of the elements' addresses: ``i32 name_body(i64 lo, i64 hi, ptr work, ptr elements...)``.

        They give 0, or ``FAILED`` where an index is out of bounds, which is noted down then.
        """
        functions = [self._internal(self.name, self._units)]
        if self.nest.chunk is not None:
            if self.nest.in_row:
                self.lane, self.width = None, 1
            functions.append(self._internal(f"{self.name}_finish", self._finish))
        return "\n".join(functions)

    def functions(self) -> str:
        """All functions of the kernel."""
        called = [self._called(name) for name in self.names[: 1 + (self.nest.chunk is not None)]]
        return "\n".join([self.bodies(), *called, *([self._direct()] if self.direct else [])])

    def inline(self, b: Builder, pointers: Sequence[str], work: str) -> None:
        """Write the whole kernel, which has no chunks, into another function.

        Where an index is out of bounds, it goes to the block ``failed``.
        """
        self.pointers = dict(zip(self.buffers, pointers, strict=True))
        self.memory = work
        self.begin(b)
        if self.nest.units == 1:
            self._unit("0", [])
        else:
            b.loop("0", str(self.nest.units), 1, [], self._unit)

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

    def _internal(self, name: str, fill: Callable[[], None]) -> str:
        b = new_builder(self.fma, self.declared, self.helpers)
        plain = self.pointers
        self.begin(b)
        b.step = self.kernel
        self.pointers = {v: b.bound(p, v.aval.size * v.aval.dtype.itemsize, "an array") for v, p in plain.items()}
        self.memory = b.bound("%work", self.work, "working memory")
        fill()
        self.pointers = plain
        pointers = ", ".join(f"ptr {p}" for p in self.pointers.values())
        lines = [f"define internal i32 @{name}_body(i64 %lo, i64 %hi, ptr %work, {pointers}) {self.attributes} {{"]
        failed = [f"{self.failed}:", f"  ret i32 {FAILED}"] if self.checked else []
        return "\n".join([*lines, "entry:", *b.lines, "  ret i32 0", *failed, "}", ""])

    def _called(self, name: str) -> str:
        """A function of units and array objects."""
        pointers = ", ".join(f"ptr {p}" for p in self.pointers.values())
        objects = ", ".join(f"ptr %o{n}" for n in range(len(self.buffers)))
        lines = [f"define i32 @{name}(i64 %lo, i64 %hi, ptr %work, {objects}) {self.attributes} {{", "entry:"]
        lines += [
            *self._unpacked(),
            f"  %status = call i32 @{name}_body(i64 %lo, i64 %hi, ptr %work, {pointers})",
            "  ret i32 %status",
            "refuse:",
            "  ret i32 1",
            "}",
            "",
        ]
        return "\n".join(lines)

    def _unpacked(self) -> list[str]:
        """The addresses of the arrays' elements, if all arrays can be read in place."""
        lines = []
        good = "-1"
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
            lines += [f"  %p{n} = getelementptr i8, ptr %o{n}, i64 {DATA}", f"  %a{n} = load ptr, ptr %p{n}"]
            if v in self.nest.layouts:
                continue
            lines += [
                f"  %g{n} = getelementptr i8, ptr %o{n}, i64 {FLAGS}",
                f"  %f{n} = load i32, ptr %g{n}",
                f"  %h{n} = and i32 {good}, %f{n}",
            ]
            good = f"%h{n}"
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
            f"  %status = call i32 @{self.name}_body(i64 0, i64 {self.nest.units}, ptr %work, {pointers})",
        ]
        if self.checked:
            self.helpers["raise_outside"] = RAISE
            self.declared["PyGILState"] = LOCK
            lines += ["  %fails = icmp ne i32 %status, 0", "  br i1 %fails, label %failed, label %good", "good:"]
        if self.nest.chunk is not None:
            lines.append(f"  %finish = call i32 @{self.name}_finish_body(i64 0, i64 1, ptr %work, {pointers})")
        lines += [
            "  call void @Py_IncRef(ptr @_Py_NoneStruct)",
            "  ret ptr @_Py_NoneStruct",
            "refuse:",
            "  %r = call ptr @PyObject_Vectorcall(ptr %self, ptr %args, i64 %nargs, ptr null)",
            "  ret ptr %r",
            *(["failed:", "  call void @functrans_raise_outside()", "  ret ptr null"] if self.checked else []),
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
            tile = "0"
            if nest.tiles > 1:
                rest, tile = b.divmod(rest, nest.tiles)
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
            elif nest.tile is not None:
                self._tiles(tile, block)
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
        return b.address(self.memory, ty, at)

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
            # A loop of one turn, so that the mask is no constant, of which code generation makes wrong stores.
            b.loop(str(whole), str(extent), self.width, [], lambda i, _: vector(i, str(extent)))

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
            whole = self._remember(id(stage), finished(self.b, stage, result[0]), self.lane is not None)
            for store in stage.stores:
                self._store(store.access, whole)
        for n, (_, row_stages) in enumerate(nest.levels):
            if any(s in self.running for s in row_stages):
                for stage in [s for later, _ in nest.levels[n + 1 :] for s in later]:
                    self._compute(nest.expressions([stage]))
                    self._store_all([stage], 1)
