"""How functions of SciPy reach the traced world: SciPy's own where nothing is being transformed, ours otherwise."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any, TypeVar, cast

from functrans import errors
from functrans.core.trace import current_trace

F = TypeVar("F", bound=Callable[..., Any])


@functools.cache
def installed(module: str) -> Any:
    """A module of SciPy, imported when first needed; None where SciPy is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        return None


def needed(module: str, who: str) -> Any:
    """A module of SciPy that ``who`` cannot do without.

    Raises:
        MissingBackendError: SciPy is not installed.
    """
    found = installed(module)
    if found is None:
        raise errors.MissingBackendError(f"{who} calls SciPy, which is not installed: pip install scipy")
    return found


def implements(module: str) -> Callable[[F], F]:
    """Make a traced function the counterpart of the one of its name in a module of SciPy.

    What is returned calls SciPy where nothing is being transformed. Without SciPy it computes by the same primitives
    as under a transformation.
    """

    def decorate(traced: F) -> F:
        name = traced.__name__
        eager: list[Any] = []

        @functools.wraps(traced)
        def function(*args: Any, **kwargs: Any) -> Any:
            if current_trace() is None:
                if not eager:
                    eager.append(getattr(installed(module), name, traced))
                return eager[0](*args, **kwargs)
            return traced(*args, **kwargs)

        return cast(F, function)

    return decorate
