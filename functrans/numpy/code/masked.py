"""What ``buffer[mask]`` is where the contents of the mask are not known: the whole array, and which of it is meant.

How many elements a traced mask selects has no answer while tracing, so ``x[mask]`` has no shape. Much of what programs
do with it needs none: ``x[mask] += t``, ``x[mask] = np.sqrt(y[mask])``, ``x[mask].sum()``. These compute on the whole
array, with harmless numbers in place of what the mask leaves out, so that it spoils neither a value nor a derivative.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from functrans import errors, lax
from functrans.core import dtypes
from functrans.core.avals import Shape
from functrans.core.jaxpr import Atom, Eqn, Literal
from functrans.core.stage import JaxprTrace
from functrans.core.structural import broadcast_to, convert
from functrans.core.trace import Tracer, aval_of, is_array
from functrans.interpreters.batch import BatchTrace
from functrans.lax.scatter import beside
from functrans.numpy import dispatch


class Masked:
    """Elements of an array that a traced mask selects.

    Attributes:
        values: an array whose leading axes are the mask's.
        mask: the mask.
    """

    __slots__ = ("mask", "values")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, values: Any, mask: Any) -> None:
        self.values = values
        self.mask = mask

    @classmethod
    def of(cls, array: Any, mask: Any) -> Masked:
        """``array[mask]``."""
        shape, covered = aval_of(array).shape, mask.aval.shape
        if shape[: len(covered)] != covered:
            raise errors.IndexingError(
                f"index: a mask of shape {covered} does not fit the leading axes of an array of shape {shape}"
            )
        return cls(array, mask)

    @property
    def dtype(self) -> np.dtype[Any]:
        return aval_of(self.values).dtype

    def has(self, mask: Any) -> bool:
        """Whether a mask selects the same elements."""
        return same_value(self.mask, mask)

    def condition(self) -> Any:
        """The mask, with an axis for each axis of the values."""
        return beside(self.mask, aval_of(self.values).ndim - self.mask.aval.ndim)

    def unknown_size(self, what: str) -> errors.IndexingError:
        """The error for what needs to know how many elements there are."""
        return errors.IndexingError(
            f"the elements that a traced mask of type {self.mask.aval} selects were {what}: how many there are is not "
            f"known while tracing. Elementwise operations, sums, and stores with the same mask work; else write "
            f"np.where(mask, x, 0), or give the number: x[functrans.numpy.nonzero(mask, size=...)]"
        )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise self.unknown_size(f"asked for .{name}")

    def __getitem__(self, idx: Any) -> Any:
        raise self.unknown_size("indexed")

    def __len__(self) -> int:
        raise self.unknown_size("counted with len()")

    def __iter__(self) -> Any:
        raise self.unknown_size("iterated over")

    def __bool__(self) -> bool:
        raise self.unknown_size("asked for their truth")

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise self.unknown_size("handed to code that needs a NumPy array")

    def __repr__(self) -> str:
        return f"<the elements of a {aval_of(self.values)} that a traced mask selects>"


def same_value(a: Any, b: Any) -> bool:
    """Whether two values are one because the same operations made them of the same values.

    Programs write a mask out a second time, ``y[x > 0] = f(x[x > 0])``, which gives a second traced value.
    """
    if a is b:
        return True
    if not (isinstance(a, Tracer) and isinstance(b, Tracer)):
        return not isinstance(a, Tracer) and not isinstance(b, Tracer) and bool(np.array_equal(a, b))
    trace = a._trace
    if trace is not b._trace or a.aval != b.aval:
        return False
    if isinstance(trace, BatchTrace):
        (array, axis), (other, other_axis) = a.payload, b.payload
        return axis == other_axis and same_value(array, other)
    return isinstance(trace, JaxprTrace) and _same_definition(trace.eqns, a.payload, b.payload)


def _same_definition(eqns: Sequence[Eqn], a: Atom, b: Atom) -> bool:
    """Whether equations define two variables in the same way."""
    pending = [(a, b)]
    end = len(eqns)
    while pending:
        a, b = pending.pop()
        if a is b or (isinstance(a, Literal) and isinstance(b, Literal) and a.value is b.value):
            continue
        if isinstance(a, Literal) and isinstance(b, Literal):
            if a.aval != b.aval or repr(a.value) != repr(b.value):
                return False
            continue
        first, second = (next((e for e in reversed(eqns[:end]) if v in e.outs), None) for v in (a, b))
        if first is None or second is None or first.prim is not second.prim or first.params != second.params:
            return False
        if first.effects or first.outs.index(a) != second.outs.index(b):
            return False
        pending.extend(zip(first.inputs, second.inputs, strict=True))
    return True


@lru_cache(maxsize=256)
def _harmless(ufunc: np.ufunc) -> float:
    """A number at which a ufunc is defined and smooth."""
    with np.errstate(all="ignore"):
        for number in (0.5, 2.0):
            try:
                outs = ufunc(*[number] * ufunc.nin)
            except TypeError:
                break
            if np.isfinite(outs).all():
                return number
    return 1.0


def fill_out(ufunc: np.ufunc, x: Any, condition: Any, shape: Shape) -> Any:
    """An operand with a harmless number wherever the ufunc must not look at it."""
    x = dispatch.operand(x, ufunc.__name__)
    dtype = aval_of(x).dtype
    x = broadcast_to(convert(x, dtype), shape)
    filler = dtype.type(_harmless(ufunc)) if dtypes.is_inexact(dtype) else dtype.type(1)
    return lax.select(condition, x, filler)


def apply_masked(ufunc: np.ufunc, args: Any, kwargs: dict[str, Any]) -> Any:
    """A ufunc of masked operands and of scalars (or arrays that fit behind the mask's axes)."""
    first = next(a for a in args if isinstance(a, Masked))
    shape = aval_of(first.values).shape
    behind = shape[first.mask.aval.ndim :]
    condition = first.condition()
    operands = []
    for a in args:
        if isinstance(a, Masked):
            if not a.has(first.mask) or aval_of(a.values).shape != shape:
                raise first.unknown_size("combined with the elements of another mask, or of an array of another shape")
            a = a.values
        elif not is_array(a) or len(aval_of(a).shape) > len(behind):
            raise first.unknown_size("combined with an array whose length has to agree")
        operands.append(fill_out(ufunc, a, condition, shape))
    out = dispatch.array_ufunc(ufunc, "__call__", operands, kwargs)
    return tuple(Masked(o, first.mask) for o in out) if isinstance(out, tuple) else Masked(out, first.mask)


_REDUCTIONS = frozenset({np.sum, np.prod, np.mean, np.var, np.std, np.any, np.all, np.count_nonzero})


def reduce_masked(func: Any, x: Masked, args: Any, kwargs: dict[str, Any]) -> Any:
    """A reduction over the elements that the mask selects."""
    axis = args[0] if args else kwargs.get("axis")
    if func not in _REDUCTIONS or axis not in (None, 0) or len(args) > 1 or set(kwargs) - {"axis", "ddof"}:
        raise x.unknown_size(f"handed to {func.__name__}")
    over = None if axis is None else tuple(range(x.mask.aval.ndim))
    values: Any = x.values
    condition = broadcast_to(x.condition(), aval_of(values).shape)
    if func is np.count_nonzero:
        hits = dispatch.ufuncs[np.logical_and].apply(values, condition)
        return dispatch.functions[np.sum](hits, over)
    kwargs = {k: v for k, v in kwargs.items() if k != "axis"}
    if isinstance(values, Tracer) or isinstance(condition, Tracer):
        return dispatch.functions[func](values, over, where=condition, **kwargs)
    return func(values, over, where=condition, **kwargs)
