"""How loops run: a Python loop with the body's operations written into it.

What the body computes of constants alone is computed once, before the first step, if there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from functrans.core.avals import ShapedArray, shaped
from functrans.core.evaluate import Located, PythonSource, compiled, evaluate
from functrans.core.finite import is_debugging
from functrans.core.infix import only_unboxed, wrapped
from functrans.core.jaxpr import Atom, Eqn, Jaxpr, Var, rename, used_inputs
from functrans.core.overwriting import left_in_order, overwritten_carries, writes_last
from functrans.core.stage import stage
from functrans.core.structural import rebox_p
from functrans.lax.control.region import owned, runner
from functrans.util.cache import Bounded, WeakMemo
from functrans.util.lists import split as runs

LISTED_STEPS = 1 << 16
"""Up to so many steps, numbers that a loop of known length collects are put into a list first."""

FIRST_CAPACITY = 16
"""For how many steps there is room at first in what a loop of unknown length keeps; it doubles when it is full."""


def sliced(aval: ShapedArray) -> ShapedArray:
    """The aval of what a step sees of an operand that is scanned over."""
    return shaped(aval.shape[1:], aval.dtype, "numpy")


def stacked(aval: ShapedArray, length: Any) -> ShapedArray:
    return shaped((length, *aval.shape), aval.dtype)


def _hoisted(jaxpr: Jaxpr, n_consts: int, created: bool = True) -> tuple[Jaxpr, Jaxpr]:
    """What a body computes of its constants alone, and the body with that as further constants behind the others.

    With ``created`` that includes what it computes of nothing at all.
    """
    fixed: set[Atom] = {*jaxpr.invars[:n_consts], *jaxpr.constvars}
    once: list[Eqn] = []
    rest: list[Eqn] = []
    for eqn in jaxpr.eqns:
        read = [a for a in eqn.inputs if isinstance(a, Var)]
        if (read or created) and fixed.issuperset(read) and not eqn.effects and not jaxpr.sized:
            once.append(eqn)
            fixed.update(eqn.outs)
        else:
            rest.append(eqn)
    used: set[Atom] = {a for eqn in rest for a in eqn.inputs} | set(jaxpr.outvars)
    more = [out for eqn in once for out in eqn.outs if out in used]
    consts = jaxpr.invars[:n_consts]
    return (
        jaxpr.replace(invars=consts, eqns=once, outvars=more),
        jaxpr.replace(invars=[*consts, *more, *jaxpr.invars[n_consts:]], eqns=rest),
    )


hoisted: WeakMemo[tuple[Jaxpr, Jaxpr]] = WeakMemo(_hoisted)


# -- loops of known length ----------------------------------------------------------------------------------------


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


def indented(lines: Sequence[str]) -> str:
    """Lines as the body of a function."""
    return "".join([f"    {line}\n" for line in lines])


class Step:
    """The text of a body whose constants and carries keep their names from step to step.

    Attributes:
        held: the names of constants and carries; ``slices`` those of the other inputs.
        own: the carries that are written over: they have to begin in memory of the loop's own.
        lines: the body; ``advance`` takes the carries on, and ``ending`` brings them to what their types say.
    """

    def __init__(
        self, jaxpr: Jaxpr, xp: Any, n_consts: int, n_carry: int, plain: set[Var] | None = None, free: int = 0
    ) -> None:
        jaxpr = writes_last(jaxpr)
        consts, carry = jaxpr.invars[:n_consts], jaxpr.invars[n_consts : n_consts + n_carry]
        self.own = overwritten_carries(jaxpr, n_consts, n_carry)
        sums = dict(_sums(jaxpr, carry))
        # As results the constants are alive to the end, so that no other value gets their names.
        kept = len(jaxpr.outvars) - free
        source = PythonSource(
            jaxpr.replace(outvars=[*jaxpr.outvars[:kept], *consts, *jaxpr.outvars[kept:]]),
            xp,
            plain=plain or (),
            owned=[carry[k] for k in self.own],
            in_order=left_in_order(jaxpr, carry, self.own),
            unbounded=[v for sum_ in sums.values() for v in sum_],
            free=free,
            located=True,
            places=_places(jaxpr, carry),
        )
        self.globals = source.globals
        self.located = Located(source.stores, self.globals) if source.stores else None
        self.lines = source.lines
        self.outputs = [*source.outputs[:kept], *source.outputs[len(source.outputs) - free :]]
        used = used_inputs(jaxpr)
        # An input that is not used may share its name with another value.
        names = [name if u else f"_u{i}" for i, (name, u) in enumerate(zip(source.inputs, used, strict=True))]
        self.held, self.slices = names[: n_consts + n_carry], names[n_consts + n_carry :]
        self.carries = names[n_consts : n_consts + n_carry]
        self.carry = ", ".join(self.carries)
        moved = [(n, o) for n, o in zip(self.carries, self.outputs, strict=False) if n != o]
        self.advance = [f"{', '.join([n for n, _ in moved])} = {', '.join([o for _, o in moved])}"] if moved else []
        wrap = source.bind_global("wrapped", wrapped) if sums else ""
        self.ending = [f"{self.carries[k]} = {wrap}({self.carries[k]})" for k in sums]

    def beginning(self) -> list[str]:
        """Lines ahead of the first step, if there is one: the memory that is written over is the loop's own."""
        return [f"{name} = {name}.copy()" for name in (self.carries[k] for k in self.own)]

    def loop(self, head: str, body: Sequence[str]) -> list[str]:
        """The lines of the loop itself, and those behind it."""
        lines = [head, *(f"    {line}" for line in body or ["pass"])]
        if self.located is not None:
            lines = ["try:", *(f"    {line}" for line in lines), "except IndexError as _error:"]
            lines.append("    raise _located(_error, locals()) from None")
        return [*lines, *self.ending]

    def function(self, text: str, name: str) -> Callable[..., Any]:
        made: dict[str, Callable[..., Any]] = {}
        scope = self.scope(text)
        exec(compile(text, f"<functrans {name}>", "exec"), scope, made)
        return made["loop"]

    def scope(self, text: str) -> dict[str, Any]:
        """What the names of a text stand for that the loop is written into."""
        if self.located is None:
            return dict(self.globals)
        self.located.text = text
        return {**self.globals, "_located": self.located}


