"""A real apiserver that is started and killed, and a `ructl watch` beside it."""

from __future__ import annotations

import io
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rube.api import Event, textproto

WAIT_S_MAX = 20.0


@dataclass
class Apiserver:
    """One apiserver on a store and a port, which can be killed and started again."""

    directory: Path
    listen: str = "127.0.0.1:0"
    process: subprocess.Popen[str] | None = None
    options: tuple[str, ...] = ()

    def start(self) -> None:
        store = f"sqlite:///{self.directory}/rube.db"
        command = [sys.executable, "-m", "rube.cli.main", "apiserver", "--store", store, "--listen", self.listen]
        command += self.options
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        ready = self.process.stdout.readline()
        found = re.search(r"listening on ([^,\s]+)", ready)
        assert found, f"not ready: {ready!r}"
        self.listen = found[1]

    def stop(self, number: int = signal.SIGKILL) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(WAIT_S_MAX)
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None

    def wipe(self) -> None:
        for path in self.directory.glob("rube.db*"):
            path.unlink()


@dataclass
class Watch:
    """A `ructl watch` in a process, read block by block."""

    arguments: list[str]
    process: subprocess.Popen[bytes] = field(init=False)
    _text: str = ""

    def __post_init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ructl.main", "watch", *self.arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def event(self) -> Event:
        """The next block, which must parse back."""
        while "\n\n" not in self._text:
            self._text += _read(self.process.stdout)
        block, _, self._text = self._text.partition("\n\n")
        return textproto.parse(block, Event, filename="watch")

    def complaint(self) -> str:
        """The next line of stderr."""
        return _read(self.process.stderr)

    def close(self) -> None:
        self.process.kill()
        self.process.wait(WAIT_S_MAX)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None and not stream.closed:
                stream.close()


def _read(stream: object) -> str:
    assert isinstance(stream, io.BufferedReader)
    assert select.select([stream], [], [], WAIT_S_MAX)[0], "nothing came in time"
    raw = os.read(stream.fileno(), 65536)
    assert raw, "it ended"
    return raw.decode()


@contextmanager
def watching(*arguments: str) -> Iterator[Watch]:
    watch = Watch(list(arguments))
    try:
        yield watch
    finally:
        watch.close()
