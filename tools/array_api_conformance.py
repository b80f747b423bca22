"""Runs the public conformance suite of the array API standard on ``functrans.numpy`` and on NumPy.

    python tools/array_api_conformance.py PATH [--traced] [--examples N] [-- PYTEST ARGUMENTS]

PATH is a checkout of ``data-apis/array-api-tests`` with its submodule and its requirements installed. Printed are the
numbers of tests that pass, fail and are skipped, and the tests that fail or are skipped here and not with NumPy; the
exit status is 1 where there are any. With ``--traced`` every function is compiled and run, see
``tools/traced_namespace.py``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as xml
from collections.abc import Sequence
from pathlib import Path

TOOLS = Path(__file__).resolve().parent
MODULES = {
    "numpy": "numpy",
    "functrans.numpy": "functrans.numpy",
    "functrans.numpy, traced": "exec('from traced_namespace import xp')",
}


def outcomes(report: Path) -> dict[str, str]:
    """What became of each test, from a report in the JUnit format: passed, failed or skipped."""
    found = {}
    for case in xml.parse(report).getroot().iter("testcase"):
        kinds = {child.tag for child in case}
        outcome = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        found[f"{case.get('classname')}::{case.get('name')}"] = outcome
    return found


def nodes(tests: list[str]) -> list[str]:
    """Tests of a report as pytest takes them."""
    return [f"{module.replace('.', '/')}.py::{name}" for module, _, name in (t.partition("::") for t in tests)]


def run(
    suite: Path, module: str, examples: int, arguments: list[str], tests: Sequence[str] = ("array_api_tests",)
) -> dict[str, str]:
    """The outcomes of the suite, or some of its tests, with an array module, the same examples at every run."""
    path = os.pathsep.join([str(TOOLS.parent), str(TOOLS), os.environ.get("PYTHONPATH", "")])
    version = "from numpy import __array_api_version__ as v; print(v)"
    newest = subprocess.run([sys.executable, "-c", version], capture_output=True, text=True, check=True).stdout.strip()
    environment = {
        **os.environ,
        "PYTHONPATH": path,
        "ARRAY_API_TESTS_MODULE": MODULES[module],
        "ARRAY_API_TESTS_VERSION": newest,
    }
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [
            *(sys.executable, "-m", "pytest", *tests, "-q", "--tb=no", "-p", "no:cacheprovider"),
            *("--derandomize", "--disable-deadline", f"--max-examples={examples}", f"--junitxml={report}", *arguments),
        ]
        finished = subprocess.run(command, cwd=suite, env=environment, capture_output=True, text=True)
        if not report.is_file():
            raise SystemExit(f"the suite did not run with {module}:\n{finished.stdout}{finished.stderr}")
        return outcomes(report)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="The array API suite on functrans.numpy and on NumPy.")
    parser.add_argument("path", type=Path, help="a checkout of data-apis/array-api-tests")
    parser.add_argument("--traced", action="store_true", help="compile and run every function")
    parser.add_argument("--examples", type=int, default=100, help="examples a test (100)")
    parser.add_argument("rest", nargs="*", help="arguments for pytest, behind --")
    options = parser.parse_args(arguments)
    if not (options.path / "array_api_tests").is_dir():
        parser.error(f"{options.path} holds no folder array_api_tests")
    ours = "functrans.numpy, traced" if options.traced else "functrans.numpy"
    results = {}
    for module in ("numpy", ours):
        results[module] = run(options.path, module, options.examples, options.rest)
        counts = {kind: list(results[module].values()).count(kind) for kind in ("passed", "failed", "skipped")}
        print(f"{module}: {counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    worse = [t for t, o in results[ours].items() if o != "passed" and results["numpy"].get(t) != o]
    if worse:
        # Which examples are drawn depends on what is loaded: with more of them NumPy may fail there, too.
        again = run(options.path, "numpy", 25 * options.examples, options.rest, nodes(worse))
        worse = [t for t in worse if again.get(t) == "passed"]
    for test in worse:
        print(f"  {results[ours][test]} with {ours} alone: {test}")
    print(f"{len(worse)} tests fail or are skipped with {ours} and not with NumPy")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
