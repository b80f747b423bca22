"""The memory behind the buffers of ``numpy_code``: a NumPy array until a traced value is stored, then a traced value.

A traced array cannot be written to, and a new one for each store would make a loop of stores quadratic. So small
stores are only noted: for every element, which stored piece it comes from and where in it. The pieces are joined when
the whole is read, all at once. Reading one element, or exactly what was stored, joins nothing: a recurrence over a
buffer stays linear too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans import errors, lax
from functrans.core.avals import ShapedArray, shaped
from functrans.core.stage import JaxprTrace
from functrans.core.structural import broadcast_to, convert, rebox
from functrans.core.trace import Trace, aval_of, current_trace, reset_trace, set_trace
from functrans.lax.scatter import scatter

Positions = Any
"""Flat positions in a storage: an int, or an integer array of the shape of the elements named."""

_JOINED_AT_ONCE = 256
"""Joining goes in groups of one size, so that derivative rules are derived for few numbers of operands."""
_SMALL = 4
"""A store to less than one in so many elements is noted; a larger one makes a new value."""
_PUT_TOGETHER = 32
"""So many elements that come from several stores are read one by one."""


def under(trace: Trace | None, compute: Callable[[], Any]) -> Any:
    """What ``compute`` gives when its operations belong to ``trace``, wherever it is called."""
    token = set_trace(trace)
    try:
        return compute()
    finally:
        reset_trace(token)


def _place(position: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """A flat position as one index for each axis."""
    return (position,) if len(shape) == 1 else tuple([int(i) for i in np.unravel_index(position, shape)])


def _records() -> bool:
    """Whether a program is being recorded, in which an array would stand as a constant."""
    trace = current_trace()
    while trace is not None:
        if isinstance(trace, JaxprTrace):
            return True
        trace = trace.parent
    return False


class Storage:
    """The elements that a buffer and its views share, in C order.

    Attributes:
        array: the elements, as long as no traced value was stored; None afterwards.
        value: the elements as a traced value, without the pieces noted since.
        pieces: the stores noted.
        trace: the trace that was running when it was made, the only one that may write.
        owner: who else it belongs to, in words; "" where the function itself made it.
        outer: whether that is an enclosing function of the transformed code.
        lent: whether an operation may still hold ``array``, so that it has to be copied before the next store.
        recipe: how to make the same elements as a traced value, while nothing has been stored.
    """

    __slots__ = (
        "_blank", "_grid", "_recorded",
        "array", "dtype", "lent", "outer", "owner", "pieces", "recipe", "shape", "trace", "value",
    )  # fmt: skip

    def __init__(
        self,
        value: Any,
        *,
        owner: str = "",
        outer: bool = False,
        lent: bool = True,
        recipe: Callable[[], Any] | None = None,
    ) -> None:
        concrete = isinstance(value, np.ndarray)
        self.array: np.ndarray | None = value if concrete else None
        self.value: Any = None if concrete else value
        self.pieces: Pieces | None = None
        self.shape: tuple[Any, ...] = value.shape
        self.dtype: np.dtype[Any] = value.dtype
        self.trace = current_trace()
        self.owner = owner
        self.outer = outer
        self.lent = lent
        self.recipe = recipe
        self._blank: np.ndarray | None = None
        self._grid: np.ndarray | None = None
        self._recorded: tuple[Trace | None, Any] | None = None

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def aval(self) -> ShapedArray:
        return shaped(self.shape, self.dtype, "array")

    def is_small(self, count: int) -> bool:
        """Whether a store to so many elements is noted rather than carried out."""
        return count == 1 or count * _SMALL <= self.size

    # -- layout -----------------------------------------------------------------------------------------------------

    def memory(self) -> np.ndarray:
        """An array laid out as the elements are: themselves, or memory that nobody reads."""
        if self.array is not None:
            return self.array
        if self._blank is None:
            self._blank = np.empty(self.shape, self.dtype)
        return self._blank

    def grid(self) -> np.ndarray:
        """The flat position of each element."""
        if self._grid is None:
            self._grid = np.arange(self.size)
        return self._grid

    # -- reading ----------------------------------------------------------------------------------------------------

    def whole(self) -> Any:
        """All elements, as an operand that no later store changes."""
        if self.array is not None:
            if self.owner:
                return self.array
            if self.recipe is not None and _records():
                return self._made()
            self.lent = True
            view = self.array.view()
            view.flags.writeable = False
            return view
        self.join()
        return self.value

    def _made(self) -> Any:
        """The elements made anew by the program that is being recorded."""
        trace = current_trace()
        if self._recorded is None or self._recorded[0] is not trace:
            assert self.recipe is not None
            self._recorded = trace, self.recipe()
        return self._recorded[1]

    def element(self, position: int) -> Any:
        """One element of a traced storage."""
        if self.pieces is not None:
            found = self.pieces.element(position)
            if found is not None:
                return found
        place = _place(position, self.shape)
        return self.value[place] if isinstance(self.value, np.ndarray) else lax.index(self.value, place)

    def noted(self, positions: Positions) -> Any:
        """What was noted for these elements; None where they have to be read from ``value``.

        Where they come from several stores, few are put together, and for many all pieces are joined first.
        """
        if self.pieces is None:
            return None
        state, found = self.pieces.region(positions)
        if state == "mixed":
            places = np.ravel(positions)
            if self.is_small(places.size) and places.size <= _PUT_TOGETHER:
                return lax.reshape(lax.stack([self.element(int(p)) for p in places]), np.shape(positions))
            self.join()
        return found

    def join(self) -> None:
        """Make one value of all that was stored."""
        pieces = self.pieces
        if pieces is None:
            return
        self.pieces = None
        if self.trace is not None and self.trace.ended:
            raise errors.LeakedTracerError(
                f"a buffer of type {self.aval} that was filled under a transformation was read after it had ended. "
                f"Return it from the transformed function instead of storing it"
            )
        self.value = under(self.trace, lambda: pieces.joined(self.value, self.shape))

    # -- writing ----------------------------------------------------------------------------------------------------

    def check_owner(self, traced: bool) -> None:
        """Raise where a store would not be seen where it should be, or would lose a derivative."""
        if self.owner and not self.outer:
            if not traced and self.array is not None:
                return
            raise errors.DetachedWriteError(
                f"{self.owner} cannot be written to in a traced function: it belongs to the caller, who would not see "
                f"the derivative of what is stored. Write into a copy (b = b.copy()) and return it"
            )
        if self.outer or current_trace() is not self.trace:
            name = self.owner or f"an array of type {self.aval}"
            raise errors.DetachedWriteError(
                f"{name} was made outside of the function that writes to it now, which is "
                f"transformed by itself: the store would be made once, while that function is traced. Return the "
                f"values from it and store them outside; in a loop body make the array a part of the carry, and return "
                f"what it is to be in the next step"
            )

    def writeable(self) -> np.ndarray:
        """The array, to be written to now."""
        array = self.array
        assert array is not None
        self.recipe = None
        if self.lent and not self.owner:
            array = self.array = array.copy()
            self.lent = False
        return array

    def begin_tracing(self) -> None:
        """Let traced values in."""
        if self.array is None:
            return
        self.value = self.whole()
        self.array = self.recipe = None

    def replace(self, value: Any) -> None:
        """Store all elements at once."""
        value = rebox(convert(value, self.dtype), "array")
        self.pieces = self.recipe = None
        concrete = isinstance(value, np.ndarray)
        self.array, self.value = (value, None) if concrete else (None, value)
        self.lent = True
        if concrete and not value.flags.c_contiguous:
            self.array, self.lent = np.ascontiguousarray(value).reshape(self.shape), False

    def put(self, positions: Positions, value: Any) -> None:
        """Store a value of the storage's dtype, whose shape broadcasts to that of ``positions``, as a traced one."""
        region = np.shape(positions)
        count = math.prod(region)
        value = fit_to(value, region)
        if count == 0:
            return
        if self.is_small(count):
            if self.pieces is None:
                self.pieces = Pieces(self.size)
            self.pieces.put(positions, value)
            return
        self.join()
        flat = lax.reshape(self.value, (self.size,))
        places = np.ascontiguousarray(positions).reshape(-1)
        updates = lax.reshape(broadcast_to(value, region), (count,))
        unique = np.unique(places).size == count
        self.value = lax.reshape(scatter(flat, updates, [places], (0,), unique=unique), self.shape)


