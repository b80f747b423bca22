"""The native steps of a program: kernels, operations on single numbers, views, library calls."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from functrans.backends.llvm.block import Block, Step, Text, Value, nbytes, single
from functrans.backends.llvm.builder import V
from functrans.backends.llvm.calls import NativeCall, native_call
from functrans.backends.llvm.casts import native as is_native
from functrans.backends.llvm.computed import PLACES, fail_where
from functrans.backends.llvm.emit import STACK, KernelText
from functrans.backends.llvm.numbers import narrow_step
from functrans.backends.llvm.operations import computed_in, convert
from functrans.backends.llvm.runtime import machine
from functrans.backends.llvm.strided import Unsuitable
from functrans.backends.llvm.target import constant, target
from functrans.backends.numpy.workers import pool
from functrans.core.jaxpr import Atom, Eqn, Literal, SizeVar, Var
from functrans.core.primitive import Picked, Trait
from functrans.kernel.index import Axis, Index, index_of
from functrans.kernel.ir import Access, Kernel
from functrans.kernel.places import flattened, run_start
from functrans.kernel.waves import Node

INLINE_COST = 1 << 11
"""Kernels of less are written where they run, and are no functions of their own."""
CALL_COST = 20


def is_fixed(atoms: Sequence[Atom]) -> bool:
    """Whether the sizes of some values are known."""
    return not any([isinstance(n, SizeVar) for a in atoms for n in a.aval.shape]) and not any(
        [isinstance(a, SizeVar) for a in atoms]
    )


def step_of(node: Node) -> Step | None:
    """A node as a native step; None where it is none. Loops and branches are not looked at here."""
    if isinstance(node, Kernel):
        return kernel_step(node)
    if not isinstance(node, Eqn) or node.effects or not is_fixed((*node.inputs, *node.outs)):
        return None
    if not all(is_native(a.aval.dtype) for a in (*node.inputs, *node.outs)):
        return None
    return _nothing(node) or _view(node) or narrow_step(node) or _number(node) or _call(node)


# -- kernels --------------------------------------------------------------------------------------------------------


class KernelStep(Step):
    """A kernel, on this thread."""

    def __init__(self, kernel: Kernel, made: KernelText) -> None:
        self.kernel: Kernel = kernel
        self.inputs, self.outs = kernel.inputs, tuple(dict.fromkeys(kernel.outs))
        self.work = -(-made.work // 64) * 64
        self.inlined = made.nest.chunk is None and made.cost < INLINE_COST
        self.cost = made.cost + CALL_COST
        self.parallel = made.parallel

    def emit(self, text: Text, work: str) -> None:
        given = {v: text.address(v) for v in self.inputs}
        for v in self.outs:
            given[v] = text.destination(v)
        if self.inlined:
            host = text.module.host
            needs = (text.b.declared, text.b.helpers)
            made = KernelText(self.kernel, host.bits, host.fma, "", *needs, "", text.module.layouts)
            if made.nest.chunk is None:
                made.inline(text.b, [given[v] for v in made.buffers], self._room(text, made, work))
                text.checks |= made.checked
                return
        made = text.module.kernel(self.kernel)
        work = self._room(text, made, work)
        pointers = ", ".join(f"ptr {given[v]}" for v in made.buffers)
        status = text.b.emit(f"call i32 @{made.name}_body(i64 0, i64 {made.nest.units}, ptr {work}, {pointers})")
        if made.checked:
            text.check(status)
        if made.nest.chunk is not None:
            text.b.do(f"call i32 @{made.name}_finish_body(i64 0, i64 1, ptr {work}, {pointers})")

    def _room(self, text: Text, made: KernelText, work: str) -> str:
        """Working memory. A variant for other strides may keep more than was planned."""
        if made.work <= self.work:
            return work
        if made.work > STACK:
            raise Unsuitable
        return text.slot(made.work)


def kernel_step(kernel: Kernel) -> KernelStep | None:
    """A kernel as a step; None where it is worth several threads, and there are some."""
    host = machine()
    made = KernelText(kernel, host.bits, host.fma, "", {}, {})
    if made.parallel and pool.size() > 1:
        return None
    return KernelStep(kernel, made)


# -- numbers --------------------------------------------------------------------------------------------------------


class NumberStep(Step):
    """An operation on single elements, in registers."""

    def __init__(self, eqn: Eqn) -> None:
        self.eqn = eqn
        self.inputs, self.outs = eqn.inputs, eqn.outs

    def in_register(self, v: Var) -> bool:
        return True

    def emit(self, text: Text, work: str) -> None:
        eqn = self.eqn
        (out,) = eqn.outs
        given = [text.register(a) for a in eqn.inputs]
        text.know(out, Value(None, self.value(text, given, out)))

    def value(self, text: Text, given: Sequence[V], out: Var) -> V:
        eqn = self.eqn
        return text.scalars.operate(eqn.prim, eqn.params, eqn.inputs, given, out.aval.dtype)


class SameStep(NumberStep):
    """A single element as it is, or cast."""

    cost = 0

    def value(self, text: Text, given: Sequence[V], out: Var) -> V:
        if (self.eqn.prim.monoid or "").startswith("arg"):
            return text.b.const(0, "i64", 1)
        return convert(text.b, given[0], self.eqn.inputs[0].aval.dtype, out.aval.dtype)


def _number(eqn: Eqn) -> Step | None:
    prim = eqn.prim
    if not eqn.inputs or len(eqn.outs) != 1 or not all(single(a.aval) for a in (*eqn.inputs, *eqn.outs)):
        return None
    if prim.monoid is not None and len(eqn.inputs) == 1:
        return SameStep(eqn)
    return NumberStep(eqn) if Trait.ELEMENTWISE in prim.traits and operates(eqn) else None


def operates(eqn: Eqn) -> bool:
    """Whether the numbers meet in a dtype that the operation is emitted for, and that holds them all."""
    for a in eqn.inputs:
        if isinstance(a, Literal) and type(a.value) is int and not -(2**63) <= a.value < 2**63:
            return False
    counts = [a.aval.box == "python" and a.aval.dtype.kind in "bi" and constant(a) is None for a in eqn.inputs]
    if not any(counts) or eqn.prim.name in ("convert", "stop_gradient"):
        return target.operates(eqn)
    # NumPy looks whether a Python integer fits into the others' dtype; it always does into these.
    values = [constant(a) if constant(a) is not None or a.aval.box != "python" else 0 for a in eqn.inputs]
    dtype = computed_in([a.aval.dtype for a in eqn.inputs], values)
    if dtype.kind not in "fc" and dtype != np.dtype(np.int64):
        return False
    strong = [Var(a.aval.update(box="numpy")) if c else a for a, c in zip(eqn.inputs, counts, strict=True)]
    return target.operates(eqn._replace(inputs=tuple(strong)))


# -- views ----------------------------------------------------------------------------------------------------------


class ViewStep(Step):
    """The same elements in another shape, or a run of them."""

    cost = 0

    def __init__(self, source: Var, outs: Sequence[Var], starts: Sequence[int]) -> None:
        self.inputs, self.outs = (source,), tuple(outs)
        self.of = source
        self.starts = starts

    def emit(self, text: Text, work: str) -> None:
        assert self.of is not None
        pointer = text.address(self.of)
        for out, start in zip(self.outs, self.starts, strict=True):
            text.know(out, Value(text.b.address(pointer, "i8", str(start))))


class NothingStep(Step):
    """Results without elements."""

    cost = 0

    def __init__(self, eqn: Eqn) -> None:
        self.inputs, self.outs = (), eqn.outs

    def emit(self, text: Text, work: str) -> None:
        for v in self.outs:
            text.destination(v)


def _nothing(eqn: Eqn) -> Step | None:
    movement = {Trait.MOVEMENT, Trait.ELEMENTWISE, Trait.CUMULATIVE} & eqn.prim.traits
    return NothingStep(eqn) if movement and eqn.outs and not any(nbytes(v) for v in eqn.outs) else None


def _view(eqn: Eqn) -> Step | None:
    prim = eqn.prim
    if prim.kind not in (None, "library"):
        return None
    if not eqn.inputs or not isinstance(eqn.inputs[0], Var):
        return None
    source = eqn.inputs[0]
    if prim.index is None:
        same = Trait.VIEW in prim.traits and Trait.MOVEMENT in prim.traits and len(eqn.inputs) == len(eqn.outs) == 1
        if same and eqn.outs[0].aval.update(box="array") == source.aval.update(box="array"):
            return SameStep(eqn) if single(source.aval) else ViewStep(source, eqn.outs, [0])
        return None
    if len(eqn.outs) != 1:
        return None
    if len(eqn.inputs) > 1:
        return _picked(eqn)
    start = run_start(eqn)
    if start is None:
        return None
    if single(source.aval) and single(eqn.outs[0].aval):
        return SameStep(eqn)
    step = ViewStep if not single(eqn.outs[0].aval) else ElementStep
    return step(source, eqn.outs, [start * source.aval.dtype.itemsize])


class ElementStep(ViewStep):
    """One element of an array, which is read at once: then the array need not last."""

    cost = 1

    def __init__(self, source: Var, outs: Sequence[Var], starts: Sequence[int]) -> None:
        super().__init__(source, outs, starts)
        self.of = None

    def in_register(self, v: Var) -> bool:
        return True

    def emit(self, text: Text, work: str) -> None:
        (source,), (out,), (start,) = self.inputs, self.outs, self.starts
        pointer = text.b.address(text.address(source), "i8", str(start))
        text.know(out, Value(None, text.scalars.read(pointer, out.aval.dtype)))


class PickStep(Step):
    """A run of elements that begins where integers known at run time say.

    Attributes:
        start: the byte that it begins at where these are zero.
        picks: which operand each of the integers is, the axis that it counts along, and the bytes between places.
    """

    cost = 5

    def __init__(self, eqn: Eqn, start: int, picks: Sequence[tuple[Picked, int, int]]) -> None:
        self.inputs, self.outs = eqn.inputs, eqn.outs
        self.start, self.picks = start, picks
        source = eqn.inputs[0]
        assert isinstance(source, Var)
        self.of = None if single(eqn.outs[0].aval) else source

    def in_register(self, v: Var) -> bool:
        return self.of is None

    def emit(self, text: Text, work: str) -> None:
        b = text.b
        pointer = b.address(text.address(self.inputs[0]), "i8", str(self.start))
        for pick, axis, step in self.picks:
            atom = self.inputs[pick.operand]
            given = convert(b, text.register(atom), atom.aval.dtype, PLACES)
            place, last = given, b.like(pick.extent - 1, given)
            if pick.turn:
                below = b.compare("slt", given, b.like(0, given))
                place = b.select(below, b.add(given, b.like(pick.turn, given)), given)
            if pick.mode == "clip":
                place = b.call("smin", b.call("smax", place, b.like(0, given)), last)
            else:
                text.checks = True
                fail_where(b, b.compare("ugt", place, last), given, axis, pick.extent, "failed")
            pointer = b.address(pointer, "i8", b.imul(b.scalar(place), step))
        (out,) = self.outs
        text.know(out, Value(pointer) if self.of else Value(None, text.scalars.read(pointer, out.aval.dtype)))


def _picked(eqn: Eqn) -> Step | None:
    source, (out,) = eqn.inputs[0], eqn.outs
    axes = [Axis(f"a{d}", n) for d, n in enumerate(out.aval.shape)]
    at = tuple([index_of(a) for a in axes])
    assert eqn.prim.index is not None and isinstance(source, Var)
    found = eqn.prim.index(at, *[a.aval for a in eqn.inputs], **eqn.params)
    if found is None or found.operand != 0 or found.guard or 0 in source.aval.shape:
        return None
    size = int(source.aval.dtype.itemsize)
    picks = []
    position = []
    step = nbytes(source)
    for d, (i, n) in enumerate(zip(found.position, source.aval.shape, strict=True)):
        step //= n
        if isinstance(i, Picked):
            if not single(eqn.inputs[i.operand].aval) or i.mode not in ("raise", "clip"):
                return None
            picks.append((i, d, step))
            i = i.offset
        position.append(Index(i) if isinstance(i, int) else i)
    there = flattened(Access(source, tuple(position)))
    if there - there.const != flattened(Access(out, at)):
        return None
    return PickStep(eqn, there.const * size, picks)


# -- library calls --------------------------------------------------------------------------------------------------


class CallStep(Step):
    """A call of a native library."""

    def __init__(self, eqn: Eqn, call: NativeCall) -> None:
        self.call = call
        self.inputs, self.outs = eqn.inputs, eqn.outs
        self.work = -(-call.work // 64) * 64
        self.cost = call.cost + CALL_COST
        given = None if call.over is None else eqn.inputs[call.over]
        self.over = given if isinstance(given, Var) else None

    def emit(self, text: Text, work: str) -> None:
        given = [text.address(a) for a in self.inputs]
        outs = [text.destination(v) for v in self.outs]
        text.module.symbols.update(self.call.symbols)
        failed = self.call.emit(text.b, given, outs, work)
        if failed is not None:
            text.fail_if(failed)


def _call(eqn: Eqn) -> Step | None:
    found = native_call(eqn)
    return None if found is None else CallStep(eqn, found)


__all__ = ["Block", "Step", "kernel_step", "step_of"]
