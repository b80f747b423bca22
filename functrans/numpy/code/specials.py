"""The names of NumPy that are neither functions nor ufuncs: ``r_``, ``c_``, ``ndarray``, ``vectorize`` and so on."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from functrans import errors
from functrans.core.trace import Tracer, aval_of
from functrans.numpy import dispatch
from functrans.numpy.code.buffer import Buffer, holds_traced, lift, lower
from functrans.numpy.code.calls import call, handle

# -- r_ and c_ ------------------------------------------------------------------------------------------------------


class Joiner:
    """``np.r_`` and ``np.c_``: arrays joined by what stands between brackets."""

    def __init__(self, original: Any, axis: int, ndmin: int, place: int) -> None:
        self.original = original
        self.axis = axis
        self.ndmin = ndmin
        self.place = place

    def __getitem__(self, key: Any) -> Any:
        entries = key if isinstance(key, tuple) else (key,)
        if not holds_traced(entries):
            return lift(self.original[lower(key)], lent=False)
        axis, ndmin, place = self.axis, self.ndmin, self.place
        parts, kinds = [], []
        for i, entry in enumerate(entries):
            if isinstance(entry, str):
                if i:
                    raise ValueError("special directives must be the first entry.")
                axis, ndmin, place = _directive(entry, axis, ndmin, place)
                continue
            part, kind = _part(lower(entry))
            kinds.append(kind)
            parts.append(_widened(part, ndmin, place))
        return lift(dispatch.functions[np.concatenate](parts, axis, dtype=np.result_type(*kinds)))


def _directive(text: str, axis: int, ndmin: int, place: int) -> tuple[int, int, int]:
    try:
        given = [int(number) for number in text.split(",")]
    except ValueError:
        raise errors.ArgumentError(
            f"np.r_[{text!r}, ...]: with traced values a directive is up to three integers, 'axis,ndmin,place'; the "
            f"matrix directives 'r' and 'c' are not supported"
        ) from None
    found = (*given, *(axis, ndmin, place)[len(given) :])
    return found[0], found[1], found[2]


def _part(entry: Any) -> tuple[Any, Any]:
    """One entry as an array, and what it adds to the dtype of the result: numbers are weak."""
    if isinstance(entry, slice):
        start, stop, step = entry.start, entry.stop, entry.step
        start, step = 0 if start is None else start, 1 if step is None else step
        function = np.linspace if isinstance(step, complex) else np.arange
        args = (start, stop, int(abs(step))) if isinstance(step, complex) else (start, stop, step)
        array = dispatch.functions[function](*args) if holds_traced(args) else function(*args)
        return array, aval_of(array).dtype
    array = dispatch.operand(entry, "np.r_")
    aval = aval_of(array)
    return array, {"b": False, "i": 0, "f": 0.0, "c": 0j}[aval.dtype.kind] if aval.box == "python" else aval.dtype


def _widened(x: Any, ndmin: int, place: int) -> Any:
    """``x`` with new axes until it has ``ndmin``; its own ones start at ``place`` among them."""
    shape = aval_of(x).shape
    new = max(ndmin - len(shape), 0)
    before = new if place == -1 else place if place >= 0 else place + new + 1
    return dispatch.functions[np.reshape](x, (1,) * before + shape + (1,) * (new - before))


class Grid:
    """``np.mgrid`` and ``np.ogrid``: their arrays as buffers."""

    def __init__(self, original: Any) -> None:
        self.original = original

    def __getitem__(self, key: Any) -> Any:
        return lift(self.original[lower(key)], lent=False)


# -- ndarray --------------------------------------------------------------------------------------------------------


class _NDArrayType(type):
    def __instancecheck__(cls, x: Any) -> bool:
        return isinstance(x, (np.ndarray, Buffer)) or (isinstance(x, Tracer) and x.aval.box == "array")

    def __subclasscheck__(cls, other: type) -> bool:
        return issubclass(other, (np.ndarray, Buffer))

    def __getattr__(cls, name: str) -> Any:
        return getattr(np.ndarray, name)

    def __call__(cls, shape: Any, dtype: Any = float, *args: Any, **kwargs: Any) -> Any:
        if args or kwargs:
            return lift(np.ndarray(lower(shape), dtype, *lower(args), **lower(kwargs)))
        return call(np.zeros, (shape, dtype), {})

    def __getitem__(cls, item: Any) -> Any:
        return np.ndarray[item]


class NDArray(metaclass=_NDArrayType):
    """``np.ndarray``, of which tracked arrays are instances."""


# -- loops ----------------------------------------------------------------------------------------------------------


class Vectorized:
    """``np.vectorize``: a Python function at every element, in a loop."""

    def __init__(
        self,
        pyfunc: Any = None,
        otypes: Any = None,
        doc: str | None = None,
        excluded: Any = None,
        cache: bool = False,
        signature: str | None = None,
    ) -> None:
        if signature is not None:
            raise errors.ArgumentError(
                "np.vectorize: a signature is not supported for traced values. Map the function with functrans.vmap"
            )
        self.pyfunc = pyfunc
        self.otypes = otypes
        self.excluded = set(excluded or ())
        if pyfunc is not None:
            functools.update_wrapper(self, pyfunc)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.pyfunc is None:
            return Vectorized(args[0], self.otypes, excluded=self.excluded)
        arrays: dict[Any, Any] = {i: a for i, a in enumerate(args) if i not in self.excluded}
        arrays |= {k: a for k, a in kwargs.items() if k not in self.excluded}
        arrays = {k: call(np.asarray, (a,), {}) for k, a in arrays.items()}
        shape = np.broadcast_shapes(*(a.shape for a in arrays.values()))
        arrays = {k: call(np.broadcast_to, (a, shape), {}) for k, a in arrays.items()}
        outs = []
        for place in np.ndindex(*shape):
            now = {k: a[place] for k, a in arrays.items()}
            positional = [now.get(i, a) for i, a in enumerate(args)]
            outs.append(self.pyfunc(*positional, **{k: now.get(k, a) for k, a in kwargs.items()}))
        if not outs:
            raise ValueError("cannot call `vectorize` on size 0 inputs unless `otypes` is set")
        if not isinstance(outs[0], tuple):
            return self._collected(outs, shape, 0)
        return tuple([self._collected(column, shape, k) for k, column in enumerate(zip(*outs, strict=True))])

    def _collected(self, values: Any, shape: tuple[int, ...], k: int) -> Any:
        flat = call(np.array, (list(values),), {})
        if self.otypes is not None:
            flat = flat.astype(self.otypes[k])
        return flat.reshape(shape) if shape else flat.reshape(())


def ndenumerate(arr: Any) -> Iterator[tuple[tuple[int, ...], Any]]:
    """Pairs of index and element; see ``numpy.ndenumerate``."""
    arr = call(np.asarray, (arr,), {})
    return ((place, arr[place]) for place in np.ndindex(*arr.shape))


def _fromiter(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    def fromiter(iterable: Any, dtype: Any, count: int = -1, **rest: Any) -> Any:
        items = list(iterable) if count < 0 else [item for item, _ in zip(iterable, range(count), strict=False)]
        return call(np.array, (items,), {"dtype": dtype})

    return fromiter(*args, **kwargs)


def _apply_along_axis(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """A function at every vector along an axis, in a loop."""

    def apply_along_axis(func1d: Callable[..., Any], axis: int, arr: Any, *rest: Any, **named: Any) -> Any:
        arr = call(np.asarray, (arr,), {})
        rows = call(np.moveaxis, (arr, axis, -1), {})
        outs = [func1d(rows[place], *rest, **named) for place in np.ndindex(*rows.shape[:-1])]
        out = call(np.array, (outs,), {})
        inner = out.shape[1:]
        out = call(np.reshape, (out, (*rows.shape[:-1], *inner)), {})
        at = axis % arr.ndim
        n = arr.ndim - 1
        order = [*range(at), *range(n, n + len(inner)), *range(at, n)]
        return call(np.transpose, (out, order), {})

    return apply_along_axis(*args, **kwargs)


handle(_fromiter, np.fromiter)
handle(_apply_along_axis, np.apply_along_axis)

specials: dict[int, Any] = {
    id(original): special
    for original, special in (
        (np.r_, Joiner(np.r_, 0, 1, -1)),
        (np.c_, Joiner(np.c_, -1, 2, 0)),
        (np.mgrid, Grid(np.mgrid)),
        (np.ogrid, Grid(np.ogrid)),
        (np.ndarray, NDArray),
        (np.vectorize, Vectorized),
        (np.ndenumerate, ndenumerate),
    )
}
"""What stands in for an object of NumPy, by its identity."""
