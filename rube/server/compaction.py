"""Compaction of history that is older than clients need to resume."""

from __future__ import annotations

import logging

from rube.api.errors import RubeError
from rube.host import Clock
from rube.store import Store

_LOG = logging.getLogger("rube.server")


def compaction_target(*, revision: int, compacted: int, history_revisions_max: int) -> int | None:
    """Returns the revision to compact to, so that `history_revisions_max` revisions stay; None if there is nothing to
    do."""
    target = revision - history_revisions_max
    return target if target > compacted else None


async def compact_periodically(clock: Clock, store: Store, *, history_revisions_max: int, interval_s: float) -> None:
    """Runs until cancelled. A list or watch of compacted revisions gets CompactedError, never a gap.

    If the store refuses (another server compacted further, the disk is full), the next interval tries again.
    """
    compacted = 0
    while True:
        await clock.sleep(interval_s)
        target = compaction_target(
            revision=store.revision, compacted=compacted, history_revisions_max=history_revisions_max
        )
        if target is None:
            continue
        try:
            await store.compact(target)
        except RubeError as error:
            _LOG.warning("compaction to revision %d failed: %s", target, error.message)
        else:
            _LOG.info("compacted to revision %d", target)
            compacted = target
