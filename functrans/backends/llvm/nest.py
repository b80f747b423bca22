"""How a kernel is looped: axes merged where memory allows it, one of them in vector lanes, the work cut into units.

A unit is a grid point, or a block of lanes of the innermost grid axis. Rows that few grid points have, and that nothing
reads twice, are cut into chunks, whose results a second function combines. Units and chunks depend on the shape
alone, so that the number of threads never shows in a result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import MappingProxyType

import numpy as np

from functrans.backends.llvm.casts import computing, lane_bytes
from functrans.backends.llvm.complexes import NOTHING
from functrans.backends.llvm.operations import ROWS
from functrans.kernel.index import Axis, Index
from functrans.kernel.ir import (
    Access,
    AxisValue,
    Expr,
    Kernel,
    Load,
    Local,
    Op,
    Reduce,
    Scan,
    Stage,
    ordered,
    values_in,
)
from functrans.kernel.places import Layouts, Places

BLOCK = 1 << 14
"""Elements of a unit of a kernel without rows."""
FEW_UNITS = 16
CHUNK = 1 << 14
CHUNKS = 256
ABREAST = 8
"""Rows that are read side by side where lanes are apart from them, so that memory is read almost in order."""
COLUMNS = 1 << 10
UNROLLED_COST = 16
TILE_WIDTH = 16
TILE_LANES = 64
TILE_LENGTH = 256


class Nest(Places):
    """The loops of one kernel.

    Attributes:
        grid, row: the axes after merging, the outermost first.
        lane: the axis that vector lanes run along; None where there are no vectors.
        width: how many lanes there are.
        unroll: how many vectors are computed side by side.
        levels: the stages that run at each grid point, ``(grid stages, row stages)`` by turns.
        kept: values of rows that a later level reads, by the store they are read back from, or None for scratch memory.
        block: places of the lane axis in one unit, where the lane is one of the grid.
        chunk: the row axis that is cut into chunks, with the length of one; None where rows are whole.
        abreast: how many places of a chunk are combined for all lanes of a unit before the next ones.
        units: the number of units.
        tile: an axis that some arrays are contiguous along, which lanes are not; see ``tiling``.
        tile_length: how many places of it belong to a unit.
    """

    def __init__(self, kernel: Kernel, bits: int, layouts: Layouts = MappingProxyType({})) -> None:
        super().__init__(kernel, layouts)
        self.kernel = kernel
        self._axes: dict[int, frozenset[Axis]] = {}
        self._flat = {id(a): self._forms[self.flattened(a)] for a in self.accesses}
        self._levels()
        self.in_row = True
        for e in self.exprs if any(values_in(e) for e in self.exprs) else ():  # so that no recursion is deep
            self.axes(e)
        self._choose_lane(bits)
        self._axes.clear()  # which lanes there are was not known
        self._cut()

    # -- memory -------------------------------------------------------------------------------------------------

    def flat(self, access: Access) -> Index:
        """The place of an access in its buffer, as one index over the merged axes."""
        found = self._flat.get(id(access))
        return self._forms[self.flattened(access)] if found is None else found

    def depends(self, index: Index) -> frozenset[Axis]:
        """The merged axes that an index depends on, by way of computed integers too."""
        found = super().depends(index)
        return found.union(*[self.axes(value.expr) for value in index.values()])

    # -- order --------------------------------------------------------------------------------------------------

    def _levels(self) -> None:
        """The level of each stage: what reads a finished row comes one later."""
        level: dict[Stage, int] = {}
        directions: dict[int, bool] = {}
        for stage in self.kernel.stages:
            at = 0
            for e in ordered(stage.values):
                if isinstance(e, Local):
                    finished = isinstance(e.stage.kind, Reduce) and bool(e.stage.axes)
                    at = max(at, level[e.stage] + finished)
            if isinstance(stage.kind, Scan):
                while directions.get(at, stage.kind.reverse) != stage.kind.reverse:
                    at += 1
                directions[at] = stage.kind.reverse
            level[stage] = at
        self.levels: list[tuple[list[Stage], list[Stage]]] = [([], []) for _ in range(max(level.values()) + 1)]
        self.level = level
        for stage in self.kernel.stages:
            self.levels[level[stage]][bool(stage.axes)].append(stage)
        self.kept: dict[tuple[Stage, int], Access | None] = {}
        for stage in self.kernel.stages:
            for e in ordered(stage.values):
                if isinstance(e, Local) and e.stage.axes and not isinstance(e.stage.kind, Reduce):
                    if level[e.stage] != level[stage]:
                        stores = [s.access for s in e.stage.stores if s.k == e.k]
                        self.kept[e.stage, e.k] = stores[0] if stores else None

    def expressions(self, stages: Sequence[Stage]) -> list[Expr]:
        """What some stages compute, operands first."""
        return ordered([v for stage in stages for v in stage.values])

    # -- lanes --------------------------------------------------------------------------------------------------

    def _choose_lane(self, bits: int) -> None:
        widest = max([lane_bytes(e.dtype) for e in self.exprs if not _only_counts(e)], default=8)
        outs = [s.access.buffer for stage in self.kernel.stages for s in stage.stores]
        widest = max([widest, *[lane_bytes(v.aval.dtype) for v in outs]])
        full = min(bits // 8 // widest, 64)
        best = math.inf
        reduces = sum(isinstance(s.kind, (Reduce, Scan)) for s in self.kernel.stages)
        for axis in (*self.grid, *self.row):
            cost = 0.0
            for access in self.accesses:
                c, plain = self.coefficient(self.flat(access), axis)
                guard = any(axis in self.depends(self.form(i)) for i, _, _ in access.guard)
                cost += 0.5 * guard + (0.7 * full + 1 if not plain or c not in (0, 1) else 1.0 if c else 0.3)
            w = min(full, 1 << (axis.extent - 1).bit_length())
            steps = -(-axis.extent // w)
            cost = (cost + 1) * steps / axis.extent
            if axis in self.row:
                cost += reduces * math.log2(w) / axis.extent
                cost += sum(isinstance(s.kind, Scan) for s in self.kernel.stages) * 1.5
            if cost <= best * (1 + 1e-9):
                best, self.lane, self.width = cost, axis, w
        if not any(isinstance(e, Op) for e in self.exprs) and any(
            self.lane in self.depends(Index(0, ((v, 1),))) for e in self.exprs for v in values_in(e)
        ):
            self.width = 1  # nothing is computed: single loads are as fast as a gather
        self.in_row = self.lane in self.row

    def axes(self, expr: Expr) -> frozenset[Axis]:
        """The merged axes that a value depends on."""
        found = self._axes.get(id(expr))
        if found is not None:
            return found
        found = frozenset()
        if isinstance(expr, Load):
            found = self.depends(self.flat(expr.access))
            for value in values_in(expr):  # also of an axis of one place, which has no index but has bounds
                found |= self.axes(value.expr)
            for i, _, _ in expr.access.guard:
                found |= self.depends(self.form(i))
            if expr.access.other is not None:
                found |= self.axes(expr.access.other)
        elif isinstance(expr, AxisValue):
            found = self.depends(self.form(expr.index))
        elif isinstance(expr, Op):
            found = found.union(*[self.axes(a) for a in expr.args])
        elif isinstance(expr, Local):
            found = self.axes(expr.stage.values[expr.k])
            if isinstance(expr.stage.kind, Reduce):
                found = frozenset(found - set(self.row)) | (frozenset() if self.in_row else {self.lane})
            elif isinstance(expr.stage.kind, Scan) or (expr.stage, expr.k) in self.kept:
                found |= set(self.row)
        self._axes[id(expr)] = found
        return found

    def _choose_tile(self) -> None:
        """The axis that most of what is read across the lanes is contiguous along."""
        self.tile: Axis | None = None
        self.tile_length = self.tiles = 1
        votes: dict[Axis, int] = {}
        width = min(self.width, TILE_WIDTH)
        if self.row or self.lane.extent < width or width < 2:
            return
        for e in self.exprs:
            if not isinstance(e, Load) or e.access.guard:
                continue
            flat = self.flat(e.access)
            c, plain = self.coefficient(flat, self.lane)
            for a in self.grid if plain and c not in (-1, 0, 1) else ():
                if a.extent >= width and self.coefficient(flat, a) == (1, True):
                    votes[a] = votes.get(a, 0) + 1
        if votes:
            self.tile = max(votes, key=votes.__getitem__)
            self.width = self.unroll = width
            self.tile_length = min(TILE_LENGTH, self.tile.extent)
            self.tiles = -(-self.tile.extent // self.tile_length)
            self.block = min(TILE_LANES, self.lane.extent)
            self.blocks = -(-self.lane.extent // self.block)

    # -- units --------------------------------------------------------------------------------------------------

    def _cut(self) -> None:
        for e in self.exprs:  # from the leaves up, so that no recursion is deep
            self.axes(e)
        cost = self.cost()
        scans = any(isinstance(s.kind, Scan) for s in self.kernel.stages)
        places = any(isinstance(s.kind, Reduce) and s.kind.monoid.startswith("arg") for s in self.kernel.stages)
        unroll = 1 if scans or cost > 2 * UNROLLED_COST else 2 if cost > UNROLLED_COST else 4
        if self.kept and not self.in_row:
            unroll = min(unroll, 2)
        while unroll > 1 and self.lane.extent < 2 * unroll * self.width:
            unroll //= 2
        self.unroll = unroll
        together = unroll * self.width
        self.outer = tuple([a for a in self.grid if a is not self.lane])
        self.block = 0
        self.blocks = 1
        if not self.in_row:
            rows = math.prod([a.extent for a in self.row])
            self.block = max(BLOCK // max(rows, 1), 1) // together * together or together
            self.blocks = -(-self.lane.extent // self.block)
        self._choose_tile()
        self.outer = tuple([a for a in self.outer if a is not self.tile])
        self.chunk: tuple[Axis, int] | None = None
        self.chunks = 1
        self.abreast = 0
        points = math.prod([a.extent for a in self.outer])
        units = points * self.blocks * self.tiles
        rows = math.prod([a.extent for a in self.row])
        one_pass = (
            not self.kept and not scans and not places and sum(bool(rs) for _, rs in self.levels) == 1
            and any(isinstance(s.kind, Reduce) for s in self.kernel.stages)
        )  # fmt: skip
        axis = max(self.row, key=lambda a: a.extent) if self.row else self.lane
        length = 0
        if one_pass and units < FEW_UNITS and rows >= 2 * CHUNK:
            length = -(-axis.extent // min(max(rows // CHUNK, 2), CHUNKS, axis.extent))
            if axis is self.lane:
                length = -(-length // together) * together
        elif one_pass and not self.in_row and axis.extent >= 8 * ABREAST and rows * self.lane.extent >= 2 * CHUNK:
            length = -(-min(max(axis.extent // 8, 64), 512) // ABREAST) * ABREAST
        if length and length < axis.extent:
            self.chunk = (axis, length)
            self.chunks = -(-axis.extent // length)
            self.abreast = 0 if self.in_row else min(ABREAST, length)
            if self.abreast:
                self.block = max(COLUMNS // together, 1) * together
                self.blocks = -(-self.lane.extent // self.block)
                units = points * self.blocks
        self.units = units * self.chunks
        self.places = math.prod([a.extent for a in self.grid])

    def cost(self) -> int:
        """How many simple instructions one point is worth."""
        total = 0
        for e in self.exprs:
            if isinstance(e, Op):
                row = ROWS.get(e.prim.name)
                total += 1 if row is None else row.cost
        return total

    @property
    def scratch(self) -> list[tuple[Stage, int]]:
        """The values that are kept in scratch memory."""
        return [key for key, store in self.kept.items() if store is None]

    def row_index(self) -> tuple[Index, int]:
        """A row's element in scratch memory as an index, and how many there are; lanes are padded to whole vectors."""
        index, size = Index(), 1
        if not self.in_row:
            size = self.width
        for axis in sorted(self.row, key=lambda a: a is not self.lane):
            index = index + Index(0, ((axis, size),))
            size *= -(-axis.extent // self.width) * self.width if axis is self.lane else axis.extent
        return index, size


def _expressions(kernel: Kernel) -> list[Expr]:
    return ordered([v for stage in kernel.stages for v in stage.values])


def _only_counts(expr: Expr) -> bool:
    """Whether a value is an index or a constant, whose own width should not decide how many lanes there are."""
    return not isinstance(expr, (Op, Load))


def without(index: Index, axis: Axis | None) -> Index:
    """An index without its term in an axis."""
    return Index(index.const, tuple([t for t in index.terms if t[0] is not axis]))


def identity(monoid: str, dtype: np.dtype) -> object:
    """What changes nothing when it is combined; sums of floats start from the negative zero."""
    kind = computing(dtype).kind
    if monoid == "add":
        return complex(-0.0, -0.0) if kind == "c" else -0.0 if kind == "f" else 0
    if monoid in ("mul", "and"):
        return NOTHING if kind == "c" else 1
    if monoid == "or" or kind == "b":
        return monoid.endswith("min")
    if kind == "c":
        return complex(-math.inf, -math.inf) if monoid.endswith("max") else complex(math.inf, math.inf)
    if kind == "f":
        return -math.inf if monoid.endswith("max") else math.inf
    return np.iinfo(dtype).min if monoid.endswith("max") else np.iinfo(dtype).max
