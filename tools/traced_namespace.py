"""``functrans.numpy`` as a namespace of functions that trace every call: for suites that know arrays alone.

    ARRAY_API_TESTS_MODULE="exec('from traced_namespace import xp')"

Each call of a function with arrays is compiled by ``jit`` and run. Where the shape of the result depends on values,
or an argument is no array, the function runs while another value is being differentiated: its traced implementation
then works on values that are known.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

import numpy as np

import functrans as ft
from functrans import errors, tree

VALUES_DECIDE = {"nonzero", "unique_all", "unique_counts", "unique_inverse", "unique_values", "repeat"}
"""Functions whose results have shapes that depend on values."""
EXTENSIONS = ("linalg", "fft")
NOT_COMPUTED = {"broadcast_shapes", "can_cast", "finfo", "from_dlpack", "iinfo", "isdtype", "result_type", "save"}
"""Functions of dtypes and shapes, and those that need memory."""


def _is_array(x: Any) -> bool:
    return isinstance(x, (np.ndarray, np.generic))


def traced(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The function, traced at every call."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        leaves, treedef = tree.flatten((args, kwargs))
        places = [i for i, leaf in enumerate(leaves) if _is_array(leaf)]

        def rebuilt(arrays: Any) -> Any:
            filled = list(leaves)
            for i, array in zip(places, arrays, strict=True):
                filled[i] = array
            given, named = treedef.unflatten(filled)
            return function(*given, **named)

        if places and name not in VALUES_DECIDE:
            return ft.jit(rebuilt)([leaves[i] for i in places])
        found: list[Any] = []

        def beside(x: Any) -> Any:
            found[:] = [rebuilt([leaves[i] for i in places])]
            return x

        ft.jvp(beside, (0.0,), (0.0,))
        return tree.map(_value, found[0])

    return call


def _value(leaf: Any) -> Any:
    if isinstance(leaf, ft.core.trace.Tracer):
        raise errors.LeakedTracerError("a function of constants gave a traced value")
    return leaf


def namespace(module: Any) -> types.SimpleNamespace:
    """A module with its functions, and those of its extensions, traced."""
    found = types.SimpleNamespace(__name__=f"traced {module.__name__}")
    for name in sorted({*dir(module), *(extension for extension in EXTENSIONS if hasattr(module, extension))}):
        value = getattr(module, name)
        if isinstance(value, types.ModuleType):
            if name in EXTENSIONS:
                setattr(found, name, namespace(value))
        elif not callable(value) or isinstance(value, type) or name in NOT_COMPUTED or name.startswith("__"):
            setattr(found, name, value)
        else:
            setattr(found, name, traced(value, name))
    return found


xp = namespace(ft.numpy)
