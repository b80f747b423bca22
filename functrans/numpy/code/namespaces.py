"""Stand-ins for modules, and for their members, in the globals of NumPy code that is being transformed."""

from __future__ import annotations

import math
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from functrans.core.trace import current_trace
from functrans.lax.at import At
from functrans.numpy.code.buffer import Buffer, lift, lower
from functrans.numpy.code.calls import call, ufunc_call
from functrans.numpy.code.entry import entered, is_rebuilt
from functrans.numpy.code.mathematics import is_math, math_call
from functrans.numpy.code.specials import Vectorized, specials

Translate = Callable[[str, Any], Any]


class Namespace:
    """A module whose members are translated when they are first asked for."""

    def __init__(self, module: types.ModuleType, translate: Translate) -> None:
        self.__name__ = module.__name__
        self.__doc__ = module.__doc__
        self._module = module
        self._translate = translate

    def __getattr__(self, name: str) -> Any:
        value = self._translate(name, getattr(self._module, name))
        self.__dict__[name] = value
        return value

    def __dir__(self) -> list[str]:
        return dir(self._module)

    def __repr__(self) -> str:
        return repr(self._module)


class LiveNamespace:
    """A module of the user's: its members are looked up and translated at every use, and may be set."""

    def __init__(self, module: types.ModuleType, names: Any) -> None:
        object.__setattr__(self, "_module", module)
        object.__setattr__(self, "_names", names)

    def __getattr__(self, name: str) -> Any:
        try:
            return self._names[name]
        except KeyError:
            return getattr(self._module, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._module, name, value)

    def __dir__(self) -> list[str]:
        return dir(self._module)

    def __repr__(self) -> str:
        return repr(self._module)


class _Stand:
    """Stands for a callable: its attributes are the callable's."""

    def __init__(self, original: Any) -> None:
        self.__wrapped__ = original
        self.__name__ = getattr(original, "__name__", type(original).__name__)
        self.__doc__ = original.__doc__

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__wrapped__, name)

    def __eq__(self, other: object) -> bool:
        return self.__wrapped__ is (other.__wrapped__ if isinstance(other, _Stand) else other)

    def __hash__(self) -> int:
        return hash(self.__wrapped__)

    def __repr__(self) -> str:
        return repr(self.__wrapped__)


def _outside(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    return lower(args, Buffer.surrender), lower(kwargs, Buffer.surrender)


class FunctionStand(_Stand):
    """A function of NumPy."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if current_trace() is None:
            args, kwargs = _outside(args, kwargs)
            return self.__wrapped__(*args, **kwargs)
        return call(self.__wrapped__, args, kwargs)


class UfuncStand(_Stand):
    """A ufunc, with its methods."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._apply("__call__", args, kwargs)

    def _apply(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if current_trace() is None:
            args, kwargs = _outside(args, kwargs)
            return (self.__wrapped__ if method == "__call__" else getattr(self.__wrapped__, method))(*args, **kwargs)
        return ufunc_call(self.__wrapped__, method, args, dict(kwargs))

    def reduce(self, *args: Any, **kwargs: Any) -> Any:
        """See ``numpy.ufunc.reduce``."""
        return self._apply("reduce", args, kwargs)

    def accumulate(self, *args: Any, **kwargs: Any) -> Any:
        """See ``numpy.ufunc.accumulate``."""
        return self._apply("accumulate", args, kwargs)

    def reduceat(self, *args: Any, **kwargs: Any) -> Any:
        """See ``numpy.ufunc.reduceat``."""
        return self._apply("reduceat", args, kwargs)

    def outer(self, *args: Any, **kwargs: Any) -> Any:
        """See ``numpy.ufunc.outer``."""
        return self._apply("outer", args, kwargs)

    def at(self, *args: Any, **kwargs: Any) -> Any:
        """See ``numpy.ufunc.at``."""
        return self._apply("at", args, kwargs)


class LibraryStand(_Stand):
    """A callable of functrans, or one that it returned: takes buffers, gives buffers, and calls back with buffers."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        given = [_handed_over(a) for a in args]
        named = {k: _handed_over(v) for k, v in kwargs.items()}
        result = self.__wrapped__(*given, **named)
        if isinstance(result, At) or (callable(result) and not isinstance(result, (type, Buffer))):
            return LibraryStand(result)
        if type(result) in (tuple, list):
            return type(result)([LibraryStand(r) if _is_function(r) else lift(r) for r in result])
        return lift(result)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.__wrapped__, name)
        return LibraryStand(value) if callable(value) and not isinstance(value, type) else value

    def __getitem__(self, key: Any) -> Any:
        return LibraryStand(self.__wrapped__[lower(key)])


def _is_function(x: Any) -> bool:
    return callable(x) and not isinstance(x, (type, Buffer)) and not hasattr(x, "dtype")


def _handed_over(value: Any) -> Any:
    if isinstance(value, _Stand):
        return value.__wrapped__
    if is_rebuilt(value):
        return entered(value)
    return lower(value)


# -- translation ----------------------------------------------------------------------------------------------------

_numpy: dict[int, tuple[Any, Any]] = {}
"""The stand-ins for members of NumPy, by identity. They are as many as NumPy has members."""


def _package(value: Any) -> str:
    module = getattr(value, "__module__", None)
    return module.partition(".")[0] if isinstance(module, str) else ""


def is_numpy(value: Any) -> bool:
    """Whether an object is a module, a function or a special object of NumPy, or a ufunc of anybody's."""
    if isinstance(value, types.ModuleType):
        return value.__name__.partition(".")[0] == "numpy"
    if isinstance(value, np.ufunc) or id(value) in specials:
        return True
    return callable(value) and not isinstance(value, type) and _package(value) == "numpy"


def translate_numpy(name: str, value: Any) -> Any:
    """What stands for a member of NumPy; the member itself where none is needed."""
    if not is_numpy(value):
        return value
    known = _numpy.get(id(value))
    if known is not None and known[0] is value:
        return known[1]
    if id(value) in specials:
        stand = specials[id(value)]
    elif isinstance(value, types.ModuleType):
        stand = Namespace(value, translate_numpy)
    elif isinstance(value, np.ufunc):
        stand = UfuncStand(value)
    elif isinstance(value, np.vectorize):
        return Vectorized(value.pyfunc, value.otypes, excluded=value.excluded, signature=value.signature)
    else:
        stand = FunctionStand(value)
    if len(_numpy) > 4096:
        _numpy.clear()
    _numpy[id(value)] = value, stand
    return stand


def translate_math(name: str, value: Any) -> Any:
    """What stands for a member of ``math``."""
    return math_call(value) if is_math(value) else value


MATH = Namespace(math, translate_math)


def translate_library(name: str, value: Any) -> Any:
    """What stands for a member of functrans: modules and functions; classes but for decorators stay."""
    if isinstance(value, types.ModuleType):
        return Namespace(value, translate_library) if value.__name__.partition(".")[0] == "functrans" else value
    if isinstance(value, type):
        return LibraryStand(value) if value.__name__ in ("custom_jvp", "custom_vjp") else value
    if isinstance(value, np.ufunc):
        return translate_numpy(name, value)
    return LibraryStand(value) if callable(value) else value
