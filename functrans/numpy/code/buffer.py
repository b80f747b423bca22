"""Buffers: arrays that NumPy code may fill in place while it is being transformed.

A buffer is a view of a ``Storage``, of all of it or of a part. Which part is told by a *frame*: an array over memory
laid out as the storage is, so that NumPy itself decides what is a view and what a copy. Reading a view repeats, on
the traced value of what it is a view of, the operation that made it; writing through one stores at the positions that
its frame covers.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from functrans import errors, lax
from functrans.core import dtypes
from functrans.core.avals import ShapedArray, shaped
from functrans.core.structural import broadcast_to, rebox
from functrans.core.trace import Reference, Tracer, aval_of, is_array
from functrans.core.treedef import LEAF, NodeType, PyTreeDef, register
from functrans.numpy.code.storage import Storage, fit_to, under
from functrans.numpy.dispatch import operand

Getter = Callable[[Any], Any]

_RECIPE_BYTES = 1 << 12
"""A constant larger than this is made anew by the compiled program instead of being stored in it."""
_COPIED = 4
"""Of a view of less than one element in so many a copy is lent, so that a store need not copy the whole."""


class Buffer(Reference):
    """An array made by NumPy code that is being transformed. It is used, and written to, as an ndarray is.

    Attributes:
        storage: the elements.
        parent: the buffer that this one is a view of; None for the whole of a storage.
        get: how the view is made of the value of the parent.
        writeable: whether NumPy would let it be written to.
    """

    __slots__ = (
        "__weakref__", "_frame", "_layout", "_memory", "_natural", "_seen", "get", "parent", "storage", "writeable",
    )  # fmt: skip
    __array_priority__ = 2000.0
    __hash__ = None  # type: ignore[assignment]

    def __init__(
        self, storage: Storage, frame: Any = None, parent: Buffer | None = None, get: Getter | None = None
    ) -> None:
        self.storage = storage
        self.parent = parent
        self.get = get
        self._memory = storage.memory() if frame is not None else None
        self._frame: Any = frame
        self._layout: tuple[tuple[int, ...], int, tuple[int, ...]] | None = None
        self._seen: Any = None
        self._natural: Any = None
        self.writeable = True if frame is None else bool(frame.flags.writeable)

    # -- layout -----------------------------------------------------------------------------------------------------

    @property
    def concrete(self) -> bool:
        """Whether no traced value was stored in what this is a view of."""
        return self.storage.array is not None

    def frame(self) -> np.ndarray:
        """An array over the storage's memory that covers this buffer's elements; itself, where it is concrete."""
        memory = self.storage.memory()
        if self._memory is memory:
            frame: np.ndarray = self._frame
            return frame
        if self.parent is None:
            frame = memory
        elif self.is_part:
            shape, offset, strides = self.layout()
            item = memory.itemsize
            frame = np.ndarray(shape, memory.dtype, memory, offset * item, tuple(s * item for s in strides))
            frame.flags.writeable = self.writeable
        else:
            assert self.get is not None
            frame = self.get(self.parent.frame())
        self._frame, self._memory = frame, memory
        return frame

    @property
    def is_part(self) -> bool:
        """Whether the elements are whole elements of the storage: not so of the real part of complex numbers."""
        return self._frame is None or self._memory is None or self._frame.dtype == self._memory.dtype

    def layout(self) -> tuple[tuple[int, ...], int, tuple[int, ...]]:
        """Shape, first position and step for each axis, in elements of the storage."""
        if self._layout is None:
            frame, memory = self._frame, self._memory
            assert memory is not None
            shape, item = frame.shape, memory.itemsize
            offset = (_address(frame) - _address(memory)) // item if frame.size else 0
            self._layout = shape, offset, tuple(s // item for s in frame.strides)
        return self._layout

    def positions(self) -> np.ndarray:
        """The position of each element in the storage."""
        grid = self.storage.grid()
        if self.parent is None:
            return grid.reshape(self.storage.shape)
        self.frame()
        shape, offset, strides = self.layout()
        item = grid.itemsize
        return np.ndarray(shape, grid.dtype, grid, offset * item, tuple(s * item for s in strides))

    def keep_layout(self) -> None:
        """Remember the layout before the memory that it is read from changes."""
        if self.parent is not None and self._layout is None and not self.storage.owner:
            self.layout()

    @property
    def shape(self) -> tuple[Any, ...]:
        if self.parent is None:
            return self.storage.shape
        shape: tuple[int, ...] = self._frame.shape
        return shape

    @property
    def dtype(self) -> np.dtype[Any]:
        if self.parent is None or self.is_part:
            return self.storage.dtype
        return dtypes.real_dtype(self.storage.dtype)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def aval(self) -> ShapedArray:
        return shaped(self.shape, dtypes.canonical(self.dtype), "array")

    # -- reading ------------------------------------------------------------------------------------------------------

    def read(self) -> Any:
        """The elements as an operand: an array or a traced value that no later store changes."""
        storage = self.storage
        if self.parent is None:
            return storage.whole()
        if storage.array is not None:
            frame = self.frame()
            if storage.owner:
                return frame
            if frame.size * _COPIED < storage.size:
                return frame.copy()
            storage.lent = True
            view = frame.view()
            view.flags.writeable = False
            return view
        if storage.pieces is not None:
            found = storage.noted(self.positions()) if self.is_part else storage.join()
            if found is not None:
                return rebox(found, "array")
        return self._from_parent()

    def peek(self) -> Any:
        """The elements for NumPy to compute with at once, if they are concrete; else as ``read``."""
        return self.frame() if self.concrete else self.read()

    def surrender(self) -> Any:
        """The elements for code outside of the function, which may keep and change them."""
        storage = self.storage
        if storage.array is None:
            return self.read()
        if storage.owner:
            return self.frame()
        if self.parent is not None or storage.lent:
            return self.frame().copy()
        storage.lent = True
        return storage.array

    def _from_parent(self) -> Any:
        """The value as the parent's joined value has it."""
        base = self.storage.value
        if self.parent is None:
            return base
        if self._seen is not base:
            parent, get = self.parent, self.get
            assert get is not None
            trace = self.storage.trace
            if trace is not None and trace.ended:
                return rebox(get(parent._from_parent()), "array")
            self._natural = under(trace, lambda: rebox(get(parent._from_parent()), "array"))
            self._seen = base
        return self._natural

    def view(self, frame: np.ndarray, get: Getter) -> Buffer:
        """A buffer over a part of this one's elements."""
        return Buffer(self.storage, frame, self, get)

    def at_positions(self, frame: np.ndarray) -> Buffer:
        """A view that NumPy made of the frame in a way that has no traced form: read element by element."""
        view = Buffer(self.storage, frame, self, None)
        whole = Buffer(self.storage)
        view.parent = whole
        places = np.array(view.positions())
        view.get = lambda value: lax.index(lax.reshape(value, (self.storage.size,)), places)
        return view

    def __getitem__(self, idx: Any) -> Any:
        idx, static = plain_index(idx)
        if not static:
            mask = _unknown_mask(idx)
            if mask is not None:
                return Masked.of(self.read(), mask)
            return lift(lax.index(self.read(), idx))
        if is_basic(idx):
            part = self.frame()[idx]
            if isinstance(part, np.ndarray):
                return self.view(part, lambda value: lax.index(value, idx))
            if self.concrete:
                return part
            if not self.is_part:
                return lax.index(self.read(), idx)
            return self.storage.element(int(self.positions()[idx]))
        if self.concrete:
            return lift(self.frame()[idx], lent=False)
        if self.is_part:
            found = self.storage.noted(self.positions()[idx])
            if found is not None:
                return lift(found)
        return lift(lax.index(self.read(), idx))

    # -- writing --------------------------------------------------------------------------------------------------------

    def __setitem__(self, idx: Any, value: Any) -> None:
        if self._is_itself(idx, value):
            return
        idx, static = plain_index(idx)
        value = value if isinstance(value, Masked) else plain_value(value)
        traced = isinstance(value, (Tracer, Masked)) or not static or not self.concrete
        self.check_write(traced)
        if not traced:
            self.writeable_frame()[idx] = value
            return
        self.begin_tracing()
        if isinstance(value, Masked) or _unknown_mask(idx) is not None:
            self._store_masked(idx, value)
            return
        check_real(self.dtype, value)
        if not static:
            self.assign(lax.at(self.read())[idx].set(value))
            return
        positions = self.positions()[idx]
        region = np.shape(positions)
        if region == self.shape and is_basic(idx) and self.size and np.array_equal(positions, self.positions()):
            self.assign(value)
        elif self.parent is None and math.prod(region) * 4 > self.size and is_basic(idx) and math.prod(region) > 1:
            self.storage.join()
            fitted = fit_to(value, region)
            self.storage.value = lax.at(self.storage.value)[idx].set(fitted)
        else:
            self.storage.put(positions, value)

    def _is_itself(self, idx: Any, value: Any) -> bool:
        """Whether this is the second half of ``b[idx] += v``, which has stored already."""
        if type(value) is not Buffer or value.storage is not self.storage:
            return False
        idx, static = plain_index(idx)
        if not (static and is_basic(idx)):
            return False
        part, frame = self.frame()[idx], value.frame()
        if not isinstance(part, np.ndarray) or part.shape != frame.shape or part.strides != frame.strides:
            return False
        return _address(part) == _address(frame)

    def _store_masked(self, idx: Any, value: Any) -> None:
        mask = _unknown_mask(idx)
        if isinstance(value, Masked):
            if mask is None or not value.has(mask):
                raise value.unknown_size("stored with another index than the one that it was read with")
            self.assign(lax.at(self.read())[mask].apply(lambda old: value.values))
        else:
            self.assign(lax.at(self.read())[mask].set(value))

    def check_write(self, traced: bool) -> None:
        """Raise where a store is not allowed."""
        if not self.writeable:
            raise ValueError("assignment destination is read-only")
        self.storage.check_owner(traced)
        if traced and not self.is_part:
            raise errors.DetachedWriteError(
                "a traced value cannot be stored through the real or imaginary part of a complex array. Store into the "
                "array itself: z[...] = value + 1j * z.imag, or z.real = value"
            )

    def writeable_frame(self) -> np.ndarray:
        """The frame of a concrete buffer, to be written to now."""
        self.keep_layout()
        self.storage.writeable()
        return self.frame()

    def begin_tracing(self) -> None:
        self.keep_layout()
        self.storage.begin_tracing()

    def assign(self, value: Any) -> None:
        """Store all elements."""
        check_real(self.dtype, value)
        if self.concrete and not isinstance(value, Tracer):
            self.writeable_frame()[...] = value
            return
        self.begin_tracing()
        if self.parent is None:
            self.storage.replace(broadcast_to(fit_to(value, self.shape), self.shape))
        else:
            self.storage.put(self.positions(), value)

    # -- conversions ---------------------------------------------------------------------------------------------------

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        value = self.read()
        if isinstance(value, Tracer):
            return value.__array__()
        return np.array(value, dtype, copy=copy)

    def __repr__(self) -> str:
        return repr(self.read())


