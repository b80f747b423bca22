"""The operations that a native kernel computes: NumPy's rules for each, as vector instructions.

An operation that has no row here, or not for a dtype, stays a call of NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from functrans.backends.llvm import complexes, floats, integers, mathematics, outline
from functrans.backends.llvm.builder import Builder, V, joined
from functrans.backends.llvm.casts import FLOAT, convert, fitted, lane, signed, stored, truth
from functrans.backends.llvm.complex_functions import COMPLEX
from functrans.backends.llvm.formats import is_narrow
from functrans.core import dtypes as types
from functrans.core.dtypes import DType

Emit = Callable[[Builder, Sequence[V], DType], V]


class Row(NamedTuple):
    """How an operation is emitted.

    Attributes:
        kinds: the dtype kinds that it is computed in.
        emit: ``emit(builder, args, dtype)`` for arguments of that dtype, float32 for a narrow one.
        cost: how many simple instructions it is worth.
        exact: whether a narrow result needs no rounding; ``"format"`` where the row asks for the narrow dtype itself.
    """

    kinds: str
    emit: Emit
    cost: int = 1
    exact: bool | str = False


def emitted(b: Builder, name: str, args: Sequence[V], dtype: DType) -> V:
    """An operation on values of a dtype, with its result rounded to the dtype."""
    row = ROWS[name]
    if not is_narrow(dtype):
        if outline.is_outlined(b, name, row.cost, args):
            return outline.call(b, name, args, dtype, row.emit)
        return row.emit(b, args, dtype)
    found = row.emit(b, args, dtype if row.exact == "format" else FLOAT)
    return found if row.exact else fitted(b, found, dtype)


# -- arithmetic -------------------------------------------------------------------------------------------------------


def _binary(floats: str, integers: str, bools: str = "") -> Emit:
    def emit(b: Builder, args: Sequence[V], dtype: DType) -> V:
        x, y = args
        if x.im:
            return {"fadd": b.add, "fsub": b.sub, "fmul": b.mul}[floats](x, y)
        return b.op(floats if dtype.kind == "f" else bools if dtype.kind == "b" else integers, x, y)

    return emit


def maximum(b: Builder, x: V, y: V, dtype: DType, low: bool = False) -> V:
    """The larger (or the smaller) of two; NaN if either is."""
    if x.im:
        return b.select(b.op("or", complexes.is_nan(b, x), complexes.compared(b, "le" if low else "ge", x, y)), x, y)
    if not x.floating:
        name = ("s" if signed(dtype) else "u") + ("min" if low else "max")
        if dtype.kind == "b":
            return b.op("and" if low else "or", x, y)
        return b.call(name, x, y)
    best = b.select(b.compare("olt" if low else "ogt", x, y), x, y)
    return b.select(b.compare("uno", x, x), x, best)


def _fmax(b: Builder, args: Sequence[V], dtype: DType, low: bool = False) -> V:
    x, y = args
    if x.im:
        return b.select(b.op("or", complexes.is_nan(b, y), complexes.compared(b, "le" if low else "ge", x, y)), x, y)
    if not x.floating:
        return maximum(b, x, y, dtype, low)
    best = b.select(b.compare("ole" if low else "oge", x, y), x, y)
    return b.select(b.compare("uno", y, y), x, best)


def compared(b: Builder, predicate: str, x: V, y: V, dtype: DType) -> V:
    """A comparison, ``eq ne lt le gt ge``."""
    if x.im:
        return complexes.compared(b, predicate, x, y)
    if x.floating:
        return b.compare(("u" if predicate == "ne" else "o") + predicate, x, y)
    sign = "" if predicate in ("eq", "ne") else "s" if signed(dtype) else "u"
    return b.compare(sign + predicate, x, y)


def is_nan(b: Builder, x: V) -> V:
    return complexes.is_nan(b, x) if x.im else b.compare("uno", x, x)


def _compare(predicate: str) -> Row:
    return Row("biufc", lambda b, args, dtype: compared(b, predicate, args[0], args[1], dtype))


def _absolute(b: Builder, args: Sequence[V], dtype: DType) -> V:
    (x,) = args
    if x.im:
        return complexes.absolute(b, x)
    if x.floating:
        return b.call("fabs", x)
    return integers.absolute(b, x) if signed(dtype) else x


def _sign(b: Builder, args: Sequence[V], dtype: DType) -> V:
    (x,) = args
    if x.im:
        return complexes.sign(b, x)
    zero, one = b.like(0, x), b.like(1, x)
    if dtype.kind == "u":
        return b.select(b.compare("ne", x, zero), one, zero)
    if dtype.kind == "i":
        return b.select(b.compare("sgt", x, zero), one, b.select(b.compare("slt", x, zero), b.like(-1, x), zero))
    if types.is_extended(dtype):
        zero = x  # NumPy gives +0.0 for zeros of either sign, ml_dtypes the zero itself
    low = b.select(b.compare("olt", x, b.like(0, x)), b.like(-1, x), zero)
    known = b.select(b.compare("ogt", x, b.like(0, x)), one, low)
    return b.select(b.compare("uno", x, x), x, known)


def _divide(b: Builder, args: Sequence[V], dtype: DType) -> V:
    return complexes.divide(b, *args) if args[0].im else b.div(*args)


def _floor_divide(b: Builder, args: Sequence[V], dtype: DType) -> V:
    x, y = args
    return floats.divided(b, x, y)[0] if x.floating else integers.floor_divide(b, x, y, dtype)


def _remainder(b: Builder, args: Sequence[V], dtype: DType) -> V:
    x, y = args
    return floats.divided(b, x, y)[1] if x.floating else integers.remainder(b, x, y, dtype)


def _rem(b: Builder, args: Sequence[V], dtype: DType) -> V:
    x, y = args
    return floats.fmod(b, x, y) if x.floating else integers.remainder(b, x, y, dtype, floor=False)


def _logical(name: str) -> Row:
    return Row("biufc", lambda b, args, dtype: b.op(name, *[truth(b, a) for a in args]))


def _not(b: Builder, x: V) -> V:
    return b.op("xor", x, b.like(-1, x) if x.ty != "i1" else b.like(1, x))


def _reciprocal(b: Builder, args: Sequence[V], dtype: DType) -> V:
    (x,) = args
    if x.im:
        return complexes.reciprocal(b, x)
    if x.floating:
        return b.div(b.like(1.0, x), x)
    wide = convert(b, x, dtype, np.dtype(np.float64))
    return convert(b, b.div(b.like(1.0, wide), wide), np.dtype(np.float64), dtype)


def _square_root(b: Builder, args: Sequence[V], dtype: DType) -> V:
    (x,) = args
    return complexes.sqrt(b, x) if x.im else b.call("sqrt", x)


def _rounding(name: str) -> Row:
    return Row("fc", lambda b, args, dtype: b.each(partial(b.call, name), args[0]), 1, exact=True)


def _tested(name: str) -> Row:
    def part(b: Builder, x: V) -> V:
        size = b.call("fabs", x)
        return b.compare("one" if name == "is_finite" else "oeq", size, b.like(math.inf, x))

    def emit(b: Builder, args: Sequence[V], dtype: DType) -> V:
        (x,) = args
        if not x.floating and not x.im:
            return b.const(name == "is_finite", "i1", x.w)
        if name == "isnan":
            return is_nan(b, x)
        found = [part(b, p) for p in x.parts]
        return found[0] if len(found) == 1 else b.op("and" if name == "is_finite" else "or", *found)

    return Row("biufc", emit)


def _signbit(b: Builder, args: Sequence[V], dtype: DType) -> V:
    (x,) = args
    bits = b.cast("bitcast", x, floats.integer(x.ty))
    return b.compare("slt", bits, b.like(0, bits))


def power(b: Builder, x: V, n: int) -> V:
    """``x**n`` by products, for the small ``n`` of ``POWERS``."""
    y = x
    for _ in range(abs(n) - 1):
        y = b.mul(y, x)
    return b.div(b.like(1.0, y), y) if n < 0 else y


POWERS = (1, 2, 3, -1)
"""Exponents for which products err by no more than a power function does."""


def static_exponent(value: Any, dtype: DType) -> int | None:
    """The known exponent of a power that is computed by products: of integers any, of floats one of ``POWERS``."""
    if dtype.kind in "iu" and type(value) is int and 0 <= value <= np.iinfo(dtype).max:
        return value
    if types.kind(dtype) == "f" and np.ndim(value) == 0 and value in POWERS:
        return int(value)
    return None


def static_power(b: Builder, x: V, n: int, dtype: DType) -> V:
    """A power with an exponent of ``static_exponent``."""
    if x.floating:
        return fitted(b, power(b, x, n), dtype)
    return integers.static_power(b, x, n)


def reduced_precision(b: Builder, x: V, dtype: DType, exponent_bits: int, mantissa_bits: int) -> V:
    """A float rounded to fewer bits of its fraction and of its exponent."""
    return fitted(b, floats.reduced_precision(b, x, dtype, exponent_bits, mantissa_bits), dtype)


def _function(name: str) -> Emit:
    def emit(b: Builder, args: Sequence[V], dtype: DType) -> V:
        return (COMPLEX[name][0] if args[0].im else mathematics.FUNCTIONS[name].emit)(b, *args)

    return emit


def _power(b: Builder, args: Sequence[V], dtype: DType) -> V:
    x, y = args
    if x.im or x.floating:
        return _function("pow")(b, args, dtype)
    return integers.power(b, x, y, dtype)


def _joined(b: Builder, args: Sequence[V], dtype: DType) -> V:
    return joined(args)


ROWS: dict[str, Row] = {
    "add": Row("biufc", _binary("fadd", "add", "or")),
    "sub": Row("iufc", _binary("fsub", "sub")),
    "mul": Row("biufc", _binary("fmul", "mul", "and")),
    "div": Row("fc", _divide, 4),
    "neg": Row("iufc", lambda b, args, dtype: b.neg(args[0]), exact=True),
    "positive": Row("iufc", lambda b, args, dtype: args[0], exact=True),
    "square": Row("iufc", lambda b, args, dtype: b.mul(args[0], args[0])),
    "reciprocal": Row("iufc", _reciprocal, 4),
    "abs": Row("biufc", _absolute, exact=True),
    "sign": Row("iufc", _sign, 2, exact="format"),
    "copysign": Row("f", lambda b, args, dtype: floats.copysign(b, args[0], args[1], dtype), exact="format"),
    "signbit": Row("f", _signbit),
    "sqrt": Row("fc", _square_root, 6),
    "safe_sqrt": Row("fc", _square_root, 6),
    "floor": _rounding("floor"),
    "ceil": _rounding("ceil"),
    "trunc": _rounding("trunc"),
    "rint": _rounding("rint"),
    "max": Row("biufc", lambda b, args, dtype: maximum(b, args[0], args[1], dtype), 2, exact=True),
    "min": Row("biufc", lambda b, args, dtype: maximum(b, args[0], args[1], dtype, True), 2, exact=True),
    "fmax": Row("biufc", _fmax, 2, exact=True),
    "fmin": Row("biufc", partial(_fmax, low=True), 2, exact=True),
    **{name: _compare(name) for name in ("eq", "ne", "lt", "le", "gt", "ge")},
    "and": Row("biu", _binary("", "and", "and")),
    "or": Row("biu", _binary("", "or", "or")),
    "xor": Row("biu", _binary("", "xor", "xor")),
    "not": Row("biu", lambda b, args, dtype: _not(b, args[0])),
    **{f"logical_{name}": _logical(name) for name in ("and", "or", "xor")},
    "logical_not": Row("biufc", lambda b, args, dtype: _not(b, truth(b, args[0]))),
    "shift_left": Row("iu", integers.shift(True), 2),
    "shift_right": Row("iu", integers.shift(False), 2),
    "bit_count": Row("iu", lambda b, args, dtype: integers.bit_count(b, args[0], dtype), 8),
    "gcd": Row("iu", lambda b, args, dtype: integers.gcd(b, args[0], args[1], dtype), 300),
    "lcm": Row("iu", lambda b, args, dtype: integers.lcm(b, args[0], args[1], dtype), 330),
    "floor_divide": Row("iuf", _floor_divide, 30),
    "remainder": Row("iuf", _remainder, 30),
    "rem": Row("iuf", _rem, 30),
    "is_finite": _tested("is_finite"),
    "isinf": _tested("isinf"),
    "isnan": _tested("isnan"),
    "nextafter": Row("f", lambda b, args, dtype: floats.nextafter(b, args[0], args[1], dtype), 6, exact="format"),
    "spacing": Row("f", lambda b, args, dtype: floats.spacing(b, args[0], dtype), 6, exact="format"),
    "ldexp": Row("f", lambda b, args, dtype: floats.ldexp(b, *args), 12),
    "hypot": Row("f", lambda b, args, dtype: floats.hypot(b, *args), 30),
    "complex": Row("f", _joined),
    "real": Row("c", lambda b, args, dtype: args[0].parts[0]),
    "imag": Row("c", lambda b, args, dtype: args[0].parts[1]),
    "conj": Row("iufc", lambda b, args, dtype: complexes.conjugate(b, args[0]) if args[0].im else args[0], exact=True),
    **{
        name: Row("fc" if name in COMPLEX else "f", _function(name), f.cost)
        for name, f in mathematics.FUNCTIONS.items()
    },
    "pow": Row("ufc", _power, mathematics.FUNCTIONS["pow"].cost),
}
"""Elementwise operations without parameters; those with some are the values' own."""


