"""Every daemon that other machines reach says so in one line at its start; on loopback none does."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

RUBE = [sys.executable, "-m", "rube.cli.main"]
SAID = "is root on every node"
WAIT_S_MAX = 60.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


def stderr_of(arguments: list[str], log: Path, until: str) -> str:
    """The log of a daemon once its stdout holds that word; it is stopped then."""
    with log.open("wb") as errors:
        daemon = subprocess.Popen([*RUBE, *arguments], stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        assert daemon.stdout is not None
        line = ""
        while until not in line:
            line = daemon.stdout.readline()
            assert line, log.read_text()
        end = time.monotonic() + 3.0
        while SAID not in log.read_text() and time.monotonic() < end:
            time.sleep(0.1)
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.communicate(timeout=WAIT_S_MAX)
    return log.read_text()


def commands(host: str, directory: Path) -> dict[str, tuple[list[str], str]]:
    ports = [free_port() for _ in range(4)]
    members = f"a={host}:{ports[0]},b=127.0.0.1:{ports[1]},c=127.0.0.1:{ports[2]}"
    return {
        "apiserver": (["apiserver", "--store", "memory:", "--listen", f"{host}:{ports[3]}"], "listening on"),
        "up": (["up", "--listen", f"{host}:{ports[3]}", "--data", str(directory / "up")], "Ctrl-C"),
        "replica": (["controller", "--name", "a", "--replicas", members, "--server", "127.0.0.1:1"], "replica a"),
    }


@pytest.mark.parametrize("kind", ["apiserver", "up", "replica"])
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_daemon_says_that_it_is_exposed(tmp_path: Path, kind: str, host: str) -> None:
    arguments, until = commands(host, tmp_path)[kind]
    if host == "0.0.0.0":
        arguments.append("--insecure")
    said = stderr_of(arguments, tmp_path / "log", until)
    assert said.count(SAID) == (host == "0.0.0.0"), said
    assert "Traceback" not in said
