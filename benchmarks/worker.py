"""The process that measures one group of workloads: those that share settings which hold for a whole process.

What libraries read from the environment at import is the parent's to give (``environment``). The request is a
JSON object on standard input; the answers are lines of JSON: what was loaded, then one for each workload.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from benchmarks import peers, record
from benchmarks.measure import Budget
from benchmarks.run import Outcome, run
from benchmarks.workload import Precision
from benchmarks.workloads import WORKLOADS

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NPROC",
)
# Whether the C library gives freed memory back to the system depends on what ran before, and asking for it
# again can cost ten times the arithmetic: with these settings all contenders find their memory mapped.
ALLOCATOR_VARIABLES = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")


class WorkerFailed(Exception):
    """A measuring process ended without an answer; its own message stands above on standard error."""


@dataclass(frozen=True)
class Request:
    workloads: tuple[str, ...]
    contenders: tuple[str, ...]
    precision: Precision
    threads: int
    budget: Budget


@dataclass(frozen=True)
class Group:
    """A worker at its task: what it loaded, and the outcomes as they come."""

    versions: dict[str, str]
    absent: dict[str, str]
    outcomes: Iterator[Outcome]


def environment(threads: int) -> dict[str, str]:
    single = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"} if threads == 1 else {}
    return {
        **os.environ,
        **dict.fromkeys(THREAD_VARIABLES, str(threads)),
        **dict.fromkeys(ALLOCATOR_VARIABLES, str(2**30)),
        **single,
        "JAX_PLATFORMS": "cpu",
        "FUNCTRANS_NATIVE_CACHE": "0",  # what earlier runs left on disk is none of a first call
    }


def start(request: Request) -> Group:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(request.threads),
    )
    assert process.stdin is not None
    with process.stdin as stdin:
        json.dump(asdict(request), stdin)
    lines = _lines(process)
    head = next(lines)
    return Group(head["versions"], head["absent"], map(record.outcome_from_json, lines))


def _lines(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    assert process.stdout is not None
    with process.stdout as stdout:
        for line in stdout:
            yield json.loads(line)
    if process.wait() != 0:
        raise WorkerFailed(f"the measuring process ended with status {process.returncode}")


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a peer prints must not mix with the answers
    data = json.load(sys.stdin)
    request = Request(**data | {"budget": Budget(**data["budget"])})
    _keep_to_processors(request.threads)
    used = {name for workload in request.workloads for name in WORKLOADS[workload].contenders}
    loaded = peers.load([c for c in request.contenders if c in used], request.precision, request.threads)
    print(json.dumps({"versions": loaded.versions, "absent": loaded.absent}), file=answers)
    for _, family in groupby(map(WORKLOADS.__getitem__, request.workloads), key=lambda workload: workload.family):
        for outcome in run(list(family), loaded.modules, request.budget):
            print(json.dumps(record.outcome_to_json(outcome)), file=answers)


def _keep_to_processors(count: int) -> None:
    """Some libraries size their thread pools by the processors that they may use, not by the environment."""
    if sys.platform == "linux":
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, allowed[-count:])


if __name__ == "__main__":
    main()
