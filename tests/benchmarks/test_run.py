"""One workload in this process: agreement first, then timing of those that agree; failures are named."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from benchmarks import agreement, peers
from benchmarks.measure import QUICK, Budget
from benchmarks.peers import Peer
from benchmarks.run import Outcome, run
from benchmarks.workload import Build, Workload, called
from tests.benchmarks.fake_clock import FakeClock

MODULE = ModuleType("stand_in")
ROUNDS = Budget(rounds=3, least_rounds=3, seconds=100.0, sample_seconds=0.5, settle_seconds=0.5)


def returning(value: object) -> Build:
    return lambda module, *inputs: lambda: value


def workload(contenders: dict[str, Build], **settings: Any) -> Workload:
    return Workload("family/what", lambda: (np.arange(3.0),), contenders, **{"tolerance": 1e-9} | settings)


def modules(work: Workload) -> dict[str, ModuleType]:
    return dict.fromkeys(work.contenders, MODULE)


def run_one(work: Workload, loaded: dict[str, ModuleType], budget: Budget, *clock: FakeClock) -> Outcome:
    (outcome,) = run([work], loaded, budget, *clock)
    return outcome


def test_contenders_get_their_module_and_the_inputs() -> None:
    seen: list[Any] = []

    def build(module: ModuleType, x: Any) -> Callable[[], object]:
        seen.extend([module, x])
        return lambda: x

    run_one(workload({"numpy": build}), {"numpy": MODULE}, QUICK)
    assert seen[0] is MODULE
    np.testing.assert_array_equal(seen[1], [0.0, 1.0, 2.0])


def test_ratios_come_from_interleaved_samples() -> None:
    clock = FakeClock()
    work = workload(
        {
            "functrans": lambda module, x: clock.always("functrans", 2.0),
            "numpy": lambda module, x: clock.always("numpy", 1.0),
            "jax": lambda module, x: clock.always("jax", 6.0),
        }
    )
    outcome = run_one(work, modules(work), ROUNDS, clock)
    assert list(outcome.timings) == ["functrans", "numpy", "jax"]
    found = {name: outcome.ratio(name) for name in work.contenders}
    assert {name: ratio.median for name, ratio in found.items() if ratio is not None} == {
        "functrans": 1.0,
        "numpy": 0.5,
        "jax": 3.0,
    }
    assert clock.ran[-9:] == [
        "functrans",
        "numpy",
        "jax",
        "numpy",
        "jax",
        "functrans",
        "jax",
        "functrans",
        "numpy",
    ]


def test_workloads_that_differ_in_length_alone_are_measured_together() -> None:
    clock = FakeClock()

    def of_length(operations: int) -> Workload:
        name = f"family/what_{operations}"
        contenders: dict[str, Build] = {
            "functrans": lambda module, x: clock.always(f"functrans {operations}", 1.0 * operations),
            "jax": lambda module, x: clock.always(f"jax {operations}", 3.0 * operations),
        }
        return Workload(name, lambda: (np.arange(3.0),), contenders, 1e-9, operations=operations)

    works = [of_length(1), of_length(2)]
    assert {work.family for work in works} == {"family/what"}
    outcomes = run(works, modules(works[0]), ROUNDS, clock)
    assert [outcome.workload for outcome in outcomes] == ["family/what_1", "family/what_2"]
    assert [outcome.timings["jax"].samples for outcome in outcomes] == [(3.0,) * 3, (6.0,) * 3]
    rounds = clock.ran[-12:]
    everyone = {"functrans 1", "jax 1", "functrans 2", "jax 2"}
    assert [set(rounds[i : i + 4]) for i in (0, 4, 8)] == [everyone] * 3


def test_a_contender_whose_module_is_absent_takes_no_part() -> None:
    work = workload({"functrans": returning(1.0), "jax": returning(1.0)})
    outcome = run_one(work, {"functrans": MODULE}, QUICK)
    assert list(outcome.timings) == ["functrans"]
    assert outcome.failures == {}
    assert outcome.ratio("jax") is None


def test_a_contender_that_disagrees_with_the_one_by_hand_is_not_timed() -> None:
    work = workload({"functrans": returning({"w": [np.ones(2)]}), "numpy": returning({"w": [np.array([1.0, 2.0])]})})
    outcome = run_one(work, modules(work), QUICK)
    assert list(outcome.timings) == ["numpy"]
    assert outcome.failures == {"functrans": "Disagreement: result['w'][0] is off by 1 where its largest entry is 2"}


def test_a_contender_that_raises_is_reported_and_the_others_run() -> None:
    def broken(module: ModuleType, x: Any) -> Callable[[], object]:
        raise ValueError("no such function")

    work = workload({"functrans": broken, "numpy": returning(1.0)})
    outcome = run_one(work, modules(work), QUICK)
    assert list(outcome.timings) == ["numpy"]
    assert outcome.failures == {"functrans": "ValueError: no such function"}


def test_what_is_compared_may_be_what_the_returned_program_computes() -> None:
    work = workload({"functrans": returning(lambda: 1.0), "jax": returning(lambda: 2.0)}, observe=called)
    outcome = run_one(work, modules(work), QUICK)
    assert list(outcome.failures) == ["jax"]


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (np.float32(1.0), r"result is float32\[\], expected float64\[\]"),
        (np.ones(1), r"result is float64\[1\], expected float64\[\]"),
        ([1.0], r"the leaves are \['\[0\]'\], expected \[''\]"),
        (np.nan, r"result is off by nan where its largest entry is 1"),
        (1.0 + 1e-3, r"result is off by 0.001 where its largest entry is 1"),
    ],
)
def test_disagreements_are_told_apart(found: object, message: str) -> None:
    with pytest.raises(agreement.Disagreement, match=message):
        agreement.check(agreement.snapshot(found), agreement.snapshot(1.0), tolerance=1e-6)


def test_agreement_is_relative_to_the_largest_entry() -> None:
    agreement.check({"": np.array([1e-4, 100.0])}, {"": np.array([0.0, 100.0])}, tolerance=1e-5)


def test_a_snapshot_does_not_follow_later_writes() -> None:
    buffer = np.zeros(2)
    taken = agreement.snapshot({"b": buffer, "a": (None, 1)})
    buffer += 1.0
    assert list(taken) == ["['a'][1]", "['b']"]
    np.testing.assert_array_equal(taken["['b']"], [0.0, 0.0])


def test_absent_libraries_are_named_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = Peer("no-such-library", ("no_such_library",))
    monkeypatch.setitem(peers.CONTENDERS, "jax", (missing, "stands for a library that is not installed"))
    loaded = peers.load(["numpy", "jax"], "float64", threads=1)
    assert loaded.modules == {"numpy": np}
    assert loaded.versions == {"numpy": np.__version__}
    assert loaded.absent == {"jax": "ModuleNotFoundError: No module named 'no_such_library'"}
