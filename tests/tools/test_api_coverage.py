"""The coverage tool reads names, and tells missing ones from those absent for a reason, which they give."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from api_coverage import NAMES, lookup, measure, read_names

import functrans as ft
from functrans import errors
from functrans.absent import ABSENT

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "tools" / "api_coverage.py"


def run(names: Path) -> tuple[int, list[str]]:
    result = subprocess.run([sys.executable, str(SCRIPT), str(names)], capture_output=True, text=True)
    return result.returncode, result.stdout.splitlines()


def test_names_are_read_by_module() -> None:
    assert read_names(["# a comment", "[one.two]", "a b", "c # not d", "", "[three]"]) == {
        "one.two": ("a", "b", "c"),
        "three": (),
    }
    with pytest.raises(ValueError, match="line 2"):
        read_names(["", "a b"])


def test_this_package_is_covered() -> None:
    expected = read_names(NAMES.read_text(encoding="utf-8").splitlines())
    assert len(expected) > 20 and sum(map(len, expected.values())) > 900
    rows = [measure(module, names, ABSENT.get(module, {})) for module, names in expected.items()]
    assert {row.module: row.missing for row in rows if row.missing} == {}
    assert {row.module: row.outdated for row in rows if row.outdated} == {}
    assert sum(row.present for row in rows) >= 0.97 * sum(len(row.names) for row in rows)


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        ("[functrans]\ngrad jit vmap\n", 0, "functrans: 3 of 3"),
        ("[functrans]\ngrad nothing_of_the_kind\n", 1, "missing: nothing_of_the_kind"),
        ("[functrans.no_such_module]\na b\n", 1, "0 of 2"),
        ("[functrans.numpy]\n" + " ".join(f"sin cos n{i}" for i in range(1)) + "\n", 1, "2 of 3"),
    ],
)
def test_what_is_missing_is_printed(text: str, status: int, words: str, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text(text, encoding="utf-8")
    code, lines = run(names)
    assert code == status
    assert any(words in line for line in lines)
    assert lines[-1].count("%") == 1


def test_absent_names_count_apart() -> None:
    row = measure("functrans", ("grad", "ds", "nothing"), ("ds", "jit"))
    assert (row.present, row.missing, row.absent, row.outdated) == (1, ("nothing",), ("ds",), ("jit",))
    assert lookup("functrans.no_such_module") is None


@pytest.mark.parametrize(("module", "name"), [(m, n) for m, names in ABSENT.items() for n in names])
def test_an_absent_name_gives_its_reason(module: str, name: str) -> None:
    found = lookup(module)
    assert not hasattr(found, name)
    with pytest.raises(errors.AbsentNameError, match=f"{module}.{name} does not exist: ") as info:
        getattr(found, name)
    assert ABSENT[module][name] in str(info.value)
    assert isinstance(info.value, AttributeError)


def test_any_other_name_is_plainly_missing() -> None:
    with pytest.raises(AttributeError, match="module 'functrans' has no attribute 'nothing_of_the_kind'") as info:
        ft.nothing_of_the_kind  # noqa: B018
    assert not isinstance(info.value, errors.AbsentNameError)
