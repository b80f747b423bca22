"""Finding NaNs, infinities and leaks: context managers for a block, or settings of ``functrans.config``."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from functrans import errors
from functrans.config import config, override
from functrans.core import dtypes
from functrans.core.trace import Tracer, aval_of
from functrans.util.source import Source


def debug_nans(enable: bool = True) -> AbstractContextManager[None]:
    """Raise ``NonFiniteError`` where a transformed function first makes a NaN, naming the user's line.

    A NaN that is born in the backward pass is reported with the line of the forward operation whose derivative
    made it.

    >>> import numpy as np, functrans as ft
    >>> with ft.debug_nans():
    ...     try:
    ...         _ = ft.grad(lambda x: np.sqrt(x) * 0.0)(0.0)
    ...     except ft.errors.NonFiniteError as error:
    ...         print(str(error).split(".")[0])
    a NaN was made in the backward pass
    """
    return _override("debug_nans", enable)


def debug_infs(enable: bool = True) -> AbstractContextManager[None]:
    """Raise ``NonFiniteError`` where a transformed function first makes an infinity; see ``debug_nans``."""
    return _override("debug_infs", enable)


def checking_leaks(enable: bool = True) -> AbstractContextManager[None]:
    """Raise ``LeakedTracerError`` when a traced value outlives its transformation, naming what holds it.

    Every transformation in the block searches the heap when it ends, which is slow.
    """
    return _override("check_leaks", enable)


def disable_jit(disable: bool = True) -> AbstractContextManager[None]:
    """Run jitted functions as plain Python, so that values can be printed and a debugger can step.

    >>> import functrans as ft
    >>> with ft.disable_jit():
    ...     ft.jit(lambda x: print(type(x).__name__))(1.0)
    float
    """
    return _override("disable_jit", disable)


def _override(name: str, value: bool) -> AbstractContextManager[None]:
    context: AbstractContextManager[None] = override(name, value)
    return context


def is_debugging() -> bool:
    """Whether values have to be looked at."""
    return bool(config.debug_nans or config.debug_infs)


def found(value: Any) -> str | None:
    """What a concrete value has in it that the settings look for."""
    if isinstance(value, Tracer) or not dtypes.is_inexact(aval_of(value).dtype):
        return None
    if config.debug_nans and bool(np.isnan(value).any()):
        return "NaN"
    if config.debug_infs and bool(np.isinf(value).any()):
        return "infinity"
    return None


def check_forward(value: Any, source: Source | None, what: str = "") -> None:
    """Raise if a value made in the forward pass is not finite."""
    kind = found(value)
    if kind is not None:
        article = "a" if kind == "NaN" else "an"
        by = f" by {what!r}" if what else ""
        raise errors.NonFiniteError(f"{article} {kind} was made{by}{f' at {source}' if source else ''}")


def backward_check() -> Callable[[Any, Source | None], None]:
    """A check of cotangents."""

    def check(value: Any, source: Source | None) -> None:
        kind = found(value)
        if kind is not None:
            article = "a" if kind == "NaN" else "an"
            raise errors.NonFiniteError(
                f"{article} {kind} was made in the backward pass. The derivative of the operation at {source} made it. "
                f"Where the operation is not needed there, keep its argument in the domain inside of where: "
                f"where(ok, f(where(ok, x, 1.0)), 0.0)"
            )

    return check
