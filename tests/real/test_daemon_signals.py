"""Signals that a daemon's starter has blocked or ignored do not concern the daemon."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.real.test_daemon_streams import WAIT_S_MAX, daemons, until

WRAPPER = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
    signal.signal(number, signal.SIG_IGN)
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.parametrize("daemon", ["rubelet", "apiserver"])
def test_a_daemon_ends_at_sigterm_whatever_was_blocked_and_ignored(tmp_path: Path, daemon: str) -> None:
    command, socket = daemons(tmp_path)[daemon]
    process = subprocess.Popen(
        [sys.executable, "-c", WRAPPER, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        until(socket.exists, "it serves")
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        masks = {line[:6]: int(line.split()[1], 16) for line in lines if line[:6] in ("SigBlk", "SigIgn")}
        assert masks["SigBlk"] == 0
        assert not masks["SigIgn"] & (1 << (signal.SIGCHLD - 1)), "or it would not learn how a child has ended"
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S_MAX) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
