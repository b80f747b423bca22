"""Where in the user's own code we are: the file and line that equations, errors and diagnostics speak of."""

from __future__ import annotations

import os
import sys
from types import CodeType, FrameType
from typing import NamedTuple

import numpy as np

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_NUMPY = os.path.dirname(os.path.abspath(np.__file__)) + os.sep
_internal_files: dict[str, bool] = {}
_INTERNAL_FILES_LIMIT = 1000


class Source(NamedTuple):
    """A place in the user's program. ``scope`` is the path of the enclosing ``named_scope`` blocks."""

    file: str
    line: int
    function: str
    scope: str = ""

    def __str__(self) -> str:
        where = f"{os.path.basename(self.file)}:{self.line} ({self.function})"
        return f"{self.scope}: {where}" if self.scope else where


def is_package(file: str) -> bool:
    """Whether a file belongs to the package itself, or is code that it generated."""
    return file.startswith(_PACKAGE) or file.startswith("<functrans")


def is_internal(file: str) -> bool:
    """Whether a file belongs to the package itself or to NumPy's Python layer, which forwards to it."""
    return file.startswith((_PACKAGE, _NUMPY)) or file.startswith("<functrans")


def _is_internal_code(code: CodeType) -> bool:
    file = code.co_filename
    known = _internal_files.get(file)
    if known is None:
        if len(_internal_files) >= _INTERNAL_FILES_LIMIT:
            _internal_files.clear()
        known = _internal_files[file] = is_internal(file)
    return known


def user_frame() -> FrameType | None:
    """The innermost frame that is the user's, or None where the package was entered without one."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _is_internal_code(frame.f_code):
        frame = frame.f_back
    return frame


def user_source(scope: str = "") -> Source | None:
    """The user's current file, line and function."""
    frame = user_frame()
    if frame is None:
        return None
    return Source(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name, scope)
