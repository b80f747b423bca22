"""``dot_general`` as native code: which of the own kernels, or BLAS, computes a contraction, and from which operand.

The axes of both operands are brought to a normal form: axes of extent 1 dropped, those that lie in one another in both
their arrays merged. One axis of rows, one of columns and the axes of the sum go to a kernel; the others are loops.
An operand that no kernel reads in place is packed first, once for all loops that do not move it.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import numpy as np

from functrans.backends.llvm import blas
from functrans.backends.llvm.builder import Builder
from functrans.backends.llvm.calls import NativeCall, native
from functrans.backends.llvm.formats import narrowed, widened
from functrans.backends.llvm.gemm import Product, Step, Target, function, host, product
from functrans.backends.llvm.gemm import vectors_of as vectors
from functrans.backends.llvm.packing import pack
from functrans.backends.numpy.workers import pool
from functrans.core.dtypes import DType
from functrans.core.jaxpr import Eqn
from functrans.lax.contraction import DotDimensionNumbers, free_axes

_HALF = np.dtype(np.float16)
_FLOAT = np.dtype(np.float32)
LARGE = 1 << 27
"""Products (multiplications) from which BLAS is as quick on one thread: 512 x 512 x 512."""
SHARED = 1 << 24
"""The same where it has several threads."""


_FLOATS = {"f": "float", "d": "double", "F": "cfloat", "D": "cdouble"}


def type_of(dtype: DType) -> str:
    """The LLVM type of an element in memory."""
    return _FLOATS.get(dtype.char) or f"i{8 * dtype.itemsize}"


class Loop(NamedTuple):
    """An axis of a contraction: its extent and its steps, in elements, in both operands and the result."""

    extent: int
    x: int
    y: int
    out: int


Loops = tuple[Loop, ...]


class Contraction(NamedTuple):
    """The axes of a contraction by what they are for.

    Attributes:
        exchanged: whether x and y of the loops are the second and the first operand.
        batch: the loops around.
        m, n, k: rows, columns, and what is summed over.
    """

    exchanged: bool
    batch: Loops
    m: Loops
    n: Loops
    k: Loops


def merged(loops: Sequence[Loop]) -> Loops:
    """Loops without those of one turn, neighbours that step alike as one."""
    found: list[Loop] = []
    for loop in loops:
        if loop.extent == 1:
            continue
        if found:
            e, (_, x, y, out) = loop.extent, found[-1]
            if (x, y, out) == (e * loop.x, e * loop.y, e * loop.out):
                found[-1] = loop._replace(extent=found[-1].extent * e)
                continue
        found.append(loop)
    return tuple(found)


def _steps(shape: Sequence[int]) -> list[int]:
    return [prod(shape[a + 1 :]) for a in range(len(shape))]


def contraction(xs: Sequence[int], ys: Sequence[int], dims: DotDimensionNumbers) -> Contraction:
    """The normal form for operands and a result that are C-contiguous."""
    (lc, rc), (lb, rb) = dims
    lf, rf = free_axes(len(xs), lc, lb), free_axes(len(ys), rc, rb)
    sx, sy = _steps(xs), _steps(ys)
    shape = [*(xs[a] for a in lb), *(xs[a] for a in lf), *(ys[a] for a in rf)]
    so = _steps(shape)
    batch = [Loop(xs[a], sx[a], sy[c], so[n]) for n, (a, c) in enumerate(zip(lb, rb, strict=True))]
    m = [Loop(xs[a], sx[a], 0, so[len(lb) + n]) for n, a in enumerate(lf)]
    n = [Loop(ys[a], 0, sy[a], so[len(lb) + len(lf) + n]) for n, a in enumerate(rf)]
    # The order of the sum is ours: that of the larger operand in memory.
    pairs = sorted(zip(lc, rc, strict=True), key=lambda p: p[0] if prod(xs) >= prod(ys) else p[1])
    k = [Loop(xs[a], sx[a], sy[c], 0) for a, c in pairs]
    return Contraction(False, merged(batch), merged(m), merged(n), merged(k))


def exchanged(c: Contraction) -> Contraction:
    """The same with the operands in the other order."""

    def turned(loops: Loops) -> Loops:
        return tuple([Loop(e, y, x, out) for e, x, y, out in loops])

    return Contraction(not c.exchanged, turned(c.batch), turned(c.n), turned(c.m), turned(c.k))


class Scheme(NamedTuple):
    """How a contraction is computed.

    Attributes:
        form: ``rows`` or ``dots`` of our own, or ``blas``.
        outer: the loops around, those that move the second operand first.
        moving: how many of them do.
        product: the extents and steps of the inner product.
        packed: the axes of the sum and of the columns, in the operand and in its copy, if the second one is packed.
        cost: about how many instructions.
    """

    form: str
    outer: Loops
    moving: int
    product: Product
    packed: tuple[tuple[Step, ...], tuple[Step, ...]] | None
    cost: int


def scheme(c: Contraction, ty: str, logical: bool, target: Target) -> Scheme:
    """The cheapest way."""
    if not c.n:
        c = exchanged(c)
    found = [s for s in (_scheme(c, ty, logical, target, form) for form in ("rows", "dots")) if s]
    return min(found, key=lambda s: s.cost)


def _scheme(c: Contraction, ty: str, logical: bool, target: Target, form: str) -> Scheme | None:
    m = c.m[-1] if c.m else Loop(1, 0, 0, 0)
    w = target.lanes(ty)
    depth = prod([loop.extent for loop in c.k])
    columns, rows = prod([loop.extent for loop in c.n]), prod([loop.extent for loop in c.m])
    calls = prod([loop.extent for loop in c.batch])
    outer = [*c.batch, *c.m[:-1]]
    packed = None
    k = tuple([Step(loop.extent, loop.x, loop.y) for loop in c.k])
    if form == "dots":
        if not k or k[-1].x != 1 or k[-1].y != 1 or ty.startswith("c") or len(c.n) > 1:
            return None
        n = c.n[-1] if c.n else Loop(1, 0, 0, 1)
        cost = rows * columns * (depth // max(k[-1].extent, 1) * -(-k[-1].extent // w) + 3)
        p = Product(ty, m.extent, n.extent, k, m.x, n.y, m.out, logical)
    else:
        n = c.n[-1] if c.n else Loop(1, 0, 1, 1)
        cost = rows * depth * len(vectors(columns, w, target.masks))
        if n.y != 1 or len(c.n) > 1:
            # The copy has the sum's axes outside and the columns contiguous inside.
            sizes = _steps([*(loop.extent for loop in c.k), columns])
            inner = _steps([loop.extent for loop in c.n])
            along = tuple([Step(loop.extent, loop.y, sizes[i]) for i, loop in enumerate(c.k)])
            across = tuple([Step(loop.extent, loop.y, inner[i]) for i, loop in enumerate(c.n)] or [Step(1, 1, 1)])
            packed = along, across
            k = tuple([Step(loop.extent, loop.x, sizes[i]) for i, loop in enumerate(c.k)])
            n = Loop(columns, 0, 1, 1)
            quick = across[-1].x == 1 or (along and along[-1].x == 1 and target.masks)
            moves = prod([loop.extent for loop in c.batch if loop.y])
            cost = cost * calls + moves * (depth * columns * (5 if quick else 3 * w) // w + 8)
            cost //= max(calls, 1)
        p = Product(ty, m.extent, n.extent, k, m.x, 1, m.out, logical)
    moving = [loop for loop in outer if loop.y]
    still = [loop for loop in outer if not loop.y]
    return Scheme(form, (*moving, *still), len(moving), p, packed, cost * calls)


class Emitter:
    """The function of a contraction."""

    def __init__(self, b: Builder, s: Scheme, target: Target) -> None:
        self.b = b
        self.s = s
        self.target = target

    def write(self, x: str, y: str, out: str, work: str) -> None:
        self._loops(0, x, y, out, work)

    def _loops(self, level: int, x: str, y: str, out: str, work: str) -> None:
        s, b, ty = self.s, self.b, self.s.product.ty
        if level == s.moving and s.packed is not None:
            pack(b, ty, *s.packed, y, work, self.target)
            y = work
        if level == len(s.outer):
            self._inner(x, y, out)
            return
        loop = s.outer[level]

        def turn(i: str, _: list[object]) -> list[object]:
            at = [b.address(p, ty, b.imul(i, step)) for p, step in zip((x, y, out), loop[1:], strict=True)]
            self._loops(level + 1, at[0], at[1], at[2], work)
            return []

        b.loop("0", str(loop.extent), 1, [], turn)  # type: ignore[arg-type]

    def _inner(self, x: str, y: str, out: str) -> None:
        if self.s.form == "blas":
            blas.gemm(self.b, self.s.product, x, y, out)
        else:
            product(self.b, self.s.product, self.s.form, x, y, out, self.target)


def workspace_of(s: Scheme) -> int:
    """The bytes of the packed operand."""
    if s.packed is None:
        return 0
    along, across = s.packed
    from_ty = {"cfloat": 8, "cdouble": 16, "float": 4, "double": 8}
    size = from_ty.get(s.product.ty) or int(s.product.ty[1:]) // 8
    return -(-prod([a.extent for a in (*along, *across)]) * size // 64) * 64


@native("dot_general")
def dot_general(eqn: Eqn) -> NativeCall | None:
    """The native call of a contraction."""
    avals = [a.aval for a in eqn.inputs]
    if any(type(n) is not int for a in avals for n in a.shape):
        return None
    return call(avals[0].shape, avals[1].shape, avals[0].dtype, eqn.params["dimension_numbers"], host())


def call(
    xs: tuple[int, ...], ys: tuple[int, ...], dtype: DType, dims: DotDimensionNumbers, target: Target
) -> NativeCall | None:
    """The native call for operands of these shapes; None for dtypes that NumPy keeps to itself."""
    if not dtype.isnative or dtype.kind not in "biufc" or dtype.itemsize > (16 if dtype.kind == "c" else 8):
        return None
    narrow = dtype == _HALF
    ty = type_of(_FLOAT if narrow else dtype)
    c = contraction(xs, ys, dims)
    s = scheme(c, ty, dtype.kind == "b", target)
    p = s.product
    if p.m * p.n * p.depth >= (SHARED if pool.size() > 1 else LARGE) and ty in blas.LETTERS:
        s = _by_blas(s)
    size = prod(xs), prod(ys), prod([n.extent for n in (*c.batch, *c.m, *c.n)])
    empty = 0 in (*xs, *ys) and (0 in [xs[a] for a in range(len(xs)) if a not in dims[0][0]] or 0 in [
        ys[a] for a in range(len(ys)) if a not in dims[0][1]])  # fmt: skip
    room = workspace_of(s)
    sizes = [-(-4 * n // 64) * 64 for n in size] if narrow else []
    order = (1, 0) if c.exchanged != (not c.n) else (0, 1)

    def emit(b: Builder, operands: Sequence[str], outs: Sequence[str], work: str) -> None:
        if empty:
            return

        def fill(inner: Builder) -> None:
            x, y, out = "%x", "%y", "%out"
            if narrow:
                x, y, out = [inner.address("%work", "i8", str(room + sum(sizes[:n]))) for n in range(3)]
                _convert(inner, "%x", x, size[0], True, target)
                _convert(inner, "%y", y, size[1], True, target)
            pair = (x, y)
            Emitter(inner, s, target).write(pair[order[0]], pair[order[1]], out, "%work")
            if narrow:
                _convert(inner, out, "%out", size[2], False, target)

        params = "ptr %x, ptr %y, ptr %out, ptr %work"
        name = function(b, "dot_general", (xs, ys, dtype.str, dims, target, s.form), params, fill, False)
        b.do(f"call void @{name}(ptr {operands[0]}, ptr {operands[1]}, ptr {outs[0]}, ptr {work})")

    symbols = blas.symbols(ty) if s.form == "blas" else {}
    return NativeCall(emit, room + sum(sizes), symbols, s.cost)


def _by_blas(s: Scheme) -> Scheme:
    """BLAS, if there is one that takes the operands as they lie or are packed."""
    p = s.product
    if blas.library() is None or len(p.k) != 1 or (s.form == "dots" and p.yn == 0):
        return s
    (k,) = p.k
    fits = blas.leading(p.xm, k.x) and blas.leading(k.y, p.yn)
    return s._replace(form="blas") if fits else s


def _convert(b: Builder, source: str, to: str, count: int, widen: bool, target: Target) -> None:
    """Halves to floats, or back."""
    w = target.bits // 32
    first, second = ("i16", "float") if widen else ("float", "i16")

    def vector(i: str, width: int) -> None:
        v = b.load(first, width, b.address(source, first, i))
        b.store(widened(b, v, _HALF) if widen else narrowed(b, v, _HALF), b.address(to, second, i))

    whole = count // w * w

    def turn(i: str, _: list[object]) -> list[object]:
        vector(i, w)
        return []

    if whole:
        b.loop("0", str(whole), w, [], turn)  # type: ignore[arg-type]
    for c in vectors(count - whole, w, False):
        vector(str(whole + c.at), c.w)
