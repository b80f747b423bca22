"""How CPython and NumPy lay their objects out, which functions of theirs native code calls, and a test of both.

Native code reads arrays, containers and numbers where the headers of CPython and NumPy say that they lie. ``mismatch``
looks, once a process, whether that holds of the interpreter and the NumPy at hand.
"""

from __future__ import annotations

import ctypes
import struct
import sys
import sysconfig
import types
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

HEAD = object.__basicsize__
"""The bytes before an object's own fields; its type stands in the last word of them."""
TYPE = HEAD - 8
DATA = HEAD
NDIM = HEAD + 8
DIMS = HEAD + 16
STRIDES = HEAD + 24
BASE = HEAD + 32
DTYPE = HEAD + 40
FLAGS = HEAD + 48
HANDLER = HEAD + 72
"""The fields of an array object: ``HANDLER`` is what frees its elements."""
ORDER = HEAD + 10
NUMBER = HEAD + 12
"""The fields of a dtype object: the order of its bytes, and the number of its type."""
SIZE = HEAD
"""The length of a tuple or a list."""
ITEMS = tuple.__basicsize__
"""Where a tuple's items stand, the items themselves."""
LIST_ITEMS = HEAD + 8
"""Where a list holds the address of its items."""
VALUE = HEAD
"""The number in a Python float, a complex or a NumPy scalar, and what a closure cell holds."""
BYTES = bytes.__basicsize__ - 1
TYPE_FLAGS = HEAD + 8 + 18 * 8
TYPE_VECTORCALL = HEAD + 8 + 4 * 8
"""The fields of a type: its flags, and where its instances hold the function that calls them."""

C_CONTIGUOUS = 0x1
OWNS_DATA = 0x4
ALIGNED = 0x100
NATIVE = 0x200
WRITEABLE = 0x400
READY = C_CONTIGUOUS | ALIGNED
"""The flags of an array that native code reads in place."""

_TABLE = {
    "PyArray_Type": 2,
    "PyArray_Scalar": 60,
    "PyArray_NewFromDescr": 94,
    "PyArray_FromArray": 109,
    "PyDataMem_GetHandler": 305,
}
_OBJECTS: dict[str, Any] = {"_Py_NoneStruct": None, "_Py_TrueStruct": True, "_Py_FalseStruct": False}


@cache
def _table() -> Any:
    """NumPy's table of C functions."""
    from numpy._core import _multiarray_umath  # type: ignore[attr-defined]  # lazily: it is private

    signature = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)
    get = signature(("PyCapsule_GetPointer", ctypes.pythonapi))
    return (ctypes.c_void_p * (max(_TABLE.values()) + 1)).from_address(get(_multiarray_umath._ARRAY_API, None))


@cache
def address_of(name: str) -> int:
    """The address of a function or an object of CPython's or NumPy's C API."""
    if name in _TABLE:
        return int(_table()[_TABLE[name]])
    if name in _OBJECTS:
        return id(_OBJECTS[name])
    return ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value or 0


def symbols(*names: str) -> dict[str, int]:
    """The addresses of functions and objects of the C API, by name."""
    return {name: address_of(name) for name in names}


# -- the test --------------------------------------------------------------------------------------------------------


@cache
def mismatch() -> str | None:
    """Why native code cannot work on the objects of this process, in words; None where it can."""
    wrong = _foreign()
    if wrong is not None:
        return wrong
    try:
        return next(_differences(), None)
    except (ImportError, AttributeError, ValueError) as error:
        return f"NumPy {np.__version__} does not offer its C functions as expected ({error})"


def _foreign() -> str | None:
    if sys.implementation.name != "cpython" or struct.calcsize("P") != 8:
        return f"it needs CPython on a 64-bit machine, and this is {sys.implementation.name}"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "it is not available on free-threaded builds of Python"
    get, main = (
        ctypes.PYFUNCTYPE(ctypes.c_void_p)((name, ctypes.pythonapi))
        for name in ("PyInterpreterState_Get", "PyInterpreterState_Main")
    )
    if get() != main():
        return "it works in the main interpreter alone, and this is a subinterpreter"
    return None


def _read(at: int, kind: Any) -> Any:
    return kind.from_address(at).value


