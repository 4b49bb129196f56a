"""ructl in a world: the real command, whose server, clock and randomness are the world's."""

from __future__ import annotations

import io
import os
import shlex
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any, TypeVar
from unittest import mock

from rube.host import Host
from rube.testing.world import TestWorld
from ructl.main import run

RUN_S_MAX = 3600.0
"""A command that is not over after this much virtual time never ends."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that has ended."""

    command: str
    code: int
    """0, 1 for an error, 2 for wrong usage, 3 for a wait that is late."""
    out: str
    err: str

    def check(self) -> str:
        """Returns what it printed. Raises AssertionError unless it ended with 0."""
        assert self.code == 0, f"`{self.command}` ended with {self.code}: {self.err.strip() or self.out.strip()}"
        return self.out


@dataclass(frozen=True, slots=True)
class SimGround:
    """The ground of commands in a world (`ructl.ground.Ground`)."""

    world: TestWorld
    host: Host
    stop_after_s: float

    def run(self, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return self.world.world.run(main, timeout_s=RUN_S_MAX)


def run_ructl(world: TestWorld, line: str, text: str, stop_after_s: float) -> Ran:
    """Runs `ructl LINE` with `text` as its input, to its end; a command without an end is stopped."""
    ground = SimGround(world, world.cluster.ports_of_client("ructl"), stop_after_s)
    out, err = _stream(), _stream()
    arguments = ["--server", ",".join(world.cluster.targets), *shlex.split(line)]
    with _no_environment(), mock.patch("sys.stdin", _stream(text)), redirect_stdout(out), redirect_stderr(err):
        code = run(arguments, ground)
    ran = Ran(f"ructl {line}", code, _text(out), _text(err))
    world.diary.tell(world.world.now_ns, f"{ran.command}: ended with {code}")
    return ran


@contextmanager
def _no_environment() -> Iterator[None]:
    """Hides what a person has set for real clusters."""
    hidden = {name: value for name, value in os.environ.items() if name.startswith(("RUBE_", "_RUCTL"))}
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)


def _stream(text: str = "") -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8", write_through=True)


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode()
