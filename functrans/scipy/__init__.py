"""SciPy's functions: SciPy's own where nothing is transformed and SciPy is installed, ours under a transformation."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from functrans.scipy import fft as fft
    from functrans.scipy import integrate as integrate
    from functrans.scipy import interpolate as interpolate
    from functrans.scipy import linalg as linalg
    from functrans.scipy import ndimage as ndimage
    from functrans.scipy import optimize as optimize
    from functrans.scipy import signal as signal
    from functrans.scipy import special as special
    from functrans.scipy import stats as stats

_LAZY = ("fft", "integrate", "interpolate", "linalg", "ndimage", "optimize", "signal", "special", "stats")


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return importlib.import_module(f"functrans.scipy.{name}")
    raise AttributeError(f"module 'functrans.scipy' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*_LAZY])
