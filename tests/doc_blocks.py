"""The code blocks of README.md, of the pages in docs/ but decisions, and of the examples' READMEs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PAGES = (
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(path for path in (ROOT / "docs").rglob("*.md") if path.parent.name != "decisions"),
    *sorted((ROOT / "examples").glob("*/README.md")),
)
_FENCE = re.compile(r"^```([\w-]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """One fenced block; `line` is that of its first line."""

    page: str
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(*languages: str) -> list[Block]:
    """The blocks of these languages, of all pages in order; all of them where none is named."""
    return [block for page in PAGES for block in _of_page(page) if not languages or block.language in languages]


def _of_page(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for found in _FENCE.finditer(text):
        line = text.count("\n", 0, found.start(2)) + 1
        yield Block(str(page.relative_to(ROOT)), line, found[1], found[2])


def indented(page: Path) -> list[str]:
    """Lines that markdown takes for code by their indentation, outside of lists and fences."""
    text = _FENCE.sub("", page.read_text())
    paragraphs = re.split(r"\n\s*\n", text)
    return [line for part in paragraphs for line in part.splitlines()[:1] if line.startswith("    ")]
