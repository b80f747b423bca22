"""A persistent pool of threads that run the tiles of kernels, and the memory that they work in.

NumPy releases the interpreter's lock inside of its loops, so that tiles run side by side. Threads are started at first
use, die with the interpreter, and are forgotten by a forked child, which starts its own. A kernel that runs inside of
one of them does not ask for more.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from contextvars import copy_context
from queue import SimpleQueue
from typing import Any

import numpy as np

from functrans.config import config

Body = Callable[[int, int], None]


def available() -> int:
    """How many cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        return os.cpu_count() or 1


def _nothing(low: int, high: int) -> None:
    pass


class _Task:
    """A range of units that several threads take pieces of until nothing is left."""

    __slots__ = ("active", "body", "closed", "context", "done", "error", "lock", "next", "pieces")

    def __init__(self, body: Body, pieces: Sequence[tuple[int, int]]) -> None:
        self.body = body
        self.pieces = pieces
        self.next = 0
        self.active = 0
        self.closed = False
        self.error: BaseException | None = None
        self.lock = threading.Lock()
        self.done = threading.Event()
        self.context = copy_context()

    def work(self) -> None:
        while self.error is None:
            with self.lock:
                i = self.next
                self.next = i + 1
            if i >= len(self.pieces):
                return
            self.body(*self.pieces[i])

    def help(self) -> None:
        """Work on another thread, unless there is nothing left by the time that it wakes up."""
        with self.lock:
            if self.closed:
                return
            self.active += 1
        try:
            self.context.copy().run(self.work)
        except BaseException as error:
            self.error = error
        finally:
            with self.lock:
                self.active -= 1
                if not self.active:
                    self.done.set()

    def close(self) -> None:
        """Wait for the pieces that are under way; threads that took none are not waited for."""
        with self.lock:
            self.closed = True
            if self.active:
                self.done.clear()  # Those who were at work before may have set it.
            else:
                self.done.set()
        self.done.wait()
        self.body = _nothing  # A thread that wakes up later must not keep the operands alive until then.


class Pool:
    """Threads that wait for tasks."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self.queue: SimpleQueue[_Task] = SimpleQueue()
        self.started = 0
        self.lock = threading.Lock()
        self.inside = threading.local()

    def size(self) -> int:
        """How many threads a call may use, its own included."""
        if getattr(self.inside, "value", False):
            return 1
        return config.threads or available()

    def run(self, body: Body, low: int, high: int, step: int) -> None:
        """``body(a, b)`` over pieces of ``range(low, high)``, cut at multiples of ``step``.

        An exception in one piece, Ctrl-C in the calling thread included, ends the others after the piece at hand and
        is raised here.
        """
        threads = min(self.size(), -(-(high - low) // step))
        if threads <= 1:
            body(low, high)
            return
        # A few pieces a thread even out what else the machine does.
        length = -(-(high - low) // (4 * threads * step)) * step
        pieces = [(a, min(a + length, high)) for a in range(low, high, length)]
        task = _Task(body, pieces)
        self._start(threads - 1)
        for _ in range(threads - 1):
            self.queue.put(task)
        try:
            task.work()
        except BaseException as error:
            task.error = error
            raise
        finally:
            task.close()
        if task.error is not None:
            raise task.error

    def together(self, tasks: Sequence[Callable[..., Any]], args: Sequence[Any]) -> list[Any]:
        """The results of several functions of the same arguments, each on a thread if there are enough."""
        results: list[Any] = [None] * len(tasks)

        def body(low: int, high: int) -> None:
            for k in range(low, high):
                results[k] = tasks[k](*args)

        self.run(body, 0, len(tasks), 1)
        return results

    def _start(self, count: int) -> None:
        with self.lock:
            while self.started < count:
                thread = threading.Thread(target=self._serve, name=f"functrans-{self.started}", daemon=True)
                thread.start()
                self.started += 1

    def _serve(self) -> None:
        self.inside.value = True
        queue = self.queue
        while True:
            queue.get().help()


pool = Pool()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=pool._reset)


class Workspace:
    """Byte buffers that threads work in: taken, given back, and grown to the largest that was asked for."""

    def __init__(self) -> None:
        self.free: list[np.ndarray[Any, np.dtype[np.uint8]]] = []

    def take(self, size: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
        try:
            found = self.free.pop()
        except IndexError:
            return np.empty(size, np.uint8)
        return found if found.size >= size else np.empty(size, np.uint8)

    def give(self, buffer: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
        if len(self.free) < 64:
            self.free.append(buffer)


workspace = Workspace()
