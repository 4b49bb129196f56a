"""The store on a real etcd: one process for the whole run, a prefix a test."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from itertools import count
from pathlib import Path

from rube.store import Store, StoreConfig, parse_store_url
from rube.store.backends import backend_of
from tests.conformance.store.store_sites import RealSite
from tests.real.etcd_cluster import EtcdCluster

_PREFIXES = count(1)


@cache
def _etcd() -> EtcdCluster:
    directory = Path(tempfile.mkdtemp(prefix="rube-etcd-"))
    cluster = EtcdCluster(directory)
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    atexit.register(cluster.__exit__)
    return cluster.__enter__()


class EtcdSite(RealSite):
    """A prefix of its own in etcd. Compaction is the whole etcd's: tests use it one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self._prefix = f"test-{next(_PREFIXES)}"

    def url(self, name: str = "data") -> str:
        return _etcd().url(f"{self._prefix}/{name}")

    async def open_store(self, config: StoreConfig | None = None) -> Store:
        url = parse_store_url(self.url())
        return await backend_of(url).open(self.host, url, config or StoreConfig())

    async def overwrite(self, key: str, value: str) -> None:
        """Writes below the store, past it."""
        _etcd().ctl("put", f"{self._prefix}/{key}", value)

    async def wipe(self) -> None:
        _etcd().ctl("del", "--prefix", f"{self._prefix}/data/")
