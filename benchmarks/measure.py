"""Interleaved timing: one sample of each contender a round, so that drift of the machine meets all alike."""

from __future__ import annotations

import gc
import itertools
import math
import statistics
import sys
import time
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from benchmarks.workload import Call

if sys.platform != "win32":
    import resource

Name = TypeVar("Name", bound=Hashable)
TRIES = 5


class Clock(Protocol):
    def now(self) -> float:
        """Seconds from some fixed moment."""
        ...

    def interruptions(self) -> int:
        """How often the system has taken the processor away from this thread."""
        ...


class SystemClock:
    def now(self) -> float:
        return time.perf_counter()

    def interruptions(self) -> int:
        if sys.platform != "linux":
            return 0
        return resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw


SYSTEM_CLOCK = SystemClock()


@dataclass(frozen=True)
class Budget:
    """How long to measure.

    Attributes:
        rounds: how many rounds, if time allows.
        least_rounds: how many in any case.
        seconds: after which no further round starts.
        sample_seconds: what a sample takes at least, by repeating its call.
        settle_seconds: a shorter call runs once untimed before each sample, to find its memory in cache.
    """

    rounds: int = 100
    least_rounds: int = 5
    seconds: float = 4.0
    sample_seconds: float = 1e-3
    settle_seconds: float = 2e-2


QUICK = Budget(rounds=2, least_rounds=2, seconds=0.0, sample_seconds=0.0, settle_seconds=0.0)


@dataclass(frozen=True)
class Timing:
    """Seconds a call took, one entry a round, each the mean over ``calls`` calls in a row."""

    calls: int
    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.samples)


@dataclass(frozen=True)
class Ratio:
    """Time of a contender over time of the baseline, round by round: the median and the quartiles."""

    median: float
    low: float
    high: float


def ratio(timing: Timing, baseline: Timing) -> Ratio:
    rounds = [mine / theirs for mine, theirs in zip(timing.samples, baseline.samples, strict=True)]
    if len(rounds) == 1:
        return Ratio(rounds[0], rounds[0], rounds[0])
    low, median, high = statistics.quantiles(rounds, n=4, method="inclusive")
    return Ratio(median, low, high)


def measure(calls: Mapping[Name, Call], budget: Budget, clock: Clock = SYSTEM_CLOCK) -> dict[Name, Timing]:
    """Times the calls in turn, round by round; the order rotates, so that nobody is always the first."""
    if not calls:
        return {}
    names = list(calls)
    samples: dict[Name, list[float]] = {name: [] for name in names}
    with _only_own_garbage():
        plans = {name: _plan(call, budget, clock) for name, call in calls.items()}
        start = clock.now()
        for done in range(budget.rounds):
            if done >= budget.least_rounds and clock.now() - start >= budget.seconds:
                break
            first = done % len(names)
            for name in names[first:] + names[:first]:
                samples[name].append(_sample(calls[name], plans[name], clock))
    return {name: Timing(plans[name].calls, tuple(samples[name])) for name in names}


@dataclass(frozen=True)
class _Plan:
    calls: int
    settle: bool


def _plan(call: Call, budget: Budget, clock: Clock) -> _Plan:
    elapsed = _time(call, 1, clock)
    if elapsed >= budget.settle_seconds:
        return _Plan(calls=1, settle=False)
    calls = 1
    while (elapsed := _undisturbed(call, calls, clock)) < budget.sample_seconds:
        needed = 1.2 * budget.sample_seconds / elapsed if elapsed > 0 else math.inf
        calls = max(2 * calls, math.ceil(calls * min(needed, 10.0)))
    return _Plan(calls, settle=True)


def _sample(call: Call, plan: _Plan, clock: Clock) -> float:
    if not plan.settle:
        return _time(call, plan.calls, clock) / plan.calls
    call()
    return _undisturbed(call, plan.calls, clock) / plan.calls


def _undisturbed(call: Call, count: int, clock: Clock) -> float:
    """The time of so many calls in a row without interruption; the least one where it never comes to that."""
    times: list[float] = []
    for _ in range(TRIES):
        before = clock.interruptions()
        elapsed = _time(call, count, clock)
        if clock.interruptions() == before:
            return elapsed
        times.append(elapsed)
    return min(times)


def _time(call: Call, count: int, clock: Clock) -> float:
    iterations = itertools.repeat(None, count)
    start = clock.now()
    for _ in iterations:
        call()
    return clock.now() - start


@contextmanager
def _only_own_garbage() -> Iterator[None]:
    """Collections stay on, as part of a call's cost, but do not walk the modules that peers imported."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
