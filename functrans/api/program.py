"""Programs: one function traced and compiled for one signature, and the cache that finds them again."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from functrans.api.arguments import leaf_path
from functrans.backends import serving
from functrans.backends.base import Backend
from functrans.config import any_mode, config, generation, override, trace_settings
from functrans.core.avals import ShapedArray
from functrans.core.capture import Captured, Contents, FrozenArray, Place, array_type, same
from functrans.core.evaluate import sized
from functrans.core.finite import check_forward, is_debugging
from functrans.core.jaxpr import Jaxpr, Literal
from functrans.core.primitive import array_module
from functrans.core.trace import Tracer, current_trace
from functrans.core.tree_compile import compile_builder, compile_matcher, matching
from functrans.core.treedef import PyTreeDef
from functrans.lax.control.call import call
from functrans.passes.inline import inline_calls
from functrans.util.cache import Bounded


class Signature(NamedTuple):
    """A call, as the cache sees it.

    Attributes:
        leaves, treedef: the traced arguments.
        types: the aval of each leaf; for a leaf that is static by itself, its type and value.
        static: the static arguments by position or name, as hashable keys.
    """

    where: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    leaves: list[Any]
    treedef: PyTreeDef
    types: tuple[Any, ...]
    static: tuple[tuple[Any, Any], ...]
    backend: str

    @property
    def key(self) -> Any:
        return self.treedef, self.types, self.static, self.backend, trace_settings()


def describe_signature(signature: Signature) -> str:
    """The types of a call's arguments, in words."""
    args, *named = signature.treedef.unflatten([_Shown(t) for t in signature.types])
    parts = [repr(a) for a in args] + [f"{name}={a!r}" for name, a in (named[0] if named else {}).items()]
    parts += [f"static {name}={key[1] if isinstance(key, tuple) else '<array>'!r}" for name, key in signature.static]
    return f"({', '.join(parts)})"


class _Shown:
    """A type that stands for a leaf when a structure is printed."""

    __slots__ = ("type",)

    def __init__(self, type_: Any) -> None:
        self.type = type_

    def __repr__(self) -> str:
        return _type(self.type)


class Program:
    """A traced function.

    Attributes:
        jaxpr: hidden arguments (captured arrays), then the dynamic leaves of the arguments.
        places: where the hidden arguments are captured, with the type that each must have.
        guards: the other captured values, compared at each call.
        contents: captured arrays whose contents decided something while tracing, with a copy of them.
        values: Python numbers among the leaves whose value decided something while tracing.
        dynamic: which leaves are arguments of the program.
        donated: which inputs of the jaxpr the caller gives away.
        passes: the pipeline that it is compiled with, if not the default one.
        bare: whether nothing is captured that a call would have to look at.
        ready: the compiled program, once it is.
        native: the native function that it consists in, if it does.
        treedef, types, static: of the signature that it serves.
        keep: whether the program may serve other calls: it does not refer to enclosing transformations.
    """

    def __init__(
        self,
        name: str,
        jaxpr: Jaxpr,
        out_tree: PyTreeDef,
        backend: Backend,
        places: Sequence[tuple[Place, ShapedArray]],
        guards: Sequence[tuple[Place, Any]],
        contents: Sequence[tuple[Place, Any]],
        values: dict[int, Any],
        dynamic: Sequence[int],
        donated: frozenset[int],
    ) -> None:
        self.name = name
        self.jaxpr = jaxpr
        self.out_tree = out_tree
        self.backend = backend
        self.places = tuple(places)
        self.guards = tuple(guards)
        self.contents = tuple(contents)
        self.values = values
        self.dynamic = tuple(dynamic)
        self.donated = donated
        self.passes = config.passes
        self.keep = not any(isinstance(c, Tracer) for c in jaxpr.consts)
        self.single = out_tree.num_nodes == 1 and out_tree.num_leaves == 1
        self.finish: Callable[[Any], Any] = _bare if self.single else compile_builder(out_tree)
        self.enter: Callable[[Any], tuple[Any, ...] | None] = _never
        self.generation: object = None
        self.ready: Callable[..., Any] | None = None
        self.native: Any = None
        self.treedef: PyTreeDef = out_tree
        self.types: tuple[Any, ...] = ()
        self.static: tuple[tuple[Any, Any], ...] = ()
        self.bare = not (guards or contents or places)
        self._cells = [(p.key, v) for p, v in self.guards if p.kind == "cell"]
        self._globals = [(p.key, v) for p, v in self.guards if p.kind == "global"]
        self._others = [(p, v) for p, v in self.guards if p.kind not in ("cell", "global")]

    @property
    def run(self) -> Callable[..., Any]:
        """The compiled program for host arrays: hidden arguments, then dynamic leaves."""
        if self.ready is None:
            with override("passes", self.passes):
                self.ready = self.backend.prepare(self.jaxpr, np, self.single, self.donated)
            self.native = getattr(self.ready, "native", None)
        return self.ready

    def hidden(self, captured: Captured) -> Sequence[Any] | None:
        """The captured arrays of a call; None where a captured value is not what it was when tracing."""
        f: Any = captured.function
        if f is None or self.bare:
            return ()
        closure = f.__closure__
        for i, value in self._cells:
            now = closure[i].cell_contents
            if now is not value and not same(value, now):
                return None
        names = f.__globals__
        for name, value in self._globals:
            now = names.get(name)
            if now is not value and not same(value, now):
                return None
        for place, value in self._others:
            now = captured.read(place)
            if now is not value and not same(value, now):
                return None
        for place, copy in self.contents:
            if not _same_contents(copy, captured.read(place)):
                return None
        if not self.places:
            return ()
        hidden = []
        for place, aval in self.places:
            value = captured.read(place)
            if array_type(value) != aval:
                return None
            hidden.append(value)
        return hidden

    def serves(self, signature: Signature) -> bool:
        """Whether the Python numbers that decided something are the same in another call."""
        leaves = signature.leaves
        return all(type(leaves[i]) is type(v) and _equal(leaves[i], v) for i, v in self.values.items())

    def apply(self, operands: list[Any]) -> Any:
        """Run the program under the current trace."""
        if current_trace() is not None:
            outs: Sequence[Any] = call(self.jaxpr, operands, name=self.name, backend=self.backend)
        elif is_debugging():
            outs = _run_checked(self.jaxpr, operands)
        elif any(isinstance(x, Tracer) for x in operands):
            outs = call(self.jaxpr, operands, name=self.name, backend=self.backend)
        else:
            xp = array_module(operands)
            if config.profiling:
                observed = serving(self.backend, xp).observed(self.jaxpr, xp, self.single, self.donated)
                return self.finish(observed(*operands))
            device = serving(self.backend, xp)
            run = self.run if xp is np else device.prepare(self.jaxpr, xp, self.single, self.donated)
            return self.finish(run(*operands))
        return self.out_tree.unflatten(outs)

    def prepare_entry(self, signature: Signature) -> None:
        """Make ``enter``: the dynamic leaves of the arguments if they have this program's signature, else None."""
        self.treedef, self.types, self.static = signature.treedef, signature.types, signature.static
        self.enter = compile_entry(self.treedef, self.types, self.values, self.dynamic)


