"""The port to durable bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol


class Write(NamedTuple):
    """One change of a batch; a value of None deletes the key."""

    key: bytes
    value: bytes | None


class EngineView(Protocol):
    """What can be read of an engine. Keys are ordered as bytes are. Reads are synchronous and must be short."""

    def get(self, key: bytes) -> bytes | None: ...

    def scan(self, start: bytes, end: bytes, *, limit: int = 0, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """The pairs with start <= key < end, in order (or from the end), at most `limit` (0: all).

        The iterator sees the engine as it was when `scan` was called, whatever is committed meanwhile.
        """
        ...


class Snapshot(EngineView, Protocol):
    """The engine as it was at one moment."""

    def close(self) -> None: ...


class Remains(NamedTuple):
    """A pair that was found in a damaged engine, its key as a number. `proper`: where it belongs; otherwise it may have
    been deleted long ago."""

    number: int
    data: bytes
    proper: bool


class Wreck(Protocol):
    """A damaged engine that no process has open, as far as it can be read. Its files are not changed."""

    def log(self) -> Iterator[Remains]:
        """The pairs whose keys are eight bytes that begin with a bit of 0, in the order of their keys.

        A key that is found at several places comes once for each. What cannot be read does not come, and does not end
        it.
        """
        ...

    def get(self, key: bytes) -> bytes | None:
        """None also where it cannot be read."""
        ...

    def read(self, number: int) -> list[bytes]:
        """What `log` gives of that key, at each place."""
        ...

    def holes(self) -> list[tuple[int, int]]:
        """Keys from the first up to the second of which nothing can be read, as far as `log` has found."""
        ...

    def findings(self) -> list[str]:
        """What is known to be wrong, or lost, a sentence each."""
        ...

    async def close(self) -> None: ...


class Engine(EngineView, Protocol):
    """An ordered map of bytes with one writer.

    A commit is atomic and durable when `commit` returns: it survives kill -9 and power loss. Reads see every commit
    that has returned.

    On an error of the disk a commit raises DataLossError, and so does every later one: a failed fsync is never
    retried (https://wiki.postgresql.org/wiki/Fsync_Errors). On a full disk it raises ResourceExhaustedError: nothing
    of that batch was written and later commits may succeed.
    """

    async def commit(self, batch: Sequence[Write]) -> None: ...

    def snapshot(self) -> Snapshot: ...

    async def checkpoint(self, path: str) -> None:
        """Writes a consistent copy that can be opened as an engine of the same kind."""
        ...

    def size_bytes(self) -> int:
        """What it takes on its disk, about; 0: unknown."""
        ...

    def inspect(self) -> Iterator[str]:
        """What is wrong with the engine's own structures, a sentence each: nothing, where its reads would raise."""
        ...

    async def close(self) -> None: ...
