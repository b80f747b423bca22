"""What the functions that a function calls read from outside: their globals, closure cells and attributes of ``self``.

They are found in the code, before anything runs: a global, a closure cell, a method of the same ``self`` or a member of
a module whose name the code mentions. Only the user's own functions are followed; what is installed does not change.
"""

from __future__ import annotations

import dis
import functools
import os
import types
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from functrans.util.cache import Bounded
from functrans.util.source import is_internal

MISSING: Any = object()
_LIMIT = 256
_DATA = (bool, int, float, complex, str, bytes, type(None), tuple, list, dict, np.ndarray, np.generic)
_STANDARD = os.path.dirname(os.path.abspath(os.__file__)) + os.sep
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


class CodeNames(NamedTuple):
    """The names that a function's code reads."""

    globals: tuple[str, ...]
    attributes: tuple[str, ...]


_names: Bounded[CodeNames] = Bounded(512)


def read_names(code: types.CodeType) -> CodeNames:
    """The globals and attributes that code, and the code within it, mentions."""
    known = _names.get(code)
    if known is not None:
        return known
    global_names: dict[str, None] = {}
    attributes: dict[str, None] = {}
    pending = [code]
    while pending:
        current = pending.pop()
        for instruction in dis.get_instructions(current):
            if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
                global_names[instruction.argval] = None
            elif instruction.opname in ("LOAD_ATTR", "LOAD_METHOD"):
                attributes[instruction.argval] = None
        pending.extend(c for c in current.co_consts if isinstance(c, types.CodeType))
    return _names.put(code, CodeNames(tuple(global_names), tuple(attributes)))


class Spot:
    """Where a callee reads a value: a namespace and a name in it, or a closure cell."""

    __slots__ = ("name", "owner", "reader")

    def __init__(self, owner: Any, name: str, reader: str) -> None:
        self.owner = owner
        self.name = name
        self.reader = reader

    def read(self) -> Any:
        if isinstance(self.owner, dict):
            return self.owner.get(self.name, MISSING)
        try:
            return self.owner.cell_contents
        except ValueError:
            return MISSING

    def describe(self) -> str:
        kind = "global" if isinstance(self.owner, dict) else "closure variable"
        return f"the {kind} {self.name!r} of {self.reader}"


def _unwrapped(value: Any) -> Any:
    """The function behind partials, bound methods and the package's own wrappers."""
    while True:
        if isinstance(value, functools.partial):
            value = value.func
        elif isinstance(value, types.MethodType):
            value = value.__func__
        elif getattr(value, "rebuild", None) is not None and hasattr(value, "__wrapped__"):
            value = value.__wrapped__
        else:
            return value


def is_own(file: str | None) -> bool:
    """Whether a file is the user's, and not the package's, the standard library's or installed."""
    if file is None or is_internal(file) or file.startswith(_STANDARD):
        return False
    return not any(folder in file for folder in _INSTALLED)


def _followed(value: Any) -> types.FunctionType | None:
    """A function of the user's behind a value."""
    function = _unwrapped(value)
    if isinstance(function, types.FunctionType) and is_own(function.__code__.co_filename):
        return function
    return None


def _reads(function: types.FunctionType) -> Iterator[tuple[Spot, Any]]:
    """What a function reads from outside, with the values that lie there."""
    names = read_names(function.__code__)
    reader = function.__name__
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        spot = Spot(cell, name, reader)
        yield spot, spot.read()
    for name in names.globals:
        value = function.__globals__.get(name, MISSING)
        yield Spot(function.__globals__, name, reader), value
        if isinstance(value, types.ModuleType) and is_own(getattr(value, "__file__", None)):
            members = vars(value)
            yield from ((Spot(members, n, reader), members[n]) for n in names.attributes if n in members)


def reach(function: types.FunctionType, bound: Any) -> tuple[list[Spot], list[str]]:
    """The places that callees read data and functions from, and the attributes of ``self`` that its methods mention."""
    spots: dict[tuple[int, str], Spot] = {}
    attributes: dict[str, None] = {}
    pending: list[tuple[types.FunctionType, bool]] = [(function, bound is not None)]
    seen: set[types.CodeType] = set()
    while pending and len(seen) < _LIMIT:
        current, is_method = pending.pop()
        if current.__code__ in seen:
            continue
        seen.add(current.__code__)
        if is_method:
            for name in read_names(current.__code__).attributes:
                attributes[name] = None
                member = getattr(type(bound), name, None)
                method = _followed(member.fget if isinstance(member, property) else member)
                if method is not None:
                    pending.append((method, True))
        for spot, value in _reads(current):
            callee = _followed(value)
            if callee is not None:
                pending.append((callee, False))
            # What the function itself names is compared already, but for the members of modules.
            own = current is function and (spot.owner is function.__globals__ or not isinstance(spot.owner, dict))
            if not own and (callee is not None or isinstance(value, _DATA)):
                spots.setdefault((id(spot.owner), spot.name), spot)
    return list(spots.values()), list(attributes)
