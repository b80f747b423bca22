"""A device that the host plays: kernels compiled by a C++ compiler and run on NumPy arrays."""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import functrans as ft
from functrans.backends.cupy.driver import prelude
from functrans.backends.cupy.program import CudaBackend, CudaSource
from functrans.backends.cupy.values import Launch
from functrans.core.jaxpr import Jaxpr
from functrans.passes import current

HERE = Path(__file__).parent
FLAGS = (
    "-x", "c++", "-std=c++17", "-shared", "-fPIC", "-U_FORTIFY_SOURCE", "-ffp-contract=off", "-fno-strict-aliasing",
    "-Wall", "-Werror", "-Wno-unknown-pragmas", "-Wno-unused-variable", "-Wno-unused-function",
    "-Wno-unused-but-set-variable", "-Wno-array-bounds", "-Wno-maybe-uninitialized",
)  # fmt: skip


class HostDriver:
    """Compiles kernels for the host.

    Args:
        order: in which the threads of a block take turns: 0 upwards, 1 downwards, others at random.
        flags: further ones for the compiler.
    """

    xp = np

    def __init__(self, order: int = 0, flags: tuple[str, ...] = ("-O1",)) -> None:
        self.order = order
        self.flags = flags
        self.launches: list[str] = []

    def load(self, source: str) -> ctypes.CDLL:
        library = ctypes.CDLL(str(built(source, self.flags)))
        library.device_launch.restype = ctypes.c_char_p
        return library

    def function(self, module: ctypes.CDLL, launch: Launch) -> Any:
        return module, getattr(module, f"{launch.name}_enter")

    def pointer(self, array: Any) -> int:
        address: int = array.ctypes.data
        return address

    def launch(self, function: Any, launch: Launch, parameters: int) -> None:
        library, enter = function
        self.launches.append(launch.name)
        (gx, gy, _), (bx, by, _) = launch.grid, launch.block
        at = ctypes.c_void_p(parameters)
        failed = library.device_launch(enter, gx, gy, bx, by, at, int(launch.barrier_free), self.order)
        if failed:
            raise RuntimeError(f"{launch.name}: {failed.decode()}")

    def device(self) -> int:
        return 0


def built(source: str, flags: tuple[str, ...], whole: bool = False) -> Path:
    """The shared library of a source text, built once on a machine; ``whole`` if it begins with the prelude."""
    compiler = shutil.which("g++")
    if compiler is None:
        raise RuntimeError("the tests of generated CUDA text need g++, which is not on the path")
    text = f'#define FT_HOST 1\n#include "device_on_host.h"\n{"" if whole else prelude()}{source}'
    header = (HERE / "device_on_host.h").read_text()
    name = hashlib.sha256(repr((text, header, flags, FLAGS)).encode()).hexdigest()[:24]
    folder = Path(tempfile.gettempdir()) / f"functrans-device-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{name}.so"
    if not path.exists():
        partial = folder / f"{name}.{os.getpid()}"
        command = [compiler, *FLAGS, *flags, "-I", str(HERE), "-", "-o", str(partial)]
        done = subprocess.run(command, input=text, text=True, capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr[:4000])
        os.replace(partial, path)
    return path


class Case(NamedTuple):
    """A program with arguments.

    Attributes:
        exact: what it gives, where NumPy's own result is further from the truth than a device's.
    """

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    exact: Any = None

    def expected(self) -> list[np.ndarray[Any, Any]]:
        """What it gives on the host."""
        found = self.function(*self.args) if self.exact is None else self.exact
        return [np.asarray(x) for x in ft.tree.leaves(found)]


class Batch:
    """Many programs whose kernels are one module, since a compiler takes longer to start than to compile one of them.

    Attributes:
        source: the CUDA text of all of them, every program's functions by names of their own.
        programs: those that have a kernel, by the name of their case.
    """

    def __init__(self, cases: Sequence[Case]) -> None:
        self.driver = _BatchDriver(self)
        self.backend = CudaBackend(lambda: self.driver)
        self.prefixes: dict[str, str] = {}
        self.programs: dict[str, tuple[Case, Jaxpr]] = {}
        parts = []
        for case in cases:
            jaxpr = ft.jit(case.function).lower(*case.args).jaxpr
            source, _ = self.backend.source(current()(jaxpr), np, single=False)
            assert isinstance(source, CudaSource)
            text = source.cuda()
            if text:
                self.programs[case.name] = case, jaxpr
                if text not in self.prefixes:
                    prefix = self.prefixes[text] = f"program_{len(self.prefixes)}_"
                    parts.append(f"// {case.name}\n" + re.sub(r"\bkernel_(\d+)", rf"{prefix}kernel_\1", text))
        self.source = "\n".join(parts)

    def run(self, name: str, order: int = 0, flags: tuple[str, ...] = ("-O1",)) -> list[Any]:
        """The results of a program on the host's device."""
        case, jaxpr = self.programs[name]
        self.driver.order, self.driver.flags = order, flags
        args = [np.asarray(a) if isinstance(a, np.generic) else a for a in ft.tree.leaves(case.args)]
        return list(self.backend.prepare(jaxpr, np, False, frozenset())(*args))


class _BatchDriver(HostDriver):
    """Finds a program's functions in the module of its batch."""

    def __init__(self, batch: Batch) -> None:
        super().__init__()
        self.batch = batch

    def load(self, source: str) -> Any:
        return super().load(self.batch.source), self.batch.prefixes[source]

    def function(self, module: Any, launch: Launch) -> Any:
        library, prefix = module
        return library, getattr(library, f"{prefix}{launch.name}_enter")
