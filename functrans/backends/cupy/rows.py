"""Kernels with rows: a warp or a block for each, or eight threads down each of 32 neighbouring columns.

Few long rows are cut into pieces, whose results a second function combines.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from functrans.backends.cupy.operations import COMBINED, converted, held, is_half, kind, number, rounded
from functrans.backends.cupy.values import PACK_BYTES, Launch, Values
from functrans.core.dtypes import DType
from functrans.core.jaxpr import Var
from functrans.kernel.index import Axis
from functrans.kernel.ir import Expr, Kernel, Load, Local, Reduce, Stage, ordered

WARP = 32
THREADS = 256
ONE_WARP = 1 << 12
"""Bytes of a row up to which a warp does."""
ONE_BLOCK = 1 << 12
"""Elements of a row up to which a block has the usual number of threads."""
REGISTERS = 64
"""32-bit words of a row that a thread keeps between the stages of a kernel."""
DOWN = 8
"""Threads that run down one column."""
BLOCKS = 264
"""Blocks that keep a large device busy."""
PIECE = 1 << 12
"""Elements of a piece of a row that is cut, at least."""
PIECES = 256


class Rows(Values):
    """The functions of a kernel with rows.

    Attributes:
        reducer: what runs along a row together: ``"warp"``, ``"block"`` or ``"columns"``.
        across: how many threads that are.
        thread: which of them this one is.
        pieces: how many a row is cut into.
        work: bytes of work memory.
    """

    def __init__(self, kernel: Kernel, shared: frozenset[Var]) -> None:
        super().__init__(kernel, shared)
        self.work = 0

    def _rows(self) -> list[str]:
        kernel, places = self.kernel, self.places
        self.length = math.prod([a.extent for a in places.row])
        self.lane = places.grid[-1] if places.grid and kernel.order[-1] in kernel.grid else None
        self.points = math.prod([a.extent for a in places.grid])
        if self.lane is not None:
            self.across, self.reducer = DOWN, "columns"
            blocks = -(-self.lane.extent // WARP) * (self.points // self.lane.extent)
        elif self.length * max(v.aval.dtype.itemsize for v in self.buffers) <= ONE_WARP:
            self.across, self.reducer = WARP, "warp"
            blocks = -(-self.points // (THREADS // WARP))
        else:
            times = 1 if self.length <= ONE_BLOCK else 2 if self.length <= 2 * ONE_BLOCK else 4
            self.across, self.reducer = times * THREADS, "block"
            blocks = self.points
        pieces = 1
        if self._one_pass() and blocks < BLOCKS and self.length >= 2 * PIECE:
            pieces = min(-(-self.length // PIECE), PIECES)
        if pieces == 1:
            return [self._row_function(kernel.name, blocks, 1)]
        stages = [s for s in self.levels[0][1] if isinstance(s.kind, Reduce)]
        self.partial: dict[Stage, int] = {}
        for stage in stages:
            self.partial[stage] = self.work
            self.work += -(-self.points * pieces * self._size(stage) // PACK_BYTES) * PACK_BYTES
        return [self._row_function(f"{kernel.name}_pieces", blocks, pieces), self._finish(pieces)]

    def _one_pass(self) -> bool:
        return not self.kept and sum(bool(row) for _, row in self.levels) == 1 and not self.levels[0][0]

    def _size(self, stage: Stage) -> int:
        return 2 * PACK_BYTES if _places(stage) else max(stage.values[0].dtype.itemsize, 4)

    def _type(self, stage: Stage) -> str:
        if stage.kind.monoid in ("and", "or"):  # type: ignore[union-attr]
            return "bool"
        ty = held(stage.values[0].dtype)
        return f"ft_placed<{ty} >" if _places(stage) else ty

    def _start(self, stage: Stage) -> str:
        monoid, dtype = stage.kind.monoid, stage.values[0].dtype  # type: ignore[union-attr]
        if _places(stage):
            return f"ft_place<{held(dtype)}>({number(_identity(monoid, dtype), dtype)}, 0x7fffffffffffffffll)"
        if monoid in ("and", "or"):
            return "true" if monoid == "and" else "false"
        return number(_identity(monoid, dtype), dtype)

    def _combine(self, stage: Stage, value: str) -> str:
        name = self.accumulators[stage]
        if _places(stage):
            assert len(stage.axes) == 1
            value = f"ft_place<{held(stage.values[0].dtype)}>({value}, {self.element})"
        elif stage.kind.monoid in ("and", "or"):  # type: ignore[union-attr]
            value = converted(value, stage.values[0].dtype, np.dtype(bool))
        return f"{name} = {COMBINED[stage.kind.monoid]}::of({name}, {value});"  # type: ignore[union-attr]

    def _row_function(self, name: str, blocks: int, pieces: int) -> str:
        """A row for each warp or block, or 32 columns for each block; ``pieces`` cuts them."""
        self._begin()
        places = self.places
        self.pieces = pieces
        live = self._find_point()
        for level, (grid, row) in enumerate(self.levels):
            self.level = level
            for stage in grid:
                for v in stage.values:
                    self._value(v)
            if grid and any(s.stores for s in grid):
                with self._block(f"if ({' && '.join(filter(None, [f'{self.thread} == 0', live]))})"):
                    self._run(grid)
            if row:
                self._pass(row, live, level)
            if pieces > 1:
                break
        if self.reducer == "warp":
            grid_size, block = (blocks, 1, 1), (WARP, THREADS // WARP, 1)
        elif self.reducer == "block":
            grid_size, block = (blocks, pieces, 1), (self.across, 1, 1)
        else:
            grid_size, block = (blocks, pieces, 1), (WARP, DOWN, 1)
        work = ["u8* work"] if pieces > 1 else []
        assert places.row
        return self._function(name, Launch(name, grid_size, block, False), work)

    def _find_point(self) -> str:
        """Which row the thread works on; the condition that it exists, if that is not sure."""
        grid = self.places.grid
        if self.reducer == "columns":
            assert self.lane is not None
            self.thread = "threadIdx.y"
            tiles = -(-self.lane.extent // WARP)
            tile = self._let(self.whole, self._remaining("blockIdx.x", tiles))
            outer = self._let(self.whole, self._quotient("blockIdx.x", tiles))
            self._unpack(outer, grid[:-1])
            lane = self.axis_names[self.lane] = self._let(self.whole, f"{tile} * {WARP} + (int)threadIdx.x")
            self.point = self._let(self.whole, f"{outer} * {self.lane.extent} + {lane}")
            return "" if self.lane.extent % WARP == 0 else f"{lane} < {self.lane.extent}"
        self.thread = "threadIdx.x"
        if self.reducer == "warp":
            each = THREADS // WARP
            self.point = self._let(self.whole, f"({self.whole})blockIdx.x * {each} + (int)threadIdx.y")
            if self.points % each:
                self._line(f"if ({self.point} >= {self.points}) return;")
        else:
            self.point = self._let(self.whole, "(i32)blockIdx.x" if self.whole == "i32" else "(i64)blockIdx.x")
        self._unpack(self.point, grid)
        return ""

    def _pass(self, stages: Sequence[Stage], live: str, level: int) -> None:
        """Run along the row once."""
        row = self.places.row
        reduces = [s for s in stages if isinstance(s.kind, Reduce)]
        inner = row[0] if len(row) == 1 and self.lane is None else None
        count = self._pack(inner, stages)
        if inner is not None and self.kept:
            count = min(count, self._pack(inner, [s for _, st in self.levels for s in st]))
        length = self.length if self.pieces == 1 else -(-self.length // self.pieces)
        step = self.across * count
        if self.pieces > 1:
            length = -(-length // step) * step
        turns = -(-length // step)
        self._choose_registers(turns, count, level)
        self.accumulators = {}
        for stage in reduces:
            self.accumulators[stage] = f"acc{self.count}"
            self._line(f"{self._type(stage)} acc{self.count} = {self._start(stage)};")
            self.count += 1
        self._hoist(stages, live)
        if self.in_registers:
            self._line("#pragma unroll")
        with self._block(f"for (int k = 0; k < {turns}; ++k)"):
            first = f"(k * {self.across} + (int){self.thread})"
            if count > 1:
                first = f"{first} * {count}"
            if self.pieces > 1:
                first = f"({self.whole})blockIdx.y * {length} + {first}"
            self.element = self._let(self.whole, first)
            exact = self.length % step == 0 and (self.pieces == 1 or self.length % length == 0)
            tests = [live] if live else []
            if not exact:
                tests.append(f"{self.element} < {self.length}")
            if tests:
                with self._block(f"if ({' && '.join(tests)})"):
                    self._at(stages, inner, count)
            else:
                self._at(stages, inner, count)
        for stage in reduces:
            self._reduced(stage, live)

    def _at(self, stages: Sequence[Stage], inner: Axis | None, count: int) -> None:
        start = self.element
        self._unpack(start, self.places.row)
        if inner is None or count == 1:
            if self.in_registers:
                self._line("const int v = 0;")
            self._run(stages)
        else:
            self.element = f"({start} + v)"
            self._neighbours(stages, inner, count, start)

    def _choose_registers(self, turns: int, count: int, level: int) -> None:
        """What stays in registers of what later stages read of the row: all, or what comes from memory, or nothing."""
        if level == 0:
            room = REGISTERS if self.across <= THREADS else REGISTERS // 2
            if self._words(turns, count) > room:
                loaded = {id(e) for e in self.places.exprs if isinstance(e, Load)}
                self.kept = {key: kept for key, kept in self.kept.items() if key in loaded}
            self.in_registers = bool(self.kept) and self._words(turns, count) <= room
            if self.in_registers:
                for name, dtype in self.kept.values():
                    self._line(f"{held(dtype)} {name}[{turns}][{count}];")

    def _words(self, turns: int, count: int) -> int:
        return sum([-(-max(dtype.itemsize, 4) // 4) for _, dtype in self.kept.values()]) * turns * count

    def _hoist(self, stages: Sequence[Stage], live: str) -> None:
        """Compute before the loop what is the same all along the row."""
        row = set(self.places.row)
        for e in self._wanted(stages):
            if self._depends(e) & row or (live and self._reads(e)):
                continue
            if all(not isinstance(x, Local) or self._ready(x) for x in ordered([e])):
                self._value(e)

    def _reads(self, e: Expr) -> bool:
        return any(isinstance(x, Load) and self.lane in self._depends(x) for x in ordered([e]))

    def _ready(self, e: Local) -> bool:
        return isinstance(e.stage.kind, Reduce) and self._known(id(e.stage)) is not None

    def _reduced(self, stage: Stage, live: str) -> None:
        """Combine what the threads of a row have."""
        name, op, ty = self.accumulators[stage], COMBINED[stage.kind.monoid], self._type(stage)  # type: ignore[union-attr]
        if self.reducer == "warp":
            text = f"ft_reduce_warp<{op}>({name})"
        else:
            size = self.across // WARP if self.reducer == "block" else WARP * DOWN
            self._line(f"__shared__ {ty} shared{self.count}[{size}];")
            text = f"ft_reduce_{self.reducer}<{op}>({name}, shared{self.count})"
        whole = self._let(ty, text)
        if self.pieces > 1:
            place = f"(({ty}*)(work + {self.partial[stage]}))[{self.point} * {self.pieces} + (int)blockIdx.y]"
            with self._block(f"if ({' && '.join(filter(None, [f'{self.thread} == 0', live]))})"):
                self._line(f"{place} = {whole};")
            return
        self._finished(stage, whole)
        if stage.stores:
            with self._block(f"if ({' && '.join(filter(None, [f'{self.thread} == 0', live]))})"):
                self._store(stage)

    def _finished(self, stage: Stage, whole: str) -> None:
        dtype = stage.values[0].dtype
        if _places(stage):
            whole = self._let("i64", f"{whole}.place")
        elif is_half(dtype) and stage.kind.monoid in ("add", "mul"):  # type: ignore[union-attr]
            whole = self._let("f32", rounded(whole, dtype))
        self.known[0][id(stage)] = whole

    def _finish(self, pieces: int) -> str:
        """A warp for each row, which combines the pieces' results and goes on with what follows."""
        self._begin()
        self.pieces, self.reducer, self.lane, self.across = 1, "warp", None, WARP
        self._find_point()
        for stage, at in self.partial.items():
            ty = self._type(stage)
            name = f"acc{self.count}"
            self.count += 1
            self._line(f"{ty} {name} = {self._start(stage)};")
            with self._block(f"for (int k = threadIdx.x; k < {pieces}; k += {WARP})"):
                place = f"((const {ty}*)(work + {at}))[{self.point} * {pieces} + k]"
                self._line(f"{name} = {COMBINED[stage.kind.monoid]}::of({name}, {place});")  # type: ignore[union-attr]
            self.accumulators = {stage: name}
            self._reduced(stage, "")
        for level, (grid, _) in enumerate(self.levels):
            self.level = level
            for stage in grid:
                for v in stage.values:
                    self._value(v)
            if any(s.stores for s in grid):
                with self._block(f"if ({self.thread} == 0)"):
                    self._run(grid)
        name = f"{self.kernel.name}_finish"
        blocks = -(-self.points // (THREADS // WARP))
        return self._function(name, Launch(name, (blocks, 1, 1), (WARP, THREADS // WARP, 1), False), ["u8* work"])


def _places(stage: Stage) -> bool:
    """Whether a stage looks for the place of an extremum."""
    return isinstance(stage.kind, Reduce) and stage.kind.monoid.startswith("arg")


def _identity(monoid: str, dtype: DType) -> Any:
    """What changes nothing when it is combined; sums of floats start from the negative zero."""
    if monoid == "add":
        return {"f": -0.0, "c": complex(-0.0, -0.0)}.get(kind(dtype), 0)
    if monoid == "mul":
        return 1
    if kind(dtype) == "f":
        return -math.inf if monoid.endswith("max") else math.inf
    if dtype.kind == "b":
        return monoid.endswith("min")
    return np.iinfo(dtype).min if monoid.endswith("max") else np.iinfo(dtype).max
