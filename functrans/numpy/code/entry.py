"""Where values come into NumPy code that is being transformed, and where they leave it."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from functrans import errors
from functrans.core.capture import Rebuild
from functrans.core.trace import Reference, Tracer
from functrans.core.tree import tree_flatten
from functrans.numpy.code.buffer import Buffer, lift_foreign
from functrans.numpy.code.masked import Masked


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
    """Whether a callable is a Python function of the transformed NumPy code, whose globals are not a plain dict."""
    if isinstance(f, functools.partial):
        return is_rebuilt(f.func)
    function = getattr(f, "__func__", f)
    return isinstance(function, types.FunctionType) and type(function.__globals__) is not dict


def entered(f: Callable[..., Any]) -> Callable[..., Any]:
    """A function of the transformed NumPy code, made fit to be called from outside of it, by ``vmap`` say."""
    if getattr(f, "rebuild", None) is not None:
        return f

    @functools.wraps(f)
    def call(*args: Any, **kwargs: Any) -> Any:
        given = [enter(a, f"argument {i} of {f.__name__}") for i, a in enumerate(args)]
        named = {k: enter(v, f"argument {k!r} of {f.__name__}") for k, v in kwargs.items()}
        return leave(f(*given, **named))

    call.rebuild = Rebuild(entered)  # type: ignore[attr-defined]
    return call
