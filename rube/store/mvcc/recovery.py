"""What a store finds in its engine when it opens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from rube.api.errors import DataLossError, FailedPreconditionError
from rube.host import Engine, EngineView, Randomness, Write
from rube.store.checksums import CHECKSUM_BYTES, checksum_of
from rube.store.mvcc.index import KeyIndex
from rube.store.mvcc.log import REVISION_MAX, SUB_BITS, decode_row, log_key, position_of

# Not sealed: a later format may seal differently.
FORMAT = b"rube mvcc 1"
# In its place while the store is being filled with a copy (`loading`).
LOADING = b"rube mvcc loading"
# After every row of the log, whose keys begin with a bit of 0.
FORMAT_KEY = b"\xffmvcc/format"
STORE_ID_KEY = b"\xffmvcc/store_id"
COMPACT_KEY = b"\xffmvcc/compact_revision"
# Start and end of the log in the engine.
LOG_RANGE = (log_key(0), log_key(position_of(REVISION_MAX)))
# What stands beside it.
META_RANGE = (b"\xffmvcc/", b"\xffmvcc0")


@dataclass(slots=True, kw_only=True)
class State:
    """What is known of the store, all of it durable."""

    store_id: str
    # Of the newest commit.
    revision: int
    # Reads and watches before it are refused.
    compact_revision: int
    index: KeyIndex


class Header(NamedTuple):
    """What is stored beside the log."""

    store_id: str
    compact_revision: int


async def recover(engine: Engine, random: Randomness) -> State:
    """Reads the whole log, or writes the first rows of a new store. Raises what `read_header` and `read_log` do."""
    header = read_header(engine)
    return await _create(engine, random) if header is None else read_log(engine, header)


def read_header(engine: EngineView) -> Header | None:
    """None: there is no store.

    Raises FailedPreconditionError for a format that this version does not know and for a copy that was interrupted,
    DataLossError if it is damaged.
    """
    if not check_format(engine):
        return None
    store_id = _unseal(engine, STORE_ID_KEY).decode()
    return Header(store_id, int.from_bytes(_unseal(engine, COMPACT_KEY), "big"))


def check_format(engine: EngineView) -> bool:
    """Whether there is a store. FailedPreconditionError if it is none that can be opened."""
    stored_format = engine.get(FORMAT_KEY)
    if stored_format is None:
        return False
    if stored_format == LOADING:
        raise FailedPreconditionError(
            "the store is the beginning of a copy that was interrupted: run `rube store restore` or `migrate` again"
        )
    if stored_format != FORMAT:
        raise FailedPreconditionError(
            f"the store has format {stored_format!r} and this program knows {FORMAT!r}: "
            "use the version of Rube that wrote it, or restore a backup"
        )
    return True


def read_log(engine: EngineView, header: Header) -> State:
    """Raises DataLossError that names the row if one is damaged."""
    index = KeyIndex()
    position = position_of(header.compact_revision)
    for key, data in engine.scan(*LOG_RANGE):
        position_found = int.from_bytes(key, "big")
        index.append(decode_row(position_found, data))
        position = max(position, position_found)
    return State(
        store_id=header.store_id,
        revision=position >> SUB_BITS,
        compact_revision=header.compact_revision,
        index=index,
    )


def newest_revision(engine: EngineView, header: Header) -> int:
    """What `read_log` would find, from the last row alone."""
    last = next(engine.scan(*LOG_RANGE, limit=1, reverse=True), None)
    return max(int.from_bytes(last[0], "big") >> SUB_BITS if last else 0, header.compact_revision)


async def _create(engine: Engine, random: Randomness) -> State:
    check_empty(engine)
    store_id = random.uid()
    await engine.commit(header_rows(Header(store_id, 0)))
    return State(store_id=store_id, revision=0, compact_revision=0, index=KeyIndex())


def check_empty(engine: EngineView) -> None:
    """Raises FailedPreconditionError if the engine holds anything."""
    if next(engine.scan(b"", b"\xff" * 9, limit=1), None) is not None:
        raise FailedPreconditionError("the store holds data of another kind: choose another file")


def header_rows(header: Header) -> list[Write]:
    """What makes durable that there is a store."""
    return [
        Write(FORMAT_KEY, FORMAT),
        Write(STORE_ID_KEY, _seal(STORE_ID_KEY, header.store_id.encode())),
        compaction_mark(header.compact_revision),
    ]


def compaction_mark(revision: int) -> Write:
    """What makes durable that the store is compacted to `revision`."""
    return Write(COMPACT_KEY, _seal(COMPACT_KEY, revision.to_bytes(8, "big")))


def _seal(key: bytes, value: bytes) -> bytes:
    """The value after a checksum over key and value."""
    return checksum_of(key, value) + value


def _unseal(engine: EngineView, key: bytes) -> bytes:
    sealed = engine.get(key)
    if sealed is None or _seal(key, sealed[CHECKSUM_BYTES:]) != sealed:
        raise DataLossError(
            f"the store's {key[1:].decode()} is lost or damaged: restore a backup", key=key[1:].decode()
        )
    return sealed[CHECKSUM_BYTES:]
