"""The command as a user runs it, with the smallest budget, on functrans and NumPy alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import worker
from benchmarks.__main__ import main
from benchmarks.workloads import WORKLOADS

ROOT = Path(__file__).parents[2]


def benchmarks(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_quick_run_of_all_workloads_on_functrans_and_numpy(tmp_path: Path) -> None:
    chosen = ["--contenders", "functrans", "functrans-np", "numpy"]
    finished = benchmarks("--quick", *chosen, "--json", str(tmp_path / "out.json"), "--results", str(tmp_path))
    assert finished.returncode == 0, finished.stdout + finished.stderr
    data = json.loads((tmp_path / "out.json").read_text())
    assert [outcome["workload"] for outcome in data["outcomes"]] == list(WORKLOADS)
    for outcome in data["outcomes"]:
        assert outcome["failures"] == {}
        for timing in outcome["timings"].values():
            assert len(timing["samples"]) == 2
            assert all(sample > 0 for sample in timing["samples"])
    assert data["versions"].keys() == {"functrans", "numpy"}
    (results,) = tmp_path.glob("*.md")
    assert "| dispatch/chain_10 |" in results.read_text()


def test_filter_and_repeat(tmp_path: Path) -> None:
    written = tmp_path / "out.json"
    finished = benchmarks(
        "--quick", "--repeat", "3", "--filter", "import/", "--contenders", "numpy", "--json", str(written)
    )
    assert finished.returncode == 0, finished.stderr
    (outcome,) = json.loads(written.read_text())["outcomes"]
    assert outcome["workload"] == "import/library"
    assert {name: (t["calls"], len(t["samples"])) for name, t in outcome["timings"].items()} == {"numpy": (1, 3)}


def test_a_measuring_process_that_dies_is_reported_with_what_it_took(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def dead(request: worker.Request) -> worker.Group:
        raise worker.WorkerFailed("the measuring process ended with status 9")

    monkeypatch.setattr(worker, "start", dead)
    assert main(["--quick", "--filter", "import/"]) == 1
    text = capsys.readouterr().out
    assert "not measured: import/library: the measuring process ended with status 9" in text


def test_list_prints_the_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list", "--filter", "dispatch", "hessian"]) == 0
    assert capsys.readouterr().out.split() == [n for n in WORKLOADS if "dispatch" in n or "hessian" in n]


def test_a_filter_that_matches_nothing_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--filter", "no such workload"]) == 2
    assert "no workload's name contains any of ['no such workload']" in capsys.readouterr().err


def test_an_unknown_contender_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--contenders", "fortran"])
    assert "invalid choice: 'fortran'" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["0", "-1"])
def test_a_number_of_rounds_must_be_positive(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([f"--repeat={text}"])
    assert f"{text} is not positive" in capsys.readouterr().err
