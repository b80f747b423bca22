"""The speeds that the project wants to keep, judged on a record: a statement in a report, never a test."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from benchmarks.peers import BASELINE
from benchmarks.run import Outcome


@dataclass(frozen=True)
class Bar:
    """On ``workload``, functrans takes no longer than ``contender`` plus ``slack`` seconds."""

    workload: str
    contender: str
    slack: float = 0.0

    def __str__(self) -> str:
        slack = f" + {self.slack * 1e6:g} us" if self.slack else ""
        return f"{self.workload}: no slower than {self.contender}{slack}"

    def margin(self, outcome: Outcome) -> float | None:
        """Seconds to spare: the median of what each round had; None where one of the two was not timed."""
        mine, theirs = outcome.timings.get(BASELINE), outcome.timings.get(self.contender)
        if mine is None or theirs is None:
            return None
        rounds = zip(mine.samples, theirs.samples, strict=True)
        return statistics.median(other + self.slack - own for own, other in rounds)


BARS = (
    Bar("eager_grad/rosenbrock_10", "autograd"),
    Bar("eager_grad/rosenbrock_10", "torch"),
    Bar("eager_grad/rosenbrock_1000", "autograd"),
    Bar("eager_grad/rosenbrock_1000", "torch"),
    Bar("dispatch/chain_10", "numpy", slack=5e-6),
    Bar("eager_numpy/small_20", "numpy", slack=60e-6),
    Bar("eager_numpy/large_20", "numpy", slack=60e-6),
    Bar("compile/unrolled_2000", "jax"),
    Bar("eager_loop/scan_1000", "numpy"),
    Bar("eager_loop/while", "numpy"),
    Bar("eager_loop/numbers_1000", "numpy", slack=50e-6),
)
