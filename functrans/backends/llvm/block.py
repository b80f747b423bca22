"""Straight lines of native steps: what each reads and makes, where values live, and the function that is written.

A value is known by its address, or as a vector of one lane in a register where it has one element, or both. A block has
one piece of memory for the values in between, planned by first fit, and working memory of its steps in it too. Results
are written where the block's user wants them.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from functrans.backends.llvm.builder import BITS, Builder, V
from functrans.backends.llvm.checking import new_builder
from functrans.backends.llvm.emit import KernelText
from functrans.backends.llvm.operations import lane, stored
from functrans.backends.llvm.outline import Helpers, frequent
from functrans.backends.llvm.outside import LOCK, RAISE
from functrans.backends.llvm.runtime import machine
from functrans.backends.llvm.values import Values
from functrans.config import config
from functrans.core.jaxpr import Atom, Eqn, Literal, Var
from functrans.kernel.index import Index
from functrans.kernel.ir import Access, Const, Expr, Kernel, Load, Op
from functrans.kernel.places import Layouts
from functrans.kernel.plan import Arena, takes_place

POLL = 1 << 26
"""Simple instructions after which a loop looks whether it was interrupted: some hundredths of a second."""


class Step:
    """One native operation.

    Attributes:
        inputs, outs: what it reads and makes.
        work: bytes of working memory that it needs.
        cost: how many simple instructions it is worth, roughly.
        of: the operand whose memory the results show; None where they have memory of their own.
        kernel: the kernel that it is, whose results may take the place of operands.
        over: the operand whose place the one result may take.
        inner: the blocks in it.
        symbols: what it calls, with the addresses.
        held: objects whose addresses are in use.
    """

    inputs: tuple[Atom, ...]
    outs: tuple[Var, ...]
    work: int = 0
    cost: int = 1
    of: Var | None = None
    kernel: Kernel | None = None
    over: Var | None = None
    inner: tuple[Block, ...] = ()

    def in_register(self, v: Var) -> bool:
        """Whether a result is left in a register."""
        return False

    def emit(self, text: Text, work: str) -> None:
        raise NotImplementedError


class Home(NamedTuple):
    """Where a result of a step lives: in the ``arena`` or the place of a ``result``, or it takes another's place."""

    kind: str
    at: int = 0
    over: Var | None = None


def single(aval: Any) -> bool:
    """Whether a value has one element."""
    return all(n == 1 for n in aval.shape)


def nbytes(v: Any) -> int:
    return int(prod(v.aval.shape) * v.aval.dtype.itemsize)


