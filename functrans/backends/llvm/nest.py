"""How a kernel is looped: axes merged where memory allows it, one of them in vector lanes, the work cut into units.

A unit is a grid point, or a block of lanes of the innermost grid axis. Rows that few grid points have, and that nothing
reads twice, are cut into chunks, whose results a second function combines. Units and chunks depend on the shape
alone, so that the number of threads never shows in a result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from functrans.backends.llvm.operations import ROWS
from functrans.kernel.index import Atom, Axis, FloorDiv, Index, Mod
from functrans.kernel.ir import Access, AxisValue, Expr, Kernel, Load, Local, Op, Reduce, Scan, Stage, ordered

BLOCK = 1 << 14
"""Elements of a unit of a kernel without rows."""
FEW_UNITS = 16
CHUNK = 1 << 14
CHUNKS = 256
ABREAST = 8
"""Rows that are read side by side where lanes are apart from them, so that memory is read almost in order."""
COLUMNS = 1 << 10
UNROLLED_COST = 16


class Nest:
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
    """

    def __init__(self, kernel: Kernel, bits: int) -> None:
        self.kernel = kernel
        self.exprs = _expressions(kernel)
        self.accesses = [e.access for e in self.exprs if isinstance(e, Load)]
        self.accesses += [s.access for stage in kernel.stages for s in stage.stores]
        self._forms: dict[Index, Index] = {}
        for access in self.accesses:
            flat = flattened(access)
            self._forms[flat] = flat
            for i, _, _ in access.guard:
                self._forms[i] = i
        for e in self.exprs:
            if isinstance(e, AxisValue):
                self._forms[e.index] = e.index
        grid = tuple(kernel.grid)
        row = tuple([a for a in kernel.order if a not in grid])
        along = {stage.kind.axis for stage in kernel.stages if isinstance(stage.kind, Scan)}
        self.grid, self.row = self._merged(grid, set()), self._merged(row, along)
        self._flat = {id(a): self._forms[flattened(a)] for a in self.accesses}
        self._axes: dict[int, frozenset[Axis]] = {}
        self._levels()
        self._choose_lane(bits)
        self._cut()

    # -- memory -------------------------------------------------------------------------------------------------

    def flat(self, access: Access) -> Index:
        """The place of an access in its buffer, as one index over the merged axes."""
        found = self._flat.get(id(access))
        return self._forms[flattened(access)] if found is None else found

    def form(self, index: Index) -> Index:
        """An index of the kernel over the merged axes."""
        return self._forms[index]

    def _merged(self, axes: tuple[Axis, ...], apart: set[Axis]) -> tuple[Axis, ...]:
        done: list[Axis] = []
        for inner in axes:
            if done and not apart & {done[-1], inner} and self._mergeable(done[-1], inner):
                outer = done.pop()
                both = Axis(outer.name + inner.name, outer.extent * inner.extent)
                self._forms = {k: _replaced(f, outer, inner, both) for k, f in self._forms.items()}
                inner = both
            done.append(inner)
        return tuple(done)

    def _mergeable(self, outer: Axis, inner: Axis) -> bool:
        for form in self._forms.values():
            first = second = 0
            for atom, c in form.terms:
                if atom is outer:
                    first = c
                elif atom is inner:
                    second = c
                elif isinstance(atom, (FloorDiv, Mod)) and {outer, inner} & atom.index.axes():
                    return False
            if first != second * inner.extent:
                return False
        return True

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
        widest = max([e.dtype.itemsize for e in self.exprs if not _only_counts(e)], default=8)
        widest = max([widest, *[s.access.buffer.aval.dtype.itemsize for st in self.kernel.stages for s in st.stores]])
        full = min(bits // 8 // widest, 64)
        best = math.inf
        reduces = sum(isinstance(s.kind, (Reduce, Scan)) for s in self.kernel.stages)
        for axis in (*self.grid, *self.row):
            cost = 0.0
            for access in self.accesses:
                c, plain = coefficient(self.flat(access), axis)
                guard = any(axis in self.form(i).axes() for i, _, _ in access.guard)
                cost += 0.5 * guard + (0.7 * full + 1 if not plain or c not in (0, 1) else 1.0 if c else 0.3)
            w = min(full, 1 << (axis.extent - 1).bit_length())
            steps = -(-axis.extent // w)
            cost = (cost + 1) * steps / axis.extent
            if axis in self.row:
                cost += reduces * math.log2(w) / axis.extent
                cost += sum(isinstance(s.kind, Scan) for s in self.kernel.stages) * 1.5
            if cost <= best * (1 + 1e-9):
                best, self.lane, self.width = cost, axis, w
        self.in_row = self.lane in self.row

    def axes(self, expr: Expr) -> frozenset[Axis]:
        """The merged axes that a value depends on."""
        found = self._axes.get(id(expr))
        if found is not None:
            return found
        found = frozenset()
        if isinstance(expr, Load):
            found = frozenset(self.flat(expr.access).axes())
            for i, _, _ in expr.access.guard:
                found |= self.form(i).axes()
            if expr.access.other is not None:
                found |= self.axes(expr.access.other)
        elif isinstance(expr, AxisValue):
            found = frozenset(self.form(expr.index).axes())
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

    # -- units --------------------------------------------------------------------------------------------------

    def _cut(self) -> None:
        for e in self.exprs:  # from the leaves up, so that no recursion is deep
            self.axes(e)
        cost = self.cost()
        scans = any(isinstance(s.kind, Scan) for s in self.kernel.stages)
        places = any(isinstance(s.kind, Reduce) and s.kind.monoid.startswith("arg") for s in self.kernel.stages)
        unroll = 1 if scans or places or cost > 2 * UNROLLED_COST else 2 if cost > UNROLLED_COST else 4
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
        self.chunk: tuple[Axis, int] | None = None
        self.chunks = 1
        self.abreast = 0
        points = math.prod([a.extent for a in self.outer])
        units = points * self.blocks
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


def flattened(access: Access) -> Index:
    """The place in a C-contiguous buffer."""
    total, stride = Index(), 1
    for i, n in zip(reversed(access.position), reversed(access.buffer.aval.shape), strict=True):
        assert isinstance(n, int)
        if n != 1:
            total = total + i * stride
        stride *= n
    return _joined(total)


def _joined(index: Index) -> Index:
    """With ``by * (x // by) + x % by`` as ``x``."""
    for atom, c in index.terms:
        if isinstance(atom, Mod):
            for other, d in index.terms:
                if (
                    isinstance(other, FloorDiv)
                    and other.by == atom.by
                    and other.index == atom.index
                    and d == c * atom.by
                ):
                    rest = Index(index.const, tuple([t for t in index.terms if t[0] is not atom and t[0] is not other]))
                    return _joined(rest + atom.index * c)
    return index


def _replaced(index: Index, outer: Axis, inner: Axis, both: Axis) -> Index:
    terms: list[tuple[Atom, int]] = []
    for atom, c in index.terms:
        if atom is inner:
            terms.append((both, c))
        elif atom is not outer:
            terms.append((atom, c))
    return Index(index.const, tuple(terms))


def coefficient(index: Index, axis: Axis) -> tuple[int, bool]:
    """By how much an index grows along an axis, and whether that is all there is to it."""
    c, plain = 0, True
    for atom, by in index.terms:
        if atom is axis:
            c = by
        elif isinstance(atom, (FloorDiv, Mod)) and axis in atom.index.axes():
            plain = False
    return c, plain


def without(index: Index, axis: Axis | None) -> Index:
    """An index without its term in an axis."""
    return Index(index.const, tuple([t for t in index.terms if t[0] is not axis]))


def identity(monoid: str, dtype: np.dtype) -> object:
    """What changes nothing when it is combined; sums of floats start from the negative zero."""
    if monoid == "add":
        return -0.0 if dtype.kind == "f" else 0
    if monoid in ("mul", "and"):
        return 1
    if monoid == "or" or dtype.kind == "b":
        return monoid == "min"
    if dtype.kind == "f":
        return -math.inf if monoid.endswith("max") else math.inf
    return np.iinfo(dtype).min if monoid.endswith("max") else np.iinfo(dtype).max
