"""``numpy_code``: NumPy programs that fill arrays in place, transformed as they stand."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable
from typing import Any, TypeVar, cast

from functrans import errors
from functrans.api.boundary import check_callable, name_of
from functrans.core.capture import Rebuild
from functrans.core.trace import current_trace
from functrans.numpy.code.entry import enter, leave
from functrans.numpy.code.rebind import Rebinder, Session, decorator, top_package

F = TypeVar("F", bound=Callable[..., Any])


class NumpyCode:
    """A function that ``numpy_code`` decorates. It is called as the function itself is.

    Attributes:
        f: the function.
    """

    def __init__(self, f: Callable[..., Any], rebinder: Rebinder | None = None) -> None:
        functools.update_wrapper(self, f, updated=())
        self.f = f
        self.rebinder = rebinder or Rebinder(top_package(f))
        self.rebuild = Rebuild(numpy_code)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if current_trace() is None:
            return self.f(*args, **kwargs)
        session = Session()
        name = name_of(self.f)
        rebuilt = self.rebinder.translate(name, self.f, session)
        given = [enter(a, f"argument {i} of {name}") for i, a in enumerate(args)]
        named = {k: enter(v, f"argument {k!r} of {name}") for k, v in kwargs.items()}
        try:
            return leave(rebuilt(*given, **named))
        finally:
            session.close()
            self.rebinder.flush()

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        return NumpyCode(self.f.__get__(instance, owner), self.rebinder)

    def __repr__(self) -> str:
        return f"<numpy_code of {name_of(self.f)}>"


def numpy_code(f: F) -> F:
    """Let a function that is written with ``import numpy as np`` fill arrays in place while it is transformed.

    Under a transformation the function runs with stand-ins for the names that mean NumPy, and so do the functions of
    the user's own that it calls: those that it reaches through globals, closures, modules of the user's, and methods
    of a decorated method's ``self``. Library code runs as it is. In these functions

    - every array is tracked: ``out = np.zeros(n); out[i] = x`` works, with masks, slices, ``+=``, ``out=``,
      ``np.add.at``, ``np.copyto``; views alias as NumPy's do; values and derivatives are those of NumPy's program;
    - ``np.array([t, t])``, ``np.asarray(t)``, ``table[t]``, ``np.mean([t, t])``, ``np.r_``, ``np.vectorize`` and the
      functions of ``math`` take traced values.

    Where nothing is being transformed the function itself is called.

    What belongs to somebody else cannot be written to with traced values: arguments, captured arrays, and, from a
    function that is transformed by itself (a loop body, a ``vmap`` inside), arrays made outside of it.

    Args:
        f: a function, a method, or a transformed function.

    Returns:
        A function of the same arguments whose results are plain arrays.

    Raises:
        DetachedWriteError: a store whose derivative would be lost, as said above.

    >>> import numpy as np, functrans as ft
    >>> @ft.numpy_code
    ... def running(x):
    ...     out = np.zeros(len(x))
    ...     out[0] = x[0]
    ...     for i in range(1, len(x)):
    ...         out[i] = out[i - 1] * x[i]
    ...     return out
    >>> ft.jacobian(running)(np.array([2.0, 3.0, 5.0]))
    array([[ 1.,  0.,  0.],
           [ 3.,  2.,  0.],
           [15., 10.,  6.]])
    """
    if isinstance(f, (staticmethod, classmethod)):
        raise errors.ArgumentError("numpy_code: apply @staticmethod or @classmethod outside of @numpy_code, not inside")
    check_callable("numpy_code", f)
    if isinstance(f, type):
        raise errors.ArgumentError(f"numpy_code: decorate the methods of {f.__name__}, not the class")
    if not isinstance(f, (types.FunctionType, types.MethodType, functools.partial)) and not hasattr(f, "rebuild"):
        method = vars(type(f)).get("__call__")
        if not inspect.isfunction(method):
            raise errors.ArgumentError(
                f"numpy_code: a Python function is needed, whose names can be replaced; got {type(f).__name__}"
            )
        return cast(F, NumpyCode(types.MethodType(method, f)))
    return cast(F, NumpyCode(f))


decorator[0] = numpy_code
