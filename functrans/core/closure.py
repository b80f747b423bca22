"""Traced values that functions close over.

A derivative rule runs later than the call that it belongs to, and under another trace: what it closes over has to
travel to it as an operand does. So the traced values are looked up where Python keeps them (closure cells, defaults,
arguments of a ``partial``, containers of these), and functions are made again around other values.
"""

from __future__ import annotations

import copy
import functools
import types
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans.core.trace import Tracer
from functrans.core.tree import tree_flatten
from functrans.errors import TreeStructureError


class Composite:
    """An object made of functions, of which a copy can be made around others."""

    def parts(self) -> list[Any]:
        raise NotImplementedError

    def replace_parts(self, parts: list[Any]) -> None:
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
                if not value._trace.ended:
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

        def changes(value: Any) -> bool:
            return id(value) in made or (id(value) in touched and seen.get(id(value)) is value)

        def remade(value: Any) -> Any:
            key = id(value)
            if key in made or not changes(value):
                return made.get(key, value)
            # Functions and composites may refer to themselves, so the copy is known before it is filled.
            if isinstance(value, types.FunctionType):
                cells = [types.CellType() if any(map(changes, _contents(c))) else c for c in value.__closure__ or ()]
                made[key] = types.FunctionType(value.__code__, value.__globals__, value.__name__, None, tuple(cells))
                _fill_function(made[key], value, remade)
            elif isinstance(value, Composite):
                made[key] = copy.copy(value)
                made[key].replace_parts([remade(part) for part in value.parts()])
            else:
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
    if value is None or isinstance(value, (type, types.ModuleType, str, bytes, int, float, complex, np.ndarray)):
        return None
    if _is_transformed(value):
        return [value.__wrapped__]
    try:
        leaves, treedef = tree_flatten(value)
    except TreeStructureError:
        return None
    return None if treedef.num_nodes == 1 and len(leaves) == 1 else leaves


def _is_transformed(value: Any) -> bool:
    """Whether a callable object says how to make it again around another function, as a jitted one does."""
    return hasattr(value, "rebuild") and hasattr(value, "__wrapped__")


def _fill_function(new: types.FunctionType, old: types.FunctionType, remade: Callable[[Any], Any]) -> None:
    for cell, before in zip(new.__closure__ or (), old.__closure__ or (), strict=True):
        if cell is not before:
            cell.cell_contents = remade(before.cell_contents)
    new.__defaults__ = tuple(map(remade, old.__defaults__)) if old.__defaults__ else None
    new.__kwdefaults__ = {n: remade(v) for n, v in old.__kwdefaults__.items()} if old.__kwdefaults__ else None
    new.__dict__.update({name: remade(v) for name, v in old.__dict__.items()})
    new.__qualname__ = old.__qualname__


def _remake(value: Any, remade: Callable[[Any], Any]) -> Any:
    if isinstance(value, types.MethodType):
        return types.MethodType(remade(value.__func__), value.__self__)
    if isinstance(value, functools.partial):
        keywords = {name: remade(v) for name, v in value.keywords.items()}
        return functools.partial(remade(value.func), *map(remade, value.args), **keywords)
    if _is_transformed(value):
        return value.rebuild(remade(value.__wrapped__))
    leaves, treedef = tree_flatten(value)
    return treedef.unflatten([remade(leaf) for leaf in leaves])
