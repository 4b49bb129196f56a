"""The state that a store recovers from its engine when it opens."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rube.api.errors import DataLossError, FailedPreconditionError
from rube.host import Engine, EngineView, Randomness, Write
from rube.store.checksums import CHECKSUM_BYTES, SALVAGE, checksum_of
from rube.store.mvcc.index import KeyIndex
from rube.store.mvcc.log import REVISION_MAX, SUB_BITS, DamagedRow, log_key, position_of, read_row

_LOG = logging.getLogger("rube.store")

FORMAT = b"rube mvcc 2"
"""The format's value has no checksum: a later format may use another kind."""
OLD_FORMAT = b"rube mvcc 1"
"""The first format, whose rows have one checksum instead of two; a store of it keeps it."""
LOADING = b"rube mvcc loading"
"""In the format's place while the store is being filled with a copy (`loading`)."""
# These sort after every row of the log, whose keys begin with a bit of 0.
FORMAT_KEY = b"\xffmvcc/format"
STORE_ID_KEY = b"\xffmvcc/store_id"
COMPACT_KEY = b"\xffmvcc/compact_revision"
LOG_RANGE = (log_key(0), log_key(position_of(REVISION_MAX)))
"""The range of the log in the engine."""
META_RANGE = (b"\xffmvcc/", b"\xffmvcc0")
"""The keys beside the log."""
# The number of damaged keys in one warning.
_SHOWN_MAX = 10
_KEY_BYTES_SHOWN_MAX = 256


@dataclass(slots=True, kw_only=True)
class StoreState:
    """The durable state of the store."""

    store_id: str
    revision: int
    """The revision of the newest commit."""
    compact_revision: int
    """Reads and watches before this revision are refused."""
    index: KeyIndex
    format: bytes = FORMAT
    lost: Sequence[DamagedRow] = ()
    """Positions of rows whose damaged value is the newest of its key."""

    @property
    def heads(self) -> bool:
        """The argument `heads` of `rube.store.mvcc.log.encode_rows`."""
        return self.format != OLD_FORMAT


class Header(NamedTuple):
    """The values that are stored beside the log."""

    store_id: str
    compact_revision: int
    format: bytes = FORMAT


async def recover(engine: Engine, random: Randomness) -> StoreState:
    """Reads the whole log, or writes the first rows of a new store. Raises the errors of `read_header` and
    `read_log`."""
    header = read_header(engine)
    return await _create(engine, random) if header is None else read_log(engine, header)


def read_header(engine: EngineView) -> Header | None:
    """Returns the header; None if there is no store.

    Raises FailedPreconditionError for a format that this version does not know and for a copy that was interrupted,
    DataLossError if it is damaged.
    """
    stored_format = check_format(engine)
    if not stored_format:
        return None
    store_id = _unseal(engine, STORE_ID_KEY).decode("ascii", "backslashreplace")
    return Header(store_id, int.from_bytes(_unseal(engine, COMPACT_KEY), "big"), stored_format)


def check_format(engine: EngineView) -> bytes:
    """Returns the store's format; empty if there is no store. Raises FailedPreconditionError for one that cannot be
    opened."""
    stored_format = engine.get(FORMAT_KEY)
    if stored_format is None:
        return b""
    if stored_format == LOADING:
        raise FailedPreconditionError(
            "the store is the beginning of a copy that was interrupted: run `rube store restore` or `migrate` again"
        )
    if stored_format not in (FORMAT, OLD_FORMAT):
        raise FailedPreconditionError(
            f"the store has format {stored_format!r} and this program knows {FORMAT!r}: "
            f"use the version of Rube that wrote it; if it is damaged, {SALVAGE}"
        )
    return stored_format


