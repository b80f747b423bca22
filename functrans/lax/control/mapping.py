"""``map``: a function of each slice, one after another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from functrans.core.capture import Rebuild, transformation
from functrans.lax.control.body import check_function, flatten_operands, name_of
from functrans.lax.control.scan import run_scan


def _mapped(f: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    def step(_: None, x: Any) -> tuple[None, Any]:
        return None, f(x)

    return transformation(step, f, Rebuild(_mapped))


def map(f: Callable[[Any], Any], xs: Any) -> Any:
    """``f`` of each slice of ``xs`` along the leading axis, one after another, the results stacked.

    It gives what ``vmap(f)(xs)`` gives, with the memory of one example at a time.

    Args:
        f: a function of one slice.
        xs: a pytree of arrays with leading axes of one extent.

    Returns:
        What ``f`` returns, each array with a leading axis more.

    >>> import numpy as np, functrans as ft
    >>> ft.lax.map(lambda row: row * np.sum(row), np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([[ 3.,  6.],
           [21., 28.]])
    """
    check_function("map", "f", f)
    where = f"map({name_of(f)})"
    flatten_operands(where, "xs", xs)
    return run_scan(where, _mapped(f), None, xs, None, False, 1)[1]
