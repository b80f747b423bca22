"""Machine code from LLVM IR, by llvmlite: the host's target, code generation, and where functions are linked."""

from __future__ import annotations

import ctypes
import itertools
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, ClassVar
from weakref import WeakSet

import numpy as np

from functrans import errors
from functrans.backends.llvm import checking, outside
from functrans.backends.llvm.cache import ObjectCache, versions_of
from functrans.config import config
from functrans.util.cache import Bounded

_SHARED = 256
"""Functions that programs have in common, of which the process keeps the object code."""
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
        half: whether it converts floats of 16 bits.
        objects: the object code on disk.
        loaded: the code that is in memory.
    """

    def __init__(self) -> None:
        import llvmlite
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
        self.half = bool(features.get("f16c")) or self.target.name.startswith("aarch64")
        self.generator = self._new()
        self.header = f'target datalayout = "{self.generator.target_data}"\ntarget triple = "{self.target.triple}"\n'
        self.attributes = f'nounwind "prefer-vector-width"="{self.bits}" "min-legal-vector-width"="{self.bits}"'
        self.linker = llvm.create_lljit_compiler(self._new())
        self.count = itertools.count()
        self.loaded: WeakSet[Code] = WeakSet()
        self._shared: Bounded[bytes] = Bounded(_SHARED)
        versions = (llvmlite.__version__, llvm.llvm_version_info, self.header, self.cpu, self.features, OPTIMISE)
        self.objects = ObjectCache(versions_of(*versions))
        _check_layout()

    def _new(self) -> Any:
        return self.target.create_target_machine(
            cpu=self.cpu, features=self.features, opt=OPTIMISE, jit=True, codemodel="jitdefault", reloc="default"
        )

    def assembly(self, text: str) -> str:
        """The assembly of a module."""
        found: str = self.generator.emit_assembly(self.llvm.parse_assembly(self.header + text))
        return found

    def load(self, text: str, names: Sequence[str], symbols: Mapping[str, int] | None = None) -> Code:
        """Generate and link a module.

        Args:
            text: the module. What lies outside of it, it declares: addresses in the text would keep its object code
                from being used by another process.
            names: the functions to find the addresses of.
            symbols: the addresses of what the module declares, besides the interpreter's own functions.
        """
        main, parts = separated(text)
        image = self.image(main)
        library = self.llvm.JITLibraryBuilder().add_object_img(image)
        size = len(image)
        for part in parts:
            shared = self._shared.get(part) or self._shared.put(part, self.image(part))
            library.add_object_img(shared)
            size += len(shared)
        library.add_current_process()
        for name, address in (_python() | checking.symbols() | dict(symbols or {})).items():
            library.import_symbol(name, address)
        for name in names:
            library.export_symbol(name)
        code = Code(library.link(self.linker, f"functrans_{next(self.count)}"), names, size)
        self.loaded.add(code)
        return code

    def image(self, text: str) -> bytes:
        """The object code of a module: what an earlier process left on disk, or new."""
        if config.native_checks:
            return self._generate(text)  # it numbers messages of this process
        return self.objects.get(text, lambda: self._generate(text))

    def _generate(self, text: str) -> bytes:
        found: bytes = self.generator.emit_object(self.llvm.parse_assembly(self.header + text))
        return found


_PART = re.compile(r"^; shared (\S+)\n(.*?)^; end\n", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"@([\w.$]+)")
_DEFINED = re.compile(r"^define internal (.*?) \{$", re.MULTILINE)


def separated(text: str) -> tuple[str, list[str]]:
    """A module without the functions that programs have in common, and each of those as a module of its own.

    ``Builder.share`` marks them. They are generated once for all programs of a process.
    """
    if "; shared " not in text:
        return text, []
    found = dict(_PART.findall(text))
    declared = {_NAME.findall(line)[0]: line for line in text.splitlines() if line.startswith("declare ")}
    heads = {}
    for name, part in found.items():
        define = _DEFINED.search(part)
        if define is not None:
            heads[name] = f"declare {define[1]}"

    def around(part: str, but: str) -> str:
        """What a text needs besides: declarations, and constants."""
        lines: dict[str, str] = {}
        for name in _NAME.findall(part):
            if name in heads and name != but:
                lines[name] = heads[name]
            elif name in found and name != but:
                lines[name] = found[name]
            elif name in declared:
                lines[name] = declared[name]
        return "".join(f"{line.rstrip()}\n" for line in lines.values())

    rest = _PART.sub("", text)
    used = set(_NAME.findall(rest))
    needed = "".join(f"{heads.get(n) or found[n].rstrip()}\n" for n in found if n in used)
    parts = [around(found[n], n) + found[n].replace("define internal ", "define ", 1) for n in heads]
    return needed + rest, parts


class Code:
    """Linked functions, freed with this object.

    Attributes:
        addresses: of the functions, by name.
        size: the bytes of object code.
    """

    def __init__(self, tracker: Any, names: Sequence[str], size: int = 0) -> None:
        self.tracker = tracker
        self.held: Any = None
        self.size = size
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
    return found | outside.symbols() | {"_Py_NoneStruct": id(None)}


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
