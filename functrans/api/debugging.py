"""Finding NaNs, infinities and leaks: context managers for a block, or settings of ``functrans.config``."""

from __future__ import annotations

from contextlib import AbstractContextManager

from functrans.config import override


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
