"""Bounded caches: what goes, and what may happen when it goes."""

from __future__ import annotations

import threading
import weakref
from typing import Any

import pytest

from functrans.util.cache import Bounded


def test_the_entries_stored_last_are_kept() -> None:
    cache: Bounded[int] = Bounded(2)
    for n in (1, 2, 3):
        cache.put(n, n)
    assert cache.get(1) is None and cache.get(3) == 3 and len(cache) == 2
    assert cache.put(3, 5) == 3
    cache.discard(3)
    cache.discard("never there")
    assert cache.get(3) is None
    with pytest.raises(ValueError, match="size=0"):
        Bounded(0)


def test_the_end_of_an_entry_may_discard_another() -> None:
    """As the end of an object does whose methods are compiled; a lock that does not admit this would wait forever."""

    class Owner:
        pass

    cache: Bounded[Any] = Bounded(2)

    def work() -> None:
        for n in range(20):
            owner = Owner()
            weakref.finalize(owner, cache.discard, n - 1).atexit = False
            cache.put(n, owner)
            del owner
        cache.clear()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    assert len(cache) == 0