def _written_out(
    jaxpr: Jaxpr, xp: Any, n_consts: int, n_carry: int, n_ys: int, times: int, appended: tuple[bool, ...] = ()
) -> Callable[..., Any]:
    """A loop of some steps at a time: ``f(order, ahead, results, *operands)`` gives the carries.

    The slices come in the order of the steps where these are taken one at a time. Otherwise the j-th step of those that
    begin at i stands at ``i + j * ahead``. A result is an array, or, if ``appended``, the method of a list.
    """
    start = n_consts + n_carry
    step = Step(jaxpr, xp, n_consts, n_carry, numbers(jaxpr, start))
    n_xs = (len(jaxpr.invars) - start) // times
    places = ["_i", *(f"_i + {j} * _ahead" for j in range(1, times))]
    xs = [f"_x{i}" for i in range(n_xs)]
    ys = [f"_y{j}" for j in range(n_ys)]
    head = "for _i in _order:"
    lines = []
    if times == 1 and n_xs:
        places_read = n_ys > sum(appended)
        read, targets = (["_order", *xs], ["_i", *step.slices]) if places_read else (xs, step.slices)
        head = f"for {', '.join(targets)} in {'zip' if len(read) > 1 else ''}({', '.join(read)}):"
    else:
        given = [f"{x}[{place}]" for place in places for x in xs]
        lines += [f"{name} = {value}" for name, value in zip(step.slices, given, strict=True)]
    lines += step.lines
    results = [
        f"{y}({{}})" if any(appended) and appended[j] else f"{y}[{place}] = {{}}"
        for place in places
        for j, y in enumerate(ys)
    ]
    lines += [write.format(out) for write, out in zip(results, step.outputs[n_carry:], strict=True)]
    lines += step.advance
    names = ", ".join(["_order", "_ahead", *ys, *step.held, *xs])
    text = [*step.beginning(), *step.loop(head, lines), f"return [{step.carry}]"]
    return step.function(f"def loop({names}):\n{indented(text)}", "scan")


