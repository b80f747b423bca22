"""What a function is, to a cache: its code and what it captures.

Closure cells, the globals that the function itself reads, defaults, and the attributes of a bound ``self`` that it
reads are compared at each call, a pointer comparison each; of lists, dicts and tuples what they hold is compared. So
a rebound value traces again instead of being stale, and a fresh lambda with equal captures does not.
"""

from __future__ import annotations

import functools
import types
import weakref
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np

from functrans import errors
from functrans.core.avals import ShapedArray, aval_of_concrete
from functrans.core.callees import MISSING, Spot, reach, read_names
from functrans.core.trace import Reference, Tracer, aval_of
from functrans.core.tree import tree_flatten

_VALUE_TYPES = (bool, int, float, complex, str, bytes, type(None))
_COMPARED_BYTES = 1 << 16
_COMPARED_LEAVES = 64


class Place(NamedTuple):
    """Where a captured value lies: ``cell``, ``global``, ``default``, ``kwdefault``, ``attribute`` or ``callee``."""

    kind: str
    key: Any


def attribute_of(bound: Any, name: str) -> Any:
    """An attribute of an object, or of its class unless that computes it; MISSING where there is none."""
    value = getattr(bound, "__dict__", {}).get(name, MISSING)
    if value is not MISSING:
        return value
    for cls in type(bound).__mro__:
        if name in cls.__dict__:
            value = cls.__dict__[name]
            return MISSING if hasattr(type(value), "__get__") else value
    return MISSING


class Captured:
    """The function behind a callable, below the package's own wrappers, and the values that it captures.

    Attributes:
        function: the Python function; None for a builtin or a ufunc, which captures nothing.
        bound: the object that it is a method of.
        key: what tells one function from another before their captures are compared.
    """

    __slots__ = ("bound", "function", "key")

    def __init__(self, f: Callable[..., Any]) -> None:
        keys: list[Hashable] = []
        current: Any = f
        while True:
            rebuild = getattr(current, "rebuild", None)
            if rebuild is not None:
                keys.append(rebuild.key)
                current = current.__wrapped__
            elif isinstance(current, functools.partial):
                keys.append(_Identity(current))
                current = current.func
            else:
                break
        bound = None
        if isinstance(current, types.MethodType):
            bound, current = current.__self__, current.__func__
        elif not isinstance(current, types.FunctionType) and not isinstance(current, type):
            method = getattr(type(current), "__call__", None)  # noqa: B004 - the function is wanted
            if isinstance(method, types.FunctionType):
                bound, current = current, method
        if isinstance(current, types.FunctionType):
            keys.append((current.__code__, _Identity(current.__globals__)))
            self.function: types.FunctionType | None = current
        else:
            keys.append(_Identity(current))
            self.function = None
        if bound is not None:
            keys.append(_weakly(bound))
        self.bound = bound
        self.key = tuple(keys)

    def places(self) -> list[Place]:
        """Every place that the function, or one that it calls, reads a captured value from."""
        f = self.function
        if f is None:
            return []
        names = read_names(f.__code__)
        found = [Place("cell", i) for i in range(len(f.__closure__ or ()))]
        found.extend(Place("global", n) for n in names.globals if n in f.__globals__)
        found.extend(Place("default", i) for i in range(len(f.__defaults__ or ())))
        found.extend(Place("kwdefault", n) for n in f.__kwdefaults__ or ())
        spots, attributes = reach(f, self.bound)
        if self.bound is not None:
            found.extend(Place("attribute", n) for n in attributes if attribute_of(self.bound, n) is not MISSING)
        found.extend(Place("callee", spot) for spot in spots)
        return found

    def read(self, place: Place) -> Any:
        """The value that lies at a place now."""
        value = self._read(place)
        return value.read() if isinstance(value, Reference) else value

    def _read(self, place: Place) -> Any:
        f: Any = self.function
        kind = place.kind
        if kind == "cell":
            try:
                return f.__closure__[place.key].cell_contents
            except ValueError:
                return MISSING
        if kind == "global":
            return f.__globals__.get(place.key, MISSING)
        if kind == "default":
            return f.__defaults__[place.key]
        if kind == "kwdefault":
            return f.__kwdefaults__[place.key]
        if kind == "callee":
            return place.key.read()
        return attribute_of(self.bound, place.key)

    def describe(self, place: Place) -> str:
        """How messages call a captured value."""
        if place.kind == "cell":
            assert self.function is not None
            return f"the closure variable {self.function.__code__.co_freevars[place.key]!r}"
        if place.kind == "global":
            return f"the global {place.key!r}"
        if place.kind == "attribute":
            return f"the attribute self.{place.key}"
        return place.key.describe() if isinstance(place.key, Spot) else f"the default argument {place.key!r}"


