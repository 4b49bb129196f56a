"""Help pages of `rube`, `rubelet` and `ructl`, as click prints them."""

from __future__ import annotations

from collections.abc import Iterator

import click

from docs.generator.page import Page, fenced
from rube.cli.main import rube
from rube.cli.rubelet import rubelet
from ructl.main import ructl

PROGRAMS = {"rube": rube, "rubelet": rubelet, "ructl": ructl}
_WIDTH = 84  # what a page shows without scrolling


def pages() -> list[Page]:
    """One page a program, with a section for each of its commands."""
    return [Page(f"reference/commands/{name}.md", _page(name, program)) for name, program in PROGRAMS.items()]


def _page(name: str, program: click.Command) -> str:
    sections = [f"# {name}\n\nThe text of `{name} --help`, and of each command's.\n"]
    for path, help_text in _helps(name, program, None):
        sections.append(f"## {path}\n\n{fenced(help_text)}")
    return "\n".join(sections)


def _helps(path: str, command: click.Command, parent: click.Context | None) -> Iterator[tuple[str, str]]:
    context = click.Context(command, info_name=path.rpartition(" ")[2], parent=parent, terminal_width=_WIDTH)
    context.max_content_width = _WIDTH
    yield path, command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            if not found.hidden:
                yield from _helps(f"{path} {name}", found, context)
