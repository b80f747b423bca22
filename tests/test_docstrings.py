"""The examples in the docstrings of every module of the package run, and give what they say."""

from __future__ import annotations

import doctest
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "functrans").rglob("*.py")
)


def documented(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """What the standard finder passes over: objects made by calls, with docstrings of their own.

    These are callables that are no plain functions, and functions that a constructor in another module built.
    """
    for name, value in vars(module).items():
        if not callable(value) or isinstance(value, type):
            continue
        if getattr(value, "__module__", None) != module.__name__:
            continue
        if getattr(value, "__globals__", None) is not vars(module) and value.__doc__ != type(value).__doc__:
            yield name, value


def examples(module: ModuleType) -> Iterator[doctest.DocTest]:
    found = {test.name: test for test in doctest.DocTestFinder().find(module, module.__name__)}
    parser = doctest.DocTestParser()
    for name, value in documented(module):
        full_name = f"{module.__name__}.{name}"
        test = parser.get_doctest(value.__doc__ or "", dict(vars(module)), full_name, module.__file__, None)
        found.setdefault(full_name, test)
    yield from found.values()


def run_examples(module: ModuleType) -> tuple[doctest.TestResults, str]:
    report: list[str] = []
    runner = doctest.DocTestRunner(verbose=False, optionflags=OPTIONS)
    for test in examples(module):
        runner.run(test, out=report.append)
    return doctest.TestResults(runner.failures, runner.tries), "".join(report)


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_say(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    results, report = run_examples(importlib.import_module(name))
    assert results.failed == 0, report


FAMILIES = """
def build(doc, module):
    def built():
        return None
    built.__doc__, built.__module__ = doc, module
    return built

class Wrapper:
    def __init__(self, doc, module):
        self.__doc__, self.__module__ = doc, module
    def __call__(self):
        return None
"""

MADE_UP = """
from families import Wrapper, build

def plain():
    '''
    >>> 1 + 1
    3
    '''

built = build(">>> 2 * 2\\n5", __name__)
wrapped = Wrapper(">>> 'a' + 'b'\\n'abc'", __name__)
right = build(">>> 'from', 'by', 'on'\\n('from', ... 'on')", __name__)
"""


def test_a_wrong_example_is_found_wherever_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "families.py").write_text(FAMILIES, encoding="utf-8")
    (tmp_path / "made_up.py").write_text(MADE_UP, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("families", "made_up"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
        monkeypatch.delitem(sys.modules, name)
    results, report = run_examples(importlib.import_module("made_up"))
    assert (results.failed, results.attempted) == (3, 4)
    for name in ("plain", "built", "wrapped"):
        assert f"in made_up.{name}" in report