def _differences() -> Iterator[str]:
    """What is not where it should be."""
    numpy = f"NumPy {np.__version__} keeps"
    python = f"Python {sys.version.split()[0]} keeps"
    if np.ndarray.__basicsize__ < HANDLER + 8:
        yield f"{numpy} less in an array object than expected"
        return
    whole = np.zeros((3, 4))
    swapped = whole.astype(whole.dtype.newbyteorder())
    for a in (whole, whole.T, whole[:, ::2], np.zeros(()), np.zeros(2, np.int8), swapped):
        at = id(a)
        dims = ctypes.c_int64 * a.ndim
        fields = (
            (_read(at + TYPE, ctypes.c_void_p), id(np.ndarray)),
            (_read(at + DATA, ctypes.c_void_p), a.ctypes.data),
            (_read(at + NDIM, ctypes.c_int), a.ndim),
            (_read(at + DTYPE, ctypes.c_void_p), id(a.dtype)),
            (_read(at + FLAGS, ctypes.c_int), a.flags.num),
            (_read(at + BASE, ctypes.c_void_p), None if a.base is None else id(a.base)),
        )
        if any(found != expected for found, expected in fields):
            yield f"{numpy} the fields of an array elsewhere"
            return
        if a.ndim:
            shape = dims.from_address(_read(at + DIMS, ctypes.c_void_p))
            strides = dims.from_address(_read(at + STRIDES, ctypes.c_void_p))
            if tuple(shape) != a.shape or tuple(strides) != a.strides:
                yield f"{numpy} the shape of an array elsewhere"
        kind = a.dtype
        if _read(id(kind) + ORDER, ctypes.c_char).decode() != kind.byteorder:
            yield f"{numpy} the byte order of a dtype elsewhere"
        if _read(id(kind) + NUMBER, ctypes.c_int) != kind.num:
            yield f"{numpy} the number of a dtype elsewhere"
    scalar = np.float64(1.5)
    if _read(id(scalar) + VALUE, ctypes.c_double) != 1.5:
        yield f"{numpy} the value of a scalar elsewhere"
    yield from _python_differences(python)
    yield from _function_differences()


def _python_differences(python: str) -> Iterator[str]:
    item = object()
    for sequence in ((item, item), [item, item]):
        at = id(sequence)
        items = at + ITEMS if type(sequence) is tuple else _read(at + LIST_ITEMS, ctypes.c_void_p)
        if _read(at + SIZE, ctypes.c_int64) != 2 or _read(items + 8, ctypes.c_void_p) != id(item):
            yield f"{python} the items of a {type(sequence).__name__} elsewhere"
    number, pair, raw, cell = 2.5, complex(1.0, 2.5), b"text", types.CellType(item)
    if _read(id(number) + VALUE, ctypes.c_double) != 2.5 or _read(id(pair) + VALUE + 8, ctypes.c_double) != 2.5:
        yield f"{python} the value of a number elsewhere"
    if ctypes.string_at(id(raw) + BYTES, 4) != raw or _read(id(cell) + VALUE, ctypes.c_void_p) != id(item):
        yield f"{python} the contents of bytes or of a closure cell elsewhere"
    for cls in (int, np.ndarray, types.FunctionType):
        if _read(id(cls) + TYPE_FLAGS, ctypes.c_ulong if sys.platform != "win32" else ctypes.c_uint32) != cls.__flags__:
            yield f"{python} the flags of a type elsewhere"
    # A function is called through a field of its own, behind all others that every version has.
    offset = _read(id(types.FunctionType) + TYPE_VECTORCALL, ctypes.c_int64)
    if not HEAD < offset <= types.FunctionType.__basicsize__ - 8 or offset % 8:
        yield f"{python} the place of a type's calling function elsewhere"


def _function_differences() -> Iterator[str]:
    wrong = f"NumPy {np.__version__} has other C functions than expected"
    if address_of("PyArray_Type") != id(np.ndarray):
        yield wrong
        return
    handler = ctypes.PYFUNCTYPE(ctypes.py_object)(address_of("PyDataMem_GetHandler"))()
    array = np.zeros(3)
    if _read(id(array) + HANDLER, ctypes.c_void_p) != id(handler):
        yield f"NumPy {np.__version__} keeps what frees an array elsewhere"
        return
    pointer, text = ctypes.c_void_p, ctypes.py_object
    new = ctypes.PYFUNCTYPE(text, text, text, ctypes.c_int, pointer, pointer, pointer, ctypes.c_int, pointer)
    dims = (ctypes.c_int64 * 2)(2, 3)
    kind = np.dtype(np.float32)
    for _ in range(2):
        # The call takes the dtype's reference over.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(kind))
        made = new(address_of("PyArray_NewFromDescr"))(np.ndarray, kind, 2, ctypes.addressof(dims), None, None, 0, None)
        if type(made) is not np.ndarray or made.shape != (2, 3) or made.dtype is not kind or not made.flags.owndata:
            yield wrong
    value = ctypes.c_float(1.5)
    scalar = ctypes.PYFUNCTYPE(text, pointer, text, pointer)(address_of("PyArray_Scalar"))
    if repr(scalar(ctypes.addressof(value), kind, None)) != repr(np.float32(1.5)):
        yield wrong
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(kind))
    copy = ctypes.PYFUNCTYPE(text, text, text, ctypes.c_int)(address_of("PyArray_FromArray"))
    strided = np.arange(6.0, dtype=np.float32)[::2]
    copied = copy(strided, kind, READY | NATIVE)
    if not copied.flags.c_contiguous or copied.tolist() != [0.0, 2.0, 4.0]:
        yield wrong
