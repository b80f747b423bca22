"""What the tables say, for a record with known times."""

from __future__ import annotations

import json

import pytest

from benchmarks import record, report
from benchmarks.bars import Bar
from benchmarks.measure import Timing
from benchmarks.record import Record
from benchmarks.run import Outcome


def timed(name: str, seconds: dict[str, float], operations: int | None = None, **failures: str) -> Outcome:
    timings = {contender: Timing(7, (value,) * 3) for contender, value in seconds.items()}
    family = name.removesuffix(f"_{operations}")
    return Outcome(name, family, 1e-9, operations, timings, failures)


RECORD = Record(
    threads=1,
    python="CPython 3.11",
    versions={"numpy": "2.0", "jax": "0.5"},
    absent={"torch": "ModuleNotFoundError: No module named 'torch'"},
    outcomes=(
        timed("dispatch/chain_10", {"functrans": 8e-6, "numpy": 4e-6, "jax": 12e-6}),
        timed("compile/unrolled_1000", {"functrans": 1e-2, "jax": 0.5}, operations=1000),
        timed("compile/unrolled_2000", {"functrans": 3e-2, "jax": 1.0}, operations=2000),
        timed("hessian/rosenbrock_10", {"functrans": 1e-5}, jax="Disagreement: result is off by 1"),
    ),
)


def test_summary_has_ratios_absences_failures_growth_and_bars() -> None:
    lines = [line.split() for line in report.summary(RECORD).splitlines()]
    assert ["ratio", "to", "functrans", "numpy", "jax", "functrans"] in lines
    assert ["dispatch/chain_10", "0.50", "1.50", "8", "us"] in lines
    assert ["compile/unrolled_1000", "50.0", "10", "ms"] in lines
    assert ["hessian/rosenbrock_10", "failed", "10", "us"] in lines
    text = report.summary(RECORD)
    assert "absent: torch (ModuleNotFoundError: No module named 'torch')" in text
    assert "failed: jax on hessian/rosenbrock_10: Disagreement: result is off by 1" in text
    assert "compile/unrolled, functrans: the time an operation at 2000 operations is 1.50 times that at 1000" in text
    assert "compile/unrolled, jax: the time an operation at 2000 operations is 1.00 times that at 1000" in text
    assert "bar met: dispatch/chain_10: no slower than numpy + 5 us" in text
    assert "bar met: compile/unrolled_2000: no slower than jax" in text


def test_a_missed_bar_says_so() -> None:
    slow = timed("compile/unrolled_2000", {"functrans": 2.0, "jax": 1.0}, operations=2000)
    text = report.summary(Record(1, "CPython 3.11", {}, {}, (slow,)))
    assert "bar MISSED: compile/unrolled_2000: no slower than jax" in text


def test_a_bar_is_judged_round_by_round() -> None:
    # In its slow spell the machine is slow for both; the medians alone, 10 and 2, would say the contrary.
    timings = {"functrans": Timing(1, (1.0, 10.0, 10.0)), "numpy": Timing(1, (2.0, 2.0, 20.0))}
    outcome = Outcome("a/b", "a/b", 1e-9, None, timings, {})
    assert Bar("a/b", "numpy").margin(outcome) == 1.0


@pytest.mark.parametrize(("slack", "margin"), [(0.0, -1.0), (1.5, 0.5)])
def test_margin_of_a_bar(slack: float, margin: float) -> None:
    outcome = timed("a/b", {"functrans": 3.0, "numpy": 2.0})
    assert Bar("a/b", "numpy", slack).margin(outcome) == margin
    assert Bar("a/b", "torch", slack).margin(outcome) is None


def test_details_show_times_ratios_and_time_per_operation() -> None:
    text = report.details(RECORD.outcomes[1])
    assert text.splitlines()[0] == "compile/unrolled_1000  (results agree to 1e-09)"
    assert text.splitlines()[2].split() == [
        "jax", "500", "ms", "50.0", "[50.0,", "50.0]", "3", "x", "7", "500", "us", "an", "operation",
    ]  # fmt: skip


def test_markdown_has_versions_and_ratios_and_no_times() -> None:
    text = report.markdown(RECORD, "2030-01-02")
    assert text.startswith("# Benchmarks of 2030-01-02\n")
    assert "CPython 3.11; jax 0.5, numpy 2.0; 1 thread(s)" in text
    assert "| workload | numpy | jax |\n| --- | --- | --- |\n" in text
    assert "| dispatch/chain_10 | 0.50 [0.50, 0.50] | 1.50 [1.50, 1.50] |" in text
    assert "8 us" not in text and "10 ms" not in text


def test_json_keeps_samples_and_restores_outcomes() -> None:
    data = json.loads(json.dumps(record.to_json(RECORD)))
    first = data["outcomes"][0]
    assert first["timings"]["numpy"]["median"] == 4e-6
    assert first["timings"]["numpy"]["ratio"] == {"median": 0.5, "low": 0.5, "high": 0.5}
    assert tuple(map(record.outcome_from_json, data["outcomes"])) == RECORD.outcomes


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4.56e-9, "4.56 ns"), (999.6e-9, "1 us"), (1.5e-3, "1.5 ms"), (2.0, "2 s"), (123.4e-6, "123 us")],
)
def test_durations(seconds: float, text: str) -> None:
    assert report.duration(seconds) == text
