"""Backends: each folder here turns jaxprs into functions of arrays. They are found by the folder's name."""

from __future__ import annotations

import importlib
import pkgutil
import warnings
from importlib.util import find_spec

from functrans import errors
from functrans.backends import numpy as numpy
from functrans.backends.base import Backend, serve_devices_by
from functrans.backends.base import serving as serving
from functrans.core.records import name_singleton

_loaded: dict[str, Backend] = {}


def names() -> list[str]:
    """The names of the backends that the package has, installed or not."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if m.ispkg)


def find(name: str) -> Backend:
    """The backend of that name.

    Raises:
        MissingBackendError: there is none, or a package that it needs is not installed.
    """
    backend = _loaded.get(name)
    if backend is None:
        if name not in names():
            raise errors.MissingBackendError(f"there is no backend {name!r}; the backends are {', '.join(names())}")
        module = importlib.import_module(f"{__name__}.{name}")
        found: Backend = module.backend
        missing = [package for package in found.requires if find_spec(package) is None]
        if missing:
            raise errors.MissingBackendError(
                f"the backend {name!r} needs the package {missing[0]}: python -m pip install {found.install}"
            )
        reason = found.unusable()
        if reason is not None:
            warnings.warn(
                f"the backend {name!r} is turned off: {reason}. Programs run on the backend 'numpy', with the same "
                f"results",
                RuntimeWarning,
                stacklevel=2,
            )
            return _loaded.setdefault(name, numpy.backend)
        backend = _loaded.setdefault(name, found)
        name_singleton(name, backend)
    return backend


def default_backend() -> str:
    """The name of the backend that ``jit`` uses where nothing else is said."""
    return "numpy"


serve_devices_by(lambda: find("cupy"))
