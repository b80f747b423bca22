"""Buffers: arrays that NumPy code may fill in place while it is being transformed.

A buffer is a view of a ``Storage``, of all of it or of a part. Which part is told by a *frame*: an array over memory
laid out as the storage is, so that NumPy itself decides what is a view and what a copy. Reading a view repeats, on
the traced value of what it is a view of, the operation that made it; writing through one stores at the positions that
its frame covers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans import errors, lax
from functrans.core import dtypes
from functrans.core.avals import ShapedArray, shaped
from functrans.core.structural import broadcast_to, convert, rebox
from functrans.core.trace import Reference, Tracer, aval_of, is_array, known
from functrans.core.treedef import LEAF, NodeType, PyTreeDef, register
from functrans.numpy.code.index import is_basic, plain_index, unknown_mask
from functrans.numpy.code.masked import Masked
from functrans.numpy.code.storage import Storage, fit_to, under
from functrans.numpy.dispatch import operand

Getter = Callable[[Any], Any]

_COPIED = 4
"""Of a view of less than one element in so many a copy is lent, so that the next store need not copy the whole."""


class Path:
    """How a view is made of the value of a whole storage, step by step. It remembers what it made last."""

    __slots__ = ("get", "made", "of", "step")

    def __init__(self, step: Path | None, get: Getter) -> None:
        self.step = step
        self.get = get
        self.of: Any = None
        self.made: Any = None

    def follow(self, whole: Any) -> Any:
        """What the steps make of an array."""
        return self.get(whole if self.step is None else self.step.follow(whole))

    def value(self, storage: Storage) -> Any:
        """The view as the storage's value has it, without the pieces noted since."""
        whole = storage.value
        if self.of is not whole:
            # A constant stays one, and a traced value belongs to the trace that the storage belongs to.
            trace = None if isinstance(whole, np.ndarray) else storage.trace
            inner = whole if self.step is None else self.step.value(storage)
            self.made = under(trace, lambda: rebox(self.get(inner), "array"))
            self.of = whole
        return self.made


