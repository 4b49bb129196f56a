"""The backend that opens, copies and checks SQL stores for `rube.store.backends`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from rube.api.errors import DataLossError, FailedPreconditionError
from rube.host import Host
from rube.store.backends import Checked, Loader, Reader, StoreStat
from rube.store.config import StoreConfig
from rube.store.ports import Page, Store
from rube.store.sql import check, schema
from rube.store.sql.durability import NoBarrier
from rube.store.sql.identity import Identity
from rube.store.sql.loader import SqlLoader
from rube.store.sql.pool import Pool
from rube.store.sql.reads import Reads
from rube.store.sql.session import target_of
from rube.store.sql.store import SqlStore
from rube.store.urls import StoreUrl

CONNECTIONS_MAX = 8


class SqlBackend:
    """The `rube.store.backends.Backend` of servers that speak MySQL's protocol."""

    async def open(self, host: Host, url: StoreUrl, config: StoreConfig) -> Store:
        async with _kept_pool(host, url) as pool:
            server = await schema.inspect_server(pool)
            head = await schema.read_head(pool)
            if head is None:
                await schema.create(pool, host.random.uid())
                head = await schema.read_head(pool)
            if head is None:
                raise DataLossError(f"the store {url} was removed while it was opened: start again")
            return SqlStore(host, pool, head, server, config)

    async def open_reader(self, host: Host, url: StoreUrl) -> Reader:
        async with _kept_pool(host, url) as pool:
            opened = await _existing(pool)
            keys = (await check.stat(pool, *opened)).keys
            return SqlReader(pool, opened.head, keys)

    async def open_loader(self, host: Host, url: StoreUrl) -> Loader:
        async with _kept_pool(host, url) as pool:
            return await SqlLoader.open(pool, await schema.inspect_server(pool), host.random.uid())

    async def stat(self, host: Host, url: StoreUrl) -> StoreStat:
        async with _kept_pool(host, url) as pool:
            stat = await check.stat(pool, *await _existing(pool))
            pool.close()
            return stat

    async def verify(self, host: Host, url: StoreUrl) -> AsyncIterator[Checked]:
        async with _kept_pool(host, url) as pool:
            opened = await _existing(pool)
            async for checked in check.check(pool, opened.head):
                yield checked
            pool.close()


class SqlReader:
    """A `rube.store.backends.Reader` on connections of its own."""

    def __init__(self, pool: Pool, head: schema.Head, keys: int) -> None:
        self._pool = pool
        self._head = head
        self._keys = keys
        identity = Identity(head.store_id, pool.target.place)
        self._reads = Reads(pool, identity, NoBarrier(pool, identity, 0))

    @property
    def store_id(self) -> str:
        return self._head.store_id

    @property
    def revision(self) -> int:
        return self._head.revision

    @property
    def keys(self) -> int:
        return self._keys

    async def newest_revision(self) -> int:
        return (await self._reads.head()).revision

    async def range(self, start: bytes, end: bytes | None, *, revision: int = 0, limit: int = 0) -> Page:
        chunk = await self._reads.range(start, end, revision, limit)
        return Page(chunk.records, chunk.revision, chunk.more)

    async def close(self) -> None:
        self._pool.close()


class _Opened(NamedTuple):
    head: schema.Head
    server: schema.Server


async def _existing(pool: Pool) -> _Opened:
    """Opens a store. Raises FailedPreconditionError if there is none."""
    server = await schema.inspect_server(pool)
    head = await schema.read_head(pool)
    if head is None:
        place = pool.target.place
        raise FailedPreconditionError(
            f"there is no store in database {place.database!r} at {place.server}: check the URL"
        )
    return _Opened(head, server)


@asynccontextmanager
async def _kept_pool(host: Host, url: StoreUrl) -> AsyncIterator[Pool]:
    """Opens a pool, and closes it if the caller fails."""
    pool = Pool(target_of(url), host.clock, CONNECTIONS_MAX)
    try:
        yield pool
    except BaseException:
        pool.close()
        raise


SQL = SqlBackend()
