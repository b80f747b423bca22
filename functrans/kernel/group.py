"""A group of equations on its way to a kernel."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from functrans.core.jaxpr import Atom, Eqn, Literal, SizeVar, Var
from functrans.core.primitive import Picked, Source, Trait
from functrans.kernel.index import ZERO, Axis, Guard, Index, Position, Value, index_of
from functrans.kernel.ir import (
    Access,
    AxisValue,
    Const,
    Expr,
    Kernel,
    Load,
    Local,
    Map,
    Op,
    Reduce,
    Scan,
    Stage,
    Store,
    operands,
    ordered,
)

if TYPE_CHECKING:
    from functrans.kernel.fuse import Target

_LETTERS = "ijklmnpqrstuvw"
_DIVISIONS = frozenset({"floor_divide", "remainder", "rem"})


class _Place:
    """Where a group reads a value: the one position, or None where there are several; and how many equations do."""

    __slots__ = ("position", "reads")

    def __init__(self, position: Position | None) -> None:
        self.position = position
        self.reads = 0


class Move(NamedTuple):
    """Where a movement reads its result, in the positions of a group; see ``Source``."""

    operand: int | None
    position: Position
    guard: Guard
    other: int | Move | None


class Group:
    """Equations that are computed at the points of one iteration space.

    Attributes:
        order: the axes, the outermost of memory first.
        row: the axes that are reduced or run along; the others are the grid.
        eqns: the equations, consumers first, with the positions of their operands.
        picks: the integers that indices are computed from, and where they are read.
    """

    def __init__(
        self,
        target: Target,
        uses: Mapping[Atom, int],
        reduces: Callable[[Eqn], bool],
        free: Mapping[Atom, Eqn],
    ) -> None:
        self.target = target
        self.reduces = reduces
        self.uses = uses
        self.free = free
        self.order: list[Axis] = []
        self.row: tuple[Axis, ...] = ()
        self.places: dict[Var, _Place] = {}
        self.at: dict[Var, Position] = {}
        self.eqns: list[tuple[Eqn, list[Position], Move | None, tuple[Axis, ...]]] = []
        self.picks: dict[Value, tuple[Atom, Position]] = {}
        self._values: dict[Any, Value] = {}
        self._count = 0

    # -- growing ------------------------------------------------------------------------------------------------

    @staticmethod
    def start(
        eqn: Eqn,
        target: Target,
        uses: Mapping[Atom, int],
        reduces: Callable[[Eqn], bool],
        free: Mapping[Atom, Eqn],
    ) -> Group | None:
        """The group of one equation."""
        group = Group(target, uses, reduces, free)
        traits = eqn.prim.traits
        reduced = Trait.REDUCTION in traits
        shape = eqn.inputs[0].aval.shape if reduced else eqn.outs[0].aval.shape
        if not any(extent > 1 for extent in shape):
            return None
        position = group._new_position(shape)
        if reduced:
            axes = reduced_axes(eqn)
            group.row = tuple([a for d in axes if (a := position[d].axis) is not None])
            if not group.row or (eqn.prim.monoid in ("argmax", "argmin") and not group._row_fits()):
                return None
            out = tuple([i for d, i in enumerate(position) if d not in axes])
            return group if group._take(eqn, out, [position], over=group.row) else None
        group.places[eqn.outs[0]] = _Place(position)
        return group if group.absorb(eqn) else None

    def absorb(self, eqn: Eqn) -> bool:
        """Take in the producer of something that the group reads; False where it does not fit."""
        if eqn.prim.multiple:
            return False
        place = self.places.get(eqn.outs[0])
        if place is None or place.position is None or 0 in eqn.outs[0].aval.shape:
            return False
        traits = eqn.prim.traits
        if eqn.prim.index is not None:
            return self._take_movement(eqn, place)
        if not self.target.computes(eqn):
            return False
        if Trait.REDUCTION in traits:
            return self._take_reduction(eqn, place)
        if Trait.CUMULATIVE in traits:
            return self._take_cumulative(eqn, place)
        return self._take_elementwise(eqn, place.position)

    def join(self, eqn: Eqn) -> bool:
        """Take in an equation that reads what the group reads, over the same space."""
        if eqn.prim.multiple or not self.target.computes(eqn) or Trait.CUMULATIVE in eqn.prim.traits:
            return False
        if eqn.outs[0] in self.places:
            return False  # The group reads it, where it could not be taken in: at another position, or as an array.
        reduced = Trait.REDUCTION in eqn.prim.traits
        shape = (eqn.inputs[0] if reduced else eqn.outs[0]).aval.shape
        if [e for e in shape if e > 1] != [a.extent for a in self.order]:
            return False
        axes = iter(self.order)
        position = tuple([index_of(next(axes)) if e > 1 else ZERO for e in shape])
        if reduced:
            dims = reduced_axes(eqn)
            row = tuple([a for d in dims if (a := position[d].axis) is not None])
            if row != self.row or not row:
                return False
            out = tuple([i for d, i in enumerate(position) if d not in dims])
            return self._take(eqn, out, [position], over=row)
        return self._take_elementwise(eqn, position)

    def _new_position(self, shape: Sequence[int]) -> Position:
        position = []
        for extent in shape:
            if extent > 1:
                axis = Axis(_LETTERS[self._count % len(_LETTERS)], extent)
                self._count += 1
                self.order.append(axis)
                position.append(index_of(axis))
            else:
                position.append(ZERO)
        return tuple(position)

    def _level(self, position: Position) -> str | None:
        """Whether a position runs over the whole space (``row``), the grid, or something else."""
        axes: set[Axis] = set()
        for i in position:
            axes |= i.axes()
        if len(axes) == len(self.order):
            return "row"
        if self.row and len(axes) == len(self.order) - len(self.row) and not axes.intersection(self.row):
            return "grid"
        return None

    def _row_fits(self) -> bool:
        return self.target.holds(self.order, self.row)

    def _guess_row(self, eqn: Eqn, position: Position) -> bool:
        """Take what is computed from a reduction as a value of the grid, and the other axes for the reduced ones."""
        if self.row or not self.reduces(eqn):
            return False
        axes = {a for i in position for a in i.axes()}
        self.row = tuple([a for a in self.order if a not in axes])
        if self._row_fits() and self._level(position) == "grid":
            return True
        self.row = ()
        return False

    def _take_elementwise(self, eqn: Eqn, position: Position) -> bool:
        shape = eqn.outs[0].aval.shape
        if self._level(position) is None and not self._guess_row(eqn, position) and not self._repeats(eqn, position):
            return False
        if any(True for i in position for _ in i.values()) and prod([a.extent for a in self.order]) > prod(shape):
            return False  # elements that are named more than once would be computed as often
        found = []
        for a in eqn.inputs:
            given = a.aval.shape
            lead = len(shape) - len(given)
            found.append(tuple([position[lead + d] if n != 1 else ZERO for d, n in enumerate(given)]))
        return self._take(eqn, position, found)

    def _repeats(self, eqn: Eqn, position: Position) -> bool:
        """Whether an operation is so cheap that it may be repeated along the axes that it does not depend on."""
        out = eqn.outs[0]
        if not self.target.guards or self.uses.get(out, 0) != self.places[out].reads or Trait.COSTLY in eqn.prim.traits:
            return False
        kinds = {a.aval.dtype.kind for a in eqn.inputs}
        arrays = [a for a in eqn.inputs if isinstance(a, Var) and a.aval.shape]
        if not kinds <= set("biu") or (len(arrays) > 1 and out.aval.dtype.kind != "b"):
            return False
        innermost = any(self.order[-1] in i.axes() for i in position)
        return not (innermost and eqn.prim.name in _DIVISIONS)

    def _take_movement(self, eqn: Eqn, place: _Place) -> bool:
        assert place.position is not None
        out = eqn.outs[0]
        if self.uses[out] != place.reads and not self.target.moves(eqn):
            return False  # others want it as an array of its own
        if any(isinstance(n, SizeVar) or n == 0 for a in eqn.inputs for n in a.aval.shape):
            return False
        found: list[Position] = [()] * len(eqn.inputs)
        under: set[int] = set()
        move = self._resolved(eqn, place.position, found, under)
        if move is None or (under and not self.target.guards):
            return False
        return self._take(eqn, place.position, found, under, move)

    def _resolved(self, eqn: Eqn, position: Position, found: list[Position], under: set[int]) -> Move | None:
        """What a movement reads for a position; notes where each operand is read, and which under a guard."""
        assert eqn.prim.index is not None
        source = eqn.prim.index(position, *[a.aval for a in eqn.inputs], **eqn.params)
        return None if source is None else self._move(eqn, source, found, under)

    def _move(self, eqn: Eqn, source: Source, found: list[Position], under: set[int]) -> Move | None:
        places: list[Index] = []
        guard = list(source.guard)
        for d, given in enumerate(source.position):
            counted = self._counted(eqn, given) if isinstance(given, Picked) else None
            if counted is not None:
                places.append(counted + given.offset)
            elif isinstance(given, Picked):
                value = self._value(eqn.inputs[given.operand], given, d)
                found[given.operand] = self.picks[value][1]
                index = Index(0, ((value, 1),))
                if given.mode == "drop":
                    guard.append((index, 0, given.extent))
                places.append(index + given.offset)
            else:
                places.append(Index(given) if isinstance(given, int) else given)
        other = source.other
        rest = self._move(eqn, other, found, under) if isinstance(other, Source) else other
        if isinstance(other, Source) and rest is None:
            return None
        if source.operand is not None:
            operand = eqn.inputs[source.operand]
            if guard and isinstance(operand, Literal) and operand.aval.shape == ():
                return None  # there is nothing to load, and so nothing to guard
            found[source.operand] = tuple(places)
            if guard:
                under.add(source.operand)
        return Move(source.operand, tuple(places), tuple(guard), rest)

    def _counted(self, eqn: Eqn, picked: Picked) -> Index | None:
        """What is picked, where that is known from its place: an array that counts, whose numbers lie inside."""
        atom: Any = eqn.inputs[picked.operand]
        position: Position = picked.position
        if isinstance(atom, Literal) and isinstance(atom.value, (int, np.integer)):
            value = int(atom.value)
            value += picked.turn if value < 0 else 0
            return Index(value) if 0 <= value < picked.extent else None
        while atom in self.free:
            maker = self.free[atom]
            assert maker.prim.index is not None
            source = maker.prim.index(position, *[a.aval for a in maker.inputs], **maker.params)
            assert source is not None
            position = tuple([Index(i) if isinstance(i, int) else i for i in source.position])
            if source.operand is None:
                low, high = position[0].bounds()
                return position[0] if 0 <= low and high < picked.extent else None
            atom = maker.inputs[source.operand]
        return None

    def _value(self, atom: Atom, picked: Picked, axis: int) -> Value:
        at = tuple([Index(i) if isinstance(i, int) else i for i in picked.position])
        key = (atom if isinstance(atom, Var) else id(atom), at, picked.extent, picked.mode, picked.turn, axis)
        value = self._values.get(key)
        if value is None:
            axes: set[Axis] = set()
            for i in at:
                axes |= i.axes()
            value = self._values[key] = Value(picked.extent, picked.turn, picked.mode, axis, frozenset(axes))
            self.picks[value] = (atom, at)
        return value

    def _take_reduction(self, eqn: Eqn, place: _Place) -> bool:
        position = place.position
        assert position is not None
        if not position or not _plain(position, eqn.outs[0].aval.shape):
            return False
        axes = {a for i in position for a in i.axes()}
        dims = reduced_axes(eqn)
        given = eqn.inputs[0].aval.shape
        extents = [given[d] for d in dims if given[d] > 1]
        if not extents:
            return False
        order, row = self.order, self.row
        if not row and len(axes) == len(order):
            new = [Axis(_LETTERS[(self._count + k) % len(_LETTERS)], e) for k, e in enumerate(extents)]
        else:
            new = [a for a in order if a not in axes]
            if [a.extent for a in new] != extents or (row and set(new) != set(row)):
                return False
        fresh = iter(new)
        kept = iter(position)
        whole = tuple(
            [(index_of(next(fresh)) if n > 1 else ZERO) if d in dims else next(kept) for d, n in enumerate(given)]
        )
        old = (self.order, self.row, self._count)
        if not row:
            self.row = tuple(new)
            if new[0] not in order:
                self._count += len(new)
                self.order = [a for i in whole if (a := i.axis) is not None]
        if not self._row_fits() or not self._take(eqn, position, [whole], over=tuple(new)):
            self.order, self.row, self._count = old
            return False
        return True

    def _take_cumulative(self, eqn: Eqn, place: _Place) -> bool:
        position = place.position
        assert position is not None
        axis = position[eqn.params["axis"]].axis
        if axis is None or self._level(position) != "row" or self.row not in ((), (axis,)):
            return False
        row, self.row = self.row, (axis,)
        if not self._row_fits() or not self._take(eqn, position, [position], over=(axis,)):
            self.row = row
            return False
        return True

    def _take(
        self,
        eqn: Eqn,
        position: Position,
        found: list[Position],
        under: Collection[int] = (),
        move: Move | None = None,
        over: tuple[Axis, ...] = (),
    ) -> bool:
        """Record an equation whose result stands at a position, and whose operands are read at others.

        Operands ``under`` a guard are read as arrays: where the guard does not hold, there is nothing to compute.
        """
        (out,) = eqn.outs
        place = self.places.get(out)
        stored = self.uses.get(out, 0) != (0 if place is None else place.reads)
        if stored and not _plain(position, out.aval.shape):
            return False
        reads = self.target.reads
        for a, at in zip(eqn.inputs, found, strict=True):
            if isinstance(a, Var) and a not in self.free and not reads(at):
                return False
        read: dict[Var, None] = {}
        for n, (a, at) in enumerate(zip(eqn.inputs, found, strict=True)):
            if not isinstance(a, Var) or (a in self.free and n not in under):
                continue
            read[a] = None
            known = self.places.get(a)
            if known is None:
                known = self.places[a] = _Place(None if n in under else at)
            elif known.position != at or n in under:
                known.position = None
        for a in read:
            self.places[a].reads += 1
        self.at[out] = position
        self.eqns.append((eqn, found, move, over))
        return True

    # -- lowering -----------------------------------------------------------------------------------------------

    def kernel(self, name: str) -> Kernel:
        """The group as a kernel."""
        return _Lowering(self).kernel(name)


class _Lowering:
    """Equations become expressions; reductions and running reductions become stages."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self.values: dict[Var, Expr] = {}
        self.loads: dict[Any, Expr] = {}
        self.stages: list[Stage] = []
        self.stores: list[tuple[Expr, Var, Position]] = []
        self.picked: list[Value] = []

    def kernel(self, name: str) -> Kernel:
        group = self.group
        for eqn, found, move, over in reversed(group.eqns):
            self._lower(eqn, found, move, over)
        for value in self.picked:  # which grows meanwhile
            if value.expr is None:
                value.expr = self._read(*group.picks[value])
        row = tuple([a for a in group.order if a in group.row])
        self._close(row)
        outputs = tuple([s.access.buffer for stage in self.stages for s in stage.stores])
        inputs = tuple(dict.fromkeys(e.access.buffer for e in self.loads.values() if isinstance(e, Load)))
        grid = tuple([a for a in group.order if a not in group.row])
        eqns = tuple([entry[0] for entry in reversed(group.eqns)])
        return Kernel(name, tuple(group.order), grid, tuple(self.stages), inputs, outputs, eqns)

    def _read(self, atom: Atom, position: Position, guard: Guard = (), other: Expr | None = None) -> Expr:
        if isinstance(atom, Literal):
            return Const(atom.value, atom.aval.dtype)
        known = self.values.get(atom)
        if known is not None:
            return known
        key = (atom, position, guard, id(other))
        load = self.loads.get(key)
        if load is None:
            made = self._made(atom, position) if atom in self.group.free and not guard else None
            load = self.loads[key] = made or Load(Access(atom, position, guard, other))
        return load

    def _made(self, atom: Atom, position: Position) -> Expr | None:
        """What is known from its place alone."""
        eqn = self.group.free[atom]
        move = self.group._resolved(eqn, position, [()] * len(eqn.inputs), set())
        return None if move is None else self._moved(eqn, move)

    def _moved(self, eqn: Eqn, move: Move) -> Expr:
        dtype = eqn.outs[0].aval.dtype
        for index in (*move.position, *[g[0] for g in move.guard]):
            self.picked.extend(index.values())
        if move.operand is None:
            return AxisValue(move.position[0], dtype)
        other: Expr | None = None
        if isinstance(move.other, Move):
            other = self._moved(eqn, move.other)
        elif move.other is not None:
            other = self._read(eqn.inputs[move.other], ())
        return self._read(eqn.inputs[move.operand], move.position, move.guard, other)

    def _lower(self, eqn: Eqn, found: list[Position], move: Move | None, over: tuple[Axis, ...]) -> None:
        (out,) = eqn.outs
        prim = eqn.prim
        value: Expr
        if move is not None:
            value = self._moved(eqn, move)
        elif over:
            operand = self._read(eqn.inputs[0], found[0])
            assert prim.monoid is not None
            kind: Reduce | Scan = Reduce(prim.monoid)
            if Trait.CUMULATIVE in prim.traits:
                kind = Scan(prim.monoid, over[0], eqn.params["reverse"])
            stage = Stage(f"s{len(self.stages)}", over, kind, [operand])
            self.stages.append(stage)
            value = _Result(stage, out.aval.dtype)
        else:
            args = [self._read(a, at) for a, at in zip(eqn.inputs, found, strict=True)]
            value = Op(prim, args, out.aval.dtype, eqn.params)
        self.values[out] = value
        place = self.group.places.get(out)
        if self.group.uses.get(out, 0) != (0 if place is None else place.reads):
            position = self.group.at[out]
            row = {a for i in position for a in i.axes()} & set(self.group.row)
            if isinstance(value, Local) and isinstance(value.stage.kind, Scan if row else (Scan, Reduce)):
                value.stage.stores.append(Store(0, Access(out, position)))
            else:
                self.stores.append((value, out, position))

    def _close(self, row: tuple[Axis, ...]) -> None:
        """Give the stored values a stage of their own, and one to each value that several stages read."""
        in_grid = [
            (e, v, p) for e, v, p in self.stores if row and not {a for i in p for a in i.axes()}.intersection(row)
        ]
        in_rows = [entry for entry in self.stores if entry not in in_grid]
        for entries, axes in ((in_grid, ()), (in_rows, row)):
            if entries:
                stage = Stage(f"s{len(self.stages)}", axes, Map(), [e for e, _, _ in entries])
                stage.stores = [Store(k, Access(v, p)) for k, (_, v, p) in enumerate(entries)]
                self.stages.append(stage)
        _share(self.stages, row)


