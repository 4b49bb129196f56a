"""The table of all stores, and of all engines, that the suites run on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.conformance.store.etcd_site import EtcdSite
from tests.conformance.store.mysql_site import MysqlSite
from tests.conformance.store.replicated_sites import ReplicatedSimSite, ReplicatedSite
from tests.conformance.store.simulated_etcd_site import SimulatedEtcdSite
from tests.conformance.store.store_sites import (
    EngineSite,
    MemorySite,
    RocksdbSite,
    SimSite,
    SimSqliteSite,
    Site,
    SqliteSite,
)

ENGINE_SITES: dict[str, Callable[[Path], EngineSite]] = {
    "memory": lambda _: MemorySite(),
    "rocksdb": RocksdbSite,
    "sqlite": SqliteSite,
    "simulated": lambda _: SimSite(),
    "simulated-sqlite": lambda _: SimSqliteSite(),
}
SITES: dict[str, Callable[[Path], Site]] = {
    **ENGINE_SITES,
    "etcd": lambda _: EtcdSite(),
    "replicated": ReplicatedSite,
    "simulated-replicated": lambda _: ReplicatedSimSite(),
    "simulated-etcd": lambda _: SimulatedEtcdSite(),
    "mysql": lambda _: MysqlSite(),
}
