"""Stores on an engine, as `rube.store.backends` opens and keeps them."""

from __future__ import annotations

from rube.host import Host
from rube.store.config import StoreConfig
from rube.store.mvcc.store import MvccStore
from rube.store.ports import Store
from rube.store.urls import StoreUrl


class EngineBackend:
    """`rube.store.backends.Backend` of every engine that `host.storage` opens."""

    async def open(self, host: Host, url: StoreUrl, config: StoreConfig) -> Store:
        engine = await host.storage.open(str(url))
        return await MvccStore.open(engine, clock=host.clock, random=host.random, config=config)


ENGINE = EngineBackend()
