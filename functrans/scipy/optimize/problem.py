"""A user's function as the solvers see it: a function of one vector, with everything else it depends on explicit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from functrans import errors
from functrans import numpy as fnp
from functrans.api.boundary import check_callable, name_of
from functrans.api.staging import closure_convert
from functrans.core import dtypes
from functrans.core.structural import convert, is_traced, rebox
from functrans.core.trace import Tracer, aval_of, is_array
from functrans.core.tree import tree_flatten
from functrans.lax.movement import copy


class Point:
    """A point that the user gave, as a vector, and the way back to its structure.

    Attributes:
        vector: its entries, as floats.
        size: how many there are.
    """

    def __init__(self, where: str, x0: Any, argument: str = "x0", dtype: Any = None) -> None:
        x0 = _as_array(x0)
        leaves, treedef = tree_flatten(x0)
        for leaf in leaves:
            if not is_array(leaf):
                raise errors.ArgumentError(
                    f"{where}: {argument} must be an array or a pytree of arrays, got an object of type "
                    f"{type(leaf).__name__} in it"
                )
            if dtypes.is_complex(aval_of(leaf).dtype):
                raise errors.DTypeError(
                    f"{where}: {argument} holds complex numbers. Take real and imaginary parts as the variables"
                )
        # Python numbers become arrays, so that what the solver returns is not weak.
        strong = [convert(x, _floating(aval_of(x).dtype)) for x in leaves]
        self._avals = [aval_of(x) for x in strong]
        self._tree = treedef
        if dtype is None:
            dtype = dtypes.result_type(*[a.dtype for a in self._avals]) if strong else np.dtype(np.float64)
        self.vector: Any = fnp.concatenate([fnp.ravel(convert(x, dtype)) for x in strong]) if strong else fnp.zeros(0)
        self.size = aval_of(self.vector).size

    def unravel(self, vector: Any) -> Any:
        """The point with these entries."""
        leaves, start = [], 0
        for a in self._avals:
            piece = convert(fnp.reshape(vector[start : start + a.size], a.shape), a.dtype)
            # A solver of SciPy's may go on to write into its vector.
            leaves.append(rebox(piece if is_traced() else copy(piece), a.box))
            start += a.size
        return self._tree.unflatten(leaves)


def _floating(dtype: Any) -> Any:
    return dtype if dtypes.is_inexact(dtype) else np.dtype(np.float64)


def _as_array(x0: Any) -> Any:
    """A list of numbers is a vector, as in SciPy; with arrays in it, it is a pytree."""
    if isinstance(x0, (list, tuple)) and not hasattr(x0, "_fields"):
        leaves = tree_flatten(x0)[0]
        if leaves and all(is_array(leaf) and aval_of(leaf).shape == () for leaf in leaves):
            return fnp.asarray(x0)
    return x0


def check_args(where: str, args: Any) -> tuple[Any, ...]:
    """``args`` of a solver."""
    if not isinstance(args, tuple):
        raise errors.ArgumentError(
            f"{where}: args {args!r} must be a tuple of further arguments of the function. Write args=(value,) for one"
        )
    return args


class Function:
    """A function of a vector and of operands.

    Under a transformation it is traced here once, so that the arrays and traced values which the user's function
    closes over become operands that derivatives can be taken in. Otherwise it is the user's own function, called with
    concrete arrays, and has no operands.

    Attributes:
        operands: the arrays that the function depends on besides the point.
    """

    def __init__(
        self, where: str, fun: Callable[..., Any], point: Point, args: tuple[Any, ...], product: bool = False
    ) -> None:
        """``fun(x, *args)`` as a function of the vector of ``x``; of two such points for ``product``."""
        check_callable(where, fun)
        self.where = f"{where}: {name_of(fun)}"
        points = 2 if product else 1
        leaves, treedef = tree_flatten(args)
        places = [i for i, x in enumerate(leaves) if isinstance(x, (np.ndarray, np.generic, Tracer))]
        self.operands: list[Any] = []
        if not is_traced():
            self._call: Callable[..., Any] = lambda *vs: fun(*[point.unravel(v) for v in vs], *args)
            return
        given = [leaves[i] for i in places]

        def explicit(*arrays: Any) -> Any:
            filled = list(leaves)
            for i, a in zip(places, arrays[points:], strict=True):
                filled[i] = a
            return fun(*[point.unravel(v) for v in arrays[:points]], *treedef.unflatten(filled))

        self._call, constants = closure_convert(explicit, *[point.vector] * points, *given)
        self.operands = [*given, *constants]

    def __call__(self, v: Any, *operands: Any) -> Any:
        return self._call(v, *operands)

    def real_number(self, out: Any) -> Any:
        """A value of the function, which must be one real number."""
        if not is_array(out) or aval_of(out).size != 1 or dtypes.is_complex(aval_of(out).dtype):
            raise errors.NonScalarOutputError(
                f"{self.where} must return one real number, got "
                f"{aval_of(out) if is_array(out) else type(out).__name__}. Sum over what it computes"
            )
        return out if aval_of(out).shape == () else fnp.reshape(out, ())

    def number(self, v: Any, *operands: Any) -> Any:
        """The value of a function that gives one real number."""
        return self.real_number(self(v, *operands))

    def vector(self, v: Any, *operands: Any) -> Any:
        """The value of a function that gives a pytree of real arrays, as a vector."""
        return Point(self.where, self(v, *operands), "the result").vector


__all__ = ["Function", "Point", "check_args"]
