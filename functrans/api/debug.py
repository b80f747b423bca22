"""``functrans.debug``: what a traced function shows of its values when it runs."""

from __future__ import annotations

import ast
import builtins
import logging
import string
import sys
from collections.abc import Callable, Sequence
from types import CodeType
from typing import Any

from functrans import errors
from functrans.api.boundary import boundary, name_of
from functrans.api.callback import check_function, effect, settled
from functrans.core.trace import is_array
from functrans.core.tree import tree_flatten
from functrans.util.source import user_frame


@boundary
def callback(callback: Callable[..., Any], *args: Any, ordered: bool = False, **kwargs: Any) -> None:
    """Call a function with the values of a traced one, for its effects; what it returns is ignored.

    It happens as ``io_callback`` does: once for each time that the program comes by, in order; with primal values under
    a derivative; under ``vmap`` for each example that is live, unless ``ordered``, which raises there.

    Args:
        callback: any function.
        args, kwargs: pytrees, whose arrays it gets as NumPy arrays of its own and whose other leaves as they are.
        ordered: whether the order of the calls matters.

    >>> import numpy as np, functrans as ft
    >>> losses = []
    >>> @ft.jit
    ... def loss(w):
    ...     value = np.sum(w**2)
    ...     ft.debug.callback(losses.append, value)
    ...     return value
    >>> ft.grad(loss)(np.array([1.0, 2.0])), losses
    (array([2., 4.]), [np.float64(5.0)])
    """
    check_function("debug.callback", callback)

    where = f"debug.callback({name_of(callback)})"
    function = settled(where, callback)

    def run(positional: tuple[Any, ...], named: dict[str, Any]) -> None:
        function(*positional, **named)

    effect(where, run, (args, kwargs), ordered)


class _Formatter(string.Formatter):
    """Finds out which arguments a format string asks for."""

    def __init__(self) -> None:
        self.used: set[int | str] = set()

    def get_value(self, key: int | str, args: Sequence[Any], kwargs: Any) -> Any:
        self.used.add(key)
        return super().get_value(key, args, kwargs)

    def get_field(self, field_name: str, args: Sequence[Any], kwargs: Any) -> Any:
        _, first = super().get_field(field_name.partition(".")[0].partition("[")[0], args, kwargs)
        return "", first

    def convert_field(self, value: Any, conversion: Any) -> Any:
        return ""

    def format_field(self, value: Any, format_spec: str) -> Any:
        return ""


