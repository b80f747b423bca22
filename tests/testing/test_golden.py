"""Golden files: they are read, compared case by case, and written only when asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from functrans import errors
from functrans.core.avals import shaped
from functrans.core.jaxpr import Jaxpr, dce
from functrans.testing.golden import VARIABLE, Case, check_golden, counting, join_cases, split_cases

RIGHT = """\
What this file is for.

=== nothing to do
{ lambda ; a:f64[3] . let
  in (a,) }
---
{ lambda ; a:f64[3] . let
  in (a,) }

=== one goes
{ lambda ; a:f64[3] . let
    b:f64[3] = add a 1.0
  in (a,) }
---
{ lambda ; a:f64[3] . let
  in (a,) }
"""


@pytest.fixture(autouse=True)
def nothing_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


def written(folder: Path, text: str) -> Path:
    path = folder / "case.txt"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_that_is_right(tmp_path: Path) -> None:
    check_golden(written(tmp_path, RIGHT), dce)


def test_the_difference_is_shown(tmp_path: Path) -> None:
    path = written(tmp_path, RIGHT)
    with pytest.raises(AssertionError) as info:
        check_golden(path, lambda jaxpr: jaxpr)
    assert str(info.value) == (
        "case.txt and the code differ. If the code is right, run this test once with FUNCTRANS_GOLDEN=write, and read "
        "what changed.\n"
        "--- case.txt says\n"
        "+++ the code gives\n"
        "@@ -13,4 +13,5 @@\n"
        "   in (a,) }\n"
        " ---\n"
        " { lambda ; a:f64[3] . let\n"
        "+    b:f64[3] = add a 1.0\n"
        "   in (a,) }\n"
    )
    assert path.read_text(encoding="utf-8") == RIGHT


def test_a_text_that_is_not_as_it_would_be_printed(tmp_path: Path) -> None:
    path = written(tmp_path, RIGHT.replace("b:f64[3]", "x:f64[3]"))
    with pytest.raises(AssertionError, match=r"-    x:f64\[3\] = add a 1.0\n\+    b:f64\[3\] = add a 1.0\n"):
        check_golden(path, dce)


def test_a_file_is_written_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new = "What this file is for.\n=== nothing to do\n{ lambda ; z:f64[3] . let in (z,) }\n"
    path = written(tmp_path, new)
    monkeypatch.setenv(VARIABLE, "write")
    check_golden(path, dce)
    assert path.read_text(encoding="utf-8") == RIGHT.partition("\n\n=== one")[0] + "\n"
    monkeypatch.delenv(VARIABLE)
    check_golden(path, dce)


def test_a_file_that_is_right_is_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, RIGHT)
    before = path.stat().st_mtime_ns
    monkeypatch.setenv(VARIABLE, "write")
    check_golden(path, dce)
    assert path.stat().st_mtime_ns == before


def test_any_other_wish_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "1")
    with pytest.raises(errors.ArgumentError, match=r"may be 'write' .* or unset, got '1'"):
        check_golden(written(tmp_path, RIGHT), dce)


def test_a_text_may_be_given_too(tmp_path: Path) -> None:
    text = "=== count\n{ lambda ; a:f64[3] . let\n  in (a,) }\n---\n1 inputs\n"
    check_golden(written(tmp_path, text), lambda jaxpr: f"{len(jaxpr.invars)} inputs")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the golden file case.txt has no case; one begins with a line '=== name'"),
        ("=== a\n{ lambda ; . let in () }\n=== a\n{ lambda ; . let in () }\n", "has two cases named 'a'"),
    ],
)
def test_files_without_meaning(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(errors.ArgumentError, match=message):
        check_golden(written(tmp_path, text), dce)


def test_an_unreadable_or_ill_formed_jaxpr_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, "=== broken\n{ lambda ; . let in (a,) }\n")
    with pytest.raises(errors.JaxprError, match=r"^case.txt, case 'broken': line 1, column 22: no variable 'a'"):
        check_golden(path, dce)
    path = written(tmp_path, "=== ill\n{ lambda ; a:f64[2] . let b:f64[3] = add a 1.0 in (b,) }\n")
    with pytest.raises(errors.JaxprError, match=r"^case.txt, case 'ill': equation 0, `b:f64\[3\] = add a 1.0`: "):
        check_golden(path, dce)


def test_a_transform_that_breaks_the_jaxpr_is_caught(tmp_path: Path) -> None:
    text = "=== uses\n{ lambda ; a:f64[2] . let b:f64[2] = add a 1.0 in (b,) }\n"
    with pytest.raises(errors.JaxprError, match=r"case 'uses': output 0 is a variable that nothing binds"):
        check_golden(written(tmp_path, text), lambda jaxpr: jaxpr.replace(eqns=()))


def test_constants_count(tmp_path: Path) -> None:
    text = "=== constants\n{ lambda b:f64[2] ; a:f64[2] . let\n  in (b, a) }\n---\n[1.0, 2.0]\n"
    path = written(tmp_path, text)

    def first(jaxpr: Jaxpr) -> str:
        return str(jaxpr.consts[0].tolist())

    check_golden(path, first)
    with pytest.raises(AssertionError, match=r"\+\[0.0, 0.0\]"):
        check_golden(path, first, [np.zeros(2)])
    assert counting(shaped((2, 2), np.dtype(np.int8))).tolist() == [[1, 2], [3, 4]]
    assert counting(shaped((), np.dtype(np.complex64))).dtype == np.complex64


def test_splitting_and_joining() -> None:
    remarks, cases = split_cases(RIGHT, "case.txt")
    assert remarks == "What this file is for."
    assert [case.name for case in cases] == ["nothing to do", "one goes"]
    assert cases[1] == Case(
        "one goes",
        "{ lambda ; a:f64[3] . let\n    b:f64[3] = add a 1.0\n  in (a,) }",
        "{ lambda ; a:f64[3] . let\n  in (a,) }",
    )
    assert join_cases(remarks, cases) == RIGHT
