"""``pure_callback`` and ``io_callback``: Python code inside of a traced function."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from functrans import errors
from functrans.api.arguments import flatten_arrays
from functrans.api.boundary import boundary, name_of
from functrans.api.staging import abstract
from functrans.core.avals import ShapedArray
from functrans.core.capture import Captured, containers, substitute
from functrans.core.stage import hand_over
from functrans.core.trace import Tracer, is_array, known
from functrans.core.tree import describe_mismatch, tree_flatten
from functrans.core.treedef import PyTreeDef
from functrans.lax.control.callback import VMAP_METHODS, Callback, io_callback_p, pure_callback_p


def check_function(where: str, callback: Any) -> None:
    """Reject what is no function, as the result of a call would be."""
    if not callable(callback):
        raise errors.ArgumentError(
            f"{where}: the callback must be a function, got an object of type {type(callback).__name__}. Pass the "
            f"function itself, and its arguments after it"
        )


def settled(where: str, callback: Callable[..., Any]) -> Callable[..., Any]:
    """The callback with arrays in place of the tracers that ``jit`` put where it captures them.

    The lists and dicts that it captures are its own from now on.
    """
    hand_over(containers(callback))
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


def _flat(where: str, callback: Callable[..., Any], in_tree: PyTreeDef, out_tree: PyTreeDef) -> Callable[..., Any]:
    """The callback as a function of leaves that gives leaves."""
    function = settled(where, callback)

    def flat(*arrays: Any) -> list[Any]:
        positional, named = in_tree.unflatten(arrays)
        outs, tree = tree_flatten(function(*positional, **named))
        if tree != out_tree:
            raise errors.OutputError(
                f"{where}: the result must have the announced structure: {describe_mismatch(out_tree, tree)}"
            )
        return outs

    return flat


def _announced(where: str, result_shape_dtypes: Any) -> tuple[tuple[ShapedArray, ...], PyTreeDef]:
    avals, out_tree = abstract(where, "result_shape_dtypes", result_shape_dtypes)
    return tuple(a.update(box="numpy" if a.shape == () else "array") for a in avals), out_tree


@boundary
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
        args, kwargs: pytrees of arrays, which it gets as NumPy arrays of its own.
        vmap_method: what ``vmap`` does: ``"sequential"`` calls it for each example, ``"expand_dims"`` and
            ``"broadcast_all"`` call it once with a leading batch axis on every argument, of extent 1 where the
            argument is not batched, or broadcast. None raises.

    Returns:
        Its result. It has no derivative: give one with ``custom_jvp`` or ``custom_vjp``.

    Raises:
        OutputError: the result is not of the announced structure, shapes and dtypes.
        MissingRuleError: under ``vmap`` without ``vmap_method``.
        NotDifferentiableError: in a derivative.
        What the callback raises is raised, with a note of the line that called for it.

    >>> import math, numpy as np, functrans as ft
    >>> out = ft.ShapeDtypeStruct((), np.float64)
    >>> ft.jit(lambda x: ft.pure_callback(lambda v: math.gamma(v), out, x))(5.0)
    np.float64(24.0)
    """
    check_function("pure_callback", callback)
    where = f"pure_callback({name_of(callback)})"
    if vmap_method is not None and vmap_method not in VMAP_METHODS:
        raise errors.ArgumentError(f"{where}: vmap_method must be one of {VMAP_METHODS} or None, got {vmap_method!r}")
    leaves, in_tree = flatten_arrays(where, "argument ", (args, kwargs))
    results, out_tree = _announced(where, result_shape_dtypes)
    call = Callback(where, _flat(where, callback, in_tree, out_tree))
    outs = pure_callback_p.bind(*leaves, callback=call, results=results, vmap_method=vmap_method)
    return out_tree.unflatten(outs)


@boundary
def io_callback(
    callback: Callable[..., Any],
    result_shape_dtypes: Any,
    *args: Any,
    ordered: bool = False,
    **kwargs: Any,
) -> Any:
    """Call a Python function that does something, from a traced one.

    It is called exactly once for each time that the program comes by, in the program's order: it is never dropped,
    repeated or moved past another one. In a derivative it is called with the primal values, once; a checkpointed region
    does not call it again.

    Args:
        callback: any function; its effects are what it is called for.
        result_shape_dtypes: a pytree of ``ShapeDtypeStruct``s (or arrays) like its result; None for no result.
        args, kwargs: pytrees of arrays, which it gets as NumPy arrays of its own, and as Python and NumPy scalars.
        ordered: whether the order of the calls matters, so that under ``vmap``, where examples have none, it raises.
            Otherwise ``vmap`` calls it for each example that is live: in a branch only for those that take it, in a
            loop for those that have not ended.

    Returns:
        Its result.

    Raises:
        OutputError: the result is not of the announced structure, shapes and dtypes.
        OrderedEffectError: with ``ordered`` under ``vmap``.
        NotDifferentiableError: in a derivative, if a result is inexact.
        What the callback raises is raised, with a note of the line that called for it.

    >>> import numpy as np, functrans as ft
    >>> seen = []
    >>> @ft.jit
    ... def step(x):
    ...     ft.io_callback(lambda v: seen.append(float(v)), None, x, ordered=True)
    ...     return 2.0 * x
    >>> step(1.0), step(5.0), seen
    (2.0, 10.0, [1.0, 5.0])
    """
    check_function("io_callback", callback)
    where = f"io_callback({name_of(callback)})"
    _check_ordered(where, ordered)
    leaves, in_tree = flatten_arrays(where, "argument ", (args, kwargs))
    results, out_tree = _announced(where, result_shape_dtypes)
    call = Callback(where, _flat(where, callback, in_tree, out_tree), boxed=True)
    return out_tree.unflatten(io_callback_p.bind(*leaves, callback=call, results=results, ordered=ordered))


def _check_ordered(where: str, ordered: Any) -> None:
    if not isinstance(ordered, bool):
        raise errors.ArgumentError(f"{where}: ordered must be True or False, got {ordered!r}")


def effect(where: str, function: Callable[..., Any], args: Any, ordered: bool) -> None:
    """Have ``function(*args)`` called for its effects, where ``args`` may hold what is no array."""
    _check_ordered(where, ordered)
    leaves, tree = tree_flatten(args)
    places = [i for i, leaf in enumerate(leaves) if is_array(leaf)]

    def flat(*arrays: Any) -> list[Any]:
        given = list(leaves_of)
        for i, array in zip(places, arrays, strict=True):
            given[i] = array
        function(*tree.unflatten(given))
        return []

    operands = [leaves[i] for i in places]
    leaves_of = [None if is_array(leaf) else leaf for leaf in leaves]
    io_callback_p.bind(*operands, callback=Callback(where, flat, boxed=True), results=(), ordered=ordered)


def effects_barrier() -> None:
    """Wait until every effect of the calls so far has happened.

    Effects happen while the function that has them runs, before its call returns, so that there is nothing left to wait
    for but what standard output holds back; it is written out.

    >>> import functrans as ft
    >>> ft.effects_barrier()
    """
    sys.stdout.flush()
