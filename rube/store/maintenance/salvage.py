"""The salvage of a damaged store into a new one."""

from __future__ import annotations

from dataclasses import dataclass, field

from rube.api.errors import FailedPreconditionError
from rube.host import Host
from rube.host.host import Wrecks
from rube.store.backends import backend_of
from rube.store.maintenance.copy import Progress
from rube.store.mvcc.salvage import LOSSES_MAX, LostValue, LostWrites, Salvage
from rube.store.urls import StoreUrl, parse_store_url


@dataclass(slots=True, kw_only=True)
class Salvaged:
    """The content of the new store, and the losses."""

    source_id: str
    """The id of the damaged store; empty: unknown."""
    store_id: str
    revision: int
    # The number of objects in the new store, and of those with an older value than their newest.
    kept: int = 0
    older: int = 0
    # Keys whose newest value is lost: the first of them, and their number.
    values: list[LostValue] = field(default_factory=list)
    values_lost: int = 0
    writes: list[LostWrites] = field(default_factory=list)
    """Lost writes of unknown keys."""
    uncertain: int = 0
    """The number of keys that were last written before such a write, and so may have been changed or deleted since."""
    history: int = 0
    """The number of damaged values that were superseded."""
    findings: list[str] = field(default_factory=list)

    @property
    def lost(self) -> bool:
        """True if anything of the present state is lost, or may be."""
        return bool(self.values_lost or self.writes or self.findings)


async def salvage(
    host: Host, wrecks: Wrecks, url: str, target_url: str, progress: Progress, *, older: bool = False
) -> Salvaged:
    """Makes a store at `target_url`, where there must be none, of the remains of the one at `url`.

    `older`: if a key's newest value is lost, its newest whole value takes its place. The damaged store's files are not
    changed. Raises the errors of `Wrecks.salvage` and `Backend.open_loader`, and FailedPreconditionError for a store
    that is not in files.
    """
    source, target = parse_store_url(url), parse_store_url(target_url)
    if source.servers:
        raise FailedPreconditionError(
            f"{source} is kept by a server: salvage reads the files of SQLite and RocksDB stores; see "
            "`rube store verify`, and restore a backup"
        )
    wreck = await wrecks.salvage(_engine_url(source))
    try:
        found = Salvage(wreck)
        loader = await backend_of(target).open_loader(host, target)
        try:
            salvaged = Salvaged(source_id=found.store_id, store_id="", revision=found.revision)
            for records, lost in found.pages(older=older):
                if records:
                    await loader.load(records)
                salvaged.kept += len(records)
                salvaged.values_lost += len(lost)
                salvaged.values += lost[: LOSSES_MAX - len(salvaged.values)]
                salvaged.older += sum(1 for value in lost if older and value.older_revision)
                progress(salvaged.kept, max(salvaged.kept, found.keys))
                await host.clock.sleep(0)
            salvaged.writes = found.writes
            salvaged.uncertain, salvaged.history, salvaged.findings = found.uncertain(), found.history, found.findings
            salvaged.store_id = await loader.finish(found.revision)
            return salvaged
        finally:
            await loader.close()
    finally:
        await wreck.close()


def _engine_url(url: StoreUrl) -> str:
    return url.engine_url if url.is_member else str(url)
