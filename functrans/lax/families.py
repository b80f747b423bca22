"""Constructors of primitives by family: what follows from the family (shape, batching, boxing) is filled in here.

Tangent rules are written one operand at a time, ``rule(t, out, *primals, **params)``: the tangent of the result
that the tangent ``t`` of this operand causes. They are sums of operations linear in ``t``, in terms of primitives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans.core import dtypes
from functrans.core.avals import ShapedArray, shaped
from functrans.core.primitive import BatchAxis, Primitive, Sample, Source, Trait, Undefined, Zero
from functrans.core.structural import (
    add,
    broadcast_shapes,
    convert,
    elementwise_aval,
    elementwise_batch,
    linear_jvp,
    match,
    unbroadcast,
    zero_of,
)
from functrans.core.trace import aval_of

TangentRule = Callable[..., Any]
Samples = Callable[[], Iterable[Sample]]
FLOAT = "fc"
ANY = "biufc"


def tangent_rules(prim_of: Callable[[], Primitive], *rules: TangentRule | None, elementwise: bool = False) -> Any:
    """The JVP of a primitive with one result, from a rule for each operand; None where it has no influence."""

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        out = prim_of().bind(*primals, **params)
        aval = aval_of(out)
        total: Any = None
        # The rules may hold Python numbers, with which NumPy takes the dtypes of ml_dtypes to single precision.
        wide = dtypes.is_extended(aval.dtype)
        operands = [_widened(x) for x in (out, *primals)] if wide else []
        if dtypes.is_inexact(aval.dtype):
            for rule, t in zip(rules, tangents, strict=True):
                if rule is None or isinstance(t, Zero):
                    continue
                if wide:
                    term = rule(convert(t, np.float32), *operands, **params)
                else:
                    term = rule(t, out, *primals, **params)
                if isinstance(term, Zero):
                    continue
                if wide:
                    term = convert(term, aval.dtype)
                if elementwise:
                    term = match(term, aval)
                total = term if total is None else add(total, term)
        return out, zero_of(out) if total is None else total

    return jvp


def _widened(x: Any) -> Any:
    return convert(x, np.float32) if dtypes.is_extended(aval_of(x).dtype) else x


def no_tangent(prim_of: Callable[[], Primitive]) -> Any:
    """The JVP of an operation that is piecewise constant or has no inexact result: its derivative is zero."""

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        outs = prim_of().bind(*primals, **params)
        return outs, [zero_of(o) for o in outs] if prim_of().multiple else zero_of(outs)

    return jvp


def accept(name: str, kinds: str, avals: Sequence[ShapedArray]) -> None:
    """Reject operands whose dtype the operation has no meaning for."""
    for i, a in enumerate(avals):
        if dtypes.kind(a.dtype) not in kinds:
            raise errors.DTypeError(f"{name}: operand {i} has type {a}, and the operation takes {_words(kinds)}")


def _words(kinds: str) -> str:
    words = {"b": "booleans", "i": "integers", "u": "unsigned integers", "f": "floats", "c": "complex numbers"}
    return ", ".join(words[k] for k in kinds)


def elementwise(
    name: str,
    ufunc: str,
    *rules: TangentRule | None,
    arity: int,
    kinds: str = ANY,
    out: str = "same",
    linear: Callable[..., Any] | None = None,
    samples: Samples,
    traits: Iterable[str] = (),
    impl: Callable[..., Any] | None = None,
    decompose: Callable[..., Any] | None = None,
    shape: Callable[..., Any] | None = None,
    specialize: Callable[..., Any] | None = None,
    safe: float | None = 0.5,
) -> Primitive:
    """A primitive that applies a ufunc to each element.

    Operands broadcast as NumPy's do. Those that are not weak Python numbers have one dtype.

    Args:
        ufunc: its name in the array module.
        rules: a tangent rule for each operand; none at all where the operation is piecewise constant.
        kinds: the dtype kinds that it takes.
        out: ``"same"`` dtype as the operands, ``"bool"``, or ``"real"`` for the real part's.
        linear: its transpose, where the operation is linear in some operands.
        safe: a value of the operands at which all derivatives are finite, of an operation that has any; None for one
            that is linear in all operands together.
    """

    def infer(*avals: ShapedArray, **params: Any) -> ShapedArray:
        aval = elementwise_aval(name, avals)
        if dtypes.kind(aval.dtype) not in kinds:
            accept(name, kinds, [aval])
        if out == "bool":
            return shaped(aval.shape, np.dtype(bool), "numpy")
        if out == "real":
            return shaped(aval.shape, dtypes.real_dtype(aval.dtype), "numpy")
        return aval

    def default_impl(xp: Any, *args: Any) -> Any:
        return getattr(xp, ufunc)(*args)

    def prim_of() -> Primitive:
        return prim

    prim = Primitive(
        name,
        shape=shape or infer,
        impl=impl or default_impl,
        jvp=tangent_rules(prim_of, *rules, elementwise=True) if rules else no_tangent(prim_of),
        transpose=linear,
        batch=elementwise_batch(prim_of),
        scalar=None if impl or specialize else ufunc,
        kind="library" if (impl or specialize) and decompose is None else None,
        decompose=decompose,
        specialize=specialize,
        samples=samples,
        safe=safe if rules else None,
        traits=frozenset({Trait.ELEMENTWISE, *traits}),
    )
    assert not rules or len(rules) == arity, name
    return prim


def bilinear(transposed: Sequence[Callable[[Any, Any], Any]]) -> Any:
    """The transpose of a broadcasting product-like operation: a rule ``(ct, other)`` for each operand."""

    def transpose(ct: Any, x: Any, y: Any) -> list[Any]:
        if isinstance(x, Undefined):
            return [unbroadcast(transposed[0](ct, y), x.aval), None]
        return [None, unbroadcast(transposed[1](ct, x), y.aval)]

    return transpose


def movement(
    name: str,
    *,
    shape: Callable[..., Any],
    impl: Callable[..., Any],
    transpose: Callable[..., Any],
    batch: Callable[[BatchAxis, Any, int], Any] | Callable[..., Any],
    samples: Samples,
    view: bool = False,
    specialize: Callable[..., Any] | None = None,
    index: Callable[..., Source] | None = None,
) -> Primitive:
    """A primitive of one operand that moves elements: linear, any dtype, a 0-d result is a 0-d array."""

    def prim_of() -> Primitive:
        return prim

    def infer(x: ShapedArray, **params: Any) -> ShapedArray:
        return shaped(shape(x, **params), x.dtype, "array")

    prim = Primitive(
        name,
        shape=infer,
        impl=impl,
        jvp=linear_jvp(prim_of),
        transpose=transpose,
        batch=batch,
        kind="library",
        index=index,
        specialize=specialize,
        samples=samples,
        traits=frozenset({Trait.MOVEMENT, *((Trait.VIEW,) if view else ())}),
    )
    return prim


__all__ = [
    "ANY",
    "FLOAT",
    "TangentRule",
    "accept",
    "bilinear",
    "broadcast_shapes",
    "elementwise",
    "movement",
    "no_tangent",
    "tangent_rules",
]
