"""What a backend is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans.core.jaxpr import Jaxpr
from functrans.kernel.cost import Cost, Memory
from functrans.kernel.waves import Node
from functrans.util.cache import WeakMemo

Executable = Callable[..., Sequence[Any]]


class Backend:
    """A compiler of jaxprs for one kind of machine.

    Attributes:
        name: how users call it.
        requires: the packages that it imports.
        install: what pip installs them by.
        stages: the stages of compilation, in order, as ``as_text`` knows them.
    """

    name: str
    requires: tuple[str, ...] = ()
    install: str = ""
    stages: tuple[str, ...] = ()

    def __init__(self) -> None:
        self._executables: WeakMemo[Executable] = WeakMemo(self.compile)

    def unusable(self) -> str | None:
        """Why the backend does not work in this process, in words; None where it does."""
        return None

    def compile(self, jaxpr: Jaxpr) -> Executable:
        """A function from the jaxpr's inputs, as arrays, to the sequence of its outputs, which own their memory."""
        raise NotImplementedError

    def prepare(self, jaxpr: Jaxpr, xp: Any, single: bool, donated: frozenset[int]) -> Callable[..., Any]:
        """The executable for arrays of one array module.

        ``single`` returns a single output bare. Inputs in ``donated`` belong to the program: a result may be one.
        """
        raise NotImplementedError

    def observed(self, jaxpr: Jaxpr, xp: Any, single: bool, donated: frozenset[int]) -> Callable[..., Any]:
        """An executable that reports what it does to ``backends.observe``."""
        return self.prepare(jaxpr, xp, single, donated)

    def as_text(self, jaxpr: Jaxpr, stage: str) -> str:
        """The text of a stage of compilation."""
        raise NotImplementedError

    def nodes(self, jaxpr: Jaxpr) -> Sequence[Node]:
        """A jaxpr that has been through the passes as kernels and calls, in order of execution."""
        raise NotImplementedError

    def cost(self, jaxpr: Jaxpr) -> Cost:
        """Operations and memory traffic of the compiled jaxpr, node by node."""
        raise NotImplementedError

    def memory(self, jaxpr: Jaxpr) -> Memory:
        """The memory that the compiled jaxpr takes."""
        raise NotImplementedError

    def executable(self, jaxpr: Jaxpr) -> Executable:
        """The compiled jaxpr, kept as long as the jaxpr lives."""
        return self._executables(jaxpr)

    def __repr__(self) -> str:
        return self.name


_device: list[Callable[[], Backend]] = []


def serve_devices_by(find: Callable[[], Backend]) -> None:
    """Say where the backend for arrays on a device is found; the package of backends, which lies above, does."""
    _device[:] = [find]


def serving(backend: Backend, xp: Any) -> Backend:
    """The backend that runs a program on arrays of a module: CuPy's have one of their own."""
    return backend if xp is np else _device[0]()
