"""Compaction: deletes the rows that no read can see any more, in bounded steps."""

from __future__ import annotations

from rube.api.errors import ResourceExhaustedError
from rube.host import Clock, Engine, Write
from rube.store.mvcc.index import KeyIndex
from rube.store.mvcc.log import log_key

KEYS_PER_STEP_MAX = 2000
ROWS_PER_BATCH_MAX = 1000


async def delete_superseded(engine: Engine, index: KeyIndex, clock: Clock, revision: int) -> None:
    """Deletes, from engine and index, the rows that no read at or after `revision` can see.

    Interrupted anywhere it leaves a sound log, and the next call does the rest: a key's rows go oldest first, so that a
    delete never goes before the put that it hides.
    """
    start = b""
    while keys := index.keys_from(start, KEYS_PER_STEP_MAX):
        start = keys[-1] + b"\0"
        pending: list[tuple[bytes, list[int]]] = []
        count = 0
        for key in keys:
            positions = index.superseded(key, revision)
            while positions:
                part, positions = positions[: ROWS_PER_BATCH_MAX - count], positions[ROWS_PER_BATCH_MAX - count :]
                pending.append((key, part))
                count += len(part)
                if count == ROWS_PER_BATCH_MAX:
                    await _delete(engine, index, pending)
                    pending, count = [], 0
        await _delete(engine, index, pending)
        await clock.sleep(0)


async def _delete(engine: Engine, index: KeyIndex, pending: list[tuple[bytes, list[int]]]) -> None:
    if not pending:
        return
    try:
        await engine.commit([Write(log_key(position), None) for _, positions in pending for position in positions])
    except ResourceExhaustedError:
        # On an almost full disk the deletes may fit only in parts, each of which makes room for the next.
        if len(pending) == 1:
            raise
        middle = len(pending) // 2
        await _delete(engine, index, pending[:middle])
        await _delete(engine, index, pending[middle:])
        return
    for key, positions in pending:
        index.forget(key, len(positions))
