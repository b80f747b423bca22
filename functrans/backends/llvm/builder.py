"""A thin builder of textual LLVM IR: every value is a vector of one or more lanes, and every step one line.

Text costs a twentieth of what building an object per instruction does. There is no optimiser behind it: what is emitted
is what code generation sees, so loops, unrolling and hoisting are the caller's.

Complex values are pairs of vectors. In memory their parts stand by turns, as NumPy keeps them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

BITS = {
    "i1": 1, "i8": 8, "i16": 16, "i32": 32, "i64": 64, "i128": 128, "float": 32, "double": 64, "cfloat": 64,
    "cdouble": 128,
}  # fmt: skip
"""The types of lanes; ``cfloat`` and ``cdouble`` are the complex ones."""
_ELEMENT = {"cfloat": "{ float, float }", "cdouble": "{ double, double }"}


class V(NamedTuple):
    """A vector value: its text, the LLVM type of a lane, and how many lanes.

    A complex value has the type ``cfloat`` or ``cdouble``, and its imaginary parts in ``im``.
    """

    ref: str
    ty: str
    w: int
    im: str = ""

    @property
    def full(self) -> str:
        return f"<{self.w} x {self.ty}>"

    @property
    def suffix(self) -> str:
        """How intrinsics spell the type."""
        return f"v{self.w}{ {'float': 'f32', 'double': 'f64'}.get(self.ty, self.ty) }"

    @property
    def floating(self) -> bool:
        return self.ty in ("float", "double")

    @property
    def parts(self) -> tuple[V, ...]:
        """The real and the imaginary part of a complex value; a real one alone."""
        if not self.im:
            return (self,)
        return V(self.ref, self.ty[1:], self.w), V(self.im, self.ty[1:], self.w)


def joined(parts: Sequence[V]) -> V:
    """The value that is made of these parts."""
    if len(parts) == 1:
        return parts[0]
    re, im = parts
    return V(re.ref, f"c{re.ty}", re.w, im.ref)


def regrouped(parts: Iterable[V], like: Sequence[V]) -> list[V]:
    """Values of the kinds of others from all their parts in a row."""
    rest = iter(parts)
    return [joined([next(rest) for _ in v.parts]) for v in like]


def number(value: Any, ty: str) -> str:
    """A scalar constant as LLVM spells it."""
    if ty in ("float", "double"):
        with np.errstate(over="ignore"):
            value = float(np.float32(value)) if ty == "float" else float(value)
        return "0x" + struct.pack(">d", value).hex().upper()
    return str(int(value))


class Builder:
    """The body of one function, block by block.

    Attributes:
        fma: whether the machine fuses a product and a sum; a sum of a rounded product is emitted otherwise.
        lines: the text so far.
        declared: declarations of the intrinsics in use.
        helpers: definitions of functions in use, by name.
        step: what the text is being written for, where that is to be said of a mistake.
    """

    def __init__(
        self, fma: bool, declared: dict[str, str] | None = None, helpers: dict[str, str] | None = None
    ) -> None:
        self.fma = fma
        self.lines: list[str] = []
        self.count = 0
        self.block = "entry"
        self.declared: dict[str, str] = {} if declared is None else declared
        self.helpers: dict[str, str] = {} if helpers is None else helpers
        self.step: object = None

    # -- text ---------------------------------------------------------------------------------------------------

    def fresh(self) -> str:
        self.count += 1
        return f"%t{self.count}"

    def label(self, stem: str) -> str:
        self.count += 1
        return f"{stem}{self.count}"

    def emit(self, text: str) -> str:
        name = self.fresh()
        self.lines.append(f"  {name} = {text}")
        return name

    def do(self, text: str) -> None:
        self.lines.append(f"  {text}")

    def share(self, name: str, text: str) -> None:
        """Keep the definition of an internal function or constant whose text depends on its name alone.

        All programs of a process share its object code; other helpers are generated with each program.
        """
        self.helpers[name] = f"; shared {name}\n{text.rstrip()}\n; end\n"

    def start(self, block: str) -> None:
        self.lines.append(f"{block}:")
        self.block = block

    # -- vectors ------------------------------------------------------------------------------------------------

    def const(self, value: Any, ty: str, w: int) -> V:
        if ty.startswith("c"):
            return joined([self.const(part, ty[1:], w) for part in (value.real, value.imag)])
        return V(f"splat ({ty} {number(value, ty)})", ty, w)

    def like(self, value: Any, v: V) -> V:
        """A constant of the type of another value."""
        return self.const(value, v.ty, v.w)

    def each(self, f: Callable[..., V], *values: V) -> V:
        """A function of the parts of some values, part by part."""
        return joined([f(*parts) for parts in zip(*[v.parts for v in values], strict=True)])

    def op(self, name: str, a: V, b: V) -> V:
        return V(self.emit(f"{name} {a.full} {a.ref}, {b.ref}"), a.ty, a.w)

    def add(self, a: V, b: V) -> V:
        if a.im:
            return self.each(self.add, a, b)
        return self.op("fadd" if a.floating else "add", a, b)

    def sub(self, a: V, b: V) -> V:
        if a.im:
            return self.each(self.sub, a, b)
        return self.op("fsub" if a.floating else "sub", a, b)

    def mul(self, a: V, b: V) -> V:
        if a.im:
            (ar, ai), (br, bi) = a.parts, b.parts
            return joined([self.muladd(ar, br, self.neg(self.mul(ai, bi))), self.muladd(ar, bi, self.mul(ai, br))])
        return self.op("fmul" if a.floating else "mul", a, b)

    def div(self, a: V, b: V) -> V:
        return self.op("fdiv", a, b)

    def neg(self, a: V) -> V:
        if a.im:
            return self.each(self.neg, a)
        if a.floating:
            return V(self.emit(f"fneg {a.full} {a.ref}"), a.ty, a.w)
        return self.sub(self.like(0, a), a)

    def muladd(self, a: V, b: V, c: V) -> V:
        """``a * b + c``, rounded once where the machine can."""
        return self.call("fma", a, b, c) if self.fma else self.add(self.mul(a, b), c)

    def compare(self, predicate: str, a: V, b: V) -> V:
        return V(self.emit(f"{'fcmp' if a.floating else 'icmp'} {predicate} {a.full} {a.ref}, {b.ref}"), "i1", a.w)

    def select(self, c: V, a: V, b: V) -> V:
        if a.im:
            return self.each(lambda x, y: self.select(c, x, y), a, b)
        return V(self.emit(f"select {c.full} {c.ref}, {a.full} {a.ref}, {b.full} {b.ref}"), a.ty, a.w)

    def cast(self, name: str, a: V, ty: str) -> V:
        return V(self.emit(f"{name} {a.full} {a.ref} to <{a.w} x {ty}>"), ty, a.w)

    def call(self, name: str, *args: V, extra: Sequence[str] = (), result: str | None = None) -> V:
        """An intrinsic over vectors of one type."""
        a = args[0]
        ty = result or a.ty
        full = f"llvm.{name}.{a.suffix}"
        types = ", ".join([*(v.full for v in args), *(e.split()[0] for e in extra)])
        self.declared[full] = f"declare <{a.w} x {ty}> @{full}({types})"
        given = ", ".join([*(f"{v.full} {v.ref}" for v in args), *extra])
        return V(self.emit(f"call <{a.w} x {ty}> @{full}({given})"), ty, a.w)

    def spread(self, v: V, w: int) -> V:
        """The one lane of a vector in all of a wider one."""
        if v.w == w:
            return v
        if v.im:
            return self.each(lambda x: self.spread(x, w), v)
        if v.ref.startswith("splat"):
            return V(v.ref, v.ty, w)
        mask = f"<{w} x i32> zeroinitializer"
        return V(self.emit(f"shufflevector {v.full} {v.ref}, {v.full} poison, {mask}"), v.ty, w)

    def shuffle(self, v: V, places: Sequence[int], other: V | None = None) -> V:
        """The lanes at some places, of two vectors side by side if there is another one."""
        if v.im:
            return self.each(lambda x: self.shuffle(x, places), v)
        if other is None and v.ref.startswith("splat"):
            return V(v.ref, v.ty, len(places))
        second = "poison" if other is None else other.ref
        mask = ", ".join(f"i32 {p}" for p in places)
        text = f"shufflevector {v.full} {v.ref}, {v.full} {second}, <{len(places)} x i32> <{mask}>"
        return V(self.emit(text), v.ty, len(places))

    def folded(self, v: V, combine: Callable[[V, V], V]) -> V:
        """All lanes combined pairwise, as one lane."""
        while v.w > 1:
            half = v.w // 2
            v = combine(self.shuffle(v, range(half)), self.shuffle(v, range(half, v.w)))
        return v

    def vector(self, scalar: str, ty: str, w: int = 1) -> V:
        """A scalar in all lanes."""
        if not scalar.startswith("%"):
            return self.const(int(scalar), ty, w)
        one = V(self.emit(f"insertelement <1 x {ty}> poison, {ty} {scalar}, i64 0"), ty, 1)
        return self.spread(one, w)

    def any(self, mask: V) -> str:
        """Whether some lane is true, as a scalar."""
        bits = self.emit(f"bitcast {mask.full} {mask.ref} to i{mask.w}")
        return self.emit(f"icmp ne i{mask.w} {bits}, 0")

    def scalar(self, v: V, lane: int = 0) -> str:
        return self.emit(f"extractelement {v.full} {v.ref}, i64 {lane}")

    def insert(self, v: V, one: V, lane: int) -> V:
        """A vector with one of its lanes replaced by that of another one."""
        return V(self.emit(f"insertelement {v.full} {v.ref}, {v.ty} {self.scalar(one)}, i64 {lane}"), v.ty, v.w)

    def lanes(self, w: int, ty: str = "i64") -> V:
        """``0, 1, 2, …``"""
        return V("<" + ", ".join(f"{ty} {k}" for k in range(w)) + ">", ty, w)

    # -- integers of addresses ----------------------------------------------------------------------------------

    def iadd(self, a: str, b: str) -> str:
        if a == "0" or b == "0":
            return b if a == "0" else a
        if not a.startswith("%") and not b.startswith("%"):
            return str(int(a) + int(b))
        return self.emit(f"add i64 {a}, {b}")

    def imul(self, a: str, by: int) -> str:
        if by == 1 or a == "0":
            return a
        if not a.startswith("%"):
            return str(int(a) * by)
        return self.emit(f"mul i64 {a}, {by}")

    def imin(self, a: str, b: str) -> str:
        if not a.startswith("%") and not b.startswith("%"):
            return str(min(int(a), int(b)))
        less = self.emit(f"icmp slt i64 {a}, {b}")
        return self.emit(f"select i1 {less}, i64 {a}, i64 {b}")

    def divmod(self, a: str, by: int) -> tuple[str, str]:
        """Quotient and remainder of what is not negative."""
        if not a.startswith("%"):
            return str(int(a) // by), str(int(a) % by)
        q = self.emit(f"udiv i64 {a}, {by}")
        return q, self.emit(f"sub i64 {a}, {self.imul(q, by)}")

    # -- control flow -------------------------------------------------------------------------------------------

    def loop(
        self, low: str, high: str, step: int, carried: Sequence[V], body: Callable[[str, list[V]], Sequence[V]]
    ) -> list[V]:
        """``for i in range(low, high, step)``, with values carried from one turn to the next."""
        if any(v.im for v in carried):
            parts = self.loop(
                low, high, step, [p for v in carried for p in v.parts],
                lambda i, vs: [p for v in body(i, regrouped(vs, carried)) for p in v.parts],
            )  # fmt: skip
            return regrouped(parts, carried)
        before = self.block
        head, inside, after = self.label("head"), self.label("body"), self.label("next")
        i = self.fresh()
        values = [V(self.fresh(), v.ty, v.w) for v in carried]
        self.do(f"br label %{head}")
        self.start(head)
        place = len(self.lines)
        more = self.emit(f"icmp slt i64 {i}, {high}")
        self.do(f"br i1 {more}, label %{inside}, label %{after}")
        self.start(inside)
        results = body(i, values)
        following = self.emit(f"add nsw i64 {i}, {step}")
        self.do(f"br label %{head}")
        phis = [f"  {i} = phi i64 [ {low}, %{before} ], [ {following}, %{self.block} ]"]
        for p, v, r in zip(values, carried, results, strict=True):
            phis.append(f"  {p.ref} = phi {p.full} [ {v.ref}, %{before} ], [ {r.ref}, %{self.block} ]")
        self.lines[place:place] = phis
        self.start(after)
        return values

    def repeat(self, carried: Sequence[V], body: Callable[[list[V]], tuple[Sequence[V], str]]) -> list[V]:
        """The body again and again, at least once, while the scalar that it gives beside its values is true."""
        if any(v.im for v in carried):

            def by_parts(parts: list[V]) -> tuple[Sequence[V], str]:
                found, more = body(regrouped(parts, carried))
                return [p for v in found for p in v.parts], more

            return regrouped(self.repeat([p for v in carried for p in v.parts], by_parts), carried)
        before = self.block
        inside, after = self.label("again"), self.label("next")
        self.do(f"br label %{inside}")
        self.start(inside)
        values = [V(self.fresh(), v.ty, v.w) for v in carried]
        place = len(self.lines)
        results, more = body(values)
        self.do(f"br i1 {more}, label %{inside}, label %{after}")
        self.lines[place:place] = [
            f"  {p.ref} = phi {p.full} [ {v.ref}, %{before} ], [ {r.ref}, %{self.block} ]"
            for p, v, r in zip(values, carried, results, strict=True)
        ]
        self.start(after)
        return list(results)

    def when(self, condition: str, otherwise: Sequence[V], body: Callable[[], Sequence[V]]) -> list[V]:
        """The body's values where a condition holds, and others where it does not."""
        before = self.block
        inside, after = self.label("then"), self.label("join")
        self.do(f"br i1 {condition}, label %{inside}, label %{after}")
        self.start(inside)
        results = body()
        end = self.block
        self.do(f"br label %{after}")
        self.start(after)

        def either(a: V, r: V) -> V:
            return V(self.emit(f"phi {a.full} [ {a.ref}, %{before} ], [ {r.ref}, %{end} ]"), a.ty, a.w)

        return [self.each(either, a, r) for a, r in zip(otherwise, results, strict=True)]

    @contextmanager
    def guarded(self, condition: str) -> Iterator[None]:
        """What is emitted inside runs only where a condition holds."""
        inside, after = self.label("then"), self.label("join")
        self.do(f"br i1 {condition}, label %{inside}, label %{after}")
        self.start(inside)
        yield
        self.do(f"br label %{after}")
        self.start(after)

    # -- memory -------------------------------------------------------------------------------------------------

    def bound(self, pointer: str, size: int, what: str) -> str:
        """A pointer to memory of which the size is known."""
        return pointer

    def address(self, pointer: str, ty: str, at: str) -> str:
        return pointer if at == "0" else self.emit(f"getelementptr {_ELEMENT.get(ty, ty)}, ptr {pointer}, i64 {at}")

    def interleave(self, v: V) -> V:
        """The parts of a complex value by turns, as they stand in memory."""
        re, im = v.parts
        return self.shuffle(re, [k + by for k in range(v.w) for by in (0, v.w)], im)

    def load(self, ty: str, w: int, pointer: str, mask: V | None = None, other: V | None = None) -> V:
        if ty.startswith("c"):
            kept = None if other is None else self.interleave(other)
            both = self.load(ty[1:], 2 * w, pointer, self._twice(mask), kept)
            return joined([self.shuffle(both, range(k, 2 * w, 2)) for k in (0, 1)])
        size = BITS[ty] // 8
        if mask is None:
            return V(self.emit(f"load <{w} x {ty}>, ptr {pointer}, align {size}"), ty, w)
        kept = self.const(0, ty, w) if other is None else other
        full = f"llvm.masked.load.{kept.suffix}.p0"
        self.declared[full] = f"declare {kept.full} @{full}(ptr, i32, <{w} x i1>, {kept.full})"
        text = f"call {kept.full} @{full}(ptr {pointer}, i32 {size}, {mask.full} {mask.ref}, {kept.full} {kept.ref})"
        return V(self.emit(text), ty, w)

    def gather(self, ty: str, w: int, pointer: str, at: V, mask: V | None, other: V | None) -> V:
        pointers = self.emit(f"getelementptr {_ELEMENT.get(ty, ty)}, ptr {pointer}, {at.full} {at.ref}")
        others: Sequence[V | None] = (None, None) if other is None else other.parts
        if not ty.startswith("c"):
            return self._gather(ty, w, pointers, mask, others[0])
        second = self.emit(f"getelementptr {ty[1:]}, <{w} x ptr> {pointers}, i64 1")
        return joined([self._gather(ty[1:], w, p, mask, o) for p, o in zip((pointers, second), others, strict=True)])

    def _gather(self, ty: str, w: int, pointers: str, mask: V | None, other: V | None) -> V:
        size = BITS[ty] // 8
        kept = self.const(0, ty, w) if other is None else other
        full = f"llvm.masked.gather.{kept.suffix}.v{w}p0"
        self.declared[full] = f"declare {kept.full} @{full}(<{w} x ptr>, i32, <{w} x i1>, {kept.full})"
        live = mask or V("splat (i1 1)", "i1", w)
        given = f"<{w} x ptr> {pointers}, i32 {size}, {live.full} {live.ref}, {kept.full} {kept.ref}"
        return V(self.emit(f"call {kept.full} @{full}({given})"), ty, w)

    def _twice(self, mask: V | None) -> V | None:
        return None if mask is None else self.shuffle(mask, [k // 2 for k in range(2 * mask.w)])

    def store(self, v: V, pointer: str, mask: V | None = None) -> None:
        if v.im:
            self.store(self.interleave(v), pointer, self._twice(mask))
            return
        size = BITS[v.ty] // 8
        if mask is None:
            self.do(f"store {v.full} {v.ref}, ptr {pointer}, align {size}")
            return
        full = f"llvm.masked.store.{v.suffix}.p0"
        self.declared[full] = f"declare void @{full}({v.full}, ptr, i32, <{v.w} x i1>)"
        self.do(f"call void @{full}({v.full} {v.ref}, ptr {pointer}, i32 {size}, {mask.full} {mask.ref})")

    def scatter(self, v: V, pointer: str, at: V, mask: V | None) -> None:
        pointers = self.emit(f"getelementptr {_ELEMENT.get(v.ty, v.ty)}, ptr {pointer}, {at.full} {at.ref}")
        for k, part in enumerate(v.parts):
            if k:
                pointers = self.emit(f"getelementptr {part.ty}, <{v.w} x ptr> {pointers}, i64 1")
            self._scatter(part, pointers, mask)

    def _scatter(self, v: V, pointers: str, mask: V | None) -> None:
        size = BITS[v.ty] // 8
        full = f"llvm.masked.scatter.{v.suffix}.v{v.w}p0"
        self.declared[full] = f"declare void @{full}({v.full}, <{v.w} x ptr>, i32, <{v.w} x i1>)"
        live = mask or V("splat (i1 1)", "i1", v.w)
        self.do(f"call void @{full}({v.full} {v.ref}, <{v.w} x ptr> {pointers}, i32 {size}, {live.full} {live.ref})")
