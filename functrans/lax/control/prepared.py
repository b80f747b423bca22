"""Calls of control flow outside of any transformation, prepared: one generated function does a whole call.

It compares what the functions capture and the types of the operands with those of the call that it was made for, runs
the loop with the body written into it, and builds the result. A call finds it by the code of its functions, and where
nothing fits goes the long way, which prepares the next call like it.
"""

from __future__ import annotations

import types
import weakref
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from functrans.config import ordinary
from functrans.core.avals import ShapedArray
from functrans.core.callees import MISSING
from functrans.core.capture import Contents, FrozenArray, Place, attribute_of, same
from functrans.core.dtypes import is_extended
from functrans.core.evaluate import compiled
from functrans.core.infix import WIDTH
from functrans.core.jaxpr import Jaxpr
from functrans.core.trace import aval_of, current_trace
from functrans.core.tree import tree_structure, treedef_is_leaf
from functrans.core.tree_compile import compile_builder, compile_matcher, matching
from functrans.core.treedef import PyTreeDef
from functrans.lax.control.body import Settled, Traced
from functrans.lax.control.region import fit
from functrans.lax.control.stepping import LISTED_STEPS, Step, hoisted, numbers, with_test
from functrans.util.cache import Bounded

MISS: Any = object()
"""What a prepared call returns that does not serve."""
NOTHING = tree_structure(None)
_KEPT = 8
_PYTHON = {"b": bool, "i": int, "f": float, "c": complex}

_prepared: Bounded[list[Callable[..., Any]]] = Bounded(512)


def code_of(f: Any) -> Hashable:
    """What a function is found by: its code, or a ufunc itself; None for what is not prepared."""
    kind = type(f)
    if kind is types.FunctionType:
        return f.__code__  # type: ignore[no-any-return]
    if kind is types.MethodType:
        return getattr(f.__func__, "__code__", None)
    return f if kind is np.ufunc else None


def run_prepared(key: Hashable, *args: Any) -> Any:
    """The result of a call, MISS where none like it was prepared."""
    found = _prepared.get(key)
    if found is not None and current_trace() is None and ordinary():
        for run in found:
            result = run(*args)
            if result is not MISS:
                return result
    return MISS


def may_prepare(functions: Sequence[Any], traced: Sequence[Traced | None], jaxprs: Sequence[Jaxpr]) -> bool:
    """Whether a call can be prepared that found these bodies again."""
    if current_trace() is not None or not ordinary() or None in traced:
        return False
    if any(code_of(f) is None or hasattr(f, "rebuild") for f in functions):
        return False
    if any(type(f) is types.MethodType and not hasattr(f.__self__, "__weakref__") for f in functions):
        return False
    return not any(j.effects or j.sized or any(is_extended(v.aval.dtype) for v in j.invars) for j in jaxprs)


