"""The completions of words, and their form for each shell."""

from __future__ import annotations

import click
import pytest
from click.shell_completion import ShellComplete, get_completion_class

from rube.api.well_known import NODE_TYPE, UNIT_TYPE
from ructl.conditions import condition_words, parse_condition
from ructl.main import ructl
from ructl.shells import register


@pytest.mark.parametrize(
    ("type_name", "begun", "words"),
    [
        (UNIT_TYPE, "", ["active", "deleted", "exists", "metadata.", "spec.", "status."]),
        (NODE_TYPE, "r", ["ready"]),
        (UNIT_TYPE, "status.active_s", ["status.active_state="]),
        (UNIT_TYPE, "status.active_state=fa", ["status.active_state=failed"]),
        (UNIT_TYPE, "spec.serv", ["spec.service."]),
        (
            UNIT_TYPE,
            "spec.service.restart!=ON_A",
            ["spec.service.restart!=ON_ABNORMAL", "spec.service.restart!=ON_ABORT"],
        ),
        (UNIT_TYPE, "metadata.lab", ["metadata.labels."]),
        (UNIT_TYPE, "spec.enabled=", ["spec.enabled=true", "spec.enabled=false"]),
        (NODE_TYPE, "status.readiness=SI", ["status.readiness=SILENT"]),
    ],
)
def test_conditions_complete_to_what_a_wait_takes(type_name: str, begun: str, words: list[str]) -> None:
    found = [word for word in condition_words(type_name, begun) if word.startswith(begun)]
    assert found == words
    for word in found:
        if not word.endswith((".", "=")):
            parse_condition(word, type_name)


def answers(shell: str, monkeypatch: pytest.MonkeyPatch, line: str) -> list[str]:
    """Returns what a shell's script is given for the line, with the cursor at its end."""
    register()
    words = line.split(" ")
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", words[-1] if shell == "fish" else str(len(words) - 1))
    kind = get_completion_class(shell)
    assert kind is not None
    found: ShellComplete = kind(ructl, {}, "ructl", "_RUCTL_COMPLETE")
    return found.complete().splitlines()


@pytest.mark.parametrize(
    ("line", "value", "for_bash"),
    [
        ("ructl wait -t Unit a --for act", "active", "active"),
        ("ructl wait -t Unit a --for status.active_state=fa", "status.active_state=failed", "failed"),
        ("ructl wait -t Unit a --for=status.active_state=fa", "--for=status.active_state=failed", "failed"),
        ("ructl list --output=wi", "--output=wide", "wide"),
        ("ructl list -t No", "Node", "Node"),
        (
            "ructl wait -t Unit a --for 'status.active_state=fa",
            "status.active_state=failed",
            "status.active_state=failed",
        ),
    ],
)
def test_each_shell_gets_what_takes_the_place_of_its_word(
    line: str, value: str, for_bash: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert answers("bash", monkeypatch, line) == [f"plain,{for_bash}"]
    assert answers("zsh", monkeypatch, line) == ["plain", value, "_"]
    assert answers("fish", monkeypatch, line) == [f"plain,{value}"]


def test_commands_complete_with_what_they_do(monkeypatch: pytest.MonkeyPatch) -> None:
    assert answers("fish", monkeypatch, "ructl mov") == [
        "plain,move\tMove a unit to another node, stopped on its own first."
    ]
    names = [line.split("\t")[0].removeprefix("plain,") for line in answers("fish", monkeypatch, "ructl ")]
    assert names == ructl.list_commands(click.Context(ructl))


def test_bash_takes_a_word_in_quotes_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    line = "ructl wait -t Unit a --for 'status.active_state=fa"
    assert answers("bash", monkeypatch, line) == ["plain,status.active_state=failed"]
