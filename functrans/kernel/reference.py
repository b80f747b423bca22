"""What a kernel means: a slow evaluation, point by point, that every target is tested against."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np

from functrans.core.jaxpr import Var
from functrans.kernel.index import Axis, FloorDiv, Index, Mod, Value
from functrans.kernel.ir import Access, AxisValue, Const, Expr, Kernel, Load, Local, Map, Op, Reduce, Scan, Stage

Point = dict[Axis, int]
_COMBINE = {
    "add": np.add,
    "mul": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
    "and": np.logical_and,
    "or": np.logical_or,
}


def run(kernel: Kernel, buffers: Mapping[Var, Any]) -> dict[Var, np.ndarray[Any, Any]]:
    """The buffers that a kernel stores, from those that it reads."""
    made = {v: np.empty(v.aval.shape, v.aval.dtype) for v in kernel.outs}
    for values in product(*[range(a.extent) for a in kernel.grid]):
        _Grid(buffers, made).run(kernel, dict(zip(kernel.grid, values, strict=True)))
    return made


class _Grid:
    """One point of the grid: what its stages have computed so far, by the point of their axes."""

    def __init__(self, buffers: Mapping[Var, Any], made: dict[Var, np.ndarray[Any, Any]]) -> None:
        self.buffers = buffers
        self.made = made
        self.results: dict[Stage, dict[tuple[int, ...], list[Any]]] = {}

    def run(self, kernel: Kernel, here: Point) -> None:
        for stage in kernel.stages:
            points = list(product(*[range(a.extent) for a in stage.axes]))
            found = {p: self._values(stage, here | dict(zip(stage.axes, p, strict=True))) for p in points}
            self.results[stage] = self._combined(stage, found)
            for p, values in self.results[stage].items():
                point = here | (dict(zip(stage.axes, p, strict=True)) if p else {})
                for store in stage.stores:
                    self.made[store.access.buffer][self._position(store.access, point)] = values[store.k]

    def _values(self, stage: Stage, point: Point) -> list[Any]:
        known: dict[int, Any] = {}
        return [self._value(v, point, known) for v in stage.values]

    def _combined(self, stage: Stage, found: dict[tuple[int, ...], list[Any]]) -> dict[tuple[int, ...], list[Any]]:
        kind = stage.kind
        if isinstance(kind, Map):
            return found
        if isinstance(kind, Scan):
            at = stage.axes.index(kind.axis)
            running: dict[tuple[int, ...], Any] = {}
            result = {}
            for p in sorted(found, key=lambda p: -p[at] if kind.reverse else p[at]):
                others = p[:at] + p[at + 1 :]
                value = found[p][0]
                running[others] = _COMBINE[kind.monoid](running[others], value) if others in running else value
                result[p] = [running[others]]
            return result
        assert isinstance(kind, Reduce)
        values = [v[0] for v in found.values()]
        if kind.monoid in ("argmax", "argmin"):
            return {(): [getattr(np, kind.monoid)(np.array(values))]}
        total = values[0] != 0 if kind.monoid in ("and", "or") else values[0]
        for v in values[1:]:
            total = _COMBINE[kind.monoid](total, v)
        return {(): [total]}

    def _value(self, expr: Expr, point: Point, known: dict[int, Any]) -> Any:
        if id(expr) not in known:
            known[id(expr)] = self._evaluate(expr, point, known)
        return known[id(expr)]

    def _evaluate(self, expr: Expr, point: Point, known: dict[int, Any]) -> Any:
        if isinstance(expr, Const):
            return expr.value
        if isinstance(expr, AxisValue):
            return expr.dtype.type(self._index(expr.index, point))
        if isinstance(expr, Local):
            stage = expr.stage
            if isinstance(stage.kind, Reduce):
                return self.results[stage][()][expr.k]
            return self.results[stage][tuple([point[a] for a in stage.axes])][expr.k]
        if isinstance(expr, Load):
            access = expr.access
            if not all(low <= self._index(i, point) < high for i, low, high in access.guard):
                return (
                    access.buffer.aval.dtype.type(0)
                    if access.other is None
                    else self._value(access.other, point, known)
                )
            buffer = self.made[access.buffer] if access.buffer in self.made else self.buffers[access.buffer]
            return buffer[self._position(access, point)] if access.buffer.aval.shape else buffer
        assert isinstance(expr, Op)
        args = [self._value(a, point, known) for a in expr.args]
        args = [np.asarray(a) if isinstance(a, np.generic) else a for a in args]
        value = expr.prim.impl(np, *args, **expr.params)
        return np.asarray(value)[()]

    def _position(self, access: Access, point: Point) -> tuple[int, ...]:
        return tuple([self._index(i, point) for i in access.position])

    def _index(self, index: Index, point: Point) -> int:
        total = index.const
        for atom, c in index.terms:
            if isinstance(atom, Axis):
                total += c * point[atom]
            elif isinstance(atom, FloorDiv):
                total += c * (self._index(atom.index, point) // atom.by)
            elif isinstance(atom, Mod):
                total += c * (self._index(atom.index, point) % atom.by)
            else:
                total += c * self._place(atom, point)
        return total

    def _place(self, value: Value, point: Point) -> int:
        i = given = int(self._value(value.expr, point, {}))
        if i < 0:
            i += value.turn
        if value.mode == "clip":
            return min(max(i, 0), value.extent - 1)
        if value.mode == "raise" and not 0 <= i < value.extent:
            raise IndexError(f"index {given} is out of bounds for axis {value.axis} with extent {value.extent}")
        return i