class _Result(Local):
    """The result of a reduction, whose dtype may differ from its operand's."""

    __slots__ = ()

    def __init__(self, stage: Stage, dtype: Any) -> None:
        Expr.__init__(self, dtype)
        self.stage = stage
        self.k = 0


def _share(stages: list[Stage], row: tuple[Axis, ...]) -> None:
    """Compute what several stages read once, in a map of its own before the first of them."""
    seen: dict[int, set[int]] = {}
    parents: dict[int, list[Expr | None]] = {}
    exprs: dict[int, Expr] = {}
    for s, stage in enumerate(stages):
        for expr in ordered(stage.values):
            exprs[id(expr)] = expr
            seen.setdefault(id(expr), set()).add(s)
            for a in operands(expr):
                parents.setdefault(id(a), []).append(expr)
        for value in stage.values:
            parents.setdefault(id(value), []).append(None)
    kept = [
        e
        for key, e in exprs.items()
        if isinstance(e, Op)
        and len(seen[key]) > 1
        and any(p is None or len(seen[id(p)]) < len(seen[key]) for p in parents.get(key, ()))
    ]
    for expr in kept:
        first = min(seen[id(expr)])
        axes = row if _depends(expr, set(row)) else ()
        shared = Stage(f"m{len(stages)}", axes, Map(), [expr])
        _replace(stages, expr, Local(shared, 0))
        stages.insert(next(i for i, s in enumerate(stages) if i >= first), shared)
        seen = {k: {n + (n >= first) for n in v} for k, v in seen.items()}
    _settle(stages)
    for n, stage in enumerate(stages):
        stage.name = f"s{n}"