class Text:
    """The source of a prepared call: first tests that end it with ``MISS``, then the call itself."""

    def __init__(self, parameters: str) -> None:
        self.parameters = parameters
        self.scope: dict[str, Any] = {"_MISS": MISS, "_ndarray": np.ndarray, "_function": types.FunctionType}
        self.scope["_method"] = types.MethodType
        self.tests: list[str] = []
        self.lines: list[str] = []
        self.count = 0
        self.step: Step | None = None

    def bind(self, value: Any) -> str:
        name = f"_q{self.count}"
        self.count += 1
        self.scope[name] = value
        return name

    def miss(self, *conditions: str) -> None:
        self.tests.append(f"if {' or '.join(conditions)}: return _MISS")

    def local(self, expression: str) -> str:
        name = f"_g{self.count}"
        self.count += 1
        self.tests.append(f"{name} = {expression}")
        return name

    # -- tests --------------------------------------------------------------------------------------------------------

    def captures(self, f: str, function: Any, traced: Traced) -> list[str]:
        """Compare what a function captures; the names of the constants that come before its operands."""
        consts = [self.bind(c) for c in traced.consts]
        if isinstance(function, np.ufunc):
            self.miss(f"{f} is not {self.bind(function)}")
            return consts
        bound = ""
        if isinstance(function, types.MethodType):
            self.miss(f"type({f}) is not _method", f"{self.bind(weakref.ref(function.__self__))}() is not {f}.__self__")
            bound = self.local(f"{f}.__self__")
            f, function = self.local(f"{f}.__func__"), function.__func__
        self.miss(f"type({f}) is not _function", f"{f}.__globals__ is not {self.bind(function.__globals__)}")
        for place, value in traced.guards:
            old = self.bind(value)
            reading = _reading(self, bound if place.kind == "attribute" else f, place)
            if isinstance(value, (bool, int, float, complex, str, bytes, Contents, FrozenArray)):
                now = self.local(reading)
                self.miss(f"{now} is not {old} and not {self.bind(same)}({old}, {now})")
            else:
                self.miss(f"{reading} is not {old}")
        used = iter(traced.used)
        for hidden in traced.hidden:
            now = self.local(_reading(self, f, hidden.place))
            if hidden.treedef is None:
                self.array(now, hidden.leaves[0])
                consts += [now] * next(used)
                continue
            arrays = self.local(f"{self.bind(hidden.fits)}({now})")
            self.miss(f"{arrays} is None")
            n = sum(isinstance(leaf, ShapedArray) for leaf in hidden.leaves)
            consts += [self.local(f"{arrays}[{j}]") for j in range(n) if next(used)]
        return consts

    def array(self, x: str, aval: ShapedArray) -> None:
        dtype = self.bind(aval.dtype)
        self.miss(f"type({x}) is not _ndarray", f"{x}.dtype is not {dtype}", f"{x}.shape != {aval.shape!r}")

    def leaf(self, x: str, aval: ShapedArray) -> None:
        """Compare the type of an operand."""
        if aval.box == "array":
            self.array(x, aval)
        elif aval.box == "numpy":
            self.miss(f"type({x}) is not {self.bind(aval.dtype.type)}")
        else:
            kind = _PYTHON[aval.dtype.kind]
            self.miss(f"type({x}) is not {kind.__name__}")
            if kind is int:
                self.miss(f"not {-WIDTH} <= {x} < {WIDTH}")

    def slices(self, x: str, aval: ShapedArray, steps: str | None) -> str:
        """Compare the type of an operand that is stepped along; the name of the number of steps."""
        self.miss(f"type({x}) is not _ndarray", f"{x}.dtype is not {self.bind(aval.dtype)}")
        self.miss(f"{x}.ndim != {aval.ndim}", *[f"{x}.shape[1:] != {aval.shape[1:]!r}"] * (aval.ndim > 1))
        if steps is not None:
            self.miss(f"len({x}) != {steps}")
            return steps
        return self.local(f"len({x})")

    def leaves(self, tree: str, treedef: PyTreeDef) -> list[str]:
        """Take the operands apart; the names of the leaves."""
        self.tests.append(f"tree = {tree}")
        found = matching(treedef)
        if found is None:
            names = [f"t{i}" for i in range(treedef.num_leaves)]
            all_of = self.local(f"{self.bind(compile_matcher(treedef))}(tree)")
            self.miss(f"{all_of} is None")
            if names:
                self.tests.append(f"{', '.join(names)}, = {all_of}")
            return names
        lines, names, scope = found
        self.scope |= scope
        self.tests += [line.replace("return None", "return _MISS") for line in lines]
        return names

    # -- operands and results -----------------------------------------------------------------------------------------

    def fitted(self, x: str, now: ShapedArray, aval: ShapedArray) -> str:
        """The expression of an operand in the type that the body asks for."""
        if now == aval:
            return x
        if now.box == "python" and aval.box == "python" and now.dtype.kind + aval.dtype.kind == "if":
            return f"float({x})"
        if now.box == "python" and aval.box == "numpy":
            return f"{self.bind(aval.dtype.type)}({x})"
        return f"{self.bind(fit)}({x}, {self.bind(aval)})"

    def own(self, x: str, aval: ShapedArray, others: Sequence[tuple[str, ShapedArray]]) -> None:
        """Copy a result that may share memory with something else."""
        alike = [f" or {x} is {other}" for other, a in others if a == aval]
        self.lines.append(f"if {x}.base is not None or not {x}.flags.writeable{''.join(alike)}: {x} = {x}.copy()")

    def owned(self, xs: Sequence[str], avals: Sequence[ShapedArray], others: Sequence[tuple[str, ShapedArray]]) -> None:
        known = list(others)
        for x, aval in zip(xs, avals, strict=True):
            if aval.box == "array":
                self.own(x, aval, known)
                known.append((x, aval))

    def built(self, treedef: PyTreeDef, leaves: Sequence[str]) -> str:
        """The expression of a result."""
        if treedef_is_leaf(treedef):
            return leaves[0]
        if treedef == NOTHING:
            return "None"
        return f"{self.bind(compile_builder(treedef))}([{', '.join(leaves)}])"

    def keep(self, key: Hashable) -> None:
        """Compile the text, and find it by a key from now on."""
        tests = "".join([f"        {line}\n" for line in self.tests])
        body = "".join([f"    {line}\n" for line in self.lines])
        text = (
            f"def prepared({self.parameters}):\n    try:\n{tests}"
            f"    except (KeyError, ValueError, TypeError, IndexError):\n        return _MISS\n{body}"
        )
        made: dict[str, Any] = {}
        scope = self.scope if self.step is None else {**self.step.scope(text), **self.scope}
        exec(compile(text, "<functrans prepared>", "exec"), scope, made)
        kept = _prepared.put(key, [])
        kept.insert(0, made["prepared"])
        del kept[_KEPT:]


