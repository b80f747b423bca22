"""How NumPy functions reach the traced world.

A function of ``functrans.numpy`` is NumPy's own where nothing is being transformed: the same results, at the same
speed. Under a transformation it is ours, written in terms of ``functrans.lax``. The same table serves NumPy's
protocols, so that ``np.sum(tracer)`` arrives at our ``sum``.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import numpy as np

from functrans import errors
from functrans.core.trace import Reference, Tracer, aval_of, current_trace
from functrans.core.trace import is_array as is_array

F = TypeVar("F", bound=Callable[..., Any])

namespace: list[Any] = []
"""The module ``functrans.numpy`` itself, for the array API."""

functions: dict[Any, Callable[..., Any]] = {}
"""Traced implementations by NumPy's functions, as far as they are loaded: see ``implementation``."""
_LOADED_AT_FIRST_USE = ("numpy.linalg", "numpy.fft")


def implementation(func: Any) -> Callable[..., Any] | None:
    """The traced implementation of one of NumPy's functions."""
    found = functions.get(func)
    if found is None and getattr(func, "__module__", None) in _LOADED_AT_FIRST_USE:
        importlib.import_module(f"functrans.{func.__module__}")
        found = functions.get(func)
    return found
"""Our implementation of each NumPy function."""

ufuncs: dict[np.ufunc, Any] = {}
"""Our ``Ufunc`` for each NumPy ufunc."""

foreign: list[Callable[[np.ufunc], Any]] = []
"""Functions that find our ``Ufunc`` for a ufunc of another library, or give None."""


def implements(*originals: Callable[..., Any]) -> Callable[[F], F]:
    """Register the traced implementation of a NumPy function (and of its aliases).

    The decorated function takes NumPy's arguments and is called only under a transformation; what is returned
    calls NumPy itself otherwise.
    """

    def decorate(traced: F) -> F:
        eager = originals[0]

        @functools.wraps(traced)
        def function(*args: Any, **kwargs: Any) -> Any:
            if current_trace() is None:
                return eager(*args, **kwargs)
            return traced(*args, **kwargs)

        for original in originals:
            functions[original] = traced
        return cast(F, function)

    return decorate


def extends(original: Callable[..., Any], **options: Any) -> Callable[[F], F]:
    """Register a traced implementation that has keywords which NumPy's function lacks, with their defaults.

    NumPy's own function is called where nothing is being transformed and the keywords have their defaults.
    """

    def decorate(traced: F) -> F:
        @functools.wraps(traced)
        def function(*args: Any, **kwargs: Any) -> Any:
            if current_trace() is None:
                if not kwargs:
                    return original(*args)
                if all(kwargs.get(name, default) is default for name, default in options.items()):
                    return original(*args, **{k: v for k, v in kwargs.items() if k not in options})
            return traced(*args, **kwargs)

        functions[original] = traced
        return cast(F, function)

    return decorate


def operand(x: Any, where: str = "functrans.numpy") -> Any:
    """An array-like as an array, a scalar or a tracer: nested lists, also with tracers in them, become arrays."""
    if isinstance(x, Tracer) or type(x) is np.ndarray or is_array(x):
        return x
    if isinstance(x, (list, tuple)):
        return _from_sequence(x, where)
    if isinstance(x, Reference):
        return x.read()
    if x is None:
        raise errors.ArgumentError(f"{where}: an array or a number is needed, got None")
    array = np.asarray(x)
    if array.dtype == object:
        raise errors.ArgumentError(f"{where}: an array or a number is needed, got {type(x).__name__}")
    return array


def contains_tracer(x: Any) -> bool:
    """Whether a nest of lists and tuples holds a tracer."""
    if isinstance(x, (list, tuple)):
        return any(contains_tracer(item) for item in x)
    return isinstance(x, (Tracer, Reference))


stack_hook: list[Callable[[Sequence[Any]], Any]] = []
"""The function that joins equal arrays along a new first axis; ``functrans.numpy.joining`` puts it here."""


def _from_sequence(x: Any, where: str) -> Any:
    if not contains_tracer(x):
        array = np.asarray(x)
        if array.dtype == object:
            raise errors.ArgumentError(f"{where}: a nested list of numbers is needed, got {x!r}")
        return array
    items = [operand(item, where) for item in x]
    shapes = {aval_of(item).shape for item in items}
    if len(shapes) > 1:
        raise errors.ShapeError(
            f"{where}: the members of a list differ in shape: {', '.join(map(str, sorted(shapes)))}. Pad them to one "
            f"shape, or broadcast them with functrans.numpy.broadcast_arrays"
        )
    return stack_hook[0](items)


def reject_out(name: str, out: Any) -> None:
    """Reject ``out=``: a concrete array cannot take a traced result."""
    if out is None or (isinstance(out, tuple) and all(o is None for o in out)):
        return
    raise errors.DetachedWriteError(
        f"{name}(..., out=...): a traced result cannot be written into an array, it would lose its derivative. Use "
        f"the returned value: y = {name}(...), and y = y + x in place of y += x. In a function decorated with "
        f"@functrans.numpy_code, buffers made by NumPy may be written to"
    )


def array_function(func: Any, args: Any, kwargs: Any) -> Any:
    """What ``__array_function__`` of a tracer does."""
    if kwargs.get("out") is not None:
        reject_out(f"numpy.{func.__name__}", kwargs["out"])
    ours = implementation(func)
    if ours is None:
        raise errors.MissingRuleError(
            f"{func.__module__}.{func.__name__} cannot be traced. Write it in terms of other functions, or call it "
            f"through functrans.pure_callback, which needs the result's shape and dtype"
        )
    return ours(*args, **kwargs)


def array_ufunc(ufunc: np.ufunc, method: str, args: Any, kwargs: Any) -> Any:
    """What ``__array_ufunc__`` of a tracer does."""
    out = kwargs.pop("out", None)
    if out is not None and any(o is not None for o in out):
        if method == "at" or not all(isinstance(o, Tracer) for o in out if o is not None):
            reject_out(f"numpy.{ufunc.__name__}", out)
        reject_out(f"numpy.{ufunc.__name__}", out)
    ours = ufuncs.get(ufunc)
    if ours is None:
        ours = next((found for find in foreign if (found := find(ufunc)) is not None), None)
    if ours is None:
        raise errors.MissingRuleError(
            f"the ufunc {ufunc.__name__!r} cannot be traced: functrans has no primitive for it. Call it through "
            f"functrans.pure_callback, and give its derivative with functrans.custom_jvp"
        )
    if method == "__call__":
        return ours.apply(*args, **kwargs)
    if method == "at":
        raise errors.DetachedWriteError(
            f"numpy.{ufunc.__name__}.at writes into an array, which would lose derivatives. Write "
            f"x = functrans.numpy.at(x)[index].add(values)"
        )
    return getattr(ours, method)(*args, **kwargs)
