"""The import-direction check passes this package, and names every kind of violation made on purpose."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "tools" / "check_imports.py"


def check(root: Path) -> tuple[int, list[str]]:
    result = subprocess.run([sys.executable, str(SCRIPT), str(root)], capture_output=True, text=True)
    return result.returncode, result.stdout.splitlines()


def write_package(root: Path, files: Mapping[str, str]) -> None:
    """A small valid package, with ``files`` laid over it."""
    valid = {
        "__init__.py": "from functrans.api.grad import grad\n",
        "errors.py": "",
        "config.py": "",
        "test_util.py": "from functrans.testing.grads import check_grads\n",
        "util/__init__.py": "",
        "util/lists.py": "import functools\n",
        "core/__init__.py": "from functrans.core.trace import Trace\n",
        "core/trace.py": "import numpy\nfrom functrans.util import lists\nfrom functrans import errors\n",
        "lax/__init__.py": "",
        "lax/basic.py": "from functrans.core import Trace\n",
        "api/__init__.py": "",
        "api/grad.py": "from functrans.lax.basic import Trace\n",
        "backends/__init__.py": "",
        "backends/llvm.py": "def compile():\n    import llvmlite.binding\n",
        "testing/__init__.py": "",
        "testing/grads.py": "import functrans\n",
    }
    for name, text in {**valid, **files}.items():
        path = root / "functrans" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def test_this_package_keeps_the_direction() -> None:
    status, lines = check(ROOT)
    assert "\n".join(lines) == ""
    assert status == 0


def test_a_valid_package_passes(tmp_path: Path) -> None:
    write_package(tmp_path, {})
    assert check(tmp_path) == (0, [])


TYPING = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n"

ALLOWED = {
    "upward for annotations": {
        "core/trace.py": (
            "from __future__ import annotations\n" + TYPING + "    from functrans.api.grad import Grad\n"
            "def f(g: Grad) -> list[Grad]:\n"
            "    h: Grad = g\n"
            "    return [h]\n"
        )
    },
    "types of an optional package": {"core/trace.py": "import typing\nif typing.TYPE_CHECKING:\n    import cupy\n"},
    "an optional package inside a function": {"api/grad.py": "def plot():\n    import matplotlib\n"},
    "the lazy attribute table": {
        "__init__.py": "import importlib\ndef __getattr__(name):\n    return importlib.import_module(name)\n"
    },
    "a sibling named like a package from outside": {"nn/__init__.py": "from functrans.numpy import add\n"}
    | {"numpy/__init__.py": "import numpy\nfrom numpy.linalg import norm\nadd = numpy.add\n"},
    "relative imports": {"api/grad.py": "from ..lax import basic\nfrom . import jvp\n", "api/jvp.py": ""},
}


@pytest.mark.parametrize("case", ALLOWED)
def test_what_is_allowed_passes(tmp_path: Path, case: str) -> None:
    write_package(tmp_path, ALLOWED[case])
    assert check(tmp_path) == (0, [])


# What is laid over the valid package -> the file, line and rule of the one violation, words of its message.
VIOLATIONS: dict[str, tuple[Mapping[str, str], str, str]] = {
    "upward": (
        {"core/tree.py": "import sys\n\nfrom functrans.lax import basic\n"},
        "functrans/core/tree.py:3: layer:",
        "core may import only: absent, config, errors, util",
    ),
    "upward, relative": (
        {"core/tree.py": "from ..lax.basic import Trace\n"},
        "functrans/core/tree.py:1: layer:",
        "imports functrans.lax.basic",
    ),
    "upward, in a function": (
        {"core/tree.py": "def f():\n    import functrans.lax.basic as basic\n    return basic\n"},
        "functrans/core/tree.py:2: layer:",
        "imports functrans.lax.basic",
    ),
    "upward, by import_module": (
        {"core/tree.py": "import importlib\nbasic = importlib.import_module('functrans.lax.basic')\n"},
        "functrans/core/tree.py:2: layer:",
        "imports functrans.lax.basic",
    ),
    "upward, else branch of TYPE_CHECKING": (
        {"core/tree.py": TYPING + "    pass\nelse:\n    from functrans.lax import basic\n"},
        "functrans/core/tree.py:5: layer:",
        "imports functrans.lax.basic",
    ),
    "from the bottom": (
        {"errors.py": "from functrans.core import Trace\n", "core/trace.py": ""},
        "functrans/errors.py:1: layer:",
        "errors may import only: util",
    ),
    "the whole package from inside": (
        {"lax/more.py": "import functrans\n"},
        "functrans/lax/more.py:1: layer:",
        "imports functrans;",
    ),
    "passes beside the API": (
        {"passes/__init__.py": "from functrans.api import grad\n"},
        "functrans/passes/__init__.py:1: layer:",
        "imports functrans.api.grad",
    ),
    "testing": (
        {"api/jvp.py": "from functrans.testing import grads\n"},
        "functrans/api/jvp.py:1: layer:",
        "nothing imports functrans.testing",
    ),
    "testing, for types": (
        {"api/jvp.py": TYPING + "    import functrans.testing.grads\n"},
        "functrans/api/jvp.py:3: layer:",
        "nothing imports functrans.testing",
    ),
    "types used at run time": (
        {"core/tree.py": TYPING + "    from functrans.lax.basic import T\ndef f():\n    return T()\n"},
        "functrans/core/tree.py:3: typing:",
        "line 5 uses it",
    ),
    "third party at module level": (
        {"backends/cupy.py": "import cupy\n"},
        "functrans/backends/cupy.py:1: third-party:",
        "functrans.backends.cupy imports cupy;",
    ),
    "third party, guarded": (
        {"api/jvp.py": "try:\n    from scipy import special\nexcept ImportError:\n    special = None\n"},
        "functrans/api/jvp.py:2: third-party:",
        "functrans.api.jvp imports scipy.special;",
    ),
    "computed": (
        {"core/tree.py": "import importlib\ndef f(name):\n    return importlib.import_module(name)\n"},
        "functrans/core/tree.py:3: dynamic:",
        "a computed import stands only in",
    ),
    "a folder without a row": (
        {"extras/__init__.py": ""},
        "functrans/extras/__init__.py:1: unknown:",
        "functrans/extras has no row in LAYERS",
    ),
}


@pytest.mark.parametrize("case", VIOLATIONS)
def test_each_violation_is_named(tmp_path: Path, case: str) -> None:
    files, place, message = VIOLATIONS[case]
    write_package(tmp_path, files)
    status, lines = check(tmp_path)
    assert status == 1
    assert len(lines) == 1
    assert lines[0].startswith(place)
    assert message in lines[0]


def test_a_cycle_is_named_at_each_of_its_imports(tmp_path: Path) -> None:
    write_package(
        tmp_path,
        {"lax/a.py": "from functrans.lax.b import x\n", "lax/b.py": "from functrans.lax import c\n"}
        | {"lax/c.py": "from . import a\n"},
    )
    status, lines = check(tmp_path)
    assert status == 1
    assert [line.split(": ", 1)[0] for line in lines] == [f"functrans/lax/{name}.py:1" for name in "abc"]
    assert "functrans.lax.a -> functrans.lax.b -> functrans.lax.c -> functrans.lax.a" in lines[0]


def test_a_cycle_hidden_in_a_function_is_named(tmp_path: Path) -> None:
    write_package(
        tmp_path,
        {"lax/a.py": "from functrans.lax.b import x\n"}
        | {"lax/b.py": "def x():\n    from functrans.lax.a import y\n    return y\n"},
    )
    status, lines = check(tmp_path)
    assert status == 1
    assert [line.split(": ", 1)[0] for line in lines] == ["functrans/lax/a.py:1", "functrans/lax/b.py:2"]
    assert "an import put off into a function hides a cycle" in lines[1]


def test_a_root_without_the_package_is_refused(tmp_path: Path) -> None:
    status, lines = check(tmp_path)
    assert (status, lines) == (2, [])
