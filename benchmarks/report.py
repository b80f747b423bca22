"""Tables of a record: text for the terminal (ratios, spread, times), Markdown for ``results/`` (no times)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from benchmarks.bars import BARS
from benchmarks.measure import ratio
from benchmarks.peers import BASELINE, CONTENDERS
from benchmarks.record import Record
from benchmarks.run import Outcome

READING = (
    f"A ratio is the time of a contender over the time of {BASELINE}: above 1, {BASELINE} is the faster one. "
    "It is the median of the ratios of the single rounds; in brackets are their quartiles."
)


def duration(seconds: float) -> str:
    for unit, scale in (("ns", 1e-9), ("us", 1e-6), ("ms", 1e-3)):
        if seconds < 999.5 * scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds:.3g} s"


def number(value: float) -> str:
    return f"{value:.0f}" if value >= 99.5 else f"{value:.1f}" if value >= 9.95 else f"{value:.2f}"


def details(outcome: Outcome) -> str:
    """One workload in full: each contender's median, the ratio and its quartiles, rounds x calls in each."""
    lines = [f"{outcome.workload}  (results agree to {outcome.tolerance:g})"]
    for contender, timing in outcome.timings.items():
        found = outcome.ratio(contender)
        compared = "" if found is None else f"{number(found.median)} [{number(found.low)}, {number(found.high)}]"
        each = "" if outcome.operations is None else f"  {duration(timing.median / outcome.operations)} an operation"
        sampled = f"{len(timing.samples)} x {timing.calls}"
        lines.append(f"  {contender:<14}{duration(timing.median):>10}  {compared:<22}{sampled:>12}{each}")
    lines += [f"  {name:<14}FAILED: {reason}" for name, reason in outcome.failures.items()]
    return "\n".join(lines)


def summary(record: Record) -> str:
    """The table of ratios, then what is absent, what failed, and how the bars stand."""
    contenders = _columns(record)
    head = ["ratio to " + BASELINE, *contenders, BASELINE]
    rows = [[o.workload, *(_cell(o, c) for c in contenders), _median(o)] for o in record.outcomes]
    return "\n".join(["", *_aligned([head, *rows]), "", READING, *_remarks(record)])


def markdown(record: Record, date: str) -> str:
    """What holds beyond one machine: versions, ratios, growth with the length of the program."""
    contenders = _columns(record)
    versions = ", ".join(f"{name} {version}" for name, version in sorted(record.versions.items()))
    head = ["workload", *contenders]
    rows = [[o.workload, *(_cell(o, c, spread=True) for c in contenders)] for o in record.outcomes]
    legend = [f"- {name}: {CONTENDERS[name][1]}" for name in (BASELINE, *contenders)]
    return "\n".join(
        [
            f"# Benchmarks of {date}",
            "",
            f"{record.python}; {versions}; {record.threads} thread(s) for each library.",
            "",
            READING,
            "",
            *(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)),
            "",
            *legend,
            *(f"- {line}" for line in _remarks(record)),
            "",
        ]
    )


def _columns(record: Record) -> list[str]:
    timed = {contender for outcome in record.outcomes for contender in outcome.timings}
    return [name for name in CONTENDERS if name in timed and name != BASELINE]


def _cell(outcome: Outcome, contender: str, *, spread: bool = False) -> str:
    found = outcome.ratio(contender)
    if found is None:
        return "failed" if contender in outcome.failures else ""
    quartiles = f" [{number(found.low)}, {number(found.high)}]" if spread else ""
    return number(found.median) + quartiles


def _median(outcome: Outcome) -> str:
    timing = outcome.timings.get(BASELINE)
    return "" if timing is None else duration(timing.median)


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        first, *rest = (
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join([first, *rest])


def _remarks(record: Record) -> Iterator[str]:
    yield from (f"absent: {name} ({reason})" for name, reason in record.absent.items())
    yield from (f"not measured: {name}: {reason}" for name, reason in record.lost.items())
    for outcome in record.outcomes:
        yield from (f"failed: {name} on {outcome.workload}: {reason}" for name, reason in outcome.failures.items())
    yield from _growth(record.outcomes)
    yield from _bars(record.outcomes)


def _growth(outcomes: Iterable[Outcome]) -> Iterator[str]:
    """For programs that differ in length alone: the time an operation of the longest over the shortest."""
    families: dict[str, dict[int, Outcome]] = {}
    for outcome in outcomes:
        if outcome.operations is not None:
            families.setdefault(outcome.family, {})[outcome.operations] = outcome
    for family, members in families.items():
        short, long = min(members), max(members)
        for contender, timing in members[short].timings.items():
            longest = members[long].timings.get(contender)
            if short == long or longest is None:
                continue
            grown = ratio(longest, timing).median
            yield (
                f"growth: {family}, {contender}: the time an operation at {long} operations is "
                f"{number(grown * short / long)} times that at {short}"
            )


def _bars(outcomes: Iterable[Outcome]) -> Iterator[str]:
    by_name = {outcome.workload: outcome for outcome in outcomes}
    for bar in BARS:
        margin = bar.margin(by_name[bar.workload]) if bar.workload in by_name else None
        if margin is not None:
            yield f"bar {'met' if margin >= 0 else 'MISSED'}: {bar}"
