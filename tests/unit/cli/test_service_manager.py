"""The messages of a daemon to the service manager that started it, and the units that it runs."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from rube.cli.daemon import Stop, announce, run_daemon
from rube.cli.main import rube
from rube.cli.rubelet import rubelet
from rube.cli.service_manager import watchdog_interval_s
from rube.cli.systemd_units import UNITS, unit_text
from rube.console import EXIT_ERROR, run_command

RECEIVE_S_MAX = 30.0


@pytest.fixture
def notified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> socket.socket:
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiver.bind(str(tmp_path / "notify"))
    receiver.settimeout(RECEIVE_S_MAX)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    return receiver


def received(receiver: socket.socket) -> list[str]:
    """Returns the messages that have come so far."""
    messages = []
    receiver.setblocking(False)
    try:
        while True:
            messages.append(receiver.recv(4096).decode())
    except BlockingIOError:
        return messages


async def serve_until_signal(stop: Stop) -> None:
    announce("test: listening on 127.0.0.1:1\nmore")
    os.kill(os.getpid(), signal.SIGTERM)
    await stop.wait()


def test_a_daemon_says_that_it_is_ready_and_that_it_stops(notified: socket.socket) -> None:
    with notified:
        assert run_daemon("test", serve_until_signal, log_level="info") == 0
        assert received(notified) == ["READY=1\nSTATUS=test: listening on 127.0.0.1:1", "STOPPING=1"]


def test_a_daemon_with_a_watchdog_says_that_it_lives(notified: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))

    async def live(stop: Stop) -> None:
        for _ in range(2):
            assert await asyncio.to_thread(notified.recv, 4096) == b"WATCHDOG=1"

    with notified:
        assert run_daemon("test", live, log_level="info") == 0


def test_an_abstract_socket_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind("")  # the kernel chooses an abstract address
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + receiver.getsockname()[1:].decode())
        announce("test: ready")
        assert received(receiver) == ["READY=1\nSTATUS=test: ready"]


def test_a_manager_that_is_gone_is_named_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/nonexistent/notify")
    announce("test: ready")
    assert "cannot tell the service manager at /nonexistent/notify READY=1" in caplog.text


def test_a_manager_whose_queue_is_full_is_told_again_and_holds_nobody_up(
    notified: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rube.cli.service_manager.SEND_AGAIN_S", 0.01)

    async def serve(stop: Stop) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.setblocking(False)
            with suppress(BlockingIOError):
                while True:
                    other.sendto(b"full", notified.getsockname())
        announce("test: ready")
        assert set(received(notified)) == {"full"}
        notified.settimeout(RECEIVE_S_MAX)
        assert await asyncio.to_thread(notified.recv, 4096) == b"READY=1\nSTATUS=test: ready"

    with notified:
        assert run_daemon("test", serve, log_level="info") == 0


def test_a_daemon_that_says_nothing_is_ready_all_the_same(notified: socket.socket) -> None:
    with notified:
        announce("")
        assert received(notified) == ["READY=1\nSTATUS="]


def test_a_command_that_ends_by_itself_tells_the_manager_nothing(
    notified: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "1")

    async def stop_itself(stop: Stop) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await stop.wait()

    with notified:
        assert run_daemon("test", stop_itself, log_level="info", managed=False) == 0
        options = ["--purge", "--driver", "supervisor", "--data", str(tmp_path / "node"), "--node", "worker-1"]
        with pytest.raises(SystemExit) as ended:
            run_command(rubelet, "rubelet", options)
        assert ended.value.code == 0
        assert received(notified) == []


@pytest.mark.parametrize(
    ("limit_us", "pid", "interval_s"),
    [
        ("60000000", "self", 30.0),
        ("60000000", "", 30.0),
        ("60000000", "1", None),
        ("", "", None),
        ("x", "", None),
    ],
)
def test_the_watchdog_is_for_the_process_that_it_names(
    limit_us: str, pid: str, interval_s: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", limit_us)
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if pid == "self" else pid)
    assert watchdog_interval_s() == interval_s


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_runs_the_commands_of_this_installation(unit: str, tmp_path: Path) -> None:
    text = unit_text(unit, tmp_path / "100%")
    command = unit if unit == "rubelet" else "rube apiserver"
    assert re.search(rf"^ExecStart={tmp_path}/100%%/{command} ", text, re.MULTILINE)
    assert "@" not in re.sub(r"@system-service", "", text)


@pytest.mark.parametrize(
    ("directory", "word"),
    [
        ("/opt/my rube", '"/opt/my rube/rubelet"'),
        ('/opt/a"b\\c%', r'"/opt/a\"b\\c%%/rubelet"'),
        ("/opt/a\nb", r'"/opt/a\x0ab/rubelet"'),
        ("/opt/$x", '"/opt/$x/rubelet"'),
    ],
)
def test_a_path_that_systemd_would_split_or_expand_is_quoted(directory: str, word: str) -> None:
    assert f"\nExecStart={word} --data " in unit_text("rubelet", Path(directory))


@pytest.mark.parametrize(
    "bin_directory", ["/home/a/rube/bin", "/root/bin", "/run/user/0/bin", "/tmp/bin", "/var/tmp/a"]
)
def test_commands_that_the_sandbox_hides_are_refused(
    bin_directory: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install = ["systemd-units", "--install", str(tmp_path), "--bin", bin_directory]
    assert run_command(rube, "rube", install) == EXIT_ERROR
    error = capsys.readouterr().err
    assert f"rubeapiserver.service cannot run {bin_directory}/rube: P" in error
    assert "--bin /opt/rube/bin" in error
    assert list(tmp_path.iterdir()) == []


def test_an_interpreter_that_the_sandbox_hides_is_refused_where_links_lead_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real, linked, command = tmp_path / "home/python3", tmp_path / "opt/python3", tmp_path / "opt/rube"
    for directory in (real.parent, linked.parent):
        directory.mkdir()
    real.touch()
    linked.symlink_to(real)
    command.write_text(f"#!{linked}\n")
    monkeypatch.setattr("rube.cli.systemd_units._HIDDEN", {"ProtectHome=yes": (real.parent,)})
    install = ["systemd-units", "--install", str(tmp_path / "units"), "--bin", str(linked.parent)]
    assert run_command(rube, "rube", install) == EXIT_ERROR
    assert f"rubeapiserver.service cannot run {real}: ProtectHome=yes hides {real.parent}" in capsys.readouterr().err
    assert run_command(rube, "rube", [*install, "rubelet"]) == 0  # it sees all of the file system
    assert run_command(rube, "rube", ["systemd-units", "--bin", str(linked.parent)]) == 0
    assert f"warning: rubeapiserver.service cannot run {real}" in capsys.readouterr().err


def test_units_are_installed_over_older_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rubelet.service").write_text("old")
    assert run_command(rube, "rube", ["systemd-units", "rubelet", "--bin", "/opt", "--install", str(tmp_path)]) == 0
    assert (tmp_path / "rubelet.service").read_text() == unit_text("rubelet", Path("/opt"))
    assert [path.name for path in tmp_path.iterdir()] == ["rubelet.service"]
    assert "systemctl enable --now rubelet\n" in capsys.readouterr().out


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert (
        run_command(rube, "rube", ["systemd-units", "--bin", "/opt", "--install", str(tmp_path / "file" / "below")])
        == EXIT_ERROR
    )
    assert f"cannot write {tmp_path}/file" in capsys.readouterr().err
