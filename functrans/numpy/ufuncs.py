"""Universal functions: NumPy's promotion and casting around the elementwise primitives, and their methods."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from functrans import errors, lax
from functrans.core import dtypes
from functrans.core.avals import ShapedArray
from functrans.core.structural import convert
from functrans.core.trace import Tracer, aval_of, current_trace
from functrans.lax.reduction import merge_axes
from functrans.numpy.arguments import NO_VALUE, keep_axes, known, mask_of, reduction_axes, single_axis
from functrans.numpy.dispatch import contains_tracer, operand, reject_out, ufuncs

_WEAK_TYPES: dict[str, type] = {"i": int, "f": float, "c": complex}

# -- promotion ------------------------------------------------------------------------------------------------------


def cast_operand(x: Any, aval: ShapedArray, target: dtypes.DType, strong: bool) -> Any:
    """An operand in the dtype of the loop that NumPy chose; weak numbers stay weak beside a strong operand."""
    if aval.weak:
        if not strong or target.kind == "b":
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


def _needs_no_cast(avals: list[ShapedArray]) -> bool:
    """Whether all operands are strong floats of one dtype, which is most often so."""
    first = avals[0].dtype
    return all(a.floating and a.dtype is first for a in avals)


@lru_cache(maxsize=1024)
def _fold_dtype(ufunc: np.ufunc, method: str, dtype: dtypes.DType, asked: dtypes.DType | None) -> dtypes.DType:
    """The dtype in which NumPy folds elements of a dtype: integers of few bits are summed in more, for example."""
    found: dtypes.DType = getattr(ufunc, method)(np.ones(1, dtype), dtype=asked).dtype
    return found


@lru_cache(maxsize=1024)
def _identity(ufunc: np.ufunc, dtype: dtypes.DType) -> Any:
    """What NumPy's reduction of nothing gives; None where it gives an error."""
    try:
        return ufunc.reduce(np.zeros(0, dtype), dtype=dtype)
    except ValueError:
        return None


@lru_cache(maxsize=256)
def _reorderable(ufunc: np.ufunc, dtype: dtypes.DType) -> bool:
    """Whether NumPy reduces several axes at once."""
    try:
        ufunc.reduce(np.ones((1, 1), dtype), axis=(0, 1), dtype=dtype)
    except ValueError:
        return False
    return True


# -- folding --------------------------------------------------------------------------------------------------------


def _members(x: Any, axis: int) -> list[Any]:
    """The slices of ``x`` along an axis, without that axis."""
    n = aval_of(x).shape[axis]
    return [lax.squeeze(part, (axis,)) for part in lax.split(x, (1,) * n, axis)] if n else []


class SignatureOfOriginal:
    """The signature that ``inspect`` shows: NumPy's own."""

    def __get__(self, instance: Any, owner: type | None = None) -> inspect.Signature:
        if instance is None:
            raise AttributeError("__signature__")
        return inspect.signature(instance.original)


