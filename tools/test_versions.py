"""Runs tests of the native backend on the ends of the versions that it supports, in virtual environments.

    python tools/test_versions.py [--all] [--tests PATH ...]

Each row of ``ROWS`` whose interpreter is there gets an environment of its own, which is deleted afterwards; an
interpreter is looked for on the search path as ``python3.x``, and below ``~/.pyenv/versions``. By default the two ends
are run, with ``--all`` every row. The exit status is 1 if any of them fails, or if no interpreter was found.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Python, llvmlite, NumPy: the oldest and the newest first.
ROWS = (
    ("3.11", "llvmlite==0.45.*", "numpy==2.0.*"),
    ("3.13", "llvmlite", "numpy"),
    ("3.12", "llvmlite==0.47.*", "numpy==2.2.*"),
    ("3.11", "llvmlite", "numpy"),
    ("3.14", "llvmlite", "numpy"),
)
NEEDED = ("pytest>=8.0", "hypothesis>=6.100", "ml_dtypes>=0.5", "scipy>=1.13")
TESTS = ("tests/backends/test_llvm.py", "tests/backends/llvm/test_cache.py", "tests/backends/llvm/test_dispatch.py")


def interpreter(version: str) -> str | None:
    """A Python of that version, None where there is none."""
    candidates = [
        shutil.which(f"python{version}"),
        *sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python")),
    ]
    for candidate in candidates:
        if candidate is not None:
            asked = subprocess.run([candidate, "-c", "import sys; print(sys.version)"], capture_output=True, text=True)
            if asked.returncode == 0 and asked.stdout.startswith(f"{version}."):
                return str(candidate)
    return None


def run(python: str, packages: tuple[str, ...], tests: list[str]) -> bool:
    """Whether the tests pass in a new environment with these packages."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([python, "-m", "venv", folder], check=True)
        own = str(Path(folder) / ("Scripts" if sys.platform == "win32" else "bin") / "python")
        subprocess.run([own, "-m", "pip", "install", "--quiet", *packages, *NEEDED], check=True)
        environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
        command = [own, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
        return subprocess.run(command, cwd=ROOT, env=environment).returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="every row, and not the ends alone")
    parser.add_argument("--tests", nargs="+", default=list(TESTS), metavar="PATH", help="what is run")
    chosen = parser.parse_args()
    done: list[bool] = []
    for version, *packages in ROWS if chosen.all else ROWS[:2]:
        python = interpreter(version)
        if python is None:
            print(f"Python {version}: no interpreter found")
            continue
        print(f"Python {version}, {', '.join(packages)}", flush=True)
        done.append(run(python, tuple(packages), chosen.tests))
    return 0 if done and all(done) else 1


if __name__ == "__main__":
    sys.exit(main())
