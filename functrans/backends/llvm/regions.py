"""Loops, branches and calls whose bodies are native: they are written into the function that they stand in.

Carries of one element are in registers. Others lie in memory: in one place where each step may write over what it
reads, else in two by turns. What is stepped along is read and written where it lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from functrans.backends.llvm.block import POLL, Block, Step, Text, Value, nbytes, single
from functrans.backends.llvm.builder import V, joined
from functrans.backends.llvm.casts import native as is_native
from functrans.backends.llvm.numbers import separated
from functrans.backends.llvm.runtime import READY
from functrans.backends.llvm.small import small_steps
from functrans.backends.llvm.steps import is_fixed, step_of
from functrans.backends.llvm.target import target
from functrans.core.jaxpr import Atom, Eqn, Jaxpr, Var
from functrans.kernel.fuse import fuse
from functrans.kernel.ir import Kernel
from functrans.kernel.waves import Node
from functrans.lax.control.stepping import hoisted, with_test

TURNS = 32
"""How many steps a loop of unknown length is taken for."""
TURN_COST = 2


def native_step(node: Node) -> Step | None:
    """A node as a native step, None where it is none."""
    if isinstance(node, Kernel) or not isinstance(node, Eqn) or node.prim.kind not in ("loop", "branch", "call"):
        return step_of(node)
    if node.effects or not is_fixed((*node.inputs, *node.outs)):
        return None
    if not all(is_native(a.aval.dtype) for a in (*node.inputs, *node.outs)):
        return None
    params = node.params
    if node.prim.kind == "branch":
        return _branch(node)
    if node.prim.kind == "call":
        return _called(node) if "jaxpr" in params else None
    if "cond" in params:
        return _while(node)
    return _scan(node) if isinstance(params["length"], int) else None


def block_of(jaxpr: Jaxpr, owned: dict[Var, int] | None = None, in_loop: bool = False) -> Block | None:
    """The steps of a body; None where some of them are not native."""
    if not all(map(is_readable, jaxpr.consts)):
        return None
    small = small_steps(jaxpr) if in_loop else None
    if small is not None:
        return Block(jaxpr.invars, small, jaxpr.outvars, {}, (), True)
    steps = []
    for node in fuse(separated(jaxpr), target):
        step = native_step(node)
        if step is None:
            return None
        steps.append(step)
    if not is_fixed((*jaxpr.invars, *jaxpr.outvars)):
        return None
    return Block(jaxpr.invars, steps, jaxpr.outvars, owned or {}, zip(jaxpr.constvars, jaxpr.consts, strict=True))


def is_readable(array: Any) -> bool:
    """Whether a constant is read where it lies."""
    return isinstance(array, np.ndarray) and array.flags.num & READY == READY and array.dtype.isnative


class _Head:
    """The head of a loop: what comes from outside at first, and then from the step before."""

    def __init__(self, text: Text, stem: str) -> None:
        self.b = text.b
        self.before = self.b.block
        self.name = self.b.label(stem)
        self.b.do(f"br label %{self.name}")
        self.b.start(self.name)
        self.place = len(self.b.lines)
        self.phis: list[tuple[str, str, str]] = []

    def carry(self, ty: str, first: str) -> str:
        name = self.b.fresh()
        self.phis.append((name, ty, first))
        return name

    def carry_value(self, v: V) -> V:
        return joined([V(self.carry(p.full, p.ref), p.ty, p.w) for p in v.parts])

    def close(self, following: Sequence[str]) -> None:
        """Complete the head, at the end of the step, with what it hands on."""
        self.b.lines[self.place : self.place] = [
            f"  {name} = phi {ty} [ {first}, %{self.before} ], [ {new}, %{self.b.block} ]"
            for (name, ty, first), new in zip(self.phis, following, strict=True)
        ]


def _merged(text: Text, ends: Sequence[tuple[str, V]]) -> V:
    """The value that comes from whichever block."""
    b = text.b
    parts = []
    for k, part in enumerate(ends[0][1].parts):
        given = ", ".join(f"[ {v.parts[k].ref}, %{block} ]" for block, v in ends)
        parts.append(V(b.emit(f"phi {part.full} {given}"), part.ty, part.w))
    return joined(parts)


def _aligned(size: int) -> int:
    return -(-size // 64) * 64


class _Carries:
    """The state of a loop whose body is a block.

    Attributes:
        registers, moving, still: the numbers of the carries that are kept in registers, in two places by turns, and in
            one place that each step writes over.
        fixed: those that no step changes.
        room: the bytes that they take besides the places of the results.
    """

    def __init__(self, block: Block, first: int, n: int, spares: int) -> None:
        self.block, self.n = block, n
        self.vars = block.invars[first : first + n]
        self.fixed = [k for k in range(n) if block.outvars[k] is self.vars[k]]
        live = [k for k in range(n) if k not in self.fixed]
        self.registers = [k for k in live if block.small or single(self.vars[k].aval)]
        self.still = [k for k in live if k not in self.registers and k in block.in_place]
        self.moving = [k for k in live if k not in self.registers and k not in self.still]
        self.offsets: dict[int, list[int]] = {}
        at = 0
        for k in self.moving:
            size = _aligned(nbytes(self.vars[k]))
            self.offsets[k] = [at + i * size for i in range(spares)]
            at += spares * size
        self.room = at


def _owned(jaxpr: Jaxpr, first: int, n: int) -> dict[Var, int]:
    return {jaxpr.invars[first + k]: k for k in range(n) if not single(jaxpr.invars[first + k].aval)}


class _LoopStep(Step):
    """What loops have in common."""

    carries: _Carries
    block: Block

    def in_register(self, v: Var) -> bool:
        c = self.carries
        return any(v is out and (k in c.registers or single(v.aval)) for k, out in enumerate(self.outs[: c.n]))


class ScanStep(_LoopStep):
    """A loop of known length."""

    def __init__(self, eqn: Eqn, block: Block) -> None:
        params = eqn.params
        self.inputs, self.outs = eqn.inputs[params["counted"] :], eqn.outs
        self.n_consts, self.length, self.reverse = params["n_consts"], params["length"], params["reverse"]
        self.block = block
        self.carries = _Carries(block, self.n_consts, params["n_carry"], 1)
        self.work = _aligned(block.arena) + self.carries.room
        self.cost = self.length * (block.cost + TURN_COST)

    def emit(self, text: Text, work: str) -> None:
        b, c, block, n = text.b, self.carries, self.block, self.length
        consts, first, xs = self._split(self.inputs)
        outs, ys = self.outs[: c.n], self.outs[c.n :]
        places = {k: text.destination(outs[k]) for k in range(c.n) if not self.in_register(outs[k])}
        if not n:
            for k, v in enumerate(outs):
                if k in places:
                    text.move(places[k], text.address(first[k]), nbytes(v))
                else:
                    text.know_elements(v, text.elements(first[k]))
            for v in ys:
                text.destination(v)
            return
        given = [text.value(a) for a in consts]
        bases = [text.address(a) for a in xs]
        results = [text.destination(v) for v in ys]
        begun = {k: text.elements(first[k]) for k in c.registers}
        start = {k: text.address(first[k]) for k in c.moving}
        for k in c.still:
            text.move(places[k], text.address(first[k]), nbytes(outs[k]))
        # The last step writes where the result is wanted.
        spare = {k: b.address(work, "i8", str(_aligned(block.arena) + c.offsets[k][0])) for k in c.moving}
        pairs = {k: (places[k], spare[k]) if n % 2 else (spare[k], places[k]) for k in c.moving}
        head = _Head(text, "scan")
        i = head.carry("i64", "0")
        state = {k: [head.carry_value(v) for v in begun[k]] for k in c.registers}
        now = {k: head.carry("ptr", start[k]) for k in c.moving}
        target_of = {k: head.carry("ptr", pairs[k][0]) for k in c.moving}
        other = {k: head.carry("ptr", pairs[k][1]) for k in c.moving}
        at = b.emit(f"sub i64 {n - 1}, {i}") if self.reverse else i
        with text.scope():
            carried: list[Value] = []
            wanted: list[str | None] = []
            for k in range(c.n):
                if k in state:
                    carried.append(_held(state[k]))
                    wanted.append(None)
                elif k in c.fixed:
                    carried.append(text.value(first[k]))
                    wanted.append(None)
                else:
                    carried.append(Value(now.get(k, places[k])))
                    wanted.append(target_of.get(k, places[k]))
            slices = [Value(b.address(p, "i8", b.imul(at, nbytes(v)))) for p, v in self._rows(bases, xs)]
            wanted += [b.address(p, "i8", b.imul(at, nbytes(v))) for p, v in self._rows(results, ys)]
            made = text.run(block, [*given, *carried, *slices], wanted, work)
            if self.cost >= POLL // 16:
                text.spend(block.cost + TURN_COST)
            following = b.emit(f"add nuw nsw i64 {i}, 1")
            ends = [following]
            for k in c.registers:
                ends += [p.ref for v in _parts(made[k]) for p in v.parts]
        ends += [*target_of.values(), *other.values(), *target_of.values()]
        more = b.emit(f"icmp ult i64 {following}, {n}")
        head.close(ends)
        after = b.label("after")
        b.do(f"br i1 {more}, label %{head.name}, label %{after}")
        b.start(after)
        for k, v in enumerate(outs):
            if k in c.fixed:
                if k in places:
                    text.move(places[k], text.address(first[k]), nbytes(v))
                else:
                    text.know(v, Value(None, text.register(first[k])))
            elif k in state:
                text.know(v, made[k])

    def _split(self, atoms: Sequence[Atom]) -> tuple[Sequence[Atom], Sequence[Atom], Sequence[Atom]]:
        a, z = self.n_consts, self.n_consts + self.carries.n
        return atoms[:a], atoms[a:z], atoms[z:]

    def _rows(self, pointers: Sequence[str], stacks: Sequence[Atom]) -> list[tuple[str, Var]]:
        """The addresses of stacked values, with a variable of the type of a row."""
        return [(p, Var(a.aval.update(shape=a.aval.shape[1:]))) for p, a in zip(pointers, stacks, strict=True)]


def _parts(value: Value) -> Sequence[V]:
    """The elements of a value that is kept in registers."""
    return [value.v] if value.v is not None else value.elements


def _held(elements: Sequence[V]) -> Value:
    return Value(None, elements[0]) if len(elements) == 1 else Value(None, None, elements)


def _known(value: Value) -> V:
    assert value.v is not None
    return value.v


def _scan(eqn: Eqn) -> Step | None:
    params = eqn.params
    body: Jaxpr = params["jaxpr"]
    block = block_of(body, _owned(body, params["n_consts"], params["n_carry"]), True)
    return None if block is None else ScanStep(eqn, block)


class WhileStep(_LoopStep):
    """A loop that goes on while a condition holds.

    What every step would compute alike is computed once, where it is known that there is a step.
    """

    def __init__(self, eqn: Eqn, test: Block, once: Block, block: Block) -> None:
        self.inputs, self.outs = eqn.inputs, eqn.outs
        self.n_cond, self.n_body = eqn.params["n_cond"], eqn.params["n_body"]
        self.test, self.once, self.block = test, once, block
        n = len(eqn.inputs) - self.n_cond - self.n_body
        self.carries = _Carries(block, len(block.invars) - n, n, 2)
        self.inside = _aligned(max(block.arena, test.arena))
        self.work = self.inside + self.carries.room + _aligned(once.arena) + sum(map(_room, once.outvars))
        self.cost = TURNS * (block.cost + TURN_COST) + once.cost

    def emit(self, text: Text, work: str) -> None:
        b, c, block = text.b, self.carries, self.block
        tests = self.inputs[: self.n_cond]
        consts = self.inputs[self.n_cond : self.n_cond + self.n_body]
        first = self.inputs[self.n_cond + self.n_body :]
        outs = self.outs
        places = {k: text.destination(outs[k]) for k in range(c.n) if not self.in_register(outs[k])}
        given = [text.value(a) for a in (*consts, *tests)]
        begun = {k: text.elements(first[k]) for k in c.registers}
        start = {k: text.address(first[k]) for k in c.moving}
        for k in c.still:
            text.move(places[k], text.address(first[k]), nbytes(outs[k]))
        with text.scope():
            (holds,) = text.run(self.test, [text.value(a) for a in (*tests, *first)], [None], work)
        into, after = b.label("begin"), b.label("after")
        before = b.block
        b.do(f"br i1 {b.scalar(_known(holds))}, label %{into}, label %{after}")
        b.start(into)
        with text.scope():
            at = self.inside + c.room
            room = at + _aligned(self.once.arena)
            kept: list[str | None] = []
            for a in self.once.outvars:
                kept.append(None if single(a.aval) else b.address(work, "i8", str(room)))
                room += _room(a)
            more = text.run(self.once, given, kept, b.address(work, "i8", str(at)))
            spare = {k: [b.address(work, "i8", str(self.inside + o)) for o in c.offsets[k]] for k in c.moving}
            head = _Head(text, "while")
            state = {k: [head.carry_value(v) for v in begun[k]] for k in c.registers}
            now = {k: head.carry("ptr", start[k]) for k in c.moving}
            target_of = {k: head.carry("ptr", spare[k][0]) for k in c.moving}
            other = {k: head.carry("ptr", spare[k][1]) for k in c.moving}
            carried: list[Value] = []
            wanted: list[str | None] = []
            for k in range(c.n):
                if k in state:
                    carried.append(_held(state[k]))
                    wanted.append(None)
                elif k in c.fixed:
                    carried.append(text.value(first[k]))
                    wanted.append(None)
                else:
                    carried.append(Value(now.get(k, places.get(k))))
                    wanted.append(target_of.get(k, places.get(k)))
            made = text.run(block, [*given, *more, *carried], [*wanted, None], work)
            text.spend(block.cost + TURN_COST)
            ends: list[str] = []
            for k in c.registers:
                ends += [p.ref for v in _parts(made[k]) for p in v.parts]
            ends += [*target_of.values(), *other.values(), *target_of.values()]
            again = b.scalar(_known(made[-1]))
            head.close(ends)
            latch = b.block
            b.do(f"br i1 {again}, label %{head.name}, label %{after}")
            b.start(after)
        final = {
            k: [
                _merged(text, [(before, old), (latch, new)]) for old, new in zip(begun[k], _parts(made[k]), strict=True)
            ]
            for k in c.registers
        }
        last = {k: b.emit(f"phi ptr [ {start[k]}, %{before} ], [ {target_of[k]}, %{latch} ]") for k in c.moving}
        for k, v in enumerate(outs):
            if k in final:
                text.know(v, _held(final[k]))
            elif k in last:
                text.move(places[k], last[k], nbytes(v))
            elif k in c.fixed:
                if k in places:
                    text.move(places[k], text.address(first[k]), nbytes(v))
                else:
                    text.know(v, Value(None, text.register(first[k])))


def _room(a: Atom) -> int:
    return 0 if single(a.aval) else _aligned(nbytes(a))


def _while(eqn: Eqn) -> Step | None:
    params = eqn.params
    cond, body, n_cond, n_body = (params[k] for k in ("cond", "body", "n_cond", "n_body"))
    if params["saves"] is not None:
        return None
    n_carry = len(body.invars) - n_body
    whole = with_test(body, cond, n_body, n_cond, n_carry)
    once, step = hoisted(whole, n_body + n_cond)
    blocks = [
        block_of(cond),
        block_of(once),
        block_of(step, _owned(step, len(step.invars) - n_carry, n_carry), True),
    ]
    if any(block is None for block in blocks):
        return None
    return WhileStep(eqn, *blocks)  # type: ignore[arg-type]


class BranchStep(Step):
    """A choice."""

    def __init__(self, eqn: Eqn, blocks: Sequence[Block]) -> None:
        self.inputs, self.outs = eqn.inputs, eqn.outs
        self.blocks = blocks
        self.work = max(_aligned(block.arena) for block in blocks)
        self.cost = max(block.cost for block in blocks) + TURN_COST

    def in_register(self, v: Var) -> bool:
        return single(v.aval)

    def emit(self, text: Text, work: str) -> None:
        b = text.b
        places = [None if single(v.aval) else text.destination(v) for v in self.outs]
        which, dtype = text.register(self.inputs[0]), self.inputs[0].aval.dtype
        index = b.scalar(which)
        given = [text.value(a) for a in self.inputs[1:]]
        labels = [b.label("branch") for _ in self.blocks]
        after = b.label("joined")
        last = len(labels) - 1
        if dtype.kind == "b":
            b.do(f"br i1 {index}, label %{labels[min(1, last)]}, label %{labels[0]}")
        else:
            if which.ty != "i64":
                index = b.emit(f"{'sext' if dtype.kind == 'i' else 'zext'} {which.ty} {index} to i64")
            if dtype.kind == "i":
                low = b.emit(f"icmp slt i64 {index}, 0")
                index = b.emit(f"select i1 {low}, i64 0, i64 {index}")
            cases = " ".join(f"i64 {k}, label %{label}" for k, label in enumerate(labels[:-1]))
            b.do(f"switch i64 {index}, label %{labels[-1]} [ {cases} ]")
        ends: list[list[tuple[str, V]]] = [[] for _ in self.outs]
        for label, block in zip(labels, self.blocks, strict=True):
            b.start(label)
            with text.scope():
                made = text.run(block, given, places, work)
                for n, (place, value) in enumerate(zip(places, made, strict=True)):
                    if place is None:
                        ends[n].append((b.block, _known(value)))
                b.do(f"br label %{after}")
        b.start(after)
        for n, v in enumerate(self.outs):
            if places[n] is None:
                text.know(v, Value(None, _merged(text, ends[n])))


def _branch(eqn: Eqn) -> Step | None:
    blocks = [block_of(branch) for branch in eqn.params["branches"]]
    found = [block for block in blocks if block is not None]
    return BranchStep(eqn, found) if len(found) == len(blocks) else None


class CalledStep(Step):
    """A region that runs once."""

    def __init__(self, eqn: Eqn, block: Block) -> None:
        self.inputs, self.outs = eqn.inputs, eqn.outs
        self.block = block
        self.work = _aligned(block.arena)
        self.cost = block.cost

    def in_register(self, v: Var) -> bool:
        return single(v.aval)

    def emit(self, text: Text, work: str) -> None:
        places = [None if single(v.aval) else text.destination(v) for v in self.outs]
        given = [text.value(a) for a in self.inputs]
        with text.scope():
            made = text.run(self.block, given, places, work)
        for v, place, value in zip(self.outs, places, made, strict=True):
            if place is None:
                text.know(v, Value(None, _known(value)))


def _called(eqn: Eqn) -> Step | None:
    block = block_of(eqn.params["jaxpr"])
    return None if block is None else CalledStep(eqn, block)
