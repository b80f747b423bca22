"""Where a gradient became NaN, said once.

A NaN is looked for in every gradient that is computed eagerly: 0.6 microseconds for an array of a few thousand
elements, a few hundredths of the gradient's own time for larger ones. Only when there is one is the function
differentiated again, with every value looked at.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans.config import config, override
from functrans.util.source import is_internal


def holds_nan(x: Any) -> bool:
    """Whether an array holds a NaN. The sum of squares is one exactly then, and one pass of the BLAS finds it."""
    kind = x.dtype.kind
    if kind == "f" and type(x) is np.ndarray and x.dtype.char in "fd":
        # The sum is infinite, not NaN, where squares overflow.
        total = np.vdot(x, x)
        return bool(total != total)
    return kind in "fc" and type(x).__module__ == "numpy" and bool(np.isnan(x).any())


def diagnose(where: str, name: str, paths: Sequence[str], given: Sequence[Any], rerun: Callable[[], Any]) -> None:
    """Warn of a gradient that is NaN, unless the function's arguments or value are not finite; then stop looking.

    Args:
        paths: where in the arguments the NaNs are.
        given: the function's value and what it was differentiated in.
        rerun: takes the gradient again.
    """
    if not all(bool(np.isfinite(x).all()) for x in given):
        return
    found = "The line was not found, as no operation makes it when it is computed again."
    with override("diagnose_nan_gradients", False), override("debug_nans", True), np.errstate(all="ignore"):
        try:
            rerun()
        except errors.NonFiniteError as error:
            text = str(error).partition(", whose derivative")[0]
            found = f"{text[0].upper()}{text[1:]}."
    config.diagnose_nan_gradients = False
    warnings.warn(
        f"{where}: the gradient is NaN in {', '.join(paths)}, although the arguments and the value are finite. {found} "
        f"If a branch of `where` that is not chosen is differentiated there, take "
        f"functrans.grad(functrans.safe_where({name})). This is said once: config.diagnose_nan_gradients = True looks "
        f"for the next one",
        errors.NaNGradientWarning,
        stacklevel=_user_level(),
    )


def _user_level() -> int:
    """How many frames above ``diagnose`` the user's own code stands."""
    level, frame = 2, sys._getframe(2)
    while frame.f_back is not None and is_internal(frame.f_code.co_filename):
        level, frame = level + 1, frame.f_back
    return level
