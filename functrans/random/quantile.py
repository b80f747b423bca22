"""The inverse error function that normal samples are made with.

``functrans.lax.erf_inv`` is more accurate where ``|x|`` is close to 1. This one is by polynomials in
``-log1p(-x**2)``, as in the compilers of other array libraries, so that a key gives the numbers that it gives there.

The polynomials are those of M. B. Giles: "Approximating the erfinv function", GPU Computing Gems Jade Edition, 2011.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from functrans.core import dtypes
from functrans.core.primitive import Primitive, Trait
from functrans.core.structural import convert, rebox
from functrans.core.trace import aval_of
from functrans.lax.arithmetic import add, mul, neg, sub
from functrans.lax.compare import eq, lt
from functrans.lax.exponential import exp, log1p
from functrans.lax.families import elementwise
from functrans.lax.magnitude import abs as magnitude
from functrans.lax.magnitude import copysign
from functrans.lax.power import sqrt, square
from functrans.lax.samples import unary
from functrans.lax.selection import select


class Piece(NamedTuple):
    """One polynomial in ``w`` (or its root) less ``shift``, highest power first. It serves ``w`` below ``end``."""

    end: float
    root: bool
    shift: float
    coefficients: tuple[float, ...]


_SINGLE = (
    Piece(
        5.0,
        False,
        2.5,
        (
            2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503,
            -0.00417768164, 0.246640727, 1.50140941,
        ),
    ),
    Piece(
        math.inf,
        True,
        3.0,
        (
            -0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613,
            0.00943887047, 1.00167406, 2.83297682,
        ),
    ),
)  # fmt: skip
_DOUBLE = (
    Piece(
        6.25,
        False,
        3.125,
        (
            -3.6444120640178196996e-21, -1.685059138182016589e-19, 1.2858480715256400167e-18, 1.115787767802518096e-17,
            -1.333171662854620906e-16, 2.0972767875968561637e-17, 6.6376381343583238325e-15, -4.0545662729752068639e-14,
            -8.1519341976054721522e-14, 2.6335093153082322977e-12, -1.2975133253453532498e-11,
            -5.4154120542946279317e-11, 1.051212273321532285e-09, -4.1126339803469836976e-09,
            -2.9070369957882005086e-08, 4.2347877827932403518e-07, -1.3654692000834678645e-06,
            -1.3882523362786468719e-05, 0.0001867342080340571352, -0.00074070253416626697512,
            -0.0060336708714301490533, 0.24015818242558961693, 1.6536545626831027356,
        ),
    ),
    Piece(
        16.0,
        True,
        3.25,
        (
            2.2137376921775787049e-09, 9.0756561938885390979e-08, -2.7517406297064545428e-07, 1.8239629214389227755e-08,
            1.5027403968909827627e-06, -4.013867526981545969e-06, 2.9234449089955446044e-06, 1.2475304481671778723e-05,
            -4.7318229009055733981e-05, 6.8284851459573175448e-05, 2.4031110387097893999e-05,
            -0.0003550375203628474796, 0.00095328937973738049703, -0.0016882755560235047313, 0.0024914420961078508066,
            -0.0037512085075692412107, 0.005370914553590063617, 1.0052589676941592334, 3.0838856104922207635,
        ),
    ),
    Piece(
        math.inf,
        True,
        5.0,
        (
            -2.7109920616438573243e-11, -2.5556418169965252055e-10, 1.5076572693500548083e-09,
            -3.7894654401267369937e-09, 7.6157012080783393804e-09, -1.4960026627149240478e-08,
            2.9147953450901080826e-08, -6.7711997758452339498e-08, 2.2900482228026654717e-07,
            -9.9298272942317002539e-07, 4.5260625972231537039e-06, -1.9681778105531670567e-05,
            7.5995277030017761139e-05, -0.00021503011930044477347, -0.00013871931833623122026, 1.0103004648645343977,
            4.8499064014085844221,
        ),
    ),
)  # fmt: skip


def _pieces(dtype: dtypes.DType) -> Sequence[Piece]:
    return _DOUBLE if dtype.itemsize == 8 else _SINGLE


def _evaluate(xp: Any, piece: Piece, w: Any, dtype: dtypes.DType) -> Any:
    """The polynomial at ``w``, which is overwritten."""
    number = dtype.type
    if piece.root:
        xp.sqrt(w, out=w)
    xp.subtract(w, number(piece.shift), out=w)
    first, *others = piece.coefficients
    out = xp.full_like(w, number(first))
    for c in others:
        xp.multiply(out, w, out=out)
        xp.add(out, number(c), out=out)
    return out


def _compute(xp: Any, x: Any) -> Any:
    """The function of a vector of floats of 32 or 64 bits."""
    w = xp.multiply(x, x)
    xp.negative(w, out=w)
    with np.errstate(divide="ignore", invalid="ignore"):
        xp.log1p(w, out=w)
    xp.negative(w, out=w)
    first, *tails = _pieces(x.dtype)
    beyond = xp.flatnonzero(~(w < first.end))
    if not beyond.size:
        return xp.multiply(_evaluate(xp, first, w, x.dtype), x)
    far, inputs = w[beyond], x[beyond]
    out = _evaluate(xp, first, w, x.dtype)
    xp.multiply(out, x, out=out)
    start = first.end
    for piece in tails:
        here = ~(far < start) & (far < piece.end)
        out[beyond[here]] = _evaluate(xp, piece, far[here], x.dtype) * inputs[here]
        start = piece.end
    ends = beyond[~(far < math.inf)]
    out[ends] = xp.where(xp.abs(x[ends]) == 1, x[ends] * math.inf, math.nan)
    return out


def _of_number(x: Any) -> Any:
    """The function of one NumPy scalar of 32 or 64 bits, to the same bits."""
    if not abs(x) < 1:
        return x.dtype.type(math.copysign(math.inf, x) if abs(x) == 1 else math.nan)
    # Python's floats round as those of 64 bits do, and are faster.
    number = float if x.dtype.itemsize == 8 else x.dtype.type
    w = number(-np.log1p(-(x * x)))
    piece = next(p for p in _pieces(x.dtype) if w < p.end)
    w = number(math.sqrt(w) if number is float else np.sqrt(w)) if piece.root else w
    w = w - number(piece.shift)
    first, *others = piece.coefficients
    out = number(first)
    for c in others:
        out = out * w + number(c)
    return x.dtype.type(out * number(x))


_BLOCK = 1 << 15


def _impl(xp: Any, x: Any) -> Any:
    x = np.float64(x) if isinstance(x, float) else x
    dtype = x.dtype
    wide = x if dtype.itemsize >= 4 else x.astype(np.float32)
    if xp is np and x.ndim == 0:
        out = _of_number(wide[()])
        return out if out.dtype == dtype else out.astype(dtype)
    flat = xp.ravel(wide)
    if xp is not np or flat.size <= _BLOCK:
        out = _compute(xp, flat)
    else:
        out = np.empty_like(flat)
        for start in range(0, flat.size, _BLOCK):
            out[start : start + _BLOCK] = _compute(np, flat[start : start + _BLOCK])
    out = out.reshape(x.shape)
    return out if out.dtype == dtype else out.astype(dtype)


def _decompose(x: Any) -> Any:
    dtype = aval_of(x).dtype
    wide = convert(x, np.float64 if dtype.itemsize == 8 else np.float32)
    w = neg(log1p(neg(mul(wide, wide))))
    root = sqrt(w)
    out: Any = None
    for piece in reversed(_pieces(aval_of(wide).dtype)):
        at = sub(root if piece.root else w, piece.shift)
        first, *others = piece.coefficients
        value = add(mul(at, first), others[0])
        for c in others[1:]:
            value = add(mul(value, at), c)
        out = value if out is None else select(lt(w, piece.end), value, out)
    ends = eq(magnitude(wide), 1.0)
    return convert(rebox(select(ends, copysign(math.inf, wide), mul(out, wide)), "numpy"), dtype)


erf_inv_p: Primitive = elementwise(
    "erf_inv_by_polynomial",
    "erf_inv_by_polynomial",
    lambda t, out, x: mul(t, mul(exp(square(out)), math.sqrt(math.pi) / 2)),
    arity=1,
    kinds="f",
    impl=_impl,
    decompose=_decompose,
    samples=unary(0.5, -0.9, 0.0, 0.25, 0.75, -0.3, kinds="f"),
    traits=(Trait.COSTLY,),
)


def erf_inv(x: Any) -> Any:
    """The inverse error function by Giles's polynomials; half precision by way of single precision."""
    return erf_inv_p.bind(x)
