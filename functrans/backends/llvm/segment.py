"""Segments: runs of native steps as one function of addresses, and how Python calls it.

``i32 name(ptr arena, ptr in..., ptr out...)`` takes C-contiguous, aligned operands of native byte order, 0-d values
too, in the order of the segment's inputs and outputs, and ``arena`` bytes of 64-byte aligned memory. It gives 0, or
something else where a Python exception is set. ``name_direct`` is the same as a builtin of array objects, the first of
which is the arena.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from functrans.backends.llvm.block import Block, Module, Step, Text, Value, nbytes
from functrans.backends.llvm.dispatch import packed
from functrans.backends.llvm.regions import is_readable, native_step
from functrans.backends.llvm.runtime import DATA, DTYPE, FLAGS, ORDER, READY, SWAPPED
from functrans.backends.llvm.steps import KernelStep
from functrans.backends.llvm.strided import Key, Run, Variants
from functrans.core.avals import ShapedArray, shaped
from functrans.core.jaxpr import Atom, Eqn, Jaxpr, Var
from functrans.kernel.ir import Kernel
from functrans.kernel.waves import Node

RELEASE_COST = 1 << 17
"""Simple instructions from which a call lets other Python threads run meanwhile: some tens of microseconds."""


@dataclass(frozen=True, eq=False)
class Segment(Kernel):
    """A run of native steps, as one node.

    Attributes:
        block: the steps.
    """

    block: Block

    @property
    def arena(self) -> int:
        """The bytes of memory that a call needs."""
        return self.block.arena

    @property
    def cost(self) -> int:
        """Simple instructions of a call, roughly."""
        return self.block.cost

    @property
    def blocks(self) -> bool:
        """Whether a call takes so long that other Python threads should run meanwhile."""
        return self.cost >= RELEASE_COST

    @property
    def in_avals(self) -> tuple[ShapedArray, ...]:
        return tuple([v.aval for v in self.inputs])

    @property
    def out_avals(self) -> tuple[ShapedArray, ...]:
        return tuple([v.aval for v in self.outs])

    @property
    def readable(self) -> list[int]:
        """The inputs that only kernels read, and nothing is written over."""
        steps = self.block.steps
        taken = {*self.block.outvars, *(h.over for h in self.block.homes.values())}
        taken.update(a for s in steps if s.kernel is None for a in s.inputs)
        return [k for k, v in enumerate(self.inputs) if v not in taken]

    def write(self, module: Module) -> None:
        """Write the functions of the segment into a module."""
        text = Text(module)
        ins = [f"%i{n}" for n in range(len(self.inputs))]
        outs = [f"%o{n}" for n in range(len(self.outs))]
        bound = text.b.bound
        values = [Value(bound(p, nbytes(v), "an operand")) for p, v in zip(ins, self.inputs, strict=True)]
        places = [bound(p, nbytes(v), "a result") for p, v in zip(outs, self.outs, strict=True)]
        text.run(self.block, values, places, bound("%arena", self.arena, "the arena"))
        module.functions.append(text.function(self.name, [*ins, *outs]))
        module.functions.append(self._direct(module))
        module.functions.append(packed(self.name, len(ins) + len(outs), module.host.attributes))

    def _direct(self, module: Module) -> str:
        """The builtin: it hands what it cannot read in place to its owner."""
        module.declared["direct"] = (
            "@_Py_NoneStruct = external global i8\n"
            "declare void @Py_IncRef(ptr)\ndeclare ptr @PyObject_Vectorcall(ptr, ptr, i64, ptr)"
        )
        n = len(self.inputs) + len(self.outs)
        lines = [
            f"define ptr @{self.name}_direct(ptr %self, ptr %args, i64 %nargs) {module.host.attributes} {{",
            "entry:",
        ]
        good = "1"
        for k in range(n + 1):
            lines += [
                f"  %q{k} = getelementptr ptr, ptr %args, i64 {k}",
                f"  %b{k} = load ptr, ptr %q{k}",
                f"  %p{k} = getelementptr i8, ptr %b{k}, i64 {DATA}",
                f"  %a{k} = load ptr, ptr %p{k}",
            ]
            if not 0 < k <= len(self.inputs) or self.inputs[k - 1] in module.layouts:
                continue
            lines += [
                f"  %g{k} = getelementptr i8, ptr %b{k}, i64 {FLAGS}",
                f"  %f{k} = load i32, ptr %g{k}",
                f"  %m{k} = and i32 %f{k}, {READY}",
                f"  %r{k} = icmp eq i32 %m{k}, {READY}",
                f"  %dp{k} = getelementptr i8, ptr %b{k}, i64 {DTYPE}",
                f"  %d{k} = load ptr, ptr %dp{k}",
                f"  %ep{k} = getelementptr i8, ptr %d{k}, i64 {ORDER}",
                f"  %e{k} = load i8, ptr %ep{k}",
                f"  %s{k} = icmp ne i8 %e{k}, {ord(SWAPPED)}",
                f"  %t{k} = and i1 %r{k}, %s{k}",
                f"  %u{k} = and i1 %t{k}, {good}",
            ]
            good = f"%u{k}"
        given = "".join(f", ptr %a{k}" for k in range(1, n + 1))
        call = [f"  %failed = call i32 @{self.name}(ptr %a0{given})"]
        if self.blocks:
            module.declared["threads"] = "declare ptr @PyEval_SaveThread()\ndeclare void @PyEval_RestoreThread(ptr)"
            call = [
                "  %thread = call ptr @PyEval_SaveThread()",
                *call,
                "  call void @PyEval_RestoreThread(ptr %thread)",
            ]
            module.interpreter("PyEval_SaveThread", "PyEval_RestoreThread")
        return "\n".join(
            [
                *lines,
                f"  br i1 {good}, label %run, label %refuse",
                "run:",
                *call,
                "  %raised = icmp ne i32 %failed, 0",
                "  br i1 %raised, label %error, label %done",
                "done:",
                "  call void @Py_IncRef(ptr @_Py_NoneStruct)",
                "  ret ptr @_Py_NoneStruct",
                "error:",
                "  ret ptr null",
                "refuse:",
                "  %r = call ptr @PyObject_Vectorcall(ptr %self, ptr %args, i64 %nargs, ptr null)",
                "  ret ptr %r",
                "}",
                "",
            ]
        )


class Call:
    """Owns a segment's builtin, which calls it where an operand cannot be read in place."""

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        self.name = f"{segment.name}_direct"
        self.inputs = len(segment.inputs)
        self.arena = segment.arena
        self.variants = Variants(segment.readable, self._variant)
        self.code: Any = None
        self.run: Any = None

    def __call__(self, arena: Any, *arrays: Any) -> None:
        run, ins = self.variants.find(arrays[: self.inputs])
        (run or self.run)(arena, *ins, *arrays[self.inputs :])

    def _variant(self, key: Key) -> Run:
        """The segment for the strides of some inputs."""
        segment = self.segment
        module = Module(segment.eqns, {v: s for v, s in zip(segment.inputs, key, strict=True) if s is not None})
        segment.write(module)
        code = module.host.load(module.text(), [self.name], module.symbols)
        code.held = module.held
        return code.builtin(self.name, _Variant(code))


