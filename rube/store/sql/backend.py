"""What opens, copies and checks SQL stores."""

from __future__ import annotations

from rube.api.errors import DataLossError
from rube.host import Host
from rube.store.config import StoreConfig
from rube.store.ports import Store
from rube.store.sql import schema
from rube.store.sql.pool import Pool
from rube.store.sql.session import target_of
from rube.store.sql.store import SqlStore
from rube.store.urls import StoreUrl

CONNECTIONS_MAX = 8


class SqlBackend:
    """`rube.store.backends.Backend` of servers that speak MySQL's protocol."""

    async def open(self, host: Host, url: StoreUrl, config: StoreConfig) -> Store:
        pool = Pool(target_of(url), host.clock, CONNECTIONS_MAX)
        try:
            server = await schema.inspect_server(pool)
            head = await schema.read_head(pool)
            if head is None:
                await schema.create(pool, host.random.uid())
                head = await schema.read_head(pool)
            if head is None:
                raise DataLossError(f"the store {url} was removed while it was opened: start again")
            return SqlStore(host, pool, head, server, config)
        except BaseException:
            pool.close()
            raise


SQL = SqlBackend()
