"""Calls back into Python from a traced program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans.core.avals import ShapedArray, shaped
from functrans.core.primitive import BatchAxis, Primitive
from functrans.core.structural import broadcast, move_axis
from functrans.core.trace import aval_of

Avals = tuple[ShapedArray, ...]
VMAP_METHODS = ("sequential", "expand_dims", "broadcast_all")


class Callback:
    """A Python function of arrays, flat, with the name that messages call it by."""

    def __init__(self, name: str, function: Callable[..., Sequence[Any]]) -> None:
        self.name = name
        self.function = function

    def __call__(self, args: Sequence[Any], results: Avals) -> list[Any]:
        """The results, checked to be what was announced."""
        outs = self.function(*[np.asarray(a) if isinstance(a, np.generic) else a for a in args])
        if len(outs) != len(results):
            raise errors.OutputError(
                f"pure_callback({self.name}): {len(results)} results were announced, and it returned {len(outs)}"
            )
        checked = []
        for out, aval in zip(outs, results, strict=True):
            array = np.asarray(out)
            if array.shape != aval.shape or not np.can_cast(array.dtype, aval.dtype, "same_kind"):
                raise errors.OutputError(
                    f"pure_callback({self.name}): a result of type {aval} was announced, and it returned one of dtype "
                    f"{array.dtype} and shape {array.shape}"
                )
            array = np.array(array, aval.dtype)
            checked.append(array[()] if aval.box == "numpy" else array)
        return checked

    def __repr__(self) -> str:
        return f"<callback {self.name}>"


def _batch(
    axis: BatchAxis,
    args: Sequence[Any],
    dims: Sequence[int | None],
    *,
    callback: Callback,
    results: Avals,
    vmap_method: str | None,
) -> tuple[list[Any], list[int]]:
    if vmap_method is None:
        raise errors.MissingRuleError(
            f"pure_callback({callback.name}) met vmap and does not say how to call a batch. Pass "
            f"vmap_method='sequential' to call it once for each example, or 'expand_dims' or 'broadcast_all' for a "
            f"function that takes leading batch axes"
        )
    batched = tuple(shaped((axis.size, *a.shape), a.dtype) for a in results)
    arrays = []
    for x, d in zip(args, dims, strict=True):
        shape = aval_of(x).shape
        if d is not None:
            arrays.append(move_axis(x, d, 0))
        elif vmap_method == "expand_dims":
            arrays.append(broadcast(x, (1, *shape), range(1, len(shape) + 1)))
        else:
            arrays.append(broadcast(x, (axis.size, *shape), range(1, len(shape) + 1)))
    if vmap_method != "sequential":
        outs = pure_callback_p.bind(*arrays, callback=callback, results=batched, vmap_method=vmap_method)
        return outs, [0] * len(outs)

    def each(*stacked: Any) -> list[Any]:
        rows = [callback([x[i] for x in stacked], results) for i in range(axis.size)]
        return [
            np.stack([row[k] for row in rows]) if rows else np.zeros(a.shape, a.dtype) for k, a in enumerate(batched)
        ]

    looped = Callback(callback.name, each)
    outs = pure_callback_p.bind(*arrays, callback=looped, results=batched, vmap_method=vmap_method)
    return outs, [0] * len(outs)


pure_callback_p = Primitive(
    "pure_callback",
    shape=lambda *avals, callback, results, vmap_method: list(results),
    impl=lambda xp, *args, callback, results, vmap_method: callback(args, results),
    batch=_batch,
    multiple=True,
    kind="custom",
    not_differentiable="it calls Python code, of which nothing is known",
)
