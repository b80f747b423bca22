"""Comparisons, tests of single values, logic, and operations on the bits of integers: all without derivative."""

from __future__ import annotations

from typing import Any

import numpy as np

from functrans import errors
from functrans.core import dtypes
from functrans.core.avals import ShapedArray, shaped
from functrans.core.primitive import Primitive, Trait
from functrans.core.structural import convert, elementwise_aval
from functrans.core.trace import aval_of
from functrans.lax.families import ANY, accept, elementwise
from functrans.lax.samples import binary, unary

_LEFT = (0.5, -1.5, 2.0, 1.5, -0.5, 3.0)
_RIGHT = (0.5, -1.5, 2.5)


def _comparison(name: str, ufunc: str, *, commutative: bool = False) -> Primitive:
    return elementwise(
        name,
        ufunc,
        arity=2,
        out="bool",
        samples=binary(_LEFT, _RIGHT, kinds=ANY),
        traits=(Trait.COMMUTATIVE,) if commutative else (),
    )


eq_p: Primitive = _comparison("eq", "equal", commutative=True)
ne_p: Primitive = _comparison("ne", "not_equal", commutative=True)
lt_p: Primitive = _comparison("lt", "less")
le_p: Primitive = _comparison("le", "less_equal")
gt_p: Primitive = _comparison("gt", "greater")
ge_p: Primitive = _comparison("ge", "greater_equal")
logical_and_p: Primitive = _comparison("logical_and", "logical_and", commutative=True)
logical_or_p: Primitive = _comparison("logical_or", "logical_or", commutative=True)
logical_xor_p: Primitive = _comparison("logical_xor", "logical_xor", commutative=True)


def _test(name: str, ufunc: str) -> Primitive:
    return elementwise(
        name, ufunc, arity=1, out="bool", samples=unary(0.0, -1.5, np.inf, np.nan, 3.0, -np.inf, kinds=ANY, order=0)
    )


is_finite_p: Primitive = _test("is_finite", "isfinite")
isnan_p: Primitive = _test("isnan", "isnan")
isinf_p: Primitive = _test("isinf", "isinf")
logical_not_p: Primitive = _test("logical_not", "logical_not")


def _bitwise(name: str, ufunc: str, *, kinds: str = "biu", commutative: bool = False) -> Primitive:
    return elementwise(
        name,
        ufunc,
        arity=2,
        kinds=kinds,
        samples=binary(kinds=kinds),
        traits=(Trait.COMMUTATIVE,) if commutative else (),
    )


and_p: Primitive = _bitwise("and", "bitwise_and", commutative=True)
or_p: Primitive = _bitwise("or", "bitwise_or", commutative=True)
xor_p: Primitive = _bitwise("xor", "bitwise_xor", commutative=True)
shift_left_p: Primitive = _bitwise("shift_left", "left_shift", kinds="iu")
shift_right_p: Primitive = _bitwise("shift_right", "right_shift", kinds="iu")
gcd_p: Primitive = _bitwise("gcd", "gcd", kinds="iu", commutative=True)
lcm_p: Primitive = _bitwise("lcm", "lcm", kinds="iu", commutative=True)
not_p: Primitive = elementwise("not", "invert", arity=1, kinds="biu", samples=unary(kinds="biu"))


def _bit_count_shape(x: ShapedArray) -> ShapedArray:
    aval = elementwise_aval("bit_count", (x,))
    accept("bit_count", "iu", [aval])
    return shaped(aval.shape, np.dtype(np.uint8), "numpy")


bit_count_p: Primitive = elementwise(
    "bit_count", "bitwise_count", arity=1, shape=_bit_count_shape, samples=unary(kinds="iu")
)


def eq(x: Any, y: Any) -> Any:
    """Whether ``x == y``, element by element.

    Operands broadcast; the result is boolean and has no derivative. So it is with ``ne``, ``lt``, ``le``, ``gt`` and
    ``ge``. Complex numbers are ordered by their real parts, then by their imaginary parts, as NumPy does.

    >>> eq(np.array([1.0, 2.0]), 2.0)
    array([False,  True])
    """
    return eq_p.bind(x, y)


def ne(x: Any, y: Any) -> Any:
    """Whether ``x != y``, element by element."""
    return ne_p.bind(x, y)


def lt(x: Any, y: Any) -> Any:
    """Whether ``x < y``, element by element."""
    return lt_p.bind(x, y)


def le(x: Any, y: Any) -> Any:
    """Whether ``x <= y``, element by element."""
    return le_p.bind(x, y)


def gt(x: Any, y: Any) -> Any:
    """Whether ``x > y``, element by element."""
    return gt_p.bind(x, y)


