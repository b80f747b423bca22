"""Every Python block of the README and of the documentation runs.

The blocks of one file share one namespace, in order. The info string after the fence says what a block is:

``python``              runs.
``python error=Name``   raises the exception of that name.
``output``              what the block before it prints, or ``Name: message`` where that one raises; ``...``
                        in it stands for any text.

Other languages are left alone. Snippets run in an empty folder, with warnings as errors.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import sys
from pathlib import Path
from types import ModuleType

import pytest
from fenced_blocks import Block, UnclosedBlockError, blocks

ROOT = Path(__file__).resolve().parents[1]
FILES = ["README.md", *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))]


def expected_error(block: Block) -> str | None:
    """The exception that a Python block announces."""
    attributes = block.info.split()[1:]
    if not attributes:
        return None
    key, _, name = attributes[0].partition("=")
    assert len(attributes) == 1 and key == "error" and name, (
        f"line {block.line}: unknown info string {block.info!r}; it is `python` or `python error=Name`"
    )
    return name


def run_block(block: Block, path: Path, namespace: dict[str, object]) -> str:
    """What the block prints, with the error it announces on the last line."""
    # Line numbers, and with them tracebacks and inspect.getsource, are those of the Markdown file.
    code = compile("\n" * block.line + block.text, str(path), "exec")
    announced = expected_error(block)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        if announced is None:
            exec(code, namespace)
        else:
            with pytest.raises(Exception) as raised:
                exec(code, namespace)
            assert raised.type.__name__ == announced, f"line {block.line}: raised {raised.value!r}"
            print(f"{announced}: {raised.value}")
    return printed.getvalue()


def run_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType(f"snippets_of_{path.stem}")
    monkeypatch.setitem(sys.modules, module.__name__, module)  # dataclasses and pickle look modules up there
    checker = doctest.OutputChecker()
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.REPORT_NDIFF
    printed: str | None = None
    for block in blocks(path.read_text(encoding="utf-8")):
        language = block.info.partition(" ")[0]
        if language == "python":
            printed = run_block(block, path, vars(module))
        elif language == "output":
            assert printed is not None, f"line {block.line}: an output block follows no Python block"
            example = doctest.Example("", block.text)
            if not checker.check_output(block.text, printed, options):
                pytest.fail(f"line {block.line}: {checker.output_difference(example, printed, options)}")
            printed = None


@pytest.mark.parametrize("name", FILES)
def test_snippets_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_file(ROOT / name, monkeypatch)


GOOD = """
```python
import inspect
def double(x):
    return 2 * x
print(double(3), "and more")
```
```output
6 ...
```

A block in a list, and the namespace that all blocks share:

  ~~~python
  print(inspect.getsource(double))
  ~~~
  ~~~output
  def double(x):
      return 2 * x
  ~~~
```python error=KeyError
{}["absent"]
```
```output
KeyError: 'absent'
```
```sh
this is left alone
```
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "page.md"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_good_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_file(write(tmp_path, GOOD), monkeypatch)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("```python\n1 / 0\n```", ZeroDivisionError, "division by zero"),
        ("```python\nimport warnings\nwarnings.warn('old')\n```", UserWarning, "old"),
        ("```python\nprint(1)\n```\n```output\n2\n```", pytest.fail.Exception, "line 4"),
        ("```python error=KeyError\nint('a')\n```", AssertionError, "line 1: raised ValueError"),
        ("```python error=KeyError\n1\n```", pytest.fail.Exception, "DID NOT RAISE"),
        ("```python skip\n1\n```", AssertionError, "line 1: unknown info string"),
        ("```output\n1\n```", AssertionError, "line 1: an output block follows no Python block"),
        ("```python\n1\n", UnclosedBlockError, "line 1: the code block is never closed"),
    ],
)
def test_a_wrong_page_fails(
    text: str, error: type[BaseException], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = write(tmp_path, text)
    with pytest.raises(error, match=message):
        run_file(page, monkeypatch)
