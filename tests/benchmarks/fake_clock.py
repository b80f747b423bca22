"""A clock that stands still but for the calls made through it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable


class FakeClock:
    """Time in seconds; ``taking`` makes calls that advance it, note that they ran, and may be interrupted."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.times_interrupted = 0
        self.ran: list[str] = []

    def now(self) -> float:
        return self.seconds

    def interruptions(self) -> int:
        return self.times_interrupted

    def taking(self, name: str, seconds: Iterable[float], interrupted: Iterable[bool] = ()) -> Callable[[], object]:
        durations, interruptions = iter(seconds), iter(interrupted)

        def call() -> object:
            self.ran.append(name)
            self.seconds += next(durations)
            self.times_interrupted += next(interruptions, False)
            return None

        return call

    def always(self, name: str, seconds: float) -> Callable[[], object]:
        return self.taking(name, itertools.repeat(seconds))
