"""Contexts: the file, which server is asked, and completion."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ructl.main import run


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "config" / "rube.yaml"
    monkeypatch.setenv("RUBE_CONFIG", str(path))
    monkeypatch.delenv("RUBE_SERVER", raising=False)
    monkeypatch.delenv("RUBE_CONTEXT", raising=False)
    return path


def test_contexts_are_set_used_shown_and_deleted(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["context", "set", "home", "--server", "127.0.0.1:1"]) == 0
    assert run(["context", "set", "prod", "--server", "127.0.0.1:2, 127.0.0.1:3"]) == 0
    assert run(["context", "use", "prod"]) == 0
    capsys.readouterr()
    assert run(["context", "list"]) == 0
    assert capsys.readouterr().out == "  home  127.0.0.1:1\n* prod  127.0.0.1:2,127.0.0.1:3\n"
    assert run(["context", "show"]) == 0
    assert capsys.readouterr().out == "prod  127.0.0.1:2,127.0.0.1:3\n"
    assert run(["context", "delete", "prod"]) == 0
    assert run(["context", "show"]) == 1
    assert "no context is in use" in capsys.readouterr().err
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700


def asked(*arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert run([*arguments, "list", "-t", "Unit"]) == 1
    return capsys.readouterr().err.partition("no server answers at ")[2].partition(" (")[0]


def test_which_server_is_asked(file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for number, name in enumerate("abc", start=1):
        run(["context", "set", name, "--server", f"127.0.0.1:{number}"])
    run(["context", "use", "a"])
    capsys.readouterr()
    assert asked(capsys=capsys) == "127.0.0.1:1"
    monkeypatch.setenv("RUBE_CONTEXT", "b")
    assert asked(capsys=capsys) == "127.0.0.1:2"
    monkeypatch.setenv("RUBE_SERVER", "127.0.0.1:4")
    assert asked(capsys=capsys) == "127.0.0.1:4"
    assert asked("--context", "c", capsys=capsys) == "127.0.0.1:3"
    assert run(["--context", "c", "list", "-t", "Unit", "--context", "a"]) == 1
    assert "at 127.0.0.1:1 " in capsys.readouterr().err
    assert asked("--context", "c", "--server", "127.0.0.1:5", capsys=capsys) == "127.0.0.1:5"


def test_fields_of_later_versions_stay(file: Path) -> None:
    file.parent.mkdir()
    file.write_text("contexts:\n  home: {servers: ['127.0.0.1:1'], tls: {ca: /ca.pem}}\nfuture: 1\n")
    assert run(["context", "set", "home", "--server", "127.0.0.1:2"]) == 0
    text = file.read_text()
    assert "ca: /ca.pem" in text
    assert "future: 1" in text
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["context", "use", "hom"], 1, "did you mean 'home'?"),
        (["context", "delete", "x"], 1, "there is no context 'x'"),
        (["context", "set", "No", "--server", "a:1"], 1, "'No' is no name of a context"),
        (["context", "set", "a", "--server", "http://a:1"], 2, "leave http:// out"),
        (["context", "usee", "home"], 2, "No such command 'usee'; did you mean 'use'?"),
        (["list", "-t", "Unit", "--context", "hom"], 2, "did you mean 'home'?"),
    ],
)
def test_wrong_contexts(
    file: Path, arguments: list[str], code: int, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["context", "set", "home", "--server", "127.0.0.1:1"])
    assert run(arguments) == code
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[1]", "is no mapping"),
        ("contexts: 7", "contexts is no mapping"),
        ("contexts: {a: {servers: 7}}\ncurrent: a", "contexts.a.servers is no list of HOST:PORT"),
        ("contexts: {", "in YAML"),
        ("[" * 900, "nested deeper"),
        ("[" * 100_000, "nest"),
        ("current: gone", "there is no context 'gone'"),
    ],
)
def test_a_damaged_file_is_named(file: Path, text: str, complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    file.parent.mkdir()
    file.write_text(text)
    assert run(["list", "-t", "Unit"]) == 2
    captured = capsys.readouterr().err
    assert complaint in captured
    assert str(file) in captured


def complete(shell: str, *words: str, **environment: str) -> list[str]:
    """A shell's offers for the last word."""
    if shell == "fish":
        how = {"COMP_WORDS": " ".join(words[:-1]), "COMP_CWORD": words[-1]}
    else:
        how = {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    found = subprocess.run(
        [sys.executable, "-c", "from ructl.main import main; main()"],
        env={**os.environ, **environment, "_RUCTL_COMPLETE": f"{shell}_complete", **how},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.stderr == ""
    return found.stdout.split()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script_and_completes(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    assert "_RUCTL_COMPLETE" in capsys.readouterr().out
    assert any("restart" in word for word in complete(shell, "ructl", "rest"))
    assert any("Unit" in word for word in complete(shell, "ructl", "get", "-t", "Un"))


def test_completion_is_silent_where_no_server_answers() -> None:
    words = ("ructl", "get", "-t", "Unit", "x")
    assert complete("bash", *words, RUBE_SERVER="127.0.0.1:1") == []
    assert complete("bash", *words, RUBE_SERVER="nonsense") == []
    assert complete("bash", *words, RUBE_CONTEXT="none") == []
