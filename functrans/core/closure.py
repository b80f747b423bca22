"""Traced values that functions close over.

A derivative rule runs later than the call that it belongs to, and under another trace: what it closes over has to
travel to it as an operand does. So the traced values are looked up where Python keeps them (closure cells, defaults,
arguments of a ``partial``, containers of these), and functions are made again around other values.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Sequence
from typing import Any

from functrans.core.trace import Tracer
from functrans.core.tree import tree_flatten
from functrans.errors import TreeStructureError

Make = Callable[[list[Any]], Any]


class Composite:
    """An object made of functions, which can be made again around others."""

    def parts(self) -> list[Any]:
        raise NotImplementedError

    def with_parts(self, parts: list[Any]) -> Any:
        raise NotImplementedError


class Closures:
    """The traced values that callables and containers of them close over.

    Attributes:
        tracers: the values, each once.
    """

    def __init__(self, roots: Sequence[Any]) -> None:
        self.tracers: list[Tracer] = []
        self._seen: dict[int, Any] = {}
        self._users: dict[int, list[int]] = {}
        pending = list(roots)
        while pending:
            value = pending.pop()
            if id(value) in self._seen:
                continue
            if isinstance(value, Tracer):
                self._seen[id(value)] = value
                if not value.trace.ended:
                    self.tracers.append(value)
                continue
            parts = _parts(value)
            if parts is None:
                continue
            self._seen[id(value)] = value
            for part in parts:
                self._users.setdefault(id(part), []).append(id(value))
            pending.extend(parts)

    def substitution(self, values: Sequence[Any]) -> Callable[[Any], Any]:
        """A function that gives a root with these values in place of the tracers."""
        if not self.tracers:
            return lambda root: root
        made = {id(t): v for t, v in zip(self.tracers, values, strict=True)}
        touched = set(made)
        pending = list(made)
        while pending:
            for user in self._users.get(pending.pop(), ()):
                if user not in touched:
                    touched.add(user)
                    pending.append(user)
        seen = self._seen

        def remade(value: Any) -> Any:
            key = id(value)
            # What an object is made of may refer to the object: there the old one stays.
            if key in made or key not in touched or seen.get(key) is not value:
                return made.get(key, value)
            if type(value) is types.FunctionType:
                return _remake_function(value, made, remade)
            made[key] = value
            made[key] = _remake(value, remade)
            return made[key]

        return remade


def _contents(cell: types.CellType) -> list[Any]:
    try:
        return [cell.cell_contents]
    except ValueError:  # The variable has not been assigned yet.
        return []


def _parts(value: Any) -> list[Any] | None:
    """What a callable or a container holds; None for any other object."""
    if isinstance(value, types.FunctionType):
        parts = [content for cell in value.__closure__ or () for content in _contents(cell)]
        return [*parts, *(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values(), *value.__dict__.values()]
    if isinstance(value, types.MethodType):
        return [value.__func__]
    if isinstance(value, functools.partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, Composite):
        return value.parts()
    if hasattr(value, "rebuild") and hasattr(value, "__wrapped__"):
        return [value.__wrapped__]
    if isinstance(value, (type, str, bytes, int, float, complex)) or value is None:
        return None
    try:
        leaves, treedef = tree_flatten(value)
    except TreeStructureError:
        return None
    return None if treedef.num_nodes == 1 and len(leaves) == 1 else leaves


def _remake(value: Any, remade: Callable[[Any], Any]) -> Any:
    if isinstance(value, types.MethodType):
        return types.MethodType(remade(value.__func__), value.__self__)
    if isinstance(value, functools.partial):
        keywords = {name: remade(v) for name, v in value.keywords.items()}
        return functools.partial(remade(value.func), *map(remade, value.args), **keywords)
    if isinstance(value, Composite):
        return value.with_parts([remade(part) for part in value.parts()])
    if hasattr(value, "rebuild") and hasattr(value, "__wrapped__"):
        return value.rebuild(remade(value.__wrapped__))
    leaves, treedef = tree_flatten(value)
    return treedef.unflatten([remade(leaf) for leaf in leaves])


def _remake_function(f: types.FunctionType, made: dict[int, Any], remade: Callable[[Any], Any]) -> Any:
    cells = [cell for cell in f.__closure__ or ()]
    fresh = [types.CellType() for _ in cells]
    copy = types.FunctionType(f.__code__, f.__globals__, f.__name__, f.__defaults__, tuple(fresh))
    # A function may refer to itself through its cells, so it is known before they are filled.
    made[id(f)] = copy
    for new, old in zip(fresh, cells, strict=True):
        for content in _contents(old):
            new.cell_contents = remade(content)
    copy.__defaults__ = tuple(map(remade, f.__defaults__)) if f.__defaults__ else None
    copy.__kwdefaults__ = {n: remade(v) for n, v in f.__kwdefaults__.items()} if f.__kwdefaults__ else None
    copy.__dict__.update({name: remade(v) for name, v in f.__dict__.items()})
    copy.__qualname__ = f.__qualname__
    return copy
