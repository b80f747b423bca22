"""What `import functrans` does not do: load other packages, start threads or processes, write files."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]

# NumPy comes first, so that what it does on import (starting the threads of its BLAS) is not counted as ours.
PROBE = """
import json, os, sys, threading
import numpy

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
STARTING = ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system", "os.exec",
            "_thread.start_new_thread", "ctypes.dlopen", "socket.__new__", "mmap.__new__")
events = []

def watch(event, arguments):
    if event in STARTING or (event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING):
        events.append(f"{event} {arguments}")

def native_threads():
    folder = "/proc/self/task"
    return len(os.listdir(folder)) if os.path.isdir(folder) else threading.active_count()

modules, threads = set(sys.modules), native_threads()
sys.addaudithook(watch)
import functrans
seen = list(events)
print(json.dumps({
    "events": seen,
    "modules": sorted(set(sys.modules) - modules),
    "threads": native_threads() - threads,
    "python_threads": threading.active_count(),
    "version": getattr(functrans, "__version__", None),
}))
"""


@cache
def probe() -> Any:
    # -B: the interpreter's own writing of bytecode is no doing of the package.
    command = [sys.executable, "-B", "-W", "error", "-c", PROBE]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_no_other_package_is_loaded() -> None:
    roots = {name.partition(".")[0] for name in probe()["modules"]}
    assert roots - set(sys.stdlib_module_names) - {"functrans", "numpy"} == set()


def test_no_thread_or_process_starts_and_nothing_is_written() -> None:
    assert probe()["events"] == []
    assert probe()["threads"] == 0
    assert probe()["python_threads"] == 1


def test_the_number_of_modules_is_bounded() -> None:
    modules = probe()["modules"]
    ours = [name for name in modules if name.partition(".")[0] == "functrans"]
    others = sorted(set(modules) - set(ours))
    assert 0 < len(ours) <= 220
    assert len(others) <= 40, others


@pytest.mark.parametrize("name", ["testing", "backends.llvm", "backends.cupy"])
def test_what_few_need_is_not_loaded(name: str) -> None:
    assert f"functrans.{name}" not in probe()["modules"]


@pytest.mark.parametrize("name", ["asyncio", "concurrent.futures", "multiprocessing", "subprocess"])
def test_costly_standard_modules_are_not_loaded(name: str) -> None:
    assert name not in probe()["modules"]


def test_the_version_is_that_of_the_project_file() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert probe()["version"] == project["version"]
    assert project["dependencies"] == ["numpy>=2.0"]
