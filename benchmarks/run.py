"""Runs workloads in this process: builds the contenders, checks that they agree, times those that do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import ModuleType

from benchmarks import agreement
from benchmarks.measure import SYSTEM_CLOCK, Budget, Clock, Ratio, Timing, measure, ratio
from benchmarks.peers import BASELINE
from benchmarks.workload import Array, Call, Workload


@dataclass(frozen=True)
class Outcome:
    """What came of one workload; a contender stands in ``timings`` or, with the reason, in ``failures``."""

    workload: str
    family: str
    tolerance: float
    operations: int | None
    timings: dict[str, Timing]
    failures: dict[str, str]

    def ratio(self, contender: str) -> Ratio | None:
        """How long the contender takes, functrans being 1; None where either was not timed."""
        mine, baseline = self.timings.get(contender), self.timings.get(BASELINE)
        return None if mine is None or baseline is None else ratio(mine, baseline)


def run(
    workloads: Sequence[Workload],
    modules: Mapping[str, ModuleType],
    budget: Budget,
    clock: Clock = SYSTEM_CLOCK,
) -> list[Outcome]:
    """Measures the workloads together: each round has a sample of every contender of every workload."""
    prepared = {workload.name: _prepare(workload, modules) for workload in workloads}
    calls = {(name, contender): call for name, (ready, _) in prepared.items() for contender, call in ready.items()}
    timings = measure(calls, replace(budget, seconds=budget.seconds * len(workloads)), clock)
    return [
        Outcome(
            workload.name,
            workload.family,
            workload.tolerance,
            workload.operations,
            {contender: timing for (name, contender), timing in timings.items() if name == workload.name},
            prepared[workload.name][1],
        )
        for workload in workloads
    ]


def _prepare(workload: Workload, modules: Mapping[str, ModuleType]) -> tuple[dict[str, Call], dict[str, str]]:
    """The calls of the contenders that agree, and why the others do not take part."""
    inputs = workload.inputs()
    calls: dict[str, Call] = {}
    failures: dict[str, str] = {}
    reference: dict[str, Array] | None = None
    for name in sorted(workload.contenders.keys() & modules.keys(), key=_by_hand_first):
        try:
            call = workload.contenders[name](modules[name], *inputs)
            found = agreement.snapshot(workload.observe(call()))
            reference = found if reference is None else reference
            agreement.check(found, reference, workload.tolerance)
        except Exception as error:  # whatever a contender raises is reported, and the others still run
            failures[name] = f"{type(error).__name__}: {error}"
        else:
            calls[name] = call
    return {name: calls[name] for name in workload.contenders if name in calls}, failures


def _by_hand_first(contender: str) -> tuple[bool, str]:
    """What was written by hand in NumPy is the reference for the others' results, where there is one."""
    return contender != "numpy", contender
