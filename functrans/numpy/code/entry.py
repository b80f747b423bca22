"""Where values come into NumPy code that is being transformed, and where they leave it."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from functrans import errors
from functrans.api.boundary import name_of
from functrans.core.capture import Rebuild
from functrans.core.trace import Reference, Tracer
from functrans.core.tree import tree_flatten
from functrans.numpy.code.buffer import Buffer, lift_foreign
from functrans.numpy.code.masked import Masked

MARK = "__numpy_code__"
"""A name among the builtins of rebuilt functions, by which they and the functions that they make are known."""


def enter(value: Any, owner: str) -> Any:
    """An argument with its arrays as buffers that belong to the caller.

    Containers that hold traced values were made for this call and are taken apart; the user's own lists and dicts
    stay as they are, since the function may change them.
    """
    kind = type(value)
    if kind is Tracer or kind is np.ndarray:
        return lift_foreign(value, owner)
    if kind is tuple:
        return tuple([enter(v, f"{owner}[{i}]") for i, v in enumerate(value)])
    if kind is Buffer or kind in (int, float, str, bool):
        return value
    try:
        leaves, treedef = tree_flatten(value)
    except errors.TreeStructureError:
        return value
    if not any([isinstance(leaf, Tracer) for leaf in leaves]):
        return value
    return treedef.unflatten([lift_foreign(leaf, owner) for leaf in leaves])


def leave(value: Any) -> Any:
    """A result without buffers."""
    kind = type(value)
    if kind is Buffer:
        return value.surrender()
    if kind is Tracer or kind is np.ndarray:
        return value
    if kind is Masked:
        raise value.unknown_size("returned")
    if inspect.isgenerator(value):
        return _leaving(value)
    try:
        leaves, treedef = tree_flatten(value, is_leaf=lambda x: isinstance(x, Reference))
    except errors.TreeStructureError:
        return value
    if not any([type(leaf) in (Buffer, Masked) for leaf in leaves]):
        return value
    return treedef.unflatten([leave(leaf) if type(leaf) in (Buffer, Masked) else leaf for leaf in leaves])


def _leaving(generator: Iterator[Any]) -> Iterator[Any]:
    for item in generator:
        yield leave(item)


def is_rebuilt(f: Any) -> bool:
    """Whether a callable is a Python function of the transformed NumPy code."""
    if isinstance(f, functools.partial):
        return is_rebuilt(f.func)
    function = getattr(f, "__func__", f)
    if not isinstance(function, types.FunctionType):
        return False
    names = function.__globals__.get("__builtins__")
    return isinstance(names, dict) and MARK in names


def _with_buffers(f: types.FunctionType) -> types.FunctionType:
    """The function with buffers in place of the traced values that ``jit`` or a loop put into its cells."""
    cells = list(f.__closure__ or ())
    changed = False
    for i, cell in enumerate(cells):
        try:
            value = cell.cell_contents
        except ValueError:
            continue
        if isinstance(value, Tracer):
            cells[i] = types.CellType(lift_foreign(value, f"the array {f.__code__.co_freevars[i]!r}", outer=True))
            changed = True
    if not changed:
        return f
    copy = types.FunctionType(f.__code__, f.__globals__, f.__name__, f.__defaults__, tuple(cells))
    copy.__kwdefaults__ = f.__kwdefaults__
    copy.__qualname__ = f.__qualname__
    return copy


def entered(f: Callable[..., Any]) -> Callable[..., Any]:
    """A function of the transformed NumPy code, made fit to be called from outside of it, by ``vmap`` say."""
    if getattr(f, "rebuild", None) is not None:
        return f
    name = name_of(f)
    function = _with_buffers(f) if isinstance(f, types.FunctionType) else f

    @functools.wraps(f)
    def call(*args: Any, **kwargs: Any) -> Any:
        given = [enter(a, f"argument {i} of {name}") for i, a in enumerate(args)]
        named = {k: enter(v, f"argument {k!r} of {name}") for k, v in kwargs.items()}
        return leave(function(*given, **named))

    call.rebuild = Rebuild(entered)  # type: ignore[attr-defined]
    return call
