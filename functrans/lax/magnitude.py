"""Signs and sizes: absolute value, sign, the larger and the smaller of two values, and clamping."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from functrans.core import dtypes
from functrans.core.primitive import Primitive, Sample, Trait
from functrans.core.structural import convert, zero_of
from functrans.core.trace import aval_of
from functrans.lax.arithmetic import NUMBERS, div, mul, strong, sub
from functrans.lax.compare import bitwise_and, bitwise_or, eq, ge, gt, le, lt, ne
from functrans.lax.complex import conj, real
from functrans.lax.families import ANY, elementwise
from functrans.lax.samples import binary, unary
from functrans.lax.selection import select

# -- sign, abs, copysign ------------------------------------------------------------------------------------------


def _sign_rule(t: Any, out: Any, x: Any) -> Any:
    if not dtypes.is_complex(aval_of(out).dtype):
        return zero_of(out)
    # z/|z| moves along the circle only: what is left of t without its part in the direction of z, over |z|.
    across = sub(t, mul(out, convert(real(mul(conj(out), t)), aval_of(out).dtype)))
    size = abs(x)
    at_zero = eq(size, 0)
    scale = select(at_zero, 0.0, div(1.0, select(at_zero, 1.0, size)))
    return mul(across, convert(scale, aval_of(out).dtype))


def _abs_rule(t: Any, out: Any, x: Any) -> Any:
    if dtypes.is_complex(aval_of(x).dtype):
        return real(mul(t, conj(sign(x))))
    return mul(t, sign(x))


sign_p: Primitive = elementwise("sign", "sign", _sign_rule, arity=1, kinds=NUMBERS, samples=unary(kinds=NUMBERS))

abs_p: Primitive = elementwise("abs", "absolute", _abs_rule, arity=1, out="real", samples=unary(kinds=ANY))

copysign_p: Primitive = elementwise(
    "copysign",
    "copysign",
    lambda t, out, x, y: mul(t, mul(sign(strong(x, out)), copysign(1.0, strong(y, out)))),
    lambda t, out, x, y: zero_of(out),
    arity=2,
    kinds="f",
    samples=binary(kinds="f"),
)

# -- max, min -----------------------------------------------------------------------------------------------------


def _chosen(t: Any, out: Any, won: Any, tied: Any) -> Any:
    """The tangent of an operand that is the result where it ``won``, together with the other one where ``tied``."""
    dtype = aval_of(out).dtype
    share = select(tied, dtype.type(0.5), dtype.type(1.0))
    return mul(select(won, convert(t, dtype), 0.0), share)


def _extremum(name: str, ufunc: str, wins: Any, *, skip_nan: bool = False) -> Primitive:
    """A primitive for the larger or smaller of two; ``wins(x, y)`` says where the result is x, ties included."""

    def won(x: Any, y: Any) -> Any:
        return bitwise_or(wins(x, y), ne(y, y)) if skip_nan else wins(x, y)

    return elementwise(
        name,
        ufunc,
        lambda t, out, x, y: _chosen(t, out, won(x, y), eq(x, y)),
        lambda t, out, x, y: _chosen(t, out, won(y, x), eq(x, y)),
        arity=2,
        samples=binary(kinds=ANY),
        traits=(Trait.COMMUTATIVE,),
    )


max_p: Primitive = _extremum("max", "maximum", lambda x, y: ge(x, y))
min_p: Primitive = _extremum("min", "minimum", lambda x, y: le(x, y))
fmax_p: Primitive = _extremum("fmax", "fmax", lambda x, y: ge(x, y), skip_nan=True)
fmin_p: Primitive = _extremum("fmin", "fmin", lambda x, y: le(x, y), skip_nan=True)

# -- clamp --------------------------------------------------------------------------------------------------------


def _clamp_impl(xp: Any, x: Any, lo: Any, hi: Any) -> Any:
    if isinstance(x, (int, float)):
        x = np.result_type(x, lo, hi).type(x)
    return xp.minimum(xp.maximum(x, lo), hi)


def _pass(t: Any, out: Any, where: Any) -> Any:
    return select(where, strong(t, out), 0.0)


def _clamp_samples() -> list[Sample]:
    x = np.array([[0.5, -1.5, 2.0], [1.25, 3.0, -0.75]])
    lo = np.array([-1.0, -0.5, 0.25])
    return [
        Sample((x, lo, lo + 1.25)),
        Sample((x, -0.6, 1.1)),
        Sample((x.astype(np.float32), -0.6, 1.1)),
        Sample((x[:, :1], lo, 2.75)),
        Sample((0.5, lo, lo + 1.3)),
        Sample((1.5, -0.5, 1.0)),
        Sample((np.float64(1.5), np.float64(-0.5), np.float64(2.0))),
        Sample((0.3, lo.astype(np.float32), 1.0)),
        Sample((x, lo + 3.5, lo)),
        Sample((x[:0], lo, 1.0)),
        Sample((np.arange(5), 1, 3)),
    ]


clamp_p: Primitive = elementwise(
    "clamp",
    "clip",
    lambda t, out, x, lo, hi: _pass(t, out, bitwise_and(ge(x, lo), le(x, hi))),
    lambda t, out, x, lo, hi: _pass(t, out, bitwise_and(lt(x, lo), le(lo, hi))),
    lambda t, out, x, lo, hi: _pass(t, out, bitwise_or(gt(x, hi), gt(lo, hi))),
    arity=3,
    kinds="biuf",
    impl=_clamp_impl,
    decompose=lambda x, lo, hi: min(max(_adopt(x, lo, hi), lo), hi),
    traits=(Trait.COMPOUND,),
    samples=_clamp_samples,
)


def _adopt(x: Any, *others: Any) -> Any:
    """A weak Python number with the dtype that it takes beside the others."""
    if aval_of(x).box != "python":
        return x
    strong_ones = [a.dtype for a in builtins.map(aval_of, others) if not a.weak]
    return convert(x, strong_ones[0] if strong_ones else dtypes.result_type(*(aval_of(a).dtype for a in (x, *others))))


def abs(x: Any) -> Any:
    """The absolute value; of complex numbers the modulus, which is real.

    The derivative at 0 is taken to be 0.

    >>> abs(np.array([3 + 4j, -2]))
    array([5., 2.])
    """
    return abs_p.bind(x)


def sign(x: Any) -> Any:
    """-1, 0 or 1; of complex numbers ``x / abs(x)``, and 0 at 0. The derivative at 0 is taken to be 0."""
    return sign_p.bind(x)


def copysign(x: Any, y: Any) -> Any:
    """The size of ``x`` with the sign of ``y``, of which a zero has one too.

    The derivative with respect to ``x`` at 0 is taken to be 0, and that with respect to ``y`` is 0.
    """
    return copysign_p.bind(x, y)


def max(x: Any, y: Any) -> Any:
    """The larger of two values; NaN where one of them is.

    Where both are equal, half of the derivative goes to each. Where one is NaN, none does. Complex numbers are
    ordered as ``lt`` does it.

    >>> max(np.array([1.0, -2.0]), 0.0)
    array([1., 0.])
    """
    return max_p.bind(x, y)


def min(x: Any, y: Any) -> Any:
    """The smaller of two values; NaN where one of them is. Derivatives as for ``max``."""
    return min_p.bind(x, y)


def fmax(x: Any, y: Any) -> Any:
    """The larger of two values, the other one where one is NaN. Derivatives as for ``max``, to the value chosen."""
    return fmax_p.bind(x, y)


def fmin(x: Any, y: Any) -> Any:
    """The smaller of two values, the other one where one is NaN. Derivatives as for ``max``, to the value chosen."""
    return fmin_p.bind(x, y)


def clamp(min: Any, x: Any, max: Any) -> Any:
    """``x`` limited to the range from ``min`` to ``max``; ``max`` where the bounds are the wrong way round.

    The derivative goes to the operand that is the result. At a bound that is ``x``: the derivative with respect to
    ``x`` is 1 in the closed range, and that with respect to a bound is 0 there.

    >>> clamp(-1.0, np.array([-3.0, 0.5, 2.0]), 1.0)
    array([-1. ,  0.5,  1. ])
    """
    return clamp_p.bind(x, min, max)