class Ufunc:
    """A universal function: called, it is NumPy's own, or its traced form under a transformation.

    Args:
        original: NumPy's.
        traced: the traced form, a function of operands in the dtypes of the loop that NumPy chooses.
        reduction: ``reduction(x, axes)`` folds elements with it; by halves if it is None and ``associative`` is set,
            one by one otherwise.
        accumulation: ``accumulation(x, axis)`` gives the running folds; one by one if it is None.
        associative: whether elements may be combined in any grouping.
    """

    __signature__ = SignatureOfOriginal()

    def __init__(
        self,
        original: np.ufunc,
        traced: Callable[..., Any],
        name: str | None = None,
        *,
        reduction: Callable[[Any, Any], Any] | None = None,
        accumulation: Callable[[Any, int], Any] | None = None,
        associative: bool = False,
    ) -> None:
        self.original = original
        self.traced = traced
        self.reduction = reduction
        self.accumulation = accumulation
        self.direct = reduction is not None
        if reduction is None and associative:
            self.reduction = self._halved
        self.__name__ = name or original.__name__
        self.__qualname__ = self.__name__
        self.__doc__ = f"``numpy.{original.__name__}``, element by element; see ``functrans.lax`` for its derivative."
        self.nin = original.nin
        self.nout = original.nout
        self.nargs = original.nargs
        self.identity = original.identity
        ufuncs[original] = self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if current_trace() is None:
            return self.original(*args, **kwargs)
        return self.apply(*args, **kwargs)

    def apply(
        self, *args: Any, out: Any = None, where: Any = True, dtype: Any = None, casting: Any = "same_kind", **rest: Any
    ) -> Any:
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
            for i, a in enumerate(avals):
                if not a.weak and not np.can_cast(a.dtype, target, casting):
                    raise errors.DTypeError(
                        f"{self.__name__}: operand {i} of type {a} cannot be cast to {target} according to the rule "
                        f"{casting!r}"
                    )
            operands = [convert(x, target) for x in operands]
            avals = [aval_of(x) for x in operands]
        if not _needs_no_cast(avals):
            types = loop(self.original, avals)
            strong = not all(a.weak for a in avals)
            operands = [cast_operand(x, a, t, strong) for x, a, t in zip(operands, avals, types, strict=False)]
        return self.traced(*operands)

    def _halved(self, x: Any, axes: tuple[int, ...]) -> Any:
        """The reduction by an associative function: halves are combined until one element is left."""
        x = merge_axes(x, axes)
        last = aval_of(x).ndim - 1
        if aval_of(x).shape[last] == 1 and (identity := _identity(self.original, aval_of(x).dtype)) is not None:
            # NumPy begins with the identity: hypot and gcd lose the sign of a lone element so.
            x = self.traced(identity, x)
        while (n := aval_of(x).shape[last]) > 1:
            left, right, rest = lax.split(x, (n // 2, n // 2, n % 2), last)
            x = self.traced(left, right)
            x = lax.concatenate([x, rest], last) if n % 2 else x
        return lax.squeeze(x, (last,))

    # -- methods ----------------------------------------------------------------------------------------------------

    def _binary(self, method: str, nout: int = 1) -> None:
        if self.nin != 2 or self.nout > nout or self.original.signature is not None:
            raise errors.ArgumentError(
                f"{self.__name__}.{method}: only ufuncs of two operands and one result have this method"
            )

    def outer(self, A: Any, B: Any, /, **kwargs: Any) -> Any:
        """The function at every pair of elements of ``A`` and ``B``; see ``numpy.ufunc.outer``."""
        if current_trace() is None and not contains_tracer((A, B)):
            return self.original.outer(A, B, **kwargs)
        self._binary("outer", 2)
        x, y = (convert(z, aval_of(z).dtype) for z in (operand(A, self.__name__), operand(B, self.__name__)))
        ndim = aval_of(y).ndim
        if aval_of(x).ndim and ndim:
            x = lax.reshape(x, aval_of(x).shape + (1,) * ndim)
        return self.apply(x, y, **kwargs)

    def reduce(
        self,
        array: Any,
        axis: Any = 0,
        dtype: Any = None,
        out: None = None,
        keepdims: Any = False,
        initial: Any = NO_VALUE,
        where: Any = True,
    ) -> Any:
        """The elements along axes combined by the function; see ``numpy.ufunc.reduce``."""
        if current_trace() is None and not contains_tracer(array):
            return self.original.reduce(array, axis, dtype, out, keepdims=keepdims, initial=initial, where=where)
        return self.fold(f"{self.__name__}.reduce", array, axis, dtype, out, keepdims, initial, where)

    def fold(
        self, name: str, array: Any, axis: Any, dtype: Any, out: Any, keepdims: Any, initial: Any, where: Any
    ) -> Any:
        """The traced form of ``reduce``, under the name by which it was called."""
        plain = dtype is None and out is None and initial is NO_VALUE and (where is NO_VALUE or where is True)
        if plain and self.reduction is not None and self.direct and type(array) is Tracer and array.aval.floating:
            axes = reduction_axes(name, axis, array.aval.ndim)
            if axes and 0 not in array.aval.shape:
                return keep_axes(array, self.reduction(array, axes), axes, keepdims)
        self._binary("reduce")
        reject_out(name, out)
        x = self._folded(operand(array, name), dtype)
        aval = aval_of(x)
        axes = reduction_axes(name, axis, aval.ndim)
        if len(axes) > 1 and not _reorderable(self.original, aval.dtype):
            raise errors.ShapeError(
                f"{name}: the order of elements counts for {self.__name__}, so that it reduces one axis at a time; got "
                f"axis={axis}"
            )
        mask = mask_of(name, where, aval.shape)
        identity = None if initial is None else _identity(self.original, aval.dtype)
        start = None if initial is NO_VALUE or initial is None else _start(name, initial, aval.dtype)
        neutral = start if identity is None else identity
        empty = 0 in [aval.shape[a] for a in axes]
        if neutral is None and (empty or mask is not None):
            what = "there are no elements to reduce" if empty else "where= may exclude all elements"
            raise ValueError(f"{name}: {what}, and {self.__name__} has no identity. Give initial=")
        if empty:
            kept = tuple(n for a, n in enumerate(aval.shape) if a not in axes)
            found = lax.broadcast_to(neutral if start is None else start, kept)
        elif self.reduction is None:
            found = self._in_sequence(x, axes, start, mask)
        else:
            x = x if mask is None else lax.select(mask, x, neutral)
            found = self.reduction(x, axes) if axes or not self.direct else x
            found = found if start is None else self.traced(start, found)
        return keep_axes(x, found, axes, keepdims)

    def _folded(self, x: Any, dtype: Any = None, method: str = "reduce") -> Any:
        """An operand in the dtype in which NumPy folds its elements."""
        asked = None if dtype is None else np.dtype(dtype)
        return convert(x, _fold_dtype(self.original, method, aval_of(x).dtype, asked))

    def _in_sequence(self, x: Any, axes: tuple[int, ...], start: Any, mask: Any) -> Any:
        parts = _members(x, axes[0]) if axes else [x]
        if mask is None:
            masks: list[Any] = [None] * len(parts)
        else:
            mask = lax.broadcast_to(mask, aval_of(x).shape)
            masks = _members(mask, axes[0]) if axes else [mask]
        found = start
        for part, chosen in zip(parts, masks, strict=True):
            following = part if found is None else self.traced(found, part)
            found = following if chosen is None else lax.select(chosen, following, found)
        return found

    def accumulate(self, array: Any, axis: Any = 0, dtype: Any = None, out: None = None) -> Any:
        """The results of ``reduce`` up to each element along an axis; see ``numpy.ufunc.accumulate``."""
        if current_trace() is None and not contains_tracer(array):
            return self.original.accumulate(array, axis, dtype, out)
        return self.running(f"{self.__name__}.accumulate", array, axis, dtype, out)

    def running(self, name: str, array: Any, axis: Any, dtype: Any, out: Any) -> Any:
        """The traced form of ``accumulate``, under the name by which it was called."""
        self._binary("accumulate")
        reject_out(name, out)
        x = self._folded(operand(array, name), dtype, "accumulate")
        if not aval_of(x).ndim:
            raise errors.ArgumentError(f"{name}: a 0-d array has no axis to accumulate along, got {aval_of(x)}")
        axis = single_axis(name, axis, aval_of(x).ndim)
        if self.accumulation is not None:
            return self.accumulation(x, axis)
        parts = _members(x, axis)
        for i in range(1, len(parts)):
            parts[i] = self.traced(parts[i - 1], parts[i])
        return lax.concatenate([lax.expand_dims(p, (axis,)) for p in parts], axis) if parts else x

    def reduceat(self, array: Any, indices: Any, axis: Any = 0, dtype: Any = None, out: None = None) -> Any:
        """``reduce`` over consecutive parts of an axis, which begin at ``indices``; see ``numpy.ufunc.reduceat``.

        The indices must be known while tracing.
        """
        if current_trace() is None and not contains_tracer((array, indices)):
            return self.original.reduceat(array, indices, axis, dtype, out)
        name = f"{self.__name__}.reduceat"
        self._binary("reduceat")
        reject_out(name, out)
        x = self._folded(operand(array, name), dtype)
        axis = single_axis(name, axis, aval_of(x).ndim)
        extent = aval_of(x).shape[axis]
        mend = "Make them static, or sum with functrans.numpy.at(zeros)[labels].add(x)"
        starts = known(name, "indices", indices, mend)
        ends = [*starts[1:], extent] if len(starts) else []
        parts = []
        for first, end in zip(map(operator.index, starts), map(operator.index, ends), strict=True):
            if not 0 <= first < extent:
                raise errors.IndexingError(f"{name}: the index {first} is out of bounds for an axis of extent {extent}")
            part = lax.slice_in_dim(x, first, max(end, first + 1), axis=axis)
            if aval_of(part).shape[axis] > 1:
                part = self.fold(name, part, axis, aval_of(x).dtype, None, True, NO_VALUE, True)
            parts.append(part)
        return lax.concatenate(parts, axis) if parts else lax.slice_in_dim(x, 0, 0, axis=axis)

    def at(self, a: Any, indices: Any, b: Any = NO_VALUE, /, *, inplace: bool = True) -> Any:
        """NumPy's unbuffered operation on the elements that an index names; see ``numpy.ufunc.at``.

        NumPy's method changes ``a`` and returns None. With ``inplace=False`` this one returns a new array, also when
        traced: an element that is named more than once is operated on as often.
        """
        operands = () if b is NO_VALUE else (b,)
        if not inplace:
            return self._functional_at(a, indices, *operands)
        if contains_tracer((a, indices, *operands)):
            raise errors.DetachedWriteError(
                f"{self.__name__}.at writes into an array, which would lose derivatives. Write "
                f"a = functrans.numpy.{self.__name__}.at(a, indices, {'b, ' if operands else ''}inplace=False)"
            )
        self.original.at(a, indices, *operands)

    def _functional_at(self, a: Any, indices: Any, *others: Any) -> Any:
        if self.nin != 1 + len(others) or self.nout != 1 or self.original.signature is not None:
            raise errors.ArgumentError(f"{self.__name__}.at: {self.nin - 1} operands are needed beside the array")
        x = operand(a, self.__name__)
        operator_of = {"add": "add", "multiply": "multiply", "minimum": "min", "maximum": "max"}.get(self.__name__)
        if operator_of is not None:
            return getattr(lax.at(x)[indices], operator_of)(operand(others[0], self.__name__))
        aval = aval_of(x)
        places = lax.index(np.arange(aval.size).reshape(aval.shape), indices)
        shape = aval_of(places).shape
        values = [lax.reshape(lax.broadcast_to(operand(b, self.__name__), shape), (-1,)) for b in others]

        def step(flat: Any, item: Any) -> tuple[Any, None]:
            place, *rest = item
            new = self.apply(lax.index(flat, place), *rest)
            if not np.can_cast(aval_of(new).dtype, aval.dtype, "same_kind"):
                raise errors.DTypeError(
                    f"{self.__name__}.at: results of type {aval_of(new).dtype} do not go into an array of type "
                    f"{aval.dtype}. Convert it first: a.astype({aval_of(new).dtype.name!r})"
                )
            return lax.at(flat)[place].set(convert(new, aval.dtype)), None

        flat, _ = lax.scan(step, lax.reshape(x, (aval.size,)), (lax.reshape(places, (-1,)), *values))
        return lax.reshape(flat, aval.shape)

    def __repr__(self) -> str:
        return f"<ufunc {self.__name__!r} of functrans.numpy>"


def _start(name: str, initial: Any, dtype: dtypes.DType) -> Any:
    """The argument ``initial`` of a reduction, in the dtype of its elements."""
    value = operand(initial, name)
    if aval_of(value).shape != ():
        raise errors.ShapeError(f"{name}: initial must be a number, got {aval_of(value)}")
    return convert(value, dtype) if isinstance(value, Tracer) else np.asarray(value, dtype)[()]
