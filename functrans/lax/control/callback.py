"""Calls back into Python from a traced program, with effects and without.

The order of equations is the order of effects: backends run equations with effects one after another, as they stand.
An ``unordered`` effect may change places with others where examples of a batch have no order; an ``ordered`` one may
not, and so raises under ``vmap``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans.core import dtypes
from functrans.core.avals import ShapedArray, is_device_array, shaped
from functrans.core.primitive import ORDERED, UNORDERED, BatchAxis, Primitive, Zero
from functrans.core.structural import broadcast, move_axis
from functrans.core.trace import aval_of, current_source, reset_trace, set_trace
from functrans.util.source import Source

Avals = tuple[ShapedArray, ...]
_ORDERED = frozenset({ORDERED})
_UNORDERED = frozenset({UNORDERED})
VMAP_METHODS = ("sequential", "expand_dims", "broadcast_all")


class Callback:
    """A Python function of arrays, flat.

    Attributes:
        where: how messages call it, as ``"pure_callback(gamma)"``.
        source: the user's line that it was passed on.
        boxed: whether it gets NumPy scalars as such, and not as 0-d arrays.
    """

    def __init__(
        self,
        where: str,
        function: Callable[..., Sequence[Any]],
        source: Source | None = None,
        boxed: bool = False,
    ) -> None:
        self.where = where
        self.function = function
        self.source = source or current_source()
        self.boxed = boxed

    def __call__(self, args: Sequence[Any], results: Avals) -> list[Any]:
        """The results, checked to be what was announced. The function gets copies, which it may keep or write to."""
        token = set_trace(None)
        try:
            return self._checked(self.function(*map(self._given, args)), results)
        except Exception as error:
            note = f"raised in {self.where}, which was called at {self.source}"
            if self.source is not None and note not in getattr(error, "__notes__", ()):
                error.add_note(note)
            raise
        finally:
            reset_trace(token)

    def _given(self, value: Any) -> Any:
        """An operand as the function gets it."""
        if is_device_array(value):
            value = value.get()
        elif isinstance(value, np.ndarray):
            return value.copy()
        return np.asarray(value) if isinstance(value, np.generic) and not self.boxed else value

    def _checked(self, outs: Sequence[Any], results: Avals) -> list[Any]:
        if len(outs) != len(results):
            raise errors.OutputError(
                f"{self.where}: {len(results)} results were announced, and it returned {len(outs)}"
            )
        checked = []
        for out, aval in zip(outs, results, strict=True):
            array = np.asarray(out)
            if array.shape != aval.shape or not np.can_cast(array.dtype, aval.dtype, "same_kind"):
                raise errors.OutputError(
                    f"{self.where}: a result of type {aval} was announced, and it returned one of dtype {array.dtype} "
                    f"and shape {array.shape}"
                )
            array = np.array(array, aval.dtype)
            checked.append(array[()] if aval.box == "numpy" else array)
        return checked

    def each(self, size: int, batched: Sequence[bool], results: Avals, masked: bool) -> Callback:
        """The function called once for each example of a batch.

        Batched operands come with the batch axis first. With ``masked`` a first operand says which examples are live;
        the others are left out, and their results are zeros.
        """

        def function(*args: Any) -> list[Any]:
            live, operands = (args[0], args[1:]) if masked else (np.ones(size, bool), args)
            stacked = [np.zeros((size, *a.shape), a.dtype) for a in results]
            for i in range(size):
                if live[i]:
                    row = self([x[i] if b else x for x, b in zip(operands, batched, strict=True)], results)
                    for out, value in zip(stacked, row, strict=True):
                        out[i] = value
            return stacked

        return Callback(self.where, function, self.source, True)

    def __repr__(self) -> str:
        return f"<{self.where}>"


def _on(xp: Any, values: list[Any]) -> list[Any]:
    """Results where the operands live."""
    return values if xp is np else [xp.asarray(v) for v in values]


# -- without effects --------------------------------------------------------------------------------------------------


def _batch_pure(
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
            f"{callback.where} met vmap and does not say how to call a batch. Pass vmap_method='sequential' to call it "
            f"once for each example, or 'expand_dims' or 'broadcast_all' for a function that takes leading batch axes"
        )
    mapped = tuple(shaped((axis.size, *a.shape), a.dtype) for a in results)
    arrays = []
    for x, d in zip(args, dims, strict=True):
        shape = aval_of(x).shape
        if d is not None:
            arrays.append(move_axis(x, d, 0))
        elif vmap_method == "expand_dims":
            arrays.append(broadcast(x, (1, *shape), range(1, len(shape) + 1)))
        elif vmap_method == "broadcast_all":
            arrays.append(broadcast(x, (axis.size, *shape), range(1, len(shape) + 1)))
        else:
            arrays.append(x)
    if vmap_method == "sequential":
        callback = callback.each(axis.size, [d is not None for d in dims], results, False)
    outs = pure_callback_p.bind(*arrays, callback=callback, results=mapped, vmap_method=vmap_method)
    return outs, [0] * len(outs)


pure_callback_p = Primitive(
    "pure_callback",
    shape=lambda *avals, callback, results, vmap_method: list(results),
    impl=lambda xp, *args, callback, results, vmap_method: _on(xp, callback(args, results)),
    batch=_batch_pure,
    multiple=True,
    kind="custom",
    not_differentiable="it calls Python code, of which nothing is known",
)


# -- with effects -----------------------------------------------------------------------------------------------------


def _batch_io(
    axis: BatchAxis,
    args: Sequence[Any],
    dims: Sequence[int | None],
    *,
    callback: Callback,
    results: Avals,
    ordered: bool,
) -> tuple[list[Any], list[int]]:
    if ordered:
        raise errors.OrderedEffectError(
            f"{callback.where} with ordered=True met vmap: the examples of a batch have no order. Pass ordered=False "
            f"to have it once for each example, one after another, or call it outside of vmap on the whole batch"
        )
    mapped = tuple(shaped((axis.size, *a.shape), a.dtype) for a in results)
    arrays = [x if d is None else move_axis(x, d, 0) for x, d in zip(args, dims, strict=True)]
    masked = axis.live is not None
    each = callback.each(axis.size, [d is not None for d in dims], results, masked)
    if masked:
        arrays.insert(0, axis.live)
    outs = io_callback_p.bind(*arrays, callback=each, results=mapped, ordered=False)
    return outs, [0] * len(outs)


def _jvp_io(
    primals: Sequence[Any], tangents: Sequence[Any], *, callback: Callback, results: Avals, ordered: bool
) -> tuple[list[Any], list[Any]]:
    """The effect happens once, with the primal values. It has no derivative, and none is needed if it gives nothing."""
    if any(dtypes.is_inexact(a.dtype) for a in results):
        raise errors.NotDifferentiableError(
            f"{callback.where} cannot be differentiated: it calls Python code, of which nothing is known. Pass its "
            f"operands through functrans.lax.stop_gradient, or give a rule with functrans.custom_jvp"
        )
    outs = io_callback_p.bind(*primals, callback=callback, results=results, ordered=ordered)
    return outs, [Zero(a.tangent()) for a in results]


io_callback_p: Primitive = Primitive(
    "io_callback",
    shape=lambda *avals, callback, results, ordered: list(results),
    impl=lambda xp, *args, callback, results, ordered: _on(xp, callback(args, results)),
    jvp=_jvp_io,
    batch=_batch_io,
    multiple=True,
    kind="custom",
    effects=lambda *, ordered, **params: _ORDERED if ordered else _UNORDERED,
)