class Block:
    """Steps in order, and where what they make lives.

    Args:
        owned: inputs that may be written over by a result, with the number of that.
        consts: further variables, with the arrays that they stand for.

    Attributes:
        homes: of the results of steps that have memory of their own.
        works: where the working memory of each step begins.
        small: whether all that it makes is small arrays, whose elements are in registers.
        in_place: the results that may be put where the input that they replace lies.
        arena: the bytes of memory that a run takes.
        cost: simple instructions of a run, roughly.
    """

    def __init__(
        self,
        invars: Sequence[Var],
        steps: Sequence[Step],
        outvars: Sequence[Atom],
        owned: Mapping[Var, int] = MappingProxyType({}),
        consts: Iterable[tuple[Var, Any]] = (),
        small: bool = False,
    ) -> None:
        self.small = small
        self.invars, self.steps, self.outvars = tuple(invars), tuple(steps), tuple(outvars)
        self.consts = tuple(consts)
        self.cost = sum(s.cost for s in self.steps)
        self.homes: dict[Var, Home] = {}
        self.works: list[int] = []
        self.in_place: set[int] = set()
        self.owned = owned
        self._plan()

    def _plan(self) -> None:
        root: dict[Atom, Atom] = {}
        last: dict[Atom, int] = {}
        makers: dict[Atom, int] = {}
        for i, step in enumerate(self.steps):
            for a in step.inputs:
                last[a] = last[root.get(a, a)] = i
            for v in step.outs:
                last[v] = i
                makers[v] = i
                if step.of is not None:
                    root[v] = root.get(step.of, step.of)
        for a in self.outvars:
            last[a] = last[root.get(a, a)] = len(self.steps)
        results = self._results(root, makers)
        chains: dict[Var, Var] = {}
        for a, j in self.owned.items():
            whole = root.get(self.outvars[j], self.outvars[j])
            if isinstance(whole, Var) and results.get(whole) == j:
                chains |= self._chain(whole, a, last, makers, results, root) or {}
        reserved = set(chains.values())
        arena = Arena()
        for i, step in enumerate(self.steps):
            taken: set[Var] = set()
            for v in step.outs if step.of is None else ():
                if step.in_register(v):
                    continue
                old = chains.get(v)
                if old is None and v not in results:
                    mine = [a for a in self._replaceable(step, v, i, last, root) if a not in taken | reserved]
                    old = next((a for a in mine if a in self.homes and self.homes[a].kind != "result"), None)
                if old is not None:
                    taken.add(old)
                    self.homes[v] = Home("over", 0, old)
                    if old in arena.live:
                        arena.live[v] = arena.live.pop(old)
                elif v in results:
                    self.homes[v] = Home("result", results[v])
                else:
                    self.homes[v] = Home("arena", arena.take(v, nbytes(v)))
            self.works.append(0)
            if step.work:
                mark = Var(None)  # type: ignore[arg-type]
                self.works[i] = arena.take(mark, step.work)
                arena.free([mark])
            arena.free([v for v in arena.live if last.get(v, i) <= i])
        self.arena = arena.end
        for a, j in self.owned.items():
            whole = root.get(self.outvars[j], self.outvars[j])
            home = self.homes.get(whole) if isinstance(whole, Var) else None
            if home is None or results.get(whole) != j:
                continue
            if whole in chains or (home.kind == "result" and last.get(a, -1) < makers[whole]):
                self.in_place.add(j)

    def _results(self, root: dict[Atom, Atom], makers: dict[Atom, int]) -> dict[Atom, int]:
        """The values that are made where a result of the block is wanted: results, or what they show the whole of."""
        found: dict[Atom, int] = {}
        for j, a in enumerate(self.outvars):
            v = root.get(a, a)
            if v not in makers or v in found or nbytes(v) != nbytes(a):
                continue
            step = self.steps[makers[v]]
            if isinstance(v, Var) and step.of is None and not step.in_register(v):
                found[v] = j
        return found

    def _replaceable(
        self, step: Step, v: Var, i: int, last: Mapping[Atom, int], root: Mapping[Atom, Atom]
    ) -> list[Var]:
        """The operands that die in a step and that a result of it may take the place of."""
        operands = () if step.over is None else (step.over,)
        found = []
        for a in operands if step.kernel is None else step.kernel.inputs:
            if last.get(a) != i or [root.get(b, b) for b in step.inputs].count(root.get(a, a)) != 1:
                continue
            if step.kernel is None or takes_place(step.kernel, v, a):
                found.append(a)
        return found

    def _chain(
        self,
        v: Var,
        goal: Var,
        last: Mapping[Atom, int],
        makers: Mapping[Atom, int],
        results: Mapping[Atom, int],
        root: Mapping[Atom, Atom],
    ) -> dict[Var, Var] | None:
        """What each value takes the place of, from a result back to the input that it may be written over."""
        step = self.steps[makers[v]]
        if step.of is not None or step.in_register(v):
            return None
        for a in self._replaceable(step, v, makers[v], last, root):
            if a is goal:
                return {v: a}
            if a in makers and a not in results:
                before = self._chain(a, goal, last, makers, results, root)
                if before is not None:
                    return {**before, v: a}
        return None


class Value:
    """What is known of a value: its address, or itself, or both. ``elements`` are those of a small array."""

    __slots__ = ("elements", "pointer", "v")

    def __init__(self, pointer: str | None, v: V | None = None, elements: Sequence[V] = ()) -> None:
        self.pointer = pointer
        self.v = v
        self.elements = elements


class _NoAxes:
    """The nest of what has one element."""

    lane = None
    width = 1
    unroll = 1
    in_row = False

    def axes(self, expr: Expr) -> frozenset[Any]:
        return frozenset()

    def flat(self, access: Access) -> Index:
        return Index()