PARAMETERS = frozenset({"convert", "select", "stop_gradient", "bitcast_convert_type", "reduce_precision", "scalar_pow"})
"""Elementwise operations that have parameters, or operands of several dtypes."""
COMPARISONS = frozenset({"eq", "ne", "lt", "le", "gt", "ge"})


def computed_in(dtypes: Sequence[DType], values: Sequence[Any]) -> DType:
    """The dtype in which an operation of some operands is computed; Python numbers among them adopt the others'.

    Args:
        values: of each operand the Python number that it is, or the type of one that comes at run time, else None.
    """
    for dtype in dtypes:
        if types.is_extended(dtype):
            return dtype  # beside which NumPy would take Python numbers for more than they are here
    given: list[Any] = []
    for value, dtype in zip(values, dtypes, strict=True):
        given.append(dtype if value is None else value(0) if isinstance(value, type) else value)
    found = np.result_type(*given)
    assert isinstance(found, np.dtype)
    return found


def operand_dtypes(name: str, dtypes: Sequence[DType], values: Sequence[Any], out: DType) -> tuple[DType, ...]:
    """The dtypes that the operands of an operation are converted to; the first is that which it is computed in."""
    if name == "complex":
        real = types.real_dtype(out)
        return (real, real)
    if name == "ldexp":
        return (out, np.dtype(np.int64 if dtypes[1].itemsize == 8 else np.int32))
    dtype = computed_in(dtypes, values)
    if name in COMPARISONS and dtype.kind in "iu" and dtype != np.uint64 and not all(_within(dtype, v) for v in values):
        dtype = np.dtype(np.int64)  # NumPy compares with what a Python int is, even if the dtype does not hold it
    return (dtype,) * len(dtypes)


def _within(dtype: DType, value: Any) -> bool:
    if type(value) is not int:
        return value is not int
    info = np.iinfo(dtype)
    return bool(info.min <= value <= info.max)


__all__ = [
    "PARAMETERS",
    "POWERS",
    "ROWS",
    "Emit",
    "Row",
    "compared",
    "computed_in",
    "convert",
    "emitted",
    "is_nan",
    "lane",
    "maximum",
    "operand_dtypes",
    "power",
    "reduced_precision",
    "signed",
    "static_exponent",
    "static_power",
    "stored",
]