written_out: WeakMemo[Callable[..., Any]] = WeakMemo(_written_out)


def _places(jaxpr: Jaxpr, carry: Sequence[Var]) -> dict[Var, Var]:
    """Which carry each next carry, and what is the same number in another box, comes in the place of."""
    places = {out: v for v, out in zip(carry, jaxpr.outvars, strict=False) if isinstance(out, Var) and out is not v}
    for eqn in reversed(jaxpr.eqns):
        if eqn.prim is rebox_p and eqn.outs[0] in places and isinstance(eqn.inputs[0], Var):
            places.setdefault(eqn.inputs[0], places[eqn.outs[0]])
    return places


def _sums(jaxpr: Jaxpr, carry: Sequence[Var]) -> Iterator[tuple[int, list[Var]]]:
    """Python integers that each step only adds to, and which nothing else reads: with the sums on the way."""
    readers: dict[Any, list[Any]] = {}
    for eqn in jaxpr.eqns:
        for a in eqn.inputs:
            readers.setdefault(a, []).append(eqn)
    for out in jaxpr.outvars:
        readers.setdefault(out, []).append(None)
    for k, first in enumerate(carry):
        v: Any = first
        passed: list[Var] = []
        while v.aval.shape == () and v.aval.dtype == np.int64 and len(readers.get(v, ())) == 1:
            (eqn,) = readers[v]
            if eqn is None:
                if v is jaxpr.outvars[k] and passed and first.aval.box == "python":
                    yield k, passed
                break
            place = eqn.inputs.index(v)
            if not (eqn.prim is rebox_p or eqn.prim.scalar == "add" or (eqn.prim.scalar == "subtract" and place == 0)):
                break
            (v,) = eqn.outs
            passed.append(v)


def numbers(jaxpr: Jaxpr, start: int) -> set[Var]:
    """The slices that the body reads as Python numbers alone."""
    unboxed = only_unboxed(jaxpr.eqns, jaxpr.outvars)
    return {v for v in jaxpr.invars[start:] if v in unboxed and v.aval.shape == ()}


def loop(xp: Any, **params: Any) -> Callable[..., list[Any]]:
    """``scan`` as a Python function of arrays."""
    return _kept(_loop, xp, params)


def _kept(make: Callable[..., Callable[..., list[Any]]], xp: Any, params: dict[str, Any]) -> Callable[..., list[Any]]:
    key = (make, xp, is_debugging(), *params.values())
    return _runners.get(key) or _runners.put(key, make(xp, is_debugging(), **params))


_runners: Bounded[Callable[..., list[Any]]] = Bounded(512)


