"""Pages made of files outside docs/: the examples, CONTRIBUTING.md and CHANGELOG.md."""

from __future__ import annotations

import re
from pathlib import Path

from docs.generator.page import Page, fenced

_ROOT = Path(__file__).parents[2]
_LANGUAGES = {".py": "python", ".yaml": "yaml"}
_SHOWN_LINES_MAX = 150


def pages() -> list[Page]:
    examples = [_example(path.parent) for path in sorted((_ROOT / "examples").glob("*/README.md"))]
    listed = (_ROOT / "examples" / "README.md").read_text().replace("/README.md)", ".md)")
    return [Page("examples/index.md", listed), *examples, _of_root("CONTRIBUTING.md"), _of_root("CHANGELOG.md")]


def _of_root(name: str) -> Page:
    """The file, with its links as they are seen from docs/."""
    text = re.sub(r"\]\(docs/", "](", (_ROOT / name).read_text())
    text = re.sub(r"\]\((CONTRIBUTING|CHANGELOG)\.md", lambda found: f"]({found[1].lower()}.md", text)
    return Page(name.lower(), text)


def _example(directory: Path) -> Page:
    """Its README, then its files."""
    text = re.sub(r"\]\(\.\./\.\./docs/", "](../", (directory / "README.md").read_text())
    text = re.sub(r"\]\(\.\./([\w-]+)/README\.md\)", r"](\1.md)", text)
    parts = [text.rstrip()]
    for path in sorted(directory.iterdir()):
        if path.is_file() and path.name != "README.md":
            lines = path.read_text().splitlines()
            more = ["…"] if len(lines) > _SHOWN_LINES_MAX else []
            shown = "\n".join([*lines[:_SHOWN_LINES_MAX], *more])
            parts.append(f"## {path.name}\n\n{fenced(shown, _LANGUAGES.get(path.suffix, 'text'))}")
    return Page(f"examples/{directory.name}.md", "\n\n".join(parts) + "\n")