def _check_format(where: str, fmt: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
    """Reject, while tracing, a format that could not be filled when the program runs."""
    if not isinstance(fmt, str):
        raise errors.ArgumentError(
            f"{where}: the first argument is a format string, got an object of type {type(fmt).__name__}. Write "
            f"functrans.{where}('x = {{}}', x)"
        )
    finder = _Formatter()
    try:
        finder.vformat(fmt, args, kwargs)
    except (ValueError, IndexError, KeyError) as error:
        raise errors.ArgumentError(
            f"{where}: the format {fmt!r} cannot be filled with the arguments: {error}"
        ) from None
    unused = [i for i in range(len(args)) if i not in finder.used] + [n for n in kwargs if n not in finder.used]
    if unused:
        raise errors.ArgumentError(
            f"{where}: the format {fmt!r} does not use the argument{'s' if len(unused) > 1 else ''} "
            f"{', '.join(map(repr, unused))}. Name each in braces, and write functrans.{where}('x = {{}}', x) in place "
            f"of an f-string, which is filled while tracing"
        )


@boundary
def print(fmt: str, *args: Any, ordered: bool = False, **kwargs: Any) -> None:
    """Print values of a traced function when it runs: ``print(fmt.format(*args, **kwargs))``.

    It happens once for each time that the program comes by, and in the program's order: see ``functrans.io_callback``.

    Args:
        fmt: a format string with a field for each argument; a brace is written as two. Not an f-string, which would be
            filled with traced values while the function is traced.
        args, kwargs: pytrees of arrays, or anything else.
        ordered: whether the order of the lines matters, so that under ``vmap`` it raises; otherwise ``vmap`` prints a
            line for each example that is live.

    Raises:
        ArgumentError: the format and the arguments do not fit each other.

    >>> import numpy as np, functrans as ft
    >>> @ft.jit
    ... def f(x):
    ...     y = np.sum(x**2)
    ...     ft.debug.print("x = {x}, y = {:.3f}", y, x=x)
    ...     return y
    >>> f(np.array([1.0, 2.0]))
    x = [1. 2.], y = 5.000
    np.float64(5.0)
    """
    _check_format("debug.print", fmt, args, kwargs)

    def run(positional: tuple[Any, ...], named: dict[str, Any]) -> None:
        builtins.print(fmt.format(*positional, **named))

    effect("debug.print", run, (args, kwargs), ordered)


@boundary
def log(
    fmt: str,
    *args: Any,
    level: int = logging.INFO,
    logger: str | logging.Logger = "functrans",
    ordered: bool = False,
    **kwargs: Any,
) -> None:
    """Log values of a traced function when it runs; like ``print``, with a level and a logger.

    Args:
        fmt, args, kwargs, ordered: see ``print``. The message is formatted only where the logger takes it.
        level: a level of Python's ``logging``.
        logger: a logger, or the name of one.

    >>> import logging, sys, functrans as ft
    >>> logging.getLogger("training").addHandler(logging.StreamHandler(sys.stdout))
    >>> step = ft.jit(lambda x: ft.debug.log("x = {}", x, level=logging.WARNING, logger="training"))
    >>> step(2.0)
    x = 2.0
    """
    _check_format("debug.log", fmt, args, kwargs)
    if type(level) is not int:
        raise errors.ArgumentError(f"debug.log: level must be an int, as logging.INFO is, got {level!r}")
    target = logging.getLogger(logger) if isinstance(logger, str) else logger

    def run(positional: tuple[Any, ...], named: dict[str, Any]) -> None:
        if target.isEnabledFor(level):
            target.log(level, "%s", fmt.format(*positional, **named))

    effect("debug.log", run, (args, kwargs), ordered)


@boundary
def breakpoint(*, ordered: bool = False, **values: Any) -> None:
    """Stop in the debugger when a traced function runs, at this line and with the values of its variables.

    The debugger is the one that Python's own ``breakpoint()`` enters: ``pdb``, or what ``sys.breakpointhook`` or the
    environment variable PYTHONBREAKPOINT say. It shows the function's source around the line, and the local variables
    with concrete arrays in place of traced values. They are copies: assigning to them does not change the program.
    Under ``vmap`` it stops for each example that is live.

    Args:
        values: further values to look at, by name.
        ordered: see ``print``.

    >>> import functrans as ft
    >>> @ft.jit
    ... def f(x):
    ...     y = 2.0 * x
    ...     ft.debug.breakpoint()
    ...     return y
    """
    frame = user_frame()
    if frame is None:
        raise errors.ArgumentError(
            "debug.breakpoint: it was called from no function of yours, so that nothing is there"
        )
    shown = {**frame.f_locals, **values}
    kept = {name: value for name, value in shown.items() if _holds_arrays(value)}
    plain = {name: value for name, value in shown.items() if name not in kept}
    surroundings = frame.f_globals
    stop = _stop_at(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)
    del frame

    def run(arrays: dict[str, Any]) -> None:
        exec(stop, surroundings, {**plain, **arrays, "__breakpointhook__": sys.breakpointhook})

    effect("debug.breakpoint", run, (kept,), ordered)


def _holds_arrays(value: Any) -> bool:
    try:
        return any(map(is_array, tree_flatten(value)[0]))
    except errors.TreeStructureError:
        return False


def _stop_at(file: str, line: int, name: str) -> CodeType:
    """Code that enters the debugger and that seems to stand at a place in the user's program."""
    tree = ast.parse("__breakpointhook__()")
    for node in ast.walk(tree):
        if hasattr(node, "lineno"):
            node.lineno = node.end_lineno = line  # type: ignore[attr-defined]
    return compile(tree, file, "exec").replace(co_name=name)
