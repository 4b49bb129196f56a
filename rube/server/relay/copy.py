"""The parts of a relay that stand on one copy of upstream's objects. Another store, or a gap in the changes, takes
others."""

from __future__ import annotations

import asyncio

from rube.api import WatchResponse
from rube.host import Host
from rube.server.backend import Reads
from rube.server.compaction import compact_periodically
from rube.server.known_types import KnownTypes
from rube.server.relay.config import RelayConfig
from rube.server.relay.store import RelayStore
from rube.server.relay.upstream import Upstream
from rube.server.watch import Watches
from rube.store.embedded.replica import ReplicaStore


class Copy:
    """A watch, which goes on anyway, begins with what the copy has while upstream is away, and says how old that is.
    Reads of the newest must catch up first."""

    def __init__(self, host: Host, replica: ReplicaStore, upstream: Upstream, config: RelayConfig) -> None:
        self.replica = replica
        clock, limits = host.clock, config.server
        self.store = RelayStore(replica, upstream, clock, config.catch_up_s_max)
        self.types = KnownTypes(self.store, clock)
        self.reads = Reads(store=self.store, types=self.types, config=limits)

        def freshness() -> bytes:
            return WatchResponse(freshness=upstream.freshness()).SerializeToString()

        self.watches = Watches(clock, self.store, self.types, limits, freshness)
        self.types.start(self.watches.feed)
        self._compaction: asyncio.Task[None] | None = None
        if limits.history_revisions_max:
            compaction = compact_periodically(
                clock,
                replica,
                history_revisions_max=limits.history_revisions_max,
                interval_s=limits.compaction_interval_s,
            )
            self._compaction = asyncio.create_task(compaction, name="compaction")

    async def close(self) -> None:
        """Ends the watches with UNAVAILABLE, and what keeps up the rest."""
        await self.watches.close()
        await self.types.stop()
        if self._compaction is not None:
            self._compaction.cancel()
            await asyncio.gather(self._compaction, return_exceptions=True)