def read_log(engine: EngineView, header: Header) -> StoreState:
    """Reads the log, past rows whose value alone is damaged: reads of those keys fail (docs/reference/stores.md).

    Raises DataLossError if a lost newest value could belong to any key: the store's answers might be older than what
    was acknowledged.
    """
    index = KeyIndex()
    position = position_of(header.compact_revision)
    damaged: list[DamagedRow] = []
    for key, data in engine.scan(*LOG_RANGE):
        found = int.from_bytes(key, "big")
        if found >> SUB_BITS > header.compact_revision and not _follows(position, found):
            raise _lost(f"the rows before revision {found >> SUB_BITS}, from {position >> SUB_BITS} on, are missing")
        row = read_row(found, data)
        if isinstance(row, DamagedRow):
            if row.head is None:
                raise row.error()
            damaged.append(row)
            row = row.head
        index.append(row)
        position = max(position, found)
    newest = [row for row in damaged if index.newest_position(row.key) == row.position]
    _tell(damaged, newest)
    return StoreState(
        store_id=header.store_id,
        revision=position >> SUB_BITS,
        compact_revision=header.compact_revision,
        index=index,
        format=header.format,
        lost=newest,
    )


def _follows(position: int, found: int) -> bool:
    """Returns whether the row can be the next: after the compaction revision no row is deleted, and revisions and the
    positions in one have no gaps."""
    return found in (position + 1, (position >> SUB_BITS) + 1 << SUB_BITS)


def _lost(what: str) -> DataLossError:
    return DataLossError(f"{what}, and their keys are unknown: {SALVAGE}")


def _tell(damaged: list[DamagedRow], newest: list[DamagedRow]) -> None:
    """Logs one warning for all damaged rows."""
    if not damaged:
        return
    shown = ", ".join(f"{row.key[:_KEY_BYTES_SHOWN_MAX]!r} of revision {row.revision}" for row in newest[:_SHOWN_MAX])
    if newest:
        _LOG.warning(
            "%d rows are damaged; of these keys it is the newest value, and reads of them fail: %s%s: %s",
            len(damaged),
            shown,
            ", …" if len(newest) > _SHOWN_MAX else "",
            SALVAGE,
        )
    else:
        _LOG.warning(
            "%d rows are damaged, all of them history (such as revision %d): the newest values are whole, and "
            "compaction removes them; look at the disk, and at `rube store verify`",
            len(damaged),
            damaged[0].revision,
        )


def newest_revision(engine: EngineView, header: Header) -> int:
    """Returns the newest revision of `read_log`, from the last row alone."""
    last = next(engine.scan(*LOG_RANGE, limit=1, reverse=True), None)
    return max(int.from_bytes(last[0], "big") >> SUB_BITS if last else 0, header.compact_revision)


async def _create(engine: Engine, random: Randomness) -> StoreState:
    check_empty(engine)
    store_id = random.uid()
    await engine.commit(header_rows(Header(store_id, 0)))
    return StoreState(store_id=store_id, revision=0, compact_revision=0, index=KeyIndex())


def check_empty(engine: EngineView) -> None:
    """Raises FailedPreconditionError if the engine holds anything."""
    if next(engine.scan(b"", b"\xff" * 9, limit=1), None) is not None:
        raise FailedPreconditionError("the store holds data of another kind: choose another file")


def header_rows(header: Header) -> list[Write]:
    """Returns the writes that create a store."""
    return [
        Write(FORMAT_KEY, header.format),
        Write(STORE_ID_KEY, _seal(STORE_ID_KEY, header.store_id.encode())),
        compaction_mark(header.compact_revision),
    ]


def compaction_mark(revision: int) -> Write:
    """Returns the write which records that the store is compacted to `revision`."""
    return Write(COMPACT_KEY, _seal(COMPACT_KEY, revision.to_bytes(8, "big")))


def _seal(key: bytes, value: bytes) -> bytes:
    """Returns the value after a checksum over key and value."""
    return checksum_of(key, value) + value


def _unseal(engine: EngineView, key: bytes) -> bytes:
    sealed = engine.get(key)
    if sealed is None or _seal(key, sealed[CHECKSUM_BYTES:]) != sealed:
        raise DataLossError(f"the store's {key[1:].decode()} is lost or damaged: {SALVAGE}", key=key[1:].decode())
    return sealed[CHECKSUM_BYTES:]
