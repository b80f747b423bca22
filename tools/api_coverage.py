"""Which of the names that users expect the package has, module by module.

    python tools/api_coverage.py [NAMES]

NAMES is a file of names (by default ``api_names.txt`` beside this one): a module in brackets, then its names. For
each module what is missing is printed, and what is absent with a reason, as ``functrans/absent.py`` lists it. The
exit status is 1 where less than 97 % of the names are there, where a name is missing without a reason, or where a
reason stands for a name that exists.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NAMES = Path(__file__).resolve().parent / "api_names.txt"
REQUIRED = 97.0


@dataclass(frozen=True)
class Coverage:
    """One module's names: all that are expected, those missing, and those absent with a reason."""

    module: str
    names: tuple[str, ...]
    missing: tuple[str, ...]
    absent: tuple[str, ...]
    """Missing ones that ``functrans/absent.py`` gives a reason for."""
    outdated: tuple[str, ...]
    """Names with a reason to be absent that exist."""

    @property
    def present(self) -> int:
        return len(self.names) - len(self.missing) - len(self.absent)


def read_names(lines: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The expected names by module."""
    found: dict[str, list[str]] = {}
    names: list[str] | None = None
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if text.startswith("["):
            names = found.setdefault(text.strip("[]"), [])
        elif text and names is None:
            raise ValueError(f"line {number}: names come behind a module in brackets, got {text!r}")
        elif names is not None:
            names.extend(text.split())
    return {module: tuple(members) for module, members in found.items()}


def lookup(module: str) -> object | None:
    """A module as users reach it, by attributes of the package; None where there is none."""
    package, *parts = module.split(".")
    found: object = importlib.import_module(package)
    for part in parts:
        try:
            found = getattr(found, part)
        except (AttributeError, ImportError):
            return None
    return found


def measure(module: str, names: tuple[str, ...], reasons: Iterable[str]) -> Coverage:
    found = lookup(module)
    lacking = [n for n in names if found is None or not hasattr(found, n)]
    reasons = set(reasons)
    return Coverage(
        module,
        names,
        tuple(n for n in lacking if n not in reasons),
        tuple(n for n in lacking if n in reasons),
        tuple(sorted(n for n in reasons if found is not None and hasattr(found, n))),
    )


def main(arguments: list[str]) -> int:
    sys.path.insert(0, str(ROOT))
    from functrans.absent import ABSENT

    expected = read_names(Path(arguments[0] if arguments else NAMES).read_text(encoding="utf-8").splitlines())
    rows = [measure(module, names, ABSENT.get(module, {})) for module, names in expected.items()]
    for row in rows:
        notes = [f"missing: {' '.join(row.missing)}"] if row.missing else []
        notes += [f"absent for a reason: {' '.join(row.absent)}"] if row.absent else []
        notes += [f"listed as absent, but there: {' '.join(row.outdated)}"] if row.outdated else []
        print(f"{row.module}: {row.present} of {len(row.names)}{'; ' if notes else ''}{'; '.join(notes)}")
    total = sum(len(row.names) for row in rows)
    share = 100.0 * sum(row.present for row in rows) / total
    missing = sum(len(row.missing) for row in rows)
    outdated = sum(len(row.outdated) for row in rows)
    absent = sum(len(row.absent) for row in rows)
    print(f"{share:.1f} % of {total} names; {missing} missing, {absent} absent for a reason")
    return 1 if share < REQUIRED or missing or outdated else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
