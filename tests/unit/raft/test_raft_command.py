"""`rube raft` as users call it, and the documentation's scripts."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from rube.cli.main import rube
from tests.unit.raft.judges import ROOT

EXAMPLES = sorted((ROOT / "examples" / "06-raft-scripts").glob("*.txt"))
SMALL = """# One member.
add-nodes 1 voters=(1) index=2
----
INFO whatever

campaign 1
----
ok

raft-state
----
{state}

# The end.
"""
LEADS = "1: StateCandidate (Voter) Term:1 Lead:0"


def raft(*arguments: object, enter: str = "") -> Result:
    return CliRunner().invoke(rube, ["raft", *map(str, arguments)], input=enter)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.txt"
    path.write_text(SMALL.format(state=LEADS))
    return path


def test_a_script_is_printed_with_its_output(small: Path) -> None:
    result = raft("run", small)
    assert result.exit_code == 0
    assert result.output.startswith("# One member.\nadd-nodes 1 voters=(1) index=2\n----\nINFO 1 has the configuration")
    assert result.output.endswith(f"raft-state\n----\n{LEADS}\n\n# The end.\n")


def test_check_says_nothing_when_all_is_as_expected(small: Path) -> None:
    result = raft("run", "--check", small)
    assert (result.exit_code, result.output) == (0, "")


def test_check_shows_what_differs_and_where(small: Path) -> None:
    small.write_text(SMALL.format(state="1: StateLeader (Voter) Term:1 Lead:1"))
    result = raft("run", "--check", small)
    assert result.exit_code == 1
    assert f"{small}:10: raft-state\n--- expected\n+++ printed\n" in result.output
    assert f"-1: StateLeader (Voter) Term:1 Lead:1\n+{LEADS}\n" in result.output
    assert "1 of 1 scripts print something else than they say" in result.output


def test_rewrite_keeps_everything_but_the_output(small: Path) -> None:
    small.write_text(SMALL.format(state="?"))
    assert raft("run", "--rewrite", small).exit_code == 0
    assert raft("run", "--check", small).exit_code == 0
    assert small.read_text() == raft("run", small).output


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("\ncampaign 1\n----\n", ":2: campaign: there is no member 1"),
        ("a=(\n----\n", ":1: "),
        (
            "add-nodes 1\n----\n\nadd-nodes 1 voters=(2) index=4\n----\n\nsend-snapshot 2 1\n----\n\n"
            "deliver-msgs 1\n----\n\npropose 1 x\n----\n\nfrobnicate\n----\n",
            ":16: frobnicate: unknown command",
        ),
    ],
)
def test_a_mistake_names_the_file_the_line_and_the_command(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "bad.txt"
    path.write_text(text)
    result = raft("run", path)
    assert result.exit_code == 1
    assert f"Error: {path}{complaint}" in result.output


def test_what_is_no_text_is_no_script(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.write_bytes(b"\x80\xff")
    result = raft("run", path)
    assert (result.exit_code, result.output) == (1, f"Error: {path} is no script: it is not text in UTF-8\n")


@pytest.mark.parametrize("command", [["run", EXAMPLES[0]], ["shell"]], ids=["run", "shell"])
def test_a_trace_that_cannot_be_written_is_told(command: list[object]) -> None:
    result = raft(*command, "--trace", "/no/such/folder/t.ndjson")
    says = "Error: /no/such/folder/t.ndjson cannot be written: No such file or directory\n"
    assert (result.exit_code, result.output) == (1, says)


@pytest.mark.parametrize("arguments", [["--check", "--rewrite"], ["--trace", "t.ndjson", EXAMPLES[0]]])
def test_options_that_do_not_go_together_are_wrong_usage(small: Path, arguments: list[str]) -> None:
    assert raft("run", *arguments, small).exit_code == 2


def test_a_trace_has_an_event_a_line(small: Path, tmp_path: Path) -> None:
    assert raft("run", "--trace", tmp_path / "t.ndjson", small).exit_code == 0
    events = [json.loads(line)["event"]["name"] for line in (tmp_path / "t.ndjson").read_text().splitlines()]
    assert events[0] == "InitState"
    assert "BecomeCandidate" in events


def test_the_shell_runs_commands_and_saves_them_as_a_script(tmp_path: Path) -> None:
    path = tmp_path / "saved.txt"
    entered = [
        "add-nodes 1 voters=(1) index=2",
        "campaign 1",
        "stabilize",
        "propose-conf-change 1",
        "v2",
        "",
        "stabilize",
        "status 1",
        "history",
        f"save {path}",
        "quit",
        "campaign 1",
    ]
    result = raft("shell", enter="\n".join(entered) + "\n")
    assert result.exit_code == 0
    assert "1/4 EntryConfChangeV2 v2" in result.output
    assert "propose-conf-change 1\nv2\n" in result.output
    assert f"6 commands are in {path}" in result.output
    assert raft("run", "--check", path).exit_code == 0
    assert "v2\n----\nok\n" in path.read_text()


def test_the_shell_goes_on_after_a_mistake() -> None:
    result = raft("shell", enter="campaign 1\nhelp campaign\nsave\nsave /no/such/folder\n")
    assert "error: campaign: there is no member 1: add-nodes has made 0\n" in result.output
    assert "campaign ID\n  start an election\n" in result.output
    assert "error: save: give the name of a file\n" in result.output
    assert "error: save: cannot write /no/such/folder: No such file or directory\n" in result.output
    assert result.exit_code == 0


def test_the_shell_lists_every_command() -> None:
    listed = {line.split()[0] for line in raft("shell", enter="help\n").output.splitlines()}
    assert {"add-nodes", "transfer-leadership", "help", "quit"} <= listed


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_print_what_they_say(path: Path) -> None:
    assert raft("run", "--check", path).exit_code == 0
    assert raft("run", path).output == path.read_text(), "log lines differ: run `rube raft run --rewrite` on it"


def test_the_documentation_shows_what_the_examples_print() -> None:
    shown = re.findall(r"```raft\n(.*?)```", (ROOT / "docs" / "tutorials" / "raft.md").read_text(), re.DOTALL)
    examples = [path.read_text() for path in EXAMPLES]
    assert len(shown) > 5
    for block in shown:
        assert any(block in text for text in examples), f"in no example:\n{block}"