class Contents:
    """A captured list, dict or tuple, by what it holds: its structure and its leaves."""

    __slots__ = ("leaves", "treedef")

    def __init__(self, container: Any, by_reference: Sequence[Any]) -> None:
        leaves, self.treedef = tree_flatten(container)
        self.leaves = [guard_of(x, by_reference) for x in leaves]

    def unchanged(self, container: Any) -> bool:
        leaves, treedef = tree_flatten(container)
        return treedef == self.treedef and all(map(same, self.leaves, leaves))


class FrozenArray:
    """A captured array whose contents NumPy may have computed with while tracing: compared by a copy of them."""

    __slots__ = ("array", "copy")

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.copy = array.copy()

    def unchanged(self, array: Any) -> bool:
        copy = self.copy
        return array is self.array and bool(np.array_equal(array, copy, equal_nan=copy.dtype.kind in "fc"))


def containers(f: Callable[..., Any]) -> list[Any]:
    """The lists and dicts that a callable captures, is bound to, or has as arguments."""
    found: list[Any] = []
    while isinstance(f, functools.partial):
        found += [*f.args, *f.keywords.values()]
        f = f.func
    found.append(getattr(f, "__self__", None))
    captured = Captured(f)
    found += [captured.read(place) for place in captured.places()]
    return [value for value in found if type(value) in (list, dict)]


def guard_of(value: Any, by_reference: Sequence[Any], handed: Sequence[Any] = ()) -> Any:
    """What a captured value is compared with at later calls.

    It is the value itself; what it holds, if it is a container; and the contents of an array in an attribute or a
    container, unless it is among the constants of the program, which are read ``by_reference``. A container that was
    ``handed`` to a callback is told by its identity: what the callback puts into it is no reason to trace again.
    """
    if any(value is container for container in handed):
        return value
    if type(value) in (list, dict, tuple) and value:
        try:
            return Contents(value, by_reference)
        except errors.TreeStructureError:
            return value
    if type(value) is np.ndarray and value.flags.writeable and value.dtype != object:
        if not any(isinstance(c, np.ndarray) and np.may_share_memory(c, value) for c in by_reference):
            return FrozenArray(value)
    return value


def guard_at(captured: Captured, place: Place, by_reference: Sequence[Any], handed: Sequence[Any] = ()) -> Any:
    """What the value at a place is compared with; see ``guard_of``. What a callee reads is compared as far as it is
    small, and larger arrays and containers by their identity."""
    value = captured.read(place)
    if place.kind == "callee":
        if isinstance(value, np.ndarray) and value.nbytes > _COMPARED_BYTES:
            return value
        if type(value) in (list, dict, tuple) and len(value) > _COMPARED_LEAVES:
            return value
    return guard_of(value, by_reference, handed)


def same(old: Any, new: Any) -> bool:
    """Whether a captured value is what it was: the same object, or an equal number or string."""
    if old is new:
        return True
    if type(old) is Contents:
        return type(new) in (list, dict, tuple) and old.unchanged(new)
    if type(old) is FrozenArray:
        return old.unchanged(new)
    return type(old) is type(new) and isinstance(old, _VALUE_TYPES) and old == new