def _reading(text: Text, f: str, place: Place) -> str:
    """The expression of a captured value; see ``Captured.read``."""
    kind, key = place
    if kind == "cell":
        return f"{f}.__closure__[{key}].cell_contents"
    if kind == "global":
        return f"{f}.__globals__.get({key!r}, {text.bind(MISSING)})"
    if kind == "default":
        return f"{f}.__defaults__[{key}]"
    if kind == "kwdefault":
        return f"{f}.__kwdefaults__[{key!r}]"
    if kind == "attribute":
        return f"{text.bind(attribute_of)}({f}, {key!r})"
    if isinstance(key.owner, dict):
        return f"{text.bind(key.owner)}.get({key.name!r}, {text.bind(MISSING)})"
    return f"{text.bind(key.owner)}.cell_contents"


# -- loops ------------------------------------------------------------------------------------------------------------


def _begin(text: Text, step: Step, operands: Sequence[str]) -> None:
    """Give constants and carries their names."""
    pairs = [(n, x) for n, x in zip(step.held, operands, strict=True) if n != x]
    if pairs:
        text.lines.append(f"{', '.join([n for n, _ in pairs])} = {', '.join([x for _, x in pairs])}")
    text.lines += step.beginning()
    text.step = step


def _finish(
    text: Text, step: Step, avals: Sequence[ShapedArray], others: Sequence[tuple[str, ShapedArray]]
) -> list[str]:
    """Results own their memory; the names of the last carries."""
    mine = {k: (step.carries[k], avals[k]) for k in step.own}
    others = [*others, *mine.values()]
    rest = [k for k in range(len(avals)) if k not in mine]
    text.owned([step.carries[k] for k in rest], [avals[k] for k in rest], others)
    return step.carries


def _constants(text: Text, jaxpr: Jaxpr, consts: list[str], steps: str) -> tuple[Jaxpr, list[str]]:
    """What the body computes of constants alone, computed once; the rest of the body, and its constants."""
    once, step = hoisted(jaxpr, len(consts))
    if not once.outvars:
        return step, consts
    text.miss(f"not ({steps})")
    names = [f"_h{i}" for i in range(len(once.outvars))]
    text.lines.append(f"{', '.join(names)}, = {text.bind(compiled(once, np))}({', '.join(consts)})")
    return step, [*consts, *names]


def _arrays(names: Sequence[str], avals: Sequence[ShapedArray]) -> list[tuple[str, ShapedArray]]:
    return [(n, a) for n, a in zip(names, avals, strict=True) if a.box == "array"]


