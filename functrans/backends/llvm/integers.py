"""Integers: they wrap around, and what has no result is zero, as in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from functrans.backends.llvm.builder import BITS, Builder, V
from functrans.backends.llvm.casts import signed
from functrans.core.dtypes import DType


def absolute(b: Builder, x: V) -> V:
    return b.select(b.compare("slt", x, b.like(0, x)), b.neg(x), x)


def _divisor(b: Builder, x: V, y: V, dtype: DType) -> tuple[V, V]:
    """A divisor that no division traps at, and where it stands for zero."""
    if y.ref.startswith("splat") and not y.ref.endswith((" 0)", " -1)")):
        return y, b.const(0, "i1", y.w)
    zero = b.compare("eq", y, b.like(0, y))
    unsafe = zero
    if signed(dtype):
        least = b.compare("eq", x, b.like(-(1 << (BITS[x.ty] - 1)), x))
        unsafe = b.op("or", zero, b.op("and", least, b.compare("eq", y, b.like(-1, y))))
    return b.select(unsafe, b.like(1, y), y), zero


def _quotient(b: Builder, x: V, y: V, sign: bool) -> V:
    """The quotient cut off to a whole number.

    No vector instruction divides integers, unless by constants. Those of 32 bits are divided as doubles, shorter ones
    as floats: the float next to a quotient lies beyond a whole number only if the quotient itself does.
    """
    if BITS[x.ty] > 32 or y.ref.startswith("splat"):
        return b.op("sdiv" if sign else "udiv", x, y)
    to, back = ("sitofp", "fptosi") if sign else ("uitofp", "fptoui")
    if BITS[x.ty] < 32:
        wide = (b.cast("sext" if sign else "zext", v, "i32") for v in (x, y))
        ratio = b.div(*[b.cast("sitofp", v, "float") for v in wide])
        return b.cast("trunc", b.cast("fptosi", ratio, "i32"), x.ty)
    ratio = b.div(b.cast(to, x, "double"), b.cast(to, y, "double"))
    return b.cast(back, ratio, x.ty)


def floor_divide(b: Builder, x: V, y: V, dtype: DType) -> V:
    by, zero = _divisor(b, x, y, dtype)
    q = _quotient(b, x, by, signed(dtype))
    if not signed(dtype):
        return b.select(zero, b.like(0, x), q)
    # The least number over -1 is itself again: the quotient by 1 that stands for it.
    rest = b.sub(x, b.mul(q, by))
    apart = b.compare("slt", b.op("xor", rest, by), b.like(0, x))
    down = b.op("and", apart, b.compare("ne", rest, b.like(0, x)))
    return b.select(zero, b.like(0, x), b.select(down, b.sub(q, b.like(1, q)), q))


def remainder(b: Builder, x: V, y: V, dtype: DType, floor: bool = True) -> V:
    """The remainder with the sign of the divisor, or with ``floor=False`` of the dividend."""
    by, zero = _divisor(b, x, y, dtype)
    rest = b.sub(x, b.mul(_quotient(b, x, by, signed(dtype)), by))
    if floor and signed(dtype):
        apart = b.compare("slt", b.op("xor", rest, by), b.like(0, x))
        off = b.op("and", apart, b.compare("ne", rest, b.like(0, x)))
        rest = b.select(off, b.add(rest, by), rest)
    return b.select(zero, b.like(0, x), rest)


def shift(left: bool) -> Callable[[Builder, Sequence[V], DType], V]:
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


def bit_count(b: Builder, x: V, dtype: DType) -> V:
    """The bits set in the absolute value, as 8 bits."""
    count = b.call("ctpop", absolute(b, x) if signed(dtype) else x)
    return count if count.ty == "i8" else b.cast("trunc", count, "i8")


def gcd(b: Builder, x: V, y: V, dtype: DType) -> V:
    """Euclid's algorithm in all lanes, until the last one is done."""
    if signed(dtype):
        x, y = absolute(b, x), absolute(b, y)

    def step(values: list[V]) -> tuple[list[V], str]:
        large, small = values
        zero = b.like(0, small)
        done = b.compare("eq", small, zero)
        by = b.select(done, b.like(1, small), small)
        rest = b.sub(large, b.mul(_quotient(b, large, by, False), by))
        large, small = b.select(done, large, small), b.select(done, zero, rest)
        return [large, small], b.any(b.compare("ne", small, zero))

    return b.repeat([x, y], step)[0]


def lcm(b: Builder, x: V, y: V, dtype: DType) -> V:
    if signed(dtype):
        x, y = absolute(b, x), absolute(b, y)
    divisor = gcd(b, x, y, dtype)
    zero = b.compare("eq", divisor, b.like(0, divisor))
    share = _quotient(b, x, b.select(zero, b.like(1, divisor), divisor), False)
    return b.select(zero, divisor, b.mul(share, y))


def power(b: Builder, x: V, n: V, dtype: DType) -> V:
    """The power with an exponent that is not negative, by repeated squares."""
    one = b.like(1, x)

    def step(values: list[V]) -> tuple[list[V], str]:
        total, square, rest = values
        odd = b.compare("ne", b.op("and", rest, one), b.like(0, rest))
        total = b.select(odd, b.mul(total, square), total)
        rest = b.op("lshr", rest, one)
        return [total, b.mul(square, square), rest], b.any(b.compare("ne", rest, b.like(0, rest)))

    return b.repeat([one, x, n], step)[0]


def static_power(b: Builder, x: V, n: int) -> V:
    """The power with a known exponent."""
    total: V | None = None
    while n:
        if n & 1:
            total = x if total is None else b.mul(total, x)
        n >>= 1
        if n:
            x = b.mul(x, x)
    return b.like(1, x) if total is None else total
