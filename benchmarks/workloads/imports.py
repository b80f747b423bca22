"""How long a new interpreter takes to import each library and to end."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from types import ModuleType

from benchmarks.workload import Call, Workload


def in_new_interpreter(module: ModuleType) -> Call:
    """The first call, which is not timed, compiles the library to bytecode, as its installation does."""
    folder = tempfile.TemporaryDirectory()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", f"import {module.__name__}"]

    def call() -> None:
        subprocess.run(command, env=environment | {"PYTHONPYCACHEPREFIX": folder.name}, check=True)

    return call


WORKLOADS = (
    Workload(
        "import/library",
        tuple,
        dict.fromkeys(("functrans", "numpy", "autograd", "jax", "torch"), in_new_interpreter),
        tolerance=0.0,
    ),
)