class Scalars(Values):
    """Operations on single elements in registers."""

    def __init__(self, b: Builder) -> None:
        super().__init__(_NoAxes(), {})  # type: ignore[arg-type]
        self.begin(b)

    def operate(self, prim: Any, params: dict[str, Any], atoms: Sequence[Atom], given: Sequence[V], dtype: Any) -> V:
        """An elementwise operation."""
        args: list[Expr] = []
        with self._scope():
            for atom, v in zip(atoms, given, strict=True):
                if isinstance(atom, Literal):
                    args.append(Const(atom.value, atom.aval.dtype))
                else:
                    args.append(Load(Access(atom, ())))
                    self._remember(id(args[-1]), v, False)
            return self._operate(Op(prim, args, dtype, params), 1)

    def read(self, pointer: str, dtype: Any) -> V:
        return self._read(pointer, Index(), dtype, 1)

    def write(self, pointer: str, v: V, dtype: Any) -> None:
        self._write(pointer, Index(), v, dtype)


class Module:
    """The functions of a program, and what they need besides.

    Args:
        eqns: the program's equations.
        layouts: the strides, in elements, of operands that are not C-contiguous: kernels alone may read them.

    Attributes:
        symbols: addresses of external functions and arrays.
        held: objects whose addresses the symbols are.
        functions: the text.
    """

    def __init__(self, eqns: Iterable[Eqn] = (), layouts: Layouts = MappingProxyType({})) -> None:
        self.host = machine()
        self.layouts = layouts
        self.declared: dict[str, str] = {}
        self.helpers = Helpers(frequent(eqns), config.native_checks)
        self.functions: list[str] = []
        self.symbols: dict[str, int] = {}
        self.held: list[Any] = []
        self._kernels: dict[int, tuple[Kernel, KernelText]] = {}

    def text(self) -> str:
        return "\n".join([*self.declared.values(), "", *self.helpers.values(), *self.functions]) + "\n"

    def kernel(self, kernel: Kernel) -> KernelText:
        """The functions of a kernel, written once."""
        known = self._kernels.get(id(kernel))
        if known is None:
            named = f"native_{len(self._kernels)}_{kernel.name}"
            host = self.host
            needs = (self.declared, self.helpers)
            made = KernelText(kernel, host.bits, host.fma, host.attributes, *needs, named, self.layouts)
            self.functions.append(made.bodies())
            known = self._kernels[id(kernel)] = (kernel, made)
        return known[1]

    def interpreter(self, *names: str) -> None:
        """Make functions of the interpreter known."""
        for name in names:
            self.symbols[name] = ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value or 0

    def constant(self, array: np.ndarray[Any, Any]) -> str:
        """The address of an array that the program holds."""
        known = next((k for k, held in enumerate(self.held) if held is array), len(self.held))
        name = f"constant_{known}"
        if known < len(self.held):
            return f"@{name}"
        self.held.append(array)
        self.symbols[name] = array.ctypes.data
        self.declared[name] = f"@{name} = external global i8"
        return f"@{name}"


