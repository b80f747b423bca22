"""Looking for NaNs and infinities in concrete values, where ``debug_nans`` or ``debug_infs`` asks for it."""

from __future__ import annotations

from typing import Any

import numpy as np

from functrans import errors
from functrans.config import any_mode, config
from functrans.core import dtypes
from functrans.core.avals import aval_of_concrete
from functrans.util.source import Source


def is_debugging() -> bool:
    """Whether values have to be looked at."""
    return any_mode() and bool(config.debug_nans or config.debug_infs)


def _found(value: Any) -> str | None:
    """What a value has in it that the settings look for; traced values are looked at when they are computed."""
    aval = aval_of_concrete(value)
    if aval is None or not dtypes.is_inexact(aval.dtype):
        return None
    if config.debug_nans and bool(np.isnan(value).any()):
        return "a NaN"
    if config.debug_infs and bool(np.isinf(value).any()):
        return "an infinity"
    return None


def check_forward(value: Any, source: Source | None, operation: str) -> None:
    """Raise ``NonFiniteError`` if a value made in the forward pass is not finite."""
    kind = _found(value)
    if kind is not None:
        raise errors.NonFiniteError(f"{kind} was made by {operation!r}{f' at {source}' if source else ''}")


def in_backward_pass(error: errors.NonFiniteError) -> errors.NonFiniteError:
    """The error for a value that was made in the backward pass: it names the forward line whose derivative made it."""
    text = str(error).replace("was made by", "was made in the backward pass. It was made by", 1)
    return errors.NonFiniteError(
        f"{text}, whose derivative was being taken. Where the operation is not needed there, keep its argument inside "
        f"its domain: where(ok, f(where(ok, x, 1.0)), 0.0)"
    )
