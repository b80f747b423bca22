"""Classes whose instances may be called by a native function (PEP 590), which Python classes by themselves may not.

An instance holds, before its attributes, the address of the function that calls it and a word for that function's use.
While the address is 0 the interpreter calls ``__call__``, as of any object.
"""

from __future__ import annotations

import ctypes
import sys
import sysconfig
import types
from functools import cache
from typing import Any, ClassVar

_HEAD = object.__basicsize__
FUNCTION = _HEAD
CHAIN = _HEAD + 8
"""Where an instance holds the two words, ``_function`` and ``_chain`` to Python."""
_TYPE_VECTORCALL = _HEAD + 8 + 4 * 8
_TYPE_FLAGS = _HEAD + 8 + 18 * 8
_WORD, _READONLY = 19, 1
_MEMBERS = 72
_BASETYPE, _VECTORCALL, _DEFAULT = 1 << 10, 1 << 11, 1 << 18
_Flags: Any = ctypes.c_uint32 if sys.platform == "win32" else ctypes.c_ulong


class _Member(ctypes.Structure):
    """CPython's ``PyMemberDef``."""

    _fields_: ClassVar = [
        ("name", ctypes.c_char_p),
        ("type", ctypes.c_int),
        ("offset", ctypes.c_ssize_t),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    ]


class _Slot(ctypes.Structure):
    """CPython's ``PyType_Slot``."""

    _fields_: ClassVar = [("slot", ctypes.c_int), ("function", ctypes.c_void_p)]


class _Spec(ctypes.Structure):
    """CPython's ``PyType_Spec``."""

    _fields_: ClassVar = [
        ("name", ctypes.c_char_p),
        ("basicsize", ctypes.c_int),
        ("itemsize", ctypes.c_int),
        ("flags", ctypes.c_uint),
        ("slots", ctypes.POINTER(_Slot)),
    ]


@cache
def _base() -> type:
    """The class of the two words."""
    members = (_Member * 4)(
        _Member(b"__vectorcalloffset__", _WORD, FUNCTION, _READONLY, None),
        _Member(b"_function", _WORD, FUNCTION, 0, None),
        _Member(b"_chain", _WORD, CHAIN, 0, None),
        _Member(None, 0, 0, 0, None),
    )
    slots = (_Slot * 2)(_Slot(_MEMBERS, ctypes.addressof(members)), _Slot(0, None))
    spec = _Spec(b"functrans.Callable", CHAIN + 8, 0, _DEFAULT | _BASETYPE, slots)
    make = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p)
    made: type = make(("PyType_FromSpec", ctypes.pythonapi))(ctypes.addressof(spec))
    for kept in (members, slots, spec):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(kept))
    return made


def _is_known() -> bool:
    """Whether the interpreter lays its types out as the headers of CPython say."""
    if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED") or _Flags(-1).value < 0:
        return False
    if ctypes.sizeof(ctypes.c_void_p) != 8:
        return False
    classes = (int, dict, types.FunctionType)
    if any(_Flags.from_address(id(cls) + _TYPE_FLAGS).value != cls.__flags__ for cls in classes):
        return False
    offset = ctypes.c_int64.from_address(id(types.FunctionType) + _TYPE_VECTORCALL).value
    return _HEAD < offset <= types.FunctionType.__basicsize__ - 8 and offset % 8 == 0


@cache
def natively_callable(cls: type) -> type:
    """A class derived from ``cls`` whose instances may be called natively; ``cls`` itself where that cannot be."""
    if not _is_known():
        return cls
    names = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__, "native": True}
    made = type(cls.__name__, (cls, _base()), names)
    if ctypes.c_int64.from_address(id(made) + _TYPE_VECTORCALL).value != FUNCTION:
        return cls
    _Flags.from_address(id(made) + _TYPE_FLAGS).value |= _VECTORCALL
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(made))
    return made