class Text:
    """A native function that is being written.

    Attributes:
        b: its body so far.
        slots: memory on the stack, reserved at the entry.
        scopes: what is known, in the regions that are open.
    """

    def __init__(self, module: Module) -> None:
        self.module = module
        self.b = new_builder(module.host.fma, module.declared, module.helpers)
        self.scalars = Scalars(self.b)
        self.slots: list[str] = []
        self.scopes: list[dict[Atom, Value]] = [{}]
        self.fails = False
        self.checks = False
        self.polls = False
        self._block: Block | None = None
        self._arena = ""
        self._places: Sequence[str | None] = ()

    # -- values ---------------------------------------------------------------------------------------------------

    def find(self, v: Var) -> Value:
        for scope in reversed(self.scopes):
            found = scope.get(v)
            if found is not None:
                return found
        raise KeyError(v)

    def value(self, atom: Atom) -> Value:
        """What is known of an operand."""
        return Value(None, self.register(atom)) if isinstance(atom, Literal) else self.find(atom)

    def know(self, v: Var, value: Value) -> None:
        self.scopes[-1][v] = value

    def register(self, atom: Atom) -> V:
        """A value of one element."""
        if isinstance(atom, Literal):
            dtype = atom.aval.dtype
            return self.b.const(np.asarray(atom.value, dtype).reshape(())[()], lane(dtype), 1)
        known = self.find(atom)
        if known.v is None:
            assert known.pointer is not None
            known = Value(known.pointer, self.scalars.read(known.pointer, atom.aval.dtype))
            self.know(atom, known)
        assert known.v is not None
        return known.v

    def elements(self, atom: Atom) -> Sequence[V]:
        """The elements of a small array, each in a register."""
        if isinstance(atom, Literal) or single(atom.aval):
            return [self.register(atom)]
        known = self.find(atom)
        if not known.elements:
            assert known.pointer is not None
            dtype, n = atom.aval.dtype, prod(atom.aval.shape)
            places = [self.b.address(known.pointer, stored(dtype), str(k)) for k in range(n)]
            known = Value(known.pointer, None, [self.scalars.read(p, dtype) for p in places])
            self.know(atom, known)
        return known.elements

    def know_elements(self, v: Var, elements: Sequence[V]) -> None:
        self.know(v, Value(None, elements[0]) if single(v.aval) else Value(None, None, elements))

    def address(self, atom: Atom) -> str:
        """Where a value lies."""
        if isinstance(atom, Literal):
            return self.spilled(self.register(atom), atom.aval.dtype)
        known = self.find(atom)
        if known.pointer is None and known.elements:
            known = Value(self.slot(nbytes(atom)), None, known.elements)
            self._write_elements(atom, known.pointer or "")
            self.know(atom, known)
        if known.pointer is None:
            assert known.v is not None
            known = Value(self.spilled(known.v, atom.aval.dtype), known.v)
            self.know(atom, known)
        assert known.pointer is not None
        return known.pointer

    def spilled(self, v: V, dtype: Any) -> str:
        """A value of one element put into memory."""
        pointer = self.slot(max(BITS[stored(dtype)] // 8, 1))
        self.scalars.write(pointer, v, dtype)
        return pointer

    def slot(self, size: int) -> str:
        """Memory on the stack."""
        name = self.b.fresh()
        self.slots.append(f"  {name} = alloca [{size} x i8], align {64 if size >= 64 else 16}")
        return name

    def destination(self, v: Var) -> str:
        """Where a result of the step that is being written is to be put."""
        assert self._block is not None
        home = self._block.homes[v]
        if home.kind == "arena":
            pointer = self.b.address(self._arena, "i8", str(home.at))
            pointer = self.b.bound(pointer, nbytes(v), "a value between steps")
        elif home.over is not None:
            pointer = self.address(home.over)
        else:
            place = self._places[home.at]
            pointer = self.slot(max(nbytes(v), 1)) if place is None else place
        self.know(v, Value(pointer))
        return pointer

    # -- blocks ---------------------------------------------------------------------------------------------------

    @contextmanager
    def scope(self) -> Iterator[None]:
        self.scopes.append({})
        yield
        self.scopes.pop()

    def run(self, block: Block, operands: Sequence[Value], places: Sequence[str | None], arena: str) -> list[Value]:
        """Write a block's steps. Results with a place are put there; the others stay where they are."""
        outer = self._block, self._arena, self._places
        self._block, self._arena, self._places = block, arena, places
        for v, value in zip(block.invars, operands, strict=True):
            self.know(v, value)
        for v, array in block.consts:
            self.know(v, Value(self.b.bound(self.module.constant(array), nbytes(v), "a constant")))
        for i, step in enumerate(block.steps):
            self.b.step = step
            work = self.b.address(arena, "i8", str(block.works[i])) if step.work else "null"
            step.emit(self, self.b.bound(work, step.work, "working memory") if step.work else work)
        results = [self._result(block, j) for j in range(len(block.outvars))]
        self._block, self._arena, self._places = outer
        return results

    def _result(self, block: Block, j: int) -> Value:
        atom, place = block.outvars[j], self._places[j]
        if place is None:
            if single(atom.aval):
                return Value(None, self.register(atom))
            return Value(None, None, self.elements(atom)) if block.small else Value(self.address(atom))
        if isinstance(atom, Var):
            known = self.find(atom)
            if known.pointer == place:
                return known
        self.copy(atom, place)
        return Value(place)

    def copy(self, atom: Atom, place: str) -> None:
        """Put a value into a place."""
        if single(atom.aval):
            self.scalars.write(place, self.register(atom), atom.aval.dtype)
        elif isinstance(atom, Var) and self.find(atom).pointer is None:
            self._write_elements(atom, place)
        else:
            self.move(place, self.address(atom), nbytes(atom))

    def _write_elements(self, atom: Atom, place: str) -> None:
        dtype = atom.aval.dtype
        for k, v in enumerate(self.elements(atom)):
            self.scalars.write(self.b.address(place, stored(dtype), str(k)), v, dtype)

    def move(self, place: str, source: str, size: int) -> None:
        if size and place != source:
            self.module.declared["memcpy"] = "declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)"
            self.b.do(f"call void @llvm.memcpy.p0.p0.i64(ptr {place}, ptr {source}, i64 {size}, i1 0)")

    # -- errors -----------------------------------------------------------------------------------------------------

    def fail_if(self, condition: str) -> None:
        """Leave the function with an error, which is set, where a condition holds."""
        self.fails = True
        on = self.b.label("well")
        self.b.do(f"br i1 {condition}, label %fail, label %{on}")
        self.b.start(on)

    def check(self, status: str) -> None:
        """Leave the function with the error for an index out of bounds, where a kernel found one."""
        self.checks = True
        failed = self.b.emit(f"icmp ne i32 {status}, 0")
        on = self.b.label("well")
        self.b.do(f"br i1 {failed}, label %failed, label %{on}")
        self.b.start(on)

    def spend(self, cost: int) -> None:
        """Count instructions, and look from time to time whether the user interrupted."""
        b = self.b
        self.polls = True
        self.module.helpers["poll"] = _POLL
        self.module.declared["PyGILState"] = LOCK
        self.module.interpreter("PyGILState_Ensure", "PyGILState_Release", "PyErr_CheckSignals")
        left = b.emit("load i64, ptr %fuel")
        left = b.emit(f"sub i64 {left}, {min(max(cost, 1), POLL)}")
        b.do(f"store i64 {left}, ptr %fuel")
        empty = b.emit(f"icmp slt i64 {left}, 0")
        look, on = b.label("look"), b.label("well")
        b.do(f"br i1 {empty}, label %{look}, label %{on}")
        b.start(look)
        b.do(f"store i64 {POLL}, ptr %fuel")
        raised = b.emit("call i32 @functrans_poll()")
        wrong = b.emit(f"icmp ne i32 {raised}, 0")
        self.fails = True
        b.do(f"br i1 {wrong}, label %fail, label %{on}")
        b.start(on)

    def function(self, name: str, pointers: Sequence[str]) -> str:
        """The function: a native one of addresses, which gives nonzero where an exception is set."""
        lines = [
            f"define i32 @{name}(ptr %arena{''.join(f', ptr {p}' for p in pointers)}) {self.module.host.attributes} {{"
        ]
        lines += ["entry:", *self.slots]
        if self.polls:
            lines += ["  %fuel = alloca i64", f"  store i64 {POLL}, ptr %fuel"]
        lines += [*self.b.lines, "  ret i32 0"]
        if self.fails:
            lines += ["fail:", "  ret i32 1"]
        if self.checks:
            self.module.helpers["raise_outside"] = RAISE
            self.module.declared["PyGILState"] = LOCK
            lines += ["failed:", "  call void @functrans_raise_outside()", "  ret i32 1"]
        return "\n".join([*lines, "}", ""])


_POLL = """declare i32 @PyErr_CheckSignals()
define internal i32 @functrans_poll() noinline nounwind {
  %s = call i32 @PyGILState_Ensure()
  %r = call i32 @PyErr_CheckSignals()
  call void @PyGILState_Release(i32 %s)
  ret i32 %r
}
"""
