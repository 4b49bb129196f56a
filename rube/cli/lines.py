"""Lines on standard output and standard error that never block: their reader may be slow, asleep or gone.

A daemon goes on in any case. Lines wait in a bounded queue for a thread that writes them; past the bound they are
dropped and counted, and the next line says how many.
"""

from __future__ import annotations

import logging
import os
import sys
import threading  # noqa: TID251 (an adapter)
from collections import deque
from functools import cache

WAITING_BYTES_MAX = 1024 * 1024
WRITE_BYTES = 64 * 1024
"""As many lines as fit are written at once, and at least one."""
FLUSH_S_MAX = 1.0
"""The end of a process waits so long for its last lines to be read."""


class LineWriter:
    """Writes lines to an open file, in order, in a thread of its own. Nothing raises and nothing waits, but `flush`."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._lines: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._dropped = 0
        self._changed = threading.Condition()
        threading.Thread(target=self._write, name=f"lines to {handle}", daemon=True).start()

    def put(self, line: str) -> None:
        data = f"{line}\n".encode(errors="backslashreplace")
        with self._changed:
            if self._waiting_bytes + len(data) > WAITING_BYTES_MAX:
                self._dropped += 1
                return
            if self._dropped:
                data = f"[{self._dropped} lines were dropped here: the reader was too slow]\n".encode() + data
                self._dropped = 0
            self._lines.append(data)
            self._waiting_bytes += len(data)
            self._changed.notify_all()

    def flush(self) -> None:
        """Returns when all is written, or after FLUSH_S_MAX."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting_bytes, FLUSH_S_MAX)

    def _write(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines)
                data = self._take()
            rest = memoryview(data)
            while rest:
                try:
                    rest = rest[os.write(self._handle, rest) :]
                except OSError:  # closed at the other end, or a full disk: the lines are lost
                    break
            with self._changed:
                self._waiting_bytes -= len(data)
                self._changed.notify_all()

    def _take(self) -> bytes:
        taken = bytearray(self._lines.popleft())
        while self._lines and len(taken) + len(self._lines[0]) <= WRITE_BYTES:
            taken += self._lines.popleft()
        return bytes(taken)


class LineHandler(logging.Handler):
    """Log lines on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
        except Exception:
            self.handleError(record)
            return
        say(text, error=True)


def say(line: str, *, error: bool = False) -> None:
    """A line on standard output, or on standard error."""
    stream = sys.stderr if error else sys.stdout
    try:
        handle = stream.fileno()
    except (OSError, ValueError, AttributeError):  # no stream of the system's, as in tests; or none at all
        print(line, file=stream, flush=True)
        return
    _writer(handle).put(line)


def flush_lines() -> None:
    """Waits for the last lines, for a while. A process that ends calls it."""
    for handle in (1, 2):
        _writer(handle).flush()


@cache
def _writer(handle: int) -> LineWriter:
    return LineWriter(handle)
