"""Profiles of compiled programs: what each kernel and call took, by table, by timeline, and for a trace viewer."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from functrans.backends.observe import Event, watching
from functrans.config import override

__all__ = ["Profile", "Row", "profile"]


class Row(NamedTuple):
    """The runs of one kernel or call.

    Attributes:
        name, line: which, and the user's line that it comes from.
        calls, seconds: how often, and how long in all.
        bandwidth: bytes a second that it read and wrote.
    """

    name: str
    line: str
    calls: int
    seconds: float
    bandwidth: float


class Profile:
    """What ran inside of ``with functrans.profile() as p``.

    Attributes:
        events: every node, and every thread's piece of a kernel, in the order they ended.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []

    def rows(self) -> list[Row]:
        """A row for each kernel and call, the longest first."""
        sums: dict[tuple[str, str], list[float]] = {}
        for e in self.events:
            if not e.piece:
                total = sums.setdefault((e.name, e.line), [0, 0.0, 0.0])
                total[0] += 1
                total[1] += e.seconds
                total[2] += e.bytes
        found = [Row(*key, int(n), s, b / s if s else 0.0) for key, (n, s, b) in sums.items()]
        return sorted(found, key=lambda r: -r.seconds)

    def __str__(self) -> str:
        rows = self.rows()
        total = sum(r.seconds for r in rows) or 1.0
        lines = [("node", "calls", "ms", "share", "GB/s", "line")]
        for r in rows:
            share = f"{100 * r.seconds / total:.1f} %"
            lines.append((r.name, str(r.calls), f"{1e3 * r.seconds:.3f}", share, f"{r.bandwidth / 1e9:.1f}", r.line))
        widths = [max(len(line[k]) for line in lines) for k in range(6)]
        return "\n".join(
            line[0].ljust(widths[0]) + "".join("  " + line[k].rjust(widths[k]) for k in range(1, 5)) + "  " + line[5]
            for line in lines
        )

    def timeline(self, width: int = 80) -> str:
        """A line for each thread, a letter for each kernel or call that ran on it, over the time of the run."""
        if not self.events:
            return ""
        start = min(e.start for e in self.events)
        end = max(e.start + e.seconds for e in self.events)
        scale = width / max(end - start, 1e-9)
        letters: dict[str, str] = {}
        lanes: dict[int, list[str]] = {}
        # Pieces last: they say which thread did the work of a kernel.
        for e in sorted(self.events, key=lambda e: e.piece):
            letter = letters.setdefault(e.name, "abcdefghijklmnopqrstuvwxyz"[len(letters) % 26])
            lane = lanes.setdefault(e.thread, [" "] * width)
            first = min(int((e.start - start) * scale), width - 1)
            for k in range(first, min(max(int((e.start + e.seconds - start) * scale), first + 1), width)):
                lane[k] = letter
        legend = ", ".join(f"{letter} {name}" for name, letter in letters.items())
        rows = [f"thread {n} |{''.join(lane)}|" for n, lane in enumerate(lanes.values())]
        return "\n".join([*rows, f"{1e3 * (end - start):.3f} ms: {legend}"])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the events for a trace viewer (the JSON array format of Chrome's trace events)."""
        origin = min((e.start for e in self.events), default=0.0)
        threads = {t: n for n, t in enumerate(dict.fromkeys(e.thread for e in self.events))}
        found = [
            {
                "name": e.name,
                "cat": "piece" if e.piece else "node",
                "ph": "X",
                "ts": 1e6 * (e.start - origin),
                "dur": 1e6 * e.seconds,
                "pid": os.getpid(),
                "tid": threads[e.thread],
                "args": {"bytes": e.bytes, "flops": e.flops, "line": e.line},
            }
            for e in self.events
        ]
        Path(path).write_text(json.dumps(found))


@contextmanager
def profile() -> Iterator[Profile]:
    """Watch what compiled programs do inside of a block, in this thread and those that help it.

    Programs run in a variant that takes the time behind each node: what is looked at costs about a microsecond a node
    more.

    >>> import numpy as np, functrans as ft
    >>> f = ft.jit(lambda x: np.sum(np.sin(x) * x))
    >>> with ft.profile() as p:
    ...     _ = f(np.ones(100))
    >>> sorted(row.name for row in p.rows())
    ['mul', 'sin', 'sum']
    """
    made = Profile()
    with watching(made.events), override("profiling", True):
        yield made