_RECENT = 6


def _bare(value: Any) -> Any:
    return value


def _never(tree: Any) -> None:
    return None


def compile_entry(
    treedef: PyTreeDef, types: Sequence[Any], values: dict[int, Any], dynamic: Sequence[int]
) -> Callable[[Any], tuple[Any, ...] | None]:
    """A generated function of the arguments: their dynamic leaves if structure and types fit, else None."""
    found = matching(treedef)
    if found is None:
        names = [f"x{i}" for i in range(len(types))]
        scope: dict[str, Any] = {"match": compile_matcher(treedef)}
        lines = ["leaves = match(tree)", "if leaves is None: return None"]
        if names:
            lines.append(f"{', '.join(names)}, = leaves")
    else:
        lines, names, scope = found
    scope |= {"ndarray": np.ndarray, "equal": _equal}
    shared: dict[tuple[str, Any], str] = {}

    def name_of(stem: str, value: Any, key: Any) -> str:
        name = shared.setdefault((stem, key), f"{stem}{len(shared)}")
        scope[name] = value
        return name

    tests = []
    for i, (x, t) in enumerate(zip(names, types, strict=True)):
        if not isinstance(t, ShapedArray):
            scope[f"v{i}"] = t[1]
            tests.append(f"{x} is v{i} or type({x}) is type(v{i}) and {x} == v{i}")
        elif t.box == "array":
            dtype, shape = name_of("d", t.dtype, id(t.dtype)), name_of("s", t.shape, t.shape)
            tests.append(f"type({x}) is ndarray and {x}.dtype is {dtype} and {x}.shape == {shape}")
        else:
            cls = t.dtype.type if t.box == "numpy" else type(t.dtype.type(0).item())
            tests.append(f"type({x}) is {name_of('k', cls, cls)}")
            if i in values:
                scope[f"v{i}"] = values[i]
                tests.append(f"equal({x}, v{i})")
    condition = "\n            and ".join(f"({test})" for test in tests) or "True"
    result = "".join(f"{names[i]}, " for i in dynamic)
    body = "".join(f"        {line}\n" for line in lines)
    text = (
        f"def enter(tree):\n    try:\n{body}"
        f"        return ({result}) if (\n            {condition}\n        ) else None\n"
        "    except KeyError:\n        return None\n"
    )
    exec(compile(text, "<functrans entry>", "exec"), scope)
    function: Callable[[Any], tuple[Any, ...] | None] = scope["enter"]
    return function


def _equal(a: Any, b: Any) -> bool:
    # NaN equals itself here, and 0.0 differs from -0.0: the traced branch may have told them apart.
    return repr(a) == repr(b)


def _same_contents(copy: Any, now: Any) -> bool:
    if isinstance(copy, Tracer) or isinstance(now, Tracer):
        return copy is now
    return array_type(now) == array_type(copy) and bool(np.array_equal(copy, now, equal_nan=copy.dtype.kind in "fc"))