def _flatten(buffer: Any, leaves: list[Any]) -> PyTreeDef:
    leaves.append(buffer.read())
    return LEAF


# To a pytree a buffer is the leaf that it holds at the time.
register(
    NodeType(Buffer, lambda b: ((b.read(),), None), lambda aux, children: next(iter(children)), flatten=_flatten),
    "functrans.numpy.code",
)


def _address(array: np.ndarray) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


# -- between plain values and buffers -----------------------------------------------------------------------------------


def lift(value: Any, lent: bool = True, recipe: Callable[[], Any] | None = None) -> Any:
    """Arrays as buffers; scalars and what is no array as they are.

    ``lent`` says that others may hold the array: it is copied before it is written to.
    """
    kind = type(value)
    if kind is Tracer:
        return Buffer(Storage(value)) if value.aval.box == "array" else value
    if kind is np.ndarray:
        return _lift_array(value, lent, recipe)
    if kind is tuple or kind is list:
        return kind([lift(v, lent) for v in value])
    if kind is dict:
        return {k: lift(v, lent) for k, v in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_make"):
        return value._make([lift(v, lent) for v in value])
    return value


def _lift_array(array: np.ndarray, lent: bool, recipe: Callable[[], Any] | None) -> Any:
    if not _can_be_traced(array.dtype):
        return array
    if array.flags.c_contiguous:
        keep = recipe if array.nbytes > _RECIPE_BYTES else None
        return Buffer(Storage(array, lent=lent, recipe=keep))
    # The axes in the order of memory, as the whole of a storage; the array is a view of it.
    order = sorted(range(array.ndim), key=lambda a: -abs(array.strides[a]))
    packed = array.transpose(order)
    if not packed.flags.c_contiguous:
        return Buffer(Storage(np.ascontiguousarray(array), lent=False))
    back = tuple(int(a) for a in np.argsort(order))
    whole = Buffer(Storage(packed, lent=lent))
    return whole.view(whole.frame().transpose(back), lambda value: lax.transpose(value, back))


def _can_be_traced(dtype: np.dtype[Any]) -> bool:
    try:
        dtypes.canonical(dtype)
    except errors.DTypeError:
        return False
    return True


def lift_foreign(value: Any, owner: str) -> Any:
    """An array that belongs to somebody else, as a buffer that takes no traced values."""
    if isinstance(value, Tracer):
        return Buffer(Storage(value, owner=owner)) if value.aval.box == "array" else value
    if type(value) is np.ndarray and _can_be_traced(value.dtype):
        return Buffer(Storage(value, owner=owner))
    return value


def lower(value: Any) -> Any:
    """Buffers in (nests of) lists, tuples, dicts as the operands that they hold."""
    kind = type(value)
    if kind is Buffer:
        return value.read()
    if kind is tuple or kind is list:
        return kind([lower(v) for v in value])
    if kind is dict:
        return {k: lower(v) for k, v in value.items()}
    if kind is slice:
        return slice(lower(value.start), lower(value.stop), lower(value.step))
    return value


def plain_value(value: Any) -> Any:
    """What is stored in a buffer: an array, a number or a traced value."""
    value = lower(value)
    return value if is_array(value) or not isinstance(value, (list, tuple)) else operand(value, "an assignment")


def check_real(dtype: np.dtype[Any], value: Any) -> None:
    """Reject complex values for a real array: their imaginary parts would be lost."""
    if dtype.kind != "c" and is_array(value) and aval_of(value).dtype.kind == "c":
        raise errors.DTypeError(
            f"a value of type {aval_of(value)} cannot be stored in an array of dtype {dtype}: its imaginary part would be "
            f"lost. Store value.real, or make the array complex (np.zeros(n, complex))"
        )


# -- indices ------------------------------------------------------------------------------------------------------------


def is_basic(idx: Any) -> bool:
    """Whether an index has integers, slices, None and Ellipsis alone."""
    entries = idx if type(idx) is tuple else (idx,)
    return all(e is None or e is Ellipsis or type(e) in (int, slice) or isinstance(e, np.integer) for e in entries)


def plain_index(idx: Any) -> tuple[Any, bool]:
    """An index without buffers, with the contents of what is known in it; and whether all of it is known."""
    if type(idx) in (int, slice) and (type(idx) is int or all(type(b) is int or b is None for b in _bounds(idx))):
        return idx, True
    if type(idx) is not tuple:
        return _plain_entry(idx)
    entries = [_plain_entry(e) for e in idx]
    return tuple([e for e, _ in entries]), all([static for _, static in entries])


def _bounds(s: slice) -> tuple[Any, Any, Any]:
    return s.start, s.stop, s.step


def _plain_entry(e: Any) -> tuple[Any, bool]:
    if type(e) is Buffer:
        e = e.read()
    if isinstance(e, Tracer):
        known = e.trace.concrete(e) if e.aval.dtype.kind in "biu" else None
        if known is None:
            return e, False
        return (known if isinstance(known, np.ndarray) and known.ndim else known[()] if isinstance(known, np.ndarray) else known), True
    if isinstance(e, slice):
        return _plain_slice(e)
    if isinstance(e, list):
        return _plain_list(e)
    if isinstance(e, np.ndarray) and e.ndim == 0 and e.dtype.kind in "iu":
        return int(e), True
    return e, True


def _plain_slice(s: slice) -> tuple[Any, bool]:
    parts = [lower(b) for b in _bounds(s)]
    try:
        return slice(*[b if b is None else operator.index(b) for b in parts]), True
    except (errors.ConcretizationError, TypeError):
        return slice(*parts), False


def _plain_list(entries: list[Any]) -> tuple[Any, bool]:
    found = [_plain_list(e) if isinstance(e, list) else _plain_entry(e) for e in entries]
    return [e for e, _ in found], all(static for _, static in found)


def _unknown_mask(idx: Any) -> Any:
    """The index where it is a mask whose contents are not known, else None."""
    if type(idx) is tuple and len(idx) == 1:
        (idx,) = idx
    return idx if isinstance(idx, Tracer) and idx.aval.dtype.kind == "b" else None


from functrans.numpy.code.masked import Masked  # noqa: E402
