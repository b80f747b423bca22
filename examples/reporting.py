"""What the examples share: command line, choice of data, tables, progress bars, plots.

tqdm and Matplotlib are optional: without them an example says so in one line, and computes the same.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from datasets import IdxError, Splits, get_mnist, load_digits

T = TypeVar("T")

QUICK_VARIABLE = "FUNCTRANS_EXAMPLES_QUICK"
DEFAULT_OUTPUT = Path(__file__).parent / "output"
INSTALL = 'python -m pip install -e ".[examples]"'


class Report:
    """Where an example's results go: tables and notes to the terminal, plots to a folder.

    Attributes:
        output: the folder for plots and drawings, made when the first one is written.
        quick: whether to do less work, which shows that everything runs but not all that it can do.
    """

    def __init__(self, output: Path = DEFAULT_OUTPUT, *, quick: bool = False) -> None:
        self.output = output
        self.quick = quick
        self._said: set[str] = set()

    def heading(self, text: str) -> None:
        print(f"\n{text}\n{'-' * len(text)}")

    def say(self, *lines: str) -> None:
        print(*lines, sep="\n")

    def table(self, headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        print(table(headers, rows))

    def progress(self, items: Iterable[T], description: str, total: int | None = None) -> Iterable[T]:
        """The items, with a progress bar on the standard error stream while they are gone through."""
        tqdm = self._optional("tqdm", "no progress bars")
        if tqdm is None:
            return items
        bar: Iterable[T] = tqdm.tqdm(items, desc=description, total=total, leave=False, file=sys.stderr)
        return bar

    def plot(self, name: str, size: tuple[float, float], draw: Callable[[Any], None]) -> Path | None:
        """Have ``draw`` fill a Matplotlib figure of ``size`` inches, and save it as ``name``.png."""
        if self._optional("matplotlib", "no plots") is None:
            return None
        # A Figure of its own needs neither pyplot nor a display, and leaves no state behind.
        figure = importlib.import_module("matplotlib.figure").Figure(figsize=size, layout="constrained")
        draw(figure)
        path = self._path(f"{name}.png")
        figure.savefig(path, dpi=110)
        print(f"plot: {_shown(path)}")
        return path

    def write(self, name: str, text: str) -> Path:
        path = self._path(name)
        path.write_text(text, encoding="utf-8")
        print(f"file: {_shown(path)}")
        return path

    def _path(self, name: str) -> Path:
        self.output.mkdir(parents=True, exist_ok=True)
        return self.output / name

    def _optional(self, module: str, consequence: str) -> Any:
        try:
            return importlib.import_module(module)
        except ImportError:
            if module not in self._said:
                self._said.add(module)
                print(f"({module} is not installed: {consequence}; {INSTALL} brings it)")
            return None


def argument_parser(documentation: str | None) -> argparse.ArgumentParser:
    """A parser with the options that every example has; the module's docstring is its help text."""
    parser = argparse.ArgumentParser(description=documentation, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick",
        action="store_true",
        default=os.environ.get(QUICK_VARIABLE) == "1",
        help=f"do less work (also by the environment variable {QUICK_VARIABLE}=1)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=DEFAULT_OUTPUT,
        help="folder for plots (default: output/ beside the examples)",
    )
    return parser


def positive(text: str) -> int:
    """The type of an option that counts something."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not positive")
    return number


def mnist_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--mnist", metavar="FOLDER", help="train on MNIST, from its four IDX files in FOLDER")


def splits_of(options: argparse.Namespace, *, flatten: bool = True, dtype: npt.DTypeLike = np.float64) -> Splits:
    """The data that the command line asks for, labels one-hot. A folder without MNIST ends the program."""
    if not options.mnist:
        return load_digits(flatten, onehot=True, dtype=dtype)
    try:
        return get_mnist(options.mnist, flatten, onehot=True, dtype=dtype)
    except (FileNotFoundError, IdxError) as error:
        raise SystemExit(str(error)) from error


def report_of(options: argparse.Namespace) -> Report:
    return Report(options.output, quick=options.quick)


def require(module: str, purpose: str) -> None:
    """End the program with one line where a package that the example is about is missing."""
    if importlib.util.find_spec(module) is None:
        raise SystemExit(f"this example needs {module} {purpose}; {INSTALL} brings it")


def table(headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A text table: the first column to the left, the others to the right.

    >>> print(table(["method", "loss"], [["by hand", 0.25], ["jit", 1e-9]]))
    method    loss
    -------  -----
    by hand   0.25
    jit      1e-09
    """
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headers, *cells, strict=True)]

    def line(row: Sequence[str]) -> str:
        first, *rest = (
            text.ljust(w) if i == 0 else text.rjust(w) for i, (text, w) in enumerate(zip(row, widths, strict=True))
        )
        return "  ".join([first, *rest]).rstrip()

    return "\n".join([line(headers), "  ".join("-" * width for width in widths), *map(line, cells)])


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _shown(path: Path) -> str:
    """A path as the reader would type it."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
