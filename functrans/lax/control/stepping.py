"""How ``scan`` runs: a Python loop around its compiled body."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from functrans.core.avals import ShapedArray, shaped
from functrans.core.evaluate import PythonSource, evaluate
from functrans.core.finite import is_debugging
from functrans.core.jaxpr import Jaxpr, used_inputs
from functrans.core.stage import stage
from functrans.lax.control.region import owned, runner
from functrans.util.cache import WeakMemo
from functrans.util.lists import split as runs


def sliced(aval: ShapedArray) -> ShapedArray:
    """The aval of what a step sees of an operand that is scanned over."""
    return shaped(aval.shape[1:], aval.dtype, "numpy")


def stacked(aval: ShapedArray, length: Any) -> ShapedArray:
    return shaped((length, *aval.shape), aval.dtype)


def _unrolled(jaxpr: Jaxpr, n_consts: int, n_carry: int, times: int) -> Jaxpr:
    """Some steps one after another; the slices of a step stand together, as do its results."""
    in_avals = list(jaxpr.in_avals)
    xs_avals = in_avals[n_consts + n_carry :]

    def steps(*args: Any) -> list[Any]:
        consts, carry, *xs = runs(args, [n_consts, n_carry, *[len(xs_avals)] * (times - 1)])
        ys: list[Any] = []
        for x in xs:
            outs = evaluate(jaxpr, [*consts, *carry, *x])
            carry = outs[:n_carry]
            ys.extend(outs[n_carry:])
        return [*carry, *ys]

    return stage(steps, [*in_avals[: n_consts + n_carry], *xs_avals * times], "scan")


unrolled: WeakMemo[Jaxpr] = WeakMemo(_unrolled)


def _written_out(jaxpr: Jaxpr, xp: Any, n_consts: int, n_carry: int) -> Callable[..., Any]:
    """The loop with the body's operations written into it: ``f(order, results, *operands)`` gives the carries."""
    source = PythonSource(jaxpr, xp)
    start, n = n_consts + n_carry, len(jaxpr.invars)
    ys = [f"_y{j}" for j in range(len(jaxpr.outvars) - n_carry)]
    # The body writes over the names of its inputs once it has used them, so that every step sets them again.
    given = [f"_a{i}" if i < start else f"_a{i}[_i]" for i in range(n)]
    used = used_inputs(jaxpr)
    lines = [f"{name} = {value}" for name, value, u in zip(source.inputs, given, used, strict=True) if u]
    lines += source.lines
    lines += [f"{y}[_i] = {out}" for y, out in zip(ys, source.outputs[n_carry:], strict=True)]
    carry = ", ".join(given[n_consts:start])
    if n_carry:
        lines.append(f"{carry} = {', '.join(source.outputs[:n_carry])}")
    body = "".join(f"        {line}\n" for line in lines) or "        pass\n"
    names = ", ".join(["_order", *ys, *(f"_a{i}" for i in range(n))])
    text = f"def loop({names}):\n    for _i in _order:\n{body}    return [{carry}]\n"
    made: dict[str, Callable[..., Any]] = {}
    exec(compile(text, "<functrans scan>", "exec"), dict(source.globals), made)
    return made["loop"]


written_out: WeakMemo[Callable[..., Any]] = WeakMemo(_written_out)


def _inlined(
    jaxpr: Jaxpr, xp: Any, n_consts: int, n_carry: int, length: int, reverse: bool
) -> Callable[..., list[Any]]:
    function = written_out(jaxpr, xp, n_consts, n_carry)
    results = [stacked(a, length) for a in jaxpr.out_avals[n_carry:]]
    order = range(length - 1, -1, -1) if reverse else range(length)

    def run(*args: Any) -> list[Any]:
        ys = [xp.empty(a.shape, a.dtype) for a in results]
        return [*owned(function(order, *ys, *args), args), *ys]

    return run


def loop(
    xp: Any, *, jaxpr: Jaxpr, n_consts: int, n_carry: int, length: int, reverse: bool, unroll: int
) -> Callable[..., list[Any]]:
    """The loop as a Python function of arrays."""
    if min(unroll, length) <= 1 and not is_debugging():
        return _inlined(jaxpr, xp, n_consts, n_carry, length, reverse)
    step = runner(jaxpr, xp)
    times = max(min(unroll, length), 1)
    several = runner(unrolled(jaxpr, n_consts, n_carry, times), xp) if times > 1 else step
    results = [stacked(a, length) for a in jaxpr.out_avals[n_carry:]]
    order = range(length - 1, -1, -1) if reverse else range(length)
    whole = length - length % times if times > 1 else 0
    start, m = n_consts + n_carry, len(results)

    def run(*args: Any) -> list[Any]:
        consts, xs = args[:n_consts], args[start:]
        carry: Sequence[Any] = args[n_consts:start]
        ys = [xp.empty(a.shape, a.dtype) for a in results]
        for k in range(0, whole, times):
            indices = order[k : k + times]
            outs = several(*consts, *carry, *[x[i] for i in indices for x in xs])
            carry = outs[:n_carry]
            for j, i in enumerate(indices):
                for y, value in zip(ys, outs[n_carry + j * m :], strict=False):
                    y[i] = value
        for i in order[whole:]:
            outs = step(*consts, *carry, *[x[i] for x in xs])
            if not m:
                carry = outs
                continue
            carry = outs[:n_carry]
            for y, value in zip(ys, outs[n_carry:], strict=True):
                y[i] = value
        return [*owned(carry, args), *ys]

    return run
