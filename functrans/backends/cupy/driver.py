"""What programs need of a device: compile a module, find its functions, launch them, allocate.

The real one is CuPy's. Tests put another in its place, which compiles the same text for the host.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Protocol

from functrans import errors
from functrans.backends.cupy.nvrtc import compile_source
from functrans.backends.cupy.values import Launch


class Driver(Protocol):
    """A device's side of a program.

    Attributes:
        xp: the module of its arrays.
    """

    xp: Any

    def load(self, source: str) -> Any:
        """The module of a source text, on the device that is current."""
        ...

    def function(self, module: Any, launch: Launch) -> Any:
        """A function of a module."""
        ...

    def pointer(self, array: Any) -> int:
        """The address of an array's elements."""
        ...

    def launch(self, function: Any, launch: Launch, parameters: int) -> None:
        """Put a launch into the current stream; ``parameters`` is the address of the parameters' addresses."""
        ...

    def device(self) -> Any:
        """What the current device is known by."""
        ...


@cache
def prelude() -> str:
    """The text that every module begins with."""
    return files(__package__).joinpath("prelude.cuh").read_text("utf-8")


class Slots:
    """The parameters of a launch: a word for each, and the address of each word, as the driver wants them."""

    def __init__(self, count: int) -> None:
        self.words = (ctypes.c_uint64 * count)()
        base = ctypes.addressof(self.words)
        self.addresses = (ctypes.c_void_p * count)(*[base + 8 * i for i in range(count)])
        self.parameters = ctypes.addressof(self.addresses)
        self.view = memoryview(self.words).cast("B")
        self.format = struct.Struct(f"{count}Q")

    def bind(self, pointers: Sequence[int]) -> int:
        """Fill the words; the address to launch with."""
        self.format.pack_into(self.view, 0, *pointers)
        return self.parameters


class CupyDriver:
    """The device through CuPy."""

    def __init__(self) -> None:
        import cupy

        if not cupy.cuda.is_available():
            raise errors.MissingBackendError(
                "the backend 'cupy' needs a CUDA device and its driver, and CuPy finds none on this machine: use "
                "NumPy arrays, with backend='numpy' or 'llvm'"
            )
        self.xp = cupy
        self._driver = cupy.cuda.driver
        self._module = cupy.cuda.function.Module
        self._stream = cupy.cuda.get_current_stream

    def architecture(self) -> str:
        return f"sm_{self.xp.cuda.Device().compute_capability}"

    def load(self, source: str) -> Any:
        module = self._module()
        module.load(compile_source(prelude() + source, self.architecture()))
        return module

    def function(self, module: Any, launch: Launch) -> Any:
        return module.get_function(launch.name)

    def pointer(self, array: Any) -> int:
        address: int = array.data.ptr
        return address

    def launch(self, function: Any, launch: Launch, parameters: int) -> None:
        self._driver.launchKernel(function.ptr, *launch.grid, *launch.block, 0, self._stream().ptr, parameters, 0)

    def device(self) -> Any:
        return self.xp.cuda.runtime.getDevice()
