"""Kernels as Python text: loops over tiles that stay in cache, an array operation a line, nothing allocated inside.

Every value of a kernel becomes an array over the axes that it depends on, in the order of the kernel's axes, without
the leading axes that it lacks; further ones that it lacks have extent 1. Rows that are reduced or run along are whole
within a tile. A reduction along anything else combines the results of fixed runs of tiles, whose number depends on the
shape alone: the same bits come out for any number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from functrans.backends.numpy.target import TILE_BYTES, calling, ufunc
from functrans.core.dtypes import DType
from functrans.core.infix import number_as_array, spelled
from functrans.core.jaxpr import Var
from functrans.core.structural import convert_p
from functrans.kernel.index import Axis, Position
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
    ordered,
)

RUNS = 32
"""How many partial results a reduction over several tiles has at most."""
NARROWEST = 64
"""Elements that lie together, of which no tile takes fewer: NumPy's inner loops run along them."""
REDUCERS = {
    "add": np.add,
    "mul": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
    "and": np.logical_and,
    "or": np.logical_or,
}
Axes = frozenset[Axis]


def identity(monoid: str, dtype: DType) -> Any:
    """What changes nothing when it is combined; for sums of floats the negative zero, since 0.0 + -0.0 is 0.0."""
    if monoid == "add":
        return {"f": -0.0, "c": complex(-0.0, -0.0)}.get(dtype.kind, 0)
    if monoid in ("mul", "and"):
        return 1
    if monoid == "or" or dtype.kind == "b":
        return monoid == "min"
    if dtype.kind in "fc":
        return -math.inf if monoid == "max" else math.inf
    return np.iinfo(dtype).min if monoid == "max" else np.iinfo(dtype).max