def _loop(
    xp: Any,
    debugging: bool,
    *,
    jaxpr: Jaxpr,
    n_consts: int,
    n_carry: int,
    length: int,
    reverse: bool,
    unroll: int,
    counted: bool,
    **how: Any,
) -> Callable[..., list[Any]]:
    start = n_consts + n_carry
    results = jaxpr.out_avals[n_carry:]
    order = range(length - 1, -1, -1) if reverse else range(length)
    times = max(min(unroll, length), 1)
    whole = length - length % times if times > 1 else 0
    ahead = -1 if reverse else 1
    rest = slice(length - whole - 1, None, -1) if reverse else slice(whole, None)
    if debugging:
        return _checked(runner(jaxpr, xp), n_consts, n_carry, order, results, xp, counted)
    once, step = hoisted(jaxpr, n_consts)
    n_fixed = n_consts + len(once.outvars)
    unboxed = numbers(step, n_fixed + n_carry)
    listed = [v in unboxed for v in step.invars[n_fixed + n_carry :]] if unboxed else []
    # Numbers are put into a list faster than into an array; it takes several times the memory until the loop is done.
    appended = tuple(a.shape == () and xp is np and times == 1 and length <= LISTED_STEPS for a in results)
    one = written_out(step, xp, n_fixed, n_carry, len(results), 1, appended)
    several = (
        written_out(unrolled(step, n_fixed, n_carry, times), xp, n_fixed, n_carry, len(results), times)
        if times > 1
        else one
    )
    prologue = compiled(once, xp) if once.outvars else None

    def array(numbers: list[Any], aval: ShapedArray) -> Any:
        return np.array(numbers[::ahead], aval.dtype)

    def run(*args: Any) -> list[Any]:
        args = args[counted:]
        consts, carry = args[:n_consts], args[n_consts:start]
        xs: Sequence[Any] = args[start:]
        if not length:
            return [*owned(carry, args), *[xp.empty((0, *a.shape), a.dtype) for a in results]]
        if prologue is not None:
            consts = (*consts, *prologue(*consts))
        if listed:
            xs = [x.tolist() if now else x for x, now in zip(xs, listed, strict=True)]
        ys: list[Any] = [
            [] if now else xp.empty((length, *a.shape), a.dtype) for a, now in zip(results, appended, strict=True)
        ]
        if times > 1:
            carry = several(order[:whole:times], ahead, *ys, *consts, *carry, *xs)
            if whole < length:
                xs = [x[rest] for x in xs]
        elif reverse:
            xs = [x[::-1] for x in xs]
        if whole < length:
            into = [y.append if now else y for y, now in zip(ys, appended, strict=True)]
            carry = one(order[whole:], ahead, *into, *consts, *carry, *xs)
        return [*owned(carry, args), *(array(y, a) if type(y) is list else y for y, a in zip(ys, results, strict=True))]

    return run


def _checked(
    step: Callable[..., Any],
    n_consts: int,
    n_carry: int,
    order: range,
    results: Sequence[ShapedArray],
    xp: Any,
    counted: bool,
) -> Callable[..., list[Any]]:
    """The loop by calls of a step that looks at every value."""
    start = n_consts + n_carry

    def run(*args: Any) -> list[Any]:
        args = args[counted:]
        carry: Sequence[Any] = args[n_consts:start]
        ys = [xp.empty((len(order), *a.shape), a.dtype) for a in results]
        for i in order:
            outs = step(*args[:n_consts], *carry, *[x[i] for x in args[start:]])
            carry = outs[:n_carry]
            for y, value in zip(ys, outs[n_carry:], strict=True):
                y[i] = value
        return [*owned(carry, args), *ys]

    return run


# -- loops of unknown length --------------------------------------------------------------------------------------


def _with_test(body: Jaxpr, cond: Jaxpr, n_consts: int, n_cond: int, n_carry: int) -> Jaxpr:
    """A step followed by the test whether there is another: constants of both, body first, then carries."""
    tests = cond.invars[:n_cond]
    more, (holds,) = rename(cond, [*tests, *body.outvars[:n_carry]])
    invars = [*body.invars[:n_consts], *tests, *body.invars[n_consts:]]
    return Jaxpr(
        invars,
        [*body.eqns, *more],
        [*body.outvars, holds],
        [*body.constvars, *cond.constvars],
        [*body.consts, *cond.consts],
    )


