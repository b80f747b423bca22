"""A clock that stands still but for the calls made through it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable


class FakeClock:
    """Time in seconds; ``taking`` makes calls that advance it and note that they ran."""

    def __init__(self) -> None:
        self.now = 0.0
        self.ran: list[str] = []

    def __call__(self) -> float:
        return self.now

    def taking(self, name: str, seconds: Iterable[float]) -> Callable[[], object]:
        durations = iter(seconds)

        def call() -> object:
            self.ran.append(name)
            self.now += next(durations)
            return None

        return call

    def always(self, name: str, seconds: float) -> Callable[[], object]:
        return self.taking(name, itertools.repeat(seconds))
