"""The values of a kernel as C++: each computed once where the loops have got to, and read from memory in packs.

A value of a row that several stages need is computed by the first of them, and stays in registers where there is room.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from functrans.backends.cupy.operations import computed_in, converted, held, is_half, number, rounded, stored
from functrans.core.dtypes import DType
from functrans.core.jaxpr import Var
from functrans.kernel.index import Axis, FloorDiv, Index, Mod
from functrans.kernel.ir import (
    Access,
    AxisValue,
    Const,
    Expr,
    Kernel,
    Load,
    Local,
    Op,
    Reduce,
    Stage,
    operands,
    ordered,
)
from functrans.kernel.places import Places, coefficient

PACK_BYTES = 16
PACK = 8
"""Elements that a thread takes together at most."""


class Launch(NamedTuple):
    """How one function is launched.

    Attributes:
        barrier_free: whether its threads do without each other.
    """

    name: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    barrier_free: bool


class Values:
    """What is known at each place of a kernel's functions, and how more is computed.

    Attributes:
        levels: the stages that run at each grid point, ``(grid stages, row stages)`` by turns.
        made: the level at which each value of the row is computed first.
        kept: values of the row that later levels read too, by their arrays of registers.
        in_registers: whether they stay there; they are computed again otherwise.
        known: the names of values, in scopes that open and close with the braces.
        packs: what is read and written as a part of a pack.
        staged: what is read from a tile.
    """

    def __init__(self, kernel: Kernel, shared: frozenset[Var]) -> None:
        self.kernel = kernel
        self.shared = shared
        self.buffers: tuple[Var, ...] = tuple(dict.fromkeys([*kernel.inputs, *kernel.outs]))
        self.names = {v: f"b{n}" for n, v in enumerate(self.buffers)}
        self.places = Places(kernel)
        self.whole = "i32" if all(v.aval.size < 2**31 for v in self.buffers) else "i64"
        self.launches: list[Launch] = []
        self._axes: dict[int, frozenset[Axis]] = {}
        for e in self.places.exprs:  # from the leaves up, so that no recursion is deep
            self._depends(e)
        self._levels()

    def _combine(self, stage: Stage, value: str) -> str:
        """The statement that adds a value to what a reduction has so far."""
        raise NotImplementedError

    # -- order ----------------------------------------------------------------------------------------------------

    def _levels(self) -> None:
        """What reads a finished reduction comes one level later."""
        level: dict[Stage, int] = {}
        for stage in self.kernel.stages:
            at = 0
            for e in ordered(stage.values):
                if isinstance(e, Local):
                    at = max(at, level[e.stage] + (isinstance(e.stage.kind, Reduce) and bool(e.stage.axes)))
            level[stage] = at
        self.levels: list[tuple[list[Stage], list[Stage]]] = [([], []) for _ in range(max(level.values()) + 1)]
        for stage in self.kernel.stages:
            self.levels[level[stage]][bool(stage.axes)].append(stage)
        self._find_shared()

    def _find_shared(self) -> None:
        """What later levels read of the row that earlier ones have computed."""
        self.made: dict[int, int] = {}
        self.kept: dict[int, tuple[str, DType]] = {}
        for n, (_, row) in enumerate(self.levels):
            stack = [v for stage in row for v in stage.values]
            seen: set[int] = set()
            while stack:
                e = _resolved(stack.pop())
                if isinstance(e, (Const, Local)) or id(e) in seen or not self._depends(e) & set(self.places.row):
                    continue
                seen.add(id(e))
                if self.made.setdefault(id(e), n) < n:
                    self.kept.setdefault(id(e), (f"kept{len(self.kept)}", e.dtype))
                else:
                    stack.extend(operands(e))

    def _depends(self, expr: Expr) -> frozenset[Axis]:
        """The merged axes that a value depends on."""
        found = self._axes.get(id(expr))
        if found is not None:
            return found
        found = frozenset()
        if isinstance(expr, Load):
            indices = [self.places.flat(expr.access), *[self.places.form(i) for i, _, _ in expr.access.guard]]
            for i in indices:
                found |= i.axes()
                found = found.union(*[self._depends(a.expr) for a, _ in i.terms if hasattr(a, "expr")])
            if expr.access.other is not None:
                found |= self._depends(expr.access.other)
        elif isinstance(expr, AxisValue):
            found = frozenset(self.places.form(expr.index).axes())
        elif isinstance(expr, Op):
            found = found.union(*[self._depends(a) for a in expr.args])
        elif isinstance(expr, Local):
            found = self._depends(expr.stage.values[expr.k])
            if isinstance(expr.stage.kind, Reduce):
                found -= set(self.places.row)
        self._axes[id(expr)] = found
        return found

    # -- text -----------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self.lines: list[str] = []
        self.depth = 1
        self.count = 0
        self.known: list[dict[int, str]] = [{}]
        self.axis_names: dict[Axis, str] = {}
        self.packs: dict[int, str] = {}
        self.in_registers = False
        self.level = 0
        self.staged: dict[int, str] = {}

    def _line(self, text: str) -> None:
        self.lines.append("  " * self.depth + text)

    @contextmanager
    def _block(self, head: str) -> Iterator[None]:
        """Braces; what is computed inside is forgotten after them."""
        self._line(f"{head} {{".lstrip())
        self.depth += 1
        self.known.append({})
        yield
        self.known.pop()
        self.depth -= 1
        self._line("}")

    def _let(self, ty: str, text: str) -> str:
        name = f"t{self.count}"
        self.count += 1
        self._line(f"const {ty} {name} = {text};")
        return name

    def _function(self, name: str, launch: Launch, work: Sequence[str] = ()) -> str:
        self.launches.append(launch)
        params = []
        for v, b in self.names.items():
            const = "const " if v not in self.kernel.outs else ""
            params.append(f"{const}{stored(v.aval.dtype)}* {'' if v in self.shared else '__restrict__ '}{b}")
        x, y, z = launch.block
        head = f'extern "C" __global__ void __launch_bounds__({x * y * z}) {name}({", ".join([*params, *work])}) {{'
        return "\n".join([head, *self.lines, "}", f"FT_EXPORT({name})", ""])

    def _unpack(self, linear: str, axes: Sequence[Axis]) -> None:
        """The place along each axis from the place along all of them together."""
        for n, axis in enumerate(reversed(axes)):
            if axis.extent == 1:
                self.axis_names[axis] = "0"
            elif n == len(axes) - 1:
                self.axis_names[axis] = linear
            else:
                self.axis_names[axis] = self._let(self.whole, self._remaining(linear, axis.extent))
                linear = self._let(self.whole, self._quotient(linear, axis.extent))

    def _quotient(self, text: str, by: int) -> str:
        return f"({self.whole})((u{self.whole[1:]}){text} / {by}u)"

    def _remaining(self, text: str, by: int) -> str:
        return f"({self.whole})((u{self.whole[1:]}){text} % {by}u)"

    # -- values ---------------------------------------------------------------------------------------------------

    def _known(self, key: int) -> str | None:
        for scope in reversed(self.known):
            if key in scope:
                return scope[key]
        return None

    def _value(self, e: Expr) -> str:
        e = _resolved(e)
        if isinstance(e, Const):
            return number(e.value, e.dtype)
        found = self._known(id(e.stage) if isinstance(e, Local) else id(e))
        if found is not None:
            return found
        name = self._register(e)
        if name is not None and self.made[id(e)] < self.level:
            return name
        if isinstance(e, Load):
            text = self._load(e)
        elif isinstance(e, AxisValue):
            text = converted(f"(i64)({self._index(self.places.form(e.index))})", np.dtype(np.int64), e.dtype)
        else:
            assert isinstance(e, Op)
            text = self._operate(e)
        found = self.known[-1][id(e)] = self._let(held(e.dtype), text)
        if name is not None:
            self._line(f"{name} = {found};")
        return found

    def _register(self, e: Expr) -> str | None:
        """Where a value of the row stays, if it does."""
        kept = self.kept.get(id(e)) if self.in_registers else None
        return None if kept is None else f"{kept[0]}[k][v]"

    def _operand(self, e: Expr, dtype: DType) -> str:
        if isinstance(e, Const):
            return number(np.asarray(e.value).astype(dtype)[()], dtype)
        return converted(self._value(e), e.dtype, dtype)

    def _operate(self, op: Op) -> str:
        name = op.prim.name
        if name in ("convert", "stop_gradient"):
            return self._operand(op.args[0], op.dtype)
        if name == "select":
            c, x, y = op.args
            return f"ft_select({self._value(c)}, {self._operand(x, op.dtype)}, {self._operand(y, op.dtype)})"
        if name == "complex":
            part = np.dtype(f"f{op.dtype.itemsize // 2}")
            return f"ft_complex_of({', '.join(self._operand(a, part) for a in op.args)})"
        dtype = op.dtype
        if name in ("abs", "real", "imag"):
            dtype = op.args[0].dtype
        elif dtype.kind == "b":
            dtype = computed_in([a.dtype for a in op.args], [_weak(a) for a in op.args])
        return rounded(f"ft_{name}({', '.join(self._operand(a, dtype) for a in op.args)})", op.dtype)

    # -- indices and memory ---------------------------------------------------------------------------------------

    def _index(self, index: Index) -> str:
        parts = []
        for atom, c in index.terms:
            if isinstance(atom, Axis):
                text = self.axis_names[atom]
            elif isinstance(atom, (FloorDiv, Mod)):
                text = self._divided(atom)
            else:
                text = f"({self.whole}){self._value(atom.expr)}"
            parts.append(text if c == 1 else f"{c} * {text}")
        if index.const or not parts:
            parts.append(str(index.const))
        text = " + ".join(parts)
        return f"({text})" if len(parts) > 1 else text

    def _divided(self, atom: FloorDiv | Mod) -> str:
        inner = self._index(atom.index)
        first = isinstance(atom, FloorDiv)
        if atom.index.bounds()[0] >= 0:
            return f"({self._quotient(inner, atom.by) if first else self._remaining(inner, atom.by)})"
        return f"ft_{'floor_divide' if first else 'remainder'}<{self.whole}>({inner}, {atom.by})"

    def _load(self, e: Load) -> str:
        access = e.access
        if id(e) in self.packs:
            return self._got(f"{self.packs[id(e)]}.at[v]", access.buffer.aval.dtype)
        if id(e) in self.staged:
            return self._got(self.staged[id(e)], access.buffer.aval.dtype)
        text = self._got(f"{self.names[access.buffer]}[{self._index(self.places.flat(access))}]", e.dtype)
        tests = self._tests(access)
        if tests:
            other = number(0, e.dtype) if access.other is None else self._operand(access.other, e.dtype)
            return f"{' && '.join(tests)} ? {text} : {other}"
        return text

    def _tests(self, access: Access) -> list[str]:
        tests = []
        for i, low, high in access.guard:
            form = self.places.form(i)
            first, last = form.bounds()
            if first < low:
                tests.append(f"{self._index(form)} >= {low}")
            if last >= high:
                tests.append(f"{self._index(form)} < {high}")
        return tests

    def _got(self, place: str, dtype: DType) -> str:
        return f"({place} != 0)" if dtype.kind == "b" else f"ft_get({place})" if is_half(dtype) else place

    def _stored(self, value: str, dtype: DType) -> str:
        return f"ft_put<{stored(dtype)}>({value})" if is_half(dtype) or dtype.kind == "b" else value

    def _store(self, stage: Stage) -> None:
        """What a stage stores at the place where the loops have got to."""
        for store in stage.stores:
            buffer = store.access.buffer
            value = self._stored(self._stage_value(stage, store.k), buffer.aval.dtype)
            pack = self.packs.get(id(store))
            place = f"{self.names[buffer]}[{self._index(self.places.flat(store.access))}]"
            self._line(f"{place if pack is None else f'{pack}.at[v]'} = {value};")

    def _stage_value(self, stage: Stage, k: int) -> str:
        return self._value(Local(stage, k))

    # -- neighbouring points --------------------------------------------------------------------------------------

    def _pack(self, axis: Axis | None, stages: Sequence[Stage]) -> int:
        """How many neighbours along an axis a thread takes: all that is read and written there lies well, or stays."""
        if axis is None:
            return 1
        widest = 1
        for access in self.places.accesses:
            c, plain = coefficient(self.places.flat(access), axis)
            if plain and c == 1:
                widest = max(widest, access.buffer.aval.dtype.itemsize)
        count = min(PACK_BYTES // widest, PACK)
        while count > 1:
            if axis.extent % count == 0 and all(
                self._packed(s.access, axis, count) for st in stages for s in st.stores
            ):
                return count
            count //= 2
        return 1

    def _packed(self, access: Access, axis: Axis, count: int) -> bool:
        """Whether neighbours along an axis are one aligned access."""
        flat = self.places.flat(access)
        c, plain = coefficient(flat, axis)
        if c != 1 or not plain or access.guard or access.buffer.aval.dtype.itemsize * count > PACK_BYTES:
            return False
        return all(by % count == 0 for atom, by in flat.terms if atom is not axis) and flat.const % count == 0

    def _read_packs(self, stages: Sequence[Stage], axis: Axis, count: int) -> list[tuple[Any, str]]:
        """Read what lies together; the packs to write afterwards."""
        self.packs = {}
        for e in self._wanted(stages):
            if isinstance(e, Load) and self._known(id(e)) is None and self._packed(e.access, axis, count):
                ty = f"ft_pack<{stored(e.access.buffer.aval.dtype)}, {count}>"
                place = f"{self.names[e.access.buffer]} + {self._index(self.places.flat(e.access))}"
                self.packs[id(e)] = self._let(ty, f"*(const {ty}*)({place})")
        writes = []
        for stage in stages:
            for store in stage.stores:
                name = f"t{self.count}"
                self.count += 1
                self._line(f"ft_pack<{stored(store.access.buffer.aval.dtype)}, {count}> {name};")
                self.packs[id(store)] = name
                writes.append((store, name))
        return writes

    def _wanted(self, stages: Sequence[Stage]) -> list[Expr]:
        """What some stages compute, operands first, that is not at hand."""
        found: list[Expr] = []
        done: set[int] = set()
        stack: list[tuple[Expr, bool]] = [(v, False) for stage in stages for v in stage.values]
        while stack:
            e, ready = stack.pop()
            e = _resolved(e)
            if ready:
                found.append(e)
            elif id(e) not in done and not isinstance(e, (Const, Local)):
                done.add(id(e))
                if self._register(e) is None or self.made[id(e)] == self.level:
                    stack.append((e, True))
                    stack.extend([(a, False) for a in operands(e)])
        return found

    def _write_packs(self, writes: Sequence[tuple[Any, str]], count: int) -> None:
        for store, name in writes:
            buffer = store.access.buffer
            ty = f"ft_pack<{stored(buffer.aval.dtype)}, {count}>"
            self._line(f"*({ty}*)({self.names[buffer]} + {self._index(self.places.flat(store.access))}) = {name};")
        self.packs = {}

    def _neighbours(self, stages: Sequence[Stage], axis: Axis | None, count: int, start: str) -> None:
        """Run some stages at ``count`` places along an axis, the first of which is ``start``."""
        if count == 1 or axis is None:
            self._run(stages)
            return
        self.axis_names[axis] = start
        writes = self._read_packs(stages, axis, count)
        self._line("#pragma unroll")
        with self._block(f"for (int v = 0; v < {count}; ++v)"):
            self.axis_names[axis] = f"({start} + v)"
            self._run(stages)
        self.axis_names[axis] = start
        self._write_packs(writes, count)

    def _run(self, stages: Sequence[Stage]) -> None:
        for stage in stages:
            if isinstance(stage.kind, Reduce):
                value = self._value(stage.values[0])
                self._line(self._combine(stage, value))
                continue
            for v in stage.values:
                self._value(v)
            self._store(stage)


def _resolved(e: Expr) -> Expr:
    """An expression, or where it is what an earlier stage computes point by point, that."""
    while isinstance(e, Local) and not isinstance(e.stage.kind, Reduce):
        e = e.stage.values[e.k]
    return e


def _weak(e: Expr) -> Any:
    """The Python number that an expression is, or one like it where it is read; else None."""
    if isinstance(e, Const):
        return e.value if type(e.value) in (bool, int, float, complex) else None
    if isinstance(e, Load) and e.access.buffer.aval.box == "python":
        return e.dtype.type(0).item()
    return None
