"""What happens where a transformation meets the user: tracebacks, leaks, ownership of results."""

from __future__ import annotations

import functools
import gc
import sys
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, TypeVar, cast

import numpy as np

from functrans import errors
from functrans.config import any_mode, config
from functrans.core.avals import is_device_array
from functrans.core.primitive import array_module, created_by, created_until
from functrans.core.trace import Tracer, current_trace, live_traces
from functrans.core.tree import tree_flatten
from functrans.util.cache import clear_all
from functrans.util.source import is_internal

F = TypeVar("F", bound=Callable[..., Any])


def name_of(f: Any) -> str:
    """How error messages call a function."""
    while isinstance(f, functools.partial):
        f = f.func
    return getattr(f, "__name__", None) or type(f).__name__


def check_callable(transformation: str, f: Any) -> None:
    """Reject what is no function, as ``grad(f(x))`` in place of ``grad(f)(x)`` would pass it."""
    if not callable(f):
        raise errors.ArgumentError(
            f"{transformation} transforms a function, got an object of type {type(f).__name__}. Write "
            f"{transformation}(f)(x), not {transformation}(f(x))"
        )


def filtered(traceback: TracebackType | None) -> TracebackType | None:
    """A traceback without the package's own frames."""
    frames = []
    while traceback is not None:
        if not is_internal(traceback.tb_frame.f_code.co_filename):
            frames.append(traceback)
        traceback = traceback.tb_next
    result: TracebackType | None = None
    for tb in reversed(frames):
        result = TracebackType(result, tb.tb_frame, tb.tb_lasti, tb.tb_lineno)
    return result


def presented(error: BaseException) -> BaseException:
    """The error as the user should see it: without internal frames, and ours in place of one NumPy put over it.

    Where float() of an element fails NumPy raises "setting an array element with a sequence" from our error.
    """
    cause = error.__cause__
    if isinstance(error, (ValueError, TypeError)) and isinstance(cause, errors.FunctransError):
        if not isinstance(error, errors.FunctransError):
            cause.__cause__ = None
            cause.__suppress_context__ = True
            cause.__traceback__ = error.__traceback__
            error = cause
    if config.full_tracebacks:
        return error
    return error.with_traceback(filtered(error.__traceback__))


def boundary(f: F) -> F:
    """Mark a function that users call and that runs their code."""

    @functools.wraps(f)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            if any_mode() and config.check_leaks:
                return check_leaks(f, args, kwargs)
            if "cupy" in sys.modules:
                return _where_arrays_are(f, args, kwargs)
            return f(*args, **kwargs)
        except Exception as error:
            shown = presented(error)
            if shown is error:
                raise  # Bare: `raise error` would put this frame into the traceback again.
            raise shown  # noqa: B904 - the error that NumPy hid behind another

    return cast(F, call)


def _where_arrays_are(f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Call a transformed function; the arrays that it makes lie where its arguments do."""
    leaves, _ = tree_flatten((args, kwargs))
    xp = next((array_module([x]) for x in leaves if is_device_array(x)), None)
    if xp is None:
        return f(*args, **kwargs)
    token = created_by(xp)
    try:
        return f(*args, **kwargs)
    finally:
        created_until(token)


def check_leaks(f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Call a transformed function and raise if a tracer of its traces is still alive afterwards."""
    with live_traces() as traces:
        result = f(*args, **kwargs)
    gc.collect()
    for ref in traces:
        trace = ref()
        if trace is None or trace is current_trace():
            continue
        for item in gc.get_objects():
            if isinstance(item, Tracer) and item._trace is trace:
                holders = [h for h in gc.get_referrers(item) if isinstance(h, (list, dict, tuple, set))]
                kept = ", ".join(sorted({_describe(h, item) for h in holders if h is not traces})) or "an object"
                raise errors.LeakedTracerError(
                    f"a traced value of type {item.aval} outlived its transformation: {kept} holds it. "
                    f"{item.describe_origin()}Return it from the function instead of storing it"
                )
    return result


def _describe(holder: Any, item: Any) -> str:
    if isinstance(holder, dict):
        keys = [repr(k) for k, v in holder.items() if v is item]
        return f"a dict or namespace under {keys[0]}" if keys else "a dict"
    return f"a {type(holder).__name__} of length {len(holder)}"


def _references(values: list[Any]) -> int:
    value = values[0]
    return sys.getrefcount(value)


# What getrefcount says of an array that only a list and a local variable hold; it differs between Pythons.
_EXCLUSIVE = _references([np.empty(1)])


def own(values: list[Any]) -> list[Any]:
    """Results that share no memory with anything else: what somebody else holds, or is a view, is copied.

    The list must be the only holder of what it gives away.
    """
    for i in range(len(values)):
        value = values[i]
        if isinstance(value, np.ndarray) and (
            sys.getrefcount(value) > _EXCLUSIVE or value.base is not None or not value.flags.writeable
        ):
            values[i] = value.copy()
    return values


def own_copies(values: list[Any]) -> list[Any]:
    """Results that are copies, for what a pending linear map keeps as its residuals."""
    return [v.copy() if isinstance(v, np.ndarray) else v for v in values]


def clear_caches() -> None:
    """Empty the caches of derived rules and compiled programs."""
    clear_all()
