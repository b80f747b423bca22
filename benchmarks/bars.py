"""The speeds that the project wants to keep, judged on a record: a statement in a report, never a test."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from benchmarks.peers import BASELINE
from benchmarks.run import Outcome


@dataclass(frozen=True)
class Bar:
    """On ``workload``, functrans is ``factor`` times as fast as ``contender``, give or take ``slack`` seconds."""

    workload: str
    contender: str
    slack: float = 0.0
    factor: float = 1.0

    def __str__(self) -> str:
        if self.factor != 1.0:
            return f"{self.workload}: {self.factor:g} times as fast as {self.contender}"
        slack = f" + {self.slack * 1e6:g} us" if self.slack else ""
        return f"{self.workload}: no slower than {self.contender}{slack}"

    def margin(self, outcome: Outcome) -> float | None:
        """Seconds to spare: the median of what each round had; None where one of the two was not timed."""
        mine, theirs = outcome.timings.get(BASELINE), outcome.timings.get(self.contender)
        if mine is None or theirs is None:
            return None
        rounds = zip(mine.samples, theirs.samples, strict=True)
        return statistics.median(other / self.factor + self.slack - own for own, other in rounds)


FUSED = ("chain", "sums_of_rows")
BARS = (
    Bar("eager_grad/rosenbrock_10", "autograd"),
    Bar("eager_grad/rosenbrock_10", "torch"),
    Bar("eager_grad/rosenbrock_1000", "autograd"),
    Bar("eager_grad/rosenbrock_1000", "torch"),
    Bar("dispatch/chain_10", "numpy", slack=5e-6),
    Bar("eager_numpy/small_20", "numpy", slack=60e-6),
    Bar("eager_numpy/large_20", "numpy", slack=60e-6),
    Bar("compile/unrolled_2000", "jax"),
    Bar("compile/mlp_of_200_layers", "jax", factor=5.0),
    *[Bar(f"fused/{name}_1e7_{dtype}", "numpy", factor=1.8) for name in FUSED for dtype in ("float64", "float32")],
    *[Bar(f"fused/{name}_1e6_float64", "numpy", factor=1.2) for name in FUSED],
    *[Bar(f"fused/{name}_1e6_float32", "numpy") for name in FUSED],
    Bar("eager_loop/scan_1000", "numpy"),
    Bar("eager_loop/while", "numpy"),
    Bar("eager_loop/numbers_1000", "numpy", slack=5e-6),
    *[
        Bar(f"eager_loop/{name}", "numpy", slack=5e-6)
        for name in ("numbers_10", "three_steps", "while_number", "branch")
    ],
    Bar("eager_loop/count_1000", "numpy", slack=5e-6),
    Bar("eager_loop/fill_1e4", "numpy", factor=0.8),
)
