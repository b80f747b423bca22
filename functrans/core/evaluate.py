"""Running a jaxpr: equation by equation through ``bind``, or as a generated Python function over an array module."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from keyword import iskeyword
from typing import Any

import numpy as np

from functrans.config import config
from functrans.core.dtypes import DType, is_extended
from functrans.core.extended import fitted
from functrans.core.finite import is_debugging
from functrans.core.infix import (
    WIDTH,
    as_numbers,
    grows,
    infix,
    mixed,
    number_as_array,
    refuse,
    spelled,
    stored,
    wrapped,
)
from functrans.core.jaxpr import Atom, Eqn, Jaxpr, Literal, SizeAval, SizeVar, Var, resize_params, sizes_in
from functrans.core.overwriting import overwritten
from functrans.core.primitive import REGIONS, Primitive, Trait
from functrans.core.structural import rebox_p
from functrans.core.trace import Tracer, current_trace, reset_source, set_source
from functrans.util.cache import WeakMemo

_NO_NAME = re.compile(r"[^A-Za-z0-9_]")
_RESERVED = re.compile(r"[A-Za-z][0-9]*|lo|hi|work|frames?|result|[0-9].*|")
"""The names of a program's own variables: an operation named so gets another name."""


def evaluate(jaxpr: Jaxpr, args: Sequence[Any]) -> list[Any]:
    """Run a jaxpr under the current trace, whatever it is."""
    env: dict[Atom, Any] = dict(zip(jaxpr.constvars, jaxpr.consts, strict=True))
    env.update(zip(jaxpr.invars, args, strict=True))
    traced = current_trace() is not None or is_debugging()
    for eqn in jaxpr.eqns:
        if jaxpr.sized:
            eqn = sized(eqn, env)
        inputs = [a.value if isinstance(a, Literal) else env[a] for a in eqn.inputs]
        if traced and eqn.source is not None:
            token = set_source(eqn.source)
            try:
                result = eqn.prim.bind(*inputs, **eqn.params)
            finally:
                reset_source(token)
        else:
            result = eqn.prim.bind(*inputs, **eqn.params)
        if eqn.prim.multiple:
            env.update(zip(eqn.outs, result, strict=True))
        else:
            env[eqn.outs[0]] = result
    return [v.value if isinstance(v, Literal) else env[v] for v in jaxpr.outvars]


def sized(eqn: Eqn, env: Mapping[Atom, Any]) -> Eqn:
    """An equation with the sizes that its variables have at hand in place of its size variables."""

    def extent(size: SizeVar) -> Any:
        return extent_of(env[size])

    return eqn._replace(params=resize_params(eqn.params, extent))


def extent_of(value: Any) -> Any:
    """A number of elements as an int, or as the size variable that stands for it while tracing."""
    while isinstance(value, Tracer):
        if type(value.aval) is SizeAval:
            return value.aval.var
        value = value._trace.concrete(value)
    return operator.index(value)


