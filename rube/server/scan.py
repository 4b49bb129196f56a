"""A range of the store in pieces."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from rube.store import Page, Record, Store

# A range is read from the store in pieces of about this size; the objects so far decide their number.
PIECE_OBJECTS_MIN = 16
_PIECE_BYTES = 1024 * 1024
_PIECE_OBJECTS_MAX = 1_000


async def scan(
    store: Store, start: bytes, end: bytes, *, revision: int = 0, min_revision: int = 0
) -> AsyncGenerator[Page, None]:
    """Yields the records of a range at one revision, in pieces of bounded size; at least one, perhaps empty, page."""
    limit = PIECE_OBJECTS_MIN
    while True:
        page = await store.range(start, end, revision=revision, min_revision=min_revision, limit=limit)
        yield page
        if not page.more:
            return
        start, revision, min_revision = page.records[-1].key + b"\0", page.revision, 0
        limit = next_limit(page.records)


def next_limit(records: Sequence[Record]) -> int:
    """Returns the number of objects in the piece after these."""
    object_bytes = sum(len(record.value) for record in records) // max(len(records), 1) or 1
    return min(max(_PIECE_BYTES // object_bytes, PIECE_OBJECTS_MIN), _PIECE_OBJECTS_MAX)