def _written_while(jaxpr: Jaxpr, xp: Any, n_consts: int, n_carry: int, counting: bool) -> Callable[..., Any]:
    """The loop, begun once it is known that there is a first step: ``f(kept, *operands)``.

    It gives the carries, the number of steps, and what is kept of each, in the lists of an array that ``kept`` is.
    """
    step = Step(jaxpr, xp, n_consts, n_carry, free=1)
    lines = list(step.lines)
    kept = [f"_s{j}" for j in range(len(jaxpr.outvars) - n_carry - 1)]
    if kept:
        lines += ["if _n == _room:", "    _room = 2 * _room"]
        lines += [f"    {s} = _grown({s}, _room)" for s in kept]
        lines += [f"{s}[_n] = {out}" for s, out in zip(kept, step.outputs[n_carry:], strict=False)]
    if counting:
        lines.append("_n += 1")
    holds = step.outputs[-1]
    if holds in step.carries:
        lines.append(f"_holds = {holds}")
        holds = "_holds"
    lines += step.advance
    lines.append(f"if not {holds}: break")
    names = ", ".join(["_grown", *kept, *step.held])
    text = [*step.beginning(), f"_n, _room = 0, {FIRST_CAPACITY}", *step.loop("while True:", lines)]
    text.append(f"return [{step.carry}], _n, [{', '.join(kept)}]")
    return step.function(f"def loop({names}):\n{indented(text)}", "while")


with_test: WeakMemo[Jaxpr] = WeakMemo(_with_test)
written_while: WeakMemo[Callable[..., Any]] = WeakMemo(_written_while)


def while_loop(xp: Any, **params: Any) -> Callable[..., list[Any]]:
    """``while`` as a Python function of arrays."""
    return _kept(_while_loop, xp, params)


def _while_loop(
    xp: Any, debugging: bool, *, cond: Jaxpr, body: Jaxpr, n_cond: int, n_body: int, saves: int | None
) -> Callable[..., list[Any]]:
    n_carry = len(body.invars) - n_body
    kept = body.out_avals[n_carry:]

    def empty(room: int) -> list[Any]:
        return [xp.empty((room, *a.shape), a.dtype) for a in kept]

    def grown(array: Any, room: int) -> Any:
        new = xp.empty((room, *array.shape[1:]), array.dtype)
        new[: len(array)] = array
        return new

    if debugging:
        return _checked_while(runner(cond, xp), runner(body, xp), n_cond, n_body, n_carry, empty, saves)
    holds = compiled(cond, xp)
    once, step = hoisted(with_test(body, cond, n_body, n_cond, n_carry), n_cond + n_body)
    run_on = written_while(step, xp, n_cond + n_body + len(once.outvars), n_carry, saves is not None)
    prologue = compiled(once, xp) if once.outvars else None

    def run(*args: Any) -> list[Any]:
        tests, consts, carry = args[:n_cond], args[n_cond : n_cond + n_body], args[n_cond + n_body :]
        if holds(*tests, *carry)[0]:
            consts = (*consts, *tests)
            if prologue is not None:
                consts = (*consts, *prologue(*consts))
            carry, steps, rows = run_on(grown, *empty(FIRST_CAPACITY), *consts, *carry)
        else:
            steps, rows = 0, empty(0)
        carries = owned(carry, args)
        return carries if saves is None else [*carries, steps, steps, *[row[:steps] for row in rows]]

    return run


def _checked_while(
    holds: Callable[..., Any],
    step: Callable[..., Any],
    n_cond: int,
    n_body: int,
    n_carry: int,
    empty: Callable[[int], list[Any]],
    saves: int | None,
) -> Callable[..., list[Any]]:
    """The loop by calls of a step that looks at every value."""

    def run(*args: Any) -> list[Any]:
        tests, consts = args[:n_cond], args[n_cond : n_cond + n_body]
        carry: Sequence[Any] = args[n_cond + n_body :]
        kept: list[Sequence[Any]] = []
        while holds(*tests, *carry)[0]:
            outs = step(*consts, *carry)
            carry = outs[:n_carry]
            kept.append(outs[n_carry:])
        carries = owned(carry, args)
        if saves is None:
            return carries
        rows = empty(len(kept))
        for i, values in enumerate(kept):
            for row, value in zip(rows, values, strict=True):
                row[i] = value
        return [*carries, len(kept), len(kept), *rows]

    return run
