"""The values of a kernel where its loops have got to: each computed once, in the outermost loop that it is constant in.

Values that all lanes share are vectors of one lane. What is known is kept in scopes that open and close with the loops:
one stack for what is shared, and one for each of the vectors that are computed side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from functrans.backends.llvm.builder import BITS, Builder, V
from functrans.backends.llvm.casts import bits_of, computing, convert, fitted, kept, lane, loaded, of_bits, stored
from functrans.backends.llvm.complex_functions import static_power as complex_power
from functrans.backends.llvm.computed import PLACES, Computed
from functrans.backends.llvm.nest import Nest, without
from functrans.backends.llvm.operations import emitted, operand_dtypes, reduced_precision, static_exponent, static_power
from functrans.core.dtypes import DType
from functrans.core.jaxpr import Var
from functrans.kernel.index import Axis, FloorDiv, Index, Mod, Value
from functrans.kernel.ir import Access, AxisValue, Const, Expr, Load, Local, Op, Reduce, Scan, Stage, operands


class Values(Computed):
    """What is known, and how more is computed.

    Attributes:
        b: the function that is being written.
        lane, width: the axis that lanes run along, and how many there are.
        copy: which of the vectors side by side is being computed.
        names_of: the places of the open loops.
        base: the place of the first lane of each of the vectors side by side.
        mask: the lanes that exist, where some do not.
        places: where in the work memory values are kept.
        memory: the address of that memory.
        pass_stages: the stages of the row that is being run along.
    """

    def __init__(self, nest: Nest, pointers: dict[Var, str]) -> None:
        self.nest = nest
        self.pointers = pointers
        self.memory = "%work"
        self.lane: Axis | None = nest.lane
        self.width = nest.width
        self.places: dict[Any, int] = {}

    def begin(self, b: Builder) -> None:
        """Start a function, in which nothing is known."""
        self.b = b
        self.shared: list[dict[Any, V]] = [{}]
        self.private: list[list[dict[Any, V]]] = [[{}] for _ in range(self.nest.unroll)]
        self.copy = 0
        self.names_of: dict[Axis, str] = {}
        self.base: list[str] = []
        self.mask: V | None = None
        self.pass_stages: Sequence[Stage] = ()

    turned: Axis | None = None
    """An axis that the vectors side by side stand at neighbouring places of."""

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

    def _mask(self, i: str, end: str | None) -> V | None:
        if end is None:
            return None
        b = self.b
        at = b.add(b.vector(i, "i64", self.width), b.lanes(self.width))
        return b.compare("slt", at, b.vector(end, "i64", self.width))

    def _result(self, stage: Stage) -> V:
        found = self._known(id(stage))
        assert found is not None
        return found

    # -- values -------------------------------------------------------------------------------------------------

    def _in_lanes(self, axes: Any) -> bool:
        return self.lane is not None and self.lane in axes

    def _known(self, key: Any) -> V | None:
        found: V | None = None
        for stack in (self.private[self.copy], self.shared):
            for scope in reversed(stack):
                found = scope.get(key)
                if found is not None:
                    return found
        return found

    def _remember(self, key: Any, v: V, in_lanes: bool) -> V:
        (self.private[self.copy] if in_lanes else self.shared)[-1][key] = v
        return v

    def _compute(self, exprs: Sequence[Expr]) -> None:
        for e in exprs:
            if not isinstance(e, Const):
                self._value(e)

    def _hoist_everything(self) -> None:
        """Compute what depends on nothing but the loops that are open."""
        nest = self.nest
        open_axes = set(self.names_of)
        if self.base and self.lane is not None and not nest.in_row:
            open_axes.add(self.lane)
        everything = [s for grid, row in nest.levels for s in (*grid, *row)]
        stages = (self.pass_stages or everything) if self.base else everything
        for stage in stages:
            for e in nest.expressions([stage]):
                if isinstance(e, (Const, Local)):
                    continue
                if nest.axes(e) <= open_axes and self._args_known(e):
                    for copy in range(len(self.base) if self._in_lanes(nest.axes(e)) else 1):
                        self.copy = copy
                        self._value(e)
                elif isinstance(e, Load):
                    self._hoist_place(e.access)
            for store in stage.stores:
                self._hoist_place(store.access)
        self.copy = 0

    def _hoist_place(self, access: Access) -> None:
        rest = without(self.nest.flat(access), self.lane)
        if rest.terms and self.nest.depends(rest) <= set(self.names_of) - {self.turned}:
            if all(self._is_known(value.expr) for value in rest.values()):
                self._scalar_index(rest)
        for i, low, high in access.guard:
            index = self.nest.form(i)
            if self.nest.depends(index) <= set(self.names_of) - {self.turned} and not any(True for _ in index.values()):
                self._inside(index, low, high)

    def _args_known(self, e: Expr) -> bool:
        """Whether what an expression reads has been computed: rows that are not finished have no results yet."""
        return all(self._is_known(a) for a in operands(e))

    def _is_known(self, e: Expr) -> bool:
        return isinstance(e, Const) or self._known(id(_origin(e))) is not None

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
            v = convert(b, self._index(self.nest.form(e.index), w), PLACES, e.dtype)
        else:
            assert isinstance(e, Op)
            v = self._operate(e, w)
        return self._remember(id(e), v, in_lanes)

    def _local(self, e: Local) -> V:
        stage = e.stage
        if isinstance(stage.kind, Reduce):
            return self._result(stage)
        key = (stage, e.k)
        if key not in self.nest.kept or stage in self.pass_stages:
            return self._result(stage) if isinstance(stage.kind, Scan) else self._value(stage.values[e.k])
        known = self._known((id(stage), e.k))
        if known is not None:
            return known
        store = self.nest.kept[key]
        dtype = e.dtype
        if store is not None:
            in_lanes = self._in_lanes(self.nest.depends(self.nest.flat(store)))
            v = self._load(store, self.width if in_lanes else 1)
        else:
            in_lanes = True
            v = loaded(self.b, self.b.load(stored(dtype), self.width, self._scratch(key)), dtype)
        return self._remember((id(stage), e.k), v, in_lanes)

    def _operand(self, e: Expr, dtype: DType, w: int) -> V:
        b = self.b
        if isinstance(e, Const):
            return b.const(np.asarray(e.value).astype(dtype)[()], lane(dtype), w)
        v, old = self._value(e), e.dtype
        if old.kind == "i" and dtype.kind != "i" and _weak(e) is not None:
            # NumPy takes a Python int to a float by way of a double.
            v, old = convert(b, v, old, np.dtype(np.float64)), np.dtype(np.float64)
        return b.spread(convert(b, v, old, dtype), w)

    def _operate(self, op: Op, w: int) -> V:
        b, name = self.b, op.prim.name
        if name == "select":
            c = b.spread(self._value(op.args[0]), w)
            return b.select(c, self._operand(op.args[1], op.dtype, w), self._operand(op.args[2], op.dtype, w))
        if name in ("convert", "stop_gradient"):
            return self._operand(op.args[0], op.dtype, w)
        if name == "bitcast_convert_type":
            old = op.args[0].dtype
            return of_bits(b, bits_of(b, self._operand(op.args[0], old, w), old), op.dtype)
        if name == "reduce_precision":
            return reduced_precision(b, self._operand(op.args[0], op.dtype, w), op.dtype, **op.params)
        if name == "scalar_pow":
            return complex_power(b, self._operand(op.args[0], op.dtype, w), op.params["exponent"])
        if name == "pow" and isinstance(op.args[1], Const):
            n = static_exponent(op.args[1].value, op.dtype)
            if n is not None:
                return static_power(b, self._operand(op.args[0], op.dtype, w), n, op.dtype)
        taken = operand_dtypes(name, [a.dtype for a in op.args], [_weak(a) for a in op.args], op.dtype)
        args = [self._operand(a, d, w) for a, d in zip(op.args, taken, strict=True)]
        return emitted(b, name, args, taken[0])

    # -- indices ------------------------------------------------------------------------------------------------

    def _name(self, axis: Axis) -> str:
        """The place of an open loop."""
        return self.names_of[axis]

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
                term = self._name(atom)
            elif isinstance(atom, Value):
                term = b.scalar(self._place(atom))
            else:
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
        if not self._varies(index):
            return (
                b.vector(self._scalar_index(index), "i64", w)
                if w == 1 or index.terms
                else b.const(index.const, "i64", w)
            )
        rest = Index(index.const, tuple([(a, c) for a, c in index.terms if not self._varies(Index(0, ((a, 1),)))]))
        total = b.vector(self._scalar_index(rest), "i64", w)
        for atom, c in index.terms:
            if not self._varies(Index(0, ((atom, 1),))):
                continue
            if isinstance(atom, Axis):
                term = b.add(b.vector(self.base[self.copy], "i64", w), b.lanes(w))
            elif isinstance(atom, Value):
                term = b.spread(self._place(atom), w)
            else:
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

    def _load(self, access: Access, w: int) -> V:
        dtype = access.buffer.aval.dtype
        for i in access.position:
            for value in i.values():
                self._place(value)  # an axis of one place has no index, but it has bounds
        mask = self._guard(access, w)
        other = None
        if mask is not None and access.other is not None:
            other = kept(self.b, self._operand(access.other, dtype, w), dtype)
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
        c, plain = self.nest.coefficient(flat, self.lane) if self.lane is not None else (0, True)
        if not plain:
            v = b.gather(ty, w, pointer, self._index(flat, w), mask, other)
            return loaded(self.b, v, dtype)
        place = b.address(pointer, ty, self._first(flat, c))
        if c == 1 or w == 1:
            v = b.load(ty, w, place, mask, other)
        elif c == -1:
            place = b.address(place, ty, str(1 - w))
            mask, other = (x and b.shuffle(x, range(w - 1, -1, -1)) for x in (mask, other))
            v = b.shuffle(b.load(ty, w, place, mask, other), range(w - 1, -1, -1))
        elif c == 2 and mask is None and not ty.startswith("c"):
            # The second half ends with the last element that is needed: there may be none behind it.
            first, second = b.load(ty, w, place), b.load(ty, w, b.address(place, ty, str(w - 1)))
            v = b.shuffle(first, [2 * k if 2 * k < w else 2 * k + 1 for k in range(w)], second)
        else:
            v = b.gather(ty, w, place, self._steps(c, w), mask, other)
        return loaded(self.b, v, dtype)

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
            held = self._inside(self.nest.form(i), low, high)
            if held is not None:
                held = b.spread(held, w)
                mask = held if mask is None else b.op("and", mask, held)
        return mask

    def _inside(self, index: Index, low: int, high: int) -> V | None:
        """Whether an index lies in a range, in as many lanes as it needs; None where it always does."""
        first, last = index.bounds()
        if low <= first and last < high:
            return None
        key = ("inside", index, low, high)
        known = self._known(key)
        if known is not None:
            return known
        b, varies = self.b, self._varies(index)
        at = self._index(index, self.width if varies else 1)
        held: V | None = None
        if first < low:
            held = b.compare("sge", at, b.like(low, at))
        if last >= high:
            below = b.compare("slt", at, b.like(high, at))
            held = below if held is None else b.op("and", held, below)
        assert held is not None
        return self._remember(key, held, varies)

    def _store(self, access: Access, v: V) -> None:
        self._write(self.pointers[access.buffer], self.nest.flat(access), v, access.buffer.aval.dtype)

    def _write(self, pointer: str, flat: Index, v: V, dtype: DType) -> None:
        b = self.b
        c, plain = self.nest.coefficient(flat, self.lane) if self.lane is not None else (0, True)
        assert plain
        v = kept(b, v, dtype)
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
        ty = stored(dtype_of(*key))
        start = self.places[key] * 8 // BITS[ty] + (0 if self.nest.in_row else self.copy * size)
        rest = self._scalar_index(without(index, self.lane))
        if self.nest.in_row:
            rest = b.iadd(rest, self.base[self.copy])
        return b.address(self.memory, ty, b.iadd(rest, str(start)))

    def _keep(self, key: tuple[Stage, int], v: V) -> None:
        self.b.store(kept(self.b, self.b.spread(v, self.width), dtype_of(*key)), self._scratch(key))


def _origin(e: Expr) -> Any:
    """What a value is known by."""
    while isinstance(e, Local):
        if isinstance(e.stage.kind, (Reduce, Scan)):
            return e.stage
        e = e.stage.values[e.k]
    return e


def _weak(e: Expr) -> Any:
    """The Python number that an expression is, or the type of one that is read; else None."""
    if isinstance(e, Const):
        return e.value if type(e.value) in (bool, int, float, complex) else None
    if isinstance(e, Load) and e.access.buffer.aval.box == "python":
        return type(e.dtype.type(0).item())
    return None


def dtype_of(stage: Stage, k: int) -> DType:
    return stage.values[k].dtype


def result_dtype(stage: Stage) -> DType:
    """The dtype of what a stage combines to, before it is rounded to that of its values."""
    monoid = stage.kind.monoid  # type: ignore[union-attr]
    if monoid.startswith("arg"):
        return PLACES
    if monoid in ("and", "or"):
        return np.dtype(bool)
    dtype = stage.values[0].dtype
    return computing(dtype) if isinstance(stage.kind, Reduce) and monoid in ("add", "mul") else dtype


def finished(b: Builder, stage: Stage, v: V) -> V:
    """The result of a stage in its own dtype: sums of narrow floats are rounded in the end."""
    dtype = stage.values[0].dtype
    return v if result_dtype(stage) == dtype else fitted(b, v, dtype)
