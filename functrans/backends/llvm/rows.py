"""Rows: the stages of a level in one loop over the axes that are reduced or run along.

A reduction has as many partial results as there are lanes and vectors side by side. They are combined pairwise, and so
are the sums of stretches of a long row, so that the error grows as slowly as that of NumPy's pairwise sums.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans.backends.llvm.builder import V, joined
from functrans.backends.llvm.casts import computing, convert, fitted, lane
from functrans.backends.llvm.complexes import collected
from functrans.backends.llvm.nest import identity
from functrans.backends.llvm.operations import compared, is_nan, maximum
from functrans.backends.llvm.values import Values, finished, result_dtype
from functrans.kernel.index import Axis
from functrans.kernel.ir import Reduce, Scan, Stage

TURNS = 64
"""Additions in a row, before their sum is added to those of others."""
_PLACE = "i32"
"""The places of extrema: rows of more elements than that holds are no rows of a kernel."""

Slots = list[list[tuple[V, ...]]]
"""The partial results: for each vector side by side, for each stage, the vectors that it is made of."""


class Rows(Values):
    """The loops of rows."""

    chunk: str
    some: tuple[str, str]

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

    def _pass(self, stages: Sequence[Stage], copies: int) -> None:
        """The stages of a level in one loop over the row."""
        nest = self.nest
        self.pass_stages = stages
        self.copies = copies
        running = [s for s in stages if isinstance(s.kind, (Reduce, Scan))]
        self.sums = any(result_dtype(s).kind in "fc" and s.kind.monoid in ("add", "mul") for s in running)  # type: ignore[union-attr]
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
                self.shared[-1][id(stage)] = self._whole_result(stage, total)
            else:
                for u, part in enumerate(parts):
                    self.private[u][-1][id(stage)] = self._whole_result(stage, part)
            if nest.chunk is None:
                for store in stage.stores:
                    for copy in range(1 if nest.in_row else copies):
                        self.copy = copy
                        self._store(store.access, self._result(stage))

    def _whole_result(self, stage: Stage, parts: tuple[V, ...]) -> V:
        """What later stages read, unless it is a chunk's that the others are missing from."""
        if stage.kind.monoid.startswith("arg"):  # type: ignore[union-attr]
            return self.b.cast("sext", parts[-1], "i64")
        return parts[-1] if self.nest.chunk is not None else finished(self.b, stage, parts[-1])

    def _starts(self) -> list[list[tuple[V, ...]]]:
        return [[self._start(s, u) for s in self.running] for u in range(self.slots)]

    def _start(self, stage: Stage, slot: int = 0) -> tuple[V, ...]:
        """What the results of a stage start from; for the place of an extremum the first element of each lane."""
        dtype = stage.values[0].dtype
        monoid = stage.kind.monoid  # type: ignore[union-attr]
        if monoid in ("and", "or"):
            dtype = np.dtype(bool)
        w = self.width
        if isinstance(stage.kind, Scan) and self.nest.in_row:
            w = 1
        first = self.b.const(identity(monoid, dtype), lane(dtype), w)
        if not monoid.startswith("arg"):
            return (first,)
        if not self.nest.in_row or self.lane is None:
            return (first, self.b.const(0, _PLACE, w))
        return (first, V("<" + ", ".join(f"{_PLACE} {slot * w + k}" for k in range(w)) + ">", _PLACE, w))

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
            running = isinstance(stage.kind, Scan)
            if monoid == "add":
                total = b.add(a, c)
            else:
                total = collected(b, a, c, running) if a.im else b.mul(a, c)
            return (fitted(b, total, dtype) if running else total,)
        i, j = x[1], y[1]
        better = compared(b, "lt" if monoid == "argmin" else "gt", c, a, dtype)
        same = compared(b, "eq", a, c, dtype)
        if computing(dtype).kind in "fc":
            lost, new = is_nan(b, a), is_nan(b, c)
            better = b.op("or", better, b.op("and", new, b.op("xor", lost, b.like(1, lost))))
            same = b.op("or", same, b.op("and", lost, new))
        take = b.op("or", better, b.op("and", same, b.compare("slt", j, i)))
        return (b.select(take, c, a), b.select(take, j, i))

    def _later(self, stage: Stage, acc: tuple[V, ...], c: V, j: V, mask: V | None) -> tuple[V, ...]:
        """The place of an extremum with a later element taken in: that has to be better, and not as good."""
        b = self.b
        low = stage.kind.monoid == "argmin"  # type: ignore[union-attr]
        a, i = acc
        if c.floating and not c.im:
            take = b.op("and", b.compare("ult" if low else "ugt", c, a), b.compare("ord", a, a))
        else:
            dtype = stage.values[0].dtype
            take = compared(b, "lt" if low else "gt", c, a, dtype)
            if c.im:
                kept = b.op("xor", is_nan(b, a), b.const(1, "i1", a.w))
                take = b.op("or", take, b.op("and", is_nan(b, c), kept))
        if mask is not None:
            take = b.op("and", take, mask)
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

    def _bounds(self, axis: Axis) -> tuple[str, str]:
        chunk = self.nest.chunk
        if chunk is None or chunk[0] is not axis:
            return "0", str(axis.extent)
        if self.nest.abreast:
            return self.some
        low = self.b.imul(self.chunk, chunk[1])
        high = self.b.iadd(low, str(chunk[1]))
        return low, high if axis.extent % chunk[1] == 0 else self.b.imin(high, str(axis.extent))

    def _turns(
        self, low: str, high: str, step: int, count: int, accs: Slots, turn: Callable[[str, Slots], Slots]
    ) -> Slots:
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
            return (
                self._lane_loop(accs) if self.nest.in_row and self.lane is not None else self._body(accs, self.copies)
            )
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
            for copy in range(copies):
                self.copy = copy
                self._compute(self.nest.expressions([stage]))
                if stage in self.running:
                    n = self.running.index(stage)
                    results[self.copy][n] = self._run(stage, accs[self.copy][n])
        for stage in self.pass_stages:
            kind = stage.kind
            if isinstance(kind, Reduce):
                continue
            for copy in range(copies):
                self.copy = copy
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
        if not monoid.startswith("arg"):
            if self.mask is not None and in_lanes:
                v = b.select(self.mask, v, self._start(stage)[0])
            total = self._combine(stage, acc, (v,))
            if isinstance(stage.kind, Scan):
                self.private[self.copy][-1][id(stage)] = total[0]
            return total
        (axis,) = stage.axes
        axis = self.nest.row[0]
        here = self.base[self.copy] if axis is self.lane else self.names_of[axis]
        here = b.emit(f"trunc i64 {here} to {_PLACE}") if here.startswith("%") else here
        at = b.vector(here, _PLACE, self.width)
        if axis is self.lane:
            at = b.add(at, b.lanes(self.width, _PLACE))
        return self._later(stage, acc, v, at, self.mask if in_lanes else None)

    def _scan_lanes(self, stage: Stage, acc: tuple[V, ...], v: V) -> tuple[V, ...]:
        """A running result lane after lane, as NumPy accumulates."""
        b = self.b
        if self.mask is not None:
            dtype = stage.values[0].dtype
            v = b.select(self.mask, v, b.like(identity(stage.kind.monoid, dtype), v))  # type: ignore[union-attr]
        total = acc
        out = joined([V("poison", p.ty, p.w) for p in v.parts])
        order = range(self.width - 1, -1, -1) if self.reverse else range(self.width)
        for k in order:
            one = b.shuffle(v, [k])
            total = self._combine(stage, total, (one,))
            out = b.each(lambda o, t, k=k: b.insert(o, t, k), out, total[0])
        self.private[self.copy][-1][id(stage)] = out
        return total
