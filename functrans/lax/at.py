"""Updates of elements as new arrays: ``at(x)[idx].set(values)`` and its relatives.

A traced array cannot be written to, so an update gives a new array. On plain NumPy arrays it does the same, so that a
function which uses ``at`` runs with and without a transformation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from functrans import errors
from functrans.core import dtypes
from functrans.core.avals import Shape, ShapedArray, shaped
from functrans.core.structural import add, broadcast_to, convert, ones, rebox
from functrans.core.trace import Tracer, aval_of, is_array
from functrans.lax.arithmetic import div, mul, neg
from functrans.lax.gather import take_index
from functrans.lax.indexing import basic_index, basic_set
from functrans.lax.magnitude import max as larger
from functrans.lax.magnitude import min as smaller
from functrans.lax.movement import reshape
from functrans.lax.power import pow as power
from functrans.lax.scatter import Operation, beside, scatter
from functrans.lax.selection import select
from functrans.lax.subscript import Subscript, bounded, inside, parse, subscript_shape

Binary = Callable[[Any, Any], Any]


class At:
    """What ``at(x)`` and ``x.at`` give: indexing it names the elements to update."""

    __slots__ = ("_array",)

    def __init__(self, array: Any) -> None:
        self._array = array

    def __getitem__(self, idx: Any) -> Places:
        return Places(self._array, idx)

    def __repr__(self) -> str:
        return f"at({aval_of(self._array)})"


def at(x: Any) -> At:
    """Updates of elements of ``x`` as new arrays; ``x.at`` on a traced array.

    ``at(x)[idx]`` takes any index that ``x[idx]`` takes, and has the methods

    ========================  ===================================================
    ``.set(v)``               ``x[idx] = v``
    ``.add(v)``               ``x[idx] += v``; ``.subtract``, ``.multiply``, ``.divide``, ``.power`` likewise
    ``.min(v)``, ``.max(v)``  the smaller or larger of element and value
    ``.apply(f)``             ``x[idx] = f(x[idx])``
    ``.get()``                ``x[idx]``
    ========================  ===================================================

    on a copy of ``x``, whose dtype stays. The values broadcast to the shape of ``x[idx]``. Where ``idx`` names an
    element more than once, ``set`` leaves the last value and gives the derivative to it alone, ``apply`` applies
    the function once, and the others combine all values, as ``np.add.at`` does.

    Each method takes the keywords

    - ``mode``: what an index out of bounds means. None and ``"raise"``: an error. ``"clip"``: the nearest element.
      ``"wrap"``: counting on from the other end. ``"drop"`` and ``"fill"``: no update, and ``get`` gives
      ``fill_value``: by default NaN, the least signed, the largest unsigned integer, or True.
    - ``unique_indices``: a promise that no element is named twice, which saves work.
    - ``indices_are_sorted``: accepted, and of no consequence.

    >>> at(np.zeros(3))[[0, 0, 2]].add(1.0)
    array([2., 0., 1.])
    >>> at(np.arange(4.0))[1:3].set(9.0)
    array([0., 9., 9., 3.])
    """
    return At(x)


class Places:
    """Elements of an array that an index names. See ``at``."""

    __slots__ = ("_array", "_idx")

    def __init__(self, array: Any, idx: Any) -> None:
        self._array = convert(array, aval_of(array).dtype)
        self._idx = idx

    def __repr__(self) -> str:
        return f"at({aval_of(self._array)})[{self._idx!r}]"

    def get(
        self,
        *,
        mode: str | None = None,
        fill_value: Any = None,
        unique_indices: bool = False,
        indices_are_sorted: bool = False,
    ) -> Any:
        """The elements; what is out of bounds as ``mode`` says.

        >>> at(np.arange(3.0))[np.array([1, 7])].get(mode="fill", fill_value=-1.0)
        array([ 1., -1.])
        """
        x = self._array
        place = _Place(x, self._idx, mode, "get")
        out = place.inner()
        if place.arrays:
            out = take_index(out, place.arrays, place.axes, place.at, place.mode)
            if place.mode == "drop":
                out = place.filled(out, fill_value)
        if aval_of(out).shape:
            return out
        return rebox(out, "array" if place.ellipsis else "numpy")

    def set(
        self, values: Any, *, mode: str | None = None, unique_indices: bool = False, indices_are_sorted: bool = False
    ) -> Any:
        """A copy of the array with the elements replaced.

        >>> at(np.zeros(3))[1].set(5.0)
        array([0., 5., 0.])
        """
        return self._update("set", values, mode, unique_indices, "set", lambda old, new: new)

    def add(
        self, values: Any, *, mode: str | None = None, unique_indices: bool = False, indices_are_sorted: bool = False
    ) -> Any:
        """A copy of the array with values added to the elements."""
        return self._update("add", values, mode, unique_indices, "add", add)

    def subtract(
        self, values: Any, *, mode: str | None = None, unique_indices: bool = False, indices_are_sorted: bool = False
    ) -> Any:
        """A copy of the array with values subtracted from the elements."""
        aval = aval_of(self._array)
        if dtypes.kind(aval.dtype) == "b":
            raise errors.DTypeError(f"at[].subtract: booleans ({aval}) have no differences. Use .set with logical_xor")
        return self._update("subtract", values, mode, unique_indices, "add", add, neg)

    def multiply(
        self, values: Any, *, mode: str | None = None, unique_indices: bool = False, indices_are_sorted: bool = False
    ) -> Any:
        """A copy of the array with the elements multiplied by values."""
        return self._update("multiply", values, mode, unique_indices, "mul", mul)

    def divide(
        self, values: Any, *, mode: str | None = None, unique_indices: bool = False, indices_are_sorted: bool = False
    ) -> Any:
        """A copy of the array with the elements divided by values, by their product where there are several.

        Raises:
            DTypeError: the array holds integers or booleans.
        """
        aval = aval_of(self._array)
        if not dtypes.is_inexact(aval.dtype):
            raise errors.DTypeError(
                f"at[].divide: a quotient does not fit into an array of type {aval}. Convert the array first: "
                f"x.astype(float)"
            )
        return self._update("divide", values, mode, unique_indices, None, div)

    def power(
        self, values: Any, *, mode: str | None = None, unique_indices: bool = False, indices_are_sorted: bool = False
    ) -> Any:
        """A copy of the array with the elements raised to powers, to their product where there are several."""
        return self._update("power", values, mode, unique_indices, None, power)

    def min(
        self, values: Any, *, mode: str | None = None, unique_indices: bool = False, indices_are_sorted: bool = False
    ) -> Any:
        """A copy of the array with the smaller of element and value; where they are equal they share the derivative."""
        return self._update("min", values, mode, unique_indices, "min", smaller)

    def max(
        self, values: Any, *, mode: str | None = None, unique_indices: bool = False, indices_are_sorted: bool = False
    ) -> Any:
        """A copy of the array with the larger of element and value; where they are equal they share the derivative."""
        return self._update("max", values, mode, unique_indices, "max", larger)

    def apply(
        self,
        func: Callable[[Any], Any],
        *,
        mode: str | None = None,
        unique_indices: bool = False,
        indices_are_sorted: bool = False,
    ) -> Any:
        """A copy of the array with a function applied to the elements, once to each.

        Args:
            func: a function from the array of elements, ``x[idx]``, to one of the same shape.

        >>> at(np.array([1.0, 4.0, 9.0]))[1:].apply(np.sqrt)
        array([1., 2., 3.])
        """
        x = self._array
        mask = _unknown_mask(self._idx)
        if mask is not None:
            return _where_mask("apply", x, mask, fitted("apply", func(x), aval_of(x), aval_of(x).shape, False))
        place = _Place(x, self._idx, mode, "apply")
        old = place.read(place.inner())
        return place.write(fitted("apply", func(old), aval_of(x), place.shape, False), "set", unique_indices)

    def _update(
        self,
        name: str,
        values: Any,
        mode: str | None,
        unique: bool,
        op: Operation | None,
        combine: Binary,
        prepare: Callable[[Any], Any] = lambda values: values,
    ) -> Any:
        x = self._array
        aval = aval_of(x)
        mask = _unknown_mask(self._idx)
        if mask is not None:
            rest = aval.shape[aval_of(mask).ndim :]
            values = prepare(fitted(name, values, aval, rest, op != "set"))
            safe = select(beside(mask, len(rest)), x, 1) if name == "power" else x
            return _where_mask(name, x, mask, combine(safe, values))
        place = _Place(x, self._idx, mode, name)
        values = prepare(fitted(name, values, aval, place.shape, op != "set"))
        if not place.arrays:
            return place.store(combine(place.inner(), values))
        if op is not None:
            return place.write(values, op, unique)
        inner = place.inner()
        if not unique:
            # Every update of an element is given the combined value, so that it does not matter which is last.
            total = scatter(
                ones(shaped(aval_of(inner).shape, aval.dtype)),
                values, place.arrays, place.axes, place.at, "mul", place.mode,
            )  # fmt: skip
            values = place.read(total)
        return place.write(combine(place.read(inner), values), "set", unique)


class _Place:
    """An index of an array taken apart, with its mode: where to read and write."""

    def __init__(self, x: Any, idx: Any, mode: str | None, name: str) -> None:
        self.x = x
        self.subscript = parse(x, idx, lenient=mode not in (None, "raise", "promise_in_bounds"))
        basic, arrays, self.axes, self.at, self.ellipsis = self.subscript
        self.basic = basic
        self.shape: Shape = subscript_shape(aval_of(x).shape, self.subscript)
        inner = Subscript(basic, (), (), 0, False)
        self.inner_shape: Shape = subscript_shape(aval_of(x).shape, inner)
        self.extents = [self.inner_shape[a] for a in self.axes]
        self.arrays, self.mode = bounded(f"at[].{name}", arrays, self.extents, mode)

    def inner(self) -> Any:
        """The array at the static part of the index."""
        return basic_index(self.x, self.basic) if self.basic or not self.arrays else self.x

    def read(self, inner: Any) -> Any:
        """What the index names, the nearest element in place of what is out of bounds."""
        if not self.arrays:
            return inner
        if self.mode == "raise" or 0 in self.extents:
            return take_index(inner, self.arrays, self.axes, self.at, self.mode)
        near, mode = bounded("at[]", self.arrays, self.extents, "clip")
        return take_index(inner, near, self.axes, self.at, mode)

    def write(self, values: Any, op: Operation, unique: bool) -> Any:
        """The array with values written where the index says."""
        if not self.arrays:
            return self.store(values)
        unique = unique or all(aval_of(i).shape == () for i in self.arrays)
        return self.store(scatter(self.inner(), values, self.arrays, self.axes, self.at, op, self.mode, unique))

    def store(self, inner: Any) -> Any:
        """The array with what is at the static part of the index replaced."""
        x = self.x
        out = basic_set(x, inner, self.basic) if self.basic or not self.arrays else inner
        return rebox(out, aval_of(x).box) if aval_of(x).shape == () else out

    def filled(self, out: Any, fill_value: Any) -> Any:
        """What was read, with ``fill_value`` in place of what is out of bounds."""
        aval = aval_of(out)
        fill = default_fill(aval.dtype) if fill_value is None else fill_value
        fill = fitted("get", fill, aval, (), False)
        valid = inside(self.arrays, self.extents)
        kept = len(self.inner_shape) - len(self.axes)
        return select(beside(valid, kept - self.at), out, fill)


def default_fill(dtype: dtypes.DType) -> Any:
    """What stands for an element that is read out of bounds."""
    kind = dtypes.kind(dtype)
    if kind in "fc":
        return dtype.type(float("nan"))
    if kind == "b":
        return np.True_
    info = np.iinfo(dtype)
    return dtype.type(info.min if kind == "i" else info.max)


def fitted(name: str, values: Any, aval: ShapedArray, shape: Shape, arithmetic: bool) -> Any:
    """Values in the dtype of the array that they go into, broadcast to a shape.

    Assignment casts as NumPy's does; arithmetic takes only what NumPy would take in place.
    """
    if not is_array(values):
        values = np.asarray(values)
    given = aval_of(values)
    lossy = dtypes.is_complex(given.dtype) and not dtypes.is_complex(aval.dtype)
    if arithmetic and not lossy and given.dtype != aval.dtype:
        weak_integer = given.weak and given.dtype.kind == "i" and dtypes.kind(aval.dtype) != "b"
        both_float = dtypes.kind(given.dtype) == dtypes.kind(aval.dtype) == "f"
        lossy = not (weak_integer or both_float or np.can_cast(given.dtype, aval.dtype, "same_kind"))
    if lossy:
        raise errors.DTypeError(
            f"at[].{name}: values of type {given} do not fit into an array of type {aval}, whose dtype stays. Convert "
            f"the array (x.astype({given.dtype.name!r})) or the values (values.astype({aval.dtype.name!r}))"
        )
    values = convert(values, aval.dtype)
    extra = given.ndim - len(shape)
    if extra > 0 and given.shape[:extra] == (1,) * extra:
        values = reshape(values, given.shape[extra:])
    found = aval_of(values).shape
    if len(found) > len(shape) or any(a not in (1, b) for a, b in zip(reversed(found), reversed(shape), strict=False)):
        raise errors.ShapeError(
            f"at[].{name}: values of shape {given.shape} do not broadcast to shape {shape}, which the index names in "
            f"an array of shape {aval.shape}"
        )
    return broadcast_to(values, shape)


def _unknown_mask(idx: Any) -> Any:
    """The index where it is a mask whose contents are not known while tracing, else None."""
    if isinstance(idx, tuple) and len(idx) == 1:
        (idx,) = idx
    if isinstance(idx, Tracer) and idx.aval.dtype.kind == "b" and idx._trace.concrete(idx) is None:
        return idx
    return None


def _where_mask(name: str, x: Any, mask: Any, values: Any) -> Any:
    shape, covered = aval_of(x).shape, aval_of(mask).shape
    if shape[: len(covered)] != covered:
        raise errors.IndexingError(
            f"at[].{name}: a mask of shape {covered} does not fit the leading axes of an array of shape {shape}"
        )
    out = select(beside(mask, len(shape) - len(covered)), values, x)
    return rebox(out, aval_of(x).box) if shape == () else out
