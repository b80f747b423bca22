"""Prints the two set-up commands of the README, one a line, in the order in which they stand there.

    python tools/readme_commands.py [README]

A set-up command is the only line of a fenced code block and begins with ``python -m pip install``. The README
holds exactly two, so that a reader of a fresh machine cannot miss a step; anything else is an error.
"""

from __future__ import annotations

import sys
from pathlib import Path

from fenced_blocks import UnclosedBlockError, blocks

PREFIX = "python -m pip install"


class ReadmeError(Exception):
    """The README does not keep to its two set-up commands; the message says where and how to mend it."""


def setup_commands(text: str) -> list[str]:
    """The two set-up commands of a README's text.

    Raises:
      ReadmeError: there are not exactly two, or one shares its code block with other lines.
    """
    commands = []
    for block in blocks(text):
        body = [line.strip() for line in block.text.splitlines() if line.strip()]
        if not any(line.startswith(PREFIX) for line in body):
            continue
        if len(body) != 1:
            raise ReadmeError(
                f"line {block.line}: a code block with a set-up command has {len(body)} lines; join them "
                "with && into one, in a block of its own"
            )
        commands.append(body[0])
    if len(commands) != 2:
        raise ReadmeError(
            f"found {len(commands)} set-up commands, expected 2: code blocks of one line that begins with "
            f"`{PREFIX}`, one for the main example and one for the tests"
        )
    return commands


def main(arguments: list[str]) -> int:
    path = Path(arguments[0]) if arguments else Path(__file__).resolve().parent.parent / "README.md"
    try:
        commands = setup_commands(path.read_text(encoding="utf-8"))
    except (ReadmeError, UnclosedBlockError, OSError) as error:
        print(f"{path.name}: {error}", file=sys.stderr)
        return 1
    print("\n".join(commands))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
