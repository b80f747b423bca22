"""Kernels as LLVM IR: loops around straight lines of vector operations, every value computed in the outermost loop
that it is constant in.

A kernel becomes ``i32 name(i64 lo, i64 hi, ptr work, ptr arrays...)``: units ``lo`` to ``hi`` of the kernel, given the
array objects themselves. It gives 1, and does nothing, where an array is not C-contiguous and aligned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from functrans.backends.llvm.builder import BITS, Builder, V
from functrans.backends.llvm.nest import Nest, coefficient, identity, without
from functrans.backends.llvm.operations import (
    ROWS,
    computed_in,
    convert,
    lane,
    maximum,
    power,
    signed,
    stored,
)
from functrans.backends.llvm.runtime import DATA, FLAGS, READY
from functrans.core.dtypes import DType
from functrans.core.jaxpr import Var
from functrans.kernel.index import Axis, FloorDiv, Index, Mod
from functrans.kernel.ir import Access, AxisValue, Const, Expr, Kernel, Load, Local, Op, Reduce, Scan, Stage

TURNS = 64
"""Additions in a row, before their sum is added to those of others."""
_NOWHERE = (1 << 62) - 1
_PLACES = np.dtype(np.int64)


class KernelText:
    """The functions of one kernel.

    Args:
        declared, helpers: what the module needs besides; kernels of a module share them.

    Attributes:
        text: the functions.
        work: bytes of memory that a call needs, each thread its own, or for a kernel in chunks all of them the same.
    """

    def __init__(
        self, kernel: Kernel, bits: int, fma: bool, attributes: str, declared: dict[str, str], helpers: dict[str, str]
    ) -> None:
        self.kernel = kernel
        self.nest = Nest(kernel, bits)
        self.name = kernel.name
        self.attributes = attributes
        self.buffers: tuple[Var, ...] = tuple(dict.fromkeys([*kernel.inputs, *kernel.outs]))
        self.pointers = {v: f"%a{n}" for n, v in enumerate(self.buffers)}
        self.fma = fma
        self.declared, self.helpers = declared, helpers
        self.work = self._lay_out()
        self.lane: Axis | None = self.nest.lane
        self.width = self.nest.width
        functions = [self._function(self.name, self._units)]
        if self.nest.chunk is not None:
            if self.nest.in_row:
                self.lane, self.width = None, 1
            functions.append(self._function(f"{self.name}_finish", self._finish))
        self.text = "\n".join(functions)

    @property
    def names(self) -> list[str]:
        """The functions to call."""
        return [self.name, f"{self.name}_finish"] if self.nest.chunk is not None else [self.name]

    def _lay_out(self) -> int:
        """Give scratch values and the results of chunks their places in the work memory."""
        nest = self.nest
        self.places: dict[Any, int] = {}
        at = 0
        if nest.chunk is not None:
            for stage in self._row_reductions():
                self.places[stage] = at
                at += -(-nest.chunks * nest.places * BITS[stored(_result(stage))] // 8 // 64) * 64
            return at
        index, size = nest.row_index()
        copies = 1 if nest.in_row else nest.unroll
        for key in nest.scratch:
            self.places[key] = at
            at += -(-copies * size * BITS[stored(_dtype_of(*key))] // 8 // 64) * 64
        return at

    def _row_reductions(self) -> list[Stage]:
        return [s for _, row in self.nest.levels for s in row if isinstance(s.kind, Reduce)]

    # -- functions ----------------------------------------------------------------------------------------------

    def _function(self, name: str, fill: Callable[[], None]) -> str:
        b = self.b = Builder(self.fma, self.declared, self.helpers)
        self.shared: list[dict[Any, V]] = [{}]
        self.private: list[list[dict[Any, V]]] = [[{}] for _ in range(self.nest.unroll)]
        self.copy = 0
        self.names_of: dict[Axis, str] = {}
        self.base: list[str] = []
        self.mask: V | None = None
        self.start: str = "0"
        fill()
        pointers = ", ".join(f"ptr {p}" for p in self.pointers.values())
        objects = ", ".join(f"ptr %o{n}" for n in range(len(self.buffers)))
        lines = [f"define internal void @{name}_body(i64 %lo, i64 %hi, ptr %work, {pointers}) {self.attributes} {{"]
        lines += ["entry:", *b.lines, "  ret void", "}", ""]
        lines += [f"define i32 @{name}(i64 %lo, i64 %hi, ptr %work, {objects}) {self.attributes} {{", "entry:"]
        good = ""
        for n in range(len(self.buffers)):
            lines += [
                f"  %p{n} = getelementptr i8, ptr %o{n}, i64 {DATA}",
                f"  %a{n} = load ptr, ptr %p{n}",
                f"  %g{n} = getelementptr i8, ptr %o{n}, i64 {FLAGS}",
                f"  %f{n} = load i32, ptr %g{n}",
            ]
            if n:
                lines.append(f"  %h{n} = and i32 {good}, %f{n}")
            good = f"%h{n}" if n else "%f0"
        lines += [
            f"  %both = and i32 {good}, {READY}",
            f"  %ready = icmp eq i32 %both, {READY}",
            "  br i1 %ready, label %run, label %refuse",
            "run:",
            f"  call void @{name}_body(i64 %lo, i64 %hi, ptr %work, {pointers})",
            "  ret i32 0",
            "refuse:",
            "  ret i32 1",
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
                for self.copy in range(copies):
                    self._write(self._partial(stage, self.chunk), self._grid_index(), self._start(stage)[0], _result(stage))
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

    def _whole(self, low: str, high: str, step: int, whole: bool) -> str:
        """The end of the whole steps of a range."""
        if whole:
            return high
        b = self.b
        if not low.startswith("%") and not high.startswith("%"):
            return str(int(low) + (int(high) - int(low)) // step * step)
        length = high if low == "0" else b.emit(f"sub i64 {high}, {low}")
        rest = b.emit(f"and i64 {length}, {step - 1}")
        return b.emit(f"sub i64 {high}, {rest}")

    def _lanes(self, i: str, copies: int, point: Callable[[int], None], end: str | None = None) -> None:
        with self._scope():
            self.base = [self.b.iadd(i, str(u * self.width)) for u in range(copies)]
            self.mask = self._mask(i, end)
            point(copies)
            self.mask = None

    def _mask(self, i: str, end: str | None) -> V | None:
        if end is None:
            return None
        b = self.b
        at = b.add(b.vector(i, "i64", self.width), b.lanes(self.width))
        return b.compare("slt", at, b.vector(end, "i64", self.width))

    @contextmanager
    def _scope(self) -> Iterator[None]:
        """What is computed inside is forgotten afterwards."""
        names, base = dict(self.names_of), self.base
        self.shared.append({})
        for stack in self.private:
            stack.append({})
        yield
        self.shared.pop()
        for stack in self.private:
            stack.pop()
        self.names_of, self.base = names, base

    # -- a grid point, or a vector of them ----------------------------------------------------------------------

    def _point(self, copies: int) -> None:
        nest = self.nest
        for grid_stages, row_stages in nest.levels:
            for stage in grid_stages:
                for self.copy in range(copies):
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
                for self.copy in range(copies):
                    self._store(store.access, self._value(stage.values[store.k]))

    def _pass(self, stages: Sequence[Stage], copies: int) -> None:
        """The stages of a level in one loop over the row."""
        nest = self.nest
        self.pass_stages = stages
        self.copies = copies
        running = [s for s in stages if isinstance(s.kind, (Reduce, Scan))]
        self.sums = any(_result(s).kind == "f" and s.kind.monoid in ("add", "mul") for s in running)  # type: ignore[union-attr]
        if any(isinstance(s.kind, Scan) for s in running):
            self.sums = False
        self.reverse = any(isinstance(s.kind, Scan) and s.kind.reverse for s in running)
        self.running = running
        loops = [a for a in nest.row if a is not self.lane]
        if self.reverse and loops:
            loops = [a for a in loops if a is not running[0].kind.axis] + [running[0].kind.axis]  # type: ignore[union-attr]
        self.slots = nest.unroll if nest.in_row else copies
        starts = self._starts()
        self._hoist_everything()
        results = self._loops(loops, starts)
        for s, stage in enumerate(running):
            if isinstance(stage.kind, Scan):
                continue
            parts = [results[u][s] for u in range(self.slots)]
            if nest.in_row and self.lane is not None:
                total = self._folded(stage, parts)
                self.shared[-1][id(stage)] = total[-1]
            else:
                for u, part in enumerate(parts):
                    self.private[u][-1][id(stage)] = part[-1]
            if nest.chunk is None:
                for store in stage.stores:
                    for self.copy in range(1 if nest.in_row else copies):
                        self._store(store.access, self._result(stage))

    def _result(self, stage: Stage) -> V:
        found = self._known(id(stage))
        assert found is not None
        return found

    def _starts(self) -> list[list[tuple[V, ...]]]:
        return [[self._start(s) for s in self.running] for _ in range(self.slots)]

    def _start(self, stage: Stage) -> tuple[V, ...]:
        dtype = stage.values[0].dtype
        monoid = stage.kind.monoid  # type: ignore[union-attr]
        if monoid in ("and", "or"):
            dtype = np.dtype(bool)
        w = self.width
        if isinstance(stage.kind, Scan) and self.nest.in_row:
            w = 1
        first = self.b.const(identity(monoid, dtype), lane(dtype), w)
        return (first, self.b.const(_NOWHERE, "i64", w)) if monoid.startswith("arg") else (first,)

    def _combine(self, stage: Stage, x: tuple[V, ...], y: tuple[V, ...]) -> tuple[V, ...]:
        """Two partial results of a stage as one."""
        b = self.b
        monoid = stage.kind.monoid  # type: ignore[union-attr]
        dtype = stage.values[0].dtype
        (a, c) = (x[0], y[0])
        if monoid in ("max", "min"):
            return (maximum(b, c, a, dtype, monoid == "min"),)
        if monoid in ("and", "or"):
            return (b.op(monoid, a, c),)
        if not monoid.startswith("arg"):
            if dtype.kind == "b":
                return (b.op("or" if monoid == "add" else "and", a, c),)
            return (b.add(a, c) if monoid == "add" else b.mul(a, c),)
        i, j = x[1], y[1]
        low = monoid == "argmin"
        if dtype.kind == "f":
            better = b.compare("olt" if low else "ogt", c, a)
            lost, new = b.compare("uno", a, a), b.compare("uno", c, c)
            better = b.op("or", better, b.op("and", new, b.op("xor", lost, b.like(1, lost))))
            same = b.op("or", b.compare("oeq", a, c), b.op("and", lost, new))
        else:
            better = b.compare(("s" if signed(dtype) else "u") + ("lt" if low else "gt"), c, a)
            same = b.compare("eq", a, c)
        here = b.compare("ne", j, b.like(_NOWHERE, j))
        empty = b.compare("eq", i, b.like(_NOWHERE, i))
        sooner = b.op("and", same, b.compare("slt", j, i))
        take = b.op("and", here, b.op("or", empty, b.op("or", better, sooner)))
        return (b.select(take, c, a), b.select(take, j, i))

    def _folded(self, stage: Stage, parts: list[tuple[V, ...]]) -> tuple[V, ...]:
        """The results of all copies and lanes as one."""
        while len(parts) > 1:
            parts = [
                self._combine(stage, parts[k], parts[k + 1]) if k + 1 < len(parts) else parts[k]
                for k in range(0, len(parts), 2)
            ]
        total = parts[0]
        while total[0].w > 1:
            half = total[0].w // 2
            low = tuple([self.b.shuffle(v, range(half)) for v in total])
            high = tuple([self.b.shuffle(v, range(half, 2 * half)) for v in total])
            total = self._combine(stage, low, high)
        return total

    # -- the loops of a row -------------------------------------------------------------------------------------

    Slots = list[list[tuple[V, ...]]]

    def _bounds(self, axis: Axis) -> tuple[str, str]:
        chunk = self.nest.chunk
        if chunk is None or chunk[0] is not axis:
            return "0", str(axis.extent)
        if self.nest.abreast:
            return self.some
        low = self.b.imul(self.chunk, chunk[1])
        high = self.b.iadd(low, str(chunk[1]))
        return low, high if axis.extent % chunk[1] == 0 else self.b.imin(high, str(axis.extent))

    def _turns(self, low: str, high: str, step: int, count: int, accs: Slots, turn: Callable[[str, Slots], Slots]) -> Slots:
        """A loop with carried results; long sums are made of short ones."""
        flat = [v for slot in accs for parts in slot for v in parts]

        def shaped(values: Sequence[V]) -> list[list[tuple[V, ...]]]:
            rest = iter(values)
            return [[tuple([next(rest) for _ in parts]) for parts in slot] for slot in accs]

        def flattened(slots: Any) -> list[V]:
            return [v for slot in slots for parts in slot for v in parts]

        if not self.sums or count <= TURNS:
            return shaped(self.b.loop(low, high, step, flat, lambda i, vs: flattened(turn(i, shaped(vs)))))
        inner = TURNS
        while inner * TURNS < count:
            inner *= TURNS

        def outer(i: str, vs: list[V]) -> list[V]:
            end = self.b.iadd(i, str(inner * step))
            end = self.b.imin(end, high)
            part = self._turns(i, end, step, inner, self._starts(), turn)
            return flattened(
                [
                    [self._combine(s, x, y) for s, x, y in zip(self.running, a, p, strict=True)]
                    for a, p in zip(shaped(vs), part, strict=True)
                ]
            )

        return shaped(self.b.loop(low, high, inner * step, flat, outer))

    def _loops(self, loops: Sequence[Axis], accs: Slots) -> Slots:
        if not loops:
            return self._lane_loop(accs) if self.nest.in_row and self.lane is not None else self._body(accs, self.copies)
        axis, *rest = loops
        low, high = self._bounds(axis)
        count = axis.extent
        if self.nest.chunk is not None and self.nest.chunk[0] is axis:
            count = self.nest.abreast or self.nest.chunk[1]

        def turn(i: str, inner: Any) -> Any:
            with self._scope():
                backwards = self.reverse and not rest
                self.names_of[axis] = self.b.emit(f"sub i64 {axis.extent - 1}, {i}") if backwards else i
                self._hoist_everything()
                return self._loops(rest, inner)

        return self._turns(low, high, 1, count, accs, turn)

    def _lane_loop(self, accs: Slots) -> Slots:
        """The innermost loop, along a row's lanes: several vectors at a time, then single ones with a mask."""
        nest, b = self.nest, self.b
        extent, width, together = nest.lane.extent, nest.width, nest.unroll * nest.width
        low, high = self._bounds(nest.lane)
        if any(isinstance(s.kind, Scan) for s in self.running):
            return self._scan_loop(accs)
        cut = nest.chunk is not None and nest.chunk[0] is nest.lane
        main = self._whole(low, high, together, whole=extent % together == 0)
        count = (nest.chunk[1] if cut and nest.chunk else extent) // together

        def several(i: str, inner: Any) -> Any:
            with self._scope():
                self.base = [b.iadd(i, str(u * width)) for u in range(nest.unroll)]
                return self._body(inner, nest.unroll)

        if main != low:
            accs = self._turns(low, main, together, count, accs, several)
        if extent % together:
            full = main if main.startswith("%") else str(int(main) + (int(high) - int(main)) // width * width)

            def single(i: str, inner: Any, end: str | None) -> Any:
                with self._scope():
                    self.base, self.mask = [i], self._mask(i, end)
                    found = self._body([inner[0]], 1)
                    self.mask = None
                    return [found[0], *inner[1:]]

            if full != main:
                accs = self._turns(main, full, width, 1, accs, lambda i, inner: single(i, inner, None))
            if full != high:
                accs = self._turns(full, high, width, 1, accs, lambda i, inner: single(i, inner, high))
        return accs

    def _scan_loop(self, accs: Slots) -> Slots:
        """The lanes of a row in order, forwards or backwards."""
        nest, b = self.nest, self.b
        extent, width = nest.lane.extent, nest.width
        steps = -(-extent // width)

        def turn(i: str, inner: Any) -> Any:
            with self._scope():
                at = b.emit(f"sub i64 {(steps - 1) * width}, {i}") if self.reverse else i
                self.base = [at]
                self.mask = self._mask(at, str(extent)) if extent % width else None
                found = self._body(inner, 1)
                self.mask = None
                return found

        return self._turns("0", str(steps * width), width, steps, accs, turn)

    def _body(self, accs: Slots, copies: int) -> Slots:
        """One point of the row, or a vector of them, for each copy."""
        results = [list(slot) for slot in accs]
        for stage in self.pass_stages:
            for self.copy in range(copies):
                self._compute(self.nest.expressions([stage]))
                if stage in self.running:
                    n = self.running.index(stage)
                    results[self.copy][n] = self._run(stage, accs[self.copy][n])
        for stage in self.pass_stages:
            kind = stage.kind
            if isinstance(kind, Reduce):
                continue
            for self.copy in range(copies):
                for k, value in enumerate(stage.values):
                    v = self._result(stage) if isinstance(kind, Scan) else self._value(value)
                    for store in stage.stores:
                        if store.k == k:
                            self._store(store.access, v)
                    if (stage, k) in self.places:
                        self._keep((stage, k), v)
        self.copy = 0
        return results

    def _run(self, stage: Stage, acc: tuple[V, ...]) -> tuple[V, ...]:
        """A stage's value taken into its result."""
        b = self.b
        (value,) = stage.values
        monoid = stage.kind.monoid  # type: ignore[union-attr]
        v = b.spread(self._value(value), self.width)
        if monoid in ("and", "or"):
            v = convert(b, v, value.dtype, np.dtype(bool))
        in_lanes = self.nest.in_row and self.lane is not None
        if isinstance(stage.kind, Scan) and in_lanes:
            return self._scan_lanes(stage, acc, v)
        if self.mask is not None and in_lanes:
            v = b.select(self.mask, v, self._start(stage)[0])
        if not monoid.startswith("arg"):
            total = self._combine(stage, acc, (v,))
            if isinstance(stage.kind, Scan):
                self.private[self.copy][-1][id(stage)] = total[0]
            return total
        (axis,) = stage.axes
        axis = self.nest.row[0]
        if axis is self.lane:
            at = b.add(b.vector(self.base[self.copy], "i64", self.width), b.lanes(self.width))
            if self.mask is not None:
                at = b.select(self.mask, at, b.like(_NOWHERE, at))
        else:
            at = b.vector(self.names_of[axis], "i64", self.width)
        return self._combine(stage, acc, (v, at))

    def _scan_lanes(self, stage: Stage, acc: tuple[V, ...], v: V) -> tuple[V, ...]:
        """A running result lane after lane, as NumPy accumulates."""
        b = self.b
        if self.mask is not None:
            dtype = stage.values[0].dtype
            v = b.select(self.mask, v, b.like(identity(stage.kind.monoid, dtype), v))  # type: ignore[union-attr]
        total = acc
        out = "poison"
        order = range(self.width - 1, -1, -1) if self.reverse else range(self.width)
        for k in order:
            one = b.shuffle(v, [k])
            total = self._combine(stage, total, (one,))
            out = b.emit(f"insertelement {v.full} {out}, {v.ty} {b.scalar(total[0])}, i64 {k}")
        self.private[self.copy][-1][id(stage)] = V(out, v.ty, v.w)
        return total

    # -- values -------------------------------------------------------------------------------------------------

    def _in_lanes(self, axes: Any) -> bool:
        return self.lane is not None and self.lane in axes

    def _known(self, key: Any) -> V | None:
        for scope in reversed(self.private[self.copy]):
            if key in scope:
                return scope[key]
        for scope in reversed(self.shared):
            if key in scope:
                return scope[key]
        return None

    def _remember(self, key: Any, v: V, in_lanes: bool) -> V:
        (self.private[self.copy] if in_lanes else self.shared)[-1][key] = v
        return v

    def _compute(self, exprs: Sequence[Expr]) -> None:
        for e in exprs:
            if not isinstance(e, Const):
                self._value(e)

    def _hoist_everything(self) -> None:
        """Compute what depends on nothing but the loops that are open."""
        open_axes = set(self.names_of)
        nest = self.nest
        lanes_open = bool(self.base) and self.lane is not None and not nest.in_row
        if lanes_open and self.lane is not None:
            open_axes.add(self.lane)
        stages = [s for grid, row in nest.levels for s in (*grid, *row)]
        if self.base or not stages:
            stages = list(getattr(self, "pass_stages", stages)) if self.base else stages
        for stage in stages:
            for e in nest.expressions([stage]):
                if isinstance(e, (Const, Local)):
                    continue
                if nest.axes(e) <= open_axes and self._args_known(e):
                    for self.copy in range(len(self.base) if self._in_lanes(nest.axes(e)) else 1):
                        self._value(e)
                elif isinstance(e, Load):
                    self._hoist_place(e.access)
            for store in stage.stores:
                self._hoist_place(store.access)
        self.copy = 0

    def _hoist_place(self, access: Access) -> None:
        rest = without(self.nest.flat(access), self.lane)
        if rest.terms and rest.axes() <= set(self.names_of):
            self._scalar_index(rest)

    def _args_known(self, e: Expr) -> bool:
        """Whether what an operation reads has been computed: rows that are not finished have no results yet."""
        if isinstance(e, Op):
            return all(isinstance(a, Const) or self._known(id(_origin(a))) is not None for a in e.args)
        if isinstance(e, Load) and e.access.other is not None:
            other = e.access.other
            return isinstance(other, Const) or self._known(id(_origin(other))) is not None
        return True

    def _value(self, e: Expr) -> V:
        """A value in as many lanes as it needs: one, where it is the same in all of them."""
        if isinstance(e, Local):
            return self._local(e)
        known = self._known(id(e))
        if known is not None:
            return known
        b = self.b
        in_lanes = self._in_lanes(self.nest.axes(e))
        w = self.width if in_lanes else 1
        if isinstance(e, Const):
            return b.const(np.asarray(e.value, e.dtype)[()], lane(e.dtype), w)
        if isinstance(e, Load):
            v = self._load(e.access, w)
        elif isinstance(e, AxisValue):
            v = convert(b, self._index(self.nest.form(e.index), w), _PLACES, e.dtype)
        else:
            assert isinstance(e, Op)
            v = self._operate(e, w)
        return self._remember(id(e), v, in_lanes)

    def _local(self, e: Local) -> V:
        stage = e.stage
        if isinstance(stage.kind, Reduce):
            known = self._known(id(stage))
            if known is None:
                assert self.lane is None
                raise AssertionError(f"{stage.name} is read before it is finished")
            return known
        key = (stage, e.k)
        if key not in self.nest.kept or stage in getattr(self, "pass_stages", ()):
            return self._result(stage) if isinstance(stage.kind, Scan) else self._value(stage.values[e.k])
        known = self._known((id(stage), e.k))
        if known is not None:
            return known
        store = self.nest.kept[key]
        dtype = e.dtype
        if store is not None:
            in_lanes = self._in_lanes(self.nest.flat(store).axes())
            v = self._load(store, self.width if in_lanes else 1)
        else:
            in_lanes = True
            v = self._as_value(self.b.load(stored(dtype), self.width, self._scratch(key)), dtype)
        return self._remember((id(stage), e.k), v, in_lanes)

    def _operand(self, e: Expr, dtype: DType, w: int) -> V:
        b = self.b
        if isinstance(e, Const):
            return b.const(np.asarray(e.value).astype(dtype)[()], lane(dtype), w)
        key = (id(_origin(e)), dtype, w)
        known = self._known(key)
        if known is not None:
            return known
        v = self._value(e)
        cast = convert(b, v, e.dtype, dtype)
        wide = b.spread(cast, w)
        if wide is v:
            return v
        if v.w == 1 and w > 1 and self._place_of(id(_origin(e))) is not None:
            # A value that all lanes share is spread where it is computed only if that is where we are.
            return wide
        return wide

    def _place_of(self, key: Any) -> int | None:
        for n in range(len(self.shared) - 1, -1, -1):
            if key in self.shared[n]:
                return n
        return None

    def _operate(self, op: Op, w: int) -> V:
        b, name = self.b, op.prim.name
        if name == "select":
            c = b.spread(self._value(op.args[0]), w)
            return b.select(c, self._operand(op.args[1], op.dtype, w), self._operand(op.args[2], op.dtype, w))
        if name in ("convert", "stop_gradient"):
            return self._operand(op.args[0], op.dtype, w)
        if name == "pow":
            assert isinstance(op.args[1], Const)
            return power(b, self._operand(op.args[0], op.dtype, w), int(op.args[1].value))
        dtype = op.dtype
        if dtype.kind == "b":
            dtype = computed_in([a.dtype for a in op.args], [_weak(a) for a in op.args])
        return ROWS[name].emit(b, [self._operand(a, dtype, w) for a in op.args], dtype)

    # -- indices ------------------------------------------------------------------------------------------------

    def _scalar_index(self, index: Index) -> str:
        """An index that all lanes share."""
        key = ("index", index)
        known = self._known(key)
        if known is not None:
            return known.ref
        b = self.b
        total = ""
        for atom, c in index.terms:
            if isinstance(atom, Axis):
                term = self.names_of[atom]
            else:
                assert isinstance(atom, (FloorDiv, Mod))
                term = self._divided(atom)
            term = b.imul(term, c)
            total = b.iadd(total, term) if total else term
        total = b.iadd(total, str(index.const)) if total else str(index.const)
        if total.startswith("%"):
            self._remember(key, V(total, "i64", 1), False)
        return total

    def _divided(self, atom: FloorDiv | Mod) -> str:
        b = self.b
        inner = self._scalar_index(atom.index)
        if atom.index.bounds()[0] >= 0:
            q, r = b.divmod(inner, atom.by)
            return q if isinstance(atom, FloorDiv) else r
        r = b.emit(f"srem i64 {inner}, {atom.by}")
        below = b.emit(f"icmp slt i64 {r}, 0")
        r = b.emit(f"select i1 {below}, i64 {b.iadd(r, str(atom.by))}, i64 {r}")
        if isinstance(atom, Mod):
            return r
        return b.emit(f"sdiv i64 {b.emit(f'sub i64 {inner}, {r}')}, {atom.by}")

    def _index(self, index: Index, w: int) -> V:
        """An index in each lane."""
        b = self.b
        if not self._in_lanes(index.axes()):
            return b.vector(self._scalar_index(index), "i64", w) if w == 1 or index.terms else b.const(index.const, "i64", w)
        rest = Index(index.const, tuple([(a, c) for a, c in index.terms if not self._in_lanes(Index(0, ((a, 1),)).axes())]))
        total = b.vector(self._scalar_index(rest), "i64", w)
        for atom, c in index.terms:
            if not self._in_lanes(Index(0, ((atom, 1),)).axes()):
                continue
            if isinstance(atom, Axis):
                term = b.add(b.vector(self.base[self.copy], "i64", w), b.lanes(w))
            else:
                assert isinstance(atom, (FloorDiv, Mod))
                term = self._divided_lanes(atom, w)
            total = b.add(total, b.mul(term, b.like(c, term)) if c != 1 else term)
        return total

    def _divided_lanes(self, atom: FloorDiv | Mod, w: int) -> V:
        b = self.b
        inner = self._index(atom.index, w)
        low, high = atom.index.bounds()
        if -(2**31) <= low and high < 2**31:
            # Past the end of a row, lanes may hold more: what they read is masked.
            inner = b.cast("trunc", inner, "i32")
        by = b.like(atom.by, inner)
        if low >= 0:
            v = b.op("udiv" if isinstance(atom, FloorDiv) else "urem", inner, by)
        else:
            r = b.op("srem", inner, by)
            r = b.select(b.compare("slt", r, b.like(0, r)), b.add(r, by), r)
            v = r if isinstance(atom, Mod) else b.op("sdiv", b.sub(inner, r), by)
        return v if v.ty == "i64" else b.cast("sext", v, "i64")

    # -- memory -------------------------------------------------------------------------------------------------

    def _as_value(self, v: V, dtype: DType) -> V:
        return self.b.compare("ne", v, self.b.like(0, v)) if dtype.kind == "b" else v

    def _as_stored(self, v: V) -> V:
        return self.b.cast("zext", v, "i8") if v.ty == "i1" else v

    def _load(self, access: Access, w: int) -> V:
        dtype = access.buffer.aval.dtype
        mask = self._guard(access, w)
        other = None
        if mask is not None and access.other is not None:
            other = self._as_stored(self._operand(access.other, dtype, w))
        return self._read(self.pointers[access.buffer], self.nest.flat(access), dtype, w, mask, other)

    def _read(
        self, pointer: str, flat: Index, dtype: DType, w: int = 0, mask: V | None = None, other: V | None = None
    ) -> V:
        """What stands at a place in memory, for each of some lanes; as many as there are if it is not said."""
        b = self.b
        ty = stored(dtype)
        w = w or self.width
        if w > 1 and self.mask is not None:
            mask = self.mask if mask is None else b.op("and", mask, self.mask)
        c, plain = coefficient(flat, self.lane) if self.lane is not None else (0, True)
        if not plain:
            v = b.gather(ty, w, pointer, self._index(flat, w), mask, other)
            return self._as_value(v, dtype)
        place = b.address(pointer, ty, self._first(flat, c))
        if c == 1 or w == 1:
            v = b.load(ty, w, place, mask, other)
        else:
            v = b.gather(ty, w, place, self._steps(c, w), mask, other)
        return self._as_value(v, dtype)

    def _first(self, flat: Index, c: int) -> str:
        """The place of the first lane."""
        rest = self._scalar_index(without(flat, self.lane))
        return self.b.iadd(rest, self.b.imul(self.base[self.copy], c)) if c else rest

    def _steps(self, c: int, w: int) -> V:
        return V("<" + ", ".join(f"i64 {c * k}" for k in range(w)) + ">", "i64", w)

    def _guard(self, access: Access, w: int) -> V | None:
        b = self.b
        mask: V | None = None
        for i, low, high in access.guard:
            index = self.nest.form(i)
            first, last = index.bounds()
            if low <= first and last < high:
                continue
            at = self._index(index, w)
            if first < low:
                above = b.compare("sge", at, b.like(low, at))
                mask = above if mask is None else b.op("and", mask, above)
            if last >= high:
                below = b.compare("slt", at, b.like(high, at))
                mask = below if mask is None else b.op("and", mask, below)
        return mask

    def _store(self, access: Access, v: V) -> None:
        self._write(self.pointers[access.buffer], self.nest.flat(access), v, access.buffer.aval.dtype)

    def _write(self, pointer: str, flat: Index, v: V, dtype: DType) -> None:
        b = self.b
        c, plain = coefficient(flat, self.lane) if self.lane is not None else (0, True)
        assert plain
        v = self._as_stored(v)
        place = b.address(pointer, stored(dtype), self._first(flat, c))
        if not c:
            b.store(v, place)
            return
        v = b.spread(v, self.width)
        if c == 1:
            b.store(v, place, self.mask)
        else:
            b.scatter(v, place, self._steps(c, self.width), self.mask)

    def _scratch(self, key: tuple[Stage, int]) -> str:
        """The place of a row's value in scratch memory."""
        b = self.b
        index, size = self.nest.row_index()
        ty = stored(_dtype_of(*key))
        start = self.places[key] * 8 // BITS[ty] + (0 if self.nest.in_row else self.copy * size)
        rest = self._scalar_index(without(index, self.lane))
        if self.nest.in_row:
            rest = b.iadd(rest, self.base[self.copy])
        return b.address("%work", ty, b.iadd(rest, str(start)))

    def _keep(self, key: tuple[Stage, int], v: V) -> None:
        self.b.store(self._as_stored(self.b.spread(v, self.width)), self._scratch(key))

    # -- chunks -------------------------------------------------------------------------------------------------

    def _grid_index(self) -> Index:
        index, size = Index(), 1
        for axis in reversed(self.nest.grid):
            index = index + Index(0, ((axis, size),))
            size *= axis.extent
        return index

    def _partial(self, stage: Stage, chunk: str) -> str:
        b = self.b
        ty = stored(_result(stage))
        at = b.iadd(b.imul(chunk, self.nest.places), str(self.places[stage] * 8 // BITS[ty]))
        return b.address("%work", ty, at)

    def _keep_partial(self, stages: Sequence[Stage], copies: int) -> None:
        for stage in stages:
            if isinstance(stage.kind, Reduce):
                place, dtype = self._grid_index(), _result(stage)
                for self.copy in range(1 if self.nest.in_row else copies):
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
        self.pass_stages: Sequence[Stage] = ()
        self.running = self._row_reductions()
        self.sums, self.reverse, self.slots = True, False, 1
        place = self._grid_index()
        self._scalar_index(without(place, self.lane))

        def combine(c: str, accs: Any) -> Any:
            found = []
            with self._scope():
                for stage, acc in zip(self.running, accs[0], strict=True):
                    part = self._read(self._partial(stage, c), place, _result(stage))
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


def _origin(e: Expr) -> Any:
    """What a value is known by."""
    while isinstance(e, Local):
        if isinstance(e.stage.kind, (Reduce, Scan)):
            return e.stage
        e = e.stage.values[e.k]
    return e


def _weak(e: Expr) -> Any:
    """The Python number that an expression is, or one like it where it is read; else None."""
    if isinstance(e, Const):
        return e.value if type(e.value) in (bool, int, float) else None
    if isinstance(e, Load) and e.access.buffer.aval.box == "python":
        return e.dtype.type(0).item()
    return None


def _dtype_of(stage: Stage, k: int) -> DType:
    return stage.values[k].dtype


def _result(stage: Stage) -> DType:
    """The dtype of what a stage combines to."""
    monoid = stage.kind.monoid  # type: ignore[union-attr]
    if monoid.startswith("arg"):
        return _PLACES
    return np.dtype(bool) if monoid in ("and", "or") else stage.values[0].dtype
