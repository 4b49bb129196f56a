"""Chooses the store by its URL."""

from __future__ import annotations

from rube.host import Host
from rube.store.mvcc import MvccConfig, MvccStore
from rube.store.ports import Store


async def open_store(host: Host, url: str, config: MvccConfig | None = None) -> Store:
    """The store at `url`; its URLs and errors are those of `rube.host.Storage.open`."""
    engine = await host.storage.open(url)
    return await MvccStore.open(engine, clock=host.clock, random=host.random, config=config)
