"""The command lines of `rube store`."""

from __future__ import annotations

import re

import pytest
from click.testing import CliRunner

from rube.cli.store import store


@pytest.mark.parametrize("command", ["backup", "restore", "verify", "stat", "compact", "migrate"])
def test_every_help_has_an_example(command: str) -> None:
    result = CliRunner().invoke(store, [command, "--help"])
    assert result.exit_code == 0
    assert f"  rube store {command} " in result.output


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["stat", "memory:"], "memory: is only in the process that has it"),
        (["backup", "memory:", "x"], "memory: is only in the process that has it"),
        (["migrate", "sqlite:///x", "memory:"], "memory: is only in the process that has it"),
        (["stat", "sqlit:///x"], r"did you mean 'sqlite'\?"),
        (["verify", "sqlit:///x"], r"did you mean 'sqlite'\?"),
        (
            ["restore", "sqlite:///x", "b.rube"],
            "is a store's URL: write 'rube store backup URL FILE', 'restore FILE URL'",
        ),
        (["verify", "memory:"], "memory: is only in the process that has it"),
        (["stat", "sqlite:///"], "names no file"),
        (["compact", "sqlite:///x", "--revision", "1", "--history", "1"], "not both"),
        (["backup", "--store", "sqlite:///x", "y"], "No such option"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_done(argv: list[str], says: str) -> None:
    result = CliRunner().invoke(store, argv)
    assert result.exit_code == 2
    assert re.search(says, result.output), result.output