def prepare_scan(
    key: Hashable,
    f: Any,
    body: Settled,
    init: Any,
    xs: Any,
    n: int,
    reverse: bool,
    at_once: Callable[..., Any] | None = None,
) -> None:
    """Prepare ``scan``, as a function of ``f, init, xs, length``.

    Args:
        at_once: takes all steps of constants, carries and slices together, if none needs another.
    """
    assert body.traced is not None
    text = Text("_f, _init, _xs, _length")
    consts = text.captures("_f", f, body.traced)
    carry_tree, tree = tree_structure(init), tree_structure((init, xs))
    leaves = text.leaves("(_init, _xs)", tree)
    k = len(body.carry)
    now = [aval_of(x) for x in tree.flatten_up_to((init, xs))]
    for x, aval in zip(leaves[:k], now[:k], strict=True):
        text.leaf(x, aval)
    steps: str | None = None
    for x, aval in zip(leaves[k:], now[k:], strict=True):
        steps = text.slices(x, aval, steps)
    if steps is None:
        text.miss("type(_length) is not int", "_length < 0")
        steps = "_length"
    else:
        text.miss(f"_length is not None and (type(_length) is not int or _length != {steps})")
    results = body.jaxpr.out_avals[k:]
    operands = _arrays([*consts, *leaves], [*body.jaxpr.in_avals[: len(consts)], *now])
    given = [text.fitted(x, a, b) for x, a, b in zip(leaves, now, body.carry, strict=False)]
    ys = [f"_y{j}" for j in range(len(results))]
    if at_once is not None:
        text.miss(f"{steps} != {n}")
        outs = [*(f"_r{j}" for j in range(k)), *ys]
        call = f"{text.bind(at_once)}({', '.join([*consts, *given, *leaves[k:]])})"
        text.lines.append(f"{', '.join(outs)}, = {call}" if outs else call)
        stacked = [ShapedArray((n, *a.shape), a.dtype) for a in results]
        text.owned(outs, [*body.carry, *stacked], operands)
        carries = outs[:k]
    else:
        if any(a.shape == () for a in results) or len(now) > k:
            text.miss(f"{steps} > {LISTED_STEPS}")
        jaxpr, consts = _constants(text, body.jaxpr, consts, steps)
        step = _steps(text, jaxpr, consts, given, leaves[k:], results, steps, reverse)
        carries = _finish(text, step, body.carry, operands)
    ys_tree = body.out_tree.children()[1]
    text.lines.append(f"return {text.built(carry_tree, carries)}, {text.built(ys_tree, ys)}")
    text.keep(key)


def _steps(
    text: Text,
    jaxpr: Jaxpr,
    consts: Sequence[str],
    carry: Sequence[str],
    xs: Sequence[str],
    results: Sequence[ShapedArray],
    steps: str,
    reverse: bool,
) -> Step:
    """The loop along slices, with its results in ``_y0``, ``_y1``, …"""
    start = len(consts) + len(carry)
    unboxed = numbers(jaxpr, start)
    step = Step(jaxpr, np, len(consts), len(carry), unboxed)
    _begin(text, step, [*consts, *carry])
    rows = [a.shape != () for a in results]
    order = f"range({steps} - 1, -1, -1)" if reverse else f"range({steps})"
    sources = [f"{x}[::-1]" if reverse else x for x in xs]
    sources = [f"{s}.tolist()" if v in unboxed else s for s, v in zip(sources, jaxpr.invars[start:], strict=True)]
    targets = list(step.slices)
    if any(rows) or not sources:
        sources, targets = [order, *sources], ["_i", *targets]
    for j, a in enumerate(results):
        dtype = text.bind(a.dtype)
        if rows[j]:
            text.lines.append(f"_y{j} = {text.bind(np.empty)}(({steps}, {', '.join(map(str, a.shape))},), {dtype})")
        else:
            text.lines += [f"_y{j} = []", f"_a{j} = _y{j}.append"]
    head = sources[0] if len(sources) == 1 else f"zip({', '.join(sources)})"
    inside = list(step.lines)
    for j, out in enumerate(step.outputs[len(carry) :]):
        inside.append(f"_y{j}[_i] = {out}" if rows[j] else f"_a{j}({out})")
    inside += step.advance
    text.lines += step.loop(f"for {', '.join(targets)} in {head}:", inside)
    for j, a in enumerate(results):
        if not rows[j]:
            values = f"_y{j}[::-1]" if reverse else f"_y{j}"
            text.lines.append(f"_y{j} = {text.bind(np.array)}({values}, {text.bind(a.dtype)})")
    return step


def prepare_fori(key: Hashable, f: Any, body: Settled, init: Any) -> None:
    """Prepare ``fori_loop`` between any two bounds, as a function of ``f, lower, upper, init``."""
    assert body.traced is not None
    text = Text("_f, _lower, _upper, _init")
    consts = text.captures("_f", f, body.traced)
    text.miss("type(_lower) is not int", "type(_upper) is not int", f"not {-WIDTH} <= _lower", f"not _upper < {WIDTH}")
    tree = tree_structure(init)
    leaves = text.leaves("_init", tree)
    now = [aval_of(x) for x in tree.flatten_up_to(init)]
    for x, aval in zip(leaves, now, strict=True):
        text.leaf(x, aval)
    operands = _arrays([*consts, *leaves], [*body.jaxpr.in_avals[: len(consts)], *now])
    jaxpr, consts = _constants(text, body.jaxpr, consts, "_lower < _upper")
    start = len(consts) + len(leaves)
    step = Step(jaxpr, np, len(consts), len(leaves), numbers(jaxpr, start))
    _begin(text, step, [*consts, *[text.fitted(x, a, b) for x, a, b in zip(leaves, now, body.carry, strict=True)]])
    text.lines += step.loop(f"for {step.slices[0]} in range(_lower, _upper):", [*step.lines, *step.advance])
    carries = _finish(text, step, body.carry, operands)
    text.lines.append(f"return {text.built(tree, carries)}")
    text.keep(key)