class PythonSource:
    """The Python text of a jaxpr over an array module, and the objects that its names stand for.

    Args:
        nodes: what stands for the equations, if not these: it has ``inputs``, ``outs`` and ``params``, in order.
        plain: inputs that come as Python numbers, which only conversions to such read.
        owned: inputs that may be written over; ``in_order`` are those in memory in row-major order.
        unbounded: integers that may leave 64 bits for as long as nobody looks.
        free: how many of the last results may be Python numbers, whatever their type says.
        places: inputs whose names values take over where these are free by then.
        located: whether errors of ``stores`` are looked after: then such lines may stand in place of calls.
    """

    def __init__(
        self,
        jaxpr: Jaxpr,
        xp: Any,
        nodes: Sequence[Any] | None = None,
        plain: Iterable[Var] = (),
        owned: Iterable[Var] = (),
        in_order: Iterable[Var] = (),
        unbounded: Iterable[Var] = (),
        free: int = 0,
        located: bool = False,
        places: Mapping[Var, Var] | None = None,
    ) -> None:
        if nodes is None:
            nodes = jaxpr.eqns
        self.xp = xp
        self.globals: dict[str, Any] = {}
        self.taken: dict[str, int] = {}
        self._bound: dict[int, str] = {}
        self._numbers: dict[Any, np.ndarray[Any, Any] | None] = {}
        self.free: list[str] = []
        self.count = 0
        self.lines: list[str] = []
        self.names: dict[Var, str] = {}
        self.sized = jaxpr.sized
        self.written = overwritten(jaxpr, nodes, owned, xp, in_order)
        stores = [i for i in self.written if nodes[i].inputs[1].aval.shape == ()]
        self.plain: set[Atom] = {*plain, *as_numbers(nodes, jaxpr.outvars, plain, free, stores)}
        self.mixed = mixed(nodes, self.plain)
        self.located = located
        self.stores: dict[str, tuple[Callable[..., Any], list[str]]] = {}
        self.places = places or {}
        self.stored = stored(nodes, jaxpr.outvars, stores)
        self.unbounded = set(unbounded)
        self._last_use = _last_uses(jaxpr, nodes)
        self.inputs = [self._name(v) for v in jaxpr.invars]
        for var, const in zip(jaxpr.constvars, jaxpr.consts, strict=True):
            self.names[var] = self.bind_global("const", const if xp is np else xp.asarray(const))
        for i, v in enumerate(jaxpr.invars):
            self._release(v, -1, name=self.inputs[i])
        for i, eqn in enumerate(nodes):
            self._emit(i, eqn)
        self.outputs = [self._atom(v) for v in jaxpr.outvars]

    def refuse_long_integers(self, jaxpr: Jaxpr, nodes: Sequence[Any]) -> None:
        """Begin with a look at Python ints that Python's own arithmetic reads: it would take more than 64 bits."""
        read = {a for eqn in nodes if eqn.outs and eqn.outs[0] in self.plain for a in eqn.inputs}
        for name, v in reversed(list(zip(self.inputs, jaxpr.invars, strict=True))):
            if v in read and v.aval.box == "python" and v.aval.dtype == np.int64:
                check = self.bind_global("refuse", refuse)
                self.lines.insert(0, f"if not {-WIDTH} <= {name} < {WIDTH}: {check}({name})")

    def bind_global(self, stem: str, value: Any) -> str:
        """A global name for an object, readable where possible."""
        known = self._bound.get(id(value))
        if known is not None:
            return known
        stem = _NO_NAME.sub("_", stem)
        if _RESERVED.fullmatch(stem) or iskeyword(stem):
            stem = f"_{stem}"
        n = self.taken.get(stem, 0)
        name = stem if n == 0 else f"{stem}_{n}"
        while name in self.globals:
            n += 1
            name = f"{stem}_{n}"
        self.taken[stem] = n + 1
        self.globals[name] = value
        self._bound[id(value)] = name
        return name

    def _name(self, var: Var) -> str:
        wanted = self.names.get(self.places[var]) if var in self.places else None
        if wanted in self.free:
            self.free.remove(wanted)
            name = wanted
        elif self.free:
            name = self.free.pop()
        else:
            name = f"v{self.count}"
            self.count += 1
        self.names[var] = name
        return name

    def _atom(self, atom: Atom) -> str:
        if isinstance(atom, Var):
            return self.names[atom]
        value = atom.value
        if type(value) in (bool, int) or (type(value) is float and value - value == 0):
            return repr(value) if value == value and not str(value).startswith("-") else f"({value!r})"
        return self.bind_global("scalar", value)

    def operands(self, eqn: Eqn) -> list[str]:
        """The operands of a call; Python numbers beside arrays as NumPy would convert them at each call."""
        names = [self._atom(a) for a in eqn.inputs]
        function = getattr(np, eqn.prim.scalar, None) if eqn.prim.scalar and self.xp is np else None
        if function is None or not eqn.outs[0].aval.shape:
            return names
        dtypes = [a.aval.dtype for a in eqn.inputs if a.aval.box != "python"]
        for i, a in enumerate(eqn.inputs):
            if isinstance(a, Literal) and a.aval.box == "python":
                names[i] = self.number(a.value, function, dtypes) or names[i]
        return names

    def number(self, value: Any, function: Any, dtypes: Sequence[DType]) -> str | None:
        """The name of a number as an array without axes, where a ufunc would make it one."""
        key = (repr(value), *dtypes, function)
        if key not in self._numbers:
            made = number_as_array(value, function, dtypes)
            self._numbers[key] = None if made is None else self._numbers.setdefault((repr(value), made.dtype), made)
        found = self._numbers[key]
        return None if found is None else self.bind_global(spelled(value), found)

    def _release(self, var: Var, at: int, name: str | None = None) -> None:
        # A name whose variable is dead is used again, which drops the array as soon as possible at no cost.
        if self._last_use.get(var, -1) == at:
            self.free.append(name or self.names[var])

    def _module_of(self, eqn: Eqn) -> Any:
        """The module that computes an equation: Python numbers stay with the host."""
        if self.xp is np or not eqn.inputs or any(a.aval.box != "python" for a in (*eqn.inputs, *eqn.outs)):
            return self.xp
        return np

    def _emit(self, i: int, eqn: Eqn) -> None:
        prim, xp = eqn.prim, self._module_of(eqn)
        sizes = tuple(dict.fromkeys(sizes_in(tuple(eqn.params.values())))) if self.sized else ()
        args = ", ".join([*map(self._atom, sizes), *self.operands(eqn)])
        types = [a.aval for a in (*eqn.inputs, *eqn.outs)]
        extended = prim.kind not in REGIONS and any([is_extended(a.dtype) for a in types])
        plain = prim.scalar is not None and xp is np and not extended
        unboxed = prim is rebox_p and eqn.inputs[0] in self.plain and eqn.params["box"] == "python"
        if i in self.written and self.located and getattr(self.written[i], "subscript", False):
            self._emit_store(i, eqn)
            return
        if unboxed or eqn.outs[:1] in self.stored or (eqn.outs and eqn.outs[0] in self.mixed):
            infixed: str | None = "{}"
        elif len(eqn.outs) == 1 and eqn.outs[0] in self.plain:
            infixed = infix(eqn, True)
        else:
            infixed = infix(eqn, False) if plain else None
        if infixed is not None:
            self._emit_expression(i, eqn, infixed)
            return
        if i in self.written:
            function, stem = self.written[i], prim.name
        elif sizes:
            function, stem = _of_sizes(prim, xp, eqn, sizes), prim.name
        elif self.sized and any(True for a in eqn.inputs for _ in sizes_in(a.aval)):
            function, stem = partial(prim.impl, xp, **eqn.params), prim.name
        elif extended:
            function, stem = partial(prim.impl, xp, **eqn.params), prim.name
        elif prim.specialize is not None:
            function = prim.specialize(xp, tuple(a.aval for a in eqn.inputs), **eqn.params)
            stem = getattr(function, "__name__", prim.name)
            stem = prim.name if stem == "<lambda>" else stem
        elif prim.scalar is not None:
            function, stem = getattr(xp, prim.scalar), prim.scalar
        else:
            function, stem = partial(prim.impl, xp, **eqn.params), prim.name
        if extended and not sizes:
            n = len(eqn.inputs)
            function = fitted(function, types[:n], types[n:], prim.multiple, Trait.ELEMENTWISE in prim.traits)
        for var in dict.fromkeys(a for a in (*sizes, *eqn.inputs) if isinstance(a, Var)):
            self._release(var, i)
        outs = [self._name(v) for v in eqn.outs]
        for v in eqn.outs:
            self._release(v, i)
        call = f"{self.bind_global(stem, function)}({args})"
        if not prim.multiple:
            self.lines.append(f"{outs[0]} = {call}")
        elif not outs:
            self.lines.append(call)
        else:
            self.lines.append(f"{', '.join(outs)}{',' if len(outs) == 1 else ''} = {call}")

    def _emit_store(self, i: int, eqn: Eqn) -> None:
        """Write to a place of an array, which keeps its name."""
        x, updates, place = names = [self._atom(a) for a in eqn.inputs]
        line = f"{x}[{place}] = {updates}"
        self.lines.append(line)
        self.stores[line] = self.written[i], names
        for var in dict.fromkeys(a for a in eqn.inputs[1:] if isinstance(a, Var)):
            self._release(var, i)
        self.names[eqn.outs[0]] = x
        self._release(eqn.outs[0], i)

    def _emit_expression(self, i: int, eqn: Eqn, template: str) -> None:
        text = template.format(*map(self._atom, eqn.inputs))
        for var in dict.fromkeys(a for a in eqn.inputs if isinstance(a, Var)):
            self._release(var, i)
        (out,) = eqn.outs
        name = self._name(out)
        if name != text:
            self.lines.append(f"{name} = {text}")
        if out in self.plain and out not in self.unbounded and grows(eqn):
            check = self.bind_global("wrapped", wrapped)
            self.lines.append(f"if not {-WIDTH} <= {name} < {WIDTH}: {name} = {check}({name})")
        self._release(out, i)

    def function(self, name: str, result: str | None = None) -> Callable[..., Any]:
        """The compiled function; ``result`` is the expression it returns, a tuple of the outputs if None."""
        text = self.text(name, result)
        # The function's own name stays out of its globals, where an operation may have that name.
        made: dict[str, Callable[..., Any]] = {}
        exec(compile(text, f"<functrans {name}>", "exec"), dict(self.globals), made)
        return made[name]

    def text(self, name: str, result: str | None = None) -> str:
        """The source of a function of the jaxpr's inputs."""
        if result is None:
            result = f"({', '.join(self.outputs)}{',' if len(self.outputs) == 1 else ''})"
        body = "".join(f"    {line}\n" for line in self.lines)
        return f"def {name}({', '.join(self.inputs)}):\n{body}    return {result}\n"


