"""Watching programs run: what each node and each piece of a kernel took, on which thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import perf_counter
from typing import Any, NamedTuple

clock = perf_counter


class Event(NamedTuple):
    """Something that ran.

    Attributes:
        name: of the kernel or the call.
        start, seconds: when, by ``time.perf_counter``, and for how long.
        thread: the thread's number.
        piece: whether it is one thread's piece of a kernel, and so a part of another event.
        bytes, flops: what the node touches and computes, by ``kernel.cost``.
        line: the user's line that it comes from.
    """

    name: str
    start: float
    seconds: float
    thread: int
    piece: bool = False
    bytes: int = 0
    flops: int = 0
    line: str = ""


instrumenting: ContextVar[bool] = ContextVar("functrans_instrumenting", default=False)
"""Whether programs that are being generated are to report what they do."""
_watchers: list[list[Event]] = []
_lock = threading.Lock()


@contextmanager
def watching(events: list[Event]) -> Iterator[None]:
    """Collect events from all threads for the length of a block."""
    with _lock:
        _watchers.append(events)
    try:
        yield
    finally:
        with _lock:
            _watchers[:] = [w for w in _watchers if w is not events]


def report(name: str, start: float, piece: bool = False, cost: tuple[int, int] = (0, 0), line: str = "") -> None:
    """Say that something ran from ``start`` until now."""
    event = Event(name, start, perf_counter() - start, threading.get_ident(), piece, *cost, line)
    for events in _watchers:
        events.append(event)


def observed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that reports what it took, as a piece of something larger."""

    def run(*args: Any) -> Any:
        start = perf_counter()
        result = function(*args)
        report(name, start, piece=True)
        return result

    return run


class Mark:
    """What an instrumented program calls behind each node."""

    def __init__(self, name: str, bytes_: int, flops: int, line: str) -> None:
        self.name = name
        self.cost = (bytes_, flops)
        self.line = line

    def __call__(self, start: float) -> None:
        report(self.name, start, False, self.cost, self.line)
