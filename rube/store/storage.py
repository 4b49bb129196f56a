"""The real machine's storage: engines by URL."""

from __future__ import annotations

from pathlib import Path

from rube.api.errors import FailedPreconditionError, InvalidArgumentError
from rube.host import Engine
from rube.store.engines.memory import MemoryEngine, VolatileDisk
from rube.store.engines.rocksdb import RocksdbEngine
from rube.store.engines.sqlite import SqliteEngine
from rube.store.engines.sqlite_reader import SqliteReader
from rube.store.urls import FORMS, parse_store_url


class RealStorage:
    """`rube.host.Storage` of a real machine. `memory:` is a new and empty engine each time."""

    async def open(self, url: str, *, read_only: bool = False) -> Engine:
        parsed = parse_store_url(url)
        if parsed.scheme == "memory":
            if read_only:
                raise FailedPreconditionError(
                    f"{parsed} is only in the process that opened it: there is nothing to read"
                )
            return await MemoryEngine.open(VolatileDisk(), url)
        if parsed.scheme == "sqlite":
            path = Path(parsed.path)
            if read_only:
                return SqliteReader.open(path)
            return await SqliteEngine.open(path)
        if parsed.scheme == "rocksdb":
            return await RocksdbEngine.open(Path(parsed.path), read_only=read_only)
        raise InvalidArgumentError(
            f"{parsed} is no engine on this machine: use {FORMS['sqlite']}, {FORMS['rocksdb']} or {FORMS['memory']}"
        )
