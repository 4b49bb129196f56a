"""The SQL store on a real MariaDB, one server for all tests of a run and a database for each."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from itertools import count
from pathlib import Path

import pytest

from rube.store import Store, StoreConfig, parse_store_url
from rube.store.backends import backend_of
from tests.conformance.store.store_sites import RealSite
from tests.mariadb import MariaDb, missing

_numbers = count(1)


@cache
def shared_server() -> MariaDb:
    # Tests of promises, not of durability: the server's files need no disk.
    memory = Path("/dev/shm")
    directory = Path(tempfile.mkdtemp(prefix="rube-conformance-", dir=memory if memory.is_dir() else None))
    server = MariaDb(directory)
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    atexit.register(server.stop)
    server.start()
    return server


class MysqlSite(RealSite):
    """Databases of the test's own on the shared server."""

    def __init__(self) -> None:
        if reason := missing():
            pytest.skip(reason)
        super().__init__()
        self._server = shared_server()
        self._number = next(_numbers)
        self._names: list[str] = []

    def url(self, name: str = "data") -> str:
        database = f"test{self._number}_{name}"
        if database not in self._names:
            self._names.append(database)
            self._server.sql(f"CREATE DATABASE `{database}`")
        return self._server.url(database)

    async def open_store(self, config: StoreConfig | None = None) -> Store:
        url = parse_store_url(self.url())
        return await backend_of(url).open(self.host, url, config or StoreConfig())

    async def wipe(self) -> None:
        for name in self._names:
            self._server.sql(f"DROP DATABASE `{name}`")
        self._names.clear()
