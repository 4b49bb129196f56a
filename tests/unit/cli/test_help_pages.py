"""The help of every command of `rube`, `rubelet` and `ructl`, as terminals of two widths show it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from rube.cli.main import rube
from rube.cli.rubelet import rubelet
from ructl.main import ructl

WRITING = ("cordon", "delete", "diff", "move", "put", "restart", "uncordon")


def commands(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    yield path
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from commands(found, (*path, name))


ROOTS = {"rube": rube, "rubelet": rubelet, "ructl": ructl}
PATHS = [path for name, root in ROOTS.items() for path in commands(root, (name,))]


def page(path: tuple[str, ...], width: int) -> str:
    result = CliRunner().invoke(ROOTS[path[0]], [*path[1:], "--help"], prog_name=path[0], terminal_width=width)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_a_help_page_is_whole(path: tuple[str, ...], width: int) -> None:
    text = page(path, width)
    cut = [line for line in text.splitlines() if line.endswith("...") and not line.startswith("Usage:")]
    assert not cut
    assert "INTEGER RANGE" not in text
    assert "FLOAT RANGE" not in text
    # Examples are not wrapped, for they are pasted; sentences are.
    long = [line for line in text.splitlines() if len(line) > width and not re.match(r"\s+(rube|rubelet|ructl) ", line)]
    assert not long


@pytest.mark.parametrize("name", WRITING)
def test_a_command_that_writes_does_not_offer_a_read_only_copy(name: str) -> None:
    assert "--node-socket" not in page(("ructl", name), 80)
    assert "--server" in page(("ructl", name), 80)
