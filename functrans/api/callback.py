"""``pure_callback``: Python code inside of a traced function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from functrans import errors
from functrans.api.arguments import flatten_arrays
from functrans.api.boundary import check_callable, name_of
from functrans.api.staging import abstract
from functrans.core.capture import Captured, substitute
from functrans.core.trace import Tracer, known
from functrans.core.tree import describe_mismatch, tree_flatten
from functrans.lax.control.callback import VMAP_METHODS, Callback, pure_callback_p


def _settled(where: str, callback: Callable[..., Any]) -> Callable[..., Any]:
    """The callback with arrays in place of the tracers that ``jit`` put where it captures them."""
    captured = Captured(callback)
    values = {}
    for place in captured.places():
        value = captured.read(place)
        if isinstance(value, Tracer):
            found = None if value._trace.differentiates else known(value)
            if found is None:
                raise errors.ConcretizationError(
                    f"{where}: the callback captures a traced value of type {value.aval} ({captured.describe(place)}), "
                    f"which it would not see when it is called. Pass it as an argument"
                )
            values[place] = found
    return substitute(callback, values) if values else callback


def pure_callback(
    callback: Callable[..., Any],
    result_shape_dtypes: Any,
    *args: Any,
    vmap_method: str | None = None,
    **kwargs: Any,
) -> Any:
    """Call a Python function of NumPy arrays from a traced one.

    Args:
        callback: a function without side effects: it may be called any number of times, or not at all.
        result_shape_dtypes: a pytree of ``ShapeDtypeStruct``s (or arrays) like its result.
        args, kwargs: pytrees of arrays, which it gets as NumPy arrays.
        vmap_method: what ``vmap`` does: ``"sequential"`` calls it for each example, ``"expand_dims"`` and
            ``"broadcast_all"`` call it once with a leading batch axis on every argument, of extent 1 where the
            argument is not batched, or broadcast.

    Returns:
        Its result. It has no derivative: give one with ``custom_jvp`` or ``custom_vjp``.

    Raises:
        OutputError: the result is not of the announced shapes and dtypes.

    >>> import math, numpy as np, functrans as ft
    >>> out = ft.ShapeDtypeStruct((), np.float64)
    >>> ft.jit(lambda x: ft.pure_callback(lambda v: math.gamma(v), out, x))(5.0)
    np.float64(24.0)
    """
    check_callable("pure_callback", callback)
    where = f"pure_callback({name_of(callback)})"
    if vmap_method is not None and vmap_method not in VMAP_METHODS:
        raise errors.ArgumentError(f"{where}: vmap_method must be one of {VMAP_METHODS} or None, got {vmap_method!r}")
    leaves, in_tree = flatten_arrays(where, "argument ", (args, kwargs))
    avals, out_tree = abstract(where, "result_shape_dtypes", result_shape_dtypes)
    results = tuple(a.update(box="numpy" if a.shape == () else "array") for a in avals)

    function = _settled(where, callback)

    def flat(*arrays: Any) -> list[Any]:
        positional, named = in_tree.unflatten(arrays)
        outs, tree = tree_flatten(function(*positional, **named))
        if tree != out_tree:
            raise errors.OutputError(
                f"{where}: the result must have the announced structure: {describe_mismatch(out_tree, tree)}"
            )
        return outs

    outs = pure_callback_p.bind(
        *leaves, callback=Callback(name_of(callback), flat), results=results, vmap_method=vmap_method
    )
    return out_tree.unflatten(outs)
