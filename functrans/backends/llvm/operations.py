"""The operations that a native kernel computes: NumPy's rules for each, as vector instructions.

An operation that has no row here, or not for a dtype, stays a call of NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from functrans.backends.llvm import mathematics
from functrans.backends.llvm.builder import BITS, Builder, V
from functrans.core.dtypes import DType

Emit = Callable[[Builder, Sequence[V], DType], V]


class Row(NamedTuple):
    """How an operation is emitted.

    Attributes:
        kinds: the dtype kinds that it is computed in.
        emit: ``emit(builder, args, dtype)`` for arguments of that dtype.
        cost: how many simple instructions it is worth.
        fused: whether it needs fused products.
    """

    kinds: str
    emit: Emit
    cost: int = 1
    fused: bool = False


def lane(dtype: DType) -> str:
    """The LLVM type of a value in registers."""
    if dtype.kind == "b":
        return "i1"
    if dtype.kind == "f":
        return {4: "float", 8: "double"}[dtype.itemsize]
    return f"i{8 * dtype.itemsize}"


def stored(dtype: DType) -> str:
    """The LLVM type of a value in memory."""
    return "i8" if dtype.kind == "b" else lane(dtype)


def signed(dtype: DType) -> bool:
    return dtype.kind == "i"


# -- casts ------------------------------------------------------------------------------------------------------------


def convert(b: Builder, x: V, old: DType, new: DType) -> V:
    """A value of another dtype, as NumPy casts it; a float that no integer stands for becomes the least one."""
    if old == new:
        return x
    ty = lane(new)
    if old.kind == "b":
        if new.kind == "f":
            return b.cast("uitofp", x, ty)
        return b.cast("zext", x, ty)
    if new.kind == "b":
        return b.compare("une" if x.floating else "ne", x, b.like(0, x))
    if old.kind == "f" and new.kind == "f":
        return b.cast("fpext" if new.itemsize > old.itemsize else "fptrunc", x, ty)
    if new.kind == "f":
        return b.cast("sitofp" if signed(old) else "uitofp", x, ty)
    if old.kind == "f":
        return _to_integer(b, x, new)
    if old.itemsize == new.itemsize:
        return x
    if new.itemsize < old.itemsize:
        return b.cast("trunc", x, ty)
    return b.cast("sext" if signed(old) else "zext", x, ty)


def _to_integer(b: Builder, x: V, new: DType) -> V:
    """NumPy casts by way of a 64-bit (or for short results a 32-bit) integer; out of its range all is undefined."""
    through = "i64" if new.itemsize == 8 or new == np.dtype(np.uint32) else "i32"
    bits = BITS[through]
    inside = b.op(
        "and",
        b.compare("oge", x, b.like(-(2.0 ** (bits - 1)), x)),
        b.compare("olt", x, b.like(2.0 ** (bits - 1), x)),
    )
    safe = b.select(inside, x, b.like(0.0, x))
    whole = b.cast("fptosi", safe, through)
    whole = b.select(inside, whole, b.like(-(1 << (bits - 1)), whole))
    if new == np.dtype(np.uint64):
        high = b.op("and", b.compare("oge", x, b.like(2.0**63, x)), b.compare("olt", x, b.like(2.0**64, x)))
        shifted = b.cast("fptosi", b.select(high, b.sub(x, b.like(2.0**63, x)), b.like(0.0, x)), "i64")
        upper = b.op("xor", shifted, b.like(-(1 << 63), shifted))
        whole = b.select(high, upper, whole)
    ty = lane(new)
    return whole if ty == through else b.cast("trunc", whole, ty)


# -- arithmetic -------------------------------------------------------------------------------------------------------


def _binary(floats: str, integers: str, bools: str = "") -> Emit:
    def emit(b: Builder, args: Sequence[V], dtype: DType) -> V:
        x, y = args
        return b.op(floats if dtype.kind == "f" else bools if dtype.kind == "b" else integers, x, y)

    return emit


def maximum(b: Builder, x: V, y: V, dtype: DType, low: bool = False) -> V:
    """The larger (or the smaller) of two; NaN if either is."""
    if dtype.kind != "f":
        name = ("s" if signed(dtype) else "u") + ("min" if low else "max")
        if dtype.kind == "b":
            return b.op("and" if low else "or", x, y)
        return b.call(name, x, y)
    best = b.select(b.compare("olt" if low else "ogt", x, y), x, y)
    return b.select(b.compare("uno", x, x), x, best)


def _fmax(b: Builder, args: Sequence[V], dtype: DType, low: bool = False) -> V:
    x, y = args
    if dtype.kind != "f":
        return maximum(b, x, y, dtype, low)
    best = b.select(b.compare("ole" if low else "oge", x, y), x, y)
    return b.select(b.compare("uno", y, y), x, best)


def _compare(ordered: str, unordered: bool = False) -> Emit:
    def emit(b: Builder, args: Sequence[V], dtype: DType) -> V:
        x, y = args
        if dtype.kind == "f":
            return b.compare(("u" if unordered else "o") + ordered, x, y)
        sign = "" if ordered in ("eq", "ne") else "s" if signed(dtype) else "u"
        return b.compare(sign + ordered, x, y)

    return emit


def _absolute(b: Builder, args: Sequence[V], dtype: DType) -> V:
    (x,) = args
    if dtype.kind == "f":
        return b.call("fabs", x)
    if dtype.kind in "ub":
        return x
    return b.select(b.compare("slt", x, b.like(0, x)), b.neg(x), x)


def _sign(b: Builder, args: Sequence[V], dtype: DType) -> V:
    (x,) = args
    zero, one = b.like(0, x), b.like(1, x)
    if dtype.kind == "u":
        return b.select(b.compare("ne", x, zero), one, zero)
    if dtype.kind == "i":
        return b.select(b.compare("sgt", x, zero), one, b.select(b.compare("slt", x, zero), b.like(-1, x), zero))
    # NumPy gives +0.0 for zeros of either sign.
    known = b.select(b.compare("ogt", x, zero), one, b.select(b.compare("olt", x, zero), b.like(-1, x), zero))
    return b.select(b.compare("uno", x, x), x, known)


def _divisor(b: Builder, x: V, y: V, dtype: DType) -> tuple[V, V]:
    """A divisor that no division traps at, and where it stands for zero."""
    zero = b.compare("eq", y, b.like(0, y))
    unsafe = zero
    if signed(dtype):
        least = b.compare("eq", x, b.like(-(1 << (BITS[x.ty] - 1)), x))
        unsafe = b.op("or", zero, b.op("and", least, b.compare("eq", y, b.like(-1, y))))
    return b.select(unsafe, b.like(1, y), y), zero


def _floor_divide(b: Builder, args: Sequence[V], dtype: DType) -> V:
    x, y = args
    by, zero = _divisor(b, x, y, dtype)
    if not signed(dtype):
        return b.select(zero, b.like(0, x), b.op("udiv", x, by))
    q = b.op("sdiv", x, by)
    rest = b.sub(x, b.mul(q, by))
    apart = b.compare("slt", b.op("xor", rest, by), b.like(0, x))
    down = b.op("and", apart, b.compare("ne", rest, b.like(0, x)))
    return b.select(zero, b.like(0, x), b.select(down, b.sub(q, b.like(1, q)), q))


def _remainder(b: Builder, args: Sequence[V], dtype: DType, floor: bool = True) -> V:
    x, y = args
    by, zero = _divisor(b, x, y, dtype)
    rest = b.op("srem" if signed(dtype) else "urem", x, by)
    if floor and signed(dtype):
        apart = b.compare("slt", b.op("xor", rest, by), b.like(0, x))
        off = b.op("and", apart, b.compare("ne", rest, b.like(0, x)))
        rest = b.select(off, b.add(rest, by), rest)
    return b.select(zero, b.like(0, x), rest)


def _shift(left: bool) -> Emit:
    def emit(b: Builder, args: Sequence[V], dtype: DType) -> V:
        x, n = args
        inside = b.compare("ult", n, b.like(BITS[x.ty], n))
        safe = b.select(inside, n, b.like(0, n))
        moved = b.op("shl" if left else "ashr" if signed(dtype) else "lshr", x, safe)
        beyond = b.like(0, x)
        if not left and signed(dtype):
            beyond = b.op("ashr", x, b.like(BITS[x.ty] - 1, x))
        return b.select(inside, moved, beyond)

    return emit


def _logical(name: str) -> Emit:
    def emit(b: Builder, args: Sequence[V], dtype: DType) -> V:
        x, y = (_truth(b, a) for a in args)
        return b.op(name, x, y)

    return emit


def _truth(b: Builder, x: V) -> V:
    return x if x.ty == "i1" else b.compare("une" if x.floating else "ne", x, b.like(0, x))


def _not(b: Builder, x: V) -> V:
    return b.op("xor", x, b.like(-1, x) if x.ty != "i1" else b.like(1, x))


def _reciprocal(b: Builder, args: Sequence[V], dtype: DType) -> V:
    return b.div(b.like(1.0, args[0]), args[0])


def _intrinsic(name: str) -> Emit:
    return lambda b, args, dtype: b.call(name, *args)


def _rounding(name: str) -> Emit:
    return lambda b, args, dtype: b.call(name, *args) if dtype.kind == "f" else args[0]


def _tested(name: str) -> Emit:
    def emit(b: Builder, args: Sequence[V], dtype: DType) -> V:
        (x,) = args
        if dtype.kind != "f":
            return b.const(name == "is_finite", "i1", x.w)
        if name == "isnan":
            return b.compare("uno", x, x)
        size = b.call("fabs", x)
        return b.compare("one" if name == "is_finite" else "oeq", size, b.like(math.inf, x))

    return emit


def _signbit(b: Builder, args: Sequence[V], dtype: DType) -> V:
    (x,) = args
    bits = b.cast("bitcast", x, mathematics.integer(x.ty))
    return b.compare("slt", bits, b.like(0, bits))


def power(b: Builder, x: V, n: int) -> V:
    """``x**n`` by products, for the small ``n`` of ``POWERS``."""
    y = x
    for _ in range(abs(n) - 1):
        y = b.mul(y, x)
    return b.div(b.like(1.0, y), y) if n < 0 else y


POWERS = (1, 2, 3, -1)
"""Exponents for which products err by no more than a power function does."""


ROWS: dict[str, Row] = {
    "add": Row("biuf", _binary("fadd", "add", "or")),
    "sub": Row("iuf", _binary("fsub", "sub")),
    "mul": Row("biuf", _binary("fmul", "mul", "and")),
    "div": Row("f", lambda b, args, dtype: b.div(*args), 4),
    "neg": Row("iuf", lambda b, args, dtype: b.neg(args[0])),
    "positive": Row("iuf", lambda b, args, dtype: args[0]),
    "square": Row("iuf", lambda b, args, dtype: b.mul(args[0], args[0])),
    "reciprocal": Row("f", _reciprocal, 4),
    "abs": Row("biuf", _absolute),
    "sign": Row("iuf", _sign, 2),
    "copysign": Row("f", _intrinsic("copysign")),
    "signbit": Row("f", _signbit),
    "sqrt": Row("f", _intrinsic("sqrt"), 6),
    "safe_sqrt": Row("f", _intrinsic("sqrt"), 6),
    "floor": Row("f", _rounding("floor")),
    "ceil": Row("f", _rounding("ceil")),
    "trunc": Row("f", _rounding("trunc")),
    "rint": Row("f", _rounding("rint")),
    "max": Row("biuf", lambda b, args, dtype: maximum(b, args[0], args[1], dtype), 2),
    "min": Row("biuf", lambda b, args, dtype: maximum(b, args[0], args[1], dtype, True), 2),
    "fmax": Row("biuf", _fmax, 2),
    "fmin": Row("biuf", partial(_fmax, low=True), 2),
    "eq": Row("biuf", _compare("eq")),
    "ne": Row("biuf", _compare("ne", unordered=True)),
    "lt": Row("biuf", _compare("lt")),
    "le": Row("biuf", _compare("le")),
    "gt": Row("biuf", _compare("gt")),
    "ge": Row("biuf", _compare("ge")),
    "and": Row("biu", _binary("", "and", "and")),
    "or": Row("biu", _binary("", "or", "or")),
    "xor": Row("biu", _binary("", "xor", "xor")),
    "not": Row("biu", lambda b, args, dtype: _not(b, args[0])),
    "logical_and": Row("biuf", _logical("and")),
    "logical_or": Row("biuf", _logical("or")),
    "logical_xor": Row("biuf", _logical("xor")),
    "logical_not": Row("biuf", lambda b, args, dtype: _not(b, _truth(b, args[0]))),
    "shift_left": Row("iu", _shift(True), 2),
    "shift_right": Row("iu", _shift(False), 2),
    "floor_divide": Row("iu", _floor_divide, 30),
    "remainder": Row("iu", _remainder, 30),
    "rem": Row("iu", partial(_remainder, floor=False), 30),
    "is_finite": Row("biuf", _tested("is_finite")),
    "isinf": Row("biuf", _tested("isinf")),
    "isnan": Row("biuf", _tested("isnan")),
    **{
        name: Row("f", lambda b, args, dtype, f=f: f(b, args[0]), 20, name in mathematics.FUSED)  # type: ignore[misc]
        for name, f in mathematics.FUNCTIONS.items()
    },
}


def computed_in(dtypes: Sequence[DType], values: Sequence[Any]) -> DType:
    """The dtype in which an operation of some operands is computed; Python numbers among them adopt the others'."""
    given = [v if isinstance(v, (bool, int, float)) else d for d, v in zip(dtypes, values, strict=True)]
    found = np.result_type(*given)
    assert isinstance(found, np.dtype)
    return found
