"""Interleaving, adaptive repetition, budgets and ratios, against a clock that the test controls."""

from __future__ import annotations

import gc
import itertools
import time

import pytest

from benchmarks.measure import TRIES, Budget, SystemClock, Timing, measure, ratio
from tests.benchmarks.fake_clock import FakeClock

LONG_CALLS = Budget(rounds=3, least_rounds=3, seconds=100.0, sample_seconds=0.5, settle_seconds=0.5)


def test_rounds_are_interleaved_and_their_order_rotates() -> None:
    clock = FakeClock()
    measure({name: clock.always(name, 1.0) for name in "abc"}, LONG_CALLS, clock)
    planning, rounds = clock.ran[:3], clock.ran[3:]
    assert planning == ["a", "b", "c"]
    assert rounds == ["a", "b", "c", "b", "c", "a", "c", "a", "b"]


def test_samples_are_seconds_for_one_call() -> None:
    clock = FakeClock()
    calls = {"a": clock.taking("a", [9.0, 1.0, 2.0, 6.0]), "b": clock.taking("b", [9.0, 3.0, 4.0, 5.0])}
    found = measure(calls, LONG_CALLS, clock)
    assert found == {"a": Timing(1, (1.0, 2.0, 6.0)), "b": Timing(1, (3.0, 4.0, 5.0))}
    assert {name: timing.median for name, timing in found.items()} == {"a": 2.0, "b": 4.0}


def test_short_calls_are_repeated_until_a_sample_is_long_enough() -> None:
    clock = FakeClock()
    budget = Budget(rounds=4, least_rounds=4, seconds=100.0, sample_seconds=1.0, settle_seconds=0.5)
    timing = measure({"a": clock.always("a", 2.0**-6)}, budget, clock)["a"]
    assert timing.calls * 2.0**-6 >= 1.0
    assert timing.calls <= 2 * 2**6
    assert timing.samples == (2.0**-6,) * 4


def test_a_clock_too_coarse_to_see_one_call_is_met_with_more_calls() -> None:
    clock = FakeClock()
    budget = Budget(rounds=1, least_rounds=1, seconds=100.0, sample_seconds=1.0, settle_seconds=0.5)
    timing = measure({"a": clock.taking("a", _one_second_every(100))}, budget, clock)["a"]
    assert timing.calls >= 64


def _one_second_every(calls: int) -> itertools.chain[float]:
    return itertools.chain.from_iterable([0.0] * (calls - 1) + [1.0] for _ in range(100))


def test_an_untimed_call_precedes_the_samples_of_short_calls_alone() -> None:
    clock = FakeClock()
    budget = Budget(rounds=2, least_rounds=2, seconds=100.0, sample_seconds=0.0, settle_seconds=0.5)
    # planning takes one call of a long function and two of a short one, before the rounds begin
    short = clock.taking("short", [0.25, 0.25, 0.5, 0.25, 0.5, 0.25])
    timings = measure({"short": short, "long": clock.always("long", 1.0)}, budget, clock)
    assert [timing.samples for timing in timings.values()] == [(0.25, 0.25), (1.0, 1.0)]
    assert clock.ran[3:] == ["short", "short", "long", "long", "short", "short"]


def test_an_interrupted_sample_of_a_short_call_is_taken_again() -> None:
    clock = FakeClock()
    budget = Budget(rounds=2, least_rounds=2, seconds=100.0, sample_seconds=0.0, settle_seconds=0.5)
    # two calls of planning, then an untimed one before each sample
    seconds = [0.25, 0.25, 0.25, 9.0, 8.0, 0.125, 0.25, 0.375]
    interrupted = [False, False, False, True, True, False, False, False]
    call = clock.taking("a", seconds, interrupted)
    assert measure({"a": call}, budget, clock) == {"a": Timing(1, (0.125, 0.375))}


def test_of_samples_that_are_always_interrupted_the_least_counts() -> None:
    clock = FakeClock()
    budget = Budget(rounds=1, least_rounds=1, seconds=100.0, sample_seconds=0.0, settle_seconds=0.5)
    call = clock.taking("a", [0.25, 0.25, 0.25, 9.0, 5.0, 8.0, 7.0, 6.0], [False] * 3 + [True] * TRIES)
    assert measure({"a": call}, budget, clock) == {"a": Timing(1, (5.0,))}


def test_the_systems_clock_advances_and_counts() -> None:
    clock = SystemClock()
    start = clock.now()
    time.sleep(1e-3)
    assert clock.now() - start >= 1e-3
    assert clock.interruptions() >= 0


@pytest.mark.parametrize(("seconds", "expected"), [(0.0, 2), (5.0, 3), (7.0, 4), (1000.0, 10)])
def test_rounds_end_with_the_budget_but_not_before_the_least(seconds: float, expected: int) -> None:
    clock = FakeClock()
    budget = Budget(rounds=10, least_rounds=2, seconds=seconds, sample_seconds=0.5, settle_seconds=0.5)
    timings = measure({"a": clock.always("a", 1.0), "b": clock.always("b", 1.0)}, budget, clock)
    assert [len(timing.samples) for timing in timings.values()] == [expected, expected]


def test_collection_of_garbage_is_left_as_it_was_found() -> None:
    frozen = gc.get_freeze_count()
    measure({"a": lambda: None}, Budget(rounds=1, least_rounds=1, sample_seconds=0.0))
    assert gc.isenabled()
    assert gc.get_freeze_count() == frozen


def test_no_calls_give_no_timings() -> None:
    assert measure({}, Budget()) == {}


def test_ratio_is_the_median_of_the_ratios_of_single_rounds() -> None:
    # The machine slows down tenfold in the last rounds: the ratio of each round does not notice.
    mine = Timing(1, (2.0, 2.0, 2.0, 20.0, 30.0))
    theirs = Timing(1, (1.0, 1.0, 1.0, 10.0, 10.0))
    found = ratio(mine, theirs)
    assert (found.low, found.median, found.high) == (2.0, 2.0, 2.0)


def test_quartiles_of_the_ratio() -> None:
    mine = Timing(1, (1.0, 2.0, 3.0, 4.0, 5.0))
    found = ratio(mine, Timing(1, (1.0,) * 5))
    assert (found.low, found.median, found.high) == (2.0, 3.0, 4.0)


def test_ratio_of_a_single_round() -> None:
    found = ratio(Timing(1, (3.0,)), Timing(1, (2.0,)))
    assert (found.low, found.median, found.high) == (1.5, 1.5, 1.5)
