"""Pages made of files outside docs/: the examples, CONTRIBUTING.md and CHANGELOG.md."""

from __future__ import annotations

from pathlib import Path

from docs.generator.links import page_of, relinked
from docs.generator.page import Page, fenced

_ROOT = Path(__file__).parents[2]
_LANGUAGES = {".py": "python", ".yaml": "yaml"}
_BINARY = {".wasm"}
_SHOWN_LINES_MAX = 150


def pages() -> list[Page]:
    """The list of the examples, each example, CONTRIBUTING and CHANGELOG."""
    examples = [_example(path) for path in sorted((_ROOT / "examples").glob("*/README.md"))]
    return [_page("examples/README.md"), *examples, _page("CONTRIBUTING.md"), _page("CHANGELOG.md")]


def _page(path: str) -> Page:
    return Page(page_of(path), relinked((_ROOT / path).read_text(), path))


def _example(readme: Path) -> Page:
    """Its README, then its files."""
    page = _page(str(readme.relative_to(_ROOT)))
    parts = [page.text.rstrip()]
    for path in sorted(readme.parent.iterdir()):
        if path.is_file() and path != readme and path.suffix not in _BINARY:
            lines = path.read_text().splitlines()
            more = ["…"] if len(lines) > _SHOWN_LINES_MAX else []
            shown = "\n".join([*lines[:_SHOWN_LINES_MAX], *more])
            parts.append(f"## {path.name}\n\n{fenced(shown, _LANGUAGES.get(path.suffix, 'text'))}")
    return Page(page.path, "\n\n".join(parts) + "\n")