class Located:
    """Turns the error of a line that writes to a place into the error of the operation that it stands for.

    Attributes:
        text: the source that the lines are in.
    """

    def __init__(self, stores: Mapping[str, tuple[Callable[..., Any], list[str]]], scope: dict[str, Any]) -> None:
        self.stores = stores
        self.scope = scope
        self.text = ""

    def __call__(self, error: Exception, values: dict[str, Any]) -> Exception:
        trace = error.__traceback__
        if trace is None or trace.tb_next is not None:
            return error
        found = self.stores.get(self.text.splitlines()[trace.tb_lineno - 1].strip())
        if found is not None:
            function, names = found
            try:
                function(*[eval(name, self.scope, values) for name in names])
            except IndexError as located:
                return located
        return error


def _of_sizes(prim: Primitive, xp: Any, eqn: Eqn, sizes: Sequence[SizeVar]) -> Callable[..., Any]:
    """An operation whose parameters have sizes in them, as a function of these and the operands."""

    def function(*args: Any) -> Any:
        known = dict(zip(sizes, map(operator.index, args), strict=False))
        return prim.impl(xp, *args[len(sizes) :], **resize_params(eqn.params, known.__getitem__))

    return function


def _last_uses(jaxpr: Jaxpr, nodes: Sequence[Any]) -> dict[Var, int]:
    """The index of the equation that uses each variable last: its own if none does, past the end for outputs."""
    last: dict[Var, int] = {v: -1 for v in jaxpr.invars}
    for i, eqn in enumerate(nodes):
        for v in eqn.outs:
            last[v] = i
        for a in (*eqn.inputs, *sizes_in(tuple(eqn.params.values()))) if jaxpr.sized else eqn.inputs:
            if isinstance(a, Var):
                last[a] = i
    for kept in (*jaxpr.outvars, *jaxpr.constvars):
        if isinstance(kept, Var):
            last[kept] = len(nodes)
    return last


Compile = Callable[[Jaxpr, Any], Callable[..., Any]]


def _plain(jaxpr: Jaxpr, xp: Any) -> Callable[..., tuple[Any, ...]]:
    return PythonSource(jaxpr, xp).function("program")


_compiler: list[Compile] = [_plain]


def compile_with(compiler: Compile) -> None:
    """Say how the bodies of loops and branches are compiled. The NumPy backend, which lies above, registers itself."""
    _compiler[0] = compiler


def _compile(jaxpr: Jaxpr, xp: Any, passes: Any) -> Callable[..., tuple[Any, ...]]:
    return _compiler[0](jaxpr, xp)


_compiled: WeakMemo[Callable[..., tuple[Any, ...]]] = WeakMemo(_compile)


def compiled(jaxpr: Jaxpr, xp: Any) -> Callable[..., tuple[Any, ...]]:
    """The jaxpr as a Python function over the array module, kept on the jaxpr for each pipeline of passes."""
    return _compiled(jaxpr, xp, config.passes)
