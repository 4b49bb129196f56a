"""The port to durable bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol


class Write(NamedTuple):
    """One change of a batch; a value of None deletes the key."""

    key: bytes
    value: bytes | None


class EngineView(Protocol):
    """The readable part of an engine. Keys are ordered as bytes are. Reads are synchronous and must be short."""

    def get(self, key: bytes) -> bytes | None: ...

    def scan(self, start: bytes, end: bytes, *, limit: int = 0, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """Yields the pairs with start <= key < end, in order (or from the end), at most `limit` (0: all).

        The iterator sees the engine as it was when `scan` was called, whatever is committed meanwhile.
        """
        ...


class Snapshot(EngineView, Protocol):
    """The state of an engine at one moment."""

    def close(self) -> None: ...


class Remains(NamedTuple):
    """A pair that was found in a damaged engine, its key as a number. `proper` if it is current; otherwise it may be
    obsolete or deleted."""

    number: int
    data: bytes
    proper: bool


class Wreck(Protocol):
    """The readable part of a damaged engine that no process has open. Its files are not changed."""

    def log(self) -> Iterator[Remains]:
        """Yields the pairs whose keys are eight bytes that begin with a bit of 0, in the order of their keys.

        A key that is found at several places comes once for each. Unreadable pairs are left out, and do not end it.
        """
        ...

    def get(self, key: bytes) -> bytes | None:
        """Returns the value; None also if it cannot be read."""
        ...

    def read(self, number: int) -> list[bytes]:
        """Returns the values that `log` found under that key, one for each place."""
        ...

    def holes(self) -> list[tuple[int, int]]:
        """Returns the ranges of keys, first and last, that cannot be read, as far as `log` has found."""
        ...

    def findings(self) -> list[str]:
        """Returns the known damage and losses, a sentence each."""
        ...

    async def close(self) -> None: ...


class Engine(EngineView, Protocol):
    """An ordered map of bytes with one writer.

    A commit is atomic and durable when `commit` returns: it survives kill -9 and power loss. Reads see every commit
    that has returned.

    After an error of the disk a commit raises DataLossError, and so does every later one: a failed fsync is never
    retried (https://wiki.postgresql.org/wiki/Fsync_Errors). On a full disk it raises ResourceExhaustedError: nothing of
    that batch was written and later commits may succeed.
    """

    async def commit(self, batch: Sequence[Write]) -> None: ...

    def snapshot(self) -> Snapshot: ...

    async def checkpoint(self, path: str) -> None:
        """Writes a consistent copy that can be opened as an engine of the same kind."""
        ...

    def size_bytes(self) -> int:
        """Returns about how many bytes it takes on its disk; 0: unknown."""
        ...

    def inspect(self) -> Iterator[str]:
        """Yields damage of the engine's own structures, a sentence each; damage for which its reads raise is left
        out."""
        ...

    async def close(self) -> None: ...
