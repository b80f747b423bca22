"""What the README and the documentation point at is there: links, and the files and names they speak of."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)(?:#[^)]*)?\)")
FILE = re.compile(r"`((?:functrans|tests|tools|benchmarks|examples|docs)/[\w./-]*)`")
CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@pages
def test_links_lead_somewhere(page: Path) -> None:
    text = CODE.sub("", page.read_text(encoding="utf-8"))
    assert [link for link in LINK.findall(text) if not (page.parent / link).exists()] == []


@pages
def test_files_that_are_named_exist(page: Path) -> None:
    text = CODE.sub("", page.read_text(encoding="utf-8"))
    assert [name for name in FILE.findall(text) if not (ROOT / name).exists()] == []


def test_something_was_found() -> None:
    texts = [page.read_text(encoding="utf-8") for page in PAGES]
    assert sum(len(LINK.findall(text)) for text in texts) > 20
    assert sum(len(FILE.findall(text)) for text in texts) > 30


def test_every_proposition_is_listed() -> None:
    folder = ROOT / "docs" / "design"
    index = (folder / "README.md").read_text(encoding="utf-8")
    site = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    propositions = sorted(folder.glob("[0-9]*.md"))
    assert [int(page.name[:3]) for page in propositions] == list(range(1, len(propositions) + 1))
    for page in propositions:
        title = page.read_text(encoding="utf-8").partition("\n")[0]
        assert title.startswith(f"# {page.name[:3]} ")
        assert f"| [{page.name[:3]}]({page.name}) | {title[6:]} |" in index
        assert f"- design/{page.name}\n" in site
