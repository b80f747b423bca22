"""The fenced code blocks of a Markdown text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


class UnclosedBlockError(ValueError):
    """A code block is opened and never closed."""


@dataclass(frozen=True)
class Block:
    """A code block: its info string, the line number of its fence, its text without the fence's indent."""

    info: str
    line: int
    text: str


def blocks(markdown: str) -> Iterator[Block]:
    """The fenced code blocks in order.

    Raises:
      UnclosedBlockError: the text ends inside a block; the message has the line where it begins.
    """
    fence, info, start, indent = "", "", 0, 0
    body: list[str] = []
    for number, line in enumerate(markdown.splitlines(), start=1):
        stripped = line.strip()
        if not fence:
            if stripped.startswith(("```", "~~~")):
                info = stripped.lstrip(stripped[0])
                fence = stripped.removesuffix(info)
                info, start, indent, body = info.strip(), number, line.index(fence), []
        elif stripped.startswith(fence) and not stripped.strip(fence[0]):
            yield Block(info, start, "".join(f"{text[indent:]}\n" for text in body))
            fence = ""
        else:
            body.append(line)
    if fence:
        raise UnclosedBlockError(f"line {start}: the code block is never closed; end it with {fence}")
