"""Golden tests of passes: a file says what a pass gets and what it gives, as texts that a reader can judge.

A file is a row of cases. Lines in front of the first one are remarks::

    What dead code elimination leaves.

    === an equation that nothing uses goes
    { lambda ; a:f64[3] . let
        b:f64[3] = add a 1.0
      in (a,) }
    ---
    { lambda ; a:f64[3] . let
      in (a,) }

A test is ``check_golden(path, transform)``. To write a case, give its name and its first text and run the test with
``FUNCTRANS_GOLDEN=write`` in the environment, which fills in (or replaces) what the transform gives; then read it.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from functrans import errors
from functrans.core.avals import ShapedArray
from functrans.core.check import check
from functrans.core.jaxpr import Jaxpr
from functrans.core.parser import Consts, from_text

VARIABLE = "FUNCTRANS_GOLDEN"
_CASE = "=== "
_ARROW = "---"

Transform = Callable[[Jaxpr], Jaxpr | str]


class Case(NamedTuple):
    """One case of a file: a jaxpr's text, and the text of what a transform makes of it."""

    name: str
    before: str
    after: str


def counting(aval: ShapedArray) -> np.ndarray:
    """The constant 1, 2, 3, … of a type, which stands for the constants of a jaxpr read from a file."""
    return np.arange(1, aval.size + 1).reshape(aval.shape).astype(aval.dtype)


def check_golden(path: str | Path, transform: Transform, consts: Consts = counting) -> None:
    """Compare what a transform gives with what a file says, case by case.

    Every jaxpr, given or returned, is verified, and must be written as ``str`` writes it.

    Args:
        path: the file.
        transform: from a jaxpr to a jaxpr, or to a text of another kind.
        consts: the constants of the jaxprs in the file, see ``from_text``.

    Raises:
        AssertionError: with the difference, where they are not equal.
        ArgumentError: if the file holds no cases, two of one name, or an unknown wish stands in the environment.
        JaxprError: if a text cannot be read, or a jaxpr is not well formed.
    """
    path = Path(path)
    wish = os.environ.get(VARIABLE, "")
    if wish not in ("", "write"):
        raise errors.ArgumentError(f"{VARIABLE} may be 'write' (to accept what the code gives) or unset, got {wish!r}")
    said = path.read_text(encoding="utf-8")
    remarks, cases = split_cases(said, path.name)
    given = join_cases(remarks, [_run(case, transform, consts, path.name) for case in cases])
    if given == said:
        return
    if wish == "write":
        path.write_text(given, encoding="utf-8")
        return
    difference = "".join(
        difflib.unified_diff(said.splitlines(True), given.splitlines(True), f"{path.name} says", "the code gives")
    )
    raise AssertionError(
        f"{path.name} and the code differ. If the code is right, run this test once with {VARIABLE}=write, and read "
        f"what changed.\n{difference}"
    )


def _run(case: Case, transform: Transform, consts: Consts, file: str) -> Case:
    try:
        before = from_text(case.before, consts)
        check(before)
        after = transform(before)
        if isinstance(after, Jaxpr):
            check(after)
    except errors.JaxprError as error:
        raise errors.JaxprError(f"{file}, case {case.name!r}: {error}") from error
    return Case(case.name, str(before), str(after))


def split_cases(text: str, file: str) -> tuple[str, list[Case]]:
    """The remarks and the cases of a file's text."""
    remarks, *parts = ("\n" + text).split("\n" + _CASE)
    cases = []
    for part in parts:
        name, _, body = part.partition("\n")
        before, _, after = body.partition(f"\n{_ARROW}")
        cases.append(Case(name.strip(), before.strip("\n"), after.strip("\n")))
    names = [case.name for case in cases]
    twice = sorted({name for name in names if names.count(name) > 1})
    if not cases or twice:
        what = f"has two cases named {twice[0]!r}" if twice else f"has no case; one begins with a line '{_CASE}name'"
        raise errors.ArgumentError(f"the golden file {file} {what}")
    return remarks.strip("\n"), cases


def join_cases(remarks: str, cases: list[Case]) -> str:
    """The inverse of ``split_cases``."""
    blocks = [f"{_CASE}{case.name}\n{case.before}\n{_ARROW}\n{case.after}" for case in cases]
    return "\n\n".join([remarks, *blocks] if remarks else blocks) + "\n"
