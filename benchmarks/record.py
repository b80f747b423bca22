"""A run of the benchmarks as data, and the same as JSON: what the workers send and what ``--json`` writes."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.measure import Timing
from benchmarks.peers import BASELINE
from benchmarks.run import Outcome


@dataclass(frozen=True)
class Record:
    """Everything that a report is made of; ``lost`` names the workloads that a measuring process took with it."""

    threads: int
    python: str
    versions: dict[str, str]
    absent: dict[str, str]
    outcomes: tuple[Outcome, ...]
    lost: dict[str, str] = field(default_factory=dict)


def outcome_to_json(outcome: Outcome) -> dict[str, Any]:
    return asdict(outcome)


def outcome_from_json(data: dict[str, Any]) -> Outcome:
    timings = {name: Timing(t["calls"], tuple(t["samples"])) for name, t in data["timings"].items()}
    return Outcome(**data | {"timings": timings})


def to_json(record: Record) -> dict[str, Any]:
    """The record, with medians (seconds) and ratios beside the samples that they come from."""
    return {
        "threads": record.threads,
        "python": record.python,
        "versions": record.versions,
        "absent": record.absent,
        "lost": record.lost,
        "baseline": BASELINE,
        "outcomes": [_with_ratios(outcome) for outcome in record.outcomes],
    }


def _with_ratios(outcome: Outcome) -> dict[str, Any]:
    data = outcome_to_json(outcome)
    for contender, timing in outcome.timings.items():
        found = outcome.ratio(contender)
        times = {"median": timing.median, "ratio": None if found is None else asdict(found)}
        data["timings"][contender] = times | data["timings"][contender]
    return data


def python_version() -> str:
    return f"{platform.python_implementation()} {platform.python_version()}"
