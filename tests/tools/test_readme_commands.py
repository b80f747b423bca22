"""The README holds exactly two set-up commands, and the tool that reads them notices when it does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "tools" / "readme_commands.py"

RUN = 'python -m pip install -e ".[examples]" && python examples/logistic_regression.py'
TEST = 'python -m pip install -e ".[test]" && python -m pytest'


def block(*lines: str) -> str:
    return "\n".join(["", "```sh", *lines, "```", ""])


def read(readme: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), str(readme)], capture_output=True, text=True)


def test_this_readme_has_the_two_commands() -> None:
    result = read(ROOT / "README.md")
    assert (result.stderr, result.returncode) == ("", 0)
    assert result.stdout.splitlines() == [RUN, TEST]


def test_the_commands_come_in_order(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    more = block("python -m pytest -m full") + f"\nIn a sentence: `{RUN}`\n" + block("x = 1", "y = 2")
    readme.write_text("# Title\n" + block(TEST) + more + "~~~\n\n" + RUN + "\n\n~~~\n", encoding="utf-8")
    result = read(readme)
    assert (result.stdout.splitlines(), result.returncode) == ([TEST, RUN], 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# Title\n", "found 0 set-up commands, expected 2"),
        (block(RUN), "found 1 set-up commands, expected 2"),
        (block(RUN) + block(TEST) + block("python -m pip install ruff"), "found 3 set-up commands"),
        (block(RUN) + block(*TEST.split(" && ")), "line 6: a code block with a set-up command has 2 lines"),
        (block(RUN) + f"```\n{TEST}\n", "line 5: the code block is never closed"),
    ],
)
def test_any_other_readme_is_refused(tmp_path: Path, text: str, message: str) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(text, encoding="utf-8")
    result = read(readme)
    assert (result.stdout, result.returncode) == ("", 1)
    assert message in result.stderr


def test_an_absent_readme_is_refused(tmp_path: Path) -> None:
    result = read(tmp_path / "README.md")
    assert (result.stdout, result.returncode) == ("", 1)
    assert "README.md" in result.stderr
