"""Machine code from LLVM IR, by llvmlite: the host's target, code generation, and where functions are linked."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar

import numpy as np

from functrans import errors

OPTIMISE = 1
"""Code generation's effort: explicit vectors leave little to gain, and 2 takes longer."""
_HEAD = object.__basicsize__
DATA = _HEAD
"""Where an array object holds the address of its elements."""
FLAGS = _HEAD + 48
DTYPE = _HEAD + 40
ORDER = _HEAD + 10
"""Where a dtype object holds the order of bytes."""
SWAPPED = ">" if sys.byteorder == "little" else "<"
READY = 0x101
"""The flags of an array that a kernel reads in place: C-contiguous and aligned."""


class Machine:
    """The processor that code is generated for.

    Attributes:
        bits: of its widest vectors.
        fma: whether it fuses products and sums.
    """

    def __init__(self) -> None:
        import llvmlite.binding as llvm

        if llvm.llvm_version_info[0] < 20:
            llvm.initialize()
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        self.llvm = llvm
        self.target = llvm.Target.from_default_triple()
        self.cpu = llvm.get_host_cpu_name()
        features = llvm.get_host_cpu_features()
        self.features = features.flatten()
        x86 = self.target.name.startswith("x86")
        wide = features.get("avx512f") and features.get("avx512bw") and features.get("avx512vl")
        self.bits = 512 if wide else 256 if features.get("avx") else 128
        self.fma = bool(features.get("fma")) or not x86
        self.generator = self._new()
        self.header = f'target datalayout = "{self.generator.target_data}"\ntarget triple = "{self.target.triple}"\n'
        self.attributes = f'nounwind "prefer-vector-width"="{self.bits}" "min-legal-vector-width"="{self.bits}"'
        self.linker = llvm.create_lljit_compiler(self._new())
        self.count = 0
        _check_layout()

    def _new(self) -> Any:
        return self.target.create_target_machine(
            cpu=self.cpu, features=self.features, opt=OPTIMISE, jit=True, codemodel="jitdefault", reloc="default"
        )

    def assembly(self, text: str) -> str:
        """The assembly of a module."""
        found: str = self.generator.emit_assembly(self.llvm.parse_assembly(self.header + text))
        return found

    def load(self, text: str, names: list[str]) -> Code:
        """Generate and link a module."""
        module = self.llvm.parse_assembly(self.header + text)
        image = self.generator.emit_object(module)
        self.count += 1
        library = self.llvm.JITLibraryBuilder().add_object_img(image).add_current_process()
        for name, address in _python().items():
            library.import_symbol(name, address)
        for name in names:
            library.export_symbol(name)
        return Code(library.link(self.linker, f"functrans_{self.count}"), names)


class Code:
    """Linked functions, freed with this object."""

    def __init__(self, tracker: Any, names: list[str]) -> None:
        self.tracker = tracker
        self.addresses = {name: int(tracker[name]) for name in names}

    def builtin(self, name: str, owner: Any) -> Callable[..., Any]:
        """A function of Python's calling convention as a builtin, whose ``self`` is its owner and keeps the code."""
        definition = _Method(name.encode(), self.addresses[name], _FASTCALL, None)
        owner.definition = definition
        signature = ctypes.PYFUNCTYPE(
            ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p, ctypes.c_void_p
        )
        made: Callable[..., Any] = signature(("PyCMethod_New", ctypes.pythonapi))(
            ctypes.addressof(definition), owner, None, None
        )
        return made


_FASTCALL = 0x80


class _Method(ctypes.Structure):
    """CPython's ``PyMethodDef``."""

    _fields_: ClassVar = [
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    ]


def _python() -> dict[str, int]:
    """What native code calls of the interpreter."""
    names = ("Py_IncRef", "PyObject_Vectorcall")
    found = {name: ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value or 0 for name in names}
    return found | {"_Py_NoneStruct": id(None)}


def _check_layout() -> None:
    """Kernels read an array's address and flags from its object: both have to be where NumPy keeps them."""
    whole = np.zeros((3, 4))
    swapped = whole.astype(whole.dtype.newbyteorder())
    for array in (whole, whole.T, whole[:, ::2], np.zeros(()), np.zeros(2, np.int8), swapped):
        data = ctypes.c_void_p.from_address(id(array) + DATA).value
        flags = ctypes.c_int.from_address(id(array) + FLAGS).value
        dtype = ctypes.c_void_p.from_address(id(array) + DTYPE).value
        order = ctypes.c_char.from_address(id(array.dtype) + ORDER).value.decode()
        placed = data == array.ctypes.data and flags == array.flags.num and dtype == id(array.dtype)
        if not placed or order != array.dtype.byteorder:
            raise errors.MissingBackendError(
                f"the backend 'llvm' reads arrays where NumPy keeps them, and NumPy {np.__version__} keeps them "
                "elsewhere: use backend='numpy'"
            )


@cache
def machine() -> Machine:
    """The host."""
    return Machine()
