"""Running a jaxpr: equation by equation through ``bind``, or as a generated Python function over an array module."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from keyword import iskeyword
from typing import Any

from functrans.core.finite import is_debugging
from functrans.core.jaxpr import Atom, Eqn, Jaxpr, Literal, Var
from functrans.core.trace import current_trace, reset_source, set_source
from functrans.util.cache import WeakMemo

_NO_NAME = re.compile(r"[^A-Za-z0-9_]")
_RESERVED = re.compile(r"v[0-9]+|[0-9].*|")


def evaluate(jaxpr: Jaxpr, args: Sequence[Any]) -> list[Any]:
    """Run a jaxpr under the current trace, whatever it is."""
    env: dict[Atom, Any] = dict(zip(jaxpr.constvars, jaxpr.consts, strict=True))
    env.update(zip(jaxpr.invars, args, strict=True))
    traced = current_trace() is not None or is_debugging()
    for eqn in jaxpr.eqns:
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


class PythonSource:
    """The Python text of a jaxpr over an array module, and the objects that its names stand for."""

    def __init__(self, jaxpr: Jaxpr, xp: Any) -> None:
        self.xp = xp
        self.globals: dict[str, Any] = {}
        self.taken: dict[str, int] = {}
        self._bound: dict[int, str] = {}
        self.free: list[str] = []
        self.count = 0
        self.lines: list[str] = []
        self.names: dict[Var, str] = {}
        self._last_use = _last_uses(jaxpr)
        self.inputs = [self._name(v) for v in jaxpr.invars]
        for var, const in zip(jaxpr.constvars, jaxpr.consts, strict=True):
            self.names[var] = self.bind_global("const", const)
        for i, v in enumerate(jaxpr.invars):
            self._release(v, -1, name=self.inputs[i])
        for i, eqn in enumerate(jaxpr.eqns):
            self._emit(i, eqn)
        self.outputs = [self._atom(v) for v in jaxpr.outvars]

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
        if self.free:
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

    def _release(self, var: Var, at: int, name: str | None = None) -> None:
        # A name whose variable is dead is used again, which drops the array as soon as possible at no cost.
        if self._last_use.get(var, -1) == at:
            self.free.append(name or self.names[var])

    def _emit(self, i: int, eqn: Eqn) -> None:
        args = ", ".join(self._atom(a) for a in eqn.inputs)
        prim = eqn.prim
        if prim.specialize is not None:
            function = prim.specialize(self.xp, tuple(a.aval for a in eqn.inputs), **eqn.params)
            stem = getattr(function, "__name__", prim.name)
            stem = prim.name if stem == "<lambda>" else stem
        elif prim.scalar is not None:
            function, stem = getattr(self.xp, prim.scalar), prim.scalar
        else:
            function, stem = partial(prim.impl, self.xp, **eqn.params), prim.name
        for var in dict.fromkeys(a for a in eqn.inputs if isinstance(a, Var)):
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


def _last_uses(jaxpr: Jaxpr) -> dict[Var, int]:
    """The index of the equation that uses each variable last: its own if none does, past the end for outputs."""
    last: dict[Var, int] = {v: -1 for v in jaxpr.invars}
    for i, eqn in enumerate(jaxpr.eqns):
        for v in eqn.outs:
            last[v] = i
        for a in eqn.inputs:
            if isinstance(a, Var):
                last[a] = i
    for kept in (*jaxpr.outvars, *jaxpr.constvars):
        if isinstance(kept, Var):
            last[kept] = len(jaxpr.eqns)
    return last


def _compile(jaxpr: Jaxpr, xp: Any) -> Callable[..., tuple[Any, ...]]:
    return PythonSource(jaxpr, xp).function("program")


compiled: WeakMemo[Callable[..., tuple[Any, ...]]] = WeakMemo(_compile)
"""``compiled(jaxpr, xp)``: the jaxpr as a Python function over the array module, kept on the jaxpr."""
