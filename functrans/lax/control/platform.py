"""``platform_dependent``: another function on another kind of machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans.core.avals import shaped
from functrans.core.primitive import BatchAxis, Primitive, Sample, array_module
from functrans.core.trace import current_trace
from functrans.core.tree import tree_leaves
from functrans.lax.control.body import check_function
from functrans.lax.control.cond import switch
from functrans.lax.families import no_tangent

PLATFORMS = {"cpu": "numpy", "cuda": "cupy", "gpu": "cupy"}
"""The array module that stands for each platform."""


def _batch(axis: BatchAxis, args: Sequence[Any], dims: Sequence[int | None], **params: Any) -> tuple[Any, None]:
    return platform_index_p.bind(*args, **params), None


def _index(xp: Any, *args: Any, modules: tuple[str, ...], default: bool) -> int:
    """The number of the function for this platform; one past the end is the default."""
    found = next((i for i, m in enumerate(modules) if m == xp.__name__), len(modules))
    if found == len(modules) and not default:
        raise errors.ArgumentError(
            f"platform_dependent: there is no function for the platform of {xp.__name__} arrays. Pass one, or default="
        )
    return found


platform_index_p: Primitive = Primitive(
    "platform_index",
    shape=lambda *avals, modules, default: shaped((), np.dtype(np.int64), "python"),
    impl=_index,
    jvp=no_tangent(lambda: platform_index_p),
    batch=_batch,
    kind="library",
    samples=lambda: [
        Sample((np.ones(2),), {"modules": ("cupy", "numpy"), "default": False}),
        Sample((1.0,), {"modules": ("cupy",), "default": True}),
    ],
)


def platform_dependent(
    *args: Any, default: Callable[..., Any] | None = None, **per_platform: Callable[..., Any]
) -> Any:
    """The function for the platform on which the program runs, applied to ``args``.

    The platform is that of the arrays: ``cpu`` for NumPy's, ``cuda`` (or ``gpu``) for CuPy's. Under ``jit`` one
    compiled program holds all functions and chooses when it runs, so they must return one structure and one type.

    Args:
        args: the operands.
        default: what is called on a platform that is not named.
        per_platform: a function for each platform, by its name: ``cpu=``, ``cuda=``.

    Raises:
        ArgumentError: for a platform that does not exist, or one without a function.

    >>> import numpy as np, functrans as ft
    >>> ft.lax.platform_dependent(np.arange(3.0), cpu=np.sum, default=np.max)
    np.float64(3.0)
    """
    if default is not None:
        check_function("platform_dependent", "default", default)
    for name, f in per_platform.items():
        if name not in PLATFORMS:
            raise errors.ArgumentError(
                f"platform_dependent: {name!r} is no platform; there are {', '.join(map(repr, PLATFORMS))}"
            )
        check_function("platform_dependent", name, f)
    if not per_platform and default is None:
        raise errors.ArgumentError("platform_dependent: pass a function for a platform, as cpu=, or default=")
    leaves = tree_leaves(args)
    modules = tuple(PLATFORMS[name] for name in per_platform)
    functions = list(per_platform.values())
    if default is not None:
        functions.append(default)
    if current_trace() is None:
        return functions[_index(array_module(leaves), modules=modules, default=default is not None)](*args)
    if len(functions) == 1:
        functions *= 2  # so that the choice, which fails elsewhere, is made
    return switch(platform_index_p.bind(*leaves, modules=modules, default=default is not None), functions, *args)
