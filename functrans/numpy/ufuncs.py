"""Universal functions: NumPy's promotion and casting around the elementwise primitives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from functrans import errors, lax
from functrans.core import dtypes
from functrans.core.avals import ShapedArray
from functrans.core.structural import convert
from functrans.core.trace import Tracer, aval_of, current_trace
from functrans.numpy.dispatch import operand, reject_out, ufuncs

_WEAK_TYPES: dict[str, type] = {"i": int, "f": float, "c": complex}


def cast_operand(x: Any, aval: ShapedArray, target: dtypes.DType, strong: bool) -> Any:
    """An operand in the dtype of the loop that NumPy chose; weak numbers stay weak beside a strong operand."""
    if aval.weak:
        if not strong:
            return x if aval.dtype == target else convert(x, target)
        if dtypes.kind(target) in "fc" and type(x) is int:
            return float(x)
        if dtypes.kind(target) in "iu" and type(x) is int:
            info = np.iinfo(target)
            if not info.min <= x <= info.max:
                raise OverflowError(f"Python integer {x} out of bounds for {target.name}")
        return x
    return x if aval.dtype == target else convert(x, target)


def loop(ufunc: np.ufunc, avals: list[ShapedArray]) -> tuple[dtypes.DType, ...]:
    """The dtypes of the loop that NumPy chooses for operands of these types."""
    keys = [_WEAK_TYPES[a.dtype.kind] if a.weak else a.dtype for a in avals]
    if all(a.weak for a in avals):
        keys = [a.dtype for a in avals]
    return dtypes.resolve(ufunc, *keys)


class Ufunc:
    """A universal function: called, it is NumPy's own, or its traced form under a transformation."""

    def __init__(self, original: np.ufunc, traced: Callable[..., Any], name: str | None = None) -> None:
        self.original = original
        self.traced = traced
        self.__name__ = name or original.__name__
        self.__qualname__ = self.__name__
        self.__doc__ = f"``numpy.{original.__name__}``, element by element; see ``functrans.lax`` for its derivative."
        self.nin = original.nin
        self.nout = original.nout
        self.nargs = original.nargs
        self.identity = original.identity
        ufuncs[original] = self

    def __call__(
        self, *args: Any, out: Any = None, where: Any = True, dtype: Any = None, casting: str = "same_kind", **rest: Any
    ) -> Any:
        if current_trace() is None:
            if dtype is not None:
                rest["dtype"] = dtype
            return self.original(*args, out=out, where=where, casting=casting, **rest)
        return self.apply(*args, out=out, where=where, dtype=dtype)

    def apply(self, *args: Any, out: Any = None, where: Any = True, dtype: Any = None, **rest: Any) -> Any:
        """The traced form."""
        if len(args) != self.nin:
            raise errors.ArgumentError(f"{self.__name__}: {self.nin} operands are needed, got {len(args)}")
        reject_out(self.__name__, out)
        if where is not True:
            raise errors.ArgumentError(
                f"{self.__name__}(where=...): without out= NumPy leaves the other elements uninitialised. Write "
                f"where(mask, {self.__name__}(...), other)"
            )
        operands = [x if isinstance(x, Tracer) else operand(x, self.__name__) for x in args]
        avals = [aval_of(x) for x in operands]
        if dtype is not None:
            target = np.dtype(dtype)
            operands = [convert(x, target) for x in operands]
            avals = [aval_of(x) for x in operands]
        first = avals[0]
        if not (first.box != "python" and dtypes.kind(first.dtype) in "fc" and all(a.dtype is first.dtype and a.box != "python" for a in avals)):
            types = loop(self.original, avals)
            strong = not all(a.weak for a in avals)
            operands = [cast_operand(x, a, t, strong) for x, a, t in zip(operands, avals, types, strict=False)]
        return self.traced(*operands)

    def _binary(self, method: str) -> None:
        if self.nin != 2 or self.nout != 1:
            raise errors.ArgumentError(f"{self.__name__}.{method}: only ufuncs of two operands and one result have it")

    def outer(self, x: Any, y: Any, **kwargs: Any) -> Any:
        """The function at every pair of elements of ``x`` and ``y``."""
        self._binary("outer")
        if current_trace() is None:
            return self.original.outer(x, y, **kwargs)
        x, y = operand(x), operand(y)
        ndim = aval_of(y).ndim
        if aval_of(x).ndim:
            x = lax.reshape(x, aval_of(x).shape + (1,) * ndim)
        return self(x, y, **kwargs)

    def __repr__(self) -> str:
        return f"<ufunc {self.__name__!r} of functrans.numpy>"
