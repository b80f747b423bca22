"""The conformance tool counts outcomes, and says where this namespace does worse than NumPy."""

from __future__ import annotations

from pathlib import Path

import array_api_conformance
import numpy as np
import pytest
from traced_namespace import xp

SUITE = """
import importlib, os
import numpy as np

spec = os.environ["ARRAY_API_TESTS_MODULE"]
if spec.startswith("exec("):
    scope = {}
    exec(eval(spec[4:]), scope)
    xp = scope["xp"]
else:
    xp = importlib.import_module(spec)


def test_values():
    assert xp.sum(xp.asarray([1.0, 2.0])) == 3.0


def test_what_both_lack():
    assert hasattr(xp, "nothing_of_the_kind")


def test_whose_it_is():
    assert xp.sin is np.sin
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    (tmp_path / "array_api_tests").mkdir()
    (tmp_path / "array_api_tests" / "test_it.py").write_text(SUITE, encoding="utf-8")
    (tmp_path / "conftest.py").write_text(
        "def pytest_addoption(parser):\n"
        "    parser.addoption('--derandomize', action='store_true')\n"
        "    parser.addoption('--disable-deadline', action='store_true')\n"
        "    parser.addoption('--max-examples', type=int)\n",
        encoding="utf-8",
    )
    return tmp_path


def test_what_is_worse_than_numpy_is_named(suite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert array_api_conformance.main([str(suite)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [
        "numpy: 2 passed, 1 failed, 0 skipped",
        "functrans.numpy: 1 passed, 2 failed, 0 skipped",
    ]
    assert lines[2].endswith("test_whose_it_is")
    assert lines[3].startswith("1 tests fail or are skipped")


def test_a_path_without_the_suite_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        array_api_conformance.main([str(tmp_path)])
    assert "array_api_tests" in capsys.readouterr().err


def test_the_traced_namespace_traces() -> None:
    x = np.array([3.0, 1.0, 3.0])
    assert xp.sum(x) == 7.0
    assert xp.unique_values(x).tolist() == [1.0, 3.0]
    assert xp.asarray([1, 2]).tolist() == [1, 2]
    assert xp.linalg.vector_norm(x) == np.linalg.norm(x)
    assert xp.isdtype(x.dtype, "real floating")
    assert xp.pi == np.pi