def ge(x: Any, y: Any) -> Any:
    """Whether ``x >= y``, element by element."""
    return ge_p.bind(x, y)


def is_finite(x: Any) -> Any:
    """Whether each element is neither infinite nor NaN."""
    return is_finite_p.bind(x)


def isnan(x: Any) -> Any:
    """Whether each element is NaN (of a complex number: either part)."""
    return isnan_p.bind(x)


def isinf(x: Any) -> Any:
    """Whether each element is infinite, of either sign (of a complex number: either part)."""
    return isinf_p.bind(x)


def logical_and(x: Any, y: Any) -> Any:
    """Whether both elements differ from zero. Operands of any dtype, a boolean result."""
    return logical_and_p.bind(x, y)


def logical_or(x: Any, y: Any) -> Any:
    """Whether one of the elements, or both, differ from zero."""
    return logical_or_p.bind(x, y)


def logical_xor(x: Any, y: Any) -> Any:
    """Whether exactly one of the elements differs from zero."""
    return logical_xor_p.bind(x, y)


def logical_not(x: Any) -> Any:
    """Whether each element is zero."""
    return logical_not_p.bind(x)


def bitwise_and(x: Any, y: Any) -> Any:
    """The bits set in both of two integers; of booleans, whether both are true.

    >>> bitwise_and(np.array([6, 5]), 3)
    array([2, 1])
    """
    return and_p.bind(x, y)


def bitwise_or(x: Any, y: Any) -> Any:
    """The bits set in either of two integers; of booleans, whether either is true."""
    return or_p.bind(x, y)


def bitwise_xor(x: Any, y: Any) -> Any:
    """The bits set in exactly one of two integers; of booleans, whether they differ."""
    return xor_p.bind(x, y)


def bitwise_not(x: Any) -> Any:
    """An integer with every bit flipped; the negation of a boolean."""
    return not_p.bind(x)


def shift_left(x: Any, n: Any) -> Any:
    """Integers with their bits moved left by ``n``; zero where ``n`` reaches the number of bits."""
    return shift_left_p.bind(x, n)


def shift_right_arithmetic(x: Any, n: Any) -> Any:
    """Integers with their bits moved right by ``n``, filled up with the sign: ``floor(x / 2**n)``."""
    return shift_right_p.bind(x, n)


def shift_right_logical(x: Any, n: Any) -> Any:
    """Integers with their bits moved right by ``n``, filled up with zeros, whatever the sign.

    >>> shift_right_logical(np.int8(-1), 6)
    np.int8(3)
    """
    dtype = elementwise_aval("shift_right_logical", (aval_of(x), aval_of(n))).dtype
    if dtype.kind != "i":
        return shift_right_p.bind(x, n)
    unsigned = _unsigned("shift_right_logical", dtype)
    return convert(shift_right_p.bind(convert(x, unsigned), convert(n, unsigned)), dtype)


def bit_count(x: Any) -> Any:
    """The number of bits set in the absolute value of each integer, as ``np.bitwise_count``; the result is uint8."""
    return bit_count_p.bind(x)


def population_count(x: Any) -> Any:
    """The number of bits set in the two's complement of each integer, in the operand's dtype.

    >>> population_count(np.array([7, -1], np.int8))
    array([3, 8], dtype=int8)
    """
    dtype = aval_of(x).dtype
    return convert(bit_count(convert(x, _unsigned("population_count", dtype))), dtype)


def clz(x: Any) -> Any:
    """The number of zeros that lead the bits of each integer, in the operand's dtype.

    >>> clz(np.array([1, 255, -1, 0], np.int16))
    array([15,  8,  0, 16], dtype=int16)
    """
    dtype = aval_of(x).dtype
    bits = convert(x, _unsigned("clz", dtype))
    n = 1
    while n < dtype.itemsize * 8:
        bits = bitwise_or(bits, shift_right_p.bind(bits, n))
        n *= 2
    return convert(bit_count(bitwise_not(bits)), dtype)


def gcd(x: Any, y: Any) -> Any:
    """The greatest common divisor of the absolute values of integers; ``gcd(0, 0)`` is 0."""
    return gcd_p.bind(x, y)


def lcm(x: Any, y: Any) -> Any:
    """The least common multiple of the absolute values of integers; 0 where an operand is."""
    return lcm_p.bind(x, y)


def _unsigned(name: str, dtype: dtypes.DType) -> dtypes.DType:
    if dtype.kind not in "iu":
        raise errors.DTypeError(f"{name}: integers are needed, got dtype {dtype}. Convert with x.astype(int)")
    return np.dtype(f"u{dtype.itemsize}")
