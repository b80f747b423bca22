"""Native calls that write at places: scatters, updates of slices, arrays put together and taken apart.

Updates are made one after another in the order of the index arrays read row by row, so that the same bits come out
every time. Where the operand dies, it is written over, and nothing is copied.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from functrans.backends.llvm.builder import BITS, Builder, V
from functrans.backends.llvm.calls import NativeCall, native
from functrans.backends.llvm.casts import convert, kept, loaded, stored
from functrans.backends.llvm.casts import native as is_native
from functrans.backends.llvm.computed import FAILED, PLACES, fail_where
from functrans.backends.llvm.copying import Loop, combining, copy, fill_zero, merged, raw, strides_of, transfer
from functrans.backends.llvm.formats import is_narrow
from functrans.backends.llvm.outside import LOCK, RAISE
from functrans.backends.llvm.runtime import machine
from functrans.core.avals import ShapedArray
from functrans.core.dtypes import DType
from functrans.core.jaxpr import Eqn, Literal, Var
from functrans.kernel.index import Axis, Index, index_of
from functrans.kernel.ir import Access
from functrans.kernel.places import flattened
from functrans.lax.indexing import basic_index_p

DOUBLE = np.dtype(np.float64)
_WOVEN = 4
"""Arrays whose elements are brought into turns in registers."""
Fill = Callable[[Builder, Sequence[str]], None]


def avals_of(eqn: Eqn) -> list[ShapedArray] | None:
    """The types of operands and results, None where one of them is not for native code."""
    avals = [a.aval for a in (*eqn.inputs, *eqn.outs)]
    known = all(is_native(a.dtype) and all(type(n) is int for n in a.shape) for a in avals)
    return avals if known else None


def size_of(aval: ShapedArray) -> int:
    return prod(aval.shape) * aval.dtype.itemsize


def function(b: Builder, eqn: Eqn, count: int, fill: Fill, checked: bool) -> str:
    """A function of its own for a call: ``i32 name(ptr...)``, which gives ``FAILED`` for an index out of bounds."""
    # What is the same in two equations is one function.
    types = tuple([(a.aval.shape, a.aval.dtype.str) for a in eqn.inputs])
    key = f"movement {eqn.prim.name} {types} {sorted((k, str(v)) for k, v in eqn.params.items())}"
    name = f"{eqn.prim.name}_{sum(k.startswith('movement') for k in b.helpers)}"
    known = b.helpers.get(key)
    if known is not None:
        return known[known.index("@") + 1 : known.index("(")]
    b.helpers[key] = f"@{name}("
    inner = Builder(b.fma, b.declared, b.helpers)
    params = [f"%p{n}" for n in range(count)]
    fill(inner, params)
    given = ", ".join(f"ptr {p}" for p in params)
    lines = [f"define internal i32 @{name}({given}) {machine().attributes} {{", "entry:", *inner.lines, "  ret i32 0"]
    b.helpers[key] = "\n".join([*lines, *(["failed:", f"  ret i32 {FAILED}"] if checked else []), "}", ""])
    return name


def called(b: Builder, name: str, pointers: Sequence[str], checked: bool) -> str | None:
    """Call such a function; an ``i1`` for whether it failed, the exception being set then."""
    status = b.emit(f"call i32 @{name}({', '.join(f'ptr {p}' for p in pointers)})")
    if not checked:
        return None
    b.declared["PyGILState"] = LOCK
    b.helpers["raise_outside"] = RAISE
    failed = b.emit(f"icmp ne i32 {status}, 0")
    with b.guarded(failed):
        b.do("call void @functrans_raise_outside()")
    return failed


# -- scatter ----------------------------------------------------------------------------------------------------------


@native("scatter")
def _scatter(eqn: Eqn) -> NativeCall | None:
    params = eqn.params
    return _scattering(eqn, eqn.inputs[0].aval.shape, params["op"], 1)


@native("scatter_add")
def _scatter_add(eqn: Eqn) -> NativeCall | None:
    return _scattering(eqn, eqn.params["shape"], "add", 0)


def _scattering(eqn: Eqn, shape: Sequence[int], op: str, first: int) -> NativeCall | None:
    """Updates, the operand number ``first``, written into a copy of the operand before, or into zeros."""
    avals = avals_of(eqn)
    if avals is None or (avals[0].dtype.kind == "c" and op in ("min", "max")):
        return None
    updates, indices, out = avals[first], avals[first + 1 : -1], avals[-1]
    mode, axes = eqn.params["mode"], eqn.params["axes"]
    if 0 in updates.shape or 0 in out.shape:
        checked = False
        if mode == "raise" and 0 not in updates.shape:
            return None
    else:
        checked = mode == "raise"

    # Sums into zeros of several floats each are made as doubles, as NumPy's bincount makes them.
    many = prod(updates.shape) > prod(out.shape) and out.dtype == np.float32
    into = DOUBLE if not first and (many or is_narrow(out.dtype)) else out.dtype

    def fill(b: Builder, pointers: Sequence[str]) -> None:
        if 0 not in updates.shape and 0 not in out.shape:
            _write(b, shape, updates, indices, pointers, axes, eqn.params["at"], op, mode, into)

    def emit(b: Builder, operands: Sequence[str], outs: Sequence[str], work: str) -> str | None:
        sums = work if into != out.dtype else outs[0]
        if first:
            copy(b, outs[0], operands[0], size_of(out))
        else:
            fill_zero(b, sums, prod(out.shape) * into.itemsize)
        name = function(b, eqn, len(operands) - first + 1, fill, checked)
        failed = called(b, name, [sums, *operands[first:]], checked)
        if into != out.dtype:
            _rounded(b, out, sums, outs[0])
        return failed

    cost = 8 * prod(updates.shape) + prod(out.shape)
    room = prod(out.shape) * into.itemsize if into != out.dtype else 0
    return NativeCall(emit, work=room, cost=cost, over=_over(eqn) if first else None)


def _rounded(b: Builder, out: ShapedArray, sums: str, to: str) -> None:
    """Doubles as elements of a result."""
    ty, count = stored(out.dtype), prod(out.shape)
    w = machine().bits // 64

    def some(i: str, width: int) -> list[V]:
        v = convert(b, b.load("double", width, b.address(sums, "double", i)), DOUBLE, out.dtype)
        b.store(kept(b, v, out.dtype), b.address(to, ty, i))
        return []

    b.loop("0", str(count // w * w), w, [], lambda i, _: some(i, w))
    b.loop(str(count // w * w), str(count), 1, [], lambda i, _: some(i, 1))


def _over(eqn: Eqn) -> int | None:
    """The operand that the result may be written over: the first, if it is no other one too."""
    first = eqn.inputs[0]
    return 0 if isinstance(first, Var) and list(eqn.inputs).count(first) == 1 else None


def _write(
    b: Builder,
    shape: Sequence[int],
    updates: ShapedArray,
    indices: Sequence[ShapedArray],
    pointers: Sequence[str],
    axes: Sequence[int],
    at: int,
    op: str,
    mode: str,
    into: DType,
) -> None:
    """The loops of a scatter: leading kept axes, those of the index arrays, and a block of the others."""
    out, source, *index_pointers = pointers
    dtype = updates.dtype
    ty = raw(dtype) if op == "set" else stored(dtype)
    to_ty = ty if into == dtype else stored(into)
    there, here = strides_of(shape), strides_of(updates.shape)
    ndim = max(i.ndim for i in indices)
    middle = np.broadcast_shapes(*[i.shape for i in indices])
    kept = [a for a in range(len(shape)) if a not in axes]
    combine = combining(op, into)

    def leading(k: int, to: str, source: str) -> None:
        if k == at:
            places(0, to, source, [])
            return
        extent, step = shape[kept[k]], there[kept[k]]

        def turn(i: str, _: list[V]) -> list[V]:
            leading(k + 1, b.address(to, to_ty, b.imul(i, step)), b.address(source, ty, b.imul(i, here[k])))
            return []

        b.loop("0", str(extent), 1, [], turn)

    def places(d: int, to: str, source: str, names: list[str]) -> None:
        if d == ndim:
            one(to, source, names)
            return

        def turn(i: str, _: list[V]) -> list[V]:
            places(d + 1, to, b.address(source, ty, b.imul(i, here[at + d])), [*names, i])
            return []

        if middle[d] == 1:
            places(d + 1, to, source, [*names, "0"])
        else:
            b.loop("0", str(middle[d]), 1, [], turn)

    def one(to: str, source: str, names: list[str]) -> None:
        inside = ""
        for aval, pointer, axis in zip(indices, index_pointers, axes, strict=True):
            flat = "0"
            own = names[ndim - aval.ndim :]
            for name, n, step in zip(own, aval.shape, strides_of(aval.shape), strict=True):
                flat = b.iadd(flat, b.imul(name, step)) if n != 1 else flat
            place, valid = _place(b, aval.dtype, pointer, flat, axis, shape[axis], mode)
            if valid:
                inside = b.emit(f"and i1 {inside}, {valid}") if inside else valid
            to = b.address(to, to_ty, b.imul(place, there[axis]))
        rest = [Loop(shape[a], there[a], here[at + ndim + k]) for k, a in enumerate(kept[at:])]
        if inside:
            with b.guarded(inside):
                transfer(b, dtype, rest, to, source, combine, into)
        else:
            transfer(b, dtype, rest, to, source, combine, into)

    leading(0, out, source)


def _place(
    b: Builder, dtype: DType, pointer: str, flat: str, axis: int, extent: int, mode: str
) -> tuple[str, str | None]:
    """An index as a place, and for mode ``drop`` whether there is one."""
    given = convert(b, b.load(stored(dtype), 1, b.address(pointer, stored(dtype), flat)), dtype, PLACES)
    place = given
    if dtype.kind == "i":
        below = b.compare("slt", given, b.like(0, given))
        place = b.select(below, b.add(given, b.like(extent, given)), given)
    if mode == "raise":
        fail_where(b, b.compare("uge", place, b.like(extent, place)), given, axis, extent, "failed")
        return b.scalar(place), None
    return b.scalar(place), b.scalar(b.compare("ult", place, b.like(extent, place)))


# -- slices -----------------------------------------------------------------------------------------------------------


@native("dynamic_update_slice")
def _dynamic_update_slice(eqn: Eqn) -> NativeCall | None:
    avals = avals_of(eqn)
    if avals is None:
        return None
    x, updates, starts = avals[0], avals[1], avals[2:-1]
    there, here = strides_of(x.shape), strides_of(updates.shape)

    def emit(b: Builder, operands: Sequence[str], outs: Sequence[str], work: str) -> None:
        copy(b, outs[0], operands[0], size_of(x))
        if 0 in updates.shape:
            return
        to = outs[0]
        for start, pointer, extent, size, step in zip(starts, operands[2:], x.shape, updates.shape, there, strict=True):
            if size != extent:
                to = b.address(to, raw(x.dtype), b.imul(_start(b, start.dtype, pointer, extent, size), step))
        loops = [Loop(n, t, h) for n, t, h in zip(updates.shape, there, here, strict=True)]
        transfer(b, x.dtype, loops, to, operands[1])

    return NativeCall(emit, cost=prod(updates.shape) + 20, over=_over(eqn))


def _start(b: Builder, dtype: DType, pointer: str, extent: int, size: int) -> str:
    """Where a slice begins: what does not fit is moved to where it does."""
    given = convert(b, b.load(stored(dtype), 1, pointer), dtype, PLACES)
    last = b.like(extent - size, given)
    if dtype.kind != "i":
        return b.scalar(b.call("umin", given, last))
    below = b.compare("slt", given, b.like(0, given))
    place = b.select(below, b.add(given, b.like(extent, given)), given)
    return b.scalar(b.call("smin", b.call("smax", place, b.like(0, place)), last))


@native("basic_set")
def _basic_set(eqn: Eqn) -> NativeCall | None:
    return _at_static_index(eqn, eqn.inputs[0].aval.shape, 1)


@native("embed")
def _embed(eqn: Eqn) -> NativeCall | None:
    return _at_static_index(eqn, eqn.params["shape"], 0)


def _at_static_index(eqn: Eqn, shape: Sequence[int], first: int) -> NativeCall | None:
    """Updates written at a static index into a copy of the operand before, or into zeros."""
    avals = avals_of(eqn)
    if avals is None:
        return None
    updates, out = avals[first], avals[-1]
    where = _written(shape, updates, eqn.params["index"], out.dtype)
    if where is None:
        return None
    start, loops = where

    def emit(b: Builder, operands: Sequence[str], outs: Sequence[str], work: str) -> None:
        if first:
            copy(b, outs[0], operands[0], size_of(out))
        else:
            fill_zero(b, outs[0], size_of(out))
        if 0 not in updates.shape:
            transfer(b, out.dtype, loops, b.address(outs[0], raw(out.dtype), str(start)), operands[first])

    return NativeCall(emit, cost=prod(updates.shape) + 20, over=_over(eqn) if first else None)


def _written(shape: Sequence[int], updates: ShapedArray, index: Any, dtype: DType) -> tuple[int, list[Loop]] | None:
    """Where a static index begins, and its loops."""
    whole = Var(ShapedArray(tuple(shape), dtype))
    axes = [Axis(f"a{d}", n) for d, n in enumerate(updates.shape)]
    at = tuple([index_of(a) for a in axes])
    assert basic_index_p.index is not None
    source = basic_index_p.index(at, whole.aval, index=index)
    if source is None:
        return None
    flat = flattened(Access(whole, tuple([Index(i) if isinstance(i, int) else i for i in source.position])))
    steps = dict(flat.terms)
    if any(a not in axes for a in steps):
        return None
    here = strides_of(updates.shape)
    return flat.const, [Loop(a.extent, steps.get(a, 0), h) for a, h in zip(axes, here, strict=True)]


# -- arrays put together and taken apart ------------------------------------------------------------------------------


@native("concatenate")
def _concatenate(eqn: Eqn) -> NativeCall | None:
    return _together(eqn, eqn.params["dimension"], stacked=False)


@native("stack")
def _stack(eqn: Eqn) -> NativeCall | None:
    return _together(eqn, eqn.params["axis"], stacked=True)


def _together(eqn: Eqn, axis: int, stacked: bool) -> NativeCall | None:
    avals = avals_of(eqn)
    if avals is None or any(isinstance(a, Literal) for a in eqn.inputs):
        return None
    *parts, out = avals
    there = strides_of(out.shape)

    def emit(b: Builder, operands: Sequence[str], outs: Sequence[str], work: str) -> None:
        if stacked and axis == out.ndim - 1 and size_of(out):
            _interleaved(b, out.dtype, prod(parts[0].shape), operands, outs[0])
            return
        start = 0
        for x, pointer in zip(parts, operands, strict=True):
            shape = (*x.shape[:axis], 1, *x.shape[axis:]) if stacked else x.shape
            if 0 not in shape:
                loops = [Loop(n, t, h) for n, t, h in zip(shape, there, strides_of(shape), strict=True)]
                to = b.address(outs[0], raw(out.dtype), str(start * there[axis]))
                transfer(b, out.dtype, loops, to, pointer)
            start += shape[axis]

    return NativeCall(emit, cost=prod(out.shape) // 4 + 10 * len(parts))


@native("pad")
def _pad(eqn: Eqn) -> NativeCall | None:
    avals = avals_of(eqn)
    padding = eqn.params["padding"]
    if avals is None or any(lo < 0 or hi < 0 or between for lo, hi, between in padding):
        return None
    x, value, out = avals
    ty = raw(out.dtype)
    w = max(machine().bits // BITS[ty], 1)
    there, here = strides_of(out.shape), strides_of(x.shape)
    first = next((d for d in range(x.ndim) if not any(n for pair in padding[d:] for n in pair)), x.ndim)

    def emit(b: Builder, operands: Sequence[str], outs: Sequence[str], work: str) -> None:
        one = convert(b, loaded(b, b.load(stored(value.dtype), 1, operands[1]), value.dtype), value.dtype, out.dtype)
        spilled = b.emit("alloca [16 x i8], align 16")
        b.store(kept(b, one, out.dtype), spilled)
        around = b.spread(b.load(ty, 1, spilled), w)

        def fill(to: str, count: int) -> None:
            whole = count // w * w

            def turn(i: str, _: list[V]) -> list[V]:
                b.store(around, b.address(to, ty, i))
                return []

            if whole:
                b.loop("0", str(whole), w, [], turn)
            for k in range(whole, count):
                b.store(b.shuffle(around, [0]), b.address(to, ty, str(k)))

        def nest(d: int, to: str, source: str) -> None:
            if d == first:
                copy(b, to, source, prod(x.shape[d:]) * out.dtype.itemsize)
                return
            low, high, _ = padding[d]
            fill(to, low * there[d])
            inner = b.address(to, ty, str(low * there[d]))

            def turn(i: str, _: list[V]) -> list[V]:
                nest(d + 1, b.address(inner, ty, b.imul(i, there[d])), b.address(source, ty, b.imul(i, here[d])))
                return []

            if d == x.ndim - 1:
                copy(b, inner, source, x.shape[d] * out.dtype.itemsize)
            else:
                b.loop("0", str(x.shape[d]), 1, [], turn)
            fill(b.address(inner, ty, str(x.shape[d] * there[d])), high * there[d])

        nest(0, outs[0], operands[0])

    return NativeCall(emit, cost=prod(out.shape) // 4 + 10 * prod(x.shape[: max(first - 1, 0)]))


def _interleaved(b: Builder, dtype: DType, count: int, sources: Sequence[str], to: str) -> None:
    """Elements of several arrays by turns."""
    ty, k = raw(dtype), len(sources)
    w = machine().bits // BITS[ty] if k <= _WOVEN and BITS[ty] <= 64 else 1
    whole = count // w * w if w > 1 else 0

    def several(i: str, _: list[V]) -> list[V]:
        parts = [b.load(ty, w, b.address(source, ty, i)) for source in sources]
        place = b.address(to, ty, b.imul(i, k))
        for m in range(k):
            woven = parts[0]
            for n in range(k):
                # Lane l of vector m holds element (m * w + l) // k of array (m * w + l) % k.
                lanes = [(m * w + lane) // k + w if (m * w + lane) % k == n else lane for lane in range(w)]
                woven = b.shuffle(woven, lanes, parts[n])
            b.store(woven, b.address(place, ty, str(m * w)))
        return []

    def one(i: str, _: list[V]) -> list[V]:
        place = b.address(to, ty, b.imul(i, k))
        for n, source in enumerate(sources):
            b.store(b.load(ty, 1, b.address(source, ty, i)), b.address(place, ty, str(n)))
        return []

    if whole:
        b.loop("0", str(whole), w, [], several)
    if whole < count:
        b.loop(str(whole), str(count), 1, [], one)


@native("split")
def _split(eqn: Eqn) -> NativeCall | None:
    avals = avals_of(eqn)
    if avals is None:
        return None
    x, *parts = avals
    axis = eqn.params["axis"]
    there = strides_of(x.shape)

    def emit(b: Builder, operands: Sequence[str], outs: Sequence[str], work: str) -> None:
        start = 0
        for part, pointer in zip(parts, outs, strict=True):
            if 0 not in part.shape:
                loops = [Loop(n, h, t) for n, t, h in zip(part.shape, there, strides_of(part.shape), strict=True)]
                source = b.address(operands[0], raw(x.dtype), str(start * there[axis]))
                transfer(b, x.dtype, loops, pointer, source)
            start += part.shape[axis]

    return NativeCall(emit, cost=prod(x.shape) // 4 + 10 * len(parts))


@native("inverse_permutation")
def _inverse_permutation(eqn: Eqn) -> NativeCall | None:
    avals = avals_of(eqn)
    if avals is None or 0 in avals[0].shape:
        return None
    x, axis = avals[0], eqn.params["axis"]
    steps = strides_of(x.shape)
    ty = stored(x.dtype)
    others = merged([Loop(n, s, s) for d, (n, s) in enumerate(zip(x.shape, steps, strict=True)) if d != axis])

    def fill(b: Builder, pointers: Sequence[str]) -> None:
        out, source = pointers

        def nest(rest: Sequence[Loop], start: str) -> None:
            def turn(i: str, _: list[V]) -> list[V]:
                if rest:
                    nest(rest[1:], b.iadd(start, b.imul(i, rest[0].to)))
                    return []
                here = b.iadd(start, b.imul(i, steps[axis]))
                place, _valid = _place(b, x.dtype, source, here, axis, x.shape[axis], "raise")
                one = convert(b, b.vector(i, "i64"), PLACES, x.dtype)
                b.store(one, b.address(out, ty, b.iadd(start, b.imul(place, steps[axis]))))
                return []

            b.loop("0", str(rest[0].extent if rest else x.shape[axis]), 1, [], turn)

        nest(others, "0")

    def emit(b: Builder, operands: Sequence[str], outs: Sequence[str], work: str) -> str | None:
        return called(b, function(b, eqn, 2, fill, True), [outs[0], operands[0]], True)

    return NativeCall(emit, cost=6 * prod(x.shape))
