"""The check of a store's rows against their checksums and against each other, past all damage."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from rube.api.errors import DataLossError
from rube.store.backends import Checked, Damage, StoreStat
from rube.store.mvcc.log import SUB_BITS
from rube.store.sql.durability import NoBarrier
from rube.store.sql.identity import Identity
from rube.store.sql.pool import Pool
from rube.store.sql.reads import Reads
from rube.store.sql.rows import COLUMNS, decode
from rube.store.sql.schema import FORMAT, NAMES, Head, Server

ROWS_PER_STEP_MAX = 100
FINDINGS_MAX = 1000
"""Damaged rows of one kind that are listed."""

# Each kind of damage with a statement that finds head, tail and position of such rows. Each statement sees one state,
# so a server may go on writing.
_MISFITS = (
    (
        "the table of newest writes does not match the log",
        "SELECT c.head, c.tail, c.position FROM rube_current c LEFT JOIN rube_log l ON l.position = c.position "
        "WHERE l.position IS NULL OR l.value IS NULL OR l.head <> c.head OR l.tail <> c.tail "
        "OR l.create_revision <> c.create_revision",
    ),
    (
        "is missing in the table of newest writes",
        "SELECT l.head, l.tail, l.position FROM rube_log l WHERE l.value IS NOT NULL AND NOT EXISTS (SELECT 1 "
        "FROM rube_log n WHERE n.head = l.head AND n.tail = l.tail AND n.position > l.position) AND NOT EXISTS "
        "(SELECT 1 FROM rube_current c WHERE c.head = l.head AND c.tail = l.tail AND c.position = l.position)",
    ),
    (
        "the write that this one replaced is missing in the log",
        "SELECT l.head, l.tail, l.position FROM rube_log l LEFT JOIN rube_log p ON p.position = l.previous "
        "WHERE l.previous <> 0 AND p.position IS NULL "
        f"AND l.position >> {SUB_BITS} > (SELECT compact_revision FROM rube_head WHERE id = 1)",
    ),
    (
        "is newer than the revision in the head row",
        "SELECT l.head, l.tail, l.position FROM rube_log l "
        f"WHERE l.position >> {SUB_BITS} > (SELECT revision FROM rube_head WHERE id = 1)",
    ),
)


_LOST_END = (
    "SELECT h.revision FROM rube_head h WHERE h.id = 1 AND h.revision > h.compact_revision AND NOT EXISTS "
    f"(SELECT 1 FROM rube_log l WHERE l.position >= h.revision << {SUB_BITS})"
)


async def stat(pool: Pool, head: Head, server: Server) -> StoreStat:
    keys = (await pool.read("SELECT COUNT(*) FROM rube_current"))[0][0]
    sizes = await pool.read(
        "SELECT CAST(COALESCE(SUM(DATA_LENGTH + INDEX_LENGTH), 0) AS SIGNED) FROM information_schema.TABLES "
        f"WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME IN {NAMES}"
    )
    return StoreStat(
        store_id=head.store_id,
        format=f"format {FORMAT} on {server.version}",
        revision=head.revision,
        oldest_revision=head.compact_revision,
        keys=int(keys),
        size_bytes=int(sizes[0][0]),
    )


async def check(pool: Pool, head: Head) -> AsyncIterator[Checked]:
    """Runs `rube.store.backends.Backend.verify`."""
    identity = Identity(head.store_id, pool.target.place)
    reads = Reads(pool, identity, NoBarrier(pool, identity, 0))
    total = int((await pool.read("SELECT COUNT(*) FROM rube_log"))[0][0])
    records, position, revision = 0, 0, head.compact_revision
    while True:
        rows = await pool.read(
            f"SELECT {COLUMNS.format('l')} FROM rube_log l WHERE l.position > %s ORDER BY l.position "
            f"LIMIT {ROWS_PER_STEP_MAX}",
            (position,),
        )
        for row in rows:
            records, position = records + 1, row[0]
            if position >> SUB_BITS > revision + 1:
                compacted = (await reads.head()).compact_revision
                first, last = max(revision, compacted) + 1, (position >> SUB_BITS) - 1
                if first <= last:
                    yield Checked(records, total, Damage(f"revisions {first} to {last}", "are missing in the log"))
            revision = max(revision, position >> SUB_BITS)
            if damage := _damage(row):
                yield Checked(records, total, damage)
        total = max(total, records)
        yield Checked(records, total)
        if len(rows) < ROWS_PER_STEP_MAX:
            break
    for (newest,) in await pool.read(_LOST_END):
        yield Checked(records, total, Damage(f"revision {newest}", "the newest, is missing in the log"))
    for what, statement in _MISFITS:
        for head_, tail, position in await pool.read(f"{statement} LIMIT {FINDINGS_MAX}"):
            yield Checked(records, total, Damage(_where(position, head_ + tail), what))


def _damage(row: Any) -> Damage | None:
    try:
        decode(row)
    except DataLossError:
        return Damage(_where(row[0], row[4] + row[5]), "the stored row does not match its checksum")
    return None


def _where(position: int, key: bytes) -> str:
    return f"revision {position >> SUB_BITS}, key {key[:256]!r}"
