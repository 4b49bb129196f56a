"""The journal's lines of one unit, read by journalctl(1) as a process of its own.

The journal has no protocol over the bus, and its files are systemd's own business: journalctl is its documented reader
(https://systemd.io/JOURNAL_FILE_FORMAT/), `-o json` its documented form (https://systemd.io/JOURNAL_EXPORT_FORMATS/).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess  # noqa: TID251 (an adapter)
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

from rube.api import LogLine, LogsRequest, LogsResponse
from rube.api.errors import FailedPreconditionError, UnavailableError
from rube.host import Clock
from rube.units.drivers.log_lines import TAIL_LINES_MAX, lines_of, responses, tail_of

PIPE_BYTES_MAX = 64 * 1024
ENTRY_BYTES_MAX = 1024 * 1024
"""A longer entry is left out, and counted as a gap."""
TAIL_S_MAX = 5.0
LAST_WORDS_BYTES_MAX = 512
END_S_MAX = 0.2
"""One that does not even end when it is killed, because its disk hangs, is left to itself."""
_NS_PER_US = 1_000


class Journal:
    """Reads the journal with `command`, such as `("journalctl",)` or `("journalctl", "--user")`."""

    def __init__(self, command: Sequence[str], clock: Clock) -> None:
        self._command = tuple(command)
        self._clock = clock

    async def read(self, unit: str, request: LogsRequest) -> AsyncIterator[LogsResponse]:
        """Implements rube.controllers.driver.Driver.logs."""
        arguments = [f"--unit={unit}", f"--lines={lines_of(request)}"]
        if request.follow:
            arguments.append("--follow")
        if request.HasField("since"):
            arguments.append(f"--since=@{(self._clock.now_ns() - request.since.ToNanoseconds()) / 1e9:.6f}")
        yield LogsResponse()
        process = self._start(arguments)
        try:
            async with aclosing(_entries(process)) as batches:
                async for entries, gaps in batches:
                    for response in responses(line for entry in entries for line in _lines(entry)):
                        yield response
                    if gaps:
                        yield LogsResponse(gaps=gaps)
        finally:
            said = _end(process)
        if process.returncode and not request.follow:
            raise FailedPreconditionError(f"journalctl ended with status {process.returncode}: {said or 'no message'}")

    async def tail(self, unit: str, invocation: str) -> list[str]:
        """Returns the last lines that the unit itself printed in one start of it, bounded for a status; none if
        unreadable."""
        arguments = [f"--unit={unit}", f"--lines={TAIL_LINES_MAX}", f"_SYSTEMD_INVOCATION_ID={invocation}"]
        try:
            process = self._start(arguments)
        except UnavailableError:
            return []
        lines: list[str] = []
        try:
            async with self._clock.timeout(TAIL_S_MAX), aclosing(_entries(process)) as batches:
                async for entries, _ in batches:
                    lines += [line.text for entry in entries for line in _lines(entry)]
        except TimeoutError:
            return []
        finally:
            _end(process)
        return tail_of(lines)

    def _start(self, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        """Starts it at once and not by the event loop: rube.units.drivers.supervisor.shims has the reason."""
        command = [*self._command, "--output=json", "--all", "--quiet", "--no-pager", *arguments]
        try:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={"LANG": "C.UTF-8", "PATH": os.environ.get("PATH", os.defpath)},
                start_new_session=True,
            )
        except OSError as error:
            raise UnavailableError(f"cannot read the journal: {self._command[0]}: {error.strerror}") from error


async def _entries(process: subprocess.Popen[bytes]) -> AsyncGenerator[tuple[list[dict[str, Any]], int], None]:
    """Yields the entries as they come, and how many were left out because they are too long."""
    assert process.stdout is not None, "it has a pipe"
    rest, skipping = b"", False
    while data := await _read(process.stdout.fileno()):
        *whole, rest = (rest + data).split(b"\n")
        gaps = 0
        if skipping and whole:
            whole, skipping, gaps = whole[1:], False, 1
        if len(rest) > ENTRY_BYTES_MAX or skipping:
            rest, skipping = b"", True
        yield [json.loads(line) for line in whole if line], gaps


async def _read(handle: int) -> bytes:
    """Returns a pipe's bytes, once it has some; b"" at its end. It takes no thread while it waits."""
    loop = asyncio.get_running_loop()
    os.set_blocking(handle, False)
    readable = asyncio.Event()
    loop.add_reader(handle, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(handle)
    return os.read(handle, PIPE_BYTES_MAX)


def _end(process: subprocess.Popen[bytes]) -> str:
    """Ends the process, if need be, and returns its last error output."""
    assert process.stdout is not None, "it has pipes"
    assert process.stderr is not None, "it has pipes"
    if process.poll() is None:
        process.kill()
    os.set_blocking(process.stderr.fileno(), False)
    try:
        said = os.read(process.stderr.fileno(), LAST_WORDS_BYTES_MAX)
    except BlockingIOError:
        said = b""
    process.stdout.close()
    process.stderr.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(END_S_MAX)
    return " ".join(said.decode(errors="replace").split())


def _lines(entry: dict[str, Any]) -> list[LogLine]:
    """Returns an entry's message, which may hold newlines; one that is not UTF-8 comes as an array of bytes."""
    message = entry.get("MESSAGE")
    if isinstance(message, list):
        message = bytes(message).decode(errors="replace") if all(isinstance(each, int) for each in message) else ""
    lines = [LogLine(text=text) for text in str(message or "").split("\n")]
    for line in lines:
        line.time.FromNanoseconds(int(entry.get("__REALTIME_TIMESTAMP", 0)) * _NS_PER_US)
    return lines
