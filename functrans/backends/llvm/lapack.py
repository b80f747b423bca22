"""Factorisations as native code: LAPACK by address, matrix by matrix in a native loop.

LAPACK has matrices column by column, arrays here row by row: operands and factors are transposed on the way where it
matters which is which, and what ``numpy.linalg`` computes in double precision is computed so here, as NumPy does: so
results, and the signs of vectors, are NumPy's own. Where a routine fails the exception is set that NumPy raises. How
much memory a routine works in is asked of it when the call is compiled.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from math import prod
from typing import Any, NamedTuple

import numpy as np

from functrans.backends.llvm.blas import LETTERS, Library, library, thread_symbols, threads
from functrans.backends.llvm.builder import BITS, Builder, V
from functrans.backends.llvm.calls import NativeCall, native
from functrans.backends.llvm.gemm import Columns, Step, Target, host, vectors_of
from functrans.backends.llvm.mathematics import FUNCTIONS
from functrans.backends.llvm.matmul import type_of
from functrans.backends.llvm.outside import LOCK
from functrans.backends.llvm.packing import pack
from functrans.backends.llvm.runtime import machine
from functrans.core.avals import ShapedArray
from functrans.core.jaxpr import Eqn
from functrans.lax.linalg.common import LOOP_ROWS

_HEAD = 64
"""Bytes at the start of the working memory, for what a routine reports."""


class Room(NamedTuple):
    """A piece of working memory: elements of a type."""

    ty: str
    elements: int

    @property
    def bytes(self) -> int:
        return -(-self.elements * BITS[self.ty] // 8 // 64) * 64


class Routines:
    """LAPACK's routines for one type of elements, called from the body of a function."""

    def __init__(self, b: Builder, found: Library, ty: str, used: dict[str, int]) -> None:
        self.b = b
        self.found = found
        self.ty = ty
        self.used = used
        self.target: Target = host()

    @property
    def real(self) -> str:
        return self.ty.removeprefix("c")

    def integer(self, value: int) -> str:
        """The address of an integer constant."""
        name = f"@lapack_{value}" if value >= 0 else f"@lapack_minus_{-value}"
        self.b.declared[name] = f"{name} = private constant {self.found.integer} {value}"
        return name

    def letter(self, value: str) -> str:
        name = f"@lapack_{value}"
        self.b.declared[name] = f"{name} = private constant i8 {ord(value)}"
        return name

    def symbol(self, name: str) -> str:
        """Note down that a function of the library is used."""
        address = self.found.address(name)
        assert address, name
        self.used[name] = address
        return name

    def call(self, name: str, *args: str | int, info: str) -> None:
        """Call a routine: integers and letters by address, then what it reports."""
        full = self.symbol(self.found.lapack(LETTERS[self.ty] + name))
        given = []
        for a in args:
            given.append(self.integer(a) if isinstance(a, int) else self.letter(a) if len(a) == 1 else a)
        given.append(info)
        self.b.declared[full] = f"declare void @{full}({', '.join(['ptr'] * len(given))})"
        self.b.do(f"call void @{full}({', '.join(f'ptr {g}' for g in given)})")

    def failed(self, info: str) -> str:
        """Whether a routine has failed."""
        i = self.found.integer
        found = self.b.emit(f"load {i}, ptr {info}")
        return self.b.emit(f"icmp ne {i} {found}, 0")

    def solve_triangle(
        self, a: str, n: int, x: str, columns: int, lower: bool, transposed: bool, unit: bool
    ) -> None:  # fmt: skip
        """``op(a) x = b`` in place, row by row in memory."""
        i, ty = self.found.integer, self.ty
        name = self.symbol(self.found.cblas(f"{LETTERS[ty]}trsm"))
        scalar = "ptr" if ty.startswith("c") else ty
        one = "1.0"
        if scalar == "ptr":
            one = f"@lapack_one_{ty}"
            self.b.declared[one] = f"{one} = private constant [2 x {ty[1:]}] [{ty[1:]} 1.0, {ty[1:]} 0.0]"
        self.b.declared[name] = f"declare void @{name}(i32, i32, i32, i32, i32, {i}, {i}, {scalar}, ptr, {i}, ptr, {i})"
        flags = f"i32 101, i32 141, i32 {122 if lower else 121}, i32 {112 if transposed else 111}"
        self.b.do(
            f"call void @{name}({flags}, i32 {132 if unit else 131}, {i} {n}, {i} {columns}, {scalar} {one}, "
            f"ptr {a}, {i} {n}, ptr {x}, {i} {columns})"
        )

    # -- memory -----------------------------------------------------------------------------------------------------

    def transpose(self, rows: int, columns: int, source: str, to: str, step: int | None = None) -> None:
        """A matrix with contiguous rows to one with contiguous columns, or back."""
        if rows == 1 or columns == 1:
            self.copy(rows * columns, source, to)
            return
        along = (Step(columns, 1, rows),)
        pack(self.b, self.ty, along, (Step(rows, step or columns, 1),), source, to, self.target)

    def copy(self, count: int, source: str, to: str) -> None:
        size = count * BITS[self.ty] // 8
        self.b.declared["memcpy"] = "declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)"
        self.b.do(f"call void @llvm.memcpy.p0.p0.i64(ptr {to}, ptr {source}, i64 {size}, i1 false)")

    def cast(self, old: str, new: str, count: int, source: str, to: str) -> None:
        """Floats of another precision; of complex numbers both parts."""
        b, count = self.b, count * (2 if old.startswith("c") else 1)
        old, new = old.removeprefix("c"), new.removeprefix("c")
        name, w = ("fpext" if new == "double" else "fptrunc"), self.target.lanes("double")

        def vector(i: str, c: Columns) -> None:
            v = b.cast(name, b.load(old, c.w, b.address(source, old, i)), new)
            b.store(v, b.address(to, new, i))

        def turn(i: str, _: list[V]) -> list[V]:
            vector(i, Columns(0, w, w))
            return []

        if count >= w:
            b.loop("0", str(count // w * w), w, [], turn)
        for c in vectors_of(count % w, w, False):
            vector(str(count // w * w + c.at), c)

    def clear(self, to: str, elements: str) -> None:
        self.b.declared["memset"] = "declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)"
        size = self.b.imul(elements, BITS[self.ty] // 8)
        self.b.do(f"call void @llvm.memset.p0.i64(ptr {to}, i8 0, i64 {size}, i1 false)")

    def at(self, pointer: str, index: str, step: int = 1, ty: str = "") -> str:
        return self.b.address(pointer, ty or self.ty, self.b.imul(index, step))

    def times(self, low: str, high: str, body: Callable[[str], None]) -> None:
        def turn(i: str, _: list[V]) -> list[V]:
            body(i)
            return []

        self.b.loop(low, high, 1, [], turn)

    def singular(self, a: str, n: int) -> str:
        """Whether a diagonal has a zero."""
        b = self.b

        def turn(i: str, found: list[V]) -> list[V]:
            d = b.load(self.ty, 1, self.at(a, i, n + 1))
            none = [b.compare("oeq", part, b.like(0, part)) for part in d.parts]
            zero = none[0] if len(none) == 1 else b.op("and", *none)
            return [b.op("or", found[0], zero)]

        (found,) = b.loop("0", str(n), 1, [V("zeroinitializer", "i1", 1)], turn)
        return b.scalar(found)


One = Callable[[Routines, Sequence[str], Sequence[str], Sequence[str], str], str | None]
"""``one(routines, operands, outs, rooms, info)`` for one matrix; an ``i1`` for whether it failed, if it can."""


@dataclass(frozen=True)
class Stack:
    """What is computed matrix by matrix.

    Attributes:
        ty: of the elements that LAPACK computes with; those of other floats are converted.
        count: how many matrices there are.
        given, made: types and sizes of the operands and results of one.
        rooms: working memory.
        message: of the exception where one fails.
    """

    ty: str
    count: int
    given: tuple[tuple[str, int], ...]
    made: tuple[tuple[str, int], ...]
    rooms: tuple[Room, ...]
    message: str | None

    @property
    def all_rooms(self) -> list[Room]:
        """The working memory, with what is converted."""
        return [*self.rooms, *[Room(self.wide(t), n) for t, n in (*self.given, *self.made) if self.wide(t) != t]]

    @property
    def starts(self) -> list[int]:
        rooms = self.all_rooms
        return [_HEAD + sum([r.bytes for r in rooms[:n]]) for n in range(len(rooms) + 1)]

    def wide(self, ty: str) -> str:
        return _WIDE.get(ty, ty) if self.ty in _WIDE.values() else ty


_WIDE = {"float": "double", "cfloat": "cdouble"}


def _type(a: ShapedArray, wide: bool = True) -> str:
    """The type that LAPACK computes with."""
    ty = type_of(a.dtype)
    return _WIDE.get(ty, ty) if wide else ty


def _stacked(
    eqn: Eqn, stem: str, key: Any, one: One, rooms: Sequence[Room], message: str | None, cost: int, wide: bool = True
) -> NativeCall | None:
    """A call that computes matrix by matrix, in double precision if ``wide``."""
    found = library()
    if found is None:
        return None
    avals = [a.aval for a in eqn.inputs]
    outs = [v.aval for v in eqn.outs]
    lead = avals[0].ndim - 2
    given, made = (tuple([(type_of(a.dtype), prod(a.shape[lead:])) for a in some]) for some in (avals, outs))
    stack = Stack(_type(avals[0], wide), prod(avals[0].shape[:lead]), given, made, tuple(rooms), message)
    # A body is written once to know the routines that it calls.
    used: dict[str, int] = {}
    _body(Builder(machine().fma), found, one, stack, used)
    symbols = used | thread_symbols(found)
    if message is not None:
        symbols |= _raising()

    def emit(b: Builder, operands: Sequence[str], results: Sequence[str], work: str) -> str | None:
        name = f"{stem}_{blake2b(repr((key, stack)).encode(), digest_size=8).hexdigest()}"
        if name not in b.helpers:
            inner = Builder(b.fma, b.declared, b.helpers)
            status = _body(inner, found, one, stack, {})
            params = ", ".join([f"ptr %p{n}" for n in range(len(given) + len(made))])
            lines = [f"define internal i1 @{name}({params}, ptr %work) {machine().attributes} {{", "entry:"]
            b.helpers[name] = "\n".join([*lines, *inner.lines, f"  ret i1 {status}", "}", ""])
        pointers = ", ".join([f"ptr {p}" for p in (*operands, *results, work)])
        failed = b.emit(f"call i1 @{name}({pointers})")
        return failed if message is not None else None

    return NativeCall(emit, stack.starts[-1], symbols, stack.count * cost)


def _body(b: Builder, found: Library, one: One, stack: Stack, used: dict[str, int]) -> str:
    """The loop over the matrices; an ``i1`` for whether one of them failed."""
    routines = Routines(b, found, stack.ty, used)
    places = [b.address("%work", "i8", str(at)) for at in stack.starts[:-1]]
    rooms, spare = places[: len(stack.rooms)], places[len(stack.rooms) :]
    each = (*stack.given, *stack.made)
    inputs = len(stack.given)

    def turn(i: str, failed: list[V]) -> list[V]:
        rest = iter(spare)
        pointers = [b.address(f"%p{n}", t, b.imul(i, size)) for n, (t, size) in enumerate(each)]
        taken = [p if stack.wide(t) == t else next(rest) for p, (t, _) in zip(pointers, each, strict=True)]
        for p, q, (t, size) in list(zip(pointers, taken, each, strict=True))[:inputs]:
            if p is not q:
                routines.cast(t, stack.wide(t), size, p, q)
        wrong = one(routines, taken[:inputs], taken[inputs:], rooms, "%work")
        for p, q, (t, size) in list(zip(pointers, taken, each, strict=True))[inputs:]:
            if p is not q:
                routines.cast(stack.wide(t), t, size, q, p)
        if wrong is None:
            return failed
        some = V(b.emit(f"insertelement <1 x i1> poison, i1 {wrong}, i64 0"), "i1", 1)
        return [b.op("or", failed[0], some)]

    with threads(b, found):
        (failed,) = b.loop("0", str(stack.count), 1, [V("zeroinitializer", "i1", 1)], turn)
    status = b.scalar(failed)
    if stack.message is not None:
        with b.guarded(status):
            raised(b, stack.message)
    return status


def _raising() -> dict[str, int]:
    function = ctypes.cast(ctypes.pythonapi.PyErr_SetString, ctypes.c_void_p).value or 0
    return {"PyErr_SetString": function, "functrans_LinAlgError": id(np.linalg.LinAlgError)}


def raised(b: Builder, message: str) -> None:
    """Set a ``LinAlgError``."""
    text = message.encode() + b"\0"
    name = f"lapack_{message.replace(' ', '_').replace(':', '')}"
    spelled = "".join(f"\\{c:02X}" for c in text)
    b.declared[name] = f'@{name} = private constant [{len(text)} x i8] c"{spelled}"'
    b.declared["PyGILState"] = LOCK
    b.declared["PyErr_SetString"] = "declare void @PyErr_SetString(ptr, ptr)"
    b.declared["LinAlgError"] = "@functrans_LinAlgError = external global i8"
    state = b.emit("call i32 @PyGILState_Ensure()")
    b.do(f"call void @PyErr_SetString(ptr @functrans_LinAlgError, ptr @{name})")
    b.do(f"call void @PyGILState_Release(i32 {state})")


@lru_cache(maxsize=1024)
def _asked(letter: str, name: str, arguments: tuple[str | int, ...], places: tuple[int, ...]) -> list[int]:
    """The working memory that a routine asks for: the numbers that it leaves at some of its arguments.

    Args:
        arguments: letters and integers; ``"work"`` for arrays, of which the routine fills the first element.
        places: the arguments to read.
    """
    found = library()
    assert found is not None
    integer = ctypes.c_int64 if found.integer == "i64" else ctypes.c_int32
    given: list[Any] = []
    for a in arguments:
        if isinstance(a, int):
            given.append(integer(a))
        elif len(a) == 1:
            given.append(ctypes.c_char(a.encode()))
        else:
            given.append(np.zeros(2, {"s": "f4", "d": "f8", "c": "c8", "z": "c16", "i": f"i{ctypes.sizeof(integer)}"}[
                "i" if a == "iwork" else {"c": "s", "z": "d"}.get(letter, letter) if a == "rwork" else letter
            ]))  # fmt: skip
    info = integer(0)
    function = getattr(found.handle, found.lapack(letter + name))
    function.restype = None
    function(
        *[ctypes.c_void_p(g.ctypes.data) if isinstance(g, np.ndarray) else ctypes.byref(g) for g in given],
        ctypes.byref(info),
    )
    return [max(int(given[p][0].real), 1) for p in places]


def _known(a: ShapedArray, square: bool = False) -> bool:
    """Whether a stack of matrices has a known shape, and something in it."""
    return all(type(n) is int for n in a.shape) and a.dtype.char in "fdFD" and a.size > 0


# -- Cholesky, triangular systems -------------------------------------------------------------------------------------


@native("cholesky")
def cholesky(eqn: Eqn) -> NativeCall | None:
    (a,) = (v.aval for v in eqn.inputs)
    if not _known(a):
        return None
    n = a.shape[-1]

    def one(r: Routines, operands: Sequence[str], outs: Sequence[str], rooms: Sequence[str], info: str) -> str:
        # Row by row the lower triangle is LAPACK's upper one, of the transpose: the factor is transposed too.
        r.copy(n * n, operands[0], outs[0])
        r.call("potrf", "U", n, outs[0], n, info=info)

        def row(i: str) -> None:
            first = r.at(outs[0], i, n + 1)
            r.clear(r.at(first, "1"), r.b.emit(f"sub i64 {n - 1}, {i}"))

        if n > 1:
            r.times("0", str(n - 1), row)
        return r.failed(info)

    return _stacked(eqn, "cholesky", n, one, [], "Matrix is not positive definite", n**3 // 12 + 300)


@native("triangular_solve")
def triangular_solve(eqn: Eqn) -> NativeCall | None:
    a, x = (v.aval for v in eqn.inputs)
    if not (_known(a) and _known(x)):
        return None
    n, columns = x.shape[-2:]
    p = eqn.params

    def one(r: Routines, operands: Sequence[str], outs: Sequence[str], rooms: Sequence[str], info: str) -> str | None:
        r.copy(n * columns, operands[1], outs[0])
        r.solve_triangle(operands[0], n, outs[0], columns, p["lower"], p["transposed"], p["unit"])
        return None if p["unit"] else r.singular(operands[0], n)

    key = (n, columns, p["lower"], p["transposed"], p["unit"])
    small = n <= LOOP_ROWS
    message = None if p["unit"] else "Singular matrix" if small else "triangular_solve: singular matrix"
    # As the operation itself: small systems in double precision, large ones in their own.
    return _stacked(eqn, "triangular_solve", key, one, [], message, n * n * columns // 4 + 200, small)


# -- LU ---------------------------------------------------------------------------------------------------------------


def _integers(r: Routines, pivots: str, count: int, to: str) -> None:
    """LAPACK's pivots, which count from one, as ours of 32 bits."""
    i = r.found.integer

    def each(k: str) -> None:
        v = r.b.emit(f"load {i}, ptr {r.at(pivots, k, ty=i)}")
        v = r.b.emit(f"sub {i} {v}, 1")
        v = v if i == "i32" else r.b.emit(f"trunc {i} {v} to i32")
        r.b.do(f"store i32 {v}, ptr {r.at(to, k, ty='i32')}")

    r.times("0", str(count), each)


def _exchanged(r: Routines, pivots: str, count: int, swap: Callable[[str, str], None], backwards: bool = False) -> None:
    """``swap(j, pivots[j])`` for every pivot in turn."""

    def each(k: str) -> None:
        j = r.b.emit(f"sub i64 {count - 1}, {k}") if backwards else k
        other = r.b.emit(f"load i32, ptr {r.at(pivots, j, ty='i32')}")
        swap(j, r.b.emit(f"sext i32 {other} to i64"))

    r.times("0", str(count), each)


def _swap(r: Routines, p: str, q: str, ty: str) -> None:
    x, y = r.b.load(ty, 1, p), r.b.load(ty, 1, q)
    r.b.store(y, p)
    r.b.store(x, q)


@native("lu")
def lu(eqn: Eqn) -> NativeCall | None:
    (a,) = (v.aval for v in eqn.inputs)
    found = library()
    if not _known(a) or found is None:
        return None
    rows, columns = a.shape[-2:]
    k = min(rows, columns)

    def one(r: Routines, operands: Sequence[str], outs: Sequence[str], rooms: Sequence[str], info: str) -> None:
        r.transpose(rows, columns, operands[0], rooms[0])
        r.call("getrf", rows, columns, rooms[0], rows, rooms[1], info=info)
        r.transpose(columns, rows, rooms[0], outs[0])
        _integers(r, rooms[1], k, outs[1])
        order = outs[2]

        def place(i: str) -> None:
            v = r.b.emit(f"trunc i64 {i} to i32")
            r.b.do(f"store i32 {v}, ptr {r.at(order, i, ty='i32')}")

        r.times("0", str(rows), place)
        _exchanged(
            r, outs[1], k, lambda i, j: _swap(r, r.at(order, i, ty="i32"), r.at(order, j, ty="i32"), "i32")
        )  # fmt: skip

    rooms = [Room(type_of(a.dtype), rows * columns), Room(found.integer, k)]
    return _stacked(eqn, "lu", (rows, columns), one, rooms, None, rows * columns * k // 6 + 400, False)


@native("factored_solve")
def factored_solve(eqn: Eqn) -> NativeCall | None:
    _, factors, pivots, x = (v.aval for v in eqn.inputs)
    if not (_known(factors) and _known(x)) or pivots.dtype != np.dtype(np.int32):
        return None
    n, columns = x.shape[-2:]
    transposed = eqn.params["transposed"]

    def one(r: Routines, operands: Sequence[str], outs: Sequence[str], rooms: Sequence[str], info: str) -> str:
        _, lu, order, b = operands
        (out,) = outs

        def rows(i: str, j: str) -> None:
            p, q = r.at(out, i, columns), r.at(out, j, columns)
            r.times("0", str(columns), lambda c: _swap(r, r.at(p, c), r.at(q, c), r.ty))

        r.copy(n * columns, b, out)
        if not transposed:
            _exchanged(r, order, n, rows)
        steps = [(True, True), (False, False)]
        for lower, unit in reversed(steps) if transposed else steps:
            r.solve_triangle(lu, n, out, columns, lower, transposed, unit)
        if transposed:
            _exchanged(r, order, n, rows, backwards=True)
        return r.singular(lu, n)

    key = (n, columns, transposed)
    return _stacked(eqn, "factored_solve", key, one, [], "Singular matrix", n * n * columns // 2 + 400, False)


@native("solve")
def solve(eqn: Eqn) -> NativeCall | None:
    a, x = (v.aval for v in eqn.inputs)
    found = library()
    if not (_known(a) and _known(x)) or found is None:
        return None
    n, columns = x.shape[-2:]
    ty = _type(a)

    def one(r: Routines, operands: Sequence[str], outs: Sequence[str], rooms: Sequence[str], info: str) -> str:
        r.transpose(n, n, operands[0], rooms[0])
        right = outs[0] if columns == 1 else rooms[2]
        r.transpose(n, columns, operands[1], right)
        r.call("gesv", n, columns, rooms[0], n, rooms[1], right, n, info=info)
        if columns > 1:
            r.transpose(columns, n, right, outs[0])
        return r.failed(info)

    rooms = [Room(ty, n * n), Room(found.integer, n), Room(ty, n * columns)]
    return _stacked(eqn, "solve", (n, columns), one, rooms, "Singular matrix", n**3 // 6 + n * n * columns // 2 + 600)


@native("inv")
def inv(eqn: Eqn) -> NativeCall | None:
    (a,) = (v.aval for v in eqn.inputs)
    found = library()
    if not _known(a) or found is None:
        return None
    n, strict = a.shape[-1], eqn.params["strict"]
    ty = _type(a)

    def one(r: Routines, operands: Sequence[str], outs: Sequence[str], rooms: Sequence[str], info: str) -> str | None:
        b, (out,) = r.b, outs
        r.transpose(n, n, operands[0], rooms[0])
        r.clear(rooms[2], str(n * n))
        r.times("0", str(n), lambda i: b.store(b.const(1, ty, 1), r.at(rooms[2], i, n + 1)))
        r.call("gesv", n, n, rooms[0], n, rooms[1], rooms[2], n, info=info)
        r.transpose(n, n, rooms[2], out)
        failed = r.failed(info)
        if strict:
            return failed
        with b.guarded(failed):
            r.times("0", str(n * n), lambda i: b.store(b.const(np.nan, ty, 1), r.at(out, i)))
        return None

    rooms = [Room(ty, n * n), Room(found.integer, n), Room(ty, n * n)]
    message = "Singular matrix" if strict else None
    return _stacked(eqn, "inv", (n, strict), one, rooms, message, n**3 // 2 + 600)


def _determinant(eqn: Eqn) -> NativeCall | None:
    """The sign and the logarithm of the absolute value of a determinant; of ``det`` their product."""
    (a,) = (v.aval for v in eqn.inputs)
    found = library()
    if not _known(a) or found is None:
        return None
    n = a.shape[-1]
    ty = _type(a)

    def one(r: Routines, operands: Sequence[str], outs: Sequence[str], rooms: Sequence[str], info: str) -> None:
        b, real = r.b, r.real
        r.transpose(n, n, operands[0], rooms[0])
        r.call("getrf", n, n, rooms[0], n, rooms[1], info=info)
        i = found.integer

        def turn(k: str, carried: list[V]) -> list[V]:
            sign, size = carried
            d = b.load(ty, 1, r.at(rooms[0], k, n + 1))
            magnitude = _absolute(b, d)
            none = b.compare("oeq", magnitude, b.like(0, magnitude))
            unit = b.each(lambda part: b.div(part, magnitude), d)
            unit = b.select(none, b.const(0, ty, 1), unit)
            # An exchange of rows changes the sign.
            p = b.emit(f"load {i}, ptr {r.at(rooms[1], k, ty=i)}")
            here = b.iadd(k, "1")
            here = here if i == "i64" else b.emit(f"trunc i64 {here} to i32")
            moved = b.emit(f"icmp ne {i} {p}, {here}")
            swapped = V(b.emit(f"insertelement <1 x i1> poison, i1 {moved}, i64 0"), "i1", 1)
            sign = b.mul(sign, unit)
            sign = b.select(swapped, b.neg(sign), sign)
            return [sign, b.add(size, FUNCTIONS["log"].emit(b, magnitude))]

        sign, size = b.loop("0", str(n), 1, [b.const(1, ty, 1), b.const(0, real, 1)], turn)
        # A matrix of which no pivot is left is singular: its sign is zero.
        wrong = r.failed(info)
        broken = V(b.emit(f"insertelement <1 x i1> poison, i1 {wrong}, i64 0"), "i1", 1)
        sign = b.select(broken, b.const(0, ty, 1), sign)
        size = b.select(broken, b.const(-np.inf, real, 1), size)
        if len(outs) == 2:
            b.store(sign, outs[0])
            b.store(size, outs[1])
            return
        value = FUNCTIONS["exp"].emit(b, size)
        b.store(b.each(lambda part: b.mul(part, value), sign), outs[0])

    rooms = [Room(ty, n * n), Room(found.integer, n)]
    return _stacked(eqn, eqn.prim.name, n, one, rooms, None, n**3 // 6 + 40 * n + 300)


native("det")(_determinant)
native("slogdet")(_determinant)


def _absolute(b: Builder, v: V) -> V:
    """The absolute value, of a complex number too, scaled so that it does not overflow."""
    if not v.im:
        return b.call("fabs", v)
    re, im = (b.call("fabs", part) for part in v.parts)
    large = b.select(b.compare("ogt", re, im), re, im)
    small = b.select(b.compare("ogt", re, im), im, re)
    ratio = b.div(small, large)
    whole = b.mul(large, b.call("sqrt", b.muladd(ratio, ratio, b.like(1, ratio))))
    plain = b.op("or", b.compare("oeq", large, b.like(0, large)), b.compare("oeq", large, b.like(np.inf, large)))
    return b.select(plain, large, whole)


# -- QR, eigenvalues, singular values -------------------------------------------------------------------------------


@native("qr")
def qr(eqn: Eqn) -> NativeCall | None:
    (a,) = (v.aval for v in eqn.inputs)
    found = library()
    if not _known(a) or found is None:
        return None
    m, n = a.shape[-2:]
    k, mode = min(m, n), eqn.params["mode"]
    wide = m if mode == "complete" else k
    ty = _type(a)
    letter = LETTERS[ty]
    orth = "ungqr" if ty.startswith("c") else "orgqr"
    (size,) = _asked(letter, "geqrf", (m, n, "work", m, "work", "work", -1), (5,))
    if mode != "r":
        size = max(size, *_asked(letter, orth, (m, wide, k, "work", m, "work", "work", -1), (6,)))

    def one(r: Routines, operands: Sequence[str], outs: Sequence[str], rooms: Sequence[str], info: str) -> None:
        full, tau, work = rooms
        r.transpose(m, n, operands[0], full)
        r.call("geqrf", m, n, full, m, tau, work, size, info=info)
        upper, rows = outs[-1], wide if mode != "r" else k
        pack(r.b, r.ty, (Step(rows, 1, n),), (Step(n, m, 1),), full, upper, r.target)

        def cut(i: str) -> None:
            last = r.b.imin(i, str(n))
            r.clear(r.at(upper, i, n), last)

        r.times("1", str(rows), cut)
        if mode == "r":
            return
        r.call(orth, m, wide, k, full, m, tau, work, size, info=info)
        r.transpose(wide, m, full, outs[0])

    rooms = [Room(ty, m * max(n, wide)), Room(ty, k), Room(ty, size)]
    return _stacked(eqn, "qr", (m, n, mode), one, rooms, None, m * n * k // 2 + 1000)


def _eigenvalues(eqn: Eqn) -> NativeCall | None:
    (a,) = (v.aval for v in eqn.inputs)
    found = library()
    if not _known(a) or found is None:
        return None
    n = a.shape[-1]
    ty = _type(a)
    vectors = len(eqn.outs) == 2
    job, side = "V" if vectors else "N", "L" if eqn.params["lower"] else "U"
    hermitian = ty.startswith("c")
    name = "heevd" if hermitian else "syevd"
    extra: tuple[str | int, ...] = ("rwork", -1) if hermitian else ()
    arguments = (job, side, n, "work", n, "rwork", "work", -1, *extra, "iwork", -1)
    asked = _asked(LETTERS[ty], name, arguments, (6, 8, 10)[: 2 + hermitian])
    size, *others = asked

    def one(r: Routines, operands: Sequence[str], outs: Sequence[str], rooms: Sequence[str], info: str) -> str:
        r.transpose(n, n, operands[0], rooms[0])
        real: list[str | int] = [rooms[3], others[0]] if hermitian else []
        r.call(name, job, side, n, rooms[0], n, outs[0], rooms[1], size, *real, rooms[2], others[-1], info=info)
        if vectors:
            r.transpose(n, n, rooms[0], outs[1])
        return r.failed(info)

    rooms = [Room(ty, n * n), Room(ty, size), Room(found.integer, others[-1])]
    if hermitian:
        rooms.append(Room(ty[1:], others[0]))
    key = (n, job, side)
    return _stacked(eqn, eqn.prim.name, key, one, rooms, "Eigenvalues did not converge", 4 * n**3 + 2000)


native("eigh")(_eigenvalues)
native("eigvalsh")(_eigenvalues)


def _singular_values(eqn: Eqn) -> NativeCall | None:
    (a,) = (v.aval for v in eqn.inputs)
    found = library()
    if not _known(a) or found is None:
        return None
    m, n = a.shape[-2:]
    k = min(m, n)
    vectors = len(eqn.outs) == 3
    job = ("A" if eqn.params["full_matrices"] else "S") if vectors else "N"
    left, right = (m, n) if job == "A" else (k, k) if job == "S" else (1, 1)
    rows_of_u = m if vectors else 1
    ty = _type(a)
    hermitian = ty.startswith("c")
    real: tuple[str, ...] = ("rwork",) if hermitian else ()
    (size,) = _asked(
        LETTERS[ty], "gesdd",
        (job, m, n, "work", m, "rwork", "work", rows_of_u, "work", right, "work", -1, *real, "iwork"), (10,),
    )  # fmt: skip
    more = max(5 * k * k + 5 * k, 2 * max(m, n) * k + 2 * k * k + k)

    def one(r: Routines, operands: Sequence[str], outs: Sequence[str], rooms: Sequence[str], info: str) -> str:
        full, work, integers, u, vt, *rest = rooms
        values = outs[1] if vectors else outs[0]
        r.transpose(m, n, operands[0], full)
        r.call(
            "gesdd", job, m, n, full, m, values, u, rows_of_u, vt, right, work, size, *rest, integers, info=info
        )  # fmt: skip
        if vectors:
            r.transpose(left, m, u, outs[0])
            r.transpose(n, right, vt, outs[2])
        return r.failed(info)

    rooms = [
        Room(ty, m * n), Room(ty, size), Room(found.integer, 8 * k), Room(ty, rows_of_u * left), Room(ty, right * n),
        *([Room(ty[1:], more)] if hermitian else []),
    ]  # fmt: skip
    key = (m, n, job)
    return _stacked(eqn, eqn.prim.name, key, one, rooms, "SVD did not converge", 8 * m * n * k + 3000)


native("svd")(_singular_values)
native("svdvals")(_singular_values)