class Schedule:
    """How a kernel is cut into tiles.

    Attributes:
        step: the extent of a tile along each axis.
        loops: the axes along which there are several tiles, the outermost first.
        row: the axes that are reduced or run along.
        long: whether such an axis is cut too, so that results of tiles are combined.
        runs: how many partial results there are then, where the outermost loop is along such an axis; else 0.
        per_run: tiles a run.
        units: what the work is divided by among threads: a range of units, and the step between places to cut it.
    """

    def __init__(self, kernel: Kernel) -> None:
        widest = max(v.aval.dtype.itemsize for v in (*kernel.inputs, *kernel.outs))
        budget = max(TILE_BYTES // widest, 1)
        self.row = tuple([a for a in kernel.order if a not in kernel.grid])
        trailing = kernel.order[len(kernel.order) - len(self.row) :] == self.row
        extent = math.prod([a.extent for a in self.row])
        single = all(_combines(stage) for stage in kernel.stages)
        self.long = bool(self.row) and single and (extent > budget or not trailing)
        used = 1 if self.long else extent
        self.step: dict[Axis, int] = {}
        for a in reversed(kernel.order):
            if a in self.row and not self.long:
                self.step[a] = a.extent
                continue
            least = min(NARROWEST, budget) if a is kernel.order[-1] else 1
            tiles = -(-a.extent // min(a.extent, max(budget // used, least)))
            self.step[a] = -(-a.extent // tiles)
            used *= self.step[a]
        self.loops = tuple([a for a in kernel.order if self.step[a] < a.extent])
        self.runs = self.per_run = 0
        self.units = (1, 1)
        if self.loops:
            first = self.loops[0]
            count = -(-first.extent // self.step[first])
            if first in self.row:
                self.per_run = -(-count // RUNS)
                self.runs = -(-count // self.per_run)
                self.units = (self.runs, 1)
            else:
                self.units = (first.extent, self.step[first])
        self.tails = frozenset([a for a in self.loops if a.extent % self.step[a]])


class _Register(NamedTuple):
    """An array that a tile's value lies in."""

    axes: Axes
    shape: tuple[int, ...]
    dtype: DType
    level: int


class Tiles:
    """The text of one kernel's function ``name(lo, hi, work, *inputs, *outs)`` and how it is to be called.

    Attributes:
        text: the function.
        work: shape and dtype of the arrays that it works in.
        partial: the results that are combined from those of tiles, with their monoid. The function gets an array full
            of the identity, with a leading axis of runs if there are any.
    """

    def __init__(self, kernel: Kernel, bind: Callable[[str, Any], str]) -> None:
        self.kernel = kernel
        self.bind = bind
        self.schedule = Schedule(kernel)
        self.partial: dict[Var, str] = {}
        self.registers: list[_Register] = []
        self._place = {a: n for n, a in enumerate(kernel.order)}
        self._axes_of: dict[int, Axes] = {}
        self._names: dict[int, str] = {}
        self._scalars: dict[Any, str] = {}
        self._views: dict[Any, str] = {}
        self._free: dict[_Register, list[int]] = {}
        self._held: dict[int, int] = {}
        self._last: dict[int, int] = {}
        self._head: list[str] = []
        self._levels: list[list[str]] = [[] for _ in range(len(self.schedule.loops) + 1)]
        self._buffers = {v: f"a{n}" for n, v in enumerate(kernel.inputs)}
        self._buffers |= {v: f"y{n}" for n, v in enumerate(kernel.outs)}
        self._stores = self._stores_by_value()
        self._write_steps()
        self.text = self._assemble()

    @property
    def work(self) -> list[tuple[tuple[int, ...], DType]]:
        return [(r.shape, r.dtype) for r in self.registers]

    # -- what is where ------------------------------------------------------------------------------------------

    def _stores_by_value(self) -> dict[int, list[Access]]:
        found: dict[int, list[Access]] = {}
        for stage in self.kernel.stages:
            for store in stage.stores:
                key = _key(stage.values[store.k]) if isinstance(stage.kind, Map) else id(stage)
                found.setdefault(key, []).append(store.access)
        return found

    def _axes(self, expr: Expr) -> Axes:
        """The axes that a value depends on."""
        found = self._axes_of.get(id(expr))
        if found is None:
            found = frozenset()
            if isinstance(expr, Load):
                found = axes_of(expr.access.position)
            elif isinstance(expr, AxisValue):
                found = frozenset(expr.index.axes())
            elif isinstance(expr, Op):
                found = found.union(*[self._axes(a) for a in expr.args])
            elif isinstance(expr, Local):
                found = self._axes(expr.stage.values[expr.k])
                if isinstance(expr.stage.kind, Reduce):
                    found -= set(expr.stage.axes)
                elif isinstance(expr.stage.kind, Scan):
                    found |= set(expr.stage.axes)
            self._axes_of[id(expr)] = found
        return found

    def _start(self, axes: Axes) -> int:
        return min([self._place[a] for a in axes], default=len(self._place))

    def _aligned(self, axes: Axes) -> Sequence[Axis]:
        """The axes of an array that depends on some."""
        return self.kernel.order[self._start(axes) :]

    def _level(self, axes: Axes) -> int:
        """How many loops enclose what depends on some axes."""
        return max([n + 1 for n, a in enumerate(self.schedule.loops) if a in axes], default=0)

    def _cut(self, axes: Axes, level: int, bounds: Callable[[int], str]) -> str:
        """The subscript of a tile in an array that depends on some axes, empty where it is the whole of it."""
        loops = self.schedule.loops[:level]
        parts = [bounds(loops.index(a)) if a in axes and a in loops else ":" for a in self._aligned(axes)]
        while parts and parts[-1] == ":":
            parts.pop()
        return f"[{', '.join(parts)}]" if parts else ""

    # -- a line for each operation ------------------------------------------------------------------------------

    def _write_steps(self) -> None:
        steps: list[tuple[Stage, Expr | None]] = []
        seen: set[int] = set()
        for stage in self.kernel.stages:
            for e in ordered(stage.values):
                if id(e) not in seen:
                    seen.add(id(e))
                    steps.append((stage, e))
            if not isinstance(stage.kind, Map):
                steps.append((stage, None))
        for n, (stage, step) in enumerate(steps):
            for read in stage.values if step is None else step.args if isinstance(step, Op) else ():
                self._last[_key(read)] = n
        for n, (stage, step) in enumerate(steps):
            if step is None:
                self._combine(n, stage)
            elif isinstance(step, Op):
                self._operate(n, step)
            elif isinstance(step, Load):
                self._names[id(step)] = self._view(step.access, self._level(self._axes(step)))
        for stage in self.kernel.stages:
            if isinstance(stage.kind, Map):
                for store in stage.stores:
                    value = stage.values[store.k]
                    if not isinstance(value, Op):
                        self._copy_out(store.access, self._name(value), self._axes(value))

    def _name(self, expr: Expr) -> str:
        if isinstance(expr, Const):
            value = expr.value
            if type(value) in (bool, int) or (type(value) is float and math.isfinite(value)):
                return repr(value)
            key = (type(value), repr(value))
            return self._scalars.setdefault(key, self._scalars.get(key) or self.bind("scalar", value))
        return self._names[_key(expr)]

    def _number(self, op: Op, arg: Expr, function: np.ufunc) -> str | None:
        """The name of a constant operand as an array without axes; None where it is no Python number."""
        if not isinstance(arg, Const):
            return None
        found = number_as_array(arg.value, function, [a.dtype for a in op.args if not isinstance(a, Const)])
        if found is None:
            return None
        key = (found.dtype, repr(arg.value))
        if key not in self._scalars:
            self._scalars[key] = self.bind(spelled(arg.value), found)
        return self._scalars[key]

    def _view(self, access: Access, level: int) -> str:
        """The name of a buffer's tile, aligned with the kernel's axes."""
        buffer, position = access.buffer, access.position
        name = self._buffers[buffer]
        if not buffer.aval.shape:
            return name
        known = self._views.get((buffer, position))
        if known is not None:
            return known
        axes = axes_of(position)
        text = self._aligning(position, buffer.aval.shape)
        if not axes and buffer in self.kernel.outs:
            text = ".reshape(())"
        if text:
            whole = f"{name}_{len(self._views)}"
            self._head.append(f"{whole} = {name}{text}")
            name = whole
        cut = self._cut(axes, level, lambda n: f"i{n}:j{n}")
        if cut:
            tile = f"u{len(self._views)}"
            self._levels[level].append(f"{tile} = {name}{cut}")
            name = tile
        self._views[buffer, position] = name
        return name

    def _aligning(self, position: Position, shape: Sequence[int]) -> str:
        """What makes an array of a buffer's shape one over the kernel's axes."""
        subscript = []
        axes: list[Axis] = []
        for i, extent in zip(position, shape, strict=True):
            if not i.terms:
                subscript.append(str(i.const))
                continue
            ((axis, step),) = i.terms
            assert isinstance(axis, Axis)
            axes.append(axis)
            stop = i.const + step * (axis.extent - 1) + (1 if step > 0 else -1)
            if (i.const, step, stop) == (0, 1, extent):
                subscript.append(":")
            else:
                end = "" if stop < 0 else str(stop)
                subscript.append(f"{i.const}:{end}" if step == 1 else f"{i.const}:{end}:{step}")
        text = "" if set(subscript) == {":"} else f"[{', '.join(subscript)}]"
        by_place = sorted(range(len(axes)), key=lambda n: self._place[axes[n]])
        if by_place != list(range(len(axes))):
            text += f".transpose({', '.join(map(str, by_place))})"
        lacking = [a not in axes for a in self._aligned(frozenset(axes))]
        return text + (f"[{', '.join('None' if m else ':' for m in lacking)}]" if any(lacking) else "")

    def _register(self, axes: Axes, dtype: DType, n: int = -1, dying: Sequence[Expr] = ()) -> int:
        """An array to work in; one of ``dying`` whose value is read here for the last time, where it fits."""
        shape = tuple([self.schedule.step[a] if a in axes else 1 for a in self._aligned(axes)])
        wanted = _Register(axes, shape, dtype, self._level(axes))
        for e in dying:
            k = self._held.get(_key(e))
            if k is not None and self._last.get(_key(e)) == n and self.registers[k] == wanted:
                return k
        free = self._free.setdefault(wanted, [])
        if free:
            return free.pop()
        self.registers.append(wanted)
        return len(self.registers) - 1

    def _release(self, n: int, reads: Sequence[Expr], level: int, kept: int | None) -> None:
        """Free the registers of what is read for the last time, but for one that holds the result."""
        for e in reads:
            k = self._held.get(_key(e))
            if k is not None and self._last.get(_key(e)) == n and self.registers[k].level == level:
                del self._held[_key(e)]
                if k != kept:
                    self._free.setdefault(self.registers[k], []).append(k)

    def _operate(self, n: int, op: Op) -> None:
        axes = self._axes(op)
        level = self._level(axes)
        lines = self._levels[level]
        targets = self._stores.get(id(op), [])
        args = [self._name(a) for a in op.args]
        function = ufunc(op.prim.scalar) if not op.params else None
        direct = next((t for t in targets if axes_of(t.position) == axes and t.buffer.aval.dtype == op.dtype), None)
        kept: int | None = None
        if direct is not None:
            out = self._view(direct, level)
        else:
            kept = self._register(axes, op.dtype, n, op.args if function is not None else ())
            out = f"s{kept}"
        copy = self.bind("copyto", np.copyto)
        if function is not None:
            args = [self._number(op, a, function) or name for a, name in zip(op.args, args, strict=True)]
            # NumPy's extrema take `out` by name alone.
            lines.append(calling(self.bind(function.__name__, function), function, args, out))
        elif op.prim.scalar == "where" and direct is None:
            lines.append(f"{copy}({out}, {args[2]})")
            lines.append(f"{copy}({out}, {args[1]}, where={args[0]})")
        elif op.prim.scalar == "where":
            # The result may lie where an operand lies, which a first copy would overwrite.
            lines.append(f"{out}[...] = {self.bind('where', np.where)}({', '.join(args)})")
        elif op.prim is convert_p:
            lines.append(f"{out}[...] = {args[0]}")
        else:
            implementation = self.bind(op.prim.name, partial(op.prim.impl, np, **op.params))
            lines.append(f"{out}[...] = {implementation}({', '.join(args)})")
        self._names[id(op)] = out
        self._release(n, op.args, level, kept)
        if kept is not None:
            self._held[id(op)] = kept
        for t in targets:
            if t is not direct:
                self._copy_out(t, out, axes)

    def _copy_out(self, access: Access, name: str, axes: Axes) -> None:
        level = max(self._level(axes), self._level(axes_of(access.position)))
        view = self._view(access, level)
        self._levels[level].append(f"{self.bind('copyto', np.copyto)}({view}, {name})")

    def _spread(self, name: str, dtype: DType, axes: Axes) -> str:
        """A value laid along axes that it does not depend on."""
        out = f"s{self._register(axes, dtype)}"
        self._levels[self._level(axes)].append(f"{self.bind('copyto', np.copyto)}({out}, {name})")
        return out

    def _combine(self, n: int, stage: Stage) -> None:
        """A reduction or a running one."""
        (value,) = stage.values
        kind = stage.kind
        axes, name = self._axes(value), self._name(value)
        cut = any(a in self.schedule.loops for a in stage.axes)
        needed = frozenset(self.kernel.order) if cut else axes | set(stage.axes)
        if needed != axes:
            axes, name = needed, self._spread(name, value.dtype, needed)
        start, level = self._start(axes), self._level(axes)
        along = tuple([self._place[a] - start for a in stage.axes])
        axis = str(along[0]) if len(along) == 1 else repr(along)
        targets = self._stores.get(id(stage), [])
        if isinstance(kind, Scan):
            kept = self._register(axes, value.dtype)
            flip = f"[{', '.join([*[':'] * along[0], '::-1'])}]" if kind.reverse else ""
            dtype = self.bind(value.dtype.name, value.dtype)
            run = f"{self._reducer(kind.monoid)}.accumulate({name}{flip}, {axis}, {dtype}, s{kept}{flip})"
            self._levels[level].append(run)
            direct = None
        else:
            assert isinstance(kind, Reduce)
            dtype_out = _result_dtype(kind.monoid, value.dtype)
            if cut:
                self._accumulate(kind.monoid, name, axis, dtype_out, targets)
                return
            axes -= set(stage.axes)
            direct = next((t for t in targets if axes_of(t.position) == axes), None)
            level_out = self._level(axes)
            kept = -1 if direct is not None else self._register(axes, dtype_out)
            out = f"s{kept}" if direct is None else self._view(direct, level_out)
            # Reduced axes keep extent 1, and those before the first that remains are no axes of the result's array.
            lead = self._start(axes) - start
            if lead:
                out += f"[{', '.join(['None'] * lead)}]"
            if kind.monoid in ("argmax", "argmin"):
                call = f"{self.bind(kind.monoid, getattr(np, kind.monoid))}({name}, {axis}, {out}, keepdims=True)"
            else:
                dtype = self.bind(dtype_out.name, dtype_out)
                call = f"{self._reducer(kind.monoid)}.reduce({name}, {axis}, {dtype}, {out}, True)"
            self._levels[level].append(call)
        self._names[id(stage)] = f"s{kept}" if direct is None else self._view(direct, self._level(axes))
        self._release(n, [value], level, kept)
        if kept >= 0:
            self._held[id(stage)] = kept
        for t in targets:
            if t is not direct:
                self._copy_out(t, self._names[id(stage)], axes)

    def _reducer(self, monoid: str) -> str:
        return self.bind(REDUCERS[monoid].__name__, REDUCERS[monoid])

    def _accumulate(self, monoid: str, name: str, axis: str, dtype: DType, targets: Sequence[Access]) -> None:
        """Combine a tile's result with what its run has so far."""
        schedule = self.schedule
        lines = self._levels[len(schedule.loops)]
        reducer = self._reducer(monoid)
        result = f"r{len(self.partial)}"
        lines.append(f"{result} = {reducer}.reduce({name}, {axis}, {self.bind(dtype.name, dtype)})")
        for buffer, position, *_ in targets:
            self.partial[buffer] = monoid
            total = self._buffers[buffer]
            axes = [a for i in position for a in i.axes()]
            subscript = ["c"] if schedule.runs else []
            for i in position:
                a = i.axis
                n = schedule.loops.index(a) if a is not None and a in schedule.loops else None
                subscript.append("0" if not i.terms else ":" if n is None else f"i{n}:j{n}")
            text = f"{total}[{', '.join(subscript) or '()'}]"
            if not axes:
                lines.append(f"{text} = {reducer}({text}, {result})")
                continue
            by_place = sorted(axes, key=self._place.__getitem__)
            if by_place != axes:
                text += f".transpose({', '.join(str(axes.index(a)) for a in by_place)})"
            tile = f"w{len(self.partial)}"
            lines += [f"{tile} = {text}", calling(reducer, REDUCERS[monoid], (tile, result), tile)]

    # -- the function -------------------------------------------------------------------------------------------

    def _assemble(self) -> str:
        schedule = self.schedule
        lines = [f"def {self.kernel.name}({', '.join(['lo', 'hi', 'work', *self._buffers.values()])}):"]
        lines += [f"    {line}" for line in self._head]
        cuts = {k: cut for k, r in enumerate(self.registers) if (cut := self._tail_cut(r))}
        if self.registers:
            names = ", ".join(f"s{k}" for k in range(len(self.registers)))
            lines.append(f"    {names}{',' if len(self.registers) == 1 else ''} = work")
            if cuts:
                lines.append(f"    {', '.join(f'S{k}' for k in cuts)} = {', '.join(f's{k}' for k in cuts)}")
        indent = "    "
        lines += [f"{indent}{line}" for line in self._levels[0]]
        for n, a in enumerate(schedule.loops):
            step = schedule.step[a]
            span = f"lo, hi, {step}" if n == 0 else f"0, {a.extent}, {step}"
            if n == 0 and schedule.runs:
                lines.append(f"{indent}for c in range(lo, hi):")
                indent += "    "
                run = schedule.per_run * step
                span = f"c * {run}, min((c + 1) * {run}, {a.extent}), {step}"
            lines.append(f"{indent}for i{n} in range({span}):")
            indent += "    "
            end = f"min(i{n} + {step}, {a.extent})" if a in schedule.tails else f"i{n} + {step}"
            lines.append(f"{indent}j{n} = {end}")
            here = [k for k in cuts if self.registers[k].level == n + 1]
            if here:
                whole = [
                    f"j{m} - i{m} == {schedule.step[b]}"
                    for m, b in enumerate(schedule.loops[: n + 1])
                    if b in schedule.tails
                ]
                names = ", ".join(f"s{k}" for k in here)
                lines.append(f"{indent}if {' and '.join(whole)}:")
                lines.append(f"{indent}    {names} = {', '.join(f'S{k}' for k in here)}")
                lines.append(f"{indent}else:")
                lines.append(f"{indent}    {names} = {', '.join(f'S{k}{cuts[k]}' for k in here)}")
            lines += [f"{indent}{line}" for line in self._levels[n + 1]]
        return "\n".join(lines) + "\n"

    def _tail_cut(self, register: _Register) -> str:
        """The subscript that cuts a register to the last tile; empty where it needs none."""
        loops, tails = self.schedule.loops, self.schedule.tails
        axes = register.axes.intersection(tails)
        if not axes:
            return ""
        parts = [f":j{loops.index(a)} - i{loops.index(a)}" if a in axes else ":" for a in self._aligned(register.axes)]
        while parts[-1] == ":":
            parts.pop()
        return f"[{', '.join(parts)}]"


def _combines(stage: Stage) -> bool:
    """Whether a stage may see its rows piece by piece: it reads nothing that is known at the end of a row alone."""
    if isinstance(stage.kind, Scan) or (isinstance(stage.kind, Reduce) and stage.kind.monoid not in REDUCERS):
        return False
    reads = ordered(stage.values)
    return all(isinstance(e.stage.kind, Map) for e in reads if isinstance(e, Local))


def axes_of(position: Position) -> Axes:
    """The axes that a position depends on."""
    found: Axes = frozenset()
    return found.union(*[i.axes() for i in position])


def _key(expr: Expr) -> int:
    """What a value is known by: a map's local is the value itself."""
    while isinstance(expr, Local):
        if not isinstance(expr.stage.kind, Map):
            return id(expr.stage)
        expr = expr.stage.values[expr.k]
    return id(expr)


def _result_dtype(monoid: str, dtype: DType) -> DType:
    if monoid in ("argmax", "argmin"):
        return np.dtype(np.intp)
    return np.dtype(bool) if monoid in ("and", "or") else dtype
