"""What a store finds in its engine when it opens."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from rube.api.errors import DataLossError, FailedPreconditionError
from rube.host import Engine, Randomness, Write
from rube.store.mvcc.index import KeyIndex
from rube.store.mvcc.log import REVISION_MAX, SUB_BITS, decode_row, log_key, position_of

# Not sealed: a later format may seal differently.
FORMAT = b"rube mvcc 1"
# After every row of the log, whose keys begin with a bit of 0.
FORMAT_KEY = b"\xffmvcc/format"
STORE_ID_KEY = b"\xffmvcc/store_id"
COMPACT_KEY = b"\xffmvcc/compact_revision"
_CHECKSUM_BYTES = 4


@dataclass(slots=True, kw_only=True)
class State:
    """What is known of the store, all of it durable."""

    store_id: str
    # Of the newest commit.
    revision: int
    # Reads and watches before it are refused.
    compact_revision: int
    index: KeyIndex


async def recover(engine: Engine, random: Randomness) -> State:
    """Reads the whole log, or writes the first rows of a new store.

    Raises FailedPreconditionError for a format that this version does not know, DataLossError for a damaged row.
    """
    stored_format = engine.get(FORMAT_KEY)
    if stored_format is None:
        return await _create(engine, random)
    if stored_format != FORMAT:
        raise FailedPreconditionError(
            f"the store has format {stored_format!r} and this program knows {FORMAT!r}: "
            "use the version of Rube that wrote it, or restore a backup"
        )
    store_id = _unseal(engine, STORE_ID_KEY).decode()
    compact_revision = int.from_bytes(_unseal(engine, COMPACT_KEY), "big")
    index = KeyIndex()
    position = position_of(compact_revision)
    for key, data in engine.scan(log_key(0), log_key(position_of(REVISION_MAX))):
        position_found = int.from_bytes(key, "big")
        index.append(decode_row(position_found, data))
        position = max(position, position_found)
    return State(
        store_id=store_id,
        revision=position >> SUB_BITS,
        compact_revision=compact_revision,
        index=index,
    )


async def renew_store_id(engine: Engine, random: Randomness) -> str:
    """Gives a store that was restored an identity of its own, which is returned. Raises what `recover` does."""
    await recover(engine, random)
    store_id = random.uid()
    await engine.commit([Write(STORE_ID_KEY, _seal(STORE_ID_KEY, store_id.encode()))])
    return store_id


async def _create(engine: Engine, random: Randomness) -> State:
    if next(engine.scan(b"", b"\xff" * 9, limit=1), None) is not None:
        raise FailedPreconditionError("the store holds data of another kind: choose another file")
    store_id = random.uid()
    await engine.commit(
        [
            Write(FORMAT_KEY, FORMAT),
            Write(STORE_ID_KEY, _seal(STORE_ID_KEY, store_id.encode())),
            compaction_mark(0),
        ]
    )
    return State(store_id=store_id, revision=0, compact_revision=0, index=KeyIndex())


def compaction_mark(revision: int) -> Write:
    """What makes durable that the store is compacted to `revision`."""
    return Write(COMPACT_KEY, _seal(COMPACT_KEY, revision.to_bytes(8, "big")))


def _seal(key: bytes, value: bytes) -> bytes:
    """The value after a checksum over key and value."""
    return zlib.crc32(key + value).to_bytes(_CHECKSUM_BYTES, "big") + value


def _unseal(engine: Engine, key: bytes) -> bytes:
    sealed = engine.get(key)
    if sealed is None or _seal(key, sealed[_CHECKSUM_BYTES:]) != sealed:
        raise DataLossError(
            f"the store's {key[1:].decode()} is lost or damaged: restore a backup", key=key[1:].decode()
        )
    return sealed[_CHECKSUM_BYTES:]
