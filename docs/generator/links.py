"""Links between files of a checkout, as links between pages of the site."""

from __future__ import annotations

import posixpath
import re

_LINK = re.compile(r"\]\(([^)#\s]+\.md)(?=[)#])")


def page_of(path: str) -> str:
    """The page, relative to docs/, that shows the Markdown file at that path of a checkout."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path == "examples/README.md":
        return "examples/index.md"
    return path.removesuffix("/README.md") + ".md" if path.endswith("/README.md") else path.lower()


def relinked(text: str, path: str) -> str:
    """The file's text with links that lead from its page to other pages."""
    here = posixpath.dirname(page_of(path))

    def relink(found: re.Match[str]) -> str:
        if "://" in found[1]:
            return found[0]
        target = page_of(posixpath.normpath(posixpath.join(posixpath.dirname(path), found[1])))
        return f"]({posixpath.relpath(target, here or '.')}"

    return _LINK.sub(relink, text)
