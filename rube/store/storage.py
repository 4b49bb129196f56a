"""The real machine's storage: engines by URL."""

from __future__ import annotations

from pathlib import Path

from rube.api.errors import FailedPreconditionError, InvalidArgumentError
from rube.host import Engine, Wreck
from rube.store.engines.memory import MemoryEngine, VolatileDisk
from rube.store.engines.rocksdb import RocksdbEngine
from rube.store.engines.rocksdb_wreck import RocksdbWreck
from rube.store.engines.sqlite import SqliteEngine
from rube.store.engines.sqlite_reader import SqliteReader
from rube.store.engines.sqlite_wreck import SqliteWreck
from rube.store.urls import FORMS, StoreUrl, parse_store_url


class RealStorage:
    """The `rube.host.Storage` of a real machine. `memory:` is a new and empty engine each time."""

    async def open(self, url: str, *, read_only: bool = False) -> Engine:
        parsed = parse_store_url(url)
        if parsed.scheme == "memory":
            if read_only:
                raise FailedPreconditionError(
                    f"{parsed} exists only in the process that opened it: there is nothing to read"
                )
            return await MemoryEngine.open(VolatileDisk(), url)
        if parsed.scheme == "sqlite":
            path = Path(parsed.path)
            if read_only:
                return SqliteReader.open(path)
            return await SqliteEngine.open(path)
        if parsed.scheme == "rocksdb":
            return await RocksdbEngine.open(Path(parsed.path), read_only=read_only)
        raise _no_engine(parsed)

    async def salvage(self, url: str) -> Wreck:
        parsed = parse_store_url(url)
        if parsed.scheme == "sqlite":
            return SqliteWreck.open(Path(parsed.path))
        if parsed.scheme == "rocksdb":
            return RocksdbWreck.open(Path(parsed.path))
        raise _no_engine(parsed)


def _no_engine(url: StoreUrl) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"{url} is no engine on this machine: use {FORMS['sqlite']}, {FORMS['rocksdb']} or {FORMS['memory']}"
    )
