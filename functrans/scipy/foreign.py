"""Ufuncs of ``scipy.special`` that meet a traced value in NumPy code arrive at the functions of functrans."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import numpy as np

from functrans.numpy.dispatch import foreign


def counterpart(ufunc: np.ufunc) -> Any:
    """Our function for a ufunc of SciPy; None where it is not SciPy's, or has none.

    SciPy is not imported for it: whose ufunc it is, SciPy was imported before.
    """
    for module in ("scipy.special", "scipy.special._ufuncs"):
        library = sys.modules.get(module)
        if library is not None and getattr(library, ufunc.__name__, None) is ufunc:
            return importlib.import_module("functrans.scipy.special.ufuncs").by_name.get(ufunc.__name__)
    return None


foreign.append(counterpart)
