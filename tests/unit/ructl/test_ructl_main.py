"""The command line itself: usage errors, help, and where the server is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from ructl.main import ructl, run


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUBE_SERVER", "127.0.0.1:1")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["lst"], "ructl: No such command 'lst'; did you mean 'list'?"),
        (["list", "--typ", "x"], "ructl: No such option '--typ'; did you mean '--type'?"),
        (
            ["list"],
            "ructl: no type: give one with -t (Binding, Event, Lease, Namespace, Node, Revocation, Role, Token, Type, "
            "Unit), such as 'ructl list -t Unit'",
        ),
        (["list", "Unit"], "ructl: no type: did you mean 'ructl list -t Unit'?"),
        (["get", "hello"], "ructl: no type: did you mean 'ructl get -t Unit hello'?"),
        (["logs", "unit", "a"], "ructl: logs are of one unit at a time: did you mean 'ructl logs a'?"),
        (["move", "-t", "Node", "a"], "ructl: move is for objects of type api.systemd.Unit alone: leave -t out"),
        (["put", "--node-socket", "a"], "ructl: put writes, and a rubelet's own copy is read-only: ask an apiserver"),
        (["--node-socket", "a", "cordon", "b"], "ructl: cordon writes, and a rubelet's own copy is read-only"),
        (["wait", "-t", "Unit", "a", "--for", "active", "--within", "soon"], "ructl: Invalid value for '--within'"),
        (["restart", "a", "--within", "0"], "ructl: Invalid value for '--within': '0' is shorter than 0.1 s"),
        (["list", "-t", "Unit", "--server", "here"], "ructl: --server: cannot use address 'here': write HOST:PORT"),
        (
            ["list", "-t", "Unit", "--server", "http://here/"],
            "ructl: --server: cannot use address 'http://here/': leave http:// out, since "
            "Rube speaks gRPC and no HTTP/1: write here:7823",
        ),
        (
            ["list", "-t", "Unit", "--server", "https://a:1"],
            "ructl: --server: cannot use address 'https://a:1': leave https:// out, since "
            "Rube speaks gRPC and no HTTP/1: write a:1",
        ),
        (
            ["list", "-t", "Unit", "--server", "http://[::1]"],
            "ructl: --server: cannot use address 'http://[::1]': leave http:// out, since "
            "Rube speaks gRPC and no HTTP/1: write [::1]:7823",
        ),
        *(
            (
                ["list", "-t", "Unit", "--server", address],
                f"ructl: --server: cannot use address '{address}': a host has no ':' unless it is an IPv6 address in "
                "brackets: write HOST:PORT (such as [::1]:7823)",
            )
            for address in ("::1:7823", "a:b:7823", "[::1:7823")
        ),
        (
            ["list", "-t", "Unit", "--server", "\u200ba:1"],
            "ructl: --server: cannot use address '\\u200ba:1': a host name cannot have U+200B: remove it",
        ),
        (
            ["list", "-t", "Unit", "--server", "a\xa0:1"],
            "ructl: --server: cannot use address 'a\\xa0:1': a host name cannot have U+00A0",
        ),
        (["list", "-t", "Unit", "--server", "a:1", "--node-socket", "b"], "ructl: --server and --node-socket exclude"),
        (["list", "-t", "Unit", "--timeout", "0"], "ructl: Invalid value for '--timeout'"),
        (["get", "-t", "Unit"], "ructl: get needs a name or a selector; for all of them: ructl list"),
        (["wait", "-t", "Unit", "a"], "ructl: Missing option '--for'"),
        (["wait", "-t", "Unit", "--for", "active"], "ructl: wait needs a name, a namespace or a selector"),
        (
            ["wait", "-t", "Unit", "a", "--for", "activ"],
            "ructl: --for: 'activ' is no condition; did you mean 'active'?",
        ),
        (["wait", "-t", "Unit", "a", "--for", "deleted", "--for", "exists"], "ructl: --for deleted goes with no other"),
        (["describe", "-t", "Unit"], "ructl: describe needs a name or a selector; for all of them: ructl list"),
        (["restart"], "ructl: restart needs the name of a unit, or labels with -l"),
        (["cordon"], "ructl: Missing argument 'NODE…'"),
        (["cordon", "No_de"], "ructl: metadata.name 'No_de' is not a DNS label"),
        (["put", "-o", "json"], "ructl: -o is for --dry-run"),
        (["completion", "tcsh"], "ructl: Invalid value for '{bash|zsh|fish}'"),
        (["watch", "-t", "Unit", "a", "b"], "ructl: watch takes one name at most"),
        (["delete", 'type = "Unit'], "ructl: selector:1:8: the string"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(complaint)
    assert captured.err.count("\n") == 1
    assert not captured.out


COMMANDS = ructl.list_commands(click.Context(ructl))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"\n  ructl {command} " in text
    if command not in ("auth", "completion", "context", "explain", "types"):
        assert "--server" in text
        assert "--context" in text


def test_the_commands_are_listed_without_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    assert "watch       Print every change" in capsys.readouterr().err


def test_a_server_that_is_absent_is_named_with_the_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["get", "-t", "Unit", "-n", "system", "indexer"]) == 1
    assert capsys.readouterr().err == (
        "ructl: no server answers at 127.0.0.1:1 (connection refused): start one with 'rube up' or 'rube apiserver', "
        "or name another with --server HOST:PORT or RUBE_SERVER\n"
    )


def test_a_put_that_reached_no_server_stored_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "a.textproto"
    file.write_text('# proto-message: Object\nmetadata { name: "x" } spec { [rube/api.Node] {} }\n' * 2)
    assert run(["put", str(file)]) == 1
    complaint = capsys.readouterr().err
    assert complaint.startswith(f"ructl: {file}:1: no server answers at 127.0.0.1:1 (connection refused)")
    assert complaint.endswith("; not stored: x, x\n")
    assert "perhaps" not in complaint


def test_the_server_after_the_command_wins_over_the_one_before_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--server", "127.0.0.1:2", "list", "-t", "Unit", "--server", "127.0.0.1:3"]) == 1
    assert "at 127.0.0.1:3 " in capsys.readouterr().err
    assert run(["--server", "127.0.0.1:2", "list", "-t", "Unit"]) == 1
    assert "at 127.0.0.1:2 " in capsys.readouterr().err


def test_a_node_socket_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "node.sock"
    assert run(["list", "-t", "Unit", "--node-socket", str(path)]) == 1
    assert capsys.readouterr().err == f"ructl: there is no socket {path}: is this node's rubelet running?\n"


def test_errors_of_all_files_are_reported_and_nothing_is_put(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "a.textproto").write_text("metadata {")
    (tmp_path / "b.textproto").write_text("spec { [rube/api.Nod] {} }")
    (tmp_path / "c.textproto").write_text('metadata { name: "x" } spec { [rube/api.Node] {} }')
    (tmp_path / "d.textproto").write_bytes(b"\n\xff")
    assert run(["put", str(tmp_path)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        f"ructl: {tmp_path}/a.textproto:1:10: the '{{' that opens metadata is never closed",
        f"ructl: {tmp_path}/b.textproto:1:9: unknown type 'api.Nod'; did you mean 'api.Node'?",
        f"ructl: {tmp_path}/d.textproto:2: it is not UTF-8 text; write text format, JSON or YAML",
        "ructl: nothing was put",
    ]


def test_a_source_without_end_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["put", "/dev/zero"]) == 1
    assert capsys.readouterr().err == "ructl: /dev/zero: it has more than 256 MiB; split it into several files\n"


def test_an_error_shows_what_cannot_be_seen_and_steers_no_terminal(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"metadata": {"na\\u001b[2J\u202eme": "ü"}, "spec": {"@type": "rube/api.Node"}}')
    assert run(["put", str(path)]) == 1
    assert 'no field named "na\\x1b[2J\\u202eme"' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "complaint"),
    [("none.textproto", "No such file or directory"), ("", "no *.textproto, *.yaml or *.json in")],
)
def test_sources_that_are_not_there(
    name: str, complaint: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(["put", os.path.join(tmp_path, name)]) == 1
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize("module", ["ructl.main", "ructl.options", "ructl.completion"])
def test_the_way_to_a_help_page_loads_no_protobuf(module: str) -> None:
    code = f"import {module}, sys; print([name for name in sys.modules if name in ('google.protobuf', 'grpc')])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
