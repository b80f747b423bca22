"""Loops and branches that Python runs, since something in them is no native code: their bodies are programs of their
own, with native segments.

A body of little but calls of Python, or of a few numbers, stays where NumPy's backend has it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans.core.avals import ShapedArray
from functrans.core.finite import is_debugging
from functrans.core.jaxpr import Eqn, Jaxpr, SizeVar
from functrans.lax.control.region import owned
from functrans.lax.control.stepping import hoisted

FIRST_ROOM = 16
"""For how many steps there is room at first in what a loop of unknown length keeps; it doubles when it is full."""

Run = Callable[..., Sequence[Any]]
Compile = Callable[[Jaxpr], Run]


def bodies_of(eqn: Eqn) -> tuple[Jaxpr, ...]:
    """The jaxprs of a region."""
    params = eqn.params
    if "branches" in params:
        return tuple(params["branches"])
    return tuple([params[name] for name in ("body", "jaxpr") if isinstance(params.get(name), Jaxpr)])


def hosted(eqn: Eqn, compile_body: Compile) -> Callable[..., list[Any]] | None:
    """A region as a function of arrays, and first of its length where that is found at run time; None for no region."""
    params = eqn.params
    if is_debugging() or any(body.sized for body in bodies_of(eqn)):
        return None
    if eqn.prim.kind == "branch":
        return _branch([compile_body(b) for b in params["branches"]])
    if eqn.prim.kind == "call":
        step = compile_body(params["jaxpr"])
        return lambda *args: owned(step(*args), args)
    if "cond" in params:
        return _while(compile_body, **params)
    return _scan(compile_body, **params)


def _branch(functions: Sequence[Run]) -> Callable[..., list[Any]]:
    last = len(functions) - 1
    return lambda which, *args: list(functions[min(max(int(which), 0), last)](*args))


def _scan(
    compile_body: Compile,
    *,
    jaxpr: Jaxpr,
    n_consts: int,
    n_carry: int,
    length: Any,
    reverse: bool,
    counted: bool,
    **how: Any,
) -> Callable[..., list[Any]]:
    start = n_consts + n_carry
    results = jaxpr.out_avals[n_carry:]
    once, body = hoisted(jaxpr, n_consts)
    prologue, step = compile_body(once) if once.outvars else None, compile_body(body)

    def run(length: int, args: Sequence[Any]) -> list[Any]:
        args = args[counted:]
        consts, carry, xs = [*args[:n_consts]], args[n_consts:start], args[start:]
        ys = [np.empty((length, *a.shape), a.dtype) for a in results]
        if length and prologue is not None:
            consts += prologue(*consts)
        for i in range(length - 1, -1, -1) if reverse else range(length):
            outs = step(*consts, *carry, *[x[i] for x in xs])
            carry = outs[:n_carry]
            for y, value in zip(ys, outs[n_carry:], strict=True):
                y[i] = value
        return [*owned(carry, args), *ys]

    if isinstance(length, SizeVar):
        return lambda n, *args: run(int(n), args)
    return lambda *args: run(length, args)


def _while(
    compile_body: Compile, *, cond: Jaxpr, body: Jaxpr, n_cond: int, n_body: int, saves: int | None
) -> Callable[..., list[Any]]:
    n_carry = len(body.invars) - n_body
    kept: Sequence[ShapedArray] = body.out_avals[n_carry:]
    once, rest = hoisted(body, n_body)
    holds, step = compile_body(cond), compile_body(rest)
    prologue = compile_body(once) if once.outvars else None

    def run(*args: Any) -> list[Any]:
        tests, consts = args[:n_cond], [*args[n_cond : n_cond + n_body]]
        carry: Sequence[Any] = args[n_cond + n_body :]
        room, n = FIRST_ROOM, 0
        rows = [np.empty((room, *a.shape), a.dtype) for a in kept]
        more = bool(holds(*tests, *carry)[0])
        if more and prologue is not None:
            consts += prologue(*consts)
        while more:
            outs = step(*consts, *carry)
            carry = outs[:n_carry]
            if n == room and rows:
                room *= 2
                rows = [np.concatenate([row, np.empty_like(row)]) for row in rows]
            for row, value in zip(rows, outs[n_carry:], strict=True):
                row[n] = value
            n += 1
            more = bool(holds(*tests, *carry)[0])
        carries = owned(carry, args)
        return carries if saves is None else [*carries, n, n, *[row[:n].copy() for row in rows]]

    return run
