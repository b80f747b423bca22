"""A function on its way through the compiler, to look at."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from functrans import errors
from functrans.config import override
from functrans.core.jaxpr import Jaxpr
from functrans.core.tree import describe_mismatch, tree_flatten
from functrans.core.treedef import PyTreeDef
from functrans.kernel.cost import Cost, Memory

if TYPE_CHECKING:
    from functrans.api.program import Program


class Lowered:
    """A function at given argument types: its jaxpr and what the backend makes of it.

    >>> import numpy as np, functrans as ft
    >>> lowered = ft.jit(lambda x: np.sin(x) * 2.0).lower(np.ones(3))
    >>> lowered.stages
    ('jaxpr', 'inline', 'decompose', 'algebra', 'layout', 'loops', 'fold', 'cse', 'dead', 'kernels', 'python')
    >>> print(lowered.as_text("python"))
    def program(v0):
        v0 = sin(v0)
        v0 = multiply(v0, n2_0, v0)
        return (v0,)
    <BLANKLINE>
    >>> lowered.compile()(np.zeros(3))
    array([0., 0., 0.])
    """

    def __init__(self, name: str, program: Program, function: Callable[..., Any], in_tree: PyTreeDef) -> None:
        self.name = name
        self._program = program
        self._function = function
        self._in_tree = in_tree

    @property
    def jaxpr(self) -> Jaxpr:
        return self._program.jaxpr

    def _passes(self) -> Any:
        """A context manager in which the program's own passes are the current ones."""
        return override("passes", self._program.passes)

    @property
    def stages(self) -> tuple[str, ...]:
        """The names of the stages of compilation, in order."""
        with self._passes():
            return self._program.backend.stages

    def as_text(self, stage: str | None = None) -> str:
        """The program's text after a stage; all of them, with headings, by default.

        Raises:
            ArgumentError: there is no such stage.
        """
        if stage is not None:
            if stage not in self.stages:
                raise errors.ArgumentError(f"as_text: there is no stage {stage!r}; the stages are {self.stages}")
            with self._passes():
                return self._program.backend.as_text(self.jaxpr, stage)
        parts = []
        previous = ""
        for s in self.stages:
            text = self.as_text(s).rstrip()
            parts.append(f"-- {self.name}: {s} --\n{'(as before)' if text == previous else text}")
            previous = text
        return "\n\n".join(parts) + "\n"

    def cost_analysis(self) -> Cost:
        """Operations and memory traffic, kernel by kernel and call by call.

        >>> import numpy as np, functrans as ft
        >>> print(ft.jit(lambda a, b: np.exp(a @ b)).lower(np.ones((4, 8)), np.ones((8, 2))).cost_analysis())
        node         flops  transcendentals  bytes
        dot_general    128                0    448
        exp              0                8    128
        total          128                8    576
        """
        with self._passes():
            return self._program.backend.cost(self.jaxpr)

    def memory_analysis(self) -> Memory:
        """The memory of a call: results, planned arena, scratch, and the peak of them all, in bytes.

        >>> import numpy as np, functrans as ft
        >>> ft.jit(lambda x: np.sin(x) + 1.0).lower(np.ones(10)).memory_analysis().results
        80
        """
        with self._passes():
            return self._program.backend.memory(self.jaxpr)

    def compile(self) -> Compiled:
        """The compiled function for these argument types."""
        _ = self._program.run
        return Compiled(self)

    def __reduce__(self) -> tuple[Any, ...]:
        # Through the package's attribute: saved programs lie above this module, and are loaded at first use.
        return sys.modules["functrans"].export.of_lowered(self).__reduce__()  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        return f"<lowered {self.name} for the {self._program.backend.name} backend>"


class Compiled:
    """A function compiled for one signature; it never traces again."""

    def __init__(self, lowered: Lowered) -> None:
        self._lowered = lowered

    @property
    def jaxpr(self) -> Jaxpr:
        return self._lowered.jaxpr

    def as_text(self, stage: str | None = None) -> str:
        """See ``Lowered.as_text``."""
        return self._lowered.as_text(stage)

    def __reduce__(self) -> tuple[Any, ...]:
        return self._lowered.__reduce__()

    def cost_analysis(self) -> Cost:
        """See ``Lowered.cost_analysis``."""
        return self._lowered.cost_analysis()

    def memory_analysis(self) -> Memory:
        """See ``Lowered.memory_analysis``."""
        return self._lowered.memory_analysis()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        function: Any = self._lowered._function
        program = self._lowered._program
        signature = function._signature(args, kwargs)
        treedef = self._lowered._in_tree
        if signature.treedef != treedef:
            raise errors.TreeStructureError(
                f"the compiled {self._lowered.name} takes arguments of another structure: "
                f"{describe_mismatch(treedef, tree_flatten((args, kwargs) if kwargs else (args,))[1])}"
            )
        n = len(program.places)
        for position, (i, aval) in enumerate(zip(program.dynamic, program.jaxpr.in_avals[n:], strict=True)):
            if signature.types[i] != aval:
                raise errors.ArgumentError(
                    f"the compiled {self._lowered.name} was compiled for {aval} in place {position}, got "
                    f"{signature.types[i]}. Call the jitted function itself, which compiles for new types"
                )
        hidden = program.hidden(function.captured)
        if hidden is None or not program.serves(signature):
            raise errors.ArgumentError(
                f"the compiled {self._lowered.name}: a value that the function captures, or a static one, is not what "
                f"it was when it was compiled. Call the jitted function itself"
            )
        return program.apply([*hidden, *[signature.leaves[i] for i in program.dynamic]])
