"""Generated Python programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from functrans.backends.base import Backend, Executable
from functrans.core.evaluate import PythonSource
from functrans.core.jaxpr import Atom, Jaxpr, Var
from functrans.core.primitive import Trait, array_module
from functrans.passes.inline import inline_calls
from functrans.util.cache import WeakMemo


def _shared_outputs(jaxpr: Jaxpr, donated: frozenset[int]) -> list[bool]:
    """Which outputs might share memory with an input, a constant or another output, and so have to be copied."""
    foreign: set[Atom] = {*jaxpr.constvars, *(v for i, v in enumerate(jaxpr.invars) if i not in donated)}
    for eqn in jaxpr.eqns:
        if Trait.VIEW in eqn.prim.traits:
            foreign.update(eqn.outs)
    seen: set[Atom] = set()
    shared = []
    for v in jaxpr.outvars:
        shared.append(isinstance(v, Var) and v.aval.box == "array" and (v in foreign or v in seen))
        seen.add(v)
    return shared


def generate(jaxpr: Jaxpr, xp: Any, single: bool, donated: frozenset[int] = frozenset()) -> tuple[PythonSource, str]:
    """The source of a jaxpr, and the expression of its results; ``single`` gives the one result bare."""
    source = PythonSource(jaxpr, xp)
    outs = [
        f"{name}.copy()" if shared else name
        for name, shared in zip(source.outputs, _shared_outputs(jaxpr, donated), strict=True)
    ]
    result = outs[0] if single else f"({', '.join(outs)}{',' if len(outs) == 1 else ''})"
    return source, result


class NumpyBackend(Backend):
    """Executes with NumPy, or with CuPy where the arguments live on a device."""

    name = "numpy"
    stages = ("jaxpr", "inline", "python")

    def __init__(self) -> None:
        super().__init__()
        self._programs: WeakMemo[Callable[..., Any]] = WeakMemo(self._generate)

    def compile(self, jaxpr: Jaxpr) -> Executable:
        def run(*args: Any) -> Any:
            return self.prepare(jaxpr, array_module(args))(*args)

        return run

    def prepare(
        self, jaxpr: Jaxpr, xp: Any = np, single: bool = False, donated: frozenset[int] = frozenset()
    ) -> Callable[..., Any]:
        return self._programs(jaxpr, xp, single, donated)

    def _generate(self, jaxpr: Jaxpr, xp: Any, single: bool, donated: frozenset[int]) -> Callable[..., Any]:
        source, result = generate(inline_calls(jaxpr), xp, single, donated)
        return source.function("program", result)

    def as_text(self, jaxpr: Jaxpr, stage: str) -> str:
        if stage == "jaxpr":
            return str(jaxpr)
        program = inline_calls(jaxpr)
        if stage == "inline":
            return str(program)
        source, result = generate(program, np, single=False)
        return source.text("program", result)