def _run_checked(jaxpr: Jaxpr, operands: Sequence[Any]) -> list[Any]:
    """Run equation by equation, looking at every value."""
    program = inline_calls(jaxpr)
    env: dict[Any, Any] = dict(zip(program.constvars, program.consts, strict=True))
    env.update(zip(program.invars, operands, strict=True))
    with np.errstate(all="ignore"):
        for eqn in program.eqns:
            if program.sized:
                eqn = sized(eqn, env)
            inputs = [a.value if isinstance(a, Literal) else env[a] for a in eqn.inputs]
            result = eqn.prim.impl(array_module(inputs), *inputs, **eqn.params)
            outs = result if eqn.prim.multiple else [result]
            for var, value in zip(eqn.outs, outs, strict=True):
                check_forward(value, eqn.source, eqn.prim.name)
                env[var] = value
    outs = [v.value if isinstance(v, Literal) else env[v] for v in program.outvars]
    return [o.copy() if isinstance(o, np.ndarray) else o for o in outs]


def _report(signature: Signature, reason: str) -> None:
    """Log what was traced and why, where the settings ask for it."""
    logger = logging.getLogger("functrans")
    if config.log_compiles:
        types = describe_signature(signature)
        logger.warning("%s was traced for %s, on the %s backend", signature.where, types, signature.backend)
    if config.explain_cache_misses and reason:
        logger.warning("%s was traced again: %s", signature.where, reason)


class Cache:
    """The programs of one function, found by signature and then by captured values; the oldest go first."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.programs: Bounded[list[Program]] = Bounded(size)
        self.recent: tuple[Program, ...] = ()
        self.traces = 0
        self.history: list[tuple[Signature, str]] = []
        self.lock = threading.Lock()
        self.settled: weakref.WeakSet[Any] = weakref.WeakSet()

    def lookup(self, signature: Signature, captured: Captured) -> tuple[Program, Sequence[Any]] | None:
        for program in self.programs.get(signature.key) or ():
            if program.serves(signature):
                hidden = program.hidden(captured)
                if hidden is not None:
                    return program, hidden
        return None

    def add(self, signature: Signature, program: Program, captured: Captured) -> None:
        with self.lock:
            self.traces += 1
            reason = self._reason(signature, captured)
            if any_mode():
                _report(signature, reason)
            self.history.append((signature._replace(leaves=[], args=(), kwargs={}), reason))
            del self.history[: -self.size]
            if program.keep:
                known = self.programs.put(signature.key, [])
                known.insert(0, program)
                del known[self.size :]
                program.prepare_entry(signature)

    def remember(self, program: Program) -> None:
        """Let calls try a program first, without looking up their signature."""
        if not program.keep:
            return
        with self.lock:
            program.generation = generation[0]
            others = [p for p in self.recent if p is not program]
            self.recent = (program, *others[: _RECENT - 1])

    def _reason(self, signature: Signature, captured: Captured) -> str:
        if not self.history:
            return ""
        last = self.history[-1][0]
        for known in self.programs.get(signature.key) or ():
            for place, value in known.guards:
                now = captured.read(place)
                if not same(value, now):
                    if isinstance(value, (Contents, FrozenArray)):
                        return f"what {captured.describe(place)} holds changed"
                    return f"{captured.describe(place)} changed from {_brief(value)} to {_brief(now)}"
            for place, aval in known.places:
                now = array_type(captured.read(place))
                if now != aval:
                    return f"{captured.describe(place)} changed from {aval} to {now}"
            for place, copy in known.contents:
                if not _same_contents(copy, captured.read(place)):
                    return f"the contents of {captured.describe(place)}, which tracing needed, changed"
            for i, value in known.values.items():
                if i < len(signature.leaves) and not _equal(signature.leaves[i], value):
                    return (
                        f"the Python number {_leaf_name(signature, i)}, whose value tracing needed, changed from "
                        f"{value!r} to {signature.leaves[i]!r}"
                    )
        if signature.treedef != last.treedef:
            return f"the structure of the arguments changed from {last.treedef} to {signature.treedef}"
        for i, (old, new) in enumerate(zip(last.types, signature.types, strict=True)):
            if old != new:
                return f"{_leaf_name(signature, i)} changed from {_type(old)} to {_type(new)}"
        for (name, old), (_, new) in zip(last.static, signature.static, strict=False):
            if old != new:
                return f"the static argument {name!r} changed"
        return "the program for these arguments had been dropped from the cache"

    def clear(self) -> None:
        with self.lock:
            self.programs.clear()
            self.recent = ()
        for settled in list(self.settled):
            settled.forget()


def _type(value: Any) -> str:
    return str(value) if isinstance(value, ShapedArray) else repr(value[1])


def _leaf_name(signature: Signature, i: int) -> str:
    return leaf_path("argument ", signature.treedef.unflatten([0] * len(signature.types))[0], i)


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
