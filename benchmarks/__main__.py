"""The command line: ``python -m benchmarks --help``."""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from benchmarks import record, report, worker
from benchmarks.measure import QUICK, Budget
from benchmarks.peers import CONTENDERS
from benchmarks.run import Outcome
from benchmarks.workload import Workload
from benchmarks.workloads import WORKLOADS

RESULTS = Path(__file__).parent / "results"


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    selected = [workload for name, workload in WORKLOADS.items() if any(part in name for part in options.filter)]
    if options.list:
        print("\n".join(workload.name for workload in selected))
        return 0
    if not selected:
        print(f"no workload's name contains any of {options.filter}; --list shows them all", file=sys.stderr)
        return 2
    budget = QUICK if options.quick else Budget(seconds=options.seconds)
    if options.repeat is not None:
        budget = replace(budget, rounds=options.repeat, least_rounds=options.repeat)
    result = measure_all(selected, tuple(options.contenders), options.threads, budget)
    print(report.summary(result))
    if options.json is not None:
        options.json.write_text(json.dumps(record.to_json(result), indent=1))
    if options.results is not None:
        date = datetime.date.today().isoformat()
        options.results.mkdir(parents=True, exist_ok=True)
        (options.results / f"{date}.md").write_text(report.markdown(result, date))
    return 1 if result.lost or any(outcome.failures for outcome in result.outcomes) else 0


def measure_all(
    workloads: Sequence[Workload], contenders: tuple[str, ...], threads: int, budget: Budget
) -> record.Record:
    """Measures each group of workloads in a process of its own, printing the outcomes as they come."""
    versions: dict[str, str] = {}
    absent: dict[str, str] = {}
    outcomes: dict[str, Outcome] = {}
    lost: dict[str, str] = {}
    by_precision = sorted(workloads, key=lambda workload: workload.precision)
    for precision, members in groupby(by_precision, key=lambda workload: workload.precision):
        names = tuple(workload.name for workload in members)
        try:
            group = worker.start(worker.Request(names, contenders, precision, threads, budget))
            versions |= group.versions
            absent |= group.absent
            for outcome in _shown(group.outcomes, names):
                outcomes[outcome.workload] = outcome
        except worker.WorkerFailed as error:
            lost |= {name: str(error) for name in names if name not in outcomes}
    in_order = tuple(outcomes[workload.name] for workload in workloads if workload.name in outcomes)
    return record.Record(threads, record.python_version(), versions, absent, in_order, lost)


def _shown(outcomes: Iterator[Outcome], names: Sequence[str]) -> Iterator[Outcome]:
    for position, name in enumerate(names, start=1):
        print(f"[{position}/{len(names)}] {name} …", file=sys.stderr, flush=True)
        outcome = next(outcomes)
        print(report.details(outcome), flush=True)
        yield outcome
    for surplus in outcomes:
        raise worker.WorkerFailed(f"an outcome came for {surplus.workload}, which was not asked for")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=report.READING)
    parser.add_argument("--list", action="store_true", help="print the names of the workloads and stop")
    parser.add_argument(
        "--filter", nargs="+", default=[""], metavar="PART", help="only workloads whose name has a PART"
    )
    parser.add_argument(
        "--contenders",
        nargs="+",
        choices=CONTENDERS,
        default=list(CONTENDERS),
        metavar="NAME",
        help=f"only these of {', '.join(CONTENDERS)}",
    )
    parser.add_argument(
        "--repeat", type=_positive, metavar="N", help="N rounds of each workload, however long they take"
    )
    parser.add_argument(
        "--seconds", type=float, default=Budget.seconds, help="time for each workload (default %(default)s)"
    )
    parser.add_argument("--threads", type=_positive, default=1, help="threads for each library (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="two rounds of one call each: a check that all of it runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write versions, samples, medians, ratios")
    parser.add_argument(
        "--results",
        type=Path,
        nargs="?",
        const=RESULTS,
        metavar="FOLDER",
        help="write <date>.md with versions and ratios, by default to benchmarks/results",
    )
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not positive")
    return value


if __name__ == "__main__":
    sys.exit(main())