class _Variant:
    """Keeps the code of a variant."""

    def __init__(self, code: Any) -> None:
        self.code = code


# -- which nodes ----------------------------------------------------------------------------------------------------


def segmented(jaxpr: Jaxpr, nodes: Sequence[Node]) -> tuple[Jaxpr, list[Node]]:
    """A program with its native nodes gathered into segments, in an order of execution.

    A program of native nodes alone becomes one segment that makes each of its results by itself, and results that are
    operands, constants or one another become copies.
    """
    steps = [_on_this_thread(native_step(n)) for n in nodes]
    if nodes and all(s is not None for s in steps) and all(map(is_readable, jaxpr.consts)):
        return _whole(jaxpr, [s for s in steps if s is not None], nodes)
    made: list[Node] = []
    for group, native in _runs(nodes, steps):
        if native:
            made.append(_part(jaxpr, nodes, group, [steps[i] for i in group], f"segment_{len(made)}"))  # type: ignore[misc]
        else:
            made.extend(nodes[i] for i in group)
    return jaxpr, made


def _on_this_thread(step: Step | None) -> Step | None:
    """A step that is not worth several threads: such a kernel is launched by itself, on as many as there are then."""
    return None if isinstance(step, KernelStep) and step.parallel else step


def _whole(jaxpr: Jaxpr, steps: Sequence[Step], nodes: Sequence[Node]) -> tuple[Jaxpr, list[Node]]:
    block = Block(jaxpr.invars, steps, jaxpr.outvars, {}, zip(jaxpr.constvars, jaxpr.consts, strict=True))
    outs = tuple([Var(shaped(a.aval.shape, a.aval.dtype, a.aval.box)) for a in jaxpr.outvars])
    eqns = _eqns(nodes)
    segment = Segment("segment_0", (), (), (), jaxpr.invars, outs, eqns, block)
    return Jaxpr(jaxpr.invars, (), outs), [segment]


def _part(jaxpr: Jaxpr, nodes: Sequence[Node], group: Sequence[int], steps: Sequence[Step], name: str) -> Segment:
    """Some nodes as a segment, whose results are what others read of them."""
    mine = set(group)
    made = dict.fromkeys(v for i in group for v in nodes[i].outs)
    read: set[Atom] = {*jaxpr.outvars}
    for i, node in enumerate(nodes):
        if i not in mine:
            read.update(node.inputs)
    outs = tuple([v for v in made if v in read])
    given = dict.fromkeys(a for s in steps for a in s.inputs if isinstance(a, Var) and a not in made)
    consts = {v: c for v, c in zip(jaxpr.constvars, jaxpr.consts, strict=True) if v in given and is_readable(c)}
    ins = tuple([v for v in given if v not in consts])
    eqns = _eqns([nodes[i] for i in group])
    return Segment(name, (), (), (), ins, outs, eqns, Block(ins, steps, outs, {}, consts.items()))


def _eqns(nodes: Sequence[Node]) -> tuple[Eqn, ...]:
    return tuple([e for n in nodes for e in ((n,) if isinstance(n, Eqn) else n.eqns)])


def _runs(nodes: Sequence[Node], steps: Sequence[Step | None]) -> list[tuple[list[int], bool]]:
    """The nodes in an order that changes between native ones and others as seldom as it can."""
    maker = {v: i for i, n in enumerate(nodes) for v in n.outs}
    waiting: list[set[int]] = []
    last_effect: int | None = None
    for i, node in enumerate(nodes):
        needs = {maker[a] for a in node.inputs if a in maker}
        if isinstance(node, Eqn) and node.effects:
            if last_effect is not None:
                needs.add(last_effect)
            last_effect = i
        waiting.append(needs)
    rest = list(range(len(nodes)))
    done: set[int] = set()
    found: list[tuple[list[int], bool]] = []
    native = steps[0] is not None if steps else False
    while rest:
        group: list[int] = []
        later: list[int] = []
        for i in rest:
            if (steps[i] is not None) == native and waiting[i] <= done:
                group.append(i)
                done.add(i)
            else:
                later.append(i)
        if group:
            found.append((group, native))
        rest, native = later, not native
    return found


__all__ = ["Call", "Segment", "nbytes", "segmented"]
