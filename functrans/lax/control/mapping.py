"""``map``: a function of each slice, one after another or some at a time."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from functrans import errors
from functrans.config import any_mode, config
from functrans.core.capture import Rebuild, transformation
from functrans.core.evaluate import evaluate
from functrans.core.primitive import BatchAxis
from functrans.core.trace import aval_of
from functrans.core.tree import tree_structure
from functrans.interpreters.batch import batch_jaxpr
from functrans.lax.control.body import body_of, check_function, flatten_operands, name_of
from functrans.lax.control.prepared import MISS, code_of, run_prepared
from functrans.lax.control.region import owned_eagerly
from functrans.lax.control.scanning import bind_scan, number_of_steps, run_scan
from functrans.lax.control.stepping import sliced
from functrans.lax.movement import reshape
from functrans.lax.slicing import concatenate, slice_in_dim


def _mapped(f: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    def step(_: None, x: Any) -> tuple[None, Any]:
        return None, f(x)

    return transformation(step, f, Rebuild(_mapped))


def map(f: Callable[[Any], Any], xs: Any, *, batch_size: int | None = None) -> Any:
    """``f`` of each slice of ``xs`` along the leading axis, one after another, the results stacked.

    It gives what ``vmap(f)(xs)`` gives, with the memory of one example at a time, or of ``batch_size`` examples.

    Args:
        f: a function of one slice.
        xs: a pytree of arrays with leading axes of one extent.
        batch_size: how many slices are mapped together, as by ``vmap``; the last ones may be fewer.

    Returns:
        What ``f`` returns, each array with a leading axis more.

    >>> import numpy as np, functrans as ft
    >>> ft.lax.map(lambda row: row * np.sum(row), np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([[ 3.,  6.],
           [21., 28.]])
    >>> ft.lax.map(np.sqrt, np.array([1.0, 4.0, 9.0]), batch_size=2)
    array([1., 2., 3.])
    """
    key = "map", code_of(f), False
    if batch_size is None:
        found = run_prepared(key, f, None, xs, None)
        if found is not MISS:
            return found[1]
    check_function("map", "f", f)
    where = f"map({name_of(f)})"
    leaves, tree = flatten_operands(where, "xs", xs)
    if batch_size is None or (any_mode() and config.disable_jit):
        return run_scan(where, _mapped(f), None, xs, None, False, 1, at_once=False, key=key)[1]
    try:
        size = operator.index(batch_size)
    except TypeError:
        size = 0
    if size < 1:
        raise errors.ArgumentError(f"{where}: batch_size must be a positive int, got {batch_size!r}")
    n = number_of_steps(where, "xs", xs, leaves, None)
    example = tree.unflatten(range(len(leaves)))
    body = body_of(where, f, tree_structure((example,)), [sliced(aval_of(x)) for x in leaves])
    batched = [*[False] * len(body.consts), *[True] * len(leaves)]
    times, over = divmod(n, size)
    parts = []
    if times or not n:
        mapped, _ = batch_jaxpr(body.jaxpr, BatchAxis(size), batched, True)
        main = [reshape(slice_in_dim(x, 0, n - over), (times, size, *aval_of(x).shape[1:])) for x in leaves]
        outs = bind_scan(mapped, body.consts, [], main, times)
        parts.append([reshape(y, (n - over, *aval_of(y).shape[2:])) for y in outs])
    if over:
        mapped, _ = batch_jaxpr(body.jaxpr, BatchAxis(over), batched, True)
        parts.append(evaluate(mapped, [*body.consts, *(slice_in_dim(x, n - over, n) for x in leaves)]))
    outs = [column[0] if len(column) == 1 else concatenate(column, 0) for column in zip(*parts, strict=True)]
    return body.out_tree.unflatten(owned_eagerly(outs, [*leaves, *body.consts]))
