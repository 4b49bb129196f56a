"""A daemon outlives its standard streams: read, full, closed or gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.real.etcd_cluster import free_ports

WAIT_S_MAX = 40.0


def daemons(tmp_path: Path) -> dict[str, tuple[list[str], Path]]:
    """The command of each, and the file that is there once it serves."""
    rubelet = [
        sys.executable,
        "-m",
        "rube.cli.rubelet",
        "--server",
        f"127.0.0.1:{free_ports(1)[0]}",
        "--log-level",
        "debug",
    ]
    store = tmp_path / "store.db"
    apiserver = [sys.executable, "-m", "rube.cli.main", "apiserver", "--store", f"sqlite:///{store}"]
    return {
        "rubelet": ([*rubelet, "--data", str(tmp_path), "--driver", "supervisor"], tmp_path / "rubelet.sock"),
        "apiserver": ([*apiserver, "--listen", f"unix:{tmp_path}/api.sock"], tmp_path / "api.sock"),
    }


def until(met: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_S_MAX
    while not met():
        assert time.monotonic() < deadline, f"not within {WAIT_S_MAX} s: {what}"
        time.sleep(0.05)


def full_pipe() -> tuple[int, int]:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writer, True)
    return reader, writer


@pytest.mark.parametrize("daemon", ["rubelet", "apiserver"])
@pytest.mark.parametrize("stream", ["full", "gone", "closed"])
def test_a_daemon_serves_and_ends_whatever_became_of_its_streams(tmp_path: Path, daemon: str, stream: str) -> None:
    command, socket = daemons(tmp_path)[daemon]
    reader, writer = full_pipe() if stream == "full" else os.pipe()
    if stream == "gone":
        os.close(reader)
    if stream == "closed":
        command = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *command]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=writer, stderr=writer)
    try:
        until(socket.exists, "it serves")
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S_MAX) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(writer)
        if stream != "gone":
            os.close(reader)


def test_lines_that_were_not_read_are_counted() -> None:
    code = (
        "from rube.cli.lines import say, flush_lines\n"
        "import sys\n"
        "for number in range(200_000): say(f'line {number}')\n"
        "print('said', file=sys.stderr, flush=True)\n"
        "sys.stdin.read()\n"
        "say('the last one')\n"
        "flush_lines()\n"
    )
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stderr.readline() == "said\n"
    lines = [process.stdout.readline().rstrip("\n") for _ in range(50_000)]
    process.stdin.close()
    lines += process.stdout.read().splitlines()
    process.stdout.close()
    process.stderr.close()
    assert process.wait(WAIT_S_MAX) == 0
    assert lines.pop() == "the last one"
    notices = [line for line in lines if line.startswith("[")]
    dropped = [int(line[1:].removesuffix(" lines were dropped here: the reader was too slow]")) for line in notices]
    numbers = [int(line.removeprefix("line ")) for line in lines if not line.startswith("[")]
    assert sum(dropped) > 0
    assert numbers == sorted(numbers)
    assert len(numbers) + sum(dropped) == 200_000