class Buffer(Reference):
    """An array made by NumPy code that is being transformed. It is used, and written to, as an ndarray is.

    Attributes:
        storage: the elements.
        path: how it is made of the storage's value; None for the whole of it.
        part: whether it consists of whole elements of the storage, as the real part of complex numbers does not.
        writeable: whether NumPy would let it be written to.
    """

    __slots__ = (
        "__weakref__", "_frame", "_layout", "_memory", "part", "path", "storage", "writeable",
    )  # fmt: skip
    __array_priority__ = 2000.0
    __hash__ = None  # type: ignore[assignment]

    def __init__(
        self,
        storage: Storage,
        frame: np.ndarray | None = None,
        path: Path | None = None,
        part: bool = True,
    ) -> None:
        self.storage = storage
        self.path = path
        self.part = part
        self.writeable = frame is None or bool(frame.flags.writeable)
        self._frame: Any = frame
        self._memory = None if frame is None else storage.memory()
        self._layout: tuple[tuple[int, ...], int, tuple[int, ...]] | None = None

    # -- layout -----------------------------------------------------------------------------------------------------

    @property
    def concrete(self) -> bool:
        """Whether no traced value was stored in what this is a view of."""
        return self.storage.array is not None

    def frame(self) -> np.ndarray:
        """An array over the storage's memory that covers this buffer's elements: themselves where it is concrete."""
        memory = self.storage.memory()
        if self._memory is memory:
            known: np.ndarray = self._frame
            return known
        if self.path is None:
            frame = memory
        elif self.part:
            shape, offset, strides = self.layout()
            item = memory.itemsize
            frame = np.ndarray(shape, memory.dtype, memory, offset * item, tuple([s * item for s in strides]))
            frame.flags.writeable = self.writeable
        else:
            path = self.path
            frame = under(None, lambda: path.follow(memory))
        self._frame, self._memory = frame, memory
        return frame

    def layout(self) -> tuple[tuple[int, ...], int, tuple[int, ...]]:
        """Shape, first position and step along each axis, in elements of the storage."""
        if self._layout is None:
            frame, memory = self._frame, self._memory
            assert memory is not None
            offset = (_address(frame) - _address(memory)) // memory.itemsize if frame.size else 0
            strides = frame.strides if frame.size else (0,) * frame.ndim
            self._layout = frame.shape, offset, tuple([s // memory.itemsize for s in strides])
        return self._layout

    def positions(self) -> np.ndarray:
        """The position of each element in the storage."""
        grid = self.storage.grid()
        if self.path is None:
            return grid.reshape(self.storage.shape)
        shape, offset, strides = self.layout()
        item = grid.itemsize
        return np.ndarray(shape, grid.dtype, grid, offset * item, tuple([s * item for s in strides]))

    @property
    def shape(self) -> tuple[Any, ...]:
        """The extents."""
        if self.path is None:
            return self.storage.shape
        shape: tuple[int, ...] = self._frame.shape
        return shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the elements."""
        return self.storage.dtype if self.part else dtypes.real_dtype(self.storage.dtype)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def aval(self) -> ShapedArray:
        return shaped(self.shape, dtypes.canonical(self.dtype), "array")

    # -- reading ----------------------------------------------------------------------------------------------------

    def read(self) -> Any:
        """The elements as an operand: an array or a traced value that no later store changes."""
        storage = self.storage
        if self.path is None:
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
        if not self.part:
            storage.join()
        elif storage.pieces is not None:
            found = storage.noted(self.positions())
            if found is not None:
                return rebox(found, "array")
        return self.path.value(storage)

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
        if self.path is not None or storage.lent:
            return self.frame().copy()
        storage.lent = True
        return storage.array

    def over(self, frame: np.ndarray, get: Getter, part: bool = True) -> Buffer:
        """A view of this buffer: where its elements lie, and how it is made of this one's value."""
        return Buffer(self.storage, frame, Path(self.path, get), part and self.part)

    def over_positions(self, frame: np.ndarray) -> Buffer:
        """A view that NumPy made of the frame, read element by element."""
        size = self.storage.size
        places = np.array(self.over(frame, lambda value: value).positions())
        path = Path(None, lambda value: lax.index(lax.reshape(value, (size,)), places))
        return Buffer(self.storage, frame, path)

    def __getitem__(self, idx: Any) -> Any:
        idx, static = plain_index(idx)
        if not static:
            mask = unknown_mask(idx)
            if mask is None:
                return lift(lax.index(self.read(), idx))
            contents = known(mask)
            return Masked.of(self.read(), mask) if contents is None else self[contents]
        if is_basic(idx):
            part = self.frame()[idx]
            if isinstance(part, np.ndarray):
                return self.over(part, lambda value: lax.index(value, idx))
            if self.concrete:
                return part
            return self.storage.element(int(self.positions()[idx])) if self.part else lax.index(self.read(), idx)
        if self.concrete:
            return lift(self.frame()[idx], lent=False)
        found = self.storage.noted(self.positions()[idx]) if self.part else None
        return lift(lax.index(self.read(), idx) if found is None else found)

    # -- writing ----------------------------------------------------------------------------------------------------

    def __setitem__(self, idx: Any, value: Any) -> None:
        idx, static = plain_index(idx)
        if static and self._is_stored(idx, value):
            return
        traced = not static or not self.concrete or holds_traced(value)
        self.check_write(traced)
        if not traced:
            self.writeable_frame()[idx] = plain(value, Buffer.peek)
            return
        mask = unknown_mask(idx)
        if isinstance(value, Masked) or mask is not None:
            self._store_masked(mask, value)
            return
        value = stored(plain(value, Buffer.read), self.dtype)
        if not static:
            self.assign(lax.at(self.read())[idx].set(value))
            return
        storage = self.storage
        storage.begin_tracing()
        if self.path is None and is_basic(idx):
            part = self.frame()[idx]
            if part.size > 1 and not storage.is_small(part.size):
                value = fit_to(value, part.shape)
                if part.size == storage.size and part.flags.c_contiguous:
                    storage.replace(lax.reshape(broadcast_to(value, part.shape), storage.shape))
                else:
                    storage.join()
                    storage.replace(lax.at(storage.value)[idx].set(value))
                return
        storage.put(self.positions()[idx], value)

    def _is_stored(self, idx: Any, value: Any) -> bool:
        """Whether a value is a view of the very elements that it is stored in: the second half of ``b[i] += v``."""
        if type(value) is not Buffer or value.storage is not self.storage or not is_basic(idx):
            return False
        part, frame = self.frame()[idx], value.frame()
        if not isinstance(part, np.ndarray) or part.shape != frame.shape or part.strides != frame.strides:
            return False
        return _address(part) == _address(frame)

    def _store_masked(self, mask: Any, value: Any) -> None:
        old = self.read()
        if not isinstance(value, Masked):
            self.assign(lax.at(old)[mask].set(stored(plain(value, Buffer.read), self.dtype)))
        elif mask is None or not value.has(mask):
            raise value.unknown_size("stored with another index than the one that they were read with")
        else:
            values = stored(value.values, self.dtype)
            self.assign(lax.at(old)[mask].apply(lambda _: values))

    def check_write(self, traced: bool) -> None:
        """Raise where a store is not allowed."""
        if not self.writeable:
            raise ValueError("assignment destination is read-only")
        self.storage.check_owner(traced)
        if traced and not self.part:
            raise errors.DetachedWriteError(
                "a traced value cannot be stored through the real or imaginary part of a complex array. Store into the "
                "array itself: z[...] = value + 1j * z.imag, or z.real = value"
            )

    def writeable_frame(self) -> np.ndarray:
        """The frame of a concrete buffer, to be written to now."""
        memory = self.storage.writeable()
        frame = self.frame()
        if not self.part and frame.size and not np.may_share_memory(frame, memory):
            raise errors.DetachedWriteError(
                "the real or imaginary part of a complex array can be stored in only through the array itself: "
                "z.real = value"
            )
        return frame

    def assign(self, value: Any) -> None:
        """Store all elements; the store has been checked."""
        if self.concrete and not isinstance(value, Tracer):
            self.writeable_frame()[...] = value
            return
        self.storage.begin_tracing()
        if self.path is None:
            self.storage.replace(broadcast_to(fit_to(value, self.shape), self.shape))
        else:
            self.storage.put(self.positions(), value)

    # -- conversions ------------------------------------------------------------------------------------------------

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        value = self.read()
        return value.__array__() if isinstance(value, Tracer) else np.array(value, dtype, copy=copy)

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


# -- between plain values and buffers -------------------------------------------------------------------------------


def lift(value: Any, lent: bool = True, recipe: Callable[[], Any] | None = None) -> Any:
    """Arrays as buffers; scalars and what is no array as they are.

    ``lent`` says that others may hold the array: it is copied before it is written to. ``recipe`` makes the same
    array as a traced value.
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
    if not can_be_traced(array.dtype):
        return array
    if array.flags.c_contiguous:
        return Buffer(Storage(array, lent=lent, recipe=recipe))
    # The axes in the order of memory make the whole of a storage; the array is a view of it.
    order = _memory_order(array)
    packed = array.transpose(order)
    if not packed.flags.c_contiguous:
        return Buffer(Storage(np.ascontiguousarray(array), lent=False))
    back = tuple(int(a) for a in np.argsort(order))
    whole = Buffer(Storage(packed, lent=lent))
    return whole.over(whole.frame().transpose(back), lambda value: lax.transpose(value, back))


def lift_result(value: Any, operands: Sequence[Any]) -> Any:
    """The traced result of an elementwise operation as a buffer, laid out in memory as NumPy would lay it out.

    That decides later whether ``reshape`` gives a view: the result of an operation on ``a.T`` is no C-ordered array.
    """
    if type(value) is not Tracer or len(value.aval.shape) < 2:
        return lift(value)
    frames = [b.frame() if type(b) is Buffer else b for b in operands if type(b) in (Buffer, np.ndarray)]
    if all([f.flags.c_contiguous for f in frames]):
        return lift(value)
    flags: Any = [["readonly"]] * len(frames) + [["writeonly", "allocate"]]
    types: Any = [None] * len(frames) + [np.uint8]
    operands = [*frames, None]
    with np.nditer(operands, ["zerosize_ok"], flags, types, itershape=value.aval.shape) as it:
        allocated = it.operands[-1]
    return _lift_in_order(value, _memory_order(allocated))


def lift_copy(value: Any, source: Any, order: str | None) -> Any:
    """A traced copy of an array as a buffer, in the memory order that NumPy's ``order`` asks for."""
    if order in ("K", "A", None):
        return lift_result(value, (source,))
    return _lift_in_order(value, list(reversed(range(value.ndim)))) if order == "F" else lift(value)


def _lift_in_order(value: Any, order: Sequence[int]) -> Any:
    """A traced value as a buffer whose axes lie in memory in a given order, slowest first."""
    if type(value) is not Tracer or list(order) == sorted(order):
        return lift(value)
    back = tuple(int(a) for a in np.argsort(order))
    whole = Buffer(Storage(lax.transpose(value, order)))
    path = Path(None, lambda packed: lax.transpose(packed, back))
    path.of, path.made = whole.storage.value, value
    return Buffer(whole.storage, whole.frame().transpose(back), path)


def _memory_order(array: np.ndarray) -> list[int]:
    """The axes, slowest first."""
    return sorted(range(array.ndim), key=lambda a: -abs(array.strides[a]))


def can_be_traced(dtype: np.dtype[Any]) -> bool:
    """Whether arrays of a dtype are tracked; strings, objects and records stay plain arrays."""
    try:
        dtypes.canonical(dtype)
    except errors.DTypeError:
        return False
    return True


def lift_foreign(value: Any, owner: str, outer: bool = False) -> Any:
    """An array that belongs to somebody else, as a buffer that takes no traced values."""
    if isinstance(value, Tracer):
        return Buffer(Storage(value, owner=owner, outer=outer)) if value.aval.box == "array" else value
    if type(value) is np.ndarray and can_be_traced(value.dtype):
        return Buffer(Storage(value, owner=owner))
    return value


def lower(value: Any, how: Getter = Buffer.read) -> Any:
    """Buffers in (nests of) lists, tuples, dicts and slices as the operands that they hold."""
    kind = type(value)
    if kind is Buffer:
        return how(value)
    if kind is tuple or kind is list:
        return kind([lower(v, how) for v in value])
    if kind is dict:
        return {k: lower(v, how) for k, v in value.items()}
    if kind is slice:
        return slice(lower(value.start, how), lower(value.stop, how), lower(value.step, how))
    return value


def holds_traced(value: Any) -> bool:
    """Whether (a nest of) lists, tuples and dicts holds a traced value."""
    kind = type(value)
    if kind is Buffer:
        return value.storage.array is None
    if kind is tuple or kind is list:
        return any([holds_traced(v) for v in value])
    if kind is dict:
        return any([holds_traced(v) for v in value.values()])
    if kind is slice:
        return holds_traced((value.start, value.stop, value.step))
    return kind is Masked or isinstance(value, Tracer)


def plain(value: Any, how: Getter) -> Any:
    """What is stored in a buffer, without buffers."""
    value = lower(value, how)
    return operand(value, "an assignment") if isinstance(value, (list, tuple)) and holds_traced(value) else value


def stored(value: Any, dtype: np.dtype[Any]) -> Any:
    """What is stored in a traced buffer, in its dtype; complex values for a real one are rejected."""
    if not is_array(value):
        value = np.asarray(value)
    if dtype.kind != "c" and aval_of(value).dtype.kind == "c":
        raise errors.DTypeError(
            f"a value of type {aval_of(value)} cannot be stored in an array of dtype {dtype}: its imaginary part would "
            f"be lost. Store value.real, or make the array complex (np.zeros(n, complex))"
        )
    if isinstance(value, Tracer):
        return convert(value, dtype)
    # As NumPy stores it, and a copy, which nobody changes.
    copy = np.empty(np.shape(value), dtype)
    copy[...] = value
    return copy[()]
