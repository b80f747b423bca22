"""Bounded caches. Every cache of the package is one of these, so that ``clear_caches`` reaches them all."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

V = TypeVar("V")

_caches: weakref.WeakSet[Bounded[Any]] = weakref.WeakSet()
_MISSING: Any = object()


class Bounded(Generic[V]):
    """A map that keeps the ``size`` entries stored last.

    Reads take no lock, ``dict.get`` being atomic, and do not renew an entry: on the hot path that would cost more than
    most entries save. An entry that is still in use when it is dropped is derived once more.
    """

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"a cache needs room for at least one entry, got size={size}")
        self.size = size
        self._entries: OrderedDict[Hashable, V] = OrderedDict()
        # An entry that goes may end an object whose finalizer discards another one: the lock admits its own thread.
        self._lock = threading.RLock()
        self.get: Callable[[Hashable], V | None] = self._entries.get
        _caches.add(self)

    def put(self, key: Hashable, value: V) -> V:
        """Store ``value``; the first of two racing threads wins, so that all hold the same object."""
        gone = []
        with self._lock:
            kept = self._entries.setdefault(key, value)
            self._entries.move_to_end(key)
            while len(self._entries) > self.size:
                gone.append(self._entries.popitem(last=False))
        return kept

    def discard(self, key: Hashable) -> None:
        """Remove an entry, if it is there."""
        with self._lock:
            gone = self._entries.pop(key, None)
        del gone  # not while the lock is held

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)


class WeakMemo(Generic[V]):
    """Results that live exactly as long as the object they were derived from: ``memo(owner)[key]``.

    The entries lie in a slot of the owner itself (``owner._memo``). A global weak-key map would never free an
    entry whose value reaches its key, as a compiled program reaches the jaxpr it came from.
    """

    def __init__(self, compute: Callable[..., V]) -> None:
        self.compute = compute

    def __call__(self, owner: Any, *key: Hashable) -> V:
        memo = owner._memo
        full = (self, *key)
        found = memo.get(full, _MISSING)
        if found is _MISSING:
            found = memo.setdefault(full, self.compute(owner, *key))
        result: V = found
        return result


_others: list[Callable[[], None]] = []


def on_clear(action: Callable[[], None]) -> None:
    """Say what ``clear_all`` does besides."""
    _others.append(action)


def clear_all() -> None:
    """Empty every cache of the package."""
    for cache in list(_caches):
        cache.clear()
    for action in _others:
        action()