def fit_to(value: Any, region: tuple[int, ...]) -> Any:
    """A value that is stored in a region, without the leading axes of extent 1 that NumPy overlooks."""
    shape = aval_of(value).shape
    extra = len(shape) - len(region)
    if extra > 0 and shape[:extra] == (1,) * extra:
        reshape = np.reshape if isinstance(value, np.ndarray) else lax.reshape
        value = reshape(value, shape[extra:])
        shape = shape[extra:]
    pairs = zip(reversed(shape), reversed(region), strict=False)
    if len(shape) > len(region) or any([a not in (1, b) for a, b in pairs]):
        raise errors.ShapeError(
            f"could not broadcast a value of shape {aval_of(value).shape} into a region of shape {region}"
        )
    return value


class Pieces:
    """Stores that were noted: for each element the piece that it comes from (0: none) and its place in it."""

    __slots__ = ("offset", "source", "values")

    def __init__(self, size: int) -> None:
        self.source = np.zeros(size, np.int32)
        self.offset = np.zeros(size, np.int64)
        self.values: list[Any] = [None]

    def put(self, positions: Positions, value: Any) -> None:
        if len(self.values) > 2 * self.source.size + 64:
            self._forget_overwritten()
        k = len(self.values)
        shape = aval_of(value).shape
        self.values.append(value if shape else rebox(value, "numpy"))
        self.source[positions] = k
        self.offset[positions] = np.arange(math.prod(shape)).reshape(shape) if shape else 0

    def _forget_overwritten(self) -> None:
        used, self.source = self._used()
        self.values = [self.values[k] for k in used]

    def _used(self) -> tuple[list[int], np.ndarray]:
        """The pieces that some element still comes from (and 0), and ``source`` in terms of their ranks."""
        used, ranks = np.unique(np.append(self.source, 0), return_inverse=True)
        return used.tolist(), ranks[:-1].astype(np.int32)

    def element(self, position: int) -> Any:
        """An element that was stored, None where it was not."""
        k = self.source[position]
        if k == 0:
            return None
        piece = self.values[k]
        shape = aval_of(piece).shape
        if not shape:
            return piece
        place = _place(int(self.offset[position]), shape)
        return piece[place] if isinstance(piece, np.ndarray) else lax.index(piece, place)

    def region(self, positions: Positions) -> tuple[str, Any]:
        """``untouched``; ``whole`` and the piece that these elements are; or ``mixed``."""
        sources = self.source[positions]
        if not sources.any():
            return "untouched", None
        first = sources.flat[0]
        piece = self.values[first]
        if first and (sources == first).all() and aval_of(piece).shape == np.shape(positions):
            offsets = self.offset[positions]
            if np.array_equal(offsets.ravel(), np.arange(offsets.size)):
                return "whole", piece
        return "mixed", None

    def joined(self, base: Any, shape: tuple[Any, ...]) -> Any:
        """One value: the pieces where something was stored, ``base`` elsewhere."""
        used, source = self._used()
        stored = np.flatnonzero(source)
        parts = [self.values[k] for k in used[1:]]
        sizes = [0, *(math.prod(aval_of(p).shape) for p in parts)]
        starts = np.cumsum([0, *sizes])
        places = starts[source[stored]] + self.offset[stored]
        updates = join_flat(parts)
        if not np.array_equal(places, np.arange(starts[-1])):
            updates = lax.index(updates, places)
        if stored.size == source.size:
            return lax.reshape(updates, shape)
        flat = lax.reshape(base, (source.size,))
        return lax.reshape(scatter(flat, updates, [stored], (0,), unique=True), shape)


def join_flat(parts: Sequence[Any]) -> Any:
    """The elements of arrays and scalars of one dtype, one after the other."""
    vectors: list[Any] = []
    scalars: list[Any] = []
    for part in parts:
        shape = aval_of(part).shape
        if not shape:
            scalars.append(part)
        if scalars and (shape or len(scalars) == _JOINED_AT_ONCE):
            vectors.append(lax.stack(scalars))
            scalars = []
        if shape:
            vectors.append(lax.reshape(part, (math.prod(shape),)))
    if scalars:
        vectors.append(lax.stack(scalars))
    while len(vectors) > 1:
        groups = [vectors[i : i + _JOINED_AT_ONCE] for i in range(0, len(vectors), _JOINED_AT_ONCE)]
        vectors = [lax.concatenate(group, 0) if len(group) > 1 else group[0] for group in groups]
    return vectors[0]
