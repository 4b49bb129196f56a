"""The port to the files of an audit log."""

from __future__ import annotations

from typing import Protocol


class AuditFiles(Protocol):
    """Files of lines: the last one grows, and nothing that is written is changed.

    Each is known by the number of its first line. All methods raise OSError.
    """

    def parts(self) -> list[int]:
        """Returns the files, oldest first."""
        ...

    def read(self, part: int, place: int, bytes_max: int) -> bytes:
        """Returns bytes of a file from a place on; empty at its end. Raises FileNotFoundError if it is gone."""
        ...

    def begin(self, part: int, line: bytes) -> None:
        """Begins a file with its first line; it grows from now on. If that fails, the file before still does. One of
        that number, which a crash has left without a whole line, is replaced."""
        ...

    def append(self, line: bytes) -> None:
        """Adds to the file that grows; if it fails, nothing of the line is there."""
        ...

    async def sync(self) -> None:
        """Makes durable what was added before the call."""
        ...

    def remove(self, part: int) -> None: ...

    def close(self) -> None: ...
