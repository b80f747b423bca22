"""Programs on a CUDA device: kernels of one module, and calls of CuPy for the rest, as generated Python text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from functrans import errors
from functrans.backends.cupy.driver import CupyDriver, Driver, Slots
from functrans.backends.cupy.target import target
from functrans.backends.cupy.text import KernelText
from functrans.backends.cupy.values import Launch
from functrans.backends.host import HostBackend, HostSource
from functrans.backends.host import generate as generate_host
from functrans.core.jaxpr import Jaxpr, Var
from functrans.kernel.fuse import fuse
from functrans.kernel.ir import Kernel
from functrans.kernel.plan import Plan
from functrans.kernel.waves import Node
from functrans.passes import current

ALIGNED = 15
"""Addresses of what kernels read in packs have none of these bits."""


def nodes_of(jaxpr: Jaxpr) -> list[Node]:
    """The jaxpr as kernels and calls; everything is in one stream."""
    return list(fuse(jaxpr, target))


class Module:
    """The functions of a program, on each device where it has run."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.source = ""
        self.modules: dict[Any, Any] = {}

    def function(self, launch: Launch, device: Any) -> Any:
        module = self.modules.get(device)
        if module is None:
            module = self.modules.setdefault(device, self.driver.load(self.source))
        return self.driver.function(module, launch)


class Launcher:
    """How a kernel is launched on arrays."""

    def __init__(self, text: KernelText, kernel: Kernel, module: Module) -> None:
        self.text = text
        self.module = module
        self.driver = module.driver
        self.outs = frozenset([n for n, v in enumerate(text.buffers) if v in kernel.outs])
        self.count = len(text.buffers)
        self.functions: dict[Any, list[Any]] = {}
        self.free: list[Slots] = []

    def __call__(self, *arrays: Any) -> None:
        driver = self.driver
        pointers = [driver.pointer(a) for a in arrays]
        kept = []
        for n, a in enumerate(arrays):
            if pointers[n] & ALIGNED or not a.flags.c_contiguous:
                kept.append(driver.xp.array(a, order="C"))
                pointers[n] = driver.pointer(kept[-1])
        if self.text.work:
            kept.append(driver.xp.empty(self.text.work, "u1"))
            pointers.append(driver.pointer(kept[-1]))
        device = driver.device()
        functions = self.functions.get(device)
        if functions is None:
            functions = self.functions[device] = [self.module.function(f, device) for f in self.text.launches]
        try:
            slots = self.free.pop()
        except IndexError:
            slots = Slots(self.count + (self.text.work > 0))
        parameters = slots.bind(pointers)
        for function, launch in zip(functions, self.text.launches, strict=True):
            driver.launch(function, launch, parameters)
        self.free.append(slots)


class CudaSource(HostSource):
    """The text of a program and of its kernels."""

    def __init__(self, jaxpr: Jaxpr, xp: Any, made: Plan, driver: Driver) -> None:
        self.launchers: list[Launcher] = []
        self.module = Module(driver)
        super().__init__(jaxpr, xp, made)

    def emit_kernel(self, kernel: Kernel) -> None:
        shared = {w for v in kernel.outs if (old := self.plan.over.get(v)) is not None for w in (v, old)}
        text = KernelText(kernel, frozenset(shared))
        launcher = Launcher(text, kernel, self.module)
        self.launchers.append(launcher)
        given = {v: self._given(v) for v in kernel.inputs}
        for v in dict.fromkeys(kernel.outs):
            given[v] = self.placed(v) or self.allocated(v)
        names = [given[v] for v in text.buffers]
        self.lines.append(f"{self.bind_global(f'run_{kernel.name}', launcher)}({', '.join(names)})")
        for v in kernel.outs:
            if not v.aval.shape and v.aval.box == "numpy":
                self.lines.append(f"{given[v]} = {given[v]}[()]")

    def _given(self, v: Var) -> str:
        """An input as an array on the device."""
        name = self._atom(v)
        if v.aval.box == "array":
            return name
        dtype = self.bind_global(v.aval.dtype.name, v.aval.dtype)
        return f"{self.bind_global('asarray', self.xp.asarray)}({name}, {dtype})"

    def cuda(self) -> str:
        """The CUDA text of all kernels, without the prelude."""
        return "\n".join([launcher.text.text for launcher in self.launchers])

    def defined(self, names: dict[str, Any], scope: dict[str, Any]) -> None:
        self.module.source = self.cuda()


class CudaBackend(HostBackend):
    """Kernels in CUDA C++, and CuPy for what no kernel computes."""

    name = "cupy"
    requires = ("cupy",)
    install = "'functrans[cuda13]', or 'functrans[cuda12]'"
    after = ("kernels", "cuda", "python")

    def __init__(self, driver: Callable[[], Driver] = CupyDriver) -> None:
        super().__init__()
        self._make = driver

    @cached_property
    def driver(self) -> Driver:
        """The device."""
        return self._make()

    def prepare(
        self, jaxpr: Jaxpr, xp: Any = np, single: bool = False, donated: frozenset[int] = frozenset()
    ) -> Callable[..., Any]:
        if xp is not self.driver.xp:
            raise errors.MixedArraysError(
                "the backend 'cupy' runs programs on arrays of CuPy, and the arguments are arrays of NumPy. Nothing is "
                "transferred implicitly: move them with functrans.device_put(x, functrans.devices('cuda')[0])"
            )
        return super().prepare(jaxpr, xp, single, donated)

    def nodes(self, jaxpr: Jaxpr) -> list[Node]:
        return nodes_of(jaxpr)

    def source(
        self, jaxpr: Jaxpr, xp: Any, single: bool, donated: frozenset[int] = frozenset()
    ) -> tuple[HostSource, str]:
        def source_of(jaxpr: Jaxpr, xp: Any, made: Plan) -> CudaSource:
            return CudaSource(jaxpr, xp, made, self.driver)

        return generate_host(jaxpr, xp, nodes_of(jaxpr), source_of, single, donated)

    def as_text(self, jaxpr: Jaxpr, stage: str) -> str:
        if stage != "cuda":
            return super().as_text(jaxpr, stage)
        return cuda_text(current()(jaxpr))


def kernels(jaxpr: Jaxpr) -> Sequence[KernelText]:
    """The kernels of a jaxpr that has been through the passes."""
    return [KernelText(node) for node in nodes_of(jaxpr) if isinstance(node, Kernel)]


def cuda_text(jaxpr: Jaxpr) -> str:
    """The CUDA text of a jaxpr that has been through the passes; no device is needed."""
    return "\n".join([k.text for k in kernels(jaxpr)])
