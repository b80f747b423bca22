"""Transposition: a linear program run backwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from functrans.core.avals import ShapedArray
from functrans.core.evaluate import extent_of, sized
from functrans.core.jaxpr import Atom, Eqn, Jaxpr, Literal, Var, resize
from functrans.core.primitive import Undefined, Zero
from functrans.core.stage import stage
from functrans.core.structural import add, convert, instantiate
from functrans.core.trace import aval_of, source_context
from functrans.util.cache import WeakMemo


def accumulate(old: Any, new: Any) -> Any:
    """The sum of two cotangents, either of which may be missing."""
    return new if old is None else add(old, new)


def backward_pass(jaxpr: Jaxpr, args: Sequence[Any], cotangents: Sequence[Any]) -> list[Any]:
    """Pull cotangents of the outputs back to the inputs.

    Args:
        jaxpr: a program that is linear in the inputs given as ``Undefined``. Equations that none of those reach
            are evaluated forwards.
        args: a value or ``Undefined`` for each input.
        cotangents: one for each output; ``Zero`` or None where there is none.

    Returns:
        A cotangent for each input that is ``Undefined``, None where it is zero; None for the others.
    """
    env: dict[Atom, Any] = dict(zip(jaxpr.constvars, jaxpr.consts, strict=True))
    linear: set[Atom] = set()
    for var, arg in zip(jaxpr.invars, args, strict=True):
        if isinstance(arg, Undefined):
            linear.add(var)
        else:
            env[var] = arg

    def known(aval: ShapedArray) -> ShapedArray:
        """A type with its sizes as they are at hand."""
        return resize(aval, lambda size: extent_of(env[size])) if jaxpr.sized else aval

    pending: list[Eqn] = []
    for eqn in jaxpr.eqns:
        if jaxpr.sized:
            eqn = sized(eqn, env)
        if linear.isdisjoint(eqn.inputs):
            inputs = [a.value if isinstance(a, Literal) else env[a] for a in eqn.inputs]
            with source_context(eqn.source):
                result = eqn.prim.bind(*inputs, **eqn.params)
            env.update(zip(eqn.outs, result if eqn.prim.multiple else [result], strict=True))
        else:
            linear.update(eqn.outs)
            pending.append(eqn)

    cts: dict[Atom, Any] = {}
    for out, ct in zip(jaxpr.outvars, cotangents, strict=True):
        if out in linear and ct is not None and not isinstance(ct, Zero):
            cts[out] = accumulate(cts.get(out), ct)
    for eqn in reversed(pending):
        given = [cts.pop(out, None) for out in eqn.outs]
        if all(ct is None for ct in given):
            continue
        operands = [
            a.value if isinstance(a, Literal) else Undefined(known(a.aval)) if a in linear else env[a]
            for a in eqn.inputs
        ]
        with source_context(eqn.source):
            if eqn.prim.multiple:
                full = [
                    Zero(known(o.aval).cotangent()) if ct is None else ct for ct, o in zip(given, eqn.outs, strict=True)
                ]
                results = eqn.prim.rule("transpose")(full, *operands, **eqn.params)
            else:
                results = eqn.prim.rule("transpose")(given[0], *operands, **eqn.params)
            for atom, ct in zip(eqn.inputs, results, strict=True):
                if ct is not None and not isinstance(ct, Zero) and atom in linear:
                    cts[atom] = accumulate(cts.get(atom), ct)
    return [cts.get(var) if var in linear else None for var in jaxpr.invars]


def fit_cotangent(ct: Any, var: Var) -> Any:
    """A cotangent in the dtype of the value it belongs to."""
    return ct if ct is None or aval_of(ct).dtype == var.aval.dtype else convert(ct, var.aval.dtype)


def _transpose_jaxpr(
    jaxpr: Jaxpr, linear: tuple[bool, ...], live: tuple[bool, ...], force: bool
) -> tuple[Jaxpr, tuple[bool, ...]]:
    live_out: list[bool] = []
    known = [v for v, lin in zip(jaxpr.invars, linear, strict=True) if not lin]

    def f(*args: Any) -> list[Any]:
        values, given = iter(args[: len(known)]), iter(args[len(known) :])
        operands = [Undefined(v.aval) if lin else next(values) for v, lin in zip(jaxpr.invars, linear, strict=True)]
        if jaxpr.sized:
            env = dict(zip(known, args, strict=False))
            operands = [
                Undefined(resize(x.aval, lambda size: extent_of(env[size]))) if isinstance(x, Undefined) else x
                for x in operands
            ]
        cts = [next(given) if a else None for a in live]
        outs = [
            fit_cotangent(ct, v)
            for ct, v, lin in zip(backward_pass(jaxpr, operands, cts), jaxpr.invars, linear, strict=True)
            if lin
        ]
        if force:
            targets = [x.aval.cotangent() for x in operands if isinstance(x, Undefined)]
            outs = [instantiate(Zero(a)) if ct is None else ct for ct, a in zip(outs, targets, strict=True)]
        live_out[:] = [ct is not None for ct in outs]
        return [ct for ct in outs if ct is not None]

    avals = [v.aval for v in known]
    avals += [v.aval.cotangent() for v, a in zip(jaxpr.outvars, live, strict=True) if a]
    return stage(f, avals, "transpose"), tuple(live_out)


_memo: WeakMemo[tuple[Jaxpr, tuple[bool, ...]]] = WeakMemo(_transpose_jaxpr)


def transpose_jaxpr(
    jaxpr: Jaxpr, linear: Sequence[bool], live: Sequence[bool], force: bool = False
) -> tuple[Jaxpr, tuple[bool, ...]]:
    """The jaxpr of a linear jaxpr's transpose.

    Args:
        jaxpr: a jaxpr without constants, linear in some inputs.
        linear: which inputs these are.
        live: which outputs have a cotangent.
        force: whether zero cotangents are results too.

    Returns:
        A jaxpr from the other inputs and the live cotangents to the cotangents of the linear inputs, and which
        of them have one.
    """
    return _memo(jaxpr, tuple(linear), tuple(live), force)