def is_captured_array(value: Any) -> bool:
    """Whether a captured value is bound by reference, as a hidden argument."""
    if isinstance(value, Tracer):
        return True
    aval = aval_of_concrete(value)
    return aval is not None and aval.box == "array" and not isinstance(value, (int, float, complex))


def array_type(value: Any) -> ShapedArray | None:
    """The type by which a captured array is compared."""
    return aval_of(value) if is_captured_array(value) else None


def substitute(f: Callable[..., Any], values: dict[Place, Any]) -> Callable[..., Any]:
    """The function with other values in some of its places. The function itself is not touched."""
    if not values:
        return f
    rebuild = getattr(f, "rebuild", None)
    if rebuild is not None:
        inner: Callable[..., Any] = rebuild(substitute(f.__wrapped__, values))  # type: ignore[attr-defined]
        return inner
    if isinstance(f, functools.partial):
        return functools.partial(substitute(f.func, values), *f.args, **f.keywords)
    if isinstance(f, types.MethodType):
        return types.MethodType(substitute(f.__func__, values), f.__self__)
    if not isinstance(f, types.FunctionType):
        method = type(f).__call__
        return types.MethodType(substitute(method, values), f)
    cells = list(f.__closure__ or ())
    names = dict(f.__globals__) if any(p.kind == "global" for p in values) else f.__globals__
    defaults = list(f.__defaults__ or ())
    kwdefaults = dict(f.__kwdefaults__ or {})
    for place, value in values.items():
        if place.kind == "cell":
            cells[place.key] = types.CellType(value)
        elif place.kind == "global":
            names[place.key] = value
        elif place.kind == "default":
            defaults[place.key] = value
        elif place.kind == "kwdefault":
            kwdefaults[place.key] = value
    copy = types.FunctionType(f.__code__, names, f.__name__, tuple(defaults) or None, tuple(cells))
    copy.__kwdefaults__ = kwdefaults or None
    copy.__dict__.update(f.__dict__)
    copy.__qualname__ = f.__qualname__
    return copy


class Rebuild:
    """How a transformed function is made again around another function: ``grad(g, 0)`` from ``grad(f, 0)``."""

    __slots__ = ("args", "key", "kwargs", "transformation")

    def __init__(self, transformation: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self.transformation = transformation
        self.args = args
        self.kwargs = kwargs
        try:
            self.key: Hashable = (transformation, args, tuple(kwargs.items()))
            hash(self.key)
        except TypeError:
            self.key = _Identity(self)

    def __call__(self, f: Callable[..., Any]) -> Callable[..., Any]:
        result: Callable[..., Any] = self.transformation(f, *self.args, **self.kwargs)
        return result


class _WeakIdentity:
    """A hashable stand-in for an object that is told apart by identity, and that it does not keep alive."""

    __slots__ = ("_hash", "ref")

    def __init__(self, value: Any) -> None:
        self.ref = weakref.ref(value)
        self._hash = id(value)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        mine = self.ref()
        return mine is not None and isinstance(other, _WeakIdentity) and mine is other.ref()

    def __hash__(self) -> int:
        return self._hash


def _weakly(value: Any) -> Hashable:
    try:
        return _WeakIdentity(value)
    except TypeError:  # An object whose class has slots, and none for weak references.
        return _Identity(value)


class _Identity:
    """A hashable stand-in for an object that is told apart by identity, which it keeps alive."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


def transformation(f: Callable[..., Any], inner: Callable[..., Any], rebuild: Rebuild) -> Callable[..., Any]:
    """Mark ``f`` as a transformation of ``inner``, so that caches see through it."""
    functools.update_wrapper(f, inner, updated=())
    f.rebuild = rebuild  # type: ignore[attr-defined]
    return f