def prepare_while(key: Hashable, cond: Any, f: Any, test: Traced, holds: Jaxpr, body: Settled, init: Any) -> None:
    """Prepare ``while_loop``, as a function of ``cond, body, init``; ``holds`` is the condition's jaxpr."""
    assert body.traced is not None
    text = Text("_cond, _f, _init")
    tests = text.captures("_cond", cond, test)
    consts = text.captures("_f", f, body.traced)
    tree = tree_structure(init)
    leaves = text.leaves("_init", tree)
    now = [aval_of(x) for x in tree.flatten_up_to(init)]
    for x, aval in zip(leaves, now, strict=True):
        text.leaf(x, aval)
    avals = [*holds.in_avals[: len(tests)], *body.jaxpr.in_avals[: len(consts)], *now]
    operands = _arrays([*tests, *consts, *leaves], avals)
    k = len(leaves)
    both = with_test(body.jaxpr, holds, len(consts), len(tests), k)
    once, jaxpr = hoisted(both, len(consts) + len(tests))
    fixed = [*consts, *tests, *(f"_h{i}" for i in range(len(once.outvars)))]
    step = Step(jaxpr, np, len(fixed), k, free=1)
    given = [text.fitted(x, a, b) for x, a, b in zip(leaves, now, body.carry, strict=True)]
    _begin(text, step, [*(n if n in (*consts, *tests) else "None" for n in fixed), *given])
    text.lines.append(f"if {text.bind(compiled(holds, np))}({', '.join([*tests, *step.carries])})[0]:")
    if once.outvars:
        hoisted_names = step.held[len(consts) + len(tests) : len(fixed)]
        call = f"{text.bind(compiled(once, np))}({', '.join([*consts, *tests])})"
        text.lines.append(f"    {', '.join(hoisted_names)}, = {call}")
    inside = list(step.lines)
    again = step.outputs[-1]
    if again in step.carries:
        inside.append(f"_holds = {again}")
        again = "_holds"
    inside += [*step.advance, f"if not {again}: break"]
    text.lines += [f"    {line}" for line in step.loop("while True:", inside)]
    carries = _finish(text, step, body.carry, operands)
    text.lines.append(f"return {text.built(tree, carries)}")
    text.keep(key)


# -- branches ---------------------------------------------------------------------------------------------------------


def prepare_choice(
    key: Hashable,
    functions: Sequence[Any],
    traced: Sequence[Any],
    branches: Sequence[Jaxpr],
    operands: tuple[Any, ...],
    out_tree: PyTreeDef,
) -> None:
    """Prepare ``cond`` or ``switch``, as a function of ``which, functions, operands``.

    Every branch comes with its own constants, and gives results of the types that all have agreed on.
    """
    text = Text("_which, _functions, _operands")
    names = [f"_f{i}" for i in range(len(functions))]
    text.tests.append(f"{', '.join(names)}, = _functions")
    consts = [text.captures(n, f, t) for n, f, t in zip(names, functions, traced, strict=True)]
    tree = tree_structure(operands)
    leaves = text.leaves("_operands", tree)
    now = [aval_of(x) for x in tree.flatten_up_to(operands)]
    for x, aval in zip(leaves, now, strict=True):
        text.leaf(x, aval)
    outs = [f"_r{i}" for i in range(out_tree.num_leaves)]
    last = len(functions) - 1
    known = _arrays(leaves, now)
    for i, (branch, own) in enumerate(zip(branches, consts, strict=True)):
        known += [a for a in _arrays(own, branch.in_avals[: len(own)]) if a not in known]
        test = "else" if i == last else f"{'elif' if i else 'if'} _which <= {i}"
        call = f"{text.bind(compiled(branch, np))}({', '.join([*own, *leaves])})"
        text.lines.append(f"{test}: {', '.join(outs)}, = {call}" if outs else f"{test}: {call}")
    text.owned(outs, branches[0].out_avals, known)
    text.lines.append(f"return {text.built(out_tree, outs)}")
    text.keep(key)
