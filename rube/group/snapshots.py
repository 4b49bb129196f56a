"""Snapshots between members: pairs of the engine, streamed in pieces beside Raft's messages, and their installation.

The receiver stages the pairs, so that its own state and log stay as they are until everything has arrived. Then one
commit declares them the state, and they are moved: after a crash anywhere in between the next start does it again. A
member never forgets what it acknowledged.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

from rube.api.errors import DataLossError, InvalidArgumentError, UnavailableError
from rube.group.group_pb2 import Applied, Installing, Pair, Piece
from rube.group.records import APPLIED_KEY, INSTALLING_KEY, STAGED_END, STAGED_PREFIX, read, seal, staged_key, unseal
from rube.host import Clock, Engine, EngineView, Write
from rube.raft.raft_pb2 import Message, SnapshotMetadata

PAIRS_PER_COMMIT_MAX = 1000

Ranges = Sequence[tuple[bytes, bytes]]
Commit = Callable[[Sequence[Write]], Awaitable[None]]


def pieces(view: EngineView, ranges: Ranges, message: Message, offset: int, bytes_max: int) -> Iterator[Piece]:
    """Yields the rest of a snapshot after `offset` pairs. Its metadata is that of the state in `view`."""
    applied = read(view, APPLIED_KEY, Applied)
    assert applied is not None, "a member that sends a snapshot has applied something"
    metadata = SnapshotMetadata(index=applied.index, term=applied.term, conf_state=applied.conf_state)
    start = Message()
    start.CopyFrom(message)
    start.snapshot.metadata.CopyFrom(metadata)
    piece, size, checksum, number = Piece(message=start, offset=offset), 0, 0, 0
    for key, value in _pairs(view, ranges):
        checksum = zlib.crc32(value, zlib.crc32(key, checksum))
        number += 1
        if number <= offset:
            continue
        piece.pairs.append(Pair(key=key, value=value))
        size += len(key) + len(value)
        if size >= bytes_max:
            yield piece
            piece, size = Piece(message=start, offset=number), 0
    piece.last, piece.checksum = True, checksum
    piece.applied.CopyFrom(applied)
    yield piece


def _pairs(view: EngineView, ranges: Ranges) -> Iterator[tuple[bytes, bytes]]:
    for start, end in ranges:
        yield from view.scan(start, end)


class Staging:
    """The snapshot that is arriving, at most one; another one replaces what has arrived.

    Leaders of different terms may send several at once. So the caller of `take` and `clear` holds `lock`, which keeps
    the pieces of two snapshots apart.
    """

    def __init__(self, engine: Engine, ranges: Ranges) -> None:
        """`ranges` are the machine's; a snapshot holds nothing else."""
        self._engine = engine
        self._ranges = ranges
        self.lock = asyncio.Lock()
        self._of: tuple[int, int, int] | None = None
        self._pairs = 0
        self._checksum = 0
        # What the machine of a complete snapshot had applied. Once set, no other piece is taken until `installed` or
        # `clear`.
        self._applied: Applied | None = None

    async def take(self, piece: Piece) -> int:
        """Stores the piece if it is the next one; returns the number of pairs that are here, durably.

        Raises InvalidArgumentError for a snapshot whose checksum is wrong; it then has to come again from its start.
        Raises UnavailableError while a snapshot is being installed.
        """
        if self._applied is not None:
            raise UnavailableError("a snapshot is being installed: try again")
        metadata = piece.message.snapshot.metadata
        of = (piece.sender, metadata.index, metadata.term)
        if of != self._of:
            await self.clear()
            self._of = of
        if piece.offset != self._pairs or (not piece.pairs and not piece.last):
            return self._pairs
        writes = []
        checksum = self._checksum
        for number, pair in enumerate(piece.pairs, start=self._pairs):
            if not any(start <= pair.key < end for start, end in self._ranges):
                await self.clear()
                raise InvalidArgumentError(f"snapshot {metadata.index} has a key outside of the state")
            checksum = zlib.crc32(pair.value, zlib.crc32(pair.key, checksum))
            writes.append(seal(staged_key(number), pair))
        if piece.last and checksum != piece.checksum:
            await self.clear()
            raise InvalidArgumentError(f"snapshot {metadata.index} was damaged on its way: send it again")
        if writes:
            await self._engine.commit(writes)
        self._checksum, self._pairs = checksum, self._pairs + len(writes)
        if piece.last:
            self._applied = piece.applied
        return self._pairs

    async def clear(self) -> None:
        """Removes what has arrived."""
        self._of, self._pairs, self._checksum, self._applied = None, 0, 0, None
        await _delete(self._engine, STAGED_PREFIX, STAGED_END, self._engine.commit)

    def complete(self, metadata: SnapshotMetadata) -> Applied | None:
        """Returns what the machine of that snapshot had applied; None unless all of it is here."""
        if self._of is None or self._of[1:] != (metadata.index, metadata.term):
            return None
        return self._applied

    async def check(self, clock: Clock) -> None:
        """Raises DataLossError unless all that arrived is on the disk and can be read.

        Call it before anything is given up for the snapshot, so that a failed member keeps its state and log.
        """
        number = 0
        async for batch in _staged(self._engine, self._pairs, clock):
            number += len(batch)
        if number != self._pairs:
            raise DataLossError(
                f"of a snapshot of {self._pairs} pairs that arrived, {number} are left: start this member again; it "
                "has what it had before, and the leader sends another snapshot"
            )

    def installation(self) -> Write:
        """Returns the write after which the snapshot is this member's state; `install` completes it."""
        return seal(INSTALLING_KEY, Installing(pairs=self._pairs))

    def installed(self) -> None:
        """Notes that the snapshot is installed."""
        self._of, self._pairs, self._checksum, self._applied = None, 0, 0, None


async def install(engine: Engine, ranges: Ranges, clock: Clock, commit: Commit) -> bool:
    """Installs the staged snapshot, if its installation was committed. Returns whether it did; a crash lets it begin
    again.

    Raises DataLossError and the errors of `commit`, which is the engine's, or one that waits while the disk is full.
    """
    installing = read(engine, INSTALLING_KEY, Installing)
    if installing is None:
        return False
    for start, end in ranges:
        await _delete(engine, start, end, commit)
    number = 0
    async for batch in _staged(engine, installing.pairs, clock):
        await commit([Write(pair.key, pair.value) for pair in batch])
        number += len(batch)
    if number != installing.pairs:
        raise DataLossError(f"of a snapshot of {installing.pairs} pairs {number} are left: let this member join again")
    await commit([Write(INSTALLING_KEY, None)])
    await _delete(engine, STAGED_PREFIX, STAGED_END, commit)
    return True


async def _staged(engine: Engine, pairs: int, clock: Clock) -> AsyncIterator[list[Pair]]:
    for first in range(0, pairs, PAIRS_PER_COMMIT_MAX):
        last = min(first + PAIRS_PER_COMMIT_MAX, pairs)
        found = engine.scan(staged_key(first), staged_key(last))
        yield [unseal(key, value, Pair) for key, value in found]
        await clock.sleep(0)


async def _delete(engine: Engine, start: bytes, end: bytes, commit: Commit) -> None:
    while keys := [key for key, _ in engine.scan(start, end, limit=PAIRS_PER_COMMIT_MAX)]:
        await commit([Write(key, None) for key in keys])
