"""Elementwise operations with several results, written out in operations with one: kernels compute those."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from functrans.backends.llvm.casts import native
from functrans.backends.llvm.formats import is_narrow
from functrans.core import dtypes
from functrans.core.jaxpr import Eqn, Jaxpr, SizeVar, dce, rename
from functrans.core.stage import stage
from functrans.core.structural import convert
from functrans.core.trace import aval_of, running
from functrans.lax.arithmetic import mul, sub
from functrans.lax.casting import bitcast_convert_type
from functrans.lax.compare import bitwise_and, bitwise_or, is_finite, isinf, lt, ne, shift_right_arithmetic
from functrans.lax.magnitude import abs, copysign
from functrans.lax.rounding import trunc
from functrans.lax.selection import select
from functrans.passes.base import Rewriter, with_bodies


def _modf(x: Any) -> list[Any]:
    whole = trunc(x)
    return [copysign(select(isinf(x), 0.0, sub(x, whole)), x), whole]


def _frexp(x: Any) -> list[Any]:
    """The fields of the bits; subnormal numbers are scaled first."""
    dtype = aval_of(x).dtype
    if is_narrow(dtype):
        mantissa, exponent = _frexp(convert(x, np.float32))
        return [convert(mantissa, dtype), exponent]
    info = np.finfo(dtype)
    integer = np.dtype(f"i{dtype.itemsize}").type
    shift, bias = int(info.nmant), int(info.maxexp) - 2
    small = lt(abs(x), float(info.tiny))
    up = shift + 2
    bits = bitcast_convert_type(select(small, mul(x, 2.0**up), x), np.dtype(integer))
    field = integer((1 << int(info.iexp)) - 1)
    exponent = bitwise_and(shift_right_arithmetic(bits, integer(shift)), field)
    exponent = sub(exponent, select(small, integer(bias + up), integer(bias)))
    rest = bitwise_and(bits, integer(~(int(field) << shift)))
    mantissa = bitcast_convert_type(bitwise_or(rest, integer(bias << shift)), dtype)
    usual = bitwise_and(is_finite(x), ne(x, 0.0))
    return [select(usual, mantissa, x), convert(select(usual, exponent, integer(0)), np.int32)]


_WRITTEN: dict[str, Callable[..., list[Any]]] = {"modf": _modf, "frexp": _frexp}


def written_out(jaxpr: Jaxpr) -> Jaxpr:
    """The jaxpr without such operations."""
    rewriter = Rewriter(jaxpr)
    for old in jaxpr.eqns:
        eqn = with_bodies(rewriter.inputs(old), written_out)
        rewriter.changed = rewriter.changed or eqn is not old
        body = _body(eqn)
        if body is None:
            rewriter.keep(eqn)
            continue
        parts, outs = rename(body, eqn.inputs)
        for part in parts:
            rewriter.keep(part._replace(source=eqn.source))
        for v, out in zip(eqn.outs, outs, strict=True):
            rewriter.replace(v, out)
    return dce(rewriter.finish()) if rewriter.changed else jaxpr


def _body(eqn: Eqn) -> Jaxpr | None:
    function = _WRITTEN.get(eqn.prim.name)
    avals = tuple([a.aval for a in eqn.inputs])
    if function is None or not avals[0].shape or avals[0].weak or not native(avals[0].dtype):
        return None
    if dtypes.kind(avals[0].dtype) != "f" or any(isinstance(n, SizeVar) for n in avals[0].shape):
        return None
    with running(None):
        body = stage(lambda *xs: function(*xs), avals, eqn.prim.name)
    same = body.out_avals == tuple([v.aval for v in eqn.outs])
    return body if same and not body.constvars else None


__all__ = ["written_out"]
