"""Functions that a function captures, opened: the arrays that they capture in turn, and what lies around them.

A helper that is defined beside a loop's body is a new function in every call of what is around it. It is the same
program if its code is, and what it captures: arrays of the same types, other values that are equal.
"""

from __future__ import annotations

import dis
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from functrans import errors
from functrans.core.callees import MISSING, is_own
from functrans.core.capture import array_type, guard_of, is_captured_array, same
from functrans.core.tree import tree_flatten
from functrans.util.cache import Bounded

_LIMIT = 200
_CHANGING = (list, dict)
_assigns: Bounded[bool] = Bounded(512)


def opens(value: Any) -> bool:
    """Whether a value is a plain function of the user's, which assigns to no variable of the function around it."""
    if type(value) is not types.FunctionType or hasattr(value, "rebuild") or not is_own(value.__code__.co_filename):
        return False
    code = value.__code__
    found = _assigns.get(code)
    if found is None:
        found = _assigns.put(code, _assigns_outside(code))
    return not found


def _assigns_outside(code: types.CodeType) -> bool:
    for i in dis.get_instructions(code):
        if i.opname in ("STORE_DEREF", "DELETE_DEREF") and i.argval in code.co_freevars:
            return True
    return any(_assigns_outside(c) for c in code.co_consts if isinstance(c, types.CodeType))


def _contents(function: types.FunctionType) -> list[Any]:
    found = []
    for cell in function.__closure__ or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:
            found.append(MISSING)
    return [*found, *(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]


def _leaves(value: Any) -> tuple[list[Any], Any]:
    """The leaves and the structure of a container with arrays or functions in it."""
    if type(value) not in (list, dict, tuple) or not value:
        return [], None
    try:
        leaves, treedef = tree_flatten(value)
    except errors.TreeStructureError:
        return [], None
    return (leaves, treedef) if any(is_captured_array(x) or opens(x) for x in leaves) else ([], None)


def _walk(root: Any) -> Iterator[tuple[str, Any, Any]]:
    """What a function captures, part by part: its kind, the part itself, and what it has in common with its like."""
    seen: dict[int, int] = {}
    pending = [root]
    while pending:
        value = pending.pop()
        if id(value) in seen:
            yield "again", value, seen[id(value)]
            continue
        leaves, treedef = _leaves(value)
        if is_captured_array(value):
            seen[id(value)] = len(seen)
            yield "array", value, None
        elif opens(value):
            seen[id(value)] = len(seen)
            names = tuple(value.__kwdefaults__ or ())
            yield "function", value, (value.__code__, id(value.__globals__), len(value.__defaults__ or ()), names)
            pending.extend(reversed(_contents(value)))
        elif treedef is not None:
            seen[id(value)] = len(seen)
            yield "container", value, treedef
            pending.extend(reversed(leaves))
        else:
            yield "other", value, None


class Opened:
    """What a captured function is, arrays apart.

    Attributes:
        parts: the kind of each part, and what it is compared with.
        types: the types of the arrays, in order; ``arrays`` are those of the function that was opened.
        cells: the closure cells of that one and of its like, by identity.
    """

    def __init__(self, function: types.FunctionType) -> None:
        self.parts: list[tuple[str, Any]] = []
        self.arrays: list[Any] = []
        self.cells: set[int] = set()
        for kind, value, what in _walk(function):
            if kind == "array":
                self.arrays.append(value)
                what = array_type(value)
            elif kind == "other":
                what = value if type(value) in _CHANGING else guard_of(value, ())
            elif kind == "function":
                self.cells.update(map(id, value.__closure__ or ()))
            self.parts.append((kind, what))
            if len(self.parts) > _LIMIT:
                raise errors.ArgumentError("opened: too many values are captured")
        self.types = tuple([what for kind, what in self.parts if kind == "array"])

    def release(self) -> None:
        """Forget the arrays: later calls come with their own."""
        self.arrays, self.cells = [], set()

    def match(self, value: Any) -> list[Any] | None:
        """The arrays that another function captures; None where it is not the same in all else."""
        if type(value) is not types.FunctionType:
            return None
        arrays: list[Any] = []
        parts = iter(self.parts)
        for kind, part, what in _walk(value):
            known = next(parts, None)
            if known is None or known[0] != kind:
                return None
            if kind == "array":
                if array_type(part) != known[1]:
                    return None
                arrays.append(part)
            elif kind == "other" and type(part) in _CHANGING:
                # What a callback puts into a list shows in this list alone, however equal another one is.
                if known[1] is not part:
                    return None
            elif not same(known[1], part) if kind == "other" else known[1] != what:
                return None
        return arrays if next(parts, None) is None else None


def opened(value: Any) -> Opened | None:
    """A captured function opened, None for what is none, and for one that captures too much."""
    if not opens(value):
        return None
    try:
        return Opened(value)
    except errors.ArgumentError:
        return None


def remade(value: Any, arrays: Sequence[Any], new: Sequence[Any]) -> tuple[Any, list[tuple[Any, list[Any]]]]:
    """The function around other values for its arrays, and the containers that were made anew, with what they hold."""
    made: dict[int, Any] = {id(a): n for a, n in zip(arrays, new, strict=True)}
    containers: list[tuple[Any, list[Any]]] = []

    def make(value: Any) -> Any:
        if id(value) in made:
            return made[id(value)]
        leaves, treedef = _leaves(value)
        if treedef is not None:
            leaves = [make(x) for x in leaves]
            made[id(value)] = treedef.unflatten(leaves)
            containers.append((made[id(value)], leaves))
            return made[id(value)]
        return _copied(value, made, make) if opens(value) else value

    return make(value), containers


def _copied(f: types.FunctionType, made: dict[int, Any], make: Callable[[Any], Any]) -> types.FunctionType:
    cells = [types.CellType() for _ in f.__closure__ or ()]
    copy = types.FunctionType(f.__code__, f.__globals__, f.__name__, None, tuple(cells))
    # A function may capture itself, so that its copy is known before it is filled.
    made[id(f)] = copy
    values = iter([x if x is MISSING else make(x) for x in _contents(f)])
    for cell in cells:
        value = next(values)
        if value is not MISSING:
            cell.cell_contents = value
    copy.__defaults__ = tuple([next(values) for _ in f.__defaults__ or ()]) or None
    copy.__kwdefaults__ = {name: next(values) for name in f.__kwdefaults__ or ()} or None
    copy.__dict__.update(f.__dict__)
    copy.__qualname__ = f.__qualname__
    return copy
