"""Indices that are out of bounds: native code notes one down, and has the error made of it."""

from __future__ import annotations

import ctypes

from functrans import errors
from functrans.lax.gather import outside

_noted = (ctypes.c_int64 * 3)()


def outside_error() -> errors.IndexingError:
    """The error for the index that was noted down last."""
    index, axis, extent = _noted
    return outside("index", index, axis, extent)


def _raise() -> None:
    raise outside_error()


def symbols() -> dict[str, int]:
    """What native code notes the index, its axis and the extent of that down in, and what it has raise the error."""
    call = ("PyObject_CallNoArgs", "PyGILState_Ensure", "PyGILState_Release")
    found = {name: ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value or 0 for name in call}
    return found | {"functrans_outside": ctypes.addressof(_noted), "functrans_raise": id(_raise)}


NOTE = "@functrans_outside = external global [3 x i64]"
LOCK = "declare i32 @PyGILState_Ensure()\ndeclare void @PyGILState_Release(i32)"
RAISE = """@functrans_raise = external global i8
declare ptr @PyObject_CallNoArgs(ptr)
define internal void @functrans_raise_outside() noinline nounwind {
  %s = call i32 @PyGILState_Ensure()
  %r = call ptr @PyObject_CallNoArgs(ptr @functrans_raise)
  call void @PyGILState_Release(i32 %s)
  ret void
}
"""
"""``void functrans_raise_outside()`` sets the exception."""
