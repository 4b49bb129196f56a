"""The hooks that mkdocs calls: they add the generated pages, and write out the navigation's `folder/*`."""

from __future__ import annotations

from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page as SitePage

from docs.generator import commands, files, messages, python
from docs.generator.links import relinked
from docs.generator.page import Page


@cache
def made() -> tuple[Page, ...]:
    """All pages that are made, in the order in which the navigation shows them."""
    return (*commands.pages(), *messages.pages(), *python.pages(), *files.pages())


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    assert config.nav is not None
    config.nav = [_written_out(config, entry) for entry in config.nav]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for page in made():
        files.append(File.generated(config, page.path, content=page.text))
    return files


def on_page_markdown(markdown: str, page: SitePage, config: MkDocsConfig, files: Files) -> str:
    """A link to a file outside docs/, as readers of the checkout follow it, leads to the page that shows that file."""
    return markdown if page.file.generated_by else relinked(markdown, f"docs/{page.file.src_uri}")


def _written_out(config: MkDocsConfig, entry: Any) -> Any:
    if not isinstance(entry, dict):
        return entry
    ((title, target),) = entry.items()
    if isinstance(target, list):
        return {title: [_written_out(config, one) for one in target]}
    folder, star, _ = target.partition("*")
    return {title: _pages_in(config, folder)} if star else entry


def _pages_in(config: MkDocsConfig, folder: str) -> list[str]:
    there = sorted(path.name for path in Path(config.docs_dir, folder).glob("*.md"))
    generated = [page.path for page in made() if str(PurePosixPath(page.path).parent) + "/" == folder]
    return [f"{folder}{name}" for name in there] + generated