def _depends(expr: Expr, axes: set[Axis]) -> bool:
    for e in ordered([expr]):
        if isinstance(e, Load) and any(i.axes() & axes for i in (*e.access.position, *[g[0] for g in e.access.guard])):
            return True
        if isinstance(e, AxisValue) and e.index.axes() & axes:
            return True
        if isinstance(e, Local) and not isinstance(e.stage.kind, Reduce) and set(e.stage.axes) & axes:
            return True
    return False


def _settle(stages: list[Stage]) -> None:
    """Let the stage that computes a value store it: one that only passes it on goes."""
    for stage in list(stages):
        if not isinstance(stage.kind, Map):
            continue
        kept = []
        for store in stage.stores:
            value = stage.values[store.k]
            if isinstance(value, Local) and _results_over(value.stage) == stage.axes:
                value.stage.stores.append(Store(value.k, store.access))
            else:
                kept.append(store)
        stage.stores = kept
        if not kept and all(isinstance(v, Local) for v in stage.values):
            stages.remove(stage)


def _results_over(stage: Stage) -> tuple[Axis, ...]:
    """The axes of a stage's results: a reduction has one at each grid point."""
    return () if isinstance(stage.kind, Reduce) else stage.axes


def _replace(stages: Sequence[Stage], old: Expr, new: Expr) -> None:
    for stage in stages:
        for expr in ordered(stage.values):
            if isinstance(expr, Op) and old in expr.args:
                expr.args = tuple([new if a is old else a for a in expr.args])
        stage.values = [new if v is old else v for v in stage.values]


def _plain(position: Position, shape: Sequence[int]) -> bool:
    """Whether a position runs over all elements of an array, each once."""
    axes = [i.axis for i, n in zip(position, shape, strict=True) if n != 1]
    whole = all(a is not None and a.extent == n for a, n in zip(axes, [n for n in shape if n != 1], strict=True))
    return whole and len(set(axes)) == len(axes)


def reduced_axes(eqn: Eqn) -> tuple[int, ...]:
    """The axes that a reduction takes away."""
    params = eqn.params
    return tuple(params["axes"]) if "axes" in params else (params["axis"],)
